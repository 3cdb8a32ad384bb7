"""Programs of random activations and losses: run in NumPy and in the engine, they give the numbers
of the graphs that they were compiled from, but for rounding."""

import numpy as np
from gate_cases import TABLE, drift, formulas
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from program_interpreter import run

from fastbp import _core, gates
from fastbp.gates import ActivationFormula, LossFormula
from fastbp.gates._graph import gate_of
from fastbp.gates._operations import OPERATIONS

SHAPE = (2, 3)
NUMBERS = (0.5, 2.0, 3.0, -1.5)
ELEMENTWISE = tuple(name for name in TABLE if OPERATIONS[name].kind == "elementwise")


def renamed(gate, names):
    """The same formula of inputs with other names."""
    found = {}
    for each in gate.gates():
        if each.operation == "input":
            (found[each],) = gates.inputs(names[each.data])
        elif each.operands:
            found[each] = gate_of(each.operation, [found[x] for x in each.operands])
        else:
            found[each] = each
    return found[gate]


class Activation:
    """A random activation: its programs with their inputs, and what its graphs give."""

    def __init__(self, formula, per, seed):
        others = [name for name in formula.given if name != "x"]
        names = {"x": "z", "y": "u", "z": "v"}
        made = ActivationFormula(
            renamed(formula.gate, names), per=per, **{names[name]: 1.0 for name in others}
        )
        self.z = np.broadcast_to(formula.given["x"], SHAPE)
        self.c = [formula.given[name] for name in others]
        rng = np.random.default_rng(seed)
        self.g, self.rz, self.rg = rng.standard_normal((3, *SHAPE))
        self.rc = [rng.standard_normal(np.shape(c)) for c in self.c]
        self.made = made

    def runs(self):
        """Each program with its inputs."""
        z, c, g, rz, rc, rg = self.z, self.c, self.g, self.rz, self.rc, self.rg
        inputs = [z, *c], [z, *c, g], [z, *c, rz, *rc], [z, *c, g, rz, *rc, rg]
        return list(zip(self.made.programs(), inputs, strict=True))

    def expected(self):
        made, z, c, g, rz, rc, rg = (
            self.made, self.z, self.c, self.g, self.rz, self.rc, self.rg
        )  # fmt: skip
        found = made.value(z, c), *made.slope(z, c, g), made.push(z, c, rz, rc)
        return dict(enumerate([*found, *made.curve(z, c, g, rz, rc, rg)]))


class Loss:
    """The same for a random loss."""

    def __init__(self, formula, reduced, seed):
        gate = renamed(formula.gate, {"x": "a", "y": "y"})
        if np.shape(formula.gate.trace(**formula.given).value) == SHAPE:
            gate = reduced(gate)
        self.made = LossFormula(gate)
        self.a, self.y = formula.given["x"], formula.given.get("y", np.zeros(SHAPE))
        self.ra = np.random.default_rng(seed).standard_normal(SHAPE)

    def runs(self):
        inputs = [self.a, self.y], [self.a, self.y], [self.a, self.y, self.ra]
        return list(zip(self.made.programs(), inputs, strict=True))

    def expected(self):
        value = self.made.value(self.a, self.y)[:, None]
        gradient = self.made.gradient(self.a, self.y)
        return dict(enumerate([value, value, gradient, self.made.curve(self.a, self.y, self.ra)]))


def check_all(case):
    want = case.expected()
    for dtype in ("float64", "float32"):
        tolerance = drift(case.expected, eps=np.finfo(dtype).eps)
        found = [x for program, inputs in case.runs() for x in in_engine(program, inputs, dtype)]
        check_numbers(found, want, tolerance)
        if dtype == "float64":
            found = [x for program, inputs in case.runs() for x in run(program, inputs, SHAPE)]
            check_numbers(found, want, tolerance)


def check_numbers(found, want, tolerance):
    for i, x in enumerate(found):
        assert (abs(x.reshape(want[i].shape) - want[i]) <= tolerance[i]).all()


def in_engine(program, inputs, dtype):
    kinds = {"full": SHAPE, "one": (1,)}
    given = [
        np.array(np.broadcast_to(x, kinds[kind]), dtype)
        for x, kind in zip(inputs, program.inputs, strict=True)
    ]
    return _core.run_program(program, given, SHAPE, dtype == "float64")


def in_float32(formula):
    """The formula with values that float32 has."""
    formula.given = {name: np.float32(x).astype("d") for name, x in formula.given.items()}
    return formula


@settings(max_examples=70)
@given(formulas(ELEMENTWISE, shapes=[SHAPE], constants=NUMBERS), st.integers(0, 99))
def test_activations_with_constants_per_unit(formula, seed):
    assume("x" in formula.given)
    check_all(Activation(in_float32(formula), "unit", seed))


@settings(max_examples=70)
@given(formulas(ELEMENTWISE, shapes=[()], constants=NUMBERS), st.integers(0, 99))
def test_activations_with_constants_per_layer(formula, seed):
    assume("x" in formula.given)
    check_all(Activation(in_float32(formula), "layer", seed))


@settings(max_examples=70)
@given(
    formulas(shapes=[SHAPE], constants=NUMBERS),
    st.sampled_from([gates.sum, gates.mean]),
    st.integers(0, 99),
)
def test_losses(formula, reduced, seed):
    assume("x" in formula.given and "z" not in formula.given)
    case = Loss(in_float32(formula), reduced, seed)
    check_all(case)
    (value, inputs), (slope, _), _ = case.runs()
    for dtype in ("float64", "float32"):  # J is the same with and without its gradient
        alone, *_ = in_engine(value, inputs, dtype)
        np.testing.assert_array_equal(in_engine(slope, inputs, dtype)[0], alone)
