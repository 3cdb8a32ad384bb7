"""Targets in various units, shared by the tests of networks and of estimators."""

import numpy as np
import pytest

# (offset, spread) of targets, as in SI units, prices, populations and timestamps
UNITS = [
    *((0.0, 1.0), (0.0, 1e7), (0.0, 1e9), (0.0, 1e15), (0.0, 1e20), (0.0, 1e-6)),
    *((1e3, 1.0), (1e6, 1.0), (1e9, 1.0), (1e12, 1e9), (-1e9, 1e3)),
]


def surface(offset, spread, n=150):
    """X (n, 5) in float32 and y (n,) in float64: a smooth function with that offset and spread."""
    X = np.random.default_rng(0).normal(size=(n, 5)).astype(np.float32)
    return X, offset + spread * (np.tanh(X[:, 0].astype(float)) + 0.5 * X[:, 1])


def offset_loss(a, y):
    """5e7 plus half the squared error; float32 numbers of this size are 4 apart."""
    e = a.astype(float) - y
    return 5e7 + (e * e).sum(axis=1) / 2, e


@pytest.fixture(autouse=True)
def one_thread_for_scipy():
    """Limit SciPy's BLAS to one thread: on a busy machine, its threads spin for each other."""
    pytest.importorskip("scipy.optimize", reason="SciPy is not installed")
    pools = pytest.importorskip("threadpoolctl", reason="scikit-learn is not installed")
    with pools.threadpool_limits(1):
        yield
