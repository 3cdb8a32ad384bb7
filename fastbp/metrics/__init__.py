"""Scores of predictions, by name for `fit`, and which of them belongs to a loss.

Each says where it is defined whether more of it is better, as `greater_is_better`; so may yours,
with `higher_is_better` or `lower_is_better`. Those of the package return NaN where the outputs or
the targets hold one, and refuse masked arrays.
"""

from .._public import present
from ._metrics import (
    NAMES,
    accuracy,
    balanced_accuracy,
    binary_accuracy,
    f1,
    higher_is_better,
    lower_is_better,
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
