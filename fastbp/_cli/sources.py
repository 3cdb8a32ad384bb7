"""The data of `fastbp train` and `explain`, each with suitable hyper-parameters."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass

from .. import datasets
from .._checks.names import did_you_mean
from .._types import Array
from ..errors import DataError
from ..tabular import Table, from_arrays, read_table
from ..tabular._read import ENDINGS
from .options import BUILT_IN, UsageError, file_options

SPLIT_SEED = 0  # for files; not --seed, so that models of all seeds are scored on the same rows


@dataclass(frozen=True)
class Source:
    """A table, its test rows, and hyper-parameters.

    Parameters
    ----------
    table : Table
        The data.
    hidden : tuple of int
        The widths of the hidden layers.
    epochs, batch_size : int
        As for `Network.fit`.
    adam_lr : float
        The learning rate of Adam.
    test : Table, optional
        The test rows, if the data set has its own.
    hold_out : float
        The fraction of `table` to hold out otherwise.
    split_seed : int
        The seed that selects the rows to hold out.
    pixel_scale : float, optional
        The largest value of a pixel, if the rows are images.
    """

    table: Table
    hidden: tuple[int, ...]
    epochs: int
    batch_size: int
    adam_lr: float = 0.001
    test: Table | None = None
    hold_out: float = 0.0
    split_seed: int = SPLIT_SEED
    pixel_scale: float | None = None


def open_source(args: argparse.Namespace) -> Source:
    """Return the data that the command line names."""
    if args.data == "digits":
        _refuse_table_options(args)
        X, y = datasets.load_digits()
        return Source(
            table=from_arrays("digits", X, y, target="digit"),
            hidden=(256,),
            epochs=60,
            batch_size=32,
            hold_out=datasets.DIGITS_SPLIT["fraction"],
            split_seed=datasets.DIGITS_SPLIT["seed"],
            pixel_scale=16.0,
        )
    if args.data == "fashion-mnist":
        _refuse_table_options(args)
        if args.hold_out is not None:
            raise UsageError("--hold-out does not apply to fashion-mnist, which has test images")
        X, y, X_test, y_test = datasets.load_fashion_mnist(args.folder, max_bytes=args.max_bytes)
        return Source(
            table=from_arrays("fashion-mnist", X, y, target="class"),
            hidden=(256, 128, 100),
            epochs=15,
            batch_size=128,
            adam_lr=0.0002,
            test=from_arrays("fashion-mnist", X_test, y_test, target="class"),
            pixel_scale=255.0,
        )
    check_data(args.data)
    table = read_table(
        args.data,
        target=args.target,
        drop=args.drop,
        categorical=args.categorical,
        **file_options(args),
    )
    return Source(table=table, hidden=(128, 64), epochs=100, batch_size=32, hold_out=0.2)


def check_data(data: str) -> None:
    """Raise DataError if `data` is neither a built-in data set nor can be a file of one."""
    if data not in BUILT_IN and not os.path.splitext(data)[1] and not os.path.exists(data):
        raise DataError(
            f"{data}: expected a file ending in {', '.join(ENDINGS)}, or one of "
            f"{', '.join(BUILT_IN)}{did_you_mean(data, BUILT_IN)}"
        )


def test_images(name: str, folder: str | None, max_bytes: int) -> Array:
    """Return the test images of a built-in data set."""
    if name == "digits":
        return datasets.digits_split()[2]
    return datasets.load_fashion_mnist(folder, max_bytes=max_bytes)[2]


def _refuse_table_options(args: argparse.Namespace) -> None:
    for name in ("target", "task", "drop", "categorical"):
        if getattr(args, name):
            raise UsageError(f"--{name} applies to data files only; {args.data} has its own target")
