"""Passes of the engine against the float64 reference, within bounds derived from eps."""

import numpy as np
import pytest
from engine_cases import (
    DTYPES,
    HIDDEN,
    LOGARITHMIC,
    LOSSES,
    OUTPUTS,
    Twins,
    combinations,
    targets_for,
    within,
)
from error_bounds import EPS64
from hypothesis import given, settings
from hypothesis import strategies as st

import fastbp
from fastbp import reference

pytestmark = pytest.mark.filterwarnings("ignore:.*takes the logarithm:UserWarning")

PENALTIES = ({}, {"l1": 0.03, "l2": 0.2})
UNPAIRED = [
    (output, loss)
    for output in OUTPUTS
    for loss in LOGARITHMIC
    if (output, loss) not in {("sigmoid", "binary_cross_entropy"), ("softmax", "cross_entropy")}
]


def output_width(rng, output, loss):
    """At least 2 for softmax with an unpaired logarithm, because with 1 output a would be 1."""
    lone = output == "softmax" and loss == "binary_cross_entropy"
    return int(rng.choice([2, 3, 5, 17, 33] if lone else [1, 2, 3, 5, 17, 33]))


# ---- every combination --------------------------------------------------------------------


@pytest.mark.parametrize(("hidden", "output", "loss", "dtype"), combinations(LOSSES, DTYPES))
def test_every_combination(rng, hidden, output, loss, dtype):
    for penalty in PENALTIES:
        for weighted in (False, True):
            widths = [*rng.choice([1, 2, 3, 7, 13, 17, 31, 33], rng.integers(1, 5)).tolist()]
            twins = Twins(
                rng,
                (*widths, output_width(rng, output, loss)),
                hidden=hidden,
                output=output,
                loss=loss,
                dtype=dtype,
                n=int(rng.choice([1, 2, 7, 8, 9, 15, 29])),
                labels=weighted,
                **penalty,
            )
            twins.check_pass(twins.weights() if weighted else None)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", range(1, 41))
def test_every_batch_size(rng, n, dtype):
    """δ·Wᵀ uses one kernel for up to 8 rows and another for more."""
    hidden = ["tanh", "leaky_relu(0.1)", "sigmoid"]
    options = {"output": "softmax", "loss": "cross_entropy", "dtype": dtype, "n": n}
    twins = Twins(rng, (11, 33, 7, 18, 5), hidden=hidden, labels=n % 2 == 0, l2=0.1, **options)
    twins.check_pass()
    twins.check_pass(twins.weights())


@given(
    widths=st.lists(st.integers(1, 40), min_size=2, max_size=5),
    hidden=st.sampled_from([*HIDDEN, "leaky_relu(0)", "leaky_relu(1.5)", "elu(0.3)", "elu(2)"]),
    output=st.sampled_from(OUTPUTS),
    loss=st.sampled_from(LOSSES),
    dtype=st.sampled_from(DTYPES),
    n=st.integers(1, 40),
    weighted=st.booleans(),
    labels=st.booleans(),
    penalty=st.sampled_from(PENALTIES),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=150)
def test_any_network(widths, hidden, output, loss, dtype, n, weighted, labels, penalty, seed):
    if output == "softmax" and loss == "binary_cross_entropy":
        widths[-1] = max(2, widths[-1])
    options = {"hidden": hidden, "output": output, "loss": loss, "dtype": dtype, "labels": labels}
    twins = Twins(np.random.default_rng(seed), widths, n=n, **options, **penalty)
    twins.check_pass(twins.weights() if weighted else None)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_many_tiles_blocks_and_chunks(rng, dtype, weighted):
    """Several register tiles, weight tiles, row blocks and chunks of k in every product."""
    hidden = ["relu", "tanh"]
    options = {"output": "softmax", "loss": "cross_entropy", "dtype": dtype, "labels": True}
    twins = Twins(rng, (401, 300, 500, 260), hidden=hidden, n=600, l1=1e-3, **options)
    twins.check_pass(twins.weights() if weighted else None)


