"""A strict reader of NumPy's .npy and .npz files, which may come from an untrusted source.

    6 bytes      \\x93NUMPY
    2 bytes      version: 1.0, 2.0 or 3.0
    2 or 4       N, the length of the header, little-endian; 4 bytes from version 2.0 on
    N bytes      text of a Python dict with descr (dtype), fortran_order and shape
    the rest     the elements

A .npz file is a zip archive of such files, stored or deflated. The header is matched against a
pattern and never evaluated. Memory for the elements is allocated only after dtype and shape agree
with the size of the file. Format:
https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from io import BufferedReader
from typing import IO

import numpy as np

from .._checks.size_limit import array_bytes
from .._types import Array
from ..errors import DataError
from .atomic import naming

MAX_HEADER = 10_000  # bytes, as in numpy.load
_MAX_RANK = 32  # dimensions of an array in NumPy before 2.0
_CHUNK = 1 << 20
_MAX_RATIO = 1032  # of deflate, which encodes at most 258 bytes in two bits
_ENCRYPTED, _PATCHED, _STRONGLY_ENCRYPTED = 0x1, 0x20, 0x40  # flags of a member of a zip archive

# One field of the header, after white space and quotes are normalised: string, boolean or tuple.
_ITEM = r" ?'(\w+)' ?: ?(?:'([^']*)'|(True|False)|\(([\dL, ]*)\)) ?"
_HEADER = re.compile(rf"\{{{_ITEM},{_ITEM},{_ITEM},? ?\}}")
# Booleans, numbers, strings; objects and raw bytes, which get messages of their own. Not the dtypes
# whose elements point to other memory, and not "a", an alias that NumPy warns about.
_DESCR = re.compile(r"[<>|=]?[?bhilqpBHILQPefdgFDGcuSUOV][0-9]*")
_SHAPE = re.compile(r"(?:(?:[0-9]{1,20}L?,)+(?:[0-9]{1,20}L?)?)?")
# What zipfile raises for archives that are damaged or of an unknown kind.
_ZIP_FAULTS = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError),
    *(ValueError, OverflowError, RuntimeError),
)
_SURROGATES = (0xD800, 0xDFFF)
_LAST_CHARACTER = 0x10FFFF


def read_npy(path: str | os.PathLike[str], *, max_bytes: int) -> Array:
    """Read the array of a .npy file.

    Raises
    ------
    DataError
        The file is not exactly one complete array of numbers, strings or booleans, or the array
        takes more than `max_bytes` bytes.
    OSError
        As `open` raises it.
    """
    with _opened(path) as file:
        return _read_array(file, os.fstat(file.fileno()).st_size, "the array", max_bytes)


class Archive:
    """An open .npz file: the `names` of its arrays, and `read(name)`."""

    def __init__(self, file: BufferedReader, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        try:
            self._zip = zipfile.ZipFile(file)
        except _ZIP_FAULTS as error:
            raise DataError(f"not a readable .npz file: {error}") from error
        self._members: dict[str, zipfile.ZipInfo] = {}
        size = os.fstat(file.fileno()).st_size
        for member in self._zip.infolist():
            if not 0 <= member.header_offset < size:
                raise DataError(f"{member.filename!a} is said to begin outside the file")
            if member.filename.endswith(".npy"):
                name = member.filename.removesuffix(".npy")
                if name in self._members:
                    raise DataError(f"the array {name!r} appears twice")
                self._members[name] = member

    @property
    def names(self) -> list[str]:
        """The names of the arrays, in the order of the file; only members that end in .npy."""
        return list(self._members)

    def read(self, name: str) -> Array:
        """Return the array with this name. Raises DataError as `read_npy` does."""
        member, what = self._members[name], f"the array {name!r}"
        _check_member(member, what)
        try:
            with self._zip.open(member) as file:
                return _read_array(file, member.file_size, what, self._max_bytes)
        except DataError:
            raise
        except _ZIP_FAULTS as error:
            raise DataError(f"{what} is damaged: {error}") from error


@contextlib.contextmanager
def open_npz(path: str | os.PathLike[str], *, max_bytes: int) -> Iterator[Archive]:
    """Open a .npz file, to read its arrays one by one.

    The message of each DataError in the block begins with the path. Raises the same exceptions as
    `read_npy`.
    """
    with _opened(path) as file:
        yield Archive(file, max_bytes)


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[BufferedReader]:
    try:
        with naming(os.fsdecode(path)), open(path, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise DataError("expected a regular file; this is a device or a pipe")
            yield file
    except DataError as error:
        raise DataError(f"{os.fsdecode(path)}: {error}") from error.__cause__


def _check_member(member: zipfile.ZipInfo, what: str) -> None:
    """Check what the directory of the archive says about a member, before the member is opened."""
    if member.flag_bits & (_ENCRYPTED | _STRONGLY_ENCRYPTED):
        raise DataError(f"{what} is encrypted; write it without a password")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or (
        member.flag_bits & _PATCHED
    ):
        raise DataError(
            f"{what} is compressed by method {member.compress_type}; expected 0 (stored) or 8 "
            "(deflated), as numpy.savez and savez_compressed write them"
        )
    limit = member.compress_size
    if member.compress_type == zipfile.ZIP_DEFLATED:
        limit = limit * _MAX_RATIO + _MAX_RATIO
    if member.file_size > limit:
        raise DataError(
            f"{what} claims {member.file_size} bytes, which {member.compress_size} cannot expand to"
        )


def _read_array(file: IO[bytes], size: int, what: str, max_bytes: int) -> Array:
    """Read the array in the next `size` bytes of a file."""
    text, start = _read_header(file, size, what)
    dtype, shape, fortran = _parse_header(text, what)
    n_bytes = array_bytes(shape, dtype, max_bytes, what)
    if n_bytes != size - start:
        raise DataError(
            f"{what}, {dtype} of shape {shape}, takes {n_bytes} bytes; {size - start} follow "
            "its header"
        )
    data = np.empty(n_bytes, np.uint8)
    _fill(file, data, what)
    array = data.view(dtype) if n_bytes else np.empty(0, dtype)
    _check_elements(array, what)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def _fill(file: IO[bytes], data: Array, what: str) -> None:
    """Fill `data` with bytes from the file."""
    view, done = data.data, 0
    while done < len(view):
        chunk = file.read(min(_CHUNK, len(view) - done))
        if not chunk:
            raise DataError(f"{what} takes {len(view)} bytes; the file ends after {done} of them")
        view[done : done + len(chunk)] = chunk
        done += len(chunk)


def _check_elements(array: Array, what: str) -> None:
    """Check that booleans are 0 or 1, and that strings consist of characters."""
    if array.dtype.kind == "b" and (array.view(np.uint8) > 1).any():
        raise DataError(f"{what} holds booleans other than 0 and 1")
    if array.dtype.kind == "U":
        codes = array.view(np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
        low, high = _SURROGATES
        if ((codes > _LAST_CHARACTER) | ((codes >= low) & (codes <= high))).any():
            raise DataError(f"{what} holds strings with codes that are not characters")


def _read_header(file: IO[bytes], size: int, what: str) -> tuple[str, int]:
    """Return the text of the header, and the number of bytes up to its end."""
    magic = file.read(8)
    if len(magic) < 8 or magic[:6] != b"\x93NUMPY":
        raise DataError(f"{what} is not in the .npy format: it begins with {magic[:6]!r}")
    version = tuple(magic[6:])
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise DataError(f"{what} has version {version[0]}.{version[1]} of .npy; known: 1.0 to 3.0")
    width = 2 if version == (1, 0) else 4
    length = int.from_bytes(file.read(width), "little")
    start = 8 + width + length
    if length > MAX_HEADER:
        raise DataError(
            f"the header of {what} claims {length} bytes; at most {MAX_HEADER} are allowed"
        )
    if start > size:
        raise DataError(
            f"the header of {what} claims {length} bytes; the file lacks {start - size} of them"
        )
    text = file.read(length)
    try:
        return text.decode("utf-8" if version == (3, 0) else "latin-1"), start
    except UnicodeDecodeError as error:
        raise DataError(f"the header of {what} is not text: {error}") from error


def _parse_header(text: str, what: str) -> tuple[np.dtype, tuple[int, ...], bool]:
    """Return (dtype, shape, fortran_order), each of its type."""
    text = " ".join(text.replace('"', "'").split())
    found = _HEADER.fullmatch(text)
    fields = {}
    if found:
        groups = found.groups()
        fields = {groups[i]: groups[i + 1 : i + 4] for i in (0, 4, 8)}
    if fields.keys() != {"descr", "fortran_order", "shape"}:
        record = re.search(r"'descr' ?: ?\[", text)
        wanted = "an array of numbers or strings" if record else "descr, fortran_order and shape"
        got = "an array of records" if record else ascii(text[:80])
        raise DataError(f"the header of {what} must describe {wanted}; got {got}")
    descr, fortran, shape = fields["descr"][0], fields["fortran_order"][1], fields["shape"][2]
    shape = None if shape is None else shape.replace(" ", "")
    if fortran is None or shape is None or not _SHAPE.fullmatch(shape):
        raise DataError(
            f"the header of {what} must have True or False for fortran_order and a tuple of whole "
            f"numbers for shape; got {text[:80]!a}"
        )
    sizes = tuple(int(n.rstrip("L")) for n in shape.split(",") if n)
    if len(sizes) > _MAX_RANK:
        raise DataError(f"{what} has {len(sizes)} dimensions; at most {_MAX_RANK} are allowed")
    return _dtype_of(descr, what), sizes, fortran == "True"


def _dtype_of(descr: str | None, what: str) -> np.dtype:
    """Return the dtype; DataError for Python objects, records and elements of size 0."""
    if not descr or not _DESCR.fullmatch(descr):
        raise DataError(f"{what} has the dtype {ascii(descr)[:60]}; expected numbers or strings")
    try:
        dtype = np.dtype(descr)
    except TypeError:
        raise DataError(
            f"{what} has the dtype {ascii(descr)[:60]}, which NumPy does not know"
        ) from None
    if dtype.kind == "O":
        raise DataError(
            f"{what} holds Python objects, which only pickle can read; expected numbers"
        )
    if dtype.kind == "V" or dtype.itemsize == 0:
        raise DataError(f"{what} has the dtype {descr}; expected numbers or strings")
    return dtype
