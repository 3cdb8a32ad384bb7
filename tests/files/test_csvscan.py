"""The .csv reader of the engine: cells against the csv module, numbers against float()."""

import csv
import gzip
import io
import os
import re
import struct
import threading
import tracemalloc
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbp._core import CELL_KINDS, CsvPass, CsvTexts
from fastbp.errors import DataError
from fastbp.tabular import _bytes, _scan, read_table
from fastbp.tabular._scan import Format, scan

pytestmark = pytest.mark.once

HEADER = Path(__file__).parents[2] / "csrc" / "text" / "cell.h"
KINDS = list(CELL_KINDS)


def read_cell(text, decimal=".", thousands=""):
    """(kind, value) of one cell."""
    block = bytearray(text.encode() + b"\n")
    values, lines, kinds = np.empty((1, 1)), np.empty(1, np.int64), np.empty(1, np.uint8)
    counts, first = np.zeros((2, 1, len(KINDS)), np.int64)
    reader = CsvPass("|", decimal, thousands, 1)
    found = reader.numbers(block, 0, len(block), True, values, lines, counts, first, kinds)
    assert found == (1, len(block), "") and lines[0] == 1
    return KINDS[kinds[0]], values[0, 0].item()


def bits(number):
    return struct.pack("d", number)


def cells(path, **format):
    found = scan(path, Format(**format))
    texts = found.texts(range(len(found.head)))
    columns = [words[codes] for words, codes in (texts[j] for j in range(len(found.head)))]
    assert found.head == tuple(column[0] for column in columns)
    return [list(row) for row in zip(*columns, strict=True)], found


def test_kinds_of_cells_agree_with_the_engine():
    listed = re.findall(r"FASTBP_CELL_([A-Z]+) = (\d+)", HEADER.read_text("utf-8"))
    assert {name.lower(): int(value) for name, value in listed} == CELL_KINDS


# ---- numbers ------------------------------------------------------------------------------

GRAMMAR = {
    "digits": "0 7 12 9007199254740993",
    "number": "-0 +5 .5 5. 0.5 -12.25 1e-05 2.5e+03 1.5E3 .5e3 1e+2 -1e5 1e+999",
    "code": "1E2 34e10 0e5 1e999",
    "zeros": "007 00 0123",
    "padded": "-007 01.5 00e1 +00",
    "text": "1_0 nan inf Infinity 0x1F 1e 1e+ e5 . - + .e5 1.2.3 1-2 --1 1,5 12% $3 1e5.0 "
    "\u20135 \u2212 \u2212-5 \u2212\u22125",
}


@pytest.mark.parametrize("kind", GRAMMAR)
def test_the_grammar_of_numbers(kind):
    for text in GRAMMAR[kind].split():
        found, value = read_cell(text)
        assert found == kind, text
        assert np.isnan(value) if kind == "text" else bits(value) == bits(float(text)), text


@pytest.mark.parametrize(
    ("text", "format", "value"),
    [
        ("\u22125", {}, -5.0),
        ("\u22120.5e-3", {}, -0.5e-3),
        ("\u22121.234,5", {"decimal": ",", "thousands": "."}, -1234.5),
    ],
)
def test_the_minus_sign_of_unicode_is_read(text, format, value):
    assert read_cell(text, **format) == ("number", value)


