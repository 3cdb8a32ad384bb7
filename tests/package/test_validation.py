"""Checks of arguments: errors with their messages, and unusual arrays that are accepted."""

import numpy as np
import pytest

from fastbp._checks import arguments as check
from fastbp.losses import Loss

F32, F64 = np.dtype("float32"), np.dtype("float64")
MSE, CE, BCE = Loss("mse"), Loss("cross_entropy"), Loss("binary_cross_entropy")


# ---- numbers, widths, dtypes --------------------------------------------------------------


@pytest.mark.parametrize("widths", [(4, 3), [4, 16, 3], np.array([4, 3]), (n for n in (1, 1))])
def test_widths(widths):
    checked = check.check_widths(widths)
    assert isinstance(checked, tuple) and all(type(n) is int for n in checked)


@pytest.mark.parametrize(
    ("widths", "error", "message"),
    [
        ((4,), ValueError, "widths must have at least 2 entries, inputs and outputs; got 1"),
        ((), ValueError, "at least 2 entries"),
        ((4, 0), ValueError, r"widths\[1\] must be at least 1; got 0"),
        ((-4, 1), ValueError, r"widths\[0\] must be at least 1; got -4"),
        ((4, 2.0), TypeError, r"widths\[1\] must be a whole number; got 2.0 \(float\)"),
        ((4, True), TypeError, r"widths\[1\] must be a whole number"),
        (5, TypeError, r"widths must be a sequence of whole numbers such as \(4, 16, 3\)"),
        ("4,3", TypeError, "widths must be a sequence"),
        ((2**31, 2**31), ValueError, "more than an address space holds"),
        ((2**62, 1), ValueError, "more than an address space holds"),
        ((1, 2**200), ValueError, r"widths.1. must be below 2\*\*63"),
    ],
)
def test_bad_widths_are_refused(widths, error, message):
    with pytest.raises(error, match=message):
        check.check_widths(widths)


@pytest.mark.parametrize("dtype", ["float32", np.float32, F32, "f4", "single"])
def test_dtype(dtype):
    assert check.check_dtype(dtype) is F32


@pytest.mark.parametrize("dtype", ["float16", "int32", ">f4", "complex64", "half!", object, None])
def test_bad_dtypes_are_refused(dtype):
    with pytest.raises(TypeError, match="dtype must be 'float32' or 'float64'; got"):
        check.check_dtype(dtype)


def test_seed():
    assert check.check_seed(2**64 - 1) == 2**64 - 1
    assert check.check_seed(np.uint8(3)) == 3
    drawn = {check.check_seed(None) for _ in range(8)}
    assert len(drawn) == 8 and max(drawn) < 2**63


@pytest.mark.parametrize(
    ("seed", "error"), [(-1, ValueError), (2**64, ValueError), (1.0, TypeError), ("a", TypeError)]
)
def test_bad_seeds_are_refused(seed, error):
    with pytest.raises(error, match="seed must be"):
        check.check_seed(seed)


# ---- inputs -------------------------------------------------------------------------------


def readonly(array):
    array.flags.writeable = False
    return array


def misaligned(array):
    raw = np.zeros(array.nbytes + 1, np.uint8)[1:]
    shifted = raw.view(array.dtype).reshape(array.shape)
    shifted[...] = array
    assert not shifted.flags.aligned
    return shifted


GRID = np.arange(24.0).reshape(4, 6)


@pytest.mark.parametrize(
    "X",
    [
        GRID,
        readonly(GRID.copy()),
        GRID[::2],
        GRID[::-1],
        GRID[:, 1:5],
        np.broadcast_to(GRID[0], (3, 6)),
        GRID[:, 2:3],
        GRID[:, ::6],
        np.arange(4.0)[:, None],
    ],
)
def test_suitable_arrays_are_not_copied(X):
    assert check.as_matrix(X, X.shape[1], F64) is X


@pytest.mark.parametrize(
    "X",
    [
        np.asfortranarray(GRID),
        GRID[:, ::2],
        GRID[:, ::-1],
        misaligned(GRID),
        GRID.astype(">f8"),
        GRID.astype(">f4"),
        GRID.astype(np.float16),
        GRID.astype(np.longdouble),
        GRID.astype(int),
        GRID > 5,
        GRID.tolist(),
        [tuple(row) for row in GRID],
    ],
)
@pytest.mark.parametrize("dtype", [F32, F64])
def test_other_arrays_are_copied(X, dtype):
    taken = check.as_matrix(X, np.shape(X)[1], dtype)
    assert taken.dtype == dtype and taken.flags.c_contiguous and taken.flags.aligned
    assert not np.shares_memory(taken, X)
    np.testing.assert_array_equal(taken, np.array(X, dtype))


