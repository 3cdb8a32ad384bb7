"""A reader of IDX, the file format of MNIST: big-endian arrays, uncompressed or gzipped.

    2 bytes      zero
    1 byte       type: 8 uint8, 9 int8, 11 int16, 12 int32, 13 float32, 14 float64
    1 byte       number of dimensions
    4 bytes each the dimensions
    the rest     the elements, row-major

Source: http://yann.lecun.com/exdb/mnist, "The IDX file format".
"""

from __future__ import annotations

import gzip
import os
import zlib
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from .._checks.size_limit import MAX_BYTES, array_bytes, check_max_bytes
from .._files.atomic import naming
from .._types import Array
from ..errors import DataError

_DTYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_MAX_RANK = 8
_CHUNK = 1 << 20


def read_idx(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> Array:
    """Read the array of an IDX file.

    The file may be untrusted: memory is allocated as data arrive, not because the header claims a
    size.

    Parameters
    ----------
    path : str or path-like
        The file, gzipped or not.
    max_bytes : int, default 4 GiB
        The maximum size of the array in memory. Without a limit, a small gzipped file could claim
        more memory than the machine has.

    Returns
    -------
    ndarray
        The array, in native byte order.

    Raises
    ------
    DataError
        The magic number or the type is wrong, the file has fewer or more bytes than the dimensions
        need, or the array takes more than `max_bytes` bytes.
    OSError
        As `open` raises it.
    """
    path = Path(path)
    max_bytes = check_max_bytes(max_bytes)
    with naming(str(path)), path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        try:
            if not packed:
                return _read(raw, max_bytes)
            with gzip.open(raw) as file:
                return _read(file, max_bytes)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise DataError(f"{path}: damaged gzip file: {error}") from error


def _read(file: BufferedIOBase, max_bytes: int) -> Array:
    magic = _read_exactly(file, 4, "the magic number")
    if magic[:2] != b"\0\0" or magic[2] not in _DTYPES or not 1 <= magic[3] <= _MAX_RANK:
        raise DataError(f"not an IDX file: it begins with {magic.hex(' ')}, not 00 00 TYPE RANK")
    dtype = np.dtype(_DTYPES[magic[2]])
    sizes = _read_exactly(file, 4 * magic[3], "the dimensions")
    shape = tuple(np.frombuffer(sizes, ">u4").tolist())
    n_bytes = array_bytes(shape, dtype, max_bytes, "the array")
    data = _read_exactly(file, n_bytes, f"the data, shape {shape},")
    if file.read(1):
        raise DataError(f"more bytes follow the data of shape {shape}")
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _read_exactly(file: BufferedIOBase, n: int, what: str) -> bytearray:
    data = bytearray()
    while len(data) < n:
        chunk = file.read(min(n - len(data), _CHUNK))
        if not chunk:
            raise DataError(f"{what} should take {n} bytes; the file ends after {len(data)}")
        data += chunk
    return data
