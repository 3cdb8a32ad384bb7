"""Model files: the same bits after loading, and an error for every other file."""

import json
import os
import stat
import struct
import warnings

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from damage import replaced_stretches
from hypothesis import given, settings
from hypothesis import strategies as st

import fastbp
from fastbp import ModelFileError, Network
from fastbp.io import load, read_safetensors, save, write_safetensors


def small_net(dtype="float32"):
    net = Network(
        (3, 5, 4, 2),
        activation=["leaky_relu(0.1)", "elu(0.7)"],
        output="softmax",
        loss="cross_entropy",
        dtype=dtype,
        seed=7,
        l1=0.1,
        l2=1 / 3,
    )
    net.theta += net.dtype.type(1e-3)
    return net


# ---- round trips --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_saved_network_has_the_same_bits(tmp_path, dtype):
    net = small_net(dtype)
    path = tmp_path / "net.safetensors"
    net.save(path)
    twin = fastbp.load(path)
    assert twin.theta.tobytes() == net.theta.tobytes()
    assert repr(twin) == repr(net)
    for name in ("widths", "activations", "criterion", "dtype", "l1", "l2", "seed"):
        assert getattr(twin, name) == getattr(net, name), name
    assert twin.preprocessing is None
    X = np.linspace(-1, 1, 12).reshape(4, 3)
    assert twin.predict(X).tobytes() == net.predict(X).tobytes()


def test_the_smallest_and_largest_finite_weights_survive(tmp_path):
    net = Network((2, 2), dtype="float64")
    info = np.finfo(np.float64)
    net.theta[...] = [info.smallest_subnormal, -info.max, -0.0, info.eps, 1.0, -1.0]
    save(net, tmp_path / "net")
    assert load(tmp_path / "net").theta.tobytes() == net.theta.tobytes()


def test_a_loaded_network_can_be_trained(tmp_path):
    save(small_net(), tmp_path / "net")
    net = load(tmp_path / "net")
    assert net.fit(np.eye(3), [0, 1, 0], epochs=2).epochs == 2


def test_preprocessing_is_kept(tmp_path):
    path, net = tmp_path / "net", small_net()
    net.preprocessing = {"mean": [0.1, 1e-300], "classes": ["ä", 'with "quotes"']}
    save(net, path)
    assert load(path).preprocessing == net.preprocessing
    save(net, path, preprocessing={"other": None})
    assert load(path).preprocessing == {"other": None}
    assert net.preprocessing["mean"] == [0.1, 1e-300]


@pytest.mark.parametrize(
    "preprocessing, error",
    [({"mean": float("nan")}, ValueError), ({"mean": np.zeros(2)}, TypeError), ([1], TypeError)],
)
def test_preprocessing_that_json_cannot_hold_is_refused(tmp_path, preprocessing, error):
    with pytest.raises(error):
        save(small_net(), tmp_path / "net", preprocessing=preprocessing)
    assert os.listdir(tmp_path) == []


# ---- the safetensors package --------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_our_files_load_in_the_safetensors_package(tmp_path, dtype):
    net, path = small_net(dtype), tmp_path / "net.safetensors"
    save(net, path, preprocessing={"a": 1})
    theirs = safetensors.numpy.load_file(path)
    assert len(theirs) == 6
    for i, layer in enumerate(net.layers):
        np.testing.assert_array_equal(theirs[f"layers.{i}.W"], layer.W, strict=True)
        np.testing.assert_array_equal(theirs[f"layers.{i}.b"], layer.b, strict=True)
    with safetensors.safe_open(path, "np") as file:
        metadata = file.metadata()
    assert metadata["format"] == "fastbp" and metadata["version"] == "1"
    assert json.loads(metadata["architecture"])["widths"] == [3, 5, 4, 2]
    assert json.loads(metadata["preprocessing"]) == {"a": 1}


def test_files_of_the_safetensors_package_load(tmp_path):
    net = small_net()
    save(net, tmp_path / "ours")
    tensors, metadata = read_safetensors(tmp_path / "ours")
    safetensors.numpy.save_file(tensors, tmp_path / "theirs", metadata=metadata)
    assert load(tmp_path / "theirs").theta.tobytes() == net.theta.tobytes()
    theirs, _ = read_safetensors(tmp_path / "theirs")
    assert {name: t.tobytes() for name, t in theirs.items()} == {
        name: t.tobytes() for name, t in tensors.items()
    }


# ---- truncated and forged files ---------------------------------------------------------


def test_a_truncated_file_fails_at_every_length(tmp_path):
    path = tmp_path / "net"
    save(small_net(), path, preprocessing={"a": 1})
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        try:
            load(path)
        except ModelFileError:
            continue
        pytest.fail(f"the first {length} bytes were loaded as a model")
    path.write_bytes(content + b"\0")
    with pytest.raises(ModelFileError, match="follow the last tensor"):
        load(path)


# ---- random changes -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("io") / "net"
    save(small_net(), path, preprocessing={"a": [1, 2]})
    return path, path.read_bytes()


