"""Schedules that are functions of t alone, as in PyTorch and scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from .._checks import arguments as check
from .._checks.names import unknown_name
from .._types import Array
from ._base import Schedule, ScheduleWithLength


class ConstantLR(ScheduleWithLength):
    """lr · factor for t < total_iters, then lr.

    The formula is that of `torch.optim.lr_scheduler.ConstantLR`.

    Parameters
    ----------
    factor : float, default 1/3
        Factor of the first rates, greater than 0.
    total_iters : int or None, default 5
        Length in epochs or steps; None for the whole fit.
    per : {"epoch", "step"}, default "epoch"
        What t counts.

    Examples
    --------
    >>> ConstantLR(0.5, 2).rates(1.0, np.arange(4)).tolist()
    [0.5, 0.5, 1.0, 1.0]
    """

    def __init__(
        self, factor: float = 1 / 3, total_iters: int | None = 5, *, per: str = "epoch"
    ) -> None:
        self.factor = check.check_positive(factor, "factor")
        super().__init__(total_iters, "total_iters", per)

    def rates(self, lr: float, t: Array) -> Array:
        return np.where(t < self.length(), lr * self.factor, lr)


class LinearLR(ScheduleWithLength):
    """lr times a factor that moves linearly from start_factor to end_factor, then stays there.

    lr_t = lr · (start + (end − start) · min(t, T)/T) with T = total_iters; the formula is that of
    `torch.optim.lr_scheduler.LinearLR`.

    Parameters
    ----------
    start_factor : float, default 1/3
        Factor at t = 0, greater than 0.
    end_factor : float, default 1.0
        Factor from t = T on, at least 0.
    total_iters : int or None, default 5
        Length T in epochs or steps; None for the whole fit.
    per : {"epoch", "step"}, default "epoch"
        What t counts.

    Examples
    --------
    >>> LinearLR(0.5, total_iters=2).rates(1.0, np.arange(4)).tolist()
    [0.5, 0.75, 1.0, 1.0]
    """

    def __init__(
        self,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int | None = 5,
        *,
        per: str = "epoch",
    ) -> None:
        self.start_factor = check.check_positive(start_factor, "start_factor")
        self.end_factor = check.check_nonnegative(end_factor, "end_factor")
        super().__init__(total_iters, "total_iters", per)

    def rates(self, lr: float, t: Array) -> Array:
        fraction = np.minimum(t, self.length()) / self.length()
        return lr * (self.start_factor + (self.end_factor - self.start_factor) * fraction)


class StepLR(Schedule):
    """lr · gamma^⌊t / step_size⌋.

    The formula is that of `torch.optim.lr_scheduler.StepLR`.

    Parameters
    ----------
    step_size : int
        Number of epochs or steps with the same rate.
    gamma : float, default 0.1
        Factor after each of these periods, greater than 0.
    per : {"epoch", "step"}, default "epoch"
        What t counts.

    Examples
    --------
    >>> StepLR(2, gamma=0.5).rates(1.0, np.arange(5)).tolist()
    [1.0, 1.0, 0.5, 0.5, 0.25]
    """

    def __init__(self, step_size: int, gamma: float = 0.1, *, per: str = "epoch") -> None:
        self.step_size = check.check_positive_int(step_size, "step_size")
        self.gamma = check.check_positive(gamma, "gamma")
        super().__init__(per)

    def rates(self, lr: float, t: Array) -> Array:
        return lr * self.gamma ** (t // self.step_size)


class MultiStepLR(Schedule):
    """lr · gamma^k, where k is the number of milestones ≤ t.

    The formula is that of `torch.optim.lr_scheduler.MultiStepLR`.

    Parameters
    ----------
    milestones : iterable of int
        Counts at which the rate changes, in any order; one that is given twice counts twice.
    gamma : float, default 0.1
        Factor at each milestone, greater than 0.
    per : {"epoch", "step"}, default "epoch"
        What t counts.

    Examples
    --------
    >>> MultiStepLR([1, 3], gamma=0.5).rates(1.0, np.arange(5)).tolist()
    [1.0, 0.5, 0.5, 0.25, 0.25]
    """

    def __init__(
        self, milestones: Iterable[int], gamma: float = 0.1, *, per: str = "epoch"
    ) -> None:
        if not isinstance(milestones, Iterable):
            raise TypeError(f"milestones must be a list of whole numbers; got {milestones!r}")
        given = enumerate(milestones)
        self.milestones = sorted(check.check_positive_int(m, f"milestones[{i}]") for i, m in given)
        self.gamma = check.check_positive(gamma, "gamma")
        super().__init__(per)

    def rates(self, lr: float, t: Array) -> Array:
        return lr * self.gamma ** np.searchsorted(self.milestones, t, side="right")


class ExponentialLR(Schedule):
    """lr · gamma^t.

    The formula is that of `torch.optim.lr_scheduler.ExponentialLR`.

    Parameters
    ----------
    gamma : float
        Factor per epoch or step, greater than 0.
    per : {"epoch", "step"}, default "epoch"
        What t counts.

    Examples
    --------
    >>> ExponentialLR(0.5).rates(1.0, np.arange(3)).tolist()
    [1.0, 0.5, 0.25]
    """

    def __init__(self, gamma: float, *, per: str = "epoch") -> None:
        self.gamma = check.check_positive(gamma, "gamma")
        super().__init__(per)

    def rates(self, lr: float, t: Array) -> Array:
        return lr * self.gamma ** t.astype(float)


class PolynomialLR(ScheduleWithLength):
    """lr · (1 − min(t, T)/T)^power with T = total_iters.

    The formula is that of `torch.optim.lr_scheduler.PolynomialLR`.

    Parameters
    ----------
    total_iters : int or None, default 5
        Length T in epochs or steps; None for the whole fit.
    power : float, default 1.0
        Exponent, greater than 0.
    per : {"epoch", "step"}, default "epoch"
        What t counts.

    Examples
    --------
    >>> PolynomialLR(4).rates(1.0, np.arange(6)).tolist()
    [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """

    def __init__(
        self, total_iters: int | None = 5, power: float = 1.0, *, per: str = "epoch"
    ) -> None:
        self.power = check.check_positive(power, "power")
        super().__init__(total_iters, "total_iters", per)

    def rates(self, lr: float, t: Array) -> Array:
        return lr * (1 - np.minimum(t, self.length()) / self.length()) ** self.power


class CosineAnnealingLR(ScheduleWithLength):
    """eta_min + (lr − eta_min) · (1 + cos(π t/T_max))/2.

    The rate rises again after t = T_max. Loshchilov & Hutter, "SGDR", 2017 (arXiv:1608.03983),
    without the restarts.

    Parameters
    ----------
    T_max : int or None, default None
        Half the period, in epochs or steps; None for the whole fit.
    eta_min : float, default 0.0
        Lowest rate, at least 0.
    per : {"epoch", "step"}, default "epoch"
        What t counts.

    Examples
    --------
    >>> CosineAnnealingLR(4).rates(1.0, np.arange(5)).round(3).tolist()
    [1.0, 0.854, 0.5, 0.146, 0.0]
    """

    def __init__(
        self, T_max: int | None = None, eta_min: float = 0.0, *, per: str = "epoch"
    ) -> None:
        self.eta_min = check.check_nonnegative(eta_min, "eta_min")
        super().__init__(T_max, "T_max", per)

    def rates(self, lr: float, t: Array) -> Array:
        return _cosine(lr, self.eta_min, t / self.length())


class CosineAnnealingWarmRestarts(Schedule):
    """A cosine from lr to eta_min that restarts; each cycle is T_mult times as long as the last.

    Loshchilov & Hutter, "SGDR", 2017 (arXiv:1608.03983), equation 5.

    Parameters
    ----------
    T_0 : int
        Length of the first cycle in epochs or steps.
    T_mult : int, default 1
        Factor between the lengths of a cycle and the cycle before it.
    eta_min : float, default 0.0
        Lowest rate, at least 0.
    per : {"epoch", "step"}, default "epoch"
        What t counts.

    Examples
    --------
    >>> CosineAnnealingWarmRestarts(2, T_mult=2).rates(1.0, np.arange(7)).round(3).tolist()
    [1.0, 0.5, 1.0, 0.854, 0.5, 0.146, 1.0]
    """

    def __init__(
        self, T_0: int, T_mult: int = 1, eta_min: float = 0.0, *, per: str = "epoch"
    ) -> None:
        self.T_0 = check.check_positive_int(T_0, "T_0")
        self.T_mult = check.check_positive_int(T_mult, "T_mult")
        self.eta_min = check.check_nonnegative(eta_min, "eta_min")
        super().__init__(per)

    def rates(self, lr: float, t: Array) -> Array:
        if self.T_mult == 1:
            return _cosine(lr, self.eta_min, t % self.T_0 / self.T_0)
        starts, length, start = [], self.T_0, 0
        while start <= t.max(initial=0):
            starts.append(start)
            start, length = start + length, length * self.T_mult
        cycle = np.searchsorted(starts, t, side="right") - 1
        since = t - np.take(starts, cycle)
        return _cosine(lr, self.eta_min, since / (self.T_0 * float(self.T_mult) ** cycle))


class CosLog4(ScheduleWithLength):
    """lr · (½ − ½ cos(2π log₂(1 + 15 p))) with p = min(t, T)/T and T = total_iters.

    Four cycles from 0 to lr and back to 0, each about twice as long as the one before. The rate is
    lr at p = (2^(k + ½) − 1)/15 for k = 0, 1, 2, 3. From t = T on, it is 0. Holzmüller et al.,
    "Better by default", 2024 (arXiv:2407.04491), appendix A.

    Parameters
    ----------
    total_iters : int or None, default None
        Length T in epochs or steps; None for the whole fit.
    per : {"epoch", "step"}, default "step"
        What t counts. The rate at t = 0 is 0, so with "epoch" nothing is learned in the first
        epoch.

    Examples
    --------
    >>> CosLog4(15).rates(1.0, np.arange(9)).round(3).tolist()
    [0.0, 0.0, 0.93, 0.0, 0.718, 0.93, 0.324, 0.0, 0.259]
    """

    def __init__(self, total_iters: int | None = None, *, per: str = "step") -> None:
        super().__init__(total_iters, "total_iters", per)

    def rates(self, lr: float, t: Array) -> Array:
        progress = np.minimum(t, self.length()) / self.length()
        return _cosine(0.0, lr, 2 * np.log2(1 + 15 * progress))


class OneCycleLR(ScheduleWithLength):
    """The rate rises from max_lr/div_factor to max_lr, then falls to a very small value.

    The last rate is max_lr/(div_factor · final_div_factor). Smith & Topin, "Super-convergence",
    2019 (arXiv:1708.07120).

    Parameters
    ----------
    max_lr : float or None, default None
        Highest rate. None means the optimiser's lr, which is not used otherwise.
    total_steps : int or None, default None
        Length in epochs or steps; None for the whole fit. After it the last rate stays.
    pct_start : float, default 0.3
        Fraction of the steps in which the rate rises, 0 to 1.
    anneal_strategy : {"cos", "linear"}, default "cos"
        Shape of the rise and the fall.
    cycle_momentum : bool, default True
        Whether momentum, or β1 of Adam, moves in the opposite direction: from `max_momentum` to
        `base_momentum` and back. An SGD optimiser without momentum does not change.
    base_momentum : float, default 0.85
        Lowest momentum, at least 0 and below 1.
    max_momentum : float, default 0.95
        Highest momentum, at least 0 and below 1.
    div_factor : float, default 25.0
        Highest rate divided by the first rate.
    final_div_factor : float, default 1e4
        First rate divided by the last rate.
    three_phase : bool, default False
        Whether the rate first falls back to its start, in as many steps as the rise took, and only
        then to the last rate.
    per : {"epoch", "step"}, default "step"
        What t counts.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or is out of range.

    Examples
    --------
    >>> OneCycleLR(1.0, total_steps=10).rates(0.1, np.arange(10)).round(3).tolist()
    [0.04, 0.52, 1.0, 0.95, 0.812, 0.611, 0.389, 0.188, 0.05, 0.0]
    """

    def __init__(
        self,
        max_lr: float | None = None,
        total_steps: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float = 0.85,
        max_momentum: float = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        *,
        per: str = "step",
    ) -> None:
        self.max_lr = None if max_lr is None else check.check_positive(max_lr, "max_lr")
        self.pct_start = check.check_nonnegative(pct_start, "pct_start")
        if self.pct_start > 1:
            raise ValueError(f"pct_start must be at most 1; got {pct_start}")
        if anneal_strategy not in ("cos", "linear"):
            raise unknown_name("anneal_strategy", anneal_strategy, ("cos", "linear"))
        self.anneal_strategy = anneal_strategy
        self.cycle_momentum = bool(cycle_momentum)
        self.base_momentum = check.check_fraction(base_momentum, "base_momentum")
        self.max_momentum = check.check_fraction(max_momentum, "max_momentum")
        self.div_factor = check.check_positive(div_factor, "div_factor")
        self.final_div_factor = check.check_positive(final_div_factor, "final_div_factor")
        self.three_phase = bool(three_phase)
        super().__init__(total_steps, "total_steps", per)

    def _anneal(self, levels: list[float], t: Array) -> Array:
        """Values that move from level to level; there is one more level than there are phases."""
        total = self.length()
        up = self.pct_start * total
        ends = [up - 1, 2 * up - 2, total - 1] if self.three_phase else [up - 1, total - 1]
        starts = [0.0, *ends[:-1]]
        t = np.minimum(t, total - 1).astype(float)
        phase = np.searchsorted(ends[:-1], t, side="left")
        start, end = np.take(starts, phase), np.take(ends, phase)
        length = np.where(end == start, 1.0, end - start)
        fraction: Array = (t - start) / length
        a: Array = np.take(levels[:-1], phase)
        b: Array = np.take(levels[1:], phase)
        if self.anneal_strategy == "linear":
            return (b - a) * fraction + a
        height: Array = (a - b) / 2 * (np.cos(np.pi * fraction) + 1)
        return b + height

    def rates(self, lr: float, t: Array) -> Array:
        peak = lr if self.max_lr is None else self.max_lr
        first = peak / self.div_factor
        last = first / self.final_div_factor
        return self._anneal([first, peak, *[first] * self.three_phase, last], t)

    def momenta(self, t: Array) -> Array | None:
        if not self.cycle_momentum:
            return None
        low, high = self.base_momentum, self.max_momentum
        return self._anneal([high, low, high, *[high] * self.three_phase], t)


class InverseScaling(Schedule):
    """lr / (s + 1)^power_t, where s is the number of samples trained on so far.

    This is scikit-learn's `learning_rate="invscaling"`, which changes the rate once per epoch.

    Parameters
    ----------
    power_t : float, default 0.5
        Exponent, greater than 0.
    per : {"epoch", "step"}, default "epoch"
        What t counts.

    Examples
    --------
    >>> from fastbp.schedules import Span
    >>> schedule = InverseScaling(); schedule.bind(Span(epochs=3, n_rows=8, batch_size=4))
    >>> schedule.rates(1.0, np.arange(3)).round(4).tolist()
    [1.0, 0.3333, 0.2425]
    """

    def __init__(self, power_t: float = 0.5, *, per: str = "epoch") -> None:
        self.power_t = check.check_positive(power_t, "power_t")
        super().__init__(per)

    def rates(self, lr: float, t: Array) -> Array:
        if self._span is None or self._span.n_rows is None:
            raise RuntimeError(
                "InverseScaling needs the number of samples, which it gets from a fit; call bind "
                "with a Span whose n_rows is set"
            )
        epoch, step = (
            (t, 0) if self.per == "epoch" else (t // self._span.steps, t % self._span.steps)
        )
        samples = epoch * float(self._span.n_rows) + step * self._span.batch_size
        return lr / (samples + 1) ** self.power_t


class LambdaLR(Schedule):
    """lr · f(t) for a user-defined function f.

    The function is called once per step or epoch, before the epoch starts. The formula is that of
    `torch.optim.lr_scheduler.LambdaLR`.

    Parameters
    ----------
    lr_lambda : callable
        Function of an int that returns a factor, at least 0.
    per : {"epoch", "step"}, default "epoch"
        What t counts.

    Examples
    --------
    >>> LambdaLR(lambda t: 0.5**t).rates(1.0, np.arange(3)).tolist()
    [1.0, 0.5, 0.25]
    """

    def __init__(self, lr_lambda: Callable[[int], float], *, per: str = "epoch") -> None:
        if not callable(lr_lambda):
            raise TypeError(f"lr_lambda must be a function of t; got {lr_lambda!r}")
        self.lr_lambda = lr_lambda
        super().__init__(per)

    def rates(self, lr: float, t: Array) -> Array:
        counts, inverse = np.unique(t, return_inverse=True)
        factors = [check.check_nonnegative(self.lr_lambda(int(i)), "lr_lambda(t)") for i in counts]
        return lr * np.array(factors, float)[inverse]


def _cosine(high: float, low: float, fraction: Array) -> Array:
    """From `high` at fraction 0 to `low` at fraction 1."""
    return low + (high - low) * (1 + np.cos(np.pi * fraction)) / 2
