"""W of a layer."""

from __future__ import annotations

from math import ceil, sqrt
from typing import Any, Self

import numpy as np

from .._checks.numbers import as_array
from .._pyplot import axes_or_new, grid_of_axes
from .._types import Array


class WeightsDisplay:
    """W (n_in, n_out): one matrix, or, with `shape`, a picture of each unit's incoming weights.

    W: the weights. shape: (height, width) of the inputs as a picture, their product n_in; the
    `units` drawn then are the first that many. Colours are the same from −max|W| to max|W|, 0
    white. Attributes after `plot`: `ax_` (axes, or an array of them), `figure_`.
    Raises ValueError for a shape that does not hold n_in weights.
    """

    def __init__(self, W: Array, *, shape: tuple[int, int] | None = None, units: int = 25) -> None:
        self.W = as_array(W, "W").astype(float)
        if shape is not None and shape[0] * shape[1] != len(self.W):
            raise ValueError(
                f"shape must hold the {len(self.W)} weights of a unit; "
                f"{shape[0]} × {shape[1]} is {shape[0] * shape[1]}"
            )
        self.shape = shape
        self.units = min(units, self.W.shape[1])

    @classmethod
    def from_network(
        cls,
        net: Any,
        layer: int = 0,
        *,
        shape: tuple[int, int] | None = None,
        units: int = 25,
        ax: Any = None,
    ) -> Self:
        """Draw W of net.layers[layer]. Raises IndexError where there is no such layer."""
        return cls(net.layers[layer].W, shape=shape, units=units).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw on ax, or on a new figure; pictures always go on a new one."""
        if self.shape is None:
            self.ax_ = axes_or_new(ax, figsize=(6.4, 4.8))
            self.figure_ = self.ax_.figure
            image = self._image(self.ax_, self.W.T)
            self.ax_.set(xlabel="input", ylabel="unit", aspect="auto")
            self.figure_.colorbar(image, ax=self.ax_, label="weight")
            return self
        columns = ceil(sqrt(self.units))
        rows = ceil(self.units / columns)
        self.ax_ = grid_of_axes(rows, columns, figsize=(1.1 * columns + 0.8, 1.1 * rows))
        self.figure_ = self.ax_[0, 0].figure
        for unit, each in enumerate(self.ax_.flat):
            each.set_axis_off()
            if unit < self.units:
                image = self._image(each, self.W[:, unit].reshape(self.shape))
        self.figure_.colorbar(image, ax=self.ax_, label="weight")
        return self

    def _image(self, ax: Any, values: Array) -> Any:
        most = float(np.nanmax(np.abs(self.W))) or 1.0
        return ax.imshow(values, cmap="RdBu_r", vmin=-most, vmax=most, interpolation="nearest")
