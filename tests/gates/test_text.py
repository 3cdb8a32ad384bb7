"""Formulas as text: what is printed is read back as the same gate; what is read is checked."""

import math
import string

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastbp import gates
from fastbp.gates import _text
from fastbp.gates._graph import gate_of, leaf
from fastbp.gates._operations import OPERATIONS
from fastbp.gates._text import (
    FUNCTIONS,
    MAX_CHARACTERS,
    MAX_DEPTH,
    MAX_GATES,
    expression_text,
    parse_expression,
    pointer,
)

pytestmark = pytest.mark.once

NAMES = ("x", "y", "s1", "β", "log")  # s1 could be a part's name, log is a function's
x, y, z = gates.inputs("x", "y", "z")


def number(value):
    return leaf("number", value)


def call(operation, *operands):
    return gate_of(operation, operands)


# ---- printing -----------------------------------------------------------------------------

PRINTED = [
    ((x + y) * z, "(x + y) * z"),
    (x + y + z, "x + y + z"),
    (x + (y + z), "x + (y + z)"),
    (x - y - z, "x - y - z"),
    (x - (y - z), "x - (y - z)"),
    (x - (y + z), "x - (y + z)"),
    (x * y / z, "x * y / z"),
    (x * (y / z), "x * (y / z)"),
    (x / (y * z), "x / (y * z)"),
    (x * y + z / y, "x * y + z / y"),
    (-x, "-x"),
    (call("neg", -x), "-(-x)"),
    (-(x**2), "-x ** 2"),
    ((-x) ** 2, "(-x) ** 2"),
    (x ** (-y), "x ** -y"),
    (x**y**z, "x ** y ** z"),
    ((x**y) ** z, "(x ** y) ** z"),
    ((x * y) ** 2, "(x * y) ** 2"),
    (2 ** (-x), "2 ** -x"),
    (-(2**x), "-2 ** x"),
    ((-2) ** x, "(-2) ** x"),
    (x**-2, "x ** -2"),
    (-2 * x, "-2 * x"),
    (-(2 * x), "-(2 * x)"),
    (x + -2, "x + -2"),
    (x - -2, "x - -2"),
    (x * -y, "x * -y"),
    (-x * y, "-x * y"),
    (-(x * y), "-(x * y)"),
    (-(x + y), "-(x + y)"),
    (call("neg", number(2)), "-(2)"),
    (call("neg", number(-2)), "-(-2)"),
    (number(-0.0), "-0"),
    (x + 0.1, "x + 0.1"),
    (x + 1e-300, "x + 1e-300"),
    (x + 2.0**70, "x + 1.1805916207174113e+21"),
    (abs(x), "abs(x)"),
    (gates.log(x, 2), "log(x) / log(2)"),
    (gates.maximum(x, y + 1), "maximum(x, y + 1)"),
    (gates.where(x > 0, x, 0.25 * x), "where(x > 0, x, 0.25 * x)"),
    (gates.where(x <= y, x, y), "where(x <= y, x, y)"),
    (gates.where(x > y, x, y), "where(y < x, x, y)"),
    (gates.where(0 > x - 1, x, y), "where(x - 1 < 0, x, y)"),
    (gates.where(x, y, z), "where(x, y, z)"),
    (gates.where(gates.where(x < y, x, y) >= 1, x, y), "where(where(x < y, x, y) >= 1, x, y)"),
    ((x < y) * z, "less(x, y) * z"),
    (gates.sum(gates.softmax(x)), "sum(softmax(x))"),
]


@pytest.mark.parametrize(("gate", "text"), PRINTED, ids=[text for _, text in PRINTED])
def test_formulas_are_printed_as_people_write_them(gate, text):
    assert str(gate) == text
    assert repr(gate) == f"Gate({text!r})"
    assert parse_expression(text, ("x", "y", "z")) is gate


def python_value(text):
    """What Python makes of a text whose operators and functions act on gates."""
    names = {"x": x, "y": y, "z": z, "__builtins__": {}}
    return eval(text, names | {name: getattr(gates, name, None) for name in FUNCTIONS})


@pytest.mark.parametrize("text", [t for g, t in PRINTED if g.inputs and "less(" not in t])
def test_texts_mean_what_they_mean_in_python(text):
    assert python_value(text) is parse_expression(text, ("x", "y", "z"))