def loads_or_complains(path, content):
    path.write_bytes(content)
    with warnings.catch_warnings():
        # a changed bit may turn softmax into an output for which the loss gives a warning
        warnings.simplefilter("ignore", UserWarning)
        try:
            net = load(path)
        except ModelFileError:
            return
    assert np.isfinite(net.theta).all()


@settings(max_examples=300)
@given(
    flips=st.lists(st.tuples(st.integers(0, 2**16), st.integers(1, 255)), min_size=1, max_size=4)
)
def test_flipped_bytes_load_or_are_refused(saved, flips):
    path, content = saved
    forged = bytearray(content)
    for place, bits in flips:
        forged[place % len(forged)] ^= bits
    loads_or_complains(path, bytes(forged))


@settings(max_examples=200)
@replaced_stretches
def test_replaced_stretches_load_or_are_refused(saved, start, length, new):
    path, content = saved
    header_end = 8 + int.from_bytes(content[:8], "little")
    start = 8 + start % (header_end - 8)
    body = content[8:start] + new + content[start + length :]
    size = max(header_end - 8 - length + len(new), 0)
    loads_or_complains(path, struct.pack("<Q", size) + body)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from(["relu", "softmax", "mse", "float64", "leaky_relu(-1)", "elu()"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=200)
@given(
    key=st.sampled_from(
        ["widths", "activations", "output", "loss", "dtype", "l1", "l2", "seed", "new"]
    ),
    value=JSON_VALUES,
)
def test_any_value_in_the_architecture_loads_or_is_refused(saved, key, value):
    path, content = saved
    path.write_bytes(content)
    tensors, metadata = read_safetensors(path)
    metadata["architecture"] = json.dumps(json.loads(metadata["architecture"]) | {key: value})
    try:
        write_safetensors(path, tensors, metadata)
    except UnicodeEncodeError:
        return
    loads_or_complains(path, path.read_bytes())


# ---- files that are not models of fastbp --------------------------------------------------


def test_files_of_another_format_are_refused(tmp_path):
    path = tmp_path / "t"
    write_safetensors(path, {"a": np.zeros(2)}, {"format": "pt"})
    with pytest.raises(ModelFileError, match="expected the metadata of a fastbp model.*got .*'pt'"):
        load(path)
    write_safetensors(path, {"a": np.zeros(2)})
    with pytest.raises(ModelFileError, match="got format None"):
        load(path)


FORGED_ARCHITECTURE = {
    "widths": ([3, 5, 4, 3], r"'layers.2.W' must be float32 of shape \(4, 3\)"),
    "widths huge": ([3, 2**40, 4, 2], "'layers.0.W' must be float32 of shape"),
    "widths with zero": ([3, 0, 4, 2], "positive integers"),
    "widths with true": ([3, True, 4, 2], "positive integers"),
    "widths too short": ([3], "positive integers"),
    "widths of fewer layers": ([3, 5, 4], "lists 2 names; the network has 1 hidden layer"),
    "widths of more layers": ([3, 5, 4, 2, 2], "lists 2 names; the network has 3 hidden layers"),
    "widths as text": ("3", "widths in the architecture must be a list"),
    "activations": (["relu", "magic"], "unknown activation 'magic'; known: identity"),
    "activations too few": (["relu"], "does not hold"),
    "activations hidden softmax": (["softmax", "relu"], "softmax is for the output layer only"),
    "activations of numbers": ([1, 2], "does not hold"),
    "output": ("magic", "unknown activation"),
    "loss": ("magic", "unknown loss 'magic'; known: squared_error"),
    "dtype": ("float16", "must be 'float32' or 'float64'"),
    "dtype of the other kind": ("float64", "'layers.0.W' must be float64"),
    "l1": (-1.0, "l1 must not be negative"),
    "l2 as text": ("0", "l2 in the architecture must be a number"),
    "l2 as bool": (True, "l2 in the architecture must be a number"),
    "seed": (-1, "seed"),
    "seed of null": (None, "seed in the architecture must be an integer"),
    "new": (1, "unknown field 'new'"),
}


@pytest.mark.parametrize("name", FORGED_ARCHITECTURE)
def test_a_forged_architecture_is_refused(tmp_path, name):
    value, message = FORGED_ARCHITECTURE[name]
    path = tmp_path / "net"
    save(small_net(), path)
    tensors, metadata = read_safetensors(path)
    architecture = json.loads(metadata["architecture"]) | {name.split()[0]: value}
    write_safetensors(path, tensors, metadata | {"architecture": json.dumps(architecture)})
    with pytest.raises(ModelFileError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")


FORGED_METADATA = {
    "version": (
        "10",
        "expected version '1', '2', .* '8' or '9' of the fastbp format; got '10': a newer fastbp",
    ),
    "author": ("me", "unknown metadata 'author'"),
    "architecture": ("[1]", "the architecture must be a JSON object; got a list"),
    "architecture infinite": ('{"l1": 1e999}', "'1e999' is beyond the range of a double"),
    "architecture twice": ('{"l1": 1, "l1": 2}', "'l1' appears twice"),
    "preprocessing": ("", "the preprocessing is not valid UTF-8 JSON"),
    "preprocessing NaN": ('{"mean": NaN}', "the preprocessing: NaN is not JSON"),
    "preprocessing null": ("null", "the preprocessing must be a JSON object; got null"),
}


@pytest.mark.parametrize("name", FORGED_METADATA)
def test_forged_metadata_are_refused(tmp_path, name):
    value, message = FORGED_METADATA[name]
    save(small_net(), tmp_path / "net")
    tensors, metadata = read_safetensors(tmp_path / "net")
    write_safetensors(tmp_path / "net", tensors, metadata | {name.split()[0]: value})
    with pytest.raises(ModelFileError, match=message):
        load(tmp_path / "net")


@pytest.mark.parametrize("missing", ["architecture", "version", "layers.1.b"])
def test_missing_fields_are_refused(tmp_path, missing):
    save(small_net(), tmp_path / "net")
    tensors, metadata = read_safetensors(tmp_path / "net")
    tensors.pop(missing, None)
    metadata.pop(missing, None)
    write_safetensors(tmp_path / "net", tensors, metadata)
    with pytest.raises(ModelFileError, match=missing):
        load(tmp_path / "net")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path, bad):
    path, net = tmp_path / "net", small_net()
    save(net, path)
    good = path.read_bytes()
    tensors, metadata = read_safetensors(path)
    tensors["layers.1.W"][2, 3] = bad
    write_safetensors(tmp_path / "bad", tensors, metadata)
    with pytest.raises(ModelFileError, match=rf"'layers.1.W' holds {bad} at \[2, 3\]"):
        load(tmp_path / "bad")
    net.layers[1].b[1] = bad
    with pytest.raises(ValueError, match=r"layers.1.b holds .* at \[1\].*nothing was written"):
        save(net, path)
    assert path.read_bytes() == good
    assert sorted(os.listdir(tmp_path)) == ["bad", "net"]


# ---- the file system ----------------------------------------------------------------------


def test_paths_that_are_not_files(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        load(tmp_path)
    with pytest.raises(ModelFileError, match="expected a regular file"):
        load(os.devnull)
    with pytest.raises(IsADirectoryError):
        save(small_net(), tmp_path)
    with pytest.raises(ValueError, match="not a regular file"):
        save(small_net(), os.devnull)
    with pytest.raises(FileNotFoundError) as caught:
        save(small_net(), tmp_path / "no folder" / "net")
    assert caught.value.filename == str(tmp_path / "no folder" / "net")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_keeps_the_old_file(tmp_path, monkeypatch, step, error):
    path = tmp_path / "net"
    save(small_net(), path)
    old = path.read_bytes()

    def fail(*args, **keywords):
        raise error

    if step == "write":
        # after the header, in the middle of the tensors
        calls = iter([np.ascontiguousarray] * 3)
        monkeypatch.setattr(
            "fastbp._files.safetensors.np.ascontiguousarray", lambda *a: next(calls, fail)(*a)
        )
    else:
        monkeypatch.setattr(f"fastbp._files.atomic.os.{step}", fail)
    net = small_net()
    net.theta[...] = 0
    with pytest.raises(type(error)):
        save(net, path)
    monkeypatch.undo()
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["net"]
    save(net, path)
    assert not load(path).theta.any()


def test_permissions_and_links_are_kept(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    save(small_net(), real)
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(real.stat().st_mode) == 0o666 & ~umask
    real.chmod(0o640)
    link.symlink_to(real)
    net = small_net()
    net.theta[...] = 0
    save(net, link)
    assert link.is_symlink() and stat.S_IMODE(real.stat().st_mode) == 0o640
    assert not load(real).theta.any()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permissions of this kind")
def test_a_private_file_is_replaced_by_one_that_was_never_public(tmp_path, monkeypatch):
    path, before, fchmod = tmp_path / "net", [], os.fchmod
    path.touch(mode=0o600)

    def record(target, mode):
        before.append(stat.S_IMODE(os.stat(target).st_mode))
        fchmod(target, mode)

    monkeypatch.setattr(os, "fchmod", record)
    save(small_net(), path)
    assert before == [0o600] and stat.S_IMODE(path.stat().st_mode) == 0o600


def test_paths_may_be_str_bytes_path_or_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = small_net()
    for path in ("a" * 255, tmp_path / "b", os.fsencode("c")):
        save(net, path)
        assert load(path).theta.tobytes() == net.theta.tobytes(), path


def test_a_warning_of_the_loaded_network_points_to_the_caller(tmp_path):
    with pytest.warns(UserWarning, match="use output='softmax'"):
        save(Network((2, 3), loss="cross_entropy"), tmp_path / "net")
    with pytest.warns(UserWarning, match="use output='softmax'") as caught:
        load(tmp_path / "net")
    assert caught[0].filename == __file__
