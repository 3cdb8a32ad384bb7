"""Random formulas: gradients against differences and complex steps, and derivatives as formulas."""

import numpy as np
import pytest
from gate_cases import EPS, SMOOTH, TABLE, drift, formulas
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fastbp.gates import inputs
from fastbp.gates._derive import adjoints, directional
from fastbp.gates._operations import OPERATIONS

pytestmark = pytest.mark.once

H = EPS ** (1 / 3)  # of central differences, for values of about 1
TINY = 1e-100  # of complex steps


def total(gate, values):
    """The sum of all elements of the value."""
    return np.sum(gate.trace(**values).value)


def gradient(formula):
    return formula.gate.trace(**formula.given).gradient()


def moved(formula, name, element, step):
    """The values of the inputs with a step in one element."""
    values = np.array(formula.given[name], np.result_type(formula.given[name], step))
    values[element] += step
    return formula.given | {name: values}


def elements(formula):
    for name, values in formula.given.items():
        for element in np.ndindex(np.shape(values)):
            yield name, element


def test_random_formulas_use_every_operation():
    internal = {"silu_slope", "mish_slope", "gelu_tanh_slope", "sum_like", "broadcast_like"}
    assert set(TABLE) == set(OPERATIONS) - internal - {"less", "less_equal", "equal"}


@settings(max_examples=200)
@given(formulas())
def test_gradients_are_those_of_central_differences(formula):
    """A difference errs by its h² term, which a step 2 h shows, and by rounding errors over h."""
    found, error = gradient(formula), drift(lambda: gradient(formula))
    rounding = drift(lambda: {"f": total(formula.gate, formula.given)})["f"] / H
    for name, element in elements(formula):
        near, far = (
            (
                total(formula.gate, moved(formula, name, element, step))
                - total(formula.gate, moved(formula, name, element, -step))
            )
            / (2 * step)
            for step in (H, 2 * H)
        )
        slope = np.asarray(found[name])[element]
        tolerance = abs(near - far) + rounding + np.asarray(error[name])[element]
        assume(tolerance < 1e-3 * max(1, abs(slope)))  # not so near to a pole
        assert abs(slope - near) <= tolerance


@settings(max_examples=200)
@given(formulas(operations=tuple(SMOOTH)))
def test_gradients_of_smooth_formulas_are_those_of_complex_steps(formula):
    """f(x + ih) = f(x) + ih f'(x) to rounding, for an h so small that h² is lost."""
    found, error = gradient(formula), drift(lambda: gradient(formula))

    def steps():
        return {
            (name, element): total(formula.gate, moved(formula, name, element, 1j * TINY)).imag
            / TINY
            for name, element in elements(formula)
        }

    expected, error_of_steps = steps(), drift(steps)
    for name, element in elements(formula):
        tolerance = np.asarray(error[name])[element] + error_of_steps[name, element]
        slope = np.asarray(found[name])[element]
        assert abs(slope - expected[name, element]) <= tolerance


@settings(max_examples=200)
@given(formulas())
def test_a_derivative_is_a_formula_of_the_gradient(formula):
    found, error = gradient(formula), drift(lambda: gradient(formula))
    for name in formula.given:
        slope = formula.gate.derivative(name)
        given = {each: formula.given[each] for each in {*slope.inputs}}

        def value(slope=slope, given=given):
            return {"f": slope.trace(**given).value}

        computed, rounding = value()["f"], drift(value)["f"]
        assert np.shape(computed) == np.shape(found[name])
        assert (abs(computed - found[name]) <= error[name] + rounding).all()


def weights_of(formula, seed):
    """Random numbers in the shapes of the inputs, by name."""
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=np.shape(value)) for name, value in formula.given.items()}


def used(gate, given):
    """The values of those inputs that a formula has."""
    return {name: given[name] for name in gate.inputs}


