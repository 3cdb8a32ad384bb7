"""The steps between a table and a network: scaling, categories and class names.

A `Preprocessing` is computed from the training rows, stored in the model file as JSON, and applied
to all data that the model predicts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .._checks.size_limit import MAX_BYTES, array_bytes
from .._checks.words import listed
from .._types import Array
from ..errors import DataError
from ._csv import Format
from ._problems import IGNORED, Problem, data_error, unknown_category
from ._table import Table, identifiers

TASKS = ("classification", "regression")
UNKNOWN = ("error", "ignore")
_MARKS = ("decimal", "thousands")  # fields that a dict may lack
_BLOCK = 4096  # rows to scale at a time, so that the intermediate float64 array stays small
_MAX_WHOLE = 2**53  # whole numbers up to this one are exact in float64
_MAX_DIGITS = 21  # of a whole number in a message

Class = str | int | bool


@dataclass(frozen=True)
class Preprocessing:
    """How a table becomes inputs of the network, and how its outputs become predictions.

    Parameters
    ----------
    task : {"classification", "regression"}
        The task.
    features : tuple of str
        The names of the feature columns, in order.
    n_columns : int
        The number of columns in the training file.
    categories : dict of str to tuple of str
        For each text feature, its distinct strings. Each string is one input, which is 1 in rows
        with that string and 0 otherwise.
    mean, scale : tuple of float
        Mean and scale of each input: x becomes (x − mean)/scale.
    target : tuple of str
        The names of the target columns; a classification has one.
    classes : tuple of str, int or bool
        The classes of a classification, in the order of the outputs.
    target_mean, target_scale : tuple of float
        For a regression: output a predicts a·scale + mean.
    decimal, thousands : str
        The marks in the numbers of the training file, if it was a .csv file.

    Raises
    ------
    ValueError
        The fields are invalid, or do not fit together.
    """

    task: str
    features: tuple[str, ...]
    n_columns: int
    categories: dict[str, tuple[str, ...]]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    target: tuple[str, ...]
    classes: tuple[Class, ...] = ()
    target_mean: tuple[float, ...] = ()
    target_scale: tuple[float, ...] = ()
    decimal: str = "."
    thousands: str = ""

    def __post_init__(self) -> None:
        _check(self)

    @classmethod
    def fit(
        cls,
        table: Table,
        task: str,
        *,
        rows: Array | None = None,
        standardize: bool = True,
        pixel_scale: float | None = None,
    ) -> Preprocessing:
        """Compute the statistics of the training rows of a table.

        Parameters
        ----------
        table : Table
            A table with a target. Categories and classes come from all of its rows.
        task : {"classification", "regression"}
            The task.
        rows : ndarray of int, optional
            The indices of the training rows, which determine means and scales. By default all rows.
        standardize : bool
            False leaves the numbers as they are (mean 0, scale 1).
        pixel_scale : float, optional
            One scale for all features, such as the largest possible value of a pixel. It replaces
            their standard deviations, which would amplify pixels that hardly vary.

        Returns
        -------
        Preprocessing
            The statistics.

        Raises
        ------
        DataError
            The task cannot use the target, or a text column has more than 256 categories.
        """
        mean: list[float] = []
        scale: list[float] = []
        categories = {}
        if problems := identifiers(table):
            raise data_error(table.source, problems)
        chosen = slice(None) if rows is None else rows
        for column, name in enumerate(table.names):
            if column in table.text:
                texts = np.unique(table.text[column]).tolist()
                categories[name] = tuple(texts)
                mean += [0.0] * len(texts)
                scale += [1.0] * len(texts)
            else:
                centre, spread = _statistics(table.values[chosen, column], table, name, standardize)
                mean.append(centre)
                scale.append(pixel_scale if pixel_scale and standardize else spread)
        classes: tuple[Class, ...] = ()
        target_mean: tuple[float, ...] = ()
        target_scale: tuple[float, ...] = ()
        if task == "classification":
            classes = _classes(table)
        else:
            target_mean, target_scale = _target_statistics(table, chosen, standardize)
        return cls(
            task=task,
            features=table.names,
            n_columns=table.n_columns,
            categories=categories,
            mean=tuple(mean),
            scale=tuple(scale),
            target=table.target_names,
            classes=classes,
            target_mean=target_mean,
            target_scale=target_scale,
            decimal=table.format.decimal,
            thousands=table.format.thousands,
        )

    @property
    def n_inputs(self) -> int:
        """The number of inputs of the network; each category is one input."""
        return len(self.mean)

    @property
    def n_outputs(self) -> int:
        """The number of outputs: classes, or columns of the target."""
        return len(self.classes) or len(self.target)

    def inputs(
        self,
        table: Table,
        dtype: np.dtype,
        *,
        unknown: str = "error",
        max_bytes: int = MAX_BYTES,
    ) -> Array:
        """Return the input X (n, n_inputs) of the network for a table with these features.

        Parameters
        ----------
        table : Table
            The rows.
        dtype : numpy.dtype
            The dtype of X.
        unknown : {"error", "ignore"}
            What to do with a category that was not in the training file. "ignore" sets all inputs
            of the column to 0 in such rows; `unknown_categories` counts them.
        max_bytes : int, default 4 GiB
            The maximum size of X in memory.

        Returns
        -------
        ndarray of shape (n, n_inputs)
            The input.

        Raises
        ------
        DataError
            There is an unknown category with `unknown="error"`, a scaled number is too large for
            `dtype`, or X would take more than `max_bytes` bytes.
        ValueError
            `unknown` is neither "error" nor "ignore".
        """
        if unknown not in UNKNOWN:
            raise ValueError(f"unknown must be one of {', '.join(UNKNOWN)}; got {unknown!r}")
        shape = (table.n_rows, self.n_inputs)
        array_bytes(shape, np.dtype(dtype), max_bytes, f"{table.source}: the network's input")
        X = np.zeros(shape, dtype)
        numbers: list[int] = []
        places: list[int] = []
        at = n_unknown = 0
        for column, name in enumerate(self.features):
            if name in self.categories:
                codes = self._codes(table, column)
                known = np.flatnonzero(codes >= 0)
                X[known, at + codes[known]] = 1
                n_unknown += len(codes) - len(known)
                at += len(self.categories[name])
            else:
                numbers.append(column)
                places.append(at)
                at += 1
        if n_unknown and unknown == "error":
            raise data_error(table.source, self.unknown_categories(table), IGNORED)
        # NumPy copies a slice several times as fast as a list of columns.
        columns: list[int] | slice = numbers if self.categories else slice(None)
        inputs: list[int] | slice = places if self.categories else slice(None)
        mean, scale = np.array(self.mean)[inputs], np.array(self.scale)[inputs]
        for start in range(0, table.n_rows, _BLOCK):
            rows = slice(start, start + _BLOCK)
            values = table.values[rows, columns]
            with np.errstate(over="ignore"):
                scaled = ((values - mean) / scale).astype(X.dtype)
            if not np.isfinite(scaled).all():
                self._refuse_overflow(table, values, scaled, start, numbers)
            X[rows, inputs] = scaled
        return X

    def _refuse_overflow(
        self, table: Table, values: Array, scaled: Array, start: int, columns: Sequence[int]
    ) -> None:
        """Raise DataError for the first finite number that the dtype of `scaled` cannot hold."""
        lost = np.argwhere(np.isfinite(values) & ~np.isfinite(scaled))
        if not len(lost):
            return
        row, column = lost[0].tolist()
        wider = "" if scaled.dtype == np.float64 else ", or train a model with dtype float64"
        raise DataError(
            f"{table.source}, {table.place(start + row)}, column "
            f"{self.features[columns[column]]!r}: {values[row, column]:g} is too large; scaled, it "
            f"is beyond {scaled.dtype}: correct it{wider}"
        )

    def unknown_categories(self, table: Table) -> list[Problem]:
        """Return a Problem for each feature of a table that has categories unknown to the model."""
        return [
            problem
            for column, name in enumerate(self.features)
            if name in self.categories
            for problem in unknown_category(
                f"column {name!r}", table.text[column], self.categories[name], table.place
            )
        ]

    def _codes(self, table: Table, column: int) -> Array:
        """Return the index (n,) of the category of each row; -1 for an unknown one."""
        index = {text: i for i, text in enumerate(self.categories[self.features[column]])}
        texts = table.text[column].tolist()
        return np.fromiter((index.get(text, -1) for text in texts), np.intp, len(texts))

    def targets(self, table: Table, dtype: np.dtype) -> Array:
        """Return the targets of a table: class indices (n,), or scaled numbers (n, n_outputs).

        Raises DataError for a class that was not in the training file.
        """
        target = table.require_target()
        if self.task == "regression":
            columns = target.reshape(len(target), -1)
            scaled = (columns - np.array(self.target_mean)) / np.array(self.target_scale)
            return np.asarray(scaled, dtype)
        index = {label: i for i, label in enumerate(self.classes)}
        labels = target.tolist()
        for row, label in enumerate(labels):
            if label not in index:
                raise DataError(
                    f"{table.source}, {table.place(row)}: the class {label!r} of "
                    f"{self.target[0]!r} was not in the training file; the model knows "
                    f"{listed(map(str, self.classes))}"
                )
        return np.array([index[label] for label in labels])

    def answers(self, outputs: Array) -> Array:
        """Return the predictions for outputs (n, n_outputs) of the network.

        They are indices (n,) into `classes`, or float64 (n, n_outputs) in the units of the target.
        """
        if self.task == "classification":
            return np.asarray(outputs.argmax(axis=1))
        return np.asarray(outputs * np.array(self.target_scale) + np.array(self.target_mean))

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as a dict for JSON; the marks are included only if not the default."""
        fields = asdict(self)
        usual = type(self).__dataclass_fields__
        return {
            name: value
            for name, value in fields.items()
            if name not in _MARKS or value != usual[name].default
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Preprocessing:
        """Make a Preprocessing of a dict from `to_dict`; ValueError if the dict is invalid."""
        fields = cls.__dataclass_fields__.keys()
        invalid = sorted((set(value) ^ set(fields)) - set(_MARKS))
        if invalid:
            raise ValueError(
                f"expected the fields {', '.join(fields)}; missing or unknown: {', '.join(invalid)}"
            )
        lists = {
            name: tuple(item) for name, item in value.items() if isinstance(item, (list, tuple))
        }
        categories = value["categories"]
        if not isinstance(categories, dict) or not all(
            isinstance(texts, (list, tuple)) for texts in categories.values()
        ):
            raise ValueError("categories must map names to lists of strings")
        texts = {name: tuple(texts) for name, texts in categories.items()}
        return cls(**{**value, **lists, "categories": texts})

    @classmethod
    def of_network(cls, value: Mapping[str, Any], widths: Sequence[int]) -> Preprocessing:
        """As `from_dict`, for a network; ValueError also if its inputs or outputs do not fit."""
        prep = cls.from_dict(value)
        if (prep.n_inputs, prep.n_outputs) != (widths[0], widths[-1]):
            raise ValueError(
                f"it has {prep.n_inputs} inputs and {prep.n_outputs} outputs; "
                f"the network has {widths[0]} and {widths[-1]}"
            )
        return prep


# ---- statistics ---------------------------------------------------------------------------


def _statistics(numbers: Array, table: Table, name: str, standardize: bool) -> tuple[float, float]:
    """Return mean and standard deviation (with n in the denominator), or (0, 1).

    The result is (0, 1) if `standardize` is False. The scale of a constant column is 1.
    """
    if not standardize:
        return 0.0, 1.0
    numbers = numbers.astype(np.float64)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        mean, deviation = float(numbers.mean()), float(numbers.std())
    if not math.isfinite(deviation):
        raise DataError(
            f"{table.source}: column {name!r} has numbers whose square overflows; scale them"
        )
    constant = deviation == 0 or numbers.min() == numbers.max()
    return mean, 1.0 if constant else deviation


def _target_statistics(
    table: Table, rows: Array | slice, standardize: bool
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the means and the scales of the columns of the target."""
    target = table.require_target()
    if target.dtype.kind not in "iuf":
        raise DataError(
            f"{table.source}: regression takes numbers; {table.target_names[0]!r} is "
            f"{target.tolist()[0]!r} in {table.place(0)}"
        )
    columns = target.reshape(len(target), -1)[rows].T
    pairs = [
        _statistics(column, table, name, standardize)
        for column, name in zip(columns, table.target_names, strict=True)
    ]
    return tuple(mean for mean, _ in pairs), tuple(scale for _, scale in pairs)


def _classes(table: Table) -> tuple[Class, ...]:
    """Return the distinct targets in order: strings, booleans or ints."""
    target = table.require_target()
    if target.ndim != 1:
        raise DataError(
            f"{table.source}: classification takes one target column; got {target.shape[1]}"
        )
    if target.dtype.kind == "f":
        invalid = np.flatnonzero((target != np.round(target)) | (np.abs(target) > _MAX_WHOLE))
        if invalid.size:
            row = int(invalid[0])
            value = _written_out(target[row])
            raise DataError(
                f"{table.source}, {table.place(row)}: classification takes text, booleans or "
                f"whole numbers of 64 bits; {table.target_names[0]!r} is {value}"
            )
        target = target.astype(np.int64)
    classes = tuple(np.unique(target).tolist())
    if len(classes) < 2:
        raise DataError(
            f"{table.source}: classification takes at least two classes; "
            f"{table.target_names[0]!r} is {classes[0]!r} in every row; choose another column "
            "(--target)"
        )
    return classes


def _written_out(number: float) -> str:
    """Format a number; whole numbers get no decimal point."""
    return f"{number:.0f}" if _MAX_WHOLE <= abs(number) < 10**_MAX_DIGITS else str(number)


# ---- checks -------------------------------------------------------------------------------


def _check(p: Preprocessing) -> None:
    if p.task not in TASKS:
        raise ValueError(f"task must be one of {', '.join(TASKS)}; got {p.task!r}")
    Format(decimal=p.decimal, thousands=p.thousands)  # raises ValueError
    _check_texts(p.features, "features")
    _check_texts(p.target, "target")
    if type(p.n_columns) is not int or p.n_columns < len(p.features):
        raise ValueError(f"n_columns must be at least {len(p.features)}; got {p.n_columns!r}")
    for name, texts in p.categories.items():
        if name not in p.features:
            raise ValueError(f"categories of {name!r}, which is not a feature")
        _check_texts(texts, f"categories of {name!r}")
    n_inputs = len(p.features) + sum(len(texts) - 1 for texts in p.categories.values())
    _check_numbers(p.mean, "mean", n_inputs)
    _check_numbers(p.scale, "scale", n_inputs, positive=True)
    if p.task == "classification":
        _check_classes(p.classes)
        if len(p.target) != 1:
            raise ValueError("a classification has one target")
    elif p.classes:
        raise ValueError("a regression has no classes")
    n_targets = len(p.target) if p.task == "regression" else 0
    _check_numbers(p.target_mean, "target_mean", n_targets)
    _check_numbers(p.target_scale, "target_scale", n_targets, positive=True)


def _check_texts(values: object, what: str) -> None:
    if not isinstance(values, tuple) or not values or not all(type(v) is str for v in values):
        raise ValueError(f"{what} must be a list of at least one string")
    if len(set(values)) != len(values):
        raise ValueError(f"{what} must be distinct")


def _check_numbers(values: object, what: str, length: int, *, positive: bool = False) -> None:
    if not isinstance(values, tuple) or len(values) != length:
        raise ValueError(f"{what} must be a list of {length} numbers")
    for value in values:
        good = (type(value) is float and math.isfinite(value)) or (
            type(value) is int and abs(value) <= _MAX_WHOLE
        )
        if not good or (positive and value <= 0):
            kind = "finite positive" if positive else "finite"
            raise ValueError(f"{what} must contain {kind} numbers; got {value!r}")


def _check_classes(classes: object) -> None:
    if not isinstance(classes, tuple) or len(classes) < 2:
        raise ValueError("classes must be a list of at least two")
    if type(classes[0]) not in (str, int, bool) or any(
        type(label) is not type(classes[0]) for label in classes
    ):
        raise ValueError("classes must be strings, whole numbers or booleans, all of one type")
    if len(set(classes)) != len(classes):
        raise ValueError("classes must be distinct")
