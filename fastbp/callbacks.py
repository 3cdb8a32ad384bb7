"""Callbacks, which monitor, stop or record a fit: their protocol, and some ready-made ones.

A callback is either a function `callback(epoch, logs)`, or an object with any of these methods:

    check_logs(expected)         before the fit changes anything; raises if the logs are unsuitable
    on_fit_begin(net)            before the first step
    on_epoch_end(epoch, logs)    after each epoch and its validation; return True to stop the fit
    on_batch_end(step, logs)     after each batch; return True to stop the fit
    on_divergence(error)         J is not finite; return True to end the fit without the error
    on_fit_end(net)              at the end of the fit, also after an exception
    state_dict(), load_state_dict(state)    the state that a checkpoint of the fit saves

`epoch` counts from 0. `step` is the batch within the epoch, also counted from 0. The logs of an
epoch are a dict with `loss`, `lr`, the metrics and `samples_per_second`; with validation data, also
`val_loss`, `val_score`, and `val_…` for each metric. The logs of a batch have `epoch`, `loss` (J of
the batch before the update) and `lr`. All callbacks are called in order, even if one of them stops
the fit. The engine returns to Python after each batch only if a callback has on_batch_end. A
callback may change the weights and the optimiser; training continues with the changes.

`expected` is a dict with the names that the logs of an epoch will have. The value is True if more
is better, False if less is better, and None if that is unknown. If a callback adds entries to the
logs, its attribute `adds_logs` is such a dict; {} means that it adds none. After a callback without
that attribute, an unexpected name is an error only if the logs of the first epoch do not have it.

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

from ._checks.keywords import hinting, missing_name
from ._checks.state import any_number, checked_state, optional, text
from ._files.atomic import naming
from ._messages import QUOTE, readable
from ._public import present
from ._training.early_stopping import EarlyStopping
from ._training.runner import CallbackRunner, ProgressBar
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

# The state of ModelCheckpoint, and the checks of its values.
_SAVING = {"best": any_number, "last_path": optional(text)}


class ModelCheckpoint:
    """Save the network after each epoch, or only after an improvement.

    Before training, `fit` raises ValueError for an unknown field in `path`, and, with
    `save_best_only`, if the logs will not have `monitor` or the mode is unknown. It raises OSError
    if the folder does not exist or is not writable. If training has left a parameter that is not
    finite, nothing is saved, and the fit ends with a DivergenceError.

    Parameters
    ----------
    path : str or path-like
        The file to write, either completely or not at all, as by `fastbp.io.save`. Its last part
        may contain {epoch}, counted from 0, and names of the logs, as in
        "model-{epoch:03d}-{val_accuracy:.3f}.safetensors" or {top_k_accuracy(2):.2f}. If the name
        of a metric contains a brace, a colon or an exclamation mark, rename the metric by a dict of
        metrics. Write {{ and }} for braces that are not fields.
    monitor : str, default "val_loss"
        The name of the quantity to improve.
    save_best_only : bool, default False
        Whether to save only after an improvement of `monitor`.
    mode : {"auto", "min", "max"}
        As for `EarlyStopping`.

    Attributes
    ----------
    best : float
        The best value so far.
    last_path : str or None
        The file that was written last.

    Examples
    --------
    >>> import fastbp
    >>> keep = ModelCheckpoint("best.safetensors", monitor="loss", save_best_only=True)
    >>> net = fastbp.Network((1, 1), seed=0)
    >>> _ = net.fit([[0.0], [1.0]], [[1.0], [3.0]], epochs=3, callbacks=[keep])
    >>> fastbp.load(keep.last_path).widths
    (1, 1)
    """

    adds_logs: ClassVar[dict[str, bool | None]] = {}
    one_fit: ClassVar[bool] = True  # at a time

    @hinting("ModelCheckpoint")
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
        self._begun_finite = True

    @property
    def best(self) -> float:
        """The best value so far; NaN before the first one, and without `save_best_only`."""
        return self._monitor.best

    def check_logs(self, expected: ExpectedLogs) -> None:
        """Raise ValueError or OSError for an invalid path, or for an unsuitable `monitor`."""
        from ._training.path_pattern import check_pattern

        if self.save_best_only:
            self._monitor.check_logs(expected)
        check_pattern(self.path, expected)

    def on_fit_begin(self, net: NetworkBase) -> None:
        """Reset the best value."""
        self._monitor.reset()
        self._net = net
        self._begun_finite = net._non_finite() is None

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> bool:
        """Save the network; true, which ends the fit, if training has spoilt its parameters."""
        from ._training.path_pattern import fill
        from .io import save

        if self.save_best_only and not self._monitor.improves(logs):
            return False
        assert self._net is not None  # on_fit_begin has set it
        if self._begun_finite and self._net._non_finite() is not None:
            return True  # `fit` looks at the parameters at its end, and reports the divergence
        path = fill(self.path, {"epoch": epoch, **logs})
        save(self._net, path)
        self.last_path = path
        return False

    def on_fit_end(self, net: NetworkBase) -> None:
        """Forget the network."""
        self._net = None

    def state_dict(self) -> dict[str, object]:
        """Return the best value and the last file, for checkpoints of a fit."""
        return {"best": self.best, "last_path": self.last_path}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Restore a state that `state_dict` returned; raises as that of `EarlyStopping` does."""
        kept: dict[str, Any] = checked_state(state, _SAVING, "ModelCheckpoint")
        self._monitor.best, self.last_path = kept["best"], kept["last_path"]


