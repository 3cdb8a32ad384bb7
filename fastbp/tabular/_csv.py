"""The columns of a .csv file as numbers or text, with strict rules for numbers.

Each error message contains the file, the line and the column; lines and columns count from 1.
docs/formats.md has the rules.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._checks.size_limit import MAX_BYTES
from .._checks.words import counted
from .._core import CELL_KINDS
from .._types import Array
from ..errors import DataError
from ._header import find_header, is_index
from ._notation import looks_numeric
from ._problems import SHOWN, is_spec, shortened
from ._scan import AUTO, DECIMALS, THOUSANDS, Format, Scan, other_delimiter, scan
from ._units import with_units, without_sentinels
from ._words import is_missing, is_plain

__all__ = ["AUTO", "DECIMALS", "HEADERS", "THOUSANDS", "Cells", "Format", "read_csv"]

EMPTY, DIGITS, NUMBER, CODE, ZEROS, PADDED, TEXT = CELL_KINDS.values()
HEADERS = ("auto", "yes", "no")
TEXT_SHARE = 0.1  # of the cells of a column; with fewer, two words are mistakes among numbers
_FEW_NUMBERS = 10  # distinct ones beside one word that are levels, as 1, 2, 3 are beside K
_EXACT = 2.0**53  # smaller whole numbers are exact in float64


@dataclass(frozen=True)
class Cells:
    """The cells of a rectangular file, without its header line if it has one.

    Attributes
    ----------
    source : str
        The path, for messages.
    names : tuple of str
        The names of the columns, from the header line. A column without a name is called by its
        number, "1", "2", …, or "column 1" if another column has the name "1".
    named : bool
        Whether the file has a header line.
    index : bool
        Whether the first column only numbers or names the rows.
    notes : tuple of str
        Decisions about the file that the user may want to change.
    scan : Scan
        All records, including the header line.
    holes : bool
        Whether missing values are holes of the table, and no faults.
    """

    source: str
    names: tuple[str, ...]
    named: bool
    index: bool
    notes: tuple[str, ...]
    scan: Scan
    holes: bool = False
    _n_words: dict[int, int] = field(default_factory=dict)
    _missing: dict[int, list[int]] = field(default_factory=dict)
    _below_of: dict[int, tuple[Any, tuple[Array, Array]]] = field(default_factory=dict)

    @property
    def values(self) -> Array:
        """All cells as float64, of shape (rows, columns); NaN for cells that are not numbers."""
        values: Array = self.scan.values[int(self.named) :]
        return values

    @property
    def lines(self) -> Array:
        """The line of each row in the file."""
        lines: Array = self.scan.lines[int(self.named) :]
        return lines

    def text_columns(self, columns: Sequence[int]) -> set[int]:
        """Return those of the columns that contain text, or codes such as 007 or 1E2."""
        return {column for column in columns if self._is_text(column)}

    def mixed_among(self, columns: Sequence[int]) -> list[str]:
        """Return a note for each of the columns of text that contains numbers too."""
        notes = []
        for column in columns:
            kinds = self.counts(column)
            if self.n_words(column) and (kinds[DIGITS] or kinds[NUMBER] or kinds[PADDED]):
                texts, codes = self.others([column])[column]
                missing = {-1, *self.missing_words(column), *np.flatnonzero(texts == "").tolist()}
                rows = (i for i, code in enumerate(codes.tolist()) if code not in missing)
                row = next(rows)
                such = f"such as {shortened(texts[codes[row]])} (in {self.place(row)})"
                what = f"has numbers and {counted(self.n_words(column), 'cell')} of text, {such}"
                notes.append(f"{self.called(column)} {what}, and is read as text")
        return notes

    def codes_among(self, columns: Sequence[int]) -> list[str]:
        """Return a note for each of the columns that contains codes, such as 007 or 1E2."""
        notes = []
        for column in columns:
            kinds = self.counts(column)
            if self.n_words(column) == 0 and (kinds[CODE] or kinds[ZEROS]):
                texts, codes = self.texts([column])[column]
                code = texts[codes[self.first(column, (CODE, ZEROS))]]
                notes.append(
                    f"{self.called(column)} contains codes such as {code}, which are read as text "
                    f"(a number has no leading zero, and 1E2 is written as 1e+02)"
                )
        return notes

    def texts(self, columns: Sequence[int]) -> dict[int, tuple[Array, Array]]:
        """Return {column: (distinct strings of the rows, index into them for each row)}."""
        return {c: self._below(found) for c, found in self.scan.texts(columns).items()}

    def others(self, columns: Sequence[int]) -> dict[int, tuple[Array, Array]]:
        """The same for cells that are no numbers; the index of a number is -1."""
        return {c: self._below(found) for c, found in self.scan.others(columns).items()}

    def distinct(self, column: int) -> tuple[Array, Array]:
        """Return the texts of one column, without keeping them for later calls."""
        found = self.scan.distinct(column)
        return _without_first(*found) if self.named else found

    def exact(self, column: int) -> Array:
        """Return a column of numbers, as int64 or uint64 if float64 would round whole numbers."""
        values = self.values[:, column]
        if (abs(values) < _EXACT).all() or (values != np.round(values)).any():
            return values.copy()
        try:
            texts, codes = self.texts([column])[column]
            mark = self.scan.format.thousands
            whole = [int(text.replace(mark, "") if mark else text) for text in texts]
            dtype = np.int64 if max(whole) < 2**63 else np.uint64
            return np.array(whole, dtype)[codes]
        except (ValueError, OverflowError):  # an exponent, a point, or more than 64 bits
            return values.copy()

    def read_ahead(self, columns: Sequence[int]) -> None:
        """Read the texts that are needed of several columns, in one pass over the file."""
        if self.holes:
            words = [column for column in columns if self.counts(column)[TEXT]]
            codes = [c for c in columns if c not in words and self._is_text(c)]
            self.scan.read_ahead(codes, words)

    # ---- what a column contains --------------------------------------------------------------

    def counts(self, column: int) -> Array:
        """Return how many cells of each kind a column contains."""
        counts: Array = self.scan.counts[column].copy()
        if not self.named:
            counts[self.scan.kinds[column]] += 1
        return counts

    def n_words(self, column: int) -> int:
        """Return how many cells are text, without missing values if these are holes."""
        n = int(self.counts(column)[TEXT])
        if not (self.holes and n):
            return n
        if column not in self._n_words:
            codes = self.others([column])[column][1]
            self._n_words[column] = n - int(np.isin(codes, self.missing_words(column)).sum())
        return self._n_words[column]

    def missing_words(self, column: int) -> list[int]:
        """Return which of the strings of `others` stand for a missing value, but the empty one."""
        if column not in self._missing:
            texts = self.others([column])[column][0]
            self._missing[column] = [i for i in self.which_missing(column, texts) if texts[i]]
        return self._missing[column]

    def which_missing(self, column: int, texts: Array) -> list[int]:
        """Return which of its strings stand for a missing value in a column of numbers or dates."""
        if self.scan.format.na:
            return [i for i, text in enumerate(texts.tolist()) if self.is_missing(text)]
        return [i for i in self.scan.short(column, texts) if is_missing(texts[i])]

    def is_missing(self, text: str) -> bool:
        """Whether a cell of a column of numbers or dates stands for a missing value."""
        return is_missing(text) or self.scan.format.is_na(text)

    def is_hole(self, column: int, texts: Array) -> Array:
        """Mark those of its strings that stand for a missing value in a column of text."""
        format, holes = self.scan.format, np.zeros(len(texts), bool)
        some = range(len(texts)) if format.na else self.scan.short(column, texts)
        holes[[i for i in some if texts[i] == "" or format.is_na(texts[i])]] = True
        return holes

    def first(self, column: int, kinds: Sequence[int]) -> int:
        """Return the row of the first cell that has one of these kinds; there must be one."""
        if not self.named and self.scan.kinds[column] in kinds:
            return 0
        return min(
            int(self.scan.first[column, kind]) - int(self.named)
            for kind in kinds
            if self.scan.counts[column, kind]
        )

    def _is_text(self, column: int) -> bool:
        """Whether the counts of a column say that it is text: no numbers, or only codes."""
        kinds = self.counts(column)
        if n := self.n_words(column):
            numbers = int(kinds[DIGITS] + kinds[NUMBER] + kinds[PADDED])
            return not numbers or (self.holes and self._is_mostly_text(column, n))
        codes = kinds[CODE] or kinds[ZEROS]
        return bool(codes and not (kinds[NUMBER] or kinds[PADDED]))

    def _is_mostly_text(self, column: int, n_words: int) -> bool:
        """Whether the words of a column with numbers are so many that it is one of text."""
        kinds = self.counts(column)
        if kinds[ZEROS] and not (kinds[NUMBER] or kinds[PADDED]):
            return True  # codes, such as 007 and 7a
        if n_words < TEXT_SHARE * int(kinds.sum() - kinds[EMPTY]):
            return False
        texts, codes = self.others([column])[column]
        missing = {*self.missing_words(column), *np.flatnonzero(texts == "").tolist()}
        words = [i for i in np.unique(codes).tolist() if i >= 0 and i not in missing]
        if looks_numeric(texts[words].tolist(), self.scan.format) is not None:
            return False
        return len(words) > 1 or is_few(self.values[:, column])

    def _below(self, found: tuple[Array, Array]) -> tuple[Array, Array]:
        """Return the distinct strings below the header line, and the index into them."""
        if not self.named:
            return found
        known = self._below_of.get(id(found))
        if known is None:
            known = self._below_of[id(found)] = found, _without_first(*found)
        return known[1]

    # ---- in messages -------------------------------------------------------------------------

    def called(self, column: int) -> str:
        """Return a column as messages call it."""
        name = f" ({shortened(self.names[column])})" if self.named else ""
        return f"column {column + 1}{name}"

    def place(self, row: int) -> str:
        """Return where a row is."""
        return f"line {self.lines[row]}"

    def spec(self, column: int) -> str:
        """Return a column as options such as --drop take it, in a shell."""
        name = self.names[column]
        return shlex.quote(name) if is_spec(name) else str(column + 1)


def _without_first(texts: Array, codes: Array) -> tuple[Array, Array]:
    """Leave out the first record, and its string if no other has it."""
    below = codes[1:]
    if codes[0] != 0 or (below == 0).any():
        return texts, below
    return texts[1:], below - (below > 0)


def is_few(numbers: Array) -> bool:
    """Whether the numbers beside a word are so few, again and again, that all are levels.

    >>> is_few(np.array([1, 2] * 5)), is_few(np.arange(10.0))
    (True, False)
    """
    found = numbers[~np.isnan(numbers)]
    n_distinct = len(np.unique(found))
    return n_distinct <= _FEW_NUMBERS and len(found) >= 3 * n_distinct


def read_csv(
    path: str | os.PathLike[str],
    *,
    header: str = "auto",
    format: Format | None = None,
    wanted: tuple[str, ...] | None = None,
    content: bytes | None = None,
    holes: bool = False,
    max_bytes: int = MAX_BYTES,
) -> Cells:
    """Read a .csv file. Empty lines are ignored.

    Parameters
    ----------
    path : str or path-like
        The file.
    header : {"auto", "yes", "no"}
        Whether line 1 contains names. "auto" decides by the content of the file, and adds a note if
        that is not obvious.
    format : Format, optional
        The delimiter, and the marks in numbers. By default commas separate cells.
    wanted : tuple of str, optional
        Names that the file should have; if line 1 contains all of them, it is a header line.
    content : bytes, optional
        Text in UTF-8 that is read instead of the file.
    holes : bool
        Whether missing values are holes of the table, and no faults.
    max_bytes : int, default 4 GiB
        The maximum size of the numbers in memory, of which each takes 8 bytes, and that of the
        texts.

    Returns
    -------
    Cells
        The content of the file.

    Raises
    ------
    DataError
        The file has no rows, a line has more or fewer cells than the first, two columns have the
        same name, the file is not UTF-8 text, or it needs more than `max_bytes` bytes.
    ValueError
        `header` is unknown.
    OSError
        As `open` raises it.
    """
    if header not in HEADERS:
        raise ValueError(f"header must be one of {', '.join(HEADERS)}; got {header!r}")
    format = Format() if format is None else format
    read = scan(path, format, content=content, max_bytes=max_bytes)
    read = with_units(read) if format.units else read
    read = without_sentinels(read) if holes and format.sentinels else read
    source, width = read.source, len(read.head)
    named, note = (header == "yes", None) if header != "auto" else find_header(read, wanted)
    notes = read.notes if note is None else (*read.notes, note)
    names = tuple(str(i + 1) for i in range(width))
    index = False
    if named:
        names = tuple(text or _place(i, read.head) for i, text in enumerate(read.head))
        _check_unique(names, source, read.lines[0])
        if len(read.lines) == 1:
            raise DataError(f"{source}: there are no rows below the names in line 1 (--header no?)")
        index = is_index(read)
    if width == 1:
        _suspect_delimiter(read, named)
    return Cells(source, names, named, index, notes, read, holes)


def _place(column: int, names: tuple[str, ...]) -> str:
    """Return a name for a column that has none: its number, or "column 1" if that name is taken."""
    number = str(column + 1)
    return f"column {number}" if number in names else number


def _check_unique(names: tuple[str, ...], source: str, line: int) -> None:
    first: dict[str, int] = {}
    twice = []
    for column, name in enumerate(names):
        if name in first:
            twice.append(f"{first[name] + 1} and {column + 1} are both named {shortened(name)}")
        first.setdefault(name, column)
    if twice:
        more = f", and {len(twice) - SHOWN} more" if len(twice) > SHOWN else ""
        raise DataError(
            f"{source}, line {line}: columns {', '.join(twice[:SHOWN])}{more}; "
            "give them different names"
        )


def _suspect_delimiter(read: Scan, named: bool) -> None:
    """Raise DataError if the cells of the only column contain a possible delimiter."""
    cell = read.head[0]
    other = other_delimiter(cell, read.format)
    if other is not None:
        raise _wrong_delimiter(read, other)
    if named:
        texts, codes = read.texts([0])[0]
        cell = texts[codes[1]]
    parts = cell.split()
    if read.format.thousands != " " and len(parts) > 1 and all(map(is_plain, parts)):
        raise _wrong_delimiter(read, "' '")


def _wrong_delimiter(read: Scan, name: str) -> DataError:
    what = "blanks between numbers" if name == "' '" else name
    return DataError(
        f"{read.source}: the file has only one column, and its cells contain {what}: "
        f"is that the delimiter (--delimiter {name})?"
    )
