"""The reference against central differences, complex steps, and the loops of a textbook."""

import itertools
import math

import numpy as np
import pytest
from engine_cases import HIDDEN, LOSSES, OUTPUTS, combinations
from error_bounds import KINKS
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fastbp.reference import Network, objective, slow_backprop
from fastbp.reference._formulas import pull_back

EPS = float(np.finfo(np.float64).eps)
MARGIN = 1e-2  # distance of the differentiated points from kinks and poles

# activations that accept complex z: those without a kink and without erf
ANALYTIC = tuple(
    spec
    for spec in OUTPUTS
    if spec.partition("(")[0] not in {*KINKS, "gelu", "prelu"} and "where" not in spec
)
WIDTHS = (3, 4, 2, 3)
BATCH = 5

pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore:.*takes the logarithm:UserWarning"),
]


def targets_for(loss, rng, n, n_out):
    if loss == "cross_entropy":
        return rng.dirichlet(np.ones(n_out), n)
    if loss == "binary_cross_entropy":
        return rng.uniform(size=(n, n_out))
    return rng.normal(size=(n, n_out))


def away_from_kinks(net, X):
    """Whether no z is near a kink and no output near 0 or 1, so that J is smooth around theta."""
    net.forward(X)
    distances = [abs(net.theta).min()]
    for layer in net.layers:
        kinks = [0.0, *(at for at, _ in KINKS.get(layer.activation.name, lambda _: [])(0.0))]
        distances += [abs(layer.z - at).min() for at in kinks]
    top = net.layers[-1]
    # saturated outputs are exactly 0 or 1, where the logarithm is clipped, and do not change
    constants = [*top.constants.values()]
    moving = pull_back(top.activation, np.ones_like(top.a), top.z, top.a, constants) != 0
    distances += [abs(end - top.a).min(initial=1.0, where=moving) for end in (0, 1)]
    return min(distances) > MARGIN


def smooth_case(hidden, output, loss, widths=WIDTHS, n=BATCH, **options):
    """The network, data and weights of the first seed for which all kinks are far enough."""
    for seed in itertools.count():
        rng = np.random.default_rng(seed)
        net = Network(widths, activation=hidden, output=output, loss=loss, seed=seed, **options)
        # values that grow from layer to layer are kept small
        net.theta = rng.normal(scale=0.3 if hidden == "exp" else 0.7, size=net.theta.size)
        net.layers[-1].b = rng.uniform(0.2, 0.6, widths[-1])
        X = rng.normal(size=(n, widths[0]))
        if away_from_kinks(net, X):
            y = targets_for(loss, rng, n, widths[-1])
            return net, X, y, rng.uniform(0.5, 2.0, n)
    raise AssertionError("unreachable")


def sum_length(net, n):
    """An upper bound for the number of rounded operations of one element of a gradient."""
    return n + 2 * sum(net.widths) + 10 * len(net.layers)


def central_difference(f, x, k, h):
    step = np.zeros_like(x)
    step[k] = h
    return (f(x + step) - f(x - step)) / (2 * h)


def assert_central(f, x, gradient, n_ops):
    """Assert gradient == f'(x) up to truncation (estimated with 2h) and rounding (n_ops eps/h)."""
    h = EPS ** (1 / 3)
    rounding = n_ops * EPS * (1 + abs(f(x))) / h
    for k in range(x.size):
        near, far = central_difference(f, x, k, h), central_difference(f, x, k, 2 * h)
        assert abs(gradient[k] - near) <= abs(far - near) + rounding, (k, gradient[k], near)


def magnitude_bound(net, s):
    """The sum of |terms| of each element of the gradient, to which its rounding is proportional."""
    S = s.sum()
    delta = abs(net.layers[-1].delta) + abs(net.layers[-1].a) + 1
    bound = 0.0
    for i in reversed(range(len(net.layers))):
        X = net._backend._pass.trace[1].u
        a_in = abs(net.layers[i - 1].a) + abs(net.layers[i - 1].z) if i else abs(X)
        bound = max(bound, ((1 + a_in).T @ (s[:, None] * delta) / S).max())
        delta = delta @ abs(net.layers[i].W).T
    return bound * (1 + max(abs(layer.z).max() for layer in net.layers))


# ---- gradients ----------------------------------------------------------------------------


