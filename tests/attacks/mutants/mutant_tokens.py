"""Tokens of a C file, and the bodies of its functions. It needs no parser: a mutant that the
compiler refuses is not counted."""

import re
from dataclasses import dataclass

PATTERN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<comment>/\*.*?\*/|//[^\n]*)
  | (?P<directive>(?<![^\n])[ \t]*\#(?:/\*.*?\*/|\\\n|[^\n])*)
  | (?P<string>"(?:\\.|[^"\\\n])*")
  | (?P<char>'(?:\\.|[^'\\\n])*')
  | (?P<number>\.?\d(?:[eEpP][+-]|[\w.])*)
  | (?P<word>[A-Za-z_]\w*)
  | (?P<mark><<=|>>=|\.\.\.|->|\+\+|--|&&|\|\||<<|>>|[-+*/%&|^<>=!]=|[^\s\w])
    """,
    re.VERBOSE | re.DOTALL,
)
OPENING = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class Token:
    """A token that the compiler sees: a word, number, string, char or mark."""

    kind: str
    text: str
    start: int
    line: int

    @property
    def end(self):
        return self.start + len(self.text)


@dataclass(frozen=True)
class Function:
    """A function: its name, and the tokens of its body from { to }."""

    name: str
    body: tuple[Token, ...]


def tokens_of(text):
    """Return the tokens of a file without comments and directives."""
    found, line, at = [], 1, 0
    while at < len(text):
        match = PATTERN.match(text, at)
        if match is None:
            raise ValueError(f"no token of C at line {line}: {text[at : at + 20]!r}")
        # A # that is not first in its line cannot begin a directive.
        if match.lastgroup not in {"space", "comment", "directive"}:
            found.append(Token(match.lastgroup, match[0], at, line))
        line += match[0].count("\n")
        at = match.end()
    return found


def closing(tokens, at):
    """Return the index of the bracket that closes the one at index `at`, or None."""
    depth = 0
    for i in range(at, len(tokens)):
        if tokens[i].text in OPENING:
            depth += 1
        elif tokens[i].text in OPENING.values():
            depth -= 1
            if depth == 0:
                return i
    return None


def opening(tokens, at):
    """Return the index of the bracket that the one at index `at` closes."""
    depth = 0
    for i in range(at, -1, -1):
        if tokens[i].text in OPENING.values():
            depth += 1
        elif tokens[i].text in OPENING:
            depth -= 1
            if depth == 0:
                return i
    raise ValueError(f"line {tokens[at].line}: nothing opens this bracket")


def name_before(tokens, at):
    """Return the name of the function whose ( is at index `at`: f(…), NAME(f)(…) or ENTRY(f, …)."""
    before = tokens[at - 1]
    if before.text == ")":
        return tokens[opening(tokens, at - 1) + 1].text
    inside = tokens[at + 1]
    return inside.text if before.text.isupper() and inside.kind == "word" else before.text


def functions_of(tokens):
    """Return the functions of a file: a { outside of braces that follows a )."""
    found, i = [], 0
    while i < len(tokens):
        if tokens[i].text == "{":
            end = closing(tokens, i)
            if end is None:  # braces that only directives close
                break
            if i and tokens[i - 1].text == ")":
                name = name_before(tokens, opening(tokens, i - 1))
                found.append(Function(name, tuple(tokens[i : end + 1])))
            i = end
        i += 1
    return found