def test_parts_that_are_used_twice_get_a_name_in_files_and_in_long_formulas():
    e = gates.exp(x)
    assert expression_text((e - 1) / (e + 1)) == "s1 = exp(x); (s1 - 1) / (s1 + 1)"
    assert str((e - 1) / (e + 1)) == "(exp(x) - 1) / (exp(x) + 1)"
    assert expression_text((x + y) * (x + y)) == "s1 = x + y; s1 * s1"
    assert expression_text((x < y) * gates.where(x < y, x, y)) == (
        "s1 = less(x, y); s1 * where(s1, x, y)"
    )
    f = x
    for _ in range(100):  # 2¹⁰⁰ gates if nothing were shared
        f = f * f
    assert str(f) == expression_text(f)
    assert str(f).startswith("s1 = x * x; s2 = s1 * s1; ")
    assert str(f).endswith("; s99 * s99")


def test_names_of_parts_are_no_names_of_inputs():
    (s1,) = gates.inputs("s1")
    f = gates.exp(s1) * (gates.exp(s1) + 1)
    assert expression_text(f) == "s2 = exp(s1); s2 * (s2 + 1)"
    # as an input that the formula does not use, it may be a part's name
    f = gates.exp(x) * (gates.exp(x) + 1)
    assert parse_expression(expression_text(f), ("s1", "x")) is f


def test_long_formulas_are_shown_by_their_last_operations():
    f = x
    for i in range(1000):
        f = gates.exp(f) * f + i
    assert len(repr(f)) < 130
    assert repr(f).endswith(" + 999')") and "…" in repr(f)


def test_a_chain_of_many_gates_is_printed():
    f = x
    for _ in range(20_000):
        f = f + y
    assert str(f) == "x" + " + y" * 20_000
    g = x
    for _ in range(3_000):
        g = gates.sin(g)
    assert str(g).count("sin") == 3_000
    assert repr(g).startswith("Gate('sin(sin(")


def test_deep_formulas_can_be_read_back():
    f, g, h = x, x, x
    for _ in range(900):
        f, g, h = gates.sin(f), y - g, -(h**y)
    for gate in (f, g, h):
        assert parse_expression(expression_text(gate), ("x", "y")) is gate


def test_arrays_and_infinite_numbers_are_shown_but_are_no_text_for_files():
    f = x * [1, 2, 3] + math.inf
    assert str(f) == "x * <3 array> + inf"
    assert str(y * np.ones((2, 3))) == "y * <2x3 array>"
    with pytest.raises(ValueError, match="no arrays") as error:
        expression_text(f)
    assert str(error.value).splitlines()[1:] == [
        "    x * <3 array> + inf",
        "        ^^^^^^^^^",
    ]
    with pytest.raises(ValueError, match="finite") as error:
        expression_text(x + math.nan)
    assert str(error.value).splitlines()[1:] == ["    x + nan", "        ^^^"]


