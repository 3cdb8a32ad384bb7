"""`fastbp inspect`: say what the columns of a table are taken for, and what looks wrong."""

from __future__ import annotations

import argparse
import json

from ..tabular import inspect
from . import options
from .options import UsageError
from .sources import check_data

_EXAMPLES = """\
examples:
  fastbp inspect houses.csv --target price
  fastbp inspect houses.csv.gz --na -999 --date-format %d.%m.%Y
  fastbp inspect people.xlsx --sheet 2 --json

Each column is a line: what it is taken for and why, how many cells are missing, how many values
differ, and its range or its most frequent levels. Lines with ! below it say what looks wrong.
"""


def add_parser(subparsers: options.Subparsers) -> options.Parser:
    """Add this command to the parser."""
    parser = subparsers.add_parser(
        "inspect",
        usage="fastbp inspect [OPTIONS] DATA",
        help="print what the columns of a table are taken for, and what looks wrong",
        description="Print what each column of a table is taken for, and why: its missing values, "
        "its range or levels, and what looks wrong, such as an index, a column that does not vary, "
        "or one that gives the target away. Nothing is trained, and no file is written.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", metavar="DATA", help="a file that fastbp train reads")
    parser.add_argument(
        "--target",
        metavar="COLUMN",
        help="the column to predict, by name or number (default: none)",
    )
    parser.add_argument(
        "--categorical",
        metavar="COLUMNS",
        action="append",
        default=[],
        help="columns to take as text although they look like numbers",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options.add_file_options(parser)
    options.add_hole_options(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the report."""
    if args.data in options.BUILT_IN or args.folder is not None:
        raise UsageError(f"inspect takes a file with a table; got {args.data}")
    check_data(args.data)
    report = inspect(
        args.data,
        target=args.target,
        categorical=args.categorical,
        na=args.na,
        date_formats=args.date_formats,
        **options.file_options(args),
    )
    text = json.dumps(report.to_dict(), indent=2) if args.json else str(report)
    print(options.encodable(text))
    return 0
