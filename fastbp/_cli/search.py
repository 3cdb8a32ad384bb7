"""`fastbp search`: successive halving over hyper-parameters, for the data of `fastbp train`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from .. import metrics
from .._files.atomic import check_writable, write_text
from .._network.network import Network
from .._training.splits import hold_out
from .._types import Array
from ..history import History
from ..population._halving import ONLY_OF_FIT, Bracket, Plan, plan_rungs
from ..population._together import fit_together
from ..tabular._preprocessing import Preprocessing
from ..tabular._table import choose_task
from . import members, options, recipe
from .board import Board
from .options import UsageError
from .sources import open_source
from .train import report_score, show, split_rows
from .trials import Trial, as_csv, as_text, make_trials, ranked

_TRIALS = 100
_SHARE = 0.2  # default of --validation-split
_FACTOR = 3.0
_FIRST = 27  # the first trials end at 1/27 of the epochs
_SHOWN = 5  # trials in the table at the end

_EXAMPLES = """\
examples:
  fastbp search                               on the digits that come with fastbp
  fastbp search houses.csv --target price --trials 200 --table trials.csv
  fastbp search houses.csv --target price --time 60s
  fastbp search iris.csv --hidden 16 --lr 0.01      only the penalty and the dropout are searched

Successive halving: all trials are trained for a few epochs, the best third of them goes on to three
times as many, and so on; the last few are trained for all epochs. What is compared is the accuracy,
or R2, on a fraction of the training rows, on which the trials are not trained. The rows of
--hold-out are scored at the end, with the best trial only.

