"""forward(X, training=True): dropout in passes by hand, and everything that continues them."""

import copy
import pickle
import warnings

import numpy as np
import pytest
from engine_cases import DTYPES
from layer_cases import DROPPING, STACKS, case, check

import fastbp
from fastbp import Dense, _core, reference
from fastbp.optim import SGD, Adam
from fastbp.reference._layers import dropout_mask

KINDS = pytest.mark.parametrize(
    "kind", [fastbp.Network, reference.Network], ids=["engine", "reference"]
)
NAMES = pytest.mark.parametrize("name", DROPPING)
DROP = {"input_dropout": 0.25}


def pair(hidden, **options):
    """Two equal networks with one data set."""
    (one, X, y), (two, _, _) = (case(hidden, **options) for _ in range(2))
    return one, two, X, y


def by_hand(net, X, y, optimizer, s=None):
    net.forward(X, training=True)
    J = net.backward(y, s)
    net.step(optimizer)
    return J


def results(net, X, y, s=None, **forward):
    """All results of forward and backward, as fresh arrays."""
    found = {"out": net.forward(X, **forward), "J": np.array([net.backward(y, s)])}
    found |= {"grad": net.grad.copy(), "input": net.input_gradient()}
    for i, layer in enumerate(net.layers):
        found |= {f"{name} {i}": getattr(layer, name).copy() for name in ("z", "a", "delta")}
    return found


# ---- values -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 9, 23])
@NAMES
def test_training_passes_equal_those_of_the_reference(name, n, dtype):
    def run(net, X, y):
        net.dropout_step = 5
        return results(net, X, y, training=True)

    check(run, DROPPING[name], dtype, n=n, l2=0.01, **DROP)


@KINDS
def test_a_is_the_output_after_dropout(kind):
    hidden = [Dense(33, "tanh", dropout=0.5), Dense(33, "softplus", dropout=0.25, residual=True)]
    net, X, _ = case(hidden, kind=kind, **DROP)
    net.dropout_step = 2
    net.forward(X, training=True)

    def kept(l, units, p):
        return dropout_mask(net.seed, l, 2, (len(X), units), p) / (1 - p)

    (W, b), first, second = net.unpack(net.theta)[0], net.layers[0], net.layers[1]
    close = {"rtol": 1e-13, "atol": 1e-13}
    np.testing.assert_allclose(first.z, (X * kept(0, 17, 0.25)) @ W + b, **close)
    np.testing.assert_allclose(first.a, np.tanh(first.z) * kept(1, 33, 0.5), **close)
    softplus = np.log1p(np.exp(second.z)) * kept(2, 33, 0.25)
    np.testing.assert_allclose(second.a, softplus + first.a, **close)


@KINDS
@NAMES
def test_the_gradient_is_the_derivative_under_the_masks(name, kind):
    net, X, y = case(DROPPING[name], kind=kind, n=5, l1=0.01, **DROP)
    s = np.arange(5) + 0.5
    net.dropout_step = 3
    net.forward(X, training=True)
    net.backward(y, s)
    grad, slopes, theta = net.grad.copy(), net.input_gradient(), net.theta.copy()

    def J(at, X=X):
        net.theta, net.dropout_step = at, 3
        net.forward(X, training=True)
        return net.backward(y, s)

    h = 1e-5
    for k in np.random.default_rng(0).choice(theta.size, 25, replace=False):
        step = h * np.eye(1, theta.size, k)[0]
        slope = (J(theta + step) - J(theta - step)) / (2 * h)
        assert grad[k] == pytest.approx(slope, rel=1e-6, abs=1e-8), f"theta[{k}]"
    share = s[:, None] / s.sum()
    for j in range(17):
        step = h * np.eye(17)[j]
        slope = (J(theta, X + step) - J(theta, X - step)) / (2 * h)
        assert (share * slopes)[:, j].sum() == pytest.approx(slope, rel=1e-6, abs=1e-8), f"x[{j}]"


