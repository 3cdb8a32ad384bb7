"""PopulationSearchCV: the scores of scikit-learn's searches, from fits in one call."""

import threading

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from estimator_cases import Epochs
from joblib import parallel_config
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, RandomizedSearchCV, ShuffleSplit
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from fastbp.losses import CustomLoss
from fastbp.optim import SGD
from fastbp.schedules import StepLR
from fastbp.sklearn import MLPClassifier, MLPRegressor, PopulationSearchCV

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
LABELS = np.digitize(X[:, 0] + X[:, 1] * X[:, 2], [-0.5, 0.5])
NUMBERS = np.column_stack([X[:, 0] * X[:, 1], X[:, 2]])
WEIGHTS = RNG.integers(0, 3, 90).astype(float)
FEW = {"hidden_layer_sizes": 5, "max_iter": 6, "batch_size": 16, "random_state": 0}
CLASSIFIER = MLPClassifier(**FEW, learning_rate_init=0.02)
REGRESSOR = MLPRegressor(**FEW, learning_rate_init=0.02)
PIPELINE = make_pipeline(StandardScaler(), CLASSIFIER)


def scores(search):
    """cv_results_ without times."""
    return {name: value for name, value in search.cv_results_.items() if "time" not in name}


def assert_same_search(search, other):
    """Both searches, which are fitted, have the same results."""
    assert list(search.cv_results_) == list(other.cv_results_)
    for name, value in scores(other).items():
        np.testing.assert_array_equal(search.cv_results_[name], value, name)
    assert search.best_params_ == other.best_params_
    assert (search.best_index_, search.n_splits_) == (other.best_index_, other.n_splits_)
    assert search.best_score_ == other.best_score_
    assert search.multimetric_ == other.multimetric_


def smooth(a, y):
    """A loss in Python."""
    return np.sqrt(1 + (a - y) ** 2).sum(axis=1), (a - y) / np.sqrt(1 + (a - y) ** 2)


GRIDS = {
    "rates and penalties": (CLASSIFIER, {"alpha": [1e-4, 1.0], "learning_rate_init": [0.01, 0.1]}),
    "early stopping": (CLASSIFIER, {"early_stopping": [True, False], "random_state": [0, 1]}),
    "a stop by the loss": (
        CLASSIFIER,
        {"max_iter": [20], "n_iter_no_change": [1, 2], "tol": [0.05, 0.5]},
    ),
    "layers": (CLASSIFIER, {"hidden_layer_sizes": [(3,), (6, 4)], "dropout": [0.0, 0.3]}),
    "solvers": (
        CLASSIFIER,
        [{"solver": ["lbfgs", "sgd", SGD(0.1)]}, {"learning_rate": ["adaptive", StepLR(2)]}],
    ),
    "weights of classes": (CLASSIFIER, {"class_weight": [None, "balanced", {0: 0, 1: 1, 2: 3}]}),
    "precisions": (CLASSIFIER, {"matmul_precision": [None, "medium"], "norm": [None, "rms"]}),
    "several targets": (REGRESSOR, {"alpha": [0.1, 1.0], "early_stopping": [True, False]}),
    "losses": (REGRESSOR, {"loss": ["huber", "gaussian_nll", "quantile(0.1, 0.5, 0.9)"]}),
    "a loss of one's own": (REGRESSOR, {"loss": [CustomLoss(smooth), "huber"]}),
    "a Pipeline": (PIPELINE, {"mlpclassifier__alpha": [1e-4, 1.0]}),
    "steps of a Pipeline": (
        PIPELINE,
        {
            "standardscaler": [StandardScaler(with_mean=False), "passthrough"],
            "mlpclassifier__early_stopping": [True, False],
        },
    ),
    "the last step of a Pipeline": (
        PIPELINE,
        {"mlpclassifier": [CLASSIFIER, MLPClassifier(**FEW), GaussianNB()]},
    ),
    "one step": (make_pipeline(CLASSIFIER), {"mlpclassifier__alpha": [1e-4, 1.0]}),
}


