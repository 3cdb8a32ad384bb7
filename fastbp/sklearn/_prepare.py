"""The parts of a fit: check everything, make the network, run the solver."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple

from sklearn.utils import check_random_state

from .._checks.arguments import validation_set
from .._checks.words import counted
from .._training.divided import Divided
from .._training.fit import Steps
from .._training.runner import in_one_fit
from .._types import Array
from ._arrays import (
    SparseMatrix,
    checked_weights,
    refuse_masked_elements,
    refuse_zero_weights,
)
from ._estimator import BaseMLP, HeldOut
from ._in_parts import (
    PartTraining,
    all_labels,
    check_alike,
    check_parameters,
    state_of_first,
    without_zeros,
)
from ._member import Known, Member, Shared
from ._state import check_same_network, set_precision
from ._tasks import Tasks
from ._training import Minimization, Samples, Training


class Request(NamedTuple):
    """The arguments of `fit` or `partial_fit`, as they were given; see `fit_steps`."""

    X: object
    y: object
    sample_weight: object
    held_out: HeldOut
    incremental: bool
    classes: object
    divided: Divided | None = None
    sizes: list[int] | None = None  # the rows of each part, if the caller has cut them

    def for_tasks(self) -> dict[str, object]:
        """The arguments as scikit-learn's callbacks get them."""
        return {"X": self.X, "y": self.y, "metadata": {"sample_weight": self.sample_weight}}


@dataclass(frozen=True)
class Checked:
    """The data of a fit after the checks that need no network.

    Attributes
    ----------
    X : array or sparse matrix, shape (n, n_features)
        Inputs.
    y : array, shape (n,) or (n, n_units)
        Encoded targets.
    weights : array or None, shape (n,)
        Sample weights, none of them 0.
    sizes : tuple of int
        The widths of the hidden layers.
    first : bool
        Whether the fit makes new networks.
    all_rows : bool
        Whether X has all rows that were given; those with the weight 0 are left out.
    """

    X: Array | SparseMatrix
    y: Array
    weights: Array | None
    sizes: tuple[int, ...]
    first: bool
    all_rows: bool


def check_request(est: BaseMLP, request: Request, member: Member | None) -> Checked:
    """Check the arguments, and set the attributes that depend on the data alone."""
    incremental, divided = request.incremental, request.divided
    if divided is not None:
        check_parameters(est)
    if est.solver == "lbfgs":
        est._refuse_epochs(request.held_out)
    if est.early_stopping and incremental:
        raise ValueError("partial_fit does not support early_stopping=True")
    sizes = est._hidden_sizes()
    first = not est._n_fitted() or not (est.warm_start or incremental)
    if member is not None and first:
        rows, targets = _known(est, request, member.shared)
    else:
        rows, targets = _checked_data(est, request, new=first)
    weights = est._weighted(targets, checked_weights(request.sample_weight, rows), divided)
    if weights is not None and not incremental:
        refuse_zero_weights(weights)
    if divided is not None:
        n = rows.shape[0]
        divided.measure(lambda: (n, request.sizes))
    if not first and est._n_fitted() != est.n_members:
        raise ValueError(
            f"n_members is now {est.n_members}; the estimator was fitted with {est._n_fitted()}, "
            "and a warm start or partial_fit continues with that: set n_members back, call fit "
            "with warm_start=False, or use a clone of the estimator"
        )
    all_rows = weights is None or bool(weights.all())
    if weights is not None and not all_rows:
        kept = weights != 0
        if divided is not None:
            without_zeros(kept, divided)
        rows, targets, weights = rows[kept], targets[kept], weights[kept]
    return Checked(rows, targets, weights, sizes, first, all_rows)


