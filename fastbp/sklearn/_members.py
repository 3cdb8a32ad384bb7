"""What an estimator tells of the members of an ensemble, and what only a single network has."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._types import Array


class _OfOneNetwork:
    """An attribute that a fit with one network sets; the errors say where an ensemble has it."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, est: Any, owner: type) -> Any:
        if est is None:
            return self
        refuse_ensemble(est, self._name)
        kind = type(est).__name__
        raise AttributeError(
            f"this {kind} has no {self._name} yet: call fit first", name=self._name, obj=est
        )


def of_one_network() -> Any:
    """The declaration of such an attribute."""
    return _OfOneNetwork()


def refuse_ensemble(est: Any, name: str) -> None:
    """Raise AttributeError for an attribute that only the members of a fitted ensemble have."""
    members = vars(est).get("estimators_")
    if members is not None:
        raise AttributeError(
            f"this {type(est).__name__} is an ensemble, which has no {name}; each of its "
            f"{len(members)} members has: estimators_[0].{name}",
            name=name,
            obj=est,
        )


def mean_of(outputs: Array) -> Array:
    """The mean over the members, of (members, …), in their dtype."""
    mean: Array = outputs.mean(axis=0, dtype=np.float64).astype(outputs.dtype)
    return mean