@pytest.mark.parametrize(("estimator", "grid"), GRIDS.values(), ids=GRIDS.keys())
def test_a_grid_has_the_scores_of_scikit_learns_search(estimator, grid):
    y = NUMBERS if estimator is REGRESSOR else LABELS
    options = {"cv": 3, "return_train_score": True}
    expected = GridSearchCV(estimator, grid, **options).fit(X, y)
    search = PopulationSearchCV(estimator, grid, n_threads=2, **options).fit(X, y)
    assert_same_search(search, expected)
    np.testing.assert_array_equal(search.predict(X), expected.predict(X))
    assert search.score(X, y) == expected.score(X, y)


@pytest.mark.parametrize(("estimator", "grid"), GRIDS.values(), ids=GRIDS.keys())
def test_several_workers_find_the_same(estimator, grid):
    """On threads here; test_clusters has processes."""
    y = NUMBERS if estimator is REGRESSOR else LABELS
    options = {"cv": 3, "return_train_score": True}
    expected = PopulationSearchCV(estimator, grid, **options).fit(X, y, **of_last(estimator))
    search = PopulationSearchCV(estimator, grid, n_jobs=3, **options)
    with parallel_config("threading"):
        search.fit(X, y, **of_last(estimator))
    assert_same_search(search, expected)
    np.testing.assert_array_equal(search.predict(X), expected.predict(X))


def of_last(estimator):
    """Weights, as an argument of `fit` of an estimator of GRIDS."""
    several = isinstance(estimator, Pipeline)
    return {f"{estimator.steps[-1][0]}__sample_weight" if several else "sample_weight": WEIGHTS}


def test_the_number_of_workers_may_come_from_joblib():
    def thread(est, X, y):
        return float(threading.get_ident())

    grid = {"alpha": [1e-4, 1e-3, 1e-2, 1e-1]}
    search = PopulationSearchCV(CLASSIFIER, grid, cv=3, scoring=thread, refit=False)
    here = {float(threading.get_ident())}
    names = [f"split{k}_test_score" for k in range(3)]

    def threads():
        return {number for name in names for number in search.fit(X, LABELS).cv_results_[name]}

    assert threads() == here
    with parallel_config("threading", n_jobs=2):
        assert not threads() & here
        search.set_params(n_jobs=1)
        assert threads() == here


@pytest.mark.parametrize("factor", [None, 2])
def test_a_fit_that_fails_in_a_worker_has_the_error_score(factor):
    """test_clusters has one that raises: on threads, the other fits would outlive the search."""
    grid = {"learning_rate_init": [0.1, 0.01, -1.0, 1.0]}
    options = {"cv": 2, "factor": factor, "n_jobs": 2, "error_score": -1.0}
    search = PopulationSearchCV(CLASSIFIER, grid, **options)
    with parallel_config("threading"), pytest.warns(FitFailedWarning, match="2 fits failed"):
        search.fit(X, LABELS)
    assert search.best_params_["learning_rate_init"] > 0


def test_n_jobs_is_a_number_of_workers():
    search = PopulationSearchCV(CLASSIFIER, {"alpha": [0.1]}, n_jobs="all")
    with pytest.raises(ValueError, match="'n_jobs' parameter"):
        search.fit(X, LABELS)
    with pytest.raises(ValueError, match="n_jobs == 0"):
        search.set_params(n_jobs=0).fit(X, LABELS)


def record(est, X, y):
    """What a fit has left, as scores."""
    return {
        "loss": est.loss_,
        "curve": np.dot(est.loss_curve_, np.arange(1, len(est.loss_curve_) + 1)),
        "iterations": est.n_iter_,
        "samples": est.t_,
        "count": est._no_improvement_count,
        "best": -1.0 if est.best_loss_ is None else est.best_loss_,
        "rate": est._optimizer.lr,
        "weights": np.dot(est.network_.theta, np.arange(est.network_.theta.size)),
    }


RULES = {
    "a stop by the loss": {"tol": [1e-3, 0.02, 0.5], "n_iter_no_change": [1, 3, float("inf")]},
    "rates": {"solver": ["sgd"], "learning_rate": ["constant", "adaptive", "invscaling"]},
    "an adaptive rate": {"solver": ["sgd"], "learning_rate": ["adaptive"], "tol": [0.01, 0.5]},
    "early stopping": {"early_stopping": [True], "tol": [0.001, 0.5]},
    "schedules": {"learning_rate": [StepLR(2), StepLR(5)]},
}


