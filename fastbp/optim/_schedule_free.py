"""ScheduleFree: AdamW and SGD whose averages take the place of a schedule."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, cast

import numpy as np

from .._checks.arguments import check_count, check_nonnegative, check_positive
from .._checks.names import known_name
from .._types import Array
from ._averaging import Net
from ._base import Optimizer
from ._hyper import fractions, hyper, learning_rate

BASES = ("adamw", "sgd")


def _base(value: object, name: str) -> str:
    return known_name(name, cast(str, value), BASES)


class ScheduleFree(Optimizer):
    """AdamW or SGD without a schedule: gradients at y, and a mean x of the iterates z.

        y = (1−b1) z + b1 x;   g is the gradient at y
        adamw       v = b2 v + (1−b2) g²;   d = g / (sqrt(v/(1−b2^t)) + eps)
                    z −= lr_t (d + weight_decay y)
        sgd         z −= lr_t (g + weight_decay y)
        x += c_t (z − x),   c_t = w_t / (w_1 + … + w_t),   w_t = min(1, t/warmup_steps)²

    with lr_t = lr min(1, t/warmup_steps). The parameters of the network are x whenever no step is
    being made, so predictions, validation, callbacks, checkpoints and files have x. `fit`,
    `partial_fit` and `train_batch` take their gradients at y; for loops by hand, see
    `extrapolated`. After a change of the parameters by other means, call `reset`.

    A schedule of lr is not needed; if there is one, c_t does not follow it. Source: Defazio et al.
    2024 (arXiv:2405.15682), with their defaults for AdamW; for SGD they use lr from 1 to 10.

    >>> ScheduleFree(warmup_steps=100)
    ScheduleFree(lr=0.0025, base=adamw, betas=(0.9, 0.999), warmup_steps=100)
    """

    lr: float = learning_rate(default=0.0025)
    base: str = hyper(
        default="adamw",
        test=_base,
        doc='The rule: "adamw" or "sgd".',
        shown=True,
    )
    betas: tuple[float, float] = hyper(
        default=(0.9, 0.999),
        test=fractions,
        doc="(b1, b2): weight of x in y, and decay rate of v, both in [0, 1); sgd has no b2.",
        engine="beta1 beta2",
        shown=True,
    )
    eps: float = hyper(
        default=1e-8,
        test=check_positive,
        doc="Term that prevents a division by zero, greater than 0; sgd has none.",
        engine="eps",
    )
    warmup_steps: int = hyper(
        default=0,
        test=check_count,
        doc="Steps in which the rate rises from lr/warmup_steps to lr.",
        engine="warmup",
        shown=True,
    )
    weight_decay: float = hyper(
        default=0.0,
        test=check_nonnegative,
        doc="Weight decay of all parameters, at y, at least 0.",
        kw_only=True,
    )

    ema = None  # x is the average
    needs_whole = True
    extrapolates = True
    # the theta that x is, which outlives its network here, and t when it was first seen
    _owner: tuple[Array, int] | None = None

    def reset(self) -> None:
        super().reset()
        self._owner = None

    def check_owner(self, theta: Array) -> None:
        """Raise ValueError if the state belongs to another network; else take this one for it.

        Copies of the network and of the optimiser, and states from files, go with any network
        until they have made a step.

        >>> free = ScheduleFree(); free.check_owner(np.zeros(3))
        """
        if self._bound is not None and self._bound[0] != theta.size:
            return  # `bind` refuses it
        of, since = self._owner or (None, 0)
        if of is theta:
            return
        if of is not None and self._t > since and not np.array_equal(of, theta, equal_nan=True):
            raise ValueError(
                "this ScheduleFree holds the points y and z of another network: use another "
                "optimiser, or reset() this one"
            )
        self._owner = theta, self._t

    @property
    def rule(self) -> str:
        return "free_adam" if self.base == "adamw" else "free_sgd"

    @property
    def n_moments(self) -> int:
        return 3 if self.base == "adamw" else 2

    @property
    def decoupled_weight_decay(self) -> bool:  # type: ignore[override]
        return self.base == "adamw"

    @property
    def fan_in_power(self) -> float:  # type: ignore[override]
        return 0.5 if self.base == "adamw" else 1.0


class Extrapolated(Net, Protocol):
    """What `extrapolated` needs of a network."""

    _at: object  # the ScheduleFree at whose point y it is

    def _check_at_x(self, call: str) -> None:
        """Raise RuntimeError for a call in a block of `extrapolated`."""

    def _forget(self) -> None:
        """Return to the state before any forward."""


@contextmanager
def extrapolated(net: Extrapolated, optimizer: ScheduleFree) -> Iterator[Extrapolated]:
    """Return a context manager in whose block `net` has the point y of a ScheduleFree.

    A loop by hand computes its gradients there, and calls `step` outside the block, where the
    network has x again. At the beginning of the block, z, a and delta are forgotten. In it, `step`,
    `train_batch`, `fit`, `save` and another block raise RuntimeError. Raises TypeError for another
    optimiser, and for what is not a network, and ValueError if the optimiser belongs to another
    network.

    >>> import fastbp
    >>> net, free = fastbp.Network((1, 1), init="zeros"), ScheduleFree(0.25, "sgd")
    >>> for _ in range(3):
    ...     with extrapolated(net, free):
    ...         J, _ = net.value_and_grad([[1.0]], [[2.0]])
    ...     net.step(free)
    >>> net.predict([[1.0]])
    array([[1.4541667]], dtype=float32)
    """
    if not isinstance(optimizer, ScheduleFree):
        raise TypeError(f"optimizer must be a ScheduleFree; got {type(optimizer).__name__}")
    if not hasattr(net, "_check_at_x"):
        raise TypeError(
            f"net must be a Network, such as a member of a Population; got {type(net).__name__}"
        )
    net._check_at_x("extrapolated")
    own = net.theta.copy()
    if optimizer.t > 0:
        y = optimizer.moments[1]
        if y.shape != own.shape:
            raise ValueError(
                f"this ScheduleFree holds the state of {y.size} parameters; the network has "
                f"{own.size}"
            )
        optimizer.check_owner(net.theta)
        net.theta = y
    net._forget()
    net._at = optimizer
    try:
        yield net
    finally:
        net._at = None
        net.theta = own
