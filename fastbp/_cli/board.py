"""What `fastbp search` shows while it runs: a live table on a terminal, or else plain lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from shutil import get_terminal_size
from time import perf_counter
from typing import TextIO

from .trials import Trial, as_text, ranked

_SHOWN = 10  # trials in the live table
_BETWEEN = 0.2  # seconds between two drawings


class Board:
    """The report of a search, on standard error.

    Parameters
    ----------
    trials : sequence of Trial
        All trials.
    score_name : str
        The name of their score.
    quiet : bool
        Whether to show nothing.
    """

    def __init__(self, trials: Sequence[Trial], score_name: str, *, quiet: bool) -> None:
        self._trials, self._score_name = trials, score_name
        self._stream: TextIO | None = None if quiet else sys.stderr
        self._live = _is_terminal(self._stream)
        self._begun = perf_counter()
        self._drawn, self._drawn_at = 0, self._begun  # lines of the table, and when
        self._epochs = 0
        self._stage = ""

    def begin(self, n_left: int, epochs: int) -> None:
        """A stage begins: so many trials are trained to so many epochs."""
        self._stage = f"{n_left} {'trial' if n_left == 1 else 'trials'} to epoch {epochs}"
        self._draw()

    def add(self, epochs: int, ended: int) -> None:
        """Count complete epochs of all trials."""
        self._epochs += epochs
        if perf_counter() - self._drawn_at >= _BETWEEN:
            self._draw()

    def close(self) -> None:
        """Remove the live table."""
        self._clear()

    def ranked(self) -> None:
        """Show the best of the trials that have been compared, in a line unless the table is."""
        if self._stream is None or self._live:
            return
        best = ranked(self._trials)[0]
        self._print(f"{self._stage}: best {self._score_name} {best.score:.4f}, {best}")

    def _draw(self) -> None:
        if not self._live:
            return
        self._clear()
        width, height = get_terminal_size()
        rows = ranked(self._trials)[: min(_SHOWN, max(height - 3, 1))]
        status = f"{self._stage}; {self._epochs} epochs, {perf_counter() - self._begun:.0f} s"
        lines = [*(as_text(rows, self._score_name) if rows else []), status]
        self._print("\n".join(line[: width - 1] for line in lines))  # a line must not wrap
        self._drawn, self._drawn_at = len(lines), perf_counter()

    def _clear(self) -> None:
        if self._drawn and self._stream is not None:
            # up to the first line of the table, and erase to the end of the screen
            print(f"\x1b[{self._drawn}F\x1b[J", end="", file=self._stream, flush=True)
        self._drawn = 0

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


def _is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal that can move its cursor."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