@pytest.mark.parametrize("estimator", [CLASSIFIER, REGRESSOR], ids=["classifier", "regressor"])
@pytest.mark.parametrize("grid", RULES.values(), ids=RULES.keys())
def test_fits_stop_and_leave_what_they_would_leave_alone(estimator, grid):
    y = NUMBERS[:, 0] if estimator is REGRESSOR else LABELS
    estimator = clone(estimator).set_params(max_iter=25, n_iter_no_change=1)
    options = {"cv": 2, "scoring": record, "refit": False}
    expected = GridSearchCV(estimator, grid, **options).fit(X, y)
    search = PopulationSearchCV(estimator, grid, **options).fit(X, y)
    for name, value in scores(expected).items():
        np.testing.assert_array_equal(search.cv_results_[name], value, name)


def test_a_random_search_has_the_scores_of_scikit_learns_search():
    options = {"n_iter": 4, "random_state": 3, "cv": ShuffleSplit(2, random_state=0)}
    space = {"alpha": [1e-4, 1e-2, 1.0], "learning_rate_init": [0.001, 0.01, 0.1]}
    expected = RandomizedSearchCV(CLASSIFIER, space, **options).fit(X, LABELS)
    search = PopulationSearchCV(CLASSIFIER, param_distributions=space, **options).fit(X, LABELS)
    assert_same_search(search, expected)


@pytest.mark.parametrize("given", ["sparse", "float32", "whole numbers", "a table"])
def test_every_kind_of_data_has_the_same_scores(given):
    if given == "sparse":
        data = pytest.importorskip("scipy.sparse").csr_array(np.where(X > 0, X, 0))
    elif given == "a table":
        data = pytest.importorskip("pandas").DataFrame(X, columns=list("abcd"))
    else:
        data = X.astype("f4") if given == "float32" else (10 * X).astype(int)
    grid = {"alpha": [1e-4, 1.0], "early_stopping": [True, False]}
    expected = GridSearchCV(CLASSIFIER, grid, cv=2).fit(data, LABELS)
    search = PopulationSearchCV(CLASSIFIER, grid, cv=2).fit(data, LABELS)
    assert_same_search(search, expected)
    assert search.n_features_in_ == 4
    assert hasattr(search, "feature_names_in_") == (given == "a table")


@pytest.mark.parametrize("estimator", [CLASSIFIER, PIPELINE], ids=["alone", "Pipeline"])
def test_sample_weights_and_groups_are_split(estimator):
    prefix = "mlpclassifier__" if estimator is PIPELINE else ""
    arguments = {prefix + "sample_weight": WEIGHTS, "groups": np.arange(90) % 5}
    grid = {prefix + "alpha": [1e-4, 1.0]}
    expected = GridSearchCV(estimator, grid, cv=GroupKFold(3)).fit(X, LABELS, **arguments)
    search = PopulationSearchCV(estimator, grid, cv=GroupKFold(3)).fit(X, LABELS, **arguments)
    assert_same_search(search, expected)


@pytest.mark.parametrize(
    "options",
    [
        {"scoring": ["accuracy", "neg_log_loss"], "refit": "neg_log_loss"},
        {"scoring": "f1_macro"},
        {"scoring": lambda est, X, y: {"a": est.score(X, y), "b": 1.0}, "refit": "a"},
        {"refit": lambda results: 1, "scoring": "accuracy"},
    ],
    ids=["several", "one", "a function", "a choice"],
)
def test_every_kind_of_scoring_has_the_same_results(options):
    grid = {"alpha": [1e-4, 1.0]}
    expected = GridSearchCV(CLASSIFIER, grid, cv=2, **options).fit(X, LABELS)
    search = PopulationSearchCV(CLASSIFIER, grid, cv=2, **options).fit(X, LABELS)
    assert list(search.cv_results_) == list(expected.cv_results_)
    for name, value in scores(expected).items():
        np.testing.assert_array_equal(search.cv_results_[name], value, name)
    assert search.best_index_ == expected.best_index_
    assert search.score(X, LABELS) == expected.score(X, LABELS)


