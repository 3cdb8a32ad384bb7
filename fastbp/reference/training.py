"""One `fit` over checked data: batches, steps and the mean loss of an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite, nan
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from .._fitting import Data, SessionOptions
from .._shuffle import permutation
from ..optim import Optimizer
from .formulas import quiet
from .losses import weight_sum

if TYPE_CHECKING:
    from .network import Network


class Training:
    """Data (X, y, weights or None), an optimiser and the batches of a reference Network."""

    def __init__(
        self, net: Network, data: Data, optimizer: Optimizer, options: SessionOptions
    ) -> None:
        X, y, s = data
        self._net, self._X, self._y = net, X, y
        self._s = np.ones(len(X), net.dtype) if s is None else s
        self._optimizer, self._options = optimizer, options
        self._epoch, self._first = options.first_epoch, 0
        self.set_rates(None)

    def set_rates(self, rates: np.ndarray | None, momenta: np.ndarray | None = None) -> None:
        """Learning rates, and momenta or β1, by step of the epoch; None for the optimiser's own."""
        self._rates, self._momenta = rates, momenta

    def _begin_epoch(self) -> None:
        n = len(self._X)
        shuffle = self._options.shuffle
        group = self._net.criterion.group  # rows that are one sample stay behind one another
        order = permutation(self._net.seed, self._epoch, n // group)
        order = (order[:, None] * group + np.arange(group)).ravel()
        self._order = order if shuffle else np.arange(n)
        self._step = 0
        self._total = self._weight = self._last = 0.0

    def run(self, seconds: float) -> tuple[bool, bool, int, int, float, float]:
        """Steps until the epoch ends or the time is up, one at least; see `fastbp._fitting.Ran`.

        The mean is that of J over the batches, each weighted by its S = Σ s_i. A batch with S = 0
        has nothing to say and is left out. The network forgets z, a and delta.
        """
        deadline = perf_counter() + seconds
        if self._first == 0:
            self._begin_epoch()
        diverged = done = False
        while not done:
            J, S = self._batch(self._order[self._first : self._first + self._options.batch_size])
            if not isfinite(J):
                diverged = True
                self._last = J
                break
            self._first += self._options.batch_size
            self._step += 1
            if S > 0:
                self._last = J
                self._total += J * S
                self._weight += S
            done = self._first >= len(self._X)
            if perf_counter() >= deadline:
                break
        self._net._forget()
        mean = self._total / self._weight if self._weight > 0 else nan
        ran = diverged, done, self._epoch, self._step, mean, self._last
        if done:
            self._epoch += 1
            self._first = 0
        return ran

    def _targets(self, rows: np.ndarray) -> np.ndarray | None:
        return None if self._y is None else self._y[rows]

    def _batch(self, rows: np.ndarray) -> tuple[float, float]:
        """J before the update and S of a batch; no update where J is not finite or S is 0."""
        s = self._s[rows]
        S = float(weight_sum(self._net.criterion, self._targets(rows), s))
        if S == 0:
            return 0.0, S
        lr = None if self._rates is None else float(self._rates[self._step])
        momentum = None if self._momenta is None else float(self._momenta[self._step])
        with scheduled(self._optimizer, lr, momentum):
            part = self._options.part_rows
            if 0 < part < len(rows):
                return self._by_parts(rows, part) / S, S
            return self._net.train_step(self._X[rows], self._targets(rows), s, self._optimizer), S

    @quiet
    def _by_parts(self, rows: np.ndarray, size: int) -> float:
        """S·J of a batch, and the update by the mean of its parts' gradients, weighted by their S."""
        net, grad, J, S = self._net, np.zeros_like(self._net.grad), 0.0, 0.0
        for first in range(0, len(rows), size):
            part = rows[first : first + size]
            weight = float(weight_sum(net.criterion, self._targets(part), self._s[part]))
            if weight == 0:
                continue
            net._offset = first  # dropout's masks are those of the whole batch
            net._forward(self._X[part], self._optimizer.t)
            net._offset = 0
            J += weight * net._backward(self._targets(part), self._s[part])
            grad += weight * net.grad
            S += weight
        if isfinite(J):
            net.grad[...] = grad / S
            net._update(self._optimizer)
        return J


@contextmanager
def scheduled(optimizer: Optimizer, lr: float | None, momentum: float | None) -> Iterator[None]:
    """The optimiser with another rate, 0 too, and another momentum or β1, for a while."""
    own, kept = vars(optimizer), dict(vars(optimizer))
    betas = next((name for name in ("betas", "_betas") if name in own), None)
    if lr is not None:
        own["lr"] = lr
    if momentum is not None and betas is not None:
        own[betas] = (momentum, *own[betas][1:])
    elif momentum is not None:
        own["momentum"] = momentum
    try:
        yield
    finally:
        own.update((name, kept[name]) for name in ("lr", betas, "momentum") if name in kept)
