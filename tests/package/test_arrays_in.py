"""Arrays that users pass: masked arrays, frames, objects, numbers too large for the dtype."""

import decimal

import numpy as np
import pytest

pd = pytest.importorskip("pandas", reason="pandas is not installed")
sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")

import fastbp
from fastbp import metrics, reference
from fastbp._checks.numbers import as_numbers

NETWORKS = pytest.mark.parametrize("network", [fastbp.Network, reference.Network])
X = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
Y = np.array([1.0, 2.0, 3.0])


def masked(values, *places):
    mask = np.zeros(np.shape(values), bool)
    for place in places:
        mask[place] = True
    return np.ma.array(values, mask=mask)


def regression(network=fastbp.Network):
    return network((2, 1), seed=0)


# ---- masked arrays ------------------------------------------------------------------------

X_MASKED, Y_MASKED = masked(X, (1, 0)), masked(Y, 2)
LATE = sparse.csr_array(X)
LATE.data = masked(LATE.data, 3)


def partly(a, y):
    """A custom loss whose values are a masked array."""
    return masked((a - y)[:, 0] ** 2, 0), 2 * (a - y)


MASKED_CALLS = {
    "X": lambda net: net.fit(X_MASKED, Y),
    "rows": lambda net: net.fit([X_MASKED[0], X_MASKED[1], X_MASKED[2]], Y),
    "an element": lambda net: net.fit([[1.0, np.ma.masked], [1.0, 2.0], [3.0, 4.0]], Y),
    "an object": lambda net: net.fit(np.array([[1.0, np.ma.masked]] * 3, object), Y),
    "y": lambda net: net.fit(X, Y_MASKED),
    "sample_weight": lambda net: net.fit(X, Y, sample_weight=Y_MASKED),
    "validation X": lambda net: net.fit(X, Y, validation_data=(X_MASKED, Y)),
    "validation y": lambda net: net.fit(X, Y, validation_data=(X, Y_MASKED)),
    "validation weights": lambda net: net.fit(X, Y, validation_data=(X, Y, Y_MASKED)),
    "predict": lambda net: net.predict(X_MASKED),
    "forward": lambda net: net.forward(X_MASKED),
    "loss": lambda net: net.loss(X, Y_MASKED),
    "theta": lambda net: setattr(net, "theta", masked(np.ones(3), 0)),
    "W": lambda net: setattr(net.layers[0], "W", masked([[1.0], [2.0]], 0)),
    "b": lambda net: setattr(net.layers[0], "b", [np.ma.masked]),
    "stream": lambda net: net.fit(fastbp.stream(X_MASKED, Y)),
    "stream y": lambda net: net.fit(fastbp.stream(X, Y_MASKED)),
    "stream weights": lambda net: net.fit(fastbp.stream(X, Y, Y_MASKED)),
    "blocks": lambda net: net.fit(fastbp.stream(lambda: [(X_MASKED, Y)])),
    "sparse": lambda net: net.fit(LATE, Y),
    "delta": lambda net: (net.forward(X), net.backward_from(masked(np.ones((3, 1)), 1))),
}


@NETWORKS
@pytest.mark.parametrize("call", MASKED_CALLS.values(), ids=list(MASKED_CALLS))
def test_masked_elements_are_refused(network, call):
    net = regression(network)
    before = net.theta.copy()
    with pytest.raises(ValueError, match=r"masked element.*\.filled\(value\), or drop such rows"):
        call(net)
    np.testing.assert_array_equal(net.theta, before)


def test_the_first_masked_row_is_named():
    with pytest.raises(ValueError, match="X holds 2 masked elements, first in row 1: put"):
        regression().fit(masked(X, (1, 0), (2, 1)), Y)


@NETWORKS
def test_masked_arrays_without_masked_elements_are_accepted(network):
    plain, same = regression(network), regression(network)
    expected = plain.fit(X, Y, sample_weight=Y, validation_data=(X, Y), epochs=2).loss
    ma = np.ma.array
    again = same.fit(
        masked(X), ma(Y), sample_weight=ma(Y), validation_data=(ma(X), ma(Y)), epochs=2
    )
    assert again.loss == expected
    same.theta = ma(plain.theta)
    assert type(same.predict(ma(X))) is np.ndarray


