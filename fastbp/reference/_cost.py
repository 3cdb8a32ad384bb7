"""J as a pure function of theta: a forward pass that stores nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._checks import arguments as check
from .._types import Array
from ._formulas import quiet, sample_losses
from ._layers import forward
from ._losses import mean_loss

if TYPE_CHECKING:
    from ._network import Network


def objective(
    net: Network, X: object, y: object, theta: Array | None = None, sample_weight: object = None
) -> np.number:
    """J of X and y at theta (the network's own if None), as a NumPy scalar.

    X, y and sample_weight as for `Network.loss`; theta (n_params,). theta may be complex where
    all activations are analytic (identity, sigmoid, tanh, softplus, softsign, exp, silu, gelu_tanh,
    mish, sin, softmax): Im J(theta + ih e_k)/h is then the derivative along k to full precision,
    the complex step of Squire & Trapp, SIAM Review 40, 1998. Raises TypeError or ValueError for
    arrays that do not fit.

    >>> from fastbp.reference import Network
    >>> net = Network((1, 1)); float(objective(net, [[3.0]], [[2.0]], np.zeros(2)))
    2.0
    """
    X = net._inputs(X)
    y = net._targets(y, len(X))
    s = check.as_weights(sample_weight, len(X), net.dtype)
    return cost(net, X, y, s, net.theta if theta is None else theta)[0]


@quiet
def cost(
    net: Network, X: Array, y: Array, sample_weight: Array | None, theta: Array
) -> tuple[np.number, Array]:
    """(J, a^L) of checked arrays at theta."""
    s = np.ones(len(X), net.dtype) if sample_weight is None else sample_weight
    z, a = outputs(net, X, theta)
    J_i = sample_losses(net.criterion, net.activations[-1], z, a, dense(net, y))
    return mean_loss(net.criterion, y, s, J_i) + penalty(net, theta), a


@quiet
def outputs(net: Network, X: Array, theta: Array) -> tuple[Array, Array]:
    """(z^L, a^L) for the rows of X."""
    out = X
    for dense_layer, blocks in zip(net.dense, net.blocks(theta), strict=True):
        trace = forward(dense_layer, blocks, out)
        out = trace.out
    return trace.z, out


def penalty(net: Network, theta: Array) -> np.number:
    """l1‖W‖₁ + (l2/2)‖W‖² over all layers; biases are free. Analytic in complex W off zero."""
    total = np.float64(0)
    for W, _ in net.unpack(theta):
        W = W.astype(np.result_type(W, np.float64), copy=False)
        if net.l1 > 0:
            total = total + net.l1 * np.where(W.real < 0, -W, W).sum()
        if net.l2 > 0:
            total = total + net.l2 / 2 * (W * W).sum()
    return total


def dense(net: Network, y: Array | None) -> Array | None:
    """Checked targets as rows (n, n_targets): class indices (n,) become rows of 0 and 1."""
    return y if y is None or y.ndim > 1 else np.eye(net.widths[-1], dtype=net.dtype)[y]
