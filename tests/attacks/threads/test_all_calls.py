"""Every public call on one network from many threads at once, in a random order.

No call may end in another exception than those that a page or a docstring names, and afterwards the
network must compute the same bits as a copy of it that no other thread has ever used.
"""

import copy
import pickle

import numpy as np
import pytest
from together import N_THREADS, together

import fastbp
from fastbp import reference
from fastbp.optim import SGD, Adam

N = 12
CALLS = 120

# What a call may raise here: words of the messages, each of which is documented.
DOCUMENTED = {
    "stop_threads": (RuntimeError, "worker threads are in use"),
    "precision": (RuntimeError, "a fit of this network is running"),
    "backward": (RuntimeError, "forward"),
    "backward_from": (RuntimeError, "forward"),
    "pull_back": (RuntimeError, "forward"),
    "input_gradient": (RuntimeError, "backward"),
    "step": (RuntimeError, "backward"),
}


class Calls:
    """The calls on one network, by name; each thread has random numbers of its own."""

    def __init__(self, kind, folder):
        rng = np.random.default_rng(4)
        layers = [fastbp.Dense(9, "tanh", norm="layer", dropout=0.25), fastbp.Dense(7, "prelu")]
        self.net = kind.from_layers(5, [*layers, fastbp.Dense(2)], seed=1, dtype="float32")
        self.X = rng.normal(size=(N, 5)).astype("f")
        self.y = rng.normal(size=(N, 2)).astype("f")
        self.delta = rng.normal(size=(N, 2)).astype("f")
        self.theta = self.net.theta.copy()
        self.adam, self.sgd = Adam(1e-3), SGD(1e-3)
        self.expected = set()  # the values of J at self.theta
        self.path = folder / "net.safetensors"
        self.net.save(self.path)

    # ---- outputs

    def predict(self):
        assert self.net.predict(self.X).shape == (N, 2)

    def loss(self):
        assert np.isfinite(self.net.loss(self.X, self.y))

    def forward(self):
        self.net.forward(self.X, training=True)

    def backward(self):
        self.net.backward(self.y)

    def backward_from(self):
        self.net.backward_from(self.delta)

    def pull_back(self):
        self.net.pull_back(1, np.ones((N, 9)))

    def input_gradient(self):
        assert self.net.input_gradient().shape == (N, 5)

    def value_and_grad(self):
        J, grad = self.net.value_and_grad(self.X, self.y)
        assert np.isfinite(J) and np.isfinite(grad).all()

    def at_another_theta(self):
        J, _ = self.net.value_and_grad(self.X, self.y, theta=self.theta)
        assert J in self.expected

    def derivatives(self):
        net = self.net
        net.vjp(self.X, self.delta)
        net.jvp(self.X, self.X)
        net.jacobian(self.X)
        net.hvp(self.X, self.y, self.theta)
        net.per_sample_gradients(self.X, self.y)
        net.gradient_norms(self.X, self.y)
        net.relevance(self.X, self.y)

    def walk(self):
        str(self.net.walk(self.X[0], self.y[0]))

    # ---- training

    def step(self):
        self.net.step(self.adam)

    def train_batch(self):
        self.net.train_batch(self.X, self.y, self.adam)

    def hooked(self):
        self.net.train_batch(self.X, self.y, self.sgd, hook=lambda l, delta: self.predict())

    def fit(self):
        self.net.fit(self.X, self.y, epochs=2, batch_size=5, optimizer=self.sgd, schedule="cosine")

    def partial_fit(self):
        self.net.partial_fit(self.X, self.y, batch_size=5)

    def lr_finder(self):
        fastbp.lr_finder(self.net, self.X, self.y, steps=3, batch_size=N)

    def explain(self):
        if isinstance(self.net, fastbp.Network):
            self.net.explain(self.X, self.y, batch_size=N, seconds=0.001)

    # ---- what it is

    def assign(self):
        self.net.theta = self.theta

    def assign_layer(self):
        layer = self.net.layers[1]
        layer.W, layer.b = np.ones((9, 7)) / 10, np.zeros(7)
        layer.constants["alpha"] = 0.25

    def freeze(self):
        self.net.layers[0].trainable = False
        self.net.layers[0].trainable = True

    def precision(self):
        self.net.matmul_precision = "medium"
        self.net.matmul_precision = "highest"

    def hook(self):
        self.net.on_delta(lambda l, delta: None)
        self.net.on_delta(None)

    def describe(self):
        assert all((self.net.summary(), repr(self.net), self.net._repr_html_()))

    def copies(self):
        for twin in (self.net.copy(), copy.copy(self.net), pickle.loads(pickle.dumps(self.net))):
            assert np.isfinite(twin.theta).all()

    def files(self):
        if isinstance(self.net, fastbp.Network):
            self.net.save(self.path)
            assert np.isfinite(fastbp.load(self.path).theta).all()

    def optimizer_state(self):
        self.adam.lr = 1e-3
        assert len(self.adam.state_dict()["moments"]) in (0, 2)

    # ---- the process

    def stop_threads(self):
        fastbp.stop_threads()

    def threads(self):
        fastbp.set_num_threads(1 + fastbp.get_num_threads() % 3)

    def config(self):
        assert fastbp.isa()


NAMES = [name for name, call in vars(Calls).items() if callable(call) and name[0] != "_"]
SLOW = {"explain": 10, "files": 4, "lr_finder": 4, "fit": 2, "copies": 2}  # called more rarely


def work(calls, seed, turns):
    rng = np.random.default_rng(seed)
    weights = np.array([1 / SLOW.get(name, 1) for name in NAMES])
    for name in rng.choice(NAMES, turns, p=weights / weights.sum()):
        allowed, words = DOCUMENTED.get(name, ((), ""))
        try:
            getattr(calls, name)()
        except allowed as error:
            assert words in str(error), f"{name}: {error}"


@pytest.mark.filterwarnings("ignore:this network has dropout:UserWarning")
@pytest.mark.parametrize("kind", [fastbp.Network, reference.Network], ids=["engine", "reference"])
def test_all_calls_at_once(kind, tmp_path, exhaustive):
    before = fastbp.get_num_threads()
    calls = Calls(kind, tmp_path)
    for precision in ("medium", "highest"):  # which `precision` sets
        calls.net.matmul_precision = precision
        J, _ = calls.net.value_and_grad(calls.X, calls.y, theta=calls.theta)
        calls.expected.add(J)
    turns = (10 if exhaustive else 1) * (CALLS if kind is fastbp.Network else CALLS // 4)
    try:
        together(*(lambda seed=seed: work(calls, seed, turns) for seed in range(N_THREADS)))
    finally:
        fastbp.set_num_threads(before)
    net, twin = calls.net, calls.net.copy()
    for layer in net.layers:
        layer.trainable = True
    twin = net.copy()
    for each in (net, twin):
        each.on_delta(None)
    assert net.value_and_grad(calls.X, calls.y)[1].tobytes() == (
        twin.value_and_grad(calls.X, calls.y)[1].tobytes()
    )
    losses = [each.fit(calls.X, calls.y, epochs=3, optimizer="adam").loss for each in (net, twin)]
    assert losses[0] == losses[1] and net.theta.tobytes() == twin.theta.tobytes()
    assert calls.adam.t > 0 and np.isfinite(net.theta).all()
