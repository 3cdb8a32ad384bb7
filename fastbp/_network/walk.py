"""One sample through a network and back: every z, a, δ and gradient, and the same as text.

In the text, each step has a formula, and the same formula filled in with numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .._page.picture import MINUS, number_text, values_text, written
from .._types import Array
from ..activations import Activation
from ..gates import ActivationFormula, LossFormula
from ..losses import FormulaLoss, Loss
from .dense import STATISTICS, Dense

_UNITS = 16  # units of a layer that are shown one by one
_GRADIENTS = 144  # weights of a layer whose gradients are shown one by one
_TERMS = 8  # terms of a sum that are shown
_LONGEST = 80  # characters of a formula that is filled in
_HIGH = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_LOW = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")

Filled = Callable[[int], str]  # a formula with numbers, for one unit


@dataclass(frozen=True, eq=False, repr=False)
class LayerWalk:
    """What happens in one layer; all arrays are read-only copies in the network's dtype.

    Attributes
    ----------
    number : int
        l, from 1 to L.
    dense : Dense
        The layer.
    u : ndarray (n_in,)
        Its input a^{l−1}.
    z, a, delta : ndarray (n_out,)
        Pre-activations, outputs, and ∂J_i/∂z.
    n : ndarray (n_out,) or None
        norm(z) of a layer with a norm.
    g : ndarray (n_out,) or None
        ∂J_i/∂a. None for the output layer if its loss is paired with its activation, which gives
        delta from z without it.
    slope : ndarray (n_out,) or None
        σ'(z). None for a layer with a norm and for softmax, where each delta depends on every g.
    parameters, gradients : dict of str to ndarray
        W, b, gain, shift, trained constants and scale, as far as the layer has them, and ∂J of
        each.
    """

    number: int
    dense: Dense
    u: Array
    z: Array
    n: Array | None
    a: Array
    g: Array | None
    slope: Array | None
    delta: Array
    parameters: Mapping[str, Array]
    gradients: Mapping[str, Array]

    @property
    def activation(self) -> Activation:
        """The activation σ."""
        return self.dense.activation

    @property
    def W(self) -> Array:
        """Weights (n_in, n_out)."""
        return self.parameters["W"]

    @property
    def b(self) -> Array | None:
        """Biases (n_out,), or None."""
        return self.parameters.get("b")

    @property
    def constants(self) -> dict[str, Array]:
        """The trained constants of the activation by name, as far as it has some."""
        return {name: self.parameters[name] for name in self.activation.constants}

    @property
    def scale(self) -> Array | None:
        """Factors (n_in,) of the inputs, or None."""
        return self.parameters["scale"] if self.dense.scale else None

    @property
    def v(self) -> Array:
        """What W is multiplied by (n_in,): u, or u ⊙ scale."""
        return self.u if self.scale is None else self.u * self.scale

    @property
    def dW(self) -> Array:
        """∂J/∂W (n_in, n_out)."""
        return self.gradients["W"]

    @property
    def db(self) -> Array | None:
        """∂J/∂b (n_out,), or None."""
        return self.gradients.get("b")


@dataclass(frozen=True, eq=False, repr=False)
class Walk:
    """One sample through a network and back. `print` shows every step with its numbers.

    `Network.walk` makes it. Layers and units count from 1 in the text, as in formulas: W²₃₁ leads
    from unit 3 of layer 1 to unit 1 of layer 2, and is `layers[1].W[2, 0]`.

    Attributes
    ----------
    x : ndarray (n_0,)
        The sample.
    y : int or ndarray
        Its target: the number of its class, or a row.
    layers : tuple of LayerWalk
        For each layer: `u` (its input), `W`, `b`, `z`, `a`, `g` (∂J_i/∂a), `slope` (σ'(z)),
        `delta`, `dW`, `db`, `constants` (trained ones of σ), and `parameters` and `gradients` by
        name, which have gain and shift too. `n` is norm(z) if the layer has a norm.
    loss : float
        J_i, without the penalties of l1 and l2.
    J : float
        With the penalties.
    criterion : Loss
        The loss function.
    weight : float
        S, by which gradients are divided: the class weight of the sample, otherwise 1.
    l1, l2 : float
        Of the network.
    kind : str
        The network in words.

    Examples
    --------
    >>> import fastbp
    >>> net = fastbp.Network((2, 1), dtype="float64"); net.theta = [3.0, 4.0, 0.5]
    >>> walk = net.walk([1.0, 2.0], 10.0)
    >>> walk.J, walk.layers[0].z, walk.layers[0].dW.ravel()
    (1.125, array([11.5]), array([1.5, 3. ]))
    >>> print(walk)
    Network 2-1, float64, loss squared_error: one sample forward and back
    x = [1, 2]
    y = 10
    <BLANKLINE>
    Forward
      Layer 1: 2 -> 1, identity
        z¹ = x W¹ + b¹
          z¹₁ = 1·3 + 2·4 + 0.5 = 11.5
        a¹ = z¹
          a¹₁ = z¹₁ = 11.5
      Loss: squared_error
        J = ½ Σ (a¹ − y)²
          J = ½ (11.5 − 10)² = 1.125
    <BLANKLINE>
    Backward
      Layer 1
        δ¹ = ∂J/∂a¹ · σ'(z¹)
          δ¹₁ = 1.5 · 1 = 1.5
        dW¹ = xᵀ δ¹,  db¹ = δ¹
          dW¹₁₁ = 1·1.5 = 1.5
          dW¹₂₁ = 2·1.5 = 3
          db¹ = [1.5]
    """

    x: Array
    y: int | Array
    layers: tuple[LayerWalk, ...]
    loss: float
    J: float
    criterion: Loss
    weight: float
    l1: float
    l2: float
    kind: str

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of every layer, inputs first."""
        return (len(self.x), *(len(layer.a) for layer in self.layers))

    def __str__(self) -> str:
        return _text(self)

    def __repr__(self) -> str:
        return f"Walk({'-'.join(map(str, self.widths))}, J={self.J:.6g})"


Walk.__module__ = "fastbp"  # which imports it when it is first used


def norm_numbers(dense: Dense, z: Array, parameters: Mapping[str, Array]) -> tuple[Array, Array]:
    """The mean that a norm takes away and the factor 1/√(mean square + eps) that follows.

    One of each per unit, (n,); those of the other norms are all alike.
    """
    norm = dense.norm
    if norm is None or norm.eps is None:
        raise ValueError("the layer has no norm")
    wide = z.astype(np.float64)
    if norm.by_batch:
        mean, var = (parameters[name].astype(np.float64) for name in STATISTICS)
        return mean, 1 / np.sqrt(var + norm.eps)
    middle = wide.mean() if norm.shifts else 0.0
    factor = 1 / np.sqrt(np.square(wide - middle).mean() + norm.eps)
    return np.full(z.shape, middle), np.full(z.shape, factor)


# ---- the steps as text ------------------------------------------------------------------------


class Line(NamedTuple):
    """A formula with numbers, and the unit that it is about; None if it is about all."""

    text: str
    unit: int | None = None


@dataclass(frozen=True)
class Part:
    """One step of a walk.

    Attributes
    ----------
    kind : str
        "v" (u ⊙ scale), "z", "n", "a", "loss", "delta" or "gradients".
    layer : int
        l; 0 for the loss.
    formula : str
        The formula with letters.
    lines : tuple of Line
        The formula with numbers, one line per unit or weight.
    """

    kind: str
    layer: int
    formula: str
    lines: tuple[Line, ...]

    @property
    def backward(self) -> bool:
        """Whether it belongs to the way back."""
        return self.kind in ("delta", "gradients")


def _text(walk: Walk) -> str:
    """The whole walk."""
    lines = [
        f"Network {'-'.join(map(str, walk.widths))}, {walk.kind}: one sample forward and back",
        f"x = {values_text(walk.x)}",
        f"y = {_target_text(walk.y)}",
        "",
        "Forward",
    ]
    head = ""
    for part in parts(walk):
        if part.backward and "Backward" not in lines:
            lines += ["", "Backward"]
        title = _title(walk, part)
        if title != head:
            lines.append(f"  {title}")
            head = title
        lines.append(f"    {part.formula}")
        lines += [f"      {line.text}" for line in part.lines]
    return "\n".join(lines)


def _title(walk: Walk, part: Part) -> str:
    if part.kind == "loss":
        return f"Loss: {walk.criterion}"
    return f"Layer {part.layer}" if part.backward else heading(walk.layers[part.layer - 1])


def heading(layer: LayerWalk) -> str:
    """Number, widths, activation and options of a layer."""
    n_in, n_out = layer.W.shape
    words = [f"Layer {layer.number}: {n_in} -> {n_out}", str(layer.activation)]
    return ", ".join([*words, *layer.dense.options()])


def parts(walk: Walk) -> Iterator[Part]:
    """The steps of the walk in their order."""
    for layer in walk.layers:
        if layer.scale is not None:
            yield _v(layer)
        yield _z(layer)
        if layer.n is not None:
            yield _n(layer)
        yield _a(layer)
    yield _loss(walk)
    for layer in reversed(walk.layers):
        yield _delta(walk, layer)
        yield _gradients(walk, layer)


# ---- names and numbers ------------------------------------------------------------------------


def high(l: int) -> str:
    """l as a superscript.

    >>> "z" + high(12)
    'z¹²'
    """
    return str(l).translate(_HIGH)


def low(*indices: int) -> str:
    """Indices, which count from 0, as subscripts, which count from 1.

    >>> "W" + low(0, 1), "W" + low(0, 11)
    ('W₁₂', 'W₁,₁₂')
    """
    texts = [str(i + 1).translate(_LOW) for i in indices]
    return ("," if max(indices) > 8 and len(indices) > 1 else "").join(texts)


def factor(value: float) -> str:
    """A number within a formula: in parentheses if it is negative.

    >>> factor(0.5), factor(-2.0)
    ('0.5', '(−2)')
    """
    shown = number_text(float(value))
    return f"({shown})" if shown.startswith(MINUS) else shown


def _sum(n: int, term: Callable[[int], str]) -> str:
    """term(0) + … + term(n − 1); of long sums, the first two terms and the last."""
    if n <= _TERMS:
        return " + ".join(map(term, range(n)))
    return " + ".join([term(0), term(1), f"… ({n - 3} more)", term(n - 1)])


def _rows(n: int, line: Filled) -> tuple[Line, ...]:
    """A line for each unit; of many units, for the first and the last ones."""
    if n <= _UNITS:
        return tuple(Line(line(j), j) for j in range(n))
    half = _UNITS // 4
    first, last = ([Line(line(j), j) for j in some] for some in (range(half), range(n - half, n)))
    return (*first, Line(f"… ({n - 2 * half} more)"), *last)


def _target_text(y: int | Array) -> str:
    if isinstance(y, int):
        return f"class {y}"
    return number_text(float(y[0])) if len(y) == 1 else values_text(y, edge=8)


def _input_name(layer: LayerWalk) -> str:
    return "x" if layer.number == 1 else f"a{high(layer.number - 1)}"


def _function(layer: LayerWalk) -> str:
    """What the lines call σ: its name, or σ if it has options."""
    name = layer.activation.name
    return name if str(layer.activation) == name else "σ"


# ---- forward ------------------------------------------------------------------------------------


def _factor_name(layer: LayerWalk) -> str:
    """What the lines call the input that W is multiplied by."""
    return _input_name(layer) if layer.scale is None else f"v{high(layer.number)}"


def _v(layer: LayerWalk) -> Part:
    l, scale = high(layer.number), layer.scale
    assert scale is not None

    def line(i: int) -> str:
        product = f"{factor(layer.u[i])}·{factor(scale[i])}"
        return f"v{l}{low(i)} = {product} = {number_text(float(layer.v[i]))}"

    return Part("v", layer.number, f"v{l} = {_input_name(layer)} scale", _rows(len(scale), line))


def _z(layer: LayerWalk) -> Part:
    l, u = high(layer.number), layer.v
    bias = f" + b{l}" if layer.b is not None else ""

    def line(j: int) -> str:
        total = _sum(len(u), lambda i: f"{factor(u[i])}·{factor(layer.W[i, j])}")
        if layer.b is not None:
            total += f" + {factor(layer.b[j])}"
        return f"z{l}{low(j)} = {total} = {number_text(float(layer.z[j]))}"

    formula = f"z{l} = {_factor_name(layer)} W{l}{bias}"
    return Part("z", layer.number, formula, _rows(len(layer.z), line))


def _n(layer: LayerWalk) -> Part:
    l, norm, n = high(layer.number), layer.dense.norm, layer.n
    assert norm is not None and n is not None
    mean, r = norm_numbers(layer.dense, layer.z, layer.parameters)
    shift = layer.parameters.get("shift")
    gain = layer.parameters["gain"]

    def line(j: int) -> str:
        centred = factor(layer.z[j])
        if shift is not None:
            centred = f"({number_text(float(layer.z[j]))} {MINUS} {factor(mean[j])})"
        more = f" + {factor(shift[j])}" if shift is not None else ""
        product = f"{factor(gain[j])} · {centred} · {number_text(float(r[j]))}{more}"
        return f"n{l}{low(j)} = {product} = {number_text(float(n[j]))}"

    if norm.by_batch:
        formula = f"n{l} = gain (z{l} {MINUS} running mean) / √(running variance + eps) + shift"
    elif shift is not None:
        formula = f"n{l} = gain (z{l} {MINUS} mean) / √(variance + eps) + shift"
    else:
        formula = f"n{l} = gain z{l} / √(mean square + eps)"
    return Part("n", layer.number, formula, _rows(len(n), line))


def _a(layer: LayerWalk) -> Part:
    l, name, u = high(layer.number), _function(layer), layer.u
    v, inner = (layer.z, "z") if layer.n is None else (layer.n, "n")
    own = _own_formula(layer.activation.formula)
    lines: list[Line] = []
    if own:
        filled = _filled_formula(layer, own, v)
    else:
        lines, filled = _filled(name, f"{inner}{l}", v)

    def line(j: int) -> str:
        whole = filled(j) + (f" + {factor(u[j])}" if layer.dense.residual else "")
        return f"a{l}{low(j)} = {whole} = {number_text(float(layer.a[j]))}"

    if own:
        formula = f"a{l} = {_replaced(own, {'z': f'{inner}{l}'})}"
    else:
        formula = f"a{l} = {inner}{l}" if name == "identity" else f"a{l} = {name}({inner}{l})"
    if layer.dense.residual:
        formula += f" + {_input_name(layer)}"
    if name == "σ" and not own:
        formula += f",  σ = {layer.activation}"
    for constant, value in layer.constants.items():
        formula += f",  {constant} = {values_text(value)}"
    return Part("a", layer.number, formula, (*lines, *_rows(len(layer.a), line)))


def _own_formula(formula: ActivationFormula | LossFormula | None) -> str:
    """A formula of the user's as people write it; "" if it is long or has named parts."""
    text = "" if formula is None else formula.text
    return "" if ";" in text or len(text) > _LONGEST else written(text)


def _replaced(formula: str, by: Mapping[str, str]) -> str:
    """A formula with other texts for some of its names."""
    return re.sub(r"[^\W\d]\w*", lambda found: by.get(found[0], found[0]), formula)


def _filled_formula(layer: LayerWalk, formula: str, v: Array) -> Filled:
    """A formula of the user's with numbers for one unit."""

    def filled(j: int) -> str:
        constants = {
            name: factor(values[j] if len(values) > 1 else values[0])
            for name, values in layer.constants.items()
        }
        return _replaced(formula, {"z": factor(v[j]), **constants})

    return filled


def _filled(name: str, of: str, v: Array) -> tuple[list[Line], Filled]:
    """Lines that come before, and σ(v) with numbers for one unit."""
    if name == "identity":
        return [], lambda j: f"{of}{low(j)}"
    if name == "softmax":
        with np.errstate(over="ignore"):
            total = float(np.exp(v.astype(np.float64)).sum())
        if np.isfinite(total) and total > 0:
            terms = _sum(len(v), lambda k: f"e^{factor(v[k])}")
            under = number_text(total)
            return [Line(f"Σ e^{of} = {terms} = {under}")], lambda j: f"e^{factor(v[j])} / {under}"
        return [], lambda j: f"softmax({of}){low(j)}"
    return [], lambda j: f"{name}({number_text(float(v[j]))})"


def _loss(walk: Walk) -> Part:
    a = f"a{high(len(walk.layers))}"
    fill = (
        _own_loss if isinstance(walk.criterion, FormulaLoss) else _LOSSES.get(str(walk.criterion))
    )
    formula, filled = fill(a, walk) if fill else (f"J = {walk.criterion}({a}, y)", "")
    lines = [Line(f"J = {filled}{number_text(walk.loss)}")]
    penalties = _penalties(walk)
    if penalties:
        formula += f" + {' + '.join(penalties)}"
        more = number_text(walk.J - walk.loss)
        total = f"{number_text(walk.loss)} + {more} = {number_text(walk.J)}"
        lines.append(Line(f"J = {total}, penalties added"))
    return Part("loss", 0, formula, tuple(lines))


def _penalties(walk: Walk) -> list[str]:
    """The terms that l1 and l2 add to J."""
    terms = {f"{number_text(walk.l1)} ‖W‖₁": walk.l1, f"½·{number_text(walk.l2)} ‖W‖²": walk.l2}
    return [term for term, weight in terms.items() if weight > 0]


def _rows_of_target(walk: Walk) -> Array:
    """y as one number per output."""
    if isinstance(walk.y, int):
        row: Array = np.eye(1, walk.widths[-1], walk.y)[0]
        return row
    return walk.y


def _squares(walk: Walk) -> str:
    a, y = walk.layers[-1].a, _rows_of_target(walk)
    return _sum(len(a), lambda k: f"({number_text(float(a[k]))} {MINUS} {factor(y[k])})²")


def _squared_error(a: str, walk: Walk) -> tuple[str, str]:
    squares = _squares(walk)
    inner = squares if walk.widths[-1] == 1 else f"({squares})"
    return f"J = ½ Σ ({a} {MINUS} y)²", f"½ {inner} = "


def _mse(a: str, walk: Walk) -> tuple[str, str]:
    n = walk.widths[-1]
    inner = _squares(walk) if n == 1 else f"({_squares(walk)}) / {n}"
    return f"J = mean of ({a} {MINUS} y)²", f"{inner} = "


def _own_loss(a: str, walk: Walk) -> tuple[str, str]:
    """A loss of the user's."""
    assert isinstance(walk.criterion, FormulaLoss)
    formula = _own_formula(walk.criterion.formula)
    if not formula:
        return f"J = {walk.criterion.formula.text}".replace(";", ",  "), ""
    numbers = {"a": walk.layers[-1].a, "y": _rows_of_target(walk)}
    shown = {name: _one_or_all(values) for name, values in numbers.items()}
    return f"J = {_replaced(formula, {'a': a})}", f"{_replaced(formula, shown)} = "


def _one_or_all(values: Array) -> str:
    return factor(values[0]) if len(values) == 1 else values_text(values)


def _cross_entropy(a: str, walk: Walk) -> tuple[str, str]:
    values, y = walk.layers[-1].a, _rows_of_target(walk)
    used = np.flatnonzero(y)

    def term(i: int) -> str:
        k = used[i]
        share = "" if y[k] == 1 else f"{factor(y[k])} · "
        return f"{share}log {number_text(float(values[k]))}"

    inner = _sum(len(used), term)
    return f"J = {MINUS}Σ y log {a}", f"{MINUS}{inner if len(used) == 1 else f'({inner})'} = "


def _binary_cross_entropy(a: str, walk: Walk) -> tuple[str, str]:
    values, y = walk.layers[-1].a, _rows_of_target(walk)

    def term(k: int) -> str:
        p, t = number_text(float(values[k])), float(y[k])
        yes, no = f"log {p}", f"log(1 {MINUS} {p})"
        if t in (0.0, 1.0):
            return yes if t else no
        return f"{number_text(t)} · {yes} + {number_text(1 - t)} · {no}"

    inner = _sum(len(values), term)
    bare = len(values) == 1 and float(y[0]) in (0.0, 1.0)
    formula = f"J = {MINUS}Σ (y log {a} + (1 {MINUS} y) log(1 {MINUS} {a}))"
    return formula, f"{MINUS}{inner if bare else f'({inner})'} = "


# Losses whose formula is short enough to be filled in; of others, only the result is shown.
_LOSSES: dict[str, Callable[[str, Walk], tuple[str, str]]] = {
    "squared_error": _squared_error,
    "mse": _mse,
    "cross_entropy": _cross_entropy,
    "binary_cross_entropy": _binary_cross_entropy,
}


# ---- backward -----------------------------------------------------------------------------------


def _delta(walk: Walk, layer: LayerWalk) -> Part:
    l = high(layer.number)
    if layer.g is None:
        formula, line = _paired(walk, layer)
    elif layer.slope is not None:
        formula, line = _by_slope(walk, layer)
    elif layer.n is None:
        formula, line = _of_softmax(walk, layer)
    else:
        return _through_norm(walk, layer)
    result = layer.delta
    lines = _rows(len(result), lambda j: f"δ{l}{low(j)} = {line(j)}{number_text(float(result[j]))}")
    return Part("delta", layer.number, f"δ{l} = {formula}", lines)


def _paired(walk: Walk, layer: LayerWalk) -> tuple[str, Filled]:
    """δ^L of a loss that is paired with the output activation."""
    l, a = high(layer.number), layer.a
    together = f"of {walk.criterion} and {layer.activation} together"
    if str(walk.criterion) not in _DIFFERENCE:
        return f"∂J/∂z{l}, {together}", lambda j: ""
    y = _rows_of_target(walk)

    def line(j: int) -> str:
        return f"{number_text(float(a[j]))} {MINUS} {factor(y[j])} = "

    return f"a{l} {MINUS} y, {together}", line


_DIFFERENCE = ("cross_entropy", "binary_cross_entropy")  # pairs with δ = a − y


def _by_slope(walk: Walk, layer: LayerWalk) -> tuple[str, Filled]:
    """δ = g ⊙ σ'(z)."""
    slope, (name, g) = layer.slope, _slope_above(walk, layer)
    assert slope is not None
    if layer.number < len(walk.layers):  # a sum
        formula = f"({name}) · σ'(z{high(layer.number)})"
        return formula, lambda j: f"({g(j)}) · {factor(slope[j])} = "
    return f"{name} · σ'(z{high(layer.number)})", lambda j: f"{g(j)} · {factor(slope[j])} = "


def _of_softmax(walk: Walk, layer: LayerWalk) -> tuple[str, Filled]:
    """δ = a ⊙ (g − Σ g a)."""
    l, a, g = high(layer.number), layer.a, layer.g
    assert g is not None
    total = factor(float(g @ a))

    def line(j: int) -> str:
        return f"{factor(a[j])} · ({number_text(float(g[j]))} {MINUS} {total}) = "

    return f"a{l} (g {MINUS} Σ g a{l}),  g = {_slope_above(walk, layer)[0]}", line


def _through_norm(walk: Walk, layer: LayerWalk) -> Part:
    """δ of a layer with a norm, in which every δ_j depends on the whole row g."""
    l, (name, filled) = high(layer.number), _slope_above(walk, layer)
    g, delta = layer.g, layer.delta
    assert g is not None

    def line(j: int) -> str:
        slope = f"g{low(j)} = {filled(j)} = {number_text(float(g[j]))}"
        return f"{slope},  δ{l}{low(j)} = {number_text(float(delta[j]))}"

    formula = f"δ{l} = g back through {_function(layer)} and the norm,  g = {name}"
    return Part("delta", layer.number, formula, _rows(len(delta), line))


def _slope_above(walk: Walk, layer: LayerWalk) -> tuple[str, Filled]:
    """∂J/∂a of a layer: its formula, and the same with numbers for one unit; a sum below L."""
    l, g = layer.number, layer.g
    assert g is not None
    if l == len(walk.layers):
        return f"∂J/∂a{high(l)}", lambda j: factor(g[j])
    above = walk.layers[l]
    W, delta, around = above.W, above.delta, above.dense.residual and above.g is not None

    def filled(j: int) -> str:
        total = _sum(len(delta), lambda k: f"{factor(W[j, k])}·{factor(delta[k])}")
        if above.scale is not None:
            total = f"{factor(above.scale[j])}·({total})"
        if around and above.g is not None:
            total += f" + {factor(above.g[j])}"
        return total

    scale = "scale " if above.scale is not None else ""
    name = f"{scale}W{high(l + 1)} δ{high(l + 1)}" + (f" + ∂J/∂a{high(l + 1)}" if around else "")
    return name, filled


def _gradients(walk: Walk, layer: LayerWalk) -> Part:
    l, u = high(layer.number), _factor_name(layer)
    by = f" / {number_text(walk.weight)}" if walk.weight != 1 else ""
    formula = f"dW{l} = {u}ᵀ δ{l}{by}"
    if walk.l1 > 0:
        formula += f" + {number_text(walk.l1)} sign(W{l})"
    if walk.l2 > 0:
        formula += f" + {number_text(walk.l2)} W{l}"
    if layer.b is not None:
        formula += f",  db{l} = δ{l}{by}"
    if layer.scale is not None:
        formula += f",  dscale{l} = {_input_name(layer)} W{l} δ{l}{by}"
    lines = _weights(walk, layer, by)
    for name, gradient in layer.gradients.items():
        if name != "W" and name not in STATISTICS:
            lines.append(Line(f"d{name}{l} = {values_text(gradient)}"))
    return Part("gradients", layer.number, formula, tuple(lines))


def _weights(walk: Walk, layer: LayerWalk, by: str) -> list[Line]:
    """dW: a line for each weight, or the array if there are many."""
    l, W, dW = high(layer.number), layer.W, layer.dW
    if W.size > _GRADIENTS:
        return [Line(f"dW{l} = {values_text(dW, edge=2)}")]

    def line(i: int, j: int) -> Line:
        total = f"{factor(layer.v[i])}·{factor(layer.delta[j])}{by}"
        if walk.l1 > 0:
            total += f" + {number_text(walk.l1)}·{factor(np.sign(W[i, j]))}"
        if walk.l2 > 0:
            total += f" + {number_text(walk.l2)}·{factor(W[i, j])}"
        return Line(f"dW{l}{low(i, j)} = {total} = {number_text(float(dW[i, j]))}", j)

    return [line(i, j) for i in range(len(W)) for j in range(W.shape[1])]
