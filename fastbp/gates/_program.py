"""Straight-line programs: the form in which the engine runs a formula.

A program is a list of instructions over slots. The first slots are the inputs, then come the
numbers, then the temporaries. Each slot holds one number per output of every row ("full"), one
number per row ("row") or a single number ("one"). `csrc/kernels/program.h` runs programs.

`assemble` makes a program of a graph of terms: it joins products and sums into fused multiply-adds,
orders the instructions so that few values are alive at a time, and lets values share temporaries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

# operation of a program: its number of operands
OPERATIONS = {
    "copy": 1,
    "add": 2,
    "sub": 2,
    "mul": 2,
    "div": 2,
    "fma": 3,  # x y + z
    "fms": 3,  # x y − z
    "fnma": 3,  # z − x y
    "min": 2,
    "max": 2,
    "pow": 2,
    "neg": 1,
    "abs": 1,
    "sign": 1,  # −1, 0 or 1
    "sqrt": 1,
    "square": 1,
    "reciprocal": 1,
    "exp": 1,
    "expm1": 1,
    "log": 1,
    "log1p": 1,
    "sin": 1,
    "cos": 1,
    "arcsin": 1,
    "arccos": 1,
    "arctan": 1,
    "sinh": 1,
    "cosh": 1,
    "tanh": 1,
    "sigmoid": 1,
    "softplus": 1,
    "silu": 1,
    "mish": 1,
    "gelu_tanh": 1,
    "silu_slope": 1,
    "mish_slope": 1,
    "gelu_tanh_slope": 1,
    "less": 2,  # 1 if x < y, else 0
    "less_equal": 2,
    "equal": 2,
    "select": 3,  # y where x is not 0, else z
    "select_positive": 3,  # y where x > 0, else z
    "row_sum": 1,
    "row_max": 1,
    "row_length": 0,  # how many outputs a row has
}
REDUCTIONS = frozenset({"row_sum", "row_max"})

MAX_NUMBERS = 256
MAX_CODE = 4096
MAX_TEMPORARIES = 256

_RANK = {"one": 0, "row": 1, "full": 2}


@dataclass(frozen=True)
class Program:
    """A straight-line program.

    Attributes
    ----------
    inputs : tuple of str
        The kinds of the first slots: "full", "row" or "one".
    constants : tuple of float
        The numbers of the next slots, all of kind "one".
    temporaries : tuple of str
        The kinds of the last slots, "full" or "row".
    code : tuple of (str, int, int, int, int)
        The instructions: operation, slot of the result, slots of up to three operands, −1 for none.
        Every slot is written before it is read; only temporaries are written.
    outputs : tuple of int
        The slots of the results, all of them different temporaries.
    """

    inputs: tuple[str, ...]
    constants: tuple[float, ...]
    temporaries: tuple[str, ...]
    code: tuple[tuple[str, int, int, int, int], ...]
    outputs: tuple[int, ...]

    def __str__(self) -> str:
        """One instruction per line, such as `t0 = fma(x0, 2.0, t1)`, then the results."""
        n_inputs, n_leaves = len(self.inputs), len(self.inputs) + len(self.constants)

        def name(slot: int) -> str:
            if slot < n_inputs:
                return f"x{slot}"
            if slot < n_leaves:
                return repr(self.constants[slot - n_inputs])
            return f"t{slot - n_leaves}"

        lines = [
            f"{name(out)} = {operation}({', '.join(name(x) for x in operands if x >= 0)})"
            for operation, out, *operands in self.code
        ]
        return "\n".join([*lines, f"return {', '.join(map(name, self.outputs))}"])


class Term:
    """One value of a program: an input, a number, or an operation on terms.

    Terms are made by `_terms.Terms`, which makes equal ones one object.

    Attributes
    ----------
    operation : str
        A key of `OPERATIONS`, or "input" or "number".
    operands : tuple of Term
        The operands; they have a smaller `order`.
    value : float
        The number, or the index of the input.
    kind : str
        "full", "row" or "one".
    order : int
        Its place in the order of making.
    """

    __slots__ = ("kind", "operands", "operation", "order", "value")

    def __init__(
        self, operation: str, operands: tuple[Term, ...], value: float, kind: str, order: int
    ) -> None:
        self.operation, self.operands, self.value = operation, operands, value
        self.kind, self.order = kind, order

    @property
    def leaf(self) -> bool:
        """Whether it is an input or a number, which no instruction computes."""
        return self.operation in ("input", "number")


def widest(kinds: Iterable[str]) -> str:
    """The kind of an elementwise result: "full" if any operand is full, else "row", else "one"."""
    return max(kinds, key=_RANK.__getitem__, default="one")


def below(roots: Iterable[Term]) -> list[Term]:
    """The terms that the roots need, with the roots, operands first."""
    found: set[Term] = set()
    waiting = list(roots)
    while waiting:
        term = waiting.pop()
        if term not in found:
            found.add(term)
            waiting += term.operands
    return sorted(found, key=lambda term: term.order)


# ---- instructions -------------------------------------------------------------------------


class _Instruction:
    """An instruction before it has slots. `kind` is that of its result."""

    __slots__ = ("kind", "operands", "operation")

    def __init__(self, operation: str, operands: tuple[_Value, ...], kind: str) -> None:
        self.operation, self.operands, self.kind = operation, operands, kind


_Value: TypeAlias = "Term | _Instruction"  # a leaf, or the instruction that computes the value


def _instructions(results: Sequence[tuple[Term, str]]) -> list[_Instruction]:
    """The instructions of the results, no two of them the same and none of them a leaf.

    What depends on single numbers only is computed once per row, or in a program without numbers
    per row once per output, since no temporary is a single number.
    """
    forms = _forms([term for term, _ in results])
    by_rows = "row" in {kind for _, kind in results} | {term.kind for term in forms}
    lifted = "row" if by_rows else "full"
    made: dict[Term, _Instruction] = {}
    copies: dict[Term, _Instruction] = {}
    for term, (operation, operands) in forms.items():
        values = [made.get(x, x) for x in operands]
        kind = lifted if term.kind == "one" else term.kind
        if values and all(value.kind == "one" for value in values):
            first = operands[0]
            values[0] = copies.setdefault(first, _Instruction("copy", (first,), kind))
        made[term] = _Instruction(operation, tuple(values), kind)
    chosen: list[_Instruction] = []
    for term, kind in results:
        value = made.get(term, term)
        if isinstance(value, Term) or value.kind != kind or value in chosen:
            value = _Instruction("copy", (value,), kind)
        chosen.append(value)
    return chosen


_Form: TypeAlias = tuple[str, tuple[Term, ...]]  # operation and operands


def _forms(roots: Sequence[Term]) -> dict[Term, _Form]:
    """The operation and operands of every term that needs an instruction, operands first.

    The forms of what the first root needs do not depend on the others. So J has the same roundings
    in the program of a loss alone and in that with its gradient.
    """
    uses: dict[Term, int] = {}
    forms: dict[Term, _Form] = {}
    for root in roots:
        new = [term for term in below([root]) if term not in uses]
        uses.update(dict.fromkeys(new, 0))
        for used in (*(x for term in new for x in term.operands), root):
            uses[used] += 1
        for term in new:
            if not term.leaf:
                forms[term] = _fused(term, {x for x in term.operands if uses[x] == 1})
    needed = set(roots)
    for term in sorted(forms, key=lambda term: term.order, reverse=True):
        if term in needed:
            needed.update(forms[term][1])
    return {
        term: forms[term] for term in sorted(needed, key=lambda term: term.order) if term in forms
    }


def _fused(term: Term, alone: set[Term]) -> _Form:
    """The operation and operands of a term, where products become part of sums and quotients.

    A product that only one sum needs becomes part of it, which saves an instruction and a rounding.
    `alone` has the operands that nothing else needs.
    """
    if term.operation in ("add", "sub"):
        x, y = term.operands
        plus = term.operation == "add"
        for product, other, fused in (
            (y, x, "fma" if plus else "fnma"),
            (x, y, "fma" if plus else "fms"),
        ):
            if product in alone and product.operation in ("mul", "square"):
                return fused, (product.operands[0], product.operands[-1], other)
    elif term.operation == "neg":
        (x,) = term.operands
        if x in alone and x.operation == "mul":
            u, v = x.operands
            if v.operation == "number":
                return "mul", (u, Term("number", (), -v.value, "one", -1))
            return "fnma", (u, v, Term("number", (), 0.0, "one", -1))
    elif term.operation == "mul":
        x, y = term.operands
        for inverse, other in ((y, x), (x, y)):
            saves = inverse in alone or inverse.kind == "row"  # a quotient per row costs nothing
            if saves and inverse.operation == "reciprocal" and inverse.kind == term.kind:
                return "div", (other, inverse.operands[0])
    return term.operation, term.operands


# ---- order and slots ----------------------------------------------------------------------


def _ordered(targets: Sequence[_Instruction]) -> list[_Instruction]:
    """The instructions below the targets, such that few values are alive at a time.

    Depth first, and of several operands first the one that needs the most temporaries: the optimal
    order of a tree (Sethi and Ullman, J. ACM 17, 1970), and a good one where values are shared.
    The first target comes last, so that it may replace an input of the program.
    """
    needs: dict[_Instruction, int] = {}
    for instruction in _post_order(targets, lambda found: found):
        wanted = sorted((needs[x] for x in _computed(instruction)), reverse=True)
        needs[instruction] = max([1, *(need + i for i, need in enumerate(wanted))])
    return _post_order(
        targets[::-1], lambda found: sorted(found, key=needs.__getitem__, reverse=True)
    )


def _computed(instruction: _Instruction) -> list[_Instruction]:
    """The operands that are results of instructions, each once."""
    found = [x for x in instruction.operands if isinstance(x, _Instruction)]
    return list(dict.fromkeys(found))


def _post_order(
    targets: Sequence[_Instruction],
    order: Callable[[list[_Instruction]], list[_Instruction]],
) -> list[_Instruction]:
    """The instructions below the targets, operands first and in the order that `order` returns."""
    done: dict[_Instruction, None] = {}
    waiting = [(target, False) for target in reversed(targets)]
    while waiting:
        instruction, ready = waiting.pop()
        if ready:
            done[instruction] = None
        elif instruction not in done:
            waiting.append((instruction, True))
            waiting += [(x, False) for x in reversed(order(_computed(instruction)))]
    return list(done)


def assemble(
    inputs: Sequence[str], results: Sequence[tuple[Term, str]], name: str = "its program"
) -> Program:
    """The program that computes terms.

    Parameters
    ----------
    inputs : sequence of str
        The kinds of the inputs.
    results : sequence of (Term, str)
        The results, with the kinds that they have to have, "full" or "row".
    name : str
        What messages call the program of the formula.

    Returns
    -------
    Program

    Raises
    ------
    ValueError
        If the program would exceed `MAX_NUMBERS`, `MAX_CODE` or `MAX_TEMPORARIES`.
    """
    targets = _instructions(results)
    ordered = _ordered(targets)
    numbers: dict[float, None] = {}
    for instruction in ordered:
        for x in instruction.operands:
            if isinstance(x, Term) and x.operation == "number":
                numbers[x.value] = None
    _check_limit(len(ordered), MAX_CODE, "instructions", name)
    _check_limit(len(numbers), MAX_NUMBERS, "different numbers", name)
    places = {value: len(inputs) + i for i, value in enumerate(numbers)}
    slots, temporaries = _allocated(ordered, targets)
    _check_limit(len(temporaries), MAX_TEMPORARIES, "intermediate values at a time", name)
    first = len(inputs) + len(numbers)

    def slot(x: _Value) -> int:
        if isinstance(x, _Instruction):
            return first + slots[x]
        return places[x.value] if x.operation == "number" else int(x.value)

    code = []
    for instruction in ordered:
        a, b, c = (*map(slot, instruction.operands), -1, -1, -1)[:3]
        code.append((instruction.operation, slot(instruction), a, b, c))
    outputs = tuple(slot(target) for target in targets)
    return Program(tuple(inputs), tuple(numbers), tuple(temporaries), tuple(code), outputs)


def _allocated(
    ordered: list[_Instruction], targets: Sequence[_Instruction]
) -> tuple[dict[_Instruction, int], list[str]]:
    """The temporary of every instruction, and the kinds of all temporaries.

    A result takes the place of an operand of its kind that nothing needs any more, if there is one.
    In a program without reductions, a target has a place of its own: the engine computes it right
    where it has to go.
    """
    last = {x: i for i, instruction in enumerate(ordered) for x in _computed(instruction)}
    last.update(dict.fromkeys(targets, len(ordered)))
    direct = set() if any(x.kind == "row" for x in ordered) else set(targets)
    free: dict[str, list[int]] = {"full": [], "row": []}
    slots: dict[_Instruction, int] = {}
    kinds: list[str] = []
    for i, instruction in enumerate(ordered):
        for x in _computed(instruction):
            if last[x] == i:
                free[x.kind].append(slots[x])
        if free[instruction.kind] and instruction not in direct:
            slots[instruction] = free[instruction.kind].pop()
        else:
            slots[instruction] = len(kinds)
            kinds.append(instruction.kind)
    return slots, kinds


def _check_limit(n: int, most: int, what: str, name: str) -> None:
    if n > most:
        raise ValueError(
            f"the formula is too large: {name} needs {n:,} {what}, and {most:,} are the most; use "
            "a shorter formula"
        )