def test_masked_class_weights_and_values_of_a_loss_are_refused():
    net = fastbp.Network((2, 3), output="softmax", loss="cross_entropy")
    with pytest.raises(ValueError, match="class_weight holds 1 masked element, first in row 2"):
        net.fit(X, [0, 1, 2], class_weight=masked(np.ones(3), 2))
    net = fastbp.Network((2, 1), loss=partly)
    with pytest.raises(ValueError, match="the loss of partly holds 1 masked element"):
        net.fit(X, Y[:, None])


@pytest.mark.parametrize("metric", [metrics.accuracy, metrics.r2, metrics.mae, metrics.f1])
def test_masked_arrays_in_metrics_are_refused(metric):
    with pytest.raises(ValueError, match="a holds 1 masked element"):
        metric(X_MASKED, X)
    with pytest.raises(ValueError, match="y holds 1 masked element"):
        metric(X, X_MASKED)
    with pytest.raises(ValueError, match="sample_weight holds 1 masked element"):
        metric(X, X, sample_weight=Y_MASKED)


# ---- objects and frames -------------------------------------------------------------------

TABLE = pd.DataFrame(
    {
        "size": [1.5, 2.0, 3.0],
        "colour": ["red", "blue", "red"],
        "n": pd.array([1, 2, 3], "Int64"),
        "new": pd.array([True, False, True], "boolean"),
        "day": pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03"]),
        "gap": pd.array([1, None, 3], "Int64"),
        "hole": pd.array([True, None, True], "boolean"),
        "text": ["1.5", "2", "3"],
    }
)


@NETWORKS
def test_frames_of_dummies_are_accepted(network):
    dummies = pd.get_dummies(TABLE[["size", "colour"]])
    assert np.asarray(dummies).dtype == object  # floats and booleans
    expected = np.array([[1.5, 0, 1], [2.0, 1, 0], [3.0, 0, 1]])
    nets = [network((3, 1), seed=0) for _ in range(3)]
    seen = [
        net.fit(given, Y, epochs=3).loss
        for net, given in zip(nets, (expected, dummies, dummies.astype(object)), strict=True)
    ]
    assert seen[0] == seen[1] == seen[2]
    only = network((2, 1), seed=0).predict(dummies.iloc[:, 1:])
    np.testing.assert_array_equal(only, network((2, 1), seed=0).predict(expected[:, 1:]))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (TABLE[["n", "new"]], np.array([[1, 1], [2, 0], [3, 1]])),
        (TABLE["n"], np.array([1, 2, 3])),
        (TABLE["new"], np.array([True, False, True])),
        ([True, False], np.array([True, False])),
        (np.array([True, np.False_], object), np.array([True, False])),
        (np.array([1, np.int8(2), True], object), np.array([1, 2, 1])),
        (np.array([2**63, 1], object), np.array([2.0**63, 1.0])),
        (np.array([1, 2.5, decimal.Decimal("0.25")], object), np.array([1, 2.5, 0.25])),
        (np.array([float("nan"), 1], object), np.array([np.nan, 1.0])),
    ],
)
def test_objects_that_are_numbers_are_accepted(given, expected):
    found = as_numbers(given, "X")
    assert found.dtype.kind == expected.dtype.kind
    np.testing.assert_array_equal(found, expected)


def test_objects_as_labels():
    net = fastbp.Network((2, 3), output="softmax", loss="cross_entropy")
    assert net.loss(X, np.array([0, 1, 2], object)) == net.loss(X, [0, 1, 2])
    assert net.loss(X, TABLE["n"] - 1) == net.loss(X, [0, 1, 2])


