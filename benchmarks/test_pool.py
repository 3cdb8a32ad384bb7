"""The thread pool: a region with two barriers and no work, the cost of threads per step."""

import pytest

from fastbp import _core


@pytest.mark.parametrize("threads", [1, 2])
def test_region_and_two_barriers(meter, threads):
    def run(repeats):
        _core.pool_latency(threads, 100 * repeats)

    meter(run, often=100, dtype="float32", threads=threads)
