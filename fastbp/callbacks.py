"""Watching, stopping and recording a fit: the protocol of callbacks, and ready ones.

A callback is either a function `callback(epoch, logs)` or an object with any of

    check_logs(expected)         before anything has changed: raises where the logs will not do
    on_fit_begin(net)            before the first step
    on_epoch_end(epoch, logs)    after every epoch and its validation; true stops the fit
    on_batch_end(step, logs)     after every batch; true stops the fit
    on_divergence(error)         J is not finite; true ends the fit instead of raising the error
    on_fit_end(net)              however the fit ends
    state_dict(), load_state_dict(state)    what a checkpoint of the fit keeps of it

`epoch` counts from 0, `step` is the batch within its epoch, from 0 too. The logs of an epoch are a
dict with `loss`, `lr`, metrics, with validation data `val_loss`, `val_score` and the metrics as
`val_…`, and `samples_per_second`; those of a batch hold `epoch`, `loss` (its J before the update)
and `lr`. All callbacks are called in their order even where one wants to stop. on_batch_end costs a
return from the engine after every batch; without it, none is made. Training goes on with whatever a
callback makes of the weights or of the optimiser.

`expected` is a dict of the names that the logs of an epoch will have: True where more is better,
False where less is better, None where that is not known. A callback that adds entries to the logs
says so by the attribute `adds_logs`, such a dict too, {} for none. Behind a callback without that
attribute, a name that is not expected is not refused until the first epoch ends without it.

>>> import fastbp
>>> X = [[0.0], [1.0], [2.0], [3.0]]; y = [[1.0], [3.0], [5.0], [7.0]]
>>> stop = EarlyStopping("loss", patience=5, min_delta=1e-4)
>>> history = fastbp.Network((1, 1), seed=0).fit(
...     X, y, epochs=10000, optimizer=fastbp.optim.Adam(0.1), callbacks=[stop]
... )
>>> history.epochs < 1000, history.stopped_by
(True, 'callback')
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ._checks import arguments as check
from ._checks.state import any_number, checked_state, optional, text, vector
from ._files.atomic import naming
from ._public import present
from ._training.runner import CallbackRunner, ProgressBar
from ._types import Array
from .errors import DivergenceError
from .metrics._monitor import ExpectedLogs, Monitor

if TYPE_CHECKING:
    from ._network.base import NetworkBase

__all__ = [
    "CSVLogger",
    "CallbackRunner",
    "EarlyStopping",
    "LambdaCallback",
    "ModelCheckpoint",
    "Progress",
    "ProgressBar",
    "TerminateOnNaN",
]

Progress = ProgressBar

# What state_dict() of EarlyStopping and of ModelCheckpoint holds.
_STOPPING = {
    "best": any_number,
    "best_epoch": optional(check.check_count),
    "stopped_epoch": optional(check.check_count),
    "waited": check.check_count,
    "theta": optional(vector),
}
_SAVING = {"best": any_number, "last_path": optional(text)}


class EarlyStopping:
    """Stops when `monitor` has not improved for `patience` epochs, and restores the best weights.

    An improvement is one of more than min_delta >= 0 over the best so far. mode: "min", "max", or
    "auto" for what the monitored loss, score or metric declares: all of this package do, and yours
    do with `fastbp.metrics.higher_is_better` or `lower_is_better`. restore_best: however the fit
    ends, theta is then that of the best epoch. Afterwards `best` and `best_epoch` tell which, and
    `stopped_epoch` when it stopped the fit, or None. Before training `fit` raises ValueError where
    the logs will lack `monitor`, and for "auto" where nothing is declared of it.

    >>> stop = EarlyStopping("val_loss", patience=2); stop.on_fit_begin(None)
    >>> [stop.on_epoch_end(i, {"val_loss": J}) for i, J in enumerate([3.0, 2.0, 2.5, 2.0])]
    [False, False, False, True]
    >>> stop.best, stop.best_epoch, stop.stopped_epoch
    (2.0, 1, 3)
    """

    adds_logs: ClassVar[dict[str, bool | None]] = {}

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
    ) -> None:
        self._monitor = Monitor(monitor, mode, min_delta, type(self).__name__)
        self.patience = check.check_positive_int(patience, "patience")
        self.restore_best = bool(restore_best)
        self.on_fit_begin(None)

    @property
    def best(self) -> float:
        """The best value seen; NaN before the first."""
        return self._monitor.best

    def check_logs(self, expected: ExpectedLogs) -> None:
        """ValueError where the logs will lack `monitor`, or where nothing is declared of it."""
        self._monitor.check_logs(expected)

    def on_fit_begin(self, net: NetworkBase | None) -> None:
        self._monitor.reset()
        self.best_epoch: int | None = None
        self.stopped_epoch: int | None = None
        self._net = net
        self._theta: Array | None = None
        self._waited = 0

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> bool:
        if self._monitor.improves(logs):
            self.best_epoch, self._waited = epoch, 0
            if self.restore_best and self._net is not None:
                self._keep(self._net.theta)
            return False
        self._waited += 1
        if self._waited < self.patience:
            return False
        self.stopped_epoch = epoch
        return True

    def state_dict(self) -> dict[str, object]:
        """The best value and weights, and how long it has waited: for checkpoints of a fit."""
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "stopped_epoch": self.stopped_epoch,
            "waited": self._waited,
            "theta": self._theta,
        }

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on from what `state_dict` gave.

        Raises TypeError or ValueError, with nothing changed, for a state that cannot be.
        """
        kept: dict[str, Any] = checked_state(state, _STOPPING, "EarlyStopping")
        theta = kept["theta"]
        if theta is not None and self._net is not None:
            check.as_parameters(theta, self._net.theta.shape, self._net.dtype, "theta")
        self._monitor.best = kept["best"]
        self.best_epoch, self.stopped_epoch = kept["best_epoch"], kept["stopped_epoch"]
        self._waited = kept["waited"]
        self._theta = None if theta is None else np.array(theta)

    def _keep(self, theta: Array) -> None:
        kept = np.empty_like(theta) if self._theta is None else check.writeable(self._theta)
        kept[...] = theta
        self._theta = kept

    def on_fit_end(self, net: NetworkBase) -> None:
        if self._theta is not None:
            net.theta = self._theta
        self._net = self._theta = None


