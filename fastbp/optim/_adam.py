"""Adam and its kin: AdamW, AMSGrad (a flag of Adam), NAdam, RAdam, Adamax."""

from __future__ import annotations

from .._checks import arguments as check
from ._base import Hyper, Optimizer, Options, Unpack, flag, fractions

Betas = tuple[float, float]


class _Moments(Optimizer):
    """Two moments, of g and of g² or |g|, with decays `betas` and a number eps > 0."""

    n_moments = 2
    lr = Hyper(check.check_positive, 0.001, shown=True)
    betas = Hyper(fractions, (0.9, 0.999), shown=True)
    eps = Hyper(check.check_positive, 1e-8, shown=True)
    weight_decay = Hyper(check.check_nonnegative, 0.0)

    def hyper(self) -> dict[str, float]:
        beta1, beta2 = self.betas
        return {"lr": self.lr, "beta1": beta1, "beta2": beta2, "eps": self.eps}


class _AMSGrad(_Moments):
    """A third moment where `amsgrad` is set, the largest of the second."""

    amsgrad = Hyper(flag, False)

    @property
    def code(self) -> int:
        return 4 if self.amsgrad else 3

    @property
    def n_moments(self) -> int:
        return 3 if self.amsgrad else 2


class Adam(_AMSGrad):
    """Adam, Kingma & Ba 2014 (arXiv:1412.6980), with bias corrections, as PyTorch has it.

        g += weight_decay θ, or θ *= 1 − lr weight_decay where decoupled_weight_decay
        m = b1 m + (1−b1) g;   v = b2 v + (1−b2) g²
        θ -= lr/(1−b1^t) · m / (sqrt(v)/sqrt(1−b2^t) + eps)

    amsgrad: the largest v so far in place of v, Reddi, Kale & Kumar 2018. lr > 0; betas two numbers
    in [0, 1); eps > 0; weight_decay >= 0; options: see `Optimizer`. Raises TypeError or ValueError
    otherwise.

    >>> Adam(0.01)
    Adam(lr=0.01, betas=(0.9, 0.999), eps=1e-08)
    """

    decoupled_weight_decay = Hyper(flag, False)

    def __init__(
        self,
        lr: float = 0.001,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        decoupled_weight_decay: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            amsgrad=amsgrad,
            decoupled_weight_decay=decoupled_weight_decay,
            **options,
        )


class AdamW(_AMSGrad):
    """Adam with decoupled weight decay, Loshchilov & Hutter 2017 (arXiv:1711.05101).

        θ *= 1 − lr weight_decay;   then Adam's step

    The arguments are Adam's, and weight_decay is 0.01 where none is given. All parameters decay,
    biases too, as in PyTorch; the network's l1 and l2 are for weights alone.

    >>> AdamW(weight_decay=0.1)
    AdamW(lr=0.001, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.1)
    """

    weight_decay = Hyper(check.check_nonnegative, 0.01, shown=True)
    decoupled_weight_decay = True

    def __init__(
        self,
        lr: float = 0.001,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        weight_decay: float = 0.01,
        amsgrad: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(
            lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, **options
        )


class NAdam(_Moments):
    """Adam with Nesterov's momentum, Dozat 2016, as PyTorch has it.

        μ_t = b1 (1 − 0.96^(t·momentum_decay)/2);   Π = μ_1 … μ_t;   m and v as Adam's
        θ -= lr ((1−μ_t)/(1−Π) g + μ_{t+1}/(1−Π μ_{t+1}) m) / (sqrt(v/(1−b2^t)) + eps)

    momentum_decay >= 0; the other arguments are Adam's.

    >>> NAdam()
    NAdam(lr=0.002, betas=(0.9, 0.999), eps=1e-08, momentum_decay=0.004)
    """

    code = 6
    lr = Hyper(check.check_positive, 0.002, shown=True)
    momentum_decay = Hyper(check.check_nonnegative, 0.004, shown=True)
    decoupled_weight_decay = Hyper(flag, False)

    def __init__(
        self,
        lr: float = 0.002,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        weight_decay: float = 0.0,
        momentum_decay: float = 0.004,
        decoupled_weight_decay: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            momentum_decay=momentum_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            **options,
        )

    def hyper(self) -> dict[str, float]:
        return super().hyper() | {"momentum_decay": self.momentum_decay}


class RAdam(_Moments):
    """Adam whose first steps wait for the variance of v, Liu et al. 2020 (arXiv:1908.03265).

        ρ∞ = 2/(1−b2) − 1;   ρ = ρ∞ − 2t b2^t/(1−b2^t);   m and v as Adam's
        ρ > 5   θ -= lr/(1−b1^t) · m r sqrt(1−b2^t)/(sqrt(v) + eps),
                r² = (ρ−4)(ρ−2)ρ∞ / ((ρ∞−4)(ρ∞−2)ρ)
        else    θ -= lr/(1−b1^t) · m

    The arguments are Adam's. As PyTorch has it.

    >>> RAdam()
    RAdam(lr=0.001, betas=(0.9, 0.999), eps=1e-08)
    """

    code = 5
    decoupled_weight_decay = Hyper(flag, False)

    def __init__(
        self,
        lr: float = 0.001,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            decoupled_weight_decay=decoupled_weight_decay,
            **options,
        )


class Adamax(_Moments):
    """Adam by the largest |g|, Kingma & Ba 2014 (section 7.1), as PyTorch has it.

        g += weight_decay θ;   m = b1 m + (1−b1) g;   u = max(b2 u, |g| + eps)
        θ -= lr/(1−b1^t) · m/u

    The arguments are Adam's.

    >>> Adamax()
    Adamax(lr=0.002, betas=(0.9, 0.999), eps=1e-08)
    """

    code = 7
    lr = Hyper(check.check_positive, 0.002, shown=True)

    def __init__(
        self,
        lr: float = 0.002,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        weight_decay: float = 0.0,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, **options)
