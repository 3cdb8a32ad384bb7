"""Tables with holes, dates and truth values: of files, and the same of frames and arrays."""

import datetime as dt
from decimal import Decimal

import numpy as np
import pytest

from fastbp.errors import DataError
from fastbp.tabular import from_arrays, read_features, read_table
from fastbp.tabular._by_name import table_of

pytestmark = pytest.mark.once

KEEP = {"missing": "keep", "dates": "parse"}
NAT = np.datetime64("NaT")


@pytest.fixture
def write(tmp_path):
    def write(text, name="data.csv"):
        path = tmp_path / name
        path.write_text(text, newline="")
        return path

    return write


def column(*cells):
    """The text of a file with these cells in column x, and a target."""
    return "x,y\n" + "".join(f'"{cell}",{i % 2}\n' for i, cell in enumerate(cells))


def days(*texts):
    return np.array(texts, "datetime64[us]")


def same(first, second):
    """Whether two tables hold the same columns."""
    assert first.names == second.names
    np.testing.assert_array_equal(first.values, second.values)
    assert first.text.keys() == second.text.keys() and first.dates.keys() == second.dates.keys()
    for column, texts in first.text.items():
        assert texts.tolist() == second.text[column].tolist(), column
    for column, found in first.dates.items():
        assert found.dtype == second.dates[column].dtype == np.dtype("datetime64[us]")
        np.testing.assert_array_equal(found, second.dates[column])


# ---- files --------------------------------------------------------------------------------

MIXED = """age,plan,joined,paid,code,y
12,basic,2024-01-02,TRUE,007,a
,,,,,b
14.5,NA,2024-02-29T10:30:00Z,false,120,a
"""


def test_holes_dates_and_truth_values_of_a_file(write):
    table = read_table(write(MIXED.replace("T10:30:00Z", "")), **KEEP)
    assert table.names == ("age", "plan", "joined", "paid", "code")
    assert table.values[:, 0].tolist()[::2] == [12, 14.5] and np.isnan(table.values[1]).all()
    assert np.isnan(table.values[:, 1:]).all()
    assert {i: each.tolist() for i, each in table.text.items()} == {
        1: ["basic", None, "NA"],
        3: ["True", None, "False"],
        4: ["007", None, "120"],
    }
    np.testing.assert_array_equal(table.dates[2], days("2024-01-02", NAT, "2024-02-29"))
    assert table.target.tolist() == ["a", "b", "a"]
    part = table.take(np.array([2, 1]))
    assert part.text[1].tolist() == ["NA", None] and np.isnat(part.dates[2]).tolist() == [0, 1]


def test_the_default_refuses_holes_and_leaves_dates_as_text(write):
    with pytest.raises(DataError, match="'age'.: 1 empty cell"):
        read_table(write(MIXED))
    table = read_table(write("joined,x,y\n2024-01-02,1,0\n2024-01-03,2,1\n"))
    assert table.text[0].tolist() == ["2024-01-02", "2024-01-03"] and not table.dates
    assert table.notes[0].startswith("column 1 ('joined') has dates, which are taken as categories")


@pytest.mark.parametrize("word", ["", "NA", "nan", "N/A", "#N/A", "<NA>", "null", "None", "?", "-"])
def test_words_that_are_holes_in_a_column_of_numbers(write, word):
    table = read_table(write(column("1.5", word, "2", word)), **KEEP)
    np.testing.assert_array_equal(table.values[:, 0], [1.5, np.nan, 2, np.nan])
    assert not table.text
    told = (
        f"column 1 ('x'): 2 cells, such as {word!r} (first in line 3), are read as missing values"
    )
    assert table.notes == ((told,) if word else ())


def test_words_in_a_column_of_text_are_text_unless_na_names_them(write):
    path = write(column("red", "NA", "", "Nan", "blue"))
    table = read_table(path, **KEEP)
    assert table.text[0].tolist() == ["red", "NA", None, "Nan", "blue"]
    assert table.notes == (
        (
            "column 1 ('x'): 2 cells 'NA', 'Nan' are read as categories (--na NA --na Nan reads "
            "them as missing)"
        ),
    )
    table = read_table(path, **KEEP, na=["NA"])
    assert table.text[0].tolist() == ["red", None, None, "Nan", "blue"]


