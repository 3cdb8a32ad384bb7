"""TabularClassifier and TabularRegressor: the checks and the tools of scikit-learn."""

import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn import config_context
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.estimator_checks import estimator_checks_generator

import fastbp
from fastbp.errors import DataError
from fastbp.sklearn import TabularClassifier, TabularRegressor
from fastbp.tabular import TableEncoder, TableModel, _ensemble

pytestmark = pytest.mark.once

BOTH = [TabularClassifier, TabularRegressor]
KINDS = pytest.mark.parametrize("kind", BOTH)
_WEIGHTS = "a row of weight 2 is in one fold, and a row that is there twice may be in two"
EXPECTED_FAILURES = {"check_sample_weight_equivalence_on_dense_data": _WEIGHTS}


def quick(kind, **options):
    chosen = {"preset": "fast", "n_members": 2, "max_iter": 4, "random_state": 0}
    return kind(**(chosen | options))


def name_of(part):
    return getattr(part, "func", part).__name__ if callable(part) else type(part).__name__


CHECKS = [
    pytest.param(
        *pair,
        marks=[
            pytest.mark.xfail(reason=reason, strict=True)
            for check, reason in EXPECTED_FAILURES.items()
            if check == name_of(pair[1])
        ],
    )
    for kind in BOTH
    for pair in estimator_checks_generator(quick(kind, max_iter=30, random_state=None))
]


@pytest.mark.parametrize(("estimator", "check"), CHECKS, ids=name_of)
def test_check_estimator(estimator, check):
    check(estimator)


# ---- frames -------------------------------------------------------------------------------


def frame(n=150, seed=0):
    """A frame of pandas with columns of every type, with holes in each; and targets."""
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 80, n).astype(float)
    plan = rng.choice(["basic", "pro", "gold"], n)
    X = pandas.DataFrame(
        {
            "age": age,
            "visits": pandas.array(rng.integers(0, 9, n), dtype="Int64"),
            "plan": pandas.Series(plan, dtype="category"),
            "city": rng.choice(["Köln", "Bonn", "Ulm"], n),
            "paid": pandas.array(rng.random(n) > 0.5, dtype="boolean"),
            "active": rng.random(n) > 0.5,
            "joined": pandas.Timestamp("2020-01-01")
            + pandas.to_timedelta(rng.integers(0, 900, n), "D"),
        }
    )
    number = age / 10 + 3 * (plan == "pro")
    for name in X.columns.drop("active"):
        X.loc[rng.random(n) < 0.1, name] = None
    return X, np.where(number > 6, "yes", "no"), number


def target_of(kind, data):
    return data[1] if kind is TabularClassifier else data[2]


@KINDS
def test_frames_with_every_type_and_holes(kind):
    data, new = frame(), frame(60, 1)
    model = kind("fast", random_state=0).fit(data[0], target_of(kind, data))
    assert model.n_features_in_ == 7
    assert model.feature_names_in_.tolist() == list(data[0].columns)
    assert model.score(new[0], target_of(kind, new)) > 0.6
    assert model.predict(new[0]).shape == (60,)
    importances = model.feature_importances_
    assert importances.shape == (7,)
    assert set(np.argsort(importances)[-2:]) <= {0, 1, 2}
    assert importances.sum() == pytest.approx(1)
    kinds = model.model_.encoder.kinds
    assert [kinds[name] for name in ("age", "plan", "joined")] == ["number", "text", "date"]
    unseen = new[0].assign(plan="platinum", city=None)
    with pytest.warns(UserWarning, match="column 'plan': training has seen none of its 60 texts"):
        assert len(model.predict(unseen)) == 60


def test_a_frame_of_polars_gives_the_same_bits():
    polars = pytest.importorskip("polars")
    X, _, y = frame()
    X = X[["age", "city", "active", "joined"]]
    other = polars.DataFrame(
        {
            "age": polars.Series(X["age"].to_numpy()).fill_nan(None),
            "city": X["city"].astype(object).where(X["city"].notna(), None).tolist(),
            "active": X["active"].tolist(),
            "joined": X["joined"].to_numpy(),
        }
    )
    ours, theirs = (quick(TabularRegressor).fit(each, y).predict(each) for each in (X, other))
    np.testing.assert_array_equal(ours, theirs)


