"""Ranks that share independent pieces of work, and meet when theirs are done."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from .lifeline import Lifeline
from .ranks import Ranks, check_comm

T = TypeVar("T")
_PAUSE = 0.002  # seconds between two looks whether the other ranks have come
_Stop = KeyboardInterrupt | SystemExit


class Team:
    """Ranks that work on their own and meet at some points, the same for all of them.

    A rank may come to a meeting with an error instead of its result, also before its work is done:
    the meeting then raises the error on all ranks, so that all are at the same point again. All
    methods but `has` are collective. As a context manager, it closes itself. The job ends if a rank
    ends meanwhile, or leaves the context by an error that no meeting has raised.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        The communicator. Every one of its ranks makes a `Team` of it.

    Attributes
    ----------
    owners : sequence of int
        The rank that has each piece; empty until they are shared out.
    failed : bool
        Whether all ranks know of an error: a meeting has raised it.

    Raises
    ------
    TypeError
        If it is not a communicator.
    OSError
        As `Lifeline` does.
    """

    def __init__(self, comm: Any) -> None:
        check_comm(comm)
        self._lifeline = Lifeline(comm)
        self.ranks = Ranks(comm)
        self.owners: Sequence[int] = ()
        self.failed = False
        self._coming: Any = None  # a request that is complete when all ranks have come

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and not self.failed:
            self._lifeline.fail(error)
        self._lifeline.close()
        self.ranks.close()

    def has(self, k: int) -> bool:
        """Whether piece k is of this rank."""
        return self.owners[k] == self.ranks.rank

    def come(self, look: Callable[[], None]) -> None:
        """Wait until all ranks have come to the next meeting, without keeping a core busy.

        They may work for hours, so `look` is called again and again meanwhile. If it raises an
        exception, `meet` goes on waiting.
        """
        if self._coming is None:
            self._coming = self.ranks.comm.Ibarrier()
        while not self._coming.Test():
            look()
            time.sleep(_PAUSE)

    def meet(self, make: Callable[[], T]) -> list[T]:
        """What a function returns on each rank, by rank; see `Ranks.agree`.

        KeyboardInterrupt and SystemExit of one rank are raised on all, too. The function may take
        long: ranks come to the meeting when it has returned.
        """
        value: T | None = None
        error: Exception | None = None
        stop: _Stop | None = None
        try:
            value = make()
        except (KeyboardInterrupt, SystemExit) as raised:
            stop = raised
        except Exception as raised:  # noqa: BLE001 - whatever it is, all ranks must learn of it
            error = raised

        def outcome() -> tuple[T | None, _Stop | None]:
            if error is not None:
                raise error
            return value, stop

        stop = self._come_in_spite_of_ctrl_c() or stop
        self._coming = None
        try:
            told: list[Any] = self.ranks.agree(outcome)
            for _, of_rank in told:
                if of_rank is not None:
                    raise of_rank
        except BaseException:
            self.failed = True
            raise
        return [value for value, _ in told]

    def alike(self, make: Callable[[], T]) -> T:
        """What a function returns on this rank; its error on any of them is raised on all."""
        made: list[T] = []
        self.meet(lambda: made.append(make()))
        return made[0]

    def gather(self, make: Callable[[], Mapping[int, T]]) -> dict[int, T]:
        """What a function returns of some pieces on each rank, of all of them in their order."""
        found = {k: value for of_rank in self.meet(make) for k, value in of_rank.items()}
        return dict(sorted(found.items()))

    def spread(
        self,
        owners: Sequence[int],
        make: Callable[[int], object],
        take: Callable[[int, Any], None],
    ) -> None:
        """Let every rank take, one after the other, what the owner of each piece makes of it.

        Owners do not take their own. Raises what `make` and `take` raise, on all ranks.
        """
        if self.ranks.size == 1:
            return
        made: dict[int, bytes] = {}
        errors: list[Exception] = []

        def make_own() -> None:
            mine = (k for k, owner in enumerate(owners) if owner == self.ranks.rank)
            made.update((k, pickle.dumps(make(k), protocol=5)) for k in mine)

        self.meet(make_own)
        for k, owner in enumerate(owners):
            sent = self.ranks.comm.bcast(made.pop(k, None), root=owner)
            if owner != self.ranks.rank and not errors:
                try:
                    take(k, pickle.loads(sent))
                except Exception as error:  # noqa: BLE001 - the other ranks go on sending
                    errors.append(error)
        self.meet(lambda: _raise_first(errors))

    def _come_in_spite_of_ctrl_c(self) -> KeyboardInterrupt | None:
        """Wait for the others. A first Ctrl-C is returned: they have to learn of it."""
        try:
            self.come(_nothing)
        except KeyboardInterrupt as stop:
            self.come(_nothing)
            return stop
        return None


def share_out(work: Iterable[float], size: int) -> list[int]:
    """The rank of each piece of work: the longest first, each to the rank with the least so far.

    Graham, "Bounds on Multiprocessing Timing Anomalies", SIAM J. Appl. Math. 17, 1969.

    >>> share_out([1, 1, 4, 2], 2)
    [1, 1, 0, 1]
    """
    costs = list(work)
    loads, owners = [0.0] * size, [0] * len(costs)
    for k in sorted(range(len(costs)), key=lambda k: (-costs[k], k)):
        owners[k] = loads.index(min(loads))
        loads[owners[k]] += costs[k]
    return owners


def _nothing() -> None:
    pass


def _raise_first(errors: Sequence[Exception]) -> None:
    if errors:
        raise errors[0]
