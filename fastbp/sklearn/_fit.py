"""`fit` and `partial_fit` of both estimators, as generators that ask for each slice of a training.

So is the fit of a network; that of an ensemble asks for the fits of its members.
"""

from __future__ import annotations

from contextlib import closing, nullcontext
from typing import Any

from .. import _core
from .._ranks.job import joined
from .._training.divided import divided
from .._training.fit import Steps, alone
from ..population._together import run_together
from ._callbacks import warn_user
from ._ensemble import EnsembleSteps, end_of, ensemble_steps, is_ensemble
from ._estimator import BaseMLP, HeldOut
from ._in_parts import read_parts
from ._member import Member, Shared
from ._prepare import Request, check_request, prepare, training_steps
from ._state import forget_ensemble, unchanged_if_refused


def fit_estimator(
    est: BaseMLP,
    X: object,
    y: object,
    sample_weight: object = None,
    held_out: HeldOut | None = None,
    *,
    incremental: bool = False,
    classes: object = None,
) -> None:
    """Run `fit` of an estimator, or one pass over the data if `incremental`; see `fit_steps`."""
    request = Request(X, y, sample_weight, held_out or HeldOut(), incremental, classes)
    if is_ensemble(est):
        _fit_ensemble(est, request)
    else:
        alone(_fit_steps(est, request, None))


def fit_in_parts(
    est: BaseMLP,
    X: object,
    y: object,
    sample_weight: object,
    held_out: HeldOut,
    parts: int | None,
    comm: Any,
) -> None:
    """Run `fit` of an estimator in parts, on this rank of a communicator if there is one."""
    with nullcontext() if comm is None else joined(comm) as ranks:

        def request() -> Request:
            cut = divided(parts, ranks, None, None)
            assert cut is not None
            given, sizes = read_parts(X, y, sample_weight, cut)
            return Request(*given, held_out, False, None, cut, sizes)

        alone(_fit_steps(est, request() if ranks is None else ranks.together(request), None))


def fit_steps(
    est: BaseMLP,
    X: object,
    y: object,
    sample_weight: object = None,
    held_out: HeldOut | None = None,
    *,
    member: Member,
) -> Steps[None] | EnsembleSteps:
    """The fit of an estimator that is one of many.

    If an argument is refused, the estimator does not change. After a later exception, from a
    callback or from Ctrl-C, the weights are those after the last complete step.

    Parameters
    ----------
    est : BaseMLP
        The estimator.
    X, y, sample_weight
        As for `fit` of the estimator.
    held_out : HeldOut or None, default None
        The arguments about data to validate on; None for none.
    member : Member
        What it shares with other fits that run at the same time.

    Returns
    -------
    generator
        For an ensemble, its first value is a list of the fits of the members, to be run in its
        place; it takes the list of what they return.
    """
    request = Request(X, y, sample_weight, held_out or HeldOut(), False, None)
    make = ensemble_steps if is_ensemble(est) else _fit_steps
    return make(est, request, member)


def _fit_steps(est: BaseMLP, request: Request, member: Member | None) -> Steps[None]:
    """The fit of one network."""
    ranks = None if request.divided is None else request.divided.ranks
    with unchanged_if_refused(est):
        if ranks is None:
            steps = _begun(est, request, member)
        else:
            steps = ranks.together(lambda: _begun(est, request, member))
    if steps is None:
        return
    with closing(steps):
        yield None
        yield from steps


def _begun(est: BaseMLP, request: Request, member: Member | None) -> Steps[None] | None:
    """A training that is checked and begins with the next step; None without any weight."""
    est._validate_params()
    data = check_request(est, request, member)
    if data.first:
        forget_ensemble(est)
    if member is not None and not data.all_rows:
        member = member.with_other_rows()
    training = prepare(est, data, request, member)
    if training is None:
        return None
    steps = training_steps(est, training, request)
    next(steps)
    return steps


def _fit_ensemble(est: BaseMLP, request: Request) -> None:
    """Fit an ensemble by itself. After Ctrl-C, every member keeps what it has."""
    est._validate_params()  # of which n_threads is used now
    engine = _core.Population(est.n_threads or 0)
    with closing(ensemble_steps(est, request, Member(engine, Shared()))) as steps:
        fits = next(steps, None)
        if fits is None:
            return
        try:
            ends = run_together(fits, engine)
        except KeyboardInterrupt:
            warn_user("Training interrupted by user.")
            ends = [None] * len(fits)
        end_of(steps, ends)
