"""Members of a population end with the bits that each would have alone."""

from functools import partial

import numpy as np
import pytest
from population_cases import (
    LABELS,
    OPTIONS,
    RNG,
    X,
    Y,
    assert_same_as_alone,
    networks,
    rows_for,
    taken,
)

import fastbp
from fastbp import Dense, Population
from fastbp.optim import LBFGS, Adam


@pytest.mark.parametrize("n_threads", [1, 2, 5])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_members_have_the_bits_that_they_have_alone(options, n_threads):
    if isinstance(options.get("optimizer"), LBFGS):
        pytest.importorskip("scipy")
    assert_same_as_alone(networks, Y, n_threads, **options)


@pytest.mark.parametrize("rule", sorted(fastbp.optim.NAMES))
def test_every_optimiser_has_the_same_bits(rule):
    if rule == "lbfgs":
        pytest.importorskip("scipy")
    assert_same_as_alone(networks, Y, 2, optimizer=rule, epochs=2)


def layered(n=6):
    """Networks whose layers have norms, dropout, residuals and limits."""
    kinds = [
        [Dense(8, "tanh", norm="layer"), Dense(8, "relu", residual=True), Dense(3, "softmax")],
        [Dense(12, "relu", dropout=0.3), Dense(3, "softmax")],
        [Dense(9, "tanh", max_norm=0.5, norm="rms"), Dense(3, "softmax", bias=False)],
    ]
    return [
        fastbp.Network.from_layers(
            6, kinds[k % 3], loss="cross_entropy", seed=k, input_dropout=0.1 * (k == 4)
        )
        for k in range(n)
    ]


@pytest.mark.parametrize("class_weight", [None, "balanced"], ids=["plain", "balanced"])
def test_layers_with_options_have_the_same_bits(class_weight):
    make = layered
    assert_same_as_alone(make, LABELS, 2, epochs=4, batch_size=20, class_weight=class_weight)


@pytest.mark.products
def test_lower_precision_has_the_same_bits():
    def make():
        nets = [fastbp.Network((6, 40, 24, 2), seed=k, matmul_precision="medium") for k in range(4)]
        nets[1].matmul_precision = "high"
        return nets

    assert_same_as_alone(make, Y, 2, epochs=3, batch_size=50)


def test_a_loss_of_ones_own_has_the_same_bits():
    def huber(a, y):
        return np.sqrt(1 + (a - y) ** 2).sum(axis=1), (a - y) / np.sqrt(1 + (a - y) ** 2)

    assert_same_as_alone(partial(networks, 4, loss=huber), Y, 2, epochs=2)


def test_a_loss_may_use_its_own_network():
    nets = []

    def own(k, a, y):
        nets[k].predict(X[:2])
        return 0.5 * ((a - y) ** 2).sum(axis=1), a - y

    nets += [fastbp.Network((6, 4, 2), loss=partial(own, k), seed=k) for k in range(3)]
    histories = Population(nets).fit(X, Y, epochs=2, n_threads=2)
    assert [history.epochs for history in histories] == [2, 2, 2]


def test_sparse_rows_have_the_same_bits():
    sparse = pytest.importorskip("scipy.sparse")
    thin = np.where(RNG.uniform(size=X.shape) < 0.5, X, 0).astype("f4")
    alone, together = networks(), networks()
    rows = [rows_for(k) for k in range(7)]
    for k, net in enumerate(alone):
        net.fit(sparse.csr_array(taken(thin, rows[k])), taken(Y, rows[k]), epochs=3)
    Population(together).fit(sparse.csr_array(thin), Y, rows=rows, epochs=3)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(other.theta, one.theta)


def test_streams_have_the_same_bits():
    alone, together = networks(4), networks(4)
    for net in alone:
        net.fit(fastbp.stream(X, Y, block_rows=40), epochs=3, batch_size=16)
    Population(together).fit(fastbp.stream(X, Y, block_rows=40), epochs=3, batch_size=16)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(other.theta, one.theta)


def test_a_hook_sees_the_batches_of_its_member():
    alone, together = networks(3), networks(3)
    seen = [[], []]
    for nets, found in zip((alone, together), seen, strict=True):
        nets[1].on_delta(lambda l, delta, found=found: found.append((l, float(delta.sum()))))
    for net in alone:
        net.fit(X, Y, epochs=2)
    Population(together).fit(X, Y, epochs=2)
    assert seen[0] == seen[1]
    assert len(seen[0]) > 0
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(other.theta, one.theta)


def test_a_second_fit_goes_on_where_the_first_ended():
    alone, together = networks(4), networks(4)
    optimizers = [Adam() for _ in range(4)]
    for net in alone:
        net.fit(X, Y, epochs=5)
    population = Population(together)
    population.fit(X, Y, epochs=2, optimizer=optimizers)
    population.fit(X, Y, epochs=5, initial_epoch=2, optimizer=optimizers)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(other.theta, one.theta)


def test_large_members_share_the_threads_that_small_ones_leave():
    """Fewer members than threads: each has a team of its own."""
    wide = [(6, 700, 600, 2), (6, 4, 2)]
    alone, together = ([fastbp.Network(w, seed=3) for w in wide] for _ in range(2))
    for net in alone:
        net.fit(X, Y, epochs=2, batch_size=150, n_threads=1)
    Population(together).fit(X, Y, epochs=2, batch_size=150, n_threads=5)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(other.theta, one.theta)
