"""The subcommands of `fastbp`, in the order in which --help lists them.

Each command is a module with `add_parser(subparsers) -> Parser` and `run(args) -> int`,
which returns the exit code. To add a command, write such a module and add it to COMMANDS.
"""

from . import bench, explain, info, inspect, predict, search, train

COMMANDS = (train, search, predict, inspect, explain, bench, info)
