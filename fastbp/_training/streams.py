"""Data larger than memory: streams of blocks of rows, for `Network.fit`.

`fastbp.stream` makes a stream. Training reads it block by block, one block ahead of its use;
docs/data.md describes order, memory and speed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from .._checks import arguments as check
from .._checks.numbers import refuse_masked
from .._checks.words import counted
from .shuffle import STREAM_BLOCKS, permutation

__all__ = ["ArrayStream", "Block", "BlockStream", "Stream", "stream"]

_BLOCK_BYTES = 2**23  # of X, at most, by default: a block then stays in the cache


class Block(NamedTuple):
    """Rows as they come from the source, not yet checked.

    Attributes
    ----------
    number : int
        The number of the block in the data set, the same in every epoch.
    name : str
        The name of the block in error messages.
    X, y, sample_weight : array_like
        The rows; y and sample_weight may be None.
    """

    number: int
    name: str
    X: Any
    y: Any
    sample_weight: Any
    sizes: list[int] | None = None  # the rows of each part in it, where several were joined


class Stream(ABC):
    """Blocks of samples, for `fit` in place of X and y; see `fastbp.stream`."""

    n_rows: int | None = None  # rows of an epoch, if known
    n_epochs: int | None = None  # how often it can be read; None for any number of times
    block_rows: int | None = None  # rows of a block, if all but the last have the same number

    def n_steps(self, batch_size: int) -> int | None:
        """Batches of an epoch, if known."""
        return None

    def arrays(self) -> tuple[Any, Any, Any] | None:
        """X, y and weights or None, if the stream is made of arrays."""
        return None

    @abstractmethod
    def blocks(self, seed: int, epoch: int, shuffle: bool, skip: int = 0) -> Iterator[Block]:
        """The blocks of an epoch in their order, except the first `skip`."""


class ArrayStream(Stream):
    """Blocks of block_rows rows, cut from arrays or from objects with a shape and slices."""

    n_rows: int
    block_rows: int

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
                raise ValueError(f"{name} has {counted(len(array), 'row')}; X has {self.n_rows:,}")
        if block_rows is None:
            block_rows = self._rows_by_default()
        self.block_rows = check.check_positive_int(block_rows, "block_rows")

    def _rows_by_default(self) -> int:
        """A power of two, so that every batch size that is a smaller power of two divides it."""
        row_bytes: int = self._X.shape[1] * np.dtype(getattr(self._X, "dtype", np.float64)).itemsize
        return 1 << max(0, (_BLOCK_BYTES // max(row_bytes, 1)).bit_length() - 1)

    def arrays(self) -> tuple[Any, Any, Any]:
        return self._X, self._y, self._s

    def n_steps(self, batch_size: int) -> int:
        whole, rest = divmod(self.n_rows, self.block_rows)
        return whole * -(-self.block_rows // batch_size) - (-rest // batch_size)

    def blocks(self, seed: int, epoch: int, shuffle: bool, skip: int = 0) -> Iterator[Block]:
        n_blocks = -(-self.n_rows // self.block_rows)
        order: Sequence[int] = range(n_blocks)
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
    """Blocks from an iterable, or from a function that returns one for every epoch."""

    def __init__(self, source: Iterable[Any] | Callable[[], Iterable[Any]]) -> None:
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
    """A Stream for `fit`, of data that are larger than memory or that a program produces.

    `fit` shuffles the blocks of arrays, and the rows within each block. Other blocks keep their
    order, and only the rows within each are shuffled. Batches are cut from one block at a time, and
    the last one of a block may be shorter. So block_rows should be a multiple of the batch size.

    Parameters
    ----------
    X : array_like, shape (n, n_0), or iterable, or callable
        An array, a `numpy.memmap` or another object that has `shape` and returns rows for a slice,
        such as a data set of h5py. Or, without y, an iterable of blocks (X, y) or
        (X, y, sample_weight), or a function without arguments that returns such an iterable; it
        is called once per epoch. A generator gives one epoch only: for more, pass the function
        that makes it.
    y : array_like, shape (n,) or (n, n_targets), optional
        The targets, for arrays.
    sample_weight : array_like, shape (n,), optional
        The weights of the samples, for arrays.
    block_rows : int, optional
        Rows that are read at a time from arrays. The default is the largest power of two whose
        rows take at most 8 MiB.

    Returns
    -------
    Stream
        The data, to be passed to `fit` instead of X and y.

    Raises
    ------
    TypeError, ValueError
        X is neither of these, or the arrays have different numbers of rows.

    Examples
    --------
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


def _sliced(array: object, name: str) -> Any:
    """The object itself if it has rows to slice, else an array; no masked elements."""
    refuse_masked(array, name)
    return array if hasattr(array, "shape") and hasattr(array, "__len__") else np.asarray(array)
