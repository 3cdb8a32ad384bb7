"""Schedules by name, and the warm-up that runs before another schedule."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from .._checks import arguments as check
from .._checks.names import known_name
from .._checks.state import check_mapping
from .._types import Array
from ..metrics._monitor import ExpectedLogs
from ._base import Schedule, Span
from ._formulas import (
    ConstantLR,
    CosineAnnealingLR,
    CosLog4,
    InverseScaling,
    LinearLR,
    OneCycleLR,
    PolynomialLR,
)
from ._plateau import Adaptive, ReduceLROnPlateau

_BY_NAME: dict[str, Callable[[], Schedule]] = {
    "constant": lambda: ConstantLR(1.0, 1),
    "linear": lambda: LinearLR(1.0, 0.0, None),
    "polynomial": lambda: PolynomialLR(None),
    "cosine": CosineAnnealingLR,
    "coslog4": CosLog4,
    "one_cycle": OneCycleLR,
    "invscaling": InverseScaling,
    "plateau": ReduceLROnPlateau,
    "adaptive": Adaptive,
}

NAMES: tuple[str, ...] = tuple(_BY_NAME)
"""The names that `fit` takes for a schedule."""


def resolve(spec: str | Schedule) -> Schedule:
    """Return a new schedule for a name, or the schedule itself.

    A name may be in any case; its schedule lasts the whole fit if it has a length. Raises
    ValueError, listing the known names, for an unknown name, and TypeError for anything that is
    neither.

    >>> resolve("cosine")
    CosineAnnealingLR(eta_min=0.0, T_max=None, per='epoch')
    """
    if isinstance(spec, Schedule):
        return spec
    if not isinstance(spec, str):
        got = type(spec).__name__
        if isinstance(spec, type):
            got = f"the class {spec.__name__}: write {spec.__name__}(...)"
        elif (home := type(spec).__module__).startswith("torch."):
            got = f"{home}.{got}: fastbp.schedules has its own, most under the same names"
        raise TypeError(f"schedule must be a name or a Schedule object; got {got}")
    return _BY_NAME[known_name("schedule", spec, NAMES)]()


class Warmup(Schedule):
    """A linear rise of the rate, followed by another schedule that starts at its own t = 0.

    Parameters
    ----------
    then : str, Schedule or None, default None
        The schedule after the rise; None for a constant rate.
    total_iters : int, default 5
        Length of the rise in epochs or steps.
    start_factor : float, default 1/3
        Factor of the first rate, greater than 0.
    per : {"epoch", "step"} or None, default None
        What t counts. None means the `per` of `then`; another value must agree with it.

    Raises
    ------
    ValueError
        If a value is out of range, or if `per` differs from that of `then`.

    Examples
    --------
    >>> from fastbp.schedules import StepLR
    >>> Warmup(StepLR(1, 0.5), 2, start_factor=0.5).rates(1.0, np.arange(5)).tolist()
    [0.5, 0.75, 1.0, 0.5, 0.25]
    """

    def __init__(
        self,
        then: str | Schedule | None = None,
        total_iters: int = 5,
        start_factor: float = 1 / 3,
        *,
        per: str | None = None,
    ) -> None:
        self.then = resolve("constant" if then is None else then)
        if then is None and per is not None:
            self.then = ConstantLR(1.0, 1, per=per)
        elif per not in (None, self.then.per):
            raise ValueError(f"per is {per!r}, but {self.then!r} counts by {self.then.per}")
        self.total_iters = check.check_positive_int(total_iters, "total_iters")
        self.start_factor = check.check_positive(start_factor, "start_factor")
        self._rise = LinearLR(self.start_factor, 1.0, self.total_iters, per=self.then.per)
        super().__init__(self.then.per)

    def reset(self) -> None:
        super().reset()
        self.then.reset()

    def bind(self, span: Span, offset: int = 0) -> None:
        super().bind(span, offset)
        self.then.bind(span, offset + self.total_iters)

    def rates(self, lr: float, t: Array) -> Array:
        after = self.then.rates(lr, np.maximum(t - self.total_iters, 0))
        start = self.then.rates(lr, np.zeros_like(t))
        rise = self._rise.rates(1.0, t)
        return np.where(t < self.total_iters, start * rise, after)

    @property
    def _is_for_one_fit(self) -> bool:
        return self.then._is_for_one_fit

    def momenta(self, t: Array) -> Array | None:
        return self.then.momenta(np.maximum(t - self.total_iters, 0))

    def check_logs(self, expected: ExpectedLogs) -> bool:
        return self.then.check_logs(expected)

    def observe(self, logs: Mapping[str, float]) -> bool:
        return self.t > self.total_iters and self.then.observe(logs)

    def advance(self, n_steps: int) -> None:
        super().advance(n_steps)
        self.then.t = max(0, self.t - self.total_iters)

    def state_dict(self) -> dict[str, float | None]:
        return super().state_dict() | {f"then.{k}": v for k, v in self.then.state_dict().items()}

    def load_state_dict(self, state: Mapping[str, float | None]) -> None:
        check_mapping(state, f"a {type(self).__name__}")
        own = {name: value for name, value in state.items() if not str(name).startswith("then.")}
        then = {name[5:]: value for name, value in state.items() if name not in own}
        checked = self._checked(own)
        self.then.load_state_dict(then)
        vars(self).update(checked)
