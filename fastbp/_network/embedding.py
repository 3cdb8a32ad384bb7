"""Periodic embeddings of numbers: what a first layer makes of its inputs before its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import pi

import numpy as np

from .._checks import arguments as check
from .._types import Array

# The names of the trained parameters in `Dense.shapes`, in the order of theta.
EMBEDDED = ("frequencies", "phases", "projections", "offsets")
_MOST_OUTPUTS, _MOST_FREQUENCIES = 64, 4096  # of the engine


@dataclass(frozen=True)
class Periodic:
    """A periodic embedding of the first inputs of a network, for `Dense(…, embedding=…)`.

    Each of the first n_numbers inputs x becomes `width` inputs of W:

        x itself, if `keep`        y_o = offsets_o + Σ_k cos(2π frequencies_k x + phases_k) P_ko

    or max(0, y_o) if `relu`; P are the `projections`. The other inputs follow as they are. With
    relu=True, keep=False this is the embedding PLR of Gorishniy, Rubachev & Babenko (NeurIPS 2022);
    the default is the variant of RealMLP (Holzmüller, Grinsztajn & Steinwart, NeurIPS 2024).

    Parameters
    ----------
    n_numbers : int
        How many of the inputs are embedded, at least 1.
    frequencies : int, default 16
        k: how many frequencies each of them has, 1 to 4096.
    width : int, default 4
        How many inputs of W each of them becomes, x included if it is kept; at most 64 others.
    std : float, default 0.1
        Standard deviation of the first frequencies, greater than 0.
    relu : bool, default False
        Whether max(0, y) takes the place of y.
    keep : bool, default True
        Whether x itself is kept.

    Raises
    ------
    TypeError, ValueError
        For arguments outside these ranges.

    Examples
    --------
    >>> Periodic(3)
    Periodic(n_numbers=3, frequencies=16, width=4, std=0.1, relu=False, keep=True)
    >>> Periodic(3).n_outputs(5)
    14
    """

    n_numbers: int
    frequencies: int = 16
    width: int = 4
    std: float = 0.1
    relu: bool = False
    keep: bool = True

    def __post_init__(self) -> None:
        checked = {
            "n_numbers": check.check_positive_int(self.n_numbers, "n_numbers"),
            "frequencies": check.check_positive_int(self.frequencies, "frequencies"),
            "width": check.check_positive_int(self.width, "width"),
            "std": check.check_positive(self.std, "std"),
            "relu": check.check_flag(self.relu, "relu"),
            "keep": check.check_flag(self.keep, "keep"),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        if self.frequencies > _MOST_FREQUENCIES:
            raise ValueError(f"frequencies must be at most 4096; got {self.frequencies}")
        if not 1 <= self.outputs <= _MOST_OUTPUTS:
            least = 1 + self.keep
            raise ValueError(
                f"width must be {least} to {_MOST_OUTPUTS + self.keep} with keep={self.keep}; got "
                f"{self.width}"
            )

    @property
    def outputs(self) -> int:
        """How many y each number has."""
        return self.width - self.keep

    def n_outputs(self, n_in: int) -> int:
        """How many inputs W has, of n_in inputs of the network."""
        return n_in + self.n_numbers * (self.width - 1)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the trained parameters, in the order of theta."""
        n, k, outputs = self.n_numbers, self.frequencies, self.outputs
        return dict(zip(EMBEDDED, ((n, k), (n, k), (n, k, outputs), (n, outputs)), strict=True))

    def draw(self, blocks: Mapping[str, Array], rng: np.random.Generator) -> None:
        """Draw the first values: c ~ N(0, std²), φ ~ U(−π, π), P and offsets as torch.nn.Linear."""
        bound = self.frequencies**-0.5
        blocks["frequencies"][...] = rng.normal(0, self.std, blocks["frequencies"].shape)
        blocks["phases"][...] = rng.uniform(-pi, pi, blocks["phases"].shape)
        for name in ("projections", "offsets"):
            blocks[name][...] = rng.uniform(-bound, bound, blocks[name].shape)
