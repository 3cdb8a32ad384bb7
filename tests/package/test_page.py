"""Pages of pictures: places of boxes and wires, escaping, one self-contained text."""

import math
import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastbp
from fastbp._page.layout import HEIGHT, layout, text_width
from fastbp._page.page import document, escaped, fragment, message
from fastbp._page.picture import Box, Mark, Picture, Step, Wire, number_text, values_text

pytestmark = pytest.mark.once


def picture_of(n, ends, **options):
    """A picture of n boxes with the wires `ends`."""
    boxes = [Box(f"b{i}", f"b{i}", f"box {i}", value=Mark(str(i))) for i in range(n)]
    steps = [Step("first", ("= 1",), (0,)), Step("back", ("= 2",), (0,), backward=True)]
    return Picture("title", "formula", boxes, [Wire(*pair) for pair in ends], steps, **options)


@st.composite
def graphs(draw):
    """(n, ends): wires lead from lower to higher numbers, at most three into each box."""
    n = draw(st.integers(1, 20))
    ends = []
    for end in range(1, n):
        starts = draw(st.lists(st.integers(0, end - 1), max_size=3))
        ends += [(start, end) for start in starts]
    return n, ends


def points_of(path, k=9):
    """Points on the curves of a path."""
    at, curves = path
    for first, second, end in curves:
        for t in np.linspace(0, 1, k):
            a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3
            yield tuple(
                a * p + b * q + c * r + d * s
                for p, q, r, s in zip(at, first, second, end, strict=True)
            )
        at = end


@given(graphs(), st.booleans())
def test_boxes_do_not_overlap_and_no_wire_crosses_a_box(graph, straight):
    n, ends = graph
    found = layout(picture_of(n, ends, straight=straight))
    places = found.places
    for i, one in enumerate(places):
        assert 0 < one.x and one.x + one.width <= one.end < found.width
        assert 0 < one.y and one.y + HEIGHT < found.height
        for other in places[:i]:
            beside = one.x >= other.end or other.x >= one.end
            assert beside or abs(one.y - other.y) > HEIGHT
    for (start, end), path in zip(ends, found.paths, strict=True):
        for x, y in points_of(path):
            for i, place in enumerate(places):
                inside_x = place.x + 0.01 < x < place.x + place.width - 0.01
                inside = inside_x and place.y - 1 < y < place.y + HEIGHT + 1
                assert not inside, f"the wire from {start} to {end} crosses box {i}"


@given(graphs())
def test_wires_lead_from_left_to_right(graph):
    n, ends = graph
    found = layout(picture_of(n, ends))
    for (start, end), (first, curves) in zip(ends, found.paths, strict=True):
        one, other = found.places[start], found.places[end]
        assert one.end < other.x
        assert first == (one.x + one.width, one.middle)
        assert curves[-1][-1][0] == other.x
        assert abs(curves[-1][-1][1] - other.middle) < HEIGHT / 2
        xs = [x for x, _ in points_of((first, curves))]
        assert all(b >= a - 1e-9 for a, b in pairwise(xs))
    assert found == layout(picture_of(n, ends))  # the same each time


def test_inputs_stand_just_before_their_first_use():
    #  0 ─ 2 ─ 3 ─ 4, and 1 goes into 4 only
    places = layout(picture_of(5, [(0, 2), (2, 3), (3, 4), (1, 4)])).places
    assert places[1].x == places[3].x > places[2].x


def crossings(found):
    """How many pairs of straight lines between box centres cross."""
    lines = [(path[0], path[1][-1][-1]) for path in found.paths]

    def side(p, q, r):
        return math.copysign(1, (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))

    return sum(
        side(*a, b[0]) != side(*a, b[1]) and side(*b, a[0]) != side(*b, a[1])
        for i, a in enumerate(lines)
        for b in lines[:i]
        if a[0] != b[0]
    )


def test_a_tree_is_drawn_without_crossings():
    """16 inputs in an unlucky order, joined in pairs."""
    order = np.random.default_rng(5).permutation(16).tolist()
    ends, level, n = [], order, 16
    while len(level) > 1:
        above = []
        for pair in zip(level[::2], level[1::2], strict=True):
            ends += [(each, n) for each in pair]
            above.append(n)
            n += 1
        level = above
    assert crossings(layout(picture_of(n, ends))) == 0


def test_a_chain_is_straight():
    places = layout(picture_of(6, [(i, i + 1) for i in range(5)])).places
    assert len({place.y for place in places}) == 1


def test_texts_of_wires_do_not_overlap():
    """All wires between columns of 3, 4 and 4 boxes, each with a text."""
    column = [0] * 3 + [1] * 4 + [2] * 4
    boxes = [Box("unit", "u", "unit", column=c) for c in column]
    pairs = [(i, j) for i in range(11) for j in range(11) if column[j] == column[i] + 1]
    wires = [Wire(i, j, (Mark("−0.1234"), Mark("0.00123"))) for i, j in pairs]
    found = layout(Picture("t", "f", boxes, wires, [], straight=True))
    for k, (x, y) in enumerate(found.beside):
        for other in found.beside[:k]:
            apart = abs(x - other[0]) > text_width("−0.1234 0.00123")
            assert apart or abs(y - other[1]) > 11.5


def test_a_large_graph_is_laid_out():
    rng = np.random.default_rng(1)
    ends = [(int(rng.integers(max(0, e - 20), e)), e) for e in range(1, 250) for _ in range(2)]
    found = layout(picture_of(250, ends))
    assert len(found.places) == 250 and len(found.paths) == len(ends)


# ---- the text of the page -----------------------------------------------------------------

