"""Jacobian, vjp, per-sample gradients, relevance: against the reference and finite differences."""

from functools import partial

import numpy as np
import pytest
from derivative_cases import ANY_SHAPE, LOSSES_ON, TALL, twins
from engine_cases import DTYPES, HIDDEN
from hypothesis import given, settings
from loss_cases import WIDTH, all_targets, prepare
from thread_cases import assert_same_bits_on_any_number_of_threads

import fastbp
from fastbp import reference
from fastbp.losses import FormulaLoss
from fastbp.reference._losses import FROM_LOGITS, LOSSES

OUTPUTS = [("identity", "squared_error"), ("softmax", "cross_entropy"), ("tanh", "mse")]
OUTPUTS += [("sigmoid", "binary_cross_entropy"), ("softmax", "mse"), ("sigmoid", "cross_entropy")]


def close(computed, exact, dtype):
    """Assert equality up to the rounding of a few hundred operations, relative to the maximum."""
    exact = np.asarray(exact, np.float64)
    assert computed.shape == exact.shape
    scale = max(abs(exact).max(initial=0), 1e-3)
    assert abs(computed - exact).max(initial=0) <= 400 * np.finfo(dtype).eps * scale


def differences(f, x, step=1e-5):
    """∂f/∂x for every element of x, by central differences, along a new last axis."""
    slopes = []
    for k in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[k] += step
        down[k] -= step
        slopes.append((f(up) - f(down)) / (2 * step))
    return np.stack(slopes, axis=-1)


# ---- engine against reference -------------------------------------------------------------------


def check_all(twin, rng):
    engine, exact, X, y = twin.engine, twin.reference, twin.X, twin.y
    v = twin._exact(rng.normal(size=(len(X), engine.widths[-1])))
    close(engine.vjp(X, v), exact.vjp(X, v), twin.dtype)
    close(engine.jacobian(X), exact.jacobian(X), twin.dtype)
    close(engine.per_sample_gradients(X, y), exact.per_sample_gradients(X, y), twin.dtype)
    close(engine.gradient_norms(X, y), exact.gradient_norms(X, y), twin.dtype)
    layers = [net.gradient_norms(X, y, per_layer=True) for net in (engine, exact)]
    close(*layers, twin.dtype)
    for computed, wanted in zip(engine.relevance(X, y), exact.relevance(X, y), strict=True):
        close(computed, wanted, twin.dtype)
        assert computed.dtype == twin.dtype


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("output", "loss"), OUTPUTS)
@pytest.mark.parametrize("n", [1, 8, 9, 33])
def test_the_engine_agrees_with_the_reference(rng, n, output, loss, dtype):
    check_all(twins(rng, output, loss, n=n, dtype=dtype), rng)


@pytest.mark.parametrize("dtype", DTYPES)
def test_class_indices_as_targets(rng, dtype):
    check_all(twins(rng, "softmax", "cross_entropy", labels=True, dtype=dtype), rng)


@pytest.mark.parametrize("hidden", HIDDEN)
def test_every_activation(rng, hidden):
    check_all(twins(rng, hidden, "mse", hidden=hidden), rng)


@settings(max_examples=25)
@given(**ANY_SHAPE)
def test_any_shape(widths, n, seed, dtype):
    rng = np.random.default_rng(seed)
    check_all(twins(rng, widths=widths, n=n, dtype=dtype), rng)


# ---- against finite differences and each other --------------------------------------------------


@pytest.mark.parametrize(("output", "loss"), OUTPUTS)
def test_the_jacobian_matches_differences(rng, output, loss):
    net, X = twins(rng, output, loss, n=3).engine, rng.normal(size=(3, 5))
    for i, J in enumerate(net.jacobian(X)):
        numeric = differences(lambda x: net.predict(x)[0], X[i : i + 1])
        np.testing.assert_allclose(J, numeric, rtol=1e-6, atol=1e-9, err_msg=f"row {i}")


