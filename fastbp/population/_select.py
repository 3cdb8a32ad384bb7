"""Members compared by a score on held-out data, and greedy selection; see `Population.select`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from .._checks import arguments as check
from .._checks.columns import check_column_names
from .._network.network import Network
from .._training.fit import data_set
from .._types import Array, Data
from ..metrics._declarations import check_weighted, direction
from ..metrics._metrics import Metric, score_of
from ..metrics._metrics import resolve as resolve_metrics


def select_members(
    nets: Sequence[Network], X: object, y: object, metric: str | Metric | None, size: int
) -> list[int]:
    """The numbers of the members of the best ensemble on the way; see `Population.select`."""
    score, sign = score_of_members(nets, metric, "select")
    _, targets, _ = data_set(nets[0], X, y, None)
    outputs = np.stack([net.predict(X).astype(np.float64) for net in nets])
    dtype = nets[0].dtype
    chosen: list[int] = []
    total = np.zeros_like(outputs[0])
    best, best_score = 0, -np.inf
    for count in range(1, size + 1):
        scores = [
            sign * float(score(((total + each) / count).astype(dtype), cast(Array, targets), None))
            for each in outputs
        ]
        k = int(np.nanargmax(scores))
        chosen.append(k)
        total += outputs[k]
        if scores[k] > best_score:
            best, best_score = count, scores[k]
    return chosen[:best]


def score_of_members(
    nets: Sequence[Network], metric: str | Metric | None, verb: str
) -> tuple[Metric, float]:
    """A score by which members are compared, and 1.0, or −1.0 if it is better the lower it is.

    Raises ValueError for members that no score can compare; `verb` is for messages.
    """
    losses = {str(net.criterion) for net in nets}
    if len(losses) > 1:
        raise ValueError(
            f"{verb} compares members of one loss; these have {', '.join(sorted(losses))}"
        )
    loss = nets[0].criterion
    if loss.group > 1:
        raise ValueError(f"{verb} needs targets; {loss} has none")
    found = score_of(loss) if metric is None else None
    if metric is not None:
        (found,) = resolve_metrics([metric], loss).values()
    if found is None:
        raise ValueError(f"the loss {loss} has no score: name a metric")
    way = direction(found)
    return found, 1.0 if way in (None, True) else -1.0


class HeldOut:
    """Held-out data, and the score by which members are compared on them.

    Raises TypeError or ValueError for data or a metric that do not suit the members; `verb` is for
    messages.

    Attributes
    ----------
    sign : float
        1.0, or −1.0 if the score is better the lower it is.
    """

    def __init__(
        self,
        nets: Sequence[Network],
        X: object,
        validation_data: Sequence[object],
        metric: str | Metric | None,
        verb: str,
    ) -> None:
        self._score, self.sign = score_of_members(nets, metric, verb)
        given = check.validation_set(validation_data, None, None, None)
        if given is None:
            raise TypeError(f"{verb} needs validation_data=(X, y), on which members are compared")
        data, names = given
        known: dict[object, Data] = {}  # members that take the data alike share them
        self._pairs: list[tuple[Network, Data]] = []
        for net in nets:
            key = (type(net), str(net.feature_names), net._architecture.inputs)
            if key not in known:
                check_column_names(data[0], net._names_of(X), names.X)
                known[key] = data_set(net, *data, names)
            self._pairs.append((net, known[key]))
        check_weighted({"metric": self._score}, self._pairs[0][1][2] is not None)

    def score(self, k: int) -> float:
        """The score of member k as it is now."""
        net, (X, y, weights) = self._pairs[k]
        return float(self._score(net._evaluate(X, y, weights)[1], cast(Array, y), weights))
