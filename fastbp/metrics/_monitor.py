"""What the logs of a fit will hold, and watching one entry: whether it has become better."""

from __future__ import annotations

import math
from collections.abc import Mapping

from .._checks import arguments as check
from ._metrics import direction_of

MODES = ("auto", "min", "max")


class ExpectedLogs(dict[str, bool | None]):
    """The entries that the logs of every epoch will have, known before the first.

    Each name maps to True where more is better, False where less is, None where nobody has said.
    `complete` is False once there may be others, added by callbacks without `adds_logs`.

    >>> expected = ExpectedLogs(loss=False, accuracy=True)
    >>> expected.check("accuracy", "EarlyStopping")
    """

    complete = True

    def add(self, callback: object) -> None:
        """The entries that a callback adds, by its `adds_logs`; TypeError where that is no dict."""
        added = getattr(callback, "adds_logs", None)
        if added is None:
            self.complete = False
        elif not isinstance(added, Mapping):
            raise TypeError(
                f"adds_logs of {callback!r} must be a dict of names, each True where more is "
                f"better, False, or None; got {added!r}"
            )
        else:
            self.update(added)

    def check(self, name: str, owner: str) -> None:
        """ValueError, naming the owner and what there is, where the logs will lack that entry."""
        if self.complete and name not in self:
            raise _lacking(name, self, owner)


def check_name(name: object) -> str:
    """The name of an entry of the logs; TypeError if it is not a string."""
    if not isinstance(name, str):
        raise TypeError(f"monitor must be the name of an entry of the logs; got {name!r}")
    return name


def check_mode(mode: object) -> str:
    """One of `MODES`."""
    if mode not in MODES:
        raise check.unknown_name("mode", mode, MODES)
    return mode


def look_up(name: str, logs: Mapping[str, float], owner: str) -> float:
    """That entry. ValueError, naming the owner and what there is, where the logs lack it."""
    if name not in logs:
        raise _lacking(name, logs, owner)
    return float(logs[name])


def higher_is_better(
    name: str, mode: str, owner: str, expected: Mapping[str, bool | None] | None = None
) -> bool:
    """Which way is up: what `mode` says; for "auto", what is declared of that entry.

    expected: of the fit at hand, if there is one; otherwise only names of `fastbp.metrics` are
    known. Raises ValueError where nothing is declared.

    >>> higher_is_better("val_f1", "auto", ""), higher_is_better("val_loss", "auto", "")
    (True, False)
    """
    if mode != "auto":
        return mode == "max"
    found = direction_of(name) if expected is None else expected.get(name)
    if found is None:
        raise ValueError(
            f"{owner} cannot tell whether more of {name!r} is better: say mode='min' or 'max', or "
            "declare it where the metric is defined, with fastbp.metrics.higher_is_better or "
            "lower_is_better"
        )
    return found


class Monitor:
    """The best value so far of one entry of the logs. NaN is never better."""

    def __init__(self, name: str, mode: str, min_delta: float, owner: str) -> None:
        self.name = check_name(name)
        self._mode = check_mode(mode)
        self.min_delta = check.check_nonnegative(min_delta, "min_delta")
        self._owner = owner
        self._higher: bool | None = None  # known from the first look on
        self.reset()

    def __setstate__(self, state: dict[str, object]) -> None:
        """From a pickle; those of the first version hold which way is up as a sign."""
        sign = state.pop("_sign", None)
        older = {} if sign is None else {"_mode": "max" if sign < 0 else "min", "_higher": None}
        self.__dict__.update(older | state)

    def reset(self) -> None:
        """Back to no value seen."""
        self.best = math.nan

    def check_logs(self, expected: ExpectedLogs) -> None:
        """ValueError where the logs will lack the entry, or where which way is up is not known."""
        expected.check(self.name, self._owner)
        self._higher = higher_is_better(self.name, self._mode, self._owner, expected)

    def improves(self, logs: Mapping[str, float]) -> bool:
        """Whether the entry is better than the best by more than min_delta; it then is the best."""
        value = look_up(self.name, logs, self._owner)
        if self._higher is None:
            self._higher = higher_is_better(self.name, self._mode, self._owner)
        gain = value - self.best if self._higher else self.best - value
        if math.isnan(value) or (not math.isnan(self.best) and not gain > self.min_delta):
            return False
        self.best = value
        return True


def _lacking(name: str, there: Mapping[str, object], owner: str) -> ValueError:
    return ValueError(
        f"{owner} monitors {name!r}, which the logs lack: they hold {', '.join(there)}; "
        "validation_data or validation_split bring val_loss"
    )
