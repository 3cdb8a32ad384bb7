"""Bounds for the rounding errors of formulas: running error analysis, instruction by instruction.

Every value of a program has a bound E for its error. An instruction spreads the bounds of its
operands and rounds. The spread is the largest change of the result when each operand moves up or
down by its bound. It is exact for operations that rise or fall in every operand within the bounds,
as all do but those at an extremum, where it is right to first order. A condition whose operands may
change their order has the bound 1, and a choice by it spreads to both sides.
"""

import itertools

import numpy as np
from program_interpreter import COMPUTED

from fastbp.gates._compile import (
    SEED,
    ActivationGraphs,
    LossGraphs,
    compile_activation,
    compile_loss,
)
from fastbp.gates._derive import adjoints
from fastbp.gates._graph import leaf

# eps of the result: 1 for an operation that rounds correctly, up to 4 ulp of a function and what
# stands around it otherwise, as in error_bounds.OPERATIONS
_FUNCTIONS = {
    **dict.fromkeys(("exp", "expm1", "log", "log1p", "tanh", "arctan", "arcsin", "arccos"), 6),
    **dict.fromkeys(("sin", "cos", "sinh", "cosh"), 6),
    **dict.fromkeys(("sigmoid", "softplus", "silu", "mish"), 8),
    "pow": 10,
    "gelu_tanh": 10,
}
_EXACT = {"copy", "neg", "abs", "sign", "min", "max", "select", "select_positive", "row_max"}
_EXACT |= {"less", "less_equal", "equal"}
_SLOPES = {"silu_slope", "mish_slope", "gelu_tanh_slope"}  # with a small absolute error


def written_activation(formula):
    """The programs value and slope of an activation of which no gates are merged.

    They round where a walk through the formula as it was written rounds: log(1 + z**2) rounds the
    sum, and log1p does not.
    """
    variables = [leaf("input", name) for name in ("z", *formula.constants)]
    same_shape = dict.fromkeys(variables[1:], variables[0])
    slope = adjoints(formula.gate, leaf("input", SEED), variables, same_shape)
    graphs = ActivationGraphs((formula.gate,), slope, (formula.gate,), (formula.gate,))
    return compile_activation(graphs, tuple(formula.constants), formula.per)[:2]


def written_loss(formula):
    """The programs value and slope of a loss of which no gates are merged."""
    a, y = leaf("input", "a"), leaf("input", "y")
    (slope,) = adjoints(formula.gate, 1.0, [a], {y: a})
    return compile_loss(LossGraphs((formula.gate,), (formula.gate, slope), (slope,)))[:2]


def bounds(program, inputs, errors, dtype, eps=None):
    """[(value, E), …] of the results of a program, computed in a dtype with machine epsilon eps.

    inputs: exact float64 values, as `program_interpreter.run` takes them; errors: E of each.
    """
    eps = float(np.finfo(dtype).eps) if eps is None else eps
    tiny = float(np.finfo(dtype).tiny)
    shape = np.broadcast_shapes(*(np.shape(x) for x in inputs))
    shapes = {"full": shape, "row": (shape[0], 1), "one": ()}
    kinds = [*program.inputs, *("one" for _ in program.constants), *program.temporaries]
    values = [*map(np.asarray, inputs), *map(np.asarray, program.constants)]
    found = [*(np.broadcast_to(e, np.shape(x)) for e, x in zip(errors, inputs, strict=True))]
    found += [eps * abs(np.asarray(c)) for c in program.constants]
    for each in (values, found):
        each += [None] * len(program.temporaries)
    with np.errstate(all="ignore"):
        for operation, out, *operands in program.code:
            used = [x for x in operands if x >= 0]
            x, E = [values[i] for i in used], [found[i] for i in used]
            y, E_y = _step(operation, x, E, shape, eps, tiny)
            values[out], found[out] = (np.broadcast_to(v, shapes[kinds[out]]) for v in (y, E_y))
    return [(values[i], found[i]) for i in program.outputs]


def _step(operation, x, E, shape, eps, tiny):
    """(value, E) of one instruction on operands x with bounds E."""
    if operation == "row_length":
        return np.asarray(float(shape[1])), np.zeros(())
    if operation == "row_sum":
        x, E = np.broadcast_to(x[0], shape), np.broadcast_to(E[0], shape)
        size = abs(x).sum(axis=1, keepdims=True)
        return x.sum(axis=1, keepdims=True), E.sum(axis=1, keepdims=True) + shape[1] * eps * size
    if operation == "row_max":
        y = np.broadcast_to(x[0], shape).max(axis=1, keepdims=True)
        return y, np.broadcast_to(E[0], shape).max(axis=1, keepdims=True)
    y = COMPUTED[operation](*x)
    spread = np.zeros(np.shape(y))
    signs = [(-1, 1) if np.any(e) else (0,) for e in E]
    for corner in itertools.product(*signs):
        moved = COMPUTED[operation](*(v + s * e for v, s, e in zip(x, corner, E, strict=True)))
        spread = np.maximum(spread, abs(moved - y))  # NaN stays
    if operation == "equal":
        spread = np.where((abs(x[0] - x[1]) <= E[0] + E[1]) & (E[0] + E[1] > 0), 1.0, spread)
    return y, spread + _rounding(operation, x, y, eps, tiny)


def _rounding(operation, x, y, eps, tiny):
    if operation in _EXACT:
        return 0.0
    if operation in _SLOPES:
        return 16 * eps
    if operation in ("fma", "fms", "fnma"):  # a product that may be rounded by itself, and a sum
        return eps * (abs(x[0] * x[1]) + abs(y)) + tiny
    size = np.maximum(abs(y), abs(x[0]) / 8) if operation == "gelu_tanh" else abs(y)
    return _FUNCTIONS.get(operation, 1) * eps * size + tiny
