"""Activations with their derivatives, and their use in layers and outputs.

docs/activations.md has a table of the formulas and their sources.

Rows are samples. Each activation has three functions. `value(z, alpha)` returns a. `backward(g, z,
a, alpha)` returns ∂J/∂z from g = ∂J/∂a; this is g ⊙ σ'(z) if σ acts on single elements.
`bend(z, a, alpha)` returns σ''(z).

Activations without a kink, except gelu, also accept complex z with an infinitesimal imaginary part,
for complex-step derivatives.

An activation that is a formula of `fastbp.gates` is evaluated from its graphs. Its trained
constants are arrays (1,), or (n,) with one number for each unit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from typing import NamedTuple, ParamSpec, TypeVar

import numpy as np

from .._types import Array
from ..activations import Activation
from ..losses import CustomLoss, FormulaLoss, Loss
from ._losses import FROM_LOGITS, LOSSES, loss_options
from ._losses import magnitude as _magnitude
from ._losses import positive_part as _positive_part
from ._losses import row_max as _row_max

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

SELU_LAMBDA = 1.0507009873554804934193349852946
SELU_ALPHA = 1.6732632423543772848170429916717


# ---- activations --------------------------------------------------------------------------


def straight(z: Array, a: Array, alpha: float) -> Array:
    """σ'' of activations that are linear between their kinks."""
    return np.zeros_like(z)


def identity(z: Array, alpha: float) -> Array:
    return z.copy()


def identity_backward(g: Array, z: Array, a: Array, alpha: float) -> Array:
    return g.copy()


def sigmoid(z: Array, alpha: float) -> Array:
    e = np.exp(-_magnitude(z))
    return np.where(z.real < 0, e, 1) / (1 + e)


def sigmoid_backward(g: Array, z: Array, a: Array, alpha: float) -> Array:
    return g * a * (1 - a)


def sigmoid_bend(z: Array, a: Array, alpha: float) -> Array:
    return a * (1 - a) * (1 - 2 * a)


def tanh(z: Array, alpha: float) -> Array:
    return np.tanh(z)


def tanh_backward(g: Array, z: Array, a: Array, alpha: float) -> Array:
    return g * (1 - a) * (1 + a)


def tanh_bend(z: Array, a: Array, alpha: float) -> Array:
    return -2 * a * (1 - a) * (1 + a)


def relu(z: Array, alpha: float) -> Array:
    return np.maximum(z, 0)


def relu_backward(g: Array, z: Array, a: Array, alpha: float) -> Array:
    return np.where(z > 0, g, 0)


def leaky_relu(z: Array, alpha: float) -> Array:
    return np.where(z > 0, z, alpha * z)


def leaky_relu_backward(g: Array, z: Array, a: Array, alpha: float) -> Array:
    return np.where(z > 0, g, alpha * g)


def elu(z: Array, alpha: float) -> Array:
    return np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0)))


def elu_backward(g: Array, z: Array, a: Array, alpha: float) -> Array:
    return np.where(z > 0, g, g * alpha * np.exp(np.minimum(z, 0)))


def elu_bend(z: Array, a: Array, alpha: float) -> Array:
    return np.where(z > 0, 0, alpha * np.exp(np.minimum(z, 0)))


def softplus(z: Array, alpha: float) -> Array:
    return _positive_part(z) + np.log1p(np.exp(-_magnitude(z)))


def softplus_backward(g: Array, z: Array, a: Array, alpha: float) -> Array:
    return g * sigmoid(z, alpha)


def softplus_bend(z: Array, a: Array, alpha: float) -> Array:
    s = sigmoid(z, alpha)
    return s * (1 - s)


def selu(z: Array, alpha: float) -> Array:
    return SELU_LAMBDA * elu(z, SELU_ALPHA)


def selu_backward(g: Array, z: Array, a: Array, alpha: float) -> Array:
    return SELU_LAMBDA * elu_backward(g, z, a, SELU_ALPHA)


def selu_bend(z: Array, a: Array, alpha: float) -> Array:
    return SELU_LAMBDA * elu_bend(z, a, SELU_ALPHA)


def relu6(z: Array, alpha: float) -> Array:
    return np.minimum(np.maximum(z, 0), 6)


def relu6_backward(g: Array, z: Array, a: Array, alpha: float) -> Array:
    return np.where((z > 0) & (z < 6), g, 0)


def hard_tanh(z: Array, alpha: float) -> Array:
    return np.minimum(np.maximum(z, -1), 1)


def hard_tanh_backward(g: Array, z: Array, a: Array, alpha: float) -> Array:
    return np.where(abs(z) < 1, g, 0)


def hard_sigmoid(z: Array, alpha: float) -> Array:
    return relu6(z + 3, alpha) / 6


def hard_sigmoid_backward(g: Array, z: Array, a: Array, alpha: float) -> Array:
    return np.where(abs(z) < 3, g / 6, 0)


def softsign(z: Array, alpha: float) -> Array:
    return np.where(np.isinf(z), np.sign(z.real), z / (1 + _magnitude(z)))


def softsign_backward(g: Array, z: Array, a: Array, alpha: float) -> Array:
    return g / (1 + abs(z)) ** 2


def softsign_bend(z: Array, a: Array, alpha: float) -> Array:
    return -2 * np.sign(z) / (1 + abs(z)) ** 3


def exp(z: Array, alpha: float) -> Array:
    return np.exp(z)


def exp_backward(g: Array, z: Array, a: Array, alpha: float) -> Array:
    return g * a


def exp_bend(z: Array, a: Array, alpha: float) -> Array:
    return a


def silu(z: Array, alpha: float) -> Array:
    return _gated(z, sigmoid(z, alpha))


def silu_backward(g: Array, z: Array, a: Array, alpha: float) -> Array:
    return g * (sigmoid(z, alpha) + _gated(silu(z, alpha), sigmoid(-z, alpha)))


def silu_bend(z: Array, a: Array, alpha: float) -> Array:
    s = sigmoid(z, alpha)
    return s * (1 - s) * (2 + z * (1 - 2 * s))


def gelu(z: Array, alpha: float) -> Array:
    return _gated(z, _normal(z))


def gelu_backward(g: Array, z: Array, a: Array, alpha: float) -> Array:
    return g * (_normal(z) + _gated(z, np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)))


def gelu_bend(z: Array, a: Array, alpha: float) -> Array:
    return np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * (2 - z**2)


def gelu_tanh(z: Array, alpha: float) -> Array:
    return _gated(z, sigmoid(_cubic(z), alpha))


def gelu_tanh_backward(g: Array, z: Array, a: Array, alpha: float) -> Array:
    s, rest = sigmoid(_cubic(z), alpha), sigmoid(-_cubic(z), alpha)
    steepness = math.sqrt(8 / math.pi) * (z + 3 * 0.044715 * z**3)
    return g * (s + _gated(steepness, s * rest))


def gelu_tanh_bend(z: Array, a: Array, alpha: float) -> Array:
    """The second derivative of z s(v): s (1 − s) (2v' + z (v'' + v'² (1 − 2s)))."""
    c = math.sqrt(8 / math.pi)
    s = sigmoid(_cubic(z), alpha)
    dv, ddv = c * (1 + 3 * 0.044715 * z**2), c * 6 * 0.044715 * z
    return s * (1 - s) * (2 * dv + z * (ddv + dv**2 * (1 - 2 * s)))


def mish(z: Array, alpha: float) -> Array:
    return _gated(z, np.tanh(softplus(z, alpha)))


def mish_backward(g: Array, z: Array, a: Array, alpha: float) -> Array:
    t = np.tanh(softplus(z, alpha))
    return g * (t + _gated(z, (1 - t) * (1 + t) * sigmoid(z, alpha)))


def mish_bend(z: Array, a: Array, alpha: float) -> Array:
    t, s = np.tanh(softplus(z, alpha)), sigmoid(z, alpha)
    return (1 - t) * (1 + t) * s * (2 + z * (1 - s - 2 * t * s))


def sin(z: Array, alpha: float) -> Array:
    return np.sin(z)


def sin_backward(g: Array, z: Array, a: Array, alpha: float) -> Array:
    return g * np.cos(z)


def sin_bend(z: Array, a: Array, alpha: float) -> Array:
    return -a


def softmax(z: Array, alpha: float) -> Array:
    e = np.exp(z - _row_max(z))
    return e / e.sum(axis=1, keepdims=True)


def softmax_backward(g: Array, z: Array, a: Array, alpha: float) -> Array:
    """The product with the Jacobian ∂a_j/∂z_k = a_j ([j = k] − a_k)."""
    return a * (g - (g * a).sum(axis=1, keepdims=True))


class Formulas(NamedTuple):
    """The functions of an activation; `bend` is None if σ does not act on single elements."""

    value: Callable[[Array, float], Array]
    backward: Callable[[Array, Array, Array, float], Array]
    bend: Callable[[Array, Array, float], Array] | None


ACTIVATIONS: dict[str, Formulas] = {
    "identity": Formulas(identity, identity_backward, straight),
    "sigmoid": Formulas(sigmoid, sigmoid_backward, sigmoid_bend),
    "tanh": Formulas(tanh, tanh_backward, tanh_bend),
    "relu": Formulas(relu, relu_backward, straight),
    "leaky_relu": Formulas(leaky_relu, leaky_relu_backward, straight),
    "elu": Formulas(elu, elu_backward, elu_bend),
    "softplus": Formulas(softplus, softplus_backward, softplus_bend),
    "selu": Formulas(selu, selu_backward, selu_bend),
    "relu6": Formulas(relu6, relu6_backward, straight),
    "hard_tanh": Formulas(hard_tanh, hard_tanh_backward, straight),
    "hard_sigmoid": Formulas(hard_sigmoid, hard_sigmoid_backward, straight),
    "softsign": Formulas(softsign, softsign_backward, softsign_bend),
    "exp": Formulas(exp, exp_backward, exp_bend),
    "silu": Formulas(silu, silu_backward, silu_bend),
    "gelu": Formulas(gelu, gelu_backward, gelu_bend),
    "gelu_tanh": Formulas(gelu_tanh, gelu_tanh_backward, gelu_tanh_bend),
    "mish": Formulas(mish, mish_backward, mish_bend),
    "sin": Formulas(sin, sin_backward, sin_bend),
    "softmax": Formulas(softmax, softmax_backward, None),
}


# ---- layers and outputs -------------------------------------------------------------------


def alpha_of(activation: Activation) -> float:
    """The parameter of an activation; 0 for activations without one, which ignore it."""
    return 0.0 if activation.alpha is None else activation.alpha


def constants_of(activation: Activation, parameters: Mapping[str, Array]) -> list[Array]:
    """The trained constants of an activation among the parameters of its layer."""
    return [parameters[name] for name in activation.constants]


def activate(activation: Activation, z: Array, constants: Sequence[Array] = ()) -> Array:
    """a = σ(z), (batch, n).

    >>> activate(Activation("relu"), np.array([[-1.0, 2.0]]))
    array([[0., 2.]])
    """
    if activation.formula is not None:
        return activation.formula.value(z, constants)
    return ACTIVATIONS[activation.name].value(z, alpha_of(activation))


def slopes(
    activation: Activation, g: Array, z: Array, a: Array, constants: Sequence[Array] = ()
) -> list[Array]:
    """[∂J/∂z = g ⊙ σ'(z), g ⊙ ∂σ/∂c for each trained constant c] from g = ∂J/∂a, (batch, n)."""
    if activation.formula is not None:
        return activation.formula.slope(z, constants, g)
    return [ACTIVATIONS[activation.name].backward(g, z, a, alpha_of(activation))]


def pull_back(
    activation: Activation, g: Array, z: Array, a: Array, constants: Sequence[Array] = ()
) -> Array:
    """∂J/∂z = g ⊙ σ'(z) from g = ∂J/∂a, (batch, n)."""
    return slopes(activation, g, z, a, constants)[0]


def sample_losses(loss: Loss, output: Activation, z: Array, a: Array, y: Array | None) -> Array:
    """J_i of every sample, (batch,), from z and a of the output layer; y is None for pairs."""
    if not loss.ignore_nan or y is None:
        return _sample_losses(loss, output, z, a, y)
    total = np.zeros(len(y), a.dtype)
    for own, at, known, y_j in targets_of(loss, y):
        total += np.where(known, _sample_losses(own, output, z[:, at], a[:, at], y_j), 0)
    return total if loss.entry.summed else total / y.shape[1]


def targets_of(loss: Loss, y: Array) -> Iterator[tuple[Loss, Array, Array, Array]]:
    """Every target of a loss with ignore_nan, as if it were the only one.

    (The loss of this target, the numbers of its outputs, in which rows it is known, its column with
    0 where it is not.)
    """
    for j in range(y.shape[1]):
        options = loss.options
        weights = options.get("pos_weight")
        if isinstance(weights, tuple) and len(weights) > 1:
            options |= {"pos_weight": weights[j : j + 1]}
        known = ~np.isnan(y[:, j])
        column = np.where(known, y[:, j], 0)[:, None].astype(y.dtype)
        yield Loss(loss.name, **options), loss.outputs_of(j, y.shape[1]), known, column


def by_target(loss: Loss, y: Array, n_out: int, slope: Callable[..., Array]) -> Array:
    """slope(loss, outputs, targets) of every target in the columns of its outputs, 0 where NaN."""
    found = np.zeros((len(y), n_out), y.dtype)
    for own, at, known, y_j in targets_of(loss, y):
        found[:, at] = np.where(known[:, None], slope(own, at, y_j), 0)
    return found if loss.entry.summed else found / y.shape[1]


def _sample_losses(loss: Loss, output: Activation, z: Array, a: Array, y: Array | None) -> Array:
    if loss.pairs_with(output):
        value, _ = FROM_LOGITS[loss.name]
        return value(z, y, **loss_options(loss))
    if isinstance(loss, CustomLoss) and y is not None:
        return loss.evaluate(a, y)[0]
    if isinstance(loss, FormulaLoss) and y is not None:
        return loss.formula.value(a, y)
    value, _ = LOSSES[loss.name]
    return value(a, y, **loss_options(loss))


def output_slopes(
    loss: Loss,
    output: Activation,
    z: Array,
    a: Array,
    y: Array | None,
    constants: Sequence[Array] = (),
) -> list[Array]:
    """[δ^L = ∂J_i/∂z^L, ∂J_i/∂a^L ⊙ ∂σ/∂c for each trained constant c], (batch, n_L).

    If the loss is paired with the output activation, δ^L is computed from the logits, for example
    as a − y. Otherwise it is ∂J_i/∂a ⊙ σ'(z).
    """
    if loss.pairs_with(output):
        _, delta = FROM_LOGITS[loss.name]
        if loss.ignore_nan and y is not None:

            def of_target(own: Loss, at: Array, y_j: Array) -> Array:
                return delta(z[:, at], a[:, at], y_j, **loss_options(own))

            return [by_target(loss, y, a.shape[1], of_target)]
        return [delta(z, a, y, **loss_options(loss))]
    return slopes(output, loss_gradient(loss, a, y), z, a, constants)


def loss_gradient(loss: Loss, a: Array, y: Array | None) -> Array:
    """∂J_i/∂a^L, (batch, n_L), of a loss that is defined on outputs."""
    if loss.ignore_nan and y is not None:
        return by_target(
            loss, y, a.shape[1], lambda own, at, y_j: loss_gradient(own, a[:, at], y_j)
        )
    if isinstance(loss, CustomLoss) and y is not None:
        return loss.evaluate(a, y)[1]
    if isinstance(loss, FormulaLoss) and y is not None:
        return loss.formula.gradient(a, y)
    _, gradient = LOSSES[loss.name]
    return gradient(a, y, **loss_options(loss))


# ---- helpers ------------------------------------------------------------------------------


def _gated(z: Array, gate: Array) -> Array:
    """z ⊙ gate; the result is 0 where the gate is 0, even if z is infinite."""
    return np.where(gate == 0, 0, z * gate)


def _normal(z: Array) -> Array:
    """Φ(z), the distribution function of the standard normal distribution, in the dtype of z."""
    return (_erfc(-z / math.sqrt(2)) / 2).astype(z.dtype)


_erfc = np.vectorize(math.erfc, otypes=[np.float64])


def _cubic(z: Array) -> Array:
    """v with 1 + tanh(v/2) = 2 sigmoid(v), the inner function of gelu_tanh."""
    return math.sqrt(8 / math.pi) * (z + 0.044715 * z**3)


def quiet(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Compute with infinities and NaN without NumPy's warnings, as the engine does."""

    @wraps(function)
    def silenced(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        with np.errstate(over="ignore", invalid="ignore"):
            return function(*args, **kwargs)

    return silenced
