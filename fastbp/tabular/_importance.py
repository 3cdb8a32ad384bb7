"""How much predictions depend on each column of a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
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
    """The mean of |Σ (∂a/∂u)·(u − ū)| over rows and outputs, for each column.

    The u of a column of codes are the elements of their vectors.
    """
    places = list(encoder.places.values())
    if encoder.code_levels:
        net, inputs, places = _with_vectors(net, inputs, places)
    mean, n = inputs.mean(axis=0), inputs.shape[0]
    found = np.zeros(len(places))
    for start in range(0, n, _BLOCK):
        part = _dense(inputs[start : start + _BLOCK])
        for k in range(net.widths[-1]):
            v = np.zeros((len(part), net.widths[-1]), part.dtype)
            v[:, k] = 1
            products = net.vjp(part, v) * (part - mean)
            found += [abs(products[:, place].sum(axis=1)).sum(dtype=np.float64) for place in places]
    return np.asarray(found / n)


def _with_vectors(
    net: Network, inputs: Array, places: list[Array]
) -> tuple[Network, Array, list[Array]]:
    """The same network, inputs and places of columns with vectors in place of codes."""
    categories = net.dense[0].categories
    assert categories is not None  # the encoder has codes
    first = inputs.shape[1] - len(categories.levels)
    plain = Network.from_layers(
        categories.n_outputs(inputs.shape[1]),
        [replace(net.dense[0], categories=None), *net.dense[1:]],
        loss=net.criterion,
        dtype=net.dtype,
    )
    for layer, same in zip(plain.layers, net.layers, strict=True):
        for name, values in layer.parameters().items():
            values[...] = same.parameters()[name]
    codes = inputs[:, first:].astype(np.intp).T
    vectors = [
        np.where(of[:, None] < 0, 0, table[of])
        for of, table in zip(codes, net.layers[0].tables, strict=True)
    ]
    starts = np.cumsum([first, *categories.width])
    ranges = [*map(np.arange, starts[:-1], starts[1:])]
    moved = [
        np.concatenate([place[place < first], *(ranges[i - first] for i in place if i >= first)])
        for place in places
    ]
    return plain, np.concatenate([inputs[:, :first], *vectors], axis=1), moved


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
