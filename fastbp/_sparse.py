"""Compressed rows (CSR) as the engine reads them: SciPy's matrices come in as they are."""

from __future__ import annotations

import numpy as np

Array = np.ndarray


class SparseRows:
    """X (n, n_cols) of which only some elements are there.

    Row i holds values[indptr[i] : indptr[i + 1]] in the columns indices[…], ascending; values of
    the network's dtype, indices int32, indptr int64.
    """

    ndim = 2

    def __init__(self, values: Array, indices: Array, indptr: Array, n_cols: int) -> None:
        self.values, self.indices, self.indptr = values, indices, indptr
        self.shape = (len(indptr) - 1, n_cols)
        self.dtype = values.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: object) -> SparseRows:
        """Those rows, copied; an array of indices or a slice."""
        chosen = np.arange(len(self))[rows]
        counts = np.diff(self.indptr)[chosen]
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        at = np.arange(indptr[-1]) + np.repeat(self.indptr[chosen] - indptr[:-1], counts)
        return SparseRows(self.values[at], self.indices[at], indptr, self.shape[1])

    def toarray(self) -> Array:
        """The rows written out."""
        full = np.zeros(self.shape, self.dtype)
        full[np.repeat(np.arange(len(self)), np.diff(self.indptr)), self.indices] = self.values
        return full


def is_sparse(X: object) -> bool:
    """Whether X is a SciPy sparse matrix or array, or rows made of one."""
    return isinstance(X, SparseRows) or hasattr(X, "tocsr")


def as_sparse_rows(X: object, n_cols: int, dtype: np.dtype, name: str) -> SparseRows:
    """X of SciPy's as SparseRows; its arrays themselves where they are right already.

    Raises TypeError or ValueError for another shape, for elements that are no real numbers, and
    for indices that do not lie in X.
    """
    if isinstance(X, SparseRows):
        return X
    X = X.tocsr()
    if X.ndim != 2 or X.shape[1] != n_cols:
        raise ValueError(f"{name} must be 2-D, (samples, {n_cols}); got shape {X.shape}")
    if X.shape[0] == 0:
        raise ValueError(f"{name} has no samples")
    if X.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers; got {X.dtype}")
    if not X.has_canonical_format:
        X = X.copy()
        X.sum_duplicates()
    if X.nnz and not (X.indices.min() >= 0 and X.indices.max() < n_cols):
        raise ValueError(f"{name} is damaged: a column index lies outside 0 … {n_cols - 1}")
    if X.indptr[0] != 0 or X.indptr[-1] > len(X.data) or np.any(np.diff(X.indptr) < 0):
        raise ValueError(f"{name} is damaged: its indptr does not go from 0 upwards to nnz")
    values = np.ascontiguousarray(X.data, dtype)
    indices = np.ascontiguousarray(X.indices, np.int32)
    return SparseRows(values, indices, np.ascontiguousarray(X.indptr, np.int64), n_cols)
