"""What a layer consists of, and how theta is divided among the layers.

`docs/layers.md` has the formulas, their sources, and PyTorch's names for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from .._checks import arguments as check
from .._checks.keywords import hinting
from .._checks.names import known_name, split_spec
from .._types import Array
from ..activations import Activation
from ..activations import Spec as ActivationSpec
from ..activations import resolve as resolve_activation
from ..initializers import InitFunction, Initializer, draw, draw_bias
from ..initializers import resolve as resolve_init
from .embedding import EMBEDDED, VECTORS, Categories, Periodic

# name: (code of the C enum, whether it has a shift, default of eps)
_NORMS = {"layer": (1, True, 1e-5), "rms": (2, False, None), "batch": (3, True, 1e-5)}
_MOMENTUM = 0.1

# What the running statistics of batch norm are called in `Dense.shapes`. They are part of theta, so
# that all that copies and keeps parameters has them too, but no gradient changes them.
STATISTICS = ("running_mean", "running_var")

NORMS: tuple[str, ...] = tuple(_NORMS)


@dataclass(frozen=True)
class Norm:
    """A normalisation of pre-activations: of every sample by itself, or of every unit by the batch.

    Parameters
    ----------
    name : str
        "layer", "rms" or "batch"; docs/layers.md has the formulas.
    eps : float or None, default None
        A number > 0 that is added to the variance, or to the mean square. None is PyTorch's
        default: 1e-5 for "layer" and "batch", the machine epsilon of the network's dtype for "rms".
    momentum : float or None, default None
        Of "batch" only, 0 < momentum <= 1: the share of a batch in the running statistics, as in
        PyTorch. In Keras it is 1 − momentum. None is PyTorch's default for it, 0.1.

    Raises
    ------
    TypeError, ValueError
        For an unknown name, an eps that is not positive, a momentum outside its range, and a
        momentum of another norm.

    Examples
    --------
    >>> Norm("layer").eps
    1e-05
    >>> str(Norm("rms", 1e-6)), str(Norm("batch", momentum=0.01))
    ('rms(1e-06)', 'batch(1e-05, momentum=0.01)')
    """

    name: str
    eps: float | None = None
    momentum: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", known_name("norm", self.name, NORMS))
        eps, momentum = self.eps, self.momentum
        if eps is None:
            eps = _NORMS[self.name][2]
        else:
            eps = check.check_positive(eps, f"eps of {self.name}")
        if self.by_batch:
            momentum = _checked_momentum(_MOMENTUM if momentum is None else momentum)
        elif momentum is not None:
            raise ValueError(
                f"momentum is of norm 'batch', which has running statistics; got "
                f"{momentum!r} for {self.name!r}: leave it out"
            )
        object.__setattr__(self, "eps", eps)
        object.__setattr__(self, "momentum", momentum)

    @property
    def code(self) -> int:
        """The number of this norm in the C enum."""
        return _NORMS[self.name][0]

    @property
    def shifts(self) -> bool:
        """Whether it has a trained shift beside its gain."""
        return _NORMS[self.name][1]

    @property
    def by_batch(self) -> bool:
        """Whether training takes mean and variance of the batch, and keeps running ones."""
        return self.name == "batch"

    def __str__(self) -> str:
        if self.eps is None:
            return self.name
        more = "" if self.momentum in (None, _MOMENTUM) else f", momentum={self.momentum!r}"
        return f"{self.name}({self.eps!r}{more})"


def _checked_momentum(momentum: object) -> float:
    value = check.check_positive(momentum, "momentum of batch norm")
    if value > 1:
        raise ValueError(f"momentum of batch norm must be at most 1; got {momentum!r}")
    return value


@dataclass(frozen=True, init=False, repr=False)
class Dense:
    """A fully connected layer, for `Network.from_layers`.

    With u the input of the layer, z = uW + b, n = norm(z) and a = σ(n), its output is a, or with
    `dropout` p and `residual` a ⊙ m/(1 − p) + u. With a `scale` s, z = (u ⊙ s)W + b.

    Parameters
    ----------
    n_out : int
        Number of units, at least 1.
    activation : str, Activation or ActivationFormula, default "identity"
        σ: a name of `fastbp.activations.NAMES`, or a formula of `fastbp.gates.activation`.
    bias : bool, default True
        Whether the layer has a b.
    dropout : float, default 0.0
        p, 0 <= p < 1: the share of units that a training step drops.
    norm : str, Norm or None, default None
        "layer", "rms" or "batch", each with its eps if wanted, as in "layer(1e-6)", or a
        `fastbp.Norm`.
    residual : bool, default False
        Whether the input is added to the output; needs as many units as inputs.
    init : str, Initializer or callable, default "auto"
        How W is drawn, and with "torch" b too; see `fastbp.initializers`.
    trainable : bool, default True
        Whether training changes the layer. `net.layers[i].trainable` can be set later.
    max_norm : float or None, default None
        After every update, the incoming weights of each unit are shrunk to this length:
        ‖W[:, k]‖ <= max_norm. None sets no limit.
    non_negative : bool, default False
        Whether negative weights become 0 after every update.
    scale : bool, default False
        Whether each input has a trained factor s, which is 1 at first.
    embedding : Periodic or None, default None
        Of the first layer: what it makes of its first inputs before W; see `fastbp.Periodic`.
    categories : Categories or None, default None
        Of the first layer: what it makes of its last inputs, which are codes of categories; see
        `fastbp.Categories`.

    Raises
    ------
    TypeError, ValueError
        For arguments outside these ranges.

    Examples
    --------
    >>> Dense(64, "relu", dropout=0.5, norm="layer")
    Dense(64, 'relu', dropout=0.5, norm='layer(1e-05)')
    """

    n_out: int
    activation: Activation
    bias: bool
    dropout: float
    norm: Norm | None
    residual: bool
    init: Initializer | InitFunction
    trainable: bool
    max_norm: float | None
    non_negative: bool
    scale: bool
    embedding: Periodic | None
    categories: Categories | None

    @hinting("Dense")
    def __init__(
        self,
        n_out: int,
        activation: ActivationSpec = "identity",
        bias: bool = True,
        dropout: float = 0.0,
        norm: str | Norm | None = None,
        residual: bool = False,
        init: str | Initializer | InitFunction = "auto",
        trainable: bool = True,
        max_norm: float | None = None,
        non_negative: bool = False,
        scale: bool = False,
        embedding: Periodic | None = None,
        categories: Categories | None = None,
    ) -> None:
        if norm is not None and not isinstance(norm, Norm):
            norm = _norm_of(norm)
        if embedding is not None and not isinstance(embedding, Periodic):
            way = ": write categories=" if isinstance(embedding, Categories) else ""
            raise TypeError(
                f"embedding must be a fastbp.Periodic, such as Periodic(4); got {embedding!r}{way}"
            )
        if categories is not None and not isinstance(categories, Categories):
            raise TypeError(
                f"categories must be a fastbp.Categories, such as Categories([12, 300]); got "
                f"{categories!r}{': write embedding=' if isinstance(categories, Periodic) else ''}"
            )
        checked = {
            "n_out": check.check_positive_int(n_out, "n_out"),
            "activation": resolve_activation(activation),
            "dropout": check.check_fraction(dropout, "dropout"),
            "norm": norm,
            "init": resolve_init(init),
            "max_norm": None if max_norm is None else check.check_positive(max_norm, "max_norm"),
            "embedding": embedding,
            "categories": categories,
        }
        flags = {
            "bias": bias,
            "residual": residual,
            "trainable": trainable,
            "non_negative": non_negative,
            "scale": scale,
        }
        for name, flag in flags.items():
            checked[name] = check.check_flag(flag, name)
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        for name in self.later:
            if name in self.activation.constants:
                raise ValueError(
                    f"a layer with such options has a parameter named {name}; the activation "
                    f"{self.activation} has a constant of that name: rename it"
                )

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a pickle; those of version 0.1 have no scale and no embeddings."""
        self.__dict__.update({"scale": False, "embedding": None, "categories": None, **state})

    @property
    def is_plain(self) -> bool:
        """Whether the output is σ(z), without norm, dropout or residual."""
        return self.norm is None and self.dropout == 0 and not self.residual

    @property
    def embeds(self) -> bool:
        """Whether the inputs of W are not those of the layer."""
        return self.embedding is not None or self.categories is not None

    @property
    def later(self) -> tuple[str, ...]:
        """The names of the parameters that follow the constants of the activation."""
        return (
            *(("scale",) if self.scale else ()),
            *(EMBEDDED if self.embedding is not None else ()),
            *((VECTORS,) if self.categories is not None else ()),
        )

    def n_weighted(self, n_in: int) -> int:
        """How many inputs W has, of n_in inputs of the layer."""
        for embedding in (self.embedding, self.categories):
            if embedding is not None:
                n_in = embedding.n_outputs(n_in)
        return n_in

    def options(self) -> list[str]:
        """What the layer has besides units and activation, in words.

        >>> Dense(2, bias=False, norm="rms", max_norm=3).options()
        ['no bias', 'rms norm', 'max_norm 3.0']
        """
        words = {
            "no bias": not self.bias,
            f"{self.norm.name if self.norm else ''} norm": self.norm is not None,
            f"dropout {self.dropout}": self.dropout > 0,
            "residual": self.residual,
            f"max_norm {self.max_norm}": self.max_norm is not None,
            "non-negative": self.non_negative,
            "scaled inputs": self.scale,
            f"{self.embedding.n_numbers if self.embedding else 0} embedded inputs": bool(
                self.embedding
            ),
            f"{len(self.categories.levels) if self.categories else 0} categories": bool(
                self.categories
            ),
        }
        return [word for word, holds in words.items() if holds]

    def shapes(self, n_in: int) -> dict[str, tuple[int, ...]]:
        """The shape of each of its parameters, in the order in which theta holds them."""
        n_in, n_out = self.n_weighted(n_in), self.n_out
        shapes: dict[str, tuple[int, ...]] = {"W": (n_in, n_out)}
        if self.bias:
            shapes["b"] = (n_out,)
        if self.norm is not None:
            shapes["gain"] = (n_out,)
            if self.norm.shifts:
                shapes["shift"] = (n_out,)
            if self.norm.by_batch:
                shapes |= dict.fromkeys(STATISTICS, (n_out,))
        if constants := self.activation.constants:
            each = (n_out,) if self.activation.per == "unit" else (1,)
            shapes |= dict.fromkeys(constants, each)
        if self.scale:
            shapes["scale"] = (n_in,)
        if self.embedding is not None:
            shapes |= self.embedding.shapes()
        if self.categories is not None:
            shapes |= self.categories.shapes()
        return shapes

    def __repr__(self) -> str:
        given = [f"{self.n_out}, {str(self.activation)!r}"]
        for name, default in _DEFAULTS.items():
            value = getattr(self, name)
            if value != default:
                text = str(value) if isinstance(value, (Norm, Initializer)) else value
                given.append(f"{name}={text!r}")
        return f"Dense({', '.join(given)})"


