"""Histograms of a and δ in each layer during training; they show vanishing and exploding errors."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from .._checks import arguments as check
from .._pyplot import grid_of_axes, whole_numbers
from .._types import Array

_BINS = 60
_RANGE = (-12.0, 2.0)  # powers of ten


class SignalsRecorder:
    """A callback that records histograms of |a| and |δ| in each layer.

    Parameters
    ----------
    X, y : array-like
        A batch for `forward` and `backward`; a few hundred rows are enough.
    every : int, default 1
        Record after each `every`-th epoch.

    Attributes
    ----------
    epochs : list of int
        The recorded epochs.
    a, delta : list of ndarray of shape (layers, 60)
        For each recorded epoch: the fraction of the values whose magnitude is in each of 60 bins,
        which are equal steps of log10 from −12 to 2. Values beyond the range count in the first or
        the last bin.
    zero_a, zero_delta : list of ndarray of shape (layers,)
        For each recorded epoch: the fraction of the values that are exactly 0.

    Examples
    --------
    >>> import numpy as np, fastbp
    >>> X = np.random.default_rng(0).standard_normal((32, 3)); y = X[:, :1]
    >>> net = fastbp.Network((3, 8, 1), activation="tanh", seed=0)
    >>> recorder = fastbp.plot.SignalsRecorder(X, y)
    >>> _ = net.fit(X, y, epochs=3, callbacks=[recorder])
    >>> recorder.epochs, recorder.delta[0].shape
    ([0, 1, 2], (2, 60))
    """

    adds_logs: ClassVar[dict[str, bool | None]] = {}

    def __init__(self, X: object, y: object, *, every: int = 1) -> None:
        self.X, self.y = X, y
        self.every = check.check_positive_int(every, "every")
        self.epochs: list[int] = []
        self.a: list[Array] = []
        self.delta: list[Array] = []
        self.zero_a: list[Array] = []
        self.zero_delta: list[Array] = []

    def on_fit_begin(self, net: Any) -> None:
        """Keep the network."""
        self._net = net

    def on_epoch_end(self, epoch: int, logs: object) -> None:
        """Record the histograms of this epoch."""
        if epoch % self.every:
            return
        net = self._net
        net.forward(self.X)
        net.backward(self.y)
        self.epochs.append(epoch)
        for name in ("a", "delta"):
            shares = [_shares(getattr(layer, name)) for layer in net.layers]
            getattr(self, name).append(np.array([share for share, _ in shares]))
            getattr(self, f"zero_{name}").append(np.array([zero for _, zero in shares]))

    def on_fit_end(self, net: object) -> None:
        """Forget the network."""
        del self._net


def _shares(values: Array) -> tuple[Array, float]:
    size = np.abs(np.asarray(values, float)).ravel()
    powers = np.log10(size[size > 0])
    counts, _ = np.histogram(np.clip(powers, *_RANGE), bins=_BINS, range=_RANGE)
    return counts / max(1, size.size), float(np.mean(size == 0))


class SignalsDisplay:
    """Histograms of |a| and |δ| over the epochs, with one row of panels per layer.

    Epochs and layers count from 1. A line shows the median. The titles give the fraction of values
    that are exactly 0, as for inactive units of ReLU.

    Parameters
    ----------
    recorder : SignalsRecorder
        A recorder that was a callback of a fit.

    Attributes
    ----------
    ax_ : ndarray of shape (layers, 2)
        The axes; set by `plot`.
    figure_
        The figure; set by `plot`.

    Raises
    ------
    ValueError
        The recorder has recorded nothing.
    """

    def __init__(self, recorder: SignalsRecorder) -> None:
        if not recorder.epochs:
            raise ValueError("the recorder is empty: pass it to fit(callbacks=[recorder]) first")
        self.recorder = recorder

    @classmethod
    def from_recorder(cls, recorder: SignalsRecorder) -> Self:
        """Draw the histograms of a recorder. Raises ValueError if it has recorded nothing."""
        return cls(recorder).plot()

    def plot(self) -> Self:
        """Draw on a new figure."""
        recorder = self.recorder
        layers = len(recorder.a[0])
        self.ax_ = grid_of_axes(
            layers, 2, figsize=(8, 1.6 * layers + 0.8), sharex=True, sharey=True
        )
        self.figure_ = self.ax_[0, 0].figure
        sides = (("a", "a", "Greens"), ("delta", "δ", "Reds"))
        for column, (name, symbol, colours) in enumerate(sides):
            shares = np.array(getattr(recorder, name))
            zeros = getattr(recorder, f"zero_{name}")[-1]
            for row in range(layers):
                ax = self.ax_[row, column]
                self._panel(ax, shares[:, row], colours)
                ax.set_title(f"|{symbol}|, layer {row + 1}; {zeros[row]:.0%} are 0", fontsize=9)
        self.ax_[0, 0].set_ylim(self._lowest(), _RANGE[1])
        for ax in self.ax_[-1]:
            ax.set_xlabel("epoch")
            whole_numbers(ax.xaxis)
        for ax in self.ax_[:, 0]:
            ax.set_ylabel("power of ten", fontsize=9)
        return self

    def _lowest(self) -> float:
        """Return the power of ten below which each panel has less than 0.1 % of its values."""
        shares = np.array([*self.recorder.a, *self.recorder.delta])
        below = np.cumsum(shares, axis=-1).max(axis=(0, 1))
        return float(np.linspace(*_RANGE, _BINS + 1)[min((below < 1e-3).sum(), _BINS - 10)])

    def _panel(self, ax: Any, shares: Array, colours: str) -> None:
        """Draw one panel; `shares` has the shape (epochs, bins)."""
        epochs = np.asarray(self.recorder.epochs) + 1  # as in `HistoryDisplay`
        step = self.recorder.every
        extent = (epochs[0] - step / 2, epochs[-1] + step / 2, *_RANGE)
        largest = shares.max() or 1.0
        ax.imshow(
            np.sqrt(shares.T / largest),
            origin="lower",
            extent=extent,
            aspect="auto",
            cmap=colours,
            vmin=0,
            vmax=1,
            interpolation="nearest",
        )
        totals = shares.sum(axis=1)
        seen = totals > 0
        middle = (np.cumsum(shares, axis=1) >= totals[:, None] / 2).argmax(axis=1)
        edges = np.linspace(*_RANGE, _BINS + 1)
        ax.plot(epochs[seen], (edges[middle] + edges[1] / 2 - edges[0] / 2)[seen], "k", lw=1)
