"""The Table of a .csv file: what its columns are taken for, and what they hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from .._core import CELL_KINDS
from .._messages import readable
from .._types import Array
from ._columns import digits_that_are_dates, find_dates, hole_notes, texts_with_holes
from ._csv import TEXT, Cells
from ._dates import are_dates
from ._faults import check_cells, find_problems
from ._problems import Problem, unknown_category
from ._table import Table

_NO_TARGET = -1  # of a table whose columns are all features


@dataclass(frozen=True)
class Taken:
    """What the columns of a .csv file are taken for; those that are not here hold numbers.

    Attributes
    ----------
    texts : set of int
        The columns of text.
    forced : set of int or None
        Those of them that the user wants as text, whatever is in them; None for all.
    target : int or None
        The target column, if there is one.
    known : mapping of int to collection of str
        The only texts that some of the text columns may contain.
    dates : mapping of int to ndarray
        The dates (n,) of the columns of dates.
    problems : mapping of int to list of Problem
        What is wrong with columns of dates.
    notes : tuple of str
        Notes about dates.
    """

    texts: set[int]
    forced: set[int] | None = None
    target: int | None = None
    known: Mapping[int, Collection[str]] = field(default_factory=dict)
    dates: Mapping[int, Array] = field(default_factory=dict)
    problems: Mapping[int, list[Problem]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def with_dates(self, cells: Cells, columns: set[int]) -> Taken:
        """The same, with those of the columns as dates that are such; for a model, all of them."""
        dates, problems, notes = find_dates(cells, columns, required=self.forced is None)
        texts = self.texts - dates.keys()
        return replace(self, texts=texts, dates=dates, problems=problems, notes=tuple(notes))


def inferred_table(
    cells: Cells,
    columns: Sequence[int],
    forced: set[int],
    target_index: int | None,
    *,
    parsed: bool,
    notes: Sequence[str],
) -> Table:
    """Make the table of a .csv file, whose cells say what is a number, a text or a date."""
    used = [*columns] if target_index is None else [*columns, target_index]
    cells.read_ahead(used)
    texts = cells.text_columns([column for column in used if column not in forced])
    codes = [*cells.codes_among(sorted(texts)), *cells.mixed_among(sorted(texts))]
    taken = Taken(texts | forced, forced=forced, target=target_index)
    if parsed:
        candidates = texts - {target_index}
        candidates |= digits_that_are_dates(cells, {*columns} - texts - forced)
        taken = taken.with_dates(cells, candidates)
    table = table_of_cells(cells, columns, taken, notes=[*notes, *codes])
    if parsed:
        return table
    found = [
        f"{cells.called(column)} has dates, which are taken as categories; turn them into numbers, "
        "such as days"
        for i, column in enumerate(columns)
        if i in table.text and column not in forced and _has_dates(cells, column)
    ]
    return replace(table, notes=(*table.notes, *map(readable, found)))


def survey_cells(
    cells: Cells, columns: Sequence[int], forced: set[int]
) -> tuple[Table, dict[int, list[Problem]]]:
    """Make a table of all that can be read, and say what is wrong with the columns that cannot.

    Those columns are text in the table. The target is one of the features.
    """
    cells.read_ahead(columns)
    texts = cells.text_columns([column for column in columns if column not in forced])
    candidates = texts | digits_that_are_dates(cells, {*columns} - texts - forced)
    taken = Taken(texts | forced, forced=forced).with_dates(cells, candidates)
    problems, _ = find_problems(
        cells,
        {*columns} - taken.texts - taken.dates.keys() - taken.problems.keys(),
        taken.texts - taken.problems.keys(),
        forced=forced,
        target=_NO_TARGET,
        others=taken.problems,
    )
    everything = taken.texts | problems.keys()
    dates = {column: days for column, days in taken.dates.items() if column not in problems}
    taken = replace(taken, texts=everything, forced=everything, dates=dates, problems={})
    clean = sorted(texts - problems.keys())
    notes = [*cells.codes_among(clean), *cells.mixed_among(clean)]
    return table_of_cells(cells, columns, taken, notes=notes), problems


def table_of_cells(
    cells: Cells, columns: Sequence[int], taken: Taken, *, notes: Sequence[str] = ()
) -> Table:
    """Make the table of the feature columns of a .csv file, and of its target if it has one."""
    features, target_index = set(columns), taken.target
    wanted = features if target_index is None else features | {target_index}
    holes = wanted & taken.texts - {target_index} if cells.holes else set()
    known = taken.known
    here = {c: texts_with_holes(cells, c, known.get(c, ())) for c in sorted(holes)}
    text = {column: distinct[codes] for column, (distinct, codes) in here.items()}
    problems = dict(taken.problems)
    for column in known if holes else ():
        called = cells.called(column)
        strange = unknown_category(called, text[column], known[column], cells.place)
        problems |= {column: strange} if strange else {}
    check_cells(
        cells,
        wanted - taken.texts - taken.dates.keys() - problems.keys(),
        wanted & taken.texts - problems.keys(),
        forced=taken.forced,
        target=_NO_TARGET if target_index is None and taken.forced is not None else target_index,
        known={} if cells.holes else known,
        others=problems,
    )
    for column, (found, codes) in cells.texts(sorted(wanted & taken.texts - holes)).items():
        text[column] = found[codes]
    numbers = features - taken.texts - taken.dates.keys()
    if cells.holes:
        notes = [*notes, *taken.notes, *hole_notes(cells, numbers, taken.dates, here)]
    target = None
    if target_index is not None:
        target = text[target_index] if target_index in text else cells.exact(target_index)
    values = _columns(cells.values, columns)
    for i, column in enumerate(columns):
        if column not in numbers:
            values[:, i] = np.nan  # codes that consist of digits were also read as numbers
        elif cells.counts(column)[TEXT]:
            values[np.isnan(values[:, i]), i] = np.nan  # without the codes of texts
        cells.scan.coded[column] = False  # the values may be those of the scan
    return Table(
        source=cells.source,
        names=tuple(cells.names[column] for column in columns),
        values=values,
        text={i: text[column] for i, column in enumerate(columns) if column in text},
        dates={i: taken.dates[c] for i, c in enumerate(columns) if c in taken.dates},
        target_names=() if target_index is None else (cells.names[target_index],),
        target=target,
        lines=cells.lines,
        n_columns=len(cells.names),
        format=cells.scan.format,
        notes=tuple(map(readable, (*cells.notes, *notes))),
    )


def kept_texts(cells: Cells, columns: Sequence[int]) -> dict[str, Array]:
    """Return {name: texts} of columns, in the order of `columns`."""
    found = cells.texts(columns)
    return {cells.names[column]: found[column][0][found[column][1]] for column in columns}


def _has_dates(cells: Cells, column: int) -> bool:
    """Whether all texts of a column are dates, besides holes."""
    texts = cells.texts([column])[column][0]
    return are_dates(texts[~cells.is_hole(column, texts)].tolist())


def _columns(values: Array, columns: Sequence[int]) -> Array:
    """Return some columns of a matrix, without a copy if they are adjacent."""
    first, n = columns[0], len(columns)
    if list(columns) == list(range(first, first + n)):
        return values[:, first : first + n]
    return values[:, columns]


def index_note(cells: Cells) -> str:
    name = repr(cells.scan.head[0]) if cells.scan.head[0] else "without a name"
    does = "names" if cells.scan.counts[0, CELL_KINDS["text"]] else "numbers"
    return f"column 1, {name}, {does} the rows and is left out (give it a name to train on it)"
