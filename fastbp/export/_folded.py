"""Layers without the options that their weights can have in themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._network.layers import Layer
    from .._types import Array


def weights(layer: Layer) -> Array:
    """W, with the scale of the inputs in it: the engine computes u (scale ⊙ W), too."""
    return layer.W if layer.scale is None else layer.scale[:, None] * layer.W


def folded(layer: Layer) -> dict[str, Array]:
    """The parameters of the layer, where W has the scale in it."""
    found = layer.parameters() | {"W": weights(layer)}
    if layer.scale is not None:
        del found["scale"]
    return found
