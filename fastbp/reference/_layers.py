"""The forward and backward pass of a layer with norm, dropout and residual.

    z = uW + b    n = norm(z)    a = σ(n)    out = a ⊙ m/(1 − p) + u

Norm, dropout and residual are optional. With a scale s, z = (u ⊙ s)W + b = u (s ⊙ W) + b.
docs/layers.md has the sources and the names in PyTorch.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .._checks.batch_norm import check_variance
from .._network.dense import STATISTICS, Dense, Norm
from .._precision import HIGHEST
from .._training.shuffle import random_words
from .._types import Array
from ._embedding import embed, embedding_gradients
from ._formulas import activate, constants_of, slopes
from ._products import product

STREAM_DROPOUT = 0x10000  # random stream of the inputs; layer l has STREAM_DROPOUT + l


def dropout_mask(seed: int, layer: int, step: int, shape: tuple[int, int], p: float) -> Array:
    """The dropout mask of the engine: whether each unit is kept.

    The random numbers depend only on their index. For row i, index (i << 32) + 8 g + c with c < 8
    gives four words: words 0 and 1 are for units 32 g + 2 c and 32 g + 2 c + 1, words 2 and 3 for
    the units 16 further. A unit is dropped if its word is less than p·2³².

    Parameters
    ----------
    seed : int
        Seed of the network.
    layer : int
        Layer number 1 … L, or 0 for the inputs.
    step : int
        Number of updates made before.
    shape : tuple of int
        Rows and units, (batch, n).
    p : float
        Dropout rate.

    Returns
    -------
    array, shape (batch, n), bool
        True for units that are kept.

    Examples
    --------
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
    """x ⊙ m/(1 − p) with the mask m; x itself if `kept` is None.

    "Inverted" dropout: Srivastava et al., JMLR 15, 2014.
    """
    return x if kept is None else x * np.where(kept, x.dtype.type(1 / (1 - p)), 0)


@dataclass(frozen=True)
class Statistics:
    """What batch norm subtracts and divides by: mean and var, (n,), of a batch or running ones."""

    mean: Array
    var: Array
    of_batch: bool


def statistics(blocks: dict[str, Array], z: Array, by_batch: bool) -> Statistics:
    """Those of z (batch, n) if by_batch, or the running ones of the layer.

    The variance of the batch is divided by its rows. Ioffe & Szegedy, ICML 2015.
    """
    if not by_batch:
        check_variance(blocks["running_var"], "a running_var")
        return Statistics(blocks["running_mean"], blocks["running_var"], False)
    return Statistics(z.mean(axis=0), z.var(axis=0), True)


def move_statistics(norm: Norm, blocks: dict[str, Array], of: Statistics, rows: int) -> None:
    """Move the running statistics towards those of a batch, as torch.nn.BatchNorm1d does."""
    share = norm.momentum or 0.0
    for name, new in (("running_mean", of.mean), ("running_var", of.var * (rows / (rows - 1)))):
        blocks[name][...] = (1 - share) * blocks[name] + share * new


def normalise(norm: Norm, z: Array, of: Statistics | None = None) -> tuple[Array, Array]:
    """x̂ (batch, n) and r (batch, 1) of z: x̂ = (z − mean) r with r = 1/√(var + eps).

    For "rms" the mean is taken to be 0. Batch norm has the statistics `of`, and r is (1, n). Ba,
    Kiros & Hinton, arXiv:1607.06450; Zhang & Sennrich, arXiv:1910.07467.
    """
    if of is not None:
        scale = 1 / np.sqrt(of.var + z.dtype.type(norm.eps))[None]
        return (z - of.mean) * scale, scale
    centred = z - z.mean(axis=1, keepdims=True) if norm.name == "layer" else z
    r = 1 / np.sqrt((centred * centred).mean(axis=1, keepdims=True) + norm.eps)
    return centred * r, r


def normalise_backward(
    norm: Norm, h: Array, x: Array, r: Array, of: Statistics | None = None
) -> Array:
    """∂J/∂z from h = ∂J/∂x̂, (batch, n)."""
    if of is not None and not of.of_batch:  # an affine map
        return r * h
    if of is not None:
        return r * (h - h.mean(axis=0) - x * (h * x).mean(axis=0))
    mean = h.mean(axis=1, keepdims=True) if norm.name == "layer" else 0
    return r * (h - mean - x * (h * x).mean(axis=1, keepdims=True))


@dataclass
class Trace:
    """The values of one layer in a forward pass.

    x is x̂; x and r are None without a norm, kept is None without dropout, and `of` are the
    statistics of batch norm. `backward` adds g = ∂J_i/∂out, dn = ∂J_i/∂n, and dc, ∂J_i/∂a ⊙ ∂σ/∂c
    (batch, n) for each trained constant c.
    """

    u: Array
    z: Array
    x: Array | None
    r: Array | None
    n: Array
    a: Array
    kept: Array | None
    out: Array
    of: Statistics | None
    g: Array = field(init=False, repr=False)
    dn: Array = field(init=False, repr=False)
    dc: list[Array] = field(init=False, repr=False, default_factory=list)
    before: Array | None = None  # the inputs of an embedding, which makes u of them

    def normed(self) -> tuple[Array, Array]:
        """(x̂, r) of a layer with a norm."""
        if self.x is None or self.r is None:
            raise ValueError("the layer has no norm")
        return self.x, self.r


