"""Standard deviations and quantiles of the regressor, and the scores that losses name."""

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn import config_context
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastbp import gates
from fastbp.losses import CustomLoss
from fastbp.sklearn import MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N = 80
OPTIONS = {
    "hidden_layer_sizes": (6,),
    "max_iter": 20,
    "random_state": 0,
    "learning_rate_init": 0.01,
}
TAUS = (0.1, 0.5, 0.9)
QUANTILES = "quantile(0.1, 0.5, 0.9)"


def data(n_targets=1):
    rng = np.random.default_rng(4)
    X = rng.normal(size=(N, 3))
    y = X[:, :n_targets] + 0.3 * rng.normal(size=(N, n_targets))
    return X, y[:, 0] if n_targets == 1 else y


def fitted(loss, n_targets=1, **options):
    X, y = data(n_targets)
    return MLPRegressor(loss, **OPTIONS | options).fit(X, y), X, y


# ---- standard deviations ------------------------------------------------------------------


@pytest.mark.parametrize("n_targets", [1, 2])
def test_means_and_standard_deviations(n_targets):
    model, X, y = fitted("gaussian_nll", n_targets)
    assert model.network_.widths[-1] == 2 * n_targets and model.n_outputs_ == n_targets
    mean, std = model.predict(X, return_std=True)
    theirs = GaussianProcessRegressor().fit(X, y).predict(X, return_std=True)
    assert mean.shape == std.shape == theirs[0].shape == theirs[1].shape == y.shape
    outputs = model.network_.predict(X)
    np.testing.assert_array_equal(mean, outputs[:, :n_targets].reshape(y.shape))
    np.testing.assert_array_equal(std, np.exp(outputs[:, n_targets:] / 2).reshape(y.shape))
    np.testing.assert_array_equal(model.predict(X), mean)
    np.testing.assert_array_equal(model.predict(X, True)[1], std)
    assert model.score(X, y) == r2_score(y, mean)


def test_the_standard_deviations_are_those_of_the_noise():
    """y has no other dependence on x than its noise, of which the network learns one σ per half."""
    rng = np.random.default_rng(0)
    X = np.sign(rng.normal(size=(4000, 1)))
    sigma = np.where(X[:, 0] > 0, 2.0, 0.5)
    y = sigma * rng.normal(size=4000)
    model = MLPRegressor("gaussian_nll", 4, solver="lbfgs", random_state=0, alpha=0).fit(X, y)
    std = model.predict(X, return_std=True)[1]
    for side in (-1, 1):
        rows = X[:, 0] == side
        # 4 standard errors of an estimate of σ, which are σ / √(2 n)
        bound = 4 * sigma[rows][0] / np.sqrt(2 * rows.sum())
        assert abs(std[rows] - sigma[rows]).max() < bound


def test_standard_deviations_after_copies_partial_fit_and_in_pipelines():
    model, X, y = fitted("gaussian_nll")
    std = model.predict(X, return_std=True)[1]
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X, True)[1], std)
    np.testing.assert_array_equal(clone(model).fit(X, y).predict(X, True)[1], std)
    model.partial_fit(X, y)
    assert model.predict(X, return_std=True)[1].shape == (N,)
    assert (model.predict(X, return_std=True)[1] != std).any()
    begun = MLPRegressor("gaussian_nll", **OPTIONS).partial_fit(X, y)
    assert begun.predict(X, return_std=True)[1].shape == (N,)
    pipeline = make_pipeline(StandardScaler(), clone(model)).fit(X, y)
    expected = pipeline[-1].predict(pipeline[0].transform(X), return_std=True)
    np.testing.assert_array_equal(pipeline.predict(X, return_std=True), expected)
    with config_context(enable_metadata_routing=True):
        asked = clone(model).set_predict_request(return_std=True)
        routed = make_pipeline(StandardScaler(), asked).fit(X, y)
        np.testing.assert_array_equal(routed.predict(X, return_std=True), expected)


@pytest.mark.parametrize("loss", ["squared_error", "poisson", QUANTILES])
def test_standard_deviations_that_no_network_learned(loss):
    model, X, _ = fitted(loss) if loss != "poisson" else (None, *data())
    if model is None:
        model = MLPRegressor(loss, **OPTIONS).fit(X, np.round(np.exp(X[:, 0])))
    with pytest.raises(ValueError, match="return_std=True needs .* with loss='gaussian_nll'; this"):
        model.predict(X, return_std=True)


# ---- quantiles ----------------------------------------------------------------------------


