"""`fastbp predict`: write the predictions of a model for the rows of a file, as .csv."""

from __future__ import annotations

import argparse
import csv
import errno
import io
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TextIO

import numpy as np

from .._files.atomic import atomic_write, check_writable, naming
from .._files.safetensors import open_reader
from .._network.model_file import FORMAT
from .._network.network import Network
from .._precision import HIGHEST, NAMES
from .._types import Array
from ..errors import DataError, ModelFileError
from ..io import load
from ..population import Population
from ..population._file import is_of_population
from ..tabular import Table, TableModel, from_arrays, read_features
from ..tabular._csv import Format
from ..tabular._preprocessing import UNKNOWN, Preprocessing
from . import members, options, tables
from .options import UsageError
from .sources import check_data, test_images


def add_parser(subparsers: options.Subparsers) -> options.Parser:
    """Add this command to the parser."""
    parser = subparsers.add_parser(
        "predict",
        usage="fastbp predict [OPTIONS] MODEL DATA",
        help="write a model's predictions for the rows of a file",
        description="Write the predictions of a model as .csv: a header line and one line per row.",
    )
    parser.add_argument("model", metavar="MODEL", help="file written by fastbp train or net.save")
    parser.add_argument(
        "data",
        metavar="DATA",
        help="a .csv, .npz or .npy file; or digits or fashion-mnist, for their test images",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="CSV",
        default="-",
        help="file to write (default: standard output)",
    )
    parser.add_argument(
        "--proba", action="store_true", help="write the probability of each class too"
    )
    parser.add_argument(
        "--std",
        action="store_true",
        help="write how far the members disagree too, as a standard deviation for each target; for "
        "a regression that fastbp train --members 8 has written",
    )
    parser.add_argument(
        "--keep",
        metavar="COLUMN,…",
        action="append",
        default=[],
        help="columns of DATA, a .csv file, to copy into the output as first columns, by name or "
        "number, such as an identifier; may be repeated",
    )
    parser.add_argument(
        "--unknown",
        choices=UNKNOWN,
        help="what to do with a category that was not in the training file: error, or ignore, "
        "which sets all inputs of the column to 0 in that row (default: ignore, and say so, for a "
        "model of a preset; otherwise error)",
    )
    parser.add_argument(
        "--matmul-precision",
        choices=NAMES,
        help=f"{options.PRECISIONS} (default: as the model was trained)",
    )
    options.add_file_options(parser)
    options.add_hole_options(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Predict, and write the predictions."""
    options.check_source(args)
    if args.keep and args.data in options.BUILT_IN:
        raise UsageError(f"--keep applies to data files only; {args.data} has images")
    if args.output != "-" and not _is_device(args.output):
        check_writable(args.output)
    model = _load(args)
    if isinstance(model, TableModel):
        return _with_table(args, model)
    nets = [model] if isinstance(model, Network) else list(model)
    if args.matmul_precision is not None:
        _set_precision(nets, args.matmul_precision)
    prep = _preprocessing(nets[0], args.model)
    if args.proba and prep.task != "classification":
        raise ModelFileError(f"{args.model}: --proba needs a model for classification")
    if args.std and (len(nets) == 1 or prep.task != "regression"):
        raise ModelFileError(
            f"{args.model}: --std needs a model for regression with several members, as "
            "fastbp train --members 8 writes it"
        )
    table = _read(args, prep, by_name=nets[0].preprocessing is not None)
    for note in table.notes:
        print(f"fastbp: {note}", file=sys.stderr)
    dtype = np.result_type(*(net.dtype for net in nets))
    X = prep.inputs(table, dtype, unknown=args.unknown or "error", max_bytes=args.max_bytes)
    for problem in prep.unknown_categories(table) if args.unknown == "ignore" else ():
        print(f"fastbp: {problem.column}: {problem.what}; ignored", file=sys.stderr)
    lines = _lines(prep, members.outputs_of_each(nets, X), proba=args.proba, std=args.std)
    _write(args.output, _beside(table.kept, lines))
    return 0


def _with_table(args: argparse.Namespace, model: TableModel) -> int:
    """Predict with a model of a table, and write the predictions."""
    tables.check(args, model)
    if args.matmul_precision is not None:
        _set_precision(model.networks, args.matmul_precision)
    table = tables.read(args, model)
    for note in table.notes:
        print(f"fastbp: {note}", file=sys.stderr)
    _write(args.output, _beside(table.kept, tables.lines(args, model, table)))
    return 0


def _load(args: argparse.Namespace) -> Network | Population | TableModel:
    """Load the model.

    If DATA is a model and MODEL is not, the error says that they look swapped.
    """
    try:
        model = load(args.model)
    except (ModelFileError, FileNotFoundError) as error:
        if args.data in options.BUILT_IN or not _is_model(args.data):
            raise
        right = shlex.join([args.data, args.model])
        raise ModelFileError(
            f"{args.model} is no model, and {args.data} is one: the arguments look swapped; write "
            f"fastbp predict {right}"
        ) from error
    if isinstance(model, Population):
        _check_members(model, args.model)
    return model


def _check_members(population: Population, path: str) -> None:
    """Raise ModelFileError unless the mean of the members' outputs is a prediction."""
    first = population[0]
    differ = ""
    for net in population:
        if net.criterion != first.criterion or net.activations[-1] != first.activations[-1]:
            differ = "their losses or their output activations"
        elif net.preprocessing != first.preprocessing:
            differ = "their preprocessing"
    way = "save a member of it by itself, fastbp.load(path)[0].save(...)"
    if differ:
        raise ModelFileError(
            f"{path} is a population of {len(population)} networks that differ in {differ}, so "
            f"that the mean of their outputs is no prediction: {way}"
        )
    if len(population) > 1 and first.criterion.entry.std is not None:
        raise ModelFileError(
            f"{path} is a population of {len(population)} networks with the loss "
            f"{first.criterion}, whose outputs have no mean that is a prediction: {way}"
        )


def _is_model(path: str) -> bool:
    try:
        with open_reader(path) as reader:
            return reader.metadata.get("format") == FORMAT or is_of_population(reader)
    except (ModelFileError, OSError):
        return False


def _set_precision(nets: Sequence[Network], precision: str) -> None:
    for net in nets:
        if net.dtype == np.float64 and precision != HIGHEST:
            raise UsageError(
                f"the model is {net.dtype}, which takes --matmul-precision {HIGHEST} only; "
                f"got {precision}: leave --matmul-precision out"
            )
        net.matmul_precision = precision


def _preprocessing(net: Network, path: str) -> Preprocessing:
    """Return the preprocessing of the model file, or one that changes nothing if it has none."""
    n_in, n_out = net.widths[0], net.widths[-1]
    if net.preprocessing is None:
        return _plain(n_in, n_out, labels=net.criterion.labels)
    try:
        return Preprocessing.of_network(net.preprocessing, net.widths)
    except ValueError as error:
        raise ModelFileError(f"{path}: invalid preprocessing: {error}") from error


def _plain(n_in: int, n_out: int, *, labels: bool) -> Preprocessing:
    """A Preprocessing that changes nothing, for a network without one."""
    n_numbers = 0 if labels else n_out
    return Preprocessing(
        task="classification" if labels else "regression",
        features=tuple(str(i + 1) for i in range(n_in)),
        n_columns=n_in,
        categories={},
        mean=(0.0,) * n_in,
        scale=(1.0,) * n_in,
        target=("class",) if labels else tuple(f"output{i + 1}" for i in range(n_out)),
        classes=tuple(range(n_out)) if labels else (),
        target_mean=(0.0,) * n_numbers,
        target_scale=(1.0,) * n_numbers,
    )


def _read(args: argparse.Namespace, prep: Preprocessing, *, by_name: bool) -> Table:
    if args.data in options.BUILT_IN:
        table = from_arrays(args.data, test_images(args.data, args.folder, args.max_bytes))
    else:
        check_data(args.data)
        table = read_features(
            args.data,
            prep.features if by_name else None,
            categorical=prep.categories,
            n_columns=prep.n_columns,
            target=prep.target[0],
            keep=args.keep,
            known=None if args.unknown == "ignore" else prep.categories,
            **options.file_options(args, Format(decimal=prep.decimal, thousands=prep.thousands)),
        )
    if len(table.names) != len(prep.features) or len(table.text) != len(prep.categories):
        raise DataError(
            f"{args.data}: the model takes {len(prep.features)} columns, {len(prep.categories)} "
            f"of them text; the file has {len(table.names)}, {len(table.text)} of them text"
        )
    return table


def _lines(prep: Preprocessing, each: Array, *, proba: bool, std: bool) -> Iterator[list[object]]:
    """Yield the lines of the .csv file; numbers have as many digits as identify them.

    `each` are the outputs of every member, (members, n, n_L).
    """
    outputs = members.mean_of(each)
    answers = prep.answers(outputs)
    if prep.task == "classification":
        names = [f"probability of {label}" for label in prep.classes] if proba else []
        yield [*prep.target, *names]
        for answer, row in zip(answers.tolist(), outputs, strict=True):
            yield [prep.classes[answer], *(_digits(row) if proba else ())]
        return
    found = answers.astype(outputs.dtype)
    names = list(prep.target)
    if std:
        spread = np.stack([prep.answers(one) for one in each]).std(axis=0)
        found = np.concatenate([found, spread.astype(outputs.dtype)], axis=1)
        names += [f"std of {name}" for name in prep.target]
    yield [*names]
    for row in found:
        yield [*_digits(row)]


def _beside(kept: Mapping[str, Array], lines: Iterator[list[object]]) -> Iterator[list[object]]:
    """Yield lines with the texts of kept columns in front.

    A prediction that has the name of a kept column, which may be the target, is renamed.
    """
    if not kept:
        yield from lines
        return
    yield [*kept, *(_renamed(str(name), kept) for name in next(lines))]
    for *texts, line in zip(*kept.values(), lines, strict=True):
        yield [*texts, *line]


def _renamed(name: str, kept: Iterable[str]) -> str:
    """Return a name that no kept column has."""
    while name in kept:
        name = f"predicted {name}"
    return name


def _digits(row: Array) -> list[str]:
    return [str(number) for number in row]


def _write(path: str, lines: Iterable[list[object]]) -> None:
    if path == "-":
        if sys.stdout is None:  # closed
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        _write_lines(sys.stdout, lines)
    elif _is_device(path):
        with naming(path), open(path, "w", encoding="utf-8", newline="") as file:
            _write_lines(file, lines)
    else:
        with atomic_write(path) as file:
            text = io.TextIOWrapper(file, encoding="utf-8", newline="")
            _write_lines(text, lines)
            text.detach()


def _is_device(path: str) -> bool:
    """Whether a path is a pipe or a device, which must not be replaced by a file."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def _write_lines(file: TextIO, lines: Iterable[list[object]]) -> None:
    # Row by row: if stdout is unbuffered, Python loses what a pipe does not accept at once.
    csv.writer(file, lineterminator="\n").writerows(lines)
