"""The losses by name, with their options and all that the package knows of them.

A loss is asked for by name, "mse", by name and options, "huber(0.5)" or
"cross_entropy(label_smoothing=0.1, class_weight=[1, 2])", or as a `Loss`. The formulas stand in
docs/losses.md, and to be read in `fastbp.reference._losses` and `csrc/kernels`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from .._checks import arguments as check
from .._checks.caller import warn_caller
from .._checks.numbers import as_array
from .._types import Array
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


def _values(loss: Loss, n_out: int) -> tuple[float, ...]:
    return tuple(map(float, loss.values))


def _cross_entropy_params(loss: Loss, n_out: int) -> tuple[float, ...]:
    if loss == Loss("cross_entropy"):
        return ()
    smoothing, weights = loss.values
    return (smoothing, *_per_output(weights, n_out))


def _binary_cross_entropy_params(loss: Loss, n_out: int) -> tuple[float, ...]:
    (weights,) = loss.values
    return () if weights is None else _per_output(weights, n_out)


def _focal_params(loss: Loss, n_out: int) -> tuple[float, ...]:
    gamma, alpha = loss.values
    return (gamma, *_per_output(alpha, n_out))


def _binary_focal_params(loss: Loss, n_out: int) -> tuple[float, ...]:
    gamma, alpha = loss.values
    return (gamma, *((1.0, 1.0) if alpha is None else (1 - alpha, alpha)))


def _taus(loss: Loss, n_out: int) -> tuple[float, ...]:
    return loss.options["taus"]


def _rates(loss: Loss, a: Array) -> Array:
    return np.exp(a) if loss.options["log_input"] else a


def _means(loss: Loss, a: Array) -> Array:
    return a[:, : a.shape[1] // 2]


def _medians(loss: Loss, a: Array) -> Array:
    taus = np.asarray(loss.options["taus"])
    return a[:, np.argmin(abs(taus - 0.5)) :: len(taus)]


@dataclass(frozen=True)
class _Entry:
    """What the package knows of a loss beside its formula.

    Outputs:
        pair: the output activation with which it is computed from the logits, or None.
        alone: whether it also takes other outputs.
        outputs: how many outputs there are for each target; 0 where there are no targets.
        outputs_are: what these are, for messages, where there are several.
        predicted: what the outputs say of the targets; the outputs themselves unless given.
        all_predicted: whether an estimator predicts all outputs rather than `predicted`.
    Targets:
        targets: what they hold, see docs/losses.md; "classes" and "indices" may be labels.
        score: the default score, see `fastbp.metrics.default_score`.
        location: whether the loss depends on output − target alone and is least where they agree.
        summed: whether J_i is a sum over the outputs rather than their mean.
        has_curve: whether there is a second derivative, as `hvp` needs.
        positive: for targets that are positive numbers, the output activation and the options
            with which outputs are predictions.
    Options:
        options: name: (default, check); the check returns the value as it is kept.
        one_list: whether several values without a name are one list.
        params: the parameters as the engine takes them, see csrc/lists.h, for so many outputs.
    """

    pair: str | None = None
    alone: bool = True
    outputs: Callable[[Loss], int] = lambda loss: 1
    outputs_are: str = ""
    predicted: Callable[[Loss, Array], Array] = lambda loss, a: a
    all_predicted: bool = False
    targets: str = "numbers"
    score: str = "r2"
    location: bool = False
    summed: bool = False
    has_curve: bool = True
    positive: tuple[str, dict[str, Option]] | None = None
    options: dict[str, tuple[Option, Callable]] = field(default_factory=dict)
    one_list: bool = False
    params: Callable[[Loss, int], tuple[float, ...]] = _values


_GAMMA = (2.0, check.check_nonnegative)
_MARGIN = {"margin": (1.0, check.check_positive)}
_TABLE: dict[str, _Entry] = {
    "squared_error": _Entry(location=True, summed=True),
    "mse": _Entry(location=True),
    "binary_cross_entropy": _Entry(
        pair="sigmoid",
        targets="fractions",
        score="binary_accuracy",
        summed=True,
        options={"pos_weight": (None, check_weights)},
        params=_binary_cross_entropy_params,
    ),
    "cross_entropy": _Entry(
        pair="softmax",
        targets="classes",
        score="accuracy",
        summed=True,
        options={"label_smoothing": (0.0, check_smoothing), "class_weight": (None, check_weights)},
        params=_cross_entropy_params,
    ),
    "mae": _Entry(location=True),
    "huber": _Entry(location=True, options={"delta": (1.0, check.check_positive)}),
    "log_cosh": _Entry(location=True),
    "poisson": _Entry(
        predicted=_rates,
        targets="counts",
        positive=("exp", {"log_input": False}),
        options={"log_input": (True, check_flag)},
    ),
    "hinge": _Entry(targets="signs", score="sign_accuracy"),
    "squared_hinge": _Entry(targets="signs", score="sign_accuracy"),
    "kl_divergence": _Entry(pair="softmax", targets="probabilities", score="accuracy", summed=True),
    "focal": _Entry(
        pair="softmax",
        alone=False,
        targets="classes",
        score="accuracy",
        summed=True,
        options={"gamma": _GAMMA, "alpha": (None, check_weights)},
        params=_focal_params,
    ),
    "binary_focal": _Entry(
        pair="sigmoid",
        alone=False,
        targets="bits",
        score="binary_accuracy",
        options={"gamma": _GAMMA, "alpha": (0.25, check_alpha)},
        params=_binary_focal_params,
    ),
    "multi_margin": _Entry(targets="indices", score="accuracy", options=_MARGIN),
    "quantile": _Entry(
        outputs=lambda loss: len(loss.options["taus"]),
        outputs_are="one for each tau",
        predicted=_medians,
        all_predicted=True,
        options={"taus": ((0.5,), check_taus)},
        one_list=True,
        params=_taus,
    ),
    "gaussian_nll": _Entry(
        outputs=lambda loss: 2, outputs_are="a mean and a log-variance", predicted=_means
    ),
    "margin_ranking": _Entry(
        outputs=lambda loss: 0, targets="pairs", score="pair_accuracy", options=_MARGIN
    ),
}
_CUSTOM = _Entry(has_curve=False)

NAMES: tuple[str, ...] = tuple(_TABLE)
"""The names of all losses."""

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
        table = _TABLE[name].options
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
        return dict(zip(self.entry.options, self.values, strict=True))

    @property
    def entry(self) -> _Entry:
        """What the package knows of the loss beside its formula."""
        return _TABLE[self.name]

    @cached_property
    def targets(self) -> str:
        """What the targets hold: numbers, fractions, classes, …; see docs/losses.md."""
        return self.entry.targets

    @cached_property
    def labels(self) -> bool:
        """Whether targets may be class indices."""
        return self.targets in ("classes", "indices")

    @property
    def pair(self) -> str | None:
        """Name of the output activation with which delta^L is computed from the logits."""
        return self.entry.pair

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
        return n_out // self.outputs_each if self.outputs_each else 0

    @property
    def outputs_each(self) -> int:
        """How many outputs there are for each target; 0 where there are no targets.

        >>> Loss("gaussian_nll").outputs_each
        2
        """
        return self.entry.outputs(self)

    def predicted(self, a: Array) -> Array:
        """What outputs a (n, n_out) say of the targets themselves, (n, n_targets).

        >>> Loss("gaussian_nll").predicted(np.array([[1.5, 0.1]]))
        array([[1.5]])
        """
        return self.entry.predicted(self, a)

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
        """The parameters as the engine takes them, see csrc/lists.h."""
        return self.entry.params(self, n_out)

    @cached_property
    def ignored(self) -> frozenset[int]:
        """The classes that class_weight gives no weight.

        >>> Loss("cross_entropy", class_weight=[0, 1, 0]).ignored == {0, 2}
        True
        """
        weights = self.options.get("class_weight") or ()
        return frozenset(k for k, weight in enumerate(weights) if weight == 0)

    def __str__(self) -> str:
        table = self.entry.options
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
    if _TABLE[name].one_list and len(given) > 1 and all(option is None for option, _ in given):
        return {known[0]: tuple(value for _, value in given)}
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

    >>> resolve("mse")
    Loss('mse')
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
        for name, value in (("name", "custom"), ("values", ()), ("function", function)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "width", width)

    @property
    def entry(self) -> _Entry:
        """What the package knows of it: next to nothing."""
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
    if not loss.entry.alone and not loss.pairs_with(output):
        raise ValueError(f"{loss.name} needs output={loss.pair!r}; got {output}")
    for option in ("class_weight", "alpha", "pos_weight"):
        weights = loss.options.get(option)
        if isinstance(weights, tuple) and len(weights) not in (1, n_out):
            raise ValueError(
                f"{option} of {loss.name} has {len(weights)} entries; "
                f"the network has {n_out} outputs (widths[-1])"
            )
    each = loss.outputs_each
    if each and n_out % each:
        raise ValueError(
            f"{loss.name} takes {each} outputs for each target, {loss.entry.outputs_are}; "
            f"the network has {n_out} (widths[-1]): make it a multiple of {each}"
        )


def warn_unpaired(loss: Loss, output: Activation) -> None:
    """Warn (UserWarning) if a logarithmic loss is put on outputs that are not in (0, 1).

    The message names the paired output.
    """
    if loss.pair is not None and not output.entry.in_unit_interval:
        warn_caller(
            f"{loss.name} takes the logarithm of outputs in (0, 1), and those of {output} are "
            f"clipped to them, with no gradient outside: use output='{loss.pair}'"
        )