def test_formulas_beyond_the_limits_are_no_text_for_files():
    f = x
    for _ in range(MAX_GATES):
        f = gates.sin(f)
    with pytest.raises(ValueError, match=r"at most 5,000 gates; this one has 5,001"):
        expression_text(f)
    f = x
    for i in range(MAX_CHARACTERS // 20):
        f = f + (0.1 + i / 7919)
    with pytest.raises(ValueError, match=r"at most 20,000 characters; this one has 2\d,\d{3}"):
        expression_text(f)


def test_the_place_of_a_part_is_shown():
    f = gates.where(x > 0, x, gates.exp(-x) - 1)
    assert pointer(f, gates.exp(-x)).splitlines() == [
        "    where(x > 0, x, exp(-x) - 1)",
        "                    ^^^^^^^",
    ]
    assert pointer(f, x > 0).splitlines()[1] == " " * 10 + "^^^^^"
    assert pointer(f, f).splitlines()[1] == "    " + "^" * len(str(f))
    assert pointer((x + y) * z, x + y).splitlines()[1] == "    ^^^^^^^"  # with its parentheses
    assert pointer(x * x, x).splitlines()[1] == "    ^"  # the first of two
    long = x
    for i in range(100):
        long = gates.sin(long) * y + i
    text, carets = pointer(long, gates.sin(x)).splitlines()
    start, stop = carets.index("^"), len(carets)
    assert text[start:stop] == "sin(x)" and len(text) < 110


# ---- reading ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "gate"),
    [
        ("x", x),
        ("2", number(2)),
        (" ( ( x ) ) ", x),
        ("x+y*z", x + y * z),
        ("x\n\t+\r\n y", x + y),
        (".5*x", 0.5 * x),
        ("5.*x", 5 * x),
        ("1E-3*x", 1e-3 * x),
        ("- 2", number(-2)),
        ("--x", call("neg", -x)),
        ("x--2", x - -2),
        ("x ** - y ** 2", x ** (-(y**2))),
        ("-2 ** -2", -call("pow", number(2), number(-2))),
        ("where(x >= y, x, y)", gates.where(x >= y, x, y)),
        ("where(less(x, y), x, y)", gates.where(x < y, x, y)),
        ("u = x + y; v = u * u; v - u", (x + y) * (x + y) - (x + y)),
    ],
)
def test_texts_of_people_are_read(text, gate):
    assert parse_expression(text, {"x", "y", "z"}) is gate


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("", r'expected a number, a name, "-" or "\("; got the end', ""),
        ("x +", "got the end", ""),
        ("x + * y", r'got "\*"', "*"),
        ("+x", r'got "\+"', "+"),
        ("(x", r'expected "\)"; got the end', ""),
        ("x)", r'expected an operator or the end; got "\)"', ")"),
        ("x y", 'expected an operator or the end; got "y"', "y"),
        ("2x", 'got "x"', "x"),
        ("x.real", r"a formula has no '\.'", "."),
        ("x[0]", r"a formula has no '\['", "["),
        ("x @ y", "a formula has no '@'", "@"),
        ("x # y", "a formula has no '#'", "#"),
        ("'x'", "a formula has no", "'"),
        ("1_000", 'got "_000"', "_000"),
        ("0x10", 'got "x10"', "x10"),
        ("1e999 * x", "1e999 is beyond float64", "1e999"),
        ("-1e999", "1e999 is beyond float64", "1e999"),
        ("inf", "unknown name 'inf'; known: x, y", "inf"),
        ("a * x", "unknown name 'a'; known: x, y", "a"),
        ("x * x²", "'x²' is no name", "x²"),
        ("٣ * x", "'٣' is no name", "٣"),
        ("exp * x", r"exp is a function: write exp\(\.\.\.\)", "exp"),
        (
            "sinn(x)",
            r"unknown function 'sinn'; known: exp, .*; did you mean 'sin'\?",
            "sinn",
        ),
        ("add(x, y)", "unknown function 'add'", "add"),
        ("__import__(x)", "unknown function '__import__'", "__import__"),
        ("x(y)", "unknown function 'x'", "x"),
        ("exp()", r'got "\)"', ")"),
        ("exp(x, y)", "exp takes 1 argument; got 2", "exp(x, y)"),
        ("maximum(x)", "maximum takes 2 arguments; got 1", "maximum(x)"),
        ("log(x, base=2)", "unknown name 'base'", "base"),
        ("maximum(x, y = 2)", 'only a name can stand before "="', "="),
        ("x < y", "a comparison may only be the first argument of where", "<"),
        ("(x < y)", "a comparison may only be the first argument of where", "<"),
        ("where(x < y < 1, x, y)", "a comparison may only be the first argument of where", "<"),
        ("where(x, x < y, y)", "a comparison may only be the first argument of where", "<"),
        ("maximum(x > y, y)", "a comparison may only be the first argument of where", ">"),
        ("where(x == y, x, y)", 'only a name can stand before "="', "="),
        ("x = y", 'expected ";"; got the end', ""),
        ("u = x; y", "u is never used", "u"),
        ("u = x; u = y; u", "u is in use already", "u"),
        ("u = x + y; x = u; x", "x is in use already", "x"),
        ("exp = x; exp", "exp is a function", "exp"),
        ("u = u; u", "unknown name 'u'", "u"),
        ("u = x; y; u", 'expected an operator or the end; got ";"', ";"),
        ("x;", 'expected an operator or the end; got ";"', ";"),
        ("lambda: x", "a formula has no ':'", ":"),
        ("x\x00", r"a formula has no '\\x00'", " "),
        ("x \ud800", "is no name", " "),
    ],
)
def test_what_the_grammar_does_not_have_is_refused_with_the_place(text, message, place):
    with pytest.raises(ValueError, match=message) as error:
        parse_expression(text, ("x", "y"))
    _, line, carets = str(error.value).split("\n")
    start, stop = carets.index("^"), len(carets)
    assert line[start:stop] == place
    assert set(carets.strip()) == {"^"}


