"""The decision of a network with two inputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from .._checks.columns import column_names
from .._checks.numbers import as_array
from .._pyplot import axes_or_new
from .._types import Array


class BoundaryDisplay:
    """The outputs of a network over a rectangle of the plane, with samples.

    Parameters
    ----------
    xs : ndarray of shape (k,)
        The first coordinates of the grid.
    ys : ndarray of shape (m,)
        The second coordinates of the grid.
    response : ndarray of shape (m, k)
        At each point of the grid: the class, the probability of the second of two classes, or the
        output.
    classes : int, default 0
        The number of classes; 0 if `response` is an output.
    X : ndarray of shape (n, 2), optional
        Samples.
    y : ndarray of shape (n,), optional
        Their targets, which determine their colours.
    names : sequence of two str, optional
        The names of the two inputs, by default x₁ and x₂; `from_network` takes those of
        `net.feature_names` or of a frame X.

    Attributes
    ----------
    ax_, figure_, surface_
        The axes, the figure and the image of the response; set by `plot`.
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
        names: Sequence[str] | None = None,
    ) -> None:
        self.xs, self.ys, self.response = xs, ys, response
        self.classes, self.X, self.y = classes, X, y
        self.names = ("x₁", "x₂") if names is None else tuple(names)

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
        """Draw the outputs of a network around some samples.

        Several outputs are classes. A single output is a probability if its activation lies in
        (0, 1), as sigmoid does, and a number otherwise.

        Parameters
        ----------
        net : Network
            A network with two inputs.
        X : array-like of shape (n, 2)
            Samples.
        y : array-like of shape (n,), optional
            Their targets, which determine their colours.
        resolution : int, default 200
            The number of points of the grid along each axis.
        margin : float, default 0.1
            The margin around the samples, as a fraction of their range.
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default on a new figure.

        Returns
        -------
        BoundaryDisplay
            The picture.

        Raises
        ------
        ValueError
            The network does not have two inputs.
        """
        if net.widths[0] != 2:
            raise ValueError(f"expected a network with 2 inputs; got one with {net.widths[0]}")
        names = net.feature_names or column_names(X)
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
            classes = 2 if net.activations[-1].in_unit_interval else 0
        response = response.reshape(resolution, resolution)
        return cls(xs, ys, response, classes=classes, X=X, y=y, names=names).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw on `ax`, by default on a new figure."""
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
        ax.set_xlabel(self.names[0], parse_math=False)
        ax.set_ylabel(self.names[1], parse_math=False)
        return self
