"""Builders of ONNX graphs and models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._types import Array

FLOAT, INT64, STRING, DOUBLE = 1, 7, 8, 11  # as in onnx.TensorProto
OPSET = 18  # of the default domain; ONNX Runtime supports it since version 1.14
_ML = "ai.onnx.ml", 3  # a further domain, and the opset of it that is used
_OF_ML = frozenset({"LabelEncoder", "OneHotEncoder"})


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
        self._known: dict[str, str] = {}

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
        key = value.hex()  # -0.0 is not 0.0
        if key not in self._known:
            with np.errstate(over="ignore"):
                self._known[key] = self.array(np.array(value, self.dtype))
        return self._known[key]

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


class Model:
    """A builder of a model. Needs the package onnx; raises ImportError if it is not installed.

    Parameters
    ----------
    dtype : dtype
        The dtype of numbers in the model.
    prefix : str
        The prefix of all names in the model but those of its inputs and outputs.
    """

    def __init__(self, dtype: np.dtype, prefix: str = "") -> None:
        try:
            import onnx
        except ImportError as error:
            raise ImportError(
                'export to ONNX needs the package onnx: run pip install "fastbp[onnx]"'
            ) from error
        self._onnx = onnx
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self.element = FLOAT if dtype == np.float32 else DOUBLE
        self.graph = Graph(self._add_node, self._add_constant, dtype, prefix)
        self._opsets = [("", OPSET)]

    def _add_node(
        self, op: str, inputs: Sequence[str], output: str, attributes: dict[str, Any]
    ) -> None:
        make = self._onnx.helper.make_node
        if op in _OF_ML:
            attributes = attributes | {"domain": _ML[0]}
            self._opsets = [("", OPSET), _ML]
        self._nodes.append(make(op, inputs, [output], name=output, **attributes))

    def _add_constant(self, name: str, values: Array) -> None:
        values = values.astype(object) if values.dtype.kind == "U" else values
        self._constants.append(self._onnx.numpy_helper.from_array(values, name))

    def finished(
        self,
        name: str,
        inputs: dict[str, tuple[int, list[int]]],
        outputs: dict[str, tuple[int, list[int]]],
    ) -> Any:
        """Return the checked onnx.ModelProto.

        Parameters
        ----------
        name : str
            The name of the graph.
        inputs, outputs : dict
            {name: (element type, the sizes of a row)}; the first axis is "batch".
        """
        helper = self._onnx.helper
        ends = [
            [
                helper.make_tensor_value_info(of, element, ["batch", *row])
                for of, (element, row) in values.items()
            ]
            for values in (inputs, outputs)
        ]
        model = helper.make_model(
            helper.make_graph(self._nodes, name, *ends, self._constants),
            opset_imports=[helper.make_opsetid(*opset) for opset in self._opsets],
            ir_version=8,
            producer_name="fastbp",
        )
        self._onnx.checker.check_model(model, full_check=True)
        return model
