"""Fitted estimators of scikit-learn's, and the way back."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import neural_network
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ._classifier import MLPClassifier
from ._estimator import BaseMLP
from ._regressor import MLPRegressor

_PAIRS = (
    (MLPClassifier, neural_network.MLPClassifier),
    (MLPRegressor, neural_network.MLPRegressor),
)
_ACTIVATIONS = ("identity", "logistic", "tanh", "relu")
# What both keep of the training that is behind them, where they have it.
_RECORD = (
    *("n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", "_no_improvement_count"),
    *("validation_scores_", "best_validation_score_", "n_features_in_", "feature_names_in_"),
)


def from_sklearn(estimator: Any) -> BaseMLP:
    """A fitted MLPClassifier or MLPRegressor of scikit-learn's as one of ours, weights copied.

    Training goes on by partial_fit or warm_start, with a fresh state of the optimiser. Raises
    TypeError for another estimator, NotFittedError for one without weights.

    >>> from sklearn import neural_network
    >>> import fastbp.sklearn
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.0, 1.0, 2.0, 3.0]
    >>> theirs = neural_network.MLPRegressor(hidden_layer_sizes=4, solver="lbfgs").fit(X, y)
    >>> ours = fastbp.sklearn.from_sklearn(theirs)
    >>> bool(abs(ours.predict(X) - theirs.predict(X)).max() < 1e-9)
    True
    """
    own = _pair_of(estimator, 1, "an MLPClassifier or MLPRegressor of sklearn.neural_network")[0]
    check_is_fitted(estimator)
    ours = own(**estimator.get_params(deep=False))
    if own is MLPClassifier:
        ours.classes_ = np.array(estimator.classes_)
        ours._multilabel = estimator._label_binarizer.y_type_.startswith("multilabel")
    ours.n_outputs_ = estimator.n_outputs_
    ours._random_state = check_random_state(ours.random_state)
    coefs, intercepts = estimator.coefs_, estimator.intercepts_
    widths = (len(coefs[0]), *(W.shape[1] for W in coefs))
    ours.network_ = ours._make_network(widths, coefs[0].dtype)
    for layer, W, b in zip(ours.network_.layers, coefs, intercepts, strict=True):
        layer.W, layer.b = W, b
    ours._clear_record()
    _copy_record(estimator, ours)
    return ours


def to_sklearn(estimator: BaseMLP) -> Any:
    """One of ours as a fitted estimator of scikit-learn's, weights copied.

    Raises TypeError for another estimator, NotFittedError for one without weights, and ValueError
    for what scikit-learn's cannot be: other activations, losses, solvers or layers than its own.
    """
    own, other = _pair_of(estimator, 0, "an estimator of fastbp.sklearn")
    check_is_fitted(estimator)
    theirs = other()
    params = estimator.get_params(deep=False)
    theirs.set_params(**{name: params[name] for name in theirs.get_params(deep=False)})
    defaults = own().get_params(deep=False)
    for name in set(params) - set(theirs.get_params(deep=False)):
        matters = name not in ("class_weight", "callbacks", "n_threads")
        if matters and params[name] != defaults[name]:
            raise ValueError(f"scikit-learn's {other.__name__} has no {name}; it is {params[name]}")
    if params["activation"] not in _ACTIVATIONS:
        raise ValueError(
            f"scikit-learn has the activations {', '.join(_ACTIVATIONS)}; "
            f"this one has {params['activation']!r}"
        )
    theirs._validate_params()
    theirs.coefs_ = [np.array(W) for W in estimator.coefs_]
    theirs.intercepts_ = [np.array(b) for b in estimator.intercepts_]
    theirs.n_layers_ = estimator.n_layers_
    theirs.n_outputs_ = estimator.n_outputs_
    theirs.out_activation_ = estimator.out_activation_
    if own is MLPClassifier:
        labels = estimator.classes_
        shown = np.eye(len(labels), dtype=int)[[0, -1]] if estimator._multilabel else labels
        theirs._label_binarizer = LabelBinarizer().fit(shown)
        theirs.classes_ = np.array(labels)
    theirs._best_coefs, theirs._best_intercepts = theirs.coefs_, theirs.intercepts_
    _copy_record(estimator, theirs)
    return theirs


def _pair_of(estimator: Any, side: int, expected: str) -> tuple[type, type]:
    """Ours and theirs, of which the one on this side is the estimator's."""
    for pair in _PAIRS:
        if isinstance(estimator, pair[side]):
            return pair
    raise TypeError(f"expected {expected}; got {type(estimator).__name__}")


def _copy_record(source: Any, target: Any) -> None:
    for name in _RECORD:
        if name in vars(source):
            value = getattr(source, name)
            setattr(target, name, value.copy() if hasattr(value, "copy") else value)
