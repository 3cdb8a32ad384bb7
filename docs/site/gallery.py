"""The gallery: one function for each class that draws a picture. They run when the site is built.

A function returns a figure, or for the pages of PAGES an object that has one. The gallery shows its
docstring, the picture or the page, and the source code.
"""

import inspect
import io
from pathlib import PurePosixPath

import matplotlib
import numpy as np

import fastbp
from fastbp import plot
from fastbp.datasets import load_digits

INTRODUCTION = """# Gallery

The code below each picture drew it when this site was built. [Pictures](../docs/plots.md) explains
how to use the classes.
"""


def spirals(n=200, seed=0):
    """Return points (n, 2) on the two arms of a spiral, and the arm (n,) of each point."""
    rng = np.random.default_rng(seed)
    turn = np.sqrt(rng.random(n)) * 3 * np.pi
    arm = rng.integers(2, size=n)
    angle = turn + np.pi * arm
    points = np.column_stack([np.cos(angle), np.sin(angle)]) * turn[:, None] / 10
    return points + rng.normal(scale=0.02, size=(n, 2)), arm


def BoundaryDisplay():
    """How a network with two inputs separates the arms of a spiral."""
    X, y = spirals()
    net = fastbp.Network((2, 64, 64, 1), output="sigmoid", loss="binary_cross_entropy", seed=0)
    net.fit(X, y, epochs=300, optimizer=fastbp.optim.Adam(3e-3))
    return plot.BoundaryDisplay.from_network(net, X, y).figure_


def GateDisplay():
    """A neuron as gates: values in green above the wires, gradients in red below them."""
    w0, x0, w1, x1, w2 = fastbp.gates.inputs("w0", "x0", "w1", "x1", "w2")
    neuron = 1 / (1 + fastbp.gates.exp(-(w0 * x0 + w1 * x1 + w2)))
    trace = neuron.trace(w0=2, x0=-1, w1=-3, x1=-2, w2=-3)
    return plot.GateDisplay.from_trace(trace).figure_


def HistoryDisplay():
    """Learning curves on the training rows and on the held-out rows."""
    X, y = load_digits()
    net = fastbp.Network((64, 50, 10), output="softmax", loss="cross_entropy", seed=0)
    history = net.fit(X / 16, y, epochs=30, validation_split=0.2)
    return plot.HistoryDisplay.from_history(history).figure_


def NetworkDisplay():
    """One sample in a network: names, z, a, δ, the target y and J, with the weights as lines."""
    net = fastbp.Network((2, 4, 3, 1), activation="tanh", seed=0)
    return plot.NetworkDisplay.from_network(net, [0.5, -1.0], 1.0).figure_


def SignalsDisplay():
    """The size of a and δ in each layer, over the epochs."""
    X, y = load_digits()
    recorder = plot.SignalsRecorder(X / 16, y)
    net = fastbp.Network((64, 32, 32, 10), output="softmax", loss="cross_entropy", seed=0)
    net.fit(X / 16, y, epochs=20, callbacks=[recorder])
    return plot.SignalsDisplay.from_recorder(recorder).figure_


def WeightsDisplay():
    """The weights into each unit of the first layer, as pictures of 8 × 8 pixels."""
    X, y = load_digits()
    net = fastbp.Network((64, 16, 10), output="softmax", loss="cross_entropy", seed=0, l2=1e-3)
    net.fit(X / 16, y, epochs=30)
    return plot.WeightsDisplay.from_network(net, shape=(8, 8)).figure_


DRAWN = [
    BoundaryDisplay,
    GateDisplay,
    HistoryDisplay,
    NetworkDisplay,
    SignalsDisplay,
    WeightsDisplay,
]


def walk():
    """One sample through a network, forward and back: take steps, and point at a unit."""
    net = fastbp.Network((2, 3, 1), activation="tanh", seed=0)
    return plot.walk(net, [0.5, -1.0], 1.0)


def to_html():
    """The gates of a sum and a product: take steps, and point at a gate."""
    x, y, z = fastbp.gates.inputs("x", "y", "z")
    return ((x + y) * z).trace(x=-2, y=5, z=-4)


PAGES = {walk: "fastbp.plot.md#fastbp.plot.walk", to_html: "fastbp.gates.md#fastbp.gates.Trace"}


def markdown(folder):
    """Return the gallery; the pictures and pages are `<name>.png` and `.html` in the folder."""
    text = [INTRODUCTION]
    for function in DRAWN:
        name, caption = function.__name__, inspect.getdoc(function)
        picture = PurePosixPath(folder, f"{name}.png")
        text.append(f"## [{name}](../api/fastbp.plot.md#fastbp.plot.{name})\n")
        text.append(f"{caption}\n\n![{caption}]({picture})\n")
        text.append(source(function))
    for function, reference in PAGES.items():
        name, caption = function.__name__, inspect.getdoc(function)
        page = PurePosixPath(folder, f"{name}.html")
        text.append(f"## [{name}](../api/{reference})\n")
        text.append(f'{caption}\n\n<iframe class="page" src="{page}" title="{name}"></iframe>\n')
        text.append(source(function))
    text.append(f"`spirals` draws the points:\n\n```python\n{inspect.getsource(spirals)}```\n")
    return "\n".join(text)


def source(function):
    """Return the body of a function as a code block."""
    body = inspect.getsource(function).split('"""\n')[1]
    return f"```python\n{inspect.cleandoc(body).replace('return ', '')}\n```\n"


def draw(function):
    """Return the picture of a function as the bytes of a PNG file."""
    matplotlib.use("Agg")
    figure = function()
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=150, bbox_inches="tight")
    matplotlib.pyplot.close(figure)
    return png.getvalue()
