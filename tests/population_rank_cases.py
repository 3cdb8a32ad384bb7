"""Populations that differ in everything, for tests on several ranks."""

import numpy as np

from fastbp import Dense, Network, Population
from fastbp.callbacks import EarlyStopping
from fastbp.optim import LBFGS, SGD, Adam
from fastbp.schedules import CosineAnnealingLR, StepLR

RNG = np.random.default_rng(0)
X = RNG.standard_normal((120, 3)).astype("f4")
Y = np.sin(X.sum(axis=1, keepdims=True))
ROWS = [None, RNG.integers(0, 120, 90), None, X[:, 0] > 0, None, RNG.integers(0, 120, 60)]
K = len(ROWS)


def members(seed=0):
    """Networks that differ; the last one diverges."""
    widths = (4, 8, 8, 16, 32, 8)
    made = [Network((3, n, 1), activation="tanh", seed=seed + k) for k, n in enumerate(widths)]
    hidden = Dense(8, "relu", norm="layer", dropout=0.2)
    made[2] = Network.from_layers(3, [hidden, Dense(1)], seed=seed + 2, dtype="float64")
    return Population(made)


def keywords():
    """Arguments with objects that hold a state of each member."""
    return {
        "rows": ROWS,
        "epochs": [3, 4, 5, 6, 7, 8],
        "batch_size": [8, 16, 8, 24, 120, 8],
        "optimizer": [
            Adam(0.01),
            SGD(0.05, momentum=0.9),
            Adam(0.003, ema=0.9),
            "lion",
            LBFGS(max_iter=3),
            SGD(1e6),
        ],
        "schedule": [None, StepLR(2), CosineAnnealingLR(), "cosine", None, None],
        "validation_data": (X[:30], Y[:30]),
        "callbacks": [[], [EarlyStopping(patience=1, min_delta=10.0)], [], [], [], []],
    }


def left(population, given, histories):
    """What a fit leaves, but for times."""
    series = [vars(history) | {"samples_per_second": None} for history in histories]
    states = [
        each.state_dict() if hasattr(each, "state_dict") else str(vars(each))
        for name in ("optimizer", "schedule")
        for each in given[name]
        if each is not None and not isinstance(each, str)
    ]
    nets = [(net.theta.tobytes(), net.seed, net.dropout_step) for net in population]
    stop = given["callbacks"][1][0]
    return repr((nets, series, states, stop.best, stop.best_epoch, stop.stopped_epoch))


def halve(population, **given):
    """What a halving finds and leaves."""
    rates = [Adam(lr) for lr in np.geomspace(1e-4, 1.0, len(population))]
    found = population.halve(
        X, Y, validation_data=(X[:50], Y[:50]), epochs=18, factor=2, optimizer=rates, **given
    )
    ends = [(history.loss, history.stopped_by) for history in found.histories]
    after = [net.theta.tobytes() for net in population]
    return found.rungs, found.scores.tobytes(), ends, found.best, after


def evolve(population, **given):
    """What an evolution finds and leaves."""
    rates = [Adam(lr) for lr in np.geomspace(1e-4, 1e-1, len(population))]
    found = population.evolve(
        X, Y, validation_data=(X[:50], Y[:50]), rounds=4, optimizer=rates, batch_size=8, **given
    )
    numbers = [each.tobytes() for each in (found.scores, found.rates, found.parents)]
    after = [
        (net.theta.tobytes(), each.lr, each.t) for net, each in zip(population, rates, strict=True)
    ]
    return numbers, found.best, after
