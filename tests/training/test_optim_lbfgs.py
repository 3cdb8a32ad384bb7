"""L-BFGS with SciPy: minima, weights, interruptions and bad arguments."""

import sys

import numpy as np
import pytest

import fastbp
from fastbp import reference
from fastbp.optim import LBFGS

NETWORKS = [fastbp.Network, reference.Network]


def line(n=40):
    """A linear regression with a known minimum."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 3))
    return X, X @ [[1.0], [-2.0], [0.5]] + 0.25 + 0.1 * rng.normal(size=(n, 1))


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_linear_network_reaches_least_squares(network, weighted):
    pytest.importorskip("scipy", reason="SciPy is not installed")
    X, y = line()
    s = np.arange(len(X)) % 4 * 0.5 if weighted else np.ones(len(X))
    net, lbfgs = network((3, 1), dtype="float64", seed=0), LBFGS(ftol=0.0, gtol=1e-9)
    seen = []
    history = net.fit(
        *(X, y),
        epochs=1,
        optimizer=lbfgs,
        sample_weight=s if weighted else None,
        validation_data=(X, y),
        callbacks=[lambda epoch, logs: seen.append(logs["loss"])],
    )
    A = np.hstack([X, np.ones((len(X), 1))]) * np.sqrt(s)[:, None]
    exact = np.linalg.lstsq(A, y * np.sqrt(s)[:, None], rcond=None)[0][:, 0]
    # |θ − θ*| <= |g| / (the smallest curvature of J)
    least = np.linalg.eigvalsh(A.T @ A / s.sum()).min()
    assert abs(net.theta - exact).max() <= 2 * 1e-9 / least
    assert seen == history.loss == [net.loss(X, y, s)]
    assert 0 < lbfgs.n_iterations < lbfgs.n_evaluations and lbfgs.message
    assert net.layers[0].a is None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_classes_and_further_epochs(dtype):
    pytest.importorskip("scipy", reason="SciPy is not installed")
    X = np.random.default_rng(0).normal(size=(60, 4))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    options = {"output": "softmax", "loss": "cross_entropy", "l2": 0.01, "dtype": dtype}
    net = fastbp.Network((4, 8, 2), activation="tanh", seed=0, **options)
    history = net.fit(X, y, epochs=3, optimizer=LBFGS(max_iter=15))
    assert history.loss[0] > history.loss[1] >= history.loss[2]
    assert net.fit(X, y, epochs=1, optimizer="lbfgs").loss[0] <= history.loss[2]


def test_an_interrupt_leaves_the_last_iterate(monkeypatch):
    optimize = pytest.importorskip("scipy.optimize", reason="SciPy is not installed")
    X, y = line()
    net = fastbp.Network((3, 5, 1), activation="tanh", dtype="float64", seed=0)
    start = net.loss(X, y)
    minimize, iterates = optimize.minimize, []

    def interrupted(fun, x0, *, callback, **options):
        def counted(theta):
            callback(theta)
            iterates.append(theta.copy())
            if len(iterates) == 3:
                raise KeyboardInterrupt

        return minimize(fun, x0, callback=counted, **options)

    monkeypatch.setattr(optimize, "minimize", interrupted)
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y, epochs=1, optimizer=LBFGS())
    np.testing.assert_array_equal(net.theta, iterates[-1])
    assert net.loss(X, y) < start


@pytest.mark.parametrize("network", NETWORKS)
def test_frozen_layers_and_bounds(network):
    pytest.importorskip("scipy", reason="SciPy is not installed")
    X, y = line()
    layers = [
        fastbp.Dense(6, "tanh", trainable=False),
        fastbp.Dense(5, "tanh", norm="layer"),
        fastbp.Dense(1, non_negative=True),
    ]
    net = network.from_layers(3, layers, dtype="float64", seed=0)
    before, start = net.theta.copy(), net.loss(X, y)
    assert (net.layers[2].W < 0).any()
    history = net.fit(X, y, epochs=2, optimizer=LBFGS(max_iter=30))
    assert history.loss[1] <= history.loss[0] < start
    np.testing.assert_array_equal(net.theta[: 3 * 6 + 6], before[: 3 * 6 + 6])
    assert (net.theta[3 * 6 + 6 :] != before[3 * 6 + 6 :]).any()
    assert (net.layers[2].W >= 0).all()
    layers[1] = fastbp.Dense(5, max_norm=1.0)
    net = network.from_layers(3, layers, seed=0)
    with pytest.raises(ValueError, match="LBFGS cannot keep the max_norm of layer 2"):
        net.fit(X, y, optimizer=LBFGS())


def test_divergence_changes_nothing():
    pytest.importorskip("scipy", reason="SciPy is not installed")
    net = fastbp.Network((1, 1), dtype="float64", init="zeros")
    net.theta = [1e200, 0.0]
    with pytest.raises(fastbp.DivergenceError, match="the loss is inf at epoch 0"):
        net.fit([[1e10]], [[0.0]], optimizer=LBFGS())
    assert net.theta.tolist() == [1e200, 0.0]


def test_bad_arguments_are_refused(monkeypatch):
    net = fastbp.Network((1, 1), seed=0)
    net.value_and_grad([[1.0]], [[1.0]])
    with pytest.raises(TypeError, match="LBFGS makes no single steps"):
        net.step(LBFGS())
    with pytest.raises(TypeError, match="optimizer must be an object of fastbp.optim"):
        net.train_batch([[1.0]], [[1.0]], LBFGS())
    with pytest.raises(ValueError, match="max_iter must be at least 1; got 0"):
        LBFGS(0)
    with pytest.raises(ValueError, match="gtol must not be negative"):
        LBFGS(gtol=-1)
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ImportError, match=r'pip install "fastbp\[scipy\]"'):
        net.fit([[1.0]], [[1.0]], optimizer=LBFGS())


@pytest.mark.parametrize("loss", ["squared_error", "cross_entropy"])
def test_a_converged_fit_may_continue_without_a_warning(loss):
    """J is nearly 0 and could still be halved, which is no reason for a warning."""
    X = np.linspace(-1, 1, 8)[:, None]
    classes = loss == "cross_entropy"
    output = {"output": "softmax"} if classes else {}
    net = fastbp.Network((1, 2 if classes else 1), loss=loss, seed=0, dtype="float64", **output)
    y = (X[:, 0] > 0).astype(int) if classes else 2 * X + 1
    history = net.fit(X, y, epochs=4, optimizer=LBFGS(max_iter=200))
    assert history.loss[-1] < 1e-4
