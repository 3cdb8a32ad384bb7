"""`fastbp train`: a network for digits, for Fashion-MNIST, or for a table of the user's."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import numpy as np

from .. import schedules
from .._config import isa
from .._files.atomic import check_writable
from .._network.network import Network
from .._training.splits import hold_out
from .._types import Array
from ..callbacks import EarlyStopping
from ..io import save
from ..metrics import r2
from ..optim import Optimizer
from ..tabular import Table
from ..tabular._preprocessing import Preprocessing
from ..tabular._table import choose_task
from . import options, recipe
from .options import UsageError
from .sources import Source, open_source

MODEL = "fastbp-model.safetensors"
_SHARE = 0.1  # of --validation-split where --patience is given alone

_EXAMPLES = """\
examples:
  fastbp train                                the digits that come with fastbp
  fastbp train houses.csv --target price      a regression on a table
  fastbp train iris.csv --hidden 16 -o iris.safetensors
  fastbp train fashion-mnist --epochs 15      apt-get install dataset-fashion-mnist first

Without --task, a target of texts, or of at most 20 distinct whole numbers, is classified, any
other is a regression. A target of more than two distinct texts, a tenth as many as the rows, is
refused. The rows held out depend on the data alone, not on --seed; they are scored after every
epoch and decide nothing: the model written is that of the last epoch. With --patience a share of
the others is scored instead, and the model is that of the epoch that did best on it.
"""


def add_parser(subparsers: options.Subparsers) -> argparse.ArgumentParser:
    """Add this command to the parser."""
    parser = subparsers.add_parser(
        "train",
        help="train a network and write it to a file",
        description="Train a network, score it on rows held out, and write it to a model file.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    recipe.add_data_argument(parser)
    parser.add_argument(
        "-o", "--output", metavar="MODEL", default=MODEL, help=f"model file to write ({MODEL})"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    recipe.add_table_options(parser).add_argument(
        "--hold-out",
        metavar="FRACTION",
        type=options.fraction("--hold-out"),
        help="share of the rows to score on instead of training on them (0.2; digits: 0.25)",
    )
    recipe.add_network_options(parser)
    group = recipe.add_training_options(parser)
    group.add_argument("--epochs", metavar="N", type=options.whole("--epochs"))
    group.add_argument("--schedule", choices=schedules.NAMES, help="of the learning rate (none)")
    group.add_argument(
        "--validation-split",
        metavar="FRACTION",
        type=options.fraction("--validation-split"),
        help="share of the rows to train on that is scored after every epoch (0; --patience: 0.1)",
    )
    group.add_argument(
        "--patience",
        metavar="N",
        type=options.whole("--patience"),
        help="stop after N epochs without a better loss on that share, and keep the best",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Train, write the model, say how well it does."""
    say = (lambda text: None) if args.quiet else _say
    recipe.check_options(args)
    split = _share(args)
    check_writable(args.output)
    source = open_source(args)
    for note in source.table.notes:
        say(f"{source.table.source}: {note}")
    optimizer = recipe.make_optimizer(args, source)
    task = choose_task(source.table, args.task)
    train_rows, test = _split(source, args, task)
    prep = Preprocessing.fit(
        source.table,
        task,
        rows=train_rows,
        standardize=not args.no_standardize,
        pixel_scale=source.pixel_scale,
    )
    net = recipe.make_network(args, source, prep)
    train = source.table if train_rows is None else source.table.take(train_rows)
    batch_size = args.batch_size or source.batch_size
    _describe(say, net, prep, train, test, optimizer, batch_size)
    data = recipe.arrays(args, prep, train, net.dtype)
    validation_data = (
        None if test is None or split > 0 else recipe.arrays(args, prep, test, net.dtype)
    )
    stopping = [] if args.patience is None else [EarlyStopping(patience=args.patience)]
    n_epochs, interrupted = _count_epochs(
        lambda count: net.fit(
            *data,
            validation_data=validation_data,
            validation_split=split,
            callbacks=[count, *stopping],
            schedule=args.schedule,
            epochs=args.epochs or source.epochs,
            batch_size=batch_size,
            optimizer=optimizer,
            progress=not args.quiet,
        )
    )
    save(net, args.output, preprocessing=prep.to_dict())
    if test is not None:
        say(_score(args, net, prep, test))
    say(f"model written to {args.output}")
    if interrupted:
        print(
            f"fastbp: interrupted after {n_epochs} whole epochs; "
            f"the model trained so far is in {args.output}",
            file=sys.stderr,
        )
        return 130
    return 0


def _say(text: str) -> None:
    print(text, flush=True)


def _share(args: argparse.Namespace) -> float:
    """The share of the rows to train on that decides when to stop, or is scored at least."""
    if args.patience is None:
        return args.validation_split or 0.0
    if args.validation_split == 0:
        raise UsageError("--patience needs a --validation-split above 0")
    return args.validation_split or _SHARE


def _split(
    source: Source, args: argparse.Namespace, task: str
) -> tuple[Array | None, Table | None]:
    """Rows to train on (None: all), and the table to score."""
    fraction = source.hold_out if args.hold_out is None else args.hold_out
    if source.test is not None or fraction == 0:
        return None, source.test
    table = source.table
    target = table.require_target()
    labels = target if task == "classification" and target.ndim == 1 else None
    train_rows, rows = hold_out(table.n_rows, fraction, seed=source.split_seed, labels=labels)
    return train_rows, table.take(rows)


def _count_epochs(
    fit: Callable[[Callable[[int, dict[str, float]], None]], object],
) -> tuple[int, bool]:
    """Call `fit` with a callback; return the number of complete epochs, and whether Ctrl-C came."""
    done = 0

    def count(epoch: int, logs: dict[str, float]) -> None:
        nonlocal done
        done = epoch + 1

    try:
        fit(count)
    except KeyboardInterrupt:
        return done, True
    return done, False


def _describe(
    say: Callable[[str], None],
    net: Network,
    prep: Preprocessing,
    train: Table,
    test: Table | None,
    optimizer: Optimizer,
    batch_size: int,
) -> None:
    rows = f"{train.n_rows} rows to train on" + ("" if test is None else f", {test.n_rows} to test")
    goal = f"{prep.n_outputs} classes" if prep.classes else ", ".join(prep.target)
    say(f"{train.source}: {rows}; {len(prep.features)} features, {prep.task}: {goal}")
    layers = ", ".join(str(activation) for activation in net.activations)
    say(
        f"network {'-'.join(map(str, net.widths))} ({layers}; {net.criterion}, {net.dtype}), "
        f"{optimizer!r}, batches of {batch_size}, on {isa()}"
    )


def _score(args: argparse.Namespace, net: Network, prep: Preprocessing, test: Table) -> str:
    X = prep.inputs(test, net.dtype, max_bytes=args.max_bytes)
    answers = prep.answers(net.predict(X))
    if prep.task == "classification":
        right = int((answers == prep.targets(test, net.dtype)).sum())
        return f"test accuracy: {100 * right / test.n_rows:.2f} % ({right} of {test.n_rows})"
    target = test.require_target().reshape(answers.shape).astype(np.float64)
    error = np.sqrt(((answers - target) ** 2).mean(axis=0))
    errors = ", ".join(f"{e:.6g} ({name})" for e, name in zip(error, prep.target, strict=True))
    return f"test R2: {r2(answers, target):.4f}; root mean square error: {errors}"
