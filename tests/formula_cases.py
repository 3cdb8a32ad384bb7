"""Activations and losses that are formulas: some as their texts, and random ones."""

import numpy as np
from hypothesis import strategies as st

from fastbp import activations, gates

# Trained constants per layer and per unit, none, one and several; with a kink and without. At z
# from 0.2 to 0.7 all values are from 0.1 to 0.95, away from the poles of a logarithm.
ACTIVATIONS = (
    "prelu(0.25, per=unit)",
    "formula(z * sigmoid(beta * z), beta=1.5)",
    "formula(alpha * z + beta * tanh(z), alpha=0.5, beta=0.5, per=unit)",
    "formula(where(z > 0, z, alpha * expm1(z)), alpha=0.75)",
    "formula(2 * z / (1 + z ** 2))",
    "formula(0.5 + 0.5 * sin(z))",
)
# Sums, means and largest of a row; smooth and with a kink; of numbers and of classes.
LOSSES = (
    "formula(sum((a - y) ** 2))",
    "formula(mean(where(abs(a - y) < 1, 0.5 * (a - y) ** 2, abs(a - y) - 0.5)))",
    "formula(max(abs(a - y)))",
    "formula(logsumexp(abs(a - y)))",
    "formula(sum(y * y) - sum(a * y) + 0.5 * sum(a * a))",
    "formula(logsumexp(a) - sum(y * a), targets=classes)",
    "formula(sum(softplus(a) - y * a), targets=classes)",
)
WITH_CONSTANTS = tuple(
    text for text in ("prelu", *ACTIVATIONS) if activations.resolve(text).constants
)


# ---- random formulas ----------------------------------------------------------------------

_POINTS = np.random.default_rng(0).normal(size=(4, 16, 3))  # of up to four inputs


def _ties(x, y):
    """Whether x and y are equal at some of a few points: then perhaps on a region, as z and relu(z)
    are. By convention, neither operand of a maximum has a slope at a tie.
    """
    if x is y:
        return True
    difference = x - y
    values = dict(zip(sorted(difference.inputs), _POINTS, strict=False))
    return bool((difference.trace(**values).value == 0).any())


# Functions and pairs that are finite for all finite numbers, and grow slowly, so that a formula of
# many gates has values of moderate size.
_ONE = (
    *(gates.tanh, gates.sigmoid, gates.softplus, gates.silu, gates.mish, gates.gelu_tanh),
    *(gates.sin, gates.cos, gates.arctan, gates.relu, abs),
    lambda x: -x,
    lambda x: 0.5 * x**2,
    lambda x: gates.exp(-(x**2)),
    lambda x: gates.log(1 + x**2),
    lambda x: gates.sqrt(1 + x * x),
    lambda x: 1 / (1 + gates.exp(-x)),
    lambda x: x / (1 + x**2),
)
_TWO = (
    lambda x, y: x + y,
    lambda x, y: x - y,
    lambda x, y: gates.tanh(x) * y,
    lambda x, y: x / (1 + y**2),
    lambda x, y: x if _ties(x, y) else gates.maximum(x, y),
    lambda x, y: x if _ties(x, y) else gates.minimum(x, y),
    lambda x, y: x if x is y else gates.where(x > y, x, 0.5 * y),
)
_NUMBERS = st.sampled_from([-2.0, -0.5, 0.25, 0.5, 1.0, 3.0])
_REDUCTIONS = (gates.sum, gates.mean, gates.max, gates.logsumexp)


def _grown(leaves, depth):
    """Formulas of gates over some leaves."""
    inner = leaves | _NUMBERS
    for _ in range(depth):
        inner = (
            leaves
            | st.builds(lambda f, x: f(x), st.sampled_from(_ONE), _gate(inner, leaves))
            | st.builds(lambda f, x, y: f(x, y), st.sampled_from(_TWO), _gate(inner, leaves), inner)
        )
    return inner


def _gate(inner, leaves):
    """The same without bare numbers."""
    return inner.filter(lambda x: isinstance(x, gates.Gate)) | leaves


@st.composite
def random_activations(draw):
    """Activations of up to three trained constants, with z in them."""
    names = draw(st.lists(st.sampled_from(["alpha", "beta", "gamma"]), unique=True, max_size=3))
    z, *constants = gates.inputs("z", *names)
    inner = draw(_gate(_grown(st.sampled_from([z, z, *constants]), 4), st.just(z)))
    gate = z + inner if "z" not in inner.inputs else inner
    for constant in constants:
        if str(constant.data) not in gate.inputs:
            gate = gate * draw(st.sampled_from([constant, 1 + constant]))
    values = {name: draw(st.sampled_from([0.5, -0.75, 1.25])) for name in names}
    per = draw(st.sampled_from(["layer", "unit"]))
    return gates.ActivationFormula(gate, per=per, **values)


@st.composite
def random_losses(draw):
    """Losses of numbers, with a in them."""
    a, y = gates.inputs("a", "y")
    terms = _gate(_grown(st.sampled_from([a, y, a - y]), 3), st.just(a - y))
    gate = draw(st.sampled_from(_REDUCTIONS))(draw(terms))
    if draw(st.booleans()):
        combined = draw(st.sampled_from(_TWO))
        gate = combined(gate, draw(st.sampled_from(_REDUCTIONS))(draw(terms)))
    if "a" not in gate.inputs:
        gate = gate + gates.sum((a - y) ** 2)
    return gates.LossFormula(gate)
