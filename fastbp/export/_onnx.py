"""Export to ONNX: a network as a graph of standard operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from .._files.atomic import atomic_write
from .._network.finite import check_finite_parameters
from .._types import Array
from ..activations import Activation

if TYPE_CHECKING:
    from .._network.dense import Norm
    from .._network.layers import Layer
    from .._network.network import Network


_FLOAT, _DOUBLE = 1, 11  # onnx.TensorProto.FLOAT, DOUBLE
OPSET = 18  # of the default domain; ONNX Runtime supports it since version 1.14


class Graph:
    """A builder of nodes and constants with unique names.

    Parameters
    ----------
    add_node : function
        add_node(op, inputs, output, attributes) adds a node to the model.
    add_constant : function
        add_constant(name, array) adds a constant to the model.
    dtype : dtype
        The dtype of numbers in the model.
    prefix : str
        The prefix of all names.
    """

    def __init__(
        self,
        add_node: Callable[[str, Sequence[str], str, dict[str, Any]], None],
        add_constant: Callable[[str, Array], None],
        dtype: np.dtype,
        prefix: str = "",
    ) -> None:
        self._add_node, self._add_constant = add_node, add_constant
        self.dtype, self._prefix = dtype, prefix
        self._count = 0
        self._known: dict[float, str] = {}

    def new_name(self, stem: str) -> str:
        """Return a name that nothing else has."""
        self._count += 1
        return f"{self._prefix}{stem}_{self._count}"

    def array(self, values: Array, stem: str = "constant") -> str:
        """Add a constant array; return its name."""
        name = self.new_name(stem)
        self._add_constant(name, np.ascontiguousarray(values))
        return name

    def number(self, value: float) -> str:
        """Add a constant scalar; return its name."""
        if value not in self._known:
            self._known[value] = self.array(np.array(value, self.dtype))
        return self._known[value]

    def axis(self, axis: int) -> str:
        """Add a constant list of one axis; return its name."""
        return self.array(np.array([axis], np.int64), "axes")

    def __call__(
        self, op: str, *inputs: str | float, output: str | None = None, **attributes: Any
    ) -> str:
        """Add a node, and a constant for each input that is a number; return the output's name."""
        names = [each if isinstance(each, str) else self.number(each) for each in inputs]
        output = self.new_name(op) if output is None else output
        self._add_node(op, names, output, attributes)
        return output


def _piecewise(g: Graph, z: str, negative: str, positive: str) -> str:
    return g("Where", g("Less", z, 0.0), negative, positive)


def _expm1(g: Graph, z: str) -> str:
    """e^z − 1 for z <= 0 without cancellation, as tanh(z/2) (e^z + 1)."""
    return g("Mul", g("Tanh", g("Mul", z, 0.5)), g("Add", g("Exp", z), 1.0))


def _elu(g: Graph, z: str, alpha: float, scale: float = 1.0) -> str:
    below = g("Mul", _expm1(g, g("Min", z, 0.0)), alpha * scale)
    above = z if scale == 1.0 else g("Mul", z, scale)
    return _piecewise(g, z, below, above)


def _softplus(g: Graph, z: str) -> str:
    """max(z, 0) + log(1 + e^{−|z|})"""
    rest = g("Log", g("Add", g("Exp", g("Neg", g("Abs", z))), 1.0))
    return g("Add", g("Max", z, 0.0), rest)


def _gelu(g: Graph, z: str) -> str:
    """z Φ(z), with erf in float32, because ONNX Runtime has erf only for float32."""
    erf = g("Erf", g("Cast", g("Mul", z, 0.7071067811865476), to=_FLOAT))
    share = g("Add", g("Cast", erf, to=_FLOAT if g.dtype == np.float32 else _DOUBLE), 1.0)
    return g("Mul", g("Mul", z, 0.5), share)


def _gelu_tanh(g: Graph, z: str) -> str:
    cubic = g("Add", g("Mul", g("Mul", z, z), 0.044715), 1.0)
    inner = g("Mul", g("Mul", z, 1.5957691216057308), cubic)
    return g("Mul", z, g("Sigmoid", inner))


_ACTIVATIONS: dict[str, Callable[[Graph, str, float], str]] = {
    "sigmoid": lambda g, z, _: g("Sigmoid", z),
    "tanh": lambda g, z, _: g("Tanh", z),
    "relu": lambda g, z, _: g("Relu", z),
    "leaky_relu": lambda g, z, alpha: _piecewise(g, z, g("Mul", z, alpha), z),
    "elu": _elu,
    "softplus": lambda g, z, _: _softplus(g, z),
    "selu": lambda g, z, _: _elu(g, z, 1.6732632423543772, 1.0507009873554805),
    "relu6": lambda g, z, _: g("Min", g("Max", z, 0.0), 6.0),
    "hard_tanh": lambda g, z, _: g("Min", g("Max", z, -1.0), 1.0),
    "hard_sigmoid": lambda g, z, _: g("Min", g("Max", g("Add", g("Div", z, 6.0), 0.5), 0.0), 1.0),
    "softsign": lambda g, z, _: g("Div", z, g("Add", g("Abs", z), 1.0)),
    "exp": lambda g, z, _: g("Exp", z),
    "silu": lambda g, z, _: g("Mul", z, g("Sigmoid", z)),
    "gelu": lambda g, z, _: _gelu(g, z),
    "gelu_tanh": lambda g, z, _: _gelu_tanh(g, z),
    "mish": lambda g, z, _: g("Mul", z, g("Tanh", _softplus(g, z))),
    "sin": lambda g, z, _: g("Sin", z),
    "softmax": lambda g, z, _: g("Softmax", z, axis=-1),
}


def emit_activation(g: Graph, activation: Activation, z: str) -> str:
    """Add nodes for σ(z); return the name of their output."""
    if activation.name == "identity":
        return z
    return _ACTIVATIONS[activation.name](g, z, activation.alpha or 0.0)


def emit_layers(g: Graph, layers: Sequence[Layer], x: str) -> str:
    """Add nodes for consecutive layers; return the name of the output of the last one."""
    for layer in layers:
        z = g("MatMul", x, g.array(layer.W, "W"))
        if layer.b is not None:
            z = g("Add", z, g.array(layer.b, "b"))
        if layer.dense.norm is not None:
            z = _norm(g, layer, layer.dense.norm, z)
        out = emit_activation(g, layer.activation, z)
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
        from onnx import TensorProto, checker, helper, numpy_helper
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
    element = TensorProto.FLOAT if net.dtype == np.float32 else TensorProto.DOUBLE
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
