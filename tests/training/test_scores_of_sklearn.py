"""Metrics whose first argument is y_true, as in sklearn.metrics, and functions that are refused."""

from functools import partial

import numpy as np
import pytest

sk = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")

from fit_cases import N, case, classes

import fastbp
from fastbp import metrics, reference
from fastbp.losses import Loss
from fastbp.metrics import _metrics

NETWORKS = pytest.mark.parametrize("network", [fastbp.Network, reference.Network])


@NETWORKS
@pytest.mark.parametrize("weighted", [False, True])
def test_scores_of_sklearn_are_accepted(network, weighted):
    net, X, y = case(network)
    w = np.linspace(0.5, 2.0, len(X)) if weighted else None
    theirs = [sk.r2_score, sk.mean_absolute_error, partial(sk.d2_pinball_score, alpha=0.3)]
    theirs = {"r2_score": theirs[0], "gap": theirs[1], "d2": theirs[2], "mine": metrics.r2}
    history = net.fit(X, y, epochs=2, metrics=theirs, sample_weight=w, validation_data=(X, y, w))
    a = net.predict(X)
    assert history.r2_score[-1] == sk.r2_score(y, a, sample_weight=w)
    assert history.val_gap[-1] == sk.mean_absolute_error(y, a, sample_weight=w)
    assert history.d2[-1] == sk.d2_pinball_score(y, a, sample_weight=w, alpha=0.3)
    np.testing.assert_allclose(history.r2_score, history.mine, rtol=1e-12)


def worst(y_true, y_pred):
    """A function with scikit-learn's order of arguments, without weights."""
    return abs(y_true - y_pred).max()


def test_several_scores_of_sklearn():
    net, X, y = case()
    history = net.fit(X, y, epochs=1, metrics=[sk.r2_score, worst])
    assert history.worst[-1] == np.abs(y - net.predict(X)).max()


@NETWORKS
def test_scores_of_sklearn_that_take_probabilities(network):
    net, X, y = classes(network)
    history = net.fit(X, y, epochs=1, metrics=[sk.log_loss, sk.top_k_accuracy_score])
    assert history.log_loss[-1] == sk.log_loss(y, net.predict(X))
    assert history.top_k_accuracy_score[-1] == sk.top_k_accuracy_score(y, net.predict(X))


def test_y_pred_is_the_prediction_in_the_form_of_the_targets():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(N, 3)), rng.normal(size=(N, 2))
    net = fastbp.Network((3, 4), loss="gaussian_nll", dtype="float64", seed=0)
    history = net.fit(X, y, epochs=1, metrics=[sk.r2_score])
    assert history.r2_score[-1] == sk.r2_score(y, net.predict(X)[:, :2])


def test_the_order_of_arguments_follows_their_names():
    seen = []

    def odd(y_pred, y_true):
        seen.append((y_pred, y_true))
        return 0.0

    net, X, y = case()
    net.fit(X, y, epochs=1, metrics=[odd])
    np.testing.assert_array_equal(seen[0][0], net.predict(X))
    np.testing.assert_array_equal(seen[0][1], y)


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda a, y: 0.0, TypeError, r"metric '<lambda>' takes \(a, y\); expected \(outputs, t"),
        (lambda a, y, s, more: 0.0, TypeError, r"takes \(a, y, s, more\)"),
        (worst, ValueError, "'worst' takes no sample_weight, and the samples have weights"),
    ],
)
def test_functions_that_cannot_be_called_are_refused_before_training(function, error, message):
    net, X, y = case()
    theta = net.theta.copy()
    with pytest.raises(error, match=message):
        net.fit(X, y, metrics=[function], sample_weight=np.ones(len(X)))
    np.testing.assert_array_equal(net.theta, theta)


def test_scores_that_need_targets_are_refused_without_targets():
    X = case()[1]
    ranking = fastbp.Network((3, 1), loss="margin_ranking")
    with pytest.raises(ValueError, match="'r2_score' needs y_true; margin_ranking has no targets"):
        ranking.fit(X[:4], metrics=[sk.r2_score])


def test_sklearn_scores_of_nan_are_nan():
    score = _metrics.resolve([sk.r2_score], Loss("mse"))["r2_score"]
    assert np.isnan(score(np.full((5, 1), np.nan), np.ones((5, 1)), None))
    assert _metrics.direction(score) is None  # scikit-learn declares no direction
