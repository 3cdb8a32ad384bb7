"""Estimators with n_members > 1: their members are the networks that one seed each would give."""

import copy
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastbp
from fastbp import optim
from fastbp.callbacks import EarlyStopping
from fastbp.losses import CustomLoss
from fastbp.schedules import StepLR
from fastbp.sklearn import (
    MLPClassifier,
    MLPRegressor,
    PopulationSearchCV,
    cross_val_population,
    to_sklearn,
)

pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

RNG = np.random.default_rng(0)
X = RNG.normal(size=(90, 4))
LABELS = np.array(["a", "b", "c"])[np.digitize(X[:, 0] + X[:, 1] * X[:, 2], [-0.5, 0.5])]
NUMBERS = 3 * X[:, 0] * X[:, 1]
TWO = np.column_stack([NUMBERS, X[:, 2]])
WEIGHTS = RNG.integers(0, 3, 90).astype(float)
FEW = {"hidden_layer_sizes": 5, "max_iter": 6, "batch_size": 16, "random_state": 0}
N = 3


def smooth(a, y):
    """A loss in Python."""
    return np.sqrt(1 + (a - y) ** 2).sum(axis=1), (a - y) / np.sqrt(1 + (a - y) ** 2)


def classifier(**options):
    return MLPClassifier(**FEW | {"n_members": N} | options)


def regressor(loss="squared_error", **options):
    return MLPRegressor(loss, **FEW | {"n_members": N} | options)


def thetas(model):
    return [member.network_.theta for member in model.estimators_]


def assert_alone(model, X, y, **arguments):
    """Each member has the bits and the record of an estimator with its parameters."""
    assert len(model.estimators_) == model.n_members
    assert len({theta.tobytes() for theta in thetas(model)}) == model.n_members
    for k, member in enumerate(model.estimators_):
        assert type(member) is type(model) and member.n_members == 1
        seed = model.random_state if k == 0 else member.random_state
        alone = clone(model).set_params(n_members=1, random_state=seed).fit(X, y, **arguments)
        np.testing.assert_array_equal(member.network_.theta, alone.network_.theta)
        assert member.loss_curve_ == alone.loss_curve_ and member.n_iter_ == alone.n_iter_
        assert member.best_validation_score_ == alone.best_validation_score_
    assert model.n_iter_ == max(member.n_iter_ for member in model.estimators_)
    assert model.loss_ == np.mean([member.loss_ for member in model.estimators_])


# ---- members ------------------------------------------------------------------------------

