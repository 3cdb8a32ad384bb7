"""`TableEncoder`: what columns of a table become, and what it refuses."""

import copy
import itertools
import json
import pickle
import sys

import numpy as np
import pytest
from encoder_cases import CITIES, made, mixed, texts

from fastbp import Network
from fastbp.errors import DataError
from fastbp.tabular import TableEncoder, from_arrays

pytestmark = pytest.mark.once


def inputs(encoder, table, dtype="float64"):
    """The inputs by name."""
    X = encoder.transform(table, dtype)
    assert X.shape == (table.n_rows, encoder.n_inputs)
    return dict(zip(encoder.get_feature_names_out(), X.T, strict=True))


def encoded(columns, dtype="float64", **options):
    table = made(columns)
    return inputs(TableEncoder(**options).fit(table), table, dtype)


# ---- numbers ------------------------------------------------------------------------------


def smooth(z):
    return z / np.sqrt(1 + (z / 3) ** 2)


def test_numbers_are_scaled_by_quartiles_and_clipped():
    x = np.random.default_rng(0).standard_cauchy(201)
    low, middle, high = np.quantile(x, [0.25, 0.5, 0.75])
    found = encoded({"x": x})["x"]
    np.testing.assert_allclose(found, smooth((x - middle) / (high - low)), rtol=1e-13, atol=1e-15)
    assert abs(found).max() < 3


def test_a_range_replaces_quartiles_that_are_equal():
    x = np.array([5.0] * 20 + [1.0, 9.0])
    np.testing.assert_allclose(encoded({"x": x})["x"], smooth((x - 5) * 2 / 8), rtol=1e-15)


def test_standard_and_none():
    x = np.random.default_rng(1).normal(50, 7, 100)
    columns = {"x": x, "y": x**2}
    found = encoded(columns, numbers="standard")
    np.testing.assert_allclose(found["y"], (x**2 - (x**2).mean()) / (x**2).std(), rtol=1e-12)
    np.testing.assert_array_equal(encoded(columns, numbers="none")["x"], x)


def test_pieces_are_the_piecewise_linear_encoding():
    rng = np.random.default_rng(3)
    x = rng.standard_normal(200)
    x[7] = np.nan
    days = np.datetime64("2024-01-01", "us") + rng.integers(0, 900, 200).astype("timedelta64[D]")
    table = made({"x": x, "n": np.arange(200.0) % 3, "day": days})
    found = inputs(TableEncoder(pieces=4).fit(table), table)
    filled = np.where(np.isnan(x), np.nanmedian(x), x)
    edges = np.quantile(x[~np.isnan(x)], [0, 0.25, 0.5, 0.75, 1], method="lower")
    for low, high in itertools.pairwise(edges):
        expected = np.interp(filled, [low, high], [-0.5, 0.5])
        np.testing.assert_allclose(found[f"x>{low:.6g}"], expected, atol=1e-12)
    assert found["x=(missing)"].sum() == 1
    np.testing.assert_array_equal(found["n>1"], np.where(np.arange(200) % 3 == 2, 0.5, -0.5))
    assert sum(name.startswith("day days>") for name in found) == 4


def test_pieces_need_a_range():
    columns = {"two": np.array([0.0, 1.0] * 9), "same": np.ones(18), "three": np.arange(18.0) % 3}
    assert list(encoded(columns, pieces=8)) == ["two", "three", "three>0", "three>1"]
    huge = {"x": np.array([-1.7e308, 0.0, 1.7e308])}
    assert list(encoded(huge, pieces=8)) == ["x"]
    assert np.isfinite(encoded({"x": np.array([-8e307, 0.0, 8e307])}, pieces=8)["x>0"]).all()


def test_pieces_are_saved_and_forged_ones_refused():
    table = made({"x": np.arange(9.0), "y": np.arange(9.0) ** 2})
    encoder = TableEncoder(pieces=3).fit(table)
    told = json.loads(json.dumps(encoder.to_dict()))
    again = TableEncoder.from_dict(told)
    np.testing.assert_array_equal(again.transform(table), encoder.transform(table))
    for edges in ([0.0, 1.0], [0.0, 2.0, 2.0], [0.0, 1.0, 2.0, 3.0, 4.0], [0.0, "1", 2.0]):
        forged = copy.deepcopy(told)
        forged["columns"][0]["scale"]["edges"] = edges
        with pytest.raises(ValueError, match="edges"):
            TableEncoder.from_dict(forged)


def test_quantiles_are_those_of_scikit_learn():
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    rng = np.random.default_rng(2)
    train, new = rng.normal(size=(3000, 1)) ** 3, rng.normal(size=(500, 1)) ** 3
    theirs = preprocessing.QuantileTransformer(output_distribution="normal", subsample=None)
    theirs.fit(train)
    encoder = TableEncoder(numbers="quantile").fit(made({"x": train[:, 0]}))
    found = inputs(encoder, made({"x": new[:, 0]}))["x"]
    np.testing.assert_allclose(found, theirs.transform(new)[:, 0], rtol=1e-10, atol=1e-12)
    beyond = inputs(encoder, made({"x": np.array([-1e9, 1e9])}))["x"]
    np.testing.assert_allclose(beyond, [-5.19933758, 5.19933758])


@pytest.mark.parametrize("size", [1e308, 5e-324])
def test_ranks_of_huge_and_tiny_numbers(size):
    x = np.array([-1.0, 0.0, 0.0, 1.0, 1.0]) * size
    expected = encoded({"x": np.array([-1.0, 0.0, 0.0, 1.0, 1.0])}, numbers="quantile")["x"]
    found = encoded({"x": x, "y": np.arange(5.0)}, numbers="quantile")["x"]
    np.testing.assert_array_equal(found, expected)


