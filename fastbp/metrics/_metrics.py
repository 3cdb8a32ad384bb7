"""The metrics, their names, and the default score of each loss.

The formulas of accuracies, precision, recall, F1, R² and errors are those of `sklearn.metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import partial
from typing import NamedTuple, TypeAlias, cast

import numpy as np

from .._checks import arguments as check
from .._checks.names import split_spec
from .._types import Array
from ..losses import Loss
from ._declarations import (
    ByTarget,
    TrueFirst,
    declare,
    direction,
    higher_is_better,
    lower_is_better,
    measured,
    names_y_true,
)

# ---- metrics ------------------------------------------------------------------------------


@higher_is_better
@measured
def accuracy(a: Array, y: Array, sample_weight: Array | None = None) -> float:
    """Weighted fraction of rows whose largest output belongs to the class in y.

    `a` are outputs (n, K); `y` are class indices (n,) or rows of probabilities (n, K).

    >>> accuracy(np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([0, 0]))
    0.5
    """
    classes = y if y.ndim == 1 else y.argmax(axis=1)
    return _mean(a.argmax(axis=1) == classes, sample_weight)


@higher_is_better
@measured
def binary_accuracy(a: Array, y: Array, sample_weight: Array | None = None) -> float:
    """Weighted fraction of all outputs that are on the same side of 0.5 as y.

    `a` and `y` are (n, K).

    >>> binary_accuracy(np.array([[0.5], [0.4]]), np.array([[1.0], [1.0]]))
    0.5
    """
    return _mean(((a >= 0.5) == (y >= 0.5)).mean(axis=1), sample_weight)


@higher_is_better
@measured
def r2(a: Array, y: Array, sample_weight: Array | None = None) -> float:
    """Coefficient of determination, 1 − Σ(y−a)²/Σ(y−ȳ)², averaged over the outputs.

    `a` and `y` are (n, K). If an output is constant in y, its R² is 1 for an exact prediction and 0
    otherwise, as in `sklearn.metrics.r2_score`.

    >>> r2(np.array([[1.0], [3.0]]), np.array([[1.0], [3.0]]))
    1.0
    """
    a, y = a.astype(np.float64), y.astype(np.float64)
    weight = np.ones(len(y)) if sample_weight is None else sample_weight.astype(np.float64)
    centre = weight @ y / weight.sum()
    residual, total = weight @ (y - a) ** 2, weight @ (y - centre) ** 2
    constant = total == 0
    score = 1 - residual / np.where(constant, 1, total)
    return float(np.where(constant, residual == 0, score).mean())


@higher_is_better
@measured
def sign_accuracy(a: Array, y: Array, sample_weight: Array | None = None) -> float:
    """Weighted fraction of all outputs that have the same sign as y; 0 counts as positive.

    `a` and `y` are (n, K).

    >>> sign_accuracy(np.array([[0.5], [-2.0]]), np.array([[1.0], [1.0]]))
    0.5
    """
    return _mean(((a >= 0) == (y >= 0)).mean(axis=1), sample_weight)


@higher_is_better
@measured
def balanced_accuracy(
    a: Array,
    y: Array,
    sample_weight: Array | None = None,
    *,
    threshold: float = 0.5,
    multilabel: bool = False,
) -> float:
    """Mean recall of the classes that occur in y.

    A single output separates two classes.

    Parameters
    ----------
    a : array, shape (n, K)
        Outputs.
    y : array, shape (n,) or (n, K)
        Class indices, or rows of targets.
    sample_weight : array or None, shape (n,), default None
        Weights of the rows.
    threshold : float, default 0.5
        A single output, or each one with `multilabel`, is positive if it is >= threshold.
    multilabel : bool, default False
        Whether each output is a separate yes-or-no decision.

    Returns
    -------
    float
        The score, 0 to 1.

    Examples
    --------
    >>> balanced_accuracy(np.array([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2]]), np.array([0, 1, 1]))
    0.75
    """
    predicted, true, s = _decisions(a, y, sample_weight, threshold, multilabel)
    if predicted.shape[1] == 1:
        predicted, true = np.hstack([~predicted, predicted]), np.hstack([~true, true])
    total = s @ true
    return float(_ratio(s @ (predicted & true), total)[total > 0].mean())


@higher_is_better
@measured
def precision(
    a: Array,
    y: Array,
    sample_weight: Array | None = None,
    *,
    threshold: float = 0.5,
    multilabel: bool = False,
) -> float:
    """Weighted fraction of the rows predicted as a class that belong to it: TP / (TP + FP).

    With a single output, this is the precision of the positive class (scikit-learn's average
    "binary"). Otherwise it is the mean over the classes that occur in y or in the predictions, or
    with `multilabel` over all outputs ("macro"). A class that is never predicted has precision 0.

    Parameters
    ----------
    a : array, shape (n, K)
        Outputs.
    y : array, shape (n,) or (n, K)
        Class indices, or rows of targets.
    sample_weight : array or None, shape (n,), default None
        Weights of the rows.
    threshold : float, default 0.5
        A single output, or each one with `multilabel`, is positive if it is >= threshold.
    multilabel : bool, default False
        Whether each output is a separate yes-or-no decision.

    Returns
    -------
    float
        The precision, 0 to 1.

    Examples
    --------
    >>> precision(np.array([[0.9], [0.7], [0.2]]), np.array([[1.0], [0.0], [1.0]]))
    0.5
    """
    correct, predicted, _, counts = _counts(a, y, sample_weight, threshold, multilabel)
    return float(_ratio(correct, predicted)[counts].mean())


@higher_is_better
@measured
def recall(
    a: Array,
    y: Array,
    sample_weight: Array | None = None,
    *,
    threshold: float = 0.5,
    multilabel: bool = False,
) -> float:
    """Weighted fraction of the rows of a class that are predicted as it: TP / (TP + FN).

    It is averaged over classes like `precision`.

    Parameters
    ----------
    a : array, shape (n, K)
        Outputs.
    y : array, shape (n,) or (n, K)
        Class indices, or rows of targets.
    sample_weight : array or None, shape (n,), default None
        Weights of the rows.
    threshold : float, default 0.5
        A single output, or each one with `multilabel`, is positive if it is >= threshold.
    multilabel : bool, default False
        Whether each output is a separate yes-or-no decision.

    Returns
    -------
    float
        The recall, 0 to 1.

    Examples
    --------
    >>> recall(np.array([[0.9], [0.7], [0.2]]), np.array([[1.0], [1.0], [1.0]])) == 2 / 3
    True
    """
    correct, _, true, counts = _counts(a, y, sample_weight, threshold, multilabel)
    return float(_ratio(correct, true)[counts].mean())


@higher_is_better
@measured
def f1(
    a: Array,
    y: Array,
    sample_weight: Array | None = None,
    *,
    threshold: float = 0.5,
    multilabel: bool = False,
) -> float:
    """Harmonic mean of precision and recall: 2 TP / (2 TP + FP + FN).

    It is averaged over classes like `precision`.

    Parameters
    ----------
    a : array, shape (n, K)
        Outputs.
    y : array, shape (n,) or (n, K)
        Class indices, or rows of targets.
    sample_weight : array or None, shape (n,), default None
        Weights of the rows.
    threshold : float, default 0.5
        A single output, or each one with `multilabel`, is positive if it is >= threshold.
    multilabel : bool, default False
        Whether each output is a separate yes-or-no decision.

    Returns
    -------
    float
        The F1 score, 0 to 1.

    Examples
    --------
    >>> f1(np.array([[0.9], [0.7], [0.2]]), np.array([[1.0], [0.0], [1.0]]))
    0.5
    """
    correct, predicted, true, counts = _counts(a, y, sample_weight, threshold, multilabel)
    return float(_ratio(2 * correct, predicted + true)[counts].mean())


@higher_is_better
@measured
def top_k_accuracy(a: Array, y: Array, sample_weight: Array | None = None, *, k: int = 5) -> float:
    """Weighted fraction of rows in which fewer than k outputs exceed that of the class in y.

    Parameters
    ----------
    a : array, shape (n, K)
        Outputs.
    y : array, shape (n,) or (n, K)
        Class indices, or rows of probabilities.
    sample_weight : array or None, shape (n,), default None
        Weights of the rows.
    k : int, default 5
        Number of outputs that count, at least 1.

    Returns
    -------
    float
        The accuracy, 0 to 1.

    Examples
    --------
    >>> top_k_accuracy(np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]]), np.array([1, 2]), k=2)
    0.5
    """
    classes = y if y.ndim == 1 else y.argmax(axis=1)
    own = np.take_along_axis(a, classes[:, None], axis=1)
    return _mean((a > own).sum(axis=1) < k, sample_weight)


@lower_is_better
@measured
def mae(a: Array, y: Array, sample_weight: Array | None = None) -> float:
    """Weighted mean of |a − y| over rows and outputs; `a` and `y` are (n, K).

    >>> mae(np.array([[1.0], [3.0]]), np.array([[2.0], [3.0]]))
    0.5
    """
    return _mean(abs(a.astype(np.float64) - y).mean(axis=1), sample_weight)


@lower_is_better
@measured
def mse(a: Array, y: Array, sample_weight: Array | None = None) -> float:
    """Weighted mean of (a − y)² over rows and outputs; `a` and `y` are (n, K).

    >>> mse(np.array([[1.0], [3.0]]), np.array([[3.0], [3.0]]))
    2.0
    """
    return _mean(((a.astype(np.float64) - y) ** 2).mean(axis=1), sample_weight)


@lower_is_better
@measured
def rmse(a: Array, y: Array, sample_weight: Array | None = None) -> float:
    """Square root of `mse`.

    >>> rmse(np.array([[1.0], [3.0]]), np.array([[5.0], [7.0]]))
    4.0
    """
    return float(np.sqrt(mse(a, y, sample_weight)))


@higher_is_better
@measured
def pair_accuracy(a: Array, sample_weight: Array | None = None) -> float:
    """Weighted fraction of pairs whose first row has the higher output.

    `a` is (2 n, K); rows 2i and 2i + 1 are a pair, whose weight is that of the first row. The loss
    "margin_ranking" uses this metric.

    >>> pair_accuracy(np.array([[2.0], [1.0], [0.0], [3.0]]))
    0.5
    """
    weight = None if sample_weight is None else sample_weight[::2]
    return _mean((a[::2] > a[1::2]).mean(axis=1), weight)


@higher_is_better
def default_score(loss: Loss, a: Array, y: Array, sample_weight: Array | None = None) -> float:
    """The score of a loss: by default an accuracy for classes, R² for numbers.

    R² is computed from the means for gaussian_nll, from the rates for poisson, and from the
    quantiles nearest to the median for quantile. A loss of the user's has the score that it names.

    Parameters
    ----------
    loss : Loss
        The loss of the network.
    a : array, shape (n, K)
        Outputs.
    y : array, shape (n,) or (n, K)
        Targets as the network takes them.
    sample_weight : array or None, shape (n,), default None
        Weights of the rows.

    Returns
    -------
    float
        The score; NaN for a loss of the user's that names none.

    Examples
    --------
    >>> default_score(Loss("mse"), np.array([[1.0], [3.0]]), np.array([[1.0], [3.0]]))
    1.0
    """
    score = score_of(loss)
    return float("nan") if score is None else score(a, y, sample_weight)


def score_of(loss: Loss) -> Metric | None:
    """The score of a loss as a function; None for a loss of the user's that names none.

    Raises TypeError or ValueError for a score that is no metric.
    """
    found = _score_of(loss)
    return found if found is None else _masked(found, loss)


def _masked(metric: Metric, loss: Loss) -> Metric:
    """The metric itself, or that of the targets that are known."""
    return ByTarget(metric, loss.outputs_of) if loss.ignore_nan else metric


def _score_of(loss: Loss) -> Metric | None:
    score = loss.score
    if score is None:
        return None
    if callable(score):
        return _own("score", score, loss)
    if score == "r2":
        return partial(_r2_of, loss)
    own = loss.entry.score is None
    if score in (SCORES if own else _SCORES):
        return _SCORES[score]
    name = split_spec(score, "score", (*NAMES, *SCORES))[0]
    if name in SCORES:
        raise ValueError(f"the score {name!r} takes no number; got {score!r}")
    return _by_name(score, loss)


def check_score(loss: Loss, n_out: int) -> None:
    """Raise TypeError or ValueError if the score that a loss names does not suit a network.

    `n_out` is the number of its outputs.
    """
    score_of(loss)
    named = _TABLE.get(loss.score) if isinstance(loss.score, str) else None
    if loss.entry.score is not None or named is None or named.kind is not _Kind.NUMBERS:
        return
    n_targets = loss.n_targets(n_out)
    if loss.labels or n_targets != n_out:
        what = "classes" if loss.labels else f"{n_targets} numbers per row"
        raise ValueError(
            f"the score {loss.score!r} compares the {n_out} outputs (widths[-1]) with as many "
            f"numbers, and the targets of {loss} are {what}: name another score, or none"
        )


@higher_is_better
def _r2_of(loss: Loss, a: Array, y: Array, sample_weight: Array | None = None) -> float:
    """R² of the predictions in the outputs; NaN for targets of another shape."""
    predicted = loss.predicted(a)
    return r2(predicted, y, sample_weight) if predicted.shape == y.shape else float("nan")


# ---- by name ------------------------------------------------------------------------------

Metric: TypeAlias = Callable[[Array, Array, Array | None], float]


class _Kind(Enum):
    """How the function of a name is called; `_by_name` does it."""

    ACCURACY = "the accuracy that suits the outputs"
    RANKS = "with k from the number in the name"
    CLASSES = "with the threshold and the multilabel that suit the loss"
    NUMBERS = "with predictions instead of outputs"


class _Named(NamedTuple):
    """A row of the table of metrics."""

    function: Callable[..., float]
    kind: _Kind


_TABLE: dict[str, _Named] = {
    "accuracy": _Named(accuracy, _Kind.ACCURACY),
    "top_k_accuracy": _Named(top_k_accuracy, _Kind.RANKS),
    "balanced_accuracy": _Named(balanced_accuracy, _Kind.CLASSES),
    "precision": _Named(precision, _Kind.CLASSES),
    "recall": _Named(recall, _Kind.CLASSES),
    "f1": _Named(f1, _Kind.CLASSES),
    "r2": _Named(r2, _Kind.NUMBERS),
    "mae": _Named(mae, _Kind.NUMBERS),
    "mse": _Named(mse, _Kind.NUMBERS),
    "rmse": _Named(rmse, _Kind.NUMBERS),
}

NAMES: tuple[str, ...] = tuple(_TABLE)
"""The names of all metrics."""

# What a loss of the user's may name as its score, besides these.
SCORES = ("binary_accuracy", "sign_accuracy")

_RESERVED = (
    "loss",
    "lr",
    "samples_per_second",
    "epoch",
    "epochs",
    "stopped_by",
    "loss_name",
    "series",
    "add",
)


def direction_of(name: str) -> bool | None:
    """The `direction` of an entry of the logs, by its name; None if the name is not known here.

    >>> direction_of("val_loss"), direction_of("top_k_accuracy(3)"), direction_of("val_acc")
    (False, True, None)
    """
    if name == "val_score":
        return direction(default_score)
    name = name.removeprefix("val_")
    if name == "loss":
        return False
    named = _TABLE.get(name.partition("(")[0])
    return None if named is None else direction(named.function)


def resolve(
    specs: Iterable[str | Metric] | Mapping[str, str | Metric], loss: Loss
) -> dict[str, Metric]:
    """Return the metrics as functions (a, y, sample_weight), by name.

    `specs` are names, functions, or a dict of them by name. The meaning of a name depends on the
    loss: outputs can be classes, separate decisions, or numbers. A function with a parameter
    y_true, as in `sklearn.metrics`, is called with y_true, y_pred and sample_weight by name. y_pred
    is the outputs; for gaussian_nll, quantile and poisson it is the prediction in the outputs.

    Names of metrics may be in any case; the result has them in lower case. Raises ValueError for an
    unknown name, for a name that occurs twice or that the logs already have, and for a metric that
    needs targets if the loss has none. Raises TypeError for a function that cannot be called in one
    of these ways.

    >>> found = resolve(["accuracy", "top_k_accuracy(3)"], Loss("cross_entropy"))
    >>> list(found), found["accuracy"](np.eye(2), np.array([0, 0]), None)
    (['accuracy', 'top_k_accuracy(3)'], 0.5)
    """
    if isinstance(specs, str) or not isinstance(specs, Iterable):
        raise TypeError(f'metrics must be a sequence: write metrics=["accuracy"]; got {specs!r}')
    named = specs.items() if isinstance(specs, Mapping) else [(_name(spec), spec) for spec in specs]
    found: dict[str, Metric] = {}
    for name, spec in named:
        if name in found:
            raise ValueError(f"two metrics are called {name!r}: pass a dict of metrics by name")
        if name in _RESERVED or name.startswith("val_"):
            raise ValueError(f"a metric cannot be called {name!r}: the logs use that name already")
        metric = _own(name, spec, loss) if callable(spec) else _by_name(spec, loss)
        found[name] = _masked(metric, loss)
    return found


def _name(spec: object) -> str:
    """The name of the entry in the logs; a name of a metric is in lower case there."""
    return spec.lower() if isinstance(spec, str) else getattr(spec, "__name__", type(spec).__name__)


def _own(name: str, metric: Metric, loss: Loss) -> Metric:
    """A user-defined function in the form that a fit calls."""
    if not names_y_true(name, metric):
        return metric
    if loss.targets == "pairs":
        raise ValueError(f"metric {name!r} needs y_true; {loss.name} has no targets")
    return TrueFirst(metric, loss.predicted)


def _by_name(spec: object, loss: Loss) -> Metric:
    name, number = split_spec(spec, "metric", NAMES)
    function, kind = _TABLE[name]
    if number is not None and kind is not _Kind.RANKS:
        raise ValueError(f"metric {name!r} takes no number; got {spec!r}")
    if loss.targets == "pairs":
        if kind is not _Kind.ACCURACY:
            raise ValueError(f"metric {name!r} needs targets; {loss.name} has none: use accuracy")
        return _pair_accuracy
    if kind is _Kind.RANKS:
        return partial(function, k=_k(number))
    signs = loss.score == "sign_accuracy"
    decisions = signs or loss.score == "binary_accuracy"
    if kind is _Kind.ACCURACY:
        return _SCORES[cast("str", loss.score)] if decisions else _accuracy
    if kind is _Kind.CLASSES:
        return partial(function, threshold=0.0 if signs else 0.5, multilabel=decisions)

    def for_numbers(a: Array, y: Array, sample_weight: Array | None) -> float:
        if y.ndim == 1:
            raise ValueError(f"metric {name!r} needs numbers; {loss.name} has class indices")
        return function(loss.predicted(a), y, sample_weight)

    return declare(for_numbers, direction(function))


def _k(number: float | None) -> int:
    if number is None:
        return 5
    if not number.is_integer():
        raise ValueError(f"k of top_k_accuracy must be a whole number; got {number:g}")
    return check.check_positive_int(int(number), "k of top_k_accuracy")


@higher_is_better
def _pair_accuracy(a: Array, y: Array, sample_weight: Array | None) -> float:
    return pair_accuracy(a, sample_weight)


# The default scores, besides "r2", that the table of losses may name.
_SCORES: dict[str, Metric] = {
    "accuracy": accuracy,
    "binary_accuracy": binary_accuracy,
    "sign_accuracy": sign_accuracy,
    "pair_accuracy": _pair_accuracy,
}


@higher_is_better
def _accuracy(a: Array, y: Array, sample_weight: Array | None) -> float:
    single = y.ndim == 2 and y.shape[1] == 1
    return (binary_accuracy if single else accuracy)(a, y, sample_weight)


# ---- helpers ------------------------------------------------------------------------------


def _decisions(
    a: Array,
    y: Array,
    sample_weight: Array | None,
    threshold: float,
    multilabel: bool,
) -> tuple[Array, Array, Array]:
    """The predicted and the true class as (n, C) bool each, and weights (n,)."""
    s = np.ones(len(a)) if sample_weight is None else sample_weight.astype(np.float64)
    if multilabel or a.shape[1] == 1:
        return a >= threshold, y >= threshold, s
    classes = np.arange(a.shape[1])
    true = y if y.ndim == 1 else y.argmax(axis=1)
    return a.argmax(axis=1)[:, None] == classes, true[:, None] == classes, s


def _counts(
    a: Array,
    y: Array,
    sample_weight: Array | None,
    threshold: float,
    multilabel: bool,
) -> tuple[Array, Array, Array, Array]:
    """Per class (C,): weights of TP, of TP + FP and of TP + FN, and whether the class counts."""
    predicted, true, s = _decisions(a, y, sample_weight, threshold, multilabel)
    several = predicted.shape[1] > 1 and not multilabel
    counts = np.ones(predicted.shape[1], bool)
    if several:
        counts = np.asarray((predicted | true).any(axis=0))
    return s @ (predicted & true), s @ predicted, s @ true, counts


def _ratio(part: Array, whole: Array) -> Array:
    return part / np.where(whole > 0, whole, 1)


def _mean(correct: Array, sample_weight: Array | None) -> float:
    return float(np.average(correct, weights=sample_weight))
