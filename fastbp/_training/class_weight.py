"""Weights of classes, and the sum of weights S that J is divided by."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .._checks import arguments as check
from .._checks.names import unknown_name
from .._checks.numbers import as_array
from .._types import Array
from ..losses import Loss


def weigh(
    class_weight: object,
    y: Array | None,
    sample_weight: Array | None,
    loss: Loss,
    n_out: int,
    dtype: np.dtype[Any],
    sum_counts: Callable[[Array], Array] | None = None,
) -> Array | None:
    """The weight of each sample times the weight of its class.

    Parameters
    ----------
    class_weight : dict, array_like, "balanced" or None
        {class: weight}, in which a missing class has the weight 1; an array of one weight per
        class; or n / (number of classes · rows of the class), as in scikit-learn. With None the
        result is sample_weight.
    y : ndarray or None
        The targets, as `_checks.arguments.as_targets` returns them.
    sample_weight : ndarray (n,) or None
        Checked weights.
    loss, n_out, dtype
        Of the network.
    sum_counts : callable or None
        Adds the numbers of rows of each class to those of other processes, for "balanced".

    Raises TypeError or ValueError for a class_weight that does not fit.

    >>> weigh("balanced", np.array([0, 0, 0, 1], np.int32), None, Loss("cross_entropy"), 2,
    ...       np.dtype("float64")).round(3).tolist()
    [0.667, 0.667, 0.667, 2.0]
    """
    if class_weight is None:
        return sample_weight
    classes, n_classes = _classes(y, loss, n_out)
    factors = _factors(class_weight, classes, n_classes, sum_counts)[classes]
    if sample_weight is not None:
        factors = factors * sample_weight
    return check.as_weights(factors, len(classes), dtype)


def weight_sum(loss: Loss, y: Array | None, s: Array) -> np.float64:
    """S = Σ s_i, with the class weights of the loss where y holds class numbers (n,).

    A pair of rows counts once. With ignore_nan, a row counts with the share of its targets that are
    known.

    >>> float(weight_sum(Loss("cross_entropy", class_weight=[1, 3]), np.array([0, 1]), np.ones(2)))
    4.0
    """
    if loss.ignore_nan and y is not None:
        shares = np.count_nonzero(~np.isnan(y), axis=1) / y.shape[1]
        return np.float64(s.astype(np.float64) @ shares)
    weight = loss.options.get("class_weight")
    if not isinstance(weight, tuple) or y is None or y.ndim > 1:
        return np.float64(s[:: loss.group].sum(dtype=np.float64))
    each = np.broadcast_to(np.asarray(weight, s.dtype), max(len(weight), y.max() + 1))[y]
    return np.float64(s.astype(np.float64) @ each)


def _classes(y: Array | None, loss: Loss, n_out: int) -> tuple[Array, int]:
    """The class of every row, and how many classes there can be."""
    if y is None:
        raise ValueError(f"class_weight needs targets that name classes; {loss} has no targets")
    if y.ndim == 1:
        return y, n_out
    if loss.labels:
        return y.argmax(axis=1), n_out
    if n_out == 1:
        values = np.unique(y)
        if len(values) <= 2 and set(values.tolist()) <= {-1.0, 0.0, 1.0}:
            return (y[:, 0] > 0).astype(np.int64), 2
    raise ValueError(
        f"class_weight needs class indices, rows of class probabilities, or one column of 0 and 1; "
        f"the targets of {loss.name} are numbers: use sample_weight"
    )


def _factors(
    class_weight: object,
    classes: Array,
    n_classes: int,
    sum_counts: Callable[[Array], Array] | None,
) -> Array:
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise unknown_name("class_weight", class_weight, ("balanced",))
        counts = np.bincount(classes, minlength=n_classes)
        counts = counts if sum_counts is None else sum_counts(counts)
        n: int = counts.sum()
        return n / (np.count_nonzero(counts) * np.maximum(counts, 1))
    if isinstance(class_weight, Mapping):
        factors = np.ones(n_classes)
        for name, weight in class_weight.items():
            index = check.check_count(name, "a class of class_weight")
            if index >= n_classes:
                raise ValueError(
                    f"class_weight names class {index}; they run from 0 to {n_classes - 1}"
                )
            factors[index] = check.check_nonnegative(weight, f"class_weight[{index}]")
        return factors
    factors = as_array(class_weight, "class_weight").astype(np.float64)
    if factors.shape != (n_classes,):
        raise ValueError(
            f"class_weight has shape {factors.shape}; there are {n_classes} classes: "
            "one weight each"
        )
    for i, weight in enumerate(factors.tolist()):
        check.check_nonnegative(weight, f"class_weight[{i}]")
    return factors
