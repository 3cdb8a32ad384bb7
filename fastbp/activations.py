"""The activations by name, with their parameter and everything that the package knows of them.

The formulas are in docs/activations.md; `fastbp.reference` and `csrc/kernels` implement them. An
activation of the user's is a formula of `fastbp.gates`, which is imported when one is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ._checks import arguments as check
from ._checks.names import known_name, split_spec, unknown_name
from ._checks.words import counted

if TYPE_CHECKING:
    from .gates import ActivationFormula

__all__ = ["NAMES", "Activation", "resolve", "resolve_layers"]


@dataclass(frozen=True)
class _Entry:
    """What the package knows of an activation, except its formula.

    alpha: the default of the parameter, or None if there is no parameter.
    check_alpha: the check of its range.
    trained: whether alpha is a trained constant, of the layer or of each unit.
    init: the initialisation that "auto" means, see `fastbp.initializers`.
    derivative_from: what the engine computes σ' from: "a", the output, or "z", which training then
        has to store.
    in_unit_interval: whether outputs lie in (0, 1), so that their logarithm exists.
    output_only: whether only the last layer may have it, because each output depends on all z.
    """

    alpha: float | None = None
    check_alpha: Callable[[object, str], float] = check.check_nonnegative
    trained: bool = False
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
    "prelu": _Entry(
        alpha=0.25,
        check_alpha=check.check_real,
        trained=True,
        init="he_normal",
        derivative_from="z",
    ),
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

FORMULA = "formula"  # the name of an activation of the user's
_OWN = _Entry(derivative_from="z")
# Where a formula is tried, to see whether its values lie between 0 and 1.
_PROBES = np.linspace(-50.0, 50.0, 1001)


@dataclass(frozen=True, repr=False)
class Activation:
    """An activation function: its name and its parameter, or a formula.

    Parameters
    ----------
    name : str
        One of `NAMES`, in any case, or "formula".
    alpha : float or None, default None
        The slope of leaky_relu for z < 0 (at least 0, default 0.01), the scale of elu (greater
        than 0, default 1.0), or the initial slope of prelu for z < 0 (default 0.25). None means
        the default; all other activations have 0.0.
    per : {"layer", "unit"}, default "layer"
        Whether the layer has one of each trained constant, or one for each unit.
    formula : ActivationFormula or None, default None
        The formula of the name "formula", as from `fastbp.gates.activation`. prelu has its own.

    Raises
    ------
    TypeError, ValueError
        If the name is unknown, or another argument is out of range or not one of this activation.

    Examples
    --------
    >>> Activation("leaky_relu", 0.1)
    Activation(name='leaky_relu', alpha=0.1)
    >>> str(Activation("elu")), str(Activation("prelu", per="unit"))
    ('elu(1.0)', 'prelu(0.25, per=unit)')
    """

    name: str
    alpha: float | None = None
    per: str = "layer"
    formula: ActivationFormula | None = None

    def __post_init__(self) -> None:
        if self.name == FORMULA:
            self._take_formula()
            return
        object.__setattr__(self, "name", known_name("activation", self.name, NAMES))
        entry = self.entry
        if entry.alpha is None:
            if self.alpha not in (None, 0):
                raise ValueError(f"{self.name} takes no parameter; got {self.alpha}")
            alpha = 0.0
        else:
            alpha = entry.alpha if self.alpha is None else self.alpha
            alpha = entry.check_alpha(alpha, f"alpha of {self.name}")
        object.__setattr__(self, "alpha", alpha)
        own = None
        if entry.trained:
            from .gates import prelu

            own = prelu(alpha, per=self.per)  # type: ignore[arg-type]  # which it checks
        elif self.per != "layer":
            raise ValueError(f"{self.name} has no trained constant; got per={self.per!r}")
        if self.formula not in (None, own):
            raise ValueError(
                f"{self.name} takes no formula: name an activation of your own {FORMULA!r}"
            )
        object.__setattr__(self, "formula", own)

    def _take_formula(self) -> None:
        from .gates import ActivationFormula

        formula = self.formula
        if not isinstance(formula, ActivationFormula):
            raise TypeError(
                f"the activation {FORMULA!r} needs formula=, as from fastbp.gates.activation; got "
                f"{formula!r}"
            )
        if self.alpha not in (None, 0) or self.per not in ("layer", formula.per):
            raise ValueError(
                "the constants of a formula, and whether they are per layer or per unit, are part "
                f"of it; got alpha={self.alpha}, per={self.per!r}"
            )
        object.__setattr__(self, "alpha", 0.0)
        object.__setattr__(self, "per", formula.per)

    @property
    def entry(self) -> _Entry:
        """What the package knows of the activation, except its formula."""
        return _TABLE.get(self.name, _OWN)

    @property
    def constants(self) -> dict[str, float]:
        """{name: initial value} of its trained constants, in the order in which theta holds them.

        >>> Activation("prelu").constants, Activation("relu").constants
        ({'alpha': 0.25}, {})
        """
        return {} if self.formula is None else dict(self.formula.constants)

    @property
    def derivative_from(self) -> str:
        """What the engine computes σ' from: "a", the output, or "z", which it then has to store.

        >>> Activation("tanh").derivative_from, Activation("silu").derivative_from
        ('a', 'z')
        """
        return self.entry.derivative_from

    @property
    def in_unit_interval(self) -> bool:
        """Whether outputs lie in (0, 1), so that their logarithm exists.

        A formula is tried at many z between -50 and 50, with its constants at their initial values:
        it counts as in the interval if no value is below 0 or above 1.

        >>> Activation("sigmoid").in_unit_interval, Activation("tanh").in_unit_interval
        (True, False)
        """
        if self.name != FORMULA or self.formula is None:
            return self.entry.in_unit_interval
        with np.errstate(all="ignore"):
            a = self.formula.value(_PROBES, [np.array(c) for c in self.constants.values()])
        return bool(((a >= 0) & (a <= 1)).all())

    def __str__(self) -> str:
        if self.name == FORMULA:
            return str(self.formula)
        if self.entry.alpha is None:
            return self.name
        per = "" if self.per == "layer" else f", per={self.per}"
        return f"{self.name}({self.alpha!r}{per})"

    def __repr__(self) -> str:
        if self.name == FORMULA:
            return f"Activation(name={self.name!r}, formula={self.formula!r})"
        per = "" if self.per == "layer" else f", per={self.per!r}"
        return f"Activation(name={self.name!r}, alpha={self.alpha!r}{per})"


# What stands for an activation.
Spec: TypeAlias = "str | Activation | ActivationFormula"


def resolve(spec: Spec) -> Activation:
    """Return the Activation for a text such as "relu" or "leaky_relu(0.1)", or for a formula.

    An Activation is returned as it is. A formula comes from `fastbp.gates.activation`, or is its
    text, such as "formula(z * sigmoid(beta * z), beta=1.0)". Names may be in any case. Raises
    ValueError, listing the known names, for an unknown name.

    >>> resolve("leaky_relu(0.1)").alpha
    0.1
    >>> resolve("prelu(0.1, per=unit)")
    Activation(name='prelu', alpha=0.1, per='unit')
    """
    if isinstance(spec, Activation):
        return spec
    if isinstance(spec, str):
        name = spec.partition("(")[0].strip()
        if name == FORMULA:
            from .gates._formulas import parse_activation

            return _of_formula(parse_activation(spec))
        if _TABLE.get(name.lower(), _OWN).trained:
            return Activation(name, *_trained_options(spec))
        if re.search(r"\bz\b", spec):
            raise ValueError(
                f"unknown activation {spec!r}; write a formula as {f'formula({spec.strip()})'!r}"
            )
    else:
        from .gates import ActivationFormula, prelu

        if isinstance(spec, ActivationFormula):
            return _of_formula(spec)
        if spec is prelu:
            raise TypeError("activation is the function gates.prelu; call it: gates.prelu()")
        if callable(spec):
            raise TypeError(
                f"activation must be a name such as {NAMES[0]!r}; got {type(spec).__name__}: make "
                "one of your function with fastbp.gates.activation"
            )
    return Activation(*split_spec(spec, "activation", NAMES))


def _of_formula(formula: ActivationFormula) -> Activation:
    """The activation of a formula; "prelu" for that of `gates.prelu`."""
    from .gates import prelu

    if list(formula.constants) == ["alpha"]:
        alpha = formula.constants["alpha"]
        if formula == prelu(alpha, per=formula.per):
            return Activation("prelu", alpha, formula.per)
    return Activation(FORMULA, formula=formula)


def _trained_options(spec: str) -> tuple[float | None, str]:
    """(alpha or None, per) of a text such as "prelu(0.1, per=unit)"."""
    match = re.fullmatch(r"\s*\w+\s*(?:\(([^()]*)\)\s*)?", spec)
    if match is None:
        raise unknown_name("activation", spec, NAMES)
    alpha, per = None, "layer"
    parts = [] if match[1] is None else [part.strip() for part in match[1].split(",")]
    try:
        if parts and parts[-1].startswith("per"):
            word, per = (side.strip() for side in parts.pop().split("="))
            if word != "per":
                raise ValueError
        if parts:
            (number,) = parts
            alpha = float(number)
    except ValueError:
        raise ValueError(
            f"activation {spec!r} must have a number in its brackets, per=unit, or both, as in "
            "prelu(0.25, per=unit)"
        ) from None
    return alpha, per


def resolve_layers(
    n_layers: int, hidden: Spec | Sequence[Spec], output: Spec
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
                f"activation lists {counted(len(layers), 'name')}; the network has "
                f"{counted(n_hidden, 'hidden layer')} (output= sets that of the output layer)"
            )
    for activation in layers:
        if activation.entry.output_only:
            name = activation.name
            raise ValueError(f"{name} is for the output layer only: give it as output={name!r}")
    return (*layers, resolve(output))
