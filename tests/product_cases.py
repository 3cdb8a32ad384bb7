"""Products of rounded factors, as the engine and as the reference make them."""

from contextlib import contextmanager

import numpy as np

import fastbp
from fastbp import reference
from fastbp.reference import _layers
from fastbp.reference._products import product, split

ROUNDED = ("high", "medium")
OWN = "f32 of rounded factors"


def with_lo_lo(A, B, precision):
    """The product; at "high", that of the sums hi + lo, which includes lo times lo."""
    return product(A, B, precision) if precision != "high" else sum(split(A)) @ sum(split(B))


def product_in(way):
    """The product in float64 of what `Net.products` names: only f32 includes lo times lo."""
    return with_lo_lo if way == OWN else product


@contextmanager
def reference_products(way):
    """Let the reference make its products in that way."""
    before, _layers.product = _layers.product, product_in(way)
    try:
        yield
    finally:
        _layers.product = before


def way_of(precision, rows):
    """How the engine makes the products of batches of so many rows."""
    net = fastbp.Network((1, 1), matmul_precision=precision, seed=0)
    return net._backend.net.products(rows)


def check_nearest(run, precision, rows):
    """run(module, dtype, precision) of the engine is nearest to the reference of that precision.

    A factor near the middle of two numbers may be rounded up by one of them and down by the other,
    so the distance to the reference has no useful bound. But an engine that does not round would be
    nearer to the reference at "highest". Returns the result of the engine.
    """
    found = run(fastbp, "float32", precision)
    with reference_products(way_of(precision, rows)):
        far = {
            name: np.linalg.norm(found - run(reference, "float64", name))
            for name in ("highest", *ROUNDED)
        }
    assert np.isfinite(found).all()
    assert min(far, key=far.get) == precision, far
    return found
