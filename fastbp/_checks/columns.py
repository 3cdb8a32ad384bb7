"""The names of the columns of data frames, and whether two frames have the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .words import counted, listed

_SHOWN = 5  # names in a message

Names = tuple[str, ...]


def column_names(X: object) -> Names | None:
    """The names of the columns of a data frame of pandas, polars or Arrow, or None.

    Anything else has no names, and neither has a frame whose names are not all strings, such as the
    numbers that pandas gives to columns without names.

    >>> column_names([[1.0, 2.0]])
    """
    if isinstance(X, (np.ndarray, list, tuple)):
        return None
    for attribute in ("columns", "column_names"):  # Arrow has the names in the second
        found = getattr(X, attribute, None)
        if isinstance(found, (str, bytes)) or not isinstance(found, Iterable):
            continue
        names = tuple(found)
        if names and all(isinstance(name, str) for name in names):
            return tuple(map(str, names))
    return None


def is_row(X: object) -> bool:
    """Whether X is one row, as `frame.iloc[0]` of pandas is: it has keys, all of them strings.

    >>> is_row([1.0, 2.0])
    False
    """
    keys = getattr(X, "keys", None)
    if not callable(keys) or getattr(X, "ndim", None) != 1:
        return False
    names = list(keys())
    return bool(names) and all(isinstance(name, str) for name in names)


def sample_names(x: Any) -> Names | None:
    """`column_names`, or the names of the values of one row of a frame."""
    return tuple(map(str, x.keys())) if is_row(x) else column_names(x)


def check_column_names(
    X: object, names: Names | None, name: str, *, one_sample: bool = False
) -> None:
    """ValueError if X is a frame with other names than these, or with these in another order.

    X without names passes, and so does every X if `names` is None. `name` is what messages call X.
    With `one_sample`, X may also be one row of a frame.
    """
    found = None
    if names is not None:
        found = sample_names(X) if one_sample else column_names(X)
    if names is None or found is None or found == names:
        return
    remedy = (
        "set net.feature_names = None if that is meant, or pass an array, whose columns have no "
        "names"
    )
    unexpected = [each for each in found if each not in names]
    missing = [each for each in names if each not in found]
    if not unexpected and not missing and len(found) == len(names):
        i = next(i for i, pair in enumerate(zip(found, names, strict=True)) if pair[0] != pair[1])
        raise ValueError(
            f"the columns of {name} are in another order than those the network was trained on: "
            f"column {i} is {found[i]!r}, and was {names[i]!r}; frame[list(net.feature_names)] "
            f"puts them in order; {remedy}"
        )
    facts = [
        f"{kind} {listed(map(repr, each), _SHOWN)}"
        for kind, each in (("unexpected", unexpected), ("missing", missing))
        if each
    ] or [f"{len(found)} columns, some of them twice"]
    raise ValueError(
        f"{name} has other columns than the network was trained on: {'; '.join(facts)}; "
        f"frame[list(net.feature_names)] selects those of the training; {remedy}"
    )


def check_feature_names(value: object, n_in: int) -> Names | None:
    """None, or n_in names of columns as a tuple. Raises TypeError or ValueError for others."""
    if value is None:
        return None
    why = f"the network takes {n_in} inputs (widths[0])"
    return check_names(value, n_in, "feature_names", why)


def check_names(value: object, n: int, argument: str, why: str) -> Names:
    """n strings as a tuple. Raises TypeError or ValueError for others; `why` says why n.

    >>> check_names(["size", "age"], 2, "input_names", "the network takes 2 inputs")
    ('size', 'age')
    """
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise TypeError(f"{argument} must be a sequence of strings or None; got {value!r}")
    names = tuple(value)
    for each in names:
        if not isinstance(each, str):
            raise TypeError(f"{argument} must hold strings; got {each!r} ({type(each).__name__})")
    if len(names) != n:
        raise ValueError(f"{argument} has {counted(len(names), 'name')}; {why}")
    return tuple(map(str, names))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more
