"""Schedules that reduce the rate when an entry of the logs stops improving."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from .._checks import arguments as check
from .._checks.names import unknown_name
from .._types import Array
from ..metrics._monitor import ExpectedLogs, check_mode, check_name, look_up, prefers_higher
from ._base import Schedule


class _Plateau(Schedule):
    """A rate that falls when nothing improves; `scale` is the factor applied to the optimiser's."""

    _state: tuple[str, ...] = ("t", "scale", "best", "waited")

    def __init__(self, monitor: str | None, mode: str) -> None:
        self.monitor = None if monitor is None else check_name(monitor)
        self.mode = check_mode(mode)
        self._higher: bool | None = None  # None until the logs of a fit are known
        super().__init__("epoch")

    def __setstate__(self, state: dict[str, object]) -> None:
        """Restore the object from a pickle; in version 0.1 lower values were always better."""
        super().__setstate__(state | {"mode": state.get("mode", "min")})

    def reset(self) -> None:
        super().reset()
        self.scale, self.waited = 1.0, 0
        self.best = math.inf  # infinite: no value yet

    @property
    def _is_for_one_fit(self) -> bool:
        return True

    def rates(self, lr: float, t: Array) -> Array:
        self._lr = lr
        return np.full(t.shape, lr * self.scale)

    def check_logs(self, expected: ExpectedLogs) -> bool:
        name, owner = self._entry(expected), type(self).__name__
        expected.check(name, owner)
        self._higher = prefers_higher(name, self.mode, owner, expected)
        return True

    def _entry(self, logs: Mapping[str, object]) -> str:
        return self.monitor or ("val_loss" if "val_loss" in logs else "loss")

    def _value(self, logs: Mapping[str, float]) -> float:
        name, owner = self._entry(logs), type(self).__name__
        value = look_up(name, logs, owner)
        if self._higher is None:
            self._higher = prefers_higher(name, self.mode, owner)
        return value


class ReduceLROnPlateau(_Plateau):
    """Multiply the rate by `factor` after more than `patience` epochs without improvement.

    With mode "min", a value is an improvement if it is below best · (1 − threshold), or with
    threshold_mode "abs" below best − threshold. With mode "max", it must be above
    best · (1 + threshold) or best + threshold. The rules are those of
    `torch.optim.lr_scheduler.ReduceLROnPlateau`.

    Parameters
    ----------
    mode : {"auto", "min", "max"}, default "auto"
        Whether lower or higher values are better. "auto" uses what the metric declares, as in
        `fastbp.callbacks.EarlyStopping`.
    factor : float, default 0.1
        Factor of each reduction, above 0 and below 1.
    patience : int, default 10
        Number of epochs without improvement that are accepted.
    threshold : float, default 1e-4
        Smallest change that counts as an improvement.
    threshold_mode : {"rel", "abs"}, default "rel"
        Whether `threshold` is relative to the best value.
    cooldown : int, default 0
        Epochs after a reduction in which epochs without improvement are not counted.
    min_lr : float, default 0.0
        Lower bound of the rate.
    eps : float, default 1e-8
        A reduction by `eps` or less is not made.
    monitor : str or None, default None
        Entry of the logs. None means "val_loss" if there is validation data, otherwise "loss".

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or is out of range.

    Examples
    --------
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
            raise unknown_name("threshold_mode", threshold_mode, ("rel", "abs"))
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
            self._reduce()
            self.cooling, self.waited = self.cooldown, 0
        return False

    def _reduce(self) -> None:
        old = self._lr * self.scale
        new = max(old * self.factor, self.min_lr)
        if old - new > self.eps:
            self.scale = new / self._lr


class Adaptive(_Plateau):
    """Divide the rate by 5 when the loss stops improving; stop the fit at a rate of 1e-6.

    The rate is reduced after more than `patience` epochs in a row without an improvement by `tol`.
    If the rate is already at `min_lr`, the fit ends instead. This is scikit-learn's
    `learning_rate="adaptive"`.

    Parameters
    ----------
    patience : int, default 10
        Number of epochs without improvement that are accepted; scikit-learn's n_iter_no_change.
    tol : float, default 1e-4
        Smallest change that counts as an improvement.
    factor : float, default 0.2
        Factor of each reduction, above 0 and below 1.
    min_lr : float, default 1e-6
        Rate at which the fit stops.
    monitor : str or None, default None
        Entry of the logs. None means "val_loss" if there is validation data, otherwise "loss".
    mode : {"auto", "min", "max"}, default "auto"
        Whether lower or higher values are better, as in `ReduceLROnPlateau`.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or is out of range.

    Examples
    --------
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
