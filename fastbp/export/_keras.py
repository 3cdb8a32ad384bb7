"""Keras: the list of weights that get_weights returns and set_weights takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._checks.numbers import as_array
from .._network.finite import check_finite_parameters
from .._network.network import Network
from .._types import Array
from ._estimators import Exportable, network_of
from ._folded import folded
from ._pairing import LOGITS, paired


def to_keras_weights(net: Exportable) -> list[Array]:
    """Return copies of [W, b, …] of each layer, for `model.set_weights` of a Keras model.

    A layer with a norm has W, b, gain, shift, as Dense followed by LayerNormalization or
    RMSNormalization. The trained constants of an activation come last, as in Dense followed by
    PReLU, or by a layer of your own for a formula. A scale of the inputs is part of W. Of a fitted
    estimator of `fastbp.sklearn`, they are those of `network_`. Raises ValueError if it is not
    fitted or a parameter is not finite.

    >>> import fastbp
    >>> [w.shape for w in fastbp.export.to_keras_weights(fastbp.Network((2, 3, 1)))]
    [(2, 3), (3,), (3, 1), (1,)]
    """
    layers = network_of(net, "to_keras_weights").layers
    check_finite_parameters(layers, "Keras takes finite weights only")
    return [np.array(view) for layer in layers for view in folded(layer).values()]


def from_keras_weights(weights: Sequence[object], **network: Any) -> Network:
    """Make a network with the weights of the Dense layers of a Keras model.

    Parameters
    ----------
    weights : sequence of arrays
        The weights [W, b, W, b, …]. Trained constants of the activation of a layer, such as alpha
        of "prelu", follow its b.
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
    net = from_pairs([array for group in groups for array in group[:2]], network)
    for place, (layer, (_, _, *rest)) in enumerate(zip(net.layers, groups, strict=True), 1):
        if len(rest) != len(layer.constants):
            raise ValueError(
                f"layer {place} must have {', '.join(layer.parameters())}, in this order, for the "
                f"activation {layer.activation}; got {2 + len(rest)} arrays"
            )
        layer.constants = dict(zip(layer.constants, rest, strict=True))
    return finite(net)


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
