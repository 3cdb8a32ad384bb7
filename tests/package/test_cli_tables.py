"""fastbp train TABLE and fastbp predict: tables as they are, with holes, text and dates."""

import csv
import ctypes
import io
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import fastbp
from fastbp import Network
from fastbp._cli import tables as module
from fastbp._cli.main import main
from fastbp.tabular import TableModel, TableNetwork, _ensemble, read_features

pytestmark = pytest.mark.once
FILE = "fastbp-model.safetensors"
QUICK = ["--preset", "fast", "--members", "2", "--epochs", "4", "--drop", "id"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def rows_of(n=150, seed=0):
    """Customers: an identifier, numbers, text and dates with holes, and two targets."""
    rng = np.random.default_rng(seed)
    age, plan = rng.integers(18, 80, n), rng.choice(["basic", "pro", "gold, Köln"], n)
    joined = np.datetime64("2020-01-01") + rng.integers(0, 900, n)
    left = np.where((age > 50) ^ (plan == "pro"), "yes", "no")
    spent = (age * 1.5 + 20 * (plan == "pro") + rng.normal(size=n)).round(2)
    columns = {"age": age, "plan": plan, "joined": joined}
    cells = {name: column.astype(str).astype(object) for name, column in columns.items()}
    for column in cells.values():
        column[rng.random(n) < 0.1] = ""
    return {
        "id": np.arange(1, n + 1).astype(str),
        **cells,
        "left": left,
        "spent": spent.astype(str),
    }


def write(path, columns, *, delimiter=",", without=()):
    names = [name for name in columns if name not in without]
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerows([names, *zip(*(columns[name] for name in names), strict=True)])
    return path


def write_customers(path="customers.csv", target="left", **options):
    other = {"left": "spent", "spent": "left"}[target]
    return write(path, rows_of(), without=[other], **options)


def write_new(path="new.csv", n=20):
    """Further customers, in another order of columns, without targets."""
    columns = rows_of(n, 5)
    columns["plan"][3] = "platinum"
    return write(path, {name: columns[name] for name in ("plan", "id", "joined", "age")})


def table(text):
    header, *rows = csv.reader(io.StringIO(text))
    return header, rows


def predicted(capsys, *args):
    """The table that fastbp predict writes, and what it says."""
    capsys.readouterr()
    assert main(["predict", *args]) == 0
    out, err = capsys.readouterr()
    return *table(out), err


def refused(capsys, *args):
    """The message of a command that fails."""
    capsys.readouterr()
    try:
        code = main([*args])
    except SystemExit as end:
        code = end.code
    assert code in (1, 2)
    return capsys.readouterr().err


# ---- the whole way ------------------------------------------------------------------------


def test_a_table_with_holes_text_and_dates_trains_predicts_and_exports(capsys, tmp_path):
    write_customers()
    assert main(["train", "customers.csv", "--preset", "fast", "--drop", "id"]) == 0
    out = capsys.readouterr().out
    assert "customers.csv: 120 rows to train on, 30 to test; classification, preset fast\n" in out
    assert re.search(r"\n4 networks, about [\d.]+ s\n", out)
    assert "\n3 of 3 columns are " in out
    assert re.search(r"the most important are (age|plan|joined) \(\d+ %\), ", out)
    assert float(re.search(r"test accuracy: ([\d.]+) %", out)[1]) > 60  # the most frequent has 57
    assert re.search(rf"; log loss [\d.]+\nmodel written to {FILE}\n$", out)

    write_new()
    header, rows, err = predicted(capsys, FILE, "new.csv", "--proba", "--keep", "id")
    assert header == ["id", "left", "probability of no", "probability of yes"]
    assert [row[0] for row in rows] == [str(i) for i in range(1, 21)]
    assert "column 'plan': 1 cell with a text that the model does not know: 'platinum'" in err
    model = fastbp.load(FILE)
    assert type(model) is TableModel
    X = read_features(
        "new.csv",
        model.features,
        categorical=model.encoder.categories,
        dated=["joined"],
        missing="keep",
        dates="parse",
    )
    np.testing.assert_array_equal(
        np.array([row[2:] for row in rows], np.float32), model.predict_proba(X)
    )
    assert [row[1] for row in rows] == model.predict(X).tolist()

    source = fastbp.export.c(model, "model.c")
    assert "int model_predict(const struct model_row *row, float out[2])" in source
    from export_cases import compiled

    library = compiled(source, tmp_path)
    kinds = {"number": ctypes.c_double, "date": ctypes.c_longlong, "text": ctypes.c_char_p}
    fields = [(name, kinds[kind]) for name, kind in model.encoder.kinds.items()]
    row_type = type("Row", (ctypes.Structure,), {"_fields_": fields})
    out = np.empty(2, np.float32)
    for i in range(20):
        row = row_type(
            age=X.values[i, 0],
            plan=None if X.text[1][i] is None else X.text[1][i].encode(),
            joined=int(X.dates[2][i].view(np.int64)),
        )
        library.model_predict(ctypes.byref(row), ctypes.c_void_p(out.ctypes.data))
        np.testing.assert_allclose(out, model.predict_proba(X)[i], atol=3e-5)


def test_a_regression(capsys):
    write_customers(target="spent")
    assert main(["train", "customers.csv", *QUICK, "--epochs", "30"]) == 0
    out = capsys.readouterr().out
    assert float(re.search(r"test R2: ([\d.]+)", out)[1]) > 0.5
    write_new()
    header, rows, _ = predicted(capsys, FILE, "new.csv", "--std")
    assert header == ["spent", "std of spent"]
    numbers = np.array(rows, float)
    assert (abs(numbers[:, 0] - 80) < 80).all()
    assert (numbers[:, 1] >= 0).all()
    model = fastbp.load(FILE)
    assert numbers[:, 1].max() < 10 * model.target_scale[0]


def test_numbers_have_the_digits_that_they_need(capsys):
    """Of seconds since 1970, float32 would keep minutes; of tiny numbers, nothing."""
    x = np.linspace(-1, 1, 80)
    for scale, mean in ((0.5, 1.6e9), (1e-60, 0.0), (1e60, 0.0)):
        y = [repr(float(each)) for each in mean + scale * x]
        write("line.csv", {"x": x.round(6).astype(str), "y": y})
        assert main(["train", "line.csv", "-q", *QUICK[:-2]]) == 0
        _, rows, _ = predicted(capsys, FILE, "line.csv")
        found = np.array([float(cell) for (cell,) in rows])
        model = fastbp.load(FILE)
        expected = model.predict({"x": x.round(6)})
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * model.target_scale[0])
        assert max(len(cell) for (cell,) in rows) < 20


