"""`fit` and `partial_fit` of both estimators: check everything, then train.

A fit is a generator that asks for each slice of its training, as that of a network is.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from sklearn.utils import check_random_state

from .._training.fit import Steps, alone
from .._training.runner import in_one_fit
from ._arrays import checked_weights, refuse_zero_weights
from ._estimator import BaseMLP, HeldOut
from ._state import check_same_network, set_precision, unchanged_if_refused
from ._tasks import Tasks
from ._training import Member, Minimization, Training


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
    alone(fit_steps(est, X, y, sample_weight, held_out, incremental=incremental, classes=classes))


def fit_steps(
    est: BaseMLP,
    X: object,
    y: object,
    sample_weight: object = None,
    held_out: HeldOut | None = None,
    *,
    incremental: bool = False,
    classes: object = None,
    member: Member | None = None,
) -> Steps[None]:
    """The fit of an estimator, or one pass over the data if `incremental`.

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
    incremental : bool, default False
        Whether this is `partial_fit`.
    classes : array_like or None, default None
        All classes that `partial_fit` will get.
    member : Member or None, default None
        What it shares with other fits that run at the same time.
    """
    arguments = {"X": X, "y": y, "metadata": {"sample_weight": sample_weight}}
    with ExitStack() as open_callbacks:
        with unchanged_if_refused(est):
            est._validate_params()
            training = _prepare(
                est, X, y, sample_weight, held_out or HeldOut(), incremental, classes, member
            )
            if training is None:
                return
            open_callbacks.enter_context(in_one_fit(training.callbacks.callbacks))
            open_callbacks.enter_context(training.callbacks)
            epochs = 0 if est.solver == "lbfgs" else 1 if incremental else est.max_iter
            tasks = Tasks(est, epochs, arguments)
        yield None
        with est.network_._fitting():
            if isinstance(training, Minimization):
                training.run()
            else:
                yield from training.run(tasks, open_callbacks)
        tasks.end()


def _prepare(
    est: BaseMLP,
    X: object,
    y: object,
    sample_weight: object,
    held_out: HeldOut,
    incremental: bool,
    classes: object,
    member: Member | None,
) -> Training | Minimization | None:
    """Check everything and return the training to run; None if all weights are 0."""
    if est.solver == "lbfgs":
        est._refuse_epochs(held_out)
    if est.early_stopping and incremental:
        raise ValueError("partial_fit does not support early_stopping=True")
    sizes = est._hidden_sizes()
    first = "network_" not in est.__dict__ or not (est.warm_start or incremental)
    rows, targets = est._validated(X, y, reset=first)
    est._take_targets(targets, new=first, incremental=incremental, classes=classes)
    targets = est._encode(targets)
    weights = est._weighted(targets, checked_weights(sample_weight, rows))
    if weights is not None and not incremental:
        refuse_zero_weights(weights)
    if weights is not None and not weights.all():
        kept = weights != 0
        rows, targets, weights = rows[kept], targets[kept], weights[kept]
        member = None if member is None else replace(member, known={})
    est._random_state = check_random_state(est.random_state)
    if first:
        widths = (rows.shape[1], *sizes, est._n_units())
        dtype = est._network_dtype(rows.dtype)
        est._begin(widths, dtype, from_given=est.warm_start or incremental)
    else:
        check_same_network(est, sizes)
        set_precision(est)
    if rows.shape[0] == 0:  # all weights of this batch are 0
        return None
    rows = est._in_network_dtype(rows)
    est._check_range(targets)
    if est.solver == "lbfgs":
        return Minimization(est, rows, targets, weights)
    return Training(est, rows, targets, weights, held_out, incremental, member)