def test_vjp_is_a_product_with_the_jacobian(rng):
    net, X, v = twins(rng).engine, rng.normal(size=(40, 5)), rng.normal(size=(40, 3))
    np.testing.assert_allclose(
        net.vjp(X, v), np.einsum("ik,ikj->ij", v, net.jacobian(X)), rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize(("spec", "output"), LOSSES_ON)
def test_every_loss(rng, spec, output):
    options = {"output": output, "loss": spec, "activation": "tanh", "dtype": "float64", "seed": 0}
    engine, exact = (module.Network((3, 5, WIDTH), **options) for module in (fastbp, reference))
    prepare(rng, engine)
    exact.theta = engine.theta
    X = rng.normal(size=(5, 3))
    for y in all_targets(rng, spec, 5, WIDTH):
        rows = engine.per_sample_gradients(X, y)
        close(rows, exact.per_sample_gradients(X, y), np.float64)
        np.testing.assert_allclose(engine.gradient_norms(X, y), np.linalg.norm(rows, axis=1))
        for computed, wanted in zip(engine.relevance(X, y), exact.relevance(X, y), strict=True):
            close(computed, wanted, np.float64)
        sensitive = differences(partial(slow_value, engine, y), engine.predict(X)[:1])
        np.testing.assert_allclose(
            engine.relevance(X, y)[-1][0], engine.predict(X)[0] * sensitive, rtol=1e-5, atol=1e-8
        )


def slow_value(net, y, a):
    """J_0 of given outputs a (1, n_L)."""
    loss = net.criterion
    labels = y.ndim == 1 and loss.labels
    rows = np.eye(a.shape[1])[y[:1]] if labels else np.reshape(y, (len(y), -1))[:1]
    if isinstance(loss, FormulaLoss):
        return loss.formula.value(a, rows)[0]
    if loss.name in LOSSES:
        return LOSSES[loss.name][0](a, rows, **loss.options)[0]
    z = np.log(a) if net.activations[-1].name == "softmax" else np.log(a / (1 - a))
    if net.activations[-1].name != "softmax":
        return FROM_LOGITS[loss.name][0](z, rows, **loss.options)[0]
    gamma, alpha = loss.options["gamma"], loss.options["alpha"]
    weight = 1 if alpha is None else np.array(alpha)
    return -(weight * rows * (1 - a) ** gamma * np.log(a)).sum()


@pytest.mark.parametrize(("output", "loss"), OUTPUTS)
def test_per_sample_gradients_match_differences(rng, output, loss):
    twin = twins(rng, output, loss, widths=(3, 4, 2), n=3, l2=0.3)
    net, X, y = twin.engine, twin.X, twin.y
    theta, rows = net.theta.copy(), net.per_sample_gradients(X, y)
    bare = reference.Network((3, 4, 2), activation="tanh", output=output, loss=loss)
    for i, row in enumerate(rows):

        def cost(at, i=i):
            bare.theta = at
            return np.array(bare.loss(X[i : i + 1], y[i : i + 1]))

        exact = differences(cost, theta)
        np.testing.assert_allclose(row, exact, rtol=1e-5, atol=1e-8, err_msg=f"sample {i}")


@pytest.mark.parametrize(("output", "loss"), OUTPUTS)
def test_the_mean_of_per_sample_gradients_is_the_gradient(rng, output, loss):
    twin = twins(rng, output, loss)
    _, grad = twin.engine.value_and_grad(twin.X, twin.y)
    rows = twin.engine.per_sample_gradients(twin.X, twin.y)
    np.testing.assert_allclose(rows.mean(axis=0), grad, rtol=1e-10, atol=1e-13)


def test_relevance_is_activation_times_gradient(rng):
    twin = twins(rng, "identity", "squared_error", n=4)
    net, X, y = twin.engine, twin.X, twin.y
    found = net.relevance(X, y)
    net.forward(X)
    net.backward(y)
    np.testing.assert_allclose(found[0], X * net.input_gradient(), rtol=1e-12)
    np.testing.assert_allclose(found[-1], net.layers[-1].a * (net.layers[-1].a - y))
    for l in (1, 2):
        slope = net.layers[l].delta @ net.layers[l].W.T
        exact = net.layers[l - 1].a * slope
        np.testing.assert_allclose(found[l], exact, rtol=1e-10, err_msg=f"layer {l}")


def test_relevance_is_conserved_by_relu_without_biases(rng):
    twin = twins(rng, "relu", "squared_error", hidden="relu")
    for layer in twin.engine.layers:
        layer.b = np.zeros_like(layer.b)
    sums = [each.sum(axis=1) for each in twin.engine.relevance(twin.X, twin.y)]
    for l, each in enumerate(sums[1:], 1):
        np.testing.assert_allclose(each, sums[0], rtol=1e-9, atol=1e-12, err_msg=f"layer {l}")


@pytest.mark.parametrize("module", [fastbp, fastbp.reference])
def test_focal_with_gamma_0_is_cross_entropy_where_p_is_1(module):
    """(1 − p)^γ is 0⁰ there, which counts as 1."""
    nets = [
        module.Network((1, 3), output="softmax", loss=loss, dtype="float64", init="zeros")
        for loss in ("cross_entropy", "focal(0)")
    ]
    for net in nets:
        net.layers[0].W = [[800.0, 0.0, -800.0]]
    found = [net.relevance([[1.0]], [0]) for net in nets]
    assert found[0][-1].tolist() == [[-1.0, 0.0, 0.0]]
    np.testing.assert_array_equal(found[0][-1], found[1][-1])


# ---- stored passes, NaN, bad arguments, sparse rows ---------------------------------------------


@pytest.mark.parametrize("module", [fastbp, reference])
def test_stored_passes_are_not_changed(rng, module):
    net = module.Network((4, 6, 2), seed=0)
    X, y = rng.normal(size=(7, 4)), rng.normal(size=(7, 2))
    net.forward(X[:5])
    net.backward(y[:5])
    names = [(layer, name) for layer in net.layers for name in ("z", "a", "delta", "dW", "db")]
    views = [getattr(layer, name) for layer, name in names]
    before = [view.copy() for view in views]
    net.vjp(X, y)
    net.jacobian(X)
    net.per_sample_gradients(X, y)
    net.gradient_norms(X, y)
    net.relevance(X, y)
    for (layer, name), view, old in zip(names, views, before, strict=True):
        assert getattr(layer, name) is view
        np.testing.assert_array_equal(view, old, name)
    with pytest.raises(RuntimeError, match="forward"):
        fresh = module.Network((4, 2))
        fresh.jacobian(X)
        fresh.backward(y)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [8, 301])
