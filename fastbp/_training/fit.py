"""`Network.fit`: the checks of its arguments, and the loop over the epochs.

A session makes the steps, in slices of time. Around them are validation, logs, callbacks and
checkpoints, and the ways in which a fit can end. All of that is a generator that asks for each
slice, so that one fit runs its slices itself, and a population runs those of many fits together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from inspect import GEN_CLOSED, getgeneratorstate
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar, cast

import numpy as np

from .._checks import arguments as check
from .._checks.batch_norm import check_rows, has_batch_norm
from .._checks.columns import Names, check_column_names
from .._checks.targets import warn_of_lost_digits
from .._types import (
    Array,
    Data,
    Pause,
    Place,
    Ran,
    Samples,
    Session,
    SessionOptions,
    Stretch,
    Trainee,
    Turn,
)
from ..errors import DivergenceError
from ..history import History
from ..losses import CustomLoss
from ..metrics._metrics import Metric
from ..metrics._metrics import resolve as resolve_metrics
from ..optim import LBFGS, Optimizer
from ..optim import resolve as resolve_optimizer
from ..schedules import Schedule, Span
from ..schedules import resolve as resolve_schedule
from .class_weight import weigh
from .divided import (
    Divided,
    check_divided,
    divided,
    hold_out_of_parts,
    sample_of_parts,
    take_state_of_first,
)
from .options import FitOptions
from .part_source import PartSource
from .runner import CallbackRunner, ProgressBar, in_one_fit
from .scoring import Scoring
from .splits import hold_out
from .streams import Stream

if TYPE_CHECKING:
    from .._ranks.ranks import Ranks
    from .checkpoints import Record
    from .signals import SharedSignals

_MAX_ROWS = 2**31 - 1  # of a data set, or of a block
_MAX_EPOCHS = int(np.iinfo(np.intp).max)  # the engine counts them in a ptrdiff_t
_MOST_AHEAD = 128  # epochs
SLICE = 0.05  # seconds of training between two looks at signals and at the clock


@dataclass(frozen=True)
class _Settings:
    """Those of the options that need no data to be checked."""

    batch_size: int
    accumulate: int
    n_threads: int
    time_budget: float | None
    metrics: Mapping[str, Metric]
    optimizer: Optimizer | LBFGS
    schedule: Schedule | None


T = TypeVar("T")

# What a fit asks for; None at first, when all is checked and nothing has changed.
Request = Turn | Pause | None
# What it gets.
Result = Ran | Stretch | bool | None
Steps = Generator[Request, Result, T]
Training = Steps[History]


def fit(net: Trainee, X: object, y: object, options: FitOptions) -> History:
    """Train a network as the options say; see `fastbp.Network.fit`."""
    return alone(training(net, X, y, options))


def alone(steps: Steps[T]) -> T:
    """Run a fit by itself."""
    ran: Ran | None = None
    try:
        while True:
            turn = steps.send(ran)  # never a Pause, which is for one of many
            ran = Ran(*turn.session.run(turn.seconds)) if isinstance(turn, Turn) else None
    except BaseException as error:
        if getgeneratorstate(steps) != GEN_CLOSED:  # the fit waits for a turn: let it end in order
            try:
                steps.throw(error)
            except StopIteration as end:  # it keeps what it has
                return cast(T, end.value)
        elif isinstance(error, StopIteration):
            return cast(T, error.value)
        raise


@dataclass(frozen=True)
class Member:
    """What a fit that is one of many gets from them.

    Attributes
    ----------
    source : Samples or Stream
        Checked samples, or a stream, in place of the X and y of a fit by itself.
    engine : object
        The memory of the engine that their sessions share.
    rungs : collection of int
        After how many epochs the fit asks whether it goes on.
    signals : SharedSignals or None
        What the fits look at instead of watches of their own.
    """

    source: Samples | Stream
    engine: object
    rungs: Collection[int] = ()
    signals: SharedSignals | None = None


def training(
    net: Trainee,
    X: object,
    y: object,
    options: FitOptions,
    member: Member | None = None,
    ranks: Ranks | None = None,
    loop: type[Loop] | None = None,
) -> Training:
    """The fit of a network as the options say; with the ranks of `options.comm`, by their loop."""
    epochs, initial_epoch = _check_epochs(options.epochs, options.initial_epoch)
    parts = divided(options.parts, ranks, options.sync_every, options.outer)
    sizes: list[int] | None = None
    if isinstance(X, PartSource):
        given, sizes = X.read(parts, y, options.sample_weight)
        X, y, options = given[0], given[1], replace(options, sample_weight=given[2])
    if member is None:
        source = source_of(net, X, y, options.sample_weight, epochs)
    else:
        source = member.source
    settings = _settings(net, options)
    optimizer, schedule = settings.optimizer, settings.schedule
    optimizer.check_fit(checkpoint=options.checkpoint is not None, schedule=schedule is not None)
    if schedule is not None:
        schedule._check_network(net)
    if parts is not None:
        streams = isinstance(source, Stream)
        check_divided(net, options, optimizer, schedule, parts, streams=streams)
    if parts is not None and not parts.leads:
        options = replace(options, callbacks=(), progress=False)
    progress = ProgressBar(epochs) if options.progress else None
    runner = CallbackRunner(options.callbacks, net, progress)
    held = [*runner.callbacks, *([] if schedule is None else [schedule])]
    with in_one_fit(held) if held else nullcontext():
        steps = _Steps(net, X, options, settings, runner, member, parts, sizes, loop or Loop)
        return (yield from steps.run(source, epochs, initial_epoch))


@dataclass(frozen=True)
class _Steps:
    """A fit whose arguments are checked, but for those that concern the data."""

    net: Trainee
    X: object
    options: FitOptions
    settings: _Settings
    runner: CallbackRunner
    member: Member | None
    parts: Divided | None
    sizes: list[int] | None  # the rows of each part, if the caller has cut them
    loop: type[Loop]

    def run(self, source: Samples | Stream, epochs: int, initial_epoch: int) -> Training:
        net, options, settings = self.net, self.options, self.settings
        optimizer, schedule, runner = settings.optimizer, settings.schedule, self.runner
        parts = self.parts
        if parts is not None and isinstance(source, Samples):
            n_rows = len(source)
            parts.measure(lambda: (n_rows, self.sizes), net.criterion.group)
        record, seed = _open_record(net, source, options, settings, runner, self.member, parts)
        names = net._names_of(self.X)
        in_place = self.member is not None
        source, validation = _split(net, source, options, seed, names, parts, in_place=in_place)
        scored = bool(settings.metrics) and isinstance(source, Samples)
        train = cast(Samples, source).take() if scored else None
        scoring = Scoring(net, train, validation, settings.metrics, parts)
        source = _weigh(net, options.class_weight, source, parts)
        batch_size = settings.batch_size * settings.accumulate
        n = source if isinstance(source, Stream) else len(source)
        if parts is not None and not isinstance(n, Stream):
            n = int(parts.rows.sum())
        rows_of_part = settings.batch_size if isinstance(n, Stream) else min(settings.batch_size, n)
        check_rows(net.layers, rows_of_part, "a batch")
        batch_size, span = plan_batches(n, batch_size, epochs, optimizer)
        if parts is not None and isinstance(source, Stream):
            span = Span(epochs, None, batch_size)
        _check_logs(scoring, optimizer, schedule, span, runner)
        if record is None:  # which may restore the state of the optimiser
            net._check_rule(optimizer, net._hook)
        place = Place(initial_epoch)
        yield None
        begin = place

        def restore() -> Place:  # after all checks, because it changes the network
            return begin if record is None else record.restore(begin)

        place = restore() if parts is None else parts.lead(restore)
        if parts is not None and parts.ranks is not None:
            take_state_of_first(parts, net, cast(Optimizer, optimizer), schedule)
        session = self._session(source, batch_size, epochs, place)
        if schedule is not None:
            schedule.bind(span)
        net._remember(names)
        net._forget()
        with closing(session), record or nullcontext(), runner:
            loop = self._loop(session, span, scoring)
            if has_batch_norm(net.layers):  # whose trainable may be set while the fit runs
                loop.check = partial(self._check_layers, rows_of_part)
            loop.among_others = self.member is not None
            loop.runs_ahead = loop.among_others and isinstance(source, Samples)
            loop.rungs = () if self.member is None else self.member.rungs
            loop.begin(record)
            try:
                return (yield from loop.run(place.epoch, settings.time_budget))
            finally:
                net._count_steps(optimizer)

    def _check_layers(self, rows_of_part: int) -> None:
        """Raise an error for layers that cannot be trained as they are now."""
        check_rows(self.net.layers, rows_of_part, "a batch")
        self.net._check_rule(self.settings.optimizer, self.net._hook)

    def _loop(self, session: Session, span: Span, scoring: Scoring) -> Loop:
        settings = self.settings
        optimizer, schedule = settings.optimizer, settings.schedule
        loop = self.loop(self.net, session, optimizer, schedule, span, self.runner, scoring)
        if self.parts is not None:
            loop.take_parts(self.parts, self.options)
        return loop

    def _session(
        self, source: Samples | Stream, batch_size: int, epochs: int, place: Place
    ) -> Session:
        settings, optimizer = self.settings, self.settings.optimizer
        engine = None if self.member is None else self.member.engine
        in_python = self.net._hook is not None or isinstance(self.net.criterion, CustomLoss)
        if in_python or not isinstance(optimizer, Optimizer):
            engine = None  # a part of each step runs in Python, on the caller's thread
        rows = None
        data: object = source
        if isinstance(source, Samples):
            data, rows = (source.data, source.rows) if engine is not None else (source.take(), None)
        batching = SessionOptions(
            batch_size,
            bool(self.options.shuffle),
            settings.n_threads,
            part_rows=0 if settings.accumulate == 1 else min(settings.batch_size, _MAX_ROWS),
            rows=rows,
            population=engine,
            parts=self.parts,
        )
        if self.parts is not None and self.parts.shared:  # the state is that of a share of theta
            return self.net._begin(data, cast(Optimizer, optimizer), batching, epochs, place)
        begun = optimizer.session(self.net, cast(Data, data), batching, epochs, place)
        return cast(Session, begun)  # LBFGS lacks rates and place, which its fits do not need


# ---- checks of its arguments --------------------------------------------------------------


def _check_epochs(epochs: object, initial_epoch: object) -> tuple[int, int]:
    """(epochs, number of the first one), which leave at least one epoch."""
    n_epochs = check.check_positive_int(epochs, "epochs")
    if n_epochs > _MAX_EPOCHS:
        raise ValueError(f"epochs must be at most {_MAX_EPOCHS}; got {n_epochs}")
    first = check.check_count(initial_epoch, "initial_epoch")
    if first >= n_epochs:
        raise ValueError(f"initial_epoch is {first}; epochs, {n_epochs}, must be more")
    return n_epochs, first


def source_of(
    net: Trainee, X: object, y: object, sample_weight: object, epochs: int
) -> Samples | Stream:
    """What a fit trains on: checked arrays, or a stream."""
    loss = net.criterion
    if not isinstance(X, Stream):
        if y is None and loss.group == 1:
            raise TypeError("fit takes X and y, or a stream: see fastbp.stream")
        data = data_set(net, X, y, sample_weight)
        warn_of_lost_digits(y, loss, net.dtype)
        return Samples(data)
    if loss.group > 1:
        raise TypeError(f"a stream would part the rows that {loss} takes together")
    for name, value in (("y", y), ("sample_weight", sample_weight)):
        if value is not None:
            raise TypeError(f"a stream has its own {name}; pass None, and {name} to stream()")
    if X.n_epochs is not None and epochs > X.n_epochs:
        raise ValueError(
            f"{X!r} gives its blocks once, not in {epochs} epochs: pass the function that "
            "makes it to fastbp.stream, or epochs=1"
        )
    return X


def data_set(
    net: Trainee,
    X: object,
    y: object,
    sample_weight: object,
    names: check.DataNames = check.TRAINING,
) -> Data:
    """(X, y, weights or None) as sessions take them, finite.

    Parameters
    ----------
    net : Trainee
        The network, whose widths, loss and dtype the data have to suit.
    X, y, sample_weight
        As for `Network.fit`.
    names : DataNames
        The names of the arrays, for messages.

    Raises
    ------
    TypeError, ValueError
        For data that do not suit the network or are not finite.
    """
    given = X if type(X) is np.ndarray else None
    rows = net._inputs(X, names.X)
    if len(rows) > _MAX_ROWS:
        raise ValueError(
            f"{names.X} has {len(rows):,} rows; a fit takes at most {_MAX_ROWS:,} at once: give a "
            "stream of blocks, see fastbp.stream"
        )
    targets = net._targets(y, len(rows), names.X, names.y)
    check.check_finite(rows, names.X, net.dtype, given=given)  # reads all of X, so not first
    if targets is not None and targets.ndim == 1:
        targets = targets.copy()  # the caller may write a class that does not exist to y meanwhile
    weights = check.as_weights(
        sample_weight, len(rows), net.dtype, name=names.sample_weight, rows_of=names.X
    )
    check.check_known(targets, net.criterion, names.y, weights=weights)
    return rows, targets, weights


def _settings(net: Trainee, options: FitOptions) -> _Settings:
    batch_size = check.check_at_most_all(options.batch_size, "batch_size")
    net.criterion.check_batch_size(batch_size)
    accumulate = check.check_at_most_all(options.accumulate, "accumulate")
    n_threads, budget = options.n_threads, options.time_budget
    return _Settings(
        batch_size,
        accumulate,
        0 if n_threads is None else check.check_n_threads(n_threads, "n_threads"),
        None if budget is None else check.check_positive(budget, "time_budget"),
        resolve_metrics(options.metrics, net.criterion),
        resolve_optimizer(options.optimizer, fit=True),
        None if options.schedule is None else resolve_schedule(options.schedule),
    )


def _open_record(
    net: Trainee,
    source: Samples | Stream,
    options: FitOptions,
    settings: _Settings,
    runner: CallbackRunner,
    member: Member | None,
    parts: Divided | None,
) -> tuple[Record | None, int]:
    """The record of a fit with checkpoints, and the seed of the fit."""
    if options.checkpoint is None and options.on_signal is False:
        return None, net.seed
    from .signals import NEEDS_CHECKPOINT, SignalWatch, check_signals

    names = check_signals(options.on_signal)
    if options.checkpoint is None:
        if names:
            raise ValueError(NEEDS_CHECKPOINT)
        return None, net.seed
    from .checkpoints import Checkpoints, Record, identity, sample_of

    optimizer = cast(Optimizer, settings.optimizer)  # `check_fit` has refused LBFGS
    schedule = settings.schedule
    shared = parts is not None and parts.ranks is not None  # then the loop watches the signals
    watch = SignalWatch(() if shared else names)
    signals = watch if member is None or member.signals is None else member.signals
    arguments = {
        "batch_size": settings.batch_size,
        "accumulate": settings.accumulate,
        "shuffle": bool(options.shuffle),
        "validation_split": options.validation_split,
        "class_weight": repr(options.class_weight),
    }
    if parts is not None:
        arguments |= parts.settings
    data = source.take() if isinstance(source, Samples) else source
    sample = sample_of(net, data) if parts is None else sample_of_parts(net, data, parts)

    def open_it() -> tuple[Record, int]:
        files = Checkpoints(cast(str, options.checkpoint), options.every, options.resume)
        record = Record(files, net, optimizer, schedule, runner, signals)
        return record, record.open(identity(net, sample, optimizer, schedule, arguments))

    if parts is None or parts.ranks is None:
        return open_it()
    opened: list[Record] = []

    def seed_of_record() -> int:
        record, seed = open_it()
        opened.append(record)
        return seed

    seed = parts.lead(seed_of_record)
    return (opened[0] if opened else None), seed


def _split(
    net: Trainee,
    source: Samples | Stream,
    options: FitOptions,
    seed: int,
    names: Names | None,
    parts: Divided | None,
    *,
    in_place: bool,
) -> tuple[Samples | Stream, Data | None]:
    """What to train on and what to score on; in_place: without a copy of what is trained on.

    With parts, it measures what is trained on.
    """
    share = check.check_fraction(options.validation_split, "validation_split")
    given = check.validation_set(
        options.validation_data,
        options.X_val,
        options.y_val,
        options.sample_weight_val,
        has_targets=net.criterion.group == 1,
    )
    if given is not None:
        if share:
            name = "X_val" if options.validation_data is None else "validation_data"
            raise ValueError(f"give {name} or validation_split, not both")
        data, called = given
        check_column_names(data[0], names, called.X)
        return source, data_set(net, *data, called)
    if not share:
        return source, None
    if isinstance(source, Stream):
        raise TypeError("validation_split is for arrays; give validation_data with a stream")
    y = source.data[1]
    if y is None:
        raise ValueError(
            f"validation_split would part the pairs of {net.criterion}: give validation_data"
        )
    labels = None if y.ndim > 1 else y if source.rows is None else y[source.rows]
    if parts is None:
        train, held = hold_out(len(source), share, "validation_split", seed=seed, labels=labels)
    else:
        train, held = hold_out_of_parts(parts, share, seed, labels)
    for part in (train, held):
        weights = source.data[2]
        if weights is not None:
            weights = check.as_weights(weights[source.among(part)], len(part), net.dtype)
        check.check_known(y[source.among(part)], net.criterion, weights=weights)
    if in_place:
        return Samples(source.data, source.among(train).astype(np.int32)), source.take(held)
    return Samples(source.take(train)), source.take(held)


def _weigh(
    net: Trainee, class_weight: object, source: Samples | Stream, parts: Divided | None
) -> Samples | Stream:
    """The source, with the weights of the classes in those of the samples."""
    if isinstance(source, Stream):
        if class_weight is not None:
            raise TypeError("class_weight is for arrays; a stream has weights in its blocks")
        return source
    if class_weight is None:
        return source
    X, y, s = source.data
    rows = slice(None) if source.rows is None else source.rows
    y, s = (None if each is None else each[rows] for each in (y, s))
    count = None if parts is None else parts.sum
    weights = weigh(class_weight, y, s, net.criterion, net.widths[-1], net.dtype, count)
    check.check_known(y, net.criterion, weights=weights)
    if source.rows is not None:
        of_samples, weights = weights, np.zeros(len(X), net.dtype)
        weights[rows] = of_samples
    return Samples((X, source.data[1], weights), source.rows)


def plan_batches(
    source: int | Stream, batch_size: int, epochs: int, optimizer: Optimizer | LBFGS
) -> tuple[int, Span]:
    """The size of a batch, and what the fit consists of; source: a stream or a number of rows."""
    if isinstance(source, Stream):
        if optimizer.full_batch:
            raise TypeError(
                f"{type(optimizer).__name__} needs all rows at once, and a stream never has them"
            )
        batch_size = min(batch_size, _MAX_ROWS)
        return batch_size, Span(epochs, source.n_rows, batch_size, source.n_steps(batch_size))
    n_rows = source
    batch_size = n_rows if optimizer.full_batch else min(batch_size, n_rows)
    return batch_size, Span(epochs, n_rows, batch_size)


def _check_logs(
    scoring: Scoring,
    optimizer: Optimizer | LBFGS,
    schedule: Schedule | None,
    span: Span,
    runner: CallbackRunner,
) -> None:
    """Let schedule and callbacks check what the logs will contain."""
    if schedule is not None and schedule.per == "step" and span.n_rows is None:
        raise ValueError("a schedule by step needs a stream of arrays, whose steps are known")
    expected = scoring.expected(rates=schedule is not None or hasattr(optimizer, "lr"))
    if schedule is not None:
        schedule.check_logs(expected)
    runner.check_logs(expected)


# ---- the loop -----------------------------------------------------------------------------


class Loop:
    """The epochs of one fit."""

    def __init__(
        self,
        net: Trainee,
        session: Session,
        optimizer: Optimizer | LBFGS,
        schedule: Schedule | None,
        span: Span,
        runner: CallbackRunner,
        scoring: Scoring,
    ) -> None:
        self._net, self._session, self._optimizer, self._scoring = net, session, optimizer, scoring
        self._schedule, self._span, self._runner = schedule, span, runner
        self._per_batch = runner.per_batch
        self._stopped_by: str | None = None
        self._history = History(loss_name=scoring.loss_name)
        self._record: Record | None = None
        self.among_others = False  # a divergence is told in the History alone
        self.runs_ahead = False  # epochs may run on until something has to be looked at
        self.check: Callable[[], None] | None = None  # before every slice
        self.rungs: Collection[int] = ()  # after how many epochs it asks whether it goes on

    def take_parts(self, parts: Divided, options: FitOptions) -> None:
        """Take the parts of the data; one process with all of them needs nothing of them."""

    def begin(self, record: Record | None) -> None:
        """Write checkpoints, if there is a record, and continue from the one that was read."""
        if record is not None:
            self._record = record
            self._stopped_by = record.begin(self._history)

    def run(self, first: int, time_budget: float | None) -> Training:
        """Train, from epoch `first` on."""
        history = self._history
        self._deadline = float("inf") if time_budget is None else perf_counter() + time_budget
        if self._stopped_by is not None:
            first = self._span.epochs
        self._rows_done = self._session.rows_done
        self._begun_finite = self._net._non_finite() is None
        if self.runs_ahead and self._needs_no_look():
            yield from self._run_ahead(first)
            history.stopped_by = self._stopped_by
            return history
        for epoch in range(first, self._span.epochs):
            self._set_rates()
            logs = yield from self._epoch(epoch)
            if logs is None:
                break
            logs |= self._scoring.logs()
            logs["samples_per_second"] = self._speed
            if self._end_epoch(epoch, logs):
                break
            yield from self._pause(epoch + 1)
            if self._stopped_by is not None:
                break
        history.stopped_by = self._stopped_by
        return history

    def _end_epoch(self, epoch: int, logs: dict[str, float]) -> bool:
        """What happens after an epoch with these logs; whether it was the last one."""
        self._history.add(logs)
        if self._schedule is not None and self._schedule.observe(logs):
            self._stopped_by = self._stopped_by or "schedule"
        if self._runner.epoch_end(epoch, logs):
            self._stopped_by = self._stopped_by or "callback"
        last = self._stopped_by is not None or epoch + 1 == self._span.epochs
        if last and self._ends_spoilt(epoch, self._steps - 1):
            return True
        if self._record is not None:
            self._record.epoch_end(epoch + 1, self._stopped_by, last)
        return last

    def _ends_spoilt(self, epoch: int, step: int) -> bool:
        """Whether this last step, whose J was finite, has left parameters that are not."""
        lost = self._spoilt() if self._begun_finite else None
        if lost is None:
            return False
        parameter, value = lost
        self._diverged(DivergenceError(value, epoch=epoch, step=step, parameter=parameter))
        return True

    def _spoilt(self) -> tuple[str, float] | None:
        """A parameter that is not finite, and its value."""
        return self._net._non_finite()

    def _pause(self, epochs: int) -> Steps[None]:
        """Ask at a rung whether to go on."""
        waits = epochs in self.rungs and epochs < self._span.epochs
        if waits and not (yield Pause(epochs)):
            self._stopped_by = "halving"

    def _needs_no_look(self) -> bool:
        """Whether nothing happens between two epochs."""
        return (
            self._schedule is None
            and self._record is None
            and not self._runner.callbacks
            and not self._scoring.scores
        )

    def _run_ahead(self, epoch: int) -> Steps[None]:
        """Run epochs, and look only between two slices."""
        carried = 0.0  # seconds since the last epoch ended
        ran: Ran | None = None
        while epoch < self._span.epochs and self._stopped_by is None:
            left = max(self._deadline - perf_counter(), 0.0)
            end = min((rung for rung in self.rungs if rung > epoch), default=self._span.epochs)
            ahead = min(end - epoch, _MOST_AHEAD)
            begun = perf_counter()
            stretch = yield Turn(self._session, min(SLICE, left), ahead)
            ran, ended = cast(Stretch, stretch)
            took = [seconds for _, seconds in ended]
            since = perf_counter() - begun - sum(took)
            if took:
                took[0], carried, epoch = took[0] + carried, 0.0, epoch + len(took)
                self._add(ran, [loss for loss, _ in ended], cast(int, self._span.n_rows), took)
            carried += since
            if ran.diverged:
                self._diverged(DivergenceError(ran.last_loss, epoch=epoch, step=ran.step))
            elif perf_counter() >= self._deadline:
                self._stopped_by = "time_budget"
                rows = self._session.place.first
                if not ran.done and rows > 0:
                    self._add(ran, [ran.loss], rows, [carried])
            elif ran.done:
                yield from self._pause(epoch)
        if ran is not None and self._stopped_by in (None, "time_budget"):
            self._ends_spoilt(epoch - ran.done, ran.step - 1)

    def _add(self, ran: Ran, losses: list[float], rows: int, took: list[float]) -> None:
        """Add epochs of so many rows to the history, with the seconds that each took."""
        rates = {name: [rate] * len(losses) for name, rate in self._lr(ran).items()}
        speeds = [rows / max(seconds, 1e-9) for seconds in took]
        self._history.extend({"loss": losses} | rates | {"samples_per_second": speeds})

    def _set_rates(self) -> None:
        if self._schedule is None:
            return
        optimizer = cast(Optimizer, self._optimizer)  # `check_fit` has refused LBFGS
        n_steps = self._span.steps
        settings = self._schedule.epoch_settings(optimizer, self._net, n_steps)
        self._rates = cast(Array, settings.rates)
        self._session.set_steps(settings)

    def _lr(self, ran: Ran) -> dict[str, float]:
        """The learning rate of the last step, if the optimiser has one."""
        if self._schedule is not None:
            return {"lr": float(self._rates[min(ran.step, len(self._rates)) - 1])}
        return {"lr": self._optimizer.lr} if hasattr(self._optimizer, "lr") else {}

    def _epoch(self, epoch: int) -> Steps[dict[str, float] | None]:
        """The logs of an epoch, which may be incomplete; None if it diverged."""
        started, steps = perf_counter(), 0
        try:
            while True:
                if self.check is not None:
                    self.check()
                left = max(self._deadline - perf_counter(), 0.0)
                seconds = 0.0 if self._per_batch else min(SLICE, left)
                ran = cast(Ran, (yield Turn(self._session, seconds)))
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
                place = self._session.place
                self._record.save(place if place.epoch == epoch else Place(epoch))
            raise
        finally:
            if self._schedule is not None and steps > 0:
                self._schedule.advance(steps)
        self._steps = steps
        before, self._rows_done = self._rows_done, self._session.rows_done
        self._speed = (self._rows_done - before) / max(perf_counter() - started, 1e-9)
        return {"loss": ran.loss} | self._lr(ran)

    def _look(self, epoch: int, ran: Ran) -> None:
        """Call callbacks and check the time between two slices."""
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
        if not self._runner.diverged(error) and not self.among_others:
            raise error
        self._stopped_by = "divergence"
