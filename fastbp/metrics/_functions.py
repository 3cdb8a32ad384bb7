"""Metrics as functions: which way is up, what they do with NaN, and how a fit calls the user's."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import ParamSpec, TypeVar

import numpy as np

from .._checks.numbers import refuse_masked

_Arguments = ParamSpec("_Arguments")
_Function = TypeVar("_Function", bound=Callable)


# ---- which way is up ----------------------------------------------------------------------


def higher_is_better(metric: _Function) -> _Function:
    """Declare that more of a metric is better; the function itself comes back.

    It gets the attribute `greater_is_better`, by which `EarlyStopping`, `ModelCheckpoint` and the
    schedules that monitor it know it.

    >>> @higher_is_better
    ... def gain(a, y, sample_weight):
    ...     return float((a * y).sum())
    >>> gain.greater_is_better
    True
    """
    return declare(metric, True)


def lower_is_better(metric: _Function) -> _Function:
    """Declare that less of a metric is better; see `higher_is_better`."""
    return declare(metric, False)


def declare(metric: _Function, greater: bool | None) -> _Function:
    """The function with that declaration."""
    metric.greater_is_better = greater
    return metric


def direction(metric: Callable) -> bool | None:
    """Whether more of a metric is better by its own declaration; None where it has none.

    >>> from fastbp import metrics
    >>> direction(metrics.accuracy), direction(partial(metrics.mae)), direction(np.max)
    (True, False, None)
    """
    while isinstance(metric, partial) and not hasattr(metric, "greater_is_better"):
        metric = metric.func
    declared = getattr(metric, "greater_is_better", None)
    if declared is not None and not isinstance(declared, (bool, np.bool_)):
        raise TypeError(f"greater_is_better must be True or False; got {declared!r}")
    return declared if declared is None else bool(declared)


def measured(function: Callable[_Arguments, float]) -> Callable[_Arguments, float]:
    """A metric that refuses masked arrays, and is NaN where outputs or targets hold a NaN."""
    names = tuple(inspect.signature(function).parameters)

    @wraps(function)
    def measure(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> float:
        given = dict(zip(names, args, strict=False)) | kwargs
        for name, value in given.items():
            refuse_masked(value, name)
        if _has_nan(given.get("a")) or _has_nan(given.get("y")):
            return float("nan")
        return function(*args, **kwargs)

    return measure


def _has_nan(array: object) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind == "f" and bool(np.isnan(array).any())


def names_y_true(name: str, metric: Callable) -> bool:
    """Whether a function is called as those of `sklearn.metrics`, by its signature.

    TypeError for one that cannot be called with outputs, targets and weights either.
    """
    try:
        signature = inspect.signature(metric)
    except (TypeError, ValueError):  # of a compiled function: nothing to be seen
        return False
    if "y_true" in signature.parameters:
        return True
    try:
        signature.bind(None, None, None)
    except TypeError:
        raise TypeError(
            f"metric {name!r} takes {signature}; expected (outputs, targets, weights), or "
            "(y_true, y_pred, sample_weight) by these names"
        ) from None
    return False


class TrueFirst:
    """A function (y_true, y_pred, sample_weight=…), such as `sklearn.metrics.r2_score`.

    Its other argument gets what the outputs say of the targets, by `predicted`. NaN where the
    outputs hold one.
    """

    def __init__(self, function: Callable, predicted: Callable[[np.ndarray], np.ndarray]) -> None:
        parameters = inspect.signature(function).parameters
        self._function, self._predicted = function, predicted
        self._other = next((each for each in parameters if each != "y_true"), "y_pred")
        self.takes_weights = "sample_weight" in parameters
        self.greater_is_better = direction(function)

    def __call__(self, a: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None) -> float:
        if _has_nan(a):
            return float("nan")
        given = {"y_true": y, self._other: self._predicted(a)}
        if self.takes_weights:
            given["sample_weight"] = sample_weight
        return self._function(**given)


def check_weighted(metrics: Mapping[str, Callable], weighted: bool) -> None:
    """ValueError for a metric that cannot be told the weights that samples have."""
    for name, metric in metrics.items():
        if weighted and not getattr(metric, "takes_weights", True):
            raise ValueError(
                f"metric {name!r} takes no sample_weight, and the samples have weights: give a "
                "function (outputs, targets, weights) that uses or ignores them"
            )
