"""The ensemble of a `TableModel`: folds, networks, training within a time limit, calibration."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .._config import get_num_threads
from .._network.dense import Dense
from .._network.embedding import Categories
from .._network.network import Network
from .._training.early_stopping import EarlyStopping
from .._types import Array
from ..errors import DivergenceError
from ..history import History
from ..metrics import lower_is_better
from ..optim import Adam
from ..population import Population
from ..schedules import CosLog4
from ._presets import (
    ACTIVATION,
    BETAS,
    EMBEDDING_RATE,
    RATE,
    SCALE_RATE,
    SMOOTHING,
    Preset,
    probe_of,
)

_MIN_FOLDS = 4
_MIN_VALIDATED = 5  # rows; with fewer, nothing is held out
_MIN_CALIBRATED = 50  # rows; with fewer, the temperature stays 1
_TEMPERATURES = np.exp(np.linspace(math.log(0.25), math.log(4.0), 129))
_PROBED_ROWS, _PROBES = 4096, 2
_USABLE = 0.85  # of a time limit, so that a busy machine does not overrun it
_MIN_EPOCHS, _MIN_MEMBERS = 8, 2  # to which a time limit reduces a preset
_TINY = 1e-12


@dataclass(frozen=True)
class Samples:
    """What networks are trained on.

    Parameters
    ----------
    X : ndarray of shape (n, n_inputs)
        The inputs.
    y : ndarray of shape (n,) or (n, k)
        The number of the class, or scaled numbers.
    weights : ndarray of shape (n,), optional
        The weights of the samples.
    """

    X: Array
    y: Array
    weights: Array | None = None

    def take(self, rows: Array) -> Samples:
        """The samples of these rows."""
        weights = None if self.weights is None else self.weights[rows]
        return Samples(self.X[rows], self.y[rows], weights)

    def arrays(self) -> tuple[Array, ...]:
        """X, y and the weights, if there are some."""
        return (self.X, self.y) if self.weights is None else (self.X, self.y, self.weights)


@dataclass(frozen=True)
class Plan:
    """An ensemble before its training.

    Parameters
    ----------
    preset : Preset
        What is trained.
    n_outputs : int
        Classes, or numbers.
    classifies : bool
        Whether the task is a classification.
    seed : int
        Of folds, weights and order of rows.
    n_threads : int, optional
        The most threads to use.
    categories : Categories, optional
        The embeddings of the last inputs, if these are codes.
    """

    preset: Preset
    n_outputs: int
    classifies: bool
    seed: int
    n_threads: int | None = None
    categories: Categories | None = None

    def network(self, n_inputs: int, k: int) -> Network:
        """Member k."""
        activation = ACTIVATION[self.classifies]
        first, *others = self.preset.hidden
        init, categories = "lecun_normal", self.categories
        hidden = [
            Dense(first, activation, init=init, scale=True, categories=categories),
            *(Dense(n, activation, init=init) for n in others),
        ]
        last = Dense(self.n_outputs, "softmax" if self.classifies else "identity", init="zeros")
        loss = f"cross_entropy(label_smoothing={SMOOTHING})" if self.classifies else "squared_error"
        seed = (self.seed + k) % 2**64
        return Network.from_layers(n_inputs, [*hidden, last], loss=loss, seed=seed)

    def optimizer(self) -> Adam:
        """The optimiser of a member."""
        return Adam(
            RATE[self.classifies],
            betas=BETAS,
            fan_in_scaling=True,
            lr_factors={"scale": SCALE_RATE, "embedding": EMBEDDING_RATE},
        )

    @property
    def monitor(self) -> str:
        """The record of a member that is least in its best epoch.

        The loss of classes has smoothed labels, which are not what matters.
        """
        return "val_log_loss" if self.classifies else "val_loss"

    def epochs(self, n_rows: int) -> int:
        """The epochs of a member that is trained on so many rows."""
        steps = -(-n_rows // self.preset.batch_size)
        return max(self.preset.epochs, -(-self.preset.min_steps // steps))


# ---- folds --------------------------------------------------------------------------------


def folds_of(samples: Samples, plan: Plan) -> list[tuple[Array, Array]]:
    """For each member its rows to train on and those held out; none if there are too few rows.

    There are as many folds as members, but at least four, so that a member is trained on three
    quarters of the rows or more. Of a classification, each fold has its share of every class.
    """
    n, members = len(samples.y), plan.preset.members
    n_folds = _n_folds(n, plan)
    if n < _MIN_VALIDATED:
        return []
    order = np.random.default_rng(plan.seed).permutation(n)
    if plan.classifies:
        order = order[np.argsort(samples.y[order], kind="stable")]
    fold = np.empty(n, np.intp)
    fold[order] = np.arange(n) % n_folds
    return [
        (np.flatnonzero(fold != k % n_folds), np.flatnonzero(fold == k % n_folds))
        for k in range(members)
    ]


def _n_folds(n: int, plan: Plan) -> int:
    return min(max(plan.preset.members, _MIN_FOLDS), n)


# ---- time ---------------------------------------------------------------------------------


def seconds_per_member(samples: Samples, plan: Plan) -> float:
    """A forecast of the seconds for which one thread trains a member."""
    some = samples.take(np.arange(min(len(samples.y), _PROBED_ROWS)))
    best = math.inf
    for _ in range(_PROBES):
        net = plan.network(samples.X.shape[1], 0)
        start = time.perf_counter()
        net.fit(
            some.X,
            some.y,
            epochs=1,
            batch_size=plan.preset.batch_size,
            optimizer=plan.optimizer(),
            n_threads=1,
        )
        best = min(best, time.perf_counter() - start)
    n = _trained_rows(len(samples.y), plan)
    return best / len(some.y) * n * plan.epochs(n)


def _trained_rows(n: int, plan: Plan) -> int:
    """The rows that a member is trained on, of n."""
    return n if n < _MIN_VALIDATED else n - n // _n_folds(n, plan)


def forecast(per_member: float, plan: Plan) -> float:
    """The seconds of all members, on the threads that there are."""
    threads = plan.n_threads or get_num_threads()
    return per_member * -(-plan.preset.members // threads)


def within(limit: float, per_member: float, plan: Plan, n: int) -> Plan:
    """The plan with fewer epochs, and then fewer members, so that it takes at most `limit` s."""
    usable = _USABLE * limit
    needed = forecast(per_member, plan)
    if needed <= usable:
        return plan
    epochs = plan.epochs(_trained_rows(n, plan))
    fewer = max(min(_MIN_EPOCHS, epochs), int(epochs * usable / needed))
    per_member *= fewer / epochs
    while plan.preset.members > _MIN_MEMBERS and forecast(per_member, plan) > usable:
        plan = replace(plan, preset=replace(plan.preset, members=plan.preset.members - 1))
    return replace(plan, preset=replace(plan.preset, epochs=fewer, min_steps=1))


# ---- training -----------------------------------------------------------------------------


@dataclass
class Ensemble:
    """Networks that are trained together, and what each is judged by.

    Attributes
    ----------
    networks : list of Network
        The members; after the training without those that diverged.
    judges : list of Samples
        For each member the samples that choose its best epoch; empty if there are none.
    shared : bool
        Whether the samples are the same for all.
    histories : list of History
        The record of each; empty if Ctrl-C has ended the training.
    interrupted : bool
        Whether it has.
    epochs : int
        The largest number of complete epochs of a member.
    """

    networks: list[Network]
    judges: list[Samples]
    shared: bool
    histories: list[History]
    interrupted: bool = False
    epochs: int = 0


class _Watch:
    """A callback that counts epochs, and keeps the error of a divergence."""

    def __init__(self) -> None:
        self.epochs = 0
        self.error: DivergenceError | None = None

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        self.epochs = epoch + 1

    def on_divergence(self, error: DivergenceError) -> None:
        self.error = error


def train(
    samples: Samples,
    held_out: Samples | None,
    plan: Plan,
    *,
    time_budget: float | None = None,
    progress: bool = False,
) -> Ensemble:
    """Train an ensemble.

    Parameters
    ----------
    samples : Samples
        What to train on.
    held_out : Samples, optional
        What to choose the best epochs by; by default each member holds out a fold.
    plan : Plan
        The ensemble.
    time_budget : float, optional
        Seconds after which the training ends.
    progress : bool
        Whether to show a progress bar.

    Raises
    ------
    DivergenceError
        All members diverge.
    """
    members = plan.preset.members
    folds = folds_of(samples, plan) if held_out is None else []
    judges = [samples.take(rows) for _, rows in folds]
    if held_out is not None:
        judges = [held_out] * members
    nets = [plan.network(samples.X.shape[1], k) for k in range(members)]
    epochs = plan.epochs(len(folds[0][0]) if folds else len(samples.y))
    watches = [_Watch() for _ in nets]
    callbacks: list[list[Any]] = [[watch] for watch in watches]
    options: dict[str, Any] = {}
    if judges:
        if plan.classifies:
            options["metrics"] = {"log_loss": _scored}
        for each in callbacks:
            each.append(EarlyStopping(plan.monitor, patience=epochs))
    ensemble = Ensemble(nets, judges, held_out is not None, [])
    try:
        ensemble.histories = Population(nets).fit(
            samples.X,
            samples.y,
            rows=[rows for rows, _ in folds] or None,
            sample_weight=samples.weights,
            epochs=epochs,
            batch_size=plan.preset.batch_size,
            optimizer=plan.optimizer(),
            schedule=CosLog4(),
            validation_data=[judge.arrays() for judge in judges] or None,
            callbacks=callbacks,
            time_budget=time_budget,
            progress=progress,
            n_threads=plan.n_threads,
            **options,
        )
    except KeyboardInterrupt:
        ensemble.interrupted = True
    ensemble.epochs = max(watch.epochs for watch in watches)
    _leave_out(ensemble, [watch.error for watch in watches])
    return ensemble


def least_error(
    samples: Samples, held_out: Samples | None, plan: Plan, time_budget: float | None
) -> float:
    """The least error on held-out rows of one network, by which inputs are compared.

    The arguments are those of `train`. It is infinite if the network diverges or completes no
    epoch. Raises KeyboardInterrupt when interrupted.
    """
    probe = replace(plan, preset=probe_of(plan.preset))
    try:
        ensemble = train(samples, held_out, probe, time_budget=time_budget)
    except DivergenceError:
        return math.inf
    if ensemble.interrupted:
        raise KeyboardInterrupt
    return min(ensemble.histories[0][plan.monitor], default=math.inf)


def _leave_out(ensemble: Ensemble, errors: Sequence[DivergenceError | None]) -> None:
    """Remove the members that diverged. Raises the first error if all have."""
    left = [k for k, error in enumerate(errors) if error is None]
    if not left and errors[0] is not None:
        raise errors[0]
    for name in ("networks", "judges", "histories"):
        values = getattr(ensemble, name)
        setattr(ensemble, name, [values[k] for k in left] if values else [])


@lower_is_better
def _scored(outputs: Array, targets: Array, weights: Array | None) -> float:
    """The log loss of probabilities (n, classes) for the numbers of the classes."""
    found = outputs[np.arange(len(outputs)), np.asarray(targets, np.intp)]
    return float(-np.average(np.log(np.maximum(found, _TINY)), weights=weights))


# ---- calibration --------------------------------------------------------------------------


def sharpened(probabilities: Array, temperature: float) -> Array:
    """Probabilities (n, classes) to the power 1/temperature, with sum 1."""
    if temperature == 1:
        return probabilities
    logs = np.log(np.maximum(probabilities.astype(np.float64), _TINY)) / temperature
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    found: Array = (powers / powers.sum(axis=1, keepdims=True)).astype(probabilities.dtype)
    return found


def temperature_of(ensemble: Ensemble) -> float:
    """The temperature with the least log loss on the rows that judge the members.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017. With folds, these are the
    probabilities of each member for the rows that it did not see. It is 1 if there are few rows.
    """
    judges = ensemble.judges
    if not judges:
        return 1.0
    outputs = [net.predict(judge.X) for net, judge in zip(ensemble.networks, judges, strict=True)]
    if ensemble.shared:
        outputs, judges = [np.mean(outputs, axis=0)], judges[:1]
    found = np.concatenate(outputs)
    y = np.concatenate([judge.y for judge in judges])
    if len(y) < _MIN_CALIBRATED:
        return 1.0
    given = [judge.weights for judge in judges if judge.weights is not None]
    weights = np.concatenate(given) if given else None
    if weights is not None and not weights.any():
        return 1.0
    logs = np.log(np.maximum(found.astype(np.float64), _TINY))
    losses = [_log_loss(logs / each, y, weights) for each in _TEMPERATURES]
    return float(_TEMPERATURES[int(np.argmin(losses))])


def _log_loss(logits: Array, y: Array, weights: Array | None) -> float:
    top = logits.max(axis=1)
    sums = np.log(np.exp(logits - top[:, None]).sum(axis=1)) + top
    return float(np.average(sums - logits[np.arange(len(y)), y], weights=weights))
