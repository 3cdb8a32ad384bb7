"""Axes of matplotlib, which is imported when something is drawn."""

from __future__ import annotations

from typing import Any

_LONGEST = 24  # characters of a name


def pyplot() -> Any:
    """Import matplotlib.pyplot; the ImportError says how to install it."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError('pictures need matplotlib: run pip install "fastbp[plot]"') from error
    return pyplot


def axes_or_new(ax: Any, **size: Any) -> Any:
    """Return `ax`, or the axes of a new figure if it is None."""
    return pyplot().subplots(layout="constrained", **size)[1] if ax is None else ax


def grid_of_axes(rows: int, columns: int, **options: Any) -> Any:
    """Return the axes of a new figure, an array of shape (rows, columns)."""
    return pyplot().subplots(rows, columns, squeeze=False, layout="constrained", **options)[1]


def short(name: str) -> str:
    """Return a name, cut if it is too long to be drawn.

    >>> short("a name of a column, with its unit in brackets")
    'a name of a column, wit…'
    """
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def whole_numbers(*axes: Any) -> None:
    """Put ticks at whole numbers only, on each axis such as `ax.xaxis`, however short it is."""
    from matplotlib.ticker import MaxNLocator

    for axis in axes:
        axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
