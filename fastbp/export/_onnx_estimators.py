"""Estimators of fastbp.sklearn as ONNX: the labels and probabilities from a network's outputs."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._network.finite import check_finite_parameters
from ._estimators import fitted_networks
from ._onnx_graph import INT64, STRING, Graph, Model
from ._onnx_layers import emit_mean


def estimator_model(model: Any, name: str) -> Any:
    """Return the onnx.ModelProto of a fitted estimator, with the names of skl2onnx."""
    nets = fitted_networks(model, "onnx")
    for net in nets:
        check_finite_parameters(net.layers, "an ONNX model takes finite weights only")
    made = Model(net.dtype)
    g, real = made.graph, made.element
    y = emit_mean(g, nets, "X")
    inputs = {"X": (real, [net.widths[0]])}
    if not hasattr(model, "classes_"):
        emit_predictions(g, model, y, "variable", real)
        return made.finished(name, inputs, {"variable": (real, [model.n_outputs_])})
    emit_classes(g, model, y, "label", "probabilities", real)
    k = len(model.classes_)
    outputs = {
        "label": (INT64 if labels_are_integers(model) else STRING, [k] * model._multilabel),
        "probabilities": (real, [k]),
    }
    return made.finished(name, inputs, outputs)


def labels_are_integers(model: Any) -> bool:
    """Whether the labels of a classifier are int64; otherwise they are strings."""
    return bool(model._multilabel or model.classes_.dtype.kind in "biu")


def emit_predictions(g: Graph, model: Any, y: str, output: str, real: int) -> None:
    """Add nodes for `predict` of a regressor.

    Parameters
    ----------
    g : Graph
        The graph.
    model : MLPRegressor
        The estimator.
    y : str
        The outputs of its network, or their mean in an ensemble.
    output : str
        The name of the predictions.
    real : int
        Their element type.
    """
    net = fitted_networks(model, "onnx")[0]
    columns = net.criterion.predicted(np.arange(net.widths[-1], dtype=np.int64)[None])[0]
    if len(columns) < net.widths[-1]:
        y = g("Gather", y, g.array(columns, "columns"), axis=1)
    g("Cast", y, to=real, output=output)


def emit_classes(g: Graph, model: Any, p: str, label: str, probabilities: str, real: int) -> None:
    """Add nodes for `predict` and `predict_proba` of a classifier.

    Parameters
    ----------
    g : Graph
        The graph.
    model : MLPClassifier
        The estimator.
    p : str
        The outputs of its network.
    label, probabilities : str
        The names of the results.
    real : int
        The element type of the probabilities.
    """
    if model._multilabel:
        g("Cast", g("Greater", p, 0.5), to=INT64, output=label)
        g("Cast", p, to=real, output=probabilities)
        return
    if len(model.classes_) == 1:
        p = g("Add", g("Mul", p, 0.0), 1.0)
    elif model.n_outputs_ == 1:
        p = g("Concat", g("Sub", 1.0, p), p, axis=1)
    g("Cast", p, to=real, output=probabilities)
    classes = model.classes_.astype(np.int64 if labels_are_integers(model) else str)
    index = g("ArgMax", p, axis=1, keepdims=0)
    g("Gather", g.array(classes, "classes"), index, axis=0, output=label)
