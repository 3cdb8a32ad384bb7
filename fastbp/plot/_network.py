"""The network drawn, with one sample in it."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from .._checks.numbers import as_array
from .._pyplot import axes_or_new
from .._types import Array

_MAX_UNITS = 16  # of a layer; of a wider one the first and the last are drawn


class NetworkDisplay:
    """Units in columns; weights as lines, blue below 0 and orange above, as wide as |w| is large.

    a: values of the units, input first, [(n_0,), …, (n_L,)]; delta: error signals of the layers
    1 … L, or None; weights: W of each layer. Above each unit stands a in green, below it δ in red.
    Attributes after `plot`: `ax_`, `figure_`.
    """

    def __init__(self, a: list[Array], delta: list[Array] | None, weights: list[Array]) -> None:
        self.a, self.delta, self.weights = a, delta, weights

    @classmethod
    def from_network(cls, net: Any, x: object, y: object = None, *, ax: Any = None) -> Self:
        """Draw net with the sample x (n_0,) and, with its target y, with the error signals.

        y: a number, a class index, or (n_L,). Runs `forward` and `backward` on the sample: z, a
        and δ of net are then those of it. Raises ValueError for a sample that does not fit.
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
        """Draw on ax, or on a new figure."""
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
        most = np.abs(part).max() or 1.0
        for i in range(len(below)):
            for j in range(len(above)):
                share = float(part[i, j] / most)
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
    """Which of n units are drawn."""
    if n <= _MAX_UNITS:
        return np.arange(n)
    half = _MAX_UNITS // 2
    return np.concatenate([np.arange(half), np.arange(n - half, n)])


def _places(column: int, units: Array, tallest: int) -> Array:
    """(x, y) of each unit drawn, from the top, columns centred."""
    top = (tallest + len(units)) / 2 - 1
    return np.array([(column, top - i) for i in range(len(units))], float)
