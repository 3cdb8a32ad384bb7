"""What is wrong with the cells of the columns that a table takes: with the way out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

import numpy as np

from .._checks.words import counted
from ._csv import EMPTY, PADDED, TEXT, ZEROS, Cells
from ._dates import are_dates
from ._notation import FORM, looks_numeric, other_notation
from ._problems import (
    IGNORED_BY_OPTION,
    SHOWN,
    Problem,
    alternatives,
    as_missing,
    at_first,
    data_error,
    shortened,
    unknown_category,
)
from ._scan import Format
from ._words import is_infinite, is_missing, is_plain

MAX_CATEGORIES = 256  # distinct strings in a column; with more, they probably identify rows
_MODEL = "the model was trained on numbers in this column"
_MAX_FORMS = 10_000  # forms of cells in a column that are compared with the notations of numbers


def check_cells(
    cells: Cells,
    numbers: AbstractSet[int],
    texts: AbstractSet[int],
    *,
    forced: AbstractSet[int] | None,
    target: int | None,
    known: Mapping[int, Collection[str]],
    others: Mapping[int, list[Problem]],
) -> None:
    """Raise one DataError for all cells that are not what their column takes.

    If missing values are holes of the table, only those of the target are faults.

    Parameters
    ----------
    cells : Cells
        The content of the file.
    numbers : set of int
        The columns that take finite plain numbers.
    texts : set of int
        The columns that take text.
    forced : set of int or None
        Those of `texts` that may contain numbers in any notation; None for all.
    target : int or None
        The target. None if a model says which columns are numbers; the message then does not offer
        the user a choice.
    known : mapping of int to collection of str
        The only texts that some of the columns of text may contain.
    others : mapping of int to list of Problem
        What is wrong with further columns, such as those of dates.
    """
    strange = {c: found for c, each in known.items() if (found := _unknown(cells, c, each))}
    problems, n_more = find_problems(
        *(cells, numbers, texts),
        forced=forced,
        target=target,
        others={c: [*others.get(c, ()), *strange.get(c, ())] for c in {**others, **strange}},
        most=SHOWN,
    )
    if not problems:
        return
    odd = _odd(cells, texts, forced)
    limited = target is not None and not cells.holes
    for column in texts - odd - {target} if limited else ():
        distinct = cells.texts([column])[column][0].tolist()
        listed = column in problems or n_more == 0 or not _is_incomplete(cells, column)
        if len(distinct) > MAX_CATEGORIES and listed:
            many = too_many_categories(cells.called(column), distinct, cells.spec(column))
            problems.setdefault(column, []).append(many)
    found = [problem for _, each in sorted(problems.items()) for problem in each]
    if (numbers | texts) - {target} <= problems.keys():  # no feature would be left
        found = [replace(problem, drop=None) for problem in found]
    remedy = IGNORED_BY_OPTION if strange else ""
    raise data_error(cells.source, found, remedy, n_more=n_more)


def find_problems(
    cells: Cells,
    numbers: AbstractSet[int],
    texts: AbstractSet[int],
    *,
    forced: AbstractSet[int] | None,
    target: int | None,
    others: Mapping[int, list[Problem]],
    most: int | None = None,
) -> tuple[dict[int, list[Problem]], int]:
    """Return what is wrong with the first `most` columns, and the number of further ones.

    The arguments are those of `check_cells`.
    """
    odd = _odd(cells, texts, forced)
    numbers, texts = numbers | odd, texts - odd
    finite = bool(np.isfinite(cells.values).all())  # in one pass, in the order of memory
    taken = {target} if cells.holes else numbers | texts  # that must not miss a value
    faulty = {c for c in numbers if _is_faulty(cells, c, finite, holes=c not in taken)}
    faulty |= {column for column in texts & taken if _is_incomplete(cells, column)} | others.keys()
    shown = sorted(faulty)[:most]
    problems = {}
    for column in shown:
        text, holes = column in texts, column not in taken
        found = _problems(cells, column, target, text=text, holes=holes)
        problems[column] = [
            *(found if column in numbers | texts else ()),
            *others.get(column, ()),
        ]
    return problems, len(faulty) - len(shown)


def _odd(cells: Cells, texts: AbstractSet[int], forced: AbstractSet[int] | None) -> set[int]:
    """Return the columns of text that hold numbers in another notation."""
    return set() if forced is None else {c for c in texts - forced if _looks_numeric(cells, c)}


def _looks_numeric(cells: Cells, column: int) -> bool:
    """Whether a column without plain numbers holds numbers in another notation, or no value."""
    if cells.n_words(column) == 0:
        return False
    texts = cells.texts([column])[column][0]
    number = looks_numeric(texts, cells.scan.format)
    return number is not None or all(map(is_missing, texts))


def too_many_categories(called: str, distinct: Collection[str], spec: str) -> Problem:
    """Return the Problem of a column with so many distinct texts that they identify rows."""
    what = f"{len(distinct):,} distinct texts, more than {MAX_CATEGORIES}: probably names of rows"
    remedy = f"--drop {spec}"
    if are_dates(distinct):
        what = f"{len(distinct):,} distinct dates, more than {MAX_CATEGORIES} categories"
        remedy = f"turn them into numbers, such as days, or {remedy}"
    return Problem(called, what, remedy, drop=None if "," in spec else spec)


def _is_faulty(cells: Cells, column: int, finite: bool, *, holes: bool) -> bool:
    """Whether a column of numbers has a cell that is not a finite plain number, or a hole."""
    kinds = cells.counts(column)
    if kinds[ZEROS] or kinds[PADDED] or cells.n_words(column):
        return True
    if holes:
        return not finite and bool(np.isinf(cells.values[:, column]).any())
    if kinds[EMPTY] or kinds[TEXT]:
        return True
    return not (finite or np.isfinite(cells.values[:, column]).all())


def _is_incomplete(cells: Cells, column: int) -> bool:
    """Whether a column of text has an empty cell."""
    texts, codes = cells.texts([column])[column]
    empty = np.flatnonzero(cells.is_hole(column, texts))
    return bool(empty.size and np.isin(codes, empty).any())


def _unknown(cells: Cells, column: int, known: Collection[str]) -> list[Problem]:
    """Return a Problem if a column of text has texts that are not among those known."""
    texts, codes = cells.texts([column])[column]
    if set(texts.tolist()) <= {"", *known}:
        return []
    return unknown_category(
        cells.called(column), texts[codes], known, lambda row: f"line {cells.lines[row]}"
    )


# ---- the cells of a column, by fault ------------------------------------------------------


@dataclass
class _Group:
    """Cells with the same fault: their number, and the first of them."""

    n: int = 0
    row: int = -1
    cell: str = ""

    def add(self, n: int, row: int, cell: str) -> None:
        """Count more cells."""
        if self.n == 0 or row < self.row:
            self.row, self.cell = row, cell
        self.n += n


@dataclass
class _Faults:
    """The faulty cells of a column."""

    empty: _Group = field(default_factory=_Group)
    missing: _Group = field(default_factory=_Group)
    infinite: _Group = field(default_factory=_Group)
    zeros: _Group = field(default_factory=_Group)
    text: _Group = field(default_factory=_Group)
    notations: dict[str, _Group] = field(default_factory=dict)
    n_distinct: int = 0


def _find(cells: Cells, column: int, *, text: bool) -> _Faults:
    """Sort the cells of a column into groups; those of a text column are empty or no fault."""
    kinds = cells.counts(column)
    rows = np.flatnonzero(~np.isfinite(cells.values[:, column]))
    if not text and len(rows) == kinds[EMPTY] and not kinds[ZEROS] + kinds[PADDED]:
        found = _Faults()  # without the pass over the file that the texts take
        found.empty.add(len(rows), int(rows[0]), "")
        return found
    texts, codes = cells.distinct(column)
    found = _Faults(n_distinct=len(texts))
    if text:
        rows = np.flatnonzero(np.isin(codes, np.flatnonzero(cells.is_hole(column, texts))))
    if not text and kinds[ZEROS] + kinds[PADDED]:
        row = cells.first(column, (ZEROS, PADDED))
        found.zeros.add(int(kinds[ZEROS] + kinds[PADDED]), row, texts[codes[row]])
    forms: dict[str, str | None] = {}
    distinct, first, counts = np.unique(codes[rows], return_index=True, return_counts=True)
    for code, i, n in zip(distinct.tolist(), first.tolist(), counts.tolist(), strict=True):
        cell = texts[code]
        notation = _notation(cell, cells.scan.format, forms)
        _group(found, cell, notation, cells.is_missing).add(n, int(rows[i]), cell)
    return found


def _group(
    found: _Faults, cell: str, notation: str | None, missing: Callable[[str], bool]
) -> _Group:
    """Return the group that a cell belongs to which is no finite number."""
    if cell == "":
        return found.empty
    if missing(cell):
        return found.missing
    if is_infinite(cell) or (notation is None and is_plain(cell)):
        return found.infinite
    if notation is not None:
        return found.notations.setdefault(notation, _Group())
    return found.text


def _notation(cell: str, format: Format, forms: dict[str, str | None]) -> str | None:
    """Return `other_notation` of a cell; `forms` remembers that of cells of the same form."""
    form = cell.translate(FORM)
    if form not in forms and len(forms) < _MAX_FORMS:
        forms[form] = other_notation(cell, format)
    return forms.get(form)


# ---- in words -----------------------------------------------------------------------------


def _problems(
    cells: Cells, column: int, target: int | None, *, text: bool, holes: bool
) -> Iterator[Problem]:
    """Yield the problems of a column: at most one for each kind of fault, and three notations."""
    found = _find(cells, column, text=text)
    model, spec = target is None, cells.spec(column)
    feature = not model and column != target
    drop = f"--drop {spec}" if feature else ""
    few = not model and (holes or found.n_distinct <= MAX_CATEGORIES)
    as_text = f"--categorical {spec} (as text)" if few else ""

    def problem(what: str, group: _Group, *remedies: str, why: str = "") -> Problem:
        such = f", {'such as ' if group.n > 1 else ''}{shortened(group.cell)}" if group.cell else ""
        place = at_first(f"line {cells.lines[group.row]}", group.n)
        remedy = alternatives(*remedies) or _MODEL
        called, dropped = cells.called(column), spec if feature else None
        return Problem(called, f"{what}{such} {place}{why}", remedy, drop=dropped)

    for what, group in (("empty cell", found.empty), ("missing value", found.missing)):
        rows = f"leave out the row{'s' if group.n > 1 else ''}"
        if holes:
            continue
        if group.n == len(cells.lines) > 1 and not model:  # in every row
            yield problem(f"only {what}s", group, drop or "choose another --target")
        elif group.n:
            yield problem(counted(group.n, what), group, "fill in a value", rows, drop)
    if found.infinite.n:
        as_hole = as_missing(found.infinite.cell) if holes else ""
        what = counted(found.infinite.n, "infinite number")
        yield problem(what, found.infinite, "write finite numbers", as_hole, drop)
    for notation, group in list(found.notations.items())[:3]:
        what = counted(group.n, "number") + " in another notation"
        yield problem(what, group, as_text, drop, why=f": {notation}")
    if found.zeros.n:
        what = counted(found.zeros.n, "number") + " with a leading zero"
        yield problem(what, found.zeros, as_text, drop)
    if found.text.n:
        names = found.text.row == 0 and not cells.named
        header = "--header yes if line 1 contains names" if names else ""
        what = counted(found.text.n, "text") + " in a column of numbers"
        as_hole = as_missing(found.text.cell) if holes else ""
        yield problem(what, found.text, header, as_hole, as_text, drop)
