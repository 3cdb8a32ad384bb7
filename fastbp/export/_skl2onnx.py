"""Converters of the estimators of fastbp.sklearn for skl2onnx."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._network.finite import check_finite_parameters
from .._types import Array
from ._onnx import emit_layers
from ._onnx_graph import OPSET, Graph


def register_skl2onnx() -> None:
    """Register the estimators of `fastbp.sklearn` with skl2onnx, so that it can convert pipelines.

    Call this function once, before skl2onnx.to_onnx or skl2onnx.convert_sklearn, which then need a
    target_opset of at least 18. Classifiers take the option zipmap. Needs the packages skl2onnx and
    scikit-learn; raises ImportError if skl2onnx is not installed.
    """
    try:
        from skl2onnx import update_registered_converter
    except ImportError as error:
        raise ImportError(
            'export of pipelines needs skl2onnx: run pip install "fastbp[skl2onnx]"'
        ) from error
    from ..sklearn import MLPClassifier, MLPRegressor

    update_registered_converter(
        MLPClassifier,
        "FastbpMLPClassifier",
        _classifier_shapes,
        _convert_classifier,
        options={
            "zipmap": [True, False, "columns"],
            "output_class_labels": [False, True],
            "nocl": [True, False],
        },
    )
    update_registered_converter(
        MLPRegressor, "FastbpMLPRegressor", _regressor_shapes, _convert_regressor
    )


def _float_type(operator: Any) -> Any:
    """Return DoubleTensorType for double inputs, and FloatTensorType for all others."""
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    double = isinstance(operator.inputs[0].type, DoubleTensorType)
    return DoubleTensorType if double else FloatTensorType


def _predicted_columns(model: Any) -> Array:
    """Return the numbers of the outputs that `predict` of a regressor returns."""
    net = model.network_
    columns: Array = net.criterion.predicted(np.arange(net.widths[-1], dtype=np.int64)[None])[0]
    return columns


def _regressor_shapes(operator: Any) -> None:
    n = operator.inputs[0].get_first_dimension()
    operator.outputs[0].type = _float_type(operator)([n, operator.raw_operator.n_outputs_])


def _classifier_shapes(operator: Any) -> None:
    from skl2onnx.common.data_types import Int64TensorType, StringTensorType

    model = operator.raw_operator
    n = operator.inputs[0].get_first_dimension()
    integers = model.classes_.dtype.kind in "biu"
    label = Int64TensorType if model._multilabel or integers else StringTensorType
    k = len(model.classes_)
    operator.outputs[0].type = label([n, k] if model._multilabel else [n])
    operator.outputs[1].type = _float_type(operator)([n, k])


class _Writer:
    """A Graph that adds nodes and constants to a container of skl2onnx."""

    def __init__(self, scope: Any, operator: Any, container: Any) -> None:
        from onnx import TensorProto, defs

        self._scope, self._container = scope, container
        self._versions, self._types = defs, TensorProto
        net = operator.raw_operator.network_
        check_finite_parameters(net.layers, "an ONNX model takes finite weights only")
        prefix = scope.get_unique_variable_name("fastbp") + "_"
        self.graph = Graph(self._node, self.constant, net.dtype, prefix)
        own = TensorProto.FLOAT if net.dtype == np.float32 else TensorProto.DOUBLE
        x = self.graph("Cast", operator.inputs[0].full_name, to=own)
        self.outputs = emit_layers(self.graph, net.layers, x)
        double = _float_type(operator).__name__ == "DoubleTensorType"
        self.real = TensorProto.DOUBLE if double else TensorProto.FLOAT

    def _node(
        self, op: str, inputs: Sequence[str], output: str, attributes: dict[str, Any]
    ) -> None:
        domain = "ai.onnx.ml" if op == "ArrayFeatureExtractor" else ""
        latest = 1 if domain else OPSET
        self._container.add_node(
            op,
            list(inputs),
            [output],
            op_domain=domain,
            op_version=self._versions.get_schema(op, latest, domain).since_version,
            name=self._scope.get_unique_operator_name(op),
            **attributes,
        )

    def constant(self, name: str, values: Array) -> None:
        """Add a constant array of real numbers, int64 or strings."""
        types = self._types
        kinds = {"float32": types.FLOAT, "float64": types.DOUBLE, "int64": types.INT64}
        kind = kinds.get(values.dtype.name, types.STRING)
        flat = [str(v).encode() for v in values] if kind == types.STRING else values.ravel()
        self._container.add_initializer(name, kind, list(values.shape), list(flat))


def _convert_regressor(scope: Any, operator: Any, container: Any) -> None:
    model = operator.raw_operator
    writer = _Writer(scope, operator, container)
    g, y, columns = writer.graph, writer.outputs, _predicted_columns(model)
    if len(columns) < model.network_.widths[-1]:
        y = g("Gather", y, g.array(columns, "columns"), axis=1)
    g("Cast", y, to=writer.real, output=operator.outputs[0].full_name)


def _convert_classifier(scope: Any, operator: Any, container: Any) -> None:
    model = operator.raw_operator
    writer = _Writer(scope, operator, container)
    g, p = writer.graph, writer.outputs
    label, probabilities = (output.full_name for output in operator.outputs)
    integers = writer._types.INT64
    if model._multilabel:
        g("Cast", g("Greater", p, 0.5), to=integers, output=label)
        g("Cast", p, to=writer.real, output=probabilities)
        return
    if len(model.classes_) == 1:
        p = g("Add", g("Mul", p, 0.0), 1.0)
    elif model.n_outputs_ == 1:
        p = g("Concat", g("Sub", 1.0, p), p, axis=1)
    g("Cast", p, to=writer.real, output=probabilities)
    index = g("ArgMax", p, axis=1, keepdims=0)
    classes = model.classes_
    classes = classes.astype(np.int64) if classes.dtype.kind in "biu" else classes.astype(str)
    found = g("ArrayFeatureExtractor", g.array(classes, "classes"), index)
    g("Reshape", found, g.array(np.array([-1], np.int64), "shape"), output=label)
