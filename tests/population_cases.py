"""Fits of populations that are compared with the fits of each member alone."""

import copy

import numpy as np

import fastbp
from fastbp import Population, schedules
from fastbp.callbacks import EarlyStopping
from fastbp.optim import LBFGS, SGD, Adam

N = 150
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, 6)).astype("f4")
Y = np.tanh(X[:, :3]) @ np.array([[1.0, -1.0], [0.5, 2.0], [0.0, 1.0]])
LABELS = Y.argmax(axis=1)
SHAPES = [(6, 9, 2), (6, 40, 30, 2), (6, 2), (6, 5, 5, 5, 5, 2)]
WEIGHTS = RNG.uniform(0.1, 2, N)


def networks(n=7, **options):
    """Networks of several shapes, dtypes and options."""
    return [
        fastbp.Network(
            SHAPES[k % 4],
            activation=("tanh", "relu")[k % 2],
            dtype=("float32", "float64")[k % 3 == 2],
            l2=0.01 * (k % 2),
            seed=k,
            **options,
        )
        for k in range(n)
    ]


def rows_for(k):
    """All rows, a bootstrap, or a fold, in turn."""
    if k % 3 == 0:
        return None
    rng = np.random.default_rng(k)
    return rng.integers(0, N, 100) if k % 3 == 1 else np.arange(N) % 5 != k % 5


def taken(array, rows):
    return array if rows is None or array is None else array[rows]


def fit_alone(net, k, y, options):
    """The fit of member k by itself, with arguments of its own."""
    rows = rows_for(k)
    given = {
        name: value[k] if isinstance(value, list) and len(value) > 2 else copy.deepcopy(value)
        for name, value in options.items()
    }
    if "sample_weight" in given:
        given["sample_weight"] = taken(given["sample_weight"], rows)
    return net.fit(taken(X, rows), taken(y, rows), **given)


def numbers(history):
    return {k: v for k, v in history.series().items() if k != "samples_per_second"}


def assert_same_as_alone(make, y, n_threads, **options):
    """Fits a population and each member alone, and compares parameters and Histories."""
    alone, together = make(), make()
    expected = [fit_alone(net, k, y, options) for k, net in enumerate(alone)]
    rows = [rows_for(k) for k in range(len(alone))]
    found = Population(together).fit(X, y, rows=rows, n_threads=n_threads, **options)
    for k, (one, other) in enumerate(zip(alone, together, strict=True)):
        np.testing.assert_array_equal(other.theta, one.theta, f"member {k}")
        assert numbers(found[k]) == numbers(expected[k]), f"member {k}"
        assert found[k].stopped_by == expected[k].stopped_by, f"member {k}"


OPTIONS = {
    "the defaults": {},
    "epochs of their own": {"epochs": [1, 2, 3, 4, 5, 6, 7]},
    "small batches": {"batch_size": 8, "epochs": 3},
    "one batch": {"batch_size": 1000, "epochs": 4},
    "no shuffling": {"shuffle": False, "epochs": 3},
    "batches in parts": {"batch_size": 16, "accumulate": 3, "epochs": 3},
    "held-out rows": {"validation_split": 0.25, "epochs": 4},
    "metrics": {"metrics": ["r2"], "epochs": 3},
    "weights": {"sample_weight": WEIGHTS, "epochs": 3},
    "a schedule": {"optimizer": SGD(0.05), "schedule": "cosine", "epochs": 5},
    "a schedule by step": {"schedule": schedules.OneCycleLR(0.05), "epochs": 4},
    "early stopping": {
        "callbacks": (EarlyStopping(patience=1, restore_best=True),),
        "validation_split": 0.3,
        "optimizer": SGD(0.3),
        "epochs": 15,
    },
    "clipping": {"optimizer": SGD(0.1, momentum=0.9, clip_norm=0.1), "epochs": 3},
    "averaged weights": {"optimizer": Adam(ema=0.9), "epochs": 3},
    "later epochs": {"initial_epoch": 2, "epochs": 4},
    "L-BFGS": {"optimizer": LBFGS(max_iter=20), "epochs": 2},
}
