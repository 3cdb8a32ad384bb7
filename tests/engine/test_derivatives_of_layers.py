"""Derivatives and hooks of layers with norm, residual, dropout or no bias."""

import numpy as np
import pytest
from engine_cases import DTYPES, HIDDEN
from hypothesis import given, settings
from hypothesis import strategies as st
from layer_cases import DROPPING, STACKS, case, check, trained
from thread_cases import assert_same_bits_on_any_number_of_threads

import fastbp
from fastbp import Dense, reference
from fastbp.optim import SGD

NORMS = ("layer", "layer(0.5)", "rms", "rms(0.5)", "batch", "batch(0.5)")


def first_order(net, X, y):
    v = np.linspace(-1, 1, 3 * len(X)).reshape(-1, 3).astype(X.dtype)
    found = {"vjp": net.vjp(X, v), "jacobian": net.jacobian(X)}
    found["rows"] = net.per_sample_gradients(X, y)
    found["norms"] = net.gradient_norms(X, y, per_layer=True)
    return found | {f"relevance {i}": each for i, each in enumerate(net.relevance(X, y))}


def along(net, X, y):
    v = np.linspace(-1, 1, net.theta.size).astype(X.dtype)
    s = np.linspace(0.5, 1.5, len(X)).astype(X.dtype)
    return {
        "jvp": net.jvp(X, X[::-1], dtheta=v),
        "of inputs": net.jvp(X, X[::-1]),
        "hvp": net.hvp(X, y, v, s),
    }


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
@pytest.mark.parametrize("name", [*STACKS, "dropped"])
def test_first_derivatives(name, loss, dtype):
    hidden = DROPPING["all"] if name == "dropped" else STACKS[name]
    check(first_order, hidden, dtype, loss=loss)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [5, 23])
