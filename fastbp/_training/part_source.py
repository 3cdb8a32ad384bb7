"""Data in parts that the caller cuts: a function that reads one part, arrays or a stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .streams import Block, Stream

if TYPE_CHECKING:
    from .divided import Divided


class PartSource:
    """Data in parts, by a function that reads one of them; see `fastbp.distributed.parts`."""

    def __init__(self, function: Callable[[int], Any]) -> None:
        if not callable(function):
            raise TypeError(f"parts takes a function of the number of a part; got {function!r}")
        self._function = function

    def read(
        self, divided: Divided | None, y: object, sample_weight: object
    ) -> tuple[tuple[Any, Any, Any], list[int] | None]:
        """(X or a stream, y, weights) of the parts of this rank, and how many rows each has."""
        if divided is None:
            raise ValueError("data in parts need the number of parts: pass parts=16, or comm")
        for name, value in (("y", y), ("sample_weight", sample_weight)):
            if value is not None:
                raise TypeError(f"the function of the parts returns {name}, too: pass None")
        found = [self._function(p) for p in divided.own]
        if all(isinstance(each, Stream) for each in found):
            return (PartStream(found), None, None), None
        for p, each in zip(divided.own, found, strict=True):
            if not isinstance(each, (tuple, list)) or len(each) not in (2, 3):
                raise TypeError(
                    f"part {p} must be (X, y), (X, y, sample_weight) or a stream, like all "
                    f"others; got {type(each).__name__}"
                )
        whole = [(*each, None)[:3] for each in found]
        columns = [[each[i] for each in whole] for i in range(3)]
        sizes = [_n_rows(X) for X in columns[0]]
        return (join(columns[0]), join(columns[1]), join(columns[2])), sizes

    def __repr__(self) -> str:
        return f"fastbp.distributed.parts({self._function!r})"


class PartStream(Stream):
    """The streams of several parts, block by block at the same time."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        self._streams = streams
        limits = [each.n_epochs for each in streams if each.n_epochs is not None]
        self.n_epochs = min(limits, default=None)

    def blocks(self, seed: int, epoch: int, shuffle: bool, skip: int = 0) -> Any:
        """See `Stream.blocks`. A part whose stream has ended has no rows in the next blocks."""
        sources = [each.blocks(seed, epoch, shuffle, skip) for each in self._streams]
        for number in range(skip, 2**62):
            found = [next(source, None) for source in sources]
            if all(block is None for block in found):
                return
            yield _joined(number, found)


def _joined(number: int, found: Sequence[Block | None]) -> Block:
    """The next blocks of some parts as one."""
    blocks = [block for block in found if block is not None]
    sizes = [0 if block is None else _n_rows(block.X) for block in found]
    X, y, s = (join([block[i] for block in blocks]) for i in (2, 3, 4))
    return Block(number, f"X of block {number} of the parts", X, y, s, sizes)


def _n_rows(X: Any) -> int:
    return int(X.shape[0]) if hasattr(X, "shape") else len(X)


def join(blocks: Sequence[Any]) -> Any:
    """Arrays of several parts as one; sparse matrices stay sparse, and one alone is not copied."""
    if len(blocks) == 1:
        return blocks[0]
    if any(block is None for block in blocks):
        if all(block is None for block in blocks):
            return None
        raise ValueError("some parts have targets or weights and others do not")
    if all(hasattr(block, "tocsr") for block in blocks):
        return _stack_sparse(blocks)
    return np.concatenate([np.asarray(block) for block in blocks])


def _stack_sparse(blocks: Sequence[Any]) -> Any:
    """Sparse matrices of SciPy, one below the other, without importing it here."""
    csr = [block.tocsr() for block in blocks]
    ends = np.cumsum([0, *(len(each.data) for each in csr)])
    above = [each.indptr[1:] + at for each, at in zip(csr, ends[:-1], strict=True)]
    indptr = np.concatenate([[0], *above])
    widths = sorted({each.shape[1] for each in csr})
    if len(widths) > 1:
        raise ValueError(f"all parts must have the same columns; got {widths} of them")
    shape = (sum(each.shape[0] for each in csr), csr[0].shape[1])
    data = np.concatenate([each.data for each in csr])
    indices = np.concatenate([each.indices for each in csr])
    return type(csr[0])((data, indices, indptr), shape=shape)
