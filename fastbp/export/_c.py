"""One C99 file: the weights as constants, and a function that predicts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from .._files.atomic import atomic_write
from .._network.finite import check_finite_parameters
from .._types import Array
from ..activations import Activation

if TYPE_CHECKING:
    from .._network.layers import Layer
    from .._network.network import Network

# σ(z) as a C expression; R(…) stands for a constant of the type, M(…) for a function of math.h.
_EXPRESSIONS = {
    "identity": "z",
    "sigmoid": "1 / (1 + M(exp)(-z))",
    "tanh": "M(tanh)(z)",
    "relu": "z < 0 ? 0 : z",
    "leaky_relu": "z < 0 ? R({alpha}) * z : z",
    "elu": "z < 0 ? R({alpha}) * M(expm1)(z) : z",
    "softplus": "(z > 0 ? z : 0) + M(log1p)(M(exp)(-M(fabs)(z)))",
    "selu": "R(1.0507009873554805) * (z < 0 ? R(1.6732632423543772) * M(expm1)(z) : z)",
    "relu6": "z < 0 ? 0 : z > 6 ? 6 : z",
    "hard_tanh": "z < -1 ? -1 : z > 1 ? 1 : z",
    "hard_sigmoid": "z < -3 ? 0 : z > 3 ? 1 : (z + 3) / 6",
    "softsign": "z / (1 + M(fabs)(z))",
    "exp": "M(exp)(z)",
    "silu": "z / (1 + M(exp)(-z))",
    "gelu": "z / 2 * M(erfc)(-z * R(0.7071067811865476))",
    "gelu_tanh": "z / (1 + M(exp)(R(-1.5957691216057308) * z * (1 + R(0.044715) * z * z)))",
    "mish": "z * M(tanh)((z > 0 ? z : 0) + M(log1p)(M(exp)(-M(fabs)(z))))",
    "sin": "M(sin)(z)",
}

_HEAD = """\
/* {name}_predict: {description}.
 *
 *     void {name}_predict(const real x[{n_in}], real out[{n_out}]);
 *
 * C99 and math.h alone: no allocation, no state, safe in threads. Needs {stack} bytes of stack and
 * {constants} of constants. x and out must not overlap. Made by fastbp. */
#include <math.h>

"""

_SOFTMAX = """\
static void {name}_softmax(real *v, int n) {{
    real top = v[0], sum = 0;
    for (int j = 1; j < n; ++j)
        if (v[j] > top) top = v[j];
    for (int j = 0; j < n; ++j) sum += v[j] = M(exp)(v[j] - top);
    for (int j = 0; j < n; ++j) v[j] /= sum;
}}

"""


def c(net: Network, path: str | PathLike[str] | None = None, *, name: str = "model") -> str:
    """C99 source of a function that predicts, dependent on math.h alone.

    It defines `void {name}_predict(const real x[n_0], real out[n_L])`, real being float or double
    as the network's dtype is, and nothing else that is not static. path: also write it there, whole
    or not at all. Raises ValueError for a name that is no identifier of C, or parameters that are
    not finite.

    >>> import fastbp
    >>> source = fastbp.export.c(fastbp.Network((2, 3, 1), seed=0), name="toy")
    >>> "void toy_predict(const float x[2], float out[1])" in source
    True
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(f"name must be an identifier of C, such as model; got {name!r}")
    check_finite_parameters(net.layers, "C source takes finite weights only")
    source = _typed("".join(_parts(net, name)), net.dtype)
    if path is not None:
        with atomic_write(path) as file:
            file.write(source.encode())
    return source


def _typed(source: str, dtype: np.dtype) -> str:
    """R(…), M(…) and `real` as float or double have them."""
    single = dtype == np.float32
    suffix, digits = ("f", 9) if single else ("", 17)

    def constant(found: re.Match[str]) -> str:
        return _number(float(found[1]), digits) + suffix

    source = re.sub(r"\bR\(([^()]*)\)", constant, source)
    source = re.sub(r"\bM\((\w+)\)", rf"\g<1>{suffix}", source)
    return re.sub(r"\breal\b", "float" if single else "double", source)


