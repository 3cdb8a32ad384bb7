"""TableModel: fit, predictions, files, and everything that tables and targets can have wrong."""

import copy
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
from encoder_cases import made, mixed

import fastbp
from fastbp import Population
from fastbp.errors import DataError, DivergenceError, ModelFileError
from fastbp.tabular import Table, TableEncoder, TableModel, _ensemble
from fastbp.tabular._ensemble import Plan, Samples, folds_of, sharpened, within
from fastbp.tabular._presets import PRESETS

pytestmark = pytest.mark.once

N = 120


def quick(preset="fast", **options):
    return TableModel(preset, **{"n_members": 3, "epochs": 4, **options})


def learned(n=N, seed=0):
    """Columns of all kinds, classes and numbers that depend on them."""
    columns = mixed(n, seed)
    age = np.nan_to_num(columns["age"], nan=40.0)
    number = age / 10 + (columns["plan"] == "pro") * 3.0
    return columns, np.where(number > 6, "yes", "no"), number


def target_for(kind, n=N):
    _, classes, number = learned(n)
    return {"classes": classes, "number": number, "numbers": np.stack([number, -number], 1)}[kind]


KINDS = pytest.mark.parametrize("kind", ["classes", "number", "numbers"])


@pytest.fixture(scope="module")
def models():
    """A model of each kind, which tests must not change."""
    columns = learned()[0]
    return {
        kind: quick().fit(made(columns), target_for(kind))
        for kind in ("classes", "number", "numbers")
    }


def log_loss(probabilities, classes, y):
    index = [classes.index(label) for label in y]
    return -np.log(probabilities[np.arange(len(y)), index]).mean()


# ---- what it learns -----------------------------------------------------------------------


def test_it_learns_classes():
    columns, y, _ = learned(400)
    new, expected, _ = learned(400, 1)
    model = TableModel("fast").fit(made(columns), y)
    assert (model.task, model.classes, model.target) == ("classification", ("no", "yes"), ("y",))
    probabilities = model.predict_proba(made(new))
    assert probabilities.shape == (400, 2)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    found = model.predict(made(new))
    np.testing.assert_array_equal(found, np.array(model.classes)[probabilities.argmax(axis=1)])
    assert model.score(made(new), expected) == (found == expected).mean() > 0.9


@pytest.mark.parametrize("k", [1, 2])
def test_it_learns_numbers(k):
    columns, _, y = learned(400)
    new, _, expected = learned(400, 1)
    y, expected = (np.stack([each, 100 - each], 1)[:, :k] for each in (y, expected))
    model = TableModel("fast").fit(made(columns), y)
    found = model.predict(made(new))
    assert model.task == "regression"
    assert model.classes == ()
    assert found.dtype == np.float64
    assert found.shape == ((400,) if k == 1 else (400, 2))
    rest = expected.reshape(found.shape) - found
    of_mean = expected - expected.mean(axis=0)
    assert model.score(made(new), expected) > 0.9
    if k == 1:
        r2 = 1 - (rest**2).sum() / (of_mean**2).sum()
        assert model.score(made(new), expected) == pytest.approx(r2)
    spread = model.predict_std(made(new))
    assert spread.shape == found.shape
    assert (spread >= 0).all()
    assert spread.max() > 0


