"""Forged states and states of another kind are refused with a clear error and change nothing."""

import copy
import json
import math

import numpy as np
import pytest

import fastbp
from fastbp import ModelFileError, export, reference
from fastbp._training.checkpoint_file import _digest
from fastbp.callbacks import EarlyStopping, ModelCheckpoint
from fastbp.io import read_safetensors, write_safetensors
from fastbp.optim import SGD, Adam
from fastbp.schedules import CosineAnnealingLR, ReduceLROnPlateau, StepLR, Warmup

X = np.linspace(-1, 1, 24).reshape(12, 2)
Y = X[:, :1] * 2
NETWORKS = [fastbp.Network, reference.Network]

# ---- checkpoints --------------------------------------------------------------------------


class Keeping:
    """A callback of the user, which checks its state."""

    def state_dict(self):
        return {"seen": 1}

    def load_state_dict(self, state):
        if state["seen"] != 1:
            raise KeyError("seen")

    def on_epoch_end(self, epoch, logs):
        pass


class Fit:
    def __init__(self, network=fastbp.Network, seed=1):
        self.net = network((2, 3, 1), seed=seed)
        self.optimizer = Adam(0.01)
        self.schedule = Warmup(CosineAnnealingLR(9), 2)
        self.callbacks = [EarlyStopping("loss", patience=99), Keeping()]

    def run(self, folder, epochs, **options):
        return self.net.fit(
            X, Y, epochs=epochs, optimizer=self.optimizer, schedule=self.schedule,
            callbacks=self.callbacks, checkpoint=folder, **options,
        )  # fmt: skip

    def state(self):
        optimizer = self.optimizer.state_dict()
        moments = [moment.tolist() for moment in optimizer.pop("moments")]
        schedule = self.schedule.state_dict()
        return self.net.seed, self.net.theta.tolist(), optimizer, moments, schedule


def forge(folder, change):
    """Change the state in a checkpoint, correct its checksum, and delete the other file."""
    newest, other = sorted(folder.iterdir(), key=lambda path: -path.stat().st_mtime_ns)
    other.unlink()
    tensors, metadata = read_safetensors(newest)
    state = json.loads(metadata["state"])
    changed = change(state, tensors)
    metadata["state"] = changed if isinstance(changed, str) else json.dumps(state)
    unused = [name for name in tensors if f'"{name}"' not in metadata["state"] and name != "more"]
    for name in unused:
        del tensors[name]
    metadata["sha256"] = _digest(metadata, tensors)
    write_safetensors(newest, tensors, metadata)


def put(*path_and_value):
    *path, last, value = path_and_value

    def change(state, tensors):
        for key in path:
            state = state[key]
        state[last] = value

    return change


def lose(*path):
    def change(state, tensors):
        for key in path[:-1]:
            state = state[key]
        del state[path[-1]]

    return change


def wrong_theta(state, tensors):
    tensors["state.theta"] = np.zeros(4, np.float32)


def other_dtype(state, tensors):
    theta = tensors["state.theta"]
    tensors["state.theta"] = theta.astype("f8" if theta.dtype == np.float32 else "f4")


def cut_moment(state, tensors):
    tensors["state.optimizer.moments.1"] = tensors["state.optimizer.moments.1"][:-1]


def cut_moments(state, tensors):
    for i in (0, 1):
        tensors[f"state.optimizer.moments.{i}"] = tensors[f"state.optimizer.moments.{i}"][:-1]


def one_tensor_more(state, tensors):
    tensors["more"] = np.zeros(1)


