"""Targets in any unit: L-BFGS, and comparisons of losses that are equal in float32."""

import warnings

import numpy as np
import pytest
from unit_cases import UNITS, offset_loss, one_thread_for_scipy, surface

import fastbp
from fastbp import optim, reference
from fastbp.callbacks import EarlyStopping, ModelCheckpoint
from fastbp.errors import ConvergenceWarning
from fastbp.metrics import r2
from fastbp.optim import LBFGS, Rprop
from fastbp.schedules import Adaptive, ReduceLROnPlateau

__all__ = ["one_thread_for_scipy"]  # a fixture of these tests

TOO_FINE = [(1e6, 1.0), (1e9, 1.0), (-1e9, 1e3)]  # float32 outputs cannot resolve the spread


def determination(net, X, y):
    return r2(net.predict(X), y[:, None])


# ---- L-BFGS ---------------------------------------------------------------------------------


@pytest.mark.parametrize("activation, loss", [("relu", "mse"), ("tanh", "mse"), ("tanh", "mae")])
@pytest.mark.parametrize("units", UNITS)
def test_a_network_fits_targets_in_any_units(units, activation, loss):
    X, y = surface(*units)
    dtype = "float64" if units in TOO_FINE else "float32"
    net = fastbp.Network((5, 30, 1), activation=activation, loss=loss, dtype=dtype, seed=0)
    history = net.fit(X, y, epochs=1, optimizer=LBFGS(250))
    assert determination(net, X, y) > (0.999 if loss == "mse" else 0.99)
    assert history.loss == [net.loss(X, y)]


def test_the_reference_fits_targets_in_large_units():
    X, y = surface(1e9, 1e7, n=80)
    net = reference.Network((5, 10, 1), activation="tanh", dtype="float32", seed=0)
    net.fit(X, y, epochs=1, optimizer=LBFGS(200))
    assert net.theta.dtype == np.float32
    assert determination(net, X, y) > 0.99


def test_several_outputs_weights_and_sparse_rows():
    sparse = pytest.importorskip("scipy.sparse")
    X, y = surface(1e9, 1e7)
    y = np.stack([y, -1e9 + 1e6 * X[:, 2]], axis=1)
    s = np.arange(len(X)) % 3 + 0.5
    nets = [fastbp.Network((5, 30, 2), activation="tanh", seed=0) for _ in range(2)]
    for net, rows in zip(nets, (X, sparse.csr_array(X)), strict=True):
        net.fit(rows, y, epochs=1, optimizer=LBFGS(300), sample_weight=s)
        assert r2(net.predict(X)[:, :1], y[:, :1], s) > 0.998, type(rows)
    np.testing.assert_array_equal(nets[0].theta, nets[1].theta)


def test_a_second_fit_continues_from_the_first():
    X, y = surface(1e9, 1e7)
    net = fastbp.Network((5, 30, 1), activation="tanh", dtype="float64", seed=0)
    losses = [net.fit(X, y, epochs=1, optimizer=LBFGS(40)).loss[0] for _ in range(5)]
    assert losses == sorted(losses, reverse=True)
    assert determination(net, X, y) > 0.999


def test_targets_of_unit_size_give_the_steps_of_scipy():
    optimize = pytest.importorskip("scipy.optimize")
    X, y = surface(2.0, 3.0)
    nets = [fastbp.Network((5, 8, 1), activation="tanh", dtype="float64", seed=0) for _ in range(2)]
    nets[0].fit(X, y, epochs=1, optimizer=LBFGS(20))

    def value_and_grad(theta):
        return nets[1].value_and_grad(X, y, theta=theta)

    options = {"maxiter": 20, "maxcor": 10, "ftol": 2.220446049250313e-09, "gtol": 1e-5}
    x0 = nets[1].theta.copy()
    result = optimize.minimize(value_and_grad, x0, jac=True, method="L-BFGS-B", options=options)
    np.testing.assert_array_equal(nets[0].theta, result.x)


def test_bounded_and_frozen_layers_in_large_units():
    X, y = surface(1e9, 1e7)
    layers = [fastbp.Dense(30, "tanh"), fastbp.Dense(1, non_negative=True)]
    net = fastbp.Network.from_layers(5, layers, seed=0)
    net.fit(X, y, epochs=1, optimizer=LBFGS(300))
    assert (net.layers[1].W >= 0).all()
    assert determination(net, X, y) > 0.99
    layers[1] = fastbp.Dense(1, trainable=False)
    net = fastbp.Network.from_layers(5, layers, seed=0)
    before = net.layers[1].W.copy(), net.layers[1].b.copy()
    net.fit(X, y, epochs=1, optimizer=LBFGS(20))
    np.testing.assert_array_equal(net.layers[1].W, before[0])
    np.testing.assert_array_equal(net.layers[1].b, before[1])


# ---- warnings of L-BFGS -----------------------------------------------------------------------


@pytest.mark.parametrize("network", [fastbp.Network, reference.Network])
def test_a_failed_line_search_gives_a_warning(network):
    def uphill(a, y):
        e = a.astype(float) - y
        return (e * e).sum(axis=1) / 2, -e

    X, y = surface(0.0, 1.0)
    lbfgs = LBFGS()
    with pytest.warns(ConvergenceWarning, match=r"line search failed \(ABNORMAL"):
        network((5, 4, 1), loss=uphill, seed=0).fit(X, y, epochs=1, optimizer=lbfgs)
    assert lbfgs.message.startswith("ABNORMAL")


