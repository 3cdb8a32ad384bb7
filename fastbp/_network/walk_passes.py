"""Runs one sample forward and back, and collects the numbers of a `Walk`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from .._checks.numbers import as_array
from .._precision import HIGHEST
from .._training.class_weight import weight_sum
from .._types import Array, Rows
from ..losses import Loss
from .architecture import Architecture
from .backend import Backend
from .dense import Dense
from .walk import LayerWalk, Walk, norm_numbers


def as_sample(x: object, n_in: int) -> Array:
    """A sample as a row (1, n_in). Raises ValueError for anything but one sample."""
    row = as_array(x, "x")
    if row.shape not in ((n_in,), (1, n_in)):
        raise ValueError(
            f"x must be one sample, of shape ({n_in},), such as X[0]; got shape {row.shape}"
        )
    return row.reshape(1, n_in)


def as_target(y: object, criterion: Loss) -> Array:
    """The target of one sample as targets of one row. Raises ValueError for a loss of pairs."""
    if criterion.group > 1:
        raise ValueError(
            f"a walk shows one sample, and {criterion.name} compares two: use forward and backward"
        )
    target = as_array(y, "y")
    if target.ndim == 0 or (criterion.labels and target.shape == (1,)):
        return target.reshape(1)
    return target.reshape(1, -1) if target.ndim == 1 else target


@np.errstate(over="ignore", invalid="ignore")
def walk(
    backend: type[Backend],
    net: Architecture,
    theta: Array,
    X: Rows,
    y: Array,
    kind: str,
) -> Walk:
    """Run a checked sample forward and back, with a backend of its own."""
    grad = np.zeros_like(theta)
    own = backend(net)
    passed = [(z[0].copy(), a[0].copy()) for z, a in own.forward(theta, X)]
    J = own.backward(y, None, grad)
    ones = [np.ones_like(z)[None] for z, _ in passed]
    slopes = [
        own.pull_back(l, ones[l - 1])[0] if _by_element(dense) else None
        for l, dense in enumerate(net.dense, 1)
    ]
    deltas = [own.delta(l)[0].copy() for l in range(1, len(passed) + 1)]
    parameters, gradients = net.blocks(theta.copy()), net.blocks(grad)
    slope_of_loss = _slope_of_loss(backend, net, passed[-1][1], y)
    g = _slopes_of_outputs(net, parameters, deltas, slope_of_loss)
    x = np.asarray(X)[0].astype(theta.dtype)
    layers, u = [], x
    for l, dense in enumerate(net.dense, 1):
        z, a = passed[l - 1]
        n = _normed(dense, z, parameters[l - 1])
        each = (u, z, n, a, g[l - 1], slopes[l - 1], deltas[l - 1])
        blocks = (parameters[l - 1], gradients[l - 1])
        layers.append(LayerWalk(l, dense, *each, *blocks))
        u = a
    _freeze([x, *(array for layer in layers for array in _arrays(layer))])
    unpenalised = replace(net, l1=0.0, l2=0.0)
    return Walk(
        x=x,
        y=int(y[0]) if y.ndim == 1 else y[0].copy(),
        layers=tuple(layers),
        loss=J if net == unpenalised else backend(unpenalised).cost(theta, X, y, None),
        J=J,
        criterion=net.criterion,
        weight=float(weight_sum(net.criterion, y, np.ones(1))),
        l1=net.l1,
        l2=net.l2,
        kind=kind,
    )


def _freeze(arrays: list[Array | None]) -> None:
    """Make arrays read-only."""
    for array in arrays:
        if array is not None:
            array.setflags(write=False)


def _arrays(layer: LayerWalk) -> list[Array | None]:
    named = [*layer.parameters.values(), *layer.gradients.values()]
    return [layer.z, layer.n, layer.a, layer.g, layer.slope, layer.delta, *named]


def _by_element(dense: Dense) -> bool:
    """Whether δ = g ⊙ σ'(z), unit by unit."""
    return dense.norm is None and not dense.activation.entry.output_only


def _normed(dense: Dense, z: Array, parameters: Mapping[str, Array]) -> Array | None:
    """norm(z) with gain and shift; docs/layers.md has the formula."""
    if dense.norm is None:
        return None
    mean, r = norm_numbers(dense, z, parameters)
    n: Array = (z - mean) * r * parameters["gain"]
    return (n + parameters["shift"] if dense.norm.shifts else n).astype(z.dtype)


def _slope_of_loss(backend: type[Backend], net: Architecture, a: Array, y: Array) -> Array | None:
    """∂J_i/∂a^L; None for a loss that is paired with the output activation.

    It is δ of a layer that passes a on: W is the identity matrix, and so is σ.
    """
    if net.criterion.pairs_with(net.dense[-1].activation):
        return None
    n = len(a)
    layer = Dense(n, "identity", bias=False)
    plain = replace(
        net,
        widths=(n, n),
        dense=(layer,),
        l1=0.0,
        l2=0.0,
        input_dropout=0.0,
        matmul_precision=HIGHEST,
    )
    own = backend(plain)
    own.forward(np.eye(n, dtype=net.dtype).ravel(), a[None])
    own.output_delta(y, None)
    slope: Array = own.delta(1)[0].copy()
    return slope


def _slopes_of_outputs(
    net: Architecture,
    parameters: list[dict[str, Array]],
    deltas: list[Array],
    slope_of_loss: Array | None,
) -> list[Array | None]:
    """∂J_i/∂a^l of every layer: δ^{l+1} W^{l+1}ᵀ, plus ∂J_i/∂a^{l+1} around a residual layer."""
    found: list[Array | None] = [slope_of_loss]
    for l in range(len(deltas) - 1, 0, -1):
        g, above = deltas[l] @ parameters[l]["W"].T, found[0]
        if net.dense[l].scale:
            g = g * parameters[l]["scale"]
        if net.dense[l].residual and above is not None:
            g = g + above
        found.insert(0, g)
    return found
