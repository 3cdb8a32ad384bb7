"""fit in the engine: trajectories against the reference, reproducibility, callbacks."""

import copy
import pickle
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from engine_cases import DTYPES, OPTIMIZERS, in_child, targets_for
from error_bounds import ErrorBounds

import fastbp
from fastbp import _core, reference
from fastbp._training.sessions import BatchSession
from fastbp.metrics._metrics import default_score
from fastbp.optim import SGD, Adam
from fastbp.reference._cost import dense_targets
from fastbp.reference._updates import update

N = 23
NETS = {
    "classes": {"activation": ["tanh", "softplus"], "output": "softmax", "loss": "cross_entropy"},
    "bits": {
        "activation": ["elu(0.5)", "sigmoid"],
        "output": "sigmoid",
        "loss": "binary_cross_entropy",
    },
    "numbers": {"activation": ["relu", "leaky_relu(0.1)"], "loss": "mse"},
}
# (net, batch_size, shuffle, weighted, penalties): last batches that are shorter, single rows, and
# batches that are larger than the data
RUNS = [
    ("classes", 8, True, False, {}),
    ("classes", 1, True, True, {"l2": 0.01}),
    ("bits", 9, False, False, {"l1": 0.001}),
    ("bits", N, True, True, {"l1": 0.001, "l2": 0.01}),
    ("numbers", 5, True, True, {}),
    ("numbers", 100, False, False, {"l2": 0.01}),
]


def case(kind="numbers", dtype="float64", widths=(5, 9, 7, 3), n=N, network=fastbp.Network, **more):
    """A network with n samples, all exact in float32; class indices if the loss takes them."""
    rng = np.random.default_rng(7)
    net = network(widths, seed=4, dtype=dtype, **(NETS[kind] | more))
    X = rng.normal(size=(n, widths[0])).astype(np.float32)
    y = targets_for(rng, net.criterion.name, n, widths[-1]).astype(np.float32)
    if net.criterion.labels:
        y = y.argmax(axis=1)
    return net, X.astype(dtype), y if y.ndim == 1 else y.astype(dtype)


# ---- trajectories -------------------------------------------------------------------------


class Jittered(reference.Network):
    """The reference with random errors as large as those of a computation in another dtype.

    A few such runs show how far rounding can move a trajectory.
    """

    def disturb(self, dtype, seed):
        self._other, self._rng = dtype, np.random.default_rng(seed)

    def _noise(self, size):
        return self._rng.uniform(-1, 1, size.shape) * size

    def _session(self, data, optimizer, options):
        def step(X, y, s, smoothing, dropout):
            assert smoothing is dropout is None
            return self._jittered_step(X, y, s, optimizer)

        settings = self.criterion, self.seed, self.dtype
        return BatchSession(step, data, optimizer, options, *settings, lock=self._lock)

    def _jittered_step(self, X, y, s, optimizer):
        self.forward(X)
        J = self.backward(y, s)
        bounds = ErrorBounds(self, dense_targets(self._architecture, y), s, self._other)
        for layer, dW, db in zip(self.layers, bounds.dW, bounds.db, strict=True):
            layer.dW[...] += self._noise(dW)
            layer.db[...] += self._noise(db)
        update(optimizer, self.theta, self.grad)
        eps = np.finfo(self._other).eps
        for state in (self.theta, *optimizer.moments):
            state += self._noise(4 * eps * abs(state))
        return J + self._rng.uniform(-1, 1) * bounds.J


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run[0]}-{run[1]}")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_trajectory(rule, dtype, run):
    kind, batch_size, shuffle, weighted, penalties = run
    s = np.arange(N) % 3 * 0.5 if weighted else None  # a batch with only zeros is skipped
    options = {"epochs": 4, "batch_size": batch_size, "shuffle": shuffle, "sample_weight": s}
    start = case(kind, "float32")[0].theta

    def train(network, precision, seed=None):
        net, X, y = case(kind, precision, network=network, **penalties)
        net.theta = start
        if seed is not None:
            net.disturb(dtype, seed)
        optimizer = OPTIMIZERS[rule]()
        history = net.fit(X, y, optimizer=optimizer, **options)
        return net.theta.astype(np.float64), np.array(history.loss), optimizer.t

    theta, losses, steps = train(fastbp.Network, dtype)
    exact, exact_losses, exact_steps = train(reference.Network, "float64")
    jittered = [train(Jittered, "float64", seed) for seed in range(4)]
    drift = max(abs(other - exact).max() for other, _, _ in jittered)
    loss_drift = max(abs(other - exact_losses).max() for _, other, _ in jittered)
    assert drift < 0.01 * abs(exact - start).max(), "the tolerance is too large"
    assert steps == exact_steps
    assert abs(theta - exact).max() <= drift
    assert abs(losses - exact_losses).max() <= loss_drift


