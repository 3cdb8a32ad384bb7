"""The periodic embedding of numbers: engine against reference, and what a network does with it."""

import copy
import json

import numpy as np
import pytest
from engine_cases import DTYPES
from export_cases import compiled, predicted_in_c, predicted_in_onnx
from layer_cases import alone_and_together, check, embedded_passes, training

import fastbp
from fastbp import Dense, Network, Periodic, export, reference
from fastbp.optim import LBFGS, SGD, Adam, AdamW, Muon
from fastbp.reference import objective
from fastbp.testing import gradcheck

KINDS = (Network, reference.Network)
N_IN, N_OUT = 9, 3
EMBEDDINGS = {
    "RealMLP": Periodic(6, std=0.3),
    "PLR": Periodic(9, frequencies=5, width=4, std=0.3, relu=True, keep=False),
    "one of each": Periodic(1, frequencies=1, width=1, std=0.5, keep=False),
    "wide": Periodic(4, frequencies=37, width=30, std=0.2, relu=True),
}


def network(name="RealMLP", kind=Network, dtype="float64", first=None, **options):
    options = {"loss": "cross_entropy", "seed": 4} | options
    more = {"scale": True} | (first or {})
    layers = [Dense(33, "tanh", embedding=EMBEDDINGS[name], **more), Dense(N_OUT, "softmax")]
    return kind.from_layers(N_IN, layers, dtype=dtype, **options)


def data(n=50, dtype="float64"):
    rng = np.random.default_rng(1)
    return rng.normal(size=(n, N_IN)).astype(np.float32).astype(dtype), rng.integers(N_OUT, size=n)


def stack(name):
    """Hidden layers for `layer_cases`, on 17 inputs."""
    return [Dense(33, "tanh", embedding=EMBEDDINGS[name], scale=True), Dense(7, "softplus")]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 5, 16, 61])
@pytest.mark.parametrize("name", EMBEDDINGS)
def test_passes_agree_with_the_reference(name, n, dtype):
    s = np.linspace(0.5, 1.5, n)
    check(lambda *case: embedded_passes(*case, s), stack(name), dtype, n=n, loss="squared_error")
    check(embedded_passes, stack(name), dtype, n=n, l2=0.01)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EMBEDDINGS)
def test_trajectories_agree_with_the_reference(name, dtype):
    run = training(lambda: SGD(0.02, momentum=0.9), epochs=2, batch_size=9)
    check(run, stack(name), dtype)


@pytest.mark.parametrize("name", ["RealMLP", "one of each"])
def test_the_reference_agrees_with_the_complex_step(name):
    net, (X, y) = network(name, reference.Network), data(7)
    _, grad = net.value_and_grad(X, y)
    h = 1e-30
    start = net.theta.size - 3 * 4
    for k in [*range(0, net.theta.size, 37), *range(start, net.theta.size)]:
        theta = net.theta.astype(complex)
        theta[k] += 1j * h
        assert objective(net, X, y, theta).imag / h == pytest.approx(grad[k], rel=1e-9, abs=1e-13)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", EMBEDDINGS)
def test_gradcheck(name, kind):
    net, (X, y) = network(name, kind, l2=0.01), data(7)
    gradcheck(net, X, y, max_per_block=10)


