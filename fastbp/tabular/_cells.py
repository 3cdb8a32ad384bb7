"""The cells of a column that is in memory: of a frame, a dict, a list of dicts or an array.

A column is numbers, text or dates; what its cells are says which, unless a model does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from math import isfinite, isnan
from numbers import Real
from typing import Any

import numpy as np

from .._checks.numbers import is_missing_kind, is_number_kind
from .._checks.words import counted
from .._types import Array
from ..errors import DataError
from ._columns import as_booleans, names_rows
from ._csv import TEXT_SHARE, is_few
from ._dates import other_formats, read_dates
from ._problems import Problem, alternatives, at_first, shortened
from ._table import Table
from ._words import is_missing as is_missing_word
from ._words import is_plain

# what is wrong: the rows where it is, and what stands there
Faults = dict[str, tuple[list[int], list[object]]]


def cells_of(column: Any, feature: str, name: str) -> Array:
    """A column as an array (n,), of objects if it is a list, in which None stands for a mask."""
    array: Array
    if has_categories(column):  # NumPy would lose missing values of Arrow
        column = column.to_pylist() if hasattr(column, "to_pylist") else column.astype(object)
    if isinstance(column, np.ma.MaskedArray):
        array = np.asarray(column.astype(object))
        array[np.ma.getmaskarray(column)] = None
    elif isinstance(column, (list, tuple)):
        array = np.empty(len(column), object)
        for i, value in enumerate(column):
            array[i] = value
    else:
        array = np.asarray(column)
    if array.ndim == 2 and array.shape[1] == 1:
        return array[:, 0]
    if array.ndim != 1:
        twice = ": do two columns have this name?" if array.ndim == 2 else ""
        raise DataError(
            f"{name}: column {feature!r} has shape {array.shape}; expected one value for each "
            f"row{twice}"
        )
    return array


def has_categories(column: Any) -> bool:
    """Whether a column has the type category of pandas, or dictionary of Arrow."""
    return getattr(getattr(column, "dtype", None), "name", "") == "category" or str(
        getattr(column, "type", "")
    ).startswith("dictionary<")


def kind_of(cells: Array) -> str:
    """What a column holds: "number", "truth", "text", "date" or "duration", or "mixed".

    A column without a value is one of numbers.
    """
    if cells.dtype.kind != "O":
        return _KINDS.get(cells.dtype.kind, "mixed")
    values = cells.tolist()
    each: Iterable[object] = set(values) if _are_texts(values) else values
    types = {type(value) for value in each if not is_missing(value)}
    kinds = {_kind_of_type(kind) for kind in types} or {"number"}
    if kinds == {"number", "truth"}:
        return "number"
    return kinds.pop() if len(kinds) == 1 else "mixed"


_KINDS = {"b": "truth", "M": "date", "m": "duration", "U": "text", "T": "text"} | dict.fromkeys(
    "iuf", "number"
)


def _kind_of_type(kind: type) -> str:
    if issubclass(kind, (bool, np.bool_)):
        return "truth"
    if issubclass(kind, (date, np.datetime64)):
        return "date"
    if issubclass(kind, (timedelta, np.timedelta64)):
        return "duration"
    if issubclass(kind, str):
        return "text"
    return "number" if is_number_kind(kind) else "mixed"


def as_seconds(cells: Array) -> Array:
    """Durations as numbers of seconds; NaN where there is none."""
    if cells.dtype.kind == "m":
        return np.where(np.isnat(cells), np.nan, cells / np.timedelta64(1, "s"))
    seconds = np.full(len(cells), np.nan)
    for row, value in enumerate(cells.tolist()):
        if not is_missing(value):
            seconds[row] = np.timedelta64(value) / np.timedelta64(1, "s")
    return seconds


def dates_of(cells: Array, formats: Sequence[str] = ()) -> tuple[Array, Faults, bool]:
    """The cells as datetime64[us], what is wrong with some, and whether offsets became UTC."""
    faults: Faults = {}
    if cells.dtype.kind == "M":
        return cells.astype("datetime64[us]"), faults, False
    dates = np.full(len(cells), np.datetime64("NaT", "us"))
    texts: dict[str, list[int]] = {}
    in_utc = False
    for row, value in enumerate(objects_of(cells)):
        if is_missing(value):
            continue
        if isinstance(value, str):
            texts.setdefault(value.strip(), []).append(row)
        elif isinstance(value, datetime):
            in_utc |= value.tzinfo is not None
            dates[row] = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        elif isinstance(value, (date, np.datetime64)):
            dates[row] = value
        else:
            _note(faults, "no date", row, value)
    found = read_dates(list(texts), formats) if texts else None
    for i, (text, rows) in enumerate(texts.items()):
        if found is None or np.isnat(found.values[i]) or found.mixed:
            for row in rows:
                _note(faults, "no date", row, text)
        else:
            dates[rows] = found.values[i]
    return dates, faults, in_utc or (found is not None and found.in_utc)


def numbers_of(cells: Array) -> tuple[Array, Faults]:
    """The cells as float64, durations in seconds, and what is wrong with some."""
    faults: Faults = {}
    if cells.dtype.kind in "biuf":
        numbers = cells.astype(np.float64)
        for row in np.flatnonzero(~np.isfinite(numbers)).tolist():
            missing = bool(np.isnan(numbers[row]))
            _note(faults, "missing" if missing else "infinite", row, cells[row])
        return numbers, faults
    numbers = np.full(len(cells), np.nan)
    for row, value in enumerate(objects_of(cells)):
        if is_missing(value):
            _note(faults, "missing", row, value)
        elif not is_number_kind(type(value)):
            _note(faults, "text" if isinstance(value, str) else "other", row, value)
        else:
            try:
                numbers[row] = float(value)
            except (OverflowError, ValueError):
                numbers[row] = np.inf
            if not isfinite(numbers[row]):
                _note(faults, "infinite", row, value)
    return numbers, faults


def texts_of(cells: Array, known: Iterable[str]) -> tuple[Array, Faults]:
    """The cells as strings, and what is wrong with some."""
    faults: Faults = {}
    categories = frozenset(known)
    texts, values = np.empty(len(cells), object), objects_of(cells)
    if _are_texts(values):  # each text is examined once
        blank = {text for text in set(values) if is_missing(text)}
        texts[:] = values
        for row in [row for row, text in enumerate(values) if text in blank] if blank else ():
            texts[row] = None
            _note(faults, "missing", row, values[row])
        return texts, faults
    for row, value in enumerate(values):
        if is_missing(value):
            _note(faults, "missing", row, value)
        elif isinstance(value, str):
            texts[row] = value
        elif isinstance(value, (bool, np.bool_, Real)):
            texts[row] = text_of(value, categories)
        else:
            _note(faults, "no text", row, value)
    return texts, faults


def _are_texts(values: Sequence[object]) -> bool:
    """Whether all cells are strings or None."""
    return set(map(type, values)) <= {str, type(None)}


def text_of(value: Any, known: frozenset[str] = frozenset()) -> str:
    """A number or truth value as a .csv file may have it: as a category, if there is such a one."""
    if isinstance(value, (bool, np.bool_)):
        written = [str(value), str(value).lower(), str(value).upper()]
    elif float(value).is_integer():
        written = [str(int(value)), str(value)]
    else:
        written = [str(value)]
    return next((text for text in written if text in known), written[0])


def is_missing(value: object) -> bool:
    """Whether a cell has no value: None, NaN, NA, NaT, or an empty string."""
    if isinstance(value, (float, np.floating, Decimal)):
        return isnan(value)
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return bool(np.isnat(value))
    return not value.strip() if isinstance(value, str) else is_missing_kind(type(value))


def plain_texts(column: object, name: str, source: str) -> Array:
    """The cells of a column as strings, for the user to read; "" where there is none."""
    part = read_column(column, cells_of(column, name, source), Rules(holes=True), text=True)
    part.cells[part.cells == None] = ""
    return part.cells


def as_strings(cells: Array) -> Array:
    """The cells as str writes them, and None where there is none."""
    texts = np.empty(len(cells), object)
    texts[:] = [None if is_missing(value) else str(value) for value in objects_of(cells)]
    return texts


def type_of(column: Any, cells: Array) -> str:
    """The type of a column as its library calls it, or the types of its cells."""
    found = getattr(column, "dtype", None) or getattr(column, "type", None)
    if found is not None and str(found) not in ("object", "Object"):
        return str(found)
    types = {type(value).__name__ for value in objects_of(cells) if not is_missing(value)}
    return ", ".join(sorted(types)) or "nothing"


def objects_of(cells: Array) -> list[Any]:
    """The cells as objects of Python, or those of NumPy where Python would lose their type."""
    return cells.tolist() if cells.dtype.kind not in "mM" else list(cells)


def _note(faults: Faults, kind: str, row: int, value: object) -> None:
    rows, values = faults.setdefault(kind, ([], []))
    rows.append(row)
    values.append(value)


# ---- columns ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rules:
    """How cells are read: the options of `table_of`."""

    holes: bool = False
    parsed: bool = False
    na: frozenset[str] = frozenset()
    formats: tuple[str, ...] = ()


@dataclass
class Part:
    """A column that was read.

    Attributes
    ----------
    kind : {"number", "text", "date"}
        What it is.
    cells : ndarray of shape (n,)
        The cells.
    faults : Faults
        What is wrong with some cells.
    problems : list of (str, str)
        What is wrong with the column, and the way out.
    notes : list of str
        What the user is told: the rest of a sentence that begins with the column.
    """

    kind: str
    cells: Array
    faults: Faults
    problems: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_cells(cells: Array, kind: str, rules: Rules, known: Iterable[str] | None = None) -> Part:
    """Read a column of which a model says what it is."""
    if kind == "date" and rules.parsed:
        values, faults, in_utc = dates_of(cells, rules.formats)
        part = Part("date", values, faults)
        if in_utc:
            part.notes.append("has times with an offset, which are read in UTC")
    elif kind == "number":
        seconds = rules.holes and kind_of(cells) == "duration"
        part = Part("number", *numbers_of(as_seconds(cells) if seconds else cells))
        sentinels = [float(word) for word in rules.na if is_plain(word)]
        if sentinels:
            part.cells[np.isin(part.cells, sentinels)] = np.nan
    else:
        part = Part("text", *texts_of(_as_iso(cells) if kind == "date" else cells, known or ()))
        if rules.holes:
            part.cells = as_booleans(_stripped(part.cells, rules.na), tuple(known or ()))
    if rules.holes:
        part.faults.pop("missing", None)
    return part


def _stripped(texts: Array, na: Collection[str]) -> Array:
    """Texts without blanks around them, as those of a .csv file, and None for those of `na`."""
    plain = {text: text.strip() for text in set(texts.tolist()) if text is not None}
    made = texts
    if any(text != stripped for text, stripped in plain.items()):
        made = np.empty(len(texts), object)
        made[:] = [plain.get(text) for text in texts.tolist()]
    if na:
        made[np.isin(made.astype(str), list(na))] = None
    return made


def _as_iso(cells: Array) -> Array:
    """Dates as ISO 8601 writes them: without a time if none has one."""
    days, _, _ = dates_of(cells)
    whole = (days[~np.isnat(days)] == days[~np.isnat(days)].astype("datetime64[D]")).all()
    texts = np.datetime_as_string(days, unit="D" if whole else "s").astype(object)
    texts[np.isnat(days)] = None
    return texts


def read_column(column: object, cells: Array, rules: Rules, *, text: bool = False) -> Part:
    """Read a column to train on: its type, or what its cells are, says what it is.

    With `text`, it is text, whatever is in it.
    """
    kind = kind_of(cells)
    if text or has_categories(column):
        return read_cells(cells, "date" if kind == "date" else "text", replace(rules, parsed=False))
    if kind == "mixed" and not (rules.holes and _is_mostly_text(cells)):
        return _mixed(cells)
    if kind == "mixed":
        part = read_cells(cells, "text", rules)
        part.notes.append("has numbers and text, and is read as text")
        return part
    part = read_cells(cells, {"duration": "number", "truth": "text"}.get(kind, kind), rules)
    if kind == "duration":
        part.notes.append("has durations, which are read in seconds")
    if part.kind != "text" or kind == "date":
        return part
    distinct = [text for text in dict.fromkeys(part.cells.tolist()) if text is not None]
    if rules.parsed:
        values = [text for text in distinct if not is_missing_word(text)]
        if read_dates(values, rules.formats) is not None:
            days = part.cells.copy()
            days[np.isin(days.astype(str), list({*distinct} - {*values}))] = None
            return read_cells(days, "date", rules)
        if formats := other_formats(values):
            such = f"dates in another format than 2026-05-31, such as {values[0]!r}"
            reads = [f"date_formats=[{each!r}] ({order})" for each, order in formats[:3]]
            part.problems.append((such, alternatives(*reads, "convert them to dates")))
    part.notes += _told(part.cells, distinct)
    return part


def _is_mostly_text(cells: Array) -> bool:
    """Whether a column has numbers and so much text that it is one of text, as in a .csv file."""
    filled = [value for value in objects_of(cells) if not is_missing(value)]
    texts = [value for value in filled if isinstance(value, str)]
    numbers = [value for value in filled if not isinstance(value, str)]
    if any(_kind_of_type(type(value)) != "number" for value in numbers):
        return False
    words = len(set(texts)) > 1 or is_few(np.array(numbers, float))
    return words and len(texts) >= TEXT_SHARE * len(filled)


def _told(texts: Array, distinct: Sequence[str]) -> Iterator[str]:
    """Say what a column of text may be instead."""
    words = [text for text in distinct if is_missing_word(text)]
    if words:
        n = int(np.isin(texts.astype(str), words).sum())
        shown = ", ".join(map(repr, words[:3]))
        yield f"has {counted(n, 'cell')} {shown}, read as text (na=[{shown}] reads them as missing)"
    if distinct and all(map(is_plain, distinct)):
        yield f"is text, whose cells are numbers such as {distinct[0]!r} (convert it with float)"
    filled = len(texts) - texts.tolist().count(None)
    if names_rows(len(distinct), filled):
        yield f"has {len(distinct):,} distinct texts in {filled:,} rows: probably names of rows"


def _mixed(cells: Array) -> Part:
    """A column of several kinds, as one of the most frequent kind, with the others as faults."""
    kinds = [
        None if is_missing(value) else _kind_of_type(type(value)) for value in objects_of(cells)
    ]
    counts = Counter(kind for kind in kinds if kind is not None)
    if counts["number"]:
        numbers, faults = numbers_of(cells)
        return Part("number", numbers, {k: v for k, v in faults.items() if k != "missing"})
    if counts["date"]:
        values, faults, _ = dates_of(cells)
        return Part("date", values, faults)
    faults = {}
    most = counts.most_common(1)[0][0]
    for row, (kind, value) in enumerate(zip(kinds, objects_of(cells), strict=True)):
        if kind is not None and (kind != most or kind == "mixed"):
            _note(faults, "other", row, value)
    return Part("text", np.full(len(cells), None, object), faults)


def read_target(column: object, cells: Array, *, text: bool = False) -> Part:
    """Read a target: numbers, or text; a missing value is a fault."""
    part = read_column(column, cells, Rules(), text=text)
    if part.kind == "number" and cells.dtype.kind in "iu":
        part.cells = cells.astype(np.int64 if cells.dtype.kind == "i" else np.uint64)
    return part


# ---- in words -----------------------------------------------------------------------------

# kind of fault: (one cell, several cells, the way out)
_WORDS = {
    "missing": ("missing value", "missing values", "fill them in, or drop such rows"),
    "infinite": ("number that is not finite", "numbers that are not finite", "drop such rows"),
    "text": ("text", "texts", "the model takes numbers in this column: convert text with float"),
    "other": ("value", "values", "the model takes numbers here"),
    "no text": ("value", "values", "the model takes text here"),
    "no date": ("value", "values", "the model takes dates here"),
}
_KIND = "a column holds either numbers, text, truth values or dates"
_TRAINING = {
    "missing": "fill them in, or drop such rows",
    "text": "convert it with float, or the column with str, which makes it text",
    "other": _KIND,
    "no text": _KIND,
    "no date": "write dates as 2026-05-31, or convert the column to dates",
}


def described(
    faults: Faults, feature: str, table: Table, *, training: bool = False
) -> list[Problem]:
    """What is wrong with a column, in words for a model, or for a table to train on."""
    problems = []
    for kind, (rows, values) in faults.items():
        one, many, remedy = _WORDS[kind]
        remedy = _TRAINING.get(kind, remedy) if training else remedy
        first = at_first(table.place(rows[0]), len(rows))
        what = f"{counted(len(rows), one, many)} {first}"
        if kind == "text":
            what += f": {shortened(str(values[0]))}"
        elif kind != "missing":
            what += f": {shortened(str(values[0]))} ({type(values[0]).__name__})"
        problems.append(Problem(f"column {feature!r}", what, remedy))
    return problems
