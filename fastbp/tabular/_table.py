"""Tables, and the task that the target of a table implies."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from .._checks.words import counted
from .._types import Array
from ..errors import DataError
from ._csv import Format
from ._faults import MAX_CATEGORIES, too_many_categories
from ._problems import Problem, at_first, data_error, shortened

# A target of whole numbers with more distinct values than this is a quantity.
MAX_INFERRED_CLASSES = 20
MISSING = ("error", "keep")
DATES = ("text", "parse")
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


def from_arrays(
    source: str,
    X: Array,
    y: Array | None = None,
    *,
    target: str = "y",
    missing: str = "error",
) -> Table:
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
    missing : {"error", "keep"}
        Whether NaN in X is refused, or a hole of the table.

    Returns
    -------
    Table
        The table.

    Raises
    ------
    DataError
        A shape or a dtype is invalid, or an array contains infinity, or NaN that is no hole.
    ValueError
        `missing` is unknown.

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
    _check_finite(X, source, "column", holes=check_missing(missing) == "keep")
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
                'are classes, use --task classification, or task="classification" in Python'
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


def check_missing(missing: object) -> str:
    """Return how missing values are treated. Raises ValueError if it is neither of MISSING."""
    if missing not in MISSING:
        raise ValueError(f"missing must be one of {', '.join(MISSING)}; got {missing!r}")
    return str(missing)


def check_rules(
    missing: object, dates: object, na: Sequence[str], formats: Sequence[str]
) -> tuple[bool, bool]:
    """Return whether missing values are holes, and whether dates are read as dates.

    Raises ValueError or TypeError for other values of these options.
    """
    holes = check_missing(missing) == "keep"
    if dates not in DATES:
        raise ValueError(f"dates must be one of {', '.join(DATES)}; got {dates!r}")
    for name, given in (("na", na), ("date_formats", formats)):
        if isinstance(given, str):
            raise TypeError(f"{name} must be a sequence of strings; got {given!r}")
    if na and not holes:
        raise ValueError('na says what is a hole, so it needs missing="keep"')
    return holes, dates == "parse"


def _check_finite(X: Array, source: str, what: str, *, holes: bool = False) -> None:
    finite = ~np.isinf(X) if holes else np.isfinite(X)
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
