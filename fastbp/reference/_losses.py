"""Losses with their gradients.

docs/losses.md has the formulas and their sources.

A loss has two functions of outputs a, targets y and its options: its value per sample, and its
gradient with respect to a. A loss that is paired with an output activation also has two functions
of the logits z: its value, and δ. Rows are samples. Targets are rows too: class indices have been
converted to rows of 0 and 1.

Values also accept complex a or z with an infinitesimal imaginary part, for complex-step
derivatives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from .._training.class_weight import weight_sum
from .._types import Array
from ..losses import Loss

Weights: TypeAlias = tuple[float, ...] | None


def squared_error(a: Array, y: Array) -> Array:
    return ((a - y) ** 2).sum(axis=1) / 2


def squared_error_gradient(a: Array, y: Array) -> Array:
    return a - y


def mse(a: Array, y: Array) -> Array:
    return ((a - y) ** 2).mean(axis=1)


def mse_gradient(a: Array, y: Array) -> Array:
    return 2 * (a - y) / a.shape[1]


def mae(a: Array, y: Array) -> Array:
    return magnitude(a - y).mean(axis=1)


def mae_gradient(a: Array, y: Array) -> Array:
    return np.sign(a - y) / a.shape[1]


def huber(a: Array, y: Array, delta: float) -> Array:
    e = a - y
    inside = abs(e.real) <= delta
    return np.where(inside, e * e / 2, delta * (magnitude(e) - delta / 2)).mean(axis=1)


def huber_gradient(a: Array, y: Array, delta: float) -> Array:
    return np.clip(a - y, -delta, delta) / a.shape[1]


def log_cosh(a: Array, y: Array) -> Array:
    """log cosh e: log(1 + 2 sinh²(e/2)) for |e| < 1, otherwise |e| − log 2 + log(1 + e^(−2|e|)).

    Neither form cancels or overflows.
    """
    x = magnitude(a - y)
    near = x.real < 1
    small = np.log1p(2 * np.sinh(np.where(near, x, 0) / 2) ** 2)
    return np.where(near, small, x - np.log(2) + np.log1p(np.exp(-2 * x))).mean(axis=1)


def log_cosh_gradient(a: Array, y: Array) -> Array:
    return np.tanh(a - y) / a.shape[1]


def poisson(a: Array, y: Array, log_input: bool) -> Array:
    terms = np.exp(a) - y * a if log_input else a - y * np.log(a + _POISSON_EPS)
    return terms.mean(axis=1)


def poisson_gradient(a: Array, y: Array, log_input: bool) -> Array:
    slope = np.exp(a) - y if log_input else 1 - y / (a + _POISSON_EPS)
    return slope / a.shape[1]


_POISSON_EPS = 1e-8  # as in torch.nn.PoissonNLLLoss


def hinge(a: Array, y: Array) -> Array:
    return positive_part(1 - y * a).mean(axis=1)


def hinge_gradient(a: Array, y: Array) -> Array:
    return np.where(1 - y * a > 0, -y, 0) / a.shape[1]


def squared_hinge(a: Array, y: Array) -> Array:
    return (positive_part(1 - y * a) ** 2).mean(axis=1)


def squared_hinge_gradient(a: Array, y: Array) -> Array:
    return -2 * y * np.maximum(0, 1 - y * a) / a.shape[1]


# ---- logarithms of probabilities ------------------------------------------------------------

# Outputs are clipped to [eps, 1 − eps]. The gradient is 0 where an output is clipped.


def binary_cross_entropy(a: Array, y: Array, pos_weight: Weights = None) -> Array:
    eps = np.finfo(a.dtype).eps
    p = np.where(a.real < eps, eps, np.where(a.real > 1 - eps, 1 - eps, a))
    return -(_weighted(y, pos_weight) * np.log(p) + (1 - y) * np.log(1 - p)).sum(axis=1)


def binary_cross_entropy_gradient(a: Array, y: Array, pos_weight: Weights = None) -> Array:
    eps = np.finfo(a.dtype).eps
    inside = (a > eps) & (a < 1 - eps)
    p = np.where(inside, a, 0.5)
    if pos_weight is None:
        return np.where(inside, (p - y) / (p * (1 - p)), 0)
    return np.where(inside, (1 - y) / (1 - p) - _weighted(y, pos_weight) / p, 0)


def binary_cross_entropy_of_logits(z: Array, y: Array, pos_weight: Weights = None) -> Array:
    """−y log σ(z) − (1−y) log(1 − σ(z)), without overflow or cancellation."""
    log_part = np.log1p(np.exp(-magnitude(z)))
    if pos_weight is None:
        return (z * np.where(z.real > 0, 1 - y, -y) + log_part).sum(axis=1)
    neg_log_p, neg_log_rest = positive_part(-z) + log_part, positive_part(z) + log_part
    return (_weighted(y, pos_weight) * neg_log_p + (1 - y) * neg_log_rest).sum(axis=1)


def binary_cross_entropy_delta(z: Array, a: Array, y: Array, pos_weight: Weights = None) -> Array:
    if pos_weight is None:
        return a - y
    positive = _weighted(y, pos_weight)
    return (positive + 1 - y) * a - positive


def cross_entropy(
    a: Array, y: Array, label_smoothing: float = 0.0, class_weight: Weights = None
) -> Array:
    eps = np.finfo(a.dtype).eps
    q = _smoothed(y, label_smoothing, class_weight)
    return -(q * np.log(np.where(a.real < eps, eps, a))).sum(axis=1)


def cross_entropy_gradient(
    a: Array, y: Array, label_smoothing: float = 0.0, class_weight: Weights = None
) -> Array:
    eps = np.finfo(a.dtype).eps
    return np.where(a > eps, -_smoothed(y, label_smoothing, class_weight) / np.maximum(a, eps), 0)


def cross_entropy_of_logits(
    z: Array, y: Array, label_smoothing: float = 0.0, class_weight: Weights = None
) -> Array:
    """−Σ q_k log softmax(z)_k = Σ q_k (log Σ_j exp z_j − z_k), shifted by the largest z."""
    return -(_smoothed(y, label_smoothing, class_weight) * _log_softmax(z)).sum(axis=1)


def cross_entropy_delta(
    z: Array, a: Array, y: Array, label_smoothing: float = 0.0, class_weight: Weights = None
) -> Array:
    if label_smoothing == 0 and class_weight is None:
        return a - y
    q = _smoothed(y, label_smoothing, class_weight)
    return a * q.sum(axis=1, keepdims=True) - q


def _smoothed(y: Array, label_smoothing: float, class_weight: Weights) -> Array:
    """q_k = w_k ((1 − ε) y_k + ε/K)."""
    if label_smoothing > 0:
        y = (1 - label_smoothing) * y + label_smoothing / y.shape[1]
    return _weighted(y, class_weight)


def _weighted(y: Array, weight: Weights) -> Array:
    return y if weight is None else y * np.asarray(weight, y.dtype)


def kl_divergence(a: Array, y: Array) -> Array:
    return cross_entropy(a, y) - _entropy(y)


def kl_divergence_gradient(a: Array, y: Array) -> Array:
    return cross_entropy_gradient(a, y)


def kl_divergence_of_logits(z: Array, y: Array) -> Array:
    return cross_entropy_of_logits(z, y) - _entropy(y)


def kl_divergence_delta(z: Array, a: Array, y: Array) -> Array:
    return a - y


def _entropy(y: Array) -> Array:
    return -(y * np.log(np.where(y > 0, y, 1))).sum(axis=1)


def focal_of_logits(z: Array, y: Array, gamma: float, alpha: Weights) -> Array:
    log_p = _log_softmax(z)
    return -(_weighted(y, alpha) * (1 - np.exp(log_p)) ** gamma * log_p).sum(axis=1)


def focal_delta(z: Array, a: Array, y: Array, gamma: float, alpha: Weights) -> Array:
    """δ = h − p Σ_k h_k."""
    h = _focal_h(z, a, y, gamma, alpha)
    return h - a * h.sum(axis=1, keepdims=True)


def _focal_h(z: Array, a: Array, y: Array, gamma: float, alpha: Weights) -> Array:
    """h_k = p_k ∂J_i/∂p_k."""
    return _weighted(y, alpha) * (1 - a) ** gamma * (gamma * _focal_ratio(z, a) - 1)


def _focal_ratio(z: Array, a: Array) -> Array:
    """p log p / (1 − p), with the limit −1 at p = 1."""
    closed = a >= 1
    return np.where(closed, -1, a * _log_softmax(z) / np.where(closed, 1, 1 - a))


def binary_focal_of_logits(z: Array, y: Array, gamma: float, alpha: float | None) -> Array:
    neg_log_p, neg_log_rest, weight = _binary_focal_parts(z, y, alpha)
    return (weight * np.exp(-gamma * neg_log_rest) * neg_log_p).mean(axis=1)


def binary_focal_delta(z: Array, a: Array, y: Array, gamma: float, alpha: float | None) -> Array:
    neg_log_p, neg_log_rest, weight = _binary_focal_parts(z, y, alpha)
    bend = gamma * np.exp(-neg_log_p) * neg_log_p + np.exp(-neg_log_rest)
    return (1 - 2 * y) * weight * np.exp(-gamma * neg_log_rest) * bend / z.shape[1]


def _binary_focal_parts(z: Array, y: Array, alpha: float | None) -> tuple[Array, Array, Array]:
    """−log p, −log(1 − p) and the weight, where p is the probability of the class in y."""
    u = (2 * y - 1) * z
    log_part = np.log1p(np.exp(-magnitude(u)))
    weight = np.ones_like(y) if alpha is None else np.where(y > 0.5, alpha, 1 - alpha)
    return positive_part(-u) + log_part, positive_part(u) + log_part, weight.astype(y.dtype)


def _log_softmax(z: Array) -> Array:
    shifted = z - row_max(z)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


# ---- losses whose targets have another shape than the outputs -----------------------------


def multi_margin(a: Array, y: Array, margin: float) -> Array:
    return positive_part(_margins(a, y, margin)).sum(axis=1) / a.shape[1]


def multi_margin_gradient(a: Array, y: Array, margin: float) -> Array:
    violated = (_margins(a, y, margin) > 0).astype(a.dtype)
    return (violated - y * violated.sum(axis=1, keepdims=True)) / a.shape[1]


def _margins(a: Array, y: Array, margin: float) -> Array:
    """margin − a_label + a_k for the other classes k, and 0 for the label."""
    return (1 - y) * (margin - ((a * y).sum(axis=1, keepdims=True) - a))


def quantile(a: Array, y: Array, taus: tuple[float, ...]) -> Array:
    e, tau = _residuals(a, y, taus)
    return np.where(e.real > 0, tau * e, (tau - 1) * e).mean(axis=1)


def quantile_gradient(a: Array, y: Array, taus: tuple[float, ...]) -> Array:
    e, tau = _residuals(a, y, taus)
    return np.where(e > 0, -tau, np.where(e < 0, 1 - tau, e)) / a.shape[1]


def _residuals(a: Array, y: Array, taus: tuple[float, ...]) -> tuple[Array, Array]:
    """y − a, with each target repeated for each tau, and the tau of each output."""
    return np.repeat(y, len(taus), axis=1) - a, np.tile(np.asarray(taus, y.dtype), y.shape[1])


def gaussian_nll(a: Array, y: Array) -> Array:
    mean, log_var = np.split(a, 2, axis=1)
    return ((log_var + (y - mean) ** 2 * np.exp(-log_var)) / 2).mean(axis=1)


def gaussian_nll_gradient(a: Array, y: Array) -> Array:
    mean, log_var = np.split(a, 2, axis=1)
    t = (mean - y) * np.exp(-log_var)
    return np.concatenate([t, (1 - (mean - y) * t) / 2], axis=1) / y.shape[1]


def margin_ranking(a: Array, y: None, margin: float) -> Array:
    """The loss of a pair is J_i of its first row; J_i of its second row is 0."""
    loss = positive_part(margin - (a[::2] - a[1::2])).mean(axis=1)
    return np.stack([loss, 0 * loss], axis=1).ravel()


def margin_ranking_gradient(a: Array, y: None, margin: float) -> Array:
    slope = np.where(margin - (a[::2] - a[1::2]) > 0, 1, 0).astype(a.dtype) / a.shape[1]
    return np.stack([-slope, slope], axis=1).reshape(a.shape)


# ---- tables -------------------------------------------------------------------------------

Formula: TypeAlias = Callable[..., Array]

LOSSES: dict[str, tuple[Formula, Formula]] = {
    "squared_error": (squared_error, squared_error_gradient),
    "mse": (mse, mse_gradient),
    "binary_cross_entropy": (binary_cross_entropy, binary_cross_entropy_gradient),
    "cross_entropy": (cross_entropy, cross_entropy_gradient),
    "mae": (mae, mae_gradient),
    "huber": (huber, huber_gradient),
    "log_cosh": (log_cosh, log_cosh_gradient),
    "poisson": (poisson, poisson_gradient),
    "hinge": (hinge, hinge_gradient),
    "squared_hinge": (squared_hinge, squared_hinge_gradient),
    "kl_divergence": (kl_divergence, kl_divergence_gradient),
    "multi_margin": (multi_margin, multi_margin_gradient),
    "quantile": (quantile, quantile_gradient),
    "gaussian_nll": (gaussian_nll, gaussian_nll_gradient),
    "margin_ranking": (margin_ranking, margin_ranking_gradient),
}

FROM_LOGITS: dict[str, tuple[Formula, Formula]] = {
    "binary_cross_entropy": (binary_cross_entropy_of_logits, binary_cross_entropy_delta),
    "cross_entropy": (cross_entropy_of_logits, cross_entropy_delta),
    "kl_divergence": (kl_divergence_of_logits, kl_divergence_delta),
    "focal": (focal_of_logits, focal_delta),
    "binary_focal": (binary_focal_of_logits, binary_focal_delta),
}


def loss_options(loss: Loss) -> dict[str, Any]:
    """The options of a loss as keyword arguments of its formulas."""
    return dict(loss.options)


def sample_weights(loss: Loss, s: Array) -> Array:
    """The weights (n,) of the rows; both rows of a pair have the weight of the first."""
    return np.repeat(s[:: loss.group], loss.group)


def mean_loss(loss: Loss, y: Array | None, s: Array, J_i: Array) -> np.number[Any]:
    """Σ s_i J_i / S, summed in double precision for every dtype, also for complex J_i.

    >>> J_i = np.array([1e8, 1.0, -1e8, 1.0], np.float32)
    >>> float(mean_loss(Loss("mse"), None, np.ones(4, np.float32), J_i))
    0.5
    """
    J_i = J_i.astype(np.result_type(J_i, np.float64), copy=False)
    return np.dot(s.astype(np.float64), J_i) / weight_sum(loss, y, s)


# ---- helpers ------------------------------------------------------------------------------


def magnitude(z: Array) -> Array:
    """|z| for real z; for complex z its analytic continuation from the real axis."""
    return np.where(z.real < 0, -z, z)


def positive_part(z: Array) -> Array:
    return np.where(z.real < 0, 0, z)


def row_max(z: Array) -> Array:
    return z.real.max(axis=1, keepdims=True)
