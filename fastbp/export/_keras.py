"""Keras: the list of weights that get_weights returns and set_weights takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .._checks.numbers import as_array
from .._network.dense import Dense, Norm
from .._network.finite import check_finite_parameters
from .._network.network import Network
from .._types import Array
from ._estimators import Exportable, network_of
from ._folded import folded, refuse_embedding
from ._pairing import LOGITS, paired

if TYPE_CHECKING:
    from .._network.layers import Layer

_KERAS_NORM = "batch(0.001, momentum=0.01)"
_OF_BATCH_NORM = 4  # gamma, beta, moving mean, moving variance


def to_keras_weights(net: Exportable) -> list[Array]:
    """Return copies of [W, b, …] of each layer, for `model.set_weights` of a Keras model.

    A layer with a norm has W, b, gain, shift, as Dense followed by LayerNormalization or
    RMSNormalization; one with batch norm also its running mean and variance, as Dense followed by
    BatchNormalization. The trained constants of an activation come last, as in Dense followed by
    PReLU, or by a layer of your own for a formula. A scale of the inputs is part of W. Of a fitted
    estimator of `fastbp.sklearn`, they are those of `network_`. Raises ValueError if it is not
    fitted or a parameter is not finite.

    >>> import fastbp
    >>> [w.shape for w in fastbp.export.to_keras_weights(fastbp.Network((2, 3, 1)))]
    [(2, 3), (3,), (3, 1), (1,)]
    """
    layers = network_of(net, "to_keras_weights").layers
    check_finite_parameters(layers, "Keras takes finite weights only")
    refuse_embedding(layers, "weights of Keras layers")
    return [np.array(view) for layer in layers for view in folded(layer).values()]


def from_keras_weights(
    weights: Sequence[object], *, batch_norm: str | Norm = _KERAS_NORM, **network: Any
) -> Network:
    """Make a network with the weights of the Dense layers of a Keras model.

    A BatchNormalization between a Dense and its activation becomes the norm of its layer. Keras
    lists the same weights for one that follows the activation, which no layer of fastbp computes.

    Parameters
    ----------
    weights : sequence of arrays
        The weights [W, b, W, b, …]. After W and b come gamma, beta, the moving mean and variance of
        a layer with BatchNormalization, where b may be left out (use_bias=False). Trained constants
        of the activation of a layer, such as alpha of "prelu", come last.
    batch_norm : str or Norm, default "batch(0.001, momentum=0.01)"
        The norm of layers with those four, with the epsilon of the Keras layers and 1 minus their
        momentum, which the weights do not tell. The default is that of Keras.
    **network
        Arguments of `fastbp.Network` other than `widths`, such as `activation`, `output` and
        `loss`. By default, `dtype` is that of the weights, and `output` the activation that the
        loss pairs with, such as softmax for "cross_entropy", or "identity".

    Returns
    -------
    Network
        The network.

    Raises
    ------
    ValueError
        The shapes do not match each other or the activations, or a weight is not finite.

    Examples
    --------
    >>> import fastbp
    >>> net = fastbp.Network((2, 3, 1), seed=0)
    >>> again = fastbp.export.from_keras_weights(fastbp.export.to_keras_weights(net))
    >>> bool((again.theta == net.theta).all())
    True
    """
    groups: list[list[Array]] = []
    for array in (as_array(w, "weights") for w in weights):
        if array.ndim == 2 or not groups:
            groups.append([])
        groups[-1].append(array)
    norm = Dense(1, norm=batch_norm).norm
    if norm is None or not norm.by_batch:
        raise ValueError(f"batch_norm must be a norm such as 'batch(1e-3)'; got {batch_norm!r}")
    net = from_pairs([array for group in groups for array in _pair(group)], network)
    layers = [
        _dense_of(place, layer, group, norm)
        for place, (layer, group) in enumerate(zip(net.layers, groups, strict=True), 1)
    ]
    if any(layer.norm is not None for layer in layers):
        more = {name: network[name] for name in ("seed", "matmul_precision") if name in network}
        options: dict[str, Any] = {"dtype": net.dtype, "l1": net.l1, "l2": net.l2}
        net = Network.from_layers(net.widths[0], layers, loss=net.criterion, **options | more)
    for layer, group in zip(net.layers, groups, strict=True):
        for view, array in zip(layer.parameters().values(), group, strict=True):
            if view.shape != array.shape:
                raise ValueError(
                    f"{', '.join(layer.parameters())} of a layer with {layer.W.shape[1]} units "
                    f"must have {view.shape} numbers each; got {array.shape}"
                )
            view[...] = array
    return finite(net)


def _pair(group: list[Array]) -> list[Array]:
    """W and b of a layer; zeros for a b that a batch norm of four vectors replaces."""
    if len(group) == 1 + _OF_BATCH_NORM:
        return [group[0], np.zeros_like(group[1])]
    return group[:2]


def _dense_of(place: int, layer: Layer, group: list[Array], norm: Norm) -> Dense:
    """The layer that has as many arrays: plain, or with batch norm, with or without b."""
    constants = len(layer.constants)
    for bias, normed in ((True, None), (True, norm), (False, norm)):
        if len(group) == 1 + bias + (0 if normed is None else _OF_BATCH_NORM) + constants:
            return replace(layer.dense, bias=bias, norm=normed)
    raise ValueError(
        f"layer {place} must have {', '.join(layer.parameters())}, in this order, for the "
        f"activation {layer.activation}, or gamma, beta, mean and variance after b as well; "
        f"got {len(group)} arrays"
    )


def from_pairs(arrays: Sequence[Array], network: dict[str, Any]) -> Network:
    """Make a network of W (n_in, n_out), b (n_out,), W, b, …."""
    if len(arrays) == 0 or len(arrays) % 2:
        raise ValueError(f"expected pairs of weights and biases; got {len(arrays)} arrays")
    widths: list[int] = []
    for place, (W, b) in enumerate(zip(arrays[::2], arrays[1::2], strict=True), 1):
        if W.ndim != 2 or b.shape != W.shape[1:] or (widths and len(W) != widths[-1]):
            below = f", with {widths[-1]} units below" if widths else ""
            raise ValueError(
                f"layer {place} must have weights (n_in, n_out) and biases (n_out,){below}; "
                f"got {W.shape} and {b.shape}, in the order (in, out)"
            )
        widths = [*(widths or [len(W)]), W.shape[1]]
    given = network.get("loss", "squared_error"), network.get("output")
    loss, output = paired(*given, LOGITS, widths[-1])
    wide = any(array.dtype == np.float64 for array in arrays)
    options = {"dtype": "float64" if wide else "float32", "init": "zeros"} | network
    net = Network(widths, **options | {"loss": loss, "output": output})
    for layer, W, b in zip(net.layers, arrays[::2], arrays[1::2], strict=True):
        layer.W, layer.b = W, b
    return finite(net)


def finite(net: Network) -> Network:
    """Return the network; ValueError if one of its parameters is not finite."""
    check_finite_parameters(net.layers, "a network takes finite weights only")
    return net
