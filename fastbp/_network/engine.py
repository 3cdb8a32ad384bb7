"""Derivatives on the C engine, through a pass of their own beside the one that users look at."""

from __future__ import annotations

import numpy as np

from .. import _core
from .._types import Array, SparseRows
from .derivatives import Derivatives


class EngineDerivatives(Derivatives):
    """The arithmetic of `Derivatives`: one call of the engine each, after forward and backward.

    The probe, a second set of buffers z, a and δ, is made when first needed and kept; calls wait
    for each other.
    """

    _net: _core.Net
    _theta: Array
    _probe: _core.Pass | None

    def _forwarded(self, X: Array) -> _core.Pass:
        """The probe, with z and a of X; of sparse rows, which must be whole here, a copy."""
        if isinstance(X, SparseRows):
            X = X.toarray()
        if self._probe is None or len(X) > self._probe.capacity:
            self._probe = None  # let go of the old one first
            self._probe = _core.Pass(self._net, len(X))
        self._probe.forward(self._theta, X)
        return self._probe

    def _backwarded(self, X: Array, y: Array, s: Array | None = None) -> _core.Pass:
        """The probe, with every δ of X and y as well."""
        probe = self._forwarded(X)
        probe.backward(self._theta, y, s, None)
        return probe

    def _empty(self, *shape: int) -> Array:
        return np.empty(shape, self.dtype)

    def _vjp(self, X: Array, v: Array) -> Array:
        out = self._empty(len(X), self.widths[0])
        with self._lock:
            _core.vjp(self._forwarded(X), self._theta, v, out)
        return out

    def _jacobian(self, X: Array) -> Array:
        out = self._empty(len(X), self.widths[-1], self.widths[0])
        with self._lock:
            _core.jacobian(self._forwarded(X), self._theta, out.reshape(len(X), -1))
        return out

    def _sample_gradients(self, X: Array, y: Array) -> Array:
        out = self._empty(len(X), self._theta.size)
        with self._lock:
            _core.sample_gradients(self._backwarded(X, y), out)
        return out

    def _layer_norms(self, X: Array, y: Array) -> Array:
        out = np.empty((len(X), len(self.widths) - 1))
        with self._lock:
            _core.gradient_norms(self._backwarded(X, y), out)
        return out

    def _jvp(self, X: Array, dX: Array | None, dtheta: Array | None) -> Array:
        out = self._empty(len(X), self.widths[-1])
        with self._lock:
            _core.jvp(self._forwarded(X), self._theta, dX, dtheta, out)
        return out

    def _hvp(self, X: Array, y: Array, v: Array, s: Array | None) -> Array:
        out = np.empty_like(self._theta)
        with self._lock:
            _core.hvp(self._backwarded(X, y, s), self._theta, v, out)
        return out

    def _relevance(self, X: Array, y: Array) -> list[Array]:
        outs = [self._empty(len(X), n) for n in self.widths]
        with self._lock:
            _core.relevance(self._backwarded(X, y), self._theta, outs)
        return outs
