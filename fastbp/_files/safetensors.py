"""A strict reader and an atomic writer of the safetensors format.

    8 bytes      N, the length of the header, little-endian
    N bytes      JSON object, padded with spaces: {"name": {"dtype", "shape", "data_offsets"}, …}
                 and, under "__metadata__", an object of strings
    the rest     the tensors, little-endian, row-major, without gaps

Memory is allocated only after the numbers in the header have been compared with the size of the
file. Format: https://huggingface.co/docs/safetensors (no code of that package is used).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from typing import Any

import numpy as np

from .._types import Array
from ..errors import ModelFileError
from .atomic import atomic_write, naming

MAX_HEADER = 100_000_000  # bytes; the limit of the safetensors package
MAX_TENSORS = 65_536  # in a file, so that a forged header cannot keep the reader busy
MAX_RANK = 32  # dimensions of an array in NumPy before 2.0
_MAX_INT = 2**63 - 1

DTYPES: dict[str, np.dtype] = {
    "F16": np.dtype(np.float16),
    "F32": np.dtype(np.float32),
    "F64": np.dtype(np.float64),
    **{f"I{bits}": np.dtype(f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"U{bits}": np.dtype(f"uint{bits}") for bits in (8, 16, 32, 64)},
}
_CODES = {dtype: code for code, dtype in DTYPES.items()}
_FIELDS = {"dtype", "shape", "data_offsets"}


@dataclass(frozen=True)
class Entry:
    """One tensor of a file; `begin` and `end` count bytes from the first byte of the data."""

    name: str
    dtype: np.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


class Reader:
    """An open file whose header has been checked: `entries` by name, `metadata`, `read(name)`."""

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        text, data_size = _read_header(file)
        self._data_start = file.tell()
        header = parse_json(text, "the header", max_entries=MAX_TENSORS)
        self.metadata = _check_metadata(header.pop("__metadata__", {}))
        self.entries = {name: _check_entry(name, fields) for name, fields in header.items()}
        _check_layout(self.entries.values(), data_size)

    def read(self, name: str) -> Array:
        """Return the tensor with this name, as a new array in native byte order."""
        entry = self.entries[name]
        data = np.empty(entry.end - entry.begin, np.uint8)
        self._file.seek(self._data_start + entry.begin)
        got = self._file.readinto(data.data)
        if got != data.size:
            raise ModelFileError(
                f"tensor {shown(name)} takes {data.size} bytes; the file ends after {got} of them"
            )
        stored = data.view(entry.dtype.newbyteorder("<"))
        return stored.reshape(entry.shape).astype(entry.dtype, copy=False)


@contextlib.contextmanager
def open_reader(path: str | os.PathLike[str]) -> Iterator[Reader]:
    """Open and check a file; the message of each ModelFileError in the block begins with `path`."""
    try:
        with naming(os.fsdecode(path)), open(path, "rb") as file:
            yield Reader(file)
    except ModelFileError as error:
        raise ModelFileError(f"{os.fsdecode(path)}: {error}") from error.__cause__


def read_safetensors(
    path: str | os.PathLike[str],
) -> tuple[dict[str, Array], dict[str, str]]:
    """Read all tensors and the metadata of a safetensors file, which may be untrusted.

    Returns
    -------
    tensors : dict of str to ndarray
        The tensors, in the order of the header.
    metadata : dict of str to str
        The metadata.

    Raises
    ------
    ModelFileError
        The file violates the format, or has a tensor of dtype BOOL or of a dtype that NumPy does
        not have (BF16, F8…).
    OSError
        As `open` raises it.
    """
    with open_reader(path) as reader:
        return {name: reader.read(name) for name in reader.entries}, reader.metadata


def write_safetensors(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Array],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write tensors and metadata to a safetensors file, either completely or not at all.

    An existing file stays unchanged until the new one is on the disk. Tensors with wider elements
    come first, so every tensor is aligned.

    Parameters
    ----------
    path : str or path-like
        The file to write.
    tensors : mapping of str to array
        The tensors: float16, float32, float64, or integers of 8 to 64 bits.
    metadata : mapping of str to str, optional
        The metadata.

    Raises
    ------
    TypeError
        A tensor has another dtype, or the metadata has a key or a value that is not a string.
    ValueError
        A tensor is named "__metadata__", there are more than 65,536 tensors, or the header takes
        more than 100 MB.
    OSError
        As `open` raises it.
    """
    arrays = {name: np.asarray(tensor) for name, tensor in tensors.items()}
    for name, array in arrays.items():
        if array.dtype.newbyteorder("=") not in _CODES:
            raise TypeError(f"tensor {name!r} has dtype {array.dtype}; known: {', '.join(DTYPES)}")
    order = sorted(arrays, key=lambda name: -arrays[name].itemsize)
    prefix = _make_header(arrays, order, dict(metadata or {}))
    with atomic_write(path) as file:
        file.write(prefix)
        for name in order:
            array = arrays[name]
            little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
            file.write(little.reshape(-1).view(np.uint8).data)


