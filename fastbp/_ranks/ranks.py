"""The ranks of an MPI communicator, as fits use them.

A communicator of mpi4py comes from the caller, so nothing here imports mpi4py. All methods but
the properties are collective: every rank calls them, in the same order.
"""

from __future__ import annotations

import os
import pickle
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar, cast

T = TypeVar("T")

_NEEDED = (
    "Get_rank",
    "Get_size",
    "Dup",
    "Free",
    "allgather",
    "bcast",
    "Iallgather",
    "Ibarrier",
    "Abort",
)


class Ranks:
    """A private copy of a communicator, whose messages never mix with those of the caller.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        The communicator. Every one of its ranks makes a `Ranks` of it.

    Raises
    ------
    TypeError
        If it is not a communicator.
    """

    def __init__(self, comm: Any) -> None:
        check_comm(comm)
        self.comm = comm.Dup()
        self.rank, self.size = int(comm.Get_rank()), int(comm.Get_size())
        self._told: list[BaseException] = []
        _say_once()

    @property
    def leads(self) -> bool:
        """Whether this is rank 0, which talks, calls callbacks and writes files."""
        return self.rank == 0

    def close(self) -> None:
        """Free the copy."""
        self.comm.Free()

    # ---- values and errors ----------------------------------------------------------------

    def agree(self, make: Callable[[], T]) -> list[T]:
        """What a function returns on each rank, by rank.

        If it raises an error on any rank, every rank raises that of the lowest one, with the rank
        and its host in the message unless all ranks have the same error.
        """
        value: T | None = None
        error: BaseException | None = None
        try:
            value = make()
        except BaseException as raised:  # noqa: BLE001 - whatever it is, all ranks must learn of it
            error = raised
        return cast(list[T], self._tell(value, error))

    def together(self, make: Callable[[], T]) -> T:
        """What a function returns on this rank, which may exchange values with the others.

        If it raises an error on any rank, every rank raises it.
        """
        made: list[T] = []
        failure: Exception | None = None
        try:
            made.append(make())
        except Exception as error:
            if self.has_told(error):
                raise
            failure = error

        def outcome() -> None:
            if failure is not None:
                raise failure

        self.agree(outcome)
        return made[0]

    def lead(self, make: Callable[[], T]) -> T:
        """What a function returns on rank 0, where alone it is called; its error on all ranks."""
        value: Any = None
        error: BaseException | None = None
        if self.leads:
            try:
                value = make()
            except BaseException as raised:  # noqa: BLE001 - as above
                error = raised
        return cast(T, self._tell(value, error, names=False)[0])

    def _tell(self, value: Any, error: BaseException | None, *, names: bool = True) -> list[Any]:
        """The values of all ranks, or an error of one of them; names: with the rank in its message.

        All calls that exchange values do it here, so that a rank can come to the next one with an
        error, whichever call the others make.
        """
        self.wait(self.comm.Ibarrier())  # which lets other processes run meanwhile
        told = self.comm.allgather((value, _portable(error), socket.gethostname(), names))
        errors = [(rank, why) for rank, (_, why, _, _) in enumerate(told) if why is not None]
        if not errors:
            return [each[0] for each in told]
        rank, why = errors[0]
        same = len(errors) == self.size and len({str(each) for _, each in errors}) == 1
        if same or not told[rank][3] or not isinstance(why, Exception):
            found = error if error is not None else why
        else:
            found = _renamed(why, f"rank {rank} of {self.size} ({told[rank][2]}): {why}")
        self.note_told(found, rank)
        raise found from (None if found is error else error)

    def note_told(self, error: BaseException, speaker: int = 0) -> None:
        """Note that all ranks raise this error; if nothing catches it, one rank alone prints it."""
        self._told.append(error)
        with suppress(AttributeError, TypeError):  # a class may refuse
            setattr(error, _SILENT, self.rank != speaker)

    def has_told(self, error: BaseException) -> bool:
        """Whether all ranks raise this error."""
        return any(each is error for each in self._told)

    def wait(self, *requests: Any) -> None:
        """Wait for requests, and let other processes run meanwhile."""
        for request in requests:
            while not request.Test():
                _yield()


def check_comm(comm: object) -> None:
    """TypeError if comm is not a communicator of mpi4py."""
    if any(not callable(getattr(comm, name, None)) for name in _NEEDED):
        raise TypeError(
            f"comm must be a communicator of mpi4py, such as mpi4py.MPI.COMM_WORLD; got {comm!r}. "
            'To install mpi4py and an MPI: pip install "fastbp[mpi]"'
        )
    if not comm:  # as mpi4py has it for null handles
        raise ValueError(
            "comm is MPI.COMM_NULL, which a process gets that is no rank of a new communicator: "
            "call this on the ranks of the communicator only"
        )


_SILENT = "_fastbp_said_by_another_rank"


def _say_once() -> None:
    """Let an error that all ranks raise be printed by one of them, if no program catches it.

    The rank that has had it prints its traceback; the others end with the same status, silently.
    The hook stays, because errors are printed when the program ends, long after a fit. It passes
    everything else on to the one that was there.
    """
    before = sys.excepthook
    if getattr(before, "_says_once", False):
        return

    def print_error(kind: Any, error: BaseException, trace: Any) -> None:
        if not getattr(error, _SILENT, False):
            before(kind, error, trace)

    print_error._says_once = True  # type: ignore[attr-defined]
    sys.excepthook = print_error


_yield = getattr(os, "sched_yield", lambda: None)


def _portable(error: BaseException | None) -> BaseException | None:
    """An error that another process can read: itself, or a RuntimeError with its text."""
    if error is None:
        return None
    try:
        again = pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - any class may refuse
        return RuntimeError(f"{type(error).__name__}: {error}")
    return again if type(again) is type(error) else RuntimeError(str(error))


def _renamed(error: BaseException, message: str) -> BaseException:
    """An error of the same type, if that takes one message, with this one."""
    try:
        again = type(error)(message)
    except Exception:  # noqa: BLE001 - any class may refuse
        again = RuntimeError(message)
    again = again if str(again) == message else RuntimeError(message)
    for note in getattr(error, "__notes__", ()):
        again.add_note(note)
    return again
