"""`fit` and `partial_fit` of both estimators: prepare all that may be refused, then train."""

from __future__ import annotations

from contextlib import ExitStack

import numpy as np
from sklearn.utils import check_random_state

from ._arrays import checked_weights, in_dtype, refuse_no_weight
from ._estimator import BaseMLP
from ._state import check_same_network, unchanged_if_refused
from ._tasks import Tasks
from ._training import Minimization, Training


def fit_estimator(
    est: BaseMLP,
    X: object,
    y: object,
    sample_weight: object = None,
    validation_data: object = None,
    *,
    incremental: bool = False,
    classes: object = None,
) -> None:
    """Train an estimator: all of its `fit`, or one pass over the data where `incremental`.

    Refused arguments leave the estimator as it was. What is raised later, by a callback or by
    Ctrl-C, leaves the weights of the last whole step.
    """
    given = {"X": X, "y": y, "metadata": {"sample_weight": sample_weight}}
    with ExitStack() as begun:
        with unchanged_if_refused(est):
            est._validate_params()
            solve = _prepare(est, X, y, sample_weight, validation_data, incremental, classes)
            if solve is None:
                return
            begun.enter_context(solve.callbacks)
            epochs = 0 if est.solver == "lbfgs" else 1 if incremental else est.max_iter
            tasks = Tasks(est, epochs, given)
        solve.run(tasks, begun)
        tasks.end()


def _prepare(
    est: BaseMLP,
    X: object,
    y: object,
    sample_weight: object,
    validation_data: object,
    incremental: bool,
    classes: object,
) -> Training | Minimization | None:
    """All that may refuse, and what is to be run; None for a batch without weight."""
    if est.solver == "lbfgs":
        est._refuse_epochs(validation_data)
    if est.early_stopping and incremental:
        raise ValueError("partial_fit does not support early_stopping=True")
    sizes = est._hidden_sizes()
    first = "network_" not in est.__dict__ or not (est.warm_start or incremental)
    X, y = est._validated(X, y, reset=first)
    est._take_targets(y, new=first, incremental=incremental, classes=classes)
    y = est._encode(y)
    weights = est._weighted(y, checked_weights(sample_weight, X))
    if weights is not None and not incremental:
        refuse_no_weight(weights)
    if weights is not None and not weights.all():
        X, y, weights = (each[weights != 0] for each in (X, y, weights))
    est._random_state = check_random_state(est.random_state)
    if first:
        widths = (X.shape[1], *sizes, est._n_units())
        dtype = np.dtype(np.float64) if est.solver == "lbfgs" else X.dtype
        est._begin(widths, dtype, from_given=est.warm_start or incremental)
    else:
        check_same_network(est, sizes)
    if X.shape[0] == 0:  # a batch without weight, which is passed over as in fit
        return None
    X = in_dtype(X, est.network_.dtype)
    if est.solver == "lbfgs":
        return Minimization(est, X, y, weights)
    return Training(est, X, y, weights, validation_data, incremental)
