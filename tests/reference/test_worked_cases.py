"""Cases worked out by hand, as in textbooks, for the reference and for the engine.

Where every z is 0, a sigmoid gives exactly 1/2 with slope 1/4, and all results are short binary
fractions, which are compared for equality. Elsewhere the tolerance counts roundings.
"""

import math

import numpy as np
import pytest

import fastbp
import fastbp.reference
from fastbp.optim import SGD, Adam

XOR_X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
XOR_Y = np.array([[0.0], [1.0], [1.0], [0.0]])


@pytest.fixture(params=["reference", "engine"])
def make_network(request):
    return fastbp.reference.Network if request.param == "reference" else fastbp.Network


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return request.param


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


# ---- exclusive or, 2-2-1 ------------------------------------------------------------------


@pytest.mark.parametrize("make_optimizer", [lambda: SGD(1.0, momentum=0.9), lambda: Adam(0.1)])
def test_xor_is_learned_by_fit(make_network, dtype, make_optimizer):
    """All four outputs end within 1 % of the targets; with other seeds, a fit may not find them."""
    net = make_network(
        (2, 2, 1),
        activation="tanh",
        output="sigmoid",
        loss="binary_cross_entropy",
        dtype=dtype,
        seed=2,
    )
    net.fit(XOR_X, XOR_Y, epochs=500, batch_size=4, optimizer=make_optimizer())
    assert abs(net.predict(XOR_X) - XOR_Y).max() < 0.01


def test_xor_is_learned_step_by_step(make_network, dtype):
    """The classical network: sigmoids in both layers, squared error, momentum."""
    net = make_network((2, 2, 1), activation="sigmoid", output="sigmoid", dtype=dtype, seed=2)
    optimizer = SGD(2.0, momentum=0.9)
    for _ in range(600):
        net.forward(XOR_X)
        net.backward(XOR_Y)
        net.step(optimizer)
    assert ((net.predict(XOR_X) > 0.5) == XOR_Y).all()
    assert net.loss(XOR_X, XOR_Y) < 0.5 * 0.1**2  # as if every answer were off by less than 0.1


# ---- one sigmoid neuron -------------------------------------------------------------------


def test_one_neuron(make_network, dtype):
    net = make_network((2, 1), output="sigmoid", dtype=dtype)
    net.layers[0].W = [[2.0], [-1.0]]
    net.layers[0].b = [0.0]
    x = [[1.0, 2.0]]  # z = 2·1 − 1·2 = 0, a = 1/2, and with t = 1: δ = (a − t) a (1 − a)
    assert net.forward(x) == 0.5
    assert net.backward([[1.0]]) == 0.125
    assert net.layers[0].z == 0 and net.layers[0].delta == -0.125
    np.testing.assert_array_equal(net.layers[0].dW, [[-0.125], [-0.25]])
    np.testing.assert_array_equal(net.layers[0].db, [-0.125])
    np.testing.assert_array_equal(net.input_gradient(), [[-0.25, 0.125]])
    net.step(SGD(4.0))
    np.testing.assert_array_equal(net.theta, [2.5, 0.0, 0.5])


def test_one_neuron_with_output_three_quarters(make_network, dtype):
    """z = ln 3 gives a = 3/4; for t = 0, J = a²/2 = 9/32 and δ = a²(1 − a) = 9/64."""
    net = make_network((1, 1), output="sigmoid", dtype=dtype)
    net.layers[0].W = [[math.log(3)]]
    net.layers[0].b = [0.0]
    a = net.forward([[1.0]])[0, 0]
    J = net.backward([[0.0]])
    # a has an error below 5 eps: 4 ulp of the sigmoid and the rounding of ln 3. J has twice that, δ
    # five times (a², and 1 − a is a third of a); each product adds one rounding.
    eps = float(np.finfo(dtype).eps)
    assert math.isclose(a, 3 / 4, rel_tol=5 * eps)
    assert math.isclose(J, 9 / 32, rel_tol=12 * eps)
    assert math.isclose(net.layers[0].delta[0, 0], 9 / 64, rel_tol=29 * eps)


def test_one_neuron_with_log_loss(make_network, dtype):
    """The same neuron with t = 1: J = −ln a = ln(4/3) and δ = a − t = −1/4."""
    net = make_network((1, 1), output="sigmoid", loss="binary_cross_entropy", dtype=dtype)
    net.layers[0].W = [[math.log(3)]]
    net.layers[0].b = [0.0]
    net.forward([[1.0]])
    J = net.backward([[1.0]])
    eps = float(np.finfo(dtype).eps)
    # J = log1p(exp(−z)): 4 ulp each, and the error of exp is multiplied by e/(1 + e)/J = 0.87
    assert math.isclose(J, math.log(4 / 3), rel_tol=9 * eps)
    # a − 1 is exact, and its size is a third of a
    assert math.isclose(net.layers[0].delta[0, 0], -1 / 4, rel_tol=15 * eps)


# ---- 2-2-1 with log loss and L2 -----------------------------------------------------------


