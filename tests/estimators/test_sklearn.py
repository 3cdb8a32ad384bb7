"""fastbp.sklearn against scikit-learn: its checks of estimators, and equal results."""

import copy
import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from estimator_cases import BOTH, THEIRS, data_for, pair
from scipy import sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.inspection import permutation_importance
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_predict, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.utils.estimator_checks import estimator_checks_generator
from sklearn.utils.validation import has_fit_parameter

import fastbp
from fastbp.sklearn import MLPClassifier, MLPRegressor, from_sklearn, to_sklearn

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
since_1_7 = pytest.mark.skipif(
    not has_fit_parameter(THEIRS[MLPClassifier], "sample_weight"),
    reason="weights and the Poisson loss are compared with scikit-learn's, there from 1.7 on",
)

CHECKED = [
    kind(max_iter=50, **options)
    for kind in BOTH
    for options in (
        {},
        {"matmul_precision": "high"},
        {"matmul_precision": "medium"},
        {"n_members": 3},
    )
]


def name_of(part):
    return getattr(part, "func", part).__name__ if callable(part) else type(part).__name__


def suits(estimator, check):
    """Whether a check allows float32: those of weights compare sums to a relative 1e-7."""
    exact = name_of(check).startswith("check_sample_weight_equivalence")
    return estimator.matmul_precision is None or not exact


CHECKS = [
    pair for estimator in CHECKED for pair in estimator_checks_generator(estimator) if suits(*pair)
]


@pytest.mark.parametrize(("estimator", "check"), CHECKS, ids=name_of)
def test_check_estimator(estimator, check):
    check(estimator)


def assert_same_fit(ours, theirs, rtol=1e-4):
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.t_ == theirs.t_
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=rtol)
    for own, other in zip(
        ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True
    ):
        np.testing.assert_allclose(own, other, rtol=100 * rtol, atol=10 * rtol)


SOLVERS = {
    "adam": {},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.01},
    "plain sgd": {"solver": "sgd", "momentum": 0.0},
    "heavy ball": {"solver": "sgd", "nesterovs_momentum": False},
    "batches of 30": {"batch_size": 30},
    "logistic": {"activation": "logistic", "alpha": 0.1},
    "tanh": {"activation": "tanh"},
    "float32": {"activation": "tanh"},
}


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("name", SOLVERS)
def test_training_makes_the_steps_of_scikit_learn(kind, name):
    X, y = data_for(kind)
    rtol = 3e-4 if name == "batches of 30" else 1e-4
    if name == "float32":
        X, rtol = X.astype(np.float32), 1e-3
    ours, theirs = pair(kind, X, y, max_iter=20, **SOLVERS[name])
    assert_same_fit(ours, theirs, rtol)
    assert ours.coefs_[0].dtype == X.dtype


@since_1_7
@pytest.mark.parametrize("kind", BOTH)
def test_sample_weights_agree_with_scikit_learn(kind):
    X, y = data_for(kind)
    weights = np.random.default_rng(0).uniform(0.5, 2, len(X))
    # one batch, because the mean over batches is by weight in fastbp and by samples in scikit-learn
    ours, theirs = pair(kind, X, y, {"sample_weight": weights}, batch_size=len(X), max_iter=20)
    assert_same_fit(ours, theirs)


def test_rates_decrease_by_inverse_scaling():
    X, y = data_for(MLPClassifier)
    kind = {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.5}
    ours, theirs = pair(MLPClassifier, X, y, momentum=0.0, max_iter=15, **kind)
    assert_same_fit(ours, theirs)


def test_adaptive_rates_decrease_and_end_training():
    X, y = data_for(MLPClassifier)
    kind = {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.1}
    ours, theirs = pair(
        MLPClassifier, X, y, momentum=0.0, max_iter=400, n_iter_no_change=2, tol=0.01, **kind
    )
    assert ours.n_iter_ == theirs.n_iter_ < 400


