"""Tables from files, errors with line and column, and the task that targets imply."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbp.errors import DataError
from fastbp.tabular import read_features, read_table
from fastbp.tabular._table import choose_task, identifiers, infer_task

pytestmark = pytest.mark.once


@pytest.fixture
def write(tmp_path):
    def write(text, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


HOUSES = "size,rooms,town,price\n50,2,Köln,100.5\n80, 3 ,Bonn,200\n120,5,Köln,300\n"


# ---- .csv ---------------------------------------------------------------------------------


def test_csv_with_names(write):
    table = read_table(write(HOUSES))
    assert table.names == ("size", "rooms", "town") and table.target_names == ("price",)
    assert table.values[:, :2].tolist() == [[50, 2], [80, 3], [120, 5]]
    assert np.isnan(table.values[:, 2]).all()
    assert table.text[2].tolist() == ["Köln", "Bonn", "Köln"]
    assert table.target.tolist() == [100.5, 200, 300]
    assert [table.place(row) for row in range(3)] == ["line 2", "line 3", "line 4"]
    assert table.n_columns == 4


@pytest.mark.parametrize("target", ["town", "3", "-2"])
def test_target_by_name_or_number(write, target):
    table = read_table(write(HOUSES), target=target)
    assert table.target_names == ("town",) and table.names == ("size", "rooms", "price")
    assert table.target.tolist() == ["Köln", "Bonn", "Köln"]


def test_csv_without_names(write):
    table = read_table(write("1,2,3\n4,5,6\n"), target="1")
    assert table.names == ("2", "3") and table.target_names == ("1",)
    assert table.values.tolist() == [[2, 3], [5, 6]] and table.place(0) == "line 1"


def test_header_option(write):
    path = write("2001,2002,y\n1,2,3\n4,5,6\n")
    with pytest.raises(
        DataError, match=r"column 3: 1 text in a column of numbers, 'y' .in line 1.; --header yes"
    ):
        read_table(path, header="no")
    assert read_table(path, header="yes").names == ("2001", "2002")
    text = write("a,b\nc,d\n", "text.csv")
    assert read_table(text).n_rows == 1
    assert read_table(text, header="no").n_rows == 2


def test_a_name_is_tried_before_a_number(write):
    assert read_table(write("3,x,2\n1,2,3\n"), target="2", header="yes").target.tolist() == [3]


def test_quotes_byte_order_marks_line_ends_and_empty_lines(write):
    text = '\ufeff"a, b","with ""quotes""",y\r\n\r\n1,"two\nlines",3\r\n4,x,5\r\n\r\n'
    table = read_table(write(text))
    assert table.names == ("a, b", 'with "quotes"')
    assert table.text[1].tolist() == ["two\nlines", "x"]
    assert [table.place(0), table.place(1)] == ["line 3", "line 5"]


def test_dropped_columns_and_columns_read_as_categories(write):
    path = write("id,code,x,y\n1,10,0.5,1\n2,20,0.25,0\n")
    table = read_table(path, drop=["id"], categorical=["code", "y"])
    assert table.names == ("code", "x")
    assert table.text[0].tolist() == ["10", "20"] and table.target.tolist() == ["1", "0"]
    # the default target is the last remaining column
    assert read_table(path, drop=["-1", "1"]).target_names == ("x",)


def test_delimiter(write):
    path = write("a;b\n1;2\n3;4\n")
    with pytest.raises(DataError, match="the file has only one column.*--delimiter ';'"):
        read_table(path, delimiter=",")
    assert read_table(path, delimiter=";").names == ("a",)


