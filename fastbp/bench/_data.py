"""The data set of a configuration. Each process gets the same numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import datasets
from .._types import Array
from ._suites import Config

_SEED = 20260101


@dataclass(frozen=True)
class Data:
    """C-contiguous X (rows, n_0), targets y (rows, n_L) or class indices (rows,), and a source."""

    X: Array
    y: Array
    source: str

    @property
    def nbytes(self) -> int:
        """The number of bytes of both arrays."""
        return self.X.nbytes + self.y.nbytes


def make(config: Config, dtype: str) -> Data:
    """Return the data of a configuration; random numbers if its data set is not installed.

    >>> from fastbp.bench._suites import CONFIGS
    >>> data = make(CONFIGS["predict-rl"], "float32")
    >>> data.X.shape, data.y.shape, data.source
    ((1, 8), (1, 2), 'synthetic')
    """
    if config.data == "fashion-mnist":
        try:
            X, y, *_ = datasets.load_fashion_mnist()
        except FileNotFoundError:
            pass
        else:
            X = X.astype(dtype, copy=False)
            X /= 255
            return Data(X[: config.rows], y[: config.rows], "fashion-mnist")
    rng = np.random.default_rng(_SEED)
    kind = np.dtype(dtype)
    X = rng.standard_normal((config.rows, config.widths[0]), kind)
    if config.loss == "cross_entropy":
        y = rng.integers(config.widths[-1], size=config.rows)
    else:
        y = rng.standard_normal((config.rows, config.widths[-1]), kind)
    return Data(X, y, "synthetic")
