"""Rows of ranks, and the check of a cluster."""

import re
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rank_cases import command, environment, on_ranks

from fastbp.distributed import Check, Link, RankInfo, share
from fastbp.distributed import _check as checks
from fastbp.distributed.__main__ import main

pytestmark = pytest.mark.once


def rank_of(rank, size):
    """What `share` needs of a communicator."""
    return SimpleNamespace(Get_rank=lambda: rank, Get_size=lambda: size)


@pytest.mark.parametrize("size", [1, 3, 8, 16])
@pytest.mark.parametrize("n", [0, 5, 1000])
def test_shares_cover_all_rows_once(n, size):
    rows = [row for rank in range(size) for row in range(n)[share(n, rank_of(rank, size))]]
    assert rows == list(range(n))


def test_a_share_is_whole_parts():
    assert share(10, rank_of(1, 3), parts=8) == slice(2, 6)  # rows of parts 2, 3 and 4


def test_more_ranks_than_parts():
    with pytest.raises(ValueError, match="17 ranks need at least as many parts; got parts=16"):
        share(1000, rank_of(3, 17))


@pytest.mark.parametrize("comm", [None, 4])
def test_a_share_needs_a_communicator(comm):
    with pytest.raises(TypeError, match="comm must be a communicator of mpi4py"):
        share(1000, comm)


CHECK = """
from fastbp.distributed import check

def main(comm):
    return check(comm)
"""


def test_ranks_of_one_machine_are_sound(tmp_path):
    found = on_ranks(3, CHECK, tmp_path)
    assert found[0] == found[1] == found[2] and found[0].ok
    assert [info.rank for info in found[0].ranks] == [0, 1, 2]
    assert len({info.digest for info in found[0].ranks}) == 1
    assert [link.ranks for link in found[0].links] == [(0, 1)]
    assert min(found[0].allgather, found[0].alltoallv, found[0].links[0].latency) > 0