BAD_CSV = {
    "empty file": (b"", "the file is empty"),
    "names only": (b"a,b\n", "there are no rows below the names"),
    "longer line": (b"a,b\n1,2\n3,4,5\n", "line 3: 3 cells; line 1 has 2"),
    "shorter line": (b"a,b\n1,2\n\n3\n", "line 4: 1 cell; line 1 has 2"),
    "missing number": (b"a,b\n1,2\n,4\n", r"column 1 \('a'\): 1 empty cell \(in line 3\)"),
    "missing text": (b"a,b\nx,2\n,4\n", r"column 1 \('a'\): 1 empty cell \(in line 3\)"),
    "missing target": (b"a,b\n1,2\n3,\n", r"column 2 \('b'\): 1 empty cell \(in line 3\)"),
    "NaN": (b"a,b\n1,2\nnan,4\n", r"column 1 \('a'\): 1 missing value, 'nan' \(in line 3\)"),
    "infinity": (b"a,b\n1,2\n3,-inf\n", "column 2 .'b'.: 1 infinite number, '-inf'"),
    "overflow": (b"a,b\n1,2\n3,1e+999\n", "1 infinite number, '1e\\+999'"),
    "a text among numbers": (
        b"a,b\n1,2\n1 kg,4\n",
        "column 1 .'a'.: 1 text in a column of numbers, '1 kg' .in line 3.",
    ),
    "NA among numbers": (
        b"a,b\n1,2\nNA,4\n",
        "column 1 .'a'.: 1 missing value, 'NA' .in line 3.",
    ),
    "two names alike": (b"a,b,a\n1,2,3\n", "columns 1 and 3 are both named 'a'; give"),
    "more names alike": (
        b"a,b,a,b,a\n1,2,3,4,5\n",
        "1 and 3 .* 'a', 2 and 4 .* 'b', 1 and 5 .* 'a'",
    ),
    "no value in a column": (b"a,b\n,1\n,2\n", r"only empty cells \(first in line 2\); --drop a$"),
    "no value of the target": (b"a,b\n1,NA\n2,?\n", "only missing values.*; choose another --ta"),
    "one column": (b"a\n1\n", "at least one feature"),
    "Latin-1": (b"a,b\n\xe9,2\n", "expected UTF-8 text"),
    "open quote": (b'a,b\n"1,2\n3,4\n', "line 2: a quote is not closed before the end"),
    "text after a quote": (b'a,b\n"1"x,2\n', "line 2"),
    "giant cell": (
        b"a,b\n" + b"x" * 200_000 + b",2\n",
        "line 2: a cell has more than 131,072 b",
    ),
}


@pytest.mark.parametrize("name", BAD_CSV)
def test_bad_csv(write, name):
    content, message = BAD_CSV[name]
    path = write(content)
    with pytest.raises(DataError, match=message) as caught:
        read_table(path)
    assert str(caught.value).startswith(str(path))


def test_one_message_has_the_problems_of_all_columns(write):
    n = 300
    columns = {
        "id": [f"c{i}" for i in range(n)],
        "age": ["" if i % 100 == 32 else i for i in range(n)],
        "income": [{5: "n/a", 80: "?", 90: '"12,5"', 99: "some"}.get(i, 2.5) for i in range(n)],
        "plan": ["ab"[i % 2] for i in range(n)],
        "first name": ["" if i == 7 else "Ann" for i in range(n)],
        "code": ["01.5" if i == 3 else "1e999" if i == 4 else 2.5 for i in range(n)],
        "y": ["" if i == 3 else i % 2 for i in range(n)],
    }
    rows = zip(*columns.values(), strict=True)
    path = write("\n".join(",".join(map(str, row)) for row in [columns, *rows]) + "\n")
    with pytest.raises(DataError) as caught:
        read_table(path)
    missing = "fill in a value, leave out the row"
    income, code = "column 3 ('income')", "column 6 ('code')"
    comma = "a decimal comma (--decimal ,)"
    text = "--categorical {0} (as text) or --drop {0}"
    assert str(caught.value).split("\n  ") == [
        f"{path}: problems in 6 columns",
        "column 1 ('id'): 300 distinct texts, more than 256: probably names of rows; --drop id",
        f"column 2 ('age'): 3 empty cells (first in line 34); {missing}s, or --drop age",
        f"{income}: 2 missing values, such as 'n/a' (first in line 7); {missing}s, or --drop "
        + "income",
        f"{income}: 1 number in another notation, '12,5' (in line 92): {comma}; "
        + text.format("income"),
        f"{income}: 1 text in a column of numbers, 'some' (in line 101); {text.format('income')}",
        f"column 5 ('first name'): 1 empty cell (in line 9); {missing}, or --drop 'first name'",
        f"{code}: 1 infinite number, '1e999' (in line 6); write finite numbers or --drop code",
        f"{code}: 1 number with a leading zero, '01.5' (in line 5); {text.format('code')}",
        "column 7 ('y'): 1 empty cell (in line 5); fill in a value or leave out the row",
        "--drop id,age,income,'first name',code leaves out these columns",
    ]
    # for a model, without options that change it
    with pytest.raises(DataError) as caught:
        read_features(path, ("code", "plan", "age"), categorical={"plan"})
    trained = "the model was trained on numbers in this column"
    assert str(caught.value).split("\n  ") == [
        f"{path}: problems in 2 columns",
        "column 2 ('age'): 3 empty cells (first in line 34); fill in a value or leave out the rows",
        f"{code}: 1 infinite number, '1e999' (in line 6); write finite numbers",
        f"{code}: 1 number with a leading zero, '01.5' (in line 5); {trained}",
    ]


