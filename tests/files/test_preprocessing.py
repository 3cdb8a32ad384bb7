"""Scaling, categories and class names, which come from the training rows and are saved as JSON."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastbp.errors import DataError
from fastbp.tabular import from_arrays, read_table
from fastbp.tabular._preprocessing import Preprocessing

F64 = np.dtype(np.float64)
HOUSES = "size,rooms,town,price\n50,2,Köln,100.5\n80,3,Bonn,200\n120,5,Köln,300\n"


@pytest.fixture
def write(tmp_path):
    def write(text, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def fitted(path, task, **options):
    table = read_table(path)
    return table, Preprocessing.fit(table, task, **options)


def test_statistics_and_categories(write):
    table, prep = fitted(write(HOUSES), "regression")
    assert prep.features == ("size", "rooms", "town") and prep.target == ("price",)
    assert prep.categories == {"town": ("Bonn", "Köln")}
    assert prep.n_inputs == 4 and prep.n_outputs == 1
    sizes = np.array([50, 80, 120.0])
    assert prep.mean[0] == sizes.mean() and prep.scale[0] == sizes.std()
    X = prep.inputs(table, F64)
    assert X[:, 0].tolist() == ((sizes - sizes.mean()) / sizes.std()).tolist()
    assert X[:, 2:].tolist() == [[0, 1], [1, 0], [0, 1]]
    y = prep.targets(table, F64)
    assert y.shape == (3, 1)
    # a subtraction, a division, a product and a sum, each rounded to eps/2 of the largest value
    np.testing.assert_allclose(
        prep.answers(y)[:, 0], table.target, rtol=0, atol=4 * np.finfo(float).eps * 300
    )


def test_statistics_use_training_rows_and_categories_use_all_rows(write):
    _, prep = fitted(write(HOUSES), "regression", rows=np.array([0, 2]))
    assert prep.mean[0] == 85 and prep.scale[0] == 35
    assert prep.categories == {"town": ("Bonn", "Köln")}
    assert prep.target_mean == (200.25,)


def test_a_constant_column_has_scale_1(write):
    table, prep = fitted(write("a,b,y\n0.1,1,0.1\n0.1,2,0.1\n0.1,3,0.1\n"), "regression")
    assert prep.scale[0] == 1 and prep.target_scale == (1,)
    assert abs(prep.inputs(table, F64)[:, 0]).max() <= np.finfo(float).eps


def test_nothing_is_scaled_unless_asked(write):
    table, prep = fitted(write(HOUSES), "regression", standardize=False)
    assert prep.inputs(table, F64)[:, :2].tolist() == table.values[:, :2].tolist()
    assert prep.targets(table, F64)[:, 0].tolist() == table.target.tolist()


def test_pixels_share_one_scale():
    images = np.array([[0, 16, 3], [0, 0, 3]], np.uint8)
    table = from_arrays("images", images, np.array([0, 1]))
    prep = Preprocessing.fit(table, "classification", pixel_scale=16.0)
    assert prep.mean == (0, 8, 3) and prep.scale == (16, 16, 16)
    assert prep.inputs(table, np.dtype(np.float32)).tolist() == [[0, 0.5, 0], [0, -0.5, 0]]


@pytest.mark.parametrize(
    "target, classes",
    [
        (np.array(["b", "a", "b"]), ("a", "b")),
        (np.array([2.0, -1.0, 2.0]), (-1, 2)),
        (np.array([7, 3, 7], np.uint8), (3, 7)),
        (np.array([True, False, True]), (False, True)),
    ],
)
def test_classes(target, classes):
    table = from_arrays("t", np.eye(3), target)
    prep = Preprocessing.fit(table, "classification")
    assert prep.classes == classes and [*map(type, prep.classes)] == [type(c) for c in classes]
    assert prep.targets(table, F64).tolist() == [1, 0, 1]
    assert prep.answers(np.array([[0.1, 0.9], [0.8, 0.2]])).tolist() == [1, 0]


@pytest.mark.parametrize(
    "target, task, message",
    [
        (np.array([1.5, 2, 3]), "classification", "row 1: classification takes .*'y' is 1.5"),
        (np.array([1e300, 2, 3]), "classification", "classification takes"),
        (np.array(["a", "a", "a"]), "classification", "at least two classes; 'y' is 'a' in every"),
        (np.ones((3, 2)), "classification", "one target column; got 2"),
        (np.array(["a", "b", "c"]), "regression", "regression takes numbers; 'y' is 'a'"),
        (np.array([1e300, -1e300, 0]), "regression", "column 'y' has numbers whose square"),
    ],
)
def test_targets_that_do_not_fit_the_task_are_refused(target, task, message):
    with pytest.raises(DataError, match=message):
        Preprocessing.fit(from_arrays("t", np.eye(3), target), task)


def test_too_many_categories_are_refused(write):
    rows = "".join(f"name{i},{i}\n" for i in range(257))
    with pytest.raises(DataError, match="'who': 257 distinct texts, more than 256.*; --drop who"):
        fitted(write("who,y\n" + rows), "regression")


def test_unknown_categories_and_classes_are_refused(write):
    _, prep = fitted(write("town,y\nKöln,a\nBonn,b\n"), "classification")
    table = read_table(write("town,y\nKöln,c\nRom,a\n", "new.csv"))
    with pytest.raises(
        DataError,
        match=r"new.csv, column 'town': 1 cell with an unknown category \(in line 3\): "
        "'Rom'; the model knows Bonn, Köln; unknown=\"ignore\" sets all",
    ):
        prep.inputs(table, F64)
    with pytest.raises(
        DataError, match="the class 'c' of 'y' was not in the training file; the model knows a, b$"
    ):
        prep.targets(table, F64)


def test_unknown_categories_are_counted_in_all_columns_or_ignored(write):
    _, prep = fitted(write("town,n,kind,y\nKöln,1,a,0\nBonn,3,b,1\n"), "classification")
    names = [f"town {i}" for i in range(12)]
    text = "town,n,kind,y\n" + "".join(f"{name},3,a,0\n" for name in names)
    table = read_table(write(text + "Rom,1,c,0\nBonn,1,c,0\n", "new.csv"))
    with pytest.raises(DataError) as caught:
        prep.inputs(table, F64)
    first, town, kind, remedy = str(caught.value).split("\n")
    assert first.endswith("new.csv: problems in 2 columns")
    listed = ", ".join(map(repr, names[:8]))
    assert town == (
        f"  column 'town': 13 cells with an unknown category (first in line 2): {listed} and 5 "
        "more; the model knows Bonn, Köln"
    )
    assert kind == (
        "  column 'kind': 2 cells with an unknown category (first in line 14): 'c'; the model "
        "knows a, b"
    )
    assert remedy == '  unknown="ignore" sets all inputs of the column to 0 in such rows'
    X = prep.inputs(table, F64, unknown="ignore")
    # town Bonn, town Köln, n, kind a, kind b; the others are those of known categories
    assert X[:, [0, 1, 3, 4]].tolist() == [[0, 0, 1, 0]] * 12 + [[0, 0, 0, 0], [1, 0, 0, 0]]
    assert X[:, 2].tolist() == [1.0] * 12 + [-1.0] * 2
    assert [problem.column for problem in prep.unknown_categories(table)] == [
        "column 'town'",
        "column 'kind'",
    ]
    with pytest.raises(ValueError, match="unknown must be one of error, ignore; got 'skip'"):
        prep.inputs(table, F64, unknown="skip")


@given(X=hnp.arrays(np.float64, st.tuples(st.integers(2, 5), st.integers(1, 4)),
                    elements=st.floats(-1e100, 1e100)))  # fmt: skip
def test_standardised_columns_have_mean_0_and_deviation_1(X):
    table = from_arrays("t", X, np.arange(len(X)) / 2)
    prep = Preprocessing.fit(table, "regression")
    Z = prep.inputs(table, F64)
    eps = np.finfo(float).eps
    for x, z, scale in zip(X.T, Z.T, prep.scale, strict=True):
        # the mean of n numbers and each x - mean have an error of at most n eps/2 of their size
        error = 2 * len(x) * eps * max(abs(x).max(), np.finfo(float).tiny) / scale
        assert abs(z.mean()) <= error + len(x) * eps
        if scale != 1:
            assert abs(z.std() - 1) <= 2 * error + 4 * len(x) * eps


def test_preprocessing_through_json(write):
    for task, text in [("regression", HOUSES), ("classification", "a,town,y\n1,x,u\n2,z,v\n")]:
        table, prep = fitted(write(text), task)
        twin = Preprocessing.from_dict(json.loads(json.dumps(prep.to_dict())))
        assert twin == prep
        assert twin.inputs(table, F64).tobytes() == prep.inputs(table, F64).tobytes()


FORGED = {
    "task": ("guess", "task must be one of"),
    "features": (["size", "size", "town"], "features must be distinct"),
    "features none": ([], "features must be a list of at least one string"),
    "features of numbers": ([1, 2, 3], "features must be a list of at least one string"),
    "n_columns": (2, "n_columns must be at least 3"),
    "n_columns as text": ("4", "n_columns must be"),
    "categories": ([], "categories must map"),
    "categories of nobody": ({"street": ["a"]}, "'street', which is not a feature"),
    "categories as text": ({"town": "ab"}, "categories must map"),
    "categories none": ({"town": []}, "at least one string"),
    "mean": ([1.0], "mean must be a list of 4 numbers"),
    "mean as text": (["1", 0, 0, 0], "mean must contain finite numbers; got '1'"),
    "mean infinite": ([float("inf"), 0, 0, 0], "mean must contain finite"),
    "mean giant": ([10**400, 0, 0, 0], "mean must contain finite"),
    "scale": ([0.0, 1, 1, 1], "scale must contain finite positive"),
    "scale of bools": ([True] * 4, "scale must contain finite positive"),
    "target": (["a", "b"], "target_mean must be a list of 2"),
    "classes": (["a", "b"], "a regression has no classes"),
    "target_scale": ([-1.0], "target_scale must contain finite positive"),
    "target_mean": (None, "target_mean must be a list of 1"),
    "more": (1, "missing or unknown: more"),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_preprocessing_is_refused(write, name):
    value, message = FORGED[name]
    prep = fitted(write(HOUSES), "regression")[1]
    with pytest.raises(ValueError, match=message):
        Preprocessing.from_dict(prep.to_dict() | {name.split()[0]: value})


@pytest.mark.parametrize(
    "classes", [["a"], ["a", "a"], ["a", 1], [1.5, 2], [None, "a"], [[1], [2]], "ab", [0, False]]
)
def test_forged_classes_are_refused(classes):
    prep = Preprocessing.fit(from_arrays("t", np.eye(2), np.array(["a", "b"])), "classification")
    with pytest.raises(ValueError, match="classes must be"):
        Preprocessing.from_dict(prep.to_dict() | {"classes": classes})


def test_a_missing_field_is_refused(write):
    fields = fitted(write(HOUSES), "regression")[1].to_dict()
    del fields["scale"]
    with pytest.raises(ValueError, match="missing or unknown: scale"):
        Preprocessing.from_dict(fields)
