"""Optimisers, schedules, callbacks, formulas, files and estimators in many threads."""

import copy
import os
import pickle
import sys
import threading

import numpy as np
import pytest
from thread_cases import forked, isolated, needs_fork
from together import N_THREADS, beside, together

import fastbp
from fastbp import gates, reference
from fastbp.callbacks import CSVLogger, EarlyStopping, ModelCheckpoint
from fastbp.optim import SGD, SWA, Adam
from fastbp.schedules import StepLR
from fastbp.tabular import read_table


def problem(kind=fastbp.Network, seed=0, **options):
    rng = np.random.default_rng(seed)
    net = kind((20, 64, 2), activation="tanh", seed=seed, dtype="float32", **options)
    return net, rng.normal(size=(16, 20)).astype("f"), rng.normal(size=(16, 2)).astype("f")


# ---- optimisers -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [fastbp.Network, reference.Network])
def test_two_networks_share_an_optimizer(kind):
    """The moments are shared, and no step of either network is lost or torn.

    Both networks are alike, so each step is one on the same batch, whose gradient is that of a
    theta which only its own network changes. With a momentum of 0, it is that of SGD.
    """
    sgd, each = SGD(1e-3), 20

    def train(seed):
        net, X, y = problem(kind, seed)
        for _ in range(each):
            net.train_batch(X, y, sgd)
        return net.theta.tobytes()

    alone = [train(seed) for seed in range(N_THREADS)]
    sgd = SGD(1e-3)
    assert together(*(lambda i=i: train(i) for i in range(N_THREADS))) == alone
    assert sgd.t == each * N_THREADS


def test_shared_moments_belong_to_whole_steps():
    """With gradients of 0 and of constants, the moments tell how many steps there were."""
    adam, each = Adam(1e-3, betas=(0.0, 0.5)), 25

    def train():
        net, X, y = problem()
        for _ in range(each):
            net.train_batch(X, y, adam)

    together(*[train] * N_THREADS)
    m, v = adam.moments
    assert adam.t == each * N_THREADS and len(adam.moments) == 2
    assert np.isfinite(m).all() and (v >= 0).all()


def test_a_state_is_that_after_some_step():
    """Copies, pickles and states, taken while steps are made, have moments of one step."""
    net = fastbp.Network((200, 300), init="zeros", seed=0)
    X, y = np.zeros((1, 200), "f"), np.ones((1, 300), "f")  # the moments of W stay 0
    optimizer = SGD(0.0625, momentum=0.5)

    def train():
        for _ in range(200):
            net.train_batch(X, y, optimizer)

    readers = [
        lambda: optimizer.state_dict()["moments"],
        lambda: copy.deepcopy(optimizer).moments,
        lambda: pickle.loads(pickle.dumps(optimizer)).moments,
    ]
    _, seen = beside(train, *readers)
    for moments in (moments for each in seen for moments in each if moments):
        assert len(set(moments[0][-300:].tolist())) == 1, "a part of the biases has made a step"


def test_a_rate_that_is_set_meanwhile_counts():
    """A value that another thread sets while the values are collected is not forgotten."""

    class Interrupted(SGD):
        def hyper(self):
            values = super().hyper()
            if self.lr == 0.5:
                self.lr = 0.25  # as another thread does
            return values

    optimizer = Interrupted(0.5)
    assert optimizer.packed()["hyper"]["lr"] == 0.5
    assert optimizer.packed()["hyper"]["lr"] == 0.25


def test_rates_may_be_set_during_a_fit():
    net, X, y = problem()
    optimizer = SGD(1e-3)
    rates = [1e-3 / (i + 1) for i in range(50)]

    def set_rates():
        for lr in rates:
            optimizer.lr = lr

    together(lambda: net.fit(X, y, epochs=50, optimizer=optimizer), set_rates)
    assert optimizer.packed()["hyper"]["lr"] == optimizer.lr == rates[-1]


def use_in_child(net, X, y, optimizer):
    net.partial_fit(X, y, optimizer=optimizer)
    return copy.deepcopy(optimizer).t, optimizer.state_dict()["t"]


def fork_in_the_middle_of_a_step(kind):
    parent, inside, release = os.getpid(), threading.Event(), threading.Event()

    def loss(a, y):
        if os.getpid() == parent:
            inside.set()
            release.wait(60)
        return ((a - y) ** 2).sum(axis=1) / 2, a - y

    net, X, y = problem(kind, loss=loss)
    optimizer = Adam(1e-3)
    training = threading.Thread(target=lambda: net.partial_fit(X, y, optimizer=optimizer))
    training.start()
    assert inside.wait(60)
    assert forked(use_in_child, net, X, y, optimizer) == (1, 1)
    release.set()
    training.join(60)
    with optimizer._lock:  # as in a hook: the thread that forks holds it in the child, too
        assert forked(use_in_child, net, X, y, optimizer) == (2, 2)
    assert optimizer.t == 1


@needs_fork
@pytest.mark.once
@pytest.mark.parametrize("kind", [fastbp.Network, reference.Network])
def test_a_child_can_use_what_a_step_of_its_parent_holds(kind):
    """A thread of the parent is in a step, with the locks of the network and the optimiser."""
    isolated(fork_in_the_middle_of_a_step, kind)


# ---- what belongs to one fit ------------------------------------------------------------------

SHARED = {
    "EarlyStopping": lambda folder: EarlyStopping("loss"),
    "ModelCheckpoint": lambda folder: ModelCheckpoint(folder / "net", monitor="loss"),
    "CSVLogger": lambda folder: CSVLogger(folder / "log.csv"),
    "SWA": lambda folder: SWA(),
    "StepLR": lambda folder: StepLR(2),
}


