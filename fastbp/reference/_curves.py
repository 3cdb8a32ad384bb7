"""Second derivatives of layers and losses along a direction.

R{x} is the derivative of x along the direction (Pearlmutter, "Fast Exact Multiplication by the
Hessian", Neural Computation 6, 1994). At a kink the second derivative is taken to be 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from .._network.dense import Norm
from .._types import Array
from ..activations import Activation
from ..losses import FormulaLoss, Loss
from ._formulas import ACTIVATIONS, alpha_of, by_target, loss_gradient, pull_back
from ._losses import (
    _POISSON_EPS,
    FROM_LOGITS,
    Formula,
    Weights,
    _binary_focal_parts,
    _focal_h,
    _focal_ratio,
    _log_softmax,
    _smoothed,
    _weighted,
    loss_options,
)

# ---- norms; their values are in _layers.py -------------------------------------------------


def normalise_push(norm: Norm, rz: Array, x: Array, r: Array) -> tuple[Array, Array]:
    """(R{x̂}, R{r}) from R{z}; batch norm with its running statistics is an affine map."""
    if norm.by_batch:
        return r * rz, np.zeros_like(r)
    q = _mean(x * rz)
    return r * (_centred(norm, rz) - q * x), -(r**2) * q


def normalise_curve(
    norm: Norm, h: Array, rh: Array, x: Array, r: Array, rx: Array, rr: Array
) -> Array:
    """R{∂J/∂z}, where ∂J/∂z = r k with k = h − mean h − x̂ mean(h ⊙ x̂) and h = ∂J/∂x̂.

    Batch norm: k = h.
    """
    if norm.by_batch:
        return r * rh
    hx = _mean(h * x)
    k = _centred(norm, h) - x * hx
    rk = _centred(norm, rh) - rx * hx - x * _mean(rh * x + h * rx)
    return rr * k + r * rk


def _centred(norm: Norm, h: Array) -> Array:
    return h - _mean(h) if norm.name == "layer" else h


def _mean(h: Array) -> Array:
    return h.mean(axis=1, keepdims=True)


# ---- losses: R{∂J_i/∂a} from R{a} -----------------------------------------------------------


def squared_error_curve(a: Array, y: Array, ra: Array) -> Array:
    return ra


def mse_curve(a: Array, y: Array, ra: Array) -> Array:
    return 2 * ra / a.shape[1]


def no_curve(a: Array, y: Array, ra: Array, **options: object) -> Array:
    return np.zeros_like(a)


def huber_curve(a: Array, y: Array, ra: Array, delta: float) -> Array:
    return np.where(abs(a - y) < delta, ra, 0) / a.shape[1]


def log_cosh_curve(a: Array, y: Array, ra: Array) -> Array:
    return (1 - np.tanh(a - y) ** 2) * ra / a.shape[1]


def poisson_curve(a: Array, y: Array, ra: Array, log_input: bool) -> Array:
    bend = np.exp(a) if log_input else y / (a + _POISSON_EPS) ** 2
    return bend * ra / a.shape[1]


def squared_hinge_curve(a: Array, y: Array, ra: Array) -> Array:
    return np.where(1 - y * a > 0, 2 * y * y * ra, 0) / a.shape[1]


def binary_cross_entropy_curve(a: Array, y: Array, ra: Array, pos_weight: Weights = None) -> Array:
    eps = np.finfo(a.dtype).eps
    inside = (a > eps) & (a < 1 - eps)
    p = np.where(inside, a, 0.5)
    return np.where(inside, _weighted(y, pos_weight) / p**2 + (1 - y) / (1 - p) ** 2, 0) * ra


def cross_entropy_curve(
    a: Array, y: Array, ra: Array, label_smoothing: float = 0.0, class_weight: Weights = None
) -> Array:
    eps = np.finfo(a.dtype).eps
    q = _smoothed(y, label_smoothing, class_weight)
    return np.where(a > eps, q / np.maximum(a, eps) ** 2, 0) * ra


def gaussian_nll_curve(a: Array, y: Array, ra: Array) -> Array:
    (mean, log_var), (rm, rs) = np.split(a, 2, axis=1), np.split(ra, 2, axis=1)
    precision = np.exp(-log_var)
    t = (mean - y) * precision
    rt = rm * precision - t * rs
    return np.concatenate([rt, -(rm * t + (mean - y) * rt) / 2], axis=1) / y.shape[1]


CURVES: dict[str, Formula] = {
    "squared_error": squared_error_curve,
    "mse": mse_curve,
    "mae": no_curve,
    "huber": huber_curve,
    "log_cosh": log_cosh_curve,
    "poisson": poisson_curve,
    "hinge": no_curve,
    "squared_hinge": squared_hinge_curve,
    "binary_cross_entropy": binary_cross_entropy_curve,
    "cross_entropy": cross_entropy_curve,
    "kl_divergence": cross_entropy_curve,
    "multi_margin": no_curve,
    "margin_ranking": no_curve,
    "quantile": no_curve,
    "gaussian_nll": gaussian_nll_curve,
}


# ---- pairs: R{δ} from R{z} and R{a} ---------------------------------------------------------

Tangents: TypeAlias = tuple[Array, Array]  # R{z}, R{a}


def binary_cross_entropy_pair(
    z: Array, a: Array, y: Array, r: Tangents, pos_weight: Weights
) -> Array:
    return (_weighted(y, pos_weight) + 1 - y) * r[1]


def cross_entropy_pair(
    z: Array,
    a: Array,
    y: Array,
    r: Tangents,
    label_smoothing: float = 0.0,
    class_weight: Weights = None,
) -> Array:
    """From δ = p Σq − q; without options Σq is taken to be 1, as in `cross_entropy_delta`."""
    if label_smoothing == 0 and class_weight is None:
        return r[1]
    return _smoothed(y, label_smoothing, class_weight).sum(axis=1, keepdims=True) * r[1]


def focal_pair(z: Array, a: Array, y: Array, r: Tangents, gamma: float, alpha: Weights) -> Array:
    """From δ = h − p Σh, where h_k depends on p_k alone."""
    closed, h = a >= 1, _focal_h(z, a, y, gamma, alpha)
    # (1 − p)^{γ−1}; at p = 1 its limit, or 0 if there is no limit
    power = np.where(closed, float(gamma == 1), np.where(closed, 1, 1 - a) ** (gamma - 1))
    bend = gamma * power * (_log_softmax(z) + 2 - (gamma - 1) * _focal_ratio(z, a))
    rh = _weighted(y, alpha) * bend * r[1]
    return rh - r[1] * h.sum(axis=1, keepdims=True) - a * rh.sum(axis=1, keepdims=True)


def binary_focal_pair(
    z: Array, a: Array, y: Array, r: Tangents, gamma: float, alpha: float | None
) -> Array:
    neg_log_p, neg_log_rest, weight = _binary_focal_parts(z, y, alpha)
    p, q = np.exp(-neg_log_p), np.exp(-neg_log_rest)
    bend = gamma * (gamma * p * neg_log_p + q - q * (neg_log_p - 1)) + q
    return weight * np.exp(-gamma * neg_log_rest) * p * bend * r[0] / z.shape[1]


PAIR_CURVES: dict[str, Formula] = {
    "binary_cross_entropy": binary_cross_entropy_pair,
    "cross_entropy": cross_entropy_pair,
    "kl_divergence": cross_entropy_pair,
    "focal": focal_pair,
    "binary_focal": binary_focal_pair,
}


# ---- layers and outputs -------------------------------------------------------------------


Constants: TypeAlias = tuple[Sequence[Array], Sequence[Array]]  # c and R{c}


def push(activation: Activation, rz: Array, z: Array, a: Array, moved: Constants) -> Array:
    """R{a} = σ' ⊙ R{z} + Σ ∂σ/∂c R{c}; this also holds for softmax, whose Jacobian is symmetric.

    moved: the trained constants and their R{c}.
    """
    if activation.formula is not None:
        return activation.formula.push(z, moved[0], rz, moved[1])
    return pull_back(activation, rz, z, a)


def curve(
    activation: Activation,
    g: Array,
    rg: Array,
    z: Array,
    a: Array,
    rz: Array,
    ra: Array,
    moved: Constants,
) -> list[Array]:
    """R{·} of what `_formulas.slopes` gives for g = ∂J/∂a: of δ, and of every trained constant.

    moved: the trained constants and their R{c}.
    """
    if activation.formula is not None:
        return activation.formula.curve(z, moved[0], g, rz, moved[1], rg)
    turned = pull_back(activation, rg, z, a)
    bend = ACTIVATIONS[activation.name].bend
    if bend is None:  # softmax
        mean = (g * a).sum(axis=1, keepdims=True)
        return [turned + ra * (g - mean) - a * (g * ra).sum(axis=1, keepdims=True)]
    return [turned + g * bend(z, a, alpha_of(activation)) * rz]


def output_gradient(loss: Loss, z: Array, a: Array, y: Array) -> Array:
    """∂J_i/∂a^L, also for losses that are defined on logits; 0 where an output is clipped."""
    if loss.entry.alone:
        return loss_gradient(loss, a, y)
    _, delta = FROM_LOGITS[loss.name]
    eps, d = np.finfo(a.dtype).eps, delta(z, a, y, **loss_options(loss))
    if loss.name == "binary_focal":
        inside = (a > eps) & (a < 1 - eps)
        return np.where(inside, d / np.where(inside, a * (1 - a), 1), 0)
    h = _focal_h(z, a, y, **loss_options(loss))
    return np.where(a > eps, h / np.maximum(a, eps), 0)


def output_curve(
    loss: Loss,
    output: Activation,
    g: Array,
    z: Array,
    a: Array,
    y: Array,
    rz: Array,
    ra: Array,
    moved: Constants,
) -> list[Array]:
    """R{·} of what `_formulas.output_slopes` gives: of δ^L, and of every trained constant.

    Parameters
    ----------
    loss, output
        The loss, and the activation of layer L.
    g : array
        ∂J_i/∂a^L, as from `output_gradient`.
    z, a, y : array
        z^L and a^L, and dense targets.
    rz, ra : array
        R{z^L} and R{a^L}.
    moved : pair of sequences of arrays
        The trained constants of layer L, and their R{c}.
    """
    if loss.pairs_with(output):
        return [_pair_curve(loss, z, a, y, (rz, ra))]
    if isinstance(loss, FormulaLoss):
        rg = loss.formula.curve(a, y, ra)
    else:
        rg = _loss_curve(loss, a, y, ra)
    return curve(output, g, rg, z, a, rz, ra, moved)


def _pair_curve(loss: Loss, z: Array, a: Array, y: Array, r: tuple[Array, Array]) -> Array:
    """R{δ} of a loss that is paired with the output."""
    if not loss.ignore_nan:
        return PAIR_CURVES[loss.name](z, a, y, r, **loss_options(loss))
    return by_target(
        loss,
        y,
        a.shape[1],
        lambda own, at, y_j: _pair_curve(own, z[:, at], a[:, at], y_j, (r[0][:, at], r[1][:, at])),
    )


def _loss_curve(loss: Loss, a: Array, y: Array, ra: Array) -> Array:
    """R{∂J_i/∂a}."""
    if not loss.ignore_nan:
        return CURVES[loss.name](a, y, ra, **loss_options(loss))
    return by_target(
        loss, y, a.shape[1], lambda own, at, y_j: _loss_curve(own, a[:, at], y_j, ra[:, at])
    )
