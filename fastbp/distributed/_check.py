"""A check of a cluster: what its ranks are, how fast messages are, whether bits agree."""

from __future__ import annotations

import hashlib
import os
import platform
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from .. import _core
from .._checks.words import counted
from .._config import config
from .._network.network import Network
from .._ranks.launcher import launched, mismatch
from .._ranks.mpi import versions, world
from .._ranks.ranks import Ranks
from ._share import share

_MESSAGES = 200  # small messages in a measurement
_LARGE = 4 * 2**20  # bytes of a large message
_TIMES = 5  # large messages in a measurement


@dataclass(frozen=True)
class RankInfo:
    """What one rank is.

    Attributes
    ----------
    rank, host : int, str
        Its number, and where it runs.
    isa, cpu : str
        The instruction set in use, and the name of the processor.
    isa_available : tuple of str
        The instruction sets that this processor can run.
    fastbp, numpy, python, mpi4py, mpi : str
        Versions; mpi is the library.
    threads : int
        How many threads training may use.
    cores : tuple of int
        The processors that the rank may run on.
    digest : str
        A digest of the parameters after a short training. Where digests are equal, bits are.
    """

    rank: int
    host: str
    isa: str
    cpu: str
    isa_available: tuple[str, ...]
    fastbp: str
    numpy: str
    python: str
    mpi4py: str
    mpi: str
    threads: int
    cores: tuple[int, ...]
    digest: str


@dataclass(frozen=True)
class Link:
    """Messages between two ranks, to and fro.

    Attributes
    ----------
    ranks : (int, int)
        The two ranks.
    hosts : (str, str)
        Their hosts.
    latency : float
        Seconds for a message of 8 bytes, one way.
    bandwidth : float
        Bytes per second in messages of 4 MiB, one way.
    """

    ranks: tuple[int, int]
    hosts: tuple[str, str]
    latency: float
    bandwidth: float


