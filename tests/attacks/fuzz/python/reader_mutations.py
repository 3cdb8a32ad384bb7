"""Changes of inputs: bytes, words, and the structures of the formats that fastbp reads.

Each function takes an input, a random generator and other inputs of the corpus, and returns another
input. `stacked` makes some of them one after another.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import struct
import zipfile
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import numpy as np

from fastbp._files.numpy_arrays import _ZIP_FAULTS
from fastbp._training.checkpoint_file import _digest

Step = Callable[[bytes, Random, Sequence[bytes]], bytes]

_EDGES = (
    0,
    1,
    2,
    7,
    127,
    128,
    255,
    2**15,
    2**16 - 1,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**53,
    2**63 - 1,
)
# JSON that json.dumps does not write. A string with one of these numbers stands for it.
_RAW = (
    *("NaN", "Infinity", "-Infinity", "1e999", "-0.0", "1e-400", "9" * 400, "9" * 5000, "01"),
    *('"\\ud800"', '"\\u0000"', '{"a":1,"a":2}', "[" * 2000, "[" * 40 + "]" * 40, "", "nul", "'a'"),
)
_MARK = "raw\u2063"
_VALUES = (
    *(None, True, False, 0, 1, -1, 2, 3, 0.5, -0.5, 1e308, 5e-324, 2**31, 2**53, 2**63 - 1, 2**64),
    *(-(2**63), 10**30, "", "a", "1", "float32", "float64", "é", "\x1b[31m", "x" * 300, [], {}),
    *([0], [1, 2], [[1]], {"a": 1}, {"$tensor": "state.theta"}, "highest", "relu", "softmax"),
    *(f"relu({' ' * 2000}x", f"huber({' ' * 2000}=)", f"formula({') ' * 2000}", " " * 2000),
)


# ---- bytes and words ----------------------------------------------------------------------


def of_bytes(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Flip, insert, remove, repeat or splice bytes, or write a number of 1, 2, 4 or 8 bytes."""
    if not data:
        return rng.randbytes(rng.randint(1, 16))
    at, what = rng.randrange(len(data)), rng.randrange(7)
    stop = min(len(data), at + rng.choice((1, 1, 2, 4, 8, 16, 64)))
    if what == 0:
        return data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
    if what == 1:
        return data[:at] + rng.randbytes(rng.choice((1, 2, 4))) + data[at:]
    if what == 2:
        return data[:at] + data[stop:]
    if what == 3:
        return data[:stop] + data[at:stop] * rng.choice((1, 1, 3, 100, 2000)) + data[stop:]
    if what == 4:
        other = rng.choice(others) if others else data
        return data[:at] + other[rng.randrange(len(other) + 1) :]
    if what == 5:
        size = rng.choice((1, 2, 4, 8))
        number = (rng.choice(_EDGES) & (256**size - 1)).to_bytes(
            size, rng.choice(("little", "big"))
        )
        return data[:at] + number + data[at + size :]
    return data[:at]