@pytest.mark.parametrize(("hidden", "output", "loss"), combinations(LOSSES))
def test_gradient_agrees_with_central_differences(hidden, output, loss):
    net, X, y, s = smooth_case(hidden, output, loss, l1=0.03, l2=0.2)
    net.forward(X)
    J = net.backward(y, s)
    assert J == net.loss(X, y, s)
    assert_central(
        lambda theta: float(objective(net, X, y, theta, s)),
        net.theta.copy(),
        net.grad,
        sum_length(net, BATCH),
    )


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("output", ANALYTIC)
@pytest.mark.parametrize("hidden", [name for name in ANALYTIC if name in HIDDEN])
def test_gradient_agrees_with_complex_step(hidden, output, loss):
    net, X, y, s = smooth_case(hidden, output, loss, l1=0.03, l2=0.2)
    net.forward(X)
    net.backward(y, s)
    tiny = 1e-100
    expected = np.empty_like(net.theta)
    for k in range(net.theta.size):
        theta = net.theta.astype(complex)
        theta[k] += 1j * tiny
        expected[k] = objective(net, X, y, theta, s).imag / tiny
    # a logarithmic loss multiplies the rounding of a by 1/(a (1 − a)) <= 1/MARGIN
    pole = 1 if net.criterion.pair in (None, output) else 1 / MARGIN
    tolerance = sum_length(net, BATCH) * EPS * magnitude_bound(net, s) * pole
    assert abs(net.grad - expected).max() <= tolerance


@pytest.mark.parametrize(("hidden", "output"), combinations())
def test_input_gradient_agrees_with_central_differences(hidden, output):
    net, X, y, _ = smooth_case(hidden, output, "squared_error")
    net.forward(X)
    net.backward(y)
    gradient = net.input_gradient()
    for i in range(BATCH):
        target = y[i : i + 1]
        assert_central(
            lambda x, target=target: net.loss(x[None, :], target),
            X[i],
            gradient[i],
            sum_length(net, 1),
        )


# ---- slow_backprop ------------------------------------------------------------------------

widths_strategy = st.lists(st.sampled_from([1, 2, 3, 5, 7, 17]), min_size=2, max_size=5)


@given(
    widths=widths_strategy,
    hidden=st.sampled_from(HIDDEN),
    output=st.sampled_from(OUTPUTS),
    loss=st.sampled_from(LOSSES),
    n=st.sampled_from([1, 2, 7]),
    weighted=st.booleans(),
    penalty=st.sampled_from([0.0, 0.1]),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=150)
def test_slow_backprop_agrees_with_the_reference(
    widths, hidden, output, loss, n, weighted, penalty, seed
):
    rng = np.random.default_rng(seed)
    net = Network(
        widths, activation=hidden, output=output, loss=loss, seed=seed, l1=penalty, l2=penalty
    )
    for layer in net.layers:
        layer.W *= 0.2 if hidden == "exp" else 1  # else values grow from layer to layer
    net.layers[-1].W *= 0.1
    net.layers[-1].b = rng.uniform(0.2, 0.6, widths[-1])
    X = rng.normal(size=(n, widths[0]))
    y = targets_for(loss, rng, n, widths[-1])
    s = rng.uniform(0.5, 2.0, n) if weighted else None
    net.forward(X)
    J = net.backward(y, s)
    slow = slow_backprop(net, X, y, s)

    # near the poles of a logarithm, the rounding of a changes the slope without bound
    a = net.layers[-1].a
    inside = (a > MARGIN) & (a < 1 - MARGIN)
    assume(net.criterion.pair in (None, output) or inside.all())
    pole = 1 if net.criterion.pair in (None, output) else 1 / MARGIN
    weights = np.ones(n) if s is None else s
    tolerance = 2 * sum_length(net, n) * EPS * magnitude_bound(net, weights) * pole
    assert abs(J - slow.J) <= tolerance + sum_length(net, n) * EPS * abs(J)
    for i, layer in enumerate(net.layers):
        assert layer.z.shape == layer.a.shape == layer.delta.shape == (n, widths[i + 1])
        for name in ("z", "a", "dW", "db"):
            error = abs(getattr(layer, name) - getattr(slow, name)[i]).max()
            assert error <= tolerance, (name, i)
        for name, exact in slow.dconstants[i].items():  # sums over all units, where b has one
            error = abs(layer.dconstants[name] - exact).max()
            assert error <= tolerance * layer.W.shape[1], (name, i)
        # δ is not divided by S, but the bound is
        assert abs(layer.delta - slow.delta[i]).max() <= tolerance * weights.sum() / weights.min()


def test_slow_backprop_takes_class_indices():
    net = Network((2, 3, 3), output="softmax", loss="cross_entropy", seed=0)
    X = np.array([[0.5, -1.0], [2.0, 0.25]])
    by_label = slow_backprop(net, X, [2, 0])
    by_row = slow_backprop(net, X, [[0, 0, 1], [1, 0, 0]])
    assert by_label.J == by_row.J
    np.testing.assert_array_equal(by_label.dW[0], by_row.dW[0])


# ---- weights, targets and penalties -------------------------------------------------------


