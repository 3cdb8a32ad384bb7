"""Activations and the operations of formulas as nodes of ONNX, in float32 and float64.

ONNX Runtime has some operators only for float32. Of those, arctan is computed in float32 and then
corrected, the others follow from operators that it has, and erf stays in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ._formulas import emit, simplified
from ._onnx_graph import DOUBLE, FLOAT, Graph

if TYPE_CHECKING:
    from .._network.layers import Layer
    from ..gates._graph import Node

_Term = str | float  # the name of a value, or a number


# ---- functions ----------------------------------------------------------------------------


def _expm1(g: Graph, x: _Term) -> str:
    """e^x − 1 without cancellation, as tanh(x/2) (e^x + 1)."""
    return g("Mul", g("Tanh", g("Mul", x, 0.5)), g("Add", g("Exp", x), 1.0))


def _log1p(g: Graph, x: _Term) -> str:
    """log(1 + x), with u = 1 + x as log(u) · x/(u − 1), in which the rounding of u cancels.

    x/(u − 1) is left out where it is 1, also for infinite x; x is the result where u is 1. The
    method is that of W. Kahan (Goldberg, ACM Computing Surveys 23, 1991, theorem 4).
    """
    u = g("Add", x, 1.0)
    above = g("Sub", u, 1.0)
    ratio = g("Where", g("Equal", above, x), 1.0, g("Div", x, above))
    return g("Where", g("Equal", above, 0.0), x, g("Mul", g("Log", u), ratio))


def _softplus(g: Graph, x: _Term) -> str:
    """max(x, 0) + log(1 + e^{−|x|}); in float64, ONNX Runtime's own is infinite for large x."""
    if _single(g):
        return g("Softplus", x)
    return g("Add", g("Max", x, 0.0), _log1p(g, g("Exp", g("Neg", g("Abs", x)))))


def _gelu_tanh(g: Graph, x: _Term) -> str:
    cubic = g("Add", g("Mul", g("Mul", x, x), 0.044715), 1.0)
    inner = g("Mul", g("Mul", x, 1.5957691216057308), cubic)
    return g("Mul", x, g("Sigmoid", inner))


def _tan(g: Graph, x: _Term) -> str:
    return g("Tan", x) if _single(g) else g("Div", g("Sin", x), g("Cos", x))


def _arctan(g: Graph, x: _Term) -> str:
    """arctan x = ±π/2 − arctan(1/x) for |x| > 1, and y + tan(arctan x − y) for a y close to it."""
    if _single(g):
        return g("Atan", x)
    large = g("Less", 1.0, g("Abs", x))
    t = g("Where", large, g("Reciprocal", x), x)
    y = g("Cast", g("Atan", g("Cast", t, to=FLOAT)), to=DOUBLE)
    sin, cos = g("Sin", y), g("Cos", y)
    above = g("Sub", g("Mul", t, cos), sin)
    y = g("Add", y, g("Div", above, g("Add", cos, g("Mul", t, sin))))
    return g("Where", large, g("Sub", g("Mul", g("Sign", x), math.pi / 2), y), y)


def _arcsin(g: Graph, x: _Term) -> str:
    """arctan(x/√((1 − x)(1 + x)))"""
    if _single(g):
        return g("Asin", x)
    root = g("Sqrt", g("Mul", g("Sub", 1.0, x), g("Add", 1.0, x)))
    return _arctan(g, g("Div", x, root))


def _arccos(g: Graph, x: _Term) -> str:
    """2 arctan √((1 − x)/(1 + x))"""
    if _single(g):
        return g("Acos", x)
    root = g("Sqrt", g("Div", g("Sub", 1.0, x), g("Add", 1.0, x)))
    return g("Mul", _arctan(g, root), 2.0)


def _sinh(g: Graph, x: _Term) -> str:
    """tanh x · cosh x, which does not cancel near 0"""
    return g("Sinh", x) if _single(g) else g("Mul", g("Tanh", x), _cosh(g, x))


def _cosh(g: Graph, x: _Term) -> str:
    if _single(g):
        return g("Cosh", x)
    return g("Mul", g("Add", g("Exp", x), g("Exp", g("Neg", x))), 0.5)


def _single(g: Graph) -> bool:
    return bool(g.dtype == np.float32)


def _operator(name: str) -> Callable[..., str]:
    return lambda g, *operands: g(name, *operands)


