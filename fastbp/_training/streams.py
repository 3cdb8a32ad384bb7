"""Data larger than memory: streams of blocks of rows, for `Network.fit`.

A stream is read block by block, each ahead of its use; `docs/data.md` tells about order, memory and
speed. `fastbp.stream` makes one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from .._checks import arguments as check
from .._checks.numbers import refuse_masked
from .shuffle import STREAM_BLOCKS, permutation

__all__ = ["ArrayStream", "Block", "BlockStream", "Stream", "stream"]

_BLOCK_BYTES = 2**23  # of X, at most, where block_rows is left to us: the cache keeps that


class Block(NamedTuple):
    """Rows as they come from the source, not yet checked.

    number: which block of the data set it is, the same in every epoch. name: how errors call it.
    """

    number: int
    name: str
    X: object
    y: object
    sample_weight: object


class Stream(ABC):
    """Blocks of samples, for `fit` in place of X and y; see `fastbp.stream`."""

    n_rows: int | None = None  # of an epoch, where it is known
    n_epochs: int | None = None  # how often it can be read, None for as often as one likes

    def n_steps(self, batch_size: int) -> int | None:
        """Batches of an epoch, where that is known."""
        return None

    def arrays(self) -> tuple | None:
        """X, y and weights or None, where they can be looked into."""
        return None

    @abstractmethod
    def blocks(self, seed: int, epoch: int, shuffle: bool, skip: int = 0) -> Iterator[Block]:
        """The blocks of an epoch in their order, without the first `skip`."""


class ArrayStream(Stream):
    """Blocks of block_rows rows of arrays, or of anything that has a shape and slices."""

    def __init__(self, X: object, y: object, sample_weight: object, block_rows: int | None) -> None:
        self._X, self._y = _sliced(X, "X"), _sliced(y, "y")
        self._s = None if sample_weight is None else _sliced(sample_weight, "sample_weight")
        if len(self._X.shape) != 2:
            raise ValueError(f"X must be 2-D, (samples, inputs); got shape {self._X.shape}")
        self.n_rows = int(self._X.shape[0])
        if self.n_rows == 0:
            raise ValueError("X has no rows; give at least one sample")
        for name, array in (("y", self._y), ("sample_weight", self._s)):
            if array is not None and len(array) != self.n_rows:
                raise ValueError(f"{name} has {len(array)} rows; X has {self.n_rows}")
        if block_rows is None:
            block_rows = self._rows_by_default()
        self.block_rows = check.check_positive_int(block_rows, "block_rows")

    def _rows_by_default(self) -> int:
        """A power of two, which batch sizes divide that are powers of two themselves."""
        row_bytes = self._X.shape[1] * np.dtype(getattr(self._X, "dtype", np.float64)).itemsize
        return 1 << max(0, (_BLOCK_BYTES // max(row_bytes, 1)).bit_length() - 1)

    def arrays(self) -> tuple:
        return self._X, self._y, self._s

    def n_steps(self, batch_size: int) -> int:
        whole, rest = divmod(self.n_rows, self.block_rows)
        return whole * -(-self.block_rows // batch_size) - (-rest // batch_size)

    def blocks(self, seed: int, epoch: int, shuffle: bool, skip: int = 0) -> Iterator[Block]:
        n_blocks = -(-self.n_rows // self.block_rows)
        order = range(n_blocks)
        if shuffle:
            order = permutation(seed, epoch, n_blocks, stream=STREAM_BLOCKS).tolist()
        for number in order[skip:]:
            first = number * self.block_rows
            end = min(first + self.block_rows, self.n_rows)
            rows = slice(first, end)
            s = None if self._s is None else self._s[rows]
            yield Block(number, f"X[{first}:{end}]", self._X[rows], self._y[rows], s)

    def __repr__(self) -> str:
        return f"fastbp.stream of {self.n_rows} rows, block_rows={self.block_rows}"


class BlockStream(Stream):
    """Blocks from an iterable, or from a function that makes one an epoch."""

    def __init__(self, source: Iterable | Callable[[], Iterable]) -> None:
        self._source = source
        if not callable(source) and iter(source) is source:
            self.n_epochs = 1

    def blocks(self, seed: int, epoch: int, shuffle: bool, skip: int = 0) -> Iterator[Block]:
        source = self._source() if callable(self._source) else self._source
        for number, block in enumerate(source):
            if not isinstance(block, (tuple, list)) or len(block) not in (2, 3):
                raise TypeError(
                    f"block {number} of the stream must be (X, y) or (X, y, sample_weight); "
                    f"got {type(block).__name__}"
                )
            if number >= skip:
                X, y, s = (*block, None)[:3]
                yield Block(number, f"X of block {number}", X, y, s)

    def __repr__(self) -> str:
        return f"fastbp.stream of blocks from {self._source!r}"


def stream(
    X: object, y: object = None, sample_weight: object = None, *, block_rows: int | None = None
) -> Stream:
    """A Stream for `fit`, of data that are larger than memory or come from elsewhere.

    X (n, n_0), y and sample_weight (n,): arrays, `numpy.memmap`, or anything else that has `shape`
    and gives rows for a slice, such as a data set of h5py; block_rows: rows that are read at a
    time, by default as many as fill 8 MiB, at most, and a power of two. `fit` shuffles the blocks,
    and the rows within each.

    Or X alone: an iterable of blocks (X, y) or (X, y, sample_weight), or a function without
    arguments that returns one and is called once an epoch. Blocks come in the order given, `fit`
    shuffles the rows within each. A generator gives one epoch: pass the function that makes it for
    more.

    Batches are cut from one block at a time: the rows that are left over at its end are a shorter
    batch. So block_rows is best a multiple of the batch size.

    Raises TypeError or ValueError for what is neither, and for rows that do not match.

    >>> import fastbp
    >>> X = np.arange(12.0, dtype=np.float32).reshape(6, 2); y = X[:, :1]
    >>> blocks = stream(X, y, block_rows=4); blocks
    fastbp.stream of 6 rows, block_rows=4
    >>> fastbp.Network((2, 1), seed=0).fit(blocks, epochs=2, batch_size=2).epochs
    2
    >>> halves = stream(lambda: ((X[i : i + 3], y[i : i + 3]) for i in (0, 3)))
    >>> fastbp.Network((2, 1), seed=0).fit(halves, epochs=2, batch_size=3).epochs
    2
    """
    if y is not None:
        return ArrayStream(X, y, sample_weight, block_rows)
    if hasattr(X, "shape"):
        raise TypeError("an array needs its targets: write stream(X, y)")
    for name, value in (("sample_weight", sample_weight), ("block_rows", block_rows)):
        if value is not None:
            raise TypeError(f"{name} belongs to arrays; blocks are (X, y, sample_weight) already")
    if not callable(X) and not isinstance(X, Iterable):
        raise TypeError(
            "stream takes arrays X and y, an iterable of blocks (X, y), or a function that returns "
            f"one; got {type(X).__name__}"
        )
    return BlockStream(X)


def _sliced(array: object, name: str) -> object:
    """The array itself if it has rows to slice, else NumPy's idea of it; no masked element."""
    refuse_masked(array, name)
    return array if hasattr(array, "shape") and hasattr(array, "__len__") else np.asarray(array)
