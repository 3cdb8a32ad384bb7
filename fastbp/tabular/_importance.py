"""How much predictions depend on each column of a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .._network.network import Network
from .._types import Array
from ._encoder import TableEncoder
from ._ensemble import Ensemble

_ROWS = 1000  # of each member, for gradients after a fit
_BLOCK = 4096  # rows whose gradients are in memory at a time


def of_ensemble(encoder: TableEncoder, ensemble: Ensemble) -> dict[str, float]:
    """Importances by gradient on the rows that judge the members; all 0 if there are none."""
    found = np.zeros(len(encoder.features))
    for net, judge in zip(ensemble.networks, ensemble.judges, strict=False):
        found += _gradients(encoder, net, judge.X[:_ROWS])
    return _shares(encoder, found)


def by_gradient(encoder: TableEncoder, nets: Sequence[Network], inputs: Array) -> dict[str, float]:
    """The mean of |Σ (∂a/∂u)·(u − ū)| over rows, outputs and networks, as shares."""
    return _shares(encoder, sum((_gradients(encoder, net, inputs) for net in nets), np.zeros(1)))


def _gradients(encoder: TableEncoder, net: Network, inputs: Array) -> Array:
    """The mean of |Σ (∂a/∂u)·(u − ū)| over rows and outputs, for each column."""
    mean, n = inputs.mean(axis=0), inputs.shape[0]
    found = np.zeros(len(encoder.features))
    places = list(encoder.places.values())
    for start in range(0, n, _BLOCK):
        part = _dense(inputs[start : start + _BLOCK])
        for k in range(net.widths[-1]):
            v = np.zeros((len(part), net.widths[-1]), part.dtype)
            v[:, k] = 1
            products = net.vjp(part, v) * (part - mean)
            found += [abs(products[:, place].sum(axis=1)).sum(dtype=np.float64) for place in places]
    return np.asarray(found / n)


def _dense(inputs: Any) -> Array:
    """The inputs as an array, which may have been sparse rows."""
    found: Array = inputs.toarray() if hasattr(inputs, "toarray") else inputs
    return found


def _shares(encoder: TableEncoder, numbers: Array) -> dict[str, float]:
    total = numbers.sum()
    shares = numbers / total if total > 0 else np.zeros(len(encoder.features))
    return dict(zip(encoder.features, shares.tolist(), strict=True))


def by_permutation(
    encoder: TableEncoder, error: Callable[[Array], float], inputs: Array, seed: int
) -> dict[str, float]:
    """By how much an error of inputs grows when the inputs of a column are shuffled.

    L. Breiman, "Random Forests", Machine Learning 45 (2001).
    """
    inputs = _dense(inputs)
    least = error(inputs)
    rng = np.random.default_rng(seed)
    found = {}
    for name, place in encoder.places.items():
        kept = inputs[:, place].copy()
        inputs[:, place] = kept[rng.permutation(len(inputs))]
        found[name] = error(inputs) - least
        inputs[:, place] = kept
    return found
