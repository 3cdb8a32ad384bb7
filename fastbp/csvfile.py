"""Cells of a .csv file, and columns of numbers or texts made of them.

Every complaint names file, line and column, both counted from 1.
"""

from __future__ import annotations

import csv
import math
import os
from dataclasses import dataclass

import numpy as np

from .errors import DataError

_OTHER_DELIMITERS = ";\t|"


@dataclass(frozen=True)
class Cells:
    """The cells of a rectangular file, row by row, without outer blanks.

    names: of the header, or "1", "2", … where there is none (`named` False); lines: that of each
    row in the file.
    """

    source: str
    names: tuple[str, ...]
    named: bool
    rows: list[list[str]]
    lines: list[int]

    def is_text(self, column: int) -> bool:
        """Whether none of the column's cells is a number."""
        return not any(_is_number(row[column]) for row in self.rows)

    def numbers(self, column: int) -> np.ndarray:
        """The column as float64. DataError for a cell that is empty, NaN, infinite or a text."""
        try:
            values = np.array([float(row[column]) for row in self.rows])
        except ValueError:
            raise self._first_fault(column) from None
        if not np.isfinite(values).all():
            raise self._first_fault(column)
        return values

    def texts(self, column: int) -> np.ndarray:
        """The column as an object array of str. DataError for an empty cell."""
        texts = np.array([row[column] for row in self.rows], dtype=object)
        empty = np.flatnonzero(texts == "")
        if empty.size:
            raise self._fault(int(empty[0]), column, _MISSING)
        return texts

    def _first_fault(self, column: int) -> DataError:
        """The error for the first cell of a column of numbers that is not a finite one."""
        i = next(i for i, row in enumerate(self.rows) if not _is_finite(row[column]))
        cell = self.rows[i][column]
        if cell == "":
            return self._fault(i, column, _MISSING)
        if _is_number(cell):
            return self._fault(i, column, f"expected a finite number; got {cell!r}")
        hint = "--categorical takes a column for texts, --header says whether line 1 holds names"
        return self._fault(i, column, f"expected a number; got {cell!r} ({hint})")

    def _fault(self, row: int, column: int, what: str) -> DataError:
        return DataError(f"{self.source}, line {self.lines[row]}, {_named(self, column)}: {what}")


_MISSING = "the value is missing; fill it, or leave the row out"


def read_csv(path: str | os.PathLike[str], *, header: str = "auto", delimiter: str = ",") -> Cells:
    """Read a .csv file in UTF-8; empty lines are passed over.

    header: "yes", "no", or "auto": yes when no cell of the first line is a number.

    Raises:
        DataError: the file holds no rows, a line has more or fewer cells than the first, two
            columns share a name, or the file is not UTF-8 text.
        OSError: as `open` does.
    """
    source = os.fspath(path)
    rows, lines = _read_rows(source, delimiter)
    if not rows:
        raise DataError(f"{source}: the file is empty")
    width = len(rows[0])
    for row, line in zip(rows, lines, strict=True):
        if len(row) != width:
            raise DataError(f"{source}, line {line}: {len(row)} cells; line {lines[0]} has {width}")
    named = header == "yes" or (header == "auto" and not any(map(_is_number, rows[0])))
    names = tuple(str(i + 1) for i in range(width))
    if named:
        names = tuple(cell or name for cell, name in zip(rows[0], names, strict=True))
        _check_unique(names, source, lines[0])
        rows, lines = rows[1:], lines[1:]
        if not rows:
            raise DataError(f"{source}: no rows follow the names in line 1 (--header no?)")
    if width == 1:
        _suspect_delimiter(source, names[0] if named else rows[0][0])
    return Cells(source, names, named, rows, lines)


def _read_rows(source: str, delimiter: str) -> tuple[list[list[str]], list[int]]:
    rows: list[list[str]] = []
    lines: list[int] = []
    with open(source, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        line = 1
        try:
            for row in reader:
                if row:
                    rows.append([cell.strip() for cell in row])
                    lines.append(line)
                line = reader.line_num + 1
        except csv.Error as error:
            raise DataError(f"{source}, line {line}: {error}") from None
        except UnicodeDecodeError as error:
            raise DataError(f"{source}: expected UTF-8 text: {error}") from None
    return rows, lines


def _check_unique(names: tuple[str, ...], source: str, line: int) -> None:
    first: dict[str, int] = {}
    for column, name in enumerate(names):
        if name in first:
            raise DataError(
                f"{source}, line {line}: columns {first[name] + 1} and {column + 1} "
                f"are both named {name!r}; give them names of their own"
            )
        first[name] = column


def _suspect_delimiter(source: str, cell: str) -> None:
    for mark in _OTHER_DELIMITERS:
        if mark in cell:
            raise DataError(
                f"{source}: only one column found; its cells hold {mark!r}: "
                f"is that the delimiter (--delimiter {mark!r})?"
            )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_finite(cell: str) -> bool:
    return _is_number(cell) and math.isfinite(float(cell))


def _named(cells: Cells, column: int) -> str:
    return f"column {column + 1}" + (f" ({cells.names[column]!r})" if cells.named else "")
