"""The state that estimators keep between fits, and refused fits, which change nothing."""

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV

import fastbp
from fastbp import optim, schedules
from fastbp.callbacks import CSVLogger, EarlyStopping
from fastbp.losses import CustomLoss
from fastbp.sklearn import MLPClassifier, MLPRegressor, to_sklearn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 3))
LABELS = np.arange(40) % 3
NUMBERS = X @ [1.0, 2.0, 3.0]
KINDS = {"classifier": (MLPClassifier, LABELS), "regressor": (MLPRegressor, NUMBERS)}


def make(kind, **options):
    few = {"hidden_layer_sizes": 4, "max_iter": 3, "tol": 1e9, "n_iter_no_change": 1}
    return KINDS[kind][0](**few | {"random_state": 0} | options)


def part(model, kind, rows=slice(None)):
    """One partial_fit."""
    classes = {"classes": [0, 1, 2]} if kind == "classifier" else {}
    return model.partial_fit(X[rows], KINDS[kind][1][rows], **classes)


# ---- refused fits -------------------------------------------------------------------------


def negative(t):
    return -1.0


HOLES = np.where(np.arange(120).reshape(40, 3) == 5, np.nan, X)
BAD_PARAMS = {
    "negative alpha": {"alpha": -1.0},
    "no such solver": {"solver": "newton"},
    "no such activation": {"activation": "swish!"},
    "too many activations": {"activation": ["relu", "tanh"]},
    "no such norm": {"norm": "group"},
    "half a unit": {"hidden_layer_sizes": (4.5,)},
    "no units": {"hidden_layer_sizes": (4, 0)},
    "no such seed": {"random_state": "zero"},
    "callback that is none": {"callbacks": [42]},
    "monitor that is none": {"callbacks": [EarlyStopping("val_auc", mode="max")]},
    "plateau of what is not there": {
        "learning_rate": schedules.ReduceLROnPlateau(monitor="val_score")
    },
    "rate that is none": {"learning_rate": schedules.LambdaLR(negative)},
    "lbfgs with callbacks": {"solver": "lbfgs", "callbacks": [EarlyStopping("loss")]},
    "lbfgs with dropout": {"solver": "lbfgs", "dropout": 0.5},
    "lbfgs in float32": {"solver": "lbfgs", "matmul_precision": "high"},
    "no such precision": {"matmul_precision": "low"},
    "precision that is no name": {"matmul_precision": 8},
    "factors of other layers": {"solver": optim.SGD(0.1, lr_factors=(1.0, 2.0, 3.0))},
    "log in a folder that is missing": {"callbacks": [CSVLogger("missing/log.csv")]},
}
BAD_ARGUMENTS = {
    "hole in X": lambda y: (HOLES, y),
    "columns": lambda y: (X[:, 0], y),
    "rows": lambda y: (X, y[:-1]),
    "text": lambda y: ([["a", "b", "c"]] * 40, y),
    "hole in y": lambda y: (X, np.where(np.arange(40) == 3, np.nan, y)),
    "masked": lambda y: (np.ma.masked_greater(X, 0), y),
    "weights of other rows": lambda y: (X, y, np.ones(39)),
    "negative weights": lambda y: (X, y, -np.ones(40)),
    "other columns": lambda y: (X[:, :2], y),
}


CALLBACKS = ("callbacks", "_skl_callbacks")


def state(model):
    """Every attribute except the callbacks, including the bits of theta and the moments."""
    known = {name: v for name, v in vars(model).items() if name not in CALLBACKS}
    return pickle.dumps(known)


def assert_unchanged(model, before, fitted, change):
    with pytest.raises((ValueError, TypeError, OSError)):
        change()
    assert state(model) == before
    if not fitted:
        with pytest.raises(NotFittedError):
            model.predict(X)


REFUSALS = [
    pytest.param(bad, kind, fitted, method, id=f"{bad}-{kind}-{fitted}-{method}")
    for bad in BAD_ARGUMENTS
    for kind in KINDS
    for fitted in ("unfitted", "fitted")
    for method in ("fit", "partial_fit")
    # a fit and a first partial_fit accept any number of columns
    if bad != "other columns" or (fitted, method) == ("fitted", "partial_fit")
]


