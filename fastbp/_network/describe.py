"""What a network and a history are, for people: as text, and as HTML for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ..history import History
    from .base import NetworkBase

_HEADS = ("layer", "units", "activation", "parameters", "memory", "FLOPs", "options")


class Row(NamedTuple):
    """A layer, or all of them; `flops` of one sample forward, bias, norm and σ not counted."""

    layer: str
    units: str
    activation: str
    parameters: int
    memory: int
    flops: int
    options: str

    def texts(self) -> tuple[str, ...]:
        """The cells as text."""
        counts = f"{self.parameters:,}", bytes_text(self.memory), f"{self.flops:,}"
        return (self.layer, self.units, self.activation, *counts, self.options)


def rows(net: NetworkBase) -> list[Row]:
    """A row a layer, and the total."""
    found = []
    for number, layer in enumerate(net.layers, 1):
        n_in, n_out = layer.W.shape
        count = sum(view.size for view in layer.parameters().values())
        options = [*layer.dense.options(), *(() if layer.trainable else ("frozen",))]
        found.append(
            Row(
                str(number),
                f"{n_in} -> {n_out}",
                str(layer.activation),
                count,
                count * net.dtype.itemsize,
                2 * n_in * n_out,
                ", ".join(options),
            )
        )
    sums = [sum(row[column] for row in found) for column in (3, 4, 5)]
    kind = f"{net.dtype}, loss {net.criterion}"
    return [*found, Row("total", "", "", *sums, kind)]


def bytes_text(n: int) -> str:
    """
    >>> bytes_text(52), bytes_text(407_080)
    ('52 B', '397.5 KiB')
    """
    size, units = float(n), ["B", "KiB", "MiB", "GiB"]
    while size >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.0f} {units[0]}" if units[0] == "B" else f"{size:.1f} {units[0]}"


def summary(net: NetworkBase) -> str:
    """The rows as a table of text."""
    table = [_HEADS, *(row.texts() for row in rows(net))]
    widths = [max(len(line[column]) for line in table) for column in range(len(_HEADS))]
    lines = []
    for line in table:
        cells = [
            text.rjust(width) if column in (3, 4, 5) else text.ljust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def network_html(net: NetworkBase) -> str:
    """The rows as a table of HTML, under the name of the class."""
    body = _table(_HEADS, (row.texts() for row in rows(net)))
    widths = " - ".join(map(str, net.widths))
    return f"<div><b>{_escaped(type(net).__name__)}</b> {_escaped(widths)}{body}</div>"


def history_html(history: History) -> str:
    """Name, first, least, most and last value of everything recorded, with its curve."""
    lines = []
    for name, values in history.series().items():
        numbers = [float(value) for value in values]
        texts = (f"{numbers[0]:.4g}", f"{min(numbers):.4g}", f"{max(numbers):.4g}")
        cells = [name, *texts, f"{numbers[-1]:.4g}"]
        lines.append("".join(_cell(text) for text in cells) + f"<td>{_curve(numbers)}</td>")
    heads = ("", "first", "least", "most", "last", "by epoch")
    ended = f", ended by {history.stopped_by}" if history.stopped_by else ""
    plural = "epoch" if history.epochs == 1 else "epochs"
    title = f"<b>History</b> of {history.epochs} {plural}{_escaped(ended)}"
    return f"<div>{title}{_rows(heads, lines)}</div>"


def _escaped(text: str) -> str:
    from html import escape  # for notebooks alone, with two thousand names of characters

    return escape(text)


def _cell(text: str, tag: str = "td") -> str:
    return f'<{tag} style="text-align:left">{_escaped(text)}</{tag}>'


def _table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    return _rows(heads, ["".join(_cell(text) for text in line) for line in lines])


def _rows(heads: Sequence[str], lines: Iterable[str]) -> str:
    head = "".join(_cell(text, "th") for text in heads)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _curve(values: Sequence[float], width: int = 160, height: int = 24) -> str:
    """A curve as inline SVG, in the colour of the text; what is not finite is left out."""
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