@KINDS
def test_names_of_columns_are_checked(kind):
    data = frame()
    model = quick(kind).fit(data[0], target_of(kind, data))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(data[0][data[0].columns[::-1]])
    with pytest.raises(ValueError, match="feature names"):
        model.predict(data[0].rename(columns={"age": "years"}))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(data[0].drop(columns="age"))
    unnamed = pytest.warns(UserWarning, match="does not have valid feature names")
    with unnamed, pytest.raises(DataError, match="missing"):
        model.predict(data[0].to_numpy(object))


def test_the_model_is_that_of_tabular():
    X, y, _ = frame()
    model = quick(TabularClassifier, random_state=3).fit(X, y)
    seed = int(np.random.RandomState(3).randint(2**31))
    alone = TableModel("fast", n_members=2, epochs=4, seed=seed).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(X), alone.predict_proba(X), rtol=1e-6)
    assert model.histories_ == model.model_.histories
    assert model.n_iter_ == 4


# ---- labels and weights -------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [[0, 1], [-3, 7], [0.0, 1.0], [True, False], ["b", "a"], ["a", "b", "c"], [2, 0, 1]],
)
def test_labels_keep_their_type(labels):
    X = np.random.default_rng(0).normal(size=(90, 2))
    y = np.array(labels)[np.arange(90) % len(labels)]
    model = quick(TabularClassifier).fit(X, y)
    np.testing.assert_array_equal(model.classes_, np.unique(y))
    assert model.predict(X).dtype == model.classes_.dtype == y.dtype
    probabilities = model.predict_proba(X)
    assert probabilities.shape == (90, len(labels))
    np.testing.assert_array_equal(np.log(probabilities), model.predict_log_proba(X))
    assert model.score(X, y) == (model.predict(X) == y).mean()


@pytest.mark.parametrize("dtype", ["Int64", "boolean", "string", "category"])
def test_labels_of_pandas(dtype):
    pandas = pytest.importorskip("pandas")
    X = np.random.default_rng(0).normal(size=(60, 2))
    values = {"Int64": [1, 2], "boolean": [True, False]}.get(dtype, ["a", "b"])
    model = quick(TabularClassifier).fit(X, pandas.Series(values * 30, dtype=dtype))
    assert model.classes_.tolist() == sorted(values)


def test_classes_without_weight_are_left_out():
    X = np.random.default_rng(0).normal(size=(90, 2))
    y = np.array(["a", "b", "c"])[np.arange(90) % 3]
    weighed = quick(TabularClassifier).fit(X, y, sample_weight=(y != "b").astype(float))
    for model in (
        weighed,
        quick(TabularClassifier, class_weight={"a": 1, "b": 0, "c": 1}).fit(X, y),
    ):
        assert model.classes_.tolist() == ["a", "c"]
        assert model.predict_proba(X).shape == (90, 2)
        assert set(model.predict(X)) <= {"a", "c"}
    only = quick(TabularClassifier).fit(X[y != "b"], y[y != "b"])
    np.testing.assert_allclose(weighed.predict_proba(X), only.predict_proba(X), rtol=1e-6)
    with pytest.raises(ValueError, match="only one class, 'b'"):
        quick(TabularClassifier).fit(X, y, sample_weight=(y == "b").astype(float))


def test_class_weights():
    X = np.random.default_rng(0).normal(size=(200, 1))
    y = (np.arange(200) % 10 == 0).astype(int)
    plain = TabularClassifier("fast", random_state=0).fit(X, y)
    balanced = TabularClassifier("fast", class_weight="balanced", random_state=0).fit(X, y)
    assert plain.predict_proba(X)[:, 1].mean() < 0.2
    assert balanced.predict_proba(X)[:, 1].mean() > 0.35
    given = {0: 200 / 2 / 180, 1: 200 / 2 / 20}
    same = TabularClassifier("fast", class_weight=given, random_state=0).fit(X, y)
    np.testing.assert_allclose(same.predict_proba(X), balanced.predict_proba(X), rtol=1e-5)