@pytest.mark.parametrize(
    ("X", "n_cols", "error", "message"),
    [
        (np.ones((2, 5)), 4, ValueError, r"X has 5 columns; the network takes 4 \(widths\[0\]\)"),
        (np.ones(4), 4, ValueError, r"write X\[None, :\] for one sample"),
        (np.ones(4), 1, ValueError, r"write X\[:, None\] for one column"),
        (np.ones(3), 4, ValueError, r"X must be 2-D, \(samples, 4\); got 1-D, shape \(3,\)"),
        (np.ones((2, 3, 4)), 4, ValueError, r"got 3-D, shape \(2, 3, 4\)"),
        (3.0, 4, ValueError, r"got 0-D"),
        (np.ones((0, 4)), 4, ValueError, "X has no rows; give at least one sample"),
        ([[1, 2], [3]], 2, ValueError, "X has rows of different lengths"),
        (np.ones((2, 4), complex), 4, TypeError, "must hold real numbers; got dtype complex128"),
        (np.full((2, 4), "a", object), 4, TypeError, "columns 0, 1, 2, 3 hold 'a' .str. in row 0"),
        ([["a", "b"]], 2, TypeError, "X must hold real numbers; got dtype <U1"),
        (np.ones((2, 4), "M8[s]"), 4, TypeError, "X must hold real numbers"),
        (None, 4, TypeError, "got dtype object"),
    ],
)
def test_bad_matrices_are_refused(X, n_cols, error, message):
    with pytest.raises(error, match=message):
        check.as_matrix(X, n_cols, F64)


def test_nan_is_refused_only_by_check_finite():
    X = np.array([[1.0, 2.0], [np.nan, 0.0], [0.0, np.inf]])
    assert check.as_matrix(X, 2, F64) is X
    with pytest.raises(ValueError, match="X holds NaN or infinity, first in row 1; drop or fill"):
        check.check_finite(X, "X")
    check.check_finite(X[:1], "X")


# ---- targets ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.uint64, ">i4"])
def test_class_indices(dtype):
    kind, y = check.as_targets(np.array([0, 2, 1], dtype)[::-1], CE, 3, 3, F32)
    assert kind == "labels" and y.dtype == np.int32 and y.flags.c_contiguous
    np.testing.assert_array_equal(y, [1, 2, 0])


def test_booleans_are_two_classes():
    kind, y = check.as_targets([True, False], CE, 2, 2, F32)
    assert kind == "labels" and y.tolist() == [1, 0]
    with pytest.raises(TypeError, match=r"bool names 2 classes; the network has 3 .*astype\(int\)"):
        check.as_targets([True, False], CE, 2, 3, F32)


def test_dense_targets():
    y = np.array([[0.25, 0.75], [1.0, 0.0]])
    for loss in (MSE, BCE, CE):
        kind, taken = check.as_targets(y, loss, 2, 2, F64)
        assert kind == "dense" and taken is y, loss
    kind, taken = check.as_targets([0, 1], BCE, 2, 1, F32)
    assert kind == "dense" and taken.shape == (2, 1) and taken.dtype == np.float32
    assert check.as_targets(np.eye(3, dtype=int)[::-1], CE, 3, 3, F32)[0] == "dense"


