"""Metrics: scores of predictions, which `fit` accepts by name or as functions.

Each metric declares whether higher values are better, in its attribute `greater_is_better`. Declare
it for your own metrics with `higher_is_better` or `lower_is_better`. The metrics of this package
return NaN if the outputs or the targets hold a NaN, and refuse masked arrays.
"""

from .._public import present
from ._declarations import higher_is_better, lower_is_better
from ._metrics import (
    NAMES,
    accuracy,
    balanced_accuracy,
    binary_accuracy,
    f1,
    mae,
    mse,
    pair_accuracy,
    precision,
    r2,
    recall,
    rmse,
    sign_accuracy,
    top_k_accuracy,
)

__all__ = [
    "NAMES",
    "accuracy",
    "balanced_accuracy",
    "binary_accuracy",
    "f1",
    "higher_is_better",
    "lower_is_better",
    "mae",
    "mse",
    "pair_accuracy",
    "precision",
    "r2",
    "recall",
    "rmse",
    "sign_accuracy",
    "top_k_accuracy",
]
present(__name__, __all__)
