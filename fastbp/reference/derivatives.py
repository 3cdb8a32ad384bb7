"""Derivatives beyond the gradient of J, in NumPy; see `fastbp.derivatives` for what each one is."""

from __future__ import annotations

import numpy as np

from ..derivatives import Array, Derivatives
from .cost import dense
from .curves import curve, output_curve, output_slope, push
from .formulas import output_delta, pull_back, quiet
from .layers import Trace, backward, forward, through
from .losses import sample_weights, weight_sum


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
        return traces, deltas, [*slopes, output_slope(loss, output, top.z, top.a, y)]

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

    def _tangents(
        self, traces: list[Trace], dX: Array | None, v: Array | None
    ) -> tuple[list[Array], list[Array], list[Array]]:
        """(R{z}, R{σ(z)} and R{a^0} … R{a^L}) as X moves along dX and theta along v."""
        moved = self.blocks(np.zeros_like(self.theta) if v is None else v)
        rz, rs, ra = [], [], [np.zeros_like(traces[0].u) if dX is None else dX]
        for layer, trace, along in zip(self.layers, traces, moved, strict=True):
            rz.append(ra[-1] @ layer.W + trace.u @ along["W"] + along.get("b", 0))
            rs.append(push(layer.activation, rz[-1], trace.z, trace.a))
            ra.append(rs[-1] + ra[-1] if layer.dense.residual else rs[-1])
        return rz, rs, ra

    @quiet
    def _jvp(self, X: Array, dX: Array | None, dtheta: Array | None) -> Array:
        return self._tangents(self._traces_of(X), dX, dtheta)[2][-1]

    @quiet
    def _hvp(self, X: Array, y: Array, v: Array, s: Array | None) -> Array:
        traces, deltas, g = self._passes(X, y)
        rz, rs, ra = self._tangents(traces, None, v)
        s = np.ones(len(X), self.dtype) if s is None else s
        by = sample_weights(self.criterion, s)[:, None] / weight_sum(self.criterion, y, s)
        moved, out, top = self.blocks(v), np.empty_like(v), traces[-1]
        loss, output, y = self.criterion, self.layers[-1].activation, dense(self, y)
        r = output_curve(loss, output, g[-1], top.z, top.a, y, rz[-1], rs[-1])
        rg = 0
        for i in reversed(range(len(self.layers))):
            layer, trace, blocks = self.layers[i], traces[i], self.blocks(out)[i]
            V = moved[i]["W"]
            blocks["W"][...] = trace.u.T @ (by * r) + ra[i].T @ (by * deltas[i]) + self.l2 * V
            if "b" in blocks:
                blocks["b"][...] = (by * r).sum(axis=0)
            if i > 0:
                rg = r @ layer.W.T + deltas[i] @ V.T + (rg if layer.dense.residual else 0)
                below, act = traces[i - 1], self.layers[i - 1].activation
                r = curve(act, g[i], rg, below.z, below.a, rz[i - 1], rs[i - 1])
        return out

    @quiet
    def _relevance(self, X: Array, y: Array) -> list[Array]:
        traces, _, slopes = self._passes(X, y)
        activity = [X, *(trace.out for trace in traces)]
        return [a * slope for a, slope in zip(activity, slopes, strict=True)]


def _norm_gradients(trace: Trace) -> dict[str, Array]:
    """∂J_i of gain and shift of a norm, (batch, n); {} without one."""
    return {} if trace.x is None else {"gain": trace.dn * trace.x, "shift": trace.dn}
