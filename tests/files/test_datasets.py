"""The digits in the package, fixed splits, and the reader of IDX files."""

import gzip
import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_idx import CODES, idx, write_folder

from fastbp import datasets
from fastbp._training.splits import hold_out
from fastbp.datasets import digits_split, load_digits, load_fashion_mnist, read_idx
from fastbp.errors import DataError

# ---- digits -------------------------------------------------------------------------------


def test_digits_are_the_original_data():
    X, y = load_digits()
    assert X.shape == (1797, 64) and X.dtype == np.float32 and X.flags.c_contiguous
    assert y.shape == (1797,) and y.dtype == np.int64
    assert X.min() == 0 and X.max() == 16 and (X == np.round(X)).all()
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert X[0, :8].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]


def test_the_file_of_digits_is_small_and_needs_no_pickle():
    path = Path(datasets.__file__).with_name("digits.npz")
    assert path.stat().st_size < 100_000
    with np.load(path, allow_pickle=False) as data:
        assert {name: data[name].dtype.name for name in data.files} == {"X": "uint8", "y": "uint8"}


def test_digits_split_is_fixed():
    X_train, y_train, X_test, y_test = digits_split()
    assert X_train.shape == (1348, 64) and X_test.shape == (449, 64)
    assert np.ptp(np.bincount(y_test)) <= 2
    X, y = load_digits()
    rows = {(*x, d) for x, d in zip(X.tolist(), y.tolist(), strict=True)}
    train = {(*x, d) for x, d in zip(X_train.tolist(), y_train.tolist(), strict=True)}
    test = {(*x, d) for x, d in zip(X_test.tolist(), y_test.tolist(), strict=True)}
    assert train | test == rows and not train & test
    digest = hashlib.sha256(y_test.astype("<i8").tobytes() + X_test.astype("<f4").tobytes())
    assert digest.hexdigest()[:16] == "249f6cd4d2a58839"


# ---- hold_out -----------------------------------------------------------------------------


def test_hold_out_gives_fixed_splits():
    assert hold_out(12, 0.25, seed=3)[1].tolist() == [1, 6, 11]
    labels = np.array(list("aabbbbbbbbcc"))
    assert hold_out(12, 0.5, seed=3, labels=labels)[1].tolist() == [1, 2, 5, 6, 8, 11]


@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    fraction=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**63),
)
def test_stratified_splits_keep_the_shares_of_classes(counts, fraction, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    try:
        train, held = hold_out(len(labels), fraction, seed=seed, labels=labels)
    except ValueError:
        assert 0 in (round(fraction * len(labels)), len(labels) - len(counts))
        return
    assert sorted([*train, *held]) == list(range(len(labels)))
    assert held.size <= round(fraction * len(labels))
    for count, n_train in zip(counts, np.bincount(labels[train], minlength=6), strict=False):
        # within one row of the exact share, or all rows but one
        exact = count * round(fraction * len(labels)) / len(labels)
        assert n_train >= 1, count
        assert abs(count - n_train - exact) < 1 or n_train == 1, count


def test_hold_out_depends_on_the_seed():
    held = [tuple(hold_out(100, 0.2, seed=seed)[1]) for seed in range(50)]
    assert len(set(held)) == 50
    # 1000 draws with probability 1/100 each: 10 ± 5 standard deviations of sqrt(50*0.2*0.8)
    counts = np.bincount(np.concatenate(held), minlength=100)
    assert abs(counts - 10).max() < 5 * np.sqrt(50 * 0.2 * 0.8)


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_hold_out_refuses_bad_fractions(fraction):
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\)"):
        hold_out(10, fraction)


def test_hold_out_refuses_an_empty_part():
    with pytest.raises(ValueError, match="splits 2 rows into 2 to train on and 0 to score"):
        hold_out(2, 0.1)
    with pytest.raises(ValueError, match="splits 2 rows into 0 to train on"):
        hold_out(2, 0.9)
    with pytest.raises(ValueError, match="0 to score"):
        hold_out(3, 0.5, labels=np.array(["a", "b", "c"]))
    assert [part.size for part in hold_out(3, 0.0)] == [3, 0]


# ---- IDX ----------------------------------------------------------------------------------


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("shape", [(5,), (2, 3, 4), (0, 3)])
def test_idx_files_of_every_type(tmp_path, code, packed, shape):
    array = np.arange(np.prod(shape)).reshape(shape)
    content = idx(array, code)
    # recognised by the content, not by the name
    (tmp_path / "data").write_bytes(gzip.compress(content) if packed else content)
    got = read_idx(tmp_path / "data")
    assert got.dtype == np.dtype(CODES[code]) and got.dtype.isnative
    np.testing.assert_array_equal(got, array)


