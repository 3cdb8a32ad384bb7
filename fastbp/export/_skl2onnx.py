"""Converters of the estimators of fastbp.sklearn for skl2onnx, and pipelines that it converts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._network.finite import check_finite_parameters
from .._types import Array
from ._estimators import fitted_networks, is_estimator, is_of_table, is_pipeline
from ._onnx_estimators import emit_classes, emit_predictions, labels_are_integers
from ._onnx_graph import OPSET, Graph
from ._onnx_layers import emit_mean


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


def _regressor_shapes(operator: Any) -> None:
    n = operator.inputs[0].get_first_dimension()
    operator.outputs[0].type = _float_type(operator)([n, operator.raw_operator.n_outputs_])


def _classifier_shapes(operator: Any) -> None:
    from skl2onnx.common.data_types import Int64TensorType, StringTensorType

    model = operator.raw_operator
    n = operator.inputs[0].get_first_dimension()
    label = Int64TensorType if labels_are_integers(model) else StringTensorType
    k = len(model.classes_)
    operator.outputs[0].type = label([n, k] if model._multilabel else [n])
    operator.outputs[1].type = _float_type(operator)([n, k])


class _Writer:
    """A Graph that adds nodes and constants to a container of skl2onnx."""

    def __init__(self, scope: Any, operator: Any, container: Any) -> None:
        from onnx import TensorProto, defs

        self._scope, self._container = scope, container
        self._versions, self._types = defs, TensorProto
        nets = fitted_networks(operator.raw_operator, "onnx")
        for net in nets:
            check_finite_parameters(net.layers, "an ONNX model takes finite weights only")
        prefix = scope.get_unique_variable_name("fastbp") + "_"
        self.graph = Graph(self._node, self.constant, net.dtype, prefix)
        own = TensorProto.FLOAT if net.dtype == np.float32 else TensorProto.DOUBLE
        x = self.graph("Cast", operator.inputs[0].full_name, to=own)
        self.outputs = emit_mean(self.graph, nets, x)
        double = _float_type(operator).__name__ == "DoubleTensorType"
        self.real = TensorProto.DOUBLE if double else TensorProto.FLOAT

    def _node(
        self, op: str, inputs: Sequence[str], output: str, attributes: dict[str, Any]
    ) -> None:
        self._container.add_node(
            op,
            list(inputs),
            [output],
            op_domain="",
            op_version=self._versions.get_schema(op, OPSET, "").since_version,
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
    writer = _Writer(scope, operator, container)
    output = operator.outputs[0].full_name
    emit_predictions(writer.graph, operator.raw_operator, writer.outputs, output, writer.real)


def _convert_classifier(scope: Any, operator: Any, container: Any) -> None:
    writer = _Writer(scope, operator, container)
    label, probabilities = (output.full_name for output in operator.outputs)
    model = operator.raw_operator
    emit_classes(writer.graph, model, writer.outputs, label, probabilities, writer.real)


def pipeline_model(pipeline: Any, name: str) -> Any:
    """Return the onnx.ModelProto of a Pipeline that ends in an estimator of fastbp.sklearn."""
    last = pipeline
    while is_pipeline(last):
        last = last.steps[-1][1]
    if not is_estimator(last):
        way = "convert it with skl2onnx.to_onnx"
        if is_of_table(last):
            way = "pass its last step, pipeline[-1], which takes what the other steps return"
        raise TypeError(
            f"export.onnx takes a Pipeline that ends in an MLPClassifier or MLPRegressor of "
            f"fastbp.sklearn; this one ends in {type(last).__name__}: {way}"
        )
    net = fitted_networks(last, "onnx")[0]
    register_skl2onnx()
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    if not hasattr(pipeline, "n_features_in_") or _selects_by_name(pipeline):
        raise ValueError(
            "the pipeline takes a table with columns of several types, which export.onnx does not "
            "know: call export.register_skl2onnx(), and then skl2onnx.to_onnx(pipeline, X[:1], "
            "target_opset=18) with a frame X"
        )
    kind = FloatTensorType if net.dtype == np.float32 else DoubleTensorType
    classifies = hasattr(last, "classes_")
    return convert_sklearn(
        pipeline,
        name,
        [("X", kind([None, int(pipeline.n_features_in_)]))],
        target_opset=OPSET,
        options={id(last): {"zipmap": False}} if classifies else None,
    )


def _selects_by_name(pipeline: Any) -> bool:
    """Whether a step is a ColumnTransformer that was given names of columns."""
    for _, step in pipeline.steps:
        if is_pipeline(step):
            found = _selects_by_name(step)
        else:
            columns = [each[2] for each in getattr(step, "transformers_", ())]
            found = any(
                isinstance(c, str) for each in columns for c in np.atleast_1d(each).tolist()
            )
        if found:
            return True
    return False
