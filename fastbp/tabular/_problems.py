"""Problems of the columns of a table, all in one message."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from .._checks.words import counted, listed
from .._types import Array
from ..errors import DataError

SHOWN = 10  # columns whose problems a message lists
_CELL = 60  # characters of a cell in a message


# What a user can do about all unknown categories: in Python, and with the command.
_IGNORES = "sets all inputs of the column to 0 in such rows"
IGNORED = f'unknown="ignore" {_IGNORES}'
IGNORED_BY_OPTION = f"--unknown ignore {_IGNORES}"


@dataclass(frozen=True)
class Problem:
    """What is wrong with some cells of a column, and the way out.

    Parameters
    ----------
    column : str
        The column as messages call it, such as "column 3 ('age')".
    what : str
        What is wrong, with the number of cells and the line of the first one.
    remedy : str
        What the user can do about it.
    drop : str, optional
        How --drop names the column; None if leaving it out is no way out.
    """

    column: str
    what: str
    remedy: str
    drop: str | None = None

    def __str__(self) -> str:
        return f"{self.column}: {self.what}; {self.remedy}"


def data_error(
    source: str, problems: Sequence[Problem], remedy: str = "", *, n_more: int = 0
) -> DataError:
    """Return one error for all problems of a file: one line, or one line for each problem.

    Parameters
    ----------
    source : str
        The name of the file.
    problems : sequence of Problem
        The problems. Those of the first SHOWN columns are listed.
    remedy : str, optional
        What the user can do about all of them.
    n_more : int
        The number of further columns that have problems.

    >>> print(data_error("a.csv", [Problem("column 'x'", "2 empty cells", "fill them in")]))
    a.csv, column 'x': 2 empty cells; fill them in
    """
    columns = list(dict.fromkeys(problem.column for problem in problems))
    n_columns = len(columns) + n_more
    if len(problems) == n_columns == 1:
        return DataError(f"{source}, {problems[0]}" + (f"; {remedy}" if remedy else ""))
    shown = columns[:SHOWN]
    lines = [f"{source}: problems in {counted(n_columns, 'column')}"]
    lines += [f"  {problem}" for problem in problems if problem.column in shown]
    if n_columns > SHOWN:
        lines.append(f"  … and in {counted(n_columns - SHOWN, 'more column')}")
    dropped = dict.fromkeys(problem.drop for problem in problems if problem.drop is not None)
    if 1 < len(dropped) and n_columns <= SHOWN:
        lines.append(f"  --drop {','.join(dropped)} leaves out these columns")
    if remedy:
        lines.append(f"  {remedy}")
    return DataError("\n".join(lines))


def unknown_category(
    called: str, texts: Array, known: Collection[str], place: Callable[[int], str]
) -> list[Problem]:
    """Return a Problem if some texts are not among the categories that a model knows, else none.

    Parameters
    ----------
    called : str
        The column as messages call it.
    texts : ndarray of shape (n,)
        The cells. Those without a text, "" or None, are no category.
    known : collection of str
        The categories.
    place : callable
        Returns where a row is.
    """
    expected = {"", None, *known}
    rows = [row for row, text in enumerate(texts.tolist()) if text not in expected]
    if not rows:
        return []
    found = dict.fromkeys(texts[rows].tolist())
    cells = f"{counted(len(rows), 'cell')} with an unknown category"
    what = f"{cells} {at_first(place(rows[0]), len(rows))}: {listed(map(shortened, found))}"
    return [Problem(called, what, f"the model knows {listed(known)}")]


def at_first(place: str, n: int) -> str:
    """Return where the first of n cells is.

    >>> at_first("line 7", 1), at_first("line 7", 2)
    ('(in line 7)', '(first in line 7)')
    """
    return f"({'first ' if n > 1 else ''}in {place})"


def alternatives(*remedies: str) -> str:
    """Join remedies by commas and "or", without empty ones.

    >>> alternatives("fill it in", "", "leave out the row", "--drop age")
    'fill it in, leave out the row, or --drop age'
    """
    words = [remedy for remedy in remedies if remedy]
    if len(words) < 3:
        return " or ".join(words)
    return f"{', '.join(words[:-1])}, or {words[-1]}"


def as_missing(cell: str) -> str:
    """How a user says that a text means a missing value; "" if an option cannot take it."""
    takes = 0 < len(cell) <= _CELL and cell.isprintable()
    return f"--na {shlex.quote(cell)} (as missing)" if takes else ""


def is_spec(name: str) -> bool:
    """Whether an option can take a name of a column in a list with commas: short, in one line."""
    return (
        0 < len(name) <= _CELL and "," not in name and name.isprintable() and name == name.strip()
    )


def shortened(cell: str) -> str:
    """Return a cell in quotes, shortened if it is long."""
    return repr(cell if len(cell) <= _CELL else f"{cell[:_CELL]}…")