def test_the_command_prints_one_report():
    done = subprocess.run(
        command(2, "-m", "fastbp.distributed", "--check"),
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("2 ranks on 1 host") == 1
    assert re.search(
        r"^bits agree  \w{16} on all ranks, alone and together", done.stdout, re.MULTILINE
    )


DIFFERENT = """
from fastbp.distributed import _check as checks

def main(comm):
    config = checks.config
    if comm.rank == 1:
        checks._trained = lambda size, comm=None: "other"
        checks.config = lambda: config() | {"isa": "scalar"}
    from fastbp.distributed.__main__ import main
    return main(["--check"])
"""


def test_different_bits_are_a_failure(tmp_path):
    assert on_ranks(2, DIFFERENT, tmp_path) == [1, 1]


def test_other_bits_of_all_ranks_together_are_a_failure(tmp_path):
    script = """
from fastbp.distributed import _check as checks, check

def main(comm):
    alone = checks._trained(comm.size)
    checks._trained = lambda size, comm=None: alone if comm is None else "other"
    return check(comm).differences
"""
    for found in on_ranks(2, script, tmp_path):
        assert len(found) == 2 and "rank 1 has other bits after a training of all" in found[1]


def test_the_command_without_options_shows_its_usage(capsys):
    assert main([]) == 0
    assert "mpiexec -n 4 python -m fastbp.distributed --check" in capsys.readouterr().out


def test_the_command_without_mpi4py_says_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    assert main(["--check"]) == 1
    assert 'pip install "fastbp[mpi]"' in capsys.readouterr().err


INFO = RankInfo(
    rank=0,
    host="a",
    isa="avx512",
    cpu="one",
    isa_available=("scalar", "avx2", "avx512"),
    fastbp="1",
    numpy="2",
    python="3",
    mpi4py="4",
    mpi="MPICH Version: 5",
    threads=2,
    cores=(0, 1),
    digest="d",
)


def two(**second):
    """A rank of host a, and one of host b that differs."""
    return [INFO, replace(INFO, rank=1, host="b", **second)]


def test_the_way_out_of_different_isas_is_one_that_all_have():
    ranks = two(isa="avx2", isa_available=("scalar", "avx2"), digest="e")
    isas, bits = checks._differences(ranks)
    assert isas == (
        "instruction sets: avx512 on rank 0 (a); avx2 on rank 1 (b): "
        "set FASTBP_ISA=avx2 on all ranks"
    )
    assert bits.startswith("bits after a training: d on rank 0 (a); e on rank 1 (b): set FASTBP")


@pytest.mark.parametrize("name, what", [("fastbp", "versions of fastbp"), ("mpi", "libraries")])
def test_different_versions(name, what):
    (found,) = checks._differences(two(**{name: "9"}))
    assert found.startswith(what) and "9 on rank 1 (b)" in found


def test_different_bits_of_equal_machines():
    (found,) = checks._differences(two(digest="e"))
    assert found.endswith("a machine computes wrongly")


@pytest.mark.parametrize("name", ["numpy", "python", "mpi4py", "cpu"])
def test_what_may_differ_is_a_warning(name):
    (found,) = checks._warnings(two(**{name: "9"}))
    assert "9 on rank 1 (b)" in found and not list(checks._differences(two(**{name: "9"})))


@pytest.mark.parametrize(
    "ranks, cores, way_out",
    [(2, (0, 1), "set FASTBP_NUM_THREADS=1"), (3, (0, 1), "start at most 2 ranks there")],
)
def test_more_threads_than_cores(ranks, cores, way_out):
    infos = [replace(INFO, rank=rank, cores=cores) for rank in range(ranks)]
    (found,) = checks._warnings(infos)
    assert found.startswith(f"a has {ranks} ranks with {2 * ranks} threads in all, but 2 cores")
    assert way_out in found


def test_ranks_with_cores_of_their_own_are_no_problem():
    infos = [replace(INFO, rank=rank, cores=(2 * rank, 2 * rank + 1)) for rank in range(4)]
    assert not list(checks._warnings(infos))


def test_pairs_are_of_each_host_and_between_hosts():
    infos = [replace(INFO, rank=rank, host="abb"[rank % 3]) for rank in range(6)]
    assert list(checks._pairs(infos)) == [(0, 3), (1, 2), (0, 1)]


def test_a_report_of_two_hosts():
    links = (
        Link((0, 1), ("a", "b"), 20e-6, 1e9),
        Link((0, 2), ("a", "c"), 30e-6, 3e9),
        Link((2, 3), ("c", "c"), 1e-6, 9e9),
    )
    report = str(Check(tuple(two()), 5e-6, 2e9, links, ("bits",), ("slow",)))
    for line in (
        "2 ranks on 2 hosts",
        "  isa       avx512",
        "  cores     2 for all ranks",
        "allgather         5.0 µs    8 bytes from each rank",
        "alltoallv        2.00 GB/s  sent by each rank",
        "same host         1.0 µs    median; worst 1.0 µs between ranks 2 and 3 (c)",
        "other hosts      25.0 µs    median; worst 30.0 µs between ranks 0 and 2 (a, c)",
        "                 2.00 GB/s  median; worst 1.00 GB/s between ranks 0 and 1 (a, b)",
        "DIFFERENCE  bits",
        "warning     slow",
    ):
        assert line in report.splitlines()
    assert "bits agree" not in report


def test_the_launcher_of_another_mpi():
    pytest.importorskip("mpi4py", reason='needs MPI: pip install "fastbp[mpi]"')
    done = subprocess.run(
        [sys.executable, "-m", "fastbp.distributed", "--check"],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(OMPI_COMM_WORLD_SIZE="4", OMPI_COMM_WORLD_RANK="0"),
        check=False,
    )
    assert done.returncode == 1
    assert (
        "DIFFERENCE  a launcher has started 4 processes, but the MPI of mpi4py sees 1"
        in done.stdout
    )
