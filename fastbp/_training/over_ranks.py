"""`Network.fit(comm=…)`: the loop over the epochs on every rank of a communicator.

All ranks make the same steps and the same decisions. Rank 0 alone calls callbacks, looks at the
clock and writes files. Whoever wants something within an epoch raises a flag, which the engines
exchange with the next step: all ranks then end their runs at the same step and meet.
"""

from __future__ import annotations

import copy
import hashlib
import threading
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from .._ranks.job import joined
from .._ranks.ranks import Ranks
from .._types import Array, Place, Ran, Trainee, Turn
from ..errors import DivergenceError
from ..history import History
from ..optim import Optimizer
from .divided import Divided
from .exchange import DIVERGED, FAILED, PROGRAM_FLAG
from .fit import SLICE, Loop, Steps, Training, alone, training
from .options import FitOptions
from .runner import ProgressBar
from .signals import SignalWatch, check_signals

if TYPE_CHECKING:
    from .checkpoints import Record


def fit_over_ranks(net: Trainee, X: object, y: object, options: FitOptions) -> History:
    """Train a network on every rank of `options.comm`; see `fastbp.Network.fit`."""
    with joined(options.comm) as ranks:
        steps = training(net, X, y, options, ranks=ranks, loop=SharedLoop)
        ranks.together(lambda: next(steps))  # all checks: nothing has changed if one fails
        history = alone(steps)
        _share_end(ranks, net)
        return history


def _share_end(ranks: Ranks, net: Trainee) -> None:
    """Take what callbacks of rank 0 have done to the parameters at the end of the fit."""
    theta = net._copy_of_theta()
    digest = hashlib.sha256(theta.tobytes()).digest()
    if len(set(ranks.agree(lambda: digest))) > 1:
        net.theta = ranks.comm.bcast(theta)


# ---- the loop -----------------------------------------------------------------------------


