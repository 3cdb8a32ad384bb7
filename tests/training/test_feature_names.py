"""The names of columns that a training takes from a data frame, and what they refuse."""

import copy
import json
import pickle

import numpy as np
import pytest

pd = pytest.importorskip("pandas", reason="pandas is not installed")

import fastbp
from fastbp import reference
from fastbp._checks.columns import column_names
from fastbp.optim import SGD
from fastbp.testing import gradcheck

NETWORKS = pytest.mark.parametrize("network", [fastbp.Network, reference.Network])
FRAME = pd.DataFrame({"age": [1.0, 2.0, 3.0], "size": [0.5, 0.1, 0.2], "rent": [2.0, 1.0, 0.0]})
NAMES = ("age", "size", "rent")
Y = np.array([1.0, 2.0, 3.0])
OTHERS = {
    "order": (FRAME[["size", "age", "rent"]], "in another order .* column 0 is 'size', and was 'a"),
    "name": (
        FRAME.rename(columns={"size": "area"}),
        r"other columns .*: unexpected 'area'; missing 'size'; frame\[list\(net.feature_names\)\]",
    ),
    "missing": (FRAME[["age", "rent"]], "other columns .*: missing 'size'"),
    "more": (FRAME.assign(id=1.0), "other columns .*: unexpected 'id'"),
    "twice": (FRAME[["age", "size", "rent", "rent"]], "4 columns, some of them twice"),
}
CALLS = {
    "predict": lambda net, X: net.predict(X),
    "forward": lambda net, X: net.forward(X),
    "loss": lambda net, X: net.loss(X, Y),
    "fit": lambda net, X: net.fit(X, Y, epochs=1),
    "partial_fit": lambda net, X: net.partial_fit(X, Y),
    "train_batch": lambda net, X: net.train_batch(X, Y, SGD(0.01)),
    "jacobian": lambda net, X: net.jacobian(X),
    "walk": lambda net, X: net.walk(X[:1], 1.0),
    "gradcheck": lambda net, X: gradcheck(net, X, Y),
    "validation": lambda net, X: net.fit(FRAME, Y, validation_data=(X, Y), epochs=1),
}


def trained(network=fastbp.Network, frame=FRAME):
    net = network((3, 4, 1), seed=0)
    net.fit(frame, Y, epochs=1)
    return net


@NETWORKS
@pytest.mark.parametrize("case", OTHERS)
@pytest.mark.parametrize("call", CALLS)
def test_a_frame_with_other_columns_is_refused(network, case, call):
    net = trained(network)
    assert net.feature_names == NAMES
    frame, message = OTHERS[case]
    with pytest.raises(ValueError, match=message) as caught:
        CALLS[call](net, frame)
    assert "net.feature_names = None" in str(caught.value)
    CALLS[call](net, FRAME)
    CALLS[call](net, FRAME.to_numpy())  # has no names


@NETWORKS
def test_the_names_of_one_row_are_checked(network):
    net = trained(network)
    x = net.walk(FRAME.iloc[1], 1.0).x
    np.testing.assert_array_equal(x, FRAME.to_numpy()[1].astype(net.dtype))
    with pytest.raises(ValueError, match="columns of x are in another order .* 0 is 'size'"):
        net.walk(FRAME[["size", "age", "rent"]].iloc[1], 1.0)
    with pytest.raises(ValueError, match="x has other columns .*: unexpected 'area'; missing 'si"):
        net.walk(FRAME.rename(columns={"size": "area"}).iloc[1], 1.0)
    unnamed = pd.DataFrame(FRAME.to_numpy()).iloc[1]
    assert net.walk(unnamed, 1.0).J == net.walk(FRAME.iloc[1], 1.0).J
    net.feature_names = None
    net.walk(FRAME[["size", "age", "rent"]].iloc[1], 1.0)


@NETWORKS
def test_names_come_from_the_first_frame(network):
    net = network((3, 1), seed=0)
    net.predict(FRAME)
    net.forward(FRAME)
    net.fit(FRAME.to_numpy(), Y, epochs=1)
    assert net.feature_names is None
    net.train_batch(FRAME, Y, SGD(0.01))
    assert net.feature_names == NAMES
    net.fit(FRAME.to_numpy(), Y, epochs=1)
    assert net.feature_names == NAMES
    net.feature_names = None
    net.fit(FRAME[["rent", "age", "size"]], Y, epochs=1)
    assert net.feature_names == ("rent", "age", "size")


def test_a_fit_that_is_refused_leaves_no_names():
    net = fastbp.Network((3, 1), seed=0)
    for options in ({"batch_size": 0}, {"validation_data": (FRAME[["age", "rent", "size"]], Y)}):
        with pytest.raises(ValueError, match=r"batch_size|columns of validation_data\[0\]"):
            net.fit(FRAME, Y, **options)
        assert net.feature_names is None
    with pytest.raises(ValueError, match="y has 2 rows"):
        net.train_batch(FRAME, Y[:2], SGD(0.01))
    assert net.feature_names is None


@NETWORKS
def test_a_stream_of_frames_gives_names_and_keeps_to_them(network):
    net = network((3, 1), seed=0)
    net.fit(fastbp.stream([(FRAME, Y), (FRAME, Y)]), epochs=1)
    assert net.feature_names == NAMES
    net = network((3, 1), seed=0)
    with pytest.raises(ValueError, match="columns of X of block 1 are in another order"):
        net.fit(fastbp.stream([(FRAME, Y), (FRAME[["rent", "age", "size"]], Y)]), epochs=1)