def parse_json(
    text: bytes | str, what: str, *, finite: bool = True, max_entries: int | None = None
) -> dict[str, Any]:
    """Parse a JSON object that has no key twice.

    Parameters
    ----------
    text : bytes or str
        The JSON text.
    what : str
        What the text is, for messages.
    finite : bool
        Whether to refuse NaN, Infinity, and numbers beyond the range of a double, such as 1e999.
    max_entries : int, optional
        The maximum number of objects in the text, not counting the metadata.

    Raises
    ------
    ModelFileError
        The text is not such an object.
    """
    value = _parse(text, what, finite, max_entries)
    if not isinstance(value, dict):
        raise ModelFileError(f"{what} must be a JSON object; got {_kind(value)}")
    return value


def parse_json_list(text: str, what: str) -> list[Any]:
    """Parse a JSON list with finite numbers, whose objects have no key twice.

    >>> parse_json_list('[1, {"a": []}]', "the list")
    [1, {'a': []}]
    """
    value = _parse(text, what, True, None)
    if not isinstance(value, list):
        raise ModelFileError(f"{what} must be a JSON list; got {_kind(value)}")
    return value


def shown(value: object) -> str:
    """Return `value` for a message: escaped, and shortened if a forged file made it long."""
    text = ascii(value) if isinstance(value, (str, int, float, bool, type(None))) else _kind(value)
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text)} characters)"


# ---- the reader's checks ------------------------------------------------------------------


def _parse(text: bytes | str, what: str, finite: bool, max_entries: int | None) -> object:
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        return json.loads(
            text,
            object_pairs_hook=_unique_keys(max_entries),
            parse_constant=_refuse_constant if finite else None,
            parse_float=_finite if finite else None,
        )
    except ModelFileError as error:
        raise ModelFileError(f"{what}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{what} is not valid UTF-8 JSON: {error}") from None


def _read_header(file: BufferedReader) -> tuple[bytes, int]:
    """Return the bytes of the header, and the number of bytes that follow the header."""
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode):
        raise ModelFileError("expected a regular file; this is a device or a pipe")
    size = status.st_size
    first = file.read(8)
    if len(first) < 8:
        raise ModelFileError(
            f"expected 8 bytes with the length of the header; the file has {len(first)}"
        )
    length = int.from_bytes(first, "little")
    if length > MAX_HEADER:
        raise ModelFileError(
            f"this is no safetensors file, such as net.save writes: it begins with {first!r}, and "
            f"as the length of a header this is {length}; at most {MAX_HEADER} are allowed"
        )
    if length > size - 8:
        raise ModelFileError(f"the header claims {length} bytes; {size - 8} follow its length")
    text = file.read(length)
    if len(text) != length:
        raise ModelFileError(f"the header takes {length} bytes; the file ends after {len(text)}")
    if not text.startswith(b"{"):
        raise ModelFileError(f"the header must begin with {{; it begins with {text[:1]!r}")
    return text, size - 8 - length


def _check_metadata(metadata: object) -> dict[str, str]:
    if not isinstance(metadata, dict):
        raise ModelFileError(f"__metadata__ must be a JSON object; got {_kind(metadata)}")
    for key, value in metadata.items():
        if not isinstance(value, str):
            raise ModelFileError(
                f"__metadata__ must hold strings only; {shown(key)} is {_kind(value)}"
            )
    return metadata


