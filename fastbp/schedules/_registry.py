"""Schedules by name, and those that hold other schedules."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from .._checks import arguments as check
from .._checks.names import known_name
from .._checks.state import check_mapping
from .._types import Array, StepSettings, Trainee
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

# What `fit` takes for a schedule.
Spec: TypeAlias = "str | Schedule | Mapping[str, str | Schedule | None]"

NAMES: tuple[str, ...] = tuple(_BY_NAME)
"""The names that `fit` takes for a schedule."""


def resolve(spec: Spec) -> Schedule:
    """Return a new schedule for a name or a mapping, or the schedule itself.

    A name may be in any case; its schedule lasts the whole fit if it has a length. A mapping has
    the arguments of `Together`. Raises ValueError, listing the known names, for an unknown name,
    and TypeError for anything else.

    >>> resolve("cosine")
    CosineAnnealingLR(eta_min=0.0, T_max=None, per='epoch')
    >>> resolve({"label_smoothing": "linear"}).label_smoothing
    LinearLR(start_factor=1.0, end_factor=0.0, total_iters=None, per='epoch')
    """
    if isinstance(spec, Schedule):
        return spec
    if isinstance(spec, Mapping):
        known = ("lr", "label_smoothing", "dropout")
        return Together(**{known_name("schedule of", name, known): spec[name] for name in spec})
    if not isinstance(spec, str):
        got = type(spec).__name__
        if isinstance(spec, type):
            got = f"the class {spec.__name__}: write {spec.__name__}(...)"
        elif (home := type(spec).__module__).startswith("torch."):
            got = f"{home}.{got}: fastbp.schedules has its own, most under the same names"
        raise TypeError(f"schedule must be a name, a Schedule object or a dict of them; got {got}")
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
        elif isinstance(self.then, Together):
            raise TypeError("put Warmup into Together, as in Together(lr=Warmup('cosine'))")
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


class Together(Schedule):
    """Schedules of the learning rate, of label smoothing and of dropout in one fit.

    Each computes its numbers by its own formula, with the value of the optimiser, of the loss or of
    a layer in place of lr: lr_t from the rate of the optimiser, ε_t from the `label_smoothing` ε of
    the loss, and p_t from the `dropout` p of each layer and of the inputs.

    Parameters
    ----------
    lr : str, Schedule or None, default None
        The schedule of the learning rate, and of the momentum if it has one; None for a constant
        rate.
    label_smoothing : str, Schedule or None, default None
        The schedule of ε of cross_entropy; None for a constant ε.
    dropout : str, Schedule or None, default None
        The schedule of p of every layer with dropout; None for constant p.

    Raises
    ------
    TypeError, ValueError
        If one is neither a name nor a schedule, and if two are the same object, which has one
        state. A fit raises ValueError for a network without label smoothing or dropout to change,
        or with a hook, and if an ε_t is not from 0 to 1 or a p_t is not at least 0 and below 1.

    Examples
    --------
    >>> import fastbp
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1]
    >>> layers = [fastbp.Dense(8, "relu", dropout=0.2), fastbp.Dense(2, "softmax")]
    >>> net = fastbp.Network.from_layers(1, layers, loss="cross_entropy(0.1)", seed=0)
    >>> schedule = Together("cosine", label_smoothing="linear", dropout="coslog4")
    >>> len(net.fit(X, y, epochs=4, schedule=schedule).loss)
    4
    """

    def __init__(
        self,
        lr: str | Schedule | None = None,
        *,
        label_smoothing: str | Schedule | None = None,
        dropout: str | Schedule | None = None,
    ) -> None:
        self.lr = ConstantLR(1.0, 1) if lr is None else resolve(lr)
        self.label_smoothing = None if label_smoothing is None else resolve(label_smoothing)
        self.dropout = None if dropout is None else resolve(dropout)
        given = dict(self._all())
        if len({id(schedule) for schedule in given.values()}) < len(given):
            raise ValueError(
                f"{' and '.join(given)} have the same schedule, which keeps one state: make one "
                "for each"
            )
        for name, schedule in given.items():
            if isinstance(schedule, Together):
                raise TypeError(f"{name} must be a schedule of one number; got {schedule!r}")
        by_step = any(schedule.per == "step" for schedule in given.values())
        super().__init__("step" if by_step else "epoch")

    def _all(self) -> Iterator[tuple[str, Schedule]]:
        for name in ("lr", "label_smoothing", "dropout"):
            schedule = getattr(self, name)
            if schedule is not None:
                yield name, schedule

    def reset(self) -> None:
        super().reset()
        for _, schedule in self._all():
            schedule.reset()

    def bind(self, span: Span, offset: int = 0) -> None:
        super().bind(span, offset)
        for _, schedule in self._all():
            schedule.bind(span, offset)

    def rates(self, lr: float, t: Array) -> Array:
        return self.lr.rates(lr, t)

    def momenta(self, t: Array) -> Array | None:
        return self.lr.momenta(t)

    def epoch_settings(self, optimizer: Any, net: Trainee, n_steps: int) -> StepSettings:
        settings = self.lr.epoch_settings(optimizer, net, n_steps)
        smoothing = dropout = None
        if self.label_smoothing is not None:
            epsilon = _smoothing_of(net)
            smoothing = self.label_smoothing._values(epsilon, n_steps, "label smoothing")
            self._check_range(smoothing, "label_smoothing", most=1.0)
        if self.dropout is not None:
            dropout = np.zeros((n_steps, len(net.widths)))
            for l, p in enumerate(_dropout_of(net)):
                if p > 0:
                    dropout[:, l] = self.dropout._values(p, n_steps, "dropout")
            self._check_range(dropout, "dropout", most=float(np.nextafter(1.0, 0.0)))
        return settings._replace(smoothing=smoothing, dropout=dropout)

    def _check_range(self, values: Array, name: str, most: float) -> None:
        bad = values[(values < 0) | (values > most)]
        if bad.size:
            limits = "from 0 to 1" if most == 1 else "at least 0 and below 1"
            raise ValueError(
                f"{name} must stay {limits}; {getattr(self, name)!r} gives {float(bad[0]):g}"
            )

    def _check_network(self, net: Trainee) -> bool:
        asked = [name for name, _ in self._all() if name != "lr"]
        if asked and net._hook is not None:
            raise ValueError(
                f"a schedule of {' and '.join(asked)} does not reach the steps of a hook: take "
                "the hook away with net.on_delta(None), or leave the schedule out"
            )
        if self.label_smoothing is not None and _smoothing_of(net) == 0:
            raise ValueError(
                f"the schedule of label_smoothing has nothing to change: the loss is "
                f"{str(net.criterion)!r}; write loss='cross_entropy(label_smoothing=0.1)'"
            )
        if self.dropout is not None and not any(_dropout_of(net)):
            raise ValueError(
                "the schedule of dropout has nothing to change: no layer of the network has "
                "dropout; write fastbp.Dense(…, dropout=0.1), see docs/layers.md"
            )
        return True

    @property
    def _is_for_one_fit(self) -> bool:
        return any(schedule._is_for_one_fit for _, schedule in self._all())

    @property
    def _kind(self) -> str:
        return f"Together({', '.join(f'{name}={each._kind}' for name, each in self._all())})"

    def check_logs(self, expected: ExpectedLogs) -> bool:
        for _, schedule in self._all():
            schedule.check_logs(expected)
        return True

    def observe(self, logs: Mapping[str, float]) -> bool:
        stops = False
        for _, schedule in self._all():
            stops |= schedule.observe(logs)
        return stops

    def advance(self, n_steps: int) -> None:
        super().advance(n_steps)
        for _, schedule in self._all():
            schedule.advance(n_steps)

    def state_dict(self) -> dict[str, float | None]:
        found = super().state_dict()
        for name, schedule in self._all():
            found |= {f"{name}.{key}": value for key, value in schedule.state_dict().items()}
        return found

    def load_state_dict(self, state: Mapping[str, float | None]) -> None:
        check_mapping(state, "a Together")
        rest, own = dict(state), {}
        for name, schedule in self._all():
            mine = {key: value for key, value in rest.items() if str(key).startswith(f"{name}.")}
            rest = {key: value for key, value in rest.items() if key not in mine}
            own[name] = {key[len(name) + 1 :]: value for key, value in mine.items()}
            copy.deepcopy(schedule).load_state_dict(own[name])  # raises before anything changes
        checked = self._checked(rest)
        for name, schedule in self._all():
            schedule.load_state_dict(own[name])
        vars(self).update(checked)

    def __repr__(self) -> str:
        return f"Together({', '.join(f'{name}={each!r}' for name, each in self._all())})"


def _smoothing_of(net: Trainee) -> float:
    """The label smoothing of the loss; 0 for a loss that has none."""
    return float(getattr(net.criterion, "options", {}).get("label_smoothing", 0.0))


def _dropout_of(net: Trainee) -> Sequence[float]:
    """p of the inputs and of each layer."""
    return [net.input_dropout, *(layer.dropout for layer in net.dense)]
