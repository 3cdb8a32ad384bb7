"""Formulas as C99: expressions, and a local constant for each value that is used more than once.

In the source, R(…) is a constant of type `real`, and M(…) a function of math.h for it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._formulas import CONDITIONS, emit, simplified

if TYPE_CHECKING:
    from ..gates._graph import Node

# How tightly an expression binds; "{0:3}" in a template is operand 0, in parentheses if it binds
# less tightly than 3.
_CHOICE, _CONDITION, _SUM, _PRODUCT, _SIGN, _CALL, _NAME = range(7)
_LONGEST = 72  # of an expression that is not put into a constant of its own


@dataclass(frozen=True)
class Expression:
    """An expression of C, and how tightly it binds."""

    text: str
    level: int

    def __format__(self, least: str) -> str:
        return self.text if self.level >= int(least or 0) else f"({self.text})"


def _call(function: str, n: int = 1) -> tuple[str, int]:
    return f"M({function})({', '.join(f'{{{i}}}' for i in range(n))})", _CALL


_SOFTPLUS = "({0:6} > 0 ? {0:6} : 0) + M(log1p)(M(exp)(-M(fabs)({0:6})))"
# operation: (template, how tightly it binds)
TEMPLATES: dict[str, tuple[str, int]] = {
    "add": ("{0:2} + {1:3}", _SUM),
    "sub": ("{0:2} - {1:3}", _SUM),
    "mul": ("{0:3} * {1:4}", _PRODUCT),
    "div": ("{0:3} / {1:4}", _PRODUCT),
    "pow": _call("pow", 2),
    "neg": ("-{0:5}", _SIGN),
    "exp": _call("exp"),
    "expm1": _call("expm1"),
    "log": _call("log"),
    "log1p": _call("log1p"),
    "sqrt": _call("sqrt"),
    "square": ("{0:6} * {0:6}", _PRODUCT),
    "reciprocal": ("1 / {0:4}", _PRODUCT),
    "abs": _call("fabs"),
    "sin": _call("sin"),
    "cos": _call("cos"),
    "tan": _call("tan"),
    "arcsin": _call("asin"),
    "arccos": _call("acos"),
    "arctan": _call("atan"),
    "sinh": _call("sinh"),
    "cosh": _call("cosh"),
    "tanh": _call("tanh"),
    "sigmoid": ("1 / (1 + M(exp)(-{0:5}))", _PRODUCT),
    "softplus": (_SOFTPLUS, _SUM),
    "silu": ("{0:6} / (1 + M(exp)(-{0:6}))", _PRODUCT),
    "mish": (f"{{0:6}} * M(tanh)({_SOFTPLUS})", _PRODUCT),
    "gelu_tanh": (
        "{0:6} / (1 + M(exp)(R(-1.5957691216057308) * {0:6} * (1 + R(0.044715) * {0:6} * {0:6})))",
        _PRODUCT,
    ),
    "relu": ("{0:6} < 0 ? 0 : {0:6}", _CHOICE),
    # the second comparison passes NaN on
    "maximum": ("{0:6} > {1:6} || {0:6} != {0:6} ? {0:6} : {1:6}", _CHOICE),
    "minimum": ("{0:6} < {1:6} || {0:6} != {0:6} ? {0:6} : {1:6}", _CHOICE),
    "where": ("{0:1} ? {1:1} : {2}", _CHOICE),
    "less": ("{0:2} < {1:2}", _CONDITION),
    "less_equal": ("{0:2} <= {1:2}", _CONDITION),
    "equal": ("{0:2} == {1:2}", _CONDITION),
}


def in_c(operation: str, *operands: str) -> str:
    """Return an operation on names as C."""
    return TEMPLATES[operation][0].format(*(Expression(name, _NAME) for name in operands))


def statements(gate: Node, names: Mapping[str, str]) -> tuple[list[str], str]:
    """Return the declarations of local constants that a formula needs, and its value, as C.

    Parameters
    ----------
    gate : Node
        The formula, element-wise.
    names : mapping of str to str
        What its inputs are called in C.
    """
    plain = simplified(gate)
    uses: Counter[Node] = Counter()
    for each in plain.gates():
        for operand, count in zip(each.operands, _counts(each), strict=True):
            uses[operand] += count
    declared: list[str] = []

    def apply(each: Node, operands: Sequence[Expression]) -> Expression:
        template, level = _template(each)
        made = Expression(template.format(*operands), level)
        if uses[each] < 2 and len(made.text) <= _LONGEST or each is plain:
            return made
        name = f"t{len(declared) + 1}"
        kind = "int" if each.operation in CONDITIONS else "real"
        declared.append(f"const {kind} {name} = {made.text};")
        return Expression(name, _NAME)

    leaves = {name: Expression(text, _NAME) for name, text in names.items()}
    return declared, emit(plain, leaves, _number, apply).text


def _template(gate: Node) -> tuple[str, int]:
    """The template of a gate; small whole powers are products."""
    if gate.operation == "pow":
        exponent = gate.operands[1].data
        if exponent in (2.0, 3.0, 4.0):
            return " * ".join(["{0:6}"] * int(exponent)), _PRODUCT
        if exponent == 0.5:
            return TEMPLATES["sqrt"]
    return TEMPLATES[gate.operation]


def _counts(gate: Node) -> Iterator[int]:
    """How often the template of a gate has each of its operands."""
    if gate.operands:
        found = Counter(re.findall(r"\{(\d)", _template(gate)[0]))
        yield from (found[str(i)] for i in range(len(gate.operands)))


def _number(value: float) -> Expression:
    if math.copysign(1.0, value) < 0:
        return Expression(f"-R({-value!r})", _SIGN)
    return Expression(f"R({value!r})", _NAME)