_AUTO = Initializer("auto")
_DEFAULTS = {
    "bias": True,
    "dropout": 0.0,
    "norm": None,
    "residual": False,
    "init": _AUTO,
    "trainable": True,
    "max_norm": None,
    "non_negative": False,
    "scale": False,
    "embedding": None,
    "categories": None,
}


def _norm_of(spec: str) -> Norm:
    """A norm by its text, as `str` gives it."""
    text, momentum = spec, None
    if isinstance(spec, str) and (found := _WITH_MOMENTUM.fullmatch(spec)):
        text, momentum = found["rest"] + ")", float(found["momentum"])
    name, eps = split_spec(text, "norm", NORMS, _MOMENTUM_TEXT if "momentum" in str(text) else "")
    return Norm(name, eps, momentum)


_MOMENTUM_TEXT = (
    "; a momentum follows eps, as in batch(1e-05, momentum=0.1), or write fastbp.Norm('batch', "
    "momentum=0.1)"
)
_WITH_MOMENTUM = re.compile(
    r"(?P<rest>[^,]*), *momentum=(?P<momentum>\d+(\.\d*)?([eE][+-]?\d+)?)\)"
)


def check_layers(n_in: int, layers: object) -> tuple[Dense, ...]:
    """The layers of a network with n_in inputs, each checked against its neighbours.

    Raises TypeError or ValueError, which names the layer.
    """
    if isinstance(layers, (str, bytes, Dense)) or not isinstance(layers, Iterable):
        raise TypeError(f"layers must be a list of fastbp.Dense; got {layers!r}")
    layers = tuple(layers)
    if not layers:
        raise ValueError("layers is empty; give at least the output layer, such as [Dense(1)]")
    for i, layer in enumerate(layers):
        if not isinstance(layer, Dense):
            raise TypeError(f"layers[{i}] must be a fastbp.Dense; got {layer!r}")
        if layer.residual and layer.n_out != n_in:
            raise ValueError(
                f"layers[{i}] is residual and so needs as many units as inputs; "
                f"it has {layer.n_out} units and {n_in} inputs"
            )
        if layer.activation.entry.output_only and i < len(layers) - 1:
            raise ValueError(
                f"{layer.activation.name} is for the output layer only; layers[{i}] is a hidden one"
            )
        if layer.embeds:
            _check_embedding(i, n_in, layer)
        n_in = layer.n_out
    if not layers[-1].is_plain:
        raise ValueError(
            f"the output layer takes no norm, dropout or residual, since losses work from its z; "
            f"got {layers[-1]!r}: put them on the layer before"
        )
    return layers


