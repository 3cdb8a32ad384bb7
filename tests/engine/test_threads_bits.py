"""Any number of threads gives the same bits in fits, passes, predictions and losses."""

import numpy as np
import pytest
from engine_cases import DTYPES, HIDDEN, LOSSES, OPTIMIZERS, OUTPUTS
from hypothesis import given, settings
from hypothesis import strategies as st
from thread_cases import (
    FIT,
    NARROW,
    SHAPES,
    THREAD_COUNTS,
    in_time,
    limit_of,
    needs_fork,
    needs_proc,
    problem,
    threads_started,
    trajectory,
    weights_for,
)

import fastbp

PAIRS = [("softmax", "cross_entropy"), ("sigmoid", "binary_cross_entropy")]
ROWS = [150, 301]  # of passes


def check_trajectories(*arguments, **options):
    alone = in_time(trajectory, 1, *arguments, **options)
    for n in THREAD_COUNTS[1:]:
        assert in_time(trajectory, n, *arguments, **options) == alone, f"{n} threads"


# ---- the number of threads --------------------------------------------------------------------


@needs_proc
@needs_fork
@pytest.mark.parametrize("shape", SHAPES)
def test_the_fits_below_use_several_threads(shape):
    """Otherwise the tests below would prove nothing."""
    assert threads_started(trajectory, 1, shape) == 0
    assert 0 < threads_started(trajectory, 7, shape) <= 6


@needs_proc
@needs_fork
@pytest.mark.parametrize("n", [2, 3, 7])
def test_large_work_uses_as_many_threads_as_requested(n):
    """Even more threads than there are processors."""
    net, X, y = problem(NARROW, n=4000)
    fit = {"epochs": 1, "batch_size": 4000}
    assert threads_started(net.fit, X, y, n_threads=n, **fit) == n - 1
    with limit_of(n):
        assert threads_started(net.fit, X, y, **fit) == n - 1
        assert threads_started(net.fit, X, y, n_threads=3, **fit) == 2
        assert threads_started(net.forward, X) == n - 1
        assert threads_started(net.predict, X) == n - 1
        assert threads_started(net.loss, X, y) == n - 1
        assert threads_started(net.value_and_grad, X, y) == n - 1
        assert threads_started(net.train_batch, X, y, OPTIMIZERS["sgd"]()) == n - 1


@needs_proc
@needs_fork
@pytest.mark.parametrize("n", ROWS)
def test_the_passes_below_use_several_threads(n):
    net, X, y = problem(n=n)
    with limit_of(7):
        assert threads_started(net.forward, X) > 0
    with limit_of(1):
        net.forward(X)
    with limit_of(7):
        assert threads_started(net.backward, y) > 0
        assert threads_started(net.backward_from, y) > 0


