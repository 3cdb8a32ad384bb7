"""Adam and its kin: AdamW, AMSGrad (a flag of Adam), NAdam, RAdam, Adamax."""

from __future__ import annotations

from .._checks.arguments import check_nonnegative, check_positive
from ._base import Optimizer
from ._hyper import flag, fractions, hyper


class _Moments(Optimizer):
    """Two moments, of g and of g² or |g|, with decays `betas` and a number eps > 0."""

    n_moments = 2

    lr: float = hyper(
        default=0.001, test=check_positive, doc="Learning rate, > 0.", engine="lr", shown=True
    )
    betas: tuple[float, float] = hyper(
        default=(0.9, 0.999),
        test=fractions,
        doc="(b1, b2), the decays of the moments, both in [0, 1).",
        engine="beta1 beta2",
        shown=True,
    )
    eps: float = hyper(
        default=1e-8,
        test=check_positive,
        doc="Added to roots; > 0.",
        engine="eps",
        shown=True,
    )
    weight_decay: float = hyper(
        default=0.0, test=check_nonnegative, doc="At least 0.", kw_only=True
    )


class _AMSGrad(_Moments):
    """A third moment where `amsgrad` is set, the largest of the second."""

    amsgrad: bool = hyper(
        default=False,
        test=flag,
        doc="The largest v so far in place of v, Reddi, Kale & Kumar 2018.",
        kw_only=True,
    )

    @property
    def rule(self) -> str:
        return "amsgrad" if self.amsgrad else "adam"

    @property
    def n_moments(self) -> int:
        return 3 if self.amsgrad else 2


class Adam(_AMSGrad):
    """Adam, Kingma & Ba 2014 (arXiv:1412.6980), with bias corrections, as PyTorch has it.

        g += weight_decay θ, or θ *= 1 − lr weight_decay where decoupled_weight_decay
        m = b1 m + (1−b1) g;   v = b2 v + (1−b2) g²
        θ -= lr/(1−b1^t) · m / (sqrt(v)/sqrt(1−b2^t) + eps)

    Raises TypeError or ValueError for arguments out of range.

    >>> Adam(0.01)
    Adam(lr=0.01, betas=(0.9, 0.999), eps=1e-08)
    """

    decoupled_weight_decay: bool = hyper(
        default=False, test=flag, doc="Weight decay as AdamW has it.", kw_only=True
    )


class AdamW(_AMSGrad):
    """Adam with decoupled weight decay, Loshchilov & Hutter 2017 (arXiv:1711.05101).

        θ *= 1 − lr weight_decay;   then Adam's step

    All parameters decay, biases too, as in PyTorch; the network's l1 and l2 are for weights alone.
    Raises TypeError or ValueError for arguments out of range.

    >>> AdamW(weight_decay=0.1)
    AdamW(lr=0.001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.1)
    """

    decoupled_weight_decay = True

    weight_decay: float = hyper(
        default=0.01, test=check_nonnegative, doc="Decoupled; at least 0.", kw_only=True, shown=True
    )


class NAdam(_Moments):
    """Adam with Nesterov's momentum, Dozat 2016, as PyTorch has it.

        μ_t = b1 (1 − 0.96^(t·momentum_decay)/2);   Π = μ_1 … μ_t;   m and v as Adam's
        θ -= lr ((1−μ_t)/(1−Π) g + μ_{t+1}/(1−Π μ_{t+1}) m) / (sqrt(v/(1−b2^t)) + eps)

    Raises TypeError or ValueError for arguments out of range.

    >>> NAdam()
    NAdam(lr=0.002, betas=(0.9, 0.999), eps=1e-08, momentum_decay=0.004)
    """

    rule = "nadam"

    lr: float = hyper(
        default=0.002, test=check_positive, doc="Learning rate, > 0.", engine="lr", shown=True
    )
    momentum_decay: float = hyper(
        default=0.004,
        test=check_nonnegative,
        doc="How fast μ_t grows to b1, at least 0.",
        engine="momentum_decay",
        kw_only=True,
        shown=True,
    )
    decoupled_weight_decay: bool = hyper(
        default=False, test=flag, doc="Weight decay as AdamW has it.", kw_only=True
    )


class RAdam(_Moments):
    """Adam whose first steps wait for the variance of v, Liu et al. 2020 (arXiv:1908.03265).

        ρ∞ = 2/(1−b2) − 1;   ρ = ρ∞ − 2t b2^t/(1−b2^t);   m and v as Adam's
        ρ > 5   θ -= lr/(1−b1^t) · m r sqrt(1−b2^t)/(sqrt(v) + eps),
                r² = (ρ−4)(ρ−2)ρ∞ / ((ρ∞−4)(ρ∞−2)ρ)
        else    θ -= lr/(1−b1^t) · m

    As PyTorch has it. Raises TypeError or ValueError for arguments out of range.

    >>> RAdam()
    RAdam(lr=0.001, betas=(0.9, 0.999), eps=1e-08)
    """

    rule = "radam"

    decoupled_weight_decay: bool = hyper(
        default=False, test=flag, doc="Weight decay as AdamW has it.", kw_only=True
    )


class Adamax(_Moments):
    """Adam by the largest |g|, Kingma & Ba 2014 (section 7.1), as PyTorch has it.

        g += weight_decay θ;   m = b1 m + (1−b1) g;   u = max(b2 u, |g| + eps)
        θ -= lr/(1−b1^t) · m/u

    Raises TypeError or ValueError for arguments out of range.

    >>> Adamax()
    Adamax(lr=0.002, betas=(0.9, 0.999), eps=1e-08)
    """

    rule = "adamax"

    lr: float = hyper(
        default=0.002, test=check_positive, doc="Learning rate, > 0.", engine="lr", shown=True
    )
