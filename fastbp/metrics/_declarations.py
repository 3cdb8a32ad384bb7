"""Metrics as functions: their direction, their treatment of NaN, and how a fit calls them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial, wraps
from typing import ParamSpec, Protocol, TypeAlias, TypeVar, cast

import numpy as np

from .._checks.numbers import refuse_masked
from .._types import Array

_Arguments = ParamSpec("_Arguments")
AnyMetric: TypeAlias = Callable[..., float]
_Metric = TypeVar("_Metric", bound=AnyMetric)


class _Declared(Protocol):
    """An object that can hold a declaration."""

    greater_is_better: bool | None


# ---- direction ----------------------------------------------------------------------------


def higher_is_better(metric: _Metric) -> _Metric:
    """Declare that higher values of a metric are better, and return the metric.

    This sets the attribute `greater_is_better`, which `EarlyStopping`, `ModelCheckpoint` and
    schedules read when they monitor the metric.

    >>> @higher_is_better
    ... def gain(a, y, sample_weight):
    ...     return float((a * y).sum())
    >>> gain.greater_is_better
    True
    """
    return declare(metric, True)


def lower_is_better(metric: _Metric) -> _Metric:
    """Declare that lower values of a metric are better; see `higher_is_better`."""
    return declare(metric, False)


def declare(metric: _Metric, greater: bool | None) -> _Metric:
    """Set `greater_is_better` of a metric, and return the metric."""
    cast(_Declared, metric).greater_is_better = greater
    return metric


def direction(metric: AnyMetric) -> bool | None:
    """Whether a metric declares that higher values are better; None if it declares nothing.

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
    """A metric that refuses masked arrays and returns NaN if outputs or targets hold a NaN."""
    names = tuple(inspect.signature(function).parameters)

    @wraps(function)
    def measure(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> float:
        arguments = dict(zip(names, args, strict=False)) | kwargs
        for name, value in arguments.items():
            refuse_masked(value, name)
        if _has_nan(arguments.get("a")) or _has_nan(arguments.get("y")):
            return float("nan")
        return function(*args, **kwargs)

    return measure


def _has_nan(array: object) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind == "f" and bool(np.isnan(array).any())


def names_y_true(name: str, metric: AnyMetric) -> bool:
    """Whether the signature of a function is that of the functions in `sklearn.metrics`.

    Raises TypeError if the function cannot be called with outputs, targets and weights either.
    """
    try:
        signature = inspect.signature(metric)
    except (TypeError, ValueError):  # a compiled function may have no signature
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
    """A metric from a function (y_true, y_pred, sample_weight=…), as in `sklearn.metrics`.

    `predicted` computes y_pred from the outputs. The metric is NaN if the outputs hold a NaN.
    """

    def __init__(self, function: AnyMetric, predicted: Callable[[Array], Array]) -> None:
        parameters = inspect.signature(function).parameters
        self._function, self._predicted = function, predicted
        self._other = next((each for each in parameters if each != "y_true"), "y_pred")
        self.takes_weights = "sample_weight" in parameters
        self.greater_is_better = direction(function)

    def __call__(self, a: Array, y: Array, sample_weight: Array | None) -> float:
        if _has_nan(a):
            return float("nan")
        arguments: dict[str, Array | None] = {"y_true": y, self._other: self._predicted(a)}
        if self.takes_weights:
            arguments["sample_weight"] = sample_weight
        return self._function(**arguments)


class ByTarget:
    """A metric of targets that may be NaN: the mean of its values for each target.

    Each is computed over the rows in which the target is known; a target without any is left out.
    `outputs_of` names the outputs of a target: from its number, and the number of targets.
    """

    def __init__(self, metric: AnyMetric, outputs_of: Callable[[int, int], Array]) -> None:
        self._metric, self._outputs_of = metric, outputs_of
        self.takes_weights = getattr(metric, "takes_weights", True)
        self.greater_is_better = direction(metric)

    def __call__(self, a: Array, y: Array, sample_weight: Array | None) -> float:
        known = ~np.isnan(y)
        if known.all():
            return self._metric(a, y, sample_weight)
        found = []
        for j in range(y.shape[1]):
            rows = np.flatnonzero(known[:, j])
            s = None if sample_weight is None else sample_weight[rows]
            if len(rows) and (s is None or s.any()):
                outputs = a[rows][:, self._outputs_of(j, y.shape[1])]
                found.append(self._metric(outputs, y[rows, j : j + 1], s))
        return float(np.mean(found)) if found else float("nan")


def check_weighted(metrics: Mapping[str, AnyMetric], weighted: bool) -> None:
    """Raise ValueError for a metric without sample_weight if the samples have weights."""
    for name, metric in metrics.items():
        if weighted and not getattr(metric, "takes_weights", True):
            raise ValueError(
                f"metric {name!r} takes no sample_weight, and the samples have weights: give a "
                "function (outputs, targets, weights) that uses or ignores them"
            )
