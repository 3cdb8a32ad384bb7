"""Locks that do not stay locked in the child of a fork."""

from __future__ import annotations

import os
from threading import RLock
from typing import Protocol
from weakref import WeakValueDictionary


class _Owner(Protocol):
    _lock: RLock


_owners: WeakValueDictionary[int, _Owner] = WeakValueDictionary()  # by id


def lock_for(owner: _Owner) -> RLock:
    """Return a new RLock, which the owner has to keep as `_lock`.

    The child of a fork has only the thread that forked. If another thread of the parent holds the
    lock, nobody would ever release it in the child: `_lock` is replaced there.
    """
    _owners[id(owner)] = owner
    return RLock()


def _replace_locks() -> None:
    for owner in list(_owners.values()):
        if owner._lock.acquire(blocking=False):  # nobody holds it, or this thread does
            owner._lock.release()
        else:
            owner._lock = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_replace_locks)
