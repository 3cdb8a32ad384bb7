"""How a network is trained: one step, one batch, or whole data sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from os import PathLike
from signal import Signals
from typing import Any

import numpy as np

from .._checks import arguments as check
from .._checks.batch_norm import check_rows, normed_by_batch
from .._checks.caller import warn_caller
from .._checks.keywords import hinting, speaking_as
from .._training.fit import fit
from .._training.options import FitOptions
from .._training.sessions import BatchSession
from .._training.sessions import begin as begin_session
from .._types import Array, Data, DataSession, Place, Rows, Session, SessionOptions
from ..errors import DivergenceError
from ..history import History
from ..hooks import Hook
from ..metrics._metrics import Metric
from ..optim import LBFGS, Optimizer, ScheduleFree
from ..optim import resolve as resolve_optimizer
from ..schedules._registry import Spec as ScheduleSpec
from .backend import bind
from .derivatives import DifferentiableNetwork, alone

_LEAST_RATE = 1e-30  # as in csrc/nn/step.c: the rules of the engine take no 0


@dataclass
class PartialFit:
    """What `partial_fit` keeps: how the optimiser was given, the optimiser, and epochs made."""

    spec: str | Optimizer
    optimizer: Optimizer
    epochs: int = 0

    def is_for(self, optimizer: str | Optimizer) -> bool:
        """Whether a call with this optimiser continues: the same object, or the same name."""
        if isinstance(self.spec, str) and isinstance(optimizer, str):
            return self.spec.lower() == optimizer.lower()
        return self.spec is optimizer


@speaking_as("Network")
class TrainableNetwork(DifferentiableNetwork):
    """The training of a network; see `fastbp.Network`."""

    _partial: PartialFit | None = None  # of the last partial_fit

    @alone
    def step(self, optimizer: str | Optimizer) -> None:
        """Apply an optimiser to theta, with the gradient of the last backward.

        An optimiser keeps its state between calls, so pass the same object each time. Raises
        RuntimeError before a backward, and for a ScheduleFree whose gradient was not taken in
        `optim.extrapolated`; ValueError for an optimiser that a network of another size has used.
        Warns once, with a UserWarning, if the network has dropout or batch norm and the
        gradient comes from a forward without training=True, which drops nothing and uses running
        statistics.

        >>> import fastbp
        >>> from fastbp.optim import SGD
        >>> net = fastbp.Network((1, 1), init="zeros"); _ = net.value_and_grad([[3.0]], [[2.0]])
        >>> net.step(SGD(0.5)); net.theta
        array([3., 1.], dtype=float32)
        """
        resolved = resolve_optimizer(optimizer)
        if not self._has_gradient:
            raise RuntimeError(check.NO_BACKWARD)
        self._check_rule(resolved)
        self._check_gradient(resolved)
        if self._trains_apart and not self._trained:
            self._bind(resolved)  # if that raises, there is nothing to warn of
            self._warn_of_evaluation()
        self._backend.step(self._theta, self._grad, resolved)
        self._gradient_at = None  # it was for one step of a ScheduleFree
        if self._drops:
            self._count_steps(resolved)

    def _check_rule(self, optimizer: Optimizer, hook: Hook | None = None) -> None:
        """Raise TypeError if a rule does not go with a hook or with the constraints of a layer.

        RuntimeError in a block of `extrapolated`, ValueError for the points of another network.
        """
        self._check_at_x("step, train_batch and fit")
        if not isinstance(optimizer, Optimizer):  # which the step refuses
            return
        if optimizer.extrapolates and hook is not None:
            raise TypeError(
                f"{type(optimizer).__name__} takes gradients at a point of its own, and a hook is "
                "called at the parameters: take the hook away with net.on_delta(None)"
            )
        if optimizer.extrapolates and normed_by_batch(self._layers):
            raise TypeError(
                f"{type(optimizer).__name__} trains at another point than it returns, whose "
                "running statistics would be unknown: take another optimizer, or norm='layer'"
            )
        limited = any(each.max_norm is not None or each.non_negative for each in self.dense)
        if optimizer.extrapolates and limited:
            raise TypeError(
                f"{type(optimizer).__name__} returns a mean of points that max_norm and "
                "non_negative do not limit: take another optimizer, or layers without them"
            )
        if isinstance(optimizer, ScheduleFree):
            optimizer.check_owner(self._theta)

    def _check_gradient(self, optimizer: Optimizer) -> None:
        """Raise RuntimeError if the gradient was not taken where the rule of a step needs it."""
        elsewhere = self._gradient_at is not optimizer
        if optimizer.extrapolates and optimizer.t > 0 and elsewhere:
            raise RuntimeError(
                f"{type(optimizer).__name__} steps by the gradient at its point y, and since the "
                "last step there was no backward there: run forward and backward in a block of "
                "extrapolated(net, optimizer), and step after it"
            )

    def _warn_of_evaluation(self) -> None:
        """Warn of a step by hand after a forward for evaluation, if there was no warning yet."""
        if self._warned_of_evaluation or not (self._drops or normed_by_batch(self._layers)):
            return
        self._warned_of_evaluation = True
        if self._drops:
            what = "dropout, and a step by hand used none: forward(X) drops nothing"
        else:
            what = "batch norm, and a step by hand used running statistics, as forward(X) does"
        warn_caller(
            f"this network has {what}. Use "
            "forward(X, training=True) before backward and step, or train_batch or fit"
        )

    def _count_steps(self, optimizer: Optimizer | LBFGS) -> None:
        """Let the next forward for training use the masks of the optimiser's next step."""
        if self._drops and isinstance(optimizer, Optimizer):
            with self._lock:
                self._dropout_step = max(self._dropout_step, optimizer.t)

    @alone
    def train_batch(
        self,
        X: object,
        y: object,
        optimizer: Optimizer,
        *,
        sample_weight: object = None,
        hook: Hook | None = None,
    ) -> float:
        """Make one training step on a batch; returns its J before the update.

        This is the fastest way to train on samples that arrive one by one. The stored z, a and
        delta stay as they are, except with a hook: then they are those of this batch.

        Parameters
        ----------
        X : array_like (batch, n_0)
            The samples.
        y : array_like
            The targets, as for `backward`.
        optimizer : Optimizer
            An object of `fastbp.optim`, the same each time, since it keeps its state.
        sample_weight : array_like (batch,) or None, default None
            Weights of the samples, not negative.
        hook : callable or None, default None
            A hook for this call, in place of the one that `on_delta` has set.

        Returns
        -------
        float
            J, penalties included.

        Raises
        ------
        TypeError, ValueError
            For arrays that do not fit, and for one row if batch norm needs its variance. At the
            first step with an optimiser, also for running statistics that are not finite.
        DivergenceError
            If J is not finite; no parameter has changed then.

        Examples
        --------
        >>> import fastbp
        >>> from fastbp.optim import SGD
        >>> net = fastbp.Network((1, 1), init="zeros")
        >>> net.train_batch([[3.0]], [[2.0]], SGD(0.5))
        2.0
        >>> net.theta
        array([3., 1.], dtype=float32)
        """
        backend = self._backend
        rows = self._inputs(X)
        n = len(rows)
        if self._has_batch_norm:
            check_rows(self._layers, n, "X")
        targets = self._targets(y, n)
        s = None
        if sample_weight is not None:
            s = check.as_weights(sample_weight, n, self._theta.dtype)
            check.check_known(targets, self.criterion, weights=s)
        hook = self._hook_for(hook)
        self._check_rule(optimizer, hook)
        if type(X) is not np.ndarray:
            self._remember(self._names_of(X))
        if hook is None:
            J = backend.train_batch(self._theta, rows, targets, s, optimizer, self._seed)
            if self._drops:
                self._count_steps(optimizer)
            return J
        self._check_statistics()
        bind(optimizer, self._theta, len(self._layers))
        J = self._hooked_step(rows, targets, s, optimizer, hook)
        if not isfinite(J):
            raise DivergenceError(J, epoch=0, step=optimizer.t)
        self._count_steps(optimizer)
        return J

    @alone
    def _hooked_step(
        self, X: Rows, y: Array | None, s: Array | None, optimizer: Optimizer, hook: Hook
    ) -> float:
        """Make one step through the stored pass; returns J before it.

        There is no step if J is not finite.
        """
        self._forward(X, self._theta, (self._seed, optimizer.t) if self._trains_apart else None)
        J = self._backend.output_delta(y, s)
        if not isfinite(J):
            return J
        if self._has_batch_norm:
            self._backend.move_statistics(self._theta)
        self._recur(self._grad, hook)
        self._show_delta()
        self._backend.step(self._theta, self._grad, optimizer)
        return J

    # ---- sessions, for fit and others that drive them -------------------------------------

    def _session(self, data: Data, optimizer: Optimizer, options: SessionOptions) -> DataSession:
        """Steps over checked data: the backend's, or with a hook one batch at a time."""
        hook = self._hook
        self._check_rule(optimizer, hook)
        if hook is None:
            return self._backend.session(self._theta, data, optimizer, options, self._seed)
        if options.part_rows > 0:
            raise ValueError(
                "accumulate adds up gradients where no hook is called: leave accumulate out, or "
                "take the hook away with net.on_delta(None)"
            )

        def step(
            X: Rows, y: Array | None, s: Array, smoothing: float | None, dropout: Array | None
        ) -> float:
            assert smoothing is None and dropout is None  # `Together` refuses hooks
            with self._lock:
                J = self._hooked_step(X, y, s, optimizer, hook)
                self._forget()
            return J

        return BatchSession(
            step,
            data,
            optimizer,
            options,
            self.criterion,
            self._seed,
            self.dtype,
            least_rate=_LEAST_RATE,
            lock=self._lock,
            by_batch=lambda: normed_by_batch(self._layers),
        )

    def _begin(
        self,
        source: object,
        optimizer: Optimizer,
        options: SessionOptions,
        epochs: int,
        place: Place,
    ) -> Session:
        """A session on arrays or a stream that continues at a place; see `sessions.begin`."""
        return begin_session(self, source, optimizer, options, epochs, place)

    # ---- whole data sets ------------------------------------------------------------------

    @hinting("fit")
    def fit(
        self,
        X: object,
        y: object = None,
        *,
        epochs: int = 10,
        initial_epoch: int = 0,
        batch_size: int = 64,
        accumulate: int = 1,
        optimizer: str | Optimizer | LBFGS = "adam",
        schedule: ScheduleSpec | None = None,
        shuffle: bool = True,
        sample_weight: object = None,
        class_weight: object = None,
        metrics: Iterable[str | Metric] | Mapping[str, str | Metric] = (),
        validation_data: Sequence[object] | None = None,
        X_val: object = None,
        y_val: object = None,
        sample_weight_val: object = None,
        validation_split: float = 0.0,
        time_budget: float | None = None,
        checkpoint: str | PathLike[str] | None = None,
        every: str = "1 epoch",
        resume: bool | str = "auto",
        on_signal: bool | str | Signals | Sequence[str | Signals] = False,
        callbacks: Iterable[object] = (),
        progress: bool = False,
        n_threads: int | None = None,
        parts: int | None = None,
        comm: Any = None,
        sync_every: int | None = None,
        outer: Optimizer | None = None,
    ) -> History:
        """Train by mini-batches, on one machine or on many.

        Each epoch visits the samples in an order that the seed and the number of the epoch
        determine, in batches of batch_size; the last batch of an epoch may be smaller. A batch
        whose weights are all 0 is left out, and so is a last batch of one row if a layer has batch
        norm. Afterwards z, a and delta are forgotten.

        With `comm`, every rank of a communicator of MPI calls `fit` with the same arguments and
        its own rows, and all make each step together. Parameters, seed and the states of optimiser
        and schedule are those of rank 0; afterwards every rank has the same network, optimiser and
        History. Rank 0 alone calls callbacks, looks at the clock and writes files. The bits are
        those of `fit(parts=parts)` in one process on all rows. See docs/many_machines.md.

        Parameters
        ----------
        X : array_like (n, n_0), sparse matrix or Stream
            The samples, of any real dtype, a stream of blocks of samples: see `fastbp.stream`
            and docs/data.md, or data in parts of `fastbp.distributed.parts`. With `comm`, those of
            this rank.
        y : array_like (n, n_L) or (n,), or None, default None
            The targets: (n,) where n_L is 1, or class numbers (n,) for losses of classes. None with
            a stream, which has its own.
        epochs : int, default 10
            How many epochs there are in all, at least 1.
        initial_epoch : int, default 0
            The number of the first epoch. With the same optimiser and schedule, a second fit that
            begins where the first ended gives the same result as one fit.
        batch_size : int, default 64
            Samples of a batch, at least 1. One that exceeds n stands for n.
        accumulate : int, default 1
            How many batches contribute to the gradient of one step. Steps, rates and logs are those
            of a batch_size that is `accumulate` times as large, in the memory of one batch.
        optimizer : str, Optimizer or LBFGS, default "adam"
            A name or an object of `fastbp.optim`. The state of an object continues where it was.
        schedule : str, Schedule, dict or None, default None
            A name or an object of `fastbp.schedules`, which computes the learning rates from that
            of the optimiser. The state of an object continues where it was. A dict of them has the
            arguments of `fastbp.schedules.Together`: "lr", "label_smoothing" and "dropout".
        shuffle : bool, default True
            Whether to visit the samples in another order in each epoch; False keeps their order.
        sample_weight : array_like (n,) or None, default None
            Weights of the samples, not negative.
        class_weight : dict, array_like, "balanced" or None, default None
            Weights of the classes, as {class: weight} or one per class, which multiply those of the
            samples. Validation does not use them.
        metrics : iterable of str or callable, or dict, default ()
            Names of `fastbp.metrics`, or functions (outputs, targets, weights) -> number, computed
            after each epoch for the training rows and for those held out.
        validation_data : (X, y) or (X, y, sample_weight), or None, default None
            Data to score after every epoch.
        X_val, y_val, sample_weight_val : array_like or None, default None
            The same, as separate arguments instead of validation_data.
        validation_split : float, default 0.0
            Instead, the share of the rows to hold out for that, in [0, 1). The seed of the network
            chooses them; with class numbers, every class gives the same share.
        time_budget : float or None, default None
            Seconds after which the fit ends, after a whole step. The History has an entry for the
            incomplete epoch.
        checkpoint : path or None, default None
            A folder for checkpoints; a resumed fit is bit-identical to an uninterrupted one. See
            docs/checkpoints.md.
        every : str, default "1 epoch"
            How often to write one: a number of "epochs", "steps", "s", "min" or "h". One more is
            written at the end.
        resume : {"auto", True, False}, default "auto"
            "auto" continues from the checkpoint in the folder if there is one, True requires one,
            False starts again.
        on_signal : bool, str or sequence of str, default False
            Signals at which to write one too: "SIGTERM", "SIGUSR1", or True for both. After that,
            the handler that the program has for the signal is called. If it has none, SIGTERM ends
            the process, and training continues after SIGUSR1. Only in the main thread.
        callbacks : iterable, default ()
            See `fastbp.callbacks`.
        progress : bool, default False
            Whether to show a tqdm bar, or one line per epoch if tqdm is not installed.
        n_threads : int or None, default None
            The most threads to use, None for `fastbp.get_num_threads()`, which LBFGS always uses.
            Small work uses fewer. The results do not depend on it.
        parts : int or None, default None
            In how many parts to cut the rows, a power of two of at most 1024; None means 16 with
            `comm`, and no parts otherwise. The results depend on it, and not on the number of
            ranks. Part p of P has the rows p·n // P to (p+1)·n // P − 1. Rows are shuffled within
            their part, and every batch takes its share of each part; if parts differ in size,
            batches differ by up to P rows. Sums over a batch are added along a binary tree of the
            parts. With a matmul_precision of "high" or "medium", the factors of products are
            rounded and multiplied in float32.
        comm : mpi4py.MPI.Comm or None, default None
            Train on all ranks of this communicator, at most as many as there are parts. X, y, the
            weights and the validation data of each rank are its own; `fastbp.distributed.share`
            says which rows those are. Ranks with other numbers of rows cut them evenly into their
            own parts, and the results then depend on the number of ranks.
        sync_every : int or None, default None
            With `comm`: every rank makes this many steps by itself on batches of its own rows,
            which have its share of batch_size, and then all take the average of their parameters.
            For slow networks. This is another algorithm, whose results depend on the number of
            ranks.
        outer : Optimizer or None, default None
            With sync_every: an optimiser that takes the difference from the last average to the
            new one as a gradient, in place of the new average, as in DiLoCo (Douillard et al. 2023,
            arXiv:2311.08105): SGD(0.7, momentum=0.9, nesterov=True). Not with a checkpoint, which
            would lack its state.

        Returns
        -------
        History
            One entry per epoch.

        Raises
        ------
        TypeError, ValueError
            For arguments that do not fit or hold NaN; nothing has changed then. With `parts` or
            `comm`: for LBFGS, for accumulate and for a network with a hook. With `comm`, all ranks
            raise the error of one of them, also if networks or arguments differ between ranks.
        OSError
            If a rank cannot connect with rank 0.
        RuntimeError
            If another fit that is running has the schedule or a callback with a state, such as
            EarlyStopping; nothing has changed then.
        DivergenceError
            Before a step whose J is not finite, and after a last step that leaves a parameter which
            is not.
        KeyboardInterrupt
            When interrupted, with `comm` on any rank; the network is in the state after a whole
            step.

        Warns
        -----
        UserWarning
            If float32 would round away the differences between the targets.

        Examples
        --------
        >>> import fastbp
        >>> net = fastbp.Network((1, 1), seed=0)
        >>> net.fit([[0.0], [1.0]], [[1.0], [3.0]], epochs=2).epochs
        2
        """
        options = FitOptions(
            epochs=epochs,
            initial_epoch=initial_epoch,
            batch_size=batch_size,
            accumulate=accumulate,
            optimizer=optimizer,
            schedule=schedule,
            shuffle=shuffle,
            sample_weight=sample_weight,
            class_weight=class_weight,
            metrics=metrics,
            validation_data=validation_data,
            X_val=X_val,
            y_val=y_val,
            sample_weight_val=sample_weight_val,
            validation_split=validation_split,
            time_budget=time_budget,
            checkpoint=checkpoint,
            every=every,
            resume=resume,
            on_signal=on_signal,
            callbacks=callbacks,
            progress=progress,
            n_threads=n_threads,
            parts=parts,
            comm=comm,
            sync_every=sync_every,
            outer=outer,
        )
        with self._fitting():
            if comm is None:
                return fit(self, X, y, options)
            from .._training.over_ranks import fit_over_ranks

            return fit_over_ranks(self, X, y, options)

    @hinting("partial_fit")
    def partial_fit(
        self,
        X: object,
        y: object,
        *,
        batch_size: int = 64,
        optimizer: str | Optimizer = "adam",
        shuffle: bool = True,
        sample_weight: object = None,
        class_weight: object = None,
        n_threads: int | None = None,
    ) -> float:
        """Train for one epoch, as `fit` does; returns the mean of J.

        The network makes an optimiser that is given by name at the first call, and keeps it as long
        as the calls give the same name; files and copies do not have it. Calls count epochs, so
        each visits the samples in another order.

        Parameters
        ----------
        X, y, batch_size, optimizer, shuffle, sample_weight, class_weight, n_threads
            As for `fit`.

        Returns
        -------
        float
            The mean of J over the batches, before the update of each.

        Raises
        ------
        TypeError, ValueError, DivergenceError
            As `fit` does.

        Examples
        --------
        >>> import fastbp
        >>> net = fastbp.Network((1, 1), seed=0)
        >>> J = [net.partial_fit([[0.0], [1.0]], [[1.0], [3.0]]) for _ in range(3)]
        >>> J[2] < J[0]
        True
        """
        with self._partial_lock:
            kept = self._partial
            if kept is None or not kept.is_for(optimizer):
                kept = PartialFit(optimizer, resolve_optimizer(optimizer))
            history = self.fit(
                X,
                y,
                epochs=kept.epochs + 1,
                initial_epoch=kept.epochs,
                batch_size=batch_size,
                optimizer=kept.optimizer,
                shuffle=shuffle,
                sample_weight=sample_weight,
                class_weight=class_weight,
                n_threads=n_threads,
            )
            kept.epochs += 1
            self._partial = kept
        return history.loss[0]
