"""The solvers: scikit-learn's rules of when to stop around fastbp's epochs, and L-BFGS by SciPy."""

from __future__ import annotations

import warnings
from contextlib import ExitStack

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from .._checks.arguments import as_weights
from .._checks.targets import warn_of_lost_digits
from .._training.fit import SLICE
from .._training.runner import CallbackRunner
from .._types import Array, Place, Ran, SessionOptions
from ..errors import DivergenceError
from ..metrics._monitor import ExpectedLogs
from ..optim._lbfgs import descend
from ..schedules import Span
from ._estimator import BaseMLP
from ._state import kept_optimizer, kept_schedule
from ._tasks import Tasks


class Training:
    """One stochastic fit of an estimator whose network and random state stand.

    X (n, n_features), y as the network takes it, weights (n,) or None. Epochs go on until
    max_iter, or until the loss, with early stopping the validation score, has not got better by
    tol for more than n_iter_no_change of them.
    """

    def __init__(
        self,
        est: BaseMLP,
        X: Array,
        y: Array,
        weights: Array | None,
        validation_data: object,
        incremental: bool,
    ) -> None:
        self.est, self.incremental = est, incremental
        self.held_out = None
        if validation_data is not None:
            self.held_out = est._validation(validation_data)
        elif est.early_stopping:
            X, y, weights = self._split(X, y, weights)
        self.n_samples = X.shape[0]
        self.schedule = kept_schedule(est, incremental=incremental)
        est._optimizer = kept_optimizer(est, going_on=incremental)
        batch_size = est._clipped_batch_size(self.n_samples)
        if est._optimizer.full_batch:
            batch_size = self.n_samples
        mean_weight = 1.0 if weights is None else float(weights.mean(dtype=np.float64))
        net = est.network_
        self.callbacks = CallbackRunner(est.callbacks, net)
        self._check_logs()
        if self.schedule is not None:
            self.span = Span(est.max_iter, self.n_samples, batch_size)
            self.schedule.bind(self.span)
            self.first_rates = self._rates()
        warn_of_lost_digits(y, net.criterion, net.dtype, stacklevel=6)
        rows = net._inputs(X)  # seen to be finite before
        weights = as_weights(weights, len(rows), net.dtype)
        data = rows, net._targets(y, len(rows)), weights
        net._bind(est._optimizer)
        net._set_l2(est.alpha / (batch_size * mean_weight))
        options = SessionOptions(batch_size, bool(est.shuffle), est.n_threads or 0)
        self.session = net._session(data, est._optimizer, options)
        self.session.seek(Place(len(est.loss_curve_)))
        self._open_record()

    def _check_logs(self) -> None:
        """Monitors of schedule and callbacks are held against the logs that there will be."""
        expected = ExpectedLogs(loss=False)
        if self.held_out is not None:
            expected["val_score"] = True
        if self.schedule is not None:
            self.schedule.check_logs(expected)
        self.callbacks.check_logs(expected)

    def _open_record(self) -> None:
        """What is counted begins again where the fit before had another early_stopping."""
        est = self.est
        early = bool(est.early_stopping)
        if early == (est.best_loss_ is None):
            return
        est._no_improvement_count = 0
        est.best_loss_ = None if early else np.inf
        est.validation_scores_ = [] if early else None
        est.best_validation_score_ = -np.inf if early else None

    def _split(self, X: Array, y: Array, weights: Array | None) -> tuple[Array, Array, Array]:
        """Training rows; the others are held out, in classes' proportions where there are any."""
        est = self.est
        arrays = [X, y] if weights is None else [X, y, weights]
        parts = train_test_split(
            *arrays,
            random_state=est._random_state,
            test_size=est.validation_fraction,
            stratify=y > 0.5 if est._stratified(y) else None,
        )
        train, held_out = parts[::2], parts[1::2]
        if held_out[0].shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' "
                "or the size of your dataset."
            )
        none = [None] if weights is None else []
        self.held_out = (*held_out, *none)
        return (*train, *none)

    def run(self, tasks: Tasks, begun: ExitStack) -> None:
        """Train. However it ends, early stopping leaves the best weights so far.

        begun: closed when the epochs are over; it tells callbacks of the end.
        """
        est = self.est
        best = est.network_.theta.copy() if est.early_stopping else None
        est.n_iter_ = 0
        try:
            with begun:
                self._train(tasks, best)
        finally:
            if best is not None:
                est.network_.theta = best

    def _train(self, tasks: Tasks, best: Array | None) -> None:
        """Epochs until there is a reason to stop; best: given theta whenever the score is best."""
        est = self.est
        try:
            for epoch in range(est.max_iter):
                tasks.epoch_begin()
                ran = self._epoch()
                if ran.diverged:
                    self._diverged(ran)
                    tasks.epoch_end()
                    break
                improved = self._record(ran)
                if improved and best is not None:
                    best[...] = est.network_.theta
                logs = self._logs()
                observed = self.schedule is not None and self.schedule.observe(logs)
                stop = (
                    self.callbacks.epoch_end(epoch, logs)
                    | self._finished()
                    | observed
                    | tasks.epoch_end()
                )
                if stop or self.incremental:
                    break
                if est.n_iter_ == est.max_iter:
                    warnings.warn(
                        f"Stochastic Optimizer: Maximum iterations ({est.max_iter}) "
                        "reached and the optimization hasn't converged yet.",
                        ConvergenceWarning,
                        stacklevel=6,
                    )
        except KeyboardInterrupt:
            warnings.warn("Training interrupted by user.", UserWarning, stacklevel=6)

    def _epoch(self) -> Ran:
        """One pass over the data, or as far as J is finite."""
        if self.schedule is not None:
            self.session.set_rates(*(self.first_rates or self._rates()))
            self.first_rates = None
        ran = Ran(*self.session.run(SLICE))
        while not (ran.done or ran.diverged):
            ran = Ran(*self.session.run(SLICE))
        if self.schedule is not None:
            self.schedule.advance(ran.step)
        return ran

    def _diverged(self, ran: Ran) -> None:
        """ValueError; with early stopping a warning, since the best weights so far are kept."""
        est = self.est
        why = DivergenceError(ran.last_loss, epoch=ran.epoch, step=ran.step)
        if not est.early_stopping:
            raise ValueError(
                "Solver produced non-finite parameter weights. The input data may contain large "
                f"values and need to be preprocessed: {why}"
            )
        est.n_iter_ += 1
        est.loss_ = ran.last_loss
        est.loss_curve_.append(est.loss_)
        est.validation_scores_.append(np.nan)
        warnings.warn(
            f"Training diverged, and the best weights before that are kept: {why}",
            ConvergenceWarning,
            stacklevel=7,
        )

    def _record(self, ran: Ran) -> bool:
        """Count an epoch that is done; whether its validation score is the best so far."""
        est = self.est
        est.n_iter_ += 1
        est.t_ += self.n_samples
        est.loss_ = est._reported(ran.loss)
        est.loss_curve_.append(est.loss_)
        if est.verbose:
            print(f"Iteration {est.n_iter_}, loss = {est.loss_:.8f}")
        improved = self._score() if self.held_out is not None else False
        if not est.early_stopping:
            worse = est.loss_ > est.best_loss_ - est.tol
            est._no_improvement_count = est._no_improvement_count + 1 if worse else 0
            est.best_loss_ = min(est.best_loss_, est.loss_)
        if est._scales_by_samples():
            est._optimizer.lr = est._scaled_rate()
        return improved

    def _rates(self) -> tuple[Array, Array | None]:
        """Rates and momenta of the coming epoch's steps, by the schedule."""
        optimizer, n_steps = self.est._optimizer, self.span.steps
        rates = self.schedule.epoch_rates(optimizer.lr, n_steps)
        return rates, self.schedule.epoch_momenta(optimizer, n_steps)

    def _score(self) -> bool:
        est = self.est
        with np.errstate(over="ignore", invalid="ignore"):  # of a fit that is about to diverge
            score = est._score_encoded(*self.held_out)
        if est.validation_scores_ is None:
            est.validation_scores_, est.best_validation_score_ = [], -np.inf
        est.validation_scores_.append(score)
        if est.verbose:
            print(f"Validation score: {score:f}")
        if est.early_stopping:
            worse = score < est.best_validation_score_ + est.tol
            est._no_improvement_count = est._no_improvement_count + 1 if worse else 0
        improved = score > est.best_validation_score_
        est.best_validation_score_ = max(est.best_validation_score_, score)
        return improved

    def _logs(self) -> dict[str, float]:
        logs = {"loss": self.est.loss_}
        if self.held_out is not None:
            logs["val_score"] = self.est.validation_scores_[-1]
        return logs

    def _finished(self) -> bool:
        """Whether there is nothing more to be had; adaptive rates fall before that is said."""
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
                print(f"{why} Setting learning rate to {est._optimizer.lr:f}")
            return False
        if est.verbose:
            print(f"{why} Stopping.")
        return True


class Minimization:
    """Full-batch minimisation of the objective by SciPy's L-BFGS-B."""

    def __init__(self, est: BaseMLP, X: Array, y: Array, weights: Array | None) -> None:
        net = est.network_
        self.est = est
        warn_of_lost_digits(y, net.criterion, net.dtype, stacklevel=6)
        rows = net._inputs(X)
        self.data = rows, net._targets(y, len(rows)), as_weights(weights, len(rows), net.dtype)
        self.callbacks = CallbackRunner((), net)
        total = len(rows) if weights is None else float(weights.sum(dtype=np.float64))
        net._set_l2(est.alpha / total)

    def run(self, tasks: Tasks, begun: ExitStack) -> None:
        """Minimise; begun: of no callbacks, as there are no epochs."""
        est, net = self.est, self.est.network_
        options = {"maxfun": est.max_fun, "maxiter": est.max_iter, "gtol": est.tol}
        outcome = descend(net, *self.data, options)
        if outcome is None or not np.isfinite(net.theta).all():
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
            warnings.warn(message, ConvergenceWarning, stacklevel=5)
        if outcome.trouble is not None:
            message = f"lbfgs failed to converge: {outcome.trouble}"
            warnings.warn(message, ConvergenceWarning, stacklevel=5)
