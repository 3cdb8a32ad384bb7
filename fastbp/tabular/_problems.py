"""Problems of the columns of a table, all in one message."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..errors import DataError

SHOWN = 10  # problems that a message lists
_CELL = 60  # characters of a cell in a message


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


def data_error(source: str, problems: Sequence[Problem], remedy: str = "") -> DataError:
    """Return one error for all problems of a file: one line, or one line for each problem.

    `remedy` is what the user can do about all of them.

    >>> print(data_error("a.csv", [Problem("column 'x'", "2 empty cells", "fill them in")]))
    a.csv, column 'x': 2 empty cells; fill them in
    """
    if len(problems) == 1:
        return DataError(f"{source}, {problems[0]}" + (f"; {remedy}" if remedy else ""))
    columns = dict.fromkeys(problem.column for problem in problems)
    lines = [f"{source}: {len(problems)} problems in {counted(len(columns), 'column')}"]
    lines += [f"  {problem}" for problem in problems[:SHOWN]]
    if len(problems) > SHOWN:
        more = len({problem.column for problem in problems[SHOWN:]})
        lines.append(f"  … and {len(problems) - SHOWN} more, in {counted(more, 'column')}")
    dropped = dict.fromkeys(problem.drop for problem in problems if problem.drop is not None)
    if len(dropped) > 1 and len(problems) <= SHOWN:
        lines.append(f"  to leave out these columns: --drop {shlex.quote(','.join(dropped))}")
    if remedy:
        lines.append(f"  {remedy}")
    return DataError("\n".join(lines))


def counted(n: int, what: str) -> str:
    """Return a number and its noun.

    >>> counted(1, "empty cell"), counted(4312, "empty cell")
    ('1 empty cell', '4,312 empty cells')
    """
    return f"{n:,} {what}" + ("" if n == 1 else "s")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint at the known name that is closest to an unknown one; "" if none is close.

    >>> did_you_mean("Prise", ["size", "price"])
    ': did you mean price?'
    """
    folded = {text.casefold(): text for text in known}
    near = difflib.get_close_matches(name.casefold(), folded, 1)
    return f": did you mean {folded[near[0]]}?" if near else ""


def shortened(cell: str) -> str:
    """Return a cell in quotes, shortened if it is long."""
    return repr(cell if len(cell) <= _CELL else f"{cell[:_CELL]}…")