# Changes after which the file is not a checkpoint: it is skipped with a warning.
NO_STATE = {
    "not JSON": (lambda *_: "{", "the state is not valid UTF-8 JSON"),
    "a list": (lambda *_: "[]", "must be a JSON object"),
    "deep": (put("identity", json.loads("[" * 99 + "]" * 99)), "nested more than 32 deep"),
    "a field is missing": (lose("seed"), "the state of a checkpoint has identity, seed"),
    "an unknown field": (put("more", 1), "the state of a checkpoint has"),
    "a tensor is missing": (put("theta", {"$tensor": "none"}), "asks for a tensor 'none'"),
    "a tensor by number": (put("theta", {"$tensor": 1}), "asks for a tensor 1"),
    "a tensor twice": (put("place", {"$tensor": "state.theta"}), "asks for a tensor 'state.theta'"),
    "an unknown tensor": (one_tensor_more, "the tensor 'more' is no part of the state"),
    "seed": (put("seed", -1), "seed must be at least 0"),
    "seed is null": (put("seed", None), "seed of a checkpoint must be a whole number"),
    "theta": (put("identity", "x", {"$tensor": "state.theta"}), "asks for a tensor"),
    "place": (put("place", [1, 2]), "place of a checkpoint must be a list of 6"),
    "place has a string": (put("place", 0, "1"), "place of a checkpoint must be a whole number"),
    "place is negative": (put("place", 1, -1), "place of a checkpoint must not be negative"),
    "history": (put("history", "loss", 3), "history of a checkpoint must hold lists"),
    "history has a string": (put("history", "loss", ["x"]), "loss in history of a checkpoint must"),
    "history names a method": (put("history", "add", [1.0]), "got 'add'"),
    "history names stopped_by": (put("history", "stopped_by", [1.0]), "got 'stopped_by'"),
    "callbacks": (put("callbacks", {}), "callbacks of a checkpoint must be a list"),
    "a callback": (put("callbacks", 0, "x"), "must be a list of names and states"),
    "stopped_by": (put("stopped_by", 1), "stopped_by of a checkpoint must be a string"),
    "optimizer": (put("optimizer", 1), "optimizer of a checkpoint must be a dict"),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_STATE)
def test_a_file_without_a_valid_state_is_skipped(tmp_path, name):
    change, message = NO_STATE[name]
    Fit().run(tmp_path, 2)
    forge(tmp_path, change)
    fit = Fit(seed=5)
    before = fit.state()
    with (
        pytest.warns(UserWarning, match=message),
        pytest.raises(FileNotFoundError, match="no checkpoint to resume from"),
    ):
        fit.run(tmp_path, 4, resume=True)
    assert fit.state() == before


def test_a_state_that_could_not_be_read_is_not_written(tmp_path):
    class Deep(Keeping):
        def state_dict(self):
            return {"seen": 1, "more": json.loads("[" * 40 + "]" * 40)}

    fit = Fit()
    fit.callbacks[1] = Deep()
    with pytest.raises(ValueError, match=r"cannot hold state.callbacks.1.1.more.*than 32 deep"):
        fit.run(tmp_path, 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("generation", ["-1", "", "9" * 19, "9" * 5000, "\u0661"])
@pytest.mark.parametrize("resume", [True, False])
def test_an_invalid_generation_is_skipped(tmp_path, generation, resume):
    Fit().run(tmp_path, 1)
    (path,) = tmp_path.iterdir()
    tensors, metadata = read_safetensors(path)
    metadata["generation"] = generation
    metadata["sha256"] = _digest(metadata, tensors)
    write_safetensors(path, tensors, metadata)
    if not resume:
        assert Fit().run(tmp_path, 1, resume=False).epochs == 1
        return
    with (
        pytest.warns(UserWarning, match="the generation cannot be"),
        pytest.raises(FileNotFoundError, match="no checkpoint to resume from"),
    ):
        Fit().run(tmp_path, 1, resume=True)


# Changes after which the state does not match the fit: an error.
OTHER_STATE = {
    "theta": (wrong_theta, r"theta has shape \(4,\); the network has"),
    "theta's dtype": (other_dtype, "theta is float..; the network has float"),
    "a moment": (cut_moment, "moments and average must have the same size and dtype"),
    "moments": (cut_moments, "holds the state of 12 parameters"),
    "no optimiser": (put("optimizer", {}), "has name, hyper, t"),
    "another optimiser": (put("optimizer", "name", "SGD"), "this is the state of SGD"),
    "average is a list": (put("optimizer", "average", [1.0]), "must be a vector of float"),
    "t": (put("optimizer", "t", -5), "must not be negative"),
    "large t": (put("optimizer", "t", 2**64), "must be below 2"),
    "average starts after t": (put("optimizer", "average_start", 10**6), "must not exceed t"),
    "hyper": (put("optimizer", "hyper", "lr", -1.0), "lr must be greater than 0"),
    "unknown hyper": (put("optimizer", "hyper", {"x": 1}), "no argument 'x'"),
    "hyper of another kind": (put("optimizer", "hyper", 1), "must be a dict of settings"),
    "no schedule": (put("schedule", None), "it lacks the state of the schedule"),
    "schedule": (put("schedule", "t", "x"), "t of a Warmup must be a whole number"),
    "schedule inside": (put("schedule", "then.t", -1), "t of a CosineAnnealingLR must not be"),
    "schedule's fields": (put("schedule", {"t": 1}), "the state of a CosineAnnealingLR has"),
}  # fmt: skip


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", OTHER_STATE)
def test_a_forged_checkpoint_changes_nothing(tmp_path, name, network):
    change, message = OTHER_STATE[name]
    Fit(network).run(tmp_path, 2)
    forge(tmp_path, change)
    fit = Fit(network, seed=5)
    before = fit.state()
    with pytest.raises(ModelFileError, match=f"the checkpoint in .* does not hold: .*{message}"):
        fit.run(tmp_path, 4)
    assert fit.state() == before


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (put("callbacks", 0, 1, {}), ModelFileError, "hold: the state of EarlyStopping has"),
        (put("callbacks", 0, 1, "theta", None), None, None),
        (put("callbacks", 0, 1, "waited", -1), ModelFileError, "waited of EarlyStopping must not"),
        (put("callbacks", 0, 1, "best", "x"), ModelFileError, "best of EarlyStopping must be"),
        (put("callbacks", 1, 1, "seen", 2), KeyError, "seen"),
    ],
)  # fmt: skip
def test_a_state_that_a_callback_refuses_changes_nothing(tmp_path, change, error, message, network):
    """Callbacks get their state after the fit has begun, so the earlier state is restored."""

    Fit(network).run(tmp_path, 2)
    forge(tmp_path, change)
    fit = Fit(network, seed=5)
    if error is None:
        assert fit.run(tmp_path, 4).epochs == 4
        return
    before = fit.state()
    with pytest.raises(error, match=message):
        fit.run(tmp_path, 4)
    assert fit.state() == before
    fit.run(tmp_path, 3, resume=False)


