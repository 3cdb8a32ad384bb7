"""What each column of a table is taken for, and why, and what looks wrong with it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from .._checks.size_limit import MAX_BYTES
from .._checks.words import counted
from .._core import CELL_KINDS
from .._html import heading
from .._html import shortened as cut
from .._html import table as html_table
from .._messages import printable
from ._by_name import survey_columns
from ._cells import Rules
from ._columns import BOOLEANS
from ._csv import AUTO, Cells, Format
from ._dates import check_format
from ._findings import (
    codes_of,
    column_findings,
    leak,
    missing_in,
    n_equal_rows,
    number_text,
    target_findings,
    twins,
)
from ._problems import Problem, is_spec
from ._read import survey_file
from ._select import find_column, find_columns
from ._table import Table

_LEVELS = 3  # that are shown
_WIDEST = 28  # characters of a cell of the printed table


@dataclass(frozen=True)
class ColumnReport:
    """What one column of a table is taken for.

    Attributes
    ----------
    number : int
        The number of the column, from 1.
    name : str
        Its name.
    kind : str
        "number", "text", "date", "true/false", "empty", or "refused" for a column that `read_table`
        does not read as it is; its warnings say why.
    why : str
        What the kind follows from.
    n_missing, n_distinct : int
        How many cells are missing, and how many distinct values there are.
    low, high : float or str or None
        The range of numbers and of dates (ISO 8601).
    median : float or None
        The median of numbers.
    levels : tuple of (str, int)
        The most frequent texts, and in how many rows they stand.
    examples : tuple of str
        The first distinct values.
    notes : tuple of str
        What was decided about some cells, such as which words are missing values.
    warnings : tuple of str
        What looks wrong.
    """

    number: int
    name: str
    kind: str
    why: str
    n_missing: int
    n_distinct: int
    low: float | str | None = None
    high: float | str | None = None
    median: float | None = None
    levels: tuple[tuple[str, int], ...] = ()
    examples: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def content(self) -> str:
        """The range, or the most frequent levels, in words."""
        if self.median is not None:
            low, high, middle = map(number_text, (self.low, self.high, self.median))
            return low if low == high else f"{low} … {high}, median {middle}"
        if self.low is not None:
            return str(self.low) if self.low == self.high else f"{self.low} … {self.high}"
        if self.levels and self.levels[0][1] == 1:
            shown = ", ".join(cut(text, _WIDEST) for text in self.examples)
        else:
            shown = ", ".join(f"{cut(text, _WIDEST)} {n:,}" for text, n in self.levels)
        return shown + (", …" if self.n_distinct > len(self.levels) else "")


@dataclass(frozen=True)
class TableReport:
    """What the columns of a table are taken for, as `inspect` found it; `print` shows it.

    Attributes
    ----------
    source : str
        The file, or what the data is called.
    n_rows : int
        The number of rows.
    columns : tuple of ColumnReport
        The columns, in order.
    target : str or None
        The name of the target, if one was given.
    notes : tuple of str
        How the file is read, where that is not obvious, and what concerns the whole table.
    """

    source: str
    n_rows: int
    columns: tuple[ColumnReport, ...]
    target: str | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def n_warnings(self) -> int:
        """The number of warnings of all columns."""
        return sum(len(column.warnings) for column in self.columns)

    def __getitem__(self, name: str) -> ColumnReport:
        """The column of that name. Raises KeyError for another one."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"no column {name!r}; there are {', '.join(c.name for c in self.columns)}")

    def to_dict(self) -> dict[str, Any]:
        """All that is in it, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        lines = _aligned([_HEADS, *map(self._line, self.columns)])
        shown = [self._title(), lines[0]]
        for column, line in zip(self.columns, lines[1:], strict=True):
            shown += [line, *(f"     - {each}" for each in column.notes)]
            shown += [f"     ! {each}" for each in column.warnings]
        shown += [f"note: {note}" for note in self.notes]
        return printable("\n".join([*shown, counted(self.n_warnings, "warning")]))

    def _repr_html_(self) -> str:
        found = [(column, "; ".join((*column.notes, *column.warnings))) for column in self.columns]
        lines = [(*self._line(column), words) for column, words in found]
        table = html_table((*_HEADS, "notes and warnings"), lines)
        return f"<div>{heading(self._title(), '')}{table}</div>"

    def _title(self) -> str:
        rows, columns = counted(self.n_rows, "row"), counted(len(self.columns), "column")
        target = f"; the target is {self.target}" if self.target is not None else ""
        return f"{self.source}: {rows}, {columns}{target}"

    def _line(self, column: ColumnReport) -> tuple[str, ...]:
        n = column.n_missing
        share = f" ({100 * n / self.n_rows:.0f} %)" if n else ""
        return (
            *(str(column.number), cut(column.name, _WIDEST)),
            column.kind + (" (target)" if column.name == self.target else ""),
            f"{n:,}{share}",
            f"{column.n_distinct:,}",
            column.content,
            column.why,
        )


# in notes that say what the report says anyway
_SAID = ("has no value", "contains codes", "probably names of rows")
_HEADS = ("", "column", "taken for", "missing", "distinct", "range, or levels", "why")


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            text.rjust(width) if i in (0, 3, 4) else text.ljust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]


def inspect(
    data: object,
    *,
    target: str | None = None,
    categorical: Sequence[str] = (),
    header: str = "auto",
    delimiter: str = AUTO,
    decimal: str = ".",
    thousands: str = "",
    na: Sequence[str] = (),
    date_formats: Sequence[str] = (),
    units: Sequence[str] = (),
    comment: str = "",
    encoding: str = "utf-8",
    sheet: str | None = None,
    max_bytes: int = MAX_BYTES,
) -> TableReport:
    """Say what each column of a table is taken for, and why, and what looks wrong with it.

    The columns are taken as `read_table(…, missing="keep", dates="parse")` takes them. What that
    refuses is a warning here.

    Parameters
    ----------
    data : str or path-like, or frame, dict, list of dicts or array
        The file, or the table itself.
    target : str, optional
        The column to predict, by name or number. Columns that give it away are then found too.
    categorical, header, delimiter, decimal, thousands, na, date_formats
        As for `read_table`.
    units, comment, encoding, sheet, max_bytes
        As for `read_table`.

    Returns
    -------
    TableReport
        The report; `print` shows it as a table.

    Raises
    ------
    DataError
        The data is no table: a line has more or fewer cells than the first, …
    ValueError
        An option is invalid.
    ImportError, OSError
        As `read_table` raises them.

    Examples
    --------
    >>> rows = {"id": range(1, 41), "plan": ["pro", "basic"] * 20, "left": ["no", "yes"] * 20}
    >>> report = inspect(rows, target="left")
    >>> report["plan"].warnings
    ('decides the target: each of its values stands with one target only',)
    >>> report["id"].warnings
    ('counts the rows, 1 to 40: probably an index',)
    """
    marks = (delimiter, decimal, thousands, tuple(na), tuple(date_formats))
    format = Format(*marks, tuple(units), comment, encoding)
    cells: Cells | None = None
    types: list[str] = []
    if isinstance(data, (str, os.PathLike)):
        found = survey_file(data, format, header, sheet, categorical, max_bytes)
        table, problems, types, cells = found
    else:
        formats = tuple(map(check_format, date_formats))
        rules = Rules(holes=True, parsed=True, na=frozenset(na), formats=formats)
        table, problems, types = survey_columns(data, "the table", rules, set(categorical))
    chosen = None if target is None else find_column(target, table.names, table.source)
    find_columns(categorical, table.names, table.source)
    return _report(table, problems, types, cells, chosen)


def _report(
    table: Table,
    problems: Mapping[int, list[Problem]],
    types: Sequence[str],
    cells: Cells | None,
    target: int | None,
) -> TableReport:
    offset = int(cells is not None and cells.index)
    codes = {i: codes_of(table, i) for i in range(len(table.names))}
    same = twins({i: each for i, each in codes.items() if i != target})
    columns, notes = [], list(table.notes)
    for i, name in enumerate(table.names):
        spec = (name if is_spec(name) else str(i + 1 + offset)) if cells is not None else ""
        warnings = [f"{problem.what}; {problem.remedy}" for problem in problems.get(i, ())]
        if i not in problems:
            warnings += column_findings(table, i, spec if i != target else "")
        if i in same:
            warnings.append(f"has the same values as column {same[i] + 1 + offset} in other words")
        if target is not None and i != target:
            warnings += filter(None, [leak(table, codes, i, target)])
        warnings += target_findings(table, i) if i == target else ()
        why = _why(cells, table, i) if cells is not None else f"its type is {types[i]}"
        called = cells.called(i + offset) if cells is not None else f"column {name!r}"
        told = [note for note in notes if note.startswith((f"{called} ", f"{called}:"))]
        notes = [note for note in notes if note not in told]
        told = [note.removeprefix(called).lstrip(": ") for note in told]
        told = [note for note in told if not any(said in note for said in _SAID)]
        made = _column(table, i, codes[i], i in problems, why)
        columns.append(
            replace(made, number=i + 1 + offset, notes=tuple(told), warnings=tuple(warnings))
        )
    if n := n_equal_rows(codes):
        notes.append(f"{counted(n, 'row')} equal{'s' * (n == 1)} an earlier one")
    named = None if target is None else table.names[target]
    return TableReport(table.source, table.n_rows, tuple(columns), named, tuple(notes))


def _column(table: Table, i: int, codes: Any, refused: bool, why: str) -> ColumnReport:
    missing = missing_in(table, i)
    n_distinct = int(codes.max(initial=-1)) + 1
    content: dict[str, Any] = {}
    if missing.all():
        kind = "empty"
    elif i in table.text:
        texts = [text for text in table.text[i].tolist() if text is not None]
        truth = set(texts) <= set(BOOLEANS)
        kind = "refused" if refused else "true/false" if truth else "text"
        content["levels"] = tuple(Counter(texts).most_common(_LEVELS))
        content["examples"] = tuple(list(dict.fromkeys(texts))[:_LEVELS])
    elif i in table.dates:
        kind, days = "date", table.dates[i][~missing]
        whole = bool((days == days.astype("datetime64[D]")).all())
        ends = np.concatenate([[days.min(), days.max()], days[:_LEVELS]])
        low, high, *first = np.datetime_as_string(ends, "D" if whole else "s").tolist()
        content |= {"low": low, "high": high, "examples": tuple(dict.fromkeys(first))}
    else:
        kind, values = "number", table.values[~missing, i]
        content |= {"low": float(values.min()), "high": float(values.max())}
        content["median"] = float(np.median(values))
        content["examples"] = tuple(map(number_text, list(dict.fromkeys(values.tolist()))[:3]))
    n_missing = int(missing.sum())
    return ColumnReport(i + 1, table.names[i], kind, why, n_missing, n_distinct, **content)


def _why(cells: Cells, table: Table, i: int) -> str:
    """Say what the kind of a column of a text file follows from."""
    column = cells.names.index(table.names[i])
    counts = cells.counts(column)
    kinds = {kind: int(counts[value]) for kind, value in CELL_KINDS.items()}
    numbers = kinds["digits"] + kinds["number"] + kinds["code"]
    if i in table.dates:
        return "dates, as ISO 8601 or an option writes them"
    if i in table.text:
        words = {text for text in table.text[i].tolist() if text is not None}
        if words and words <= set(BOOLEANS):
            return "only true and false"
        if kinds["text"] == 0 and (kinds["zeros"] or kinds["code"]):
            return "codes: leading zeros, or an exponent without a sign or point"
        mixed = numbers + kinds["zeros"] + kinds["padded"]
        if mixed:
            return f"numbers ({counted(mixed, 'cell')}) and text ({cells.n_words(column):,})"
        return "no cell is a plain number"
    if numbers == 0:
        return "no cell has a value"
    return "whole numbers" if kinds["number"] == 0 else "plain numbers"
