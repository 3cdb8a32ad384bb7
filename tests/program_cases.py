"""Activations and losses as programs written by hand, and networks of the engine that have them."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from engine_cases import within

from fastbp import _core

# the options of a layer, as `_core.Net` takes them
PLAIN = (False, 0, 0.0, 0.0, 0.0, False, 0.0, False, False, 0, 0, 0, False, False, (), ())
OPTION_NAMES = (
    "no_bias",
    "norm",
    "eps",
    "momentum",
    "dropout",
    "residual",
    "max_norm",
    "non_negative",
    "scale",
    "numbers",
    "n_frequencies",
    "width",
    "rectified",
    "keeps",
    "levels",
    "level_widths",
)


class Draft:
    """A program in the making: `draft.add(x, y)` appends an instruction and returns its result.

    Operands are inputs, earlier results and numbers. Every result has a slot of its own.
    """

    def __init__(self, *kinds):
        self.inputs = [("input", i) for i in range(len(kinds))]
        self._kinds, self._numbers, self._code = kinds, [], []

    def __getattr__(self, operation):
        def append(*operands):
            self._code.append((operation, [self._operand(x) for x in operands]))
            return "result", len(self._code) - 1

        return append

    def _operand(self, x):
        if isinstance(x, tuple):
            return x
        if x not in self._numbers:
            self._numbers.append(x)
        return "number", self._numbers.index(x)

    def program(self, *outputs):
        first = {"input": 0, "number": len(self._kinds)}
        first["result"] = first["number"] + len(self._numbers)
        kinds, code = [*self._kinds, *["one"] * len(self._numbers)], []
        for i, (operation, operands) in enumerate(self._code):
            slots = [first[group] + number for group, number in operands]
            full = any(kinds[slot] == "full" for slot in slots) and operation[:4] != "row_"
            kinds.append("full" if full else "row")
            code.append((operation, first["result"] + i, *slots, *[-1] * (3 - len(slots))))
        return SimpleNamespace(
            inputs=self._kinds,
            constants=tuple(self._numbers),
            temporaries=tuple(kinds[first["result"] :]),
            code=tuple(code),
            outputs=tuple(first[group] + number for group, number in outputs),
        )


# ---- activations --------------------------------------------------------------------------


@dataclass(frozen=True)
class Formula:
    """An activation by four programs, and what they compute, in NumPy.

    value(z, *c) is f and slopes(z, *c) are ∂f/∂z and every ∂f/∂c.
    """

    programs: object
    value: object
    slopes: object
    constants: tuple[float, ...] = ()
    per_unit: bool = False

    def entry(self):
        """As `_core.Net` takes it."""
        kind = "full" if self.per_unit else "one"
        return len(self.constants), self.per_unit, tuple(self.programs(kind))

    def initial(self, n_out):
        return [np.full(n_out if self.per_unit else 1, c) for c in self.constants]


def _builtin(name):
    """The programs of a built-in activation whose slope is an operation; its curve is not used."""

    def programs(kind):
        d = Draft("full")
        yield d.program(getattr(d, name)(d.inputs[0]))
        d = Draft("full", "full")
        z, g = d.inputs
        yield d.program(d.mul(g, getattr(d, name + "_slope")(z)))
        d = Draft("full", "full")
        z, rz = d.inputs
        yield d.program(d.mul(rz, getattr(d, name + "_slope")(z)))
        d = Draft("full", "full", "full", "full")
        yield d.program(d.copy(d.inputs[0]))

    return Formula(programs, None, None)


def _sine_programs(kind):
    """f = sin z"""
    d = Draft("full")
    yield d.program(d.sin(d.inputs[0]))
    for _ in range(2):  # slope and push
        d = Draft("full", "full")
        z, g = d.inputs
        yield d.program(d.mul(g, d.cos(z)))
    d = Draft("full", "full", "full", "full")
    z, g, rz, rg = d.inputs
    yield d.program(d.fnma(d.mul(g, rz), d.sin(z), d.mul(rg, d.cos(z))))


def _swish(d, z, b):
    """s = sigmoid(b z), q = s(1 − s) and its derivative q' = q(1 − 2s)."""
    s = d.sigmoid(d.mul(b, z))
    q = d.fnma(s, s, s)
    return s, q, d.mul(q, d.fnma(2.0, s, 1.0))


