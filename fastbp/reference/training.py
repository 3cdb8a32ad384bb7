"""One `fit` over checked data: batches, steps and the mean loss of an epoch."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from .._base import Data
from .._shuffle import permutation
from ..errors import DivergenceError
from ..optim import Optimizer
from .losses import weight_sum

if TYPE_CHECKING:
    from .network import Network


class Training:
    """Data (X, y, weights or None), an optimiser and the batches of a reference Network."""

    def __init__(
        self, net: Network, data: Data, optimizer: Optimizer, batch_size: int, shuffle: bool
    ) -> None:
        X, y, s = data
        self._net, self._X, self._y = net, X, y
        self._s = np.ones(len(X), net.dtype) if s is None else s
        self._optimizer, self._batch_size, self._shuffle = optimizer, batch_size, shuffle

    def epoch(self, epoch: int) -> float:
        """One step a batch; the mean of J over the batches, each weighted by its S.

        A batch with S = 0 has nothing to say and is left out. Raises DivergenceError before the
        update of a step whose J is not finite. The network forgets z, a and delta.
        """
        n = len(self._X)
        order = permutation(self._net.seed, epoch, n) if self._shuffle else np.arange(n)
        total = weight = 0.0
        try:
            for step, first in enumerate(range(0, n, self._batch_size)):
                rows = order[first : first + self._batch_size]
                X, y, s = self._X[rows], self._y[rows], self._s[rows]
                S = float(weight_sum(self._net.criterion, y, s))
                if S == 0:
                    continue
                J = self._net.train_step(X, y, s, self._optimizer)
                if not isfinite(J):
                    raise DivergenceError(J, epoch=epoch, step=step)
                total += J * S
                weight += S
        finally:
            self._net._forget()
        return total / weight
