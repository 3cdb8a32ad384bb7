"""Columns of a .csv file whose missing values are holes: text with None, dates, and what is told.

In a column of numbers or dates, words such as NA stand for a missing value too. In a column of text
only an empty cell does, since NA may be a country, and None a level: all other words need --na.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet

import numpy as np

from .._checks.words import counted
from .._types import Array
from ._csv import DIGITS, EMPTY, TEXT, Cells
from ._dates import Dates, other_formats, read_dates
from ._problems import Problem, alternatives, as_missing, at_first, shortened

BOOLEANS = ("False", "True")
_MANY = 256  # distinct texts of a column that probably names the rows, if nearly all are distinct
_DIGITS_ALONE = re.compile(r"(%[YmdHMS])+")  # formats of dates that look like whole numbers


def texts_with_holes(cells: Cells, column: int, known: Collection[str] = ()) -> tuple[Array, Array]:
    """Return the distinct texts of a column, with None for a hole, and the index into them (n,).

    If all of them are "true" or "false" in any case, or `known` are BOOLEANS, they become BOOLEANS.
    """
    texts, codes = cells.texts([column])[column]
    holes = cells.is_hole(column, texts)
    if holes.any():
        texts = texts.copy()
        texts[holes] = None
    return as_booleans(texts, known), codes


def as_booleans(texts: Array, known: Collection[str] = ()) -> Array:
    """Write truth values as BOOLEANS if all texts are such, or if `known` are BOOLEANS.

    >>> as_booleans(np.array(["TRUE", None, "false"], object)).tolist()
    ['True', None, 'False']
    """
    named = {text.lower(): text for text in BOOLEANS}
    by_name = known and set(known) <= set(BOOLEANS)
    filled = (text for text in texts.tolist() if text is not None)
    if not by_name and not all(text.lower() in named for text in filled):
        return texts
    made = np.empty(len(texts), object)
    made[:] = [text and named.get(text.lower(), text) for text in texts.tolist()]
    return made


def find_dates(
    cells: Cells, columns: AbstractSet[int], *, required: bool
) -> tuple[dict[int, Array], dict[int, list[Problem]], list[str]]:
    """Read the columns that hold dates.

    Parameters
    ----------
    cells : Cells
        The content of the file.
    columns : set of int
        The columns of text that may be dates.
    required : bool
        Whether a model says that they are dates.

    Returns
    -------
    dict of int to ndarray
        {column: dates (n,)}, datetime64[us], NaT for a hole.
    dict of int to list of Problem
        What is wrong with columns that look like dates.
    list of str
        Notes for the user.
    """
    dates: dict[int, Array] = {}
    problems: dict[int, list[Problem]] = {}
    notes: list[str] = []
    for column in sorted(columns):
        texts, codes = cells.texts([column])[column]
        filled = np.ones(len(texts), bool)
        filled[cells.which_missing(column, texts)] = False
        chosen = np.flatnonzero(filled).tolist()
        distinct = texts[filled].tolist()
        found = read_dates(distinct, cells.scan.format.date_formats)
        if found is None and not required:
            if formats := other_formats(distinct):
                problems[column] = [_other_format(cells, column, formats, codes, chosen)]
            continue
        found = (
            Dates(np.full(len(distinct), np.datetime64("NaT", "us"))) if found is None else found
        )
        wrong = [i for i, none in zip(chosen, np.isnat(found.values), strict=True) if none]
        if wrong:
            problems[column] = [_no_date(cells, column, codes, wrong, required=required)]
        elif found.mixed:
            what = "some times have an offset from UTC, and others have none"
            problems[column] = [Problem(cells.called(column), what, _ways(cells, column, required))]
        if found.in_utc:
            notes.append(f"{cells.called(column)} has times with an offset, which are read in UTC")
        days = np.full(len(texts), np.datetime64("NaT", "us"))
        days[chosen] = found.values
        dates[column] = days[codes]
    return dates, problems, notes


def digits_that_are_dates(cells: Cells, columns: AbstractSet[int]) -> set[int]:
    """Return the columns of digits that a format such as %Y%m%d, which the user names, reads."""
    formats = [each for each in cells.scan.format.date_formats if _DIGITS_ALONE.fullmatch(each)]
    found = set()
    for column in columns if formats else ():
        counts = cells.counts(column)
        if counts[DIGITS] and counts[DIGITS] == counts.sum() - counts[EMPTY]:
            texts = [text for text in cells.texts([column])[column][0].tolist() if text]
            for format in formats:
                days = read_dates(texts, [format])
                if days is not None and days.format and _are_written(days.values, format, texts):
                    found.add(column)
    return found


def _are_written(values: Array, format: str, texts: Sequence[str]) -> bool:
    """Whether dates in a format are exactly these texts: strptime reads 2024111 as a date too."""
    return all(
        day.strftime(format) == text for day, text in zip(values.tolist(), texts, strict=True)
    )


def hole_notes(
    cells: Cells,
    numbers: Collection[int],
    dates: Collection[int],
    texts: Mapping[int, tuple[Array, Array]],
) -> list[str]:
    """Say which words are read as missing, and which columns have no value or name the rows."""
    notes: list[str] = []
    for column in sorted({*numbers, *dates}):
        notes += _words_as_holes(cells, column) if cells.counts(column)[TEXT] else ()
        if column in numbers and np.isnan(cells.values[:, column]).all():
            notes.append(f"{cells.called(column)} has no value (--drop {cells.spec(column)})")
    for column in sorted(texts):
        distinct, codes = texts[column]
        counts = np.bincount(codes, minlength=len(distinct))
        counts[cells.is_hole(column, cells.texts([column])[column][0])] = 0
        notes += _words_as_text(cells, column, distinct, counts)
        notes += _names_of_rows(cells, column, counts)
    return notes


def _words_as_holes(cells: Cells, column: int) -> Iterator[str]:
    """Say which words of a column of numbers or dates are read as missing, without those of na."""
    texts, codes = cells.others([column])[column]
    format = cells.scan.format
    words = [i for i in cells.missing_words(column) if not format.is_na(texts[i])]
    rows = np.flatnonzero(np.isin(codes, words))
    if len(rows):
        word = f"{'such as ' if len(rows) > 1 else ''}{texts[codes[rows[0]]]!r}"
        place = at_first(f"line {cells.lines[rows[0]]}", len(rows))
        read = "are read as missing values" if len(rows) > 1 else "is read as missing"
        yield f"{cells.called(column)}: {counted(len(rows), 'cell')}, {word} {place}, {read}"


def _words_as_text(cells: Cells, column: int, texts: Array, counts: Array) -> Iterator[str]:
    """Say which words of a column of text are read as categories, and may mean a missing value."""
    missing = cells.which_missing(column, cells.texts([column])[column][0])
    found = [i for i in missing if counts[i]]
    words, n = [texts[i] for i in found[:3]], int(counts[found].sum())
    if n:
        shown = ", ".join(map(repr, words))
        way = " ".join(f"--na {shlex.quote(word)}" for word in words)
        read = "is read as a category" if n == 1 else "are read as categories"
        yield (
            f"{cells.called(column)}: {counted(n, 'cell')} {shown} {read} ({way} reads "
            f"{'it' if n == 1 else 'them'} as missing)"
        )


def names_rows(n_distinct: int, n: int) -> bool:
    """Whether so many distinct texts in n rows are probably names of the rows."""
    return n_distinct > _MANY and 10 * n_distinct >= 9 * n


def _names_of_rows(cells: Cells, column: int, counts: Array) -> Iterator[str]:
    n, n_distinct = int(counts.sum()), int((counts > 0).sum())
    if names_rows(n_distinct, n):
        what = f"{n_distinct:,} distinct texts in {n:,} rows: probably names of rows"
        yield f"{cells.called(column)} has {what} (--drop {cells.spec(column)} leaves it out)"


def _no_date(
    cells: Cells, column: int, codes: Array, wrong: list[int], *, required: bool
) -> Problem:
    texts = cells.texts([column])[column][0]
    rows = np.flatnonzero(np.isin(codes, wrong))
    cell = texts[codes[rows[0]]]
    such = f"{'such as ' if len(rows) > 1 else ''}{shortened(cell)}"
    place = at_first(f"line {cells.lines[rows[0]]}", len(rows))
    n = counted(len(rows), "text that is no date", "texts that are no dates")
    if required:
        return Problem(cells.called(column), f"{n}, {such} {place}", _TRAINED)
    what = f"{n} in a column of dates, {such} {place}"
    return Problem(cells.called(column), what, _ways(cells, column, required, cell))


_TRAINED = "the model was trained on dates in this column (--date-format names another format)"


def _ways(cells: Cells, column: int, required: bool, cell: str | None = None) -> str:
    spec = cells.spec(column)
    if required:
        return _TRAINED
    as_hole = as_missing(cell) if cell is not None else ""
    return alternatives(as_hole, f"--categorical {spec} (as text)", f"--drop {spec}")


def _other_format(
    cells: Cells,
    column: int,
    formats: Sequence[tuple[str, str]],
    codes: Array,
    chosen: Sequence[int],
) -> Problem:
    texts = cells.texts([column])[column][0]
    rows = np.flatnonzero(np.isin(codes, chosen))
    such = f"{'such as ' if len(rows) > 1 else ''}{shortened(texts[codes[rows[0]]])}"
    place = at_first(f"line {cells.lines[rows[0]]}", len(rows))
    what = f"{counted(len(rows), 'date')} in another format than 2026-05-31, {such} {place}"
    spec = cells.spec(column)
    reads = [f"--date-format {shlex.quote(each)} ({order})" for each, order in formats[:3]]
    remedy = alternatives(*reads, f"--categorical {spec} (as text)", f"--drop {spec}")
    return Problem(cells.called(column), what, remedy, drop=spec)