def test_predictions_are_the_mean_of_the_members(models):
    table = made(learned(50, 3)[0])
    inputs = models["number"].encoder.transform(table)
    each = np.stack([net.predict(inputs)[:, 0] for net in models["number"].networks])
    (mean,), (scale,) = models["number"].target_mean, models["number"].target_scale
    in_units = each * np.float64(scale) + mean
    np.testing.assert_allclose(models["number"].predict(table), in_units.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(
        models["number"].predict_std(table), in_units.std(axis=0), rtol=1e-4, atol=1e-6
    )
    model = models["classes"]
    outputs = np.mean([net.predict(model.encoder.transform(table)) for net in model.networks], 0)
    expected = sharpened(outputs, model.temperature)
    np.testing.assert_allclose(model.predict_proba(table), expected, rtol=1e-5)


def test_blocks_of_rows_change_nothing(models, monkeypatch):
    table = made(learned(50, 3)[0])
    whole = models["number"].predict(table), models["number"].predict_std(table)
    monkeypatch.setattr("fastbp.tabular._model._BLOCK", 7)
    parts = models["number"].predict(table), models["number"].predict_std(table)
    np.testing.assert_allclose(parts, whole, rtol=1e-6)


def test_the_temperature_lowers_the_loss_of_the_rows_that_are_held_out():
    columns, y, _ = learned(300)
    new, expected, _ = learned(200, 1)
    model = TableModel("fast").fit(made(columns), y, validation_data=(made(new), expected))
    calibrated = log_loss(model.predict_proba(made(new)), model.classes, expected)
    model.temperature = 1.0
    assert calibrated < log_loss(model.predict_proba(made(new)), model.classes, expected)


def test_each_member_is_judged_by_rows_it_does_not_see():
    y = target_for("classes")
    samples = Samples(np.arange(float(N))[:, None], (y == "yes").astype(np.int32))
    for members in (1, 2, 4, 7):
        plan = Plan(replace(PRESETS["fast"], members=members), 2, classifies=True, seed=1)
        folds = folds_of(samples, plan)
        assert len(folds) == members
        for used, held_out in folds:
            assert sorted([*used, *held_out]) == list(range(N))
            assert len(held_out) <= N / 4 + 1
            share = samples.y.mean()
            assert abs(samples.y[held_out].mean() - share) < 2 / len(held_out)
        if members >= 4:
            counts = np.bincount(np.concatenate([held_out for _, held_out in folds]))
            assert (counts == 1).all()


def test_the_best_epoch_is_kept(monkeypatch):
    """Of each member, by the loss on its fold: later epochs are spoilt here."""

    class Spoiling(_ensemble.EarlyStopping):
        def on_epoch_end(self, epoch, logs):
            kept = super().on_epoch_end(epoch, {**logs, "val_loss": abs(epoch - 1.0)})
            if epoch == 1:
                wanted.append(self._net.theta.copy())
            return kept

    wanted = []
    monkeypatch.setattr(_ensemble, "EarlyStopping", Spoiling)
    model = quick().fit(made(learned()[0]), target_for("number"))
    for net, theta in zip(model.networks, wanted, strict=True):
        np.testing.assert_array_equal(net.theta, theta)


# ---- rows in many forms -------------------------------------------------------------------


def in_forms(columns):
    """The same rows as a Table, a dict, a list of dicts, and frames."""
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    plain = {name: column.tolist() for name, column in columns.items()}
    rows = [dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)]
    backwards = dict(reversed(columns.items()))
    return {
        "table": made(columns),
        "arrays": columns,
        "lists": plain,
        "rows": rows,
        "pandas": pandas.DataFrame(columns),
        "polars": polars.DataFrame(plain, strict=False),
        "other order": made(backwards),
        "with more columns": {"more": ["?"] * len(rows), **columns},
    }


def test_every_form_of_the_rows_gives_the_same_bits(models):
    expected = models["classes"].predict_proba(made(learned(40, 2)[0]))
    for form, X in in_forms(learned(40, 2)[0]).items():
        found = models["classes"].predict_proba(X)
        np.testing.assert_array_equal(found, expected, err_msg=form)


def test_training_on_every_form_gives_the_same_bits(models):
    new, y = made(learned(40, 2)[0]), target_for("classes")
    forms = in_forms(learned()[0])
    del forms["with more columns"], forms["other order"]
    for form, X in forms.items():
        model = quick().fit(X, y)
        expected = models["classes"].predict_proba(new)
        np.testing.assert_array_equal(model.predict_proba(new), expected, err_msg=form)


def test_one_row_as_a_dict(models):
    columns = learned(5, 2)[0]
    row = {name: column[2] for name, column in columns.items()}
    assert models["classes"].predict(row).tolist() == [models["classes"].predict(made(columns))[2]]


def test_holes_and_unseen_levels_and_dates(models):
    columns = learned(6, 2)[0]
    columns["age"][:] = np.nan
    columns["plan"][:3], columns["plan"][3:] = None, "platinum"
    columns["joined"][:2], columns["joined"][2:] = "NaT", np.datetime64("2150-02-28T01:02", "us")
    for kind, model in models.items():
        found = model.predict(columns)
        assert len(found) == 6, kind
        assert found.dtype.kind == "U" or np.isfinite(found).all()
    as_text = {**columns, "joined": ["2150-02-28T01:02"] * 6}
    dates = {**columns, "joined": np.full(6, "2150-02-28T01:02", "datetime64[us]")}
    expected = models["number"].predict(dates)
    np.testing.assert_array_equal(models["number"].predict(as_text), expected)


def test_missing_columns_are_named(models):
    columns = learned(6, 2)[0]
    del columns["city"], columns["paid"]
    for X in (columns, made(columns)):
        with pytest.raises(DataError, match="missing: 'paid', 'city'"):
            models["number"].predict(X)
    columns = {**learned(6, 2)[0], "age": list("abcdef")}
    with pytest.raises(DataError, match="column 'age'"):
        models["number"].predict(columns)
    with pytest.raises(DataError, match="infinite|not finite"):
        models["number"].predict({**learned(6, 2)[0], "age": [math.inf] * 6})


def test_arrays_have_columns_by_number():
    X = np.random.default_rng(0).normal(size=(60, 3))
    X[::9, 1] = np.nan
    model = quick().fit(X, X[:, 0])
    assert model.features == ("1", "2", "3")
    assert model.predict(X[:5]).shape == (5,)
    with pytest.raises(DataError, match="missing: '3'"):
        model.predict(X[:, :2])