def of_words(*words: str) -> Step:
    """Return a step that puts words into a text, in the place of others."""
    known = [word.encode("utf-8", "surrogatepass") for word in words]

    def step(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
        at = rng.randrange(len(data) + 1)
        stop = at if rng.random() < 0.5 else min(len(data), at + rng.randint(1, 8))
        new = b"".join(rng.choice(known) for _ in range(rng.choice((1, 1, 1, 2, 3))))
        return data[:at] + new * rng.choice((1, 1, 1, 1, 2, 50)) + data[stop:]

    return step


def stacked(*steps: Step, most: int = 4) -> Step:
    """Return a step that makes 1 to `most` of the steps, in random order."""

    def step(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
        for _ in range(rng.randint(1, most)):
            data = rng.choice(steps)(data, rng, others)
        return data

    return step


# ---- JSON ---------------------------------------------------------------------------------


def json_text(value: object, rng: Random) -> str:
    """The text of a value; strings that stand for text that is not JSON are replaced by it."""
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5)
    for i, raw in enumerate(_RAW):
        for mark in (json.dumps(f"{_MARK}{i}."), json.dumps(f"{_MARK}{i}.", ensure_ascii=False)):
            text = text.replace(mark, raw)
    return text


def changed_json(value: Any, rng: Random) -> Any:
    """The value with one change at a random place: another value, a field more or less."""
    if isinstance(value, (dict, list)) and value and rng.random() < 0.8:
        key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        copy = dict(value) if isinstance(value, dict) else list(value)
        copy[key] = changed_json(value[key], rng)
        return copy
    if isinstance(value, dict) and rng.random() < 0.6:
        copy = dict(value)
        if copy and rng.random() < 0.5:
            del copy[rng.choice(list(copy))]
        else:
            copy[rng.choice(("new", "", "__class__", "__dict__", "t", "W", "é"))] = _value(rng)
        return copy
    if isinstance(value, list) and rng.random() < 0.6:
        copy = list(value)
        if copy and rng.random() < 0.5:
            del copy[rng.randrange(len(copy))]
        else:
            copy += [rng.choice(copy or [1])] * rng.choice((1, 1, 2, 300))
        return copy
    if type(value) in (int, float) and abs(value) < 1e300 and rng.random() < 0.5:
        return rng.choice((-value, value + 1, value - 1, value * 2, value / 2, value * 1000003))
    return _value(rng)


def _value(rng: Random) -> object:
    return f"{_MARK}{rng.randrange(len(_RAW))}." if rng.random() < 0.3 else rng.choice(_VALUES)


def of_json(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Change one value of a JSON text."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return of_bytes(data, rng, others)
    return json_text(changed_json(value, rng), rng).encode("utf-8", "surrogatepass")


# ---- safetensors --------------------------------------------------------------------------


def of_safetensors(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Change the header, a JSON text in its metadata, or numbers of the tensors."""
    parts = _parts(data)
    if parts is None:
        return of_bytes(data, rng, others)
    header, body = parts
    what = rng.random()
    if what < 0.55 and isinstance(header.get("__metadata__"), dict):
        header["__metadata__"] = _changed_metadata(header["__metadata__"], rng)
    elif what < 0.75:
        header = changed_json(header, rng)
    elif what < 0.9:
        body = _changed_numbers(body, rng)
    else:
        header, body = _changed_layout(header, body, rng)
    return _packed(header, body, rng)


def of_signed_safetensors(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """As `of_safetensors`, and most of the time with the checksum of a checkpoint."""
    data = of_safetensors(data, rng, others)
    return signed(data) if rng.random() < 0.9 else data


def signed(data: bytes) -> bytes:
    """The file of a checkpoint with a checksum that holds, or the bytes as they are."""
    parts = _parts(data)
    if parts is None or not isinstance(parts[0].get("__metadata__"), dict):
        return data
    header, body = parts
    try:
        tensors = {}
        for name, entry in header.items():
            if name != "__metadata__":
                begin, end = entry["data_offsets"]
                dtype = {"F32": "<f4", "F64": "<f8", "I64": "<i8", "U8": "|u1"}[entry["dtype"]]
                tensors[name] = np.frombuffer(body[begin:end], dtype).reshape(entry["shape"])
        header["__metadata__"]["sha256"] = _digest(header["__metadata__"], tensors)
    except (KeyError, TypeError, ValueError, OverflowError):
        return data
    return _packed(header, body, None)


def _parts(data: bytes) -> tuple[dict[str, Any], bytes] | None:
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length]) if length < len(data) else None
    except (ValueError, RecursionError):
        return None
    return (header, data[8 + length :]) if isinstance(header, dict) else None


def _packed(header: Any, body: bytes, rng: Random | None) -> bytes:
    text = json.dumps(header) if rng is None else json_text(header, rng)
    packed = text.encode("utf-8", "surrogatepass")
    packed += b" " * (-len(packed) % 8)
    return len(packed).to_bytes(8, "little") + packed + body


def _changed_metadata(metadata: dict[str, Any], rng: Random) -> dict[str, Any]:
    """Change one of the JSON texts in the metadata, or the metadata."""
    texts = [key for key, text in metadata.items() if isinstance(text, str) and text[:1] in "{["]
    if not texts or rng.random() < 0.15:
        changed = changed_json(metadata, rng)
        return changed if isinstance(changed, dict) else metadata
    key = rng.choice(texts)
    try:
        value = json.loads(metadata[key])
    except (ValueError, RecursionError):
        return metadata
    for _ in range(rng.choice((1, 1, 1, 2))):
        value = changed_json(value, rng)
    return metadata | {key: json_text(value, rng)}


def _changed_numbers(body: bytes, rng: Random) -> bytes:
    numbers = (float("nan"), float("inf"), -0.0, 3e38, 1e-45, 1e30, 1.0)
    packed = struct.pack(rng.choice(("<f", "<d")), rng.choice(numbers))
    at = rng.randrange(len(body) + 1) & ~3
    return (body[:at] + packed + body[at + len(packed) :])[: max(len(body), 1)]


def _changed_layout(header: dict[str, Any], body: bytes, rng: Random) -> tuple[Any, bytes]:
    """Swap, move or rename tensors, or change what follows them."""
    names = [name for name in header if name != "__metadata__"]
    what = rng.randrange(4)
    if what == 0 and len(names) > 1:
        one, two = rng.sample(names, 2)
        return header | {one: header[two], two: header[one]}, body
    if what == 1 and names:
        name = rng.choice(names)
        header = {key: value for key, value in header.items() if key != name}
        return header | {rng.choice(("layers.9.W", "moments.3", "average", name + "0")): 1}, body
    if what == 2 and names:
        name, shift = rng.choice(names), rng.choice((-8, -4, 4, 8, 2**40))
        entry = header[name]
        if isinstance(entry, dict) and isinstance(entry.get("data_offsets"), list):
            moved = [n + shift if type(n) is int else n for n in entry["data_offsets"]]
            return header | {name: entry | {"data_offsets": moved}}, body
    return header, body + rng.randbytes(8) if rng.random() < 0.5 else body[:-4]


# ---- NumPy's formats, gzip ------------------------------------------------------------------

NPY_WORDS = of_words(
    *("(", ")", ",", "0", "1,", "4294967296", "-1", "L", "True", "'|O'", "'<f8'", "'<U2'", "'|b1'"),
    *(
        "'>f4'",
        "'|S3'",
        "'T'",
        "'a5'",
        "'M8'",
        "'g'",
        "'c8'",
        "'|V8'",
        "__import__('os')",
        "{",
        "'",
    ),
    *("'shape'", "'descr'", "'fortran_order'", " ", "[('a', '<f8')]", "1e3", "0x10", "٤", "\\x00"),
)
_NPY_FIELDS = {
    b"descr": [
        *(
            f"'{kind}{size}'"
            for kind in "?bhilqpuBHILQPnNefdgcFDGSUVOMmTaXZ"
            for size in ("", 1, 8)
        ),
        *(
            "'<f8'",
            "'>c16'",
            "'=i4'",
            "'<M8[ns]'",
            "'<U0'",
            "'S99999999999'",
            "'<f4'",
            "[('a', 'f8')]",
        ),
    ],
    b"fortran_order": ["True", "False", "1", "None"],
    b"shape": [
        *("()", "(0,)", "(1,)", "(4, 3)", "(3, 4)", "(12,)", "(1, 12, 1)", "(-1,)", "(2, 0, 3)"),
        *(
            "(1000000000000,)",
            "(4294967296, 4294967296)",
            "(1,) * 9",
            f"({'1,' * 40})",
            "12",
            "(12L,)",
        ),
    ],
}


def of_npy(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Change the text of the header, with a length that is right most of the time."""
    if len(data) < 10 or data[:6] != b"\x93NUMPY" or rng.random() < 0.3:
        return of_bytes(data, rng, others)
    width = 2 if data[6] == 1 else 4
    start = 8 + width
    length = int.from_bytes(data[8:start], "little")
    text = data[start : start + length]
    field = rng.choice(tuple(_NPY_FIELDS))
    found = re.search(rb"'%s': ?('[^']*'|\([^)]*\)|\w+)" % field, text)
    if found and rng.random() < 0.6:
        new = rng.choice(_NPY_FIELDS[field])
        text = text[: found.start(1)] + new.encode() + text[found.end(1) :]
    else:
        text = NPY_WORDS(text, rng, others)
    size = len(text) & 0xFFFF if rng.random() < 0.9 else rng.choice(_EDGES) & 0xFFFF
    return data[:8] + size.to_bytes(width, "little") + text + data[start + length :]


_MEMBERS = ("X.npy", "y.npy", "X", "../X.npy", "/X.npy", "X.npy\x00.txt", "é.npy", "", "z.npy")


def of_npz(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Write the archive again with changed members or names, or change its bytes."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(i.filename, archive.read(i)) for i in archive.infolist()[:8]]
    except (*_ZIP_FAULTS, KeyError, OSError):
        members = []
    if not members or rng.random() < 0.5:
        return _changed_directory(data, rng) if rng.random() < 0.6 else of_bytes(data, rng, others)
    i = rng.randrange(len(members))
    name, content = members[i]
    if rng.random() < 0.3:
        name = rng.choice(_MEMBERS)
    else:
        content = of_npy(content, rng, [])
    members[i] = (name, content)
    if rng.random() < 0.1:
        members.append(("bomb.npy", bytes(1 << 16)))
    return archive_of(members, rng.choice((0, 8, 8, zipfile.ZIP_BZIP2)))


def archive_of(members: Sequence[tuple[str, bytes]], method: int) -> bytes:
    """A zip archive of these members; a name may appear twice."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members:
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.compress_type = method
            archive.NameToInfo.pop(info.filename, None)  # so that a second one gives no warning
            archive.writestr(info, content)
    return file.getvalue()


def _changed_directory(data: bytes, rng: Random) -> bytes:
    """Change a field of a local header, of the directory, or of the end of the archive."""
    mark = rng.choice((b"PK\3\4", b"PK\1\2", b"PK\5\6"))
    at = data.rfind(mark) if rng.random() < 0.5 else data.find(mark)
    if at < 0:
        return data
    size = rng.choice((2, 4))
    at += 4 + 2 * rng.randrange(21)
    number = rng.choice(_EDGES) & (256**size - 1)
    return data[:at] + number.to_bytes(size, "little") + data[at + size :]


def of_gzip(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Compress, decompress, or change what is compressed."""
    if data[:2] != b"\x1f\x8b":
        return gzip.compress(data, mtime=0) if rng.random() < 0.3 else of_bytes(data, rng, others)
    try:
        plain = gzip.decompress(data)[: 1 << 16]
    except (OSError, EOFError, ValueError, zipfile.zlib.error):
        return of_bytes(data, rng, others)
    return gzip.compress(of_bytes(plain, rng, []), mtime=0) if rng.random() < 0.7 else plain


# ---- several files in one input ---------------------------------------------------------------


def joined(*files: bytes) -> bytes:
    """An input of several files: the length of each, in 8 bytes, and its bytes."""
    return b"".join(len(file).to_bytes(8, "little") + file for file in files)


def split(data: bytes, n: int) -> list[bytes]:
    """The first n files of an input; a length beyond the end stands for all bytes that are left."""
    files = []
    for _ in range(n):
        length = int.from_bytes(data[:8], "little")
        files.append(data[8 : 8 + length])
        data = data[8 + length :]
    return files


def of_files(step: Step, n: int) -> Step:
    """Return a step that changes one of the n files of an input, or exchanges them."""

    def changed(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
        files = split(data, n)
        if rng.random() < 0.1:
            rng.shuffle(files)
        if rng.random() < 0.1:
            files[rng.randrange(n)] = rng.choice((b"", *files))
        i = rng.randrange(n)
        files[i] = step(files[i], rng, [split(other, n)[i] for other in others])
        return joined(*files)

    return changed
