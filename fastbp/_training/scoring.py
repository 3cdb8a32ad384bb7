"""What a fit scores after every epoch, and which logs follow from that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from .._types import Array, Data, Trainee
from ..metrics._declarations import check_weighted, direction
from ..metrics._metrics import Metric, score_of
from ..metrics._monitor import ExpectedLogs


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
    ) -> None:
        self._net, self._metrics = net, metrics
        self._train, self._validation = train, validation
        self._score = score_of(net.criterion)
        data = [each for each in (train, validation) if each is not None]
        check_weighted(metrics, any(weights is not None for _, _, weights in data))

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
            outputs = self._net._evaluate(*self._train)[1]
            logs |= {name: self._apply(name, outputs, self._train) for name in self._metrics}
        if self._validation is not None:
            X, y, s = self._validation
            J, outputs = self._net._evaluate(X, y, s)
            logs["val_loss"] = J
            if self._score is not None:
                logs["val_score"] = float(self._score(outputs, cast(Array, y), s))
            for name in self._metrics:
                logs[f"val_{name}"] = self._apply(name, outputs, self._validation)
        return logs

    def _apply(self, name: str, outputs: Array, data: Data) -> float:
        _, y, s = data
        return float(self._metrics[name](outputs, cast(Array, y), s))