def train_by_hand(net, X, y, optimizer, epochs, batch_size, between=lambda: None):
    """The steps of fit without shuffling; returns the mean losses."""
    losses = []
    for _ in range(epochs):
        total = 0.0
        for first in range(0, len(X), batch_size):
            rows = slice(first, first + batch_size)
            total += net.value_and_grad(X[rows], y[rows])[0] * len(X[rows])
            net.step(optimizer)
        losses.append(total / len(X))
        between()
    return losses


@pytest.mark.parametrize("batch_size", [1, 5, 8, 9, 20, N, 100])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_fit_makes_the_steps_of_value_and_grad_and_step(rule, dtype, batch_size):
    """With the same bits, although fit does not write its gradients.

    Except for Adam: where the update is part of the weight sweep, its constants include the scale
    of the gradient.
    """
    net, X, y = case("classes", dtype, l1=0.001, l2=0.01)
    twin = copy.deepcopy(net)
    options = {"epochs": 2, "batch_size": batch_size}
    history = net.fit(X, y, optimizer=OPTIMIZERS[rule](), shuffle=False, **options)
    losses = train_by_hand(twin, X, y, OPTIMIZERS[rule](), **options)
    # a step rounds theta and its own length, which is at most lr / sqrt(1 − β2)
    eps, steps = float(np.finfo(dtype).eps), 2 * -(-N // batch_size)
    length = 0.01 / np.sqrt(1 - 0.99)
    apart = steps * eps * (abs(twin.theta).max() + 8 * length) if rule == "adam" else 0
    assert abs(net.theta - twin.theta).max() <= apart
    # J is a sum of at most N products of the same numbers in double, in another order
    rounding = N * np.finfo(float).eps + (steps * eps if rule == "adam" else 0)
    np.testing.assert_allclose(history.loss, losses, rtol=rounding, atol=0)


# ---- reproducibility ----------------------------------------------------------------------

PROGRAM = """
import hashlib, numpy, fastbp
X = numpy.sin(numpy.arange(300.0)).reshape(60, 5)
net = fastbp.Network((5, 9, 3), activation="tanh", dtype={dtype!r}, seed=12)
net.fit(X, X[:, :3], epochs=3, batch_size=7)
print(hashlib.sha256(net.theta.tobytes()).hexdigest())
"""


@pytest.mark.parametrize("dtype", DTYPES)
def test_two_processes_get_the_same_bits(dtype):
    command = [sys.executable, "-P", "-c", PROGRAM.format(dtype=dtype)]
    first, second = (
        subprocess.run(command, check=True, capture_output=True, timeout=120).stdout
        for _ in range(2)
    )
    assert first == second and len(first.strip()) == 64


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_seed_gives_the_same_bits_and_another_seed_does_not(dtype):
    runs = [case("bits", dtype)[0] for _ in range(3)]
    runs[2].__setstate__(runs[2].__getstate__() | {"seed": 5})
    _, X, y = case("bits", dtype)
    histories = [net.fit(X, y, epochs=2, batch_size=4) for net in runs]
    assert histories[0].loss == histories[1].loss != histories[2].loss
    np.testing.assert_array_equal(runs[0].theta, runs[1].theta)
    assert not np.array_equal(runs[0].theta, runs[2].theta)


@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_a_second_fit_continues_with_the_state_of_the_optimizer(rule):
    """Two fits equal one longer fit if they visit the samples in the same order."""
    whole, X, y = case("classes")
    parts, one, two = case("classes")[0], OPTIMIZERS[rule](), OPTIMIZERS[rule]()
    whole.fit(X, y, epochs=5, batch_size=6, shuffle=False, optimizer=one)
    parts.fit(X, y, epochs=2, batch_size=6, shuffle=False, optimizer=two)
    two = pickle.loads(pickle.dumps(two))
    parts.fit(X, y, epochs=3, batch_size=6, shuffle=False, optimizer=two)
    np.testing.assert_array_equal(whole.theta, parts.theta)
    assert one.t == two.t == 20


def test_slices_of_time_do_not_change_the_bits():
    nets = [case("classes")[0] for _ in range(2)]
    _, X, y = case("classes")
    y = y.astype(np.int32)
    for net, seconds in zip(nets, (0.0, 60.0), strict=True):
        adam = Adam()
        adam.bind(net.theta.size, net.dtype)
        fit = _core.Fit(net._backend.net, net.theta, X, y, None, adam, 5, True, 9)
        for epoch in range(3):
            done = False
            while not done:
                diverged, done, at, step, mean, last = fit.run(seconds)
                assert (diverged, at) == (False, epoch)
            assert step == 5 and mean > 0 and last > 0
    np.testing.assert_array_equal(nets[0].theta, nets[1].theta)


# ---- between epochs -----------------------------------------------------------------------


def test_validation_data_are_scored_after_every_epoch():
    net, X, y = case("classes", l2=0.1)
    weights = np.arange(1.0, N + 1)
    history = net.fit(X, y, epochs=2, validation_data=(X, y, weights))
    assert history.val_loss[-1] == net.loss(X, y, weights)
    assert history.val_score[-1] == default_score(net.criterion, net.predict(X), y, weights)
    assert history.epochs == len(history.val_loss) == len(history.samples_per_second) == 2
    assert min(history.samples_per_second) > 0


def test_a_callback_that_returns_true_stops_the_fit():
    net, X, y = case()
    seen = []
    history = net.fit(
        X, y, epochs=9, callbacks=[lambda epoch, logs: seen.append(logs["loss"]) or epoch == 1]
    )
    assert seen == history.loss and history.epochs == 2


class Begin:
    def __init__(self, action):
        self.on_fit_begin = action


def test_on_fit_begin_may_set_the_weights():
    first, X, y = case("bits")
    second, start = case("bits")[0], first.theta * 0.5

    def replace(net):
        net.theta = start

    replace(first)
    first.fit(X, y, epochs=1, batch_size=10)
    second.fit(X, y, epochs=1, batch_size=10, callbacks=[Begin(replace)])
    np.testing.assert_array_equal(first.theta, second.theta)


@pytest.mark.parametrize("batch_size", [4, 12])
def test_a_callback_may_change_the_weights(batch_size):
    """The next step uses the new weights, also in its transposed copies."""
    net, X, y = case("bits")
    twin = copy.deepcopy(net)

    def halve(*_, net):
        net.theta[...] *= 0.5

    options = {"epochs": 3, "batch_size": batch_size, "optimizer": SGD(0.1)}
    net.fit(X, y, shuffle=False, callbacks=[partial(halve, net=net)], **options)
    train_by_hand(twin, X, y, between=partial(halve, net=twin), **options)
    np.testing.assert_array_equal(net.theta, twin.theta)


CHANGES = {
    "learning rate": lambda optimizer: setattr(optimizer, "lr", 0.01),
    "momentum": lambda optimizer: setattr(optimizer, "momentum", 0.5),
    "reset": lambda optimizer: optimizer.reset(),
}


def change_the_optimizer(change, momentum):
    net, X, y = case("bits")
    twin = copy.deepcopy(net)
    one, two = (SGD(0.1, momentum=momentum) for _ in range(2))
    options = {"epochs": 3, "batch_size": 8}

    def turn(epoch, logs):
        CHANGES[change](one)

    net.fit(X, y, shuffle=False, optimizer=one, callbacks=[turn], **options)
    train_by_hand(twin, X, y, two, between=lambda: CHANGES[change](two), **options)
    np.testing.assert_array_equal(net.theta, twin.theta)
    assert one.t == two.t


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_callback_may_change_the_optimizer(change, momentum):
    """In a child process, because an engine that used freed moments would crash."""
    in_child(change_the_optimizer, change, momentum)
