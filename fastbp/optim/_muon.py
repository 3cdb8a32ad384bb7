"""Muon: momentum made orthogonal, for matrices."""

from __future__ import annotations

from typing import cast

from .._checks.arguments import (
    check_fraction,
    check_nonnegative,
    check_positive,
    check_positive_int,
    check_real,
)
from .._checks.names import known_name
from ._base import Optimizer
from ._hyper import flag, fractions, hyper, learning_rate

ADJUSTMENTS = ("original", "match_rms_adamw")
_MOST_STEPS = 1000  # as in csrc/nn/update.c


def _adjustment(value: object, name: str) -> str:
    return known_name(name, cast(str, "original" if value is None else value), ADJUSTMENTS)


def _coefficients(value: object, name: str) -> tuple[float, float, float]:
    if not isinstance(value, (tuple, list)) or len(value) != 3:
        raise TypeError(f"{name} must be three numbers (a, b, c); got {value!r}")
    a, b, c = (check_real(x, f"{name}[{i}]") for i, x in enumerate(value))
    return a, b, c


def _ns_steps(value: object, name: str) -> int:
    steps = check_positive_int(value, name)
    if steps > _MOST_STEPS:
        raise ValueError(f"{name} must be at most {_MOST_STEPS}; got {steps}")
    return steps


class Muon(Optimizer):
    """Momentum whose matrix is made orthogonal, for every W; AdamW for all other parameters.

        m = μ m + (1−μ) g;   u = g + μ (m − g) with nesterov, otherwise m
        X = u / ‖u‖, then ns_steps times   X = a X + (b A + c A²) X,   A = X Xᵀ
        W *= 1 − lr weight_decay;   W −= lr s X

    The iteration of Newton and Schulz takes the singular values of u to about 1. s is
    sqrt(max(1, n_out/n_in)) for "original", and 0.2 sqrt(max(n_in, n_out)) for "match_rms_adamw",
    with which lr is of the size of AdamW's. Biases, gains, shifts and trained constants are updated
    by AdamW with the same lr and weight_decay; `lr_factors` and `decay_factors` set others.

    Rule and defaults are those of torch.optim.Muon, which takes matrices only and iterates in
    bfloat16; here the iteration has the dtype of the network. Source: Jordan et al. 2024,
    "Muon: an optimizer for hidden layers in neural networks"
    (https://kellerjordan.github.io/posts/muon/).

    >>> Muon(0.02)
    Muon(lr=0.02, momentum=0.95, nesterov=True, weight_decay=0.1)
    """

    lr: float = learning_rate(default=0.001)
    momentum: float = hyper(
        default=0.95,
        test=check_fraction,
        doc="μ: momentum of W, in [0, 1).",
        engine="momentum",
        shown=True,
    )
    nesterov: bool = hyper(
        default=True, test=flag, doc="Whether to use Nesterov's momentum.", shown=True
    )
    weight_decay: float = hyper(
        default=0.1,
        test=check_nonnegative,
        doc="Decoupled weight decay of all parameters, at least 0.",
        kw_only=True,
        shown=True,
    )
    ns_steps: int = hyper(
        default=5,
        test=_ns_steps,
        doc="Iterations of Newton and Schulz, 1 to 1000.",
        engine="iterations",
        kw_only=True,
    )
    ns_coefficients: tuple[float, float, float] = hyper(
        default=(3.4445, -4.775, 2.0315),
        test=_coefficients,
        doc="(a, b, c): the coefficients of the iteration.",
        engine="linear cubic quintic",
        kw_only=True,
    )
    adjust_lr_fn: str = hyper(
        default="original",
        test=_adjustment,
        doc='How lr follows the shape of W: "original" (or None) or "match_rms_adamw".',
        kw_only=True,
    )
    betas: tuple[float, float] = hyper(
        default=(0.9, 0.999),
        test=fractions,
        doc="(b1, b2) of AdamW, both in [0, 1).",
        engine="beta1 beta2",
        kw_only=True,
    )
    eps: float = hyper(
        default=1e-8,
        test=check_positive,
        doc="eps of AdamW, greater than 0.",
        engine="eps",
        kw_only=True,
    )

    n_moments = 2
    decoupled_weight_decay = True
    needs_whole = True
    needs_gradient = True

    @property
    def rule(self) -> str:
        return "muon_nesterov" if self.nesterov else "muon"

    def hyper(self) -> dict[str, float]:
        return super().hyper() | {"rms": 0.2 if self.adjust_lr_fn == "match_rms_adamw" else 0.0}
