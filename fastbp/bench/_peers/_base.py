"""What a program to be measured has to offer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import cycle
from typing import TypeVar

from .._data import Data, make
from .._memory import forget_peak
from .._suites import KINDS, Config

Array = TypeVar("Array")


def batches(X: Array, y: Array, batch: int) -> Iterator[tuple[Array, Array]]:
    """The batches of a data set, cut once, over and over again.

    >>> rows = batches("abcd", "0123", 2); next(rows), next(rows), next(rows)
    (('ab', '01'), ('cd', '23'), ('ab', '01'))
    """
    starts = range(0, len(X), batch)
    return cycle([(X[i : i + batch], y[i : i + batch]) for i in starts])


class Program(ABC):
    """One way to train a network: `setup`, and then `run` as often as wanted.

    It runs in a process of its own, so `setup` imports what it drives; nothing else does.

    name: on the command line and in reports. package: what must be installed. usual: the way
    most people write it, each step finished before the next is begun.
    kinds: of configuration that it can do.
    """

    name = ""
    package = ""
    usual = True
    kinds = KINDS

    n_steps: int  # steps, or calls, in one repeat
    unit: Callable[[], object]  # one repeat

    @classmethod
    def installed(cls) -> bool:
        """Whether the package it drives is there."""
        return not cls.package or find_spec(cls.package) is not None

    @classmethod
    def environment(cls, n_threads: int) -> dict[str, str]:
        """Variables that the process must start with to use n_threads."""
        names = ("FASTBP", "OMP", "OPENBLAS", "MKL")
        return {f"{name}_NUM_THREADS": str(n_threads) for name in names}

    def setup(self, config: Config, n_threads: int, dtype: str) -> Data:
        """Make data, network and optimiser; returns the data."""
        data = make(config, dtype)
        forget_peak()  # reading the data may have taken more than training will
        self.n_steps = config.n_steps
        self.prepare(config, data, n_threads, dtype)
        return data

    @abstractmethod
    def prepare(self, config: Config, data: Data, n_threads: int, dtype: str) -> None:
        """Set `unit`, and `n_steps` where a repeat is not one pass over the data."""

    def run(self, repeats: int) -> None:
        """Do the work `repeats` times, and finish it."""
        unit = self.unit
        for _ in range(repeats):
            unit()
