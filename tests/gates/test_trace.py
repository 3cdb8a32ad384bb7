"""Values and gradients, gate by gate: shapes, kinks, counts, long formulas, bad values."""

import copy
import math
import pickle
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from gate_cases import EPS

from fastbp import gates
from fastbp.gates._operations import OPERATIONS, fitted

pytestmark = pytest.mark.once

x, y, z = gates.inputs("x", "y", "z")


def gradient(gate, **values):
    return gate.trace(**values).gradient()


# ---- values -------------------------------------------------------------------------------


def test_values_are_python_numbers_and_arrays_of_float64():
    f = gates.exp(x) + y
    assert type(f.trace(x=0, y=True).value) is float
    assert type(f.trace(x=0j, y=1).value) is complex
    value = f.trace(x=np.zeros(3, np.float32), y=np.int8(1)).value
    assert value.dtype == np.float64 and value.tolist() == [2.0, 2.0, 2.0]


def test_values_of_gates_have_their_shapes():
    f = gates.sum(x * y)
    trace = f.trace(x=[[1, 2], [3, 4]], y=[1, 10])
    assert trace.values[x * y].tolist() == [[1, 20], [3, 40]]
    assert trace.values[f].tolist() == [[21], [43]]
    assert trace.values.keys() == set(f.gates())


def test_arrays_of_a_trace_are_its_own():
    given = np.array([1.0, 2.0])
    trace = (x * x).trace(x=given)
    given[0] = 5.0
    assert trace.gradient()["x"].tolist() == [2.0, 4.0]
    trace.gradient()["x"][0] = 7.0
    assert trace.gradient()["x"].tolist() == [2.0, 4.0]
    for found in (trace.values[x], trace.value, trace.gradients[x]):
        with pytest.raises(ValueError, match="read-only"):
            found[0] = 1.0


def test_copies_of_a_trace_have_its_numbers():
    trace = (gates.sin(x) * y).trace(x=[1.0, 2.0], y=3)
    for copied in (pickle.loads(pickle.dumps(trace)), copy.deepcopy(trace)):
        assert copied.gate is trace.gate
        np.testing.assert_array_equal(copied.value, trace.value)
        np.testing.assert_array_equal(copied.gradient()["x"], trace.gradient()["x"])


def test_an_input_and_a_constant_are_formulas_too():
    trace = x.trace(x=3)
    assert trace.value == 3.0 and trace.gradient() == {"x": 1.0}
    trace = gates.exp(0).trace()
    assert trace.value == 1.0 and trace.gradient() == {} and trace.gradients == {}


def test_reductions_have_the_values_of_numpy():
    """Sums of one to four terms of a few eps each, and logarithms of such sums."""
    values = np.array([[1.0, 2.0, 4.0, 8.0], [0.5, -1.0, 0.25, 3.0]])
    powers = np.exp(values)
    for function, expected in (
        (gates.sum, values.sum(axis=1)),
        (gates.mean, values.mean(axis=1)),
        (gates.max, values.max(axis=1)),
        (gates.logsumexp, np.log(powers.sum(axis=1))),
        (gates.softmax, powers / powers.sum(axis=1, keepdims=True)),
    ):
        found = function(x).trace(x=values).value
        # 4 ulp of exp on both sides, x − max x rounded, and a sum and a quotient
        np.testing.assert_allclose(found, expected, rtol=(2 * 4 + 8 + 4 + 1) * EPS)
    for largest in (1000.0, -1000.0, np.inf, -np.inf):  # no overflow, and no NaN of ∞ − ∞
        assert gates.logsumexp(x).trace(x=[largest, -np.inf]).value == largest
    assert gates.softmax(x).trace(x=[1000, -1000]).value.tolist() == [1.0, 0.0]


