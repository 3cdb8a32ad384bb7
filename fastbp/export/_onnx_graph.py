"""A builder of ONNX graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._types import Array

FLOAT, DOUBLE = 1, 11  # onnx.TensorProto.FLOAT, DOUBLE
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
