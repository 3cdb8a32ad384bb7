"""Members of one shape side by side in the lanes of vectors: the bits of each alone."""

import copy
import gc
import sys
from pathlib import Path

import numpy as np
import pytest
from engine_cases import in_child
from population_cases import LABELS, OPTIONS, WEIGHTS, X, Y, numbers

import fastbp
from fastbp import Dense, Population, _core, gates
from fastbp._training import fit as training_loop
from fastbp.optim import LBFGS, SGD, Adam
from fastbp.population._halving import ONLY_OF_FIT
from fastbp.population._together import fit_together

N = 19  # more than the lanes of any vector
REAL = _core.Population


def networks(n=N, widths=(6, 9, 5, 2), **options):
    """Networks of one shape whose seeds and penalties differ."""
    given = {"activation": "tanh"} | options
    return [fastbp.Network(widths, l2=0.001 * (k + 1), seed=k, **given) for k in range(n)]


def recorded(monkeypatch, choice):
    """A list that gets, from now on, how many others each session ran beside."""
    seen = []

    class Recorder(REAL):
        def __init__(self, n_threads=0):
            self.interleave(choice)

        def run(self, turns):
            results = super().run(turns)
            seen.extend(fit.beside for fit, _, _ in turns)
            return results

    monkeypatch.setattr(_core, "Population", Recorder)
    return seen


@pytest.fixture
def beside(monkeypatch):
    """Forces members side by side; lists with how many others each session ran."""
    return recorded(monkeypatch, True)


@pytest.fixture
def lanes():
    """How many networks of float32 are side by side on this ISA: at least 2."""
    found = {"scalar": 1, "neon": 4, "avx2": 8}.get(_core.isa_base(_core.isa()) or _core.isa(), 16)
    if found == 1:
        pytest.skip("a vector of the scalar kernels has one lane, so nothing is side by side")
    return found


def assert_same_as_alone(make, y, *, n_threads=1, **options):
    """Fits a population and each member alone; returns the Histories of the population."""
    alone, together = make(), make()
    expected = []
    for k, net in enumerate(alone):
        own = {
            name: value[k] if isinstance(value, list) and len(value) == len(alone) else value
            for name, value in options.items()
        }
        expected.append(net.fit(X, y, **copy.deepcopy(own)))
    found = Population(together).fit(X, y, n_threads=n_threads, **options)
    for k, (one, other) in enumerate(zip(alone, together, strict=True)):
        np.testing.assert_array_equal(other.theta, one.theta, f"member {k}")
        assert numbers(found[k]) == numbers(expected[k]), f"member {k}"
        assert found[k].stopped_by == expected[k].stopped_by, f"member {k}"
    return found


KEYWORDS = ONLY_OF_FIT | {
    "epochs": 1,
    "batch_size": 50,
    "accumulate": 1,
    "optimizer": "sgd",
    "schedule": None,
    "shuffle": True,
    "sample_weight": None,
    "class_weight": None,
    "time_budget": None,
    "callbacks": (),
    "progress": False,
    "n_threads": 1,
}
ALONE = ("batches in parts", "clipping", "L-BFGS")  # never side by side


@pytest.mark.parametrize("name", OPTIONS.keys())
def test_options_of_fits(beside, lanes, name):
    options = dict(OPTIONS[name])
    if isinstance(options.get("optimizer"), LBFGS):
        pytest.importorskip("scipy")
    if isinstance(options.get("epochs"), list):
        options["epochs"] = [1 + k % 5 for k in range(N)]
    assert_same_as_alone(networks, Y, n_threads=2, **options)
    if beside:
        assert (max(beside) > 0) == (name not in ALONE)


@pytest.mark.parametrize("rule", sorted(set(fastbp.optim.NAMES) - {"lbfgs"}))
def test_rules(beside, lanes, rule):
    optimizers = [fastbp.optim.resolve(rule) for _ in range(N)]
    for k, each in enumerate(optimizers):
        each.lr = each.lr * (1 + k % 3)
    assert_same_as_alone(networks, Y, optimizer=optimizers, epochs=3, batch_size=40)
    assert (max(beside) > 0) == (rule != "muon")  # whose steps are products of whole matrices


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(0.05, momentum=0.9, dampening=0.2),
        SGD(0.05, weight_decay=0.01, maximize=False),
        SGD(0.05, nesterov=True, momentum=0.8, clip_value=0.02),
        Adam(weight_decay=0.1),
        Adam(ema=0.9),
    ],
    ids=["dampening", "decay", "clip", "Adam with decay", "average"],
)
def test_options_of_rules(beside, lanes, optimizer):
    assert_same_as_alone(networks, Y, optimizer=optimizer, epochs=3)
    assert max(beside) > 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("widths", [(6, 2), (6, 1, 2), (6, 33, 2), (6, 20, 100, 9, 2)], ids=str)
