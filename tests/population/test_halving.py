"""Successive halving: the rungs, who goes on, the same bits as whole fits, and the errors."""

import copy

import numpy as np
import pytest

import fastbp
from fastbp import Population, schedules
from fastbp.callbacks import EarlyStopping
from fastbp.losses import CustomLoss
from fastbp.optim import LBFGS, SGD, Adam
from fastbp.population._halving import plan_rungs

RNG = np.random.default_rng(0)
X = RNG.standard_normal((90, 3)).astype("f4")
Y = X.sum(axis=1, keepdims=True) ** 2
HELD_OUT = (X[60:], Y[60:])


def population(n=9, **options):
    return Population.of(n, (3, 6, 1), activation="tanh", **options)


def optimizers(n=9):
    return [Adam(lr) for lr in np.geomspace(1e-4, 1e-1, n)]


def halve(made, **options):
    given = {"validation_data": HELD_OUT, "epochs": 18, "batch_size": 16}
    given["optimizer"] = optimizers(len(made))
    return made.halve(X[:60], Y[:60], **(given | options))


def thetas(networks):
    return np.stack([net.theta for net in networks])


# ---- the rungs ----------------------------------------------------------------------------

PLANS = {
    # (candidates, epochs, factor, min_epochs): [(epochs, candidates)]
    (9, 18, 3, None): [(2, 9), (6, 3), (18, 1)],
    (9, 18, 3, 1): [(1, 9), (3, 3), (18, 1)],
    (10, 20, 3, None): [(2, 10), (6, 4), (20, 2)],
    (10, 2, 3, None): [(2, 10)],
    (1, 10, 3, None): [(10, 1)],
    (2, 10, 3, None): [(10, 2)],
    (100, 1, 2, 1): [(1, 100)],
    (8, 10, 2, 5): [(5, 8), (10, 4)],
    (8, 10, 2, 6): [(10, 8)],
    (8, 10, 2, 10): [(10, 8)],
    (4, 5, 1.2, None): [(1, 4), (2, 4), (3, 4), (4, 4), (5, 4)],
    (27, 100, 4.5, None): [(4, 27), (22, 6), (100, 2)],
}


@pytest.mark.parametrize(("given", "expected"), PLANS.items(), ids=map(str, PLANS))
def test_rungs_and_how_many_reach_them(given, expected):
    assert [tuple(rung) for rung in plan_rungs(*given).rungs] == expected


@pytest.mark.parametrize("factor", [1.05, 1.5, 2, 3, 10])
def test_rungs_rise_to_a_whole_fit_and_candidates_never_become_more(factor):
    for n in (1, 2, 7, 50):
        for epochs in (1, 2, 9, 100):
            for least in (None, 1, min(3, epochs), epochs):
                lengths, left = zip(*plan_rungs(n, epochs, factor, least).rungs, strict=True)
                assert list(lengths) == sorted(set(lengths))
                assert lengths[-1] == epochs
                assert left[0] == n
                assert list(left) == sorted(left, reverse=True)
                assert left[-1] >= 1
                assert least is None or lengths[0] >= least


# ---- who goes on --------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [None, "mae"], ids=["the score of the loss", "mae"])
def test_the_best_third_goes_on_and_the_others_say_why_they_ended(metric):
    made = population()
    found = halve(made, metric=metric)
    assert found.rungs == (2, 6, 18)
    assert (~np.isnan(found.scores)).sum(axis=1).tolist() == [9, 3, 1]
    sign = 1 if metric is None else -1
    alive = np.arange(9)
    for i, n_left in enumerate((3, 1)):
        order = np.argsort(-sign * found.scores[i, alive], kind="stable")
        alive, ended = np.sort(alive[order[:n_left]]), alive[order[n_left:]]
        for k in ended:
            assert found.histories[k].epochs == found.rungs[i]
            assert found.histories[k].stopped_by == "halving"
            assert np.isnan(found.scores[i + 1 :, k]).all()
    assert alive.tolist() == [found.best]
    assert found.histories[found.best].epochs == 18
    assert found.histories[found.best].stopped_by is None


