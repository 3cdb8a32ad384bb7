"""The activations by name, with their parameter and the code the C engine knows them by.

The formulas stand in `csrc/kernels` and, to be read, in `fastbp.reference`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ._checks import arguments as check

__all__ = ["NAMES", "Activation", "resolve", "resolve_layers"]

# name: (code, default alpha or None where there is none, what the derivative is made from)
_TABLE: dict[str, tuple[int, float | None, str]] = {
    "identity": (0, None, "a"),
    "sigmoid": (1, None, "a"),
    "tanh": (2, None, "a"),
    "relu": (3, None, "a"),
    "leaky_relu": (4, 0.01, "a"),
    "elu": (5, 1.0, "a"),
    "softplus": (6, None, "a"),
    "selu": (7, None, "a"),
    "relu6": (8, None, "a"),
    "hard_tanh": (9, None, "a"),
    "hard_sigmoid": (10, None, "a"),
    "softsign": (11, None, "a"),
    "exp": (12, None, "a"),
    "silu": (13, None, "z"),
    "gelu": (14, None, "z"),
    "gelu_tanh": (15, None, "z"),
    "mish": (16, None, "z"),
    "sin": (17, None, "z"),
    "softmax": (18, None, "a"),
}

NAMES: tuple[str, ...] = tuple(_TABLE)


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
        default = _TABLE[self.name][1]
        if default is None:
            if self.alpha not in (None, 0):
                raise ValueError(f"{self.name} takes no parameter; got {self.alpha}")
            alpha = 0.0
        else:
            alpha = default if self.alpha is None else self.alpha
            test = check.check_positive if self.name == "elu" else check.check_nonnegative
            alpha = test(alpha, f"alpha of {self.name}")
        object.__setattr__(self, "alpha", alpha)

    @property
    def code(self) -> int:
        """The number of this activation in the C enum."""
        return _TABLE[self.name][0]

    @property
    def derivative_from(self) -> str:
        """What the engine makes sigma' from: "a", the output, or "z", which is then kept for it.

        >>> Activation("tanh").derivative_from, Activation("silu").derivative_from
        ('a', 'z')
        """
        return _TABLE[self.name][2]

    def __str__(self) -> str:
        return self.name if _TABLE[self.name][1] is None else f"{self.name}({self.alpha!r})"


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
    if any(activation.name == "softmax" for activation in layers):
        raise ValueError("softmax is for the output layer only: give it as output='softmax'")
    return (*layers, resolve(output))
