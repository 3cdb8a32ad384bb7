"""Derivatives and hooks of layers with norm, residual, dropout or no bias."""

import numpy as np
import pytest
from engine_cases import DTYPES
from layer_cases import DROPPING, STACKS, case, check

import fastbp
from fastbp import Dense, reference
from fastbp.optim import SGD

WITH_NORM = ("layer", "rms", "all")


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
@pytest.mark.parametrize("name", [name for name in STACKS if name not in WITH_NORM])
def test_along_a_direction(name, n, dtype):
    check(along, STACKS[name], dtype, n=n, loss="squared_error", l2=0.1)


@pytest.mark.parametrize("kind", [fastbp.Network, reference.Network], ids=["engine", "reference"])
@pytest.mark.parametrize("name", STACKS)
def test_they_hang_together(name, kind):
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
    if name in WITH_NORM:
        return
    v, theta = np.sin(np.arange(net.theta.size)), net.theta.copy()
    moved = [net.value_and_grad(X, y, theta + t * v)[1] for t in (1e-5, -1e-5)]
    exact = (moved[0] - moved[1]) / 2e-5
    np.testing.assert_allclose(net.hvp(X, y, v), exact, rtol=1e-5, atol=1e-6 * abs(exact).max())
    np.testing.assert_allclose(net.jvp(X, X), np.einsum("ikj,ij->ik", J, X), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("kind", [fastbp.Network, reference.Network], ids=["engine", "reference"])
@pytest.mark.parametrize("name", STACKS)
def test_hooks_that_read_and_hooks_that_pull_back(name, kind):
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
    for layer, delta in zip(net.layers[1:], deltas[1:], strict=True):
        np.testing.assert_array_equal(layer.delta, delta)


@pytest.mark.parametrize("kind", [fastbp.Network, reference.Network], ids=["engine", "reference"])
def test_what_they_do_not_cover_is_named(kind):
    net, X, y = case(STACKS["rms"], kind=kind)
    with pytest.raises(ValueError, match=r"jvp does not go through norms, and layer 1 has .*rms"):
        net.jvp(X, X)
    with pytest.raises(ValueError, match=r"hvp does not go through norms"):
        net.hvp(X, y, net.theta)
    net, X, y = case(DROPPING["dropout"], kind=kind)
    with pytest.raises(ValueError, match="dropout"):
        net.train_batch(X, y, SGD(0.1), hook=lambda l, delta: None)


def test_frozen_layers_stay_under_a_hook():
    net = fastbp.Network.from_layers(2, [Dense(3, "tanh"), Dense(1)], seed=0)
    net.layers[0].trainable = False
    before = net.layers[0].W.copy()
    net.train_batch([[1.0, 2.0]], [[3.0]], SGD(0.1), hook=lambda l, delta: None)
    np.testing.assert_array_equal(net.layers[0].W, before)
    assert net.layers[1].b != 0
