"""Read-only state, such as memory maps of joblib in workers and from files, is copied on use."""

import copy

import numpy as np
import pytest

joblib = pytest.importorskip("joblib", reason="joblib is not installed")
pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from estimator_cases import BOTH
from fit_cases import case

import fastbp
from fastbp import optim, reference
from fastbp.callbacks import EarlyStopping
from fastbp.sklearn import MLPClassifier

NETWORKS = pytest.mark.parametrize("network", [fastbp.Network, reference.Network])
RULES = [
    lambda: optim.SGD(0.1, momentum=0.9),
    lambda: optim.Adam(clip_global_norm=1.0, ema=0.9),
    lambda: optim.Adam(amsgrad=True),
    lambda: optim.RMSprop(momentum=0.5),
]


def mapped(value, path):
    """The object loaded from a joblib file, with arrays that are read-only memory maps."""
    joblib.dump(value, path)
    return joblib.load(path, mmap_mode="r")


def arrays_of(optimizer):
    return [a for a in (*optimizer.moments, optimizer.average, optimizer.scratch) if a is not None]


@NETWORKS
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("loaded", ["optimizer", "network", "both"])
def test_fit_continues_with_memory_maps(network, rule, loaded, tmp_path):
    net, X, y = case(network)
    optimizer = rule()
    net.fit(X, y, epochs=2, optimizer=optimizer)
    twin, twin_optimizer = copy.deepcopy((net, optimizer))
    if loaded != "optimizer":
        net = mapped(net, tmp_path / "net")
    if loaded != "network":
        optimizer = mapped(optimizer, tmp_path / "optimizer")
        assert arrays_of(optimizer) and not any(a.flags.writeable for a in arrays_of(optimizer))
        state = joblib.load(tmp_path / "optimizer").state_dict()
    history = net.fit(X, y, epochs=2, optimizer=optimizer)
    assert history.loss == twin.fit(X, y, epochs=2, optimizer=twin_optimizer).loss
    np.testing.assert_array_equal(net.theta, twin.theta)
    if loaded != "network":  # the file has not changed
        again = joblib.load(tmp_path / "optimizer").state_dict()
        for old, new in zip(state["moments"], again["moments"], strict=True):
            np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("call", ["step", "train_batch", "partial_fit"])
@NETWORKS
def test_single_steps_take_memory_maps(network, call, tmp_path):
    net, X, y = case(network)
    adam = optim.Adam()
    net.value_and_grad(X, y)
    net.step(adam)
    adam = mapped(adam, tmp_path / call)
    net.value_and_grad(X, y)
    if call == "step":
        net.step(adam)
    elif call == "train_batch":
        net.train_batch(X, y, adam)
    else:
        net.partial_fit(X, y, optimizer=adam)
    assert all(a.flags.writeable for a in arrays_of(adam))


@NETWORKS
def test_moments_may_be_set_to_memory_maps(network, tmp_path):
    net, X, y = case(network)
    first = optim.Adam()
    net.fit(X, y, epochs=1, optimizer=first)
    second = optim.Adam()
    second.moments = [mapped(m, tmp_path / str(i)) for i, m in enumerate(first.moments)]
    second.t = first.t
    twin = copy.deepcopy(net)
    assert (
        net.fit(X, y, epochs=1, optimizer=second).loss
        == twin.fit(X, y, epochs=1, optimizer=first).loss
    )


@NETWORKS
def test_a_mapped_network_has_writeable_views_of_theta(network, tmp_path):
    net = mapped(case(network)[0], tmp_path / "net")
    for layer in net.layers:
        layer.W[...] = 3.0
        layer.b[0] = 4.0
    assert net.theta.flags.writeable
    assert np.count_nonzero(net.theta == 3.0) == sum(layer.W.size for layer in net.layers)
    assert np.count_nonzero(net.theta == 4.0) == len(net.layers)


@NETWORKS
def test_averages_and_best_weights_may_be_memory_maps(network, tmp_path):
    net, X, y = case(network)
    swa = optim.SWA()
    net.fit(X, y, epochs=2, callbacks=[swa])
    twin, other = copy.deepcopy((net, swa))
    swa = mapped(swa, tmp_path / "swa")
    assert not swa.average.flags.writeable
    net.fit(X, y, epochs=2, callbacks=[swa])
    twin.fit(X, y, epochs=2, callbacks=[other])
    np.testing.assert_array_equal(swa.average, other.average)
    with optim.averaged(net, mapped(swa, tmp_path / "swa")):
        np.testing.assert_array_equal(net.theta, swa.average)

    stop = EarlyStopping("loss", patience=5)
    stop.on_fit_begin(net)
    stop.on_epoch_end(0, {"loss": 2.0})
    kept = mapped(stop.state_dict(), tmp_path / "state")
    before = kept["theta"].copy()
    again = EarlyStopping("loss", patience=5)
    again.on_fit_begin(net)
    again.load_state_dict(kept)
    net.theta = net.theta + 1
    again.on_epoch_end(1, {"loss": 1.0})
    again.on_fit_end(net)
    np.testing.assert_array_equal(kept["theta"], before)  # the state of the caller does not change
    assert again.best == 1.0


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_estimators_continue_with_memory_maps(kind, solver, tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 5)), np.arange(40) % 2
    first = {"classes": [0, 1]} if kind is MLPClassifier else {}
    model = kind(hidden_layer_sizes=8, solver=solver, random_state=0).partial_fit(X, y, **first)
    twin = copy.deepcopy(model)
    again = mapped(model, tmp_path / "model").partial_fit(X, y)
    np.testing.assert_array_equal(again.network_.theta, twin.partial_fit(X, y).network_.theta)
    warm = mapped(model.set_params(warm_start=True, max_iter=2, tol=0.0), tmp_path / "warm")
    with pytest.warns(UserWarning, match="Maximum iterations"):
        warm.fit(X, y)


def one_more(model, X, y):
    """One partial_fit in a worker."""
    return model.partial_fit(X, y).network_.theta


def test_large_models_in_workers():
    """joblib gives its workers read-only memory maps of arrays above max_nbytes."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(64, 20)), np.arange(64) % 2
    model = MLPClassifier(40, random_state=0).partial_fit(X, y, classes=[0, 1])
    assert model.network_.theta.nbytes > 1024
    here = one_more(copy.deepcopy(model), X, y)
    there = joblib.Parallel(2, max_nbytes=1024)(
        joblib.delayed(one_more)(each, X, y) for each in (model, model)
    )
    for theta in there:
        np.testing.assert_array_equal(theta, here)