def test_names_that_repeat_are_refused():
    values = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.raises(DataError, match="two columns are called 'a'"):
        quick().fit(Table("twice", ("a", "a"), values), values[:, 0])
    pandas = pytest.importorskip("pandas")
    with pytest.raises(DataError, match="two columns have this name"):
        quick().fit(pandas.DataFrame(values, columns=["a", "a"]), values[:, 0])


@pytest.mark.parametrize("X", [{}, [{}], np.empty((60, 0)), "data.csv", np.ones((3, 3, 3)), 3.0])
def test_what_is_no_table(X):
    with pytest.raises(DataError, match=r"has no columns|expected a data frame"):
        quick().fit(X, np.arange(60) / 7)


def test_a_table_of_no_rows_is_refused(models):
    with pytest.raises(ValueError, match="no rows"):
        models["number"].predict(made(learned(3)[0]).take(np.arange(0)))


# ---- targets ------------------------------------------------------------------------------


def as_objects(values):
    found = np.empty(len(values), object)
    found[:] = values
    return found


X60 = {"x": np.arange(60.0) % 7}


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        ([1, 3] * 30, (1, 3)),
        ([1.0, 3.0] * 30, (1, 3)),
        (np.array([1, 3] * 30, np.uint8), (1, 3)),
        (as_objects([np.int64(1), np.int64(3)] * 30), (1, 3)),
        ([True, False] * 30, (False, True)),
        (as_objects([np.True_, False] * 30), (False, True)),
        (as_objects([1, 3.0] * 30), (1, 3)),
        (["b", "a"] * 30, ("a", "b")),
        (as_objects([np.str_("b"), "a"] * 30), ("a", "b")),
        (np.array([[2], [-(2**53) - 1]] * 30), (-(2**53) - 1, 2)),
    ],
)
def test_classes_are_plain_values(y, classes, tmp_path):
    model = quick().fit(X60, y)
    assert model.task == "classification"
    assert model.classes == classes
    assert [type(each) for each in model.classes] == [type(each) for each in classes]
    model.save(tmp_path / "model")
    assert fastbp.load(tmp_path / "model").classes == classes
    found = model.predict(X60)
    assert set(found.tolist()) <= set(classes)
    assert model.score(X60, y) == np.mean(found == np.reshape(y, 60))


def test_classes_may_be_fractions(tmp_path):
    model = quick(task="classification").fit(X60, [0.5, 2.0] * 30)
    assert model.classes == (0.5, 2.0)
    model.save(tmp_path / "model")
    assert fastbp.load(tmp_path / "model").classes == (0.5, 2.0)


@pytest.mark.parametrize("kind", ["Int64", "string", "category", "boolean", "Float64", "object"])
def test_targets_of_pandas(kind):
    pandas = pytest.importorskip("pandas")
    values = {"boolean": [True, False], "Int64": [1, 2], "Float64": [1.5, 2.5]}.get(
        kind, ["a", "b"]
    )
    series = pandas.Series(values * 30, dtype=kind)
    model = quick().fit(X60, series)
    expected = () if kind == "Float64" else tuple(sorted(values))
    assert model.classes == expected
    series = series.astype(object)
    series[7] = pandas.NA
    with pytest.raises(DataError, match=r"1 row without a finite target \(the first is row 8\)"):
        quick().fit(X60, series)


def test_objects_that_are_numbers_are_a_regression():
    y = np.linspace(0, 1, 60)
    model = quick().fit(X60, as_objects(y.tolist()))
    assert model.task == "regression"
    np.testing.assert_array_equal(model.predict(X60), quick().fit(X60, y).predict(X60))


@pytest.mark.parametrize(
    ("y", "match"),
    [
        ([1.5, math.nan, 2.5] * 20, "20 rows without a finite target"),
        ([1.5, math.inf, 2.5] * 20, "20 rows without a finite target"),
        (as_objects([1.5, math.inf, 2.5] * 20), "20 rows without a finite target"),
        ([[1.5, 2.0], [1.0, math.nan]] * 30, r"30 rows .* \(the first is row 2\)"),
        (as_objects(["a", None, "b"] * 20), "20 rows without"),
        (["a", "", "b"] * 20, "20 rows without"),
        ([(-1) ** i * (1 + i / 100) * 1e308 for i in range(60)], "too far apart"),
        ([b"a", b"b"] * 30, "holds bytes"),
        (np.array(["2020-01-01", "2020-01-02"] * 30, "datetime64[s]"), "holds datetime"),
        (as_objects([1, "a"] * 30), "holds int, str"),
        (as_objects([2**70, 1] * 30), "holds int"),
        (np.array([1j, 2] * 30), "holds complex"),
        (["a"] * 60, "only one class, 'a'"),
        ([5] * 60, "only one class, 5"),
        ([["a", "b"]] * 60, "takes numbers; the target holds 'a'"),
        ([1.5] * 59, r"y has shape \(59,\); expected \(60,\)"),
        (1.5, "y has shape"),
        (np.empty((60, 0)), "y has shape"),
        (np.ones((60, 1, 1)), "y has shape"),
        (np.ma.masked_greater(np.arange(60.0), 3), "masked"),
        (None, "expected a target: pass it as y"),
    ],
)
def test_targets_that_are_refused(y, match):
    with pytest.raises(ValueError, match=match):
        quick().fit(X60, y)