def test_equal_numbers_have_the_middle_of_their_ranks():
    found = encoded({"x": np.array([0.0] * 501 + [1.0] * 500)}, numbers="quantile")["x"]
    np.testing.assert_allclose(np.unique(found), [-0.67, 0.67], atol=0.01)


@pytest.mark.parametrize("numbers", ["robust", "standard", "quantile", "none"])
def test_holes_become_the_median_and_an_indicator(numbers):
    x = np.array([3.0, np.nan, 1.0, 10.0, 4.0, 2.0, np.nan])  # 3 is the median
    found = encoded({"x": x}, numbers=numbers)
    assert list(found) == ["x", "x=(missing)"]
    np.testing.assert_array_equal(found["x=(missing)"], np.isnan(x))
    assert found["x"][1] == found["x"][6]
    assert found["x"][1] == found["x"][0]
    if numbers == "robust":
        assert found["x"][1] == 0
    assert list(encoded({"x": x}, numbers=numbers, indicators=False)) == ["x"]


def test_a_hole_in_new_rows_has_no_indicator():
    encoder = TableEncoder().fit(made({"x": np.arange(9.0)}))
    found = inputs(encoder, made({"x": np.array([np.nan, 8])}))
    assert list(found) == ["x"]
    assert found["x"][0] == 0


@pytest.mark.parametrize("numbers", ["robust", "standard"])
@pytest.mark.parametrize("size", [1e300, 1.7e308, 1e-300])
def test_huge_and_tiny_numbers(numbers, size):
    x = np.array([-1.0, -0.5, 0.0, 0.5, 1.0] * 4)
    expected = encoded({"x": x}, numbers=numbers)["x"]
    found = encoded({"x": x * size}, numbers=numbers)["x"]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-15)


def test_a_number_beyond_all_training_rows_is_clipped():
    encoder = TableEncoder().fit(made({"x": np.linspace(-1, 1, 50) * 1e308}))
    small = TableEncoder().fit(made({"x": np.linspace(0, 1e-300, 50)}))
    new = made({"x": np.array([-1.7e308, 1.7e308])})
    assert abs(inputs(encoder, new)["x"]).max() < 3
    np.testing.assert_array_equal(inputs(small, new)["x"], [-3, 3])


def test_a_number_beyond_float32_is_refused_unless_it_is_clipped():
    table = made({"x": np.array([1.0, 1e39] * 5)})
    encoder = TableEncoder(numbers="none").fit(table)
    with pytest.raises(DataError, match=r"row 2, column 'x': .* beyond float32: correct it"):
        encoder.transform(table)
    assert encoder.transform(table, "float64")[1, 0] == 1e39
    assert np.isfinite(TableEncoder().fit(table).transform(table)).all()


def test_an_infinite_number_is_refused():
    table = made({"a": np.arange(4.0), "x": np.array([1.0, np.inf, 2, -np.inf])})
    with pytest.raises(DataError, match=r"column 'x': 2 infinite numbers \(first in row 2\)"):
        TableEncoder().fit(table)
    encoder = TableEncoder().fit(made({"a": np.arange(4.0), "x": np.arange(4.0)}))
    with pytest.raises(DataError, match="infinite"):
        encoder.transform(table)


# ---- dates --------------------------------------------------------------------------------


def test_dates_become_days_and_cycles():
    at = np.array(["2024-02-29T12", "2024-03-01", "2023-07-16T18", "NaT"], "datetime64[us]")
    found = encoded({"at": at}, numbers="none")
    assert list(found) == [
        "at days",
        *(
            f"at {c} {f}"
            for c in ("day of year", "day of month", "weekday", "time of day")
            for f in ("sin", "cos")
        ),
        "at=(missing)",
    ]
    days = [19782.5, 19783, 19554.75, 19782.5]  # the last is the median
    np.testing.assert_array_equal(found["at days"], days)
    turns = {
        "day of year": [365 / 366, 0, (31 + 30 + 31 + 30 + 15) / 366],
        "day of month": [28 / 31, 0, 15 / 31],
        "weekday": [3 / 7, 4 / 7, 6 / 7],
        "time of day": [0.5, 0, 0.75],
    }
    for name, places in turns.items():
        angles = 2 * np.pi * np.array(places)
        np.testing.assert_allclose(found[f"at {name} sin"], [*np.sin(angles), 0], atol=1e-15)
        np.testing.assert_allclose(found[f"at {name} cos"], [*np.cos(angles), 0], atol=1e-15)
    np.testing.assert_array_equal(found["at=(missing)"], [0, 0, 0, 1])


def test_dates_have_only_the_cycles_in_which_they_differ():
    years = np.array(["2001", "2002", "2003", "2010"], "datetime64[Y]")
    months = np.array(["2001-01", "2001-02", "2003-05"], "datetime64[M]")
    assert list(encoded({"y": years})) == ["y days"]
    assert list(encoded({"m": months})) == ["m days", "m day of year sin", "m day of year cos"]


def test_dates_before_1970_and_of_other_units():
    at = np.array(["1582-10-15", "0001-01-01", "1969-12-31"], "datetime64[D]")
    found = encoded({"at": at}, numbers="none")
    np.testing.assert_array_equal(found["at days"], at.astype(int))
    wave = np.arctan2(found["at weekday sin"], found["at weekday cos"]) / (2 * np.pi / 7) % 7
    np.testing.assert_allclose(wave, [4, 0, 2], atol=1e-9)  # as datetime.date.weekday


