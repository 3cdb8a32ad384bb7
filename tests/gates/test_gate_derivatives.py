"""Derivatives of the elementary functions, and derivatives as formulas."""

import math

import numpy as np
import pytest
from gate_cases import EPS, drift

from fastbp import gates
from fastbp.gates._derive import adjoints, directional
from fastbp.gates._operations import OPERATIONS

pytestmark = pytest.mark.once

x, y, z, g = gates.inputs("x", "y", "z", "g")
A = 2.5
EVERYWHERE = np.array([-3.0, -1.25, -0.1, 0.2, 0.9, 2.0, 4.5])
POSITIVE = EVERYWHERE[EVERYWHERE > 0]
INSIDE = np.array([-0.9, -0.5, -0.1, 0.2, 0.7])

# name: (formula, its derivative in NumPy, points)
ELEMENTARY = {
    "x + a": (x + A, np.ones_like, EVERYWHERE),
    "a - x": (A - x, lambda t: -np.ones_like(t), EVERYWHERE),
    "-x": (-x, lambda t: -np.ones_like(t), EVERYWHERE),
    "a x": (A * x, lambda t: A * np.ones_like(t), EVERYWHERE),
    "x / a": (x / A, lambda t: np.ones_like(t) / A, EVERYWHERE),
    "a / x": (A / x, lambda t: -A / t**2, EVERYWHERE),
    "1 / x": (gates.reciprocal(x), lambda t: -1 / t**2, EVERYWHERE),
    "x^3": (x**3, lambda t: 3 * t**2, EVERYWHERE),
    "x^-2": (x**-2, lambda t: -2 / t**3, EVERYWHERE),
    "x^a": (x**A, lambda t: A * t ** (A - 1), POSITIVE),
    "a^x": (A**x, lambda t: A**t * np.log(A), EVERYWHERE),
    "x^x": (x**x, lambda t: t**t * (np.log(t) + 1), POSITIVE),
    "square": (gates.square(x), lambda t: 2 * t, EVERYWHERE),
    "sqrt": (gates.sqrt(x), lambda t: 1 / (2 * np.sqrt(t)), POSITIVE),
    "exp": (gates.exp(x), np.exp, EVERYWHERE),
    "expm1": (gates.expm1(x), np.exp, EVERYWHERE),
    "log": (gates.log(x), lambda t: 1 / t, POSITIVE),
    "log1p": (gates.log1p(x), lambda t: 1 / (1 + t), INSIDE),
    "log_a": (gates.log(x, A), lambda t: 1 / (t * np.log(A)), POSITIVE),
    "log_x": (gates.log(A, x), lambda t: -np.log(A) / (t * np.log(t) ** 2), POSITIVE),
    "sin": (gates.sin(x), np.cos, EVERYWHERE),
    "cos": (gates.cos(x), lambda t: -np.sin(t), EVERYWHERE),
    "tan": (gates.tan(x), lambda t: 1 / np.cos(t) ** 2, EVERYWHERE),
    "cot": (gates.cot(x), lambda t: -1 / np.sin(t) ** 2, EVERYWHERE),
    "sec": (gates.sec(x), lambda t: np.sin(t) / np.cos(t) ** 2, EVERYWHERE),
    "csc": (gates.csc(x), lambda t: -np.cos(t) / np.sin(t) ** 2, EVERYWHERE),
    "arcsin": (gates.arcsin(x), lambda t: 1 / np.sqrt(1 - t**2), INSIDE),
    "arccos": (gates.arccos(x), lambda t: -1 / np.sqrt(1 - t**2), INSIDE),
    "arctan": (gates.arctan(x), lambda t: 1 / (1 + t**2), EVERYWHERE),
    "arccot": (gates.arccot(x), lambda t: -1 / (1 + t**2), EVERYWHERE),
    "sinh": (gates.sinh(x), np.cosh, EVERYWHERE),
    "cosh": (gates.cosh(x), np.sinh, EVERYWHERE),
    "tanh": (gates.tanh(x), lambda t: 1 / np.cosh(t) ** 2, EVERYWHERE),
    "sigmoid": (gates.sigmoid(x), lambda t: 1 / (2 + 2 * np.cosh(t)), EVERYWHERE),
    "softplus": (gates.softplus(x), lambda t: 1 / (1 + np.exp(-t)), EVERYWHERE),
    "abs": (abs(x), np.sign, EVERYWHERE),
    "relu": (gates.relu(x), lambda t: np.where(t > 0, 1.0, 0.0), EVERYWHERE),
    "maximum": (gates.maximum(x, 0.5), lambda t: np.where(t > 0.5, 1.0, 0.0), EVERYWHERE),
    "minimum": (gates.minimum(x, 0.5), lambda t: np.where(t < 0.5, 1.0, 0.0), EVERYWHERE),
    "where": (gates.where(x > 0, x, A * x), lambda t: np.where(t > 0, 1.0, A), EVERYWHERE),
    "product": (x * gates.sin(x), lambda t: np.sin(t) + t * np.cos(t), EVERYWHERE),
    "quotient": (
        gates.sin(x) / x,
        lambda t: (np.cos(t) * t - np.sin(t)) / t**2,
        EVERYWHERE,
    ),
    "chain": (gates.exp(gates.sin(x)), lambda t: np.exp(np.sin(t)) * np.cos(t), EVERYWHERE),
    "silu": (
        gates.silu(x),
        lambda t: (1 + t / (1 + np.exp(t))) / (1 + np.exp(-t)),
        EVERYWHERE,
    ),
}
# Operations whose slopes are operations too, and the same as formulas of other operations.
WRITTEN = {
    "silu": x * gates.sigmoid(x),
    "mish": x * gates.tanh(gates.softplus(x)),
    "gelu_tanh": x * gates.sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)),
}


