"""Tables of networks and histories, as text and as HTML."""

import re
from xml.etree import ElementTree

import fastbp
from fastbp import Dense


def cells(html):
    """The rows of the first table, as lists of text."""
    table = ElementTree.fromstring(html).find("table")
    return [["".join(cell.itertext()) for cell in row] for row in table]


def test_the_summary_counts_parameters():
    layers = [Dense(16, "relu", norm="layer", dropout=0.1), Dense(16, residual=True, bias=False)]
    net = fastbp.Network.from_layers(8, [*layers, Dense(3)], loss="mse", dtype="float64", seed=0)
    net.layers[1].trainable = False
    lines = net.summary().splitlines()
    numbers = [re.findall(r"[\d,.]+ (?:B|KiB)|(?<= )[\d,]+(?= )", line) for line in lines[1:]]
    assert "8 -> 16" in lines[1] and "layer norm, dropout 0.1" in lines[1]
    assert lines[2].endswith("residual, frozen")
    total = 8 * 16 + 16 + 2 * 16 + 16 * 16 + 16 * 3 + 3
    assert total == net.theta.size
    assert f"{total:,}" in lines[4] and f"{total * 8 / 1024:.1f} KiB" in lines[4]
    assert f"{2 * (8 * 16 + 16 * 16 + 16 * 3):,}" in lines[4]
    assert all(numbers)


def test_networks_in_notebooks():
    net = fastbp.Network((784, 128, 10), output="softmax", loss="cross_entropy", seed=0)
    found = cells(net._repr_html_())
    assert found[1][:4] == ["1", "784 -> 128", "relu", "100,480"]
    assert found[-1][3] == f"{net.theta.size:,}"
    assert fastbp.reference.Network((2, 1))._repr_html_().startswith("<div>")


def test_histories_in_notebooks():
    net = fastbp.Network((1, 1), seed=0)
    history = net.fit([[0.0], [1.0]], [[1.0], [3.0]], epochs=5)
    html = history._repr_html_()
    found = {row[0]: row for row in cells(html)}
    assert found["loss"][1:5] == [
        f"{value:.4g}"
        for value in (history.loss[0], min(history.loss), max(history.loss), history.loss[-1])
    ]
    points = re.search(r'points="([^"]+)"', html)[1].split()
    assert len(points) == 5
    one = net.fit([[0.0]], [[1.0]], epochs=1)._repr_html_()
    assert "of 1 epoch<" in one and "<svg" not in one
    history.add({"<script>": float("nan")})
    assert "<script>" not in history._repr_html_()
