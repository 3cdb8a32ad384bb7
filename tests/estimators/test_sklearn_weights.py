"""Weights of estimators that the user sets, and weights after a diverging fit."""

import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.exceptions import ConvergenceWarning

from fastbp.sklearn import MLPClassifier, MLPRegressor

X = np.linspace(-1, 1, 40)[:, None]
Y = 3 * X[:, 0]


def fitted(**options):
    model = MLPRegressor(hidden_layer_sizes=3, max_iter=2, random_state=0, tol=0, **options)
    with pytest.warns(ConvergenceWarning):
        return model.fit(X, Y)


# ---- assignment ---------------------------------------------------------------------------


def test_assigned_weights_are_copied_into_the_network():
    model = fitted()
    W, b = [np.ones((1, 3)), np.full((3, 1), 2.0)], [np.zeros(3), np.ones(1)]
    model.coefs_, model.intercepts_ = W, b
    theta = model.network_.theta
    assert np.shares_memory(model.coefs_[0], theta)
    np.testing.assert_array_equal(theta, [1, 1, 1, 0, 0, 0, 2, 2, 2, 1])
    np.testing.assert_array_equal(model.predict([[2.0]]), [13.0])
    W[0][...] = 7.0
    assert (model.coefs_[0] == 1).all(), "the values were not copied"
    model.coefs_[1] = [[1.0], [0.0], [0.0]]
    model.intercepts_[1][...] = 0.5
    np.testing.assert_array_equal(model.predict([[2.0]]), [2.5])


@pytest.mark.parametrize(
    ("change", "message"),
    {
        "too few": (lambda m: setattr(m, "coefs_", m.coefs_[:1]), "coefs_ lists 1 arrays; the ne"),
        "shape": (
            lambda m: setattr(m, "coefs_", [np.ones((1, 3)), np.ones((1, 3))]),
            r"coefs_\[1\] has shape \(1, 3\); the network has \(3, 1\)",
        ),
        "item": (
            lambda m: m.intercepts_.__setitem__(0, np.ones(2)),
            r"intercepts_\[0\] has shape \(2,\); the network has \(3,\)",
        ),
    }.values(),
)
def test_weights_of_wrong_shapes_are_refused(change, message):
    model = fitted()
    before = model.network_.theta.copy()
    with pytest.raises(ValueError, match=message):
        change(model)
    np.testing.assert_array_equal(model.network_.theta, before)


@pytest.mark.parametrize("values", [None, 3.0, "zeros"])
@pytest.mark.parametrize("make", [MLPRegressor, fitted], ids=["new", "fitted"])
def test_weights_must_be_lists(make, values):
    model = make()
    before = pickle.dumps(vars(model))
    with pytest.raises(TypeError, match="coefs_ must be a list of arrays, one per layer; got "):
        model.coefs_ = values
    assert pickle.dumps(vars(model)) == before


def test_attributes_of_the_network_cannot_be_set():
    model = fitted()
    for name in ("n_layers_", "out_activation_"):
        with pytest.raises(AttributeError, match=f"{name} is determined by the network"):
            setattr(model, name, getattr(model, name))
    with pytest.raises(TypeError, match="coefs_ takes one array at a time"):
        model.coefs_[:] = model.coefs_


def test_a_first_partial_fit_starts_from_weights_that_were_set():
    begun = MLPRegressor(hidden_layer_sizes=3, random_state=0, solver="sgd")
    begun.coefs_ = [np.zeros((1, 3)), np.zeros((3, 1))]
    begun.intercepts_ = [np.zeros(3), np.zeros(1)]
    again = pickle.loads(pickle.dumps(begun)).partial_fit(X, Y + 1)
    assert not again.coefs_[0].any() and again.intercepts_[1][0] > 0
    wrong = MLPRegressor(hidden_layer_sizes=4, random_state=0)
    wrong.coefs_ = begun.coefs_
    with pytest.raises(ValueError, match=r"coefs_\[0\] has shape \(1, 3\); the network has"):
        wrong.partial_fit(X, Y)
    assert not hasattr(wrong, "network_")
    fresh = begun.set_params(tol=1e9).fit(X, Y)
    assert fresh.coefs_[0].any(), "fit without warm_start has not drawn new weights"


# ---- divergence ---------------------------------------------------------------------------


def test_a_diverging_fit_ends_with_the_best_weights_so_far():
    options = {"solver": "sgd", "momentum": 0, "learning_rate_init": 1.5, "activation": "identity"}
    model = MLPRegressor(
        hidden_layer_sizes=3, early_stopping=True, n_iter_no_change=500, random_state=0, **options
    )
    with pytest.warns(ConvergenceWarning, match="Training diverged.*the loss is (inf|nan)"):
        model.fit(X, Y)
    assert np.isnan(model.validation_scores_[-1]) and not np.isfinite(model.loss_curve_[-1])
    assert len(model.validation_scores_) == len(model.loss_curve_) == model.n_iter_
    assert model.best_validation_score_ == np.nanmax(model.validation_scores_[:-1])
    assert np.isfinite(model.predict(X)).all()
    with pytest.raises(ValueError, match="non-finite parameter weights.*the loss is (inf|nan) at"):
        model.set_params(early_stopping=False).fit(X, Y)


@pytest.mark.parametrize("parts", [None, 4])
def test_weights_that_the_last_step_spoils_are_refused(parts):
    options = {"solver": "sgd", "learning_rate_init": 1e40, "max_iter": 1, "momentum": 0}
    model = MLPRegressor(hidden_layer_sizes=3, random_state=0, batch_size=len(X), **options)
    match = r"non-finite parameter weights.*: layers\[0\].W has .* after epoch 0, step 0"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        with pytest.raises(ValueError, match=match):
            model.fit(X.astype("float32"), Y, parts=parts)
        # the best weights, which are those from before the first step, remain
        model.set_params(early_stopping=True, batch_size=36)
        model.fit(X.astype("float32"), Y, parts=parts)
    assert np.isfinite(model.predict(X)).all()
    assert model.n_iter_ == len(model.loss_curve_) == 1


def test_a_class_of_one_member_cannot_be_held_out():
    model = MLPClassifier(early_stopping=True)
    with pytest.raises(ValueError, match="least populated class.* 1 member"):
        model.fit(X[:4], [0, 0, 0, 1])
