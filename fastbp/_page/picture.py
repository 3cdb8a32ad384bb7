"""The description of a picture: boxes, wires and steps, with every text as it will be shown.

Step 0 is what is known from the start. The steps count from 1: first those of the forward walk,
then those of the backward walk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Mark:
    """A text that appears at a step.

    Attributes
    ----------
    text : str
        The text.
    at : int
        The step at which it appears; 0 if it is there from the start.
    kind : str
        "value" (green), "gradient" (red) or "plain".
    number : float or None
        The exact number behind a rounded text, for programs that read the page.
    """

    text: str
    at: int = 0
    kind: str = "plain"
    number: float | None = None


@dataclass(frozen=True)
class Box:
    """A gate or a unit.

    Attributes
    ----------
    symbol : str
        What the box shows.
    name : str
        What formulas call it; it stands below the box of a gate.
    title : str
        The heading of its details, and what a screen reader calls it.
    kind : str
        "input", "number" or "gate".
    value, gradient : Mark or None
        The texts above and below the wire that leaves it.
    inside : Mark or None
        A second line in the box.
    details : tuple of Mark
        The lines that are shown when someone points at the box.
    ordered : bool
        Whether the order of the wires that enter it has a meaning, as for a quotient.
    column : int or None
        Its column, for pictures that have an order of their own: all boxes have one, or none.
    """

    symbol: str
    name: str
    title: str
    kind: str = "gate"
    value: Mark | None = None
    gradient: Mark | None = None
    inside: Mark | None = None
    details: tuple[Mark, ...] = ()
    ordered: bool = True
    column: int | None = None


@dataclass(frozen=True)
class Wire:
    """A wire from box `start` to box `end`, with texts beside it, and its tone: −1, 0 or 1."""

    start: int
    end: int
    marks: tuple[Mark, ...] = ()
    tone: int = 0
    width: float = 1.5


@dataclass(frozen=True)
class Step:
    """One step: its title, the lines that say what is computed, and the boxes that it is about."""

    title: str
    lines: tuple[str, ...]
    boxes: tuple[int, ...]
    backward: bool = False


@dataclass(frozen=True)
class Picture:
    """All that a page shows.

    Attributes
    ----------
    title, formula : str
        The heading and the line below it.
    boxes, wires, steps : sequences
        The steps of the forward walk come before those of the backward walk.
    straight : bool
        Whether wires are straight lines instead of curves.
    legend : sequence of (kind, text)
        What the colours mean; the kinds are those of marks.
    """

    title: str
    formula: str
    boxes: Sequence[Box]
    wires: Sequence[Wire]
    steps: Sequence[Step]
    straight: bool = False
    legend: Sequence[tuple[str, str]] = (
        ("value", "values: green, above the wires"),
        ("gradient", "gradients: red, below the wires"),
    )

    @property
    def n_forward(self) -> int:
        """How many steps the forward walk has."""
        return sum(not step.backward for step in self.steps)


def number_text(value: complex, digits: int = 4) -> str:
    """A number with so many digits, as short as possible, with a real minus sign.

    >>> number_text(-12.0), number_text(0.000123456), number_text(2e10), number_text(1 - 2j)
    ('−12', '0.0001235', '2e10', '1−2j')
    """
    if isinstance(value, complex):
        imaginary = number_text(value.imag, digits)
        sign = "" if imaginary.startswith(MINUS) else "+"
        return f"{number_text(value.real, digits)}{sign}{imaginary}j"
    text = f"{float(value) + 0.0:.{digits}g}"  # + 0.0 makes 0 of −0
    mantissa, e, exponent = text.partition("e")
    text = mantissa + (f"e{int(exponent)}" if e else "")
    return text.replace("-", MINUS)


def values_text(values: Any, digits: int = 4, edge: int = 3) -> str:
    """A number, or an array or list of numbers of which only the first and last ones are shown.

    >>> values_text([1.0, -2.5]), values_text(list(range(100)))
    ('[1, −2.5]', '[0, 1, 2, …, 97, 98, 99]')
    """
    if not hasattr(values, "__len__") or getattr(values, "ndim", 1) == 0:
        return number_text(values if isinstance(values, complex) else float(values), digits)
    n = len(values)
    shown = range(n) if n <= 2 * edge + 1 else [*range(edge), *range(n - edge, n)]
    texts = [values_text(values[i], digits, edge) for i in shown]
    if len(texts) < n:
        texts.insert(edge, "…")
    return f"[{', '.join(texts)}]"


def written(formula: str) -> str:
    """A formula of Python with the signs that people write.

    >>> written("-2 * x ** 3")
    '−2 · x^3'
    """
    return formula.replace(" ** ", "^").replace("*", "·").replace("-", MINUS)