# ---- load_state_dict ----------------------------------------------------------------------


def moved(optimizer):
    fastbp.Network((2, 1), seed=0).fit(X, Y, epochs=1, optimizer=optimizer)
    return optimizer


GIVERS = {
    "adam": lambda: moved(Adam(0.1, ema=0.5)),
    "sgd": lambda: moved(SGD(0.1, momentum=0.9)),
    "step": lambda: StepLR(2),
    "plateau": lambda: ReduceLROnPlateau(),
    "warmup": lambda: Warmup(CosineAnnealingLR(9), 2),
    "stopping": lambda: EarlyStopping(),
    "saving": lambda: ModelCheckpoint("net"),
}
STRANGE = [None, 1, "x", [], {}, ["t"], {1: 2}, np.zeros(3)]


@pytest.mark.parametrize("name", GIVERS)
def test_states_with_wrong_fields_are_refused(name):
    """Each field is removed or replaced: TypeError or ValueError, and nothing changes."""
    owner = GIVERS[name]()
    state = owner.state_dict()
    bad = [*STRANGE, state | {"more": 1}]
    for field in state:
        bad.append({key: value for key, value in state.items() if key != field})
        bad += [state | {field: value} for value in ([[]], object(), {"a": {}}, "x", -1.5, -5)]
    before = str(owner.state_dict())
    refused = 0
    for each in bad:
        given = copy.copy(each)
        try:
            owner.load_state_dict(given)
        except (TypeError, ValueError):
            refused += 1
            assert str(owner.state_dict()) == before, each
        else:  # some fields accept any number or any string
            owner.load_state_dict(state)
    assert refused >= len(bad) - 4
    owner.load_state_dict(copy.deepcopy(state))
    assert str(owner.state_dict()) == before


@pytest.mark.parametrize("state", STRANGE)
def test_invalid_state_dicts_of_pytorch_are_refused(state):
    with pytest.raises((TypeError, ValueError)):
        export.from_state_dict(state)


@pytest.mark.parametrize("value", [None, "x", object(), [["a"]], {}])
def test_weights_that_are_not_numbers_are_refused(value):
    with pytest.raises((TypeError, ValueError)):
        export.from_state_dict({"0.weight": value, "0.bias": [1.0]})


@pytest.mark.parametrize("value", [-5, 2**63, 2**64, 10**30, 2.5, True, None, "1"])
@pytest.mark.parametrize("make", [Adam, lambda: StepLR(1)])
def test_invalid_step_counts_are_refused(make, value):
    owner = make()
    with pytest.raises((TypeError, ValueError), match="t must"):
        owner.t = value
    assert owner.t == 0
    owner.t = 2**63 - 1
    assert owner.t == 2**63 - 1


