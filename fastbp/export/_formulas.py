"""Formulas of activations, as the exporters read them: in fewer operations, operands first.

The table of an exporter has one entry for each element-wise operation of `fastbp.gates` but those
of `SPELLED_OUT` and `SHAPES`, which `simplified` replaces.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from ..gates._graph import Node

_T = TypeVar("_T")

CONDITIONS = frozenset({"less", "less_equal", "equal"})
SHAPES = frozenset({"sum_like", "broadcast_like"})


def _slope(operation: str) -> Callable[[Any, Node], Node]:
    """A derivative, in the operations that it is computed from."""

    def written(f: Any, x: Node) -> Node:
        from ..gates._operations import OPERATIONS

        formula = OPERATIONS[operation].formula
        assert formula is not None
        made: Node = formula(f, x)
        return made

    return written


# name: (fastbp.gates, operand) -> the same in other operations
SPELLED_OUT: dict[str, Callable[[Any, Node], Node]] = {
    "cot": lambda f, x: 1 / f.tan(x),
    "sec": lambda f, x: 1 / f.cos(x),
    "csc": lambda f, x: 1 / f.sin(x),
    "arccot": lambda f, x: math.pi / 2 - f.arctan(x),
    **{name: _slope(name) for name in ("silu_slope", "mish_slope", "gelu_tanh_slope")},
}


def simplified(gate: Node) -> Node:
    """Return an element-wise formula in the operations that exporters have.

    Then what consists of numbers is one number, the first operand of each `where` is one of
    `CONDITIONS`, and those occur nowhere else.
    """
    done: dict[Node, Node] = {}
    for each in gate.gates():
        operands = [done[x] for x in each.operands]
        done[each] = _simplified(each.operation, operands) if operands else each
    return _as_number(done[gate])


def _simplified(operation: str, operands: list[Node]) -> Node:
    from .. import gates
    from ..gates._graph import gate_of

    if operation == "where":
        return _choice(operands[0], *map(_as_number, operands[1:]))
    operands = [_as_number(x) for x in operands]
    if operation in SHAPES:  # every gate has the shape of z, or broadcasts to it
        return operands[0]
    if all(x.operation == "number" for x in operands):
        return _folded(operation, operands)
    if operation in SPELLED_OUT:
        return SPELLED_OUT[operation](gates, operands[0])
    return gate_of(operation, operands)


def _folded(operation: str, numbers: list[Node]) -> Node:
    """The number that an operation on numbers is."""
    from ..gates._graph import leaf
    from ..gates._operations import OPERATIONS

    with np.errstate(all="ignore"):
        return leaf("number", OPERATIONS[operation].value(*(np.float64(x.data) for x in numbers)))


def _choice(condition: Node, x: Node, y: Node) -> Node:
    """`x` where the condition is not 0, else `y`."""
    from ..gates._graph import gate_of

    if condition.operation == "number":
        return x if condition.data else y
    if condition.operation not in CONDITIONS:
        condition, x, y = gate_of("equal", (condition, 0.0)), y, x
    return gate_of("where", (condition, x, y))


def _as_number(gate: Node) -> Node:
    """1 where a condition holds and 0 elsewhere; any other gate as it is."""
    from ..gates._graph import gate_of

    return gate_of("where", (gate, 1.0, 0.0)) if gate.operation in CONDITIONS else gate


def emit(
    gate: Node,
    leaves: Mapping[str, _T],
    number: Callable[[float], _T],
    apply: Callable[[Node, Sequence[_T]], _T],
) -> _T:
    """Go through a simplified formula; return what `apply` returns for its last gate.

    Parameters
    ----------
    gate : Node
        The formula, from `simplified`.
    leaves : mapping of str to T
        The inputs of the formula by name.
    number : function
        number(value) returns the T of a number.
    apply : function
        apply(gate, operands) returns the T of a gate that computes, from those of its operands.
    """
    from ..gates._graph import number_of

    found: dict[Node, _T] = {}
    for each in gate.gates():
        if each.operation == "input":
            found[each] = leaves[str(each.data)]
        elif each.operation == "number":
            found[each] = number(number_of(each))
        else:
            found[each] = apply(each, [found[x] for x in each.operands])
    return found[gate]
