"""The functions of formulas: of gates, numbers and arrays, element by element or over a row."""

from __future__ import annotations

from numbers import Real
from typing import cast

from ._gate import Gate
from ._graph import Operand, gate_of


def _gate(operation: str, *operands: Operand) -> Gate:
    return cast(Gate, gate_of(operation, operands))


# ---- element by element ------------------------------------------------------------------


def exp(x: Operand) -> Gate:
    """Return eˣ.

    Slope: eˣ.

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.exp(x).trace(x=0).value
    1.0
    """
    return _gate("exp", x)


def expm1(x: Operand) -> Gate:
    """Return eˣ − 1, exact to rounding also for small x.

    Slope: eˣ.

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.expm1(x).trace(x=0).value
    0.0
    """
    return _gate("expm1", x)


def log(x: Operand, base: Operand | None = None) -> Gate:
    """Return ln x, or with a base ln x / ln base.

    Slope: 1/x, or 1/(x ln base). Raises ValueError for a base that is 1, negative or 0.

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.log(x, 2).trace(x=8).value
    3.0
    """
    if base is None:
        return _gate("log", x)
    if isinstance(base, Real) and not (float(base) > 0 and base != 1):
        raise ValueError(f"the base of a logarithm must be positive and not 1; got {base}")
    return _gate("div", _gate("log", x), _gate("log", base))


def log1p(x: Operand) -> Gate:
    """Return ln(1 + x), exact to rounding also for small x.

    Slope: 1/(1 + x).

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.log1p(x).trace(x=0).value
    0.0
    """
    return _gate("log1p", x)


def sqrt(x: Operand) -> Gate:
    """Return √x.

    Slope: 1/(2√x).

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.sqrt(x).trace(x=9).value
    3.0
    """
    return _gate("sqrt", x)


def square(x: Operand) -> Gate:
    """Return x².

    Slope: 2x.

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.square(x).trace(x=3).value
    9.0
    """
    return _gate("square", x)


def reciprocal(x: Operand) -> Gate:
    """Return 1/x.

    Slope: −1/x².

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.reciprocal(x).trace(x=4).value
    0.25
    """
    return _gate("reciprocal", x)


def abs(x: Operand) -> Gate:
    """Return |x|, as the built-in `abs` does for a gate.

    Slope: the sign of x, and 0 at 0.

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.abs(x).trace(x=-3).value
    3.0
    """
    return _gate("abs", x)


def sin(x: Operand) -> Gate:
    """Return sin x, x in radians.

    Slope: cos x.

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.sin(x).trace(x=0).value
    0.0
    """
    return _gate("sin", x)


def cos(x: Operand) -> Gate:
    """Return cos x, x in radians.

    Slope: −sin x.

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.cos(x).trace(x=0).value
    1.0
    """
    return _gate("cos", x)


def tan(x: Operand) -> Gate:
    """Return tan x, x in radians.

    Slope: 1 + tan² x.

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.tan(x).trace(x=0).value
    0.0
    """
    return _gate("tan", x)


def cot(x: Operand) -> Gate:
    """Return cot x = 1/tan x, x in radians.

    Slope: −(1 + cot² x).

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.cot(x).trace(x=0.5).value
    1.830...
    """
    return _gate("cot", x)


def sec(x: Operand) -> Gate:
    """Return sec x = 1/cos x, x in radians.

    Slope: sec x tan x.

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.sec(x).trace(x=0).value
    1.0
    """
    return _gate("sec", x)


def csc(x: Operand) -> Gate:
    """Return csc x = 1/sin x, x in radians.

    Slope: −csc x cot x.

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.csc(x).trace(x=0.5).value
    2.085...
    """
    return _gate("csc", x)


def arcsin(x: Operand) -> Gate:
    """Return arcsin x in radians, between −π/2 and π/2.

    Slope: 1/√(1 − x²).

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.arcsin(x).trace(x=1).value
    1.570...
    """
    return _gate("arcsin", x)


def arccos(x: Operand) -> Gate:
    """Return arccos x in radians, between 0 and π.

    Slope: −1/√(1 − x²).

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.arccos(x).trace(x=1).value
    0.0
    """
    return _gate("arccos", x)


def arctan(x: Operand) -> Gate:
    """Return arctan x in radians, between −π/2 and π/2.

    Slope: 1/(1 + x²).

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.arctan(x).trace(x=1).value
    0.785...
    """
    return _gate("arctan", x)


def arccot(x: Operand) -> Gate:
    """Return arccot x = π/2 − arctan x in radians, between 0 and π.

    Slope: −1/(1 + x²).

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.arccot(x).trace(x=1).value
    0.785...
    """
    return _gate("arccot", x)


def sinh(x: Operand) -> Gate:
    """Return sinh x.

    Slope: cosh x.

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.sinh(x).trace(x=0).value
    0.0
    """
    return _gate("sinh", x)


def cosh(x: Operand) -> Gate:
    """Return cosh x.

    Slope: sinh x.

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.cosh(x).trace(x=0).value
    1.0
    """
    return _gate("cosh", x)


def tanh(x: Operand) -> Gate:
    """Return tanh x.

    Slope: 1 − tanh² x.

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.tanh(x).trace(x=0).value
    0.0
    """
    return _gate("tanh", x)


