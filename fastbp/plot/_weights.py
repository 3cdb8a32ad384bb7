"""The weights of a layer."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, sqrt
from typing import Any, Self

import numpy as np

from .._checks.arguments import check_layer
from .._checks.columns import check_names
from .._checks.numbers import as_array
from .._pyplot import axes_or_new, grid_of_axes, short, whole_numbers
from .._types import Array

_MOST_NAMES = 30  # that fit on the axis of the picture
_MOST_CHARACTERS = 55  # of names side by side on it


class WeightsDisplay:
    """The weights of a layer as one matrix, or as one picture for each unit.

    Inputs and units count from 1 on the axes of a matrix: unit k has the weights W[:, k - 1]. If
    the inputs have names, these stand on the axis instead; of more than 30 inputs, only some are
    named. The colours range from −max|W| to max|W|, and 0 is white.

    Parameters
    ----------
    W : array-like of shape (n_in, n_out)
        The weights.
    shape : (int, int), optional
        Height and width of a picture of the n_in inputs. Without it, W is drawn as a matrix.
    units : int, default 25
        The maximum number of pictures; those of the first units are drawn.
    layer : int, optional
        The number of the layer, from 1, for the title.
    input_names : iterable of str, optional
        Names of the n_in inputs, for the axis of a matrix; `from_network` takes those of
        `net.feature_names` for layer 1.

    Attributes
    ----------
    ax_
        The axes, or an array of axes; set by `plot`.
    figure_
        The figure; set by `plot`.

    Raises
    ------
    ValueError
        The product of `shape` or the number of names is not n_in.
    """

    def __init__(
        self,
        W: Array,
        *,
        shape: tuple[int, int] | None = None,
        units: int = 25,
        layer: int | None = None,
        input_names: Iterable[str] | None = None,
    ) -> None:
        self.W = as_array(W, "W").astype(float)
        if shape is not None and shape[0] * shape[1] != len(self.W):
            raise ValueError(
                f"shape must have {len(self.W)} elements, one per weight of a unit; "
                f"{shape[0]} × {shape[1]} is {shape[0] * shape[1]}"
            )
        self.shape = shape
        self.units = min(units, self.W.shape[1])
        self.layer = layer
        self.input_names: tuple[str, ...] | None = None
        if input_names is not None:
            why = f"W has the weights of {len(self.W)} inputs"
            self.input_names = check_names(input_names, len(self.W), "input_names", why)

    @classmethod
    def from_network(
        cls,
        net: Any,
        layer: int = 1,
        *,
        shape: tuple[int, int] | None = None,
        units: int = 25,
        input_names: Iterable[str] | None = None,
        ax: Any = None,
    ) -> Self:
        """Draw the weights of a layer of a network.

        Parameters
        ----------
        net : Network
            The network.
        layer : int, default 1
            l, from 1 to L: the layer whose W is `net.layers[l - 1].W`.
        shape, units
            As for `WeightsDisplay`.
        input_names : iterable of str, optional
            Names of the inputs of the layer. By default those of `net.feature_names` for layer 1.
        ax : matplotlib.axes.Axes, optional
            Where to draw a matrix; by default on a new figure.

        Returns
        -------
        WeightsDisplay
            The picture.

        Raises
        ------
        TypeError, ValueError
            The network has no such layer, or `shape` or the names do not fit.
        """
        l = check_layer(layer, len(net.layers), "layer")
        if input_names is None and l == 1:
            input_names = net.feature_names
        W = net.layers[l - 1].W
        return cls(W, shape=shape, units=units, layer=l, input_names=input_names).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw a matrix on `ax`, by default on a new figure, or the pictures on a new figure."""
        title = "" if self.layer is None else f"W of layer {self.layer}"
        if self.shape is None:
            self.ax_ = axes_or_new(ax, figsize=(6.4, 4.8))
            self.figure_ = self.ax_.figure
            n_in, n_out = self.W.shape
            image = self._image(self.ax_, self.W.T, extent=(0.5, n_in + 0.5, n_out + 0.5, 0.5))
            self.ax_.set(xlabel="input", ylabel="unit", aspect="auto", title=title)
            whole_numbers(self.ax_.xaxis, self.ax_.yaxis)
            self._name_inputs()
            self.figure_.colorbar(image, ax=self.ax_, label="weight")
            return self
        columns = ceil(sqrt(self.units))
        rows = ceil(self.units / columns)
        self.ax_ = grid_of_axes(rows, columns, figsize=(1.1 * columns + 0.8, 1.1 * rows))
        self.figure_ = self.ax_[0, 0].figure
        self.figure_.suptitle(title)
        for unit, each in enumerate(self.ax_.flat):
            each.set_axis_off()
            if unit < self.units:
                image = self._image(each, self.W[:, unit].reshape(self.shape))
        self.figure_.colorbar(image, ax=self.ax_, label="weight")
        return self

    def _name_inputs(self) -> None:
        """Put the names of the inputs, if they have some, on the axis of a matrix."""
        if self.input_names is None:
            return
        step = ceil(len(self.W) / _MOST_NAMES)
        names = [short(name) for name in self.input_names[::step]]
        crowded = len(names) * max(map(len, names)) > _MOST_CHARACTERS
        self.ax_.set_xticks(
            range(1, len(self.W) + 1, step), names, rotation=90 if crowded else 0, parse_math=False
        )

    def _image(self, ax: Any, values: Array, **options: Any) -> Any:
        largest = float(np.nanmax(np.abs(self.W))) or 1.0
        limits = {"vmin": -largest, "vmax": largest}
        return ax.imshow(values, cmap="RdBu_r", interpolation="nearest", **limits, **options)
