"""The activations by name, with their parameter and all that the package knows of them.

The formulas stand in `csrc/kernels` and, to be read, in `fastbp.reference`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ._checks import arguments as check

__all__ = ["NAMES", "Activation", "resolve", "resolve_layers"]


@dataclass(frozen=True)
class _Entry:
    """What the package knows of an activation beside its formula.

    alpha: the default, or None where there is no parameter; check_alpha: its range. init: what
    "auto" draws, see `fastbp.initializers`. derivative_from: what the engine computes σ' from, the
    output a, or z, which training then keeps. in_unit_interval: outputs lie in (0, 1), so that
    their logarithm exists. output_only: each output depends on all of the layer's z, so only the
    last layer may have it.
    """

    alpha: float | None = None
    check_alpha: Callable[[object, str], float] = check.check_nonnegative
    init: str = "glorot_uniform"
    derivative_from: str = "a"
    in_unit_interval: bool = False
    output_only: bool = False


# init: He's for what passes about half of its input, LeCun's where the activation normalises
# itself (Klambauer et al. 2017), He's uniform for sin, which halves the variance (Sitzmann et al.
# 2020, arXiv:2006.09661); glorot_uniform for all others.
_TABLE: dict[str, _Entry] = {
    "identity": _Entry(),
    "sigmoid": _Entry(in_unit_interval=True),
    "tanh": _Entry(),
    "relu": _Entry(init="he_normal"),
    "leaky_relu": _Entry(alpha=0.01, init="he_normal"),
    "elu": _Entry(alpha=1.0, check_alpha=check.check_positive, init="he_normal"),
    "softplus": _Entry(),
    "selu": _Entry(init="lecun_normal"),
    "relu6": _Entry(init="he_normal"),
    "hard_tanh": _Entry(),
    "hard_sigmoid": _Entry(),
    "softsign": _Entry(),
    "exp": _Entry(),
    "silu": _Entry(init="he_normal", derivative_from="z"),
    "gelu": _Entry(init="he_normal", derivative_from="z"),
    "gelu_tanh": _Entry(init="he_normal", derivative_from="z"),
    "mish": _Entry(init="he_normal", derivative_from="z"),
    "sin": _Entry(init="he_uniform", derivative_from="z"),
    "softmax": _Entry(in_unit_interval=True, output_only=True),
}

NAMES: tuple[str, ...] = tuple(_TABLE)
"""The names of all activations."""


@dataclass(frozen=True)
class Activation:
    """An activation function: its name, and alpha where it has one (leaky_relu, elu).

    `alpha` None takes the default: 0.01 for leaky_relu (any alpha >= 0 will do), 1.0 for elu
    (alpha > 0); it is 0.0 for all others. Raises ValueError for an unknown name or a bad alpha.

    >>> Activation("leaky_relu", 0.1)
    Activation(name='leaky_relu', alpha=0.1)
    >>> str(Activation("elu"))
    'elu(1.0)'
    """

    name: str
    alpha: float | None = None

    def __post_init__(self) -> None:
        if self.name not in _TABLE:
            raise check.unknown_name("activation", self.name, NAMES)
        if self.entry.alpha is None:
            if self.alpha not in (None, 0):
                raise ValueError(f"{self.name} takes no parameter; got {self.alpha}")
            alpha = 0.0
        else:
            alpha = self.entry.alpha if self.alpha is None else self.alpha
            alpha = self.entry.check_alpha(alpha, f"alpha of {self.name}")
        object.__setattr__(self, "alpha", alpha)

    @property
    def entry(self) -> _Entry:
        """What the package knows of the activation beside its formula."""
        return _TABLE[self.name]

    @property
    def derivative_from(self) -> str:
        """What the engine makes sigma' from: "a", the output, or "z", which is then kept for it.

        >>> Activation("tanh").derivative_from, Activation("silu").derivative_from
        ('a', 'z')
        """
        return self.entry.derivative_from

    def __str__(self) -> str:
        return self.name if self.entry.alpha is None else f"{self.name}({self.alpha!r})"


def resolve(spec: str | Activation) -> Activation:
    """The Activation meant by "relu", "leaky_relu(0.1)" or an Activation itself.

    Raises ValueError, listing the known names, for an unknown one.

    >>> resolve("leaky_relu(0.1)").alpha
    0.1
    """
    if isinstance(spec, Activation):
        return spec
    return Activation(*check.split_spec(spec, "activation", NAMES))


def resolve_layers(
    n_layers: int, hidden: str | Activation | Sequence[str | Activation], output: str | Activation
) -> tuple[Activation, ...]:
    """One Activation a layer: `hidden` (one for all, or a list) and then `output`.

    Raises ValueError for a list of the wrong length, and for softmax in a hidden layer.

    >>> [str(a) for a in resolve_layers(3, ["relu", "tanh"], "softmax")]
    ['relu', 'tanh', 'softmax']
    """
    n_hidden = n_layers - 1
    if isinstance(hidden, (str, Activation)) or not isinstance(hidden, Iterable):
        layers = [resolve(hidden)] * n_hidden
    else:
        layers = [resolve(spec) for spec in hidden]
        if len(layers) != n_hidden:
            raise ValueError(
                f"activation lists {len(layers)} names; the network has {n_hidden} hidden layers "
                "(the output layer's is output=)"
            )
    for activation in layers:
        if activation.entry.output_only:
            name = activation.name
            raise ValueError(f"{name} is for the output layer only: give it as output={name!r}")
    return (*layers, resolve(output))