@pytest.mark.parametrize("n_targets", [1, 2])
def test_quantiles(n_targets):
    model, X, y = fitted(QUANTILES, n_targets)
    outputs = model.network_.predict(X)
    assert outputs.shape == (N, 3 * n_targets)
    every = outputs.reshape(*y.shape, 3)
    np.testing.assert_array_equal(model.predict(X, quantiles="all"), every)
    np.testing.assert_array_equal(model.predict(X), every[..., 1])
    np.testing.assert_array_equal(model.predict(X, quantiles=[0.9, 0.1]), every[..., [2, 0]])
    np.testing.assert_array_equal(model.predict(X, quantiles=np.float32(0.1)), every[..., 0])
    np.testing.assert_array_equal(model.predict(X, quantiles=(0.5,)), every[..., [1]])
    assert model.score(X, y) == r2_score(y, every[..., 1])


def test_one_quantile():
    model, X, y = fitted("quantile(0.8)")
    np.testing.assert_array_equal(model.predict(X), model.network_.predict(X)[:, 0])
    np.testing.assert_array_equal(model.predict(X, quantiles="all"), model.network_.predict(X))
    assert model.score(X, y) == r2_score(y, model.predict(X))


def test_the_prediction_is_the_quantile_nearest_to_the_median():
    for loss, place in (("quantile(0.1, 0.4, 0.9)", 1), ("quantile(0.25, 0.75)", 0)):
        model, X, _ = fitted(loss)
        np.testing.assert_array_equal(model.predict(X), model.network_.predict(X)[:, place])


def test_early_stopping_by_several_quantiles_uses_all_of_them():
    X, y = data()
    model = MLPRegressor(QUANTILES, early_stopping=True, **OPTIONS)
    model.fit(X, y, X_val=X, y_val=y)
    best = max(range(model.n_iter_), key=model.validation_scores_.__getitem__)
    assert model.validation_scores_[best] == pytest.approx(-model.network_.loss(X, y[:, None]))


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (0.3, ValueError, r"not trained for the quantile 0.3; its levels are 0.1, 0.5, 0.9"),
        ([0.1, 0.3], ValueError, "not trained for the quantile 0.3"),
        ("every", ValueError, "must be 'all', a number or a list of numbers; got 'every'"),
        (True, TypeError, "a level of quantiles must be a number; got True"),
        (["0.1"], TypeError, "a level of quantiles must be a number; got '0.1'"),
        ([], ValueError, "quantiles must name at least one level"),
    ],
)
def test_quantiles_that_are_not_possible(given, error, message):
    model, X, _ = fitted(QUANTILES)
    with pytest.raises(error, match=message):
        model.predict(X, quantiles=given)


def test_quantiles_of_another_loss():
    model, X, _ = fitted("gaussian_nll")
    with pytest.raises(ValueError, match=r"loss='quantile\(0.1, 0.5, 0.9\)' .* loss gaussian_nll"):
        model.predict(X, quantiles="all")
    with pytest.raises(TypeError, match="return_std must be True or False; got 'yes'"):
        model.predict(X, return_std="yes")


# ---- scores that losses name --------------------------------------------------------------


def absolute(a, y):
    return gates.sum(abs(a - y))


def function(a, y):
    return abs(a - y).sum(axis=1), np.sign(a - y)


@pytest.mark.parametrize("n_targets", [1, 2])
@pytest.mark.parametrize("loss", [gates.loss(absolute), CustomLoss(function)])
def test_the_score_of_a_loss_without_one_is_r2(loss, n_targets):
    model, X, y = fitted(loss, n_targets, early_stopping=True)
    assert model.score(X, y) == r2_score(y, model.predict(X).astype(np.float64))
    assert np.isfinite(model.validation_scores_).all()


@pytest.mark.parametrize("n_targets", [1, 2])
def test_a_loss_of_the_user_names_the_score(n_targets):
    for make in (
        lambda score: gates.loss(absolute, score=score),
        lambda score: CustomLoss(function, score=score),
    ):
        weights = np.linspace(1, 2, N)
        model, X, y = fitted(make("mae"), n_targets)
        error = mean_absolute_error(y, model.predict(X), sample_weight=weights)
        assert model.score(X, y, weights) == pytest.approx(-error)
        model.set_params(early_stopping=True).fit(X, y, X_val=X, y_val=y)
        assert model.best_validation_score_ == pytest.approx(model.score(X, y))
        signs, X, y = fitted(make("sign_accuracy"), n_targets)
        assert signs.score(X, y) == np.mean((signs.predict(X) >= 0) == (y >= 0))
        scores = cross_val_score(clone(model).set_params(early_stopping=False), X, y, cv=3)
        assert (scores < 0).all()
