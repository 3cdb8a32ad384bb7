"""`EarlyStopping`, the callback that ends a fit and keeps the parameters of its best epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from .._checks import arguments as check
from .._checks.keywords import hinting
from .._checks.state import any_number, checked_state, optional, vector
from .._types import Array, Trainee
from ..metrics._monitor import ExpectedLogs, Monitor

# The state, and the checks of its values.
_STOPPING = {
    "best": any_number,
    "best_epoch": optional(check.check_count),
    "stopped_epoch": optional(check.check_count),
    "waited": check.check_count,
    "theta": optional(vector),
}


class EarlyStopping:
    """Stop when a quantity has not improved for some epochs, and restore the best weights.

    Before training, `fit` raises ValueError if the logs will not have `monitor`, or if `mode` is
    "auto" and it is unknown whether more is better.

    Parameters
    ----------
    monitor : str, default "val_loss"
        The name of the quantity in the logs.
    patience : int, default 10
        The number of epochs without an improvement after which the fit stops. Like 1, 0 stops at
        the first one.
    min_delta : float, default 0.0
        An improvement must be larger than this number.
    mode : {"auto", "min", "max"}
        Whether less or more is better. "auto" uses what the loss, score or metric declares. All of
        this package do; for your own functions use `fastbp.metrics.higher_is_better` or
        `lower_is_better`.
    restore_best : bool, default True
        Whether theta is that of the best epoch after the fit, however the fit ended.
    baseline : float or None, default None
        A value that the quantity has to beat by more than `min_delta`. Improvements that do not
        beat it are the best so far, but patience goes on counting: the fit stops at the first epoch
        without an improvement after `patience` epochs that did not beat it.
    start_from_epoch : int, default 0
        The first epoch that counts. Values and weights of earlier epochs are ignored.

    Attributes
    ----------
    best : float
        The best value so far.
    best_epoch : int or None
        Its epoch.
    stopped_epoch : int or None
        The epoch after which this callback stopped the fit.

    Notes
    -----
    All arguments mean what those of `keras.callbacks.EarlyStopping` mean.

    Examples
    --------
    >>> stop = EarlyStopping("val_loss", patience=2); stop.on_fit_begin(None)
    >>> [stop.on_epoch_end(i, {"val_loss": J}) for i, J in enumerate([3.0, 2.0, 2.5, 2.0])]
    [False, False, False, True]
    >>> stop.best, stop.best_epoch, stop.stopped_epoch
    (2.0, 1, 3)
    """

    adds_logs: ClassVar[dict[str, bool | None]] = {}
    one_fit: ClassVar[bool] = True  # at a time
    baseline: float | None = None  # pickles of version 0.1 have no value
    start_from_epoch: int = 0

    @hinting("EarlyStopping")
    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
        *,
        baseline: float | None = None,
        start_from_epoch: int = 0,
    ) -> None:
        self._monitor = Monitor(monitor, mode, min_delta, type(self).__name__)
        self.patience = check.check_count(patience, "patience")
        self.restore_best = bool(restore_best)
        self.baseline = None if baseline is None else check.check_real(baseline, "baseline")
        self.start_from_epoch = check.check_count(start_from_epoch, "start_from_epoch")
        self.on_fit_begin(None)

    @property
    def best(self) -> float:
        """The best value so far; NaN before the first one."""
        return self._monitor.best

    def check_logs(self, expected: ExpectedLogs) -> None:
        """Raise ValueError if the logs will not have `monitor`, or if the mode is unknown."""
        self._monitor.check_logs(expected)

    def on_fit_begin(self, net: Trainee | None) -> None:
        """Reset the best value."""
        self._monitor.reset()
        self.best_epoch: int | None = None
        self.stopped_epoch: int | None = None
        self._net = net
        self._theta: Array | None = None
        self._waited = 0

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> bool:
        """Keep the weights of a better epoch; return whether to stop."""
        if epoch < self.start_from_epoch:
            return False
        self._waited += 1
        if self._monitor.improves(logs):
            self.best_epoch = epoch
            if self.restore_best and self._net is not None:
                self._theta = self._net._copy_of_theta()
            if self.baseline is None or self._monitor.beats(self.best, self.baseline):
                self._waited = 0
            return False
        if self._waited < self.patience:
            return False
        self.stopped_epoch = epoch
        return True

    def state_dict(self) -> dict[str, object]:
        """Return the best value and weights, and the epochs since then, for checkpoints."""
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "stopped_epoch": self.stopped_epoch,
            "waited": self._waited,
            "theta": self._theta,
        }

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Restore a state that `state_dict` returned.

        Raises TypeError or ValueError for an invalid state, and then changes nothing.
        """
        kept: dict[str, Any] = checked_state(state, _STOPPING, "EarlyStopping")
        theta = kept["theta"]
        if theta is not None and self._net is not None:
            check.as_parameters(theta, self._net.theta.shape, self._net.dtype, "theta")
        self._monitor.best = kept["best"]
        self.best_epoch, self.stopped_epoch = kept["best_epoch"], kept["stopped_epoch"]
        self._waited = kept["waited"]
        self._theta = None if theta is None else np.array(theta)

    def on_fit_end(self, net: Trainee) -> None:
        """Restore the best weights."""
        if self._theta is not None:
            net.theta = self._theta
        self._net = self._theta = None
