"""ONNX of a network that takes the raw columns of a table: scaling, categories, answers.

Numbers are scaled in float64, as in Python: the year 2020 less a mean has fewer digits in float32.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from .._network.finite import check_finite_parameters
from ._columns import without_names
from ._onnx_graph import DOUBLE, INT64, STRING, Graph, Model
from ._onnx_layers import emit_layers

if TYPE_CHECKING:
    from .._network.network import Network
    from ..tabular._preprocessing import Class, Preprocessing

Ends = dict[str, tuple[int, list[int]]]


def table_model(net: Network, prep: Preprocessing, name: str, *, refuse: bool) -> Any:
    """Return the onnx.ModelProto of a network for the columns of its table.

    Parameters
    ----------
    net : Network
        The network.
    prep : Preprocessing
        The columns.
    name : str
        The name of the graph.
    refuse : bool
        Whether the model fails for an unknown category.
    """
    check_finite_parameters(net.layers, "an ONNX model takes finite weights only")
    columns = ("X",) if without_names(prep) else prep.features
    made = Model(net.dtype, prefix=apart("fastbp/", columns))
    inputs: Ends = {
        column: (STRING, [1]) if column in prep.categories else (made.element, [1])
        for column in columns
    }
    if without_names(prep):
        inputs = {"X": (made.element, [len(prep.features)])}
    y = emit_layers(made.graph, net.layers, _inputs(made, prep, columns, refuse))
    outputs = _outputs(made, prep, y, columns)
    return made.finished(name, inputs, outputs)


def apart(stem: str, names: Iterable[str]) -> str:
    """A prefix that none of the names has."""
    while any(name.startswith(stem) for name in names):
        stem = f"_{stem}"
    return stem


def _free(name: str, columns: Iterable[str]) -> str:
    """The name of an output, which differs from those of the columns."""
    while name in columns:
        name += "_"
    return name


def _inputs(made: Model, prep: Preprocessing, columns: tuple[str, ...], refuse: bool) -> str:
    """Add nodes that compute the inputs (batch, n_0) of the network; return their name."""
    g, parts, place = made.graph, [], 0
    for text, run in groupby(columns, prep.categories.__contains__):
        if text:
            for column in run:
                parts.append(_one_hot(made, column, prep.categories[column], refuse))
                place += len(prep.categories[column])
            continue
        names = list(run)
        end = place + (len(prep.features) if without_names(prep) else len(names))
        joined = names[0] if len(names) == 1 else g("Concat", *names, axis=1)
        wide = g("Cast", joined, to=DOUBLE)
        shifted = g("Sub", wide, doubles(g, prep.mean[place:end]))
        scaled = g("Div", shifted, doubles(g, prep.scale[place:end]))
        parts.append(g("Cast", scaled, to=made.element))
        place = end
    return parts[0] if len(parts) == 1 else g("Concat", *parts, axis=1)


def _one_hot(made: Model, column: str, texts: tuple[str, ...], refuse: bool) -> str:
    """An input for each category, which is 1 in its rows."""
    g = made.graph
    flags = g("OneHotEncoder", column, cats_strings=list(texts), zeros=int(not refuse))
    flat = g("Reshape", flags, g.array(np.array([-1, len(texts)], np.int64), "shape"))
    return g("Cast", flat, to=made.element)


def doubles(g: Graph, values: Sequence[float]) -> str:
    return g.array(np.array(values, np.float64))


def _outputs(made: Model, prep: Preprocessing, y: str, columns: tuple[str, ...]) -> Ends:
    """Add nodes that compute the answers from the outputs of the network; return their names."""
    if prep.task == "regression":
        return unscaled(made, y, prep.target_mean, prep.target_scale, columns)
    return labelled(made, y, prep.classes, columns)


def unscaled(
    made: Model, y: str, mean: Sequence[float], scale: Sequence[float], columns: Iterable[str]
) -> Ends:
    """Add nodes that put outputs y into the units of the target; return them as an output."""
    g, output = made.graph, _free("variable", columns)
    scaled = g("Mul", g("Cast", y, to=DOUBLE), doubles(g, scale))
    g("Cast", g("Add", scaled, doubles(g, mean)), to=made.element, output=output)
    return {output: (made.element, [len(mean)])}


def labelled(made: Model, y: str, classes: Sequence[Class], columns: Iterable[str]) -> Ends:
    """Add nodes for the label of each row, from its probabilities y; return both as outputs."""
    g, text = made.graph, isinstance(classes[0], str)
    if not text and max(map(int, classes)) >= 2**63:
        raise ValueError(
            f"the labels of an ONNX model are int64, which ends at 2**63 − 1; the network has the "
            f"class {max(map(int, classes))}: pass raw=False for the outputs alone"
        )
    label, probabilities = _free("label", columns), _free("probabilities", columns)
    values = np.array(classes) if text else np.array(classes).astype(np.int64)
    g("Gather", g.array(values, "classes"), g("ArgMax", y, axis=1, keepdims=0), output=label)
    g("Identity", y, output=probabilities)
    kind = STRING if text else INT64
    return {label: (kind, []), probabilities: (made.element, [len(classes)])}
