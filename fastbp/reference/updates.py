"""The update rules: theta changed in place by one gradient, as PyTorch defines them.

A rule takes theta and the final gradient g, (n,) both, its moments, t >= 1 and the numbers of
`Optimizer.hyper`. What the options of all optimisers do stands in `update`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod, sqrt

import numpy as np

from ..optim import Optimizer

Array = np.ndarray
Blocks = Sequence[Sequence[slice]]  # by layer the parts of theta that are one array each: W and b


def sgd(theta: Array, g: Array, moments: list[Array], t: int, lr: float, momentum: float) -> None:
    theta -= lr * g


def momentum(
    theta: Array,
    g: Array,
    moments: list[Array],
    t: int,
    lr: float,
    momentum: float,
    dampening: float,
) -> None:
    m = moments[0]
    m[...] = momentum * m + (g if t == 1 else (1 - dampening) * g)
    theta -= lr * m


def nesterov(
    theta: Array, g: Array, moments: list[Array], t: int, lr: float, momentum: float
) -> None:
    m = moments[0]
    m[...] = momentum * m + g
    theta -= lr * (g + momentum * m)


def _means(moments: list[Array], g: Array, beta1: float, beta2: float) -> tuple[Array, Array]:
    """The running means of g and g², brought up to date."""
    m, v = moments[:2]
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g * g
    return m, v


def adam(
    theta: Array,
    g: Array,
    moments: list[Array],
    t: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
) -> None:
    m, v = _means(moments, g, beta1, beta2)
    theta -= lr / (1 - beta1**t) * m / (np.sqrt(v) / sqrt(1 - beta2**t) + eps)


def amsgrad(
    theta: Array,
    g: Array,
    moments: list[Array],
    t: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
) -> None:
    m, v = _means(moments, g, beta1, beta2)
    largest = moments[2]
    largest[...] = np.maximum(largest, v)
    theta -= lr / (1 - beta1**t) * m / (np.sqrt(largest) / sqrt(1 - beta2**t) + eps)


def radam(
    theta: Array,
    g: Array,
    moments: list[Array],
    t: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
) -> None:
    m, v = _means(moments, g, beta1, beta2)
    corrected = m / (1 - beta1**t)
    most = 2 / (1 - beta2) - 1
    length = most - 2 * t * beta2**t / (1 - beta2**t)
    if length <= 5:
        theta -= lr * corrected
        return
    rectified = (length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length)
    theta -= lr * corrected * sqrt(rectified) * sqrt(1 - beta2**t) / (np.sqrt(v) + eps)


def nadam(
    theta: Array,
    g: Array,
    moments: list[Array],
    t: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    momentum_decay: float,
) -> None:
    m, v = _means(moments, g, beta1, beta2)
    mu = [beta1 * (1 - 0.5 * 0.96 ** (i * momentum_decay)) for i in range(1, t + 2)]
    now = (1 - mu[-2]) / (1 - prod(mu[:-1])) * g
    ahead = mu[-1] / (1 - prod(mu)) * m
    theta -= lr * (now + ahead) / (np.sqrt(v / (1 - beta2**t)) + eps)


def adamax(
    theta: Array,
    g: Array,
    moments: list[Array],
    t: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
) -> None:
    m, u = moments
    m[...] = beta1 * m + (1 - beta1) * g
    u[...] = np.maximum(beta2 * u, abs(g) + eps)
    theta -= lr / (1 - beta1**t) * m / u


def adagrad(
    theta: Array, g: Array, moments: list[Array], t: int, lr: float, lr_decay: float, eps: float
) -> None:
    v = moments[0]
    v[...] += g * g
    theta -= lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(v) + eps)


def adadelta(
    theta: Array, g: Array, moments: list[Array], t: int, lr: float, beta2: float, eps: float
) -> None:
    v, w = moments
    v[...] = beta2 * v + (1 - beta2) * g * g
    step = np.sqrt(w + eps) / np.sqrt(v + eps) * g
    w[...] = beta2 * w + (1 - beta2) * step * step
    theta -= lr * step


def _rmsprop(centered: bool, with_momentum: bool) -> Callable[..., None]:
    def rule(
        theta: Array,
        g: Array,
        moments: list[Array],
        t: int,
        lr: float,
        beta2: float,
        eps: float,
        momentum: float = 0.0,
    ) -> None:
        v = variance = moments[0]
        v[...] = beta2 * v + (1 - beta2) * g * g
        if centered:
            mean = moments[1]
            mean[...] = beta2 * mean + (1 - beta2) * g
            variance = np.maximum(v - mean * mean, 0)
        step = g / (np.sqrt(variance) + eps)
        if with_momentum:
            m = moments[1 + centered]
            m[...] = step = momentum * m + step
        theta -= lr * step

    return rule


def lion(
    theta: Array, g: Array, moments: list[Array], t: int, lr: float, beta1: float, beta2: float
) -> None:
    m = moments[0]
    theta -= lr * np.sign(beta1 * m + (1 - beta1) * g)
    m[...] = beta2 * m + (1 - beta2) * g


def rprop(
    theta: Array,
    g: Array,
    moments: list[Array],
    t: int,
    lr: float,
    shrink: float,
    grow: float,
    least: float,
    most: float,
) -> None:
    last, step = moments
    turn = last * g
    factor = np.where(turn > 0, grow, np.where(turn < 0, shrink, np.where(turn == 0, 1, turn)))
    step[...] = np.clip(step * factor, least, most)
    last[...] = np.where(turn < 0, 0, g)
    theta -= np.sign(last) * step


# in the order of Optimizer.code
RULES = (
    *(sgd, momentum, nesterov, adam, amsgrad, radam, nadam, adamax, adagrad, adadelta),
    *(_rmsprop(centered, momentum) for centered in (False, True) for momentum in (False, True)),
    *(lion, rprop),
)


def _clip(optimizer: Optimizer, grad: Array, blocks: Blocks) -> Array:
    """The gradient within clip_value, clip_norm or clip_global_norm."""
    if optimizer.clip_value is not None:
        return np.clip(grad, -optimizer.clip_value, optimizer.clip_value)
    if optimizer.clip_global_norm is not None:
        return grad * _factor(optimizer.clip_global_norm, grad)
    if optimizer.clip_norm is None:
        return grad
    clipped = np.empty_like(grad)
    for part in (part for layer in blocks for part in layer):
        clipped[part] = grad[part] * _factor(optimizer.clip_norm, grad[part])
    return clipped


def _factor(limit: float, g: Array) -> float:
    return min(limit / (float(np.linalg.norm(g)) + 1e-6), 1.0)


def update(
    optimizer: Optimizer, theta: Array, grad: Array, blocks: Blocks = ((slice(None),),)
) -> None:
    """Take one step: theta and the optimiser's moments change in place, t counts up.

    blocks: the parts of theta, layer by layer, for clip_norm and lr_factors. Raises ValueError when
    the optimiser holds the state of another theta's size or dtype, and for lr_factors that are not
    one a layer.

    >>> from fastbp.optim import SGD
    >>> theta = np.array([1.0]); update(SGD(0.5), theta, np.array([1.0])); theta
    array([0.5])
    """
    optimizer.bind(theta.size, theta.dtype, len(blocks))
    optimizer.t += 1
    g = _clip(optimizer, grad, blocks)
    g = -g if optimizer.maximize else g
    if optimizer.weight_decay != 0 and not optimizer.decoupled_weight_decay:
        g = g + optimizer.weight_decay * theta
    factors = optimizer.lr_factors or (1.0,) * len(blocks)
    for layer, factor in zip(blocks, factors, strict=True):
        part = slice(layer[0].start, layer[-1].stop)
        hyper = optimizer.hyper()
        hyper["lr"] *= factor
        if optimizer.weight_decay != 0 and optimizer.decoupled_weight_decay:
            theta[part] *= 1 - hyper["lr"] * optimizer.weight_decay
        moments = [moment[part] for moment in optimizer.moments]
        RULES[optimizer.code](theta[part], g[part], moments, optimizer.t, **hyper)
    if optimizer.average is not None:
        first = optimizer.t == optimizer.average_start + 1
        weight = 1.0 if first else 1 - optimizer.ema
        optimizer.average += weight * (theta - optimizer.average)
