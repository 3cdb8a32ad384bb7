"""`fastbp explain`: measure where the time of a training step is spent on this machine."""

from __future__ import annotations

import argparse
import json
import sys

from ..tabular._preprocessing import Preprocessing
from ..tabular._table import choose_task
from . import options, recipe
from .sources import open_source

_EXAMPLES = """\
examples:
  fastbp explain                               on the digits that come with fastbp
  fastbp explain --hidden 512,512 --batch-size 128
  fastbp explain houses.csv --target price --threads 1 --json

The command runs training steps on all rows for --seconds, and writes no file. Do not run other
programs at the same time.
"""


def add_parser(subparsers: options.Subparsers) -> options.Parser:
    """Add this command to the parser."""
    parser = subparsers.add_parser(
        "explain",
        usage="fastbp explain [OPTIONS] [DATA]",
        help="measure where the time of a training step is spent",
        description="Measure the phases of a training step in each layer, and compare them with "
        "the limits of this machine. The options for data, network and training are those of "
        "fastbp train.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    recipe.add_data_argument(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--seconds",
        metavar="S",
        type=options.positive("--seconds"),
        default=0.5,
        help="how long to run steps (default: 0.5)",
    )
    parser.add_argument(
        "--threads", metavar="N", type=options.threads, help="the maximum number of threads"
    )
    recipe.add_table_options(parser)
    recipe.add_network_options(parser)
    recipe.add_training_options(parser)
    parser.set_defaults(hold_out=None)
    return parser


def run(args: argparse.Namespace) -> int:
    """Measure, and print a table or JSON."""
    recipe.check_options(args)
    source = open_source(args)
    for note in source.table.notes:
        print(f"fastbp: {note}", file=sys.stderr)
    prep = Preprocessing.fit(
        source.table,
        choose_task(source.table, args.task),
        standardize=not args.no_standardize,
        pixel_scale=source.pixel_scale,
    )
    net = recipe.make_network(args, source, prep)
    found = net.explain(
        *recipe.arrays(args, prep, source.table, net.dtype),
        batch_size=args.batch_size or source.batch_size,
        optimizer=recipe.make_optimizer(args, source),
        n_threads=args.threads,
        seconds=args.seconds,
    )
    print(json.dumps(found.to_dict(), indent=2) if args.json else options.encodable(str(found)))
    return 0
