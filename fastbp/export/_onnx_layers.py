"""Layers as nodes of an ONNX graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ._folded import exported
from ._onnx_graph import Graph

if TYPE_CHECKING:
    from .._network.dense import Norm
    from .._network.layers import Layer
    from .._network.network import Network


def emit_layers(g: Graph, layers: Sequence[Layer], x: str) -> str:
    """Add nodes for consecutive layers; return the name of the output of the last one."""
    from ._onnx_functions import emit_activation

    for layer in layers:
        parameters, norm = exported(layer), layer.dense.norm
        z = g("MatMul", x, g.array(parameters["W"], "W"))
        if "b" in parameters:
            z = g("Add", z, g.array(parameters["b"], "b"))
        if norm is not None and not norm.by_batch:
            z = _norm(g, layer, norm, z)
        out = emit_activation(g, layer, z)
        x = g("Add", out, x) if layer.dense.residual else out
    return x


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
