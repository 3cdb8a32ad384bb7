"""What people see of a trace: a table, and a picture in which steps can be taken.

Every gate gets a short name, such as g1, and the result the name f. So each gate has its own small
formula, g1 = x + y, and the chain rule is a formula of these names: ∂f/∂x = ∂f/∂g1 · 1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import count
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np

from .._page.page import fragment, message
from .._page.picture import MINUS, Box, Mark, Picture, Step, Wire, number_text, values_text, written
from ._graph import Node, gate_of, leaf
from ._operations import OPERATIONS
from ._text import readable_text, short_text

MAX_BOXES = 250  # of a picture

Values = Mapping[Node, Any]


@dataclass(frozen=True)
class Traced:
    """The results of a trace.

    Attributes
    ----------
    gate : Node
        The result.
    values, gradients : mapping of Node to value
        Of all gates, and of those that depend on an input.
    partials : mapping of Node to tuple
        The local partials of each gate, one per operand, or None.
    """

    gate: Node
    values: Values
    gradients: Values
    partials: Mapping[Node, tuple[Any, ...]]

    @property
    def order(self) -> tuple[Node, ...]:
        """All gates, operands before their users."""
        return self.gate.gates()


class HasNumbers(Protocol):
    """What a trace has."""

    gate: Node

    @property
    def values(self) -> Values: ...
    @property
    def gradients(self) -> Values: ...
    @property
    def partials(self) -> Mapping[Node, tuple[Any, ...]]: ...


def traced(trace: HasNumbers) -> Traced:
    """The results of a trace, after its walk back."""
    return Traced(trace.gate, trace.values, trace.gradients, trace.partials)


# ---- names and formulas -------------------------------------------------------------------


def names_of(order: Sequence[Node]) -> dict[Node, str]:
    """A name for every gate: that of an input, the number itself, c1 … for arrays, g1 … for others.

    The last gate is called f, if no input is.
    """
    taken = {str(gate.data) for gate in order if gate.operation == "input"}
    letters = {"array": _free_letter("c", taken), "gate": _free_letter("g", taken)}
    counters = {"array": count(1), "gate": count(1)}
    names = {}
    for gate in order:
        if gate.operation == "input":
            names[gate] = str(gate.data)
        elif gate.operation == "number":
            names[gate] = number_text(_float(gate))
        else:
            kind = "gate" if gate.operands else "array"
            names[gate] = f"{letters[kind]}{next(counters[kind])}"
    if order[-1].operands and "f" not in taken:
        names[order[-1]] = "f"
    return names


def _free_letter(letter: str, taken: set[str]) -> str:
    """The letter, doubled as often as an input has the name of it and a number."""
    while any(re.fullmatch(rf"{letter}\d+", name) for name in taken):
        letter += letter[0]
    return letter


def _float(gate: Node) -> float:
    assert isinstance(gate.data, float)
    return gate.data


def _placed(text: str, texts: Sequence[str]) -> str:
    """A formula in which the placeholders are replaced by texts."""
    return re.sub("[\ue000-\ue004]", lambda found: texts[ord(found[0]) - 0xE000], text)


_PLACES = tuple("\ue000\ue001\ue002")  # of operands; no name has these characters
_COMPARISONS = {"less": "<", "less_equal": "<="}
_OUT, _G = "\ue003", "\ue004"  # of the value and of the gradient of a gate


@cache
def _operation_text(operation: str) -> str:
    """An operation on placeholders."""
    if operation in _COMPARISONS:
        return f"{_PLACES[0]} {_COMPARISONS[operation]} {_PLACES[1]}"
    arity = OPERATIONS[operation].arity
    return readable_text(gate_of(operation, [_leaf(place) for place in _PLACES[:arity]]))


def _leaf(name: str) -> Node:
    return leaf("input", name)


_graph_functions = SimpleNamespace(
    **{name: partial(lambda name, *operands: gate_of(name, operands), name) for name in OPERATIONS}
)
# Formulas of partials for people, where those of the table are long, most of them to be right at
# every number.
_SHORTER = {
    ("pow", 0): f"{_PLACES[1]} * {_PLACES[0]} ** ({_PLACES[1]} - 1)",
    ("pow", 1): f"{_OUT} * log({_PLACES[0]})",
    ("mean", 0): "1 / (number of outputs)",
    ("max", 0): f"1({_PLACES[0]} is the largest)",
    ("where", 1): f"1({_PLACES[0]} holds)",
    ("where", 2): f"1({_PLACES[0]} does not hold)",
    ("gelu_tanh_slope", 0): f"gelu_tanh″({_PLACES[0]})",
}


@cache
def _rule_text(operation: str, i: int) -> str:
    """The local partial with respect to operand i as a formula of placeholders; "" for none."""
    entry = OPERATIONS[operation]
    rule = entry.partials[i]
    if rule is None:
        return ""
    if (operation, i) in _SHORTER:
        return _SHORTER[operation, i]
    operands = [_leaf(place) for place in _PLACES[: entry.arity]]
    out = [_leaf(_G), _leaf(_OUT)] if entry.kind == "row" else [_leaf(_OUT)]
    found = rule(_graph_functions, *out, *operands)
    text = readable_text(found) if isinstance(found, Node) else str(found)
    place = "[\ue000-\ue004]|0"
    text = re.sub(rf"\bless\(({place}), ({place})\)", r"1(\1 < \2)", text)
    text = re.sub(rf"\breciprocal\(({place})\)", r"1 / \1", text)
    return re.sub(rf"\bsquare\(({place})\)", r"\1 ** 2", text)


def _bracketed(text: str) -> str:
    """A text as a factor: in parentheses if it is a sum or a negative number."""
    simple = re.fullmatch(r"[\w.]+|\w+\([^()]*\)|\[[^\[\]]*\]", text)
    return text if simple else f"({text})"


def _opened(text: str) -> str:
    """A formula without the parentheses around a negative number at its beginning."""
    return re.sub(rf"^\(({MINUS}[\d.e{MINUS}]+)\)(?!\^)", r"\1", text)


# ---- values -------------------------------------------------------------------------------


def _short(value: Any) -> str:
    """A value beside a wire."""
    if np.size(value) <= 3:
        return values_text(_alone(value), 4 if np.size(value) == 1 else 3)
    return f"{'×'.join(map(str, np.shape(value)))} array"


def _long(value: Any) -> str:
    """A value in a text."""
    return values_text(_alone(value), edge=2)


def _alone(value: Any) -> Any:
    """The number of an array that has one, such as the result of a reduction."""
    return value.item() if isinstance(value, np.ndarray) and value.size == 1 else value


def _mark(value: Any, at: int, kind: str) -> Mark:
    value = _alone(value)
    exact = value if isinstance(value, float) else None
    return Mark(_short(value), at, kind, exact)


# ---- the table ----------------------------------------------------------------------------

_HEADS = ("gate", "formula", "value", "gradient", "local partials")


def table_text(traced: Traced, most: int | None = None) -> str:
    """A line for each gate, operands before their users; of more than `most`, the last ones."""
    order = traced.order
    names = names_of(order)
    rows = [gate for gate in order if gate.operation != "number"] or [traced.gate]
    left_out = 0 if most is None else max(0, len(rows) - most)
    lines = [_HEADS, *(_cells(gate, traced, names) for gate in rows[left_out:])]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADS))]
    texts = []
    for line in lines:
        cells = (
            cell.rjust(width) if column in (2, 3) else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        texts.append("  ".join(cells).rstrip())
    if left_out:
        texts.insert(1, f"… {left_out:,} more")
    return "\n".join(texts)


def _cells(gate: Node, traced: Traced, names: Mapping[Node, str]) -> tuple[str, ...]:
    gradient = traced.gradients.get(gate)
    slopes = [
        f"∂/∂{names[operand]} = {_plain(slope)}"
        for operand, slope in zip(gate.operands, traced.partials.get(gate, ()), strict=False)
        if slope is not None
    ]
    if gate.operands:
        formula = _placed(_operation_text(gate.operation), [names[x] for x in gate.operands])
    else:
        formula = gate.operation
    value, slope = _plain(traced.values[gate]), "" if gradient is None else _plain(gradient)
    return names[gate], formula.replace(MINUS, "-"), value, slope, ", ".join(slopes)


def _plain(value: Any) -> str:
    """A value in characters that a program can read back, arrays shortened."""
    return values_text(_alone(value), digits=6, edge=2).replace(MINUS, "-")


# ---- the picture --------------------------------------------------------------------------

_SYMBOLS = {"add": "+", "sub": MINUS, "mul": "×", "div": "÷", "pow": "^", "neg": f"× {MINUS}1"}
_NAMES = {"maximum": "max", "minimum": "min", "less": "<", "less_equal": "≤", "equal": "="}
_UNORDERED = ("add", "mul", "maximum", "minimum", "equal")


_LAST_ROWS = 40  # of the table that stands for a picture of a graph that is too large


def shown_html(traced: Traced) -> str:
    """The picture for notebooks, or the end of the table and the reason."""
    try:
        return fragment(picture(traced))
    except ValueError as error:
        return message(str(error), table_text(traced, _LAST_ROWS))


def picture(traced: Traced) -> Picture:
    """The picture of a trace. Raises ValueError if the graph is too large."""
    order = traced.order
    drawn = _drawn(order)
    if len(drawn) > MAX_BOXES:
        raise ValueError(
            f"a picture shows at most {MAX_BOXES} gates and inputs, and this graph has "
            f"{len(drawn):,}: print(trace.table()) shows them all"
        )
    view = _View(traced, names_of(order), drawn, {gate: i for i, gate in enumerate(drawn)})
    computed = [gate for gate in drawn if gate.operands]
    walked = [gate for gate in reversed(drawn) if gate in traced.gradients]
    view.forward.update({gate: at for at, gate in enumerate(computed, 1)})
    view.backward.update({gate: at for at, gate in enumerate(walked, len(computed) + 1)})
    steps = [view.forward_step(gate) for gate in computed]
    steps += [view.backward_step(gate) for gate in walked]
    wires = [
        Wire(view.place[operand], view.place[gate])
        for gate in computed
        for operand in gate.operands
        if operand in view.place
    ]
    result = view.names[traced.gate]
    given = [
        f"{view.names[gate]} = {_short(traced.values[gate])}"
        for gate in drawn
        if gate.operation == "input"
    ]
    where = ", ".join(given[:8] + ["…"] * (len(given) > 8))
    return Picture(
        title=f"{result} = {_long(traced.values[traced.gate])}" + f" at {where}" * bool(where),
        formula=f"{result} = {short_text(traced.gate)}",
        boxes=[view.box(gate) for gate in drawn],
        wires=wires,
        steps=steps,
    )


def _drawn(order: Sequence[Node]) -> list[Node]:
    """The gates that get a box: all but numbers that stand in the box of their user."""
    inner: set[Node] = {order[-1]}
    for gate in order:
        if all(operand.operation == "number" for operand in gate.operands):
            inner.update(gate.operands)
    return [gate for gate in order if gate.operation != "number" or gate in inner]


class _View:
    """How the gates of a trace are shown: their names, and the steps at which they appear."""

    def __init__(
        self,
        traced: Traced,
        names: dict[Node, str],
        drawn: Sequence[Node],
        place: dict[Node, int],
    ) -> None:
        self.traced, self.names, self.place = traced, names, place
        self.forward: dict[Node, int] = {}
        self.backward: dict[Node, int] = {}
        self.users: dict[Node, list[tuple[Node, int]]] = {}
        for gate in drawn:
            for i, operand in enumerate(gate.operands):
                self.users.setdefault(operand, []).append((gate, i))

    # ---- formulas ----

    def title(self, gate: Node) -> str:
        """The name of a gate and what it is."""
        if gate.operands:
            return f"{self.names[gate]} = {self.formula(gate)}"
        kind = "constant" if gate.operation in ("number", "array") else "input"
        return f"{self.names[gate]}, {kind}"

    def formula(self, gate: Node) -> str:
        """The operation with the names of its operands."""
        return written(
            _placed(_operation_text(gate.operation), [self.names[x] for x in gate.operands])
        )

    def filled(self, gate: Node) -> str:
        """The operation with the values of its operands, and its value."""
        value = _long(self.traced.values[gate])
        texts = [_long(self.traced.values[x]) for x in gate.operands]
        if any(len(text) > 40 for text in texts):
            return value
        inner = [_bracketed(text) for text in texts] if gate.operation in _SYMBOLS else texts
        return f"{_opened(_placed(written(_operation_text(gate.operation)), inner))} = {value}"

    def rule(self, gate: Node, i: int) -> str:
        """The local partial with respect to operand i as a formula of names."""
        names = [self.names[x] for x in gate.operands]
        texts = [*names, *[""] * (3 - len(names)), self.names[gate], self.slope_name(gate)]
        text = _placed(_rule_text(gate.operation, i), texts)
        if gate.operation == "pow" and gate.operands[1].operation == "number" and i == 0:
            power = _float(gate.operands[1]) - 1
            text = f"{names[1]} * {names[0]} ** {number_text(power)}"
            text = text.removesuffix(" ** 1")
        return written(text)

    def slope_name(self, gate: Node) -> str:
        """∂f/∂gate."""
        return f"∂{self.names[self.traced.gate]}/∂{self.names[gate]}"

    def _product(self, user: Node, i: int) -> tuple[str, str]:
        """What an operand gets from one user: as a formula, and with numbers; "" if not known."""
        g, slope = self.traced.gradients[user], self.traced.partials[user][i]
        rule = self.rule(user, i)
        if slope is None:  # of a row as a whole
            return rule, ""
        formula = f"{self.slope_name(user)} · {_bracketed(rule)}"
        numbers = [_long(g), _long(slope)]
        if any(len(text) > 40 for text in numbers):
            return formula, ""
        return formula, " · ".join(map(_bracketed, numbers))

    # ---- steps ----

    def forward_step(self, gate: Node) -> Step:
        return Step(self.title(gate), (f"= {self.filled(gate)}",), (self.place[gate],))

    def backward_step(self, gate: Node) -> Step:
        lines = tuple(f"= {text}" for text in self.chain(gate))
        return Step(self.slope_name(gate), lines, (self.place[gate],), backward=True)

    def chain(self, gate: Node) -> list[str]:
        """∂f/∂gate: a sum over the gates that use it; as a formula, then with numbers."""
        result = _long(self.traced.gradients[gate])
        if gate is self.traced.gate:
            return [result]
        parts = [
            self._product(user, i)
            for user, i in self.users[gate]
            if user in self.traced.gradients and OPERATIONS[user.operation].partials[i] is not None
        ]
        if not parts:
            return [f"{result}, it only decides"]
        formula = " + ".join(text for text, _ in parts)
        numbers = [text for _, text in parts]
        if not all(numbers):
            return [formula, result]
        return [formula, f"{_opened(' + '.join(numbers))} = {result}"]

    # ---- boxes ----

    def box(self, gate: Node) -> Box:
        kinds = {"input": "input", "number": "number", "array": "number"}
        gradient = self.traced.gradients.get(gate)
        return Box(
            symbol=self.symbol(gate),
            name=self.names[gate],
            title=self.title(gate),
            kind=kinds.get(gate.operation, "gate"),
            value=_mark(self.traced.values[gate], self.forward.get(gate, 0), "value"),
            gradient=None if gradient is None else _mark(gradient, self.backward[gate], "gradient"),
            details=tuple(self.details(gate)),
            ordered=gate.operation not in _UNORDERED,
        )

    def symbol(self, gate: Node) -> str:
        """What stands in the box: the sign or name of the operation, with numbers that it uses."""
        if not gate.operands:
            return self.names[gate]
        sign = _SYMBOLS.get(gate.operation)
        numbers = [None if x in self.place else self.names[x] for x in gate.operands]
        name = _NAMES.get(gate.operation, gate.operation)
        if all(number is None for number in numbers):
            return sign or name
        if sign is None and len(numbers) == 2 and len(name) == 1:
            sign = name
        if sign is None:
            return f"{name}({', '.join(number or '·' for number in numbers)})"
        return " ".join(filter(None, [numbers[0], sign, numbers[1]]))

    def details(self, gate: Node) -> list[Mark]:
        """The lines about a gate: its value, its gradient, its local rule, what it passes on."""
        name, at, back = self.names[gate], self.forward.get(gate, 0), self.backward.get(gate, 0)
        shown = self.filled(gate) if gate.operands else _long(self.traced.values[gate])
        marks = [Mark(f"{name} = {shown}", at, "value")]
        for i, operand in enumerate(gate.operands):
            slope = self.traced.partials.get(gate, (None,) * 3)[i]
            if slope is not None:
                rule, number = self.rule(gate, i), _long(slope)
                same = f" = {number}" if rule != number else ""
                marks.append(Mark(f"∂{name}/∂{self.names[operand]} = {rule}{same}", at))
        if back:
            marks += [
                Mark(f"{self.slope_name(gate)} = {text}", back, "gradient")
                for text in self.chain(gate)
            ]
        return marks
