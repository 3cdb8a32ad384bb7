"""NumPy files: damaged, forged or too large files raise a DataError that names the array."""

import io
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbp._cli.main import main
from fastbp.errors import DataError
from fastbp.tabular import read_features, read_table

pytestmark = pytest.mark.once

GOOD = np.arange(12.0).reshape(4, 3)


def npy(array):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=False)
    return file.getvalue()


def forged(header, data=b"", version=(1, 0), length=None):
    """The bytes of a .npy file with any header."""
    text = header.encode()
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text) if length is None else length)
    return b"\x93NUMPY" + bytes(version) + size + text + data


def header(descr="'<f8'", fortran="False", shape="(4, 3)"):
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n"


@pytest.mark.parametrize(
    "dtype",
    ["?", "i1", "u1", "<i2", ">i4", "u8", "e", "<f4", ">f4", "f8"],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_numbers_of_every_dtype_are_read(tmp_path, dtype, order):
    X = np.array(GOOD % 2 if dtype == "?" else GOOD, dtype, order=order)
    np.save(tmp_path / "a.npy", X)
    np.savez(tmp_path / "stored.npz", X=X)
    np.savez_compressed(tmp_path / "deflated.npz", X=X)
    for name in ("a.npy", "stored.npz", "deflated.npz"):
        table = read_features(tmp_path / name)
        np.testing.assert_array_equal(table.values, X, name)
        assert table.values.dtype == X.dtype, name


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize(
    "text",
    [
        header(),
        '{"shape": (4, 3), "fortran_order": False, "descr": "<f8"}',
        header(shape="(4L, 3L)"),
        header(shape="(4,3)") + " " * 64,
    ],
)
def test_headers_of_other_writers(tmp_path, version, text):
    (tmp_path / "a.npy").write_bytes(forged(text, GOOD.tobytes(), version))
    assert read_features(tmp_path / "a.npy").values.tolist() == GOOD.tolist()


DATA = GOOD.tobytes()
BAD = {
    "empty": (b"", "not in the .npy format"),
    "csv": (b"1,2,3\n4,5,6\n", "not in the .npy format"),
    "only magic": (npy(GOOD)[:6], "not in the .npy format"),
    "version 9": (forged(header(), DATA, (9, 9)), "version 9.9 of .npy; known: 1.0 to 3.0"),
    "raw bytes of size 0": (forged(header("'|V0'", shape="(1099511627776, 3)")), "dtype .V0"),
    "texts of size 0": (forged(header("'<U0'", shape="(1099511627776, 3)")), "dtype <U0"),
    "raw bytes": (forged(header("'|V8'"), DATA), "dtype .V8; expected numbers or strings"),
    "objects": (forged(header("'|O'"), DATA), "Python objects, which only pickle can read"),
    "records": (forged(header("[('a', '<f8')]"), DATA), "got an array of records"),
    "unknown dtype": (forged(header("'<q9'"), DATA), "'<q9', which NumPy does not know"),
    "dtype is a number": (forged(header("8"), DATA), "must describe descr, fortran_order"),
    "dtype is code": (forged(header("print('x')"), DATA), "must describe descr, fortran_order"),
    "shape is a number": (forged(header(shape="12"), DATA), "must describe descr"),
    "shape is a text": (forged(header(shape="'4'"), DATA), "a tuple of whole numbers"),
    "no comma": (forged(header(shape="(12)"), DATA), "a tuple of whole numbers"),
    "negative": (forged(header(shape="(-4, 3)"), DATA), "must describe descr"),
    "33 dimensions": (forged(header(shape="(1," * 1 + "1," * 32 + ")")), "33 dimensions"),
    "fortran_order is 1": (forged(header(fortran="1"), DATA), "must describe descr"),
    "a field twice": (forged(header().replace("fortran_order", "descr"), DATA), "must describe"),
    "not closed": (forged(header()[:-3], DATA), "must describe descr"),
    "deep": (forged("{" * 9000, DATA), "must describe descr"),
    "blanks": (forged("{" + " " * 9000, DATA), "must describe descr"),
    "bytes that are no text": (
        forged(header(), DATA, (3, 0)).replace(b"descr", b"d\xffscr"),
        "is not text",
    ),
    "header of 4 GiB": (forged(header(), DATA, (2, 0), 2**32 - 1), "claims 4294967295 bytes"),
    "header beyond the file": (forged(header(), b"", (1, 0), 9000), "file lacks"),
    "overflow": (
        forged(header(shape="(4294967296, 4294967296)"), DATA),
        "overflows 63 bits",
    ),
    "overflow behind a 0": (
        forged(header(shape="(0, 4294967296, 4294967296)")),
        "overflows 63 bits",
    ),
    "giant": (forged(header(shape="(1000000000, 3)"), DATA), "takes 24000000000 bytes in memory"),
    "cut": (npy(GOOD)[:-1], "takes 96 bytes; 95 follow its header"),
    "more": (npy(GOOD) + b"\0", "takes 96 bytes; 97 follow its header"),
    "booleans of 2": (forged(header("'|b1'"), b"\2" * 12), "booleans other than 0 and 1"),
    "no characters": (forged(header("'<U1'"), b"\0\0\x11\0" * 12), "codes that are not characters"),
    "half a pair": (forged(header("'>U1'"), b"\0\0\xd8\0" * 12), "codes that are not characters"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_array_in_a_npy_file_is_refused(tmp_path, name):
    content, message = BAD[name]
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_table(path)
    assert str(caught.value).startswith(f"{path}: the ")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("name", BAD)
def test_a_bad_array_in_a_npz_file_is_named(tmp_path, name, method):
    content, message = BAD[name]
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("X.npy", content)
        archive.writestr("y.npy", npy(np.arange(4)))
    with pytest.raises(DataError, match=message) as caught:
        read_table(path)
    assert str(caught.value).startswith(f"{path}: ") and "'X'" in str(caught.value)


def archive_of(path, method=zipfile.ZIP_DEFLATED, **members):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_npy", ".npy"), content)
    return path


def test_only_arrays_that_are_used_are_read(tmp_path):
    """The others are damaged, so reading them would raise."""
    good = {"X_npy": npy(GOOD), "y_npy": npy(np.arange(4))}
    path = archive_of(tmp_path / "a.npz", **good, other_npy=b"garbage", README=b"of no array")
    assert read_table(path).n_rows == 4
    path = archive_of(tmp_path / "b.npz", X_npy=npy(GOOD), y_npy=b"garbage")
    assert read_features(path).n_rows == 4


def test_a_member_that_is_not_an_array_is_refused(tmp_path):
    path = archive_of(tmp_path / "a.npz", X=npy(GOOD), y_npy=npy(np.arange(4)))
    with pytest.raises(
        DataError, match=r"a.npz: expected an array X besides .*; the file contains y"
    ):
        read_table(path)
    path = archive_of(tmp_path / "b.npz", X_npy=npy(GOOD), y=b"1234")
    with pytest.raises(DataError, match=r"b.npz: no array 'y'; the file contains X"):
        read_table(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compressions_that_numpy_does_not_write_are_refused(tmp_path, method):
    path = archive_of(tmp_path / "a.npz", method, X_npy=npy(GOOD), y_npy=npy(np.arange(4)))
    with pytest.raises(DataError, match=f"a.npz: the array 'X' is compressed by method {method}"):
        read_table(path)


def with_directory(path, offset, value):
    """The archive with other bytes in the first entry of its directory."""
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\1\2") + offset
    content[at : at + len(value)] = value
    path.write_bytes(content)
    return path


FORGED_DIRECTORIES = {
    "encrypted": (8, b"\1\0", "is encrypted; write it without a password"),
    "strongly encrypted": (8, b"\x41\0", "is encrypted"),
    "patched": (8, b"\x20\0", "is compressed by method"),
    "method 99": (10, b"\x63\0", "is compressed by method 99; expected 0 .stored. or 8"),
    "checksum": (16, b"\0\0\0\0", "is damaged: Bad CRC-32"),
    "size": (24, b"\xff\xff\xff\x7f", "claims 2147483647 bytes, which .* cannot expand to"),
    "offset": (42, b"\1\0\0\0", "is damaged: Bad magic number"),
    "offset outside": (42, b"\xff\xff\xff\x7f", "begin outside the file"),
    "version": (6, b"\xff\0", "not a readable .npz file"),
}


@pytest.mark.parametrize("name", FORGED_DIRECTORIES)
def test_a_forged_directory_is_refused(tmp_path, name):
    offset, value, message = FORGED_DIRECTORIES[name]
    path = archive_of(tmp_path / "a.npz", X_npy=npy(GOOD), y_npy=npy(np.arange(4)))
    with_directory(path, offset, value)
    with pytest.raises(DataError, match=message) as caught:
        read_table(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_an_array_that_appears_twice_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("X.npy", npy(GOOD))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("X.npy", npy(GOOD))
    with pytest.raises(DataError, match="a.npz: the array 'X' appears twice"):
        read_table(path)


def test_files_that_are_not_regular_are_refused(tmp_path):
    (tmp_path / "a.npy").symlink_to("/dev/null")
    with pytest.raises(DataError, match=r"a.npy: expected a regular file"):
        read_table(tmp_path / "a.npy")


@pytest.mark.parametrize("ending", ["npy", "npz"])
@given(st.data())
def test_a_changed_file_gives_a_table_or_a_data_error(tmp_path_factory, ending, data):
    path = tmp_path_factory.mktemp("changed") / f"data.{ending}"
    if ending == "npy":
        path.write_bytes(npy(GOOD))
    else:
        archive_of(path, X_npy=npy(GOOD), y_npy=npy(np.array(["a", "b", "a", "b"])))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    try:
        assert read_table(path).n_rows > 0
    except DataError as error:
        assert str(error).startswith(str(path))


# ---- the memory limit ---------------------------------------------------------------------


@pytest.mark.parametrize("read", [read_table, read_features])
@pytest.mark.parametrize("name", ["a.npz", "a.npy"])
def test_the_error_names_the_limit_and_how_to_raise_it(tmp_path, name, read):
    X = np.zeros((1000, 3))
    np.savez_compressed(tmp_path / "a.npz", X=X, y=np.arange(1000) % 2)
    np.save(tmp_path / "a.npy", X)
    message = "takes 24000 bytes in memory; the limit is 23999.* by max_bytes=24000, or --max-by"
    with pytest.raises(DataError, match=f"{name}: the array.*{message}"):
        read(tmp_path / name, max_bytes=23999)
    assert read(tmp_path / name, max_bytes=24000).n_rows == 1000
    with pytest.raises(TypeError, match="max_bytes must be a whole number"):
        read(tmp_path / name, max_bytes="4G")


def test_the_limit_includes_the_inputs_of_categories(tmp_path, monkeypatch, capsys):
    """Each category is one input, so a small file can give a large matrix."""
    monkeypatch.chdir(tmp_path)
    rows = [f"level{i % 200},{i}.5" for i in range(400)]
    (tmp_path / "a.csv").write_text("\n".join(["text,y", *rows]) + "\n")
    quick = ["--epochs", "1", "--hidden", "2", "-q", "--hold-out", "0"]
    assert main(["train", "a.csv", "--max-bytes", "319999", *quick]) == 1
    message = (
        "a.csv: the network's input, float32 of shape (400, 200), takes 320000 bytes in memory"
    )
    assert message in capsys.readouterr().err
    assert main(["train", "a.csv", "--max-bytes", "320000", *quick]) == 0
    predict = ["predict", "fastbp-model.safetensors", "a.csv", "-o", "out.csv"]
    assert main([*predict, "--max-bytes", "319999"]) == 1
    assert message in capsys.readouterr().err
    assert main(predict) == 0


def test_the_max_bytes_option_of_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.arange(900.0).reshape(300, 3))
    quick = ["--epochs", "1", "--hidden", "2", "-q"]
    assert main(["train", "a.npy", "--max-bytes", "7K", *quick]) == 1
    assert "the limit is 7168: if the machine has them" in capsys.readouterr().err
    assert main(["train", "a.npy", "--max-bytes", "8k", *quick]) == 0
    np.save("b.npy", np.arange(600.0).reshape(300, 2))
    assert main(["predict", "fastbp-model.safetensors", "b.npy", "--max-bytes", "9"]) == 1


@pytest.mark.parametrize("text", ["", "0", "-1K", "1.5G", "4Q", "K"])
def test_bad_values_of_max_bytes_are_refused(capsys, text):
    with pytest.raises(SystemExit):
        main(["train", "a.npy", f"--max-bytes={text}"])
    assert "expected a number of bytes such as 500M or 16G" in capsys.readouterr().err