def test_blanks_of_unicode_around_a_number_do_not_count():
    """All that str.strip removes, and no other character."""
    blanks = [chr(c) for c in range(0x110000) if chr(c).isspace()]
    for blank in blanks:
        inside = blank if blank not in "\r\n" else ""  # which would end the cell
        assert read_cell(f"{inside}27{inside}") == ("digits", 27.0), ascii(blank)
        assert read_cell(f"7\u2003{inside}a")[0] == "text"
        assert read_cell(f'"{blank}"')[0] == "empty", ascii(blank)
    assert read_cell("\u00a0 \u2212007\u3000\u2003") == ("padded", -7.0)
    assert read_cell("\u00a01.234,5\u00a0", ",", ".") == ("number", 1234.5)
    assert read_cell("\u00a01\u00a0234\u00a0", ".", " ") == ("number", 1234.0)
    others = ["\0", "\x1b", "\x7f", "\x84", "\u167f", "\u1681", "\u180e", "\u200b", "\u2027"]
    others += ["\u202e", "\u2030", "\u2060", "\u2fff", "\u3001", "\ufeff", "\u00e9"]
    for other in others:
        assert not other.isspace()
        for text in (other, f"27{other}", f"{other}27"):
            assert read_cell(text)[0] == "text", ascii(text)


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 25))
def test_doubles_are_read_as_by_python(number, digits):
    for text in (repr(number), f"{number:.{digits}e}", f"{number:.{digits}f}"):
        assert bits(read_cell(text)[1]) == bits(float(text)), text


@given(
    st.text("0123456789", min_size=1, max_size=30),
    st.integers(0, 30),
    st.integers(-345, 330),
)
def test_decimal_digits_are_read_as_by_python(digits, point, exponent):
    for text in (digits, f"{digits[:point]}.{digits[point:]}e{exponent:+d}"):
        assert bits(read_cell(text)[1]) == bits(float(text)), text


