"""Tables and curves in HTML, for notebooks; and texts that are cut to fit into a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite


def shortened(text: str, most: int = 48) -> str:
    """The text, or its beginning if it is long, as the formula of a loss may be.

    >>> shortened("formula(sum((a - y) ** 2))", 12)
    'formula(sum…'
    """
    return text if len(text) <= most else text[: most - 1] + "…"


def escaped(text: str) -> str:
    """Text in which no character is markup."""
    from html import escape  # only notebooks need it, and it loads two thousand entity names

    return escape(text)


def heading(title: str, rest: str) -> str:
    """A title in bold type, and what follows it."""
    return f"<b>{escaped(title)}</b> {escaped(rest)}"


def cell(text: str, tag: str = "td") -> str:
    """One cell of a table."""
    return f'<{tag} style="text-align:left">{escaped(text)}</{tag}>'


def table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table of texts below a line of heads."""
    return table_of_cells(heads, ("".join(map(cell, line)) for line in lines))


def table_of_cells(heads: Sequence[str], lines: Iterable[str]) -> str:
    """A table whose lines are cells already."""
    head = "".join(cell(text, "th") for text in heads)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def curve(values: Sequence[float], width: int = 160, height: int = 24) -> str:
    """A curve as inline SVG, in the colour of the text; leaves out values that are not finite."""
    finite = [value for value in values if isfinite(value)]
    if len(finite) < 2:
        return ""
    low, span = min(finite), (max(finite) - min(finite)) or 1.0
    step = width / (len(values) - 1)
    points = " ".join(
        f"{i * step:.1f},{1 + (height - 2) * (1 - (value - low) / span):.1f}"
        for i, value in enumerate(values)
        if isfinite(value)
    )
    style = 'fill="none" stroke="currentColor"'
    return f'<svg width="{width}" height="{height}"><polyline points="{points}" {style}/></svg>'