def test_tasks_that_the_target_does_not_suit():
    with pytest.raises(DataError, match="takes numbers; the target holds 'a'"):
        quick(task="regression").fit(X60, ["a", "b"] * 30)
    with pytest.raises(DataError, match="classes must be one column; the target has 2"):
        quick(task="classification").fit(X60, np.eye(2)[[0, 1] * 30])
    few, texts = {"x": np.arange(20.0)}, list("abcb") * 5
    with pytest.raises(DataError, match='too many for classes.* task="classification" in Python'):
        quick().fit(few, texts)
    assert quick(task="classification").fit(few, texts).classes == ("a", "b", "c")


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1.0, 1e150, 8e307])
def test_numbers_of_any_size(scale):
    y = np.linspace(-1, 1, 60) * scale
    model = quick().fit({"x": y / scale}, y)
    found = model.predict({"x": y / scale})
    assert np.isfinite(found).all()
    assert np.ptp(found) > 0.01 * scale


def test_a_constant_number_is_predicted():
    model = quick(task="regression").fit(X60, [3.25] * 60)
    assert model.predict(X60).tolist() == [3.25] * 60
    assert not model.predict_std(X60).any()


def test_a_target_that_a_table_has(models):
    columns, y, _ = learned()
    table = replace(made(columns), target=y, target_names=("left",))
    model = quick().fit(table)
    assert model.target == ("left",)
    new = made(learned(40, 2)[0])
    expected = models["classes"].predict_proba(new)
    np.testing.assert_array_equal(model.predict_proba(new), expected)
    assert model.score(table) == model.score(columns, y)
    with pytest.raises(DataError, match="expected a target"):
        model.score(made(columns))
    with pytest.raises(DataError, match="pass it as y"):
        model.score(columns)
    assert model.score({**columns, "left": y}) == model.score(columns, y)
    assert model.importances({**columns, "left": y}) == model.importances(columns, y)


def test_several_targets_that_the_rows_have(models):
    X, y = learned()[0], target_for("numbers")
    frame = {**X, "y1": y[:, 0], "y2": y[:, 1]}
    assert models["numbers"].score(frame) == models["numbers"].score(X, y)
    with pytest.raises(DataError, match="pass it as y"):
        models["numbers"].score({**X, "y1": y[:, 0]})
    for wrong in (np.nan, np.inf):
        with pytest.raises(DataError, match="120 rows without a finite target"):
            models["numbers"].score(frame | {"y2": np.full(N, wrong)})


def test_targets_of_scores_and_importances_are_checked(models):
    X = learned()[0]
    calls = [
        models["numbers"].score,
        models["numbers"].importances,
        lambda X, y: quick().fit(X, target_for("numbers"), validation_data=(X, y)),
    ]
    for call in calls:
        with pytest.raises(DataError, match="2 targets, y1, y2; got 1"):
            call(X, target_for("number"))
        with pytest.raises(DataError, match="takes numbers; the target holds 'a'"):
            call(X, [["a", "b"]] * N)
        with pytest.raises(ValueError, match="has shape"):
            call(X, target_for("numbers")[:5])
    for call in (models["classes"].score, models["classes"].importances):
        with pytest.raises(DataError, match="120 targets of no known class, the first in row 1"):
            call(X, ["maybe"] * N)


# ---- few rows, few columns, options -------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("classifies", [True, False])
def test_tables_of_few_rows(n, classifies):
    x = np.arange(float(n))
    y = np.where(x > 0, "b", "a") if classifies else x * 1.5
    model = TableModel("fast", task="classification" if classifies else "regression")
    model.fit({"x": x}, y)
    assert model.temperature == 1
    assert model.predict({"x": x}).shape == (n,)
    assert set(model.importances()) == {"x"}


@pytest.mark.parametrize("members", [1, 2, 5])
def test_numbers_of_members(members, tmp_path):
    model = quick(n_members=members).fit(X60, X60["x"] / 2)
    assert len(model.networks) == len(model.histories) == members
    assert {history.epochs for history in model.histories} == {4}
    model.save(tmp_path / "model")
    loaded = fastbp.load(tmp_path / "model")
    assert type(loaded) is TableModel
    np.testing.assert_array_equal(loaded.predict(X60), model.predict(X60))


def test_columns_that_do_not_vary():
    with pytest.raises(DataError, match="no column varies"):
        quick().fit({"x": [1.0] * 9}, np.arange(9) / 2)
    model = quick().fit({"x": np.arange(9.0), "same": [1.0] * 9}, np.arange(9) / 2)
    assert model.features == ("x",)
    assert model.predict({"x": [3.0]}).shape == (1,)


