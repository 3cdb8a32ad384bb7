"""Averages of the parameters on their way: the running mean of a training, and SWA."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Protocol

import numpy as np

from .._checks import arguments as check
from ._base import Optimizer


class _Net(Protocol):
    """A network, for what is needed of it here."""

    theta: np.ndarray


class SWA:
    """Stochastic weight averaging, Izmailov et al. 2018 (arXiv:1803.05407): a callback of `fit`.

    The mean of theta after every epoch from the `start`-th on (counted from 0, over all fits with
    this object), or of every `every`-th: average += (theta − average)/n. `average` is a twin of
    theta, None before the first; `n_averaged` counts. PyTorch's AveragedModel, updated once an
    epoch. Raises TypeError or ValueError for a start < 0 or an every < 1.

    >>> import fastbp
    >>> net, swa = fastbp.Network((1, 1), seed=0), SWA(start=2)
    >>> history = net.fit([[0.0], [1.0]], [[1.0], [3.0]], epochs=5, callbacks=[swa])
    >>> swa.n_averaged
    3
    >>> with averaged(net, swa):
    ...     y = net.predict([[0.5]])
    """

    adds_logs: ClassVar[dict[str, bool | None]] = {}

    def __init__(self, start: int = 0, every: int = 1) -> None:
        self.start = check.check_count(start, "start")
        self.every = check.check_positive_int(every, "every")
        self.average: np.ndarray | None = None
        self.n_averaged = 0
        self.epochs = 0

    def on_fit_begin(self, net: _Net) -> None:
        if self.average is not None and self.average.shape != net.theta.shape:
            raise ValueError(
                f"this SWA holds the average of {self.average.size} parameters; the network has "
                f"{net.theta.size}: use another SWA"
            )
        self._net = net

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        since = self.epochs - self.start
        self.epochs += 1
        if since < 0 or since % self.every != 0:
            return
        theta = self._net.theta
        if self.average is None:
            self.average = theta.copy()
        else:
            self.average = check.writeable(self.average)
            self.average += (theta - self.average) / (self.n_averaged + 1)
        self.n_averaged += 1

    def on_fit_end(self, net: _Net) -> None:
        self._net = None

    def __repr__(self) -> str:
        return f"SWA(start={self.start}, every={self.every})"


@contextmanager
def averaged(net: _Net, source: Optimizer | SWA) -> Iterator[_Net]:
    """A block in which `net` has the averaged parameters; afterwards it has its own again.

    source: an optimiser with `ema`, or an SWA. To keep the average for good, `net.theta =
    source.average`. Raises RuntimeError when there is no average yet, ValueError for one of
    another network.

    >>> import fastbp
    >>> net, sgd = fastbp.Network((1, 1), init="zeros"), fastbp.optim.SGD(0.1, ema=0.5)
    >>> history = net.fit([[0.0]], [[1.0]], epochs=3, optimizer=sgd)
    >>> with averaged(net, sgd):
    ...     net.predict([[0.0]])
    array([[0.208]], dtype=float32)
    >>> net.predict([[0.0]])
    array([[0.271]], dtype=float32)
    """
    if source.average is None:
        raise RuntimeError(f"{source!r} has no average yet: train with it; optimisers need ema=")
    own = net.theta.copy()
    net.theta = source.average
    try:
        yield net
    finally:
        net.theta = own
