"""Losses that are not a formula of one row: the user's own function, and pairs of rows."""

import pickle
import threading

import numpy as np
import pytest
from engine_cases import DTYPES

import fastbp
from fastbp import losses, reference
from fastbp.activations import Activation
from fastbp.losses import CustomLoss, Loss
from fastbp.optim import SGD
from fastbp.testing import gradcheck

NETWORKS = (fastbp.Network, reference.Network)


def root(a, y):
    """Σ √(1 + e²)"""
    r = np.sqrt(1 + (a - y) ** 2)
    return r.sum(axis=1), (a - y) / r


def half_square(a, y):
    return ((a - y) ** 2).sum(axis=1) / 2, a - y


def run(kind, loss, X, y, s, n_threads=None, **options):
    """The results of every call that uses the loss, in one flat array."""
    net = kind((5, 40, 3), loss=loss, seed=1, l2=0.01, **options)
    found = [net.loss(X, y, s), *net.value_and_grad(X, y)]
    net.forward(X)
    found += [net.backward(y, s), net.grad.copy(), *(layer.delta for layer in net.layers)]
    found += [net.input_gradient(), net.train_batch(X[:6], y if y is None else y[:6], SGD(0.1))]
    history = net.fit(
        X, y, epochs=2, batch_size=100, sample_weight=s, n_threads=n_threads,
        validation_data=(X, y), optimizer=SGD(0.01, momentum=0.9),
    )  # fmt: skip
    found += [net.theta, history.loss, history.val_loss, history.val_score]
    return np.concatenate([np.ravel(np.asarray(part, float)) for part in found])


# ---- a custom loss --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output", ["identity", "tanh", "softmax", "silu"])
def test_a_custom_loss_agrees_with_the_reference(rng, output, dtype):
    X, y, s = rng.normal(size=(603, 5)), rng.normal(size=(603, 3)), rng.uniform(0.5, 2, 603)
    engine, exact = (run(kind, root, X, y, s, output=output, dtype=dtype) for kind in NETWORKS)
    # sums over 603 samples, up to 14 steps long
    assert abs(engine - exact).max() <= 603 * np.finfo(dtype).eps * (1 + abs(exact).max())
    net = fastbp.Network((5, 4, 3), loss=root, output=output, dtype=dtype, seed=0)
    assert gradcheck(net, X[:9], y[:9], s[:9])


def test_a_custom_loss_equals_the_same_built_in_loss(rng):
    X, y, s = rng.normal(size=(64, 5)), rng.normal(size=(64, 3)), rng.uniform(0.5, 2, 64)
    scored = CustomLoss(half_square, score="r2")
    own, built_in = (run(fastbp.Network, loss, X, y, s) for loss in (scored, "squared_error"))
    assert abs(own - built_in).max() <= 64 * np.finfo("f4").eps * (1 + abs(own).max())


def test_bits_of_a_custom_loss_do_not_depend_on_threads(rng):
    X, y = rng.normal(size=(600, 50)), rng.normal(size=(600, 3))
    callers, seen = set(), []

    def watched(a, y):
        callers.add(threading.get_ident())
        assert len(a) in (250, 100) and a.dtype == np.float32
        return root(a, y)

    for n_threads in (1, 2, 3):
        net = fastbp.Network((50, 300, 300, 3), loss=watched, seed=1)
        history = net.fit(X, y, epochs=2, batch_size=250, n_threads=n_threads)
        seen.append((net.theta.tobytes(), history.loss))
    assert seen[0] == seen[1] == seen[2]
    assert callers == {threading.get_ident()}


