"""Tables and pictures of traces: every number, every formula, sizes, names."""

import math
import re

import numpy as np
import pytest

from fastbp import gates
from fastbp._page.picture import number_text
from fastbp.gates._graph import gate_of, leaf
from fastbp.gates._operations import OPERATIONS, values
from fastbp.gates._picture import MAX_BOXES, names_of, picture, traced

pytestmark = pytest.mark.once

x, y, z = gates.inputs("x", "y", "z")


def neuron():
    """The sigmoid neuron of two inputs, from elementary gates."""
    w0, x0, w1, x1, w2 = gates.inputs("w0", "x0", "w1", "x1", "w2")
    s = w0 * x0 + w1 * x1 + w2
    return (1 / (1 + gates.exp(-s))).trace(w0=2, x0=-1, w1=-3, x1=-2, w2=-3)


def test_the_table_of_a_neuron():
    assert neuron().table().splitlines() == [
        "gate  formula     value   gradient  local partials",
        "w0    input           2  -0.196612",
        "x0    input          -1   0.393224",
        "g1    w0 * x0        -2   0.196612  ∂/∂w0 = -1, ∂/∂x0 = 2",
        "w1    input          -3  -0.393224",
        "x1    input          -2  -0.589836",
        "g2    w1 * x1         6   0.196612  ∂/∂w1 = -2, ∂/∂x1 = -3",
        "g3    g1 + g2         4   0.196612  ∂/∂g1 = 1, ∂/∂g2 = 1",
        "w2    input          -3   0.196612",
        "g4    g3 + w2         1   0.196612  ∂/∂g3 = 1, ∂/∂w2 = 1",
        "g5    -g4            -1  -0.196612  ∂/∂g4 = -1",
        "g6    exp(g5)  0.367879  -0.534447  ∂/∂g5 = 0.367879",
        "g7    1 + g6    1.36788  -0.534447  ∂/∂g6 = 1",
        "f     1 / g7   0.731059          1  ∂/∂g7 = -0.534447",
    ]


def test_the_table_shortens_arrays_and_has_complex_numbers():
    trace = gates.sum(x * np.arange(12.0)).trace(x=np.ones((3, 12)))
    table = trace.table()
    assert "c1    array" in table and "[0, 1, …, 10, 11]" in table
    assert "[[1, 1, …, 1, 1], [1, 1, …, 1, 1], [1, 1, …, 1, 1]]" in table
    assert "1+2j" in (x * y).trace(x=1 + 2j, y=1).table()


def test_the_table_of_a_long_chain_has_every_gate():
    f = x
    for _ in range(5000):
        f = gates.sin(f) + 1
    lines = f.trace(x=0.5).table().splitlines()
    assert len(lines) == 1 + 1 + 2 * 5000
    assert lines[-1].startswith("f  ") and lines[-2].startswith("g9999 ")


def shown(gate, **given):
    trace = gate.trace(**given)
    return trace, picture(traced(trace))


def test_boxes_have_the_numbers_of_the_trace():
    trace = neuron()
    drawn = picture(traced(trace))
    gates_drawn = [gate for gate in trace.gate.gates() if gate.operation != "number"]
    assert len(drawn.boxes) == len(gates_drawn) == 13
    for gate, box in zip(gates_drawn, drawn.boxes, strict=True):
        assert box.value.number == trace.values[gate] and box.value.kind == "value"
        assert box.gradient.number == trace.gradients[gate] and box.gradient.kind == "gradient"
        assert box.value.text == number_text(trace.values[gate])
    assert [box.symbol for box in drawn.boxes if box.kind == "gate"] == [
        *("×", "×", "+", "+", "× −1", "exp", "1 +", "1 ÷")
    ]
    ends = {(drawn.boxes[wire.start].name, drawn.boxes[wire.end].name) for wire in drawn.wires}
    assert {("w0", "g1"), ("x0", "g1"), ("g3", "g4"), ("w2", "g4"), ("g7", "f")} < ends
    assert len(drawn.wires) == 12


