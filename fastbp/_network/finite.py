"""Parameters that are written to a file, or read from one, must not hold NaN or infinity."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .layers import Layer


def first_non_finite(array: np.ndarray) -> tuple[int, ...] | None:
    """Index of the first NaN or infinity, or None."""
    finite = np.isfinite(array)
    return None if finite.all() else tuple(np.argwhere(~finite)[0].tolist())


def first_lost(layers: Iterable[Layer]) -> tuple[int, str, tuple[int, ...], float] | None:
    """The layer, name, index and value of the first NaN or infinity in the parameters, or None."""
    for i, layer in enumerate(layers):
        for name, view in layer.parameters().items():
            index = first_non_finite(view)
            if index is not None:
                return i, name, index, float(view[index])
    return None


def check_finite_parameters(layers: Iterable[Layer], why: str) -> None:
    """Raise ValueError for a parameter that is not finite; `why` says why it has to be.

    >>> import fastbp
    >>> check_finite_parameters(fastbp.Network((2, 1)).layers, "it is to be saved")
    """
    lost = first_lost(layers)
    if lost is not None:
        i, name, index, value = lost
        raise ValueError(
            f"layers.{i}.{name} holds {value} at {list(index)}, which is not finite; {why}"
        )
