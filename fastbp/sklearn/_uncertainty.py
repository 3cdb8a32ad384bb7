"""What the outputs of a regressor tell besides predictions: standard deviations and quantiles."""

from __future__ import annotations

from collections.abc import Iterable
from math import isclose

import numpy as np

from .._checks.arguments import check_real
from .._types import Array
from ..losses import Loss


def by_target(values: Array) -> Array:
    """(n, …) of (n, 1, …)."""
    return values[:, 0] if values.shape[1] == 1 else values


def std_of(outputs: Array, criterion: Loss) -> Array:
    """The standard deviations of the targets that the outputs of members tell together.

    The members are the components of a mixture with equal weights, whose variance is the mean of
    their variances plus the variance of their means (Lakshminarayanan, Pritzel & Blundell, NIPS
    2017, section 2.4). A loss that learns no variance has the second part alone.

    Parameters
    ----------
    outputs : ndarray (members, n, n_units)
        a^L of every member.
    criterion : Loss
        Their loss.

    Returns
    -------
    ndarray (n, n_targets)
        In the dtype of the outputs.
    """
    means = np.stack([criterion.predicted(each) for each in outputs])
    variance = means.var(axis=0, dtype=np.float64)
    if criterion.entry.std is not None:
        stds = np.stack([criterion.entry.std(each) for each in outputs])
        variance += (stds.astype(np.float64) ** 2).mean(axis=0)
    std: Array = np.sqrt(variance).astype(outputs.dtype)
    return std


def quantiles_of(outputs: Array, quantiles: object, criterion: Loss) -> Array:
    """The quantiles of these levels; in the last axis, (n, n_targets, …), if there may be several.

    Raises TypeError or ValueError unless the levels are among those of the loss.
    """
    taus = criterion.taus
    if not taus:
        raise ValueError(
            f"quantiles needs a network that learned them, with loss='quantile(0.1, 0.5, 0.9)' "
            f"or the like; this one was fitted with the loss {criterion}"
        )
    found = outputs.reshape(len(outputs), -1, len(taus))
    if isinstance(quantiles, str):
        if quantiles != "all":
            raise ValueError(
                f"quantiles must be 'all', a number or a list of numbers; got {quantiles!r}"
            )
        return found
    several = isinstance(quantiles, Iterable)
    levels = quantiles if isinstance(quantiles, Iterable) else [quantiles]
    places = [_place(level, taus) for level in levels]
    if not places:
        raise ValueError("quantiles must name at least one level; got none")
    return found[..., places if several else places[0]]


def _place(level: object, taus: tuple[float, ...]) -> int:
    """Where a level is among those that were trained; ValueError if it is not."""
    number = check_real(level, "a level of quantiles")
    for place, tau in enumerate(taus):
        if isclose(number, tau, rel_tol=1e-6):  # 0.1 in float32 is 0.1 too
            return place
    raise ValueError(
        f"the network was not trained for the quantile {number:g}; its levels are "
        f"{', '.join(f'{tau:g}' for tau in taus)}: name it in the loss, and fit again"
    )
