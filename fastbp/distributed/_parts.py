"""Data that a function reads part by part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._training.part_source import PartSource


def parts(function: Callable[[int], Any]) -> PartSource:
    """Return data in parts that a function reads, for `fit(parts=…)` and `fit(comm=…)`.

    A fit calls the function once for each part of its rank: for parts r·P // R to (r+1)·P // R − 1
    on rank r of R, and for all of 0 to P − 1 without ranks. So the bits of the training do not
    depend on the number of ranks, even if the parts have different numbers of rows.

    Parameters
    ----------
    function : callable
        Takes the number of a part and returns (X, y), (X, y, sample_weight), or a stream of
        `fastbp.stream`; the same kind for all parts. A part may have no rows.

    Returns
    -------
    PartSource
        What `Network.fit` takes as X, with y=None.

    Raises
    ------
    TypeError
        If function is not callable. If it returns something else, `fit` raises TypeError.

    Examples
    --------
    Four parts with 100, 101, 102 and 103 rows; in a program, the function would read a file.

    >>> import fastbp
    >>> import numpy as np
    >>> def read(p):
    ...     X = np.random.default_rng(p).normal(size=(100 + p, 2))
    ...     return X, X.sum(axis=1)
    >>> net = fastbp.Network((2, 8, 1), seed=0)
    >>> net.fit(parts(read), parts=4, epochs=5).epochs
    5
    """
    return PartSource(function)
