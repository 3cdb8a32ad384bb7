"""Where boxes and wires go: a layered drawing from left to right.

Sugiyama, Tagawa & Toda, IEEE Transactions on Systems, Man, and Cybernetics 11, 1981. Every box gets
a column by its longest path; a wire over several columns passes through places of its own, so that
no wire crosses a box; sweeps by barycentres remove crossings; then rows move towards their
neighbours as far as their order and distances allow.

Lengths are in pixels. y grows downwards.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right, insort
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from .picture import Box, Picture

HEIGHT = 38.0  # of a box
FONT, SMALL = 13.0, 11.5  # sizes of text: SMALL below boxes and beside wires
_PADDING = 11.0  # left and right of the text in a box
_STUB = 16.0  # of the wire that leaves a box, beyond its texts
_ROW_GAP = 26.0  # between two boxes, for the name below a box
_LANE = 14.0  # height of the place of a wire that passes a column
_COLUMN_GAP, _WIDEST_GAP = 34.0, 190.0
_TEXT_DISTANCE = 16.0  # between the texts of two wires
_MARGIN = 22.0
_SWEEPS = 12

Point = tuple[float, float]
Curve = tuple[Point, Point, Point]  # two control points and the end of a cubic Bézier curve


def text_width(text: str, size: float = FONT) -> float:
    """An estimate of the width of a text, generous for digits and Latin letters.

    >>> text_width("0.5") < text_width("word") < text_width("漢字漢字")
    True
    """
    ems = 0.0
    for character in text:
        if unicodedata.combining(character):
            continue
        wide = unicodedata.east_asian_width(character) in "WF"
        ems += 1.0 if wide else 0.84 if character in "mwMW@%" else 0.6
    return ems * size


@dataclass(frozen=True)
class Place:
    """The rectangle of a box, and the end of the wire that leaves it."""

    x: float
    y: float
    width: float
    height: float
    end: float

    @property
    def middle(self) -> float:
        """y of its centre."""
        return self.y + self.height / 2


@dataclass(frozen=True)
class Layout:
    """A place for every box, a path for every wire, and the size of the picture.

    A path is the point where it begins and the curves that follow; `beside` is the middle of its
    texts.
    """

    width: float
    height: float
    places: list[Place]
    paths: list[tuple[Point, list[Curve]]]
    beside: list[Point]


@dataclass
class _Graph:
    """Nodes in columns: the boxes, then places (lanes) of wires that pass a column.

    `links` join nodes of neighbouring columns: (left, right, offset of the port of the right one).
    """

    columns: list[list[int]]
    heights: list[float]
    gap: float
    links: list[tuple[int, int, float]] = field(default_factory=list)
    left: dict[int, list[tuple[int, float]]] = field(default_factory=dict)
    right: dict[int, list[tuple[int, float]]] = field(default_factory=dict)

    def join(self, left: int, right: int, offset: float) -> None:
        self.links.append((left, right, offset))
        self.left.setdefault(right, []).append((left, offset))
        self.right.setdefault(left, []).append((right, offset))


def layout(picture: Picture) -> Layout:
    """Find the places of everything in a picture."""
    boxes, ends = picture.boxes, [(wire.start, wire.end) for wire in picture.wires]
    given = [box.column for box in boxes if box.column is not None]
    column = given or _columns(len(boxes), ends)
    ports = _port_offsets(boxes, ends, None)
    shares = _share(picture)
    gap = _row_gap(shares)
    graph, lanes = _graph(column, ends, ports, gap)
    if not given:
        _order(graph, _first_order(len(boxes), ends))
        ports = _port_offsets(boxes, ends, _rows(graph))
        graph, lanes = _graph(column, ends, ports, gap, graph.columns)
    ys = _heights(graph)
    sizes = _box_widths(picture, column)
    xs, widths = _widths(picture, graph, ys, sizes, shares)
    places = [
        Place(xs[c], y - HEIGHT / 2, size, HEIGHT, xs[c] + size + stub_width(box))
        for box, c, y, size in zip(boxes, column, ys, sizes, strict=False)  # ys has lanes too
    ]
    paths = []
    for (start, end), port, passed in zip(ends, ports, lanes, strict=True):
        stops = [(xs[column[start] + k], ys[lane]) for k, lane in enumerate(passed, 1)]
        stops.append((places[end].x, places[end].middle + port))
        leave = [xs[c] + widths[c] for c in range(column[start], column[end])]
        edge = leave[0] if picture.straight else places[start].x + places[start].width
        first = (edge, places[start].middle)
        paths.append((first, _curves(first, stops, leave, picture.straight)))
    beside = [_beside(*path, share) for path, share in zip(paths, shares, strict=True)]
    bottom = max(ys[node] + graph.heights[node] / 2 for node in range(len(ys)))
    right = max(place.end for place in places)
    return Layout(right + _MARGIN, bottom + _MARGIN, places, paths, beside)


def box_width(box: Box) -> float:
    """Width of a box."""
    inside = text_width(box.inside.text) if box.inside else 0.0
    return max(HEIGHT, text_width(box.symbol) + 2 * _PADDING, inside + 2 * _PADDING)


def _box_widths(picture: Picture, column: Sequence[int]) -> list[float]:
    """Width of every box; in a picture with given columns, those of a column are equally wide."""
    sizes = [box_width(box) for box in picture.boxes]
    if picture.boxes[0].column is None:
        return sizes
    widest = [0.0] * (max(column) + 1)
    for size, c in zip(sizes, column, strict=True):
        widest[c] = max(widest[c], size)
    return [widest[c] for c in column]


def stub_width(box: Box) -> float:
    """Length of the wire that carries the texts of a box."""
    texts = [mark.text for mark in (box.value, box.gradient) if mark]
    return _STUB + max((text_width(text) for text in texts), default=0.0)


# ---- columns --------------------------------------------------------------------------------


def _columns(n: int, ends: Sequence[tuple[int, int]]) -> list[int]:
    """The column of every box: the longest path to it; inputs just before their first use.

    Wires lead from lower to higher numbers of boxes.
    """
    column, entered, uses = [0] * n, [False] * n, [n] * n
    for start, end in sorted(ends, key=lambda wire: wire[1]):
        column[end], entered[end] = max(column[end], column[start] + 1), True
    for start, end in ends:
        uses[start] = min(uses[start], column[end])
    return [
        c if inner or use == n else use - 1
        for c, inner, use in zip(column, entered, uses, strict=True)
    ]


def _port_offsets(
    boxes: Sequence[Box], ends: Sequence[tuple[int, int]], row: Sequence[float] | None
) -> list[float]:
    """Where each wire enters its box, from the middle: in their order, or by their rows."""
    entering: dict[int, list[int]] = {}
    for number, (_, end) in enumerate(ends):
        entering.setdefault(end, []).append(number)
    offsets = [0.0] * len(ends)
    for end, wires in entering.items():
        if row is not None and not boxes[end].ordered:
            wires = sorted(wires, key=lambda number: row[ends[number][0]])
        for k, number in enumerate(wires):
            offsets[number] = HEIGHT * 0.8 * ((k + 1) / (len(wires) + 1) - 0.5)
    return offsets


def _graph(
    column: Sequence[int],
    ends: Sequence[tuple[int, int]],
    ports: Sequence[float],
    gap: float,
    order: list[list[int]] | None = None,
) -> tuple[_Graph, list[list[int]]]:
    """The nodes in columns, and the lanes that each wire passes through.

    Wires from one box share their lanes. Numbers of lanes depend on `column` and `ends` alone, so
    that an order that was found before can be used again.
    """
    columns: list[list[int]] = [[] for _ in range(max(column) + 1)]
    for box, c in enumerate(column):
        columns[c].append(box)
    graph = _Graph(columns, [HEIGHT] * len(column), gap)
    chains: dict[int, list[int]] = {}
    lanes = []
    for (start, end), port in zip(ends, ports, strict=True):
        chain = chains.setdefault(start, [])
        n_passed = column[end] - column[start] - 1
        while len(chain) < n_passed:
            lane = len(graph.heights)
            graph.heights.append(_LANE)
            columns[column[start] + 1 + len(chain)].append(lane)
            graph.join(chain[-1] if chain else start, lane, 0.0)
            chain.append(lane)
        graph.join(chain[n_passed - 1] if n_passed else start, end, port)
        lanes.append(chain[:n_passed])
    if order is not None:
        graph.columns = order
    return graph, lanes


# ---- the order within columns -----------------------------------------------------------------


def _first_order(n: int, ends: Sequence[tuple[int, int]]) -> list[int]:
    """Ranks of the boxes in a walk from the results back, operands in order: few crossings."""
    operands: list[list[int]] = [[] for _ in range(n)]
    used = [False] * n
    for start, end in ends:
        operands[end].append(start)
        used[start] = True
    rank, stack = [-1] * n, [box for box in range(n) if not used[box]]
    count = 0
    while stack:
        box = stack.pop()
        if rank[box] < 0:
            rank[box] = count
            count += 1
            stack += reversed(operands[box])
    return rank


def _rows(graph: _Graph) -> list[float]:
    """The position of every node in its column, from 0 (top) to 1 (bottom)."""
    row = [0.0] * len(graph.heights)
    for nodes in graph.columns:
        for position, node in enumerate(nodes):
            row[node] = (position + 0.5) / len(nodes)
    return row


def _order(graph: _Graph, first: list[int]) -> None:
    """Sort the nodes of every column so that few links cross."""
    rank = list(map(float, first)) + [0.0] * (len(graph.heights) - len(first))
    for left, right, _ in graph.links:
        if right >= len(first):
            rank[right] = rank[left]
    for nodes in graph.columns:
        nodes.sort(key=rank.__getitem__)
    best, fewest = [list(nodes) for nodes in graph.columns], _crossings(graph)
    for sweep in range(_SWEEPS):
        if fewest == 0:
            break
        forward = sweep % 2 == 0
        for nodes in graph.columns if forward else reversed(graph.columns):
            row = _rows(graph)
            near = graph.left if forward else graph.right
            centre = {node: _barycentre(node, near.get(node, ()), row, forward) for node in nodes}
            nodes.sort(key=centre.__getitem__)
        crossings = _crossings(graph)
        if crossings < fewest:
            best, fewest = [list(nodes) for nodes in graph.columns], crossings
    graph.columns = best


def _barycentre(
    node: int, near: Sequence[tuple[int, float]], row: Sequence[float], forward: bool
) -> float:
    """The mean position of the neighbours on one side; its own position without neighbours."""
    if not near:
        return row[node]
    nudge = 0.0 if forward else 1e-3  # ports decide between wires into one box
    return sum(row[other] + nudge * offset for other, offset in near) / len(near)


def _crossings(graph: _Graph) -> int:
    """How many pairs of links cross."""
    row = _rows(graph)
    column = {node: c for c, nodes in enumerate(graph.columns) for node in nodes}
    by_column: dict[int, list[tuple[float, float]]] = {}
    for left, right, offset in graph.links:
        by_column.setdefault(column[left], []).append((row[left], row[right] + offset * 1e-5))
    total = 0
    for links in by_column.values():
        seen: list[float] = []
        for _, to in sorted(links):
            total += len(seen) - bisect_right(seen, to)
            insort(seen, to)
    return total


# ---- texts of wires ---------------------------------------------------------------------------
#
# Of k wires from each box of a column to k boxes of the next, all a distance S apart, the text of
# each is at t = 1/(k + 1) of its length. Then the texts of one box are t S apart, and so are the
# last one of a box and the first one of the box below. So they need S = (k + 1) times their height.


def _share(picture: Picture) -> list[float]:
    """t of each wire; 0 for wires without texts."""
    leaving: dict[int, int] = {}
    for wire in picture.wires:
        if wire.marks:
            leaving[wire.start] = leaving.get(wire.start, 0) + 1
    return [1 / (leaving[wire.start] + 1) if wire.marks else 0.0 for wire in picture.wires]


def _row_gap(shares: Sequence[float]) -> float:
    """The distance between two boxes of a column."""
    least = _TEXT_DISTANCE / min(filter(None, shares), default=1.0) - HEIGHT
    return max(_ROW_GAP, least)


def _label_gap(picture: Picture, shares: Sequence[float], boxes: Collection[int]) -> float:
    """The distance to the next column that the texts of the wires from some boxes need."""
    gap = 0.0
    for wire, share in zip(picture.wires, shares, strict=True):
        if share and wire.start in boxes:
            width = text_width(" ".join(mark.text for mark in wire.marks), SMALL)
            gap = max(gap, width / 2 / share + _STUB)
    return gap


# ---- coordinates --------------------------------------------------------------------------------


def _heights(graph: _Graph) -> list[float]:
    """y of every node: near its neighbours, in the order of its column, at a distance."""
    ys = [0.0] * len(graph.heights)
    for nodes in graph.columns:
        _separate(graph, nodes, ys, [0.0] * len(nodes))
    for sweep in range(_SWEEPS + 1):  # the last one is from the left, so that chains are straight
        near, sign, columns = graph.left, -1, iter(graph.columns)
        if sweep % 2:
            near, sign, columns = graph.right, 1, reversed(graph.columns)
        for nodes in columns:
            _separate(graph, nodes, ys, [_wish(near.get(n, ()), ys, sign, ys[n]) for n in nodes])
    top = min(ys[node] - graph.heights[node] / 2 for node in range(len(ys)))
    return [y - top + _MARGIN for y in ys]


def _wish(
    near: Sequence[tuple[int, float]], ys: Sequence[float], sign: int, otherwise: float
) -> float:
    """The mean y of the neighbours on one side, so that the wires between would be straight."""
    if not near:
        return otherwise
    return sum(ys[other] + sign * offset for other, offset in near) / len(near)


def _separate(
    graph: _Graph, nodes: Sequence[int], ys: list[float], wishes: Sequence[float]
) -> None:
    """Put the nodes of a column nearest to their wishes, in order and not too close.

    With the sum of the distances taken away, this is least squares with ascending values, which
    pooling of violators solves exactly (Ayer et al., Annals of Mathematical Statistics 26, 1955).
    """
    distance, distances = 0.0, []
    for above, node in zip((None, *nodes), nodes, strict=False):
        if above is not None:
            halves = (graph.heights[above] + graph.heights[node]) / 2
            boxes = graph.heights[above] == graph.heights[node] == HEIGHT
            distance += halves + (graph.gap if boxes else graph.gap / 2)
        distances.append(distance)
    pools: list[tuple[float, int]] = []  # (sum of wishes, how many)
    for wish, away in zip(wishes, distances, strict=True):
        total, count = wish - away, 1
        while pools and pools[-1][0] * count > total * pools[-1][1]:
            more, others = pools.pop()
            total, count = total + more, count + others
        pools.append((total, count))
    means = [total / count for total, count in pools for _ in range(count)]
    for node, mean, away in zip(nodes, means, distances, strict=True):
        ys[node] = mean + away


def _widths(
    picture: Picture,
    graph: _Graph,
    ys: Sequence[float],
    sizes: Sequence[float],
    shares: Sequence[float],
) -> tuple[list[float], list[float]]:
    """x of every column and its width, with more room where wires rise or fall steeply."""
    column = {node: c for c, nodes in enumerate(graph.columns) for node in nodes}
    rise = [0.0] * len(graph.columns)
    for left, right, offset in graph.links:
        c = column[left]
        rise[c] = max(rise[c], abs(ys[left] - ys[right] - offset))
    xs, widths, x = [], [], _MARGIN
    for nodes, highest in zip(graph.columns, rise, strict=True):
        boxes = {node: picture.boxes[node] for node in nodes if node < len(picture.boxes)}
        ends = (sizes[node] + stub_width(box) for node, box in boxes.items())
        width = max(ends, default=0.0)
        xs.append(x)
        widths.append(width)
        gap = min(_WIDEST_GAP, _COLUMN_GAP + highest / 4)
        x += width + max(gap, _label_gap(picture, shares, boxes))
    return xs, widths


def _beside(start: Point, curves: list[Curve], share: float) -> Point:
    """The point at a share of the last curve of a wire."""
    (x, y), (to_x, to_y) = curves[-2][-1] if len(curves) > 1 else start, curves[-1][-1]
    return (x + share * (to_x - x), y + share * (to_y - y))


def _curves(
    at: Point, stops: Sequence[Point], leave: Sequence[float], straight: bool
) -> list[Curve]:
    """The curves of a wire: level through columns, bent only in the gaps between them.

    leave: where the columns end that it comes from and passes through.
    """
    curves: list[Curve] = []
    for edge, (x, y) in zip(leave, stops, strict=True):
        if at[0] < edge:
            curves.append((at, (edge, at[1]), (edge, at[1])))
            at = (edge, at[1])
        if straight:
            curves.append((at, (x, y), (x, y)))
        else:
            half = (x - at[0]) / 2
            curves.append(((at[0] + half, at[1]), (x - half, y), (x, y)))
        at = (x, y)
    return curves
