"""`fastbp train` and `fastbp predict` with a `TableModel`: a table as it is, and a preset."""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .._checks.words import counted, listed
from .._files.atomic import check_writable
from .._types import Array
from ..errors import DataError, ModelFileError
from ..tabular import Table, TableModel, read_features, read_table
from ..tabular._encoder import HIGH_CARDINALITY
from ..tabular._presets import NAMES
from ..tabular._table import choose_task
from . import options, score
from .options import UsageError
from .sources import SPLIT_SEED, check_data

PLAIN = "plain"
PRESETS = (*NAMES, PLAIN)
HOLD_OUT = 0.2

# Options of `fastbp train` that a preset decides; they make one plain network.
_OF_PLAIN = (
    "hidden",
    "activation",
    "dtype",
    "matmul_precision",
    "l1",
    "l2",
    "dropout",
    "batch_size",
    "optimizer",
    "lr",
    "momentum",
    "nesterov",
    "schedule",
    "validation_split",
    "patience",
    "parts",
    "no_standardize",
)

# Options of `fastbp train` that only a preset has, and their names.
_OF_PRESETS = {
    "--time": "time",
    "--high-cardinality": "high_cardinality",
    "--na": "na",
    "--date-format": "date_formats",
}


def add_options(parser: options.Parser) -> None:
    """Add the options of `fastbp train` about tables with a preset."""
    group = parser.add_argument_group("tables")
    group.add_argument(
        "--preset",
        choices=PRESETS,
        help="how a table is learned: fast, default and best are ensembles, which take missing "
        "values and dates too; plain is one network with the options below (default: default for a "
        "table; plain with such options, for images, and with several ranks)",
    )
    group.add_argument(
        "--time",
        metavar="TIME",
        type=options.duration,
        help="limit of the training of a preset, such as 60s, 10min or 2h, with fewer epochs and "
        "networks if it must be (default: none)",
    )
    group.add_argument(
        "--high-cardinality",
        choices=HIGH_CARDINALITY,
        help="what becomes of a text with more than 32 levels in a preset: codes are embedded in "
        "the first layer, target is the mean of the target in each level (default: auto)",
    )
    options.add_hole_options(parser)


def preset_of(args: argparse.Namespace) -> str:
    """The preset of a command line. Raises UsageError if options conflict."""
    parser: options.Parser = args.parser
    usual = vars(parser.parse_args([]))
    given = [
        "--" + name.replace("_", "-") for name in _OF_PLAIN if getattr(args, name) != usual[name]
    ]
    is_table = args.data not in options.BUILT_IN
    preset: str = args.preset or (
        "default" if is_table and not given and args.comm is None else PLAIN
    )
    if preset == PLAIN:
        wants = [option for option, name in _OF_PRESETS.items() if getattr(args, name)]
        if wants:
            why = f"; {given[0]} makes a plain network" if given and args.preset is None else ""
            raise UsageError(f"{wants[0]} needs a table and a --preset: {listed(NAMES)}{why}")
        return PLAIN
    if not is_table:
        raise UsageError(f"--preset {preset} is for tables; {args.data} takes --preset {PLAIN}")
    if given:
        raise UsageError(
            f"--preset {preset} decides {given[0]}: leave that out, or use --preset {PLAIN}"
        )
    if args.comm is not None:
        raise UsageError(f"--preset {preset} trains in one process: run it without a launcher")
    return preset


# ---- train --------------------------------------------------------------------------------


def train(args: argparse.Namespace, preset: str, report: Callable[[str], None]) -> int:
    """Train a model of a table, write it, and report its score; return the exit code."""
    options.check_source(args)
    check_writable(args.output)
    check_data(args.data)
    table = read_table(
        args.data,
        target=args.target,
        drop=args.drop,
        categorical=args.categorical,
        missing="keep",
        dates="parse",
        na=args.na,
        date_formats=args.date_formats,
        **options.file_options(args),
    )
    for note in table.notes:
        report(f"{table.source}: {note}")
    task = choose_task(table, args.task)
    fraction = HOLD_OUT if args.hold_out is None else args.hold_out
    rows, test = score.split(table, fraction, task, SPLIT_SEED)
    used = table if rows is None else table.take(rows)
    model = TableModel(
        preset,
        task=task,
        n_members=args.members,
        epochs=args.epochs,
        high_cardinality=args.high_cardinality,
        seed=args.seed,
        time_limit=args.time,
        verbose=not args.quiet,
    )
    tested = "" if test is None else f", {test.n_rows} to test"
    report(f"{table.source}: {used.n_rows} rows to train on{tested}; {task}, preset {preset}")
    interrupted = False
    try:
        model.fit(used, say=report)
    except KeyboardInterrupt:
        if not model.networks:
            raise
        interrupted = True
    report(
        f"{len(model.features)} of {len(table.names)} columns are "
        f"{model.encoder.n_inputs} inputs; the most important are {_important(model)}"
    )
    model.save(args.output)
    if test is not None:
        report(_score(model, test, used).text)
    report(f"model written to {args.output}")
    if interrupted:
        print(f"fastbp: interrupted; the model trained so far is in {args.output}", file=sys.stderr)
        return 130
    return 0


