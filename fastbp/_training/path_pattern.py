"""Paths with fields in braces that name entries of the logs, for `ModelCheckpoint`."""

from __future__ import annotations

import os
import string
from collections.abc import Mapping

from .._files.atomic import check_writable
from ..metrics._monitor import ExpectedLogs


class _Whole(string.Formatter):
    """Takes the whole text as the name of a field, so that it may have dots and brackets."""

    def get_field(
        self, field_name: str, args: object, kwargs: Mapping[str, object]
    ) -> tuple[object, str]:
        return kwargs[field_name], field_name


def fill(pattern: str, values: Mapping[str, float]) -> str:
    """The pattern with its fields filled in.

    >>> fill("net-{epoch:02d}-{top_k_accuracy(2):.1f}", {"epoch": 3, "top_k_accuracy(2)": 0.5})
    'net-03-0.5'
    """
    return _Whole().vformat(pattern, (), values)


def check_pattern(pattern: str, expected: ExpectedLogs) -> None:
    """Raise ValueError for a field that is not in the logs, OSError for a bad folder."""
    advice = "; write {{ and }} for braces that are no fields"
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(pattern) if name is not None]
        folder = os.path.dirname(pattern)
        if any(name is not None for _, name, _, _ in string.Formatter().parse(folder)):
            raise ValueError("fields belong in its last part, the name of the file")
    except ValueError as error:
        raise ValueError(f"path {pattern!r} cannot be used: {error}{advice}") from None
    unknown = [name for name in names if name != "epoch" and name not in expected]
    if unknown and (expected.complete or "" in unknown):
        raise ValueError(
            f"path {pattern!r} has the field {{{unknown[0]}}}; the logs hold epoch, "
            f"{', '.join(expected)}{advice}, and give a metric a plain name by a dict of metrics"
        )
    values = dict.fromkeys([*names, *expected], 0.5) | {"epoch": 0}
    try:
        path = fill(pattern, values)
    except (ValueError, KeyError) as error:
        raise ValueError(f"path {pattern!r} cannot be filled in: {error}{advice}") from None
    check_writable(path)