@given(st.integers(2**52, 2**53 - 1), st.integers(-1074, 970), st.sampled_from([-1, 0, 1]))
def test_numbers_halfway_between_two_doubles(m, e, side):
    """(m + 1/2) 2^e with all its digits, and numbers that differ from it in about digit 1100."""
    exact = Fraction(2 * m + 1) * Fraction(2) ** (e - 1)
    scale = 10 ** max(0, 1 - e)
    digits = str(exact.numerator * scale // exact.denominator)  # exact, because 2 divides 10
    digits = str(int(digits) * 10**30 + side)
    text = f"{digits}e-{max(0, 1 - e) + 30}"
    assert bits(read_cell(text)[1]) == bits(float(text))


@pytest.mark.parametrize("name", ["de_DE.UTF-8", "fr_FR.UTF-8", "C.UTF-8"])
def test_numbers_do_not_depend_on_the_locale(name):
    import locale

    old = locale.setlocale(locale.LC_NUMERIC)
    try:
        locale.setlocale(locale.LC_NUMERIC, name)
    except locale.Error:
        pytest.skip(f"this system has no locale {name}")
    try:
        # needs a larger power of ten than the engine has, so it calls strtod
        assert read_cell("1.2345678901234567e-200") == ("number", 1.2345678901234567e-200)
    finally:
        locale.setlocale(locale.LC_NUMERIC, old)


@pytest.mark.parametrize(
    "decimal, thousands, text, value",
    [
        (",", "", "1,5", 1.5),
        (",", "", "-0,25e+1", -2.5),
        (",", "", "12", 12),
        (",", ".", "1.234,5", 1234.5),
        (",", ".", "1234,5", 1234.5),
        (",", ".", "1.234.567", 1234567),
        (".", ",", "1,200", 1200),
        (".", "'", "1'200.5", 1200.5),
        (".", "'", "1\u2019200.5", 1200.5),
        (".", "_", "1_200", 1200),
        (".", " ", "1 200", 1200),
        (",", " ", "1\u00a0200,5", 1200.5),
        (",", " ", "1\u202f200\u2009300", 1200300),
    ],
)
def test_decimal_and_thousands(decimal, thousands, text, value):
    kind = "digits" if text.isdigit() else "number"
    assert read_cell(text, decimal, thousands) == (kind, value)


@pytest.mark.parametrize(
    "decimal, thousands, text",
    [
        (",", "", "1.5"),
        (",", "", "1,5,0"),
        (",", ".", "12.34"),
        (",", ".", "1.23.456"),
        (",", ".", "1234.567"),
        (",", ".", "1.234.56"),
        (".", ",", ",200"),
        (".", ",", "1.5,000"),
        (".", " ", "1  200"),
    ],
)
def test_separators_in_wrong_places_are_not_numbers(decimal, thousands, text):
    assert read_cell(text, decimal, thousands)[0] == "text"


@pytest.mark.parametrize(
    "options, message",
    [
        ({"delimiter": ";;"}, "delimiter must be one ASCII character"),
        ({"delimiter": '"'}, "delimiter must be"),
        ({"delimiter": "\u00a7"}, "delimiter must be"),
        ({"decimal": ";"}, "decimal must be '.' or ','"),
        ({"decimal": ""}, "decimal must be"),
        ({"thousands": "x"}, "thousands must be one of"),
        ({"thousands": None}, "thousands must be one of"),
        ({"thousands": "."}, "decimal and thousands are both '.'"),
        ({"delimiter": " ", "thousands": " "}, "a blank cannot be"),
    ],
)
def test_contradictory_formats_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Format(**options)


# ---- texts --------------------------------------------------------------------------------

# Cells of a column: two texts of each size around those that the engine stores in another way,
# others with quotes and blanks of Unicode, numbers and empty cells.
TEXTS = st.lists(
    st.sampled_from(
        [
            *(size * letter for size in (1, 7, 8, 9, 15, 16, 17, 40) for letter in "ab"),
            *('say "so"', '"', "x,y", "\u00fc", "a\u00a0", "\u2003b", "two\nlines", "1,5", "7a"),
            *("", "NA", "na", "12", "-0.5", "007", "1E2"),
        ]
    ),
    min_size=1,
    max_size=40,
)


def written(cells):
    """The cells as quoted cells of a file with one column."""
    doubled = (cell.replace('"', '""') for cell in cells)
    return "".join(f'"{cell}"\n' for cell in doubled).encode()


@given(TEXTS, st.booleans())
def test_texts_of_the_first_pass_are_those_of_a_further_one(tmp_path_factory, cells, limited):
    path = tmp_path_factory.mktemp("texts") / "data.csv"
    path.write_bytes(written(["head", *cells]))
    with pytest.MonkeyPatch.context() as patch:
        if limited:  # no column keeps its texts, then
            patch.setattr(_scan, "_TEXTS", -path.stat().st_size)
        found = scan(path, Format())
        (others, codes), (texts, all_codes) = found.others([0])[0], found.texts([0])[0]
        short = found.short(0, others)
    expected = np.array(["head", *(cell.strip() for cell in cells)], object)
    number = ~np.isnan(found.values[:, 0])
    assert (codes[number] == -1).all() and codes.dtype == all_codes.dtype == np.int32
    assert others[codes[~number]].tolist() == expected[~number].tolist()
    assert texts[all_codes].tolist() == expected.tolist()
    assert [others[i] for i in short] == [text for text in others if len(text) <= 4]
    assert {*codes[~number].tolist()} == {*range(len(others))}  # each text is that of a cell


def test_many_distinct_texts(tmp_path):
    """Tables grow; texts whose bytes end alike or that differ in one byte are told apart."""
    rng = np.random.default_rng(0)
    cells = [f"{i:0{3 + i % 30}}x" for i in range(20_000)]
    cells = [cells[i] for i in np.append(rng.permutation(20_000), rng.integers(20_000, size=9000))]
    path = tmp_path / "data.csv"
    path.write_text("name\n" + "\n".join(cells))
    texts, codes = scan(path, Format()).others([0])[0]
    assert len(texts) == len({*texts}) == 20_001
    assert texts[codes].tolist() == ["name", *cells]
    first = np.sort(np.unique(codes, return_index=True)[1])
    assert (codes[first] == np.arange(20_001)).all()  # in the order of the file


@pytest.mark.parametrize("texts", [CsvTexts(2), None])
def test_texts_of_another_number_of_columns_are_refused(texts):
    values, lines, kinds = np.empty((1, 3)), np.empty(1, np.int64), np.empty(3, np.uint8)
    counts, first = np.zeros((2, 3, len(KINDS)), np.int64)
    block, reader = bytearray(b"a,b,c\n"), CsvPass(",", ".", "", 3)
    with pytest.raises(ValueError, match="expected the texts of 3 columns"):
        reader.texts(block, 0, 6, True, (0, 1, 2), texts, np.empty((1, 3), np.int64))
    if texts is not None:
        with pytest.raises(ValueError, match="expected the texts of 3 columns"):
            reader.numbers(block, 0, 6, True, values, lines, counts, first, kinds, texts)
        with pytest.raises(ValueError, match="expected values of 2 columns"):
            texts.take(0, values, np.empty(1, np.int32))


def test_texts_without_memory_are_a_memory_error(tmp_path, monkeypatch):
    path = tmp_path / "data.csv"
    path.write_text("1\na\n")
    found = scan(path, Format())

    def closed(n, _):
        texts = CsvTexts(n)
        texts.take(0)
        return texts

    monkeypatch.setattr(_scan, "CsvTexts", closed)
    with pytest.raises(MemoryError, match=r"data\.csv: there is no memory for its texts"):
        found.texts([0])


# ---- cells --------------------------------------------------------------------------------

WORDS = st.text('ab1.,;" \n\r\t\u00fc', max_size=6).map("x".__add__)


@given(
    rows=st.integers(1, 4).flatmap(
        lambda n: st.lists(st.lists(WORDS, min_size=n, max_size=n), min_size=1, max_size=5)
    ),
    delimiter=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]),
    block=st.sampled_from([1, 2, 3, 7, 1000]),
)
def test_cells_agree_with_the_csv_module(tmp_path_factory, rows, delimiter, quoting, block):
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quoting=quoting).writerows(rows)
    path = tmp_path_factory.mktemp("cells") / "data.csv"
    path.write_bytes(text.getvalue().encode())
    text.seek(0)
    expected = [[c.strip() for c in row] for row in csv.reader(text, delimiter=delimiter)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_bytes, "BLOCK", block)
        assert cells(path, delimiter=delimiter)[0] == expected


