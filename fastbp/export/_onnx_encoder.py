"""ONNX of a `TableEncoder` and networks: an input for each raw column, and the answers.

What precedes the networks is computed in float64, as in Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._types import Array
from ..tabular._calendar import CYCLES, DAY, WAVES
from ..tabular._encoded import HUGE, Column, DateColumn, Scale, TextColumn
from ..tabular._normal import FAR, LEAST, MIDDLE, TAIL
from ._onnx_graph import DOUBLE, INT64, STRING, Graph, Model
from ._onnx_layers import emit_mean
from ._onnx_table import Ends, apart, doubles, labelled, unscaled

if TYPE_CHECKING:
    from ._table_model import TableParts

_HOLE = np.iinfo(np.int64).min  # a date that is missing, which is what NaT of NumPy is
_ERA, _SHIFT = 146_097, 719_468  # days in 400 years, and from March 1 of the year 0 to 1970
_ERAS = 1000  # so many eras make the number of a day positive


def encoded_model(parts: TableParts, name: str) -> Any:
    """Return the onnx.ModelProto of an encoder and networks.

    Parameters
    ----------
    parts : TableParts
        The model.
    name : str
        The name of the graph.
    """
    columns = parts.encoder._used()
    names = [column.name for column in columns]
    made = Model(parts.networks[0].dtype, prefix=apart("fastbp/", names))
    kinds = {"number": made.element, "date": INT64, "text": STRING}
    inputs: Ends = {column.name: (kinds[column.kind], [1]) for column in columns}
    y = emit_mean(made.graph, parts.networks, _inputs(made, columns))
    if not parts.classes:
        outputs = unscaled(made, y, parts.target_mean, parts.target_scale, names)
        return made.finished(name, inputs, outputs)
    if parts.n_outputs < parts.n_answers:
        y = made.graph("Concat", made.graph("Sub", 1.0, y), y, axis=1)
    if parts.temperature != 1:
        y = _tempered(made.graph, y, parts.temperature)
    return made.finished(name, inputs, labelled(made, y, parts.classes, names))


def _tempered(g: Graph, p: str, temperature: float) -> str:
    """Probabilities to the power 1/temperature, with the sum 1."""
    powers = g("Pow", g("Div", p, g("ReduceMax", p, g.axis(-1))), 1 / temperature)
    return g("Div", powers, g("ReduceSum", powers, g.axis(-1)))


def _inputs(made: Model, columns: Sequence[Column]) -> str:
    """Add nodes that compute the inputs (batch, n_0) of the networks; return their name."""
    g, parts = made.graph, []
    cells = [_numbers(g, column) for column in columns]
    for column, (value, _) in zip(columns, cells, strict=True):
        if column.number_names:
            scaled = value
            if not isinstance(column, TextColumn):
                scaled = _scaled(g, column.scale, value)
            parts.append(g("Cast", scaled, to=made.element))
    for column, (value, missing) in zip(columns, cells, strict=True):
        if isinstance(column, TextColumn):
            if column.other_names:
                parts.append(g("Cast", value, to=made.element))
            continue
        if column.scale.edges:
            parts.append(g("Cast", _pieces(g, value, column.scale.edges), to=made.element))
        if isinstance(column, DateColumn) and column.cycles:
            parts.append(g("Cast", _waves(g, column, missing), to=made.element))
        if column.indicator:
            parts.append(g("Cast", missing, to=made.element))
    for column, (value, _) in zip(columns, cells, strict=True):
        if column.code_names:
            parts.append(g("Cast", value, to=made.element))
    return parts[0] if len(parts) == 1 else g("Concat", *parts, axis=1)


def _numbers(g: Graph, column: Column) -> tuple[str, str]:
    """The numbers (batch, k) of a column, with its median in holes, and where these are."""
    if isinstance(column, TextColumn):
        return _text(g, column), ""
    if isinstance(column, DateColumn):
        missing = g("Equal", column.name, g.array(np.array(_HOLE)))
        days = g("Div", g("Cast", column.name, to=DOUBLE), _double(g, DAY))
    else:
        days = g("Cast", column.name, to=DOUBLE)
        missing = g("IsNaN", days)
    return g("Where", missing, _double(g, column.scale.median), days), missing


def _double(g: Graph, value: float) -> str:
    return g.array(np.array(value, np.float64))


# ---- numbers ------------------------------------------------------------------------------


def _scaled(g: Graph, scale: Scale, x: str) -> str:
    """Numbers (batch, 1) as `Scale.inputs` scales them."""
    if scale.quantiles:
        return _ranked(g, x, np.array(scale.quantiles))
    z = _standardized(g, scale, x)
    if not scale.clipped:
        return z
    z = g("Max", g("Min", z, _double(g, HUGE)), _double(g, -HUGE))
    third = g("Div", z, _double(g, 3))
    return g("Div", z, g("Sqrt", g("Add", _double(g, 1), g("Mul", third, third))))


def _standardized(g: Graph, scale: Scale, x: str) -> str:
    """(x − centre)·scale, for numbers x (batch, 1).

    ONNX Runtime 1.32 leaves out a subtraction if the float32 nearest to the double is 0, and a
    product if it is 1. Neither may occur where it matters.
    """
    centre, factor = scale.centre, scale.scale
    if 0 < abs(factor - 1) < 1e-6:
        x, centre, factor = g("Mul", x, _double(g, 0.5)), centre / 2, 2 * factor
    if abs(centre) < 1e-37:
        return g("Sub", g("Mul", x, _double(g, factor)), _double(g, centre * factor))
    return g("Mul", g("Sub", x, _double(g, centre)), _double(g, factor))


def _pieces(g: Graph, x: str, edges: tuple[float, ...]) -> str:
    """The inputs (batch, k) of the pieces of numbers (batch, 1), as `Scale.pieces`."""
    low, high = np.array(edges[:-1]), np.array(edges[1:])
    share = g("Div", g("Sub", x, g.array(low)), g.array(high - low))
    within = g("Max", g("Min", share, _double(g, 1)), _double(g, 0))
    return g("Sub", within, _double(g, 0.5))


def _ranked(g: Graph, x: str, quantiles: Array) -> str:
    """The normal quantile of the rank of numbers (batch, 1), as `ranked` computes it."""
    n = len(quantiles)
    low, high = _double(g, quantiles[0]), _double(g, quantiles[-1])
    row, inside = doubles(g, quantiles.tolist()), g("Max", g("Min", x, high), low)
    # How many quantiles are smaller, and the index of the last that is not larger: (batch, 1).
    below, upto = (
        g("ReduceSum", g("Cast", g(op, row, inside), to=INT64), g.axis(1))
        for op in ("Less", "LessOrEqual")
    )
    last = g("Sub", upto, _whole(g, 1))
    # Between two quantiles, below is last + 1, and the rank is last + a fraction.
    half = _double(g, 0.5)  # since a difference of huge numbers may overflow
    ends = [g("Gather", row, last), g("Gather", row, below)]
    between = g("Less", *ends)
    left, right, at = (g("Mul", each, half) for each in (*ends, inside))
    width = g("Where", between, g("Sub", right, left), _double(g, 1))
    fraction = g("Div", g("Sub", at, left), width)
    first, end = (g("Cast", each, to=DOUBLE) for each in (below, last))
    middle = g("Mul", g("Add", first, end), half)
    rank = g("Where", between, g("Add", end, fraction), middle)
    rank = g("Where", g("Less", x, low), _double(g, 0), rank)
    rank = g("Where", g("Less", high, x), _double(g, n - 1), rank)
    p = g("Div", rank, _double(g, n - 1))
    p = g("Max", g("Min", p, _double(g, 1 - LEAST)), _double(g, LEAST))
    return _normal_quantile(g, p)


def _normal_quantile(g: Graph, p: str) -> str:
    """The x with Φ(x) = p (Wichura 1988)."""
    d = g("Sub", p, _double(g, 0.5))
    middle = g("Mul", d, _ratio(g, MIDDLE, g("Sub", _double(g, 0.180625), g("Mul", d, d))))
    smaller = g("Min", p, g("Sub", _double(g, 1), p))
    r = g("Sqrt", g("Neg", g("Log", smaller)))
    near = _ratio(g, TAIL, g("Sub", r, _double(g, 1.6)))
    far = _ratio(g, FAR, g("Sub", r, _double(g, 5)))
    tail = g("Where", g("LessOrEqual", r, _double(g, 5)), near, far)
    inside = g("LessOrEqual", g("Abs", d), _double(g, 0.425))
    return g("Where", inside, middle, g("Mul", g("Sign", d), tail))


def _ratio(g: Graph, pair: tuple[tuple[float, ...], tuple[float, ...]], r: str) -> str:
    sums = []
    for coefficients in pair:
        found = _double(g, coefficients[-1])
        for each in reversed(coefficients[:-1]):
            found = g("Add", g("Mul", found, r), _double(g, each))
        sums.append(found)
    return g("Div", *sums)


# ---- dates --------------------------------------------------------------------------------


def _waves(g: Graph, column: DateColumn, missing: str) -> str:
    """Sine and cosine (batch, 2·cycles) of the places of dates; 0 where they are missing."""
    known = g("Where", missing, _whole(g, 0), column.name)
    places = _places(g, known)
    found = []
    for name in column.cycles:
        if name in WAVES:
            pairs = g("Gather", g.array(WAVES[name], "waves"), places[name])
            found.append(g("Reshape", pairs, g.array(np.array([-1, 2], np.int64), "shape")))
        else:
            turn = g("Cast", places[name], to=DOUBLE)
            angle = g("Mul", turn, _double(g, 2 * np.pi / CYCLES[name]))
            found += [g("Sin", angle), g("Cos", angle)]
    joined = found[0] if len(found) == 1 else g("Concat", *found, axis=1)
    return g("Where", missing, _double(g, 0), joined)


def _places(g: Graph, since: str) -> dict[str, str]:
    """Where times lie in each cycle, as `fastbp.tabular._calendar.positions` computes it."""
    cut = g("Div", since, _whole(g, DAY))  # rounds towards 0
    before = g("Less", since, g("Mul", cut, _whole(g, DAY)))
    day = g("Sub", cut, g("Cast", before, to=INT64))
    of_day = g("Sub", since, g("Mul", day, _whole(g, DAY)))

    def divided(x: str, n: int) -> str:
        return g("Div", x, _whole(g, n))

    positive = g("Add", day, _whole(g, _SHIFT + _ERAS * _ERA))
    era = g("Mod", positive, _whole(g, _ERA))
    years = g("Sub", g("Add", era, divided(era, 36_524)), divided(era, 1460))
    year = divided(g("Sub", years, divided(era, 146_096)), 365)
    begun = g("Sub", g("Mul", year, _whole(g, 365)), divided(year, 100))
    of_year = g("Sub", era, g("Add", begun, divided(year, 4)))
    month = divided(g("Add", g("Mul", of_year, _whole(g, 5)), _whole(g, 2)), 153)
    first = divided(g("Add", g("Mul", month, _whole(g, 153)), _whole(g, 2)), 5)
    # 719,468 days after Wednesday; 146,097 is a multiple of 7.
    weekday = g("Mod", g("Add", positive, _whole(g, 3 - _SHIFT % 7 + 7)), _whole(g, 7))
    return {
        "day of year": of_year,
        "day of month": g("Sub", of_year, first),
        "weekday": weekday,
        "time of day": of_day,
    }


def _whole(g: Graph, value: int) -> str:
    return g.array(np.array(value, np.int64))


# ---- text ---------------------------------------------------------------------------------


def _text(g: Graph, column: TextColumn) -> str:
    """The inputs (batch, k) of a column of text, in float64; 0 for a text without a group."""
    groups = {text: group for text, group in column.index.items() if isinstance(text, str)}
    codes = g(
        "LabelEncoder",
        column.name,
        keys_strings=list(groups),
        values_int64s=list(groups.values()),
        default_int64=-1,
    )
    if column.encoding == "codes":
        return g("Cast", codes, to=DOUBLE)
    if column.encoding == "one-hot":
        each = g.array(np.arange(len(column.groups), dtype=np.int64))
        return g("Cast", g("Equal", codes, each), to=DOUBLE)
    rows = g("Gather", g.array(column.values, "groups"), codes)  # −1 is the last row
    return g("Reshape", rows, g.array(np.array([-1, column.values.shape[1]], np.int64), "shape"))
