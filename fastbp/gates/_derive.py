"""Derivatives of graphs as graphs: adjoints by walking back, directional derivatives by walking on.

Both use the local partials of the table of operations, as `Trace.gradient` does for numbers. What
they make is simplified at once: numbers are folded, and products with 0 and 1 disappear. Gates of
the given graph are kept as they are, so that a program of both computes shared gates once.

The adjoint of a gate has the shape of the gate. Where an operand may be smaller than the result,
sum_like sums what broadcasting repeated. `_Shapes` finds out where this cannot be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from types import SimpleNamespace
from typing import Any, TypeAlias

import numpy as np

from ._graph import Node, as_gate, gate_of, gates_of, leaf, number_of
from ._operations import OPERATIONS

# The shapes that a shape is the broadcast of: those of (input, False), those of (array's shape,
# False), and with True instead, such shapes with a last axis of length 1.
_Shape: TypeAlias = frozenset[tuple[object, bool]]

_MOST_PARTS = 64  # a shape of more parts counts as one of its own, so that sets stay small

_CONDITIONS = ("less", "less_equal", "equal")

_graphs: Any = SimpleNamespace(
    **{name: lambda *operands, name=name: gate_of(name, operands) for name in OPERATIONS}
)


# ---- derivatives --------------------------------------------------------------------------


def adjoints(
    result: Node,
    seed: Node | float,
    wanted: Sequence[Node],
    same_shape: Mapping[Node, Node] | None = None,
) -> tuple[Node, ...]:
    """Graphs of the derivatives of Σ seed·result with respect to some gates, in their shapes.

    Parameters
    ----------
    result : Node
        The gate to differentiate.
    seed : Node or float
        The weight of each element of the result, in its shape or a number.
    wanted : sequence of Node
        Usually inputs; gates that the result does not depend on are allowed.
    same_shape : mapping of Node to Node, optional
        Inputs whose shape is known to be that of another gate, such as the targets of a loss, which
        have the shape of the outputs. This avoids sum_like. If all inputs of a formula without
        reductions have one shape, its derivatives have no sum_like and no broadcast_like.

    Returns
    -------
    tuple of Node
        One graph for each wanted gate; the number 0 where the derivative is 0 everywhere.
    """
    order = result.gates()
    build = _Builder(order, same_shape or {})
    start = as_gate(seed)
    if start.operation != "number":
        build.declare(start, result)
    depends = _depending_on(set(wanted), order)
    found = {result: build("broadcast_like", start, result)}
    for gate in reversed(order):
        if gate in found and gate in depends and gate.operands:
            for operand, part in build.passed_on(gate, found[gate], depends):
                before = found.get(operand)
                found[operand] = part if before is None else build("add", before, part)
    return tuple(found.get(gate, leaf("number", 0.0)) for gate in wanted)


def directional(
    result: Node,
    directions: Mapping[Node, Node],
    same_shape: Mapping[Node, Node] | None = None,
) -> Node:
    """The graph of R{result}: how fast the result changes if some gates move in given directions.

    Parameters
    ----------
    result : Node
        The gate to differentiate.
    directions : mapping of Node to Node
        Gate, usually an input → the gate of its direction, in its shape. All other inputs stay.
    same_shape : mapping of Node to Node, optional
        As for `adjoints`.

    Returns
    -------
    Node
        The graph, in the shape of the result; the number 0 if nothing that it depends on moves.
    """
    order = gates_of([result, *directions])
    build = _Builder(order, same_shape or {})
    for gate, direction in directions.items():
        build.declare(direction, gate)
    found: dict[Node, Node] = {}
    for gate in order:
        if gate in directions:
            found[gate] = directions[gate]
        elif gate.operands:
            parts = build.moved(gate, found)
            if parts:
                total = parts[0]
                for part in parts[1:]:
                    total = build("add", total, part)
                found[gate] = build("broadcast_like", total, gate)
    return found.get(result, leaf("number", 0.0))


def derivative(gate: Node, name: str) -> Node:
    """The derivative of the sum of a gate with respect to one input, in the shape of the input."""
    if name not in gate.inputs:
        known = f"its inputs are {', '.join(gate.inputs)}" if gate.inputs else "it has no inputs"
        raise ValueError(f"the formula has no input {name!r}; {known}")
    variable = leaf("input", name)
    (found,) = adjoints(gate, 1.0, [variable])
    return gate_of("broadcast_like", (found, variable)) if _is(found, 0) else found


def _depending_on(some: set[Node], order: Sequence[Node]) -> set[Node]:
    """Those gates of a graph that are, or depend on, one of some gates."""
    found = set(some)
    for gate in order:
        if not found.isdisjoint(gate.operands):
            found.add(gate)
    return found


# ---- shapes -------------------------------------------------------------------------------


class _Shapes:
    """What is known of the shapes of gates, whatever the shapes of the inputs are."""

    def __init__(self, same_shape: Mapping[Node, Node]) -> None:
        self._same = same_shape
        self._found: dict[Node, _Shape] = {}

    def __getitem__(self, gate: Node) -> _Shape:
        """The shape of a gate; those of its operands are known already."""
        shape = self._found.get(gate)
        if shape is None:
            shape = self._found[gate] = self._new(gate)
        return shape

    def __setitem__(self, gate: Node, shape: _Shape) -> None:
        self._found[gate] = shape

    def _new(self, gate: Node) -> _Shape:
        if gate.operation == "number":
            return frozenset()
        if gate.operation == "array":
            return frozenset({(np.asarray(gate.data).shape, False)})
        if gate.operation == "input":
            like = self._same.get(gate, gate)
            return frozenset({(like, False)}) if like.operation == "input" else self[like]
        if gate.operation == "sum_like":
            return self[gate.operands[1]]
        shape = self.union(gate.operands)
        if OPERATIONS[gate.operation].kind == "reduction":
            shape = frozenset((part, True) for part, _ in shape)
        return shape if len(shape) <= _MOST_PARTS else frozenset({(gate, False)})

    def union(self, gates: Sequence[Node]) -> _Shape:
        """The shape that gates broadcast to."""
        shape = self[gates[0]]
        for gate in gates[1:]:
            other = self[gate]
            if not _covers(shape, other):
                shape = other if _covers(other, shape) else _without_repeats(shape | other)
        return shape


def _covers(shape: _Shape, other: _Shape) -> bool:
    """Whether it is certain that broadcasting `other` against `shape` gives `shape`."""
    return shape is other or all(
        part in shape or (part[1] and (part[0], False) in shape) for part in other
    )


def _without_repeats(shape: _Shape) -> _Shape:
    """Without the rows of length 1 of inputs that are in it with all outputs."""
    return frozenset(part for part in shape if not (part[1] and (part[0], False) in shape))


# ---- building -----------------------------------------------------------------------------


class _Builder:
    """Makes simplified gates, and the products with local partials of both walks."""

    def __init__(self, order: Sequence[Node], same_shape: Mapping[Node, Node]) -> None:
        self._shapes = _Shapes(same_shape)
        self._simple: dict[Node, Node] = {gate: gate for gate in order}
        self._made: dict[tuple[str, tuple[Node, ...]], Node] = {}
        for gate in order:
            self._shapes[gate]

    def __call__(self, operation: str, *operands: Node) -> Node:
        """The simplified gate of an operation on gates of the given graph or made here."""
        key = (operation, operands)
        gate = self._made.get(key)
        if gate is None:
            gate = self._made[key] = self._simplified(operation, operands)
            self._simple[gate] = gate
            self._shapes[gate]
        return gate

    def declare(self, gate: Node, like: Node) -> None:
        """Take a gate of another graph, whose shape is that of a known one."""
        for part in gate.gates():
            self._simple.setdefault(part, part)
            self._shapes[part]
        self._shapes[gate] = self._shapes[like]

    def passed_on(self, gate: Node, g: Node, depends: set[Node]) -> list[tuple[Node, Node]]:
        """(operand, what its adjoint gets), from the adjoint g of a gate."""
        found = []
        for operand, slope in self._slopes(gate, depends, g):
            part = slope if OPERATIONS[gate.operation].kind == "row" else self("mul", g, slope)
            if not _is(part, 0):
                found.append((operand, self._fitted(part, operand)))
        return found

    def moved(self, gate: Node, directions: Mapping[Node, Node]) -> list[Node]:
        """The parts of R{gate}, from the R of its operands."""
        kind = OPERATIONS[gate.operation].kind
        if kind == "row":  # its Jacobian matrix is symmetric
            (x,) = gate.operands
            moving = directions.keys() & {x}
            return [slope for _, slope in self._slopes(gate, moving, directions.get(x))]
        found = []
        for operand, slope in self._slopes(gate, directions.keys()):
            if kind == "shape":
                part = self(gate.operation, directions[operand], gate.operands[1])
            else:
                part = self("mul", slope, directions[operand])
            if not _is(part, 0):
                found.append(self("sum", part) if kind == "reduction" else part)
        return found

    def _slopes(self, gate: Node, wanted: Any, g: Node | None = None) -> list[tuple[Node, Node]]:
        """(operand, local partial) of the wanted operands; for a row, its product with g."""
        entry, found = OPERATIONS[gate.operation], []
        given = (g, gate) if entry.kind == "row" else (gate,)
        for operand, partial in zip(gate.operands, entry.partials, strict=True):
            if partial is not None and operand in wanted:
                slope = as_gate(partial(_graphs, *given, *gate.operands))
                found.append((operand, self._simplify(slope)))
        return found

    def _fitted(self, part: Node, operand: Node) -> Node:
        """An adjoint in the shape of an operand, from one in the shape of the result."""
        if _covers(self._shapes[operand], self._shapes[part]):
            return self("broadcast_like", part, operand)
        return self("sum_like", part, operand)

    def _simplify(self, gate: Node) -> Node:
        """The simplified form of a graph above known gates."""
        new: list[Node] = []
        waiting = [gate]
        while waiting:
            each = waiting.pop()
            if each not in self._simple:
                self._simple[each] = each  # replaced below
                new.append(each)
                waiting += each.operands
        for each in sorted(new, key=lambda one: one.number):
            if each.operands:
                self._simple[each] = self(each.operation, *[self._simple[x] for x in each.operands])
            else:
                self._shapes[each]
        return self._simple[gate]

    # ---- simplification -------------------------------------------------------------------

    def _simplified(self, operation: str, operands: tuple[Node, ...]) -> Node:
        if operation in ("sum_like", "broadcast_like"):
            return getattr(self, f"_{operation}")(*operands)  # type: ignore[no-any-return]
        rules = [_Builder._folded, _Builder._spread, _by_rule]
        for rule in rules if OPERATIONS[operation].kind == "elementwise" else ():
            simple = rule(self, operation, operands)
            if simple is not None:
                return self._repeated(simple, operation, operands)
        return gate_of(operation, operands)

    def _repeated(self, simple: Node, operation: str, operands: tuple[Node, ...]) -> Node:
        """What a rule has made of an operation, in the shape to which its operands broadcast.

        A rule may drop the operand that has this shape, as in where(x > 0, 1, 1). A 0 stands for
        zeros of any shape.
        """
        total = self._shapes.union(operands)
        if _is(simple, 0) or _covers(self._shapes[simple], total):
            return simple
        for like in operands:
            if _covers(self._shapes[like], total):
                return self("broadcast_like", simple, like)
        return gate_of(operation, operands)

    def _folded(self, operation: str, operands: tuple[Node, ...]) -> Node | None:
        """A number for an operation on numbers, if it is finite."""
        if any(x.operation != "number" for x in operands):
            return None
        with np.errstate(all="ignore"):
            value = OPERATIONS[operation].value(*[np.float64(number_of(x)) for x in operands])
        return leaf("number", value) if isfinite(value) else None

    def _spread(self, operation: str, operands: tuple[Node, ...]) -> Node | None:
        """An operation on repeated numbers as a repeated result, or without the repetition."""
        repeated = [x for x in operands if x.operation == "broadcast_like"]
        if not repeated:
            return None
        total = self._shapes.union(operands)
        cores = [x.operands[0] if x in repeated else x for x in operands]
        covered = self._shapes.union(cores)
        if _covers(covered, total):
            return self(operation, *cores)
        for like in (x.operands[1] for x in repeated):
            if _covers(self._shapes[like], total):
                return self("broadcast_like", self(operation, *cores), like)
        return None

    def _sum_like(self, g: Node, x: Node) -> Node:
        if _is(g, 0) or self._shapes[g] == self._shapes[x]:
            return g
        if g.operation == "sum_like" and _covers(self._shapes[g], self._shapes[x]):
            return self("sum_like", g.operands[0], x)
        return gate_of("sum_like", (g, x))

    def _broadcast_like(self, g: Node, x: Node) -> Node:
        shape = self._shapes[x]
        if _is(g, 0) or _covers(self._shapes[g], shape):
            return g
        if g.operation == "broadcast_like" and _covers(shape, self._shapes[g.operands[1]]):
            return self("broadcast_like", g.operands[0], x)
        if len(shape) == 1:  # an input is a simpler pattern than a formula
            ((part, is_reduced),) = shape
            if isinstance(part, Node) and not is_reduced:
                x = part
        return gate_of("broadcast_like", (g, x))


def _is(gate: Node, number: float) -> bool:
    """Whether a gate is this number."""
    return gate.operation == "number" and gate.data == number


def _by_rule(build: _Builder, operation: str, operands: tuple[Node, ...]) -> Node | None:
    return _RULES[operation](build, *operands) if operation in _RULES else None


# Rules take the builder and simplified operands, and return None where they have nothing to say.
# Operands may be deep formulas of users, so no rule goes down them by recursion.


def _add(build: _Builder, x: Node, y: Node) -> Node | None:
    if _is(x, 0) or _is(y, 0):
        return y if _is(x, 0) else x
    for term, other in ((y, x), (x, y)):
        sign, rest = _signed(term)
        if rest is not term:
            return build("add" if sign > 0 else "sub", other, rest)
    if x.operation == y.operation == "where" and x.operands[0] is y.operands[0]:
        condition, *sides = x.operands
        sums = list(zip(sides, y.operands[1:], strict=True))
        if all(_is(a, 0) or _is(b, 0) for a, b in sums):  # each side is in one of them
            return build("where", condition, *[b if _is(a, 0) else a for a, b in sums])
    return None


def _sub(build: _Builder, x: Node, y: Node) -> Node | None:
    if _is(y, 0):
        return x
    if _is(x, 0):
        return build("neg", y)
    sign, rest = _signed(y)
    return None if rest is y else build("sub" if sign > 0 else "add", x, rest)


def _neg(build: _Builder, x: Node) -> Node | None:
    factor, rest = _split(x)
    if abs(factor) == 1:
        return None if rest is x else _times(factor < 0, rest)
    return gate_of("mul", (-factor, rest))


def _signed(x: Node) -> tuple[int, Node]:
    """(1 or −1, gate), whose product is x; the gate has no sign."""
    sign = 1
    while x.operation == "neg":
        sign, x = -sign, x.operands[0]
    return sign, x


def _times(positive: bool, x: Node) -> Node:
    return x if positive else gate_of("neg", (x,))


def _split(x: Node) -> tuple[float, Node]:
    """(number, gate), whose product is x; the gate has no number and no sign in front."""
    factor = 1.0
    while x.operation in ("neg", "mul"):
        first, *others = x.operands
        if not others:
            factor, x = -factor, first
            continue
        number, rest = (first, others[0]) if first.operation == "number" else (others[0], first)
        if number.operation != "number":
            break
        product = factor * number_of(number)
        if product == 0 or not isfinite(product):
            break
        factor, x = product, rest
    return factor, x


def _mul(build: _Builder, x: Node, y: Node) -> Node | None:
    """Numbers come first, as one; −1 becomes a sign; a factor goes into a choice with 0."""
    zero = leaf("number", 0.0)
    if _is(x, 0) or _is(y, 0):
        return zero
    if _is(x, 1) or _is(y, 1):
        return y if _is(x, 1) else x
    for choice, other in ((x, y), (y, x)):
        if choice.operation in _CONDITIONS:
            return build("where", choice, other, zero)
    for choice, other in ((x, y), (y, x)):
        if _is_choice(choice) and not any(map(_is_choice, choice.operands[1:])):
            condition, *sides = choice.operands
            return build("where", condition, *[build("mul", other, side) for side in sides])
    (c, a), (d, b) = _split(x), _split(y)
    if a.operation == "number" or b.operation == "number":  # 1 times a number is split no further
        number, rest = (a, b) if a.operation == "number" else (b, a)
        factor = c * d * number_of(number)
    elif c == d == 1:
        return None
    else:
        factor, rest = c * d, build("mul", a, b)
    if abs(factor) == 1:
        return _times(factor > 0, rest)
    return gate_of("mul", (factor, rest)) if isfinite(factor) and factor else None


def _is_choice(x: Node) -> bool:
    """Whether it is 0 on one side of a condition."""
    return x.operation == "where" and (_is(x.operands[1], 0) or _is(x.operands[2], 0))


def _div(build: _Builder, x: Node, y: Node) -> Node | None:
    if _is(x, 0):
        return x
    if _is(x, 1):
        return build("reciprocal", y)
    return x if _is(y, 1) else None


def _pow(build: _Builder, x: Node, y: Node) -> Node | None:
    if _is(y, 0):
        return leaf("number", 1.0)
    return x if _is(y, 1) else None


def _where(build: _Builder, condition: Node, x: Node, y: Node) -> Node | None:
    if x is y:
        return x
    if condition.operation == "number":
        return x if number_of(condition) else y
    if condition.operation == "equal" and _is(x, 0) and _is(condition.operands[1], 0):
        _, rest = _split(y)
        if rest is condition.operands[0]:  # is 0 as well where the condition holds
            return y
    return None


_RULES: dict[str, Callable[..., Node | None]] = {
    "add": _add,
    "sub": _sub,
    "neg": _neg,
    "mul": _mul,
    "div": _div,
    "pow": _pow,
    "where": _where,
}