# ---- fits -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
@pytest.mark.parametrize("name", HIDDEN)
def test_every_hidden_activation_under_paired_losses(name, pair, dtype):
    output, loss = pair
    check_trajectories(FIT, activation=name, output=output, loss=loss, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", OUTPUTS)
def test_every_activation_under_an_unpaired_loss(name, dtype):
    hidden = "tanh" if name == "softmax" else name
    # with large outputs, the fit would only make them smaller
    init = "normal(0.001)" if name == "exp" else "auto"
    check_trajectories(FIT, activation=hidden, output=name, loss="mse", dtype=dtype, init=init)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss(loss, output, dtype):
    check_trajectories(FIT, activation="tanh", output=output, loss=loss, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_every_optimizer_at_every_shape(rule, shape, dtype):
    check_trajectories(shape, rule=rule, dtype=dtype, activation="tanh")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("penalties", [{"l1": 1e-4}, {"l2": 1e-3}, {"l1": 1e-4, "l2": 1e-3}])
@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_and_penalties(dtype, penalties, weighted):
    for shape in SHAPES:
        check_trajectories(shape, weighted=weighted, dtype=dtype, **penalties)


@pytest.mark.parametrize("dtype", DTYPES)
def test_labels_under_weights(dtype):
    output, loss = PAIRS[0]
    check_trajectories(FIT, output=output, loss=loss, weighted=True, dtype=dtype)


def train_any(n_threads, widths, n, batch_size, dtype):
    rng = np.random.default_rng(1)
    net = fastbp.Network(widths, activation="tanh", dtype=dtype, seed=2)
    X, y = rng.normal(size=(n, widths[0])), rng.normal(size=(n, widths[-1]))
    history = net.fit(X, y, epochs=1, batch_size=batch_size, n_threads=n_threads)
    return net.theta.tobytes(), history.loss


@settings(max_examples=30)
@given(
    widths=st.lists(st.integers(1, 300), min_size=2, max_size=5),
    n=st.integers(1, 400),
    batch_size=st.integers(1, 400),
    n_threads=st.sampled_from(THREAD_COUNTS[1:]),
    dtype=st.sampled_from(DTYPES),
)
def test_any_shape(widths, n, batch_size, n_threads, dtype):
    alone = in_time(train_any, 1, widths, n, batch_size, dtype)
    assert in_time(train_any, n_threads, widths, n, batch_size, dtype) == alone


# ---- divergence -------------------------------------------------------------------------------


def diverge(n_threads, dtype):
    """The message of the error, and the state after the fit."""
    net, X, y = problem(dtype=dtype)
    optimizer = OPTIMIZERS["nesterov"]()
    optimizer.lr = 10.0
    with pytest.raises(fastbp.DivergenceError) as info:
        net.fit(X, y, epochs=100, batch_size=61, optimizer=optimizer, n_threads=n_threads)
    return str(info.value), net.theta.tobytes(), optimizer.moments[0].tobytes(), optimizer.t


@pytest.mark.parametrize("dtype", DTYPES)
def test_divergence_is_found_at_the_same_step(dtype):
    alone = in_time(diverge, 1, dtype)
    for n in THREAD_COUNTS[1:]:
        assert in_time(diverge, n, dtype) == alone, f"{n} threads"
    assert in_time(trajectory, 7, dtype=dtype) == in_time(trajectory, 1, dtype=dtype)


# ---- passes and predictions -------------------------------------------------------------------


def passes(n_threads, n, weighted, **options):
    """All results of forward, backward and backward_from on n rows, as bytes."""
    with limit_of(n_threads):
        net, X, y = problem(n=n, **options)
        s = weights_for(X) if weighted else None
        results = [net.forward(X), np.float64(net.backward(y, s)), net.input_gradient(), net.grad]
        for layer in net.layers:
            results += [layer.z, layer.a, layer.delta]
        results = [np.array(each) for each in results]
        net.backward_from(results[0], sample_weight=s)
        results += [layer.delta for layer in net.layers]
        results += [net.grad, net.input_gradient()]
        return [each.tobytes() for each in results]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", ROWS)
@pytest.mark.parametrize("weighted", [False, True])
def test_forward_and_backward(weighted, n, dtype):
    for output, loss in [*PAIRS, ("softplus", "mse")][n % 2 :: 2]:
        options = {"output": output, "loss": loss, "activation": "elu", "l1": 1e-4, "l2": 1e-3}
        alone = in_time(passes, 1, n, weighted, dtype=dtype, **options)
        for n_threads in THREAD_COUNTS[1:]:
            several = in_time(passes, n_threads, n, weighted, dtype=dtype, **options)
            assert several == alone, f"{n_threads} threads"


def steps_by_hand(n_threads, dtype):
    """Three steps on a growing batch, so that buffers and scratch are allocated again."""
    with limit_of(n_threads):
        net, X, y = problem(dtype=dtype, n=301)
        optimizer = OPTIMIZERS["adam"]()
        for n in (61, 150, 301):
            net.value_and_grad(X[:n], y[:n])
            net.step(optimizer)
        return net.theta.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_value_and_grad_and_step(dtype):
    alone = in_time(steps_by_hand, 1, dtype)
    for n in THREAD_COUNTS[1:]:
        assert in_time(steps_by_hand, n, dtype) == alone, f"{n} threads"


def online(n_threads, weighted, **options):
    """Costs and bits of train_batch on batches of many sizes."""
    with limit_of(n_threads):
        net, X, y = problem(n=150, **options)
        optimizer, costs, first = OPTIMIZERS["adam"](), [], 0
        for rows in (61, 8, 5, 33, 1, 42):
            batch = slice(first, first + rows)
            s = weights_for(X)[batch] + X.dtype.type(0.5) if weighted else None
            costs.append(net.train_batch(X[batch], y[batch], optimizer, sample_weight=s))
            first += rows
        return costs, net.theta.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weighted", [False, True])
def test_train_batch(weighted, dtype):
    alone = in_time(online, 1, weighted, dtype=dtype, l2=1e-3)
    for n in THREAD_COUNTS[1:]:
        assert in_time(online, n, weighted, dtype=dtype, l2=1e-3) == alone, f"{n} threads"


def inference(n_threads, n, **options):
    """predict, loss with and without weights, and scores of a validation set, as bytes."""
    with limit_of(n_threads):
        net, X, y = problem(NARROW, n=n, **options)
        results = [net.predict(X), net.loss(X, y), net.loss(X, y, weights_for(X))]
        history = net.fit(X[:99], y[:99], epochs=1, validation_data=(X, y))
        results += [history.val_loss, history.val_score]
        return [np.array(each).tobytes() for each in results]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [100, 513, 2100])
@pytest.mark.parametrize(("output", "loss"), [*PAIRS, ("identity", "squared_error")])
def test_predictions_and_losses(output, loss, n, dtype):
    options = {"output": output, "loss": loss, "l2": 1e-3, "dtype": dtype}
    alone = in_time(inference, 1, n, **options)
    for n_threads in THREAD_COUNTS[1:]:
        assert in_time(inference, n_threads, n, **options) == alone, f"{n_threads} threads"


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_number_of_threads_may_change_during_a_fit(dtype):
    """Callbacks may use the pool, and may set another number of threads."""

    def train(limits):
        net, X, y = problem(dtype=dtype)
        other, more, others = problem(NARROW, dtype=dtype)
        seen = []

        def between(epoch, logs):
            fastbp.set_num_threads(limits[epoch])
            seen.append(other.predict(more).tobytes())
            other.fit(more, others, epochs=1, batch_size=200)

        with limit_of(limits[0]):
            net.fit(X, y, epochs=3, batch_size=61, callbacks=[between])
        return seen, net.theta.tobytes(), other.theta.tobytes()

    alone = in_time(train, (1, 1, 1))
    for limits in ((2, 7, 1), (7, 1, 3), (3, 2, 4)):
        assert in_time(train, limits) == alone, limits
