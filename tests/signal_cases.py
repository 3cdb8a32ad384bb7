"""Signals that a fit gets while it runs, and their handlers."""

import signal
from contextlib import contextmanager


class SendAt:
    """Sends a signal after some steps."""

    def __init__(self, steps, name="SIGUSR1"):
        self.left, self.number = steps, getattr(signal, name)

    def on_batch_end(self, step, logs):
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(self.number)


@contextmanager
def handlers_restored():
    """Restores the handlers of the signals at which a fit writes a checkpoint."""
    numbers = (signal.SIGTERM, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