@pytest.mark.parametrize("given", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("n_out", [1, 2, 7, 100])
def test_rows_normalised_in_any_precision_count_as_probabilities(given, n_out):
    rows = np.random.default_rng(n_out).uniform(size=(50, n_out)).astype(given)
    rows /= rows.sum(axis=1, keepdims=True, dtype=given)
    for dtype in (F32, F64):
        assert check.as_targets(rows, CE, 50, n_out, dtype)[0] == "dense", dtype


@pytest.mark.parametrize(
    ("y", "loss", "n_out", "error", "message"),
    [
        ([0, 3], CE, 3, ValueError, r"class index 3; they run from 0 to 2 \(widths\[-1\] is 3\)"),
        ([0, -1], CE, 3, ValueError, "y holds class index -1; they run from 0 to 2"),
        ([0, 2**40], CE, 3, ValueError, "y holds class index 1099511627776"),
        ([0.0, 1.0], CE, 3, TypeError, r"integer dtype; got float64: write y.astype\(int\)"),
        (["cat", "dog"], CE, 3, TypeError, r"encode classes with np.unique\(y, return_inverse"),
        ([[0], [1]], CE, 3, ValueError, r"y has 1 column; .*write y\[:, 0\] for class indices"),
        ([0, 1, 2], CE, 3, ValueError, "y has 3 rows; X has 2"),
        ([[0.5, 0.6], [0.5, 0.5]], CE, 2, ValueError, "must sum to 1 .*; row 0 sums to 1.1"),
        ([[0.5, 0.5], [0.5, 0.4999]], CE, 2, ValueError, "row 1 sums to 0.9999"),
        ([[1.5, -0.5], [0.5, 0.5]], CE, 2, ValueError, "probabilities, none negative; got -0.5"),
        (
            [[0.5, 0.2, 0.3]] * 2,
            CE,
            2,
            ValueError,
            r"y has 3 columns; the network has 2 \(widths\[-1",
        ),
        ([0.5, 1.5], BCE, 1, ValueError, "between 0 and 1 for binary_cross_entropy; .* 0.5 to 1.5"),
        ([-1, 1], BCE, 1, ValueError, "y must lie between 0 and 1"),
        ([0.5, np.nan], BCE, 1, ValueError, "y holds NaN or infinity, first in row 1"),
        ([[np.nan, 1.0], [0.5, 0.5]], CE, 2, ValueError, "y holds NaN"),
        ([0.5, np.inf], MSE, 1, ValueError, "y holds NaN or infinity, first in row 1"),
        ([0.5, 0.5], MSE, 2, ValueError, r"y must be 2-D, \(samples, 2\), for mse; got 1-D"),
        (1.0, MSE, 1, ValueError, "one entry per sample; got a single value"),
        (np.ones((2, 1, 1)), MSE, 1, ValueError, "got 3-D"),
        ([1j, 1], MSE, 1, TypeError, "y must hold real numbers; got dtype complex128"),
        ([], MSE, 1, ValueError, "y has 0 rows; X has 2"),
    ],
)
def test_bad_targets_are_refused(y, loss, n_out, error, message):
    with pytest.raises(error, match=message):
        check.as_targets(y, loss, 2, n_out, F64)


# ---- weights, parameters, deltas ----------------------------------------------------------


def test_weights():
    assert check.as_weights(None, 3, F32) is None
    s = np.array([0.0, 1.0, 2.0])
    assert check.as_weights(s, 3, F64) is s
    taken = check.as_weights(s[::-1], 3, F64)
    assert taken.flags.c_contiguous and taken.tolist() == [2, 1, 0]
    assert check.as_weights([True, False, True], 3, F32).dtype == np.float32


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ([1, 2], ValueError, "sample_weight has 2 rows; X has 3"),
        ([1, -1, 1], ValueError, "sample_weight must not be negative; got -1"),
        ([0, 0, 0], ValueError, "must have a positive, finite sum; it is 0"),
        ([3e38, 3e38, 0], ValueError, "must have a positive, finite sum"),
        ([1, np.nan, 1], ValueError, "sample_weight holds NaN or infinity, first in row 1"),
        ([[1], [1], [1]], ValueError, r"must be 1-D, one weight per sample; got shape \(3, 1\)"),
        (2.0, ValueError, r"must be 1-D, one weight per sample; got shape \(\)"),
        (["a", "b", "c"], TypeError, "sample_weight must hold real numbers"),
    ],
)
def test_bad_weights_are_refused(weights, error, message):
    with pytest.raises(error, match=message):
        check.as_weights(weights, 3, F32)


def test_delta_and_parameters():
    context = {"name": "delta_L", "where": "widths[-1]", "verb": "has", "rows_of": "the batch"}
    with pytest.raises(ValueError, match=r"delta_L has 3 columns; the network has 2 \(widths\[-1"):
        check.as_rows(np.ones((4, 3)), 4, 2, F64, **context)
    with pytest.raises(ValueError, match="delta_L has 5 rows; the batch has 4"):
        check.as_rows(np.ones((5, 2)), 4, 2, F64, **context)
    with pytest.raises(TypeError, match="W must hold real numbers"):
        check.as_parameters([["a"]], (1, 1), F64, "W")
    assert check.as_parameters([[1, 2]], (1, 2), F32, "W").dtype == np.float32


def test_validation_data():
    assert check.split_validation(("X", "y")) == ("X", "y", None)
    assert check.split_validation(["X", "y", "s"]) == ("X", "y", "s")


@pytest.mark.parametrize("wrong", [("X",), ("X", "y", "s", 4), "Xy", np.ones((2, 2))])
def test_bad_validation_data_are_refused(wrong):
    with pytest.raises(TypeError, match=r"must be \(X, y\) or \(X, y, sample_weight\)"):
        check.split_validation(wrong)
