"""Files that are easily read wrongly, each with the right values, or with the error that helps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbp.errors import DataError
from fastbp.tabular import inspect, read_features, read_table

pytestmark = pytest.mark.once

NAN, NONE = np.nan, None
KEEP = {"missing": "keep", "dates": "parse"}
Y = "0\n1\n0\n"

# name: (file, options, the columns by name: numbers, texts or dates)
RIGHT = {
    "underscores": ("x,y\n1_12,0\n2_07,1\n10_1,0\n", {}, {"x": ["1_12", "2_07", "10_1"]}),
    "underscores between thousands": (
        "x,y\n1_000,0\n20_500,1\n", {"thousands": "_"}, {"x": [1000.0, 20500.0]},
    ),
    "names like nan and inf": ("x,y\nNan,0\nInf,1\nAda,0\n", {}, {"x": ["Nan", "Inf", "Ada"]}),
    "nan among numbers": ("x,y\n1.5,0\nnan,1\nNaN,0\n", {}, {"x": [1.5, NAN, NAN]}),
    "codes with E": ("x,y\n1E2,0\n3E4,1\n12,0\n", {}, {"x": ["1E2", "3E4", "12"]}),
    "exponents": ("x,y\n1e+02,0\n1.5E-3,1\n2e3,0\n", {}, {"x": [100.0, 0.0015, 2000.0]}),
    "leading zeros": ("zip,y\n01067,0\n80331,1\n,0\n", {}, {"zip": ["01067", "80331", NONE]}),
    "zeros that are no codes": ("x,y\n0,0\n0.5,1\n-0.25,0\n", {}, {"x": [0.0, 0.5, -0.25]}),
    "phone numbers": ("x,y\n+49 3,0\n+44 2,1\n", {"categorical": ["x"]}, {"x": ["+49 3", "+44 2"]}),
    "decimal comma": ("x;y\n1,5;0\n-,5;1\n1.234,5;0\n", {"decimal": ",", "thousands": "."},
                      {"x": [1.5, -0.5, 1234.5]}),
    "thousands": ('x,y\n"1,234,567.5",0\n"1,000",1\n12,0\n', {"thousands": ","},
                  {"x": [1234567.5, 1000.0, 12.0]}),
    "blanks between thousands": ("x,y\n1 234,0\n1\u00a0000,1\n2\u202f000,0\n", {"thousands": " "},
                                 {"x": [1234.0, 1000.0, 2000.0]}),
    "apostrophes": ("x,y\n1'234.5,0\n2\u2019000,1\n", {"thousands": "'"}, {"x": [1234.5, 2000.0]}),
    "currency": ("x,y\n$1.5,0\n-$2,1\n,0\n", {"units": ["$"]}, {"x": [1.5, -2.0, NAN]}),
    "percent": ("x,y\n12%,0\n3.5 %,1\nNA,0\n", {"units": ["%"]}, {"x": [12.0, 3.5, NAN]}),
    "U+2212": ("x,y\n\u22121.5,0\n2,1\n\u22123e2,0\n", {}, {"x": [-1.5, 2.0, -300.0]}),
    "spaces before quotes": ('x, "w, v", y\n1.5, "a, b", 0\n2.5 , "c" , 1\n', {},
                             {"x": [1.5, 2.5], "w, v": ["a, b", "c"]}),
    "names 0 to n": ("0,1,2\n0.5,a,0\n1.5,b,1\n", {}, {"0": [0.5, 1.5], "1": ["a", "b"]}),
    "names of years": ("2001,2002,2003\n0.5,0.25,0\n0.75,,1\n0.5,0.125,0\n", {},
                       {"2001": [0.5, 0.75, 0.5], "2002": [0.25, NAN, 0.125]}),
    "an index without a name": (",a,y\n0,5,0\n1,,1\n2,6,0\n", {}, {"a": [5.0, NAN, 6.0]}),
    "an index from 0 that was read": ("Unnamed: 0,a,y\n0,5,0\n1,7,1\n", {}, {"a": [5.0, 7.0]}),
    "names of rows": (",a,y\nAnn,5,0\nBob,7,1\n", {}, {"a": [5.0, 7.0]}),
    "an empty name of values": (",a,y\n0.5,5,0\n0.5,7,1\n", {}, {"1": [0.5, 0.5], "a": [5.0, 7.0]}),
    "a byte order mark": ("\ufeffx,y\n1,0\n2,1\n", {}, {"x": [1.0, 2.0]}),
    "UTF-16": ("x;y\nÄ;0\n€;1\n".encode("utf-16"), {}, {"x": ["Ä", "€"]}),
    "Latin-1": ("x,y\nÄ,0\nß,1\n".encode("latin-1"), {"encoding": "latin-1"}, {"x": ["Ä", "ß"]}),
    "line breaks in quotes": ('x,y\n"a\nb",0\n"c\r\n""d""",1\n', {}, {"x": ["a\nb", 'c\r\n"d"']}),
    "blank lines": ("\n\nx,y\n\n1,0\n \t\n2,1\n\n", {}, {"x": [1.0, 2.0]}),
    "comments": ("#by hand\nx,y\n1,0\n# no row\n2,1\n", {"comment": "#"}, {"x": [1.0, 2.0]}),
    "carriage returns": ("x,y\r1,0\r2,1\r", {}, {"x": [1.0, 2.0]}),
    "no line break at the end": ("x,y\n1,0\n2,1", {}, {"x": [1.0, 2.0]}),
    "semicolons": ("x;y\n1;0\n2;1\n", {}, {"x": [1.0, 2.0]}),
    "tabs": ("x\ty\na b\t0\n\t1\n", {}, {"x": ["a b", NONE]}),
    "truth values": ("x,y\nTRUE,0\nfalse,1\nTrue,0\n", {}, {"x": ["True", "False", "True"]}),
    "dates": ("x,y\n2026-05-31,0\n,1\n2026-06-01T12:00,0\n", {},
              {"x": np.array(["2026-05-31", "NaT", "2026-06-01T12:00"], "M8[us]")}),
    "days first": ("x,y\n31/05/2026,0\n01/06/2026,1\n", {"date_formats": ["%d/%m/%Y"]},
                   {"x": np.array(["2026-05-31", "2026-06-01"], "M8[us]")}),
    "times of the day": ("x,y\n10:30,0\n11:30,1\n", {}, {"x": ["10:30", "11:30"]}),
    "text with numbers in it": ("x,y\nf,0\n4,1\nr,0\n4,1\n", {}, {"x": ["f", "4", "r", "4"]}),
    "codes with letters": ("x,y\n001,0\n136A,1\n204,0\n", {}, {"x": ["001", "136A", "204"]}),
    "K beside grades": ("x,y\n" + "K,0\n1,1\n2,0\n3,1\n" * 3, {}, {"x": ["K", "1", "2", "3"] * 3}),
    "years above counts": ("land,1970,1971,1972\nDE,1970,5,0\nFR,1960,7,1\n", {},
                           {"land": ["DE", "FR"], "1970": [1970.0, 1960.0], "1971": [5.0, 7.0]}),
    "rows of years": ("1970,1971,0\n1980,1981,1\n", {},
                      {"1": [1970.0, 1980.0], "2": [1971.0, 1981.0]}),
    "years beside words": ("no,land,1999,2000\n5,DE,745,0\n7,FR,2666,1\n7,IT,2000,0\n", {},
                           {"no": [5.0, 7.0, 7.0], "land": ["DE", "FR", "IT"],
                            "1999": [745.0, 2666.0, 2000.0]}),
    "versions": ("x,y\n1.2.3,0\n1.10.0,1\n", {}, {"x": ["1.2.3", "1.10.0"]}),
    "Namibia": ("x,y\nDE,0\nNA,1\n,0\n", {}, {"x": ["DE", "NA", NONE]}),
    "a missing value by name": ("x,y\nDE,0\n-9,1\n,0\n", {"na": ["-9"]}, {"x": ["DE", NONE, NONE]}),
    "missing numbers by name": ("x,y\n1,0\n-9,1\n99,0\n99.0,1\n", {"na": ["-9", "99"]},
                                {"x": [1.0, NAN, NAN, NAN]}),
    "a missing number by name": ("x,y\n1,0\n-9,1\n,0\n", {"na": ["-9"]}, {"x": [1.0, NAN, NAN]}),
    "all digits of a number": ("x,y\n0.1,0\n123456789012345678,1\n1e-320,0\n", {},
                               {"x": [0.1, 123456789012345678.0, 1e-320]}),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_the_right_values(name, tmp_path):
    content, options, columns = RIGHT[name]
    path = tmp_path / "data.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    table = read_table(path, **KEEP, **options)
    assert table.names == tuple(columns)
    for i, expected in enumerate(columns.values()):
        if isinstance(expected, np.ndarray):
            np.testing.assert_array_equal(table.dates[i], expected)
        elif isinstance(expected[0], str):
            assert table.text[i].tolist() == expected
        else:
            assert i not in table.text
            np.testing.assert_array_equal(table.values[:, i], expected)
    assert table.target.tolist() == [i % 2 for i in range(table.n_rows)]