def test_nan_and_infinity_propagate():
    nan = float("nan")
    for f in (gates.relu(x), gates.maximum(x, 0), gates.minimum(0, x), gates.max(x), abs(x) + 1):
        assert math.isnan(f.trace(x=nan).value)
    assert gates.exp(x).trace(x=1000).value == math.inf
    assert (1 / x).trace(x=0).value == math.inf


# ---- shapes -------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [gates.sum, gates.mean, gates.max, gates.logsumexp])
@pytest.mark.parametrize(
    ("shape", "wanted"), [((), ()), ((4,), ()), ((3, 4), (3,)), ((2, 3, 4), (2, 3)), ((0, 4), (0,))]
)
def test_a_result_of_reductions_has_no_axis_of_outputs(function, shape, wanted):
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    assert np.shape((2 * function(x) + 1).trace(x=values).value) == wanted
    assert np.shape(gradient(2 * function(x) + 1, x=values)["x"]) == shape


def test_a_reduction_keeps_its_axis_where_something_else_does_not():
    values = np.array([[1.0, 3.0], [2.0, 6.0]])
    assert (x / gates.sum(x)).trace(x=values).value.tolist() == [[0.25, 0.75], [0.25, 0.75]]
    assert (gates.sum(x) + y).trace(x=values, y=[[1], [2]]).value.tolist() == [[5.0], [10.0]]
    assert (gates.sum(x) + y).trace(x=values, y=0).value.tolist() == [[4.0], [8.0]]
    assert (gates.sum(x) + np.ones(2)).trace(x=values).value.shape == (2, 2)


@pytest.mark.parametrize("shape", [(), (3,), (1,), (2, 3), (2, 1), (1, 3), (4, 2, 3), (4, 1, 1)])
@pytest.mark.parametrize("other", [(), (3,), (1,), (2, 3), (2, 1), (1, 1), (1, 2, 1)])
def test_a_gradient_has_the_shape_of_its_input(shape, other):
    """Broadcasting repeats an input; the gradients of its copies are added."""
    ones, twos = np.ones(shape), np.full(other, 2.0)
    n = np.broadcast(ones, twos).size
    found = gradient(x * y, x=ones, y=twos)
    np.testing.assert_array_equal(found["x"], np.full(shape, 2.0 * n / ones.size))
    np.testing.assert_array_equal(found["y"], np.full(other, n / twos.size))


def test_gradients_are_summed_over_what_broadcasting_repeats():
    assert fitted(np.ones((2, 3)), (2, 1)).tolist() == [[3.0], [3.0]]
    assert fitted(np.ones((2, 3)), ()).tolist() == 6.0
    assert fitted(np.ones((4, 2, 3)), (1, 3)).tolist() == [[8.0, 8.0, 8.0]]
    assert fitted(np.ones((4, 2, 1)), (2, 3)).tolist() == [[4.0, 4.0, 4.0], [4.0, 4.0, 4.0]]


def test_the_gradient_is_that_of_the_sum_of_all_elements():
    found = gradient(gates.mean(x), x=[[1, 2], [3, 4]])
    assert found["x"].tolist() == [[0.5, 0.5], [0.5, 0.5]]


# ---- kinks, ties and choices --------------------------------------------------------------


def test_max_routes_the_gradient_to_the_larger_operand():
    assert gates.maximum(x, y).trace(x=4, y=2).value == 4.0
    assert gradient(gates.maximum(x, y), x=4, y=2) == {"x": 1.0, "y": 0.0}
    assert gradient(gates.maximum(x, y), x=2, y=4) == {"x": 0.0, "y": 1.0}
    assert gradient(gates.minimum(x, y), x=4, y=2) == {"x": 0.0, "y": 1.0}


@pytest.mark.parametrize("function", [gates.maximum, gates.minimum])
def test_at_a_tie_both_operands_get_nothing(function):
    assert gradient(function(x, y), x=3, y=3) == {"x": 0.0, "y": 0.0}


