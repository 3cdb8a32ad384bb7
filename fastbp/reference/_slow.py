"""Backpropagation in loops over samples, units and weights, as in a textbook.

The error of a unit is the sum of the errors of the units above, each times the connecting weight,
times the derivative of its activation. The gradient of a weight is the activity of the unit below
times the error of the unit above. The gradient of a bias is the error itself. A trained constant
of an activation takes the error of the output of every unit that has it, times the derivative of
that output with respect to the constant. A formula is walked gate by gate, one unit at a time. All
numbers are Python floats; the factors of the products are rounded as the network's matmul_precision
says. Rumelhart, Hinton & Williams, Nature 323, 1986.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import cos, erfc, exp, expm1, frexp, ldexp, log1p, pi, sin, sqrt, tanh
from operator import mul
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from .._checks import arguments as check
from .._network.layers import Layer
from .._types import Array
from ..activations import Activation
from ._formulas import SELU_ALPHA, SELU_LAMBDA, alpha_of
from ._losses import loss_options
from ._network import Network
from ._slow_losses import loss_slopes, loss_value

if TYPE_CHECKING:
    from ..gates import Trace


@dataclass
class SlowBackprop:
    """The results of `slow_backprop`.

    Attributes
    ----------
    z : list of array, shape (batch, n)
        Pre-activations of each layer.
    a : list of array, shape (batch, n)
        Activations of each layer.
    delta : list of array, shape (batch, n)
        Errors δ = ∂J_i/∂z of each layer.
    dW : list of array, shape (n_in, n_out)
        Gradients of the weights of each layer.
    db : list of array, shape (n_out,)
        Gradients of the biases of each layer.
    dconstants : list of dict
        Gradients of the trained constants of each layer by name: arrays (1,), or (n_out,).
    J : float
        The cost.
    """

    z: list[Array]
    a: list[Array]
    delta: list[Array]
    dW: list[Array]
    db: list[Array]
    dconstants: list[dict[str, Array]]
    J: float


def slow_backprop(net: Network, X: object, y: object, sample_weight: object = None) -> SlowBackprop:
    """Run the forward and backward pass of a reference Network in loops.

    Parameters
    ----------
    net : Network
        A network of plain layers. It does not change.
    X : array-like, shape (batch, n_0)
        Inputs.
    y : array-like, shape (batch,) or (batch, n_L)
        Targets, as for `Network.backward`.
    sample_weight : array-like or None, shape (batch,), default None
        Weights of the samples.

    Returns
    -------
    SlowBackprop
        Activities, errors, gradients and cost.

    Raises
    ------
    TypeError, ValueError
        If an argument does not fit the network, or the network has a layer with a norm, dropout or
        residual, or a loss of pairs.

    Examples
    --------
    >>> from fastbp.reference import Network
    >>> slow_backprop(Network((2, 3, 1), seed=0), [[1.0, 2.0]], [[0.5]]).dW[0].shape
    (2, 3)
    """
    if not net.is_plain:
        raise ValueError(f"slow_backprop needs plain layers, as in Network(widths, …); got {net!r}")
    samples = _samples(net, X, y, sample_weight)
    S = sum(sample.weight for sample in samples)
    W = [layer.W.tolist() for layer in net.layers]
    b = [layer.parameters()["b"].tolist() for layer in net.layers]
    units = [_units(layer) for layer in net.layers]
    dW = [[[0.0] * n_out for _ in range(n_in)] for n_in, n_out in pairwise(net.widths)]
    db = [[0.0] * n_out for n_out in net.widths[1:]]
    dc = [{name: [0.0] * view.size for name, view in each.constants.items()} for each in net.layers]
    eps = float(np.finfo(net.dtype).eps)
    paired = net.criterion.pairs_with(net.activations[-1])
    multiply = _MULTIPLY[net.matmul_precision]
    J = 0.0
    zs, as_, deltas = [], [], []
    for sample in samples:
        z, a = _forward(units, W, b, sample.x, multiply)
        J += sample.s * loss_value(net.criterion, paired, z[-1], a[-1], sample.y, eps) / S
        top, of_output = _output_error(net, units[-1], z[-1], a[-1], sample.y, eps)
        delta, of_outputs = _backward(units, W, z, top, of_output, multiply)
        for layer in range(len(W)):
            below = a[layer - 1] if layer > 0 else sample.x
            for k in range(len(b[layer])):
                db[layer][k] += sample.s * delta[layer][k] / S
                for j in range(len(below)):
                    dW[layer][j][k] += multiply(below[j], sample.s * delta[layer][k]) / S
                for name, total in dc[layer].items():
                    slope = _constant_slope(units[layer][k], name, z[layer][k])
                    total[k % len(total)] += sample.s * of_outputs[layer][k] * slope / S
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
        dconstants=[{name: np.array(total) for name, total in each.items()} for each in dc],
        J=J,
    )


class _Sample(NamedTuple):
    """One sample: inputs, targets, its factor s in J, and its weight in S."""

    x: list[float]
    y: list[float]
    s: float
    weight: float


def _samples(net: Network, X: object, y: object, sample_weight: object) -> list[_Sample]:
    """The checked samples; class indices become rows of 0 and 1."""
    float64 = np.dtype(np.float64)
    rows = check.as_matrix(X, net.widths[0], float64).tolist()
    kind, targets = check.as_targets(y, net.criterion, len(rows), net.widths[-1], float64)
    if targets is None:
        raise ValueError(
            f"slow_backprop does not support {net.criterion}, whose samples are pairs of rows"
        )
    if net.criterion.ignore_nan and np.isnan(targets).any():
        raise ValueError("slow_backprop takes complete targets; y has NaN")
    weights = check.as_weights(sample_weight, len(rows), float64)
    s = [1.0] * len(rows) if weights is None else weights.tolist()
    if kind != "labels":
        return [_Sample(*sample) for sample in zip(rows, targets.tolist(), s, s, strict=True)]
    K, class_weight = net.widths[-1], loss_options(net.criterion).get("class_weight")
    labels = targets.tolist()
    counts = [class_weight[label % len(class_weight)] if class_weight else 1.0 for label in labels]
    return [
        _Sample(rows[i], [float(k == labels[i]) for k in range(K)], s[i], s[i] * counts[i])
        for i in range(len(rows))
    ]


# ---- passes -------------------------------------------------------------------------------

Matrix: TypeAlias = list[list[float]]
Multiply: TypeAlias = Callable[[float, float], float]


class _Unit(NamedTuple):
    """The activation of one unit, with the values of its trained constants."""

    activation: Activation
    constants: dict[str, float]


def _units(layer: Layer) -> list[_Unit]:
    constants = {name: view.tolist() for name, view in layer.constants.items()}
    return [
        _Unit(layer.activation, {name: each[k % len(each)] for name, each in constants.items()})
        for k in range(layer.W.shape[1])
    ]


def _forward(
    units: Sequence[Sequence[_Unit]],
    W: list[Matrix],
    b: Matrix,
    x: list[float],
    multiply: Multiply,
) -> tuple[Matrix, Matrix]:
    """z and a of each layer for one sample."""
    z: Matrix = []
    a: Matrix = []
    below = x
    for layer in range(len(W)):
        z.append(
            [
                b[layer][k] + sum(multiply(below[j], W[layer][j][k]) for j in range(len(below)))
                for k in range(len(b[layer]))
            ]
        )
        a.append(_activate(units[layer], z[layer]))
        below = a[layer]
    return z, a


def _backward(
    units: Sequence[Sequence[_Unit]],
    W: list[Matrix],
    z: Matrix,
    top_error: list[float],
    output_error: list[float],
    multiply: Multiply,
) -> tuple[Matrix, Matrix]:
    """δ of each layer for one sample, from the output layer down, and ∂J_i/∂a of each layer."""
    delta, of_outputs = [top_error], [output_error]
    for layer in range(len(z) - 2, -1, -1):
        above = delta[0]
        g = [
            sum(multiply(above[k], W[layer + 1][j][k]) for k in range(len(above)))
            for j in range(len(z[layer]))
        ]
        of_outputs.insert(0, g)
        delta.insert(0, [_derivative(units[layer][j], z[layer][j]) * g[j] for j in range(len(g))])
    return delta, of_outputs


def _penalise(net: Network, W: list[Matrix], dW: list[Matrix]) -> float:
    """Return the penalties of J, which apply to weights only, and add their gradients to dW."""
    total = 0.0
    for layer in range(len(W)):
        for j in range(len(W[layer])):
            for k, w in enumerate(W[layer][j]):
                total += net.l1 * abs(w) + net.l2 / 2 * w * w
                dW[layer][j][k] += net.l1 * ((w > 0) - (w < 0)) + net.l2 * w
    return total


def _activate(units: Sequence[_Unit], z: list[float]) -> list[float]:
    if units[0].activation.name == "softmax":
        top = max(z)
        total = sum(exp(z_k - top) for z_k in z)
        return [exp(z_k - top) / total for z_k in z]
    return [_output(unit, z_k) for unit, z_k in zip(units, z, strict=True)]


def _output(unit: _Unit, z: float) -> float:
    """a of one unit."""
    match unit.activation.name:
        case "prelu":
            return z if z > 0 else unit.constants["alpha"] * z
        case "formula":
            return float(_walk(unit, z).value)
    return _value(unit.activation, z)


def _derivative(unit: _Unit, z: float) -> float:
    """∂a/∂z of one unit."""
    match unit.activation.name:
        case "prelu":
            return 1.0 if z > 0 else unit.constants["alpha"]
        case "formula":
            return float(_walk(unit, z).gradient()["z"])
    return _slope(unit.activation, z)


def _constant_slope(unit: _Unit, name: str, z: float) -> float:
    """∂a/∂c of one unit for the trained constant c of this name."""
    if unit.activation.name == "prelu":
        return min(z, 0.0)
    return float(_walk(unit, z).gradient()[name])


def _walk(unit: _Unit, z: float) -> Trace:
    """All gates of a formula, as the user wrote it, with numbers."""
    formula = unit.activation.formula
    if formula is None:
        raise ValueError(f"{unit.activation} is no formula")
    return formula.gate.trace(z=z, **unit.constants)


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
            return z if z > 0 else alpha_of(activation) * z
        case "elu":
            return z if z > 0 else alpha_of(activation) * expm1(z)
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
    raise ValueError(f"slow_backprop does not support the activation {activation}")


def _slope(activation: Activation, z: float) -> float:
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
            return 1.0 if z > 0 else alpha_of(activation)
        case "elu":
            return 1.0 if z > 0 else alpha_of(activation) * exp(z)
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
    raise ValueError(f"slow_backprop does not support the activation {activation}")


# ---- products -----------------------------------------------------------------------------


def _bf16(x: float) -> float:
    """A finite x with 8 significant bits; Python rounds ties to even."""
    mantissa, exponent = frexp(x)
    return ldexp(round(mantissa * 256), exponent - 8)


def _medium(x: float, w: float) -> float:
    return _bf16(x) * _bf16(w)


def _high(x: float, w: float) -> float:
    x_hi, w_hi = _bf16(x), _bf16(w)
    return x_hi * w_hi + x_hi * _bf16(w - w_hi) + _bf16(x - x_hi) * w_hi


_MULTIPLY: dict[str, Multiply] = {"highest": mul, "high": _high, "medium": _medium}


# ---- output layer -------------------------------------------------------------------------


def _output_error(
    net: Network,
    units: Sequence[_Unit],
    z: list[float],
    a: list[float],
    y: list[float],
    eps: float,
) -> tuple[list[float], list[float]]:
    """δ of the output layer and ∂J_i/∂a for one sample; no trained constant reads that of pairs."""
    K = len(a)
    output = net.activations[-1]
    paired = net.criterion.pairs_with(output)
    if paired and str(net.criterion) in ("cross_entropy", "binary_cross_entropy"):
        return [a[k] - y[k] for k in range(K)], []
    g = loss_slopes(net.criterion, paired, z, a, y, eps)
    if output.name == "softmax":
        return [sum(g[j] * a[j] * ((j == k) - a[k]) for j in range(K)) for k in range(K)], g
    return [g[k] * _derivative(units[k], z[k]) for k in range(K)], g


# ---- helpers ------------------------------------------------------------------------------


def _by_layer(samples: list[Matrix]) -> list[Array]:
    return [np.array(rows) for rows in zip(*samples, strict=True)]
