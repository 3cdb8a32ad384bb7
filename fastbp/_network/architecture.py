"""What a network computes, apart from its parameters: layers, loss, penalties and dtype."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import prod
from typing import Any

import numpy as np

from .._types import Array
from ..activations import Activation
from ..losses import Loss
from .dense import STATISTICS, Dense, count_parameters, unpack


@dataclass(frozen=True)
class Architecture:
    """The part of a network that training never changes.

    Attributes
    ----------
    widths : tuple of int
        Units of every layer, inputs first.
    dense : tuple of Dense
        The layers, the first hidden one first.
    criterion : Loss
        The loss.
    dtype : numpy.dtype
        float32 or float64, of parameters and arithmetic.
    l1, l2 : float
        Weights of ‖W‖₁ and of ‖W‖²/2 in J.
    input_dropout : float
        p of the dropout of the inputs.
    matmul_precision : str
        How exact the factors of matrix products are; see `fastbp._precision`.
    """

    widths: tuple[int, ...]
    dense: tuple[Dense, ...]
    criterion: Loss
    dtype: np.dtype[Any]
    l1: float
    l2: float
    input_dropout: float
    matmul_precision: str

    @property
    def n_params(self) -> int:
        """Length of theta."""
        return count_parameters(self.widths[0], self.dense)

    @property
    def activations(self) -> tuple[Activation, ...]:
        """The activation of each layer."""
        return tuple(layer.activation for layer in self.dense)

    @property
    def is_plain(self) -> bool:
        """Whether every layer is σ(uW + b), as `Network(widths, …)` makes them."""
        return self.input_dropout == 0 and not any(layer.options() for layer in self.dense)

    @property
    def drops(self) -> bool:
        """Whether training drops inputs or units."""
        return self.input_dropout > 0 or any(layer.dropout > 0 for layer in self.dense)

    @property
    def whole_rows(self) -> bool:
        """Whether the first layer needs all elements of a row, which sparse rows do not have."""
        first = self.dense[0]
        return self.input_dropout > 0 or first.residual or first.embeds

    @property
    def inputs(self) -> tuple[Hashable, ...]:
        """All on which it depends which X is accepted, and as what."""
        return self.dtype, self.widths[0], self.whole_rows, self.dense[0].categories

    @property
    def has_batch_norm(self) -> bool:
        """Whether some layer has running statistics."""
        return any(layer.norm is not None and layer.norm.by_batch for layer in self.dense)

    def normed_by_batch(self, trainable: Sequence[bool]) -> bool:
        """Whether training takes statistics of the batch, if these layers are trained."""
        return any(
            trained and layer.norm is not None and layer.norm.by_batch
            for layer, trained in zip(self.dense, trainable, strict=True)
        )

    def statistics(self) -> list[slice]:
        """Where running statistics are in theta, for each layer that has them."""
        first, last = STATISTICS
        return [
            slice(parts[first].start, parts[last].stop) for parts in self.slices() if first in parts
        ]

    def blocks(self, flat: Array) -> list[dict[str, Array]]:
        """Views of a flat vector laid out as theta, by layer; see `Dense.shapes` for the names."""
        return unpack(flat, self.widths[0], self.dense)

    def slices(self) -> list[dict[str, slice]]:
        """Where the parameters of each layer are in theta: W, b, gain, shift, statistics, ….

        Each has the parts that it needs. All its trained constants are one part.
        """
        found, start, n_in = [], 0, self.widths[0]
        for layer in self.dense:
            sizes = {name: prod(shape) for name, shape in layer.shapes(n_in).items()}
            constants = [sizes.pop(name) for name in layer.activation.constants]
            later = {name: sizes.pop(name) for name in layer.later}
            if constants:
                sizes["constants"] = sum(constants)
            sizes |= later
            ends = list(accumulate(sizes.values(), initial=start))
            found.append(
                {name: slice(*pair) for name, pair in zip(sizes, pairwise(ends), strict=True)}
            )
            start, n_in = ends[-1], layer.n_out
        return found