def test_a_run_that_hardly_moves_gives_a_warning():
    X, y = surface(0.0, 1.0)
    net = fastbp.Network((5, 8, 1), seed=0)
    with pytest.warns(ConvergenceWarning, match="after 0 iterations, but one more step down"):
        net.fit(X, y, epochs=1, optimizer=LBFGS(gtol=100.0))
    net = fastbp.Network((5, 8, 1), output="relu", seed=0)  # its outputs cannot be rescaled
    with pytest.warns(ConvergenceWarning, match="scale the columns of X and y to mean 0"):
        net.fit(X, 1e17 * abs(y), epochs=1, optimizer=LBFGS())


def test_targets_too_large_for_float32():
    X, y = surface(1e6, 2.0)
    net = fastbp.Network((5, 50, 32), activation="tanh", seed=0)
    with pytest.warns(ConvergenceWarning, match="float32 has too few digits for it: J is"):
        net.fit(X, np.repeat(y[:, None], 32, axis=1), epochs=1, optimizer=LBFGS(30))


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_targets_whose_spread_is_lost_in_float32(optimizer):
    X, y = surface(1e9, 1.0)
    net = fastbp.Network((5, 8, 1), seed=0)
    with pytest.warns(UserWarning, match="where float32 numbers are 64 apart"):
        net.fit(X, y, epochs=1, optimizer=optimizer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net = fastbp.Network((5, 8, 1), dtype="float64", seed=0)
        net.fit(X, y, epochs=1, optimizer=optimizer)
        for harmless in (np.full(len(X), 1e9), 1e9 * X[:, 0], np.arange(len(X))):
            fastbp.Network((5, 8, 1), seed=0).fit(X, harmless, epochs=1)


# ---- comparisons ----------------------------------------------------------------------------


def descending(network=fastbp.Network, epochs=12, **options):
    """A fit whose losses decrease by less than the spacing of float32 at 5e7."""
    layers = [fastbp.Dense(1, init="zeros"), fastbp.Dense(1, init="zeros", trainable=False)]
    net = network.from_layers(1, layers, l2=1e8, dtype="float32")
    net.layers[1].W = [[1.0]]
    X, y = np.zeros((8, 1)), np.ones((8, 1))
    options = {"optimizer": optim.SGD(0.1), **options}
    history = net.fit(X, y, epochs=epochs, batch_size=8, validation_data=(X, y), **options)
    for losses in (history.loss, history.val_loss):
        assert all(np.diff(losses) < 0)
        assert len(set(np.float32(losses))) == 1
    return history


@pytest.mark.parametrize("network", [fastbp.Network, reference.Network])
@pytest.mark.parametrize("monitor", ["loss", "val_loss"])
def test_callbacks_compare_losses_in_double(network, monitor, tmp_path):
    stop = EarlyStopping(monitor, patience=1)
    path = tmp_path / "best-{epoch}.safetensors"
    keep = ModelCheckpoint(path, monitor=monitor, save_best_only=True)
    history = descending(network, callbacks=[stop, keep])
    assert history.epochs == 12
    assert stop.best_epoch == 11
    assert stop.best == keep.best == history[monitor][-1]
    assert keep.last_path == str(path).format(epoch=11)


@pytest.mark.parametrize("network", [fastbp.Network, reference.Network])
@pytest.mark.parametrize(
    "make",
    [
        lambda: ReduceLROnPlateau(patience=0, threshold=0.0),
        lambda: Adaptive(patience=0, tol=0.0),
    ],
    ids=["plateau", "adaptive"],
)
def test_schedules_compare_losses_in_double(network, make):
    history = descending(network, schedule=make())
    assert set(history.lr) == {0.1}


def test_a_resumed_fit_compares_losses_in_double(tmp_path):
    stop = EarlyStopping("loss", patience=1)
    first = descending(epochs=6, callbacks=[stop], checkpoint=tmp_path)
    again = EarlyStopping("loss", patience=1)
    whole = descending(epochs=12, callbacks=[again], checkpoint=tmp_path)
    assert whole.epochs == 12
    assert whole.loss[:6] == first.loss
    assert again.best_epoch == 11


@pytest.mark.parametrize("network", [fastbp.Network, reference.Network])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rprop_compares_signs_of_any_size(network, dtype):
    tiny = float(np.sqrt(np.finfo(dtype).tiny)) * 1e-3  # whose square is 0

    def slope(a, y):
        return tiny * a.sum(axis=1), np.full_like(a, tiny)

    net = network((1, 1), loss=slope, dtype=dtype, init="zeros")
    net.fit([[1.0]], [[0.0]], epochs=3, optimizer=Rprop(0.01))
    steps = 0.01 + 0.01 * 1.2 + 0.01 * 1.2**2
    np.testing.assert_allclose(net.theta, -steps, rtol=8 * np.finfo(dtype).eps)


def test_the_reference_adds_losses_in_double():
    X = np.ones((3, 1), np.float32)
    net = reference.Network((1, 1), loss=offset_loss, dtype="float32", init="zeros")
    assert net.loss(X, X) == 5e7 + 0.5
    net.forward(X)
    assert net.backward(X) == 5e7 + 0.5
