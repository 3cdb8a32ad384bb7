"""Checks for users: is the gradient of a network the derivative of its objective?

Central differences of J, evaluated in float64 whatever the network's dtype, with Richardson's
extrapolation from two steps; Nocedal & Wright, Numerical Optimization, 2nd ed., §8.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._checks import arguments as check
from ._network.base import NetworkBase
from ._network.network import Network
from ._types import Array

__all__ = ["BlockReport", "GradcheckReport", "gradcheck"]

_STEP = float(np.finfo(np.float64).eps) ** (1 / 3)  # balances truncation h² against rounding 1/h
_RETRIES = 3  # smaller steps, each an eighth, for where a kink lies within the first


@dataclass(frozen=True)
class BlockReport:
    """How one W, b, gain or shift fared: entries checked, the largest error, and what may be."""

    name: str
    size: int
    checked: int
    max_error: float
    tolerance: float
    failures: int


@dataclass(frozen=True)
class GradcheckReport:
    """What `gradcheck` found, block by block; true when every entry checked agrees.

    >>> report = GradcheckReport((BlockReport("layers[0].W", 6, 6, 1e-12, 1e-9, 0),))
    >>> bool(report), report.blocks[0].name
    (True, 'layers[0].W')
    """

    blocks: tuple[BlockReport, ...]

    @property
    def ok(self) -> bool:
        """Whether no entry differs by more than its tolerance."""
        return all(block.failures == 0 for block in self.blocks)

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        lines = ["block            checked        largest error   allowed there"]
        for b in self.blocks:
            verdict = "ok" if b.failures == 0 else f"{b.failures} WRONG"
            lines.append(
                f"{b.name:14} {b.checked:6} of {b.size:<8} {b.max_error:10.3g}   "
                f"{b.tolerance:13.3g}   {verdict}"
            )
        return "\n".join(lines)


def gradcheck(
    net: NetworkBase,
    X: object,
    y: object,
    sample_weight: object = None,
    *,
    max_per_block: int = 200,
    seed: int = 0,
    raise_on_failure: bool = True,
) -> GradcheckReport:
    """Compare the gradient of J that `backward` gives with central differences of J.

    net: a fastbp.Network or fastbp.reference.Network; X (batch, n_0), y and sample_weight as for
    `backward`. At most max_per_block entries of each W, b, gain and shift are checked, drawn with
    `seed`. The allowed difference is what rounding and truncation can explain. At a kink (ReLU at
    0) a gradient between the one-sided slopes counts as right. The network's own forward and
    backward are run; its parameters do not change.

    Raises AssertionError with the report when an entry differs, unless raise_on_failure is
    False, and what `forward` and `backward` raise for bad input.

    >>> import fastbp
    >>> net = fastbp.Network((2, 3, 1), activation="tanh", dtype="float64", seed=0)
    >>> bool(gradcheck(net, [[0.5, -1.0], [0.2, 0.3]], [1.0, 0.0]))
    True
    """
    check.check_positive_int(max_per_block, "max_per_block")
    X = check.as_matrix(X, net.widths[0], net.dtype)
    net.forward(X)
    net.backward(y, sample_weight)
    objective = _Objective(net, X, y, sample_weight)
    rng = np.random.Generator(np.random.Philox(check.check_seed(seed)))
    blocks, start = [], 0
    for i, layer in enumerate(net.layers):
        for name, grad in layer.gradients().items():
            count = min(grad.size, max_per_block)
            chosen = start + np.sort(rng.choice(grad.size, count, replace=False))
            blocks.append(_check_block(objective, f"layers[{i}].{name}", grad.size, chosen))
            start += grad.size
    report = GradcheckReport(tuple(blocks))
    if raise_on_failure and not report:
        raise AssertionError(f"the gradient differs from central differences:\n{report}")
    return report


class _Objective:
    """J at nearby parameters, in float64, and the gradient under test."""

    def __init__(self, net: NetworkBase, X: Array, y: object, sample_weight: object) -> None:
        self.grad = net.grad.astype(np.float64)
        self.theta = net.theta.astype(np.float64)
        self._twin = _float64_twin(net)
        self._data = (X.astype(np.float64), self._targets(net, y, len(X)), sample_weight)
        self.value = self(self.theta)
        terms = len(X) + sum(net.widths)  # the longest chain of sums behind one entry
        scale = np.abs(self.grad).max(initial=0.0, where=np.isfinite(self.grad))
        self.rounding_of_grad = terms * float(np.finfo(net.dtype).eps) * scale
        self.rounding_of_value = terms * float(np.finfo(np.float64).eps) * max(1.0, abs(self.value))

    @staticmethod
    def _targets(net: NetworkBase, y: object, n_rows: int) -> Array | None:
        kind, targets = check.as_targets(y, net.criterion, n_rows, net.widths[-1], net.dtype)
        return targets.astype(np.float64) if kind == "dense" and targets is not None else targets

    def __call__(self, theta: Array) -> float:
        self._twin.theta = theta
        return self._twin.loss(*self._data)

    def at(self, k: int, shift: float) -> float:
        """J with entry k of theta moved."""
        theta = self.theta.copy()
        theta[k] += shift
        return self(theta)


def _float64_twin(net: NetworkBase) -> NetworkBase:
    kind = Network if isinstance(net, Network) else type(net)
    twin = kind.__new__(kind)
    state = net.__getstate__()
    twin.__setstate__(state | {"dtype": np.dtype(np.float64)})
    return twin


def _check_block(objective: _Objective, name: str, size: int, chosen: Array) -> BlockReport:
    found = [_check_entry(objective, int(k)) for k in chosen]
    failures = sum(not error <= tolerance for error, tolerance in found)
    worst, allowed = max(found, key=lambda entry: np.nan_to_num(entry[0] / entry[1], nan=np.inf))
    return BlockReport(name, size, len(chosen), worst, allowed, failures)


def _check_entry(objective: _Objective, k: int) -> tuple[float, float]:
    """(error, tolerance) of one entry, from the step whose estimate is the least uncertain."""
    h = _STEP * max(1.0, abs(objective.theta[k]))
    estimates = [_Estimate(objective, k, h / 8**i) for i in range(1 + _RETRIES)]
    best = min(estimates, key=lambda estimate: estimate.uncertainty)
    g, tolerance = objective.grad[k], best.uncertainty + objective.rounding_of_grad
    error = abs(g - best.slope)
    low, high = best.one_sided
    if best.is_kink and low - tolerance <= g <= high + tolerance:
        error = 0.0
    return float(error), float(tolerance)


class _Estimate:
    """The slope of J along one entry by differences of step h and h/2, and how far to trust it."""

    def __init__(self, objective: _Objective, k: int, h: float) -> None:
        J = objective.value
        (up, down), (up2, down2) = (
            (objective.at(k, step), objective.at(k, -step)) for step in (h, h / 2)
        )
        coarse, fine = (up - down) / (2 * h), (up2 - down2) / h
        rounding = 4 * objective.rounding_of_value / h
        self.slope = (4 * fine - coarse) / 3
        self.uncertainty = abs(coarse - fine) + rounding
        right, left = (
            2 * (up2 - J) / (h / 2) - (up - J) / h,
            2 * (J - down2) / (h / 2) - (J - down) / h,
        )
        self.one_sided = sorted((right, left))
        bend, bend2 = abs(up - 2 * J + down) / h, abs(up2 - 2 * J + down2) / (h / 2)
        # the one-sided slopes of a smooth J close in as h does, those at a kink stay apart
        self.is_kink = bend2 > 0.75 * bend + rounding
