"""Tables from all kinds of files: delimiters, encodings, compressed text, Parquet, Arrow, Excel."""

import builtins
import bz2
import datetime as dt
import gzip
import io
import lzma

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbp._cli.main import main
from fastbp.errors import DataError
from fastbp.tabular import _bytes, read_features, read_table

pytestmark = pytest.mark.once

KEEP = {"missing": "keep", "dates": "parse"}
ROWS = "size,town,price\n50,Köln,1.5\n80,Bonn,2.5\n"


@pytest.fixture
def write(tmp_path):
    def write(content, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def same_as_rows(table):
    assert table.names == ("size", "town") and table.target_names == ("price",)
    assert table.values[:, 0].tolist() == [50, 80] and table.target.tolist() == [1.5, 2.5]
    assert table.text[1].tolist() == ["Köln", "Bonn"]


# ---- delimiters ---------------------------------------------------------------------------


@pytest.mark.parametrize(("mark", "shown"), [(";", "';'"), ("\t", "tabs"), ("|", "'|'")])
@pytest.mark.parametrize("name", ["data.csv", "data.txt"])
def test_the_delimiter_is_found_and_told(write, mark, shown, name):
    table = read_table(write(ROWS.replace(",", mark), name))
    same_as_rows(table)
    told = f"cells are separated by {shown} (--delimiter names another character)"
    assert table.notes == (told,) and table.format.delimiter == mark


@pytest.mark.parametrize("name", ["data.tsv", "data.TAB", "data.tsv.gz"])
def test_tabs_are_certain_in_a_tsv_file(write, name):
    content = ROWS.replace(",", "\t").encode()
    table = read_table(write(gzip.compress(content) if name.endswith("gz") else content, name))
    same_as_rows(table)
    assert table.notes == ()
    with pytest.raises(
        DataError, match="only one column, and its cells contain ,: .*--delimiter ,"
    ):
        read_table(write(ROWS, name.removesuffix(".gz")))
    same_as_rows(read_table(write(ROWS, name.removesuffix(".gz")), delimiter=","))


@pytest.mark.parametrize(
    "text",
    [
        'a;b;y\n"x;,;";1,5;2\n"z\n;;;\n";2,5;3\n',  # in quotes, on several lines
        "# a comment; with; more; of; them\na;b;y\nx;1,5;2\n\n  \nz;2,5;3\n",
        "a;b;y\r\nx,;1,5;2\r\nz,,;2,5;3\r\n",
    ],
)
def test_the_delimiter_of_texts_with_others(write, text):
    table = read_table(write(text), decimal=",", comment="#")
    assert table.names == ("a", "b") and table.values[:, 1].tolist() == [1.5, 2.5]


def test_two_possible_delimiters_are_refused(write):
    path = write("1,5;2\n3,5;4\n")
    with pytest.raises(DataError, match="separated by ',' or ';': say which by --delimiter ','"):
        read_table(path)
    table = read_table(path, delimiter=";", decimal=",", header="no")
    assert table.values[:, 0].tolist() == [1.5, 3.5]


def test_a_long_line_and_many_lines(write):
    words = ",".join(f"c{i}" for i in range(20_000))
    table = read_table(write(words + "\n" + ",".join(["1"] * 20_000) + "\n"))
    assert table.n_columns == 20_000
    rows = "".join(f"{i};{i},5\n" for i in range(20_000))
    assert read_table(write("a;y\n" + rows), decimal=",").target[-1] == 19_999.5


def test_the_command_takes_the_same_options(write, capsys):
    path = write("# note\nsize;share;y\n" + "50;1,5%;0\n80;2,5%;1\n" * 20)
    model = str(path.parent / "model.safetensors")
    options = ["--decimal", ",", "--comment", "#", "--units", "%,EUR", "--epochs", "2"]
    assert main(["train", str(path), *options, "-q", "-o", model]) == 0
    new = write("size;share\n1;2,5 %\n", "new.csv")
    capsys.readouterr()
    assert main(["predict", model, str(new), "--units", "%"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    with pytest.raises(SystemExit):
        main(["train", str(path), "--encoding", "nonsense"])
    assert "encoding must be one that Python knows" in capsys.readouterr().err


# ---- encodings ----------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_says_the_encoding(write, encoding):
    table = read_table(write(ROWS.encode(encoding)))
    same_as_rows(table)
    named = encoding != "utf-8-sig"
    assert table.notes == ((f"the file is {encoding.upper()} by its first bytes",) if named else ())
    assert [table.place(row) for row in range(2)] == ["line 2", "line 3"]


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16-le", "utf-16-be", "cp437"])
def test_an_encoding_by_name(write, encoding):
    path = write(ROWS.encode(encoding))
    with pytest.raises(DataError, match=r"\(.*--encoding .*\)"):
        read_table(path)
    same_as_rows(read_table(path, encoding=encoding))


@pytest.mark.parametrize("block", [1, 2, 3, 7])
def test_recoded_text_does_not_depend_on_the_blocks(write, block, monkeypatch):
    path = write(ROWS.encode("utf-16"))
    monkeypatch.setattr(_bytes, "BLOCK", block)
    same_as_rows(read_table(path))


@pytest.mark.parametrize(
    ("content", "encoding", "message"),
    [
        (b"a,b\n\xe9,2\n", "utf-8", "line 2, column 1: expected UTF-8 text: .*--encoding cp1252"),
        (b"a,b\nx,2\n\x81,3\n", "cp1252", "line 3: expected cp1252 text: character maps to"),
        (b"a,b\nx,2\n\xff,3\n", "utf-8-sig", "line 3: expected utf-8-sig text: invalid start"),
        (
            "a,b\nx,2\n".encode("utf-16-le"),
            "utf-8",
            "every other byte is NUL; .*-encoding utf-16-le",
        ),
        ("a,b\nx,2\n".encode("utf-16")[:-1], "utf-8", "line 2: expected utf-16 text: truncated"),
    ],
)
def test_text_in_another_encoding_is_refused(write, content, encoding, message):
    with pytest.raises(DataError, match=message):
        read_table(write(content), encoding=encoding)


@pytest.mark.parametrize("encoding", ["nonsense", "hex", "", 5, "utf\0"])
def test_the_encoding_is_checked(write, encoding):
    with pytest.raises(ValueError, match="encoding must be one that Python knows"):
        read_table(write(ROWS), encoding=encoding)


@pytest.mark.parametrize("comment", ["##", "é", "1", "-", '"', "\n", ",", 7])
def test_the_comment_is_checked(write, comment):
    with pytest.raises(ValueError, match="comment (must be one ASCII|cannot be)"):
        read_table(write(ROWS), delimiter=",", comment=comment)


def test_lines_of_comment(write):
    path = write("# made by hand\n" + ROWS + "# the end, or not\n")
    with pytest.raises(DataError, match=r"is line 1 a comment \(--comment '#'\)\?"):
        read_table(path)
    table = read_table(path, comment="#")
    same_as_rows(table)
    assert table.place(0) == "line 3"


# ---- units --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cells", "unit", "numbers"),
    [
        (["12%", "-3.5 %", "0"], "%", [12, -3.5, 0]),
        (["$1.5", "-$2", "$-3", "$ 4"], "$", [1.5, -2, -3, 4]),
        (["EUR 5", "6EUR", "\u22127 EUR"], "EUR", [5, 6, -7]),
        (["1e-3 kg", "", "2.5kg", "NA"], "kg", [1e-3, np.nan, 2.5, np.nan]),
        (["5€", "$6", "7 %"], "%,€,$", [5, 6, 7]),
    ],
)
def test_units(write, cells, unit, numbers):
    text = "x,y\n" + "".join(f'"{cell}",{i}\n' for i, cell in enumerate(cells))
    path = write(text)
    table = read_table(path, units=unit.split(","), **KEEP)
    np.testing.assert_array_equal(table.values[:, 0], numbers)
    assert not table.text
    with pytest.raises(DataError, match="'x'"):
        read_table(path, missing="keep", categorical=()) if unit != "kg" else read_table(path)
    assert read_table(path, categorical=["x"], units=unit.split(","), missing="keep").text


def test_units_with_other_marks(write):
    path = write('x;y\n"1.234,5 €";1\n-€ 2;0\n', "data.csv")
    table = read_table(path, units=["€"], decimal=",", thousands=".", delimiter=";")
    assert table.values[:, 0].tolist() == [1234.5, -2]


@pytest.mark.parametrize("cells", [["5%", "large", "small", "tiny"], ["--5%", "5%%", "%", "% 5 %"]])
def test_texts_with_units_that_are_no_numbers(write, cells):
    path = write("x,y\n" + "".join(f"{cell},{i}\n" for i, cell in enumerate(cells)))
    assert read_table(path, units=["%"]).text[0].tolist() == cells


def test_a_word_beside_numbers_with_units_is_refused(write):
    with pytest.raises(DataError, match="1 text in a column of numbers, 'much' .in line 3."):
        read_table(write("x,y\n5%,1\nmuch,2\n7%,3\n"), units=["%"])


@pytest.mark.parametrize("unit", ["", "5", "a b", "-", ".", 7])
def test_units_are_checked(write, unit):
    with pytest.raises(ValueError, match="units must be texts without digits"):
        read_table(write(ROWS), units=[unit])


# ---- compressed text ----------------------------------------------------------------------


def zstd(content):
    compressor = pytest.importorskip("zstandard").ZstdCompressor(write_checksum=True)
    return compressor.compress(content)


COMPRESS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd}


@pytest.mark.parametrize("ending", COMPRESS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_compressed_text(write, ending, encoding):
    content = ROWS.encode(encoding)
    same_as_rows(read_table(write(COMPRESS[ending](content), "data.csv" + ending)))
    pieces = COMPRESS[ending](content[:20]) + COMPRESS[ending](content[20:])
    same_as_rows(read_table(write(pieces, "two.csv" + ending)))
    rows = b"x,y\n" + b"".join(b"%d,%d\n" % (i, i % 7) for i in range(50_000))
    table = read_table(write(COMPRESS[ending](rows), "long.csv" + ending.upper()))
    assert table.values[:, 0].tolist() == list(range(50_000))


@pytest.mark.parametrize("ending", COMPRESS)
@pytest.mark.parametrize("fault", ["cut", "wrong", "other"])
def test_damaged_compressed_text_is_refused(write, ending, fault):
    content = COMPRESS[ending](b"".join(b"%d,%d\n" % (i, i * i % 977) for i in range(20_000)))
    damaged = {
        "cut": content[:-9],
        "wrong": content[:200] + bytes(b ^ 255 for b in content[200:230]) + content[230:],
        "other": b"a,b\n1,2\n",
    }[fault]
    ragged = "|1 cell; line 1 has 2" if (ending, fault) == (".zst", "wrong") else ""
    with pytest.raises(DataError, match="the compressed file is damaged: " + ragged):
        read_table(write(damaged, "data.csv" + ending))


def test_padding_and_memory_of_xz_files(write):
    first, second = (lzma.compress(part.encode()) for part in (ROWS[:20], ROWS[20:]))
    padded = first + bytes(8) + second + bytes(4)
    same_as_rows(read_table(write(padded, "data.csv.xz")))
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 28}]
    greedy = lzma.compress(ROWS.encode(), filters=filters)
    with pytest.raises(DataError, match="damaged: Memory usage limit exceeded"):
        read_table(write(greedy, "data.csv.xz"))


