"""Read a Table from a file: text such as .csv, Parquet, Arrow, Excel, .npz and .npy."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from .._checks.size_limit import MAX_BYTES, check_max_bytes
from .._files.numpy_arrays import open_npz, read_npy
from .._types import Array
from ..errors import DataError
from ._arrow import ARROW, read_arrow
from ._by_name import survey_columns, table_of
from ._bytes import COMPRESSED, without_compression
from ._cells import Rules, plain_texts
from ._csv import AUTO, Cells, Format, read_csv
from ._excel import EXCEL, read_sheet
from ._problems import Problem
from ._select import choose_columns, find_columns, split_columns
from ._table import Names, Table, check_rules, from_arrays
from ._text_table import (
    Taken,
    index_note,
    inferred_table,
    kept_texts,
    survey_cells,
    table_of_cells,
)

TEXT = (".csv", ".tsv", ".tab", ".txt", ".data")
NUMPY = (".npz", ".npy")
ENDINGS = (*TEXT, *NUMPY, *ARROW, *EXCEL)  # and those of compressed text
_INDEX = "__index_level_"  # how pandas calls an index without a name in a Parquet file


def read_table(
    path: str | os.PathLike[str],
    *,
    target: str | None = None,
    drop: Sequence[str] = (),
    categorical: Sequence[str] = (),
    header: str = "auto",
    delimiter: str = AUTO,
    decimal: str = ".",
    thousands: str = "",
    missing: str = "error",
    dates: str = "text",
    na: Sequence[str] = (),
    date_formats: Sequence[str] = (),
    units: Sequence[str] = (),
    comment: str = "",
    encoding: str = "utf-8",
    sheet: str | None = None,
    max_bytes: int = MAX_BYTES,
) -> Table:
    """Read features and target from a file: text, Parquet, Arrow, Excel, or NumPy's.

    A column of a .csv file contains numbers if each of its cells is a plain number, and text if
    none of them is; docs/formats.md has the rules.

    Parameters
    ----------
    path : str or path-like
        The file; its extension determines the format. Text is .csv, .tsv, .tab, .txt or .data, also
        with .gz, .bz2, .xz or .zst; Parquet .parquet or .pq; Arrow (Feather) .feather, .arrow or
        .ipc; Excel .xlsx, .xlsm, .xlsb, .xls or .ods, whose sheets are read by the rules of .csv
        files. A .npz file contains the arrays X and y, a .npy file one 2-D array.
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
    delimiter : str, default "auto"
        The character between the cells of a .csv file; " " stands for one or more blanks. "auto"
        takes the one of `, ; |` and tab that the first lines have equally often, and tells which if
        it is no comma. A tab is certain in a .tsv file.
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
    units : sequence of str
        What may stand before or after the numbers of a .csv file and does not count, such as "%",
        "$" or "kg": 12 % is read as 12.
    comment : str, default ""
        The character that begins lines of a .csv file to skip, such as "#".
    encoding : str, default "utf-8"
        The encoding of a .csv file, such as "cp1252". A byte order mark counts first, so that
        UTF-16 files need no option.
    sheet : str, optional
        The name of a sheet of an Excel file, or its number from 1; by default the first.
    max_bytes : int, default 4 GiB
        The maximum size of an array in memory, and of the texts of a .csv file. Without a limit, a
        small compressed file could claim more memory than the machine has.

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
    ImportError
        A package is missing that the file needs: pyarrow, python-calamine or zstandard.
    OSError
        As `open` raises it.
    """
    check_rules(missing, dates, na, date_formats)
    options = _Options(
        *(os.fspath(path), header, sheet, missing, dates, check_max_bytes(max_bytes)),
        Format(
            *(delimiter, decimal, thousands, tuple(na), tuple(date_formats)),
            *(tuple(units), comment, encoding),
        ),
    )
    kind = _kind_of(options.source)
    if kind == ".npz":
        _refuse(options.source, drop=drop, categorical=categorical)
        return _table_of_npz(options, target or "y")
    if kind == ".npy":
        _refuse(options.source, categorical=categorical)
        return _table_of_npy(options, target, drop)
    read = _table_of_arrow if kind in ARROW else _table_of_text
    return read(options, kind, target, drop, categorical)


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
    delimiter: str = AUTO,
    decimal: str = ".",
    thousands: str = "",
    missing: str = "error",
    dates: str = "text",
    na: Sequence[str] = (),
    date_formats: Sequence[str] = (),
    units: Sequence[str] = (),
    comment: str = "",
    encoding: str = "utf-8",
    sheet: str | None = None,
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
        Columns, but not of NumPy's files, given as the `drop` of `read_table`, to return as text in
        `Table.kept`, such as an identifier. They may contain anything.
    known : mapping of str to collection of str, optional
        The only texts that columns of `categorical` may contain, such as the categories of the
        model. By default they may contain any text.
    header, delimiter, decimal, thousands, missing, dates, na, date_formats
        As for `read_table`.
    units, comment, encoding, sheet, max_bytes
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
    ImportError, OSError
        As `read_table` raises them.
    """
    check_rules(missing, dates, na, date_formats)
    options = _Options(
        *(os.fspath(path), header, sheet, missing, dates, check_max_bytes(max_bytes)),
        Format(
            *(delimiter, decimal, thousands, tuple(na), tuple(date_formats)),
            *(tuple(units), comment, encoding),
        ),
    )
    wanted = _Wanted(names, set(categorical), set(dated), n_columns, keep, known)
    kind = _kind_of(options.source)
    if kind in NUMPY:
        _refuse(options.source, keep=keep)
        return _features_of_numpy(options, kind, wanted, target)
    read = _features_of_arrow if kind in ARROW else _features_of_text
    return read(options, kind, wanted)


