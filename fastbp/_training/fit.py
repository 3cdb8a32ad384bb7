"""The training loop that the engine's Network and the reference share.

A session makes the steps, in slices of time; what stands around them is here: the checks of
`fit`'s arguments, validation, logs, callbacks, and the ways in which a fit may end.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from os import PathLike
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from .._checks import arguments as check
from .._checks.targets import warn_of_lost_digits
from .._types import Array, Data, Place, Ran, Session, SessionOptions
from ..errors import DivergenceError
from ..history import History
from ..metrics._metrics import resolve as resolve_metrics
from ..optim import LBFGS, Optimizer
from ..optim import resolve as resolve_optimizer
from ..schedules import Schedule, Span
from ..schedules import resolve as resolve_schedule
from .class_weight import weigh
from .runner import CallbackRunner, ProgressBar
from .scoring import Scoring
from .splits import hold_out
from .streams import Stream

if TYPE_CHECKING:
    from .checkpoints import Record

_MAX_ROWS = 2**31 - 1  # of a data set, or of a block
_MAX_EPOCHS = int(np.iinfo("l").max)  # the engine counts them in a C long
SLICE = 0.05  # seconds of training between two looks at signals and at the clock


class Fitting:
    """`fit`, for NetworkBase."""

    def fit(
        self,
        X: object,
        y: object = None,
        *,
        epochs: int = 10,
        initial_epoch: int = 0,
        batch_size: int = 64,
        accumulate: int = 1,
        optimizer: str | Optimizer | LBFGS = "adam",
        schedule: str | Schedule | None = None,
        shuffle: bool = True,
        sample_weight: object = None,
        class_weight: object = None,
        metrics: Iterable[object] = (),
        validation_data: Sequence[object] | None = None,
        validation_split: float = 0.0,
        time_budget: float | None = None,
        checkpoint: str | PathLike[str] | None = None,
        every: str = "1 epoch",
        resume: bool | str = "auto",
        callbacks: Iterable[object] = (),
        progress: bool = False,
        n_threads: int | None = None,
    ) -> History:
        """Train by mini-batches and return the History, one entry an epoch.

        X (n, n_0), of any real dtype: docs/data.md; y (n, n_L), (n,) where n_L is 1, or class
        indices (n,) for cross_entropy; sample_weight (n,), not negative. Or X alone, a stream of
        blocks of them: `fastbp.stream`. Each epoch visits the samples in the order of
        `permutation(seed, epoch, n)` of `_training/shuffle`, or as given where shuffle is False, in
        runs of batch_size, the last one shorter; a batch whose weights are all 0 is left out.
        class_weight: {class: weight}, an array of one a class, or "balanced", multiplied into the
        samples' weights; validation goes without. metrics: names of `fastbp.metrics`, functions
        (outputs, targets, weights) -> number, or a dict of them, of the training rows and of those
        held out, both as the epoch ends.
        accumulate: take one step by the gradient of so many batches, as with a batch_size so many
        times as large, in the memory of one: steps, rates and logs are those of the large batch.
        optimizer: a name or an object of `fastbp.optim`, whose state goes on where it stood.
        schedule: a name or an object of `fastbp.schedules`, likewise, which makes the learning
        rates out of the optimiser's. initial_epoch: begin with the epoch of this number, so that
        with optimiser and schedule kept two fits are one.
        validation_data: (X, y) or (X, y, weights), scored after every epoch. validation_split:
        instead, the share of the rows to hold out for that, chosen by the network's seed; of class
        indices each class gives its share. time_budget: seconds after which the fit ends, with a
        whole step; the epoch cut short counts in the History. checkpoint: a folder that is given
        all that the fit needs to go on bit for bit, every so many "epochs", "steps", "s", "min" or
        "h" and at its end; resume: "auto" to go on from what is there, if anything is, True to
        insist on it, False to begin anew: docs/checkpoints.md. callbacks: see `fastbp.callbacks`.
        progress: a tqdm bar where tqdm is installed, else a line an epoch.
        n_threads: the most threads to use, by default `fastbp.get_num_threads()`, which LBFGS takes
        in any case; small work takes fewer, and no bit of the result depends on it.
        Afterwards z, a and delta are forgotten.

        Warns (UserWarning) where float32 would round away what distinguishes the targets.
        Raises TypeError or ValueError, with nothing changed, for arguments that do not fit or
        hold NaN, and DivergenceError before the step whose J is not finite. KeyboardInterrupt
        leaves the network after a whole step.

        >>> import fastbp
        >>> net = fastbp.Network((1, 1), seed=0)
        >>> net.fit([[0.0], [1.0]], [[1.0], [3.0]], epochs=2).epochs
        2
        """
        epochs, initial_epoch = _check_epochs(epochs, initial_epoch)
        source = self._source(X, y, sample_weight, epochs)
        batch_size = check.check_at_most_all(batch_size, "batch_size")
        self.criterion.check_batch_size(batch_size)
        accumulate = check.check_at_most_all(accumulate, "accumulate")
        n_threads = 0 if n_threads is None else check.check_n_threads(n_threads, "n_threads")
        if time_budget is not None:
            time_budget = check.check_positive(time_budget, "time_budget")
        metrics = resolve_metrics(metrics, self.criterion)
        optimizer = resolve_optimizer(optimizer, fit=True)
        schedule = None if schedule is None else resolve_schedule(schedule)
        optimizer.check_fit(checkpoint=checkpoint is not None, schedule=schedule is not None)
        runner = CallbackRunner(callbacks, self, ProgressBar(epochs) if progress else None)
        record, seed = None, self._seed
        if checkpoint is not None:
            from .checkpoints import Checkpoints, Record, identity

            files = Checkpoints(checkpoint, every, resume)
            record = Record(files, self, optimizer, schedule, runner)
            cuts = {"batch_size": batch_size, "accumulate": accumulate, "shuffle": bool(shuffle)}
            cuts |= {"validation_split": validation_split, "class_weight": repr(class_weight)}
            seed = record.open(identity(self, source, optimizer, schedule, cuts))
        source, validation = self._split(source, validation_data, validation_split, seed)
        train = None if isinstance(source, Stream) else source
        scoring = Scoring(self, train, validation, metrics)
        source = self._weigh(class_weight, source)
        part_rows = 0 if accumulate == 1 else min(batch_size, _MAX_ROWS)
        batch_size, span = cut(source, batch_size * accumulate, epochs, optimizer)
        if schedule is not None and schedule.per == "step" and span.n_rows is None:
            raise ValueError("a schedule by step needs a stream of arrays, whose steps are known")
        expected = scoring.expected(rates=schedule is not None or hasattr(optimizer, "lr"))
        for watcher in (runner,) if schedule is None else (schedule, runner):
            watcher.check_logs(expected)
        place = Place(initial_epoch)
        if record is not None:  # behind what fit refuses, for it changes the network
            place = record.restore(place)
        options = SessionOptions(batch_size, bool(shuffle), n_threads, part_rows=part_rows)
        session = optimizer.session(self, source, options, epochs, place)
        if schedule is not None:
            schedule.bind(span)
        self._forget()
        with closing(session), record or nullcontext(), runner:
            loop = _Loop(session, optimizer, schedule, span, runner, scoring)
            if record is not None:
                loop.keep(record)
            return loop.run(place.epoch, time_budget)

    def partial_fit(
        self,
        X: object,
        y: object,
        *,
        batch_size: int = 64,
        optimizer: str | Optimizer = "adam",
        shuffle: bool = True,
        sample_weight: object = None,
        class_weight: object = None,
        n_threads: int | None = None,
    ) -> float:
        """One epoch over X and y, as `fit` makes it; returns the mean of J.

        An optimiser given by name is made by the first call and kept by the network for those to
        come, while they give the same name; it is not saved with it. Calls count epochs, so that
        each has another order of the samples. Raises as `fit` does.

        >>> import fastbp
        >>> net = fastbp.Network((1, 1), seed=0)
        >>> J = [net.partial_fit([[0.0], [1.0]], [[1.0], [3.0]]) for _ in range(3)]
        >>> J[2] < J[0]
        True
        """
        kept: _Partial | None = getattr(self, "_partial", None)
        if kept is None or kept.spec is not optimizer and kept.spec != optimizer:
            kept = _Partial(optimizer, resolve_optimizer(optimizer))
        history = self.fit(
            X,
            y,
            epochs=kept.epochs + 1,
            initial_epoch=kept.epochs,
            batch_size=batch_size,
            optimizer=kept.optimizer,
            shuffle=shuffle,
            sample_weight=sample_weight,
            class_weight=class_weight,
            n_threads=n_threads,
        )
        kept.epochs += 1
        self._partial = kept
        return history.loss[0]

    def _weigh(self, class_weight: object, source: Data | Stream) -> Data | Stream:
        if isinstance(source, Stream):
            if class_weight is not None:
                raise TypeError("class_weight is for arrays; a stream has weights in its blocks")
            return source
        X, y, s = source
        return X, y, weigh(class_weight, y, s, self.criterion, self.widths[-1], self._dtype)

    def _source(self, X: object, y: object, sample_weight: object, epochs: int) -> Data | Stream:
        if not isinstance(X, Stream):
            if y is None and self.criterion.group == 1:
                raise TypeError("fit takes X and y, or a stream: see fastbp.stream")
            data = self._data(X, y, sample_weight, "X")
            warn_of_lost_digits(y, self.criterion, self._dtype, stacklevel=3)
            return data
        if self.criterion.group > 1:
            raise TypeError(f"a stream would part the rows that {self.criterion} takes together")
        for name, value in (("y", y), ("sample_weight", sample_weight)):
            if value is not None:
                raise TypeError(f"a stream has its own {name}; pass None, and {name} to stream()")
        if X.n_epochs is not None and epochs > X.n_epochs:
            raise ValueError(
                f"{X!r} gives its blocks once, not in {epochs} epochs: pass the function that "
                "makes it to fastbp.stream, or epochs=1"
            )
        return X

    def _begin(
        self,
        source: Data | Stream,
        optimizer: Optimizer,
        options: SessionOptions,
        epochs: int,
        place: Place,
    ) -> Session:
        """A session that is to go on at a place, up to so many epochs."""
        if not isinstance(source, Stream):
            session = self._session(source, optimizer, options)
            session.seek(place)
            return session
        from .blocks import BlockSession

        return BlockSession(self, source, optimizer, options, epochs, place)

    def _split(
        self,
        source: Data | Stream,
        validation_data: Sequence[object] | None,
        share: float,
        seed: int,
    ) -> tuple[Data | Stream, Data | None]:
        """What to train on and what to score on."""
        share = check.check_fraction(share, "validation_split")
        if validation_data is not None:
            if share:
                raise ValueError("give validation_data or validation_split, not both")
            return source, self._data(*check.split_validation(validation_data), "validation X")
        if not share:
            return source, None
        if isinstance(source, Stream):
            raise TypeError("validation_split is for arrays; give validation_data with a stream")
        X, y, s = source
        if y is None:
            raise ValueError(
                f"validation_split would part the pairs of {self.criterion}: give validation_data"
            )
        labels = y if y.ndim == 1 else None
        train, held = hold_out(len(X), share, seed=seed, labels=labels)

        def take(rows: Array) -> Data:
            weights = None if s is None else check.as_weights(s[rows], len(rows), self._dtype)
            return X[rows], y[rows], weights

        return take(train), take(held)

    def _data(self, X: object, y: object, sample_weight: object, name: str) -> Data:
        """(X, y, weights or None) of a data set, checked and finite."""
        given = X if type(X) is np.ndarray else None
        X = self._inputs(X, name)
        check.check_finite(X, name, self._dtype, given=given)
        y = self._targets(y, len(X), name)
        if y is not None and y.ndim == 1:
            y = y.copy()  # a class that is written to the caller's y meanwhile may not exist
        return X, y, check.as_weights(sample_weight, len(X), self._dtype, rows_of=name)

    @abstractmethod
    def _session(self, data: Data, optimizer: Optimizer, options: SessionOptions) -> Session:
        """A session over checked data."""

    @abstractmethod
    def _evaluate(self, X: Array, y: Array, sample_weight: Array | None) -> tuple[float, Array]:
        """J and a^L of checked data."""


@dataclass
class _Partial:
    """What partial_fit keeps: how the optimiser was given, the optimiser, and epochs made."""

    spec: str | Optimizer
    optimizer: Optimizer
    epochs: int = 0


def cut(
    source: Data | Stream, batch_size: int, epochs: int, optimizer: Optimizer | LBFGS
) -> tuple[int, Span]:
    """The size of a batch, and what the fit is made of."""
    if isinstance(source, Stream):
        if optimizer.full_batch:
            raise TypeError(
                f"{type(optimizer).__name__} needs all rows at once, and a stream never has them"
            )
        batch_size = min(batch_size, _MAX_ROWS)
        return batch_size, Span(epochs, source.n_rows, batch_size, source.n_steps(batch_size))
    n_rows = len(source[0])
    batch_size = n_rows if optimizer.full_batch else min(batch_size, n_rows)
    return batch_size, Span(epochs, n_rows, batch_size)


def _check_epochs(epochs: object, initial_epoch: object) -> tuple[int, int]:
    """(epochs, the first of them), of which there is one at least."""
    epochs = check.check_positive_int(epochs, "epochs")
    if epochs > _MAX_EPOCHS:
        raise ValueError(f"epochs must be at most {_MAX_EPOCHS}; got {epochs}")
    initial_epoch = check.check_count(initial_epoch, "initial_epoch")
    if initial_epoch >= epochs:
        raise ValueError(f"initial_epoch is {initial_epoch}; epochs, {epochs}, must be more")
    return epochs, initial_epoch


class _Loop:
    """The epochs of one fit."""

    def __init__(
        self,
        session: Session,
        optimizer: Optimizer,
        schedule: Schedule | None,
        span: Span,
        runner: CallbackRunner,
        scoring: Scoring,
    ) -> None:
        self._session, self._optimizer, self._scoring = session, optimizer, scoring
        self._schedule, self._span, self._runner = schedule, span, runner
        self._per_batch = runner.per_batch
        self._stopped_by: str | None = None
        self._history = History()
        self._record: Record | None = None

    def keep(self, record: Record) -> None:
        """Write checkpoints, and go on from the one that was read."""
        self._record = record
        self._stopped_by = record.begin(self._history)

    def run(self, first: int, time_budget: float | None) -> History:
        history = self._history
        self._deadline = float("inf") if time_budget is None else perf_counter() + time_budget
        if self._stopped_by is not None:
            first = self._span.epochs
        self._rows_done = self._session.rows_done
        for epoch in range(first, self._span.epochs):
            self._set_rates()
            logs = self._epoch(epoch)
            if logs is None:
                break
            logs |= self._scoring.logs()
            logs["samples_per_second"] = self._speed
            history.add(logs)
            if self._schedule is not None and self._schedule.observe(logs):
                self._stopped_by = self._stopped_by or "schedule"
            if self._runner.epoch_end(epoch, logs):
                self._stopped_by = self._stopped_by or "callback"
            last = self._stopped_by is not None or epoch + 1 == self._span.epochs
            if self._record is not None:
                self._record.epoch_end(epoch + 1, self._stopped_by, last)
            if last:
                break
        history.stopped_by = self._stopped_by
        return history

    def _set_rates(self) -> None:
        if self._schedule is None:
            return
        optimizer, n_steps = self._optimizer, self._span.steps
        self._rates = self._schedule.epoch_rates(optimizer.lr, n_steps)
        self._session.set_rates(self._rates, self._schedule.epoch_momenta(optimizer, n_steps))

    def _lr(self, ran: Ran) -> dict[str, float]:
        """The learning rate of the last step, where there is such a thing."""
        if self._schedule is not None:
            return {"lr": float(self._rates[min(ran.step, len(self._rates)) - 1])}
        return {"lr": self._optimizer.lr} if hasattr(self._optimizer, "lr") else {}

    def _epoch(self, epoch: int) -> dict[str, float] | None:
        """The logs of an epoch, which may have been cut short; None where it diverged."""
        started, steps = perf_counter(), 0
        try:
            while True:
                left = max(self._deadline - perf_counter(), 0.0)
                ran = Ran(*self._session.run(0.0 if self._per_batch else min(SLICE, left)))
                steps = ran.step
                if ran.diverged:
                    self._diverged(DivergenceError(ran.last_loss, epoch=epoch, step=steps))
                    return None
                self._look(epoch, ran)
                if ran.done or self._stopped_by is not None:
                    break
                if self._record is not None:
                    self._record.look(self._session.place)
        except KeyboardInterrupt:
            if self._record is not None:
                self._record.save(self._session.place)
            raise
        finally:
            if self._schedule is not None and steps > 0:
                self._schedule.advance(steps)
        before, self._rows_done = self._rows_done, self._session.rows_done
        self._speed = (self._rows_done - before) / max(perf_counter() - started, 1e-9)
        return {"loss": ran.loss} | self._lr(ran)

    def _look(self, epoch: int, ran: Ran) -> None:
        """What there is to do between two slices."""
        if self._per_batch:
            logs = {"epoch": epoch, "loss": ran.last_loss} | self._lr(ran)
            if self._runner.batch_end(ran.step - 1, logs):
                self._stopped_by = "callback"
                return
        if perf_counter() >= self._deadline:
            self._stopped_by = "time_budget"
            if self._record is not None and not ran.done:
                self._record.cut(self._session.place)

    def _diverged(self, error: DivergenceError) -> None:
        if not self._runner.diverged(error):
            raise error
        self._stopped_by = "divergence"
