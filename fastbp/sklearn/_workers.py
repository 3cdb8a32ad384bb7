"""Fits divided among workers: those of joblib, processes or a cluster, or the ranks of MPI."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from joblib import effective_n_jobs
from sklearn.utils.parallel import Parallel, delayed

from .._ranks.team import Team, share_out

_PER_WORKER = 2  # groups; the next one of a worker makes up for slower fits in other groups
T = TypeVar("T")
R = TypeVar("R")


class Workers:
    """The workers of joblib's backend in use.

    Parameters
    ----------
    n_jobs : int or None
        Their number, as joblib takes it: None for that of `joblib.parallel_config`, or else 1.

    Attributes
    ----------
    several : bool
        Whether there are more than one. If not, there is no need for `run`.
    """

    def __init__(self, n_jobs: int | None) -> None:
        self._n_jobs = n_jobs
        self._n = effective_n_jobs(n_jobs)
        self.several = self._n > 1

    def run(
        self,
        function: Callable[..., Sequence[R]],
        items: Sequence[T],
        arguments: Callable[[Sequence[T]], tuple[Any, ...]],
    ) -> list[R]:
        """A result for each item, in their order.

        Each call of `function` takes the arguments for a group of items, and returns a result for
        each of them.
        """
        groups = self._groups(len(items))
        tasks = (delayed(function)(*arguments([items[k] for k in group])) for group in groups)
        found: dict[int, R] = {}
        for group, results in zip(groups, Parallel(n_jobs=self._n_jobs)(tasks), strict=True):
            found.update(zip(group, results, strict=True))
        return [found[k] for k in range(len(items))]

    def _groups(self, n: int) -> list[list[int]]:
        """The numbers 0 … n - 1 in groups of about the same size.

        Neighbours in a grid often take a similar time, so each group has numbers from all of it, by
        a permutation that is always the same.
        """
        order = np.random.RandomState(0).permutation(n)
        groups = np.array_split(order, min(n, _PER_WORKER * self._n))
        return [sorted(group.tolist()) for group in groups]


class RankWorkers:
    """The ranks of a communicator as workers; each of them has the data, and gets all results.

    Parameters
    ----------
    team : Team
        The ranks.

    Attributes
    ----------
    several : bool
        As for `Workers`; always True.
    """

    several = True

    def __init__(self, team: Team) -> None:
        self._team = team

    def run(
        self,
        function: Callable[..., Sequence[R]],
        items: Sequence[T],
        arguments: Callable[[Sequence[T]], tuple[Any, ...]],
    ) -> list[R]:
        """A result for each item, in their order; see `Workers.run`."""
        team = self._team
        team.owners = share_out([1.0] * len(items), team.ranks.size)
        own = [k for k in range(len(items)) if team.has(k)]

        def results() -> dict[int, R]:
            if not own:
                return {}
            found = function(*arguments([items[k] for k in own]))
            return dict(zip(own, found, strict=True))

        return list(team.gather(results).values())
