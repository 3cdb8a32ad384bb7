"""The rows of a rank."""

from __future__ import annotations

from typing import Any

from .._ranks.cuts import cut, own_parts
from .._ranks.ranks import check_comm


def share(n: int, comm: Any, parts: int = 16) -> slice:
    """Return the rows of this rank, if a data set is spread over the ranks of a communicator.

    The data set is cut into parts of equal size: part p of P has the rows p·n // P to
    (p+1)·n // P, and rank r of R has the parts r·P // R to (r+1)·P // R. The bits of a training
    depend on P, but not on R.

    Parameters
    ----------
    n : int
        The number of rows of the whole data set.
    comm : mpi4py.MPI.Comm
        The communicator.
    parts : int, default 16
        The number of parts P, a power of two, at least the number of ranks.

    Returns
    -------
    slice
        The rows from the first to the last part of this rank.

    Raises
    ------
    TypeError
        If n or parts is not a whole number, or comm is not a communicator.
    ValueError
        If n is negative, parts is not a power of two, or there are more ranks than parts.

    Examples
    --------
    The second of four ranks has a quarter of the rows. In a program, comm is
    `mpi4py.MPI.COMM_WORLD`, and `numpy.load(…, mmap_mode="r")[rows]` reads these rows only.

    >>> from types import SimpleNamespace
    >>> comm = SimpleNamespace(Get_rank=lambda: 1, Get_size=lambda: 4)
    >>> share(1000, comm)
    slice(250, 500, None)
    """
    try:
        rank, size = int(comm.Get_rank()), int(comm.Get_size())
    except AttributeError:
        check_comm(comm)
        raise
    offsets, own = cut(n, parts), own_parts(rank, size, parts)
    return slice(offsets[own.start], offsets[own.stop])
