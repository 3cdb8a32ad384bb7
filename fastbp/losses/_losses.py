"""The losses by name, with their options and the code the C engine knows them by.

A loss is asked for by name, "mse", by name and options, "huber(0.5)" or
"cross_entropy(label_smoothing=0.1, class_weight=[1, 2])", or as a `Loss`. The formulas stand in
docs/losses.md, and to be read in `fastbp.reference._losses` and `csrc/kernels`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .._checks import arguments as check
from .._checks.numbers import as_array
from ..activations import Activation
from ._options import (
    check_alpha,
    check_flag,
    check_smoothing,
    check_taus,
    check_weights,
    options_from_text,
    text_of_option,
)

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
    "margin_ranking": _Entry(16, targets="pairs", options={"margin": (1.0, check.check_positive)}),
}
_CUSTOM = _Entry(17)

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
        return dict(zip(self._entry.options or {}, self.values, strict=True))

    @property
    def _entry(self) -> _Entry:
        return _TABLE[self.name]

    @property
    def code(self) -> int:
        """The number of this loss in the C enum."""
        return self._entry.code

    @cached_property
    def targets(self) -> str:
        """What the targets hold: numbers, fractions, classes, …; see docs/losses.md."""
        return self._entry.targets

    @cached_property
    def labels(self) -> bool:
        """Whether targets may be class indices."""
        return self.targets in ("classes", "indices")

    @property
    def pair(self) -> str | None:
        """Name of the output activation with which delta^L is computed from the logits."""
        return self._entry.pair

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
        if self.name == "margin_ranking":
            return 0
        return n_out // 2 if self.name == "gaussian_nll" else n_out

    @property
    def group(self) -> int:
        """Rows that are one sample: 2 for pairs, else 1."""
        return 2 if self.targets == "pairs" else 1

    def check_batch_size(self, batch_size: int) -> None:
        """ValueError for batches that would part the rows of a sample."""
        if batch_size % self.group:
            raise ValueError(
                f"batch_size must be even for {self.name}, whose samples are pairs of rows; "
                f"got {batch_size}"
            )

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

    @cached_property
    def ignored(self) -> frozenset[int]:
        """The classes that class_weight gives no weight.

        >>> Loss("cross_entropy", class_weight=[0, 1, 0]).ignored == {0, 2}
        True
        """
        weights = self.options.get("class_weight") or ()
        return frozenset(k for k, weight in enumerate(weights) if weight == 0)

    def __str__(self) -> str:
        table = self._entry.options or {}
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


def resolve(spec: str | Loss | Callable) -> Loss:
    """The Loss meant by a name, with options or without, a function, or a Loss itself.

    Raises ValueError, listing the names, if unknown.

    >>> resolve("mse").code
    1
    """
    if isinstance(spec, Loss):
        return spec
    return CustomLoss(spec) if callable(spec) else Loss(spec)


@dataclass(frozen=True, init=False, repr=False)
class CustomLoss(Loss):
    """A loss of your own: function(a, y) -> (J_i, ∂J_i/∂a) in NumPy.

    It gets outputs a (n, K) and targets y (n, n_targets; K unless given) of the network's dtype, as
    copies, and returns the loss of every sample (n,) and its gradient (n, K). Samples must not
    look at each other: a cost is taken by blocks of rows. Training calls it once a batch, with the
    GIL; all the rest stays in the engine. Pickling needs a function that pickles.

    >>> def cubic(a, y):
    ...     e = a - y
    ...     return (abs(e) ** 3).sum(axis=1), 3 * e * abs(e)
    >>> import fastbp
    >>> net = fastbp.Network((1, 1), loss=cubic, init="zeros")
    >>> net.value_and_grad([[1.0]], [[2.0]])
    (8.0, array([-12., -12.], dtype=float32))
    """

    function: Callable
    width: int | None

    def __init__(self, function: Callable, *, n_targets: int | None = None) -> None:
        if not callable(function):
            raise TypeError(f"a loss of your own must be callable; got {type(function).__name__}")
        width = None if n_targets is None else check.check_positive_int(n_targets, "n_targets")
        for field, value in (("name", "custom"), ("values", ()), ("function", function)):
            object.__setattr__(self, field, value)
        object.__setattr__(self, "width", width)

    @property
    def _entry(self) -> _Entry:
        return _CUSTOM

    def n_targets(self, n_out: int) -> int:
        """Columns of the targets."""
        return n_out if self.width is None else self.width

    def evaluate(self, a: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(J_i (n,) in float64, ∂J_i/∂a of the dtype of a) of the function, checked, both dense."""
        result = self.function(a, y)
        if not isinstance(result, tuple) or len(result) != 2:
            raise TypeError(
                f"{self} must return (loss of every sample, its gradient); "
                f"got {type(result).__name__}"
            )
        values = as_array(result[0], f"the loss of {self}")
        slopes = as_array(result[1], f"the gradient of {self}")
        if values.shape != a.shape[:1] or slopes.shape != a.shape:
            raise ValueError(
                f"{self} must return shapes {a.shape[:1]} and {a.shape}; "
                f"got {values.shape} and {slopes.shape}"
            )
        return np.ascontiguousarray(values, np.float64), np.ascontiguousarray(slopes, a.dtype)

    def __str__(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)


def engine_function(loss: Loss, dtype: np.dtype, n_out: int) -> Callable | None:
    """What the engine calls with the bytes of a and y for a loss of the user's, else None."""
    if not isinstance(loss, CustomLoss):
        return None
    n_targets = loss.n_targets(n_out)

    def call(a: bytearray, y: bytearray) -> tuple[np.ndarray, np.ndarray]:
        outputs = np.frombuffer(a, dtype).reshape(-1, n_out)
        return loss.evaluate(outputs, np.frombuffer(y, dtype).reshape(-1, n_targets))

    return call


def check_output(loss: Loss, output: Activation, n_out: int) -> None:
    """ValueError where the loss does not take such outputs, or not so many of them."""
    if not loss._entry.alone and not loss.pairs_with(output):
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
            f"gaussian_nll takes a mean and a log-variance for each target, an even number of "
            f"outputs; the network has {n_out} (widths[-1])"
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
    if loss.pair is not None and not output.entry.in_unit_interval:
        warnings.warn(
            f"{loss.name} takes the logarithm of outputs in (0, 1), and those of {output} are "
            f"clipped to them, with no gradient outside: use output='{loss.pair}'",
            UserWarning,
            stacklevel=stacklevel,
        )
