"""`fit(comm=…)` of the estimators: each rank has its own rows, and all are fitted alike."""

import runpy
import warnings

import numpy as np
import pytest
from rank_cases import on_ranks, outcomes_on_ranks

pytest.importorskip("sklearn", reason="needs scikit-learn")

from sklearn.exceptions import ConvergenceWarning

from fastbp.distributed import parts
from fastbp.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.once

# Sorted labels: no rank has all classes.
DATA = """
import warnings
import numpy as np
from fastbp.distributed import share
from fastbp.sklearn import MLPClassifier, MLPRegressor

rng = np.random.default_rng(0)
X = rng.normal(size=(307, 5))
y = np.sort(np.array(["a", "b", "c"])[rng.integers(0, 3, 307)])
X[:, 0] += 2 * (y == "b")
numbers = X @ np.arange(10).reshape(5, 2)
weights = rng.uniform(size=307) * (rng.random(307) > 0.1)
OPTIONS = {"hidden_layer_sizes": 8, "learning_rate_init": 0.01, "random_state": 1, "max_iter": 8}
RECORD = ("n_iter_", "t_", "loss_", "loss_curve_", "validation_scores_", "best_validation_score_")

def models():
    early = OPTIONS | {"early_stopping": True, "n_iter_no_change": 2, "max_iter": 30}
    yield MLPClassifier(class_weight="balanced", **OPTIONS), y, weights
    yield MLPClassifier(**early), y, None
    yield MLPClassifier(**early), y == "b", None
    yield MLPRegressor(solver="sgd", learning_rate="adaptive", **early), numbers, weights
    yield MLPRegressor("quantile(0.1, 0.9)", **early), numbers, None

def outcome(model):
    return model.network_.theta.tobytes(), [getattr(model, name) for name in RECORD]
"""
FITS = (
    DATA
    + """
def main(comm):
    warnings.simplefilter("ignore")
    rows = share(len(X), comm)
    fits = []
    for model, targets, w in models():
        model.fit(X[rows], targets[rows], None if w is None else w[rows], comm=comm)
        fits.append(outcome(model))
    drawn = MLPClassifier(**OPTIONS | {"random_state": None}).fit(X[rows], y[rows], comm=comm)
    return fits, drawn.network_.theta.tobytes(), list(drawn.classes_)
"""
)


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    script = tmp_path_factory.mktemp("data") / "data.py"
    script.write_text(DATA)
    return runpy.run_path(str(script))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_all_ranks_have_the_bits_of_parts_on_one(names, tmp_path):
    told = on_ranks(3, FITS, tmp_path)
    X = names["X"]
    for k, (model, targets, w) in enumerate(names["models"]()):
        alone = names["outcome"](model.fit(X, targets, w, parts=16))
        for fits, _, _ in told:
            np.testing.assert_equal(fits[k], alone)
    assert len({theta for _, theta, _ in told}) == 1  # random_state=None: that of rank 0
    assert all(classes == ["a", "b", "c"] for _, _, classes in told)


REFUSED = (
    DATA
    + """
class Failing:
    def on_epoch_end(self, epoch, logs):
        raise LookupError("a callback of rank 0")

def main(comm):
    own = X[share(len(X), comm)], y[share(len(X), comm)]
    messages = []
    for options, X_own in [
        ({}, own[0][:, : 5 - comm.rank]),
        ({"max_iter": 8 + comm.rank}, own[0]),
        ({"n_members": 2}, own[0]),
        ({"solver": "lbfgs"}, own[0]),
        ({"callbacks": [Failing()]}, own[0]),
        ({"learning_rate_init": -1.0 * comm.rank or 0.1}, own[0]),
    ]:
        try:
            MLPClassifier(**OPTIONS | options).fit(X_own, own[1], comm=comm)
        except (ValueError, LookupError) as error:
            messages.append(str(error))
    return messages
"""
)


def test_all_ranks_raise_the_same_error(tmp_path):
    told = on_ranks(2, REFUSED, tmp_path)
    assert told[0] == told[1]
    expected = [
        "same number of columns of X: rank 0 has 5, rank 1 has 4",
        "same max_iter: rank 0 has 8, rank 1 has 9",
        "n_members=1 (it is 2)",
        "lbfgs searches along lines over all rows",
        "a callback of rank 0",
        "rank 1 of 2",
    ]
    for message, words in zip(told[0], expected, strict=True):
        assert words in message


DIVERGING = (
    DATA
    + """
def main(comm):
    rows = share(len(X), comm)
    model = MLPRegressor(solver="sgd", **OPTIONS | {"learning_rate_init": 1e6})
    model.fit(X[rows], numbers[rows], comm=comm)
"""
)


def test_a_divergence_is_an_error_on_all_ranks(tmp_path):
    for good, error in outcomes_on_ranks(2, DIVERGING, tmp_path):
        assert not good and "non-finite parameter weights" in str(error)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_parts_of_a_function(names):
    X, y = names["X"], names["y"]
    cuts = [p * len(X) // 16 for p in range(17)]

    def read(p):
        rows = slice(cuts[p], cuts[p + 1])
        return X[rows], y[rows]

    whole = MLPClassifier(**names["OPTIONS"]).fit(X, y, parts=16)
    read_in_parts = MLPClassifier(**names["OPTIONS"]).fit(parts(read), None, parts=16)
    assert np.array_equal(whole.network_.theta, read_in_parts.network_.theta)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_warm_start_in_parts(names):
    X, y = names["X"], names["y"]
    once = MLPRegressor(**names["OPTIONS"] | {"solver": "sgd", "momentum": 0.0, "max_iter": 4})
    twice = MLPRegressor(**once.get_params() | {"max_iter": 2, "warm_start": True})
    y = names["numbers"]
    once.fit(X, y, parts=4)
    twice.fit(X, y, parts=4).fit(X, y, parts=4)
    assert np.array_equal(once.network_.theta, twice.network_.theta)
    assert twice.loss_curve_ == once.loss_curve_


def test_the_end_of_the_epochs_is_a_warning(names):
    with pytest.warns(ConvergenceWarning, match="Maximum iterations"):
        MLPRegressor(**names["OPTIONS"]).fit(names["X"], names["numbers"], parts=2)


def test_a_refused_fit_changes_nothing(names):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MLPClassifier(**names["OPTIONS"]).fit(names["X"], names["y"], parts=2)
    before = dict(vars(model))
    model.set_params(early_stopping=True, validation_fraction=0.001)
    with pytest.raises(ValueError, match="validation_fraction.* 0 to score"):
        model.fit(names["X"], names["y"], parts=2)
    assert vars(model.set_params(early_stopping=False, validation_fraction=0.1)) == before