def test_steps_go_forward_in_order_and_back_in_reverse():
    _, drawn = shown((x + y) * z, x=-2, y=5, z=-4)
    steps = [(step.backward, step.title, *step.lines) for step in drawn.steps]
    assert steps == [
        (False, "g1 = x + y", "= −2 + 5 = 3"),
        (False, "f = g1 · z", "= 3 · (−4) = −12"),
        (True, "∂f/∂f", "= 1"),
        (True, "∂f/∂z", "= ∂f/∂f · g1", "= 1 · 3 = 3"),
        (True, "∂f/∂g1", "= ∂f/∂f · z", "= 1 · (−4) = −4"),
        (True, "∂f/∂y", "= ∂f/∂g1 · 1", "= −4 · 1 = −4"),
        (True, "∂f/∂x", "= ∂f/∂g1 · 1", "= −4 · 1 = −4"),
    ]
    boxes = {box.name: box for box in drawn.boxes}
    assert [boxes[name].value.at for name in ("x", "g1", "f")] == [0, 1, 2]
    assert [boxes[name].gradient.at for name in ("f", "z", "g1", "y", "x")] == [3, 4, 5, 6, 7]
    for at, step in enumerate(drawn.steps, 1):
        (box,) = (drawn.boxes[number] for number in step.boxes)
        assert (box.gradient if step.backward else box.value).at == at
    texts = [(mark.text, mark.at) for mark in boxes["f"].details]
    assert texts == [
        ("f = 3 · (−4) = −12", 2),
        ("∂f/∂g1 = z = −4", 2),
        ("∂f/∂z = g1 = 3", 2),
        ("∂f/∂f = 1", 3),
    ]


def test_gradients_of_several_paths_are_sums():
    a, b = gates.inputs("a", "b")
    _, drawn = shown((a + b) * (b + 1), a=2, b=1)
    (step,) = (step for step in drawn.steps if step.title == "∂f/∂b")
    assert step.lines == ("= ∂f/∂g1 · 1 + ∂f/∂g2 · 1", "= 2 · 1 + 3 · 1 = 5")


# What the rules of the pictures write in words or marks, for the other rules to be computed.
WORDS = ("1 / (number of outputs)", "is the largest", "holds", "does not hold", "″")
INDICATOR = re.compile(r"1\((\w+) < (\w+)\)")


@pytest.mark.parametrize(
    "name", [name for name, entry in OPERATIONS.items() if entry.kind == "elementwise"]
)
def test_the_local_rule_of_every_operation_gives_its_local_partial(name):
    """The text of a rule, computed with the numbers of the trace, is the number beside it."""
    entry = OPERATIONS[name]
    names = ("u", "v", "w")[: entry.arity]
    given = dict(zip(names, (0.3, 0.8, -0.4), strict=False))
    trace = gate_of(name, [leaf("input", each) for each in names]).trace(**given)
    given["f"] = trace.value
    functions = {each: getattr(values, each) for each in OPERATIONS}
    (box,) = (box for box in picture(traced(trace)).boxes if box.name == "f")
    partials = dict(zip(names, trace.partials[trace.gate], strict=True))
    rules = [mark.text.split(" = ") for mark in box.details if mark.kind == "plain"]
    assert len(rules) == sum(each is not None for each in partials.values())
    for slope, rule, *number in rules:
        partial = partials[slope.removeprefix("∂f/∂")]
        assert number_text(partial) == (number[0] if number else rule)
        if not any(word in rule for word in WORDS):
            formula = INDICATOR.sub(r"less(\1, \2)", rule)
            formula = formula.replace("·", "*").replace("−", "-").replace("^", "**")
            numbers = {key: np.float64(value) for key, value in given.items()}
            computed = eval(formula, functions, numbers)
            assert computed == pytest.approx(partial, rel=16 * 2.0**-52)


def trace_of(name):
    return gate_of(name, [leaf("input", "u")]).trace(u=[1.0, 3.0, 2.0])


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("sum", "∂f/∂u = 1"),
        ("mean", "∂f/∂u = 1 / (number of outputs) = 0.3333"),
        ("max", "∂f/∂u = 1(u is the largest) = [0, 1, 0]"),
        ("logsumexp", "∂f/∂u = softmax(u) = [0.09003, 0.6652, 0.2447]"),
    ],
)
def test_rules_over_a_row(name, rule):
    boxes = picture(traced(trace_of(name))).boxes
    assert rule in [mark.text for mark in boxes[-1].details]


