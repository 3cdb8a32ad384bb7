"""The limit on the memory for an array of a data file, the same for all formats."""

from __future__ import annotations

import math

import numpy as np

from ..errors import DataError
from . import arguments as check

MAX_BYTES = 4 * 2**30  # of one array; a small compressed file may claim far more than it holds


def check_max_bytes(value: object) -> int:
    """A limit in bytes, as int."""
    return check.check_positive_int(value, "max_bytes")


def array_bytes(shape: tuple[int, ...], dtype: np.dtype, max_bytes: int, what: str) -> int:
    """The bytes that an array described in a file takes in memory.

    Raises DataError if they exceed the limit, or overflow when counted as NumPy counts them.
    """
    if math.prod(n for n in shape if n) * dtype.itemsize >= 2**63:
        raise DataError(f"{what} has the shape {shape}, which overflows 63 bits")
    n_bytes = math.prod(shape) * dtype.itemsize
    if n_bytes > max_bytes:
        raise DataError(
            f"{what}, {dtype} of shape {shape}, takes {n_bytes} bytes in memory; the limit is "
            f"{max_bytes}: if the machine has them, raise it by max_bytes={n_bytes}, or "
            f"--max-bytes {n_bytes} on the command line"
        )
    return n_bytes
