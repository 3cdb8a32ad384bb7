"""Writes a picture as HTML: a fragment for notebooks, or a document of its own.

Every text of a picture is escaped, and the script is the same for all pictures: what it needs of
one is in attributes of its elements. So no name or label can become markup or code. A document also
has a Content-Security-Policy, which allows this one script and nothing from elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files

from .layout import HEIGHT, Curve, Layout, Place, Point, layout
from .picture import Box, Mark, Picture, Step, Wire

_BUTTONS = (
    ("forward", "Forward step", "Compute the next value"),
    ("backward", "Backward step", "Compute the next gradient"),
    ("play", "Play", "Show the steps one after another"),
    ("undo", "Undo", "Take the last step back"),
    ("reset", "Reset", "Show only what is known before the first step"),
    ("all", "Show all", "Show the values and gradients of all steps"),
)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def document(picture: Picture) -> str:
    """A picture as a whole HTML document."""
    digest = base64.b64encode(hashlib.sha256(_resource("page.js").encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(picture.title)}</title>\n"
        "<style>html { color-scheme: light dark; background: light-dark(#eceff3, #0b0d10); }\n"
        "body { margin: 0; padding: clamp(0px, 1.5vw, 1.5rem); }\n"
        ".fastbp-page { margin: 0 auto; }</style>\n"
        f"</head>\n<body>\n<main>\n{fragment(picture)}</main>\n</body>\n</html>\n"
    )


def fragment(picture: Picture) -> str:
    """A picture as one element, with its style and script; a document may have several."""
    places = layout(picture)
    return (
        f'<div class="fastbp-page" data-forward="{picture.n_forward}">\n'
        f"<style>\n{_resource('page.css')}</style>\n"
        f'<h2>{escaped(picture.title)}</h2>\n<p class="formula">{escaped(picture.formula)}</p>\n'
        f"{_legend(picture)}{_buttons()}"
        '<p class="status" role="status" aria-live="polite"></p>\n'
        f'<div class="stage">\n<div class="scroll" style="flex-basis: {places.width:.0f}px">\n'
        f"{_drawing(picture, places)}</div>\n"
        f'<div class="texts">\n{_details(picture)}{_journal(picture)}</div>\n</div>\n'
        f"<script>{_resource('page.js')}</script>\n</div>\n"
    )


def message(title: str, text: str) -> str:
    """A fragment that says why there is no picture; text may have several lines."""
    return f"<div><b>{escaped(title)}</b><pre>{escaped(text)}</pre></div>"


@cache
def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def escaped(text: str) -> str:
    """Text in which no character is markup, and none is a control character.

    >>> escaped('<b title="x">')
    '&lt;b title=&quot;x&quot;&gt;'
    """
    from html import escape  # loads two thousand entity names

    return escape(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", text))


# ---- texts ------------------------------------------------------------------------------------


def _legend(picture: Picture) -> str:
    items = "".join(f'<li class="{kind}">{escaped(text)}</li>' for kind, text in picture.legend)
    return f'<ul class="legend">{items}</ul>\n'


def _buttons() -> str:
    buttons = "".join(
        f'<button type="button" data-do="{do}" title="{title}">{text}</button>'
        for do, text, title in _BUTTONS
    )
    return f'<div class="buttons" role="group" aria-label="Steps" hidden>{buttons}</div>\n'


def _details(picture: Picture) -> str:
    """What is shown of the box that someone points at."""
    cards = "".join(
        f'<div data-for="{number}" hidden><h3>{escaped(box.title)}</h3>'
        f"{''.join(map(_line, box.details))}</div>\n"
        for number, box in enumerate(picture.boxes)
    )
    hint = "Point at a box, tap it, or go to it with the Tab and arrow keys, to see its formulas."
    return (
        '<section class="details" aria-live="polite" aria-label="Details">\n'
        f'<p class="hint">{hint}</p>\n{cards}</section>\n'
    )


def _line(mark: Mark) -> str:
    return f"<p{_attributes(mark, mark.kind)}>{escaped(mark.text)}</p>"


def _journal(picture: Picture) -> str:
    items = "".join(_step(number, step) for number, step in enumerate(picture.steps, 1))
    return f'<section class="journal" aria-label="Steps"><ol>\n{items}</ol></section>\n'


def _step(number: int, step: Step) -> str:
    boxes = " ".join(map(str, step.boxes))
    inline = ' class="inline"' * (len(step.lines) == 1 and step.lines[0].startswith("="))
    lines = " ".join(f"<span{inline}>{escaped(line)}</span>" for line in step.lines)
    walk = "backward" if step.backward else "forward"
    return (
        f'<li class="{walk}" data-at="{number}" data-boxes="{boxes}">'
        f"<b>{escaped(step.title)}</b> {lines}</li>\n"
    )


# ---- the drawing ------------------------------------------------------------------------------


def _drawing(picture: Picture, places: Layout) -> str:
    width, height = round(places.width), round(places.height)
    wires = "".join(
        _wire(wire, *path) for wire, path in zip(picture.wires, places.paths, strict=True)
    )
    texts = "".join(
        _beside(wire, point)
        for wire, point in zip(picture.wires, places.beside, strict=True)
        if wire.marks
    )
    edges = {wire.start: path[0][0] for wire, path in zip(picture.wires, places.paths, strict=True)}
    boxes = "".join(
        _box(number, box, place, edges.get(number))
        for number, (box, place) in enumerate(zip(picture.boxes, places.places, strict=True))
    )
    name, text = escaped(picture.title), escaped(picture.formula)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="group" aria-label="{name}: {text}" '
        f'viewBox="0 0 {width} {height}" '
        f'style="min-width: {0.75 * width:.0f}px; max-width: {1.3 * width:.0f}px">\n'
        f"<desc>{text}</desc>\n<g>{wires}</g>\n<g>{texts}</g>\n<g>{boxes}</g>\n</svg>\n"
    )


def _wire(wire: Wire, start: Point, curves: list[Curve]) -> str:
    tone = {-1: " minus", 0: "", 1: " plus"}[wire.tone]
    d = f"M{_at(start)}" + "".join(f"C{' '.join(map(_at, curve))}" for curve in curves)
    return (
        f'<path class="wire{tone}" data-start="{wire.start}" data-end="{wire.end}" '
        f'stroke-width="{wire.width:g}" d="{d}"/>\n'
    )


def _beside(wire: Wire, middle: Point) -> str:
    """The texts of a wire, one after another."""
    texts = " ".join(
        f"<tspan{_attributes(mark, mark.kind)}>{escaped(mark.text)}</tspan>" for mark in wire.marks
    )
    place = f'x="{middle[0]:.1f}" y="{middle[1] + 4:.1f}"'
    return f'<text class="beside middle" {place}>{texts}</text>\n'


def _box(number: int, box: Box, place: Place, edge: float | None) -> str:
    """A box and its texts; `edge` is where its wires begin, None if it has none."""
    middle, centre, right = place.middle, place.x + place.width / 2, place.x + place.width
    radius = HEIGHT / 2 if box.kind == "input" else 8
    size = f'width="{place.width:.1f}" height="{place.height:.1f}" rx="{radius:g}"'
    area = f'width="{place.end - place.x:.1f}" height="{place.height:.1f}"'
    corner = f'x="{place.x:.1f}" y="{place.y:.1f}"'
    shapes = [f'<rect class="area" {corner} {area}/><rect class="frame" {corner} {size}/>']
    if edge != right:
        arrow = f"H{place.end + 10:.1f}m-7-5l7 5-7 5" if edge is None else f"H{edge:.1f}"
        shapes.append(f'<path class="stub" d="M{_at((right, middle))}{arrow}"/>')
    if box.inside is None:
        shapes.append(_text(Mark(box.symbol), centre, middle + 4.5, "middle"))
    else:
        shapes.append(_text(Mark(box.symbol), centre, middle - 3, "middle"))
        shapes.append(_text(box.inside, centre, middle + 12, "middle"))
    if box.kind == "gate":
        shapes.append(_text(Mark(box.name), centre, place.y + place.height + 13, "middle small"))
    for mark, y in ((box.value, middle - 6), (box.gradient, middle + 16)):
        if mark is not None:
            shapes.append(_text(mark, right + 7, y, ""))
    told = escaped("\n".join([box.title, *(mark.text for mark in box.details)]))
    return (
        f'<g class="box {box.kind}" data-box="{number}" role="button" '
        f'aria-label="{escaped(box.title)}"><title>{told}</title>{"".join(shapes)}</g>\n'
    )


def _text(mark: Mark, x: float, y: float, kind: str) -> str:
    names = f"{kind} {mark.kind if mark.kind != 'plain' else ''}".strip()
    return f'<text{_attributes(mark, names)} x="{x:.1f}" y="{y:.1f}">{escaped(mark.text)}</text>'


def _attributes(mark: Mark, names: str) -> str:
    """The class of a text, the step at which it appears, and its exact number."""
    at = f' data-at="{mark.at}"' if mark.at else ""
    number = "" if mark.number is None else f' data-number="{mark.number!r}"'
    return (f' class="{names}"' if names else "") + at + number


def _at(point: Point) -> str:
    return f"{point[0]:.1f} {point[1]:.1f}"
