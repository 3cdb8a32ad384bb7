"""Networks of layers with options, and how closely engine and reference must agree."""

import copy

import numpy as np

import fastbp
from fastbp import Dense, reference
from fastbp._network.dense import STATISTICS

OUTPUTS = {"squared_error": "identity", "cross_entropy": "softmax"}

# name: hidden layers on 17 inputs; every option alone, then several together
STACKS = {
    "no bias": [Dense(33, "tanh", bias=False), Dense(7, "softplus", bias=False)],
    "layer": [Dense(33, "tanh", norm="layer"), Dense(7, "softplus", norm="layer(1e-3)")],
    "rms": [Dense(33, "tanh", norm="rms(1e-5)"), Dense(7, "softplus", norm="rms(0.1)")],
    "batch": [
        Dense(33, "tanh", norm="batch"),
        Dense(7, "softplus", norm="batch(0.1, momentum=0.3)"),
    ],
    "residual": [
        Dense(17, "tanh", residual=True),
        Dense(33, "sigmoid"),
        Dense(33, "tanh", residual=True),
        Dense(33, "softplus", residual=True),
    ],
    "scale": [Dense(33, "tanh", scale=True), Dense(7, "softplus", scale=True, bias=False)],
    "scale of long rows": [Dense(9, "tanh"), Dense(1100, "tanh", scale=True), Dense(5, "tanh")],
    "all": [
        Dense(17, "tanh", residual=True, norm="layer", bias=False),
        Dense(130, "silu", norm="rms(1e-5)", scale=True),
        Dense(130, "softplus", residual=True, norm="layer"),
        Dense(5, "tanh"),
    ],
}
NORMED = {  # by the batch, in training
    "batch": [Dense(33, "tanh", norm="batch"), Dense(300, "softplus", norm="batch(0.1)")],
    "all": [
        Dense(17, "tanh", residual=True, norm="batch", dropout=0.3),
        Dense(130, "silu", norm="batch(1e-3, momentum=0.5)", bias=False, scale=True),
        Dense(130, "softplus", residual=True, norm="layer"),
        Dense(130, "prelu", residual=True, norm="batch", max_norm=0.8, scale=True),
    ],
}
DROPPING = {
    "dropout": [Dense(33, "tanh", dropout=0.5), Dense(300, "softplus", dropout=0.1)],
    "all": [
        Dense(17, "tanh", residual=True, norm="layer", dropout=0.3),
        Dense(130, "softplus", norm="rms(1e-5)", dropout=0.5, bias=False, scale=True),
        Dense(130, "silu", residual=True, dropout=0.25),
    ],
}
CONSTRAINED = {
    "max_norm": [Dense(33, "tanh", max_norm=0.8), Dense(300, "softplus", max_norm=0.5)],
    "non_negative": [Dense(33, "tanh", non_negative=True), Dense(7, "tanh", norm="layer")],
    "both": [Dense(33, "tanh", non_negative=True, max_norm=0.7, norm="layer")],
    "scale": [Dense(33, "tanh", scale=True, max_norm=0.7), Dense(7, scale=True, non_negative=True)],
}


def case(hidden, *, kind=fastbp.Network, dtype="float64", n=23, loss="cross_entropy", **more):
    """A network on 17 inputs with 3 outputs, and n samples X, y, exact in float32."""
    rng = np.random.default_rng(5)
    top = Dense(3, OUTPUTS[loss], max_norm=more.pop("max_norm", None))
    net = kind.from_layers(17, [*hidden, top], loss=loss, dtype=dtype, seed=3, **more)
    theta = net.theta + 0.2 * rng.normal(size=net.theta.size)
    net.theta = theta.astype(np.float32)
    for layer in net.layers:
        if layer.running_var is not None:
            layer.running_var = np.float32(0.1) + np.abs(layer.running_var)
    net.layers[-1].W *= 0.125  # else softmax gives 0 and 1, and a − y is only rounding
    X = rng.normal(size=(n, 17)).astype(np.float32)
    if (categories := hidden[0].categories) is not None:
        m = len(categories.levels)
        X[:, -m:] = rng.integers(-1, categories.levels, size=(n, m))
    y = rng.integers(3, size=n)
    return net, X.astype(dtype), y if loss == "cross_entropy" else np.eye(3, dtype=dtype)[y]


