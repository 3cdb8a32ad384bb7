"""Population-based training; see `Population.evolve`.

Jaderberg et al., "Population Based Training of Neural Networks", arXiv:1711.09846, 2017.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np

from .._checks import arguments as check
from .._network.network import Network
from .._ranks.team import Team
from .._types import Array
from ..history import History
from ..optim import Optimizer
from ..optim import resolve as resolve_optimizer
from ._each import spread
from ._select import HeldOut


@dataclass(frozen=True)
class Evolution:
    """What happened in a population-based training; rows are rounds, columns are members.

    Attributes
    ----------
    scores : ndarray (rounds, K)
        The score of each member on the held-out data after the round; NaN if it diverged.
    rates : ndarray (rounds, K)
        The learning rate with which it was trained in the round.
    parents : ndarray (rounds, K) of int
        The member whose parameters it had after the round: its own number, unless it copied.
    best : int
        The number of the member with the best score after the last round.
    """

    scores: Array
    rates: Array
    parents: Array
    best: int


@dataclass(frozen=True)
class Rules:
    """Checked arguments of an evolution: who copies, and what becomes of the rates."""

    rounds: int
    epochs: int
    quantile: float
    factors: tuple[float, ...]
    seed: int

    def successors(
        self, round_number: int, ranking: Sequence[int], n_valid: int
    ) -> dict[int, tuple[int, float]]:
        """Which member copies which other one, and the factor of the rate.

        `ranking` has the members, the best first, of which the first n_valid have a score. All
        others copy, even if they are more than the quantile.

        >>> Rules(2, 1, 0.25, (0.8, 1.25), 0).successors(0, [2, 0, 1, 3], 4)
        {3: (2, 1.25)}
        """
        n = max(1, int(self.quantile * len(ranking)))
        best, worst = ranking[: min(n, n_valid)], ranking[min(len(ranking) - n, n_valid) :]
        if not best:
            return {}
        rng = np.random.default_rng([self.seed, round_number])
        return {
            k: (best[int(rng.integers(len(best)))], float(rng.choice(self.factors))) for k in worst
        }


def check_rules(
    n: int, rounds: object, epochs: object, quantile: object, factors: object, seed: object
) -> Rules:
    """The rules of an evolution of n members; TypeError or ValueError for bad arguments."""
    if n < 2:
        raise ValueError("evolve needs at least two members: one copies the other")
    share = check.check_positive(quantile, "quantile")
    if share > 0.5:
        raise ValueError(f"quantile must be at most 0.5, or members would copy worse; got {share}")
    if not isinstance(factors, (tuple, list)) or not factors:
        raise TypeError(f"factors must be numbers such as (0.8, 1.25); got {factors!r}")
    return Rules(
        check.check_positive_int(rounds, "rounds"),
        check.check_positive_int(epochs, "epochs"),
        share,
        tuple(check.check_positive(x, f"factors[{i}]") for i, x in enumerate(factors)),
        check.check_seed(seed),
    )


def own_optimizers(optimizer: object, nets: Sequence[Network]) -> list[Optimizer]:
    """An optimiser for each member: copies of a single one, or those of a list themselves.

    Raises ValueError if a member could not take the parameters or the state of another.
    """
    given = [resolve_optimizer(each) for each in spread("optimizer", optimizer, len(nets))]
    optimizers = given if isinstance(optimizer, list) else [deepcopy(each) for each in given]
    _check_alike(nets, optimizers)
    return optimizers


def evolve(
    nets: Sequence[Network],
    rules: Rules,
    held_out: HeldOut,
    optimizers: Sequence[Optimizer],
    fit: Callable[[int, int], list[History]],
    team: Team | None = None,
) -> Evolution:
    """Run the rounds; see `Population.evolve`.

    fit(initial_epoch, epochs) trains all members with the optimisers, which change in between.
    team: ranks that score members of their own.
    """
    shape = (rules.rounds, len(nets))
    scores, rates = np.empty(shape), np.empty(shape)
    parents = np.tile(np.arange(len(nets)), (rules.rounds, 1))
    for i in range(rules.rounds):
        histories = fit(i * rules.epochs, (i + 1) * rules.epochs)
        rates[i] = [optimizer.lr for optimizer in optimizers]
        scores[i] = _scores(held_out, histories, team)
        valid = np.isfinite(scores[i])
        costs = np.where(valid, -held_out.sign * scores[i], np.inf)
        ranking = np.argsort(costs, kind="stable").tolist()
        if i + 1 < rules.rounds:
            for k, (parent, factor) in rules.successors(i, ranking, int(valid.sum())).items():
                nets[k].theta = nets[parent]._copy_of_theta()
                optimizers[k].load_state_dict(optimizers[parent].state_dict())
                optimizers[k].lr *= factor
                parents[i, k] = parent
    return Evolution(scores, rates, parents, ranking[0])


# ---- its parts ----------------------------------------------------------------------------


def _scores(held_out: HeldOut, histories: Sequence[History], team: Team | None) -> list[float]:
    """The scores of the members, NaN for those that have diverged."""

    def of_own() -> dict[int, float]:
        own = [k for k in range(len(histories)) if team is None or team.has(k)]
        failed = [history.stopped_by == "divergence" for history in histories]
        return {k: math.nan if failed[k] else held_out.score(k) for k in own}

    found = of_own() if team is None else team.gather(of_own)
    return list(found.values())


def _check_alike(nets: Sequence[Network], optimizers: Sequence[Optimizer]) -> None:
    """Raise ValueError unless each member can take the parameters and the state of another."""
    for k, (net, optimizer) in enumerate(zip(nets, optimizers, strict=True)):
        if net.widths != nets[0].widths:
            raise ValueError(
                f"evolve copies parameters, so all members need the same widths; member {k} has "
                f"{net.widths}, and member 0 has {nets[0].widths}"
            )
        if _layout(net) != _layout(nets[0]):
            raise ValueError(
                f"evolve copies parameters, so all members need the same dtype and layers, except "
                f"for dropout; those of member {k} differ from those of member 0"
            )
        if type(optimizer) is not type(optimizers[0]):
            raise ValueError(
                f"evolve copies moments, so all members need the same optimiser; member {k} has "
                f"{type(optimizer).__name__}, and member 0 has {type(optimizers[0]).__name__}"
            )


def _layout(net: Network) -> tuple[object, ...]:
    layers = [replace(layer, dropout=0.0) for layer in net.dense]
    return net.dtype, layers, [layer.trainable for layer in net.layers]
