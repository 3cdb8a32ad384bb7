"""How rows are cut into parts, and parts given to ranks."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbp._ranks.cuts import check_parts, cut, own_parts

pytestmark = pytest.mark.once

PARTS = st.sampled_from([1, 2, 4, 8, 16, 32, 64])


@given(n=st.integers(0, 2**62), parts=PARTS)
def test_parts_cover_all_rows_and_are_equal_but_for_one_row(n, parts):
    offsets = cut(n, parts)
    sizes = {end - begin for begin, end in pairwise(offsets)}
    assert offsets[0] == 0 and offsets[-1] == n and len(offsets) == parts + 1
    assert sizes <= {n // parts, -(-n // parts)}


@given(n=st.integers(0, 2**62), parts=PARTS)
def test_a_cut_into_half_as_many_parts_joins_neighbours(n, parts):
    assert cut(n, 2 * parts)[::2] == cut(n, parts)


@given(size=st.integers(1, 64), parts=PARTS)
def test_each_part_belongs_to_one_rank(size, parts):
    if size > parts:
        with pytest.raises(ValueError, match=f"{size} ranks .* parts={parts}: start at most"):
            own_parts(0, size, parts)
    else:
        owned = [own_parts(rank, size, parts) for rank in range(size)]
        assert [part for own in owned for part in own] == list(range(parts))
        assert min(map(len, owned)) >= 1


def test_the_proposed_number_of_parts_is_enough():
    with pytest.raises(ValueError, match=r"parts=32$"):
        own_parts(0, 17, 16)
    assert own_parts(16, 17, 32)


@pytest.mark.parametrize("parts", [12, 3, 0, -4])
def test_parts_are_a_power_of_two(parts):
    with pytest.raises(ValueError, match="parts must be"):
        check_parts(parts)


@pytest.mark.parametrize("parts", [16.0, "16", True, None])
def test_parts_are_a_whole_number(parts):
    with pytest.raises(TypeError, match="parts must be a whole number"):
        check_parts(parts)