@KINDS
def test_texts_of_many_levels_are_embedded_on_request(kind):
    rng = np.random.default_rng(0)
    shop = rng.permutation(1500) % 300
    frame = pytest.importorskip("pandas").DataFrame
    X = frame({"x": rng.normal(size=1500), "shop": [f"shop {i}" for i in shop]})
    y = rng.normal(size=300)[shop] + X["x"].to_numpy()
    y = y if kind is TabularRegressor else y > 0
    options = {"high_cardinality": "codes", "embedding_width": 3}
    model = quick(kind, **options).fit(X, y)
    assert model.model_.encoder.code_levels == (300,)
    assert model.model_.networks[0].dense[0].categories.width == (3,)
    assert model.feature_importances_.sum() == pytest.approx(1)
    assert clone(model).get_params()["embedding_width"] == 3
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))


@KINDS
def test_arguments_that_are_refused(kind):
    X = np.random.default_rng(0).normal(size=(60, 2))
    y = X[:, 0] if kind is TabularRegressor else (X[:, 0] > 0).astype(int)

    def refused(match, *args, options=(), error=ValueError, **keywords):
        with pytest.raises(error, match=match):
            quick(kind, **dict(options)).fit(*args, **keywords)

    refused("preset", X, y, options={"preset": "slow"})
    refused("n_members", X, y, options={"n_members": 0})
    refused("max_iter", X, y, options={"max_iter": 1.5})
    refused("encoder", X, y, options={"encoder": "robust"})
    refused("high_cardinality", X, y, options={"high_cardinality": "hash"})
    refused("embedding_width", X, y, options={"embedding_width": 0})
    refused("embedding_width", X, y, options={"embedding_width": 4097})
    for name in ("n_members", "max_iter", "embedding_width", "time_limit", "n_threads"):
        refused(name, X, y, options={name: True}, error=InvalidParameterError)
    refused("importance_type", X, y, options={"importance_type": "gain"})
    refused("time_limit", X, y, options={"time_limit": 0})
    refused("y cannot be None|y to be passed", X, None)
    refused("inconsistent numbers of samples", X, y[:9])
    refused("Sample weights must contain", X, y, np.zeros(60))
    refused("must not be negative", X, y, -np.ones(60))
    refused("go together", X, y, X_val=X)
    refused("go together", X, y, y_val=y)
    refused("needs X_val and y_val", X, y, sample_weight_val=np.ones(60))
    refused("not both", X, y, X_val=X, y_val=y, eval_set=[(X, y)])
    refused(r"must be \[\(X, y\)\] or \(X, y\)", X, y, eval_set=[(X, y), (X, y)])
    refused(r"must be \[\(X, y\)\] or \(X, y\)", X, y, eval_set=[X])
    refused("3 features, but", X, y, X_val=np.ones((60, 3)), y_val=y)
    refused("inconsistent numbers of samples", X, y, X_val=X, y_val=y[:3])
    refused("masked", X, np.ma.masked_equal(y, y[0]))
    refused("masked", np.ma.masked_greater(X, 0), y)
    refused("n_samples=1|only 1 class, 1", X[:1], y[:1])
    infinite = X.copy()
    infinite[3, 1] = np.inf
    refused("inf", infinite, y)


def test_targets_that_are_refused():
    X = np.random.default_rng(0).normal(size=(60, 2))
    with pytest.raises(ValueError, match="continuous"):
        quick(TabularClassifier).fit(X, X[:, 0])
    with pytest.raises(ValueError, match="only 1 class"):
        quick(TabularClassifier).fit(X, np.ones(60))
    with pytest.raises(ValueError, match="of no known class"):
        y = (X[:, 0] > 0).astype(int)
        quick(TabularClassifier).fit(X, y, eval_set=[(X, y + 1)])
    for wrong in (np.nan, np.inf):
        with pytest.raises(ValueError, match=r"contains (NaN|infinity)"):
            quick(TabularRegressor).fit(X, np.where(X[:, 0] > 1, wrong, X[:, 0]))
    with pytest.raises(ValueError, match="could not convert"):
        quick(TabularRegressor).fit(X, ["a"] * 60)


