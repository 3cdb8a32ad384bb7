"""A user's table from a .csv, .npz or .npy file, and what its target asks for.

Columns are numbers, or texts that stand for categories. In messages and options columns and
lines count from 1, as in cut, sort and spreadsheets; -1 is the last column.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ._numpyfile import open_npz, read_npy
from ._size_limit import MAX_BYTES, check_max_bytes
from .csvfile import Cells, read_csv
from .errors import DataError

# A whole-number target with more distinct values than this is taken for a quantity.
MAX_INFERRED_CLASSES = 20

Names = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Feature columns, by name, and the target, where there is one.

    values (n, columns) holds the numbers, NaN in the columns of `text` {column: cells (n,)};
    target (n,) or (n, k) numbers, or (n,) texts, its columns in `target_names`. `lines` are those
    of the rows in a text file; `n_columns` counts the columns of the file, target included.
    """

    source: str
    names: Names
    values: np.ndarray
    text: Mapping[int, np.ndarray] = field(default_factory=dict)
    target_names: Names = ()
    target: np.ndarray | None = None
    lines: np.ndarray | None = None
    n_columns: int = 0

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.values)

    def place(self, row: int) -> str:
        """Where a row stands: "line 7" of a text file, "row 5" of an array, from 1."""
        return f"row {row + 1}" if self.lines is None else f"line {self.lines[row]}"

    def take(self, rows: np.ndarray) -> Table:
        """The table of these rows only."""
        return replace(
            self,
            values=self.values[rows],
            text={column: cells[rows] for column, cells in self.text.items()},
            target=None if self.target is None else self.target[rows],
            lines=None if self.lines is None else self.lines[rows],
        )


def from_arrays(
    source: str, X: np.ndarray, y: np.ndarray | None = None, *, target: str = "y"
) -> Table:
    """The Table of X (n, columns), numbers, and y (n,) or (n, k); columns are named "1", "2", ….

    Further axes of X are flattened. `source` and `target` are the names for messages. Raises
    DataError for shapes or dtypes that do not fit, NaN and infinity.

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
            f"{source}: {target} has shape {y.shape}; expected ({len(X)},), one target a row, "
            f"or ({len(X)}, k)"
        )
    if y.dtype.kind not in ("biufU" if y.ndim == 1 else "biuf"):
        raise DataError(f"{source}: {target} has dtype {y.dtype}; expected numbers or texts")
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
    max_bytes: int = MAX_BYTES,
) -> Table:
    """Read features and target from a .csv, .npz or .npy file.

    Args:
        path: its ending decides. A .npz holds the arrays X and y, a .npy one 2-D array.
        target: the column to predict, by name or by number from 1 (-1, the last, by default);
            of a .npz the array's name, by default "y".
        drop: columns to leave out, by name or number (.csv, .npy).
        categorical: columns whose cells are texts even where they look like numbers (.csv). A
            column without a single number in it is one anyway.
        header: "yes", "no", or "auto": whether the first line of a .csv holds names. "auto" says
            yes when no cell of it is a number.
        delimiter: the character between the cells of a .csv.
        max_bytes: the most that an array of the file may take in memory, 4 GiB by default: a
            small compressed file can claim far more than the machine has.

    Raises:
        DataError: naming file, line and column, for anything but a rectangular table without
            missing values, and for one beyond max_bytes.
        OSError: as `open` does.
    """
    source = os.fspath(path)
    max_bytes = check_max_bytes(max_bytes)
    kind = _kind_of(source)
    if kind == ".npz":
        _refuse(source, drop=drop, categorical=categorical)
        key = target or "y"
        with open_npz(source, max_bytes=max_bytes) as archive:
            if key not in archive.names:
                raise DataError(f"no array {key!r}; it holds {', '.join(archive.names) or 'none'}")
            X = archive.read(_features_of(archive.names, key))
            y = archive.read(key)
        return from_arrays(source, X, y, target=key)
    if kind == ".npy":
        _refuse(source, categorical=categorical)
        X = _load_matrix(source, max_bytes)
        names = tuple(str(i + 1) for i in range(X.shape[1]))
        goal, kept = _split_columns(source, names, target, drop)
        table = from_arrays(source, X[:, kept], X[:, goal], target=names[goal])
        return replace(table, names=tuple(names[i] for i in kept), n_columns=len(names))
    cells = read_csv(source, header=header, delimiter=delimiter)
    goal, kept = _split_columns(source, cells.names, target, drop)
    forced = {find_column(name, cells.names, source) for name in categorical}
    texts = {column for column in (*kept, goal) if column in forced or cells.is_text(column)}
    table = _from_cells(cells, kept, texts)
    goal_cells = cells.texts(goal) if goal in texts else cells.numbers(goal)
    return replace(table, target=goal_cells, target_names=(cells.names[goal],))


def read_features(
    path: str | os.PathLike[str],
    names: Names | None = None,
    *,
    categorical: Iterable[str] = (),
    n_columns: int = 0,
    target: str = "y",
    header: str = "auto",
    delimiter: str = ",",
    max_bytes: int = MAX_BYTES,
) -> Table:
    """Read the columns that a model takes; a file with names may hold others as well.

    Args:
        path, header, delimiter, max_bytes: as for `read_table`.
        names: the model's features in order. They are found by name, or, in a file without
            names, by place: it has just these columns, or the `n_columns` of the file that the
            model was trained on. None: all columns of the file, whatever their names.
        categorical: those of `names` that hold texts.
        target: in a .npz, the array that is not the features.

    Raises:
        DataError: as `read_table`; also for a column that is missing.
    """
    source = os.fspath(path)
    max_bytes = check_max_bytes(max_bytes)
    kind = _kind_of(source)
    if kind == ".csv":
        cells = read_csv(source, header=header, delimiter=delimiter)
        chosen = _choose(source, cells.names, cells.named, names, n_columns)
        texts = {
            column
            for column, name in zip(chosen, names or cells.names, strict=True)
            if name in set(categorical)
        }
        return _from_cells(cells, chosen, texts)
    for name in categorical:
        raise DataError(f"{source}: the model takes texts in column {name!r}; give it a .csv file")
    if kind == ".npy":
        X = _load_matrix(source, max_bytes)
    else:
        with open_npz(source, max_bytes=max_bytes) as archive:
            X = archive.read(_features_of(archive.names, target))
    table = from_arrays(source, X)
    chosen = _choose(source, table.names, False, names, n_columns)
    found = tuple(table.names[column] for column in chosen)
    return replace(table, values=table.values[:, chosen], names=found)


def infer_task(target: np.ndarray) -> str:
    """The task a target asks for, "classification" or "regression".

    Classification for texts, booleans, and whole numbers of at most 20 distinct values.

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


