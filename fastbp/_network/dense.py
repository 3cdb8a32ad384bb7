"""What a layer consists of, and how theta is divided among the layers.

`docs/layers.md` has the formulas, their sources, and PyTorch's names for them.
"""

from __future__ import annotations

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

# name: (code of the C enum, whether it has a shift)
_NORMS = {"layer": (1, True), "rms": (2, False)}

NORMS: tuple[str, ...] = tuple(_NORMS)


@dataclass(frozen=True)
class Norm:
    """A normalisation of the pre-activations of every sample.

    Parameters
    ----------
    name : str
        "layer" or "rms".
    eps : float or None, default None
        A number > 0 that is added to the variance, or to the mean square. None is PyTorch's
        default: 1e-5 for "layer", the machine epsilon of the network's dtype for "rms".

    Raises
    ------
    ValueError
        For an unknown name, or an eps that is not positive.

    Examples
    --------
    >>> Norm("layer")
    Norm(name='layer', eps=1e-05)
    >>> str(Norm("rms", 1e-6))
    'rms(1e-06)'
    """

    name: str
    eps: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", known_name("norm", self.name, NORMS))
        if self.eps is not None:
            object.__setattr__(self, "eps", check.check_positive(self.eps, f"eps of {self.name}"))
        elif self.name == "layer":
            object.__setattr__(self, "eps", 1e-5)

    @property
    def code(self) -> int:
        """The number of this norm in the C enum."""
        return _NORMS[self.name][0]

    @property
    def shifts(self) -> bool:
        """Whether it has a trained shift beside its gain."""
        return _NORMS[self.name][1]

    def __str__(self) -> str:
        return self.name if self.eps is None else f"{self.name}({self.eps!r})"


@dataclass(frozen=True, init=False, repr=False)
class Dense:
    """A fully connected layer, for `Network.from_layers`.

    With u the input of the layer, z = uW + b, n = norm(z) and a = σ(n), its output is a, or with
    `dropout` p and `residual` a ⊙ m/(1 − p) + u.

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
        "layer", "rms", either with its eps as in "layer(1e-6)", or a `fastbp.Norm`.
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
    ) -> None:
        if norm is not None and not isinstance(norm, Norm):
            norm = Norm(*split_spec(norm, "norm", NORMS))
        checked = {
            "n_out": check.check_positive_int(n_out, "n_out"),
            "activation": resolve_activation(activation),
            "dropout": check.check_fraction(dropout, "dropout"),
            "norm": norm,
            "init": resolve_init(init),
            "max_norm": None if max_norm is None else check.check_positive(max_norm, "max_norm"),
        }
        flags = {
            "bias": bias,
            "residual": residual,
            "trainable": trainable,
            "non_negative": non_negative,
        }
        for name, flag in flags.items():
            checked[name] = check.check_flag(flag, name)
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def is_plain(self) -> bool:
        """Whether the output is σ(uW + b), without norm, dropout or residual."""
        return self.norm is None and self.dropout == 0 and not self.residual

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
        }
        return [word for word, holds in words.items() if holds]

    def shapes(self, n_in: int) -> dict[str, tuple[int, ...]]:
        """The shape of each of its parameters, in the order in which theta holds them."""
        n_out = self.n_out
        shapes: dict[str, tuple[int, ...]] = {"W": (n_in, n_out)}
        if self.bias:
            shapes["b"] = (n_out,)
        if self.norm is not None:
            shapes["gain"] = (n_out,)
            if self.norm.shifts:
                shapes["shift"] = (n_out,)
        if constants := self.activation.constants:
            each = (n_out,) if self.activation.per == "unit" else (1,)
            shapes |= dict.fromkeys(constants, each)
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
}


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
        n_in = layer.n_out
    if not layers[-1].is_plain:
        raise ValueError(
            f"the output layer takes no norm, dropout or residual, since losses work from its z; "
            f"got {layers[-1]!r}: put them on the layer before"
        )
    return layers


def settled(layer: Dense, dtype: np.dtype[Any]) -> Dense:
    """The layer as a network keeps it: without what may change, and with a number for its eps."""
    norm, init = layer.norm, _AUTO
    if norm is not None and norm.eps is None:
        norm = Norm(norm.name, float(np.finfo(dtype).eps))
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
    """The first theta: every W and b by its init, gains 1, shifts 0, constants as given.

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
        for name, value in layer.activation.constants.items():
            if abs(value) > float(np.finfo(dtype).max):
                raise ValueError(
                    f"{name} must be at most {np.finfo(dtype).max:.3g}, the largest number of "
                    f"{dtype}; got {value}. Make the network with dtype='float64'"
                )
            blocks[name][...] = value
    return theta.astype(dtype)
