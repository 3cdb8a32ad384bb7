"""Embeddings of a first layer; `fastbp.Periodic` and `fastbp.Categories` have the formulas."""

from __future__ import annotations

from math import pi

import numpy as np

from .._network.dense import Dense
from .._network.embedding import VECTORS, Categories, Periodic
from .._types import Array


def embed(dense: Dense, blocks: dict[str, Array], X: Array) -> Array:
    """The inputs of W (batch, n) for the inputs X of the network."""
    first, last, parts = 0, X.shape[1], []
    if dense.embedding is not None:
        first = dense.embedding.n_numbers
        parts.append(_numbers(dense.embedding, blocks, X))
    if dense.categories is not None:
        last -= len(dense.categories.levels)
    parts.append(X[:, first:last])
    if dense.categories is not None:
        for table, codes in zip(*_categories(dense.categories, blocks, X), strict=True):
            parts.append(np.where((codes >= 0)[:, None], table[codes], 0))
    return np.concatenate(parts, axis=1)


def embedding_gradients(
    dense: Dense, blocks: dict[str, Array], X: Array, g: Array
) -> dict[str, Array]:
    """The sums of the gradients of the parameters from g, s_i ∂J_i of what `embed` returns."""
    sums: dict[str, Array] = {}
    if dense.embedding is not None:
        sums |= _number_gradients(dense.embedding, blocks, X, g)
    if dense.categories is not None:
        sums[VECTORS] = np.zeros_like(blocks[VECTORS])
        tables = dense.categories.tables(sums[VECTORS])
        start = g.shape[1] - sum(dense.categories.width)
        codes = _categories(dense.categories, blocks, X)[1]
        for table, own in zip(tables, codes, strict=True):
            known = own >= 0
            np.add.at(table, own[known], g[known, start : start + table.shape[1]])
            start += table.shape[1]
    return sums


def _categories(
    categories: Categories, blocks: dict[str, Array], X: Array
) -> tuple[list[Array], list[Array]]:
    """The tables, and the codes (batch,) of each."""
    codes = X[:, -len(categories.levels) :].real.astype(np.int64).T
    return categories.tables(blocks[VECTORS]), list(codes)


def _numbers(periodic: Periodic, blocks: dict[str, Array], X: Array) -> Array:
    n = periodic.n_numbers
    y = _outputs(periodic, blocks, X)[1]
    y = np.maximum(0, y) if periodic.relu else y
    kept = [X[:, :n, None]] if periodic.keep else []
    return np.concatenate([*kept, y], axis=2).reshape(len(X), -1)


def _number_gradients(
    periodic: Periodic, blocks: dict[str, Array], X: Array, g: Array
) -> dict[str, Array]:
    n = periodic.n_numbers
    t, y = _outputs(periodic, blocks, X)
    gy = g[:, : n * periodic.width].reshape(len(X), n, periodic.width)[:, :, int(periodic.keep) :]
    gy = np.where(y > 0, gy, 0) if periodic.relu else gy
    gt = -np.sin(t) * np.einsum("bno,nko->bnk", gy, blocks["projections"])
    return {
        "frequencies": 2 * pi * np.einsum("bnk,bn->nk", gt, X[:, :n]),
        "phases": gt.sum(axis=0),
        "projections": np.einsum("bnk,bno->nko", np.cos(t), gy),
        "offsets": gy.sum(axis=0),
    }


def _outputs(periodic: Periodic, blocks: dict[str, Array], X: Array) -> tuple[Array, Array]:
    """t = 2π c x + φ (batch, n_numbers, k) and y (batch, n_numbers, outputs), before a ReLU."""
    t = 2 * pi * X[:, : periodic.n_numbers, None] * blocks["frequencies"] + blocks["phases"]
    y = np.einsum("bnk,nko->bno", np.cos(t), blocks["projections"]) + blocks["offsets"]
    return t, y
