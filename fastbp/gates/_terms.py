"""The terms of a program, with the simplifications that hold for every formula.

`Terms.apply` makes a term of an operation of programs. Equal terms are one object, so whatever two
results have in common is computed once. Numbers are folded, signs move outwards until a sum takes
them up, and an operation becomes a cheaper one where that changes no value by more than its
rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ._program import REDUCTIONS, Term, widest

# Numbers of a product are multiplied beforehand if the result stays far from the ends of float32.
_SMALLEST, _LARGEST = 1e-30, 1e30
# Factors move outwards only if what is then computed without them cannot overflow much earlier.
_LEAST_FACTOR, _MOST_FACTOR = 2.0**-10, 2.0**10

# Operations move into choices that nest at most so deep, which bounds the recursion of `apply`.
_MOST_CHOICES = 8

_COMMUTATIVE = frozenset({"add", "mul", "min", "max", "equal"})
_CHOICES = frozenset({"select", "select_positive"})
_FOLDED: dict[str, Callable[..., float]] = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
    "neg": lambda x: -x,
    "square": lambda x: x * x,
    "reciprocal": lambda x: 1.0 / x,
    "log": math.log,
}


class Terms:
    """The terms of one program.

    Parameters
    ----------
    inputs : sequence of str
        The kinds of the inputs: "full", "row" or "one".
    """

    def __init__(self, inputs: Sequence[str]) -> None:
        self._made: dict[tuple[object, ...], Term] = {}
        self._nesting: dict[Term, int] = {}  # choice: how many choices nest in its sides
        self.inputs = [self._term("input", (), float(i), kind) for i, kind in enumerate(inputs)]

    def number(self, value: float) -> Term:
        """A number; ValueError if it is NaN or infinite."""
        if not math.isfinite(value):
            raise ValueError(f"a number of the formula becomes {value}; numbers must be finite")
        return self._term("number", (), float(value), "one")

    def apply(self, operation: str, *operands: Term) -> Term:
        """The term of an operation of programs on terms, simplified."""
        if operation in _FOLDED and all(x.operation == "number" for x in operands):
            return self._folded(operation, [x.value for x in operands])
        if operation in _COMMUTATIVE:
            operands = tuple(sorted(operands, key=_numbers_last))
        rule = _RULES.get(operation)
        simpler = None if rule is None else rule(self, *operands)
        return self.plain(operation, *operands) if simpler is None else simpler

    def plain(self, operation: str, *operands: Term) -> Term:
        """The term of an operation as it stands."""
        if operation in REDUCTIONS or operation == "row_length":
            kind = "row"
        else:
            kind = widest(x.kind for x in operands)
        return self._term(operation, operands, 0.0, kind)

    def known(self, operation: str, *operands: Term) -> Term | None:
        """The term that `plain` would return, if it was made before."""
        return self._made.get((operation, operands, 0.0))

    def _term(self, operation: str, operands: tuple[Term, ...], value: float, kind: str) -> Term:
        key = operation, operands, value
        term = self._made.get(key)
        if term is None:
            term = self._made[key] = Term(operation, operands, value, kind, len(self._made))
            if operation in _CHOICES:
                self._nesting[term] = 1 + max(self._nesting.get(x, 0) for x in operands[1:])
        return term

    def is_choice(self, term: Term) -> bool:
        """Whether it is a choice into which operations may move."""
        return 0 < self._nesting.get(term, 0) <= _MOST_CHOICES

    def _folded(self, operation: str, values: list[float]) -> Term:
        try:
            return self.number(_FOLDED[operation](*values))
        except (ArithmeticError, ValueError):
            shown = ", ".join(map(repr, values))
            raise ValueError(
                f"{operation}({shown}) of the formula is no finite number; change its numbers"
            ) from None


def _numbers_last(term: Term) -> tuple[bool, int]:
    return term.operation == "number", term.order


def _is(term: Term, value: float) -> bool:
    return term.operation == "number" and term.value == value


def _is_rest(term: Term, x: Term) -> bool:
    """Whether it is 1 − x."""
    return term.operation == "sub" and term.operands[1] is x and _is(term.operands[0], 1.0)


def _is_condition(term: Term) -> bool:
    return term.operation in ("less", "less_equal", "equal")


def _is_moderate(term: Term) -> bool:
    """Whether it is a number by which products may be multiplied later than they were."""
    return term.operation == "number" and _LEAST_FACTOR <= abs(term.value) <= _MOST_FACTOR


def _is_scale(term: Term) -> bool:
    """Whether it is a number, a reciprocal that is about 1 over a number of outputs, or both."""
    if term.operation == "mul":
        return _is_scale(term.operands[0]) and _is_moderate(term.operands[1])
    if term.operation == "reciprocal":
        (below,) = term.operands
        return below.operation == "row_length" or (
            below.operation == "row_sum" and _is_power_below_1(below.operands[0])
        )
    return term.operation == "number"


def _is_power_below_1(term: Term) -> bool:
    """Whether it is exp(x − row_max(x)), as of softmax."""
    if term.operation != "exp" or term.operands[0].operation != "sub":
        return False
    return _is_largest_of(term.operands[0].operands[1], term.operands[0].operands[0])


def _is_largest_of(term: Term, x: Term) -> bool:
    return term.operation == "row_max" and term.operands[0] is x


def _has_zero(choice: Term) -> bool:
    return _is(choice.operands[1], 0.0) or _is(choice.operands[2], 0.0)


# ---- one rule per operation: a simpler term, or None --------------------------------------


def _add(terms: Terms, x: Term, y: Term) -> Term | None:
    if _is(y, 0.0):
        return x
    if x is y:
        return terms.apply("mul", x, terms.number(2.0))
    if y.operation == "neg":
        return terms.apply("sub", x, y.operands[0])
    if x.operation == "neg":
        return terms.apply("sub", y, x.operands[0])
    if y.operation == "number" and y.value < 0:
        return terms.apply("sub", x, terms.number(-y.value))
    return _joined_choices(terms, "add", x, y)


def _joined_choices(terms: Terms, operation: str, x: Term, y: Term) -> Term | None:
    """(c ? u : v) ± (c ? p : q) = c ? u ± p : v ± q."""
    if not (terms.is_choice(x) and terms.is_choice(y) and x.operation == y.operation):
        return None
    if x.operands[0] is not y.operands[0]:
        return None
    pairs = zip(x.operands[1:], y.operands[1:], strict=True)
    sides = [terms.apply(operation, u, v) for u, v in pairs]
    return terms.apply(x.operation, x.operands[0], *sides)


def _sub(terms: Terms, x: Term, y: Term) -> Term | None:
    if _is(y, 0.0):
        return x
    if _is(x, 0.0):
        return terms.apply("neg", y)
    if y.operation == "neg":
        return terms.apply("add", x, y.operands[0])
    if x.operation == "neg":
        return terms.apply("neg", terms.apply("add", x.operands[0], y))
    if y.operation == "number" and y.value < 0:
        return terms.apply("add", x, terms.number(-y.value))
    if y.operation == "add":
        for largest, rest in (y.operands, y.operands[::-1]):
            if _is_largest_of(largest, x):  # x − logsumexp(x), without cancellation
                return terms.apply("sub", terms.apply("sub", x, largest), rest)
    if x.operation == y.operation == "less" and x.operands == y.operands[::-1]:
        u, v = x.operands  # 1(u < v) − 1(v < u)
        return terms.apply("sign", terms.apply("sub", v, u))
    return _joined_choices(terms, "sub", x, y)


def _neg(terms: Terms, x: Term) -> Term | None:
    if x.operation == "neg":
        return x.operands[0]
    if x.operation == "sub":
        return terms.apply("sub", x.operands[1], x.operands[0])
    return None


def _mul(terms: Terms, x: Term, y: Term) -> Term | None:
    if _is(y, 1.0):
        return x
    if x is y:
        return terms.apply("square", x)
    for one, other in ((x, y), (y, x)):
        if one.operation == "neg":
            return terms.apply("neg", terms.apply("mul", one.operands[0], other))
    if y.operation == "number":
        return _times_number(terms, x, y.value)
    for choice, other in ((x, y), (y, x)):
        if _is_condition(choice):
            return terms.apply("select", choice, other, terms.number(0.0))
        if terms.is_choice(choice) and _has_zero(choice):
            return _scaled_choice(terms, choice, other)
    for product, other in ((x, y), (y, x)):
        regrouped = _regrouped(terms, product, other) if product.operation == "mul" else None
        if regrouped is not None:
            return regrouped
        if _is_rest(other, product):
            return terms.apply("sub", product, terms.apply("square", product))  # x (1 − x)
    return None


def _regrouped(terms: Terms, product: Term, other: Term) -> Term | None:
    """(u v) w with few multiplications per output: those of numbers and numbers per row first."""
    for wide, narrow in (product.operands, product.operands[::-1]):
        if wide.kind == "full" and other.kind != "full" and narrow.kind == "row":
            if _is_scale(other) or _is_scale(narrow):  # (x r) 2 = x (2 r)
                return terms.apply("mul", wide, terms.apply("mul", narrow, other))
        elif narrow.operation == "number":
            if wide.kind == "full" and other.kind == "row":  # (x 2) r = x (2 r)
                return terms.apply("mul", wide, terms.apply("mul", other, narrow))
            if wide.kind == other.kind and _is_moderate(narrow):  # (x 2) y = (x y) 2
                return terms.apply("mul", terms.apply("mul", wide, other), narrow)
    return None


def _times_number(terms: Terms, x: Term, number: float) -> Term | None:
    if number < 0:
        return terms.apply("neg", terms.apply("mul", x, terms.number(-number)))
    if x.operation == "mul":
        if x.operands[1].operation == "number":
            factor = x.operands[1].value * number
            if _SMALLEST <= factor <= _LARGEST:
                return terms.apply("mul", x.operands[0], terms.number(factor))
        return _regrouped(terms, x, terms.number(number))
    if x.operation == "div" and x.operands[0].operation == "number":
        factor = x.operands[0].value * number
        if _SMALLEST <= factor <= _LARGEST:
            return terms.apply("div", terms.number(factor), x.operands[1])
    if x.operation == "reciprocal" and x.operands[0].operation != "reciprocal":
        return terms.apply("div", terms.number(number), x.operands[0])
    if _is_condition(x):
        return terms.apply("select", x, terms.number(number), terms.number(0.0))
    if terms.is_choice(x) and _has_zero(x):
        return _scaled_choice(terms, x, terms.number(number))
    return None


def _scaled_choice(terms: Terms, choice: Term, factor: Term) -> Term:
    """(c ? u : 0) v = c ? u v : 0, so that choices meet in sums. 0 stays 0, whatever v is."""
    condition, *sides = choice.operands
    scaled = [x if _is(x, 0.0) else terms.apply("mul", x, factor) for x in sides]
    return terms.apply(choice.operation, condition, *scaled)


def _div(terms: Terms, x: Term, y: Term) -> Term | None:
    if _is(x, 1.0):
        return terms.apply("reciprocal", y)
    for one in (x, y):
        if one.operation == "neg":
            x, y = (u.operands[0] if u is one else u for u in (x, y))
            return terms.apply("neg", terms.apply("div", x, y))
    if x.operation == "number" and x.value < 0:
        return terms.apply("neg", terms.apply("div", terms.number(-x.value), y))
    if y.operation == "reciprocal":
        return terms.apply("mul", x, y.operands[0])
    if y.operation == "number":
        return _over_number(terms, x, y.value)
    return None


def _over_number(terms: Terms, x: Term, number: float) -> Term | None:
    if number < 0:
        return terms.apply("neg", terms.apply("div", x, terms.number(-number)))
    if math.frexp(number)[0] == 0.5 and _SMALLEST <= number <= _LARGEST:
        return terms.apply("mul", x, terms.number(1.0 / number))  # a power of two: exact
    if number and x.operation == "mul" and x.operands[1].operation == "number":
        factor = x.operands[1].value / number
        if _SMALLEST <= factor <= _LARGEST:
            return terms.apply("mul", x.operands[0], terms.number(factor))
    return None


def _even(operation: str) -> Callable[[Terms, Term], Term | None]:
    """The rule of a function with f(−x) = f(x): x − y and y − x have one term."""

    def rule(terms: Terms, x: Term) -> Term | None:
        if x.operation in ("neg", "abs"):
            return terms.apply(operation, x.operands[0])
        if x.operation == "sub":
            mirrored = terms.known("sub", x.operands[1], x.operands[0])
            if mirrored is not None and mirrored.order < x.order:
                return terms.apply(operation, mirrored)
        return None

    return rule


def _odd(operation: str) -> Callable[[Terms, Term], Term | None]:
    """The rule of a function with f(−x) = −f(x)."""

    def rule(terms: Terms, x: Term) -> Term | None:
        if x.operation == "neg":
            return terms.apply("neg", terms.apply(operation, x.operands[0]))
        return None

    return rule


def _same(terms: Terms, x: Term, y: Term) -> Term | None:
    return x if x is y else None


def _select(terms: Terms, condition: Term, x: Term, y: Term) -> Term | None:
    if x is y:
        return x
    if condition.operation == "number":
        return x if condition.value else y
    if condition.operation == "less" and _is(condition.operands[0], 0.0):
        return terms.apply("select_positive", condition.operands[1], x, y)
    return None


def _select_positive(terms: Terms, condition: Term, x: Term, y: Term) -> Term | None:
    return x if x is y else None


def _row_sum(terms: Terms, x: Term) -> Term | None:
    if x.operation == "neg":
        return terms.apply("neg", terms.apply("row_sum", x.operands[0]))
    if x.operation == "mul":
        for wide, factor in (x.operands, x.operands[::-1]):
            constant = _is_scale(factor) if factor.kind == "row" else _is_moderate(factor)
            if wide.kind == "full" and constant:
                return terms.apply("mul", terms.apply("row_sum", wide), factor)
    return None


_RULES: dict[str, Callable[..., Term | None]] = {
    "add": _add,
    "sub": _sub,
    "neg": _neg,
    "mul": _mul,
    "div": _div,
    "square": _even("square"),
    "abs": _even("abs"),
    "cos": _even("cos"),
    "cosh": _even("cosh"),
    "reciprocal": _odd("reciprocal"),
    "sign": _odd("sign"),
    "sin": _odd("sin"),
    "arcsin": _odd("arcsin"),
    "arctan": _odd("arctan"),
    "sinh": _odd("sinh"),
    "tanh": _odd("tanh"),
    "min": _same,
    "max": _same,
    "select": _select,
    "select_positive": _select_positive,
    "row_sum": _row_sum,
}