def check(run, hidden, dtype, **options):
    """Compare run(net, X, y) → {name: array} of the engine with that of the reference.

    A result in dtype is the exact result for data that are changed by the rounding of a few sums
    (backward error). So the reference on data changed that much shows how far the engine may be
    off. Four random changes show the size of the error; twice that is allowed. Returns the results
    of the engine.
    """
    net, X, y = case(hidden, dtype=dtype, **options)
    found = run(net, X, y)
    exact = run(*case(hidden, kind=reference.Network, **options))
    terms = max(net.widths) + len(X)
    size = terms * float(np.finfo(dtype).eps)
    rng = np.random.default_rng(11)
    drift = dict.fromkeys(exact, 0.0)
    for _ in range(4):
        other, X, y = case(hidden, kind=reference.Network, **options)
        other.theta *= 1 + size * rng.uniform(-1, 1, other.theta.size)
        change = size * rng.uniform(-1, 1, X.shape)
        if (categories := hidden[0].categories) is not None:
            change[:, -len(categories.levels) :] = 0  # codes are exact
        moved = run(other, X * (1 + change), y)
        for name in exact:
            drift[name] = max(drift[name], np.abs(moved[name] - exact[name]).max())
    for name, value in exact.items():
        allowed = 2 * drift[name] + size * np.abs(value).max()
        assert allowed <= 0.05 * np.abs(value).max(), f"{name}: the tolerance is too large"
        error = np.abs(np.asarray(found[name], np.float64) - value).max()
        assert error <= allowed, f"{name}: off by {error}, allowed {allowed}"
    return found


def trained(net, v):
    """v, laid out as theta, but 0 for running statistics, along which there are no derivatives."""
    for blocks in net.blocks(v):
        for name in STATISTICS:
            blocks.get(name, np.empty(0))[...] = 0
    return v


def passes(net, X, y, s=None):
    """All results of forward and backward."""
    found = {"out": net.forward(X), "J": np.array([net.backward(y, s)]), "grad": net.grad.copy()}
    found["input"] = net.input_gradient()
    for i, layer in enumerate(net.layers):
        found |= {f"{name} {i}": getattr(layer, name) for name in ("z", "a", "delta")}
    return found | {"predict": net.predict(X), "loss": np.array([net.loss(X, y, s)])}


def embedded_passes(net, X, y, s=None):
    """The results of forward and backward that a network with embedded inputs has."""
    found = {"out": net.forward(X), "J": np.array([net.backward(y, s)])}
    found |= {f"d{name}": each for name, each in net.layers[0].gradients().items()}
    return found | {"delta": net.layers[0].delta, "predict": net.predict(X)}


def alone_and_together(alone, X, y):
    """The bits of theta of some networks after a fit: each alone, and all as a population."""
    together = fastbp.Population(copy.deepcopy(alone))
    options = {"epochs": 3, "batch_size": 16}
    for net in alone:
        net.fit(X, y, optimizer=fastbp.optim.Adam(0.01), **options)
    together.fit(X, y, optimizer=fastbp.optim.Adam(0.01), **options)
    return tuple([net.theta.tobytes() for net in nets] for nets in (alone, together))


def training(optimizer, **options):
    """A function run for `check`: how far a fit moves theta, and its losses."""

    def run(net, X, y):
        start = net.theta.copy()
        history = net.fit(X, y, optimizer=optimizer(), **options)
        return {"moved": net.theta - start, "loss": np.array(history.loss)}

    return run
