"""Matrix products as a share of the FMA peak: a square product, and those of the suite's layers.

nn: A[m,k] B[k,n], the forward pass. tn: A[k,m]ᵀ B[k,n], the gradient of W. nt: A[m,k] B[n,k]ᵀ, δ
without a transposed copy. Panels: B is first copied into strips as wide as one register, which is
how training keeps W.
"""

from itertools import pairwise

import numpy as np
import pytest

from fastbp import _core
from fastbp.bench._suites import SUITES

SQUARE = (256, 256, 256)
PANEL_COPY = 64  # at least this many repeats per call, so that the copy of B is negligible


def layers():
    """Return (batch, n_in, n_out) of every layer of the suite, without duplicates."""
    found = {}
    for config in SUITES["steps"].configs:
        for n_in, n_out in pairwise(config.widths):
            found[config.batch, n_in, n_out] = None
    return list(found)


def cases():
    """Yield (form, m, n, k, panels)."""
    for form in ("nn", "tn", "nt"):
        yield form, *SQUARE, False
    yield "nn", *SQUARE, True
    for batch, n_in, n_out in layers():
        for panels in (False, True):
            yield "nn", batch, n_out, n_in, panels
            yield "nn", batch, n_in, n_out, panels  # δ with a transposed copy of W
        yield "tn", n_in, n_out, batch, False
        yield "nt", batch, n_in, n_out, False


def name(case):
    form, m, n, k, panels = case
    return f"{form}-{m}x{n}x{k}{'-panels' * panels}"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", dict.fromkeys(cases()), ids=name)
def test_gemm(meter, case, dtype):
    form, m, n, k, panels = case
    rng = np.random.default_rng(0)
    a = rng.standard_normal((k, m) if form == "tn" else (m, k), dtype)
    b = rng.standard_normal((n, k) if form == "nt" else (k, n), dtype)
    c = np.empty((m, n), dtype)
    often = PANEL_COPY if panels else 1

    def run(repeats):
        _core.gemm(form, a, b, c, panels=panels, repeats=often * repeats)

    meter(run, often=often, flops=2 * m * n * k, dtype=dtype)
