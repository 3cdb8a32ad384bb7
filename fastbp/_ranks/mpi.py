"""The installed MPI: its communicator of all ranks, and its versions.

`mpi4py.MPI` initialises MPI when it is imported, so nothing imports it before it is needed.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from typing import Any

INSTALL = 'pip install "fastbp[mpi]"'

_ASK = """
import mpi4py
mpi4py.rc.initialize = False
from mpi4py import MPI
print(mpi4py.__version__)
print(MPI.Get_library_version())
"""


def world() -> Any:
    """Return the communicator of all ranks; the ImportError says how to install mpi4py and MPI."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: there is no library of MPI
        raise ImportError(f"many ranks need mpi4py and an MPI: run {INSTALL} ({error})") from error
    return MPI.COMM_WORLD


def versions() -> tuple[str, str]:
    """Return the versions of mpi4py and of the library of MPI, in a process that uses both."""
    import mpi4py
    from mpi4py import MPI

    return mpi4py.__version__, _first_line(MPI.Get_library_version())


def describe() -> str:
    """Return what is installed, in one line, without an effect on this process.

    Another process asks, because a broken MPI may end the process that loads it.
    """
    if find_spec("mpi4py") is None:
        return f"not installed ({INSTALL})"
    try:
        asked = subprocess.run(
            [sys.executable, "-c", _ASK],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        version, library = asked.stdout.split("\n", 1)
    except subprocess.CalledProcessError as error:
        why = _first_line("\n".join(reversed(error.stderr.strip().splitlines())))
        return f"mpi4py is installed, but cannot load a library of MPI: {why or error}"
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return f"mpi4py is installed, but does not answer: {error}"
    return f"mpi4py {version}, {_first_line(library)}"


def _first_line(text: str) -> str:
    """The first line of a text, with single blanks."""
    return " ".join(text.partition("\n")[0].split())