def _swish_programs(kind):
    """f = z s, s = sigmoid(b z); f' = s + z b q, ∂f/∂b = z² q"""
    d = Draft("full", kind)
    z, b = d.inputs
    yield d.program(d.mul(z, _swish(d, z, b)[0]))
    d = Draft("full", kind, "full")
    z, b, g = d.inputs
    s, q, _ = _swish(d, z, b)
    dz, db = d.fma(d.mul(z, b), q, s), d.mul(d.square(z), q)
    yield d.program(d.mul(g, dz), d.mul(g, db))
    d = Draft("full", kind, "full", kind)
    z, b, rz, rb = d.inputs
    s, q, _ = _swish(d, z, b)
    dz, db = d.fma(d.mul(z, b), q, s), d.mul(d.square(z), q)
    yield d.program(d.fma(rb, db, d.mul(rz, dz)))
    d = Draft("full", kind, "full", "full", kind, "full")
    z, b, g, rz, rb, rg = d.inputs
    s, q, bend = _swish(d, z, b)
    dz, db = d.fma(d.mul(z, b), q, s), d.mul(d.square(z), q)
    move = d.fma(b, rz, d.mul(rb, z))  # R{b z}
    moved_s, moved_q = d.mul(q, move), d.mul(bend, move)
    moved_dz = d.fma(d.mul(z, b), moved_q, d.fma(q, move, moved_s))
    moved_db = d.fma(d.square(z), moved_q, d.mul(d.mul(2.0, d.mul(z, rz)), q))
    yield d.program(
        d.fma(g, moved_dz, d.mul(rg, dz)),
        d.fma(g, moved_db, d.mul(rg, db)),
    )


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _swish_slopes(z, b):
    s = _sigmoid(b * z)
    return s + z * b * s * (1 - s), z * z * s * (1 - s)


def _mixed_programs(kind):
    """f = α tanh z + γ z; f' = α(1 − t²) + γ, ∂f/∂α = t, ∂f/∂γ = z"""
    d = Draft("full", kind, kind)
    z, alpha, gamma = d.inputs
    yield d.program(d.fma(alpha, d.tanh(z), d.mul(gamma, z)))
    d = Draft("full", kind, kind, "full")
    z, alpha, gamma, g = d.inputs
    t = d.tanh(z)
    dz = d.add(d.mul(alpha, d.fnma(t, t, 1.0)), gamma)
    yield d.program(d.mul(g, dz), d.mul(g, t), d.mul(g, z))
    d = Draft("full", kind, kind, "full", kind, kind)
    z, alpha, gamma, rz, moved_alpha, moved_gamma = d.inputs
    t = d.tanh(z)
    dz = d.add(d.mul(alpha, d.fnma(t, t, 1.0)), gamma)
    yield d.program(d.fma(rz, dz, d.fma(moved_alpha, t, d.mul(moved_gamma, z))))
    d = Draft("full", kind, kind, "full", "full", kind, kind, "full")
    z, alpha, gamma, g, rz, moved_alpha, moved_gamma, rg = d.inputs
    t = d.tanh(z)
    slope = d.fnma(t, t, 1.0)
    moved_t = d.mul(slope, rz)
    dz = d.add(d.mul(alpha, slope), gamma)
    moved_slope = d.mul(d.mul(-2.0, t), moved_t)
    moved_dz = d.add(d.fma(alpha, moved_slope, d.mul(moved_alpha, slope)), moved_gamma)
    yield d.program(
        d.fma(g, moved_dz, d.mul(rg, dz)),
        d.fma(g, moved_t, d.mul(rg, t)),
        d.fma(g, rz, d.mul(rg, z)),
    )


def _mixed_slopes(z, alpha, gamma):
    t = np.tanh(z)
    return alpha * (1 - t * t) + gamma, t, z


SILU, MISH, GELU_TANH = (_builtin(name) for name in ("silu", "mish", "gelu_tanh"))
SINE = Formula(_sine_programs, np.sin, lambda z: (np.cos(z),))
SWISH = Formula(_swish_programs, lambda z, b: z * _sigmoid(b * z), _swish_slopes, (1.5,))
SWISH_BY_UNIT = Formula(SWISH.programs, SWISH.value, SWISH.slopes, (1.5,), True)
MIXED = Formula(
    _mixed_programs,
    lambda z, alpha, gamma: alpha * np.tanh(z) + gamma * z,
    _mixed_slopes,
    (0.8, 0.3),
)
MIXED_BY_UNIT = Formula(MIXED.programs, MIXED.value, MIXED.slopes, (0.8, 0.3), True)


