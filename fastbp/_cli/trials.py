"""The trials of `fastbp search`: what is drawn, from which ranges, and what became of each."""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import nan

import numpy as np

from .._network.network import Network
from ..optim import Optimizer
from ..tabular._preprocessing import Preprocessing
from . import recipe
from .sources import Source

# Bengio, "Practical recommendations for gradient-based training of deep architectures",
# arXiv:1206.5533, 2012: all on logarithmic scales, the learning rate around its default first.
WIDTHS = (16, 32, 64, 128, 256)
DEPTHS = (1, 2, 3)
RATES = (0.3, 30.0)  # times the default of the optimiser
PENALTIES = (1e-7, 1e-2)
DROPOUTS = (0.0, 0.5)  # of half of the trials; the others have none


@dataclass
class Trial:
    """One network with its hyper-parameters, and how far it came.

    Attributes
    ----------
    number : int
        From 1.
    net, optimizer
        What is trained.
    dropout : float
        Of its hidden layers.
    rung : int
        The last rung at which it was scored, from 0; −1 before the first.
    epochs : int
        Complete epochs at its last score.
    score, key : float
        Its last score, and what sorts trials: the better the higher; NaN if it diverged.
    stopped_by : str
        What ended its fit, as in a History; "interrupt" for Ctrl-C; "" if it trained all epochs.
    """

    number: int
    net: Network
    optimizer: Optimizer
    dropout: float
    rung: int = -1
    epochs: int = 0
    score: float = nan
    key: float = nan
    stopped_by: str = field(default="")

    @property
    def hidden(self) -> str:
        """The widths of the hidden layers, as --hidden takes them."""
        return ",".join(map(str, self.net.widths[1:-1])) or "none"

    def __str__(self) -> str:
        return (
            f"trial {self.number}: --hidden {self.hidden} --lr {self.optimizer.lr:.4g} "
            f"--l2 {self.net.l2:.4g} --dropout {self.dropout:.2g}"
        )


def make_trials(args: argparse.Namespace, source: Source, prep: Preprocessing) -> list[Trial]:
    """The trials of the command line: the first as `fastbp train` has it, the others drawn.

    Options that are given are not drawn. Trial k is the same whatever the number of trials is.
    """
    return [_trial(args, source, prep, number) for number in range(1, args.trials + 1)]


def _trial(args: argparse.Namespace, source: Source, prep: Preprocessing, number: int) -> Trial:
    rng = np.random.default_rng([args.seed, number])
    drawn = {
        "hidden": (int(rng.choice(WIDTHS)),) * int(rng.choice(DEPTHS)),
        "lr": recipe.make_optimizer(args, source).lr * _log_uniform(rng, *RATES),
        "l2": _log_uniform(rng, *PENALTIES),
        "dropout": float(max(0.0, rng.uniform(-DROPOUTS[1], DROPOUTS[1]))),
    }
    if number == 1:
        drawn = {"hidden": None, "lr": None, "l2": 0.0, "dropout": 0.0}
    given = vars(args)
    own = given | {name: value for name, value in drawn.items() if given[name] is None}
    if own["hidden"] == ():
        own["dropout"] = 0.0
    chosen = argparse.Namespace(**own)
    net = recipe.make_network(chosen, source, prep)
    return Trial(number, net, recipe.make_optimizer(chosen, source), chosen.dropout)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


# ---- tables -------------------------------------------------------------------------------


def ranked(trials: Iterable[Trial]) -> list[Trial]:
    """The trials that have a place: those that came further first, of these the best first."""
    scored = (trial for trial in trials if trial.rung >= 0)
    return sorted(scored, key=lambda t: (-t.rung, -t.key if t.key == t.key else np.inf, t.number))


def as_text(trials: Iterable[Trial], score_name: str) -> list[str]:
    """Lines of a table for people: the names of the columns, and a line per trial."""
    heads = ("trial", score_name, "epochs", "hidden", "lr", "l2", "dropout")
    rows = [
        (
            str(trial.number),
            f"{trial.score:.4f}",
            str(trial.epochs),
            trial.hidden,
            f"{trial.optimizer.lr:.3g}",
            f"{trial.net.l2:.3g}",
            f"{trial.dropout:.2f}",
        )
        for trial in trials
    ]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in (heads, *rows)
    ]


def as_csv(trials: Iterable[Trial], score_name: str) -> str:
    """The table of a file; numbers are exact."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = ("rank", "trial", "hidden", "lr", "l2", "dropout", "epochs")
    writer.writerow([*names, f"validation_{score_name}", "stopped_by"])
    for rank, trial in enumerate(trials, 1):
        numbers = (trial.optimizer.lr, trial.net.l2, trial.dropout)
        cells = [rank, trial.number, trial.hidden, *map(repr, map(float, numbers)), trial.epochs]
        writer.writerow([*cells, repr(trial.score), trial.stopped_by])
    return text.getvalue()
