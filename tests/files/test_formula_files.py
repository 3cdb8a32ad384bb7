"""Files of networks with formulas: the same bits elsewhere, and an error for every forged one."""

import json
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
from fit_cases import StopAt
from formula_cases import ACTIVATIONS, LOSSES
from hypothesis import given, settings
from hypothesis import strategies as st

import fastbp
from fastbp import Dense, ModelFileError, gates, losses, reference
from fastbp._network.model_file import MAX_FORMULAS
from fastbp.io import load, read_safetensors, save, write_safetensors
from fastbp.optim import Adam

SWISH = gates.activation(lambda z, beta: z * gates.sigmoid(beta * z), beta=1.0, per="unit")


def net_with(hidden=SWISH, output="prelu(0.1)", loss="formula(sum((a - y) ** 2))", **options):
    net = fastbp.Network(
        (3, 5, 4, 2), activation=["tanh", hidden], output=output, loss=loss, seed=7, **options
    )
    net.theta += net.dtype.type(1e-3)
    return net


def rows(n=9):
    return np.random.default_rng(2).normal(size=(n, 3)).astype(np.float32)


# ---- round trips --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("spec", ["prelu", *ACTIVATIONS])
def test_a_saved_network_has_the_same_bits(tmp_path, spec, dtype):
    net = net_with(spec, spec, dtype=dtype)
    net.save(tmp_path / "net")
    twin = load(tmp_path / "net")
    assert twin.theta.tobytes() == net.theta.tobytes()
    assert repr(twin) == repr(net)
    assert (twin.activations, twin.criterion) == (net.activations, net.criterion)
    assert twin.predict(rows()).tobytes() == net.predict(rows()).tobytes()
    again = pickle.loads(pickle.dumps(net))
    assert again.predict(rows()).tobytes() == net.predict(rows()).tobytes()
    assert again.dense == net.dense


@pytest.mark.parametrize("spec", LOSSES)
def test_a_loss_is_kept(tmp_path, spec):
    net = net_with("tanh", "identity", spec)
    save(net, tmp_path / "net")
    assert load(tmp_path / "net").criterion == net.criterion == losses.resolve(spec)


def test_the_file_has_the_formula_as_text_and_the_constants_as_tensors(tmp_path):
    net = net_with()
    save(net, tmp_path / "net")
    tensors, metadata = read_safetensors(tmp_path / "net")
    assert metadata["version"] == "4"
    architecture = json.loads(metadata["architecture"])
    assert architecture["activations"] == [
        "tanh",
        "formula(z * sigmoid(beta * z), beta=1.0, per=unit)",
    ]
    assert architecture["output"] == "prelu(0.1)"
    assert architecture["loss"] == "formula(sum((a - y) ** 2))"
    assert architecture["matmul_precision"] == "highest" and len(architecture["layers"]) == 3
    assert list(tensors)[3:] == [
        *("layers.1.b", "layers.1.beta", "layers.2.W", "layers.2.b", "layers.2.alpha"),
    ]
    np.testing.assert_array_equal(tensors["layers.1.beta"], net.layers[1].constants["beta"])
    assert tensors["layers.2.alpha"].shape == (1,)


@pytest.mark.parametrize(
    ("activation", "loss", "version"),
    [
        ("tanh", "mse", "1"),
        ("prelu", "mse", "4"),
        (SWISH, "mse", "4"),
        ("tanh", "formula(sum(abs(a - y)))", "4"),
    ],
)
def test_version_4_is_for_formulas_only(tmp_path, activation, loss, version):
    save(fastbp.Network((2, 3, 1), activation=activation, loss=loss), tmp_path / "net")
    assert read_safetensors(tmp_path / "net")[1]["version"] == version


def test_options_and_precisions_are_kept_beside_formulas(tmp_path):
    layers = [Dense(5, SWISH, norm="layer", dropout=0.5, bias=False), Dense(2, "prelu")]
    net = fastbp.Network.from_layers(3, layers, input_dropout=0.25, matmul_precision="medium")
    net.layers[0].trainable = False
    save(net, tmp_path / "net")
    twin = load(tmp_path / "net")
    assert repr(twin) == repr(net)
    assert twin.theta.tobytes() == net.theta.tobytes()
    assert not twin.layers[0].trainable and twin.matmul_precision == "medium"


SCRIPT = """
import pickle, sys, numpy as np, fastbp
X = np.random.default_rng(2).normal(size=(9, 3)).astype(np.float32)
net = fastbp.load(sys.argv[1])
with open(sys.argv[2], "rb") as file:
    twin = pickle.load(file)
assert repr(net) == repr(twin)
y = net.predict(X)
assert twin.predict(X).tobytes() == y.tobytes()
history = net.fit(X, y + 1, epochs=3, batch_size=4)
sys.stdout.write(y.tobytes().hex() + " " + net.theta.tobytes().hex())
"""