def test_rows_of_weight_zero_count_as_removed():
    columns, y, _ = learned()
    weights = np.ones(N)
    weights[::3] = 0
    kept = np.flatnonzero(weights)
    weighed = quick().fit(made(columns), y, sample_weight=weights)
    removed = quick().fit(made(columns).take(kept), y[kept], sample_weight=np.ones(len(kept)))
    assert weighed.encoder.to_dict() == removed.encoder.to_dict()
    for a, b in zip(weighed.networks, removed.networks, strict=True):
        np.testing.assert_array_equal(a.theta, b.theta)
    only = np.where(y == "yes", 1.0, 0.0)
    with pytest.raises(DataError, match="only one class, 'yes'"):
        quick().fit(made(columns), y, sample_weight=only)


def test_weights_weigh():
    X = {"x": np.tile([0.0, 1.0], 100)}
    y = np.repeat([0.0, 1.0], 100)
    heavy = TableModel("fast", task="regression").fit(X, y, sample_weight=1 + 9 * y)
    light = TableModel("fast", task="regression").fit(X, y)
    assert (heavy.predict(X) > 0.75).all()
    assert (abs(light.predict(X) - 0.5) < 0.15).all()


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        (np.zeros(60), "positive, finite sum"),
        (-np.ones(60), "not be negative"),
        (np.ones(59), "59 rows"),
        (np.full(60, math.nan), "sample_weight"),
        (["a"] * 60, "sample_weight"),
    ],
)
def test_weights_that_are_refused(weights, match):
    with pytest.raises((TypeError, ValueError), match=match):
        quick().fit(X60, X60["x"] / 2, sample_weight=weights)


@pytest.mark.parametrize("scale", [2.0**60, 2.0**-100, 1e18, 1e-25, 1e300])
def test_the_scale_of_the_weights_does_not_matter(scale):
    y = X60["x"] / 2
    given = np.linspace(0.5, 1.5, 60)
    plain = quick().fit(X60, y, sample_weight=given, validation_data=(X60, y, given))
    scaled = quick().fit(
        X60, y, sample_weight=given * scale, validation_data=(X60, y, given * scale)
    )
    assert np.isfinite(scaled.predict(X60)).all()
    if np.frexp(scale)[0] == 0.5:
        np.testing.assert_array_equal(scaled.predict(X60), plain.predict(X60))
    np.testing.assert_allclose(scaled.predict(X60), plain.predict(X60), atol=1e-4)


def test_validation_data_choose_the_best_epochs():
    columns, y, _ = learned()
    new, expected, _ = learned(80, 4)
    weights = np.linspace(0.5, 2, 80)
    plain = quick().fit(columns, y)
    for held_out in (
        (new, expected),
        [made(new), expected[:, None]],
        (new, expected, weights),
        (replace(made(new), target=expected, target_names=("y",)), None),
    ):
        model = quick().fit(columns, y, validation_data=held_out)
        assert model.predict_proba(new).shape == (80, 2)
        assert (model.networks[0].theta != plain.networks[0].theta).any()


def test_validation_data_that_are_refused():
    columns, y, _ = learned()
    new, expected, _ = learned(20, 4)

    def refused(match, *data, error=ValueError):
        with pytest.raises(error, match=match):
            quick().fit(columns, y, validation_data=data)

    refused(r"\(X, y\) or \(X, y, sample_weight\)", new, error=TypeError)
    refused("has shape", new, expected[:5])
    refused("validation_data: 20 targets of no known class", new, ["perhaps"] * 20)
    refused("pass it as y of validation_data", new, None)
    refused("without a finite target", new, [None] * 20)
    refused("sample_weight of validation_data", new, expected, np.ones(3))
    del new["city"]
    refused("missing: 'city'", new, expected)


def test_an_encoder_of_ones_own():
    columns, _, y = learned()
    encoder = TableEncoder(numbers="standard", categorical=["age"], max_one_hot=3)
    model = quick(encoder=encoder).fit(columns, y)
    assert model.encoder is not encoder
    assert model.encoder.numbers == "standard"
    assert model.encoder.kinds["age"] == "text"
    assert model.encoder.task == "regression"
    with pytest.raises(ValueError, match="not fitted"):
        encoder.transform(columns)
    assert math.isfinite(model.score(columns, y))
    assert set(model.importances(columns, y)) == set(model.features)


def test_sparse_rows_give_the_predictions_of_dense_ones():
    pytest.importorskip("scipy")
    columns, y, _ = learned()
    models = [
        quick(encoder=TableEncoder(sparse=sparse), time_limit=60.0).fit(columns, y)
        for sparse in (False, True)
    ]
    dense, sparse = (model.predict_proba(columns) for model in models)
    np.testing.assert_allclose(sparse, dense, atol=1e-4)
    for options in ({"kind": "gradient"}, {}):
        dense, sparse = (model.importances(columns, y, **options) for model in models)
        assert sparse == pytest.approx(dense, abs=1e-3)
    assert sum(models[1].importances().values()) == pytest.approx(1)