@pytest.mark.parametrize(("bad", "kind", "fitted", "method"), REFUSALS)
def test_refused_arguments_change_nothing(bad, kind, fitted, method):
    model = make(kind)
    fitted = fitted == "fitted"
    if fitted:
        part(model, kind)
    arguments = BAD_ARGUMENTS[bad](KINDS[kind][1])
    if method == "partial_fit" and kind == "classifier":
        arguments = (*arguments, None)[:3] + ([0, 1, 2],)
    before = state(model)
    call = getattr(model, method)
    assert_unchanged(model, before, fitted, lambda: call(*arguments))


def test_refused_frames_do_not_change_the_column_names():
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    model = make("classifier").fit(frame, LABELS)
    before = state(model)
    for other in (frame.assign(d=np.nan), HOLES):
        with pytest.raises(ValueError, match="NaN"):
            model.fit(other, LABELS)
        assert state(model) == before
    with pytest.raises(ValueError, match="feature names"):
        model.partial_fit(frame.rename(columns={"a": "z"}), LABELS)
    assert state(model) == before


@pytest.mark.parametrize("method", ["fit", "partial_fit", "warm fit"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", BAD_PARAMS)
def test_refused_parameters_change_nothing(bad, kind, method):
    lbfgs = BAD_PARAMS[bad].get("solver") == "lbfgs"
    for fitted in (False, True):
        model = make(kind, warm_start=method == "warm fit")
        if fitted:
            part(model, kind)
        model.set_params(**BAD_PARAMS[bad])
        before = state(model)
        if method == "partial_fit":
            if lbfgs:
                continue  # this estimator has no partial_fit
            assert_unchanged(model, before, fitted, lambda model=model: part(model, kind))
        else:
            assert_unchanged(
                model, before, fitted, lambda model=model: model.fit(X, KINDS[kind][1])
            )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "data",
    [
        (X, LABELS[:-1]),
        (X[:, :2], LABELS),
        (HOLES, LABELS),
        (X,),
        (X, LABELS + 7.5),
        (X, LABELS, -np.ones(40)),
        (X, LABELS, np.zeros(40)),
    ],
    ids=["rows", "columns", "hole", "no targets", "classes", "negative weights", "no weight"],
)
def test_refused_validation_data_do_not_change_the_network(kind, data):
    if kind == "regressor" and len(data) == 2 and np.shape(data[1]) == (40,):
        data = (data[0], np.where(data[1] == data[1][0], np.inf, data[1]))
    model = make(kind, random_state=None).fit(X, KINDS[kind][1])
    before = state(model)
    with pytest.raises((ValueError, TypeError)):
        model.fit(X, KINDS[kind][1], validation_data=data)
    assert state(model) == before


def test_a_refused_fit_does_not_use_the_random_state_of_the_caller():
    rng = np.random.RandomState(5)
    model = make("classifier", random_state=rng)
    expected = rng.get_state()[1].copy()
    with pytest.raises(ValueError):
        model.fit(X, LABELS, validation_data=(X, LABELS[1:]))
    np.testing.assert_array_equal(rng.get_state()[1], expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rule", [schedules.CosineAnnealingLR(per="step"), "invscaling"])
def test_a_refused_partial_fit_does_not_change_penalty_and_rate(kind, rule):
    """They depend on the number of rows of the batch."""
    model = part(make(kind, solver="sgd", learning_rate=rule), kind)
    twin = pickle.loads(pickle.dumps(model))
    changes = {"alpha": 9.0, "power_t": 0.1}
    model.set_params(callbacks=[CSVLogger("missing/log.csv")], **changes)
    before = state(model)
    with pytest.raises(FileNotFoundError):
        part(model, kind, rows=slice(9))
    assert state(model) == before
    for each in (model, twin):
        part(each.set_params(callbacks=(), **changes), kind)
    np.testing.assert_array_equal(model.network_.theta, twin.network_.theta)


@pytest.mark.parametrize("kind", KINDS)
def test_callbacks_are_not_called_for_a_refused_fit(kind):
    calls = []

    class Recorder:
        def on_fit_begin(self, net):
            calls.append("begin")

        def on_fit_end(self, net):
            calls.append("end")

    model = make(kind, callbacks=[Recorder()]).fit(X, KINDS[kind][1])
    assert calls == ["begin", "end"]
    with pytest.raises(ValueError):
        model.fit(HOLES, KINDS[kind][1])
    assert calls == ["begin", "end"]


@pytest.mark.parametrize("kind", KINDS)
def test_callbacks_of_scikit_learn_that_fail_change_nothing(kind):
    callback = pytest.importorskip("sklearn.callback", reason="scikit-learn is older than 1.9")
    model = part(make(kind), kind)
    before = state(model)
    model.set_callbacks(callback.ScoringMonitor(scoring="nonsense"))
    for call in (lambda: part(model, kind), lambda: model.fit(X, KINDS[kind][1])):
        with pytest.raises(ValueError, match="'nonsense' is not a valid scoring"):
            call()
        assert state(model) == before


def test_classes_of_a_refused_first_partial_fit_are_not_kept():
    model = make("classifier")
    with pytest.raises(ValueError, match="classes not in"):
        model.partial_fit(X, LABELS, classes=[0, 1])
    assert not hasattr(model, "classes_")
    assert part(model, "classifier").classes_.tolist() == [0, 1, 2]


# ---- between fits -------------------------------------------------------------------------

SCHEDULES = {
    "steps": lambda: schedules.StepLR(2, 0.5),
    "each step": lambda: schedules.ExponentialLR(0.9, per="step"),
    "warm-up": lambda: schedules.Warmup(schedules.CosineAnnealingLR(T_max=3), 3),
    "plateau": lambda: schedules.ReduceLROnPlateau(patience=1, threshold=1e9),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules_continue_over_partial_fits(kind, schedule):
    """The result equals one fit of as many epochs on the same rows."""
    options = {"shuffle": False, "solver": "sgd", "learning_rate": SCHEDULES[schedule]()}
    parts = make(kind, **options)
    for _ in range(6):
        part(parts, kind)
        parts = pickle.loads(pickle.dumps(parts))
    options = {**options, "max_iter": 6, "tol": 0, "n_iter_no_change": 99}
    whole = make(kind, **options)
    with pytest.warns(Warning, match="Maximum iterations"):
        whole.fit(X, KINDS[kind][1])
    np.testing.assert_array_equal(parts.network_.theta, whole.network_.theta)
    assert parts.learning_rate.t == 0, "the schedule of the caller has changed"


WARM = {
    "fixed steps": (lambda: schedules.StepLR(2, 0.5), 6),
    "inverse scaling": (schedules.InverseScaling, 6),
    "warm-up, then decay": (lambda: schedules.Warmup(schedules.ExponentialLR(0.5), 2), 6),
    "one cycle": (schedules.OneCycleLR, 2),
    "warm-up, then cosine": (lambda: schedules.Warmup("cosine", 1), 2),
    "plateau": (schedules.ReduceLROnPlateau, 2),
}


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("schedule", WARM)
def test_schedules_over_warm_starts(schedule):
    """Schedules of t continue, as "invscaling"; schedules of one fit start again, as "adaptive"."""
    made, counts = WARM[schedule][0](), WARM[schedule][1]
    model = make("regressor", solver="sgd", learning_rate=made, warm_start=True, max_iter=2, tol=0)
    for _ in range(3):
        model.fit(X, NUMBERS)
    assert model._schedule.t == counts
    model.set_params(warm_start=False).fit(X, NUMBERS)
    assert model._schedule.t == 2, "a fit without a warm start has not restarted it"


def test_another_schedule_starts_at_t_0():
    model = make("regressor", solver="sgd", learning_rate=schedules.StepLR(1, 0.1))
    for _ in range(3):
        part(model, "regressor")
    model.set_params(learning_rate=schedules.StepLR(5, 0.1))
    assert part(model, "regressor")._schedule.t == 1


CHANGES = {
    "learning_rate_init": {"learning_rate_init": 0.3},
    "momentum": {"momentum": 0.2},
    "nesterov": {"nesterovs_momentum": False},
    "batch_size": {"batch_size": 7},
    "alpha": {"alpha": 3.0},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", CHANGES)
def test_changed_rates_and_penalties_take_effect(kind, change):
    model = part(make(kind, solver="sgd"), kind)
    other = pickle.loads(pickle.dumps(model))
    steps = model._optimizer.t
    part(model.set_params(**CHANGES[change]), kind)
    part(other, kind)
    assert (model.network_.theta != other.network_.theta).any()
    assert model._optimizer.t > steps, "the optimiser has lost its state"


def test_the_optimiser_keeps_its_state_if_its_parameters_change():
    model = part(make("regressor", shuffle=False), "regressor")
    twin = pickle.loads(pickle.dumps(model))
    model.set_params(learning_rate_init=0.05, beta_2=0.9, epsilon=1e-3)
    twin._optimizer.lr, twin._optimizer.betas, twin._optimizer.eps = 0.05, (0.9, 0.9), 1e-3
    for each in (model, twin):
        part(each, "regressor")
    np.testing.assert_array_equal(model.network_.theta, twin.network_.theta)


def test_momentum_may_be_turned_off_and_on():
    model = part(make("regressor", solver="sgd", shuffle=False), "regressor")
    theta = model.network_.theta.copy()
    part(model.set_params(momentum=0.0), "regressor")
    J, net = model.loss_curve_[-1], make("regressor", solver="sgd", momentum=0.0, shuffle=False)
    part(net, "regressor")
    net.network_.theta = theta
    part(net, "regressor")
    assert net.loss_curve_[-1] == J
    np.testing.assert_array_equal(model.network_.theta, net.network_.theta)
    assert part(model.set_params(momentum=0.5), "regressor")._optimizer.momentum == 0.5


def fallen(rule):
    """A regressor after five calls of partial_fit with a decreasing rate, and that rate."""
    model = make("regressor", solver="sgd", learning_rate=rule, learning_rate_init=0.1)
    for _ in range(5):
        part(model, "regressor")
    assert model._optimizer.lr < 0.1
    return model, model._optimizer.lr


def test_a_reduced_rate_stays_if_another_parameter_changes():
    model, rate = fallen("adaptive")
    part(model.set_params(momentum=0.5, n_iter_no_change=9), "regressor")
    assert (model._optimizer.lr, model._optimizer.momentum) == (rate, 0.5)


@pytest.mark.parametrize("rule", ["adaptive", "invscaling"])
def test_another_rule_for_the_rate_starts_with_its_own_rate(rule):
    model, _ = fallen(rule)
    part(model.set_params(learning_rate="constant"), "regressor")
    assert model._optimizer.lr == 0.1


@pytest.mark.parametrize(
    ("change", "rate"),
    [({"learning_rate_init": 0.4}, 0.4 / 201**0.5), ({"power_t": 0.25}, 0.1 / 201**0.25)],
)
def test_inverse_scaling_keeps_its_count_if_parameters_change(change, rate):
    model, _ = fallen("invscaling")
    model.set_params(momentum=0.0, **change)
    twin = pickle.loads(pickle.dumps(model)).set_params(
        learning_rate="constant", learning_rate_init=rate
    )
    for each in (model, twin):
        part(each, "regressor")
    np.testing.assert_array_equal(model.network_.theta, twin.network_.theta)


def test_another_solver_starts_with_a_new_state():
    model = part(make("regressor", solver="sgd"), "regressor")
    theta = model.network_.theta
    optimizer = part(model.set_params(solver="adam"), "regressor")._optimizer
    assert (type(optimizer), optimizer.t) == (optim.Adam, 1)
    assert model.network_.theta is theta


@pytest.mark.parametrize("how", ["partial_fit", "warm fit"])
@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("classifier", {"hidden_layer_sizes": (5,)}, r"hidden_layer_sizes is now \[5\]; the net"),
        ("classifier", {"hidden_layer_sizes": (4, 4)}, r"hidden_layer_sizes is now \[4, 4\]"),
        ("regressor", {"activation": "tanh"}, r"activation is now \['tanh'\]; .* \['relu'\]"),
        ("regressor", {"dropout": 0.5}, r"dropout is now \[0.5\]; .* with \[0.0\]"),
        ("regressor", {"norm": "layer"}, "norm is now"),
        ("regressor", {"loss": "huber"}, "loss is now huber; .* squared_error"),
        ("regressor", {"loss": "huber(2.0)"}, r"loss is now huber\(delta=2.0\)"),
        ("regressor", {"matmul_precision": "high"}, "matmul_precision is now 'high'; .* float64"),
    ],
)
def test_changes_that_need_another_network_are_refused(how, kind, change, message):
    model = part(make(kind, warm_start=True), kind).set_params(**change)
    before = state(model)
    with pytest.raises(ValueError, match=message + ".*call fit with warm_start=False"):
        part(model, kind) if how == "partial_fit" else model.fit(X, KINDS[kind][1])
    assert state(model) == before
    model.set_params(warm_start=False).fit(X, KINDS[kind][1])
    clone(model).fit(X, KINDS[kind][1])


def scaled(factor):
    """A custom loss; all of them have the same name."""

    def half_squares(a, y):
        return factor * ((a - y) ** 2 / 2).sum(axis=1), factor * (a - y)

    return CustomLoss(half_squares)


def test_a_custom_loss_with_the_same_name_is_another_loss():
    model = part(make("regressor", loss=scaled(1.0)), "regressor")
    part(model, "regressor")
    with pytest.raises(ValueError, match="loss is now another half_squares; .* with half_squares"):
        part(model.set_params(loss=scaled(2.0)), "regressor")


def test_scores_use_the_loss_of_the_training():
    model = make("regressor", loss="quantile(0.1, 0.9)", learning_rate_init=0.1).fit(X, NUMBERS)
    score, quantiles = model.score(X, NUMBERS), model.predict(X, quantiles="all")
    model.set_params(loss="squared_error")
    assert model.score(X, NUMBERS) == score
    np.testing.assert_array_equal(model.predict(X, quantiles="all"), quantiles)


@pytest.mark.parametrize("precision", ["high", "medium"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_precision_that_rounds_makes_a_float32_network(kind, precision):
    model = make(kind, matmul_precision=precision).fit(X, KINDS[kind][1])
    assert model.network_.matmul_precision == precision
    assert model.network_.dtype == np.float32
    assert clone(model).get_params()["matmul_precision"] == precision
    theirs = to_sklearn(model)
    np.testing.assert_array_equal(theirs.coefs_[0], model.coefs_[0])


def test_highest_and_none_keep_the_dtype_of_the_data():
    fastbp.set_float32_matmul_precision("medium")
    try:
        for precision, of_float32 in (("highest", "highest"), (None, "medium")):
            model = make("regressor", matmul_precision=precision)
            for dtype, expected in (("float64", "highest"), ("float32", of_float32)):
                net = model.fit(X.astype(dtype), NUMBERS).network_
                assert (net.dtype, net.matmul_precision) == (dtype, expected)
    finally:
        fastbp.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("kind", KINDS)
def test_another_precision_takes_effect_in_the_same_network(kind):
    model = part(make(kind, matmul_precision="high"), kind)
    net, optimizer = model.network_, model._optimizer
    part(model.set_params(matmul_precision="medium"), kind)
    assert model.network_ is net and net.matmul_precision == "medium"
    assert model._optimizer is optimizer and optimizer.t == 2
    part(model.set_params(matmul_precision=None), kind)
    assert net.matmul_precision == "medium"  # as the network is
    before = state(model)
    model.set_params(matmul_precision="high", learning_rate=schedules.LambdaLR(negative))
    with pytest.raises(ValueError):
        part(model, kind)
    assert net.matmul_precision == "medium"
    model.set_params(matmul_precision=None, learning_rate="constant")
    assert state(model) == before


def test_a_search_tries_precisions():
    grid = {"matmul_precision": ["highest", "high", "medium"]}
    search = GridSearchCV(make("regressor"), grid, cv=2).fit(X, NUMBERS)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.network_.matmul_precision in grid["matmul_precision"]


def test_aliases_do_not_need_another_network():
    model = make("classifier", activation="logistic", warm_start=True).fit(X, LABELS)
    model.set_params(activation=["sigmoid"], hidden_layer_sizes=[4]).fit(X, LABELS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", [True, False])
def test_early_stopping_may_change_between_warm_fits(kind, first):
    model = make(kind, warm_start=True, early_stopping=first).fit(X, KINDS[kind][1])
    model.set_params(early_stopping=not first).fit(X, KINDS[kind][1])
    assert len(model.loss_curve_) >= 2
    again = model if first else model.set_params(early_stopping=False).fit(X, KINDS[kind][1])
    assert (again.validation_scores_, again.best_validation_score_) == (None, None)
    assert again.best_loss_ == min(again.loss_curve_[-model.n_iter_ :])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("early_stopping", [False, True])
def test_an_exception_in_training_keeps_the_weights_so_far(kind, early_stopping):
    seen = []

    def stop(epoch, logs):
        seen.append((model.network_.theta.copy(), logs.get("val_score", epoch)))
        if epoch == 4:
            raise RuntimeError("enough")

    options = {"learning_rate_init": 0.5, "tol": 0.0, "n_iter_no_change": 99, "max_iter": 9}
    model = make(kind, callbacks=[stop], early_stopping=early_stopping, **options)
    with pytest.raises(RuntimeError, match="enough"):
        model.fit(X, KINDS[kind][1])
    assert model.n_iter_ == len(model.loss_curve_) == 5
    expected = max(seen, key=lambda each: each[1])[0]
    np.testing.assert_array_equal(model.network_.theta, expected)
    assert len(model.set_params(callbacks=()).predict(X)) == 40


def test_partial_fit_after_a_warm_start_does_not_need_all_classes():
    model = make("classifier", warm_start=True)
    part(model, "classifier")
    part(model, "classifier", rows=LABELS < 2)
    with pytest.raises(ValueError, match="warm_start can only be used where `y` has the same"):
        model.fit(X, LABELS % 2)


@pytest.mark.parametrize("name", ["X", "y"])
def test_numbers_beyond_float32_name_a_way_that_the_estimator_has(name):
    wide = {"X": X.copy(), "y": NUMBERS.copy()}
    wide[name][3] = 1e300
    rounding, narrow = make("regressor", matmul_precision="medium"), make("regressor")
    message = f"{name} holds 1e.300.*beyond float32.*: scale {name}, or "
    with pytest.raises(ValueError, match=message + "leave matmul_precision out$"):
        rounding.fit(**wide)
    with pytest.raises(ValueError, match=message + "fit a new estimator to float64 data$"):
        narrow.partial_fit(X.astype(np.float32), NUMBERS).partial_fit(**wide)
    clone(rounding).set_params(matmul_precision=None).fit(X, NUMBERS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_callbacks_cannot_set_the_precision(kind):
    class Change:
        def on_epoch_end(self, epoch, logs):
            model.network_.matmul_precision = "medium"

    model = make(kind, callbacks=[Change()], matmul_precision="high")
    with pytest.raises(RuntimeError, match="a fit of this network is running"):
        model.fit(X, KINDS[kind][1])
    model.network_.matmul_precision = "medium"


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_lbfgs_refuses_a_network_that_rounds_factors():
    pytest.importorskip("scipy", reason="SciPy is not installed")
    model = make("regressor", matmul_precision="medium", warm_start=True).fit(X, NUMBERS)
    model.set_params(solver="lbfgs", matmul_precision=None)
    with pytest.raises(ValueError, match="network has 'medium': set its matmul_precision"):
        model.fit(X, NUMBERS)
    model.set_params(matmul_precision="highest").fit(X, NUMBERS)
    assert model.network_.matmul_precision == "highest"
