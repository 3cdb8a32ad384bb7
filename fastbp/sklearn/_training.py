"""The solvers: fastbp's epochs with scikit-learn's stopping rules, and SciPy's L-BFGS."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from contextlib import ExitStack
from typing import cast

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from .._checks.arguments import as_weights
from .._checks.batch_norm import check_rows
from .._checks.targets import warn_of_lost_digits
from .._training.fit import SLICE, Steps
from .._training.runner import CallbackRunner
from .._types import Array, Pause, Place, Ran, SessionOptions, StepSettings, Stretch, Turn
from ..errors import DivergenceError
from ..losses import CustomLoss
from ..metrics._monitor import ExpectedLogs
from ..optim._lbfgs import check_precision, descend
from ..schedules import Schedule, Span
from ._arrays import SparseMatrix
from ._callbacks import warn_user
from ._estimator import BaseMLP
from ._member import Member, Note
from ._state import kept_optimizer, kept_schedule
from ._tasks import Tasks

# What a training records in its estimator.
RECORD = (
    *("n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", "validation_scores_"),
    *("best_validation_score_", "_no_improvement_count"),
)
# Rows, their encoded targets, and their weights.
Samples = tuple[Array | SparseMatrix, Array, Array | None]


class Training:
    """One fit by epochs of an estimator that has its network and its random state.

    Training ends after max_iter epochs. It ends earlier if the loss has not improved by tol for
    more than n_iter_no_change epochs; with early stopping, the validation score counts instead.

    Parameters
    ----------
    est : BaseMLP
        The estimator; its record and its network change.
    X : array or sparse matrix, shape (n, n_features)
        Inputs in the dtype of the network.
    y : array, shape (n,) or (n, n_units)
        Encoded targets.
    weights : array or None, shape (n,)
        Sample weights.
    held_out : Samples or None
        Checked data to validate on.
    incremental : bool
        Whether this is partial_fit: one epoch that continues the last training.
    member : Member or None, default None
        What it shares with other fits that run at the same time.
    """

    def __init__(
        self,
        est: BaseMLP,
        X: Array | SparseMatrix,
        y: Array,
        weights: Array | None,
        held_out: Samples | None,
        incremental: bool,
        member: Member | None = None,
    ) -> None:
        self.est, self.incremental, self.member = est, incremental, member
        self._rungs: Collection[int] = () if member is None else member.rungs
        self.diverged = False
        self._ahead: deque[Ran] = deque()  # epochs that have run and are not recorded yet
        self.held_out = held_out
        part = None
        if self.held_out is None and est.early_stopping:
            part, self.held_out = self._split(X, y, weights)
        train = _taken((X, y, weights), part)
        self.n_samples = self._count(train[1])
        schedule = kept_schedule(est, incremental=incremental)
        est._optimizer = kept_optimizer(est, incremental=incremental)
        quiet = member is not None and member.quiet
        batch_size = est._clipped_batch_size(self.n_samples, quiet=quiet)
        if est._optimizer.full_batch:
            batch_size = self.n_samples
        mean_weight = self._mean_weight(train[2])
        net = est.network_
        self.callbacks = CallbackRunner(self._callbacks(), net)
        self.rates: _Rates | None = None
        self._check_logs(schedule)
        self._make_rates(schedule, batch_size)
        if not quiet:
            warn_of_lost_digits(train[1], net.criterion, net.dtype)
        net._bind(est._optimizer)
        net._set_l2(est.alpha / (batch_size * mean_weight))
        if member is None or isinstance(net.criterion, CustomLoss):  # on the caller's thread
            self._open_session(train, batch_size)
        else:
            self._open_session((X, y, weights), batch_size, part, member)
        self._open_record()

    def _count(self, y: Array) -> int:
        """How many rows there are to train on."""
        return len(y)

    def _mean_weight(self, weights: Array | None) -> float:
        return 1.0 if weights is None else float(weights.mean(dtype=np.float64))

    def _callbacks(self) -> Sequence[object]:
        return self.est.callbacks

    def _make_rates(self, schedule: Schedule | None, batch_size: int) -> None:
        """Compute the first rates of a schedule."""
        if schedule is not None:
            schedule._check_network(self.est.network_)
            span = Span(self.est.max_iter, self.n_samples, batch_size)
            self.rates = _Rates(schedule, self.est, span)

    def _open_session(
        self,
        samples: Samples,
        batch_size: int,
        part: Array | None = None,
        member: Member | None = None,
    ) -> None:
        """Begin a session on the samples, or on a part of them where they are."""
        est, net = self.est, self.est.network_
        X, y, weights = samples
        known = {} if member is None else member.shared.rows
        if net.dtype not in known:
            known[net.dtype] = net._inputs(X)  # known to be finite
        rows = known[net.dtype]
        data = rows, net._targets(y, len(rows)), as_weights(weights, len(rows), net.dtype)
        self.batch_rows = min(batch_size, len(rows if part is None else part))
        check_rows(net.layers, self.batch_rows, "a batch")
        options = SessionOptions(
            batch_size,
            bool(est.shuffle),
            est.n_threads or 0,
            rows=part,
            population=None if member is None else member.engine,
        )
        self.session = net._session(data, est._optimizer, options)
        self.session.seek(Place(len(est.loss_curve_)))

    def _check_logs(self, schedule: Schedule | None) -> None:
        """Check what the schedule and the callbacks monitor against the logs of this fit."""
        expected = ExpectedLogs(loss=False)
        if self.held_out is not None:
            expected["val_score"] = True
        if schedule is not None:
            schedule.check_logs(expected)
        self.callbacks.check_logs(expected)

    def _open_record(self) -> None:
        """Restart the counters if early_stopping has changed since the last fit."""
        est = self.est
        early = bool(est.early_stopping)
        if early == (est.best_loss_ is None):
            return
        est._no_improvement_count = 0
        est.best_loss_ = None if early else np.inf
        est.validation_scores_ = [] if early else None
        est.best_validation_score_ = -np.inf if early else None

    def _split(
        self, X: Array | SparseMatrix, y: Array, weights: Array | None
    ) -> tuple[Array, Samples]:
        """Numbers of the training rows, and held-out rows; two classes keep their proportions."""
        est = self.est
        train, held_out = train_test_split(
            np.arange(len(y), dtype=np.int32),
            random_state=est._random_state,
            test_size=est.validation_fraction,
            stratify=y > 0.5 if est._stratified(y) else None,
        )
        if len(held_out) < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' "
                "or the size of your dataset."
            )
        return train, _taken((X, y, weights), held_out)

    def run(self, tasks: Tasks, open_callbacks: ExitStack) -> Steps[None]:
        """Train. With early stopping, the best weights so far remain, however training ends.

        `open_callbacks` is closed after the last epoch, which calls `on_fit_end`.
        """
        est = self.est
        best = est.network_.theta.copy() if est.early_stopping else None
        est.n_iter_ = 0
        try:
            with open_callbacks:
                yield from self._train(tasks, best)
        finally:
            if best is not None:
                est.network_.theta = best
        lost = est.network_._non_finite()
        if lost is not None:
            place = self.session.place
            self.diverged = True
            raise self.refusal(
                DivergenceError(lost[1], epoch=place.epoch, step=place.step - 1, parameter=lost[0])
            )

    def _train(self, tasks: Tasks, best: Array | None) -> Steps[None]:
        """Run epochs until there is a reason to stop; `best` receives theta at the best score."""
        est = self.est
        try:
            for epoch in range(est.max_iter):
                # a callback may have set trainable
                check_rows(est.network_.layers, self.batch_rows, "a batch")
                tasks.epoch_begin()
                ran = yield from self._epoch()
                if ran.diverged:
                    self._diverged(ran)
                    tasks.epoch_end()
                    break
                if self._end_epoch(epoch, ran.loss, tasks, best) or self.incremental:
                    break
                if not (yield from self._may_go_on(best)):
                    break
                if est.n_iter_ == est.max_iter:
                    warn_of_max_iter(est, self.member)
        except KeyboardInterrupt:
            if self.member is not None:  # it is for all of them
                raise
            warn_user("Training interrupted by user.")

    def _end_epoch(self, epoch: int, loss: float, tasks: Tasks, best: Array | None) -> bool:
        """Record a complete epoch; whether there is a reason to stop."""
        improved = self._record(loss)
        if improved and best is not None:
            best[...] = self.est.network_.theta
        logs = self._logs()
        observed = self.rates is not None and self.rates.schedule.observe(logs)
        return (
            self.callbacks.epoch_end(epoch, logs) | self._finished() | observed | tasks.epoch_end()
        )

    def _may_go_on(self, best: Array | None) -> Steps[bool]:
        """Whether to go on at a rung, where the network is as it would be after the fit."""
        est = self.est
        if est.n_iter_ not in self._rungs or est.n_iter_ == est.max_iter:
            return True
        if best is None:
            return bool((yield Pause(est.n_iter_)))
        current = est.network_.theta.copy()
        est.network_.theta = best
        goes_on = bool((yield Pause(est.n_iter_)))
        if goes_on:
            est.network_.theta = current
        return goes_on

    def _epoch(self) -> Steps[Ran]:
        """One pass over the data; it ends early if J is not finite."""
        if not self._ahead and (epochs := self._unseen()):
            yield from self._run_ahead(epochs)
        if self._ahead:
            return self._ahead.popleft()
        if self.rates is not None:
            self.session.set_steps(self.rates.take())
        while True:
            ran = cast(Ran, (yield Turn(self.session, SLICE)))
            if ran.done or ran.diverged:
                break
        if self.rates is not None:
            self.rates.schedule.advance(ran.step)
        return ran

    def _unseen(self) -> int:
        """How many epochs may run before anything but their losses has to be looked at.

        Training ends when the loss has not improved for more than n_iter_no_change epochs, so it
        cannot end in any before the last of these.
        """
        est = self.est
        looks = (
            self.held_out is not None
            or self.rates is not None
            or self.callbacks.callbacks
            or est._scales_by_samples()
            or est._reports_weights()
        )
        if self.member is None or looks or self.incremental:
            return 0
        ends = [rung for rung in self._rungs if rung > est.n_iter_]
        left = min(est.max_iter, *ends) - est.n_iter_ if ends else est.max_iter - est.n_iter_
        return int(min(left, max(est.n_iter_no_change + 1 - est._no_improvement_count, 0)))

    def _run_ahead(self, epochs: int) -> Steps[None]:
        """Run epochs, the last of which may be cut short because J is not finite."""
        while len(self._ahead) < epochs:
            left = epochs - len(self._ahead)
            ran, ended = cast(Stretch, (yield Turn(self.session, SLICE, left)))
            self._ahead += [ran._replace(diverged=False, loss=loss) for loss, _ in ended]
            if ran.diverged:
                self._ahead.append(ran)
                return

    def _diverged(self, ran: Ran) -> None:
        """Raise ValueError; with early stopping, which keeps the best weights, only warn."""
        why = DivergenceError(ran.last_loss, epoch=ran.epoch, step=ran.step)
        self.diverged = True
        if not self.est.early_stopping:
            raise self.refusal(why)
        self.keep_best(why)

    def refusal(self, why: DivergenceError) -> ValueError:
        """The error by which a fit without early stopping ends."""
        return ValueError(
            "Solver produced non-finite parameter weights. The input data may contain large "
            f"values and need to be preprocessed: {why}"
        )

    def keep_best(self, why: DivergenceError) -> None:
        """Record an epoch that has diverged, and warn."""
        est = self.est
        est.n_iter_ += 1
        est.loss_ = why.value
        est.loss_curve_.append(est.loss_)
        if est.validation_scores_ is not None:
            est.validation_scores_.append(np.nan)
        _warn(
            self.member,
            f"Training diverged; the best weights before that are kept: {why}",
        )

    def _record(self, loss: float) -> bool:
        """Record a completed epoch; return whether its validation score is the best so far."""
        est = self.est
        est.n_iter_ += 1
        est.t_ += self.n_samples
        est.loss_ = est._reported(loss)
        est.loss_curve_.append(est.loss_)
        if est.verbose:
            self._print(f"Iteration {est.n_iter_}, loss = {est.loss_:.8f}")
        improved = self._score(self.held_out) if self.held_out is not None else False
        if est.best_loss_ is not None:  # no early stopping
            worse = est.loss_ > est.best_loss_ - est.tol
            est._no_improvement_count = est._no_improvement_count + 1 if worse else 0
            est.best_loss_ = min(est.best_loss_, est.loss_)
        if est._scales_by_samples():
            est._optimizer.lr = est._scaled_rate()
        return improved

    def _score(self, held_out: Samples) -> bool:
        """Record the validation score; return whether it is the best so far."""
        est = self.est
        score = self._validation_score(held_out)
        best = est.best_validation_score_
        if est.validation_scores_ is None or best is None:
            est.validation_scores_, best = [], -np.inf
        est.validation_scores_.append(score)
        if est.verbose:
            self._print(f"Validation score: {score:f}")
        if est.early_stopping:
            worse = score < best + est.tol
            est._no_improvement_count = est._no_improvement_count + 1 if worse else 0
        est.best_validation_score_ = max(best, score)
        return score > best

    def _validation_score(self, held_out: Samples) -> float:
        with np.errstate(over="ignore", invalid="ignore"):  # if the fit is about to diverge
            return self.est._score_encoded(*held_out)

    def _print(self, text: str) -> None:
        number = None if self.member is None else self.member.number
        print(text if number is None else f"Member {number}: {text}")

    def _logs(self) -> dict[str, float]:
        logs = {"loss": self.est.loss_}
        if self.held_out is not None and self.est.validation_scores_:
            logs["val_score"] = self.est.validation_scores_[-1]
        return logs

    def _finished(self) -> bool:
        """Whether training has stopped improving; an adaptive rate is first divided by 5."""
        est = self.est
        if est._no_improvement_count <= est.n_iter_no_change:
            return False
        what = "Validation score" if est.early_stopping else "Training loss"
        why = (
            f"{what} did not improve more than tol={est.tol:f} for {est.n_iter_no_change} "
            "consecutive epochs."
        )
        if est.solver == "sgd" and est.learning_rate == "adaptive" and est._optimizer.lr > 1e-6:
            est._no_improvement_count = 0
            est._optimizer.lr /= 5
            if est.verbose:
                self._print(f"{why} Setting learning rate to {est._optimizer.lr:f}")
            return False
        if est.verbose:
            self._print(f"{why} Stopping.")
        return True


def warn_of_max_iter(est: BaseMLP, member: Member | None) -> None:
    _warn(
        member,
        f"Stochastic Optimizer: Maximum iterations ({est.max_iter}) "
        "reached and the optimization hasn't converged yet.",
    )


def _warn(member: Member | None, message: str) -> None:
    """Warn that the training has not converged, at once or at the end of an ensemble's."""
    if member is None or member.number is None:
        warn_user(message, ConvergenceWarning)
    else:
        member.notes.append(Note(member.number, message))


