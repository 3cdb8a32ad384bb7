"""Measure how long some work takes: choose the number of repeats, and summarise the times."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import ceil
from time import perf_counter, process_time

import numpy as np

from ._layout import Summary


def elapsed(run: Callable[[int], object], repeats: int) -> tuple[float, float]:
    """Return the seconds that run(repeats) takes, and the processor seconds of this process."""
    started, used = perf_counter(), process_time()
    run(repeats)
    return perf_counter() - started, process_time() - used


def calibrate(run: Callable[[int], object], seconds: float) -> int:
    """Return how many repeats make run(repeats) take about `seconds`; at least 1.

    The first call, run(1), is not measured, because it may compile.

    >>> from time import sleep
    >>> calibrate(lambda repeats: sleep(0.01 * repeats), 0.01)
    1
    """
    run(1)
    repeats = 1
    while (taken := elapsed(run, repeats)[0]) < seconds / 4:
        repeats *= 2
    return max(1, ceil(repeats * seconds / taken * 0.9))


def summary(values: Iterable[float]) -> Summary:
    """Return median, minimum and quartiles.

    >>> summary([4.0, 1.0, 2.0, 3.0, 5.0])
    {'median': 3.0, 'min': 1.0, 'q1': 2.0, 'q3': 4.0}
    """
    least, q1, median, q3 = np.percentile(list(values), (0, 25, 50, 75)).tolist()
    return {"median": median, "min": least, "q1": q1, "q3": q3}


def paired_ratio(above: Iterable[float], below: Iterable[float]) -> Summary:
    """Summarise the ratios above/below of each round, in which changes of the machine cancel.

    >>> paired_ratio([2.0, 4.0], [1.0, 2.0])["median"]
    2.0
    """
    return summary(a / b for a, b in zip(above, below, strict=True))
