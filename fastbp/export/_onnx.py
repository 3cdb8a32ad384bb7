"""Export to ONNX: a network as a graph of standard operators."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from .._files.atomic import atomic_write
from .._network.finite import check_finite_parameters
from .._types import Array
from ._onnx_graph import DOUBLE, FLOAT, OPSET, Graph

if TYPE_CHECKING:
    from .._network.dense import Norm
    from .._network.layers import Layer
    from .._network.network import Network


def emit_layers(g: Graph, layers: Sequence[Layer], x: str) -> str:
    """Add nodes for consecutive layers; return the name of the output of the last one."""
    from ._onnx_functions import emit_activation

    for layer in layers:
        z = g("MatMul", x, g.array(layer.W, "W"))
        if layer.b is not None:
            z = g("Add", z, g.array(layer.b, "b"))
        if layer.dense.norm is not None:
            z = _norm(g, layer, layer.dense.norm, z)
        out = emit_activation(g, layer, z)
        x = g("Add", out, x) if layer.dense.residual else out
    return x


def _norm(g: Graph, layer: Layer, norm: Norm, z: str) -> str:
    if norm.name == "layer":
        z = g("Sub", z, g("ReduceMean", z, g.axis(-1)))
    square = g("ReduceMean", g("Mul", z, z), g.axis(-1))
    n = g("Div", z, g("Sqrt", g("Add", square, norm.eps or 0.0)))
    parameters = layer.parameters()
    n = g("Mul", n, g.array(parameters["gain"], "gain"))
    return g("Add", n, g.array(parameters["shift"], "shift")) if norm.shifts else n


def onnx(net: Network, path: str | PathLike[str] | None = None, *, name: str = "model") -> Any:
    """Return the network as an ONNX model of opset 18. Needs the package onnx.

    The input is "x" (batch, n_0), the output "y" (batch, n_L). The computation has the dtype of the
    network, except for erf in gelu, which is computed in float32.

    Parameters
    ----------
    net : Network
        The network.
    path : str or path-like, optional
        A file to write the model to, either completely or not at all.
    name : str, default "model"
        The name of the graph.

    Returns
    -------
    onnx.ModelProto
        The model.

    Raises
    ------
    ValueError
        A parameter of the network is not finite.
    ImportError
        The package onnx is not installed.

    Examples
    --------
    >>> import fastbp
    >>> model = fastbp.export.onnx(fastbp.Network((2, 3, 1), seed=0))
    >>> model.graph.input[0].name, model.opset_import[0].version
    ('x', 18)
    """
    check_finite_parameters(net.layers, "an ONNX model takes finite weights only")
    try:
        from onnx import checker, helper, numpy_helper
    except ImportError as error:
        raise ImportError(
            'export to ONNX needs the package onnx: run pip install "fastbp[onnx]"'
        ) from error
    nodes, constants = [], []

    def add_node(op: str, inputs: Sequence[str], output: str, attributes: dict[str, Any]) -> None:
        nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))

    def add_constant(of: str, values: Array) -> None:
        constants.append(numpy_helper.from_array(values, of))

    g = Graph(add_node, add_constant, net.dtype)
    last = emit_layers(g, net.layers, "x")
    g("Identity", last, output="y")
    element = FLOAT if net.dtype == np.float32 else DOUBLE
    ends = [
        helper.make_tensor_value_info(of, element, ["batch", width])
        for of, width in (("x", net.widths[0]), ("y", net.widths[-1]))
    ]
    graph = helper.make_graph(nodes, name, ends[:1], ends[1:], constants)
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
        producer_name="fastbp",
    )
    checker.check_model(model, full_check=True)
    if path is not None:
        with atomic_write(path) as file:
            file.write(model.SerializeToString())
    return model
