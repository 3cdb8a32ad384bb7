"""jvp and hvp: products with the Jacobian and the Hessian along a direction, by the R-operator."""

import numpy as np
import pytest
from derivative_cases import ANY_SHAPE, LOSSES_ON, TALL, twins
from engine_cases import DTYPES, HIDDEN
from hypothesis import given, settings
from loss_cases import WIDTH, all_targets, prepare
from thread_cases import assert_same_bits_on_any_number_of_threads

import fastbp
from fastbp import reference


def direction(twin, rng):
    return twin._exact(rng.normal(size=twin.engine.theta.size))


def close(computed, exact, dtype):
    """Assert equality up to the rounding of a few thousand operations, relative to the maximum."""
    exact = np.asarray(exact, np.float64)
    assert computed.shape == exact.shape
    assert computed.dtype == dtype
    scale = max(abs(exact).max(initial=0), 1e-3)
    assert abs(computed - exact).max(initial=0) <= 2000 * np.finfo(dtype).eps * scale


def check_all(twin, rng, s=None):
    engine, exact, X, y = twin.engine, twin.reference, twin.X, twin.y
    v, dX = direction(twin, rng), twin._exact(rng.normal(size=X.shape))
    close(engine.jvp(X, dX), exact.jvp(X, dX), twin.dtype)
    close(engine.jvp(X, dtheta=v), exact.jvp(X, dtheta=v), twin.dtype)
    close(engine.jvp(X, dX, dtheta=v), exact.jvp(X, dX, dtheta=v), twin.dtype)
    close(engine.hvp(X, y, v, s), exact.hvp(X, y, v, s), twin.dtype)


# ---- engine against reference -------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 8, 9, 33])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_engine_agrees_with_the_reference(rng, n, weighted, dtype):
    twin = twins(rng, "tanh", "mse", n=n, dtype=dtype, l1=0.1, l2=0.2)
    check_all(twin, rng, twin.weights() if weighted else None)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_every_activation(rng, hidden, dtype):
    check_all(twins(rng, hidden, "mse", hidden=hidden, dtype=dtype), rng)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("spec", "output"), LOSSES_ON)
def test_every_loss(rng, spec, output, dtype):
    net, exact = loss_networks(rng, spec, output, dtype)
    X, s = rng.normal(size=(5, 3)), rng.uniform(0.5, 2.0, 5)
    X, s, v = (each.astype(dtype) for each in (X, s, rng.normal(size=net.theta.size)))
    for y in all_targets(rng, spec, 5, WIDTH):
        y = y if y.dtype.kind == "i" else y.astype(dtype)
        computed, wanted = net.hvp(X, y, v, s), exact.hvp(X, y, v, s)
        scale = max(abs(wanted).max(), abs(exact.value_and_grad(X, y)[1]).max())
        error, bound = abs(computed - wanted).max(), 5000 * np.finfo(dtype).eps * scale
        assert error <= bound, f"targets {y.dtype}: off by {error}, allowed {bound}"


def loss_networks(rng, spec, output, dtype="float64"):
    """An engine network and a reference network with outputs that the loss accepts."""
    options = {"output": output, "loss": spec, "activation": "tanh", "seed": 0, "l2": 0.1}
    net = fastbp.Network((3, 5, WIDTH), dtype=dtype, **options)
    prepare(rng, net)
    exact = reference.Network((3, 5, WIDTH), **options)
    exact.theta = net.theta.astype(np.float64)
    return net, exact


@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_class_indices_as_targets(rng, output):
    check_all(twins(rng, output, "cross_entropy", labels=True), rng)