def test_a_message_lists_the_first_columns(write):
    names = [f"a{i}" for i in range(40)]
    text = ",".join([*names, "y"]) + "\n" + "," * 40 + "1\n" + ",".join(map(str, range(41))) + "\n"
    with pytest.raises(DataError) as caught:
        read_table(write(text))
    first, *lines, more = str(caught.value).split("\n")
    assert first.endswith(": problems in 40 columns") and len(lines) == 10
    assert lines[9].startswith("  column 10 ('a9'): 1 empty cell (in line 2)")
    assert more == "  … and in 30 more columns"


def test_a_faulty_column_with_very_many_texts(write):
    """Each cell is counted, however many different texts there are."""
    cells = ["1", *(f"{i:,}.5" for i in range(1000, 4000)), *(f"{i} kg" for i in range(20_000))]
    path = write("x,y\n" + "".join(f'"{cell}",{i % 2}\n' for i, cell in enumerate(cells)))
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert "3,000 numbers in another notation, such as '1,000.5'" in str(caught.value)
    assert "20,000 texts in a column of numbers, such as '0 kg'" in str(caught.value)
    assert "--categorical" not in str(caught.value)  # with so many categories


@pytest.mark.parametrize(
    ("n", "counted"),
    [
        (1, ""),
        (3, "; 3 lines differ from line 1"),
        (1500, "; 1,000 lines or more differ from line 1"),
    ],
)
def test_lines_of_another_length_are_counted(write, n, counted):
    path = write('a,b\n1,2\n\n"1\n",2\n' + "3\n5,6\n" * n + "7,8\n")
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert str(caught.value) == f"{path}, line 6: 1 cell; line 1 has 2{counted}"
    path = write('a,b\n1,2\n3\n"x"y,2\n')  # the first fault counts
    with pytest.raises(DataError, match="line 3: 1 cell; line 1 has 2; 1 line or more differ"):
        read_table(path)


def test_columns_to_leave_out_in_a_list(write):
    path = write('id,"a, b",x,c,y\n1,1,0.5,2,1\n2,2,0.25,3,0\n')
    for drop in (["id,c", "a, b"], ["1, -2", "2"], ["id", "c", "a, b"]):
        assert read_table(path, drop=drop).names == ("x",), drop
    assert read_table(path, drop="id,c").names == ("a, b", "x")
    assert read_table(path, categorical=["id,c"]).text[3].tolist() == ["2", "3"]
    with pytest.raises(DataError, match="no column 'C'; there are 5: .*; did you mean 'c'"):
        read_table(path, drop=["id,C"])


@pytest.mark.parametrize(
    ("option", "hint"),
    [
        ({"target": "Prise"}, "'price'"),
        ({"drop": ["size,romos"]}, "'rooms'"),
        ({"categorical": "twon"}, "'town'"),
    ],
)
def test_the_error_for_an_unknown_column_has_a_hint(write, option, hint):
    with pytest.raises(DataError, match=f"no column .*; did you mean {hint}\\?$"):
        read_table(write(HOUSES), **option)


def test_a_missing_feature_with_another_spelling_has_a_hint(write):
    with pytest.raises(DataError, match=r"'Size' is missing; did you mean 'size'\?$"):
        read_features(write(HOUSES), ("rooms", "Size"))


