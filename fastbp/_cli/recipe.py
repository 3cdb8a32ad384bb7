"""From the command line to data, optimiser and network: what `train` and `explain` share."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from .._network.network import Network
from .._types import Array
from ..optim import NAMES, SGD, Adam, Optimizer, resolve
from ..tabular import Table
from ..tabular._preprocessing import TASKS, Preprocessing
from . import options
from .options import UsageError
from .sources import Source


def add_data_argument(parser: argparse.ArgumentParser) -> None:
    """DATA: a built-in data set, or a file."""
    parser.add_argument(
        "data",
        metavar="DATA",
        nargs="?",
        default="digits",
        help="digits (the default), fashion-mnist, or a file ending in .csv, .npz or .npy",
    )


def add_table_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """How to read the file, and what of the table is to be learnt."""
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
        "--no-standardize", action="store_true", help="leave features and targets unscaled"
    )
    return group


def add_network_options(parser: argparse.ArgumentParser) -> None:
    """Layers, dtype and penalties."""
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


def add_training_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Batches, optimiser and seed."""
    group = parser.add_argument_group("the training")
    group.add_argument("--batch-size", metavar="N", type=options.whole("--batch-size"))
    group.add_argument("--optimizer", choices=NAMES, default="adam")
    group.add_argument(
        "--lr",
        type=options.positive("--lr"),
        help="learning rate (the optimiser's own; for fashion-mnist adam has 0.0002)",
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
    return group


def check_options(args: argparse.Namespace) -> None:
    """UsageError where options do not go together."""
    options.check_source(args)
    if args.optimizer != "sgd" and (args.momentum is not None or args.nesterov):
        raise UsageError("--momentum and --nesterov go with --optimizer sgd")
    if args.nesterov and not args.momentum:
        raise UsageError("--nesterov needs --momentum above 0")


def make_optimizer(args: argparse.Namespace, source: Source) -> Optimizer:
    """The optimiser that the options ask for, or the source's."""
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


def make_network(args: argparse.Namespace, source: Source, prep: Preprocessing) -> Network:
    """A network from the inputs to the outputs of `prep`. UsageError if --activation misfits."""
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


def arrays(
    args: argparse.Namespace, prep: Preprocessing, table: Table, dtype: np.dtype
) -> tuple[Array, Array]:
    """(X, y) of the rows of a table."""
    return prep.inputs(table, dtype, max_bytes=args.max_bytes), prep.targets(table, dtype)
