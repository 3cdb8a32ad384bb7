"""SciPy's sparse matrices, checked, as the compressed rows (CSR) that the engine reads."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._types import Array, SparseRows
from .numbers import narrowed, refuse_masked
from .shapes import check_row_shape


def is_sparse(X: object) -> bool:
    """Whether X is a SciPy sparse matrix or array, or SparseRows made from one."""
    return isinstance(X, SparseRows) or hasattr(X, "tocsr")


def as_sparse_rows(X: Any, n_cols: int, dtype: np.dtype, name: str) -> SparseRows:
    """A SciPy matrix as SparseRows, whose structure (indices, indptr) is a checked copy.

    The values are those of X itself if they already have `dtype`. Duplicates are summed and columns
    sorted. Flags of X such as has_canonical_format are ignored, because they stay set when its
    arrays change. Raises TypeError or ValueError for another shape, for elements that are not real
    numbers, and for a damaged structure.
    """
    if isinstance(X, SparseRows):
        return X
    check_row_shape(X.shape, n_cols, name, "widths[0]")
    if X.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers; got {X.dtype}")
    refuse_masked(getattr(X, "data", None), name)
    _check_other_form(X, name)
    X = X.tocsr()
    values = np.asarray(X.data)
    indices, indptr = _structure(X.indices, X.indptr, len(values), X.shape, "column", name)
    values = values[: len(indices)]
    if not _ascends(indices, indptr):
        values, indices, indptr = _summed(values, indices, indptr)
    values = narrowed(values, dtype, name)
    return SparseRows(values, indices.astype(np.int32, copy=False), indptr, n_cols)


def _check_other_form(X: Any, name: str) -> None:
    """Check the indices of other formats, which SciPy's conversion to CSR uses without a check."""
    form = getattr(X, "format", None)
    if form == "csc":
        _structure(X.indices, X.indptr, len(X.data), X.shape[::-1], "row", name)
    elif form == "bsr":
        blocks = tuple(n // size for n, size in zip(X.shape, X.blocksize, strict=True))
        _structure(X.indices, X.indptr, len(X.data), blocks, "column of blocks", name)
    elif form == "coo":
        for what, places, n in zip(("row", "col"), (X.row, X.col), X.shape, strict=True):
            _check_range(_whole_numbers(places, f"{name} is damaged: its {what}"), n, what, name)
            if len(places) != len(X.data):
                raise ValueError(
                    f"{name} is damaged: its {what} has {len(places)} entries; its data has "
                    f"{len(X.data)}"
                )


def _structure(
    indices: Any, indptr: Any, n_values: int, shape: tuple[int, int], what: str, name: str
) -> tuple[Array, Array]:
    """Checked copies of indices and, as int64, indptr of shape[0] compressed rows or columns.

    The copies are checked instead of the originals, because another thread may write to those.
    """
    damaged = f"{name} is damaged: its"
    indptr = _whole_numbers(indptr, f"{damaged} indptr").astype(np.int64, copy=False)
    indices = _whole_numbers(indices, f"{damaged} indices")
    if len(indptr) != shape[0] + 1:
        raise ValueError(f"{damaged} indptr has {len(indptr)} entries; it needs {shape[0] + 1}")
    if indptr[0] != 0:
        raise ValueError(f"{damaged} indptr must begin with 0; it begins with {indptr[0]}")
    falls = np.flatnonzero(indptr[1:] < indptr[:-1])
    if len(falls):
        i = falls[0]
        raise ValueError(
            f"{damaged} indptr must not fall; indptr[{i}] is {indptr[i]}, then {indptr[i + 1]}"
        )
    for part, length in (("indices", len(indices)), ("data", n_values)):
        if indptr[-1] > length:
            raise ValueError(f"{damaged} indptr ends with {indptr[-1]}; {part} holds {length}")
    indices = indices[: indptr[-1]]
    _check_range(indices, shape[1], what, name)
    return indices, indptr


def _check_range(places: Array, n: int, what: str, name: str) -> None:
    if len(places) and not (places.min() >= 0 and places.max() < n):
        wrong = places[(places < 0) | (places >= n)][0]
        raise ValueError(f"{name} is damaged: it has a {what} {wrong} outside 0 … {n - 1}")


def _whole_numbers(array: Any, what: str) -> Array:
    """A copy: int32 if the array is int32, else int64, so that differences do not wrap around."""
    array = np.asarray(array)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(f"{what} must be whole numbers, 1-D; got {array.dtype}, {array.ndim}-D")
    return np.array(array, np.int32 if array.dtype == np.int32 else np.int64)


def _ascends(indices: Array, indptr: Array) -> bool:
    """Whether the columns of every row ascend, without duplicates."""
    rises = indices[1:] > indices[:-1]
    starts = indptr[1:-1]
    rises[starts[(starts > 0) & (starts < len(indices))] - 1] = True
    return bool(rises.all())


def _summed(values: Array, indices: Array, indptr: Array) -> tuple[Array, Array, Array]:
    """The same rows with ascending columns and duplicates summed."""
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    order = np.lexsort((indices, rows))
    rows, indices = rows[order], indices[order]
    first = np.flatnonzero(np.r_[True, (np.diff(rows) != 0) | (np.diff(indices) != 0)])
    counts = np.bincount(rows[first], minlength=len(indptr) - 1)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return np.add.reduceat(values[order], first), indices[first], indptr