@pytest.mark.parametrize("name", STACKS)
def test_derivatives_along_a_direction(name, n, dtype):
    check(along, STACKS[name], dtype, n=n, loss="squared_error", l1=0.1, l2=0.1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("act", HIDDEN)
def test_every_activation_after_a_norm(act, norm, dtype):
    first = Dense(17, act, norm=norm, residual=True, bias=False)
    check(along, [first, Dense(5, act, norm=norm)], dtype, loss="squared_error")


@settings(max_examples=25)
@given(
    layers=st.lists(
        st.tuples(st.integers(1, 40), st.sampled_from([None, *NORMS[1::2]])), min_size=1, max_size=4
    ),
    n=st.integers(1, 40),
    dtype=st.sampled_from(DTYPES),
)
def test_any_shape(layers, n, dtype):
    hidden, width = [], 17
    for units, norm in layers:
        hidden.append(Dense(units, "tanh", norm=norm, residual=units == width))
        width = units
    check(along, hidden, dtype, n=n, loss="squared_error")


@pytest.mark.parametrize("kind", [fastbp.Network, reference.Network], ids=["engine", "reference"])
@pytest.mark.parametrize("name", STACKS)
def test_derivatives_are_consistent_with_each_other(name, kind):
    net, X, y = case(STACKS[name], kind=kind)
    rows = net.per_sample_gradients(X, y)
    _, grad = net.value_and_grad(X, y)
    np.testing.assert_allclose(rows.mean(axis=0), grad, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(net.gradient_norms(X, y), np.linalg.norm(rows, axis=1), rtol=1e-9)
    relevance = net.relevance(X, y)
    np.testing.assert_allclose(relevance[0], X * net.input_gradient(), rtol=1e-9, atol=1e-13)
    v = np.cos(np.arange(3 * len(X))).reshape(-1, 3)
    J = net.jacobian(X)
    np.testing.assert_allclose(net.vjp(X, v), np.einsum("ik,ikj->ij", v, J), rtol=1e-9, atol=1e-13)
    step = 1e-5 * np.eye(17)[3]
    slope = (net.predict(X + step) - net.predict(X - step)) / 2e-5
    np.testing.assert_allclose(J[:, :, 3], slope, rtol=1e-5, atol=1e-8)
    v, theta = trained(net, np.sin(np.arange(net.theta.size))), net.theta.copy()
    moved = [net.value_and_grad(X, y, theta + t * v)[1] for t in (1e-5, -1e-5)]
    exact = (moved[0] - moved[1]) / 2e-5
    np.testing.assert_allclose(net.hvp(X, y, v), exact, rtol=1e-5, atol=1e-6 * abs(exact).max())
    np.testing.assert_allclose(net.jvp(X, X), np.einsum("ikj,ij->ik", J, X), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("kind", [fastbp.Network, reference.Network], ids=["engine", "reference"])
@pytest.mark.parametrize("name", STACKS)
def test_jvp_matches_differences_of_the_outputs(name, kind):
    net, X, _ = case(STACKS[name], kind=kind)
    v, theta = trained(net, np.cos(np.arange(net.theta.size))), net.theta.copy()

    def outputs(t):
        net.theta = theta + t * v
        return net.predict(X + t * X[::-1])

    slope = (outputs(1e-5) - outputs(-1e-5)) / 2e-5
    net.theta = theta
    np.testing.assert_allclose(net.jvp(X, X[::-1], dtheta=v), slope, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", [fastbp.Network, reference.Network], ids=["engine", "reference"])
@pytest.mark.parametrize("norm", NORMS)
def test_the_hessian_is_symmetric(norm, kind):
    hidden = [Dense(5, "silu", norm=norm), Dense(5, "tanh", norm=norm, residual=True)]
    net, X, y = case(hidden, kind=kind, l2=0.1)
    s = np.linspace(0.5, 1.5, len(X))
    H = np.stack([net.hvp(X, y, e, s) for e in np.eye(net.theta.size)])
    np.testing.assert_allclose(H, H.T, rtol=1e-9, atol=1e-12 * abs(H).max())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [8, 301])
def test_any_number_of_threads_gives_the_same_bits(dtype, n):
    rng = np.random.default_rng(5)
    hidden = [Dense(257, "silu", norm="layer"), Dense(257, "tanh", norm="rms", residual=True)]
    net = fastbp.Network.from_layers(40, [*hidden, Dense(9)], dtype=dtype, seed=1, l2=0.1)
    X, y, v = (rng.normal(size=size) for size in ((n, 40), (n, 9), net.theta.size))
    s = np.arange(n) % 3 + 0.5

    def everything():
        found = [net.jvp(X, X, dtheta=v), net.hvp(X, y, v), net.hvp(X, y, v, s)]
        return found

    assert_same_bits_on_any_number_of_threads(everything)


@pytest.mark.parametrize("norm", NORMS)
def test_nan_stays_in_its_row(norm):
    net, X, y = case([Dense(5, "tanh", norm=norm)])
    v = np.ones(net.theta.size)
    X[1, 2] = np.nan
    found = net.jvp(X, dtheta=v)
    assert np.isnan(found[1]).all()
    assert np.isfinite(np.delete(found, 1, axis=0)).all()
    assert (np.isnan(net.hvp(X, y, v)) == (trained(net, v) != 0)).all()


@pytest.mark.parametrize("kind", [fastbp.Network, reference.Network], ids=["engine", "reference"])
def test_frozen_layers_have_the_same_derivatives(kind):
    net, X, y = case(STACKS["all"], kind=kind)
    before = along(net, X, y)
    net.layers[0].trainable = net.layers[2].trainable = False
    for name, found in along(net, X, y).items():
        np.testing.assert_array_equal(found, before[name], name)


@pytest.mark.parametrize("kind", [fastbp.Network, reference.Network], ids=["engine", "reference"])
@pytest.mark.parametrize("name", STACKS)
def test_hooks_with_every_option_of_a_layer(name, kind):
    net, X, y = case(STACKS[name], kind=kind)
    net.forward(X)
    net.backward(y)
    grad, deltas = net.grad.copy(), [layer.delta.copy() for layer in net.layers]
    net.backward(y, hook=lambda l, delta: None)
    np.testing.assert_array_equal(net.grad, grad)
    g = net.relevance(X, y)[1] / net.layers[0].a  # ∂J_i/∂a^1
    np.testing.assert_allclose(net.pull_back(1, g), deltas[0], rtol=1e-7, atol=1e-12)
    net.backward(y, hook=lambda l, delta: 0 * delta if l == 1 else None)
    np.testing.assert_array_equal(net.layers[0].dW, 0)
    for l in range(1, len(net.layers)):
        np.testing.assert_array_equal(net.layers[l].delta, deltas[l], f"layer {l}")


def test_a_hook_leaves_frozen_layers_unchanged():
    net = fastbp.Network.from_layers(2, [Dense(3, "tanh"), Dense(1)], seed=0)
    net.layers[0].trainable = False
    before = net.layers[0].W.copy()
    net.train_batch([[1.0, 2.0]], [[3.0]], SGD(0.1), hook=lambda l, delta: None)
    np.testing.assert_array_equal(net.layers[0].W, before)
    assert net.layers[1].b != 0