class CountingScaler(StandardScaler):
    """Counts the fits of all of its copies."""

    fits = 0

    def fit(self, X, y=None, sample_weight=None):
        CountingScaler.fits += 1
        return super().fit(X, y, sample_weight)


def test_steps_before_the_network_are_fitted_once_per_fold():
    CountingScaler.fits = 0
    model = make_pipeline(CountingScaler(), CLASSIFIER)
    grid = {"mlpclassifier__alpha": [1e-4, 1e-2, 1.0]}
    PopulationSearchCV(model, grid, cv=4, refit=False).fit(X, LABELS)
    assert CountingScaler.fits == 4


def test_the_data_of_a_fold_are_checked_once(monkeypatch):
    calls = []
    validated = MLPClassifier._validated

    def counted(self, *args, **keywords):
        calls.append(keywords)
        return validated(self, *args, **keywords)

    monkeypatch.setattr(MLPClassifier, "_validated", counted)
    PopulationSearchCV(CLASSIFIER, {"alpha": [1e-4, 0.1, 1.0]}, cv=4, refit=False).fit(X, LABELS)
    assert len(calls) == 4


KINDS = {
    "text": lambda y: np.array(["low", "middle", "higher"])[y],
    "objects": lambda y: np.array(["low", "middle", "higher"], object)[y],
    "two classes": lambda y: y > 0,
    "numbers that are not whole": lambda y: y.astype(float),
    "a list": lambda y: y.tolist(),
    "several labels": lambda y: np.column_stack([y > 0, y > 1]).astype(int),
    "a column": lambda y: y[:, None],
}


@pytest.mark.filterwarnings("ignore:A column-vector y was passed")
@pytest.mark.parametrize("estimator", [CLASSIFIER, PIPELINE], ids=["alone", "Pipeline"])
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_every_kind_of_labels_has_the_same_scores(estimator, kind):
    y = kind(LABELS)
    grid = {("mlpclassifier__" if estimator is PIPELINE else "") + "alpha": [1e-4, 1.0]}
    options = {"cv": ShuffleSplit(2, random_state=0), "return_train_score": True}
    expected = GridSearchCV(estimator, grid, **options).fit(X, y)
    search = PopulationSearchCV(estimator, grid, **options).fit(X, y)
    assert_same_search(search, expected)


def test_all_candidates_and_folds_are_trained_at_the_same_time():
    Epochs.ended.clear()
    network = clone(CLASSIFIER).set_params(callbacks=[Epochs()], max_iter=3)
    PopulationSearchCV(network, {"alpha": [1e-4, 1.0]}, cv=2, refit=False).fit(X, LABELS)
    assert Epochs.ended == [0] * 4 + [1] * 4 + [2] * 4


# ---- what fails ---------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:One or more of the:UserWarning")
@pytest.mark.parametrize("estimator", [CLASSIFIER, PIPELINE], ids=["alone", "Pipeline"])
def test_a_candidate_that_fails_has_the_error_score(estimator):
    grid = {("mlpclassifier__" if estimator is PIPELINE else "") + "alpha": [-1.0, 1e-4]}
    with pytest.warns(FitFailedWarning, match="2 fits failed out of a total of 4"):
        search = PopulationSearchCV(estimator, grid, cv=2, return_train_score=True).fit(X, LABELS)
    for kind in ("test", "train"):
        found = search.cv_results_[f"mean_{kind}_score"]
        assert np.isnan(found[0])
        assert found[1] > 0
    assert search.best_index_ == 1


def test_a_candidate_that_fails_has_the_error_score_of_every_kind():
    options = {"scoring": ["accuracy", "f1_macro"], "refit": "accuracy", "error_score": 0.125}
    search = PopulationSearchCV(CLASSIFIER, {"alpha": [-1.0, 1e-4]}, cv=2, **options)
    with pytest.warns(FitFailedWarning, match="2 fits failed out of a total of 4"):
        search.fit(X, LABELS)
    for name in options["scoring"]:
        assert search.cv_results_[f"mean_test_{name}"][0] == 0.125