class CSVLogger:
    """Write the logs to a .csv file, one line per epoch.

    The first line contains `epoch` and the names of the logs. Each line is written as soon as its
    epoch ends.

    Parameters
    ----------
    path : str or path-like
        The file.
    append : bool, default False
        Whether to append to an existing file, which must have the same names (ValueError if not).
        By default, an existing file is replaced.

    Examples
    --------
    >>> import fastbp
    >>> log = CSVLogger("log.csv")
    >>> net = fastbp.Network((1, 1), seed=0)
    >>> _ = net.fit([[0.0], [1.0]], [[1.0], [3.0]], epochs=2, callbacks=[log])
    >>> import pathlib; pathlib.Path("log.csv").read_text().splitlines()[0]
    'epoch,loss,lr,samples_per_second'
    """

    adds_logs: ClassVar[dict[str, bool | None]] = {}
    one_fit: ClassVar[bool] = True  # at a time

    def __init__(self, path: str | os.PathLike[str], append: bool = False) -> None:
        self.path = os.fspath(path)
        self.append = bool(append)

    def check_logs(self, expected: ExpectedLogs) -> None:
        """Raise ValueError if the file to append to has other columns."""
        self._names = self._columns()
        if expected.complete:
            self._check_names(["epoch", *expected])

    def _columns(self) -> list[str]:
        """Return the names in the first line of the file to append to."""
        if not self.append or not os.path.exists(self.path):
            return []
        import csv

        try:
            with open(self.path, newline="", encoding="utf-8") as file:
                return next(csv.reader(file), [])
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(
                f"{self.path} is not a log that can be continued: {error}; write to another file, "
                "or with append=False"
            ) from error

    def _check_names(self, names: list[str]) -> None:
        if self._names and names != self._names:
            found = readable(", ".join(self._names), QUOTE)
            raise ValueError(
                f"{self.path} has the columns {found}; the logs have "
                f"{', '.join(names)}: write to another file, or with append=False"
            )

    def on_fit_begin(self, net: object) -> None:
        """Open the file, so that an invalid path is an error before training."""
        self._names = self._columns()
        with naming(self.path), open(self.path, "a" if self.append else "w", encoding="utf-8"):
            pass

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Write one line, and before the first one the names."""
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
    """End a fit that diverges without an exception.

    If J is not finite, the fit ends before the update, so the weights are those before that step.
    `history.stopped_by` is then "divergence". The fit also ends after an epoch if any of the logs,
    such as `val_loss`, is not finite.

    Attributes
    ----------
    error : DivergenceError or None
        The error, which has the epoch and the step.

    Examples
    --------
    >>> import fastbp, numpy as np
    >>> end = TerminateOnNaN(); net = fastbp.Network((1, 1), dtype="float64", seed=0)
    >>> hot = fastbp.optim.SGD(1e6)
    >>> net.fit([[3.0]], [[2.0]], epochs=99, optimizer=hot, callbacks=[end]).stopped_by
    'divergence'
    >>> import numpy as np
    >>> end.error.epoch > 0 and bool(np.isfinite(net.theta).all())
    True
    """

    adds_logs: ClassVar[dict[str, bool | None]] = {}

    def __init__(self) -> None:
        self.error: DivergenceError | None = None

    def on_fit_begin(self, net: object) -> None:
        """Forget the error of a previous fit."""
        self.error = None

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> bool:
        """Stop if any of the logs is not finite."""
        return not all(math.isfinite(value) for value in logs.values())

    def on_divergence(self, error: DivergenceError) -> bool:
        """Keep the error, and end the fit without raising it."""
        self.error = error
        return True


class LambdaCallback:
    """A callback made of functions.

    Parameters
    ----------
    on_fit_begin, on_epoch_end, on_batch_end, on_divergence, on_fit_end : function, optional
        The methods of the callback; see `fastbp.callbacks` for their arguments.

    Raises
    ------
    TypeError
        An argument is not callable, or there is no argument.

    Examples
    --------
    >>> import fastbp
    >>> steps = []
    >>> record = LambdaCallback(on_batch_end=lambda step, logs: steps.append(step))
    >>> net = fastbp.Network((1, 1), seed=0)
    >>> _ = net.fit([[0.0], [1.0]], [[1.0], [3.0]], epochs=2, batch_size=1, callbacks=[record])
    >>> steps
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

if not TYPE_CHECKING:  # which would take every name for known

    def __getattr__(name):
        raise missing_name(__name__, name)