def test_words_beside_codes_are_text(write):
    table = read_table(write(column("007", "NA", "012")), **KEEP)
    assert table.text[0].tolist() == ["007", "NA", "012"]


def test_numbers_and_words_that_na_names(write):
    table = read_table(write(column("1", "-999", "unknown", "2.5")), **KEEP, na=["-999", "unknown"])
    np.testing.assert_array_equal(table.values[:, 0], [1, np.nan, np.nan, 2.5])
    assert table.notes == ()


def test_a_column_of_words_with_some_numbers_is_text(write):
    table = read_table(write(column("f", "4", "r", "", "f", "NA")), **KEEP)
    assert table.text[0].tolist() == ["f", "4", "r", None, "f", "NA"]
    what = "has numbers and 3 cells of text, such as 'f' (in line 2), and is read as text"
    assert table.notes[0] == f"column 1 ('x') {what}"
    one = read_table(write(column("1", "1", "2", "2", "1", "2", "f")), **KEEP)
    assert one.notes[0].startswith("column 1 ('x') has numbers and 1 cell of text, such as 'f'")
    same = table_of({"x": ["f", 4, "r", None, "f", "NA"]}, **KEEP)
    assert same.text[0].tolist() == ["f", "4", "r", None, "f", "NA"]
    assert same.notes[0] == "column 'x' has numbers and text, and is read as text"
    few = [str(i) for i in range(30)]
    with pytest.raises(DataError, match="2 texts in a column of numbers.*--categorical x .as"):
        read_table(write(column(*few, "f", "r")), **KEEP)
    with pytest.raises(DataError, match="--na f .as missing., --categorical x .as text., or"):
        read_features(write(column(*few, "f", "r")), **KEEP)


def test_a_blank_of_unicode_among_codes_is_a_hole(tmp_path):
    path = tmp_path / "codes.csv"
    path.write_text("a,b\n007,1\n8,2\n\u2003,3\n009,1\n", encoding="utf-8")
    table = read_table(path, missing="keep")
    assert table.text[0].tolist() == ["007", "8", None, "009"]
    assert len(table.notes) == 1 and "contains codes such as 007" in table.notes[0]


@pytest.mark.parametrize("blank", ["\u00a0", "\x1c", "\u3000\u2003"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_blank_of_unicode_among_numbers_is_a_hole(tmp_path, blank, encoding):
    path = tmp_path / "numbers.csv"
    path.write_text(f"a,b\n{blank},1\n5,2\n{blank}6{blank},3\n,1\n", encoding=encoding)
    table = read_table(path, missing="keep", encoding=encoding)
    np.testing.assert_array_equal(table.values[:, 0], [np.nan, 5, 6, np.nan])
    assert not table.text
    with pytest.raises(DataError, match="2 empty cells .first in line 2."):
        read_table(path, encoding=encoding)


def test_a_no_break_space_of_latin_1_is_a_hole(tmp_path):
    path = tmp_path / "numbers.csv"
    path.write_bytes(b"a,b\n\xa0,1\n5\xa0,2\n")
    table = read_table(path, missing="keep", encoding="latin-1")
    np.testing.assert_array_equal(table.values[:, 0], [np.nan, 5])


def test_a_column_without_a_value(write):
    table = read_table(write("x,z,y\n1,,0\n2,NA,1\n"), **KEEP)
    assert np.isnan(table.values[:, 1]).all() and not table.text
    assert table.notes[-1] == "column 2 ('z') has no value (--drop z)"


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            ["1", "unknown", ""],
            (
                "1 text in a column of numbers, 'unknown' .in line 3.; --na unknown .as missing., "
                "--categorical x .as text., or --drop x"
            ),
        ),
        (["1", "1e+999", ""], "1 infinite number, .* --na 1e.999"),
        (["1.5", "", "01.5"], "1 number with a leading zero"),
        (["1,5", "", "2,5"], "2 numbers in another notation.*--decimal ,"),
        (["12%", "NA", "13%"], "2 numbers in another notation, such as '12%'"),
        (["007", "NA", "1.5"], "1 number with a leading zero, '007'"),
    ],
)
def test_what_is_neither_a_number_nor_a_hole_is_refused(write, cells, message):
    with pytest.raises(DataError, match=message) as caught:
        read_table(write(column(*cells)), **KEEP)
    assert "empty" not in str(caught.value) and "missing value" not in str(caught.value)


