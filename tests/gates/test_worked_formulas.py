"""Formulas worked out by hand, from (x + y) z to a two-layer network with its loss."""

import math

import numpy as np
import pytest
from error_bounds import ErrorBounds
from gate_cases import EPS

import fastbp
import fastbp.reference
from fastbp import gates

x, y, z = gates.inputs("x", "y", "z")


# ---- a few gates --------------------------------------------------------------------------


def test_a_sum_times_a_number():
    """f = (x + y) z: add distributes, multiply swaps."""
    f = (x + y) * z
    trace = f.trace(x=-2, y=5, z=-4)
    assert trace.value == -12.0 and trace.values[x + y] == 3.0
    assert trace.gradient() == {"x": -4.0, "y": -4.0, "z": 3.0}
    assert trace.gradients[x + y] == -4.0 and trace.gradients[f] == 1.0
    assert trace.partials == {f: (-4.0, 3.0), x + y: (1, 1)}


def test_two_paths_are_added():
    """e = (a + b)(b + 1): b acts through both factors, 1 · 2 + 1 · 3."""
    a, b = gates.inputs("a", "b")
    trace = ((a + b) * (b + 1)).trace(a=2, b=1)
    assert trace.value == 6.0
    assert trace.gradient() == {"a": 2.0, "b": 5.0}
    assert trace.gradients[a + b] == 2.0 and trace.gradients[b + 1] == 3.0


def test_a_power_of_a_power():
    """d/dx 3(2x²)⁵ = 960 x⁹: whole numbers, so exact."""
    f = 3 * (2 * x**2) ** 5
    slope = f.derivative("x")
    for at in (-2, 0, 1, 3):
        assert f.trace(x=at).value == 96 * at**10
        assert f.trace(x=at).gradient() == {"x": 960.0 * at**9}
        assert slope.trace(x=at).value == 960 * at**9
        assert slope.derivative("x").trace(x=at).value == 8640 * at**8


def test_a_sigmoid_neuron_gate_by_gate():
    """1/(1 + e^−(w₀x₀ + w₁x₁ + b)) at w = (2, −3, −3), x = (−1, −2).

    The numbers with two digits are those of the course CS231n of Stanford.
    """
    w0, w1, b, x0, x1 = gates.inputs("w0", "w1", "b", "x0", "x1")
    u = w0 * x0 + w1 * x1 + b
    f = 1 / (1 + gates.exp(-u))
    trace = f.trace(w0=2, w1=-3, b=-3, x0=-1, x1=-2)
    rounded = [
        (round(trace.values[gate], 2), round(trace.gradients[gate], 2))
        for gate in (w0 * x0, w1 * x1, u, -u, gates.exp(-u), 1 + gates.exp(-u), f)
    ]
    assert rounded == [
        (-2.0, 0.2),
        (6.0, 0.2),
        (1.0, 0.2),
        (-1.0, -0.2),
        (0.37, -0.53),
        (1.37, -0.53),
        (0.73, 1.0),
    ]
    found = {name: round(slope, 2) for name, slope in trace.gradient().items()}
    assert found == {"w0": -0.2, "x0": 0.39, "w1": -0.39, "x1": -0.59, "b": 0.2}
    merged = gates.sigmoid(u).trace(w0=2, w1=-3, b=-3, x0=-1, x1=-2)
    s = 1 / (1 + math.exp(-1))
    # σ has an error of 4 ulp at most and 1 − σ is more than a third of it: 4 + 12 + 1 for σ(1 − σ);
    # the longer chain multiplies by five partials, each with its rounding and two of its operands
    for trace_of, roundings in ((trace, 5 * 4), (merged, 17)):
        assert math.isclose(trace_of.value, s, rel_tol=4 * EPS)
        slope = trace_of.gradients[u]
        assert math.isclose(slope, s * (1 - s), rel_tol=roundings * EPS)
        assert trace_of.gradient() == {
            "w0": -slope,
            "x0": 2 * slope,
            "w1": -2 * slope,
            "x1": -3 * slope,
            "b": slope,
        }


def test_softmax_and_cross_entropy_apart():
    """J = −Σ yₖ ln pₖ with p = softmax(z): the walk through both ends in p − y."""
    n, width = 5, 4
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(n, width))
    targets = np.eye(width)[rng.integers(0, width, n)]
    p = gates.softmax(z)
    J = -gates.sum(y * gates.log(p))
    trace = J.trace(z=logits, y=targets)
    share = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    expected = -(targets * np.log(share)).sum(axis=1)
    assert trace.value.shape == (n,)
    # relative errors of p: 4 ulp of exp, the sum and the quotient, on both sides, and the rounding
    # of z − max z, at most 2 eps (|z| < 2); ln p errs by as much, and by 4 ulp of itself
    E_p = (2 * (4 + width + 1) + 2 * np.ptp(logits)) * EPS
    assert (abs(trace.value - expected) <= E_p + 8 * EPS * expected).all()
    # −y/p errs by 3 eps, its product with p by E_p more, and the sum over the row by its terms
    assert (abs(trace.gradients[z] - (share - targets)) <= 2 * E_p + (width + 6) * EPS).all()
    assert trace.gradient()["z"].shape == (n, width)


# ---- neurons, layers and networks ---------------------------------------------------------

N, N_IN, N_HIDDEN, N_OUT = 6, 3, 4, 2