def test_max_with_0_is_relu():
    values = np.array([-2.0, -0.0, 0.0, 0.5, 3.0])
    for f in (gates.maximum(x, 0), gates.relu(x), gates.where(x > 0, x, 0)):
        assert f.trace(x=values).value.tolist() == [0.0, 0.0, 0.0, 0.5, 3.0]
        assert gradient(f, x=values)["x"].tolist() == [0.0, 0.0, 0.0, 1.0, 1.0]


def test_max_over_a_row_routes_to_the_largest_output():
    values = [[1, 5, 2], [4, 4, 0], [0, 0, 0]]
    assert gates.max(x).trace(x=values).value.tolist() == [5.0, 4.0, 0.0]
    assert gradient(gates.max(x), x=values)["x"].tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]


def test_abs_has_the_slope_of_the_sign():
    assert gradient(abs(x), x=[-2, 0, 3])["x"].tolist() == [-1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("condition", "chosen"),
    [
        (x < 1, [1, 0, 0]),
        (x <= 1, [1, 1, 0]),
        (x > 1, [0, 0, 1]),
        (x >= 1, [0, 1, 1]),
        (x - 1, [1, 0, 1]),
    ],
)
def test_where_gives_its_gradient_to_the_chosen_side(condition, chosen):
    values = np.array([0.0, 1.0, 2.0])
    f = gates.where(condition, 3 * y, 5 * z)
    found = gradient(f, x=values, y=values, z=values)
    assert found["x"].tolist() == [0.0, 0.0, 0.0]
    assert found["y"].tolist() == [3.0 * c for c in chosen]
    assert found["z"].tolist() == [5.0 * (1 - c) for c in chosen]


def test_a_power_has_its_limits_as_slopes_at_0():
    found = gradient(x**y, x=[0, 0, 0, 2, -2], y=[2, 1, 0, 0, 2])
    assert found["x"].tolist() == [0.0, 1.0, 0.0, 0.0, -4.0]
    assert found["y"][:2].tolist() == [0.0, 0.0]  # 0^y is 0 for all y > 0
    assert found["y"][3] == math.log(2)
    assert math.isnan(found["y"][4])  # (−2)^y has values near y = 2 that are not real


# ---- one walk -----------------------------------------------------------------------------


@pytest.fixture
def partials_computed(monkeypatch):
    """A Counter of the local partials that are computed, by operation and operand."""
    counts = Counter()

    def counted(partial, name, i):
        def counting(*arguments):
            counts[name, i] += 1
            return partial(*arguments)

        return partial and counting

    for name, entry in list(OPERATIONS.items()):
        partials = tuple(counted(partial, name, i) for i, partial in enumerate(entry.partials))
        monkeypatch.setitem(OPERATIONS, name, replace(entry, partials=partials))
    return counts


def test_every_local_partial_is_computed_once(partials_computed):
    """e = (a + b)(b + 1): two paths lead to b, and their ends share the walk."""
    a, b = gates.inputs("a", "b")
    trace = ((a + b) * (b + 1)).trace(a=2, b=1)
    assert not partials_computed
    assert trace.gradient() == {"a": 2.0, "b": 5.0}
    # a + b has two operands; the second operand of b + 1 is a constant, which needs no derivative
    expected = {("add", 0): 2, ("add", 1): 1, ("mul", 0): 1, ("mul", 1): 1}
    assert partials_computed == expected
    trace.gradient()
    assert trace.gradients[a + b] == 2.0
    assert trace.partials[(a + b) * (b + 1)] == (2.0, 3.0)
    assert partials_computed == expected


def test_shared_gates_are_walked_once(partials_computed):
    """2⁵⁰ paths lead from the result to x; a walk along each would never end."""
    f = x
    for _ in range(50):
        f = f * f
    assert gradient(f, x=1) == {"x": 2.0**50}
    assert partials_computed == {("mul", 0): 50, ("mul", 1): 50}


