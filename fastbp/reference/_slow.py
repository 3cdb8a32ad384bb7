"""Backpropagation element by element, as a textbook writes it: one sample, one unit, one weight.

A unit's error signal comes in, is multiplied by the local derivative, and is shared out to the
units below by the weights it came through. The gradient of a weight is the activity at its lower
end times the error at its upper end; that of a bias is the error itself. All in Python floats.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import cos, erfc, exp, expm1, log1p, pi, sin, sqrt, tanh

import numpy as np

from .._checks import arguments as check
from ..activations import Activation
from ._formulas import SELU_ALPHA, SELU_LAMBDA
from ._slow_losses import loss_slopes, loss_value


@dataclass
class SlowBackprop:
    """Per layer: z, a, delta (batch, n), dW (n_in, n_out) and db (n_out,); and the cost J."""

    z: list[np.ndarray]
    a: list[np.ndarray]
    delta: list[np.ndarray]
    dW: list[np.ndarray]
    db: list[np.ndarray]
    J: float


def slow_backprop(net, X, y, sample_weight=None) -> SlowBackprop:
    """Forward and backward pass of a reference Network, by loops; the network is left alone.

    X (batch, n_0), y and sample_weight as for `Network.backward`, with the same errors.

    >>> from fastbp.reference import Network
    >>> slow_backprop(Network((2, 3, 1), seed=0), [[1.0, 2.0]], [[0.5]]).dW[0].shape
    (2, 3)
    """
    if not net.is_plain:
        raise ValueError(
            f"slow_backprop takes plain layers, as Network(widths, …) makes; got {net!r}"
        )
    float64 = np.dtype(np.float64)
    X = check.as_matrix(X, net.widths[0], float64).tolist()
    kind, y = check.as_targets(y, net.criterion, len(X), net.widths[-1], float64)
    if kind == "pairs":
        raise ValueError(f"no elemental form of {net.criterion}, whose samples are pairs of rows")
    labels = y if kind == "labels" else None
    if kind == "labels":
        y = [[float(k == label) for k in range(net.widths[-1])] for label in y]
    else:
        y = y.tolist()
    s = check.as_weights(sample_weight, len(X), float64)
    s = [1.0] * len(X) if s is None else s.tolist()
    weight = net.criterion.options.get("class_weight")
    if labels is None or weight is None:
        S = sum(s)
    else:  # a sample counts as much as its class
        S = sum(s[i] * weight[label % len(weight)] for i, label in enumerate(labels))

    W = [layer.W.tolist() for layer in net.layers]
    b = [layer.b.tolist() for layer in net.layers]
    L = len(net.layers)
    dW = [[[0.0] * n_out for _ in range(n_in)] for n_in, n_out in _shapes(net)]
    db = [[0.0] * n_out for _, n_out in _shapes(net)]
    eps = float(np.finfo(net.dtype).eps)
    J = 0.0
    zs, as_, deltas = [], [], []
    for i in range(len(X)):
        # forward: what each unit receives, and what it makes of it
        z, a = [], []
        below = X[i]
        for layer in range(L):
            z.append(
                [
                    b[layer][k] + sum(below[j] * W[layer][j][k] for j in range(len(below)))
                    for k in range(len(b[layer]))
                ]
            )
            a.append(_activate(net.activations[layer], z[layer]))
            below = a[layer]
        paired = net.criterion.pairs_with(net.activations[-1])
        J += s[i] * loss_value(net.criterion, paired, z[-1], a[-1], y[i], eps) / S

        # the error of the outputs, then layer by layer down
        delta = [[0.0]] * L
        delta[-1] = _output_error(net, z[-1], a[-1], y[i], eps)
        for layer in range(L - 2, -1, -1):
            delta[layer] = [
                _derivative(net.activations[layer], z[layer][j])
                * sum(delta[layer + 1][k] * W[layer + 1][j][k] for k in range(len(b[layer + 1])))
                for j in range(len(b[layer]))
            ]

        # every weight takes its share
        for layer in range(L):
            below = a[layer - 1] if layer > 0 else X[i]
            for k in range(len(b[layer])):
                db[layer][k] += s[i] * delta[layer][k] / S
                for j in range(len(below)):
                    dW[layer][j][k] += s[i] * below[j] * delta[layer][k] / S
        zs.append(z)
        as_.append(a)
        deltas.append(delta)

    J += _penalise(net, W, dW)
    return SlowBackprop(
        z=_by_layer(zs),
        a=_by_layer(as_),
        delta=_by_layer(deltas),
        dW=[np.array(block) for block in dW],
        db=[np.array(block) for block in db],
        J=J,
    )


# ---- one layer's units --------------------------------------------------------------------


def _penalise(net, W, dW) -> float:
    """The penalties of J, of weights only, whose gradients are added to dW."""
    total = 0.0
    for layer in range(len(W)):
        for j in range(len(W[layer])):
            for k, w in enumerate(W[layer][j]):
                total += net.l1 * abs(w) + net.l2 / 2 * w * w
                dW[layer][j][k] += net.l1 * ((w > 0) - (w < 0)) + net.l2 * w
    return total


def _activate(activation: Activation, z: list[float]) -> list[float]:
    if activation.name == "softmax":
        top = max(z)
        total = sum(exp(z_k - top) for z_k in z)
        return [exp(z_k - top) / total for z_k in z]
    return [_value(activation, z_k) for z_k in z]


def _value(activation: Activation, z: float) -> float:
    match activation.name:
        case "identity":
            return z
        case "sigmoid":
            return 1 / (1 + exp(-z)) if z >= 0 else exp(z) / (1 + exp(z))
        case "tanh":
            return tanh(z)
        case "relu":
            return max(z, 0.0)
        case "leaky_relu":
            return z if z > 0 else activation.alpha * z
        case "elu":
            return z if z > 0 else activation.alpha * expm1(z)
        case "softplus":
            return max(z, 0.0) + log1p(exp(-abs(z)))
        case "selu":
            return SELU_LAMBDA * (z if z > 0 else SELU_ALPHA * expm1(z))
        case "relu6":
            return min(max(z, 0.0), 6.0)
        case "hard_tanh":
            return min(max(z, -1.0), 1.0)
        case "hard_sigmoid":
            return min(max(z + 3, 0.0), 6.0) / 6
        case "softsign":
            return z / (1 + abs(z))
        case "exp":
            return exp(z)
        case "silu":
            return z * _value(Activation("sigmoid"), z)
        case "gelu":
            return z * erfc(-z / sqrt(2)) / 2
        case "gelu_tanh":
            return z * _value(Activation("sigmoid"), sqrt(8 / pi) * (z + 0.044715 * z**3))
        case "mish":
            return z * tanh(_value(Activation("softplus"), z))
        case "sin":
            return sin(z)
    raise ValueError(f"no elemental form of {activation}")


def _derivative(activation: Activation, z: float) -> float:
    match activation.name:
        case "identity":
            return 1.0
        case "sigmoid":
            o = _value(activation, z)
            return o * (1 - o)
        case "tanh":
            return 1 - tanh(z) ** 2
        case "relu":
            return 1.0 if z > 0 else 0.0
        case "leaky_relu":
            return 1.0 if z > 0 else activation.alpha
        case "elu":
            return 1.0 if z > 0 else activation.alpha * exp(z)
        case "softplus":
            return _value(Activation("sigmoid"), z)
        case "selu":
            return SELU_LAMBDA * (1.0 if z > 0 else SELU_ALPHA * exp(z))
        case "relu6":
            return 1.0 if 0 < z < 6 else 0.0
        case "hard_tanh":
            return 1.0 if -1 < z < 1 else 0.0
        case "hard_sigmoid":
            return 1 / 6 if -3 < z < 3 else 0.0
        case "softsign":
            return 1 / (1 + abs(z)) ** 2
        case "exp":
            return exp(z)
        case "silu":
            s = _value(Activation("sigmoid"), z)
            return s + z * s * (1 - s)
        case "gelu":
            return erfc(-z / sqrt(2)) / 2 + z * exp(-z * z / 2) / sqrt(2 * pi)
        case "gelu_tanh":
            s = _value(Activation("sigmoid"), sqrt(8 / pi) * (z + 0.044715 * z**3))
            return s + z * s * (1 - s) * sqrt(8 / pi) * (1 + 3 * 0.044715 * z * z)
        case "mish":
            t = tanh(_value(Activation("softplus"), z))
            return t + z * (1 - t * t) * _value(Activation("sigmoid"), z)
        case "sin":
            return cos(z)
    raise ValueError(f"no elemental form of {activation}")


# ---- the outputs --------------------------------------------------------------------------


def _output_error(net, z: list[float], a: list[float], y: list[float], eps: float) -> list[float]:
    K = len(a)
    output = net.activations[-1]
    paired = net.criterion.pairs_with(output)
    if paired and str(net.criterion) in ("cross_entropy", "binary_cross_entropy"):
        return [a[k] - y[k] for k in range(K)]
    g = loss_slopes(net.criterion, paired, z, a, y, eps)
    if output.name == "softmax":
        return [sum(g[j] * a[j] * ((j == k) - a[k]) for j in range(K)) for k in range(K)]
    return [g[k] * _derivative(output, z[k]) for k in range(K)]


# ---- helpers ------------------------------------------------------------------------------


def _shapes(net) -> list[tuple[int, int]]:
    return list(pairwise(net.widths))


def _by_layer(samples: list[list[list[float]]]) -> list[np.ndarray]:
    return [np.array(rows) for rows in zip(*samples, strict=True)]
