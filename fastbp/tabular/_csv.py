"""Columns of a .csv file, numbers or texts, each cell held to the grammar of plain numbers.

Every complaint names file, line and column, both counted from 1. docs/formats.md has the rules.
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
_EXACT = 2.0**53  # whole numbers below are exact in float64
_MISSING = "the value is missing; fill it, or leave the row or the column (--drop) out"
_SHOWN = 60  # characters of a cell in a message
_CATEGORICAL = "--categorical takes a column for texts"
_MODEL = "the model was trained on numbers there"


@dataclass(frozen=True)
class Cells:
    """The columns of a rectangular file below its line of names, if it has one.

    names: of the header, or "1", "2", … where there is none (`named` False) or a cell is empty
    ("column 1" if another has the name "1"); index: whether the first column does nothing but
    number or name the rows; notes: what was decided about the file that a user may want otherwise.
    """

    source: str
    names: tuple[str, ...]
    named: bool
    index: bool
    notes: tuple[str, ...]
    scan: Scan

    @property
    def values(self) -> Array:
        """All cells (rows, columns) as float64, NaN where they are no numbers."""
        values: Array = self.scan.values[int(self.named) :]
        return values

    @property
    def lines(self) -> Array:
        """Line of each row in the file."""
        lines: Array = self.scan.lines[int(self.named) :]
        return lines

    def text_columns(self, columns: Sequence[int]) -> set[int]:
        """Those of the columns that hold texts, or codes such as 007 or 1E2; the others numbers.

        Raises DataError for a column that is neither, or holds numbers in another notation.
        """
        found = {column for column in columns if self._is_text(column)}
        for column, (texts, _) in self._texts(sorted(found)).items():
            self._check_text(column, texts)
        return found

    def codes_among(self, columns: Sequence[int]) -> list[str]:
        """A note for each column of texts that are codes, such as 007 or 1E2."""
        notes = []
        for column in columns:
            kinds = self._counts(column)
            if kinds[TEXT] == 0 and (kinds[CODE] or kinds[ZEROS]):
                code = self._first(column, (CODE, ZEROS))[1]
                notes.append(
                    f"{_named(self, column)} holds codes such as {code}, taken for texts "
                    f"(numbers are written without zeros in front, and 1E2 as 1e+02)"
                )
        return notes

    def check_numbers(self, columns: Sequence[int], *, model: bool = False) -> None:
        """DataError for the first cell of the columns that is not a finite, plain number.

        model: the columns are those that a model takes for numbers, which nobody can choose.
        """
        finite = bool(np.isfinite(self.values).all())  # in one pass, as memory lies
        for column in columns:
            kinds = self._counts(column)
            if kinds[EMPTY] or kinds[ZEROS] or kinds[PADDED] or kinds[TEXT]:
                raise self._first_fault(column, _MODEL if model else _CATEGORICAL)
            if not finite and not np.isfinite(self.values[:, column]).all():
                row = int(np.flatnonzero(~np.isfinite(self.values[:, column]))[0])
                cell = self._cell(column, row)
                raise self._fault(row, column, f"expected a finite number; got {_short(cell)}")

    def texts(self, columns: Sequence[int]) -> dict[int, Array]:
        """{column: its cells as an object array of str}. DataError for an empty cell."""
        found = {}
        for column, (texts, codes) in self._texts(columns).items():
            found[column] = texts[codes]
            empty = np.flatnonzero(found[column] == "")
            if empty.size:
                raise self._fault(int(empty[0]), column, _MISSING)
        return found

    def exact(self, column: int) -> Array:
        """A column of numbers; as int64 or uint64 where they are whole and float64 rounds some."""
        values = self.values[:, column]
        if (abs(values) < _EXACT).all() or (values != np.round(values)).any():
            return values.copy()
        try:
            texts, codes = self._texts([column])[column]
            mark = self.scan.format.thousands
            whole = [int(text.replace(mark, "") if mark else text) for text in texts]
            dtype = np.int64 if max(whole) < 2**63 else np.uint64
            return np.array(whole, dtype)[codes]
        except (ValueError, OverflowError):  # an exponent, a point, or beyond 64 bits
            return values.copy()

    # ---- what a column holds -----------------------------------------------------------------

    def _counts(self, column: int) -> Array:
        """How many cells of each kind a column has."""
        counts: Array = self.scan.counts[column].copy()
        if not self.named:
            counts[self.scan.kinds[column]] += 1
        return counts

    def _is_text(self, column: int) -> bool:
        """By its counts alone: texts without a number, or codes of digits alone."""
        kinds = self._counts(column)
        if kinds[TEXT]:
            return not (kinds[DIGITS] or kinds[NUMBER] or kinds[PADDED])
        codes = kinds[CODE] or kinds[ZEROS]
        return bool(codes and not (kinds[NUMBER] or kinds[PADDED]))

    def _check_text(self, column: int, texts: Array) -> None:
        """DataError where a column's distinct texts are numbers in another notation, or nothing."""
        if self._counts(column)[TEXT] == 0:
            return
        number = looks_numeric(texts, self.scan.format)
        if number is None and not all(map(is_missing, texts)):
            return
        raise self._fault_of_text(column, texts[0] if number is None else number)

    # ---- faults ------------------------------------------------------------------------------

    def _first_fault(self, column: int, hint: str) -> DataError:
        """The error for the first cell of a column of numbers that is no plain number."""
        row, cell, kind = self._first(column, (EMPTY, ZEROS, PADDED, TEXT))
        if kind in (ZEROS, PADDED):
            what = f"expected a plain number; got {_short(cell)}, with a zero in front; {hint}"
            return self._fault(row, column, what)
        return self._fault(row, column, self._what(cell, hint))

    def _fault_of_text(self, column: int, text: str) -> DataError:
        texts, codes = self._texts([column])[column]
        row = int(np.flatnonzero(texts[codes] == text)[0])
        return self._fault(row, column, self._what(text, _CATEGORICAL))

    def _what(self, cell: str, hint: str) -> str:
        """What is wrong with a cell that is no number in any case."""
        if cell == "":
            return _MISSING
        if is_missing(cell):
            return f"{cell!r}: {_MISSING}"
        if is_infinite(cell):
            return f"expected a finite number; got {_short(cell)}"
        other = other_notation(cell, self.scan.format)
        if other is not None:
            return f"expected a plain number; got {_short(cell)}: {other}; {hint}"
        names = "--header says whether line 1 holds names"
        return f"expected a number; got {_short(cell)}; {hint}; {names}"

    def _first(self, column: int, kinds: Sequence[int]) -> tuple[int, str, int]:
        """Row, text and kind of the first cell of one of these kinds."""
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
        """{column: (distinct texts of the rows, index of each row)}."""
        skipped = int(self.named)
        found = {}
        for column, (texts, codes) in self.scan.texts(columns).items():
            name_alone = skipped and not (codes[1:] == 0).any()  # text 0 is that of line 1
            found[column] = (texts[1:], codes[1:] - 1) if name_alone else (texts, codes[skipped:])
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
    """Read a .csv file in UTF-8; empty lines are passed over.

    Args:
        header: "yes", "no", or "auto": what line 1 looks like, with a note where that is not plain.
        format: delimiter and marks in numbers; by default cells stand between commas.
        wanted: names that the file should have; a first line that has them holds names.
        max_bytes: the most that the numbers of the file may take in memory, 8 bytes a cell.

    Raises:
        DataError: the file holds no rows, a line has more or fewer cells than the first, two
            columns share a name, the file is not UTF-8 text, or it is beyond max_bytes.
        ValueError: an unknown header.
        OSError: as `open` does.
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
            raise DataError(f"{source}: no rows follow the names in line 1 (--header no?)")
        index = is_index(read)
    if width == 1:
        _suspect_delimiter(read, named)
    return Cells(source, names, named, index, notes, read)


def _place(column: int, names: tuple[str, ...]) -> str:
    """A name for a column without one: its number, or a longer one where another has that name."""
    number = str(column + 1)
    return f"column {number}" if number in names else number


def _check_unique(names: tuple[str, ...], source: str, line: int) -> None:
    first: dict[str, int] = {}
    for column, name in enumerate(names):
        if name in first:
            raise DataError(
                f"{source}, line {line}: columns {first[name] + 1} and {column + 1} "
                f"are both named {name!r}; give them names of their own"
            )
        first[name] = column


def _suspect_delimiter(read: Scan, named: bool) -> None:
    """DataError where the cells of the only column hold what separates cells."""
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
        f"{read.source}: only one column found; its cells hold {what}: "
        f"is that the delimiter (--delimiter {name})?"
    )


def _short(cell: str) -> str:
    """A cell in quotes, cut where it is long."""
    return repr(cell if len(cell) <= _SHOWN else f"{cell[:_SHOWN]}…")


def _named(cells: Cells, column: int) -> str:
    return f"column {column + 1}" + (f" ({cells.names[column]!r})" if cells.named else "")
