"""The update rules, with the definitions of PyTorch. A rule changes theta in place.

Its arguments are theta (n,), the final gradient g (n,), its moments, the step number t >= 1, and
the hyper-parameters h from `Optimizer.hyper`. `RULES` has the rules by name. `update` implements
the options that all optimisers share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod, sqrt
from types import SimpleNamespace as Hyper

import numpy as np

from .._network.embedding import VECTORS
from .._types import Array
from ..optim import Optimizer
from ..optim._factors import CONSTANTS, GROUPS

Rule = Callable[[Array, Array, list[Array], int, Hyper], None]
Blocks = Sequence[Mapping[str, slice]]  # per layer, the parts of theta: "W", "b", …


RULES: dict[str, Rule] = {}


def _rule(function: Rule) -> Rule:
    """Add a function to RULES under its name."""
    RULES[function.__name__] = function
    return function


@_rule
def sgd(theta: Array, g: Array, moments: list[Array], t: int, h: Hyper) -> None:
    """Gradient descent."""
    theta -= h.lr * g


@_rule
def momentum(theta: Array, g: Array, moments: list[Array], t: int, h: Hyper) -> None:
    """Momentum: Polyak, 1964; with dampening as in PyTorch."""
    m = moments[0]
    m[...] = h.momentum * m + (g if t == 1 else (1 - h.dampening) * g)
    theta -= h.lr * m


@_rule
def nesterov(theta: Array, g: Array, moments: list[Array], t: int, h: Hyper) -> None:
    """Nesterov's momentum in the form of Sutskever et al., ICML 2013, as in PyTorch."""
    m = moments[0]
    m[...] = h.momentum * m + g
    theta -= h.lr * (g + h.momentum * m)


def _means(moments: list[Array], g: Array, h: Hyper) -> tuple[Array, Array]:
    """Update and return the running means of g and g²."""
    m, v = moments[:2]
    m[...] = h.beta1 * m + (1 - h.beta1) * g
    v[...] = h.beta2 * v + (1 - h.beta2) * g * g
    return m, v


@_rule
def adam(theta: Array, g: Array, moments: list[Array], t: int, h: Hyper) -> None:
    """Kingma & Ba, 2014 (arXiv:1412.6980), algorithm 1."""
    m, v = _means(moments, g, h)
    theta -= h.lr / (1 - h.beta1**t) * m / (np.sqrt(v) / sqrt(1 - h.beta2**t) + h.eps)


@_rule
def amsgrad(theta: Array, g: Array, moments: list[Array], t: int, h: Hyper) -> None:
    """Reddi, Kale & Kumar, 2018 (arXiv:1904.09237), with the bias corrections of PyTorch."""
    m, v = _means(moments, g, h)
    largest = moments[2]
    largest[...] = np.maximum(largest, v)
    theta -= h.lr / (1 - h.beta1**t) * m / (np.sqrt(largest) / sqrt(1 - h.beta2**t) + h.eps)


@_rule
def radam(theta: Array, g: Array, moments: list[Array], t: int, h: Hyper) -> None:
    """Liu et al., 2020 (arXiv:1908.03265), algorithm 2."""
    m, v = _means(moments, g, h)
    corrected = m / (1 - h.beta1**t)
    rest = 1 - h.beta2**t
    rho_inf = 2 / (1 - h.beta2) - 1
    rho = rho_inf - 2 * t * h.beta2**t / rest
    if rho <= 5:
        theta -= h.lr * corrected
        return
    rectified = (rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho)
    theta -= h.lr * corrected * sqrt(rectified) * sqrt(rest) / (np.sqrt(v) + h.eps)


@_rule
def nadam(theta: Array, g: Array, moments: list[Array], t: int, h: Hyper) -> None:
    """Dozat, ICLR workshop 2016."""
    m, v = _means(moments, g, h)
    mu = [h.beta1 * (1 - 0.5 * 0.96 ** (i * h.momentum_decay)) for i in range(1, t + 2)]
    now = (1 - mu[-2]) / (1 - prod(mu[:-1])) * g
    ahead = mu[-1] / (1 - prod(mu)) * m
    theta -= h.lr * (now + ahead) / (np.sqrt(v / (1 - h.beta2**t)) + h.eps)


@_rule
def adamax(theta: Array, g: Array, moments: list[Array], t: int, h: Hyper) -> None:
    """Kingma & Ba, 2014 (arXiv:1412.6980), algorithm 2."""
    m, u = moments
    m[...] = h.beta1 * m + (1 - h.beta1) * g
    u[...] = np.maximum(h.beta2 * u, abs(g) + h.eps)
    theta -= h.lr / (1 - h.beta1**t) * m / u


@_rule
def adagrad(theta: Array, g: Array, moments: list[Array], t: int, h: Hyper) -> None:
    """Duchi, Hazan & Singer, JMLR 12, 2011."""
    v = moments[0]
    v[...] += g * g
    theta -= h.lr / (1 + (t - 1) * h.lr_decay) * g / (np.sqrt(v) + h.eps)


