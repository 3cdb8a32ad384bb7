"""Whether the first line of a .csv file holds names, and whether its first column is an index."""

from __future__ import annotations

import numpy as np

from .._core import CELL_KINDS
from .._types import Array
from ..errors import DataError
from ._notation import is_missing, other_notation
from ._scan import Scan

EMPTY, DIGITS, TEXT = (CELL_KINDS[kind] for kind in ("empty", "digits", "text"))
NUMBERS = [CELL_KINDS[kind] for kind in ("digits", "number", "code")]
_FEW = 10  # rows below whose spread says little
_FAR = 10.0  # times the largest number of few rows, 1 at least

_NO = "--header no if it is a row"
_YES = "--header yes if it holds names"


def find_header(scan: Scan, wanted: tuple[str, ...] | None = None) -> tuple[bool, str | None]:
    """Whether line 1 holds names, and what to tell the user where that is not plain to see.

    It does where it holds `wanted`, the names that a model takes, unless these are mere numbers of
    columns, which a file without names has. Else a text above a column of numbers is a name. A line
    of numbers holds names if they are 0, 1, … n - 1, count up in equal steps above fractions, or
    lie far from the columns below; a line of texts above texts does unless one of them stands in
    its column again. For a model of a file without names both are rows.

    Raises DataError where 0, 1 may be names as well as a row.
    """
    found = rows_alone = False
    if wanted is not None:
        places = _are_places(wanted, scan)
        found = not places and set(wanted) <= set(scan.head)
        rows_alone = places and not set(wanted) <= set(scan.head)
    if wanted is not None and found:
        known = all(map(str.isdecimal, wanted))
        note = "line 1 is taken for the names that the model takes" if known else None
        return True, note and f"{note}: {_shown(scan.head)} ({_NO})"
    above_numbers = _numeric_below(scan)
    words = [_is_word(scan, column) for column in range(len(scan.head))]
    numbers = ~np.isin(scan.kinds, (EMPTY, TEXT))
    if not numbers.any():
        if above_numbers[scan.kinds == TEXT].any() and any(words):
            return True, None
        if not rows_alone:
            return _texts_alone(scan)
    if rows_alone or len(scan.lines) == 1:
        return False, None
    line = f"line {scan.lines[0]}"
    shown = _shown(scan.head)
    if _counts_up(scan):
        _refuse_0_1(scan)
        return True, f"{line} is taken for names, since it counts up from 0: {shown} ({_NO})"
    if (np.array(words) & above_numbers).any() and _name_like(scan, numbers):
        return True, f"{line} is taken for names: {shown} ({_NO})"
    reason = None
    if _far_from_below(scan, numbers & above_numbers):
        reason = "its numbers are far from those below"
    elif _steps_above_fractions(scan, numbers & above_numbers):
        reason = "it counts up in equal steps, above fractions"
    if reason is None or _recurs(scan):
        return False, None
    return True, f"{line} is taken for names, since {reason}: {shown} ({_NO})"


def is_index(scan: Scan) -> bool:
    """Whether the first column numbers or names the rows below line 1.

    pandas and R write such a column without a name: whole numbers or texts, all distinct. pandas
    calls one that it has read and written again "Unnamed: 0"; that one must count up from 0.
    """
    n, counts = len(scan.lines) - 1, scan.counts[0]
    if scan.head[0] == "" and counts[TEXT] == n > 1:
        return len(np.unique(scan.texts([0])[0][1][1:])) == n
    if scan.head[0] not in ("", "Unnamed: 0") or counts[DIGITS] != n:
        return False
    numbers = scan.values[1:, 0]
    if scan.head[0] == "":
        return n > 0 and len(np.unique(numbers)) == n
    return bool((numbers == np.arange(n)).all())


def _are_places(wanted: tuple[str, ...], scan: Scan) -> bool:
    """Whether names are numbers of columns, from 1, as a file without names gives them.

    The file that the model was trained on may have had one column more, the target.
    """
    return set(wanted) <= {str(i) for i in range(1, len(scan.head) + 2)}


def _numeric_below(scan: Scan) -> Array:
    """Which columns hold plain numbers alone below the first record, at least one."""
    below = scan.counts.sum(axis=1)
    return np.asarray((scan.counts[:, NUMBERS].sum(axis=1) == below) & (below > 0))


