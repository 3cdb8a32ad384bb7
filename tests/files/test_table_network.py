"""Models of `fastbp train` in Python: rows by name, answers, errors, copies and files."""

import copy
import csv
import io
import pickle
import re
import sys

import numpy as np
import pytest
from table_cases import PLANS, array_network, rows, table_network

import fastbp
from fastbp import Network
from fastbp._cli.main import main
from fastbp.errors import DataError
from fastbp.tabular import Table, TableNetwork, from_arrays, read_features, read_table
from fastbp.tabular._preprocessing import Preprocessing

TARGETS = pytest.mark.parametrize("target", ["left", "price"])


@pytest.fixture
def model(tmp_path):
    return table_network(tmp_path)


def one(**changes):
    """One row by name."""
    row = {"age": 41, "plan": "basic", "year": 2000, "größe (cm)": 170, "paid": "true"}
    return row | changes


def structured(columns):
    kinds = [(name, np.asarray(column).dtype) for name, column in columns.items()]
    array = np.empty(len(next(iter(columns.values()))), kinds)
    for name, column in columns.items():
        array[name] = column
    return array


def frames():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    columns = {name: list(column) for name, column in rows().items()}
    frame = pandas.DataFrame(columns)
    yield "pandas", frame
    yield "categories", frame.astype({"plan": "category", "year": "Int64"})
    for name, maker in (("polars", "DataFrame"), ("pyarrow", "table")):
        try:
            module = __import__(name)
        except ImportError:
            continue
        plain = {name: np.asarray(column).tolist() for name, column in rows().items()}
        yield name, getattr(module, maker)(plain)


# ---- rows by name -------------------------------------------------------------------------


