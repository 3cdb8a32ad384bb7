"""The warning about new rows whose texts training has not seen."""

import warnings

import numpy as np
import pytest

from fastbp.tabular import Table, TableEncoder, TableModel

pd = pytest.importorskip("pandas", reason="pandas is not installed")

pytestmark = pytest.mark.once

ZIPS = [f"{i:05}" for i in range(40)]
ROWS = {"zip": np.array(ZIPS * 5, object), "x": np.arange(200.0)}
NEW = {"zip": np.arange(40), "x": np.arange(40.0)}  # as pandas.read_csv has them


@pytest.fixture(scope="module", params=["one-hot", "frequent", "codes"])
def encoder(request):
    """An encoder that tests must not change."""
    return TableEncoder(max_one_hot=32, high_cardinality=request.param).fit(ROWS)


def warned(call, *args):
    """The message of the only warning, or None."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        call(*args)
    assert len(found) <= 1
    if not found:
        return None
    assert found[0].category is UserWarning
    assert found[0].filename == __file__
    return str(found[0].message)


@pytest.mark.parametrize(
    "zips",
    [
        np.arange(7, 47),
        np.arange(7, 47).tolist(),
        np.array([np.nan, *range(7, 46)]),
        pd.array([None, *range(7, 46)], "Int64"),
    ],
)
@pytest.mark.parametrize("kind", [dict, pd.DataFrame])
def test_numbers_that_were_texts_with_leading_zeros(encoder, zips, kind):
    message = warned(encoder.transform, kind({**NEW, "zip": zips}))
    assert message.startswith("column 'zip' was text in training and is numbers now, and ")
    assert "such as '7'; a known level is '00007'" in message
    assert "dtype={'zip': str} in pandas.read_csv" in message
    assert "fastbp.tabular.read_features" in message


def test_half_of_the_numbers_and_at_least_one():
    encoder = TableEncoder().fit({"code": ["1", "2", "x", None] * 10, "x": np.arange(40.0)})

    def of(*codes):
        return warned(encoder.transform, {"code": list(codes), "x": np.arange(float(len(codes)))})

    assert of(1, 2, 1, 7) is None
    assert "2 of 4 are levels" in of(1, 2, 7, 8)
    assert "1 of 2 are levels" in of(None, 7, np.nan, 1)
    assert of(1, None) is None
    assert of(None, None) is None
    assert of("7", "8") is None  # texts


@pytest.mark.parametrize("n", [1000, 1024, 5000])
def test_many_rows(encoder, n):
    x = np.arange(float(n))
    zips = np.where(np.arange(n) % 2, 7.0, np.nan)
    assert f"{n // 2:,} of {n // 2:,}" in warned(encoder.transform, {"zip": zips, "x": x})
    last = np.where(np.arange(n) == n - 1, 7.0, np.nan)
    assert "1 of 1 are" in warned(encoder.transform, {"zip": last, "x": x})
    known = TableEncoder().fit({"code": ["1", "x"] * 20, "x": np.arange(40.0)})
    half = np.where(np.arange(n) % 2, 7, 1)
    assert f"{n // 2:,} of {n:,} are" in warned(known.transform, {"code": half, "x": x})
    assert warned(known.transform, {"code": np.where(np.arange(n) % 5, 1, 7), "x": x}) is None


@pytest.mark.parametrize(("n", "warns"), [(19, False), (20, True)])
def test_texts_none_of_which_is_known(encoder, n, warns):
    new = {"zip": [*(f"1{i:04}" for i in range(n)), None], "x": np.arange(n + 1.0)}
    message = warned(encoder.transform, new)
    assert (message is not None) == warns
    if warns:
        assert message == (
            "column 'zip': training has seen none of its 20 texts, such as '10000'; a known level "
            "is '00000': write them as in training"
        )
        new["zip"][5] = "00003"
        assert warned(encoder.transform, new) is None


def test_what_is_known_and_tables_give_no_warning(encoder):
    assert warned(encoder.transform, ROWS) is None
    assert warned(encoder.transform, pd.DataFrame(ROWS)) is None
    table = Table("new", ("zip", "x"), np.full((40, 2), 7.0))
    assert warned(encoder.transform, table) is None


def test_several_columns_make_one_warning():
    names = [f"c{i}" for i in range(7)]
    encoder = TableEncoder().fit({name: ["01", "02"] * 20 for name in names})
    message = warned(encoder.transform, {name: [1, 2] for name in names})
    assert message.count("was text in training") == 5
    assert message.endswith("; and 2 more columns")


def test_a_model_warns_once_for_a_call():
    y = ROWS["x"] / 7
    model = TableModel("fast", n_members=2, epochs=2).fit(ROWS, y)
    new = pd.DataFrame(NEW)
    for call in (model.predict, model.predict_std):
        assert "a known level is" in warned(call, new)
    assert "a known level is" in warned(model.score, new, NEW["x"])
    assert warned(model.predict, pd.DataFrame({**NEW, "zip": ZIPS})) is None
