"""What the values of dense targets must be, by the kind that a loss names."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .losses import Loss


def check_target_values(y: np.ndarray, given: np.dtype, loss: Loss) -> None:
    """ValueError, with the way out, for finite targets y (n, K) that the loss does not take.

    given: the dtype that the targets came in, which tells how exactly rows can sum to 1.
    """
    check = _CHECKS.get(loss.targets)
    if check is not None:
        check(y, given, loss.name)


def check_pairs(y: object, n_rows: int, name: str, rows_of: str) -> None:
    """ValueError unless there are no targets and an even number of rows."""
    if y is not None:
        raise ValueError(f"{name} has no targets, it compares rows 2i and 2i + 1: give y as None")
    if n_rows % 2:
        raise ValueError(
            f"{rows_of} has {n_rows} rows; {name} takes pairs of them: true, corrupted, true, …"
        )


def _check_fractions(y: np.ndarray, given: np.dtype, name: str) -> None:
    if y.min() < 0 or y.max() > 1:
        raise ValueError(
            f"y must lie between 0 and 1 for {name}; got values from {y.min()} to {y.max()}"
        )


def _check_counts(y: np.ndarray, given: np.dtype, name: str) -> None:
    if y.min() < 0:
        raise ValueError(f"y must hold counts, none negative, for {name}; got {y.min()}")


def _check_bits(y: np.ndarray, given: np.dtype, name: str) -> None:
    odd = y[(y != 0) & (y != 1)]
    if odd.size:
        raise ValueError(f"y must hold 0 and 1 for {name}; got {odd[0]}")


def _check_signs(y: np.ndarray, given: np.dtype, name: str) -> None:
    odd = y[abs(y) != 1]
    if odd.size:
        raise ValueError(
            f"y must hold -1 and 1 for {name}; got {odd[0]}: of 0 and 1 make 2 * y - 1"
        )


def _check_probabilities(y: np.ndarray, given: np.dtype, name: str) -> None:
    """Rows >= 0 that sum to 1, up to the rounding of a row normalised in float32 or coarser.

    K additions of relative error eps/2 and a division leave the sum within K * eps.
    """
    if y.min() < 0:
        raise ValueError(f"y must hold probabilities, none negative; got {y.min()}")
    eps = float(np.finfo(np.float32).eps)
    if given.kind == "f":
        eps = max(eps, float(np.finfo(given).eps))
    sums = y.sum(axis=1, dtype=np.float64)
    row = int(np.argmax(np.abs(sums - 1)))
    if abs(sums[row] - 1) > y.shape[1] * eps:
        raise ValueError(f"each row of y must sum to 1 for {name}; row {row} sums to {sums[row]}")


_CHECKS: dict[str, Callable[[np.ndarray, np.dtype, str], None]] = {
    "fractions": _check_fractions,
    "counts": _check_counts,
    "bits": _check_bits,
    "signs": _check_signs,
    "classes": _check_probabilities,
    "probabilities": _check_probabilities,
}
