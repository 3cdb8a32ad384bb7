"""accumulate: a gradient that is added up from parts of a batch equals that of the whole batch."""

import copy

import numpy as np
import pytest
from engine_cases import DTYPES, OPTIMIZERS

import fastbp
from fastbp import _core, reference
from fastbp.optim import SGD, Adam

N = 50
CACHE_LINE = 64  # bytes, to which buffers are rounded up
NETWORKS = pytest.mark.parametrize("network", [fastbp.Network, reference.Network])


def case(network=fastbp.Network, dtype="float64", widths=(6, 19, 3), **options):
    rng = np.random.default_rng(3)
    net = network(widths, activation="tanh", dtype=dtype, seed=4, l1=1e-3, l2=1e-2, **options)
    X = rng.normal(size=(N, widths[0])).astype(dtype)
    y = rng.normal(size=(N, widths[-1])).astype(dtype)
    return net, X, y, np.arange(N) % 4 * 0.5


@pytest.mark.parametrize(("batch_size", "accumulate"), [(1, 7), (4, 3), (9, 2), (13, 4), (30, 9)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", OPTIMIZERS)
@NETWORKS
def test_a_batch_in_parts_gives_the_same_steps(network, rule, dtype, batch_size, accumulate):
    """Up to the rounding of sums of N terms over 3 epochs, which Adam's quotient magnifies."""
    nets = [case(network, dtype)[0] for _ in range(2)]
    _, X, y, s = case(dtype=dtype)
    own = [OPTIMIZERS[rule]() for _ in nets]
    options = {"epochs": 3, "sample_weight": s}
    split = nets[0].fit(
        X, y, batch_size=batch_size, accumulate=accumulate, optimizer=own[0], **options
    )
    whole = nets[1].fit(X, y, batch_size=batch_size * accumulate, optimizer=own[1], **options)
    steps = own[1].t
    assert own[0].t == steps == 3 * -(-N // (batch_size * accumulate))
    tolerance = 10 * steps * N * np.finfo(dtype).eps
    np.testing.assert_allclose(nets[0].theta, nets[1].theta, rtol=0, atol=tolerance)
    np.testing.assert_allclose(split.loss, whole.loss, rtol=tolerance)


@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_engine_and_reference_agree(rule):
    found = []
    for network in (fastbp.Network, reference.Network):
        net, X, y, s = case(network)
        net.fit(
            X,
            y,
            epochs=3,
            batch_size=7,
            accumulate=3,
            sample_weight=s,
            optimizer=OPTIMIZERS[rule](),
            schedule="one_cycle",
        )
        found.append(net.theta)
    np.testing.assert_allclose(*found, rtol=0, atol=10 * 9 * N * np.finfo(float).eps)


@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_the_same_bits_on_any_number_of_threads(rule):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(1000, 64)), rng.normal(size=(1000, 10))
    thetas = []
    for n_threads in (1, 2, 4):
        net = fastbp.Network((64, 256, 10), seed=0, l2=1e-3)
        net.fit(
            X,
            y,
            epochs=1,
            batch_size=250,
            accumulate=2,
            optimizer=OPTIMIZERS[rule](),
            n_threads=n_threads,
        )
        thetas.append(net.theta)
    for n_threads, theta in zip((2, 4), thetas[1:], strict=True):
        np.testing.assert_array_equal(theta, thetas[0], f"{n_threads} threads")


def test_buffers_have_the_size_of_a_part():
    net, X, y, _ = case(widths=(6, 400, 3))
    sizes = []
    for batch_size, part_rows in ((5, 0), (50, 0), (50, 5)):
        adam = Adam()
        adam.bind(net.theta.size, net.dtype)
        fit = _core.Fit(
            net._backend.net, net.theta, X, y, None, adam, batch_size, True, 0, 1, part_rows
        )
        sizes.append(fit.report()["bytes"])
    sums = sizes[2] - sizes[0]
    assert net.theta.nbytes <= sums < net.theta.nbytes + CACHE_LINE
    assert sizes[2] < sizes[1]


@NETWORKS
def test_a_part_with_zero_weights_is_skipped(network):
    net, X, y, _ = case(network)
    twin = copy.deepcopy(net)
    s = np.repeat([0.0, 1.0, 0.0, 2.0, 0.0], 10)
    kept = s > 0
    for one, rows in ((net, slice(None)), (twin, kept)):
        one.fit(
            X[rows],
            y[rows],
            sample_weight=s[rows],
            epochs=2,
            batch_size=10,
            accumulate=5,
            shuffle=False,
            optimizer=SGD(0.1),
        )
    np.testing.assert_array_equal(net.theta, twin.theta)


@NETWORKS
def test_a_part_that_diverges_changes_nothing(network):
    net, X, y, _ = case(network)
    net.fit(X, y, epochs=1)
    before, adam = net.theta.copy(), Adam()
    y[45] = 1e300
    with pytest.raises(fastbp.DivergenceError) as info:
        net.fit(X, y, batch_size=10, accumulate=5, shuffle=False, optimizer=adam)
    assert (info.value.epoch, info.value.step, adam.t) == (0, 0, 0)
    np.testing.assert_array_equal(net.theta, before)


@NETWORKS
def test_clipping_uses_the_gradient_of_the_whole_batch(network):
    nets = [case(network)[0] for _ in range(2)]
    _, X, y, s = case()
    clipped = {"epochs": 2, "sample_weight": s}
    nets[0].fit(
        X, y, batch_size=5, accumulate=5, optimizer=SGD(0.1, clip_global_norm=0.1), **clipped
    )
    nets[1].fit(X, y, batch_size=25, optimizer=SGD(0.1, clip_global_norm=0.1), **clipped)
    np.testing.assert_allclose(*(net.theta for net in nets), rtol=0, atol=1000 * N * 2e-16)


@NETWORKS
def test_layers_with_options_give_the_same_steps_in_parts(network):
    """Norms work by rows, dropout by the position in the batch; frozen layers and constraints."""
    layers = [
        fastbp.Dense(12, activation="tanh", norm="layer", dropout=0.3),
        fastbp.Dense(7, activation="tanh", max_norm=0.5),
        fastbp.Dense(3),
    ]
    nets = [
        network.from_layers(6, layers, dtype="float64", seed=1, input_dropout=0.1) for _ in range(2)
    ]
    _, X, y, s = case()
    for net, split in zip(nets, ((7, 3), (21, 1)), strict=True):
        net.layers[2].trainable = False
        net.fit(
            X,
            y,
            epochs=2,
            batch_size=split[0],
            accumulate=split[1],
            sample_weight=s,
            optimizer=SGD(0.1, momentum=0.9, clip_norm=0.3),
        )
    np.testing.assert_allclose(nets[0].theta, nets[1].theta, rtol=0, atol=1000 * N * 2e-16)


def test_accumulate_must_be_a_positive_whole_number():
    net, X, y, _ = case()
    with pytest.raises(ValueError, match="accumulate must be at least 1"):
        net.fit(X, y, accumulate=0)
    with pytest.raises(TypeError, match="accumulate must be a whole number"):
        net.fit(X, y, accumulate=1.5)
