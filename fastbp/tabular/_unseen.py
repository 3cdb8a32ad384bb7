"""A warning about new rows whose texts are not those of the training rows."""

from __future__ import annotations

from collections.abc import Sequence

from .._checks.caller import warn_caller
from .._types import Array
from ._by_name import columns_of
from ._cells import cells_of, kind_of
from ._encoded import Column, TextColumn
from ._table import Table
from ._words import is_plain

_MIN_TEXTS = 20  # cells of a column that are all unseen
_SAMPLED = 256  # cells of a column that are looked at first
_SHOWN = 5  # columns that the warning names


def warn_of_unseen(columns: Sequence[Column], table: Table, X: object) -> None:
    """Issue one UserWarning if texts of new rows X say nothing since training has not seen them.

    It names columns that training had as text and X has as numbers, of which at least half are
    unseen, and columns of at least 20 texts, which all are. `table` has the `columns` of X.
    """
    found = []
    for i, column in enumerate(columns):
        if isinstance(column, TextColumn) and _may_be_unseen(column, table.text[i]):
            texts = [text for text in table.text[i].tolist() if text]
            if is_plain(texts[0]) and _are_numbers(X, column.name):
                found += _unseen_numbers(column, texts)
            else:
                found += _unseen_texts(column, texts)
    if found:
        more = f"; and {len(found) - _SHOWN:,} more columns" if len(found) > _SHOWN else ""
        warn_caller("; ".join(found[:_SHOWN]) + more)


def _may_be_unseen(column: TextColumn, cells: Array) -> bool:
    """Whether some cells, evenly spaced, have an unseen text, as where half of all have one."""
    some = cells[:: max(1, len(cells) // _SAMPLED) | 1]
    if not any(some):  # holes
        some = cells
    return any(text not in column.index for text in some if text)


def _are_numbers(X: object, name: str) -> bool:
    """Whether the cells of a column are numbers in X itself."""
    return kind_of(cells_of(columns_of(X, [name])[name], name, "X")) == "number"


def _unseen_numbers(column: TextColumn, texts: list[str]) -> list[str]:
    unseen = [text for text in texts if text not in column.index]
    if 2 * len(unseen) < len(texts):
        return []
    message = (
        f"column {column.name!r} was text in training and is numbers now, and "
        f"{len(unseen):,} of {len(texts):,} are levels that training has not seen, such as "
        f"{unseen[0]!r}; a known level is {_known(column, unseen[0])!r}: read it as text, with "
        f"dtype={{{column.name!r}: str}} in pandas.read_csv, or with fastbp.tabular.read_features"
    )
    return [message]


def _unseen_texts(column: TextColumn, texts: list[str]) -> list[str]:
    if len(texts) < _MIN_TEXTS or any(text in column.index for text in texts):
        return []
    message = (
        f"column {column.name!r}: training has seen none of its {len(texts):,} texts, such as "
        f"{texts[0]!r}; a known level is {_known(column, texts[0])!r}: write them as in training"
    )
    return [message]


def _known(column: TextColumn, unseen: str) -> str:
    """A level of the training rows; if there is one, that which differs by leading zeros."""
    levels = (*column.levels, *column.rare)
    return next((level for level in levels if level.lstrip("0") == unseen), levels[0])
