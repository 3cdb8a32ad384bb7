"""What looks wrong with the columns of a table, in words, before a model is trained on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from .._checks.words import counted, listed
from .._types import Array
from ._columns import names_rows
from ._problems import shortened
from ._table import Table

_NEARLY_ALL = 0.95  # the share of missing cells that leaves little to learn from
_SENTINELS = (-1.0, -9.0, -99.0, -999.0, -9999.0, -99999.0, 99.0, 999.0, 9999.0, 99999.0)
_FEW = 10  # distinct whole numbers that may be codes of categories
_MANY = 20  # rows for each of them
_ROWS_OF_INDEX = 10
_ROWS_OF_CLASS = 5
_SAME = 1 - 1e-9  # the correlation of numbers that say the same


def column_findings(table: Table, i: int, spec: str) -> Iterator[str]:
    """Say what looks wrong with one column; `spec` is how --drop names it, or ""."""
    drop = f" (--drop {spec})" if spec else ""
    missing = missing_in(table, i)
    n, n_missing = len(missing), int(missing.sum())
    if n_missing == n:
        yield f"has no value{drop}"
        return
    if n_missing >= _NEARLY_ALL * n:
        yield f"{n_missing:,} of {n:,} cells are missing{drop}"
    if i in table.text:
        yield from _of_texts([text for text in table.text[i].tolist() if text is not None], drop)
    elif i in table.dates:
        if len(np.unique(table.dates[i][~missing])) == 1:
            yield f"is constant{drop}"
    else:
        yield from _of_numbers(table.values[~missing, i], n_missing, spec, drop)


def missing_in(table: Table, i: int) -> Array:
    """Mark the rows where a column has a hole."""
    if i in table.text:
        return np.array([text is None for text in table.text[i].tolist()], bool)
    return np.isnat(table.dates[i]) if i in table.dates else np.isnan(table.values[:, i])


def _of_texts(texts: Sequence[str], drop: str) -> Iterator[str]:
    distinct = Counter(texts)
    if len(distinct) == 1:
        yield f"is constant: {shortened(texts[0])}{drop}"
    if names_rows(len(distinct), len(texts)):
        n = f"{len(distinct):,} distinct texts in {len(texts):,} rows"
        yield f"probably names the rows: {n}{drop}"
        return
    alike: dict[str, list[str]] = {}
    for text in distinct:
        alike.setdefault(" ".join(text.lower().split()), []).append(text)
    for each in [each for each in alike.values() if len(each) > 1][:3]:
        shown = listed(map(shortened, sorted(each)), 4)
        yield f"has levels that differ only in case or blanks: {shown}"


def _of_numbers(values: Array, n_missing: int, spec: str, drop: str) -> Iterator[str]:
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) == 1:
        yield f"is constant: {number_text(values[0])}{drop}"
        return
    whole = bool((values == np.round(values)).all())
    if whole and len(distinct) == len(values) >= _ROWS_OF_INDEX:
        steps = np.diff(values)
        if n_missing == 0 and (steps == steps[0]).all() and abs(steps[0]) == 1:
            ends = f"{number_text(values[0])} to {number_text(values[-1])}"
            yield f"counts the rows, {ends}: probably an index{drop}"
        elif names_rows(len(distinct), len(values)):
            yield f"distinct whole numbers in all rows: maybe an identifier{drop}"
    categorical = f" (--categorical {spec})" if spec else ""
    if whole and 3 <= len(distinct) <= _FEW and len(values) >= _MANY * len(distinct):
        yield f"only {len(distinct)} whole numbers: categories, if they have no order{categorical}"
    if _are_days(distinct, whole):
        yield "digits that may be dates, such as " + f"{distinct[0]:.0f} (--date-format %Y%m%d)"
    for value, n in zip(distinct[[0, -1]].tolist(), counts[[0, -1]].tolist(), strict=True):
        rest = values[values != value]
        far = max(float(np.ptp(rest)), abs(value) / 2)
        if value in _SENTINELS and n > 1 and min(abs(rest - value)) >= far:
            yield f"{value:g} stands in {n:,} cells, far from the rest: missing? (--na {value:g})"


def _are_days(distinct: Array, whole: bool) -> bool:
    """Whether all numbers are dates such as 20260531."""
    if not whole or distinct[0] < 19000101 or distinct[-1] > 21001231:
        return False
    days = distinct.astype(np.int64)
    month, day = days // 100 % 100, days % 100
    return bool(((month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)).all())


def number_text(value: float | str | None) -> str:
    """A number with as many digits as a reader needs.

    >>> number_text(20260531.0), number_text(0.123456789)
    ('20260531', '0.12346')
    """
    number = float(value or 0)
    return f"{number:.0f}" if number.is_integer() and abs(number) < 1e15 else f"{number:.5g}"


# ---- two columns --------------------------------------------------------------------------


def codes_of(table: Table, i: int) -> Array:
    """Numbers (n,) that are equal where the cells of a column are; -1 in holes."""
    cells = table.text.get(i, table.dates.get(i, table.values[:, i]))
    missing = missing_in(table, i)
    codes = np.full(len(missing), -1)
    if i in table.text:
        known: dict[str, int] = {}
        codes[~missing] = [known.setdefault(t, len(known)) for t in cells[~missing].tolist()]
    else:
        codes[~missing] = np.unique(cells[~missing], return_inverse=True)[1].reshape(-1)
    return codes


def twins(codes: Mapping[int, Array]) -> dict[int, int]:
    """{column: an earlier one whose cells are equal in the same rows}.

    Constants are left out, and columns without two equal cells, of which all are alike.
    """
    first: dict[bytes, int] = {}
    found = {}
    for i, each in codes.items():
        if not 1 <= each.max(initial=-1) < len(each) - 1:
            continue
        order = np.unique(each, return_index=True)[1]
        rank = np.empty(len(order), np.int64)
        rank[np.argsort(order)] = np.arange(len(order))
        same = rank[np.unique(each, return_inverse=True)[1].reshape(-1)].tobytes()
        if same in first:
            found[i] = first[same]
        first.setdefault(same, i)
    return found


def leak(table: Table, codes: Mapping[int, Array], i: int, target: int) -> str:
    """Say whether a column gives the target away; "" if it does not."""
    if _is_linear(table, i, target):
        return "is a linear function of the target"
    mine, other = codes[i], codes[target]
    n, n_other = mine.max(initial=-1) + 1, other.max(initial=-1) + 1
    if n < 2 or not 2 <= n_other <= n <= max(2 * n_other, _FEW) or 2 * n > len(mine):
        return ""
    pairs = len(np.unique(mine.astype(np.int64) * (len(other) + 2) + other))
    if pairs > len(np.unique(mine)):
        return ""
    return "decides the target: each of its values stands with one target only"


def _is_linear(table: Table, i: int, target: int) -> bool:
    columns = table.values[:, [i, target]]
    both = columns[np.isfinite(columns).all(axis=1)]
    if len(both) < _ROWS_OF_INDEX or not both.std(axis=0).all():
        return False
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(abs(np.corrcoef(both.T)[0, 1]) > _SAME)


def target_findings(table: Table, i: int) -> Iterator[str]:
    """Say what looks wrong with the target."""
    missing = missing_in(table, i)
    if missing.any():
        yield f"the target is missing in {counted(int(missing.sum()), 'row')}: leave them out"
    if i not in table.text:
        return
    counts = Counter(text for text in table.text[i].tolist() if text is not None)
    if len(counts) > 2 and 10 * len(counts) >= sum(counts.values()):
        yield f"{len(counts):,} classes in {len(missing):,} rows: too many, or no classes"
        return
    rare = sorted(name for name, n in counts.items() if n < _ROWS_OF_CLASS)
    if rare:
        yield f"classes with fewer than {_ROWS_OF_CLASS} rows: {listed(map(shortened, rare), 4)}"


def n_equal_rows(codes: Mapping[int, Array], most: int = 50_000_000) -> int:
    """How many rows equal an earlier one; 0 for a table of more than `most` cells."""
    columns = list(codes.values())
    if not columns or len(columns) * len(columns[0]) > most:
        return 0
    rows = np.ascontiguousarray(np.stack(columns, axis=1).astype(np.int32))
    whole = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1])))
    return len(rows) - len(np.unique(whole))