@dataclass(frozen=True)
class _Options:
    """How a file is read."""

    source: str
    header: str
    sheet: str | None
    missing: str
    dates: str
    max_bytes: int
    format: Format

    @property
    def holes(self) -> bool:
        return self.missing == "keep"

    @property
    def parsed(self) -> bool:
        return self.dates == "parse"

    @property
    def rules(self) -> dict[str, Any]:
        """The keywords of `table_of`."""
        na, formats = self.format.na, self.format.date_formats
        return {"missing": self.missing, "dates": self.dates, "na": na, "date_formats": formats}


@dataclass(frozen=True)
class _Wanted:
    """The columns that a model takes, as the arguments of `read_features`."""

    names: Names | None
    categorical: set[str]
    dated: set[str]
    n_columns: int
    keep: Sequence[str]
    known: Mapping[str, Collection[str]] | None

    @property
    def given(self) -> bool:
        """Whether a model says what the columns are."""
        return self.names is not None or bool(self.categorical | self.dated)


def survey_file(
    path: str | os.PathLike[str],
    format: Format,
    header: str,
    sheet: str | None,
    categorical: Sequence[str],
    max_bytes: int,
) -> tuple[Table, dict[int, list[Problem]], list[str], Cells | None]:
    """Read all columns of a file that can be read, and say what is wrong with the others.

    Returns the table, in which the other columns are text; their problems, by index; the types of
    the columns, unless the file is text; and the cells of a text file.
    """
    source = os.fspath(path)
    options = _Options(source, header, sheet, "keep", "parse", check_max_bytes(max_bytes), format)
    kind = _kind_of(source)
    if kind in TEXT or kind in EXCEL:
        cells = _read_cells(options, kind)
        forced = set(find_columns(categorical, cells.names, source))
        columns = list(range(int(cells.index), len(cells.names)))
        table, problems = survey_cells(cells, columns, forced)
        notes = [index_note(cells)] if cells.index else []
        found = {column - int(cells.index): each for column, each in problems.items()}
        return replace(table, notes=(*notes, *table.notes)), found, [], cells
    columns_of: Any
    if kind in ARROW:
        columns_of = read_arrow(source, kind, options.max_bytes)
    elif kind == ".npy":
        columns_of = _load_matrix(source, options.max_bytes)
    else:
        columns_of = _columns_of_npz(options)
    rules = Rules(True, True, frozenset(format.na), format.date_formats)
    names = tuple(columns_of) if kind in ARROW else ()
    forced_names = {names[i] for i in find_columns(categorical, names, source)}
    return *survey_columns(columns_of, source, rules, forced_names), None


