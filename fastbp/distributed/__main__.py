"""`python -m fastbp.distributed --check`, on each rank of a job."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .._ranks.mpi import world
from . import check

_EXAMPLES = """\
examples:
  mpiexec -n 4 python -m fastbp.distributed --check
  srun python -m fastbp.distributed --check

Rank 0 prints the report. The exit code is 0, or 1 if the ranks cannot train together.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, by default that of the process, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m fastbp.distributed",
        description="Check whether the ranks of a job can train together.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="check all ranks; print a report")
    if not parser.parse_args(argv).check:
        parser.print_help()
        return 0
    try:
        comm = world()  # for the error if there is none
    except ImportError as error:
        print(f"fastbp: error: {error}", file=sys.stderr)
        return 1
    found = check()
    if comm.Get_rank() == 0:
        print(found, flush=True)
    comm.Barrier()  # a launcher may end the others when one ends with an error
    return 0 if found.ok else 1


if __name__ == "__main__":
    sys.exit(main())
