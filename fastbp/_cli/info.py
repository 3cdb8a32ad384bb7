"""`fastbp info`: print the configuration of the engine and of the machine."""

from __future__ import annotations

import argparse

from .._config import show_config
from . import options


def add_parser(subparsers: options.Subparsers) -> options.Parser:
    """Add this command to the parser."""
    return subparsers.add_parser(
        "info",
        usage="fastbp info",
        help="print version, instruction set, caches, cores and settings",
        description="Print the version, the available and the chosen instruction set, the tuning, "
        "the caches, the cores, the number of threads and the default matmul_precision.",
    )


def run(args: argparse.Namespace) -> int:
    """Print the configuration."""
    show_config()
    return 0