# ---- options of train ---------------------------------------------------------------------


def test_presets_members_epochs_and_time(capsys):
    write_customers()
    for options, members, epochs in (
        (["--preset", "fast"], 4, None),
        (["--preset", "fast", "--members", "3", "--epochs", "2"], 3, 2),
        (["--members", "1", "--epochs", "2"], 1, 2),
        (["--preset", "best", "--members", "2", "--epochs", "1"], 2, 1),
        (["--members", "2", "--time", "60s", "--epochs", "2"], 2, 2),
    ):
        assert main(["train", "customers.csv", *options, "--drop", "id"]) == 0
        out, err = capsys.readouterr()
        preset = options[1] if options[0] == "--preset" else "default"
        assert f"classification, preset {preset}\n" in out
        assert f"\n{members} network{'s' * (members > 1)}, about " in out
        assert len(fastbp.load(FILE).networks) == members
        if epochs is not None:
            assert f"{members * epochs}/{members * epochs}" in err


def test_a_time_limit_is_told(capsys, monkeypatch):
    monkeypatch.setattr("fastbp.tabular._model.seconds_per_member", lambda *_: 60.0)
    write_customers()
    assert main(["train", "customers.csv", "--time", "30s", "--drop", "id"]) == 0
    assert re.search(
        r"8 networks, about [\d.]+ s; time_limit=30 leaves \d networks of \d+ epochs",
        capsys.readouterr().out,
    )