@given(
    st.text('12.,"\n\r -e\u00a0', max_size=60).map(str.encode) | st.binary(max_size=60),
    st.sampled_from([",", " "]),
    st.integers(1, 9),
)
def test_the_size_of_blocks_does_not_change_the_result(tmp_path_factory, content, delimiter, block):
    path = tmp_path_factory.mktemp("blocks") / "data.csv"
    path.write_bytes(content)

    def outcome():
        try:
            rows, found = cells(path, delimiter=delimiter)
        except DataError as error:
            return str(error)
        return rows, found.values.tobytes(), found.lines.tolist(), found.counts.tolist()

    whole = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_bytes, "BLOCK", block)
        assert outcome() == whole


@pytest.mark.parametrize("delimiter", "5eE-+")
def test_a_delimiter_that_numbers_also_have_separates_cells(delimiter):
    """Values are read by a shortcut for plain numbers; places of cells never are."""
    text = f"1{delimiter}2\n{delimiter}3\n".encode()
    values, lines, kinds = np.empty((2, 2)), np.empty(2, np.int64), np.empty(2, np.uint8)
    counts, first = np.zeros((2, 2, len(KINDS)), np.int64)
    reader = CsvPass(delimiter, ".", "", 2)
    found = reader.numbers(bytearray(text), 0, len(text), True, values, lines, counts, first, kinds)
    assert found == (2, len(text), "")
    assert np.array_equal(values, [[1, 2], [np.nan, 3]], equal_nan=True)


def read_numbers(block, stop, *, last):
    """Read bytes 0 … stop of a block with one column: (lines of the records, bytes used)."""
    values, lines, kinds = np.empty((9, 1)), np.empty(9, np.int64), np.empty(1, np.uint8)
    counts, first = np.zeros((2, 1, len(KINDS)), np.int64)
    reader = CsvPass(",", ".", "", 1)
    n, used, fault = reader.numbers(
        bytearray(block), 0, stop, last, values, lines, counts, first, kinds
    )
    assert fault == ""
    return lines[:n].tolist(), used


