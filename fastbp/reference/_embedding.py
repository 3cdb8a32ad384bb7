"""The periodic embedding of a first layer; `fastbp.Periodic` has the formulas and their sources."""

from __future__ import annotations

from math import pi

import numpy as np

from .._network.embedding import Periodic
from .._types import Array


def embed(periodic: Periodic, blocks: dict[str, Array], X: Array) -> Array:
    """The inputs of W (batch, n_outputs) for the inputs X of the network."""
    n = periodic.n_numbers
    y = _outputs(periodic, blocks, X)[1]
    y = np.maximum(0, y) if periodic.relu else y
    kept = [X[:, :n, None]] if periodic.keep else []
    embedded = np.concatenate([*kept, y], axis=2).reshape(len(X), -1)
    return np.concatenate([embedded, X[:, n:]], axis=1)


def embedding_gradients(
    periodic: Periodic, blocks: dict[str, Array], X: Array, g: Array
) -> dict[str, Array]:
    """The sums of the gradients of the parameters from g, s_i ∂J_i of what `embed` returns."""
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
