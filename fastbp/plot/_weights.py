"""The weights of a layer."""

from __future__ import annotations

from math import ceil, sqrt
from typing import Any, Self

import numpy as np

from .._checks.arguments import check_layer
from .._checks.numbers import as_array
from .._pyplot import axes_or_new, grid_of_axes, whole_numbers
from .._types import Array


class WeightsDisplay:
    """The weights of a layer as one matrix, or as one picture for each unit.

    Inputs and units count from 1 on the axes of a matrix: unit k has the weights W[:, k - 1]. The
    colours range from −max|W| to max|W|, and 0 is white.

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

    Attributes
    ----------
    ax_
        The axes, or an array of axes; set by `plot`.
    figure_
        The figure; set by `plot`.

    Raises
    ------
    ValueError
        The product of `shape` is not n_in.
    """

    def __init__(
        self,
        W: Array,
        *,
        shape: tuple[int, int] | None = None,
        units: int = 25,
        layer: int | None = None,
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

    @classmethod
    def from_network(
        cls,
        net: Any,
        layer: int = 1,
        *,
        shape: tuple[int, int] | None = None,
        units: int = 25,
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
        ax : matplotlib.axes.Axes, optional
            Where to draw a matrix; by default on a new figure.

        Returns
        -------
        WeightsDisplay
            The picture.

        Raises
        ------
        TypeError, ValueError
            The network has no such layer, or `shape` does not fit.
        """
        l = check_layer(layer, len(net.layers), "layer")
        return cls(net.layers[l - 1].W, shape=shape, units=units, layer=l).plot(ax=ax)

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

    def _image(self, ax: Any, values: Array, **options: Any) -> Any:
        largest = float(np.nanmax(np.abs(self.W))) or 1.0
        limits = {"vmin": -largest, "vmax": largest}
        return ax.imshow(values, cmap="RdBu_r", interpolation="nearest", **limits, **options)