@pytest.mark.parametrize("cells", ["1,\n2,3\n", "1,NA\n2,3\n", "1,\n2,a\n", "1,?\n2,a\n"])
def test_a_target_has_no_holes(write, cells):
    na = {"na": ["?"]} if "?" in cells else {}
    with pytest.raises(DataError, match=r"'y'\): 1 (empty cell|missing value).* \(in line 2\)"):
        read_table(write("x,y\n" + cells), **KEEP, **na)


def test_many_levels_are_no_fault_but_names_of_rows_are_told(write):
    rows = "".join(f"c{i},t{i % 300},{i % 2}\n" for i in range(900))
    table = read_table(write("id,word,y\n" + rows), **KEEP)
    assert len(set(table.text[1].tolist())) == 300
    assert table.notes == (
        (
            "column 1 ('id') has 900 distinct texts in 900 rows: probably names of rows (--drop id "
            "leaves it out)"
        ),
    )


def test_a_header_above_columns_with_holes(write):
    table = read_table(write("a,b,y\n,1,0\n2,NA,1\n3,4,0\n,,1\n5,6,1\n"), **KEEP)
    assert table.names == ("a", "b") and table.n_rows == 5
    assert not any("line 1" in note for note in table.notes)


def test_the_same_of_a_header_of_years(write):
    rows = "".join(f"{0.5 + i},{'' if i == 3 else 0.25 * i},{i % 2}\n" for i in range(12))
    table = read_table(write("2001,2002,2003\n" + rows), **KEEP)
    assert table.names == ("2001", "2002") and np.isnan(table.values[3, 1])


# ---- dates --------------------------------------------------------------------------------

DATES = {
    "days": (["2024-01-02", "1969-12-31", ""], ["2024-01-02", "1969-12-31", NAT]),
    "times": (["2024-01-02 03:04", "2024-01-02T03:04:05.25", "NA"],
              ["2024-01-02T03:04", "2024-01-02T03:04:05.25", NAT]),
    "offsets": (["2024-01-02T00:30+02:00", "2024-01-02T00:30:00Z", "2024-01-01 23:00:00.5-0130"],
                ["2024-01-01T22:30", "2024-01-02T00:30", "2024-01-02T00:30:00.5"]),
    "nanoseconds": (["2024-01-02 03:04:05.123456789", "2024-01-02 03:04:05,5"],
                    ["2024-01-02T03:04:05.123456", "2024-01-02T03:04:05.5"]),
}  # fmt: skip


@pytest.mark.parametrize("name", DATES)
def test_dates(write, name):
    cells, expected = DATES[name]
    table = read_table(write(column(*cells)), **KEEP)
    np.testing.assert_array_equal(table.dates[0], days(*expected))
    assert not table.text and np.isnan(table.values).all()
    assert any("read in UTC" in note for note in table.notes) == (name == "offsets")


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["2024-01-02", "2024-02-30"], "1 text that is no date in a column of dates, '2024-02-30'"),
        (["2024-01-02", "2024-01-03", "soon"], "'soon' .in line 4.; --na soon .as missing., --cat"),
        (["2024-01-02T10:00Z", "2024-01-02T10:00"], "some times have an offset from UTC"),
        (
            ["03/04/2024", "05/06/2024"],
            (
                "2 dates in another format than 2026-05-31, such as '03/04/2024' .first in line 2."
                "; --date-format %d/%m/%Y .day first., --date-format %m/%d/%Y .month first., --cat"
            ),
        ),
        (
            ["13/04/2024", "05/06/2024"],
            "line 2.; --date-format %d/%m/%Y .day first., --categorical",
        ),
        (
            ["3.4.24 10:30", ""],
            "1 date in another format.*--date-format '%d.%m.%y %H:%M' .day first",
        ),
        (["4 May 2024", "12 Jun 2024"], "--date-format '%d %b %Y'"),
        (["2024-05", "2024-06"], "--date-format %Y-%m "),
    ],
)
def test_dates_that_need_an_option_are_refused(write, cells, message):
    path = write(column(*cells))
    with pytest.raises(DataError, match=message):
        read_table(path, **KEEP)
    assert len(read_table(path, **KEEP, categorical=["x"]).text[0]) == len(cells)


