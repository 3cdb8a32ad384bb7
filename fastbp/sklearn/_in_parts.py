"""`fit(parts=…, comm=…)` of an estimator: the loop of `Network.fit`, with scikit-learn's rules.

Rank 0 decides after each epoch when to stop, keeps the best weights and the record of the training,
which all ranks get at the end.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import Any

import numpy as np
from sklearn.utils.multiclass import type_of_target, unique_labels

from .._training.divided import Divided, check_same, hold_out_of_parts
from .._training.fit import Loop, Steps, training
from .._training.options import FitOptions
from .._training.over_ranks import SharedLoop
from .._training.part_source import PartSource
from .._training.streams import Stream
from .._types import Array
from ..errors import DivergenceError
from ..schedules import Schedule
from ._arrays import SparseMatrix
from ._callbacks import warn_user
from ._estimator import BaseMLP
from ._member import Member
from ._tasks import Tasks
from ._training import RECORD, Samples, Training, warn_of_max_iter

_OWN = {"callbacks", "n_threads", "random_state", "verbose"}  # parameters that may differ


def check_parameters(est: BaseMLP) -> None:
    """Raise ValueError for parameters that do not go with `parts` and `comm`."""
    if est.n_members > 1:
        raise ValueError(
            f"an ensemble trains whole members, each on all rows, and takes no parts or comm: set "
            f"n_members=1 (it is {est.n_members}), or spread the members of a fastbp.Population "
            "over ranks by its fit(comm=…)"
        )
    if est.solver == "lbfgs":
        raise ValueError("lbfgs searches along lines over all rows, not in parts: use adam")


def read_parts(
    X: object, y: object, sample_weight: object, divided: Divided
) -> tuple[tuple[object, object, object], list[int] | None]:
    """X, y, weights of this rank, and the rows of each of its parts if the caller has cut them."""
    if isinstance(X, PartSource):
        given, sizes = X.read(divided, y, sample_weight)
    else:
        given, sizes = (X, y, sample_weight), None
    if isinstance(given[0], Stream):
        raise TypeError("estimators take arrays, not streams: use fastbp.Network for streams")
    return given, sizes


def check_alike(
    est: BaseMLP, rows: Array | SparseMatrix, targets: Array, divided: Divided, **data: object
) -> None:
    """ValueError, on all ranks, if parameters or the form of the data differ between ranks."""

    def describe() -> dict[str, str]:
        params = est.get_params(deep=False)
        found = {name: _text(value) for name, value in params.items() if name not in _OWN}
        names = getattr(est, "feature_names_in_", None)
        return found | {
            "number of columns of X": str(rows.shape[1]),
            "dtype of X": str(rows.dtype),
            "names of columns": "none" if names is None else ", ".join(map(str, names)),
            "number of columns of y": "one" if targets.ndim == 1 else str(targets.shape[1]),
            **{name: "none" if value is None else "data" for name, value in data.items()},
        }

    check_same(divided, describe)


def all_labels(y: Array, divided: Divided) -> Array | None:
    """The labels of all ranks; a rank need not have them all. None for several per sample."""
    if type_of_target(y).startswith("multilabel"):
        return None
    told = divided.agree(lambda: unique_labels(y))
    labels: Array = unique_labels(*told)
    return labels


def state_of_first(rng: np.random.RandomState, divided: Divided) -> np.random.RandomState:
    """A generator with the state of that of rank 0."""
    state = divided.lead(rng.get_state)
    if divided.leads:
        return rng
    other = np.random.RandomState()
    other.set_state(state)
    return other


def without_zeros(kept: Array, divided: Divided) -> None:
    """Measure the parts without the rows that are not kept."""
    sizes = [int(np.count_nonzero(kept[rows])) for _, rows in divided.slices(divided.rows)]
    divided.measure(lambda: (sum(sizes), sizes))


def _text(value: object) -> str:
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


class PartTraining(Training):
    """One fit of an estimator in parts, perhaps over ranks; `divided` has measured its rows."""

    def __init__(
        self,
        est: BaseMLP,
        X: Array | SparseMatrix,
        y: Array,
        weights: Array | None,
        held_out: Samples | None,
        divided: Divided,
    ) -> None:
        self._divided = divided
        self._tasks: Tasks | None = None
        self._best: Array | None = None
        self._val_score = np.nan
        super().__init__(est, X, y, weights, held_out, incremental=False)

    # ---- before the training --------------------------------------------------------------

    def _split(
        self, X: Array | SparseMatrix, y: Array, weights: Array | None
    ) -> tuple[Array, Samples]:
        est = self.est
        seed = int(est._random_state.randint(np.iinfo(np.int32).max))
        labels = y.ravel() > 0.5 if est._stratified(y) else None
        name = "validation_fraction"
        train, held = hold_out_of_parts(self._divided, est.validation_fraction, seed, labels, name)
        return train, (X[held], y[held], None if weights is None else weights[held])

    def _count(self, y: Array) -> int:
        return int(self._divided.rows.sum())

    def _mean_weight(self, weights: Array | None) -> float:
        if weights is None:
            return 1.0
        parts = self._divided.slices(self._divided.rows)
        sums = {p: np.array([weights[rows].sum(dtype=np.float64)]) for p, rows in parts}
        total = self._divided.tree(sums)
        assert total is not None  # there are rows
        return float(total[0]) / self.n_samples

    def _callbacks(self) -> Any:
        return self.est.callbacks if self._divided.leads else ()

    def _make_rates(self, schedule: Schedule | None, batch_size: int) -> None:
        self._schedule = schedule  # the loop computes the rates

    def _open_session(
        self,
        samples: Samples,
        batch_size: int,
        part: Array | None = None,
        member: Member | None = None,
    ) -> None:
        """Begin the fit of the network, with all its checks."""
        est, divided = self.est, self._divided
        first = 0 if self._schedule is not None else len(est.loss_curve_)
        options = FitOptions(
            epochs=first + est.max_iter,
            initial_epoch=first,
            batch_size=batch_size,
            accumulate=1,
            optimizer=est._optimizer,
            schedule=self._schedule,
            shuffle=bool(est.shuffle),
            sample_weight=None,
            class_weight=None,
            metrics=(),
            validation_data=self.held_out,
            X_val=None,
            y_val=None,
            sample_weight_val=None,
            validation_split=0.0,
            time_budget=None,
            checkpoint=None,
            every="1 epoch",
            resume="auto",
            on_signal=False,
            callbacks=(_Rules(self),),
            progress=False,
            n_threads=est.n_threads,
            parts=divided.n,
        )
        base = Loop if divided.ranks is None else SharedLoop
        loop = _scoring_by(est, base)
        rows = _Cut(samples, divided)
        self._steps = training(est.network_, rows, None, options, ranks=divided.ranks, loop=loop)
        next(self._steps)

    # ---- the training ---------------------------------------------------------------------

    def run(self, tasks: Tasks, open_callbacks: ExitStack) -> Steps[None]:
        """Train; all ranks have the same network and record afterwards."""
        est, divided = self.est, self._divided
        self._tasks = tasks
        self._best = est.network_.theta.copy() if est.early_stopping else None
        est.n_iter_ = 0
        failure: Exception | None = None
        with open_callbacks:
            try:
                yield from self._steps
            except KeyboardInterrupt as stop:
                if not divided.has_told(stop):
                    raise
                if divided.leads:
                    warn_user("Training interrupted by user.")
            except Exception as error:
                if not divided.has_told(error):
                    raise
                failure = error
            self._share()
            if isinstance(failure, DivergenceError):
                self.diverged = True
                failure = self.refusal(failure)
                divided.told(failure)
            if failure is not None:
                raise failure

    def _share(self) -> None:
        """Give all ranks the record of rank 0, and its best weights."""
        est, divided = self.est, self._divided
        if self._best is not None and divided.leads:
            est.network_.theta = self._best
        known = vars(est)
        record, best = divided.lead(
            lambda: ({name: known[name] for name in RECORD if name in known}, self._best)
        )
        if not divided.leads:
            est.__dict__.update(record)
            if best is not None:
                est.network_.theta = best

    def end_epoch(self, epoch: int, logs: dict[str, float]) -> bool:
        """Record an epoch on rank 0; whether to stop."""
        assert self._tasks is not None
        est = self.est
        quantiles = len(est.network_.criterion.taus) > 1
        self._val_score = (
            -logs["val_loss"] if quantiles and "val_loss" in logs else logs.get("val_score", np.nan)
        )
        self._tasks.epoch_begin()
        stop = self._end_epoch(est.n_iter_, logs["loss"], self._tasks, self._best)
        if not stop and est.n_iter_ == est.max_iter:
            warn_of_max_iter(est, None)
        return stop

    def _validation_score(self, held_out: Samples) -> float:
        return self._val_score

    def end_by_divergence(self, error: DivergenceError) -> bool:
        """Whether the best weights before remain, with a warning."""
        if not self.est.early_stopping:
            return False
        if error.parameter is None:  # else the epoch is complete, and recorded
            self.diverged = True
            self.keep_best(error)
        return True


class _Rules:
    """The rules of an estimator as a callback of the loop."""

    def __init__(self, training: PartTraining) -> None:
        self._training = training

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> bool:
        return self._training.end_epoch(epoch, logs)

    def on_divergence(self, error: DivergenceError) -> bool:
        return self._training.end_by_divergence(error)


class _Cut(PartSource):
    """Checked rows of some parts, and how many each part has, and had held out."""

    def __init__(self, samples: Samples, cut: Divided) -> None:
        self._samples, self._cut = samples, cut

    def read(
        self, divided: Divided | None, y: object, sample_weight: object
    ) -> tuple[tuple[Any, Any, Any], list[int] | None]:
        if divided is not None:
            divided.held_sizes = self._cut.held_sizes
        return self._samples, [int(self._cut.rows[p]) for p in self._cut.own]


def _scoring_by(est: BaseMLP, base: type[Loop]) -> type[Loop]:
    """A loop whose `val_score` is the score of an estimator."""

    class ScoredLoop(base):  # type: ignore[misc, valid-type]
        def take_parts(self, parts: Divided, options: FitOptions) -> None:
            super().take_parts(parts, options)
            self._scoring.score_by(est._score_outputs)

    return ScoredLoop