def _check_entry(name: str, fields: object) -> Entry:
    where = f"tensor {shown(name)}"
    if not isinstance(fields, dict):
        raise ModelFileError(f"{where} must be described by a JSON object; got {_kind(fields)}")
    if fields.keys() != _FIELDS:
        unknown = [shown(key) for key in fields if key not in _FIELDS][:3]
        raise ModelFileError(
            f"{where} has the unknown field {', '.join(unknown)}"
            if unknown
            else f"{where} lacks {', '.join(sorted(_FIELDS - fields.keys()))}"
        )
    code = fields["dtype"]
    if not isinstance(code, str) or code not in DTYPES:
        raise ModelFileError(f"{where} has the dtype {shown(code)}; known: {', '.join(DTYPES)}")
    shape = _check_integers(fields["shape"], f"the shape of {where}")
    offsets = _check_integers(fields["data_offsets"], f"data_offsets of {where}")
    if len(shape) > MAX_RANK:
        raise ModelFileError(f"{where} has {len(shape)} dimensions; at most {MAX_RANK} are allowed")
    if len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ModelFileError(f"data_offsets of {where} must be [begin, end], begin <= end")
    begin, end = offsets
    dtype = DTYPES[code]
    if math.prod(n for n in shape if n) * dtype.itemsize > _MAX_INT:
        raise ModelFileError(f"the shape of {where} overflows 63 bits")
    n_bytes = math.prod(shape) * dtype.itemsize
    if n_bytes != end - begin:
        raise ModelFileError(
            f"{where}, {code} of shape {list(shape)}, takes {n_bytes} bytes; "
            f"its data_offsets span {end - begin}"
        )
    return Entry(name, dtype, shape, begin, end)


def _check_integers(values: object, what: str) -> tuple[int, ...]:
    if not isinstance(values, list):
        raise ModelFileError(f"{what} must be a list; got {_kind(values)}")
    for value in values:
        if type(value) is not int or not 0 <= value <= _MAX_INT:
            raise ModelFileError(
                f"{what} must hold integers from 0 to 2**63 - 1; got {shown(value)}"
            )
    return tuple(values)


def _check_layout(entries: Iterable[Entry], data_size: int) -> None:
    """Check that the tensors, in the order of their offsets, cover the data exactly once."""
    covered = 0
    for entry in sorted(entries, key=lambda entry: (entry.begin, entry.end)):
        where = f"tensor {shown(entry.name)}"
        if entry.end > data_size:
            raise ModelFileError(
                f"{where} ends at byte {entry.end} of the data; there are {data_size} (truncated?)"
            )
        if entry.begin < covered:
            raise ModelFileError(
                f"{where} overlaps another: it begins at byte {entry.begin} of the data, "
                f"of which {covered} are taken"
            )
        if entry.begin > covered:
            raise ModelFileError(
                f"bytes {covered} to {entry.begin} of the data, before {where}, belong to no tensor"
            )
        covered = entry.end
    if covered != data_size:
        raise ModelFileError(f"{data_size - covered} bytes follow the last tensor")


def _unique_keys(limit: int | None) -> Callable[[list[tuple[str, object]]], dict[str, object]]:
    """Return a function that makes a dict of pairs, for json.loads.

    It raises ModelFileError for a key that appears twice, and after more than `limit` dicts.
    """
    count = 0

    def make(pairs: list[tuple[str, object]]) -> dict[str, object]:
        nonlocal count
        count += 1
        if limit is not None and count > limit + 2:  # the metadata and the header itself
            raise ModelFileError(f"more than {limit} entries")
        value = dict(pairs)
        if len(value) != len(pairs):
            seen: set[str] = set()
            for key, _ in pairs:
                if key in seen:
                    raise ModelFileError(f"the key {shown(key)} appears twice")
                seen.add(key)
        return value

    return make


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ModelFileError(f"the number {shown(text)} is beyond the range of a double")
    return value


def _refuse_constant(name: str) -> None:
    raise ModelFileError(f"{name} is not JSON")


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean"}
    return names.get(type(value), "null" if value is None else "a number")


# ---- the writer's header ------------------------------------------------------------------


def _make_header(
    arrays: Mapping[str, Array], order: list[str], metadata: Mapping[str, object]
) -> bytes:
    """Return length and JSON of the header, padded so that the data begin at a multiple of 8."""
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"metadata must be str → str; got {key!r}: {type(value).__name__}")
    if len(arrays) > MAX_TENSORS:
        raise ValueError(f"a file takes at most {MAX_TENSORS} tensors; got {len(arrays)}")
    if "__metadata__" in arrays:
        raise ValueError("a tensor cannot be named '__metadata__', the key of the metadata")
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    begin = 0
    for name in order:
        array = arrays[name]
        header[name] = {
            "dtype": _CODES[array.dtype.newbyteorder("=")],
            "shape": list(array.shape),
            "data_offsets": [begin, begin + array.nbytes],
        }
        begin += array.nbytes
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise ValueError(f"the header takes {len(text)} bytes; at most {MAX_HEADER} are allowed")
    return len(text).to_bytes(8, "little") + text
