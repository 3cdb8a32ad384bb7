"""Layers as nodes of an ONNX graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .._types import Array
from ._folded import exported
from ._onnx_graph import INT64, Graph

if TYPE_CHECKING:
    from .._network.dense import Norm
    from .._network.embedding import Periodic
    from .._network.layers import Layer
    from .._network.network import Network


def emit_layers(g: Graph, layers: Sequence[Layer], x: str) -> str:
    """Add nodes for consecutive layers; return the name of the output of the last one."""
    from ._onnx_functions import emit_activation

    for layer in layers:
        if layer.dense.embeds:
            x = _embeddings(g, layer, x)
        parameters, norm = exported(layer), layer.dense.norm
        z = g("MatMul", x, g.array(parameters["W"], "W"))
        if "b" in parameters:
            z = g("Add", z, g.array(parameters["b"], "b"))
        if norm is not None and not norm.by_batch:
            z = _norm(g, layer, norm, z)
        out = emit_activation(g, layer, z)
        x = g("Add", out, x) if layer.dense.residual else out
    return x


def _embeddings(g: Graph, layer: Layer, x: str) -> str:
    """The inputs of W: what numbers become, the other inputs, and the vectors of categories."""
    dense, parts, first = layer.dense, [], 0
    last = layer.W.shape[0]
    if dense.categories is not None:
        last -= sum(dense.categories.width)
    if dense.embedding is not None:
        first = dense.embedding.n_numbers
        last -= first * (dense.embedding.width - 1)
        parts.append(_numbers(g, layer, dense.embedding, x))
    if last > first:
        parts.append(_columns(g, x, first, last))
    for i, table in enumerate(layer.tables):
        parts.append(_vectors(g, table, _columns(g, x, last + i, last + i + 1)))
    return parts[0] if len(parts) == 1 else g("Concat", *parts, axis=1)


def _vectors(g: Graph, table: Array, code: str) -> str:
    """The rows of a table by their codes (batch, 1); any other code is the last row, of zeros."""
    n = float(len(table))
    known = g("And", g("GreaterOrEqual", code, 0.0), g("Less", code, n))
    code = g("Where", known, code, n)
    rows = g.array(np.concatenate([table, np.zeros_like(table[:1])]), "table")
    codes = g("Squeeze", g("Cast", code, to=INT64), g.axis(1))
    return g("Gather", rows, codes, axis=0)


def _numbers(g: Graph, layer: Layer, periodic: Periodic, x: str) -> str:
    """What numbers become: of each, x itself and Σ_k cos(2π c_k x + φ_k) P_k + offsets."""
    n, own = periodic.n_numbers, layer.embedding
    numbers = g("Unsqueeze", _columns(g, x, 0, n), g.axis(-1))  # (batch, n, 1)
    turns = g.array((2 * np.pi * own["frequencies"]).astype(own["frequencies"].dtype), "c")
    quarter = np.asarray(own["phases"] + np.pi / 2, own["phases"].dtype)  # cos t = sin(t + π/2):
    t = g("Add", g("Mul", numbers, turns), g.array(quarter, "phi"))  # Cos may lack float64
    by_output = g("Mul", g("Unsqueeze", g("Sin", t), g.axis(-1)), g.array(own["projections"], "P"))
    y = g("ReduceSum", by_output, g.axis(2), keepdims=0)  # (batch, n, outputs)
    y = g("Add", y, g.array(own["offsets"], "offsets"))
    y = g("Relu", y) if periodic.relu else y
    y = g("Concat", numbers, y, axis=2) if periodic.keep else y
    return g("Reshape", y, g.array(np.array([-1, n * periodic.width], np.int64), "shape"))


def _columns(g: Graph, x: str, start: int, stop: int) -> str:
    ends = (g.array(np.array([end], np.int64), "column") for end in (start, stop))
    return g("Slice", x, *ends, g.axis(1))


def emit_mean(g: Graph, nets: Sequence[Network], x: str) -> str:
    """Add nodes for networks and the mean of their outputs; return its name."""
    outputs = [emit_layers(g, net.layers, x) for net in nets]
    return outputs[0] if len(outputs) == 1 else g("Div", g("Sum", *outputs), float(len(outputs)))


def _norm(g: Graph, layer: Layer, norm: Norm, z: str) -> str:
    if norm.name == "layer":
        z = g("Sub", z, g("ReduceMean", z, g.axis(-1)))
    square = g("ReduceMean", g("Mul", z, z), g.axis(-1))
    n = g("Div", z, g("Sqrt", g("Add", square, norm.eps or 0.0)))
    parameters = layer.parameters()
    n = g("Mul", n, g.array(parameters["gain"], "gain"))
    return g("Add", n, g.array(parameters["shift"], "shift")) if norm.shifts else n