# ---- text ---------------------------------------------------------------------------------


def test_text_is_one_hot():
    found = encoded({"t": texts(*"abcabcab")})
    assert list(found) == ["t=a", "t=b", "t=c"]
    np.testing.assert_array_equal(found["t=b"], [0, 1, 0, 0, 1, 0, 0, 1])


def test_two_levels_are_one_input():
    found = encoded({"t": texts(*"nynyy")})
    assert list(found) == ["t=y"]
    np.testing.assert_array_equal(found["t=y"], [-1, 1, -1, 1, 1])
    assert list(encoded({"t": texts("a", "a", "b")})) == ["t=b"]  # rare, but all there is


def test_unseen_texts_and_unseen_holes_are_all_zero():
    encoder = TableEncoder().fit(made({"t": texts(*"abcabc"), "two": texts(*"xyxyxy")}))
    new = made({"t": texts("d", None, ""), "two": texts("z", None, "")})
    np.testing.assert_array_equal(encoder.transform(new), np.zeros((3, 4)))
    assert encoder.unseen(new) == {"t": {"d": 1}, "two": {"z": 1}}
    assert encoder.unseen(made({"t": texts("a"), "two": texts("y")})) == {}


def test_a_hole_of_the_training_rows_is_a_level():
    found = encoded({"t": texts("a", "b", None, "a", "b", "")})
    assert list(found) == ["t=a", "t=b", "t=(missing)"]
    np.testing.assert_array_equal(found["t=(missing)"], [0, 0, 1, 0, 0, 1])
    two = encoded({"t": texts("a", None, "a", None)})
    np.testing.assert_array_equal(two["t=(missing)"], [-1, 1, -1, 1])


def test_rare_levels_are_one():
    cells = texts(*"aaaaabbbbbccdde", None)
    encoder = TableEncoder(min_count=3).fit(made({"t": cells}))
    assert encoder.get_feature_names_out().tolist() == ["t=a", "t=b", "t=(rare)"]
    new = made({"t": texts("c", "d", "e", None, "", "f", "a")})
    rare = inputs(encoder, new)["t=(rare)"]
    np.testing.assert_array_equal(rare, [1, 1, 1, 1, 1, 0, 0])
    assert encoder.categories == {"t": ("a", "b", "c", "d", "e")}
    one = TableEncoder(min_count=3).fit(made({"t": texts(*"aaaaabbbbbc")}))
    assert one.get_feature_names_out().tolist() == ["t=a", "t=b", "t=c"]


@pytest.mark.parametrize(("n", "least"), [(20, 2), (150, 3), (400, 4)])
def test_min_count_grows_with_the_rows(n, least):
    cells = texts(*["x"] * least, *["y"] * (least - 1), *["z"] * (least - 1))
    cells = np.concatenate([cells, texts(*["w"] * (n - len(cells)))])
    names = TableEncoder().fit(made({"t": cells})).get_feature_names_out().tolist()
    assert names == ["t=w", "t=x", "t=(rare)"]


def test_a_column_that_names_rows_has_no_input():
    table = made({"id": texts(*map(str, range(300))), "x": np.arange(300.0)})
    encoder = TableEncoder().fit(table, np.arange(300.0))
    assert encoder.get_feature_names_out().tolist() == ["x"]
    assert "no input: 300 levels, too rare" in encoder.describe()


def test_many_levels_without_a_target():
    cells = texts(*[c for i, c in enumerate("abcdefgh") for _ in range(10 - i)])
    table = made({"t": cells, "x": np.arange(float(len(cells)))})
    names = TableEncoder(max_one_hot=4).fit(table).get_feature_names_out().tolist()
    assert names == ["x", "t=a", "t=b", "t=c", "t=(rare)"]
    every = TableEncoder(max_one_hot=4, high_cardinality="one-hot").fit(table)
    assert every.n_inputs == 9
    none = TableEncoder(max_one_hot=4, high_cardinality="drop").fit(table)
    assert none.get_feature_names_out().tolist() == ["x"]
    with pytest.raises(ValueError, match="pass y to fit"):
        TableEncoder(high_cardinality="target").fit(table)


def test_names_of_inputs_differ():
    table = made(
        {"a": texts("b=c", "d", "x"), "a=b": texts("c", "d", "x"), "a=b=c": np.arange(3.0)}
    )
    names = TableEncoder(min_count=1).fit(table).get_feature_names_out().tolist()
    assert names[:2] == ["a=b=c", "a=b=c_2"]
    assert len(set(names)) == 7


# ---- means of the target ------------------------------------------------------------------


def city_case(n=600, seed=0):
    rng = np.random.default_rng(seed)
    city = np.array(CITIES, object)[rng.integers(0, len(CITIES), n)]
    effect = dict(zip(CITIES, rng.normal(size=len(CITIES)), strict=True))
    y = np.array([effect[c] for c in city]) + rng.normal(0, 0.5, n)
    return city, y


def raw_means(city, y, to, smooth=10.0):
    """The smoothed mean of y for each of `to`, less the mean of all."""
    found = {
        c: (y[city == c].sum() + smooth * y.mean()) / ((city == c).sum() + smooth) - y.mean()
        for c in set(city)
    }
    return np.array([found.get(c, 0.0) for c in to])