@pytest.mark.parametrize("wide", [513, 1100])
@pytest.mark.parametrize("dtype", DTYPES)
def test_layers_that_need_several_strips_of_sums(rng, dtype, wide):
    """A tile of W sums `tile_outputs` columns at a time, which is 512 on all machines known."""
    options = {"hidden": "tanh", "output": "identity", "loss": "mse", "dtype": dtype}
    twins = Twins(rng, (5, wide, 3), n=9, l2=0.1, **options)
    twins.check_pass(None)


# ---- other entry points -------------------------------------------------------------------


@pytest.fixture(params=DTYPES)
def twins(request, rng):
    options = {"output": "sigmoid", "loss": "binary_cross_entropy", "dtype": request.param}
    return Twins(rng, (5, 17, 9, 3), hidden=["elu", "softplus"], n=13, l1=0.01, l2=0.1, **options)


@pytest.mark.parametrize("n", [1, 8, 9, 13])
@pytest.mark.parametrize("weighted", [False, True])
def test_backward_from(twins, n, weighted):
    twins.X, twins.y = twins.X[:n], twins.y[:n]
    delta = twins.rng.normal(size=twins.y.shape).astype(twins.dtype)
    s = twins.weights() if weighted else None
    for net in (twins.engine, twins.reference):
        net.forward(twins.X)
        net.backward_from(delta, sample_weight=s)
    bounds = twins.bounds(s, exact_delta=True)
    twins.check_layers(bounds)
    np.testing.assert_array_equal(twins.engine.layers[-1].delta, delta)
    expected = twins.reference.input_gradient()
    within(twins.engine.input_gradient(), expected, bounds.input, "input gradient")


def test_backward_from_a_minus_y_is_backward_for_a_pair(twins):
    a = twins.engine.forward(twins.X)
    y = twins.y.astype(twins.dtype)
    twins.engine.backward(y)
    grad = twins.engine.grad.copy()
    twins.engine.backward_from(a - y)
    np.testing.assert_array_equal(twins.engine.grad, grad)


def test_backward_may_be_repeated(twins):
    twins.engine.forward(twins.X)
    s = twins.weights()
    first = twins.engine.backward(twins.y), twins.engine.grad.copy()
    twins.engine.backward(twins.y, s)
    assert not np.array_equal(twins.engine.grad, first[1])
    assert twins.engine.backward(twins.y) == first[0]
    np.testing.assert_array_equal(twins.engine.grad, first[1])


def test_value_and_grad_is_forward_and_backward(twins):
    net = twins.engine
    J, grad = net.value_and_grad(twins.X, twins.y)
    net.forward(twins.X)
    assert net.backward(twins.y) == J
    np.testing.assert_array_equal(net.grad, grad)
    assert not np.shares_memory(net.grad, grad)


def test_value_and_grad_at_another_theta(twins):
    net, own = twins.engine, twins.engine.theta.copy()
    there = (own * 0.5).astype(twins.dtype)
    net.value_and_grad(twins.X, twins.y)
    kept = net.grad.copy()
    J, grad = net.value_and_grad(twins.X, twins.y, theta=there)
    np.testing.assert_array_equal(net.theta, own)
    np.testing.assert_array_equal(net.grad, kept)
    with pytest.raises(RuntimeError, match="call backward"):
        net.input_gradient()
    with pytest.raises(RuntimeError, match="call backward"):
        net.step("sgd")
    net.theta = there
    assert net.value_and_grad(twins.X, twins.y)[0] == J
    np.testing.assert_array_equal(net.grad, grad)


def test_predict_and_loss_have_the_bits_of_forward_and_backward(twins):
    """For one block of rows. They do not change the stored pass."""
    net, s = twins.engine, twins.weights()
    out = net.forward(twins.X)
    J = net.backward(twins.y, s)
    kept = [layer.delta.copy() for layer in net.layers]
    np.testing.assert_array_equal(net.predict(twins.X), out)
    assert net.loss(twins.X, twins.y, s) == J
    net.predict(2 * twins.X)
    for l, (layer, delta) in enumerate(zip(net.layers, kept, strict=True)):
        np.testing.assert_array_equal(layer.delta, delta, f"layer {l}")