def test_several_outputs():
    X = np.random.default_rng(0).normal(size=(200, 2))
    y = np.stack([X[:, 0], X[:, 1] ** 2, X.sum(axis=1)], axis=1)
    model = TabularRegressor("fast", random_state=0).fit(X[:150], y[:150])
    assert model.predict(X[150:]).shape == model.predict_std(X[150:]).shape == (50, 3)
    assert model.score(X[150:], y[150:]) > 0.8
    with pytest.warns(UserWarning, match="column-vector"):
        one = quick(TabularRegressor).fit(X, y[:, :1])
    assert one.predict(X).shape == (200,)


# ---- validation data ----------------------------------------------------------------------


@KINDS
def test_forms_of_validation_data(kind):
    data, new = frame(), frame(60, 1)
    X, y, Xv, yv = data[0], target_of(kind, data), new[0], target_of(kind, new)
    forms = [
        {"X_val": Xv, "y_val": yv},
        {"eval_set": [(Xv, yv)]},
        {"eval_set": (Xv, yv)},
        {"eval_set": ((Xv, yv),)},
        {"eval_set": [[Xv, yv]]},
    ]
    found = [quick(kind).fit(X, y, **form).predict(Xv) for form in forms]
    for each in found[1:]:
        np.testing.assert_array_equal(each, found[0])
    weights = np.linspace(0.1, 5, 60)
    quick(kind).fit(X, y, X_val=Xv, y_val=yv, sample_weight_val=weights)


@KINDS
def test_a_pipeline_transforms_the_validation_data(kind):
    rng = np.random.default_rng(0)
    X, Xv = rng.normal(size=(100, 2)), rng.normal(size=(40, 2))
    y, yv = X[:, 0], Xv[:, 0]
    if kind is TabularClassifier:
        y, yv = y > 0, yv > 0
    scaler = StandardScaler().fit(X)
    with config_context(enable_metadata_routing=True):
        last = quick(kind).set_fit_request(X_val=True, y_val=True)
        steps = [("scale", StandardScaler()), ("last", last)]
        pipeline = Pipeline(steps, transform_input=["X_val"])
        pipeline.fit(X, y, X_val=Xv, y_val=yv)
    alone = quick(kind).fit(scaler.transform(X), y, X_val=scaler.transform(Xv), y_val=yv)
    np.testing.assert_array_equal(pipeline.predict(X), alone.predict(scaler.transform(X)))


# ---- tools of scikit-learn ----------------------------------------------------------------


@KINDS
def test_tools_of_model_selection(kind):
    data = frame()
    X, y = data[0], target_of(kind, data)
    scores = cross_val_score(quick(kind), X, y, cv=3)
    assert scores.shape == (3,)
    again = cross_val_score(clone(quick(kind)), X, y, cv=3)
    np.testing.assert_array_equal(scores, again)
    assert cross_val_predict(quick(kind), X, y, cv=3).shape == (150,)
    search = GridSearchCV(quick(kind), {"preset": ["fast", "default"], "max_iter": [2, 4]}, cv=2)
    search.fit(X, y)
    assert set(search.best_params_) == {"preset", "max_iter"}
    assert search.predict(X).shape == (150,)
    pipeline = make_pipeline(StandardScaler(), quick(kind))
    assert cross_val_score(pipeline, np.asarray(X[["age"]].fillna(0.0)), y, cv=2).shape == (2,)


@KINDS
def test_tags(kind):
    tags = get_tags(kind())
    assert tags.input_tags.allow_nan
    assert tags.input_tags.string
    assert tags.input_tags.categorical
    assert not tags.input_tags.sparse
    assert is_classifier(kind()) == (kind is TabularClassifier)
    assert is_regressor(kind()) == tags.target_tags.multi_output == (kind is TabularRegressor)


@KINDS
def test_copies(kind):
    data = frame()
    X, y = data[0], target_of(kind, data)
    model = quick(kind, encoder=TableEncoder(numbers="standard")).fit(X, y)
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    np.testing.assert_array_equal(loaded.feature_importances_, model.feature_importances_)
    fresh = clone(model)
    assert not hasattr(fresh, "model_")
    assert fresh.get_params()["preset"] == "fast"
    np.testing.assert_array_equal(fresh.fit(X, y).predict(X), model.predict(X))
    with pytest.raises(ValueError, match="not fitted"):
        model.encoder.transform(X)  # a copy of it was fitted