def test_means_of_numbers():
    city, y = city_case()
    table = made({"city": city, "x": y})
    encoder = TableEncoder(max_one_hot=5).fit(table, y)
    assert encoder.get_feature_names_out().tolist() == ["city mean", "x"]
    assert encoder.n_numbers == 2
    expected = raw_means(city, y, city)
    found = inputs(encoder, table)["city mean"]
    np.testing.assert_allclose(found, expected / expected.std(), rtol=1e-10)
    new = made({"city": texts("city 1", "elsewhere", None), "x": np.zeros(3)})
    np.testing.assert_allclose(
        inputs(encoder, new)["city mean"],
        raw_means(city, y, ["city 1", None, None]) / expected.std(),
        rtol=1e-10,
    )


def test_means_of_training_rows_come_from_other_folds():
    city, y = city_case()
    table = made({"city": city})
    rows = np.arange(0, 600, 2)
    encoder = TableEncoder(max_one_hot=5, n_folds=3, seed=7)
    found = encoder.fit_transform(table, y, rows=rows, dtype="float64")[:, 0]
    direct = inputs(encoder, table)["city mean"]
    np.testing.assert_array_equal(found[1::2], direct[1::2])
    spread = raw_means(city[rows], y[rows], city[rows]).std()
    order = np.random.default_rng(7).permutation(300)
    fold = np.empty(300, int)
    fold[order] = np.arange(300) % 3
    for k in range(3):
        inside, outside = rows[fold == k], rows[fold != k]
        expected = raw_means(city[outside], y[outside], city[inside]) / spread
        np.testing.assert_allclose(found[inside], expected, rtol=1e-9, atol=1e-12)


def test_means_do_not_know_the_target_of_their_row():
    rng = np.random.default_rng(3)
    cells = np.array([f"c{i}" for i in range(200)], object)[rng.integers(0, 200, 1000)]
    y = rng.normal(size=1000)  # which no text explains
    table = made({"c": cells})
    options = {"max_one_hot": 5, "min_count": 1, "smooth": 0.0}
    encoder = TableEncoder(**options)
    crossed = encoder.fit_transform(table, y)[:, 0]
    assert abs(np.corrcoef(crossed, y)[0, 1]) < 0.1
    assert np.corrcoef(encoder.transform(table)[:, 0], y)[0, 1] > 0.3


@pytest.mark.parametrize("labels", [np.array(["no", "yes"]), np.array([0, 1]), np.array([0.0, 1])])
def test_means_of_two_classes(labels):
    city, y = city_case()
    table, yes = made({"city": city}), y > 0
    found = inputs(TableEncoder(max_one_hot=5).fit(table, labels[yes.astype(int)]), table)
    expected = raw_means(city, yes.astype(float), city)
    np.testing.assert_allclose(found["city mean"], expected / expected.std(), rtol=1e-10)


def test_means_of_several_classes_and_of_several_numbers():
    city, y = city_case()
    table = made({"city": city})
    classes = np.digitize(y, [-0.5, 0.5])
    found = inputs(TableEncoder(max_one_hot=5).fit(table, classes), table)
    assert list(found) == [f"city mean of {k}" for k in range(3)]
    expected = raw_means(city, (classes == 2).astype(float), city)
    np.testing.assert_allclose(found["city mean of 2"], expected / expected.std(), rtol=1e-10)
    both = np.stack([y, -(y**2)], axis=1)
    two = inputs(TableEncoder(max_one_hot=5).fit(table, both), table)
    assert list(two) == ["city mean of 1", "city mean of 2"]
    expected = raw_means(city, both[:, 1], city)
    np.testing.assert_allclose(two["city mean of 2"], expected / expected.std(), rtol=1e-10)
    forced = TableEncoder(max_one_hot=5, task="regression").fit(table, classes)
    assert forced.get_feature_names_out().tolist() == ["city mean"]


def test_targets_that_are_not_known_count_for_nothing():
    city, y = city_case()
    table, masked = made({"city": city}), np.where(np.arange(600) % 3, y, np.nan)
    known = ~np.isnan(masked)
    encoder = TableEncoder(max_one_hot=5).fit(table, masked)
    few = raw_means(city[known], y[known], city)
    np.testing.assert_allclose(inputs(encoder, table)["city mean"], few / few.std(), rtol=1e-10)


def test_targets_are_checked():
    city, y = city_case()
    table = made({"city": city})
    with pytest.raises(ValueError, match=r"y has shape \(5,\); expected \(600,\)"):
        TableEncoder().fit(table, y[:5])
    with pytest.raises(ValueError, match="finite numbers"):
        TableEncoder().fit(table, np.where(y > 1, np.inf, y))
    with pytest.raises(ValueError, match="NaN, which is no class"):
        TableEncoder(task="classification").fit(table, np.where(y > 1, np.nan, 1))
    with pytest.raises(ValueError, match="labels of several types, NoneType, str"):
        TableEncoder().fit(table, texts(*["a", None] * 300))
    with pytest.raises(ValueError, match="must be finite numbers; y has dtype"):
        TableEncoder(task="regression").fit(table, city)


# ---- columns and rows ---------------------------------------------------------------------


def test_numbers_come_first():
    encoder = TableEncoder(max_one_hot=5).fit(made(mixed()), mixed()["price"])
    names = encoder.get_feature_names_out().tolist()
    assert names[:4] == ["age", "joined days", "price", "city mean"]
    assert encoder.n_numbers == 4
    assert names[4:9] == [
        "age=(missing)",
        "plan=basic",
        "plan=größer",
        "plan=pro",
        "plan=(missing)",
    ]
    assert names[-2:] == ["joined=(missing)", "paid=yes"]
    assert encoder.n_features_in_ == 7
    assert encoder.kinds["joined"] == "date"