def _taken(samples: Samples, part: Array | None) -> Samples:
    """The samples of these numbers; all for None."""
    if part is None:
        return samples
    X, y, weights = samples
    return X[part], y[part], None if weights is None else weights[part]


class _Rates:
    """The rates of an estimator's schedule; those of the first epoch are computed before the fit.

    So a schedule that gives an invalid rate is refused before anything changes.
    """

    def __init__(self, schedule: Schedule, est: BaseMLP, span: Span) -> None:
        schedule.bind(span)
        self.schedule = schedule
        self._est, self._n_steps = est, span.steps
        self._first: StepSettings | None = self._compute()

    def take(self) -> StepSettings:
        """What changes in the coming epoch's steps."""
        settings = self._first or self._compute()
        self._first = None
        return settings

    def _compute(self) -> StepSettings:
        est = self._est
        return self.schedule.epoch_settings(est._optimizer, est.network_, self._n_steps)


class Minimization:
    """Full-batch minimisation of the objective by SciPy's L-BFGS-B."""

    def __init__(
        self,
        est: BaseMLP,
        X: Array | SparseMatrix,
        y: Array,
        weights: Array | None,
        member: Member | None = None,
    ) -> None:
        net = est.network_
        self.est, self.member = est, member
        self.diverged = False
        check_precision(net)
        if member is None or not member.quiet:
            warn_of_lost_digits(y, net.criterion, net.dtype)
        rows = net._inputs(X)
        self.data = rows, net._targets(y, len(rows)), as_weights(weights, len(rows), net.dtype)
        self.callbacks = CallbackRunner((), net)
        total = len(rows) if weights is None else float(weights.sum(dtype=np.float64))
        net._set_l2(est.alpha / total)

    def run(self) -> None:
        """Minimise; there are no epochs, so no callbacks are called."""
        est, net = self.est, self.est.network_
        options = {"maxfun": est.max_fun, "maxiter": est.max_iter, "gtol": est.tol}
        outcome = descend(net, *self.data, options)
        if outcome is None or not np.isfinite(net.theta).all():
            self.diverged = True
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                "values and need to be preprocessed."
            )
        est.n_iter_ = min(outcome.n_iterations, est.max_iter)
        est.loss_ = est._reported(outcome.J)
        if outcome.status == 1:
            message = (
                f"lbfgs failed to converge after {outcome.n_iterations} iteration(s) "
                f"(status={outcome.status}): {outcome.message}. Increase max_iter (it is "
                f"{est.max_iter}) or scale the data."
            )
            _warn(self.member, message)
        if outcome.trouble is not None:
            message = f"lbfgs failed to converge: {outcome.trouble}"
            _warn(self.member, message)
