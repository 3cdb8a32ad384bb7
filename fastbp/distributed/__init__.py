"""Training on many machines with MPI: which rows are whose, and whether a cluster is sound.

    rows = fastbp.distributed.share(n, comm)            the rows of this rank
    data = fastbp.distributed.parts(function)           data that a function reads part by part
    mpiexec -n 8 python -m fastbp.distributed --check   hosts, speed of messages, equal bits

This needs mpi4py and an MPI: `pip install "fastbp[mpi]"`.
"""

from .._public import present
from ._check import Check, Link, RankInfo, check
from ._parts import parts
from ._share import share

__all__ = ["Check", "Link", "RankInfo", "check", "parts", "share"]

present(__name__, __all__)
