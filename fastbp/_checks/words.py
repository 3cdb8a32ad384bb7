"""Words of messages that several checks share."""

from __future__ import annotations


def counted(n: int, what: str, several: str = "") -> str:
    """Return a number and its noun; `several` is an irregular plural.

    >>> counted(1, "empty cell"), counted(4312, "empty cell")
    ('1 empty cell', '4,312 empty cells')
    """
    return f"{n:,} {what if n == 1 else several or what + 's'}"
