"""How a fit calls its callbacks, and its progress report; see `fastbp.callbacks`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, ClassVar, Self

from .._forks import lock_for
from ..errors import DivergenceError
from ..metrics._monitor import ExpectedLogs


class _Fit:
    """Who uses objects that one fit at a time can use."""

    __slots__ = ("running",)

    def __init__(self) -> None:
        self.running = True


class _Leftovers:
    """Removes the entry of a fit that ended without memory to remove it."""

    def __init__(self) -> None:
        self._lock = lock_for(self)

    def remove(self, key: int, fit: _Fit) -> None:
        with self._lock:
            if _fits.get(key) is fit:
                del _fits[key]


_fits: dict[int, _Fit] = {}  # by id of such an object
_leftovers = _Leftovers()

METHODS = ("on_fit_begin", "on_epoch_end", "on_batch_end", "on_divergence", "on_fit_end")
_NO_METHODS: dict[str, tuple[Callable[..., object], ...]] = dict.fromkeys(METHODS, ())


@contextmanager
def in_one_fit(objects: Iterable[object]) -> Iterator[None]:
    """Keep the objects of a class with `one_fit` for a fit: they hold its state while it runs.

    Raises RuntimeError if another fit has one of them, in this thread or in another.

    >>> from fastbp.callbacks import EarlyStopping
    >>> stop = EarlyStopping()
    >>> with in_one_fit([stop]), in_one_fit([stop]):
    ...     pass
    Traceback (most recent call last):
        ...
    RuntimeError: this EarlyStopping is in use by a fit that is running: make one for each fit
    """
    fit, kept = _Fit(), [each for each in objects if getattr(each, "one_fit", False)]
    try:
        for each in kept:
            while (other := _fits.setdefault(id(each), fit)) is not fit:
                if other.running:
                    raise RuntimeError(
                        f"this {type(each).__name__} is in use by a fit that is running: make one "
                        "for each fit"
                    )
                _leftovers.remove(id(each), other)
        yield
    finally:
        fit.running = False  # this needs no memory; the rest may fail without
        for each in kept:
            if _fits.get(id(each)) is fit:
                del _fits[id(each)]


class CallbackRunner:
    """The callbacks of one fit, `progress` last. As a context it begins and ends the fit.

    Raises TypeError for an object that is neither callable nor has one of the methods.

    >>> with CallbackRunner([lambda epoch, logs: epoch == 1], net=None) as run:
    ...     [run.epoch_end(epoch, {"loss": 0.5}) for epoch in range(2)]
    [False, True]
    """

    def __init__(
        self, callbacks: Iterable[object], net: object, progress: ProgressBar | None = None
    ) -> None:
        if not isinstance(callbacks, Iterable):
            raise TypeError("callbacks must be a sequence: write callbacks=[callback]")
        self._callbacks: list[Any] = [*callbacks] if progress is None else [*callbacks, progress]
        self._net = net
        for callback in self._callbacks:
            if isinstance(callback, type):
                name = callback.__name__
                raise TypeError(f"callback {name} is a class: write {name}() for an object of it")
            if not callable(callback) and not _has_methods(callback):
                raise TypeError(
                    f"callback {callback!r} is neither callable nor has any of {', '.join(METHODS)}"
                )
        self.callbacks = tuple(self._callbacks)
        self._methods = _NO_METHODS
        if self._callbacks:
            self._methods = {name: tuple(_each(self._callbacks, name)) for name in METHODS}

    @property
    def per_batch(self) -> bool:
        """Whether a callback is called after every batch, so that a slice is one step."""
        return bool(self._methods["on_batch_end"])

    def check_logs(self, expected: ExpectedLogs) -> None:
        """Let every callback check the entries of the logs, and then add its own entries.

        It raises what they raise, so it comes before anything changes.
        """
        for callback in self._callbacks:
            if hasattr(callback, "check_logs"):
                callback.check_logs(expected)
            if hasattr(callback, "on_epoch_end") or not _has_methods(callback):
                expected.add(callback)

    def __enter__(self) -> Self:
        for begin in self._methods["on_fit_begin"]:
            begin(self._net)
        return self

    def epoch_end(self, epoch: int, logs: dict[str, float]) -> bool:
        """Call all callbacks; True if one of them wants to stop."""
        return self._ask("on_epoch_end", epoch, logs)

    def batch_end(self, step: int, logs: dict[str, float]) -> bool:
        """Call those with `on_batch_end`; True if one of them wants to stop."""
        return self._ask("on_batch_end", step, logs)

    def diverged(self, error: DivergenceError) -> bool:
        """True if a callback wants the fit to end without an exception."""
        return self._ask("on_divergence", error)

    def states(self) -> list[list[Any]]:
        """[name, state] of every callback with a `state_dict`."""
        return [[type(c).__name__, c.state_dict()] for c in self._keeping()]

    def check_states(self, states: list[list[Any]]) -> None:
        """Raise ValueError for the states of other callbacks than these."""
        names = [type(callback).__name__ for callback in self._keeping()]
        if names != [name for name, _ in states]:
            raise ValueError(
                f"the callbacks with a state are {names or 'none'}; those of the checkpoint were "
                f"{[name for name, _ in states] or 'none'}: pass the same, in the same order"
            )

    def load_states(self, states: list[list[Any]]) -> None:
        """Return checked states to their callbacks."""
        for callback, (_, state) in zip(self._keeping(), states, strict=True):
            callback.load_state_dict(state)

    def _keeping(self) -> list[Any]:
        return [callback for callback in self._callbacks if hasattr(callback, "state_dict")]

    def _ask(self, method: str, *arguments: object) -> bool:
        answers = [bool(ask(*arguments)) for ask in self._methods[method]]
        return any(answers)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for end in self._methods["on_fit_end"]:
            end(self._net)


class ProgressBar:
    """The report of progress=True: a bar of tqdm if it is installed, else one line per epoch.

    Both go to stderr. `epochs` is the number of epochs, None if unknown. tqdm is imported on first
    use.

    >>> ProgressBar.line(0, 10, {"loss": 0.25, "samples_per_second": 12345.6})
    'epoch 1/10  loss 0.2500  12,346 samples/s'
    """

    adds_logs: ClassVar[dict[str, bool | None]] = {}

    def __init__(self, epochs: int | None = None) -> None:
        self._epochs = epochs
        self._bar: Any = None

    @staticmethod
    def line(epoch: int, epochs: int | None, logs: Mapping[str, float]) -> str:
        """The line of one epoch."""
        numbers = (f"{name} {text}" for name, text in _formatted(logs).items())
        rate = f"{logs['samples_per_second']:,.0f} samples/s"
        of = "" if epochs is None else f"/{epochs}"
        return "  ".join([f"epoch {epoch + 1}{of}", *numbers, rate])

    def on_fit_begin(self, net: object) -> None:
        try:
            from tqdm.auto import tqdm  # a widget in notebooks
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
    return any(hasattr(callback, method) for method in METHODS)


def _each(callbacks: Iterable[Any], method: str) -> Iterator[Callable[..., object]]:
    """The method of all callbacks that have it; a function is its own `on_epoch_end`."""
    for callback in callbacks:
        if hasattr(callback, method):
            yield getattr(callback, method)
        elif method == "on_epoch_end" and not _has_methods(callback):
            yield callback


def _formatted(logs: Mapping[str, float]) -> dict[str, str]:
    hidden = ("samples_per_second", "lr")
    return {name: f"{value:.4f}" for name, value in logs.items() if name not in hidden}
