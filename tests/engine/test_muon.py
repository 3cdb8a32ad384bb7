"""Muon: its steps by a literal implementation, the orthogonal directions, bits, and refusals."""

from types import SimpleNamespace

import numpy as np
import pytest
from engine_cases import DTYPES
from fit_cases import StopAt, case

import fastbp
from fastbp import Dense, _core, optim, reference
from fastbp._training.divided import divided
from fastbp.optim import Adam, AdamW, Muon

NETWORKS = pytest.mark.parametrize("network", [fastbp.Network, reference.Network])
# wide, square, tall, with more rows and columns than a strip of a task, and single ones
WIDTHS = (5, 9, 9, 3, 131, 70, 1)


def newton_schulz(u, coefficients, steps):
    """The iteration as it is published, on the matrix (out, in) of PyTorch."""
    a, b, c = coefficients
    x = u.T if u.shape[0] > u.shape[1] else u
    x = x / max(np.linalg.norm(x), 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if u.shape[0] > u.shape[1] else x


class Literal:
    """Muon of PyTorch for every W, and its AdamW for the rest, one array after another."""

    def __init__(self, muon):
        self.muon, self.t = muon, 0
        self.buffers = {}

    def step(self, blocks, grads):
        muon, self.t = self.muon, self.t + 1
        for key, theta in blocks.items():
            g = grads[key]
            theta *= 1 - muon.lr * muon.weight_decay
            m, v = self.buffers.setdefault(key, [np.zeros_like(g), np.zeros_like(g)])
            if key[1] == "W":
                m += (1 - muon.momentum) * (g - m)
                u = g + muon.momentum * (m - g) if muon.nesterov else m
                x = newton_schulz(u.T, muon.ns_coefficients, muon.ns_steps).T
                n_in, n_out = g.shape
                scale = max(1, n_out / n_in) ** 0.5
                if muon.adjust_lr_fn == "match_rms_adamw":
                    scale = 0.2 * max(n_in, n_out) ** 0.5
                theta -= muon.lr * scale * x
                continue
            b1, b2 = muon.betas
            m[...] = b1 * m + (1 - b1) * g
            v[...] = b2 * v + (1 - b2) * g * g
            spread = np.sqrt(v / (1 - b2**self.t)) + muon.eps
            theta -= muon.lr * m / (1 - b1**self.t) / spread


def by_key(net, flat):
    return {
        (l, name): array
        for l, blocks in enumerate(net.blocks(flat))
        for name, array in blocks.items()
    }


OPTIONS = {
    "defaults": {},
    "without nesterov": {"nesterov": False},
    "rms": {"adjust_lr_fn": "match_rms_adamw", "weight_decay": 0.0},
    "coefficients": {"ns_steps": 2, "ns_coefficients": (1.5, -0.5, 0.0)},
    "an even number": {"ns_steps": 4, "momentum": 0.0},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@NETWORKS
def test_the_steps_are_those_of_the_literal_rule(network, options):
    rng = np.random.default_rng(3)
    net = network(WIDTHS, dtype="float64", seed=1)
    muon = Muon(0.01, **options)
    theta = net.theta.copy()
    literal = Literal(muon)
    net.forward(np.zeros((1, WIDTHS[0])))
    net.backward(np.zeros((1, WIDTHS[-1])))
    for _ in range(6):
        net.grad[...] = rng.normal(size=theta.size)
        literal.step(by_key(net, theta), by_key(net, net.grad))
        net.step(muon)
    # each iteration multiplies an error of X by up to 3.4; five of them, in six steps
    np.testing.assert_allclose(net.theta, theta, rtol=0, atol=6 * 3.4445**5 * 131 * 2.3e-16)
    assert muon.t == 6


@pytest.mark.parametrize("dtype", DTYPES)
def test_engine_and_reference_agree_in_a_fit(dtype):
    _, X, y = case(dtype=dtype)
    nets = []
    for network in (fastbp.Network, reference.Network):
        net = network((3, 8, 5, 2), activation="tanh", dtype=dtype, seed=5)
        net.fit(X, y, epochs=3, batch_size=8, optimizer=Muon(0.02))
        nets.append(net)
    moved = abs(nets[1].theta - network((3, 8, 5, 2), dtype=dtype, seed=5).theta).max()
    # directions of singular value s·‖u‖ have errors of eps/s before the iterations: s > 1/500 here
    tolerance = 9 * 0.02 * 2 * 3.4445**5 * 13 * np.finfo(dtype).eps
    np.testing.assert_allclose(nets[0].theta, nets[1].theta, rtol=0, atol=tolerance)
    assert tolerance < 0.2 * moved


def test_directions_are_nearly_orthogonal():
    """Singular values of a step, over lr and the factor of the shape, are those of the paper."""
    rng = np.random.default_rng(0)
    net = fastbp.Network((40, 64, 64, 20), seed=1)
    before = [layer.W.copy() for layer in net.layers]
    net.forward(np.zeros((1, 40)))
    net.backward(np.zeros((1, 20)))
    net.grad[...] = rng.normal(size=net.theta.size)
    net.step(Muon(0.1, weight_decay=0.0, ns_steps=8))
    for layer, W in zip(net.layers, before, strict=True):
        scale = 0.1 * max(1, W.shape[1] / W.shape[0]) ** 0.5
        s = np.linalg.svd((W - layer.W) / scale, compute_uv=False)
        assert 0.6 < s.min() and s.max() < 1.3


@pytest.mark.parametrize(
    "options",
    [{}, {"accumulate": 2, "batch_size": 150}, {"batch_size": 7}, {"parts": 2}],
    ids=["plain", "accumulate", "few rows", "parts"],
)
@pytest.mark.parametrize("clip", [{}, {"clip_norm": 0.1}, {"clip_global_norm": 0.1, "ema": 0.9}])
def test_threads_do_not_change_the_bits(options, clip):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 30)).astype("f4"), rng.normal(size=(300, 3)).astype("f4")
    nets = [fastbp.Network((30, 200, 60, 3), seed=1) for _ in range(3)]
    muons = [Muon(0.01, **clip) for _ in nets]
    for net, muon, threads in zip(nets, muons, (1, 2, 4), strict=True):
        kept = {"batch_size": 300, "epochs": 2} | options
        net.fit(X, y, optimizer=muon, n_threads=threads, **kept)
    for net, muon in zip(nets[1:], muons[1:], strict=True):
        np.testing.assert_array_equal(nets[0].theta, net.theta)
        if muon.ema is not None:
            np.testing.assert_array_equal(muons[0].average, muon.average)


