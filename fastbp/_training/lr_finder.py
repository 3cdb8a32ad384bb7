"""The learning-rate range test: a fit whose rate grows from step to step until it diverges.

Smith, "Cyclical learning rates for training neural networks", 2017 (arXiv:1506.01186).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from .._checks import arguments as check
from .._checks.batch_norm import check_rows
from .._types import Array, Ran, Session, SessionOptions, StepSettings, Trainee
from ..optim import Optimizer
from ..optim import resolve as resolve_optimizer
from .fit import data_set, plan_batches


@dataclass(frozen=True)
class LRRange:
    """The result of `lr_finder`.

    Attributes
    ----------
    lrs : ndarray (n_steps,)
        The learning rate of every step.
    losses : ndarray (n_steps,)
        J of the batch before the step.
    smoothed : ndarray (n_steps,)
        The running mean of `losses`.
    """

    lrs: Array
    losses: Array
    smoothed: Array

    @property
    def suggestion(self) -> float:
        """The rate in the middle of the steps over which J falls most steeply.

        The slope is that of the least-squares line through J over log lr, because batches are
        noisy. The line is fitted to a quarter of the steps, none of them after the minimum of J.

        >>> lrs = np.geomspace(1e-4, 1.0, 17); J = np.minimum(3, 1 - np.log10(lrs))
        >>> round(LRRange(lrs, J, J).suggestion, 3)
        0.032
        """
        at = np.log(self.lrs)
        width = min(max(len(at) // 4, 3), len(at))
        last = max(int(np.argmin(self.smoothed)) + 1 - width, 0)
        slopes = [
            np.polyfit(at[i : i + width], self.losses[i : i + width], 1)[0] for i in range(last + 1)
        ]
        return float(self.lrs[np.argmin(slopes) + width // 2])

    def plot(self, ax: Any = None) -> Any:
        """Draw J, smoothed J and the suggestion over the rate; return the axes.

        ax: the axes to draw on; None for new ones. Needs matplotlib, the extra `plot`.
        """
        from .._pyplot import axes_or_new

        ax = axes_or_new(ax, figsize=(6, 4))
        ax.plot(self.lrs, self.losses, color="0.8", label="loss")
        ax.plot(self.lrs, self.smoothed, label="smoothed")
        ax.axvline(self.suggestion, color="0.4", linestyle=":", label=f"{self.suggestion:.2g}")
        ax.set(xscale="log", xlabel="learning rate", ylabel="J")
        low, high = self.smoothed.min(), self.smoothed[0]
        room = max(high - low, 1e-12)
        ax.set_ylim(low - 0.1 * room, high + room)
        ax.legend()
        return ax


def lr_finder(
    net: Trainee,
    X: object,
    y: object,
    *,
    start_lr: float = 1e-7,
    end_lr: float = 10.0,
    steps: int = 100,
    batch_size: int = 64,
    optimizer: str | Optimizer = "adam",
    sample_weight: object = None,
    smoothing: float = 0.9,
    stop_factor: float = 4.0,
    n_threads: int | None = None,
) -> LRRange:
    """Find a learning rate: train while the rate grows geometrically from start_lr to end_lr.

    The test ends early if smoothed J exceeds stop_factor times its minimum, or is not finite.
    Afterwards the parameters and the optimiser are as before.

    Parameters
    ----------
    net : Network
        The network.
    X, y : array_like
        The data, as for `fit`.
    start_lr, end_lr : float
        The first and the last learning rate.
    steps : int
        How many steps to make, at least 2.
    batch_size : int
        Rows of a batch.
    optimizer : str or Optimizer
        A name or an object of `fastbp.optim`, of which a copy is used.
    sample_weight : array_like, shape (n,), optional
        The weights of the samples.
    smoothing : float
        The decay of the running mean of J, in [0, 1). Its bias is corrected.
    stop_factor : float
        The multiple of the minimum of smoothed J at which the test ends.
    n_threads : int, optional
        The most threads to use, by default `fastbp.get_num_threads()`.

    Returns
    -------
    LRRange
        Rates and losses, with the properties `suggestion` and `plot`.

    Raises
    ------
    TypeError, ValueError
        An argument is not valid, or J is not finite after the first step.

    Examples
    --------
    >>> import fastbp
    >>> rng = np.random.default_rng(0); X = rng.normal(size=(256, 3)); y = X[:, :1] ** 2
    >>> net = fastbp.Network((3, 16, 1), seed=0)
    >>> found = fastbp.lr_finder(net, X, y, batch_size=32)
    >>> 1e-4 < found.suggestion < 1.0
    True
    """
    data = data_set(net, X, y, sample_weight)
    lrs = _rates(start_lr, end_lr, steps)
    rule = copy.deepcopy(resolve_optimizer(optimizer))
    batch_size = check.check_at_most_all(batch_size, "batch_size")
    net.criterion.check_batch_size(batch_size)
    batch_size, span = plan_batches(len(data[0]), batch_size, 1, rule)
    check_rows(net.layers, batch_size, "a batch")
    n_threads = 0 if n_threads is None else check.check_n_threads(n_threads, "n_threads")
    smoothing = check.check_fraction(smoothing, "smoothing")
    stop_factor = check.check_positive(stop_factor, "stop_factor")
    net._bind(rule)
    with net._lock:  # nobody sees the parameters of these steps
        theta = net.theta.copy()
        try:
            session = net._session(data, rule, SessionOptions(batch_size, True, n_threads))
            losses, smoothed = _climb(session, lrs, span.steps, smoothing, stop_factor)
        finally:
            net.theta = theta
    if len(losses) < 2:
        raise ValueError(
            f"J is not finite after a step with a rate of {lrs[0]}; give a smaller start_lr, or "
            "scale the inputs and targets"
        )
    return LRRange(lrs[: len(losses)], np.array(losses), np.array(smoothed))


def _rates(start: float, end: float, steps: int) -> Array:
    start, end = check.check_positive(start, "start_lr"), check.check_positive(end, "end_lr")
    steps = check.check_positive_int(steps, "steps")
    if start >= end or steps < 2:
        raise ValueError(
            f"the rate must grow, in at least 2 steps; got start_lr {start}, end_lr {end}, "
            f"steps {steps}"
        )
    return np.geomspace(start, end, steps)


def _climb(
    session: Session, lrs: Array, per_epoch: int, beta: float, factor: float
) -> tuple[list[float], list[float]]:
    """J of every step until one diverges, and smoothed J."""
    losses: list[float] = []
    smoothed: list[float] = []
    mean, best = 0.0, np.inf
    done = True
    for i in range(len(lrs)):
        if done:
            coming = lrs[i : i + per_epoch]
            rates = np.pad(coming, (0, per_epoch - len(coming)), "edge")
            session.set_steps(StepSettings(rates))
        ran = Ran(*session.run(0.0))
        done = ran.done
        if ran.diverged:
            break
        losses.append(ran.last_loss)
        mean = beta * mean + (1 - beta) * ran.last_loss
        smoothed.append(mean / (1 - beta ** (i + 1)))
        best = min(best, smoothed[-1])
        if not isfinite(smoothed[-1]) or smoothed[-1] > factor * best:
            break
    return losses, smoothed
