"""Graphs of gates → terms of programs: every operation of gates in terms of those of programs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ._graph import Node, gates_of, number_of
from ._operations import OPERATIONS as GATES
from ._program import OPERATIONS, Term, widest
from ._terms import Terms
from ._text import pointer

# x**n is a product of squares up to this n. Each product adds one rounding, and a square doubles
# those of its operand, so the error is below (n − 1)/2 ulp, which is what x * x * … * x has.
_MOST_PRODUCTS = 16


class Value(NamedTuple):
    """What a gate becomes: a term, and the kind of the gate.

    The kind of the term may be narrower: the gradient of sum(x) is full, but one number tells it.
    """

    term: Term
    kind: str


def lower(terms: Terms, inputs: Mapping[str, Value], roots: Sequence[Node]) -> dict[Node, Value]:
    """The values of some gates, and of all below them, in terms of operations of programs.

    Parameters
    ----------
    terms : Terms
        Where the terms are made.
    inputs : dict of str to Value
        The value of every input, by its name.
    roots : sequence of Node
        The gates, which have no arrays below them.

    Raises
    ------
    ValueError
        If an operation on numbers has no finite result. The message shows the place.
    """
    found: dict[Node, Value] = {}
    for gate in gates_of(roots):
        try:
            found[gate] = _value(terms, inputs, gate, found)
        except ValueError as error:
            root = next(root for root in roots if gate in root.gates())
            raise ValueError(f"{error}\n{pointer(root, gate)}") from None
    return found


def _value(
    terms: Terms, inputs: Mapping[str, Value], gate: Node, found: Mapping[Node, Value]
) -> Value:
    """The value of a gate whose operands have been found."""
    if gate.operation == "input":
        return inputs[str(gate.data)]
    if gate.operation == "number":
        return Value(terms.number(number_of(gate)), "one")
    return _lowered(terms, gate.operation, [found[x] for x in gate.operands])


def _lowered(terms: Terms, operation: str, operands: list[Value]) -> Value:
    if operation in _OVER_ROW:
        return _OVER_ROW[operation](terms, *operands)
    kind = widest(x.kind for x in operands)
    given = [x.term for x in operands]
    if all(x.operation == "number" for x in given):
        return Value(_folded(terms, operation, [x.value for x in given]), kind)
    if operation in _WRITTEN:
        return Value(_WRITTEN[operation](terms, *given), kind)
    name = _RENAMED.get(operation, operation)
    assert name in OPERATIONS, name
    return Value(terms.apply(name, *given), kind)


def _folded(terms: Terms, operation: str, values: list[float]) -> Term:
    """The number that an operation on numbers is."""
    with np.errstate(all="ignore"):
        result = float(GATES[operation].value(*map(np.float64, values)))
    if not math.isfinite(result):
        shown = ", ".join(map(repr, values))
        raise ValueError(f"{operation}({shown}) is {result}; numbers must be finite")
    return terms.number(result)


# ---- elementwise --------------------------------------------------------------------------

_RENAMED = {"maximum": "max", "minimum": "min", "where": "select"}


def _quotient_of(above: str, below: str) -> Callable[[Terms, Term], Term]:
    return lambda terms, x: terms.apply("div", terms.apply(above, x), terms.apply(below, x))


def _reciprocal_of(operation: str) -> Callable[[Terms, Term], Term]:
    return lambda terms, x: terms.apply("reciprocal", terms.apply(operation, x))


def _arccot(terms: Terms, x: Term) -> Term:
    return terms.apply("sub", terms.number(math.pi / 2), terms.apply("arctan", x))


def _relu(terms: Terms, x: Term) -> Term:
    return terms.apply("max", x, terms.number(0.0))


def _pow(terms: Terms, x: Term, y: Term) -> Term:
    if y.operation != "number":
        return terms.apply("pow", x, y)
    power = y.value
    if power == 0.0:
        return terms.number(1.0)
    if abs(power) == 0.5:  # as NumPy does
        result = terms.apply("sqrt", x)
    elif power.is_integer() and abs(power) <= _MOST_PRODUCTS:
        result = _product_of_squares(terms, x, int(abs(power)))
    else:
        return terms.apply("pow", x, y)
    return result if power > 0 else terms.apply("reciprocal", result)


def _product_of_squares(terms: Terms, x: Term, n: int) -> Term:
    """x**n, n >= 1, by repeated squaring."""
    result = None
    while n:
        if n % 2:
            result = x if result is None else terms.apply("mul", x, result)
        n //= 2
        if n:
            x = terms.apply("square", x)
    assert result is not None
    return result


_WRITTEN: dict[str, Callable[..., Term]] = {
    "tan": _quotient_of("sin", "cos"),
    "cot": _quotient_of("cos", "sin"),
    "sec": _reciprocal_of("cos"),
    "csc": _reciprocal_of("sin"),
    "arccot": _arccot,
    "relu": _relu,
    "pow": _pow,
}


# ---- over the outputs of a row ------------------------------------------------------------


def _narrow(kind: str) -> str:
    """The kind of a reduction of a value of some kind."""
    return "row" if kind == "full" else kind


def _count(terms: Terms, x: Value) -> Term:
    """How many numbers a reduction of x reduces to one."""
    return terms.apply("row_length") if x.kind == "full" else terms.number(1.0)


def _sum_of(terms: Terms, term: Term, x: Value) -> Term:
    """The sum over the outputs of a row of a term that stands where x has its numbers."""
    if term.kind == "full":
        return terms.apply("row_sum", term)
    return terms.apply("mul", term, _count(terms, x))  # all outputs of a row are the same


def _sum(terms: Terms, x: Value) -> Value:
    return Value(_sum_of(terms, x.term, x), _narrow(x.kind))


def _mean(terms: Terms, x: Value) -> Value:
    if x.term.kind != "full":
        return Value(x.term, _narrow(x.kind))
    per_output = terms.apply("reciprocal", _count(terms, x))
    return Value(terms.apply("mul", terms.apply("row_sum", x.term), per_output), "row")


def _max(terms: Terms, x: Value) -> Value:
    term = terms.apply("row_max", x.term) if x.term.kind == "full" else x.term
    return Value(term, _narrow(x.kind))


def _powers(terms: Terms, x: Value) -> tuple[Term, Term, Term]:
    """m = max x, e = exp(x − m) and the sum of e, which softmax and logsumexp share."""
    largest = _max(terms, x).term
    powers = terms.apply("exp", terms.apply("sub", x.term, largest))
    return largest, powers, _sum_of(terms, powers, x)


def _logsumexp(terms: Terms, x: Value) -> Value:
    if x.term.kind == "full":
        largest, _, total = _powers(terms, x)
    else:
        largest, total = x.term, _count(terms, x)
    return Value(terms.apply("add", terms.apply("log", total), largest), _narrow(x.kind))


def _softmax(terms: Terms, x: Value) -> Value:
    if x.term.kind == "full":
        _, powers, total = _powers(terms, x)
        # 1 <= total <= the number of outputs, so its reciprocal neither overflows nor vanishes
        return Value(terms.apply("mul", powers, terms.apply("reciprocal", total)), x.kind)
    return Value(terms.apply("reciprocal", _count(terms, x)), x.kind)


def _sum_like(terms: Terms, g: Value, x: Value) -> Value:
    """Trained constants and other inputs are full, so only sums over outputs remain."""
    return _sum(terms, g) if x.kind != "full" else Value(g.term, x.kind)


def _broadcast_like(terms: Terms, g: Value, x: Value) -> Value:
    return Value(g.term, widest((g.kind, x.kind)))


_OVER_ROW: dict[str, Callable[..., Value]] = {
    "sum": _sum,
    "mean": _mean,
    "max": _max,
    "logsumexp": _logsumexp,
    "softmax": _softmax,
    "sum_like": _sum_like,
    "broadcast_like": _broadcast_like,
}
