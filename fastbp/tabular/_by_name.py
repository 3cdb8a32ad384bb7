"""Rows whose columns have names, from frames, dicts and structured arrays, as a Table for a model.

Columns are found by name, so their order does not matter, and further columns are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite, isnan
from numbers import Real
from typing import Any

import numpy as np

from .._checks.columns import column_names, is_row
from .._checks.names import did_you_mean
from .._checks.numbers import is_missing_kind, is_number_kind
from .._checks.words import counted, listed
from .._types import Array
from ..errors import DataError
from ._problems import IGNORED, Problem, at_first, data_error, shortened, unknown_category
from ._table import Table

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
    features: Sequence[str],
    categories: Mapping[str, Sequence[str]],
    name: str = "X",
    *,
    only_known: bool = False,
) -> Table:
    """The features of a model, as a Table with these columns in this order.

    Parameters
    ----------
    X : Table, frame, mapping, list of mappings, or structured array
        The rows; `has_names` is true for it.
    features : sequence of str
        The names of the columns.
    categories : mapping of str to sequence of str
        The categories of those columns that are text.
    name : str
        The name of X, for messages.
    only_known : bool
        Whether a text that is not among the categories is a problem.

    Returns
    -------
    Table
        The table, without a target.

    Raises
    ------
    DataError
        A column is missing, or has a value that is missing, is no number where the model takes one,
        or is no category. The message names all such columns, with the first row of each; rows
        count from 1.
    """
    columns = columns_of(X, features, name)
    _check_present(columns, features, name)
    cells = {feature: _cells(columns[feature], feature, name) for feature in features}
    sizes = {feature: len(each) for feature, each in cells.items()}
    n_rows = next(iter(sizes.values()))
    for feature, size in sizes.items():
        if size != n_rows:
            raise DataError(
                f"{name}: column {features[0]!r} has {counted(n_rows, 'row')}, and column "
                f"{feature!r} has {size:,}; all columns must have the same length"
            )
    if n_rows == 0:
        raise DataError(f"{name} has no rows; expected at least one")
    made = Table(
        source=X.source if isinstance(X, Table) else name,
        names=tuple(features),
        values=np.full((n_rows, len(features)), np.nan),
        text={},
        lines=X.lines if isinstance(X, Table) else None,
        n_columns=len(features),
    )
    text: dict[int, Array] = {}
    problems: list[Problem] = []
    strange: list[Problem] = []
    for i, feature in enumerate(features):
        if feature in categories:
            text[i], found = _texts(cells[feature], categories[feature])
        else:
            made.values[:, i], found = _numbers(cells[feature])
        problems += _described(found, feature, made)
        if only_known and feature in categories:
            called = f"column {feature!r}"
            strange += unknown_category(called, text[i], categories[feature], made.place)
    if problems or strange:
        raise data_error(made.source, [*problems, *strange], IGNORED if strange else "")
    return Table(**{**vars(made), "text": text})


def columns_of(X: object, features: Sequence[str], name: str = "X") -> Columns:
    """{name: column} of what `has_names` is true for; those of one row have one element."""
    if isinstance(X, Table):
        return _of_table(X, features)
    if isinstance(X, (np.ndarray, np.void)):
        rows = np.atleast_1d(np.asarray(X))
        return {column: rows[column] for column in rows.dtype.names or ()}
    if isinstance(X, (list, tuple)):
        return _of_rows(X, name)
    if isinstance(X, Mapping) or is_row(X):
        return _of_mapping(X, features, name)
    frame: Any = X
    return {column: frame[column] for column in column_names(X) or ()}


def _of_table(table: Table, features: Sequence[str]) -> Columns:
    columns = {
        column: table.text[i] if i in table.text else table.values[:, i]
        for i, column in enumerate(table.names)
    }
    unnamed = tuple(str(i + 1) for i in range(len(features)))
    if table.names == unnamed != tuple(features):  # of an array: its columns have only numbers
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


def _of_mapping(X: Any, features: Sequence[str], name: str) -> Columns:
    """The columns of a dict: one row if its values are single ones."""
    columns = {column: X[column] for column in X.keys()}  # noqa: SIM118 a Series iterates values
    used = [feature for feature in features if feature in columns]
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


# ---- cells --------------------------------------------------------------------------------

# what is wrong: the rows where it is, and what stands there
_Faults = dict[str, tuple[list[int], list[object]]]


def _cells(column: object, feature: str, name: str) -> Array:
    """A column as an array (n,), of objects if it is a list, in which None stands for a mask."""
    array: Array
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


def _numbers(cells: Array) -> tuple[Array, _Faults]:
    """The cells as float64, and what is wrong with some."""
    faults: _Faults = {}
    if cells.dtype.kind in "biuf":
        numbers = cells.astype(np.float64)
        for row in np.flatnonzero(~np.isfinite(numbers)).tolist():
            missing = bool(np.isnan(numbers[row]))
            _note(faults, "missing" if missing else "infinite", row, cells[row])
        return numbers, faults
    numbers = np.full(len(cells), np.nan)
    for row, value in enumerate(cells.tolist() if cells.dtype.kind in "OUS" else list(cells)):
        if _is_missing(value):
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


def _texts(cells: Array, known: Iterable[str]) -> tuple[Array, _Faults]:
    """The cells as strings, and what is wrong with some."""
    faults: _Faults = {}
    categories = frozenset(known)
    texts = np.empty(len(cells), object)
    for row, value in enumerate(cells.tolist() if cells.dtype.kind not in "mM" else list(cells)):
        if _is_missing(value):
            _note(faults, "missing", row, value)
        elif isinstance(value, str):
            texts[row] = value
        elif isinstance(value, (bool, np.bool_, Real)):
            texts[row] = _category(value, categories)
        else:
            _note(faults, "no text", row, value)
    return texts, faults


def _category(value: Any, known: frozenset[str]) -> str:
    """A number or truth value as a .csv file may have it: as a category, if there is such a one."""
    if isinstance(value, (bool, np.bool_)):
        written = [str(value), str(value).lower(), str(value).upper()]
    elif float(value).is_integer():
        written = [str(int(value)), str(value)]
    else:
        written = [str(value)]
    return next((text for text in written if text in known), written[0])


def _is_missing(value: object) -> bool:
    if isinstance(value, (float, np.floating)):
        return isnan(value)
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return bool(np.isnat(value))
    return value == "" if isinstance(value, str) else is_missing_kind(type(value))


def _note(faults: _Faults, kind: str, row: int, value: object) -> None:
    rows, values = faults.setdefault(kind, ([], []))
    rows.append(row)
    values.append(value)


# kind of fault: (one cell, several cells, the way out)
_WORDS = {
    "missing": ("missing value", "missing values", "fill them in, or drop such rows"),
    "infinite": ("number that is not finite", "numbers that are not finite", "drop such rows"),
    "text": ("text", "texts", "the model takes numbers in this column: convert text with float"),
    "other": ("value", "values", "the model takes numbers here"),
    "no text": ("value", "values", "the model takes text here"),
}


def _described(faults: _Faults, feature: str, table: Table) -> list[Problem]:
    problems = []
    for kind, (rows, values) in faults.items():
        one, many, remedy = _WORDS[kind]
        first = at_first(table.place(rows[0]), len(rows))
        what = f"{counted(len(rows), one, many)} {first}"
        if kind == "text":
            what += f": {shortened(str(values[0]))}"
        elif kind != "missing":
            what += f": {shortened(str(values[0]))} ({type(values[0]).__name__})"
        problems.append(Problem(f"column {feature!r}", what, remedy))
    return problems