@pytest.mark.parametrize(
    ("cells", "format", "expected"),
    [
        (["03/04/2024", "NA"], "%d/%m/%Y", ["2024-04-03", NAT]),
        (["03/04/2024", ""], "%m/%d/%Y", ["2024-03-04", NAT]),
        (["20240504", "20231231"], "%Y%m%d", ["2024-05-04", "2023-12-31"]),
        (["4.5.24 10:30"], "%d.%m.%y %H:%M", ["2024-05-04T10:30"]),
    ],
)
def test_a_format_of_dates(write, cells, format, expected):
    table = read_table(write(column(*cells)), **KEEP, date_formats=["%Y %j", format])
    np.testing.assert_array_equal(table.dates[0], days(*expected))


def test_digits_are_no_dates_by_themselves(write):
    table = read_table(write(column("20240504", "20231231")), **KEEP)
    assert table.values[:, 0].tolist() == [20240504, 20231231]
    other = read_table(write(column("2024111", "20231231")), **KEEP, date_formats=["%Y%m%d"])
    assert other.values[:, 0].tolist() == [2024111, 20231231]


@pytest.mark.parametrize("cells", [["10:30", "11:30"], ["1.2.3", "1.2.4"], ["2024-W05", "x"]])
def test_texts_that_are_no_dates(write, cells):
    assert read_table(write(column(*cells)), **KEEP).text[0].tolist() == cells


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"missing": "drop"}, ValueError, "missing must be one of error, keep; got 'drop'"),
        ({"dates": True}, ValueError, "dates must be one of text, parse; got True"),
        ({"na": ["x"]}, ValueError, "needs missing=\"keep\""),
        ({"missing": "keep", "na": "NA"}, TypeError, "na must be a sequence of strings; got 'NA'"),
        ({"date_formats": "%Y"}, TypeError, "date_formats must be a sequence of strings"),
        ({"date_formats": ["%d.%m"]}, ValueError, "with the year in it, .* got '%d.%m'"),
        ({"missing": "keep", "na": [" x"]}, ValueError, "without blanks around them; got ' x'"),
    ],
)  # fmt: skip
def test_options_are_checked(write, options, kind, message):
    with pytest.raises(kind, match=message):
        read_table(write("x,y\n1,2\n"), **options)
    with pytest.raises(kind, match=message):
        table_of({"x": [1.0]}, **options)


# ---- new rows for a model -----------------------------------------------------------------


def test_new_rows_of_a_file(write):
    path = write("joined,paid,plan,age\n,true,x,NA\n2024-01-02,TRUE,,3\n")
    names = ("age", "plan", "joined", "paid")
    known = {"plan": ("x", "z"), "paid": ("False", "True")}
    table = read_features(
        path, names, categorical=known, dated=["joined"], known=known, **KEEP
    )  # fmt: skip
    np.testing.assert_array_equal(table.values[:, 0], [np.nan, 3])
    assert table.text[1].tolist() == ["x", None] and table.text[3].tolist() == ["True", "True"]
    np.testing.assert_array_equal(table.dates[2], days(NAT, "2024-01-02"))
    text = read_features(path, names, categorical=known, dated=["joined"], missing="keep")
    assert text.text[2].tolist() == [None, "2024-01-02"] and not text.dates


