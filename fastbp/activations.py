"""The activations by name, with their parameter and everything that the package knows of them.

The formulas are in docs/activations.md; `fastbp.reference` and `csrc/kernels` implement them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ._checks import arguments as check

__all__ = ["NAMES", "Activation", "resolve", "resolve_layers"]


@dataclass(frozen=True)
class _Entry:
    """What the package knows of an activation, except its formula.

    alpha: the default of the parameter, or None if there is no parameter.
    check_alpha: the check of its range.
    init: the initialisation that "auto" means, see `fastbp.initializers`.
    derivative_from: what the engine computes σ' from: "a", the output, or "z", which training then
        has to store.
    in_unit_interval: whether outputs lie in (0, 1), so that their logarithm exists.
    output_only: whether only the last layer may have it, because each output depends on all z.
    """

    alpha: float | None = None
    check_alpha: Callable[[object, str], float] = check.check_nonnegative
    init: str = "glorot_uniform"
    derivative_from: str = "a"
    in_unit_interval: bool = False
    output_only: bool = False


# init is he_normal for activations that pass about half of their input, lecun_normal for selu,
# which keeps mean and variance (Klambauer et al. 2017, arXiv:1706.02515), he_uniform for sin,
# which halves the variance (Sitzmann et al. 2020, arXiv:2006.09661), and glorot_uniform for the
# others.
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
    """An activation function: its name and its parameter.

    `alpha` is the slope of leaky_relu for z < 0 (at least 0, default 0.01) or the scale of elu
    (greater than 0, default 1.0). None means the default; all other activations have 0.0. Raises
    ValueError if the name is unknown or alpha is out of range.

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
        """What the package knows of the activation, except its formula."""
        return _TABLE[self.name]

    @property
    def derivative_from(self) -> str:
        """What the engine computes σ' from: "a", the output, or "z", which it then has to store.

        >>> Activation("tanh").derivative_from, Activation("silu").derivative_from
        ('a', 'z')
        """
        return self.entry.derivative_from

    def __str__(self) -> str:
        return self.name if self.entry.alpha is None else f"{self.name}({self.alpha!r})"


def resolve(spec: str | Activation) -> Activation:
    """Return the Activation for a text such as "relu" or "leaky_relu(0.1)".

    An Activation is returned as it is. Raises ValueError, listing the known names, for an unknown
    name.

    >>> resolve("leaky_relu(0.1)").alpha
    0.1
    """
    if isinstance(spec, Activation):
        return spec
    return Activation(*check.split_spec(spec, "activation", NAMES))


def resolve_layers(
    n_layers: int, hidden: str | Activation | Sequence[str | Activation], output: str | Activation
) -> tuple[Activation, ...]:
    """Return one Activation per layer: those of the hidden layers, then that of the output layer.

    `hidden` is one activation for all hidden layers, or a list with one for each. Raises ValueError
    if the list has a wrong length or if softmax is given for a hidden layer.

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
                "(output= sets that of the output layer)"
            )
    for activation in layers:
        if activation.entry.output_only:
            name = activation.name
            raise ValueError(f"{name} is for the output layer only: give it as output={name!r}")
    return (*layers, resolve(output))