@_rule
def adadelta(theta: Array, g: Array, moments: list[Array], t: int, h: Hyper) -> None:
    """Zeiler, 2012 (arXiv:1212.5701), algorithm 1."""
    v, w = moments
    v[...] = h.beta2 * v + (1 - h.beta2) * g * g
    step = np.sqrt(w + h.eps) / np.sqrt(v + h.eps) * g
    w[...] = h.beta2 * w + (1 - h.beta2) * step * step
    theta -= h.lr * step


def _rmsprop(centered: bool, with_momentum: bool) -> Rule:
    """Tieleman & Hinton, Coursera lecture 6.5, 2012; centered: Graves, 2013 (arXiv:1308.0850)."""

    def rule(theta: Array, g: Array, moments: list[Array], t: int, h: Hyper) -> None:
        v = variance = moments[0]
        v[...] = h.beta2 * v + (1 - h.beta2) * g * g
        if centered:
            mean = moments[1]
            mean[...] = h.beta2 * mean + (1 - h.beta2) * g
            variance = np.maximum(v - mean * mean, 0)
        step = g / (np.sqrt(variance) + h.eps)
        if with_momentum:
            m = moments[1 + centered]
            m[...] = step = h.momentum * m + step
        theta -= h.lr * step

    return rule


RULES |= {
    "rmsprop": _rmsprop(False, False),
    "rmsprop_momentum": _rmsprop(False, True),
    "rmsprop_centered": _rmsprop(True, False),
    "rmsprop_centered_momentum": _rmsprop(True, True),
}


@_rule
def lion(theta: Array, g: Array, moments: list[Array], t: int, h: Hyper) -> None:
    """Chen et al., 2023 (arXiv:2302.06675)."""
    m = moments[0]
    theta -= h.lr * np.sign(h.beta1 * m + (1 - h.beta1) * g)
    m[...] = h.beta2 * m + (1 - h.beta2) * g


@_rule
def rprop(theta: Array, g: Array, moments: list[Array], t: int, h: Hyper) -> None:
    """Riedmiller & Braun, 1993, as in PyTorch."""
    last, step = moments
    turn = np.sign(last) * np.sign(g)  # a product of gradients may underflow to 0
    same = np.where(turn == 0, 1, turn)  # NaN stays
    factor = np.where(turn > 0, h.grow, np.where(turn < 0, h.shrink, same))
    step[...] = np.clip(step * factor, h.least, h.most)
    last[...] = np.where(turn < 0, 0, g)
    theta -= np.sign(last) * step


def _free(theta: Array, step: Array, moments: list[Array], t: int, h: Hyper) -> None:
    """From y = theta along z − step: Defazio et al., 2024 (arXiv:2405.15682), equations 8 to 10."""
    z, x = moments[:2]
    weights = [min(1.0, i / h.warmup) ** 2 if h.warmup > 0 else 1.0 for i in range(1, t + 1)]
    z -= step
    x += weights[-1] / sum(weights) * (z - x)
    theta[...] = (1 - h.beta1) * z + h.beta1 * x


def _warm(t: int, h: Hyper) -> float:
    return min(1.0, t / h.warmup) if h.warmup > 0 else 1.0


@_rule
def free_sgd(theta: Array, g: Array, moments: list[Array], t: int, h: Hyper) -> None:
    """SGD without a schedule."""
    _free(theta, _warm(t, h) * h.lr * g, moments, t, h)


@_rule
def free_adam(theta: Array, g: Array, moments: list[Array], t: int, h: Hyper) -> None:
    """AdamW without a schedule; the decay is that of y."""
    v = moments[2]
    v[...] = h.beta2 * v + (1 - h.beta2) * g * g
    d = h.lr * g / (np.sqrt(v) / sqrt(1 - h.beta2**t) + h.eps)
    _free(theta, _warm(t, h) * (d + h.pull * theta), moments, t, h)


def _muon(nesterov: bool) -> Rule:
    """Jordan et al., 2024 (kellerjordan.github.io/posts/muon); AdamW for all but W."""

    def rule(theta: Array, g: Array, moments: list[Array], t: int, h: Hyper) -> None:
        if h.shape is None:
            adam(theta, g, moments, t, h)
            return
        n_in, n_out = h.shape
        m = moments[0]
        m += (1 - h.momentum) * (g - m)
        X = (g + h.momentum * (m - g) if nesterov else m).reshape(n_in, n_out)
        X = X / max(np.sqrt((X.astype(np.float64) ** 2).sum()), 1e-7)
        for _ in range(int(h.iterations)):
            A = X @ X.T if n_in <= n_out else X.T @ X
            P = h.cubic * A + h.quintic * (A @ A)
            X = h.linear * X + (P @ X if n_in <= n_out else X @ P)
        scale = h.rms * sqrt(max(h.shape)) if h.rms > 0 else sqrt(max(1, n_out / n_in))
        theta -= h.lr * scale * X.ravel()

    return rule