@pytest.mark.parametrize("name", EMBEDDINGS)
@pytest.mark.parametrize("batch_size", [1, 7, 50])
@pytest.mark.parametrize("first", [{}, {"norm": "batch", "scale": False}], ids=["scale", "batch"])
def test_trainings_agree_with_the_reference(name, batch_size, first):
    if first and batch_size == 1:  # of 2 rows, a variance may be near 0
        batch_size = 16
    X, y = data()
    thetas = []
    for kind in KINDS:
        net = network(name, kind, first=first)
        optimizer = AdamW(0.01, lr_factors={"embedding": 0.5}, decay_factors={"bias": 0.0})
        net.fit(X, y, epochs=2, batch_size=batch_size, optimizer=optimizer)
        thetas.append(net.theta)
    np.testing.assert_allclose(*thetas, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_has_the_same_bits_alone_and_in_a_batch(dtype):
    net, (X, _) = network(dtype=dtype), data(301, dtype)
    whole = net.predict(X)
    assert net.forward(X).tobytes() == whole.tobytes()
    assert b"".join(net.predict(row[None]).tobytes() for row in X) == whole.tobytes()


@pytest.mark.parametrize("n_threads", [2, 5])
def test_bits_do_not_depend_on_threads(n_threads):
    def train(n_threads):
        rng = np.random.default_rng(0)
        first = Dense(300, "relu", embedding=Periodic(100), scale=True)
        net = Network.from_layers(120, [first, Dense(200, "tanh"), Dense(3)], seed=1)
        X, y = rng.normal(size=(90, 120)), rng.normal(size=(90, 3))
        net.fit(X, y, epochs=2, batch_size=40, optimizer=Adam(), n_threads=n_threads)
        return net.theta.tobytes()

    assert train(n_threads) == train(1)


@pytest.mark.parametrize("rule", [SGD, AdamW, Muon])
def test_fan_in_scaling_counts_what_the_embedding_makes(rule):
    """A step with lr is one with 1/√n or 1/n of it for W, where W has n rows."""
    X, y = data()
    moved = []
    for kind in KINDS:
        for scaled in (True, False):
            net = network("PLR", kind)
            start = net.layers[0].W.copy()
            net.train_batch(X, y, optimizer=rule(0.01, weight_decay=0.0, fan_in_scaling=scaled))
            moved.append(net.layers[0].W - start)
        scaled, plain = moved[-2:]
        np.testing.assert_allclose(scaled, plain * len(start) ** -rule.fan_in_power, 1e-6, 1e-12)
    np.testing.assert_allclose(*moved[::2], 1e-6, 1e-12)


def test_rows_of_another_type_and_order_give_the_same_bits():
    X, y = data()
    X = X.astype(np.float32)
    nets = [network(dtype="float64") for _ in range(3)]
    for net, rows in zip(nets, (X, X.astype(np.float64), np.asfortranarray(X)), strict=True):
        net.fit(rows, y, epochs=2, batch_size=8)
    assert nets[0].theta.tobytes() == nets[1].theta.tobytes() == nets[2].theta.tobytes()


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_lower_precision_trains(precision):
    X, y = data(200)
    net = network(dtype="float32", matmul_precision=precision)
    history = net.fit(X, y, epochs=20, batch_size=50, optimizer=Adam(0.01))
    assert history.loss[-1] < 0.9 * history.loss[0]


def test_members_of_a_population_have_their_own_bits():
    alone, together = alone_and_together([network(seed=i) for i in range(3)], *data())
    assert alone == together


def test_accumulated_batches_frozen_layers_and_line_searches():
    X, y = data(48)
    nets = [network(kind=kind) for kind in KINDS]
    for net in nets:
        net.fit(X, y, epochs=2, batch_size=8, accumulate=3, optimizer=SGD(0.1))
    np.testing.assert_allclose(nets[0].theta, nets[1].theta, rtol=1e-9, atol=1e-11)
    nets[0].layers[0].trainable = False
    before = nets[0].theta.copy()
    nets[0].fit(X, y, epochs=2, batch_size=8)
    n_first = sum(each.size for each in nets[0].layers[0].parameters().values())
    np.testing.assert_array_equal(nets[0].theta[:n_first], before[:n_first])
    pytest.importorskip("scipy", reason="SciPy is not installed")
    nets[0].layers[0].trainable = True
    J = nets[0].loss(X, y)
    nets[0].fit(X, y, epochs=1, optimizer=LBFGS(max_iter=20))
    assert nets[0].loss(X, y) < 0.7 * J


def test_the_first_values_and_their_views():
    net = Network.from_layers(50, [Dense(2, embedding=Periodic(50, std=0.2)), Dense(1)], seed=0)
    own = net.layers[0].embedding
    assert [(name, view.shape) for name, view in own.items()] == [
        ("frequencies", (50, 16)),
        ("phases", (50, 16)),
        ("projections", (50, 16, 3)),
        ("offsets", (50, 3)),
    ]
    assert net.layers[0].W.shape == (200, 2) and net.widths == (50, 2, 1)
    assert own["frequencies"].std() == pytest.approx(0.2, rel=0.1)
    assert 3 < abs(own["phases"]).max() <= np.pi
    assert 0.24 < abs(own["projections"]).max() <= 0.25
    own["phases"] = 0.5
    assert (net.layers[0].parameters()["phases"] == 0.5).all()
    assert net.layers[1].embedding == {} and "50 embedded inputs" in net.summary()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Periodic(0), "n_numbers must be at least 1"),
        (lambda: Periodic(2, width=1), "width must be 2 to 65 with keep=True; got 1"),
        (lambda: Periodic(2, width=65, keep=False), "width must be 1 to 64 with keep=False"),
        (lambda: Periodic(2, frequencies=5000), "frequencies must be at most 4096"),
        (lambda: Periodic(2, std=0), "std must be greater than 0"),
        (
            lambda: Network.from_layers(3, [Dense(2, embedding=Periodic(4)), Dense(1)]),
            "is for 4 numbers, and the network has 3 inputs",
        ),
        (
            lambda: Network.from_layers(3, [Dense(2), Dense(1, embedding=Periodic(2))]),
            r"layers\[1\] has an embedding, which is for the inputs",
        ),
        (
            lambda: Network.from_layers(2, [Dense(2, embedding=Periodic(2), residual=True)]),
            "cannot be residual",
        ),
        (lambda: network(input_dropout=0.1), "input_dropout does not go together"),
        (
            lambda: network(first={"scale": False}).fit(*data(), parts=2),
            "not trained in parts",
        ),
        (lambda: network().jacobian(data()[0]), "jacobian does not go through an embedding"),
        (lambda: network().walk(data()[0][0], 1), "walk does not go through an embedding"),
        (lambda: export.to_state_dict(network()), "cannot hold an embedding of inputs"),
        (lambda: export.to_keras_weights(network()), "cannot hold an embedding of inputs"),
    ],
)
def test_what_does_not_go_together_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "name", ["vjp", "jvp", "hvp", "per_sample_gradients", "gradient_norms", "relevance"]
)
def test_other_derivatives_are_refused(name):
    net, (X, y) = network(), data()
    second = {"vjp": np.ones((len(X), N_OUT)), "jvp": X}.get(name, y)
    more = (net.theta,) if name == "hvp" else ()
    with pytest.raises(ValueError, match=f"{name} does not go through an embedding"):
        getattr(net, name)(X, second, *more)
    net.value_and_grad(X, y)
    with pytest.raises(ValueError, match="input_gradient does not go through"):
        net.input_gradient()


