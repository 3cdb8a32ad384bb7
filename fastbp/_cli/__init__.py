"""The subcommands of `fastbp`, in the order in which --help lists them.

A command is a module with `add_parser(subparsers) -> ArgumentParser` and `run(args) -> exit code`;
to add one, write the module and put it into COMMANDS.
"""

from . import bench, explain, info, predict, train

COMMANDS = (train, predict, explain, bench, info)