def test_settings_of_scikit_learn_change_nothing(models):
    sklearn = pytest.importorskip("sklearn")
    pytest.importorskip("pandas")
    columns, y, _ = learned()
    expected = models["classes"].predict_proba(columns)
    with sklearn.config_context(transform_output="pandas"):
        model = quick().fit(columns, y, validation_data=(columns, y))
        model.importances(columns, y)
        np.testing.assert_array_equal(models["classes"].predict_proba(columns), expected)


@KINDS
def test_the_task_of_means_is_that_of_the_model(kind):
    """Whole numbers that are a regression make one mean of a text with many levels."""
    cells = [f"level {i % 80}" for i in range(400)]
    X, y = {"text": cells, "x": np.arange(400.0)}, np.arange(400) % 5
    task = "classification" if kind == "classes" else "regression"
    encoder = TableEncoder(max_one_hot=20)
    model = quick(task=task, encoder=encoder).fit(
        X, np.stack([y, y], 1) if kind == "numbers" else y
    )
    means = [name for name in model.encoder.get_feature_names_out() if name.startswith("text mean")]
    assert len(means) == {"classes": 5, "number": 1, "numbers": 2}[kind]


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"preset": "slow"}, ValueError, "unknown preset 'slow'; known: fast, default, best"),
        ({"task": "ranking"}, ValueError, "task must be one of"),
        ({"n_members": 0}, ValueError, "n_members"),
        ({"epochs": 2.5}, TypeError, "epochs"),
        ({"encoder": "robust"}, TypeError, "encoder must be a TableEncoder; got str"),
        ({"seed": -1}, ValueError, "seed"),
        ({"time_limit": 0}, ValueError, "time_limit"),
        ({"time_limit": math.inf}, ValueError, "time_limit"),
        ({"n_threads": 0}, ValueError, "n_threads"),
        ({"verbose": 2}, TypeError, "verbose"),
    ],
)
def test_options_that_are_refused(options, error, match):
    with pytest.raises(error, match=match):
        TableModel(**options)


# ---- time, bits, interruptions --------------------------------------------------------------


def test_a_time_limit_leaves_fewer_epochs_then_fewer_members():
    plan = Plan(PRESETS["default"], 1, classifies=False, seed=0, n_threads=1)
    assert within(1000.0, 1.0, plan, 10_000) is plan
    fewer = within(4.0, 1.0, plan, 10_000)
    assert fewer.preset.members == 8
    assert 8 < fewer.preset.epochs < 48
    least = within(0.1, 1.0, plan, 10_000)
    assert (least.preset.members, least.preset.epochs) == (2, 8)


def test_a_limit_that_is_too_short_still_makes_a_model():
    columns, y, _ = learned()
    model = TableModel(time_limit=1e-6).fit(columns, y)
    most = TableModel().fit(columns, y)
    assert model.predict(columns).shape == (N,)
    assert sum(h.epochs for h in model.histories) < sum(h.epochs for h in most.histories)


def test_what_is_announced(monkeypatch):
    columns, y, _ = learned()
    said = []
    quick(verbose=True).fit(columns, y, say=said.append)
    assert len(said) == 1
    assert said[0].startswith("3 networks, about ")
    assert said[0].endswith(" s")
    said.clear()
    monkeypatch.setattr("fastbp.tabular._model.seconds_per_member", lambda *_: 1.0)
    TableModel(time_limit=1e-6, verbose=True, n_threads=1).fit(columns, y, say=said.append)
    assert "; time_limit=1e-06 leaves 2 networks of 8 epochs" in said[0]


@KINDS
def test_threads_change_no_bit(kind):
    columns = learned()[0]
    one, two = (quick(n_threads=n).fit(columns, target_for(kind)) for n in (1, 2))
    for a, b in zip(one.networks, two.networks, strict=True):
        np.testing.assert_array_equal(a.theta, b.theta)
    assert one.temperature == two.temperature
    assert one.importances() == two.importances()


def test_seeds():
    columns, _, y = learned()
    fits = [quick(seed=seed).fit(columns, y).predict(columns) for seed in (0, 0, 1, 2**64 - 1)]
    np.testing.assert_array_equal(fits[0], fits[1])
    assert (fits[0] != fits[2]).any()
    assert (fits[2] != fits[3]).any()
    quick(seed=None).fit(columns, y)


def test_a_fit_can_be_repeated():
    columns, classes, y = learned()
    model = quick().fit(columns, classes)
    again = model.fit(columns, y)
    assert again is model
    assert model.task == "regression"
    np.testing.assert_array_equal(model.predict(columns), quick().fit(columns, y).predict(columns))


def interrupt_in_epoch(monkeypatch, number):
    """Ctrl-C in an epoch of the first member."""

    class Interrupting(_ensemble.EarlyStopping):
        def on_epoch_end(self, epoch, logs):
            if epoch == number:
                raise KeyboardInterrupt
            return super().on_epoch_end(epoch, logs)

    monkeypatch.setattr(_ensemble, "EarlyStopping", Interrupting)