CASES = {
    "classes": (classifier(), X, LABELS, {}),
    "two classes": (classifier(class_weight="balanced"), X, X[:, 0] > 0, {}),
    "several labels": (classifier(), X, (X[:, :3] > 0).astype(int), {}),
    "float32": (classifier(norm="rms", dropout=0.2), X.astype(np.float32), LABELS, {}),
    "early stopping": (classifier(early_stopping=True, max_iter=40), X, LABELS, {}),
    "a stop by the loss": (regressor(max_iter=60, tol=0.1, n_iter_no_change=2), X, NUMBERS, {}),
    "lbfgs": (regressor(solver="lbfgs"), X, NUMBERS, {}),
    "an optimiser and a schedule": (
        regressor(solver=optim.SGD(0.01, momentum=0.9), learning_rate=StepLR(2)),
        X,
        NUMBERS,
        {},
    ),
    "callbacks": (regressor(callbacks=[EarlyStopping("loss", patience=1)]), X, NUMBERS, {}),
    "several targets": (regressor(), X, TWO, {}),
    "variances": (regressor("gaussian_nll"), X, NUMBERS, {}),
    "a loss in Python": (regressor(CustomLoss(smooth), early_stopping=True), X, NUMBERS, {}),
    "sparse": (regressor(), sparse.csr_array(X), NUMBERS, {}),
    "weights": (regressor(), X, NUMBERS, {"sample_weight": WEIGHTS}),
    "validation data": (
        regressor(early_stopping=True),
        X,
        NUMBERS,
        {"X_val": X[:20], "y_val": NUMBERS[:20]},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_member_has_the_bits_that_it_would_have_alone(case):
    model, rows, y, arguments = CASES[case]
    assert_alone(clone(model).fit(rows, y, **arguments), rows, y, **arguments)


def test_the_first_members_of_a_larger_ensemble_are_the_same():
    small, large = (regressor(n_members=n).fit(X, NUMBERS) for n in (2, 5))
    np.testing.assert_array_equal(thetas(small), thetas(large)[:2])
    seeds = np.random.RandomState(0).randint(2**31 - 1, size=4)
    assert [member.random_state for member in large.estimators_] == [0, *seeds]
    assert isinstance(large.estimators_[1].random_state, int)


def test_a_random_generator_gives_the_first_member_what_it_gives_one_network():
    model = regressor(random_state=np.random.RandomState(3)).fit(X, NUMBERS)
    alone = regressor(n_members=1, random_state=np.random.RandomState(3)).fit(X, NUMBERS)
    np.testing.assert_array_equal(thetas(model)[0], alone.network_.theta)
    again = regressor(random_state=np.random.RandomState(3)).fit(X, NUMBERS)
    np.testing.assert_array_equal(thetas(model), thetas(again))
    assert len({theta.tobytes() for theta in thetas(model)}) == N
    assert (
        len({theta.tobytes() for theta in thetas(regressor(random_state=None).fit(X, NUMBERS))})
        == N
    )


@pytest.mark.parametrize("n_threads", [1, 2])
def test_the_threads_do_not_change_the_bits(n_threads):
    model = regressor(n_threads=n_threads).fit(X, NUMBERS)
    np.testing.assert_array_equal(thetas(model), thetas(regressor().fit(X, NUMBERS)))


def test_fits_in_several_threads_have_the_same_bits():
    filters = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        models = list(pool.map(lambda _: regressor().fit(X, NUMBERS), range(8)))
    expected = thetas(regressor().fit(X, NUMBERS))
    for model in models:
        np.testing.assert_array_equal(thetas(model), expected)
    assert warnings.filters == filters


class OwnConstructor(MLPRegressor):
    """A subclass whose constructor has other parameters."""

    def __init__(self, units=5):
        super().__init__(hidden_layer_sizes=units, n_members=2, max_iter=3, random_state=0)
        self.units = units


def test_members_of_a_subclass():
    model = OwnConstructor(4).fit(X, NUMBERS)
    assert [type(member) for member in model.estimators_] == [OwnConstructor] * 2
    alone = MLPRegressor(hidden_layer_sizes=4, max_iter=3, random_state=0).fit(X, NUMBERS)
    np.testing.assert_array_equal(model.estimators_[0].predict(X), alone.predict(X))


# ---- predictions --------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["classes", "two classes", "several labels", "float32"])
def test_probabilities_are_the_mean_of_those_of_the_members(case):
    model, rows, y, _ = CASES[case]
    model = clone(model).fit(rows, y)
    p = model.predict_proba(rows)
    each = np.stack([member.predict_proba(rows) for member in model.estimators_])
    assert p.dtype == each.dtype and p.shape == each.shape[1:]
    np.testing.assert_allclose(p, each.mean(axis=0), rtol=10 * np.finfo(p.dtype).eps)
    chosen = (p > 0.5).astype(int) if p.ndim == y.ndim else model.classes_[p.argmax(axis=1)]
    np.testing.assert_array_equal(model.predict(rows), chosen)
    np.testing.assert_array_equal(model.predict_log_proba(rows), np.log(p))
    assert model.score(rows, y) == np.mean((chosen == y).reshape(len(y), -1).all(axis=1))


def test_an_ensemble_of_one_class():
    model = classifier().fit(X, np.full(90, "a"))
    assert (model.predict_proba(X) == 1).all() and set(model.predict(X)) == {"a"}


LOSSES = ["squared_error", "huber", "poisson", "gaussian_nll", "quantile(0.1, 0.5, 0.9)"]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("y", [NUMBERS, TWO], ids=["one target", "two targets"])
def test_the_standard_deviation_is_that_of_the_mixture(loss, y):
    y = np.floor(abs(y)) if loss == "poisson" else y
    model = regressor(loss).fit(X, y)
    mean, std = model.predict(X, return_std=True)
    assert mean.shape == std.shape == y.shape and mean.dtype == std.dtype
    np.testing.assert_array_equal(model.predict(X), mean)
    means = np.stack([member.predict(X) for member in model.estimators_])
    np.testing.assert_allclose(mean, means.mean(axis=0), rtol=1e-12)
    variance = means.var(axis=0)
    if loss == "gaussian_nll":
        stds = [member.predict(X, return_std=True)[1] for member in model.estimators_]
        variance = variance + np.square(stds).mean(axis=0)
    np.testing.assert_allclose(std, np.sqrt(variance), rtol=1e-12)
    assert model.score(X, y) == pytest.approx(1 - ((y - mean) ** 2).mean() / y.var()) or y.ndim == 2


def test_standard_deviations_have_the_dtype_of_the_networks():
    mean, std = regressor().fit(X.astype(np.float32), NUMBERS).predict(X, return_std=True)
    assert mean.dtype == std.dtype == np.float32


def test_quantiles_are_the_means_of_those_of_the_members():
    model = regressor("quantile(0.1, 0.5, 0.9)").fit(X, TWO)
    each = np.stack([member.predict(X, quantiles="all") for member in model.estimators_])
    assert model.predict(X, quantiles=[0.1, 0.9]).shape == (90, 2, 2)
    np.testing.assert_allclose(model.predict(X, quantiles="all"), each.mean(axis=0), rtol=1e-12)
    with pytest.raises(ValueError, match="return_std=True or quantiles, not both"):
        model.predict(X, return_std=True, quantiles=0.5)
    with pytest.raises(ValueError, match="not trained for the quantile 0.3"):
        model.predict(X, quantiles=0.3)


def test_the_error_of_one_network_names_ensembles():
    with pytest.raises(ValueError, match="needs an ensemble, such as n_members=8, or a network"):
        regressor(n_members=1).fit(X, NUMBERS).predict(X, return_std=True)


def test_a_loss_that_names_a_score_scores_the_mean():
    loss = CustomLoss(smooth, score="mae")
    model = regressor(loss).fit(X, NUMBERS)
    assert model.score(X, NUMBERS) == pytest.approx(-abs(model.predict(X) - NUMBERS).mean())


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_predictions_check_their_input(method):
    model = classifier()
    with pytest.raises(NotFittedError):
        getattr(model, method)(X)
    model.fit(X, LABELS)
    with pytest.raises(ValueError, match="X has 2 features, but MLPClassifier is expecting 4"):
        getattr(model, method)(X[:, :2])
    with pytest.raises(ValueError, match="contains NaN"):
        getattr(model, method)(np.full((1, 4), np.nan))
    expected = getattr(model, method)(X)
    np.testing.assert_array_equal(getattr(model, method)(X.tolist()), expected)


# ---- attributes ---------------------------------------------------------------------------

OF_MEMBERS = [
    *("network_", "coefs_", "intercepts_", "loss_curve_", "best_loss_", "t_"),
    *("validation_scores_", "best_validation_score_"),
]


@pytest.mark.parametrize("name", OF_MEMBERS)
def test_what_only_members_have(name):
    model = classifier(early_stopping=True).fit(X, LABELS)
    with pytest.raises(
        AttributeError, match=rf"ensemble, .* members has: estimators_\[0\]\.{name}"
    ):
        getattr(model, name)
    assert not hasattr(model, name) and hasattr(model.estimators_[0], name)
    model.set_params(n_members=1).fit(X, LABELS)
    assert hasattr(model, name) and not hasattr(model, "estimators_")


def test_what_an_ensemble_has():
    model = classifier()
    with pytest.raises(AttributeError, match="no fitted ensemble of n_members > 1: call fit first"):
        model.population_  # noqa: B018
    model.fit(X, LABELS)
    assert isinstance(model.population_, fastbp.Population) and len(model.population_) == N
    assert model.population_[1] is model.estimators_[1].network_
    assert (model.n_layers_, model.n_outputs_, model.out_activation_) == (3, 3, "softmax")
    assert model.n_features_in_ == 4 and model.n_iter_ == 6
    one = clone(model).set_params(n_members=1).fit(X, LABELS)
    with pytest.raises(AttributeError, match="network_ is its network"):
        one.population_  # noqa: B018
    one.set_params(n_members=N).fit(X, LABELS)
    assert {*vars(one)} == {*vars(model)}  # nothing of the single network is left
    np.testing.assert_array_equal(thetas(one), thetas(model))


def test_members_are_estimators_with_the_names_of_the_columns():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    model = classifier().fit(frame, LABELS)
    member = model.estimators_[2]
    assert member.predict_proba(frame).shape == (90, 3)
    assert [*member.feature_names_in_] == [*model.population_[2].feature_names] == list("abcd")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_and_pickles(copied):
    model = regressor("gaussian_nll").fit(X, NUMBERS)
    other = copied(model)
    np.testing.assert_array_equal(other.predict(X, True), model.predict(X, True))
    other.fit(X[:40], NUMBERS[:40])
    assert not np.array_equal(thetas(other), thetas(model))
    assert not hasattr(clone(model), "estimators_") and clone(model).n_members == N


def test_one_file(tmp_path):
    model = regressor().fit(X, NUMBERS)
    model.population_.save(tmp_path / "members.safetensors")
    loaded = fastbp.load(tmp_path / "members.safetensors")
    np.testing.assert_array_equal(loaded.predict_mean(X)[:, 0], model.predict(X))
    np.testing.assert_array_equal(loaded.predict_spread(X)[:, 0], model.predict(X, True)[1])


def test_the_conversion_to_scikit_learn_names_the_members():
    model = regressor().fit(X, NUMBERS)
    match = r"an ensemble of 3: convert its members, estimators_\[0\]"
    with pytest.raises(ValueError, match=match):
        to_sklearn(model)
    theirs = to_sklearn(model.estimators_[1])
    np.testing.assert_allclose(theirs.predict(X), model.estimators_[1].predict(X), rtol=1e-9)


# ---- from one fit to the next -------------------------------------------------------------


def test_warm_starts_continue_with_every_member():
    model = regressor(warm_start=True).fit(X, NUMBERS).fit(X, NUMBERS)
    for member in model.estimators_:
        alone = clone(member).fit(X, NUMBERS).fit(X, NUMBERS)
        np.testing.assert_array_equal(member.network_.theta, alone.network_.theta)
    model.set_params(learning_rate_init=0.1).fit(X, NUMBERS)
    assert all(member._optimizer.lr == 0.1 for member in model.estimators_)


def test_partial_fit_continues_with_every_member():
    model = classifier()
    for rows in (slice(40), slice(40, 90)):
        model.partial_fit(X[rows], LABELS[rows], classes=["a", "b", "c"])
    for k, member in enumerate(model.estimators_):
        alone = classifier(n_members=1, random_state=0 if k == 0 else member.random_state)
        for rows in (slice(40), slice(40, 90)):
            alone.partial_fit(X[rows], LABELS[rows], classes=["a", "b", "c"])
        np.testing.assert_array_equal(member.network_.theta, alone.network_.theta)
        assert member.t_ == 90
    before = thetas(copy.deepcopy(model))
    model.partial_fit(X, LABELS, sample_weight=np.zeros(90))
    np.testing.assert_array_equal(thetas(model), before)


def test_seeds_stay_with_a_random_generator():
    model = regressor(random_state=np.random.RandomState(0), warm_start=True).fit(X, NUMBERS)
    seeds = [member.random_state for member in model.estimators_[1:]]
    model.fit(X, NUMBERS)
    assert [member.random_state for member in model.estimators_[1:]] == seeds


@pytest.mark.parametrize(("before", "after"), [(N, 1), (1, N), (N, 4)])
def test_another_number_of_members_needs_new_ones(before, after):
    model = regressor(n_members=before, warm_start=True).fit(X, NUMBERS).set_params(n_members=after)
    expected = model.predict(X)
    for fit in (model.fit, model.partial_fit):
        with pytest.raises(ValueError, match=f"n_members is now {after}; .* fitted with {before}"):
            fit(X, NUMBERS)
    np.testing.assert_array_equal(model.predict(X), expected)
    model.set_params(warm_start=False).fit(X, NUMBERS)
    assert model._n_fitted() == after


REFUSED = {
    "parameters": ({"alpha": -1.0}, {}, "alpha"),
    "no members": ({"n_members": 0}, {}, "n_members"),
    "half a member": ({"n_members": 2.5}, {}, "n_members"),
    "threads": ({"n_threads": 0}, {}, "n_threads"),
    "layers": ({"hidden_layer_sizes": 7}, {}, "hidden_layer_sizes is now"),
    "weights": ({}, {"sample_weight": -np.ones(90)}, "must not be negative"),
    "validation": ({}, {"X_val": X[:5]}, "y_val"),
    "validation of other columns": ({}, {"X_val": X[:5], "y_val": TWO[:5]}, "y_val has 2 columns"),
    "a callback that cannot begin": (
        {"callbacks": [EarlyStopping("val_loss")]},
        {},
        "val_loss",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_fit_changes_nothing(case):
    options, arguments, match = REFUSED[case]
    model = regressor(warm_start=True).fit(X, NUMBERS)
    model.set_params(**options)
    before, states = vars(model).copy(), [vars(member).copy() for member in model.estimators_]
    weights = [theta.copy() for theta in thetas(model)]
    with pytest.raises((ValueError, TypeError), match=match):
        model.fit(X, NUMBERS, **arguments)
    assert vars(model) == before
    for member, state in zip(model.estimators_, states, strict=True):
        assert vars(member) == state
    np.testing.assert_array_equal(thetas(model), weights)
    fresh = regressor(**options | {"hidden_layer_sizes": 5})
    if case != "layers":
        with pytest.raises((ValueError, TypeError), match=match):
            fresh.fit(X, NUMBERS, **arguments)
        assert not hasattr(fresh, "estimators_")


def test_weights_to_begin_with_are_for_one_network():
    given = regressor(n_members=1).fit(X, NUMBERS).coefs_
    model = regressor(warm_start=True)
    model.coefs_ = given
    with pytest.raises(ValueError, match="coefs_ would make the members of an ensemble equal"):
        model.fit(X, NUMBERS)
    model.set_params(warm_start=False).fit(X, NUMBERS)
    with pytest.raises(AttributeError, match=r"estimators_\[0\].coefs_"):
        model.coefs_ = given
    model.estimators_[1].coefs_ = given
    np.testing.assert_array_equal(model.population_[1].layers[0].W, given[0])


# ---- trouble ------------------------------------------------------------------------------

WILD = {"hidden_layer_sizes": 8, "max_iter": 20, "solver": "sgd", "n_members": 6}


def test_members_that_diverge_are_left_out():
    model = regressor(**WILD, learning_rate_init=0.25)
    with pytest.warns(ConvergenceWarning) as caught:
        model.fit(X, NUMBERS)
    (text,) = {str(each.message) for each in caught if "diverged" in str(each.message)}
    left = [member._number for member in model.estimators_]
    assert 0 < len(left) < 6
    gone = ", ".join(str(k) for k in range(6) if k not in left)
    assert (
        f"{6 - len(left)} of 6 members diverged and are left out of the ensemble ({gone}," in text
    )
    assert "Solver produced non-finite parameter weights" in text
    assert np.isfinite(model.predict(X)).all() and len(model.population_) == len(left)
    tame = regressor(**WILD, learning_rate_init=0.25)
    for member in model.estimators_:  # the others are as they would be alone
        tame.set_params(n_members=1, random_state=member.random_state).fit(X, NUMBERS)
        np.testing.assert_array_equal(member.network_.theta, tame.network_.theta)
    model.set_params(warm_start=True, learning_rate_init=1e-4).fit(X, NUMBERS)
    assert [member._number for member in model.estimators_] == left


@pytest.mark.parametrize("warm_start", [False, True])
def test_an_ensemble_of_which_all_members_diverge(warm_start):
    model = regressor(**WILD, learning_rate_init=1.0, warm_start=warm_start)
    match = "all 6 members diverged; member 0: Solver produced non-finite parameter weights"
    with pytest.raises(ValueError, match=match):
        model.fit(X, NUMBERS)
    assert len(model.estimators_) == 6  # with the weights after the last complete step
    assert all(np.isfinite(theta).all() for theta in thetas(model))


def test_early_stopping_keeps_what_was_best_before_a_divergence():
    model = regressor(**WILD, learning_rate_init=1.0, early_stopping=True)
    with pytest.warns(ConvergenceWarning, match="6 of 6 members; member 0: Training diverged"):
        model.fit(X, NUMBERS)
    assert len(model.estimators_) == 6 and np.isfinite(model.predict(X)).all()


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_one_warning_for_all_members(solver):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        regressor(solver=solver, batch_size=1000, max_iter=2).fit(X, NUMBERS)
    texts = [str(each.message) for each in caught]
    assert sum("3 of 3 members; member 0: " in text for text in texts) == 1
    assert sum("it is clipped to 90" in text for text in texts) == (solver == "adam")
    assert len(texts) == 1 + (solver == "adam")
    assert {each.filename for each in caught} == {__file__}


def test_one_warning_for_data_that_float32_rounds():
    for options, rows in (({}, X.astype(np.float32)), ({"n_members": 1}, X.astype(np.float32))):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            regressor(**options).fit(rows, 1e9 + X[:, 0])
        assert sum("float32" in str(each.message) for each in caught) == 1


class Fails:
    """A callback that raises an exception in the second epoch of one member."""

    def __init__(self, error, calls=4):
        self.error, self.calls = error, calls

    def on_epoch_end(self, epoch, logs):
        self.calls -= 1
        if self.calls == 0:
            raise self.error


def test_an_exception_in_a_callback_ends_the_fit():
    model = regressor(callbacks=[Fails(OSError("disk full"))])
    with pytest.raises(OSError, match="disk full"):
        model.fit(X, NUMBERS)
    assert np.isfinite(model.predict(X)).all()


def test_ctrl_c_keeps_what_the_members_have():
    model = regressor(callbacks=[Fails(KeyboardInterrupt())], max_iter=50)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model.fit(X, NUMBERS)
    assert len(model.estimators_) == N and 1 <= model.n_iter_ < 50
    assert np.isfinite(model.predict(X)).all()


def test_verbose_lines_name_the_member(capsys):
    regressor(verbose=True, max_iter=2).fit(X, NUMBERS)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * N
    assert sum(line.startswith("Member 2: Iteration 1, loss = ") for line in lines) == 1


# ---- searches and Pipelines ---------------------------------------------------------------


def test_searches_have_the_scores_of_scikit_learn():
    grid = {"mlpregressor__n_members": [1, 2, 3], "mlpregressor__alpha": [1e-4, 1.0]}
    model = make_pipeline(StandardScaler(), regressor(early_stopping=True))
    ours = PopulationSearchCV(model, grid, cv=3, return_train_score=True).fit(X, NUMBERS)
    theirs = GridSearchCV(model, grid, cv=3, return_train_score=True).fit(X, NUMBERS)
    for name in ("mean_test_score", "split2_test_score", "mean_train_score"):
        np.testing.assert_array_equal(ours.cv_results_[name], theirs.cv_results_[name])
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_predictions_of_folds_have_those_of_scikit_learn(method):
    model = classifier()
    found = cross_val_population(
        model, X, LABELS, cv=3, method=method, params={"sample_weight": WEIGHTS}
    )
    expected = cross_val_predict(
        model, X, LABELS, cv=3, method=method, params={"sample_weight": WEIGHTS}
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.filterwarnings("ignore:One or more of the test scores:UserWarning")
def test_fits_that_fail_in_a_search_leave_the_others():
    grid = {"learning_rate_init": [1e-3, 1.0], "alpha": [1e-4]}
    model = regressor(**WILD)
    search = PopulationSearchCV(model, grid, cv=3, refit=False)
    with pytest.warns(FitFailedWarning, match="3 fits failed out of a total of 6"):
        search.fit(X, NUMBERS)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores[0]) and np.isnan(scores[1])
    with pytest.raises(ValueError, match="all 6 members diverged"):
        search.set_params(error_score="raise").fit(X, NUMBERS)
    failing = {"callbacks": [[], [Fails(OSError("disk full"))]]}
    search = PopulationSearchCV(regressor(), failing, cv=3, refit=False)
    with pytest.warns(FitFailedWarning, match="fits failed out of a total of 6"):
        search.fit(X, NUMBERS)
    assert np.isfinite(search.cv_results_["mean_test_score"][0])


@pytest.mark.parametrize("early_stopping", [False, True])
def test_halving_scores_ensembles_at_the_rungs(early_stopping):
    model = regressor(early_stopping=early_stopping, max_iter=9)
    grid = {"alpha": [1e-4, 1.0, 10.0], "n_members": [1, 3]}
    search = PopulationSearchCV(model, grid, cv=2, factor=3, min_epochs=3).fit(X, NUMBERS)
    found, first = search.cv_results_, 6
    assert list(found["n_resources"]) == [3] * first + [9] * 2
    for i, params in enumerate(found["params"]):
        alone = clone(model).set_params(**params, max_iter=int(found["n_resources"][i]))
        scores = GridSearchCV(alone, {}, cv=2).fit(X, NUMBERS).cv_results_
        assert found["mean_test_score"][i] == scores["mean_test_score"][0]
    assert search.best_score_ == max(found["mean_test_score"][first:])


@pytest.mark.filterwarnings("ignore:One or more of the test scores:UserWarning")
def test_halving_leaves_out_what_diverges():
    grid = {"learning_rate_init": [1e-3, 0.25, 1.0]}
    model = regressor(**WILD | {"max_iter": 45})
    search = PopulationSearchCV(model, grid, cv=2, factor=3, min_epochs=15, refit=False)
    with pytest.warns(FitFailedWarning):
        search.fit(X, NUMBERS)
    found = search.cv_results_
    rates = [params["learning_rate_init"] for params in found["params"]]
    assert found["n_resources"].tolist() == [15, 15, 15, 45]
    assert np.isnan(found["mean_test_score"][2])
    for i in (0, 1, 3):  # as whole fits of these epochs
        alone = regressor(**WILD | {"max_iter": int(found["n_resources"][i])})
        alone.set_params(learning_rate_init=rates[i])
        scores = GridSearchCV(alone, {}, cv=2).fit(X, NUMBERS).cv_results_
        assert found["mean_test_score"][i] == scores["mean_test_score"][0]


def test_callbacks_of_scikit_learn_see_the_fit():
    pytest.importorskip("sklearn.callback", reason="callbacks exist since scikit-learn 1.9")
    from sklearn.callback import ScoringMonitor

    monitor = ScoringMonitor(scoring="r2")
    model = regressor().set_callbacks(monitor).fit(X, NUMBERS)
    np.testing.assert_array_equal(thetas(model), thetas(regressor().fit(X, NUMBERS)))
    (row,) = monitor.get_logs().data  # of the fit; no network's epochs are those of the ensemble
    assert row["r2"] == pytest.approx(model.score(X, NUMBERS))