@pytest.mark.parametrize("n", [504, 505, 1100])
@pytest.mark.parametrize("dtype", DTYPES)
def test_predictions_of_several_blocks_of_rows(rng, n, dtype):
    options = {"output": "tanh", "loss": "mse", "dtype": dtype, "n": n}
    twins = Twins(rng, (3, 9, 2), hidden="relu", **options)
    s = twins.weights()
    twins.reference.forward(twins.X)
    exact_J = twins.reference.backward(twins.y, s)
    bounds = twins.bounds(s)
    out = twins.engine.predict(twins.X)
    within(out, twins.reference.layers[-1].a, bounds.a[-1], "output")
    within(twins.engine.loss(twins.X, twins.y, s), exact_J, bounds.J, "loss")


# ---- rows, weights and special values -----------------------------------------------------


def test_a_row_has_the_same_bits_in_any_batch(twins):
    together = twins.engine.predict(twins.X)
    for rows in (slice(0, 1), slice(12, 13), slice(3, 10), slice(None, None, -1)):
        np.testing.assert_array_equal(
            twins.engine.predict(twins.X[rows]), together[rows], str(rows)
        )


def test_delta_does_not_depend_on_the_weights(twins):
    net = twins.engine
    net.forward(twins.X)
    net.backward(twins.y)
    kept = [layer.delta.copy() for layer in net.layers]
    net.backward(twins.y, twins.weights())
    for l, (layer, delta) in enumerate(zip(net.layers, kept, strict=True)):
        np.testing.assert_array_equal(layer.delta, delta, f"layer {l}")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("hidden", "output", "dtype"), combinations(DTYPES))
def test_nan_and_infinity_stay_in_their_row(rng, hidden, output, dtype, bad):
    options = {"output": output, "loss": "squared_error", "dtype": dtype, "n": 19}
    twins = Twins(rng, (5, 17, 3), hidden=hidden, **options)
    net, X = twins.engine, twins.X.copy()
    net.forward(X)
    net.backward(twins.y)
    kept = [(layer.z.copy(), layer.a.copy(), layer.delta.copy()) for layer in net.layers]
    X[11, 2] = bad
    net.forward(X)
    J = net.backward(twins.y)
    others = np.arange(19) != 11
    for l, (layer, arrays) in enumerate(zip(net.layers, kept, strict=True)):
        for name, before in zip(("z", "a", "delta"), arrays, strict=True):
            computed = getattr(layer, name)
            np.testing.assert_array_equal(computed[others], before[others], f"{name} of {l}")
    twins.reference.forward(X)
    exact_J = twins.reference.backward(twins.y)
    for engine, exact in zip(net.layers, twins.reference.layers, strict=True):
        for name in ("z", "a"):
            np.testing.assert_array_equal(
                np.isnan(getattr(engine, name)), np.isnan(getattr(exact, name)), name
            )
    assert np.isnan(J) == np.isnan(exact_J) and np.isfinite(J) == np.isfinite(exact_J)


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("output", "loss"), UNPAIRED)
def test_clip_of_an_unpaired_logarithm(rng, output, loss, dtype, labels):
    """At and beyond the poles, the eps of the dtype determines the value and the slope."""
    options = {"output": output, "loss": loss, "dtype": dtype, "init": "zeros"}
    engine, exact = fastbp.Network((1, 2), **options), reference.Network((1, 2), **options)
    n = 11
    # every bounded activation is exactly 0, -1 or 1 there
    top = {"softsign": np.finfo(dtype).max / 4, "exp": 50.0, "sin": np.pi / 2}
    top |= {"formula(0.5 + 0.5 * sin(z))": np.pi / 2, "formula(2 * z / (1 + z ** 2))": 1.0}
    far = top.get(output, 1000.0)
    y = targets_for(rng, loss, n, 2)
    if labels and loss == "cross_entropy":
        y = rng.integers(2, size=n)
    for net in (engine, exact):
        net.layers[0].b = [far, -far]
        net.forward(np.ones((n, 1)))
    J, exact_J = engine.backward(y), exact.backward(y)
    eps = float(np.finfo(dtype).eps)
    largest = exact.layers[0].a.max()
    terms = [abs(np.log(largest)), -np.log(eps)]  # each to 4 ulp in either network
    assert abs(J - exact_J) <= 2 * (4 + 2) * eps * sum(terms)
    delta = exact.layers[0].delta
    within(engine.layers[0].delta, delta, 4 * eps * abs(delta), "delta")
    if loss == "binary_cross_entropy":
        np.testing.assert_array_equal(delta, 0.0)


