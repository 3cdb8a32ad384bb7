"""What ranks send in a step, and what each keeps of the optimiser's state: as the formula says."""

from pathlib import Path

import pytest
from rank_cases import on_ranks

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
JOB = {"widths": (200, 256, 128, 10), "loss": "cross_entropy", "rows": 128}
SCRIPT = f"""
import sys

sys.path.insert(0, {str(BENCHMARKS)!r})
from many_machines_ranks import Fastbp

def main(comm):
    return Fastbp(comm).train({JOB}, 64, parts=16, epochs=1)
"""

pytestmark = pytest.mark.once


@pytest.mark.parametrize("n", [2, 4, 8])
def test_a_step_sends_an_even_share(n, tmp_path):
    found = on_ranks(n, SCRIPT, tmp_path)
    size = 4 * found[0]["params"]
    for each in found:
        assert each["steps"] == 4
        even = 2 * (n - 1) / n * size * each["steps"]
        assert 0.97 * even < each["bytes"] <= 1.01 * even
        assert each["messages"] == 3 * each["steps"]  # heads, sums and parameters
        assert each["state"] <= (1 / n + 0.01) * 2 * size  # Adam has two moments
    assert sum(each["state"] for each in found) >= 2 * size


def test_ranks_of_several_subtrees_send_a_vector_for_each(tmp_path):
    found = on_ranks(3, SCRIPT, tmp_path)  # parts 0-4, 5-9 and 10-15 of 16
    size = 4 * found[0]["params"]
    subtrees = (2, 3, 2)  # 0-3 4; 5 6-7 8-9; 10-11 12-15
    for each, n in zip(found, subtrees, strict=True):
        even = (n * 2 / 3 + 2 / 3) * size * each["steps"]
        assert 0.97 * even < each["bytes"] <= 1.02 * even
