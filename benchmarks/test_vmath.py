"""The vector functions: ns per element, on arguments that fit into the L1 cache."""

import numpy as np
import pytest

from fastbp import _core

N = 2048
RANGES = {
    "exp": (-20, 20),
    "expm1": (-20, 20),
    "log": (1e-6, 1e6),
    "log1p": (-0.9, 1e6),
    "tanh": (-10, 10),
    "sigmoid": (-20, 20),
    "softplus": (-20, 20),
    "silu": (-20, 20),
    "mish": (-20, 20),
    "gelu": (-8, 8),
    "gelu_tanh": (-8, 8),
    "sin": (-20, 20),
    "cos": (-20, 20),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", RANGES)
def test_vmath(meter, name, dtype):
    x = np.random.default_rng(0).uniform(*RANGES[name], N).astype(dtype)
    out = np.empty_like(x)

    def run(repeats):
        for _ in range(repeats):
            _core.vmath(name, x, out)

    meter(run, elements=N, dtype=dtype)
