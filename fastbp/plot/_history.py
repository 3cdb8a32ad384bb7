"""Learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from .._pyplot import axes_or_new, whole_numbers
from ..history import History

_WORDS = {"lr": "learning rate", "samples_per_second": "samples per second"}


class HistoryDisplay:
    """Curves over the epochs: solid for training, dashed in the same colour for validation.

    Parameters
    ----------
    series : mapping of str to sequence of float
        The values of each curve, one value per epoch. Names of validation begin with "val_".
    loss_name : str, optional
        The name of the loss, for the label of the vertical axis.

    Attributes
    ----------
    ax_, figure_, lines_
        The axes, the figure and the list of lines; set by `plot`.

    Examples
    --------
    >>> import fastbp
    >>> net = fastbp.Network((1, 4, 1), seed=0)
    >>> history = net.fit([[0.0], [1.0]], [[1.0], [3.0]], epochs=3)
    >>> display = fastbp.plot.HistoryDisplay.from_history(history)  # doctest: +SKIP
    """

    def __init__(
        self, series: Mapping[str, Sequence[float]], *, loss_name: str | None = None
    ) -> None:
        self.series = {name: np.asarray(values, float) for name, values in series.items()}
        self.loss_name = loss_name

    @classmethod
    def from_history(
        cls, history: History, *, names: Sequence[str] | None = None, ax: Any = None
    ) -> Self:
        """Draw the curves `names` of a History, by default those of the losses.

        Raises KeyError for a name that the History does not have.
        """
        recorded = history.series()
        if names is None:
            names = [name for name in ("loss", "val_loss") if name in recorded]
        if isinstance(names, str):
            raise TypeError(f"names must be a sequence: write names=[{names!r}]")
        series = {name: history[name] for name in names}
        return cls(series, loss_name=history.loss_name).plot(ax)

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> Self:
        """Draw `loss_curve_` of an estimator, and `validation_scores_` if it has them.

        Raises AttributeError if the estimator is not fitted, or has no loss curve.
        """
        series = {"loss": estimator.loss_curve_}
        if getattr(estimator, "validation_scores_", None):
            series["val_score"] = estimator.validation_scores_
        network = getattr(estimator, "network_", None)
        loss_name = getattr(estimator, "loss", None) if network is None else network.criterion.name
        return cls(series, loss_name=loss_name).plot(ax=ax)

    def plot(self, ax: Any = None, *, log: bool = False) -> Self:
        """Draw on `ax`, by default on a new figure; with `log`, on a logarithmic scale.

        The vertical axis names what is drawn: J with the name of the loss, a score or metric.
        """
        self.ax_ = ax = axes_or_new(ax, figsize=(6.4, 4))
        self.figure_ = ax.figure
        self.lines_ = []
        colours: dict[str, str] = {}
        for name, values in self.series.items():
            base = name.removeprefix("val_")
            held_out = base != name
            colour = colours.setdefault(base, f"C{len(colours)}")
            epochs = np.arange(1, len(values) + 1)
            style = {"linestyle": "--" if held_out else "-", "color": colour, "label": name}
            marker = "o" if len(values) == 1 else None
            self.lines_ += ax.plot(epochs, values, marker=marker, **style)
        ax.set(xlabel="epoch", ylabel=self._quantity(), yscale="log" if log else "linear")
        whole_numbers(ax.xaxis)
        ax.grid(alpha=0.3)
        ax.legend()
        return self

    def _quantity(self) -> str:
        """What the vertical axis shows, with its unit."""
        loss = "J" if self.loss_name is None else f"J ({self.loss_name})"
        words = {"loss": loss, **_WORDS}
        names = dict.fromkeys(name.removeprefix("val_") for name in self.series)
        return ", ".join(words.get(name, name) for name in names)