def test_the_seed_decides_the_bits():
    write_customers()
    for name, seed in (("one", "1"), ("again", "1"), ("other", "2")):
        assert main(["train", "customers.csv", "-q", *QUICK, "--seed", seed, "-o", name]) == 0
    assert Path("one").read_bytes() == Path("again").read_bytes()
    assert Path("one").read_bytes() != Path("other").read_bytes()


def test_quiet_prints_nothing(capsys):
    write_customers()
    assert main(["train", "customers.csv", "-q", *QUICK]) == 0
    assert capsys.readouterr() == ("", "")


def test_nothing_is_held_out_on_request(capsys):
    write_customers()
    assert main(["train", "customers.csv", *QUICK, "--hold-out", "0"]) == 0
    out = capsys.readouterr().out
    assert "customers.csv: 150 rows to train on; classification" in out
    assert "test accuracy" not in out


def test_options_of_a_plain_network_make_one(capsys):
    write("plain.csv", {"a": np.arange(60).astype(str), "y": (np.arange(60) % 2).astype(str)})
    assert main(["train", "plain.csv", "--hidden", "4", "--epochs", "2"]) == 0
    assert "network 1-4-2 (relu, softmax;" in capsys.readouterr().out
    assert type(fastbp.load(FILE)) is TableNetwork
    assert main(["train", "plain.csv", "--preset", "plain", "--epochs", "2", "-q"]) == 0
    assert isinstance(fastbp.load(FILE), Network)
    assert main(["train", "plain.csv", "--preset", "plain", "--epochs", "2", "--members", "2"]) == 0
    assert type(fastbp.load(FILE)) is fastbp.Population


def test_a_plain_network_refuses_holes(capsys):
    write_customers()
    err = refused(capsys, "train", "customers.csv", "--hidden", "8", "--drop", "id")
    assert re.search(r"column 1 \('age'\)|column 2 \('age'\)", err)
    assert "empty cells" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--preset", "fast", "--hidden", "8"], "--preset fast decides --hidden"),
        (["--preset", "best", "--lr", "0.1"], "--preset best decides --lr"),
        (["--preset", "fast", "--patience", "3"], "--preset fast decides --patience"),
        (["--preset", "fast", "--dtype", "float64"], "--preset fast decides --dtype"),
        (["--preset", "fast", "--no-standardize"], "--preset fast decides --no-standardize"),
        (["--preset", "plain", "--time", "5s"], "--time needs a table and a --preset"),
        (["--hidden", "8", "--time", "5s"], "--hidden makes a plain network"),
        (["--preset", "plain", "--na", "?"], "--na needs a table and a --preset"),
        (["--lr", "1", "--high-cardinality", "codes"], "--high-cardinality needs a table"),
        (["--high-cardinality", "hash"], "invalid choice: 'hash'"),
        (["--lr", "0.1", "--date-format", "%d.%m.%Y"], "--date-format needs a table"),
        (["--preset", "slow"], "invalid choice: 'slow'"),
        (["--members", "0"], "--members"),
        (["--time", "soon"], "--time"),
    ],
)
def test_options_that_conflict(options, message, capsys):
    write_customers()
    err = refused(capsys, "train", "customers.csv", *options)
    assert err.startswith("usage: fastbp train ")
    assert message in err
    assert not Path(FILE).exists()


def test_images_take_no_preset(capsys):
    err = refused(capsys, "train", "digits", "--preset", "fast")
    assert "--preset fast is for tables; digits takes --preset plain" in err
    err = refused(capsys, "train", "digits", "--time", "5s")
    assert "--time needs a table" in err


def test_tables_that_cannot_be_learned(capsys):
    write("same.csv", {"x": ["1"] * 30, "y": (np.arange(30) / 7).astype(str)})
    assert "no column varies" in refused(capsys, "train", "same.csv", *QUICK[:-2])
    write("one.csv", {"x": np.arange(30).astype(str), "y": ["a"] * 30})
    assert "only one class, 'a'" in refused(capsys, "train", "one.csv", *QUICK[:-2])
    write("hole.csv", {"x": np.arange(30).astype(str), "y": ["1.5", "", "2.5"] * 10})
    assert "hole.csv" in refused(capsys, "train", "hole.csv", *QUICK[:-2])
    assert "missing.csv" in refused(capsys, "train", "missing.csv", *QUICK[:-2])
    assert not Path(FILE).exists()