@pytest.mark.parametrize("number", [0, 2])
def test_ctrl_c_keeps_a_model(number, monkeypatch, tmp_path):
    columns, y, _ = learned()
    interrupt_in_epoch(monkeypatch, number)
    model = quick()
    with pytest.raises(KeyboardInterrupt):
        model.fit(columns, y)
    assert len(model.networks) == 3
    assert model.histories == []
    probabilities = model.predict_proba(columns)
    assert np.isfinite(probabilities).all()
    if number:
        assert np.ptp(probabilities[:, 0]) > 0
    model.save(tmp_path / "model")
    loaded = fastbp.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(columns), probabilities)


def test_ctrl_c_before_the_training_keeps_no_model(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(TableEncoder, "_fit", interrupted)
    model = quick()
    with pytest.raises(KeyboardInterrupt):
        model.fit(*learned()[:2])
    assert model.networks == []


def diverging(monkeypatch, members):
    """Members whose first J is not finite."""
    network = Plan.network

    def made_wrong(plan, n_inputs, k):
        net = network(plan, n_inputs, k)
        if k in members:
            net.theta[-1] = np.nan
        return net

    monkeypatch.setattr(Plan, "network", made_wrong)


@pytest.mark.parametrize("wrong", [{1}, {0, 2}])
def test_members_that_diverge_are_left_out(wrong, monkeypatch):
    columns, y, _ = learned()
    whole = quick().fit(columns, y)
    diverging(monkeypatch, wrong)
    model = quick().fit(columns, y)
    left = [net for k, net in enumerate(whole.networks) if k not in wrong]
    assert len(model.networks) == len(model.histories) == len(left)
    for a, b in zip(model.networks, left, strict=True):
        np.testing.assert_array_equal(a.theta, b.theta)
    assert np.isfinite(model.predict_proba(columns)).all()


def test_if_all_members_diverge_there_is_no_model(monkeypatch):
    diverging(monkeypatch, {0, 1, 2})
    model = quick()
    with pytest.raises(DivergenceError):
        model.fit(*learned()[:2])
    assert model.networks == []


# ---- importances --------------------------------------------------------------------------


def test_importances(monkeypatch):
    rng = np.random.default_rng(0)
    X = {name: rng.normal(size=300) for name in "abc"}
    y = 3 * X["b"] + X["a"]
    model = TableModel("fast").fit(X, y)
    fitted, shares = model.importances(), model.importances(X, kind="gradient")
    grown = model.importances(X, y)
    for found in (fitted, shares, grown):
        assert list(found) == ["a", "b", "c"]
        assert found["b"] > found["a"] > found["c"]
    assert sum(fitted.values()) == pytest.approx(1)
    assert sum(shares.values()) == pytest.approx(1)
    assert grown["b"] == pytest.approx(2 * 9 / 10, rel=0.2)  # the variance of b, twice
    assert grown == model.importances(X, y)
    assert grown != model.importances(X, y, seed=1)
    monkeypatch.setattr("fastbp.tabular._importance._BLOCK", 7)
    assert model.importances(X, kind="gradient") == pytest.approx(shares)
    fitted["a"] = 7.0
    assert model.importances()["a"] != 7.0
    with pytest.raises(ValueError, match="kind must be permutation or gradient"):
        model.importances(X, y, kind="gain")


# ---- files --------------------------------------------------------------------------------


@KINDS
def test_files_give_the_same_bits(kind, models, tmp_path):
    model, new = models[kind], made(learned(40, 2)[0])
    model.save(tmp_path / "model")
    loaded = fastbp.load(tmp_path / "model")
    assert type(loaded) is TableModel
    np.testing.assert_array_equal(loaded.predict(new), model.predict(new))
    if kind == "classes":
        np.testing.assert_array_equal(loaded.predict_proba(new), model.predict_proba(new))
    else:
        np.testing.assert_array_equal(loaded.predict_std(new), model.predict_std(new))
    for name in ("task", "features", "target", "classes", "target_mean", "target_scale"):
        assert getattr(loaded, name) == getattr(model, name)
    assert loaded.importances() == model.importances()
    assert (loaded.temperature, loaded.reading, loaded.n_columns) == (
        model.temperature,
        model.reading,
        model.n_columns,
    )
    assert repr(loaded) == repr(model)
    fastbp.io.save(loaded, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "model").read_bytes()
    loaded.fit(learned()[0], target_for(kind))


@KINDS
def test_copies(kind, models):
    new = made(learned(40, 2)[0])
    for copied in (pickle.loads(pickle.dumps(models[kind])), copy.deepcopy(models[kind])):
        np.testing.assert_array_equal(copied.predict(new), models[kind].predict(new))
    unfitted = pickle.loads(pickle.dumps(quick()))
    assert repr(unfitted) == repr(quick())


def written(model, path, known):
    """A file of the networks of a model with another preprocessing."""
    nets = copy.deepcopy(model.networks)
    nets[0].preprocessing = known
    Population(nets).save(path)
    return path


WRONG = [None, "text", -1, 0, 1.5, 2**80, True, [], [[]], {}, {"a": 1}, [None], ["a"], [1.5, "b"]]


@pytest.mark.parametrize("kind", ["classes", "number"])
def test_forged_fields_are_refused(kind, models, tmp_path):
    known = models[kind]._to_dict()
    for field in [*known, "more"]:
        for value in WRONG:
            if [field, value] in ([["n_columns", 0], ["temperature", 1.5], ["target", ["a"]]]):
                continue
            if field == "n_columns" and value == 2**80 or value == known.get(field, "?"):
                continue
            path = written(models[kind], tmp_path / "forged", {**known, field: value})
            if field == "kind":
                assert type(fastbp.load(path)) is Population
                continue
            with pytest.raises(ModelFileError, match="preprocessing"):
                fastbp.load(path)
    for field in set(known) - {"kind"}:
        left = {name: value for name, value in known.items() if name != field}
        with pytest.raises(ModelFileError, match="has the fields"):
            fastbp.load(written(models[kind], tmp_path / "forged", left))


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("classes", {"classes": ["no"]}),
        ("classes", {"classes": ["no", "no"]}),
        ("classes", {"classes": ["no", 1]}),
        ("classes", {"classes": ["no", "yes", "perhaps"]}),
        ("classes", {"classes": [["no"], ["yes"]]}),
        ("classes", {"target": ["a", "b"]}),
        ("classes", {"mean": [1.0], "scale": [1.0]}),
        ("classes", {"temperature": 0.0}),
        ("classes", {"temperature": -1.0}),
        ("classes", {"importance": [1.0]}),
        ("number", {"scale": [0.0]}),
        ("number", {"scale": [-1.0]}),
        ("number", {"mean": [1]}),
        ("number", {"mean": [1.0, 2.0], "scale": [1.0, 2.0], "target": ["a", "b"]}),
        ("number", {"classes": ["no", "yes"], "mean": [], "scale": []}),
        ("number", {"reading": {}}),
        ("number", {"more": 1}),
    ],
)
def test_fields_that_do_not_fit_together_are_refused(kind, changes, models, tmp_path):
    path = written(models[kind], tmp_path / "forged", models[kind]._to_dict() | changes)
    with pytest.raises(ModelFileError):
        fastbp.load(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("decimal", 5),
        ("decimal", "x"),
        ("decimal", [","]),
        ("thousands", {}),
        ("thousands", "."),
        ("na", "x"),
        ("na", [1]),
        ("na", {"a": 1}),
        ("na", 3),
        ("date_formats", ["%"]),
        ("date_formats", [[]]),
        ("date_formats", "%Y"),
        ("units", ["1"]),
        ("units", [None]),
        ("units", None),
    ],
)
def test_forged_marks_are_refused(name, value, models, tmp_path):
    known = models["number"]._to_dict()
    known["reading"][name] = value
    with pytest.raises(ModelFileError):
        fastbp.load(written(models["number"], tmp_path / "forged", known))


