"""Commands that a launcher of MPI has started several times, as `mpiexec -n 4 fastbp train`.

The environment says so; only then mpi4py is imported. Rank 0 talks, and the others are silent.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, NamedTuple

from .._ranks.mpi import world
from .options import UsageError

# What Open MPI, MPICH and those that derive from it, MVAPICH and Slurm set. Slurm's batch scripts
# have no number of tasks of a step.
_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
_RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID")

_TO_TALK = 0.5  # seconds


class Launched(NamedTuple):
    """What a launcher says: which of how many processes this one is."""

    rank: int
    size: int


def launched(environ: Mapping[str, str] = os.environ) -> Launched | None:
    """What the launcher of several processes says; None if there is one process.

    >>> launched({"PMI_RANK": "1", "PMI_SIZE": "4"})
    Launched(rank=1, size=4)
    >>> launched({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"})  # a batch script, not a step of a job
    """
    size, rank = _number(environ, _SIZES, 1), _number(environ, _RANKS, 0)
    return Launched(rank, size) if size > 1 else None


def _number(environ: Mapping[str, str], names: tuple[str, ...], otherwise: int) -> int:
    for name in names:
        if environ.get(name, "").isdigit():
            return int(environ[name])
    return otherwise


@contextmanager
def talking(launch: Launched | None) -> Iterator[None]:
    """Drop what is printed, unless this is the process that talks, and let that one end first.

    A launcher may end all when one ends with an error.
    """
    if launch is None or launch.rank == 0:
        yield
        return
    with open(os.devnull, "w") as nothing, redirect_stdout(nothing), redirect_stderr(nothing):
        try:
            yield
        finally:
            time.sleep(_TO_TALK)


def communicator(launch: Launched) -> Any:
    """The communicator of all processes that were launched.

    Raises UsageError without mpi4py, or if its MPI is not that of the launcher.
    """
    try:
        comm = world()
    except ImportError as error:
        raise UsageError(f"a launcher has started {launch.size} processes, but {error}") from None
    size = comm.Get_size()
    if size != launch.size:
        raise UsageError(
            f"a launcher has started {launch.size} processes, but the MPI of mpi4py sees {size}: "
            f"use the launcher of that MPI, such as {_launcher_near_python()}, or with srun the "
            "option --mpi that it takes (see srun --mpi=list)"
        )
    return comm


def _launcher_near_python() -> str:
    near = os.path.join(os.path.dirname(sys.executable), "mpiexec")
    return near if os.path.exists(near) else "mpiexec"
