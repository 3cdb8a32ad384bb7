"""Population-based training: who copies whom, the same bits by hand, and the errors."""

import copy

import numpy as np
import pytest

import fastbp
from fastbp import Dense, Network, Population
from fastbp.optim import SGD, Adam

RNG = np.random.default_rng(0)
X = RNG.standard_normal((90, 3)).astype("f4")
Y = X.sum(axis=1, keepdims=True) ** 2
HELD_OUT = (X[60:], Y[60:])
FACTORS = (0.5, 2.0)


def population(n=8, **options):
    return Population.of(n, (3, 6, 1), activation="tanh", **options)


def optimizers(n=8):
    return [Adam(lr) for lr in np.geomspace(1e-4, 1e-1, n)]


def evolve(made, **options):
    given = {
        "validation_data": HELD_OUT, "rounds": 4, "epochs": 2, "optimizer": optimizers(len(made)),
        "factors": FACTORS, "batch_size": 16,
    }  # fmt: skip
    return made.evolve(X[:60], Y[:60], **(given | options))


def thetas(networks):
    return np.stack([net.theta for net in networks])


# ---- copies -------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [None, "mae"], ids=["the score of the loss", "mae"])
def test_the_worst_copy_the_best_in_all_rounds_but_the_last(metric):
    found = evolve(population(), metric=metric)
    assert found.scores.shape == found.rates.shape == found.parents.shape == (4, 8)
    sign = 1 if metric is None else -1
    for scores, parents in zip(found.scores[:-1], found.parents[:-1], strict=True):
        ranking = np.argsort(-sign * scores, kind="stable")
        copied = np.flatnonzero(parents != np.arange(8))
        assert sorted(copied) == sorted(ranking[-2:])
        assert set(parents[copied]) <= set(ranking[:2])
    assert found.parents[-1].tolist() == list(range(8))
    assert found.best == np.argmax(sign * found.scores[-1])


def test_a_copied_rate_is_multiplied_by_a_factor_and_the_others_stay():
    found = evolve(population())
    np.testing.assert_array_equal(found.rates[0], [each.lr for each in optimizers()])
    factors = set()
    for i in range(3):
        for k, parent in enumerate(found.parents[i]):
            if parent == k:
                assert found.rates[i + 1, k] == found.rates[i, k]
            else:
                factors.add(found.rates[i + 1, k] / found.rates[i, parent])
    assert factors == set(FACTORS)


def test_members_have_the_bits_of_fits_and_copies_by_hand():
    """Parameters and moments go from one member to another, and the epochs go on."""
    made, by_hand, rules = population(), population(), optimizers()
    found = evolve(made)
    for i in range(4):
        for k in range(8):
            rules[k].lr = float(found.rates[i, k])
            by_hand[k].fit(
                X[:60], Y[:60], initial_epoch=2 * i, epochs=2 * i + 2, batch_size=16,
                optimizer=rules[k],
            )  # fmt: skip
            score = fastbp.metrics.r2(by_hand[k].predict(X[60:]), Y[60:])
            assert score == found.scores[i, k]
        before, kept = thetas(by_hand), copy.deepcopy(rules)
        for k, parent in enumerate(found.parents[i]):
            by_hand[k].theta = before[parent]
            rules[k] = copy.deepcopy(kept[parent])
    np.testing.assert_array_equal(thetas(made), thetas(by_hand))


def test_the_number_that_copy_is_rounded_down_but_at_least_one():
    for n, share, expected in ((9, 0.25, 2), (3, 0.25, 1), (4, 0.5, 2), (2, 0.1, 1)):
        found = evolve(population(n), rounds=2, quantile=share)
        assert (found.parents[0] != np.arange(n)).sum() == expected


def test_a_member_that_diverged_copies_one_that_did_not():
    made = population(4)
    rates = [SGD(1e30), SGD(0.01), SGD(0.02), SGD(0.03)]
    found = evolve(made, optimizer=rates, rounds=3)
    assert np.isnan(found.scores[0]).tolist() == [True, False, False, False]
    assert found.parents[0, 0] != 0
    assert np.isfinite(found.scores[1:]).all()
    assert found.rates[1, 0] < 1


def test_more_members_than_the_quantile_copy_if_they_diverged():
    rates = [SGD(1e30), SGD(1e30), SGD(0.02), SGD(1e30)]
    found = evolve(population(4), optimizer=rates, rounds=2)
    assert found.parents[0].tolist() == [2, 2, 2, 2]
    assert np.isfinite(found.scores[1]).all()


def test_nobody_copies_where_all_diverged():
    made = population(4)
    found = evolve(made, optimizer=[SGD(1e30) for _ in made], rounds=2)
    assert np.isnan(found.scores).all()
    np.testing.assert_array_equal(found.parents, [range(4)] * 2)
    assert np.isfinite(thetas(made)).all()


# ---- the same bits ------------------------------------------------------------------------


