"""How a fit in the engine ends early, by divergence or Ctrl-C, and the state that it leaves."""

import _thread
import copy
import gc
import pickle
import signal
import sys
import threading
import time
import weakref
from itertools import islice

import numpy as np
import pytest
from engine_cases import DTYPES

import fastbp
from fastbp import _core, reference
from fastbp._training.shuffle import permutation
from fastbp.callbacks import EarlyStopping, TerminateOnNaN
from fastbp.optim import SGD, Adam

N, BATCH = 11, 4


def case(dtype="float64", **options):
    """A network 3-4-2 and N samples of a function that it can learn."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(N, 3)).astype(dtype)
    y = np.stack([X[:, 0] * X[:, 1], np.sin(X[:, 2])], axis=1)
    net = fastbp.Network((3, 4, 2), activation="tanh", dtype=dtype, seed=5, **options)
    return net, X, y


def batches(net, n=N, batch_size=BATCH):
    """The rows of every step of a shuffled fit, epoch after epoch."""
    epoch = 0
    while True:
        order = permutation(net.seed, epoch, n)
        yield from (order[first : first + batch_size] for first in range(0, n, batch_size))
        epoch += 1


# ---- divergence ---------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_divergence_is_raised_before_the_update(dtype):
    net, X, y = case(dtype)
    twin = copy.deepcopy(net)
    optimizer, same = (SGD(1.0, momentum=0.5) for _ in range(2))
    huge = float(np.finfo(dtype).max) ** 0.75

    def heat(epoch, logs):
        optimizer.lr = huge if epoch == 1 else 1.0

    with pytest.raises(fastbp.DivergenceError) as info:
        net.fit(X, y, epochs=9, batch_size=BATCH, optimizer=optimizer, callbacks=[heat])
    error = info.value
    steps_an_epoch = -(-N // BATCH)
    steps = error.epoch * steps_an_epoch + error.step
    assert not np.isfinite(error.value)
    assert error.epoch == 2 and 1 <= error.step < steps_an_epoch
    assert f"epoch {error.epoch}, step {error.step} (counted from 0)" in str(error)
    assert "lower the learning rate" in str(error)

    for step, rows in enumerate(islice(batches(net), steps)):
        same.lr = huge if step >= 2 * steps_an_epoch else 1.0
        assert np.isfinite(twin.value_and_grad(X[rows], y[rows])[0])
        twin.step(same)
    np.testing.assert_array_equal(net.theta, twin.theta)
    assert optimizer.t == steps
    np.testing.assert_array_equal(optimizer.moments, same.moments)


@pytest.mark.parametrize("batch_size", [4, N])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_divergence_in_the_first_step_changes_nothing(value, batch_size):
    net, X, y = case()
    net.layers[1].b[0] = value
    before, adam = net.theta.copy(), Adam()
    with pytest.raises(fastbp.DivergenceError, match="epoch 0, step 0 ") as info:
        net.fit(X, y, batch_size=batch_size, optimizer=adam)
    assert (info.value.epoch, info.value.step, adam.t) == (0, 0, 0)
    np.testing.assert_array_equal(net.theta, before)
    net.layers[1].b[0] = 0.0
    assert np.isfinite(net.fit(X, y, epochs=2, batch_size=batch_size, optimizer=adam).loss).all()


@pytest.mark.parametrize("penalty", ["l1", "l2"])
def test_an_infinite_penalty_is_divergence(penalty):
    """The whole of J has to be finite, not only its first term."""
    net = fastbp.Network((1, 2), dtype="float64", seed=0, **{penalty: 1.0})
    net.layers[0].W = [[1.7e308, -1.7e308]]
    before = net.theta.copy()
    X, y = np.zeros((4, 1)), np.zeros((4, 2))
    assert net.loss(X, y) == np.inf
    with pytest.raises(fastbp.DivergenceError, match="the loss is inf at epoch 0, step 0 "):
        net.fit(X, y, epochs=1)
    np.testing.assert_array_equal(net.theta, before)


# ---- what the last step spoils -------------------------------------------------------------

NETWORKS = pytest.mark.parametrize("network", [fastbp.Network, reference.Network])


def spoils(optimizer, epoch, step):
    """A callback that makes one step too large for float32."""

    class Spoil:
        def on_batch_end(self, made, logs):
            if (logs["epoch"], made + 1) == (epoch, step):
                optimizer.lr = 1e40

    return Spoil()


@pytest.mark.parametrize("streams", [False, True])
@NETWORKS
def test_a_parameter_that_the_last_step_spoils_is_divergence(network, streams):
    _, X, y = case("float32")
    net = network((3, 4, 2), activation="tanh", dtype="float32", seed=5)
    options = {"epochs": 2, "batch_size": BATCH, "optimizer": SGD(0.1)}
    data = (fastbp.stream(X, y),) if streams else (X, y)
    with pytest.raises(fastbp.DivergenceError, match=r"layers\[0\].W has .* after epoch 1") as info:
        net.fit(*data, callbacks=[spoils(options["optimizer"], 1, 2)], **options)
    error = pickle.loads(pickle.dumps(info.value))
    assert (error.epoch, error.step, error.parameter) == (1, 2, "layers[0].W")
    assert not np.isfinite(error.value) and str(error) == str(info.value)
    assert options["optimizer"].t == 6


def test_callbacks_and_checkpoints_at_a_spoilt_end(tmp_path):
    net, X, y = case("float32")
    sgd, end = SGD(0.1), TerminateOnNaN()
    calls = [spoils(sgd, 1, 2), end, EarlyStopping("loss")]
    options = {"epochs": 2, "batch_size": BATCH, "optimizer": sgd}
    history = net.fit(X, y, callbacks=calls, checkpoint=tmp_path, **options)
    assert history.stopped_by == "divergence" and history.epochs == 2
    assert end.error.parameter == "layers[0].W"
    assert not np.isfinite(net.theta).all()  # the loss of epoch 1 is from before its last step
    other = case("float32")[0]
    options["optimizer"] = SGD(0.1)
    seen = []
    resumed = other.fit(
        X, y, checkpoint=tmp_path, callbacks=[EarlyStopping("loss"), lambda *e: seen.append(e)],
        **options,
    )  # fmt: skip
    assert len(seen) == 1 and resumed.epochs == 2 and np.isfinite(other.theta).all()


def test_a_member_that_its_last_step_spoils():
    _, X, y = case("float32")
    nets = [case("float32")[0] for _ in range(3)]
    rates = [SGD(0.1), SGD(1e40), SGD(0.1)]
    histories = fastbp.Population(nets).fit(X, y, epochs=1, optimizer=rates)
    assert [each.stopped_by for each in histories] == [None, "divergence", None]
    assert [each.epochs for each in histories] == [1, 1, 1]


def test_a_parameter_that_was_infinite_before_may_stay():
    net = fastbp.Network((3, 4, 2), activation="relu", dtype="float32", seed=5)
    _, X, y = case("float32")
    net.layers[0].b[1] = -np.inf  # a unit that is switched off
    assert net.fit(X, y, epochs=2, optimizer=SGD(0.1)).epochs == 2
    assert net.layers[0].b[1] == -np.inf


def test_a_nan_of_another_output_than_the_label_is_divergence():
    net = fastbp.Network((1, 2), output="sigmoid", loss="cross_entropy", seed=0)
    net.layers[0].W = [[1.0, np.inf]]  # 0 · inf is NaN
    before = net.theta.copy()
    with pytest.raises(fastbp.DivergenceError):
        net.fit([[0.0]], [0], epochs=1)
    np.testing.assert_array_equal(net.theta, before)


# ---- Ctrl-C -------------------------------------------------------------------------------


class Interrupter:
    """Sends Ctrl-C from another thread, shortly after the fit has begun."""

    def on_fit_begin(self, net):
        self.thread = threading.Timer(0.1, _thread.interrupt_main)
        self.thread.start()

    def on_fit_end(self, net):
        self.thread.join()


def test_interrupt_within_an_epoch(keyboard):
    """A long epoch ends after a whole step, and the network can be trained further."""
    rng = np.random.default_rng(0)
    n = 1_000_000
    X, y = rng.normal(size=(n, 3)), rng.normal(size=(n, 2))
    net, twin = case()[0], case()[0]
    adam, same = Adam(), Adam()
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y, epochs=1000, batch_size=1, optimizer=adam, callbacks=[Interrupter()])
    assert 0 < adam.t
    same.bind(twin.theta.size, twin.dtype)
    fit = _core.Fit(twin._backend.net, twin.theta, X, y, None, same, 1, True, twin.seed)
    while same.t < adam.t:
        fit.run(0.0)
    np.testing.assert_array_equal(net.theta, twin.theta)
    net.fit(X[:50], y[:50], epochs=1, optimizer=adam)
    assert np.isfinite(net.loss(X[:50], y[:50]))


def test_interrupt_in_a_callback(keyboard):
    net, X, y = case()
    ended = []

    class Watcher:
        def on_epoch_end(self, epoch, logs):
            if epoch == 2:
                signal.raise_signal(signal.SIGINT)

        def on_fit_end(self, network):
            ended.append(network is net)

    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y, epochs=9, optimizer=SGD(0.1), callbacks=[Watcher()])
    assert ended == [True]
    twin = case()[0]
    twin.fit(X, y, epochs=3, optimizer=SGD(0.1))
    np.testing.assert_array_equal(net.theta, twin.theta)


# ---- other threads, memory and state ------------------------------------------------------


@pytest.fixture
def voluntary_switches():
    """Python switches threads only where the running one releases the GIL."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e6)
    yield
    sys.setswitchinterval(before)


