"""What all schedules share: t, its state, and the fit they are bound to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .._checks import arguments as check
from .._checks.state import any_number, checked_state, counted, from_first_version, optional
from .._types import Array
from ..metrics._monitor import ExpectedLogs

PER = ("epoch", "step")


@dataclass(frozen=True)
class Span:
    """What a fit is made of: so many epochs, each of so many rows in runs of batch_size.

    n_rows is None where it is not known; n_steps: steps of an epoch, where runs are also cut
    otherwise.
    """

    epochs: int
    n_rows: int | None
    batch_size: int
    n_steps: int | None = None

    @property
    def steps(self) -> int:
        """Steps of an epoch; 1 where they are not known.

        >>> Span(epochs=3, n_rows=10, batch_size=4).steps
        3
        """
        if self.n_rows is None or self.n_steps is not None:
            return self.n_steps or 1
        return -(-self.n_rows // self.batch_size)


# What the state of a schedule may be, by name; others are numbers.
_CHECKS = {
    "t": check.check_count,
    "total": optional(check.check_positive_int),
    "scale": check.check_nonnegative,
    "waited": check.check_count,
    "cooling": check.check_count,
}


class Schedule(ABC):
    """What all schedules share. `t` is the number of epochs or steps behind it.

    per: "epoch" or "step", what t counts. Subclasses give `rates`.
    """

    _state: tuple[str, ...] = ("t",)

    def __init__(self, per: str = "epoch") -> None:
        if per not in PER:
            raise check.unknown_name("per", per, PER)
        self.per = per
        self.reset()

    def reset(self) -> None:
        """Back to t = 0, bound to no fit."""
        self._t = 0
        self._span: Span | None = None

    t = counted("Epochs or steps behind it, 0 to 2**63 - 1.")

    def __setstate__(self, state: dict[str, object]) -> None:
        """From a pickle."""
        self.__dict__.update(from_first_version(state))

    def bind(self, span: Span, offset: int = 0) -> None:
        """Tell what fit it is for; lengths of None become that of the first, less `offset`."""
        self._span = span

    @abstractmethod
    def rates(self, lr: float, t: Array) -> Array:
        """The learning rate at counts t (n,), for an optimiser of rate lr: (n,) float64."""

    def momenta(self, t: Array) -> Array | None:
        """Momentum, or β1, at counts t (n,); None to leave it as it is."""
        return None

    def epoch_rates(self, lr: float, n_steps: int) -> Array:
        """The rates of the coming epoch's steps, (n_steps,) float64.

        Raises ValueError where one is not a finite number, which names it.

        >>> from fastbp.schedules import StepLR
        >>> StepLR(2, per="step").epoch_rates(1.0, 3).tolist()
        [1.0, 1.0, 0.1]
        """
        t = self.counts(n_steps)
        with np.errstate(over="ignore", invalid="ignore"):
            rates = np.ascontiguousarray(self.rates(lr, t), np.float64)
        if not np.isfinite(rates).all():
            bad = int(np.argmin(np.isfinite(rates)))
            raise ValueError(
                f"{type(self).__name__} gives a learning rate of {rates[bad]} at t = {t[bad]}, "
                f"from lr = {lr}; it must stay finite"
            )
        return rates

    def epoch_momenta(self, optimizer: object, n_steps: int) -> Array | None:
        """Momentum, or β1, at the coming epoch's steps (n_steps,); None to leave it as it is.

        A rule that has none stays without.

        >>> from fastbp.optim import SGD
        >>> from fastbp.schedules import OneCycleLR
        >>> OneCycleLR(4).epoch_momenta(SGD(), 3) is None
        True
        """
        if getattr(optimizer, "momentum", 0) == 0 and not hasattr(optimizer, "betas"):
            return None
        return self.momenta(self.counts(n_steps))

    @property
    def _per_fit(self) -> bool:
        """Whether it is of one fit: as long as that, or a reaction to what is seen in it."""
        return False

    def check_logs(self, expected: ExpectedLogs) -> bool:
        """Before a fit: ValueError where its logs will lack what `observe` looks at; else True."""
        return True

    def observe(self, logs: Mapping[str, float]) -> bool:
        """Hear the logs of an epoch; true to stop the fit."""
        return False

    def counts(self, n_steps: int) -> Array:
        """t at the steps of the coming epoch, (n_steps,) int64.

        >>> from fastbp.schedules import StepLR
        >>> StepLR(2).counts(3).tolist(), StepLR(2, per="step").counts(3).tolist()
        ([0, 0, 0], [0, 1, 2])
        """
        return self.t + (np.arange(n_steps) if self.per == "step" else np.zeros(n_steps, np.int64))

    def advance(self, n_steps: int) -> None:
        """An epoch of so many steps is over."""
        self.t += n_steps if self.per == "step" else 1

    def state_dict(self) -> dict[str, float | None]:
        """The state as numbers by name; hyper-parameters are not part of it.

        >>> from fastbp.schedules import CosineAnnealingLR
        >>> schedule = CosineAnnealingLR(10); schedule.t = 3; schedule.state_dict()
        {'t': 3, 'total': 10}
        """
        return {name: getattr(self, name) for name in self._state}

    def load_state_dict(self, state: Mapping[str, float | None]) -> None:
        """Take the state from `state_dict`.

        Raises TypeError or ValueError, with nothing changed, for the state of another schedule and
        for values that cannot be.
        """
        vars(self).update(self._checked(state))

    def _checked(self, state: object) -> dict[str, float | None]:
        """The attributes that a state sets."""
        fields = {name: _CHECKS.get(name, any_number) for name in self._state}
        state = checked_state(state, fields, f"a {type(self).__name__}")
        return {"_t" if name == "t" else name: value for name, value in state.items()}

    def __repr__(self) -> str:
        shown = {k: v for k, v in vars(self).items() if k[0] != "_" and k not in self._state}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in shown.items())})"


class Lasting(Schedule):
    """A schedule over `total` epochs or steps, the whole fit where that is None."""

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
    def _per_fit(self) -> bool:
        return getattr(self, self._name) is None

    def bound(self) -> int:
        """The length. Raises RuntimeError where it is still to come from a fit."""
        if self.total is None:
            raise RuntimeError(
                f"a {type(self).__name__} of no length gets it from a fit; give it one before"
            )
        return self.total
