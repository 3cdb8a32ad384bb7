"""Scores of predictions: accuracies, R², and which of them belongs to a loss."""

from __future__ import annotations

import numpy as np

from .losses import Loss


def accuracy(a: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """Weighted share of rows whose largest output is the class that y names.

    `a` (n, K) outputs, `y` class indices (n,) or rows of probabilities (n, K).

    >>> accuracy(np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([0, 0]))
    0.5
    """
    classes = y if y.ndim == 1 else y.argmax(axis=1)
    return _mean(a.argmax(axis=1) == classes, sample_weight)


def binary_accuracy(a: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """Weighted share of all outputs on the same side of one half as y: `a`, `y` both (n, K).

    >>> binary_accuracy(np.array([[0.5], [0.4]]), np.array([[1.0], [1.0]]))
    0.5
    """
    return _mean(((a >= 0.5) == (y >= 0.5)).mean(axis=1), sample_weight)


def r2(a: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """Coefficient of determination, 1 − Σ(y−a)²/Σ(y−ȳ)², averaged over the outputs.

    `a`, `y` both (n, K). An output that is constant in y counts 1 where it is met exactly and
    0 otherwise, as scikit-learn's r2_score has it.

    >>> r2(np.array([[1.0], [3.0]]), np.array([[1.0], [3.0]]))
    1.0
    """
    a, y = a.astype(np.float64), y.astype(np.float64)
    weight = np.ones(len(y)) if sample_weight is None else sample_weight.astype(np.float64)
    centre = weight @ y / weight.sum()
    residual, total = weight @ (y - a) ** 2, weight @ (y - centre) ** 2
    constant = total == 0
    score = 1 - residual / np.where(constant, 1, total)
    return float(np.where(constant, residual == 0, score).mean())


def sign_accuracy(a: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """Weighted share of all outputs on the same side of 0 as y: `a`, `y` both (n, K).

    >>> sign_accuracy(np.array([[0.5], [-2.0]]), np.array([[1.0], [1.0]]))
    0.5
    """
    return _mean(((a >= 0) == (y >= 0)).mean(axis=1), sample_weight)


def default_score(
    loss: Loss, a: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None
) -> float:
    """The score that goes with a loss: an accuracy for those of classes, R² for the rest.

    `a` (n, K) outputs; `y` as `_validation.as_targets` returns it. R² is that of the means
    (gaussian_nll), the rates (poisson), and the quantiles nearest to the median.

    >>> default_score(Loss("mse"), np.array([[1.0], [3.0]]), np.array([[1.0], [3.0]]))
    1.0
    """
    if loss.labels or loss.name == "kl_divergence":
        return accuracy(a, y, sample_weight)
    if loss.name in ("binary_cross_entropy", "binary_focal"):
        return binary_accuracy(a, y, sample_weight)
    if loss.targets == "signs":
        return sign_accuracy(a, y, sample_weight)
    return r2(_predicted(loss, a), y, sample_weight)


def _predicted(loss: Loss, a: np.ndarray) -> np.ndarray:
    """What outputs say of the targets themselves."""
    if loss.name == "gaussian_nll":
        return a[:, : a.shape[1] // 2]
    if loss.name == "quantile":
        taus = np.asarray(loss.options["taus"])
        return a[:, np.argmin(abs(taus - 0.5)) :: len(taus)]
    return np.exp(a) if loss.name == "poisson" and loss.options["log_input"] else a


def _mean(correct: np.ndarray, sample_weight: np.ndarray | None) -> float:
    return float(np.average(correct, weights=sample_weight))
