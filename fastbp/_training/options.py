"""The arguments of a fit, as they were given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from signal import Signals
from typing import Any

from ..metrics._metrics import Metric
from ..optim import LBFGS, Optimizer
from ..schedules._registry import Spec as ScheduleSpec


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """The keywords of `Network.fit`, which describes them, as they were given."""

    epochs: int
    initial_epoch: int
    batch_size: int
    accumulate: int
    optimizer: str | Optimizer | LBFGS
    schedule: ScheduleSpec | None
    shuffle: bool
    sample_weight: object
    class_weight: object
    metrics: Iterable[str | Metric] | Mapping[str, str | Metric]
    validation_data: Sequence[object] | None
    X_val: object
    y_val: object
    sample_weight_val: object
    validation_split: float
    time_budget: float | None
    checkpoint: str | PathLike[str] | None
    every: str
    resume: bool | str
    on_signal: bool | str | Signals | Sequence[str | Signals]
    callbacks: Iterable[object]
    progress: bool
    n_threads: int | None
    # those that members of a population do not take
    parts: int | None = None
    comm: Any = None
    sync_every: int | None = None
    outer: Optimizer | None = None