@TARGETS
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_answers_are_those_of_the_command(target, dtype, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    net = table_network(tmp_path, target, dtype=dtype)
    assert type(net) is TableNetwork
    assert (
        main(["predict", "model.safetensors", "table.csv", *["--proba"] * (target == "left")]) == 0
    )
    (name, *more), *cells = csv.reader(io.StringIO(capsys.readouterr().out))
    assert (name,) == net.target
    answers = net.predict(rows())
    if target == "left":
        assert [row[0] for row in cells] == answers.tolist()
        assert more == [f"probability of {label}" for label in net.classes]
        assert [row[1:] for row in cells] == [[*map(str, row)] for row in net.predict_proba(rows())]
    else:
        assert [row[0] for row in cells] == [*map(str, answers)]
        assert answers.shape == (40,) and answers.dtype == dtype


@TARGETS
def test_all_kinds_of_rows_give_the_same_answers(target, tmp_path):
    net = table_network(tmp_path, target)
    columns = rows()
    expected = net.predict(columns)
    as_lists = {name: np.asarray(column).tolist() for name, column in columns.items()}
    kinds = {
        "lists": as_lists,
        "another order": dict(reversed(columns.items())),
        "only features": {name: columns[name] for name in net.features},
        "dicts": [
            dict(zip(as_lists, row, strict=True)) for row in zip(*as_lists.values(), strict=True)
        ],
        "structured": structured(columns),
        "table": read_table(tmp_path / "table.csv", target=target),
        "features": read_features(tmp_path / "table.csv", net.features, categorical=net.categories),
        "masked": as_lists | {"age": np.ma.array(columns["age"])},
        "columns (n, 1)": {name: np.asarray(column)[:, None] for name, column in columns.items()},
        **dict(frames()),
    }
    for kind, X in kinds.items():
        np.testing.assert_array_equal(net.predict(X), expected, err_msg=kind)
        assert net.prepare(X).shape == (40, net.widths[0]), kind
    for kind in ("dicts", "structured"):
        np.testing.assert_array_equal(net.predict(kinds[kind][3:4]), expected[3:4])
    np.testing.assert_array_equal(net.predict(kinds["dicts"][3]), expected[3:4])
    np.testing.assert_array_equal(net.predict(kinds["structured"][3]), expected[3:4])
    if "pandas" in kinds:
        np.testing.assert_array_equal(net.predict(kinds["pandas"].iloc[3]), expected[3:4])


def test_numbers_and_truth_values_are_found_among_categories(tmp_path):
    columns = {"code": [10115, 20095] * 6, "flag": ["true", "false"] * 6, "y": ["a", "b"] * 6}
    lines = "".join(f"{a},{b},{y}\n" for a, b, y in zip(*columns.values(), strict=True))
    (tmp_path / "t.csv").write_text("code,flag,y\n" + lines)
    from table_cases import network_of

    net = network_of(read_table(tmp_path / "t.csv", target="y", categorical=["code"]), tmp_path)
    assert net.categories == {"code": ("10115", "20095"), "flag": ("false", "true")}
    expected = net.prepare({"code": "10115", "flag": "true"})
    for code in (10115, 10115.0, np.float32(10115), np.int64(10115)):
        for flag in (True, np.True_, "true"):
            found = net.prepare({"code": code, "flag": flag})
            np.testing.assert_array_equal(found, expected, err_msg=f"{code!r}, {flag!r}")


def test_columns_without_names_in_the_file(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(5, 3, (30, 4))
    net = array_network(tmp_path, X, X[:, 0] * 2)
    table = from_arrays("X", X)
    assert net.features == ("1", "2", "3", "4")
    prep = Preprocessing.from_dict(net.preprocessing)
    expected = prep.answers(Network.predict(net, prep.inputs(table, net.dtype)))[:, 0]
    np.testing.assert_array_equal(net.predict(table), expected.astype(np.float32))
    by_name = {str(i + 1): X[:, i] for i in range(4)}
    np.testing.assert_array_equal(net.predict(by_name), net.predict(table))


def test_an_array_of_raw_columns_in_the_order_of_features(tmp_path):
    net = table_network(tmp_path, "price", without=("plan", "paid"))
    X = np.column_stack([rows()[name] for name in net.features])
    np.testing.assert_array_equal(net.predict(from_arrays("X", X)), net.predict(rows()))


def test_several_targets(tmp_path):
    rng = np.random.default_rng(0)
    X, Y = rng.normal(2, 3, (30, 3)), rng.normal(50, 9, (30, 2))
    net = array_network(tmp_path, X, Y)
    assert net.target == ("y1", "y2") and net.task == "regression" and net.classes == ()
    answers = net.predict(from_arrays("X", X))
    assert answers.shape == (30, 2)
    scaled = net.prepare_targets(Y)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-5)
    residual = ((Y - answers) ** 2).sum(axis=0) / ((Y - Y.mean(axis=0)) ** 2).sum(axis=0)
    assert net.score(from_arrays("X", X), Y) == pytest.approx(np.mean(1 - residual), rel=1e-6)


def test_classes_keep_their_type(tmp_path):
    X = np.random.default_rng(0).normal(size=(20, 3))
    for y, kind in ((np.arange(20) % 3 + 5, "i"), (np.arange(20) % 2 == 0, "b")):
        net = array_network(tmp_path, X, y)
        answers = net.predict(from_arrays("X", X))
        assert answers.dtype.kind == kind and set(answers.tolist()) <= set(net.classes)
        np.testing.assert_array_equal(np.array(net.classes)[net.prepare_targets(y)], y)


# ---- scores and further training ----------------------------------------------------------


def test_scores(tmp_path):
    net = table_network(tmp_path)
    columns = rows()
    right = float((net.predict(columns) == columns["left"]).mean())
    assert net.score(columns) == net.score(columns, columns["left"]) == right
    assert net.score(read_table(tmp_path / "table.csv", target="left")) == right
    net = table_network(tmp_path, "price")
    y = columns["price"]
    expected = 1 - ((net.predict(columns) - y) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    assert net.score(columns) == pytest.approx(expected, rel=1e-5)
    del columns["price"]
    with pytest.raises(DataError, match="X has no column 'price', which is the target: pass"):
        net.score(columns)
    with pytest.raises(DataError, match="y has 39 rows; X has 40"):
        net.score(columns, y[:39])
    with pytest.raises(DataError, match="score takes rows by name"):
        net.score(net.prepare(columns), y)


@TARGETS
def test_training_continues_on_prepared_data(target, tmp_path):
    net = table_network(tmp_path, target)
    X, y = net.prepare(rows()), net.prepare_targets(rows()[target])
    np.testing.assert_array_equal(y, net.prepare_targets(rows()))
    before = net.loss(X, y)
    net.fit(X, y, epochs=20)
    assert net.loss(X, y) < before
    assert net.feature_names is None


def test_targets_that_do_not_fit_are_refused(tmp_path):
    net = table_network(tmp_path)
    with pytest.raises(DataError, match="class 'maybe' of 'left' was not in the training file"):
        net.prepare_targets(["yes", "maybe"])
    with pytest.raises(DataError, match=r"y has shape \(2, 2\); expected \(n,\)"):
        net.prepare_targets([["yes", "yes"], ["nö", "nö"]])
    net = table_network(tmp_path, "price")
    with pytest.raises(DataError, match="column 'price': 1 missing value .in row 2"):
        net.prepare_targets([1.0, None])


# ---- arrays without names -----------------------------------------------------------------


def test_an_array_is_prepared_inputs(model):
    X = model.prepare(rows())
    outputs = Network.predict(model, X)
    np.testing.assert_array_equal(model.predict(X), outputs)
    np.testing.assert_array_equal(model.predict_proba(X), outputs)
    np.testing.assert_array_equal(model.forward(X.tolist()), outputs)
    np.testing.assert_array_equal(model.predict_proba(rows()), outputs)


RAW = {
    "numbers": np.ones((2, 5)),
    "lists": [[41, "basic", 2000, 170, "true"]],
    "one row": np.ones(5),
}


@pytest.mark.parametrize("case", RAW)
@pytest.mark.parametrize("call", ["predict", "predict_proba", "forward"])
def test_raw_columns_need_names(case, call, model):
    with pytest.raises(DataError, match=r"5 columns without names.* takes 10 inputs.*by name"):
        getattr(model, call)(RAW[case])


def test_text_in_an_array_is_refused_with_the_way_out(model):
    with pytest.raises(TypeError, match=r"must hold real numbers.*for the raw columns, pass the"):
        model.predict(np.full((2, 10), "a"))


def test_an_array_that_may_be_raw_warns_once(tmp_path):
    net = table_network(tmp_path, "price", without=("plan", "paid"))
    X = net.prepare(rows())
    with pytest.warns(UserWarning, match=r"no names.*already scaled.*from_arrays.*forward\(X\)"):
        outputs = net.predict(X)
    np.testing.assert_array_equal(net.predict(X), outputs)  # a second warning would be an error
    again = fastbp.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.forward(X), outputs)


@pytest.mark.parametrize("call", ["forward", "loss", "fit", "train_batch", "jacobian"])
def test_other_methods_refuse_names(call, model):
    y = (np.zeros(40, int),) if call in ("loss", "fit", "train_batch") else ()
    optimizer = (fastbp.optim.SGD(),) if call == "train_batch" else ()
    with pytest.raises(DataError, match=r"X has names.*pass net.prepare\(X\), and net.prepare_t"):
        getattr(model, call)(rows(), *y, *optimizer)
    with pytest.raises(DataError, match="X has names"):
        getattr(model, call)(structured(rows()), *y, *optimizer)


# ---- errors -------------------------------------------------------------------------------


def test_all_missing_columns_are_named(model):
    columns = rows()
    columns["Age"] = columns.pop("age")
    del columns["year"]
    with pytest.raises(DataError) as caught:
        model.predict(columns)
    assert str(caught.value) == (
        "X: the model takes 5 columns, age, plan, year, größe (cm), paid; missing: 'age' (did you "
        "mean 'Age'?), 'year'; X has plan, größe (cm), paid, left, price, Age"
    )


def test_all_problems_of_values_are_in_one_error(model):
    nan = float("nan")
    X = [
        one(),
        one(age=None, plan=""),
        one(age="41", plan=None),
        one(age="old", year=float("inf"), paid=3j),
        {name: value for name, value in one(age=nan).items() if name != "year"},
    ]
    with pytest.raises(DataError) as caught:
        model.predict(X)
    heading, *problems = str(caught.value).split("\n")
    assert heading == "X: problems in 4 columns"
    to_float = "the model takes numbers in this column: convert text with float"
    drop, fill = "drop such rows", "fill them in, or drop such rows"
    assert problems == [
        f"  column 'age': 2 missing values (first in row 2); {fill}",
        f"  column 'age': 2 texts (first in row 3): '41'; {to_float}",
        f"  column 'plan': 2 missing values (first in row 2); {fill}",
        f"  column 'year': 1 number that is not finite (in row 4): 'inf' (float); {drop}",
        f"  column 'year': 1 missing value (in row 5); {fill}",
        "  column 'paid': 1 value (in row 4): '3j' (complex); the model takes text here",
    ]


def test_a_number_beyond_the_dtype_is_refused(model, tmp_path):
    X = [one(), one(year=-1e300)]
    message = "X, row 2, column 'year': -1e+300 is too large; scaled, it is beyond float32: correct"
    with pytest.raises(DataError, match=re.escape(message)):
        model.predict(X)
    wide = table_network(tmp_path, dtype="float64")
    assert np.isfinite(wide.predict_proba(X)).all()


def test_missing_values_of_pandas_and_masks(model):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame({name: list(column) for name, column in rows().items()})
    frame["year"] = frame["year"].astype("Int64")
    frame.loc[1, "year"] = pandas.NA
    frame.loc[2, "plan"] = None
    frame.loc[3, "age"] = np.nan
    with pytest.raises(DataError) as caught:
        model.predict(frame)
    assert [line.split(";")[0] for line in str(caught.value).split("\n")[1:]] == [
        f"  column {name!r}: 1 missing value (in row {row})"
        for name, row in (("age", 4), ("plan", 3), ("year", 2))
    ]
    hidden = rows() | {"age": np.ma.array(rows()["age"], mask=np.arange(40) == 5)}
    with pytest.raises(DataError, match="column 'age': 1 missing value .in row 6"):
        model.predict(hidden)
    dates = frame.assign(age=pandas.to_datetime("2020-01-01"), year=2000, plan="basic")
    with pytest.raises(DataError, match="column 'age': 40 values .first in row 1.: '2020-01-01"):
        model.predict(dates)


def test_a_walk_of_a_row_by_name_says_how_to_prepare_it(model):
    way = r"pass net\.prepare\(x\), and net\.prepare_targets\(\[y\]\)\[0\] for its target$"
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    for x in (one(), [one()], pandas.DataFrame([one()]), pandas.DataFrame([one()]).iloc[0]):
        with pytest.raises(DataError, match=way):
            model.walk(x, "yes")
    with pytest.raises(DataError, match="x has 5 columns without names, as the table has"):
        model.walk([41, "basic", 2000, 170, "true"], "yes")
    target = model.prepare_targets(["yes"])[0]
    walk = model.walk(model.prepare(one()), target)
    np.testing.assert_array_equal(walk.x, model.prepare(one())[0])
    np.testing.assert_array_equal(walk.layers[-1].a, model.predict_proba(one())[0])
    pytest.importorskip("matplotlib", reason="matplotlib is not installed").use("Agg")
    with pytest.raises(DataError, match=way):
        fastbp.plot.NetworkDisplay.from_network(model, one(), "yes")
    display = fastbp.plot.NetworkDisplay.from_network(model, model.prepare(one()), target)
    assert display.J == pytest.approx(walk.J)


def test_unknown_categories(model):
    with pytest.raises(DataError, match=r"column 'plan': 2 cells with an unknown .*'silver'"):
        model.predict([one(), one(plan="silver"), one(plan="silver")])
    with pytest.raises(DataError) as caught:
        model.predict([one(age=None), one(plan="silver")])
    assert str(caught.value).splitlines() == [
        "X: problems in 2 columns",
        "  column 'age': 1 missing value (in row 1); fill them in, or drop such rows",
        (
            "  column 'plan': 1 cell with an unknown category (in row 2): 'silver'; the model "
            f"knows {', '.join(model.categories['plan'])}"
        ),
        '  unknown="ignore" sets all inputs of the column to 0 in such rows',
    ]
    X = model.prepare(one(plan="silver"), unknown="ignore")
    assert np.count_nonzero(X[0, 1:6]) == 0 and np.count_nonzero(X[0, 8:]) == 1
    np.testing.assert_array_equal(
        model.predict_proba(one(plan="silver"), unknown="ignore"), Network.predict(model, X)
    )
    assert model.predict(one(plan="silver"), unknown="ignore").shape == (1,)
    with pytest.raises(ValueError, match="unknown must be one of error, ignore; got 'skip'"):
        model.predict(one(), unknown="skip")


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ({}, "missing: 'age'"),
        ([one(), 3], "row 2: expected a dict, as in row 1; got int"),
        (rows() | {"age": 3}, "column 'age' is a single value, and column 'plan' is a ndarray"),
        (rows() | {"plan": ["basic"]}, "column 'age' has 40 rows, and column 'plan' has 1"),
        (rows() | {"age": np.ones((40, 2))}, r"column 'age' has shape \(40, 2\).*two columns"),
        ({name: [] for name in rows()}, "X has no rows"),
        ("new.csv", r"X is a path; pass fastbp.tabular.read_features\('new.csv', net.features"),
    ],
)
def test_rows_that_cannot_be_read(X, message, model):
    with pytest.raises(DataError, match=message):
        model.predict(X)


