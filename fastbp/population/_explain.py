"""Measures how fast the members of a population learn, side by side and each alone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from time import perf_counter
from typing import Any, cast

from .. import _core
from .._checks import arguments as check
from .._config import isa
from .._network.network import Network
from .._training.fit import data_set
from .._training.streams import Stream
from ..optim import Optimizer, resolve
from ._halving import ONLY_OF_FIT
from ._together import fit_together

_LEAST_SECONDS = 0.02  # of a measurement
_LEAST_LR = 1e-9
_MANY_EPOCHS = 10**6


@dataclass(frozen=True)
class ShapeTime:
    """How fast the members of one shape learn.

    Attributes
    ----------
    widths, dtype
        What these members have in common.
    members : int
        How many there are.
    together : int
        How many the engine trains side by side, in the lanes of the same vectors; 1: each alone.
    alone_us, chosen_us : float
        Microseconds of a step and member, on all threads: with each member alone, and as the engine
        chose.
    gflops : float
        GFLOP/s of the products, as the engine chose.
    of_peak : float
        Their share of the peak of all threads.
    """

    widths: tuple[int, ...]
    dtype: str
    members: int
    together: int
    alone_us: float
    chosen_us: float
    gflops: float
    of_peak: float


@dataclass(frozen=True)
class PopulationExplanation:
    """What the engine chose for the members, and how fast they learn; `str` gives a table.

    Attributes
    ----------
    shapes : tuple of ShapeTime
        One for each shape and dtype of the members, in the order of their first members.
    isa : str
        The instruction set.
    n_threads, batch_size : int
        As in the fit.
    """

    shapes: tuple[ShapeTime, ...]
    isa: str
    n_threads: int
    batch_size: int

    def to_dict(self) -> dict[str, Any]:
        """All numbers as plain types."""
        return asdict(self)

    def __str__(self) -> str:
        threads = f"{self.n_threads} thread{'s' * (self.n_threads != 1)}"
        times = f"{'alone us':>10}{'chosen us':>10}{'GFLOP/s':>9}{'of peak':>8}"
        lines = [
            f"Population on {self.isa}, {threads}, batches of {self.batch_size}",
            f"{'shape':24}{'members':>8}{'together':>9}{times}",
        ]
        for each in self.shapes:
            name = f"{'-'.join(map(str, each.widths))} {each.dtype}"
            lines.append(
                f"{name:24}{each.members:8}{each.together:9}{each.alone_us:10.3g}"
                f"{each.chosen_us:10.3g}{each.gflops:9.1f}{each.of_peak:8.1%}"
            )
        return "\n".join(lines)


class _Recorder(_core.Population):
    """Notes how long the engine runs, and the sessions that it runs."""

    def __init__(self, n_threads: int) -> None:
        self.seconds = 0.0
        self.fits: dict[int, _core.Fit] = {}

    def run(self, turns: list[tuple[Any, float, int]]) -> Any:
        begun = perf_counter()
        results = super().run(turns)
        self.seconds += perf_counter() - begun
        self.fits.update({id(fit): fit for fit, _, _ in turns})
        return results


def explain(
    members: Sequence[Network],
    X: object,
    y: object,
    batch_size: int,
    optimizer: str | Optimizer,
    n_threads: int | None,
    seconds: float,
) -> PopulationExplanation:
    """Measure as `Population.explain` describes it."""
    if isinstance(X, Stream):
        raise TypeError("explain takes arrays X and y; got a stream")
    batch_size = check.check_at_most_all(batch_size, "batch_size")
    seconds = check.check_positive(seconds, "seconds")
    threads = 0 if n_threads is None else check.check_n_threads(n_threads, "n_threads")
    threads = threads or _core.get_num_threads()
    made = copy.deepcopy(resolve(optimizer))
    made.lr = min(made.lr, _LEAST_LR)  # so that every step is one of the networks as they are
    by_shape: dict[tuple[tuple[int, ...], str], list[Network]] = {}
    for net in members:
        by_shape.setdefault((net.widths, str(net.dtype)), []).append(net)
    options = ONLY_OF_FIT | {
        "epochs": _MANY_EPOCHS,
        "batch_size": batch_size,
        "accumulate": 1,
        "optimizer": made,
        "schedule": None,
        "shuffle": True,
        "sample_weight": None,
        "class_weight": None,
        "time_budget": max(seconds / (2 * len(by_shape)), _LEAST_SECONDS),
        "callbacks": (),
        "progress": False,
        "n_threads": threads,
    }
    n_rows = len(data_set(members[0], X, y, None)[0])
    times = [
        _time_of(nets, n_rows, batch_size, threads, partial(_measure, nets, X, y, options, n_rows))
        for nets in by_shape.values()
    ]
    return PopulationExplanation(tuple(times), isa(), threads, batch_size)


def _time_of(
    nets: Sequence[Network],
    n_rows: int,
    batch_size: int,
    threads: int,
    measure: Callable[[_Recorder], tuple[float, int]],
) -> ShapeTime:
    """The times of the members of one shape."""
    widths, dtype = nets[0].widths, str(nets[0].dtype)
    each_alone = _Recorder(threads)
    each_alone.interleave(False)
    alone, _ = measure(each_alone)
    chosen, together = measure(_Recorder(threads))
    weights = sum(a * b for a, b in pairwise(widths))
    work = 2 * min(batch_size, n_rows) * (3 * weights - widths[0] * widths[1])
    gflops = work / chosen * 1e-9
    peak = threads * _core.fma_peak(dtype == "float64", _LEAST_SECONDS)
    return ShapeTime(
        widths=widths,
        dtype=dtype,
        members=len(nets),
        together=together,
        alone_us=alone * 1e6,
        chosen_us=chosen * 1e6,
        gflops=gflops,
        of_peak=gflops / peak,
    )


def _measure(
    nets: Sequence[Network],
    X: object,
    y: object,
    options: Mapping[str, object],
    n_rows: int,
    engine: _Recorder,
) -> tuple[float, int]:
    """Seconds of a step and member, and how many ran together at most."""
    fit_together([copy.deepcopy(net) for net in nets], X, y, None, options, engine=engine)
    if not engine.fits:
        raise ValueError("explain measures steps of the engine; a loss in Python is not part of it")
    batches = -(-n_rows // cast(int, options["batch_size"]))
    places = [fit.place for fit in engine.fits.values()]
    steps = sum(epoch * batches + step for epoch, step, *_ in places)
    return engine.seconds / max(steps, 1), max(fit.beside for fit in engine.fits.values()) + 1