@pytest.mark.parametrize("batch_size", [1, 7, 13, 64])
def test_shapes(beside, lanes, widths, dtype, batch_size):
    """Narrow columns, last batches of few rows, and tiles that are not full."""

    def make():
        return networks(N, widths, dtype=dtype)

    assert_same_as_alone(make, Y, epochs=1 if batch_size == 1 else 2, batch_size=batch_size)
    assert max(beside) > 0


BUILT_IN = sorted(set(fastbp.activations.NAMES) - {"softmax", "prelu"})


@pytest.mark.parametrize("activation", BUILT_IN)
def test_activations(beside, lanes, activation):
    def make():
        return networks(5, (6, 12, 2), activation=activation)

    assert_same_as_alone(make, Y, epochs=2, optimizer=SGD(0.01))
    assert max(beside) == min(4, lanes - 1)


def of_layers(loss, last, n=5, bias=True):
    """Networks with this loss and output layer."""
    return [
        fastbp.Network.from_layers(
            6, [Dense(7, "relu", bias=bias), Dense(*last, bias=bias)], loss=loss, seed=k
        )
        for k in range(n)
    ]


ZERO_ONE = (Y > 0).astype("f4")
LOSSES = {
    "mse": ("mse", (2, "identity"), Y),
    "mse of a curve": ("mse", (2, "silu"), Y),
    "squared_error": ("squared_error", (2, "tanh"), Y),
    "mae": ("mae", (2, "identity"), Y),
    "huber": ("huber", (2, "identity"), Y),
    "log_cosh": ("log_cosh", (2, "identity"), Y),
    "poisson": ("poisson", (2, "softplus"), np.abs(Y)),
    "logits": ("binary_cross_entropy", (2, "sigmoid"), ZERO_ONE),
    "probabilities": ("binary_cross_entropy", (2, "hard_sigmoid"), ZERO_ONE),
    "labels": ("cross_entropy", (2, "softmax"), LABELS),
    "hinge": ("hinge", (2, "identity"), 2 * ZERO_ONE - 1),
    "gaussian_nll": ("gaussian_nll", (4, "identity"), Y),
}


@pytest.mark.filterwarnings("ignore:binary_cross_entropy takes the logarithm")
@pytest.mark.parametrize("bias", [True, False], ids=["biases", "no biases"])
@pytest.mark.parametrize("case", LOSSES.values(), ids=LOSSES.keys())
def test_losses(beside, lanes, case, bias):
    loss, last, y = case

    def make():
        return of_layers(loss, last, bias=bias)

    for weights in (None, WEIGHTS):
        assert_same_as_alone(make, y, epochs=2, batch_size=16, sample_weight=weights)
    assert max(beside) == min(4, lanes - 1)


FORMULA = gates.loss(lambda a, y: gates.mean(gates.log1p((a - y) ** 2)))


def test_losses_may_differ(beside, lanes):
    def make():
        built_in = [*of_layers("mse", (2, "identity"), 3), *of_layers("mae", (2, "tanh"), 3)]
        return [*of_layers(FORMULA, (2, "identity"), 1), *built_in]

    assert_same_as_alone(make, Y, epochs=2)
    assert max(beside) == min(6, lanes - 1)


