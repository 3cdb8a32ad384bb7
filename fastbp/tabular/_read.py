"""Read a Table from a file: from .csv, .npz and .npy files."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from .._checks.names import did_you_mean
from .._checks.size_limit import MAX_BYTES, check_max_bytes
from .._core import CELL_KINDS
from .._files.numpy_arrays import open_npz, read_npy
from .._messages import readable
from .._types import Array
from ..errors import DataError
from ._columns import digits_that_are_dates, find_dates, hole_notes, set_holes, texts_with_holes
from ._csv import Cells, Format, read_csv
from ._dates import are_dates
from ._faults import check_cells
from ._problems import Problem, shortened, unknown_category
from ._table import Names, Table, check_rules, from_arrays


def read_table(
    path: str | os.PathLike[str],
    *,
    target: str | None = None,
    drop: Sequence[str] = (),
    categorical: Sequence[str] = (),
    header: str = "auto",
    delimiter: str = ",",
    decimal: str = ".",
    thousands: str = "",
    missing: str = "error",
    dates: str = "text",
    na: Sequence[str] = (),
    date_formats: Sequence[str] = (),
    max_bytes: int = MAX_BYTES,
) -> Table:
    """Read features and target from a .csv, .npz or .npy file.

    A column of a .csv file contains numbers if each of its cells is a plain number, and text if
    none of them is; docs/formats.md has the rules.

    Parameters
    ----------
    path : str or path-like
        The file; its extension determines the format. A .npz file contains the arrays X and y, a
        .npy file one 2-D array.
    target : str, optional
        The column to predict, by name or by number: numbers count from 1, and -1, the default, is
        the last column. For a .npz file, the name of the array, by default "y".
    drop : sequence of str
        Columns to leave out, by name or number (.csv and .npy). "a,b" stands for two columns,
        unless a column has this name.
    categorical : sequence of str
        Columns, given as for `drop`, to read as text although they look like numbers (.csv). A
        column without any number is text in any case.
    header : {"auto", "yes", "no"}
        Whether line 1 of a .csv file contains names. "auto" decides by the content of the file.
    delimiter : str, default ","
        The character between the cells of a .csv file; " " stands for one or more blanks.
    decimal : str, default "."
        The decimal mark of the numbers in a .csv file, "." or ",".
    thousands : str, default ""
        The mark between groups of three digits in a .csv file: one of `. , ' _`, a blank (of any
        width), or "" for none.
    missing : {"error", "keep"}
        Whether missing values of features are refused, or holes of the table: an empty cell in any
        column, and words such as NA in a column of numbers or dates; `Table.notes` says so. A
        target must have no missing value.
    dates : {"text", "parse"}
        Whether columns of dates in a .csv file are read as text, or as dates. ISO 8601 is certain;
        dates in another format are refused unless `date_formats` has it.
    na : sequence of str
        Further texts that stand for a missing value in a .csv file, in all columns, with
        `missing="keep"`. Numbers such as "-999" are among them too.
    date_formats : sequence of str
        Formats of dates in a .csv file, as `datetime.strptime` takes them: "%d.%m.%Y".
    max_bytes : int, default 4 GiB
        The maximum size of an array in memory. Without a limit, a small compressed file could claim
        more memory than the machine has.

    Returns
    -------
    Table
        The table, with its target.

    Raises
    ------
    DataError
        The file is not a rectangular table of plain numbers and text without missing values, or it
        needs more than `max_bytes` bytes. One message counts the faulty cells of all columns, with
        the first line of each fault and the way out.
    ValueError
        An option is invalid, or two of them conflict.
    OSError
        As `open` raises it.
    """
    source = os.fspath(path)
    max_bytes = check_max_bytes(max_bytes)
    holes, parsed = check_rules(missing, dates, na, date_formats)
    kind = _kind_of(source)
    if kind == ".npz":
        _refuse(source, drop=drop, categorical=categorical)
        key = target or "y"
        with open_npz(source, max_bytes=max_bytes) as archive:
            if key not in archive.names:
                known = ", ".join(archive.names) or "none"
                raise DataError(f"no array {key!r}; the file contains {known}")
            X = archive.read(_features_of(archive.names, key))
            y = archive.read(key)
        return from_arrays(source, X, y, target=key, missing=missing)
    if kind == ".npy":
        _refuse(source, categorical=categorical)
        X = _load_matrix(source, max_bytes)
        names = tuple(str(i + 1) for i in range(X.shape[1]))
        target_index, kept = _split_columns(source, names, target, drop)
        y = X[:, target_index]
        table = from_arrays(source, X[:, kept], y, target=names[target_index], missing=missing)
        return replace(table, names=tuple(names[i] for i in kept), n_columns=len(names))
    format = Format(delimiter, decimal, thousands, tuple(na), tuple(date_formats))
    cells = read_csv(source, header=header, format=format, holes=holes, max_bytes=max_bytes)
    target_index, kept = _split_columns(source, cells.names, target, drop, index=cells.index)
    forced = set(find_columns(categorical, cells.names, source))
    used = (*kept, target_index)
    dropped = find_columns(drop, cells.names, source)
    notes = []
    if cells.index and 0 not in used and 0 not in dropped:
        notes = [_index_note(cells)]
    elif cells.named and cells.scan.head[0] == "" and 0 in kept:
        notes = ["column 1 has no name and is read as a feature (--drop 1 leaves it out)"]
    return _inferred(cells, kept, forced, target_index, parsed=parsed, notes=notes)


def _inferred(
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
    codes = cells.codes_among(sorted(texts))
    taken = Taken(texts | forced, forced=forced, target=target_index)
    if parsed:
        candidates = texts - {target_index}
        candidates |= digits_that_are_dates(cells, {*columns} - texts - forced)
        taken = taken.with_dates(cells, candidates)
    table = _from_cells(cells, columns, taken, notes=[*notes, *codes])
    if parsed:
        return table
    found = [
        f"{cells.called(column)} has dates, which are taken as categories; turn them into numbers, "
        "such as days"
        for i, column in enumerate(columns)
        if i in table.text and column not in forced and are_dates(_distinct(table.text[i]))
    ]
    return replace(table, notes=(*table.notes, *map(readable, found)))


def _distinct(texts: Array) -> list[str]:
    return [text for text in set(texts.tolist()) if text is not None]


def read_features(
    path: str | os.PathLike[str],
    names: Names | None = None,
    *,
    categorical: Iterable[str] = (),
    dated: Iterable[str] = (),
    n_columns: int = 0,
    target: str = "y",
    keep: Sequence[str] = (),
    known: Mapping[str, Collection[str]] | None = None,
    header: str = "auto",
    delimiter: str = ",",
    decimal: str = ".",
    thousands: str = "",
    missing: str = "error",
    dates: str = "text",
    na: Sequence[str] = (),
    date_formats: Sequence[str] = (),
    max_bytes: int = MAX_BYTES,
) -> Table:
    """Read the columns that a model takes. A file with names may have further columns.

    Parameters
    ----------
    path : str or path-like
        The file, as for `read_table`.
    names : tuple of str, optional
        The features of the model, in order. In a file with names, columns are found by name. A file
        without names must have exactly these columns, or `n_columns` columns in the order of the
        training file. By default all columns are read, except an index; with `missing="keep"`,
        their cells then say what is a number, a text or a date, as in `read_table`.
    categorical : iterable of str
        Those of `names` that are text.
    dated : iterable of str
        Those of `names` that are dates: read as text with `dates="text"`.
    n_columns : int, default 0
        The number of columns in the training file.
    target : str, default "y"
        In a .npz file, the name of the array that is not the features.
    keep : sequence of str
        Columns of a .csv file, given as the `drop` of `read_table`, to return as text in
        `Table.kept`, such as an identifier. They may contain anything.
    known : mapping of str to collection of str, optional
        The only texts that columns of `categorical` may contain, such as the categories of the
        model. By default they may contain any text.
    header, delimiter, decimal, thousands, missing, dates, na, date_formats, max_bytes
        As for `read_table`.

    Returns
    -------
    Table
        The table, without a target.

    Raises
    ------
    DataError
        As `read_table` raises it, and if a column is missing or has a text that is not `known`.
    ValueError
        As `read_table` raises it.
    OSError
        As `open` raises it.
    """
    source = os.fspath(path)
    max_bytes = check_max_bytes(max_bytes)
    holes, parsed = check_rules(missing, dates, na, date_formats)
    categorical, dated = set(categorical), set(dated)
    kind = _kind_of(source)
    if kind == ".csv":
        format = Format(delimiter, decimal, thousands, tuple(na), tuple(date_formats))
        cells = read_csv(
            *(source,), header=header, format=format, wanted=names, holes=holes, max_bytes=max_bytes
        )
        index = cells.index and names is None
        chosen = _choose(source, cells.names, cells.named, names, n_columns)[int(index) :]
        found = [cells.names[column] for column in chosen] if names is None else names
        kept = find_columns(keep, cells.names, source)
        notes = [_index_note(cells)] if index else []
        places = dict(zip(chosen, found, strict=True))
        if names is None and holes and not categorical | dated:
            table = _inferred(cells, chosen, set(), None, parsed=parsed, notes=notes)
        else:
            text = categorical if parsed else categorical | dated
            taken = Taken(
                {column for column, name in places.items() if name in text},
                known={
                    c: known[n] for c, n in places.items() if known and n in known and n in text
                },
            ).with_dates(cells, {c for c, name in places.items() if parsed and name in dated})
            table = _from_cells(cells, chosen, taken, notes=notes)
        return replace(table, kept=_kept(cells, kept)) if kept else table
    _refuse(source, keep=keep)
    for name in sorted(categorical | dated):
        raise DataError(f"{source}: the model takes text in column {name!r}; give it a .csv file")
    if kind == ".npy":
        X = _load_matrix(source, max_bytes)
    else:
        with open_npz(source, max_bytes=max_bytes) as archive:
            X = archive.read(_features_of(archive.names, target))
    table = from_arrays(source, X, missing=missing)
    chosen = _choose(source, table.names, False, names, n_columns)
    found = tuple(table.names[column] for column in chosen)
    return replace(table, values=table.values[:, chosen], names=found)


def find_column(spec: str, names: Names, source: str) -> int:
    """Return the index of a column, given by its name or by its number.

    Numbers count from 1, and from -1 backwards. Raises DataError if there is no such column; the
    message lists the names.

    >>> find_column("price", ("size", "price"), "houses.csv"), find_column("-2", ("a", "b"), "")
    (1, 0)
    """
    if spec in names:
        return names.index(spec)
    try:
        number = int(spec)
    except ValueError:
        number = 0
    if 1 <= abs(number) <= len(names):
        return number - 1 if number > 0 else number + len(names)
    raise DataError(
        f"{source}: no column {shortened(spec)}; there are {len(names)}: {_listed(names)}"
        f"{did_you_mean(spec, names)}"
    )


def find_columns(specs: str | Iterable[str], names: Names, source: str) -> list[int]:
    """Return the indices of columns; each spec is one for `find_column`, or several with commas.

    A name that contains commas is one column. No index is returned twice.

    >>> find_columns(["-1,size", "a, b", "1"], ("size", "rooms", "a, b", "price"), "houses.csv")
    [3, 0, 2]
    """
    specs = (specs,) if isinstance(specs, str) else specs
    found: dict[int, None] = {}
    for spec in specs:
        parts = [spec] if spec in names else [part.strip() for part in spec.split(",")]
        found |= dict.fromkeys(find_column(part, names, source) for part in parts)
    return list(found)


# ---- columns ------------------------------------------------------------------------------


def _split_columns(
    source: str, names: Names, target: str | None, drop: Sequence[str], *, index: bool = False
) -> tuple[int, list[int]]:
    """Return the index of the target and those of the features, without an index column."""
    dropped = find_columns(drop, names, source)
    if target is None:
        target_index = max((i for i in range(len(names)) if i not in dropped), default=0)
    else:
        _check_one_target(target, names, source)
        target_index = find_column(target, names, source)
    kept = [i for i in range(int(index), len(names)) if i != target_index and i not in dropped]
    if target_index in dropped:
        raise DataError(
            f"{source}: the target {names[target_index]!r} is among the columns to leave out "
            f"(--drop); choose another --target, or do not drop it"
        )
    if not kept:
        raise DataError(
            f"{source}: expected a target and at least one feature; of the columns "
            f"{_listed(names)} the target is {names[target_index]!r}, which leaves {len(kept)}"
            + (", because column 1 is an index (give it a name to train on it)" if index else "")
        )
    return target_index, kept


def _check_one_target(target: str, names: Names, source: str) -> None:
    """DataError for a target such as "a,b", which lists columns."""
    parts = [part.strip() for part in target.split(",")]
    if target not in names and len(parts) > 1 and any(part in names for part in parts):
        raise DataError(
            f"{source}: the target (--target) is one column; got {len(parts)}, {target!r}: for "
            "several targets, all of them numbers, write the arrays X (n, columns) and y "
            f"(n, {len(parts)}) to a .npz file, with numpy.savez"
        )


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


def _from_cells(
    cells: Cells, columns: Sequence[int], taken: Taken, *, notes: Sequence[str] = ()
) -> Table:
    """Make the table of the feature columns of a .csv file, and of its target if it has one."""
    features, target_index = set(columns), taken.target
    wanted = features if target_index is None else features | {target_index}
    holes = wanted & taken.texts - {target_index} if cells.holes else set()
    text = {c: texts_with_holes(cells, c, taken.known.get(c, ())) for c in sorted(holes)}
    problems = dict(taken.problems)
    for column, known in taken.known.items() if holes else ():
        called, texts = cells.called(column), text[column]
        strange = unknown_category(called, texts, known, lambda row: f"line {cells.lines[row]}")
        problems |= {column: strange} if strange else {}
    check_cells(
        cells,
        wanted - taken.texts - taken.dates.keys() - problems.keys(),
        wanted & taken.texts - problems.keys(),
        forced=taken.forced,
        target=target_index,
        known={} if cells.holes else taken.known,
        others=problems,
    )
    for column, (found, codes) in cells.texts(sorted(wanted & taken.texts - holes)).items():
        text[column] = found[codes]
    numbers = features - taken.texts - taken.dates.keys()
    if cells.holes:
        here = {column: text[column] for column in text if column != target_index}
        notes = [*notes, *taken.notes, *hole_notes(cells, numbers, taken.dates, here)]
        set_holes(cells, numbers)
    target = None
    if target_index is not None:
        target = text[target_index] if target_index in text else cells.exact(target_index)
    values = _columns(cells.values, columns)
    for i, column in enumerate(columns):
        if column not in numbers:
            values[:, i] = np.nan  # codes that consist of digits were also read as numbers
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


def _kept(cells: Cells, columns: Sequence[int]) -> dict[str, Array]:
    """Return {name: texts} of columns, in the order of `columns`."""
    found = cells.texts(columns)
    return {cells.names[column]: found[column][0][found[column][1]] for column in columns}


def _columns(values: Array, columns: Sequence[int]) -> Array:
    """Return some columns of a matrix, without a copy if they are adjacent."""
    first, n = columns[0], len(columns)
    if list(columns) == list(range(first, first + n)):
        return values[:, first : first + n]
    return values[:, columns]


def _index_note(cells: Cells) -> str:
    name = repr(cells.scan.head[0]) if cells.scan.head[0] else "without a name"
    does = "names" if cells.scan.counts[0, CELL_KINDS["text"]] else "numbers"
    return f"column 1, {name}, {does} the rows and is left out (give it a name to train on it)"


def _choose(
    source: str, found: Names, named: bool, names: Names | None, n_columns: int
) -> list[int]:
    """Return the indices of the features `names` among the columns `found` of a file."""
    if names is None:
        return list(range(len(found)))
    if not named and len(found) == len(names):
        return list(range(len(found)))
    places = {name: column for column, name in enumerate(found)}
    missing = [name for name in names if name not in places]
    if missing or not (named or len(found) == n_columns):
        raise DataError(
            f"{source}: the model takes {len(names)} columns, {_listed(names)}; "
            f"the file has {len(found)}, {_listed(found)}"
            + (f": {_missing(missing, found)}" if missing and named else "")
        )
    return [places[name] for name in names]


def _missing(missing: Sequence[str], found: Names) -> str:
    """Say which features are missing, with a hint if the file has a similar name for the first."""
    hint = did_you_mean(missing[0], found)
    if len(missing) == 1:
        return f"{missing[0]!r} is missing{hint}"
    return f"missing are {_listed(missing)}{hint}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:8])
    return shown if len(names) <= 8 else f"{shown}, … {names[-1]}"


# ---- NumPy files --------------------------------------------------------------------------


def _kind_of(source: str) -> str:
    kind = Path(source).suffix.lower()
    if kind not in (".csv", ".npz", ".npy"):
        raise DataError(f"{source}: expected a file ending in .csv, .npz or .npy")
    return kind


def _refuse(source: str, **options: Sequence[str]) -> None:
    for name, value in options.items():
        if value:
            first = value if isinstance(value, str) else value[0]
            raise DataError(f"{source}: --{name} {first} does not apply to this kind of file")


def _load_matrix(source: str, max_bytes: int) -> Array:
    X = read_npy(source, max_bytes=max_bytes)
    if X.ndim != 2 or X.size == 0:
        raise DataError(f"{source}: expected a 2-D array (rows, columns); got shape {X.shape}")
    return X


def _features_of(names: Sequence[str], target: str) -> str:
    """Return the name of the features: X, or the only array other than the target."""
    others = [name for name in names if name != target]
    if "X" in others:
        return "X"
    if len(others) != 1:
        raise DataError(
            f"expected an array X besides the target {target!r}; the file contains "
            f"{', '.join(names) or 'none'}"
        )
    return others[0]