def sigmoid(x: Operand) -> Gate:
    """Return σ(x) = 1/(1 + e⁻ˣ).

    Slope: σ(x)(1 − σ(x)).

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.sigmoid(x).trace(x=0).value
    0.5
    """
    return _gate("sigmoid", x)


def softplus(x: Operand) -> Gate:
    """Return ln(1 + eˣ), without overflow for large x.

    Slope: the sigmoid of x.

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.softplus(x).trace(x=0).value
    0.693...
    """
    return _gate("softplus", x)


def silu(x: Operand) -> Gate:
    """Return x σ(x), with the sigmoid σ.

    Slope: σ(x)(1 + x(1 − σ(x))).

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.silu(x).trace(x=0).value
    0.0
    """
    return _gate("silu", x)


def mish(x: Operand) -> Gate:
    """Return x tanh(ln(1 + eˣ)).

    Slope: t + x(1 − t²)σ(x) with t = tanh(ln(1 + eˣ)) and the sigmoid σ.

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.mish(x).trace(x=0).value
    0.0
    """
    return _gate("mish", x)


def gelu_tanh(x: Operand) -> Gate:
    """Return x/2 (1 + tanh(√(2/π)(x + 0.044715 x³))).

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.gelu_tanh(x).trace(x=0).value
    0.0
    """
    return _gate("gelu_tanh", x)


def relu(x: Operand) -> Gate:
    """Return max(x, 0).

    Slope: 1 for x > 0, otherwise 0.

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.relu(x).trace(x=-2).value
    0.0
    """
    return _gate("relu", x)


def maximum(x: Operand, y: Operand) -> Gate:
    """Return the larger of x and y, element by element; `max` is over the outputs of a row.

    It routes the gradient: slope 1 for the operand that is larger, 0 for the other. At a tie
    neither is larger, and both get 0.

    >>> from fastbp import gates
    >>> x, y = gates.inputs("x", "y")
    >>> gates.maximum(x, y).trace(x=4, y=2).gradient()
    {'x': 1.0, 'y': 0.0}
    """
    return _gate("maximum", x, y)


def minimum(x: Operand, y: Operand) -> Gate:
    """Return the smaller of x and y, element by element.

    It routes the gradient: slope 1 for the operand that is smaller, 0 for the other. At a tie both
    get 0.

    >>> from fastbp import gates
    >>> x, y = gates.inputs("x", "y")
    >>> gates.minimum(x, y).trace(x=4, y=2).gradient()
    {'x': 0.0, 'y': 1.0}
    """
    return _gate("minimum", x, y)


def where(condition: Operand, x: Operand, y: Operand) -> Gate:
    """Return x where the condition is not 0, and y where it is 0.

    The gradient goes to the chosen side; the condition gets 0. Both sides are computed, so a slope
    of the other side that is infinite or NaN makes the gradient NaN. Choose the argument of the
    function too where this can happen: ``where(x > 0, log(where(x > 0, x, 1)), 0)``.

    Parameters
    ----------
    condition : Gate or array-like
        Usually a comparison such as ``x > 0``, which is 1 or 0.
    x, y : Gate or array-like
        They broadcast against the condition and each other.

    Returns
    -------
    Gate
        The choice, element by element.

    Examples
    --------
    >>> from fastbp import gates
    >>> (z,) = gates.inputs("z")
    >>> gates.where(z > 0, z, 0.1 * z).trace(z=[-2, 3]).gradient()
    {'z': array([0.1, 1. ])}
    """
    return _gate("where", condition, x, y)


# ---- over the outputs of a row -----------------------------------------------------------


def sum(x: Operand) -> Gate:
    """Return the sum over the outputs of each row.

    Slope: 1 for every output.

    A row is the last axis. Inside a graph it stays, with length 1, so that the result broadcasts
    against x.

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.sum(x).trace(x=[1, 2, 6]).value
    9.0
    """
    return _gate("sum", x)


def mean(x: Operand) -> Gate:
    """Return the mean over the outputs of each row.

    Slope: 1/K for each of K outputs.

    A row is the last axis. Inside a graph it stays, with length 1, so that the result broadcasts
    against x.

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.mean(x).trace(x=[1, 2, 6]).value
    3.0
    """
    return _gate("mean", x)


def max(x: Operand) -> Gate:
    """Return the largest output of each row; `maximum` compares two gates.

    Slope: 1 for an output that is larger than all others, otherwise 0, for all at a tie.

    A row is the last axis. Inside a graph it stays, with length 1, so that the result broadcasts
    against x.

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.max(x).trace(x=[1, 2, 6]).value
    6.0
    """
    return _gate("max", x)


def logsumexp(x: Operand) -> Gate:
    """Return ln Σ eˣ over the outputs of each row, without overflow.

    Slope: the softmax of x.

    A row is the last axis. Inside a graph it stays, with length 1, so that the result broadcasts
    against x.

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.logsumexp(x).trace(x=[0, 0]).value
    0.693...
    """
    return _gate("logsumexp", x)


def softmax(x: Operand) -> Gate:
    """Return eˣ / Σ eˣ over the outputs of each row, without overflow.

    Its derivative is the matrix diag(p) − p pᵀ for each row p. A row is the last axis.

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> gates.softmax(x).trace(x=[1000, 1000]).value
    array([0.5, 0.5])
    """
    return _gate("softmax", x)
