"""Rules that step along the gradient or its sign: SGD, Lion, Rprop."""

from __future__ import annotations

from .._checks.arguments import check_fraction, check_nonnegative, check_positive
from ._base import Optimizer
from ._hyper import flag, fractions, hyper, learning_rate, two_numbers


class SGD(Optimizer):
    """Stochastic gradient descent, optionally with momentum, as in PyTorch.

        g += weight_decay θ
        plain       θ -= lr g
        momentum    m = μ m + (1 − dampening) g, in the first step m = g;   θ -= lr m
        Nesterov    m = μ m + g;   θ -= lr (g + μ m)
    >>> SGD(0.1, momentum=0.9)
    SGD(lr=0.1, momentum=0.9, nesterov=False)
    """

    lr: float = learning_rate(default=0.01)
    momentum: float = hyper(
        default=0.0,
        test=check_fraction,
        doc="μ: momentum, in [0, 1).",
        engine="momentum",
        shown=True,
    )
    nesterov: bool = hyper(
        default=False,
        test=flag,
        doc="Whether to use Nesterov's momentum, which needs momentum > 0 and no dampening.",
        shown=True,
    )
    dampening: float = hyper(
        default=0.0,
        test=check_fraction,
        doc="Share of the gradient that does not enter the momentum, in [0, 1).",
        engine="dampening",
        kw_only=True,
    )
    weight_decay: float = hyper(
        default=0.0,
        test=check_nonnegative,
        doc="Weight decay of all parameters, at least 0.",
        kw_only=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum greater than 0, such as 0.9")
        if self.nesterov and self.dampening != 0:
            raise ValueError(f"nesterov needs dampening 0; got {self.dampening}")

    fan_in_power = 1.0

    @property
    def rule(self) -> str:
        if self.momentum == 0:
            return "sgd"
        return "nesterov" if self.nesterov else "momentum"

    @property
    def n_moments(self) -> int:
        return 0 if self.momentum == 0 else 1


class Lion(Optimizer):
    """Lion: every parameter moves by the same distance, along the sign of a mean gradient.

        θ *= 1 − lr weight_decay;   θ -= lr sign(b1 m + (1−b1) g);   m = b2 m + (1−b2) g

    Rule and defaults are those of the paper, because PyTorch has no Lion. Source: Chen et al. 2023
    (arXiv:2302.06675).

    >>> Lion(0.001)
    Lion(lr=0.001, betas=(0.9, 0.99))
    """

    rule = "lion"
    n_moments = 1
    decoupled_weight_decay = True

    lr: float = hyper(
        default=0.0001,
        test=check_positive,
        doc="Learning rate, greater than 0; it should be 3 to 10 times smaller than Adam's.",
        engine="lr",
        shown=True,
    )
    betas: tuple[float, float] = hyper(
        default=(0.9, 0.99),
        test=fractions,
        doc="(b1, b2): weight of m in the step, and decay rate of m, both in [0, 1).",
        engine="beta1 beta2",
        shown=True,
    )
    weight_decay: float = hyper(
        default=0.0,
        test=check_nonnegative,
        doc="Decoupled weight decay of all parameters, at least 0.",
        kw_only=True,
    )


def _shrink_and_grow(value: object, name: str) -> tuple[float, float]:
    shrink, grow = two_numbers(value, name, "(0.5, 1.2)", check_positive)
    if not shrink < 1 < grow:
        raise ValueError(f"{name} must be one number below 1 and one above 1; got {value!r}")
    return shrink, grow


def _limits(value: object, name: str) -> tuple[float, float]:
    least, most = two_numbers(value, name, "(1e-6, 50)", check_positive)
    if least > most:
        raise ValueError(f"{name} must be (least, most) with least <= most; got {value!r}")
    return least, most


class Rprop(Optimizer):
    """Rprop: every parameter has its own step size, as in PyTorch.

        s *= η+ where g·p > 0, s *= η− where g·p < 0, clipped to step_sizes
        g = 0 where g·p < 0;   θ -= sign(g) s;   p = g

    p is the last g. The step sizes s start at lr, which is not used again. Signs are reliable only
    for gradients of the whole data set, so `fit` makes one batch of all rows and ignores
    batch_size. There are no factors of rate and decay, because they would have no effect. Source:
    Riedmiller & Braun, ICNN 1993.

    >>> Rprop()
    Rprop(lr=0.01, etas=(0.5, 1.2), step_sizes=(1e-06, 50.0))
    """

    rule = "rprop"
    n_moments = 2
    full_batch = True
    lr_factors = decay_factors = None
    fan_in_scaling = False

    lr: float = hyper(
        default=0.01,
        test=check_positive,
        doc="Initial step size, greater than 0.",
        engine="lr",
        shown=True,
    )
    etas: tuple[float, float] = hyper(
        default=(0.5, 1.2),
        test=_shrink_and_grow,
        doc="(η−, η+): factors that shrink and grow the step size, 0 < η− < 1 < η+.",
        engine="shrink grow",
        shown=True,
    )
    step_sizes: tuple[float, float] = hyper(
        default=(1e-6, 50.0),
        test=_limits,
        doc="(least, most): limits of the step size, both greater than 0.",
        engine="least most",
        shown=True,
    )

    def _first_value(self, moment: int) -> float:
        return self.lr if moment == 1 else 0.0