def test_new_rows_may_lack_a_column_of_values(write):
    path = write("joined,plan,age\n,,\n,NA,\n")
    table = read_features(path, ("age", "plan", "joined"), categorical=["plan"], dated=["joined"],
                          **KEEP)  # fmt: skip
    assert np.isnat(table.dates[2]).all() and table.text[1].tolist() == [None, "NA"]
    assert np.isnan(table.values).all()


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("x,1,2024-01-02", "'plan'.: 1 cell with an unknown category .in line 2.: 'x'"),
        ("a,one,2024-01-02", "'age'.: 1 text in a column of numbers, 'one'"),
        (
            "a,1,soon",
            "'joined'.: 1 text that is no date, 'soon' .in line 2.; the model was trained",
        ),
        ("a,1,7", "'joined'.: 1 text that is no date, '7'"),
    ],
)
def test_new_rows_that_do_not_fit_are_refused(write, cells, message):
    path = write(f"plan,age,joined\n{cells}\n")
    with pytest.raises(DataError, match=message):
        read_features(path, ("plan", "age", "joined"), categorical=["plan"], dated=["joined"],
                      known={"plan": ("a", "b")}, **KEEP)  # fmt: skip


def test_all_columns_of_a_file_without_a_target(write):
    table = read_features(write(MIXED.replace("T10:30:00Z", "")), **KEEP)
    assert (
        table.names[-1] == "y" and table.text.keys() == {1, 3, 4, 5} and table.dates.keys() == {2}
    )


# ---- frames, dicts, arrays ----------------------------------------------------------------

COLUMNS = {
    "age": [12.0, None, 14.5],
    "count": [3, 4, 5],
    "plan": ["basic", None, "pro"],
    "joined": ["2024-01-02", None, "2024-02-29"],
    "paid": [True, None, False],
    "done": [True, False, False],
}


def pandas_frame():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(COLUMNS)
    return frame.assign(
        joined=pd.to_datetime(frame["joined"]),
        count=frame["count"].astype("Int64"),
        paid=frame["paid"].astype("boolean"),
        plan=frame["plan"].astype("category"),
    )


def polars_frame():
    pl = pytest.importorskip("polars")
    return pl.DataFrame(COLUMNS).with_columns(
        pl.col("joined").str.to_date(), pl.col("plan").cast(pl.Categorical)
    )


def arrow_table():
    pa = pytest.importorskip("pyarrow")
    table = pa.table(COLUMNS)
    plan, joined = table["plan"].dictionary_encode(), table["joined"].cast(pa.date32())
    return table.set_column(2, "plan", plan).set_column(3, "joined", joined)


SOURCES = {
    "pandas": pandas_frame,
    "polars": polars_frame,
    "Arrow": arrow_table,
    "dict": lambda: COLUMNS,
    "dict of arrays": lambda: {name: np.array(cells, object) for name, cells in COLUMNS.items()},
    "list of dicts": lambda: [
        {name: cells[i] for name, cells in COLUMNS.items()} for i in range(3)
    ],
    "array": lambda: np.array(list(COLUMNS.values()), object).T,
    "structured array": lambda: np.array(
        list(zip(*COLUMNS.values(), strict=True)), [(name, object) for name in COLUMNS]
    ),
    "Table": lambda: table_of(COLUMNS, **KEEP),
}


@pytest.mark.parametrize("name", SOURCES)
def test_all_sources_give_the_table_of_the_file(write, name):
    rows = zip(*COLUMNS.values(), strict=True)
    lines = [",".join("" if cell is None else str(cell) for cell in row) for row in rows]
    path = write("\n".join([",".join(COLUMNS), *lines]) + "\n")
    table = table_of(SOURCES[name](), **KEEP)
    expected = read_features(path, **KEEP)
    if name == "array":
        assert table.names == tuple("123456")
    else:
        same(table, expected)
    # as new rows for a model of the same columns
    features = ("done", "joined", "plan", "age")
    known = {"plan": ["basic", "pro"], "done": ["False", "True"]}
    if name != "array":
        again = table_of(
            SOURCES[name](), features, known, dated=["joined"], only_known=True, **KEEP
        )
        same(again, read_features(path, features, categorical=known, dated=["joined"], **KEEP))