@pytest.mark.parametrize("kind", NETWORKS)
def test_errors_of_the_function_are_raised(rng, kind):
    X, y = rng.normal(size=(700, 5)), rng.normal(size=(700, 3))
    answer = []

    def fickle(a, y):
        if answer:
            return answer[0](a)
        raise KeyError("mine")

    net = kind((5, 4, 3), loss=fickle, seed=0)
    theta = net.theta.copy()

    def refused_by_all(error, message):
        with pytest.raises(error, match=message):
            net.loss(X, y)
        with pytest.raises(error, match=message):
            net.value_and_grad(X, y)
        with pytest.raises(error, match=message):
            net.fit(X, y)
        with pytest.raises(error, match=message):
            net.train_batch(X, y, SGD(0.1))

    refused_by_all(KeyError, "mine")
    for wrong, error, message in [
        (lambda a: a.sum(), TypeError, r"fickle must return \(loss of every sample, its gradient"),
        (lambda a: (a.sum(), a), ValueError, r"return shapes \(.*,\) and \(.*, 3\); got \(\) and"),
        (lambda a: (a[:, 0], a[:, 0]), ValueError, r"got \(\d+,\) and \(\d+,\)"),
    ]:
        answer[:] = [wrong]
        refused_by_all(error, message)
    np.testing.assert_array_equal(net.theta, theta)
    answer[:] = [lambda a: (np.full(len(a), np.nan), a)]
    with pytest.raises(fastbp.DivergenceError):
        net.fit(X, y)
    np.testing.assert_array_equal(net.theta, theta)


@pytest.mark.parametrize("kind", NETWORKS)
def test_targets_may_have_another_width_than_the_outputs(rng, kind):
    def interval(a, y):
        """Distance of one output from the interval [low, high], the two columns of targets."""
        below, above = y[:, :1] - a, a - y[:, 1:]
        return np.maximum(0, np.maximum(below, above))[:, 0], (above > 0) * 1.0 - (below > 0)

    X, y = rng.normal(size=(90, 2)), np.sort(rng.normal(size=(90, 2)), axis=1)
    net = kind((2, 8, 1), loss=CustomLoss(interval, n_targets=2), dtype="float64", seed=0)
    history = net.fit(X, y, epochs=5, optimizer="adam", validation_data=(X, y))
    assert history.loss[-1] < history.loss[0] and history.val_score == []
    assert gradcheck(net, X, y)
    with pytest.raises(ValueError, match="y has 1 column; custom .* takes 2"):
        net.loss(X, y[:, :1])


def test_a_custom_loss_can_be_pickled_but_not_saved(tmp_path):
    net = fastbp.Network((5, 3), loss=root, seed=0)
    assert "loss='root'" in repr(net) and net.criterion == losses.resolve(root) != Loss("mse")
    twin = pickle.loads(pickle.dumps(net))
    assert twin.criterion == net.criterion
    assert twin.loss(np.ones((1, 5)), np.ones((1, 3))) == net.loss(np.ones((1, 5)), np.ones((1, 3)))
    with pytest.raises(TypeError, match="cannot hold the loss root, which is a function; pickle"):
        net.save(tmp_path / "net")
    assert not (tmp_path / "net").exists()
    with pytest.raises(TypeError, match="must be callable; got str"):
        CustomLoss("mse")
    with pytest.raises(TypeError, match="a Loss or a function; got the class Loss"):
        fastbp.Network((5, 3), loss=Loss)
    assert not net.criterion.pairs_with(Activation("softmax"))


@pytest.mark.parametrize(("loss", "labelled"), [(root, True), ("margin_ranking", False)])
def test_accumulate_with_losses_that_see_the_whole_batch(rng, loss, labelled):
    """The steps equal those of the large batch, and errors of the function are raised."""
    X, y = rng.normal(size=(240, 5)), rng.normal(size=(240, 3)) if labelled else None
    thetas = []
    for kind, batch_size, accumulate in [
        (fastbp.Network, 80, 1),
        (fastbp.Network, 20, 4),
        (reference.Network, 20, 4),
    ]:
        net = kind((5, 8, 3), activation="tanh", loss=loss, dtype="float64", seed=0)
        net.fit(X, y, epochs=2, batch_size=batch_size, accumulate=accumulate, optimizer="sgd")
        thetas.append(net.theta)
    np.testing.assert_allclose(thetas[1:], [thetas[0]] * 2, atol=1e-13)

    def late(a, y):
        if len(a) == 10:
            raise KeyError("mine")
        return root(a, y)

    net = fastbp.Network((5, 3), loss=late, seed=0)
    with pytest.raises(KeyError):
        net.fit(X[:70], rng.normal(size=(70, 3)), batch_size=20, accumulate=4)