def test_only_the_training_rows_count():
    table = made(mixed())
    rows = np.arange(150)
    encoder = TableEncoder().fit(table, rows=rows)
    alone = TableEncoder().fit(table.take(rows))
    np.testing.assert_array_equal(encoder.transform(table), alone.transform(table))
    mask = np.arange(400) < 150
    np.testing.assert_array_equal(
        TableEncoder().fit(table, rows=mask).transform(table), alone.transform(table)
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "at least one row"),
        ([0.5], "float64"),
        ([0, 400], r"0 … 399; got 0 … 400"),
        (np.ones(3, bool), "a mask of 3; made has 400 rows"),
        (np.zeros(400, bool), "no rows to learn from"),
    ],
)
def test_rows_are_checked(rows, message):
    with pytest.raises((ValueError, DataError), match=message):
        TableEncoder().fit(made(mixed()), rows=rows)


def test_columns_are_found_by_name():
    columns = mixed()
    encoder = TableEncoder().fit(made(columns))
    shuffled = {"more": np.zeros(400), **dict(reversed(columns.items()))}
    np.testing.assert_array_equal(
        encoder.transform(made(shuffled)), encoder.transform(made(columns))
    )
    del shuffled["constant"]  # which has no input
    assert "constant" not in encoder.features
    np.testing.assert_array_equal(
        encoder.transform(made(shuffled)), encoder.transform(made(columns))
    )
    del shuffled["city"], shuffled["age"]
    shuffled["citi"] = columns["city"]
    with pytest.raises(DataError, match="missing: 'age', 'city'"):
        encoder.transform(made(shuffled))


def test_a_column_of_another_kind_is_refused():
    columns = mixed()
    encoder = TableEncoder().fit(made(columns))
    wrong = columns | {"age": columns["plan"], "plan": columns["price"]}
    with pytest.raises(DataError, match=r"^made, column 'age': .* model takes numbers"):
        encoder.transform(made(wrong))
    dated = columns | {"age": columns["joined"]}
    with pytest.raises(DataError, match=r"^made, column 'age': .* model takes numbers"):
        encoder.transform(made(dated))
    undated = columns | {"joined": columns["price"]}
    with pytest.raises(DataError, match=r"^made, column 'joined': .* model takes dates"):
        encoder.transform(made(undated))


def test_codes_are_text_on_request():
    codes = np.resize([1.0, 2, 7, np.nan], 40)
    table = made({"code": codes, "x": np.arange(40.0)})
    encoder = TableEncoder(categorical=["code"]).fit(table)
    names = ["x", "code=1", "code=2", "code=7", "code=(missing)"]
    assert encoder.get_feature_names_out().tolist() == names
    assert encoder.kinds["code"] == "text"
    found = encoder.transform(made({"code": np.array([7, np.nan, 3.0]), "x": np.zeros(3)}))
    np.testing.assert_array_equal(found[:, 1:], [[0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]])
    frame = TableEncoder(categorical=["code"]).fit({"code": codes, "x": np.arange(40.0)})
    assert frame.to_dict()["columns"] == encoder.to_dict()["columns"]
    one = frame.transform({"code": 7, "x": 1.0})
    np.testing.assert_array_equal(one, encoder.transform({"code": "7", "x": 1.0}))
    again = TableEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    assert again.get_params()["categorical"] == ("code",)
    dates = made({"at": np.resize(np.array(["2020-01-31", "2021-05-01"], "M8[D]"), 20)})
    assert list(inputs(TableEncoder(categorical=["at"]).fit(dates), dates)) == ["at=2021-05-01"]
    with pytest.raises(DataError, match="categorical has 'cod', which is no column.*'code'"):
        TableEncoder(categorical=["cod"]).fit(table)
    with pytest.raises(TypeError, match="names of columns, in a list; got 'code'"):
        TableEncoder(categorical="code")


def test_a_column_of_holes_has_any_kind():
    columns = mixed()
    encoder = TableEncoder().fit(made(columns))
    empty = {
        "age": texts(None, ""),
        "plan": np.full(2, np.nan),
        "joined": np.full(2, np.nan),
        "city": np.array(["NaT"] * 2, "datetime64[us]"),
    }
    same = {
        "age": np.full(2, np.nan),
        "plan": texts(None, None),
        "joined": np.array(["NaT"] * 2, "datetime64[us]"),
        "city": texts(None, None),
    }
    rest = {name: column[:2] for name, column in columns.items()}
    np.testing.assert_array_equal(
        encoder.transform(made(rest | empty)), encoder.transform(made(rest | same))
    )


def test_columns_that_do_not_vary_have_no_input():
    columns = {
        "one": np.ones(9),
        "empty": np.full(9, np.nan),
        "word": texts(*["a"] * 9),
        "nothing": texts(*[None] * 9),
        "day": np.full(9, np.datetime64("2020-01-01")),
        "never": np.full(9, np.datetime64("NaT")),
        "x": np.arange(9.0),
        "some": np.array([1.0, np.nan] * 4 + [1.0]),
    }
    assert list(encoded(columns)) == ["x", "some=(missing)"]
    del columns["x"], columns["some"]
    with pytest.raises(DataError, match=r"no column varies in 9 training rows.*'one' is constant"):
        TableEncoder().fit(made(columns))


