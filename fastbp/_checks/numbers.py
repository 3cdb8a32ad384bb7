"""Arrays of numbers from lists, data frames of pandas and polars, and masked arrays.

A missing value never becomes a number: masked elements, None and NA raise an error that names the
first place.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Complex, Integral, Number, Real

import numpy as np

from .._types import Array
from .words import listed

_SHOWN = 5  # columns that an error names


def as_array(value: object, name: str) -> Array:
    """`np.asarray` that refuses masked elements and rows of different lengths (ValueError)."""
    refuse_masked(value, name)
    try:
        return np.asarray(value)
    except ValueError:
        raise ValueError(f"{name} has rows of different lengths; make it rectangular") from None


def refuse_masked(value: object, name: str) -> None:
    """ValueError for a masked array with masked elements, alone or in lists of arrays.

    >>> refuse_masked(np.ma.array([1.0, 2.0]), "X")
    """
    if isinstance(value, np.ma.MaskedArray):
        mask = np.ma.getmaskarray(value)
        if mask.any():
            n = int(mask.sum())
            row = f", first in row {np.argwhere(mask)[0][0]}" if mask.ndim else ""
            raise ValueError(
                f"{name} holds {n} masked element{'s' * (n > 1)}{row}: put values there "
                "with the array's .filled(value), or drop such rows"
            )
    elif isinstance(value, (list, tuple)):
        for each in value:
            if isinstance(each, (list, tuple, np.ma.MaskedArray)):
                refuse_masked(each, name)


def as_numbers(value: object, name: str, hint: str | None = None) -> Array:
    """`value` as an array of bool, int or float dtype, without a copy if it is one.

    An array of objects is accepted if all of them are numbers or booleans. Raises TypeError for an
    element that is not a number, naming its columns, and ValueError for a missing value.

    >>> as_numbers(np.array([[True, 2.5], [False, 1]], object), "X").tolist()
    [[1.0, 2.5], [0.0, 1.0]]
    """
    array = as_array(value, name)
    if array.dtype.kind in "biuf":
        return array
    if array.dtype.kind == "O" and array.ndim:
        return _from_objects(array, value, name, hint)
    way = hint or "convert it to numbers first"
    if array.dtype.kind in "US" and hint is None:
        way = f"encode it, or write np.asarray({name}, dtype=float) for numbers written as text"
    raise TypeError(f"{name} must hold real numbers; got dtype {array.dtype}: {way}")


WIDER = "make the network with dtype='float64'"


def narrowed(array: Array, dtype: np.dtype, name: str, wider: str = WIDER) -> Array:
    """A contiguous array of `dtype`; ValueError if a finite number is too large for it.

    `wider` tells how to compute in float64.
    """
    with np.errstate(over="ignore"):
        found = np.ascontiguousarray(array, dtype)
    if array.dtype.kind == "f" and array.itemsize > found.itemsize:
        lost = np.isfinite(array) & ~np.isfinite(found)
        if lost.any():
            raise beyond(array[lost][0], dtype, name, wider=wider)
    return found


def beyond(
    value: float, dtype: np.dtype, name: str, where: str = "", *, wider: str = WIDER
) -> ValueError:
    """The error for a finite number that is too large for `dtype`, with remedies."""
    way = "" if dtype == np.float64 else f", or {wider}"
    return ValueError(
        f"{name} holds {value}{where}, beyond {dtype}, which ends at "
        f"±{np.finfo(dtype).max:.4g}: scale {name}{way}"
    )


def _from_objects(array: Array, given: object, name: str, hint: str | None) -> Array:
    kinds = set(map(type, array.ravel().tolist()))
    wrong = {kind for kind in kinds if not is_number_kind(kind)}
    if wrong:
        raise _not_numbers(array, given, name, hint, wrong)
    if all(issubclass(kind, (bool, np.bool_)) for kind in kinds):
        return array.astype(bool)
    if all(issubclass(kind, (bool, np.bool_, Integral)) for kind in kinds):
        try:
            return array.astype(np.int64)
        except OverflowError:  # from 2⁶³ on: as floating-point numbers
            pass
    try:
        return array.astype(np.float64)
    except (OverflowError, ValueError):
        raise ValueError(f"{name} holds a number beyond float64; scale it") from None


def is_number_kind(kind: type) -> bool:
    """Whether objects of a type are real numbers or booleans; Decimal is such a type."""
    if issubclass(kind, (bool, np.bool_, Real)):
        return True
    return issubclass(kind, Number) and not issubclass(kind, Complex)  # such as Decimal


def is_missing_kind(kind: type) -> bool:
    """Whether it is the type of None, or of NA or NaT of pandas; pandas is not imported."""
    return kind is type(None) or kind.__name__ in ("NAType", "NaTType")


def _not_numbers(
    array: Array, given: object, name: str, hint: str | None, wrong: set[type]
) -> Exception:
    """The error for the first element that is not a number."""
    place, element = next(pair for pair in np.ndenumerate(array) if type(pair[1]) in wrong)
    refuse_masked(element, f"row {place[0]} of {name}")
    columns = _columns_with(array, given, wrong)
    if is_missing_kind(type(element)):
        where = f" in {columns}" if columns else ""
        return ValueError(
            f"{name} has missing values{where}, first {element} in row {place[0]}: fill them or "
            "drop such rows"
        )
    what = f"{columns} hold{'' if columns.startswith('columns') else 's'}" if columns else "got"
    what += f" {element!r} ({type(element).__name__}) in row {place[0]}"
    way = hint or (
        f"encode or drop such columns, or write {name}.astype(float) where they are numbers as text"
    )
    return TypeError(f"{name} must hold real numbers; {what}: {way}")


def _columns_with(array: Array, given: object, wrong: set[type]) -> str:
    """As text, the columns that hold elements of these types; "" where there are no columns."""
    if array.ndim != 2:
        return ""
    found = [j for j in range(array.shape[1]) if wrong.intersection(map(type, array[:, j]))]
    names: Sequence[object] = list(getattr(given, "columns", ()))
    if len(names) != array.shape[1]:
        names = range(array.shape[1])
    shown = listed((repr(names[j]) for j in found), _SHOWN)
    return f"column{'s' * (len(found) > 1)} {shown}"
