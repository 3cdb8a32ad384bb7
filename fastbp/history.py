"""What `fit` returns: one number an epoch of everything it watched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ._network.describe import history_html


@dataclass(repr=False)
class History:
    """Per-epoch record of a fit; `val_loss` and `val_score` are empty without validation data.

    `loss` is the mean over batches of J (penalties included) before each batch's update,
    weighted by the batch's sum of sample weights. `lr` is the learning rate of the epoch's last
    step. Metrics stand under their own names, as `history.val_f1` or `history["val_f1"]`.
    stopped_by: None where all epochs were made, else "callback", "schedule", "time_budget" or
    "divergence".

    >>> history = History(); history.add({"loss": 0.5, "samples_per_second": 1e6}); history
    History(epochs=1, loss=0.5)
    """

    loss: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_score: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    samples_per_second: list[float] = field(default_factory=list)
    stopped_by: str | None = None

    @property
    def epochs(self) -> int:
        """How many epochs were trained."""
        return len(self.loss)

    def add(self, logs: Mapping[str, float]) -> None:
        """Append the numbers of one epoch, by name."""
        for name, value in logs.items():
            vars(self).setdefault(name, []).append(value)

    def __getitem__(self, name: str) -> list[float]:
        """The numbers of that name. Raises KeyError, listing the names, for another one."""
        series = self.series()
        if name not in series:
            raise KeyError(f"no {name!r} in this History; it has {', '.join(series)}")
        return series[name]

    def series(self) -> dict[str, list[float]]:
        """All that was recorded, by name; what stayed empty is left out.

        >>> history = History(); history.add({"loss": 0.5, "f1": 1.0}); history.series()
        {'loss': [0.5], 'f1': [1.0]}
        """
        return {
            name: value for name, value in vars(self).items() if isinstance(value, list) and value
        }

    def _repr_html_(self) -> str:
        """A table with a curve for everything recorded, for notebooks."""
        return history_html(self)

    def __repr__(self) -> str:
        lasts = "".join(
            f", {name}={values[-1]:.6g}"
            for name, values in self.series().items()
            if name not in ("samples_per_second", "lr")
        )
        return f"History(epochs={self.epochs}{lasts})"
