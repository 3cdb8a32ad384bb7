"""A walk as a picture: a box for each unit, a wire for each weight, and the steps of its text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

from .._network.walk import LayerWalk, Part, Walk, heading, high, low, parts
from .._page.picture import Box, Mark, Picture, Step, Wire, number_text, values_text

_LABELLED = 4  # units above of a layer whose wires have the numbers of their weights


def picture(walk: Walk) -> Picture:
    """The picture of a walk."""
    every = list(parts(walk))
    at = {(part.kind, part.layer): step for step, part in enumerate(every, 1)}
    first = [0, *accumulate(walk.widths)]  # the number of the first box of each layer
    boxes = [_input(k, value) for k, value in enumerate(walk.x)]
    wires: list[Wire] = []
    for layer in walk.layers:
        lines = [(step, part) for step, part in enumerate(every, 1) if part.layer == layer.number]
        boxes += [_unit(layer, j, at, lines) for j in range(len(layer.z))]
        wires += _weights(layer, first, at["gradients", layer.number])
    boxes.append(_loss(walk, at["loss", 0], every))
    wires += [Wire(k, len(boxes) - 1) for k in range(first[-2], first[-1])]
    steps = [_step(part, first) for part in every]
    return Picture(
        title=f"One sample through a network {'-'.join(map(str, walk.widths))}",
        formula=f"x = {values_text(walk.x, edge=6)},  y = {_target(walk)};  {walk.kind}",
        boxes=boxes,
        wires=wires,
        steps=steps,
        straight=True,
        legend=(
            ("value", "a: green, above the wires; z in the boxes"),
            ("gradient", "δ: red, below the wires"),
            ("plus", "weights above 0"),
            ("minus", "weights below 0"),
        ),
    )


def _target(walk: Walk) -> str:
    return f"class {walk.y}" if isinstance(walk.y, int) else values_text(walk.y, edge=6)


def _mark(text: str, value: float, at: int, kind: str, digits: int = 4) -> Mark:
    return Mark(f"{text}{number_text(float(value), digits)}", at, kind, float(value))


def _input(k: int, value: float) -> Box:
    name = f"x{low(k)}"
    details = (_mark(f"{name} = ", value, 0, "value"),)
    title = f"{name}, input"
    return Box(name, name, title, "input", _mark("", value, 0, "value"), details=details, column=0)


def _unit(
    layer: LayerWalk,
    j: int,
    at: dict[tuple[str, int], int],
    lines: Sequence[tuple[int, Part]],
) -> Box:
    """The box of unit j."""
    l = layer.number
    kinds = {"delta": "gradient", "gradients": "gradient", "z": "plain"}
    details = [
        Mark(line.text, step, kinds.get(part.kind, "value"))
        for step, part in lines
        for line in part.lines
        if line.unit == j
    ]
    for name, gradient in layer.gradients.items():
        if name != "W":
            one = gradient[j] if len(gradient) == len(layer.z) else gradient[0]
            text = f"d{name}{high(l)}{low(j) if len(gradient) == len(layer.z) else ''} = "
            details.append(_mark(text, one, at["gradients", l], "gradient"))
    return Box(
        symbol=layer.activation.name,
        name=f"a{high(l)}{low(j)}",
        title=f"{heading(layer)}, unit {j + 1}",
        value=_mark("", layer.a[j], at["a", l], "value"),
        gradient=_mark("δ ", layer.delta[j], at["delta", l], "gradient"),
        inside=_mark("z ", layer.z[j], at["z", l], "plain"),
        details=tuple(details),
        column=l,
    )


def _loss(walk: Walk, at: int, every: Sequence[Part]) -> Box:
    (part,) = (part for part in every if part.kind == "loss")
    details = tuple(Mark(line.text, at, "value") for line in part.lines)
    return Box(
        symbol="loss",
        name="J",
        title=part.formula,
        value=_mark("", walk.J, at, "value"),
        details=details,
        column=len(walk.layers) + 1,
    )


def _weights(layer: LayerWalk, first: Sequence[int], at: int) -> list[Wire]:
    """The wires of a layer; few of them have W and dW as texts."""
    W, dW, l = layer.W, layer.dW, layer.number
    largest = float(abs(W).max()) or 1.0
    labelled = W.shape[1] <= _LABELLED

    def wire(i: int, j: int) -> Wire:
        weight = float(W[i, j])
        marks = (_mark("", weight, 0, "plain", 3), _mark("", dW[i, j], at, "gradient", 3))
        return Wire(
            start=first[l - 1] + i,
            end=first[l] + j,
            marks=marks if labelled else (),
            tone=(weight > 0) - (weight < 0),
            width=_width(weight / largest),
        )

    return [wire(i, j) for i in range(W.shape[0]) for j in range(W.shape[1])]


def _width(share: float) -> float:
    """The width of a wire: that of a weight of 0 can still be seen."""
    return 0.8 + 2.2 * min(abs(share), 1.0) if math.isfinite(share) else 0.8


def _step(part: Part, first: Sequence[int]) -> Step:
    """One part as a step: its formula, its lines, and the boxes of its layer."""
    boxes: Sequence[int] = range(first[-1], first[-1] + 1)
    if part.layer:
        boxes = range(first[part.layer], first[part.layer + 1])
    title = f"Layer {part.layer}: {part.formula}" if part.layer else f"Loss: {part.formula}"
    return Step(title, tuple(line.text for line in part.lines), tuple(boxes), part.backward)
