"""The setting `matmul_precision`: of the process, of a network, of its copies and files."""

import copy
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastbp
from fastbp import Dense, reference
from fastbp._precision import NAMES
from fastbp.errors import ModelFileError
from fastbp.io import load, read_safetensors, write_safetensors
from fastbp.optim import LBFGS, Adam
from fastbp.testing import gradcheck
from fastbp.tracking import describe

pytestmark = pytest.mark.products
MODULES = pytest.mark.parametrize("module", [fastbp, reference], ids=["engine", "reference"])
BAD_NAMES = [(16, TypeError), (b"high", TypeError), ("High", ValueError), ("bf16", ValueError)]


@pytest.fixture(autouse=True)
def default_of_the_process():
    yield
    fastbp.set_float32_matmul_precision("highest")


def small(module=fastbp, **options):
    return module.Network((4, 6, 2), activation="tanh", **{"dtype": "float32", "seed": 0} | options)


def data(n=30):
    rng = np.random.default_rng(1)
    return rng.normal(size=(n, 4)).astype(np.float32), rng.normal(size=(n, 2)).astype(np.float32)


# ---- the process ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_new_networks_take_the_setting_of_the_process(name):
    before = small()
    fastbp.set_float32_matmul_precision(name)
    assert fastbp.get_float32_matmul_precision() == name
    assert small().matmul_precision == name
    assert fastbp.Network.from_layers(2, [Dense(1)]).matmul_precision == name
    assert fastbp.export.from_state_dict(fastbp.export.to_state_dict(small())).matmul_precision == (
        name
    )
    assert small(dtype="float64").matmul_precision == "highest"
    assert reference.Network((2, 1)).matmul_precision == "highest"  # of float64
    assert before.matmul_precision == "highest"


@pytest.mark.parametrize(("name", "error"), [*BAD_NAMES, (None, TypeError)])
def test_other_settings_are_refused(name, error):
    fastbp.set_float32_matmul_precision("high")
    with pytest.raises(error, match="precision must be 'highest', 'high' or 'medium'; got"):
        fastbp.set_float32_matmul_precision(name)
    assert fastbp.get_float32_matmul_precision() == "high"


def test_the_configuration_shows_it(capsys):
    fastbp.set_float32_matmul_precision("medium")
    fastbp.show_config()
    assert "\nmatmul_precision medium\n" in capsys.readouterr().out


# ---- a network --------------------------------------------------------------------------------


@MODULES
@pytest.mark.parametrize(("name", "error"), BAD_NAMES)
def test_a_network_refuses_other_names(module, name, error):
    message = "matmul_precision must be 'highest', 'high' or 'medium'; got"
    with pytest.raises(error, match=message):
        small(module, matmul_precision=name)
    with pytest.raises(error, match=message):
        module.Network.from_layers(2, [Dense(1)], matmul_precision=name)
    net = small(module)
    with pytest.raises(error, match=message):
        net.matmul_precision = name
    with pytest.raises(TypeError):
        net.matmul_precision = None
    assert net.matmul_precision == "highest"


def test_float64_takes_highest_only():
    message = "a float64 network takes matmul_precision='highest' only; got 'medium'"
    with pytest.raises(ValueError, match=message):
        small(dtype="float64", matmul_precision="medium")
    net = small(dtype="float64", matmul_precision="highest")
    with pytest.raises(ValueError, match=message):
        net.matmul_precision = "medium"
    assert reference.Network((2, 1), matmul_precision="medium").matmul_precision == "medium"


def test_descriptions_name_it_unless_it_is_highest():
    net = small(matmul_precision="medium")
    end = "dtype='float32', matmul_precision='medium')"
    assert repr(net).endswith(f"loss='squared_error', {end}")
    made = fastbp.Network.from_layers(4, [Dense(2, norm="rms"), Dense(1)], matmul_precision="high")
    assert repr(made).endswith("dtype='float32', matmul_precision='high')")
    assert "float32, matmul_precision medium, loss squared_error" in net.summary()
    assert "matmul_precision medium" in net._repr_html_()
    assert describe(net)["matmul_precision"] == "medium"
    assert "precision" not in repr(small()) + small().summary()


# ---- another setting --------------------------------------------------------------------------


@MODULES
def test_setting_it_keeps_all_but_the_last_pass(module):
    X, y = data()
    net, adam, seen = small(module), Adam(0.01), []
    net.layers[0].trainable = False
    net.train_batch(X, y, adam)
    net.on_delta(lambda l, delta: seen.append(l))
    theta, W, grad, moment = net.theta, net.layers[1].W, net.grad, adam.moments[0]
    values = theta.copy()
    net.forward(X)
    net.matmul_precision = "medium"
    assert net.matmul_precision == "medium"
    assert net.theta is theta and net.layers[1].W is W and net.grad is grad
    assert np.array_equal(theta, values) and np.shares_memory(W, theta)
    assert net.layers[0].a is None and not net.layers[0].trainable
    with pytest.raises(RuntimeError, match="forward"):
        net.backward(y)
    frozen = net.layers[0].W.copy()
    net.train_batch(X, y, adam)
    assert seen == [2, 1] and adam.t == 2 and adam.moments[0] is moment
    assert np.array_equal(net.layers[0].W, frozen) and not np.array_equal(theta, values)


