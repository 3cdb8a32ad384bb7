"""The trained scale of a layer's inputs: what the cases of layer_cases do not show."""

import copy

import numpy as np
import pytest
from engine_cases import DTYPES
from layer_cases import alone_and_together

import fastbp
from fastbp import Dense, Network, reference
from fastbp.gates import activation, tanh
from fastbp.optim import LBFGS, SGD, Adam, AdamW

KINDS = (Network, reference.Network)
N_IN, N_OUT = 30, 3


def network(kind=Network, dtype="float64", first=None, **options):
    """A network whose first layer and second have a scale, of numbers around 1."""
    layers = [
        Dense(41, "selu", scale=True) if first is None else first,
        Dense(9, "tanh", scale=True),
        Dense(N_OUT, "softmax"),
    ]
    net = kind.from_layers(N_IN, layers, loss="cross_entropy", dtype=dtype, seed=4, **options)
    rng = np.random.default_rng(2)
    for layer in net.layers[:2]:
        layer.scale = rng.uniform(0.5, 1.5, len(layer.scale))
    return net


def data(n=50):
    rng = np.random.default_rng(1)
    return rng.normal(size=(n, N_IN)), rng.integers(N_OUT, size=n)


def twin_of(net):
    """The same function without a scale."""
    layers = [
        Dense(layer.dense.n_out, layer.activation, bias=layer.dense.bias) for layer in net.layers
    ]
    twin = Network.from_layers(N_IN, layers, loss="cross_entropy", dtype=net.dtype)
    for to, layer in zip(twin.layers, net.layers, strict=True):
        to.W = layer.W if layer.scale is None else layer.scale[:, None] * layer.W
        to.b = layer.b
    return twin


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 7, 300])
def test_outputs_are_those_of_scaled_weights(dtype, n):
    net, (X, _) = network(dtype=dtype), data(n)
    twin = twin_of(net)
    assert net.predict(X).tobytes() == twin.predict(X).tobytes()
    assert net.forward(X).tobytes() == twin.forward(X).tobytes()


