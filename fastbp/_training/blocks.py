"""A training session over a Stream: one block is read while the engine trains on another.

The reader copies each block into one of two sets of arrays, in turn, and checks it meanwhile. It
starts on a block as soon as the previous one is taken, because the memory that comes next is then
free.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, suppress
from queue import Empty, SimpleQueue
from threading import Thread
from types import TracebackType
from typing import Generic, TypeVar, cast

import numpy as np

from .._checks import arguments as check
from .._checks.batch_norm import normed_by_batch
from .._types import (
    Array,
    Data,
    DataSession,
    Place,
    Ran,
    SessionOptions,
    SparseRows,
    StepSettings,
    Trainee,
)
from ..optim import Optimizer
from .streams import Block, Stream

_PIECE = 2**18  # elements that are copied, and then checked while they are in the cache
_PATIENCE = 1.0  # seconds that a source may take to end, and between looks at its thread

# The number of a block, its arrays, and the rows of each part in it, where several were joined
Checked = tuple[int, Data, "list[int] | None"]
T = TypeVar("T")


class BlockSession:
    """A session of the network that gets one block of a stream after another; see `Session`."""

    def __init__(
        self,
        net: Trainee,
        stream: Stream,
        optimizer: Optimizer,
        options: SessionOptions,
        epochs: int,
        place: Place,
    ) -> None:
        self._net, self._optimizer, self._options = net, optimizer, options
        self._session: DataSession | None = None
        self._settings = StepSettings()
        self._bound = self._over = self._ended = False
        self.flags = self._raised = 0
        self._weighted = self._single = False  # whether a block had weights, or one row
        self._last: Checked | None = None  # of a rank with parts
        self._from = place  # where the current block begins or continues; without one, what follows
        self._behind = -place.first  # rows of blocks that are done
        items = _epochs(net, stream, options.shuffle, range(place.epoch, epochs), place.turn)
        self._reader: Reader[Checked | None] = Reader(items)

    @property
    def place(self) -> Place:
        """See `Session.place`; `turn` counts the blocks of the epoch that are done."""
        if self._session is None or not self._bound:
            return self._from
        return self._session.place._replace(turn=self._from.turn)

    @property
    def rows_done(self) -> int:
        """See `Session.rows_done`."""
        return self._behind + (self.place.first if self._bound else 0)

    def run(self, seconds: float) -> Ran:
        """See `Session.run`; `done` is set at the end of the last block of the epoch."""
        session = self.ready()
        if session is None:
            return self.end_epoch()
        if self._raised:
            session.raise_flags(self._raised)
        ran = Ran(*session.run(seconds))
        self.flags = session.flags
        self._raised = 0 if self.flags else self._raised
        return self.went_on(ran)

    def ready(self) -> DataSession | None:
        """The session that a run goes on with, on its block; None if the epoch has no other one."""
        if self._over:
            self._from, self._over = Place(self._from.epoch + 1), False
        session = self._session if self._bound else self._next()
        if session is None and self._from.step == 0:
            raise ValueError(f"the stream gave no blocks in epoch {self._from.epoch}")
        return session

    def went_on(self, ran: Ran) -> Ran:
        """The result of a run that went on so in its block."""
        if not ran.done:
            return ran
        self._behind += self._n_rows
        self._from = self.place._replace(turn=self._from.turn + 1, first=0)
        self._bound = False
        return ran._replace(done=False) if self._next() else self.end_epoch(ran.last_loss)

    def _next(self) -> DataSession | None:
        """Wait for the next block and bind it; None at the end of the epoch."""
        block = self._reader.take() if self._options.parts is None else self._of_all_ranks()
        if block is None:
            return None
        number, data, _ = block
        parts = self._options.parts
        self._n_rows = len(data[0]) if parts is None else int(parts.rows.sum())
        self._weighted |= data[2] is not None
        self._single |= self._n_rows == 1
        session = self._session
        if session is None or not session.bind(data):
            session = self._session = self._net._session(data, self._optimizer, self._options)
            session.set_steps(self._settings)
        session.seek(self._from._replace(turn=number))
        self._bound = True
        return session

    def _of_all_ranks(self) -> Checked | None:
        """The next block, whose rows all ranks know; None if no rank has another one.

        A rank whose stream has ended before those of others has no rows until the next epoch.
        """
        taken: list[Checked | None] = []

        def count() -> tuple[int | None, list[int] | None]:
            block = None if self._ended else self._reader.take()
            self._ended = block is None
            if block is None and self._last is None:
                raise ValueError("the stream gave no blocks")
            taken.append(block)
            return (None, None) if block is None else (len(block[1][0]), block[2])

        parts = self._options.parts
        if not parts.measure(count, self._net.criterion.group):
            self._ended = False
            return None
        block = taken[0]
        if block is None:
            X, y, s = cast(Checked, self._last)[1]
            data = X[:0], None if y is None else y[:0], None if s is None else s[:0]
            return 0, data, None
        self._last = block
        return block

    def end_epoch(self, last_loss: float = float("nan")) -> Ran:
        """The result of a run after the last block."""
        at, parts = self._from, self._options.parts
        apart = parts is not None and parts.sync_every > 0  # others may have weights
        if at.weight_sum == 0 and not apart:
            raise ValueError(f"no row of the stream counts in epoch {at.epoch}: {self._why_none()}")
        self._over = True
        mean = at.loss_sum / at.weight_sum if at.weight_sum > 0 else float("nan")
        return Ran(False, True, at.epoch, at.step, mean, last_loss)

    def _why_none(self) -> str:
        """The reasons for which rows of the stream do not count."""
        loss = self._net.criterion
        reasons = {
            "its sample weights are all 0": self._weighted,
            "its targets are all NaN": loss.ignore_nan,
            f"the class_weight of {loss.name} is 0 for its classes": bool(loss.ignored),
            "its blocks have 1 row, and batch norm needs at least 2 in training": (
                self._single and normed_by_batch(self._net.layers)
            ),
        }
        return ", or ".join(reason for reason, holds in reasons.items() if holds)

    def raise_flags(self, flags: int) -> None:
        """See `Session.raise_flags`; they stay for the session of the next block."""
        self._raised |= flags

    def set_steps(self, settings: StepSettings) -> None:
        """See `Session.set_steps`."""
        self._settings = settings
        if self._session is not None:
            self._session.set_steps(settings)

    def close(self) -> None:
        """End the reader."""
        self._reader.close()


class Reader(Generic[T]):
    """Runs a generator on a thread of its own, one item ahead of `take`.

    If the system refuses another thread, `take` runs the generator.
    """

    def __init__(self, items: Generator[T, None, None]) -> None:
        self._items = items
        # an item in a list of one; or none, and what was raised
        self._ready: SimpleQueue[tuple[list[T], BaseException | None]] = SimpleQueue()
        # None for each item taken. A Semaphore can be left locked where there is no memory.
        self._taken: SimpleQueue[None] = SimpleQueue()
        self._closed = self._alone = False
        self._thread = Thread(target=self._work, name="fastbp reader", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._alone = True

    def _work(self) -> None:
        with ExitStack() as stack:
            stack.push(self._report)
            for item in self._items:
                self._ready.put(([item], None))
                self._taken.get()
                if self._closed:
                    break
        self._items.close()

    def _report(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """Hand what the generator raised to `take`, which would wait for ever without it."""
        if error is not None:
            self._ready.put(([], error))
        return True

    def take(self) -> T:
        """The next item. Raises what the generator raised instead.

        Without memory, the thread may end before it can report anything: then MemoryError.
        """
        if self._alone:
            return next(self._items)
        found = None
        while found is None:
            alive = self._thread.is_alive()  # before the look, because it reports before it ends
            with suppress(Empty):
                found = self._ready.get(timeout=_PATIENCE if alive else 0)
            if found is None and not alive:
                raise MemoryError("not enough memory for the thread that reads the stream")
        items, error = found
        if error is not None:
            raise error
        self._taken.put(None)
        return items[0]

    def close(self) -> None:
        """Stop after the current item, without waiting for long."""
        self._closed = True
        if self._alone:
            self._items.close()
            return
        self._taken.put(None)
        self._thread.join(_PATIENCE)


def _epochs(
    net: Trainee, stream: Stream, shuffle: bool, epochs: range, skip: int
) -> Generator[Checked | None, None, None]:
    """The blocks of all epochs, copied and checked, with None at the end of each epoch."""
    store = _Store()
    for epoch in epochs:
        for block in stream.blocks(net.seed, epoch, shuffle, skip):
            yield block.number, _checked(net, block, store), block.sizes
        skip = 0
        yield None


def _checked(net: Trainee, block: Block, store: _Store) -> Data:
    X = net._inputs(block.X, block.name)
    y = net._targets(block.y, len(X), block.name, some=False)
    s = block.sample_weight
    if s is not None:
        s = check.as_weights(s, len(X), net.dtype, rows_of=block.name, some=False)
    net._remember(net._names_of(block.X))
    store.turn()
    y = None if y is None else store.keep("y", y)
    s = None if s is None else store.keep("s", s)
    if isinstance(X, SparseRows):
        check.check_finite(X, block.name, net.dtype)
        return X[:], y, s
    kept = store.keep_finite("X", X, net.dtype)
    if kept is None:
        check.check_finite(X, block.name, net.dtype)
        kept = store.keep("X", X)
    return kept, y, s


class _Store:
    """Two sets of arrays, used in turn, so that a block needs no new memory."""

    def __init__(self) -> None:
        self._sets: tuple[dict[str, Array], dict[str, Array]] = ({}, {})

    def turn(self) -> None:
        """Use the other set from now on."""
        self._sets = self._sets[::-1]

    def keep(self, name: str, array: Array) -> Array:
        """A dense copy."""
        copy = self._room(name, array)
        copy[...] = array
        return copy

    def keep_finite(self, name: str, array: Array, dtype: np.dtype) -> Array | None:
        """A dense copy; None if a quick look does not show that all is finite in `dtype`."""
        copy = self._room(name, array)
        rows = max(1, _PIECE * len(array) // array.size)
        for first in range(0, len(array), rows):
            piece = copy[first : first + rows]
            piece[...] = array[first : first + rows]
            if array.dtype.kind == "f" and not check.looks_finite(piece, dtype):
                return None
        return copy

    def _room(self, name: str, array: Array) -> Array:
        """Memory for an array of this shape and dtype."""
        room = self._sets[0].get(name)
        if room is None or room.dtype != array.dtype or room.size < array.size:
            room = self._sets[0][name] = np.empty(array.size, array.dtype)
        return room[: array.size].reshape(array.shape)