The trials differ in the number and the width of their hidden layers, in the learning rate, the
penalty --l2 and the dropout. Trial 1 has what fastbp train has by default. An option that is given
is the same in all trials. One --seed gives the same result again, unless --time ends the search.
Ctrl-C ends it too, and the best trial so far is written.
"""


def add_parser(subparsers: options.Subparsers) -> options.Parser:
    """Add this command to the parser."""
    parser = subparsers.add_parser(
        "search",
        usage="fastbp search [OPTIONS] [DATA]",
        help="search for good hyper-parameters, and write the best network to a file",
        description="Train many networks, let the best go on, and write the best of them to a "
        "model file.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    recipe.add_data_argument(parser)
    recipe.add_output_options(parser)
    parser.add_argument("--table", metavar="CSV", help="file to write all trials to")
    _add_search_options(parser)
    recipe.add_table_options(parser).add_argument(
        "--hold-out",
        metavar="FRACTION",
        type=options.fraction("--hold-out"),
        help="fraction of the rows to hold out from the search and to score at the end (default: "
        "0.2; 0.25 for digits)",
    )
    recipe.add_network_options(parser, searched=True)
    recipe.add_length_options(recipe.add_training_options(parser, searched=True))
    return parser


def _add_search_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the search")
    group.add_argument(
        "--trials",
        metavar="N",
        type=options.whole("--trials"),
        default=_TRIALS,
        help=f"how many networks begin (default: {_TRIALS})",
    )
    group.add_argument(
        "--time",
        metavar="TIME",
        type=options.duration,
        help="end the training after this time, such as 60s, 10min or 2h (default: no limit)",
    )
    group.add_argument(
        "--min-epochs",
        metavar="N",
        type=options.whole("--min-epochs"),
        help=f"epochs of all trials before the first comparison (default: 1/{_FIRST} of --epochs)",
    )
    group.add_argument(
        "--validation-split",
        metavar="FRACTION",
        type=options.fraction("--validation-split"),
        default=_SHARE,
        help="fraction of the training rows on which trials are compared, instead of training on "
        f"them (default: {_SHARE})",
    )


def run(args: argparse.Namespace) -> int:
    """Search, write the best model and the table, and print scores."""
    report = (lambda text: None) if args.quiet else show
    _check(args)
    source = open_source(args)
    for note in source.table.notes:
        report(f"{source.table.source}: {note}")
    task = choose_task(source.table, args.task)
    train_rows, test = split_rows(source, args, task)
    prep = Preprocessing.fit(
        source.table,
        task,
        rows=train_rows,
        standardize=not args.no_standardize,
        pixel_scale=source.pixel_scale,
    )
    trials = make_trials(args, source, prep)
    plan = _plan(args, source.epochs)
    train = source.table if train_rows is None else source.table.take(train_rows)
    X, y = recipe.arrays(args, prep, train, trials[0].net.dtype)
    search = _Search(args, trials, plan, X, y, args.batch_size or source.batch_size)
    rows = f"{len(search.fit_rows)} rows to train on, {len(search.held_rows)} to compare trials"
    tested = "" if test is None else f", {test.n_rows} to test"
    report(f"{train.source}: {rows}{tested}; {len(prep.features)} features, {prep.task}")
    best = search.run()
    members.write([best.net], args.output, prep, as_population=False)
    order = ranked(trials)
    if args.table is not None:
        write_text(args.table, as_csv(order, search.score_name))
    for line in as_text(order[:_SHOWN], f"validation {search.score_name}"):
        report(line)
    if test is not None:
        inputs = prep.inputs(test, best.net.dtype, max_bytes=args.max_bytes)
        report_score(report, [best.net], prep, inputs, test, train)
    if search.out_of_time:
        report(f"--time ended the training at epoch {best.epochs} of {plan.rungs[-1].epochs}")
    report(f"model written to {args.output}; {best}")
    if args.table is not None:
        report(f"{len(order)} trials written to {args.table}")
    if search.interrupted:
        print(
            f"fastbp: interrupted at {best.epochs} of {plan.rungs[-1].epochs} epochs; the best "
            f"model so far is in {args.output}",
            file=sys.stderr,
        )
        return 130
    return 0


def _check(args: argparse.Namespace) -> None:
    """Raise UsageError for options that conflict, and OSError for files that cannot be written."""
    recipe.check_options(args)
    if args.validation_split == 0:
        raise UsageError("--validation-split must be above 0: trials are compared on these rows")
    if args.hidden is None and len(args.activation) > 1:
        raise UsageError(
            f"--activation lists {len(args.activation)} names, and the number of hidden layers is "
            "searched: give one activation for all, or --hidden"
        )
    if args.table is not None and os.path.realpath(args.table) == os.path.realpath(args.output):
        raise UsageError(f"--table and --output name the same file, {args.table}")
    for path in (args.output, args.table):
        if path is not None:
            check_writable(path)


def _plan(args: argparse.Namespace, epochs_of_source: int) -> Plan:
    """The rungs of the search."""
    epochs = args.epochs or epochs_of_source
    if args.min_epochs is not None and args.min_epochs > epochs:
        raise UsageError(f"--min-epochs {args.min_epochs} is more than --epochs {epochs}")
    first = args.min_epochs or max(1, epochs // _FIRST)
    return plan_rungs(args.trials, epochs, _FACTOR, first)


class _Search:
    """The training of all trials, which it judges; see `population._together.Judge`.

    Parameters
    ----------
    args : Namespace
        The command line.
    trials : list of Trial
        The trials; they change.
    plan : Plan
        When they are compared.
    X, y : arrays
        The prepared training rows, of which a fraction is held out here.
    batch_size : int
        Rows of a batch.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        trials: Sequence[Trial],
        plan: Plan,
        X: Array,
        y: Array,
        batch_size: int,
    ) -> None:
        self._args, self._trials, self._plan, self._X, self._y = args, trials, plan, X, y
        # The rows that `fastbp train --validation-split` holds out.
        self.fit_rows, self.held_rows = hold_out(
            len(X),
            args.validation_split,
            "--validation-split",
            seed=args.seed,
            labels=y if y.ndim == 1 else None,
        )
        self._X_val, self._y_val = X[self.held_rows], y[self.held_rows]
        self._batch_size = batch_size
        self._steps = -(-len(self.fit_rows) // batch_size)  # of an epoch
        self.score_name = "accuracy" if y.ndim == 1 else "R2"
        self._board = Board(trials, self.score_name, quiet=args.quiet)
        self._bracket = Bracket(plan, self._score)
        self._ended: Mapping[int, History] = {}
        self.interrupted = False

    def run(self) -> Trial:
        """Train; returns the best trial. Raises ValueError if all diverge."""
        self._begin(0)
        try:
            histories = self._fit()
        except KeyboardInterrupt:
            self.interrupted = True
        else:
            self._ended = dict(enumerate(histories))
        best = self._trials[self._bracket.finish(self._ended)]
        if np.isnan(best.key):
            raise ValueError(
                f"all {len(self._trials)} trials diverged: give a smaller --lr, or scale the data"
            )
        if not (self.interrupted or self.out_of_time):
            self._board.ranked()
        return best

    @property
    def out_of_time(self) -> bool:
        """Whether --time has ended the training."""
        return any(trial.stopped_by == "time_budget" for trial in self._trials)

    def _fit(self) -> list[History]:
        keywords = ONLY_OF_FIT | {
            "epochs": self._plan.rungs[-1].epochs,
            "batch_size": self._batch_size,
            "accumulate": 1,
            "optimizer": [trial.optimizer for trial in self._trials],
            "schedule": self._args.schedule,
            "shuffle": True,
            "sample_weight": None,
            "class_weight": None,
            "callbacks": (),
            "time_budget": self._args.time,
            "progress": False,
            "n_threads": None,
        }
        nets = [trial.net for trial in self._trials]
        rows = [self.fit_rows] * len(nets)
        return fit_together(nets, self._X, self._y, rows, keywords, self, self._board)

    # ---- the judge ------------------------------------------------------------------------

    @property
    def rungs(self) -> Collection[int]:
        """After how many epochs trials are compared."""
        return self._bracket.rungs

    def judge(self, ended: Mapping[int, History]) -> set[int]:
        """The trials that go on."""
        self._ended = dict(ended)
        chosen = self._bracket.judge(ended)
        rung = max(trial.rung for trial in self._trials)
        for k, trial in enumerate(self._trials):
            if trial.rung == rung and k not in chosen and k not in ended:
                trial.stopped_by = "halving"
        self._board.ranked()
        self._begin(rung + 1)
        return chosen

    def _begin(self, rung: int) -> None:
        epochs, n_left = self._plan.rungs[rung]
        self._board.begin(n_left, epochs)

    def _score(
        self, rung: int, candidates: Sequence[int], ended: Mapping[int, History]
    ) -> list[float]:
        """Score trials on the held-out rows, and record it."""
        for k in candidates:
            trial, history = self._trials[k], ended.get(k)
            trial.rung = rung
            trial.epochs = trial.optimizer.t // self._steps if history is None else history.epochs
            if history is not None:
                trial.stopped_by = history.stopped_by or ""
            elif self.interrupted:
                trial.stopped_by = "interrupt"
            if trial.stopped_by != "divergence":
                trial.score, trial.key = self._score_of(trial.net)
        return [self._trials[k].key for k in candidates]

    def _score_of(self, net: Network) -> tuple[float, float]:
        """The score of a network, and a number that sorts by it, then by the cross-entropy."""
        outputs, n = Network.predict(net, self._X_val), len(self._y_val)
        if self._y.ndim > 1:
            score = metrics.r2(outputs, self._y_val)
            return score, score
        score = metrics.accuracy(outputs, self._y_val)
        p = outputs[np.arange(n), self._y_val].astype(np.float64)
        cross_entropy = -np.log(np.maximum(p, np.finfo(outputs.dtype).tiny)).mean()
        # Accuracies differ by 1/n at least, and this adds less than 1/n.
        return score, score + 0.5 / (n * (1.0 + cross_entropy))
