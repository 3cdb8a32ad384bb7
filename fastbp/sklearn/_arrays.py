"""Checks of the arrays passed to estimators, where scikit-learn's checks do not suffice."""

from __future__ import annotations

from inspect import signature
from typing import Any, Protocol, Self

import numpy as np
from sklearn.utils.validation import _check_sample_weight

from .._checks.arguments import check_finite
from .._checks.numbers import narrowed, refuse_masked
from .._types import Array


class SparseMatrix(Protocol):
    """The part of SciPy's sparse arrays and matrices that is used here."""

    data: Array
    dtype: np.dtype[Any]
    shape: tuple[int, int]

    def __getitem__(self, rows: Array) -> Self: ...

    def copy(self) -> Self: ...

    def tocsr(self) -> SparseMatrix: ...

    def toarray(self) -> Array: ...


# Since scikit-learn 1.9 its check refuses weights that are all 0 unless this option is set.
_MAY_BE_ZERO = {
    name: True
    for name in signature(_check_sample_weight).parameters
    if name == "allow_all_zero_weights"
}


def refuse_masked_elements(**arguments: object) -> None:
    """Raise ValueError for a masked element; scikit-learn's checks would use its fill value."""
    for name, value in arguments.items():
        refuse_masked(getattr(value, "data", value) if hasattr(value, "tocsr") else value, name)


def checked_weights(
    sample_weight: object, X: Array | SparseMatrix, name: str = "sample_weight"
) -> Array | None:
    """The sample weights (n,), none of them negative; all of them may be 0."""
    if sample_weight is None:
        return None
    refuse_masked_elements(**{name: sample_weight})
    weights: Array = _check_sample_weight(sample_weight, X, **_MAY_BE_ZERO)
    if weights.min() < 0:
        raise ValueError(f"{name} must not be negative; got {weights.min()}")
    return weights


def refuse_zero_weights(weights: Array) -> None:
    """Raise ValueError, with scikit-learn's message, if all weights are 0."""
    if not weights.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")


def with_numpy_dtype(y: Any) -> Any:
    """A pandas Series or column of nullable integers or booleans with NumPy's dtype.

    scikit-learn's checks would convert it to float64, and the label 1 would become 1.0. Data with
    missing values are returned as they are, because those checks refuse them.
    """
    dtypes = [*y.dtypes] if hasattr(y, "columns") else [getattr(y, "dtype", None)]
    found = [getattr(dtype, "numpy_dtype", None) for dtype in dtypes]
    if not all(isinstance(dtype, np.dtype) and dtype.kind in "biu" for dtype in found):
        return y
    return y if np.any(y.isna()) else y.to_numpy(np.result_type(*found))


def in_dtype(X: Array | SparseMatrix, dtype: np.dtype[Any], wider: str) -> Array | SparseMatrix:
    """X in the network's dtype; ValueError for a number outside its range.

    `wider` tells how to get a float64 network.
    """
    if X.dtype == dtype:
        return X
    if isinstance(X, np.ndarray):
        return narrowed(X, dtype, "X", wider)
    converted = X.copy()
    converted.data = narrowed(X.data, dtype, "X", wider)
    return converted


def is_finite(X: Array) -> bool:
    """Whether no element is NaN or infinite."""
    try:
        check_finite(X, "X")
    except ValueError:
        return False
    return True