@given(st.binary(max_size=60), st.sampled_from(list(COMPRESS)), st.integers(0, 60))
def test_any_bytes_in_compressed_files(tmp_path_factory, content, ending, at):
    path = tmp_path_factory.mktemp("any") / f"data.csv{ending}"
    whole = COMPRESS[ending](b"a,b\n1,2\n3,4\n")
    path.write_bytes(whole[:at] + content + whole[at + len(content) :])
    try:
        assert read_table(path).n_rows > 0
    except DataError as error:
        assert str(path) in str(error)


# ---- Parquet and Arrow --------------------------------------------------------------------


def arrow_columns():
    pa = pytest.importorskip("pyarrow")
    days = [dt.date(2024, 1, 2), None, dt.date(2024, 2, 29)]
    return pa.table({
        "age": pa.array([12.0, None, 14.5]), "n": pa.array([3, 4, 5], pa.int8()),
        "plan": pa.array(["basic", None, "pro"]).dictionary_encode(), "joined": days,
        "paid": [True, None, False], "price": pa.array([1.5, 2.5, 3.5], pa.float32()),
    })  # fmt: skip


CSV = """age,n,plan,joined,paid,price
12,3,basic,2024-01-02,true,1.5
,4,,,,2.5
14.5,5,pro,2024-02-29,false,3.5
"""


