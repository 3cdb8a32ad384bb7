"""Merging: parts of a graph that have a known closed form become one gate.

The table below says what is recognised. A graph is rewritten from its inputs to its result, so when
a row is tried, the operands are merged already: 1 / (1 + exp(-u)) is first reciprocal(1 + exp(-u)).

Every row is an identity of the real numbers that holds wherever its left side is defined, and its
right side is defined nowhere else. So exp(log(x)), x * 0 and x / x stay as they are. Only rounding
changes, mostly for the better: where the left side overflows, cancels or is 0 / 0, the right side
is the correct value, and so is its gradient. NaN, infinities and the sign of 0 are no real numbers:
where(x > 0, x, 0) is 0 for NaN, and relu(x) is NaN.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np

from ._graph import Node, gate_of, gates_of, leaf
from ._operations import OPERATIONS
from ._text import parse_expression


class Row(NamedTuple):
    """One identity: how people write it, and the merged form.

    u, v, x and y stand for any gates, c for a number, n for a negative number, and k for a power of
    two or its negative. Operands of sums, products and maximum may come in either order.

    In exp(-u), tanh(0.5 * u) and the like, below the functions of `_SCALABLE`, u is what makes the
    argument -u or 0.5 * u, whatever it looks like: 1 + exp(x) matches 1 + exp(-u) with u = -x. And
    exp(u) also matches reciprocal(exp(x)), with u = -x.

    `alone` names operations. Gates of them that match must not be used by others, which would need
    them besides the merged form. A row that is `in_order` matches products only as written.
    """

    written: str
    merged: str
    alone: str = ""
    in_order: bool = False


ROWS = (
    # signs, zeros and ones
    Row("-(-x)", "x"),
    Row("-(x - y)", "y - x"),
    Row("-(c * x)", "(-c) * x"),
    Row("-(c / x)", "(-c) / x"),
    Row("-(x / c)", "x / (-c)"),
    Row("x + 0", "x"),
    Row("x + n", "x - (-n)"),
    Row("x + -y", "x - y"),
    Row("x - 0", "x"),
    Row("0 - x", "-x"),
    Row("x - n", "x + (-n)"),
    Row("x - -y", "x + y"),
    Row("1 * x", "x"),
    Row("-1 * x", "-x"),
    Row("c * -x", "(-c) * x"),
    Row("-x * -y", "x * y"),
    Row("x / k", "(1 / k) * x"),  # exact, also for x / 1; other quotients stay quotients
    Row("-x / c", "x / (-c)"),
    Row("c / -x", "(-c) / x"),
    Row("-x / -y", "x / y"),
    # powers
    Row("x ** 1", "x"),
    Row("x ** 2", "square(x)"),
    Row("x * x", "square(x)"),
    Row("x ** 0.5", "sqrt(x)"),
    Row("x ** -1", "reciprocal(x)"),
    Row("1 / x", "reciprocal(x)"),
    # 2.718281828459045 is e but for 5e-17 of it, which is less than the rounding of x changes eˣ
    Row("2.718281828459045 ** x", "exp(x)"),
    # even functions and relu; the slopes of kinks at 0 are 0 on both sides
    Row("square(-x)", "square(x)"),
    Row("square(abs(x))", "square(x)"),
    Row("sqrt(square(x))", "abs(x)"),
    Row("maximum(u, -u)", "abs(u)"),
    Row("abs(-x)", "abs(x)"),
    Row("cos(-x)", "cos(x)"),
    Row("cosh(-x)", "cosh(x)"),
    Row("abs(abs(x))", "abs(x)"),
    Row("maximum(x, 0)", "relu(x)"),
    Row("where(x > 0, x, 0)", "relu(x)"),
    Row("where(x <= 0, 0, x)", "relu(x)"),
    # softmax and log-sum-exp, with and without a shift by the largest output
    Row("exp(x) / sum(exp(x))", "softmax(x)"),
    Row("exp(x) * reciprocal(sum(exp(x)))", "softmax(x)"),
    Row("exp(x - logsumexp(x))", "softmax(x)"),
    Row("softmax(x - max(x))", "softmax(x)"),
    Row("log(sum(exp(x)))", "logsumexp(x)"),
    Row("log(softmax(x))", "x - logsumexp(x)"),
    Row("max(x) + logsumexp(x - max(x))", "logsumexp(x)"),
    Row("(x - max(x)) - logsumexp(x - max(x))", "x - logsumexp(x)"),
    Row("(x - logsumexp(x - max(x))) - max(x)", "x - logsumexp(x)"),
    # softplus
    Row("log(1 + exp(u))", "softplus(u)"),
    Row("log1p(exp(u))", "softplus(u)"),
    Row("log(sigmoid(u))", "-softplus(-u)"),
    Row("log(1 - sigmoid(u))", "-softplus(u)"),
    Row("log1p(-sigmoid(u))", "-softplus(u)"),
    # written so against overflow; at u = 0 the slope 0.5 takes the place of that of the kinks, 0
    Row("relu(u) + softplus(-abs(u))", "softplus(u)"),
    Row("(relu(u) - x) + softplus(-abs(u))", "softplus(u) - x"),
    Row("u + softplus(-u)", "softplus(u)", alone="softplus"),
    Row("softplus(u) - u", "softplus(-u)", alone="softplus"),
    # exponentials and logarithms
    Row("log(exp(u))", "u"),
    Row("log1p(expm1(u))", "u"),
    Row("log(1 + x)", "log1p(x)"),
    Row("log(1 - x)", "log1p(-x)", alone="sub"),
    Row("exp(u) - 1", "expm1(u)"),
    Row("1 - exp(u)", "-expm1(u)", alone="exp"),
    Row("reciprocal(exp(u))", "exp(-u)", alone="exp"),
    Row("square(exp(u))", "exp(2 * u)", alone="exp"),
    # tanh and its like
    Row("(exp(u) - exp(-u)) / (exp(u) + exp(-u))", "tanh(u)"),
    Row("expm1(2 * u) / (exp(2 * u) + 1)", "tanh(u)"),
    Row("expm1(2 * u) / (expm1(2 * u) + 2)", "tanh(u)"),
    Row("(1 - exp(-2 * u)) / (1 + exp(-2 * u))", "tanh(u)"),
    Row("sinh(u) / cosh(u)", "tanh(u)"),
    Row("2 * sigmoid(2 * u) - 1", "tanh(u)", alone="mul sigmoid"),
    Row("1 - 2 * sigmoid(-2 * u)", "tanh(u)", alone="mul sigmoid"),
    Row("0.5 * (exp(u) + exp(-u))", "cosh(u)"),
    Row("0.5 * exp(u) + 0.5 * exp(-u)", "cosh(u)"),
    Row("0.5 * (exp(u) - exp(-u))", "sinh(u)"),
    Row("0.5 * exp(u) - 0.5 * exp(-u)", "sinh(u)"),
    # sigmoid
    Row("reciprocal(1 + exp(-u))", "sigmoid(u)"),
    Row("exp(u) / (1 + exp(u))", "sigmoid(u)"),
    Row("exp(u) * sigmoid(-u)", "sigmoid(u)"),
    Row("exp(u) / (exp(u) + exp(v))", "sigmoid(u - v)", alone="add"),
    Row("x / (1 + exp(-u))", "x * sigmoid(u)", alone="exp"),
    Row("exp(-softplus(u))", "sigmoid(-u)"),
    Row("1 - sigmoid(u)", "sigmoid(-u)", alone="sigmoid"),
    Row("c * (1 + tanh(0.5 * u))", "(2 * c) * sigmoid(u)", alone="add tanh"),
    Row("c * (1 - tanh(0.5 * u))", "(2 * c) * sigmoid(-u)", alone="sub tanh"),
    Row("c + c * tanh(0.5 * u)", "(2 * c) * sigmoid(u)", alone="mul tanh"),
    Row("c - c * tanh(0.5 * u)", "(2 * c) * sigmoid(-u)", alone="mul tanh"),
    Row("(c * x) * (1 + tanh(0.5 * u))", "((2 * c) * x) * sigmoid(u)", alone="add tanh"),
    Row("c * (x * (1 + tanh(0.5 * u)))", "(2 * c) * (x * sigmoid(u))", alone="add tanh"),
    # activations; gelu_tanh is x * sigmoid(a cubic of x), see _is_gelu
    Row("x * sigmoid(x)", "silu(x)"),
    Row("x * tanh(softplus(x))", "mish(x)"),
    # trigonometric functions
    Row("sin(u) / cos(u)", "tan(u)"),
    Row("cos(u) / sin(u)", "cot(u)"),
    Row("reciprocal(cos(u))", "sec(u)"),
    Row("reciprocal(sin(u))", "csc(u)"),
    # signs move towards the result, where they often meet others
    Row("x * -y", "-(x * y)", alone="neg", in_order=True),
    Row("-x * y", "-(x * y)", alone="neg", in_order=True),
    Row("x / -y", "-(x / y)", alone="neg"),
    Row("-x / y", "-(x / y)", alone="neg"),
    Row("-x - y", "-(x + y)", alone="neg"),
    Row("x * reciprocal(y)", "x / y", alone="reciprocal"),
)
"""What is merged. The first row that matches counts.

