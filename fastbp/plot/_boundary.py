"""What a network of two inputs decides."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from .._checks.numbers import as_array
from .._pyplot import axes_or_new
from .._types import Array


class BoundaryDisplay:
    """Outputs over a rectangle of the plane, with samples on it.

    xs (k,), ys (m,): where the grid lies; response (m, k): the class, the probability of the
    second one, or the output. X (n, 2), y (n,): samples, or None. Attributes after `plot`:
    `ax_`, `figure_`, `surface_`.
    """

    def __init__(
        self,
        xs: Array,
        ys: Array,
        response: Array,
        *,
        classes: int = 0,
        X: Array | None = None,
        y: Array | None = None,
    ) -> None:
        self.xs, self.ys, self.response = xs, ys, response
        self.classes, self.X, self.y = classes, X, y

    @classmethod
    def from_network(
        cls,
        net: Any,
        X: object,
        y: object = None,
        *,
        resolution: int = 200,
        margin: float = 0.1,
        ax: Any = None,
    ) -> Self:
        """Draw what net, of two inputs, says around X (n, 2); y (n,) colours the samples.

        Several outputs are classes; one is a probability where it is a sigmoid, else a number.
        Raises ValueError for a network of other than two inputs.
        """
        if net.widths[0] != 2:
            raise ValueError(f"a plane has 2 inputs; the network has {net.widths[0]}")
        X = as_array(X, "X").astype(float)
        y = None if y is None else as_array(y, "y").reshape(len(X))
        low, high = X.min(axis=0), X.max(axis=0)
        room = margin * np.where(high > low, high - low, 1)
        xs, ys = (
            np.linspace(a, b, resolution) for a, b in zip(low - room, high + room, strict=True)
        )
        plane = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
        outputs = net.predict(plane)
        if outputs.shape[1] > 1:
            response, classes = outputs.argmax(axis=1), outputs.shape[1]
        else:
            response = outputs[:, 0]
            classes = 2 if net.activations[-1].entry.in_unit_interval else 0
        response = response.reshape(resolution, resolution)
        return cls(xs, ys, response, classes=classes, X=X, y=y).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw on ax, or on a new figure."""
        self.ax_ = ax = axes_or_new(ax, figsize=(5.6, 4.8))
        self.figure_ = ax.figure
        options: dict[str, Any] = {"cmap": "viridis"}
        if self.classes > 2:
            options = {"cmap": "tab10", "vmin": 0, "vmax": 9}
        elif self.classes == 2:
            options = {"cmap": "RdBu_r", "vmin": 0, "vmax": 1}
        extent = (self.xs[0], self.xs[-1], self.ys[0], self.ys[-1])
        self.surface_ = ax.imshow(
            self.response, origin="lower", extent=extent, aspect="auto", alpha=0.55, **options
        )
        if self.classes == 2 and self.response.min() < 0.5 < self.response.max():
            ax.contour(self.xs, self.ys, self.response, levels=[0.5], colors="k", linewidths=1)
        if self.classes <= 2:
            label = "probability" if self.classes == 2 else "output"
            self.figure_.colorbar(self.surface_, ax=ax, label=label)
        if self.X is not None:
            shades = {"color": "0.2"} if self.y is None else {"c": self.y, **options}
            ax.scatter(*self.X.T, s=18, edgecolors="k", linewidths=0.4, **shades)
        ax.set(xlabel="x₁", ylabel="x₂")
        return self