# ---- losses -------------------------------------------------------------------------------


def squared_error_programs():
    """J_i = ½ Σ (a − y)²"""
    d = Draft("full", "full")
    a, y = d.inputs
    yield d.program(d.mul(0.5, d.row_sum(d.square(d.sub(a, y)))))
    d = Draft("full", "full")
    a, y = d.inputs
    e = d.sub(a, y)
    yield d.program(d.mul(0.5, d.row_sum(d.square(e))), e)
    d = Draft("full", "full", "full")
    yield d.program(d.copy(d.inputs[2]))


def logistic_programs():
    """J_i = log Σ exp a − Σ y a: cross-entropy of softmax(a) for targets y that add up to 1."""
    d = Draft("full", "full")
    a, y = d.inputs
    top = d.row_max(a)
    e = d.exp(d.sub(a, top))
    J = d.sub(d.add(d.log(d.row_sum(e)), top), d.row_sum(d.mul(a, y)))
    yield d.program(J)
    d = Draft("full", "full")
    a, y = d.inputs
    top = d.row_max(a)
    e = d.exp(d.sub(a, top))
    total = d.row_sum(e)
    J = d.sub(d.add(d.log(total), top), d.row_sum(d.mul(a, y)))
    yield d.program(J, d.sub(d.div(e, total), y))
    d = Draft("full", "full", "full")
    a, y, ra = d.inputs
    e = d.exp(d.sub(a, d.row_max(a)))
    p = d.div(e, d.row_sum(e))
    yield d.program(d.mul(p, d.sub(ra, d.row_sum(d.mul(p, ra)))))


def logistic(a, y):
    """J_i and ∂J_i/∂a of `logistic_programs`."""
    top = a.max(axis=1, keepdims=True)
    e = np.exp(a - top)
    total = e.sum(axis=1, keepdims=True)
    return (np.log(total) + top)[:, 0] - (a * y).sum(axis=1), e / total - y


# ---- networks -----------------------------------------------------------------------------


def options_of(**options):
    """The options of a layer, by name."""
    return tuple(options.get(name, of) for name, of in zip(OPTION_NAMES, PLAIN, strict=True))


def core_net(widths, activations, *, loss="squared_error", dtype="float64", layers=(), **more):
    """A `_core.Net`; activations are names or Formulas, layers are dicts of options.

    loss is a name or programs. more: l1, l2, input_dropout, precision.
    """
    formulas = [f.entry() if isinstance(f, Formula) else None for f in activations]
    named = isinstance(loss, str)
    return _core.Net(
        tuple(widths),
        tuple(f if isinstance(f, str) else "identity" for f in activations),
        (0.0,) * len(activations),
        loss if named else "squared_error",
        dtype == "float64",
        more.get("l1", 0.0),
        more.get("l2", 0.0),
        (),
        widths[-1],
        tuple(options_of(**layer) for layer in layers),
        more.get("input_dropout", 0.0),
        None,
        more.get("precision", 0),
        tuple(formulas),
        None if named else tuple(loss),
    )


def blocks(widths, activations, layers=()):
    """[(name, layer, shape), …] of theta, in the order of the engine."""
    found = []
    layers = layers or [{}] * len(activations)
    for i, (f, has) in enumerate(zip(activations, layers, strict=True)):
        n_in, n_out = widths[i], widths[i + 1]
        found.append(("W", i, (n_in, n_out)))
        if not has.get("no_bias"):
            found.append(("b", i, (n_out,)))
        norm = has.get("norm", 0)
        found += [("gain", i, (n_out,))] * (norm > 0) + [("shift", i, (n_out,))] * (norm == 1)
        if isinstance(f, Formula):
            shape = (n_out,) if f.per_unit else (1,)
            found += [(f"c{k}", i, shape) for k in range(len(f.constants))]
    return found


