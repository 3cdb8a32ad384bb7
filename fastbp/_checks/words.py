"""Words of messages that several checks share."""

from __future__ import annotations

from collections.abc import Iterable


def counted(n: int, what: str, several: str = "") -> str:
    """Return a number and its noun; `several` is an irregular plural.

    >>> counted(1, "empty cell"), counted(4312, "empty cell")
    ('1 empty cell', '4,312 empty cells')
    """
    return f"{n:,} {what if n == 1 else several or what + 's'}"


def listed(names: Iterable[str], most: int = 8) -> str:
    """Return the first names, and how many more there are.

    >>> listed(["size", "age", "price"], 2)
    'size, age and 1 more'
    """
    names = list(names)
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