SIMILAR = {
    "adam": {},
    "a schedule of the whole fit": {"schedule": "cosine"},
    "a schedule by loss": {"schedule": schedules.ReduceLROnPlateau(patience=1, monitor="loss")},
    "parts of batches": {"accumulate": 2},
    "weights and rows": {
        "sample_weight": RNG.uniform(0.1, 2, 60),
        "rows": [np.arange(60) % 9 != k for k in range(9)],
    },
    "callbacks": {"callbacks": [EarlyStopping(monitor="loss", patience=1)]},
}


def fit_alone(net, k, epochs, options):
    """The fit of member k by itself, of so many epochs."""
    given = {"batch_size": 16, "optimizer": optimizers()[k], "epochs": 18}
    given |= copy.deepcopy(options)
    rows = given.pop("rows", [np.arange(60)] * 9)[k]
    if "sample_weight" in given:
        given["sample_weight"] = given["sample_weight"][rows]
    until = [*given.pop("callbacks", []), lambda epoch, logs: epoch + 1 == epochs]
    return net.fit(X[:60][rows], Y[:60][rows], callbacks=until, **given)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("options", SIMILAR.values(), ids=SIMILAR.keys())
def test_members_have_the_bits_of_their_whole_fits_as_far_as_they_went(options, n_threads):
    made, alone = population(), population()
    found = halve(made, n_threads=n_threads, **options)
    for k, history in enumerate(found.histories):
        expected = fit_alone(alone[k], k, history.epochs, options)
        assert history.loss == expected.loss, k
        assert history.lr == expected.lr, k
    np.testing.assert_array_equal(thetas(made), thetas(alone))
    i = len(found.rungs) - 1
    score = fastbp.metrics.r2(alone[found.best].predict(X[60:]), Y[60:])
    assert found.scores[i, found.best] == score


def test_a_stream_is_halved_too():
    made, alone = population(4), population(4)
    found = made.halve(
        fastbp.stream(lambda: iter([(X[:30], Y[:30]), (X[30:60], Y[30:60])])),
        validation_data=HELD_OUT, epochs=4, factor=2, batch_size=16, optimizer=optimizers(4),
    )  # fmt: skip
    assert [history.epochs for history in found.histories].count(4) == 1
    best = found.best
    alone[best].fit(
        fastbp.stream(lambda: iter([(X[:30], Y[:30]), (X[30:60], Y[30:60])])),
        epochs=4, batch_size=16, optimizer=optimizers(4)[best],
    )  # fmt: skip
    np.testing.assert_array_equal(made[best].theta, alone[best].theta)


def smooth(a, y):
    """A loss in Python."""
    return np.sqrt(1 + (a - y) ** 2).sum(axis=1), (a - y) / np.sqrt(1 + (a - y) ** 2)


@pytest.mark.parametrize("kind", ["LBFGS", "a loss in Python"])
def test_what_runs_in_python_is_halved_too(kind):
    loss = CustomLoss(smooth) if kind == "a loss in Python" else "squared_error"
    made = population(4, loss=loss)
    given = {"optimizer": LBFGS()} if kind == "LBFGS" else {}
    found = halve(made, epochs=4, factor=2, metric="mse", **given)
    assert sorted(history.epochs for history in found.histories) == [1, 1, 2, 4]


def test_a_member_that_diverged_is_the_worst():
    rates = [SGD(0.01), SGD(1e30), SGD(0.02), SGD(0.005)]
    found = halve(population(4), optimizer=rates, factor=2, epochs=8)
    assert np.isnan(found.scores[0]).tolist() == [False, True, False, False]
    assert found.histories[1].stopped_by == "divergence"
    assert found.best != 1


