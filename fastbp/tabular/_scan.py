"""Read a .csv file block by block: first all columns as numbers, then some of them as text.

The engine splits blocks into cells, and finds the distinct texts of each column in the first pass:
a cell that is text is a NaN which holds the code of its text. The memory in use is that of the
numbers, 8 bytes per cell, that of one block, and that of the texts, which is limited. Columns that
have more texts, and those of texts and numbers, take another pass.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from .._checks.size_limit import MAX_BYTES, array_bytes
from .._checks.words import counted
from .._core import CELL_KINDS, MAX_CELL, CsvPass, CsvTexts
from .._types import Array
from ..errors import DataError
from ._bytes import BLOCK, TextFile, check_encoding
from ._dates import check_format
from ._delimiter import TAB, find_delimiter, is_tsv
from ._words import LONGEST_MISSING, is_plain

MAX_COLUMNS = 100_000  # with more columns, names and counts take more memory than the numbers
_MAX_RAGGED = 1000  # lines with another number of cells are counted up to this number
_SAMPLE = 1 << 16  # strings at a time
_TEXTS = 1 << 26  # bytes for the texts of the first pass, besides the size of the file
DECIMALS = (".", ",")
AUTO = "auto"
_NO_COMMENT = '"\r\n\0 \t+-.0123456789'
THOUSANDS = ("", ".", ",", "'", "_", " ")


@dataclass(frozen=True)
class Format:
    """How a .csv file writes cells and numbers.

    Parameters
    ----------
    delimiter : str, default ","
        The character between cells, which must be ASCII; " " stands for one or more blanks. With
        "auto", the first lines of a file say which of `, ; |` and tab it is.
    decimal : str, default "."
        The decimal mark, "." or ",".
    thousands : str, default ""
        The mark between groups of three digits: one of `. , ' _`, a blank, or "" for none.
    na : tuple of str
        Further texts that stand for a missing value, in all columns.
    date_formats : tuple of str
        Formats of dates other than ISO 8601, as `datetime.strptime` takes them.
    units : tuple of str
        What may stand before or after a number and does not count, such as "%" or "EUR".
    comment : str, default ""
        The character that begins lines to skip, or "" if there are none.
    encoding : str, default "utf-8"
        The encoding of the file. A mark at the start of the file counts first.

    Raises
    ------
    ValueError
        One of the marks is invalid, or they conflict with each other.
    """

    delimiter: str = ","
    decimal: str = "."
    thousands: str = ""
    na: tuple[str, ...] = ()
    date_formats: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    comment: str = ""
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        self._check_marks()
        for word in self.na:
            if not isinstance(word, str) or word != word.strip():
                raise ValueError(f"na must be texts without blanks around them; got {word!r}")
        for each in self.date_formats:
            check_format(each)
        for unit in self.units:
            if not isinstance(unit, str) or re.fullmatch(r"[^\s\d+\-.,]+", unit) is None:
                raise ValueError(
                    f"units must be texts without digits, blanks, signs and marks; got {unit!r}"
                )
        check_encoding(self.encoding)

    @cached_property
    def sentinels(self) -> list[float]:
        """The numbers among the texts of `na`."""
        found = (self.number(word) for word in self.na)
        return [number for number in found if number is not None]

    def number(self, text: str) -> float | None:
        """A plain number, in the marks of this format; None for another text."""
        plain = text.replace(self.thousands, "") if self.thousands else text
        plain = plain.replace(self.decimal, ".")
        return float(plain) if is_plain(plain) else None

    def is_na(self, text: str) -> bool:
        """Whether `na` names a text, or a number of the same value."""
        return text in self.na or (bool(self.na) and self.number(text) in self.sentinels)

    def _check_marks(self) -> None:
        one = isinstance(self.delimiter, str) and len(self.delimiter) == 1
        if self.delimiter == AUTO:
            pass
        elif not one or not self.delimiter.isascii() or self.delimiter in '"\r\n\0':
            raise ValueError(
                f"delimiter must be one ASCII character other than a quote or a line break; "
                f"got {self.delimiter!r}"
            )
        if not isinstance(self.decimal, str) or self.decimal not in DECIMALS:
            raise ValueError(f"decimal must be '.' or ','; got {self.decimal!r}")
        if not isinstance(self.thousands, str) or self.thousands not in THOUSANDS:
            raise ValueError(
                f"thousands must be one of . , ' _ or a blank, or empty; got {self.thousands!r}"
            )
        if self.thousands == self.decimal:
            raise ValueError(f"decimal and thousands are both {self.decimal!r}")
        if self.thousands == self.delimiter == " ":
            raise ValueError("a blank cannot be both delimiter and thousands")
        comment = self.comment
        if not isinstance(comment, str) or len(comment) > 1 or not comment.isascii():
            raise ValueError(f"comment must be one ASCII character, or empty; got {comment!r}")
        if comment and (comment in _NO_COMMENT or comment == self.delimiter):
            raise ValueError(f"comment cannot be {comment!r}, which may begin a cell")


@dataclass(frozen=True)
class Scan:
    """All records of a file as numbers, and the first record also as text.

    Attributes
    ----------
    source : str
        The path, for messages.
    format : Format
        How the file writes cells and numbers.
    head : tuple of str
        The cells of the first record.
    values : ndarray of shape (n, columns), float64
        All cells; NaN for cells that are not numbers, with the code of a text.
    lines : ndarray of shape (n,), int64
        The line where each record begins.
    kinds : ndarray of shape (columns,)
        The kind of each cell of the first record, a value of CELL_KINDS.
    counts : ndarray of shape (columns, kinds)
        How many cells of each kind are below the first record.
    first : ndarray of shape (columns, kinds)
        The index of the first record that has a cell of the kind, not counting record 0.
    file : TextFile
        The bytes of the file, for further passes.
    found : CsvTexts
        The texts of the first pass, until they are asked for.
    coded : ndarray of shape (columns,), bool
        The columns whose NaN still have the codes of these texts.
    max_bytes : int
        The maximum size of the texts of one pass.
    notes : tuple of str
        Decisions about the file that the user may want to change.
    """

    source: str
    format: Format
    head: tuple[str, ...]
    values: Array
    lines: Array
    kinds: Array
    counts: Array
    first: Array
    file: TextFile
    found: CsvTexts
    coded: Array
    max_bytes: int
    notes: tuple[str, ...] = ()
    _known: dict[int, tuple[Array, Array]] = field(default_factory=dict)
    _known_others: dict[int, tuple[Array, Array]] = field(default_factory=dict)
    _short: dict[int, tuple[Array, list[int]]] = field(default_factory=dict)

    def texts(self, columns: Collection[int]) -> dict[int, tuple[Array, Array]]:
        """Return {column: (its distinct strings, index into them for each record)}.

        Columns of texts and numbers that were not requested before take one more pass over the
        file.
        """
        self._decode_coded(columns)
        for column in columns:
            found = self._known_others.get(column)
            if column not in self._known and found is not None and (found[1] >= 0).all():
                self._known[column] = found
        new = tuple(sorted(column for column in columns if column not in self._known))
        if new:
            self._known.update(self._read_texts(new))
        return {column: self._known[column] for column in sorted(columns)}

    def read_ahead(self, texts: Collection[int], others: Collection[int]) -> None:
        """Read the texts of some columns, and those that are no numbers of others, in one pass."""
        self._decode_coded(others)
        rest = {column for column in others if column not in self._known_others} - {*texts}
        chosen = tuple(sorted({*texts} | rest))
        if chosen:
            found = self._read_texts(chosen, others=rest)
            self._known.update({column: found[column] for column in texts})
            self._known_others.update({column: found[column] for column in rest})

    def distinct(self, column: int) -> tuple[Array, Array]:
        """Return the texts of one column, without keeping them."""
        known = self._known.get(column)
        return self._read_texts((column,))[column] if known is None else known

    def others(self, columns: Collection[int]) -> dict[int, tuple[Array, Array]]:
        """The same for cells that are no numbers; the index of a number is -1."""
        self._decode_coded(columns)
        new = tuple(sorted(column for column in columns if column not in self._known_others))
        if new:
            self._known_others.update(self._read_texts(new, others={*new}))
        return {column: self._known_others[column] for column in sorted(columns)}

    def forget(self, columns: Collection[int]) -> None:
        """Forget the texts of columns whose values change."""
        for column in columns:
            self.coded[column] = False
            self._known_others.pop(column, None)

    def short(self, column: int, texts: Array) -> list[int]:
        """Return which of the strings of a column are so short that they may mean a missing value.

        `texts` are those of `texts` or `others`, or of these all but the first.
        """
        known, found = self._short.get(column, (None, []))
        if known is not None and (known is texts or known is texts.base):
            skipped = len(known) - len(texts)
            return [i - skipped for i in found if i >= skipped]
        return [i for i, text in enumerate(texts.tolist()) if len(text) <= LONGEST_MISSING]

    def _decode_coded(self, columns: Collection[int]) -> None:
        """Take the texts that the first pass found in columns, unless they were too many.

        That of an empty cell comes last, because the pass does not take it for a text.
        """
        for column in columns:
            if column in self._known_others or not self.coded[column]:
                continue
            codes = np.empty(len(self.lines), np.int32)
            texts, error, short = self.found.take(column, self.values, codes, LONGEST_MISSING)
            if texts is None:
                self.coded[column] = False
                continue
            self._check_text(column, codes, texts, error)
            empty = CELL_KINDS["empty"]
            if self.counts[column, empty] or self.kinds[column] == empty:
                short.append(len(texts))
                texts.append("")
            made = _object_array(texts)
            self._known_others[column] = made, codes
            self._short[column] = made, short

    def _read_texts(
        self, chosen: tuple[int, ...], *, others: Collection[int] = ()
    ) -> dict[int, tuple[Array, Array]]:
        """Read the texts of columns; of `others` among them, those of cells that are no numbers."""
        reader = _pass(self.format, len(self.head))
        found = CsvTexts(len(chosen), min(self.max_bytes, sys.maxsize))
        codes = np.empty((len(chosen), len(self.lines)), np.int32)
        batch = np.empty((max(1, _SAMPLE // len(chosen)), len(chosen)), np.int64)
        wanted = np.ones(batch.shape, np.uint8) if others else None
        masked = [i for i, column in enumerate(chosen) if column in others]
        values = [chosen[i] for i in masked]
        n = 0

        def take(block: bytearray, start: int, stop: int, last: bool) -> int:
            nonlocal n
            rows = -1
            while rows != 0:
                if wanted is not None:
                    rest = np.isnan(self.values[n : n + len(batch), values])
                    wanted[: len(rest), masked] = rest
                rows, used, fault = reader.texts(
                    block, start, stop, last, chosen, found, batch, wanted
                )
                if fault == "limit":
                    raise _too_large(self.source, "its texts", self.max_bytes)
                if fault == "memory":
                    raise MemoryError(f"{self.source}: there is no memory for its texts")
                if fault or n + rows > len(self.lines):
                    raise self.file.changed()
                codes[:, n : n + rows] = batch[:rows].T
                n += rows
                start += used
            return start

        self.file.read(take)
        if n != len(self.lines):
            raise self.file.changed()
        read = {}
        for i, column in enumerate(chosen):
            texts, error, _ = found.take(i)
            texts = texts or []
            self._check_text(column, codes[i], texts, error)
            read[column] = _object_array(texts), codes[i]
        return read

    def _check_text(
        self, column: int, codes: Array, texts: list[str], error: ValueError | None
    ) -> None:
        """Raise DataError if the last of the texts is wrong."""
        if error is not None:
            row = np.flatnonzero(codes == len(texts) - 1)[0]
            raise _no_text(self.file, self.lines[row], column, error)


def _object_array(texts: Sequence[str]) -> Array:
    made = np.empty(len(texts), object)
    made[:] = texts
    return made


def scan(
    path: str | os.PathLike[str],
    format: Format,
    *,
    content: bytes | None = None,
    max_bytes: int = MAX_BYTES,
) -> Scan:
    """Read all records of a file, or of `content` under its name.

    Raises
    ------
    DataError
        The file is empty, a line has more or fewer cells than the first, a quote is in the wrong
        place, a cell has more than 131,072 bytes, or the numbers or a line take more than
        `max_bytes` bytes.
    OSError
        As `open` raises it.
    """
    source = os.fspath(path)
    file = TextFile(source, format.encoding, content)
    notes: list[str] = []
    if format.delimiter == AUTO:
        found = TAB if is_tsv(source) else find_delimiter(file, format.comment)
        format = replace(format, delimiter=found)
        if found != "," and not is_tsv(source):
            shown = {TAB: "tabs"}.get(found, repr(found))
            notes.append(f"cells are separated by {shown} (--delimiter names another character)")
    work = _Numbers(file, format, max_bytes)
    file.read(work.take)
    if not work.head:
        raise DataError(f"{source}: the file is empty")
    if file.recoded:
        notes.append(f"the file is {file.recoded.upper()} by its first bytes")
    return work.result(notes)


@dataclass
class _Ragged:
    """Records with another number of cells than the first record: the first of them, and all."""

    line: int
    n_cells: int
    n: int = 0


class _Numbers:
    """The first pass. Its arrays grow by an estimate from the size of the file."""

    def __init__(self, file: TextFile, format: Format, max_bytes: int) -> None:
        self.file, self.format, self.max_bytes = file, format, max_bytes
        self.head: tuple[str, ...] = ()
        self.n = 0
        self.ragged: _Ragged | None = None

    def take(self, block: bytearray, start: int, stop: int, last: bool) -> int:
        """Read the complete records of a block; return where the rest of the block begins."""
        if not self.head:
            start = self._begin(block, start, stop, last)
            if not self.head:
                self._check_line("its first line", stop - start)
                return start
        rows = -1
        while rows != 0:
            if self.n == len(self.values):
                n = self.file.expected(self.n, stop - start)
                self._grow(max(n, (stop - start) // (2 * len(self.head))) if self.n == 1 else n)
            rows, used = self._read(block, start, stop, last, self.n, self.counts)
            start += used
        self._check_line(f"line {self.reader.line}", stop - start)
        return start

    def _check_line(self, called: str, n_bytes: int) -> None:
        """Raise DataError if the part of a line that is in a block is too large."""
        if n_bytes > max(self.max_bytes, BLOCK):
            raise _too_large(self.file.source, called, self.max_bytes)

    def _skip(self, block: bytearray, start: int, stop: int, last: bool) -> int:
        """Count a record of another number of cells; return the number of its bytes."""
        line, width = self.reader.line, self.reader.n_cells
        if self.ragged is None:
            self.ragged = _Ragged(line, width)
        self.ragged.n += 1
        if self.ragged.n == _MAX_RAGGED:
            raise self._fault(self.reader, "ragged")
        reader, shape = _pass(self.format, width), (width, len(CELL_KINDS))
        scratch = np.zeros(shape, np.int64)
        _, used, _ = reader.numbers(
            *(block, start, stop, last, np.empty((1, width)), np.empty(1, np.int64)),
            *(scratch, scratch, np.empty(width, np.uint8)),
        )
        return used

    def _begin(self, block: bytearray, start: int, stop: int, last: bool) -> int:
        """Read the first record, which determines the number of columns."""
        source = self.file.source
        reader = _pass(self.format, 0)
        width, fault = reader.width(block, start, stop, last)
        if fault:
            raise self._fault(reader, fault)
        if width == 0:
            return start
        if width > MAX_COLUMNS:
            raise DataError(
                f"{source}: {width:,} columns; at most {MAX_COLUMNS:,} are read from a .csv file "
                f"(a .npy or .npz file may have more)"
            )
        self.reader = _pass(self.format, width)
        cells, codes = CsvTexts(width), np.empty((1, width), np.int64)
        _pass(self.format, width).texts(block, start, stop, last, tuple(range(width)), cells, codes)
        head: list[str] = []
        self.values, self.lines = np.empty((1, width)), np.empty(1, np.int64)
        shape = (width, len(CELL_KINDS))
        self.counts, self.first = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self.scratch = np.empty(width, np.uint8)
        self.found = CsvTexts(width, min(_TEXTS + self.file.size, self.max_bytes))
        _, used = self._read(block, start, stop, last, 0, np.zeros(shape, np.int64))
        self.kinds = self.scratch.copy()
        for column in range(width):
            texts, error, _ = cells.take(column)
            if texts is None:
                raise MemoryError(f"{source}: the system gives no memory for its first line")
            if isinstance(error, UnicodeDecodeError):
                raise _no_text(self.file, self.lines[0], column, error)
            head += texts
        self.head = tuple(head)
        return start + used

    def _read(
        self, block: bytearray, start: int, stop: int, last: bool, at: int, counts: Array
    ) -> tuple[int, int]:
        """Read records into the rows from `at` on; return their number and their bytes."""
        rows, used, fault = self.reader.numbers(
            *(block, start, stop, last, self.values[at:], self.lines[at:]),
            *(counts, self.first, self.scratch, self.found),
        )
        self.n += rows
        if fault == "ragged":
            return 1, used + self._skip(block, start + used, stop, last)
        if fault:
            raise self._fault(self.reader, fault)
        return rows, used

    def _grow(self, n: int) -> None:
        """Make room for n records, but at most one more than the limit allows.

        That one is needed to find out whether there are more records.
        """
        width = len(self.head)
        max_rows = self.max_bytes // (8 * width)
        if self.n > max_rows:
            what = f"{self.file.source}: the table of {self.n} rows or more"
            array_bytes((n, width), np.dtype(np.float64), self.max_bytes, what)
        n = min(n, max_rows + 1)
        values, lines = np.empty((n, len(self.head))), np.empty(n, np.int64)
        values[: self.n], lines[: self.n] = self.values, self.lines
        self.values, self.lines = values, lines

    def _fault(self, reader: CsvPass, fault: str) -> DataError:
        what = {
            "quote": 'there is text after a closing quote; within quotes, "" stands for one quote',
            "open": "a quote is not closed before the end of the file",
            "long": f"a cell has more than {MAX_CELL:,} bytes; is a closing quote missing?",
        }
        if self.ragged is not None:
            return self._ragged_fault(self.ragged, complete=fault == "")
        return DataError(f"{self.file.source}, line {reader.line}: {what[fault]}")

    def _ragged_fault(self, ragged: _Ragged, *, complete: bool) -> DataError:
        """Return the error for lines with more or fewer cells; `complete` if all were counted."""
        what = f"{counted(ragged.n_cells, 'cell')}; line {self.lines[0]} has {len(self.head)}"
        if ragged.n > 1 or not complete:
            n = counted(ragged.n, "line") + ("" if complete else " or more")
            what += f"; {n} differ from line {self.lines[0]}"
        other = other_delimiter(self.head[0], self.format)
        if len(self.head) == 1 and other is not None:
            what += f"; is {other} the delimiter (--delimiter {other})?"
        elif self.head[0][:1] in ("#", "%", ";", "!") and not self.format.comment:
            mark = self.head[0][0]
            what += f"; is line {self.lines[0]} a comment (--comment {shlex.quote(mark)})?"
        return DataError(f"{self.file.source}, line {ragged.line}: {what}")

    def result(self, notes: Sequence[str] = ()) -> Scan:
        """Return what was read; if many rows are unused, copy the others."""
        if self.ragged is not None:
            raise self._ragged_fault(self.ragged, complete=True)
        values, lines = self.values[: self.n], self.lines[: self.n]
        if self.n < 7 * len(self.values) // 8:
            values, lines = values.copy(), lines.copy()
        if self.format.delimiter in (self.format.decimal, self.format.thousands):
            self._check_marks()
        kinds, counts = self.kinds, self.counts
        return Scan(self.file.source, self.format, self.head, values, lines, kinds, counts,
                    self.first, self.file, self.found, np.ones(len(self.head), bool),
                    self.max_bytes, tuple(notes))  # fmt: skip

    def _check_marks(self) -> None:
        """If numbers contain the delimiter, at least one quoted number must contain it."""
        if self.reader.n_marked == 0:
            raise DataError(
                f"{self.file.source}: no number contains {self.format.delimiter!r}, which also "
                f"separates cells; numbers that contain it (--decimal, --thousands) must be in "
                f"quotes, or the file needs another delimiter (--delimiter)"
            )


def other_delimiter(cell: str, format: Format) -> str | None:
    """Find a possible delimiter in the only cell of a line; return it as --delimiter takes it."""
    marks = ((";", "';'"), ("\t", "tab"), ("|", "'|'"), *([(",", ",")] * (format.delimiter == TAB)))
    return next((name for mark, name in marks if mark in cell and mark != format.delimiter), None)


def _no_text(file: TextFile, line: int, column: int, error: ValueError) -> DataError:
    """Return the error for a cell that is not UTF-8 text, or has a NUL byte."""
    what = f"expected UTF-8 text: {error}; name its encoding (such as --encoding cp1252)"
    if not isinstance(error, UnicodeDecodeError):
        what = f"{error}, which no table of text has"
        if file.encoding == "utf-8" and not file.recoded:
            what += "; is it in another encoding (such as --encoding utf-16-le)?"
    return DataError(f"{file.source}, line {line}, column {column + 1}: {what}")


def _too_large(source: str, what: str, max_bytes: int) -> DataError:
    """Return the error for text that does not fit into a limit."""
    return DataError(
        f"{source}: {what} would take more than {max_bytes} bytes in memory, the limit: if the "
        f"machine has them, raise it, such as by max_bytes={2 * max_bytes}, or "
        f"--max-bytes {2 * max_bytes} on the command line"
    )


def _pass(format: Format, n_columns: int) -> CsvPass:
    return CsvPass(format.delimiter, format.decimal, format.thousands, n_columns, format.comment)
