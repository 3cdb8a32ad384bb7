"""Formulas of activations and losses in NumPy: their arguments are checked, and graphs evaluated.

The reference computes with these functions. They take one dtype: that of the first array.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from .._checks.numbers import as_array, as_numbers
from .._types import Array
from ._graph import Node, gates_of
from ._operations import OPERATIONS


def one_for_each(names: Collection[str], given: object, what: str) -> dict[str, object]:
    """Some values by names, if there is one for each; `what` the sequence of the values is."""
    try:
        values = list(given)  # type: ignore[call-overload]
    except TypeError:
        values = None
    if values is None or len(values) != len(names):
        wanted = f"{len(names)} ({', '.join(names)})" if names else "none"
        got = f"got {len(values)}" if values is not None else f"{type(given).__name__} is no list"
        example = f"[{', '.join('1.0' for _ in names)}]"
        raise ValueError(
            f"{what} must be a list with a value for each trained constant of the formula, "
            f"{wanted}, such as {example}; {got}"
        )
    return dict(zip(names, values, strict=True))


def same_precision(given: Mapping[str, object]) -> dict[str, Array]:
    """Numbers as arrays of one dtype.

    It is the dtype of the first, or float64 if that holds integers or booleans. It becomes complex
    if any of the others is.
    """
    arrays = {name: _numbers(value, name) for name, value in given.items()}
    first = next(iter(arrays.values()))
    dtype = first.dtype if first.dtype.kind in "fc" else np.dtype(np.float64)
    if any(array.dtype.kind == "c" for array in arrays.values()):
        dtype = np.result_type(dtype, np.complex64)
    return {name: array.astype(dtype, copy=False) for name, array in arrays.items()}


def _numbers(value: object, name: str) -> Array:
    array = as_array(value, name)
    return array if array.dtype.kind == "c" else as_numbers(value, name)


def repeated(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays in the shape of the first; ValueError if one does not broadcast against it."""
    name, first = next(iter(arrays.items()))
    found = {}
    for other, array in arrays.items():
        try:
            found[other] = np.broadcast_to(array, first.shape)
        except ValueError:
            raise ValueError(
                f"{other} has shape {array.shape}, which does not broadcast to that of {name}, "
                f"{first.shape}: give a number or an array of that shape"
            ) from None
    return found


def check_rows(arrays: Mapping[str, Array]) -> None:
    """ValueError if the first array is no matrix with columns, or another has another shape."""
    name, first = next(iter(arrays.items()))
    if first.ndim != 2 or not first.shape[1]:
        raise ValueError(
            f"{name} must have two axes, rows and outputs; got shape {first.shape}: for one row "
            f"write {name}[None, :]"
        )
    for other, array in arrays.items():
        if array.shape != first.shape:
            raise ValueError(
                f"{other} must have the shape of {name}, {first.shape}; got {array.shape}. "
                "Classes are rows with a 1, as of np.eye(n_classes)[labels]"
            )


def evaluated(graphs: Sequence[Node], given: Mapping[str, Array], like: Array) -> list[Array]:
    """The values of gates, in the shape and dtype of `like`, from inputs of this dtype."""
    dtype = like.dtype
    found: dict[Node, Any] = {}
    with np.errstate(all="ignore"):
        for gate in gates_of(graphs):
            if gate.operands:
                operands = (found[x] for x in gate.operands)
                found[gate] = OPERATIONS[gate.operation].value(*operands)
            elif gate.operation == "input":
                found[gate] = given[str(gate.data)]
            else:
                found[gate] = dtype.type(gate.data)
    return [np.array(np.broadcast_to(found[gate], like.shape), dtype) for gate in graphs]