def test_where_all_diverged_the_first_is_the_best():
    found = halve(population(4), optimizer=[SGD(1e30) for _ in range(4)])
    assert found.best == 0
    assert np.isnan(found.scores).all()


def test_a_fit_that_has_ended_by_itself_is_compared_as_it_is():
    def stop(epoch, logs):
        return True

    calls = [[]] * 3 + [[stop]]
    made = population(4, seeds=[0] * 4)
    rates = [Adam(1e-5), Adam(1e-5), Adam(1e-5), Adam(0.1)]
    found = halve(made, optimizer=rates, callbacks=calls, factor=2, epochs=8)
    assert found.best == 3
    assert found.histories[3].epochs == 1
    assert found.histories[3].stopped_by == "callback"
    assert (found.scores[:, 3] == found.scores[0, 3]).all()


def test_a_time_budget_ends_all_that_are_left():
    found = halve(population(), epochs=10**7, min_epochs=1, time_budget=0.3)
    ended = [history.stopped_by for history in found.histories]
    assert ended.count("time_budget") == 1
    assert ended.count("halving") == 8
    assert not np.isnan(found.scores[-1, found.best])


def test_any_number_of_threads_gives_the_same_scores():
    expected, found = halve(population(), n_threads=1), halve(population(), n_threads=3)
    np.testing.assert_array_equal(found.scores, expected.scores)
    assert found.best == expected.best


def test_progress_is_reported(capsys):
    halve(population(3), progress=True, epochs=3)
    assert capsys.readouterr().err


def test_an_interrupt_leaves_whole_steps():
    class Interrupting:
        def on_epoch_end(self, epoch, logs):
            if epoch == 3:
                raise KeyboardInterrupt

    made = population(3)
    with pytest.raises(KeyboardInterrupt):
        halve(made, callbacks=[Interrupting()])
    assert np.isfinite(thetas(made)).all()
    made[0].fit(X, Y, epochs=1)  # it belongs to no fit any more


def test_an_interrupt_at_a_rung_ends_all_fits(monkeypatch):
    made = population(3)

    def interrupted(self, ended):
        raise KeyboardInterrupt

    monkeypatch.setattr(fastbp.population._halving.Bracket, "judge", interrupted)
    with pytest.raises(KeyboardInterrupt):
        halve(made, epochs=9)
    monkeypatch.undo()
    for net in made:
        net.fit(X, Y, epochs=1)


# ---- errors -------------------------------------------------------------------------------

BAD = {
    "a factor of 1": ({"factor": 1}, "factor must be greater than 1"),
    "an infinite factor": ({"factor": float("inf")}, "factor must be"),
    "a factor in words": ({"factor": "3"}, "factor"),
    "no epochs": ({"epochs": 0}, "epochs"),
    "epochs for each": ({"epochs": [1] * 9}, "epochs"),
    "more epochs at least than at most": ({"min_epochs": 19}, "min_epochs is 19; a whole fit has"),
    "no epochs at least": ({"min_epochs": 0}, "min_epochs"),
    "no held-out data": ({"validation_data": None}, "halve needs validation_data"),
    "no such metric": ({"metric": "bleu"}, "bleu"),
    "other columns": ({"validation_data": (X[:5, :2], Y[:5])}, "2 columns"),
    "a batch of none": ({"batch_size": 0}, "batch_size"),
}


@pytest.mark.parametrize(("options", "message"), BAD.values(), ids=BAD.keys())
def test_bad_arguments_are_refused_before_anything_changes(options, message):
    made = population()
    before = thetas(made)
    with pytest.raises((TypeError, ValueError), match=message):
        halve(made, **options)
    np.testing.assert_array_equal(thetas(made), before)


def test_members_of_several_losses_cannot_be_compared():
    made = population(2, loss=["squared_error", "huber"])
    with pytest.raises(ValueError, match="halve compares members of one loss"):
        halve(made)
