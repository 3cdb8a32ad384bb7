"""Random formulas, and how far rounding errors move what is computed from them."""

import operator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from fastbp import gates
from fastbp.gates._graph import gate_of
from fastbp.gates._operations import OPERATIONS

EPS = float(np.finfo(np.float64).eps)
SHAPES = ((), (3,), (2, 3), (2, 1))  # of inputs: they broadcast against each other
CONSTANTS = (0.5, 2.0, 3.0, -1.5, np.array([0.5, -1.0, 2.0]))
MOST = 200.0  # no value of a random formula is larger, so that no function overflows
GAP = 0.05  # the distance from kinks and ties, and from the ends of domains


@dataclass
class Formula:
    """A random formula and the values of its inputs, which are away from its kinks."""

    gate: gates.Gate
    given: dict

    def __repr__(self):
        steps = [
            f"{gate.operation}{[x.number for x in gate.operands]}" for gate in self.gate.gates()
        ]
        return f"Formula({' '.join(steps)}, given={self.given})"


# ---- random formulas ----------------------------------------------------------------------


def _everywhere(*operands):
    return True


def _up_to(limit):
    return lambda x: abs(x).max() < limit


def _from(limit):
    return lambda x: x.min() > limit


def _away_from_0(x):
    return abs(x).min() > GAP


def _apart(x, y):
    return abs(x - y).min() > GAP


def _largest_apart(x):
    """Whether no output comes near the largest of its row."""
    ordered = np.sort(x, axis=-1) if x.ndim else x
    return x.ndim == 0 or x.shape[-1] == 1 or (ordered[..., -1] - ordered[..., -2]).min() > GAP


def _where_positive(c, x, y):
    return gates.where(gate_of("less", (0, c)), x, y)  # c may be a number


# operation: (the function that makes the gate, the values of operands for which it is used)
SMOOTH = {
    "add": (operator.add, _everywhere),
    "sub": (operator.sub, _everywhere),
    "mul": (operator.mul, _everywhere),
    "div": (operator.truediv, lambda x, y: _away_from_0(y)),
    "pow": (operator.pow, lambda x, y: x.min() > GAP and abs(y).max() < 4),
    "neg": (operator.neg, _everywhere),
    "exp": (gates.exp, _up_to(5)),
    "expm1": (gates.expm1, _up_to(5)),
    "log": (gates.log, _from(GAP)),
    "log1p": (gates.log1p, _from(GAP - 1)),
    "sqrt": (gates.sqrt, _from(GAP)),
    "square": (gates.square, _everywhere),
    "reciprocal": (gates.reciprocal, _away_from_0),
    "sin": (gates.sin, _everywhere),
    "cos": (gates.cos, _everywhere),
    "tan": (gates.tan, lambda x: abs(np.cos(x)).min() > 4 * GAP),
    "cot": (gates.cot, lambda x: abs(np.sin(x)).min() > 4 * GAP),
    "sec": (gates.sec, lambda x: abs(np.cos(x)).min() > 4 * GAP),
    "csc": (gates.csc, lambda x: abs(np.sin(x)).min() > 4 * GAP),
    "arcsin": (gates.arcsin, _up_to(1 - GAP)),
    "arccos": (gates.arccos, _up_to(1 - GAP)),
    "arctan": (gates.arctan, _everywhere),
    "arccot": (gates.arccot, _everywhere),
    "sinh": (gates.sinh, _up_to(5)),
    "cosh": (gates.cosh, _up_to(5)),
    "tanh": (gates.tanh, _everywhere),
    "sigmoid": (gates.sigmoid, _everywhere),
    "softplus": (gates.softplus, _everywhere),
    "silu": (gates.silu, _everywhere),
    "mish": (gates.mish, _everywhere),
    "gelu_tanh": (gates.gelu_tanh, _up_to(20)),
    "sum": (gates.sum, _everywhere),
    "mean": (gates.mean, _everywhere),
    "logsumexp": (gates.logsumexp, _everywhere),
    "softmax": (gates.softmax, _everywhere),
}
KINKED = {
    "abs": (gates.abs, _away_from_0),
    "relu": (gates.relu, _away_from_0),
    "maximum": (gates.maximum, _apart),
    "minimum": (gates.minimum, _apart),
    "where": (_where_positive, lambda c, x, y: _away_from_0(c)),
    "max": (gates.max, _largest_apart),
}
TABLE = SMOOTH | KINKED