# ---- margin_ranking -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", NETWORKS)
def test_margin_ranking_by_hand(kind, dtype):
    net = kind((1, 1), loss="margin_ranking(0.5)", dtype=dtype, init="zeros")
    net.layers[0].W = [[1.0]]
    X = [[1.0], [0.25], [0.0], [1.0], [1.0], [0.5]]  # margin kept; not kept; kept exactly
    assert net.loss(X, None) == 0.5  # 1.5 over three pairs
    net.forward(X)
    assert net.backward(None) == 0.5
    np.testing.assert_array_equal(net.layers[0].delta.ravel(), [0, 0, -1, 1, 0, 0])
    np.testing.assert_allclose(net.layers[0].dW, [[(-1 * 0 + 1 * 1) / 3]], rtol=1e-6)
    # the weight of a pair is that of its first row
    assert net.loss(X, None, [1, 9, 2, 9, 1, 9]) == 0.75
    np.testing.assert_allclose(net.backward(None, [1, 9, 2, 9, 1, 9]), 0.75)
    np.testing.assert_allclose(net.layers[0].dW, [[2 / 4]])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output", ["identity", "tanh"])
def test_margin_ranking_agrees_with_the_reference(rng, output, dtype):
    X, s = rng.normal(size=(604, 5)), rng.uniform(0.5, 2, 604)
    loss = "margin_ranking(0.1)"
    engine, exact = (run(kind, loss, X, None, s, output=output, dtype=dtype) for kind in NETWORKS)
    wrong = abs(engine - exact) > 604 * np.finfo(dtype).eps * (1 + abs(exact).max())
    # in single precision, a pair may be on the other side of its margin
    assert wrong.mean() <= (0.05 if dtype == "float32" else 0)
    for kind in NETWORKS:
        net = kind((5, 4, 2), loss=loss, output=output, dtype=dtype, seed=0)
        assert gradcheck(net, X[:8], None), kind


def test_pairs_stay_together_on_any_number_of_threads(rng):
    """However a batch is divided into blocks, the network learns to rank by the first input."""
    X, seen = rng.normal(size=(1402, 30)).astype(np.float32), []
    swap = (X[::2, 0] < X[1::2, 0]).repeat(2)
    order = np.arange(1402) ^ swap
    X = X[order]
    for n_threads in (1, 2, 3):
        net = fastbp.Network((30, 130, 131, 1), activation="tanh", loss="margin_ranking", seed=1)
        history = net.fit(
            X, None, epochs=8, batch_size=202, n_threads=n_threads, validation_data=(X, None)
        )
        seen.append((net.theta.tobytes(), history.loss))
    assert seen[0] == seen[1] == seen[2]
    assert history.val_score[-1] > 0.9


@pytest.mark.parametrize("method", ["loss", "fit", "value_and_grad"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_margin_ranking_refuses_odd_rows_and_targets(kind, method):
    call = getattr(kind((2, 1), loss="margin_ranking", seed=0), method)
    with pytest.raises(ValueError, match="X has 3 rows; margin_ranking takes pairs of them"):
        call(np.zeros((3, 2)), None)
    with pytest.raises(ValueError, match="no targets, it compares rows 2i and .* y as None"):
        call(np.zeros((4, 2)), np.zeros(4))


@pytest.mark.parametrize("kind", NETWORKS)
def test_margin_ranking_refuses_options_that_divide_pairs(kind):
    net = kind((2, 1), loss="margin_ranking", seed=0)
    with pytest.raises(ValueError, match="batch_size must be even for margin_ranking, .* got 63"):
        net.fit(np.zeros((4, 2)), None, batch_size=63)
    with pytest.raises(ValueError, match="validation_split would part the pairs of margin_ranking"):
        net.fit(np.zeros((4, 2)), None, validation_split=0.5)
    with pytest.raises(ValueError, match="targets that name classes; margin_ranking has no"):
        net.fit(np.zeros((4, 2)), None, class_weight="balanced")
    assert net.predict(np.zeros((3, 2))).shape == (3, 1)
    if kind is fastbp.Network:
        net.explain(np.zeros((64, 2)), None, seconds=0.01)


def test_files_keep_the_margin_of_margin_ranking(tmp_path):
    net = fastbp.Network((2, 1), loss=Loss("margin_ranking", margin=0.25), seed=0)
    net.save(tmp_path / "net")
    assert str(fastbp.load(tmp_path / "net").criterion) == "margin_ranking(margin=0.25)"
    net.forward([[np.nan, 1.0], [0.0, 0.0]])
    assert np.isnan(net.backward(None))