def test_a_candidate_that_diverges_has_the_error_score():
    grid = {"learning_rate_init": [0.01, 1e30], "solver": ["sgd"]}
    with pytest.warns(FitFailedWarning, match="non-finite parameter weights"):
        search = PopulationSearchCV(REGRESSOR, grid, cv=2, error_score=-7.0).fit(X, NUMBERS)
    assert search.cv_results_["mean_test_score"][1] == -7.0
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        PopulationSearchCV(REGRESSOR, grid, cv=2, error_score="raise").fit(X, NUMBERS)


BAD = {
    "a parameter of others": (CLASSIFIER, {"param_grid": {"gamma": [1.0]}}, "gamma"),
    "a value": (CLASSIFIER, {"param_grid": {"alpha": [0.1, -1.0]}}, "alpha"),
    "no parameters": (CLASSIFIER, {}, "got none of them"),
    "a grid and distributions": (
        CLASSIFIER,
        {"param_grid": {"alpha": [0.1]}, "param_distributions": {"alpha": [0.1]}},
        "got both of them",
    ),
    "no candidates": (CLASSIFIER, {"param_grid": []}, "no candidate"),
    "no folds": (CLASSIFIER, {"param_grid": {"alpha": [0.1]}, "cv": []}, "no folds"),
    "no such score": (CLASSIFIER, {"param_grid": {"alpha": [0.1]}, "scoring": "best"}, "scoring"),
    "no threads": (CLASSIFIER, {"param_grid": {"alpha": [0.1]}, "n_threads": 0}, "n_threads"),
    "another estimator": (
        LogisticRegression(),
        {"param_grid": {"C": [1.0]}},
        "takes an MLPClassifier or MLPRegressor of fastbp.sklearn.* got LogisticRegression",
    ),
}


@pytest.mark.parametrize(("estimator", "options", "message"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_refused_before_anything_is_trained(estimator, options, message):
    Epochs.ended.clear()
    if estimator is CLASSIFIER:
        estimator = clone(CLASSIFIER).set_params(callbacks=[Epochs()])
    search = PopulationSearchCV(estimator, error_score="raise", **options)
    with pytest.raises((TypeError, ValueError), match=message):
        search.fit(X, LABELS)
    assert Epochs.ended == []
    assert not hasattr(search, "cv_results_")


class Interrupting:
    """Presses Ctrl-C."""

    def on_epoch_end(self, epoch, logs):
        raise KeyboardInterrupt


def test_an_interrupt_ends_the_search():
    network = clone(CLASSIFIER).set_params(callbacks=[Interrupting()])
    with pytest.raises(KeyboardInterrupt):
        PopulationSearchCV(network, {"alpha": [0.1, 1.0]}, cv=2).fit(X, LABELS)


def test_callbacks_of_scikit_learn_observe_a_search():
    callback = pytest.importorskip("sklearn.callback", reason="scikit-learn is older than 1.9")
    monitor = callback.ScoringMonitor(scoring="accuracy")
    network = clone(CLASSIFIER).set_callbacks(monitor)
    expected = GridSearchCV(CLASSIFIER, {"alpha": [0.1, 1.0]}, cv=2).fit(X, LABELS)
    search = PopulationSearchCV(network, {"alpha": [0.1, 1.0]}, cv=2).fit(X, LABELS)
    assert_same_search(search, expected)
    assert len([row for row in monitor.get_logs().data if row["task_name"] == "epoch"]) == 6


def checks():
    """scikit-learn's checks of a search for a classifier, and of one for a regressor."""
    quick = {"learning_rate_init": 0.1, "max_iter": 60, "random_state": 0}
    for network in (MLPClassifier(8, **quick), MLPRegressor(hidden_layer_sizes=8, **quick)):
        search = PopulationSearchCV(network, {"alpha": [1e-4, 1e-2]}, cv=2, error_score="raise")
        for _, check in estimator_checks_generator(search):
            yield pytest.param(search, check, id=f"{type(network).__name__}-{check.func.__name__}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("search", "check"), [*checks()])
def test_scikit_learns_checks_of_searches_pass(search, check):
    check(clone(search))
