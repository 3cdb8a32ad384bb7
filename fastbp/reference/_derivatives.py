"""Derivatives beyond the gradient of J; `_network.backend` says what each one is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from .._network.architecture import Architecture
from .._network.dense import STATISTICS, Dense
from .._training.class_weight import weight_sum
from .._types import Array
from ._cost import dense_targets
from ._curves import (
    Constants,
    curve,
    normalise_curve,
    normalise_push,
    output_curve,
    output_gradient,
    push,
)
from ._formulas import constants_of, output_slopes, pull_back, quiet
from ._layers import (
    Trace,
    backward,
    forward,
    of_constants,
    through,
    through_weights,
    weights,
    weights_along,
)
from ._losses import sample_weights


@dataclass
class Moved:
    """R{x} of what a `Trace` has, by the same names."""

    u: Array
    x: Array
    r: Array
    n: Array
    a: Array
    out: Array


class Derivatives:
    """The derivatives of the outputs and of J at theta, for checked rows X (n, n_0)."""

    def __init__(self, net: Architecture, theta: Array) -> None:
        self._net = net
        self._layers = list(zip(net.dense, net.blocks(theta), strict=True))
        self._output = net.dense[-1].activation

    def _traces(self, X: Array) -> list[Trace]:
        """The traces of a forward pass through every layer; nothing is dropped."""
        traces, u = [], X
        for layer, parameters in self._layers:
            traces.append(forward(layer, parameters, u))
            u = traces[-1].out
        return traces

    def _errors(self, traces: list[Trace], delta: Array) -> tuple[list[Array], list[Array]]:
        """(δ^1 … δ^L, ∂/∂a^0 … ∂/∂a^{L−1}) from δ^L."""
        deltas, slopes = [delta], list[Array]()
        for i in reversed(range(len(traces))):
            slopes.insert(0, through(*self._layers[i], traces[i], deltas[0]))
            if i > 0:
                delta = backward(*self._layers[i - 1], traces[i - 1], slopes[0])
                deltas.insert(0, delta)
        return deltas, slopes

    def _targets(self, y: Array | None) -> Array:
        """Rows of targets; None for a loss of pairs, whose formulas do not read them."""
        return cast(Array, dense_targets(self._net, y))

    def _passes(self, X: Array, y: Array | None) -> tuple[list[Trace], list[Array], list[Array]]:
        """(traces, δ^1 … δ^L, ∂J_i/∂a^0 … ∂J_i/∂a^L)."""
        traces, loss = self._traces(X), self._net.criterion
        top, targets = traces[-1], self._targets(y)
        delta, *top.dc = output_slopes(
            loss, self._output, top.z, top.a, targets, self._constants(-1)
        )
        deltas, slopes = self._errors(traces, delta)
        return traces, deltas, [*slopes, output_gradient(loss, top.z, top.a, targets)]

    def _constants(self, i: int) -> list[Array]:
        """The trained constants of a layer."""
        layer, parameters = self._layers[i]
        return constants_of(layer.activation, parameters)

    @quiet
    def vjp(self, X: Array, v: Array) -> Array:
        traces = self._traces(X)
        top = traces[-1]
        delta = pull_back(self._output, v, top.z, top.a, self._constants(-1))
        return self._errors(traces, delta)[1][0]

    def jacobian(self, X: Array) -> Array:
        rows = [self.vjp(X, np.tile(e, (len(X), 1))) for e in np.eye(self._net.widths[-1])]
        return np.stack(rows, axis=1).astype(self._net.dtype, copy=False)

    @quiet
    def sample_gradients(self, X: Array, y: Array | None) -> Array:
        traces, deltas, _ = self._passes(X, y)
        out = np.empty((len(X), self._net.n_params), self._net.dtype)
        for l, (trace, delta) in enumerate(zip(traces, deltas, strict=True)):
            layer, parameters = self._layers[l]
            of_W = trace.u[:, :, None] * delta[:, None, :]
            if layer.scale:
                of_W *= parameters["scale"][:, None]
            others = _other_gradients(layer, parameters, trace, delta)
            gradients = {"W": of_W, "b": delta, **others}
            for i, row in enumerate(out):
                for name, block in self._net.blocks(row)[l].items():
                    block[...] = gradients[name][i]
        return out

    @quiet
    def layer_norms(self, X: Array, y: Array | None) -> Array:
        traces, deltas, _ = self._passes(X, y)
        squares = []
        for (layer, parameters), trace, delta in zip(self._layers, traces, deltas, strict=True):
            u = trace.u * parameters["scale"] if layer.scale else trace.u
            ways_in = (u**2).sum(axis=1) + layer.bias
            square = (delta**2).sum(axis=1) * ways_in
            for name, gradient in _other_gradients(layer, parameters, trace, delta).items():
                if name in parameters:
                    square = square + (gradient**2).sum(axis=1)
            squares.append(square)
        norms: Array = np.sqrt(np.stack(squares, axis=1), dtype=np.float64)
        return norms

    def _tangents(self, traces: list[Trace], dX: Array | None, v: Array | None) -> list[Moved]:
        """How every trace moves as X does along dX and theta along v."""
        along = self._net.blocks(np.zeros(self._net.n_params, self._net.dtype) if v is None else v)
        ru, moved = np.zeros_like(traces[0].u) if dX is None else dX, list[Moved]()
        for (layer, parameters), trace, V in zip(self._layers, traces, along, strict=True):
            rz = (
                ru @ weights(layer, parameters)
                + trace.u @ weights_along(layer, parameters, V)
                + V.get("b", 0)
            )
            rn, rx, rr = rz, np.empty(0), np.empty(0)
            if layer.norm is not None:
                x, r = trace.normed()
                rx, rr = normalise_push(layer.norm, rz, x, r)
                rn = parameters["gain"] * rx + V["gain"] * x + V.get("shift", 0)
            constants = _moved_constants(layer, parameters, V)
            ra = push(layer.activation, rn, trace.n, trace.a, constants)
            moved.append(Moved(ru, rx, rr, rn, ra, ra + ru if layer.residual else ra))
            ru = moved[-1].out
        return moved

    @quiet
    def jvp(self, X: Array, dX: Array | None, dtheta: Array | None) -> Array:
        return self._tangents(self._traces(X), dX, dtheta)[-1].out

    @quiet
    def hvp(self, X: Array, y: Array | None, s: Array | None, v: Array) -> Array:
        net, loss = self._net, self._net.criterion
        traces, deltas, g = self._passes(X, y)
        moved = self._tangents(traces, None, v)
        s = np.ones(len(X), net.dtype) if s is None else s
        by = sample_weights(loss, s)[:, None] / weight_sum(loss, y, s)
        along, out, top, m = net.blocks(v), np.empty_like(v), traces[-1], moved[-1]
        targets = self._targets(y)
        constants = _moved_constants(*self._layers[-1], along[-1])
        rdn, *rdc = output_curve(
            loss, self._output, g[-1], top.z, top.a, targets, m.n, m.a, constants
        )
        rg = np.zeros_like(rdn)
        for i in reversed(range(len(traces))):
            (layer, parameters), trace, m, V = self._layers[i], traces[i], moved[i], along[i]
            r = _through_norm(layer, parameters, V, trace, m, rdn)
            sums = through_weights(
                layer, parameters, trace.u.T @ (by * r) + m.u.T @ (by * deltas[i])
            )
            if layer.scale:
                for name, each in through_weights(layer, V, trace.u.T @ (by * deltas[i])).items():
                    sums[name] += each
            sums["W"] += net.l2 * V["W"]
            sums["b"] = (by * r).sum(axis=0)
            if layer.norm is not None:
                sums["gain"] = (by * (rdn * trace.x + trace.dn * m.x)).sum(axis=0)
                sums["shift"] = (by * rdn).sum(axis=0)
                sums |= dict.fromkeys(STATISTICS, np.zeros_like(sums["shift"]))
            for name, each in of_constants(layer, rdc).items():
                sums[name] = (by * each).sum(axis=0)
            for name, block in net.blocks(out)[i].items():
                block[...] = sums[name]
            if i > 0:
                skipped = rg if layer.residual else 0
                along_W = weights_along(layer, parameters, V)
                rg = r @ weights(layer, parameters).T + deltas[i] @ along_W.T + skipped
                below, m = traces[i - 1], moved[i - 1]
                constants = _moved_constants(*self._layers[i - 1], along[i - 1])
                activation = self._layers[i - 1][0].activation
                rdn, *rdc = curve(activation, g[i], rg, below.n, below.a, m.n, m.a, constants)
        return out

    @quiet
    def relevance(self, X: Array, y: Array | None) -> list[Array]:
        traces, _, slopes = self._passes(X, y)
        activity = [X, *(trace.out for trace in traces)]
        return [a * slope for a, slope in zip(activity, slopes, strict=True)]


def _other_gradients(
    layer: Dense, parameters: dict[str, Array], trace: Trace, delta: Array
) -> dict[str, Array]:
    """∂J_i of gain and shift of a norm, (batch, n), 0 for statistics, of constants and scale."""
    of_norm = {} if trace.x is None else {"gain": trace.dn * trace.x, "shift": trace.dn}
    if trace.of is not None:
        of_norm |= dict.fromkeys(STATISTICS, np.zeros_like(trace.dn))
    of_scale = {"scale": trace.u * (delta @ parameters["W"].T)} if layer.scale else {}
    return of_norm | of_constants(layer, trace.dc) | of_scale


def _moved_constants(
    layer: Dense, parameters: dict[str, Array], along: dict[str, Array]
) -> Constants:
    """The trained constants of a layer, and their R{c}."""
    activation = layer.activation
    return constants_of(activation, parameters), constants_of(activation, along)


def _through_norm(
    layer: Dense,
    parameters: dict[str, Array],
    along: dict[str, Array],
    trace: Trace,
    moved: Moved,
    rdn: Array,
) -> Array:
    """R{δ} from rdn = R{∂J_i/∂n}; along: R{·} of the parameters of the layer."""
    norm = layer.norm
    if norm is None:
        return rdn
    gain = parameters["gain"]
    h, rh = gain * trace.dn, gain * rdn + along["gain"] * trace.dn
    x, r = trace.normed()
    return normalise_curve(norm, h, rh, x, r, moved.x, moved.r)
