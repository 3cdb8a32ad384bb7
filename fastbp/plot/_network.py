"""A drawing of a network with the signals of one sample."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from .._checks.numbers import as_array
from .._pyplot import axes_or_new
from .._types import Array

_MAX_UNITS = 16  # of a wider layer, only the first 8 and the last 8 units are drawn


class NetworkDisplay:
    """A network with one column of units per layer.

    Weights are lines: blue if w < 0, orange if w > 0, and wide if |w| is large. The number above a
    unit, in green, is a; the number below it, in red, is δ.

    Parameters
    ----------
    a : list of ndarray
        The values of the units, beginning with the input: shapes (n_0,), …, (n_L,).
    delta : list of ndarray, optional
        The error signals of the layers 1 … L.
    weights : list of ndarray
        W of each layer.

    Attributes
    ----------
    ax_, figure_
        The axes and the figure; set by `plot`.
    """

    def __init__(self, a: list[Array], delta: list[Array] | None, weights: list[Array]) -> None:
        self.a, self.delta, self.weights = a, delta, weights

    @classmethod
    def from_network(cls, net: Any, x: object, y: object = None, *, ax: Any = None) -> Self:
        """Draw a network with one sample.

        The method runs `forward` and `backward` on the sample, so z, a and δ of the network are
        afterwards those of the sample.

        Parameters
        ----------
        net : Network
            The network.
        x : array-like of shape (n_0,)
            The sample.
        y : number, class index, or array-like of shape (n_L,), optional
            Its target; without it, δ is not drawn.
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default on a new figure.

        Returns
        -------
        NetworkDisplay
            The picture.

        Raises
        ------
        ValueError
            The sample does not fit the network.
        """
        x = as_array(x, "x").astype(net.dtype).reshape(1, -1)
        outputs = [x[0].copy()]
        net.forward(x)
        delta = None
        if y is not None:
            y = as_array(y, "y")
            labels = net.criterion.labels and y.ndim == 0
            net.backward(y.reshape(1) if labels else y.reshape(1, -1))
            delta = [np.array(layer.delta[0]) for layer in net.layers]
        outputs += [np.array(layer.a[0]) for layer in net.layers]
        return cls(outputs, delta, [np.array(layer.W) for layer in net.layers]).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw on `ax`, by default on a new figure."""
        shown = [_shown(len(a)) for a in self.a]
        tallest = max(len(units) for units in shown)
        size = (1.8 * len(self.a) + 1, 0.75 * tallest + 1)
        self.ax_ = ax = axes_or_new(ax, figsize=size)
        self.figure_ = ax.figure
        places = [_places(column, units, tallest) for column, units in enumerate(shown)]
        for layer, W in enumerate(self.weights):
            self._lines(ax, W, shown[layer : layer + 2], places[layer : layer + 2])
        for column, units in enumerate(shown):
            self._units(ax, column, units, places[column])
        ax.set(xlim=(-0.6, len(self.a) - 0.4), ylim=(-0.8, tallest - 0.2))
        ax.set_axis_off()
        return self

    @staticmethod
    def _lines(ax: Any, W: Array, shown: list[Array], places: list[Array]) -> None:
        below, above = shown
        part = W[np.ix_(below, above)]
        largest = np.abs(part).max() or 1.0
        for i in range(len(below)):
            for j in range(len(above)):
                share = float(part[i, j] / largest)
                ax.plot(
                    [places[0][i, 0], places[1][j, 0]],
                    [places[0][i, 1], places[1][j, 1]],
                    color="tab:orange" if share > 0 else "tab:blue",
                    linewidth=0.3 + 2.2 * abs(share),
                    alpha=0.15 + 0.6 * abs(share),
                    zorder=1,
                )

    def _units(self, ax: Any, column: int, units: Array, places: Array) -> None:
        a = self.a[column]
        ax.scatter(*places.T, s=150, color="white", edgecolors="0.3", zorder=2)
        for unit, (x, y) in zip(units, places, strict=True):
            back = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.75}
            text = {"ha": "center", "fontsize": 8, "zorder": 3, "bbox": back}
            ax.text(x, y + 0.2, f"{a[unit]:.3g}", color="tab:green", va="bottom", **text)
            if column > 0 and self.delta is not None:
                value = self.delta[column - 1][unit]
                ax.text(x, y - 0.2, f"{value:.2g}", color="tab:red", va="top", **text)
        if len(units) < len(a):
            middle = places[len(units) // 2 - 1 : len(units) // 2 + 1].mean(axis=0)
            note = f"⋮ {len(a) - len(units)} more"
            ax.text(*middle, note, ha="center", va="center", fontsize=8, color="0.4", zorder=3)


def _shown(n: int) -> Array:
    """Return the indices of the units to draw, of n units."""
    if n <= _MAX_UNITS:
        return np.arange(n)
    half = _MAX_UNITS // 2
    return np.concatenate([np.arange(half), np.arange(n - half, n)])


def _places(column: int, units: Array, tallest: int) -> Array:
    """Return (x, y) of each unit to draw, from top to bottom, in the centre of the column."""
    top = (tallest + len(units)) / 2 - 1
    return np.array([(column, top - i) for i in range(len(units))], float)
