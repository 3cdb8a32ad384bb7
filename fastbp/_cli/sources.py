"""Where `fastbp train` and `explain` take their data from, and the recipe that goes with each."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from .. import datasets
from .._types import Array
from ..tabular import Table, from_arrays, read_table
from .options import UsageError, file_options

SPLIT_SEED = 0  # of a user's file; apart from --seed, so that seeds are scored on the same rows


@dataclass(frozen=True)
class Source:
    """A table, how to hold out rows of it (or its own test part), and hyper-parameters.

    pixel_scale: the largest value of a pixel, for images.
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
    """The source that the command line names."""
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
            raise UsageError("--hold-out does not go with fashion-mnist, which has its test images")
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
    table = read_table(
        args.data,
        target=args.target,
        drop=args.drop,
        categorical=args.categorical,
        **file_options(args),
    )
    return Source(table=table, hidden=(128, 64), epochs=100, batch_size=32, hold_out=0.2)


def test_images(name: str, folder: str | None, max_bytes: int) -> Array:
    """The test images of a built-in data set."""
    if name == "digits":
        return datasets.digits_split()[2]
    return datasets.load_fashion_mnist(folder, max_bytes=max_bytes)[2]


def _refuse_table_options(args: argparse.Namespace) -> None:
    for name in ("target", "task", "drop", "categorical"):
        if getattr(args, name):
            raise UsageError(f"--{name} goes with a data file; {args.data} has its own target")
