"""The backend in NumPy; see `fastbp._network.backend.Backend`.

`_backpropagation` has the passes, `_cost` has J, `_updates` the update rules, `_derivatives` what
goes beyond the gradient of J.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from math import isfinite

import numpy as np

from .._checks import arguments as check
from .._checks.batch_norm import check_statistics
from .._checks.sparse import as_sparse_rows, is_sparse
from .._forks import lock_for
from .._network.architecture import Architecture
from .._network.backend import bind
from .._training.class_weight import weight_sum
from .._training.sessions import BatchSession
from .._types import Array, Data, Lock, Rows, SessionOptions
from ..errors import DivergenceError
from ..losses import Loss
from ..optim import Optimizer
from ._backpropagation import Masks, Pass
from ._cost import cost, outputs, whole
from ._derivatives import Derivatives
from ._formulas import quiet
from ._layers import backward, constrain, dropout_mask
from ._updates import stepping, update


class PlainLock:
    """A `Lock` under which readers wait for each other, too."""

    def __init__(self) -> None:
        self._lock = lock_for(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *raised: object) -> None:
        self._lock.release()

    def copy(self, array: Array) -> Array:
        with self._lock:
            return np.array(array)


class NumpyBackend:
    """The arithmetic of one architecture in NumPy alone."""

    def __init__(self, architecture: Architecture, lock: Lock | None = None) -> None:
        self._net = architecture
        self.arithmetic = "NumPy"
        self._lock = self.new_lock() if lock is None else lock  # of theta
        self._trainable = [True] * len(architecture.dense)
        self._pass = Pass(architecture)

    @staticmethod
    def new_lock() -> Lock:
        return PlainLock()

    def inputs(self, X: object, name: str) -> Array:
        """X in the dtype of the network, with all its elements."""
        net = self._net
        if is_sparse(X):
            return as_sparse_rows(X, net.widths[0], net.dtype, name).toarray()
        return check.as_matrix(X, net.widths[0], net.dtype, name=name)

    def set_trainable(self, l: int, trainable: bool) -> None:
        self._trainable[l - 1] = trainable

    # ---- the stored pass ------------------------------------------------------------------

    @quiet
    def forward(
        self, theta: Array, X: Rows, masks: tuple[int, int] | None = None
    ) -> list[tuple[Array, Array]]:
        kept = None if masks is None else _masks(self._net, *masks, len(X))
        self._pass.forward(theta, whole(X), kept, None if masks is None else self._trainable)
        return [(trace.z, trace.out) for trace in self._pass.trace.values()]

    def move_statistics(self, theta: Array) -> None:
        self._pass.move_statistics(theta)

    @quiet
    def backward(self, y: Array | None, s: Array | None, grad: Array) -> float:
        J = self._pass.output(y, s)
        self._pass.backward(grad)
        return J

    @quiet
    def backward_from(self, delta: Array, s: Array | None, grad: Array) -> None:
        self._pass.inject(delta, s)
        self._pass.backward(grad)

    @quiet
    def output_delta(self, y: Array | None, s: Array | None) -> float:
        return self._pass.output(y, s)

    def inject_delta(self, delta: Array, s: Array | None) -> None:
        self._pass.inject(delta, s)

    @quiet
    def hidden_delta(self, l: int) -> None:
        self._pass.recursion(l)

    @quiet
    def gradient(self, grad: Array) -> None:
        self._pass.gradients(grad)

    def delta(self, l: int) -> Array:
        return self._pass.delta[l]

    @quiet
    def pull_back(self, l: int, g: Array) -> Array:
        trace = replace(self._pass.trace[l])  # a copy, since `backward` writes into it
        return backward(self._net.dense[l - 1], self._pass.parameters[l], trace, g)

    @quiet
    def input_gradient(self) -> Array:
        return self._pass.input_gradient()

    # ---- data sets ------------------------------------------------------------------------

    def predict(self, theta: Array, X: Rows) -> Array:
        return outputs(self._net, whole(X), self._lock.copy(theta))[1]

    def cost(self, theta: Array, X: Rows, y: Array | None, s: Array | None) -> float:
        return self.evaluate(theta, X, y, s)[0]

    def evaluate(
        self, theta: Array, X: Rows, y: Array | None, s: Array | None
    ) -> tuple[float, Array]:
        J, a = cost(self._net, whole(X), y, s, self._lock.copy(theta))
        return float(J), a

    # ---- training -------------------------------------------------------------------------

    @quiet
    def step(self, theta: Array, grad: Array, optimizer: Optimizer) -> None:
        """The update rule, without frozen layers, and then the constraints."""
        with self._lock, optimizer._lock:
            bind(optimizer, theta, len(self._net.dense))
            with self._stepping(theta, optimizer):
                self._update(theta, grad, optimizer)

    def _stepping(self, theta: Array, optimizer: Optimizer) -> AbstractContextManager[None]:
        """In its block, theta of the trained layers is the point of the gradient."""
        slices = self._net.slices()
        trained = [
            part for l, parts in enumerate(slices) if self._trainable[l] for part in parts.values()
        ]
        return stepping(optimizer, theta, trained)

    def _update(self, theta: Array, grad: Array, optimizer: Optimizer) -> None:
        slices = self._net.slices()
        frozen = [
            part
            for l, parts in enumerate(slices)
            if not self._trainable[l]
            for part in parts.values()
        ]
        frozen += self._net.statistics()
        state = (theta, *optimizer.moments)
        before = [[twin[part].copy() for part in frozen] for twin in state]
        g = grad.copy()
        for part in frozen:
            g[part] = 0
        widths, first = self._net.widths, self._net.dense[0]
        widths = (first.n_weighted(widths[0]), *widths[1:])
        rows = () if first.categories is None else first.categories.rows()
        update(optimizer, theta, g, slices, widths, rows)
        for twin, kept in zip(state, before, strict=True):
            for part, values in zip(frozen, kept, strict=True):
                twin[part] = values
        if optimizer.average is not None:
            for part in frozen:
                optimizer.average[part] = theta[part]
        for layer, blocks, trained in zip(
            self._net.dense, self._net.blocks(theta), self._trainable, strict=True
        ):
            if trained:
                constrain(layer, blocks["W"])

    def train_batch(
        self,
        theta: Array,
        X: Rows,
        y: Array | None,
        s: Array | None,
        optimizer: Optimizer,
        seed: int,
    ) -> float:
        check_statistics(self._net.blocks(theta))
        bind(optimizer, theta, len(self._net.dense))
        options = SessionOptions(batch_size=len(X), shuffle=False)
        session = self.session(theta, (X, y, s), optimizer, options, seed)
        diverged, _, _, _, J, last = session.run(0.0)
        if diverged:
            raise DivergenceError(last, epoch=0, step=optimizer.t)
        return J

    def session(
        self, theta: Array, data: Data, optimizer: Optimizer, options: SessionOptions, seed: int
    ) -> BatchSession:
        net, part_rows = self._net, options.part_rows

        @quiet
        def step(
            X: Rows, y: Array | None, s: Array, smoothing: float | None, dropout: Array | None
        ) -> float:
            now = _with(net, smoothing, dropout)
            rows, masks = whole(X), _masks(now, seed, optimizer.t, len(X))
            bind(optimizer, theta, len(net.dense))
            with self._stepping(theta, optimizer):
                batch = _Batch(now, theta, self._trainable)
                if 0 < part_rows < len(rows):
                    J, grad = batch.in_parts(rows, y, s, part_rows, masks)
                else:
                    J, grad = batch.gradient(rows, y, s, masks)
                if isfinite(J):
                    theta[...] = batch.moved
                    self._update(theta, grad, optimizer)
            return J

        loss, dtype = net.criterion, net.dtype
        return BatchSession(
            step,
            data,
            optimizer,
            options,
            loss,
            seed,
            dtype,
            lock=self._lock,
            by_batch=lambda: net.normed_by_batch(self._trainable),
        )

    # ---- derivatives ----------------------------------------------------------------------

    def vjp(self, theta: Array, X: Rows, v: Array) -> Array:
        return Derivatives(self._net, theta).vjp(whole(X), v)

    def jacobian(self, theta: Array, X: Rows) -> Array:
        return Derivatives(self._net, theta).jacobian(whole(X))

    def sample_gradients(self, theta: Array, X: Rows, y: Array | None) -> Array:
        return Derivatives(self._net, theta).sample_gradients(whole(X), y)

    def layer_norms(self, theta: Array, X: Rows, y: Array | None) -> Array:
        return Derivatives(self._net, theta).layer_norms(whole(X), y)

    def relevance(self, theta: Array, X: Rows, y: Array | None) -> list[Array]:
        return Derivatives(self._net, theta).relevance(whole(X), y)

    def jvp(self, theta: Array, X: Rows, dX: Array | None, dtheta: Array | None) -> Array:
        return Derivatives(self._net, theta).jvp(whole(X), dX, dtheta)

    def hvp(self, theta: Array, X: Rows, y: Array | None, s: Array | None, v: Array) -> Array:
        return Derivatives(self._net, theta).hvp(whole(X), y, s, v)


def _with(net: Architecture, smoothing: float | None, dropout: Array | None) -> Architecture:
    """The network with another label smoothing, and with other shares (L + 1,) to drop."""
    if smoothing is not None:
        options = net.criterion.options | {"label_smoothing": float(smoothing)}
        net = replace(net, criterion=Loss(net.criterion.name, **options))
    if dropout is not None:
        shares = map(float, dropout[1:])
        layers = [replace(layer, dropout=p) for layer, p in zip(net.dense, shares, strict=True)]
        net = replace(net, input_dropout=float(dropout[0]), dense=tuple(layers))
    return net


class _Batch:
    """J and its gradient for one batch; `moved` is theta with the running statistics after it."""

    def __init__(self, net: Architecture, theta: Array, trainable: Sequence[bool]) -> None:
        self._net, self._theta, self._trainable = net, theta, trainable
        self.moved = theta.copy()

    def gradient(self, X: Array, y: Array | None, s: Array, masks: Masks) -> tuple[float, Array]:
        """(J, grad) of rows, by a pass of its own."""
        grad, one = np.empty_like(self._theta), Pass(self._net)
        one.forward(self._theta, X, masks, self._trainable)
        J = one.output(y, s)
        one.backward(grad)
        one.move_statistics(self.moved)
        return J, grad

    def in_parts(
        self, X: Array, y: Array | None, s: Array, size: int, masks: Masks
    ) -> tuple[float, Array]:
        """(J, grad) of the batch: the means of those of its parts, weighted by S of each.

        Each part has its own statistics. masks: those of the whole batch.
        """
        loss = self._net.criterion
        J, S, total = 0.0, 0.0, np.zeros_like(self._theta)
        for first in range(0, len(X), size):
            part = slice(first, first + size)
            targets = None if y is None else y[part]
            weight = float(weight_sum(loss, targets, s[part]))
            if weight == 0:
                continue
            kept = [None if mask is None else mask[part] for mask in masks]
            J_part, grad = self.gradient(X[part], targets, s[part], kept)
            J += weight * J_part
            total += weight * grad
            S += weight
        return J / float(weight_sum(loss, y, s)), total / S


def _masks(net: Architecture, seed: int, t: int, n: int) -> list[Array | None]:
    """What dropout keeps of the inputs and of every layer, after t updates."""
    shares = (net.input_dropout, *(layer.dropout for layer in net.dense))
    return [
        dropout_mask(seed, l, t, (n, width), p) if p > 0 else None
        for l, (width, p) in enumerate(zip(net.widths, shares, strict=True))
    ]
