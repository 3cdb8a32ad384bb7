"""Checks of a state that comes from a file or another object. They run before anything changes.

A state is what `state_dict` of an optimiser, a schedule or a callback returns. The check of a field
is a function (value, name) → value that raises TypeError or ValueError.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Real
from operator import attrgetter
from typing import Any

import numpy as np

from .._types import Array
from .arguments import check_count

Check = Callable[[object, str], Any]


def counted(doc: str) -> property:
    """The property `t`, a count that is stored as `_t` and checked when it is set."""

    def set_t(owner: Any, value: object) -> None:
        owner._t = check_count(value, "t")

    return property(attrgetter("_t"), set_t, doc=doc)


def from_first_version(state: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a pickled owner of such a count; version 0.1 stored it as "t"."""
    return {"_t" if name == "t" else name: value for name, value in state.items()}


def checked_state(state: object, fields: Mapping[str, Check], owner: str) -> dict[str, Any]:
    """The values of a state, each as its check returns it.

    Raises TypeError if the state is not a dict or a value has a wrong type, and ValueError for
    missing or unknown fields and for values out of range.

    >>> checked_state({"best": 3}, {"best": any_number}, "EarlyStopping")
    {'best': 3.0}
    """
    state = check_mapping(state, owner)
    if state.keys() != fields.keys():
        raise ValueError(
            f"the state of {owner} has {', '.join(fields)}; got {', '.join(map(str, state))}"
        )
    return {name: test(state[name], f"{name} of {owner}") for name, test in fields.items()}


def check_mapping(state: object, owner: str) -> Mapping[str, Any]:
    """The state itself; TypeError if it is not a dict."""
    if not isinstance(state, Mapping):
        raise TypeError(
            f"the state of {owner} must be a dict, as state_dict() gives it; "
            f"got {type(state).__name__}"
        )
    return state


def optional(test: Check) -> Check:
    """The same check, which also accepts None."""
    return lambda value, name: None if value is None else test(value, name)


def any_number(value: object, name: str) -> float:
    """A number; NaN and infinity are accepted, but no integer beyond the range of a float."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number; got {type(value).__name__}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} must be a float; got a number beyond its range") from None


def text(value: object, name: str) -> str:
    """A string."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string; got {type(value).__name__}")
    return value


def vector(value: object, name: str) -> Array:
    """A vector of float32 or float64."""
    if not isinstance(value, np.ndarray) or value.ndim != 1 or value.dtype.char not in "fd":
        got = type(value).__name__
        if isinstance(value, np.ndarray):
            got = f"{value.dtype} of shape {value.shape}"
        raise TypeError(f"{name} must be a vector of float32 or float64; got {got}")
    return value
