"""Columns of .csv files as numbers or texts, refused files, headers and index columns."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbp.errors import DataError
from fastbp.tabular import from_arrays, read_features, read_table
from fastbp.tabular._table import choose_task

pytestmark = pytest.mark.once


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


# ---- numbers and texts --------------------------------------------------------------------


@pytest.mark.parametrize(
    "cells",
    [
        ["1", "-2", "+3", "0"],
        ["1.5", ".5", "5.", "-0.25"],
        ["1e-05", "2.5e+03", "100"],
        ["1E2", "3.5E2"],  # a decimal point in some cell means measurements
        ["1e5", "-2"],
    ],
)
def test_plain_numbers(write, cells):
    table = read_table(write(column(*cells)))
    assert table.values[:, 0].tolist() == [float(cell) for cell in cells]
    assert not table.text and table.notes == ()


@pytest.mark.parametrize(
    "cells",
    [
        ["Nan", "Inf", "Ada"],
        ["infinity", "ada"],
        ["1E2", "3E4"],
        ["1E2", "34"],
        ["007", "012", "123"],
        ["00", "1E5"],
        ["1E2", "A12"],
        ["2020-01-01", "2020-01-02"],
        ["10:30", "11:30"],
        ["1.2.3", "1.2.4"],
    ],
)
def test_texts_are_kept_even_if_float_can_read_some_of_them(write, cells):
    table = read_table(write(column(*cells)))
    assert table.text[0].tolist() == cells and np.isnan(table.values[:, 0]).all()


def test_a_message_names_codes_that_are_read_as_texts(write):
    table = read_table(write(column("34", "007")))
    (note,) = table.notes
    assert note.startswith(
        "column 1 ('x') contains codes such as 007, which are read as text (a number"
    )


NOTATIONS = {
    "underscores": (["1_000", "2_000"], "underscores between digits .--thousands _."),
    "decimal comma": (["6,62", "1,5"], "a decimal comma .--decimal ,."),
    "comma": (["1,375", "1,200"], r"a decimal comma .* or a thousands separator .--thousands ,."),
    "thousands": (["1,234,567", "2,345,678"], "a thousands separator .--thousands ,."),
    "both": (["1,234.5", "2,345.6"], "a thousands separator .--thousands ,."),
    "german": (["1.234,5", "2.345,6"], "--decimal , --thousands ."),
    "points": (["1.234.567", "2.345.678"], "a thousands separator .--thousands .."),
    "swiss": (["1'200", "1'300"], 'a thousands separator .--thousands "\'".'),
    "blanks": (["1 200", "1 300"], "blanks between groups of digits .--thousands ' '."),
    "no-break": (["1\u00a0200,5", "1\u202f300,5"], "blanks between groups of digits"),
    "dollar": (["$1200", "$1300"], r"a currency sign .--units '.' reads it"),
    "euro": (
        ["\u20ac 5", "\u20ac 6"],
        r"a currency sign \(--units '?(\$|€|EUR)'? reads it without\)",
    ),
    "EUR": (["5 EUR", "6 EUR"], r"a currency sign .--units EUR reads it"),
    "percent": (["12%", "13 %"], r"a percent sign \(--units % reads it without\)"),
    "dash": (["\u20135", "\u20136"], r"the minus sign U\+2013; write -"),
    "parentheses": (["(12.5)", "(13.5)"], "parentheses for a negative number"),
    "hexadecimal": (["0x1F", "0x2F"], "hexadecimal digits"),
    "Fortran": (["1.5D+03", "2.5D+03"], "a Fortran exponent"),
    "digits": (["\u0661\u0662", "\u0663"], "digits other than 0"),
    "several": (["1;2", "2;3"], "several numbers, .*--delimiter ';'"),
}


@pytest.mark.parametrize("name", NOTATIONS)
@pytest.mark.parametrize("more", [(), ("2",), ("2", "NA"), ("7", "unknown")])
def test_an_error_names_another_notation_of_numbers(write, name, more):
    cells, message = NOTATIONS[name]
    path = write(column(*cells, *more))
    counted = r"column 1 \('x'\): 2 numbers in another notation, such as .* \(first in line 2\): "
    with pytest.raises(DataError, match=counted + message):
        read_table(path)
    assert len(read_table(path, categorical=["x"]).text[0]) == len([*cells, *more])


def test_one_cell_like_a_number_among_texts(write):
    cells = ["large", "12%", "small", "tiny"]
    assert read_table(write(column(*cells))).text[0].tolist() == cells


def test_decimal_and_thousands(write):
    path = write("a;b;y\n1.375,5;2500;6,62\n12,25;1.000.000;-0,5\n")
    table = read_table(path, delimiter=";", decimal=",", thousands=".")
    assert table.values.tolist() == [[1375.5, 2500], [12.25, 1e6]]
    assert table.target.tolist() == [6.62, -0.5]
    features = {"names": ("b", "a"), "delimiter": ";", "decimal": ",", "thousands": "."}
    assert read_features(path, **features).values.tolist() == [[2500, 1375.5], [1e6, 12.25]]
    with pytest.raises(
        DataError,
        match=r"column 1 .'a'.: 1 number in another notation, '1.375,5' .in line 2.: --deci",
    ):
        read_features(path, ("a",), delimiter=";")


def test_quoted_numbers_with_thousands_in_a_comma_separated_file(write):
    table = read_table(write('a,y\n"1,200",1\n"2,300",0\n'), thousands=",")
    assert table.values.tolist() == [[1200], [2300]]


def test_a_decimal_point_is_refused_if_the_option_says_comma(write):
    path = write("a;y\n1.5;2\n2.5;3\n")
    with pytest.raises(
        DataError, match=r"such as '1.5' \(first in line 2\): a notation other than --decimal ,"
    ):
        read_table(path, delimiter=";", decimal=",")


@pytest.mark.parametrize("missing", ["", "NA", "nan", "n/a", "?", "-", "null"])
def test_missing_values_are_not_categories(write, missing):

    with pytest.raises(
        DataError, match="(empty cell|missing value).*; fill in a value, leave"
    ) as caught:
        read_table(write(column("1.5", missing, "2")))
    assert "--categorical" not in str(caught.value)
    only = r"only (empty cell|missing value)s.* \(first in line 2\); --drop x$"
    with pytest.raises(DataError, match=only) as caught:
        read_table(write(column(missing, missing)))
    assert "--categorical" not in str(caught.value)
    with pytest.raises(
        DataError, match="(empty cell|missing value).*; fill in a value or leave out"
    ):
        read_features(write(column("1", missing)), ("x",))


@pytest.mark.parametrize(
    "cells, message",
    [
        (["1.5", "01.5"], r"1 number with a leading zero, '01.5' \(in line 3\); --categorical x"),
        (["-007", "-012"], "2 numbers with a leading zero, such as '-007'"),
        (["1.5", "inf"], "1 infinite number, 'inf'.*; write finite numbers or --drop x"),
        (["1.5", "1e+999"], r"1 infinite number, '1e\+999' \(in line 3\)"),
        (
            ["1.5", "three"],
            "1 text in a column of numbers, 'three'.*; --categorical x .as text. or --drop x",
        ),
    ],
)
def test_columns_that_are_neither_numbers_nor_texts(write, cells, message):
    with pytest.raises(DataError, match=message):
        read_table(write(column(*cells)))


CELLS = {
    "1": "", "2.5": "", "": "empty cell", "NA": "missing value", "?": "missing value",
    "inf": "infinite number", "1e+999": "infinite number", "01.5": "number with a leading zero",
    "1,5": "number in another notation: a decimal comma (--decimal ,)",
    "12%": "number in another notation: a percent sign (--units % reads it without)",
    "x": "text in a column of numbers", "y z": "text in a column of numbers",
}  # fmt: skip


@given(st.lists(st.lists(st.sampled_from(list(CELLS)), min_size=2, max_size=2), max_size=30))
def test_faulty_cells_are_counted(tmp_path_factory, rows):
    """By column and fault, with the first cell of each, as a loop over the cells counts them."""
    rows = [["1", "1"], *rows]
    path = tmp_path_factory.mktemp("csv") / "data.csv"
    lines = (",".join(f'"{cell}"' for cell in [*row, "0"]) for row in rows)
    path.write_text("a,b,y\n" + "\n".join(lines) + "\n")
    expected = set()
    for column, name in enumerate("ab"):
        found: dict[str, list[int]] = {}
        for i, row in enumerate(rows):
            found.setdefault(CELLS[row[column]], []).append(i)
        for fault, places in found.items():
            if fault:
                what, _, why = fault.partition(": ")
                n, cell = len(places), rows[places[0]][column]
                if n > 1:
                    what = re.sub(
                        "^(empty cell|missing value|infinite number|number|text)", r"\1s", what
                    )
                such = f", {'such as ' if n > 1 else ''}{cell!r}" if cell else ""
                first = f"({'first ' if n > 1 else ''}in line {places[0] + 2})"
                why = f": {why}" if why else ""
                expected.add(f"column {column + 1} ({name!r}): {n} {what}{such} {first}{why}; ")
    try:
        read_table(path, target="y")
    except DataError as error:
        message = str(error)
    else:
        message = ""
    missing = [each for each in expected if each not in message]
    assert not missing and message.count("column 1 (") + message.count("column 2 (") == len(
        expected
    )


@pytest.mark.parametrize("cell", ["1_0", "007", "nan", "1,5", "12%", "x"])
def test_cells_that_are_not_numbers_are_refused_for_a_model(write, cell):
    with pytest.raises(DataError, match=r"column 1 \('x'\): 1 .*\(in line 3\)") as caught:
        read_features(write(column("1", cell)), ("x",))
    assert "--categorical" not in str(caught.value)


def test_numbers_for_a_model_may_have_exponents(write):
    assert read_features(write(column("1E2")), ("x",)).values.tolist() == [[100]]


def test_dropped_columns_may_have_any_content(write):
    path = write("id,x,y\n1_0,1,2\nNA,3,4\n")
    assert read_table(path, drop=["id"]).values.tolist() == [[1], [3]]


# ---- targets ------------------------------------------------------------------------------


def test_a_target_with_many_different_texts_is_refused(write):
    rows = "".join(f"{i},name {i % 10}\n" for i in range(100))
    table = read_table(write("x,y\n" + rows))
    with pytest.raises(DataError, match="10 distinct values in 100 rows.* --task classification"):
        choose_task(table)
    assert choose_task(table, "classification") == "classification"
    rows = "".join(f"name {i},{i},name {i % 100}\n" for i in range(300))
    with pytest.raises(DataError) as caught:
        choose_task(read_table(write("id,x,y\n" + rows)))
    first, identifier, target = str(caught.value).split("\n  ")
    assert first.endswith("problems in 2 columns") and "'id': 300 distinct texts" in identifier
    assert target.startswith("the target 'y': text such as 'name 0', with 100 distinct values")
    more = "".join(f"{i},name {i % 10}\n" for i in range(101))
    assert choose_task(read_table(write("x,y\n" + more))) == "classification"
    with pytest.raises(DataError, match="3 distinct values in 30 rows"):
        choose_task(from_arrays("memory", np.eye(30), np.repeat(["a", "b", "c"], 10)))
    assert choose_task(from_arrays("m", np.eye(4), np.array(list("abab")))) == "classification"


@pytest.mark.parametrize("base", [2**53, 2**62, 2**63 + 2**62, -(2**60)])
def test_large_integer_targets_are_exact(write, base):
    labels = [base + i % 2 for i in range(4)]
    table = read_table(write("x,y\n" + "".join(f"{i},{y}\n" for i, y in enumerate(labels))))
    assert table.target.tolist() == labels and table.target.dtype.kind in "iu"


@pytest.mark.parametrize("text", ["1e+30", str(2**70)])
def test_targets_above_64_bits_are_floats(write, text):
    table = read_table(write(f"x,y\n1,{text}\n2,3\n"))
    assert table.target.tolist() == [float(text), 3]


# ---- the first line -----------------------------------------------------------------------


def frame(n=12, columns=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, columns))


def lines(array):
    return "".join(",".join(map(repr, row)) + "\n" for row in array.tolist())


def test_a_first_line_of_0_1_2_is_a_header(write):
    table = read_table(write("0,1,2\n" + lines(frame())))
    assert table.names == ("0", "1") and table.target_names == ("2",) and table.n_rows == 12
    (note,) = table.notes
    assert note.startswith(
        "line 1 is read as names, because it counts up from 0: 0, 1, 2 (--header no"
    )
    assert read_table(write("0,1,2\n" + lines(frame())), header="no").n_rows == 13


def test_a_first_line_of_0_1_above_zeros_and_ones_needs_an_option(write):
    path = write("0,1\n1,0\n0,0\n1,1\n")
    with pytest.raises(DataError, match="line 1: 0, 1 may be names or a row; use --header"):
        read_table(path)
    assert read_table(path, header="no").n_rows == 4
    assert read_table(path, header="yes").n_rows == 3
    assert read_table(write("0,1\n0.5,0\n0.25,1\n")).names == ("0",)


@pytest.mark.parametrize("n", [3, 9, 50])
@pytest.mark.parametrize("first", ["2001,2002,2003", "400.5,410.5,420.5", "2001,2002,yield"])
def test_a_first_line_of_numbers_far_from_the_rest_is_a_header(write, n, first):
    table = read_table(write(f"{first}\n" + lines(frame(n))))
    assert table.n_rows == n and (*table.names, *table.target_names) == tuple(first.split(","))
    (note,) = table.notes
    assert "line 1 is read as names" in note and "--header no" in note


def test_a_first_line_of_consecutive_integers_above_fractions_is_a_header(write):
    around = lines(1000 * frame(40) + 2000)
    table = read_table(write("2001,2002,2003\n" + around))
    assert table.names == ("2001", "2002") and "in equal steps above fractions" in table.notes[0]
    for first in ("2001,2002,2004", "2003,2002,2001", "2001,2002.5,2004"):
        assert read_table(write(f"{first}\n" + around)).n_rows == 41, first
    whole = "".join(f"{i},{2 * i},{3 * i % 7}\n" for i in range(1, 40))
    assert read_table(write("10,20,30\n" + whole)).n_rows == 40


def test_a_header_of_years_next_to_a_column_of_texts(write):
    pairs = zip("abab", lines(frame(4)).split(), strict=True)
    rows = "".join(f"{word},{row}\n" for word, row in pairs)
    assert read_table(write("kind,2001,2002,2003\n" + rows)).n_rows == 4
    assert read_table(write("a,0.5,0.25,0.125\n" + rows)).n_rows == 5


def test_a_first_line_like_the_other_rows_is_data(write):
    for first in ["3,1,2", "0.5,0.1,-2", "3,3,3"]:
        assert read_table(write(f"{first}\n" + lines(frame()))).n_rows == 13, first
    whole = np.random.default_rng(1).integers(0, 1000, (40, 4))
    assert read_table(write(lines(whole))).n_rows == 40
    # the first row of ascending columns
    rising = np.column_stack([np.arange(50), np.arange(50) ** 2, np.arange(50) * 3.5])
    assert read_table(write(lines(rising + 1))).n_rows == 50


def test_an_outlier_in_the_first_row_is_data(write):
    assert read_table(write("1000,0.5,0.25\n" + lines(frame()))).n_rows == 13


@pytest.mark.parametrize("first", ["0.5,1.5,x", "3,4,x"])
def test_a_word_in_a_first_row_of_measurements_is_an_error(write, first):
    with pytest.raises(
        DataError, match="column 3: 1 text in a column of numbers, 'x' .in line 1.; --header"
    ):
        read_table(write(f"{first}\n" + lines(5 * frame())))


def test_a_header_of_numbers_and_a_word(write):
    path = write("0,1,y\n" + lines(frame()))
    assert read_table(path).names == ("0", "1") and read_table(path).target_names == ("y",)


def test_a_header_with_a_number_above_texts(write):
    table = read_table(write("x,2001,y\n1,red,2\n3,blue,4\n"))
    assert table.names == ("x", "2001") and table.text[1].tolist() == ["red", "blue"]


@pytest.mark.parametrize("cell", ["1" * 100_000 + "x", "1," * 50_000, "1_" * 50_000, "(" * 100_000])
def test_long_cells_take_time_proportional_to_their_length(write, cell):
    with pytest.raises(DataError, match=", '.{61}' .in line 3.") as caught:
        read_table(write(column("1", cell)))
    assert len(str(caught.value)) < 500


def test_the_header_option_has_three_values(write):
    with pytest.raises(ValueError, match="header must be one of auto, yes, no; got True"):
        read_table(write("a,b\n1,2\n"), header=True)


def test_columns_of_letters_without_a_header_keep_the_first_row(write):
    table = read_table(write("p,x\ne,x\np,y\ne,y\n"))
    assert table.n_rows == 4 and table.target.tolist() == ["x", "x", "y", "y"]
    assert "line 1 is read as a row, because 'p' appears below it too" in table.notes[0]
    named = read_table(write("shape,kind\ne,x\np,y\n"))
    assert named.n_rows == 2
    assert named.notes == ("line 1 is read as names: shape, kind (--header no if it is a row)",)


def test_usual_headers_give_no_message(write):
    assert read_table(write("a,b\n1,2\n3,4\n")).notes == ()


def test_a_first_line_with_the_names_of_the_model_is_a_header(write):
    path = write("2001,2002\n2010,2020\n")
    assert read_features(path, ("2002", "2001")).values.tolist() == [[2020, 2010]]
    path = write("2,0,1\n0.5,1.5,2.5\n3.5,4.5,5.5\n")
    table = read_features(path, ("0", "1", "2"))
    assert table.values.tolist() == [[1.5, 2.5, 0.5], [4.5, 5.5, 3.5]]
    assert table.notes[0].startswith("line 1 is read as the names that the model takes: 2, 0, 1")
    # column numbers, as a training file without names has them, decide nothing
    assert read_features(write("1,2\n2,1\n"), ("1", "2"), n_columns=3).n_rows == 2


# ---- index --------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [1, 2, 3, 4], [7, 2, 9, 4]])
def test_an_index_column_is_left_out(write, order):
    rows = "".join(f"{i},{row}\n" for i, row in zip(order, lines(frame(4)).split(), strict=True))
    path = write(",a,b,y\n" + rows)
    table = read_table(path)
    assert table.names == ("a", "b") and table.values.tolist() == frame(4)[:, :2].tolist()
    (note,) = table.notes
    assert note.startswith("column 1, without a name, numbers the rows and is left out (give it a")
    assert read_features(path).names == ("a", "b", "y")
    assert read_table(path, drop=["1"]).notes == ()
    # a header of numbers next to an index
    assert read_table(write(",0,1,2\n" + rows)).names == ("0", "1")


def test_two_index_columns_are_left_out(write):
    rows = "".join(f"{i},{row}\n" for i, row in enumerate(lines(frame(4)).split()))
    assert read_table(write("Unnamed: 0,a,b,y\n" + rows)).names == ("a", "b")


@pytest.mark.parametrize("rows", ["1,2\n1,4\n", "0.5,2\n1.5,4\n", "red,2\nred,4\n", "red,2\n"])
def test_unnamed_columns_that_are_not_an_index(write, rows):
    table = read_table(write(",b\n" + rows))
    assert table.names == ("1",)
    assert "column 1 has no name and is read as a feature (--drop 1" in table.notes[0]


def test_named_columns_are_not_an_index(write):
    assert read_table(write("i,a,b\n0,2,3\n1,4,5\n")).names == ("i", "a")
    named = read_table(write("i,a,b\nx,2,3\ny,4,5\n"))
    assert named.names == ("i", "a") and named.notes == ()


def test_an_unnamed_column_of_row_names_is_an_index(write):
    table = read_table(write(',mpg,cyl\n"Mazda, RX4",21,6\nDatsun,22.8,4\n'))
    assert table.names == ("mpg",) and table.text == {} and table.target.tolist() == [6, 4]
    (note,) = table.notes
    assert note.startswith("column 1, without a name, names the rows and is left out")


def test_an_index_is_not_a_feature(write):
    with pytest.raises(DataError, match="which leaves 0, because column 1 is an index"):
        read_table(write(",y\n0,5\n1,7\n"))
    assert read_table(write(",y\n0,5\n1,7\n"), target="1").notes == ()


@pytest.mark.parametrize("rows", ["a,x\nb,y\n", "0,1\n1,0\n", "0,1\n5,7\n", "500,700\n1,2\n"])
def test_a_model_without_column_names_takes_rows(write, rows):
    texts = ("1", "2") if rows[0] == "a" else ()
    table = read_features(write(rows), ("1", "2"), categorical=texts, n_columns=3)
    assert table.n_rows == 2 and table.notes == ()


def test_a_model_without_column_names_refuses_other_widths(write):
    with pytest.raises(DataError, match="missing are 1, 2"):
        read_features(write("a,b\n1,2\n3,4\n"), ("1", "2"), n_columns=3)


# ---- separated by spaces ------------------------------------------------------------------


def test_spaces_as_delimiter(write):
    path = write("  5.1  3.5 0\n  4.9  3.0 1\n")
    with pytest.raises(DataError, match="blanks between numbers: .*--delimiter ' '"):
        read_table(path)
    table = read_table(path, delimiter=" ")
    assert table.values.tolist() == [[5.1, 3.5], [4.9, 3.0]] and table.target.tolist() == [0, 1]
    with pytest.raises(DataError, match="blanks between numbers"):
        read_table(write("a b c\n1 2 3\n"))


def test_an_error_suggests_the_delimiter_of_a_ragged_file(write):
    with pytest.raises(DataError, match="line 2: 2 cells; line 1 has 1; is ';' the delimiter"):
        read_table(write("a;b;c\n1,5;2;3\n"), delimiter=",")


def test_spaces_before_quotes(write):
    table = read_table(write('x, "kind, of", y\n1.5, "x", "7"\n2.5, "z", "8"\n'))
    assert table.names == ("x", "kind, of") and table.text[1].tolist() == ["x", "z"]
    assert table.target.tolist() == [7, 8]