@KINDS
def test_what_is_not_fitted(kind, tmp_path):
    X = np.ones((3, 2))
    for use in (
        lambda model: model.predict(X),
        lambda model: model.feature_importances_,
        lambda model: model.save(tmp_path / "model"),
    ):
        with pytest.raises(NotFittedError):
            use(kind())


@KINDS
def test_files(kind, tmp_path):
    data = frame()
    model = quick(kind).fit(data[0], target_of(kind, data))
    model.save(tmp_path / "model")
    loaded = fastbp.load(tmp_path / "model")
    assert type(loaded) is TableModel
    np.testing.assert_array_equal(loaded.predict(data[0]), model.predict(data[0]))


@KINDS
def test_both_kinds_of_importances(kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4))
    X[:, 3] = 1
    y = 3 * X[:, 1] + X[:, 0]
    y = y if kind is TabularRegressor else y > 0
    for importance_type in ("gradient", "permutation"):
        model = kind("fast", importance_type=importance_type, random_state=0).fit(X, y)
        found = model.feature_importances_
        assert found.shape == (4,)
        assert found[1] > found[0] > found[2]
        assert found[3] == 0
        assert (found.sum() == pytest.approx(1)) == (importance_type == "gradient")


@KINDS
def test_random_states(kind):
    data = frame()
    X, y = data[0], target_of(kind, data)

    def outputs(random_state):
        model = quick(kind, random_state=random_state).fit(X, y)
        return model.predict_proba(X) if kind is TabularClassifier else model.predict(X)

    np.testing.assert_array_equal(outputs(1), outputs(1))
    np.testing.assert_array_equal(outputs(1), outputs(np.random.RandomState(1)))
    assert (outputs(1) != outputs(2)).any()
    assert (outputs(None) != outputs(None)).any()


def test_probabilities_are_calibrated():
    """Labels that are wrong in a tenth of the samples are not predicted with certainty."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(900, 2))
    y = (X[:, 0] > 0) ^ (rng.random(900) < 0.1)
    model = TabularClassifier("fast", random_state=0).fit(X[:600], y[:600])
    best = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1))
    assert log_loss(y[600:], model.predict_proba(X[600:])) < best + 0.1


@KINDS
def test_ctrl_c_keeps_the_model(kind, monkeypatch):
    class Interrupting(_ensemble.EarlyStopping):
        def on_epoch_end(self, epoch, logs):
            if epoch == 2:
                raise KeyboardInterrupt
            return super().on_epoch_end(epoch, logs)

    data = frame()
    monkeypatch.setattr(_ensemble, "EarlyStopping", Interrupting)
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model = quick(kind).fit(data[0], target_of(kind, data))
    assert model.predict(data[0]).shape == (150,)
    assert model.feature_importances_.shape == (7,)
    assert 2 <= model.n_iter_ <= 4


@KINDS
def test_settings_of_scikit_learn_change_nothing(kind):
    data = frame()
    X, y = data[0], target_of(kind, data)
    plain = quick(kind, importance_type="permutation").fit(X, y)
    with config_context(transform_output="pandas"):
        model = quick(kind, importance_type="permutation").fit(X, y)
        np.testing.assert_array_equal(model.predict(X), plain.predict(X))
    np.testing.assert_array_equal(model.feature_importances_, plain.feature_importances_)


@KINDS
def test_a_fit_warns_of_nothing(kind, capsys):
    data = frame()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick(kind, time_limit=60.0).fit(data[0], target_of(kind, data))
    assert capsys.readouterr() == ("", "")
    quick(kind, verbose=True).fit(data[0], target_of(kind, data))
    assert capsys.readouterr().out.startswith("2 networks, about ")


def test_an_unknown_parameter_has_a_hint():
    with pytest.raises(TypeError, match="max_iter"):
        TabularClassifier(epochs=3)
