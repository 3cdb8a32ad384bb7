"""Initial weights, drawn in float64 from one seeded Philox stream, one layer after another.

Biases start at 0, except with "torch", which draws them too. The same seed gives the same weights
on every instruction set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import TypeAlias

import numpy as np

from ._checks import arguments as check
from ._checks.names import known_name, split_spec
from ._types import Array
from .activations import Activation

__all__ = ["NAMES", "InitFunction", "Initializer", "draw", "draw_bias", "resolve"]

_ALIASES = {"he": "he_normal", "glorot": "glorot_uniform", "lecun": "lecun_normal"}

InitFunction: TypeAlias = Callable[[int, int, np.random.Generator], Array]
"""An initialiser of your own: a function (n_in, n_out, rng) that returns W (n_in, n_out)."""


def _he_variance(n_in: int, n_out: int) -> float:
    """He et al., "Delving Deep into Rectifiers", 2015 (arXiv:1502.01852), equation 10."""
    return 2 / n_in


def _glorot_variance(n_in: int, n_out: int) -> float:
    """Glorot & Bengio, AISTATS 2010, equation 12."""
    return 2 / (n_in + n_out)


def _lecun_variance(n_in: int, n_out: int) -> float:
    """LeCun et al., "Efficient BackProp", 1998, equation 16."""
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
    "torch",
    *_ALIASES,
)
"""The names of all initialisers."""


@dataclass(frozen=True)
class Initializer:
    """A named initialisation.

    Parameters
    ----------
    name : str
        One of `NAMES`, in any case.
    std : float or None, default None
        Standard deviation of "normal", greater than 0; None means 0.01. Not for other names.

    Raises
    ------
    ValueError
        If the name is unknown, or if std is not positive or not allowed.

    Examples
    --------
    >>> Initializer("normal", 0.05)
    Initializer(name='normal', std=0.05)
    """

    name: str
    std: float | None = None

    def __post_init__(self) -> None:
        name = known_name("init", self.name, NAMES)
        object.__setattr__(self, "name", _ALIASES.get(name, name))
        if self.name == "normal":
            std = 0.01 if self.std is None else check.check_positive(self.std, "std of normal")
            object.__setattr__(self, "std", std)
        elif self.std is not None:
            raise ValueError(f"init {self.name!r} takes no parameter; got {self.std}")

    def __str__(self) -> str:
        return self.name if self.std is None else f"{self.name}({self.std!r})"


def resolve(spec: str | Initializer | InitFunction) -> Initializer | InitFunction:
    """Return the initialisation for a name such as "he" or "normal(0.05)".

    A function init(n_in, n_out, rng) or an Initializer is returned as it is. Raises ValueError,
    listing the known names, for an unknown name.

    >>> str(resolve("glorot"))
    'glorot_uniform'
    """
    if isinstance(spec, Initializer) or (callable(spec) and not isinstance(spec, str)):
        return spec
    return Initializer(*split_spec(spec, "init", NAMES))


def draw(
    init: str | Initializer | InitFunction,
    n_in: int,
    n_out: int,
    rng: np.random.Generator,
    activation: Activation,
) -> Array:
    """Draw the weight matrix of a layer.

    Parameters
    ----------
    init : str, Initializer or callable
        The initialisation. "auto" depends on the activation: he_normal for relu and similar
        functions, lecun_normal for selu, he_uniform for sin, and glorot_uniform for the others.
        "torch" is the default of `torch.nn.Linear`: uniform between ±1/√n_in. A function
        init(n_in, n_out, rng) must return a finite matrix (n_in, n_out).
    n_in : int
        Number of inputs of the layer.
    n_out : int
        Number of units of the layer.
    rng : numpy.random.Generator
        Source of the random numbers.
    activation : Activation
        Activation of the layer.

    Returns
    -------
    array, shape (n_in, n_out), float64
        The weights.

    Raises
    ------
    TypeError, ValueError
        If the name is unknown or the function returns something else.

    Examples
    --------
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
    if init.std is not None:  # "normal"
        return rng.normal(0.0, init.std, shape)
    if name == "orthogonal":
        return _orthogonal(n_in, n_out, rng)
    if name == "torch":
        return _torch(n_in, shape, rng)
    scheme, law = name.split("_")
    variance = _SCALED[scheme](n_in, n_out)
    if law == "normal":
        return rng.normal(0.0, sqrt(variance), shape)
    limit = sqrt(3 * variance)
    return rng.uniform(-limit, limit, shape)


def draw_bias(
    init: str | Initializer | InitFunction, n_in: int, n_out: int, rng: np.random.Generator
) -> Array:
    """Draw the biases of a layer, after its weights.

    They are 0, except with "torch": there they are uniform between ±1/√n_in, as the weights are.
    Only then are random numbers used.

    Parameters
    ----------
    init, n_in, n_out, rng
        As for `draw`.

    Returns
    -------
    array, shape (n_out,), float64
        The biases.

    Raises
    ------
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> rng = np.random.Generator(np.random.Philox(1))
    >>> draw_bias("he", 3, 2, rng)
    array([0., 0.])
    >>> bool(abs(draw_bias("torch", 4, 100, rng)).max() <= 0.5)
    True
    """
    known = resolve(init)
    if isinstance(known, Initializer) and known.name == "torch":
        return _torch(n_in, (n_out,), rng)
    return np.zeros(n_out)


def _torch(n_in: int, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """U(±1/√n_in): `reset_parameters` of `torch.nn.Linear`, kaiming_uniform with a = √5."""
    limit = 1 / sqrt(n_in)
    return rng.uniform(-limit, limit, shape)


def _orthogonal(n_in: int, n_out: int, rng: np.random.Generator) -> Array:
    """A matrix with orthonormal rows or columns, uniform over all such matrices.

    Saxe et al., "Exact solutions to the nonlinear dynamics of learning in deep linear neural
    networks", 2013 (arXiv:1312.6120). Q with the signs of R is uniform: Mezzadri, 2007
    (arXiv:math-ph/0609050), section 5.
    """
    tall = rng.normal(size=(max(n_in, n_out), min(n_in, n_out)))
    Q, R = np.linalg.qr(tall)
    Q = Q * np.where(np.diagonal(R) < 0, -1.0, 1.0)
    return Q if n_in >= n_out else Q.T
