"""Data in parts, and the ranks that have them: what `fit(parts=…, comm=…)` does beside its loop.

Sums over parts are added along one binary tree, so they do not depend on which rank has which
part. csrc/nn/parts.h says how batches take their shares, and docs/many_machines.md what users see.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import fields
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from .._checks import arguments as check
from .._checks.batch_norm import check_one_machine
from .._ranks.cuts import check_parts, cut, own_parts
from .._ranks.ranks import Ranks
from .._types import Array, Data, Trainee
from .._version import __version__
from ..optim import LBFGS, Optimizer
from ..schedules import Schedule
from .shuffle import permutation
from .splits import hold_out
from .streams import Stream

if TYPE_CHECKING:
    from .options import FitOptions

MOST_PARTS = 1024
PARTS = 16  # with ranks, unless the caller says otherwise
Count = tuple[int | None, list[int] | None]
T = TypeVar("T")


class Divided:
    """The parts of a data set, of which each rank has some.

    Parameters
    ----------
    parts : int
        How many there are, of all ranks together.
    ranks : Ranks or None
        The ranks; None for one process that has all parts.
    sync_every : int
        Steps that each rank makes by itself between two averages; 0: all steps are made together.
    outer : Optimizer or None
        With sync_every, what makes a step from one average to the next; None: the average itself.

    Attributes
    ----------
    rows : ndarray (parts,) of intp
        The rows of every part of the data that were measured last.
    """

    def __init__(
        self, parts: int, ranks: Ranks | None, sync_every: int = 0, outer: Optimizer | None = None
    ) -> None:
        self.n, self.ranks, self.sync_every, self.outer = parts, ranks, sync_every, outer
        self.rank, self.size = (0, 1) if ranks is None else (ranks.rank, ranks.size)
        self.own = own_parts(self.rank, self.size, parts)
        self.rows = np.zeros(parts, np.intp)
        self.held_sizes: list[int] | None = None  # rows held out of each part of this rank
        self.cuts: Array | None = None  # of theta, while the optimiser has a share of its state

    @property
    def leads(self) -> bool:
        """Whether this rank talks, calls callbacks and writes files."""
        return self.rank == 0

    @property
    def shared(self) -> bool:
        """Whether several ranks make each step together."""
        return self.size > 1 and not self.sync_every

    # ---- what all ranks have to know ------------------------------------------------------

    def agree(self, make: Callable[[], T]) -> list[T]:
        """What a function returns on each rank; see `Ranks.agree`."""
        return [make()] if self.ranks is None else self.ranks.agree(make)

    def lead(self, make: Callable[[], T]) -> T:
        """What a function returns on rank 0; see `Ranks.lead`."""
        return make() if self.ranks is None else self.ranks.lead(make)

    def told(self, error: BaseException) -> None:
        """Note that all ranks raise this error."""
        if self.ranks is not None:
            self.ranks.note_told(error)

    def has_told(self, error: BaseException) -> bool:
        """Whether all ranks raise this error."""
        return self.ranks is None or self.ranks.has_told(error)

    @property
    def settings(self) -> dict[str, object]:
        """What has to be the same for a fit to continue, by name."""
        found: dict[str, object] = {"parts": self.n}
        if self.sync_every:
            found |= {"sync_every": self.sync_every, "ranks": self.size, "outer": repr(self.outer)}
        return found

    def sum(self, counts: Array) -> Array:
        """Whole numbers, added over the ranks."""
        return cast(Array, sum(self.agree(lambda: counts)))

    def measure(self, count: Callable[[], Count], group: int = 1) -> bool:
        """Exchange the numbers of rows of all parts, for what is trained on; see `rows_of`.

        False if no rank has rows any more.
        """
        rows = self.rows_of(count, group)
        if rows is not None:
            self.rows = rows
        return rows is not None

    def rows_of(self, count: Callable[[], Count], group: int = 1) -> Array | None:
        """The numbers of rows of all parts, (parts,) intp; None if no rank has rows any more.

        Parameters
        ----------
        count : callable
            Returns the rows of this rank, None if it has no further block, and those of each of its
            parts, None if the rows are to be cut evenly. It may raise.
        group : int
            How many rows stay together.
        """
        told = self.agree(lambda: _whole_groups(count(), group))
        if all(n is None for n, _ in told):
            return None
        total = sum(n or 0 for n, _ in told)
        whole = cut(total // group, self.n)
        rows = [group * (end - begin) for begin, end in pairwise(whole)]
        ranges = [own_parts(rank, self.size, self.n) for rank in range(self.size)]
        even = all(
            each is None and (n or 0) == sum(rows[p] for p in parts)
            for (n, each), parts in zip(told, ranges, strict=True)
        )
        if not even:  # each rank has rows of its own choice
            rows = []
            for (n, each), parts in zip(told, ranges, strict=True):
                rows += _cut_evenly(n or 0, len(parts), group) if each is None else each
        return np.array(rows, np.intp)

    def slices(self, rows: Array) -> list[tuple[int, slice]]:
        """The number of each part of this rank, and where its rows are among those of the rank."""
        ends = np.cumsum([0, *(rows[p] for p in self.own)]).tolist()
        return [(p, slice(*pair)) for p, pair in zip(self.own, pairwise(ends), strict=True)]

    def tree(self, values: dict[int, Array]) -> Array | None:
        """Add vectors of this rank's parts to those of the others along the tree of the parts."""
        found: dict[int, Array] = {}
        for each in self.agree(lambda: values):
            found |= each
        return _sum(found, 0, self.n)

    def gather(self, array: T) -> list[T]:
        """The arrays of all ranks on rank 0, an empty list on the others."""
        if self.ranks is None:
            return [array]
        return self.ranks.comm.gather(array) or []

    # ---- the state of an optimiser --------------------------------------------------------

    def states(self, optimizer: Optimizer) -> list[Array]:
        """The vectors of its state that are as long as theta."""
        average = [] if optimizer.average is None else [optimizer.average]
        return [*optimizer.moments, *average]

    def narrow(self, optimizer: Optimizer, cuts: Sequence[int]) -> None:
        """Keep only the elements of the state that this rank updates, cuts[rank] and the next."""
        if self.cuts is not None:
            return
        self.cuts = np.array(cuts)
        share = slice(cuts[self.rank], cuts[self.rank + 1])

        def own(vector: Array) -> Array:  # one element for a rank that updates none
            return vector[share] if share.start < share.stop else np.zeros(1, vector.dtype)

        with optimizer._lock:
            optimizer._keep(own)

    def widen(self, optimizer: Optimizer) -> None:
        """Give every rank the whole state again."""
        if self.cuts is None:
            return
        with optimizer._lock:
            optimizer._keep(self._joined)
        self.cuts = None

    def whole(self, optimizer: Optimizer) -> dict[str, object]:
        """The moments and the average of a narrowed state, whole; {} if it is not narrowed."""
        if self.cuts is None:
            return {}
        moments = [self._joined(vector) for vector in optimizer.moments]
        average = None if optimizer.average is None else self._joined(optimizer.average)
        return {"moments": moments, "average": average}

    def _joined(self, vector: Array) -> Array:
        assert self.ranks is not None and self.cuts is not None
        counts = np.diff(self.cuts)
        whole = np.empty(int(counts.sum()), vector.dtype)
        own = np.ascontiguousarray(vector[: counts[self.rank]])
        self.ranks.wait(self.ranks.comm.Iallgatherv(own, [whole, (counts, self.cuts[:-1])]))
        return whole

    def average_state(self, optimizer: Optimizer) -> None:
        """With sync_every: give all ranks the mean of their states."""
        assert self.ranks is not None
        with optimizer._lock:
            for vector in self.states(optimizer):
                vector[...] = self.mean(vector)
            optimizer._t = max(self.agree(lambda: optimizer._t))

    def mean(self, vector: Array) -> Array:
        """The mean over the ranks, added in their order in float64; the same on all of them."""
        assert self.ranks is not None
        comm, size = self.ranks.comm, self.size
        cuts = np.array([r * vector.size // size for r in range(size + 1)])
        counts, own = np.diff(cuts), cuts[self.rank + 1] - cuts[self.rank]
        received = np.empty((size, own), vector.dtype)
        even = [own] * size
        self.ranks.wait(
            comm.Ialltoallv(
                [vector, (counts, cuts[:-1])],
                [received, (even, [r * own for r in range(size)])],
            )
        )
        mean = np.zeros(own)
        for each in received:
            mean += each
        whole = np.empty_like(vector)
        self.ranks.wait(comm.Iallgatherv((mean / size).astype(vector.dtype), [whole, counts]))
        return whole


def divided(
    parts: object, ranks: Ranks | None, sync_every: object, outer: object
) -> Divided | None:
    """The arguments `parts`, `sync_every` and `outer` of `fit`, checked; None without parts.

    Raises TypeError or ValueError.
    """
    if parts is None and ranks is None:
        for name, value in (("sync_every", sync_every), ("outer", outer)):
            if value is not None:
                raise ValueError(f"{name} is for fits on several ranks: pass comm")
        return None
    n = check_parts(PARTS if parts is None else parts)
    if n > MOST_PARTS:
        raise ValueError(f"parts must be at most {MOST_PARTS}; got {n}")
    steps = 0 if sync_every is None else check.check_positive_int(sync_every, "sync_every")
    if steps and ranks is None:
        raise ValueError("sync_every is for fits on several ranks: pass comm")
    if outer is not None and not steps:
        raise ValueError("outer makes steps between averages: pass sync_every")
    if outer is not None and (not isinstance(outer, Optimizer) or outer.needs_whole):
        raise TypeError(
            f"outer must be an optimiser that makes steps, such as SGD(0.7, momentum=0.9, "
            f"nesterov=True); got {outer!r}"
        )
    return Divided(n, ranks, steps, outer)


def check_divided(
    net: Trainee,
    options: FitOptions,
    optimizer: Optimizer | LBFGS,
    schedule: Schedule | None,
    divided: Divided,
    *,
    streams: bool,
) -> None:
    """Raise ValueError for what does not go with `parts` and `comm`, or differs between ranks."""
    if isinstance(optimizer, LBFGS):
        raise TypeError(
            "LBFGS searches along lines over all rows, not in parts: take another optimizer, or "
            "leave out parts and comm"
        )
    check_one_machine(net.layers)
    if any(layer.scale for layer in net.dense):
        raise ValueError(
            "the gradient of a scale needs the sums of all parts at once, which ranks divide among "
            "them: train layers with scale=True without parts and comm"
        )
    if net.dense[0].embeds:
        raise ValueError(
            "embeddings of inputs are not trained in parts: leave out parts and comm, or embedding "
            "and categories"
        )
    if optimizer.needs_whole and divided.size > 1:
        raise TypeError(
            f"{type(optimizer).__name__} needs all parameters and their state at once, and each "
            "rank updates its share of them: take another optimizer, or leave out comm"
        )
    if options.accumulate != 1:
        raise ValueError(
            "accumulate and parts both divide a batch: leave accumulate out, and give the whole "
            "batch_size, of which each rank holds its share"
        )
    if net._hook is not None:
        raise ValueError(
            "a hook sees every δ of a batch, and with parts no process has them all: take it away "
            "with net.on_delta(None), or leave out parts and comm"
        )
    if divided.outer is not None and options.checkpoint is not None:
        raise ValueError(
            "a checkpoint does not hold the state of outer: leave checkpoint out, or average "
            "without outer"
        )
    if divided.ranks is None:
        return
    check_same(
        divided,
        lambda: (
            _described(net, options, optimizer, divided)
            | {
                "schedule": "none" if schedule is None else _settings_of(schedule),
                "data": "a stream" if streams else "arrays",
            }
        ),
    )


# Arguments that may differ between ranks or are described apart, and those that are data.
_OWN = {
    "n_threads",
    "progress",
    "callbacks",
    "comm",
    "every",
    "resume",
    "time_budget",
    "checkpoint",
    "optimizer",
    "schedule",
    "outer",
}
_DATA = {"sample_weight", "validation_data", "X_val", "y_val", "sample_weight_val"}
_OF_FIRST = {"theta", "seed", "dropout_step", "preprocessing", "feature_names"}


def _described(
    net: Trainee, options: FitOptions, optimizer: Optimizer | LBFGS, divided: Divided
) -> dict[str, str]:
    """What has to be the same on all ranks, by name, as texts."""
    state = {name: x for name, x in net.__getstate__().items() if name not in _OF_FIRST}
    found = {f"{name} of the network": _text(value) for name, value in state.items()}
    found |= {"instruction set (set FASTBP_ISA to one that all have)": net._arithmetic}
    found |= {"version of fastbp": __version__, "optimizer": repr(optimizer)}
    for field in fields(options):
        value = getattr(options, field.name)
        if field.name in _DATA:
            found[field.name] = "none" if value is None else "data"
        elif field.name not in _OWN:
            found[field.name] = _text(value)
    found["checkpoint"] = "none" if options.checkpoint is None else "a folder"
    return found | {"parts": str(divided.n), "outer": repr(options.outer)}


def _settings_of(schedule: Schedule) -> str:
    """Its class and settings, without its state, which is that of rank 0."""
    public = sorted((name, x) for name, x in vars(schedule).items() if name[0] != "_")
    return f"{type(schedule).__name__}({', '.join(f'{name}={_text(x)}' for name, x in public)})"


def _text(value: object) -> str:
    """A text without addresses of objects."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_text, value))
    if isinstance(value, np.ndarray):
        return hashlib.sha256(value.tobytes()).hexdigest()[:16]
    return getattr(value, "__name__", None) or re.sub(r" at 0x[0-9a-f]+", "", str(value))


def check_same(divided: Divided, describe: Callable[[], dict[str, str]]) -> None:
    """ValueError, on all ranks, if these texts by name are not the same on all of them."""
    told = divided.agree(describe)
    for rank, other in enumerate(told):
        for name, text in told[0].items():
            if text != other.get(name):
                error = ValueError(
                    f"all ranks must have the same {name}: rank 0 has {text}, rank {rank} has "
                    f"{other.get(name)}"
                )
                divided.told(error)
                raise error


def take_state_of_first(
    divided: Divided, net: Trainee, optimizer: Optimizer, schedule: Schedule | None
) -> None:
    """Give all ranks the parameters, seed and states of optimiser and schedule of rank 0."""
    assert divided.ranks is not None
    comm = divided.ranks.comm
    told: dict[str, Any] = divided.lead(
        lambda: {
            "seed": net.seed,
            "dropout_step": net._dropout_step,
            "optimizer": {**optimizer.state_dict(), "moments": [], "average": None},
            "moments": len(optimizer.moments),
            "averages": optimizer.average is not None,
            "schedule": None if schedule is None else schedule.state_dict(),
        }
    )
    theta = comm.bcast(net._copy_of_theta() if divided.leads else None)
    vectors = divided.states(optimizer) if divided.leads else []
    n_vectors = told["moments"] + told["averages"]
    found = [comm.bcast(vectors[i] if divided.leads else None) for i in range(n_vectors)]
    if divided.leads:
        return
    net._restore(theta, told["seed"])
    net._dropout_step = told["dropout_step"]
    state = told["optimizer"] | {"moments": found[: told["moments"]]}
    state["average"] = found[-1] if told["averages"] else None
    optimizer.load_state_dict(state)
    if schedule is not None:
        schedule.load_state_dict(told["schedule"])


def sample_of_parts(net: Trainee, data: Data | Stream, divided: Divided) -> str:
    """The rows and a checksum of data in parts, whichever rank has which part."""
    from .checkpoints import sample_of

    if isinstance(data, Stream):
        return repr(type(data).__name__)
    X, y, s = data
    digests = []
    for _, rows in divided.slices(divided.rows):
        part = X[rows], None if y is None else y[rows], None if s is None else s[rows]
        digests.append(sample_of(net, part) if len(part[0]) else "no rows")
    told = [each for own in divided.agree(lambda: digests) for each in own]
    digest = hashlib.sha256("".join(told).encode()).hexdigest()
    return f"{int(divided.rows.sum())} rows in {divided.n} parts with checksum {digest[:16]}"


def hold_out_of_parts(
    divided: Divided,
    share: float,
    seed: int,
    labels: Array | None,
    argument: str = "validation_split",
) -> tuple[Array, Array]:
    """As `hold_out`, in each part of this rank by itself; measures what is left to train on.

    Part p has the held-out rows that a cut of all rows in proportion gives it, perhaps none.
    """
    ends = np.cumsum([0, *divided.rows])
    wanted = np.minimum(np.diff(np.rint(share * ends)).astype(int), divided.rows)
    if not 0 < wanted.sum() < ends[-1]:
        hold_out(int(ends[-1]), share, argument)  # raises
    train, held, sizes = [], [], []
    for p, rows in divided.slices(divided.rows):
        n, own = rows.stop - rows.start, None if labels is None else labels[rows]
        kept, out = np.arange(n), np.arange(n)
        if wanted[p] == 0:
            out = out[:0]
        elif wanted[p] == n:
            kept = kept[:0]
        else:
            if own is not None and len(np.unique(own)) == n:
                own = None  # no class has a row to spare
            kept, out = hold_out(
                n, wanted[p] / n, argument, seed=seed + ((p + 1) << 64), labels=own
            )
        train.append(kept + rows.start)
        held.append(out + rows.start)
        sizes.append(len(kept))
    divided.measure(lambda: (sum(sizes), sizes))
    divided.held_sizes = [len(rows) for rows in held]
    return np.concatenate(train), np.concatenate(held)


def _whole_groups(count: Count, group: int) -> Count:
    """The count itself, if each part has whole samples."""
    for size in count[1] or ():
        if size % group:
            raise ValueError(f"rows come in groups of {group}, and a part has {size}")
    return count


def _cut_evenly(n: int, parts: int, group: int) -> list[int]:
    samples = n // group
    cuts = [p * samples // parts for p in range(parts + 1)]
    return [group * (end - begin) for begin, end in pairwise(cuts)]


def _sum(values: dict[int, Array], first: int, size: int) -> Array | None:
    """The sum of those of parts first … first + size − 1, along their tree."""
    if size == 1:
        return values.get(first)
    left = _sum(values, first, size // 2)
    right = _sum(values, first + size // 2, size // 2)
    return right if left is None else left if right is None else left + right


# ---- batches in Python --------------------------------------------------------------------


def batches(
    rows: Array, batch_size: int, seed: int, epoch: int, block: int, group: int, *, shuffle: bool
) -> list[Array]:
    """The rows of each batch of an epoch, by the rule of csrc/nn/parts.h, all parts in one process.

    >>> [b.tolist() for b in batches(np.array([3, 2]), 2, 0, 0, 0, 1, shuffle=False)]
    [[0, 3], [1, 4], [2]]
    """
    parts, sizes = len(rows), [int(n) // group for n in rows]
    n, batch = sum(sizes), batch_size // group
    begins = np.cumsum([0, *sizes[:-1]])
    bits = parts.bit_length() - 1
    offsets = [n * int(f"{p:0{bits}b}"[::-1] if bits else "0", 2) // parts for p in range(parts)]
    order = [np.arange(size) for size in sizes]
    if shuffle:
        order = [
            permutation(seed, epoch, size, block=block * parts + p) for p, size in enumerate(sizes)
        ]
    found = []
    for T in range(0, n, batch):
        ends = [(min(T + batch, n) * size + o) // n for size, o in zip(sizes, offsets, strict=True)]
        starts = [(T * size + o) // n for size, o in zip(sizes, offsets, strict=True)]
        chosen = np.concatenate([begins[p] + order[p][starts[p] : ends[p]] for p in range(parts)])
        found.append((chosen[:, None] * group + np.arange(group)).ravel())
    return found