def test_any_number_of_threads_gives_the_same_bits(dtype, n):
    rng = np.random.default_rng(5)
    net = fastbp.Network(TALL, activation="tanh", dtype=dtype, seed=1)
    X, y = rng.normal(size=(n, TALL[0])), rng.normal(size=(n, TALL[-1]))

    def everything():
        found = [net.vjp(X, y), net.jacobian(X), net.gradient_norms(X, y), *net.relevance(X, y)]
        found.append(net.per_sample_gradients(X[:8], y[:8]))
        return found

    assert_same_bits_on_any_number_of_threads(everything)


def test_nan_stays_in_its_row(rng):
    net = fastbp.Network((3, 4, 2), activation="tanh", seed=0)
    X, y = np.zeros((3, 3)), np.zeros((3, 2))
    X[1, 2] = np.nan
    found = {"vjp": net.vjp(X, y + 1), "jacobian": net.jacobian(X)}
    found["norms"] = net.gradient_norms(X, y)
    for name, rows in found.items():
        assert np.isnan(rows[1]).all(), name
        assert np.isfinite(rows[[0, 2]]).all(), name


@pytest.mark.parametrize("module", [fastbp, reference])
def test_arrays_of_wrong_shapes_are_refused(module):
    net = module.Network((3, 2))
    X = np.zeros((4, 3))
    with pytest.raises(ValueError, match="X has 2 columns; the network takes 3"):
        net.jacobian(np.zeros((4, 2)))
    with pytest.raises(ValueError, match="v has 3 rows; X has 4"):
        net.vjp(X, np.zeros((3, 2)))
    with pytest.raises(ValueError, match="v has 3 columns; the network has 2"):
        net.vjp(X, np.zeros((4, 3)))
    with pytest.raises(ValueError, match="y has 3 rows; X has 4"):
        net.per_sample_gradients(X, np.zeros((3, 2)))


