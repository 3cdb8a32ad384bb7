"""The command `fastbp`: its parser, and how it reports errors.

Exit codes: 0 success, 1 invalid data or model, 2 wrong usage, 130 interrupted, 141 the reader of
the output has closed it. Each subcommand is a module of `fastbp._cli`.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from .._checks.names import did_you_mean
from .._files.atomic import naming
from .._messages import readable
from .._ranks.launcher import Launched, launched
from .._version import __version__
from ..errors import DivergenceError
from . import COMMANDS
from .launcher import communicator, talking
from .options import Parser, UsageError

_STDOUT = "standard output"
INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
BROKEN_PIPE = 141  # 128 + SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, by default that of the process, and return the exit code.

    Without arguments, it prints the help. Raises SystemExit as argparse does: with 2 for wrong
    usage, with 0 after --help and --version.
    """
    if sys.stderr is None:  # closed, and then `print` would write messages to stdout
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 to the end of the process
    argv = sys.argv[1:] if argv is None else argv
    launch = launched()
    with talking(launch):
        if not argv:
            build_parser().print_help()
            return 0
        return _run(_parse(argv), launch)


def _run(args: argparse.Namespace, launch: Launched | None) -> int:
    """Run a command, report its errors, and return the exit code; all ranks return the same."""
    command: Callable[[argparse.Namespace], int] = args.run
    parser: Parser = args.parser
    args.comm = None
    try:
        if launch is not None:
            if not hasattr(args, "parts"):
                raise UsageError(
                    f"a launcher has started {launch.size} processes, and this command is for one: "
                    "run it without the launcher"
                )
            args.comm = communicator(launch)
        with naming(_STDOUT):  # an error about a file names that file already
            code = command(args)
            if sys.stdout is not None:  # None if it is closed; `print` does nothing then
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
    except (ValueError, DivergenceError, ImportError) as error:  # of a package that is not there
        return _fail(str(error), 1)
    except MemoryError as error:
        return _fail(f"not enough memory: {error}", 1)


def build_parser() -> Parser:
    """Return the parser with all subcommands; it adds `run` and `parser` to the arguments."""
    parser = Parser(
        prog="fastbp",
        usage="fastbp COMMAND [OPTIONS]",
        description="Train dense networks on a CPU, and predict with them.",
        epilog="fastbp COMMAND --help describes a command and its options.",
    )
    parser.add_argument("--version", action="version", version=f"fastbp {__version__}")
    # without a prog of their own, the commands would repeat the usage of fastbp in theirs
    subparsers = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True, prog="fastbp"
    )
    for command in COMMANDS:
        sub = command.add_parser(subparsers)
        sub.set_defaults(run=command.run, parser=sub)
    return parser


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse a command line; errors show the usage of its command."""
    parser = build_parser()
    names = [command.__name__.rpartition(".")[2] for command in COMMANDS]
    if not argv[0].startswith("-") and argv[0] not in names:
        hint = did_you_mean(argv[0], names)
        parser.error(f"unknown command {argv[0]!r}; the commands are {', '.join(names)}{hint}")
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        args.parser.refuse(unknown)
    return args


def _drop_output() -> None:
    """Redirect stdout to the null device, so that the flush at interpreter exit does not fail."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int) -> int:
    """Print a message; lines that are indented by two blanks, a list of problems, stay lines."""
    lines = (" ".join(line.split()) for line in readable(message).split("\n  "))
    print("fastbp: error: " + "\n  ".join(lines), file=sys.stderr)
    return code