@pytest.mark.filterwarnings("ignore:scipy.optimize:DeprecationWarning")
@pytest.mark.parametrize("kind", BOTH)
def test_lbfgs_finds_the_same_minimum(kind):
    X, y = data_for(kind)
    ours, theirs = pair(kind, X, y, solver="lbfgs", activation="tanh", alpha=1.0, tol=1e-7)
    assert ours.loss_ == pytest.approx(theirs.loss_, rel=5e-3)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=0.1)


@pytest.mark.parametrize("kind", BOTH)
def test_early_stopping_holds_out_the_same_rows(kind):
    X, y = data_for(kind)
    if kind is MLPClassifier:
        y = (y > 0).astype(int)  # with more classes, scikit-learn does not keep proportions
    ours, theirs = pair(kind, X, y, early_stopping=True, max_iter=40, n_iter_no_change=5)
    np.testing.assert_allclose(ours.validation_scores_, theirs.validation_scores_, atol=1e-3)
    assert ours.best_validation_score_ == pytest.approx(theirs.best_validation_score_, abs=1e-3)
    assert ours.best_loss_ is None
    held = ours.validation_scores_.index(max(ours.validation_scores_))
    assert ours.n_iter_ > held


@pytest.mark.parametrize("kind", BOTH)
def test_validation_data_given_by_the_user(kind):
    X, y = data_for(kind)
    model = kind(hidden_layer_sizes=8, early_stopping=True, max_iter=30, random_state=0)
    model.fit(X[:80], y[:80], validation_data=(X[80:], y[80:]))
    assert model.t_ == 80 * model.n_iter_
    assert model.best_validation_score_ == pytest.approx(model.score(X[80:], y[80:]))
    watched = kind(hidden_layer_sizes=8, max_iter=3, random_state=0).fit(
        X, y, validation_data=(X, y)
    )
    assert watched.validation_scores_[-1] == pytest.approx(watched.score(X, y))


@pytest.mark.parametrize("kind", BOTH)
def test_validation_data_in_separate_arguments(kind):
    X, y = data_for(kind)
    weights = np.arange(1.0, len(X) - 79)
    model = kind(hidden_layer_sizes=8, early_stopping=True, max_iter=5, random_state=0)
    model.fit(X[:80], y[:80], X_val=X[80:], y_val=y[80:], sample_weight_val=weights)
    twin = clone(model).fit(X[:80], y[:80], validation_data=(X[80:], y[80:], weights))
    assert model.validation_scores_ == twin.validation_scores_
    with pytest.raises(ValueError, match="X_val without y_val"):
        model.fit(X, y, X_val=X)
    with pytest.raises(ValueError, match="validation_data or X_val and y_val, not both"):
        model.fit(X, y, X_val=X, y_val=y, validation_data=(X, y))
    assert model.validation_scores_ == twin.validation_scores_
    if kind is MLPRegressor:
        before = model.network_.theta.copy()
        model.set_params(warm_start=True)
        with pytest.raises(ValueError, match="y_val has 2 columns; y has 1"):
            model.fit(X, y, X_val=X, y_val=np.stack([y, y], axis=1))
        np.testing.assert_array_equal(model.network_.theta, before)


@pytest.mark.parametrize("kind", BOTH)
def test_a_pipeline_transforms_the_data_for_early_stopping(kind):
    """X_val passes the steps before the estimator, as X does, if transform_input names it."""
    X, y = data_for(kind)
    X = 100 * X + 1000  # without the scaler, the scores differ
    train, held = slice(0, 80), slice(80, None)
    model = kind(hidden_layer_sizes=8, early_stopping=True, max_iter=30, random_state=0)
    scaler = StandardScaler().fit(X[train])
    expected = clone(model).fit(
        scaler.transform(X[train]), y[train], X_val=scaler.transform(X[held]), y_val=y[held]
    )
    with config_context(enable_metadata_routing=True):
        requested = clone(model).set_fit_request(X_val=True, y_val=True)
        pipeline = make_pipeline(StandardScaler(), requested, transform_input=["X_val"])
        pipeline.fit(X[train], y[train], X_val=X[held], y_val=y[held])
        fitted = pipeline[-1]
        assert fitted.t_ == 80 * fitted.n_iter_
        assert fitted.validation_scores_ == expected.validation_scores_
        for ours, other in zip(fitted.coefs_, expected.coefs_, strict=True):
            np.testing.assert_array_equal(ours, other)
        plain = make_pipeline(StandardScaler(), clone(requested))
        plain.fit(X[train], y[train], X_val=X[held], y_val=y[held])
        assert plain[-1].validation_scores_ != expected.validation_scores_