@dataclass(frozen=True)
class Check:
    """What `check` finds; `str` of it is a report.

    Attributes
    ----------
    ranks : tuple of RankInfo
        All ranks.
    allgather : float
        Seconds for an Allgather of 8 bytes from each rank.
    alltoallv : float
        Bytes per second that each rank sends to the others in an Alltoallv of 4 MiB.
    links : tuple of Link
        Messages between two ranks of each host, and between rank 0 and each other host.
    differences : tuple of str
        What keeps the ranks from training together, with the way out; empty if nothing does.
    warnings : tuple of str
        What may make them slow, or may matter elsewhere.
    """

    ranks: tuple[RankInfo, ...]
    allgather: float
    alltoallv: float
    links: tuple[Link, ...]
    differences: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether there are no differences."""
        return not self.differences

    def __str__(self) -> str:
        lines = [counted(len(self.ranks), "rank") + f" on {counted(len(_hosts(self)), 'host')}"]
        for host, ranks in _hosts(self).items():
            lines += ["", f"{host}: {_numbers(ranks)}", *_of_host(ranks)]
        if len(self.ranks) > 1:
            lines += ["", *self._speed()]
        lines += ["", *(f"DIFFERENCE  {each}" for each in self.differences)]
        lines += [f"warning     {each}" for each in self.warnings]
        if self.ok:
            lines += [f"bits agree  {self.ranks[0].digest} on all ranks, alone and together"]
        return "\n".join(lines)

    def _speed(self) -> list[str]:
        rows = [("allgather", f"{self.allgather * 1e6:9.1f} µs", "8 bytes from each rank")]
        rows += [("alltoallv", f"{self.alltoallv / 1e9:9.2f} GB/s", "sent by each rank")]
        for name, same in (("same host", True), ("other hosts", False)):
            links = [each for each in self.links if (each.hosts[0] == each.hosts[1]) is same]
            if links:
                slow = max(links, key=lambda each: each.latency)
                thin = min(links, key=lambda each: each.bandwidth)
                middle = median(each.latency for each in links)
                much = median(each.bandwidth for each in links)
                rows += [
                    (name, f"{middle * 1e6:9.1f} µs", _worst(slow, f"{slow.latency * 1e6:.1f} µs")),
                    (
                        "",
                        f"{much / 1e9:9.2f} GB/s",
                        _worst(thin, f"{thin.bandwidth / 1e9:.2f} GB/s"),
                    ),
                ]
        return [f"{name:12}{value:16}{note}" for name, value, note in rows]


def check(comm: Any = None) -> Check:
    """Check whether the ranks of a communicator can train together.

    Every rank calls it, and gets the same result. It takes some seconds. The ranks may train
    together if they have the same version of fastbp, the same instruction set and the same library
    of MPI, and compute the same bits: each trains the same small network by itself, and then all
    train it together.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm or None, default None
        The communicator, by default `mpi4py.MPI.COMM_WORLD`, which then has to have
        all processes that the launcher has started.

    Returns
    -------
    Check
        The ranks, the speed of messages, differences and warnings. `print` shows a report.

    Raises
    ------
    ImportError
        If mpi4py or a library of MPI is not installed.
    TypeError
        If comm is not a communicator.

    Examples
    --------
    On the command line, `mpiexec -n 4 python -m fastbp.distributed --check` prints the report. Its
    exit code is 1 if there are differences.

    >>> check("all")
    Traceback (most recent call last):
    TypeError: comm must be a communicator of mpi4py, such as mpi4py.MPI.COMM_WORLD; got 'all'. ...
    """
    ranks = Ranks(world() if comm is None else comm)
    wrong = mismatch(launched(), ranks.size) if comm is None else ""
    try:
        infos = tuple(ranks.agree(lambda: _info(ranks.rank, ranks.size)))
        speed = ranks.agree(lambda: (_allgather(ranks.comm), _alltoallv(ranks.comm)))
        links = [_ping_pong(ranks, infos, *pair) for pair in _pairs(infos)]
        differences = [*([wrong] if wrong else []), *_differences(infos)]
        if not differences:
            digests = ranks.agree(lambda: _trained(ranks.size, ranks.comm))
            differences = [*_other_bits(infos[0].digest, digests)]
    finally:
        ranks.close()
    return Check(
        ranks=infos,
        allgather=max(seconds for seconds, _ in speed),
        alltoallv=min(rate for _, rate in speed),
        links=tuple(links),
        differences=tuple(differences),
        warnings=tuple(_warnings(infos)),
    )


# ---- the ranks ----------------------------------------------------------------------------


def _info(rank: int, size: int) -> RankInfo:
    found = config()
    mpi4py, mpi = versions()
    affinity = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count() or 1))
    return RankInfo(
        rank=rank,
        host=socket.gethostname(),
        isa=str(found["isa"]),
        cpu=str(found["cpu"]),
        isa_available=tuple(_core.available_isas()),
        fastbp=str(found["fastbp"]),
        numpy=np.__version__,
        python=platform.python_version(),
        mpi4py=mpi4py,
        mpi=mpi,
        threads=_core.get_num_threads(),
        cores=tuple(sorted(affinity(0))),
        digest=_trained(size),
    )


def _trained(size: int, comm: Any = None) -> str:
    """A digest of the parameters after a training, alone or on all ranks; the same everywhere.

    The data are quotients of whole numbers, which all machines round alike.
    """
    parts = max(16, 1 << (size - 1).bit_length())
    X = (np.arange(600 * 8).reshape(600, 8) * 7919 % 1009 / 1009).astype(np.float32)
    y = np.arange(600) * 31 % 3
    net = Network((8, 64, 48, 3), output="softmax", loss="cross_entropy", seed=1)
    rows = slice(None) if comm is None else share(len(X), comm, parts)
    net.fit(X[rows], y[rows], epochs=3, batch_size=32, parts=parts, comm=comm)
    return hashlib.sha256(net.theta.tobytes()).hexdigest()[:16]


def _other_bits(alone: str, together: Sequence[str]) -> Iterable[str]:
    for rank, digest in enumerate(together):
        if digest != alone:
            yield (
                f"rank {rank} has other bits after a training of all ranks ({digest}) than after "
                f"one by itself ({alone}): a message was wrong, or fastbp has a fault"
            )


def _differences(infos: Sequence[RankInfo]) -> Iterable[str]:
    common = [isa for isa in infos[0].isa_available if all(isa in i.isa_available for i in infos)]
    equal = f"set FASTBP_ISA={common[-1]} on all ranks"
    yield from _unequal(infos, "isa", "instruction sets", equal)
    yield from _unequal(infos, "fastbp", "versions of fastbp", "install the same one everywhere")
    yield from _unequal(infos, "mpi", "libraries of MPI", "use the same one everywhere")
    if len({info.isa for info in infos}) == 1:
        equal = "if the versions are equal, a machine computes wrongly"
    yield from _unequal(infos, "digest", "bits after a training", equal)


def _warnings(infos: Sequence[RankInfo]) -> Iterable[str]:
    for name in ("numpy", "python", "mpi4py"):
        yield from _unequal(infos, name, f"versions of {name}", "this need not matter")
    yield from _unequal(infos, "cpu", "processors", "the slowest sets the pace")
    for host, ranks in _by(infos, lambda info: info.host).items():
        cores = len({core for each in ranks for core in each.cores})
        threads = sum(each.threads for each in ranks)
        if threads > cores:
            way_out = (
                f"set FASTBP_NUM_THREADS={cores // len(ranks)}"
                if len(ranks) <= cores
                else f"start at most {counted(cores, 'rank')} there, with FASTBP_NUM_THREADS=1"
            )
            yield (
                f"{host} has {counted(len(ranks), 'rank')} with {counted(threads, 'thread')} in "
                f"all, but {counted(cores, 'core')}: {way_out}"
            )


def _unequal(infos: Sequence[RankInfo], name: str, what: str, way_out: str) -> Iterable[str]:
    groups = _by(infos, lambda info: str(getattr(info, name)))
    if len(groups) > 1:
        values = "; ".join(f"{value} on {_where(ranks)}" for value, ranks in groups.items())
        yield f"{what}: {values}: {way_out}"


def _by(infos: Iterable[RankInfo], key: Callable[[RankInfo], str]) -> dict[str, list[RankInfo]]:
    groups: dict[str, list[RankInfo]] = {}
    for info in infos:
        groups.setdefault(key(info), []).append(info)
    return groups


def _hosts(result: Check) -> dict[str, list[RankInfo]]:
    return _by(result.ranks, lambda info: info.host)


# ---- the speed of messages ----------------------------------------------------------------


def _allgather(comm: Any) -> float:
    one, all_of_them = np.zeros(1), np.zeros(comm.Get_size())
    return _mean(comm, lambda: comm.Allgather(one, all_of_them), _MESSAGES)


def _alltoallv(comm: Any) -> float:
    """Bytes per second that this rank sends to the others."""
    size = comm.Get_size()
    counts = [_LARGE // size] * size
    sent, got = np.zeros(sum(counts), np.uint8), np.zeros(sum(counts), np.uint8)
    seconds = _mean(comm, lambda: comm.Alltoallv([sent, counts], [got, counts]), _TIMES)
    return float((sum(counts) - counts[0]) / seconds)


def _mean(comm: Any, act: Callable[[], object], times: int) -> float:
    """Seconds of one call, after one call that is not counted."""
    act()
    comm.Barrier()
    begun = perf_counter()
    for _ in range(times):
        act()
    return (perf_counter() - begun) / times


def _pairs(infos: Sequence[RankInfo]) -> Iterable[tuple[int, int]]:
    """The first two ranks of each host, and rank 0 with the first of each other host."""
    for ranks in _by(infos, lambda info: info.host).values():
        if len(ranks) > 1:
            yield ranks[0].rank, ranks[1].rank
        if ranks[0].host != infos[0].host:
            yield 0, ranks[0].rank


def _ping_pong(ranks: Ranks, infos: Sequence[RankInfo], a: int, b: int) -> Link:
    def seconds(size: int, times: int) -> float:
        message = np.zeros(size, np.uint8)

        def to_and_fro() -> None:
            if ranks.rank == a:
                ranks.comm.Send(message, b)
                ranks.comm.Recv(message, b)
            elif ranks.rank == b:
                ranks.comm.Recv(message, a)
                ranks.comm.Send(message, a)

        return _mean(ranks.comm, to_and_fro, times) / 2

    latency, large = ranks.agree(lambda: (seconds(8, _MESSAGES), seconds(_LARGE, _TIMES)))[a]
    return Link((a, b), (infos[a].host, infos[b].host), latency, _LARGE / large)


# ---- text ---------------------------------------------------------------------------------


def _of_host(ranks: Sequence[RankInfo]) -> list[str]:
    """The lines about a host; what differs between its ranks is shown with all values."""
    names = ("cpu", "isa", "fastbp", "numpy", "python", "mpi4py", "mpi", "threads")
    rows = {
        name: ", ".join(dict.fromkeys(str(getattr(each, name)) for each in ranks)) for name in names
    }
    cores = {core for each in ranks for core in each.cores}
    rows["threads"] += " per rank"
    rows["cores"] = f"{len(cores)} for all ranks"
    return [f"  {name:10}{value}" for name, value in rows.items()]


def _numbers(ranks: Sequence[RankInfo]) -> str:
    numbers = [each.rank for each in ranks]
    if len(numbers) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"ranks {numbers[0]} to {numbers[-1]}"
    return f"rank{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"


def _where(ranks: Sequence[RankInfo]) -> str:
    hosts = list(dict.fromkeys(each.host for each in ranks))
    shown = ", ".join(hosts[:3]) + (f" and {len(hosts) - 3} more" if len(hosts) > 3 else "")
    return f"{_numbers(ranks)} ({shown})"


def _worst(link: Link, value: str) -> str:
    (a, b), (host, other) = link.ranks, link.hosts
    where = host if host == other else f"{host}, {other}"
    return f"median; worst {value} between ranks {a} and {b} ({where})"
