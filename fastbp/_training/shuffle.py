"""The random numbers of the engine in NumPy: philox4x32-10, and the shuffle that uses it.

Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. A value is a function
of (seed, stream, step, index): counter = (index low, index high, step, stream), key = seed.
"""

from __future__ import annotations

import numpy as np

from .._types import Array

STREAM_SHUFFLE = 0
STREAM_BLOCKS = 16  # the order of the blocks of a stream; not drawn in C

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_LOW, _32 = np.uint64(0xFFFFFFFF), np.uint64(32)


def philox4x32(counter: Array, key: tuple[int, int]) -> Array:
    """Ten rounds of philox4x32 on every row of `counter` (n, 4), uint32; returns (n, 4).

    >>> [hex(word) for word in philox4x32(np.zeros((1, 4), np.uint32), (0, 0))[0].tolist()]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    c0, c1, c2, c3 = (counter[:, i].astype(np.uint64) for i in range(4))
    k0, k1 = key
    for _ in range(10):
        p0, p1 = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (
            (p1 >> _32) ^ c1 ^ np.uint64(k0),
            p1 & _LOW,
            (p0 >> _32) ^ c3 ^ np.uint64(k1),
            p0 & _LOW,
        )
        k0, k1 = (k0 + _W0) % 2**32, (k1 + _W1) % 2**32
    return np.stack([c0, c1, c2, c3], axis=1).astype(np.uint32)


def random_words(seed: int, stream: int, step: int, index: Array) -> Array:
    """Four random uint32 words for every index (n,), as (n, 4).

    >>> random_words(7, 0, 0, np.arange(3)).shape
    (3, 4)
    """
    index = np.asarray(index, np.uint64)
    counter = np.empty((index.size, 4), np.uint32)
    counter[:, 0] = index & _LOW
    counter[:, 1] = index >> _32
    counter[:, 2] = step % 2**32
    counter[:, 3] = stream
    return philox4x32(counter, (seed % 2**32, seed >> 32))


def permutation(
    seed: int, epoch: int, n: int, *, block: int = 0, stream: int = STREAM_SHUFFLE
) -> Array:
    """The order (n,) int64 in which epoch `epoch` visits n < 2**32 samples: Fisher–Yates.

    For i from n-1 down to 1, swap p[i] with p[j], j = floor(u (i+1) / 2**64), where u is the
    64-bit value at index i + 2**32 block.

    Parameters
    ----------
    seed, epoch : int
        They determine the order, together with `block` and `stream`.
    n : int
        How many samples there are.
    block : int, default 0
        The number of the block of a stream; 0 for data that are not streamed.
    stream : int, default STREAM_SHUFFLE
        The stream of random numbers. The order of blocks has one of its own, STREAM_BLOCKS.

    Examples
    --------
    >>> sorted(permutation(0, 0, 6).tolist())
    [0, 1, 2, 3, 4, 5]
    """
    i = np.arange(n, dtype=np.uint64)
    index = i + np.uint64(block << 32)
    words = random_words(seed, stream, epoch, index).astype(np.uint64)
    low, high, bound = words[:, 0], words[:, 1], i + np.uint64(1)
    # floor((high·2³² + low)·bound / 2⁶⁴) in 64 bits, as high·bound + 2³² <= 2⁶⁴
    swap_with = ((high * bound + ((low * bound) >> _32)) >> _32).tolist()
    order = list(range(n))
    for k in range(n - 1, 0, -1):
        j = swap_with[k]
        order[k], order[j] = order[j], order[k]
    return np.array(order, np.int64)