def test_another_process_predicts_and_trains_with_the_same_bits(tmp_path):
    """It builds its gates in another order, so their programs must not depend on that."""
    net = net_with()
    save(net, tmp_path / "net")
    with open(tmp_path / "pickle", "wb") as file:
        pickle.dump(net, file)
    command = [sys.executable, "-c", SCRIPT, tmp_path / "net", tmp_path / "pickle"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    predicted, theta = done.stdout.split()
    y = net.predict(rows())
    assert predicted == y.tobytes().hex()
    net.fit(rows(), y + 1, epochs=3, batch_size=4)
    assert theta == net.theta.tobytes().hex()


# ---- checkpoints --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [fastbp.Network, reference.Network], ids=["engine", "reference"])
def test_a_resumed_fit_is_bit_identical(kind, tmp_path):
    X, y = rows(30), np.sin(rows(30)[:, :2])

    def fit(hidden=SWISH, *callbacks, **options):
        net = kind((3, 6, 2), activation=hidden, loss=LOSSES[0], dtype="float32", seed=1)
        optimizer = Adam(0.05)
        net.fit(X, y, epochs=4, batch_size=8, optimizer=optimizer, callbacks=callbacks, **options)
        return net.theta.tobytes(), np.array(optimizer.moments).tobytes()

    with pytest.raises(KeyboardInterrupt):
        fit(SWISH, StopAt(6), checkpoint=tmp_path)
    assert fit(SWISH, checkpoint=tmp_path, resume=True) == fit()
    other = gates.activation(lambda z, beta: z * gates.tanh(beta * z), beta=1.0, per="unit")
    with pytest.raises(ValueError, match="is of another fit: its network's dense is .*sigmoid"):
        fit(other, checkpoint=tmp_path, resume=True)


# ---- forged files -------------------------------------------------------------------------


def forge(path, change):
    """Write the file of a network again with changed tensors, metadata or architecture."""
    save(net_with(), path)
    tensors, metadata = read_safetensors(path)
    architecture = json.loads(metadata["architecture"])
    change(tensors, metadata, architecture)
    metadata["architecture"] = json.dumps(architecture)
    write_safetensors(path, tensors, metadata)


def in_hidden(text):
    return lambda t, m, a: a["activations"].__setitem__(1, text)


def as_loss(text):
    return lambda t, m, a: a.__setitem__("loss", text)


FORGED = {
    "version 1": (
        lambda t, m, a: (
            [m.__setitem__("version", "1")]
            + [a.pop(name) for name in ("layers", "input_dropout", "matmul_precision")]
        ),
        "a formula, which version 1 does not have: expected version 4 or 5",
    ),
    "version 2": (
        lambda t, m, a: (m.__setitem__("version", "2"), a.pop("matmul_precision")),
        "which version 2 does not have",
    ),
    "version 3": (lambda t, m, a: m.__setitem__("version", "3"), "which version 3 does not have"),
    "unknown field": (lambda t, m, a: a.__setitem__("formulas", []), "unknown field 'formulas'"),
    "code": (in_hidden("formula(__import__('os').abort())"), "does not hold"),
    "code as a name": (in_hidden("formula(z, per=__import__('os').abort())"), "does not hold"),
    "unknown function": (in_hidden("formula(erf(beta * z), beta=1.0, per=unit)"), "erf"),
    "unknown input": (in_hidden("formula(z * beta * x, beta=1.0, per=unit)"), "x"),
    "a sum": (in_hidden("formula(sum(beta * z), beta=1.0, per=unit)"), "sum"),
    "unbalanced": (in_hidden("formula((z * beta, beta=1.0, per=unit)"), "does not hold"),
    "no constant": (in_hidden("formula(z, beta=1.0, per=unit)"), "beta"),
    "constant of NaN": (in_hidden("formula(z * beta, beta=nan, per=unit)"), "beta"),
    "huge number": (in_hidden("formula(z * beta + 1e999, beta=1.0, per=unit)"), "does not hold"),
    "another per": (in_hidden("formula(z * beta, beta=1.0)"), r"'layers.1.beta' .* shape \(1,\)"),
    "another name": (in_hidden("formula(z * c, c=1.0, per=unit)"), "unexpected .* 'layers.1.beta'"),
    "name of a tensor": (in_hidden("formula(z * W, W=1.0, per=unit)"), "does not hold"),
    "too long": (
        in_hidden("formula(" + "z + " * 10_000 + "beta, beta=1, per=unit)"),
        "at most 22,000 characters",
    ),
    "too deep": (in_hidden("formula(" + "(" * 5000 + "z" + ")" * 5000 + ")"), "does not hold"),
    "activation of a prelu": (in_hidden("prelu(1, 2)"), "number in its brackets"),
    "hidden number": (in_hidden(3), "does not hold"),
    "loss of no row": (as_loss("formula(a - y)"), "one number per row"),
    "loss of z": (as_loss("formula(sum(z))"), "does not hold"),
    "loss of bad targets": (as_loss("formula(sum(a), targets=no)"), "unknown targets 'no'"),
    "loss of a bad score": (as_loss("formula(sum(a), score=no)"), "unknown score 'no'"),
    "loss with a constant": (as_loss("formula(sum(a * beta), beta=1)"), "does not hold"),
    "missing constants": (lambda t, m, a: t.pop("layers.1.beta"), "'layers.1.beta' is missing"),
    "shape of constants": (
        lambda t, m, a: t.__setitem__("layers.1.beta", np.zeros(3, np.float32)),
        r"'layers.1.beta' must be float32 of shape \(4,\)",
    ),
    "NaN constants": (
        lambda t, m, a: t["layers.1.beta"].__setitem__(2, np.nan),
        r"'layers.1.beta' holds nan at \[2\]",
    ),
    "too many characters": (
        lambda t, m, a: (
            a.update(activations=["formula(" + "z + " * 4000 + "z)"] * 80, widths=[3] * 80 + [2, 2])
            or a.__setitem__("layers", a["layers"][:1] * 81)
        ),
        f"have [0-9]+ characters; at most {MAX_FORMULAS} are allowed",
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_file_is_refused(tmp_path, name):
    change, message = FORGED[name]
    forge(tmp_path / "net", change)
    with pytest.raises(ModelFileError, match=message) as caught:
        load(tmp_path / "net")
    assert str(caught.value).startswith(f"{tmp_path / 'net'}: ")


def test_too_many_characters_are_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr("fastbp._network.model_file.MAX_FORMULAS", 60)
    with pytest.raises(ValueError, match="formulas of 60 characters; those of the network have 7"):
        save(net_with(), tmp_path / "net")
    assert not (tmp_path / "net").exists()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("formulas") / "net"
    save(net_with(), path)
    return path, path.read_bytes()


def loads_or_complains(path):
    """A file loads, and the network computes, or there is a ModelFileError and nothing else."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of an output that the loss takes a log of
        try:
            net = load(path)
        except ModelFileError:
            return
    assert np.isfinite(net.theta).all()
    net.predict(np.ones((2, net.widths[0])))


@pytest.mark.once
@settings(max_examples=300)
@given(
    flips=st.lists(st.tuples(st.integers(0, 2**16), st.integers(1, 255)), min_size=1, max_size=4)
)
def test_flipped_bytes_load_or_are_refused(saved, flips):
    path, content = saved
    forged = bytearray(content)
    for place, bits in flips:
        forged[place % len(forged)] ^= bits
    path.write_bytes(bytes(forged))
    loads_or_complains(path)


PIECES = st.sampled_from(
    ["z", "a", "y", "beta", "alpha", "1", "2.5e3", "1e400", "+", "-", "*", "/", "**", "(", ")", ","]
    + ["sigmoid(", "sum(", "where(", "max(", "exp(", "log(", "<", ">=", "s1 = ", "; ", " ", "\n"]
    + [
        "beta=1.0",
        "per=unit",
        "per=layer",
        "targets=classes",
        "score=r2",
        "formula(",
        "é",
        "\x00",
        "__",
    ]
)


@pytest.mark.once
@settings(max_examples=300)
@given(
    key=st.sampled_from(["activations", "output", "loss"]),
    start=st.integers(0, 60),
    length=st.integers(0, 20),
    new=st.lists(PIECES, max_size=8).map("".join) | st.text(max_size=8),
)
def test_changed_formulas_load_or_are_refused(saved, key, start, length, new):
    path, content = saved
    path.write_bytes(content)
    tensors, metadata = read_safetensors(path)
    architecture = json.loads(metadata["architecture"])
    old = architecture[key][1] if key == "activations" else architecture[key]
    text = old[: start % len(old)] + new + old[start % len(old) + length :]
    if key == "activations":
        architecture[key][1] = text
    else:
        architecture[key] = text
    try:
        metadata["architecture"] = json.dumps(architecture, ensure_ascii=False)
        write_safetensors(path, tensors, metadata)
    except UnicodeEncodeError:
        return
    loads_or_complains(path)
