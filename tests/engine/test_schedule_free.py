"""ScheduleFree: its steps by a literal implementation, the points x and y, bits, and refusals."""

import copy
import gc

import numpy as np
import pytest
from engine_cases import DTYPES
from fit_cases import StopAt, case

import fastbp
from fastbp import Dense, optim, reference
from fastbp.optim import SGD, Adam, ScheduleFree

NETWORKS = pytest.mark.parametrize("network", [fastbp.Network, reference.Network])
BOTH = {
    "adamw": lambda **o: ScheduleFree(**{"lr": 0.05, "betas": (0.9, 0.99)} | o),
    "sgd": lambda **o: ScheduleFree(**{"lr": 0.3, "base": "sgd", "betas": (0.8, 0.0)} | o),
}
BASES = pytest.mark.parametrize("base", BOTH)


class Literal:
    """The published step, which keeps y and z alone: x = y + (1 − 1/β)(z − y)."""

    def __init__(self, free, theta):
        self.free, self.y, self.z = free, theta.copy(), theta.copy()
        self.v, self.k, self.sum = np.zeros_like(theta), 0, 0.0

    def step(self, grad):
        free, k = self.free, self.k
        beta, beta2 = free.betas
        warm = free.warmup_steps
        lr = free.lr * ((k + 1) / warm if k < warm else 1.0)
        self.largest = max(lr, getattr(self, "largest", 0.0))
        weight = self.largest**2
        self.sum += weight
        c = weight / self.sum
        if free.base == "adamw":
            self.v = beta2 * self.v + (1 - beta2) * grad * grad
            grad = grad / (np.sqrt(self.v / (1 - beta2 ** (k + 1))) + free.eps)
        grad = grad + free.weight_decay * self.y
        self.y = self.y + c * (self.z - self.y) + lr * (beta * (1 - c) - 1) * grad
        self.z = self.z - lr * grad
        self.k += 1

    @property
    def x(self):
        return self.y + (1 - 1 / self.free.betas[0]) * (self.z - self.y)


@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1}, {"warmup_steps": 7}])
@pytest.mark.parametrize("dtype", DTYPES)
@BASES
@NETWORKS
def test_a_fit_makes_the_published_steps(network, base, dtype, options):
    net, X, y = case(network, dtype)
    free = BOTH[base](**options)
    literal = Literal(free, net.theta.astype(np.float64))
    twin = case(reference.Network)[0]
    net.fit(X, y, epochs=5, batch_size=8, optimizer=free, shuffle=False)
    for i in range(15):
        rows = slice(8 * (i % 3), 8 * (i % 3) + 8)
        twin.theta = literal.y
        twin.value_and_grad(X[rows].astype(np.float64), y[rows])
        literal.step(twin.grad)
    # 15 steps, each with a gradient of up to 8 + 5 terms; x is recovered from y by a factor of 1/β
    tolerance = 15 * 13 * np.finfo(dtype).eps * 10
    np.testing.assert_allclose(net.theta, literal.x, rtol=0, atol=tolerance)
    np.testing.assert_allclose(free.moments[1], literal.y, rtol=0, atol=tolerance)
    np.testing.assert_allclose(free.moments[0], literal.z, rtol=0, atol=tolerance)
    assert abs(literal.x - literal.y).max() > 20 * tolerance


@BASES
@NETWORKS
def test_validation_and_callbacks_see_x(network, base):
    net, X, y = case(network)
    seen = []

    def look(epoch, logs):
        seen.append((net.theta.copy(), logs["val_loss"], net.loss(X, y)))

    free = BOTH[base]()
    net.fit(X, y, epochs=4, batch_size=8, optimizer=free, X_val=X, y_val=y, callbacks=[look])
    assert all(val == pytest.approx(own, rel=1e-12) for _, val, own in seen)
    np.testing.assert_array_equal(seen[-1][0], net.theta)
    with optim.extrapolated(net, free):
        np.testing.assert_array_equal(net.theta, free.moments[1])
    np.testing.assert_array_equal(seen[-1][0], net.theta)
    with pytest.raises(TypeError, match="optimizer must be a ScheduleFree; got Adam"):
        optim.extrapolated(net, Adam()).__enter__()
    with pytest.raises(ValueError, match="holds the state of 32 parameters; the network has 2"):
        optim.extrapolated(network((1, 1)), free).__enter__()


