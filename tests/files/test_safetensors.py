"""The safetensors layout, and forged headers, which are refused with the reason."""

import json
import os
import stat
import struct

import numpy as np
import pytest

from fastbp import ModelFileError
from fastbp._files.safetensors import open_reader
from fastbp.io import load, read_safetensors, write_safetensors

pytestmark = pytest.mark.once


def raw_file(header, data=b"", *, length=None):
    """A safetensors file with any header, given as a dict or as bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(dtype="F32", shape=(2,), offsets=(0, 8), **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets), **more}


def test_tensors_of_every_dtype_are_read(tmp_path):
    rng = np.random.default_rng(0)
    names = ["float16", "float32", "float64"]
    names += [f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)]
    tensors = {name: rng.integers(0, 100, (2, 3)).astype(name) for name in names}
    tensors |= {
        "scalar": np.array(2.5),
        "empty": np.zeros((0, 4), np.float32),
        "strided": np.arange(12.0).reshape(3, 4)[::2, ::-1],
        "big-endian": np.arange(3, dtype=">f4"),
        "été": np.float32([1]),
    }
    write_safetensors(tmp_path / "t", tensors, {"key": "välue"})
    got, metadata = read_safetensors(tmp_path / "t")
    assert metadata == {"key": "välue"}
    assert got.keys() == tensors.keys()
    for name, array in tensors.items():
        assert got[name].dtype == array.dtype.newbyteorder("="), name
        assert got[name].flags.writeable, name
        np.testing.assert_array_equal(got[name], array, name, strict=name != "big-endian")


def test_data_begin_at_a_multiple_of_8_and_are_aligned(tmp_path):
    path = tmp_path / "t"
    write_safetensors(path, {"a": np.zeros(3, np.uint8), "b": np.ones(2), "c": np.ones(1, "f4")})
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    assert (8 + length) % 8 == 0
    for entry in json.loads(content[8 : 8 + length]).values():
        assert entry["data_offsets"][0] % np.dtype(
            {"F": "float", "U": "uint"}[entry["dtype"][0]] + entry["dtype"][1:]
        ).itemsize == 0  # fmt: skip


@pytest.mark.parametrize(
    ("tensors", "metadata", "error"),
    [
        ({"a": np.zeros(1, complex)}, {}, TypeError),
        ({"a": np.array([None])}, {}, TypeError),
        ({"__metadata__": np.zeros(1)}, {}, ValueError),
        ({}, {"key": 1}, TypeError),
        ({}, {"key": "\ud800"}, ValueError),
    ],
    ids=["complex", "object", "reserved name", "number", "surrogate"],
)
def test_tensors_that_the_layout_cannot_hold_are_refused(tmp_path, tensors, metadata, error):
    with pytest.raises(error):
        write_safetensors(tmp_path / "t", tensors, metadata)
    assert os.listdir(tmp_path) == []


# ---- forged headers -----------------------------------------------------------------------

EIGHT = b"\0" * 8
FORGED = {
    "empty": (b"", "8 bytes"),
    "shorter than a length": (b"\x02\0\0", "the file has 3"),
    "no header": (raw_file(b"", length=2), "2 bytes; 0 follow"),
    "length beyond the file": (raw_file(b"{}", length=3), "claims 3 bytes; 2 follow"),
    "length over the limit": (raw_file(b"{}", length=100_000_001), "at most 100000000"),
    "largest length": (raw_file(b"{}", length=2**64 - 1), "at most 100000000"),
    "zero length": (raw_file(b""), "must begin with {"),
    "leading space": (raw_file(b" {}"), "must begin with {"),
    "byte order mark": (raw_file(b"\xef\xbb\xbf{}"), "must begin with {"),
    "a list": (raw_file(b"[]"), "must begin with {"),
    "not UTF-8": (raw_file(b'{"\xff": 1}'), "not valid UTF-8 JSON"),
    "UTF-16": (raw_file("{}".encode("utf-16-le")), "not valid UTF-8 JSON"),
    "not JSON": (raw_file(b"{'a': 1}"), "not valid UTF-8 JSON"),
    "cut JSON": (raw_file(b'{"a": {'), "not valid UTF-8 JSON"),
    "two objects": (raw_file(b"{}{}"), "not valid UTF-8 JSON"),
    "NUL padding": (raw_file(b"{}\0\0"), "not valid UTF-8 JSON"),
    "deep nesting": (raw_file(b'{"a":' + b"[" * 200_000), "not valid UTF-8 JSON"),
    "huge integer": (raw_file(b'{"a":' + b"9" * 5000 + b"}"), "not valid UTF-8 JSON"),
    "NaN": (raw_file(b'{"a": NaN}'), "NaN is not JSON"),
    "duplicate tensor": (
        raw_file(b'{"a":%s,"a":%s}' % ((json.dumps(tensor()).encode(),) * 2), EIGHT),
        "'a' appears twice",
    ),
    "duplicate field": (
        raw_file(b'{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', EIGHT),
        "'dtype' appears twice",
    ),
    "duplicate metadata": (
        raw_file(b'{"__metadata__":{"k":"1","k":"2"}}'),
        "'k' appears twice",
    ),
    "metadata is a list": (raw_file({"__metadata__": []}), "must be a JSON object; got a list"),
    "metadata is null": (raw_file({"__metadata__": None}), "must be a JSON object; got null"),
    "metadata value": (raw_file({"__metadata__": {"k": 1}}), "strings only; 'k' is a number"),
    "entry is a list": (raw_file({"a": [1]}), "described by a JSON object; got a list"),
    "unknown field": (raw_file({"a": tensor(extra=1)}, EIGHT), "unknown field 'extra'"),
    "no dtype": (raw_file({"a": {"shape": [], "data_offsets": [0, 4]}}), "lacks dtype"),
    "no shape": (raw_file({"a": {"dtype": "F32", "data_offsets": [0, 4]}}), "lacks shape"),
    "no offsets": (raw_file({"a": {"dtype": "F32", "shape": [1]}}), "lacks data_offsets"),
    "unknown dtype": (raw_file({"a": tensor("F99")}, EIGHT), "dtype 'F99'; known: F16"),
    "dtype BF16": (raw_file({"a": tensor("BF16", (4,))}, EIGHT), "dtype 'BF16'"),
    "dtype in small letters": (raw_file({"a": tensor("f32")}, EIGHT), "dtype 'f32'"),
    "dtype is a number": (raw_file({"a": tensor(32)}, EIGHT), "has the dtype 32"),
    "dtype is a list": (raw_file({"a": tensor(["F32"])}, EIGHT), "has the dtype a list"),
    "shape is a number": (
        raw_file({"a": {"dtype": "F32", "shape": 2, "data_offsets": [0, 8]}}, EIGHT),
        "shape of tensor 'a' must be a list",
    ),
    "negative dimension": (raw_file({"a": tensor(shape=(-2,))}, EIGHT), "integers from 0"),
    "two negative dimensions": (raw_file({"a": tensor(shape=(-1, -2))}, EIGHT), "integers from 0"),
    "fractional dimension": (raw_file({"a": tensor(shape=(2.0,))}, EIGHT), "integers from 0"),
    "boolean dimension": (raw_file({"a": tensor(shape=(True, 2))}, EIGHT), "integers from 0"),
    "dimension of 2**63": (raw_file({"a": tensor(shape=(2**63,))}, EIGHT), "integers from 0"),
    "size wraps to 8 in 64 bits": (
        raw_file({"a": tensor(shape=(2**32, 2**30, 2))}, EIGHT),
        "overflows 63 bits",
    ),
    "zero among huge dimensions": (
        raw_file({"a": tensor(shape=(0, 2**62, 2**62), offsets=(0, 0))}),
        "overflows 63 bits",
    ),
    "33 dimensions": (raw_file({"a": tensor(shape=(1,) * 32 + (2,))}, EIGHT), "33 dimensions"),
    "shape too small": (raw_file({"a": tensor(shape=(1,))}, EIGHT), "takes 4 bytes; .* span 8"),
    "shape too large": (raw_file({"a": tensor(shape=(3,))}, EIGHT), "takes 12 bytes; .* span 8"),
    "offsets reversed": (raw_file({"a": tensor(offsets=(8, 0))}, EIGHT), "begin <= end"),
    "one offset": (raw_file({"a": tensor(offsets=(8,))}, EIGHT), "begin, end"),
    "three offsets": (raw_file({"a": tensor(offsets=(0, 8, 8))}, EIGHT), "begin, end"),
    "negative offset": (raw_file({"a": tensor(offsets=(-8, 0))}, EIGHT), "integers from 0"),
    "offset as text": (raw_file({"a": tensor(offsets=("0", "8"))}, EIGHT), "integers from 0"),
    "end beyond the data": (raw_file({"a": tensor()}, b"\0" * 7), "ends at byte 8 .* are 7"),
    "no data": (raw_file({"a": tensor()}), "there are 0"),
    "trailing bytes": (raw_file({"a": tensor()}, EIGHT + b"!"), "1 bytes follow the last tensor"),
    "bytes without a tensor": (raw_file({}, EIGHT), "8 bytes follow"),
    "hole at the start": (raw_file({"a": tensor(offsets=(8, 16))}, EIGHT * 2), "bytes 0 to 8"),
    "hole between": (
        raw_file({"a": tensor(), "b": tensor(offsets=(16, 24))}, EIGHT * 3),
        "bytes 8 to 16 .* belong to no tensor",
    ),
    "overlap": (
        raw_file({"a": tensor(), "b": tensor(offsets=(4, 12))}, EIGHT + b"\0" * 4),
        "overlaps another",
    ),
    "the same bytes twice": (raw_file({"a": tensor(), "b": tensor()}, EIGHT), "overlaps another"),
    "an empty tensor inside another": (
        raw_file({"a": tensor(), "b": tensor(shape=(0,), offsets=(4, 4))}, EIGHT),
        "overlaps another",
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_header_is_refused(tmp_path, name):
    content, message = FORGED[name]
    path = tmp_path / "forged.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=message) as caught:
        read_safetensors(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value)) < 1000
    with pytest.raises(ModelFileError):
        load(path)


def test_a_header_may_list_tensors_in_any_order_and_be_padded(tmp_path):
    header = {"b": tensor(offsets=(8, 16)), "e": tensor(shape=(0,), offsets=(8, 8)), "a": tensor()}
    text = json.dumps(header).encode() + b"  \n "
    (tmp_path / "t").write_bytes(raw_file(text, np.arange(4, dtype="<f4").tobytes()))
    tensors, metadata = read_safetensors(tmp_path / "t")
    assert (tensors["a"].tolist(), tensors["b"].tolist(), metadata) == ([0, 1], [2, 3], {})
    assert tensors["e"].shape == (0,)


def test_the_message_shortens_a_long_forged_name(tmp_path):
    (tmp_path / "t").write_bytes(raw_file({"\x1b[31m" + "n" * 100_000: 1}))
    with pytest.raises(ModelFileError) as caught:
        read_safetensors(tmp_path / "t")
    assert "\x1b" not in str(caught.value) and len(str(caught.value)) < 1000


def test_a_file_that_shrinks_while_it_is_read(tmp_path):
    path = tmp_path / "t"
    write_safetensors(path, {"a": np.zeros(1_000_000)})
    with pytest.raises(ModelFileError, match="the file ends after"), open_reader(path) as reader:
        os.truncate(path, 1000)
        reader.read("a")


def test_save_syncs_the_file_and_its_folder(tmp_path, monkeypatch):
    events = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(descriptor):
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        events.append(f"fsync {kind}")
        real_fsync(descriptor)

    def replace(source, target):
        events.append("replace")
        assert os.path.dirname(source) == os.path.dirname(target)
        real_replace(source, target)

    monkeypatch.setattr("fastbp._files.atomic.os.fsync", fsync)
    monkeypatch.setattr("fastbp._files.atomic.os.replace", replace)
    write_safetensors(tmp_path / "t", {"a": np.zeros(2)})
    assert events == ["fsync file", "replace", "fsync folder"]
