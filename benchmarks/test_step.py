"""Training steps of the suite through `Network.fit`, many per fit, and single calls."""

import pytest

from fastbp.bench._peers._engine import Engine
from fastbp.bench._suites import SUITES


def measure(meter, config, dtype, threads):
    engine = Engine()
    engine.setup(config, threads, dtype)
    steps = engine.n_steps
    flops = config.flops_per_sample * config.rows / steps
    meter(engine.run, seconds=0.1, often=steps, flops=flops, dtype=dtype, threads=threads)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("config", SUITES["steps"].configs, ids=lambda config: config.name)
def test_step(meter, config, dtype, threads):
    measure(meter, config, dtype, threads)


@pytest.mark.parametrize("config", SUITES["calls"].configs, ids=lambda config: config.name)
def test_call(meter, config):
    measure(meter, config, "float32", 1)