def test_a_carriage_return_ends_the_last_line_but_not_a_block():
    """What follows in memory is not a part of the block. A block may end within a line break."""
    assert read_numbers(b"1\r\n", 2, last=True) == ([1], 2)
    assert read_numbers(b"1\n2\r\n", 4, last=False) == ([1], 2)
    assert read_numbers(b"1\n\r\n", 3, last=False) == ([1], 2)
    assert read_numbers(b"1\n\r\n2\n", 6, last=False) == ([1, 3], 6)


def test_comments_are_skipped(tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes(b'# 1,2\n 1,"# 3"\r\n  #\n\n2,#x\n#" \r3,c\n#')
    rows, found = cells(path, comment="#")
    assert rows == [["1", "# 3"], ["2", "#x"], ["3", "c"]] and found.lines.tolist() == [2, 5, 7]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_bytes, "BLOCK", 1)
        assert cells(path, comment="#")[0] == rows
    path.write_bytes(b"1\n#" + b"x" * 200_000 + b"\n2\n")
    with pytest.raises(DataError, match="line 2: a cell has more than 131,072 bytes"):
        cells(path, comment="#")


def test_blanks_before_a_record_are_skipped():
    assert read_numbers(b"  ", 2, last=False) == ([], 2)
    assert read_numbers(b"1\n  2\n \n  3", 11, last=False) == ([1, 2], 10)
    assert read_numbers(b"1\n  2\n \n  3", 11, last=True) == ([1, 2, 4], 11)


def test_spaces_before_and_after_quotes(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text('1.5, "x, y" ,\t"7"\n')
    rows, found = cells(path)
    assert rows == [["1.5", "x, y", "7"]] and found.values[0, [0, 2]].tolist() == [1.5, 7]


@pytest.mark.parametrize("blank", [" ", "\t", "\v", "\f"])
def test_blanks_around_cells_are_dropped(tmp_path, blank):
    path = tmp_path / "data.csv"
    path.write_text(f'{blank}1.5{blank},{blank}"x, y"{blank},7{blank}\n{blank}\n')
    rows, found = cells(path)
    assert rows == [["1.5", "x, y", "7"]] and found.values[0, [0, 2]].tolist() == [1.5, 7]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_several_spaces_between_cells(tmp_path, end):
    path = tmp_path / "data.csv"
    path.write_bytes(end.join(["  1   2\t3 ", "", '"a b"  5 "6"', ""]).encode())
    rows, found = cells(path, delimiter=" ")
    assert rows == [["1", "2", "3"], ["a b", "5", "6"]] and found.lines.tolist() == [1, 3]


def test_line_numbers_count_empty_lines_and_lines_inside_quotes(tmp_path):
    path = tmp_path / "data.csv"
    path.write_bytes(b'\n\n1,"a\nb\r\nc\rd"\n   \n2,e\r3,f\r\n4,g')
    assert cells(path)[1].lines.tolist() == [3, 8, 9, 10]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_read_once(tmp_path):
    path = tmp_path / "data.csv"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=("1,a\n2,b\n",))
    writer.start()
    assert cells(path)[0] == [["1", "a"], ["2", "b"]]
    writer.join()


