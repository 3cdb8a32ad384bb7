"""The losses by name, with their options and everything that the package knows of them.

You can write a loss as a name, "mse", as a name with options, "huber(0.5)" or
"cross_entropy(label_smoothing=0.1, class_weight=[1, 2])", or as a `Loss`. The formulas are in
docs/losses.md; `fastbp.reference._losses` and `csrc/kernels` implement them. A loss of the user's
is a formula of `fastbp.gates`, or a function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from .._checks import arguments as check
from .._checks.caller import warn_caller
from .._checks.keywords import HINTS
from .._checks.names import hint, hint_of
from .._checks.numbers import as_array
from .._types import Array
from ..activations import FORMULA, Activation
from ._options import (
    check_alpha,
    check_flag,
    check_smoothing,
    check_taus,
    check_weights,
    options_from_text,
    text_of_option,
)

if TYPE_CHECKING:
    from ..gates import LossFormula

# The value of an option.
Option: TypeAlias = float | bool | tuple[float, ...] | None
# A metric as a function: (outputs, targets, weights) -> number.
Score: TypeAlias = Callable[..., float]
# A loss of the user's: function(a, y) -> (J_i, ∂J_i/∂a).
LossFunction: TypeAlias = Callable[[Array, Array], tuple[npt.ArrayLike, npt.ArrayLike]]


def _number(loss: Loss, option: str) -> float:
    """The value of an option whose check returns a number."""
    return cast("float", loss.options[option])


def _taus(loss: Loss) -> tuple[float, ...]:
    return cast("tuple[float, ...]", loss.options["taus"])


def _per_output(loss: Loss, option: str, n_out: int) -> tuple[float, ...]:
    """The value of an option that holds weights, as one weight per output."""
    weights = loss.options[option]
    if not isinstance(weights, tuple):  # None
        return (1.0,) * n_out
    return weights * n_out if len(weights) == 1 else weights


# ---- what the package knows of each loss --------------------------------------------------


def _numbers(loss: Loss, n_out: int) -> tuple[float, ...]:
    return tuple(float(_number(loss, option)) for option in loss.options)


def _cross_entropy_params(loss: Loss, n_out: int) -> tuple[float, ...]:
    if loss == Loss("cross_entropy"):
        return ()
    return (_number(loss, "label_smoothing"), *_per_output(loss, "class_weight", n_out))


def _binary_cross_entropy_params(loss: Loss, n_out: int) -> tuple[float, ...]:
    return () if loss.options["pos_weight"] is None else _per_output(loss, "pos_weight", n_out)


def _focal_params(loss: Loss, n_out: int) -> tuple[float, ...]:
    return (_number(loss, "gamma"), *_per_output(loss, "alpha", n_out))


def _binary_focal_params(loss: Loss, n_out: int) -> tuple[float, ...]:
    gamma = _number(loss, "gamma")
    if loss.options["alpha"] is None:
        return (gamma, 1.0, 1.0)
    alpha = _number(loss, "alpha")
    return (gamma, 1 - alpha, alpha)


def _rates(loss: Loss, a: Array) -> Array:
    return np.exp(a) if loss.options["log_input"] else a


def _means(loss: Loss, a: Array) -> Array:
    return a[:, : a.shape[1] // 2]


def _deviations(a: Array) -> Array:
    return np.exp(a[:, a.shape[1] // 2 :] / 2)


def _medians(loss: Loss, a: Array) -> Array:
    taus = np.asarray(_taus(loss))
    return a[:, np.argmin(abs(taus - 0.5)) :: len(taus)]


@dataclass(frozen=True)
class _Entry:
    """What the package knows of a loss, except its formula.

    Outputs:
        pair: the output activation with which delta is computed from the logits, or None.
        alone: whether other output activations are accepted too.
        outputs: the number of outputs per target; 0 for a loss without targets.
        outputs_are: what the outputs of a target are, for messages, if there are several.
        predicted: computes predictions of the targets from the outputs.
        std: computes standard deviations of the targets from the outputs; None if the outputs do
            not tell them.
    Targets:
        targets: what they hold, see docs/losses.md; "classes" and "indices" may be labels.
        score: the default score, see `fastbp.metrics.default_score`; None if there is none.
        location: whether the loss depends on output − target alone and has its minimum at 0.
        summed: whether J_i is a sum over the outputs, not their mean.
        has_curve: whether the second derivative is available, which `hvp` needs.
        positive: for targets that are positive numbers, the output activation and the options
            for which the outputs are predictions.
    Options:
        options: {name: (default, check)}; the check returns the value to store.
        one_list: whether several values without a name are the elements of one list.
        params: computes the parameters for the engine, see csrc/lists.h, from the number of
            outputs.
        maskable: whether J_i is a sum or mean over the targets, so that NaN may stand for one that
            is not known.
    """

    pair: str | None = None
    alone: bool = True
    outputs: Callable[[Loss], int] = lambda loss: 1
    outputs_are: str = ""
    predicted: Callable[[Loss, Array], Array] = lambda loss, a: a
    std: Callable[[Array], Array] | None = None
    targets: str = "numbers"
    score: str | None = "r2"
    location: bool = False
    summed: bool = False
    has_curve: bool = True
    positive: tuple[str, dict[str, Option]] | None = None
    options: Mapping[str, tuple[Option, Callable[[object, str], Option]]] = field(
        default_factory=dict
    )
    one_list: bool = False
    params: Callable[[Loss, int], tuple[float, ...]] = _numbers
    maskable: bool = False


_GAMMA = (2.0, check.check_nonnegative)
_MARGIN = {"margin": (1.0, check.check_positive)}
_TABLE: dict[str, _Entry] = {
    "squared_error": _Entry(maskable=True, location=True, summed=True),
    "mse": _Entry(maskable=True, location=True),
    "binary_cross_entropy": _Entry(
        maskable=True,
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
    "mae": _Entry(maskable=True, location=True),
    "huber": _Entry(maskable=True, location=True, options={"delta": (1.0, check.check_positive)}),
    "log_cosh": _Entry(maskable=True, location=True),
    "poisson": _Entry(
        maskable=True,
        predicted=_rates,
        targets="counts",
        positive=("exp", {"log_input": False}),
        options={"log_input": (True, check_flag)},
    ),
    "hinge": _Entry(maskable=True, targets="signs", score="sign_accuracy"),
    "squared_hinge": _Entry(maskable=True, targets="signs", score="sign_accuracy"),
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
        maskable=True,
        pair="sigmoid",
        alone=False,
        targets="bits",
        score="binary_accuracy",
        options={"gamma": _GAMMA, "alpha": (0.25, check_alpha)},
        params=_binary_focal_params,
    ),
    "multi_margin": _Entry(targets="indices", score="accuracy", options=_MARGIN),
    "quantile": _Entry(
        maskable=True,
        outputs=lambda loss: len(_taus(loss)),
        outputs_are="one for each tau",
        predicted=_medians,
        options={"taus": ((0.5,), check_taus)},
        one_list=True,
        params=lambda loss, n_out: _taus(loss),
    ),
    "gaussian_nll": _Entry(
        maskable=True,
        outputs=lambda loss: 2,
        outputs_are="a mean and a log-variance",
        predicted=_means,
        std=_deviations,
    ),
    "margin_ranking": _Entry(
        outputs=lambda loss: 0, targets="pairs", score="pair_accuracy", options=_MARGIN
    ),
}
_CUSTOM = _Entry(has_curve=False, score=None)
_FORMULAS = {  # by their targets
    "numbers": _Entry(score=None),
    "classes": _Entry(targets="classes", score=None),
}

NAMES: tuple[str, ...] = tuple(_TABLE)
"""The names of all losses."""

_IGNORE = "ignore_nan"
_MAY_BE_NONE = ("pos_weight", "class_weight", "alpha")  # no weights


@dataclass(frozen=True, init=False)
class Loss:
    """A loss function: its name and the values of its options.

    Parameters
    ----------
    name : str
        One of `NAMES`, in any case. The options can follow in parentheses, as in "huber(0.5)".
    *values, **options : float, bool, tuple of float, or None
        The options, in the order of docs/losses.md or by name. The others have their defaults.
    ignore_nan : bool, default False
        Whether NaN in the targets stands for a target that is not known: it has no loss, no
        gradient, and no part in S. For losses that are sums or means over the targets of a sample.

    Raises
    ------
    TypeError, ValueError
        If the name or an option is unknown, or if a value is not valid.

    Examples
    --------
    >>> Loss("huber", delta=0.5)
    Loss('huber(delta=0.5)')
    >>> Loss("huber(0.5)") == Loss("huber", 0.5) == Loss("huber", delta=0.5)
    True
    >>> Loss("cross_entropy", class_weight=[1, 3]).options
    {'label_smoothing': 0.0, 'class_weight': (1.0, 3.0)}
    >>> Loss("mse", ignore_nan=True)
    Loss('mse(ignore_nan=true)')
    """

    name: str
    values: tuple[Option, ...]  # of all options, in the order of the table
    ignore_nan: bool = field(default=False, kw_only=True)

    def __init__(
        self, name: str, *values: Option, ignore_nan: Option = None, **options: Option
    ) -> None:
        name, given = options_from_text(name, NAMES)
        named = [value for option, value in given if option == _IGNORE]
        given = [(option, value) for option, value in given if option != _IGNORE]
        named += [] if ignore_nan is None else [ignore_nan]
        table = _TABLE[name].options
        if given and (values or options):
            raise ValueError(f"give the options of {name!r} in its text or as arguments, not both")
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
        object.__setattr__(self, _IGNORE, _ignores(name, named))

    @property
    def options(self) -> dict[str, Option]:
        """{option: value}, including defaults."""
        return dict(zip(self.entry.options, self.values, strict=True))

    @property
    def entry(self) -> _Entry:
        """What the package knows of the loss, except its formula."""
        return _TABLE[self.name]

    @cached_property
    def targets(self) -> str:
        """What the targets hold: "numbers", "fractions", "classes", …; see docs/losses.md."""
        return self.entry.targets

    @cached_property
    def labels(self) -> bool:
        """Whether targets may be class indices."""
        return self.targets in ("classes", "indices")

    @property
    def score(self) -> str | Score | None:
        """The metric that is `val_score` in the logs of a fit; None if there is none.

        >>> Loss("cross_entropy").score
        'accuracy'
        """
        return self.entry.score

    @property
    def pair(self) -> str | None:
        """The output activation with which delta^L is computed from the logits, or None."""
        return self.entry.pair

    def pairs_with(self, output: Activation) -> bool:
        """Whether the loss is fused with this output activation.

        >>> Loss("binary_cross_entropy").pairs_with(Activation("sigmoid"))
        True
        """
        return self.pair == output.name

    def n_targets(self, n_out: int) -> int:
        """Return the number of columns of dense targets for a network with n_out outputs.

        >>> Loss("quantile(0.1, 0.5, 0.9)").n_targets(6), Loss("gaussian_nll").n_targets(6)
        (2, 3)
        """
        return n_out // self.outputs_each if self.outputs_each else 0

    @cached_property
    def outputs_each(self) -> int:
        """The number of outputs per target; 0 for a loss without targets.

        >>> Loss("gaussian_nll").outputs_each
        2
        """
        return self.entry.outputs(self)

    def outputs_of(self, target: int, n_targets: int) -> Array:
        """Return the numbers of the outputs of a target, for a loss with `ignore_nan`.

        >>> Loss("quantile(0.1, 0.9)").outputs_of(1, 2), Loss("gaussian_nll").outputs_of(1, 2)
        (array([2, 3]), array([1, 3]))
        """
        each = self.outputs_each
        if self.taus:
            return target * each + np.arange(each)
        return target + n_targets * np.arange(each)

    def predicted(self, a: Array) -> Array:
        """Return predictions (n, n_targets) of the targets from the outputs a (n, n_out).

        >>> Loss("gaussian_nll").predicted(np.array([[1.5, 0.1]]))
        array([[1.5]])
        """
        return self.entry.predicted(self, a)

    @property
    def taus(self) -> tuple[float, ...]:
        """The levels of the quantiles in the outputs, one after another for each target; or ().

        >>> Loss("quantile(0.1, 0.9)").taus
        (0.1, 0.9)
        """
        return _taus(self) if "taus" in self.options else ()

    @cached_property
    def group(self) -> int:
        """The number of rows that form one sample: 2 for losses of pairs, otherwise 1."""
        return 2 if self.targets == "pairs" else 1

    def check_batch_size(self, batch_size: int) -> None:
        """Raise ValueError if batches of this size would separate the rows of a sample."""
        if batch_size % self.group:
            raise ValueError(
                f"batch_size must be even for {self.name}, whose samples are pairs of rows; "
                f"got {batch_size}"
            )

    def params(self, n_out: int) -> tuple[float, ...]:
        """Return the parameters for the engine, see csrc/lists.h."""
        return self.entry.params(self, n_out)

    @cached_property
    def ignored(self) -> frozenset[int]:
        """The classes whose class_weight is 0.

        >>> Loss("cross_entropy", class_weight=[0, 1, 0]).ignored == {0, 2}
        True
        """
        weights = self.options.get("class_weight")
        if not isinstance(weights, tuple):
            return frozenset()
        return frozenset(k for k, weight in enumerate(weights) if weight == 0)

    def __str__(self) -> str:
        table = self.entry.options
        shown = [
            f"{option}={text_of_option(value)}"
            for (option, (default, _)), value in zip(table.items(), self.values, strict=True)
            if value != default
        ]
        shown += [f"{_IGNORE}=true"] if self.ignore_nan else []
        return f"{self.name}({', '.join(shown)})" if shown else self.name

    def __repr__(self) -> str:
        return f"Loss({str(self)!r})"


def _ignores(name: str, values: list[object]) -> bool:
    """The value of ignore_nan; ValueError for a loss whose targets of a sample belong together."""
    if len(values) > 1:
        raise ValueError(f"{_IGNORE} of {name} is given twice")
    ignores = check_flag(values[0], f"{_IGNORE} of {name}") if values else False
    if ignores and not _TABLE[name].maskable:
        known = ", ".join(other for other, entry in _TABLE.items() if entry.maskable)
        raise ValueError(
            f"{name} needs all targets of a sample, so it takes no {_IGNORE}; these do: {known}"
        )
    return ignores


def _merge(
    name: str, given: list[tuple[str | None, object]], known: tuple[str, ...]
) -> dict[str, object]:
    """{option: value} from pairs (option, value); option None means the next one in order."""
    if _TABLE[name].one_list and len(given) > 1 and all(option is None for option, _ in given):
        return {known[0]: tuple(value for _, value in given)}
    merged: dict[str, object] = {}
    for place, (option, value) in enumerate(given):
        text = "" if option is None else hint(option, known, HINTS["Loss"])
        if not known:
            shown = f"{value:g}" if isinstance(value, float) else value
            shown = shown if option is None else f"{option}={value!r}"
            raise ValueError(f"{name} takes no parameter; got {shown}{text}")
        if option is None and place >= len(known):
            raise ValueError(f"{name} takes {', '.join(known)}; got {len(given)} values")
        option = known[place] if option is None else option
        if option not in known:
            raise ValueError(f"{name} has no option {option!r}; it takes {', '.join(known)}{text}")
        if option in merged:
            raise ValueError(f"{option} of {name} is given twice")
        merged[option] = value
    return merged


# What stands for a loss.
Spec: TypeAlias = "str | Loss | LossFormula | LossFunction"


def resolve(spec: Spec) -> Loss:
    """Return the Loss for a name, with or without options, or for a loss of the user's.

    That is a formula of `fastbp.gates.loss`, its text, such as "formula(sum((a - y) ** 2))", or a
    function. A Loss is returned as it is. Names may be in any case. Raises ValueError, listing the
    known names, for an unknown name.

    >>> resolve("mse")
    Loss('mse')
    """
    if isinstance(spec, Loss):
        return spec
    if isinstance(spec, str):
        is_formula = spec.partition("(")[0].strip() == FORMULA
        return FormulaLoss(spec) if is_formula else Loss(spec)
    from ..gates import LossFormula

    if isinstance(spec, LossFormula):
        return FormulaLoss(spec)
    if is_criterion(spec) or getattr(spec, "__module__", None) == "torch.nn.functional":
        name = getattr(spec, "__name__", type(spec).__name__)
        raise TypeError(
            f"loss must be one of fastbp; got the criterion {name} of PyTorch, which takes tensors"
            f"{hint_of('loss', name, NAMES)}; export.from_torch takes criteria"
        )
    if isinstance(spec, type):
        name = spec.__name__
        raise TypeError(f"loss must be a name, a Loss or a function; got the class {name}")
    return CustomLoss(spec) if callable(spec) else Loss(spec)


def is_criterion(loss: object) -> bool:
    """Whether it is a torch.nn.Module, or such a class; PyTorch need not be importable."""
    kind = loss if isinstance(loss, type) else type(loss)
    return any(base.__module__ == "torch.nn.modules.module" for base in kind.__mro__)


class FormulaLoss(Loss):
    """A loss of your own, as a formula of gates, which the engine computes at full speed.

    Parameters
    ----------
    formula : LossFormula or str
        A formula of the outputs a and the targets y of a row, as from `fastbp.gates.loss`, or its
        text.

    Raises
    ------
    TypeError, ValueError
        If it is something else, or a text that is not a formula.

    Examples
    --------
    >>> import fastbp
    >>> squared = fastbp.gates.loss(lambda a, y: fastbp.gates.sum((a - y) ** 2))
    >>> FormulaLoss(squared)
    FormulaLoss('formula(sum((a - y) ** 2))')
    >>> net = fastbp.Network((1, 1), loss=squared, init="zeros")
    >>> net.value_and_grad([[1.0]], [[2.0]])
    (4.0, array([-4., -4.], dtype=float32))
    """

    def __init__(self, formula: LossFormula | str) -> None:
        from ..gates._formulas import LossFormula, parse_loss

        if isinstance(formula, str):
            formula = parse_loss(formula)
        if not isinstance(formula, LossFormula):
            raise TypeError(
                f"a loss of your own must be a formula, as from fastbp.gates.loss; got {formula!r}"
            )
        for name, value in (("name", FORMULA), ("values", ()), ("_formula", formula)):
            object.__setattr__(self, name, value)

    @property
    def formula(self) -> LossFormula:
        """The `fastbp.gates.LossFormula`."""
        formula: LossFormula = vars(self)["_formula"]
        return formula

    @property
    def entry(self) -> _Entry:
        """What the package knows of the loss: what its targets hold."""
        return _FORMULAS[self.formula.targets]

    @property
    def score(self) -> str | None:
        """The metric that the formula names as its score, or None."""
        return self.formula.score

    # By hand, because a dataclass takes 0.4 ms of every import of fastbp.

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FormulaLoss) and self.formula == other.formula

    def __hash__(self) -> int:
        return hash(self.formula)

    def __str__(self) -> str:
        return str(self.formula)

    def __repr__(self) -> str:
        return f"FormulaLoss({str(self)!r})"


@dataclass(frozen=True, init=False, repr=False)
class CustomLoss(Loss):
    """A loss of your own, as a function in NumPy; `FormulaLoss` is the fast way.

    Training calls the function once per batch, while it holds the GIL; everything else stays in the
    engine. A network with the loss can be pickled if the function can.

    Parameters
    ----------
    function : callable
        function(a, y) -> (J_i, ∂J_i/∂a). Its arguments are copies of the outputs (n, K) and of the
        targets (n, n_targets), in the dtype of the network. It returns the loss of every sample
        (n,) and its gradient (n, K). The loss of a sample must not depend on other samples, because
        a cost may be computed in blocks of rows.
    n_targets : int or None, default None
        The number of columns of the targets; None means K.
    score : str, callable or None, default None
        The metric that is `val_score` in the logs of a fit: a name of `fastbp.metrics`, such as
        "r2", "accuracy", "binary_accuracy" or "sign_accuracy", or a function (outputs, targets,
        weights) -> number. None means that there is none.

    Raises
    ------
    TypeError, ValueError
        If `function` is not callable, n_targets is not an integer of at least 1, or `score` is
        neither a string nor callable.

    Examples
    --------
    >>> def cubic(a, y):
    ...     e = a - y
    ...     return (abs(e) ** 3).sum(axis=1), 3 * e * abs(e)
    >>> import fastbp
    >>> net = fastbp.Network((1, 1), loss=cubic, init="zeros")
    >>> net.value_and_grad([[1.0]], [[2.0]])
    (8.0, array([-12., -12.], dtype=float32))
    """

    function: LossFunction
    width: int | None
    score: str | Score | None = None  # pickles of version 0.1 have no value

    def __init__(
        self,
        function: LossFunction,
        *,
        n_targets: int | None = None,
        score: str | Score | None = None,
    ) -> None:
        if not callable(function):
            raise TypeError(f"a loss of your own must be callable; got {type(function).__name__}")
        if score is not None and not isinstance(score, str) and not callable(score):
            raise TypeError(
                f"score must be the name of a metric, such as 'r2', or a function; got {score!r}"
            )
        width = None if n_targets is None else check.check_positive_int(n_targets, "n_targets")
        for name, value in (("name", "custom"), ("values", ()), ("function", function)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "width", width)
        lower = score.lower() if isinstance(score, str) else score
        object.__setattr__(self, "score", lower)

    @property
    def entry(self) -> _Entry:
        """What the package knows of the loss: almost nothing."""
        return _CUSTOM

    def n_targets(self, n_out: int) -> int:
        """Return the number of columns of the targets."""
        return n_out if self.width is None else self.width

    def evaluate(self, a: Array, y: Array) -> tuple[Array, Array]:
        """Call the function, check its results, and return them as contiguous arrays.

        J_i (n,) has dtype float64, ∂J_i/∂a (n, K) has the dtype of a.
        """
        result = self.function(a, y)
        if not isinstance(result, tuple) or len(result) != 2:
            kind = type(result).__name__
            way = "; wrap a function of gates: loss=gates.loss(function)" * (kind == "Gate")
            raise TypeError(
                f"{self} must return (loss of every sample, its gradient); got {kind}{way}"
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
        return str(getattr(self.function, "__name__", type(self.function).__name__))


def engine_function(
    loss: Loss, dtype: np.dtype[Any], n_out: int
) -> Callable[[bytearray, bytearray], tuple[Array, Array]] | None:
    """The function of a CustomLoss as the engine calls it, with the bytes of a and y.

    None for all other losses, which the engine computes itself.
    """
    if not isinstance(loss, CustomLoss):
        return None
    n_targets = loss.n_targets(n_out)

    def call(a: bytearray, y: bytearray) -> tuple[Array, Array]:
        outputs = np.frombuffer(a, dtype).reshape(-1, n_out)
        return loss.evaluate(outputs, np.frombuffer(y, dtype).reshape(-1, n_targets))

    return call


def check_output(loss: Loss, output: Activation, n_out: int) -> None:
    """Raise ValueError if the loss does not accept such outputs, or not this number of them."""
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
    """Issue a UserWarning if a logarithmic loss gets outputs that may lie outside (0, 1).

    The message recommends the paired activation.
    """
    if loss.pair is not None and not output.in_unit_interval:
        warn_caller(
            f"{loss.name} takes the logarithm of its outputs. Outputs of {output} are clipped to "
            f"(0, 1), and the gradient outside is 0: use output='{loss.pair}'"
        )


def warn_constant(output: Activation, n_out: int) -> None:
    """Issue a UserWarning for softmax of one unit, which learns nothing."""
    if output.name == "softmax" and n_out == 1:
        warn_caller(
            "softmax of one output (widths[-1] = 1) is always 1, so the network learns nothing: "
            "for two classes, use output='sigmoid' with loss='binary_cross_entropy', which is "
            "BCEWithLogitsLoss in PyTorch, or two outputs"
        )


def warn_unnamed(loss: Loss, output: Activation) -> None:
    """Issue a UserWarning for softmax with the default loss, which the caller did not name.

    The squared error of softmax learns slowly where a wrong class is nearly certain, since its
    gradient has the factor a_k (1 - a_k). Who wants it names it.
    """
    if output.name == "softmax":
        warn_caller(
            f"output='softmax' without a loss trains with loss={loss.name!r}: name the loss, "
            f"loss='cross_entropy' for classes, or loss={loss.name!r} to keep this one"
        )
