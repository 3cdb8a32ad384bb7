"""The command `fastbp`: its parser, and how it reports errors.

Exit codes: 0 success, 1 invalid data or model, 2 wrong usage, 130 interrupted, 141 the reader of
the output has closed it. Each subcommand is a module of `fastbp._cli`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from .._files.atomic import naming
from .._version import __version__
from ..errors import DivergenceError
from . import COMMANDS
from .options import UsageError

_STDOUT = "standard output"
INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
BROKEN_PIPE = 141  # 128 + SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, by default that of the process, and return the exit code.

    Raises SystemExit as argparse does: with 2 for wrong usage, with 0 after --help and --version.
    """
    args = build_parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = args.run
    parser: argparse.ArgumentParser = args.parser
    try:
        with naming(_STDOUT):  # an error about a file names that file already
            code = command(args)
            sys.stdout.flush()
        return code
    except UsageError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        _drop_output()
        return BROKEN_PIPE
    except OSError as error:
        if error.filename == _STDOUT:
            _drop_output()
        named = error.filename is not None and error.strerror
        return _fail(f"{error.filename}: {error.strerror}" if named else str(error), 1)
    except (ValueError, DivergenceError) as error:
        return _fail(str(error), 1)
    except MemoryError as error:
        return _fail(f"not enough memory: {error}", 1)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with all subcommands; it adds `run` and `parser` to the arguments."""
    parser = argparse.ArgumentParser(
        prog="fastbp", description="Train dense networks on a CPU, and predict with them."
    )
    parser.add_argument("--version", action="version", version=f"fastbp {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        sub = command.add_parser(subparsers)
        sub.set_defaults(run=command.run, parser=sub)
    return parser


def _drop_output() -> None:
    """Redirect stdout to the null device, so that the flush at interpreter exit does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int) -> int:
    """Print a message; lines that are indented by two blanks, a list of problems, stay lines."""
    lines = (" ".join(line.split()) for line in message.split("\n  "))
    print("fastbp: error: " + "\n  ".join(lines), file=sys.stderr)
    return code
