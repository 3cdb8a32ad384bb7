"""Programs of formulas: as short as if written by hand."""

import math
import subprocess
import sys

import numpy as np
import pytest
from program_interpreter import run

import fastbp
import fastbp.testing
from fastbp import gates
from fastbp.gates import _compile


def operations(program):
    return [operation for operation, *_ in program.code]


@pytest.mark.parametrize(
    ("made", "value", "slope"),
    [
        (gates.activation(lambda z: z * gates.sigmoid(z)), ["silu"], ["silu_slope", "mul"]),
        (gates.activation(lambda z: z / (1 + gates.exp(-z))), ["silu"], ["silu_slope", "mul"]),
        (
            gates.activation(lambda z: z * gates.tanh(gates.log(1 + gates.exp(z)))),
            ["mish"],
            ["mish_slope", "mul"],
        ),
        (
            gates.activation(
                lambda z: 0.5 * z * (1 + gates.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)))
            ),
            ["gelu_tanh"],
            ["gelu_tanh_slope", "mul"],
        ),
        (gates.activation(gates.tanh), ["tanh"], ["tanh", "fnma", "mul"]),
        (gates.activation(gates.sigmoid), ["sigmoid"], ["sigmoid", "fnma", "mul"]),
        (gates.activation(gates.softplus), ["softplus"], ["sigmoid", "mul"]),
        (gates.activation(gates.relu), ["max"], ["select_positive"]),
        (gates.activation(lambda z: gates.maximum(z, 0)), ["max"], ["select_positive"]),
        (gates.activation(lambda z: gates.where(z > 0, z, 0)), None, ["select_positive"]),
        (gates.activation(abs), ["abs"], ["sign", "mul"]),
        (
            gates.prelu(),
            ["mul", "select_positive"],
            ["mul", "select_positive", "select_positive", "mul"],
        ),
    ],
)
def test_activations_are_short(made, value, slope):
    programs = made.programs()
    assert value is None or operations(programs[0]) == value
    assert slope is None or operations(programs[1]) == slope


def test_powers_are_products():
    """3 (2 z²)⁵ and its slope 960 z⁹, without any pow."""
    made = gates.activation(lambda z: 3 * (2 * z**2) ** 5)
    for program in made.programs():
        assert "pow" not in operations(program)
    assert len(operations(made.programs()[0])) == 6  # z², times 2, two squares, times, times 3


@pytest.mark.parametrize(
    ("power", "expected"),
    [
        (1, ["copy"]),
        (2, ["square"]),
        (3, ["square", "mul"]),
        (16, ["square"] * 4),
        (17, ["pow"]),
        (-1, ["reciprocal"]),
        (-2, ["square", "reciprocal"]),
        (0.5, ["sqrt"]),
        (-0.5, ["sqrt", "reciprocal"]),
        (1.5, ["pow"]),
    ],
)
def test_powers(power, expected):
    made = gates.activation(lambda z: z**power)
    assert operations(made.programs()[0]) == expected


def test_constants_of_a_layer_are_not_spread_out():
    """What depends on trained constants alone is computed once per element, and only that."""
    value = gates.activation(lambda z, c: z * gates.exp(c) + c, c=0.0).programs()[0]
    assert operations(value) == ["copy", "exp", "fma"] and value.inputs == ("full", "one")
    value = gates.activation(lambda z, c: z * gates.exp(c), c=0.0, per="unit").programs()[0]
    assert operations(value) == ["exp", "mul"] and value.inputs == ("full", "full")


def full(program):
    """The operations that compute a number for every output, or read one."""
    kinds = [*program.inputs, *("one" for _ in program.constants), *program.temporaries]
    return [
        operation
        for operation, *slots in program.code
        if "full" in [kinds[slot] for slot in slots if slot >= 0]
    ]


@pytest.mark.parametrize(
    "function",
    [
        lambda a, y: gates.logsumexp(a) - gates.sum(y * a),
        lambda a, y: gates.log(gates.sum(gates.exp(a))) - gates.sum(y * a),
    ],
)
def test_cross_entropy_of_one_class(function):
    """J and p − y share the exponentials."""
    slope = full(gates.loss(function).programs()[1])
    assert sorted(slope) == ["exp", "fms", "mul", "row_max", "row_sum", "row_sum", "sub"]


@pytest.mark.parametrize(
    "function",
    [
        lambda a, y: -gates.sum(y * gates.log(gates.exp(a) / gates.sum(gates.exp(a)))),
        lambda a, y: -gates.sum(y * gates.log(gates.softmax(a))),
        lambda a, y: gates.sum(-y * (a - gates.logsumexp(a))),
    ],
)
def test_cross_entropy_of_probabilities(function):
    """log p = (a − max a) − log(sum of exponentials), whose first part the exponentials need."""
    value, slope, _ = gates.loss(function).programs()
    assert full(value) == ["row_max", "sub", "exp", "row_sum", "sub", "mul", "row_sum"]
    assert sorted(full(slope)) == sorted([*full(value), "fms", "row_sum"])


def test_the_logarithm_of_a_large_probability_is_accurate():
    """log p = −log(1 + e⁻³⁰) has the rounding of 1 + e⁻³⁰, not that of logsumexp(a) = 30."""
    loss = gates.loss(lambda a, y: -gates.sum(y * gates.log(gates.softmax(a))))
    (found,) = run(loss.programs()[0], [np.array([[30.0, 0.0]]), np.array([[1.0, 0.0]])], (1, 2))
    assert abs(found - math.log1p(math.exp(-30))) <= 2 * np.finfo(float).eps