def test_tables_that_it_cannot_learn_from():
    with pytest.raises(DataError, match="no rows to learn from"):
        TableEncoder().fit(made({"x": np.empty(0)}))
    with pytest.raises(DataError, match="at least one column"):
        TableEncoder().fit(from_arrays("a", np.eye(2)).__class__("a", (), np.empty((3, 0))))
    twice = made({"x": np.arange(3.0), "y": np.arange(3.0)})
    twice = twice.__class__("t", ("x", "x"), twice.values)
    with pytest.raises(DataError, match="two columns are called 'x'"):
        TableEncoder().fit(twice)
    with pytest.raises(DataError, match=r"column 't': expected texts.*got 3 \(int\)"):
        TableEncoder().fit(made({"t": texts("a", 3, "b")}))


def test_one_row_and_no_row():
    encoder = TableEncoder().fit(made(mixed()))
    one = {name: column[:1] for name, column in mixed().items()}
    np.testing.assert_array_equal(
        encoder.transform(made(one)), encoder.transform(made(mixed()))[:1]
    )
    none = {name: column[:0] for name, column in mixed().items()}
    assert encoder.transform(made(none)).shape == (0, encoder.n_inputs)


def test_before_fit():
    for use in (lambda e: e.transform(made(mixed())), lambda e: e.n_inputs, lambda e: e.describe()):
        with pytest.raises(ValueError, match="not fitted: call fit"):
            use(TableEncoder())


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"numbers": "minmax"}, "numbers must be one of robust, quantile, standard, none"),
        ({"high_cardinality": None}, "high_cardinality must be one of"),
        ({"sparse": 1}, "sparse must be one of False, True, auto; got 1"),
        ({"task": "ranking"}, "task must be one of"),
        ({"min_count": 0}, "min_count must be at least 1"),
        ({"max_one_hot": 2.5}, "max_one_hot must be a whole number"),
        ({"smooth": -1}, "smooth must"),
        ({"n_folds": 1}, "n_folds must be at least 2"),
        ({"seed": -1}, "seed must not be negative"),
        ({"indicators": 1}, "indicators must be True or False"),
    ],
)
def test_options_are_checked(option, message):
    with pytest.raises((TypeError, ValueError), match=message):
        TableEncoder(**option)
    encoder = TableEncoder()
    with pytest.raises((TypeError, ValueError), match=message):
        encoder.set_params(**option)
    assert encoder.get_params() == TableEncoder().get_params()


# ---- sparse rows --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sparse_rows_are_the_dense_ones(dtype):
    pytest.importorskip("scipy")
    columns = mixed()
    table, y = made(columns), columns["price"]
    dense = TableEncoder(max_one_hot=5, high_cardinality="one-hot").fit(table, y)
    sparse = TableEncoder(max_one_hot=5, sparse=True).fit(table, y)
    found = sparse.transform(table, dtype)
    assert found.format == "csr"
    assert found.has_canonical_format
    np.testing.assert_array_equal(found.toarray(), dense.transform(table, dtype))
    crossed = TableEncoder(max_one_hot=5, sparse=True, high_cardinality="target")
    same = TableEncoder(max_one_hot=5, high_cardinality="target")
    np.testing.assert_array_equal(
        crossed.fit_transform(table, y).toarray(), same.fit_transform(table, y)
    )


def test_the_engine_trains_on_sparse_rows():
    pytest.importorskip("scipy")
    table = made(mixed())
    encoder = TableEncoder(sparse=True).fit(table)
    X, y = encoder.transform(table), mixed()["price"]
    nets = [Network((encoder.n_inputs, 4, 1), seed=0) for _ in range(2)]
    nets[0].fit(X, y, epochs=2)
    nets[1].fit(X.toarray(), y, epochs=2)
    np.testing.assert_allclose(nets[0].theta, nets[1].theta, rtol=1e-3, atol=1e-5)


def test_sparse_rows_need_scipy(monkeypatch):
    for name in ("scipy", "scipy.sparse"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r'pip install "fastbp\[sklearn\]"'):
        TableEncoder(sparse=True).fit_transform(made(mixed()))


def test_sparse_auto():
    scipy_sparse = pytest.importorskip("scipy.sparse")
    cells = texts(*[f"w{i % 400}" for i in range(2000)])
    table = made({"word": cells, "x": np.arange(2000.0)})
    wide = TableEncoder(sparse="auto").fit(table)
    assert scipy_sparse.issparse(wide.transform(table))
    assert wide.n_inputs == 401
    assert isinstance(
        TableEncoder(sparse="auto").fit(made(mixed())).transform(made(mixed())), np.ndarray
    )
    assert TableEncoder(sparse="auto").fit(table, np.arange(2000.0)).n_inputs == 2


# ---- copies and files ---------------------------------------------------------------------


@pytest.fixture(params=["robust", "quantile", "standard", "none"])
def fitted(request):
    return TableEncoder(numbers=request.param, max_one_hot=5).fit(made(mixed()), mixed()["price"])


@pytest.mark.parametrize("copied", ["pickle", "copy", "dict"])
def test_copies_are_equal(fitted, copied):
    ways = {
        "pickle": lambda e: pickle.loads(pickle.dumps(e)),
        "copy": copy.deepcopy,
        "dict": lambda e: TableEncoder.from_dict(json.loads(json.dumps(e.to_dict()))),
    }
    other, new = ways[copied](fitted), made(mixed(50, seed=1))
    np.testing.assert_array_equal(other.transform(new), fitted.transform(new))
    assert other.describe() == fitted.describe()
    assert other.to_dict() == fitted.to_dict()
    assert other.get_params() == fitted.get_params()


