"""Averages of the parameters over a training: SWA, and the use of an average in a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Protocol

from .._checks import arguments as check
from .._types import Array
from ._base import Optimizer


class Net(Protocol):
    """What an average needs of a network."""

    theta: Array

    def _copy_of_theta(self) -> Array:
        """Theta between two steps, whatever other threads do."""


class SWA:
    """Stochastic weight averaging: a callback of `fit` that computes a mean of theta over epochs.

    It is AveragedModel of PyTorch with one update per epoch: average += (theta − average)/n.
    Source: Izmailov et al. 2018 (arXiv:1803.05407).

    Parameters
    ----------
    start : int, default 0
        The first epoch whose theta is averaged. Epochs count from 0, over all fits with this
        object.
    every : int, default 1
        The distance between averaged epochs, at least 1.

    Attributes
    ----------
    average : array, shape (n_params,), or None
        The mean so far; None before the first averaged epoch.
    n_averaged : int
        The number of averaged epochs.
    epochs : int
        The number of epochs so far.

    Raises
    ------
    TypeError, ValueError
        If `start` is not an integer of at least 0, or `every` not one of at least 1.

    Examples
    --------
    >>> import fastbp
    >>> net, swa = fastbp.Network((1, 1), seed=0), SWA(start=2)
    >>> history = net.fit([[0.0], [1.0]], [[1.0], [3.0]], epochs=5, callbacks=[swa])
    >>> swa.n_averaged
    3
    >>> with averaged(net, swa):
    ...     y = net.predict([[0.5]])
    """

    adds_logs: ClassVar[dict[str, bool | None]] = {}
    one_fit: ClassVar[bool] = True  # at a time

    def __init__(self, start: int = 0, every: int = 1) -> None:
        self.start = check.check_count(start, "start")
        self.every = check.check_positive_int(every, "every")
        self.average: Array | None = None
        self.n_averaged = 0
        self.epochs = 0
        self._net: Net | None = None  # while a fit runs

    def on_fit_begin(self, net: Net) -> None:
        if self.average is not None and self.average.shape != net.theta.shape:
            raise ValueError(
                f"this SWA holds the average of {self.average.size} parameters; the network has "
                f"{net.theta.size}: use another SWA"
            )
        self._net = net

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if self._net is None:
            raise RuntimeError("no fit has begun: pass this SWA to fit, as callbacks=[swa]")
        since = self.epochs - self.start
        self.epochs += 1
        if since < 0 or since % self.every != 0:
            return
        theta = self._net._copy_of_theta()
        if self.average is None:
            self.average = theta
        else:
            self.average = check.writeable(self.average)
            self.average += (theta - self.average) / (self.n_averaged + 1)
        self.n_averaged += 1

    def on_fit_end(self, net: Net) -> None:
        self._net = None

    def __repr__(self) -> str:
        return f"SWA(start={self.start}, every={self.every})"


@contextmanager
def averaged(net: Net, source: Optimizer | SWA) -> Iterator[Net]:
    """Return a context manager in whose block `net` has the averaged parameters.

    `source` is an optimiser with `ema`, or an SWA. After the block, the network has its own
    parameters again. To keep the average, write `net.theta = source.average`. Raises RuntimeError
    if there is no average yet, and ValueError if it belongs to another network.

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
