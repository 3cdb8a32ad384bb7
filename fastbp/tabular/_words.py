"""Words for missing and infinite values, and the grammar of plain numbers."""

from __future__ import annotations

import re

_MISSING = {
    "",
    "na",
    "n/a",
    "#n/a",
    "<na>",
    "nan",
    "nat",
    "null",
    "none",
    "nil",
    "?",
    "-",
    "--",
    ".",
}
LONGEST_MISSING = max(map(len, _MISSING))
_INFINITE = re.compile(r"[+-]?(inf|infinity)", re.IGNORECASE)
_PLAIN = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def is_missing(text: str) -> bool:
    """Whether a cell says that its value is missing: empty, NA, nan, ?, - …"""
    return len(text) <= LONGEST_MISSING and text.lower() in _MISSING


def is_infinite(text: str) -> bool:
    """Whether a cell means infinity."""
    return _INFINITE.fullmatch(text) is not None


def is_plain(text: str) -> bool:
    """Whether a cell is a plain number; leading zeros are allowed."""
    return _PLAIN.fullmatch(text) is not None