def forged(path, value):
    """The dict of an encoder with another value at a path."""
    found = json.loads(json.dumps(ENCODER.to_dict()))
    place = found
    for key in path[:-1]:
        place = place[key]
    if value is KeyError:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return found


ENCODER = TableEncoder(max_one_hot=5).fit(made(mixed()), mixed()["price"])
RANKS = {"numbers": "quantile"}
AGE, PLAN, JOINED, PAID, CITY = 0, 1, 2, 3, 5


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["format"], 2),
        (["format"], KeyError),
        (["more"], 1),
        (["options"], []),
        (["options", "numbers"], "minmax"),
        (["options", "numbers"], "standard"),
        (["options", "numbers"], ["robust"]),
        (["options", "min_count"], "4"),
        (["options", "categorical"], "age"),
        (["options", "categorical"], [3]),
        (["options", "categorical"], 3),
        (["options", "seed"], KeyError),
        (["columns"], []),
        (["columns"], {}),
        (["columns", AGE], None),
        (["columns", AGE, "kind"], "image"),
        (["columns", AGE, "kind"], ["number"]),
        (["columns", AGE, "kind"], "text"),
        (["columns", AGE, "name"], 3),
        (["columns", AGE, "name"], "plan"),
        (["columns", AGE, "indicator"], 1),
        (["columns", AGE, "scale"], None),
        (["columns", AGE, "scale", "scale"], float("nan")),
        (["columns", AGE, "scale", "scale"], -1.0),
        (["columns", AGE, "scale", "centre"], 10**400),
        (["columns", AGE, "scale", "median"], "0"),
        (["columns", AGE, "scale", "median"], True),
        (["columns", AGE, "scale", "clipped"], 1),
        (["columns", AGE, "scale", "quantiles"], [1.0, 2.0]),
        (["columns", PLAN, "encoding"], "hash"),
        (["columns", PLAN, "encoding"], "two"),
        (["columns", PLAN, "encoding"], "none"),
        (["columns", PLAN, "encoding"], "means"),
        (["columns", PLAN, "encoding"], ["one-hot"]),
        (["columns", PLAN, "levels"], "abc"),
        (["columns", PLAN, "levels"], ["a", "b", 3]),
        (["columns", PLAN, "levels"], ["a", "b", "a"]),
        (["columns", PLAN, "levels"], ["a", "b", ""]),
        (["columns", PLAN, "rare"], ["basic"]),
        (["columns", PLAN, "hole"], "yes"),
        (["columns", PLAN, "n_levels"], -1),
        (["columns", PLAN, "targets"], ["y"]),
        (["columns", JOINED, "cycles"], ["moon"]),
        (["columns", JOINED, "cycles"], ["weekday", "weekday"]),
        (["columns", PAID, "levels"], ["no"]),
        (["columns", CITY, "means"], [[1.0]]),
        (["columns", CITY, "means"], 7),
        (["columns", CITY, "means", 0], [1.0, 2.0]),
        (["columns", CITY, "means", 0], [float("inf")]),
        (["columns", CITY, "targets"], []),
    ],
)
def test_forged_dicts_are_refused(path, value):
    with pytest.raises(ValueError):
        TableEncoder.from_dict(forged(path, value))


@pytest.mark.parametrize(
    "quantiles", [[], [1.0], [1.0, 1.0], [2.0, 1.0], [1.0, None], list(range(2000))]
)
def test_forged_quantiles_are_refused(quantiles):
    ranks = TableEncoder(numbers="quantile").fit(made({"x": np.arange(9.0)})).to_dict()
    assert TableEncoder.from_dict(ranks).n_inputs == 1
    ranks["columns"][0]["scale"]["quantiles"] = quantiles
    with pytest.raises(ValueError, match="quantiles"):
        TableEncoder.from_dict(ranks)


@pytest.mark.parametrize("value", [None, [], "encoder", 3, {}])
def test_other_values_are_no_encoder(value):
    with pytest.raises(ValueError, match="an encoder must be a dict"):
        TableEncoder.from_dict(value)


# ---- words --------------------------------------------------------------------------------


def test_repr_and_description():
    assert repr(TableEncoder()) == "TableEncoder()"
    assert repr(TableEncoder(numbers="quantile", max_one_hot=9)) == (
        "TableEncoder(numbers='quantile', max_one_hot=9)"
    )
    assert repr(ENCODER) == f"TableEncoder(max_one_hot=5): 7 columns -> {ENCODER.n_inputs} inputs"
    lines = ENCODER.describe().splitlines()
    assert lines[0] == f"7 columns, {ENCODER.n_inputs} inputs, 4 of them numbers"
    assert len(lines) == 8
    assert "clipped to ±3; 1 where missing" in lines[1]
    assert "one-hot 3 levels: basic, größer, pro; missing" in lines[2]
    assert "sin and cos of day of year, day of month, weekday" in lines[3]
    assert "-1 for 'no', 1 for 'yes'" in lines[4]
    assert "mean of the target for each of 12 levels" in lines[6]
    assert lines[7].split() == ["constant", "number", "0", "inputs", "constant"]


# ---- as a transformer of scikit-learn --------------------------------------------------------


def test_a_clone_has_the_options_alone():
    base = pytest.importorskip("sklearn.base")
    other = base.clone(ENCODER)
    assert repr(other) == "TableEncoder(max_one_hot=5)"
    validation = pytest.importorskip("sklearn.utils.validation")
    validation.check_is_fitted(ENCODER)
    with pytest.raises(ValueError, match="not fitted"):
        validation.check_is_fitted(other)


