"""net.copy(): what an independent copy has, and what it does not have."""

import numpy as np
import pytest
from layer_cases import DROPPING, case

import fastbp
from fastbp import Dense, gates, reference
from fastbp.optim import SGD, Adam

KINDS = pytest.mark.parametrize(
    "kind", [fastbp.Network, reference.Network], ids=["engine", "reference"]
)


@KINDS
def test_a_copy_has_everything_that_describes_a_network(kind):
    net, X, y = case(DROPPING["all"], kind=kind, dtype="float32", l2=0.1, input_dropout=0.25)
    net.layers[1].trainable = False
    net.matmul_precision = "high"
    net.dropout_step = 7
    net.preprocessing = {"columns": ["a", "b"]}
    other = net.copy()
    assert type(other) is kind
    for name in ("seed", "dropout_step", "matmul_precision", "preprocessing", "l2", "dense"):
        assert getattr(other, name) == getattr(net, name), name
    assert [layer.trainable for layer in other.layers] == [True, False, True, True]
    assert repr(other) == repr(net)
    np.testing.assert_array_equal(other.theta, net.theta)
    for each in (net, other):
        each.fit(X, y, epochs=2, batch_size=9, optimizer=Adam(0.01))
    np.testing.assert_array_equal(other.theta, net.theta)


@KINDS
def test_a_copy_is_independent(kind):
    net, X, y = case(DROPPING["dropout"], kind=kind)
    net.preprocessing = {"columns": ["a", "b"]}
    other, before = net.copy(), net.theta.copy()
    other.preprocessing["columns"].append("c")
    other.layers[0].trainable = False
    net.train_batch(X, y, SGD(0.1))
    assert (net.theta != before).any()
    np.testing.assert_array_equal(other.theta, before)
    assert net.preprocessing == {"columns": ["a", "b"]}
    assert net.layers[0].trainable
    assert not np.shares_memory(net.theta, other.theta)


@KINDS
def test_a_copy_has_no_pass_and_no_hook(kind):
    net, X, y = case(DROPPING["dropout"], kind=kind)
    calls = []
    net.on_delta(lambda l, delta: calls.append(l))
    net.value_and_grad(X, y)
    assert calls.pop() == 1
    calls.clear()
    other = net.copy()
    assert other.layers[0].z is None
    with pytest.raises(RuntimeError, match="call forward"):
        other.backward(y)
    other.train_batch(X, y, SGD(0.1))
    assert calls == []
    assert net.layers[0].z is not None


@KINDS
def test_a_copy_of_formulas_and_functions(kind):
    swish = gates.activation(lambda z, beta: z * gates.sigmoid(beta * z), beta=1.0)
    net = kind.from_layers(3, [Dense(5, swish), Dense(1)], seed=0)
    net.layers[0].constants = {"beta": 2.0}
    other = net.copy()
    X = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_array_equal(other.predict(X), net.predict(X))
    assert other.layers[0].constants["beta"].tolist() == [2.0]


def test_a_subclass_copies_to_its_own_class():
    class Mine(fastbp.Network):
        pass

    assert type(Mine((2, 1)).copy()) is Mine


@KINDS
def test_soft_updates_of_a_target_network(kind):
    net = kind((2, 3, 1), seed=0)
    target = net.copy()
    net.theta = net.theta + 1
    for _ in range(200):
        target.theta += 0.1 * (net.theta - target.theta)
    np.testing.assert_allclose(target.theta, net.theta, rtol=1e-5, atol=1e-5)