@BASES
@NETWORKS
def test_steps_by_hand_equal_those_of_train_batch(network, base):
    one, X, y = case(network)
    two, three = case(network)[0], case(network)[0]
    frees = [BOTH[base](warmup_steps=3) for _ in range(3)]
    for i in range(6):
        rows = slice(i, i + 8)
        with optim.extrapolated(one, frees[0]):
            J = one.value_and_grad(X[rows], y[rows])[0]
        one.step(frees[0])
        assert two.train_batch(X[rows], y[rows], frees[1]) == pytest.approx(J, rel=1e-13)
        three.fit(X[rows], y[rows], epochs=1, batch_size=8, optimizer=frees[2], shuffle=False)
    # six steps whose raw sums are scaled before or in the update
    np.testing.assert_allclose(one.theta, two.theta, rtol=0, atol=1e-13)
    np.testing.assert_array_equal(two.theta, three.theta)


@pytest.mark.parametrize("steps", [0, 2])
@NETWORKS
def test_training_and_saving_at_y_are_refused(network, steps, tmp_path):
    net, X, y = case(network)
    free, adam = ScheduleFree(0.05), Adam()
    for _ in range(steps):
        net.train_batch(X, y, free)
    before = net.theta.copy()
    calls = {
        "fit": lambda: net.fit(X, y, epochs=1),
        "partial_fit": lambda: net.partial_fit(X, y),
        "LBFGS": lambda: net.fit(X, y, epochs=1, optimizer="lbfgs"),
        "train_batch": lambda: net.train_batch(X, y, adam),
        "step": lambda: net.step(free),
        "save": lambda: net.save(tmp_path / "net"),
        "io.save": lambda: fastbp.io.save(net, tmp_path / "net"),
        "block": lambda: optim.extrapolated(net, free).__enter__(),
    }
    with optim.extrapolated(net, free):
        net.value_and_grad(X, y)
        here = net.theta.copy()
        for call in calls.values():
            with pytest.raises(RuntimeError, match="in a block of extrapolated the network has"):
                call()
        np.testing.assert_array_equal(net.theta, here)
    assert free.t == steps and adam.t == 0 and not any(tmp_path.iterdir())
    np.testing.assert_array_equal(net.theta, before)
    net.step(free)
    net.save(tmp_path / "net")


def test_a_population_is_not_saved_at_y(tmp_path):
    population = fastbp.Population.of(2, (1, 1))
    with (
        optim.extrapolated(population[1], ScheduleFree()),
        pytest.raises(RuntimeError, match="call save after the block"),
    ):
        population.save(tmp_path / "nets")


@NETWORKS
def test_a_step_with_a_gradient_at_x_is_refused(network):
    net, X, y = case(network)
    free, other = ScheduleFree(0.05), ScheduleFree(0.05)
    net.value_and_grad(X, y)
    net.step(free)  # at first x, y and z are one
    before = net.theta.copy()
    net.value_and_grad(X, y)
    with pytest.raises(RuntimeError, match="there was no backward there: run forward and"):
        net.step(free)
    with optim.extrapolated(net, free):
        net.value_and_grad(X, y)
    other.load_state_dict(free.state_dict())
    with pytest.raises(RuntimeError, match="there was no backward there"):
        net.step(other)
    assert free.t == 1 and (net.theta == before).all()
    net.step(free)
    with pytest.raises(RuntimeError, match="since the last step there was no backward there"):
        net.step(free)
    assert free.t == 2


@NETWORKS
def test_a_forward_at_x_has_no_backward_at_y(network):
    net, X, y = case(network)
    free = ScheduleFree(0.05)
    net.train_batch(X, y, free)
    net.forward(X)
    with (
        optim.extrapolated(net, free),
        pytest.raises(RuntimeError, match=r"call forward\(X\) first"),
    ):
        net.backward(y)


