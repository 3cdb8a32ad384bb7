"""Make data, optimiser and network from the command line, for `train`, `search` and `explain`."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from .. import schedules
from .._checks.words import counted
from .._network.dense import Dense
from .._network.network import Network
from .._precision import HIGHEST, NAMES
from .._types import Array
from ..optim import NAMES as OPTIMIZERS
from ..optim import SGD, Adam, Optimizer, resolve
from ..tabular import Table
from ..tabular._preprocessing import TASKS, Preprocessing
from . import options
from .options import UsageError
from .sources import Source

_MODEL = "fastbp-model.safetensors"
_DRAWN = " (default: searched)"
_RATE = " (default: that of the optimiser; 0.0002 for fashion-mnist with adam)"


def add_data_argument(parser: argparse.ArgumentParser) -> None:
    """Add the argument DATA: a built-in data set or a file."""
    parser.add_argument(
        "data",
        metavar="DATA",
        nargs="?",
        default="digits",
        help="digits (the default), fashion-mnist, or a .csv, .npz or .npy file",
    )


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """Add the options about the model file and about what is printed."""
    parser.add_argument(
        "-o",
        "--output",
        metavar="MODEL",
        default=_MODEL,
        help=f"model file to write (default: {_MODEL})",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="print errors only")


def add_table_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the options about reading the file and about the columns of the table."""
    options.add_file_options(parser)
    group = parser.add_argument_group("the table")
    group.add_argument(
        "--target",
        metavar="COLUMN",
        help="column to predict: name, or number from 1 (default: the last column); for a .npz, "
        "the name of the array (default: y)",
    )
    group.add_argument("--task", choices=TASKS, help="the task (default: decide by the target)")
    group.add_argument(
        "--drop",
        metavar="COLUMN,…",
        action="append",
        default=[],
        help="columns to leave out, by name or number; may be repeated",
    )
    group.add_argument(
        "--categorical",
        metavar="COLUMN,…",
        action="append",
        default=[],
        help="read columns of numbers as categories, as columns of text are; may be repeated",
    )
    group.add_argument(
        "--no-standardize", action="store_true", help="leave features and targets unscaled"
    )
    return group


def add_network_options(parser: argparse.ArgumentParser, *, searched: bool = False) -> None:
    """Add the options about layers, dtype and penalties; searched: some are drawn by default."""
    group = parser.add_argument_group("the network")
    group.add_argument(
        "--hidden",
        metavar="N,N",
        type=options.hidden,
        help=f"units of the hidden layers, or none{_DRAWN * searched}",
    )
    group.add_argument(
        "--activation",
        type=options.activation,
        default="relu",
        help="activation of the hidden layers: one for all, or one for each, separated by commas; "
        "a name, such as prelu(0.25, per=unit), or a formula, such as "
        "'formula(z * sigmoid(beta * z), beta=1.0)' (default: relu)",
    )
    group.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    group.add_argument(
        "--matmul-precision",
        choices=NAMES,
        default=HIGHEST,
        help=f"{options.PRECISIONS} (default: {HIGHEST})",
    )
    group.add_argument(
        "--l1", type=options.nonnegative("--l1"), default=0.0, help="penalty on |W| (default: 0)"
    )
    group.add_argument(
        "--l2",
        type=options.nonnegative("--l2"),
        default=None if searched else 0.0,
        help=f"penalty on W^2/2{_DRAWN if searched else ' (default: 0)'}",
    )
    group.add_argument(
        "--dropout",
        type=options.fraction("--dropout"),
        default=None if searched else 0.0,
        help="share of the hidden units that a training step leaves out"
        f"{_DRAWN if searched else ' (default: 0)'}",
    )


