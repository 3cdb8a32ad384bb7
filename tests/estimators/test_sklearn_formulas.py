"""Estimators with activations and losses that are formulas."""

import copy
import pickle

import numpy as np
import pytest
from estimator_cases import BOTH, data_for
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from fastbp import gates
from fastbp.activations import Activation
from fastbp.sklearn import MLPClassifier, MLPRegressor, to_sklearn

SWISH = gates.activation(lambda z, beta: z * gates.sigmoid(beta * z), beta=1.0, per="unit")
HUBER = gates.loss(
    lambda a, y: gates.mean(gates.where(abs(a - y) < 1, (a - y) ** 2 / 2, abs(a - y) - 0.5))
)
QUICK = {"hidden_layer_sizes": (9, 6), "max_iter": 4, "random_state": 0}

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_text_object_and_list_give_the_same_bits(kind, solver):
    X, y = data_for(kind)
    given = [SWISH, str(SWISH), Activation("formula", formula=SWISH), [SWISH, str(SWISH)]]
    found = []
    for activation in given:
        model = kind(activation=activation, solver=solver, **QUICK).fit(X, y)
        found.append(model.network_.theta.tobytes())
        constants = [layer.constants for layer in model.network_.layers]
        assert [list(each) for each in constants] == [["beta"], ["beta"], []]
        assert (constants[0]["beta"] != 1).all()
    assert len(set(found)) == 1


@pytest.mark.parametrize("kind", BOTH)
def test_parameters_survive_clones_copies_and_pickles(kind):
    X, y = data_for(kind)
    model = kind(activation=SWISH, **QUICK)
    assert model.get_params()["activation"] is SWISH
    assert clone(model).activation == SWISH
    assert "z * sigmoid(beta * z)" in repr(model)
    model.fit(X, y)
    for twin in (clone(model).fit(X, y), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin.activation == SWISH
        assert twin.network_.theta.tobytes() == model.network_.theta.tobytes()
        assert twin.predict(X).tobytes() == model.predict(X).tobytes()


@pytest.mark.parametrize("kind", BOTH)
def test_later_fits_continue_with_the_trained_constants(kind):
    X, y = data_for(kind)
    model = kind(activation="prelu(per=unit)", warm_start=True, **QUICK).fit(X, y)
    before = model.network_.layers[0].constants["alpha"].copy()
    assert (before != 0.25).any()
    model.fit(X, y)
    model.partial_fit(X, y)
    assert (model.network_.layers[0].constants["alpha"] != before).any()
    model.set_params(activation="prelu")
    with pytest.raises(
        ValueError, match=r"activation is now \['prelu\(0.25\)', .*; the network was"
    ):
        model.partial_fit(X, y)
    model.set_params(activation=gates.prelu(per="unit"))  # the same in another form
    model.partial_fit(X, y)


def test_early_stopping_keeps_the_best_constants():
    X, y = data_for(MLPRegressor)
    options = QUICK | {"max_iter": 30, "learning_rate_init": 0.05, "n_iter_no_change": 3}
    model = MLPRegressor(activation="prelu", early_stopping=True, **options).fit(X, y)
    assert model.best_validation_score_ == max(model.validation_scores_)


def test_a_regressor_takes_a_loss_of_numbers():
    X, y = data_for(MLPRegressor)
    found = [
        MLPRegressor(loss, activation="tanh", **QUICK).fit(X, y).network_.theta
        for loss in (HUBER, str(HUBER), "huber")
    ]
    assert found[0].tobytes() == found[1].tobytes()
    # 4 epochs of Adam, whose quotient multiplies the rounding of a gradient by its reciprocal
    np.testing.assert_allclose(found[0], found[2], rtol=0, atol=1e-9)
    assert clone(MLPRegressor(HUBER)).loss == HUBER
    classes = gates.loss(lambda a, y: gates.logsumexp(a) - gates.sum(a * y), targets="classes")
    with pytest.raises(ValueError, match="is not a regression loss: its targets are classes"):
        MLPRegressor(classes, **QUICK).fit(X, y)


def test_several_outputs_and_their_loss():
    X, y = data_for(MLPRegressor)
    Y = np.stack([y, -y], axis=1)
    formula = gates.loss(lambda a, y: 0.5 * gates.sum((a - y) ** 2))
    options = QUICK | {"alpha": 0.0}
    ours, exact = (MLPRegressor(loss, **options).fit(X, Y) for loss in (formula, "squared_error"))
    np.testing.assert_allclose(ours.predict(X), exact.predict(X), rtol=1e-6, atol=1e-8)
    # what a formula adds up over the outputs is reported as it is, not divided by their number
    np.testing.assert_allclose(ours.loss_curve_, 2 * np.array(exact.loss_curve_), rtol=1e-9)


def test_formulas_can_be_searched():
    X, y = data_for(MLPClassifier)
    grid = {"activation": ["relu", "prelu", SWISH]}
    search = GridSearchCV(MLPClassifier(**QUICK), grid, cv=2).fit(X, y)
    assert len(search.cv_results_["params"]) == 3
    assert search.best_params_["activation"] in grid["activation"]


def test_sklearn_has_no_formulas():
    X, y = data_for(MLPRegressor)
    with pytest.raises(ValueError, match="scikit-learn has the activations .* sigmoid"):
        to_sklearn(MLPRegressor(activation=SWISH, **QUICK).fit(X, y))


@pytest.mark.parametrize("activation", [gates.inputs("z")[0], np.tanh, HUBER, 3])
def test_other_objects_are_refused(activation):
    X, y = data_for(MLPRegressor)
    with pytest.raises((TypeError, ValueError), match="activation"):
        MLPRegressor(activation=activation, **QUICK).fit(X, y)