@KINDS
def test_value_and_grad_for_training(kind):
    net, X, y = case(DROPPING["all"], kind=kind, **DROP)
    expected = results(net, X, y, training=True)
    net.dropout_step = 0
    J, grad = net.value_and_grad(X, y, training=True)
    assert (J, net.dropout_step) == (expected["J"], 1)
    np.testing.assert_array_equal(grad, expected["grad"])
    net.dropout_step = 0
    other, _, _ = case(DROPPING["all"], kind=kind, **DROP)
    other.theta *= 0.5
    J, grad = other.value_and_grad(X, y, net.theta, training=True)
    assert J == expected["J"]
    np.testing.assert_array_equal(grad, expected["grad"])


@KINDS
def test_the_next_forward_drops_nothing(kind):
    """In either order, the two kinds of pass share buffers and do not disturb each other."""
    one, two, X, y = pair(DROPPING["all"], kind=kind, **DROP)
    plain = results(one, X, y)
    dropped = results(one, X, y, training=True)
    assert (plain["out"] != dropped["out"]).all()
    for options, expected in (({"training": True}, dropped), ({}, plain), ({}, plain)):
        for name, found in results(two, X, y, **options).items():
            np.testing.assert_array_equal(found, expected[name], name)


@KINDS
def test_other_derivatives_drop_nothing(kind):
    one, two, X, y = pair(DROPPING["dropout"], kind=kind, n=7, **DROP)
    rng = np.random.default_rng(1)
    v, direction = rng.normal(size=(7, 3)), rng.normal(size=one.theta.size)
    calls = {
        "vjp": lambda net: net.vjp(X, v),
        "jacobian": lambda net: net.jacobian(X),
        "samples": lambda net: net.per_sample_gradients(X, y),
        "norms": lambda net: net.gradient_norms(X, y),
        "relevance": lambda net: net.relevance(X, y)[1],
        "jvp": lambda net: net.jvp(X, dtheta=direction),
        "hvp": lambda net: net.hvp(X, y, direction),
        "walk": lambda net: net.walk(X[0], y[0]).layers[1].delta,
        "predict": lambda net: net.predict(X),
        "loss": lambda net: np.array(net.loss(X, y)),
    }
    expected = {name: call(one) for name, call in calls.items()}
    two.forward(X, training=True)
    two.backward(y)
    kept = two.grad.copy(), two.input_gradient()
    for name, call in calls.items():
        np.testing.assert_array_equal(call(two), expected[name], name)
    np.testing.assert_array_equal(two.grad, kept[0])
    np.testing.assert_array_equal(two.input_gradient(), kept[1])


def test_derivatives_of_a_dropped_pass_are_refused_by_the_engine():
    net, X, y = case(DROPPING["dropout"], n=7)
    p, theta = _core.Pass(net._backend.net, 7), net.theta
    p.forward(theta, X, (net.seed, 0))
    p.backward(theta, y.astype(np.int32), None, None)
    calls = {
        "vjp": lambda: _core.vjp(p, theta, np.ones((7, 3)), np.ones((7, 17))),
        "jacobian": lambda: _core.jacobian(p, theta, np.ones((7, 3 * 17))),
        "samples": lambda: _core.sample_gradients(p, np.ones((7, theta.size))),
        "norms": lambda: _core.gradient_norms(p, np.ones((7, 3))),
        "relevance": lambda: _core.relevance(p, theta, [np.ones((7, n)) for n in net.widths]),
        "jvp": lambda: _core.jvp(p, theta, None, theta, np.ones((7, 3))),
        "hvp": lambda: _core.hvp(p, theta, theta, np.ones_like(theta)),
    }
    for name, call in calls.items():
        with pytest.raises(ValueError):
            call()
            pytest.fail(f"{name} was computed")
    p.forward(theta, X)
    calls["vjp"]()


