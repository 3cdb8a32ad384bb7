"""Export to ONNX: a network, an estimator or a pipeline as a graph of standard operators."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

from .._files.atomic import atomic_write
from .._network.finite import check_finite_parameters
from ._estimators import Exportable, Pipeline, is_estimator, is_pipeline, network_of
from ._onnx_estimators import estimator_model
from ._onnx_graph import Model
from ._onnx_layers import emit_layers
from ._skl2onnx import pipeline_model

if TYPE_CHECKING:
    from .._network.network import Network


def onnx(
    net: Exportable | Pipeline, path: str | PathLike[str] | None = None, *, name: str = "model"
) -> Any:
    """Return a network, an estimator or a pipeline as an ONNX model of opset 18.

    Of a network, the input is "x" (batch, n_0), the output "y" (batch, n_L). The computation has
    the dtype of the network, except for erf in gelu, which is computed in float32.

    Of an estimator of `fastbp.sklearn`, or a Pipeline of scikit-learn that ends in one, the input
    is "X" (batch, n_features), and the outputs have the names of skl2onnx: "label" (batch,) and
    "probabilities" (batch, n_classes) of a classifier, "variable" of a regressor. Numbers have the
    dtype of `network_`; labels are int64 or strings. skl2onnx, which converts the other steps of a
    pipeline, may find that an older opset suffices.

    Parameters
    ----------
    net : Network, MLPClassifier, MLPRegressor or Pipeline
        The network, or the fitted estimator or pipeline.
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
    TypeError
        `net` is something else.
    ValueError
        A parameter of the network is not finite, the estimator is not fitted, or the pipeline
        selects columns by name.
    ImportError
        The package onnx is not installed, or skl2onnx, which a pipeline needs.

    Examples
    --------
    >>> import fastbp
    >>> model = fastbp.export.onnx(fastbp.Network((2, 3, 1), seed=0))
    >>> model.graph.input[0].name, model.opset_import[0].version
    ('x', 18)
    """
    if is_pipeline(net):
        model = pipeline_model(net, name)
    elif is_estimator(net):
        model = estimator_model(net, name)
    else:
        model = _network_model(network_of(net, "onnx"), name)
    if path is not None:
        with atomic_write(path) as file:
            file.write(model.SerializeToString())
    return model


def _network_model(net: Network, name: str) -> Any:
    check_finite_parameters(net.layers, "an ONNX model takes finite weights only")
    made = Model(net.dtype)
    made.graph("Identity", emit_layers(made.graph, net.layers, "x"), output="y")
    inputs = {"x": (made.element, [net.widths[0]])}
    return made.finished(name, inputs, {"y": (made.element, [net.widths[-1]])})