@pytest.mark.parametrize("name", SHARED)
def test_one_fit_at_a_time_has_it(name, tmp_path):
    shared = SHARED[name](tmp_path)
    inside, release = threading.Event(), threading.Event()

    def fit(*callbacks):
        net, X, y = problem()
        if name == "StepLR":
            return net.fit(X, y, epochs=3, schedule=shared, callbacks=callbacks).loss
        return net.fit(X, y, epochs=3, callbacks=[shared, *callbacks]).loss

    def wait(epoch, logs):
        inside.set()
        assert release.wait(60)

    def refused():
        assert inside.wait(60)
        try:
            with pytest.raises(RuntimeError, match=f"this {name} is in use by a fit"):
                fit()
        finally:
            release.set()

    together(lambda: fit(wait), refused)
    assert len(fit()) == 3, "it is free again"
    with pytest.raises(ZeroDivisionError):
        fit(lambda epoch, logs: 1 / 0)
    assert len(fit()) == 3, "it is free after an exception, too"


# ---- formulas ---------------------------------------------------------------------------------


def test_equal_gates_of_many_threads_are_one_object():
    def build():
        found = []
        for i in range(60):
            x, y = gates.inputs("x", "y")
            out = gates.exp(x * (i % 7 + 0.5)) + gates.tanh(y) * x
            found.append((out, out.derivative("x"), out.merged()))
        return found

    first, *others = together(*[build] * N_THREADS)
    for other in others:
        for mine, theirs in zip(first, other, strict=True):
            assert all(a is b for a, b in zip(mine, theirs, strict=True))


def test_a_graph_is_read_by_many_threads():
    x, y = gates.inputs("x", "y")
    out = gates.log(gates.exp(x) + gates.exp(y)) * x

    def read():
        results = []
        for i in range(30):
            value = float(out.trace(x=0.1 * i, y=1.0).value)
            results.append((str(out), value, pickle.loads(pickle.dumps(out)) is out))
        return results

    first, *others = together(*[read] * N_THREADS)
    assert all(other == first for other in others)


def test_networks_of_formulas_are_made_in_many_threads():
    """Programs are compiled once per formula, by whoever is first."""

    def make():
        swish = gates.activation(lambda z, beta: z * gates.sigmoid(beta * z), beta=1.5)
        net = fastbp.Network((3, 4, 1), activation=swish, seed=0)
        X, y = np.ones((5, 3)), np.ones((5, 1))
        return net.fit(X, y, epochs=2).loss, net.theta.tobytes()

    alone = make()
    assert together(*[make] * N_THREADS) == [alone] * N_THREADS


# ---- files ------------------------------------------------------------------------------------


def test_tables_are_read_in_many_threads(tmp_path):
    path = tmp_path / "table.csv"
    lines = [f"{i},{i * 0.5:.3f},{'ab'[i % 2]}" for i in range(3000)]
    path.write_text("\n".join(["n,x,kind", *lines]) + "\n", encoding="utf-8")

    def read():
        table = read_table(path, target="kind")
        return table.values.tobytes(), table.target.tolist()

    alone = read()
    assert together(*[read] * N_THREADS) == [alone] * N_THREADS


def test_checkpoints_of_many_fits(tmp_path):
    """Each fit has a folder of its own; the temporary files of all are told apart."""

    def fit(i):
        net, X, y = problem(seed=i)
        folder = tmp_path / str(i)
        net.fit(X, y, epochs=3, checkpoint=folder, every="1 epoch")
        again, X, y = problem(seed=i)
        again.fit(X, y, epochs=3, checkpoint=folder)
        assert again.theta.tobytes() == net.theta.tobytes()

    together(*(lambda i=i: fit(i) for i in range(N_THREADS)))


def test_one_file_is_written_by_many_networks(tmp_path):
    """The file is always that of one of them."""
    nets = [problem(seed=i)[0] for i in range(N_THREADS)]
    path = tmp_path / "net.safetensors"
    nets[0].save(path)

    def write(net):
        for _ in range(5):
            net.save(path)
            fastbp.load(path)

    together(*(lambda net=net: write(net) for net in nets))
    assert fastbp.load(path).theta.tobytes() in {net.theta.tobytes() for net in nets}


# ---- estimators -------------------------------------------------------------------------------


def test_estimators_in_many_threads():
    pytest.importorskip("sklearn", reason="scikit-learn has no wheel for this Python")
    from fastbp.sklearn import MLPClassifier

    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 5))
    y = (X[:, 0] > 0).astype(int)

    def fit(seed):
        model = MLPClassifier((8,), max_iter=50, tol=10.0, random_state=seed)
        return model.fit(X, y)

    alone = [fit(seed).predict_proba(X).tobytes() for seed in range(N_THREADS)]
    models = together(*(lambda i=i: fit(i) for i in range(N_THREADS)))
    assert [model.predict_proba(X).tobytes() for model in models] == alone
    one = models[0]
    assert together(*[lambda: one.predict_proba(X).tobytes()] * N_THREADS) == alone[:1] * N_THREADS


# ---- Python without a GIL ---------------------------------------------------------------------


@pytest.mark.skipif(
    sys.version_info < (3, 13) or getattr(sys, "_is_gil_enabled", lambda: True)(),
    reason="this Python has a GIL, or it was asked to use it",
)
def test_fastbp_leaves_the_gil_off():
    """Importing it would turn the GIL on, with a RuntimeWarning, if it were not marked as safe."""
    import importlib.util
    import subprocess

    found = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import fastbp, sys; print(sys._is_gil_enabled())"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "False", found.stderr
    assert importlib.util.find_spec("fastbp._core").origin.endswith((".so", ".pyd"))
