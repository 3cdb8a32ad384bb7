"""Arrays of a network: views that share memory, results that do not, and copies of networks."""

import copy
import gc
import hashlib
import io
import pickle
from itertools import pairwise

import joblib
import numpy as np
import pytest
from engine_cases import DTYPES

import fastbp

LINE = 64


@pytest.fixture(params=DTYPES)
def net(request):
    return fastbp.Network((3, 5, 33, 2), activation="tanh", dtype=request.param, l1=0.1, seed=1)


@pytest.fixture
def X(rng):
    return rng.normal(size=(12, 3))


@pytest.fixture
def y(rng):
    return rng.normal(size=(12, 2))


def passed(net, X, y):
    """The network after forward and backward."""
    net.forward(X)
    net.backward(y)
    return net


# ---- parameters and gradients -------------------------------------------------------------


def test_parameters_are_views_of_theta(net):
    flat = np.arange(net.theta.size, dtype=net.dtype)
    net.theta[...] = flat
    start = 0
    for layer in net.layers:
        for view in (layer.W, layer.b):
            assert np.shares_memory(view, net.theta) and view.flags.c_contiguous
            assert view.dtype == net.dtype and view.flags.writeable
            np.testing.assert_array_equal(view.ravel(), flat[start : start + view.size])
            start += view.size
    assert start == net.theta.size


def test_gradients_are_views_of_grad(net, X, y):
    views = [view for layer in net.layers for view in (layer.dW, layer.db)]
    passed(net, X, y)
    np.testing.assert_array_equal(np.concatenate([view.ravel() for view in views]), net.grad)
    assert all(np.shares_memory(view, net.grad) for view in views)
    assert not np.shares_memory(net.theta, net.grad)
    assert net.theta.ctypes.data % LINE == net.grad.ctypes.data % LINE == 0


@pytest.mark.parametrize("name", ["theta", "W", "b"])
def test_writing_into_a_view_changes_the_network(net, X, name):
    before = net.predict(X)
    view = net.theta if name == "theta" else getattr(net.layers[1], name)
    view[...] += 0.25
    changed = net.predict(X)
    assert not np.array_equal(changed, before)
    np.testing.assert_array_equal(net.forward(X), changed)
    view[...] -= 0.25
    assert not np.array_equal(net.predict(X), changed)


def test_assigning_copies_the_values_and_checks_the_shape(net):
    mine = np.ones((3, 5))
    net.layers[0].W = mine
    mine[...] = 5
    np.testing.assert_array_equal(net.theta[:15], 1)
    net.layers[0].W += 1
    np.testing.assert_array_equal(net.theta[:15], 2)
    net.theta = net.theta[::-1]
    np.testing.assert_array_equal(net.theta[-15:], 2)
    with pytest.raises(ValueError, match=r"W has shape \(5, 3\); the network has \(3, 5\)"):
        net.layers[0].W = np.zeros((5, 3))
    with pytest.raises(ValueError, match="theta has shape"):
        net.theta = np.zeros(8)


def test_scaling_the_gradient_scales_the_step(net, X, y):
    """`step` reads `grad`, so a caller may clip it in place."""
    passed(net, X, y)
    theta, grad = net.theta.copy(), net.grad.copy()
    net.grad[...] = 0.0
    net.layers[2].db[...] = grad[-2:]
    net.step(fastbp.optim.SGD(1.0))
    np.testing.assert_array_equal(net.theta[:-2], theta[:-2])
    np.testing.assert_array_equal(net.theta[-2:], theta[-2:] - grad[-2:])


# ---- z, a and delta -----------------------------------------------------------------------


def test_z_a_and_delta_are_views_of_the_last_pass(net, X, y):
    first = [[getattr(layer, n) for n in ("z", "a", "delta")] for layer in passed(net, X, y).layers]
    values = [[view.copy() for view in views] for views in first]
    passed(net, 2 * X, y)
    for layer, views, before in zip(net.layers, first, values, strict=True):
        for name, view, old in zip(("z", "a", "delta"), views, before, strict=True):
            now = getattr(layer, name)
            assert np.shares_memory(view, now) and not np.array_equal(view, old), name
            np.testing.assert_array_equal(view, now, name)


def test_shapes_and_strides_of_z_a_and_delta(net, X, y):
    """Rows are an odd number of cache lines apart, so that a column uses all sets of L1."""
    for layer, width in zip(passed(net, X, y).layers, net.widths[1:], strict=True):
        views = (layer.z, layer.a, layer.delta)
        for view in views:
            assert view.shape == (12, width) and view.dtype == net.dtype and view.flags.writeable
            lines, rest = divmod(view.strides[0], LINE)
            assert (rest, lines % 2) == (0, 1)
            assert width * view.itemsize <= view.strides[0] < width * view.itemsize + 2 * LINE
            assert view.strides[1] == view.itemsize and view.ctypes.data % LINE == 0
        assert not any(np.shares_memory(a, b) for a, b in pairwise(views))


def test_delta_is_none_until_backward_has_run(net, X, y):
    assert all(layer.z is layer.a is layer.delta is None for layer in net.layers)
    net.forward(X)
    assert all(layer.z is not None and layer.delta is None for layer in net.layers)
    net.backward(y)
    assert all(layer.delta is not None for layer in net.layers)
    net.forward(X[:5])
    assert all(layer.z.shape[0] == 5 and layer.delta is None for layer in net.layers)
    net.backward(y[:5])
    assert all(layer.delta.shape[0] == 5 for layer in net.layers)


