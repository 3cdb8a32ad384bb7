"""Hooks: what they get, what they may change, and what they must not do."""

import copy
import pickle

import numpy as np
import pytest
from engine_cases import DTYPES, OPTIMIZERS, targets_for
from thread_cases import limit_of

import fastbp
from fastbp import reference
from fastbp._training.shuffle import permutation
from fastbp.errors import DivergenceError
from fastbp.optim import SGD

WIDTHS = (5, 9, 17, 3)
MODULES = pytest.mark.parametrize("module", [fastbp, reference], ids=["engine", "reference"])


def problem(module=fastbp, n=20, *, output="identity", loss="squared_error", **options):
    options = {"activation": "tanh", "dtype": "float64", "seed": 3, **options}
    rng = np.random.default_rng(8)
    net = module.Network(WIDTHS, output=output, loss=loss, **options)
    return net, rng.normal(size=(n, WIDTHS[0])), targets_for(rng, loss, n, WIDTHS[-1])


def passes(net):
    return [np.copy(layer.delta) for layer in net.layers] + [net.grad.copy()]


# ---- a hook that only reads ---------------------------------------------------------------------


def reader(seen):
    """A hook that appends (l, copy of δ) to `seen`."""
    return lambda l, delta: seen.append((l, delta.copy()))


OUTPUTS = [("identity", "mse"), ("softmax", "cross_entropy"), ("softmax", "mse")]


@MODULES
@pytest.mark.parametrize(("output", "loss"), OUTPUTS)
@pytest.mark.parametrize("n", [1, 8, 9, 40])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_hook_that_only_reads_does_not_change_the_bits(module, n, weighted, output, loss):
    net, X, y = problem(module, n, output=output, loss=loss, l2=0.1)
    s = np.linspace(0.5, 2, n) if weighted else None
    net.forward(X)
    J, plain, seen = net.backward(y, s), passes(net), []
    for _ in range(2):
        seen.clear()
        assert net.backward(y, s, hook=reader(seen)) == J
        for i, (computed, exact) in enumerate(zip(passes(net), plain, strict=True)):
            np.testing.assert_array_equal(computed, exact, f"delta or grad {i}")
    assert [l for l, _ in seen] == [3, 2, 1]
    for l, delta in seen:
        np.testing.assert_array_equal(delta, plain[l - 1], f"layer {l}")
    below = net.layers[0].delta @ net.layers[0].W.T
    np.testing.assert_allclose(net.input_gradient(), below, rtol=1e-10, atol=1e-13)


