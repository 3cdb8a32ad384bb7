"""Ranks that work on their own and meet at some points."""

import subprocess

import pytest
from rank_cases import command, environment, on_ranks, outcomes_on_ranks

from fastbp._ranks.team import share_out

pytestmark = pytest.mark.once

SHARED = """
from fastbp._ranks.team import Team, share_out

def main(comm):
    taken = {}
    with Team(comm) as team:
        team.owners = share_out([5, 4, 3, 2, 1], comm.size)
        own = [k for k in range(5) if team.has(k)]
        found = team.gather(lambda: {k: (k, comm.rank) for k in reversed(own)})
        team.spread(team.owners, lambda k: k * k, taken.__setitem__)
    return list(found.items()), own, taken
"""


def test_pieces_are_gathered_and_spread(tmp_path):
    owners = share_out([5, 4, 3, 2, 1], 3)
    for rank, (found, own, taken) in enumerate(on_ranks(3, SHARED, tmp_path)):
        assert found == [(k, (k, owner)) for k, owner in enumerate(owners)]
        assert own == [k for k, owner in enumerate(owners) if owner == rank]
        assert taken == {k: k * k for k in range(5) if k not in own}


EARLY = """
from fastbp._ranks.team import Team

def main(comm):
    def fail():
        raise {error}

    with Team(comm) as team:
        if comm.rank == 1:
            team.meet(fail)
        for _ in range(3):
            team.meet(lambda: None)
"""


def test_an_error_is_raised_at_the_next_meeting_of_all(tmp_path):
    script = EARLY.replace("{error}", "LookupError('no piece')")
    for good, error in outcomes_on_ranks(3, script, tmp_path):
        assert not good and type(error) is LookupError
        assert str(error).startswith("rank 1 of 3 (") and str(error).endswith("): no piece")


LEFT = """
import time
from mpi4py import MPI
from fastbp._ranks.team import Team

with Team(MPI.COMM_WORLD) as team:
    if team.ranks.rank == 1:
        raise LookupError("no piece")
    team.meet(lambda: time.sleep(1000))
"""


def test_the_job_ends_when_a_rank_leaves_alone(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(LEFT)
    done = subprocess.run(command(2, script), timeout=60, env=environment(), check=False)
    assert done.returncode != 0


def test_work_is_shared_out_evenly(rng):
    assert share_out([1.0] * 6, 3) == [0, 1, 2, 0, 1, 2]
    assert share_out([], 2) == []
    costs = rng.uniform(1, 10, 200)
    loads = [0.0] * 7
    for cost, owner in zip(costs, share_out(costs, 7), strict=True):
        loads[owner] += cost
    assert max(loads) - min(loads) <= max(costs)
