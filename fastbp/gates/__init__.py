"""Computational graphs: formulas of elementary gates, their values, and backpropagation by gate.

>>> from fastbp import gates
>>> x, y, z = gates.inputs("x", "y", "z")
>>> f = (x + y) * z
>>> trace = f.trace(x=-2, y=5, z=-4)
>>> trace.value
-12.0
>>> trace.gradient()
{'x': -4.0, 'y': -4.0, 'z': 3.0}
"""

from .._public import present
from ._formulas import ActivationFormula, LossFormula, activation, loss, prelu
from ._functions import (
    abs,
    arccos,
    arccot,
    arcsin,
    arctan,
    cos,
    cosh,
    cot,
    csc,
    exp,
    expm1,
    gelu_tanh,
    log,
    log1p,
    logsumexp,
    max,
    maximum,
    mean,
    minimum,
    mish,
    reciprocal,
    relu,
    sec,
    sigmoid,
    silu,
    sin,
    sinh,
    softmax,
    softplus,
    sqrt,
    square,
    sum,
    tan,
    tanh,
    where,
)
from ._gate import Gate, inputs
from ._trace import Trace

__all__ = [
    "ActivationFormula",
    "Gate",
    "LossFormula",
    "Trace",
    "abs",
    "activation",
    "arccos",
    "arccot",
    "arcsin",
    "arctan",
    "cos",
    "cosh",
    "cot",
    "csc",
    "exp",
    "expm1",
    "gelu_tanh",
    "inputs",
    "log",
    "log1p",
    "logsumexp",
    "loss",
    "max",
    "maximum",
    "mean",
    "minimum",
    "mish",
    "prelu",
    "reciprocal",
    "relu",
    "sec",
    "sigmoid",
    "silu",
    "sin",
    "sinh",
    "softmax",
    "softplus",
    "sqrt",
    "square",
    "sum",
    "tan",
    "tanh",
    "where",
]

present(__name__, __all__)
