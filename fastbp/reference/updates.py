"""The update rules: theta changed in place by one gradient, as PyTorch defines them."""

from __future__ import annotations

from math import sqrt

import numpy as np

from ..optim import Optimizer

Array = np.ndarray


def sgd(theta: Array, g: Array, moments: list[Array], t: int, lr: float, *_: float) -> None:
    theta -= lr * g


def momentum(
    theta: Array, g: Array, moments: list[Array], t: int, lr: float, mu: float, *_: float
) -> None:
    (m,) = moments
    m[...] = mu * m + g
    theta -= lr * m


def nesterov(
    theta: Array, g: Array, moments: list[Array], t: int, lr: float, mu: float, *_: float
) -> None:
    (m,) = moments
    m[...] = mu * m + g
    theta -= lr * (g + mu * m)


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
    m, v = moments
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g * g
    step = lr / (1 - beta1**t)
    theta -= step * m / (np.sqrt(v) / sqrt(1 - beta2**t) + eps)


# in the order of Optimizer.code
RULES = (sgd, momentum, nesterov, adam)


def update(optimizer: Optimizer, theta: Array, grad: Array) -> None:
    """Take one step: theta and the optimiser's moments change in place, t counts up.

    Raises ValueError when the optimiser holds the state of another theta's size or dtype.

    >>> from fastbp.optim import SGD
    >>> theta = np.array([1.0]); update(SGD(0.5), theta, np.array([1.0])); theta
    array([0.5])
    """
    optimizer.bind(theta.size, theta.dtype)
    optimizer.t += 1
    rule = RULES[optimizer.code]
    rule(theta, grad, optimizer.moments, optimizer.t, *optimizer.hyper())
