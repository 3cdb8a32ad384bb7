"""fit in the reference, against a loop of single steps."""

import math

import numpy as np
import pytest

from fastbp._training.shuffle import permutation
from fastbp.errors import DivergenceError
from fastbp.metrics._metrics import default_score
from fastbp.optim import SGD, Adam
from fastbp.reference import Network

pytestmark = pytest.mark.once

N = 11


def case(seed=5, **options):
    """A network 3-4-2 and N samples of a function that it can learn."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(N, 3))
    y = np.stack([X[:, 0] * X[:, 1], np.sin(X[:, 2])], axis=1)
    return Network((3, 4, 2), activation="tanh", seed=seed, **options), X, y


def train_by_hand(net, X, y, s, optimizer, epochs, batch_size, shuffle=True):
    """The batches and steps of fit; returns the mean losses."""
    losses = []
    for epoch in range(epochs):
        order = permutation(net.seed, epoch, len(X)) if shuffle else np.arange(len(X))
        J, S = [], []
        for first in range(0, len(X), batch_size):
            rows = order[first : first + batch_size]
            if s[rows].sum() == 0:
                continue
            net.forward(X[rows])
            J.append(net.backward(y[rows], s[rows]))
            S.append(s[rows].sum())
            net.step(optimizer)
        losses.append(sum(j * w for j, w in zip(J, S, strict=True)) / sum(S))
    return losses


@pytest.mark.parametrize("make_optimizer", [lambda: SGD(0.05, momentum=0.9), lambda: Adam(0.01)])
@pytest.mark.parametrize("batch_size", [1, 4, N, 100])
@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fit_makes_the_documented_steps(make_optimizer, batch_size, shuffle, dtype):
    net, X, y = case(dtype=dtype, l2=0.01)
    twin, _, _ = case(dtype=dtype, l2=0.01)
    s = np.arange(N) % 3 * 0.5  # a batch with only weights of 0 is skipped
    optimizer = make_optimizer()
    history = net.fit(
        X, y, epochs=3, batch_size=batch_size, optimizer=optimizer, shuffle=shuffle, sample_weight=s
    )
    own = make_optimizer()
    assert history.loss == train_by_hand(twin, X, y, s, own, 3, batch_size, shuffle)
    np.testing.assert_array_equal(net.theta, twin.theta)
    assert optimizer.t == own.t


def test_fit_is_reproducible_and_depends_on_the_seed():
    runs = [case(seed)[0] for seed in (5, 5, 6)]
    _, X, y = case()
    histories = [net.fit(X, y, epochs=2, batch_size=2) for net in runs]
    assert histories[0].loss == histories[1].loss != histories[2].loss
    np.testing.assert_array_equal(runs[0].theta, runs[1].theta)


def test_fit_does_not_change_its_arguments():
    net, X, y = case()
    kept = X.copy(), y.copy()
    net.fit(X, y, epochs=1, batch_size=3)
    np.testing.assert_array_equal(X, kept[0])
    np.testing.assert_array_equal(y, kept[1])


def test_an_optimizer_object_keeps_its_state_and_a_name_does_not():
    net, X, y = case()
    twin, _, _ = case()
    adam = Adam()
    net.fit(X, y, epochs=2)
    twin.fit(X, y, epochs=2, optimizer=adam)
    np.testing.assert_array_equal(net.theta, twin.theta)
    twin.fit(X, y, epochs=1, optimizer=adam)
    assert adam.t == 3


def test_validation_data_are_scored_after_every_epoch():
    net, X, y = case(l2=0.1)
    weights = np.arange(1.0, N + 1)
    history = net.fit(X, y, epochs=2, validation_data=(X, y, weights))
    assert history.val_loss[-1] == net.loss(X, y, weights)
    assert history.val_score[-1] == default_score(net.criterion, net.predict(X), y, weights)
    assert history.epochs == len(history.val_loss) == len(history.samples_per_second) == 2
    history = net.fit(X, y, epochs=2, validation_data=(X, y))
    assert history.val_loss[-1] == net.loss(X, y)
    assert net.fit(X, y, epochs=1).val_loss == []


def test_divergence_is_raised_before_the_update():
    net, X, y = case()
    twin, _, _ = case()
    hot = SGD(1e200)
    with pytest.raises(DivergenceError, match=r"epoch \d+, step \d+ .*lower the learning") as info:
        net.fit(X, y, epochs=50, batch_size=5, optimizer=hot, shuffle=False)
    assert not math.isfinite(info.value.value)
    steps = info.value.epoch * 3 + info.value.step
    assert hot.t == steps > 0
    cold = SGD(1e200)
    for step in range(steps):
        rows = slice(step % 3 * 5, step % 3 * 5 + 5)
        twin.forward(X[rows])
        assert math.isfinite(twin.backward(y[rows]))
        twin.step(cold)
    np.testing.assert_array_equal(net.theta, twin.theta)


def test_callbacks_see_every_epoch_and_may_stop_the_fit():
    net, X, y = case()
    seen = []

    class Watcher:
        def on_fit_begin(self, network):
            seen.append(network is net)

        def on_fit_end(self, network):
            seen.append("end")

    history = net.fit(
        X,
        y,
        epochs=9,
        validation_data=(X, y),
        callbacks=[Watcher(), lambda epoch, logs: seen.append((epoch, sorted(logs))) or epoch == 1],
    )
    names = ["loss", "lr", "samples_per_second", "val_loss", "val_score"]
    assert seen == [True, (0, names), (1, names), "end"]
    assert history.epochs == 2


def test_fit_leaves_no_pass():
    net, X, y = case()
    net.forward(X)
    net.fit(X, y, epochs=1)
    with pytest.raises(RuntimeError, match="call forward"):
        net.backward(y)
    assert net.layers[0].z is None and net.layers[0].delta is None


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs must be at least 1; got 0"),
        ({"epochs": 2.0}, TypeError, "epochs must be a whole number"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1"),
        ({"n_threads": 0}, ValueError, "n_threads must be at least 1"),
        ({"optimizer": "ftrl"}, ValueError, "unknown optimizer 'ftrl'; known: sgd, adam"),
        ({"optimizer": 0.1}, TypeError, "optimizer must be a name or an Optimizer"),
        ({"callbacks": print}, TypeError, r"write callbacks=\[callback\]"),
        ({"callbacks": [3]}, TypeError, "callback 3 is neither callable nor has any of"),
        ({"validation_data": 3}, TypeError, r"validation_data must be \(X, y\)"),
        (
            {"validation_data": (np.ones((2, 3)), np.ones((3, 2)))},
            ValueError,
            r"validation_data\[1\] has 3 rows; validation_data\[0\] has 2",
        ),
        ({"sample_weight": -np.ones(N)}, ValueError, "sample_weight must not be negative"),
    ],
)
def test_bad_arguments_are_refused(options, error, message):
    net, X, y = case()
    theta = net.theta.copy()
    with pytest.raises(error, match=message):
        net.fit(X, y, **options)
    np.testing.assert_array_equal(net.theta, theta)


def test_data_that_are_not_finite_are_refused():
    net, X, y = case()
    X[7, 1] = np.nan
    with pytest.raises(ValueError, match="X holds NaN or infinity, first in row 7"):
        net.fit(X, y)
    with pytest.raises(ValueError, match=r"validation_data\[0\] holds NaN"):
        net.fit(np.ones_like(X), y, validation_data=(X, y))


def test_an_optimizer_with_the_state_of_another_network_is_refused():
    net, X, y = case()
    adam = Adam()
    net.fit(X, y, epochs=1, optimizer=adam)
    other = Network((3, 5, 2), seed=0)
    with pytest.raises(ValueError, match="holds the state of 26 parameters of float64"):
        other.fit(X, y, optimizer=adam)