@pytest.mark.parametrize("name", ELEMENTARY)
def test_elementary_derivatives(name):
    """The gradient, the derivative as a formula and a complex step give the known slope."""
    f, slope, points = ELEMENTARY[name]
    expected = slope(points)
    derivative = f.derivative("x")

    def computed():
        return {
            "gradient": f.trace(x=points).gradient()["x"],
            "formula": derivative.trace(x=points).value,
            "complex step": f.trace(x=points + 1e-100j).value.imag / 1e-100,
        }

    # the expected slope has up to six operations of at most 2 ulp, and terms that cancel by half
    # of their size or, as in 1 − x², to a fifth
    largest = abs(expected) + abs(f.trace(x=points).value)
    for way, found in computed().items():
        error = drift(computed)[way] + 6 * 2 * 5 * EPS * largest
        assert (abs(found - expected) <= error).all(), way


def test_every_function_of_one_argument_has_a_known_derivative():
    elementwise = {
        name
        for name, entry in OPERATIONS.items()
        if (entry.arity, entry.kind) == (1, "elementwise")
    }
    used = {gate.operation for f, _, _ in ELEMENTARY.values() for gate in f.gates()}
    slopes = {f"{name}_slope" for name in WRITTEN}
    assert elementwise - used == {"mish", "gelu_tanh"} | slopes


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_activations_are_their_formulas(name, order):
    """Values, and derivatives up to the third, in which the slopes have slopes of their own."""
    f, written = getattr(gates, name)(x), WRITTEN[name]
    for _ in range(order):
        f, written = f.derivative("x"), written.derivative("x")
    points = np.concatenate([EVERYWHERE, [-20.0, -8.0, 8.0, 20.0]])

    def computed():
        return {"one": f.trace(x=points).value, "other": written.trace(x=points).value}

    found, error = computed(), drift(computed)
    # sums of up to twelve terms of at most 2 (their size in the third derivative), which cancel
    assert (abs(found["one"] - found["other"]) <= error["one"] + error["other"] + 24 * EPS).all()


