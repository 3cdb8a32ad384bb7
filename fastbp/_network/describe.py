"""Describes a network for people: as text, and as HTML for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .._html import heading, shortened, table
from .layers import Layer

_HEADS = ("layer", "units", "activation", "parameters", "memory", "FLOPs", "options")


class Row(NamedTuple):
    """One layer, or the total; `flops` counts the product u W for one sample forward."""

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


def rows(layers: Sequence[Layer], kind: str) -> list[Row]:
    """One row for each layer, and the total, which also shows `kind`."""
    found = []
    for number, layer in enumerate(layers, 1):
        n_in, n_out = layer.W.shape
        views = layer.parameters().values()
        options = [*layer.dense.options(), *(() if layer.trainable else ("frozen",))]
        found.append(
            Row(
                str(number),
                f"{n_in} -> {n_out}",
                shortened(str(layer.activation)),
                sum(view.size for view in views),
                sum(view.nbytes for view in views),
                2 * n_in * n_out,
                ", ".join(options),
            )
        )
    sums = (sum(r.parameters for r in found), sum(r.memory for r in found))
    return [*found, Row("total", "", "", *sums, sum(r.flops for r in found), kind)]


def bytes_text(n: int) -> str:
    """A number of bytes with a unit.

    >>> bytes_text(52), bytes_text(407_080)
    ('52 B', '397.5 KiB')
    """
    size, units = float(n), ["B", "KiB", "MiB", "GiB"]
    while size >= 1024 and len(units) > 1:
        size, units = size / 1024, units[1:]
    return f"{size:.0f} {units[0]}" if units[0] == "B" else f"{size:.1f} {units[0]}"


def summary(layers: Sequence[Layer], kind: str) -> str:
    """The rows as a table in plain text."""
    cells = [_HEADS, *(row.texts() for row in rows(layers, kind))]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADS))]
    lines = []
    for line in cells:
        aligned = [
            text.rjust(width) if column in (3, 4, 5) else text.ljust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append("  ".join(aligned).rstrip())
    return "\n".join(lines)


def network_html(title: str, widths: Sequence[int], layers: Sequence[Layer], kind: str) -> str:
    """The rows as a table in HTML, below the title and the widths."""
    body = table(_HEADS, (row.texts() for row in rows(layers, kind)))
    return f"<div>{heading(title, ' - '.join(map(str, widths)))}{body}</div>"