def write_arrow(table, path):
    import pyarrow as pa
    from pyarrow import feather, parquet

    if path.suffix in (".parquet", ".pq"):
        parquet.write_table(table, path)
    elif path.suffix == ".feather":
        feather.write_feather(table, path)
    elif path.suffix == ".arrow":
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table)
    else:
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    return path


@pytest.mark.parametrize("ending", ["parquet", "pq", "feather", "arrow", "ipc"])
def test_parquet_and_arrow_files(tmp_path, write, ending):
    path = write_arrow(arrow_columns(), tmp_path / f"data.{ending}")
    table, text = read_table(path, **KEEP), read_table(write(CSV), **KEEP)
    assert table.names == text.names and table.target.tolist() == text.target.tolist()
    np.testing.assert_array_equal(table.values, text.values)
    np.testing.assert_array_equal(table.dates[3], text.dates[3])
    assert {i: each.tolist() for i, each in table.text.items()} == {
        i: each.tolist() for i, each in text.text.items()
    }
    chosen = read_table(path, target="n", drop=["age,paid"], categorical=["price"], **KEEP)
    assert chosen.names == ("plan", "joined", "price") and chosen.target.tolist() == [3, 4, 5]
    assert chosen.text[2].tolist() == ["1.5", "2.5", "3.5"] and chosen.n_columns == 6
    known = {"plan": ("basic", "pro"), "paid": ("False", "True")}
    options = {"categorical": known, "dated": ["joined"], "known": known, "keep": ["n", "plan"]}
    for source in (path, write(CSV)):
        new = read_features(source, ("paid", "joined", "age", "plan"), **options, **KEEP)
        assert new.text[0].tolist() == ["True", None, "False"]
        assert new.text[3].tolist() == ["basic", None, "pro"]
        assert np.isnat(new.dates[1]).tolist() == [False, True, False]
        np.testing.assert_array_equal(new.values[:, 2], [12, np.nan, 14.5])
        assert {name: cells.tolist() for name, cells in new.kept.items()} == {
            "n": ["3", "4", "5"],
            "plan": ["basic", "", "pro"],
        }
    assert read_features(path, **KEEP).names == text.names + ("price",)