def _columns_of_npz(options: _Options) -> dict[str, Array]:
    """The columns of the array X of a .npz file, and those of the others that are targets."""
    with open_npz(options.source, max_bytes=options.max_bytes) as archive:
        X = archive.read(_features_of(archive.names, "y"))
        y = archive.read("y") if "y" in archive.names else np.empty((len(X), 0))
    X = X.reshape(len(X), -1)
    columns = {str(i + 1): X[:, i] for i in range(X.shape[1])}
    targets = y.reshape(len(y), -1)
    named = ["y"] if targets.shape[1] == 1 else [f"y{i + 1}" for i in range(targets.shape[1])]
    return columns | {name: targets[:, i] for i, name in enumerate(named)}


# ---- text and sheets ----------------------------------------------------------------------


def _read_cells(options: _Options, kind: str, wanted: Names | None = None) -> Cells:
    """Read the cells of a text file, or of a sheet as the text of a .csv file."""
    source, format, content = options.source, options.format, None
    notes: list[str] = []
    if kind in EXCEL:
        content, notes = read_sheet(source, options.sheet, options.max_bytes)
        format = replace(format, delimiter=",", decimal=".", thousands="", comment="")
        format = replace(format, encoding="utf-8")
    elif options.sheet is not None:
        raise DataError(f"{source}: --sheet {options.sheet} does not apply to this kind of file")
    cells = read_csv(
        source,
        header=options.header,
        format=format,
        wanted=wanted,
        content=content,
        holes=options.holes,
        max_bytes=options.max_bytes,
    )
    return replace(cells, notes=(*notes, *cells.notes))


def _table_of_text(
    options: _Options,
    kind: str,
    target: str | None,
    drop: Sequence[str],
    categorical: Sequence[str],
) -> Table:
    source, cells = options.source, _read_cells(options, kind)
    target_index, kept = split_columns(source, cells.names, target, drop, index=cells.index)
    forced = set(find_columns(categorical, cells.names, source))
    notes = []
    if cells.index and 0 not in (*kept, target_index, *find_columns(drop, cells.names, source)):
        notes = [index_note(cells)]
    elif cells.named and cells.scan.head[0] == "" and 0 in kept:
        notes = ["column 1 has no name and is read as a feature (--drop 1 leaves it out)"]
    return inferred_table(cells, kept, forced, target_index, parsed=options.parsed, notes=notes)


def _features_of_text(options: _Options, kind: str, wanted: _Wanted) -> Table:
    source, names = options.source, wanted.names
    cells = _read_cells(options, kind, names)
    index = cells.index and names is None
    chosen = choose_columns(source, cells.names, cells.named, names, wanted.n_columns)[int(index) :]
    notes = [index_note(cells)] if index else []
    if options.holes and not wanted.given:
        table = inferred_table(cells, chosen, set(), None, parsed=options.parsed, notes=notes)
    else:
        found = [cells.names[column] for column in chosen] if names is None else names
        places = dict(zip(chosen, found, strict=True))
        dated, known = wanted.dated if options.parsed else set(), wanted.known or {}
        texts = (wanted.categorical | wanted.dated) - dated
        taken = Taken(
            {column for column, name in places.items() if name in texts},
            known={c: known[name] for c, name in places.items() if name in texts & known.keys()},
        ).with_dates(cells, {column for column, name in places.items() if name in dated})
        table = table_of_cells(cells, chosen, taken, notes=notes)
    kept = find_columns(wanted.keep, cells.names, source)
    return replace(table, kept=kept_texts(cells, kept)) if kept else table


# ---- Parquet and Arrow --------------------------------------------------------------------


