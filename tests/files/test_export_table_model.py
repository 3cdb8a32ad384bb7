"""Exports of a TableModel and of the Tabular estimators take raw rows, as Python does."""

import copy
import ctypes

import numpy as np
import pytest
from encoder_cases import made, mixed
from export_cases import compiled
from test_export_encoder import called, in_single, new_rows, onnx_answers, row_of

from fastbp import export
from fastbp.tabular import TableEncoder, TableModel

pytestmark = pytest.mark.once

TASKS = pytest.mark.parametrize("task", ["classes", "numbers of classes", "truth", "one", "two"])


def target_of(task, columns):
    """A target that depends on the columns."""
    rng = np.random.default_rng(7)
    age = np.nan_to_num(columns["age"], nan=40.0)
    one = age / 10 + (columns["plan"] == "pro") * 3.0 + rng.normal(size=len(age)) / 10
    code = (one > 6).astype(int) + (one > 8)
    return {
        "classes": np.array(["no", "yes", "größer"])[code],
        "numbers of classes": code * 5 - 3,
        "truth": one > 6,
        "one": one,
        "two": np.stack([1e6 - one, one**2], axis=1),
    }[task]


def trained(task, **options):
    columns = mixed()
    options = {"n_members": 3, "epochs": 4} | options
    return TableModel("fast", **options).fit(made(columns), target_of(task, columns))


def expected_of(model, columns):
    """The probabilities, or the numbers (n, k), in Python."""
    if model.classes:
        return model.predict_proba(made(columns))
    return model.predict(made(columns)).reshape(-1, len(model.target))


def assert_near(model, found, expected):
    """Outputs in float32 of networks with one hidden layer, computed in another order."""
    eps = float(np.finfo(np.float32).eps)
    if model.classes:
        np.testing.assert_allclose(found, expected, rtol=0, atol=200 * eps)
        return
    error = 200 * eps * np.array(model.target_scale) + eps * abs(expected)
    assert (abs(found.astype(np.float64) - expected) <= error).all()


@TASKS
def test_c_gives_the_answers_of_python(task, tmp_path):
    model, columns = trained(task), new_rows()
    library = compiled(export.c(model), tmp_path)
    found = [called(library, model, row_of(model, columns, i)) for i in range(80)]
    returned, outputs = [each for each, _ in found], np.array([out for _, out in found])
    assert_near(model, outputs, expected_of(model, columns))
    if not model.classes:
        assert set(returned) == {0}
        return
    kind = {"classes": ctypes.c_char_p, "truth": ctypes.c_int}.get(task, ctypes.c_longlong)
    table = (kind * len(model.classes)).in_dll(library, "model_classes")
    read = [each.decode() if task == "classes" else each for each in table]
    assert read == list(model.classes)
    assert [read[i] for i in returned] == model.predict(made(columns)).tolist()


@TASKS
def test_onnx_gives_the_answers_of_python(task, tmp_path):
    model, columns = trained(task), in_single(new_rows())
    found = onnx_answers(model, columns, tmp_path / "model.onnx")
    expected = expected_of(model, columns)
    assert_near(model, found["probabilities" if model.classes else "variable"], expected)
    if model.classes:
        assert found["label"].tolist() == model.predict(made(columns)).tolist()


@pytest.mark.parametrize("task", ["classes", "one"])
@pytest.mark.parametrize("numbers", ["robust", "quantile"])
def test_codes_are_embedded_in_exports(task, numbers, tmp_path):
    encoder = TableEncoder(
        numbers=numbers, pieces=6, max_one_hot=2, min_count=20, high_cardinality="codes"
    )
    model, columns = trained(task, encoder=encoder), in_single(new_rows())
    assert model.encoder.code_levels == (4, 8)  # of plan with holes, and of city
    expected = expected_of(model, columns)
    library = compiled(export.c(model), tmp_path)
    outputs = np.array([called(library, model, row_of(model, columns, i))[1] for i in range(80)])
    assert_near(model, outputs, expected)
    found = onnx_answers(model, columns, tmp_path / "model.onnx")
    assert_near(model, found["probabilities" if model.classes else "variable"], expected)


@pytest.mark.parametrize("task", ["classes", "one"])
def test_a_loaded_model_has_the_same_exports(task, tmp_path):
    import fastbp

    model = trained(task)
    model.save(tmp_path / "model")
    loaded = fastbp.load(tmp_path / "model")
    assert export.c(loaded) == export.c(model)


@pytest.mark.parametrize("task", ["classes", "two"])
def test_estimators_are_exported_as_their_models(task, tmp_path):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    from fastbp.sklearn import TabularClassifier, TabularRegressor

    kind = TabularRegressor if task == "two" else TabularClassifier
    columns, new = mixed(), in_single(new_rows())
    estimator = kind("fast", n_members=2, max_iter=4, random_state=0)
    fresh = copy.deepcopy(estimator)
    estimator.fit(pandas.DataFrame(columns), target_of(task, columns))
    model = estimator.model_
    source = export.c(estimator, tmp_path / "model.c")
    assert source == export.c(model) == (tmp_path / "model.c").read_text()
    library = compiled(source, tmp_path)
    outputs = np.array([called(library, model, row_of(model, new, i))[1] for i in range(80)])
    frame = pandas.DataFrame(new)
    expected = estimator.predict(frame) if task == "two" else estimator.predict_proba(frame)
    assert_near(model, outputs, expected)
    pytest.importorskip("onnx", reason="onnx is not installed")
    exported = export.onnx(estimator)
    assert exported.SerializeToString() == export.onnx(model).SerializeToString()
    found = onnx_answers(model, new)
    assert_near(model, found["variable" if task == "two" else "probabilities"], expected)
    if task == "classes":
        assert found["label"].tolist() == estimator.predict(frame).tolist()
    for function in (export.c, export.onnx):
        with pytest.raises(ValueError, match=f"{kind.__name__} is not fitted"):
            function(fresh)
    pipeline = make_pipeline(FunctionTransformer(), estimator)
    with pytest.raises(TypeError, match=r"pass its last step, pipeline\[-1\]"):
        export.onnx(pipeline)
    with pytest.raises(TypeError, match=r"pass its last step, pipeline\[-1\]"):
        export.c(pipeline)


def test_what_is_refused():
    model = trained("one")
    for function in (export.to_state_dict, export.to_keras_weights):
        with pytest.raises(TypeError, match="got TableModel, which has several networks"):
            function(model)
    halves = TableModel("fast", task="classification", n_members=2, epochs=2)
    halves.fit(made(mixed()), np.array([0.5, 1.5])[np.arange(400) % 2])
    for function in (export.c, export.onnx):
        if function is export.onnx:
            pytest.importorskip("onnx", reason="onnx is not installed")
        with pytest.raises(ValueError, match="TableModel is not fitted: fit it before the export"):
            function(TableModel())
        with pytest.raises(ValueError, match="the model has 0.5"):
            function(halves)
        with pytest.raises(ValueError, match=r"pass one of model\.networks"):
            function(model, raw=False)
    # one of the networks alone takes the inputs of the encoder
    net = model.networks[0]
    assert f"const float x[{model.encoder.n_inputs}]" in export.c(net)
