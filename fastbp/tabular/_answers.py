"""The target of a `TableModel`: from classes and quantities to numbers, and back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real

import numpy as np

from .._checks.numbers import as_array
from .._checks.words import counted, listed
from .._types import Array
from ..errors import DataError
from ._cells import is_missing

Class = str | int | float | bool
Place = Callable[[int], str]
_EXACT = 2.0**53  # smaller whole numbers are exact in float64


@dataclass(frozen=True)
class Answers:
    """What the outputs of networks mean.

    Parameters
    ----------
    target : tuple of str
        The names of the target columns.
    classes : tuple of str, int, float or bool
        The classes in the order of the outputs; () for a regression. Whole numbers are of type int.
    mean, scale : tuple of float
        For a regression: output a of column j is a·scale[j] + mean[j].

    Raises
    ------
    ValueError
        The fields do not fit together.
    """

    target: tuple[str, ...]
    classes: tuple[Class, ...] = ()
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.target or any(type(name) is not str for name in self.target):
            raise ValueError("target must be at least one name")
        if self.classes:
            kinds = {type(each) for each in self.classes}
            if len(kinds) > 1 or not kinds <= {str, int, float, bool}:
                raise ValueError("classes must all be strings, numbers or truth values")
            if len(set(self.classes)) < len(self.classes) or len(self.classes) < 2:
                raise ValueError("classes must be two or more, all different")
            if any(type(each) is float and not math.isfinite(each) for each in self.classes):
                raise ValueError("classes must be finite")
            fits = len(self.target) == 1 and not self.mean and not self.scale
        else:
            fits = len(self.mean) == len(self.scale) == len(self.target)
        if not fits:
            raise ValueError("a classification has one target, a regression a scale for each")
        numbers = (*self.mean, *self.scale)
        if any(type(each) is not float or not math.isfinite(each) for each in numbers):
            raise ValueError("mean and scale must be finite numbers")
        if any(each <= 0 for each in self.scale):
            raise ValueError("scales must be greater than 0")

    @classmethod
    def of(cls, y: Array, task: str, names: tuple[str, ...], source: str) -> Answers:
        """What a target of `target_of` of training rows says. DataError if it cannot be used."""
        if task == "classification":
            if y.ndim > 1:
                raise DataError(
                    f"{source}: classes must be one column; the target has {y.shape[1]}"
                )
            found = np.unique(y)
            whole = found.dtype.kind == "f" and (found == np.round(found)).all()
            if whole and abs(found).max() < _EXACT:
                classes = tuple(map(int, found.tolist()))
            else:
                classes = tuple(found.tolist())
            if len(classes) < 2:
                raise DataError(
                    f"{source}: the target has only one class, {classes[0]!r}; there is nothing to "
                    "tell apart"
                )
            return cls(names, classes)
        columns = _numbers(y, source)
        least, most = columns.min(axis=0), columns.max(axis=0)
        with np.errstate(over="ignore", under="ignore"):
            if not np.isfinite(most - least).all():
                raise DataError(
                    f"{source}: the numbers of the target are too far apart; scale them"
                )
            exponents = np.frexp(np.maximum(abs(least), abs(most)))[1]
            moderate = np.ldexp(columns, -exponents)  # exact, and has squares
            mean, spread = (
                np.ldexp(each, exponents) for each in (moderate.mean(axis=0), moderate.std(axis=0))
            )
        spread[(spread == 0) | (least == most)] = 1
        return cls(names, (), tuple(mean.tolist()), tuple(spread.tolist()))

    @property
    def task(self) -> str:
        """The task."""
        return "classification" if self.classes else "regression"

    @property
    def n_outputs(self) -> int:
        """The number of outputs of a network."""
        return len(self.classes) or len(self.target)

    def numbers(self, y: Array, place: Place, source: str) -> Array:
        """The numbers of classes, int32 (n,), or scaled numbers, float32 (n, k).

        y is a target of `target_of`. Raises DataError for an unknown class, or another number of
        columns; `place` says where a row is.
        """
        n_columns = y.shape[1] if y.ndim > 1 else 1
        if n_columns != len(self.target):
            raise DataError(
                f"{source}: the model has {counted(len(self.target), 'target')}, "
                f"{listed(self.target)}; got {n_columns}"
            )
        if not self.classes:
            columns = _numbers(y, source)
            return np.asarray((columns - self.mean) / self.scale, np.float32)
        index = {label: i for i, label in enumerate(self.classes)}
        labels = y.tolist()
        codes = np.fromiter((index.get(label, -1) for label in labels), np.int32, len(labels))
        unknown = np.flatnonzero(codes < 0)
        if len(unknown):
            raise DataError(
                f"{source}: {counted(len(unknown), 'target')} of no known class, the first in "
                f"{place(int(unknown[0]))}: {labels[unknown[0]]!r}; the model knows "
                f"{listed(map(repr, self.classes))}"
            )
        return codes

    def values(self, outputs: Array) -> Array:
        """The predictions for outputs (n, n_outputs): classes (n,), or numbers (n,) or (n, k)."""
        if self.classes:
            return np.asarray(np.array(self.classes)[outputs.argmax(axis=1)])
        with np.errstate(over="ignore"):
            found = outputs.astype(np.float64) * self.scale + self.mean
        return np.asarray(found[:, 0] if len(self.target) == 1 else found)


def target_of(value: object, name: str, n_rows: int, place: Place, source: str) -> Array:
    """A target (n,) or (n, k) of numbers, or (n,) of truth values or strings, all of them present.

    Objects become what they all are. `place` says where a row is. Raises DataError for a hole, an
    infinite number, or other values; ValueError for another shape.
    """
    y = as_array(value, name)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim not in (1, 2) or len(y) != n_rows or y.size == 0:
        raise ValueError(
            f"{name} has shape {y.shape}; expected ({n_rows},), a target for each row of {source}"
        )
    _refuse_holes(y, place, source)
    if y.dtype.kind in "biufU":
        return y
    kinds = sorted({type(each).__name__ for each in y.reshape(-1).tolist()})
    if y.dtype.kind in "OT":
        values = [
            each.item() if isinstance(each, np.generic) else each for each in y.reshape(-1).tolist()
        ]
        if all(isinstance(each, str) for each in values):
            texts = np.empty(len(values), object)
            texts[:] = [str(each) for each in values]
            return texts.reshape(y.shape)
        if all(isinstance(each, Real) for each in values):
            found = np.array(values)  # truth values, or numbers
            if found.dtype.kind in "biuf":
                _refuse_holes(found.reshape(y.shape), place, source)
                return found.reshape(y.shape)
    raise DataError(
        f"{source}: a target is numbers, truth values or strings, all of one kind; {name} holds "
        f"{listed(kinds)}: convert it, for example to strings"
    )


def _numbers(y: Array, source: str) -> Array:
    """Numbers as float64 (n, k). Raises DataError for strings."""
    if y.dtype.kind not in "biuf":
        raise DataError(
            f"{source}: a regression takes numbers; the target holds {str(y.reshape(-1)[0])!r}"
        )
    return y.reshape(len(y), -1).astype(np.float64)


def _refuse_holes(y: Array, place: Place, source: str) -> None:
    """Raise DataError if a target (n,) or (n, k) has a hole or is infinite."""
    if y.dtype.kind in "biu":
        return
    if y.dtype.kind == "f":
        wrong = ~np.isfinite(y).reshape(len(y), -1).all(axis=1)
    else:
        holes = [is_missing(each) for each in y.reshape(-1).tolist()]
        wrong = np.reshape(holes, (len(y), -1)).any(axis=1)
    rows = np.flatnonzero(wrong)
    if len(rows):
        raise DataError(
            f"{source}: {counted(len(rows), 'row')} without a finite target (the first is "
            f"{place(int(rows[0]))}): leave out such rows, or fill in the target"
        )