@pytest.mark.parametrize("kind", BOTH)
def test_partial_fit_continues(kind):
    X, y = data_for(kind)
    classes = {"classes": np.unique(y)} if kind is MLPClassifier else {}
    fits = [
        each(hidden_layer_sizes=8, random_state=3, shuffle=False) for each in (kind, THEIRS[kind])
    ]
    for model in fits:
        model.partial_fit(X, y, **classes)
        for _ in range(4):
            model.partial_fit(X, y)
    assert fits[0].t_ == 5 * len(X)
    np.testing.assert_allclose(fits[0].loss_curve_, fits[1].loss_curve_, rtol=1e-4)


@pytest.mark.parametrize("kind", BOTH)
def test_warm_start_continues(kind):
    X, y = data_for(kind)
    fits = [
        each(hidden_layer_sizes=8, random_state=3, shuffle=False, max_iter=4)
        for each in (kind, THEIRS[kind])
    ]
    for model in fits:
        model.set_params(warm_start=True).fit(X, y).fit(X, y)
    np.testing.assert_allclose(fits[0].loss_curve_, fits[1].loss_curve_, rtol=1e-4)
    assert len(fits[0].loss_curve_) == 8
    assert len(fits[0].set_params(warm_start=False).fit(X, y).loss_curve_) == 4


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_a_warm_start_keeps_the_network(solver):
    X, y = data_for(MLPRegressor)
    params = {"hidden_layer_sizes": 6, "max_iter": 3, "random_state": 0, "warm_start": True}
    model = MLPRegressor(solver=solver, **params).fit(X, y)
    net, W = model.network_, model.coefs_
    net.preprocessing, net.layers[0].trainable = {"by": "hand"}, False
    before = [each.copy() for each in W]
    for rows in (40, 31, 100):  # the penalty is alpha / rows of the batch, or of the data
        model.fit(X[:rows], y[:rows])
        assert net.l2 == pytest.approx(1e-4 / rows), rows
    assert model.network_ is net
    np.testing.assert_array_equal(W[0], before[0])
    assert not np.array_equal(W[1], before[1])
    assert W[1] is model.coefs_[1]
    assert not net.layers[0].trainable
    assert net.preprocessing == {"by": "hand"}


def test_several_labels_per_sample():
    X, _ = data_for(MLPClassifier)
    Y = (X[:, :3] + X[:, 3:6] > 0).astype(int)
    ours, theirs = pair(MLPClassifier, X, Y, max_iter=20)
    assert_same_fit(ours, theirs)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-3)
    assert ours.out_activation_ == theirs.out_activation_ == "logistic"


def test_several_outputs():
    X, y = data_for(MLPRegressor)
    ours, theirs = pair(MLPRegressor, X, np.column_stack([y, -y, X[:, 0]]), max_iter=20)
    assert_same_fit(ours, theirs, 1e-3)
    assert ours.predict(X).shape == (len(X), 3)


def test_labels_of_any_kind():
    X, y = data_for(MLPClassifier)
    names = np.array(["apple", "pear", "quince"])[y]
    model = MLPClassifier(8, random_state=0, max_iter=60, learning_rate_init=0.02).fit(X, names)
    assert list(model.classes_) == ["apple", "pear", "quince"]
    assert model.score(X, names) > 0.9
    two = MLPClassifier(8, random_state=0, max_iter=60).fit(X, names == "pear")
    assert two.predict(X).dtype == bool
    assert two.predict_proba(X).shape == (len(X), 2)
    np.testing.assert_allclose(two.predict_proba(X).sum(axis=1), 1)