class SharedLoop(Loop):
    """The epochs of one fit on one of several ranks."""

    def take_parts(self, parts: Divided, options: FitOptions) -> None:
        """Take the ranks, and watch the signals that would end one rank alone."""
        self._divided = parts
        self._records = options.checkpoint is not None
        main = threading.current_thread() is threading.main_thread()
        names = check_signals(options.on_signal)
        self._watch = SignalWatch(("SIGINT", *names) if main else ())
        self._stepping = False  # the engines of the others wait for this one
        self._changed: tuple[Array, dict[str, Any]] | None = None  # by a callback after a batch

    def begin(self, record: Record | None) -> None:
        """Write checkpoints, if there is a record, and continue from the one that was read."""
        super().begin(record)
        told = self._divided.lead(lambda: (vars(self._history), self._stopped_by))
        if not self._divided.leads:
            vars(self._history).update(told[0])
            self._stopped_by = told[1]

    def run(self, first: int, time_budget: float | None) -> Training:
        """Train, from epoch `first` on."""
        divided, optimizer = self._divided, cast(Optimizer, self._optimizer)
        with self._watch:
            try:
                history = yield from super().run(first, time_budget if divided.leads else None)
            except BaseException as error:
                if isinstance(error, Exception) or divided.has_told(error):
                    try:
                        self._tell(error)
                    finally:
                        divided.widen(optimizer)
                raise
            divided.widen(optimizer)
        return history

    def _tell(self, error: BaseException) -> None:
        """Let all ranks raise an error of this one, unless they do already."""
        if self._divided.has_told(error):
            return
        if self._stepping and self._divided.size > 1:  # they learn of it with their next meeting
            self._session.raise_flags(PROGRAM_FLAG)
            ran = None
            while ran is None or not (self._session.flags or ran.done or ran.diverged):
                ran = Ran(*self._session.run(0.0))
        self._divided.agree(_failing(error))

    def _epoch(self, epoch: int) -> Steps[dict[str, float] | None]:
        started, steps = perf_counter(), 0
        wish: Callable[[], str] | None = None
        try:
            while True:
                left = max(self._deadline - perf_counter(), 0.0)
                seconds = 0.0 if self._per_batch else min(SLICE, left)
                ran = yield from self._turn(seconds)
                made, steps, flags = ran.step > steps, ran.step, self._session.flags
                if ran.diverged or flags & DIVERGED:
                    self._diverged(DivergenceError(ran.last_loss, epoch=epoch, step=steps))
                    return None
                if flags:
                    self._meet(wish)
                    wish = None
                if ran.done:  # of the last step, too; the rest is for the end of the epoch
                    self._meet(self._wish(epoch, ran, stepped=made), saves=False)
                if ran.done or self._stopped_by is not None:
                    break
                if wish is None:
                    wish = self._wish(epoch, ran, stepped=made)
                    if wish is not None and self._divided.size > 1:
                        self._session.raise_flags(PROGRAM_FLAG)
                    elif wish is not None:  # a rank alone exchanges no flags
                        self._meet(wish)
                        wish = None
                        if self._stopped_by is not None:
                            break
        finally:
            if self._schedule is not None and steps > 0:
                self._schedule.advance(steps)
        if self._divided.sync_every:
            self._divided.average_state(cast(Optimizer, self._optimizer))
        self._steps = steps
        before, self._rows_done = self._rows_done, self._session.rows_done
        self._speed = (self._rows_done - before) / max(perf_counter() - started, 1e-9)
        return {"loss": self._mean(ran)} | self._lr(ran)

    def _mean(self, ran: Ran) -> float:
        """The mean of J; with sync_every, over the steps of all ranks."""
        if not self._divided.sync_every:
            return ran.loss
        place = self._session.place
        told = self._divided.agree(lambda: (place.loss_sum, place.weight_sum))
        return sum(loss for loss, _ in told) / sum(weight for _, weight in told)

    def _turn(self, seconds: float) -> Steps[Ran]:
        """A slice of steps, after which the others wait for this rank unless all have stopped."""
        self._stepping = False  # if the engine fails, it tells the others
        ran = cast(Ran, (yield Turn(self._session, seconds)))
        flags = self._session.flags
        if flags & FAILED:
            self._divided.agree(lambda: None)  # raises the error of the rank that has one
        self._stepping = not (ran.done or ran.diverged or flags)
        return ran

    def _wish(self, epoch: int, ran: Ran, *, stepped: bool) -> Callable[[], str] | None:
        """What this rank wants within an epoch, as a function that names it or raises.

        stepped: whether the run has made a step, which callbacks are told of.
        """
        if self._watch.arrived:
            return lambda: "signal"
        if not self._divided.leads:
            return None
        try:
            if self._per_batch and stepped:
                logs = {"epoch": epoch, "loss": ran.last_loss} | self._lr(ran)
                before = _changeable(self._net, self._optimizer)
                stops = self._runner.batch_end(ran.step - 1, logs)
                after = _changeable(self._net, self._optimizer)
                self._changed = None if _same(before, after) else after
                if stops:
                    return lambda: "callback"
                if self._changed is not None:
                    return lambda: "change"
        except BaseException as error:  # noqa: BLE001 - all ranks raise it
            return _failing(error)
        if perf_counter() >= self._deadline:
            return lambda: "time_budget"
        if self._record is not None and self._record.due():
            return lambda: "save"
        return None

    def _meet(self, wish: Callable[[], str] | None, *, saves: bool = True) -> None:
        """All ranks stand before the same step: do what they want, perhaps without checkpoints."""
        wishes = self._divided.agree(lambda: None if wish is None else wish())
        if "change" in wishes or "callback" in wishes:
            changed = self._divided.lead(lambda: self._changed)
            if changed is not None and not self._divided.leads:
                _change(self._net, self._optimizer, changed)
        stops = [each for each in wishes if each in ("callback", "time_budget")]
        if stops:
            self._stopped_by = stops[0]
        if not saves:
            return
        if self._records and any(each in ("signal", "save", "time_budget") for each in wishes):
            self._save(self._session.place, cut="time_budget" in stops)
        if "signal" in wishes:
            self._act()

    def _save(self, place: Place, stopped_by: str | None = None, *, cut: bool = False) -> None:
        """Write a checkpoint on rank 0, with the whole state of the optimiser."""
        divided, optimizer = self._divided, cast(Optimizer, self._optimizer)
        if divided.sync_every and place.step > 0:
            divided.average_state(optimizer)
        whole = divided.whole(optimizer)

        def write() -> None:
            assert self._record is not None
            self._record.save(place, stopped_by, whole=whole, cut=cut)

        divided.lead(write)

    def _act(self) -> None:
        """Let signals have their effect; if one ends a rank, all end."""
        ended: BaseException | None = None
        try:
            self._watch.act()
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises
            ended = error
        told = self._divided.agree(lambda: None if ended is None else type(ended).__name__)
        if ended is not None:
            self._note(ended, told)
            raise ended
        kinds = {"KeyboardInterrupt": KeyboardInterrupt, "SystemExit": SystemExit}
        for name in told:
            if name is not None:
                other = kinds.get(name, RuntimeError)(f"another rank has ended by {name}")
                self._note(other, told)
                raise other

    def _note(self, error: BaseException, told: list[str | None]) -> None:
        """Note that all ranks end; the lowest one that a signal has ended prints the error."""
        ranks = self._divided.ranks
        assert ranks is not None
        ranks.note_told(error, next(rank for rank, name in enumerate(told) if name is not None))

    def _end_epoch(self, epoch: int, logs: dict[str, float]) -> bool:
        """Add the logs to the history and decide; whether this was the last epoch."""
        divided = self._divided
        arrived = self._watch.arrived
        told = divided.agree(lambda: (logs, arrived))
        logs, signals = told[0][0], any(n for _, n in told)
        self._history.add(logs)
        if self._schedule is not None and self._schedule.observe(logs):
            self._stopped_by = self._stopped_by or "schedule"
        # the bar of progress=True changes nothing
        asks = any(not isinstance(each, ProgressBar) for each in self._runner.callbacks)
        before = _changeable(self._net, self._optimizer) if asks else None

        def decide() -> tuple[str | None, bool, Any]:
            stopped_by = self._stopped_by
            if self._runner.epoch_end(epoch, logs):
                stopped_by = stopped_by or "callback"
            last = stopped_by is not None or epoch + 1 == self._span.epochs
            record = self._record
            saves = record is not None and record.due_after(epoch + 1, last=last or signals)
            after = None if before is None else _changeable(self._net, self._optimizer)
            return stopped_by, saves, None if _same(before, after) else after

        self._stopped_by, saves, changed = divided.lead(decide)
        if changed is not None and not divided.leads:
            _change(self._net, self._optimizer, changed)
        last = self._stopped_by is not None or epoch + 1 == self._span.epochs
        spoilt = last and self._ends_spoilt(epoch, self._steps - 1)
        if saves and not spoilt:
            stopped_by = None if self._stopped_by == "time_budget" else self._stopped_by
            self._save(Place(epoch + 1), stopped_by)
        if signals:
            self._act()
        return last

    def _spoilt(self) -> tuple[str, float] | None:
        return self._divided.lead(self._net._non_finite)

    def _diverged(self, error: DivergenceError) -> None:
        stops = self._divided.lead(lambda: self._runner.diverged(error))
        if not stops:
            self._divided.told(error)
            raise error
        self._stopped_by = "divergence"


def _failing(error: BaseException) -> Callable[[], str]:
    """A wish that raises an error."""

    def wish() -> str:
        raise error

    return wish


def _changeable(net: Trainee, optimizer: object) -> tuple[Array, dict[str, Any]]:
    """What callbacks may change: the parameters, and the numbers of the optimiser."""
    fields = getattr(optimizer, "_fields", ())
    return net._copy_of_theta(), {name: copy.copy(getattr(optimizer, name)) for name in fields}


def _same(before: Any, after: Any) -> bool:
    if before is None:
        return True
    bits = [each[0].view(np.uint8) for each in (before, after)]
    return bool(before[1] == after[1]) and np.array_equal(*bits)


def _change(net: Trainee, optimizer: Any, changed: tuple[Array, dict[str, Any]]) -> None:
    theta, hyper = changed
    net.theta = theta
    for name, value in hyper.items():
        if getattr(optimizer, name) != value:
            setattr(optimizer, name, value)
