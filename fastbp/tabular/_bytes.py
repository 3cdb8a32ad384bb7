"""The bytes of a text file, in UTF-8: decompressed, and recoded from another encoding."""

from __future__ import annotations

import bz2
import codecs
import contextlib
import gzip
import importlib
import io
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from .._files.atomic import naming
from ..errors import DataError

BLOCK = 1 << 20  # bytes read at a time
_CHUNK = 1 << 11  # bytes of a frame that are decompressed at once, to 90 MB at most
_XZ_MEMORY = 1 << 28  # for the dictionary of a file; xz -9 needs a quarter of it
_MARKS = {  # the first bytes of a file that say its encoding; the longer ones first
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# which of the first bytes of UTF-16 are not NUL, if the text begins with ASCII
_WITHOUT_MARK: dict[tuple[bool, ...], str] = {
    (True, False, True, False): "utf-16-le",
    (False, True, False, True): "utf-16-be",
}


class Reader(Protocol):
    """What a file of bytes can do."""

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Fill a buffer; return the number of bytes, 0 at the end."""
        ...


# ---- compressed files ---------------------------------------------------------------------


class _Frames:
    """A reader of a compressed file of one or more frames, that notices where a file is cut off.

    `new` makes an object that decompresses one frame.
    """

    def __init__(self, file: Any, new: Callable[[], Any]) -> None:
        self._file, self._new = file, new
        self._frame: Any = None
        self._ahead = self._left = b""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a buffer; return the number of bytes, 0 at the end."""
        while not self._left:
            chunk, self._ahead = self._ahead or self._file.read(_CHUNK), b""
            if not chunk:
                if self._frame is not None:
                    raise EOFError("it ends within a frame")
                return 0
            self._frame = self._frame or self._new()
            self._left = self._frame.decompress(chunk)
            if self._frame.eof:
                self._ahead, self._frame = self._frame.unused_data.lstrip(b"\0"), None  # padding
        n = min(len(buffer), len(self._left))
        buffer[:n] = self._left[:n]
        self._left = self._left[n:]
        return n


def _open_zstd(file: Any) -> Reader:
    """A reader of a .zst file: by Python from 3.14 on, else by the package zstandard."""
    with contextlib.suppress(ImportError):
        reader: Reader = importlib.import_module("compression.zstd").ZstdFile(file)
        return reader
    try:
        import zstandard
    except ImportError as error:
        raise ImportError(
            'reading .zst files needs zstandard: run pip install "fastbp[table]"'
        ) from error
    return _Frames(file, zstandard.ZstdDecompressor().decompressobj)


def _open_xz(file: Any) -> Reader:
    return _Frames(file, lambda: lzma.LZMADecompressor(memlimit=_XZ_MEMORY))


COMPRESSED: dict[str, Callable[[Any], Reader]] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".bz2": bz2.BZ2File,
    ".xz": _open_xz,
    ".zst": _open_zstd,
}


def without_compression(path: str) -> str:
    """Return a path without the ending of a compressed file.

    >>> without_compression("houses.csv.gz"), without_compression("houses.csv")
    ('houses.csv', 'houses.csv')
    """
    stem, ending = os.path.splitext(path)
    return stem if ending.lower() in COMPRESSED else path


@contextlib.contextmanager
def _decompressing(source: str) -> Iterator[None]:
    """Turn the errors of damaged compressed files into DataError."""
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{source}: the compressed file is damaged: {error}") from error
    except OSError as error:
        if error.errno is not None:  # of the file, not of what is in it
            raise
        raise DataError(f"{source}: the compressed file is damaged: {error}") from error
    except Exception as error:
        if type(error).__name__ != "ZstdError":
            raise
        raise DataError(f"{source}: the compressed file is damaged: {error}") from error


# ---- encodings ----------------------------------------------------------------------------


def check_encoding(encoding: object) -> str:
    """Return the name of an encoding of text that Python knows. Raises ValueError for another."""
    if isinstance(encoding, str):
        with contextlib.suppress(LookupError, UnicodeError, ValueError):
            "a".encode(encoding)  # no error: an encoding of text
            return encoding
    raise ValueError(
        f"encoding must be one that Python knows, such as utf-8, cp1252 or utf-16; got {encoding!r}"
    )