def test_sparse_rows_are_dropped_like_dense_ones():
    sparse = pytest.importorskip("scipy.sparse")
    net, X, y = case(DROPPING["dropout"])
    X[np.abs(X) < 1] = 0
    dense = results(net, X, y, training=True)
    net.dropout_step = 0
    net.forward(sparse.csr_array(X), training=True)
    net.backward(y)
    terms = (max(net.widths) + len(X)) * np.finfo(np.float64).eps
    np.testing.assert_allclose(net.grad, dense["grad"], rtol=0, atol=100 * terms)


# ---- loops by hand ------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@NAMES
@KINDS
def test_a_loop_by_hand_has_the_bits_of_train_batch(kind, name, dtype, weighted):
    """With SGD on the engine, whose other rules a step by hand rounds differently."""
    one, two, X, y = pair(DROPPING[name], kind=kind, dtype=dtype, l2=0.01, **DROP)
    s = (np.arange(23) % 3 + 0.5).astype(dtype) if weighted else None
    make = (lambda: SGD(0.05, momentum=0.9)) if kind is fastbp.Network else (lambda: Adam(0.01))
    optimizers = make(), make()
    exact = not weighted or kind is reference.Network
    for rows in (slice(0, 23), slice(0, 9), slice(9, 10), slice(0, 23)):
        weights = None if s is None else s[rows]
        J = one.train_batch(X[rows], y[rows], optimizers[0], sample_weight=weights)
        by = by_hand(two, X[rows], y[rows], optimizers[1], weights)
        if exact:  # train_batch returns S·J/S, which is rounded twice
            assert abs(by - J) <= 4 * np.finfo(np.float64).eps * J
    if exact:
        np.testing.assert_array_equal(two.theta, one.theta)
    else:  # a session folds the weights into δ^L: sums are rounded otherwise
        scale = 4 * (max(one.widths) + 23) * np.finfo(dtype).eps
        np.testing.assert_allclose(two.theta, one.theta, rtol=0, atol=scale)
    assert two.dropout_step == one.dropout_step == 4


@KINDS
def test_a_loop_by_hand_continues_fit_and_train_batch(kind):
    one, two, X, y = pair(DROPPING["all"], kind=kind, **DROP)
    first, second = SGD(0.05), SGD(0.05)
    fit = {"batch_size": 23, "shuffle": False}
    one.fit(X, y, epochs=7, optimizer=first, **fit)
    two.fit(X, y, epochs=2, optimizer=second, **fit)
    by_hand(two, X, y, second)
    two.train_batch(X, y, second)
    by_hand(two, X, y, second)
    two.fit(X, y, epochs=2, optimizer=second, **fit)
    np.testing.assert_array_equal(two.theta, one.theta)
    assert two.dropout_step == one.dropout_step == second.t == 7


@KINDS
@pytest.mark.parametrize("precision", ["high", "medium"])
def test_a_loop_by_hand_at_a_lower_precision(kind, precision):
    more = {"dtype": "float32", "matmul_precision": precision}
    one, two, X, y = pair(DROPPING["dropout"], kind=kind, **more, **DROP)
    first, second = SGD(0.05), SGD(0.05)
    for _ in range(3):
        by_hand(two, X, y, second)
        one.train_batch(X, y, first)
    np.testing.assert_array_equal(two.theta, one.theta)


@KINDS
def test_every_training_pass_has_new_masks_unless_they_are_set(kind):
    net, X, _ = case(DROPPING["dropout"], kind=kind)
    outputs = [net.forward(X, training=True) for _ in range(3)]
    assert net.dropout_step == 3
    assert all((outputs[i] != outputs[j]).all() for i, j in ((0, 1), (0, 2), (1, 2)))
    net.dropout_step = 1
    np.testing.assert_array_equal(net.forward(X, training=True), outputs[1])
    net.forward(X)
    assert net.dropout_step == 2


