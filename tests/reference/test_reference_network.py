"""The interface of the reference: dtypes, views, copies, state and bad arguments."""

import copy
import pickle

import numpy as np
import pytest
from engine_cases import LOSSES, combinations

from fastbp.reference import Network

WIDTHS = (3, 4, 2, 3)
BATCH = 5

pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore:.*takes the logarithm:UserWarning"),
]


def case(loss="squared_error", output="identity", n=6, **options):
    """A network 3-4-2 with n samples and their targets."""
    rng = np.random.default_rng(11)
    net = Network((3, 4, 2), activation="tanh", output=output, loss=loss, seed=3, **options)
    return net, rng.normal(size=(n, 3)), rng.dirichlet([1, 1], n)


# ---- dtype --------------------------------------------------------------------------------


@pytest.mark.parametrize(("hidden", "output", "loss"), combinations(LOSSES))
def test_float32_stays_float32(hidden, output, loss):
    net = Network(
        WIDTHS, activation=hidden, output=output, loss=loss, dtype="float32", seed=5, l1=0.1, l2=0.1
    )
    rng = np.random.default_rng(5)
    X = rng.normal(size=(BATCH, WIDTHS[0]))
    assert net.forward(X).dtype == np.float32
    assert isinstance(net.backward(rng.dirichlet(np.ones(WIDTHS[-1]), BATCH)), float)
    assert net.theta.dtype == net.grad.dtype == net.input_gradient().dtype == np.float32
    for layer in net.layers:
        for name in ("W", "b", "dW", "db", "z", "a", "delta"):
            assert getattr(layer, name).dtype == np.float32, name


def test_same_seed_same_weights_in_both_dtypes():
    double, single = Network(WIDTHS, seed=9), Network(WIDTHS, seed=9, dtype="float32")
    np.testing.assert_array_equal(double.theta.astype(np.float32), single.theta)


# ---- views, copies and state --------------------------------------------------------------


