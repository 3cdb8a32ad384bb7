"""cross_val_population: the predictions of scikit-learn's cross_val_predict, in one call."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from joblib import parallel_config
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, KFold, ShuffleSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastbp.sklearn import MLPClassifier, MLPRegressor, cross_val_population

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 4))
LABELS = np.array(["a", "b", "c"])[np.digitize(X[:, 0] + X[:, 1] * X[:, 2], [-0.5, 0.5])]
FEW = {"hidden_layer_sizes": 5, "max_iter": 6, "batch_size": 16, "random_state": 0}
CLASSIFIER = MLPClassifier(**FEW, learning_rate_init=0.02)
CASES = {
    "classifier": (CLASSIFIER, LABELS),
    "two classes": (CLASSIFIER, X[:, 0] > 0),
    "several labels": (CLASSIFIER, (X[:, :3] > 0).astype(int)),
    "early stopping": (clone(CLASSIFIER).set_params(early_stopping=True), LABELS),
    "Pipeline": (make_pipeline(StandardScaler(), CLASSIFIER), LABELS),
    "regressor": (MLPRegressor(**FEW), X[:, 0] * X[:, 1]),
    "several targets": (MLPRegressor(**FEW), X[:, :2]),
}


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba"])
@pytest.mark.parametrize("case", CASES)
def test_predictions_are_those_of_cross_val_predict(case, method):
    estimator, y = CASES[case]
    if not hasattr(estimator, method):
        with pytest.raises(ValueError, match="method must be one of predict; got"):
            cross_val_population(estimator, X, y, method=method)
        return
    expected = cross_val_predict(estimator, X, y, cv=4, method=method)
    found = cross_val_population(estimator, X, y, cv=4, method=method, n_threads=2)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    assert not hasattr(estimator, "n_features_in_")
    with parallel_config("threading", n_jobs=3):
        by_workers = cross_val_population(estimator, X, y, cv=4, method=method)
    np.testing.assert_array_equal(by_workers, expected)


@pytest.mark.parametrize("method", ["predict_proba", "predict_log_proba"])
def test_a_class_that_a_fold_does_not_know_has_its_column(method):
    options = {"cv": KFold(4), "method": method}
    y = np.where(np.arange(80) < 20, "first", LABELS)
    with pytest.warns(RuntimeWarning, match="Number of classes in training fold"):
        expected = cross_val_predict(CLASSIFIER, X, y, **options)
    with pytest.warns(RuntimeWarning, match="a fold was trained on 3 of 4 classes"):
        found = cross_val_population(CLASSIFIER, X, y, **options)
    np.testing.assert_array_equal(found, expected)


def test_groups_and_weights_are_split():
    weights, groups = RNG.uniform(0.1, 2, 80), np.arange(80) % 5
    options = {"params": {"sample_weight": weights}, "cv": GroupKFold(3), "groups": groups}
    expected = cross_val_predict(CLASSIFIER, X, LABELS, **options)
    np.testing.assert_array_equal(cross_val_population(CLASSIFIER, X, LABELS, **options), expected)


BAD = {
    "folds that overlap": ({"cv": ShuffleSplit(3, random_state=0)}, "exactly once"),
    "no folds": ({"cv": []}, "exactly once"),
    "no such method": ({"method": "fit"}, "method must be one of predict, predict_proba"),
    "no threads": ({"n_threads": 0}, "n_threads"),
    "weights of other rows": ({"params": {"sample_weight": np.ones(3)}}, "sample_weight"),
}


@pytest.mark.parametrize(("options", "message"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        cross_val_population(CLASSIFIER, X, LABELS, **options)


def test_an_estimator_without_a_network_is_refused():
    with pytest.raises(TypeError, match="cross_val_population takes an MLPClassifier"):
        cross_val_population(LogisticRegression(), X, LABELS)