def test_a_neuron():
    """a = tanh(Σ wₖ xₖ + b) for all rows: ∂/∂w sums x (1 − a²) over the rows."""
    w, b = gates.inputs("w", "b")
    rows = np.array([[1.0, 0.0, -1.0], [0.5, 2.0, 1.0]])
    a = gates.tanh(gates.sum(w * rows) + b)
    trace = a.trace(w=[0.5, -0.5, 0.25], b=0.25)
    out = np.tanh(rows @ [0.5, -0.5, 0.25] + 0.25)[:, None]
    slope = 1 - out**2
    # z is exact; tanh has 4 ulp, so 1 − a² errs by 2 · 4 + 2 eps; sums of two products
    assert (abs(trace.value - out) <= 8 * EPS).all()
    found = trace.gradient()
    assert (abs(found["w"] - (slope * rows).sum(axis=0)) <= (18 + 4) * EPS * abs(rows).sum(0)).all()
    assert abs(found["b"] - slope.sum()) <= (18 + 4) * EPS * 2


def test_a_layer():
    """Every output of a = σ(x W + b) has all weights of one unit."""
    layer = [gates.sigmoid(gates.sum(w * x) + b) for w, b in units("w", "b", 2)]
    sample, W, b = np.array([1.0, -2.0, 0.5]), np.array([[0.5, 1.0, 2.0], [1.0, 0.5, -1.0]]), [1, 0]
    for j, a in enumerate(layer):
        found = a.trace(x=sample, **{f"w{j}": W[j], f"b{j}": b[j]})
        out = 1 / (1 + math.exp(-(W[j] @ sample + b[j])))  # z is a short binary fraction
        slope = out * (1 - out)
        E = (2 * 4 + 2) * EPS * out  # 4 ulp of exp and two roundings, on both sides
        assert abs(found.value - out) <= E
        for name, factor in ((f"w{j}", sample), ("x", W[j]), (f"b{j}", np.array([1.0]))):
            error = abs(found.gradient()[name] - slope * factor)
            assert (error <= (E + 4 * EPS * slope) * abs(factor)).all()


def units(weights, biases, n):
    """The inputs of n units: (w0, b0), (w1, b1), …"""
    return [gates.inputs(f"{weights}{j}", f"{biases}{j}") for j in range(n)]


def two_layers(X, targets, loss):
    """The mean loss of a network 3-4-2 as one formula of all weights, each of them an input.

    Values are over the samples, which are on the axis that `mean` reduces.
    """

    def weights(l, n_in, n_out):
        W = [gates.inputs(*(f"W{l}_{i}{j}" for j in range(n_out))) for i in range(n_in)]
        return W, gates.inputs(*(f"b{l}_{j}" for j in range(n_out)))

    def layer(a, W, b):
        return [sum(a[i] * W[i][j] for i in range(len(a))) + b[j] for j in range(len(b))]

    hidden = [gates.tanh(z) for z in layer(list(X.T), *weights(1, N_IN, N_HIDDEN))]
    outputs = layer(hidden, *weights(2, N_HIDDEN, N_OUT))
    if loss == "cross_entropy":
        powers = [gates.exp(z) for z in outputs]
        outputs = [power / sum(powers) for power in powers]
        rows = -sum(t * gates.log(p) for t, p in zip(targets.T, outputs, strict=True))
    else:
        rows = sum((a - t) ** 2 for a, t in zip(outputs, targets.T, strict=True)) / 2
    return gates.mean(rows)


@pytest.mark.parametrize(
    ("loss", "output"), [("squared_error", "identity"), ("cross_entropy", "softmax")]
)
@pytest.mark.parametrize("network", [fastbp.Network, fastbp.reference.Network])
def test_a_network_is_one_formula_of_its_weights(loss, output, network):
    rng = np.random.default_rng(1)
    X, targets = rng.normal(size=(N, N_IN)), rng.normal(size=(N, N_OUT))
    if loss == "cross_entropy":
        targets = np.eye(N_OUT)[rng.integers(0, N_OUT, N)]
    options = {"activation": "tanh", "output": output, "loss": loss, "dtype": "float64", "seed": 3}
    net = network((N_IN, N_HIDDEN, N_OUT), **options)
    net.forward(X)
    J = net.backward(targets)

    formula = two_layers(X, targets, loss)
    given = {}
    for l, layer in enumerate(net.layers, 1):
        given |= {f"W{l}_{i}{j}": w for (i, j), w in np.ndenumerate(layer.W)}
        given |= {f"b{l}_{j}": b for (j,), b in np.ndenumerate(layer.b)}
    assert set(formula.inputs) == given.keys()
    trace = formula.trace(**given)
    found = trace.gradient()

    # both computations err by no more than the bound, whose functions have errors of several ulp
    twin = fastbp.reference.Network((N_IN, N_HIDDEN, N_OUT), **options)
    twin.theta = net.theta
    twin.forward(X)
    twin.backward(targets)
    bounds = ErrorBounds(twin, targets, np.ones(N), "float64")
    assert abs(trace.value - J) <= 2 * bounds.J
    for l, layer in enumerate(net.layers, 1):
        for (i, j), dw in np.ndenumerate(layer.dW):
            assert abs(found[f"W{l}_{i}{j}"] - dw) <= 2 * bounds.dW[l - 1][i, j]
        for (j,), db in np.ndenumerate(layer.db):
            assert abs(found[f"b{l}_{j}"] - db) <= 2 * bounds.db[l - 1][j]