@NETWORKS
def test_the_points_of_another_network_are_refused(network):
    net, X, y = case(network)
    free = ScheduleFree(0.05)
    net.fit(X, y, epochs=2, optimizer=free)
    other = case(network)[0]
    before, t = other.theta.copy(), free.t
    other.value_and_grad(X, y)
    for call in (
        lambda: other.fit(X, y, epochs=1, optimizer=free),
        lambda: other.fit(fastbp.stream(X, y), epochs=1, optimizer=free),
        lambda: other.train_batch(X, y, free),
        lambda: other.step(free),
        lambda: optim.extrapolated(other, free).__enter__(),
    ):
        with pytest.raises(ValueError, match="holds the points y and z of another network"):
            call()
    assert free.t == t and (other.theta == before).all()
    twin = net.copy()  # which has the same x
    twin.train_batch(X, y, free)
    with pytest.raises(ValueError, match="of another network"):
        net.train_batch(X, y, free)
    free.reset()
    other.train_batch(X, y, free)


@NETWORKS
def test_the_points_of_a_network_that_is_gone_are_refused(network):
    net, X, y = case(network)
    free = ScheduleFree(0.05)
    net.fit(X, y, epochs=2, optimizer=free)
    twin, other, t = net.copy(), case(network)[0], free.t
    before = other.theta.copy()
    del net
    gc.collect()
    for call in (
        lambda: other.fit(X, y, epochs=1, optimizer=free),
        lambda: other.train_batch(X, y, free),
        lambda: optim.extrapolated(other, free).__enter__(),
    ):
        with pytest.raises(ValueError, match="holds the points y and z of another network"):
            call()
    assert free.t == t and (other.theta == before).all()
    twin.fit(X, y, epochs=1, optimizer=free)


@pytest.mark.parametrize("net", [3, None, fastbp.Population.of(2, (1, 1))])
def test_only_a_network_is_extrapolated(net):
    with pytest.raises(TypeError, match=f"net must be a Network, .*; got {type(net).__name__}$"):
        optim.extrapolated(net, ScheduleFree()).__enter__()


def test_a_population_refuses_the_points_of_one_network():
    net, X, y = case()
    free, nets = ScheduleFree(0.05), [case()[0] for _ in range(2)]
    for _ in range(2):  # each fit copies it
        fastbp.Population(nets).fit(X, y, epochs=1, optimizer=free)
    net.fit(X, y, epochs=1, optimizer=free)
    before = [each.theta.copy() for each in nets]
    with pytest.raises(ValueError, match="y and z of one network: give a list with one optimiser"):
        fastbp.Population(nets).fit(X, y, epochs=1, optimizer=free)
    for each, kept in zip(nets, before, strict=True):
        np.testing.assert_array_equal(each.theta, kept)
    fastbp.Population([net]).fit(X, y, epochs=1, optimizer=free)


@BASES
@NETWORKS
def test_two_fits_equal_one(network, base):
    whole, X, y = case(network)
    parts = case(network)[0]
    kept = BOTH[base]()
    whole.fit(X, y, epochs=6, batch_size=8, optimizer=BOTH[base]())
    parts.fit(X, y, epochs=2, batch_size=8, optimizer=kept)
    kept = copy.deepcopy(kept)
    parts.fit(X, y, epochs=6, initial_epoch=2, batch_size=8, optimizer=kept)
    np.testing.assert_array_equal(whole.theta, parts.theta)


@pytest.mark.parametrize("steps", [2, 3, 7])
@BASES
def test_a_resumed_fit_is_bit_identical(base, steps, tmp_path):
    nets = [case()[0] for _ in range(3)]
    _, X, y = case()
    options = {"epochs": 4, "batch_size": 8, "X_val": X, "y_val": y}
    one = nets[0].fit(X, y, optimizer=BOTH[base](), **options)
    with pytest.raises(KeyboardInterrupt):
        stop = [StopAt(steps)]
        nets[1].fit(X, y, optimizer=BOTH[base](), checkpoint=tmp_path, callbacks=stop, **options)
    two = nets[2].fit(X, y, optimizer=BOTH[base](), checkpoint=tmp_path, **options)
    np.testing.assert_array_equal(nets[0].theta, nets[2].theta)
    assert one.loss == two.loss and one.val_loss == two.val_loss