@KINDS
def test_steps_with_new_optimizers_never_repeat_masks(kind):
    """A name makes a new optimiser each time, whose count is 1 after the step."""
    net, X, y = case(DROPPING["dropout"], kind=kind)
    for step in range(4):
        net.forward(X, training=True)
        net.backward(y)
        net.step("sgd")
        assert net.dropout_step == step + 1


@KINDS
def test_the_mean_over_masks_is_near_the_output_without_dropout(kind):
    """Monte-Carlo dropout by hand; the network is linear, so that the mean is exact."""
    layers = [Dense(64, dropout=0.5), Dense(1)]
    net = kind.from_layers(8, layers, seed=0, dtype="float64")
    X = np.random.default_rng(0).normal(size=(4, 8))
    outputs = np.array([net.forward(X, training=True) for _ in range(400)])
    error = outputs.std(axis=0) / np.sqrt(400)
    assert (np.abs(outputs.mean(axis=0) - net.predict(X)) < 5 * error).all()


@pytest.mark.parametrize("n_threads", [2, 5])
def test_bits_do_not_depend_on_threads(n_threads):
    def run(n_threads):
        before = fastbp.get_num_threads()
        fastbp.set_num_threads(n_threads)
        try:
            layers = [
                Dense(257, "tanh", dropout=0.3, norm="layer"),
                Dense(257, "tanh", dropout=0.1),
            ]
            net = fastbp.Network.from_layers(40, [*layers, Dense(9)], seed=2, **DROP)
            X = np.random.default_rng(0).normal(size=(301, 40)).astype(np.float32)
            by_hand(net, X, X[:, :9], SGD(0.1))
            return net.theta.tobytes()
        finally:
            fastbp.set_num_threads(before)

    assert run(n_threads) == run(1)


# ---- hooks --------------------------------------------------------------------------------


@KINDS
@NAMES
def test_a_hook_that_only_reads_trains_with_the_same_masks(name, kind):
    one, two, X, y = pair(DROPPING[name], kind=kind, **DROP)
    first, second = SGD(0.05), SGD(0.05)
    for _ in range(3):
        J = one.train_batch(X, y, first)
        assert two.train_batch(X, y, second, hook=lambda l, delta: None) == J
    two.on_delta(lambda l, delta: None)
    fits = [
        net.fit(X, y, epochs=2, batch_size=9, optimizer=optimizer).loss
        for net, optimizer in ((one, first), (two, second))
    ]
    assert fits[0] == pytest.approx(fits[1], rel=1e-13)
    assert one.dropout_step == two.dropout_step == first.t


@KINDS
@NAMES
def test_pull_back_goes_through_the_masks(name, kind):
    """A hook that computes every δ^l from δ^{l+1} itself changes nothing."""
    net, X, y = case(DROPPING[name], kind=kind, **DROP)
    expected = results(net, X, y, training=True)
    slopes = {}

    def recur(l, delta):
        if l < len(net.layers):
            above, residual = net.layers[l], net.dense[l].residual
            W = above.W if above.scale is None else above.scale[:, None] * above.W
            g = above.delta @ W.T + (slopes[l + 1] if residual else 0)
            slopes[l] = g
            return net.pull_back(l, g)

    net.dropout_step = 0
    net.forward(X, training=True)
    net.backward(y, hook=recur)
    scale = 8 * max(net.widths) * np.finfo(np.float64).eps
    for l, layer in enumerate(net.layers):
        exact = expected[f"delta {l}"]
        np.testing.assert_allclose(layer.delta, exact, 0, scale * np.abs(exact).max(), f"δ {l}")


@KINDS
def test_backward_from_goes_through_the_masks(kind):
    net, X, y = case(DROPPING["all"], kind=kind, **DROP)
    expected = results(net, X, y, training=True)
    net.dropout_step = 0
    net.forward(X, training=True)
    net.backward_from(expected[f"delta {len(net.layers) - 1}"])
    np.testing.assert_array_equal(net.grad, expected["grad"])
    np.testing.assert_array_equal(net.input_gradient(), expected["input"])


