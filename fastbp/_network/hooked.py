"""Backward passes of the engine, in one call or, where a hook wants to look in, layer by layer."""

from __future__ import annotations

from math import isfinite

import numpy as np

from .. import _core
from .._types import Array
from ..hooks import Hook, Hooks
from ..optim import Optimizer
from ..reference._training import Training


class EngineHooks(Hooks):
    """What `Network` makes of its pass once z and a are there."""

    _net: _core.Net
    _pass: _core.Pass | None
    _theta: Array
    _grad: Array

    def _backward(
        self, theta: Array, y: Array, s: Array | None, grad: Array, hook: Hook | None
    ) -> float:
        """J, with every δ and grad."""
        self._not_in_hook()
        if hook is None:
            return self._pass.backward(theta, y, s, grad)
        J = _core.backward_output(self._pass, theta, y, s)
        self._recur(theta, grad, hook)
        return J

    def _backward_from(
        self, theta: Array, delta: Array, s: Array | None, grad: Array, hook: Hook | None
    ) -> None:
        self._not_in_hook()
        if hook is None:
            self._pass.backward_from(theta, delta, s, grad)
            return
        _core.backward_inject(self._pass, delta, s)
        self._recur(theta, grad, hook)

    def _recur(self, theta: Array, grad: Array, hook: Hook) -> None:
        """δ^{L−1} … δ^1 and grad from the δ^L in place, the hook called on each."""
        top = len(self.layers)
        try:
            for l in range(top, 0, -1):
                if l < top:
                    _core.backward_layer(self._pass, theta, l)
                self._call_hook(hook, l, self._buffers["delta"][l - 1][: self._n_rows])
        except BaseException:
            self._hide_delta()
            raise
        _core.backward_gradient(self._pass, theta, grad)

    def _train_hooked(
        self, X: Array, y: Array, s: Array | None, optimizer: Optimizer, hook: Hook
    ) -> float:
        """One step on checked data by way of the stored pass, which drops nothing; J before it.

        Where J is not finite, there is no step.
        """
        self._bind(optimizer)
        self._forward(X, self._theta)
        J = _core.backward_output(self._pass, self._theta, y, s)
        if not isfinite(J):
            return J
        self._recur(self._theta, self._grad, hook)
        self._show_delta()
        self._net.step(self._theta, self._grad, optimizer)
        return J

    def _pull_back(self, l: int, g: Array) -> Array:
        out = np.array(g, order="C")
        with self._lock:
            _core.pull_back(self._pass, l, out)
        return out


class HookedTraining(Training):
    """The batches of a fit that has a hook to call, each by way of the network's stored pass."""

    _least_rate = 1e-30  # as in csrc/nn/step.c: the engine's rules take no 0

    def _step(self, X: Array, y: Array | None, s: Array) -> float:
        with self._net._lock:
            return self._net._train_hooked(X, y, s, self._optimizer, self._hook)