def _parts(net: Network, name: str) -> Iterator[str]:
    widths = net.widths
    buffers = _buffers(net)
    yield _HEAD.format(
        name=name,
        description=f"{'-'.join(map(str, widths))}, {', '.join(map(str, net.activations))}",
        n_in=widths[0],
        n_out=widths[-1],
        stack=sum(buffers) * net.dtype.itemsize,
        constants=net.theta.nbytes,
    )
    for number, layer in enumerate(net.layers, 1):
        for key, values in layer.parameters().items():
            yield _array(f"{name}_{key}{number}", values)
    yield "\n"
    if any(activation.name == "softmax" for activation in net.activations):
        yield _SOFTMAX.format(name=name)
    yield f"void {name}_predict(const real x[{widths[0]}], real out[{widths[-1]}]) {{\n"
    for which, size in enumerate(buffers):
        yield f"    real h{which}[{size}];\n"
    source = "x"
    for number, layer in enumerate(net.layers, 1):
        last = number == len(net.layers)
        target = "out" if last else f"h{(number - 1) % 2}"
        yield from _layer(layer, f"{name}_", number, source, target)
        source = target
    yield "}\n"


def _buffers(net: Network) -> list[int]:
    """Sizes of the buffers that hidden layers take in turns."""
    hidden = net.widths[1:-1]
    return [max(hidden[which::2]) for which in range(min(2, len(hidden)))]


def _array(name: str, values: Array) -> str:
    words = [f"R({v!r})" for v in values.ravel().tolist()]
    lines = [", ".join(words[i : i + 6]) for i in range(0, len(words), 6)]
    body = ",\n    ".join(lines)
    return f"static const real {name}[{values.size}] = {{\n    {body}}};\n"


def _number(value: float, digits: int) -> str:
    text = f"{value:.{digits}g}"
    return text if re.search(r"[.e]", text) else text + ".0"


def _layer(layer: Layer, prefix: str, number: int, source: str, target: str) -> Iterator[str]:
    n_in, n_out = layer.W.shape
    bias = f"{prefix}b{number}[j]" if layer.b is not None else "0"
    yield f"    for (int j = 0; j < {n_out}; ++j) {target}[j] = {bias};\n"
    yield f"    for (int i = 0; i < {n_in}; ++i)\n"
    yield f"        for (int j = 0; j < {n_out}; ++j)\n"
    yield f"            {target}[j] += {source}[i] * {prefix}W{number}[i * {n_out} + j];\n"
    if layer.dense.norm is not None:
        yield from _norm(layer, prefix, number, target)
    if layer.activation.name == "softmax":
        yield f"    {prefix}softmax({target}, {n_out});\n"
        return
    residual = f" + {source}[j]" if layer.dense.residual else ""
    if layer.activation.name == "identity" and not residual:
        return
    yield f"    for (int j = 0; j < {n_out}; ++j) {{\n"
    yield f"        const real z = {target}[j];\n"
    yield f"        {target}[j] = ({_expression(layer.activation)}){residual};\n    }}\n"


def _expression(activation: Activation) -> str:
    return _EXPRESSIONS[activation.name].format(alpha=repr(activation.alpha))


def _norm(layer: Layer, prefix: str, number: int, target: str) -> Iterator[str]:
    n, norm = layer.W.shape[1], layer.dense.norm
    mean = norm.name == "layer"
    shift = f" + {prefix}shift{number}[j]" if norm.shifts else ""
    yield "    {\n        real mean = 0, square = 0;\n"
    if mean:
        yield f"        for (int j = 0; j < {n}; ++j) mean += {target}[j] / {n};\n"
    yield f"        for (int j = 0; j < {n}; ++j)\n"
    yield f"            square += ({target}[j] - mean) * ({target}[j] - mean) / {n};\n"
    yield f"        const real r = 1 / M(sqrt)(square + R({norm.eps!r}));\n"
    yield f"        for (int j = 0; j < {n}; ++j)\n"
    yield f"            {target}[j] = ({target}[j] - mean) * r * {prefix}gain{number}[j]{shift};\n"
    yield "    }\n"