# ---- as formulas --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "derivative"),
    [
        (x**2, 2 * x),
        (3 * x**4, 12 * x**3),
        (3 * (2 * x**2) ** 5, 60 * ((2 * x**2) ** 4 * x)),
        (gates.sin(x), gates.cos(x)),
        (gates.cos(x), -gates.sin(x)),
        (gates.exp(x), gates.exp(x)),
        (gates.exp(-x), -gates.exp(-x)),
        (gates.log(x), gates.reciprocal(x)),
        (2**x, math.log(2) * 2**x),
        (gates.tanh(x), 1 - gates.square(gates.tanh(x))),
        (gates.softplus(x), gates.sigmoid(x)),
        (x + gates.sin(x), 1 + gates.cos(x)),
        (x - gates.sin(x), 1 - gates.cos(x)),
        (gates.sin(x) ** 2, 2 * (gates.sin(x) * gates.cos(x))),
        (gates.relu(x), 0 < x),
        (gates.where(x > 0, x, 0.1 * x), gates.where(x > 0, 1, 0.1)),
        (gates.where(x > 0, gates.log(x), 0), gates.where(x > 0, gates.reciprocal(x), 0)),
        (gates.sum(x**2), 2 * x),
        (gates.logsumexp(x), gates.softmax(x)),
    ],
    ids=lambda gate: "",
)
def test_derivatives_are_simple(f, derivative):
    assert f.derivative("x") is derivative


def test_where_hides_infinite_slopes_in_a_derivative():
    """The slope of ln x at 0 does not reach the result, where another branch is chosen."""
    f = gates.where(x > 0, gates.log(x), 2 * x)
    assert f.derivative("x").trace(x=[0, 1]).value.tolist() == [2.0, 1.0]


@pytest.mark.parametrize("f", [3 * x, gates.sum(3 * x), 0 * x + 5, x < 1, gates.mean(x), x])
@pytest.mark.parametrize("values", [2.0, [1.0, 2.0], [[1.0], [2.0]], [[1.0, 2.0], [0.0, 4.0]]])
def test_a_constant_derivative_has_the_shape_of_its_input(f, values):
    found = f.derivative("x").trace(x=values).value
    expected = f.trace(x=values).gradient()["x"]
    assert np.shape(found) == np.shape(values)
    np.testing.assert_array_equal(found, expected)


def test_a_derivative_sums_what_broadcasting_repeats():
    f = (x + y) * z
    given = {"x": 2.0, "y": [1.0, 2.0], "z": [[1.0], [2.0], [4.0]]}
    expected = f.trace(**given).gradient()
    for name in "xyz":
        derivative = f.derivative(name)
        found = derivative.trace(**{each: given[each] for each in derivative.inputs}).value
        np.testing.assert_array_equal(found, expected[name])


@pytest.mark.parametrize(("shape", "other"), [((), (3,)), ((3,), ()), ((2, 1), (3,)), ((), ())])
@pytest.mark.parametrize(("f", "more"), [(x * z, ()), (x * z + y, (2, 3))])
def test_derivatives_of_sums_and_repetitions(f, more, shape, other):
    """∂²/∂x∂z of x z adds up a 1 for every element of the formula."""
    given = {"x": np.full(shape, 2.0), "z": np.full(other, 5.0), "y": np.zeros(more)}
    size = np.broadcast(*given.values()).size
    derivative = f.derivative("x")
    trace = derivative.trace(**{name: given[name] for name in derivative.inputs})
    np.testing.assert_array_equal(trace.value, np.full(shape, 5.0 * size / given["x"].size))
    twice = np.full(other, size / given["z"].size)
    np.testing.assert_array_equal(trace.gradient()["z"], twice)
    again = derivative.derivative("z")
    found = again.trace(**{name: given[name] for name in again.inputs}).value
    np.testing.assert_array_equal(found, twice)


def test_a_derivative_of_hundreds_of_inputs():
    """More than a shape keeps apart; all gradients are whole numbers, so exact."""
    n = 150
    names = [f"x{i}" for i in range(n)]
    f = sum(i * each**2 for i, each in enumerate(gates.inputs(*names)))
    shapes = [(), (3,), (2, 1), (2, 3)]
    given = {name: np.full(shapes[i % 4], i % 7 + 1.0) for i, name in enumerate(names)}
    expected = f.trace(**given).gradient()
    for name in names[::10]:
        derivative = f.derivative(name)
        found = derivative.trace(**{each: given[each] for each in derivative.inputs}).value
        np.testing.assert_array_equal(found, expected[name])