Besides, operations on finite numbers become their value if it is finite, c * (d * x) becomes one
product, and where(c, x, x) becomes x.
"""

_SCALABLE = frozenset(("exp", "expm1", "tanh", "sigmoid", "softplus", "maximum"))
_COMMUTATIVE = frozenset(("add", "mul", "maximum", "minimum"))
_COMPARISONS = frozenset(("less", "less_equal", "equal"))


_Key: TypeAlias = tuple[str, tuple[Node, ...]]  # an operation and its operands

# ---- merging ------------------------------------------------------------------------------


def merged(gate: Node) -> Node:
    """The gate of the same values with its parts merged."""
    return merged_together((gate,))[0]


def merged_together(gates: Sequence[Node]) -> tuple[Node, ...]:
    """Several gates merged; what they share is merged once.

    One pass does all of it, except that a row with `alone` may become possible when the other users
    of a part have been merged. Then more passes follow, until one changes nothing.
    """
    settled: set[Node] = set()
    before = tuple(gates)
    while True:
        rewriting = _Pass(before, settled)
        after = rewriting.result()
        if after == before or not rewriting.is_blocked:
            return after
        before = after


class _Pass:
    """Rewrites graphs once, from the inputs to the results.

    `settled` are gates that earlier passes found to have no merged form, whatever uses their parts;
    the pass adds to them. `is_blocked` says whether some row did not match only because another
    gate uses a part.
    """

    def __init__(self, roots: tuple[Node, ...], settled: set[Node]) -> None:
        self._roots = roots
        self._settled = settled
        self.is_blocked = False
        self._order = gates_of(roots)
        self._made: dict[_Key, Node] = {}
        # Gates by what they are written with. Of y * x and x * y, it has the one that came first.
        self._known: dict[_Key, Node] = {}
        self._uses = dict.fromkeys(self._order, 0)  # how many gates use a gate
        for root in set(roots):
            self._uses[root] += 1
        for gate in self._order:
            for operand in set(gate.operands):
                self._uses[operand] += 1
            if gate.operands:
                self._first(gate.operation, gate.operands, gate)

    def result(self) -> tuple[Node, ...]:
        uses = self._uses.copy()
        new: dict[Node, Node] = {}
        for gate in self._order:
            operands = tuple([new[x] for x in gate.operands])
            if not operands:
                new[gate] = gate
            elif gate in self._settled and operands == gate.operands:
                new[gate] = self._made[gate.operation, operands] = gate
            else:
                found = new[gate] = self.make(gate.operation, *operands)
                if found is not gate:  # the users of a gate use what took its place
                    self._uses[found] = self._uses.get(found, 0) + uses[gate]
        return tuple([new[root] for root in self._roots])

    def make(self, operation: str, *operands: Node) -> Node:
        """The merged gate of an operation on merged gates."""
        key = (operation, operands)
        gate = self._made.get(key)
        if gate is None:
            gate = self._made[key] = self._rewritten(operation, operands)
        return gate

    def _rewritten(self, operation: str, operands: tuple[Node, ...]) -> Node:
        patterns = _candidates(operation, tuple([x.operation for x in operands]))
        gate = _folded(operation, operands)
        if gate is None:
            gate = self._by_table(patterns, operands)
        if gate is None and operation == "mul":
            gate = self._product(*operands)
        if gate is None and operation == "where":
            gate = _same_sides(*operands)
        if gate is None:
            gate = self._first(operation, operands)
            if not any(pattern.alone for pattern in patterns):
                self._settled.add(gate)
        return gate

    def _first(self, operation: str, operands: tuple[Node, ...], gate: Node | None = None) -> Node:
        """The gate of an operation on operands, in the order in which it came first."""
        found = self._known.get((operation, operands))
        if found is None and operation in _COMMUTATIVE:
            found = self._known.get((operation, operands[::-1]))
        if found is None:
            found = gate_of(operation, operands) if gate is None else gate
            self._known[operation, operands] = found
        return found

    # ---- rules besides the table ----------------------------------------------------------

    def _product(self, x: Node, y: Node) -> Node | None:
        """c * (d * x) as one product, and x * sigmoid(v) as gelu_tanh(x) for its cubic v."""
        for one, other in ((x, y), (y, x)):
            if one.operation == "number" and other.operation == "mul":
                found = self._merged_factors(one, *other.operands)
                if found is not None:
                    return found
            if other.operation == "sigmoid" and _is_gelu(one, other.operands[0]):
                return self.make("gelu_tanh", one)
        return None

    def _merged_factors(self, c: Node, x: Node, y: Node) -> Node | None:
        """c * (x * y) where x or y is a number.

        The range of the product keeps float32 from overflow and underflow where c * (d * x) has
        neither.
        """
        if x.operation != "number":
            x, y = y, x
        if x.operation != "number":
            return None
        factor = self.make("mul", c, x)
        if factor.operation != "number" or not 2.0**-100 <= abs(_number(factor)) <= 2.0**100:
            return None
        return self.make("mul", factor, y)

    # ---- the table ------------------------------------------------------------------------

    def _by_table(self, patterns: list[_Pattern], operands: tuple[Node, ...]) -> Node | None:
        """The merged form by the first pattern that matches."""
        for pattern in patterns:
            bound: dict[Node, Node] = {}
            if self._match_operands(pattern, pattern.written, operands, bound):
                return self._built(pattern.merged, bound)
        return None

    def _match_operands(
        self, pattern: _Pattern, form: Node, operands: tuple[Node, ...], bound: dict[Node, Node]
    ) -> bool:
        scalable = form.operation in _SCALABLE
        for part, gate in zip(form.operands, operands, strict=True):
            if not self._match(pattern, part, gate, bound, scalable):
                return False
        return True

    def _match(
        self,
        pattern: _Pattern,
        form: Node,
        gate: Node,
        bound: dict[Node, Node],
        scalable: bool,
    ) -> bool:
        """Whether a gate has a form, for the gates that the variables are bound to.

        Binds further variables.
        """
        if form.operation == "input":
            return _bind(form, gate, bound)
        if form.operation == "number":
            return gate.operation == "number" and gate.data == form.data
        if scalable and (scale := _scale_of(form)):
            u = self.make("mul", leaf("number", 1 / scale), gate)
            return _bind(form.operands[-1], u, bound)
        matched, operands = [gate], gate.operands
        if form.operation == "exp" and gate.operation == "reciprocal":
            (inner,) = operands
            matched.append(inner)
            operands = tuple([self.make("neg", x) for x in inner.operands])
        if form.operation != matched[-1].operation:
            return False
        if form.operation in pattern.alone and any(self._uses.get(x, 0) > 1 for x in matched):
            self.is_blocked = True
            return False
        return self._match_operands(pattern, form, operands, bound)

    def _built(self, form: Node, bound: dict[Node, Node]) -> Node:
        """The gate that a form stands for."""
        if form.operation == "input":
            return bound[form]
        if form.operation == "number":
            return form
        return self.make(form.operation, *[self._built(x, bound) for x in form.operands])


def _number(gate: Node) -> float:
    """The value of a gate that is a number."""
    assert isinstance(gate.data, float)
    return gate.data


# ---- the table, prepared ------------------------------------------------------------------


@dataclass(frozen=True)
class _Pattern:
    """A row of the table as gates; the inputs are its variables."""

    written: Node
    merged: Node
    alone: frozenset[str]


@functools.cache
def _patterns() -> dict[str, list[_Pattern]]:
    """The rows by the last operation of what is written, with sums and products in any order."""
    found: dict[str, list[_Pattern]] = {}
    names = ("u", "v", "x", "y", "c", "n", "k")
    for row in ROWS:
        merged_form = parse_expression(row.merged, names)
        form = parse_expression(row.written, names)
        for written in [form] if row.in_order else _orders(form):
            pattern = _Pattern(written, merged_form, frozenset(row.alone.split()))
            found.setdefault(written.operation, []).append(pattern)
    return found


def _orders(form: Node) -> list[Node]:
    """A form with the operands of sums and products in all orders."""
    if not form.operands:
        return [form]
    choices = list(itertools.product(*[_orders(x) for x in form.operands]))
    if form.operation in _COMMUTATIVE:
        choices += [choice[::-1] for choice in choices]
    return list(dict.fromkeys(gate_of(form.operation, choice) for choice in choices))


@functools.cache
def _candidates(operation: str, below: tuple[str, ...]) -> list[_Pattern]:
    """The patterns of an operation that operands with these operations can match."""
    return [
        pattern
        for pattern in _patterns().get(operation, ())
        if all(map(_can_match, pattern.written.operands, below, itertools.repeat(operation)))
    ]


def _can_match(form: Node, operation: str, user: str) -> bool:
    if form.operation == "input":
        return operation == "number" or form.data not in _KINDS
    if user in _SCALABLE and _scale_of(form):
        return True
    return operation == form.operation or (form.operation == "exp" and operation == "reciprocal")


def _scale_of(form: Node) -> float:
    """-1 for the form -u, 0.5 for 0.5 * u, and 0 for others."""
    last = form.operands[-1] if form.operands else form
    if last.operation != "input" or last.data != "u":
        return 0.0
    if form.operation == "neg":
        return -1.0
    first = form.operands[0] if form.operands else form
    return _number(first) if form.operation == "mul" and first.operation == "number" else 0.0


_KINDS: dict[object, Callable[[float], bool]] = {
    "c": math.isfinite,
    "n": lambda number: -math.inf < number < 0,
    "k": lambda number: abs(math.frexp(number)[0]) == 0.5 and 1e-300 < abs(number) < 1e300,
}
"""The variables that stand for numbers, with what such a number must be."""


def _bind(variable: Node, gate: Node, bound: dict[Node, Node]) -> bool:
    """Whether a variable stands for a gate; binds it if it is free."""
    known = bound.get(variable)
    if known is not None:
        return known is gate
    suits = _KINDS.get(variable.data)
    if suits and not (gate.operation == "number" and suits(_number(gate))):
        return False
    bound[variable] = gate
    return True


# ---- other identities ---------------------------------------------------------------------


def _folded(operation: str, operands: tuple[Node, ...]) -> Node | None:
    """The value of an operation on finite numbers, if it is finite."""
    for x in operands:
        if x.operation != "number":
            return None
    entry = OPERATIONS[operation]
    if entry.kind != "elementwise":
        return None
    numbers = [np.float64(_number(x)) for x in operands]
    with np.errstate(all="ignore"):
        value = float(entry.value(*numbers))
    return leaf("number", value) if all(map(math.isfinite, (*numbers, value))) else None


def _same_sides(condition: Node, x: Node, y: Node) -> Node | None:
    """where(condition, x, x) as x, if x has all axes of the condition."""
    if x is not y or condition.operation not in _COMPARISONS:
        return None
    if x.operands and OPERATIONS[x.operation].kind != "elementwise":
        return None
    covered = {x, *x.operands}
    if all(each in covered or each.operation == "number" for each in condition.operands):
        return x
    return None


_Cubic: TypeAlias = tuple[float, ...]  # the coefficients of x⁰ … x³

_GELU = 2 * math.sqrt(2 / math.pi)
_MOST_STEPS = 32  # a cubic that is written with more gates is not recognised


def _is_gelu(x: Node, v: Node) -> bool:
    """Whether v is 2 sqrt(2 / pi) (x + 0.044715 x³), so that x * sigmoid(v) is gelu_tanh(x).

    The coefficients may differ from these by 4 eps: they are products and roots of what people
    write, each rounded. To compute v itself takes at least 4 roundings, so nobody can tell such
    coefficients apart. A coefficient of ten digits, such as 0.7978845608, is another function.
    """
    scale, base = 1.0, x
    if x.operation == "neg":
        scale, base = -1.0, x.operands[0]
    for number, other in (x.operands, x.operands[::-1]) if x.operation == "mul" else ():
        if number.operation == "number":
            scale, base = _number(number), other
    cubic = _cubic(v, base, [_MOST_STEPS])
    wanted = (0.0, _GELU * scale, 0.0, _GELU * 0.044715 * scale**3)
    tolerance = 4 * float(np.finfo(np.float64).eps)
    return cubic is not None and all(
        abs(a - b) <= tolerance * abs(b) for a, b in zip(cubic, wanted, strict=True)
    )


def _cubic(gate: Node, x: Node, steps: list[int]) -> _Cubic | None:
    """The coefficients of a cubic in x, from that of x⁰ on; None for anything else."""
    steps[0] -= 1
    if gate is x:
        return (0.0, 1.0, 0.0, 0.0)
    if gate.operation == "number":
        return (_number(gate), 0.0, 0.0, 0.0)
    if steps[0] < 0 or gate.operation not in _ARITHMETIC:
        return None
    parts = []
    for operand in gate.operands:
        part = _cubic(operand, x, steps)
        if part is None:
            return None
        parts.append(part)
    return _ARITHMETIC[gate.operation](*parts)


def _times(p: _Cubic, q: _Cubic) -> _Cubic | None:
    product = [0.0] * 7
    for i, a in enumerate(p):
        for j, b in enumerate(q):
            product[i + j] += a * b
    return None if any(product[4:]) else tuple(product[:4])


def _over(p: _Cubic, q: _Cubic) -> _Cubic | None:
    return None if any(q[1:]) or not q[0] else tuple(a / q[0] for a in p)


def _power(p: _Cubic, q: _Cubic) -> _Cubic | None:
    if q not in ((2.0, 0.0, 0.0, 0.0), (3.0, 0.0, 0.0, 0.0)):
        return None
    square = _times(p, p)
    return square if q[0] == 2 or square is None else _times(square, p)


_ARITHMETIC: dict[str, Callable[..., _Cubic | None]] = {
    "add": lambda p, q: tuple(map(operator.add, p, q)),
    "sub": lambda p, q: tuple(map(operator.sub, p, q)),
    "neg": lambda p: tuple(map(operator.neg, p)),
    "mul": _times,
    "square": lambda p: _times(p, p),
    "div": _over,
    "pow": _power,
}
"""What arithmetic does to the coefficients of cubics; None if the result is not a cubic."""
