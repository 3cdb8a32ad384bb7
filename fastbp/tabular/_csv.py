"""The columns of a .csv file as numbers or text, with strict rules for numbers.

Each error message contains the file, the line and the column; lines and columns count from 1.
docs/formats.md has the rules.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .._checks.size_limit import MAX_BYTES
from .._core import CELL_KINDS
from .._types import Array
from ..errors import DataError
from ._header import find_header, is_index
from ._notation import is_infinite, is_missing, is_plain, looks_numeric, other_notation
from ._scan import DECIMALS, THOUSANDS, Format, Scan, other_delimiter, scan

__all__ = ["DECIMALS", "HEADERS", "THOUSANDS", "Cells", "Format", "read_csv"]

EMPTY, DIGITS, NUMBER, CODE, ZEROS, PADDED, TEXT = CELL_KINDS.values()
HEADERS = ("auto", "yes", "no")
_EXACT = 2.0**53  # smaller whole numbers are exact in float64
_MISSING = "the value is missing; fill it in, or leave out the row or the column (--drop)"
_SHOWN = 60  # characters of a cell in a message
_CATEGORICAL = "--categorical reads a column as text"
_MODEL = "the model was trained on numbers in this column"


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
    """

    source: str
    names: tuple[str, ...]
    named: bool
    index: bool
    notes: tuple[str, ...]
    scan: Scan

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
        """Return those of the columns that contain text, or codes such as 007 or 1E2.

        Raises DataError for a column that contains both numbers and text, or numbers in another
        notation.
        """
        found = {column for column in columns if self._is_text(column)}
        for column, (texts, _) in self._texts(sorted(found)).items():
            self._check_text(column, texts)
        return found

    def codes_among(self, columns: Sequence[int]) -> list[str]:
        """Return a note for each of the columns that contains codes, such as 007 or 1E2."""
        notes = []
        for column in columns:
            kinds = self._counts(column)
            if kinds[TEXT] == 0 and (kinds[CODE] or kinds[ZEROS]):
                code = self._first(column, (CODE, ZEROS))[1]
                notes.append(
                    f"{_named(self, column)} contains codes such as {code}, which are read as text "
                    f"(a number has no leading zero, and 1E2 is written as 1e+02)"
                )
        return notes

    def check_numbers(self, columns: Sequence[int], *, model: bool = False) -> None:
        """Raise DataError for the first cell of the columns that is not a finite plain number.

        `model` says that a model determines which columns are numbers, so that the message does not
        offer the user a choice.
        """
        finite = bool(np.isfinite(self.values).all())  # in one pass, in the order of memory
        for column in columns:
            kinds = self._counts(column)
            if kinds[EMPTY] or kinds[ZEROS] or kinds[PADDED] or kinds[TEXT]:
                raise self._first_fault(column, _MODEL if model else _CATEGORICAL)
            if not finite and not np.isfinite(self.values[:, column]).all():
                row = int(np.flatnonzero(~np.isfinite(self.values[:, column]))[0])
                cell = self._cell(column, row)
                raise self._fault(row, column, f"expected a finite number; got {_short(cell)}")

    def texts(self, columns: Sequence[int]) -> dict[int, Array]:
        """Return {column: its cells as an object array of str}; DataError for an empty cell."""
        found = {}
        for column, (texts, codes) in self._texts(columns).items():
            found[column] = texts[codes]
            empty = np.flatnonzero(found[column] == "")
            if empty.size:
                raise self._fault(int(empty[0]), column, _MISSING)
        return found

    def exact(self, column: int) -> Array:
        """Return a column of numbers, as int64 or uint64 if float64 would round whole numbers."""
        values = self.values[:, column]
        if (abs(values) < _EXACT).all() or (values != np.round(values)).any():
            return values.copy()
        try:
            texts, codes = self._texts([column])[column]
            mark = self.scan.format.thousands
            whole = [int(text.replace(mark, "") if mark else text) for text in texts]
            dtype = np.int64 if max(whole) < 2**63 else np.uint64
            return np.array(whole, dtype)[codes]
        except (ValueError, OverflowError):  # an exponent, a point, or more than 64 bits
            return values.copy()

    # ---- what a column contains --------------------------------------------------------------

    def _counts(self, column: int) -> Array:
        """Count the cells of each kind in a column."""
        counts: Array = self.scan.counts[column].copy()
        if not self.named:
            counts[self.scan.kinds[column]] += 1
        return counts

    def _is_text(self, column: int) -> bool:
        """Whether the counts of a column say that it is text: no numbers, or only codes."""
        kinds = self._counts(column)
        if kinds[TEXT]:
            return not (kinds[DIGITS] or kinds[NUMBER] or kinds[PADDED])
        codes = kinds[CODE] or kinds[ZEROS]
        return bool(codes and not (kinds[NUMBER] or kinds[PADDED]))

    def _check_text(self, column: int, texts: Array) -> None:
        """Raise DataError if the strings are numbers in another notation, or all are missing."""
        if self._counts(column)[TEXT] == 0:
            return
        number = looks_numeric(texts, self.scan.format)
        if number is None and not all(map(is_missing, texts)):
            return
        raise self._fault_of_text(column, texts[0] if number is None else number)

    # ---- errors ------------------------------------------------------------------------------

    def _first_fault(self, column: int, hint: str) -> DataError:
        """Return the error for the first cell that is not a plain number."""
        row, cell, kind = self._first(column, (EMPTY, ZEROS, PADDED, TEXT))
        if kind in (ZEROS, PADDED):
            what = f"expected a plain number; got {_short(cell)}, with a leading zero; {hint}"
            return self._fault(row, column, what)
        return self._fault(row, column, self._what(cell, hint))

    def _fault_of_text(self, column: int, text: str) -> DataError:
        texts, codes = self._texts([column])[column]
        row = int(np.flatnonzero(texts[codes] == text)[0])
        return self._fault(row, column, self._what(text, _CATEGORICAL))

    def _what(self, cell: str, hint: str) -> str:
        """Say what is wrong with a cell that is not a number."""
        if cell == "":
            return _MISSING
        if is_missing(cell):
            return f"{cell!r}: {_MISSING}"
        if is_infinite(cell):
            return f"expected a finite number; got {_short(cell)}"
        other = other_notation(cell, self.scan.format)
        if other is not None:
            return f"expected a plain number; got {_short(cell)}: {other}; {hint}"
        names = "--header says whether line 1 contains names"
        return f"expected a number; got {_short(cell)}; {hint}; {names}"

    def _first(self, column: int, kinds: Sequence[int]) -> tuple[int, str, int]:
        """Return row, text and kind of the first cell that has one of these kinds."""
        if not self.named and self.scan.kinds[column] in kinds:
            return 0, self.scan.head[column], int(self.scan.kinds[column])
        first = self.scan.first[column]
        kind = min((k for k in kinds if self.scan.counts[column, k]), key=first.__getitem__)
        row = int(first[kind]) - int(self.named)
        return row, self._cell(column, row), kind

    def _cell(self, column: int, row: int) -> str:
        texts, codes = self._texts([column])[column]
        return str(texts[codes[row]])

    def _texts(self, columns: Sequence[int]) -> dict[int, tuple[Array, Array]]:
        """Return {column: (distinct strings of the rows, index into them for each row)}."""
        skipped = int(self.named)
        found = {}
        for column, (texts, codes) in self.scan.texts(columns).items():
            only_name = skipped and not (codes[1:] == 0).any()  # string 0 is in line 1
            found[column] = (texts[1:], codes[1:] - 1) if only_name else (texts, codes[skipped:])
        return found

    def _fault(self, row: int, column: int, what: str) -> DataError:
        place = f"line {self.lines[row]}, {_named(self, column)}"
        return DataError(f"{self.source}, {place}: {what}")