def test_arrays_of_numbers_with_holes():
    X = np.array([[1, np.nan], [3, 4]])
    np.testing.assert_array_equal(table_of(X, **KEEP).values, X)
    np.testing.assert_array_equal(from_arrays("X", X, missing="keep").values, X)
    with pytest.raises(DataError, match="column 2: 1 number that is not finite"):
        from_arrays("X", X)
    with pytest.raises(DataError, match="column 1: 1 number that is not finite, such as inf"):
        from_arrays("X", np.array([[np.inf, 1], [2, np.nan]]), missing="keep")
    with pytest.raises(ValueError, match="missing must be"):
        from_arrays("X", X, missing="no")


@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_numpy_files_with_holes(tmp_path, ending):
    path, X = tmp_path / f"data.{ending}", np.array([[1, np.nan, 5], [3, 4, 6]])
    np.save(path, X) if ending == "npy" else np.savez(path, X=X[:, :2], y=X[:, 2])
    table = read_table(path, missing="keep")
    np.testing.assert_array_equal(table.values, X[:, :2])
    with pytest.raises(DataError, match="not finite"):
        read_table(path)
    if ending == "npy":
        path = tmp_path / "new.npy"
        np.save(path, X[:, :2])
        found = read_features(path, ("1", "2"), n_columns=3, missing="keep")
        np.testing.assert_array_equal(found.values, X[:, :2])


COLUMN_KINDS = {
    "Decimal": ([Decimal("1.5"), None, Decimal("NaN")], [1.5, np.nan, np.nan]),
    "durations": ([dt.timedelta(minutes=2), None, dt.timedelta(0.5)], [120, np.nan, 43200]),
    "NumPy durations": (np.array([5, "NaT"], "m8[m]"), [300, np.nan]),
    "nothing": ([None, float("nan"), ""], [np.nan] * 3),
    "numbers and truth values": ([1, True, 0.5], [1, 1, 0.5]),
    "bytes of small numbers": (np.array([1, 2], np.uint8), [1, 2]),
}


@pytest.mark.parametrize("name", COLUMN_KINDS)
def test_columns_in_memory_that_are_numbers(name):
    cells, expected = COLUMN_KINDS[name]
    table = table_of({"x": cells}, **KEEP)
    np.testing.assert_array_equal(table.values[:, 0], expected)
    assert not table.text and not table.dates


TEXT_KINDS = {
    "truth values": (np.array([True, False]), ["True", "False"]),
    "truth values in text": ([" true", "FALSE"], ["True", "False"]),
    "one word more": (["true", "maybe"], ["true", "maybe"]),
    "blanks": ([" a ", "  "], ["a", None]),
    "NumPy strings": (np.array(["b", ""]), ["b", None]),
    "codes": (["007", "1"], ["007", "1"]),
}


@pytest.mark.parametrize("name", TEXT_KINDS)
def test_columns_in_memory_that_are_text(name):
    cells, expected = TEXT_KINDS[name]
    assert table_of({"x": cells}, **KEEP).text[0].tolist() == expected


def test_dates_in_memory():
    zone = dt.timezone(dt.timedelta(hours=2))
    moment = dt.datetime(2024, 1, 2, 1, 30, tzinfo=zone)
    table = table_of({"x": [moment, None], "z": [dt.date(2024, 1, 2), dt.datetime(2024, 1, 3, 4)],
                      "t": ["4.5.2024", "NA"]}, **KEEP, date_formats=["%d.%m.%Y"])  # fmt: skip
    np.testing.assert_array_equal(table.dates[0], days("2024-01-01T23:30", NAT))
    np.testing.assert_array_equal(table.dates[1], days("2024-01-02", "2024-01-03T04"))
    np.testing.assert_array_equal(table.dates[2], days("2024-05-04", NAT))
    assert table.notes == ("column 'x' has times with an offset, which are read in UTC",)
    text = table_of({"x": np.array(["2024-01-02", "NaT"], "M8[s]")}, missing="keep")
    assert text.text[0].tolist() == ["2024-01-02", None]


