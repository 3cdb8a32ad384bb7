"""Programs on several MPI ranks of this machine, for tests."""

import os
import pickle
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

# Runs main(comm) of a script and stores what it returns, or the error that it raises.
HARNESS = """
import pickle, runpy, sys
from mpi4py import MPI
script, folder = sys.argv[1:]
comm = MPI.COMM_WORLD
try:
    outcome = True, runpy.run_path(script)["main"](comm)
except Exception as error:
    outcome = False, error
with open(f"{folder}/{comm.rank}.pickle", "wb") as file:
    pickle.dump(outcome, file)
"""


def mpiexec():
    """The launcher of the installed MPI; the test is skipped if there is none."""
    pytest.importorskip("mpi4py", reason='needs MPI: pip install "fastbp[mpi]"')
    places = os.pathsep.join([sysconfig.get_path("scripts"), str(Path(sys.executable).parent)])
    found = shutil.which("mpiexec", path=places) or shutil.which("mpiexec")
    if found is None:
        pytest.skip('needs mpiexec: pip install "fastbp[mpi]"')
    return found


def command(n, *args):
    """A command line that runs Python with these arguments on n ranks."""
    return [mpiexec(), "-n", str(n), sys.executable, *map(str, args)]


def environment(**more):
    """Ranks share this machine: one thread each, unless `more` says otherwise."""
    return os.environ | {"FASTBP_NUM_THREADS": "1"} | more


def on_ranks(n, script, folder, timeout=120, **env):
    """What main(comm) of a script returns on each of n ranks; the first error is raised."""
    outcomes = outcomes_on_ranks(n, script, folder, timeout, **env)
    for good, value in outcomes:
        if not good:
            raise value
    return [value for _, value in outcomes]


def outcomes_on_ranks(n, script, folder, timeout=120, **env):
    """(whether main(comm) returned, its value or its error) of each rank."""
    script_file, harness = folder / "script.py", folder / "harness.py"
    script_file.write_text(script)
    harness.write_text(HARNESS)
    done = subprocess.run(
        command(n, harness, script_file, folder),
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment(**env),
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [pickle.loads((folder / f"{rank}.pickle").read_bytes()) for rank in range(n)]
