"""Signals at which a fit writes a checkpoint, as batch systems send them before they end a job.

Python calls a handler in the main thread between two instructions, so during a slice of training it
has to wait for the engine, 50 ms at most or one step. The handler here only notes the signal. The
fit looks between two slices, writes the checkpoint, and then lets the signal have its effect.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self

from .._checks.names import unknown_name

__all__ = ["NAMES", "NEEDS_CHECKPOINT", "SharedSignals", "SignalWatch", "check_signals"]

NAMES = ("SIGTERM", "SIGUSR1")
NEEDS_CHECKPOINT = "on_signal writes a checkpoint: name its folder, checkpoint='...'"


def check_signals(on_signal: object) -> tuple[str, ...]:
    """The names of signals from the argument `on_signal` of `fit`.

    Raises TypeError or ValueError for what is no such name, or is none on this system, and
    RuntimeError outside the main thread, and for a signal whose handler Python does not know.

    >>> check_signals(False), check_signals(["SIGTERM"]), check_signals(signal.SIGTERM)
    ((), ('SIGTERM',), ('SIGTERM',))
    """
    if isinstance(on_signal, bool):
        names = tuple(name for name in NAMES if hasattr(signal, name)) if on_signal else ()
    elif isinstance(on_signal, (str, signal.Signals)):
        names = (_name(on_signal),)
    elif isinstance(on_signal, (list, tuple)):
        names = tuple(dict.fromkeys(_name(each) for each in on_signal))
    else:
        raise TypeError(
            f"on_signal must be True, False, or names such as ('SIGTERM', 'SIGUSR1'); got "
            f"{on_signal!r}"
        )
    if names and threading.current_thread() is not threading.main_thread():
        raise RuntimeError(
            "on_signal needs the main thread, where Python handles signals, and this fit runs in "
            f"the thread {threading.current_thread().name}: leave on_signal out, or call fit in "
            "the main thread"
        )
    for name in names:
        if signal.getsignal(getattr(signal, name)) is None:
            raise RuntimeError(
                f"{name} has a handler that was not installed from Python, so it could not be "
                "restored after the fit: leave it out of on_signal"
            )
    return names


def _name(given: object) -> str:
    if isinstance(given, signal.Signals):
        name = given.name
    elif isinstance(given, str):
        name = given.upper()
    else:
        raise TypeError(f"on_signal takes names of signals such as 'SIGTERM'; got {given!r}")
    if name not in NAMES:
        raise unknown_name("signal", given if isinstance(given, str) else name, NAMES)
    if not hasattr(signal, name):
        raise ValueError(f"this system has no {name}, which on_signal names: leave it out")
    return name


class SignalWatch:
    """Notes the signals that arrive while it is open, until the fit asks for them.

    `act` gives them their effect: it calls the handler that the program had installed before. If
    there was none, SIGTERM ends the process and SIGUSR1 has no effect.

    >>> with SignalWatch(["SIGTERM"]) as watch:
    ...     watch.arrived
    0
    """

    def __init__(self, names: tuple[str, ...] | list[str] = ()) -> None:
        self._numbers = [getattr(signal, name) for name in names]
        self._before: dict[int, Any] = {}  # the handlers of the program, while this is open
        self._noted: list[tuple[int, FrameType | None]] = []
        self._ends: int | None = None  # the signal by which the process is to end

    @property
    def arrived(self) -> int:
        """The number of signals that have had no effect yet."""
        return len(self._noted)

    def act(self, n: int | None = None) -> None:
        """Let the first n signals that have arrived have their effect, or all of them.

        A fit gives the n for which it has written a checkpoint, because another signal may arrive
        at any moment. It may raise what handlers raise. SystemExit unwinds the fit if the process
        is to end, which `__exit__` then does.
        """
        while self._noted and n != 0:
            n = None if n is None else n - 1
            number, frame = self._noted.pop(0)
            handler = self._before[number]
            if callable(handler):
                handler(number, frame)
            elif handler == signal.SIG_DFL and number == signal.SIGTERM:
                self._ends = number
                raise SystemExit(128 + number)

    def __enter__(self) -> Self:
        for number in self._numbers:
            self._before[number] = signal.getsignal(number)  # before _note may be called
            signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._noted.append((number, frame))

    def __exit__(self, *raised: object) -> None:
        """Restore the handlers; what has arrived and had no effect yet has it now."""
        for number, handler in self._before.items():
            if signal.getsignal(number) == self._note:  # else a handler has set another one
                signal.signal(number, handler)
        try:
            self.act()
        finally:
            if self._ends is not None:
                signal.raise_signal(self._ends)


class SharedSignals:
    """The signals of one watch for many fits, which look at them in turn.

    To each fit it is like a watch of its own. But a signal has its effect only when all of them
    have written their checkpoints: the caller lets them look between `look` and `act_for_all`.

    >>> with SignalWatch() as watch:
    ...     shared = SharedSignals(watch)
    ...     shared.look()
    ...     shared.arrived
    0
    """

    def __init__(self, watch: SignalWatch) -> None:
        self._watch = watch
        self.arrived = 0  # when the caller looked

    def look(self) -> None:
        """Let the fits see what has arrived until now."""
        self.arrived = self._watch.arrived

    def act_for_all(self) -> None:
        """Let what the fits have seen have its effect; see `SignalWatch.act`."""
        n, self.arrived = self.arrived, 0
        if n:
            self._watch.act(n)

    def act(self, n: int | None = None) -> None:
        """Do nothing yet: other fits may have to write their checkpoints."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        """Do nothing: the watch is open for all."""