def _check_embedding(i: int, n_in: int, layer: Dense) -> None:
    if i > 0:
        raise ValueError(
            f"layers[{i}] has an embedding, which is for the inputs of a network: put it on "
            "layers[0]"
        )
    if layer.residual:
        raise ValueError("layers[0] has an embedding, so it cannot be residual: take one of them")
    numbers = layer.embedding.n_numbers if layer.embedding is not None else 0
    if numbers > n_in:
        raise ValueError(
            f"the embedding of layers[0] is for {numbers} numbers, and the network has "
            f"{n_in} inputs: lower n_numbers"
        )
    categories = len(layer.categories.levels) if layer.categories is not None else 0
    if numbers + categories > n_in:
        raise ValueError(
            f"the categories of layers[0] are {categories} inputs"
            f"{f', after {numbers} embedded numbers' if numbers else ''}, and the network has "
            f"{n_in} inputs: the number of inputs counts one for each category"
        )


def settled(layer: Dense, dtype: np.dtype[Any]) -> Dense:
    """The layer as a network keeps it: without what may change, and with a number for its eps."""
    norm, init = layer.norm, _AUTO
    if norm is not None and norm.eps is None:
        norm = replace(norm, eps=float(np.finfo(dtype).eps))
    if layer.trainable and norm is layer.norm and layer.init == init:
        return layer
    return replace(layer, init=init, norm=norm, trainable=True)