RULES |= {"muon": _muon(False), "muon_nesterov": _muon(True)}


@contextmanager
def stepping(optimizer: Optimizer, theta: Array, trained: Sequence[slice]) -> Iterator[None]:
    """In its block, theta is y of a schedule-free rule, in the parts that are trained."""
    if not optimizer.extrapolates:
        yield
        return
    z, other = optimizer.moments[:2]
    if optimizer.t == 0:
        z[...] = other[...] = theta

    def exchange() -> None:
        for part in trained:
            theta[part], other[part] = other[part].copy(), theta[part].copy()

    exchange()
    try:
        yield
    finally:
        exchange()


def _clip(optimizer: Optimizer, grad: Array, blocks: Blocks) -> Array:
    """The gradient, limited by clip_value, clip_norm or clip_global_norm."""
    if optimizer.clip_value is not None:
        return np.clip(grad, -optimizer.clip_value, optimizer.clip_value)
    if optimizer.clip_global_norm is not None:
        return grad * _factor(optimizer.clip_global_norm, grad)
    if optimizer.clip_norm is None:
        return grad
    clipped = np.empty_like(grad)
    for part in (part for layer in blocks for part in layer.values()):
        clipped[part] = grad[part] * _factor(optimizer.clip_norm, grad[part])
    return clipped


def _factor(limit: float, g: Array) -> float:
    return min(limit / (float(np.linalg.norm(g)) + 1e-6), 1.0)


def _still(grad: Array, rows: Sequence[int] | Array) -> Array:
    """Which elements a step leaves as they are: of `rows` whose gradient is 0."""
    if not len(rows):
        return np.zeros(grad.shape, bool)
    sizes = np.diff(rows, append=len(grad))
    return np.repeat(~np.logical_or.reduceat(grad != 0, rows), sizes)


def update(
    optimizer: Optimizer,
    theta: Array,
    grad: Array,
    blocks: Blocks = ({"W": slice(None)},),
    widths: Sequence[int] = (1, 1),
    rows: Sequence[int] | Array = (),
) -> None:
    """Take one step: change theta and the optimiser's moments in place, and increase t by 1.

    Parameters
    ----------
    optimizer : Optimizer
        The update rule with its state.
    theta : array, shape (n,)
        Parameters.
    grad : array, shape (n,)
        Gradient of J.
    blocks : sequence of mappings of slice
        The parts of theta by name, per layer, for clip_norm and for factors of lr and weight_decay.
        The default is one part.
    widths : sequence of int, default (1, 1)
        The units of every layer, for fan_in_scaling; first the inputs, or what an embedding makes
        of them.
    rows : sequence of int, default ()
        Where each row begins in the part "vectors", the tables of categories: rows whose gradient
        is 0 stay as they are.

    Raises
    ------
    ValueError
        If the optimiser's state has another size or dtype, or the number of lr_factors is not the
        number of layers.

    Examples
    --------
    >>> from fastbp.optim import SGD
    >>> theta = np.array([1.0]); update(SGD(0.5), theta, np.array([1.0])); theta
    array([0.5])
    """
    optimizer.bind(theta.size, theta.dtype, len(blocks))
    optimizer.t += 1
    g = _clip(optimizer, grad, blocks)
    g = -g if optimizer.maximize else g
    factors = optimizer.factors(tuple(widths))
    groups = {name: i for i, names in enumerate(GROUPS.values()) for name in names}
    parts = [(l, name, part) for l, layer in enumerate(blocks) for name, part in layer.items()]
    for l, name, part in parts:
        lr, decay = (1.0, 1.0) if factors is None else factors[:, l, groups.get(name, CONSTANTS)]
        decay *= optimizer.weight_decay
        still = _still(grad[part], rows if name == VECTORS else ())
        before = [(twin, twin[part][still]) for twin in (theta, *optimizer.moments)]
        hyper = Hyper(**optimizer.hyper(), pull=0.0)
        hyper.shape = (theta[part].size // widths[l + 1], widths[l + 1]) if name == "W" else None
        own = g[part]
        if optimizer.decoupled_weight_decay and optimizer.extrapolates:
            hyper.pull = hyper.lr * decay
        elif optimizer.decoupled_weight_decay:
            theta[part] *= 1 - hyper.lr * decay
        else:
            own = own + decay * theta[part]
        hyper.lr *= lr
        moments = [moment[part] for moment in optimizer.moments]
        RULES[optimizer.rule](theta[part], own, moments, optimizer.t, hyper)
        for twin, kept in before:
            twin[part][still] = kept
    if optimizer.average is not None:
        first = optimizer.t == optimizer.average_start + 1
        weight = 1.0 if first or optimizer.ema is None else 1 - optimizer.ema
        optimizer.average += weight * (theta - optimizer.average)
