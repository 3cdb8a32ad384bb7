"""Adam and its relatives: AdamW, NAdam, RAdam, Adamax. AMSGrad is an option of Adam and AdamW."""

from __future__ import annotations

from .._checks.arguments import check_nonnegative, check_positive
from ._base import Optimizer
from ._hyper import flag, fractions, hyper, learning_rate


class _Moments(Optimizer):
    """A rule with moments of g and of g² or |g|, whose decay rates are `betas`."""

    lr: float = learning_rate(default=0.001)
    betas: tuple[float, float] = hyper(
        default=(0.9, 0.999),
        test=fractions,
        doc="(b1, b2): decay rates of the first and the second moment, both in [0, 1).",
        engine="beta1 beta2",
        shown=True,
    )
    eps: float = hyper(
        default=1e-8,
        test=check_positive,
        doc="Term that prevents a division by zero, greater than 0.",
        engine="eps",
        shown=True,
    )
    weight_decay: float = hyper(
        default=0.0,
        test=check_nonnegative,
        doc="Weight decay of all parameters, at least 0.",
        kw_only=True,
    )

    @property
    def n_moments(self) -> int:
        return 2


class _AMSGrad(_Moments):
    """Adam, with a third moment if `amsgrad` is set: the largest v so far."""

    amsgrad: bool = hyper(
        default=False,
        test=flag,
        doc="Whether to divide by the largest v so far instead of v (Reddi, Kale & Kumar 2018).",
        kw_only=True,
    )

    @property
    def rule(self) -> str:
        return "amsgrad" if self.amsgrad else "adam"

    @property
    def n_moments(self) -> int:
        return 3 if self.amsgrad else 2


class Adam(_AMSGrad):
    """Adam with bias corrections, as in PyTorch.

        g += weight_decay θ, or θ *= 1 − lr weight_decay if decoupled_weight_decay is set
        m = b1 m + (1−b1) g;   v = b2 v + (1−b2) g²
        θ -= lr/(1−b1^t) · m / (sqrt(v)/sqrt(1−b2^t) + eps)

    Source: Kingma & Ba 2014 (arXiv:1412.6980).

    >>> Adam(0.01)
    Adam(lr=0.01, betas=(0.9, 0.999), eps=1e-08)
    """

    decoupled_weight_decay: bool = hyper(
        default=False,
        test=flag,
        doc="Whether weight decay shrinks θ directly, as in AdamW.",
        kw_only=True,
    )


class AdamW(_AMSGrad):
    """Adam with decoupled weight decay, as in PyTorch.

        θ *= 1 − lr weight_decay, followed by a step of Adam

    Weight decay applies to all parameters, including biases. The penalties l1 and l2 of the network
    apply only to weights. Source: Loshchilov & Hutter 2017 (arXiv:1711.05101).

    >>> AdamW(weight_decay=0.1)
    AdamW(lr=0.001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.1)
    """

    decoupled_weight_decay = True

    weight_decay: float = hyper(
        default=0.01,
        test=check_nonnegative,
        doc="Decoupled weight decay of all parameters, at least 0.",
        kw_only=True,
        shown=True,
    )


class NAdam(_Moments):
    """Adam with Nesterov's momentum, as in PyTorch.

        μ_t = b1 (1 − 0.96^(t·momentum_decay)/2);   Π = μ_1 … μ_t;   m and v as in Adam
        θ -= lr ((1−μ_t)/(1−Π) g + μ_{t+1}/(1−Π μ_{t+1}) m) / (sqrt(v/(1−b2^t)) + eps)

    Source: Dozat, ICLR workshop 2016.

    >>> NAdam()
    NAdam(lr=0.002, betas=(0.9, 0.999), eps=1e-08, momentum_decay=0.004)
    """

    rule = "nadam"

    lr: float = learning_rate(default=0.002)
    momentum_decay: float = hyper(
        default=0.004,
        test=check_nonnegative,
        doc="How fast μ_t approaches b1, at least 0.",
        engine="momentum_decay",
        kw_only=True,
        shown=True,
    )
    decoupled_weight_decay: bool = hyper(
        default=False,
        test=flag,
        doc="Whether weight decay shrinks θ directly, as in AdamW.",
        kw_only=True,
    )


class RAdam(_Moments):
    """Adam with a rectified step: the first steps do not use v yet. As in PyTorch.

        ρ∞ = 2/(1−b2) − 1;   ρ = ρ∞ − 2t b2^t/(1−b2^t);   m and v as in Adam
        if ρ > 5:    θ -= lr/(1−b1^t) · m r sqrt(1−b2^t)/(sqrt(v) + eps),
                     r² = (ρ−4)(ρ−2)ρ∞ / ((ρ∞−4)(ρ∞−2)ρ)
        otherwise:   θ -= lr/(1−b1^t) · m

    Source: Liu et al. 2020 (arXiv:1908.03265).

    >>> RAdam()
    RAdam(lr=0.001, betas=(0.9, 0.999), eps=1e-08)
    """

    rule = "radam"

    decoupled_weight_decay: bool = hyper(
        default=False,
        test=flag,
        doc="Whether weight decay shrinks θ directly, as in AdamW.",
        kw_only=True,
    )


class Adamax(_Moments):
    """Adam with the largest |g| in place of the root of v, as in PyTorch.

        g += weight_decay θ;   m = b1 m + (1−b1) g;   u = max(b2 u, |g| + eps)
        θ -= lr/(1−b1^t) · m/u

    Source: Kingma & Ba 2014 (arXiv:1412.6980), section 7.1.

    >>> Adamax()
    Adamax(lr=0.002, betas=(0.9, 0.999), eps=1e-08)
    """

    rule = "adamax"

    lr: float = learning_rate(default=0.002)