def test_batches_without_weight_change_nothing(beside, lanes):
    weights = [np.where(np.arange(len(X)) // 10 % 3 == k % 3, 0.0, 1.0) for k in range(N)]
    assert_same_as_alone(networks, Y, epochs=3, batch_size=10, shuffle=False, sample_weight=weights)
    assert max(beside) > 0


def test_a_divergence_ends_one_lane(beside, lanes):
    rates = [SGD(1e30 if k == 3 else 0.01) for k in range(6)]

    def make():
        return networks(6, (6, 5, 2), activation="relu")

    alone, together = make(), make()
    for k, net in enumerate(alone):
        if k != 3:
            net.fit(X, Y, epochs=4, optimizer=copy.deepcopy(rates[k]))
    with pytest.raises(fastbp.DivergenceError):
        alone[3].fit(X, Y, epochs=4, optimizer=copy.deepcopy(rates[3]))
    histories = Population(together).fit(X, Y, epochs=4, optimizer=rates)
    for k, (one, other) in enumerate(zip(alone, together, strict=True)):
        np.testing.assert_array_equal(other.theta, one.theta, f"member {k}")
    assert [history.stopped_by is None for history in histories] == [True] * 3 + [False] + [
        True
    ] * 2
    assert max(beside) > 0


def test_slices_of_one_step(beside, lanes, monkeypatch):
    """A run may end anywhere in an epoch, and goes on in other groups."""
    monkeypatch.setattr(training_loop, "SLICE", 1e-9)
    assert_same_as_alone(networks, Y, epochs=[1 + k % 3 for k in range(N)], batch_size=20)
    assert max(beside) > 0


def test_shapes_are_not_mixed(beside, lanes):
    def make():
        some = [networks(1, (6, 3 + k % 2, 2))[0] for k in range(6)]
        return [*some, *networks(2, (6, 3, 2), activation="relu")]

    assert_same_as_alone(make, Y, epochs=2)
    assert sorted(beside)[-8:] == [1, 1, 2, 2, 2, 2, 2, 2]


def counted(monkeypatch, choice, nets, **options):
    """How many others each session ran beside, by the choice of `interleave`."""
    seen = recorded(monkeypatch, choice)
    Population(nets).fit(X, Y, epochs=1, n_threads=1, **options)
    return set(seen)


def test_who_runs_side_by_side_is_chosen_by_shape(lanes, monkeypatch):
    assert counted(monkeypatch, None, networks(lanes, (6, 4, 2))) == {lanes - 1}
    assert counted(monkeypatch, None, networks(4, (6, 512, 256, 2)), batch_size=100) == {0}
    assert counted(monkeypatch, False, networks(lanes, (6, 4, 2))) == {0}


def test_layers_with_options_run_alone(beside, lanes):
    def make():
        layers = [Dense(8, "tanh", norm="layer"), Dense(2)]
        return [fastbp.Network.from_layers(6, layers, seed=k) for k in range(4)]

    assert_same_as_alone(make, Y, epochs=2)
    assert set(beside) == {0}


def test_explain_says_what_runs_side_by_side(lanes):
    nets = [*networks(lanes, (6, 4, 2)), *networks(2, (6, 512, 256, 2))]
    before = [net.theta.copy() for net in nets]
    optimizer = Adam()
    found = Population(nets).explain(
        X, Y, batch_size=64, optimizer=optimizer, n_threads=1, seconds=0.2
    )
    assert [each.widths for each in found.shapes] == [(6, 4, 2), (6, 512, 256, 2)]
    assert [each.members for each in found.shapes] == [lanes, 2]
    assert [each.together for each in found.shapes] == [lanes, 1]
    assert all(each.alone_us > 0 and each.chosen_us > 0 for each in found.shapes)
    assert all(0 < each.of_peak < 1.5 for each in found.shapes)
    assert "6-512-256-2 float32" in str(found)
    assert found.to_dict()["shapes"][0]["members"] == lanes
    assert optimizer.t == 0
    for net, theta in zip(nets, before, strict=True):
        np.testing.assert_array_equal(net.theta, theta)


def test_explain_refuses_what_does_not_run_in_the_engine():
    population = Population(networks(2))
    with pytest.raises(TypeError, match="stream"):
        population.explain(fastbp.stream(X, Y), Y)
    with pytest.raises(TypeError, match="LBFGS makes no single steps"):
        population.explain(X, Y, optimizer=LBFGS())
    with pytest.raises(ValueError, match="seconds must be greater than 0"):
        population.explain(X, Y, seconds=0)
    with pytest.raises(ValueError, match="batch_size"):
        population.explain(X, Y, batch_size=0)

    def own(a, y):
        return 0.5 * ((a - y) ** 2).sum(axis=1), a - y

    with pytest.raises(ValueError, match="a loss in Python"):
        Population(networks(2, loss=own)).explain(X, Y)


def peak():
    """The most memory that this process has had, in bytes."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


ROWS, WIDE = 4000, 1000
LARGE = 2 * 4 * ROWS * WIDE  # bytes of a and δ of a large session


def session(population, large, seed=0):
    """A session of the engine on one thread, large or small."""
    net = fastbp.Network((1, WIDE if large else 2, 1), seed=seed)
    optimizer = SGD()
    optimizer.bind(net.theta.size, net.theta.dtype)
    data = np.zeros((ROWS, 1), np.float32), np.zeros((ROWS, 1), np.float32), None
    options = ROWS if large else 32, True, seed, 1, 0, population
    return _core.Fit(net._backend.net, net.theta, *data, optimizer, *options)


def train_beside_a_large_session():
    population = _core.Population(1)
    population.interleave(True)
    fits = [session(population, k == 0, k) for k in range(5)]
    before = peak()
    population.run([(fit, 1e9, 1) for fit in fits])
    assert [fit.beside for fit in fits] == [0, 3, 3, 3, 3]
    assert peak() - before < 2 * LARGE


def train_many_populations():
    for k in range(12):
        population = _core.Population(1)
        population.run([(session(population, True), 1e9, 1)])
        if k == 0:
            before = peak()
    assert peak() - before < 4 * LARGE


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_group_needs_no_room_for_other_sessions(lanes):
    in_child(train_beside_a_large_session)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_population_returns_its_memory():
    in_child(train_many_populations)


def test_a_population_outlives_its_sessions_in_a_cycle():
    """The collector of cycles may end a session after the population it belongs to."""
    net = fastbp.Network((6, 4, 2), seed=0)

    class Keeping(_core.Population):
        def run(self, turns):
            self.kept = [fit for fit, _, _ in turns]
            return super().run(turns)

    for _ in range(20):
        keeping = Keeping(1)
        fit_together([net], X, Y, None, KEYWORDS, engine=keeping)
        assert len(keeping.kept) == 1
        del keeping
        gc.collect()
