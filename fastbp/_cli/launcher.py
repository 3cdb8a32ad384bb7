"""Commands that a launcher of MPI has started several times, as `mpiexec -n 4 fastbp train`.

The environment says so; only then mpi4py is imported. Rank 0 talks, and the others are silent.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

from .._ranks.launcher import Launched, mismatch
from .._ranks.mpi import world
from .options import UsageError

_TO_TALK = 0.5  # seconds


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
    wrong = mismatch(launch, comm.Get_size())
    if wrong:
        raise UsageError(wrong)
    return comm
