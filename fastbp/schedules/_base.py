"""The base classes of all schedules: the count t, the state, and the link to a fit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .._checks import arguments as check
from .._checks.names import unknown_name
from .._checks.state import any_number, checked_state, counted, from_first_version, optional
from .._types import Array, StepSettings, Trainee
from ..metrics._monitor import ExpectedLogs

PER = ("epoch", "step")


@dataclass(frozen=True)
class Span:
    """The length of a fit in epochs, rows and batches.

    Parameters
    ----------
    epochs : int
        Number of epochs.
    n_rows : int or None
        Rows of the training data; None if unknown.
    batch_size : int
        Rows per batch.
    n_steps : int or None, default None
        Steps per epoch; None if they follow from `n_rows` and `batch_size`.

    Examples
    --------
    >>> Span(epochs=3, n_rows=10, batch_size=4).steps
    3
    """

    epochs: int
    n_rows: int | None
    batch_size: int
    n_steps: int | None = None

    @property
    def steps(self) -> int:
        """Steps per epoch; 1 if they are unknown."""
        if self.n_rows is None or self.n_steps is not None:
            return self.n_steps or 1
        return -(-self.n_rows // self.batch_size)


# The check of each entry of a schedule's state; entries not listed are numbers.
_CHECKS = {
    "t": check.check_count,
    "total": optional(check.check_positive_int),
    "scale": check.check_nonnegative,
    "waited": check.check_count,
    "cooling": check.check_count,
}


class Schedule(ABC):
    """Base class of all schedules. A subclass defines `rates`.

    Parameters
    ----------
    per : {"epoch", "step"}, default "epoch"
        What t counts.

    Attributes
    ----------
    t : int
        Number of epochs or steps completed so far.

    Raises
    ------
    ValueError
        If `per` is not one of the two names.
    """

    _state: tuple[str, ...] = ("t",)

    one_fit: ClassVar[bool] = True  # at a time

    def __init__(self, per: str = "epoch") -> None:
        if per not in PER:
            raise unknown_name("per", per, PER)
        self.per = per
        self.reset()

    def reset(self) -> None:
        """Set t to 0 and forget the fit."""
        self._t = 0
        self._span: Span | None = None

    t = counted("Number of epochs or steps completed so far, 0 to 2**63 - 1.")

    def __setstate__(self, state: dict[str, object]) -> None:
        """Restore the object from a pickle."""
        self.__dict__.update(from_first_version(state))

    def bind(self, span: Span, offset: int = 0) -> None:
        """Set the fit that the schedule is used for.

        A length of None becomes the length of the first fit, minus `offset` epochs or steps.
        """
        self._span = span

    @abstractmethod
    def rates(self, lr: float, t: Array) -> Array:
        """Return the learning rates (n,), float64, at counts t (n,) for an optimiser of rate lr."""

    def momenta(self, t: Array) -> Array | None:
        """Return momentum or β1 at counts t (n,), or None to leave the optimiser's value."""
        return None

    def epoch_rates(self, lr: float, n_steps: int) -> Array:
        """Return the rates of the coming epoch's steps, (n_steps,) float64.

        Raises ValueError if a rate is not finite.

        >>> from fastbp.schedules import StepLR
        >>> StepLR(2, per="step").epoch_rates(1.0, 3).tolist()
        [1.0, 1.0, 0.1]
        """
        return self._values(lr, n_steps, "learning rate", "lr = ")

    def _values(self, base: float, n_steps: int, what: str, origin: str = "") -> Array:
        """The rates of the coming epoch's steps for a base value; ValueError if one is not finite.

        what, origin: what they are and what the base is, for the message.
        """
        t = self.counts(n_steps)
        with np.errstate(over="ignore", invalid="ignore"):
            values = np.ascontiguousarray(self.rates(base, t), np.float64)
        if not np.isfinite(values).all():
            bad = int(np.argmin(np.isfinite(values)))
            raise ValueError(
                f"{type(self).__name__} gives a {what} of {values[bad]} at t = {t[bad]}, "
                f"from {origin}{base}; it must stay finite"
            )
        return values

    def epoch_momenta(self, optimizer: object, n_steps: int) -> Array | None:
        """Return momentum or β1 at the coming epoch's steps (n_steps,), or None for no change.

        The result is always None for an optimiser without momentum.

        >>> from fastbp.optim import SGD
        >>> from fastbp.schedules import OneCycleLR
        >>> OneCycleLR(4).epoch_momenta(SGD(), 3) is None
        True
        """
        if getattr(optimizer, "momentum", 0) == 0 and not hasattr(optimizer, "betas"):
            return None
        return self.momenta(self.counts(n_steps))

    def epoch_settings(self, optimizer: Any, net: Trainee, n_steps: int) -> StepSettings:
        """Return all that changes in the coming epoch's steps.

        Parameters
        ----------
        optimizer : Optimizer
            Whose `lr` the rates are computed from.
        net : Network
            The network that is trained.
        n_steps : int
            Steps of the epoch.

        Returns
        -------
        StepSettings
            Named arrays: `rates` and `momenta`, see `epoch_rates` and `epoch_momenta`, and
            `smoothing` and `dropout`, which only `Together` sets.

        Examples
        --------
        >>> import fastbp
        >>> from fastbp.schedules import StepLR
        >>> net = fastbp.Network((1, 1))
        >>> StepLR(1).epoch_settings(fastbp.optim.SGD(0.5), net, 2).rates.tolist()
        [0.5, 0.5]
        """
        rates = self.epoch_rates(optimizer.lr, n_steps)
        return StepSettings(rates, self.epoch_momenta(optimizer, n_steps))

    def _check_network(self, net: Trainee) -> bool:
        """Return True; raise ValueError if the network has nothing that this could change."""
        return True

    @property
    def _kind(self) -> str:
        """What it is, for checkpoints, which only continue a fit with the same kind."""
        return type(self).__name__

    @property
    def _is_for_one_fit(self) -> bool:
        """Whether it depends on one fit: on its length or on the logs of its epochs."""
        return False

    def check_logs(self, expected: ExpectedLogs) -> bool:
        """Return True; raise ValueError if the fit's logs will lack the entry `observe` reads."""
        return True

    def observe(self, logs: Mapping[str, float]) -> bool:
        """Read the logs of a completed epoch; return True to stop the fit."""
        return False

    def counts(self, n_steps: int) -> Array:
        """Return t at each step of the coming epoch, (n_steps,) int64.

        >>> from fastbp.schedules import StepLR
        >>> StepLR(2).counts(3).tolist(), StepLR(2, per="step").counts(3).tolist()
        ([0, 0, 0], [0, 1, 2])
        """
        first = int(self.t)
        if self.per == "step":
            return first + np.arange(n_steps)
        return np.full(n_steps, first, np.int64)

    def advance(self, n_steps: int) -> None:
        """Count a completed epoch of `n_steps` steps."""
        self.t += n_steps if self.per == "step" else 1

    def state_dict(self) -> dict[str, float | None]:
        """Return the state as numbers by name, without the hyper-parameters.

        >>> from fastbp.schedules import CosineAnnealingLR
        >>> schedule = CosineAnnealingLR(10); schedule.t = 3; schedule.state_dict()
        {'t': 3, 'total': 10}
        """
        return {name: getattr(self, name) for name in self._state}

    def load_state_dict(self, state: Mapping[str, float | None]) -> None:
        """Restore the state returned by `state_dict`.

        Raises TypeError or ValueError, and changes nothing, if the state belongs to another kind
        of schedule or a value is invalid.
        """
        vars(self).update(self._checked(state))

    def _checked(self, state: object) -> dict[str, object]:
        """The attributes that a state sets, after checks."""
        fields = {name: _CHECKS.get(name, any_number) for name in self._state}
        checked = checked_state(state, fields, f"a {type(self).__name__}")
        return {"_t" if name == "t" else name: value for name, value in checked.items()}

    def __repr__(self) -> str:
        shown = {k: v for k, v in vars(self).items() if k[0] != "_" and k not in self._state}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in shown.items())})"


class ScheduleWithLength(Schedule):
    """A schedule over `total` epochs or steps; None means the whole fit."""

    _state = ("t", "total")

    def __init__(self, length: int | None, name: str, per: str) -> None:
        self._name = name
        setattr(self, name, None if length is None else check.check_positive_int(length, name))
        super().__init__(per)

    def reset(self) -> None:
        super().reset()
        self.total: int | None = getattr(self, self._name)

    def bind(self, span: Span, offset: int = 0) -> None:
        super().bind(span, offset)
        if self.total is None:
            whole = span.epochs * (span.steps if self.per == "step" else 1)
            self.total = max(1, whole - offset)

    @property
    def _is_for_one_fit(self) -> bool:
        return getattr(self, self._name) is None

    def length(self) -> int:
        """The length in epochs or steps; RuntimeError if no fit has set it yet."""
        if self.total is None:
            raise RuntimeError(
                f"this {type(self).__name__} gets its length from a fit; "
                f"to use it without a fit, pass {self._name}"
            )
        return self.total