def test_a_subclass_of_str_becomes_the_name():
    net = small(matmul_precision=np.str_("high"))
    assert type(net.matmul_precision) is str
    net.matmul_precision = np.str_("medium")
    assert type(net.matmul_precision) is str and "'medium'" in repr(net)
    fastbp.set_float32_matmul_precision(np.str_("high"))
    assert type(fastbp.get_float32_matmul_precision()) is str


@MODULES
def test_setting_the_same_changes_nothing(module):
    net = small(module, matmul_precision="high")
    net.forward(data()[0])
    net.matmul_precision = "high"
    assert net.layers[0].a is not None


@MODULES
def test_a_network_that_was_set_has_the_bits_of_one_that_was_made_so(module):
    X, y = data()
    made, was_set = small(module, matmul_precision="medium"), small(module)
    was_set.fit(X, y, epochs=1, optimizer=Adam(1e-3))
    was_set.theta = made.theta
    was_set.matmul_precision = "medium"
    for net in (made, was_set):
        net.fit(X, y, epochs=2, batch_size=7)
    assert made.theta.tobytes() == was_set.theta.tobytes()
    assert made.predict(X).tobytes() == was_set.predict(X).tobytes()


@MODULES
def test_a_hook_cannot_set_it(module):
    X, y = data()
    net = small(module)

    def hook(l, delta):
        net.matmul_precision = "medium"

    net.forward(X)
    with pytest.raises(RuntimeError, match="before or after it"):
        net.backward(y, hook=hook)
    assert net.matmul_precision == "highest"


FITS = {
    "arrays": lambda net, X, y, each: net.fit(X, y, epochs=2, callbacks=[each]),
    "a stream": lambda net, X, y, each: net.fit(
        fastbp.stream(lambda: [(X, y)]), None, epochs=2, callbacks=[each]
    ),
    "a hook": lambda net, X, y, each: (
        net.on_delta(lambda l, delta: None),
        net.fit(X, y, epochs=2, callbacks=[each]),
    ),
}


class Change:
    """A callback that sets another precision, in its own thread or in another one."""

    def __init__(self, net, in_thread):
        self.net, self.in_thread = net, in_thread

    def set(self):
        self.net.matmul_precision = "medium"

    def on_epoch_end(self, epoch, logs):
        if self.in_thread:
            with ThreadPoolExecutor(1) as pool:
                pool.submit(self.set).result()
        else:
            self.set()


@MODULES
@pytest.mark.parametrize("in_thread", [False, True])
@pytest.mark.parametrize("kind", FITS)
def test_a_running_fit_has_one_precision(module, kind, in_thread):
    X, y = data()
    net = small(module)
    with pytest.raises(RuntimeError, match="a fit of this network is running"):
        FITS[kind](net, X, y, Change(net, in_thread))
    assert net.matmul_precision == "highest"
    net.matmul_precision = "medium"  # after the fit
    with pytest.raises(ValueError, match="epochs"):
        net.fit(X, y, epochs=0)
    net.matmul_precision = "high"


def test_threads_may_set_it_while_others_use_the_network():
    """Each call has one precision from its begin to its end: its result is one of three."""
    X, y = data()
    net, adam, stop = small(), Adam(1e-4), threading.Event()
    for layer in net.layers:
        layer.trainable = False  # a step leaves theta as it is
    calls = [
        lambda: net.predict(X).tobytes(),
        lambda: net.train_batch(X, y, adam),
        lambda: net.value_and_grad(X, y)[0],
    ]
    known = [set() for _ in calls]
    for net.matmul_precision in NAMES:
        for call, results in zip(calls, known, strict=True):
            results.add(call())
    assert [len(results) for results in known] == [3, 3, 3]

    def use(call):
        found = {call()}
        while not stop.is_set():
            found.add(call())
        return found

    with ThreadPoolExecutor(len(calls)) as pool:
        running = [pool.submit(use, call) for call in calls]
        for i in range(200):
            net.matmul_precision = NAMES[i % 3]
        stop.set()
        for each, results in zip(running, known, strict=True):
            assert each.result() <= results


# ---- copies and files -------------------------------------------------------------------------


