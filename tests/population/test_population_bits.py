"""Members of a population end with the bits that each would have alone."""

import copy
from functools import partial

import numpy as np
import pytest

import fastbp
from fastbp import Dense, Population, schedules
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
