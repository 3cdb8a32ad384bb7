"""MLPRegressor with targets that are not known: NaN in y, with a loss that has ignore_nan."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.metrics import r2_score
from sklearn.model_selection import cross_val_score

from fastbp.sklearn import MLPRegressor

LOSS = "mse(ignore_nan=true)"


@pytest.fixture
def made(rng):
    X = rng.normal(size=(200, 4))
    true = np.stack([X[:, 0] + X[:, 1], np.sin(X[:, 2]), X[:, 3] * X[:, 0]], axis=1)
    y = np.where(rng.uniform(size=true.shape) < 0.4, np.nan, true)
    y[0] = np.nan
    return X, y, true


def mean_r2(y, predicted):
    found = []
    for j in range(y.shape[1]):
        rows = ~np.isnan(y[:, j])
        found.append(r2_score(y[rows, j], predicted[rows, j]))
    return np.mean(found)


@pytest.mark.parametrize(
    "options",
    [{}, {"early_stopping": True}, {"solver": "lbfgs", "tol": 1e-3}, {"n_members": 3}],
    ids=["adam", "early stopping", "lbfgs", "ensemble"],
)
def test_it_learns_from_the_known_targets(made, options):
    X, y, true = made
    kept = {"max_iter": 400, "random_state": 0, "learning_rate_init": 0.01} | options
    est = MLPRegressor(loss=LOSS, hidden_layer_sizes=(32,), alpha=0.0, **kept)
    est.fit(X, y)
    assert r2_score(true, est.predict(X)) > 0.8
    assert est.score(X, y) == pytest.approx(mean_r2(y, est.predict(X)), rel=1e-5)
    if "early_stopping" in options:
        assert max(est.validation_scores_) == est.best_validation_score_ > 0.5


def test_complete_targets_give_the_fit_without_the_option(made):
    X, _, true = made
    kept = {"max_iter": 20, "random_state": 0, "tol": 0.0}
    found = []
    for loss in ("mse", LOSS):
        with pytest.warns(match="Maximum iterations"):
            found.append(MLPRegressor(loss=loss, **kept).fit(X, true))
    np.testing.assert_array_equal(found[0].network_.theta, found[1].network_.theta)
    assert found[0].score(X, true) == pytest.approx(found[1].score(X, true), rel=1e-6)


def test_folds_and_partial_fit(made):
    X, y, _ = made
    est = MLPRegressor(loss=LOSS, max_iter=300, random_state=0, learning_rate_init=0.01)
    assert cross_val_score(est, X, y, cv=3).min() > 0.3
    for _ in range(3):
        est.partial_fit(X, y)
    assert np.isfinite(est.loss_)


def test_what_is_refused(made):
    X, y, _ = made
    with pytest.raises(ValueError, match="contains NaN"):
        MLPRegressor(loss="mse").fit(X, y)
    with pytest.raises(ValueError, match="y is NaN everywhere"):
        MLPRegressor(loss=LOSS).fit(X, np.full_like(y, np.nan))
    with pytest.raises(ValueError, match="infinity"):
        MLPRegressor(loss=LOSS).fit(X, np.where(np.isnan(y), np.inf, y))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        MLPRegressor(loss=LOSS).fit(X, y[1:])
    with pytest.raises(ValueError, match="X contains NaN"):
        MLPRegressor(loss=LOSS).fit(np.full_like(X, np.nan), y)
