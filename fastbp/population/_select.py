"""Greedy ensemble selection; see `Population.select`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._network.network import Network
from .._training.fit import data_set
from ..metrics._declarations import direction
from ..metrics._metrics import Metric, score_of
from ..metrics._metrics import resolve as resolve_metrics


def select_members(
    nets: Sequence[Network], X: object, y: object, metric: str | Metric | None, size: int
) -> list[int]:
    """The numbers of the members of the best ensemble on the way; see `Population.select`."""
    losses = {str(net.criterion) for net in nets}
    if len(losses) > 1:
        raise ValueError(
            f"select compares members of one loss; these have {', '.join(sorted(losses))}"
        )
    score, sign = _score(nets[0], metric)
    _, targets, _ = data_set(nets[0], X, y, None)
    if targets is None:
        raise ValueError(f"select needs targets; {nets[0].criterion} has none")
    outputs = np.stack([net.predict(X).astype(np.float64) for net in nets])
    dtype = nets[0].dtype
    chosen: list[int] = []
    total = np.zeros_like(outputs[0])
    best, best_score = 0, -np.inf
    for count in range(1, size + 1):
        scores = [
            sign * float(score(((total + each) / count).astype(dtype), targets, None))
            for each in outputs
        ]
        k = int(np.nanargmax(scores))
        chosen.append(k)
        total += outputs[k]
        if scores[k] > best_score:
            best, best_score = count, scores[k]
    return chosen[:best]


def _score(net: Network, metric: str | Metric | None) -> tuple[Metric, float]:
    """A score and 1.0, or −1.0 if it is better the lower it is."""
    found = score_of(net.criterion) if metric is None else None
    if metric is not None:
        (found,) = resolve_metrics([metric], net.criterion).values()
    if found is None:
        raise ValueError(f"the loss {net.criterion} has no score: name a metric")
    way = direction(found)
    return found, 1.0 if way in (None, True) else -1.0
