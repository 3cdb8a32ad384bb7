"""What a fit scores after every epoch, and which logs follow from that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np

from .._types import Array, Data, Trainee
from ..metrics._declarations import check_weighted, direction
from ..metrics._metrics import Metric, score_of
from ..metrics._monitor import ExpectedLogs
from .class_weight import weight_sum

if TYPE_CHECKING:
    from .divided import Divided

# J of rows, and their outputs, targets and weights
Scored: TypeAlias = tuple[float, Array, Array | None, Array | None]


class Scoring:
    """Metrics of the training rows, unless they are streamed, and all scores of those held out.

    Raises ValueError for a metric that takes no weights if samples have some.
    """

    def __init__(
        self,
        net: Trainee,
        train: Data | None,
        validation: Data | None,
        metrics: Mapping[str, Metric],
        parts: Divided | None = None,
    ) -> None:
        self._net, self._metrics = net, metrics
        self._train, self._validation = train, validation
        self._of_train = self._of_validation = None
        if parts is not None:
            self._of_train = _of_parts(net, train, parts, [int(parts.rows[p]) for p in parts.own])
            self._of_validation = _of_parts(net, validation, parts, parts.held_sizes)
        self._score = score_of(net.criterion)
        data = [each for each in (train, validation) if each is not None]
        check_weighted(metrics, any(weights is not None for _, _, weights in data))

    def score_by(self, score: Metric) -> None:
        """Take another function for `val_score` than that of the loss."""
        self._score = score

    @property
    def scores(self) -> bool:
        """Whether there is anything to compute after an epoch."""
        return self._validation is not None or self._train is not None

    @property
    def loss_name(self) -> str:
        """The name of the loss."""
        return str(self._net.criterion.name)

    def expected(self, *, rates: bool) -> ExpectedLogs:
        """The logs of a coming epoch, in their order; rates: whether `lr` is among them."""
        expected = ExpectedLogs(loss=False)
        if rates:
            expected["lr"] = None
        ways = {name: direction(metric) for name, metric in self._metrics.items()}
        if self._train is not None:
            expected |= ways
        if self._validation is not None:
            expected["val_loss"] = False
            if self._score is not None:
                expected["val_score"] = direction(self._score)
            expected |= {f"val_{name}": way for name, way in ways.items()}
        expected["samples_per_second"] = None
        return expected

    def logs(self) -> dict[str, float]:
        """The scores of the network as it is now."""
        logs: dict[str, float] = {}
        if self._metrics and self._train is not None:
            found = self._evaluated(self._train, self._of_train)
            if found is not None:
                logs |= {name: self._apply(name, *found[1:]) for name in self._metrics}
        if self._validation is not None:
            found = self._evaluated(self._validation, self._of_validation)
            if found is None:
                return logs
            J, outputs, y, s = found
            logs["val_loss"] = J
            if self._score is not None:
                logs["val_score"] = float(self._score(outputs, cast(Array, y), s))
            for name in self._metrics:
                logs[f"val_{name}"] = self._apply(name, outputs, y, s)
        return logs

    def _evaluated(self, data: Data, parts: ScoredParts | None) -> Scored | None:
        """J, and outputs, targets and weights of all rows; None on ranks that do not lead."""
        if parts is not None:
            return parts.evaluated()
        J, outputs = self._net._evaluate(*data)
        return J, outputs, data[1], data[2]

    def _apply(self, name: str, outputs: Array, y: Array | None, s: Array | None) -> float:
        return float(self._metrics[name](outputs, cast(Array, y), s))


def _of_parts(
    net: Trainee, data: Data | None, parts: Divided, sizes: list[int] | None
) -> ScoredParts | None:
    return None if data is None else ScoredParts(net, data, parts, sizes)


class ScoredParts:
    """Rows to score, in parts: J is added up along their tree, and rank 0 gets all outputs.

    sizes: the rows of each part of this rank; None: they are cut evenly.
    """

    def __init__(self, net: Trainee, data: Data, divided: Divided, sizes: list[int] | None) -> None:
        self._net, self._data, self._divided = net, data, divided
        n_rows, group = len(data[0]), net.criterion.group
        self._rows = cast(Array, divided.rows_of(lambda: (n_rows, sizes), group))
        self._known: tuple[Array | None, Array | None] | None = None  # targets and weights of all

    def evaluated(self) -> Scored | None:
        """As `Scoring._evaluated`."""
        X, y, s = self._data
        divided, sums, outputs = self._divided, {}, []
        for p, rows in divided.slices(self._rows):
            if rows.start == rows.stop:
                continue
            own = X[rows], None if y is None else y[rows], None if s is None else s[rows]
            J, a = self._net._evaluate(*own)
            weights = np.ones(len(a), self._net.dtype) if own[2] is None else own[2]
            S = float(weight_sum(self._net.criterion, own[1], weights))
            sums[p] = np.array([J * S if S > 0 else 0.0, S])
            outputs.append(a)
        total = cast(Array, divided.tree(sums))
        width = self._net.widths[-1]
        gathered = divided.gather(np.concatenate([np.empty((0, width), self._net.dtype), *outputs]))
        if self._known is None:
            self._known = self._gathered(y), self._gathered(s)
        if not divided.leads:
            return None
        return float(total[0] / total[1]), np.concatenate(gathered), *self._known

    def _gathered(self, array: Array | None) -> Array | None:
        if array is None:
            return None
        found = self._divided.gather(array)
        return np.concatenate(found) if found else None
