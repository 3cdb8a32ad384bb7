"""What inspect says of the columns of a table."""

import datetime as dt
import json

import numpy as np
import pytest

from fastbp._cli.main import main
from fastbp.errors import DataError
from fastbp.tabular import inspect

pytestmark = pytest.mark.once


@pytest.fixture
def write(tmp_path):
    def write(text, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def rows(n=60, **columns):
    """A table with these columns: functions of the row, beside a column of noise."""
    noise = np.random.default_rng(0).normal(size=n).round(3).tolist()
    return {"noise": noise, **{name: [cell(i) for i in range(n)] for name, cell in columns.items()}}


def csv(columns):
    lines = zip(*columns.values(), strict=True)
    return "\n".join([",".join(columns), *(",".join(map(str, line)) for line in lines)]) + "\n"


def of(write, cell, **options):
    """The report of one column of a file."""
    return inspect(write(csv(rows(x=cell, y=lambda i: f"c{i * i % 3}"))), **options)["x"]


KINDS = {
    "whole": (lambda i: i * i % 17, "number", "whole numbers"),
    "numbers": (lambda i: i * i % 17 / 4, "number", "plain numbers"),
    "text": (lambda i: "abc"[i % 3], "text", "no cell is a plain number"),
    "codes": (lambda i: f"{i % 7:03}", "text", "codes: leading zeros, or an exponent"),
    "exponents": (lambda i: f"{i % 7}E{i % 3}", "text", "codes: leading zeros, or an exponent"),
    "truth": (lambda i: ["TRUE", "false"][i % 2], "true/false", "only true and false"),
    "dates": (lambda i: f"2026-01-{1 + i % 28:02}", "date", "dates, as ISO 8601 or an option"),
    "nothing": (lambda i: ["", "NA"][i % 2], "empty", "no cell has a value"),
    "mixed": (lambda i: "few" if i == 5 else i % 7, "refused", "numbers (59 cells) and text (1)"),
}


def test_a_number_among_texts(write):
    report = inspect(write("x,y\na,1\nb,0\n3,1\n"))
    assert report["x"].why == "numbers (1 cell) and text (2)"


@pytest.mark.parametrize("name", KINDS)
def test_kinds(write, name):
    cell, kind, why = KINDS[name]
    column = of(write, cell)
    assert (column.number, column.name, column.kind) == (2, "x", kind)
    assert column.why.startswith(why)


def test_numbers_dates_and_levels(write):
    path = write("a,t,d,y\n1,x,2026-01-02,1\n2.5,y,,0\n,x,2026-01-01T10:00,1\n-4,,2025-12-31,1\n")
    report = inspect(path)
    assert report.n_rows == 4 and report.source == str(path) and report.target is None
    a, t, d = (report[name] for name in "atd")
    assert (a.n_missing, a.n_distinct, a.low, a.high, a.median) == (1, 3, -4.0, 2.5, 1.0)
    assert a.examples == ("1", "2.5", "-4") and a.content == "-4 … 2.5, median 1"
    assert t.levels == (("x", 2), ("y", 1)) and t.n_missing == 1 and t.content == "x 2, y 1"
    assert (d.low, d.high) == ("2025-12-31T00:00:00", "2026-01-02T00:00:00")
    assert d.n_distinct == 3 and d.n_missing == 1
    with pytest.raises(KeyError, match="no column 'z'; there are a, t, d, y"):
        report["z"]


def test_notes(write):
    path = write("a,t,y\n1,NA,0\nNA,x,1\n3,x,1\n2,None,0\n")
    report = inspect(path)
    assert report["a"].notes == ("1 cell, 'NA' (in line 3), is read as missing",)
    assert report["t"].notes == (
        "2 cells 'NA', 'None' are read as categories (--na NA --na None reads them as missing)",
    )
    assert inspect(path, na=["NA", "None"])["t"].n_missing == 2
    semicolons = inspect(write("a;y\n1;2\n3;4\n"))
    assert semicolons.notes == ("cells are separated by ';' (--delimiter names another character)",)


WARNINGS = {
    "constant": (lambda i: 7, "is constant: 7 (--drop x)"),
    "constant text": (lambda i: "a", "is constant: 'a' (--drop x)"),
    "constant date": (lambda i: "2026-01-01", "is constant (--drop x)"),
    "index": (lambda i: i + 1, "counts the rows, 1 to 60: probably an index (--drop x)"),
    "backwards": (lambda i: -i, "counts the rows, 0 to -59: probably an index (--drop x)"),
    "holes": (lambda i: "" if i % 30 else i, "58 of 60 cells are missing (--drop x)"),
    "nothing": (lambda i: "", "has no value (--drop x)"),
    "case": (lambda i: ["Red", "red", "blue"][i * i % 3],
             "has levels that differ only in case or blanks: 'Red', 'red'"),
    "days": (lambda i: 20260101 + i * i % 28,
             "digits that may be dates, such as 20260101 (--date-format %Y%m%d)"),
    "missing": (lambda i: -999 if i % 9 == 4 else i % 5 / 4,
                "-999 stands in 7 cells, far from the rest: missing? (--na -999)"),
    "codes": (lambda i: i * i % 3 + i % 2, "only 3 whole numbers: categories, if they have no"),
    "mixed": (lambda i: "few" if i == 5 else i / 4,
              "1 text in a column of numbers, 'few' (in line 7); --na few (as missing), --categor"),
    "notation": (lambda i: f'"{i},5"', "60 numbers in another notation, such as '0,5' (first in l"),
    "percent": (lambda i: f"{i} %", "a percent sign (--units % reads it without)"),
    "zeros": (lambda i: f"0{i}.5", "60 numbers with a leading zero, such as '00.5' (first in lin"),
    "order of days": (lambda i: f"{1 + i % 12}/{1 + i % 9}/2026", "--date-format %d/%m/%Y (day f"),
    "infinite": (lambda i: "inf" if i == 2 else i, "1 infinite number, 'inf' (in line 4); write f"),
    "no date": (lambda i: "soon" if i == 2 else "2026-01-01", "1 text that is no date in a column"),
}  # fmt: skip


@pytest.mark.parametrize("name", WARNINGS)
def test_warnings(write, name):
    cell, expected = WARNINGS[name]
    assert any(expected in each for each in of(write, cell).warnings), of(write, cell).warnings


@pytest.mark.parametrize(
    "cell",
    [lambda i: i * i % 17, lambda i: "abc"[i * i % 3], lambda i: f"2026-01-{1 + i % 28:02}",
     lambda i: -999 if i == 3 else -998 + i % 5, lambda i: (i * 7) % 60, lambda i: f"t{i}"],
)  # fmt: skip
def test_usual_columns_have_no_warning(write, cell):
    assert of(write, cell).warnings == ()


def test_names_of_rows(write):
    n = 400
    text, numbers = [f"c{i}" for i in range(n)], np.random.default_rng(0).permutation(n).tolist()
    report = inspect(write(csv({"id": text, "key": numbers, "y": [i % 2 for i in range(n)]})))
    assert report["id"].warnings == (
        "probably names the rows: 400 distinct texts in 400 rows (--drop id)",
    )
    assert report["key"].warnings == (
        "distinct whole numbers in all rows: maybe an identifier (--drop key)",
    )
    assert report["id"].content == "c0, c1, c2, …" and report["id"].notes == ()


def test_columns_that_say_the_same(write):
    cell = lambda i: i * i % 7
    table = rows(x=cell, word=lambda i: f"w{cell(i)}", other=lambda i: "abcd"[cell(i) // 2])
    report = inspect(write(csv(table)))
    assert report["word"].warnings == ("has the same values as column 2 in other words",)
    assert not any("same" in each for each in report["other"].warnings)


@pytest.mark.parametrize(
    ("cell", "y", "expected"),
    [
        (lambda i: i * i % 7 % 2, lambda i: "ab"[i * i % 7 % 2], "decides the target"),
        (lambda i: "xyz"[i % 3], lambda i: [1, 0, 1][i % 3], "decides the target"),
        (
            lambda i: 2.5 * (i * i % 53) + 1,
            lambda i: i * i % 53,
            "is a linear function of the tar",
        ),
        (lambda i: i * i % 53, lambda i: i * i % 53, "is a linear function of the target"),
    ],
)
def test_columns_that_give_the_target_away(write, cell, y, expected):
    path = write(csv(rows(x=cell, y=y)))
    assert any(expected in each for each in inspect(path, target="y")["x"].warnings)
    assert not any(expected in each for each in inspect(path)["x"].warnings)


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (lambda i: "" if i in (3, 5) else "ab"[i % 2], "the target is missing in 2 rows"),
        (lambda i: f"t{i % 20}", "20 classes in 60 rows: too many, or no classes"),
        (lambda i: "rare" if i < 2 else "ab"[i % 2], "classes with fewer than 5 rows: 'rare'"),
        (lambda i: "a", "is constant: 'a'"),
    ],
)
def test_targets(write, y, expected):
    report = inspect(write(csv(rows(y=y))), target="y")
    assert report.target == "y"
    assert any(each.startswith(expected) for each in report["y"].warnings)


def test_equal_rows_are_counted(write):
    report = inspect(write("a,b\n1,x\n2,y\n1,x\n1,x\n,y\n"))
    assert report.notes == ("2 rows equal an earlier one",)
    assert inspect(write("a,b\n1,x\n2,x\n2,x\n")).notes == ("1 row equals an earlier one",)


def test_an_index_of_a_file_is_left_out(write):
    report = inspect(write(",a,b,y\n" + "".join(f"{i},7,{i % 2},{i}\n" for i in range(20))))
    assert [(c.number, c.name) for c in report.columns] == [(2, "a"), (3, "b"), (4, "y")]
    assert "numbers the rows and is left out" in report.notes[0]
    assert report["a"].warnings == ("is constant: 7 (--drop a)",)


def test_tables_in_memory():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(rows(
        x=lambda i: i % 7 / 4, when=lambda i: dt.date(2026, 1, 1 + i % 9),
        word=lambda i: ["1", "2"][i % 2], mixed=lambda i: "few" if i == 5 else i,
    )).assign(kind=lambda frame: frame["word"].astype("category"))  # fmt: skip
    report = inspect(frame, target="x")
    assert [c.kind for c in report.columns] == [
        "number",
        "number",
        "date",
        "text",
        "refused",
        "text",
    ]
    assert report.source == "the table" and report["x"].why == "its type is float64"
    assert report["when"].why == "its type is date" and report["kind"].why == "its type is category"
    assert report["mixed"].why == "its type is int, str"
    assert report["mixed"].warnings == (
        (
            "1 text (in row 6): 'few'; convert it with float, or the column with str, which makes "
            "it text"
        ),
    )
    assert report["word"].notes[0].startswith("is text, whose cells are numbers such as '1'")
    array = inspect(np.array([[1.0, 2], [1, np.nan]]))
    assert [c.warnings for c in array.columns] == [("is constant: 1",), ("is constant: 2",)]


def test_other_files(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.table({"x": [1, None], "t": ["a", "b"]}), tmp_path / "data.parquet")
    report = inspect(tmp_path / "data.parquet", target="t")
    assert report["x"].why == "its type is int64" and report["x"].n_missing == 1
    np.savez(tmp_path / "data.npz", X=np.ones((3, 2)), y=np.array(["a", "b", "a"]))
    assert [c.name for c in inspect(tmp_path / "data.npz").columns] == ["1", "2", "y"]
    np.savez(tmp_path / "two.npz", X=np.ones((3, 1)), y=np.ones((3, 2)))
    assert [c.name for c in inspect(tmp_path / "two.npz").columns] == ["1", "y1", "y2"]
    np.save(tmp_path / "data.npy", np.arange(6.0).reshape(2, 3))
    assert [c.low for c in inspect(tmp_path / "data.npy").columns] == [0, 1, 2]


def test_what_is_printed(write, capsys):
    path = write("id,word\x1b,y\n" + "".join(f"{i},w{i % 3},{i % 2}\n" for i in range(30)))
    assert main(["inspect", str(path), "--target", "y"]) == 0
    first, heads, *lines = capsys.readouterr().out.splitlines()
    assert first == f"{path}: 30 rows, 3 columns; the target is y"
    assert heads.endswith(" why") and "taken for" in heads
    assert lines[0].split()[:5] == ["1", "id", "number", "0", "30"]
    assert lines[1] == "     ! counts the rows, 0 to 29: probably an index (--drop id)"
    assert "word\\x1b" in lines[2] and "w0 10, w1 10, w2 10" in lines[2]
    assert lines[3].split()[:4] == ["3", "y", "number", "(target)"]
    assert lines[-1] == "1 warning"
    html = inspect(path)._repr_html_()
    assert "counts the rows" in html and "<table>" in html
    assert main(["inspect", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n_rows"] == 30 and found["columns"][0]["high"] == 29


def test_options_and_errors(write, capsys):
    path = write("# note\nday;x\n1.2.2026;5%\n3.4.2026;\n?;7 %\n")
    options = ["--comment", "#", "--units", "%", "--date-format", "%d.%m.%Y", "--na", "-1"]
    assert main(["inspect", str(path), *options]) == 0
    assert "2026-02-01 … 2026-04-03" in capsys.readouterr().out
    assert inspect(path, comment="#", categorical=["day,x"])["x"].kind == "text"
    for wrong, message in (
        ([str(path), "--target", "z"], "no column 'z'"),
        (["digits"], "inspect takes a file with a table; got digits"),
        ([str(path), "--date-format", "nonsense"], "a format of dates is one of"),
        ([str(write("a,b\n1,2\n3\n", "ragged.csv"))], "line 3: 1 cell; line 1 has 2"),
    ):
        try:
            assert main(["inspect", *wrong]) == 1
        except SystemExit as error:
            assert error.code == 2
        assert message in capsys.readouterr().err
    with pytest.raises(ValueError, match="decimal must be"):
        inspect(path, decimal="x")
    with pytest.raises(DataError, match="expected a data frame"):
        inspect(5)
