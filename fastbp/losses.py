"""The losses by name, with their options and the code the C engine knows them by.

A loss is asked for by name, "mse", by name and options, "huber(0.5)" or
"cross_entropy(label_smoothing=0.1, class_weight=[1, 2])", or as a `Loss`. The formulas stand in
docs/losses.md, and to be read in `fastbp.reference.losses` and `csrc/kernels`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from . import _validation as check
from ._loss_options import (
    check_alpha,
    check_flag,
    check_smoothing,
    check_taus,
    check_weights,
    options_from_text,
    text_of_option,
)
from .activations import Activation

Option = float | bool | tuple[float, ...] | None


@dataclass(frozen=True)
class _Entry:
    """What there is to know of a loss beside its formula.

    pair: the output activation it is computed from the logits with, or None; alone: whether it
    also takes other outputs. targets: what they hold, see `_validation.as_targets`. options: name:
    (default, check), where the check returns the value as it is kept.
    """

    code: int
    pair: str | None = None
    alone: bool = True
    targets: str = "numbers"
    options: dict[str, tuple[Option, Callable]] | None = None


_GAMMA = (2.0, check.check_nonnegative)
_TABLE: dict[str, _Entry] = {
    "squared_error": _Entry(0),
    "mse": _Entry(1),
    "binary_cross_entropy": _Entry(
        2, "sigmoid", targets="fractions", options={"pos_weight": (None, check_weights)}
    ),
    "cross_entropy": _Entry(
        3,
        "softmax",
        targets="classes",
        options={"label_smoothing": (0.0, check_smoothing), "class_weight": (None, check_weights)},
    ),
    "mae": _Entry(4),
    "huber": _Entry(5, options={"delta": (1.0, check.check_positive)}),
    "log_cosh": _Entry(6),
    "poisson": _Entry(7, targets="counts", options={"log_input": (True, check_flag)}),
    "hinge": _Entry(8, targets="signs"),
    "squared_hinge": _Entry(9, targets="signs"),
    "kl_divergence": _Entry(10, "softmax", targets="probabilities"),
    "focal": _Entry(
        11,
        "softmax",
        alone=False,
        targets="classes",
        options={"gamma": _GAMMA, "alpha": (None, check_weights)},
    ),
    "binary_focal": _Entry(
        12,
        "sigmoid",
        alone=False,
        targets="bits",
        options={"gamma": _GAMMA, "alpha": (0.25, check_alpha)},
    ),
    "multi_margin": _Entry(13, targets="indices", options={"margin": (1.0, check.check_positive)}),
    "quantile": _Entry(14, options={"taus": ((0.5,), check_taus)}),
    "gaussian_nll": _Entry(15),
}

NAMES: tuple[str, ...] = tuple(_TABLE)

_MAY_BE_NONE = ("pos_weight", "class_weight", "alpha")  # no weights


@dataclass(frozen=True, init=False)
class Loss:
    """A loss function: its name and its options; a value without a name is the first option's.

    Options that are not given take their defaults. Raises ValueError or TypeError for an unknown
    name, an option that the loss has not, or a value that it does not take.

    >>> Loss("huber", delta=0.5)
    Loss('huber(delta=0.5)')
    >>> Loss("huber(0.5)") == Loss("huber", 0.5) == Loss("huber", delta=0.5)
    True
    >>> Loss("cross_entropy", class_weight=[1, 3]).options
    {'label_smoothing': 0.0, 'class_weight': (1.0, 3.0)}
    """

    name: str
    values: tuple[Option, ...]  # of the options, in the order of the table

    def __init__(self, name: str, *values: Option, **options: Option) -> None:
        name, given = options_from_text(name, NAMES)
        table = _TABLE[name].options or {}
        if given and (values or options):
            raise ValueError(f"give the options of {name!r} in its text or beside it, not both")
        given += [(None, value) for value in values] + list(options.items())
        merged = _merge(name, given, tuple(table))
        checked = []
        for option, (default, test) in table.items():
            value = merged.get(option, default)
            if value is not None or option not in _MAY_BE_NONE:
                value = test(value, f"{option} of {name}")
            checked.append(value)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "values", tuple(checked))

    @property
    def options(self) -> dict[str, Option]:
        """{option: value}, defaults included."""
        return dict(zip(_TABLE[self.name].options or {}, self.values, strict=True))

    @property
    def code(self) -> int:
        """The number of this loss in the C enum."""
        return _TABLE[self.name].code

    @cached_property
    def targets(self) -> str:
        """What the targets hold: numbers, fractions, classes, …; see docs/losses.md."""
        return _TABLE[self.name].targets

    @cached_property
    def labels(self) -> bool:
        """Whether targets may be class indices."""
        return self.targets in ("classes", "indices")

    @property
    def pair(self) -> str | None:
        """Name of the output activation with which delta^L is computed from the logits."""
        return _TABLE[self.name].pair

    def pairs_with(self, output: Activation) -> bool:
        """Whether the loss is fused with this output activation.

        >>> Loss("binary_cross_entropy").pairs_with(Activation("sigmoid"))
        True
        """
        return self.pair == output.name

    def n_targets(self, n_out: int) -> int:
        """Columns of dense targets for a network of n_out outputs.

        >>> Loss("quantile(0.1, 0.5, 0.9)").n_targets(6), Loss("gaussian_nll").n_targets(6)
        (2, 3)
        """
        if self.name == "quantile":
            return n_out // len(self.options["taus"])
        return n_out // 2 if self.name == "gaussian_nll" else n_out

    def params(self, n_out: int) -> tuple[float, ...]:
        """The parameters as the engine takes them, see `fastbp_spec_t` in csrc/fastbp.h."""
        options = self.options
        if self.name == "cross_entropy":
            if self == Loss("cross_entropy"):
                return ()
            return (options["label_smoothing"], *_per_output(options["class_weight"], n_out))
        if self.name == "binary_cross_entropy":
            weight = options["pos_weight"]
            return () if weight is None else _per_output(weight, n_out)
        if self.name == "focal":
            return (options["gamma"], *_per_output(options["alpha"], n_out))
        if self.name == "binary_focal":
            alpha = options["alpha"]
            return (options["gamma"], *((1.0, 1.0) if alpha is None else (1 - alpha, alpha)))
        return options["taus"] if self.name == "quantile" else tuple(map(float, self.values))

    def __str__(self) -> str:
        table = _TABLE[self.name].options or {}
        shown = [
            f"{option}={text_of_option(value)}"
            for (option, (default, _)), value in zip(table.items(), self.values, strict=True)
            if value != default
        ]
        return f"{self.name}({', '.join(shown)})" if shown else self.name

    def __repr__(self) -> str:
        return f"Loss({str(self)!r})"


def _merge(
    name: str, given: list[tuple[str | None, object]], known: tuple[str, ...]
) -> dict[str, object]:
    """{option: value} of (option or None for the next in order, value)."""
    if name == "quantile" and len(given) > 1 and all(option is None for option, _ in given):
        return {"taus": tuple(value for _, value in given)}
    merged: dict[str, object] = {}
    for place, (option, value) in enumerate(given):
        if not known:
            shown = f"{value:g}" if isinstance(value, float) else value
            raise ValueError(f"{name} takes no parameter; got {shown}")
        if option is None and place >= len(known):
            raise ValueError(f"{name} takes {', '.join(known)}; got {len(given)} values")
        option = known[place] if option is None else option
        if option not in known:
            raise ValueError(f"{name} has no option {option!r}; it takes {', '.join(known)}")
        if option in merged:
            raise ValueError(f"{option} of {name} is given twice")
        merged[option] = value
    return merged


def _per_output(weights: tuple[float, ...] | None, n_out: int) -> tuple[float, ...]:
    if weights is None:
        return (1.0,) * n_out
    return weights * n_out if len(weights) == 1 else weights


def resolve(spec: str | Loss) -> Loss:
    """The Loss meant by a name, with options or without, or a Loss itself.

    Raises ValueError, listing the names, if unknown.

    >>> resolve("mse").code
    1
    """
    return spec if isinstance(spec, Loss) else Loss(spec)


def check_output(loss: Loss, output: Activation, n_out: int) -> None:
    """ValueError where the loss does not take such outputs, or not so many of them."""
    if not _TABLE[loss.name].alone and not loss.pairs_with(output):
        raise ValueError(f"{loss.name} needs output={loss.pair!r}; got {output}")
    for option in ("class_weight", "alpha", "pos_weight"):
        weights = loss.options.get(option)
        if isinstance(weights, tuple) and len(weights) not in (1, n_out):
            raise ValueError(
                f"{option} of {loss.name} has {len(weights)} entries; "
                f"the network has {n_out} outputs (widths[-1])"
            )
    if loss.name == "gaussian_nll" and n_out % 2:
        raise ValueError(
            f"gaussian_nll takes a mean and a log-variance for each target; the network has "
            f"{n_out} outputs (widths[-1]): make it {n_out + 1} or {max(2, n_out - 1)}"
        )
    if loss.name == "quantile" and n_out % len(loss.options["taus"]):
        n = len(loss.options["taus"])
        raise ValueError(
            f"quantile with {n} taus takes {n} outputs for each target; the network has {n_out} "
            f"(widths[-1]): make it a multiple of {n}"
        )


def warn_unpaired(loss: Loss, output: Activation, *, stacklevel: int = 3) -> None:
    """UserWarning when a logarithmic loss is put on outputs that are not in (0, 1).

    It names the paired output; `stacklevel` 3 points at the caller of a constructor.
    """
    if loss.pair is not None and output.name not in ("softmax", "sigmoid"):
        warnings.warn(
            f"{loss.name} takes the logarithm of outputs in (0, 1), and those of {output} are "
            f"clipped to them, with no gradient outside: use output='{loss.pair}'",
            UserWarning,
            stacklevel=stacklevel,
        )