def test_categories_that_are_numbers_are_text():
    pd, pa = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    frame = {"x": pd.Series([3, None, 4], dtype="category")}
    assert table_of(frame, **KEEP).text[0].tolist() == ["3", None, "4"]
    arrow = pa.table({"x": pa.array([3, None, 4]).dictionary_encode()})
    assert table_of(arrow, **KEEP).text[0].tolist() == ["3", None, "4"]
    names = pd.DataFrame({1: [1.0, 2.0], 2: ["a", "b"]})
    assert table_of(names, **KEEP).names == ("1", "2")


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            [1.0, "x", 2.0],
            r"column 'x': 1 text \(in row 2\): 'x'; convert it with float, or the col",
        ),
        (["a", 2j, None], "column 'x': 1 value .in row 2.: '2j' .complex.; a column holds either"),
        ([dt.date(2024, 1, 2), "x"], "1 value .in row 2.: 'x' .str.; write dates as 2026-05-31"),
        ([dt.time(1, 2)], "1 value .in row 1.: '01:02:00' .time.; a column holds either"),
        ([1.0, float("inf")], "1 number that is not finite .in row 2."),
        (["03/04/2024", None], "such as '03/04/2024'; date_formats=.'%d/%m/%Y'. .day first."),
        ([[1], [2, 3]], "2 values .first in row 1.: .* .list.; a column holds either"),
    ],
)
def test_columns_in_memory_that_are_refused(cells, message):
    with pytest.raises(DataError, match=message):
        table_of({"x": cells}, **KEEP)


def test_what_is_told_of_columns_in_memory():
    n = 300
    table = table_of({
        "number": ["1.5", "2"] * 150, "word": ["NA", "b"] * 150, "id": [f"c{i}" for i in range(n)],
        "span": [dt.timedelta(1)] * n,
    }, **KEEP)  # fmt: skip
    assert table.notes == (
        "column 'number' is text, whose cells are numbers such as '1.5' (convert it with float)",
        "column 'word' has 150 cells 'NA', read as text (na=['NA'] reads them as missing)",
        "column 'id' has 300 distinct texts in 300 rows: probably names of rows",
        "column 'span' has durations, which are read in seconds",
    )
    table = table_of({"word": ["NA", "b"], "x": [-1.0, 2]}, **KEEP, na=["NA", "-1"])
    assert table.text[0].tolist() == [None, "b"] and np.isnan(table.values[0, 1])


def test_a_target_in_memory():
    rows = {"x": [1.0, 2.0], "y": np.array([2**60, 1]), "z": ["a", "b"]}
    table = table_of(rows, target="y", **KEEP)
    assert table.names == ("x", "z") and table.target_names == ("y",)
    assert table.target.tolist() == [2**60, 1] and table.target.dtype == np.int64
    assert table_of(rows, target="z", **KEEP).target.tolist() == ["a", "b"]
    for hole in ([None, 1], ["a", ""]):
        with pytest.raises(DataError, match="column 'y': 1 missing value .in row"):
            table_of({"x": [1, 2], "y": hole}, target="y", **KEEP)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.ones(3), r"expected a data frame.* got ndarray of shape \(3,\)"),
        (np.ones((2, 0)), r"shape \(2, 0\)"),
        ({"x": [1, 2], "z": [1]}, "column 'x' has 2 rows, and column 'z' has 1"),
        ({"x": np.ones((2, 2))}, r"column 'x' has shape \(2, 2\)"),
        ({"x": []}, "X has no rows"),
    ],
)
def test_rows_in_memory_that_are_no_table(X, message):
    with pytest.raises(DataError, match=message):
        table_of(X, **KEEP)