def test_class_weights_multiply_sample_weights():
    X, y = data_for(MLPClassifier)
    weights = np.array([1.0, 4.0, 0.5])
    by_class = MLPClassifier(8, random_state=0, max_iter=5, class_weight=dict(enumerate(weights)))
    by_sample = MLPClassifier(8, random_state=0, max_iter=5)
    factor = np.linspace(1, 2, len(X))
    by_class.fit(X, y, sample_weight=factor)
    by_sample.fit(X, y, sample_weight=factor * weights[y])
    np.testing.assert_array_equal(by_class.predict_proba(X), by_sample.predict_proba(X))
    balanced = MLPClassifier(8, random_state=0, max_iter=5, class_weight="balanced").fit(X, y)
    counts = np.bincount(y)
    by_sample.fit(X, y, sample_weight=(len(y) / (3 * counts))[y])
    np.testing.assert_allclose(balanced.predict_proba(X), by_sample.predict_proba(X), rtol=1e-9)


@pytest.mark.parametrize("kind", BOTH)
def test_an_activation_per_layer_and_an_optimiser_object(kind):
    X, y = data_for(kind)
    sgd = fastbp.optim.SGD(0.05, momentum=0.8)
    model = kind(
        hidden_layer_sizes=(8, 6),
        activation=["elu(0.5)", "logistic"],
        solver=sgd,
        random_state=0,
        max_iter=5,
    )
    model.fit(X, y)
    assert [str(a) for a in model.network_.activations[:2]] == ["elu(0.5)", "sigmoid"]
    assert sgd.t == 0
    assert model.n_iter_ == 5


@pytest.mark.parametrize(
    "loss", ["mse", "mae", "huber(0.5)", "log_cosh", "quantile(0.3)", "gaussian_nll", "poisson"]
)
def test_losses_of_the_regressor(loss):
    X, y = data_for(MLPRegressor)
    y = np.exp(y / 2)
    model = MLPRegressor(loss, (16,), max_iter=60, learning_rate_init=0.01, random_state=0)
    model.fit(X, y)
    assert model.predict(X).shape == y.shape
    assert model.loss_curve_[-1] < model.loss_curve_[0]
    assert model.score(X, y) == pytest.approx(r2_score(y, model.predict(X)))
    assert model.score(X, y) > 0.2
    assert model.n_outputs_ == 1


def test_several_quantiles():
    X, y = data_for(MLPRegressor)
    model = MLPRegressor("quantile(0.1, 0.9)", (16,), max_iter=150, random_state=0)
    model.set_params(learning_rate_init=0.01, early_stopping=True, n_iter_no_change=150).fit(X, y)
    low, high = model.predict(X, quantiles="all").T
    assert 0.5 < np.mean((low <= y) & (y <= high)) < 1
    assert model.best_validation_score_ < 0  # the negative pinball loss


@since_1_7
def test_poisson_agrees_with_scikit_learn():
    X, y = data_for(MLPRegressor)
    ours, theirs = pair(MLPRegressor, X, np.round(np.exp(y)), loss="poisson", max_iter=20)
    assert ours.out_activation_ == theirs.out_activation_ == "exp"
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-2)