def add_training_options(
    parser: argparse.ArgumentParser, *, searched: bool = False
) -> argparse._ArgumentGroup:
    """Add the options about batches, optimiser and seed; searched: the rate is drawn by default."""
    group = parser.add_argument_group("the training")
    group.add_argument("--batch-size", metavar="N", type=options.whole("--batch-size"))
    group.add_argument("--optimizer", type=str.lower, choices=OPTIMIZERS, default="adam")
    group.add_argument(
        "--lr",
        type=options.positive("--lr"),
        help=f"learning rate{_DRAWN if searched else _RATE}",
    )
    group.add_argument(
        "--momentum",
        type=options.fraction("--momentum"),
        help="momentum of sgd, in [0, 1) (default: 0)",
    )
    group.add_argument("--nesterov", action="store_true", help="use Nesterov's momentum (sgd)")
    group.add_argument(
        "--seed",
        type=options.seed,
        default=0,
        help="seed of the initial weights and of the order of the rows (default: 0)",
    )
    return group


def add_length_options(group: argparse._ArgumentGroup) -> None:
    """Add the options about the epochs."""
    group.add_argument("--epochs", metavar="N", type=options.whole("--epochs"))
    group.add_argument(
        "--schedule",
        type=str.lower,
        choices=schedules.NAMES,
        help="schedule of the learning rate over all epochs (default: none)",
    )


def check_options(args: argparse.Namespace) -> None:
    """Raise UsageError if options conflict."""
    options.check_source(args)
    if args.optimizer != "sgd" and (args.momentum is not None or args.nesterov):
        raise UsageError("--momentum and --nesterov need --optimizer sgd")
    if args.nesterov and not args.momentum:
        raise UsageError("--nesterov needs --momentum above 0")
    if args.dropout and args.hidden == ():
        raise UsageError("--dropout leaves out hidden units, and with --hidden none there are none")
    if args.dtype == "float64" and args.matmul_precision != HIGHEST:
        raise UsageError(f"--matmul-precision {args.matmul_precision} needs --dtype float32")


def make_optimizer(args: argparse.Namespace, source: Source) -> Optimizer:
    """Return the optimiser of the options, with the learning rate of the source by default."""
    if args.optimizer == "adam":
        return Adam(source.adam_lr if args.lr is None else args.lr)
    if args.optimizer == "sgd":
        lr = SGD().lr if args.lr is None else args.lr
        return SGD(lr, momentum=args.momentum or 0.0, nesterov=args.nesterov)
    rule: Any = resolve(args.optimizer)
    if args.lr is not None:
        rule.lr = args.lr
    optimizer: Optimizer = rule
    return optimizer


def make_network(
    args: argparse.Namespace,
    source: Source,
    prep: Preprocessing,
    *,
    seed: int | None = None,
) -> Network:
    """Return a network for `prep`, with the seed of the options or another one.

    Raises UsageError if --activation does not match the layers.
    """
    hidden = source.hidden if args.hidden is None else args.hidden
    activation = args.activation
    if len(activation) not in (1, len(hidden)):
        raise UsageError(
            f"--activation lists {counted(len(activation), 'name')} for "
            f"{counted(len(hidden), 'hidden layer')}"
        )
    classes = prep.task == "classification"
    each = activation * len(hidden) if len(activation) == 1 else activation
    layers = [Dense(n, name, dropout=args.dropout) for n, name in zip(hidden, each, strict=True)]
    return Network.from_layers(
        prep.n_inputs,
        [*layers, Dense(prep.n_outputs, "softmax" if classes else "identity")],
        loss="cross_entropy" if classes else "squared_error",
        dtype=args.dtype,
        seed=args.seed if seed is None else seed,
        l1=args.l1,
        l2=args.l2,
        matmul_precision=args.matmul_precision,
    )


def arrays(
    args: argparse.Namespace, prep: Preprocessing, table: Table, dtype: np.dtype
) -> tuple[Array, Array]:
    """Return X and y of a table."""
    return prep.inputs(table, dtype, max_bytes=args.max_bytes), prep.targets(table, dtype)
