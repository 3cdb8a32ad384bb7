"""The entries that the logs of a fit will have, and a monitor of one entry."""

from __future__ import annotations

import math
from collections.abc import Mapping

from .._checks import arguments as check
from .._checks.names import unknown_name
from ._metrics import direction_of

MODES = ("auto", "min", "max")


class ExpectedLogs(dict[str, bool | None]):
    """The entries that the logs of every epoch will have, known before the first epoch.

    Each name maps to True if higher values are better, False if lower values are, and None if
    nothing is declared. `complete` is False if a callback without `adds_logs` may add others.

    >>> expected = ExpectedLogs(loss=False, accuracy=True)
    >>> expected.check("accuracy", "EarlyStopping")
    """

    complete = True

    def add(self, callback: object) -> None:
        """Add the entries in `adds_logs` of a callback; TypeError if that is not a dict."""
        added = getattr(callback, "adds_logs", None)
        if added is None:
            self.complete = False
        elif not isinstance(added, Mapping):
            raise TypeError(
                f"adds_logs of {callback!r} must be a dict from names to True (higher is better), "
                f"False or None; got {added!r}"
            )
        else:
            self.update(added)

    def check(self, name: str, owner: str) -> None:
        """Raise ValueError, with a list of the entries, if the logs will lack this one."""
        if self.complete and name not in self:
            raise _lacking(name, self, owner)


def check_name(name: object) -> str:
    """Return the name of an entry of the logs; TypeError if it is not a string."""
    if not isinstance(name, str):
        raise TypeError(f"monitor must be the name of an entry of the logs; got {name!r}")
    return name


def check_mode(mode: object) -> str:
    """Return the mode; ValueError if it is not one of `MODES`."""
    if not isinstance(mode, str) or mode not in MODES:
        raise unknown_name("mode", mode, MODES)
    return mode


def look_up(name: str, logs: Mapping[str, float], owner: str) -> float:
    """Return one entry; ValueError, with a list of the entries, if the logs lack it."""
    if name not in logs:
        raise _lacking(name, logs, owner)
    return float(logs[name])


def prefers_higher(
    name: str, mode: str, owner: str, expected: Mapping[str, bool | None] | None = None
) -> bool:
    """Whether higher values of an entry are better.

    Parameters
    ----------
    name : str
        The entry of the logs.
    mode : {"auto", "min", "max"}
        "auto" means what is declared for the entry.
    owner : str
        Class name for the error message.
    expected : mapping or None, default None
        The entries of the current fit. Without it, only the names of `fastbp.metrics` are known.

    Returns
    -------
    bool
        Whether higher values are better.

    Raises
    ------
    ValueError
        If the mode is "auto" and nothing is declared.

    Examples
    --------
    >>> prefers_higher("val_f1", "auto", ""), prefers_higher("val_loss", "auto", "")
    (True, False)
    """
    if mode != "auto":
        return mode == "max"
    found = direction_of(name) if expected is None else expected.get(name)
    if found is None:
        raise ValueError(
            f"{owner} cannot tell whether higher values of {name!r} are better: pass mode='min' or "
            "'max', or declare it where the metric is defined, with "
            "fastbp.metrics.higher_is_better or lower_is_better"
        )
    return found


class Monitor:
    """The best value so far of one entry of the logs; NaN is never better."""

    def __init__(self, name: str, mode: str, min_delta: float, owner: str) -> None:
        self.name = check_name(name)
        self._mode = check_mode(mode)
        self.min_delta = check.check_nonnegative(min_delta, "min_delta")
        self._owner = owner
        self._higher: bool | None = None  # None until the logs of a fit are known
        self.reset()

    def __setstate__(self, state: dict[str, object]) -> None:
        """Restore the object from a pickle; version 0.1 stored the direction as a sign."""
        sign = state.pop("_sign", None)
        if isinstance(sign, (int, float)):
            state = {"_mode": "max" if sign < 0 else "min", "_higher": None} | state
        self.__dict__.update(state)

    def reset(self) -> None:
        """Forget the best value."""
        self.best = math.nan

    def check_logs(self, expected: ExpectedLogs) -> None:
        """Raise ValueError if the logs will lack the entry or its direction is unknown."""
        expected.check(self.name, self._owner)
        self._higher = prefers_higher(self.name, self._mode, self._owner, expected)

    def improves(self, logs: Mapping[str, float]) -> bool:
        """Whether the entry is better than the best by more than min_delta; if so, store it."""
        value = look_up(self.name, logs, self._owner)
        if not self.beats(value, self.best):
            return False
        self.best = value
        return True

    def beats(self, value: float, other: float) -> bool:
        """Whether a value is better than another one by more than min_delta.

        NaN is never better, and any number is better than NaN.
        """
        if self._higher is None:
            self._higher = prefers_higher(self.name, self._mode, self._owner)
        gain = value - other if self._higher else other - value
        return not math.isnan(value) and (math.isnan(other) or gain > self.min_delta)


def _lacking(name: str, logs: Mapping[str, object], owner: str) -> ValueError:
    way = "val_loss needs X_val and y_val, validation_data or validation_split"
    if name == "val_score" and "val_loss" in logs:  # only a loss of the user's has no score
        way = (
            "the loss names no score: use gates.loss(..., score='r2') or CustomLoss(..., "
            "score='r2'), with a metric that suits it, or monitor val_loss or a metric of the fit"
        )
    elif "val_loss" in logs:
        way = "metrics=['accuracy'] of fit, for example, adds accuracy and val_accuracy"
    return ValueError(
        f"{owner} monitors {name!r}, which the logs lack: they hold {', '.join(logs)}; {way}"
    )
