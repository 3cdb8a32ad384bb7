"""The fits of a population spread over the ranks of an MPI communicator.

Every rank has all members and all data, and trains some of the members. Before that, the ranks
compare what they were given, and take the parameters of rank 0; afterwards each takes what the
members of the others have become.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property, partial
from numbers import Integral
from time import monotonic, sleep
from typing import Any

from .._network.network import Network
from .._ranks.team import Team, share_out
from .._training.signals import SharedSignals, SignalWatch
from .._training.streams import Stream
from ..history import History
from ..optim import LBFGS, Optimizer
from ..schedules import Schedule
from ._each import naming_member
from ._fingerprint import check_same, described, digest_of
from ._halving import Bracket
from ._together import Fits, Progress, run_own

_OWN = ("progress", "n_threads", "optimizer")  # keywords that may differ between ranks
_CHANGES = ("theta", "seed", "dropout_step", "preprocessing")  # what a structure does not have
_STATEFUL = ("optimizer", "schedule")
_GRACE = 10.0  # seconds for the other ranks to get a signal, and to write checkpoints
_PAUSE = 0.002  # seconds between two looks whether they have


def fit_over_ranks(
    team: Team,
    nets: Sequence[Network],
    X: object,
    y: object,
    rows: object,
    keywords: Mapping[str, object],
    judge: Bracket[History] | None = None,
    given: Mapping[str, object] | None = None,
) -> list[History]:
    """Train networks as `Population.fit` describes it with `comm`; returns their Histories.

    given: more arguments that have to be the same on all ranks.
    """
    return _Call(team, nets, X, y, rows, dict(keywords), judge, dict(given or {})).run()


class _Call:
    """One call of `fit_over_ranks`."""

    def __init__(
        self,
        team: Team,
        nets: Sequence[Network],
        X: object,
        y: object,
        rows: object,
        keywords: dict[str, object],
        judge: Bracket[History] | None,
        given: dict[str, object],
    ) -> None:
        self._team, self._nets, self._judge = team, nets, judge
        self._data, self._keywords, self._given = (X, y, rows), keywords, given
        self._histories: dict[int, History] = {}

    def run(self) -> list[History]:
        team, numbers = self._team, range(len(self._nets))
        check_same(team, self._fingerprint)
        team.owners = share_out(map(self._work, numbers), team.ranks.size)
        with ExitStack() as stack:
            self._prepare(stack)
            error = self._train(stack)
        team.spread(team.owners, self._outcome, self._take_outcome)
        try:
            team.spread(team.owners, self._callback_states, self._take_callback_states)
        except Exception as failed:  # noqa: BLE001 - an error of the training comes first
            error = error or failed
        if error is not None:
            raise error
        return [self._histories[k] for k in numbers]

    # ---- before the training --------------------------------------------------------------

    def _fingerprint(self) -> dict[str, str]:
        """What has to be the same on all ranks, by name, as texts."""
        X, y, rows = self._data
        self._fits = fits = Fits(self._nets, X, y, rows, self._keywords)
        found = {"the number of members": str(len(self._nets))}
        for k, net in enumerate(self._nets):
            state = {name: x for name, x in net.__getstate__().items() if name not in _CHANGES}
            found |= {f"{name} of member {k}": described(value) for name, value in state.items()}
            found[f"optimizer of member {k}"] = _kind_of(fits.options[k].optimizer)
        arguments = self._keywords | self._given
        found |= {name: described(x) for name, x in arguments.items() if name not in _OWN}
        for k, each in enumerate(fits.rows):
            found[f"rows[{k}]"] = described(each)
        with naming_member(0, len(self._nets)):
            source = fits.sources.of(self._nets[0], fits.options[0], None)
        data = source.arrays() if isinstance(source, Stream) else source.data
        self._n_rows = source.n_rows if isinstance(source, Stream) else len(source)
        names = ("X", "y", "sample_weight")
        found |= {name: digest_of(x) for name, x in zip(names, data or (), strict=False)}
        return found

    def _work(self, k: int) -> float:
        """Steps of a member times its parameters, in arbitrary units."""
        options, rows = self._fits.options[k], self._fits.rows[k]
        first, last = _whole(options.initial_epoch, 0), _whole(options.epochs, 1)
        n_rows = (self._n_rows or 1) if rows is None else len(rows)
        return max(last - first, 1) * n_rows * self._nets[k].theta.size

    def _prepare(self, stack: ExitStack) -> None:
        """Take the state of rank 0 and make the checks of all members; `stack` ends the fits.

        If a check fails on any rank, the error is raised on all, and nothing has changed.
        """
        numbers, leads = range(len(self._nets)), self._team.ranks.leads
        kept = [] if leads else [self._state(k) for k in numbers]
        signals_comm = None
        if self._keywords["on_signal"]:
            signals_comm = self._team.ranks.comm.Dup()
            stack.callback(signals_comm.Free)

        def prepare() -> None:
            self._engine = self._fits.engine()
            signals_of = partial(_Signals, comm=signals_comm)
            fits = self._fits.prepared(self._own, self._engine, self._judge, signals_of)
            self._ready, self._signals = stack.enter_context(fits)

        try:
            self._team.spread([0] * len(numbers), self._state, self._take)
            self._team.meet(prepare)
        except BaseException:
            for k, state in enumerate(kept):
                self._take(k, state)
            raise

    @property
    def _own(self) -> list[int]:
        """The members of this rank."""
        return [k for k in range(len(self._nets)) if self._team.has(k)]

    # ---- the training, and afterwards -----------------------------------------------------

    def _train(self, stack: ExitStack) -> BaseException | None:
        """Train the members of this rank, and learn how the others have ended.

        Returns the error that ended any of them. It is not raised yet, because the ranks exchange
        what their members have become in any case.
        """
        own, error = self._own, None
        try:
            with stack.pop_all():
                report = None
                if self._keywords["progress"] and self._team.ranks.leads:
                    label = "" if len(own) == len(self._nets) else "members of rank 0"
                    report = Progress([self._fits.options[k].epochs for k in own], label)
                arguments = self._engine, self._judge, report, self._signals
                self._histories = run_own(self._ready, len(self._nets), *arguments)
                if self._judge is not None:
                    self._judge.finish(self._histories)
                else:
                    self._team.come(self._look_at_signals)
        except BaseException as raised:  # noqa: BLE001 - the others must learn of it
            error = raised
        if self._team.failed:  # at a meeting of the judge, so that the others know
            return error
        try:
            self._team.meet(partial(_raise, error))
        except BaseException as told:  # noqa: BLE001 - it is raised later
            return told
        return None

    def _look_at_signals(self) -> None:
        """Give signals their effect while this rank waits for the others."""
        self._signals.look()
        self._signals.act_for_all()

    def _outcome(self, k: int) -> dict[str, Any]:
        """What a fit has left of a member, for the ranks that have not trained it."""
        given = {name for name in _STATEFUL if isinstance(self._keywords[name], list)}
        return self._state(k, given) | {"history": self._histories.get(k)}

    def _take_outcome(self, k: int, outcome: dict[str, Any]) -> None:
        self._take(k, outcome)
        self._nets[k]._forget()
        if outcome["history"] is not None:
            self._histories[k] = outcome["history"]

    def _callback_states(self, k: int) -> list[Any]:
        return [each.state_dict() for each in self._callbacks_of(k)]

    def _take_callback_states(self, k: int, states: list[Any]) -> None:
        for callback, state in zip(self._callbacks_of(k), states, strict=True):
            callback.load_state_dict(state)

    def _callbacks_of(self, k: int) -> list[Any]:
        """The callbacks of a member that have a state, and that no other member has."""
        return [
            each
            for each in self._fits.options[k].callbacks
            if self._uses[id(each)] == 1
            and hasattr(each, "state_dict")
            and hasattr(each, "load_state_dict")
        ]

    @cached_property
    def _uses(self) -> Counter[int]:
        """How many members have each callback, by its id."""
        return Counter(id(each) for options in self._fits.options for each in options.callbacks)

    # ---- the state of a member ------------------------------------------------------------

    def _state(self, k: int, objects: Collection[str] = _STATEFUL) -> dict[str, Any]:
        """What a fit of a member begins with, and changes; with its optimiser and schedule."""
        net, options = self._nets[k], self._fits.options[k]
        return {
            "theta": net._copy_of_theta(),
            "seed": net.seed,
            "dropout_step": net.dropout_step,
            "feature_names": net.feature_names,
            "trainable": [layer.trainable for layer in net.layers],
            "objects": {name: _state_of(getattr(options, name)) for name in objects},
        }

    def _take(self, k: int, state: dict[str, Any]) -> None:
        net = self._nets[k]
        net._restore(state["theta"], state["seed"])
        net.dropout_step, net.feature_names = state["dropout_step"], state["feature_names"]
        for layer, flag in zip(net.layers, state["trainable"], strict=True):
            layer.trainable = flag
        for name, found in state["objects"].items():
            _set_state(getattr(self._fits.options[k], name), found)


class _Signals(SharedSignals):
    """Signals that have their effect when the members of all ranks have written checkpoints.

    Launchers send them to all ranks. A rank that gets one alone does not wait for the others long.

    Parameters
    ----------
    watch : SignalWatch
        The signals of this rank.
    comm : mpi4py.MPI.Comm or None
        A communicator for them alone; None if there are none to watch.
    """

    def __init__(self, watch: SignalWatch, comm: Any) -> None:
        super().__init__(watch)
        self._comm = comm

    def act_for_all(self) -> None:
        """Let what the fits have seen have its effect; see `SignalWatch.act`."""
        if self.arrived:
            request, until = self._comm.Ibarrier(), monotonic() + _GRACE
            while not request.Test() and monotonic() < until:
                sleep(_PAUSE)
        super().act_for_all()


def _state_of(given: object) -> Any:
    """The state of an optimiser or a schedule; None for a name."""
    if isinstance(given, LBFGS):
        return dict(vars(given))
    return given.state_dict() if isinstance(given, (Optimizer, Schedule)) else None


def _set_state(given: object, state: Any) -> None:
    if isinstance(given, LBFGS):
        vars(given).update(state)
    elif isinstance(given, (Optimizer, Schedule)):
        given.load_state_dict(state)


def _kind_of(optimizer: object) -> str:
    """What has to be the same of an optimiser whose state rank 0 gives."""
    return type(optimizer).__name__ if isinstance(optimizer, Optimizer) else described(optimizer)


def _whole(value: object, default: int) -> int:
    """A number of epochs that is not checked yet."""
    return int(value) if isinstance(value, Integral) else default


def _raise(error: BaseException | None) -> None:
    if error is not None:
        raise error
