"""Check whether the gradient of a network is the derivative of its objective J.

The check uses central differences of J in float64, whatever the dtype of the network, and
Richardson extrapolation from two step sizes; Nocedal & Wright, Numerical Optimization, 2nd ed.,
§8.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ._checks import arguments as check
from ._network.dense import STATISTICS
from ._network.network import Network
from ._network.trainable import TrainableNetwork
from ._types import Array

__all__ = ["BlockReport", "GradcheckReport", "gradcheck"]

_STEP = float(np.finfo(np.float64).eps) ** (1 / 3)  # balances truncation h² and rounding 1/h
_RETRIES = 3  # smaller steps, each an eighth of the previous one, to avoid a kink within a step


@dataclass(frozen=True)
class BlockReport:
    """The result for one block of parameters: a W, b, gain, shift or trained constant.

    Parameters
    ----------
    name : str
        The name of the block, such as "layers[0].W".
    size : int
        The number of its entries.
    checked : int
        The number of checked entries.
    max_error : float
        The error of the entry that is worst relative to its tolerance.
    tolerance : float
        The tolerance of that entry.
    failures : int
        The number of entries whose error exceeds their tolerance.
    """

    name: str
    size: int
    checked: int
    max_error: float
    tolerance: float
    failures: int


@dataclass(frozen=True)
class GradcheckReport:
    """The results of `gradcheck` for all blocks; true if all checked entries agree.

    Parameters
    ----------
    blocks : tuple of BlockReport
        The result for each block.

    Examples
    --------
    >>> report = GradcheckReport((BlockReport("layers[0].W", 6, 6, 1e-12, 1e-9, 0),))
    >>> bool(report), report.blocks[0].name
    (True, 'layers[0].W')
    """

    blocks: tuple[BlockReport, ...]

    @property
    def ok(self) -> bool:
        """Whether no error exceeds its tolerance."""
        return all(block.failures == 0 for block in self.blocks)

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        lines = ["block            checked          worst error       tolerance"]
        for b in self.blocks:
            verdict = "ok" if b.failures == 0 else f"{b.failures} WRONG"
            lines.append(
                f"{b.name:14} {b.checked:6} of {b.size:<8} {b.max_error:10.3g}   "
                f"{b.tolerance:13.3g}   {verdict}"
            )
        return "\n".join(lines)


def gradcheck(
    net: TrainableNetwork,
    X: object,
    y: object,
    sample_weight: object = None,
    *,
    max_per_block: int = 200,
    seed: int = 0,
    raise_on_failure: bool = True,
) -> GradcheckReport:
    """Compare the gradient that `backward` computes with central differences of J.

    The tolerance is the difference that rounding and truncation can cause. At a kink (ReLU at 0),
    any gradient between the one-sided slopes is correct. The check calls `forward` and `backward`
    of the network, and does not change its parameters. Batch norm has its running statistics.

    Parameters
    ----------
    net : Network
        A `fastbp.Network` or `fastbp.reference.Network`.
    X : array-like of shape (batch, n_0)
        The input.
    y : array-like
        The targets, as for `backward`.
    sample_weight : array-like of shape (batch,), optional
        The weights of the samples, as for `backward`.
    max_per_block : int, default 200
        The maximum number of entries to check in each W, b, gain, shift and trained constant.
    seed : int, default 0
        The seed that selects the entries.
    raise_on_failure : bool, default True
        Whether to raise an error if an entry differs.

    Returns
    -------
    GradcheckReport
        The results.

    Raises
    ------
    AssertionError
        An entry differs, and `raise_on_failure` is True. The message contains the report.
    TypeError, ValueError
        As `forward` and `backward` raise them, and for a matmul_precision other than "highest":
        the rounding of factors is larger than the errors that the check looks for.

    Examples
    --------
    >>> import fastbp
    >>> net = fastbp.Network((2, 3, 1), activation="tanh", dtype="float64", seed=0)
    >>> bool(gradcheck(net, [[0.5, -1.0], [0.2, 0.3]], [1.0, 0.0]))
    True
    """
    check.check_positive_int(max_per_block, "max_per_block")
    if net.matmul_precision != "highest":
        raise ValueError(
            f"gradcheck needs matmul_precision='highest'; this network has "
            f"{net.matmul_precision!r}, whose rounding hides small errors: set "
            "net.matmul_precision for the check"
        )
    net.forward(X)  # before X is converted, so that the names of its columns are checked
    X = check.as_matrix(X, net.widths[0], net.dtype)
    net.backward(y, sample_weight)
    objective = _Objective(net, X, y, sample_weight)
    rng = np.random.Generator(np.random.Philox(check.check_seed(seed)))
    blocks, start = [], 0
    for i, layer in enumerate(net.layers):
        for name, grad in layer.gradients().items():
            if name in STATISTICS:  # which have no gradient
                start += grad.size
                continue
            count = min(grad.size, max_per_block)
            chosen = start + np.sort(rng.choice(grad.size, count, replace=False))
            blocks.append(_check_block(objective, f"layers[{i}].{name}", grad.size, chosen))
            start += grad.size
    report = GradcheckReport(tuple(blocks))
    if raise_on_failure and not report:
        raise AssertionError(f"the gradient differs from central differences:\n{report}")
    return report


class _Objective:
    """J in float64 as a function of the parameters, and the gradient to check."""

    def __init__(self, net: TrainableNetwork, X: Array, y: object, sample_weight: object) -> None:
        self.grad = net.grad.astype(np.float64)
        self.theta = net.theta.astype(np.float64)
        self._twin = _float64_twin(net)
        self._data = (X.astype(np.float64), self._targets(net, y, len(X)), sample_weight)
        self.value = self(self.theta)
        terms = len(X) + sum(net.widths)  # the longest chain of sums for one entry
        scale = np.abs(self.grad).max(initial=0.0, where=np.isfinite(self.grad))
        self.rounding_of_grad = terms * float(np.finfo(net.dtype).eps) * scale
        self.rounding_of_value = terms * float(np.finfo(np.float64).eps) * max(1.0, abs(self.value))

    @staticmethod
    def _targets(net: TrainableNetwork, y: object, n_rows: int) -> Array | None:
        kind, targets = check.as_targets(y, net.criterion, n_rows, net.widths[-1], net.dtype)
        return targets.astype(np.float64) if kind == "dense" and targets is not None else targets

    def __call__(self, theta: Array) -> float:
        self._twin.theta = theta
        return self._twin.loss(*self._data)

    def at(self, k: int, shift: float) -> float:
        """Return J with `shift` added to entry k of theta."""
        theta = self.theta.copy()
        theta[k] += shift
        return self(theta)


def _float64_twin(net: TrainableNetwork) -> TrainableNetwork:
    kind: type[TrainableNetwork] = Network if isinstance(net, Network) else type(net)
    twin = kind.__new__(kind)
    state = net.__getstate__()
    twin.__setstate__(state | {"dtype": np.dtype(np.float64), "matmul_precision": "highest"})
    return twin


def _check_block(objective: _Objective, name: str, size: int, chosen: Array) -> BlockReport:
    found = [_check_entry(objective, int(k)) for k in chosen]
    failures = sum(not error <= tolerance for error, tolerance in found)
    worst, allowed = max(found, key=lambda entry: np.nan_to_num(entry[0] / entry[1], nan=np.inf))
    return BlockReport(name, size, len(chosen), worst, allowed, failures)


def _check_entry(objective: _Objective, k: int) -> tuple[float, float]:
    """Return (error, tolerance) of one entry, from the step with the least uncertainty."""
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
    """The slope of J along one entry, from differences with steps h and h/2; its uncertainty."""

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
        # As h decreases, the one-sided slopes of a smooth J approach each other, but not at a kink.
        self.is_kink = bend2 > 0.75 * bend + rounding