def test_sparse_rows_and_other_types_are_refused():
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    with pytest.raises(TypeError, match="embedding or residual: write X.toarray"):
        network().predict(sparse.csr_matrix(data()[0]))
    with pytest.raises(TypeError, match=r"embedding must be a fastbp.Periodic"):
        Dense(2, embedding=3)


def test_files_and_copies_keep_it(tmp_path):
    net, (X, _) = network("wide"), data()
    path = tmp_path / "net.safetensors"
    net.save(path)
    tensors, metadata = fastbp.io.read_safetensors(path)
    assert metadata["version"] == "8" and tensors["layers.0.projections"].shape == (4, 37, 29)
    for again in (fastbp.load(path), copy.deepcopy(net)):
        assert again.predict(X).tobytes() == net.predict(X).tobytes() and again.dense == net.dense
    architecture = json.loads(metadata["architecture"])
    architecture["layers"][0]["embedding"]["more"] = 1
    forged = metadata | {"architecture": json.dumps(architecture)}
    fastbp.io.write_safetensors(path, tensors, forged)
    with pytest.raises(
        fastbp.ModelFileError, match="the embedding of layer 0 has the unknown field"
    ):
        fastbp.load(path)


TOLERANCE = {"float32": {"rtol": 1e-4, "atol": 1e-5}, "float64": {"rtol": 1e-10, "atol": 1e-11}}


@pytest.mark.once
@pytest.mark.parametrize("dtype", DTYPES)
def test_c_gives_the_predictions_of_the_network(dtype, tmp_path):
    nets = {f"net{i}": network(name, dtype=dtype) for i, name in enumerate(EMBEDDINGS)}
    library = compiled("".join(export.c(net, name=name) for name, net in nets.items()), tmp_path)
    X, _ = data(20, dtype)
    for name, net in nets.items():
        np.testing.assert_allclose(
            predicted_in_c(library, net, X, name), net.predict(X), **TOLERANCE[dtype]
        )


@pytest.mark.once
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EMBEDDINGS)
def test_onnx_gives_the_predictions_of_the_network(name, dtype):
    pytest.importorskip("onnx", reason="onnx is not installed")
    net, (X, _) = network(name, dtype=dtype), data(20, dtype)
    np.testing.assert_allclose(
        predicted_in_onnx(export.onnx(net), X), net.predict(X), **TOLERANCE[dtype]
    )
