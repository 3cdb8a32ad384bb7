"""Initial weights, drawn in float64 from one seeded Philox stream, layer after layer.

He et al. 2015 (arXiv:1502.01852), Glorot & Bengio 2010, LeCun et al. 1998, Saxe et al. 2013
(arXiv:1312.6120). Biases start at 0. The same seed gives the same weights on every ISA.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np

from ._checks import arguments as check
from .activations import Activation

__all__ = ["NAMES", "InitFunction", "Initializer", "draw", "resolve"]

_ALIASES = {"he": "he_normal", "glorot": "glorot_uniform", "lecun": "lecun_normal"}

InitFunction = Callable[[int, int, np.random.Generator], np.ndarray]


def _he_variance(n_in: int, n_out: int) -> float:
    return 2 / n_in


def _glorot_variance(n_in: int, n_out: int) -> float:
    return 2 / (n_in + n_out)


def _lecun_variance(n_in: int, n_out: int) -> float:
    return 1 / n_in


_SCALED = {"he": _he_variance, "glorot": _glorot_variance, "lecun": _lecun_variance}

NAMES: tuple[str, ...] = (
    "auto",
    "he_normal",
    "he_uniform",
    "glorot_uniform",
    "glorot_normal",
    "lecun_normal",
    "lecun_uniform",
    "zeros",
    "normal",
    "orthogonal",
    *_ALIASES,
)


@dataclass(frozen=True)
class Initializer:
    """A named initialisation; `std` is only that of "normal" (None: 0.01).

    Raises ValueError for an unknown name or a std that is not positive.

    >>> Initializer("normal", 0.05)
    Initializer(name='normal', std=0.05)
    """

    name: str
    std: float | None = None

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise check.unknown_name("init", self.name, NAMES)
        object.__setattr__(self, "name", _ALIASES.get(self.name, self.name))
        if self.name == "normal":
            std = 0.01 if self.std is None else check.check_positive(self.std, "std of normal")
            object.__setattr__(self, "std", std)
        elif self.std is not None:
            raise ValueError(f"init {self.name!r} takes no parameter; got {self.std}")

    def __str__(self) -> str:
        return self.name if self.std is None else f"{self.name}({self.std!r})"


def resolve(spec: str | Initializer | InitFunction) -> Initializer | InitFunction:
    """The initialisation meant by "he", "normal(0.05)", or init(n_in, n_out, rng) itself.

    Raises ValueError, listing the known names, for an unknown one.

    >>> str(resolve("glorot"))
    'glorot_uniform'
    """
    if isinstance(spec, Initializer) or (callable(spec) and not isinstance(spec, str)):
        return spec
    return Initializer(*check.split_spec(spec, "init", NAMES))


def draw(
    init: str | Initializer | InitFunction,
    n_in: int,
    n_out: int,
    rng: np.random.Generator,
    activation: Activation,
) -> np.ndarray:
    """One weight matrix (n_in, n_out), float64, for a layer with this activation.

    "auto" is he_normal for the relu family, lecun_normal for selu, he_uniform for sin,
    glorot_uniform for the rest. A callable must
    return a finite (n_in, n_out); TypeError or ValueError otherwise.

    >>> rng = np.random.Generator(np.random.Philox(1))
    >>> draw("he_uniform", 3, 2, rng, Activation("relu")).shape
    (3, 2)
    """
    init = resolve(init)
    shape = (n_in, n_out)
    if not isinstance(init, Initializer):
        W = check.as_parameters(init(n_in, n_out, rng), shape, np.dtype(float), "the array of init")
        check.check_finite(W, "the array of init")
        return W
    name = init.name
    if name == "auto":
        name = activation.entry.init
    if name == "zeros":
        return np.zeros(shape)
    if name == "normal":
        return rng.normal(0.0, init.std, shape)
    if name == "orthogonal":
        return _orthogonal(n_in, n_out, rng)
    scheme, law = name.split("_")
    variance = _SCALED[scheme](n_in, n_out)
    if law == "normal":
        return rng.normal(0.0, sqrt(variance), shape)
    limit = sqrt(3 * variance)
    return rng.uniform(-limit, limit, shape)


def _orthogonal(n_in: int, n_out: int, rng: np.random.Generator) -> np.ndarray:
    """Orthonormal rows or columns, whichever are fewer, uniform over all such matrices."""
    tall = rng.normal(size=(max(n_in, n_out), min(n_in, n_out)))
    Q, R = np.linalg.qr(tall)
    Q = Q * np.where(np.diagonal(R) < 0, -1.0, 1.0)
    return Q if n_in >= n_out else Q.T