def weights(dense: Dense, blocks: dict[str, Array]) -> Array:
    """What u is multiplied by: W, or s ⊙ W with a scale s of the inputs."""
    W = blocks["W"]
    return blocks["scale"][:, None] * W if dense.scale else W


def weights_along(dense: Dense, blocks: dict[str, Array], along: dict[str, Array]) -> Array:
    """R{·} of `weights`; along: R{·} of the parameters of the layer."""
    if not dense.scale:
        return along["W"]
    return along["scale"][:, None] * blocks["W"] + blocks["scale"][:, None] * along["W"]


def through_weights(dense: Dense, blocks: dict[str, Array], G: Array) -> dict[str, Array]:
    """The gradients of W and of a scale from G, that of `weights`."""
    if not dense.scale:
        return {"W": G}
    return {"W": blocks["scale"][:, None] * G, "scale": (blocks["W"] * G).sum(axis=1)}


def forward(
    dense: Dense,
    blocks: dict[str, Array],
    u: Array,
    kept: Array | None = None,
    precision: str = HIGHEST,
    *,
    by_batch: bool = False,
) -> Trace:
    """Compute one layer; `blocks` are its parameters by name, `kept` is its mask.

    by_batch: whether batch norm takes the statistics of the batch.
    """
    before = u
    if dense.embeds:
        u = embed(dense, blocks, before)
    z = product(u, weights(dense, blocks), precision)
    if dense.bias:
        z = z + blocks["b"]
    n, x, r, of = z, None, None, None
    if dense.norm is not None:
        if dense.norm.by_batch:
            of = statistics(blocks, z, by_batch)
        x, r = normalise(dense.norm, z, of)
        n = x * blocks["gain"]
        if dense.norm.shifts:
            n = n + blocks["shift"]
    a = activate(dense.activation, n, constants_of(dense.activation, blocks))
    out = dropped(a, dense.dropout, kept)
    if dense.residual:
        out = out + u
    return Trace(u, z, x, r, n, a, kept, out, of, before=before)


def backward(dense: Dense, blocks: dict[str, Array], trace: Trace, g: Array) -> Array:
    """δ = ∂J_i/∂z from g = ∂J_i/∂out; g, ∂J_i/∂n and those of constants are stored in the trace."""
    trace.g = g
    g = dropped(g, dense.dropout, trace.kept)
    constants = constants_of(dense.activation, blocks)
    trace.dn, *trace.dc = slopes(dense.activation, g, trace.n, trace.a, constants)
    if dense.norm is None:
        return trace.dn
    return normalise_backward(dense.norm, trace.dn * blocks["gain"], *trace.normed(), trace.of)


def through(
    dense: Dense,
    blocks: dict[str, Array],
    trace: Trace,
    delta: Array,
    precision: str = HIGHEST,
) -> Array:
    """∂J_i/∂u from δ, including the path through the residual."""
    g = product(delta, weights(dense, blocks).T, precision)
    return g + trace.g if dense.residual else g


def gradients(
    dense: Dense,
    blocks: dict[str, Array],
    trace: Trace,
    delta: Array,
    s: Array,
    precision: str = HIGHEST,
) -> dict[str, Array]:
    """Σ_i s_i ∂J_i of each parameter, by name; 0 for running statistics.

    Norm by the batch takes b away with the mean, so its gradient is 0.
    """
    sums = through_weights(dense, blocks, product(trace.u.T, s[:, None] * delta, precision))
    if dense.embeds and trace.before is not None:
        g = s[:, None] * product(delta, weights(dense, blocks).T, precision)
        sums |= embedding_gradients(dense, blocks, trace.before, g)
    if dense.bias:
        constant = trace.of is not None and trace.of.of_batch
        sums["b"] = np.zeros_like(delta[0]) if constant else s @ delta
    if trace.of is not None:
        sums |= dict.fromkeys(STATISTICS, np.zeros_like(delta[0]))
    if dense.norm is not None:
        sums["gain"] = s @ (trace.dn * trace.x)
        if dense.norm.shifts:
            sums["shift"] = s @ trace.dn
    return sums | {name: s @ each for name, each in of_constants(dense, trace.dc).items()}


def of_constants(dense: Dense, dc: list[Array]) -> dict[str, Array]:
    """∂J_i of every trained constant by name: (batch, n) per unit, or their sums (batch, 1).

    dc: as in a `Trace`, or their R{·}.
    """
    activation = dense.activation
    if activation.per == "layer":
        dc = [each.sum(axis=1, keepdims=True) for each in dc]
    return dict(zip(activation.constants, dc, strict=True))


def constrain(dense: Dense, W: Array) -> None:
    """Apply non_negative, then max_norm with the factor of `torch.renorm`, in place."""
    if dense.non_negative:
        np.maximum(W, 0, out=W)
    if dense.max_norm is not None:
        norm = np.sqrt((W * W).sum(axis=0))
        W *= np.where(norm > dense.max_norm, dense.max_norm / (norm + 1e-7), 1)