@pytest.mark.parametrize("option", [{"target": "z"}, {"drop": ["0"]}, {"categorical": ["-4"]}])
def test_an_option_with_an_unknown_column_is_refused(write, option):
    with pytest.raises(DataError, match="no column .*; there are 3: a, b, c"):
        read_table(write("a,b,c\n1,2,3\n"), **option)


def test_a_dropped_target_is_refused(write):
    with pytest.raises(DataError, match="the target 'a' is among the columns to leave out"):
        read_table(write("a,b,c\n1,2,3\n"), target="a", drop=["a"])


def test_files_with_another_ending_are_refused(tmp_path):
    with pytest.raises(DataError, match="ending in .csv, .tsv, .* or text that ends in .gz"):
        read_table(tmp_path / "data.json")
    with pytest.raises(DataError, match="ending in .csv"):
        read_table(tmp_path / "data.npy.gz")


@pytest.mark.parametrize("ending", ["csv", "npy", "npz"])
def test_missing_files_are_an_error(tmp_path, ending):
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / f"none.{ending}")


@given(st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3),
                min_size=1, max_size=5))  # fmt: skip
def test_numbers_are_read_with_the_same_bits(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "data.csv"
    path.write_text("".join(",".join(map(repr, row)) + "\n" for row in rows))
    table = read_table(path, header="no")
    got = np.column_stack([table.values, table.target])
    assert got.tobytes() == np.array(rows).tobytes()


@pytest.mark.parametrize("ending", ["csv", "npy", "npz"])
@given(st.binary(max_size=200))
def test_any_bytes_give_a_table_or_a_data_error(tmp_path_factory, ending, content):
    path = tmp_path_factory.mktemp("any") / f"data.{ending}"
    path.write_bytes(content)
    try:
        assert read_table(path).n_rows > 0
    except DataError as error:
        assert str(path) in str(error)


# ---- NumPy files --------------------------------------------------------------------------


def test_npz(tmp_path):
    path = tmp_path / "data.npz"
    X, y = np.arange(24, dtype=np.uint8).reshape(4, 3, 2), np.array(["a", "b", "a", "b"])
    np.savez(path, X=X, y=y, other=y)
    table = read_table(path)
    assert table.values.dtype == np.uint8 and table.values.tolist() == X.reshape(4, 6).tolist()
    assert table.target_names == ("y",) and table.target.tolist() == y.tolist()
    assert table.names == ("1", "2", "3", "4", "5", "6") and table.place(0) == "row 1"
    assert read_table(path, target="other").target_names == ("other",)


def test_npz_with_one_other_array_and_several_targets(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, inputs=np.eye(3), out=np.ones((3, 2)))
    table = read_table(path, target="out")
    assert table.target_names == ("out1", "out2") and table.target.shape == (3, 2)


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"X": np.eye(2)}, "no array 'y'; the file contains X"),
        ({"a": np.eye(2), "b": np.eye(2), "y": np.ones(2)}, "expected an array X besides"),
        ({"X": np.eye(2), "y": np.ones(3)}, r"y has shape \(3,\); expected \(2,\)"),
        ({"X": np.eye(2), "y": np.ones((2, 2, 2))}, "y has shape"),
        ({"X": np.ones(2), "y": np.ones(2)}, r"features have shape \(2,\)"),
        ({"X": np.ones((2, 0)), "y": np.ones(2)}, "none of them 0"),
        ({"X": np.eye(2) * 1j, "y": np.ones(2)}, "features have dtype complex128"),
        ({"X": np.array([["a"]]), "y": np.ones(1)}, "features have dtype"),
        ({"X": np.eye(2), "y": np.array([1, 1j])}, "y has dtype complex128"),
        (
            {"X": np.array([[1, np.nan]]), "y": np.ones(1)},
            "column 2: 1 number that is not finite, such as nan .in row 1.",
        ),
        (
            {"X": np.eye(2), "y": np.array([1, np.inf])},
            "y column 1: 1 number that is not finite, such as inf .in row 2.",
        ),
    ],
)
def test_bad_npz(tmp_path, arrays, message):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=message):
        read_table(path)


