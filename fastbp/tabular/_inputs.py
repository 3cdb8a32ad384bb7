"""The inputs of a network for the rows of a table, by the columns of an encoder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np

from .._checks.names import did_you_mean
from .._checks.words import counted, listed
from .._types import Array
from ..errors import DataError
from ._by_name import table_of
from ._encoded import Column, NumberColumn, Scale, TextColumn, clip, names_of
from ._problems import Problem, at_first, data_error
from ._table import Table

_BLOCK = 4096  # rows to scale at a time, so that the intermediate float64 array stays small

# The inputs (n, k) of numbers of some columns, by the index of the column, in place of their own.
Instead = Mapping[int, Array]


# ---- tables -------------------------------------------------------------------------------


def columns_in(table: Table, columns: Sequence[Column]) -> Table:
    """A table with these columns in this order, each of its kind.

    A column that has only holes is of every kind, and numbers are text as a .csv file has them.
    Raises DataError if a column is missing or of another kind, or has an infinite number.
    """
    places = {name: i for i, name in enumerate(table.names)}
    missing = [column.name for column in columns if column.name not in places]
    if missing:
        raise DataError(
            f"{table.source}: the encoder takes {counted(len(columns), 'column')}, "
            f"{listed(column.name for column in columns)}; missing: "
            f"{listed(map(repr, missing))}{did_you_mean(missing[0], table.names)}"
        )
    chosen = [places[column.name] for column in columns]
    names = tuple(column.name for column in columns)
    values = table.values if names == table.names else table.values[:, chosen]
    parts = {
        i: _of_kind(table, place, column)
        for i, (place, column) in enumerate(zip(chosen, columns, strict=True))
        if column.kind != "number" or kind_of(table, place) != "number"
    }
    text = {i: part.text[0] for i, part in parts.items() if 0 in part.text}
    dates = {i: part.dates[0] for i, part in parts.items() if 0 in part.dates}
    numbers = [i for i, column in enumerate(columns) if column.kind == "number"]
    if changed := [i for i in numbers if i in parts]:
        values = values.astype(np.float64)
        for i in changed:
            values[:, i] = parts[i].values[:, 0]
    found = Table(table.source, names, values, text, dates, lines=table.lines)
    refuse_infinite(found, numbers)
    return found


def _of_kind(table: Table, place: int, column: Column) -> Table:
    """A table of one column, which is of the kind that an encoder takes, if it can be."""
    kind = kind_of(table, place)
    part = column_of(table, place)
    if kind == column.kind:
        return part
    known = {column.name: (*column.levels, *column.rare)} if isinstance(column, TextColumn) else {}
    if kind == "date" and known:
        return table_of(part, missing="keep", categorical=part.names)
    dated = [column.name] if column.kind == "date" else []
    return table_of(part, part.names, known, dated=dated, missing="keep", dates="parse")


def column_of(table: Table, place: int) -> Table:
    """A table of one column of another."""
    return Table(
        table.source,
        (table.names[place],),
        table.values[:, place : place + 1],
        {0: table.text[place]} if place in table.text else {},
        {0: table.dates[place]} if place in table.dates else {},
        lines=table.lines,
    )


def kind_of(table: Table, place: int) -> str:
    """What a column holds: "number", "date" or "text"."""
    return "text" if place in table.text else "date" if place in table.dates else "number"


def refuse_infinite(table: Table, columns: Sequence[int]) -> None:
    """Raise DataError if one of these columns has an infinite number."""
    problems = []
    values = table.values if len(columns) == len(table.names) else table.values[:, columns]
    for place in np.flatnonzero(np.isinf(values).any(axis=0)).tolist():
        rows = np.flatnonzero(np.isinf(values[:, place]))
        numbers = counted(len(rows), "infinite number")
        what = f"{numbers} {at_first(table.place(rows[0]), len(rows))}"
        name = table.names[columns[place]]
        problems.append(Problem(f"column {name!r}", what, "correct it, or leave the cell empty"))
    if problems:
        raise data_error(table.source, problems)


def _cells(table: Table, place: int) -> Array:
    """The cells (n,) of a column of `columns_in`."""
    if place in table.text:
        return table.text[place]
    if place in table.dates:
        return table.dates[place]
    return table.values[:, place].astype(np.float64, copy=False)


# ---- dense rows ---------------------------------------------------------------------------


def dense_inputs(
    columns: Sequence[Column], table: Table, dtype: np.dtype, instead: Instead
) -> Array:
    """The inputs (n, n_inputs) for a table of `columns_in`: of numbers, others, and codes."""
    _refuse_codes(columns, dtype)
    n_inputs = sum(len(names) for names in names_of(columns))
    X = np.zeros((table.n_rows, n_inputs), dtype)
    _scale_into(X, columns, table)
    at = 0
    for i, column in enumerate(columns):
        n = len(column.number_names)
        if n and _plain_scale(column) is None:
            X[:, at : at + n] = _numbers(columns, table, i, instead)
        at += n
    for i, column in enumerate(columns):
        n = len(column.other_names)
        if is_one_hot(column):
            codes = column.codes(table.text[i])
            known = np.flatnonzero(codes >= 0)
            X[known, at + codes[known]] = 1
        elif n:
            X[:, at : at + n] = column.others(_cells(table, i))
        at += n
    for i, column in enumerate(columns):
        if is_coded(column):
            X[:, at] = column.codes(table.text[i])
            at += 1
    _refuse_overflow(X, columns, table)
    return X


def _numbers(columns: Sequence[Column], table: Table, i: int, instead: Instead) -> Array:
    return instead[i] if i in instead else columns[i].numbers(_cells(table, i))


def _scale_into(X: Array, columns: Sequence[Column], table: Table) -> None:
    """Write the inputs of numbers that are scaled, all columns at once."""
    scales = {i: each for i, each in enumerate(map(_plain_scale, columns)) if each is not None}
    if not scales:
        return
    plain = list(scales)
    ends = np.cumsum([len(column.number_names) for column in columns])
    places = (ends[plain] - 1).tolist()
    median, centre, scale = (
        np.array([getattr(each, name) for each in scales.values()])
        for name in ("median", "centre", "scale")
    )
    # NumPy copies a slice several times as fast as a list of columns.
    source = slice(None) if plain == [*range(len(columns))] else plain
    target = slice(0, len(places)) if places == [*range(len(places))] else places
    clipped = next(iter(scales.values())).clipped  # one method scales all numbers
    for start in range(0, table.n_rows, _BLOCK):
        block = slice(start, start + _BLOCK)
        values = table.values[block, source].astype(np.float64, copy=False)
        filled = np.where(np.isnan(values), median, values)
        with np.errstate(over="ignore"):
            scaled = (filled - centre) * scale
            X[block, target] = clip(scaled) if clipped else scaled


def _plain_scale(column: Column) -> Scale | None:
    """The scale of a column of numbers that is scaled, which all such columns are at once."""
    if isinstance(column, NumberColumn) and column.scale.scale and not column.scale.quantiles:
        return column.scale
    return None


def is_one_hot(column: Column) -> TypeGuard[TextColumn]:
    """Whether each group of the column has an input."""
    return isinstance(column, TextColumn) and column.encoding == "one-hot"


def is_coded(column: Column) -> TypeGuard[TextColumn]:
    """Whether the input of the column is a code."""
    return isinstance(column, TextColumn) and column.encoding == "codes"


def _refuse_codes(columns: Sequence[Column], dtype: np.dtype) -> None:
    """Raise DataError if a column has more levels than a dtype holds exactly."""
    most = 2 ** (np.finfo(dtype).nmant + 1)
    for column in filter(is_coded, columns):
        if len(column.groups) > most:
            raise DataError(
                f"column {column.name!r} has codes of {len(column.groups):,} levels, and {dtype} "
                f"holds only {most:,} exactly: use dtype float64, or a larger min_count"
            )


def _refuse_overflow(X: Array, columns: Sequence[Column], table: Table) -> None:
    """Raise DataError for the first number that the dtype of X cannot hold."""
    names = names_of(columns)[0]
    lost = np.argwhere(~np.isfinite(X[:, : len(names)]))
    if len(lost):
        row, place = lost[0].tolist()
        wider = "" if X.dtype == np.float64 else ", or use dtype float64"
        raise DataError(
            f"{table.source}, {table.place(row)}, column {names[place]!r}: the number is too "
            f'large; scaled, it is beyond {X.dtype}: correct it, use numbers="robust"{wider}'
        )


# ---- sparse rows --------------------------------------------------------------------------


def sparse_inputs(
    columns: Sequence[Column], table: Table, dtype: np.dtype, instead: Instead
) -> Any:
    """As `dense_inputs`, as a CSR array: a text that is one-hot has one place in each row."""
    try:
        from scipy.sparse import csr_array
    except ImportError as error:
        raise ImportError(
            'sparse=True makes arrays of SciPy: run pip install "fastbp[sklearn]"'
        ) from error
    parts = list(_parts(columns, table, instead))
    with np.errstate(over="ignore"):
        values = np.concatenate([values for values, _ in parts], axis=1).astype(dtype)
    places = np.concatenate([places for _, places in parts], axis=1)
    _refuse_overflow(values, columns, table)
    stored = values != 0
    indptr = np.concatenate([[0], np.cumsum(stored.sum(axis=1))])
    index = np.int32 if indptr[-1] < 2**31 else np.int64
    n_inputs = sum(len(names) for names in names_of(columns))
    arrays = (values[stored], places[stored].astype(index), indptr.astype(index))
    return csr_array(arrays, shape=(table.n_rows, n_inputs))


def _parts(
    columns: Sequence[Column], table: Table, instead: Instead
) -> Iterator[tuple[Array, Array]]:
    """Values (n, k) and the inputs (n, k) where they belong, in the order of the inputs."""
    at, n = 0, table.n_rows
    for i, column in enumerate(columns):
        if k := len(column.number_names):
            places = np.broadcast_to(np.arange(at, at + k), (n, k))
            yield _numbers(columns, table, i, instead), places
            at += k
    for i, column in enumerate(columns):
        k = len(column.other_names)
        if is_one_hot(column):
            codes = column.codes(table.text[i])[:, None]
            yield (codes >= 0).astype(np.float64), at + codes
        elif k:
            places = np.broadcast_to(np.arange(at, at + k), (n, k))
            yield column.others(_cells(table, i)).astype(np.float64), places
        at += k
