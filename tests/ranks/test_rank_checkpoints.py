"""Checkpoints of fits on several ranks: whole after any kill, and read by any number of ranks."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from rank_cases import command, environment, mpiexec

pytestmark = pytest.mark.once

FAULTS = Path(__file__).parents[1] / "attacks" / "faults"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_kills_of_ranks_and_restarts_on_others_end_in_the_same_bits():
    mpiexec()  # skips without one
    done = subprocess.run(
        [sys.executable, FAULTS / "rank_kills.py", "--kills", "3", "--seed", "2", "--case", "adam"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"rank_kills: (\d+) kills .* (\d+) fits with .* 0 faults$", done.stdout)
    assert found and int(found[1]) == 3 and int(found[2]) > 0, done.stdout


DISK_FULL = """
import resource, signal, sys
from mpi4py import MPI
sys.path.insert(0, sys.argv[1])
import rank_fits

if MPI.COMM_WORLD.rank == 0:  # as a full disk: the second checkpoint cannot be written
    def fill(self, epoch, logs):
        if epoch == 3:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
    rank_fits.Slow.on_epoch_end = fill
rank_fits.main("memmap", sys.argv[2])
"""


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path):
    pytest.importorskip("resource", reason="limits the size of files")
    script = tmp_path / "full.py"
    script.write_text(DISK_FULL)
    done = subprocess.run(
        command(2, script, FAULTS, tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("OSError: [Errno 27]") == 1, done.stderr
    files = [each.name for each in (tmp_path / "checkpoint").iterdir()]
    assert files == ["checkpoint-1.safetensors"]