def test_a_pipeline_crosses_the_means():
    pipeline = pytest.importorskip("sklearn.pipeline")
    linear = pytest.importorskip("sklearn.linear_model")
    table, y = made(mixed()), mixed()["price"]
    model = pipeline.make_pipeline(TableEncoder(max_one_hot=5), linear.Ridge()).fit(table, y)
    X = TableEncoder(max_one_hot=5).fit_transform(table, y)
    np.testing.assert_array_equal(model[-1].coef_, linear.Ridge().fit(X, y).coef_)
    new = made(mixed(20, seed=1))
    expected = model[-1].predict(ENCODER.transform(new))
    np.testing.assert_array_equal(model.predict(new), expected)
    names = model[:-1].get_feature_names_out().tolist()
    assert names == ENCODER.get_feature_names_out().tolist()
    model.set_params(tableencoder__numbers="standard").fit(table, y)
    assert model[0].numbers == "standard"
    with pytest.raises(ValueError, match="no option 'number'; it has categorical, "):
        model[0].set_params(number="standard")
    with pytest.raises(ValueError, match="not equal to feature_names_in_"):
        ENCODER.get_feature_names_out(["a"])


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_frames_on_request(kind):
    module = pytest.importorskip(kind)
    table, y = made(mixed()), mixed()["price"]
    encoder = TableEncoder(max_one_hot=5).set_output(transform=kind)
    crossed, found = encoder.fit_transform(table, y), encoder.transform(table)
    assert isinstance(found, module.DataFrame)
    assert list(found.columns) == encoder.get_feature_names_out().tolist()
    np.testing.assert_array_equal(found.to_numpy(), ENCODER.transform(table))
    plain = encoder.set_output(transform="default").set_output()
    np.testing.assert_array_equal(crossed.to_numpy(), plain.fit_transform(table, y))
    assert isinstance(plain.transform(table), np.ndarray)
    sklearn = pytest.importorskip("sklearn")
    with sklearn.config_context(transform_output=kind):
        assert isinstance(TableEncoder().fit_transform(table), module.DataFrame)
        assert isinstance(plain.transform(table), np.ndarray)
    with pytest.raises(ValueError, match="default, pandas, polars or None; got 'numpy'"):
        encoder.set_output(transform="numpy")
    pytest.importorskip("scipy")
    with pytest.raises(ValueError, match="is not sparse: use sparse=False"):
        TableEncoder(sparse=True).set_output(transform=kind).fit_transform(table)


# ---- frames -------------------------------------------------------------------------------


def frame_of(kind, columns):
    module = pytest.importorskip({"arrow": "pyarrow"}.get(kind, kind))
    if kind == "arrow":
        return module.table(
            {name: module.array(c, from_pandas=True) for name, c in columns.items()}
        )
    if kind == "polars":
        columns = {name: module.Series(c.tolist()) for name, c in columns.items()}
        holes = module.col("age").fill_nan(None)
        return module.DataFrame(columns).with_columns(holes)
    return module.DataFrame(columns)


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow"])
def test_frames_give_the_same_inputs(kind):
    columns = mixed() | {"joined": mixed()["joined"].astype("datetime64[us]")}
    frame, y = frame_of(kind, columns), columns["price"]
    found = TableEncoder(max_one_hot=5).fit(frame, y)
    assert found.to_dict() == ENCODER.to_dict()
    np.testing.assert_array_equal(found.transform(frame), ENCODER.transform(made(columns)))


def test_a_pipeline_takes_frames_of_pandas():
    pandas = pytest.importorskip("pandas")
    sklearn = pytest.importorskip("sklearn.pipeline")
    from fastbp.sklearn import MLPClassifier

    frame = pandas.DataFrame(mixed())
    y = np.where(frame["price"] > 20, "dear", "cheap")
    network = MLPClassifier((8,), solver="lbfgs", random_state=0)
    model = sklearn.make_pipeline(TableEncoder(), network).fit(frame, y)
    assert model.score(frame, y) > 0.9
    new = pandas.DataFrame(mixed(5, seed=2)).drop(columns=["constant"])
    new.loc[0, "plan"], new.loc[1, "city"] = "unheard of", None
    assert model.predict(new[new.columns[::-1]]).tolist() == model.predict(new).tolist()
    with pytest.raises(DataError, match="missing: 'age'"):
        model.predict(new.drop(columns=["age"]))


def test_rows_of_python_and_arrays():
    encoder = TableEncoder(min_count=1).fit({"x": [1.0, 2, None, 4], "t": ["a", "b", "a", None]})
    assert encoder.get_feature_names_out().tolist() == [
        "x",
        "x=(missing)",
        "t=a",
        "t=b",
        "t=(missing)",
    ]
    one = encoder.transform({"x": 3, "t": "b"}, "float64")
    np.testing.assert_array_equal(one[0, 1:], [0, 0, 1, 0])
    rows = encoder.transform([{"x": None, "t": "c"}, {"t": None, "x": 2.0}])
    np.testing.assert_array_equal(rows, [[0, 1, 0, 0, 0], [0, 0, 0, 0, 1]])
    X = np.array([[1.0, np.nan], [2, 5], [4, 7]])
    array = TableEncoder().fit(X)
    assert array.get_feature_names_out().tolist() == ["1", "2", "2=(missing)"]
    assert array.transform(X).shape == (3, 3)


def test_truth_values_are_one_input():
    flags = TableEncoder().fit({"paid": [True, False, True], "n": [1, 2, 3]})
    found = flags.transform({"paid": [False, True], "n": [1, 1]})
    np.testing.assert_array_equal(found[:, 1], [-1, 1])
