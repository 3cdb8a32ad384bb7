"""Estimators with targets in any unit, and comparisons in double."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score
from unit_cases import UNITS, offset_loss, one_thread_for_scipy, surface

from fastbp.losses import CustomLoss
from fastbp.sklearn import MLPClassifier, MLPRegressor

__all__ = ["one_thread_for_scipy"]  # a fixture of these tests


@pytest.mark.parametrize("activation, hidden", [("relu", 50), ("tanh", (20, 10))])
@pytest.mark.parametrize("units", UNITS)
def test_lbfgs_fits_targets_in_any_units(units, activation, hidden):
    X, y = surface(*units)
    alpha = 1e-4 * min(1.0, units[1]) ** 2  # in the unit of J
    params = {"hidden_layer_sizes": hidden, "activation": activation, "alpha": alpha}
    model = MLPRegressor(solver="lbfgs", max_iter=300, random_state=0, **params)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "lbfgs failed to converge after 300")
        model.fit(X, y)
    assert model.score(X, y) > 0.999
    assert model.loss_ == model.network_.loss(X, y)


@pytest.mark.parametrize("offset, spread", [(0.0, 1e7), (0.0, 1e12), (1e6, 1e4), (1e9, 1e7)])
def test_lbfgs_fits_targets_in_float32(offset, spread):
    X, y = surface(offset, spread)
    params = {"hidden_layer_sizes": 50, "activation": "tanh", "random_state": 0}
    model = MLPRegressor(solver="lbfgs", max_iter=500, **params).fit(X, y.astype(np.float32))
    assert model.score(X, y) > 0.999


def test_lbfgs_uses_float64_as_scikit_learn_does():
    X, y = surface(0.0, 1.0)
    model = MLPRegressor(
        hidden_layer_sizes=8, solver="lbfgs", max_iter=500, random_state=0, activation="tanh"
    )
    assert {W.dtype for W in model.fit(X, y).coefs_} == {np.dtype(np.float64)}
    labels = MLPClassifier(hidden_layer_sizes=4, solver="lbfgs", max_iter=500, random_state=0).fit(
        X, y > 0
    )
    assert labels.predict_proba(X).dtype == np.float64
    adam = MLPRegressor(hidden_layer_sizes=8, max_iter=1, random_state=0)
    with pytest.warns(ConvergenceWarning):
        adam.fit(X, y)
    assert adam.coefs_[0].dtype == np.float32


def test_a_failed_line_search_gives_a_warning():
    def uphill(a, y):
        e = a.astype(float) - y
        return (e * e).sum(axis=1) / 2, -e

    X, y = surface(0.0, 1.0)
    model = MLPRegressor(CustomLoss(uphill), 4, solver="lbfgs", random_state=0)
    with pytest.warns(ConvergenceWarning, match=r"line search failed \(ABNORMAL"):
        model.fit(X, y)


def test_a_run_that_does_not_move_gives_a_warning():
    X, y = surface(0.0, 1.0)
    model = MLPRegressor(hidden_layer_sizes=8, solver="lbfgs", random_state=0, tol=100.0)
    with pytest.warns(ConvergenceWarning, match="after 0 iterations, but one more step"):
        model.fit(X, y)
    assert model.n_iter_ == 0


def test_adam_warns_if_float32_loses_the_targets():
    X, y = surface(1e9, 1.0)
    model = MLPRegressor(hidden_layer_sizes=4, max_iter=2, random_state=0, tol=0.0)
    with (
        pytest.warns(ConvergenceWarning, match="Maximum iterations"),
        pytest.warns(UserWarning, match="float32 numbers are 64 apart"),
    ):
        model.fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X.astype(float), y)


@pytest.mark.parametrize("learning_rate", ["constant", "adaptive"])
def test_training_losses_are_compared_in_double(learning_rate):
    X = np.ones((8, 1), np.float32)
    params = {"solver": "sgd", "learning_rate": learning_rate, "learning_rate_init": 0.01}
    model = MLPRegressor(
        *(CustomLoss(offset_loss), 2),
        **(params | {"max_iter": 20, "n_iter_no_change": 1, "tol": 0.0, "momentum": 0.0}),
        random_state=0,
        alpha=0.0,
    )
    with pytest.warns(ConvergenceWarning, match="Maximum iterations"):
        model.fit(X, X[:, 0])
    assert model.n_iter_ == 20
    assert all(np.diff(model.loss_curve_) < 0)
    assert len(set(np.float32(model.loss_curve_))) == 1
    assert model.best_loss_ == model.loss_curve_[-1]
    assert model._optimizer.lr == 0.01


def test_scores_of_float32_are_added_in_double():
    X, y = surface(1e7, 100.0, n=20_000)
    y = y.astype(np.float32)
    model = MLPRegressor(hidden_layer_sizes=4, max_iter=1, random_state=0, early_stopping=True)
    with pytest.warns(ConvergenceWarning):
        model.fit(X, y)
    model.network_.layers[-1].b[...] = 1e7
    exact = r2_score(y.astype(float), model.predict(X).astype(float))
    assert model.score(X, y) == exact
    assert model._score_encoded(X, y[:, None], None) == exact