@settings(max_examples=100)
@given(formulas(), st.integers(0, 2**32 - 1))
def test_second_derivatives_are_those_of_differences_of_the_first(formula, seed):
    """Walking twice: the gradient of Σ v ∂f/∂x is the slope of v · (the gradient)."""
    weights = weights_of(formula, seed)
    once = [weights[name] * formula.gate.derivative(name) for name in formula.given]

    def first(values):
        found = formula.gate.trace(**values).gradient()
        return sum(np.sum(weights[name] * slope) for name, slope in found.items())

    def second():
        total = {name: np.zeros(np.shape(value)) for name, value in formula.given.items()}
        for gate in once:
            for name, slope in gate.trace(**used(gate, formula.given)).gradient().items():
                total[name] = total[name] + slope
        return total

    found, error = second(), drift(second)
    rounding = drift(lambda: {"f": first(formula.given)})["f"] / H
    for name, element in elements(formula):
        near, far = (
            (
                first(moved(formula, name, element, step))
                - first(moved(formula, name, element, -step))
            )
            / (2 * step)
            for step in (H, 2 * H)
        )
        slope = np.asarray(found[name])[element]
        tolerance = abs(near - far) + rounding + np.asarray(error[name])[element]
        assume(tolerance < 1e-3 * max(1, abs(slope)))
        assert abs(slope - near) <= tolerance


@settings(max_examples=100)
@given(formulas(), st.integers(0, 2**32 - 1))
def test_a_directional_derivative_is_the_gradient_times_the_direction(formula, seed):
    """Σ R{f} = Σ v ∂f/∂x: walking on and walking back meet."""
    weights = weights_of(formula, seed)
    directions = {inputs(name)[0]: inputs(f"r{name}")[0] for name in weights}
    along = directional(formula.gate, directions)
    given = formula.given | {f"r{name}": move for name, move in weights.items()}

    def both():
        slopes = gradient(formula)
        return {
            "along": np.sum(along.trace(**used(along, given)).value),
            "gradient": sum(np.sum(weights[name] * slope) for name, slope in slopes.items()),
        }

    if along.inputs:  # not everywhere 0
        shape = np.shape(formula.gate.trace(**formula.given).value)
        assert np.shape(along.trace(**used(along, given)).value) == shape
    found, error = both(), drift(both)
    assert abs(found["along"] - found["gradient"]) <= error["along"] + error["gradient"]


ONE_SHAPE = formulas(
    operations=[name for name in TABLE if OPERATIONS[name].kind == "elementwise"],
    shapes=((4,),),
    constants=(0.5, 2.0, -1.5),
)


@settings(max_examples=100)
@given(ONE_SHAPE, st.integers(0, 2**32 - 1))
def test_formulas_of_one_shape_have_derivatives_without_sums(formula, seed):
    """As in an activation: all inputs and the weights g of the result have one shape."""
    names = formula.gate.inputs
    wanted, moves = inputs(*names), inputs(*(f"r{name}" for name in names))
    (g,) = inputs("g")
    same = dict.fromkeys((*wanted, *moves, g), wanted[0])
    given = formula.given | {f"r{name}": v for name, v in weights_of(formula, seed).items()}
    given["g"] = np.array([1.0, -0.5, 0.25, 2.0])
    plain = adjoints(formula.gate, g, wanted)
    for name, slope, expected in zip(
        names, adjoints(formula.gate, g, wanted, same), plain, strict=True
    ):
        directions = dict(zip(wanted, moves, strict=True))
        curve = directional(slope, directions, same)
        for gate, other in ((slope, expected), (curve, directional(expected, directions))):
            operations = {each.operation for each in gate.gates()}
            assert not operations & {"sum_like", "broadcast_like"}, name

            def both(gate=gate, other=other):
                values = {"one": gate, "other": other}
                return {
                    key: each.trace(**used(each, given)).value + np.zeros(4)
                    for key, each in values.items()
                }

            found, error = both(), drift(both)
            assert (abs(found["one"] - found["other"]) <= error["one"] + error["other"]).all()