@pytest.mark.parametrize("n_threads", [2, 5])
def test_any_number_of_threads_gives_the_same_bits(n_threads):
    one, other = population(), population()
    expected, found = evolve(one, n_threads=1), evolve(other, n_threads=n_threads)
    np.testing.assert_array_equal(thetas(other), thetas(one))
    for name in ("scores", "rates", "parents"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_another_seed_makes_other_choices():
    found = [evolve(population(), seed=seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(found[0].rates, found[1].rates)
    assert (found[0].rates != found[2].rates).any()
    np.testing.assert_array_equal(found[0].scores[0], found[2].scores[0])


# ---- arguments ----------------------------------------------------------------------------


def test_one_optimiser_for_all_is_copied_and_those_of_a_list_are_trained():
    shared, own = Adam(0.01), optimizers(4)
    found = evolve(population(4), optimizer=shared)
    assert (shared.t, shared.lr) == (0, 0.01)
    assert found.rates[0].tolist() == [0.01] * 4
    found = evolve(population(4), optimizer=own)
    assert [each.t for each in own] == [4 * 2 * 4] * 4  # rounds, epochs, batches
    assert [each.lr for each in own] == found.rates[-1].tolist()


def test_weights_of_held_out_samples_count():
    """With all weight on one sample, the metric is that of this sample."""
    made = population(4)
    weights = np.zeros(30)
    weights[7] = 1.0
    found = evolve(made, validation_data=(*HELD_OUT, weights), metric="mae")
    expected = np.abs(made.predict(X[67:68])[:, 0, 0] - Y[67, 0])
    np.testing.assert_allclose(found.scores[-1], expected, rtol=1e-5)


def test_columns_of_held_out_frames_must_be_those_of_the_samples():
    pandas = pytest.importorskip("pandas")
    train = pandas.DataFrame(X[:60], columns=["a", "b", "c"])
    held_out = pandas.DataFrame(X[60:], columns=["b", "a", "c"])
    made = population(2)
    before = thetas(made)
    with pytest.raises(ValueError, match=r"validation_data\[0\]"):
        made.evolve(train, Y[:60], validation_data=(held_out, Y[60:]))
    np.testing.assert_array_equal(thetas(made), before)
    held_out.columns = ["a", "b", "c"]
    assert made.evolve(train, Y[:60], validation_data=(held_out, Y[60:])).scores.shape == (10, 2)


BAD = {
    "one member": (lambda: evolve(population(1)), ValueError, "at least two members"),
    "rounds": (lambda: evolve(population(), rounds=0), ValueError, "rounds must be"),
    "epochs": (lambda: evolve(population(), epochs=0), ValueError, "epochs must be"),
    "quantile": (lambda: evolve(population(), quantile=0.6), ValueError, "at most 0.5"),
    "no quantile": (lambda: evolve(population(), quantile=0.0), ValueError, "quantile must be"),
    "factors": (lambda: evolve(population(), factors=(0.5, 0)), ValueError, r"factors\[1\] must"),
    "no factors": (lambda: evolve(population(), factors=()), TypeError, "factors must be numbers"),
    "seed": (lambda: evolve(population(), seed=-1), ValueError, "seed must be"),
    "metric": (lambda: evolve(population(), metric="nothing"), ValueError, "nothing"),
    "no data": (lambda: evolve(population(), validation_data=None), TypeError, "needs validation"),
    "bad data": (
        lambda: evolve(population(), validation_data=(X[:, :2], Y)),
        ValueError,
        r"validation_data\[0\]",
    ),
    "a stream": (
        lambda: population().evolve(fastbp.stream(X, Y), None, validation_data=HELD_OUT),
        TypeError,
        "got a stream",
    ),
    "lbfgs": (lambda: evolve(population(), optimizer="lbfgs"), TypeError, "LBFGS"),
    "few optimisers": (
        lambda: evolve(population(), optimizer=[Adam()]),
        ValueError,
        "optimizer is a list of 1; the population has 8 members",
    ),
    "the same optimiser twice": (
        lambda: evolve(population(2), optimizer=[Adam()] * 2),
        ValueError,
        "the same object twice",
    ),
    "two optimisers": (
        lambda: evolve(population(2), optimizer=["adam", "sgd"]),
        ValueError,
        "member 1 has SGD, and member 0 has Adam",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_refused(name):
    call, error, message = BAD[name]
    with pytest.raises(error, match=message):
        call()


def layered(**options):
    return Network.from_layers(3, [Dense(6, "tanh", **options), Dense(1)], seed=1)


def frozen():
    net = layered()
    net.layers[0].trainable = False
    return net


UNLIKE = {
    "widths": (lambda: Network((3, 5, 1), activation="tanh"), "the same widths; member 1 has"),
    "dtype": (lambda: Network((3, 6, 1), activation="tanh", dtype="float64"), "member 1 differ"),
    "activation": (lambda: Network((3, 6, 1), activation="relu"), "member 1 differ"),
    "norm": (lambda: layered(norm="layer"), "member 1 differ"),
    "a frozen layer": (frozen, "member 1 differ"),
    "loss": (lambda: Network((3, 6, 1), activation="tanh", loss="huber"), "members of one loss"),
}


@pytest.mark.parametrize("name", UNLIKE)
def test_members_that_cannot_copy_each_other_are_refused_before_training(name):
    make, message = UNLIKE[name]
    made = Population([layered(), make()])
    before, given = [net.theta.copy() for net in made], optimizers(2)
    with pytest.raises(ValueError, match=message):
        evolve(made, optimizer=given)
    assert [each.t for each in given] == [0, 0]
    for net, theta in zip(made, before, strict=True):
        np.testing.assert_array_equal(net.theta, theta)


def test_members_may_differ_in_dropout_penalties_and_batches():
    made = Population([layered(dropout=0.1 * k) for k in range(4)])
    found = evolve(made, batch_size=[8, 16, 32, 64])
    assert np.isfinite(found.scores).all()
    assert [net.dense[0].dropout for net in made] == [0.1 * k for k in range(4)]
