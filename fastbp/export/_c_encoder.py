"""C99 source of a `TableEncoder` and networks: a function that takes a row of the raw columns.

All that precedes the networks is computed in double, as in Python.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..tabular._calendar import CYCLES
from ..tabular._encoded import Column, DateColumn, NumberColumn, Scale, TextColumn, names_of
from ..tabular._normal import FAR, LEAST, MIDDLE, TAIL
from ._c_table import (
    Declarations,
    best_class,
    comment,
    double,
    doubles,
    literal,
    members,
    opening,
    unscaled,
)

if TYPE_CHECKING:
    from ._table_model import TableParts

_LISTED = 8  # levels in a comment

_CLIP = """\
static double {name}_clip(double z) {{
    z = z > 1e100 ? 1e100 : z < -1e100 ? -1e100 : z;
    return z / sqrt(1 + z / 3 * (z / 3));
}}

"""

_FIND = """\
/* The place of a text among n known ones, which ascend; -1 if it is none of them. */
static int {name}_find(const char *text, const char *const *known, int n) {{
    int low = 0;
    while (low < n) {{
        const int middle = low + (n - low) / 2;
        const int order = strcmp(text, known[middle]);
        if (order == 0) return middle;
        if (order < 0)
            n = middle;
        else
            low = middle + 1;
    }}
    return -1;
}}

"""

# The same whole numbers as in fastbp/tabular/_calendar.py, over the length of the cycle.
_TURN = """\
/* Where a time, in microseconds since 1970, lies in a cycle, from 0 to 1: 0 the year, which begins
 * in March, 1 the month, 2 the week, 3 the day. */
static double {name}_turn(long long at, int cycle) {{
    const long long day = at / 86400000000LL - (at % 86400000000LL < 0);
    if (cycle == 3) return (double)(at - day * 86400000000LL) / 86400000000.0;
    if (cycle == 2) return (double)(((day + 3) % 7 + 7) % 7) / 7;
    const long long of_era = ((day + 719468) % 146097 + 146097) % 146097;
    const long long year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    const long long of_year = of_era - (365 * year + year / 4 - year / 100);
    if (cycle == 0) return (double)of_year / 366;
    return (double)(of_year - (153 * ((5 * of_year + 2) / 153) + 2) / 5) / 31;
}}

"""

_RANKED = """\
/* The normal quantile of the rank of a number among n quantiles (Wichura, AS 241, 1988). */
static double {name}_ranked(double v, const double *q, int n) {{
    int below = 0, upto = 0; /* how many are smaller, and how many are not larger */
    for (int end = n; below < end;) {{
        const int middle = below + (end - below) / 2;
        if (q[middle] < v)
            below = middle + 1;
        else
            end = middle;
    }}
    for (upto = below; upto < n && q[upto] == v;) ++upto;
    double p = (below + upto - 1) / 2.0;
    if (below == n) p = n - 1;
    if (upto == 0) p = 0;
    if (0 < below && below == upto && upto < n)
        p = upto - 1 + (v / 2 - q[upto - 1] / 2) / (q[upto] / 2 - q[upto - 1] / 2);
    p /= n - 1;
    p = p < {least} ? {least} : p > 1 - {least} ? 1 - {least} : p;
    const double d = p - 0.5, tail = sqrt(-log(p < 1 - p ? p : 1 - p));
    const int part = fabs(d) <= 0.425 ? 0 : tail <= 5 ? 1 : 2;
    const double r = part == 0 ? 0.180625 - d * d : part == 1 ? tail - 1.6 : tail - 5;
    double above = 0, under = 0;
    for (int i = 7; i >= 0; --i) {{
        above = above * r + {name}_above[8 * part + i];
        under = under * r + {name}_under[8 * part + i];
    }}
    return part == 0 ? d * above / under : d < 0 ? -above / under : above / under;
}}