@pytest.mark.parametrize("kind", BOTH)
def test_dropout_norm_and_schedules(kind):
    X, y = data_for(kind)
    params = {"dropout": 0.3, "norm": "layer", "max_iter": 6, "random_state": 0}
    schedule = fastbp.schedules.ExponentialLR(0.5)
    model = kind(hidden_layer_sizes=(8, 6), learning_rate=schedule, **params).fit(X, y)
    hidden = [layer.dense for layer in model.network_.layers[:-1]]
    assert [(d.dropout, d.norm.name) for d in hidden] == [(0.3, "layer")] * 2
    assert schedule.t == 0
    plain = kind(hidden_layer_sizes=(8, 6), **params).fit(X, y)
    assert plain.loss_curve_[0] == model.loss_curve_[0]
    assert plain.loss_curve_[-1] != model.loss_curve_[-1]
    np.testing.assert_array_equal(plain.predict(X), plain.predict(X))


@pytest.mark.parametrize("kind", BOTH)
def test_batch_norm(kind):
    """Also with a last batch of one row, and with early stopping; one row alone is refused."""
    X, y = data_for(kind)
    options = {"norm": fastbp.Norm("batch", momentum=0.3), "max_iter": 5, "random_state": 0}
    size = next(size for size in range(2, len(X)) if len(X) % size == 1)
    model = kind(hidden_layer_sizes=(8, 6), batch_size=size, **options).fit(X, y)
    layer = model.network_.layers[0]
    assert (layer.running_var != 1).all()
    stopped = kind(hidden_layer_sizes=(8,), early_stopping=True, batch_size=size, **options)
    assert np.isfinite(stopped.fit(X, y).best_validation_score_)
    before = layer.running_var.copy()
    with pytest.raises(ValueError, match="batch norm needs at least 2 rows in training"):
        model.set_params(batch_size="auto").partial_fit(X[:1], y[:1])
    np.testing.assert_array_equal(layer.running_var, before)
    for each in model.network_.layers:
        each.trainable = False

    def thaw(epoch, logs):
        layer.trainable = True

    with pytest.raises(ValueError, match="batch norm needs at least 2 rows in training"):
        model.set_params(batch_size=1, warm_start=True, callbacks=[thaw]).fit(X, y)
    assert len(model.loss_curve_) == 6


@pytest.mark.parametrize("optimizer", [fastbp.optim.SGD(0.05, momentum=0.8), fastbp.optim.Adam()])
@pytest.mark.parametrize("cycle_momentum", [True, False])
def test_one_cycle_equals_that_of_a_network(optimizer, cycle_momentum):
    X, y = data_for(MLPRegressor)
    schedule = fastbp.schedules.OneCycleLR(0.1, cycle_momentum=cycle_momentum)
    params = {"hidden_layer_sizes": 6, "random_state": 0, "shuffle": False, "warm_start": True}
    model = MLPRegressor(**params, batch_size=32, solver=optimizer, max_iter=1).fit(X, y)
    net = copy.deepcopy(model.network_)
    model.set_params(max_iter=4, learning_rate=schedule).fit(X, y)
    options = {"optimizer": copy.deepcopy(optimizer), "schedule": schedule, "shuffle": False}
    net.fit(X, y, epochs=4, batch_size=32, **options)
    np.testing.assert_array_equal(model.network_.theta, net.theta)


@pytest.mark.parametrize("kind", BOTH)
def test_lbfgs_and_rates_per_layer(kind):
    X, y = data_for(kind)
    rprop = kind(hidden_layer_sizes=6, solver=fastbp.optim.Rprop(), max_iter=4, batch_size=10)
    assert rprop.fit(X, y)._optimizer.t == 4
    frozen = fastbp.optim.Adam(0.01, lr_factors=(1e-30, 1.0))
    model = kind(hidden_layer_sizes=6, solver=frozen, max_iter=4, random_state=0)
    start = kind(hidden_layer_sizes=6, solver=frozen, max_iter=1, random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.fit(X, y).coefs_[0], start.coefs_[0])
    with pytest.raises(ValueError, match="lr_factors"):
        kind(hidden_layer_sizes=(6, 5), solver=frozen, max_iter=1).fit(X, y)