def _important(model: TableModel) -> str:
    """The names of the most important columns, with their shares."""
    shares = sorted(model.importances().items(), key=lambda each: -each[1])
    return listed([f"{name} ({100 * share:.0f} %)" for name, share in shares[:5]], 5)


def _score(model: TableModel, test: Table, train: Table) -> score.Score:
    """The score of the model on `test`, beside that of the best constant of `train`."""
    if model.task == "regression":
        answers = model.predict(test).reshape(test.n_rows, -1)
        return score.of_numbers(answers, test, train, model.target)
    outputs = model.predict_proba(test)
    index = {label: i for i, label in enumerate(model.classes)}
    classes, of_train = (
        np.array([index.get(label, -1) for label in each.require_target().tolist()])
        for each in (test, train)
    )
    found = score.of_classes(outputs, outputs.argmax(axis=1), classes, of_train)
    right = outputs[np.arange(len(classes)), classes][classes >= 0]
    loss = -np.log(np.maximum(right, np.finfo(right.dtype).tiny)).mean()
    return found._replace(text=f"{found.text}; log loss {loss:.4f}")


# ---- predict ------------------------------------------------------------------------------


def read(args: argparse.Namespace, model: TableModel) -> Table:
    """The rows of the data file, with the columns that the model takes."""
    if args.data in options.BUILT_IN:
        raise DataError(f"{args.model} is a model of a table; {args.data} has images")
    check_data(args.data)
    kinds = model.encoder.kinds
    known = model.reading
    table = read_features(
        args.data,
        model.features,
        categorical=model.encoder.categories,
        dated=[name for name, kind in kinds.items() if kind == "date"],
        n_columns=model.n_columns,
        target=model.target[0],
        keep=args.keep,
        known=model.encoder.categories if args.unknown == "error" else None,
        missing="keep",
        dates="parse",
        na=[*known.na, *args.na],
        date_formats=[*known.date_formats, *args.date_formats],
        **options.file_options(args, known),
    )
    coded = model.encoder.codes
    for name, texts in model.encoder.unseen(table).items():
        effect = "its vector is" if name in coded else "all inputs of the column are"
        print(
            f"fastbp: column {name!r}: {counted(sum(texts.values()), 'cell')} with a text that the "
            f"model does not know: {listed(map(repr, texts))}; {effect} then 0",
            file=sys.stderr,
        )
    return table


def lines(args: argparse.Namespace, model: TableModel, table: Table) -> Iterator[list[object]]:
    """The lines of the .csv file of predictions."""
    if model.task == "classification":
        outputs = model.predict_proba(table)
        names = [f"probability of {label}" for label in model.classes] if args.proba else []
        yield [*model.target, *names]
        for answer, row in zip(outputs.argmax(axis=1).tolist(), outputs, strict=True):
            yield [model.classes[answer], *(_digits(row) if args.proba else ())]
        return
    columns = [model.predict(table).reshape(table.n_rows, -1)]
    names = list(model.target)
    if args.std:
        columns.append(model.predict_std(table).reshape(table.n_rows, -1))
        names += [f"std of {name}" for name in model.target]
    yield [*names]
    places = [7 - math.floor(math.log10(scale)) for scale in model.target_scale]
    for row in np.concatenate(columns, axis=1).tolist():
        yield [str(round(number, n)) for number, n in zip(row, itertools.cycle(places))]


def check(args: argparse.Namespace, model: TableModel) -> None:
    """Raise ModelFileError for options that do not suit the task."""
    if args.proba and model.task != "classification":
        raise ModelFileError(f"{args.model}: --proba needs a model for classification")
    if args.std and model.task != "regression":
        raise ModelFileError(f"{args.model}: --std needs a model for regression")


def _digits(row: Array) -> list[Any]:
    return [str(number) for number in row]