def test_huber():
    def huber(a, y, delta=0.7):
        e = abs(a - y)
        return gates.mean(gates.where(e <= delta, 0.5 * e**2, delta * (e - 0.5 * delta)))

    assert len(full(gates.loss(huber).programs()[1])) <= 14


def test_means_divide_once_per_row():
    loss = gates.loss(lambda a, y: gates.mean((a - y) ** 2))
    _, slope, curve = loss.programs()
    assert operations(slope) == [
        *("sub", "row_length", "div", "mul"),  # (a − y) (2/n)
        *("square", "row_sum", "div"),
    ]
    assert operations(curve) == ["row_length", "div", "mul"]


def test_what_stays_the_same_along_a_row_is_computed_once():
    """log(mean(1)) needs no sum over outputs, nor does the gradient of a sum."""
    loss = gates.loss(lambda a, y: gates.sum(a) * gates.sum(gates.mean(y)) + gates.max(a * 0 + 2))
    assert operations(loss.programs()[0]).count("row_sum") == 2
    value, slope, curve = gates.loss(lambda a, y: gates.sum(a)).programs()
    assert operations(value) == ["row_sum"] and operations(curve) == ["copy"]
    assert sorted(operations(slope)) == ["copy", "row_sum"]


@pytest.mark.parametrize("first", ["", "kept = [exp(z * w), tanh(z), sin(z), w * z, 1 - sin(z)]"])
def test_programs_do_not_depend_on_gates_made_before(first):
    """A model that is loaded in another process computes with the same roundings."""
    text = "sin(z) * tanh(z) / (1 + exp(w * z)) + sin(z) * exp(z * w) + tanh(z) * sin(z) ** 3"
    code = f"""
from fastbp.gates import *
z, w = inputs("z", "w")
{first}
print(*ActivationFormula("{text}", w=0.5).programs(), sep="\\n")
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    made = gates.ActivationFormula(text, w=0.5)
    assert found.stdout.rstrip("\n") == "\n".join(map(str, made.programs()))


@pytest.mark.parametrize(
    "step",
    [
        "where({0} > 0, {0}, 0)",
        "where(z > 0, {0}, 0)",
        "where(z < 1, {0}, z * {0})",
        "-{0}",
        "abs({0})",
        "1 / {0}",
        "{0} + {0}",
        "{0} * {0}",
        "1 - {0}",
        "relu({0} - 1)",
        "{0} * (1 - {0})",
    ],
)
@pytest.mark.parametrize("last", ["3 * {0}", "z * {0}", "z - {0}"])
def test_deep_formulas_compile_or_are_too_large(step, last):
    """Also the longest text of a chain ends without a RecursionError."""
    parts, before = [], "z"
    while sum(map(len, parts)) < 15_000:
        name = f"s{len(parts)}"
        parts.append(f"{name} = {step.format(before)}; ")
        before = name
    try:
        gates.ActivationFormula("".join(parts) + last.format(before))
    except ValueError as error:
        assert "the formula is too large: the program of its" in str(error)


@pytest.mark.parametrize(
    "text",
    [
        "tanh(" * 22 + "z" + ")" * 22,
        " + ".join(f"exp(-(z - {i}) ** 2)" for i in range(31)),
    ],
)
def test_formulas_of_ordinary_size_compile(text):
    """A chain whose derivative needs every part of it, and a sum of many parts."""
    made = gates.ActivationFormula(text)
    z = np.linspace(-1, 1, 6).reshape(2, 3)
    (found,) = run(made.programs()[0], [z], z.shape)
    # each of at most 31 functions and sums of numbers up to 2 rounds to a few ulp
    eps = np.finfo(float).eps
    np.testing.assert_allclose(found, made.value(z), rtol=0, atol=31 * 8 * eps)
    net = fastbp.Network((3, 3, 1), activation=made, dtype="float64", seed=1)
    assert fastbp.testing.gradcheck(net, z, np.ones((2, 1)))


def test_a_refusal_names_the_first_program_that_is_too_large(monkeypatch):
    monkeypatch.setattr(_compile, "directional", None)  # no second derivative is taken
    for factors, needs in ((1000, "998 intermediate values"), (3000, "[0-9,]+ instructions")):
        with pytest.raises(ValueError, match=f"the program of its slope needs {needs}"):
            gates.ActivationFormula("*".join(["z"] * factors))
    with pytest.raises(ValueError, match="the program of its value needs 300 different numbers"):
        gates.LossFormula("sum(" + " * ".join(f"sin(a - {i}.5)" for i in range(300)) + ")")


def test_chains_of_choices():
    """A factor moves into few of them; the others are multiplied as they are."""
    parts = [f"s{i + 1} = where(z > {i}, s{i}, 0); " for i in range(60)]
    made = gates.ActivationFormula("s0 = sin(z); " + "".join(parts) + "3 * s60")
    z, eps = np.array([[-1.0, 70.0]]), 4 * np.finfo(float).eps
    for program, inputs in zip(made.programs()[:2], ([z], [z, z]), strict=True):
        (found,) = run(program, inputs, z.shape)
        want = 3 * np.sin(70) if len(inputs) == 1 else 210 * np.cos(70)
        assert found[0, 0] == 0 and found[0, 1] == pytest.approx(want, rel=eps)