# operation of fastbp.gates: (graph, operands) -> the name of the result
OPERATIONS: dict[str, Callable[..., str]] = {
    "add": _operator("Add"),
    "sub": _operator("Sub"),
    "mul": _operator("Mul"),
    "div": _operator("Div"),
    "pow": _operator("Pow"),
    "neg": _operator("Neg"),
    "exp": _operator("Exp"),
    "expm1": _expm1,
    "log": _operator("Log"),
    "log1p": _log1p,
    "sqrt": _operator("Sqrt"),
    "square": lambda g, x: g("Mul", x, x),
    "reciprocal": _operator("Reciprocal"),
    "abs": _operator("Abs"),
    "sin": _operator("Sin"),
    "cos": _operator("Cos"),
    "tan": _tan,
    "arcsin": _arcsin,
    "arccos": _arccos,
    "arctan": _arctan,
    "sinh": _sinh,
    "cosh": _cosh,
    "tanh": _operator("Tanh"),
    "sigmoid": _operator("Sigmoid"),
    "softplus": _softplus,
    "silu": lambda g, x: g("Mul", x, g("Sigmoid", x)),
    "mish": lambda g, x: g("Mul", x, g("Tanh", _softplus(g, x))),
    "gelu_tanh": _gelu_tanh,
    "relu": _operator("Relu"),
    "maximum": _operator("Max"),
    "minimum": _operator("Min"),
    "where": _operator("Where"),
    "less": _operator("Less"),
    "less_equal": _operator("LessOrEqual"),
    "equal": _operator("Equal"),
}


# ---- activations --------------------------------------------------------------------------


def _piecewise(g: Graph, z: str, negative: str, positive: str) -> str:
    return g("Where", g("Less", z, 0.0), negative, positive)


def _elu(g: Graph, z: str, alpha: float, scale: float = 1.0) -> str:
    below = g("Mul", _expm1(g, g("Min", z, 0.0)), alpha * scale)
    above = z if scale == 1.0 else g("Mul", z, scale)
    return _piecewise(g, z, below, above)


def _gelu(g: Graph, z: str) -> str:
    """z Φ(z)"""
    erf = g("Erf", g("Cast", g("Mul", z, 0.7071067811865476), to=FLOAT))
    share = g("Add", g("Cast", erf, to=FLOAT if _single(g) else DOUBLE), 1.0)
    return g("Mul", g("Mul", z, 0.5), share)


def _as_operation(name: str) -> Callable[[Graph, str, float], str]:
    return lambda g, z, _: OPERATIONS[name](g, z)


ACTIVATIONS: dict[str, Callable[[Graph, str, float], str]] = {
    "identity": lambda g, z, _: z,
    "sigmoid": _as_operation("sigmoid"),
    "tanh": _as_operation("tanh"),
    "relu": _as_operation("relu"),
    "leaky_relu": lambda g, z, alpha: _piecewise(g, z, g("Mul", z, alpha), z),
    "elu": _elu,
    "softplus": _as_operation("softplus"),
    "selu": lambda g, z, _: _elu(g, z, 1.6732632423543772, 1.0507009873554805),
    "relu6": lambda g, z, _: g("Min", g("Max", z, 0.0), 6.0),
    "hard_tanh": lambda g, z, _: g("Min", g("Max", z, -1.0), 1.0),
    "hard_sigmoid": lambda g, z, _: g("Min", g("Max", g("Add", g("Div", z, 6.0), 0.5), 0.0), 1.0),
    "softsign": lambda g, z, _: g("Div", z, g("Add", g("Abs", z), 1.0)),
    "exp": _as_operation("exp"),
    "silu": _as_operation("silu"),
    "gelu": lambda g, z, _: _gelu(g, z),
    "gelu_tanh": _as_operation("gelu_tanh"),
    "mish": _as_operation("mish"),
    "sin": _as_operation("sin"),
    "softmax": lambda g, z, _: g("Softmax", z, axis=-1),
}


def emit_activation(g: Graph, layer: Layer, z: str) -> str:
    """Add nodes for σ(z) of a layer; return the name of their output."""
    activation = layer.activation
    if activation.formula is None:
        return ACTIVATIONS[activation.name](g, z, activation.alpha or 0.0)
    names = {name: g.array(values, name) for name, values in layer.constants.items()}
    if activation.name == "prelu":
        return g("PRelu", z, names["alpha"])
    return _formula(g, activation.formula.merged_gate, z, names)


def _formula(g: Graph, gate: Node, z: str, names: dict[str, str]) -> str:
    gate = simplified(gate)

    def apply(each: Node, operands: Sequence[_Term]) -> _Term:
        return OPERATIONS[each.operation](g, *operands)

    leaves: dict[str, _Term] = {"z": z, **names}
    out = emit(gate, leaves, float, apply)
    if "z" in gate.inputs:
        return str(out)
    return g("Expand", out, g("Shape", z))
