"""Formulas of activations and losses → the programs that the engine runs.

A formula is checked, merged and derived. Its derivatives are graphs again: backward with the seed
g = ∂J/∂a as an input, and forward along a direction R. What several results of a program have in
common is computed once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from ._derive import adjoints, directional
from ._graph import Node, gate_of, gates_of, leaf, number_of
from ._lower import Value, lower
from ._merge import merged, merged_together
from ._program import Program, assemble
from ._terms import Terms
from ._text import expression_text, pointer

# Inputs of derivatives. Their names are no identifiers, so that no formula can have them.
SEED = "∂J/∂a"


def along(name: str) -> str:
    """The name of the derivative of an input along the direction R.

    >>> along("z")
    'R{z}'
    """
    return f"R{{{name}}}"


# ---- graphs -------------------------------------------------------------------------------


class ActivationGraphs(NamedTuple):
    """The merged graphs of an activation, see `ActivationFormula.programs`."""

    value: tuple[Node, ...]
    slope: tuple[Node, ...]
    push: tuple[Node, ...]
    curve: tuple[Node, ...]


class LossGraphs(NamedTuple):
    """The merged graphs of a loss, see `LossFormula.programs`."""

    value: tuple[Node, ...]
    slope: tuple[Node, ...]
    curve: tuple[Node, ...]


Graphs: TypeAlias = tuple[Node, ...]  # of the results of one program


def activation_graphs(gate: Node, constants: Sequence[str]) -> Iterator[Graphs]:
    """The merged graphs of a = f(z; constants) and of its derivatives, as in `ActivationGraphs`.

    Each is made when it is asked for: a formula may be too large for the first program. The inputs
    of the derivatives are z, the constants, `SEED`, and `along` of all of these.
    """
    value = merged(gate)
    yield (value,)
    z, *rest = variables = [leaf("input", name) for name in ("z", *constants)]
    moves = [leaf("input", along(name)) for name in ("z", *constants)]
    same_shape = dict.fromkeys((*rest, *moves), z)
    # every output depends on its own z only, so all derivatives are products with these
    partials = merged_together(adjoints(value, 1.0, variables, same_shape))
    seed, seed_move = leaf("input", SEED), leaf("input", along(SEED))
    yield tuple(_product(seed, x) for x in partials)
    yield (_sum([_product(move, x) for move, x in zip(moves, partials, strict=True)]),)
    directions = dict(zip(variables, moves, strict=True))
    bends = merged_together([directional(x, directions, same_shape) for x in partials])
    yield tuple(
        _sum([_product(seed_move, x), _product(seed, bend)])
        for x, bend in zip(partials, bends, strict=True)
    )


def loss_graphs(gate: Node) -> Iterator[Graphs]:
    """The merged graphs of J_i = f(a, y) and of its derivatives, as in `LossGraphs`.

    Each is made when it is asked for. The inputs of the derivatives are a, y and `along` of a.
    """
    value = merged(gate)
    yield (value,)
    a, y, move = (leaf("input", name) for name in ("a", "y", along("a")))
    same_shape = {y: a, move: a}
    value, slope = merged_together((value, *adjoints(value, 1.0, [a], same_shape)))
    yield (value, slope)
    yield (merged(directional(slope, {a: move}, same_shape)),)


def _is(gate: Node, number: float) -> bool:
    return gate.operation == "number" and gate.data == number


def _product(x: Node, y: Node) -> Node:
    """x y, for a y that may be the number 0 or 1."""
    return y if _is(y, 0) else x if _is(y, 1) else gate_of("mul", (x, y))


def _sum(parts: Iterable[Node]) -> Node:
    """The sum of gates, without those that are 0."""
    total = leaf("number", 0.0)
    for part in parts:
        if not _is(part, 0):
            total = part if _is(total, 0) else gate_of("add", (total, part))
    return total


# ---- checks -------------------------------------------------------------------------------


def check_activation(gate: Node, constants: Sequence[str]) -> None:
    """ValueError, with the place, if the engine cannot compute z ↦ gate."""
    names = ("z", *constants)
    known = "z and the trained constants " + ", ".join(constants) if constants else "z"
    for part, kind in _checked_kinds(gate, names, known).items():
        if kind == "row" or part.operation == "softmax":
            raise _refused(
                "an activation is computed element by element, without sums over the outputs; "
                f"{part.operation} is not",
                gate,
                part,
            )
    for name in names:
        if name not in gate.inputs:
            text = expression_text(gate)
            raise ValueError(f"an activation must depend on {name}, and this does not: {text}")


def check_loss(gate: Node) -> None:
    """ValueError, with the place, if the engine cannot compute (a, y) ↦ gate."""
    kinds = _checked_kinds(gate, ("a", "y"), "a, the outputs, and y, the targets")
    if kinds[gate] == "full":
        raise _refused(
            "a loss must give one number per row, and this gives one per output: reduce it with "
            "gates.sum or gates.mean",
            gate,
            gate,
        )
    if "a" not in gate.inputs:
        raise ValueError(f"a loss must depend on a, and this does not: {expression_text(gate)}")


def _checked_kinds(gate: Node, names: Sequence[str], known: str) -> dict[Node, str]:
    """The kinds of all gates below one, if its inputs and constants are allowed."""
    for part in gates_of([gate]):
        if part.operation == "array":
            raise _refused(
                "a formula of a network has no arrays; use numbers or trained constants", gate, part
            )
        if part.operation == "number" and not math.isfinite(number_of(part)):
            raise _refused(f"the numbers of a formula must be finite; got {part.data}", gate, part)
        if part.operation == "input" and part.data not in names:
            raise _refused(f"the inputs of this formula are {known}; got {part.data}", gate, part)
        if part.operation == "div" and _is(part.operands[1], 0):
            raise _refused("the formula divides by 0", gate, part)
    terms = Terms(["full"] * len(names))
    given = {name: Value(x, "full") for name, x in zip(names, terms.inputs, strict=True)}
    return {part: value.kind for part, value in lower(terms, given, [gate]).items()}


def _refused(message: str, gate: Node, part: Node) -> ValueError:
    return ValueError(f"{message}\n{pointer(gate, part)}")


# ---- programs -----------------------------------------------------------------------------

_VALUE = "the program of its value"
_SLOPE = "the program of its slope"
_PUSH = "the program of its derivative along a direction"
_CURVE = "the program of its second derivative"


def compile_activation(
    graphs: Iterable[Graphs], constants: Sequence[str], per: str
) -> tuple[Program, Program, Program, Program]:
    """The programs value, slope, push and curve of an activation.

    It takes the graphs one by one, and compiles each before it asks for the next. Raises ValueError
    if a program becomes too large or one of its numbers is not finite.
    """
    kind = "full" if per == "unit" else "one"
    given = {"z": "full", **dict.fromkeys(constants, kind)}
    seeded = {**given, SEED: "full"}

    def along_all(kinds: dict[str, str]) -> dict[str, str]:
        return {along(name): kind for name, kind in kinds.items()}

    of = iter(graphs)
    return (
        _compiled(_VALUE, given, next(of)),
        _compiled(_SLOPE, seeded, next(of)),
        _compiled(_PUSH, given | along_all(given), next(of)),
        _compiled(_CURVE, seeded | along_all(seeded), next(of)),
    )


def compile_loss(graphs: Iterable[Graphs]) -> tuple[Program, Program, Program]:
    """The programs value, slope and curve of a loss.

    Raises ValueError as `compile_activation` does.
    """
    inputs = {"a": "full", "y": "full"}
    of = iter(graphs)
    return (
        _compiled(_VALUE, inputs, next(of), "row"),
        _compiled(_SLOPE, inputs, next(of), "row"),
        _compiled(_CURVE, {**inputs, along("a"): "full"}, next(of)),
    )


def _compiled(
    name: str, inputs: dict[str, str], results: Sequence[Node], first: str = "full"
) -> Program:
    """The program of gates, of which the first result has the kind `first` and the others are full.

    `name` is that of the program in messages; `inputs` has the kind of each input.
    """
    terms = Terms(list(inputs.values()))
    # a trained constant has one number per element, whose derivatives the engine adds up
    given = {name: Value(x, "full") for name, x in zip(inputs, terms.inputs, strict=True)}
    found = lower(terms, given, results)
    kinds = [first, *("full" for _ in results[1:])]
    targets = [(found[gate].term, kind) for gate, kind in zip(results, kinds, strict=True)]
    return assemble(list(inputs.values()), targets, name)
