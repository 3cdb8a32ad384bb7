"""train_batch: each call is one step, equal to that of fit on the batch and of the reference."""

import numpy as np
import pytest

import fastbp
from fastbp import reference
from fastbp.optim import SGD, Adam

OPTIMIZERS = [
    lambda: SGD(0.1),
    lambda: SGD(0.1, momentum=0.9),
    lambda: SGD(0.1, momentum=0.9, nesterov=True),
    lambda: Adam(0.01),
]


def make(kind, **options):
    return kind((7, 19, 4), activation="tanh", dtype="float64", seed=3, **options)


@pytest.mark.parametrize("make_optimizer", OPTIMIZERS)
@pytest.mark.parametrize("l2", [0.0, 0.01])
@pytest.mark.parametrize("rows", [1, 2, 8, 9, 33])
def test_a_call_is_a_step_of_fit(rng, rows, l2, make_optimizer):
    X, y = rng.normal(size=(rows, 7)), rng.normal(size=(rows, 4))
    whole, single = make(fastbp.Network, l2=l2), make(fastbp.Network, l2=l2)
    first, second = make_optimizer(), make_optimizer()
    history = whole.fit(X, y, epochs=3, batch_size=rows, optimizer=first, shuffle=False)
    costs = [single.train_batch(X, y, second) for _ in range(3)]
    assert costs == history.loss
    np.testing.assert_array_equal(single.theta, whole.theta)
    assert second.t == first.t == 3


@pytest.mark.parametrize("make_optimizer", OPTIMIZERS)
def test_batches_of_any_size_follow_each_other(rng, make_optimizer):
    """Sizes change from call to call; batches of at most 8 rows use outer products."""
    engine, oracle = make(fastbp.Network, l1=1e-3), make(reference.Network, l1=1e-3)
    optimizers = make_optimizer(), make_optimizer()
    sizes = (5, 1, 8, 30, 3, 9)
    for rows in sizes:
        X, y, s = rng.normal(size=(rows, 7)), rng.normal(size=(rows, 4)), rng.random(rows) + 0.1
        J = engine.train_batch(X, y, optimizers[0], sample_weight=s)
        expected = oracle.train_batch(X, y, optimizers[1], sample_weight=s)
        # sums of at most 30 + 19 terms, over all steps
        tolerance = len(sizes) * (30 + 19) * np.finfo(float).eps * 10
        case = f"batch of {rows}"
        assert abs(J - expected) <= tolerance * max(1, abs(expected)), case
        np.testing.assert_allclose(engine.theta, oracle.theta, 0, tolerance, err_msg=case)


def test_optimizers_may_alternate(rng):
    net = fastbp.Network((3, 5, 2), output="softmax", loss="cross_entropy", seed=0)
    X, one, two = rng.normal(size=(4, 3)), Adam(0.01), SGD(0.1)
    for optimizer in (one, two, one):
        net.train_batch(X, [0, 1, 1, 0], optimizer)
    assert (one.t, two.t) == (2, 1)


def test_bad_input_changes_nothing(rng):
    net, optimizer = make(fastbp.Network), SGD(0.1)
    X, y = rng.normal(size=(2, 7)), rng.normal(size=(2, 4))
    before = net.theta.copy()
    with pytest.raises(TypeError, match=r"object of fastbp.optim.*got 'sgd'"):
        net.train_batch(X, y, "sgd")
    with pytest.raises(ValueError, match="X has 6 columns; the network takes 7"):
        net.train_batch(X[:, :6], y, optimizer)
    with pytest.raises(fastbp.DivergenceError):
        net.train_batch(np.full((2, 7), np.nan), y, optimizer)
    np.testing.assert_array_equal(net.theta, before)
    assert optimizer.t == 0
    assert np.isfinite(net.train_batch(X, y, optimizer))


def test_a_backend_trains_the_theta_of_the_call():
    net = fastbp.Network((3, 2), seed=0)
    X, y, adam = np.ones((4, 3), "f4"), np.zeros((4, 2), "f4"), Adam()
    first, second = net.theta.copy(), net.theta.copy()
    net._backend.train_batch(first, X, y, None, adam, 0)
    kept = first.copy()
    net._backend.train_batch(second, X, y, None, adam, 0)
    np.testing.assert_array_equal(first, kept)
    assert (second != net.theta).any()