def find_column(spec: str, names: Names, source: str) -> int:
    """Index of the column that `spec` names, or numbers from 1, or from -1 backwards.

    Raises DataError, listing the names, if there is none.

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
    raise DataError(f"{source}: no column {spec!r}; there are {len(names)}: {_listed(names)}")


# ---- columns ------------------------------------------------------------------------------


def _split_columns(
    source: str, names: Names, target: str | None, drop: Sequence[str]
) -> tuple[int, list[int]]:
    """Index of the target and those of the features."""
    dropped = {find_column(name, names, source) for name in drop}
    if target is None:
        goal = max((i for i in range(len(names)) if i not in dropped), default=0)
    else:
        goal = find_column(target, names, source)
    kept = [i for i in range(len(names)) if i != goal and i not in dropped]
    if not kept or goal in dropped:
        raise DataError(
            f"{source}: expected a target and at least one feature; of the columns "
            f"{_listed(names)} the target is {names[goal]!r}, which leaves {len(kept)}"
        )
    return goal, kept


def _from_cells(cells: Cells, columns: Sequence[int], texts: set[int]) -> Table:
    """The features of a .csv file: `columns` in order, those of `texts` as texts."""
    values = np.full((len(cells.rows), len(columns)), np.nan)
    text = {}
    for i, column in enumerate(columns):
        if column in texts:
            text[i] = cells.texts(column)
        else:
            values[:, i] = cells.numbers(column)
    return Table(
        source=cells.source,
        names=tuple(cells.names[column] for column in columns),
        values=values,
        text=text,
        lines=np.array(cells.lines),
        n_columns=len(cells.names),
    )


def _choose(
    source: str, found: Names, named: bool, names: Names | None, n_columns: int
) -> list[int]:
    """Indices in a file with columns `found` of the features `names`."""
    if names is None:
        return list(range(len(found)))
    if not named and len(found) == len(names):
        return list(range(len(found)))
    missing = [name for name in names if name not in found]
    if missing or not (named or len(found) == n_columns):
        raise DataError(
            f"{source}: the model takes {len(names)} columns, {_listed(names)}; "
            f"the file has {len(found)}, {_listed(found)}"
            + (f": {missing[0]!r} is missing" if missing and named else "")
        )
    return [found.index(name) for name in names]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:8])
    return shown if len(names) <= 8 else f"{shown}, … {names[-1]}"


def _check_finite(X: np.ndarray, source: str, what: str) -> None:
    finite = np.isfinite(X)
    if not finite.all():
        row, column = np.argwhere(~finite)[0]
        raise DataError(
            f"{source}, row {row + 1}, {what} {column + 1}: expected a finite number; "
            f"got {X[row, column]}"
        )


# ---- NumPy files --------------------------------------------------------------------------


def _kind_of(source: str) -> str:
    kind = Path(source).suffix.lower()
    if kind not in (".csv", ".npz", ".npy"):
        raise DataError(f"{source}: expected a file ending in .csv, .npz or .npy")
    return kind


def _refuse(source: str, **options: Sequence[str]) -> None:
    for name, value in options.items():
        if value:
            raise DataError(f"{source}: --{name} {value[0]} does not go with this kind of file")


def _load_matrix(source: str, max_bytes: int) -> np.ndarray:
    X = read_npy(source, max_bytes=max_bytes)
    if X.ndim != 2 or X.size == 0:
        raise DataError(f"{source}: expected a 2-D array (rows, columns); got shape {X.shape}")
    return X


def _features_of(names: Sequence[str], target: str) -> str:
    """The name of the features: X, or the only array that is not the target."""
    others = [name for name in names if name != target]
    if "X" in others:
        return "X"
    if len(others) != 1:
        raise DataError(
            f"expected an array X besides the target {target!r}; it holds "
            f"{', '.join(names) or 'none'}"
        )
    return others[0]
