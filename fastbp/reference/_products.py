"""The matrix products of the passes: factors rounded as `matmul_precision` says, then multiplied.

    highest  A B
    high     hi(A) hi(B) + hi(A) lo(B) + lo(A) hi(B)    hi(x) = bf16(x), lo(x) = bf16(x − hi(x))
    medium   bf16(A) bf16(B)

bf16 rounds to bfloat16: 8 significant bits, to nearest, ties to even. Products and sums are then
those of NumPy in the dtype of the network.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._precision import HIGHEST
from .._types import Array

_TINY = 2.0**-126  # the least normal bfloat16, as of float32
_LARGEST = float.fromhex("0x1.fep127")  # the largest finite one


def bf16(x: Array) -> Array:
    """x rounded to bfloat16, in the dtype of x: float32 or float64.

    As on processors with bfloat16 arithmetic, a subnormal number counts as 0, with its sign. NaN
    and infinity stay, and what is nearer to 2¹²⁸ than to the largest bfloat16 becomes infinity.

    >>> bf16(np.array([1 + 2**-8, 1 + 3 * 2**-8, -1e-40, np.inf])).tolist()
    [1.0, 1.015625, -0.0, inf]
    """
    word: Any
    word, cut = (np.uint32, 16) if x.dtype == np.float32 else (np.uint64, 45)
    bits: Array = np.ascontiguousarray(x).view(word)
    odd = (bits >> word(cut)) & word(1)
    half = word((1 << (cut - 1)) - 1)
    rounded = ((bits + half + odd) >> word(cut) << word(cut)).view(x.dtype).reshape(x.shape)
    rounded = np.where(abs(rounded) > _LARGEST, np.copysign(np.inf, x), rounded)
    rounded = np.where(abs(x) < _TINY, np.copysign(0, x), rounded)
    return np.where(np.isfinite(x), rounded, x).astype(x.dtype, copy=False)


def split(x: Array) -> tuple[Array, Array]:
    """(hi, lo) of x, whose sum has 16 bits of x; lo is 0 where hi is not finite.

    >>> [part.tolist() for part in split(np.array([1 + 2**-9, np.inf]))]
    [[1.0, inf], [0.001953125, 0.0]]
    """
    hi = bf16(x)
    finite = np.isfinite(hi)
    return hi, bf16(np.where(finite, x, 0) - np.where(finite, hi, 0))


def product(A: Array, B: Array, precision: str) -> Array:
    """A @ B with factors of that precision."""
    if precision == HIGHEST:
        return A @ B
    if precision == "medium":
        return bf16(A) @ bf16(B)
    (A_hi, A_lo), (B_hi, B_lo) = split(A), split(B)
    return A_hi @ B_hi + (A_hi @ B_lo + A_lo @ B_hi)
