"""The fit of an ensemble: members that differ in their seeds, trained at the same time.

Lakshminarayanan, Pritzel & Blundell, "Simple and Scalable Predictive Uncertainty Estimation using
Deep Ensembles", NIPS 2017.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack
from numbers import Integral
from typing import Any, TypeAlias

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from .._training.fit import Steps
from ..population._together import own_callbacks
from ._callbacks import warn_user
from ._estimator import BaseMLP
from ._member import Member, Note
from ._prepare import Checked, Request, check_request, prepare, training_steps
from ._state import forget_network, unchanged_if_refused
from ._tasks import Tasks
from ._training import Minimization, Training

# The fit of a member returns the exception by which its training diverged, or None.
MemberSteps: TypeAlias = Steps[Exception | None]
EnsembleSteps: TypeAlias = Generator[list[MemberSteps], list[Exception | None], None]

# What a member has from the ensemble, besides the parameters.
_OF_THE_DATA = ("n_features_in_", "feature_names_in_", "classes_", "_multilabel", "n_outputs_")


def is_ensemble(est: BaseMLP) -> bool:
    """Whether an estimator, whose parameters are perhaps invalid, has several members."""
    return isinstance(est.n_members, Integral) and est.n_members > 1


def ensemble_steps(est: BaseMLP, request: Request, shared: Member) -> EnsembleSteps:
    """The fit of an ensemble; see `fit_steps`."""
    with ExitStack() as open_fits:
        with unchanged_if_refused(est), ExitStack() as undo:
            est._validate_params()
            data = check_request(est, request, shared)
            if not data.all_rows:
                shared = shared.with_other_rows()
            ensemble = _Ensemble(est, data, request, shared)
            ensemble.prepare(undo)
            if not ensemble.trainings:  # all weights of this batch are 0
                return
            fits = ensemble.begin(open_fits)
            tasks = Tasks(est, 0, request.for_tasks())
        ensemble.end((yield fits))
        tasks.end()


class _Ensemble:
    """One fit of an ensemble.

    Parameters
    ----------
    est : BaseMLP
        The ensemble; its attributes change.
    data : Checked
        The checked data, which the members share.
    request : Request
        The arguments of the fit.
    shared : Member
        What it shares with other fits that run at the same time.
    """

    def __init__(self, est: BaseMLP, data: Checked, request: Request, shared: Member) -> None:
        self.est, self.data, self.request, self.shared = est, data, request, shared
        self.members: list[BaseMLP] = []
        self.trainings: list[Training | Minimization] = []
        self.notes: list[Note] = []

    # ---- before the training --------------------------------------------------------------

    def prepare(self, undo: ExitStack) -> None:
        """Make the members and their trainings; `undo` gets what restores members of before."""
        est = self.est
        if self.data.first:
            self._refuse_given_weights()
            forget_network(est)
            est._n_begun, est.n_iter_ = int(est.n_members), 0
            members = [type(est).__new__(type(est)) for _ in range(est._n_begun)]
            for k, member in enumerate(members):
                member._number = k
        else:
            members = list(est.estimators_)
            for member in members:
                undo.enter_context(unchanged_if_refused(member))
        est.estimators_ = self.members = members
        self._take_from_ensemble(members)
        given = est.random_state
        if isinstance(given, Integral):
            self._draw_seeds(members, np.random.RandomState(given))
        for i, member in enumerate(members):
            self._prepare_member(member)
            if i == 0 and self.data.first and not isinstance(given, Integral):
                self._draw_seeds(members, member._random_state)  # after its own draws

    def _refuse_given_weights(self) -> None:
        """Raise ValueError for weights that were set to begin with, which would be those of all."""
        given = vars(self.est).get("_given")
        if given and (self.est.warm_start or self.request.incremental):
            raise ValueError(
                f"{' and '.join(given)} would make the members of an ensemble equal: set "
                "n_members=1, or fit first, and set those of each of estimators_"
            )

    def _take_from_ensemble(self, members: Sequence[BaseMLP]) -> None:
        """Give members the parameters of the ensemble, and what it knows of the data."""
        given = vars(self.est)
        names = [name for name in given if name[0] != "_" and name[-1] != "_"]
        for member in members:
            known = member.__dict__
            for name in _OF_THE_DATA:
                known.pop(name, None)
            seed = known.get("random_state")
            known |= {name: given[name] for name in (*names, *_OF_THE_DATA) if name in given}
            member.n_members = 1
            member.callbacks = own_callbacks(self.est.callbacks)
            if member._number > 0:
                member.random_state = seed

    def _draw_seeds(self, members: Sequence[BaseMLP], rng: np.random.RandomState) -> None:
        """Set random_state of the members after member 0."""
        seeds = rng.randint(np.iinfo(np.int32).max, size=self.est._n_begun - 1).tolist()
        for member in members:
            if member._number > 0:
                member.random_state = seeds[member._number - 1]

    def _prepare_member(self, member: BaseMLP) -> None:
        known = self.trainings[0] if self.trainings else None
        given = isinstance(known, Training) and len(self.request.held_out.given()) > 0
        validation = known.held_out if isinstance(known, Training) and given else None
        shared = self.shared.observed(member._number, self.notes, quiet=known is not None)
        training = prepare(member, self.data, self.request, shared, validation)
        if training is not None:
            self.trainings.append(training)

    def begin(self, open_fits: ExitStack) -> list[MemberSteps]:
        """Begin the callbacks of all members; returns their fits, which `open_fits` closes."""
        fits = []
        for member, training in zip(self.members, self.trainings, strict=True):
            steps = training_steps(member, training, self.request)
            open_fits.callback(steps.close)
            next(steps)
            fits.append(self._until_divergence(member, training, steps))
        return fits

    def _until_divergence(
        self, member: BaseMLP, training: Training | Minimization, steps: Steps[None]
    ) -> MemberSteps:
        """The fit of a member, which leaves the ensemble if its training diverges."""
        try:
            yield from steps
        except ValueError as error:
            if not training.diverged:
                raise
            left = [each for each in self.est.estimators_ if each is not member]
            self.est.estimators_ = left or self.est.estimators_
            return error
        return None

    # ---- after it -------------------------------------------------------------------------

    def end(self, outcomes: Sequence[Exception | None]) -> None:
        """Keep the members that have not diverged, and set the record of the ensemble.

        Raises ValueError if all have diverged, and any other exception of a member.
        """
        est, n = self.est, len(self.members)
        diverged: list[tuple[int, Exception]] = []
        for member, training, outcome in zip(self.members, self.trainings, outcomes, strict=True):
            if outcome is not None and not training.diverged:
                raise outcome
            if outcome is not None:
                diverged.append((member._number, outcome))
        if len(diverged) == n:
            est.estimators_ = self.members
            k, error = diverged[0]
            raise ValueError(f"all {n} members diverged; member {k}: {error}")
        kept = est.estimators_
        est.n_iter_ = max(member.n_iter_ for member in kept)
        losses = [vars(member)["loss_"] for member in kept if "loss_" in vars(member)]
        if losses:  # not after Ctrl-C in the first epoch
            est.loss_ = float(np.mean(losses))
        if diverged:
            (k, error), numbers = diverged[0], ", ".join(str(k) for k, _ in diverged)
            warn_user(
                f"{len(diverged)} of {n} members diverged and are left out of the ensemble "
                f"({numbers}, from 0); member {k}: {error}",
                ConvergenceWarning,
            )
        self._warn(n)

    def _warn(self, n: int) -> None:
        """One warning for those that members would have given."""
        if self.notes:
            numbers = {note.number for note in self.notes}
            which = f"{len(numbers)} of {n} members; member {self.notes[0].number}: "
            warn_user(f"{which}{self.notes[0].message}", ConvergenceWarning)


def end_of(
    steps: Generator[Any, list[Exception | None], Any], outcomes: list[Exception | None]
) -> Exception | None:
    """What the fit of an ensemble returns, which waits for what those of its members returned."""
    try:
        steps.send(outcomes)
    except StopIteration as end:
        found: Exception | None = end.value
        return found
    raise AssertionError("the fit of an ensemble goes on after those of its members")
