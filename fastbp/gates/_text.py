"""Formulas as text: graphs are printed, and read back, by one strict grammar.

    text    = { name "=" sum ";" } sum
    sum     = product { ("+" | "-") product }
    product = signed { ("*" | "/") signed }
    signed  = "-" signed | power
    power   = atom [ "**" signed ]
    atom    = number | name | function "(" argument { "," argument } ")" | "(" sum ")"

An argument is a sum; the first one of `where` may also be a comparison of two sums by < <= > or >=.
Functions are the operations that have no sign of their own. All of this means what it means in
Python, with two exceptions. A "-" directly before a number belongs to the number unless "**"
follows, so that -2 is a number, and -(2) is the negative of one. And `name = ...;` names a part of
the formula that is used more than once.

Nothing is evaluated. A text that was printed is read back as the same gate.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple, TypeAlias

from .._checks.names import did_you_mean
from ._graph import Node, gate_of, leaf, number_of
from ._operations import OPERATIONS

# What a text may have at most. Reading takes time in proportion to the characters, and a level of
# depth takes two frames of the Python stack, so 200 fit well below its usual limit of 1000.
MAX_CHARACTERS = 20_000
MAX_DEPTH = 200
MAX_GATES = 5_000

# How strongly a form binds. An operand that binds less than its place needs gets parentheses. Two
# places need nothing: a condition, and the whole of a text or a definition.
WHOLE, CONDITION, SUM, PRODUCT, SIGNED, POWER, ATOM, NOTHING = range(8)


class _Sign(NamedTuple):
    """An operation between its operands: how it binds, and how its operands must bind."""

    operation: str
    binds: int
    left: int
    right: int


_SIGNS = {
    "+": _Sign("add", SUM, SUM, PRODUCT),
    "-": _Sign("sub", SUM, SUM, PRODUCT),
    "*": _Sign("mul", PRODUCT, PRODUCT, SIGNED),
    "/": _Sign("div", PRODUCT, PRODUCT, SIGNED),
    "**": _Sign("pow", POWER, ATOM, SIGNED),
}
_SIGN_OF = {sign.operation: (text, sign) for text, sign in _SIGNS.items()}
_COMPARISONS = {"less": "<", "less_equal": "<="}
_REVERSED = {"<": ">", "<=": ">="}
FUNCTIONS = tuple(name for name in OPERATIONS if name not in _SIGN_OF and name != "neg")
"""The names that a text may call."""
_INTERNAL = {"sum_like", "broadcast_like", "less", "less_equal", "equal"}
_KNOWN = tuple(x for x in FUNCTIONS if x not in _INTERNAL and not x.endswith("_slope"))

# ---- printing -----------------------------------------------------------------------------

_PLAIN_SIZE = 60  # str() of a formula with at most so many gates names no parts
_SHORT_LENGTH = 100  # repr() shows about so many characters
_NAMED_DEPTH = MAX_DEPTH // 2  # deeper parts get names, so that every text can be read

_Piece: TypeAlias = "str | tuple[Node, int]"  # text, or an operand and how it must bind


def expression_text(gate: Node) -> str:
    """The text of a formula, in which every part that is used twice has a name.

    `parse_expression` reads it back as the same gate. Raises ValueError for what it would not read:
    arrays, numbers that are not finite, and formulas beyond its limits.

    >>> from fastbp import gates
    >>> a, b = gates.inputs("a", "b")
    >>> expression_text((a + b) * (b + 1))
    '(a + b) * (b + 1)'
    >>> expression_text((a + b) * gates.exp(a + b))
    's1 = a + b; s1 * exp(s1)'
    """
    order = gate.gates()
    if len(order) > MAX_GATES:
        raise ValueError(f"a formula has at most {MAX_GATES:,} gates; this one has {len(order):,}")
    for part in order:
        if part.operation == "array":
            raise ValueError(
                "a formula that is kept as text has no arrays; make each an input or a number\n"
                + pointer(gate, part)
            )
        if part.operation == "number" and not math.isfinite(number_of(part)):
            raise ValueError(f"a formula needs finite numbers\n{pointer(gate, part)}")
    text = _Printer(_part_names(gate)).text(gate)
    if len(text) > MAX_CHARACTERS:
        raise ValueError(
            f"the text of a formula has at most {MAX_CHARACTERS:,} characters; this one has "
            f"{len(text):,}"
        )
    return text


def readable_text(gate: Node) -> str:
    """The text of a formula for people. Parts get names only if the text would be long otherwise.

    Arrays are shown by their shape.
    """
    return _Printer({} if _is_small(gate) else _part_names(gate)).text(gate)


def short_text(gate: Node) -> str:
    """The text of a formula, or its last operations, with … for what they work on."""
    shown = "…"
    for depth in range(_SHORT_LENGTH):
        text = _Printer({}).text(gate, depth)
        if len(text) > _SHORT_LENGTH and "…" in shown and depth > 1:
            break
        shown = text
        if "…" not in shown:
            break
    return shown


def pointer(gate: Node, part: Node) -> str:
    """The text of a formula and, on the next line, carets below one part of it.

    >>> from fastbp import gates
    >>> (x,) = gates.inputs("x")
    >>> print(pointer(x * gates.exp(x + 1), x + 1))
        x * exp(x + 1)
                ^^^^^
    """
    printer = _Printer({} if _is_small(gate) else _part_names(gate), part)
    text = printer.text(gate)
    return pointed(text, *printer.found)


def pointed(text: str, start: int, stop: int) -> str:
    """A line with a text, or what is around a place in it, and a line with carets below it."""
    width = 92
    first = max(0, min(start - width // 2, len(text) - width))
    last = min(len(text), first + width)
    line = "".join(c if c.isprintable() else " " for c in text[first:last])
    before, after = "…" * (first > 0), "…" * (last < len(text))
    carets = "^" * max(1, min(stop, last) - start)
    return f"    {before}{line}{after}\n    {' ' * (len(before) + start - first)}{carets}"


def _is_small(gate: Node) -> bool:
    """Whether the formula, written without names, has few gates."""
    waiting, size = [gate], 0
    while waiting and size <= _PLAIN_SIZE:
        waiting += waiting.pop().operands
        size += 1
    return size <= _PLAIN_SIZE


def _part_names(gate: Node) -> dict[Node, str]:
    """Names for the parts that are used more than once or are too deep, operands first."""
    order = gate.gates()
    uses = dict.fromkeys(order, 0)
    for each in order:
        for operand in each.operands:
            uses[operand] += 1
    taken = {*gate.inputs, *FUNCTIONS}
    free = (name for i in range(1, len(order) + len(taken) + 1) if (name := f"s{i}") not in taken)
    names: dict[Node, str] = {}
    depth: dict[Node, int] = {}
    for each in order[:-1]:
        depth[each] = _depth(each, depth)
        if each.operands and (uses[each] > 1 or depth[each] > _NAMED_DEPTH):
            names[each] = next(free)
            depth[each] = 0
    return names


def _depth(gate: Node, depth: Mapping[Node, int]) -> int:
    """How deep the text of a gate nests, for the depths of its operands: see _Parser._deeper."""
    if not gate.operands:
        return 0
    inside = [depth[x] for x in gate.operands]
    if gate.operation in _SIGN_OF:
        _, sign = _SIGN_OF[gate.operation]
        inside[0] += _binds(gate.operands[0]) < sign.left
        inside[1] += 1 + (_binds(gate.operands[1]) < sign.right)
        return max(inside)
    return max(inside) + 2  # a call, or a sign and parentheses


def _binds(gate: Node) -> int:
    """How strongly the text of a gate binds."""
    if gate.operation in _SIGN_OF:
        return _SIGN_OF[gate.operation][1].binds
    if gate.operation == "neg" or (gate.operation == "number" and _is_negative(number_of(gate))):
        return SIGNED
    return ATOM


def _is_negative(number: float) -> bool:
    return math.copysign(1.0, number) < 0


class _Printer:
    """Prints gates without recursion; `names` are of the parts that are defined first.

    `found` is the place, start and stop, of the first occurrence of the gate `part` in the last
    text.
    """

    def __init__(self, names: Mapping[Node, str], part: Node | None = None) -> None:
        self._names = names
        self._part = part
        self.found = (0, 0)

    def text(self, gate: Node, depth: int = -1) -> str:
        """The text of a gate; below `depth` levels of operands, … stands for what has operands."""
        whole: list[_Piece] = []
        for part, name in self._names.items():
            whole += [f"{name} = ", (part, WHOLE), "; "]
        whole.append((gate, WHOLE))
        written: list[str] = []
        length, start = 0, -1
        waiting: list[tuple[_Piece | None, int]] = [(each, depth) for each in reversed(whole)]
        while waiting:
            piece, depth = waiting.pop()
            if piece is None:  # the end of the part
                self.found = (start, length)
            elif isinstance(piece, str):
                written.append(piece)
                length += len(piece)
            else:
                if piece[0] is self._part and start < 0:
                    start = length
                    waiting.append((None, 0))
                waiting += [(each, depth - 1) for each in reversed(self._pieces(*piece, depth))]
        return "".join(written)

    def _pieces(self, gate: Node, least: int, depth: int) -> list[_Piece]:
        """What a gate is written with, in parentheses if it binds less than `least`."""
        if gate in self._names and least != WHOLE:
            return [self._names[gate]]
        if not gate.operands:
            pieces: list[_Piece] = [_leaf_text(gate)]
        elif depth == 0:
            return ["…"]
        elif gate.operation == "neg":
            (x,) = gate.operands  # -(2), because -2 is a number
            pieces = ["-", (x, NOTHING if x.operation == "number" else POWER)]
        elif gate.operation in _SIGN_OF:
            x, y = gate.operands
            text, sign = _SIGN_OF[gate.operation]
            pieces = [(x, sign.left), f" {text} ", (y, sign.right)]
        elif least == CONDITION and gate.operation in _COMPARISONS:
            return _comparison(gate)
        else:
            pieces = [f"{gate.operation}("]
            for i, x in enumerate(gate.operands):
                condition = gate.operation == "where" and i == 0
                pieces += [", "] * (i > 0)
                pieces.append((x, CONDITION if condition else SUM))
            pieces.append(")")
        return ["(", *pieces, ")"] if _binds(gate) < least else pieces


def _comparison(gate: Node) -> list[_Piece]:
    """A comparison between its operands; 0 < x is written x > 0."""
    x, y = gate.operands
    sign = _COMPARISONS[gate.operation]
    if x.operation == "number" and y.operation != "number":
        x, y, sign = y, x, _REVERSED[sign]
    return [(x, SUM), f" {sign} ", (y, SUM)]


def _leaf_text(gate: Node) -> str:
    if gate.operation == "number":
        return number_text(number_of(gate))
    if gate.operation == "array":
        return "<{} array>".format("x".join(map(str, getattr(gate.data, "shape", ()))))
    return str(gate.data)


def number_text(number: float) -> str:
    """The shortest text that is read back as the same number: 2 for 2.0, and 0.1."""
    text = repr(number)
    return text.removesuffix(".0")


# ---- reading ------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<name>[^\x00-@\[-^`{-\x7f][^\x00-/:-@\[-^`{-\x7f]*)"  # and an identifier, see below
    r"|(?P<sign>\*\*|<=|>=|[-+*/()<>=;,])"
)
_SPACE = " \t\r\n"


class _Token(NamedTuple):
    kind: str  # number name sign end
    text: str
    start: int

    @property
    def stop(self) -> int:
        return self.start + len(self.text)


def parse_expression(text: str, names: Collection[str]) -> Node:
    """Read a formula of the inputs `names`.

    Raises ValueError, which shows the place in the text, for what the grammar does not allow, for
    unknown names, and beyond 20,000 characters, 5,000 gates or 200 levels of depth.

    >>> f = parse_expression("s1 = a + b; s1 * exp(s1)", ("a", "b"))
    >>> f.trace(a=1, b=-1).value
    0.0
    >>> parse_expression("2 * (a + )", ("a",))
    Traceback (most recent call last):
    ValueError: expected a number, a name, "-" or "("; got ")"
        2 * (a + )
                 ^
    """
    if not isinstance(text, str):
        raise TypeError(f"a formula must be a string; got {type(text).__name__}")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(
            f"the text of a formula has at most {MAX_CHARACTERS:,} characters; got {len(text):,}"
        )
    return _Parser(text, names).text_of_a_formula()


class _Parser:
    """Reads one text by recursive descent; `_deeper` bounds the recursion."""

    def __init__(self, text: str, names: Collection[str]) -> None:
        self._text = text
        self._inputs = tuple(names)
        self._scope = {name: leaf("input", name) for name in self._inputs}
        self._defined: dict[str, _Token] = {}
        self._used: set[str] = set()
        self._made: set[Node] = set()
        self._depth = 0
        self._tokens = self._split()
        self._token = next(self._tokens)
        self._next = next(self._tokens, self._token)

    # ---- tokens ---------------------------------------------------------------------------

    def _split(self) -> Iterator[_Token]:
        """The tokens of the text, and at last one of kind "end"."""
        text, at = self._text, 0
        while at < len(text):
            if text[at] in _SPACE:
                at += 1
                continue
            match = _TOKEN.match(text, at)
            if match is None:
                raise self._error(f"a formula has no {text[at]!r}", at, at + 1)
            token = _Token(str(match.lastgroup), match[0], at)
            if token.kind == "name" and not token.text.isidentifier():
                raise self._error(f"{token.text!r} is no name", at, token.stop)
            yield token
            at = token.stop
        yield _Token("end", "", at)

    def _advance(self) -> _Token:
        """Go to the next token; return the one before."""
        token = self._token
        self._token = self._next
        self._next = next(self._tokens, self._next)
        return token

    def _take(self, sign: str) -> _Token:
        if self._token.text != sign:
            raise self._unexpected(f'"{sign}"')
        return self._advance()

    # ---- the grammar ----------------------------------------------------------------------

    def text_of_a_formula(self) -> Node:
        while self._token.kind == "name" and self._next.text == "=":
            self._definition()
        gate = self._sum_up(SUM)
        if self._token.kind != "end":
            raise self._unexpected("an operator or the end")
        for name, token in self._defined.items():
            if name not in self._used:
                raise self._error(f"{name} is never used", token.start, token.stop)
        return gate

    def _definition(self) -> None:
        """name = sum;"""
        token = self._advance()
        name = token.text
        if name in FUNCTIONS or name in self._used or name in self._defined:
            what = "a function" if name in FUNCTIONS else "in use already"
            raise self._error(f"{name} is {what}; choose another name", token.start, token.stop)
        self._take("=")
        gate = self._sum_up(SUM)
        self._take(";")
        self._defined[name] = token
        self._scope[name] = gate

    def _sum_up(self, least: int) -> Node:
        """Operands and the operators between them that bind at least so strongly."""
        self._deeper()
        token = self._advance()
        is_call = token.kind == "name" and self._token.text == "("
        gate = self._call(token) if is_call else self._operand(token)
        while (sign := _SIGNS.get(self._token.text)) and sign.binds >= least:
            token = self._advance()
            gate = self._made_of(sign.operation, [gate, self._sum_up(sign.right)], token)
        self._depth -= 1
        return gate

    def _operand(self, token: _Token) -> Node:
        """A number, a name, something in parentheses, or something after a sign."""
        if token.kind == "number":
            return self._number(token, "")
        if token.kind == "name":
            return self._named(token)
        if token.text == "(":
            gate = self._sum_up(SUM)
            self._take(")")
            return gate
        if token.text == "-":
            if self._token.kind == "number" and self._next.text != "**":
                return self._number(self._advance(), "-")
            return self._made_of("neg", [self._sum_up(SIGNED)], token)
        raise self._unexpected('a number, a name, "-" or "("', token)

    def _number(self, token: _Token, sign: str) -> Node:
        number = float(sign + token.text)
        if not math.isfinite(number):
            raise self._error(f"{token.text} is beyond float64", token.start, token.stop)
        return self._checked(leaf("number", number), token)

    def _named(self, token: _Token) -> Node:
        gate = self._scope.get(token.text)
        if gate is None:
            known = ", ".join(self._scope) or "none"
            message = f"unknown name {token.text!r}; known: {known}"
            if token.text in FUNCTIONS:
                message = f"{token.text} is a function: write {token.text}(...)"
            raise self._error(message, token.start, token.stop)
        self._used.add(token.text)
        return self._checked(gate, token)

    def _call(self, token: _Token) -> Node:
        """function(argument, ...), from the bracket on."""
        if token.text not in FUNCTIONS:
            hint = did_you_mean(token.text, _KNOWN)
            message = f"unknown function {token.text!r}; known: {', '.join(_KNOWN)}{hint}"
            raise self._error(message, token.start, token.stop)
        self._take("(")
        operands = [self._sum_up(SUM)]
        if token.text == "where" and self._token.text in ("<", "<=", ">", ">="):
            sign = self._advance()
            operands = [self._compared(sign, operands[0], self._sum_up(SUM))]
        while self._token.text == ",":
            self._advance()
            operands.append(self._sum_up(SUM))
        close = self._take(")")
        arity = OPERATIONS[token.text].arity
        if len(operands) != arity:
            plural = "s" * (arity != 1)
            message = f"{token.text} takes {arity} argument{plural}; got {len(operands)}"
            raise self._error(message, token.start, close.stop)
        return self._made_of(token.text, operands, token)

    def _compared(self, sign: _Token, x: Node, y: Node) -> Node:
        operands = [y, x] if sign.text[0] == ">" else [x, y]
        return self._made_of("less_equal" if sign.text[1:] else "less", operands, sign)

    # ---- limits and errors ----------------------------------------------------------------

    def _made_of(self, operation: str, operands: list[Node], token: _Token) -> Node:
        return self._checked(gate_of(operation, operands), token)

    def _checked(self, gate: Node, token: _Token) -> Node:
        self._made.add(gate)
        if len(self._made) > MAX_GATES:
            message = f"a formula has at most {MAX_GATES:,} gates; here it has more"
            raise self._error(message, token.start, token.stop)
        return gate

    def _deeper(self) -> None:
        """Count one level: a right operand, what a sign stands before, parentheses, an argument."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            message = f"a formula nests at most {MAX_DEPTH} levels deep; here it goes deeper"
            raise self._error(message, self._token.start, self._token.stop)

    def _unexpected(self, expected: str, token: _Token | None = None) -> ValueError:
        token = token or self._token
        got = "the end" if token.kind == "end" else f'"{token.text}"'
        message = f"expected {expected}; got {got}"
        if token.text in ("<", "<=", ">", ">="):
            message = "a comparison may only be the first argument of where"
        elif token.text == "=":
            message = 'only a name can stand before "=", at the beginning or after ";"'
        return self._error(message, token.start, token.stop)

    def _error(self, message: str, start: int, stop: int) -> ValueError:
        return ValueError(f"{message}\n{pointed(self._text, start, stop)}")
