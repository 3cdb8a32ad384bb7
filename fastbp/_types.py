"""Types that several rooms share: arrays, data sets, training sessions, and Protocols.

A Protocol says what a room needs of an object that another room, which imports it, defines.

This module imports no other module of the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import RLock
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


class StepSettings(NamedTuple):
    """What a schedule sets for each of the n steps of an epoch; None leaves what is there.

    Attributes
    ----------
    rates : ndarray (n,) or None
        Learning rates, instead of that of the optimiser.
    momenta : ndarray (n,) or None
        Momenta or β1.
    smoothing : ndarray (n,) or None
        Label smoothing, instead of that of the loss.
    dropout : ndarray (n, L + 1) or None
        p of the inputs and of each layer, instead of those of the network.
    """

    rates: Array | None = None
    momenta: Array | None = None
    smoothing: Array | None = None
    dropout: Array | None = None


class Session(Protocol):
    """Training steps, as `fit` drives them."""

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

    @property
    def flags(self) -> int:
        """Those of all ranks, if they ended the last run."""

    def raise_flags(self, flags: int) -> None:
        """End the runs of all ranks before their next step."""

    def set_steps(self, settings: StepSettings) -> None:
        """Set what a schedule has computed for the steps of the coming epoch."""

    def close(self) -> None:
        """End the session; `run` is not called again."""


class Turn(NamedTuple):
    """What a fit asks for: a slice of its training.

    Attributes
    ----------
    session : Session
        What to run.
    seconds : float
        For how long.
    epochs : int
        How many epochs may end until the fit looks again, and wants a `Stretch`; 0 if it looks at
        the end of each slice, and wants a `Ran`.
    """

    session: Session
    seconds: float
    epochs: int = 0


class Pause(NamedTuple):
    """What a fit asks at a rung of successive halving: whether it goes on, True or False.

    Attributes
    ----------
    epochs : int
        How many of its epochs are complete.
    """

    epochs: int


class Stretch(NamedTuple):
    """The result of a slice of several epochs.

    Attributes
    ----------
    ran : Ran
        The result of the last one.
    ended : sequence of (float, float)
        For each epoch that is complete, the mean of J, and the seconds that it took in this slice.
    """

    ran: Ran
    ended: Sequence[Sequence[float]]


class DataSession(Session, Protocol):
    """Training steps over a checked data set, or over one block of a stream after another."""

    def bind(self, data: Data) -> bool:
        """Take other data, to be continued by `seek`; False if the session lacks room for them."""

    def seek(self, place: Place) -> None:
        """Continue from a place; the bound data are block `turn` of the data set."""


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
    rows : ndarray (n,) of int32 or None
        Which rows of the data set are the samples; None for all.
    population : object or None
        The memory of the engine that the sessions of a population share, a `_core.Population`.
    parts : object or None
        The parts of the data and their ranks, a `_training.divided.Divided`.
    """

    batch_size: int
    shuffle: bool
    n_threads: int = 0
    part_rows: int = 0
    rows: Array | None = None
    population: Any = None
    parts: Any = None


@dataclass(frozen=True)
class Samples:
    """The rows of a data set that a fit trains on.

    Attributes
    ----------
    data : tuple
        X, targets and weights, checked.
    rows : ndarray (n,) of int32 or None
        The numbers of the rows, in any order, some perhaps several times; None for all.
    """

    data: Data
    rows: Array | None = None

    def __len__(self) -> int:
        return len(self.data[0]) if self.rows is None else len(self.rows)

    def take(self, chosen: Array | None = None) -> Data:
        """Arrays of these samples alone, or of those that `chosen` numbers."""
        rows = self.rows if chosen is None else self.among(chosen)
        if rows is None:
            return self.data
        X, y, s = self.data
        return X[rows], None if y is None else y[rows], None if s is None else s[rows]

    def among(self, chosen: Array) -> Array:
        """The numbers, in the data set, of samples."""
        return chosen if self.rows is None else self.rows[chosen]


class TargetRules(Protocol):
    """What the checks of targets need of a `fastbp.losses.Loss`."""

    @property
    def name(self) -> str:
        """The name of the loss, for messages."""

    @property
    def targets(self) -> str:
        """What the targets hold: "numbers", "classes", …; see docs/losses.md."""

    @property
    def labels(self) -> bool:
        """Whether the targets may be class indices."""

    @property
    def group(self) -> int:
        """How many rows form one sample: 2 for a loss of pairs, else 1."""

    @property
    def ignored(self) -> frozenset[int]:
        """The classes of weight 0."""

    @property
    def ignore_nan(self) -> bool:
        """Whether NaN stands for a target that is not known."""

    def n_targets(self, n_out: int) -> int:
        """Columns of dense targets for a network of n_out outputs."""


class Lock(Protocol):
    """The lock of theta and of the stored pass, which a with block holds alone."""

    def __enter__(self) -> None:
        """Wait for the lock; a thread may hold it several times."""

    def __exit__(self, *raised: object) -> None:
        """Release it."""

    def copy(self, array: Array) -> Array:
        """A copy of an array, made under the lock."""