def test_a_long_formula_is_derived_without_recursion():
    f = x
    for _ in range(3000):
        f = gates.sin(f) + x
    slope, expected = f.derivative("x"), f.trace(x=0.5).gradient()["x"]
    assert slope.count() < 5 * f.count()
    # 3000 steps, each with two partials and two roundings, and slopes of the sine of at most 1
    assert math.isclose(slope.trace(x=0.5).value, expected, rel_tol=3000 * 4 * EPS)


@pytest.mark.parametrize(
    "step",
    [
        gates.relu,
        gates.sin,
        lambda f: -f,
        lambda f: 2 * f,
        lambda f: f * -1,
        lambda f: gates.where(f > 0, f, 0),
        lambda f: gates.where(f > 0, f, 0.5 * f),
        lambda f: f + x,
        lambda f: x - f,
        lambda f: gates.sum(f),
        lambda f: gates.maximum(f, x),
    ],
)
def test_deep_formulas_are_derived_without_recursion(step):
    """As the whole formula, as a factor and as a term of one."""
    n, f = 1100, x
    for _ in range(n):
        f = step(f)
    for whole in (f, x * f, (1 - f) * gates.sigmoid(f), gates.sigmoid(f) - f):
        expected = whole.trace(x=0.5).gradient()["x"]
        slope, along = whole.derivative("x"), directional(whole, {x: y})
        given = {"x": 0.5, "y": 1.0}
        for gate in (slope, along):
            found = gate.trace(**{name: given[name] for name in gate.inputs}).value
            # every gate adds its rounding and those of two partials, none of which cancel
            np.testing.assert_allclose(found, expected, rtol=n * 12 * EPS)


def test_numbers_are_not_folded_to_infinity():
    f = 1e200 * (1e200 * gates.sin(x))
    assert {gate.data for gate in f.derivative("x").gates() if gate.operation == "number"} == {
        1e200
    }


def test_a_derivative_needs_an_input_of_that_name():
    with pytest.raises(ValueError, match="no input 'z'; its inputs are x, y"):
        (x + y).derivative("z")
    with pytest.raises(ValueError, match="it has no inputs"):
        gates.exp(1).derivative("x")


# ---- for programs -------------------------------------------------------------------------


def test_the_slopes_of_an_activation_have_no_sums():
    """∂/∂z and ∂/∂β of g · f, element by element, if z, β and g have one shape."""
    slope, gain = adjoints(gates.where(z > 0, z, y * z), g, [z, y], {y: z})
    assert slope is gates.where(z > 0, g, y * g)
    assert gain is gates.where(z > 0, 0, z * g)


def test_the_gradient_of_a_loss_keeps_to_its_rows():
    a, target, ra = gates.inputs("a", "t", "ra")
    (slope,) = adjoints(gates.sum((a - target) ** 2), 1, [a], {target: a})
    assert slope is 2 * (a - target)
    assert directional(slope, {a: ra}, {target: a}) is 2 * ra
    p = gates.softmax(a)
    (slope,) = adjoints(gates.logsumexp(a) - gates.sum(target * a), 1, [a], {target: a})
    assert slope is p - target
    assert directional(slope, {a: ra}, {target: a}) is p * (ra - gates.sum(ra * p))


def test_gates_that_do_not_matter_have_adjoint_0():
    zero = gates.Gate._rebuilt([("number", (), 0.0)])
    assert adjoints(x + 1, 1, [y, x < 1]) == (zero, zero)
    assert directional(x + 1, {y: g}) is zero


def test_adjoints_of_gates_inside_a_formula():
    inner = x * y
    (found,) = adjoints(gates.sin(inner), g, [inner])
    assert found is g * gates.cos(inner)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_a_derivative_keeps_the_shape_of_a_condition(shape):
    x, y = gates.inputs("x", "y")
    at = {"x": np.linspace(-1, 2, max(1, int(np.prod(shape)))).reshape(shape), "y": 2.0}
    for f in (
        gates.where(gates.sigmoid(x) > 0, x, x),
        gates.where(y > x, x, x),
        gates.where(x > 0, y, y) * x,
    ):
        slopes = f.trace(**{name: at[name] for name in f.inputs}).gradient()
        for name in f.inputs:
            d = f.derivative(name)
            value = np.asarray(d.trace(**{each: at[each] for each in d.inputs}).value)
            assert value.shape == np.shape(at[name])
            np.testing.assert_array_equal(value, slopes[name])
