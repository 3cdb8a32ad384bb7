"""Columns of an encoder as dicts for JSON, and strict checks of such dicts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from itertools import pairwise
from typing import Any

from ._calendar import CYCLES
from ._encoded import Column, DateColumn, NumberColumn, Scale, TextColumn
from ._normal import MAX_QUANTILES

_ENCODINGS = ("none", "two", "one-hot", "means", "codes")
_HOLES = ("", "level", "rare")
_MAX_LEVELS = 2**53
_SHOWN = 40  # characters of a value in a message


def column_to_dict(column: Column) -> dict[str, Any]:
    """A column as a dict, with its kind."""
    return {"kind": column.kind, **asdict(column)}


def column_from_dict(value: Any) -> Column:
    """The column of a dict from `column_to_dict`. Raises ValueError for any other value."""
    kinds = {"number": NumberColumn, "date": DateColumn, "text": TextColumn}
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"a column must be a dict whose kind is one of {', '.join(kinds)}")
    made = kinds[kind]
    given = _given(value, {"kind", *(field.name for field in fields(made))}, f"a {kind} column")
    del given["kind"]
    name = given["name"]
    if type(name) is not str:
        raise ValueError(f"the name of a column must be a string; got {name!r}")
    if made is TextColumn:
        return _text(given)
    given["scale"] = _scale(given["scale"], name)
    if type(given["indicator"]) is not bool:
        raise ValueError(f"column {name!r}: indicator must be True or False")
    if made is DateColumn:
        given["cycles"] = cycles = _texts(given["cycles"], f"column {name!r}: cycles")
        if cycles != tuple(each for each in CYCLES if each in cycles):
            raise ValueError(f"column {name!r}: cycles must be among {', '.join(CYCLES)}")
        return DateColumn(**given)
    return NumberColumn(**given)


def _given(value: Any, names: set[str], what: str) -> dict[str, Any]:
    if not isinstance(value, Mapping) or set(value) != names:
        raise ValueError(f"{what} must be a dict with {', '.join(sorted(names))}")
    return dict(value)


def _scale(value: Any, name: str) -> Scale:
    what = f"column {name!r}: its scale"
    given = _given(value, {field.name for field in fields(Scale)}, what)
    for key in ("median", "centre", "scale"):
        given[key] = _number(given[key], f"column {name!r}: {key}")
    if given["scale"] < 0 or type(given["clipped"]) is not bool:
        raise ValueError(f"{what} must not be negative, and clipped True or False")
    quantiles = _numbers(given["quantiles"], f"column {name!r}: quantiles")
    if len(quantiles) == 1 or len(quantiles) > MAX_QUANTILES:
        raise ValueError(f"column {name!r}: quantiles must be 2 to {MAX_QUANTILES}, or none")
    if any(high < low for low, high in pairwise(quantiles)):
        raise ValueError(f"column {name!r}: quantiles must ascend")
    edges = _numbers(given["edges"], f"column {name!r}: edges")
    if edges and (len(edges) < 3 or not given["scale"] or any(a >= b for a, b in pairwise(edges))):
        raise ValueError(f"column {name!r}: edges must be 3 or more, ascend, and be for numbers")
    if quantiles and (given["clipped"] or not given["scale"] or quantiles[0] == quantiles[-1]):
        raise ValueError(f"column {name!r}: quantiles are for numbers that vary, not clipped")
    return Scale(**{**given, "quantiles": quantiles, "edges": edges})


def _text(given: dict[str, Any]) -> TextColumn:
    name, encoding = given["name"], given["encoding"]
    what = f"column {name!r}"
    if encoding not in _ENCODINGS or given["hole"] not in _HOLES:
        raise ValueError(
            f"{what}: encoding must be one of {', '.join(_ENCODINGS)}, hole '', level or rare"
        )
    n_levels = given["n_levels"]
    if type(n_levels) is not int or not 0 <= n_levels <= _MAX_LEVELS:
        raise ValueError(f"{what}: n_levels must be a whole number; got {n_levels!r}")
    for key in ("levels", "rare", "targets"):
        given[key] = _texts(given[key], f"{what}: {key}")
    texts = (*given["levels"], *given["rare"])
    if len(set(texts)) != len(texts) or "" in texts:
        raise ValueError(f"{what}: levels must be distinct, and not empty")
    given["means"] = tuple(
        _numbers(each, f"{what}: means") for each in list_of(given["means"], f"{what}: means")
    )
    column = TextColumn(**given)
    n = len(column.groups)
    fits = {"none": n == 0, "two": n == 2, "one-hot": n > 2, "means": n > 1, "codes": n > 2}
    if not fits[encoding]:
        raise ValueError(f"{what}: {n} groups do not fit the encoding {encoding!r}")
    k = len(column.targets)
    if encoding != "means":
        if column.means or k:
            raise ValueError(f"{what}: means are for the encoding 'means'")
    elif k == 0 or len(column.means) != n or any(len(each) != k for each in column.means):
        raise ValueError(f"{what}: means must be a list of {k} numbers for each of {n} groups")
    return column


def list_of(value: Any, what: str) -> tuple[Any, ...]:
    """The elements of a list of a file. Raises ValueError for any other value."""
    if isinstance(value, (list, tuple)):
        return tuple(value)
    raise ValueError(f"{what} must be a list")


def _texts(value: Any, what: str) -> tuple[str, ...]:
    found = list_of(value, what)
    if any(type(each) is not str for each in found):
        raise ValueError(f"{what} must hold strings")
    return found


def _numbers(value: Any, what: str) -> tuple[float, ...]:
    return tuple(_number(each, what) for each in list_of(value, what))


def _number(value: Any, what: str) -> float:
    if type(value) in (int, float) and abs(value) < math.inf:
        try:
            return float(value)
        except OverflowError:  # of an int
            pass
    raise ValueError(f"{what} must be finite numbers; got {str(value)[:_SHOWN]}")
