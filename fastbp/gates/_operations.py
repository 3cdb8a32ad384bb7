"""The table of operations: how each computes its value, and its local partials.

A local partial is the derivative of an operation with respect to one operand, the others fixed. It
is written once, for numbers and for graphs: a function of `f`, the value of the operation and its
operands, where `f.exp(x)` and the like compute either a number or a gate.

All values are float64 or complex128: NumPy scalars or arrays. NaN propagates. Complex values are
for complex steps, so operations with kinks compare the real parts first.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal, TypeAlias

import numpy as np

Kind: TypeAlias = Literal["elementwise", "reduction", "row", "shape"]
Partial: TypeAlias = Callable[..., Any]


@dataclass(frozen=True)
class Operation:
    """What the package knows of an operation.

    Attributes
    ----------
    arity : int
        The number of operands.
    value : callable
        The values of the operands → the value.
    partials : tuple of callables or None
        One local partial per operand, (f, value, *operands) → ∂value/∂operand. None means that it
        is 0 everywhere. For kind "row", (f, g, value, *operands) → g times the Jacobian matrix.
    kind : str
        "elementwise"; "reduction", from the outputs of a row to one number; "row", from the outputs
        of a row to as many; "shape", sum_like and broadcast_like.
    formula : callable or None
        (f, operand) → the same in other operations, for those whose value is computed so.
    """

    arity: int
    value: Callable[..., Any]
    partials: tuple[Partial | None, ...]
    kind: Kind = "elementwise"
    formula: Callable[..., Any] | None = None


# ---- values -------------------------------------------------------------------------------


def _abs(x: Any) -> Any:
    """|x|, and for complex x ±x, which is analytic on both sides of 0."""
    return abs(x) if x.dtype.kind == "f" else np.where(x < 0, -x, x)[()]


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))  # exp(-x) = inf gives the right 0


def _log1p(x: Any) -> Any:
    """ln(1 + x); that of NumPy errs by eps in the real part of a complex x, however small it is."""
    if x.dtype.kind == "f":
        return np.log1p(x)
    square = x.real * (2 + x.real) + np.square(x.imag)  # |1 + x|² − 1
    return 0.5 * np.log1p(square) + 1j * np.arctan2(x.imag, 1 + x.real)


def _softplus(x: Any) -> Any:
    return np.maximum(x, 0) + _log1p(np.exp(-_abs(x)))


def _where(condition: Any, x: Any, y: Any) -> Any:
    return np.where(condition != 0, x, y)[()]  # [()] makes a scalar of an array without axes


def _sum(x: Any) -> Any:
    return x.sum(axis=-1, keepdims=True) if x.ndim else x


def _mean(x: Any) -> Any:
    return x.mean(axis=-1, keepdims=True) if x.ndim else x


def _max(x: Any) -> Any:
    return x.max(axis=-1, keepdims=True) if x.ndim else x


def _finite_max(x: Any) -> Any:
    """The largest output of a row, or 0 if it is infinite."""
    largest = _max(x)
    return np.where(np.isfinite(largest), largest, 0.0)[()]


def _logsumexp(x: Any) -> Any:
    shift = _finite_max(x)
    return np.log(_sum(np.exp(x - shift))) + shift


def _softmax(x: Any) -> Any:
    powers = np.exp(x - _max(x))
    return powers / _sum(powers)


def fitted(g: Any, shape: tuple[int, ...]) -> Any:
    """`g` in another shape: summed over the axes that broadcasting would add, repeated on others.

    >>> fitted(np.ones((4, 3)), (3,))
    array([4., 4., 4.])
    >>> fitted(np.ones((4, 1)), (4, 2)).shape
    (4, 2)
    """
    if g.shape == shape:
        return g
    added = g.ndim - len(shape)
    if added > 0:
        g = g.sum(axis=tuple(range(added)))
    pairs = zip(range(-1, -1 - g.ndim, -1), reversed(g.shape), reversed(shape), strict=False)
    single = tuple(axis for axis, size, wanted in pairs if wanted == 1 and size != 1)
    if single:
        g = g.sum(axis=single, keepdims=True)
    return g if g.shape == shape else np.broadcast_to(g, shape)


def _sum_like(g: Any, x: Any) -> Any:
    return fitted(g, x.shape)


def _broadcast_like(g: Any, x: Any) -> Any:
    return np.broadcast_to(g, np.broadcast_shapes(np.shape(g), x.shape))[()]


# ---- formulas of values and partials ------------------------------------------------------

_GELU_SCALE, _GELU_CUBE = float(np.sqrt(2 / np.pi)), 0.044715


def _silu(f: Any, x: Any) -> Any:
    return x * f.sigmoid(x)


def _silu_slope(f: Any, x: Any) -> Any:
    s = f.sigmoid(x)
    return s * (1 + x * (1 - s))


def _silu_curvature(f: Any, out: Any, x: Any) -> Any:
    s = f.sigmoid(x)
    return s * (1 - s) * (2 + x * (1 - 2 * s))


def _mish(f: Any, x: Any) -> Any:
    return x * f.tanh(f.softplus(x))


def _mish_slope(f: Any, x: Any) -> Any:
    t = f.tanh(f.softplus(x))
    return t + x * ((1 - f.square(t)) * f.sigmoid(x))


def _mish_curvature(f: Any, out: Any, x: Any) -> Any:
    t, s = f.tanh(f.softplus(x)), f.sigmoid(x)
    u = (1 - f.square(t)) * s  # dt/dx
    return u * (2 + x * (1 - s - 2 * (t * s)))


def _gelu_gate(f: Any, x: Any) -> tuple[Any, Any, Any]:
    """(s, q, d): the sigmoid s that gelu multiplies x by, x², and the slope of its argument.

    (1 + tanh v)/2 is the sigmoid of 2 v, which is exact to rounding also where it is near 0.
    """
    q = f.square(x)
    s = f.sigmoid(2 * _GELU_SCALE * (x * (1 + _GELU_CUBE * q)))
    return s, q, 2 * _GELU_SCALE * (1 + 3 * _GELU_CUBE * q)


def _gelu_tanh(f: Any, x: Any) -> Any:
    return x * _gelu_gate(f, x)[0]


def _gelu_tanh_slope(f: Any, x: Any) -> Any:
    s, _, d = _gelu_gate(f, x)
    return s + x * (s * (1 - s) * d)


def _gelu_tanh_curvature(f: Any, out: Any, x: Any) -> Any:
    s, q, d = _gelu_gate(f, x)
    bend = 12 * _GELU_SCALE * _GELU_CUBE * q  # x times the slope of d
    return s * (1 - s) * (d * (2 + x * ((1 - 2 * s) * d)) + bend)


def _pow_base(f: Any, out: Any, x: Any, y: Any) -> Any:
    """y x^(y−1), and 0 for y = 0, also at x = 0."""
    return f.where(f.equal(y, 0), 0, y * x ** (y - 1))


def _pow_exponent(f: Any, out: Any, x: Any, y: Any) -> Any:
    """x^y ln x, and its limit 0 where x^y is 0."""
    return f.where(f.equal(out, 0), 0, out * f.log(x))


def _max_partial(f: Any, out: Any, x: Any) -> Any:
    """1 for an element larger than all others; 0 for all others, and for all at a tie."""
    largest = f.equal(x, out)
    return largest * f.equal(f.sum(largest), 1)


def _mean_partial(f: Any, out: Any, x: Any) -> Any:
    """1 over the number of outputs."""
    return f.reciprocal(f.sum(f.broadcast_like(1, x)))


def _softmax_product(f: Any, g: Any, out: Any, x: Any) -> Any:
    """The Jacobian matrix is diag(p) − p pᵀ."""
    return out * (g - f.sum(g * out))


# ---- the table ----------------------------------------------------------------------------


def _function(value: Callable[..., Any], partial: Partial | None) -> Operation:
    return Operation(1, value, (partial,))


def _condition(value: Callable[..., Any]) -> Operation:
    return Operation(2, lambda x, y: value(x, y) * 1.0, (None, None))


def _over_row(value: Callable[..., Any], partial: Partial) -> Operation:
    return Operation(1, value, (partial,), "reduction")


def _written(formula: Callable[..., Any], partial: Partial) -> Operation:
    """An operation whose value is a formula of other operations."""
    return Operation(1, lambda x: formula(values, x), (partial,), formula=formula)


OPERATIONS: dict[str, Operation] = {
    "add": Operation(2, operator.add, (lambda f, out, x, y: 1, lambda f, out, x, y: 1)),
    "sub": Operation(2, operator.sub, (lambda f, out, x, y: 1, lambda f, out, x, y: -1)),
    "mul": Operation(2, operator.mul, (lambda f, out, x, y: y, lambda f, out, x, y: x)),
    "div": Operation(
        2,
        operator.truediv,
        (lambda f, out, x, y: f.reciprocal(y), lambda f, out, x, y: -(out / y)),
    ),
    "pow": Operation(2, operator.pow, (_pow_base, _pow_exponent)),
    "neg": _function(operator.neg, lambda f, out, x: -1),
    # powers, exponentials and logarithms
    "exp": _function(np.exp, lambda f, out, x: out),
    "expm1": _function(np.expm1, lambda f, out, x: f.exp(x)),
    "log": _function(np.log, lambda f, out, x: f.reciprocal(x)),
    "log1p": _function(_log1p, lambda f, out, x: f.reciprocal(1 + x)),
    "sqrt": _function(np.sqrt, lambda f, out, x: 0.5 / out),
    "square": _function(np.square, lambda f, out, x: 2 * x),
    "reciprocal": _function(lambda x: 1 / x, lambda f, out, x: -f.square(out)),
    "abs": _function(_abs, lambda f, out, x: f.less(0, x) - f.less(x, 0)),
    # trigonometric and hyperbolic functions
    "sin": _function(np.sin, lambda f, out, x: f.cos(x)),
    "cos": _function(np.cos, lambda f, out, x: -f.sin(x)),
    "tan": _function(np.tan, lambda f, out, x: 1 + f.square(out)),
    "cot": _function(lambda x: 1 / np.tan(x), lambda f, out, x: -(1 + f.square(out))),
    "sec": _function(lambda x: 1 / np.cos(x), lambda f, out, x: out * f.tan(x)),
    "csc": _function(lambda x: 1 / np.sin(x), lambda f, out, x: -(out * f.cot(x))),
    "arcsin": _function(np.arcsin, lambda f, out, x: f.reciprocal(f.sqrt((1 - x) * (1 + x)))),
    "arccos": _function(np.arccos, lambda f, out, x: -f.reciprocal(f.sqrt((1 - x) * (1 + x)))),
    "arctan": _function(np.arctan, lambda f, out, x: f.reciprocal(1 + f.square(x))),
    "arccot": _function(
        lambda x: np.pi / 2 - np.arctan(x), lambda f, out, x: -f.reciprocal(1 + f.square(x))
    ),
    "sinh": _function(np.sinh, lambda f, out, x: f.cosh(x)),
    "cosh": _function(np.cosh, lambda f, out, x: f.sinh(x)),
    "tanh": _function(np.tanh, lambda f, out, x: 1 - f.square(out)),
    # activations
    "sigmoid": _function(_sigmoid, lambda f, out, x: out * (1 - out)),
    "softplus": _function(_softplus, lambda f, out, x: f.sigmoid(x)),
    "silu": _written(_silu, lambda f, out, x: f.silu_slope(x)),
    "mish": _written(_mish, lambda f, out, x: f.mish_slope(x)),
    "gelu_tanh": _written(_gelu_tanh, lambda f, out, x: f.gelu_tanh_slope(x)),
    "relu": _function(lambda x: np.maximum(x, 0), lambda f, out, x: f.less(0, x)),
    "silu_slope": _written(_silu_slope, _silu_curvature),
    "mish_slope": _written(_mish_slope, _mish_curvature),
    "gelu_tanh_slope": _written(_gelu_tanh_slope, _gelu_tanh_curvature),
    # choices
    "maximum": Operation(
        2, np.maximum, (lambda f, out, x, y: f.less(y, x), lambda f, out, x, y: f.less(x, y))
    ),
    "minimum": Operation(
        2, np.minimum, (lambda f, out, x, y: f.less(x, y), lambda f, out, x, y: f.less(y, x))
    ),
    "where": Operation(
        3,
        _where,
        (None, lambda f, out, c, x, y: f.where(c, 1, 0), lambda f, out, c, x, y: f.where(c, 0, 1)),
    ),
    "less": _condition(operator.lt),
    "less_equal": _condition(operator.le),
    "equal": _condition(operator.eq),
    # over the outputs of a row
    "sum": _over_row(_sum, lambda f, out, x: 1),
    "mean": _over_row(_mean, _mean_partial),
    "max": _over_row(_max, _max_partial),
    "logsumexp": _over_row(_logsumexp, lambda f, out, x: f.softmax(x)),
    "softmax": Operation(1, _softmax, (_softmax_product,), "row"),
    # of derivatives: the sum that undoes broadcasting of x, and broadcasting itself
    "sum_like": Operation(2, _sum_like, (lambda f, out, g, x: 1, None), "shape"),
    "broadcast_like": Operation(2, _broadcast_like, (lambda f, out, g, x: 1, None), "shape"),
}
"""Every operation by its name."""

values: Any = SimpleNamespace(**{name: entry.value for name, entry in OPERATIONS.items()})
"""The functions that compute numbers: `values.exp(x)`."""
