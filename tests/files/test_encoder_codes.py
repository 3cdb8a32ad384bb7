"""`TableEncoder` with high_cardinality="codes": texts of many levels as numbers of their levels."""

import json
import pickle

import numpy as np
import pytest
from encoder_cases import made, texts

from fastbp import Categories, Dense, Network
from fastbp.errors import DataError
from fastbp.tabular import TableEncoder

pytestmark = pytest.mark.once


def coded(**options):
    """A table with texts of many and of few levels, and an encoder that makes codes of one."""
    cells = [c for i, c in enumerate("hgfedcba") for _ in range(10 - i)]
    cells += [None] * 5 + ["r1", "r2", "r2"]
    n = len(cells)
    columns = {
        "word": texts(*cells),
        "few": texts(*(["u", "v", "w"] * n)[:n]),
        "x": np.arange(float(n)),
    }
    options = {"max_one_hot": 4, "min_count": 3, "high_cardinality": "codes"} | options
    return made(columns), TableEncoder(**options).fit(made(columns))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_codes_of_levels_are_the_last_inputs(dtype):
    table, encoder = coded()
    assert encoder.get_feature_names_out().tolist() == ["x", "few=u", "few=v", "few=w", "word"]
    assert (encoder.code_levels, encoder.n_numbers, encoder.n_inputs) == ((10,), 1, 5)
    assert {name: place.tolist() for name, place in encoder.places.items()} == {
        "word": [4],
        "few": [1, 2, 3],
        "x": [0],
    }
    new = {"word": texts("a", "h", "r1", "r2", None, "", "new"), "few": texts(*["u"] * 7)}
    X = encoder.transform(made(new | {"x": np.zeros(7)}), dtype)
    assert X.dtype == dtype
    assert X[:, 4].tolist() == [0, 7, 9, 9, 8, 8, -1]
    assert encoder.codes == {"word": (*"abcdefgh", "(missing)", "(rare)")}
    dense = TableEncoder(max_one_hot=4, min_count=3, high_cardinality="one-hot").fit(table)
    one_hot = dense.transform(table)[:, dense.places["word"]]
    np.testing.assert_array_equal(encoder.transform(table)[:, 4], one_hot.argmax(axis=1))
    y = np.arange(float(table.n_rows))
    np.testing.assert_array_equal(encoder.fit_transform(table, y), encoder.transform(table))


def test_a_hole_is_no_code_without_holes_in_training():
    words = texts(*"abcdef" * 3)
    table = made({"word": words, "x": np.arange(18.0)})
    encoder = TableEncoder(max_one_hot=4, high_cardinality="codes").fit(table)
    assert encoder.code_levels == (6,)
    found = encoder.transform(made({"word": texts(None, "c"), "x": np.zeros(2)}))
    assert found[:, 1].tolist() == [-1, 2]


def test_codes_of_several_columns_follow_their_order():
    a, b = texts(*"abcdefghi" * 8), texts(*"uvwxyz" * 12)
    table = made({"second": b, "x": np.arange(72.0), "first": a})
    encoder = TableEncoder(max_one_hot=4, high_cardinality="codes").fit(table)
    assert encoder.get_feature_names_out().tolist() == ["x", "second", "first"]
    assert encoder.code_levels == (6, 9)
    assert TableEncoder().fit(table).code_levels == ()
    net = Network.from_layers(
        encoder.n_inputs,
        [Dense(8, "tanh", categories=Categories(encoder.code_levels, 3)), Dense(1)],
        seed=0,
    )
    assert net.layers[0].W.shape == (7, 8)
    net.fit(encoder.transform(table), np.arange(72.0) / 72, epochs=2)
    new = made({"second": texts("new", "u"), "x": np.zeros(2), "first": texts(None, "a")})
    assert np.isfinite(net.predict(encoder.transform(new))).all()


def test_what_codes_are_in_words():
    _, encoder = coded()
    lines = encoder.describe().splitlines()
    assert lines[0] == "3 columns, 5 inputs, 1 of them numbers, 1 of them codes"
    assert lines[1].startswith(
        "  word  text    1 input   code of 10 levels: a, b, c, d and 4 more;"
    )
    assert lines[1].endswith("; missing; 2 rare levels as one")
    assert "high_cardinality='codes'" in repr(encoder)


def test_codes_are_not_for_sparse_rows():
    with pytest.raises(ValueError, match="sparse rows leave out zeros: use sparse=False"):
        TableEncoder(high_cardinality="codes", sparse=True)
    encoder = TableEncoder(sparse=True)
    with pytest.raises(ValueError, match="sparse rows leave out zeros"):
        encoder.set_params(high_cardinality="codes")
    assert encoder.high_cardinality == "auto"
    words = texts(*[f"w{i % 300}" for i in range(1500)] * 2)
    other = texts(*[f"w{i % 400}" for i in range(1500)] * 2)
    table = made({"other": other, "word": words})
    found = TableEncoder(sparse="auto", high_cardinality="codes", max_one_hot=300)
    assert isinstance(found.fit_transform(table), np.ndarray)


def test_codes_that_a_dtype_does_not_hold_are_refused():
    """As float32 would be for 2**24 levels; float16 holds 2**11 whole numbers."""
    words = texts(*[f"w{i}" for i in range(2049)])
    table = made({"word": words})
    encoder = TableEncoder(min_count=1, high_cardinality="codes").fit(table)
    with pytest.raises(DataError, match="codes of 2,049 levels, and float16 holds only 2,048"):
        encoder._inputs(encoder._used(), table, np.dtype("float16"), {})
    encoder.fit(table.take(np.arange(2048)))
    found = encoder._inputs(encoder._used(), table, np.dtype("float16"), {})
    assert len(set(found[:2048, 0].tolist())) == 2048


@pytest.mark.parametrize("copied", ["pickle", "dict"])
def test_copies_of_an_encoder_of_codes(copied):
    table, encoder = coded()
    if copied == "pickle":
        other = pickle.loads(pickle.dumps(encoder))
    else:
        other = TableEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    np.testing.assert_array_equal(other.transform(table), encoder.transform(table))
    assert other.code_levels == encoder.code_levels
    assert other.describe() == encoder.describe()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"columns": {"levels": ["a"], "rare": [], "hole": ""}}, "1 groups do not fit"),
        ({"columns": {"means": [[1.0]]}}, "means are for"),
        ({"options": {"high_cardinality": "one-hot", "sparse": True}}, "sparse rows have no codes"),
    ],
)
def test_forged_codes_are_refused(change, match):
    found = json.loads(json.dumps(coded()[1].to_dict()))
    found["columns"][0] |= change.get("columns", {})
    found["options"] |= change.get("options", {})
    with pytest.raises(ValueError, match=match):
        TableEncoder.from_dict(found)


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_frames_of_codes(kind):
    module = pytest.importorskip(kind)
    table, encoder = coded()
    found = encoder.set_output(transform=kind).transform(table)
    assert isinstance(found, module.DataFrame)
    assert list(found.columns) == ["x", "few=u", "few=v", "few=w", "word"]
    assert found["word"].max() == 9