"""


def source_of(
    parts: TableParts, name: str, real: str, networks: str, sizes: tuple[int, int]
) -> str:
    """The source of a function that takes a row of the columns of an encoder.

    Parameters
    ----------
    parts : TableParts
        The model.
    name : str
        The prefix of all names.
    real : str
        The type of the outputs.
    networks : str
        The source of the networks: functions `{name}_1_network` and so on, of inputs and outputs.
    sizes : tuple of int
        Bytes of stack, and bytes of constants besides those of the columns.
    """
    columns = parts.encoder._used()
    names = members([column.name for column in columns])
    made = Declarations(
        name, real, f"const struct {name}_row *row", parts.n_answers, parts.target, parts.classes
    )
    nets = parts.networks
    widths = "-".join(map(str, nets[0].widths))
    described = widths if len(nets) == 1 else f"{widths}, the first of {len(nets)}"
    invalid = "an infinite number, or one that is\n * infinite when it is scaled"
    return "".join(
        [
            opening(
                made,
                described,
                invalid,
                (sizes[0], sizes[1] + _bytes(columns)),
                _struct(columns, names, name),
            ),
            *_tables(columns, name),
            "\n",
            *_helpers(columns, name),
            networks,
            "\n".join(_function(parts, columns, names, made)),
        ]
    )


def _struct(columns: Sequence[Column], names: Sequence[str], name: str) -> str:
    """The declaration of a row."""
    kinds = {"number": "double ", "date": "long long ", "text": "const char *"}
    lines = []
    if any(column.kind == "date" for column in columns):
        lines.append("/* A date that is missing; others are microseconds since 1970. */")
        lines.append(f"#define {name.upper()}_NO_DATE (-9223372036854775807LL - 1)\n")
    lines.append("/* A number that is missing is NAN, a text that is missing is NULL or empty. */")
    lines.append(f"struct {name}_row {{")
    for column, member in zip(columns, names, strict=True):
        text = comment(column.name)
        if isinstance(column, TextColumn):
            text += ": " + ", ".join(map(comment, column.levels[:_LISTED]))
            more = len(column.levels) + len(column.rare) - _LISTED
            text += f", and {more} more" if more > 0 else ""
        lines.append(f"    {kinds[column.kind]}{member}; /* {text} */")
    return "\n".join([*lines, "};\n\n"])


# ---- constants ----------------------------------------------------------------------------


def _tables(columns: Sequence[Column], name: str) -> Iterator[str]:
    """The tables of texts, of their groups, of means and of quantiles."""
    for i, column in enumerate(columns, 1):
        if isinstance(column, TextColumn):
            texts = _known(column)
            lines = ",\n    ".join(map(literal, texts))
            yield f"static const char *const {name}_texts{i}[{len(texts)}] = {{\n    {lines}}};\n"
            groups = [column.index[text] for text in texts]
            if groups != [*range(len(texts))]:
                listed = ", ".join(map(str, groups))
                yield f"static const int {name}_groups{i}[{len(texts)}] = {{{listed}}};\n"
            if column.encoding == "means":
                means = [mean for row in column.means for mean in row]
                yield doubles(f"{name}_means{i}", means)
            continue
        if column.scale.quantiles:
            yield doubles(f"{name}_quantiles{i}", column.scale.quantiles)
        if column.scale.edges:
            yield doubles(f"{name}_edges{i}", column.scale.edges)
    if any(_scale(column).quantiles for column in columns):
        yield doubles(f"{name}_above", [x for pair in (MIDDLE, TAIL, FAR) for x in pair[0]])
        yield doubles(f"{name}_under", [x for pair in (MIDDLE, TAIL, FAR) for x in pair[1]])


def _bytes(columns: Sequence[Column]) -> int:
    """The bytes of the tables, without texts."""
    means = [mean for c in columns if isinstance(c, TextColumn) for row in c.means for mean in row]
    groups = [text for c in columns if isinstance(c, TextColumn) for text in _known(c)]
    scales = map(_scale, columns)
    n_numbers = len(means) + sum(len(scale.quantiles) + len(scale.edges) for scale in scales)
    return 8 * n_numbers + 4 * len(groups)


def _known(column: TextColumn) -> list[str]:
    """The texts that have a group, in the order of strcmp."""
    return sorted((*column.levels, *column.rare), key=str.encode)


def _scale(column: Column) -> Scale:
    return _NO_SCALE if isinstance(column, TextColumn) else column.scale


_NO_SCALE = Scale(0.0, 0.0, 0.0, False)


def _helpers(columns: Sequence[Column], name: str) -> Iterator[str]:
    """The functions that the columns need."""
    scales = [scale for scale in map(_scale, columns) if scale.scale]
    if any(scale.clipped for scale in scales):
        yield _CLIP.format(name=name)
    if any(scale.quantiles for scale in scales):
        yield _RANKED.format(name=name, least=LEAST)
    if any(isinstance(column, TextColumn) for column in columns):
        yield _FIND.format(name=name)
    if any(isinstance(column, DateColumn) and column.cycles for column in columns):
        yield _TURN.format(name=name)


# ---- the function -------------------------------------------------------------------------


def _function(
    parts: TableParts, columns: Sequence[Column], names: Sequence[str], made: Declarations
) -> Iterator[str]:
    """The lines of the function that predicts, and the end of the file."""
    name, real, n_out, n_nets = made.name, made.real, parts.n_outputs, len(parts.networks)
    yield f"\nint {name}_predict({made.row}, {real} out[{made.n_out}]) {{"
    yield f"    {real} x[{parts.encoder.n_inputs}] = {{0}};"
    sizes = [*map(len, names_of(columns))]
    number, other, code = 0, sizes[0], sizes[0] + sizes[1]
    for i, (column, member) in enumerate(zip(columns, names, strict=True), 1):
        yield f"    {{ /* {comment(column.name)} */"
        cell = f"row->{member}"
        if isinstance(column, TextColumn):
            lines = _text_lines(column, cell, i, (number, other, code), made)
        else:
            lines = _number_lines(column, cell, i, number, other, made)
        yield from (f"        {line}" for line in lines)
        yield "    }"
        number += len(column.number_names)
        other += len(column.other_names)
        code += len(column.code_names)
    single = n_out < made.n_out  # the probability of the second of two classes
    target = "a" if single else "out"
    if single:
        yield f"    {real} a[1];"
    yield f"    {name}_1_network(x, {target});"
    if n_nets > 1:
        yield f"    {real} each[{n_out}];"
        for k in range(2, n_nets + 1):
            yield f"    {name}_{k}_network(x, each);"
            yield f"    for (int j = 0; j < {n_out}; ++j) {target}[j] += each[j];"
        yield f"    for (int j = 0; j < {n_out}; ++j) {target}[j] /= {n_nets};"
    if single:
        yield "    out[0] = 1 - a[0];"
        yield "    out[1] = a[0];"
    if parts.classes:
        yield from _tempered(parts.temperature, made)
        yield from best_class(made.n_out)
    else:
        yield from unscaled(parts.target_mean, parts.target_scale, real)
    yield "}\n#endif\n"


def _tempered(temperature: float, made: Declarations) -> Iterator[str]:
    """The lines that raise probabilities to the power 1/temperature, with the sum 1."""
    if temperature == 1:
        return
    power = double(1 / temperature)
    yield "    double top = out[0], sum = 0;"
    yield f"    for (int j = 1; j < {made.n_out}; ++j)"
    yield "        if (out[j] > top) top = out[j];"
    yield f"    for (int j = 0; j < {made.n_out}; ++j) {{"
    yield f"        out[j] = ({made.real})pow(out[j] / top, {power});"
    yield "        sum += out[j];"
    yield "    }"
    yield f"    for (int j = 0; j < {made.n_out}; ++j) out[j] = ({made.real})(out[j] / sum);"


def _number_lines(
    column: NumberColumn | DateColumn,
    cell: str,
    i: int,
    number: int,
    other: int,
    made: Declarations,
) -> Iterator[str]:
    """The lines that compute the inputs of a column of numbers or dates."""
    name, real, scale = made.name, made.real, column.scale
    dates = column.cycles if isinstance(column, DateColumn) else ()
    value = "v"
    if isinstance(column, DateColumn):
        yield f"const long long v = {cell};"
        yield f"const int missing = v == {name.upper()}_NO_DATE;"
        value = "(double)v / 86400000000.0"
    else:
        yield f"const double v = {cell};"
        yield "const int missing = isnan(v);"
        yield f"if (isinf(v)) return -{i};"
    if scale.scale:
        yield f"const double known = missing ? {double(scale.median)} : {value};"
        scaled = f"(known - {double(scale.centre)}) * {double(scale.scale)}"
        if scale.quantiles:
            scaled = f"{name}_ranked(known, {name}_quantiles{i}, {len(scale.quantiles)})"
        elif scale.clipped:
            scaled = f"{name}_clip({scaled})"
        yield f"x[{number}] = ({real})({scaled});"
        if not scale.quantiles and not scale.clipped:
            yield f"if (isinf(x[{number}])) return -{i};"
    if n_pieces := max(len(scale.edges) - 1, 0):
        yield f"for (int j = 0; j < {n_pieces}; ++j) {{"
        yield f"    const double low = {name}_edges{i}[j], high = {name}_edges{i}[j + 1];"
        yield "    const double share = (known - low) / (high - low);"
        yield f"    x[{other} + j] = ({real})((share < 0 ? 0 : share > 1 ? 1 : share) - 0.5);"
        yield "}"
        other += n_pieces
    for k, cycle in enumerate(dates):
        turn = f"{name}_turn(v, {list(CYCLES).index(cycle)})"
        yield "if (!missing) {"
        yield f"    const double angle = 6.283185307179586 * {turn};"
        yield f"    x[{other + 2 * k}] = ({real})sin(angle);"
        yield f"    x[{other + 2 * k + 1}] = ({real})cos(angle);"
        yield "}"
    if column.indicator:
        yield f"x[{other + 2 * len(dates)}] = ({real})missing;"


def _text_lines(
    column: TextColumn, cell: str, i: int, places: tuple[int, int, int], made: Declarations
) -> Iterator[str]:
    """The lines that compute the inputs of a column of text, at its place among their kind."""
    name, real, texts = made.name, made.real, _known(column)
    number, other, code = places
    yield f"const char *const v = {cell};"
    yield f"int group = {column.index.get(None, -1)};"
    yield "if (v != NULL && v[0] != 0) {"
    yield f"    group = {name}_find(v, {name}_texts{i}, {len(texts)});"
    if [column.index[text] for text in texts] != [*range(len(texts))]:
        yield f"    if (group >= 0) group = {name}_groups{i}[group];"
    yield "}"
    if column.encoding == "one-hot":
        yield f"if (group >= 0) x[{other} + group] = 1;"
    elif column.encoding == "two":
        yield f"x[{other}] = ({real})(group < 0 ? 0 : group == 0 ? -1 : 1);"
    elif column.encoding == "codes":
        yield f"x[{code}] = ({real})group;"
    else:
        k = len(column.targets)
        yield f"for (int j = 0; j < {k} && group >= 0; ++j)"
        yield f"    x[{number} + j] = ({real}){name}_means{i}[group * {k} + j];"
