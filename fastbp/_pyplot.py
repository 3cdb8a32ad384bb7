"""Where a picture goes, and matplotlib itself, imported on use."""

from __future__ import annotations

from typing import Any


def pyplot() -> Any:
    """matplotlib.pyplot; ImportError with the command to run where it is missing."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError('pictures need matplotlib: run pip install "fastbp[plot]"') from error
    return pyplot


def axes_or_new(ax: Any, **size: Any) -> Any:
    """ax, or the axes of a new figure."""
    return pyplot().subplots(layout="constrained", **size)[1] if ax is None else ax


def grid_of_axes(rows: int, columns: int, **options: Any) -> Any:
    """A new figure's axes, always (rows, columns)."""
    return pyplot().subplots(rows, columns, squeeze=False, layout="constrained", **options)[1]