# ---- the warning --------------------------------------------------------------------------


@KINDS
def test_a_step_after_a_forward_without_dropout_warns_once(kind):
    net, X, y = case(DROPPING["dropout"], kind=kind)
    before = net.theta.copy()
    for run in (net.forward, net.predict):  # evaluation, and a gradient without a step
        run(X)
    net.value_and_grad(X, y)
    with pytest.warns(UserWarning, match=r"this network has dropout.*training=True") as caught:
        net.step(SGD(0.1))
    assert [w.filename for w in caught] == [__file__]
    assert (net.theta != before).any()
    net.value_and_grad(X, y)
    net.step(SGD(0.1))
    other = copy.deepcopy(net)
    other.value_and_grad(X, y)
    with pytest.warns(UserWarning, match="this network has dropout"):
        other.step(SGD(0.1))


@KINDS
def test_a_warning_that_is_an_error_leaves_the_network_as_it_was(kind):
    net, X, y = case(DROPPING["dropout"], kind=kind)
    net.value_and_grad(X, y)
    before, sgd = net.theta.copy(), SGD(0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning):
            net.step(sgd)
    np.testing.assert_array_equal(net.theta, before)
    assert sgd.t == 0


@KINDS
def test_no_warning_without_dropout_and_no_count(kind):
    net, X, y = case(STACKS["all"], kind=kind)
    np.testing.assert_array_equal(net.forward(X, training=True), net.forward(X))
    net.backward(y)
    net.step(SGD(0.1))
    assert net.dropout_step == 0


# ---- the count ----------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_copies_continue_with_the_same_masks(kind, copied):
    net, X, _ = case(DROPPING["dropout"], kind=kind)
    net.forward(X, training=True)
    other = copied(net)
    np.testing.assert_array_equal(other.forward(X, training=True), net.forward(X, training=True))


def test_a_pickle_without_the_count_begins_at_0():
    net, _, _ = case(DROPPING["dropout"])
    net.dropout_step = 4
    state = net.__getstate__()
    del state["dropout_step"]
    other = fastbp.Network.__new__(fastbp.Network)
    other.__setstate__(state)
    assert other.dropout_step == 0


@KINDS
def test_a_fit_resumes_whatever_the_count_is(kind, tmp_path):
    """Fits use the count of the optimiser, which the checkpoint has, not that of the network."""
    one, two, X, y = pair(DROPPING["dropout"], kind=kind)
    options = {"batch_size": 9, "optimizer": "sgd", "checkpoint": tmp_path}
    one.fit(X, y, epochs=1, **options)
    two.dropout_step = 1
    two.fit(X, y, epochs=2, resume=True, **options)
    again, _, _ = case(DROPPING["dropout"], kind=kind)
    again.fit(X, y, epochs=2, batch_size=9, optimizer="sgd")
    np.testing.assert_array_equal(two.theta, again.theta)
    assert two.dropout_step == 6


def test_a_pass_that_fails_does_not_count():
    net, X, _ = case(DROPPING["dropout"])
    with pytest.raises(ValueError, match="X has 3 columns"):
        net.forward(X[:, :3], training=True)
    assert net.dropout_step == 0


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [(-1, ValueError, "not be negative"), (1.5, TypeError, "whole number"), (True, TypeError, "")],
)
def test_values_that_the_count_refuses(value, error, message):
    net, _, _ = case(DROPPING["dropout"])
    with pytest.raises(error, match=f"dropout_step must be a whole number|{message}"):
        net.dropout_step = value


@KINDS
def test_training_is_a_flag(kind):
    net, X, y = case(DROPPING["dropout"], kind=kind)
    with pytest.raises(TypeError, match="training must be True or False; got 1"):
        net.forward(X, training=1)
    with pytest.raises(TypeError, match="training must be True or False; got 'yes'"):
        net.value_and_grad(X, y, training="yes")
