"""Arrays that estimators are given: what scikit-learn's own checks pass over or would change."""

from __future__ import annotations

from inspect import signature

import numpy as np
from sklearn.utils.validation import _check_sample_weight

from .._checks.arguments import check_finite
from .._checks.numbers import narrowed, refuse_masked
from .._types import Array

# From scikit-learn 1.9 on its check refuses weights that are all 0, unless it is told not to.
_MAY_BE_ZERO = {
    name: True
    for name in signature(_check_sample_weight).parameters
    if name == "allow_all_zero_weights"
}


def refuse_masked_elements(**given: object) -> None:
    """ValueError for a masked element, which scikit-learn's checks take for its fill value."""
    for name, value in given.items():
        refuse_masked(getattr(value, "data", value) if hasattr(value, "tocsr") else value, name)


def checked_weights(sample_weight: object, X: Array) -> Array | None:
    """Weights (n,), none negative, perhaps all 0."""
    if sample_weight is None:
        return None
    refuse_masked_elements(sample_weight=sample_weight)
    weights = _check_sample_weight(sample_weight, X, **_MAY_BE_ZERO)
    if weights.min() < 0:
        raise ValueError(f"sample_weight must not be negative; got {weights.min()}")
    return weights


def refuse_no_weight(weights: Array) -> None:
    """ValueError, in scikit-learn's words, where all weights are 0."""
    if not weights.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")


def of_numpy_dtype(y: object) -> object:
    """A pandas Series or column of nullable integers or booleans in NumPy's dtype for them.

    scikit-learn's checks make float64 of it, so that the label 1 would be 1.0. What lacks values is
    left as it is, for those checks to refuse.
    """
    dtypes = [*y.dtypes] if hasattr(y, "columns") else [getattr(y, "dtype", None)]
    found = [getattr(dtype, "numpy_dtype", None) for dtype in dtypes]
    if not all(isinstance(dtype, np.dtype) and dtype.kind in "biu" for dtype in found):
        return y
    return y if np.any(y.isna()) else y.to_numpy(np.result_type(*found))


def in_dtype(X: Array, dtype: np.dtype) -> Array:
    """X, dense or sparse, in the network's dtype; ValueError for a number beyond it."""
    if X.dtype == dtype:
        return X
    if not hasattr(X, "tocsr"):
        return narrowed(X, dtype, "X")
    converted = X.copy()
    converted.data = narrowed(X.data, dtype, "X")
    return converted


def is_finite(X: Array) -> bool:
    """Whether no element is NaN or infinity."""
    try:
        check_finite(X, "X")
    except ValueError:
        return False
    return True
