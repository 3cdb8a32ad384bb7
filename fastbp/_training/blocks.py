"""A training session over a Stream: one block is read while the engine trains on another.

The reader copies each block into one of two sets of arrays in turn and checks it on the way. It
starts on the next as soon as the one before it is taken, for then nobody trains on the one whose
memory comes next.
"""

from __future__ import annotations

from collections.abc import Iterator
from queue import SimpleQueue
from threading import Semaphore, Thread

import numpy as np

from .._checks import arguments as check
from .._types import Array, Data, Place, Ran, Session, SessionOptions, SparseRows, Trainee
from ..optim import Optimizer
from .streams import Block, Stream

_PIECE = 2**18  # elements that are copied and then looked at while they are in cache
_PATIENCE = 1.0  # seconds that a source may take to come to an end

Checked = tuple[int, Data]  # the number of a block, and its arrays


class BlockSession:
    """A session of the network's own kind, which is given block after block of a stream."""

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
        self._session: Session | None = None
        self._rates: tuple[Array | None, Array | None] = (None, None)
        self._bound = self._over = False
        self._from = place  # where the block at hand begins or goes on; or else what comes next
        self._behind = -place.first  # rows of blocks that are done
        items = _epochs(net, stream, options.shuffle, range(place.epoch, epochs), place.turn)
        self._reader = Reader(items)

    @property
    def place(self) -> Place:
        """See `Session.place`; `turn` counts the blocks of the epoch that are done."""
        if not self._bound:
            return self._from
        return self._session.place._replace(turn=self._from.turn)

    @property
    def rows_done(self) -> int:
        return self._behind + (self._session.place.first if self._bound else 0)

    def run(self, seconds: float) -> Ran:
        """See `Session.run`; done is said of the epoch, at the end of its last block."""
        if self._over:
            self._from, self._over = Place(self._from.epoch + 1), False
        if not self._bound and not self._next():
            if self._from.step == 0:
                raise ValueError(f"the stream gave no blocks in epoch {self._from.epoch}")
            return self._end_epoch(float("nan"))
        ran = Ran(*self._session.run(seconds))
        if not ran.done:
            return ran
        self._behind += self._n_rows
        self._from = self.place._replace(turn=self._from.turn + 1, first=0)
        self._bound = False
        return ran._replace(done=False) if self._next() else self._end_epoch(ran.last_loss)

    def _next(self) -> bool:
        """Wait for the next block and bind it; False at the end of the epoch."""
        block = self._reader.take()
        if block is None:
            return False
        number, data = block
        self._n_rows = len(data[0])
        if self._session is None or not self._session.bind(data):
            self._session = self._net._session(data, self._optimizer, self._options)
            self._session.set_rates(*self._rates)
        self._session.seek(self._from._replace(turn=number))
        self._bound = True
        return True

    def _end_epoch(self, last_loss: float) -> Ran:
        at = self._from
        if at.weight_sum == 0:
            raise ValueError(f"the sample weights of the stream are all 0 in epoch {at.epoch}")
        self._over = True
        return Ran(False, True, at.epoch, at.step, at.loss_sum / at.weight_sum, last_loss)

    def set_rates(self, rates: Array | None, momenta: Array | None = None) -> None:
        """See `Session.set_rates`."""
        self._rates = (rates, momenta)
        if self._session is not None:
            self._session.set_rates(rates, momenta)

    def close(self) -> None:
        """End the reader."""
        self._reader.close()


class Reader:
    """An iterator run on a thread of its own, one item ahead of who takes them."""

    def __init__(self, items: Iterator) -> None:
        self._items = items
        self._ready: SimpleQueue = SimpleQueue()
        self._taken = Semaphore(0)
        self._closed = False
        self._thread = Thread(target=self._work, name="fastbp reader", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            for item in self._items:
                self._ready.put((item, None))
                self._taken.acquire()
                if self._closed:
                    break
        except BaseException as error:  # noqa: BLE001 - take() raises it, or would wait for ever
            self._ready.put((None, error))
        self._items.close()

    def take(self) -> object:
        """The next item; raises what making it raised."""
        item, error = self._ready.get()
        if error is not None:
            raise error
        self._taken.release()
        return item

    def close(self) -> None:
        """Stop after the item that is being made, without waiting for long."""
        self._closed = True
        self._taken.release()
        self._thread.join(_PATIENCE)


def _epochs(
    net: Trainee, stream: Stream, shuffle: bool, epochs: range, skip: int
) -> Iterator[Checked | None]:
    """The blocks of all epochs, copied and checked, and None at the end of each."""
    store = _Store()
    for epoch in epochs:
        for block in stream.blocks(net.seed, epoch, shuffle, skip):
            yield block.number, _checked(net, block, store)
        skip = 0
        yield None


def _checked(net: Trainee, block: Block, store: _Store) -> Data:
    X = net._inputs(block.X, block.name)
    y = net._targets(block.y, len(X), block.name)
    s = block.sample_weight
    if s is not None:
        s = check.as_weights(s, len(X), net.dtype, rows_of=block.name, some=False)
    store.turn()
    if isinstance(X, SparseRows):
        check.check_finite(X, block.name, net.dtype)
        kept = X[:]
    elif (kept := store.keep("X", X, net.dtype)) is None:
        check.check_finite(X, block.name, net.dtype)
        kept = store.keep("X", X, None)
    return kept, store.keep("y", y, None), None if s is None else store.keep("s", s, None)


class _Store:
    """Two sets of arrays, used in turn, so that a block does not need fresh memory."""

    def __init__(self) -> None:
        self._sets: tuple[dict[str, Array], dict[str, Array]] = ({}, {})

    def turn(self) -> None:
        self._sets = self._sets[::-1]

    def keep(self, name: str, array: Array, finite_in: np.dtype | None) -> Array | None:
        """A dense copy; None where not all was soon seen to be finite in that dtype."""
        room = self._sets[0].get(name)
        if room is None or room.dtype != array.dtype or room.size < array.size:
            room = self._sets[0][name] = np.empty(array.size, array.dtype)
        copy = room[: array.size].reshape(array.shape)
        look = finite_in is not None and array.dtype.kind == "f"
        rows = max(1, _PIECE * len(array) // array.size)
        for first in range(0, len(array), rows):
            piece = copy[first : first + rows]
            piece[...] = array[first : first + rows]
            if look and not check.looks_finite(piece, finite_in):
                return None
        return copy
