"""One network in many threads: its calls follow one another, and none sees half of a step."""

import pickle

import numpy as np
import pytest
from together import N_THREADS, beside, together

import fastbp
from fastbp import reference
from fastbp.optim import SGD, Adam

WIDTHS = (30, 200, 200, 3)  # enough parameters for a step to take longer than a switch of threads
KINDS = [fastbp.Network, reference.Network]
kinds = pytest.mark.parametrize("kind", KINDS, ids=["engine", "reference"])


def problem(kind=fastbp.Network, n=32, **options):
    rng = np.random.default_rng(8)
    net = kind(WIDTHS, activation="tanh", seed=3, dtype="float32", **options)
    X = rng.normal(size=(n, WIDTHS[0])).astype("f")
    return net, X, rng.normal(size=(n, WIDTHS[-1])).astype("f")


def trained(net, X, y, optimizer, steps):
    for _ in range(steps):
        net.train_batch(X, y, optimizer)
    return net.theta.tobytes()


# ---- steps ------------------------------------------------------------------------------------


@kinds
@pytest.mark.parametrize("rule", [SGD, Adam])
def test_steps_of_many_threads_are_those_of_one(kind, rule):
    """Equal steps lead to the same theta in any order, if none is lost, torn or made twice."""
    each = 15 if kind is fastbp.Network else 3
    net, X, y = problem(kind)
    optimizer, alone = rule(1e-3), rule(1e-3)
    together(*[lambda: trained(net, X, y, optimizer, each)] * N_THREADS)
    twin = problem(kind)[0]
    assert net.theta.tobytes() == trained(twin, X, y, alone, each * N_THREADS)
    assert optimizer.t == alone.t == each * N_THREADS


def one_step(net, X, y, optimizer):
    net.fit(X, y, epochs=5, batch_size=len(X), shuffle=False, optimizer=optimizer)


@kinds
def test_fits_of_many_threads_take_turns_by_whole_steps(kind):
    """A step of SGD depends on theta alone, so the order of the fits does not matter."""
    net, X, y = problem(kind)
    together(*[lambda: one_step(net, X, y, SGD(1e-3))] * N_THREADS)
    twin = problem(kind)[0]
    assert net.theta.tobytes() == trained(twin, X, y, SGD(1e-3), 5 * N_THREADS)


def test_fits_with_a_hook_take_turns_by_whole_steps():
    net, X, y = problem()
    net.on_delta(lambda l, delta: None)
    together(*[lambda: one_step(net, X, y, SGD(1e-3))] * N_THREADS)
    twin = problem()[0]
    twin.on_delta(lambda l, delta: None)
    for _ in range(N_THREADS):
        one_step(twin, X, y, SGD(1e-3))
    assert net.theta.tobytes() == twin.theta.tobytes()


def test_partial_fits_count_every_epoch():
    net, X, y = problem()
    together(*[lambda: [net.partial_fit(X, y, batch_size=8) for _ in range(4)]] * N_THREADS)
    twin = problem()[0]
    for _ in range(4 * N_THREADS):
        twin.partial_fit(X, y, batch_size=8)
    assert net.theta.tobytes() == twin.theta.tobytes()


def test_steps_by_hand():
    """Each thread passes and steps; every step belongs to some gradient, and each is counted."""
    net, X, y = problem()
    adam = Adam()

    def work():
        for _ in range(20):
            net.value_and_grad(X, y)
            net.step(adam)

    together(*[work] * N_THREADS)
    assert adam.t == 20 * N_THREADS and np.isfinite(net.theta).all()
    J, grad = net.value_and_grad(X, y)
    fresh = net.copy().value_and_grad(X, y)
    assert (J, grad.tobytes()) == (fresh[0], fresh[1].tobytes())


# ---- what others see --------------------------------------------------------------------------


@kinds
def test_predictions_during_a_fit_are_those_after_some_step(kind):
    net, X, y = problem(kind)
    epochs, point = 40 if kind is fastbp.Network else 8, X[:1]

    def fit(net, **options):
        return net.fit(X, y, epochs=epochs, batch_size=8, optimizer=SGD(1e-2), **options)

    class AfterSteps:
        def on_fit_begin(self, net):
            self.on_batch_end(0, {})

        def on_batch_end(self, step, logs):
            outputs.add(twin.predict(point).tobytes())
            losses.add(twin.loss(X, y))
            thetas.add(twin.theta.tobytes())

    outputs, losses, thetas = set(), set(), set()
    twin = problem(kind)[0]
    fit(twin, callbacks=[AfterSteps()])
    _, (seen, costs, copies, files) = beside(
        lambda: fit(net),
        lambda: net.predict(point).tobytes(),
        lambda: net.loss(X, y),
        lambda: net.copy().theta.tobytes(),
        lambda: pickle.loads(pickle.dumps(net)).theta.tobytes(),
    )
    assert set(seen) <= outputs and set(costs) <= losses
    assert set(copies) | set(files) <= thetas
    assert net.theta.tobytes() == twin.theta.tobytes(), "the others have changed the fit"