def test_other_threads_run_during_a_step(voluntary_switches):
    rng = np.random.default_rng(0)
    net = fastbp.Network((100, 400, 400, 10), seed=0)
    X, y = (rng.normal(size=(4000, width)).astype(np.float32) for width in (100, 10))
    sgd = SGD(1e-6)
    sgd.bind(net.theta.size, net.dtype)
    fit = _core.Fit(net._backend.net, net.theta, X, y, None, sgd, 4000, False, 0)
    turns, stop = [], threading.Event()

    def take_turns():
        while not stop.is_set():
            turns.append(None)
            time.sleep(0.001)

    thread = threading.Thread(target=take_turns)
    thread.start()
    found = 0
    try:
        for _ in range(100):  # the system may run other programs during some of them
            before = len(turns)
            fit.run(0.0)  # one step of some 10^10 operations
            found = len(turns) - before
            if found:
                break
    finally:
        stop.set()
        thread.join()
    assert found > 0


def test_a_session_keeps_its_arrays_alive_until_it_ends():
    net, X, y = case()
    sgd = SGD(0.1, momentum=0.9)
    sgd.bind(net.theta.size, net.dtype)
    weights = np.ones(N)
    fit = _core.Fit(net._backend.net, net.theta, X, y, weights, sgd, BATCH, True, 0)
    kept = [weakref.ref(array) for array in (X, y, weights)]
    del X, y, weights, net, sgd
    gc.collect()
    assert all(reference() is not None for reference in kept)
    while not fit.run(1.0)[1]:
        pass
    del fit
    gc.collect()
    assert all(reference() is None for reference in kept)