def test_npy(tmp_path):
    path = tmp_path / "data.npy"
    np.save(path, np.arange(12.0).reshape(3, 4))
    table = read_table(path, target="2", drop=["4"])
    assert table.names == ("1", "3") and table.target_names == ("2",) and table.n_columns == 4
    assert table.values.tolist() == [[0, 2], [4, 6], [8, 10]]
    assert table.target.tolist() == [1, 5, 9]


@pytest.mark.parametrize("array", [np.ones(3), np.ones((2, 2, 2)), np.ones((0, 3))])
def test_bad_npy(tmp_path, array):
    np.save(tmp_path / "data.npy", array)
    with pytest.raises(DataError, match=r"expected a 2-D array \(rows, columns\); got shape"):
        read_table(tmp_path / "data.npy")


def test_pickles_in_numpy_files_are_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    objects = np.array([[Trap(), 1]], dtype=object)
    np.save(tmp_path / "data.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "data.npz", X=objects, y=np.ones(1))
    with pytest.raises(DataError, match="holds Python objects"):
        read_table(tmp_path / "data.npy")
    with pytest.raises(DataError, match="holds Python objects"):
        read_table(tmp_path / "data.npz")


@pytest.mark.parametrize(
    ("name", "option"), [("a.npz", "drop"), ("a.npz", "categorical"), ("a.npy", "categorical")]
)
def test_options_that_do_not_apply_to_a_file_are_refused(tmp_path, name, option):
    with pytest.raises(DataError, match=f"--{option} 1 does not apply to this kind of file"):
        read_table(tmp_path / name, **{option: ["1"]})


# ---- the task -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target, task",
    [
        (["a", "b"], "classification"),
        ([True, False], "classification"),
        ([0, 1, 2], "classification"),
        ([0.0, 1.0, -3.0], "classification"),
        (range(20), "classification"),
        (range(21), "regression"),
        ([0.0, 1.0, 0.5], "regression"),
        ([[0, 1], [1, 0]], "regression"),
    ],
)
def test_task_inferred(target, task):
    assert infer_task(np.array(target)) == task


# ---- columns for a model ------------------------------------------------------------------


def test_features_are_found_by_name_and_other_columns_left_out(write):
    path = write("z,b,a\nword,1,2\n,3,4\n")
    table = read_features(path, ("a", "b"))
    assert table.values.tolist() == [[2, 1], [4, 3]] and table.names == ("a", "b")


def test_columns_to_keep_are_returned_as_text(write, tmp_path):
    path = write('id,a,"na, me"\n007,1,"x ""y"""\n1e5,2,\n , 3,NA\n')
    table = read_features(path, ("a",), keep=["na, me", "1, a"])
    assert table.names == ("a",) and table.values.tolist() == [[1], [2], [3]]
    assert {name: texts.tolist() for name, texts in table.kept.items()} == {
        "na, me": ['x "y"', "", "NA"],
        "id": ["007", "1e5", ""],
        "a": ["1", "2", "3"],
    }
    assert table.take(np.array([2, 0])).kept["a"].tolist() == ["3", "1"]
    assert read_features(path, ("a",), keep="id").kept.keys() == {"id"}
    with pytest.raises(DataError, match="no column 'ID2'; there are 3: id, a, na, me"):
        read_features(path, ("a",), keep=["ID2"])
    np.save(tmp_path / "data.npy", np.eye(2))
    with pytest.raises(DataError, match="data.npy: --keep 1 does not apply to this kind of file"):
        read_features(tmp_path / "data.npy", keep=["1"])


def test_features_are_found_by_position_in_a_file_without_names(write, tmp_path):
    features = {"names": ("2", "3"), "n_columns": 3}
    for text, expected in [("1,2\n", [[1, 2]]), ("9,1,2\n", [[1, 2]])]:
        assert read_features(write(text), **features).values.tolist() == expected
        np.save(tmp_path / "data.npy", np.array([[float(cell) for cell in text.split(",")]]))
        assert read_features(tmp_path / "data.npy", **features).values.tolist() == expected
    with pytest.raises(DataError, match="the model takes 2 columns, 2, 3; the file has 4"):
        read_features(write("1,2,3,4\n"), **features)
    # the training file had names, and this file has none
    assert read_features(write("1,2\n"), ("a", "b"), n_columns=3).values.tolist() == [[1, 2]]
    with pytest.raises(DataError, match="takes 2 columns, a, b; the file has 3"):
        read_features(write("1,2,3\n"), ("a", "b"), n_columns=3)


