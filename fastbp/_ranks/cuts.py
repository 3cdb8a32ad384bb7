"""How rows are cut into parts, and which parts each rank has.

The bits of a training depend on the cut, so it is the same for any number of ranks: part p of P
has the rows p·n // P … (p+1)·n // P, and rank r of R has the parts r·P // R … (r+1)·P // R.
"""

from __future__ import annotations

from .._checks import arguments as check


def check_parts(parts: object) -> int:
    """A number of parts, as int: a power of two, because sums are added along a binary tree.

    >>> check_parts(16)
    16
    >>> check_parts(12)
    Traceback (most recent call last):
    ValueError: parts must be a power of two; got 12: take 8 or 16
    """
    number = check.check_positive_int(parts, "parts")
    if number & (number - 1):
        above = 1 << number.bit_length()
        raise ValueError(
            f"parts must be a power of two; got {number}: take {above // 2} or {above}"
        )
    return number


def cut(n: int, parts: int) -> list[int]:
    """Where parts begin and end: part p has the rows `cut[p]` … `cut[p + 1]`.

    The numbers of rows differ by at most one. With fewer rows than parts, some parts are empty.

    >>> cut(10, 4)
    [0, 2, 5, 7, 10]
    """
    n, parts = check.check_count(n, "n"), check_parts(parts)
    return [p * n // parts for p in range(parts + 1)]


def own_parts(rank: int, size: int, parts: int) -> range:
    """The parts of a rank; ValueError if there are fewer parts than ranks.

    >>> [list(own_parts(rank, 3, 8)) for rank in range(3)]
    [[0, 1], [2, 3, 4], [5, 6, 7]]
    """
    parts = check_parts(parts)
    if size > parts:
        raise ValueError(
            f"{size} ranks need at least as many parts; got parts={parts}: start at most {parts} "
            f"ranks, or take parts={1 << (size - 1).bit_length()}"
        )
    return range(rank * parts // size, (rank + 1) * parts // size)