EVIL = "</script><script>hacked()</script><img src=x onerror=hacked()>\"'&<b>\x00\ud800"


class Elements(HTMLParser):
    """Names and attributes of all elements, and the text of scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.scripts, self.inside = [], [], [], None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        self.inside = tag

    def handle_data(self, data):
        if self.inside == "script":
            self.scripts.append(data)


def evil_picture(text):
    mark = Mark(text, 1, "value", 1.0)
    box = Box(text, text, text, "gate", mark, mark, mark, (mark,))
    wire = Wire(0, 1, (mark,))
    steps = [Step(text, (text, text), (0,)), Step(text, (text,), (1,), backward=True)]
    return Picture(text, text, [box, box], [wire], steps, legend=((("value"), text),))


def test_no_text_becomes_markup():
    harmless, evil = (Elements(document(evil_picture(text))) for text in ("harmless", EVIL))
    assert evil.tags == harmless.tags
    assert evil.scripts == harmless.scripts
    names = [(tag, name) for tag, name, _ in harmless.attributes]
    assert [(tag, name) for tag, name, _ in evil.attributes] == names
    assert not [name for _, name in names if name.startswith("on")]
    assert "\x00" not in document(evil_picture(EVIL))
    document(evil_picture(EVIL)).encode("utf-8")


def test_escaping():
    assert escaped("a < b & \"c\" 'd'") == "a &lt; b &amp; &quot;c&quot; &#x27;d&#x27;"
    assert escaped("tab\tand\nline") == "tab\tand\nline"
    assert message("<t>", "<p>") == "<div><b>&lt;t&gt;</b><pre>&lt;p&gt;</pre></div>"


def test_the_page_needs_nothing_else():
    page = Elements(document(picture_of(3, [(0, 1), (1, 2)])))
    loads = {"src", "srcset", "action", "background", "data", "poster", "ping"}
    for tag, name, value in page.attributes:
        assert name not in loads, f"{tag} {name}"
        assert name != "href" or tag == "never", f"{tag} {name}={value}"
    assert not {"link", "iframe", "object", "embed", "image", "use"} & set(page.tags)
    text = document(picture_of(1, []))
    assert "@import" not in text and "url(" not in text
    assert set(re.findall(r"https?://[^\"\s]+", text)) == {"http://www.w3.org/2000/svg"}
    assert page.tags.count("script") == page.tags.count("svg") == 1


def test_a_fragment_has_no_ids_that_could_clash():
    page = Elements(fragment(picture_of(3, [(0, 1), (1, 2)])))
    assert not [value for _, name, value in page.attributes if name in ("id", "for")]
    assert page.tags[0] == "div" and "html" not in page.tags


def test_numbers_as_text():
    assert number_text(float("nan")) == "nan" and number_text(float("-inf")) == "−inf"
    assert number_text(-0.0) == "0" and number_text(1e-20) == "1e−20"
    assert number_text(2 / 3, 6) == "0.666667" and number_text(1 + 0.5j) == "1+0.5j"
    assert values_text(np.arange(9.0).reshape(3, 3)) == "[[0, 1, 2], [3, 4, 5], [6, 7, 8]]"
    assert values_text(np.zeros((1, 40)), edge=1) == "[[0, …, 0]]"
    assert values_text(np.float32(1.5)) == "1.5"


# ---- the page of a network ----------------------------------------------------------------


def test_the_page_of_a_walk_has_every_number():
    net = fastbp.Network((2, 3, 2), activation="tanh", dtype="float64", seed=0)
    walk = net.walk([0.5, -1.0], [1.0, 0.0])
    text = fastbp.plot.walk(net, [0.5, -1.0], [1.0, 0.0]).to_html()
    shown = [float(number) for number in re.findall(r'data-number="([^"]+)"', text)]
    for layer in walk.layers:
        for array in (layer.z, layer.a, layer.delta, layer.W, layer.dW, layer.db):
            for value in array.ravel():
                assert float(value) in shown
    for line in str(walk).splitlines():
        if re.match(" {6}", line):
            assert escaped(line.strip()) in text


def test_the_page_of_a_walk_is_written(tmp_path):
    net = fastbp.Network((2, 3, 1), seed=0)
    page = fastbp.plot.walk(net, [1.0, 2.0], 0.0)
    path = tmp_path / "walk.html"
    text = page.to_html(path)
    assert path.read_bytes().decode("utf-8") == text == page.to_html()
    assert [entry.name for entry in tmp_path.iterdir()] == ["walk.html"]
    with pytest.raises(FileNotFoundError):
        page.to_html(tmp_path / "none" / "walk.html")
    assert page._repr_html_() in text and repr(page).startswith("WalkPage(Walk(2-3-1, J=")
    assert net.layers[0].z is None


@pytest.mark.parametrize("widths", [(13, 2), (2, 13, 1), (2,) * 10])
def test_the_page_of_a_large_network_is_refused(widths):
    net = fastbp.Network(widths, seed=0)
    with pytest.raises(ValueError, match=r"at most 12 units .* 8 layers.*print\(net.walk"):
        fastbp.plot.walk(net, np.zeros(widths[0]), np.zeros(widths[-1]))


def test_norms_and_constant_layers_have_a_page():
    layers = [fastbp.Dense(2, "relu", norm="layer", residual=True), fastbp.Dense(1, bias=False)]
    net = fastbp.Network.from_layers(2, layers, seed=0)
    net.layers[1].W = [[0.0], [0.0]]
    text = fastbp.plot.walk(net, [1.0, 2.0], 0.0).to_html()
    assert "dgain¹₁ = " in text and "n¹₁ = " in text
