"""Tables from .csv, .npz and .npy files, and the task that the target of a table implies."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from .._checks.names import did_you_mean
from .._checks.size_limit import MAX_BYTES, check_max_bytes
from .._checks.words import counted
from .._core import CELL_KINDS
from .._files.numpy_arrays import open_npz, read_npy
from .._messages import readable
from .._types import Array
from ..errors import DataError
from ._csv import Cells, Format, read_csv
from ._faults import MAX_CATEGORIES, check_cells, too_many_categories
from ._notation import are_dates
from ._problems import Problem, at_first, data_error, shortened

# A target of whole numbers with more distinct values than this is a quantity.
MAX_INFERRED_CLASSES = 20
_MIN_ROWS_PER_CLASS = 10  # of a text target; with fewer rows, the strings are probably no classes

Names = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """The feature columns of a table, and its target if it has one.

    Parameters
    ----------
    source : str
        The name of the file, for messages.
    names : tuple of str
        The names of the feature columns.
    values : ndarray of shape (n, columns)
        The features; NaN in text and date columns. Where holes are kept, NaN is a hole.
    text : mapping of int to ndarray
        The cells (n,) of each text column, by the index of the column. Where holes are kept, None
        is a hole.
    dates : mapping of int to ndarray
        The cells (n,) of each date column as datetime64[us], by the index of the column. NaT is a
        hole.
    target_names : tuple of str
        The names of the target columns.
    target : ndarray of shape (n,) or (n, k), optional
        The target: numbers, or text of shape (n,).
    lines : ndarray of shape (n,), optional
        The line of each row in a text file.
    n_columns : int
        The number of columns in the file, including the target.
    format : Format
        How a .csv file writes cells and numbers.
    notes : tuple of str
        Decisions about the file that the user may want to change.
    kept : mapping of str to ndarray
        The texts (n,) of further columns, by name, as `read_features` returns them for `keep`.
    """

    source: str
    names: Names
    values: Array
    text: Mapping[int, Array] = field(default_factory=dict)
    dates: Mapping[int, Array] = field(default_factory=dict)
    target_names: Names = ()
    target: Array | None = None
    lines: Array | None = None
    n_columns: int = 0
    format: Format = field(default_factory=Format)
    notes: tuple[str, ...] = ()
    kept: Mapping[str, Array] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return len(self.values)

    def require_target(self) -> Array:
        """The target. Raises DataError if the table has none."""
        if self.target is None:
            raise DataError(f"{self.source}: expected a target; the table has none")
        return self.target

    def place(self, row: int) -> str:
        """Say where a row is: "line 7" of a text file, "row 5" of an array; both count from 1."""
        return f"row {row + 1}" if self.lines is None else f"line {self.lines[row]}"

    def take(self, rows: Array) -> Table:
        """Return a table of these rows."""
        return replace(
            self,
            values=self.values[rows],
            text={column: cells[rows] for column, cells in self.text.items()},
            dates={column: cells[rows] for column, cells in self.dates.items()},
            target=None if self.target is None else self.target[rows],
            lines=None if self.lines is None else self.lines[rows],
            kept={name: cells[rows] for name, cells in self.kept.items()},
        )


def from_arrays(source: str, X: Array, y: Array | None = None, *, target: str = "y") -> Table:
    """Make a Table of arrays; its columns are named "1", "2", ….

    Parameters
    ----------
    source : str
        The name of the data, for messages.
    X : ndarray of shape (n, columns)
        The features, numbers; further axes are flattened.
    y : ndarray of shape (n,) or (n, k), optional
        The target: numbers, or strings of shape (n,).
    target : str, default "y"
        The name of the target.

    Returns
    -------
    Table
        The table.

    Raises
    ------
    DataError
        A shape or a dtype is invalid, or an array contains NaN or infinity.

    Examples
    --------
    >>> from_arrays("memory", np.eye(2), np.array(["a", "b"])).names
    ('1', '2')
    """
    if X.dtype.kind not in "biuf":
        raise DataError(f"{source}: the features have dtype {X.dtype}; expected numbers")
    if X.ndim < 2 or X.size == 0:
        raise DataError(
            f"{source}: the features have shape {X.shape}; expected (rows, columns), none of them 0"
        )
    X = X.reshape(len(X), -1)
    _check_finite(X, source, "column")
    names = tuple(str(i + 1) for i in range(X.shape[1]))
    table = Table(source, names, X, n_columns=X.shape[1])
    if y is None:
        return table
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim not in (1, 2) or y.shape[0] != len(X) or y.size == 0:
        raise DataError(
            f"{source}: {target} has shape {y.shape}; expected ({len(X)},), one target per row, "
            f"or ({len(X)}, k)"
        )
    if y.dtype.kind not in ("biufU" if y.ndim == 1 else "biuf"):
        raise DataError(f"{source}: {target} has dtype {y.dtype}; expected numbers or strings")
    if y.dtype.kind == "f":
        _check_finite(y.reshape(len(y), -1), source, f"{target} column")
    names = (target,) if y.ndim == 1 else tuple(f"{target}{i + 1}" for i in range(y.shape[1]))
    return replace(table, target=y, target_names=names)


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
        `header`, `delimiter`, `decimal` or `thousands` is invalid, or they conflict.
    OSError
        As `open` raises it.
    """
    source = os.fspath(path)
    max_bytes = check_max_bytes(max_bytes)
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
        return from_arrays(source, X, y, target=key)
    if kind == ".npy":
        _refuse(source, categorical=categorical)
        X = _load_matrix(source, max_bytes)
        names = tuple(str(i + 1) for i in range(X.shape[1]))
        target_index, kept = _split_columns(source, names, target, drop)
        table = from_arrays(source, X[:, kept], X[:, target_index], target=names[target_index])
        return replace(table, names=tuple(names[i] for i in kept), n_columns=len(names))
    format = Format(delimiter, decimal, thousands)
    cells = read_csv(source, header=header, format=format, max_bytes=max_bytes)
    target_index, kept = _split_columns(source, cells.names, target, drop, index=cells.index)
    forced = set(find_columns(categorical, cells.names, source))
    used = (*kept, target_index)
    texts = cells.text_columns([column for column in used if column not in forced])
    notes = cells.codes_among(sorted(texts))
    dropped = find_columns(drop, cells.names, source)
    if cells.index and 0 not in used and 0 not in dropped:
        notes = [_index_note(cells), *notes]
    elif cells.named and cells.scan.head[0] == "" and 0 in kept:
        notes = ["column 1 has no name and is read as a feature (--drop 1 leaves it out)", *notes]
    table = _from_cells(
        cells, kept, texts | forced, forced=forced, target_index=target_index, notes=notes
    )
    dates = [
        f"{cells.called(column)} has dates, which are taken as categories; turn them into numbers, "
        "such as days"
        for i, column in enumerate(kept)
        if i in table.text and column not in forced and are_dates(set(table.text[i].tolist()))
    ]
    return replace(table, notes=(*table.notes, *map(readable, dates)))


