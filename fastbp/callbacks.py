"""Watching and stopping a fit: how callbacks are called, and the progress report.

A callback is either a function `callback(epoch, logs)` or an object with any of

    on_fit_begin(net)    on_epoch_end(epoch, logs)    on_fit_end(net)

`epoch` counts from 0; `logs` is a dict with `loss`, `samples_per_second` and, with validation
data, `val_loss` and `val_score`. Something true from the function or from on_epoch_end stops
the fit after that epoch; all the others are still called. on_fit_end is called however the fit
ends.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Self

_METHODS = ("on_fit_begin", "on_epoch_end", "on_fit_end")


class CallbackRunner:
    """The callbacks of one fit, `progress` last, as a context: begins on entry, ends on exit.

    Raises TypeError for something that is neither callable nor has one of the methods.

    >>> with CallbackRunner([lambda epoch, logs: epoch == 1], net=None) as run:
    ...     [run.epoch_end(epoch, {"loss": 0.5}) for epoch in range(2)]
    [False, True]
    """

    def __init__(
        self, callbacks: Iterable[object], net: object, progress: Progress | None = None
    ) -> None:
        if not isinstance(callbacks, Iterable):
            raise TypeError("callbacks must be a sequence: write callbacks=[callback]")
        self._callbacks = [*callbacks] if progress is None else [*callbacks, progress]
        self._net = net
        for callback in self._callbacks:
            if not callable(callback) and not _has_methods(callback):
                raise TypeError(
                    f"callback {callback!r} is neither callable nor has any of "
                    f"{', '.join(_METHODS)}"
                )

    def __enter__(self) -> Self:
        for callback in self._callbacks:
            if hasattr(callback, "on_fit_begin"):
                callback.on_fit_begin(self._net)
        return self

    def epoch_end(self, epoch: int, logs: dict[str, float]) -> bool:
        """Tell all callbacks; True when one of them wants to stop."""
        stop = False
        for callback in self._callbacks:
            if hasattr(callback, "on_epoch_end"):
                stop |= bool(callback.on_epoch_end(epoch, logs))
            elif not _has_methods(callback):
                stop |= bool(callback(epoch, logs))
        return stop

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for callback in self._callbacks:
            if hasattr(callback, "on_fit_end"):
                callback.on_fit_end(self._net)


class Progress:
    """What progress=True shows: a tqdm bar where tqdm is installed, else a line an epoch.

    Both go to stderr. `epochs` is the number asked for. tqdm is imported on first use.

    >>> Progress.line(0, 10, {"loss": 0.25, "samples_per_second": 12345.6})
    'epoch 1/10  loss 0.2500  12,346 samples/s'
    """

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self._bar = None

    @staticmethod
    def line(epoch: int, epochs: int, logs: Mapping[str, float]) -> str:
        """The line of one epoch."""
        numbers = (f"{name} {text}" for name, text in _formatted(logs).items())
        rate = f"{logs['samples_per_second']:,.0f} samples/s"
        return "  ".join([f"epoch {epoch + 1}/{epochs}", *numbers, rate])

    def on_fit_begin(self, net: object) -> None:
        try:
            from tqdm import tqdm
        except ImportError:
            return
        self._bar = tqdm(total=self._epochs, unit="epoch", file=sys.stderr)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        if self._bar is None:
            print(self.line(epoch, self._epochs, logs), file=sys.stderr, flush=True)
            return
        rate = f"{logs['samples_per_second']:,.0f}"
        self._bar.set_postfix(_formatted(logs) | {"samples/s": rate}, refresh=False)
        self._bar.update()

    def on_fit_end(self, net: object) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _has_methods(callback: object) -> bool:
    return any(hasattr(callback, method) for method in _METHODS)


def _formatted(logs: Mapping[str, float]) -> dict[str, str]:
    return {name: f"{logs[name]:.4f}" for name in ("loss", "val_loss", "val_score") if name in logs}
