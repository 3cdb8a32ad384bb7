"""One `fit` over checked data: batches, steps and the mean loss of an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite, nan
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from .._training.fit import Data, Place, SessionOptions
from .._training.shuffle import permutation
from ..optim import Optimizer
from ._formulas import quiet
from ._losses import weight_sum

if TYPE_CHECKING:
    from ._network import Network


class Training:
    """Data (X, y, weights or None), an optimiser and the batches of a reference Network."""

    _least_rate = 0.0

    def __init__(
        self, net: Network, data: Data, optimizer: Optimizer, options: SessionOptions
    ) -> None:
        self._net, self._optimizer, self._options = net, optimizer, options
        self._hook = net._hook_of_fit(options.part_rows)
        self.set_rates(None)
        self.bind(data)
        self.seek(Place(0))

    def set_rates(self, rates: np.ndarray | None, momenta: np.ndarray | None = None) -> None:
        """Learning rates, and momenta or β1, by step of the epoch; None for the optimiser's own."""
        self._rates, self._momenta = rates, momenta

    def bind(self, data: Data) -> bool:
        """Other data, to be gone on with by `seek`."""
        self._X, self._y, s = data
        self._s = np.ones(len(self._X), self._net.dtype) if s is None else s
        return True

    def seek(self, place: Place) -> None:
        """Go on from a place, the data at hand being block `turn` of the data set."""
        n, seed, group = len(self._X), self._net.seed, self._net.criterion.group
        self._order = np.arange(n)
        if self._options.shuffle:  # rows that are one sample stay behind one another
            order = permutation(seed, place.epoch, n // group, block=place.turn)
            self._order = (order[:, None] * group + np.arange(group)).ravel()
        self.place, self._last, self._over = place, 0.0, False

    @property
    def rows_done(self) -> int:
        return self.place.epoch * len(self._X) + self.place.first

    def close(self) -> None:
        """Nothing to do."""

    def run(self, seconds: float) -> tuple[bool, bool, int, int, float, float]:
        """Steps until the epoch ends or the time is up, one at least; see `fastbp._types.Ran`.

        The mean is that of J over the batches, each weighted by its S = Σ s_i. A batch with S = 0
        has nothing to say and is left out. The network forgets z, a and delta.
        """
        deadline = perf_counter() + seconds
        if self._over:
            self.seek(Place(self.place.epoch + 1))
        n, diverged = len(self._X), False
        epoch, step, turn, first, total, weight = self.place
        while first < n:
            end = min(first + self._options.batch_size, n)
            J, S = self._batch(self._order[first:end], step)
            diverged = not isfinite(J)
            if S > 0:
                self._last = J
            if diverged:
                break
            first, step = end, step + 1
            total, weight = total + J * S, weight + S
            if perf_counter() >= deadline:
                break
        self._net._forget()
        self.place = Place(epoch, step, turn, first, total, weight)
        self._over = first == n and not diverged
        mean = total / weight if weight > 0 else nan
        return diverged, self._over, epoch, step, mean, self._last

    def _targets(self, rows: np.ndarray) -> np.ndarray | None:
        return None if self._y is None else self._y[rows]

    def _batch(self, rows: np.ndarray, step: int) -> tuple[float, float]:
        """J before the update and S of a batch; no update where J is not finite or S is 0."""
        s = self._s[rows]
        S = float(weight_sum(self._net.criterion, self._targets(rows), s))
        if S == 0:
            return 0.0, S
        at = 0 if self._rates is None else min(step, len(self._rates) - 1)
        lr = None if self._rates is None else max(float(self._rates[at]), self._least_rate)
        momentum = None if self._momenta is None else float(self._momenta[at])
        with scheduled(self._optimizer, lr, momentum):
            part = self._options.part_rows
            if 0 < part < len(rows):
                return self._by_parts(rows, part) / S, S
            return self._step(self._X[rows], self._targets(rows), s), S

    def _step(self, X: np.ndarray, y: np.ndarray | None, s: np.ndarray) -> float:
        """J of a batch and the update, left out where J is not finite."""
        return self._net.train_step(X, y, s, self._optimizer, self._hook)

    @quiet
    def _by_parts(self, rows: np.ndarray, size: int) -> float:
        """S·J of a batch, and the update by the mean of its parts' gradients, weighted by S."""
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
    own["_packed"] = None
    try:
        yield
    finally:
        own["_packed"] = None
        own.update((name, kept[name]) for name in ("lr", betas, "momentum") if name in kept)
