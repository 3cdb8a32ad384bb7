"""What the ranks of a fit send each other within a step; csrc/fastbp.h names the kinds.

Every rank owns a slice of theta. It gets the sums of the gradient of that slice from all others,
the engine adds them along the tree of the parts and updates the slice, and all get the new
parameters: 2 (R − 1)/R vectors like theta per step and rank, if R is a power of two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .._types import Array
from .divided import Divided

SUMS, SQUARES, PARAMETERS, AVERAGE = range(4)
PROGRAM_FLAG, FAILED, DIVERGED = 1, 1 << 31, 1 << 30


class Exchange:
    """The exchanges of one session, in the order in which the engine asks for them.

    Parameters
    ----------
    divided : Divided
        The parts and the ranks.
    theta : ndarray (n_params,)
        The parameters, which it writes to.
    outer_step : callable
        Makes a step of `divided.outer` on theta with a gradient.

    Attributes
    ----------
    bytes_sent : int
        What this rank has sent to others so far.
    messages : int
        How many collective calls it has made.
    """

    def __init__(self, divided: Divided, theta: Array, outer_step: Callable[[Array], None]) -> None:
        assert divided.ranks is not None
        self._divided, self._ranks, self._comm = divided, divided.ranks, divided.ranks.comm
        self._theta, self._outer_step = theta, outer_step
        self._before = theta.copy() if divided.outer is not None else None
        self.bytes_sent = self.messages = 0

    def bind(self, share: Mapping[str, Any]) -> None:
        """Take the buffers of a session."""
        rank, size = self._divided.rank, self._divided.size
        first = np.array(share["first"])
        slots = share["slots"]
        self._head, self._heads = np.asarray(share["head"])[0], np.asarray(share["heads"])
        self._squares = np.asarray(share["squares"])[0]
        pieces = np.array(share["piece"])
        self._pieces = np.diff(pieces), pieces[:-1]
        counts, own = np.diff(first), int(first[rank + 1] - first[rank])
        self._counts, self._first = counts, first[:-1]
        self._sums: list[tuple[Any, Any]] = []
        if not self._divided.shared:
            return
        sums, received = np.asarray(share["sums"]), np.asarray(share["received"])
        before = np.cumsum([0, *slots[:-1]])
        others = np.arange(size) != rank  # a rank keeps its own sums where they are
        for k in range(max(slots)):
            mine = k < slots[rank]
            sent = [sums[k if mine else 0], (counts * (others & mine), self._first)]
            given = np.array([own if k < slots[r] else 0 for r in range(size)]) * others
            places = np.array([(before[r] + k) * own for r in range(size)])
            self._sums.append(
                (sent, [received.reshape(-1), (given, np.where(given > 0, places, 0))])
            )

    def __call__(self, what: int) -> None:
        """Make one exchange."""
        (self._exchange_sums, self._exchange_squares, self._gather, self._average)[what]()

    def _exchange_sums(self) -> None:
        heads = self._comm.Iallgather(self._head, self._heads)
        vectors = [self._comm.Ialltoallv(sent, received) for sent, received in self._sums]
        self._ranks.wait(heads, *vectors)
        self._count((self._divided.size - 1) * self._head.nbytes)
        self._count(sum(int(sent[1][0].sum()) for sent, _ in self._sums) * self._theta.itemsize)

    def _exchange_squares(self) -> None:
        self._gather_into(self._squares, *self._pieces)

    def _gather(self) -> None:
        self._gather_into(self._theta, self._counts, self._first)

    def _gather_into(self, vector: Array, counts: Array, first: Array) -> None:
        """Each rank has its part of a vector, and gets those of the others."""
        self._ranks.wait(self._comm.Iallgatherv(None, [vector, (counts, first)]))  # in place
        own = int(counts[self._divided.rank])
        self._count((self._divided.size - 1) * own * vector.itemsize)

    def _average(self) -> None:
        """The average of theta over the ranks, or the step of `outer` towards it."""
        self._ranks.wait(self._comm.Iallgather(self._head, self._heads))
        self._count((self._divided.size - 1) * self._head.nbytes)
        if any(int(flags) & (FAILED | DIVERGED) for flags in self._heads[:, 0]):
            return
        mean = self._divided.mean(self._theta)
        self._count(2 * (self._theta.nbytes - self._theta.nbytes // self._divided.size))
        if self._before is None:
            self._theta[...] = mean
            return
        self._theta[...] = self._before
        self._outer_step(self._before - mean)
        self._before[...] = self._theta

    def _count(self, n_bytes: int) -> None:
        self.bytes_sent += n_bytes
        self.messages += 1