def _table_of_arrow(
    options: _Options,
    kind: str,
    target: str | None,
    drop: Sequence[str],
    categorical: Sequence[str],
) -> Table:
    source = options.source
    columns = read_arrow(source, kind, options.max_bytes)
    names = tuple(columns)
    index, notes = _index_of(names)
    dropped = [*drop, names[index]] if index is not None and target != names[index] else drop
    target_index, kept = split_columns(source, names, target, dropped)
    table = table_of(
        columns,
        [names[i] for i in kept],
        name=source,
        categorical={names[i] for i in find_columns(categorical, names, source)},
        target=names[target_index],
        **options.rules,
    )
    return replace(table, n_columns=len(names), notes=(*notes, *table.notes))


def _features_of_arrow(options: _Options, kind: str, wanted: _Wanted) -> Table:
    source, names = options.source, wanted.names
    notes: list[str] = []
    columns = read_arrow(source, kind, options.max_bytes)
    kept = {
        name: plain_texts(columns[name], name, source)
        for name in (tuple(columns)[i] for i in find_columns(wanted.keep, tuple(columns), source))
    }
    if names is None:
        index, notes = _index_of(tuple(columns))
        names = tuple(name for i, name in enumerate(columns) if i != index)
    known = wanted.known or {}
    categories = {name: tuple(known.get(name, ())) for name in wanted.categorical}
    table = table_of(
        columns,
        names,
        categories if wanted.given else None,
        source,
        dated=wanted.dated,
        only_known=wanted.known is not None,
        **options.rules,
    )
    return replace(table, n_columns=len(columns), kept=kept, notes=(*notes, *table.notes))


def _index_of(names: Names) -> tuple[int | None, list[str]]:
    """Return the column of an index that pandas wrote, if there is one, and a note about it."""
    for i, name in enumerate(names):
        if name.startswith(_INDEX):
            return i, [f"column {i + 1} ({name!r}) is an index of pandas and is left out"]
    return None, []


# ---- NumPy files --------------------------------------------------------------------------


def _table_of_npz(options: _Options, target: str) -> Table:
    with open_npz(options.source, max_bytes=options.max_bytes) as archive:
        if target not in archive.names:
            known = ", ".join(archive.names) or "none"
            raise DataError(f"no array {target!r}; the file contains {known}")
        X = archive.read(_features_of(archive.names, target))
        y = archive.read(target)
    return from_arrays(options.source, X, y, target=target, missing=options.missing)


def _table_of_npy(options: _Options, target: str | None, drop: Sequence[str]) -> Table:
    X = _load_matrix(options.source, options.max_bytes)
    names = tuple(str(i + 1) for i in range(X.shape[1]))
    index, kept = split_columns(options.source, names, target, drop)
    table = from_arrays(
        *(options.source, X[:, kept], X[:, index]), target=names[index], missing=options.missing
    )
    return replace(table, names=tuple(names[i] for i in kept), n_columns=len(names))


def _features_of_numpy(options: _Options, kind: str, wanted: _Wanted, target: str) -> Table:
    source = options.source
    for name in sorted(wanted.categorical | wanted.dated):
        raise DataError(f"{source}: the model takes text in column {name!r}; give it a .csv file")
    if kind == ".npy":
        X = _load_matrix(source, options.max_bytes)
    else:
        with open_npz(source, max_bytes=options.max_bytes) as archive:
            X = archive.read(_features_of(archive.names, target))
    table = from_arrays(source, X, missing=options.missing)
    chosen = choose_columns(source, table.names, False, wanted.names, wanted.n_columns)
    found = tuple(table.names[column] for column in chosen)
    return replace(table, values=table.values[:, chosen], names=found)


def _kind_of(source: str) -> str:
    plain = without_compression(source)
    kind = Path(plain).suffix.lower()
    if kind not in TEXT and (plain != source or kind not in (*EXCEL, *ARROW, *NUMPY)):
        raise DataError(
            f"{source}: expected a file ending in {', '.join(ENDINGS)}, or text that ends in "
            f"{', '.join(COMPRESSED)}"
        )
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