def test_a_forged_encoder_is_refused(models, tmp_path):
    known = models["classes"]._to_dict()
    for field in known["encoder"]:
        for value in WRONG:
            if field == "format" and value is True:  # which is 1
                continue
            forged = known | {"encoder": {**known["encoder"], field: value}}
            with pytest.raises(ModelFileError):
                fastbp.load(written(models["classes"], tmp_path / "forged", forged))


def test_save_takes_no_other_preprocessing(models, tmp_path):
    with pytest.raises(ValueError, match="leave out preprocessing"):
        fastbp.io.save(models["number"], tmp_path / "model", preprocessing={})
    with pytest.raises(ValueError, match="not fitted"):
        fastbp.io.save(quick(), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_networks_that_do_not_fit_are_refused(models, tmp_path):
    nets = copy.deepcopy(models["classes"].networks)
    nets[0].preprocessing = models["number"]._to_dict()
    Population(nets).save(tmp_path / "forged")
    with pytest.raises(ModelFileError, match="a network has"):
        fastbp.load(tmp_path / "forged")


def test_what_an_unfitted_model_says():
    assert repr(quick()) == "TableModel('fast': 3 networks, not fitted)"
    for use in ("predict", "predict_proba", "predict_std", "score", "importances", "save"):
        with pytest.raises(ValueError, match="not fitted: call fit first"):
            getattr(quick(), use)(*([] if use == "importances" else [X60]))
    for name in ("task", "classes", "features", "target", "target_mean", "target_scale"):
        with pytest.raises(ValueError, match="not fitted"):
            getattr(quick(), name)


def test_what_the_task_does_not_have(models):
    X = learned()[0]
    with pytest.raises(ValueError, match="use predict"):
        models["number"].predict_proba(X)
    with pytest.raises(ValueError, match="no standard deviation"):
        models["classes"].predict_std(X)


def test_descriptions(models):
    sizes = "-".join(map(str, models["numbers"].networks[0].widths))
    assert repr(models["numbers"]) == (
        f"TableModel(regression: 6 columns -> y1, y2; 3 networks {sizes})"
    )