@st.composite
def formulas(draw, operations=tuple(TABLE), steps=12, shapes=SHAPES, constants=CONSTANTS):
    """Formulas of one to three inputs, made in some steps, each from the one before and others."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1), "values of the inputs"))
    given, nodes = {}, []
    for name in ("x", "y", "z")[: draw(st.integers(1, 3))]:
        given[name] = rng.uniform(-2, 2, draw(st.sampled_from(shapes)))
        nodes.append((gates.inputs(name)[0], given[name]))
    others = nodes + [(constant, np.asarray(constant)) for constant in constants]
    for _ in range(draw(st.integers(steps // 3, steps))):
        nodes.append(draw(_steps(nodes[-1], others + nodes, operations)))
    result = nodes[-1][0]
    return Formula(result, {name: given[name] for name in result.inputs})


@st.composite
def _steps(draw, first, nodes, operations):
    """A further gate and its value, computed from the first one and any others."""
    others = [draw(st.sampled_from(nodes)) for _ in range(2)]
    if draw(st.booleans()):
        others[0], first = first, others[0]
    found = []
    for name in operations:
        operands = [first, *others][: OPERATIONS[name].arity]
        build, suits = TABLE[name]
        if any(isinstance(gate, gates.Gate) for gate, _ in operands) and suits(
            *[value for _, value in operands]
        ):
            value = evaluated(name, *[value for _, value in operands])
            if abs(value).max() < MOST:
                found.append((build, [gate for gate, _ in operands], value))
    build, operands, value = draw(st.sampled_from(found))
    return build(*operands), value


def evaluated(name, *operands):
    """The value of an operation of the table."""
    operands = [np.asarray(operand, float)[()] for operand in operands]
    if name == "where":
        operands[0] = operands[0] > 0
    return np.asarray(OPERATIONS[name].value(*operands))


# ---- rounding errors ----------------------------------------------------------------------


@contextmanager
def rounding_errors(rng, eps=EPS):
    """Add to each value and each local partial a relative error of up to 4 eps.

    Four units in the last place are more than an operation of NumPy errs by. The slopes of silu,
    mish and gelu_tanh, and theirs, are sums of terms of about 1, which may cancel; they get 2 eps
    more.
    """

    def with_error(function, more=0):
        def erring(*arguments):
            found = function(*arguments)
            if isinstance(found, int):  # a partial that is 1 or −1
                return found
            return found + (4 * abs(found) + more) * eps * rng.uniform(-1, 1, np.shape(found))

        return function and erring

    before = dict(OPERATIONS)
    for name, entry in before.items():
        if name not in ("less", "less_equal", "equal", "sum_like", "broadcast_like"):
            is_slope = name.endswith("_slope")
            more = 2 if is_slope or name in ("silu", "mish", "gelu_tanh") else 0
            partials = tuple(with_error(partial, more) for partial in entry.partials)
            value = with_error(entry.value, 2 * is_slope)
            OPERATIONS[name] = replace(entry, value=value, partials=partials)
    try:
        yield
    finally:
        OPERATIONS.update(before)


def drift(compute, runs=8, seed=0, eps=EPS):
    """How far rounding errors of a dtype with this eps move what `compute()` returns in a dict.

    Four times the largest change in some runs with random errors: the errors of a run without added
    ones are smaller, but they may conspire.
    """
    exact, most = compute(), {}
    rng = np.random.default_rng(seed)
    for _ in range(runs):
        with rounding_errors(rng, eps):
            moved = compute()
        for name, value in exact.items():
            change = abs(np.asarray(moved[name]) - value) + eps * abs(np.asarray(value))
            most[name] = np.maximum(most.get(name, 0.0), change)
    return {name: 4 * change for name, change in most.items()}