# name: (file, what the error says)
REFUSED = {
    "underscores between thousands": (
        "x,y\n1_000,0\n",
        "underscores between digits .--thousands _",
    ),
    "decimal comma": ("x;y\n1,5;0\n2;1\n", "'1,5' .in line 2.: a decimal comma .--decimal ,."),
    "thousands": ('x,y\n"1,234,567",0\n', "a thousands separator .--thousands ,."),
    "currency": ("x,y\n$1.5,0\n", "a currency sign .--units '.' reads it without"),
    "percent": ("x,y\n1%,0\n", "a percent sign .--units % reads it without"),
    "a word among numbers": (
        "x,y\n1,0\nfew,1\n",
        "'few' .in line 3.; --na few .as missing.",
    ),
    "one word among numbers": (
        "x,y\n*,0\n*,1\n" + "".join(f"{i},0\n" for i in range(11)),
        "2 texts in a column of numbers.*--na '.' ",
    ),
    "a leading zero among numbers": (
        "x,y\n1.5,0\n01.5,1\n",
        "1 number with a leading zero",
    ),
    "names 0, 1 or a row": ("0,1\n1,0\n0,1\n", "0, 1 may be names or a row; use --header yes or"),
    "two names alike": ("a,b,a,y\n1,2,3,0\n", "columns 1 and 3 are both named 'a'"),
    "ragged": ("a,y\n1,0\n2\n3,1,5\n", "line 3: 1 cell; line 1 has 2; 2 lines differ from line 1"),
    "Latin-1": ("x,y\nÄ,0\n".encode("latin-1"), "line 2, column 1: .*--encoding cp1252"),
    "UTF-16 without a mark": ("x,y\n1,0\n".encode("utf-16-be"), "--encoding utf-16-be"),
    "comments": ("# by hand\nx,y\n1,0\n", r"is line 1 a comment \(--comment '#'\)"),
    "an open quote": ('x,y\n1,0\n"2,1\n', "line 3: a quote is not closed"),
    "blanks": ("x y\n1 0\n2 1\n", "blanks between numbers: .*--delimiter ' '"),
    "two delimiters": ("1,5;2\n3,5;4\n", "say which by --delimiter ',' or --delimiter ';'"),
    "order of day and month": (
        "d,y\n03/04/2026,0\n",
        "%d/%m/%Y .day first., --date-format %m/",
    ),
    "no such day": ("d,y\n2026-02-30,0\n2026-02-28,1\n", "1 text that is no date in a column of d"),
    "a hole in the target": ("x,y\n1,0\n2,\n", "'y'.: 1 empty cell .in line 3."),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_error_that_helps(name, tmp_path):
    content, message = REFUSED[name]
    path = tmp_path / "data.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message) as caught:
        read_table(path, **KEEP)
    assert str(caught.value).startswith(str(path))


CELLS = [
    "",
    "NA",
    "1",
    "-2.5",
    "007",
    "1E2",
    "x",
    "true",
    "2026-05-31",
    "31.12.2026",
    "5 %",
    '"a,"',
]


@given(
    st.lists(st.lists(st.sampled_from(CELLS), min_size=3, max_size=3), max_size=12).map(
        lambda rows: "\n".join(map(",".join, rows)).encode()
    )
    | st.binary(max_size=80),
    st.sampled_from(["csv", "tsv", "csv.gz", "parquet", "arrow", "xlsx"]),
)
def test_any_bytes_give_a_table_a_report_or_a_data_error(tmp_path_factory, content, ending):
    path = tmp_path_factory.mktemp("any") / f"data.{ending}"
    path.write_bytes(content)
    options = {"na": ["-9", "x"], "units": ["%"], "date_formats": ["%d.%m.%Y"], "comment": "#"}
    for read in (read_table, read_features):
        try:
            table = read(path, **KEEP, **options)
        except DataError as error:
            assert str(path) in str(error)
        else:
            check(table)
    try:
        report = inspect(path, target="1", **options)
    except DataError as error:
        assert str(path) in str(error)
    else:
        assert str(report).startswith(str(path)) and report.n_rows > 0


def check(table):
    """Each column has cells of its kind, and only NaN as numbers unless it is one of numbers."""
    n = table.n_rows
    assert (
        n > 0 and table.values.shape == (n, len(table.names)) and not np.isinf(table.values).any()
    )
    assert not table.text.keys() & table.dates.keys()
    for texts in table.text.values():
        assert len(texts) == n and all(text is None or text == text.strip() != "" for text in texts)
    for days in table.dates.values():
        assert len(days) == n and days.dtype == np.dtype("datetime64[us]")
    for i in table.text.keys() | table.dates.keys():
        assert np.isnan(table.values[:, i]).all()