@pytest.mark.parametrize("n", [1, 10, 300])
def test_the_work_for_n_inputs_is_that_of_one_walk(partials_computed, n):
    """One partial per operand of the graph, so the gradient costs as much as the value."""
    names = [f"x{i}" for i in range(n)]
    f = gates.sin(sum(gates.tanh(each) * each for each in gates.inputs(*names)))
    found = gradient(f, **dict.fromkeys(names, 0.25))
    assert len(found) == n
    edges = sum(len(gate.operands) for gate in f.gates())
    assert partials_computed.total() <= edges <= 2 * f.count()


def test_local_partials_are_stored():
    f = gates.where(x > 0, x * y, 2)
    trace = f.trace(x=[1, -1], y=3)
    product, condition = f.operands[1], f.operands[0]
    assert [None if p is None else np.asarray(p).tolist() for p in trace.partials[f]] == [
        None,
        [1, 0],
        None,
    ]
    assert trace.partials[product][0] == 3.0
    assert trace.partials[product][1].tolist() == [1.0, -1.0]
    assert trace.partials[condition] == (None, None)
    assert trace.gradients[condition].tolist() == [0.0, 0.0]


def test_a_formula_of_100000_gates_is_walked_without_recursion():
    f = x
    for _ in range(50_000):
        f = (f + x) * 1.0
    assert f.count() == 100_000
    trace = f.trace(x=2)
    assert trace.value == 100_002.0
    assert trace.gradient() == {"x": 50_001.0}


# ---- complex steps ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "at", "slope"),
    [
        (abs(x), -2.0, -1.0),
        (abs(x), 2.0, 1.0),
        (gates.relu(x), 2.0, 1.0),
        (gates.relu(x), -2.0, 0.0),
        (gates.maximum(x, 1), 2.0, 1.0),
        (gates.minimum(x, 1), 2.0, 0.0),
        (gates.where(x > 1, 3 * x, x), 2.0, 3.0),
        (gates.max(x), 2.0, 1.0),
    ],
)
def test_complex_steps_work_on_both_sides_of_a_kink(f, at, slope):
    assert f.trace(x=at + 1e-100j).value.imag == slope * 1e-100


def test_functions_of_small_complex_numbers_keep_their_digits():
    """The real part of NumPy's log1p of a complex number errs by eps, however small it is."""
    small = 1e-20
    assert gates.log1p(x).trace(x=complex(small, 0)).value.real == small
    value = gates.softplus(x).trace(x=complex(-50, 0)).value.real
    assert math.isclose(value, math.exp(-50), rel_tol=8 * EPS)


# ---- bad values ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({}, TypeError, "needs a value for x, y"),
        ({"x": 1}, TypeError, r"needs a value for y: y=\.\.\."),
        ({"x": 1, "y": 2, "t": 3}, TypeError, "no input t; its inputs are x, y"),
        ({"x": "1", "y": 2}, TypeError, "x must hold real numbers"),
        ({"x": [1, None], "y": 2}, ValueError, "missing"),
        ({"x": [[1, 2], [3]], "y": 2}, ValueError, "different lengths"),
        ({"x": x, "y": 2}, TypeError, "got a gate"),
        ({"x": np.ones(3), "y": np.ones(2)}, ValueError, r"add have shapes \(3,\) and \(2,\)"),
        ({"x": np.ones(3), "y": np.ones(2)}, ValueError, r"the inputs have x \(3,\), y \(2,\)"),
        ({"x": np.ones((3, 0)), "y": 1}, ValueError, r"shape \(3, 0\): its rows are empty"),
        ({"x": np.ma.masked_equal([1, 2], 2), "y": 1}, ValueError, "masked"),
    ],
)
def test_bad_values_are_refused_with_the_reason(given, error, message):
    with pytest.raises(error, match=message):
        (x + y).trace(**given)


def test_an_input_may_have_any_name():
    (f,) = gates.inputs("self")
    assert (f + 1).trace(self=1).value == 2.0
