"""The fits of many networks at the same time: slices of all of them in one call of the engine."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import (
    Callable,
    Collection,
    Container,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
    Sized,
)
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from functools import partial
from time import perf_counter
from typing import Any, Generic, Protocol, TypeVar, cast

import numpy as np

from .. import _core
from .._checks import arguments as check
from .._checks.numbers import as_array
from .._network.engine import EngineSession
from .._network.network import Network
from .._training.blocks import BlockSession
from .._training.fit import Member, Result, Steps, Training, source_of, training
from .._training.options import FitOptions
from .._training.runner import in_one_fit
from .._training.signals import NEEDS_CHECKPOINT, SharedSignals, SignalWatch, check_signals
from .._training.streams import Stream
from .._types import Array, Data, Pause, Ran, Samples, Session, Stretch, Turn
from ..history import History
from ..optim import LBFGS, Optimizer
from ..optim import resolve as resolve_optimizer
from ..schedules import resolve as resolve_schedule
from ._each import naming_member, spread

_BETWEEN_LINES = 1.0  # seconds
T = TypeVar("T")
_End = TypeVar("_End")  # what a fit returns
_End_contra = TypeVar("_End_contra", contravariant=True)


class Report(Protocol):
    """What is told how far fits are that run together."""

    def add(self, epochs: int, ended: int) -> None:
        """Count epochs, and members whose fits have ended."""

    def close(self) -> None:
        """All fits have ended, or an exception has ended them."""


class Judge(Protocol[_End_contra]):
    """Who decides which fits go on, each time when all that have not ended wait at a rung."""

    @property
    def rungs(self) -> Collection[int]:
        """After how many epochs each fit waits."""

    def judge(self, ended: Mapping[int, _End_contra]) -> Collection[int]:
        """The numbers of the fits that go on; ended: what those have returned that have ended."""


def fit_together(
    nets: Sequence[Network],
    X: object,
    y: object,
    rows: object,
    keywords: Mapping[str, object],
    judge: Judge[History] | None = None,
    report: Report | None = None,
    engine: _core.Population | None = None,
) -> list[History]:
    """Train networks as `Population.fit` describes it; returns their Histories.

    engine: one with as many threads as the keywords say, or None to make it.
    """
    fits = Fits(nets, X, y, rows, keywords)
    engine = fits.engine() if engine is None else engine
    with fits.prepared(range(len(nets)), engine, judge) as (ready, signals):
        if keywords["progress"]:
            report = Progress([each.epochs for each in fits.options])
        return list(run_own(ready, len(nets), engine, judge, report, signals).values())


def run_together(
    fits: Sequence[Steps[_End]],
    engine: _core.Population,
    judge: Judge[_End] | None = None,
    report: Report | None = None,
    signals: SharedSignals | None = None,
) -> list[_End]:
    """Run fits that have made their checks, at the same time; returns what each returns."""
    ready = dict(enumerate(fits))
    return list(_Together(ready, len(fits), engine, judge, report, signals).run().values())


class Fits:
    """The fits of a population, before any of them has made its checks.

    Parameters
    ----------
    nets, X, y, rows, keywords
        As for `fit_together`.

    Attributes
    ----------
    options : list of FitOptions
        The arguments of each member.
    rows : list
        Checked row numbers of each member, or None for all rows.
    sources : Sources
        The data.

    Raises
    ------
    TypeError, ValueError
        For lists of another length, and for rows that are not there.
    """

    def __init__(
        self,
        nets: Sequence[Network],
        X: object,
        y: object,
        rows: object,
        keywords: Mapping[str, object],
    ) -> None:
        self.nets, self.X, self.y, self.keywords = nets, X, y, keywords
        self.options = _options_of_each(len(nets), keywords)
        self.rows = _rows_of_each(rows, len(nets), X)
        self.sources = Sources(X, y)

    def engine(self) -> _core.Population:
        """An engine with as many threads as the keywords say."""
        given = self.keywords["n_threads"]
        return _core.Population(0 if given is None else check.check_n_threads(given, "n_threads"))

    @contextmanager
    def prepared(
        self,
        own: Container[int],
        engine: _core.Population,
        judge: Judge[History] | None,
        signals_of: Callable[[SignalWatch], SharedSignals] = SharedSignals,
    ) -> Iterator[tuple[dict[int, Training], SharedSignals]]:
        """The fits of some members, by number, after all their checks, and their signals.

        Nothing has changed by then. The other members are kept from other fits meanwhile.
        """
        n, rungs = len(self.nets), () if judge is None else judge.rungs
        ready: dict[int, Training] = {}
        watch = SignalWatch(_signals_of_all(self.keywords["on_signal"], self.options))
        signals = signals_of(watch)
        with watch, ExitStack() as stack:
            for k, net in enumerate(self.nets):
                with naming_member(k, n):
                    stack.enter_context(net._fitting())
                    if k not in own:
                        stack.enter_context(in_one_fit(_state_of_one_fit(self.options[k])))
                        continue
                    source = self.sources.of(net, self.options[k], self.rows[k])
                    member = Member(source, engine, rungs, signals)
                    ready[k] = training(net, self.X, self.y, self.options[k], member)
                    stack.callback(ready[k].close)
                    next(ready[k])  # all its checks; nothing changes before those of the others
            yield ready, signals


def run_own(
    ready: Mapping[int, Training],
    n: int,
    engine: _core.Population,
    judge: Judge[History] | None,
    report: Report | None,
    signals: SharedSignals,
) -> dict[int, History]:
    """Run the fits of some of n members, as `Fits.prepared` gives them."""
    return _Together(ready, n, engine, judge, report, signals).run()


# ---- the arguments of each member ---------------------------------------------------------


def _options_of_each(n: int, keywords: Mapping[str, object]) -> list[FitOptions]:
    """The arguments of each fit. What only one fit can use is copied for each."""
    names = [field.name for field in fields(FitOptions) if field.name in keywords]
    of_all: dict[str, object] = {"progress": False, "on_signal": False}  # what all share
    lists = {name: spread(name, of_all.get(name, keywords[name]), n) for name in names}
    copies: dict[str, Callable[[Any], list[Any]]] = {
        "optimizer": lambda value: _own_optimizers(value, n),
        "schedule": lambda value: [copy.deepcopy(value) for _ in range(n)],
        "callbacks": lambda value: [own_callbacks(value) for _ in range(n)],
        "checkpoint": lambda value: [
            os.path.join(os.fsdecode(value), f"member-{k:04d}") for k in range(n)
        ],
    }
    for name, make in copies.items():
        shared = keywords[name]
        if shared is not None and all(value is shared for value in lists[name]):
            lists[name] = make(shared)
    lists["schedule"] = [
        resolve_schedule(each) if isinstance(each, Mapping) else each for each in lists["schedule"]
    ]
    _refuse_shared(lists["optimizer"])
    return [FitOptions(**{name: lists[name][k] for name in names}) for k in range(n)]


def _signals_of_all(on_signal: object, options: Sequence[FitOptions]) -> tuple[str, ...]:
    """The names of the signals at which all members write their checkpoints."""
    names = check_signals(on_signal)
    for k, each in enumerate(options):
        if names and each.checkpoint is None:
            with naming_member(k, len(options)):
                raise ValueError(NEEDS_CHECKPOINT)
    return names


def _own_optimizers(shared: str | Optimizer | LBFGS, n: int) -> list[Optimizer | LBFGS]:
    """An optimiser for each member, from a name or an optimiser for all."""
    with naming_member(0, n):  # the first that it does not suit
        optimizer = resolve_optimizer(shared, fit=True)
        if n > 1 and isinstance(optimizer, Optimizer) and optimizer.extrapolates and optimizer.t:
            raise ValueError(
                f"this {type(optimizer).__name__} holds the points y and z of one network: give a "
                "list with one optimiser for each member, or reset() this one"
            )
        if isinstance(optimizer, Optimizer):
            return list(optimizer._copies(n))
    return [copy.deepcopy(optimizer) for _ in range(n)]


def own_callbacks(callbacks: Iterable[Any]) -> list[Any]:
    """The same callbacks, with copies of those that hold the state of one fit."""
    return [copy.deepcopy(each) if getattr(each, "one_fit", False) else each for each in callbacks]


def _state_of_one_fit(options: FitOptions) -> list[object]:
    """The schedule and the callbacks of a member."""
    callbacks = options.callbacks
    return [options.schedule, *(callbacks if isinstance(callbacks, (list, tuple)) else ())]


def _refuse_shared(optimizers: Sequence[object]) -> None:
    objects = [id(each) for each in optimizers if isinstance(each, Optimizer)]
    if len(set(objects)) < len(objects):
        raise ValueError(
            "optimizer lists the same object twice; it keeps the state of one network: make one "
            "for each, or give one for all, which is copied"
        )


def _rows_of_each(rows: object, n: int, X: object) -> list[Array | None]:
    """Checked row numbers for each member."""
    if rows is None:
        return [None] * n
    if isinstance(X, Stream):
        raise TypeError("rows choose samples of an array X, and a stream has none: omit rows")
    if not isinstance(rows, (list, tuple)) or len(rows) != n:
        got = f"a list of {len(rows)}" if isinstance(rows, (list, tuple)) else type(rows).__name__
        raise ValueError(f"rows must be a list with one array for each of {n} members; got {got}")
    shape = getattr(X, "shape", None)
    n_rows = len(cast(Sized, X)) if shape is None else shape[0]
    known: dict[int, Array] = {}  # members often have the same, as the candidates of a search
    for k, each in enumerate(rows):
        if each is not None and id(each) not in known:
            known[id(each)] = _checked_rows(each, k, n_rows)
    return [None if each is None else known[id(each)] for each in rows]


def _checked_rows(rows: object, k: int, n_rows: int) -> Array:
    array = as_array(rows, f"rows[{k}]")
    if array.shape == (0,):
        raise ValueError(f"rows[{k}] is empty: a member needs at least one row")
    if array.ndim != 1 or array.dtype.kind not in "iub":
        raise TypeError(
            f"rows[{k}] must be a 1-D array of row numbers, or a mask; got {array.dtype} of shape "
            f"{array.shape}"
        )
    if array.dtype.kind == "b":
        if len(array) != n_rows:
            raise ValueError(f"rows[{k}] is a mask of {len(array)}; X has {n_rows} rows")
        array = np.flatnonzero(array)
    if len(array) == 0:
        raise ValueError(f"rows[{k}] chooses no row: a member needs at least one")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= n_rows:
        raise ValueError(
            f"rows[{k}] names row {low if low < 0 else high}; X has {n_rows} rows, from 0"
        )
    return np.ascontiguousarray(array, np.int32)


class Sources:
    """Checked data for members, which share them if they take them alike."""

    def __init__(self, X: object, y: object) -> None:
        self._X, self._y = X, y
        self._known: dict[object, Data] = {}

    def of(self, net: Network, options: FitOptions, rows: Array | None) -> Samples | Stream:
        """What a member trains on."""
        key: object = id(net)
        if type(net) is Network and net.feature_names is None:
            key = (net._architecture.inputs, net.widths[-1], str(net.criterion))
        data = self._known.get(key)
        if data is None:
            found = source_of(net, self._X, self._y, None, options.epochs)
            if isinstance(found, Stream):
                source_of(net, found, self._y, options.sample_weight, options.epochs)
                return found
            data = self._known[key] = found.data
        X, y, _ = data
        if rows is not None and net.criterion.group > 1:
            raise TypeError(f"rows would part the rows that {net.criterion} takes together")
        weights = check.as_weights(options.sample_weight, len(X), net.dtype)
        if rows is None:
            check.check_known(y, net.criterion, weights=weights)
        else:
            own = None if weights is None else weights[rows]
            own = check.as_weights(own, len(rows), net.dtype)
            check.check_known(None if y is None else y[rows], net.criterion, weights=own)
        return Samples((X, y, weights), rows)


# ---- the slices ---------------------------------------------------------------------------


class Progress:
    """The report of progress=True: a bar of tqdm if it is installed, else lines on stderr.

    `label` says whose epochs these are.
    """

    def __init__(self, epochs: Sequence[object], label: str = "") -> None:
        self._n, self._total = len(epochs), sum(int(n) for n in epochs if isinstance(n, int))
        self._label = f"{label}: " if label else ""
        self._done, self._ended, self._shown = 0, 0, perf_counter()
        try:
            from tqdm.auto import tqdm

            self._bar: Any = tqdm(
                desc=label or None, total=self._total, unit="epoch", file=sys.stderr
            )
        except ImportError:
            self._bar = None

    def add(self, epochs: int, ended: int) -> None:
        """Count epochs, and members whose fits have ended."""
        self._done, self._ended = self._done + epochs, self._ended + ended
        if self._bar is not None:
            self._bar.set_postfix(members=f"{self._ended}/{self._n}", refresh=False)
            self._bar.update(epochs)
        elif perf_counter() - self._shown > _BETWEEN_LINES or self._ended == self._n:
            self._shown = perf_counter()
            print(
                f"{self._label}{self._done}/{self._total} epochs  {self._ended}/{self._n} networks",
                file=sys.stderr,
                flush=True,
            )

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()


class _Together(Generic[_End]):
    """Fits that have made their checks, and are driven together: some of n members, by number."""

    def __init__(
        self,
        fits: Mapping[int, Steps[_End]],
        n: int,
        engine: _core.Population,
        judge: Judge[_End] | None,
        report: Report | None,
        signals: SharedSignals | None,
    ) -> None:
        self._fits, self._n = fits, n
        self._engine, self._judge, self._report = engine, judge, report
        self._signals = signals
        self._turns: dict[int, Turn] = {}
        self._waiting: list[int] = []  # at a rung
        self._ends: dict[int, _End] = {}
        self._told = 0  # how many of them the report knows

    def run(self) -> dict[int, _End]:
        try:
            for k in self._fits:
                self._go_on(k, None)
            while self._turns:
                if self._signals is not None:
                    self._signals.look()
                self._run_slices()
                if self._signals is not None:
                    self._signals.act_for_all()
                if self._waiting and not self._turns:
                    self._end_rung()
        except KeyboardInterrupt as error:
            self._interrupt(error)
            raise
        finally:
            if self._report is not None:
                self._report.close()
        return {k: self._ends[k] for k in self._fits}

    def _go_on(self, k: int, result: Result | Exception) -> None:
        """Let a fit go on with the result of its slice, until it asks for the next one."""
        fit = self._fits[k]
        try:
            with naming_member(k, self._n):
                request = fit.throw(result) if isinstance(result, Exception) else fit.send(result)
        except StopIteration as end:
            self._turns.pop(k, None)
            self._ends[k] = end.value
            return
        if isinstance(request, Pause):
            self._turns.pop(k, None)
            self._waiting.append(k)
        else:
            assert request is not None
            self._turns[k] = request

    def _end_rung(self) -> None:
        """Let those go on that the judge chooses, and the other ones end."""
        assert self._judge is not None
        chosen = self._judge.judge(self._ends)
        while self._waiting:
            k = self._waiting.pop(0)
            self._go_on(k, k in chosen)

    def _run_slices(self) -> None:
        """One slice of every fit that has not ended."""
        turns = dict(self._turns)
        slices: dict[int, tuple[_core.Fit, float, int]] = {}
        done = 0
        for k, turn in turns.items():
            session = self._ready(k, turn)
            if isinstance(session, EngineSession) and session.population is self._engine:
                slices[k] = (session.fit, turn.seconds, max(turn.epochs, 1))
            elif session is not None:
                done += self._run_alone(k, turn)
        results = self._engine.run(list(slices.values())) if slices else []
        for k, (ended, ran) in zip(slices, results, strict=True):
            done += self._take(k, turns[k], ran, ended)
        if self._report is not None:
            self._report.add(done, len(self._ends) - self._told)
            self._told = len(self._ends)

    def _guarded(self, k: int, call: Callable[[], T]) -> T | None:
        """The result of a call, or None after an exception, which the fit gets."""
        try:
            return call()
        except Exception as error:  # noqa: BLE001 - whatever it is, the fit has to end in order
            self._go_on(k, error)
            return None

    def _ready(self, k: int, turn: Turn) -> Session | None:
        """The session that is to run; None if that of a stream has ended its epoch or failed."""
        stream = turn.session
        if not isinstance(stream, BlockSession):
            return stream
        block = self._guarded(k, stream.ready)
        if block is None and k in self._turns and self._turns[k] is turn:
            ran = self._guarded(k, stream.end_epoch)
            if ran is not None:
                self._go_on(k, ran)
        return block

    def _take(
        self, k: int, turn: Turn, ran: tuple[Any, ...] | Exception, ended: Sequence[Sequence[float]]
    ) -> int:
        """Let a fit go on after its slice; returns how many epochs have ended."""
        if isinstance(ran, Exception):
            self._go_on(k, ran)
            return 0
        stream = turn.session
        if not isinstance(stream, BlockSession):
            self._go_on(k, Stretch(Ran(*ran), ended) if turn.epochs else Ran(*ran))
            return len(ended)
        result = self._guarded(k, partial(stream.went_on, Ran(*ran)))
        if result is None:
            return 0
        self._go_on(k, result)
        return int(result.done)

    def _run_alone(self, k: int, turn: Turn) -> int:
        """A slice of a fit whose steps are made in Python; returns how many epochs have ended."""
        begun = perf_counter()
        ran = self._guarded(k, partial(turn.session.run, turn.seconds))
        if ran is None:
            return 0
        result = Ran(*ran)
        ended = [(result.loss, perf_counter() - begun)] if result.done else []
        self._go_on(k, Stretch(result, ended) if turn.epochs else result)
        return len(ended)

    def _interrupt(self, error: KeyboardInterrupt) -> None:
        """Let every fit that has not ended write its checkpoint."""
        for k in [*self._turns, *self._waiting]:
            try:
                self._fits[k].throw(error)
            except (KeyboardInterrupt, StopIteration):
                continue
