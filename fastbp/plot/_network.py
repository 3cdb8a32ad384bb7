"""A drawing of a network with the signals of one sample."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np

from .._checks.columns import check_names, sample_names
from .._checks.numbers import as_array
from .._page.picture import number_text, values_text
from .._pyplot import axes_or_new, short
from .._types import Array

_MAX_UNITS = 16  # of a wider layer, only the first 8 and the last 8 units are drawn
_BACK = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.75}
_TEXT = {"fontsize": 8, "zorder": 3, "parse_math": False}
_COLOURS = {"z": "tab:purple", "a": "tab:green", "δ": "tab:red"}
_POSITIVE, _NEGATIVE = "tab:orange", "tab:blue"


class NetworkDisplay:
    """A network with one column of units per layer.

    Weights are lines: blue if w < 0, orange if w > 0, and wide if |w| is large. Above a unit are z,
    in purple, and a, in green; below it is δ, in red. The names of the inputs stand left of them,
    the names of the outputs and the targets y right of the outputs, and J in a column of its own.

    Parameters
    ----------
    a : list of ndarray
        The values of the units, beginning with the input: shapes (n_0,), …, (n_L,).
    delta : list of ndarray, optional
        The error signals of the layers 1 … L.
    weights : list of ndarray
        W of each layer.
    z : list of ndarray, optional
        The pre-activations of the layers 1 … L.
    input_names, output_names : sequence of str, optional
        Names of the n_0 inputs, by default x₁, x₂, …, and of the n_L outputs.
    layer_names : sequence of str, optional
        What stands above the layers 1 … L besides their numbers.
    y : ndarray of shape (n_targets,), optional
        The targets; of a class, 1 for its output and 0 for the others.
    J : float, optional
        The cost of the sample, penalties included.
    loss_name : str, optional
        The name of the loss in J.

    Attributes
    ----------
    ax_, figure_
        The axes and the figure; set by `plot`.

    Raises
    ------
    TypeError, ValueError
        Names that are not strings, or not one for each input or output.
    """

    def __init__(
        self,
        a: list[Array],
        delta: list[Array] | None,
        weights: list[Array],
        *,
        z: list[Array] | None = None,
        input_names: Iterable[str] | None = None,
        output_names: Iterable[str] | None = None,
        layer_names: Sequence[str] | None = None,
        y: Array | None = None,
        J: float | None = None,
        loss_name: str = "",
    ) -> None:
        self.a, self.delta, self.weights, self.z = a, delta, weights, z
        if input_names is None:
            from .._network.walk import low  # only here: it imports `gates`

            input_names = [f"x{low(i)}" for i in range(len(a[0]))]
        self.input_names = _names(input_names, len(a[0]), "inputs")
        self.output_names = None
        if output_names is not None:
            self.output_names = _names(output_names, len(a[-1]), "outputs")
        self.layer_names = layer_names or [""] * len(weights)
        self.y, self.J, self.loss_name = y, J, loss_name

    @classmethod
    def from_network(
        cls,
        net: Any,
        x: object,
        y: object = None,
        *,
        input_names: Iterable[str] | None = None,
        output_names: Iterable[str] | None = None,
        ax: Any = None,
    ) -> Self:
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
            Its target; without it, y, J and δ are not drawn.
        input_names : iterable of str, optional
            Names of the inputs. By default those of `net.feature_names`, or of x, a frame with one
            row or a row of a frame of pandas, or else x₁, x₂, ….
        output_names : iterable of str, optional
            Names of the outputs, such as the classes; by default none.
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default on a new figure.

        Returns
        -------
        NetworkDisplay
            The picture.

        Raises
        ------
        TypeError, ValueError
            The sample or the names do not fit the network.

        Examples
        --------
        >>> import fastbp
        >>> net = fastbp.Network((2, 3, 1), seed=0)
        >>> names = {"input_names": ["size", "age"], "output_names": ["price"]}
        >>> display = fastbp.plot.NetworkDisplay.from_network(
        ...     net, [0.5, 1.0], 2.0, **names
        ... )  # doctest: +SKIP
        """
        if input_names is None:
            input_names = net.feature_names or sample_names(x)
        sample = net._sample(x).astype(net.dtype)
        outputs = [sample[0].copy()]
        net.forward(sample)
        delta = row = J = None
        if y is not None:
            y = as_array(y, "y")
            labels = net.criterion.labels and y.ndim == 0
            J = net.backward(y.reshape(1) if labels else y.reshape(1, -1))
            delta = [np.array(layer.delta[0]) for layer in net.layers]
            row = np.eye(1, net.widths[-1], int(y))[0] if labels else y.ravel().astype(float)
        outputs += [np.array(layer.a[0]) for layer in net.layers]
        return cls(
            outputs,
            delta,
            [np.array(layer.W) for layer in net.layers],
            z=[np.array(layer.z[0]) for layer in net.layers],
            input_names=input_names,
            output_names=output_names,
            layer_names=[short(str(layer.activation)) for layer in net.layers],
            y=row,
            J=J,
            loss_name=net.criterion.name,
        ).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw on `ax`, by default on a new figure."""
        shown = [_shown(len(a)) for a in self.a]
        tallest = max(len(units) for units in shown)
        left, right = self._margins()
        size = (1.8 * (left + len(self.a) - 1 + right), 0.75 * tallest + 1.2)
        self.ax_ = ax = axes_or_new(ax, figsize=size)
        self.figure_ = ax.figure
        places = [_places(column, units, tallest) for column, units in enumerate(shown)]
        for layer, W in enumerate(self.weights):
            self._lines(ax, W, shown[layer : layer + 2], places[layer : layer + 2])
        for column, units in enumerate(shown):
            self._units(ax, column, units, places[column])
        self._headings(ax, tallest)
        for unit, (x, y) in zip(shown[0], places[0], strict=True):
            ax.text(x - 0.14, y, self.input_names[unit], ha="right", va="center", **_TEXT)
        self._outputs(ax, shown[-1], places[-1], tallest)
        self._legend(ax)
        ax.set(xlim=(-left, len(self.a) - 1 + right), ylim=(-0.6, tallest + 0.1))
        ax.set_axis_off()
        return self

    def _margins(self) -> tuple[float, float]:
        """The room left of the inputs and right of the outputs, in columns."""
        left = 0.3 + 0.04 * max(map(len, self.input_names))
        named = 0.04 * max(map(len, self.output_names)) if self.output_names else 0.0
        if self.J is None:
            return left, 0.4 + named
        self._at_cost = 0.75 + named
        return left, self._at_cost + 0.15 + 0.02 * max(len(self.loss_name), 12)

    def _headings(self, ax: Any, tallest: int) -> None:
        for l, name in enumerate(["", *self.layer_names]):
            text = f"layer {l}\n{name}" if l else "inputs"
            ax.text(l, tallest + 0.05, text, ha="center", va="top", color="0.35", **_TEXT)

    def _outputs(self, ax: Any, units: Array, places: Array, tallest: int) -> None:
        """The names and the targets of the outputs, and J."""
        y, J = self.y, self.J
        targets = None if y is None or len(y) != len(self.a[-1]) else y
        middle = (float(len(self.a) - 1), (tallest - 1) / 2)
        if J is not None:
            at = (middle[0] + self._at_cost, middle[1])
            wire = {"arrowstyle": "-", "color": "0.8", "shrinkA": 7, "shrinkB": 0}
            for place in places:
                ax.annotate("", at, place, arrowprops=wire, zorder=1)
            back = {"facecolor": "white", "edgecolor": "0.3", "boxstyle": "round,pad=0.4"}
            text = f"J = {number_text(J, 3)}\n{self.loss_name}".rstrip()
            if y is not None and targets is None:
                text += f"\ny = {values_text(y, 3)}"
            ax.text(*at, text, ha="center", va="center", bbox=back, **_TEXT)
        style = {"ha": "left", "bbox": _BACK, **_TEXT}
        both = targets is not None and self.output_names is not None
        for unit, place in zip(units, places, strict=True):
            at = (place[0] + 0.13, place[1])
            if self.output_names is not None:
                ax.text(*at, self.output_names[unit], va="bottom" if both else "center", **style)
            if targets is not None:
                text = f"y = {number_text(float(targets[unit]), 3)}"
                ax.text(*at, text, va="top" if both else "center", **style)

    def _legend(self, ax: Any) -> None:
        from matplotlib.lines import Line2D

        numbers = (
            ("z", "z", self.z),
            ("a", "a", self.a),
            ("δ", "δ = ∂J/∂z", self.delta),
        )
        dots: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 5}
        handles = [
            Line2D([], [], color=_COLOURS[name], label=label, **dots)
            for name, label, values in numbers
            if values is not None
        ]
        handles += [
            Line2D([], [], color=colour, linewidth=2, label=label)
            for colour, label in ((_POSITIVE, "w > 0"), (_NEGATIVE, "w < 0"))
        ]
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, 0.0), "borderaxespad": 0.1}
        ax.legend(handles=handles, ncols=len(handles), frameon=False, fontsize=8, **place)

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
                    color=_POSITIVE if share > 0 else _NEGATIVE,
                    linewidth=0.3 + 2.2 * abs(share),
                    alpha=0.15 + 0.6 * abs(share),
                    zorder=1,
                )

    def _units(self, ax: Any, column: int, units: Array, places: Array) -> None:
        a, z, delta = self.a[column], None, None
        if column > 0:
            z = None if self.z is None else self.z[column - 1]
            delta = None if self.delta is None else self.delta[column - 1]
        ax.scatter(*places.T, s=150, color="white", edgecolors="0.3", zorder=2)
        style = {"bbox": _BACK, **_TEXT}
        for unit, (x, y) in zip(units, places, strict=True):
            ha, at = ("center", x) if z is None else ("left", x + 0.02)
            ax.text(at, y + 0.2, f"{a[unit]:.3g}", color=_COLOURS["a"], va="bottom", ha=ha, **style)
            if z is not None:
                text = {"color": _COLOURS["z"], "va": "bottom", "ha": "right", **style}
                ax.text(x - 0.02, y + 0.2, f"{z[unit]:.3g}", **text)
            if delta is not None:
                text = {"color": _COLOURS["δ"], "va": "top", "ha": "center", **style}
                ax.text(x, y - 0.2, f"{delta[unit]:.2g}", **text)
        if len(units) < len(a):
            middle = places[len(units) // 2 - 1 : len(units) // 2 + 1].mean(axis=0)
            note = f"⋮ {len(a) - len(units)} more"
            ax.text(*middle, note, ha="center", va="center", color="0.4", **_TEXT)


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


def _names(names: Iterable[str], n: int, of: str) -> list[str]:
    """The names of n inputs or outputs, none of them too long to be drawn."""
    why = f"the network has {n} {of}"
    return [short(name) for name in check_names(names, n, f"{of[:-1]}_names", why)]
