"""Schedules that follow what a fit sees: the rate is cut when nothing improves."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .._checks import arguments as check
from .._types import Array
from ..metrics._monitor import ExpectedLogs, check_mode, check_name, higher_is_better, look_up
from ._base import Schedule


class _Reducing(Schedule):
    """A rate that is cut when nothing improves; `scale` is what is left of the optimiser's."""

    _state = ("t", "scale", "best", "waited")

    def __init__(self, monitor: str | None, mode: str) -> None:
        self.monitor = None if monitor is None else check_name(monitor)
        self.mode = check_mode(mode)
        self._higher: bool | None = None  # known from the first look at a fit's logs on
        super().__init__("epoch")

    def __setstate__(self, state: dict[str, object]) -> None:
        """From a pickle; those of the first version take less for better."""
        super().__setstate__({"mode": "min"} | state)

    def reset(self) -> None:
        super().reset()
        self.scale, self.waited = 1.0, 0
        self.best = math.inf  # infinite: no value seen

    @property
    def _per_fit(self) -> bool:
        return True

    def rates(self, lr: float, t: Array) -> Array:
        self._lr = lr
        return np.full(t.shape, lr * self.scale)

    def check_logs(self, expected: ExpectedLogs) -> bool:
        name, owner = self._entry(expected), type(self).__name__
        expected.check(name, owner)
        self._higher = higher_is_better(name, self.mode, owner, expected)
        return True

    def _entry(self, logs: Mapping[str, object]) -> str:
        return self.monitor or ("val_loss" if "val_loss" in logs else "loss")

    def _value(self, logs: Mapping[str, float]) -> float:
        name, owner = self._entry(logs), type(self).__name__
        value = look_up(name, logs, owner)
        if self._higher is None:
            self._higher = higher_is_better(name, self.mode, owner)
        return value


class ReduceLROnPlateau(_Reducing):
    """The rate times `factor` when `monitor` has not improved for more than `patience` epochs.

    monitor: an entry of the logs; None for val_loss where there is validation data, else loss.
    mode: "min", "max", or "auto", as for `EarlyStopping`. An improvement is, for "min", a value
    below best (1 − threshold), or with threshold_mode "abs" below best − threshold; for "max" above
    best (1 + threshold), best + threshold. After a cut `cooldown` epochs do not count. The rate
    stays at or above min_lr, and cuts of eps or less are left out.

    >>> plateau = ReduceLROnPlateau(patience=1); rates = []
    >>> for loss in (3.0, 2.0, 2.0, 2.0, 2.0):
    ...     rates += plateau.rates(1.0, np.arange(1)).tolist(); _ = plateau.observe({"loss": loss})
    >>> rates
    [1.0, 1.0, 1.0, 1.0, 0.1]
    """

    _state = ("t", "scale", "best", "waited", "cooling")

    def __init__(
        self,
        mode: str = "auto",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
        eps: float = 1e-8,
        *,
        monitor: str | None = None,
    ) -> None:
        if threshold_mode not in ("rel", "abs"):
            raise check.unknown_name("threshold_mode", threshold_mode, ("rel", "abs"))
        self.threshold_mode = threshold_mode
        self.factor = check.check_fraction(check.check_positive(factor, "factor"), "factor")
        self.patience = check.check_count(patience, "patience")
        self.threshold = check.check_nonnegative(threshold, "threshold")
        self.cooldown = check.check_count(cooldown, "cooldown")
        self.min_lr = check.check_nonnegative(min_lr, "min_lr")
        self.eps = check.check_nonnegative(eps, "eps")
        super().__init__(monitor, mode)

    def reset(self) -> None:
        super().reset()
        self.cooling = 0

    def observe(self, logs: Mapping[str, float]) -> bool:
        value = self._value(logs)
        sign = 1 if self._higher else -1
        step = self.threshold * (self.best if self.threshold_mode == "rel" else 1)
        first = math.isinf(self.best) and not math.isnan(value)
        if first or sign * (value - (self.best + sign * step)) > 0:
            self.best, self.waited = value, 0
        else:
            self.waited += 1
        if self.cooling > 0:
            self.cooling, self.waited = self.cooling - 1, 0
        if self.waited > self.patience:
            self._cut()
            self.cooling, self.waited = self.cooldown, 0
        return False

    def _cut(self) -> None:
        old = self._lr * self.scale
        new = max(old * self.factor, self.min_lr)
        if old - new > self.eps:
            self.scale = new / self._lr


class Adaptive(_Reducing):
    """A fifth of the rate whenever `patience` epochs in a row and one more bring no improvement by
    `tol`, and the end of the fit instead once the rate is at 1e-6: scikit-learn's "adaptive".

    monitor, mode: as for `ReduceLROnPlateau`; scikit-learn's n_iter_no_change is `patience`.

    >>> adaptive = Adaptive(patience=1); rates = []
    >>> for loss in (3.0, 2.0, 2.0, 2.0, 2.0):
    ...     rates += adaptive.rates(1.0, np.arange(1)).tolist()
    ...     _ = adaptive.observe({"loss": loss})
    >>> rates
    [1.0, 1.0, 1.0, 1.0, 0.2]
    """

    def __init__(
        self,
        patience: int = 10,
        tol: float = 1e-4,
        factor: float = 0.2,
        min_lr: float = 1e-6,
        *,
        monitor: str | None = None,
        mode: str = "auto",
    ) -> None:
        self.patience = check.check_count(patience, "patience")
        self.tol = check.check_nonnegative(tol, "tol")
        self.factor = check.check_fraction(check.check_positive(factor, "factor"), "factor")
        self.min_lr = check.check_nonnegative(min_lr, "min_lr")
        super().__init__(monitor, mode)

    def observe(self, logs: Mapping[str, float]) -> bool:
        value = self._value(logs)
        sign = 1 if self._higher else -1
        first = math.isinf(self.best) and not math.isnan(value)
        improved = first or sign * (value - self.best) >= self.tol
        self.waited = 0 if improved else self.waited + 1
        if first or sign * (value - self.best) > 0:
            self.best = value
        if self.waited <= self.patience:
            return False
        if self._lr * self.scale <= self.min_lr:
            return True
        self.scale *= self.factor
        self.waited = 0
        return False
