"""Training sessions in Python: batch by batch, or over the blocks of a stream.

The engine has a session of its own, `fastbp._network.engine.EngineSession`. The one here makes its
steps by a function: the reference trains by it, and so does the engine when a hook has to see every
δ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isfinite, nan
from time import perf_counter
from typing import Any, cast

import numpy as np

from .._types import (
    Array,
    Data,
    Lock,
    Place,
    Rows,
    Session,
    SessionOptions,
    StepSettings,
    Trainee,
)
from ..losses import Loss
from ..optim import Optimizer
from .class_weight import weight_sum
from .shuffle import permutation
from .streams import Stream

# J of a batch (X, targets, weights) before its update, which is left out if J is not finite. The
# last two, if not None, are the label smoothing and (L + 1,) the dropout of the step.
Step = Callable[[Rows, Array | None, Array, float | None, Array | None], float]


def begin(
    net: Trainee,
    source: object,
    optimizer: Optimizer,
    options: SessionOptions,
    epochs: int,
    place: Place,
) -> Session:
    """A session on arrays or a stream that continues at a place.

    Parameters
    ----------
    net : Trainee
        The network.
    source : tuple or Stream
        Checked data, or a stream.
    optimizer : Optimizer
        The optimiser, bound to the network.
    options : SessionOptions
        How rows become batches.
    epochs : int
        The epochs of the whole fit, from epoch 0 on.
    place : Place
        The next step.
    """
    if isinstance(source, Stream):
        from .blocks import BlockSession

        return BlockSession(net, source, optimizer, options, epochs, place)
    session = net._session(cast(Data, source), optimizer, options)
    session.seek(place)
    return session


class BatchSession:
    """Batches of a data set, each trained on by one call of a function; see `DataSession`.

    Parameters
    ----------
    step : callable
        Makes one step: `Step`.
    data : tuple
        X, targets and weights, checked.
    optimizer : Optimizer
        The optimiser that `step` uses; only its rates are set here.
    options : SessionOptions
        How rows become batches. The parts of a batch are the business of `step`.
    loss : Loss
        For S of a batch, and for how many rows are one sample.
    seed : int
        Determines the order of the samples.
    dtype : numpy.dtype
        Of the weights that `step` gets where the data have none.
    least_rate : float, default 0.0
        What a learning rate of a schedule is raised to.
    lock : Lock
        The lock of theta, which a step holds together with that of the optimiser.
    by_batch : callable, optional
        Whether layers are normed by the batch at the moment: then a batch of one row, or such a
        part of one, is left out. By default they are not.
    """

    def __init__(
        self,
        step: Step,
        data: Data,
        optimizer: Optimizer,
        options: SessionOptions,
        loss: Loss,
        seed: int,
        dtype: np.dtype[Any],
        *,
        least_rate: float = 0.0,
        lock: Lock,
        by_batch: Callable[[], bool] = lambda: False,
    ) -> None:
        self._lock, self._by_batch = lock, by_batch
        self._step, self._optimizer, self._options = step, optimizer, options
        self._loss, self._seed, self._dtype, self._least_rate = loss, seed, dtype, least_rate
        self.place = Place(0)
        self.set_steps(StepSettings())
        self.bind(data)
        self.seek(Place(0))

    def set_steps(self, settings: StepSettings) -> None:
        self._settings = settings

    def bind(self, data: Data) -> bool:
        self._X, self._y, s = data
        self._s = np.ones(len(self._X), self._dtype) if s is None else s
        return True

    flags = 0  # it has no ranks

    def raise_flags(self, flags: int) -> None:
        """Nothing to do: it has no ranks."""

    def seek(self, place: Place) -> None:
        n, group = len(self._X), self._loss.group
        self._order = np.arange(n)
        if self._options.parts is not None:
            self._batches = self._of_parts(place)
        elif self._options.shuffle:  # the rows of one sample stay together
            order = permutation(self._seed, place.epoch, n // group, block=place.turn)
            self._order = (order[:, None] * group + np.arange(group)).ravel()
        self.place, self._last, self._over = place, 0.0, False

    def _of_parts(self, place: Place) -> list[Array]:
        """The batches of an epoch or block, each with its share of every part."""
        from .divided import batches

        parts, options = self._options.parts, self._options
        if parts.ranks is not None:
            raise TypeError("comm needs the engine: the reference trains in one process")
        group, shuffle = self._loss.group, options.shuffle
        return batches(
            parts.rows,
            options.batch_size,
            self._seed,
            place.epoch,
            place.turn,
            group,
            shuffle=shuffle,
        )

    @property
    def rows_done(self) -> int:
        return self.place.epoch * len(self._X) + self.place.first

    def close(self) -> None:
        """Nothing to do."""

    def run(self, seconds: float) -> tuple[bool, bool, int, int, float, float]:
        """Make steps until the epoch or the time is over, at least one; see `Session.run`.

        The mean is that of J over the batches, each weighted by its S = Σ s_i. A batch with S = 0
        is left out.
        """
        deadline = perf_counter() + seconds
        if self._over:
            self.seek(Place(self.place.epoch + 1))
        n, diverged = len(self._X), False
        epoch, step, turn, first, total, weight = self.place
        while first < n:
            end = min(first + self._options.batch_size, n)
            if self._options.parts is None:
                chosen = self._order[first:end]
            else:
                chosen = self._batches[first // self._options.batch_size]
            J, S = self._batch(chosen, step)
            diverged = not isfinite(J)
            if S > 0:
                self._last = J
            if diverged:
                break
            first, step = end, step + 1
            total, weight = total + J * S, weight + S
            if perf_counter() >= deadline:
                break
        self.place = Place(epoch, step, turn, first, total, weight)
        self._over = first == n and not diverged
        mean = total / weight if weight > 0 else nan
        return diverged, self._over, epoch, step, mean, self._last

    def _batch(self, rows: Array, step: int) -> tuple[float, float]:
        """J before the update and S of a batch; no update if J is not finite or S is 0."""
        part = self._options.part_rows or len(rows)
        if (len(rows) - 1) % part == 0 and self._by_batch():  # its last part is one row
            rows = rows[:-1]
        s, y = self._s[rows], None if self._y is None else self._y[rows]
        S = float(weight_sum(self._loss, y, s))
        if S == 0:
            return 0.0, S
        rate, momentum, smoothing, dropout = (
            None if each is None else each[min(step, len(each) - 1)] for each in self._settings
        )
        lr = None if rate is None else max(float(rate), self._least_rate)
        momentum = None if momentum is None else float(momentum)
        with self._lock, self._optimizer._lock, scheduled(self._optimizer, lr, momentum):
            return self._step(self._X[rows], y, s, smoothing, dropout), S


@contextmanager
def scheduled(optimizer: Optimizer, lr: float | None, momentum: float | None) -> Iterator[None]:
    """Give an optimiser another rate, which may be 0, and another momentum or β1, for a while."""
    own, kept = vars(optimizer), dict(vars(optimizer))
    betas = next((name for name in ("betas", "_betas") if name in own), None)
    given: dict[str, object] = {}
    if lr is not None:
        given["lr"] = lr
    if momentum is not None and betas is not None:
        given[betas] = (momentum, *own[betas][1:])
    if momentum is not None and (betas is None or "momentum" in own):
        given["momentum"] = momentum
    own.update(given, _packed=None)
    try:
        yield
    finally:  # a value that another thread has set meanwhile stays
        own.update({name: kept[name] for name in given if own[name] is given[name]}, _packed=None)