@pytest.mark.parametrize("gamma", [0, 0.5, 1, 2])
@pytest.mark.parametrize("z", [20.0, 800.0])
def test_focal_is_flat_where_p_is_1(gamma, z):
    """Where 1 − p is 0, (1 − p)^(γ−1) is infinite for γ < 1, and R{p} is 0 up to rounding."""
    for module in (fastbp, reference):
        loss = f"focal({gamma})"
        net = module.Network((1, 3), output="softmax", loss=loss, dtype="float32", init="zeros")
        net.layers[0].W = [[z, 0.0, -z]]
        found = net.hvp([[1.0]], [0], [1.0, -2.0, 3.0, -4.0, 5.0, -6.0])
        assert abs(found).max() <= 10 * np.exp(-z), module.__name__


@settings(max_examples=25)
@given(**ANY_SHAPE)
def test_any_shape(widths, n, seed, dtype):
    rng = np.random.default_rng(seed)
    check_all(twins(rng, widths=widths, n=n, dtype=dtype), rng)


# ---- against finite differences and each other --------------------------------------------------


def central(f, step):
    """df/dt at 0, by two central differences and Richardson extrapolation."""
    coarse, fine = ((f(h) - f(-h)) / (2 * h) for h in (step, step / 2))
    return (4 * fine - coarse) / 3


def gradient_along(net, X, y, v):
    """The function t → gradient at theta + t v."""
    theta = net.theta.copy()
    return lambda t: net.value_and_grad(X, y, theta + t * v)[1]


@pytest.mark.parametrize(("spec", "output"), LOSSES_ON)
def test_hvp_is_the_derivative_of_the_gradient_along_v(rng, spec, output):
    for net in loss_networks(rng, spec, output):
        X, v = rng.normal(size=(4, 3)), rng.normal(size=net.theta.size)
        y = all_targets(rng, spec, 4, WIDTH)[-1]
        exact = central(gradient_along(net, X, y, v), 1e-4)
        tolerance = 1e-6 * max(abs(exact).max(), abs(net.value_and_grad(X, y)[1]).max())
        np.testing.assert_allclose(net.hvp(X, y, v), exact, 1e-6, tolerance, err_msg=repr(net))


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("module", [fastbp, reference], ids=["engine", "reference"])
def test_second_derivatives_of_every_activation_match_differences(rng, hidden, module):
    twin = twins(rng, hidden, "squared_error", widths=(3, 4, 2), hidden=hidden, n=2)
    net = twin.engine if module is fastbp else twin.reference
    X, y, v, theta = twin.X, twin.y, direction(twin, rng), net.theta.copy()
    dX = rng.normal(size=X.shape)

    def output(t):
        net.theta = theta + t * v
        try:
            return net.predict(X + t * dX)
        finally:
            net.theta = theta

    exact = central(output, 1e-4)
    np.testing.assert_allclose(net.jvp(X, dX, dtheta=v), exact, rtol=1e-6, atol=1e-9)
    exact = central(lambda t: net.value_and_grad(X, y, theta + t * v)[1], 1e-4)
    np.testing.assert_allclose(net.hvp(X, y, v), exact, rtol=1e-6, atol=1e-7 * abs(exact).max())


def test_the_hessian_is_symmetric(rng):
    twin = twins(rng, "softmax", "mse", widths=(3, 4, 3))
    net, X, y = twin.engine, twin.X, twin.y
    H = np.stack([net.hvp(X, y, e) for e in np.eye(net.theta.size)])
    np.testing.assert_allclose(H, H.T, rtol=1e-9, atol=1e-12 * abs(H).max())
    u, v = rng.normal(size=(2, net.theta.size))
    np.testing.assert_allclose(net.hvp(X, y, 2 * u - v), H @ (2 * u - v), rtol=1e-8)


def test_jvp_is_the_transpose_of_vjp(rng):
    twin = twins(rng, "softmax", "cross_entropy")
    X, u, v = twin.X, rng.normal(size=(11, 5)), rng.normal(size=(11, 3))
    left, right = twin.engine.vjp(X, v), twin.engine.jvp(X, u)
    np.testing.assert_allclose((left * u).sum(axis=1), (v * right).sum(axis=1), rtol=1e-9)
    J = twin.engine.jacobian(X)
    np.testing.assert_allclose(right, np.einsum("ikj,ij->ik", J, u), rtol=1e-9, atol=1e-13)


