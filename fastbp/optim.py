"""Optimisers: hyper-parameters and state. The arithmetic is the engine's (or the reference's).

Update rules are PyTorch's definitions, so that whole trajectories can be compared. With
gradient g of the flat parameters theta, t counting from 1:

    SGD       theta -= lr g
    momentum  m = mu m + g;                  theta -= lr m
    Nesterov  m = mu m + g;                  theta -= lr (g + mu m)
    Adam      m = b1 m + (1-b1) g;           v = b2 v + (1-b2) g²
              theta -= lr/(1-b1^t) · m / (sqrt(v)/sqrt(1-b2^t) + eps)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from . import _validation as check


class _Hyper:
    """A hyper-parameter: an attribute that is checked whenever it is set."""

    def __init__(self, test: Callable[[object, str], float]) -> None:
        self.test = test

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type | None = None):
        return self if instance is None else instance.__dict__[self.name]

    def __set__(self, instance: object, value: object) -> None:
        instance.__dict__[self.name] = self.test(value, self.name)


class Optimizer(ABC):
    """What all optimisers share: the step count `t` and the `moments`, twins of theta.

    State is made on first use with a network and kept from call to call; `reset` drops it.
    Hyper-parameters are attributes and may be changed between calls.
    """

    lr = _Hyper(check.check_positive)

    t: int
    moments: list[np.ndarray]

    def __init__(self) -> None:
        self.reset()

    @property
    @abstractmethod
    def code(self) -> int:
        """The number of the update rule in the C enum: sgd 0, momentum 1, nesterov 2, adam 3."""

    @property
    @abstractmethod
    def n_moments(self) -> int:
        """How many twins of theta the update rule keeps."""

    @abstractmethod
    def hyper(self) -> tuple[float, float, float, float]:
        """(lr, momentum or beta1, beta2, eps), 0.0 where the rule has none."""

    def reset(self) -> None:
        """Forget the state: no steps taken, no moments, bound to no network.

        >>> SGD(0.1).t
        0
        """
        self.t = 0
        self.moments = []
        self._bound: tuple[int, np.dtype] | None = None

    def bind(self, n_params: int, dtype: np.dtype) -> None:
        """Allocate the moments, zeros of the size and dtype of theta, unless they are there.

        Raises ValueError when the state belongs to a theta of another size or dtype.

        >>> adam = Adam(); adam.bind(5, np.dtype("float32")); len(adam.moments)
        2
        """
        if self._bound == (n_params, dtype) and len(self.moments) == self.n_moments:
            return
        wanted = (n_params, np.dtype(dtype))
        if self._bound not in (None, wanted):
            raise ValueError(
                f"this {type(self).__name__} holds the state of {self._bound[0]} parameters of "
                f"{self._bound[1]}; the network has {n_params} of {wanted[1]}: "
                "use another optimiser, or reset() this one"
            )
        self._bound = wanted
        while len(self.moments) < self.n_moments:
            self.moments.append(np.zeros(n_params, dtype))


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and Nesterov's variant of it (as PyTorch has).

    lr > 0; 0 <= momentum < 1; nesterov needs momentum > 0. Raises ValueError otherwise.

    >>> SGD(0.1, momentum=0.9)
    SGD(lr=0.1, momentum=0.9, nesterov=False)
    """

    momentum = _Hyper(check.check_fraction)

    def __init__(self, lr: float = 0.01, momentum: float = 0.0, nesterov: bool = False) -> None:
        super().__init__()
        self.lr = lr
        self.momentum = momentum
        self.nesterov = bool(nesterov)
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum greater than 0, such as 0.9")

    @property
    def code(self) -> int:
        if self.momentum == 0:
            return 0
        return 2 if self.nesterov else 1

    @property
    def n_moments(self) -> int:
        return 0 if self.momentum == 0 else 1

    def hyper(self) -> tuple[float, float, float, float]:
        return (self.lr, self.momentum, 0.0, 0.0)

    def __repr__(self) -> str:
        return f"SGD(lr={self.lr}, momentum={self.momentum}, nesterov={self.nesterov})"


class Adam(Optimizer):
    """Adam, Kingma & Ba 2014 (arXiv:1412.6980), with bias corrections, as PyTorch has it.

    lr > 0; betas two numbers in [0, 1); eps > 0, added outside the square root. Raises
    ValueError otherwise.

    >>> Adam(0.01)
    Adam(lr=0.01, betas=(0.9, 0.999), eps=1e-08)
    """

    eps = _Hyper(check.check_positive)

    def __init__(
        self,
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__()
        self.lr = lr
        self.betas = betas
        self.eps = eps

    @property
    def betas(self) -> tuple[float, float]:
        """Decay of the running mean of g, and of g²."""
        return self._betas

    @betas.setter
    def betas(self, value: tuple[float, float]) -> None:
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            raise TypeError(f"betas must be two numbers such as (0.9, 0.999); got {value!r}")
        self._betas = tuple(check.check_fraction(b, f"betas[{i}]") for i, b in enumerate(value))

    @property
    def code(self) -> int:
        return 3

    @property
    def n_moments(self) -> int:
        return 2

    def hyper(self) -> tuple[float, float, float, float]:
        return (self.lr, *self.betas, self.eps)

    def __repr__(self) -> str:
        return f"Adam(lr={self.lr}, betas={self.betas}, eps={self.eps})"


_BY_NAME: dict[str, type[Optimizer]] = {"sgd": SGD, "adam": Adam}

NAMES: tuple[str, ...] = tuple(_BY_NAME)


def resolve(spec: str | Optimizer) -> Optimizer:
    """A new optimiser with default hyper-parameters for a name, or the Optimizer given.

    Raises ValueError, listing the known names, for an unknown one.

    >>> resolve("adam")
    Adam(lr=0.001, betas=(0.9, 0.999), eps=1e-08)
    """
    if isinstance(spec, Optimizer):
        return spec
    if not isinstance(spec, str):
        got = type(spec).__name__
        if isinstance(spec, type):
            got = f"the class {spec.__name__}: write {spec.__name__}()"
        raise TypeError(f"optimizer must be a name or an Optimizer object; got {got}")
    if spec not in _BY_NAME:
        raise check.unknown_name("optimizer", spec, NAMES)
    return _BY_NAME[spec]()
