"""Rules along the gradient or its sign: SGD, Lion, Rprop."""

from __future__ import annotations

from .._checks import arguments as check
from ._base import Hyper, Optimizer, Options, Unpack, flag, fractions, two_numbers


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and Nesterov's variant of it (as PyTorch has).

        g += weight_decay θ
        SGD       θ -= lr g
        momentum  m = μ m + (1 − dampening) g, at first m = g;   θ -= lr m
        Nesterov  m = μ m + g;                                   θ -= lr (g + μ m)

    lr > 0; momentum μ and dampening in [0, 1); weight_decay >= 0; nesterov needs momentum > 0 and
    no dampening; options: see `Optimizer`. Raises TypeError or ValueError otherwise.

    >>> SGD(0.1, momentum=0.9)
    SGD(lr=0.1, momentum=0.9, nesterov=False)
    """

    lr = Hyper(check.check_positive, 0.01, shown=True)
    momentum = Hyper(check.check_fraction, 0.0, shown=True)
    nesterov = Hyper(flag, False, shown=True)
    dampening = Hyper(check.check_fraction, 0.0)
    weight_decay = Hyper(check.check_nonnegative, 0.0)

    def __init__(
        self,
        lr: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        *,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(
            lr=lr,
            momentum=momentum,
            nesterov=nesterov,
            dampening=dampening,
            weight_decay=weight_decay,
            **options,
        )
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum greater than 0, such as 0.9")
        if self.nesterov and self.dampening != 0:
            raise ValueError(f"nesterov needs dampening 0; got {dampening}")

    @property
    def code(self) -> int:
        if self.momentum == 0:
            return 0
        return 2 if self.nesterov else 1

    @property
    def n_moments(self) -> int:
        return 0 if self.momentum == 0 else 1

    def hyper(self) -> dict[str, float]:
        if self.code != 1:
            return {"lr": self.lr, "momentum": self.momentum}
        return {"lr": self.lr, "momentum": self.momentum, "dampening": self.dampening}


class Lion(Optimizer):
    """Lion, Chen et al. 2023 (arXiv:2302.06675): steps of one size, by the sign of a mean.

        θ *= 1 − lr weight_decay;   θ -= lr sign(b1 m + (1−b1) g);   m = b2 m + (1−b2) g

    lr > 0, some 3 to 10 times smaller than Adam's; betas (b1, b2) in [0, 1); weight_decay >= 0,
    decoupled; options: see `Optimizer`. The paper's defaults; PyTorch has no Lion. Raises TypeError
    or ValueError otherwise.

    >>> Lion(0.001)
    Lion(lr=0.001, betas=(0.9, 0.99))
    """

    code = 14
    n_moments = 1
    lr = Hyper(check.check_positive, 0.0001, shown=True)
    betas = Hyper(fractions, (0.9, 0.99), shown=True)
    weight_decay = Hyper(check.check_nonnegative, 0.0)
    decoupled_weight_decay = True

    def __init__(
        self,
        lr: float = 0.0001,
        betas: tuple[float, float] = (0.9, 0.99),
        *,
        weight_decay: float = 0.0,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(lr=lr, betas=betas, weight_decay=weight_decay, **options)

    def hyper(self) -> dict[str, float]:
        return {"lr": self.lr, "beta1": self.betas[0], "beta2": self.betas[1]}


def _shrink_and_grow(value: object, name: str) -> tuple[float, float]:
    shrink, grow = two_numbers(value, name, "(0.5, 1.2)", check.check_positive)
    if not shrink < 1 < grow:
        raise ValueError(f"{name} must be a number below 1 and one above; got {value!r}")
    return shrink, grow


def _limits(value: object, name: str) -> tuple[float, float]:
    least, most = two_numbers(value, name, "(1e-6, 50)", check.check_positive)
    if least > most:
        raise ValueError(f"{name} must be (least, most), least <= most; got {value!r}")
    return least, most


class Rprop(Optimizer):
    """Rprop, Riedmiller & Braun 1993, as PyTorch has it: a step of its own for every parameter.

        s *= η+ where g·p > 0, η− where g·p < 0, within step_sizes;   g = 0 where g·p < 0
        θ -= sign(g) s;   p = g

    p is the last g; s starts at lr and lr is not used again. The signs mean something for whole
    data sets only, so that `fit` makes one batch of all rows, whatever batch_size says. lr > 0;
    etas (η−, η+), 0 < η− < 1 < η+; step_sizes (least, most); options: see `Optimizer`, but
    lr_factors, which would change nothing. Raises TypeError or ValueError otherwise.

    >>> Rprop()
    Rprop(lr=0.01, etas=(0.5, 1.2), step_sizes=(1e-06, 50.0))
    """

    code = 15
    n_moments = 2
    lr = Hyper(check.check_positive, 0.01, shown=True)
    etas = Hyper(_shrink_and_grow, (0.5, 1.2), shown=True)
    step_sizes = Hyper(_limits, (1e-6, 50.0), shown=True)
    lr_factors = None
    full_batch = True

    def __init__(
        self,
        lr: float = 0.01,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50.0),
        **options: Unpack[Options],
    ) -> None:
        super().__init__(lr=lr, etas=etas, step_sizes=step_sizes, **options)

    def _first_value(self, moment: int) -> float:
        return self.lr if moment == 1 else 0.0

    def hyper(self) -> dict[str, float]:
        (shrink, grow), (least, most) = self.etas, self.step_sizes
        return {"lr": self.lr, "shrink": shrink, "grow": grow, "least": least, "most": most}
