"""Merged formulas: what is recognised, that values stay, and what becomes right by it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbp import gates
from fastbp.gates import _merge
from fastbp.gates._graph import gate_of, leaf
from fastbp.gates._merge import ROWS, merged_together
from fastbp.gates._operations import OPERATIONS
from fastbp.gates._text import parse_expression

pytestmark = pytest.mark.once

EPS = float(np.finfo(np.float64).eps)
u, v, x, y, z = gates.inputs("u", "v", "x", "y", "z")
NAMES = ("u", "v", "x", "y", "z", "w", "b", "beta")


def formula(text):
    return parse_expression(text, NAMES)


# ---- what is recognised -------------------------------------------------------------------

# How people write what the table has, in texts of the formulas; merging gives the second text.
SPELLINGS = """
1 / (1 + exp(-x))                                       | sigmoid(x)
1 / (exp(-x) + 1)                                       | sigmoid(x)
(1 + exp(-x)) ** -1                                     | sigmoid(x)
reciprocal(1 + exp(-x))                                 | sigmoid(x)
1 / (1 + 1 / exp(x))                                    | sigmoid(x)
1 / (1 - -exp(-x))                                      | sigmoid(x)
1 / (1 + 2.718281828459045 ** -x)                       | sigmoid(x)
exp(x) / (1 + exp(x))                                   | sigmoid(x)
exp(x) / (exp(x) + 1)                                   | sigmoid(x)
exp(x) * (1 / (1 + exp(x)))                             | sigmoid(x)
(1 + tanh(x / 2)) / 2                                   | sigmoid(x)
0.5 * (1 + tanh(0.5 * x))                               | sigmoid(x)
(tanh(x * 0.5) + 1) * 0.5                               | sigmoid(x)
0.5 + tanh(x / 2) / 2                                   | sigmoid(x)
0.5 * (1 + tanh(x))                                     | sigmoid(2 * x)
0.5 * (1 - tanh(x / 2))                                 | sigmoid(-x)
1 - 1 / (1 + exp(-x))                                   | sigmoid(-x)
1 - sigmoid(-x)                                         | sigmoid(x)
1 / (1 + exp(x))                                        | sigmoid(-x)
1 / (1 + exp(-(w * x + b)))                             | sigmoid(w * x + b)
1 / (1 + exp(b - w * x))                                | sigmoid(w * x - b)
1 / (1 + exp(-2 * x))                                   | sigmoid(2 * x)
1 / (1 + exp(-x / 3))                                   | sigmoid(x / 3)
1 / (1 + exp(-beta * x))                                | sigmoid(beta * x)
exp(x) / (exp(x) + exp(y))                              | sigmoid(x - y)
where(x >= 0, 1 / (1 + exp(-x)), exp(x) / (1 + exp(x))) | sigmoid(x)
(exp(x) - exp(-x)) / (exp(x) + exp(-x))                 | tanh(x)
(exp(x) - 1 / exp(x)) / (exp(x) + 1 / exp(x))           | tanh(x)
(exp(2 * x) - 1) / (exp(2 * x) + 1)                     | tanh(x)
(exp(2 * x) - 1) / (1 + exp(2 * x))                     | tanh(x)
(exp(x) * exp(x) - 1) / (exp(x) * exp(x) + 1)           | tanh(x)
(1 - exp(-2 * x)) / (1 + exp(-2 * x))                   | tanh(x)
expm1(2 * x) / (expm1(2 * x) + 2)                       | tanh(x)
2 / (1 + exp(-2 * x)) - 1                               | tanh(x)
2 * sigmoid(2 * x) - 1                                  | tanh(x)
-1 + sigmoid(2 * x) * 2                                 | tanh(x)
1 - 2 / (exp(2 * x) + 1)                                | tanh(x)
sinh(x) / cosh(x)                                       | tanh(x)
(exp(x) - exp(-x)) / 2                                  | sinh(x)
0.5 * (exp(x) - 1 / exp(x))                             | sinh(x)
exp(x) / 2 - exp(-x) / 2                                | sinh(x)
(exp(x) + exp(-x)) / 2                                  | cosh(x)
0.5 * exp(-x) + 0.5 * exp(x)                            | cosh(x)
log(1 + exp(x))                                         | softplus(x)
log(exp(x) + 1)                                         | softplus(x)
log1p(exp(x))                                           | softplus(x)
-log(sigmoid(-x))                                       | softplus(x)
-log(1 / (1 + exp(x)))                                  | softplus(x)
-log(1 - sigmoid(x))                                    | softplus(x)
log(1 / (1 + exp(-x)))                                  | -softplus(-x)
log(1 - 1 / (1 + exp(-x)))                              | -softplus(x)
log1p(-1 / (1 + exp(-x)))                               | -softplus(x)
maximum(x, 0) + log1p(exp(-abs(x)))                     | softplus(x)
maximum(x, 0) - x * y + log(1 + exp(-abs(x))) | softplus(x) - x * y
x + log(1 + exp(-x))                                    | softplus(x)
log(1 + exp(x)) - x                                     | softplus(-x)
exp(-log(1 + exp(-x)))                                  | sigmoid(x)
log(1 + exp(beta * x)) / beta                           | softplus(beta * x) / beta
log(sum(exp(x)))                                        | logsumexp(x)
max(x) + log(sum(exp(x - max(x))))                      | logsumexp(x)
log(sum(exp(x - max(x)))) + max(x)                      | logsumexp(x)
exp(x) / sum(exp(x))                                    | softmax(x)
exp(x) * (1 / sum(exp(x)))                              | softmax(x)
exp(x - max(x)) / sum(exp(x - max(x)))                  | softmax(x)
exp(x - log(sum(exp(x))))                               | softmax(x)
log(exp(x) / sum(exp(x)))                               | x - logsumexp(x)
log(softmax(x))                                         | x - logsumexp(x)
x - max(x) - log(sum(exp(x - max(x))))                  | x - logsumexp(x)
x - log(sum(exp(x - max(x)))) - max(x)                  | x - logsumexp(x)
x - (max(x) + log(sum(exp(x - max(x)))))                | x - logsumexp(x)
-sum(y * log(exp(x) / sum(exp(x))))                     | -sum(y * (x - logsumexp(x)))
log(exp(x))                                             | x
log(1 / exp(x))                                         | -x
log1p(exp(x) - 1)                                       | x
log(1 + x)                                              | log1p(x)
log(x + 1)                                              | log1p(x)
log(1 - x)                                              | log1p(-x)
exp(x) - 1                                              | expm1(x)
-1 + exp(x)                                             | expm1(x)
1 - exp(x)                                              | -expm1(x)
1 / exp(x)                                              | exp(-x)
x * x                                                   | square(x)
x ** 2                                                  | square(x)
x ** 0.5                                                | sqrt(x)
x ** -1                                                 | reciprocal(x)
1 / x                                                   | reciprocal(x)
(-x) ** 2                                               | square(x)
abs(x) ** 2                                             | square(x)
sqrt(x * x)                                             | abs(x)
(x ** 2) ** 0.5                                         | abs(x)
maximum(x, -x)                                          | abs(x)
maximum(-2 * x, 2 * x)                                  | abs(-2 * x)
abs(-x)                                                 | abs(x)
abs(abs(x))                                             | abs(x)
maximum(x, 0)                                           | relu(x)
maximum(0, x)                                           | relu(x)
where(x > 0, x, 0)                                      | relu(x)
where(0 >= x, 0, x)                                     | relu(x)
x / (1 + exp(-x))                                       | silu(x)
x * sigmoid(x)                                          | silu(x)
x * (1 / (1 + exp(-x)))                                 | silu(x)
0.5 * x * (1 + tanh(x / 2))                             | silu(x)
x * tanh(log(1 + exp(x)))                               | mish(x)
tanh(softplus(x)) * x                                   | mish(x)
sin(x) / cos(x)                                         | tan(x)
cos(x) / sin(x)                                         | cot(x)
1 / cos(x)                                              | sec(x)
1 / sin(x)                                              | csc(x)
-(-x)                                                   | x
-(x - y)                                                | y - x
x - -y                                                  | x + y
x + -y                                                  | x - y
-x + y                                                  | y - x
0 - x                                                   | -x
x + 0                                                   | x
x - 0                                                   | x
1 * x                                                   | x
x * -1                                                  | -x
x / 1                                                   | x
x / -1                                                  | -x
x ** 1                                                  | x
-x * -y                                                 | x * y
-x / -y                                                 | x / y
-(2 * x)                                                | -2 * x
-(x * 2)                                                | -2 * x
-(x / 3)                                                | x / -3
-(3 / x)                                                | -3 / x
3 / -x                                                  | -3 / x
-x / 3                                                  | x / -3
2 * -x                                                  | -2 * x
2 * (x * 3)                                             | 6 * x
x / 4                                                   | 0.25 * x
x / 3                                                   | x / 3
x * (1 / y)                                             | x / y
x * -y + z                                              | z - x * y
-x * y - z                                              | -(x * y + z)
-x + -y                                                 | -(x + y)
x / -y + -z                                             | -(x / y + z)
2 * 3 + x                                               | 6 + x
sqrt(2 / 4) * x                                         | 0.7071067811865476 * x
where(1 < 2, 3, 4) * x                                  | 3 * x
-(y * log(1 / (1 + exp(-x))) + (1 - y) * log(1 - 1 / (1 + exp(-x)))) | y * softplus(-x) + (1 - y) * softplus(x)
"""  # noqa: E501
SPELLINGS = [
    tuple(part.strip() for part in line.split("|")) for line in SPELLINGS.strip().split("\n")
]


@pytest.mark.parametrize(("written", "expected"), SPELLINGS, ids=[s[0] for s in SPELLINGS])
def test_parts_are_recognised_as_people_write_them(written, expected):
    gate = formula(written)
    merged = gate.merged()
    assert str(merged) == expected
    assert merged.merged() is merged
    assert set(merged.inputs) == set(gate.inputs)
    if written != "x / 3":
        assert merged.count() <= gate.count()


@pytest.mark.parametrize(
    "text",
    [
        "exp(log(x))",
        "sqrt(x) ** 2",
        "sqrt(x) * sqrt(x)",
        "x * 0",
        "0 / x",
        "x / x",
        "x - x",
        "x ** 0",
        "1 / (1 / x)",
        "expm1(log1p(x))",
        "log(square(x))",
        "log(x * y)",
        "log(x) - log(y)",
        "where(x >= 0, x, 0)",  # its slope at 0 is 1
        "where(x > 0, x, -x)",  # its slope at 0 is -1
        "maximum(x, x)",  # its slope is 0
        "minimum(x, 0)",
        "where(y > 0, x, x)",  # y may have more axes than x
        "exp(x) / sum(exp(y))",
        "y + logsumexp(x - y)",
        "exp(x - max(y)) / sum(exp(x - max(y)))",
        "1 / 0 + x",
        "log(-1) + x",
        "exp(1000) * x",
        "1e+300 * 1e+290 * x",
        "2e-50 * (3e-50 * x)",
        "1e-20 * (1e-20 * x)",  # 1e-40 is 0 in float32 without subnormal numbers
        "x * sigmoid(1.702 * x)",
        "x + y - y",
        "x + 1e+16 - 1e+16",
    ],
)
def test_what_would_change_values_slopes_or_domains_stays(text):
    known = {"sqrt(x) ** 2": "square(sqrt(x))", "sqrt(x) * sqrt(x)": "square(sqrt(x))"}
    known |= {"1 / (1 / x)": "reciprocal(reciprocal(x))", "1 / 0 + x": "reciprocal(0) + x"}
    known |= {"exp(x - max(y)) / sum(exp(x - max(y)))": "softmax(x - max(y))"}
    assert str(formula(text).merged()) == known.get(text, text)


def test_nothing_is_computed_with_infinite_numbers():
    for gate in (
        x + leaf("number", math.inf) * leaf("number", 0.0),
        x * (leaf("number", math.nan) + 1),
    ):
        assert gate.merged() is gate


# ---- every row of the table ---------------------------------------------------------------

NUMBERS = {"c": 3.0, "n": -3.0, "k": 4.0}
LETTERS = ("u", "v", "x", "y", "c", "n", "k")


def with_numbers(text):
    """A form of the table with numbers for the variables that stand for numbers."""
    return _filled(parse_expression(text, LETTERS))


def _filled(gate):
    if gate.operation == "input" and gate.data in NUMBERS:
        return leaf("number", NUMBERS[gate.data])
    if not gate.operands:
        return gate
    return gate_of(gate.operation, [_filled(operand) for operand in gate.operands])


def row_id(row):
    return row.written


@pytest.mark.parametrize("row", ROWS, ids=row_id)
def test_every_row_is_the_first_that_matches_what_it_says(row):
    gate = with_numbers(row.written)
    parts = gate.gates()[:-1]  # as results they are used, which rows with `alone` do not allow
    assert merged_together(parts) == parts, "the row waits for operands that never come"
    operations = tuple(operand.operation for operand in gate.operands)
    rewriting = _merge._Pass((gate,), set())
    for pattern in _merge._candidates(gate.operation, operations):
        if rewriting._match_operands(pattern, pattern.written, gate.operands, {}):
            assert pattern.merged is parse_expression(row.merged, LETTERS)
            break
    else:
        pytest.fail("no row matches")
    assert gate.merged() is with_numbers(row.merged).merged()


@pytest.mark.parametrize("row", ROWS, ids=row_id)
def test_every_row_keeps_values_and_gradients(row):
    gate, expected = with_numbers(row.written), with_numbers(row.merged)
    rng = np.random.default_rng(7)
    given = {
        name: rng.uniform(0.1, 0.9, (4, 3)) * rng.choice([-1, 1], (4, 3)) for name in NAMES[:4]
    }
    if (
        any(part in row.written for part in ("0.5", "log(1 - x)", "log(1 + x)"))
        and "x" in gate.inputs
    ):
        given["x"] = abs(given["x"])
    check_same(gate, expected, {name: given[name] for name in gate.inputs})


# ---- values and gradients within rounding -------------------------------------------------


def check_same(gate, merged, given):
    """Values and gradients of both formulas agree within the rounding errors of both.

    They are summed with random weights, because one walk finds a bound of the error of a sum.
    """
    rng = np.random.default_rng(11)
    shapes = [np.shape(each.trace(**given).values[each]) for each in (gate, merged)]
    assert shapes[0] == shapes[1]
    weights = rng.uniform(0.5, 1.5, shapes[0])
    pairs = [(gate * weights, merged * weights)]
    for name, value in given.items():
        weights = rng.uniform(0.5, 1.5, np.shape(value))
        pairs.append(tuple(each.derivative(name) * weights for each in (gate, merged)))
    for one, other in pairs:
        (a, E_a), (b, E_b) = with_bound(one, given), with_bound(other, given)
        assert np.isfinite(E_a), f"{one} is {a}: choose other values of the inputs"
        assert abs(a - b) <= E_a + E_b, f"{one} is {a}, {other} is {b}"


def with_bound(gate, given):
    """The sum of a formula's values, and a bound of its rounding error to first order.

    An operation errs by at most 4 eps of its value, and a sum of k terms by k eps of Σ|terms|. An
    error of a gate moves the result by the derivative of the result with respect to the gate, which
    a walk back computes for all gates. The bound is doubled for terms of higher order.
    """
    trace = gate.trace(**{name: given[name] for name in gate.inputs})
    values = trace.values
    total = np.sum(values[gate])
    bound = (np.size(values[gate]) + 4) * EPS * np.sum(np.abs(values[gate]))
    for part, slope in trace.gradients.items():
        if part.operands:
            errors = 4 * EPS * np.abs(values[part])
            if OPERATIONS[part.operation].kind != "elementwise":
                terms = np.abs(values[part.operands[0]])
                errors = errors + np.size(terms) * EPS * np.sum(terms)
            bound += np.sum(np.abs(slope) * errors)
    return float(total), 2 * float(bound)


# ---- what becomes right -------------------------------------------------------------------

# formula, x, the value and the slope that only the merged form gets right
EXTREMES = [
    ("1 / (1 + exp(-x))", -1000.0, 0.0, 0.0),
    ("1 / (1 + exp(-x))", 1000.0, 1.0, 0.0),
    ("exp(x) / (1 + exp(x))", 1000.0, 1.0, 0.0),
    ("1 - 1 / (1 + exp(-x))", 40.0, math.exp(-40), -math.exp(-40)),
    ("0.5 * (1 + tanh(x / 2))", -50.0, math.exp(-50), math.exp(-50)),
    ("(exp(x) - exp(-x)) / (exp(x) + exp(-x))", 1000.0, 1.0, 0.0),
    ("(exp(2 * x) - 1) / (exp(2 * x) + 1)", 1000.0, 1.0, 0.0),
    ("(exp(2 * x) - 1) / (exp(2 * x) + 1)", 1e-20, 1e-20, 1.0),
    ("1 - 2 / (exp(2 * x) + 1)", 1e-20, 1e-20, 1.0),
    ("log(1 + exp(x))", 1000.0, 1000.0, 1.0),
    ("log(1 + exp(x))", -50.0, math.exp(-50), math.exp(-50)),
    ("log(1 / (1 + exp(-x)))", -1000.0, -1000.0, 1.0),
    ("log(1 - 1 / (1 + exp(-x)))", 1000.0, -1000.0, -1.0),
    ("maximum(x, 0) + log1p(exp(-abs(x)))", 0.0, math.log(2), 0.5),
    ("log(exp(x))", 1000.0, 1000.0, 1.0),
    ("log(1 + x)", 1e-20, 1e-20, 1.0),
    ("exp(x) - 1", 1e-20, 1e-20, 1.0),
    ("1 - exp(x)", 1e-20, -1e-20, -1.0),
    ("(exp(x) - exp(-x)) / 2", 1e-20, 1e-20, 1.0),
    ("sqrt(x * x)", 1e200, 1e200, 1.0),
    ("sqrt(x * x)", 0.0, 0.0, 0.0),
    ("x / (1 + exp(-x))", -1000.0, 0.0, 0.0),
    ("x * tanh(log(1 + exp(x)))", 1000.0, 1000.0, 1.0),
    ("exp(x) / (exp(x) + exp(2 * x))", 1000.0, 0.0, 0.0),
]


@pytest.mark.parametrize(("text", "at", "value", "slope"), EXTREMES)
def test_the_merged_form_is_right_where_the_written_one_is_not(text, at, value, slope):
    def computed(gate):
        trace = gate.trace(x=at)
        return trace.value, trace.gradient()["x"]

    def is_right(found):
        # eps / 2 of the argument of exp changes the result by |x| eps / 2
        tolerance = 4 + (abs(at) if abs(at) < 100 else 0)
        return all(
            abs(a - b) <= tolerance * EPS * abs(b)
            for a, b in zip(found, (value, slope), strict=True)
        )

    gate = formula(text)
    assert is_right(computed(gate.merged())), computed(gate.merged())
    if not text.startswith("1 / (1 +"):  # whose value is right, but its slope is inf * 0
        assert not is_right(computed(gate)), "the written form is right as well"


def test_cross_entropy_of_huge_numbers():
    """J = −Σ y log softmax(z) has the gradient p Σy − y, also where exp(z) overflows."""
    loss = formula("-sum(y * log(exp(z) / sum(exp(z))))")
    given = {"z": np.array([[1000.0, -1000.0, 999.0], [0.5, 0.25, -3.0]]), "y": np.eye(3)[[1, 0]]}
    trace = loss.merged().trace(**given)
    rest = math.log1p(math.exp(-1.0))
    z = given["z"][1]
    p = np.array([[1 / (1 + math.exp(-1)), 0, 1 / (1 + math.exp(1))], np.exp(z) / np.exp(z).sum()])
    np.testing.assert_allclose(trace.value, [2000 + rest, -math.log(p[1, 0])], rtol=8 * EPS)
    np.testing.assert_allclose(trace.gradient()["z"], p - given["y"], rtol=8 * EPS, atol=8 * EPS)
    assert np.isnan(loss.trace(**given).gradient()["z"]).any()


# ---- gelu ---------------------------------------------------------------------------------

ROOT = math.sqrt(2 / math.pi)
GELUS = [
    0.5 * x * (1 + gates.tanh(ROOT * (x + 0.044715 * x**3))),
    x * 0.5 * (1 + gates.tanh(ROOT * x * (1 + 0.044715 * x * x))),
    0.5 * (x * (1 + gates.tanh(ROOT * (x + 0.044715 * (x * x * x))))),
    x * (0.5 * (1 + gates.tanh(ROOT * (x + 0.044715 * x**3)))),
    x / 2 * (1 + gates.tanh(gates.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    x * gates.sigmoid(2 * ROOT * (x + 0.044715 * x**3)),
    x * gates.sigmoid(2 * ROOT * x + (2 * ROOT * 0.044715) * x**3),
    x * gates.sigmoid(x * (2 * ROOT + 2 * ROOT * 0.044715 * x**2)),
    x / (1 + gates.exp(-2 * ROOT * (x + 0.044715 * x**3))),
    x / (1 + gates.exp(-(x + 0.044715 * x**3) * 2 * ROOT)),
    x * gates.sigmoid(-(-2 * ROOT * (x + 0.044715 * x**3) / 1)),
]


@pytest.mark.parametrize("gate", GELUS, ids=str)
def test_gelu_is_recognised(gate):
    assert gate.merged() is gates.gelu_tanh(x)
    check_same(gate, gate.merged(), {"x": np.linspace(-3, 3, 13)})


def test_gelu_of_any_gate_is_recognised():
    for u in (3 * x, x * 3, x + y, -x, x / 3):
        gate = 0.5 * u * (1 + gates.tanh(ROOT * (u + 0.044715 * u**3)))
        assert gate.merged() is gates.gelu_tanh(u)


@pytest.mark.parametrize(
    "v",
    [
        1.702 * x,
        2 * 0.7978845608 * (x + 0.044715 * x**3),  # ten digits differ by 4e-12
        2 * ROOT * (x + 0.0447 * x**3),
        2 * ROOT * (x + 0.044715 * y**3),
        2 * ROOT * (x + 0.044715 * x**2),
        2 * ROOT * (x + 0.044715 * x**4),
        2 * ROOT * (x + 0.044715 * x**3 + 1e-300),
        2 * ROOT * (x + 0.044715 * x**3 * x / x),
        2 * ROOT * (x + 0.044715 * gates.sin(x) ** 3),
    ],
    ids=str,
)
def test_other_functions_than_gelu_stay_sigmoids(v):
    assert "gelu" not in str((x * gates.sigmoid(v)).merged())


def test_coefficients_of_gelu_are_exact_but_for_rounding():
    exact = 2 * ROOT
    for digits, known in ((0, True), (1, True), (20, False)):
        c = exact * (1 + digits * EPS)
        gate = x * gates.sigmoid(c * (x + 0.044715 * x**3))
        assert (gate.merged() is gates.gelu_tanh(x)) is known


# ---- graphs -------------------------------------------------------------------------------


def test_parts_that_other_gates_use_stay_shared():
    e, e_x = gates.exp(-x), gates.exp(x)
    merged = (1 / (1 + e) + e).merged()
    assert merged is gates.sigmoid(x) + gates.exp(-x)
    s = gates.sigmoid(x)
    assert (s * (1 - s)).merged() is s * (1 - s)  # sigmoid(-x) would be one exponential more
    assert (1 - s).merged() is gates.sigmoid(-x)
    t = gates.tanh(x / 2)
    assert str((0.5 * (1 + t) + t).merged()) == "0.5 * (1 + tanh(0.5 * x)) + tanh(0.5 * x)"
    assert (y * x + x * y).merged() is y * x + y * x
    assert str((x * -y - gates.exp(-y)).merged()) == "x * -y - exp(-y)"
    r = 1 / gates.exp(x)
    assert (r * r * gates.exp(x)).merged() is gates.square(gates.reciprocal(e_x)) * e_x
    d = 1 + gates.exp(-x)
    assert str((y / d + gates.log(d) * gates.exp(-x)).merged()) == (
        "y / (1 + exp(-x)) + softplus(-x) * exp(-x)"
    )


def test_a_part_is_merged_when_its_other_users_have_been():
    e = gates.exp(x)
    first = 1 - gates.exp(x)  # exp(x) is used twice, until the other user becomes softplus(x)
    assert (first * gates.log(1 + e)).merged() is -(gates.expm1(x) * gates.softplus(x))


def test_formulas_that_are_merged_together_share_their_parts():
    s = 1 / (1 + gates.exp(-x))
    value, slope = merged_together((s, s * (1 - s)))
    assert value is gates.sigmoid(x)
    assert slope is value * (1 - value)
    assert merged_together((1 - s, s)) == (1 - value, value)  # a result is a use as well


def test_what_is_merged_does_not_depend_on_when_gates_were_made():
    (late,) = gates.inputs("made_late")
    gate = (late * y + y * late) / (1 + gates.exp(-late))
    text = str(gate)
    del late
    again = parse_expression(text, ("made_late", "y"))
    assert str(again.merged()) == str(gate.merged())


def test_equal_formulas_after_merging_are_one_gate():
    one, other = 1 / (1 + gates.exp(-x)), gates.exp(x) / (1 + gates.exp(x))
    assert (one - other).merged() is gates.sigmoid(x) - gates.sigmoid(x)


def test_large_graphs_are_merged():
    f = g = h = x
    for _ in range(5_000):
        f = 1 - 1 / (1 + gates.exp(-f))
        g = -g * y
        h = 2 * (h / 4) + 0 * y
    assert f.merged().count() == 2 * 5_000
    assert g.merged().count() == 5_000
    assert h.merged().count() == 2 * 5_000 + 1


# ---- random formulas ----------------------------------------------------------------------

MOST = 50.0
GAP = 0.05


def _apart(p, q):
    return np.min(np.abs(p - q)) > GAP


def _not_0(p):
    return np.min(np.abs(p)) > GAP


# the values of operands at which an operation and its slopes are smooth and moderate
SMOOTH = {
    "div": lambda p, q: _not_0(q),
    "reciprocal": _not_0,
    "pow": lambda p, q: np.min(p) > GAP and np.max(np.abs(q)) < 4,
    "log": lambda p: np.min(p) > GAP,
    "log1p": lambda p: np.min(p) > GAP - 1,
    "sqrt": lambda p: np.min(p) > GAP,
    "abs": _not_0,
    "relu": _not_0,
    "maximum": _apart,
    "minimum": _apart,
    "less": _apart,
    "less_equal": _apart,
    "max": lambda p: (
        np.size(p) < 2 or np.min(np.diff(np.sort(p, axis=-1))[..., -1:], initial=1) > GAP
    ),
    "tan": lambda p: _not_0(np.cos(p)),
    "sec": lambda p: _not_0(np.cos(p)),
    "cot": lambda p: _not_0(np.sin(p)),
    "csc": lambda p: _not_0(np.sin(p)),
}
STEPS = [
    *(formula(written) for written, _ in SPELLINGS),
    *(formula(f"x {sign} {n}") for sign in "+-*/" for n in ("0.5", "1", "2", "3", "-1")),
    *(formula(f"{n} {sign} x") for sign in "+-*/" for n in ("0.5", "1", "2", "3", "-1")),
    *(formula(f"x {sign} y") for sign in "+-*/"),
    *(
        formula(f"{name}(x)")
        for name in ("exp", "log", "tanh", "sigmoid", "sum", "softplus", "sin")
    ),
]


def filled(gate, inputs):
    """The formula with other gates in the place of its inputs."""
    new = {}
    for each in gate.gates():
        operands = [new[operand] for operand in each.operands]
        new[each] = gate_of(each.operation, operands) if operands else inputs.get(each.data, each)
    return new[gate]


def is_moderate(trace):
    """Whether all values are finite and away from kinks and ends of domains."""
    values = trace.values
    for gate, value in values.items():
        if not np.all(np.abs(value) < MOST):
            return False
        smooth = SMOOTH.get(gate.operation)
        if smooth and not smooth(*[values[operand] for operand in gate.operands]):
            return False
    return True


@st.composite
def random_formulas(draw):
    """A formula in which each step uses earlier ones in a way that people write."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    given = {name: rng.uniform(-2, 2, draw(st.sampled_from([(), (3,), (2, 3)]))) for name in "xy"}
    made = [x, y]
    for _ in range(draw(st.integers(1, 6))):
        step = draw(st.sampled_from(STEPS))
        inputs = {name: draw(st.sampled_from(made[-3:])) for name in step.inputs}
        gate = filled(step, inputs)
        if is_moderate(gate.trace(**{name: given[name] for name in gate.inputs})):
            made.append(gate)
    return made[-1], {name: given[name] for name in made[-1].inputs}


@settings(max_examples=100)
@given(random_formulas())
def test_random_formulas_keep_values_and_gradients(case):
    gate, given = case
    merged = gate.merged()
    assert merged.merged() is merged
    assert set(merged.inputs) == set(gate.inputs)
    logarithms = sum(part.operation in ("log", "log1p") for part in gate.gates())
    assert merged.count() <= gate.count() + logarithms  # log(sigmoid(x)) is -softplus(-x)
    check_same(gate, merged, given)


@given(random_formulas())
def test_derivatives_of_random_formulas_can_be_merged(case):
    gate, given = case
    for name in given:
        slope = gate.derivative(name)
        merged = slope.merged()
        assert merged.merged() is merged
        assert set(merged.inputs) == set(slope.inputs)
        used = {name: given[name] for name in slope.inputs}
        check_same(slope, merged, used)
