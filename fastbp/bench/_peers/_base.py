"""The interface of a program to measure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from itertools import cycle
from typing import ClassVar, Protocol, Self, TypeVar

from ..._precision import NAMES
from ..._types import Array
from .._data import Data, make
from .._memory import forget_peak
from .._suites import KINDS, Config


class Rows(Protocol):
    """An array of any library, or any other sequence."""

    def __len__(self) -> int: ...
    def __getitem__(self, rows: slice, /) -> Self: ...


T = TypeVar("T", bound=Rows)
PRECISIONS = NAMES  # of matrix products, finest first


def batches(X: T, y: T, batch: int) -> Iterator[tuple[T, T]]:
    """Split a data set into batches, and return an endless iterator that repeats them.

    >>> rows = batches("abcd", "0123", 2); next(rows), next(rows), next(rows)
    (('ab', '01'), ('cd', '23'), ('ab', '01'))
    """
    starts = range(0, len(X), batch)
    return cycle([(X[i : i + batch], y[i : i + batch]) for i in starts])


class Program(ABC):
    """A way to train a network: one call of `setup`, then any number of calls of `run`.

    Each program runs in its own process, so that `setup` can import the library it uses.

    Attributes
    ----------
    name : str
        The name on the command line and in reports.
    package : str
        The package that must be installed, if any.
    usual : bool
        Whether most people write it this way, so that each step ends before the next one begins.
    kinds : tuple of str
        The kinds of configurations that the program can run.
    ways : dict
        The settings for products that the program has in float32, by name; each with the precision
        of PRECISIONS that it is compared at.
    """

    name: ClassVar[str] = ""
    package: ClassVar[str] = ""
    usual: ClassVar[bool] = True
    kinds: ClassVar[tuple[str, ...]] = KINDS
    ways: ClassVar[dict[str, str]] = {"highest": "highest"}

    precision: str = "highest"  # a key of `ways`
    products: str = ""  # of the engine: how it makes its products, as `Explanation` has it
    n_steps: int  # steps, or calls, in one repeat
    unit: Callable[[], object]  # one repeat

    @classmethod
    def installed(cls) -> bool:
        """Whether the package that the program uses is installed."""
        return not cls.package or find_spec(cls.package) is not None

    @classmethod
    def environment(cls, n_threads: int) -> dict[str, str]:
        """Return the environment variables that make the process use `n_threads` threads."""
        names = ("FASTBP", "OMP", "OPENBLAS", "MKL")
        return {f"{name}_NUM_THREADS": str(n_threads) for name in names}

    @classmethod
    def ways_for(cls, precision: str) -> list[str]:
        """Return the settings that are as fine as a precision, or finer.

        >>> Program.ways_for("medium")
        ['highest']
        """
        return [
            way
            for way, level in cls.ways.items()
            if PRECISIONS.index(level) <= PRECISIONS.index(precision)
        ]

    def use(self, precision: str) -> None:
        """Choose a key of `ways`, before anything else is called."""
        self.precision = precision

    def product(self, A: Array, B: Array) -> Array:
        """Return A·B as the program multiplies at its precision.

        Only a program with several `ways` defines it: it shows which of them differ.
        """
        raise NotImplementedError(f"{type(self).__name__} has one setting: nothing to compare")

    def setup(self, config: Config, n_threads: int, dtype: str) -> Data:
        """Make data, network and optimiser; return the data."""
        data = make(config, dtype)
        forget_peak()  # reading the data may take more memory than training
        self.n_steps = config.n_steps
        self.prepare(config, data, n_threads, dtype)
        return data

    @abstractmethod
    def prepare(self, config: Config, data: Data, n_threads: int, dtype: str) -> None:
        """Set `unit`, and also `n_steps` if a repeat is not one pass over the data.

        Parameters
        ----------
        config
            The network and the work to measure.
        data
            The data set.
        n_threads
            The number of threads to use.
        dtype
            The dtype of data and parameters, "float32" or "float64".
        """

    def run(self, repeats: int) -> None:
        """Do the work `repeats` times, and wait until it is finished."""
        unit = self.unit
        for _ in range(repeats):
            unit()