@pytest.mark.parametrize("network", [fastbp.Network, reference.Network])
def test_clipping_factors_and_averages(network):
    """A norm that is limited changes only the weight of a step in m; factors, rates and decays."""
    _, X, y = case()
    nets = [network((3, 8, 2), activation="tanh", dtype="float64", seed=5) for _ in range(2)]
    nets[0].fit(X, y, epochs=1, batch_size=30, optimizer=Muon(0.1))
    nets[1].fit(X, y, epochs=1, batch_size=30, optimizer=Muon(0.1, clip_global_norm=1e-3))
    for one, other in zip(nets[0].layers, nets[1].layers, strict=True):
        np.testing.assert_allclose(one.W, other.W, rtol=0, atol=1e-10)  # u is divided by its norm
    quiet = network((3, 8, 2), activation="tanh", dtype="float64", seed=5)
    muon = Muon(
        0.1,
        weight_decay=0.5,
        lr_factors={"bias": 1e-9, "layers": (1.0, 1e-9)},
        decay_factors={"bias": 0},
        ema=0.5,
    )
    b, W = quiet.layers[0].b.copy(), quiet.layers[1].W.copy()
    quiet.fit(X, y, epochs=1, batch_size=30, optimizer=muon)
    np.testing.assert_allclose(quiet.layers[0].b, b, rtol=0, atol=1e-9)
    np.testing.assert_allclose(quiet.layers[1].W, W, rtol=0, atol=1e-7)
    np.testing.assert_array_equal(muon.average, quiet.theta)  # of one step


@NETWORKS
def test_layers_with_options(network):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 6)), rng.normal(size=(40, 2))
    layers = [
        Dense(7, "tanh", norm="batch", scale=True),
        Dense(7, "prelu", norm="layer"),
        Dense(7, "tanh", residual=True, max_norm=0.5, bias=False),
        Dense(5, "relu", non_negative=True, dropout=0.1),
        Dense(2, trainable=False),
    ]
    net = network.from_layers(6, layers, dtype="float64", seed=0)
    before = net.layers[4].W.copy()
    net.fit(X, y, epochs=3, batch_size=10, optimizer=Muon(0.05))
    assert (net.layers[3].W >= 0).all() and (net.layers[3].W > 0).any()
    assert (np.linalg.norm(net.layers[2].W, axis=0) <= 0.5 + 1e-9).all()
    np.testing.assert_array_equal(net.layers[4].W, before)
    other = reference.Network.from_layers(6, layers, dtype="float64", seed=0)
    other.fit(X, y, epochs=3, batch_size=10, optimizer=Muon(0.05))
    np.testing.assert_allclose(net.theta, other.theta, rtol=0, atol=1e-9)


def test_an_embedding_is_trained_by_adam():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))
    layers = [Dense(7, "tanh", embedding=fastbp.Periodic(3)), Dense(2)]
    nets = [
        network.from_layers(3, layers, dtype="float64", seed=0)
        for network in (fastbp.Network, reference.Network)
    ]
    for net in nets:
        net.fit(X, y, epochs=3, batch_size=10, optimizer=Muon(0.02))
    np.testing.assert_allclose(nets[0].theta, nets[1].theta, rtol=0, atol=1e-9)


