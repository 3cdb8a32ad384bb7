"""`fastbp train`: a network for digits, for Fashion-MNIST, or for a table of the user's."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import numpy as np

from .._config import isa
from .._files import check_writable
from ..io import save
from ..metrics import r2
from ..network import Network
from ..optim import SGD, Adam, Optimizer
from ..preprocessing import TASKS, Preprocessing
from ..splits import hold_out
from ..tabular import Table, infer_task
from . import options
from .options import UsageError
from .sources import Source, open_source

MODEL = "fastbp-model.safetensors"

_EXAMPLES = """\
examples:
  fastbp train                                the digits that come with fastbp
  fastbp train houses.csv --target price      a regression on a table
  fastbp train iris.csv --hidden 16 -o iris.safetensors
  fastbp train fashion-mnist --epochs 15      apt-get install dataset-fashion-mnist first

Without --task, a target of texts, or of at most 20 distinct whole numbers, is classified, any
other is a regression. The rows held out depend on the data alone, not on --seed; they are scored
after every epoch and decide nothing: the model written is that of the last epoch.
"""


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    """Add this command to the parser."""
    parser = subparsers.add_parser(
        "train",
        help="train a network and write it to a file",
        description="Train a network, score it on rows held out, and write it to a model file.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "data",
        metavar="DATA",
        nargs="?",
        default="digits",
        help="digits (the default), fashion-mnist, or a file ending in .csv, .npz or .npy",
    )
    parser.add_argument(
        "-o", "--output", metavar="MODEL", default=MODEL, help=f"model file to write ({MODEL})"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")
    _add_data_options(parser)
    _add_network_options(parser)
    _add_training_options(parser)
    return parser


def _add_data_options(parser: argparse.ArgumentParser) -> None:
    options.add_file_options(parser)
    group = parser.add_argument_group("the table")
    group.add_argument(
        "--target",
        metavar="COLUMN",
        help="column to predict: name, or number from 1 (the last); of a .npz the array (y)",
    )
    group.add_argument("--task", choices=TASKS, help="by default what the target looks like")
    group.add_argument(
        "--drop", metavar="COLUMN", action="append", default=[], help="leave a column out"
    )
    group.add_argument(
        "--categorical",
        metavar="COLUMN",
        action="append",
        default=[],
        help="take a column of numbers for categories; one of texts is one anyway",
    )
    group.add_argument(
        "--hold-out",
        metavar="FRACTION",
        type=options.fraction("--hold-out"),
        help="share of the rows to score on instead of training on them (0.2; digits: 0.25)",
    )
    group.add_argument(
        "--no-standardize", action="store_true", help="leave features and targets unscaled"
    )


def _add_network_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the network")
    group.add_argument(
        "--hidden", metavar="N,N", type=options.hidden, help="units of the hidden layers, or none"
    )
    group.add_argument(
        "--activation",
        type=options.activation,
        default="relu",
        help="of the hidden layers: one, or one each, comma-separated (relu)",
    )
    group.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    group.add_argument(
        "--l1", type=options.nonnegative("--l1"), default=0.0, help="penalty on |W| (0)"
    )
    group.add_argument(
        "--l2", type=options.nonnegative("--l2"), default=0.0, help="penalty on W^2/2 (0)"
    )


def _add_training_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the training")
    group.add_argument("--epochs", metavar="N", type=options.whole("--epochs"))
    group.add_argument("--batch-size", metavar="N", type=options.whole("--batch-size"))
    group.add_argument("--optimizer", choices=("adam", "sgd"), default="adam")
    group.add_argument(
        "--lr",
        type=options.positive("--lr"),
        help="learning rate (adam 0.001, fashion-mnist 0.0002; sgd 0.01)",
    )
    group.add_argument(
        "--momentum", type=options.fraction("--momentum"), help="of sgd, in [0, 1) (0)"
    )
    group.add_argument("--nesterov", action="store_true", help="Nesterov's momentum (sgd)")
    group.add_argument(
        "--seed",
        type=options.seed,
        default=0,
        help="of the initial weights and the order of the rows (0)",
    )


def run(args: argparse.Namespace) -> int:
    """Train, write the model, say how well it does."""
    say = (lambda text: None) if args.quiet else _say
    options.check_source(args)
    _check_momentum(args)
    check_writable(args.output)
    source = open_source(args)
    optimizer = _optimizer(args, source)
    task = args.task or infer_task(source.table.target)
    train_rows, test = _split(source, args, task)
    prep = Preprocessing.fit(
        source.table,
        task,
        rows=train_rows,
        standardize=not args.no_standardize,
        pixel_scale=source.pixel_scale,
    )
    net = _network(args, source, prep)
    train = source.table if train_rows is None else source.table.take(train_rows)
    batch_size = args.batch_size or source.batch_size
    _describe(say, net, prep, train, test, optimizer, batch_size)
    n_epochs, interrupted = _fit(
        net,
        _arrays(prep, train, net.dtype),
        None if test is None else _arrays(prep, test, net.dtype),
        epochs=args.epochs or source.epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        progress=not args.quiet,
    )
    save(net, args.output, preprocessing=prep.to_dict())
    if test is not None:
        say(_score(net, prep, test))
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


def _check_momentum(args: argparse.Namespace) -> None:
    if args.optimizer != "sgd" and (args.momentum is not None or args.nesterov):
        raise UsageError("--momentum and --nesterov go with --optimizer sgd")
    if args.nesterov and not args.momentum:
        raise UsageError("--nesterov needs --momentum above 0")


def _optimizer(args: argparse.Namespace, source: Source) -> Optimizer:
    if args.optimizer == "adam":
        return Adam(source.adam_lr if args.lr is None else args.lr)
    keywords = {} if args.lr is None else {"lr": args.lr}
    return SGD(**keywords, momentum=args.momentum or 0.0, nesterov=args.nesterov)


def _split(
    source: Source, args: argparse.Namespace, task: str
) -> tuple[np.ndarray | None, Table | None]:
    """Rows to train on (None: all), and the table to score."""
    fraction = source.hold_out if args.hold_out is None else args.hold_out
    if source.test is not None or fraction == 0:
        return None, source.test
    table = source.table
    labels = table.target if task == "classification" and table.target.ndim == 1 else None
    train_rows, rows = hold_out(table.n_rows, fraction, seed=source.split_seed, labels=labels)
    return train_rows, table.take(rows)


def _network(args: argparse.Namespace, source: Source, prep: Preprocessing) -> Network:
    hidden = source.hidden if args.hidden is None else args.hidden
    activation = args.activation
    if len(activation) not in (1, len(hidden)):
        raise UsageError(
            f"--activation lists {len(activation)} names for {len(hidden)} hidden layers"
        )
    classes = prep.task == "classification"
    return Network(
        (prep.n_inputs, *hidden, prep.n_outputs),
        activation=activation[0] if len(activation) == 1 else activation,
        output="softmax" if classes else "identity",
        loss="cross_entropy" if classes else "squared_error",
        dtype=args.dtype,
        seed=args.seed,
        l1=args.l1,
        l2=args.l2,
    )


def _arrays(prep: Preprocessing, table: Table, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    return prep.inputs(table, dtype), prep.targets(table, dtype)


def _fit(
    net: Network,
    data: tuple[np.ndarray, np.ndarray],
    validation_data: tuple[np.ndarray, np.ndarray] | None,
    **keywords: object,
) -> tuple[int, bool]:
    """Train; the number of whole epochs, and whether Ctrl-C ended them."""
    done = 0

    def count(epoch: int, logs: dict[str, float]) -> None:
        nonlocal done
        done = epoch + 1

    try:
        net.fit(*data, validation_data=validation_data, callbacks=[count], **keywords)
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


def _score(net: Network, prep: Preprocessing, test: Table) -> str:
    answers = prep.answers(net.predict(prep.inputs(test, net.dtype)))
    if prep.task == "classification":
        right = int((answers == prep.targets(test, net.dtype)).sum())
        return f"test accuracy: {100 * right / test.n_rows:.2f} % ({right} of {test.n_rows})"
    target = test.target.reshape(answers.shape).astype(np.float64)
    error = np.sqrt(((answers - target) ** 2).mean(axis=0))
    errors = ", ".join(f"{e:.6g} ({name})" for e, name in zip(error, prep.target, strict=True))
    return f"test R2: {r2(answers, target):.4f}; root mean square error: {errors}"