@kinds
def test_assignments_are_whole(kind, tmp_path):
    """All that is read comes from one assignment: theta never has values of two."""
    net, X, _ = problem(kind)
    values = (0.25, -0.5, 1.0)
    outputs = set()
    for value in values:
        net.theta = np.full(net.theta.size, value)
        outputs.add(net.predict(X).tobytes())

    def assign():
        for value in values * 30:
            net.theta = np.full(net.theta.size, value)

    def saved():
        net.save(tmp_path / "net.safetensors")
        return fastbp.load(tmp_path / "net.safetensors").theta

    readers = [lambda: net.copy().theta, lambda: net.__getstate__()["theta"]]
    readers += [saved] if kind is fastbp.Network else []
    _, (seen, *read) = beside(assign, lambda: net.predict(X).tobytes(), *readers)
    assert set(seen) <= outputs
    for thetas in read:
        assert {len(set(theta.tolist())) for theta in thetas} == {1}


def test_a_save_during_training_is_some_step(tmp_path):
    net, X, y = problem()
    thetas = {net.theta.tobytes()}

    def train():
        adam = Adam(1e-2)
        for _ in range(40):
            net.train_batch(X, y, adam)
            thetas.add(net.theta.tobytes())  # no other thread makes steps

    def saved():
        net.save(tmp_path / "net.safetensors")
        return fastbp.load(tmp_path / "net.safetensors").theta.tobytes()

    _, (files,) = beside(train, saved)
    assert set(files) <= thetas


# ---- the user's functions ---------------------------------------------------------------------


@kinds
def test_each_call_raises_what_its_own_loss_raised(kind):
    def refuse(a, y):
        raise ValueError(f"target {y[0, 0]:.0f}")

    net = kind((2, 3, 1), loss=refuse, seed=0)
    X = np.ones((600, 2), "f")  # several blocks of rows

    def work(target):
        for _ in range(20):
            for call in (net.loss, net.value_and_grad):
                with pytest.raises(ValueError, match=f"^target {target}$"):
                    call(X, np.full((600, 1), target, "f"))

    together(*(lambda i=i: work(i) for i in range(N_THREADS)))


def test_a_loss_may_use_its_network_while_others_train():
    """Nobody waits for the function of a cost, so it cannot wait for somebody who does."""

    def loss(a, y):
        net.predict(X[:1])
        return ((a - y) ** 2).sum(axis=1) / 2, a - y

    net = fastbp.Network((2, 3, 1), loss=loss, seed=0)
    X, y, sgd = np.ones((600, 2), "f"), np.ones((600, 1), "f"), SGD(1e-3)
    calls = [lambda: net.loss(X, y), lambda: net.train_batch(X, y, sgd)]
    together(*(lambda call=call: [call() for _ in range(20)] for call in calls * 2))
    assert sgd.t == 40


def test_a_hook_may_predict_while_others_train():
    net, X, y = problem()
    sgd, seen = SGD(1e-3), []

    def hook(l, delta):
        seen.append(net.predict(X[:1]).tobytes())

    together(
        lambda: [net.train_batch(X, y, sgd, hook=hook) for _ in range(10)],
        lambda: [net.train_batch(X, y, sgd) for _ in range(10)],
        lambda: [net.predict(X) for _ in range(50)],
    )
    assert sgd.t == 20 and len(seen) == 10 * (len(WIDTHS) - 1)


def test_a_generator_may_use_the_network_that_a_fit_trains():
    """The reader of a stream is a thread of its own, which the fit waits for."""
    net, X, _ = problem()

    def blocks():
        for _ in range(4):
            yield X, net.predict(X) + 1

    history = net.fit(fastbp.stream(blocks), epochs=3, batch_size=8, optimizer=SGD(1e-3))
    assert history.epochs == 3


# ---- settings ---------------------------------------------------------------------------------


def test_a_precision_waits_for_steps():
    net, X, y = problem()
    sgd = SGD(1e-3)

    def toggle():
        for name in ("high", "medium", "highest") * 10:
            net.matmul_precision = name

    together(
        toggle,
        lambda: trained(net, X, y, sgd, 20),
        lambda: [net.predict(X) for _ in range(20)],
        lambda: [net.value_and_grad(X, y) for _ in range(20)],
    )
    assert net.matmul_precision == "highest" and sgd.t == 20
    assert net.predict(X).tobytes() == net.copy().predict(X).tobytes()


def test_a_frozen_layer_stays_as_it_is():
    """`trainable` changes between steps, so a layer that is frozen keeps all of its bits."""
    net, X, y = problem()
    layer, sgd = net.layers[1], SGD(1e-2)

    def freeze():
        for _ in range(30):
            layer.trainable = False
            frozen = layer.W.tobytes()
            net.predict(X)
            assert layer.W.tobytes() == frozen
            layer.trainable = True

    together(freeze, lambda: trained(net, X, y, sgd, 60))
    assert sgd.t == 60