def theta_for(rng, widths, activations, dtype="float64", layers=()):
    """Random parameters that are exact in float32, and views of them by (name, layer)."""
    parts = blocks(widths, activations, layers)
    theta = np.empty(sum(int(np.prod(shape)) for _, _, shape in parts), dtype)
    views, at = {}, 0
    for name, i, shape in parts:
        size = int(np.prod(shape))
        views[name, i] = view = theta[at : at + size].reshape(shape)
        at += size
        if name == "W":
            view[...] = (rng.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)
        elif name == "gain":
            view[...] = rng.uniform(0.5, 1.5, shape).astype(np.float32)
        elif name[0] == "c":
            spread = rng.uniform(0.8, 1.2, shape)
            view[...] = (activations[i].constants[int(name[1])] * spread).astype(np.float32)
        else:
            view[...] = rng.normal(scale=0.3, size=shape).astype(np.float32)
    return theta, views


def views_of(vector, widths, activations, layers=()):
    """Views of a vector like theta, by (name, layer)."""
    found, at = {}, 0
    for name, i, shape in blocks(widths, activations, layers):
        size = int(np.prod(shape))
        found[name, i] = vector[at : at + size].reshape(shape)
        at += size
    return found


# ---- cases and their results in NumPy -----------------------------------------------------

WIDTHS = (7, 40, 33, 3)
STACKS = {
    "no constants": (SINE, "identity", SINE),
    "hidden": (SWISH, MIXED_BY_UNIT, "identity"),
    "output": (MIXED, SWISH_BY_UNIT, MIXED),
    "by unit": (SWISH_BY_UNIT, SWISH, MIXED_BY_UNIT),
}
IDENTITY = Formula(None, lambda z: z, lambda z: (np.ones_like(z),))
NORM_LAYER, NORM_RMS = {"norm": 1, "eps": 1e-3}, {"norm": 2, "eps": 0.1}
RESIDUAL = {"residual": True}
SQUARE = (6, 6, 6, 3)  # widths that allow residual layers
OPTIONS = {
    "layer norm": ({**NORM_LAYER}, {**NORM_RMS, "no_bias": True}, {}),
    "residual": ({**RESIDUAL}, {**RESIDUAL}, {}),
    "all": ({**RESIDUAL, **NORM_LAYER}, {**RESIDUAL, **NORM_RMS}, {"no_bias": True}),
}
ARITHMETIC = (("float64", 0), ("float32", 0), ("float32", 1), ("float32", 2))
BUILTIN = {"silu": SILU, "mish": MISH, "gelu_tanh": GELU_TANH}


def near(computed, exact, bound, what):
    """`within`, also for one bound for all elements."""
    within(computed, exact, np.broadcast_to(bound, np.shape(exact)), what)


def samples(rng, n, widths=WIDTHS, dtype="float64"):
    """X, dense y whose rows add up to 1, and weights, all exact in float32."""
    X = rng.normal(size=(n, widths[0]))
    y = rng.dirichlet(np.ones(widths[-1]), n)
    s = rng.uniform(0.5, 2.0, n)
    return [each.astype(np.float32).astype(dtype) for each in (X, y, s)]


def squared_error(a, y):
    return ((a - y) ** 2).sum(axis=1) / 2, a - y


def numpy_pass(activations, loss, views, X, y, s):
    """Everything that `engine_pass` returns, in float64."""
    formulas = [f if isinstance(f, Formula) else IDENTITY for f in activations]
    found, u = {}, X
    inputs, slopes = [], []
    for i, f in enumerate(formulas):
        inputs.append(u)
        z = u @ views["W", i] + views["b", i]
        c = [views[f"c{k}", i] for k in range(len(f.constants))]
        u = f.value(z, *c)
        slopes.append(f.slopes(z, *c))
        found |= {f"z {i}": z, f"a {i}": u}
    losses, g = loss(u, y)
    S = s.sum()
    found["J"] = found["cost"] = np.array([s @ losses / S])
    found["predict"] = u
    for i in reversed(range(len(formulas))):
        dz, *dc = slopes[i]
        delta = found[f"delta {i}"] = g * dz
        found[f"W {i}"] = inputs[i].T @ (s[:, None] * delta) / S
        found[f"b {i}"] = s @ delta / S
        for k, slope in enumerate(dc):
            by_unit = s @ (g * slope) / S
            found[f"c{k} {i}"] = by_unit if formulas[i].per_unit else by_unit.sum(keepdims=True)
        g = delta @ views["W", i].T
    return found | {"input": g}