def test_columns_with_the_same_name(model):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame({name: list(column) for name, column in rows().items()})
    twice = pandas.concat([frame, frame[["age"]]], axis=1)
    with pytest.raises(DataError, match="column 'age' has shape .* do two columns have this name"):
        model.predict(twice)


def test_errors_in_a_file_name_its_line(model, tmp_path):
    (tmp_path / "new.csv").write_text(
        "\nage,plan,year,größe (cm),paid\n1,basic,2000,170,true\n1,silver,2000,170,true\n"
    )
    table = read_features(tmp_path / "new.csv", model.features, categorical=model.categories)
    with pytest.raises(DataError, match=r"new.csv, column 'plan': 1 cell .*in line 4"):
        model.predict(table)


def test_a_regression_has_no_probabilities(tmp_path):
    net = table_network(tmp_path, "price")
    with pytest.raises(ValueError, match=r"predicts numbers \(price\).* use predict"):
        net.predict_proba(rows())


# ---- what it is ---------------------------------------------------------------------------


def test_description(model):
    assert isinstance(model, Network)
    assert model.task == "classification"
    assert model.features == ("age", "plan", "year", "größe (cm)", "paid")
    assert model.categories == {"plan": tuple(sorted(PLANS)), "paid": ("false", "true")}
    assert model.target == ("left",) and model.classes == ("nö", "yes")
    columns = "age, plan, year, größe (cm), paid -> left"
    assert repr(model).startswith("fastbp.tabular.TableNetwork((10, 6, 2), ['tanh', 'softmax'], ")
    assert repr(model).endswith(f", columns='{columns}')")
    assert f"columns {columns}" in model.summary()
    assert columns.replace(">", "&gt;") in model._repr_html_()


