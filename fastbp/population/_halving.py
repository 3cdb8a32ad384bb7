"""Successive halving: all begin, and at each rung only the best go on; see `Population.halve`.

Jamieson & Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization",
AISTATS 2016; Li, Jamieson, DeSalvo, Rostamizadeh & Talwalkar, "Hyperband", JMLR 18 (185), 2018.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from .._checks import arguments as check
from .._network.network import Network
from .._ranks.team import Team
from .._types import Array
from ..history import History
from ._select import HeldOut

_End = TypeVar("_End")
# The keywords of `Population.fit` that a halving does not take, as their defaults.
ONLY_OF_FIT = {
    "initial_epoch": 0,
    "metrics": (),
    "validation_data": None,
    "X_val": None,
    "y_val": None,
    "sample_weight_val": None,
    "validation_split": 0.0,
    "checkpoint": None,
    "every": "1 epoch",
    "resume": "auto",
    "on_signal": False,
}


@dataclass(frozen=True)
class Halving:
    """What happened in a successive halving; rows are rungs, columns are members.

    Attributes
    ----------
    rungs : tuple of int
        After how many epochs the members were compared. The last one is a whole fit.
    scores : ndarray (rungs, K)
        The score of each member on the held-out data at the rung; NaN if it had ended at an earlier
        rung, or diverged.
    histories : list of History
        One for each member. Those that were not among the best say stopped_by "halving".
    best : int
        The number of the member with the best score at the last rung.
    """

    rungs: tuple[int, ...]
    scores: Array
    histories: list[History]
    best: int


class Rung(NamedTuple):
    """After how many epochs how many candidates are compared."""

    epochs: int
    n_candidates: int


class Plan(NamedTuple):
    """The rungs of a successive halving, as scikit-learn's `HalvingGridSearchCV` plans iterations.

    Attributes
    ----------
    rungs : tuple of Rung
        The last one is a whole fit.
    n_required : int
        How many there would be if at most `factor` candidates were left for the last one.
    n_possible : int
        How many there can be between min_epochs and epochs.
    """

    rungs: tuple[Rung, ...]
    n_required: int
    n_possible: int


def check_factor(factor: object) -> float:
    """The factor of a halving; TypeError or ValueError if it is not a number greater than 1."""
    value = check.check_real(factor, "factor")
    if not (math.isfinite(value) and value > 1):
        raise ValueError(
            f"factor must be greater than 1, because the best 1/factor go on at each rung; got "
            f"{value:g}"
        )
    return value


def plan_rungs(n: int, epochs: int, factor: float, min_epochs: int | None) -> Plan:
    """The rungs for n candidates and fits of `epochs` epochs.

    The last rung is a whole fit. Without min_epochs, the one before has 1/factor of its epochs, and
    so on, until one rung after the other would leave at most `factor` candidates, or the first has
    1 epoch. Otherwise the first one is min_epochs, and each further one has `factor` times the
    epochs of the one before. Numbers of epochs are rounded down, those of candidates up.

    Raises ValueError if min_epochs is more than epochs.

    >>> [tuple(rung) for rung in plan_rungs(48, 20, 3, None).rungs]
    [(2, 48), (6, 16), (20, 6)]
    >>> [tuple(rung) for rung in plan_rungs(27, 40, 3, 1).rungs]
    [(1, 27), (3, 9), (9, 3), (40, 1)]
    """
    if min_epochs is not None and min_epochs > epochs:
        raise ValueError(f"min_epochs is {min_epochs}; a whole fit has {epochs} epochs, not more")
    n_required = _count_powers(n, factor)
    n_possible = _count_powers(epochs / (min_epochs or 1), factor)
    n_rungs = min(n_required, n_possible)
    first = min_epochs or epochs / factor ** (n_rungs - 1)
    lengths: list[int] = []
    for i in range(n_rungs - 1):  # a factor near 1 gives the same number twice
        length = max(int(first * factor**i + 1e-9), *(last + 1 for last in lengths[-1:]), 1)
        if length < epochs:
            lengths.append(length)
    left = [n]
    for _ in lengths:
        left.append(math.ceil(left[-1] / factor))
    rungs = tuple(Rung(*pair) for pair in zip([*lengths, epochs], left, strict=True))
    return Plan(rungs, n_required, n_possible)


def _count_powers(ratio: float, factor: float) -> int:
    """How many of the numbers 1, factor, factor², … are at most `ratio`, which is at least 1."""
    count = 1
    while factor**count <= ratio * (1 + 1e-9):
        count += 1
    return count


class Bracket(Generic[_End]):
    """A successive halving while it runs: it judges the fits; see `_together.Judge`.

    Parameters
    ----------
    plan : Plan
        The rungs.
    score : callable
        (number of the rung, candidates, what the fits that have ended returned) → a score for each
        of the candidates, better the higher it is; NaN is worse than all others.
    n_fits : int, default 1
        Each candidate has so many fits, whose numbers follow each other.

    Attributes
    ----------
    remaining : list of int
        The candidates that have not lost, the best at the last rung first.
    """

    def __init__(
        self,
        plan: Plan,
        score: Callable[[int, Sequence[int], Mapping[int, _End]], Sequence[float]],
        n_fits: int = 1,
    ) -> None:
        self._plan, self._score, self._n_fits = plan.rungs, score, n_fits
        self.rungs = frozenset(rung.epochs for rung in plan.rungs[:-1])
        self.remaining = list(range(plan.rungs[0].n_candidates))
        self._rung = 0

    def judge(self, ended: Mapping[int, _End]) -> set[int]:
        """The fits of the candidates that go on."""
        self._compare(ended)
        return {c * self._n_fits + i for c in self.remaining for i in range(self._n_fits)}

    def finish(self, ended: Mapping[int, _End]) -> int:
        """The best candidate. Where all fits ended before the last rung, they are as they are."""
        while self._rung < len(self._plan):
            self._compare(ended)
        return self.remaining[0]

    def _compare(self, ended: Mapping[int, _End]) -> None:
        """Score the remaining candidates, and keep the best of them for the next rung."""
        candidates = sorted(self.remaining)
        scores = np.asarray(self._score(self._rung, candidates, ended), np.float64)
        order = np.argsort(np.where(np.isnan(scores), np.inf, -scores), kind="stable")
        self._rung += 1
        if self._rung < len(self._plan):
            order = order[: self._plan[self._rung].n_candidates]
        self.remaining = [candidates[i] for i in order]


def halve(
    nets: Sequence[Network],
    plan: Plan,
    held_out: HeldOut,
    fit: Callable[[Bracket[History]], list[History]],
    team: Team | None = None,
) -> Halving:
    """Train members with the fits that a bracket judges; see `Population.halve`.

    team: ranks that score members of their own.
    """
    scores = np.full((len(plan.rungs), len(nets)), np.nan)

    def score(rung: int, candidates: Sequence[int], ended: Mapping[int, History]) -> list[float]:
        def score_own() -> dict[int, float]:
            own = [k for k in candidates if team is None or team.has(k)]
            diverged = {k for k in own if k in ended and ended[k].stopped_by == "divergence"}
            return {k: held_out.score(k) for k in own if k not in diverged}

        found = score_own() if team is None else team.gather(score_own)
        scores[rung, list(found)] = list(found.values())
        return [held_out.sign * float(scores[rung, k]) for k in candidates]

    bracket = Bracket(plan, score)
    histories = fit(bracket)
    best = bracket.finish(dict(enumerate(histories)))
    return Halving(tuple(rung.epochs for rung in plan.rungs), scores, histories, best)
