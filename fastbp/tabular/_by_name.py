"""Rows whose columns have names, from frames, dicts and structured arrays, as a Table for a model.

Columns are found by name, so their order does not matter, and further columns are left out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .._checks.columns import column_names, is_row
from .._checks.names import did_you_mean
from .._checks.words import counted, listed
from .._types import Array
from ..errors import DataError
from ._cells import (
    Part,
    Rules,
    as_strings,
    cells_of,
    described,
    read_cells,
    read_column,
    read_target,
    type_of,
)
from ._csv import Format
from ._dates import check_format
from ._problems import IGNORED, Problem, data_error, unknown_category
from ._table import Table, check_rules

Columns = Mapping[str, object]


def has_names(X: object) -> bool:
    """Whether the columns of X have names.

    >>> has_names({"age": 41}), has_names([{"age": 41}]), has_names([[41]])
    (True, True, False)
    """
    if isinstance(X, (Table, Mapping)):
        return True
    if isinstance(X, (np.ndarray, np.void)):
        return X.dtype.names is not None
    if isinstance(X, (list, tuple)):
        return len(X) > 0 and any(isinstance(row, Mapping) for row in X)
    return column_names(X) is not None or is_row(X)


def table_of(
    X: object,
    features: Sequence[str] | None = None,
    categories: Mapping[str, Sequence[str]] | None = None,
    name: str = "X",
    *,
    dated: Collection[str] = (),
    categorical: Collection[str] = (),
    only_known: bool = False,
    missing: str = "error",
    dates: str = "text",
    na: Sequence[str] = (),
    date_formats: Sequence[str] = (),
    target: str | None = None,
) -> Table:
    """Columns in memory as a Table: those of a model, or those to train on.

    Parameters
    ----------
    X : Table, frame, mapping, list of mappings, or array
        The rows. The columns of an array without names are called "1", "2", ….
    features : sequence of str, optional
        The names of the columns, in order; by default all.
    categories : mapping of str to sequence of str, optional
        The categories of those columns that are text; all others hold numbers. By default the type
        of each column, or what its cells are, says whether it is numbers, text or dates. Truth
        values and categories of pandas and Arrow are text, durations are numbers of seconds.
    name : str
        The name of X, for messages.
    dated : collection of str
        The columns that are dates, if `categories` is given.
    categorical : collection of str
        Columns to read as text, whatever is in them, if `categories` is not given.
    only_known : bool
        Whether a text that is not among the categories is a problem.
    missing, dates, na, date_formats
        As for `read_table`. Empty strings are missing too.
    target : str, optional
        The name of the target column, if X has one.

    Returns
    -------
    Table
        The table.

    Raises
    ------
    DataError
        A column is missing, or has a value that is missing, is no number where the model takes one,
        or is no category. The message names all such columns, with the first row of each; rows
        count from 1.
    """
    holes, parsed = check_rules(missing, dates, na, date_formats)
    rules = Rules(holes, parsed, frozenset(na), tuple(map(check_format, date_formats)))
    columns = columns_of(X, features, name)
    if features is None:
        features = tuple(column for column in columns if column != target)
    _check_present(columns, [*features, *([] if target is None else [target])], name)
    used = {column: columns[column] for column in (*features, target) if column is not None}
    cells = {column: cells_of(each, column, name) for column, each in used.items()}
    n_rows = _check_sizes(cells, name)
    made = Table(
        source=X.source if isinstance(X, Table) else name,
        names=tuple(features),
        values=np.full((n_rows, len(features)), np.nan),
        text={},
        lines=X.lines if isinstance(X, Table) else None,
        n_columns=len(used),
        format=Format(na=tuple(na), date_formats=tuple(date_formats)),
    )
    found = _Found()
    for i, feature in enumerate(features):
        if categories is not None:
            known = categories.get(feature)
            kind = "date" if feature in dated else "number" if known is None else "text"
            part = read_cells(cells[feature], kind, rules, known)
        else:
            as_text = feature in categorical
            part = read_column(used[feature], cells[feature], rules, text=as_text)
        found.add(i, part, feature, made, training=categories is None)
        if only_known and categories is not None and feature in categories:
            called = f"column {feature!r}"
            found.strange += unknown_category(called, part.cells, categories[feature], made.place)
    y = None
    if target is not None:
        y = read_target(used[target], cells[target], text=target in categorical)
        found.problems += described(y.faults, target, made, training=True)
    if found.problems or found.strange:
        remedy = IGNORED if found.strange else ""
        raise data_error(made.source, [*found.problems, *found.strange], remedy)
    for i, numbers in found.numbers.items():
        made.values[:, i] = numbers
    return replace(
        made,
        text=found.text,
        dates=found.dates,
        notes=tuple(found.notes),
        target_names=() if target is None else (target,),
        target=None if y is None else y.cells,
    )


def survey_columns(
    X: object, name: str, rules: Rules, categorical: Collection[str] = ()
) -> tuple[Table, dict[int, list[Problem]], list[str]]:
    """Make a table of all columns that can be read, and say what is wrong with the others.

    Those columns are text in the table. Also returns what the types of the columns are.
    """
    columns = columns_of(X, None, name)
    cells = {column: cells_of(each, column, name) for column, each in columns.items()}
    n_rows = _check_sizes(cells, name) if cells else 0
    names = tuple(columns)
    made = Table(name, names, np.full((n_rows, len(names)), np.nan), n_columns=len(names))
    found, problems, types = _Found(), {}, []
    for i, column in enumerate(names):
        part = read_column(columns[column], cells[column], rules, text=column in categorical)
        wrong = _Found()
        wrong.add(i, part, column, made, training=True)
        if wrong.problems:
            problems[i] = wrong.problems
            found.text[i] = as_strings(cells[column])
        else:
            found.add(i, part, column, made, training=True)
        types.append(type_of(columns[column], cells[column]))
    for i, numbers in found.numbers.items():
        made.values[:, i] = numbers
    table = replace(made, text=found.text, dates=found.dates, notes=tuple(found.notes))
    return table, problems, types


class _Found:
    """The columns that were read, by index, what is wrong with some, and what the user is told."""

    def __init__(self) -> None:
        self.numbers: dict[int, Array] = {}
        self.text: dict[int, Array] = {}
        self.dates: dict[int, Array] = {}
        self.problems: list[Problem] = []
        self.strange: list[Problem] = []
        self.notes: list[str] = []

    def add(self, i: int, part: Part, feature: str, table: Table, *, training: bool) -> None:
        """Add a column."""
        place = {"number": self.numbers, "text": self.text, "date": self.dates}
        place[part.kind][i] = part.cells
        self.problems += described(part.faults, feature, table, training=training)
        self.problems += [Problem(f"column {feature!r}", *each) for each in part.problems]
        self.notes += [f"column {feature!r} {note}" for note in part.notes] if training else []


def _check_sizes(cells: Mapping[str, Array], name: str) -> int:
    """Return the number of rows. DataError if columns differ in it, or if it is 0."""
    sizes = {feature: len(each) for feature, each in cells.items()}
    if not sizes:
        raise DataError(f"{name} has no columns; expected at least one")
    first = next(iter(sizes))
    for feature, size in sizes.items():
        if size != sizes[first]:
            raise DataError(
                f"{name}: column {first!r} has {counted(sizes[first], 'row')}, and column "
                f"{feature!r} has {size:,}; all columns must have the same length"
            )
    if sizes[first] == 0:
        raise DataError(f"{name} has no rows; expected at least one")
    return sizes[first]


def columns_of(X: object, features: Sequence[str] | None = None, name: str = "X") -> Columns:
    """{name: column} of a table, frame or array; those of one row have one element."""
    if isinstance(X, Table):
        return _of_table(X, features)
    if not has_names(X):
        return _without_names(X, name)
    if isinstance(X, (np.ndarray, np.void)):
        rows = np.atleast_1d(np.asarray(X))
        return {column: rows[column] for column in rows.dtype.names or ()}
    if isinstance(X, (list, tuple)):
        return _of_rows(X, name)
    if isinstance(X, Mapping) or is_row(X):
        return _of_mapping(X, features, name)
    frame: Any = X
    return {column: frame[column] for column in column_names(X) or ()}


def _without_names(X: Any, name: str) -> Columns:
    """The columns of an array or a list of rows, named "1", "2", …, or of another frame."""
    names = getattr(X, "columns", None)
    if names is not None and hasattr(X, "iloc"):  # of pandas, whose names are not all strings
        return {str(column): X.iloc[:, i] for i, column in enumerate(names)}
    array = X if isinstance(X, np.ndarray) else np.asarray(X)
    if array.ndim != 2 or array.shape[1] == 0:
        raise DataError(
            f"{name}: expected a data frame, a dict of columns, or a 2-D array (rows, columns); "
            f"got {type(X).__name__} of shape {array.shape}"
        )
    return {str(i + 1): array[:, i] for i in range(array.shape[1])}


def _of_table(table: Table, features: Sequence[str] | None) -> Columns:
    columns = {
        column: table.dates.get(i, table.text.get(i, table.values[:, i]))
        for i, column in enumerate(table.names)
    }
    unnamed = tuple(str(i + 1) for i in range(len(features or ())))
    if features and table.names == unnamed != tuple(
        features
    ):  # of an array: its columns have only numbers
        columns = dict(zip(features, columns.values(), strict=True))
    if table.target is not None:
        targets = table.target.reshape(table.n_rows, -1).T
        columns = dict(zip(table.target_names, targets, strict=True)) | columns
    return columns


def _of_rows(rows: Sequence[object], name: str) -> Columns:
    names: dict[str, None] = {}
    for i, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise DataError(
                f"{name}, row {i + 1}: expected a dict, as in row "
                f"{[isinstance(each, Mapping) for each in rows].index(True) + 1}; got "
                f"{type(row).__name__}"
            )
        names |= dict.fromkeys(row)
    return {
        column: [row.get(column) if isinstance(row, Mapping) else None for row in rows]
        for column in names
    }


def _of_mapping(X: Any, features: Sequence[str] | None, name: str) -> Columns:
    """The columns of a dict: one row if its values are single ones."""
    columns = {column: X[column] for column in X.keys()}  # noqa: SIM118 a Series iterates values
    used = [feature for feature in columns if features is None or feature in features]
    single = [feature for feature in used if _is_single(columns[feature])]
    if single and len(single) < len(used):
        other = next(feature for feature in used if feature not in single)
        raise DataError(
            f"{name}: column {single[0]!r} is a single value, and column {other!r} is a "
            f"{type(columns[other]).__name__}: give single values for one row, or columns of the "
            "same length"
        )
    return {column: [value] for column, value in columns.items()} if single else columns


def _is_single(value: object) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim == 0
    return isinstance(value, (str, bytes)) or not hasattr(value, "__len__")


def _check_present(columns: Columns, features: Sequence[str], name: str) -> None:
    missing = [feature for feature in features if feature not in columns]
    if not missing:
        return
    spare = [str(column) for column in columns if column not in features]
    hints = [did_you_mean(feature, spare).removeprefix("; ") for feature in missing]
    named = [
        f"{feature!r} ({hint})" if hint else repr(feature)
        for feature, hint in zip(missing, hints, strict=True)
    ]
    raise DataError(
        f"{name}: the model takes {counted(len(features), 'column')}, {listed(features)}; "
        f"missing: {', '.join(named)}; {name} has {listed(map(str, columns)) or 'none'}"
    )
