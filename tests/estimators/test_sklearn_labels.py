"""Labels of the classifier: a single class, nullable dtypes, class weights in partial_fit."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
pd = pytest.importorskip("pandas", reason="pandas is not installed")

from sklearn.model_selection import KFold, cross_val_predict

import fastbp
from fastbp.sklearn import MLPClassifier, MLPRegressor

X = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)


def classifier(**options):
    return MLPClassifier(4, max_iter=5, tol=1e9, n_iter_no_change=1, random_state=0, **options)


# ---- a single class -----------------------------------------------------------------------


@pytest.mark.parametrize("label", [1, "a", True])
def test_a_single_class_has_probability_1(label):
    model = classifier().fit(X, [label] * len(X))
    assert model.classes_.tolist() == [label]
    np.testing.assert_array_equal(model.predict_proba(X), np.ones((len(X), 1), np.float32))
    np.testing.assert_array_equal(model.predict_log_proba(X), np.zeros((len(X), 1)))
    assert model.predict(X).tolist() == [label] * len(X)
    assert model.score(X, [label] * len(X)) == 1.0


def test_the_score_of_a_single_class_is_that_of_predict():
    model = classifier(early_stopping=True).fit(X, [7] * len(X))
    assert set(model.validation_scores_) == {1.0}


def test_folds_with_a_single_class():
    y = np.repeat([0, 1], 15)
    with pytest.warns(RuntimeWarning, match="Number of classes in training fold"):
        found = cross_val_predict(classifier(), X, y, cv=KFold(2), method="predict_proba")
    np.testing.assert_array_equal(found, np.repeat([[0.0, 1.0], [1.0, 0.0]], 15, axis=0))


@pytest.mark.parametrize("label", [7, "a"])
def test_a_single_class_in_onnx(label):
    skl2onnx, ort = pytest.importorskip("skl2onnx"), pytest.importorskip("onnxruntime")
    fastbp.export.register_skl2onnx()
    model = classifier().fit(X, [label] * len(X))
    options = {id(model): {"zipmap": False}}
    proto = skl2onnx.to_onnx(model, X[:1], target_opset=18, options=options)
    session = ort.InferenceSession(proto.SerializeToString())
    labels, p = session.run(None, {session.get_inputs()[0].name: X})
    assert labels.tolist() == [label] * len(X)
    np.testing.assert_array_equal(p, model.predict_proba(X))


def test_constant_columns_of_several_labels():
    y = np.column_stack([np.ones(30, int), np.zeros(30, int), np.arange(30) % 2])
    model = classifier().fit(X, y)
    assert model.predict_proba(X).shape == model.predict(X).shape == (30, 3)


# ---- dtypes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "values", "expected"),
    [
        ("Int64", [3, 5], np.int64),
        ("UInt8", [3, 5], np.uint8),
        ("boolean", [False, True], np.bool_),
    ],
)
@pytest.mark.parametrize("kind", ["series", "column"])
@pytest.mark.filterwarnings("ignore:A column-vector y was passed")
def test_nullable_labels_keep_their_dtype(dtype, values, expected, kind):
    y = pd.Series(values * 15, dtype=dtype)
    y = y if kind == "series" else y.to_frame()
    model = classifier().fit(X, y)
    assert model.classes_.dtype == expected and model.classes_.tolist() == values
    assert model.predict(X).dtype == expected
    begun = classifier().partial_fit(X, y, classes=pd.Series(values, dtype=dtype))
    assert begun.classes_.dtype == expected


def test_several_nullable_labels():
    y = pd.DataFrame(X > 0).astype("boolean")
    model, plain = classifier().fit(X, y), classifier().fit(X, X > 0)
    np.testing.assert_array_equal(model.predict_proba(X), plain.predict_proba(X))
    assert model.score(X, y) == plain.score(X, X > 0)


def test_nullable_labels_with_missing_values_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        classifier().fit(X, pd.Series([0, 1, None] * 10, dtype="Int64"))


# ---- class weights ------------------------------------------------------------------------

Y = np.arange(30) % 3


def test_partial_fit_may_lack_classes_with_weights():
    weights = {0: 1.0, 1: 2.0, 2: 4.0}
    model, other = classifier(class_weight=weights), classifier()
    s = np.array([weights[k] for k in Y])
    model.partial_fit(X, Y, classes=[0, 1, 2])
    other.partial_fit(X, Y, sample_weight=s, classes=[0, 1, 2])
    for part in (Y < 2, Y == 2, Y != 1):
        model.partial_fit(X[part], Y[part])
        other.partial_fit(X[part], Y[part], sample_weight=s[part])
        classes = str(set(Y[part]))
        np.testing.assert_array_equal(model.network_.theta, other.network_.theta, classes)
    with pytest.raises(ValueError, match="not in class_weight"):
        classifier(class_weight={0: 1.0, 5: 2.0}).fit(X, Y)
    with pytest.raises(ValueError, match=r"class_weight\[2\] must not be negative; got -1"):
        classifier(class_weight={2: -1.0}).fit(X, Y)
    with pytest.raises(ValueError, match=r"class_weight\[2\] must be finite"):
        classifier(class_weight={2: np.inf}).fit(X, Y)


def test_partial_fit_with_zero_weights_changes_nothing():
    model = classifier(class_weight={0: 0.0, 1: 1.0, 2: 1.0}).partial_fit(X, Y, classes=[0, 1, 2])
    before, t = model.network_.theta.copy(), model.t_
    model.partial_fit(X[Y == 0], Y[Y == 0])
    model.partial_fit(X, Y, sample_weight=np.zeros(30))
    np.testing.assert_array_equal(model.network_.theta, before)
    assert model.t_ == t
    first = classifier(class_weight={0: 0.0, 1: 1.0}).partial_fit(X[:3], [0] * 3, classes=[0, 1])
    assert first.partial_fit(X, Y > 0).predict(X).shape == (30,)
    MLPRegressor(hidden_layer_sizes=4).partial_fit(X, X[:, 0], sample_weight=np.zeros(30))


@pytest.mark.parametrize(
    "fit",
    [
        lambda: classifier().fit(X, Y, sample_weight=np.zeros(30)),
        lambda: classifier(class_weight=dict.fromkeys(range(3), 0.0)).fit(X, Y),
        lambda: MLPRegressor(hidden_layer_sizes=4).fit(X, X[:, 0], sample_weight=np.zeros(30)),
    ],
)
def test_a_fit_with_only_zero_weights_is_refused(fit):
    with pytest.raises(ValueError, match="Sample weights must contain at least one non-zero"):
        fit()
