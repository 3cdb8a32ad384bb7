"""What the training loop and those who make the steps have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]  # of any real dtype
Data = tuple[Array, Array, Array | None]  # X, targets, sample weights


class Ran(NamedTuple):
    """What a slice tells: J was not finite in `step`, the epoch is done, so many steps of it are
    made, the mean of J over them, J of the last one.
    """

    diverged: bool
    done: bool
    epoch: int
    step: int
    loss: float
    last_loss: float


class Place(NamedTuple):
    """Where a training stands: the next step of an epoch, and what its mean loss is made of.

    turn: blocks of the epoch that are done, 0 where the data are all there; first: the next sample
    of the block at hand, counted in the order in which it is visited. Orders are functions of seed,
    epoch and block, so a training goes on from its place, theta and optimiser.
    """

    epoch: int
    step: int = 0
    turn: int = 0
    first: int = 0
    loss_sum: float = 0.0
    weight_sum: float = 0.0


class Session(Protocol):
    """Steps over checked data; how they are made is the affair of who makes the session."""

    place: Place  # where the last run ended; at the end of the data `first` is their number
    rows_done: int  # counts on from epoch to epoch

    def run(self, seconds: float) -> tuple[bool, bool, int, int, float, float]:
        """Whole steps, one at least, until the epoch ends or the time is up: a `Ran`.

        The optimiser is taken as it is at that moment, reset or given momentum since. Nothing of
        the step that diverged has been done.
        """

    def set_rates(self, rates: Array | None, momenta: Array | None = None) -> None:
        """Learning rates, and momenta or β1, of the coming epoch's steps; None: the optimiser's."""

    def bind(self, data: Data) -> bool:
        """Other data, to be gone on with by `seek`; False if the session has no room for them."""

    def seek(self, place: Place) -> None:
        """Go on from a place, the data at hand being block `turn` of the data set."""

    def close(self) -> None:
        """The end: nothing is run any more."""


@dataclass(frozen=True)
class SessionOptions:
    """How the rows of a data set become batches; n_threads is 0 for the default.

    part_rows: how many rows of a batch go through the network at once, 0 for all.
    """

    batch_size: int
    shuffle: bool
    n_threads: int = 0
    part_rows: int = 0
