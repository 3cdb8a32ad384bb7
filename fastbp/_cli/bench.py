"""`fastbp bench`: measure the speed of fastbp, compared with the peers that are installed."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from importlib.util import find_spec

from .. import _core
from .._config import usable_cores
from .._files.atomic import check_writable
from .._messages import printable
from ..bench import Options, measure, select
from ..bench import _file as files
from ..bench import _report as report
from ..bench._layout import File
from ..bench._peers import PEERS, PRECISIONS, PROGRAMS
from ..bench._runner import check_precisions
from ..bench._suites import CONFIGS, SUITES
from . import options
from .options import UsageError

_EXAMPLES = """\
examples:
  fastbp bench                            training steps, and all installed peers
  fastbp bench --quick --config rl,tab    a first impression
  fastbp bench --suite width,batch        how the speed scales, without peers
  fastbp bench --precision highest,medium products in float32 and in bfloat16
  fastbp bench --isa avx2 --peers none --json avx2.json
  fastbp bench --from avx2.json --plot avx2.png
  fastbp bench --merge all.json           replace the report of this machine among those of all

Each program runs in its own process. In each round, all programs are measured in turn, and ratios
are computed within a round. Do not run other programs at the same time.
"""


def add_parser(subparsers: options.Subparsers) -> options.Parser:
    """Add this command to the parser."""
    parser = subparsers.add_parser(
        "bench",
        usage="fastbp bench [OPTIONS]",
        help="measure the speed, compared with the peers that are installed",
        description="Measure training steps, epochs and predictions, compared with peers.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("what to measure")
    what.add_argument(
        "--suite", metavar="NAME,…", type=_names, default=(), help=f"{', '.join(SUITES)}, or all"
    )
    what.add_argument(
        "--config", metavar="NAME,…", type=_names, default=(), help="single configurations"
    )
    what.add_argument("--list", action="store_true", help="list suites, configurations and peers")
    what.add_argument(
        "--peers",
        metavar="NAME,…",
        type=_names,
        help=f"{', '.join(PEERS)}; all, or none (default: those that are installed)",
    )
    what.add_argument(
        "--threads", metavar="N,…", type=_counts, help="numbers of threads (default: 1,2)"
    )
    what.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    what.add_argument(
        "--precision",
        metavar="NAME,…",
        type=_names,
        default=("highest",),
        help=f"of the products of fastbp: {', '.join(PRECISIONS)} (default: highest); peers are "
        "also measured at their precisions that are as fine, or finer",
    )
    what.add_argument("--isa", help="instruction set of the engine (default: the best one)")
    how = parser.add_argument_group("how")
    how.add_argument("--rounds", metavar="N", type=options.whole("--rounds"))
    how.add_argument("--quick", action="store_true", help="three short rounds")
    how.add_argument(
        "--peer-memory", action="store_true", help="measure the memory of peers too (slow)"
    )
    how.add_argument(
        "--from", dest="source", metavar="FILE", help="show the reports in FILE, measure nothing"
    )
    out = parser.add_argument_group("what to write")
    out.add_argument(
        "--json",
        metavar="FILE",
        nargs="?",
        const="-",
        help="the report as JSON (without FILE or with -: stdout)",
    )
    out.add_argument(
        "--merge",
        metavar="FILE",
        help="put the report into FILE; it replaces an earlier report of the same machine only",
    )
    out.add_argument("--plot", metavar="FILE", help="a chart: .png, .svg or .pdf (matplotlib)")
    return parser


def run(args: argparse.Namespace) -> int:
    """Measure, or read reports; print them, and write the files that the options name."""
    if args.list:
        _list()
        return 0
    if args.plot is not None and find_spec("matplotlib") is None:
        raise ValueError("--plot needs matplotlib: pip install 'fastbp[plot]'")
    for path in (args.json, args.merge, args.plot):
        if path not in (None, "-"):
            check_writable(path)
    merged = files.pack()
    if args.merge is not None and os.path.exists(args.merge):
        merged = files.read(args.merge)
    found = files.read(args.source) if args.source is not None else _measure(args)
    if args.json == "-":
        print(files.dumps(found), end="")
    else:
        print(printable("\n\n".join(map(report.text, found["machines"]))))  # a file may be forged
        if args.json is not None:
            files.write(found, args.json)
    if args.merge is not None:
        for each in found["machines"]:
            merged = files.merge(merged, each)
        files.write(merged, args.merge)
    if args.plot is not None:
        from ..bench._plot import draw

        draw(found["machines"], args.plot)
    return 0


def _measure(args: argparse.Namespace) -> File:
    try:
        selection = select(args.suite, args.config)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if args.peers is not None:
        selection = [(config, True) for config, _ in selection]
    if args.isa is not None and args.isa not in _core.available_isas():
        raise UsageError(
            f"this machine cannot run --isa {args.isa}; it can run: "
            f"{', '.join(_core.available_isas())}"
        )
    chosen = Options(
        threads=args.threads or tuple(range(1, min(2, usable_cores()) + 1)),
        dtype=args.dtype,
        isa=args.isa,
        precisions=tuple(sorted(set(args.precision), key=_order)),
        peer_memory=args.peer_memory,
    )
    if args.quick:
        chosen = replace(chosen, rounds=3, seconds=0.02)
    if args.rounds is not None:
        chosen = replace(chosen, rounds=args.rounds)
    try:
        check_precisions(chosen)
    except ValueError as error:
        raise UsageError(f"--precision: {error}") from None
    return files.pack(measure(selection, _peers(args.peers), chosen, _show))


def _order(precision: str) -> int:
    """Return the place of a precision from fine to coarse; unknown ones come last."""
    return PRECISIONS.index(precision) if precision in PRECISIONS else len(PRECISIONS)


def _peers(names: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the peers that are named, or all that are installed."""
    if names is None:
        return tuple(name for name in PEERS if PROGRAMS[name].installed())
    if names == ("none",):
        return ()
    for name in PEERS if names == ("all",) else names:
        if name not in PEERS:
            raise UsageError(f"--peers: unknown {name!r}; known: {', '.join(PEERS)}")
        if not PROGRAMS[name].installed():
            package = PROGRAMS[name].package
            package = {"sklearn": "scikit-learn"}.get(package, package)
            raise ValueError(f"{name} is not installed: pip install {package}")
    return PEERS if names == ("all",) else names


def _list() -> None:
    for name, suite in SUITES.items():
        print(f"{name}: {suite.title}{'' if suite.peers else ' (peers only with --peers)'}")
        for config in suite.configs:
            print(f"    {config.name:16}{CONFIGS[config.name].describe()}")
    installed = [name for name in PEERS if PROGRAMS[name].installed()]
    print(f"peers: {', '.join(PEERS)}; installed: {', '.join(installed)}")


def _show(text: str) -> None:
    print(text, end="\n\n", file=sys.stderr, flush=True)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _counts(text: str) -> tuple[int, ...]:
    read = options.whole("--threads")
    return tuple(sorted({read(part) for part in text.split(",")}))