def _checked_data(
    est: BaseMLP, request: Request, *, new: bool
) -> tuple[Array | SparseMatrix, Array]:
    """Checked inputs and encoded targets."""
    rows, targets = est._validated(request.X, request.y, reset=new)
    classes, divided = request.classes, request.divided
    if divided is not None:
        data = {"sample_weight": request.sample_weight, **request.held_out._asdict()}
        check_alike(est, rows, targets, divided, **data)
        classes = None if est._numeric else all_labels(targets, divided)
    est._take_targets(targets, new=new, incremental=request.incremental, classes=classes)
    return rows, est._encode(targets)


def _known(est: BaseMLP, request: Request, shared: Shared) -> tuple[Array | SparseMatrix, Array]:
    """The same for a first fit; another one with an estimator of the class may have checked them.

    The checks depend on the class and the data, and on no parameter.
    """
    data = shared.data
    if data is None or data.kind is not type(est):
        before = dict(vars(est))
        rows, targets = _checked_data(est, request, new=True)
        found = {
            name: value
            for name, value in vars(est).items()
            if name not in before or before[name] is not value
        }
        data = shared.data = Known(type(est), rows, targets, found)
    for name, value in data.attributes.items():
        setattr(est, name, value)
    return data.rows, data.targets


def prepare(
    est: BaseMLP,
    data: Checked,
    request: Request,
    member: Member | None,
    validation: Samples | None = None,
) -> Training | Minimization | None:
    """Make the network and the training to run; None if all weights are 0.

    `validation` are held-out samples that are checked already, in place of those of the request.
    """
    rows, incremental = data.X, request.incremental
    est._random_state = check_random_state(est.random_state)
    if request.divided is not None:
        est._random_state = state_of_first(est._random_state, request.divided)
    if data.first:
        widths = (rows.shape[1], *data.sizes, est._n_units())
        dtype = est._network_dtype(rows.dtype)
        est._begin(widths, dtype, from_given=est.warm_start or incremental)
    else:
        check_same_network(est, data.sizes)
        set_precision(est)
    if rows.shape[0] == 0:  # all weights of this batch are 0
        return None
    rows = est._in_network_dtype(rows)
    est._check_range(data.y)
    if est.solver == "lbfgs":
        return Minimization(est, rows, data.y, data.weights, member)
    if validation is None:
        validation = _validation(est, request.held_out, data.y)
    if request.divided is not None:
        return PartTraining(est, rows, data.y, data.weights, validation, request.divided)
    return Training(est, rows, data.y, data.weights, validation, incremental, member)


def _validation(est: BaseMLP, held_out: HeldOut, y: Array) -> Samples | None:
    """X, encoded y, and weights or None, to validate on; None if nothing was given."""
    given = validation_set(*held_out)
    if given is None:
        return None
    (X, y_val, sample_weight), names = given
    refuse_masked_elements(**{names.X: X, names.y: y_val})
    rows, targets = est._validated(X, y_val, reset=False)
    weights = checked_weights(sample_weight, rows, names.sample_weight)
    if weights is not None:
        refuse_zero_weights(weights)
    encoded = est._encode(targets)
    est._check_range(encoded)
    if encoded.shape[1:] != y.shape[1:]:
        got, expected = (1 if each.ndim == 1 else each.shape[1] for each in (encoded, y))
        raise ValueError(f"{names.y} has {counted(got, 'column')}; y has {expected}")
    return est._in_network_dtype(rows), encoded, weights


def training_steps(
    est: BaseMLP, training: Training | Minimization, request: Request
) -> Steps[None]:
    """The training of an estimator whose network is made; its callbacks begin at the first step."""
    with ExitStack() as open_callbacks:
        open_callbacks.enter_context(in_one_fit(training.callbacks.callbacks))
        open_callbacks.enter_context(training.callbacks)
        epochs = 0 if est.solver == "lbfgs" else 1 if request.incremental else est.max_iter
        tasks = Tasks(est, epochs, request.for_tasks())
        yield None
        with est.network_._fitting():
            if isinstance(training, Minimization):
                training.run()
            else:
                yield from training.run(tasks, open_callbacks)
        tasks.end()
