"""`fastbp train`: train a network on digits, on Fashion-MNIST, or on a table from a file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .._config import isa
from .._files.atomic import check_writable
from .._messages import printable
from .._network.network import Network
from .._precision import described
from .._ranks.cuts import cut, own_parts
from .._ranks.ranks import Ranks
from .._training.divided import PARTS
from .._types import Array
from ..errors import DataError
from ..optim import Optimizer
from ..tabular import Table
from ..tabular._preprocessing import Preprocessing
from ..tabular._table import choose_task
from . import members, options, recipe, score, tables
from .options import UsageError
from .sources import Source, open_source

_SHARE = 0.1  # default of --validation-split with --patience

_PATIENCE = 10  # in the hint, as in those of `fit`
_HINT = f"more training is not always better: try --patience {_PATIENCE}"

_EXAMPLES = """\
examples:
  fastbp train                                on the digits that come with fastbp
  fastbp train houses.csv --target price      a regression on a table
  fastbp train iris.csv --hidden 16 -o iris.safetensors
  fastbp train houses.csv --members 8         an ensemble of 8 networks in one file
  fastbp train fashion-mnist --epochs 15      apt-get install dataset-fashion-mnist first
  mpiexec -n 4 fastbp train houses.csv        on 4 ranks of MPI: pip install "fastbp[mpi]"

Without --task, a target that is text, or that has at most 20 distinct whole numbers, implies a
classification; any other target implies a regression. A text target is refused if it has more than
two distinct values and at least a tenth as many distinct values as rows.

The rows that are held out depend only on the data, not on --seed. They are scored after each epoch
and do not influence the model, which is that of the last epoch. With --patience, a fraction of the
training rows is scored instead, and the model is that of the epoch with the best score on them.
"""


def add_parser(subparsers: options.Subparsers) -> options.Parser:
    """Add this command to the parser."""
    parser = subparsers.add_parser(
        "train",
        usage="fastbp train [OPTIONS] [DATA]",
        help="train a network and write it to a file",
        description="Train a network, score it on held-out rows, and write it to a model file.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    recipe.add_data_argument(parser)
    recipe.add_output_options(parser)
    tables.add_options(parser)
    recipe.add_table_options(parser).add_argument(
        "--hold-out",
        metavar="FRACTION",
        type=options.fraction("--hold-out"),
        help="fraction of the rows to hold out from training and to score (default: 0.2; 0.25 for "
        "digits)",
    )
    recipe.add_network_options(parser)
    group = recipe.add_training_options(parser)
    recipe.add_length_options(group)
    group.add_argument(
        "--validation-split",
        metavar="FRACTION",
        type=options.fraction("--validation-split"),
        help="fraction of the training rows to score after each epoch instead of training on them "
        "(default: 0; 0.1 with --patience)",
    )
    group.add_argument(
        "--patience",
        metavar="N",
        type=options.whole("--patience"),
        help="stop after N epochs without a better loss on that fraction, and keep the best model",
    )
    group.add_argument(
        "--members",
        metavar="N",
        type=options.whole("--members"),
        help="train N networks at the same time, with the seeds from --seed on, and write them to "
        "one file; fastbp predict takes the mean of their outputs (default: that of the preset, 1 "
        "for plain)",
    )
    group.add_argument(
        "--parts",
        metavar="P",
        type=options.parts,
        help="cut the training rows into P parts, a power of two; the model depends on P, and not "
        "on the number of MPI ranks that share the parts (default: none; 16 with several ranks)",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Train, write the model, and print its score; on all ranks, if there are several."""
    preset = tables.preset_of(args)
    if preset != tables.PLAIN:
        return tables.train(args, preset, (lambda text: None) if args.quiet else show)
    args.members = args.members or 1
    if args.comm is None:
        return _run(args, None)
    ranks = Ranks(args.comm)
    try:
        return _run(args, ranks)
    finally:
        ranks.close()


class _Plan(NamedTuple):
    """What is known before the training; the same on all ranks."""

    prep: Preprocessing
    nets: list[Network]
    train: Table
    test: Table | None
    split: float  # of the training rows, to score after each epoch
    keywords: dict[str, Any]  # of `fit`


def _run(args: argparse.Namespace, ranks: Ranks | None) -> int:
    leads = ranks is None or ranks.leads
    report = (lambda text: None) if args.quiet or not leads else show
    if ranks is None:
        plan = _plan(args, report, leads)
    else:
        plan = ranks.together(lambda: _plan(args, report, leads))
        _check_same_data(ranks, plan)
    read = partial(_own_rows, args, plan, ranks)
    data, held_out = read() if ranks is None else ranks.together(read)
    trained = members.train(
        plan.nets,
        data,
        args.patience,
        validation_data=held_out,
        validation_split=plan.split,
        progress=not args.quiet,
        comm=args.comm,
        **plan.keywords,
    )
    if ranks is None:
        return _finish(args, report, plan, trained)
    return ranks.lead(lambda: _finish(args, report, plan, trained))


