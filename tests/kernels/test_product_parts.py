"""gemm_tn with its rows in parts: each part is summed by itself, then along a binary tree."""

import numpy as np
import pytest
from engine_cases import DTYPES
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbp._core import gemm


def along_the_tree(sums):
    """The sum of parts along their tree; None stands for a part without rows."""
    if len(sums) == 1:
        return sums[0]
    left, right = along_the_tree(sums[: len(sums) // 2]), along_the_tree(sums[len(sums) // 2 :])
    return right if left is None else left if right is None else left + right


def expected(a, b, rows):
    """AᵀB, with the product of each part by the kernel without parts."""
    sums, ends = [], np.cumsum(rows)
    for n, end in zip(rows, ends, strict=True):
        c = None
        if n > 0:
            c = np.empty((a.shape[1], b.shape[1]), a.dtype)
            gemm("tn", np.ascontiguousarray(a[end - n : end]), b[end - n : end].copy(), c)
        sums.append(c)
    return along_the_tree(sums)


def compare(rows, m, n, dtype, seed=0):
    rng = np.random.default_rng(seed)
    k = int(np.sum(rows))
    a, b = rng.normal(size=(k, m)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)
    c = np.full((m, n), np.nan, dtype)
    gemm("tn", a, b, c, part_rows=np.array(rows, np.intp))
    np.testing.assert_array_equal(c, expected(a, b, list(rows)))


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_parts_of_any_size(dtype, data):
    n_parts = 2 ** data.draw(st.integers(0, 6))
    sizes = st.sampled_from([0, 0, 1, 2, 7, 31])
    rows = data.draw(st.lists(sizes, min_size=n_parts, max_size=n_parts).filter(any))
    m, n = data.draw(st.integers(1, 130)), data.draw(st.integers(1, 140))
    compare(rows, m, n, dtype)


# some blocks of k hold several parts, and some parts need several blocks
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "rows",
    [[32] * 16, [100] * 16, [500, 1], [1, 500], [400, 900, 0, 3], [385], [150, 150, 150, 150] * 4],
    ids=str,
)
def test_parts_over_blocks(dtype, rows):
    compare(rows, 113, 70, dtype)
    compare(rows, 14, 5, dtype)


def test_one_part_is_the_product_without_parts():
    rng = np.random.default_rng(3)
    a, b = (rng.normal(size=(500, n)).astype(np.float32) for n in (40, 50))
    whole, parted = (np.empty((40, 50), np.float32) for _ in range(2))
    gemm("tn", a, b, whole)
    gemm("tn", a, b, parted, part_rows=np.array([500], np.intp))
    np.testing.assert_array_equal(parted, whole)


@pytest.mark.parametrize("rows", [[3], [2, 3], [-1, 5], [4] * 2000], ids=len)
def test_parts_that_are_not_those_of_the_rows(rows):
    a, c = np.ones((4, 2)), np.ones((2, 2))
    with pytest.raises(ValueError, match="refused"):
        gemm("tn", a, a, c, part_rows=np.array(rows, np.intp))


def test_parts_are_for_tn_alone():
    a = np.ones((4, 4))
    with pytest.raises(ValueError, match="refused"):
        gemm("nn", a, a, np.ones((4, 4)), part_rows=np.array([4], np.intp))
