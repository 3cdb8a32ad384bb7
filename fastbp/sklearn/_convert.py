"""Conversion of fitted estimators from and to scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import neural_network
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from ._classifier import MLPClassifier
from ._regressor import MLPRegressor

_PAIRS: tuple[tuple[type[MLPClassifier | MLPRegressor], Any], ...] = (
    (MLPClassifier, neural_network.MLPClassifier),
    (MLPRegressor, neural_network.MLPRegressor),
)
_ACTIVATIONS = ("identity", "logistic", "tanh", "relu")
# Parameters that scikit-learn does not have and that do not change what the weights mean.
_ONLY_OURS = ("class_weight", "callbacks", "n_threads", "matmul_precision")
# The record of training, which both have, as far as it exists.
_RECORD = (
    *("n_iter_", "t_", "loss_", "loss_curve_", "best_loss_", "_no_improvement_count"),
    *("validation_scores_", "best_validation_score_", "n_features_in_", "feature_names_in_"),
)


def from_sklearn(estimator: Any) -> MLPClassifier | MLPRegressor:
    """Convert a fitted estimator of scikit-learn, and copy its weights.

    Training can continue with partial_fit or warm_start; the optimiser starts with a new state.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        A fitted estimator of `sklearn.neural_network`.

    Returns
    -------
    MLPClassifier or MLPRegressor
        The estimator of `fastbp.sklearn`.

    Raises
    ------
    TypeError
        If it is another kind of estimator.
    NotFittedError
        If it is not fitted.

    Examples
    --------
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
    if isinstance(ours, MLPClassifier):
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
    ours.network_.feature_names = getattr(ours, "feature_names_in_", None)
    return ours


def to_sklearn(estimator: MLPClassifier | MLPRegressor) -> Any:
    """Convert a fitted estimator to one of scikit-learn, and copy its weights.

    Products of scikit-learn have the dtype of the weights, whatever matmul_precision was.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        A fitted estimator of `fastbp.sklearn`.

    Returns
    -------
    MLPClassifier or MLPRegressor
        The estimator of `sklearn.neural_network`.

    Raises
    ------
    TypeError
        If it is another kind of estimator.
    NotFittedError
        If it is not fitted.
    ValueError
        If it uses an activation, a loss, a solver or a layer that scikit-learn does not have, or if
        it is an ensemble.

    Examples
    --------
    >>> import fastbp.sklearn
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0.0, 1.0, 2.0, 3.0]
    >>> ours = fastbp.sklearn.MLPRegressor(hidden_layer_sizes=4, solver="lbfgs").fit(X, y)
    >>> theirs = fastbp.sklearn.to_sklearn(ours)
    >>> bool(abs(ours.predict(X) - theirs.predict(X)).max() < 1e-9)
    True
    """
    own, other = _pair_of(estimator, 0, "an estimator of fastbp.sklearn")
    check_is_fitted(estimator)
    if "estimators_" in vars(estimator):
        raise ValueError(
            f"scikit-learn's {other.__name__} has one network; this is an ensemble of "
            f"{len(estimator.estimators_)}: convert its members, estimators_[0] and so on"
        )
    theirs = other()
    params = estimator.get_params(deep=False)
    theirs.set_params(**{name: params[name] for name in theirs.get_params(deep=False)})
    defaults = own().get_params(deep=False)
    for name in set(params) - set(theirs.get_params(deep=False)):
        if name not in _ONLY_OURS and params[name] != defaults[name]:
            raise ValueError(
                f"scikit-learn's {other.__name__} has no {name}; here it is {params[name]}"
            )
    if params["activation"] not in _ACTIVATIONS:
        raise ValueError(
            f"scikit-learn has the activations {', '.join(_ACTIVATIONS)}; "
            f"here it is {params['activation']!r}"
        )
    theirs._validate_params()
    theirs.coefs_ = [np.array(W) for W in estimator.coefs_]
    theirs.intercepts_ = [np.array(b) for b in estimator.intercepts_]
    theirs.n_layers_ = estimator.n_layers_
    theirs.n_outputs_ = estimator.n_outputs_
    theirs.out_activation_ = estimator.out_activation_
    if isinstance(estimator, MLPClassifier):
        labels = estimator.classes_
        shown = np.eye(len(labels), dtype=int)[[0, -1]] if estimator._multilabel else labels
        theirs._label_binarizer = LabelBinarizer().fit(shown)
        theirs.classes_ = np.array(labels)
    theirs._best_coefs, theirs._best_intercepts = theirs.coefs_, theirs.intercepts_
    _copy_record(estimator, theirs)
    return theirs


def _pair_of(
    estimator: object, side: int, expected: str
) -> tuple[type[MLPClassifier | MLPRegressor], Any]:
    """The classes of fastbp and scikit-learn; the one at index `side` is the estimator's."""
    for pair in _PAIRS:
        if isinstance(estimator, pair[side]):
            return pair
    raise TypeError(f"expected {expected}; got {type(estimator).__name__}")


def _copy_record(source: Any, target: Any) -> None:
    for name in _RECORD:
        if name in vars(source):
            value = getattr(source, name)
            setattr(target, name, value.copy() if hasattr(value, "copy") else value)