def test_names_that_are_no_strings_are_ignored():
    numbered = pd.DataFrame(FRAME.to_numpy())
    net = trained(frame=numbered)
    assert net.feature_names is None
    net.predict(FRAME)
    net = trained()
    np.testing.assert_array_equal(net.predict(numbered), net.predict(FRAME))
    mixed = FRAME.rename(columns={"age": 0})
    assert trained(frame=mixed).feature_names is None


def test_a_column_called_as_the_attribute_of_another_library():
    frame = FRAME.rename(columns={"age": "column_names", "rent": "columns"})
    assert column_names(frame) == ("column_names", "size", "columns")


def test_polars_and_arrow():
    polars = pytest.importorskip("polars", reason="polars is not installed")
    frame = polars.DataFrame(FRAME.to_dict("list"))
    net = trained(frame=frame)
    assert net.feature_names == NAMES
    with pytest.raises(ValueError, match="in another order"):
        net.predict(frame.select("rent", "age", "size"))
    with pytest.raises(ValueError, match="unexpected 'x'; missing 'rent'"):
        net.predict(frame.rename({"rent": "x"}))
    np.testing.assert_array_equal(net.predict(frame), net.predict(FRAME))
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    assert column_names(arrow.table(FRAME.to_dict("list"))) == NAMES


@NETWORKS
def test_copies_and_files_keep_the_names(network, tmp_path):
    net = trained(network)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert twin.feature_names == NAMES
    net.save(tmp_path / "net")
    loaded = fastbp.load(tmp_path / "net")
    assert loaded.feature_names == NAMES
    with pytest.raises(ValueError, match="in another order"):
        loaded.predict(FRAME[["size", "age", "rent"]])
    _, metadata = fastbp.io.read_safetensors(tmp_path / "net")
    assert metadata["version"] == "5"
    assert json.loads(metadata["architecture"])["feature_names"] == list(NAMES)
    net.feature_names = None  # then an older release can read the file
    net.save(tmp_path / "net")
    _, metadata = fastbp.io.read_safetensors(tmp_path / "net")
    assert metadata["version"] == "1" and "feature_names" not in metadata["architecture"]
    assert fastbp.load(tmp_path / "net").feature_names is None


def test_a_pickle_without_names_is_read():
    net = trained()
    state = net.__getstate__()
    del state["feature_names"]
    again = fastbp.Network.__new__(fastbp.Network)
    again.__setstate__(state)
    assert again.feature_names is None


def test_a_formula_and_names_in_one_file(tmp_path):
    net = fastbp.Network((3, 1), output="prelu", seed=0)
    net.fit(FRAME, Y, epochs=1)
    net.save(tmp_path / "net")
    loaded = fastbp.load(tmp_path / "net")
    assert loaded.feature_names == NAMES
    np.testing.assert_array_equal(loaded.theta, net.theta)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("age", "feature_names in the architecture must be a list; got 'age'"),
        (["age", "size"], "feature_names has 2 names; the network takes 3"),
        (["age", "size", 3], r"must hold strings; got 3 \(int\)"),
        (None, "the architecture lacks 'feature_names'"),
    ],
)
def test_forged_names_are_refused(names, message, tmp_path):
    trained().save(tmp_path / "net")
    tensors, metadata = fastbp.io.read_safetensors(tmp_path / "net")
    architecture = json.loads(metadata["architecture"])
    del architecture["feature_names"]
    if names is not None:
        architecture["feature_names"] = names
    metadata["architecture"] = json.dumps(architecture)
    fastbp.io.write_safetensors(tmp_path / "net", tensors, metadata)
    with pytest.raises(fastbp.ModelFileError, match=message):
        fastbp.load(tmp_path / "net")


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        ("abc", TypeError, "a sequence of strings or None; got 'abc'"),
        (3, TypeError, "a sequence of strings or None"),
        (["a", "b", 1], TypeError, "must hold strings; got 1"),
        (["a", "b"], ValueError, r"has 2 names; the network takes 3 inputs \(widths\[0\]\)"),
    ],
)
def test_names_are_checked(names, error, message):
    with pytest.raises(error, match=message):
        fastbp.Network((3, 1)).feature_names = names


def test_a_resumed_fit_does_not_compare_names(tmp_path):
    net = fastbp.Network((3, 1), seed=0)
    net.fit(FRAME, Y, epochs=2, checkpoint=tmp_path / "c", optimizer=SGD(0.01))
    again = fastbp.Network((3, 1), seed=0)
    again.fit(FRAME, Y, epochs=3, checkpoint=tmp_path / "c", optimizer=SGD(0.01))
    assert again.feature_names == NAMES
    expected = fastbp.Network((3, 1), seed=0)
    expected.fit(FRAME, Y, epochs=3, optimizer=SGD(0.01))
    np.testing.assert_array_equal(again.theta, expected.theta)


def test_the_network_of_an_estimator_has_its_names(tmp_path):
    sklearn = pytest.importorskip("fastbp.sklearn", reason="scikit-learn is not installed")
    model = sklearn.MLPRegressor(hidden_layer_sizes=4).partial_fit(FRAME, Y)
    back = sklearn.from_sklearn(sklearn.to_sklearn(model))
    model.network_.save(tmp_path / "net")
    for net in (model.network_, back.network_, fastbp.load(tmp_path / "net")):
        assert net.feature_names == NAMES
        with pytest.raises(ValueError, match="in another order"):
            net.predict(FRAME[["size", "age", "rent"]])
    unnamed = sklearn.MLPRegressor(hidden_layer_sizes=4).partial_fit(FRAME.to_numpy(), Y)
    assert unnamed.network_.feature_names is None