def _plan(args: argparse.Namespace, report: Callable[[str], None], leads: bool) -> _Plan:
    """Read and check everything; rank 0 will write the model."""
    recipe.check_options(args)
    members.check_members(args)
    split = _share(args)
    if leads:
        check_writable(args.output)
    source = open_source(args)
    for note in source.table.notes:
        report(f"{source.table.source}: {note}")
    optimizer = recipe.make_optimizer(args, source)
    task = choose_task(source.table, args.task)
    train_rows, test = split_rows(source, args, task)
    prep = Preprocessing.fit(
        source.table,
        task,
        rows=train_rows,
        standardize=not args.no_standardize,
        pixel_scale=source.pixel_scale,
    )
    nets = members.make_networks(args, source, prep)
    train = source.table if train_rows is None else source.table.take(train_rows)
    batch_size = args.batch_size or source.batch_size
    _describe(report, nets, prep, train, test, optimizer, batch_size)
    keywords = {
        "schedule": args.schedule,
        "epochs": args.epochs or source.epochs,
        "batch_size": batch_size,
        "optimizer": optimizer,
    }
    if len(nets) == 1:
        keywords["parts"] = PARTS if args.parts is None and args.comm is not None else args.parts
    return _Plan(prep, nets, train, test, split, keywords)


def _check_same_data(ranks: Ranks, plan: _Plan) -> None:
    """DataError if the ranks have read different files."""
    table = plan.train
    seen = table.n_rows, plan.test and plan.test.n_rows, table.values.sum(), plan.prep.to_dict()
    told = ranks.agree(lambda: repr(seen))
    if len(set(told)) > 1:
        error = DataError(f"{table.source}: not all ranks read the same content")
        ranks.note_told(error)
        raise error


def _own_rows(
    args: argparse.Namespace, plan: _Plan, ranks: Ranks | None
) -> tuple[tuple[Array, Array], tuple[Array, Array] | None]:
    """(X, y) to train on, and to score after each epoch: all rows, or the share of this rank."""
    train, held_out = plan.train, None if plan.split else plan.test
    if ranks is not None and len(plan.nets) == 1:
        parts = plan.keywords["parts"]
        train = _share_of(train, parts, ranks)
        held_out = None if held_out is None else _share_of(held_out, parts, ranks)
    dtype = plan.nets[0].dtype
    data = recipe.arrays(args, plan.prep, train, dtype)
    return data, None if held_out is None else recipe.arrays(args, plan.prep, held_out, dtype)


def _share_of(table: Table, parts: int, ranks: Ranks) -> Table:
    """The rows of a rank, as `fastbp.distributed.share` gives them."""
    ends, own = cut(table.n_rows, parts), own_parts(ranks.rank, ranks.size, parts)
    return table.take(np.arange(ends[own.start], ends[own.stop]))


def _finish(
    args: argparse.Namespace,
    report: Callable[[str], None],
    plan: _Plan,
    trained: members.Trained,
) -> int:
    """Write the model, print its score, and return the exit code."""
    members.write(trained.nets, args.output, plan.prep, as_population=len(plan.nets) > 1)
    better = ""
    if plan.test is not None:
        X = plan.prep.inputs(plan.test, plan.nets[0].dtype, max_bytes=args.max_bytes)
        better = report_score(report, trained.nets, plan.prep, X, plan.test, plan.train)
    report(f"model written to {args.output}")
    if trained.interrupted:
        print(
            f"fastbp: interrupted after {trained.epochs} complete epochs; "
            f"the model trained so far is in {args.output}",
            file=sys.stderr,
        )
        return 130
    if better and args.patience is None:
        report(f"hint: {better} scores better, and {_HINT}")
    return 0


def show(text: str) -> None:
    print(printable(text), flush=True)


def _share(args: argparse.Namespace) -> float:
    """Return the fraction of the training rows that is scored, and stops training if requested."""
    if args.patience is None:
        return args.validation_split or 0.0
    if args.validation_split == 0:
        raise UsageError("--patience needs a --validation-split above 0")
    return args.validation_split or _SHARE


def split_rows(
    source: Source, args: argparse.Namespace, task: str
) -> tuple[Array | None, Table | None]:
    """Return the indices of the training rows (None for all of them), and the table to score."""
    fraction = source.hold_out if args.hold_out is None else args.hold_out
    if source.test is not None:
        return None, source.test
    return score.split(source.table, fraction, task, source.split_seed)


def report_score(
    report: Callable[[str], None],
    nets: Sequence[Network],
    prep: Preprocessing,
    X: Array,
    test: Table,
    train: Table,
) -> str:
    """Report scores for X, the inputs of `test`; return what is better than the model, or ""."""
    outputs = members.outputs_of_each(nets, X)
    found = score.describe(prep, members.mean_of(outputs), test, train)
    if len(nets) > 1:
        report(score.describe_members(prep, outputs, test, [net.seed for net in nets]))
    report(f"ensemble: {found.text}" if len(nets) > 1 else found.text)
    return found.better


def _describe(
    report: Callable[[str], None],
    nets: Sequence[Network],
    prep: Preprocessing,
    train: Table,
    test: Table | None,
    optimizer: Optimizer,
    batch_size: int,
) -> None:
    rows = f"{train.n_rows} rows to train on" + ("" if test is None else f", {test.n_rows} to test")
    targets = f"{prep.n_outputs} classes" if prep.classes else ", ".join(prep.target)
    report(f"{train.source}: {rows}; {len(prep.features)} features, {prep.task}: {targets}")
    net = nets[0]
    layers = ", ".join(str(activation) for activation in net.activations)
    kind = described(net.dtype, net.matmul_precision)
    network = "network" if len(nets) == 1 else f"{len(nets)} networks"
    report(
        f"{network} {'-'.join(map(str, net.widths))} ({layers}; {net.criterion}, {kind}), "
        f"{optimizer!r}, batches of {batch_size}, on {isa()}"
    )