def test_the_rule_of_softmax_is_about_the_whole_row():
    _, drawn = shown(gates.log(gates.softmax(x)), x=[1.0, 2.0])
    (step,) = (step for step in drawn.steps if step.title == "∂f/∂x")
    assert step.lines[0] == "= g1 · (∂f/∂g1 − sum(∂f/∂g1 · g1))"


def test_powers_and_numbers_stand_in_their_box():
    _, drawn = shown(3 * (2 * x**2) ** 5, x=1)
    assert [box.symbol for box in drawn.boxes] == ["x", "^ 2", "2 ×", "^ 5", "3 ×"]
    (rule,) = (mark.text for mark in drawn.boxes[3].details if "∂g3/∂g2" in mark.text)
    assert rule == "∂g3/∂g2 = 5 · g2^4 = 80"
    assert len(drawn.wires) == 4
    _, drawn = shown(gates.where(x > 0, x, 0.25 * x), x=-2.0)
    assert [box.symbol for box in drawn.boxes] == ["x", "0 <", "0.25 ×", "where"]
    (step,) = (step for step in drawn.steps if step.title == "∂f/∂g1")
    assert step.lines == ("= 0, it only decides",)
    assert (drawn.steps[0].title, *drawn.steps[0].lines) == ("g1 = 0 < x", "= 0 < −2 = 0")
    assert drawn.steps[2].lines == ("= where(0, −2, −0.5) = −0.5",)
    _, drawn = shown(gates.maximum(x, 0), x=2.0)
    assert drawn.boxes[-1].symbol == "max(·, 0)"


def test_numbers_without_inputs_have_boxes():
    (x_,) = gates.inputs("x")
    drawn = picture(traced((gates.log(x_, 2)).trace(x=8)))
    assert "2" in [box.symbol for box in drawn.boxes if box.kind == "number"]
    assert picture(traced(x_.trace(x=1.5))).boxes[0].value.number == 1.5
    page = x_.trace(x=1.5).to_html()
    assert "x = 1.5" in page


def test_names_do_not_clash_with_those_of_inputs():
    f, g1, c1 = gates.inputs("f", "g1", "c1")
    order = (f * g1 + gates.sum(c1 * np.ones(2))).gates()
    names = list(names_of(order).values())
    assert len(set(names)) == len(names) and {"f", "g1", "c1", "gg1", "cc1"} < set(names)
    assert names[-1] == "gg4"


def test_arrays_beside_wires_are_short():
    _, drawn = shown(gates.mean(x * y), x=np.ones((4, 30)), y=2.0)
    texts = {box.name: box.value.text for box in drawn.boxes}
    assert texts["x"] == "4×30 array" and texts["y"] == "2"
    assert drawn.boxes[0].value.number is None
    assert max(len(line) for step in drawn.steps for line in step.lines) < 200
    _, small = shown(gates.sum(x), x=[1.0, 2.0])
    assert small.boxes[0].value.text == "[1, 2]" and small.boxes[1].value.number == 3.0


def test_a_graph_that_is_too_large_says_the_way_out(tmp_path):
    f = x
    for k in range(MAX_BOXES):
        f = gates.sin(f) if k else f * 2
    trace = f.trace(x=0.5)
    message = rf"at most {MAX_BOXES} gates and inputs, and this graph has 251: print\(trace.table"
    with pytest.raises(ValueError, match=message):
        trace.to_html(tmp_path / "large.html")
    assert not list(tmp_path.iterdir())
    html = trace._repr_html_()
    assert "print(trace.table())" in html and "… 211 more" in html and "svg" not in html
    f.operands[0].trace(x=0.5).to_html(tmp_path / "largest.html")


def test_the_page_is_written_whole(tmp_path):
    trace = neuron()
    page = trace.to_html(tmp_path / "neuron.html")
    assert (tmp_path / "neuron.html").read_text(encoding="utf-8") == page
    assert trace._repr_html_() in page
    numbers = [float(number) for number in re.findall(r'data-number="([^"]+)"', page)]
    for found in (*trace.values.values(), *trace.gradients.values()):
        assert found in [*numbers, 1.0]
    assert "1 / (1 + exp(-(w0 * x0 + w1 * x1 + w2)))" in page


def test_numbers_that_are_not_finite_are_shown():
    _, drawn = shown(gates.log(x) - 1 / x, x=0.0)
    assert {"−inf", "inf"} & {box.value.text for box in drawn.boxes}
    assert math.isinf(drawn.boxes[-1].value.number)
