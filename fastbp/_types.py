"""Types that several rooms share: arrays, data sets, and what a training session is.

This module imports no other module of the package.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]  # of any real dtype


class SparseRows:
    """Compressed rows (CSR): X (n, n_cols) of which only some elements are stored.

    Row i holds values[indptr[i] : indptr[i + 1]] in the columns indices[…], which ascend. The
    values have the dtype of the network, the indices int32, indptr int64.
    """

    ndim = 2

    def __init__(self, values: Array, indices: Array, indptr: Array, n_cols: int) -> None:
        self.values, self.indices, self.indptr = values, indices, indptr
        self.shape = (len(indptr) - 1, n_cols)
        self.dtype = values.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | Array) -> SparseRows:
        """A copy of some rows."""
        chosen = np.arange(len(self))[rows]
        counts = np.diff(self.indptr)[chosen]
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        at = np.arange(indptr[-1]) + np.repeat(self.indptr[chosen] - indptr[:-1], counts)
        return SparseRows(self.values[at], self.indices[at], indptr, self.shape[1])

    def toarray(self) -> Array:
        """The same rows as a dense array."""
        full = np.zeros(self.shape, self.dtype)
        full[np.repeat(np.arange(len(self)), np.diff(self.indptr)), self.indices] = self.values
        return full


Rows: TypeAlias = Array | SparseRows
# X, targets (None for a loss of pairs of rows), sample weights or None; all of them checked
Data: TypeAlias = tuple[Rows, Array | None, Array | None]


class Ran(NamedTuple):
    """The result of a slice of training.

    Attributes
    ----------
    diverged : bool
        Whether J was not finite in step `step`, which then changed nothing.
    done : bool
        Whether the epoch is complete.
    epoch : int
        The number of the epoch, from 0.
    step : int
        How many steps of the epoch have been made.
    loss : float
        The mean of J over those steps.
    last_loss : float
        J of the last step.
    """

    diverged: bool
    done: bool
    epoch: int
    step: int
    loss: float
    last_loss: float


class Place(NamedTuple):
    """Where a training is: the next step of an epoch, and the terms of its mean loss so far.

    The order of the samples is a function of the seed, the epoch and the block. A training
    therefore continues from a place, theta and the state of the optimiser.

    Attributes
    ----------
    epoch, step : int
        The number of the epoch and of the step within it, from 0.
    turn : int
        How many blocks of the epoch are complete; 0 for data that are not streamed.
    first : int
        The next sample of the current block, counted in the order of visits.
    loss_sum, weight_sum : float
        Σ S·J and Σ S over the batches of the epoch so far.
    """

    epoch: int
    step: int = 0
    turn: int = 0
    first: int = 0
    loss_sum: float = 0.0
    weight_sum: float = 0.0


class Session(Protocol):
    """Training steps over checked data."""

    @property
    def place(self) -> Place:
        """Where the last run ended; after the last batch, `first` is the number of rows."""

    @property
    def rows_done(self) -> int:
        """Rows trained on since the first epoch."""

    def run(self, seconds: float) -> tuple[bool, bool, int, int, float, float]:
        """Make whole steps, at least one, until the epoch or the time is over; returns a `Ran`.

        Every run reads the optimiser as it is then, so it may have been reset or changed. A step
        that diverges changes nothing.
        """

    def set_rates(self, rates: Array | None, momenta: Array | None = None) -> None:
        """Set the learning rates, and the momenta or β1, of the steps of the coming epoch.

        None stands for those of the optimiser.
        """

    def bind(self, data: Data) -> bool:
        """Take other data, to be continued by `seek`; False if the session lacks room for them."""

    def seek(self, place: Place) -> None:
        """Continue from a place; the bound data are block `turn` of the data set."""

    def close(self) -> None:
        """End the session; `run` is not called again."""


@dataclass(frozen=True)
class SessionOptions:
    """How the rows of a data set become batches.

    Attributes
    ----------
    batch_size : int
        Rows of a batch.
    shuffle : bool
        Whether every epoch has an order of its own.
    n_threads : int
        The most threads to use, 0 for the default.
    part_rows : int
        How many rows of a batch go through the network at once, 0 for all.
    """

    batch_size: int
    shuffle: bool
    n_threads: int = 0
    part_rows: int = 0
