"""Watching one entry of the logs: which way is up, and whether it has become better."""

from __future__ import annotations

import math
from collections.abc import Mapping

from . import _validation as check

MODES = ("auto", "min", "max")
_HIGHER = ("score", "accuracy", "f1", "r2", "auc", "precision", "recall", "correlation")


def better_is_higher(name: str) -> bool:
    """Whether an entry of that name is the better the higher it is.

    >>> better_is_higher("val_accuracy"), better_is_higher("val_loss")
    (True, False)
    """
    return any(part in name for part in _HIGHER)


def check_name(name: object) -> str:
    """The name of an entry of the logs; TypeError for what is no text."""
    if not isinstance(name, str):
        raise TypeError(f"monitor must be the name of an entry of the logs; got {name!r}")
    return name


def look_up(name: str, logs: Mapping[str, float], owner: str) -> float:
    """That entry. ValueError, naming the owner and what there is, where the logs lack it."""
    if name not in logs:
        raise ValueError(
            f"{owner} monitors {name!r}, which the logs lack: they hold {', '.join(logs)}; "
            "validation_data or validation_split bring val_loss"
        )
    return float(logs[name])


class Monitor:
    """The best value so far of one entry of the logs. NaN is never better."""

    def __init__(self, name: str, mode: str, min_delta: float, owner: str) -> None:
        self.name = check_name(name)
        if mode not in MODES:
            raise check.unknown_name("mode", mode, MODES)
        self.min_delta = check.check_nonnegative(min_delta, "min_delta")
        higher = mode == "max" or (mode == "auto" and better_is_higher(name))
        self._sign = -1.0 if higher else 1.0
        self._owner = owner
        self.reset()

    def reset(self) -> None:
        """Back to no value seen."""
        self.best = math.nan

    def improves(self, logs: Mapping[str, float]) -> bool:
        """Whether the entry is better than the best by more than min_delta; it then is the best."""
        value = look_up(self.name, logs, self._owner)
        gain = self._sign * (self.best - value)
        if math.isnan(value) or (not math.isnan(self.best) and not gain > self.min_delta):
            return False
        self.best = value
        return True