@BASES
def test_the_state_is_saved(base, tmp_path):
    net, X, y = case()
    free = BOTH[base]()
    net.fit(X, y, epochs=2, optimizer=free)
    free.save(tmp_path / "free.safetensors")
    other = optim.load(tmp_path / "free.safetensors")
    assert repr(other) == repr(free) and other.base == base and other.t == 2
    twin = case()[0]
    twin.theta = net.theta
    net.fit(X, y, epochs=4, initial_epoch=2, optimizer=free)
    twin.fit(X, y, epochs=4, initial_epoch=2, optimizer=other)
    np.testing.assert_array_equal(net.theta, twin.theta)


@BASES
def test_threads_do_not_change_the_bits(base):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(600, 30)).astype("f4"), rng.normal(size=(600, 3)).astype("f4")
    nets = [fastbp.Network((30, 200, 3), seed=1) for _ in range(3)]
    for net, threads in zip(nets, (1, 2, 4), strict=True):
        net.fit(X, y, epochs=2, batch_size=300, optimizer=BOTH[base](), n_threads=threads)
    np.testing.assert_array_equal(nets[0].theta, nets[1].theta)
    np.testing.assert_array_equal(nets[0].theta, nets[2].theta)


@BASES
@NETWORKS
def test_frozen_layers_keep_their_parameters(network, base):
    net, X, y = case(network)
    free = BOTH[base]()
    net.fit(X, y, epochs=1, optimizer=free)
    net.layers[0].trainable = False
    net.layers[0].W = np.full(net.layers[0].W.shape, 0.25)
    b = net.layers[0].b.copy()
    net.fit(X, y, epochs=3, optimizer=free)
    assert (net.layers[0].W == 0.25).all() and (net.layers[0].b == b).all()


def test_a_diverging_step_changes_nothing():
    net, X, y = case()
    free = ScheduleFree(0.1)
    net.fit(X, y, epochs=2, optimizer=free)
    before, state = net.theta.copy(), [moment.copy() for moment in free.moments]
    with pytest.raises(fastbp.DivergenceError), np.errstate(over="ignore"):
        net.train_batch(X[:4] * 1e308, y[:4] * 1e300, free)
    np.testing.assert_array_equal(net.theta, before)
    for moment, kept in zip(free.moments, state, strict=True):
        np.testing.assert_array_equal(moment, kept)


def test_it_reaches_the_minimum_without_a_schedule():
    """A constant rate leaves SGD at the noise of its batches; the mean x goes below it."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 5))
    y = X @ rng.normal(size=(5, 1)) + rng.normal(size=(400, 1))
    best = np.linalg.lstsq(np.c_[X, np.ones(400)], y, rcond=None)[1][0] / 800
    found = {}
    for name, optimizer in (("sgd", SGD(0.1)), ("free", ScheduleFree(0.1, "sgd"))):
        net = fastbp.Network((5, 1), dtype="float64", init="zeros")
        net.fit(X, y, epochs=50, batch_size=8, optimizer=optimizer)
        found[name] = net.loss(X, y) - best
    assert 0 < found["free"] < 0.1 * found["sgd"]


def test_bad_arguments():
    with pytest.raises(ValueError, match="unknown base 'adam'; known: adamw, sgd"):
        ScheduleFree(base="adam")
    with pytest.raises(TypeError, match="has no argument 'ema'"):
        ScheduleFree(ema=0.9)
    net, X, y = case()
    net.on_delta(lambda l, delta: None)
    for train in (
        lambda: net.fit(X, y, optimizer="schedulefree"),
        lambda: net.train_batch(X, y, ScheduleFree()),
    ):
        with pytest.raises(TypeError, match="a hook is called at the parameters"):
            train()
    for option in ({"max_norm": 1.0}, {"non_negative": True}):
        limited = fastbp.Network.from_layers(3, [Dense(4, **option), Dense(2)])
        with pytest.raises(TypeError, match="max_norm and non_negative do not limit"):
            limited.fit(X, y, optimizer="schedulefree")
    normed = fastbp.Network.from_layers(3, [Dense(4, norm="batch"), Dense(2)])
    with pytest.raises(TypeError, match="whose running statistics would be unknown"):
        normed.train_batch(X, y, ScheduleFree())