class ModelCheckpoint:
    """Saves the network after every epoch, or, with save_best_only, after every better one.

    path: its last part may hold {epoch} and names of the logs, as in
    "model-{epoch:03d}-{val_accuracy:.3f}.safetensors"; epochs count from 0 there too. A name is
    taken whole, as in {top_k_accuracy(2):.2f}; one with a brace, a colon or an exclamation mark in
    it needs another, by a dict of metrics. Braces that are no fields are doubled: {{ and }}. Files
    are written as `fastbp.io.save` does, whole or not at all. mode as for `EarlyStopping`.
    `last_path` is the file written last, `best` the best value seen. Before training `fit` raises
    ValueError for a path with another field, and, with save_best_only, for a `monitor` that the
    logs will lack or of which nothing is declared; OSError for a folder that is not there or cannot
    be written to.

    >>> import fastbp
    >>> keep = ModelCheckpoint("best.safetensors", monitor="loss", save_best_only=True)
    >>> net = fastbp.Network((1, 1), seed=0)
    >>> _ = net.fit([[0.0], [1.0]], [[1.0], [3.0]], epochs=3, callbacks=[keep])
    >>> fastbp.load(keep.last_path).widths
    (1, 1)
    """

    adds_logs: ClassVar[dict[str, bool | None]] = {}

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: str = "val_loss",
        save_best_only: bool = False,
        mode: str = "auto",
    ) -> None:
        self.path = os.fsdecode(path)
        self.save_best_only = bool(save_best_only)
        self._monitor = Monitor(monitor, mode, 0.0, type(self).__name__)
        self.last_path: str | None = None
        self._net: NetworkBase | None = None

    @property
    def best(self) -> float:
        """The best value seen; NaN before the first, and without save_best_only."""
        return self._monitor.best

    def check_logs(self, expected: ExpectedLogs) -> None:
        """ValueError or OSError for a path that could not be written, or a monitor that fails."""
        from ._training.path_pattern import check_pattern

        if self.save_best_only:
            self._monitor.check_logs(expected)
        check_pattern(self.path, expected)

    def on_fit_begin(self, net: NetworkBase) -> None:
        self._monitor.reset()
        self._net = net

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        from ._training.path_pattern import fill
        from .io import save

        if self.save_best_only and not self._monitor.improves(logs):
            return
        path = fill(self.path, {"epoch": epoch, **logs})
        save(self._net, path)
        self.last_path = path

    def on_fit_end(self, net: NetworkBase) -> None:
        self._net = None

    def state_dict(self) -> dict[str, object]:
        """The best value and the last file: for checkpoints of a fit."""
        return {"best": self.best, "last_path": self.last_path}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Go on from what `state_dict` gave. Raises as that of `EarlyStopping` does."""
        kept: dict[str, Any] = checked_state(state, _SAVING, "ModelCheckpoint")
        self._monitor.best, self.last_path = kept["best"], kept["last_path"]


class CSVLogger:
    """Writes the logs of every epoch to a .csv file, a line on disk as its epoch ends.

    The first line holds `epoch` and the names of the logs. append: go on in a file that is there,
    whose names must be the same (ValueError if not); otherwise it is replaced.

    >>> import fastbp
    >>> log = CSVLogger("log.csv")
    >>> net = fastbp.Network((1, 1), seed=0)
    >>> _ = net.fit([[0.0], [1.0]], [[1.0], [3.0]], epochs=2, callbacks=[log])
    >>> import pathlib; pathlib.Path("log.csv").read_text().splitlines()[0]
    'epoch,loss,lr,samples_per_second'
    """

    adds_logs: ClassVar[dict[str, bool | None]] = {}

    def __init__(self, path: str | os.PathLike[str], append: bool = False) -> None:
        self.path = os.fspath(path)
        self.append = bool(append)

    def check_logs(self, expected: ExpectedLogs) -> None:
        """ValueError where the file that is to go on has other columns."""
        self._names = self._columns()
        if expected.complete:
            self._check_names(["epoch", *expected])

    def _columns(self) -> list[str]:
        """The first line of the file that is to go on."""
        if not self.append or not os.path.exists(self.path):
            return []
        import csv

        with open(self.path, newline="", encoding="utf-8") as file:
            return next(csv.reader(file), [])

    def _check_names(self, names: list[str]) -> None:
        if self._names and names != self._names:
            raise ValueError(
                f"{self.path} has the columns {', '.join(self._names)}; the logs have "
                f"{', '.join(names)}: write to another file, or with append=False"
            )

    def on_fit_begin(self, net: object) -> None:
        self._names = self._columns()
        with naming(self.path), open(self.path, "a" if self.append else "w", encoding="utf-8"):
            pass  # a path that cannot be written to is told before training

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        import csv

        names = ["epoch", *logs]
        self._check_names(names)
        with naming(self.path), open(self.path, "a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            if not self._names:
                writer.writerow(names)
            writer.writerow([epoch, *(repr(float(value)) for value in logs.values())])
        self._names = names


class TerminateOnNaN:
    """Ends a fit that diverges, without an error: weights are those before the step that would
    have spoilt them, and `history.stopped_by` is "divergence".

    It also stops after an epoch where any of the logs, such as val_loss, is not finite. `error`
    holds the DivergenceError, which names epoch and step, or None.

    >>> import fastbp
    >>> end = TerminateOnNaN(); net = fastbp.Network((1, 1), dtype="float64", seed=0)
    >>> hot = fastbp.optim.SGD(1e6)
    >>> net.fit([[3.0]], [[2.0]], epochs=99, optimizer=hot, callbacks=[end]).stopped_by
    'divergence'
    >>> end.error.epoch > 0 and bool(np.isfinite(net.theta).all())
    True
    """

    adds_logs: ClassVar[dict[str, bool | None]] = {}

    def __init__(self) -> None:
        self.error: DivergenceError | None = None

    def on_fit_begin(self, net: object) -> None:
        self.error = None

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> bool:
        return not all(math.isfinite(value) for value in logs.values())

    def on_divergence(self, error: DivergenceError) -> bool:
        self.error = error
        return True


class LambdaCallback:
    """A callback of functions, each named as the method it is to be.

    Raises TypeError for something that cannot be called, and where none is given.

    >>> import fastbp
    >>> seen = []
    >>> tell = LambdaCallback(on_batch_end=lambda step, logs: seen.append(step))
    >>> net = fastbp.Network((1, 1), seed=0)
    >>> _ = net.fit([[0.0], [1.0]], [[1.0], [3.0]], epochs=2, batch_size=1, callbacks=[tell])
    >>> seen
    [0, 1, 0, 1]
    """

    def __init__(
        self,
        *,
        on_fit_begin: Callable[[object], object] | None = None,
        on_epoch_end: Callable[[int, dict[str, float]], object] | None = None,
        on_batch_end: Callable[[int, dict[str, float]], object] | None = None,
        on_divergence: Callable[[DivergenceError], object] | None = None,
        on_fit_end: Callable[[object], object] | None = None,
    ) -> None:
        given = {
            "on_fit_begin": on_fit_begin,
            "on_epoch_end": on_epoch_end,
            "on_batch_end": on_batch_end,
            "on_divergence": on_divergence,
            "on_fit_end": on_fit_end,
        }
        functions = {name: function for name, function in given.items() if function is not None}
        if not functions:
            raise TypeError(f"LambdaCallback needs one of {', '.join(given)}")
        for name, function in functions.items():
            if not callable(function):
                raise TypeError(f"{name} must be a function; got {function!r}")
            setattr(self, name, function)


present(__name__, __all__)
