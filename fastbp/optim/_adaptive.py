"""Steps divided by the size of past gradients: Adagrad, Adadelta, RMSprop."""

from __future__ import annotations

from .._checks import arguments as check
from ._base import Hyper, Optimizer, Options, Unpack, flag


class Adagrad(Optimizer):
    """Adagrad, Duchi, Hazan & Singer 2011, as PyTorch has it.

        g += weight_decay θ;   v += g²
        θ -= lr/(1 + (t−1) lr_decay) · g / (sqrt(v) + eps)

    v starts at initial_accumulator_value. lr, eps > 0; the others >= 0; options: see `Optimizer`.
    Raises TypeError or ValueError otherwise.

    >>> Adagrad(0.1)
    Adagrad(lr=0.1, lr_decay=0.0, eps=1e-10)
    """

    code = 8
    n_moments = 1
    lr = Hyper(check.check_positive, 0.01, shown=True)
    lr_decay = Hyper(check.check_nonnegative, 0.0, shown=True)
    eps = Hyper(check.check_positive, 1e-10, shown=True)
    weight_decay = Hyper(check.check_nonnegative, 0.0)
    initial_accumulator_value = Hyper(check.check_nonnegative, 0.0)

    def __init__(
        self,
        lr: float = 0.01,
        lr_decay: float = 0.0,
        eps: float = 1e-10,
        *,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(
            lr=lr,
            lr_decay=lr_decay,
            eps=eps,
            weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value,
            **options,
        )

    def _first_value(self, moment: int) -> float:
        return self.initial_accumulator_value

    def hyper(self) -> dict[str, float]:
        return {"lr": self.lr, "lr_decay": self.lr_decay, "eps": self.eps}


class Adadelta(Optimizer):
    """Adadelta, Zeiler 2012 (arXiv:1212.5701), as PyTorch has it.

        g += weight_decay θ;   v = ρ v + (1−ρ) g²
        d = sqrt(w + eps)/sqrt(v + eps) · g;   w = ρ w + (1−ρ) d²;   θ -= lr d

    lr, eps > 0; rho in [0, 1); weight_decay >= 0; options: see `Optimizer`. Raises TypeError or
    ValueError otherwise.

    >>> Adadelta()
    Adadelta(lr=1.0, rho=0.9, eps=1e-06)
    """

    code = 9
    n_moments = 2
    lr = Hyper(check.check_positive, 1.0, shown=True)
    rho = Hyper(check.check_fraction, 0.9, shown=True)
    eps = Hyper(check.check_positive, 1e-6, shown=True)
    weight_decay = Hyper(check.check_nonnegative, 0.0)

    def __init__(
        self,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        *,
        weight_decay: float = 0.0,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, **options)

    def hyper(self) -> dict[str, float]:
        return {"lr": self.lr, "beta2": self.rho, "eps": self.eps}


class RMSprop(Optimizer):
    """RMSprop, Hinton 2012; centred, Graves 2013 (arXiv:1308.0850); as PyTorch has it.

        g += weight_decay θ;   v = α v + (1−α) g²
        centred    a = α a + (1−α) g;   r = g/(sqrt(v − a²) + eps);   else r = g/(sqrt(v) + eps)
        momentum   m = μ m + r;   θ -= lr m;   else θ -= lr r

    v − a² counts as 0 where rounding makes it negative. lr, eps > 0; alpha and momentum in [0, 1);
    weight_decay >= 0; centered is for good; options: see `Optimizer`. Raises TypeError or
    ValueError otherwise.

    >>> RMSprop(momentum=0.9)
    RMSprop(lr=0.01, alpha=0.99, eps=1e-08, momentum=0.9)
    """

    lr = Hyper(check.check_positive, 0.01, shown=True)
    alpha = Hyper(check.check_fraction, 0.99, shown=True)
    eps = Hyper(check.check_positive, 1e-8, shown=True)
    momentum = Hyper(check.check_fraction, 0.0)
    centered = Hyper(flag, False)
    weight_decay = Hyper(check.check_nonnegative, 0.0)

    def __init__(
        self,
        lr: float = 0.01,
        alpha: float = 0.99,
        eps: float = 1e-8,
        *,
        momentum: float = 0.0,
        centered: bool = False,
        weight_decay: float = 0.0,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(
            lr=lr,
            alpha=alpha,
            eps=eps,
            momentum=momentum,
            centered=centered,
            weight_decay=weight_decay,
            **options,
        )

    @property
    def code(self) -> int:
        return 10 + (self.momentum > 0) + 2 * self.centered

    @property
    def n_moments(self) -> int:
        return 1 + (self.momentum > 0) + self.centered

    def hyper(self) -> dict[str, float]:
        numbers = {"lr": self.lr, "beta2": self.alpha, "eps": self.eps}
        return numbers | {"momentum": self.momentum} if self.momentum > 0 else numbers
