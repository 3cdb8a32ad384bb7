"""The losses in loops over outputs, in Python floats, as their definitions are written.

docs/losses.md has the formulas and their sources.
"""

from __future__ import annotations

from math import cosh, exp, log, log1p, tanh
from typing import TYPE_CHECKING, cast

import numpy as np

from ..losses import CustomLoss, FormulaLoss, Loss

if TYPE_CHECKING:
    from ..gates import Trace


def loss_value(
    loss: Loss, paired: bool, z: list[float], a: list[float], y: list[float], eps: float
) -> float:
    """J_i of one sample: from the logits z if the loss is `paired` with the output activation.

    Otherwise it is computed from the outputs a, which are clipped to [eps, 1 − eps] before a
    logarithm.
    """
    K = len(a)
    if isinstance(loss, CustomLoss):
        return float(loss.evaluate(np.array([a]), np.array([y]))[0][0])
    if isinstance(loss, FormulaLoss):
        return float(_walk(loss, a, y).value)
    if loss.name in _LOGARITHMIC:
        log_p, log_rest = _logarithms(loss, paired, z, a, eps)
        return sum(_log_term(loss, y, k, log_p[k], log_rest[k]) for k in range(K))
    if loss.name == "multi_margin":
        label = y.index(1.0)
        margin = _number(loss, "margin")
        return sum(max(0.0, margin - a[label] + a[k]) for k in range(K) if k != label) / K
    if loss.name == "quantile":
        taus = _numbers(loss, "taus")
        return sum(_pinball(y[k // len(taus)] - a[k], taus[k % len(taus)]) for k in range(K)) / K
    if loss.name == "gaussian_nll":
        n = K // 2
        return sum(a[n + k] + (y[k] - a[k]) ** 2 / exp(a[n + k]) for k in range(n)) / 2 / n
    total = sum(_value(loss, a[k], y[k]) for k in range(K))
    return total if loss.name == "squared_error" else total / K


def loss_slopes(
    loss: Loss, paired: bool, z: list[float], a: list[float], y: list[float], eps: float
) -> list[float]:
    """∂J_i/∂a_k of one sample; 0 where an output is clipped, which is not done if `paired`."""
    K = len(a)
    if isinstance(loss, CustomLoss):
        slopes: list[float] = loss.evaluate(np.array([a]), np.array([y]))[1][0].tolist()
        return slopes
    if isinstance(loss, FormulaLoss):
        slopes = np.broadcast_to(_walk(loss, a, y).gradient()["a"], K).tolist()
        return slopes
    if loss.name in _LOGARITHMIC:
        low = 0.0 if paired else eps
        inside = [low < a_k < 1 - low or (loss.pair == "softmax" and a_k > low) for a_k in a]
        return [_log_slope(loss, y, k, a[k]) if inside[k] else 0.0 for k in range(K)]
    if loss.name == "multi_margin":
        label = y.index(1.0)
        margin = _number(loss, "margin")
        violated = [k != label and margin - a[label] + a[k] > 0 for k in range(K)]
        return [(violated[k] - (k == label) * sum(violated)) / K for k in range(K)]
    if loss.name == "quantile":
        taus = _numbers(loss, "taus")
        pairs = [(y[k // len(taus)] - a[k], taus[k % len(taus)]) for k in range(K)]
        return [(-tau if e > 0 else 1 - tau if e < 0 else 0.0) / K for e, tau in pairs]
    if loss.name == "gaussian_nll":
        n = K // 2
        means = [(a[k] - y[k]) / exp(a[n + k]) / n for k in range(n)]
        return means + [(1 - (y[k] - a[k]) ** 2 / exp(a[n + k])) / 2 / n for k in range(n)]
    terms = [_slope(loss, a[k], y[k]) for k in range(K)]
    return terms if loss.name == "squared_error" else [term / K for term in terms]


def _walk(loss: FormulaLoss, a: list[float], y: list[float]) -> Trace:
    """All gates of a formula, as the user wrote it, with the numbers of one row."""
    gate, values = loss.formula.gate, {"a": np.array(a), "y": np.array(y)}
    return gate.trace(**{name: values[name] for name in gate.inputs})


# ---- one output ---------------------------------------------------------------------------


def _value(loss: Loss, a: float, y: float) -> float:
    e = a - y
    match loss.name:
        case "squared_error":
            return e**2 / 2
        case "mse":
            return e**2
        case "mae":
            return abs(e)
        case "huber":
            delta = _number(loss, "delta")
            return e**2 / 2 if abs(e) <= delta else delta * (abs(e) - delta / 2)
        case "log_cosh":
            return log(cosh(e))
        case "poisson":
            return exp(a) - y * a if loss.options["log_input"] else a - y * log(a + 1e-8)
        case "hinge":
            return max(0.0, 1 - y * a)
        case "squared_hinge":
            return max(0.0, 1 - y * a) ** 2
    raise ValueError(f"slow_backprop does not support {loss}")


def _slope(loss: Loss, a: float, y: float) -> float:
    e = a - y
    match loss.name:
        case "squared_error":
            return e
        case "mse":
            return 2 * e
        case "mae":
            return float((e > 0) - (e < 0))
        case "huber":
            delta = _number(loss, "delta")
            return max(-delta, min(delta, e))
        case "log_cosh":
            return tanh(e)
        case "poisson":
            return exp(a) - y if loss.options["log_input"] else 1 - y / (a + 1e-8)
        case "hinge":
            return -y if y * a < 1 else 0.0
        case "squared_hinge":
            return -2 * y * (1 - y * a) if y * a < 1 else 0.0
    raise ValueError(f"slow_backprop does not support {loss}")


def _pinball(e: float, tau: float) -> float:
    return max(tau * e, (tau - 1) * e)


# ---- logarithms of probabilities ------------------------------------------------------------

_LOGARITHMIC = (
    *("binary_cross_entropy", "cross_entropy", "kl_divergence", "focal", "binary_focal"),
)


def _logarithms(
    loss: Loss, paired: bool, z: list[float], a: list[float], eps: float
) -> tuple[list[float], list[float]]:
    """log p_k and log(1 − p_k), from the logits if `paired`, otherwise from clipped outputs."""
    if not paired:
        top = 1 - eps if loss.pair == "sigmoid" else float("inf")
        p = [min(max(a_k, eps), top) for a_k in a]
        return [log(p_k) for p_k in p], [log(1 - p_k) if p_k < 1 else 0.0 for p_k in p]
    if loss.pair == "sigmoid":
        return [-_softplus(-z_k) for z_k in z], [-_softplus(z_k) for z_k in z]
    top = max(z)
    log_total = log(sum(exp(z_k - top) for z_k in z))
    log_p = [z_k - top - log_total for z_k in z]
    return log_p, [log(1 - a_k) if a_k < 1 else 0.0 for a_k in a]


def _softplus(z: float) -> float:
    return max(z, 0.0) + log1p(exp(-abs(z)))


def _number(loss: Loss, name: str) -> float:
    """An option that is a number."""
    return cast(float, loss.options[name])


def _numbers(loss: Loss, name: str) -> tuple[float, ...]:
    """An option that is a tuple of numbers."""
    return cast(tuple[float, ...], loss.options[name])


def _weight(loss: Loss, name: str, k: int) -> float:
    """The weight of output k in an option that has one weight, one per output, or None."""
    if loss.options[name] is None:
        return 1.0
    weights = _numbers(loss, name)
    return weights[k % len(weights)]


def _class_weights(loss: Loss) -> tuple[float, float]:
    """The weights of y = 1 and y = 0 of binary_focal."""
    if loss.options["alpha"] is None:
        return 1.0, 1.0
    alpha = _number(loss, "alpha")
    return alpha, 1 - alpha


def _log_term(loss: Loss, y: list[float], k: int, log_p: float, log_rest: float) -> float:
    """The term of output k in J_i."""
    K = len(y)
    match loss.name:
        case "binary_cross_entropy":
            return -_weight(loss, "pos_weight", k) * y[k] * log_p - (1 - y[k]) * log_rest
        case "cross_entropy":
            epsilon = _number(loss, "label_smoothing")
            q = (1 - epsilon) * y[k] + epsilon / K
            return -_weight(loss, "class_weight", k) * q * log_p
        case "kl_divergence":
            return y[k] * (log(y[k]) - log_p) if y[k] > 0 else 0.0
        case "focal":
            power = _power(1 - exp(log_p), _number(loss, "gamma"))
            return -_weight(loss, "alpha", k) * y[k] * power * log_p
        case "binary_focal":
            gamma = _number(loss, "gamma")
            one, zero = _class_weights(loss)
            if y[k] == 1:
                return -one * _power(exp(log_rest), gamma) * log_p / K
            return -zero * _power(exp(log_p), gamma) * log_rest / K
    raise ValueError(f"slow_backprop does not support {loss}")


def _log_slope(loss: Loss, y: list[float], k: int, p: float) -> float:
    """∂J_i/∂p of output k."""
    K = len(y)
    match loss.name:
        case "binary_cross_entropy":
            return -_weight(loss, "pos_weight", k) * y[k] / p + (1 - y[k]) / (1 - p)
        case "cross_entropy":
            epsilon = _number(loss, "label_smoothing")
            q = (1 - epsilon) * y[k] + epsilon / K
            return -_weight(loss, "class_weight", k) * q / p
        case "kl_divergence":
            return -y[k] / p
        case "focal":
            return _weight(loss, "alpha", k) * y[k] * _focal_slope(p, _number(loss, "gamma"))
        case "binary_focal":
            gamma = _number(loss, "gamma")
            one, zero = _class_weights(loss)
            if y[k] == 1:
                return one * _focal_slope(p, gamma) / K
            return -zero * _focal_slope(1 - p, gamma) / K
    raise ValueError(f"slow_backprop does not support {loss}")


def _focal_slope(p: float, gamma: float) -> float:
    """The derivative of −(1 − p)^γ log p."""
    if p == 1:
        return -1.0 if gamma == 0 else 0.0
    return gamma * _power(1 - p, gamma - 1) * log(p) - _power(1 - p, gamma) / p


def _power(base: float, exponent: float) -> float:
    """base^exponent for base >= 0."""
    return float(base**exponent)