def test_ctrl_c_keeps_the_model_trained_so_far(capsys, monkeypatch):
    class Interrupting(_ensemble.EarlyStopping):
        def on_epoch_end(self, epoch, logs):
            if epoch == 2:
                raise KeyboardInterrupt
            return super().on_epoch_end(epoch, logs)

    write_customers()
    monkeypatch.setattr(_ensemble, "EarlyStopping", Interrupting)
    assert main(["train", "customers.csv", *QUICK]) == 130
    out, err = capsys.readouterr()
    assert "test accuracy" in out
    assert err.endswith(f"fastbp: interrupted; the model trained so far is in {FILE}\n")
    write_new()
    assert len(predicted(capsys, FILE, "new.csv")[1]) == 20


def test_ctrl_c_before_the_training_writes_nothing(capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    write_customers()
    monkeypatch.setattr(TableModel, "_encoder_for", interrupted)
    assert main(["train", "customers.csv", *QUICK]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert not Path(FILE).exists()


# ---- options of predict -------------------------------------------------------------------


def test_options_of_predict(capsys):
    write_customers()
    write_new()
    assert main(["train", "customers.csv", "-q", *QUICK]) == 0
    header, rows, _ = predicted(capsys, FILE, "new.csv", "--keep", "plan,age")
    assert header == ["plan", "age", "left"]
    assert rows[3][0] == "platinum"
    assert predicted(capsys, FILE, "new.csv", "--unknown", "ignore")[1] == [
        [row[2]] for row in rows
    ]
    err = refused(capsys, "predict", FILE, "new.csv", "--unknown", "error")
    assert "column 1 ('plan'): 1 cell with an unknown category (in line 5): 'platinum'" in err
    assert "--std needs a model for regression" in refused(
        capsys, "predict", FILE, "new.csv", "--std"
    )
    assert main(["predict", FILE, "new.csv", "-o", "out.csv"]) == 0
    assert table(Path("out.csv").read_text())[1] == [[row[2]] for row in rows]
    # the target may be there, and is not read
    header, rows, _ = predicted(capsys, FILE, "customers.csv", "--keep", "left")
    assert header == ["left", "predicted left"]
    assert len(rows) == 150
    write("short.csv", {"age": ["1"], "joined": ["2020-01-01"]})
    assert "'plan'" in refused(capsys, "predict", FILE, "short.csv")
    assert "has images" in refused(capsys, "predict", FILE, "digits")
    write_customers(target="spent")
    assert main(["train", "customers.csv", "-q", *QUICK]) == 0
    assert "--proba needs a model for classification" in refused(
        capsys, "predict", FILE, "new.csv", "--proba"
    )


def test_texts_of_many_levels_are_embedded_on_request(capsys):
    rng = np.random.default_rng(0)
    shop, x = rng.permutation(2100) % 300, rng.normal(size=2100)
    numbers = {"x": x, "y": x * rng.normal(size=300)[shop]}
    columns = {name: [f"{each:.6f}" for each in of] for name, of in numbers.items()}
    write("sales.csv", {"shop": [f"shop {i}" for i in shop], **columns})
    quick = ["--preset", "fast", "--members", "2", "--epochs", "6", "--hold-out", "0"]
    for option, levels, what in (
        (["--high-cardinality", "codes"], (300,), ""),
        (["--high-cardinality", "target"], (), ""),
        ([], (300,), "\nshop: embedded codes; the held-out error of a network is "),
    ):
        assert main(["train", "sales.csv", *quick, *option]) == 0
        assert what in capsys.readouterr().out
        assert fastbp.load(FILE).encoder.code_levels == levels
    write("more.csv", {"shop": ["shop 7", "new", ""], "x": ["1", "1", "1"]})
    assert main(["predict", FILE, "more.csv"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 4
    assert "column 'shop': 1 cell with a text that the model does not know: 'new'" in err
    assert "; its vector is then 0" in err


def test_cells_of_another_kind_are_refused(capsys):
    write_customers()
    assert main(["train", "customers.csv", "-q", *QUICK]) == 0
    good = {"age": ["30"] * 9, "plan": ["pro"] * 9, "joined": ["2021-01-02"] * 9}
    for name, cell in (("age", "thirty"), ("joined", "someday"), ("joined", "31.12.2020")):
        cells = good[name].copy()
        cells[4] = cell
        write("new.csv", good | {name: cells})
        err = refused(capsys, "predict", FILE, "new.csv")
        assert err.startswith("fastbp: error: new.csv")
        assert repr(name) in err
        assert "line 6" in err
        assert cell in err


def test_arguments_in_the_wrong_order(capsys):
    write_customers()
    assert main(["train", "customers.csv", "-q", *QUICK]) == 0
    err = refused(capsys, "predict", "customers.csv", FILE)
    assert "the arguments look swapped" in err


def test_holes_where_the_training_file_had_none(capsys):
    write("full.csv", {"x": np.arange(60).astype(str), "y": (np.arange(60) / 7).astype(str)})
    assert main(["train", "full.csv", "-q", *QUICK[:-2]]) == 0
    write("new.csv", {"x": ["3", "", "NA"]})
    _, rows, _ = predicted(capsys, FILE, "new.csv")
    assert rows[1] == rows[2] != rows[0]


def test_marks_of_the_training_file_are_remembered(capsys):
    n = 120
    rng = np.random.default_rng(0)
    age = rng.integers(18, 80, n)
    day = np.datetime64("2020-01-01") + rng.integers(0, 900, n)
    price = age * 1000.5
    numbers = [f"{each:,.2f} EUR".translate(str.maketrans(",.", ".,")) for each in price]
    written = [f"{str(d)[8:]}.{str(d)[5:7]}.{str(d)[:4]}" for d in day]
    numbers[3] = written[5] = "unbekannt"
    marks = ["--decimal", ",", "--thousands", ".", "--units", "EUR", "--na", "unbekannt"]
    more = ["--date-format", "%d.%m.%Y", "--delimiter", ";"]
    columns = {"preis": numbers, "tag": written, "alter": (age / 2).astype(str)}
    columns["alter"] = [each.replace(".", ",") for each in columns["alter"]]
    write("kunden.csv", columns, delimiter=";")
    assert main(["train", "kunden.csv", "-q", *QUICK[:-2], *marks, *more]) == 0
    model = fastbp.load(FILE)
    assert model.encoder.kinds == {"preis": "number", "tag": "date"}
    del columns["alter"]
    write("neu.csv", columns, delimiter=";")
    header, rows, _ = predicted(capsys, FILE, "neu.csv")
    assert header == ["alter"]
    values = np.where(np.arange(n) == 3, np.nan, price)
    dates = np.where(np.arange(n) == 5, np.datetime64("NaT"), day)
    expected = model.predict({"preis": values, "tag": dates})
    np.testing.assert_allclose(np.array(rows, float)[:, 0], expected, rtol=1e-5)
    # other marks may be given for another file
    write("new.csv", {"preis": ["50,000.5"], "tag": ["2021-03-04"]})
    _, rows, _ = predicted(
        capsys, FILE, "new.csv", "--decimal", ".", "--thousands", ",", "--delimiter", ","
    )
    one = model.predict({"preis": 50000.5, "tag": np.datetime64("2021-03-04")})
    assert float(rows[0][0]) == pytest.approx(one[0], rel=1e-5)


def test_whole_numbers_are_classes_as_the_file_has_them(capsys):
    x = np.arange(90)
    write("grades.csv", {"x": x.astype(str), "grade": (x // 30 + 1).astype(str)})
    assert main(["train", "grades.csv", "-q", *QUICK[:-2], "--epochs", "40"]) == 0
    header, rows, _ = predicted(capsys, FILE, "grades.csv", "--proba")
    assert header == ["grade", "probability of 1", "probability of 2", "probability of 3"]
    assert {row[0] for row in rows} <= {"1", "2", "3"}
    assert np.mean([row[0] == str(i // 30 + 1) for i, row in enumerate(rows)]) > 0.8


def test_files_without_names_of_columns(capsys):
    x, z = np.arange(80.0), np.arange(80) % 7 + 0.25
    lines = [f"{a},{b},{a + b}" for a, b in zip(x, z, strict=True)]
    Path("data.csv").write_text("\n".join(lines) + "\n")
    assert main(["train", "data.csv", "-q", *QUICK[:-2]]) == 0
    model = fastbp.load(FILE)
    assert model.features == ("1", "2")
    assert model.n_columns == 3
    expected = model.predict(np.stack([x, z], axis=1))
    # with the target, and without it
    with_target = predicted(capsys, FILE, "data.csv", "--keep", "3")[1]
    Path("new.csv").write_text("\n".join(line.rpartition(",")[0] for line in lines) + "\n")
    rows = predicted(capsys, FILE, "new.csv")[1]
    assert [row[1] for row in with_target] == [row[0] for row in rows]
    np.testing.assert_allclose(np.array(rows, float)[:, 0], expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["tsv", "parquet", "csv.gz", "npz"])
def test_other_kinds_of_files(kind, capsys):
    columns = rows_of()
    del columns["spent"]
    path = f"customers.{kind}"
    if kind == "tsv":
        write(path, columns, delimiter="\t")
    elif kind == "csv.gz":
        import gzip

        write("customers.csv", columns)
        Path(path).write_bytes(gzip.compress(Path("customers.csv").read_bytes()))
    elif kind == "npz":
        X = np.stack([np.arange(150.0), np.tile([1, np.nan, 3], 50)], axis=1)
        np.savez(path, X=X, y=np.arange(150) / 7)
    else:
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        known = {
            "id": columns["id"].tolist(),
            "age": [float(each) if each else None for each in columns["age"]],
            "plan": [each or None for each in columns["plan"]],
            "joined": [np.datetime64(each).item() if each else None for each in columns["joined"]],
            "left": columns["left"].tolist(),
        }
        parquet.write_table(pyarrow.table(known), path)
    options = QUICK[:-2] if kind == "npz" else QUICK
    assert main(["train", path, "-q", *options]) == 0
    model = fastbp.load(FILE)
    if kind != "npz":
        assert model.encoder.kinds == {"age": "number", "plan": "text", "joined": "date"}
        write("customers.csv", columns)
        assert main(["train", "customers.csv", "-q", *QUICK, "-o", "of-csv"]) == 0
        of_csv = predicted(capsys, "of-csv", "customers.csv", "--proba")[1]
        assert predicted(capsys, FILE, path, "--proba")[1] == of_csv
    assert len(predicted(capsys, FILE, path)[1]) == 150


def test_the_options_of_a_preset_are_those_that_exist():
    """Each option of fastbp train is one of a plain network, or one that a preset takes."""
    from fastbp._cli.main import build_parser

    taken = {
        "data",
        "output",
        "quiet",
        "preset",
        "time",
        "high_cardinality",
        "na",
        "date_formats",
        "target",
        "task",
        "drop",
        "categorical",
        "hold_out",
        "members",
        "epochs",
        "seed",
        "header",
        "delimiter",
        "decimal",
        "thousands",
        "units",
        "comment",
        "encoding",
        "sheet",
        "max_bytes",
        "folder",
    }
    args = build_parser().parse_args(["train", "x.csv"])
    known = set(vars(args)) - {"parser", "run", "command", "comm"}
    assert known == taken | set(module._OF_PLAIN)


def test_a_package_that_is_not_there_is_named(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    Path("table.parquet").write_bytes(b"PAR1")
    assert main(["train", "table.parquet"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("fastbp: error: table.parquet: ")
    assert err.count("\n") == 1 and 'pip install "fastbp[table]"' in err