class BoundParts(NamedTuple):
    """The parts of the data of a session, as the engine reads them: fastbp_parts_t.

    Attributes
    ----------
    n, rank, n_ranks, sync_every : int
        The parts of all ranks, this rank, how many there are, and steps between averages or 0.
    exchange : callable or None
        Called with the kind of each exchange.
    state : tuple of int
        The first element of theta whose state the optimiser has, and how many; (0, 0) for all.
    """

    n: int
    rank: int
    n_ranks: int
    sync_every: int
    exchange: Any
    state: tuple[int, int]


class UpdateRule(Protocol):
    """What the engine needs of an optimiser of `fastbp.optim`."""

    _t: int  # steps taken, which the engine counts
    moments: list[Array]
    scratch: Array | None
    average: Array | None
    average_start: int
    _lock: RLock  # which the engine holds while it makes steps
    _values: object  # another object after a reset and after each change of a hyper-parameter

    def bind(self, n_params: int, dtype: np.dtype[Any], n_layers: int | None = None) -> None:
        """Allocate the state for such a theta, unless it is there."""

    def packed(self) -> dict[str, Any]:
        """Rule and hyper-parameters, by the engine's names."""

    def factors(self, widths: tuple[int, ...]) -> Array | None:
        """Factors of lr and of weight_decay, by layer and group of parameters."""


class Trainee(Protocol):
    """What training needs of a network: `fastbp.Network`, or `fastbp.reference.Network`.

    `Any` stands for what rooms that import this one define: `criterion` is a `fastbp.losses.Loss`,
    an optimiser one of `fastbp.optim`, `dense` and `layers` are `fastbp.Dense` and layers.
    """

    theta: Array

    @property
    def grad(self) -> Array:
        """The gradient of J of the last backward pass, laid out as theta."""

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of every layer, inputs first."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of parameters and arithmetic."""

    @property
    def seed(self) -> int:
        """The seed."""

    @property
    def criterion(self) -> Any:
        """The loss."""

    @property
    def activations(self) -> Sequence[Any]:
        """The activation of every layer."""

    @property
    def dense(self) -> Sequence[Any]:
        """The options that every layer was made with."""

    @property
    def layers(self) -> Sequence[Any]:
        """The layers, each with `dense`, `trainable` and views of its parameters."""

    @property
    def input_dropout(self) -> float:
        """The probability with which training drops an input."""

    @property
    def matmul_precision(self) -> str:
        """How exact the factors of matrix products are: "highest", "high" or "medium"."""

    @property
    def _hook(self) -> object:
        """The hook of `on_delta`, or None."""

    @property
    def _arithmetic(self) -> str:
        """What computes: the ISA of the engine, or NumPy."""

    _dropout_step: int  # of the masks of the next forward for training

    def forward(self, X: object) -> Array:
        """The outputs, with z and a of every layer kept for `backward`."""

    def backward(self, y: object, sample_weight: object = None) -> float:
        """J, with its gradient in `grad`."""

    def predict(self, X: object) -> Array:
        """The outputs, with nothing kept."""

    def loss(self, X: object, y: object, sample_weight: object = None) -> float:
        """J of a data set."""

    def blocks(self, flat: Array) -> list[dict[str, Array]]:
        """Views of a vector laid out as theta, for every layer: "W", "b", "gain", "shift"."""

    def __getstate__(self) -> dict[str, Any]:
        """What the network is made of, and its parameters."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Become the network of a state."""

    @property
    def _lock(self) -> Lock:
        """The lock of theta and of the stored pass."""

    def _copy_of_theta(self) -> Array:
        """Theta between two steps, whatever other threads do."""

    def _non_finite(self) -> tuple[str, float] | None:
        """The name and the value of the first parameter that is not finite, or None."""

    def _count_steps(self, optimizer: Any) -> None:
        """Note the steps of the optimiser of a fit that ends."""

    def _inputs(self, X: object, name: str = "X") -> Rows:
        """X as the passes take it."""

    def _names_of(self, X: object) -> tuple[str, ...] | None:
        """The names that a training on X gives to the inputs."""

    def _remember(self, names: tuple[str, ...] | None) -> None:
        """Keep the names of the inputs, unless there are some."""

    def _targets(
        self,
        y: object,
        n_rows: int,
        rows_of: str = "X",
        name: str = "y",
        *,
        some: bool = True,
    ) -> Array | None:
        """The targets as the loss takes them."""

    def _evaluate(
        self, X: Rows, y: Array | None, sample_weight: Array | None
    ) -> tuple[float, Array]:
        """J and the outputs of a checked data set."""

    def _bind(self, optimizer: Any) -> None:
        """Allocate the optimiser's state for this network, or check that it belongs to it."""

    def _check_rule(self, optimizer: Any, hook: Any = None) -> None:
        """Raise an error if the rule of an optimiser does not go with the network or its hook."""

    def _session(self, data: Data, optimizer: Any, options: SessionOptions) -> DataSession:
        """A session over a checked data set."""

    def _begin(
        self, source: Any, optimizer: Any, options: SessionOptions, epochs: int, place: Place
    ) -> Session:
        """A session over a data set or a stream that continues from a place."""

    def _restore(self, theta: object, seed: int) -> None:
        """Take the parameters and the seed of a checkpoint."""

    def _forget(self) -> None:
        """Drop z, a and delta of every layer."""