class _Recoded:
    """A reader that turns text of another encoding into UTF-8."""

    def __init__(self, reader: Reader, source: str, encoding: str) -> None:
        self._reader, self._source, self._encoding = reader, source, encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._left = b""
        self._line = 1
        self._chunk = bytearray(1 << 18)

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a buffer; return the number of bytes, 0 at the end."""
        while not self._left:
            n = self._reader.readinto(memoryview(self._chunk)) or 0
            text = self._decode(bytes(self._chunk[:n]), n == 0)
            self._line += text.count("\n")
            self._left = text.encode("utf-8", "surrogatepass")
            if n == 0:
                break
        n = min(len(buffer), len(self._left))
        buffer[:n] = self._left[:n]
        self._left = self._left[n:]
        return n

    def _decode(self, chunk: bytes, last: bool) -> str:
        try:
            return self._decoder.decode(chunk, last)
        except UnicodeDecodeError as error:
            lines = error.object[: error.start].decode(self._encoding, "replace").count("\n")
            raise DataError(
                f"{self._source}, line {self._line + lines}: expected {self._encoding} text: "
                f"{error.reason}; name its encoding (such as --encoding cp1252)"
            ) from error


class _Joined:
    """A reader that gives some bytes, and then those of another reader."""

    def __init__(self, head: bytes, reader: Reader) -> None:
        self._head, self._reader = head, reader

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a buffer; return the number of bytes, 0 at the end."""
        if not self._head:
            return self._reader.readinto(buffer) or 0
        n = min(len(buffer), len(self._head))
        buffer[:n] = self._head[:n]
        self._head = self._head[n:]
        return n


def _first(reader: Reader, n: int) -> bytes:
    """Return the first n bytes, or fewer if there are no more."""
    found = bytearray()
    while len(found) < n:
        part = bytearray(n - len(found))
        size = reader.readinto(memoryview(part)) or 0
        if size == 0:
            break
        found += part[:size]
    return bytes(found)


# ---- files --------------------------------------------------------------------------------


class TextFile:
    """The text of a file in UTF-8, which can be read several times; a pipe stays in memory.

    Parameters
    ----------
    source : str
        The path.
    encoding : str
        The encoding of the file; a mark in its first bytes counts first.
    content : bytes, optional
        Text in UTF-8 that is read instead of the file.

    Attributes
    ----------
    recoded : str
        The encoding that a mark in the first bytes says; "" if there is none, or UTF-8.
    """

    def __init__(self, source: str, encoding: str, content: bytes | None = None) -> None:
        self.source, self.encoding, self.recoded = source, encoding, ""
        self._kept = content
        self._compressed = content is None and without_compression(source) != source
        self._state: tuple[int, int] | None = None
        self._done: Callable[[], int] = lambda: 0
        self._given = 0  # bytes of text in this pass

    def read(self, take: Callable[[bytearray, int, int, bool], int]) -> None:
        """Pass blocks to `take`, which returns where the unused part of the block begins."""
        with naming(self.source), self._open() as file, _decompressing(self.source):
            reader = self._text(file)
            block, stop, last, self._given = bytearray(BLOCK), 0, False, 0
            while not last:
                with memoryview(block) as view, view[stop:] as free:
                    n = reader.readinto(free) or 0
                last = n == 0
                stop += n
                self._given += n
                start = take(block, 0, stop, last)
                if start > 0:
                    block[: stop - start] = block[start:stop]
                    stop -= start
                if stop == len(block):
                    block.extend(bytes(len(block)))

    def first(self, n: int) -> bytes:
        """Return the first n bytes of the text."""
        with naming(self.source), self._open() as file, _decompressing(self.source):
            return _first(self._text(file), n)

    def expected(self, n: int, left: int) -> int:
        """Estimate the number of records in the file, after n records.

        `left` bytes of the text that was read are behind these.
        """
        share = self.size / max(self._done() * (1 - left / max(self._given, 1)), 1)
        return n + n // 2 + 16 if share < 1 else max(int(1.02 * share * n), n) + 16

    @property
    def size(self) -> int:
        """The bytes of the file, while it is read; compressed ones if it is compressed."""
        return len(self._kept or b"") if self._state is None else self._state[0]

    def changed(self) -> DataError:
        """Return the error for a second pass that differs from the first one."""
        return DataError(f"{self.source}: the file changed while it was read")

    def _open(self) -> Any:
        if self._kept is not None:
            return io.BytesIO(self._kept)
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(open(self.source, "rb", buffering=0))
            if not file.seekable():
                self._kept = file.readall()
                return io.BytesIO(self._kept)
            status = os.fstat(file.fileno())
            state = (status.st_size, status.st_mtime_ns)
            if self._state not in (None, state):
                raise self.changed()
            self._state = state
            stack.pop_all()
            return file

    def _text(self, file: Any) -> Reader:
        """Return a reader of the text in UTF-8, without a mark at the start."""
        self._done = file.tell
        reader: Reader = file
        if self._compressed:
            ending = os.path.splitext(self.source)[1].lower()
            reader = COMPRESSED[ending](file)
        head = _first(reader, 4)
        for mark, encoding in _MARKS.items():
            if head.startswith(mark):
                if encoding == "utf-8":
                    return _Joined(head[len(mark) :], reader)
                self.recoded = encoding
                return _Recoded(_Joined(head, reader), self.source, encoding)
        reader = _Joined(head, reader)
        plain = codecs.lookup(self.encoding).name in ("utf-8", "ascii")
        such = _WITHOUT_MARK.get(tuple(map(bool, head)), "")
        if plain and such:
            raise DataError(
                f"{self.source}, line 1: every other byte is NUL; is this {such.upper()} without a "
                f"byte order mark (--encoding {such})?"
            )
        return reader if plain else _Recoded(reader, self.source, self.encoding)