def test_gradients_of_zero_and_of_rank_one():
    """A W without a gradient only decays; that of one row or column moves along it."""
    net = fastbp.Network((1, 4, 1), dtype="float64", seed=0)
    net.forward(np.zeros((1, 1)))
    net.backward(np.zeros((1, 1)))
    net.grad[...] = 0
    theta = net.theta.copy()
    net.step(Muon(0.1, weight_decay=0.5))
    np.testing.assert_allclose(net.theta, 0.95 * theta, rtol=1e-15)
    net.grad[...] = 1
    theta = net.theta.copy()
    net.step(Muon(0.1, weight_decay=0.0, ns_steps=20, ns_coefficients=(2, -1.5, 0.5)))
    moved = net.blocks(theta - net.theta)
    np.testing.assert_allclose(moved[0]["W"], np.full((1, 4), 0.1), rtol=1e-9)
    np.testing.assert_allclose(moved[1]["W"], np.full((4, 1), 0.05), rtol=1e-9)
    np.testing.assert_allclose(moved[0]["b"], 0.1, rtol=1e-6)  # Adam


@pytest.mark.parametrize("steps", [2, 7])
def test_a_resumed_fit_is_bit_identical(steps, tmp_path):
    nets = [case()[0] for _ in range(3)]
    _, X, y = case()
    options = {"epochs": 4, "batch_size": 8, "schedule": "one_cycle"}
    nets[0].fit(X, y, optimizer=Muon(0.02), **options)
    with pytest.raises(KeyboardInterrupt):
        stop = [StopAt(steps)]
        nets[1].fit(X, y, optimizer=Muon(0.02), checkpoint=tmp_path, callbacks=stop, **options)
    nets[2].fit(X, y, optimizer=Muon(0.02), checkpoint=tmp_path, **options)
    np.testing.assert_array_equal(nets[0].theta, nets[2].theta)


def test_the_state_is_saved(tmp_path):
    net, X, y = case()
    muon = Muon(0.02, adjust_lr_fn="match_rms_adamw", ns_coefficients=(2, -1.5, 0.5))
    net.fit(X, y, epochs=2, optimizer=muon)
    muon.save(tmp_path / "muon.safetensors")
    other = optim.load(tmp_path / "muon.safetensors")
    assert repr(other) == repr(muon) and other.hyper() == muon.hyper()
    twin = case()[0]
    twin.theta = net.theta
    net.fit(X, y, epochs=4, initial_epoch=2, optimizer=muon)
    twin.fit(X, y, epochs=4, initial_epoch=2, optimizer=other)
    np.testing.assert_array_equal(net.theta, twin.theta)


def test_it_learns_with_fewer_steps_than_adam():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(512, 8)).astype("f4")
    y = np.sin(X @ rng.normal(size=(8, 4))).astype("f4")
    found = {}
    for optimizer in (Adam(0.003), Muon(0.02, weight_decay=0.0)):
        net = fastbp.Network((8, 64, 64, 4), activation="tanh", seed=0)
        history = net.fit(X, y, epochs=60, batch_size=64, optimizer=optimizer, schedule="linear")
        found[type(optimizer)] = history.loss[-1]
    assert found[Muon] < found[Adam]


def test_bad_arguments():
    with pytest.raises(ValueError, match="unknown adjust_lr_fn 'rms'; known: original, match_rm"):
        Muon(adjust_lr_fn="rms")
    with pytest.raises(TypeError, match=r"ns_coefficients must be three numbers \(a, b, c\)"):
        Muon(ns_coefficients=(1, 2))
    with pytest.raises(ValueError, match="ns_steps must be at most 1000; got 1001"):
        Muon(ns_steps=1001)
    assert Muon(adjust_lr_fn=None).adjust_lr_fn == "original"
    ranks = SimpleNamespace(size=2)
    with pytest.raises(TypeError, match="outer must be an optimiser that makes steps"):
        divided(2, ranks, 2, Muon())


def test_the_engine_refuses_another_rule_in_a_session():
    """A session of Muon has its buffers; one of AdamW has none."""

    class Turning(AdamW):
        rule = "adam"
        needs_gradient = True

    net, X, y = case()
    adam = Turning(0.1)
    adam.bind(net.theta.size, net.dtype)
    fit = _core.Fit(net._backend.net, net.theta, X, y, None, adam, 8, True, 0)
    fit.run(0.0)
    Turning.rule = "muon"
    adam.lr = 0.2  # it is read again
    with pytest.raises(ValueError, match="refused"):
        fit.run(0.0)