def test_copies_and_files(model, tmp_path):
    expected = model.predict_proba(rows())
    model.save(tmp_path / "again")
    twins = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    for twin in (*twins, fastbp.load(tmp_path / "again")):
        assert type(twin) is TableNetwork and twin.preprocessing == model.preprocessing
        assert type(twin.preprocessing) is dict
        np.testing.assert_array_equal(twin.predict_proba(rows()), expected)


def test_a_network_without_a_table():
    net = TableNetwork((3, 2), seed=0)
    assert net.summary() == Network((3, 2), seed=0).summary()
    assert repr(net).startswith("fastbp.tabular.TableNetwork((3, 2), ['identity']")
    with pytest.raises(ValueError, match="the network knows no table"):
        net.predict({"a": 1})
    net.preprocessing = {"a": 1}
    with pytest.raises(ValueError, match="expected the fields"):
        net.predict({"a": 1})


def test_other_preprocessing_gives_a_plain_network(tmp_path):
    for kept in (None, {"mean": [1.0], "scale": [2.0]}, {"features": ["a"], "task": "mine"}):
        net = Network((3, 2), seed=0)
        net.preprocessing = kept
        net.save(tmp_path / "net")
        assert type(fastbp.load(tmp_path / "net")) is Network


def test_forged_preprocessing_of_a_table_is_refused(model, tmp_path):
    for change, message in (
        ({"scale": [0.0] * 10}, "scale must contain finite positive numbers"),
        ({"classes": ["a", "b", "c"]}, "it has 10 inputs and 3 outputs; the network has 10 and 2"),
        ({"mean": 3}, "mean must be a list"),
        ({"more": 1}, "missing or unknown: more"),
    ):
        net = Network((10, 6, 2), output="softmax", loss="cross_entropy", seed=0)
        net.preprocessing = model.preprocessing | change
        net.save(tmp_path / "forged")
        with pytest.raises(
            fastbp.ModelFileError, match=f"forged: invalid preprocessing.*{message}"
        ):
            fastbp.load(tmp_path / "forged")


def test_a_plain_network_is_loaded_without_the_room_of_tables(tmp_path):
    import subprocess

    Network((2, 1), seed=0).save(tmp_path / "net")
    code = (
        "import sys, fastbp; fastbp.load(sys.argv[1]); "
        "print([name for name in sys.modules if name.startswith('fastbp.tabular')])"
    )
    ran = [sys.executable, "-c", code, str(tmp_path / "net")]
    assert subprocess.run(ran, check=True, capture_output=True, text=True).stdout == "[]\n"


def test_tables_stay_tables(model, tmp_path):
    table = read_table(tmp_path / "table.csv", target="left")
    before = {name: value for name, value in vars(table).items() if name != "values"}
    values = table.values.copy()
    model.predict(table)
    assert isinstance(table, Table) and vars(table).items() >= before.items()
    np.testing.assert_array_equal(table.values, values)
