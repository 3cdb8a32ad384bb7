"""What a layer does besides σ(uW + b): norm, dropout and residual, forward beside derivative.

    z = uW + b    n = norm(z)    a = σ(n)    out = a ⊙ m/(1 − p) + u

Each of norm, dropout and residual only where the layer has it. Sources, and PyTorch's names:
`docs/layers.md`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._network.dense import Dense, Norm
from .._training.shuffle import random_words
from .._types import Array
from ._formulas import activate, pull_back

STREAM_DROPOUT = 0x10000  # of the inputs; that of layer l is l further


def dropout_mask(seed: int, layer: int, step: int, shape: tuple[int, int], p: float) -> Array:
    """Whether a unit is kept, (batch, n) bool, by the engine's counter RNG.

    layer: l = 1 … L, 0 for the inputs; step: updates made before. Words 0 and 1 of index
    (i << 32) + 8 g + c, c < 8, belong to units 32 g + 2 c and the next of row i, words 2 and 3 to
    those 16 further; a unit whose word is below p·2³² is dropped.

    >>> dropout_mask(7, 1, 0, (2, 4), 0.5).tolist()
    [[True, False, False, False], [False, True, True, False]]
    """
    rows, units = shape
    groups = -(-units // 32)
    index = (np.arange(rows, dtype=np.uint64)[:, None] << np.uint64(32)) + np.arange(
        8 * groups, dtype=np.uint64
    )
    words = random_words(seed, STREAM_DROPOUT + layer, step % 2**32, index.ravel())
    by_unit = words.reshape(rows, groups, 8, 2, 2).swapaxes(2, 3).reshape(rows, -1)
    return by_unit[:, :units] >= np.uint32(p * 2**32)


def dropped(x: Array, p: float, kept: Array | None) -> Array:
    """x ⊙ m/(1 − p), m by its mask; x itself where kept is None."""
    return x if kept is None else x * np.where(kept, x.dtype.type(1 / (1 - p)), 0)


def normalise(norm: Norm, z: Array) -> tuple[Array, Array]:
    """(x̂, r) of the rows of z: x̂ = (z − mean) r, r = 1/√(var + eps), (batch, 1); rms: mean 0."""
    centred = z - z.mean(axis=1, keepdims=True) if norm.name == "layer" else z
    r = 1 / np.sqrt((centred * centred).mean(axis=1, keepdims=True) + norm.eps)
    return centred * r, r


def normalise_backward(norm: Norm, h: Array, x: Array, r: Array) -> Array:
    """∂J/∂z from h = ∂J/∂x̂, (batch, n)."""
    mean = h.mean(axis=1, keepdims=True) if norm.name == "layer" else 0
    return r * (h - mean - x * (h * x).mean(axis=1, keepdims=True))


@dataclass
class Trace:
    """What a forward pass through one layer leaves for the way back."""

    u: Array  # input
    z: Array
    x: Array | None  # x̂, with a norm, and r
    r: Array | None
    n: Array
    a: Array
    kept: Array | None
    out: Array
    g: Array | None = None  # of the way back: ∂J_i/∂out
    dn: Array | None = None  # and ∂J_i/∂n


def forward(dense: Dense, blocks: dict[str, Array], u: Array, kept: Array | None = None) -> Trace:
    """One layer, with parameters W, b, gain, shift as it has them; kept: its dropout's mask."""
    z = u @ blocks["W"]
    if dense.bias:
        z = z + blocks["b"]
    n, x, r = z, None, None
    if dense.norm is not None:
        x, r = normalise(dense.norm, z)
        n = x * blocks["gain"]
        if dense.norm.shifts:
            n = n + blocks["shift"]
    a = activate(dense.activation, n)
    out = dropped(a, dense.dropout, kept)
    if dense.residual:
        out = out + u
    return Trace(u, z, x, r, n, a, kept, out)


def backward(dense: Dense, blocks: dict[str, Array], trace: Trace, g: Array) -> Array:
    """δ = ∂J_i/∂z from g = ∂J_i/∂out; the trace keeps g and ∂J_i/∂n."""
    trace.g = g
    g = dropped(g, dense.dropout, trace.kept)
    trace.dn = pull_back(dense.activation, g, trace.n, trace.a)
    if dense.norm is None:
        return trace.dn
    return normalise_backward(dense.norm, trace.dn * blocks["gain"], trace.x, trace.r)


def through(dense: Dense, blocks: dict[str, Array], trace: Trace, delta: Array) -> Array:
    """∂J_i/∂u from δ, and by way of the residual."""
    g = delta @ blocks["W"].T
    return g + trace.g if dense.residual else g


def gradients(dense: Dense, trace: Trace, delta: Array, s: Array) -> dict[str, Array]:
    """Σ_i s_i ∂J_i of every parameter, by name."""
    sums = {"W": trace.u.T @ (s[:, None] * delta)}
    if dense.bias:
        sums["b"] = s @ delta
    if dense.norm is not None:
        sums["gain"] = s @ (trace.dn * trace.x)
        if dense.norm.shifts:
            sums["shift"] = s @ trace.dn
    return sums


def constrain(dense: Dense, W: Array) -> None:
    """non_negative, then max_norm, as torch.renorm shrinks, in place."""
    if dense.non_negative:
        np.maximum(W, 0, out=W)
    if dense.max_norm is not None:
        norm = np.sqrt((W * W).sum(axis=0))
        W *= np.where(norm > dense.max_norm, dense.max_norm / (norm + 1e-7), 1)
