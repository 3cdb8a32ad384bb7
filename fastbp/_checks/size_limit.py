"""The limit on what a data file may take in memory, one for all formats."""

from __future__ import annotations

import math

import numpy as np

from ..errors import DataError
from . import arguments as check

MAX_BYTES = 4 * 2**30  # of one array: a small compressed file can claim far more than there is


def check_max_bytes(value: object) -> int:
    """A limit in bytes, as int."""
    return check.check_positive_int(value, "max_bytes")


def array_bytes(shape: tuple[int, ...], dtype: np.dtype, max_bytes: int, what: str) -> int:
    """How many bytes an array that a file claims takes in memory.

    Raises DataError where its sizes overflow, the way NumPy counts them, and beyond the limit.
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