def test_a_nan_of_another_output_than_the_label_shows_in_the_loss():
    """As with one-hot targets, where 0 · log NaN is NaN."""
    net = fastbp.Network((1, 2), output="sigmoid", loss="cross_entropy", init="zeros")
    net.layers[0].b = [0.0, np.nan]
    net.forward([[0.0]])
    assert np.isnan(net.backward([[1.0, 0.0]]))
    assert np.isnan(net.backward([0]))


@pytest.mark.parametrize("loss", LOGARITHMIC)
@pytest.mark.parametrize("dtype", DTYPES)
def test_large_logits_give_a_finite_loss(loss, dtype):
    output = {"binary_cross_entropy": "sigmoid", "cross_entropy": "softmax"}[loss]
    net = fastbp.Network((1, 2), output=output, loss=loss, dtype=dtype, init="zeros")
    net.layers[0].b = [1000.0, -1000.0]
    net.forward(np.zeros((1, 1)))
    assert net.backward([[0.0, 1.0]]) == 2000.0
    np.testing.assert_array_equal(net.layers[0].delta, [[1.0, -1.0]])
    assert net.loss([[0.0]], [[1.0, 0.0]]) <= EPS64


@pytest.mark.parametrize("targets", [[0], [[1.0, 0.0]]])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_loss_depends_only_on_differences_of_logits(dtype, targets):
    net = fastbp.Network((1, 2), output="softmax", loss="cross_entropy", dtype=dtype, init="zeros")
    net.layers[0].b = [4096.5, 4096.0]
    # two classes with e^0 and e^-0.5: a logarithm, a sum and an exponential, each to 4 ulp
    tolerance = 3 * 4 * np.finfo(dtype).eps
    assert abs(net.loss([[0.0]], targets) - np.log1p(np.exp(-0.5))) <= tolerance


@pytest.mark.parametrize(
    ("activation", "at_zero"), [("relu", 0.0), ("leaky_relu(0.25)", 0.25), ("leaky_relu(0)", 0.0)]
)
@pytest.mark.parametrize("n", [1, 20])
@pytest.mark.parametrize("dtype", DTYPES)
def test_slope_at_a_kink(activation, at_zero, n, dtype):
    net = fastbp.Network((1, 1, 1), activation=activation, dtype=dtype, init="zeros")
    net.layers[1].W = [[1.0]]
    net.forward(np.ones((n, 1)))
    net.backward_from(np.ones((n, 1)))
    np.testing.assert_array_equal(net.layers[0].delta, np.full((n, 1), at_zero))


def test_penalties_do_not_apply_to_biases_and_sign_of_zero_is_zero():
    net = fastbp.Network((3, 4, 2), l1=0.5, l2=0.25, seed=0)
    net.layers[0].W[0, :3] = [0.0, -2.0, 4.0]
    net.layers[0].b = [7.0, 7.0, 7.0, 7.0]
    net.forward(np.ones((6, 3)))
    net.backward_from(np.zeros((6, 2)))
    np.testing.assert_array_equal(net.layers[0].dW[0, :3], [0.0, -1.0, 1.5])
    np.testing.assert_array_equal(np.concatenate([layer.db for layer in net.layers]), 0.0)


def test_a_penalty_that_is_off_adds_nothing():
    """Not even 0·inf = NaN: here the squares of the float32 weights overflow."""
    net = fastbp.Network((1, 2), init="zeros", l1=0.5)
    net.layers[0].W = [[2.0**66, -(2.0**66)]]
    assert net.loss([[0.0]], [[0.0, 0.0]]) == 2.0**66