def test_polars():
    polars = pytest.importorskip("polars", reason="polars is not installed")
    net = regression()
    frame = polars.DataFrame({"a": [1.0, 3.0, 5.0], "b": [True, False, True]})
    expected = net.predict([[1.0, 1.0], [3.0, 0.0], [5.0, 1.0]])
    np.testing.assert_array_equal(net.predict(frame), expected)
    assert net.fit(frame, frame["a"], epochs=1).epochs == 1
    with pytest.raises(TypeError, match=r"column 'b' holds 'x' \(str\) in row 0"):
        net.fit(polars.DataFrame({"a": [1.0], "b": ["x"]}), [1.0])
    with pytest.raises(ValueError, match="NaN or infinity|missing"):
        net.fit(polars.DataFrame({"a": [1.0], "b": [None]}), [1.0])


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        (["size", "colour"], TypeError, r"real numbers; column 'colour' holds 'red' \(str\) in ro"),
        (["colour", "text"], TypeError, r"columns 'colour', 'text' hold .*write X.astype\(float\)"),
        (["size", "text"], TypeError, r"column 'text' holds '1.5'.*write X.astype\(float\)"),
        (["size", "day"], TypeError, "column 'day' holds Timestamp"),
        (["size", "gap"], ValueError, "missing values in column 'gap', first <NA> in row 1: fill"),
        (["n", "hole"], ValueError, "missing values in column 'hole', first <NA> in row 1: fill"),
    ],
)
def test_an_error_names_the_columns_that_are_not_numbers(columns, error, message):
    with pytest.raises(error, match=message):
        regression().fit(TABLE[columns], Y)


def test_objects_that_are_not_numbers_are_refused():
    with pytest.raises(TypeError, match=r"columns 0, 1, 2, 3, 4 and 2 more hold 'a' \(str\)"):
        regression().predict(np.full((3, 7), "a", object))
    with pytest.raises(TypeError, match=r"got 'a' \(str\) in row 0: encode classes with np.uniqu"):
        regression().fit(X, np.array(["a", "b", "a"], object))
    with pytest.raises(ValueError, match="y has missing values, first None in row 1"):
        regression().fit(X, [1.0, None, 2.0])
    with pytest.raises(ValueError, match="a number beyond float64"):
        regression().predict([[1, 10**400]])


# ---- numbers too large for the dtype ------------------------------------------------------


@NETWORKS
@pytest.mark.parametrize("rows", [3, 300])
@pytest.mark.parametrize("where", ["X", "y", "sample_weight"])
def test_an_error_names_numbers_too_large_for_float32(network, rows, where):
    given = {"X": np.ones((rows, 2)), "y": np.ones(rows), "sample_weight": np.ones(rows)}
    given[where][-2] = 1e39
    net = regression(network) if network is fastbp.Network else network((2, 1), dtype="float32")
    message = rf"{where} holds 1e\+39 in row {rows - 2}, beyond float32, which ends at ±3.403e\+38"
    with pytest.raises(ValueError, match=rf"{message}: scale {where}, or .*dtype='float64'"):
        net.fit(**given)
    assert network((2, 1), dtype="float64").fit(**given, epochs=1, optimizer="adam").epochs == 1
    given[where][-2] = np.inf
    with pytest.raises(ValueError, match=f"{where} holds NaN or infinity, first in row {rows - 2}"):
        net.fit(**given)


def test_sparse_numbers_too_large_for_float32():
    wide = sparse.csr_array([[1.0, 1e39], [0.0, 1.0]])
    with pytest.raises(ValueError, match=r"X holds 1e\+39, beyond float32, which ends at"):
        regression().fit(wide, [1.0, 2.0])
    with pytest.raises(ValueError, match=r"X holds 1e\+39, beyond float32, which ends at"):
        regression().predict(wide)
    assert fastbp.Network((2, 1), dtype="float64").fit(wide, [1.0, 2.0], epochs=1).epochs == 1


@pytest.mark.parametrize(
    ("n", "n_targets", "message"),
    [
        (2**31 - 1, 5, "y has 5 rows; X has 2,147,483,647"),
        (2**31, 2**31, "X has 2,147,483,648 rows; a fit takes at most 2,147,483,647 at once"),
    ],
)
def test_huge_views_are_refused_before_they_are_read(n, n_targets, message):
    """Views with a stride of zero, which take no memory, and would take minutes to read."""
    X = np.broadcast_to(np.ones((1, 3), np.float32), (n, 3))
    y = np.broadcast_to(np.float32(1), (n_targets, 1))
    with pytest.raises(ValueError, match=f"^{message}"):
        fastbp.Network((3, 1), seed=0).fit(X, y)
