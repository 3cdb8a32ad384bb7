"""The ranks of a communicator around one fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .lifeline import Lifeline
from .ranks import Ranks, check_comm


@contextmanager
def joined(comm: Any) -> Iterator[Ranks]:
    """The ranks of a communicator, with a `Lifeline` among them.

    The job ends if a rank leaves by an error that the others do not know of.
    """
    check_comm(comm)
    ranks = Ranks(comm)
    try:
        with Lifeline(ranks.comm) as lifeline:
            try:
                yield ranks
            except BaseException as error:
                if not ranks.has_told(error):
                    lifeline.fail(error)
                raise
    finally:
        ranks.close()
