"""Export to ONNX: a network, an estimator or a pipeline as a graph of standard operators."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING, Any

from .._files.atomic import atomic_write
from .._network.finite import check_finite_parameters
from ._columns import columns_of
from ._estimators import Exportable, OfTable, Pipeline, is_estimator, is_pipeline, network_of
from ._onnx_encoder import encoded_model
from ._onnx_estimators import estimator_model
from ._onnx_graph import Model
from ._onnx_layers import emit_layers
from ._onnx_table import table_model
from ._skl2onnx import pipeline_model
from ._table_model import table_parts

if TYPE_CHECKING:
    from .._network.network import Network


def onnx(
    net: Exportable | OfTable | Pipeline,
    path: str | PathLike[str] | None = None,
    *,
    name: str = "model",
    raw: bool | None = None,
    unknown: str = "error",
) -> Any:
    """Return a network, an estimator or a pipeline as an ONNX model of opset 18.

    Of a network, the input is "x" (batch, n_0), the output "y" (batch, n_L). The computation has
    the dtype of the network, except for erf in gelu, which is computed in float32.

    Of a `fastbp.tabular.TableNetwork`, there is an input (batch, 1) for each column of the table,
    with the name of the column: numbers in the dtype of the network, or strings. The model scales
    the numbers and encodes the strings; it fails for an unknown category. The outputs are those of
    estimators, "variable" in the units of the target. If the columns have no names, there is one
    input "X" (batch, n_columns).

    Of a `fastbp.tabular.TableModel`, or another model with a `TableEncoder`, there is an input
    (batch, 1) for each of the encoder's `features`: numbers in the dtype of the networks, NaN if
    missing; strings, "" if missing; or dates as int64, in microseconds since 1970, the smallest
    int64 if missing, as in the datetime64[us] of NumPy. Infinite numbers are not refused. The
    outputs are those of estimators, from the mean of the outputs of all networks.

    Of an estimator of `fastbp.sklearn`, or a Pipeline of scikit-learn that ends in one, the input
    is "X" (batch, n_features), and the outputs have the names of skl2onnx: "label" (batch,) and
    "probabilities" (batch, n_classes) of a classifier, "variable" of a regressor. An ensemble is
    one model, which computes the means. Numbers have the dtype of the networks; labels are int64 or
    strings. skl2onnx, which converts the other steps of a pipeline, may find that an older opset
    suffices.

    Parameters
    ----------
    net : Network, MLPClassifier, MLPRegressor, Pipeline or model with an encoder
        The network, or the fitted estimator or pipeline. A model with an encoder is a fitted
        `fastbp.tabular.TableModel`, `TabularClassifier` or `TabularRegressor`, or has the
        attributes `encoder`, `networks`, `target`, `classes`, `target_mean`, `target_scale` and
        `temperature`.
    path : str or path-like, optional
        A file to write the model to, either completely or not at all.
    name : str, default "model"
        The name of the graph.
    raw : bool or None, default None
        Whether the model takes the raw columns of a table; False gives that of the bare network.
        None stands for True if the network is a `TableNetwork`.
    unknown : {"error", "ignore"}, default "error"
        What that model does with an unknown category: "ignore" sets all inputs of the column to 0,
        as `predict` of a `TableNetwork` does.

    Returns
    -------
    onnx.ModelProto
        The model.

    Raises
    ------
    TypeError
        `net` or `raw` is something else.
    ValueError
        A parameter of the network is not finite, the model is not fitted, the pipeline selects
        columns by name, or `raw` or `unknown` does not suit the network.
    ImportError
        The package onnx is not installed, or skl2onnx, which a pipeline needs.

    Examples
    --------
    >>> import fastbp
    >>> model = fastbp.export.onnx(fastbp.Network((2, 3, 1), seed=0))
    >>> model.graph.input[0].name, model.opset_import[0].version
    ('x', 18)
    """
    parts = table_parts(net, raw, unknown)
    prep = columns_of(net, raw, unknown) if parts is None else None
    if parts is not None:
        model = encoded_model(parts, name)
    elif prep is not None:
        model = table_model(network_of(net, "onnx"), prep, name, refuse=unknown == "error")
    elif is_pipeline(net):
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
