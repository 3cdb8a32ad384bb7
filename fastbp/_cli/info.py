"""`fastbp info`: print the configuration of the engine and of the machine."""

from __future__ import annotations

import argparse

from .._config import show_config
from .._messages import printable
from .._ranks import mpi
from . import options


def add_parser(subparsers: options.Subparsers) -> options.Parser:
    """Add this command to the parser."""
    return subparsers.add_parser(
        "info",
        usage="fastbp info",
        help="print version, instruction set, caches, cores, settings and MPI",
        description="Print the version, the available and the chosen instruction set, the tuning, "
        "the caches, the cores, the number of threads, the default matmul_precision, and the MPI "
        "that is installed.",
    )


def run(args: argparse.Namespace) -> int:
    """Print the configuration."""
    show_config()
    print(f"{'mpi':16} {printable(mpi.describe())}")
    return 0
