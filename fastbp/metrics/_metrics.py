"""Scores of predictions, by name for `fit`, and which of them belongs to a loss.

Each says where it is defined whether more of it is better, as `greater_is_better`; so may yours,
with `higher_is_better` or `lower_is_better`. Those of the package return NaN where the outputs or
the targets hold one, and refuse masked arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import numpy as np

from .._checks import arguments as check
from ..losses import Loss
from ._functions import (
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
def accuracy(a: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """Weighted share of rows whose largest output is the class that y names.

    `a` (n, K) outputs, `y` class indices (n,) or rows of probabilities (n, K).

    >>> accuracy(np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([0, 0]))
    0.5
    """
    classes = y if y.ndim == 1 else y.argmax(axis=1)
    return _mean(a.argmax(axis=1) == classes, sample_weight)


@higher_is_better
@measured
def binary_accuracy(a: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """Weighted share of all outputs on the same side of one half as y: `a`, `y` both (n, K).

    >>> binary_accuracy(np.array([[0.5], [0.4]]), np.array([[1.0], [1.0]]))
    0.5
    """
    return _mean(((a >= 0.5) == (y >= 0.5)).mean(axis=1), sample_weight)


@higher_is_better
@measured
def r2(a: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """Coefficient of determination, 1 − Σ(y−a)²/Σ(y−ȳ)², averaged over the outputs.

    `a`, `y` both (n, K). An output that is constant in y counts 1 where it is met exactly and
    0 otherwise, as scikit-learn's r2_score has it.

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
def sign_accuracy(a: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """Weighted share of all outputs on the same side of 0 as y: `a`, `y` both (n, K).

    >>> sign_accuracy(np.array([[0.5], [-2.0]]), np.array([[1.0], [1.0]]))
    0.5
    """
    return _mean(((a >= 0) == (y >= 0)).mean(axis=1), sample_weight)


@higher_is_better
@measured
def balanced_accuracy(
    a: np.ndarray,
    y: np.ndarray,
    sample_weight: np.ndarray | None = None,
    *,
    threshold: float = 0.5,
    multilabel: bool = False,
) -> float:
    """Mean over the classes of the weighted share of each that is found, its recall.

    `a` (n, K) outputs, `y` class indices (n,) or rows (n, K); one output is of two classes, parted
    at `threshold`. Classes that y lacks do not count.

    >>> balanced_accuracy(np.array([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2]]), np.array([0, 1, 1]))
    0.75
    """
    found, true, s = _decisions(a, y, sample_weight, threshold, multilabel)
    if found.shape[1] == 1:
        found, true = np.hstack([~found, found]), np.hstack([~true, true])
    total = s @ true
    return float(_ratio(s @ (found & true), total)[total > 0].mean())


@higher_is_better
@measured
def precision(
    a: np.ndarray,
    y: np.ndarray,
    sample_weight: np.ndarray | None = None,
    *,
    threshold: float = 0.5,
    multilabel: bool = False,
) -> float:
    """Weighted share of what is taken for a class that is of it: TP / (TP + FP).

    `a` (n, K) outputs, `y` class indices (n,) or rows (n, K). One output: of y >= threshold, the
    positive class. Several: the mean over the classes that y or the outputs have; multilabel: over
    all outputs, each a decision of its own. 0 where nothing is taken for the class. As
    scikit-learn has it, average "binary" and "macro".

    >>> precision(np.array([[0.9], [0.7], [0.2]]), np.array([[1.0], [0.0], [1.0]]))
    0.5
    """
    right, taken, _, kept = _counts(a, y, sample_weight, threshold, multilabel)
    return float(_ratio(right, taken)[kept].mean())


@higher_is_better
@measured
def recall(
    a: np.ndarray,
    y: np.ndarray,
    sample_weight: np.ndarray | None = None,
    *,
    threshold: float = 0.5,
    multilabel: bool = False,
) -> float:
    """Weighted share of a class that is found: TP / (TP + FN); averages as for `precision`.

    >>> recall(np.array([[0.9], [0.7], [0.2]]), np.array([[1.0], [1.0], [1.0]])) == 2 / 3
    True
    """
    right, _, there, kept = _counts(a, y, sample_weight, threshold, multilabel)
    return float(_ratio(right, there)[kept].mean())


@higher_is_better
@measured
def f1(
    a: np.ndarray,
    y: np.ndarray,
    sample_weight: np.ndarray | None = None,
    *,
    threshold: float = 0.5,
    multilabel: bool = False,
) -> float:
    """2 TP / (2 TP + FP + FN), the harmonic mean of both; averages as for `precision`.

    >>> f1(np.array([[0.9], [0.7], [0.2]]), np.array([[1.0], [0.0], [1.0]]))
    0.5
    """
    right, taken, there, kept = _counts(a, y, sample_weight, threshold, multilabel)
    return float(_ratio(2 * right, taken + there)[kept].mean())


@higher_is_better
@measured
def top_k_accuracy(
    a: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None, *, k: int = 5
) -> float:
    """Weighted share of rows with fewer than k outputs above that of the class that y names.

    `a` (n, K) outputs, `y` class indices (n,) or rows of probabilities (n, K).

    >>> top_k_accuracy(np.array([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]]), np.array([1, 2]), k=2)
    0.5
    """
    classes = y if y.ndim == 1 else y.argmax(axis=1)
    own = np.take_along_axis(a, classes[:, None], axis=1)
    return _mean((a > own).sum(axis=1) < k, sample_weight)


@lower_is_better
@measured
def mae(a: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """Weighted mean over rows and outputs of |a − y|: `a`, `y` both (n, K).

    >>> mae(np.array([[1.0], [3.0]]), np.array([[2.0], [3.0]]))
    0.5
    """
    return _mean(abs(a.astype(np.float64) - y).mean(axis=1), sample_weight)


@lower_is_better
@measured
def mse(a: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """Weighted mean over rows and outputs of (a − y)²: `a`, `y` both (n, K).

    >>> mse(np.array([[1.0], [3.0]]), np.array([[3.0], [3.0]]))
    2.0
    """
    return _mean(((a.astype(np.float64) - y) ** 2).mean(axis=1), sample_weight)


@lower_is_better
@measured
def rmse(a: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """The square root of `mse`.

    >>> rmse(np.array([[1.0], [3.0]]), np.array([[5.0], [7.0]]))
    4.0
    """
    return float(np.sqrt(mse(a, y, sample_weight)))


@higher_is_better
@measured
def pair_accuracy(a: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
    """Weighted share of pairs whose first row has the higher output: `a` (2 n, K).

    >>> pair_accuracy(np.array([[2.0], [1.0], [0.0], [3.0]]))
    0.5
    """
    weight = None if sample_weight is None else sample_weight[::2]
    return _mean((a[::2] > a[1::2]).mean(axis=1), weight)


@higher_is_better
def default_score(
    loss: Loss, a: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None
) -> float:
    """The score that goes with a loss: an accuracy for those of classes, R² for the rest.

    `a` (n, K) outputs; `y` as `_validation.as_targets` returns it. R² is that of the means
    (gaussian_nll), the rates (poisson), and the quantiles nearest to the median; NaN for a loss of
    the user's whose targets are not of the outputs' shape.

    >>> default_score(Loss("mse"), np.array([[1.0], [3.0]]), np.array([[1.0], [3.0]]))
    1.0
    """
    if loss.name == "margin_ranking":
        return pair_accuracy(a, sample_weight)
    if loss.name == "custom" and a.shape != y.shape:
        return float("nan")
    if loss.labels or loss.name == "kl_divergence":
        return accuracy(a, y, sample_weight)
    if loss.name in ("binary_cross_entropy", "binary_focal"):
        return binary_accuracy(a, y, sample_weight)
    if loss.targets == "signs":
        return sign_accuracy(a, y, sample_weight)
    return r2(_predicted(loss, a), y, sample_weight)


def _predicted(loss: Loss, a: np.ndarray) -> np.ndarray:
    """What outputs say of the targets themselves."""
    if loss.name == "gaussian_nll":
        return a[:, : a.shape[1] // 2]
    if loss.name == "quantile":
        taus = np.asarray(loss.options["taus"])
        return a[:, np.argmin(abs(taus - 0.5)) :: len(taus)]
    return np.exp(a) if loss.name == "poisson" and loss.options["log_input"] else a


# ---- by name ------------------------------------------------------------------------------

Metric = Callable[[np.ndarray, np.ndarray, np.ndarray | None], float]

_OF_CLASSES = {
    "balanced_accuracy": balanced_accuracy,
    "precision": precision,
    "recall": recall,
    "f1": f1,
}
_OF_NUMBERS = {"r2": r2, "mae": mae, "mse": mse, "rmse": rmse}

_KNOWN = {"accuracy": accuracy, "top_k_accuracy": top_k_accuracy, **_OF_CLASSES, **_OF_NUMBERS}

NAMES: tuple[str, ...] = tuple(_KNOWN)

_TAKEN = ("loss", "lr", "samples_per_second", "epoch", "epochs", "stopped_by", "series", "add")


def direction_of(name: str) -> bool | None:
    """`direction` of an entry of the logs by this package's own name; None for another name.

    >>> direction_of("val_loss"), direction_of("top_k_accuracy(3)"), direction_of("val_acc")
    (False, True, None)
    """
    if name == "val_score":
        return direction(default_score)
    name = name.removeprefix("val_")
    if name == "loss":
        return False
    function = _KNOWN.get(name.partition("(")[0])
    return None if function is None else direction(function)


def resolve(specs: Iterable[str | Metric] | Mapping[str, str | Metric], loss: Loss) -> dict:
    """{name: function(a, y, sample_weight)} of names, functions, or a dict of them by name.

    What a name means follows the loss: whether outputs are classes, decisions of their own, or
    numbers. A function whose signature names y_true, as those of `sklearn.metrics` do, is called
    with y_true, y_pred and sample_weight by name: y_pred is what the outputs say of the targets,
    that is the outputs but for gaussian_nll, quantile and poisson. Raises ValueError, listing
    the known names, for an unknown one, for one that the logs have already or that comes twice,
    and for one that asks for targets where the loss has none; TypeError for a function that cannot
    be called so.

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
            raise ValueError(f"two metrics are called {name!r}: give a dict of them by name")
        if name in _TAKEN or name.startswith("val_"):
            raise ValueError(f"a metric cannot be called {name!r}: the logs have that name already")
        found[name] = _own(name, spec, loss) if callable(spec) else _by_name(spec, loss)
    return found


def _name(spec: object) -> str:
    return spec if isinstance(spec, str) else getattr(spec, "__name__", type(spec).__name__)


def _own(name: str, metric: Metric, loss: Loss) -> Metric:
    """A function of the user's as a fit calls it."""
    if not names_y_true(name, metric):
        return metric
    if loss.targets == "pairs":
        raise ValueError(f"metric {name!r} needs y_true; {loss.name} has no targets")
    return TrueFirst(metric, partial(_predicted, loss))


def _by_name(spec: object, loss: Loss) -> Metric:
    name, number = check.split_spec(spec, "metric", NAMES)
    if number is not None and name != "top_k_accuracy":
        raise ValueError(f"metric {name!r} takes no number; got {spec!r}")
    if loss.targets == "pairs":
        if name != "accuracy":
            raise ValueError(f"metric {name!r} needs targets; {loss.name} has none: take accuracy")
        return _pair_accuracy
    if name == "top_k_accuracy":
        return partial(top_k_accuracy, k=_k(number))
    signs = loss.targets == "signs"
    decisions = signs or loss.name in ("binary_cross_entropy", "binary_focal")
    if name == "accuracy":
        return sign_accuracy if signs else binary_accuracy if decisions else _accuracy
    if name in _OF_CLASSES:
        return partial(_OF_CLASSES[name], threshold=0.0 if signs else 0.5, multilabel=decisions)

    def of_numbers(a: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None) -> float:
        if y.ndim == 1:
            raise ValueError(f"metric {name!r} is of numbers; {loss.name} has class indices")
        return _OF_NUMBERS[name](_predicted(loss, a), y, sample_weight)

    return declare(of_numbers, direction(_OF_NUMBERS[name]))


def _k(number: float | None) -> int:
    if number is None:
        return 5
    if not number.is_integer():
        raise ValueError(f"k of top_k_accuracy must be a whole number; got {number:g}")
    return check.check_positive_int(int(number), "k of top_k_accuracy")


@higher_is_better
def _pair_accuracy(a: np.ndarray, y: None, sample_weight: np.ndarray | None) -> float:
    return pair_accuracy(a, sample_weight)


@higher_is_better
def _accuracy(a: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None) -> float:
    one = y.ndim == 2 and y.shape[1] == 1
    return (binary_accuracy if one else accuracy)(a, y, sample_weight)


# ---- helpers ------------------------------------------------------------------------------


def _decisions(
    a: np.ndarray,
    y: np.ndarray,
    sample_weight: np.ndarray | None,
    threshold: float,
    multilabel: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which class is found and which is true, both (n, C) bool, and weights (n,)."""
    s = np.ones(len(a)) if sample_weight is None else sample_weight.astype(np.float64)
    if multilabel or a.shape[1] == 1:
        return a >= threshold, y >= threshold, s
    classes = np.arange(a.shape[1])
    true = y if y.ndim == 1 else y.argmax(axis=1)
    return a.argmax(axis=1)[:, None] == classes, true[:, None] == classes, s


def _counts(
    a: np.ndarray,
    y: np.ndarray,
    sample_weight: np.ndarray | None,
    threshold: float,
    multilabel: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Weights found rightly, found, and there, by class (C,), and which classes count."""
    found, true, s = _decisions(a, y, sample_weight, threshold, multilabel)
    several = found.shape[1] > 1 and not multilabel
    kept = (found | true).any(axis=0) if several else np.ones(found.shape[1], bool)
    return s @ (found & true), s @ found, s @ true, kept


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return part / np.where(whole > 0, whole, 1)


def _mean(correct: np.ndarray, sample_weight: np.ndarray | None) -> float:
    return float(np.average(correct, weights=sample_weight))
