"""What the launcher of an MPI job says, before an MPI is loaded."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import NamedTuple

# What Open MPI, MPICH and those that derive from it, MVAPICH and Slurm set. Slurm's batch scripts
# have no number of tasks of a step.
_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
_RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID")


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


def mismatch(launch: Launched | None, size: int) -> str:
    """What is wrong if MPI sees fewer processes than were launched, with the way out; or ""."""
    if launch is None or launch.size == size:
        return ""
    return (
        f"a launcher has started {launch.size} processes, but the MPI of mpi4py sees {size}: use "
        f"the launcher of that MPI, such as {_launcher_near_python()}, or with srun the option "
        "--mpi that it takes (see srun --mpi=list)"
    )


def _launcher_near_python() -> str:
    near = os.path.join(os.path.dirname(sys.executable), "mpiexec")
    return near if os.path.exists(near) else "mpiexec"