def test_a_file_that_changes_between_passes(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("1,a\n2,b\n")
    found = scan(path, Format())
    assert found.texts([1])[1][0].tolist() == ["a", "b"]  # of the first pass
    path.write_text("1,a\n2,b\n3,c\n")
    with pytest.raises(DataError, match="the file changed while it was read"):
        found.texts([0])


@pytest.mark.parametrize(
    "content, options, message",
    [
        (b"", {}, "the file is empty"),
        (b" \n\n  \n", {}, "the file is empty"),
        (b"1,2\n3\n", {}, "line 2: 1 cell; line 1 has 2"),
        (b"\n1,2\n\n3,4,5\n", {}, "line 4: 3 cells; line 2 has 2"),
        (b'1,"a"b\n', {}, "line 1: there is text after a closing quote"),
        (b'1,2\n3,"4\n5,6', {}, "line 2: a quote is not closed"),
        (b'1,2\n"' + b"3,4\n" * 40_000, {}, "line 2: a cell has more than 131,072 bytes"),
        (b"1,2\n" + b"3" * 131_073 + b",4\n", {}, "line 2: a cell has more than 131,072 bytes"),
        (b"1," * 100_000 + b"1", {}, "100,001 columns; at most 100,000"),
        (b"\xff\xfe1\x00\x00\xd8", {}, "line 1: expected utf-16 text: unexpected end"),
        (b"a\0b,2\n", {}, "line 1, column 1: it contains a NUL byte, .*--encoding utf-16-le"),
        (b"a,2\nb\0,2\n", {"encoding": "latin-1"}, "line 2, column 1: it contains a NUL .* has$"),
        ("a,2\nb\0,2\n".encode("utf-16"), {}, "line 2, column 1: it contains a NUL byte, .* has$"),
        (b"a,2\n\xe9,3\n", {}, "line 2, column 1: expected UTF-8 text"),
        (b"1,5,2,5\n", {"decimal": ","}, "no number contains ',', which also separates cells"),
    ],
)  # fmt: skip
def test_bad_files(tmp_path, content, options, message):
    path = tmp_path / "data.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        cells(path, **options)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("n", [1, 2, 1000])
def test_the_memory_limit(tmp_path, n):
    path = tmp_path / "data.csv"
    path.write_bytes(b"1,2,3\n" * n)
    assert len(scan(path, Format(), max_bytes=24 * n).lines) == n
    with pytest.raises(DataError, match=r"rows or more, float64 of shape .* --max-bytes") as caught:
        scan(path, Format(), max_bytes=24 * n - 1)
    assert str(path) in str(caught.value)


def test_texts_count_against_the_memory_limit(tmp_path):
    """A small compressed file can have many of them."""
    path = tmp_path / "data.csv.gz"
    rows = b"".join(b"%s%d,%d\n" % (b"y" * 10_000, i, i) for i in range(300))
    path.write_bytes(gzip.compress(b"a,b\n" + rows))
    assert path.stat().st_size < 100_000
    found = scan(path, Format(), max_bytes=1_000_000)
    assert np.array_equal(found.values[1:, 1], range(300))  # the texts are not asked for
    message = "its texts would take more than 1000000 bytes in memory, .* --max-bytes 2000000 on"
    for ask in (found.texts, found.others):
        with pytest.raises(DataError, match=message) as caught:
            ask([0])
        assert str(caught.value).startswith(f"{path}: ")
    with pytest.raises(DataError, match=message):
        read_table(path, max_bytes=1_000_000)
    for enough in (10_000_000, 10**30):
        assert len(scan(path, Format(), max_bytes=enough).texts([0])[0][0]) == 301


@pytest.mark.parametrize("before, called", [("\n\n", "its first line"), ("1,2\n", "line 2")])
def test_a_line_counts_against_the_memory_limit(tmp_path, before, called):
    path = tmp_path / "data.csv"
    path.write_text(before + ",".join(["x" * 100_000] * 30))
    with pytest.raises(DataError, match=f": {called} would take more than 1000 bytes in memory"):
        scan(path, Format(), max_bytes=1000)
    with (
        pytest.raises(DataError, match="30 cells; line 1 has 2") if "2" in called else nullcontext()
    ):
        scan(path, Format(), max_bytes=4_000_000)


@pytest.mark.parametrize(
    "content, width",
    [(b"1,2,3,4,5,6,7,8\n" * 20_000, 8), (b"1\n" * 100_000, 1), (b"1," * 9_999 + b"1\n", 10_000)],
)
def test_a_file_needs_the_memory_of_its_numbers(tmp_path, content, width):
    """8 bytes per number and per line, some reserve, and one block; no object per cell."""
    path = tmp_path / "data.csv"
    path.write_bytes(content)
    n_rows = content.count(b"\n")
    tracemalloc.start()
    scan(path, Format())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    arrays = 8 * n_rows * (width + 1)
    of_columns = 600 * width  # names and counts of the columns
    assert peak <= 2.5 * arrays + of_columns + 2 * _bytes.BLOCK