def _is_word(scan: Scan, column: int) -> bool:
    """Whether the cell in the first record could be a name, and is no number of any notation."""
    text = scan.head[column]
    return (
        scan.kinds[column] == TEXT
        and not is_missing(text)
        and other_notation(text, scan.format) is None
    )


def _texts_alone(scan: Scan) -> tuple[bool, str | None]:
    """A first record without a number, above texts."""
    if not any(_is_word(scan, column) for column in range(len(scan.head))):
        return False, None  # missing values, or another notation: the error to come is about them
    if len(scan.lines) == 1:
        return True, None
    line = f"line {scan.lines[0]}"
    again = _recurs(scan)
    if again:
        return False, f"{line} is taken for a row, since {again!r} stands below it too ({_YES})"
    return True, f"{line} is taken for names: {_shown(scan.head)} ({_NO})"


def _recurs(scan: Scan) -> str | None:
    """A text of the first record that stands in its column again."""
    columns = [column for column, kind in enumerate(scan.kinds) if kind == TEXT]
    for column, (_, codes) in scan.texts(columns).items():
        if (codes[1:] == codes[0]).any():
            return scan.head[column]
    return None


def _counts_up(scan: Scan) -> bool:
    """Whether the first record is 0, 1, … n - 1, with an empty cell before it or not."""
    texts = scan.head[1:] if scan.head[0] == "" else scan.head
    return len(texts) > 1 and all(text == str(i) for i, text in enumerate(texts))


def _refuse_0_1(scan: Scan) -> None:
    """DataError where 0, 1 alone stand in line 1 and both may be values of their columns."""
    if len(scan.head) != 2 or scan.head[0] == "":
        return
    if (scan.values[1:, 0] == 0).any() and (scan.values[1:, 1] == 1).any():
        raise DataError(
            f"{scan.source}, line {scan.lines[0]}: 0, 1 may be names or a row; "
            f"say --header yes or --header no"
        )


def _name_like(scan: Scan, numbers: Array) -> bool:
    """Whether the numbers of the first record, beside a word above numbers, may be names too.

    So they are if they count up from 0, or are distinct, whole and none like those below.
    """
    if (scan.kinds[numbers] != DIGITS).any():
        return False
    names, below = scan.values[0, numbers], scan.values[1:, numbers]
    if len(names) > 1 and (names == np.arange(len(names))).all():
        return True
    low, high = np.fmin.reduce(below), np.fmax.reduce(below)  # NaN above texts
    inside = (low <= names) & (names <= high)
    return len(np.unique(names)) == len(names) and not inside.any()


def _far_from_below(scan: Scan, compared: Array) -> bool:
    """Whether all numbers of the first record lie outside the range below, most of them far.

    Far means by more than the width of the range, or, of a few rows, by ten times the largest.
    """
    head, below = scan.values[0, compared], scan.values[1:, compared]
    if not 2 <= len(head) == len(np.unique(head)) == (~np.isin(scan.kinds, (EMPTY, TEXT))).sum():
        return False  # names are distinct, and all of them are compared
    low, high = below.min(axis=0), below.max(axis=0)
    with np.errstate(over="ignore", invalid="ignore"):
        distance = np.maximum(low - head, head - high)
        if len(below) < _FEW:
            return bool((distance > _FAR * np.maximum(1, abs(below).max(axis=0))).all())
        return bool((distance > 0).all() and 2 * (distance > high - low).sum() > len(head))


def _steps_above_fractions(scan: Scan, compared: Array) -> bool:
    """Whether three whole numbers or more count up in equal steps above columns of fractions."""
    names = scan.values[0, compared]
    kinds = scan.kinds[~np.isin(scan.kinds, (EMPTY, TEXT))]
    if not 3 <= len(names) == len(kinds) or (kinds != DIGITS).any():
        return False
    steps = np.diff(names)
    whole = scan.counts[compared, DIGITS]
    return bool(
        steps[0] > 0
        and (steps == steps[0]).all()
        and (2 * whole < scan.counts[compared].sum(axis=1)).all()
    )


def _shown(texts: tuple[str, ...]) -> str:
    shown = ", ".join(text or "(empty)" for text in texts[:8])
    return shown if len(texts) <= 8 else f"{shown}, …"
