"""PopulationSearchCV(factor=…): a halving, each iteration with the scores of fits of its length."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from estimator_cases import Epochs
from joblib import parallel_config
from sklearn.base import clone
from sklearn.exceptions import FitFailedWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, ParameterGrid
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from fastbp.losses import CustomLoss
from fastbp.schedules import CosineAnnealingLR
from fastbp.sklearn import MLPClassifier, MLPRegressor, PopulationSearchCV

pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
LABELS = np.digitize(X[:, 0] + X[:, 1] * X[:, 2], [-0.5, 0.5])
NUMBERS = np.column_stack([X[:, 0] * X[:, 1], X[:, 2]])
FEW = {"hidden_layer_sizes": 5, "max_iter": 18, "batch_size": 16, "random_state": 0}
CLASSIFIER = MLPClassifier(**FEW)
REGRESSOR = MLPRegressor(**FEW)
PIPELINE = make_pipeline(StandardScaler(), CLASSIFIER)
RATES = np.geomspace(1e-4, 0.5, 9).tolist()
GRID = {"learning_rate_init": RATES}


def of_pipeline(grid):
    return {f"mlpclassifier__{name}": values for name, values in grid.items()}


def with_epochs(estimator, epochs):
    prefix = "mlpclassifier__" if estimator is PIPELINE else ""
    return clone(estimator).set_params(**{f"{prefix}max_iter": epochs})


SEARCHES = {
    "rates": (CLASSIFIER, GRID),
    "early stopping": (clone(CLASSIFIER).set_params(early_stopping=True, tol=0.01), GRID),
    "stops by the loss": (clone(CLASSIFIER).set_params(n_iter_no_change=1, tol=0.02), GRID),
    "sgd": (clone(CLASSIFIER).set_params(solver="sgd", learning_rate="invscaling"), GRID),
    "early stopping at another precision": (
        clone(CLASSIFIER).set_params(early_stopping=True, tol=0.01, matmul_precision="medium"),
        GRID,
    ),
    "early stopping of ensembles": (
        clone(CLASSIFIER).set_params(early_stopping=True, tol=0.01, n_members=2),
        GRID,
    ),
    "several targets": (REGRESSOR, GRID),
    "a Pipeline": (PIPELINE, of_pipeline(GRID)),
}


@pytest.mark.parametrize(("estimator", "grid"), SEARCHES.values(), ids=SEARCHES.keys())
def test_several_workers_find_the_same(estimator, grid):
    y = NUMBERS if estimator is REGRESSOR else LABELS
    options = {"factor": 3, "cv": 3, "return_train_score": True}
    expected = PopulationSearchCV(estimator, grid, **options).fit(X, y)
    search = PopulationSearchCV(estimator, grid, n_jobs=2, **options)
    with parallel_config("threading"):
        search.fit(X, y)
    assert list(search.cv_results_) == list(expected.cv_results_)
    for name, value in expected.cv_results_.items():
        if "time" not in name:
            np.testing.assert_array_equal(search.cv_results_[name], value, name)
    assert search.best_index_ == expected.best_index_
    np.testing.assert_array_equal(search.predict(X), expected.predict(X))


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize(("estimator", "grid"), SEARCHES.values(), ids=SEARCHES.keys())
def test_each_iteration_has_the_scores_of_fits_of_its_length(estimator, grid, n_threads):
    y = NUMBERS if estimator is REGRESSOR else LABELS
    options = {"cv": 3, "return_train_score": True, "refit": False}
    search = PopulationSearchCV(estimator, grid, factor=3, n_threads=n_threads, **options)
    found = search.fit(X, y).cv_results_
    candidates = list(ParameterGrid(grid))
    left = list(range(9))
    assert (search.n_resources_, search.n_candidates_) == ([2, 6, 18], [9, 3, 1])
    for i, epochs in enumerate(search.n_resources_):
        rows = np.flatnonzero(found["iter"] == i)
        assert (found["n_resources"][rows] == epochs).all()
        assert [found["params"][row] for row in rows] == [candidates[k] for k in left]
        expected = GridSearchCV(with_epochs(estimator, epochs), grid, **options).fit(X, y)
        for name, values in expected.cv_results_.items():
            if "_score" in name and "rank" not in name and "time" not in name:
                np.testing.assert_array_equal(found[name][rows], values[left], name)
        means = expected.cv_results_["mean_test_score"][left]
        order = np.argsort(-means, kind="stable")[: len(left) // 3]
        left = sorted(left[k] for k in order)


def test_columns_and_attributes_are_those_of_scikit_learns_halving():
    options = {"factor": 3, "cv": 3, "random_state": 0, "return_train_score": False}
    theirs = HalvingGridSearchCV(
        CLASSIFIER, GRID, resource="max_iter", min_resources=2, max_resources=18, **options
    ).fit(X, LABELS)
    ours = PopulationSearchCV(CLASSIFIER, GRID, min_epochs=2, **options).fit(X, LABELS)
    # Within an iteration, their candidates are in the order of their scores.
    order = np.lexsort((theirs.cv_results_["param_learning_rate_init"], theirs.cv_results_["iter"]))
    assert set(theirs.cv_results_) - set(ours.cv_results_) == {"param_max_iter"}
    for name, values in ours.cv_results_.items():
        expected = np.asarray(theirs.cv_results_[name])[order]
        if name == "params":
            expected = [{"learning_rate_init": each["learning_rate_init"]} for each in expected]
            assert values == expected
        elif "time" in name:
            assert values.shape == expected.shape
            assert (values >= 0).all()
        else:
            np.testing.assert_array_equal(values, expected, name)
    for name in ("n_resources_", "n_candidates_", "n_iterations_", "n_remaining_candidates_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in ("n_required_iterations_", "n_possible_iterations_", "min_resources_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.max_resources_ == theirs.max_resources_
    assert order[ours.best_index_] == theirs.best_index_
    assert ours.best_score_ == theirs.best_score_
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


def test_a_schedule_is_that_of_the_whole_fit():
    schedule = CosineAnnealingLR(18)
    network = clone(CLASSIFIER).set_params(learning_rate=schedule)
    search = PopulationSearchCV(network, GRID, factor=3, cv=2, refit=False).fit(X, LABELS)
    whole = GridSearchCV(network, GRID, cv=2, refit=False).fit(X, LABELS)
    row = search.best_index_
    k = RATES.index(search.best_params_["learning_rate_init"])
    assert search.best_score_ == whole.cv_results_["mean_test_score"][k]
    assert search.cv_results_["n_resources"][row] == 18


def test_candidates_with_fewer_epochs_compete_as_they_are():
    grid = {"max_iter": [1, 2, 4, 8]}
    search = PopulationSearchCV(CLASSIFIER, grid, factor=2, cv=2, min_epochs=3).fit(X, LABELS)
    assert search.n_resources_ == [3, 8]
    for k, epochs in enumerate((1, 2)):
        expected = GridSearchCV(with_epochs(CLASSIFIER, epochs), {"alpha": [1e-4]}, cv=2)
        expected.fit(X, LABELS)
        found = search.cv_results_["mean_test_score"][k]
        assert found == expected.best_score_


def test_what_has_no_epochs_competes_as_it_is():
    grid = {
        "mlpclassifier": [CLASSIFIER, GaussianNB(), clone(CLASSIFIER).set_params(solver="lbfgs")]
    }
    search = PopulationSearchCV(PIPELINE, grid, factor=2, cv=2, refit=False).fit(X, LABELS)
    whole = GridSearchCV(PIPELINE, grid, cv=2, refit=False).fit(X, LABELS)
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"][1:3], whole.cv_results_["mean_test_score"][1:]
    )
    assert search.n_candidates_ == [3, 2]


def smooth(a, y):
    """A loss in Python."""
    return np.sqrt(1 + (a - y) ** 2).sum(axis=1), (a - y) / np.sqrt(1 + (a - y) ** 2)


def test_what_is_fitted_by_itself_is_fitted_whole():
    grid = {"loss": [CustomLoss(smooth), "huber"]}
    search = PopulationSearchCV(REGRESSOR, grid, factor=2, cv=2, refit=False).fit(X, NUMBERS)
    whole = GridSearchCV(REGRESSOR, grid, cv=2, refit=False).fit(X, NUMBERS)
    assert search.cv_results_["mean_test_score"][0] == whole.cv_results_["mean_test_score"][0]


def test_losers_are_not_trained_any_further():
    Epochs.ended.clear()
    network = clone(CLASSIFIER).set_params(callbacks=[Epochs()])
    PopulationSearchCV(network, GRID, factor=3, cv=2, refit=False).fit(X, LABELS)
    assert len(Epochs.ended) == 2 * (9 * 2 + 3 * 4 + 1 * 12)


SCORINGS = {
    "several": {"scoring": ["accuracy", "neg_log_loss"], "refit": "neg_log_loss"},
    "a function": {
        "scoring": lambda est, X, y: {"a": est.score(X, y), "b": 1.0},
        "refit": "a",
    },
    "one": {"scoring": "f1_macro"},
    "a choice": {"scoring": "accuracy", "refit": lambda results: 2},
}


@pytest.mark.parametrize("options", SCORINGS.values(), ids=SCORINGS.keys())
def test_the_score_that_refit_names_decides(options):
    search = PopulationSearchCV(CLASSIFIER, GRID, factor=3, cv=2, **options).fit(X, LABELS)
    refit = options.get("refit")
    name = f"mean_test_{refit}" if isinstance(refit, str) else "mean_test_score"
    first = search.cv_results_["iter"] == 0
    order = np.argsort(-search.cv_results_[name][first], kind="stable")[:3]
    (second,) = np.nonzero(search.cv_results_["iter"] == 1)
    kept = [search.cv_results_["params"][row] for row in second]
    assert kept == [search.cv_results_["params"][k] for k in sorted(order)]
    assert search.best_index_ == (2 if callable(refit) else len(first) - 1)


# ---- what fails ---------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:One or more of the:UserWarning")
@pytest.mark.parametrize("estimator", [CLASSIFIER, PIPELINE], ids=["alone", "Pipeline"])
def test_a_candidate_that_fails_is_the_worst(estimator):
    grid = {"alpha": [-1.0, 1e-4, 1e-2, 1.0]}
    grid = of_pipeline(grid) if estimator is PIPELINE else grid
    search = PopulationSearchCV(estimator, grid, factor=2, cv=2)
    with pytest.warns(FitFailedWarning, match="2 fits failed out of a total of"):
        search.fit(X, LABELS)
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist()[0]
    assert not np.isnan(search.cv_results_["mean_test_score"])[1:].any()
    assert -1.0 not in search.best_params_.values()


def test_a_candidate_that_diverges_is_the_worst():
    grid = {"learning_rate_init": [1e30, 0.01, 0.02], "solver": ["sgd"]}
    search = PopulationSearchCV(REGRESSOR, grid, factor=2, cv=2, error_score=-1e9)
    with pytest.warns(FitFailedWarning, match="non-finite parameter weights"):
        search.fit(X, NUMBERS)
    assert search.cv_results_["mean_test_score"][0] == -1e9
    assert search.n_candidates_ == [3, 2]
    assert search.best_params_["learning_rate_init"] < 1
    with pytest.raises(ValueError, match="non-finite parameter weights"):
        clone(search).set_params(error_score="raise").fit(X, NUMBERS)


BAD = {
    "a factor of 1": ({"factor": 1}, "factor"),
    "a negative factor": ({"factor": -3}, "factor"),
    "no epochs": ({"factor": 3, "min_epochs": 0}, "min_epochs"),
    "more epochs than a fit has": ({"factor": 3, "min_epochs": 19}, "a whole fit has 18 epochs"),
    "epochs without a factor": ({"min_epochs": 2}, "give factor too"),
    "several scores": (
        {"factor": 3, "scoring": ["accuracy", "f1_macro"], "refit": False},
        "factor compares candidates by one score",
    ),
    "several scores of a function": (
        {"factor": 3, "scoring": lambda est, X, y: {"a": 1.0, "b": 2.0}, "refit": False},
        "factor compares candidates by one score",
    ),
    "no epochs at all": (
        {"factor": 3, "param_grid": {"solver": ["lbfgs"]}},
        "factor needs candidates that are trained by epochs",
    ),
}


@pytest.mark.parametrize(("options", "message"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_refused(options, message):
    search = PopulationSearchCV(CLASSIFIER, **({"param_grid": GRID} | options))
    with pytest.raises((TypeError, ValueError), match=message):
        search.fit(X, LABELS)
    assert not hasattr(search, "cv_results_")


def test_callbacks_of_scikit_learn_are_refused():
    callback = pytest.importorskip("sklearn.callback", reason="scikit-learn is older than 1.9")
    network = clone(CLASSIFIER).set_callbacks(callback.ScoringMonitor(scoring="accuracy"))
    with pytest.raises(ValueError, match="callbacks observe one after the other"):
        PopulationSearchCV(network, GRID, factor=3, cv=2).fit(X, LABELS)


def test_verbose_prints_the_iterations(capsys):
    PopulationSearchCV(CLASSIFIER, GRID, factor=3, cv=2, verbose=1).fit(X, LABELS)
    assert "3 candidates to 6 epochs" in capsys.readouterr().out


def checks():
    """scikit-learn's checks of a halving for a classifier, and of one for a regressor."""
    quick = {"learning_rate_init": 0.1, "max_iter": 60, "random_state": 0}
    for network in (MLPClassifier(8, **quick), MLPRegressor(hidden_layer_sizes=8, **quick)):
        search = PopulationSearchCV(
            network, {"alpha": [1e-4, 1e-3, 1e-2]}, factor=2, cv=2, error_score="raise"
        )
        for _, check in estimator_checks_generator(search):
            yield pytest.param(search, check, id=f"{type(network).__name__}-{check.func.__name__}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("search", "check"), [*checks()])
def test_scikit_learns_checks_of_searches_pass(search, check):
    check(clone(search))
