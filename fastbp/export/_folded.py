"""Layers without the options that their weights can have in themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .._types import Array

if TYPE_CHECKING:
    from .._network.layers import Layer


def weights(layer: Layer) -> Array:
    """W, with the scale of the inputs in it: the engine computes u (scale ⊙ W), too."""
    return layer.W if layer.scale is None else layer.scale[:, None] * layer.W


def refuse_embedding(layers: Iterable[Layer], what: str) -> None:
    """Raise ValueError if the first layer embeds inputs, which the software cannot hold."""
    for layer in layers:
        if layer.dense.embeds:
            raise ValueError(
                f"{what} cannot hold an embedding of inputs, which the first layer has: export to "
                "ONNX or C, or train without it"
            )


def folded(layer: Layer) -> dict[str, Array]:
    """The parameters of the layer, where W has the scale in it."""
    found = layer.parameters() | {"W": weights(layer)}
    if layer.scale is not None:
        del found["scale"]
    return found


def scale_and_shift(mean: Array, var: Array, eps: float) -> tuple[Array, Array]:
    """r = 1/√(var + eps) and −mean r, float64: x̂ = r z − mean r.

    Ioffe & Szegedy, "Batch Normalization", ICML 2015, algorithm 2.
    """
    scale = 1 / np.sqrt(var.astype(np.float64) + eps)
    return scale, -mean.astype(np.float64) * scale


def fold(parameters: Mapping[str, Array], eps: float, dtype: Any) -> dict[str, Array]:
    """W and b of one layer with its batch norm in them, rounded once; other entries stay."""
    scale, shift = scale_and_shift(parameters["running_mean"], parameters["running_var"], eps)
    scale, shift = scale * parameters["gain"], shift * parameters["gain"] + parameters["shift"]
    own = {
        "W": (parameters["W"] * scale).astype(dtype),
        "b": (parameters.get("b", 0.0) * scale + shift).astype(dtype),
    }
    gone = ("W", "b", "gain", "shift", "running_mean", "running_var")
    return own | {name: value for name, value in parameters.items() if name not in gone}


def exported(layer: Layer) -> dict[str, Array]:
    """The parameters of a layer for a program that predicts: without scale and batch norm.

    >>> import numpy as np
    >>> from fastbp import Dense, Network
    >>> layer = Network.from_layers(1, [Dense(1, norm="batch"), Dense(1)], seed=0).layers[0]
    >>> layer.W, layer.running_mean, layer.running_var, layer.gain = [[2.0]], [3.0], [4.0], [8.0]
    >>> {name: float(np.round(value.item(), 3)) for name, value in exported(layer).items()}
    {'W': 8.0, 'b': -12.0}
    """
    norm, parameters = layer.dense.norm, folded(layer)
    if norm is None or not norm.by_batch:
        return parameters
    return fold(parameters, norm.eps or 0.0, layer.W.dtype)