@MODULES
@pytest.mark.parametrize("name", NAMES)
def test_copies_have_it(module, name):
    net = small(module, matmul_precision=name)
    for again in (copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert again.matmul_precision == name


def test_a_pickle_without_it_is_highest():
    fastbp.set_float32_matmul_precision("medium")
    state = small().__getstate__()
    del state["matmul_precision"]
    net = fastbp.Network.__new__(fastbp.Network)
    net.__setstate__(state)
    assert net.matmul_precision == "highest"


@pytest.mark.parametrize("name", NAMES)
def test_files_have_it(tmp_path, name):
    net = small(matmul_precision=name)
    net.layers[0].trainable = False
    net.save(tmp_path / "net")
    fastbp.set_float32_matmul_precision("medium")
    again = load(tmp_path / "net")
    assert again.matmul_precision == name and not again.layers[0].trainable
    assert again.theta.tobytes() == net.theta.tobytes()
    assert read_safetensors(tmp_path / "net")[1]["version"] == ("2" if name == "highest" else "3")


FORGED = {
    "another name": ('"medium"', '"low"', "got 'low'"),
    "a number": ('"medium"', "8", "matmul_precision in the architecture must be a string"),
    "null": ('"medium"', "null", "matmul_precision in the architecture must be a string"),
    "float64": ('"float32"', '"float64"', "takes matmul_precision='highest' only|must be float64"),
    "no field": (', "matmul_precision": "medium"', "", "lacks 'matmul_precision'"),
}


@pytest.mark.parametrize("case", FORGED)
def test_forged_files_are_refused(tmp_path, case):
    old, new, message = FORGED[case]
    small(matmul_precision="medium").save(tmp_path / "net")
    tensors, metadata = read_safetensors(tmp_path / "net")
    assert old in metadata["architecture"]
    metadata["architecture"] = metadata["architecture"].replace(old, new)
    write_safetensors(tmp_path / "net", tensors, metadata)
    with pytest.raises(ModelFileError, match=message):
        load(tmp_path / "net")


def test_a_file_of_version_1_has_no_such_field(tmp_path):
    small().save(tmp_path / "net")
    tensors, metadata = read_safetensors(tmp_path / "net")
    metadata["architecture"] = metadata["architecture"][:-1] + ', "matmul_precision": "medium"}'
    write_safetensors(tmp_path / "net", tensors, metadata)
    with pytest.raises(ModelFileError, match="unknown field 'matmul_precision'"):
        load(tmp_path / "net")


def test_a_file_takes_no_float64_that_rounds_factors(tmp_path):
    net = reference.Network((2, 1), matmul_precision="medium")
    message = "cannot hold a float64 network with matmul_precision='medium'.* or pickle it"
    with pytest.raises(ValueError, match=message):
        net.save(tmp_path / "net")
    assert not (tmp_path / "net").exists()
    assert pickle.loads(pickle.dumps(net)).matmul_precision == "medium"


@MODULES
@pytest.mark.parametrize(("before", "after"), [("medium", "highest"), ("highest", "high")])
def test_a_checkpoint_resumes_at_the_same_precision_only(module, tmp_path, before, after):
    X, y = data()
    fit = {"epochs": 4, "batch_size": 8, "checkpoint": tmp_path / "run"}
    whole = small(module, matmul_precision=before)
    whole.fit(X, y, **fit | {"checkpoint": tmp_path / "whole"})
    small(module, matmul_precision=before).fit(X, y, **fit | {"epochs": 2})
    other = small(module, matmul_precision=after)
    with pytest.raises(ValueError, match=f"matmul_precision is {before}, here it is {after}"):
        other.fit(X, y, **fit)
    same = small(module, matmul_precision=before)
    same.fit(X, y, **fit)
    assert same.theta.tobytes() == whole.theta.tobytes()


# ---- what does not round ----------------------------------------------------------------------


def test_derivatives_are_those_of_highest():
    X, y = data(5)
    v = np.random.default_rng(2).normal(size=small().theta.size)
    found = []
    for name in NAMES:
        net = small(matmul_precision=name)
        found.append([net.vjp(X, y), net.jacobian(X), net.per_sample_gradients(X, y)])
        found[-1] += [net.gradient_norms(X, y), net.jvp(X, X), net.hvp(X, y, v)]
        found[-1] += net.relevance(X, y)
    for highest, high, medium in zip(*found, strict=True):
        assert highest.tobytes() == high.tobytes() == medium.tobytes()


def test_gradcheck_needs_highest():
    X, y = data(3)
    with pytest.raises(ValueError, match="gradcheck needs matmul_precision='highest'"):
        gradcheck(small(matmul_precision="high"), X, y)


@MODULES
@pytest.mark.parametrize("name", NAMES[1:])
def test_lbfgs_takes_highest_only(module, name):
    pytest.importorskip("scipy", reason="SciPy is not installed")
    X, y = data()
    net = small(module, matmul_precision=name)
    before = net.theta.tobytes()
    message = f"LBFGS takes matmul_precision='highest' only.* has {name!r}: set its"
    with pytest.raises(ValueError, match=message):
        net.fit(X, y, epochs=1, optimizer=LBFGS(max_iter=5))
    assert net.theta.tobytes() == before
    net.matmul_precision = "highest"
    net.fit(X, y, epochs=1, optimizer=LBFGS(max_iter=5))
    assert net.theta.tobytes() != before