@MODULES
def test_backward_from_calls_the_hook(module):
    net, X, y = problem(module)
    net.forward(X)
    net.backward_from(y)
    plain, layers = passes(net), []
    net.backward_from(y, hook=lambda l, delta: layers.append(l))
    assert layers == [3, 2, 1]
    for i, (computed, exact) in enumerate(zip(passes(net), plain, strict=True)):
        np.testing.assert_array_equal(computed, exact, f"delta or grad {i}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_steps_with_a_hook_equal_steps_without(rule, dtype):
    plain, X, y = problem(dtype=dtype)
    hooked = copy.deepcopy(plain)
    first, second = OPTIMIZERS[rule](), OPTIMIZERS[rule]()
    tolerance = 50 * np.finfo(dtype).eps
    for _ in range(5):
        J = plain.train_batch(X, y, first)
        np.testing.assert_allclose(
            hooked.train_batch(X, y, second, hook=lambda l, delta: None), J, rtol=tolerance
        )
    np.testing.assert_allclose(hooked.theta, plain.theta, rtol=tolerance, atol=tolerance)
    assert first.t == second.t == 5
    assert hooked.layers[0].delta.shape == (20, 9)


# ---- a hook that changes δ ----------------------------------------------------------------------


@MODULES
@pytest.mark.parametrize("returned", [False, True])
def test_the_recursion_continues_with_the_delta_of_the_hook(module, returned):
    net, X, y = problem(module)
    noise = {l: np.random.default_rng(l).normal(size=(20, WIDTHS[l])) for l in (1, 2, 3)}

    def hook(l, delta):
        if returned:
            return (delta + noise[l])[::1].tolist() if l == 2 else delta + noise[l]
        delta += noise[l]
        return None

    net.forward(X)
    out = net.layers[-1].a
    net.backward(y, hook=hook)
    a = [X, *(layer.a for layer in net.layers)]
    delta = out - y + noise[3]
    for l in (3, 2, 1):
        layer = net.layers[l - 1]
        np.testing.assert_allclose(layer.delta, delta, rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(layer.dW, a[l - 1].T @ delta / 20, rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(layer.db, delta.mean(axis=0), rtol=1e-10, atol=1e-13)
        if l > 1:
            delta = (delta @ layer.W.T) * (1 - a[l - 1] ** 2) + noise[l - 1]
    np.testing.assert_allclose(net.input_gradient(), delta @ net.layers[0].W.T, rtol=1e-10)


@pytest.mark.parametrize("n", [6, 300])
def test_any_number_of_threads_gives_the_same_bits(n):
    widths = (40, 257, 255, 9)
    rng = np.random.default_rng(2)
    X, y = rng.normal(size=(n, 40)), rng.normal(size=(n, 9))

    def theta(threads):
        net = fastbp.Network(widths, activation="tanh", seed=0)
        with limit_of(threads):
            for _ in range(2):
                net.train_batch(X, y, SGD(0.01), hook=lambda l, delta: 0.5 * delta)
        return net.theta.tobytes()

    assert theta(1) == theta(2) == theta(3)


@MODULES
def test_pull_back_multiplies_with_the_slope(module):
    net, X, _ = problem(module, output="softmax", loss="cross_entropy")
    net.forward(X)
    g = np.random.default_rng(1).normal(size=(20, 17))
    kept = g.copy()
    np.testing.assert_allclose(net.pull_back(2, g), g * (1 - net.layers[1].a ** 2), rtol=1e-12)
    np.testing.assert_array_equal(g, kept)
    g, p = g[:, :3], net.layers[2].a
    exact = p * (g - (g * p).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(net.pull_back(3, g), exact, rtol=1e-10, atol=1e-15)


# ---- a registered hook --------------------------------------------------------------------------


@MODULES
def test_a_registered_hook_is_called_by_every_backward(module):
    net, X, y = problem(module)
    calls = []
    assert net.on_delta(lambda l, delta: calls.append(l)) is not None
    net.forward(X)
    for name, call in {
        "backward": lambda: net.backward(y),
        "backward_from": lambda: net.backward_from(y),
        "value_and_grad": lambda: net.value_and_grad(X, y),
        "value_and_grad at theta": lambda: net.value_and_grad(X, y, theta=net.theta),
        "train_batch": lambda: net.train_batch(X, y, SGD(0.1)),
    }.items():
        calls.clear()
        call()
        assert calls == [3, 2, 1], name
    own = []
    net.forward(X)
    net.backward(y, hook=lambda l, delta: own.append(l))
    assert own == calls == [3, 2, 1], "the hook of a call does not replace that of the network"
    for call in (
        lambda: net.jacobian(X),
        lambda: net.vjp(X, y),
        lambda: net.gradient_norms(X, y),
        lambda: net.predict(X),
        lambda: net.loss(X, y),
        lambda: pickle.loads(pickle.dumps(net.theta)),
    ):
        call()
    assert calls == [3, 2, 1]
    net.fit(X, y, epochs=2, batch_size=10)
    assert calls == [3, 2, 1] * 5
    calls[3:] = []
    assert copy.deepcopy(net)._hook is None
    net.on_delta(None)
    net.fit(X, y, epochs=1)
    assert calls == [3, 2, 1]


# ---- fit ----------------------------------------------------------------------------------------


def halve(l, delta):
    if l > 1:
        delta *= 0.5


@MODULES
def test_fit_with_a_hook_equals_a_loop_of_train_batch(module):
    """Over the same batches."""
    net, X, y = problem(module, l2=0.01)
    twin, s = problem(module, l2=0.01)[0], np.linspace(0.5, 2, 20)
    net.on_delta(halve)
    history = net.fit(X, y, epochs=2, batch_size=8, optimizer=SGD(0.1, 0.9), sample_weight=s)
    sgd, J = SGD(0.1, 0.9), []
    for epoch in range(2):
        order = permutation(twin.seed, epoch, 20)
        for rows in np.split(order, [8, 16]):
            J += [twin.train_batch(X[rows], y[rows], sgd, sample_weight=s[rows], hook=halve)]
            J += [s[rows].sum()]
    np.testing.assert_array_equal(net.theta, twin.theta)
    J = np.reshape(J, (2, 3, 2))
    means = np.average(J[..., 0], axis=1, weights=J[..., 1])
    np.testing.assert_allclose(history.loss, means, rtol=1e-14)
    assert all(layer.delta is None for layer in net.layers)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy(class_weight=[1, 2, 3])"])
def test_fit_with_a_hook_agrees_with_the_reference(loss):
    output = "identity" if loss == "mse" else "softmax"
    thetas = []
    for module in (fastbp, reference):
        net, X, y = problem(module, output=output, loss=loss)
        y = y if loss == "mse" else np.arange(20) % 3
        net.on_delta(halve)
        schedule = fastbp.schedules.OneCycleLR(0.1)
        if loss != "mse":
            schedule = fastbp.schedules.LambdaLR(lambda t: t % 2)
        net.fit(X, y, epochs=3, batch_size=6, optimizer="adam", schedule=schedule)
        thetas.append(net.theta)
    np.testing.assert_allclose(*thetas, rtol=1e-7, atol=1e-9)


@MODULES
def test_fit_with_a_hook_takes_streams_and_resumes(module, tmp_path):
    X, y = np.arange(100, dtype=np.uint8).reshape(20, 5), problem()[2]
    thetas = []
    for cuts in ((4,), (2, 4)):
        net = problem(module)[0]
        folder = tmp_path / str(len(cuts))
        for epochs in cuts:
            blocks = fastbp.stream(X, y, block_rows=8)
            net.on_delta(halve)
            net.fit(blocks, epochs=epochs, batch_size=4, optimizer=SGD(1e-4), checkpoint=folder)
            net = problem(module)[0] if epochs < cuts[-1] else net
        thetas.append(net.theta)
    np.testing.assert_array_equal(*thetas)


@MODULES
def test_fit_with_a_hook_refuses_accumulate(module):
    net, X, y = problem(module)
    net.on_delta(halve)
    before = net.theta.copy()
    with pytest.raises(ValueError, match="accumulate adds up gradients where no hook is called"):
        net.fit(X, y, epochs=1, batch_size=4, accumulate=2)
    np.testing.assert_array_equal(net.theta, before)
    with pytest.raises(DivergenceError, match="epoch 0"):
        net.fit(X, y * 1e200, epochs=1, optimizer=SGD(1e200))


# ---- errors -------------------------------------------------------------------------------------


@MODULES
def test_a_hook_that_raises_leaves_the_state_after_forward(module):
    net, X, y = problem(module)
    net.forward(X)
    before = net.theta.copy()

    def hook(l, delta):
        if l == 1:
            raise KeyError("stop")

    with pytest.raises(KeyError):
        net.backward(y, hook=hook)
    assert all(layer.delta is None for layer in net.layers)
    assert net.layers[0].a.shape == (20, 9)
    with pytest.raises(RuntimeError):
        net.input_gradient()
    with pytest.raises(RuntimeError):
        net.step(SGD(0.1))
    with pytest.raises(KeyError):
        net.train_batch(X, y, SGD(0.1), hook=hook)
    np.testing.assert_array_equal(net.theta, before)
    net.forward(X)
    net.backward(y)


@MODULES
def test_a_hook_cannot_start_another_pass(module):
    net, X, y = problem(module)
    seen = []

    def hook(l, delta):
        seen.append(net.predict(X).shape)
        seen.append(net.loss(X, y))
        with pytest.raises(RuntimeError, match="hook"):
            net.forward(X)
        with pytest.raises(RuntimeError, match="hook"):
            net.backward(y)
        with pytest.raises(RuntimeError, match="hook"):
            net.backward_from(y)

    net.forward(X)
    net.backward(y, hook=hook)
    assert len(seen) == 6


@MODULES
def test_bad_results_and_arguments_of_hooks_are_refused(module):
    net, X, y = problem(module)
    net.forward(X)
    with pytest.raises(ValueError, match="returned has 2 columns"):
        net.backward(y, hook=lambda l, delta: np.zeros((20, 2)))
    with pytest.raises(ValueError, match="returned has 4 rows; the batch has 20"):
        net.backward(y, hook=lambda l, delta: delta[:4])
    with pytest.raises(TypeError, match="function of"):
        net.backward(y, hook="sgd")
    with pytest.raises(TypeError, match="function of"):
        net.on_delta(3)
    with pytest.raises(ValueError, match="1 to 3"):
        net.pull_back(4, y)
    with pytest.raises(ValueError, match="g has 3 columns; the network takes 17"):
        net.pull_back(2, y)
    with pytest.raises(ValueError, match="g has 2 rows"):
        net.pull_back(3, y[:2])
    with pytest.raises(RuntimeError, match="forward"):
        module.Network((2, 1)).pull_back(1, [[1.0]])


@MODULES
def test_a_loss_that_is_not_finite_stops_the_step(module):
    net, X, y = problem(module)
    net.theta = net.theta * 1e308
    before = net.theta.copy()
    with pytest.raises(DivergenceError):
        net.train_batch(X, y, SGD(0.1), hook=lambda l, delta: None)
    np.testing.assert_array_equal(net.theta, before)
