"""Embeddings of numbers and of categories: what a first layer makes of its inputs before W."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from math import pi

import numpy as np

from .._checks import arguments as check
from .._checks.keywords import hinting
from .._types import Array

# The names of the trained parameters in `Dense.shapes`, in the order of theta.
EMBEDDED = ("frequencies", "phases", "projections", "offsets")
VECTORS = "vectors"
_MOST_OUTPUTS, _MOST_FREQUENCIES = 64, 4096  # of the engine
_MOST_LEVELS, MOST_WIDTH = 2**31 - 1, 4096
_CHUNK = 65536  # rows whose codes are checked at a time


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


@dataclass(frozen=True, init=False, repr=False)
class Categories:
    """Embeddings of categories, the last inputs of a network, for `Dense(…, categories=…)`.

    An input that is a category is given by its code, 0 to n − 1 of n levels, and becomes `width`
    inputs of W: the row of a trained table (n, width). The code −1 stands for no category, such as
    a hole or a level that training has not seen, and becomes zeros. As `torch.nn.Embedding` has it,
    this is W times a one-hot vector, read instead of multiplied.

    Gradients are sparse: a step reads and changes only the rows whose categories are in its batch,
    so its time does not grow with the number of levels; docs/layers.md names the options with which
    it does. A row whose gradient is 0 in all elements keeps its values and its moments, and has no
    weight decay in that step, as with `SparseAdam` of PyTorch; an average of the parameters moves
    all rows.

    Parameters
    ----------
    levels : sequence of int
        How many levels each category has, 1 to 2³¹ − 1; those of a float32 network at most 2²⁴,
        since its inputs hold larger codes only roughly.
    width : int or sequence of int, default 8
        How many inputs of W each becomes, 1 to 4096: one number for all, or one each. The attribute
        has one each.
    std : float, default 1.0
        Standard deviation of the first tables, whose mean is 0; greater than 0.

    Raises
    ------
    TypeError, ValueError
        For arguments outside these ranges.

    Examples
    --------
    Three numbers, a country (one of 200) and a product (one of 5,000):

    >>> from fastbp import Dense, Network
    >>> Categories([200, 5000])
    Categories([200, 5000], width=8)
    >>> first = Dense(64, "relu", categories=Categories([200, 5000], width=[4, 16]))
    >>> net = Network.from_layers(5, [first, Dense(1)], seed=0)
    >>> net.layers[0].W.shape, [table.shape for table in net.layers[0].tables]
    ((23, 64), [(200, 4), (5000, 16)])
    >>> net.predict([[0.5, 1.0, -2.0, 17, 4999], [0.5, 1.0, -2.0, -1, -1]]).shape
    (2, 1)
    """

    levels: tuple[int, ...]
    width: tuple[int, ...]
    std: float

    @hinting("Categories")
    def __init__(
        self, levels: Iterable[int], width: int | Iterable[int] = 8, std: float = 1.0
    ) -> None:
        unordered = isinstance(levels, (str, bytes, AbstractSet, Mapping))
        if unordered or not isinstance(levels, Iterable):
            raise TypeError(
                "levels must be a list with one number for each category, such as [200] for one "
                f"with 200 levels; got {levels!r}"
            )
        found = tuple(_whole(n, f"levels[{i}]", _MOST_LEVELS) for i, n in enumerate(levels))
        if not found:
            raise ValueError("levels is empty; leave out categories if there are none")
        if isinstance(width, Iterable) and not isinstance(width, (str, bytes)):
            widths = tuple(_whole(w, f"width[{i}]", MOST_WIDTH) for i, w in enumerate(width))
        else:
            widths = (_whole(width, "width", MOST_WIDTH),) * len(found)
        if len(widths) != len(found):
            raise ValueError(
                f"width has {len(widths)} numbers, and levels has {len(found)}: give one number "
                "for all or one each"
            )
        for name, value in (
            ("levels", found),
            ("width", widths),
            ("std", check.check_positive(std, "std")),
        ):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        same = len(set(self.width)) == 1
        width = self.width[0] if same else list(self.width)
        std = "" if self.std == 1 else f", std={self.std}"
        return f"Categories({list(self.levels)}, width={width}{std})"

    def n_outputs(self, n_in: int) -> int:
        """How many inputs W has, of n_in inputs of which the last are categories."""
        return n_in - len(self.levels) + sum(self.width)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of the tables, one after another in one vector of theta."""
        return {VECTORS: (sum(n * w for n, w in zip(self.levels, self.width, strict=True)),)}

    def rows(self) -> Array:
        """Where each row of the tables begins in that vector.

        >>> Categories([3, 2], [2, 4]).rows()
        array([ 0,  2,  4,  6, 10])
        """
        sizes = np.repeat(self.width, self.levels)
        starts: Array = np.cumsum(sizes) - sizes
        return starts

    def tables(self, vectors: Array) -> list[Array]:
        """Views (levels, width) of the tables in such a vector.

        >>> [table.tolist() for table in Categories([2, 1], [1, 2]).tables(np.arange(4))]
        [[[0], [1]], [[2, 3]]]
        """
        found, start = [], 0
        for n, width in zip(self.levels, self.width, strict=True):
            found.append(vectors[start : start + n * width].reshape(n, width))
            start += n * width
        return found

    def draw(self, blocks: Mapping[str, Array], rng: np.random.Generator) -> None:
        """Draw the first values ~ N(0, std²)."""
        blocks[VECTORS][...] = rng.normal(0, self.std, blocks[VECTORS].shape)

    def check_dtype(self, dtype: np.dtype[np.floating]) -> None:
        """ValueError if inputs of this dtype cannot hold every code."""
        most = 2 ** (np.finfo(dtype).nmant + 1)
        if max(self.levels) > most:
            raise ValueError(
                f"levels of categories must be at most {most} for a network of {dtype}, whose "
                f"inputs cannot hold larger codes; got {max(self.levels)}. Make the network with "
                "dtype='float64'"
            )

    def check_codes(self, X: Array, name: str) -> None:
        """ValueError if the last columns of X are not codes, or −1."""
        first = X.shape[1] - len(self.levels)
        if len(X) == 1:  # then the calls of NumPy take longer than all the rest
            pairs = zip(X[0, first:].tolist(), self.levels, strict=True)
            if all(-1 <= code < n and code % 1 == 0 for code, n in pairs):
                return
        levels = np.array(self.levels)
        for start in range(0, len(X), _CHUNK):
            codes = X[start : start + _CHUNK, first:]
            good = (codes >= -1) & (codes < levels) & (codes == np.floor(codes))
            if good.all():
                continue
            row, c = np.argwhere(~good)[0]
            raise ValueError(
                f"{name} has {codes[row, c].item()!r} in row {start + row}, column {first + c}, "
                f"which is a category: expected a code from 0 to {self.levels[c] - 1}, or −1 for "
                "no category"
            )


def _whole(value: object, name: str, most: int) -> int:
    found = check.check_positive_int(value, name)
    if found > most:
        raise ValueError(f"{name} must be at most {most}; got {found}")
    return found
