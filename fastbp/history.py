"""What `fit` returns: one number an epoch of everything it watched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(repr=False)
class History:
    """Per-epoch record of a fit; `val_loss` and `val_score` are empty without validation data.

    `loss` is the mean over batches of J (penalties included) before each batch's update,
    weighted by the batch's sum of sample weights.

    >>> history = History(); history.add({"loss": 0.5, "samples_per_second": 1e6}); history
    History(epochs=1, loss=0.5)
    """

    loss: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_score: list[float] = field(default_factory=list)
    samples_per_second: list[float] = field(default_factory=list)

    @property
    def epochs(self) -> int:
        """How many epochs were trained."""
        return len(self.loss)

    def add(self, logs: Mapping[str, float]) -> None:
        """Append the numbers of one epoch, by name."""
        for name, value in logs.items():
            getattr(self, name).append(value)

    def __repr__(self) -> str:
        lasts = "".join(
            f", {name}={values[-1]:.6g}"
            for name, values in vars(self).items()
            if values and name != "samples_per_second"
        )
        return f"History(epochs={self.epochs}{lasts})"