def test_results_are_new_arrays(net, X, y):
    out = net.forward(X)
    kept = out.copy()
    net.backward(y)
    inputs = net.input_gradient()
    for array in (out, inputs, net.predict(X)):
        assert array.flags.c_contiguous and array.flags.owndata
        array[...] = 7
    np.testing.assert_array_equal(net.layers[-1].a, kept)
    assert not np.array_equal(net.input_gradient(), inputs)


def test_input_gradient_reads_delta_of_the_first_layer(net, X, y):
    """Writing into other δ has no effect after backward."""
    grad, inputs = passed(net, X, y).grad.copy(), net.input_gradient()
    net.layers[1].delta[...] = 3
    np.testing.assert_array_equal(net.input_gradient(), inputs)
    net.layers[0].delta[...] *= 2
    np.testing.assert_array_equal(net.input_gradient(), 2 * inputs)
    np.testing.assert_array_equal(net.grad, grad)
    net.backward(y)
    np.testing.assert_array_equal(net.input_gradient(), inputs)
    np.testing.assert_array_equal(net.grad, grad)


def test_views_outlive_a_larger_batch_and_the_network(net, X, y):
    views = [view for layer in passed(net, X, y).layers for view in (layer.z, layer.a, layer.delta)]
    views += [net.theta, net.layers[0].W, net.grad]
    values = [view.copy() for view in views]
    passed(net, np.repeat(X, 50, axis=0), np.repeat(y, 50, axis=0))
    for view, value in zip(views[:9], values[:9], strict=True):
        np.testing.assert_array_equal(view, value)
    values[-1] = views[-1].copy()
    del net
    gc.collect()
    room = [np.full((600, 40), np.nan) for _ in range(50)]
    for view, value in zip(views, values, strict=True):
        np.testing.assert_array_equal(view, value)
    for view in views:
        view[...] = 0
    assert all(np.isnan(block).all() for block in room)


def test_a_view_of_the_outputs_may_be_the_next_input(net, rng):
    """forward accepts a view of the network's own a, which it is going to overwrite."""
    net = fastbp.Network((3, 5, 3), activation="tanh", dtype=net.dtype, seed=1)
    X, y = rng.normal(size=(12, 3)), rng.normal(size=(12, 3))
    once = net.forward(X)
    expected = net.value_and_grad(once, y)
    net.forward(X)
    J, grad = net.value_and_grad(net.layers[-1].a, y)
    assert J == expected[0]
    np.testing.assert_array_equal(grad, expected[1])


def test_views_of_the_pass_may_be_targets(net, X):
    net.forward(X)
    mine = net.layers[-1].z.copy()
    assert net.backward(net.layers[-1].z) == net.backward(mine)
    grad = net.grad.copy()
    net.backward_from(net.layers[-1].delta)
    np.testing.assert_array_equal(net.grad, grad)


def test_readers_of_a_buffer_need_strides(net, X):
    net.forward(X)
    buffer = net._backend._pass.buffer("z", 1)
    assert np.shares_memory(np.asarray(buffer), net.layers[0].z)
    for reader in (hashlib.sha256, io.BytesIO().write):
        with pytest.raises(BufferError, match="rows are padded: ask for strides"):
            reader(buffer)
    for layer in (0, 4):
        with pytest.raises(IndexError, match=f"there is no layer {layer}"):
            net._backend._pass.buffer("z", layer)


# ---- copies -------------------------------------------------------------------------------


def through_joblib(net, tmp_path):
    joblib.dump(net, tmp_path / "net.joblib")
    return joblib.load(tmp_path / "net.joblib")


CLONES = {
    "deepcopy": lambda net, _: copy.deepcopy(net),
    "copy": lambda net, _: copy.copy(net),
    "pickle": lambda net, _: pickle.loads(pickle.dumps(net)),
    "oldest pickle": lambda net, _: pickle.loads(pickle.dumps(net, protocol=2)),
    "joblib": through_joblib,
}


@pytest.mark.parametrize("kind", CLONES)
def test_copies_are_equal_and_independent(net, X, y, kind, tmp_path):
    passed(net, X, y)
    twin = CLONES[kind](net, tmp_path)
    assert type(twin) is fastbp.Network and repr(twin) == repr(net)
    assert (twin.seed, twin.l1, twin.l2, twin.dtype) == (net.seed, net.l1, net.l2, net.dtype)
    assert not np.shares_memory(twin.theta, net.theta)
    np.testing.assert_array_equal(twin.theta, net.theta)
    assert all(layer.z is None for layer in twin.layers)
    with pytest.raises(RuntimeError, match="call backward"):
        twin.step("sgd")

    theta = net.theta.copy()
    for one in (net, twin):
        one.fit(X, y, epochs=2, batch_size=5)
    np.testing.assert_array_equal(twin.theta, net.theta)
    twin.layers[0].W[...] = theta[0]
    assert (twin.theta[:15] == theta[0]).all() and not (net.theta[:15] == theta[0]).all()


def test_repr_and_summary_of_a_network(net):
    assert repr(net) == (
        "fastbp.Network((3, 5, 33, 2), ['tanh', 'tanh', 'identity'], "
        f"loss='squared_error', dtype='{net.dtype}')"
    )
    assert repr(net.layers[1]) == "Layer(5 -> 33, tanh)"
    lines = net.summary().splitlines()
    assert [line.split()[0] for line in lines] == ["layer", "1", "2", "3", "total"]
    assert lines[2].split()[:6] == ["2", "5", "->", "33", "tanh", str(6 * 33)]
    assert str(net.theta.size) in lines[-1] and str(net.dtype) in lines[-1]
