"""The values that dense targets may have, by the kind of targets that a loss takes."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .._types import Array, TargetRules
from .caller import warn_caller
from .words import counted

# Rounding to multiples of h adds h²/12 to a variance: 1/3000 of it for a spread of 16 h.
_LEAST_STEPS = 16


def check_target_values(y: Array, given: np.dtype, loss: TargetRules, name: str) -> None:
    """ValueError, with a remedy, for finite targets y (n, K) that the loss does not take.

    given: the dtype of the targets before conversion, which limits how exactly rows can sum to 1.
    name: what messages call y.
    """
    check = _CHECKS.get(loss.targets)
    if check is not None:
        check(y, given, loss.name, name)


def check_pairs(y: object, n_rows: int, name: str, rows_of: str) -> None:
    """ValueError if there are targets, or an odd number of rows."""
    if y is not None:
        raise ValueError(f"{name} has no targets, it compares rows 2i and 2i + 1: give y as None")
    if n_rows % 2:
        raise ValueError(
            f"{rows_of} has {counted(n_rows, 'row')}; {name} takes pairs of them: true, "
            "corrupted, true, …"
        )


def warn_of_lost_digits(y: object, loss: TargetRules, dtype: np.dtype) -> None:
    """Warn (UserWarning) if rounding to `dtype` loses most differences between numeric targets.

    This is so if a column has a standard deviation below _LEAST_STEPS steps of `dtype`.

    Parameters
    ----------
    y : array_like, shape (n,) or (n, n_targets)
        The targets as the user gave them.
    loss : TargetRules
        The loss. Only losses of numbers are checked.
    dtype : numpy.dtype
        The dtype that the targets are converted to.
    """
    array = np.asarray(y)
    if loss.targets != "numbers" or array.dtype.kind not in "iuf" or dtype.itemsize == 8:
        return
    columns = array.reshape(len(array), -1)
    if loss.ignore_nan:  # a target that is not known is like the first one of its column that is
        missing = np.isnan(columns)
        columns = np.where(
            missing, columns[missing.argmin(axis=0), np.arange(missing.shape[1])], columns
        )
        columns = columns[:, np.isfinite(columns).all(axis=0)]
    if columns.size == 0 or _clearly_apart(columns, dtype):
        return
    low, high = columns.min(axis=0).astype(np.float64), columns.max(axis=0).astype(np.float64)
    top = np.maximum(abs(low), abs(high))
    step = np.spacing(top.astype(dtype)).astype(np.float64)
    close = (low < high) & (high - low < step * _least_range(len(columns)))
    for j in np.flatnonzero(close):
        spread = float(columns[:, j].astype(np.float64).std())
        if spread < _LEAST_STEPS * step[j]:
            warn_caller(
                f"y has a standard deviation of {spread:.3g} at numbers of {top[j]:.3g} (column "
                f"{j}), where {dtype} numbers are {step[j]:.3g} apart: most of what distinguishes "
                "them is lost. Subtract the mean of y before, or take float64"
            )


def _least_range(n: int) -> float:
    """The least range, in steps, of n values with a standard deviation of _LEAST_STEPS steps.

    A standard deviation is at least the range divided by √(2n).
    """
    return _LEAST_STEPS * math.sqrt(2 * n)


def _clearly_apart(columns: Array, dtype: np.dtype) -> bool:
    """Whether a few rows already show that no column is close. They do for most targets."""
    n = len(columns)
    top = max(abs(float(columns.min())), abs(float(columns.max())))
    step = float(np.spacing(dtype.type(top)))
    few = columns[:: max(1, n // 64)].astype(np.float64)
    apart = np.maximum.reduce(few) - np.minimum.reduce(few)
    return bool(apart.min() >= step * _least_range(n))


def _check_fractions(y: Array, given: np.dtype, loss: str, name: str) -> None:
    if y.min() < 0 or y.max() > 1:
        raise ValueError(
            f"{name} must lie between 0 and 1 for {loss}; got values from {y.min()} to {y.max()}"
        )


def _check_counts(y: Array, given: np.dtype, loss: str, name: str) -> None:
    if y.min() < 0:
        raise ValueError(f"{name} must hold counts, none negative, for {loss}; got {y.min()}")


def _check_bits(y: Array, given: np.dtype, loss: str, name: str) -> None:
    odd = y[(y != 0) & (y != 1)]
    if odd.size:
        raise ValueError(f"{name} must hold 0 and 1 for {loss}; got {odd[0]}")


def _check_signs(y: Array, given: np.dtype, loss: str, name: str) -> None:
    odd = y[abs(y) != 1]
    if odd.size:
        raise ValueError(
            f"{name} must hold -1 and 1 for {loss}; got {odd[0]}: of 0 and 1 make 2 * {name} - 1"
        )


def _check_probabilities(y: Array, given: np.dtype, loss: str, name: str) -> None:
    """Rows >= 0 that sum to 1, up to the rounding of a row normalised in float32 or coarser.

    K additions with a relative error of eps/2 each and a division keep the sum within K * eps.
    """
    if y.min() < 0:
        raise ValueError(f"{name} must hold probabilities, none negative; got {y.min()}")
    eps = float(np.finfo(np.float32).eps)
    if given.kind == "f":
        eps = max(eps, float(np.finfo(given).eps))
    sums = y.sum(axis=1, dtype=np.float64)
    row = int(np.argmax(np.abs(sums - 1)))
    if abs(sums[row] - 1) > y.shape[1] * eps:
        raise ValueError(
            f"each row of {name} must sum to 1 for {loss}; row {row} sums to {sums[row]}"
        )


_CHECKS: dict[str, Callable[[Array, np.dtype, str, str], None]] = {
    "fractions": _check_fractions,
    "counts": _check_counts,
    "bits": _check_bits,
    "signs": _check_signs,
    "classes": _check_probabilities,
    "probabilities": _check_probabilities,
}