def test_a_missing_feature_is_named(write):
    with pytest.raises(DataError, match="takes 2 columns, a, b; the file has 2, b, c: 'a' is miss"):
        read_features(write("b,c\n1,2\n"), ("a", "b"))


def test_numbers_and_texts_are_read_as_the_model_was_trained(write):
    path = write("a,b\n1,2\n3,4\n")
    table = read_features(path, ("a", "b"), categorical={"b"})
    assert table.text[1].tolist() == ["2", "4"]
    with pytest.raises(DataError, match="2 texts in a column of numbers, such as 'x'"):
        read_features(write("a,b\nx,2\ny,3\n"), ("a", "b"))


def test_features_of_numpy_files(tmp_path):
    np.savez(tmp_path / "data.npz", X=np.eye(2), y=np.ones(2))
    assert read_features(tmp_path / "data.npz", ("1", "2")).values.tolist() == np.eye(2).tolist()
    np.savez(tmp_path / "data.npz", data=np.eye(2))
    assert read_features(tmp_path / "data.npz").n_rows == 2
    with pytest.raises(DataError, match="text in column '2'; give it a .csv file"):
        read_features(tmp_path / "data.npz", ("1", "2"), categorical={"2"})


def test_a_task_needs_a_target(write):
    table = read_features(write("size\n50\n80\n"))
    with pytest.raises(DataError, match=r"data.csv: expected a target; the table has none"):
        choose_task(table)


@pytest.mark.parametrize(
    "dates",
    [
        ["2026-05-20", "2025-12-01"],
        ["2026-05-20 09:30", "2025-12-01 23:59:59"],
        ["2026-05-20T09:30:00Z", "2025-12-01T09:30:00.25+02:00"],
    ],
)
def test_dates_among_the_categories_get_a_note(write, dates):
    rows = [f"{i},{dates[i % 2]},{i % 3}.5\n" for i in range(20)]
    path = write("id,joined,y\n" + "".join(rows))
    table = read_table(path)
    (note,) = table.notes
    assert note.startswith("column 2 ('joined') has dates, which are taken as categories; turn")
    assert sorted(set(table.text[1].tolist())) == sorted(dates)
    for options in ({"drop": ["joined"]}, {"categorical": ["joined"]}, {"target": "joined"}):
        assert read_table(path, **options).notes == ()  # left out, meant, or what is predicted
    assert read_features(path, ("id", "joined"), categorical={"joined"}).notes == ()


@pytest.mark.parametrize("other", ["unknown", "2026-13-01", "2026-05-32", "20260520", "05/20/2026"])
def test_other_texts_are_not_taken_for_dates(write, other):
    texts = ["2026-05-20", "2025-12-01", other]
    rows = [f"{i},d{texts[i % 3]},{texts[i % 3]},{i % 3}.5\n" for i in range(21)]
    path = write("id,a,b,y\n" + "".join(rows))
    assert read_table(path, categorical=["b"]).notes == ()
    if other != "20260520":  # a number among texts is an error
        assert read_table(path).notes == ()


def test_more_dates_than_categories_are_named_as_dates(write):
    first = np.datetime64("2020-01-01")
    rows = [f"{first + i},{i % 3}.5,{'' if i == 3 else i}\n" for i in range(300)]
    message = "300 distinct dates, more than 256 categories; turn them into numbers, such as days,"
    with pytest.raises(DataError, match=rf"column 1 \('when'\): {message} or --drop when"):
        read_table(write("when,y,a\n" + "".join(rows)), target="y")
    full = read_table(write("when,a\n" + "".join(row[: row.rindex(",")] + "\n" for row in rows)))
    (problem,) = identifiers(full)
    assert problem.what == "300 distinct dates, more than 256 categories"
