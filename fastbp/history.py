"""What `fit` returns: one number per epoch of everything that it recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ._html import cell, curve, heading, table_of_cells

__all__ = ["History"]


@dataclass(repr=False)
class History:
    """Per-epoch record of a fit; `val_loss` and `val_score` are empty without validation data.

    `val_score` is also empty if the loss is one of your own that names no score.

    Metrics have their own names, as `history.val_f1` or `history["val_f1"]`.

    Attributes
    ----------
    loss : list of float
        The mean over the batches of J, penalties included, before the update of each batch. Each
        batch counts by its sum of sample weights.
    val_loss, val_score : list of float
        J and the score of the validation data.
    lr : list of float
        The learning rate of the last step of each epoch.
    samples_per_second : list of float
        The speed of each epoch.
    stopped_by : str or None
        What ended the fit: "callback", "schedule", "time_budget", "divergence", or "halving" for a
        member of a population that was not among the best; None if it trained all its epochs.
    loss_name : str or None
        The name of the loss in J, such as "cross_entropy".

    >>> history = History(); history.add({"loss": 0.5, "samples_per_second": 1e6}); history
    History(epochs=1, loss=0.5)
    """

    loss: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_score: list[float] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    samples_per_second: list[float] = field(default_factory=list)
    stopped_by: str | None = None
    loss_name: str | None = None

    @property
    def epochs(self) -> int:
        """How many epochs were trained."""
        return len(self.loss)

    def add(self, logs: Mapping[str, float]) -> None:
        """Append the values of one epoch, by name."""
        for name, value in logs.items():
            vars(self).setdefault(name, []).append(value)

    def extend(self, series: Mapping[str, Iterable[float]]) -> None:
        """Append the values of several epochs, by name.

        >>> history = History(); history.extend({"loss": [0.5, 0.25]}); history
        History(epochs=2, loss=0.25)
        """
        for name, values in series.items():
            vars(self).setdefault(name, []).extend(values)

    def __getitem__(self, name: str) -> list[float]:
        """The values of that name. Raises KeyError, which lists the names, for another one."""
        series = self.series()
        if name not in series:
            raise KeyError(f"no {name!r} in this History; it has {', '.join(series)}")
        return series[name]

    def series(self) -> dict[str, list[float]]:
        """Every series by name, without the empty ones.

        >>> history = History(); history.add({"loss": 0.5, "f1": 1.0}); history.series()
        {'loss': [0.5], 'f1': [1.0]}
        """
        return {
            name: value for name, value in vars(self).items() if isinstance(value, list) and value
        }

    def _repr_html_(self) -> str:
        """First, least, greatest and last value of each series, and its curve, for notebooks."""
        lines = []
        for name, values in self.series().items():
            numbers = [float(value) for value in values]
            shown = (numbers[0], min(numbers), max(numbers), numbers[-1])
            cells = [cell(name), *(cell(f"{number:.4g}") for number in shown)]
            lines.append("".join(cells) + f"<td>{curve(numbers)}</td>")
        heads = ("", "first", "least", "most", "last", "by epoch")
        epochs = "1 epoch" if self.epochs == 1 else f"{self.epochs} epochs"
        ended = f", ended by {self.stopped_by}" if self.stopped_by else ""
        title = heading("History", f"of {epochs}{ended}")
        return f"<div>{title}{table_of_cells(heads, lines)}</div>"

    def __repr__(self) -> str:
        lasts = "".join(
            f", {name}={values[-1]:.6g}"
            for name, values in self.series().items()
            if name not in ("samples_per_second", "lr")
        )
        return f"History(epochs={self.epochs}{lasts})"