@pytest.mark.parametrize("value", [2**63, 2**64 - 1, 10**40])
@pytest.mark.parametrize("name", ["initial_epoch", "epochs"])
@pytest.mark.parametrize("network", NETWORKS)
def test_numbers_of_epochs_above_63_bits_are_refused(network, name, value):
    net = network((2, 1), seed=0)
    with pytest.raises(ValueError, match=r"must be below 2\*\*63; got"):
        net.fit(X, Y, **{"epochs": 2} | {name: value})


def test_large_epoch_numbers_give_the_same_order_in_both_networks():
    engine, twin = (network((2, 1), dtype="float64", seed=0) for network in NETWORKS)
    for first in (2**32 - 1, 2**32 + 5, np.iinfo(np.intp).max - 1):
        for net in (engine, twin):
            net.fit(X, Y, initial_epoch=first, epochs=first + 1, batch_size=1, optimizer=SGD(0.1))
        np.testing.assert_allclose(engine.theta, twin.theta, 0, 200 * 2.0**-52, err_msg=str(first))


# ---- numbers that are not finite ----------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["c", "onnx", "to_state_dict", "to_torch", "to_keras_weights"])
def test_no_format_writes_weights_that_are_not_finite(tmp_path, name, value):
    if name == "to_torch":
        pytest.importorskip("torch", reason="PyTorch is not installed")
    net = fastbp.Network((2, 3, 1), seed=0)
    net.layers[1].b[0] = value
    path = {"path": tmp_path / "out"} if name in ("c", "onnx") else {}
    with pytest.raises(ValueError, match=rf"layers.1.b holds {value} at \[0\], which is not f"):
        getattr(export, name)(net, **path)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_finite_are_not_loaded():
    state = export.to_state_dict(fastbp.Network((2, 1), seed=0))
    state["0.bias"][0] = math.nan
    with pytest.raises(ValueError, match=r"layers.0.b holds nan at \[0\], which is not finite"):
        export.from_state_dict(state)
    with pytest.raises(ValueError, match="not finite"):
        export.from_keras_weights([np.ones((2, 1)), np.array([math.inf])])


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity"])
def test_preprocessing_with_numbers_above_a_double_is_refused(tmp_path, number):
    fastbp.io.save(fastbp.Network((2, 1)), tmp_path / "net", preprocessing={"mean": [0.5]})
    tensors, metadata = read_safetensors(tmp_path / "net")
    metadata["preprocessing"] = metadata["preprocessing"].replace("0.5", number)
    write_safetensors(tmp_path / "net", tensors, metadata)
    with pytest.raises(ModelFileError, match=r"net: the preprocessing: .*(double|not JSON)"):
        fastbp.load(tmp_path / "net")


# ---- headers ------------------------------------------------------------------------------


def entries(n):
    one = '"{}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}'
    text = "{" + ",".join(one.format(i) for i in range(n)) + "}"
    return len(text).to_bytes(8, "little") + text.encode()


def test_the_number_of_tensors_is_limited(tmp_path):
    (tmp_path / "few").write_bytes(entries(2000))
    assert len(read_safetensors(tmp_path / "few")[0]) == 2000
    (tmp_path / "many").write_bytes(entries(65_539))
    with pytest.raises(ModelFileError, match="many: the header: more than 65536 entries"):
        read_safetensors(tmp_path / "many")
    with pytest.raises(ValueError, match="at most 65536 tensors; got 65537"):
        write_safetensors(tmp_path / "x", dict.fromkeys(map(str, range(65_537)), np.zeros(0)))
    assert not (tmp_path / "x").exists()


def test_the_number_of_layers_is_limited(tmp_path):
    fastbp.Network((2, 1), seed=0).save(tmp_path / "net")
    tensors, metadata = read_safetensors(tmp_path / "net")
    architecture = json.loads(metadata["architecture"]) | {"widths": [1] * 65_537}
    metadata["architecture"] = json.dumps(architecture)
    write_safetensors(tmp_path / "net", tensors, metadata)
    with pytest.raises(ModelFileError, match="has 65537 widths; at most 65536 are allowed"):
        fastbp.load(tmp_path / "net")