def count_parameters(n_in: int, layers: Sequence[Dense]) -> int:
    """Length of theta.

    >>> count_parameters(3, [Dense(4, norm="layer"), Dense(2, bias=False)])
    32
    """
    total = 0
    for layer in layers:
        total += sum(map(prod, layer.shapes(n_in).values()))
        n_in = layer.n_out
    return total


def unpack(flat: Array, n_in: int, layers: Sequence[Dense]) -> list[dict[str, Array]]:
    """Views of a flat vector laid out as theta, by layer: {"W": …, "b": …, …}.

    >>> found = unpack(np.arange(14), 3, [Dense(2, norm="rms"), Dense(2, bias=False)])
    >>> [{name: each.tolist() for name, each in blocks.items() if name != "W"} for blocks in found]
    [{'b': [6, 7], 'gain': [8, 9]}, {}]
    """
    found, start = [], 0
    for layer in layers:
        blocks = {}
        for name, shape in layer.shapes(n_in).items():
            end = start + prod(shape)
            blocks[name] = flat[start:end].reshape(shape)
            start = end
        found.append(blocks)
        n_in = layer.n_out
    return found


def draw_parameters(n_in: int, layers: Sequence[Dense], seed: int, dtype: np.dtype[Any]) -> Array:
    """The first theta: W and b by init, gains and scales 1, shifts 0, statistics 0 and 1.

    Constants are as given.

    >>> draw_parameters(3, [Dense(4, "relu"), Dense(2)], 7, np.dtype("float32")).shape
    (26,)
    """
    rng = np.random.Generator(np.random.Philox(seed))
    theta = np.zeros(count_parameters(n_in, layers))
    for layer, blocks in zip(layers, unpack(theta, n_in, layers), strict=True):
        n_in, n_out = blocks["W"].shape
        blocks["W"][...] = draw(layer.init, n_in, n_out, rng, layer.activation)
        if "b" in blocks:
            blocks["b"][...] = draw_bias(layer.init, n_in, n_out, rng)
        if "gain" in blocks:
            blocks["gain"][...] = 1
        if "running_var" in blocks:
            blocks["running_var"][...] = 1
        if layer.scale:
            blocks["scale"][...] = 1
        for name, value in layer.activation.constants.items():
            if abs(value) > float(np.finfo(dtype).max):
                raise ValueError(
                    f"{name} must be at most {np.finfo(dtype).max:.3g}, the largest number of "
                    f"{dtype}; got {value}. Make the network with dtype='float64'"
                )
            blocks[name][...] = value
        if layer.embedding is not None:
            layer.embedding.draw(blocks, rng)
        if layer.categories is not None:
            layer.categories.draw(blocks, rng)
    return theta.astype(dtype)
