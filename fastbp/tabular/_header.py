"""Decide whether line 1 of a .csv file contains names, and whether column 1 is an index."""

from __future__ import annotations

import numpy as np

from .._core import CELL_KINDS
from .._types import Array
from ..errors import DataError
from ._notation import other_notation
from ._scan import Scan
from ._words import is_missing

EMPTY, DIGITS, TEXT = (CELL_KINDS[kind] for kind in ("empty", "digits", "text"))
NUMBERS = [CELL_KINDS[kind] for kind in ("digits", "number", "code")]
_YEARS = (1800, 2100)
_FEW = 10  # with fewer rows, the range of a column says little
_MOSTLY = 2  # how many times as many numbers as texts a column of numbers has
_FAR = 10.0  # with few rows: how many times the largest number (at least 1) counts as far

_NO = "--header no if it is a row"
_YES = "--header yes if it contains names"


def find_header(scan: Scan, wanted: tuple[str, ...] | None = None) -> tuple[bool, str | None]:
    """Decide whether line 1 contains names; also return a note for the user if that is not obvious.

    The rules, in this order:

    - Line 1 contains names if all of `wanted`, the names that a model takes, are in it. This does
      not count if `wanted` are only numbers of columns, as they are for a file without names.
    - Text above a column of numbers is a name; the column may have holes.
    - A line of numbers contains names if they are 0, 1, … n - 1, if they increase in equal steps
      above fractions, if they are consecutive years, or if they are far from the numbers below.
    - A line of text above text contains names unless a string appears in its column again.
    - For a model of a file without names, the last two kinds of line are rows.

    Raises
    ------
    DataError
        The line is 0, 1, which may be names as well as a row.
    """
    found = rows_alone = False
    if wanted is not None:
        places = _are_places(wanted, scan)
        found = not places and set(wanted) <= set(scan.head)
        rows_alone = places and not set(wanted) <= set(scan.head)
    if wanted is not None and found:
        known = all(map(str.isdecimal, wanted))
        note = "line 1 is read as the names that the model takes" if known else None
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
        return True, f"{line} is read as names, because it counts up from 0: {shown} ({_NO})"
    if (np.array(words) & above_numbers).any() and _name_like(scan, numbers):
        return True, f"{line} is read as names: {shown} ({_NO})"
    reason = None
    if _far_from_below(scan, numbers & above_numbers):
        reason = "its numbers are far from the numbers below"
    elif _steps_above_fractions(scan, numbers & above_numbers):
        reason = "it counts up in equal steps above fractions"
    elif _are_years(scan, 0) and not _are_years(scan, 1) and all(np.array(words) | numbers):
        reason = "its numbers are consecutive years"
    if reason is None or _recurs(scan):
        return False, None
    return True, f"{line} is read as names, because {reason}: {shown} ({_NO})"