def test_hvp_of_a_linear_network_is_the_gauss_newton_product(rng):
    twin = twins(rng, "identity", "squared_error", widths=(4, 2), n=30)
    X, v = twin.X, direction(twin, rng)
    moved = X @ v[:8].reshape(4, 2) + v[8:]
    exact = np.concatenate([(X.T @ moved / 30).ravel(), moved.mean(axis=0)])
    np.testing.assert_allclose(twin.engine.hvp(X, twin.y, v), exact, rtol=1e-12)


# ---- stored passes and bad arguments ------------------------------------------------------------


@pytest.mark.parametrize("module", [fastbp, reference], ids=["engine", "reference"])
def test_stored_passes_are_not_changed(rng, module):
    net = module.Network((4, 6, 2), seed=0)
    X, y, v = rng.normal(size=(7, 4)), rng.normal(size=(7, 2)), rng.normal(size=net.theta.size)
    net.value_and_grad(X[:5], y[:5])
    kept = [net.grad, *(getattr(layer, n) for layer in net.layers for n in ("z", "a", "delta"))]
    before = [each.copy() for each in kept]
    net.jvp(X, X, dtheta=v)
    net.hvp(X, y, v)
    for view, old in zip(kept, before, strict=True):
        np.testing.assert_array_equal(view, old)
    assert net.layers[0].delta is kept[3]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [8, 301])
def test_any_number_of_threads_gives_the_same_bits(dtype, n):
    rng = np.random.default_rng(5)
    net = fastbp.Network(TALL, activation="tanh", dtype=dtype, seed=1, l2=0.1)
    X, y, v = (rng.normal(size=s) for s in ((n, TALL[0]), (n, TALL[-1]), net.theta.size))
    s = np.arange(n) % 3 + 0.5

    def everything():
        found = [net.jvp(X, X), net.jvp(X, dtheta=v), net.hvp(X, y, v), net.hvp(X, y, v, s)]
        return found

    assert_same_bits_on_any_number_of_threads(everything)


def test_batches_of_any_size_follow_each_other(rng):
    """Buffers have the size of the largest batch so far, with or without weights."""
    twin = twins(rng, n=60)
    X, y, v, s = twin.X, twin.y, direction(twin, rng), twin.weights()
    for rows in (3, 60, 9, 1):
        part = slice(0, rows)
        for weights in (None, s[part]):
            computed = twin.engine.hvp(X[part], y[part], v, weights)
            close(computed, twin.reference.hvp(X[part], y[part], v, weights), np.float64)
        close(twin.engine.jvp(X[part], X[part]), twin.reference.jvp(X[part], X[part]), np.float64)


@pytest.mark.parametrize("module", [fastbp, reference], ids=["engine", "reference"])
def test_arrays_of_wrong_shapes_are_refused(module):
    net = module.Network((3, 2))
    X, y = np.zeros((4, 3)), np.zeros((4, 2))
    with pytest.raises(ValueError, match="needs a direction"):
        net.jvp(X)
    with pytest.raises(ValueError, match="dX has 2 columns; the network takes 3"):
        net.jvp(X, y)
    with pytest.raises(ValueError, match="dX has 3 rows; X has 4"):
        net.jvp(X, X[:3])
    with pytest.raises(ValueError, match=r"dtheta has shape \(7,\); the network has \(8,\)"):
        net.jvp(X, dtheta=np.zeros(7))
    with pytest.raises(ValueError, match=r"v has shape \(9,\); the network has \(8,\)"):
        net.hvp(X, y, np.zeros(9))
    with pytest.raises(ValueError, match="sample_weight has 3 rows; X has 4"):
        net.hvp(X, y, np.zeros(8), np.ones(3))