def random_case(loss="squared_error", output="identity", n=6, **options):
    rng = np.random.default_rng(11)
    net = Network((3, 4, 2), activation="tanh", output=output, loss=loss, seed=3, **options)
    return net, rng.normal(size=(n, 3)), targets_for(loss, rng, n, 2)


def test_integer_weights_count_as_repetitions():
    net, X, y = random_case()
    times = np.array([1, 3, 2, 1, 4, 1])
    J, grad = net.value_and_grad(np.repeat(X, times, axis=0), np.repeat(y, times, axis=0))
    net.forward(X)
    assert math.isclose(net.backward(y, times), J, rel_tol=times.sum() * EPS)
    scale = magnitude_bound(net, times.astype(float))
    assert abs(net.grad - grad).max() <= 2 * sum_length(net, times.sum()) * EPS * scale


def test_delta_does_not_depend_on_the_weights():
    net, X, y = random_case()
    net.forward(X)
    net.backward(y)
    together = [layer.delta.copy() for layer in net.layers]
    net.backward(y, np.arange(1.0, 7.0))
    for l, (layer, delta) in enumerate(zip(net.layers, together, strict=True)):
        np.testing.assert_array_equal(layer.delta, delta, f"layer {l}")


@pytest.mark.parametrize(
    ("loss", "output"), [("cross_entropy", "softmax"), ("binary_cross_entropy", "sigmoid")]
)
def test_paired_delta_is_a_minus_y(loss, output):
    net, X, y = random_case(loss, output)
    a = net.forward(X)
    net.backward(y)
    np.testing.assert_array_equal(net.layers[-1].delta, a - y)


def test_class_indices_equal_one_hot_rows():
    net, X, _ = random_case("cross_entropy", "softmax")
    labels = np.array([0, 1, 1, 0, 1, 0])
    J, grad = net.value_and_grad(X, labels)
    J_rows, grad_rows = net.value_and_grad(X, np.eye(2)[labels])
    assert J == J_rows
    np.testing.assert_array_equal(grad, grad_rows)


def test_penalties_do_not_apply_to_biases_and_sign_of_zero_is_zero():
    net, X, _ = random_case(l1=0.5, l2=0.25)
    net.layers[0].W[0, 0] = 0.0
    net.layers[0].W[0, 1] = -2.0
    net.layers[0].W[0, 2] = 4.0
    net.layers[0].b = [7.0, 7.0, 7.0, 7.0]
    net.forward(X)
    net.backward_from(np.zeros((6, 2)))
    np.testing.assert_array_equal(net.layers[0].dW[0, :3], [0.0, -1.0, 1.5])
    np.testing.assert_array_equal(np.concatenate([layer.db for layer in net.layers]), 0.0)


@pytest.mark.parametrize(
    ("activation", "slope"), [("relu", 0.0), ("leaky_relu(0.25)", 0.25), ("leaky_relu(0)", 0.0)]
)
def test_slope_at_a_kink(activation, slope):
    net = Network((1, 1, 1), activation=activation, init="zeros")
    net.layers[1].W = [[1.0]]
    net.forward([[1.0]])
    net.backward_from([[1.0]])
    assert net.layers[0].delta == slope


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "cross_entropy"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_clipped_logarithm_has_slope_0(loss, dtype):
    net = Network((1, 2), loss=loss, dtype=dtype, init="zeros")
    net.layers[0].b = [-3.0, 3.0]
    net.forward([[1.0]])
    J = net.backward([[1.0, 0.0]])
    eps = float(np.finfo(dtype).eps)
    lost = 2 if loss == "binary_cross_entropy" else 1  # the second output is 1 - eps, its target 0
    # the logarithm and the sum are each rounded to eps
    assert math.isclose(J, -lost * math.log(eps), rel_tol=4 * eps)
    np.testing.assert_array_equal(net.layers[0].delta, 0.0)


@pytest.mark.parametrize(
    ("loss", "output"), [("cross_entropy", "softmax"), ("binary_cross_entropy", "sigmoid")]
)
def test_large_logits_give_a_finite_loss(loss, output):
    net = Network((1, 2), output=output, loss=loss, init="zeros")
    net.layers[0].b = [1000.0, -1000.0]
    net.forward([[0.0]])
    assert net.backward([[0.0, 1.0]]) == 2000.0
    np.testing.assert_array_equal(net.layers[0].delta, [[1.0, -1.0]])


@pytest.mark.parametrize("hidden", HIDDEN)
def test_nan_and_infinity_propagate_without_a_warning(hidden):
    net = Network((2, 3, 1), activation=hidden, seed=0)
    assert np.isnan(net.predict([[np.nan, 1.0]])).all()
    net.predict([[np.inf, 1.0]])