def is_index(scan: Scan) -> bool:
    """Whether the first column only numbers or names the rows below line 1.

    pandas and R write such a column without a name; its cells are whole numbers or strings, all of
    them distinct. If pandas reads and writes the file again, the column is called "Unnamed: 0". A
    column with that name is an index only if it counts up from 0.
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
    """Whether the names are column numbers from 1, as for a model of a file without names.

    The training file may have had one more column, the target.
    """
    return set(wanted) <= {str(i) for i in range(1, len(scan.head) + 2)}


def _numeric_below(scan: Scan) -> Array:
    """Mark the columns that contain plain numbers below the first record, and beside them no text.

    Empty cells do not count; nor do a few texts, such as NA, where most cells are numbers.
    """
    numbers = scan.counts[:, NUMBERS].sum(axis=1)
    others = scan.counts.sum(axis=1) - numbers - scan.counts[:, EMPTY]
    only_text = others == scan.counts[:, TEXT]
    return np.asarray((numbers > 0) & only_text & (numbers >= _MOSTLY * others))


def _is_word(scan: Scan, column: int) -> bool:
    """Whether a cell of the first record can be a name and is not a number in any notation."""
    text = scan.head[column]
    return (
        scan.kinds[column] == TEXT
        and not is_missing(text)
        and other_notation(text, scan.format) is None
    )


def _texts_alone(scan: Scan) -> tuple[bool, str | None]:
    """Decide about a first record that has no number, above columns of text."""
    if not any(_is_word(scan, column) for column in range(len(scan.head))):
        return False, None  # missing values or another notation: a later error reports them
    if len(scan.lines) == 1:
        return True, None
    line = f"line {scan.lines[0]}"
    again = _recurs(scan)
    if again:
        return False, f"{line} is read as a row, because {again!r} appears below it too ({_YES})"
    return True, f"{line} is read as names: {_shown(scan.head)} ({_NO})"


def _recurs(scan: Scan) -> str | None:
    """Return a string of the first record that appears again in its column."""
    columns = [column for column, kind in enumerate(scan.kinds) if kind == TEXT]
    for column, (_, codes) in scan.texts(columns).items():
        if (codes[1:] == codes[0]).any():
            return scan.head[column]
    return None


def _counts_up(scan: Scan) -> bool:
    """Whether the first record is 0, 1, … n - 1, possibly after an empty cell."""
    texts = scan.head[1:] if scan.head[0] == "" else scan.head
    return len(texts) > 1 and all(text == str(i) for i, text in enumerate(texts))


def _refuse_0_1(scan: Scan) -> None:
    """Raise DataError if line 1 is exactly 0, 1 and both may be values of their columns."""
    if len(scan.head) != 2 or scan.head[0] == "":
        return
    if (scan.values[1:, 0] == 0).any() and (scan.values[1:, 1] == 1).any():
        raise DataError(
            f"{scan.source}, line {scan.lines[0]}: 0, 1 may be names or a row; "
            f"use --header yes or --header no"
        )


def _name_like(scan: Scan, numbers: Array) -> bool:
    """Whether the numbers of the first record can be names, if a word above numbers is a name.

    They can if they count up from 0, if they are consecutive years, or if they are distinct whole
    numbers outside the range of the numbers below.
    """
    if (scan.kinds[numbers] != DIGITS).any():
        return False
    names, below = scan.values[0, numbers], scan.values[1:, numbers]
    if len(names) > 1 and (names == np.arange(len(names))).all():
        return True
    if len(names) > 1 and _YEARS[0] <= names[0] <= _YEARS[1] and (np.diff(names) == 1).all():
        return True
    low, high = np.fmin.reduce(below), np.fmax.reduce(below)  # NaN above text
    inside = (low <= names) & (names <= high)
    return len(np.unique(names)) == len(names) and not inside.any()


def _are_years(scan: Scan, record: int) -> bool:
    """Whether at least three numbers of a record are all of its numbers, and consecutive years."""
    years = scan.values[record]
    years = years[~np.isnan(years)]
    inside = len(years) > 2 and _YEARS[0] <= years[0] <= years[-1] <= _YEARS[1]
    return bool(inside and (np.diff(years) == 1).all())


def _far_from_below(scan: Scan, compared: Array) -> bool:
    """Whether all numbers of the first record are outside the range below, and most of them far.

    Far means further away than the width of the range or, with few rows, than ten times the largest
    number.
    """
    head, below = scan.values[0, compared], scan.values[1:, compared]
    if not 2 <= len(head) == len(np.unique(head)) == (~np.isin(scan.kinds, (EMPTY, TEXT))).sum():
        return False  # names are distinct, and each of them must be compared
    low, high = np.fmin.reduce(below), np.fmax.reduce(below)  # without holes
    with np.errstate(over="ignore", invalid="ignore"):
        distance = np.maximum(low - head, head - high)
        if len(below) < _FEW:
            return bool((distance > _FAR * np.maximum(1, np.fmax.reduce(abs(below)))).all())
        return bool((distance > 0).all() and 2 * (distance > high - low).sum() > len(head))


def _steps_above_fractions(scan: Scan, compared: Array) -> bool:
    """Whether at least three whole numbers increase in equal steps above columns of fractions."""
    names = scan.values[0, compared]
    kinds = scan.kinds[~np.isin(scan.kinds, (EMPTY, TEXT))]
    if not 3 <= len(names) == len(kinds) or (kinds != DIGITS).any():
        return False
    steps = np.diff(names)
    whole, empty = scan.counts[compared, DIGITS], scan.counts[compared, EMPTY]
    return bool(
        steps[0] > 0
        and (steps == steps[0]).all()
        and (2 * whole < scan.counts[compared].sum(axis=1) - empty).all()
    )


def _shown(texts: tuple[str, ...]) -> str:
    shown = ", ".join(text or "(empty)" for text in texts[:8])
    return shown if len(texts) <= 8 else f"{shown}, …"