def test_weights_for_keras_have_it_in_them():
    net = network()
    exported = fastbp.export.to_keras_weights(net)
    for array, layer in zip(exported[::2], twin_of(net).layers, strict=True):
        np.testing.assert_array_equal(array, layer.W)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_follow_from_those_of_scaled_weights(kind):
    net, (X, y) = network(kind), data()
    twin = twin_of(net)
    net.value_and_grad(X, y)
    twin.value_and_grad(X, y)
    for layer, other in zip(net.layers[:2], twin.layers[:2], strict=True):
        near = {"rtol": 1e-10, "atol": 1e-13}
        np.testing.assert_allclose(layer.dW, layer.scale[:, None] * other.dW, **near)
        np.testing.assert_allclose(layer.dscale, (layer.W * other.dW).sum(axis=1), **near)
    np.testing.assert_allclose(net.input_gradient(), twin.input_gradient(), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_1_at_first_and_can_be_set(kind):
    net = kind.from_layers(4, [Dense(3, scale=True), Dense(1)], seed=0)
    first, last = net.layers
    assert first.scale.tolist() == [1, 1, 1, 1] and first.parameters().keys() == {"W", "b", "scale"}
    assert last.scale is None and last.dscale is None
    first.scale = [1, 2, 3, 4]
    assert net.theta[15:19].tolist() == [1, 2, 3, 4]
    with pytest.raises(AttributeError, match="this layer has no scale"):
        last.scale = [1, 2, 3]
    with pytest.raises(ValueError, match="scale"):
        first.scale = [1, 2, 3]
    assert "scaled inputs" in net.summary() and "scale=True" in repr(first.dense)


def test_a_constant_may_have_the_name_but_not_both():
    sigma = activation(lambda z, scale: scale * tanh(z), scale=2.0)
    net = Network.from_layers(2, [Dense(3, sigma), Dense(1)], seed=0)
    assert net.layers[0].scale is None and net.layers[0].constants["scale"] == 2
    with pytest.raises(ValueError, match="has a constant of that name: rename it"):
        Dense(3, sigma, scale=True)


@pytest.mark.parametrize("kind", KINDS)
def test_an_input_with_scale_0_still_learns_its_scale(kind):
    net, (X, y) = network(kind), data()
    net.layers[0].scale[3] = 0
    net.value_and_grad(X, y)
    assert not net.layers[0].dW[3].any() and net.layers[0].dscale[3] != 0


@pytest.mark.parametrize("batch_size", [1, 7, 50])
@pytest.mark.parametrize("n_threads", [2, 5])
def test_bits_do_not_depend_on_threads(batch_size, n_threads):
    def train(n_threads):
        rng = np.random.default_rng(0)
        layers = [Dense(700, "relu", scale=True), Dense(130, "tanh", scale=True), Dense(3)]
        net = Network.from_layers(300, layers, seed=1)
        X, y = rng.normal(size=(60, 300)), rng.normal(size=(60, 3))
        net.fit(X, y, epochs=2, batch_size=batch_size, optimizer=Adam(), n_threads=n_threads)
        return net.theta.tobytes()

    assert train(n_threads) == train(1)


@pytest.mark.parametrize("precision", ["high", "medium"])
@pytest.mark.parametrize("batch_size", [5, 50])
def test_lower_precision_is_that_of_scaled_weights(precision, batch_size):
    X, y = data()
    found = []
    for kind in KINDS:
        net = network(kind, dtype="float32" if kind is Network else None)
        net.matmul_precision = precision
        start = net.theta.copy()
        net.fit(X, y, epochs=2, batch_size=batch_size, optimizer=SGD(0.05))
        found.append(net.theta - start)
    # roundings of factors that differ by one float32 rounding may fall on either side
    assert abs(found[0] - found[1]).max() < 0.02 * abs(found[1]).max()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", [3, 64])
def test_sparse_rows_make_the_steps_of_dense_ones(dtype, batch_size):
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    X, y = data(130)
    X[np.random.default_rng(3).random(X.shape) < 0.8] = 0
    nets = [network(dtype=dtype), network(dtype=dtype)]
    for net, rows in zip(nets, (X, sparse.csr_matrix(X)), strict=True):
        net.fit(rows, y, epochs=2, batch_size=batch_size, optimizer=SGD(0.1, momentum=0.5))
    eps = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(nets[0].theta, nets[1].theta, rtol=2000 * eps, atol=2000 * eps)
    out = [net.predict(sparse.csr_matrix(X)) for net in nets]
    np.testing.assert_allclose(*out, rtol=2000 * eps, atol=2000 * eps)


@pytest.mark.parametrize("lr_factors", [{"scale": 6.0}, {"scale": 6.0, "layers": (1, 2, 3)}])
def test_it_has_a_rate_and_a_decay_of_its_own(lr_factors):
    def run(kind):
        net, (X, y) = network(kind), data()
        more = {"decay_factors": {"scale": 0.0, "bias": 0.5}, "weight_decay": 0.1}
        net.fit(X, y, epochs=3, batch_size=8, optimizer=AdamW(0.01, lr_factors=lr_factors, **more))
        return net.theta

    np.testing.assert_allclose(run(Network), run(reference.Network), rtol=1e-7, atol=1e-9)


def test_members_of_a_population_have_their_own_bits():
    nets = [network() for _ in range(3)]
    for i, net in enumerate(nets):
        net.theta *= 1 + 0.1 * i
    alone, together = alone_and_together(nets, *data())
    assert alone == together


def test_accumulated_batches_and_line_searches():
    X, y = data(48)
    nets = [network(kind) for kind in KINDS]
    for net in nets:
        net.fit(X, y, epochs=2, batch_size=8, accumulate=3, optimizer=SGD(0.1))
    np.testing.assert_allclose(nets[0].theta, nets[1].theta, rtol=1e-9, atol=1e-11)
    pytest.importorskip("scipy", reason="SciPy is not installed")
    before = nets[0].loss(X, y)
    nets[0].fit(X, y, epochs=1, optimizer=LBFGS(max_iter=20))
    assert nets[0].loss(X, y) < 0.5 * before


def test_parts_are_refused():
    net, (X, y) = network(), data()
    before = net.theta.copy()
    with pytest.raises(ValueError, match="scale=True without parts and comm"):
        net.fit(X, y, parts=2)
    np.testing.assert_array_equal(net.theta, before)


def test_files_and_copies_keep_it(tmp_path):
    net, (X, _) = network(), data()
    net.save(tmp_path / "net.safetensors")
    tensors, metadata = fastbp.io.read_safetensors(tmp_path / "net.safetensors")
    assert metadata["version"] == "7" and tensors["layers.0.scale"].shape == (N_IN,)
    for again in (fastbp.load(tmp_path / "net.safetensors"), copy.deepcopy(net)):
        assert again.predict(X).tobytes() == net.predict(X).tobytes()
        assert again.dense == net.dense
    plain = Network((2, 1), seed=0)
    plain.save(tmp_path / "plain.safetensors")
    assert fastbp.io.read_safetensors(tmp_path / "plain.safetensors")[1]["version"] == "1"


def test_a_walk_shows_it():
    net, (X, y) = network(), data()
    walk = net.walk(X[0], int(y[0]))
    first = walk.layers[0]
    np.testing.assert_allclose(first.v, X[0] * net.layers[0].scale)
    np.testing.assert_allclose(first.z, first.v @ first.W + first.b, rtol=1e-12)
    second = walk.layers[1]
    np.testing.assert_allclose(first.g, second.scale * (second.W @ second.delta), rtol=1e-12)
    text = str(walk)
    for part in ("v¹ = x scale", "z¹ = v¹ W¹ + b¹", "dW¹ = v¹ᵀ δ¹", "dscale² = a¹ W² δ²"):
        assert part in text, part
