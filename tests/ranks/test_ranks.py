"""Values and errors that the ranks of a communicator share."""

import pytest
from rank_cases import on_ranks, outcomes_on_ranks

from fastbp._ranks.ranks import check_comm

pytestmark = pytest.mark.once

AGREE = """
from fastbp._ranks.ranks import Ranks

def main(comm):
    ranks = Ranks(comm)
    def make():
        if comm.rank in {fails}:
            raise ValueError("width 3")
        return comm.rank * 10
    try:
        return ranks.agree(make)
    finally:
        ranks.close()
"""


def test_every_rank_gets_the_values_of_all(tmp_path):
    assert on_ranks(3, AGREE.replace("{fails}", "()"), tmp_path) == [[0, 10, 20]] * 3


@pytest.mark.parametrize("fails, expected", [("(1,)", "rank 1 of 3"), ("(0, 1, 2)", "width 3")])
def test_an_error_of_one_rank_is_raised_on_all(tmp_path, fails, expected):
    outcomes = outcomes_on_ranks(3, AGREE.replace("{fails}", fails), tmp_path)
    for good, error in outcomes:
        assert not good and type(error) is ValueError
        assert str(error).startswith(expected) and str(error).endswith("width 3")


LEAD = """
from fastbp._ranks.ranks import Ranks

def main(comm):
    ranks = Ranks(comm)
    told = ranks.lead(lambda: ("only", comm.rank))
    try:
        ranks.lead(lambda: [][1])
    except IndexError as error:
        return told, str(error)
"""


def test_rank_0_speaks_for_all(tmp_path):
    assert on_ranks(2, LEAD, tmp_path) == [(("only", 0), "list index out of range")] * 2


def test_what_is_no_communicator():
    with pytest.raises(TypeError, match=r'pip install "fastbp\[mpi\]"'):
        check_comm(3)
