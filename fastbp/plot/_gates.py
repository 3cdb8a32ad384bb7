"""A trace of gates, drawn with matplotlib."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from .._pyplot import axes_or_new, pyplot

if TYPE_CHECKING:
    from .._page.layout import Layout, Place
    from .._page.picture import Box, Picture

_PER_INCH = 90.0  # pixels of the layout


class GateDisplay:
    """A graph of gates with the numbers of a trace.

    Values are green and stand above the wires; gradients are red and stand below them. Below each
    gate is its name; numbers in a formula stand in the gate that uses them. `Trace.to_html` makes a
    page of the same picture, in which one can go step by step.

    Parameters
    ----------
    picture : object
        The picture of a trace, which `from_trace` makes.

    Attributes
    ----------
    ax_, figure_
        The axes and the figure; set by `plot`.

    Examples
    --------
    >>> import fastbp
    >>> x, y, z = fastbp.gates.inputs("x", "y", "z")
    >>> trace = ((x + y) * z).trace(x=-2, y=5, z=-4)
    >>> display = fastbp.plot.GateDisplay.from_trace(trace)  # doctest: +SKIP
    """

    def __init__(self, picture: Picture) -> None:
        self.picture = picture

    @classmethod
    def from_trace(cls, trace: Any, *, ax: Any = None) -> Self:
        """Draw the gates of a trace, with their values and gradients.

        Parameters
        ----------
        trace : Trace
            What `gate.trace(…)` returns.
        ax : matplotlib.axes.Axes, optional
            Where to draw; by default on a new figure.

        Returns
        -------
        GateDisplay
            The picture.

        Raises
        ------
        ValueError
            The graph has more gates than a picture can show.
        """
        from ..gates._picture import picture, traced

        return cls(picture(traced(trace))).plot(ax=ax)

    def plot(self, ax: Any = None) -> Self:
        """Draw on `ax`, by default on a new figure."""
        from .._page.layout import layout

        places = layout(self.picture)
        size = (places.width / _PER_INCH, places.height / _PER_INCH)
        self.ax_ = ax = axes_or_new(ax, figsize=size)
        self.figure_ = ax.figure
        self._wires(ax, places)
        used = {wire.start for wire in self.picture.wires}
        for number, (box, place) in enumerate(zip(self.picture.boxes, places.places, strict=True)):
            _box(ax, box, place)
            if number not in used:
                start, end = (place.x + place.width, place.middle), (place.end + 12, place.middle)
                style = {"arrowstyle": "->", "color": "0.5", "shrinkA": 0, "shrinkB": 0}
                ax.annotate("", end, start, arrowprops=style)
        ax.set(xlim=(0, places.width), ylim=(places.height, 0), aspect="equal")
        ax.set_axis_off()
        return self

    def _wires(self, ax: Any, places: Layout) -> None:
        pyplot()
        from matplotlib.patches import PathPatch
        from matplotlib.path import Path

        for start, curves in places.paths:
            points = [start, *(point for curve in curves for point in curve)]
            codes = [Path.MOVETO, *[Path.CURVE4] * (len(points) - 1)]
            ax.add_patch(PathPatch(Path(points, codes), fill=False, edgecolor="0.5", zorder=1))


def _box(ax: Any, box: Box, place: Place) -> None:
    from matplotlib.patches import FancyBboxPatch

    radius = place.height / 2 if box.kind == "input" else 7
    ax.add_patch(
        FancyBboxPatch(
            (place.x, place.y),
            place.width,
            place.height,
            boxstyle=f"round,pad=0,rounding_size={radius}",
            facecolor="white" if box.kind == "input" else "0.96",
            edgecolor="0.35",
            linestyle="--" if box.kind == "number" else "-",
            zorder=2,
        )
    )
    style = {"va": "center", "fontsize": 9, "zorder": 3, "parse_math": False}
    middle, right = place.x + place.width / 2, place.x + place.width + 7
    ax.text(middle, place.middle, box.symbol, ha="center", **style)
    if box.kind == "gate":
        small = {**style, "fontsize": 7.5, "color": "0.4"}
        ax.text(middle, place.y + place.height + 9, box.name, ha="center", **small)
    for mark, y, colour in ((box.value, -11, "tab:green"), (box.gradient, 11, "tab:red")):
        if mark is not None:
            ax.text(right, place.middle + y, mark.text, color=colour, weight="bold", **style)