GOOD = idx(np.arange(6).reshape(2, 3))
DAMAGED = {
    "empty": (b"", "the magic number should take 4 bytes; the file ends after 0"),
    "magic": (b"\1" + GOOD[1:], "not an IDX file: it begins with 01 00 08 02"),
    "type": (GOOD[:2] + b"\x0a" + GOOD[3:], "not an IDX file"),
    "no dimensions": (GOOD[:3] + b"\0" + GOOD[4:], "not an IDX file"),
    "too many dimensions": (GOOD[:3] + b"\x09" + GOOD[4:], "not an IDX file"),
    "cut dimensions": (GOOD[:10], "the dimensions should take 8 bytes; the file ends after 6"),
    "cut data": (GOOD[:-1], "shape .2, 3., should take 6 bytes; the file ends after 5"),
    "more data": (GOOD + b"\0", "more bytes follow"),
    "large": (GOOD[:4] + b"\0\xff\xff\xff\0\0\0\x09" + GOOD[12:], "the file ends after 6"),
    "giant": (GOOD[:4] + b"\xff" * 8 + GOOD[12:], "overflows 63 bits"),
    "giant, behind a 0": (b"\0\0\x08\3\0\0\0\0" + b"\xff" * 8, "overflows 63 bits"),
    "png": (b"\x89PNG\r\n\x1a\n", "not an IDX file"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_idx_files_are_refused(tmp_path, name, packed):
    content, message = DAMAGED[name]
    path = tmp_path / "data"
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("packed", [False, True])
def test_the_memory_limit_of_idx_files(tmp_path, packed):
    path, content = tmp_path / "data", idx(np.zeros((100, 10)), 14)
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(DataError, match="data: the array, .*, takes 8000 bytes.*--max-bytes 8000"):
        read_idx(path, max_bytes=7999)
    assert read_idx(path, max_bytes=8000).shape == (100, 10)
    folder = write_folder(tmp_path, packed=packed)
    with pytest.raises(DataError, match="the limit is 100"):
        load_fashion_mnist(folder, max_bytes=100)


PACKED = gzip.compress(GOOD * 20 + GOOD)


@pytest.mark.parametrize(
    "damaged",
    [PACKED[:-9], PACKED[:3] + b"\7" + PACKED[4:], PACKED[:12] + b"\xff" * 20],
    ids=["truncated", "flags", "data"],
)
def test_damaged_gzip_files_are_refused(tmp_path, damaged):
    path = tmp_path / "data.gz"
    path.write_bytes(damaged)
    with pytest.raises(DataError):
        read_idx(path)


# ---- Fashion-MNIST ------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
def test_fashion_mnist_from_a_folder(tmp_path, packed):
    X_train, y_train, X_test, y_test = load_fashion_mnist(write_folder(tmp_path, packed=packed))
    assert X_train.shape == (12, 12) and X_test.shape == (6, 12)
    assert X_train.dtype == np.float32 and X_train.max() > 16
    assert y_train.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1] and y_test.dtype == np.int64


def test_missing_files_of_fashion_mnist(tmp_path):
    with pytest.raises(FileNotFoundError, match="apt-get install dataset-fashion-mnist") as caught:
        load_fashion_mnist(tmp_path)
    assert str(tmp_path / "train-images-idx3-ubyte") in str(caught.value)


@pytest.mark.parametrize(
    "replaced, message",
    [
        ({"train_images": idx(np.zeros((12, 12)))}, "expected uint8 images of shape"),
        ({"train_images": idx(np.zeros((12, 4, 3)), 13)}, "got float32"),
        ({"train_images": idx(np.zeros((0, 4, 3)))}, "expected uint8 images"),
        ({"train_labels": idx(np.zeros(11))}, "expected 12 uint8 labels"),
        ({"t10k_labels": idx(np.zeros(6), 12)}, "expected 6 uint8 labels.*got int32"),
        ({"t10k_labels": idx(np.full(6, 10))}, "labels must be 0 to 9; got 10"),
        ({"t10k_images": idx(np.zeros((6, 3, 3)))}, "12 pixels, t10k images 9"),
        ({"t10k_images": b"<html>"}, "not an IDX file"),
    ],
)
def test_files_that_do_not_match_are_refused(tmp_path, replaced, message):
    with pytest.raises(DataError, match=message):
        load_fashion_mnist(write_folder(tmp_path, **replaced))