def read_csv(
    path: str | os.PathLike[str],
    *,
    header: str = "auto",
    format: Format | None = None,
    wanted: tuple[str, ...] | None = None,
    max_bytes: int = MAX_BYTES,
) -> Cells:
    """Read a .csv file in UTF-8. Empty lines are ignored.

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
    max_bytes : int, default 4 GiB
        The maximum size of the numbers in memory; each cell takes 8 bytes.

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
    read = scan(path, Format() if format is None else format, max_bytes=max_bytes)
    source, width = read.source, len(read.head)
    named, note = (header == "yes", None) if header != "auto" else find_header(read, wanted)
    notes = () if note is None else (note,)
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
    return Cells(source, names, named, index, notes, read)


def _place(column: int, names: tuple[str, ...]) -> str:
    """Return a name for a column that has none: its number, or "column 1" if that name is taken."""
    number = str(column + 1)
    return f"column {number}" if number in names else number


def _check_unique(names: tuple[str, ...], source: str, line: int) -> None:
    first: dict[str, int] = {}
    for column, name in enumerate(names):
        if name in first:
            raise DataError(
                f"{source}, line {line}: columns {first[name] + 1} and {column + 1} "
                f"are both named {name!r}; give them different names"
            )
        first[name] = column


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


def _short(cell: str) -> str:
    """Return a cell in quotes, shortened if it is long."""
    return repr(cell if len(cell) <= _SHOWN else f"{cell[:_SHOWN]}…")


def _named(cells: Cells, column: int) -> str:
    return f"column {column + 1}" + (f" ({cells.names[column]!r})" if cells.named else "")