def test_what_is_wrong_with_a_parquet_file(tmp_path):
    table = arrow_columns()
    path = write_arrow(table, tmp_path / "data.parquet")
    with pytest.raises(DataError, match="problems in 4 columns\n  column 'age': 1 missing value"):
        read_table(path)
    with pytest.raises(DataError, match="column 'plan': 1 cell with an unknown category .in row 3"):
        read_features(path, ("plan",), categorical=["plan"], known={"plan": ["basic"]}, **KEEP)
    with pytest.raises(DataError, match="missing: 'rooms'"):
        read_features(path, ("age", "rooms"), **KEEP)
    with pytest.raises(DataError, match="no column 'ages'; .* did you mean 'age'"):
        read_table(path, target="ages")
    with pytest.raises(DataError, match="takes 144 bytes in memory; the limit is 100"):
        read_table(path, **KEEP, max_bytes=100)
    with pytest.raises(DataError, match="column 'age': 1 missing value .in row 2.; fill them in"):
        read_table(path, target="age", **KEEP)
    text = read_table(path, missing="keep")
    assert text.text[3].tolist() == ["2024-01-02", None, "2024-02-29"]


@pytest.mark.parametrize("ending", ["parquet", "feather", "arrow"])
def test_damaged_files_are_refused(tmp_path, ending):
    path = write_arrow(arrow_columns(), tmp_path / f"data.{ending}")
    whole = path.read_bytes()
    for content in (b"", b"x" * 100, whole[: len(whole) // 2], b"\xff" * 40):
        path.write_bytes(content)
        with pytest.raises(DataError, match="the file is damaged, or not of its kind"):
            read_table(path)
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / f"none.{ending}")


def test_columns_and_an_index_of_arrow(tmp_path):
    pa, pd = pytest.importorskip("pyarrow"), pytest.importorskip("pandas")
    frame = pd.DataFrame({"x": [1.0, 2.0], "y": ["a", "b"]}, index=[7, 9])
    frame.to_parquet(tmp_path / "data.parquet")
    table = read_table(tmp_path / "data.parquet")
    assert table.names == ("x",) and table.target.tolist() == ["a", "b"]
    assert table.notes[0] == "column 3 ('__index_level_0__') is an index of pandas and is left out"
    assert read_features(tmp_path / "data.parquet", **KEEP).names == ("x", "y")
    twice = pa.table([[1.0], [2.0]], ["x", "x"])
    with pytest.raises(DataError, match="two columns are both named 'x'"):
        read_table(write_arrow(twice, tmp_path / "twice.parquet"))
    for empty in (pa.table({}), pa.table({"x": pa.array([], pa.float64())})):
        with pytest.raises(DataError, match="the table has 0 rows and . columns"):
            read_table(write_arrow(empty, tmp_path / "empty.parquet"))


# ---- Excel --------------------------------------------------------------------------------


def workbook(path, *sheets):
    openpyxl = pytest.importorskip("openpyxl")
    pytest.importorskip("python_calamine")
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets:
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


ROWS_OF_EXCEL = [
    ["age", "code", "plan", "joined", "paid", "price"],
    [12, "007", "basic, or so", dt.datetime(2024, 1, 2), True, 0.1],
    [None, "012", "two\nlines", None, None, 1e-7],
    ["NA", "120", None, dt.datetime(2024, 2, 29, 12, 30), False, -12345678],
]


def test_sheets_of_excel_follow_the_rules_of_csv_files(tmp_path):
    path = workbook(tmp_path / "data.xlsx", ("People", ROWS_OF_EXCEL), ("Empty", []))
    table = read_table(path, **KEEP)
    assert table.names == ("age", "code", "plan", "joined", "paid")
    np.testing.assert_array_equal(table.values[:, 0], [12, np.nan, np.nan])
    assert table.target.tolist() == [0.1, 1e-7, -12345678]
    assert table.text[1].tolist() == ["007", "012", "120"]
    assert table.text[2].tolist() == ["basic, or so", "two lines", None]
    assert table.text[4].tolist() == ["True", None, "False"]
    np.testing.assert_array_equal(
        table.dates[3], np.array(["2024-01-02", "NaT", "2024-02-29T12:30"], "M8[us]")
    )
    assert [table.place(row) for row in range(3)] == ["line 2", "line 3", "line 4"]
    assert "the file has 2 sheets; 'People' is read (--sheet names another)" in table.notes
    assert "column 1 ('age'): 1 cell, 'NA' (in line 4), is read as missing" in table.notes
    features = read_features(path, ("plan", "age"), categorical=["plan"], keep=["code"], **KEEP)
    assert features.kept["code"].tolist() == ["007", "012", "120"]
    for sheet in ("People", "1"):
        assert not any("sheets" in note for note in read_table(path, sheet=sheet, **KEEP).notes)
    with pytest.raises(DataError, match="no sheet 'people'; there are 2: 'People', 'Empty'"):
        read_table(path, sheet="people")
    with pytest.raises(DataError, match="the sheet is empty"):
        read_table(path, sheet="2")
    with pytest.raises(DataError, match="the file, decompressed,.* takes .* the limit is 1000"):
        read_table(path, max_bytes=1000)


def test_a_sheet_that_does_not_begin_in_the_corner(tmp_path):
    rows = [[], [None, None, "x", "y"], [None, None, 1, dt.timedelta(hours=30)], [],
            [None, None, 2, dt.timedelta(hours=1)], [None, None, "some", None]]  # fmt: skip
    path = workbook(tmp_path / "data.xlsx", ("A", rows))
    with pytest.raises(DataError, match=r"'x'\): 1 text in a column of numbers, 'some' .in line 6"):
        read_table(path, target="x", **KEEP)
    short = workbook(tmp_path / "short.xlsx", ("A", rows[:-1]))
    table = read_table(short, target="x")
    assert table.values[:, 0].tolist() == [108000, 3600] and table.place(1) == "line 5"
    assert table.notes == ("durations are read in seconds",)


def test_damaged_excel_files_are_refused(tmp_path, write):
    path = workbook(tmp_path / "data.xlsx", ("A", ROWS_OF_EXCEL))
    for content in (b"", b"x" * 300, path.read_bytes()[:400]):
        with pytest.raises(DataError, match="the file is damaged"):
            read_table(write(content, "bad.xlsx"))
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "none.xlsx")
    with pytest.raises(DataError, match="--sheet A does not apply"):
        read_table(write(ROWS), sheet="A")


@pytest.mark.parametrize(
    ("name", "package"),
    [("a.parquet", "pyarrow"), ("a.xlsx", "python_calamine"), ("a.csv.zst", "zstandard")],
)
def test_a_missing_package_is_named(write, monkeypatch, name, package):
    load = builtins.__import__

    def missing(wanted, *rest):
        if wanted.partition(".")[0] == package:
            raise ImportError(wanted)
        return load(wanted, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match='run pip install "fastbp.table."'):
        read_table(write(b"", name))


def test_a_file_in_memory_is_no_path():
    with pytest.raises(TypeError):
        read_table(io.BytesIO(b"a,b\n1,2\n"))
