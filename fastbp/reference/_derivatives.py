"""Derivatives beyond the gradient of J, in NumPy; `_network.derivatives` says what each one is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._network.derivatives import Derivatives
from .._network.layers import Layer
from .._types import Array
from ._cost import dense
from ._curves import curve, normalise_curve, normalise_push, output_curve, output_slope, push
from ._formulas import output_delta, pull_back, quiet
from ._layers import Trace, backward, forward, through
from ._losses import sample_weights, weight_sum


@dataclass
class Moved:
    """R{x} of what a `Trace` has, by the same names."""

    u: Array
    x: Array | None
    r: Array | None
    n: Array
    a: Array
    out: Array


class NumpyDerivatives(Derivatives):
    """The arithmetic of `Derivatives`, from passes that store nothing in the network."""

    def _traces_of(self, X: Array) -> list[Trace]:
        """What a forward pass leaves of every layer; nothing is dropped."""
        traces, u = [], X
        for layer in self.layers:
            traces.append(forward(layer.dense, layer.parameters(), u))
            u = traces[-1].out
        return traces

    def _errors(self, traces: list[Trace], delta: Array) -> tuple[list[Array], list[Array]]:
        """(δ^1 … δ^L, ∂/∂a^0 … ∂/∂a^{L−1}) from δ^L."""
        deltas, slopes = [delta], []
        for i in reversed(range(len(self.layers))):
            layer = self.layers[i]
            slopes.insert(0, through(layer.dense, layer.parameters(), traces[i], deltas[0]))
            if i > 0:
                below = self.layers[i - 1]
                delta = backward(below.dense, below.parameters(), traces[i - 1], slopes[0])
                deltas.insert(0, delta)
        return deltas, slopes

    def _passes(self, X: Array, y: Array) -> tuple[list[Trace], list[Array], list[Array]]:
        """(traces, δ^1 … δ^L, ∂J_i/∂a^0 … ∂J_i/∂a^L)."""
        traces = self._traces_of(X)
        top, loss, output = traces[-1], self.criterion, self.layers[-1].activation
        y = dense(self, y)
        deltas, slopes = self._errors(traces, output_delta(loss, output, top.z, top.a, y))
        return traces, deltas, [*slopes, output_slope(loss, top.z, top.a, y)]

    @quiet
    def _vjp(self, X: Array, v: Array) -> Array:
        traces = self._traces_of(X)
        top = traces[-1]
        return self._errors(traces, pull_back(self.layers[-1].activation, v, top.z, top.a))[1][0]

    def _jacobian(self, X: Array) -> Array:
        rows = [self._vjp(X, np.tile(e, (len(X), 1))) for e in np.eye(self.widths[-1])]
        return np.stack(rows, axis=1).astype(self.dtype, copy=False)

    @quiet
    def _sample_gradients(self, X: Array, y: Array) -> Array:
        traces, deltas, _ = self._passes(X, y)
        out = np.empty((len(X), self.theta.size), self.dtype)
        for l, (trace, delta) in enumerate(zip(traces, deltas, strict=True)):
            of_W = trace.u[:, :, None] * delta[:, None, :]
            gradients = {"W": of_W, "b": delta, **_norm_gradients(trace)}
            for i, row in enumerate(out):
                for name, block in self.blocks(row)[l].items():
                    block[...] = gradients[name][i]
        return out

    @quiet
    def _layer_norms(self, X: Array, y: Array) -> Array:
        traces, deltas, _ = self._passes(X, y)
        squares = []
        for layer, trace, delta in zip(self.layers, traces, deltas, strict=True):
            ways_in = (trace.u**2).sum(axis=1) + layer.dense.bias
            square = (delta**2).sum(axis=1) * ways_in
            for name, gradient in _norm_gradients(trace).items():
                if name in layer.parameters():
                    square = square + (gradient**2).sum(axis=1)
            squares.append(square)
        return np.sqrt(np.stack(squares, axis=1), dtype=np.float64)

    def _tangents(self, traces: list[Trace], dX: Array | None, v: Array | None) -> list[Moved]:
        """How every trace moves as X does along dX and theta along v."""
        along = self.blocks(np.zeros_like(self.theta) if v is None else v)
        ru, moved = np.zeros_like(traces[0].u) if dX is None else dX, []
        for layer, trace, V in zip(self.layers, traces, along, strict=True):
            rz = ru @ layer.W + trace.u @ V["W"] + V.get("b", 0)
            rn, rx, rr = rz, None, None
            if layer.dense.norm is not None:
                rx, rr = normalise_push(layer.dense.norm, rz, trace.x, trace.r)
                rn = layer.parameters()["gain"] * rx + V["gain"] * trace.x + V.get("shift", 0)
            ra = push(layer.activation, rn, trace.n, trace.a)
            moved.append(Moved(ru, rx, rr, rn, ra, ra + ru if layer.dense.residual else ra))
            ru = moved[-1].out
        return moved

    @quiet
    def _jvp(self, X: Array, dX: Array | None, dtheta: Array | None) -> Array:
        return self._tangents(self._traces_of(X), dX, dtheta)[-1].out

    @quiet
    def _hvp(self, X: Array, y: Array, v: Array, s: Array | None) -> Array:
        traces, deltas, g = self._passes(X, y)
        moved = self._tangents(traces, None, v)
        s = np.ones(len(X), self.dtype) if s is None else s
        by = sample_weights(self.criterion, s)[:, None] / weight_sum(self.criterion, y, s)
        along, out, top, m = self.blocks(v), np.empty_like(v), traces[-1], moved[-1]
        loss, output, y = self.criterion, self.layers[-1].activation, dense(self, y)
        rdn = output_curve(loss, output, g[-1], top.z, top.a, y, m.n, m.a)
        rg = 0
        for i in reversed(range(len(self.layers))):
            layer, trace, m, V = self.layers[i], traces[i], moved[i], along[i]
            r = _through_norm(layer, V, trace, m, rdn)
            sums = {
                "W": trace.u.T @ (by * r) + m.u.T @ (by * deltas[i]) + self.l2 * V["W"],
                "b": (by * r).sum(axis=0),
            }
            if layer.dense.norm is not None:
                sums["gain"] = (by * (rdn * trace.x + trace.dn * m.x)).sum(axis=0)
                sums["shift"] = (by * rdn).sum(axis=0)
            for name, block in self.blocks(out)[i].items():
                block[...] = sums[name]
            if i > 0:
                skipped = rg if layer.dense.residual else 0
                rg = r @ layer.W.T + deltas[i] @ V["W"].T + skipped
                below, act, m = traces[i - 1], self.layers[i - 1].activation, moved[i - 1]
                rdn = curve(act, g[i], rg, below.n, below.a, m.n, m.a)
        return out

    @quiet
    def _relevance(self, X: Array, y: Array) -> list[Array]:
        traces, _, slopes = self._passes(X, y)
        activity = [X, *(trace.out for trace in traces)]
        return [a * slope for a, slope in zip(activity, slopes, strict=True)]


def _norm_gradients(trace: Trace) -> dict[str, Array]:
    """∂J_i of gain and shift of a norm, (batch, n); {} without one."""
    return {} if trace.x is None else {"gain": trace.dn * trace.x, "shift": trace.dn}


def _through_norm(
    layer: Layer, along: dict[str, Array], trace: Trace, moved: Moved, rdn: Array
) -> Array:
    """R{δ} from rdn = R{∂J_i/∂n}; along: R{·} of the layer's parameters."""
    norm, gain = layer.dense.norm, layer.parameters().get("gain")
    if norm is None:
        return rdn
    h, rh = gain * trace.dn, gain * rdn + along["gain"] * trace.dn
    return normalise_curve(norm, h, rh, trace.x, trace.r, moved.x, moved.r)
