"""J as a pure function of theta: a forward pass that stores nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._checks import arguments as check
from .._network.architecture import Architecture
from .._network.base import NetworkBase
from .._precision import HIGHEST
from .._types import Array, Rows, SparseRows
from ._formulas import quiet, sample_losses
from ._layers import forward
from ._losses import mean_loss


def objective(
    net: NetworkBase, X: object, y: object, theta: Array | None = None, sample_weight: object = None
) -> np.number[Any]:
    """J of X and y at theta, as a NumPy scalar.

    Parameters
    ----------
    net : Network
        A `fastbp.reference.Network`.
    X, y, sample_weight
        As for `Network.loss`.
    theta : ndarray (n_params,) or None, default None
        The parameters, None for those of the network. They may be complex if no activation has a
        kink and none is gelu: Im J(theta + ih e_k)/h is then the derivative along k to full
        precision, the complex step of Squire & Trapp, SIAM Review 40, 1998.

    Raises
    ------
    TypeError, ValueError
        For arrays that do not fit, and for complex parameters of a network that rounds factors,
        whose J has no derivative.

    Examples
    --------
    >>> from fastbp.reference import Network
    >>> net = Network((1, 1)); float(objective(net, [[3.0]], [[2.0]], np.zeros(2)))
    2.0
    """
    rows = whole(net._inputs(X))
    targets = net._targets(y, len(rows))
    s = check.as_weights(sample_weight, len(rows), net.dtype)
    theta = net.theta if theta is None else theta
    if np.iscomplexobj(theta) and net.matmul_precision != HIGHEST:
        raise ValueError(
            f"a complex theta needs matmul_precision='highest'; got {net.matmul_precision!r}"
        )
    return cost(net._architecture, rows, targets, s, theta)[0]


@quiet
def cost(
    net: Architecture, X: Array, y: Array | None, sample_weight: Array | None, theta: Array
) -> tuple[np.number[Any], Array]:
    """(J, a^L) of checked arrays at theta."""
    s = np.ones(len(X), net.dtype) if sample_weight is None else sample_weight
    z, a = outputs(net, X, theta)
    J_i = sample_losses(net.criterion, net.dense[-1].activation, z, a, dense_targets(net, y))
    return mean_loss(net.criterion, y, s, J_i) + penalty(net, theta), a


@quiet
def outputs(net: Architecture, X: Array, theta: Array) -> tuple[Array, Array]:
    """(z^L, a^L) for the rows of X."""
    z = a = X
    for layer, parameters in zip(net.dense, net.blocks(theta), strict=True):
        trace = forward(layer, parameters, a, precision=net.matmul_precision)
        z, a = trace.z, trace.out
    return z, a


def penalty(net: Architecture, theta: Array) -> np.number[Any]:
    """l1‖W‖₁ + (l2/2)‖W‖² over all layers; biases are free. Analytic in complex W off zero."""
    total: np.number[Any] = np.float64(0)
    for parameters in net.blocks(theta):
        W = parameters["W"]
        W = W.astype(np.result_type(W, np.float64), copy=False)
        if net.l1 > 0:
            total = total + net.l1 * np.where(W.real < 0, -W, W).sum()
        if net.l2 > 0:
            total = total + net.l2 / 2 * (W * W).sum()
    return total


def dense_targets(net: Architecture, y: Array | None) -> Array | None:
    """Checked targets as rows (n, n_targets): class numbers (n,) become rows of 0 and 1."""
    return y if y is None or y.ndim > 1 else np.eye(net.widths[-1], dtype=net.dtype)[y]


def whole(X: Rows) -> Array:
    """The rows with all their elements, as `NumpyBackend.inputs` has made them."""
    return X.toarray() if isinstance(X, SparseRows) else X