def read_features(
    path: str | os.PathLike[str],
    names: Names | None = None,
    *,
    categorical: Iterable[str] = (),
    n_columns: int = 0,
    target: str = "y",
    keep: Sequence[str] = (),
    known: Mapping[str, Collection[str]] | None = None,
    header: str = "auto",
    delimiter: str = ",",
    decimal: str = ".",
    thousands: str = "",
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
        training file. By default all columns are read, except an index.
    categorical : iterable of str
        Those of `names` that are text.
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
    header, delimiter, decimal, thousands, max_bytes
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
    kind = _kind_of(source)
    if kind == ".csv":
        format = Format(delimiter, decimal, thousands)
        cells = read_csv(source, header=header, format=format, wanted=names, max_bytes=max_bytes)
        index = cells.index and names is None
        chosen = _choose(source, cells.names, cells.named, names, n_columns)[int(index) :]
        found = [cells.names[column] for column in chosen] if names is None else names
        as_text = set(categorical)
        texts = {column for column, name in zip(chosen, found, strict=True) if name in as_text}
        kept = find_columns(keep, cells.names, source)
        categories = {
            column: known[name]
            for column, name in zip(chosen, found, strict=True)
            if known is not None and name in known and column in texts
        }
        notes = [_index_note(cells)] if index else []
        table = _from_cells(cells, chosen, texts, known=categories, notes=notes)
        return replace(table, kept=_kept(cells, kept)) if kept else table
    _refuse(source, keep=keep)
    for name in categorical:
        raise DataError(f"{source}: the model takes text in column {name!r}; give it a .csv file")
    if kind == ".npy":
        X = _load_matrix(source, max_bytes)
    else:
        with open_npz(source, max_bytes=max_bytes) as archive:
            X = archive.read(_features_of(archive.names, target))
    table = from_arrays(source, X)
    chosen = _choose(source, table.names, False, names, n_columns)
    found = tuple(table.names[column] for column in chosen)
    return replace(table, values=table.values[:, chosen], names=found)


def infer_task(target: Array) -> str:
    """Return the task that a target implies, "classification" or "regression".

    Text, booleans, and whole numbers with at most 20 distinct values imply a classification.

    >>> infer_task(np.array([1.0, 2.0, 1.0])), infer_task(np.array([1.5, 2.0, 1.0]))
    ('classification', 'regression')
    """
    if target.ndim > 1:
        return "regression"
    if target.dtype.kind not in "iuf":
        return "classification"
    whole = bool((target == np.round(target)).all())
    few = whole and len(np.unique(target)) <= MAX_INFERRED_CLASSES
    return "classification" if few else "regression"


def choose_task(table: Table, task: str | None = None) -> str:
    """Return `task`, or the task that the target of the table implies if `task` is None.

    Raises DataError if `task` is None and the target is text with more than two distinct values, at
    least a tenth as many as there are rows. Such text is probably names, dates, or numbers in
    another notation.

    >>> choose_task(from_arrays("memory", np.eye(3), np.array([0.5, 1.5, 2.5])))
    'regression'
    """
    if task is not None:
        return task
    target = table.require_target()
    if target.ndim == 1 and target.dtype.kind in "OU":
        n_classes = len(np.unique(target))
        if n_classes > 2 and _MIN_ROWS_PER_CLASS * n_classes >= len(target):
            what = (
                f"text such as {shortened(str(target[0]))}, with {n_classes:,} distinct values in "
                f"{len(target):,} rows; that is too many for classes, which should be fewer than a "
                "tenth of the rows"
            )
            remedy = (
                "choose another column (--target), write numbers as plain numbers, or, if these "
                "are classes, use --task classification"
            )
            found = Problem(f"the target {shortened(table.target_names[0])}", what, remedy)
            raise data_error(table.source, [*identifiers(table), found])
    return infer_task(target)


def identifiers(table: Table) -> list[Problem]:
    """Return a Problem for each text feature whose texts probably identify the rows."""
    problems = []
    for column, cells in sorted(table.text.items()):
        distinct, name = set(cells.tolist()), table.names[column]
        if len(distinct) > MAX_CATEGORIES:
            called = f"column {shortened(name)}"
            problems.append(too_many_categories(called, distinct, shlex.quote(name)))
    return problems


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


def _from_cells(
    cells: Cells,
    columns: Sequence[int],
    texts: set[int],
    *,
    forced: set[int] | None = None,
    target_index: int | None = None,
    known: Mapping[int, Collection[str]] | None = None,
    notes: Sequence[str] = (),
) -> Table:
    """Make the table of a .csv file.

    Parameters
    ----------
    cells
        The content of the file.
    columns
        The feature columns.
    texts
        The columns to read as text.
    forced
        Those of them that the user wants as text, whatever is in them; by default all.
    target_index
        The target column, if there is one.
    known
        The only texts that some of the text columns may contain.
    notes
        Notes for the user, in addition to those of `cells`.
    """
    wanted = {*columns} if target_index is None else {*columns, target_index}
    check_cells(
        cells,
        wanted - texts,
        wanted & texts,
        forced=forced,
        target=target_index,
        known=known or {},
    )
    text = {
        column: found[codes]
        for column, (found, codes) in cells.texts(sorted(wanted & texts)).items()
    }
    target = None
    if target_index is not None:
        target = text[target_index] if target_index in text else cells.exact(target_index)
    values = _columns(cells.values, columns)
    for i, column in enumerate(columns):
        if column in text:
            values[:, i] = np.nan  # codes that consist of digits were also read as numbers
    return Table(
        source=cells.source,
        names=tuple(cells.names[column] for column in columns),
        values=values,
        text={i: text[column] for i, column in enumerate(columns) if column in text},
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


def _check_finite(X: Array, source: str, what: str) -> None:
    finite = np.isfinite(X)
    problems = []
    for column in np.flatnonzero(~finite.all(axis=0)).tolist():
        rows = np.flatnonzero(~finite[:, column])
        numbers = counted(len(rows), "number that is not finite", "numbers that are not finite")
        faults = (
            f"{numbers}, such as {X[rows[0], column]} {at_first(f'row {rows[0] + 1}', len(rows))}"
        )
        problems.append(
            Problem(f"{what} {column + 1}", faults, "leave out such rows or fill in values")
        )
    if problems:
        raise data_error(source, problems)


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
