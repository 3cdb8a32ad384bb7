"""Rules that divide the step by the size of past gradients: Adagrad, Adadelta, RMSprop."""

from __future__ import annotations

from .._checks.arguments import check_fraction, check_nonnegative, check_positive
from ._base import Optimizer
from ._hyper import flag, hyper, learning_rate


class Adagrad(Optimizer):
    """Adagrad, as in PyTorch.

        g += weight_decay θ;   v += g²
        θ -= lr/(1 + (t−1) lr_decay) · g / (sqrt(v) + eps)

    Source: Duchi, Hazan & Singer, JMLR 12, 2011.

    >>> Adagrad(0.1)
    Adagrad(lr=0.1, lr_decay=0.0, eps=1e-10)
    """

    rule = "adagrad"
    n_moments = 1

    lr: float = learning_rate(default=0.01)
    lr_decay: float = hyper(
        default=0.0,
        test=check_nonnegative,
        doc="How fast the learning rate falls with t, at least 0.",
        engine="lr_decay",
        shown=True,
    )
    eps: float = hyper(
        default=1e-10,
        test=check_positive,
        doc="Added to sqrt(v), greater than 0.",
        engine="eps",
        shown=True,
    )
    weight_decay: float = hyper(
        default=0.0,
        test=check_nonnegative,
        doc="Weight decay of all parameters, at least 0.",
        kw_only=True,
    )
    initial_accumulator_value: float = hyper(
        default=0.0, test=check_nonnegative, doc="Initial value of v, at least 0.", kw_only=True
    )

    def _first_value(self, moment: int) -> float:
        return self.initial_accumulator_value


class Adadelta(Optimizer):
    """Adadelta, as in PyTorch.

        g += weight_decay θ;   v = ρ v + (1−ρ) g²
        d = sqrt(w + eps)/sqrt(v + eps) · g;   w = ρ w + (1−ρ) d²;   θ -= lr d

    Source: Zeiler 2012 (arXiv:1212.5701).

    >>> Adadelta()
    Adadelta(lr=1.0, rho=0.9, eps=1e-06)
    """

    rule = "adadelta"
    n_moments = 2

    lr: float = learning_rate(default=1.0)
    rho: float = hyper(
        default=0.9,
        test=check_fraction,
        doc="ρ: decay rate of v and w, in [0, 1).",
        engine="beta2",
        shown=True,
    )
    eps: float = hyper(
        default=1e-6,
        test=check_positive,
        doc="Added to v and w, greater than 0.",
        engine="eps",
        shown=True,
    )
    weight_decay: float = hyper(
        default=0.0,
        test=check_nonnegative,
        doc="Weight decay of all parameters, at least 0.",
        kw_only=True,
    )


class RMSprop(Optimizer):
    """RMSprop, plain or centred, as in PyTorch.

        g += weight_decay θ;   v = α v + (1−α) g²
        plain:      r = g/(sqrt(v) + eps)
        centred:    a = α a + (1−α) g;   r = g/(sqrt(v − a²) + eps)
        θ -= lr r, or with momentum: m = μ m + r;   θ -= lr m

    If rounding makes v − a² negative, it counts as 0. Sources: Tieleman & Hinton, Coursera lecture
    6.5, 2012; centred: Graves 2013 (arXiv:1308.0850).

    >>> RMSprop(momentum=0.9)
    RMSprop(lr=0.01, alpha=0.99, eps=1e-08, momentum=0.9)
    """

    lr: float = learning_rate(default=0.01)
    alpha: float = hyper(
        default=0.99,
        test=check_fraction,
        doc="α: decay rate of v and a, in [0, 1).",
        engine="beta2",
        shown=True,
    )
    eps: float = hyper(
        default=1e-8,
        test=check_positive,
        doc="Added to the root, greater than 0.",
        engine="eps",
        shown=True,
    )
    momentum: float = hyper(
        default=0.0,
        test=check_fraction,
        doc="μ: momentum, in [0, 1).",
        engine="momentum",
        kw_only=True,
    )
    centered: bool = hyper(
        default=False,
        test=flag,
        doc="Whether to divide by the standard deviation of g. Do not change it after a step.",
        kw_only=True,
    )
    weight_decay: float = hyper(
        default=0.0,
        test=check_nonnegative,
        doc="Weight decay of all parameters, at least 0.",
        kw_only=True,
    )

    @property
    def rule(self) -> str:
        centered = "_centered" if self.centered else ""
        return f"rmsprop{centered}_momentum" if self.momentum > 0 else f"rmsprop{centered}"

    @property
    def n_moments(self) -> int:
        return 1 + (self.momentum > 0) + self.centered