@pytest.mark.parametrize("kind", BOTH)
def test_attributes(kind):
    X, y = data_for(kind)
    ours, theirs = pair(kind, X, y, max_iter=3)
    public = {name for name in dir(theirs) if name.endswith("_") and not name.startswith("_")}
    assert public <= set(dir(ours))
    for name in ("n_layers_", "n_outputs_", "out_activation_", "n_features_in_", "n_iter_", "t_"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert [W.shape for W in ours.coefs_] == [W.shape for W in theirs.coefs_]
    assert np.shares_memory(ours.coefs_[0], ours.network_.theta)
    with pytest.raises(AttributeError, match="call fit first"):
        list(kind().coefs_)


@pytest.mark.parametrize("kind", BOTH)
def test_defaults_are_those_of_scikit_learn(kind):
    ours, theirs = kind().get_params(), THEIRS[kind]().get_params()
    assert {name: ours[name] for name in theirs} == theirs


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_array])
def test_sparse_rows_give_the_results_of_dense_rows(kind, solver, form):
    X, y = data_for(kind)
    X[np.abs(X) < 0.5] = 0
    params = {"hidden_layer_sizes": 6, "max_iter": 8, "random_state": 0, "solver": solver}
    full = kind(**params).fit(X, y)
    model = kind(**params).fit(form(X), y)
    np.testing.assert_allclose(model.predict(form(X)), full.predict(X), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.coefs_[0], full.coefs_[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", BOTH)
def test_pickle_and_clone(kind):
    X, y = data_for(kind)
    model = kind(hidden_layer_sizes=8, max_iter=3, random_state=0).fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    again.partial_fit(X, y)
    model.partial_fit(X, y)
    np.testing.assert_array_equal(again.coefs_[0], model.coefs_[0])
    assert not hasattr(clone(model), "network_")


def test_estimators_in_tools_of_scikit_learn():
    X, y = data_for(MLPClassifier)
    base = MLPClassifier(8, max_iter=30, learning_rate_init=0.02, random_state=0)
    pipe = make_pipeline(StandardScaler(), base)
    grid = {"mlpclassifier__alpha": [1e-4, 1.0], "mlpclassifier__activation": ["tanh", "relu"]}
    search = GridSearchCV(pipe, grid, cv=2, n_jobs=2, error_score="raise").fit(X, y)
    assert search.best_score_ > 0.8
    assert cross_val_predict(pipe, X, y, cv=2, method="predict_proba").shape == (len(X), 3)
    calibrated = CalibratedClassifierCV(base, cv=2).fit(X, y)
    assert calibrated.score(X, y) > 0.8
    found = permutation_importance(base.fit(X, y), X, y, n_repeats=2, random_state=0)
    assert found.importances_mean.max() > 0
    assert "MLPClassifier" in base._repr_html_()


@pytest.mark.parametrize(
    ("load", "kind"),
    [(load_digits, MLPClassifier), (load_breast_cancer, MLPClassifier)],
)
def test_scores_are_as_good_as_scikit_learns(load, kind):
    X, y = load(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(scale(X), y, random_state=0)
    scores = [
        each(max_iter=15, random_state=1, learning_rate_init=0.005)
        .fit(X_train, y_train)
        .score(X_test, y_test)
        for each in (kind, THEIRS[kind])
    ]
    assert scores[0] == pytest.approx(scores[1], abs=0.02)
    assert scores[0] > 0.9


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_frames_keep_their_column_names(kind, package):
    frames = pytest.importorskip(package, reason=f"{package} is not installed")
    X, y = data_for(kind)
    names = [f"column {j}" for j in range(X.shape[1])]
    frame = frames.DataFrame(dict(zip(names, X.T, strict=True)))
    theirs = THEIRS[kind](hidden_layer_sizes=4, max_iter=2).fit(frame, y)
    model = kind(hidden_layer_sizes=4, max_iter=2, random_state=0).fit(frame, y)
    assert hasattr(model, "feature_names_in_") == hasattr(theirs, "feature_names_in_")
    if not hasattr(theirs, "feature_names_in_"):
        pytest.skip(f"scikit-learn reads the names, and this version none of {package} frames")
    assert list(model.feature_names_in_) == names
    plain = kind(hidden_layer_sizes=4, max_iter=2, random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.predict(frame), plain.predict(X))
    with pytest.warns(UserWarning, match="valid feature names"):
        model.predict(X)
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[names[::-1]])


def test_metadata_is_routed():
    X, y = data_for(MLPClassifier)
    weights = np.linspace(0.1, 3, len(X))
    base = MLPClassifier(4, max_iter=5, random_state=0)
    plain = clone(base).fit(scale(X), y, sample_weight=weights)
    with config_context(enable_metadata_routing=True):
        scaler = StandardScaler().set_fit_request(sample_weight=False)
        pipe = make_pipeline(scaler, base.set_fit_request(sample_weight=True))
        pipe.fit(X, y, sample_weight=weights)
    np.testing.assert_allclose(pipe.predict_proba(X), plain.predict_proba(scale(X)), rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "targets_of"),
    [
        (MLPClassifier, lambda X, y: y),
        (MLPClassifier, lambda X, y: y == 1),
        (MLPClassifier, lambda X, y: np.array(["a", "b", "c"])[y]),
        (MLPClassifier, lambda X, y: (X[:, :3] > 0).astype(int)),
        (MLPRegressor, lambda X, y: X[:, 0]),
        (MLPRegressor, lambda X, y: X[:, :2]),
    ],
    ids=["classes", "two classes", "names", "labels", "number", "numbers"],
)
def test_conversion_from_and_to_scikit_learn(kind, targets_of):
    X, y = data_for(MLPClassifier)
    targets = targets_of(X, y)
    params = {"hidden_layer_sizes": (6, 5), "activation": "logistic", "max_iter": 10}
    theirs = THEIRS[kind](random_state=0, **params).fit(X, targets)
    ours = from_sklearn(theirs)
    again = to_sklearn(ours)
    assert type(again) is THEIRS[kind]
    assert again.get_params() == theirs.get_params()
    for model in (ours, again):
        method = "predict_proba" if kind is MLPClassifier else "predict"
        found, expected = (getattr(each, method)(X) for each in (model, theirs))
        np.testing.assert_allclose(found, expected, rtol=1e-9, err_msg=repr(model))
        assert model.predict(X)[:5].shape == targets[:5].shape, model
        model.partial_fit(X, targets)
        assert model.loss_curve_[-1] < theirs.loss_curve_[0], model
        assert model.t_ == 11 * len(X), model


@pytest.mark.filterwarnings("ignore:scipy.optimize:DeprecationWarning")
@pytest.mark.parametrize("kind", BOTH)
def test_another_solver_continues_from_lbfgs_of_scikit_learn(kind):
    X, y = data_for(kind)
    ours = from_sklearn(THEIRS[kind](solver="lbfgs", random_state=0, max_iter=9).fit(X, y))
    assert ours.set_params(solver="adam").partial_fit(X, y).t_ == len(X)
    assert len(ours.loss_curve_) == 1
    assert ours.set_params(warm_start=True, max_iter=2).fit(X, y).n_iter_ == 2


@pytest.mark.parametrize("kind", BOTH)
def test_callbacks_of_scikit_learn(kind):
    callback = pytest.importorskip("sklearn.callback", reason="scikit-learn is older than 1.9")
    X, y = data_for(kind)
    monitor = callback.ScoringMonitor(scoring="accuracy" if kind is MLPClassifier else "r2")
    model = kind(hidden_layer_sizes=4, max_iter=5, random_state=0)
    model.set_callbacks(monitor).fit(X, y)
    assert not hasattr(model, "_callback_fit_ctx")
    plain = kind(hidden_layer_sizes=4, max_iter=5, random_state=0).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))
    scores = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    name = "accuracy" if kind is MLPClassifier else "r2"
    assert len(scores) == 5
    assert scores[-1][name] == pytest.approx(plain.score(X, y))