def test_fit_leaves_its_data_unchanged_and_no_pass():
    net, X, y = case()
    net.forward(X)
    net.backward(y)
    kept = X.copy(), y.copy()
    net.fit(X, y, epochs=1)
    np.testing.assert_array_equal(X, kept[0])
    np.testing.assert_array_equal(y, kept[1])
    assert net.layers[0].z is None and net.layers[0].delta is None
    with pytest.raises(RuntimeError, match="call forward"):
        net.backward(y)
    with pytest.raises(RuntimeError, match="call backward"):
        net.step("sgd")


def test_progress_is_written_to_stderr(capsys):
    net, X, y = case()
    net.fit(X, y, epochs=3, progress=True)
    captured = capsys.readouterr()
    assert captured.out == "" and "3/3" in captured.err
    net.fit(X, y, epochs=3)
    assert capsys.readouterr() == ("", "")


# ---- places that cannot be ----------------------------------------------------------------


def session(loss, y, optimizer):
    net = fastbp.Network((3, 4, 2), loss=loss, dtype="float64", seed=5)
    optimizer.bind(net.theta.size, net.dtype)
    X = np.random.default_rng(2).normal(size=(4, 3))
    return _core.Fit(net._backend.net, net.theta, X, y, None, optimizer, 2, False, 0)


@pytest.mark.parametrize(
    "place",
    [
        (-1, 0, 0, 0),
        (sys.maxsize, 0, 0, 0),  # the next epoch would overflow
        (0, sys.maxsize, 0, 0),  # and the next step
        (0, 0, 2**31, 0),
        (0, 0, 0, 5),  # 4 samples
    ],
)
def test_a_place_out_of_range_is_refused(place):
    fit = session("squared_error", np.zeros((4, 2)), SGD(0.1))
    with pytest.raises(ValueError, match="refused"):
        fit.seek(*place, 0, 0)
    fit.seek(1, 2, 3, 4, 0, 0)


def test_the_last_epoch_has_no_next_one():
    fit = session("squared_error", np.zeros((4, 2)), SGD(0.1))
    fit.seek(sys.maxsize - 1, 0, 0, 0, 0, 0)
    assert [fit.run(1e9)[2] for _ in range(3)] == [sys.maxsize - 1, sys.maxsize, sys.maxsize]


def test_a_place_in_the_middle_of_a_pair_is_refused():
    fit = session("margin_ranking", None, SGD(0.1))
    with pytest.raises(ValueError, match="refused"):
        fit.seek(0, 0, 0, 1, 0, 0)
    fit.seek(0, 1, 0, 2, 0, 0)
    assert fit.run(1e9)[1]  # the epoch is done


def test_a_number_of_steps_that_overflows_is_refused():
    adam = Adam(0.1)
    fit = session("squared_error", np.zeros((4, 2)), adam)
    for t in (2**63, 2**64 - 1):
        adam._t = t
        with pytest.raises(ValueError, match="refused"):
            fit.run(0)
    adam.t = 2**63 - 1  # the largest that it takes
    fit.run(0)
    assert adam.t == 2**63
