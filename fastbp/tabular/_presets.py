"""The presets of `TableModel`: how large the ensemble is, and how it is trained.

The recipe follows Holzmüller et al. 2024 (RealMLP) in the scaling of the inputs, the initial
weights, the activations, the label smoothing and the schedule, and Gorishniy et al. 2022 in the
piecewise linear encoding of numbers. `benchmarks/tables.py` measures each preset.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .._checks.names import known_name


@dataclass(frozen=True)
class Preset:
    """How a `TableModel` is made.

    Parameters
    ----------
    members : int
        The number of networks.
    hidden : tuple of int
        The units of each hidden layer.
    epochs : int
        The number of epochs.
    min_steps : int
        The least number of steps; small tables get more epochs.
    batch_size : int
        Rows per step.
    pieces : int
        The most pieces of a number; see `TableEncoder`.
    """

    members: int
    hidden: tuple[int, ...]
    epochs: int
    min_steps: int
    batch_size: int
    pieces: int


PRESETS: dict[str, Preset] = {
    "fast": Preset(4, (64,), 16, 800, 32, 32),
    "default": Preset(8, (64, 64), 48, 1000, 32, 128),
    "best": Preset(16, (128, 128), 64, 1000, 32, 128),
}
NAMES: tuple[str, ...] = tuple(PRESETS)

# Of all presets, by whether the task is a classification.
ACTIVATION = {True: "selu", False: "mish"}
RATE = {True: 0.03, False: 0.05}
SCALE_RATE = 1.0  # the factor of the rate of the trained scale of the inputs
SMOOTHING = 0.1  # of the labels
MAX_ONE_HOT = 32  # levels of a text, with an input each
EMBEDDING_RATE = 3.0  # the factor of the rate of the vectors of categories
EMBEDDING_STD = 0.3  # of their first values
MAX_WIDTH = 16  # of a vector
BETAS = (0.9, 0.95)


def width_of(n_levels: int) -> int:
    """The width of the vectors of so many levels: 1.6·n^0.56, at most 16.

    The rule is `emb_sz_rule` of fastai (J. Howard, S. Gugger, Information 11, 2020), whose most is
    600.

    >>> [width_of(n) for n in (3, 20, 60, 5000)]
    [3, 9, 16, 16]
    """
    width: float = 1.6 * n_levels**0.56
    return min(MAX_WIDTH, round(width))


def preset_of(name: str) -> Preset:
    """The preset of a name. Raises ValueError for another value."""
    return PRESETS[known_name("preset", name, NAMES)]


def probe_of(preset: Preset) -> Preset:
    """One network of a preset that is trained as long as those of "fast", to compare inputs by.

    With half the epochs, or with one hidden layer in "default", codes of 5,000 levels were not
    learned in one of three splits of a synthetic table.
    """
    fast = PRESETS["fast"]
    return replace(preset, members=1, epochs=fast.epochs, min_steps=fast.min_steps)