def cubic(a, y):
    e = a - y
    return (abs(e) ** 3).sum(axis=1), 3 * e * abs(e)


@pytest.mark.parametrize("module", [fastbp, reference], ids=["engine", "reference"])
@pytest.mark.parametrize("loss", ["margin_ranking", cubic], ids=["margin_ranking", "custom"])
def test_margin_ranking_and_custom_losses_have_derivatives(rng, loss, module):
    net = module.Network((3, 5, 2), activation="tanh", output="tanh", loss=loss, dtype="float64")
    X = rng.normal(size=(8, 3))
    y = None if loss == "margin_ranking" else rng.normal(size=(8, 2))
    rows, samples = net.per_sample_gradients(X, y), 4 if y is None else 8
    grad = net.value_and_grad(X, y)[1]
    np.testing.assert_allclose(rows.sum(axis=0) / samples, grad, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(net.gradient_norms(X, y), np.linalg.norm(rows, axis=1))
    found = net.relevance(X, y)
    np.testing.assert_allclose(found[0], X * net.input_gradient(), rtol=1e-9, atol=1e-13)
    if y is not None:
        a = net.predict(X)
        np.testing.assert_allclose(found[-1], a * cubic(a, y)[1], rtol=1e-9)
    net.forward(X)
    deltas = []
    net.backward(y, hook=lambda l, delta: deltas.append(delta.copy()))
    np.testing.assert_allclose(net.grad, grad, rtol=1e-12)
    v, theta = rng.normal(size=net.theta.size), net.theta.copy()
    if y is not None:
        with pytest.raises(ValueError, match="hvp needs the second derivative of the loss"):
            net.hvp(X, y, v)
        return
    moved = [net.value_and_grad(X, y, theta + t * v)[1] for t in (1e-5, -1e-5)]
    exact = (moved[0] - moved[1]) / 2e-5
    np.testing.assert_allclose(net.hvp(X, y, v), exact, rtol=1e-5, atol=1e-7)


def test_sparse_rows_give_the_bits_of_dense_rows(rng):
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    net = fastbp.Network((30, 5, 3), activation="tanh", dtype="float64", seed=0)
    X = rng.normal(size=(12, 30)) * (rng.uniform(size=(12, 30)) < 0.1)
    y, v = rng.normal(size=(12, 3)), rng.normal(size=net.theta.size)
    calls = {
        "jacobian": net.jacobian,
        "vjp": lambda X: net.vjp(X, y),
        "per_sample_gradients": lambda X: net.per_sample_gradients(X, y),
        "gradient_norms": lambda X: net.gradient_norms(X, y),
        "relevance": lambda X: net.relevance(X, y)[0],
        "jvp": lambda X: net.jvp(X, dtheta=v),
        "hvp": lambda X: net.hvp(X, y, v),
    }
    for name, call in calls.items():
        exact = call(X)
        net.jacobian(X + 1)  # another pass in between leaves other rows in the buffers
        np.testing.assert_array_equal(call(sparse.csr_array(X)), exact, name)