def test_deep_and_long_texts_are_refused():
    deep = "here it goes deeper"
    for text in ("(" * 201 + "x" + ")" * 201, "-" * 201 + "x", "sin(" * 201 + "x" + ")" * 201):
        with pytest.raises(ValueError, match=deep):
            parse_expression(text, ("x",))
    with pytest.raises(ValueError, match=deep):
        parse_expression("x" + " ** x" * 201, ("x",))
    with pytest.raises(ValueError, match="at most 20,000 characters; got 20,001"):
        parse_expression("x" + " " * MAX_CHARACTERS, ("x",))
    with pytest.raises(ValueError, match="at most 5,000 gates"):
        parse_expression("x" + "*x" * (MAX_GATES + 1), ("x",))
    with pytest.raises(TypeError, match="must be a string; got Gate"):
        parse_expression(x, ("x",))


def test_texts_at_the_limits_are_read():
    depth = MAX_DEPTH - 1
    f = parse_expression("(" * depth + "x" + ")" * depth, ("x",))
    assert f is x
    g = parse_expression("sin(" * depth + "x" + ")" * depth, ("x",))
    assert g.count() == depth
    assert parse_expression("x" + "*x" * (MAX_GATES - 1), ("x",)).count() == MAX_GATES - 1


def test_reading_takes_few_frames_of_the_stack():
    """Also where the caller has used some, such as in a notebook."""

    def called_from(frames, text):
        return called_from(frames - 1, text) if frames else parse_expression(text, ("x",))

    depth = MAX_DEPTH - 1
    for text in ("where(" * depth + "x" + " < x, x, x)" * depth, "-sin(" * 99 + "x" + ")" * 99):
        assert called_from(400, text).inputs == ("x",)


# ---- random formulas and random texts -----------------------------------------------------

finite = st.floats(allow_nan=False, allow_infinity=False)
numbers = st.one_of(finite, st.integers(-3, 3).map(float), st.just(-0.0))
leaves = st.one_of(
    st.sampled_from(NAMES).map(lambda name: leaf("input", name)), numbers.map(number)
)


@st.composite
def formulas(draw, most=25):
    """Gates of any operations on gates that were made before, so that many are shared."""
    made = draw(st.lists(leaves, min_size=1, max_size=5))
    for operation in draw(st.lists(st.sampled_from(sorted(OPERATIONS)), max_size=most)):
        arity = OPERATIONS[operation].arity
        made.append(call(operation, *(draw(st.sampled_from(made)) for _ in range(arity))))
    return made[-1]


@given(formulas())
@example(number(5e-324) * x)
@example(call("neg", number(-0.0)) ** call("neg", call("pow", number(-2.0), x)))
def test_what_is_printed_is_read_back_as_the_same_gate(gate):
    text = expression_text(gate)
    assert parse_expression(text, NAMES) is gate
    if gate.gates()[-1].operation != "input" and not str(gate).startswith("s1 ="):
        assert parse_expression(str(gate), NAMES) is gate


@given(finite)
def test_numbers_are_read_back_exactly(value):
    text = _text.number_text(value)
    assert float(text).hex() == value.hex()
    assert len(text) <= len(repr(value))
    assert parse_expression(text, ()) is number(value)


words = st.sampled_from(
    [*FUNCTIONS, "x", "y", "s1", "2", "0.5", "1e3", " ", "\n", "where(x < y, x, y)", "exp(x)"]
    + ["+", "-", "*", "/", "**", "(", ")", ",", ";", "=", "<", "<=", ">", ">="]
)
texts = st.one_of(
    st.text(),
    st.text(string.printable),
    st.text("xy12.e+-*/()<>=;, "),
    st.lists(words).map("".join),
    st.lists(words).map(" ".join),
)


@given(texts)
@example("x\x1c+y")
@example("x ·")
@example("\ufeffx")
def test_any_text_is_a_formula_or_a_value_error(text):
    try:
        gate = parse_expression(text, ("x", "y"))
    except ValueError as error:
        message, line, carets = str(error).rsplit("\n", 2)
        assert message and line.startswith("    ") and carets.strip(" ").strip("^") == ""
    else:
        printed = expression_text(gate)
        assert expression_text(parse_expression(printed, ("x", "y"))) == printed
        assert parse_expression(printed, ("x", "y")) is gate


@given(formulas(), st.data())
def test_a_damaged_text_is_a_formula_or_a_value_error(gate, data):
    text = expression_text(gate)
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 3))
    damaged = text[:at] + data.draw(words | st.characters()) + text[at + cut :]
    try:
        found = parse_expression(damaged, NAMES)
    except ValueError as error:
        assert "^" in str(error)
    else:
        assert parse_expression(expression_text(found), NAMES) is found