def test_layers_are_views_of_theta_and_grad():
    net = Network((2, 3, 1), seed=0)
    net.theta[...] = np.arange(13)
    np.testing.assert_array_equal(net.layers[0].W, [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(net.layers[0].b, [6, 7, 8])
    np.testing.assert_array_equal(net.layers[1].W, [[9], [10], [11]])
    net.layers[1].b[0] = -1
    assert net.theta[12] == -1
    for layer in net.layers:
        assert np.shares_memory(layer.W, net.theta) and np.shares_memory(layer.dW, net.grad)


def test_assigning_copies_the_values_and_checks_the_shape():
    net = Network((2, 3), seed=0)
    mine = np.ones((2, 3))
    net.layers[0].W = mine
    mine[...] = 5
    np.testing.assert_array_equal(net.theta[:6], 1)
    net.layers[0].W += 1
    np.testing.assert_array_equal(net.theta[:6], 2)
    with pytest.raises(ValueError, match=r"W has shape \(3, 2\); the network has \(2, 3\)"):
        net.layers[0].W = np.zeros((3, 2))
    with pytest.raises(ValueError, match=r"b has shape \(1,\)"):
        net.layers[0].b = [0.0]
    with pytest.raises(ValueError, match="theta has shape"):
        net.theta = np.zeros(8)


def test_forward_returns_a_new_array_and_predict_changes_nothing():
    net, X, y = case()
    out = net.forward(X)
    out[...] = 7
    assert not np.shares_memory(out, net.layers[-1].a)
    net.backward(y)
    before = copy.deepcopy([(layer.z, layer.a, layer.delta) for layer in net.layers])
    grad = net.grad.copy()
    net.predict(2 * X)
    net.loss(2 * X, y)
    for layer, (z, a, delta) in zip(net.layers, before, strict=True):
        np.testing.assert_array_equal(layer.z, z)
        np.testing.assert_array_equal(layer.a, a)
        np.testing.assert_array_equal(layer.delta, delta)
    np.testing.assert_array_equal(net.grad, grad)


def test_z_and_a_of_identity_do_not_share_memory():
    net = Network((2, 1), seed=0)
    net.forward([[1.0, 2.0]])
    assert not np.shares_memory(net.layers[0].z, net.layers[0].a)


def test_calls_in_the_wrong_order_are_refused():
    net, X, y = case()

    with pytest.raises(RuntimeError, match=r"call forward\(X\) first"):
        net.backward(y)
    with pytest.raises(RuntimeError, match=r"call forward\(X\) first"):
        net.backward_from(y)
    with pytest.raises(RuntimeError, match=r"call backward\(y\) first"):
        net.input_gradient()
    with pytest.raises(RuntimeError, match=r"call backward\(y\) first"):
        net.step("sgd")
    net.forward(X)
    with pytest.raises(RuntimeError, match=r"call backward\(y\) first"):
        net.input_gradient()
    with pytest.raises(ValueError, match="y has 5 rows; the last forward has 6"):
        net.backward(y[:5])
    with pytest.raises(ValueError, match="delta_L has 5 rows; the last forward has 6"):
        net.backward_from(y[:5])


def test_backward_from_a_minus_y_is_backward_for_a_pair():
    net, X, y = case("cross_entropy", "softmax", l2=0.1)
    s = np.arange(1.0, 7.0)
    a = net.forward(X)
    net.backward(y, s)
    grad, inputs = net.grad.copy(), net.input_gradient()
    net.backward_from(a - y, sample_weight=s)
    np.testing.assert_array_equal(net.grad, grad)
    np.testing.assert_array_equal(net.input_gradient(), inputs)


def test_backward_from_copies_its_argument():
    net, X, y = case()
    net.forward(X)
    mine = np.ones_like(y)
    net.backward_from(mine)
    net.layers[-1].delta[...] = 3
    np.testing.assert_array_equal(mine, 1)


def test_value_and_grad_at_another_theta():
    net, X, y = case()
    other = copy.deepcopy(net)
    other.theta *= 0.5
    own = net.theta.copy()
    J, grad = net.value_and_grad(X, y, theta=other.theta)
    np.testing.assert_array_equal(net.theta, own)
    J_other, grad_other = other.value_and_grad(X, y)
    assert J == J_other
    np.testing.assert_array_equal(grad, grad_other)
    assert not np.shares_memory(grad_other, other.grad)
    with pytest.raises(RuntimeError, match="call backward"):
        net.step("sgd")


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_have_views_of_their_own_theta(clone):
    net, X, y = case(l1=0.1)
    twin = clone(net)
    np.testing.assert_array_equal(twin.theta, net.theta)
    assert twin.value_and_grad(X, y)[0] == net.value_and_grad(X, y)[0]
    twin.layers[0].W[...] = 0
    assert twin.theta[0] == 0 and net.theta[0] != 0
    assert repr(twin) == repr(net)


def test_bad_arguments_of_the_constructor_are_refused():
    with pytest.raises(ValueError, match="softmax is for the output layer only"):
        Network((2, 3, 2), activation="softmax")
    with pytest.raises(ValueError, match="lists 1 name; the network has 2 hidden layers"):
        Network((2, 3, 3, 2), activation=["relu"])
    with pytest.raises(ValueError, match="unknown loss 'mean'; known: squared_error"):
        Network((2, 1), loss="mean")
    with pytest.raises(ValueError, match="l1 must not be negative; got -1"):
        Network((2, 1), l1=-1)


@pytest.mark.filterwarnings("error")
def test_unpaired_logarithm_warns_and_names_the_pair():
    with pytest.warns(UserWarning, match="use output='softmax'") as caught:
        Network((2, 3), loss="cross_entropy")
    assert caught[0].filename == __file__
    for output in ("softmax", "sigmoid"):
        for loss in LOSSES:
            Network((2, 3), output=output, loss=loss)
