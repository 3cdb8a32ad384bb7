"""Weights of classes, multiplied into the weights of samples before a fit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .._checks import arguments as check
from .._checks.numbers import as_array
from .._types import Array
from ..losses import Loss


def weigh(
    class_weight: object,
    y: Array,
    sample_weight: Array | None,
    loss: Loss,
    n_out: int,
    dtype: np.dtype,
) -> Array | None:
    """sample_weight (n,) times the weight of each row's class; None stays None without weights.

    class_weight: {class: weight}, where classes left out count 1, an array of one weight a class,
    or "balanced": n / (classes there are · rows of the class), as scikit-learn has it. y: as
    `_validation.as_targets` returns it. Raises TypeError or ValueError for what does not fit.

    >>> weigh("balanced", np.array([0, 0, 0, 1], np.int32), None, Loss("cross_entropy"), 2,
    ...       np.dtype("float64")).round(3).tolist()
    [0.667, 0.667, 0.667, 2.0]
    """
    if class_weight is None:
        return sample_weight
    classes, n_classes = _classes(y, loss, n_out)
    factors = _factors(class_weight, classes, n_classes)[classes]
    if sample_weight is not None:
        factors = factors * sample_weight
    return check.as_weights(factors, len(y), dtype)


def _classes(y: Array, loss: Loss, n_out: int) -> tuple[Array, int]:
    """The class of every row, and how many classes there may be."""
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


def _factors(class_weight: object, classes: Array, n_classes: int) -> Array:
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise check.unknown_name("class_weight", class_weight, ("balanced",))
        counts = np.bincount(classes, minlength=n_classes)
        return len(classes) / (np.count_nonzero(counts) * np.maximum(counts, 1))
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
