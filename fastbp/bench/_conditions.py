"""What else the processors did during a measurement; known on Linux only."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ._layout import Conditions

_N_FIELDS = 8  # user nice system idle iowait irq softirq steal; guest time is part of user
_IDLE = (3, 4)
_STEAL = 7


@dataclass(frozen=True)
class Ticks:
    """Clock ticks since the system started, of the processors that this process may use."""

    total: int
    busy: int  # by processes of this system
    stolen: int  # by the host, if this is a virtual machine
    own: int  # by this process and the measured processes


def conditions(before: Ticks | None, after: Ticks | None) -> Conditions:
    """Return the shares of the time between two counts.

    >>> conditions(Ticks(0, 0, 0, 0), Ticks(200, 120, 10, 100))
    {'steal': 0.05, 'others': 0.1}
    >>> conditions(None, None)
    {}
    """
    if before is None or after is None or after.total <= before.total:
        return {}
    total = after.total - before.total
    others = (after.busy - before.busy) - (after.own - before.own)
    return {
        "steal": (after.stolen - before.stolen) / total,
        "others": max(0, others) / total,  # the counters of a process may be a tick ahead
    }


@contextmanager
def watch(processes: Iterable[int]) -> Iterator[Conditions]:
    """Yield a dict that holds the conditions when the block has ended.

    >>> with watch([]) as found:
    ...     pass
    >>> set(found) <= {"steal", "others"}
    True
    """
    own = (os.getpid(), *processes)
    found: Conditions = {}
    before = count(own)
    yield found
    found.update(conditions(before, count(own)))


def count(own: Iterable[int]) -> Ticks | None:
    """Return the ticks so far, or None if the system does not count them like Linux."""
    try:
        usable = {f"cpu{n}" for n in os.sched_getaffinity(0)}
        with open("/proc/stat") as lines:
            rows = [line.split() for line in lines if line.startswith("cpu")]
        cpus = [[int(n) for n in row[1:][:_N_FIELDS]] for row in rows if row[0] in usable]
        used = sum(_ticks_of(process) for process in own)
    except (AttributeError, OSError):
        return None
    fields = [sum(column) for column in zip(*cpus, strict=True)]
    if len(fields) < _N_FIELDS:
        return None
    total, stolen = sum(fields), fields[_STEAL]
    return Ticks(total, total - stolen - sum(fields[i] for i in _IDLE), stolen, used)


def _ticks_of(process: int) -> int:
    """Return user and system time of a process with all of its threads."""
    with open(f"/proc/{process}/stat") as file:
        after_name = file.read().rpartition(")")[2].split()  # a name may contain spaces
    return int(after_name[11]) + int(after_name[12])