def test_log_loss_of_several_samples_with_l2(make_network, dtype):
    """δ^L = a − y; gradients are divided by the number of samples; L2 does not apply to biases."""
    net = make_network(
        (2, 2, 1),
        activation="sigmoid",
        output="sigmoid",
        loss="binary_cross_entropy",
        dtype=dtype,
        l2=0.5,
    )
    net.layers[0].W = [[1.0, -2.0], [-1.0, 2.0]]
    net.layers[0].b = [-1.0, 2.0]
    net.layers[1].W = [[2.0], [-1.0]]
    net.layers[1].b = [-0.5]
    X = [[1.0, 0.0], [2.0, 1.0], [3.0, 2.0], [0.0, -1.0]]  # x₁ − x₂ = 1: every z is 0
    y = [[1.0], [0.0], [0.0], [0.0]]

    np.testing.assert_array_equal(net.forward(X), 0.5)
    J = net.backward(y)
    hidden, output = net.layers
    np.testing.assert_array_equal(hidden.z, 0.0)
    np.testing.assert_array_equal(hidden.a, 0.5)
    np.testing.assert_array_equal(output.delta, [[-0.5], [0.5], [0.5], [0.5]])
    up, down = [-0.25, 0.125], [0.25, -0.125]  # δ² W²ᵀ ⊙ 1/4
    np.testing.assert_array_equal(hidden.delta, [up, down, down, down])
    # mean of a¹ δ² = 1/8, and W²/2
    np.testing.assert_array_equal(output.dW, [[0.125 + 1.0], [0.125 - 0.5]])
    np.testing.assert_array_equal(output.db, [0.25])
    # mean of x δ¹, and W¹/2
    mean = np.array([[0.25, -0.125], [0.125, -0.0625]])
    np.testing.assert_array_equal(hidden.dW, mean + [[0.5, -1.0], [-0.5, 1.0]])
    np.testing.assert_array_equal(hidden.db, [0.125, -0.0625])
    # ln 2 for each sample, and Σw²/4 = 15/4; log1p has 4 ulp, and five roundings follow
    eps = float(np.finfo(dtype).eps)
    assert math.isclose(J, math.log(2) + 3.75, rel_tol=9 * eps)


# ---- three layers, sigmoid, squared error -------------------------------------------------


def test_the_recursion_of_the_textbook(make_network):
    """δ_k = o_k(1−o_k)(o_k−t_k) and δ_j = o_j(1−o_j) Σ_k δ_k w_jk, element by element.

    The numbers are those of M. Mazur, "A step by step backpropagation example" (2015). Its printed
    results, including the updated weights, are checked to the last digit.
    """
    net = make_network((2, 2, 2), activation="sigmoid", output="sigmoid", dtype="float64")
    W1, b1 = [[0.15, 0.25], [0.20, 0.30]], [0.35, 0.35]
    W2, b2 = [[0.40, 0.50], [0.45, 0.55]], [0.60, 0.60]
    net.theta = np.concatenate([np.ravel(W1), b1, np.ravel(W2), b2])
    x, t = [0.05, 0.10], [0.01, 0.99]

    o_j = [sigmoid(x[0] * W1[0][j] + x[1] * W1[1][j] + b1[j]) for j in range(2)]
    o_k = [sigmoid(o_j[0] * W2[0][k] + o_j[1] * W2[1][k] + b2[k]) for k in range(2)]
    delta_k = [o_k[k] * (1 - o_k[k]) * (o_k[k] - t[k]) for k in range(2)]
    delta_j = [
        o_j[j] * (1 - o_j[j]) * (delta_k[0] * W2[j][0] + delta_k[1] * W2[j][1]) for j in range(2)
    ]
    E = sum((o_k[k] - t[k]) ** 2 for k in range(2)) / 2

    net.forward([x])
    J = net.backward([t])
    hidden, output = net.layers
    # o has an error of 6 eps: 4 ulp and the rounding of z. 1 − o and o − t are at least o/4, so δ_k
    # has 6 (1 + 4 + 4) + 4; the sum for δ_j cancels by half, and o_j adds 6 (1 + 2)
    eps = np.finfo(np.float64).eps
    np.testing.assert_allclose(hidden.a[0], o_j, rtol=6 * eps)
    np.testing.assert_allclose(output.a[0], o_k, rtol=6 * eps)
    np.testing.assert_allclose(output.delta[0], delta_k, rtol=58 * eps)
    np.testing.assert_allclose(hidden.delta[0], delta_j, rtol=140 * eps)
    np.testing.assert_allclose(output.dW, np.outer(o_j, delta_k), rtol=65 * eps)
    np.testing.assert_allclose(hidden.dW, np.outer(x, delta_j), rtol=142 * eps)
    np.testing.assert_allclose(output.db, delta_k, rtol=58 * eps)
    assert math.isclose(J, E, rel_tol=70 * eps)

    assert f"{J:.9f}" == "0.298371109"
    net.step(SGD(0.5))
    printed = {
        "hidden": ["0.14978072", "0.24975114", "0.19956143", "0.29950229"],
        "output": ["0.35891648", "0.51130127", "0.40866619", "0.56137012"],
    }
    assert [f"{w:.8f}" for w in hidden.W.ravel()] == printed["hidden"]
    assert [f"{w:.8f}" for w in output.W.ravel()] == printed["output"]


def test_delta_through_three_layers(make_network, dtype):
    """A chain of three neurons with z = 0: δ³ = ¼·½, δ² = ¼·8 δ³, δ¹ = ¼·(−4) δ²."""
    net = make_network((1, 1, 1, 1), activation="sigmoid", output="sigmoid", dtype=dtype)
    net.theta = [2.0, -2.0, -4.0, 2.0, 8.0, -4.0]
    assert net.forward([[1.0]]) == 0.5
    assert net.backward([[0.0]]) == 0.125
    assert [layer.delta.item() for layer in net.layers] == [-0.25, 0.25, 0.125]
    np.testing.assert_array_equal(net.grad, [-0.25, -0.25, 0.125, 0.25, 0.0625, 0.125])
    np.testing.assert_array_equal(net.input_gradient(), [[-0.5]])
