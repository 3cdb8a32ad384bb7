"""Embeddings of categories: engine against reference, and what a network does with them."""

import copy
import json

import numpy as np
import pytest
from engine_cases import DTYPES
from export_cases import compiled, predicted_in_c, predicted_in_onnx
from layer_cases import alone_and_together, check, embedded_passes, training

import fastbp
from fastbp import Categories, Dense, Network, Periodic, Population, export, optim, reference
from fastbp.optim import LBFGS, SGD, Adam, AdamW, Muon, ScheduleFree
from fastbp.reference import objective
from fastbp.testing import gradcheck

KINDS = (Network, reference.Network)
N_IN, N_OUT = 9, 3
LEVELS, WIDTHS = [7, 1000, 2], [5, 20, 1]
FIRST = {  # what the first layer has besides, on 9 inputs of which the last 3 are categories
    "with numbers": {"categories": Categories(LEVELS, WIDTHS), "scale": True},
    "with embedded numbers": {
        "categories": Categories(LEVELS, WIDTHS, std=0.5),
        "embedding": Periodic(4, std=0.3),
    },
    "alone": {"categories": Categories([3, 40, 2, 9, 300, 1, 2, 5, 6], 16), "scale": True},
    "wide": {"categories": Categories([12, 5], [300, 40]), "norm": "layer"},
    # 128 units, of which a tile of W has 64: one table ends where the next tile begins
    "tiles": {"categories": Categories([4] * 8, [15, *[16] * 7])},
}
RULES = {
    "sgd": lambda: SGD(0.01, momentum=0.9, weight_decay=0.1),
    "adamw": lambda: AdamW(0.01, weight_decay=0.3, lr_factors={"embedding": 0.5, "weights": 2.0}),
    "amsgrad": lambda: Adam(0.01, amsgrad=True),
    "averaged": lambda: Adam(0.01, ema=0.9, weight_decay=0.1),
    "averaged, decoupled": lambda: AdamW(0.01, ema=0.9, weight_decay=0.3),
    "averaged, clipped": lambda: AdamW(0.01, ema=0.9, weight_decay=0.3, clip_norm=0.05),
    "clipped": lambda: Adam(0.01, clip_norm=0.05),
    "clipped together": lambda: SGD(0.1, clip_global_norm=0.05),
    "clipped by value": lambda: SGD(0.1, clip_value=0.001, maximize=True),
    "lion": lambda: optim.Lion(0.01, weight_decay=0.1),
    "muon": lambda: Muon(0.01, weight_decay=0.1),
    "free": lambda: ScheduleFree(0.05, weight_decay=0.1),
}


def network(name="with numbers", kind=Network, dtype="float64", **options):
    options = {"loss": "cross_entropy", "seed": 4} | options
    first = FIRST[name] | options.pop("first", {})
    layers = [Dense(33, "tanh", **first), Dense(N_OUT, "softmax")]
    return kind.from_layers(N_IN, layers, dtype=dtype, **options)


def data(name="with numbers", n=60, dtype="float64"):
    rng = np.random.default_rng(1)
    levels = FIRST[name]["categories"].levels
    X = rng.normal(size=(n, N_IN)).astype(np.float32)
    X[:, N_IN - len(levels) :] = rng.integers(-1, levels, size=(n, len(levels)))
    return X.astype(dtype), rng.integers(N_OUT, size=n)


def stack(name):
    """Hidden layers for `layer_cases`, on 17 inputs."""
    return [Dense(33, "tanh", **FIRST[name]), Dense(7, "softplus")]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 5, 16, 61])
@pytest.mark.parametrize("name", FIRST)
def test_passes_agree_with_the_reference(name, n, dtype):
    s = np.linspace(0.5, 1.5, n)
    check(lambda *case: embedded_passes(*case, s), stack(name), dtype, n=n, loss="squared_error")
    check(embedded_passes, stack(name), dtype, n=n, l2=0.01)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FIRST)
def test_trajectories_agree_with_the_reference(name, dtype):
    run = training(lambda: SGD(0.02, momentum=0.9), epochs=2, batch_size=9)
    check(run, stack(name), dtype)


@pytest.mark.parametrize("name", FIRST)
def test_the_reference_agrees_with_the_complex_step(name):
    net, (X, y) = network(name, reference.Network), data(name, 7)
    _, grad = net.value_and_grad(X, y)
    h = 1e-30
    vectors = np.flatnonzero(grad[-net.layers[0].parameters()["vectors"].size - 3 :])[:60]
    for k in [*range(0, net.theta.size, 97), *vectors]:
        theta = net.theta.astype(complex)
        theta[k] += 1j * h
        assert objective(net, X, y, theta).imag / h == pytest.approx(grad[k], rel=1e-9, abs=1e-13)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FIRST)
def test_gradcheck(name, kind):
    gradcheck(network(name, kind, l2=0.01), *data(name, 7), max_per_block=10)


@pytest.mark.parametrize("name", FIRST)
def test_trainings_agree_with_the_reference(name):
    X, y = data(name)
    nets = [network(name, kind) for kind in KINDS]
    for net in nets:
        s = np.linspace(0, 1, len(X))
        net.fit(X, y, sample_weight=s, epochs=2, batch_size=16, optimizer=Adam(0.01))
    np.testing.assert_allclose(nets[0].theta, nets[1].theta, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("batch_size", [1, 7, 60])
@pytest.mark.parametrize("rule", RULES)
def test_rules_agree_with_the_reference(rule, batch_size):
    X, y = data()
    found = []
    for kind in KINDS:
        net, optimizer = network(kind=kind), RULES[rule]()
        net.fit(X, y, epochs=2, batch_size=batch_size, optimizer=optimizer)
        average = [] if optimizer.average is None else optimizer.average
        found.append(np.concatenate([net.theta, average, *optimizer.moments]))
    np.testing.assert_allclose(*found, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("by_hand", [False, True], ids=["train_batch", "step"])
def test_rows_without_a_gradient_stay(rule, by_hand):
    """… with their moments: those that no sample of the batch reads, or only one with weight 0."""
    net, (X, y) = network(), data(n=12)
    s = np.arange(12) % 3  # the first sample has no weight, so later rows have to move up
    optimizer = RULES[rule]()
    net.fit(*data(), epochs=1, batch_size=20, optimizer=optimizer)
    before = [net.layers[0].tables[1].copy()]
    categories = net.dense[0].categories

    def rows(moment):
        return categories.tables(net.blocks(moment)[0]["vectors"])[1]

    before += [rows(moment).copy() for moment in optimizer.moments]
    if by_hand and optimizer.extrapolates:
        with optim.extrapolated(net, optimizer):
            net.forward(X)
            net.backward(y, s)
        net.step(optimizer)
    elif by_hand:
        net.forward(X)
        net.backward(y, s)
        net.step(optimizer)
    else:
        net.train_batch(X, y, sample_weight=s, optimizer=optimizer)
    read = np.isin(np.arange(1000), X[s > 0, -2])
    after = [net.layers[0].tables[1], *map(rows, optimizer.moments)]
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old[~read], new[~read])
    assert (before[0][read] != after[0][read]).all()


def test_an_average_moves_to_rows_that_stay():
    X, y = data(n=12)
    found = []
    for kind in KINDS:
        net, optimizer = network(kind=kind), SGD(0.5, ema=0.5)
        net.train_batch(X, y, optimizer=optimizer)
        for _ in range(3):  # of other rows
            net.train_batch(np.where(np.arange(N_IN) == 7, 0, X), y, optimizer=optimizer)
        found.append(optimizer.average.copy())
    np.testing.assert_allclose(*found, rtol=1e-12, atol=1e-14)


def test_a_table_is_a_one_hot_product():
    """A network of one-hot inputs, whose first weights are the products, has the same z."""
    net, (X, _) = network("alone"), data("alone")
    own = net.layers[0]
    W = own.scale[:, None] * own.W
    plain = Network((sum(net.dense[0].categories.levels), 33, N_OUT), dtype="float64", seed=0)
    one_hot, at, unit = [], 0, 0
    for column, table in zip(X.T, own.tables, strict=True):
        n, width = table.shape
        plain.layers[0].W[at : at + n] = table @ W[unit : unit + width]
        one_hot.append(column[:, None] == np.arange(n))
        at, unit = at + n, unit + width
    plain.layers[0].b = own.b
    plain.forward(np.hstack(one_hot))
    net.forward(X)
    np.testing.assert_allclose(plain.layers[0].z, own.z, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_has_the_same_bits_alone_and_in_a_batch(dtype):
    net, (X, _) = network(dtype=dtype), data(n=301, dtype=dtype)
    whole = net.predict(X)
    assert net.forward(X).tobytes() == whole.tobytes()
    assert b"".join(net.predict(row[None]).tobytes() for row in X) == whole.tobytes()


@pytest.mark.parametrize("n_threads", [2, 5])
def test_bits_do_not_depend_on_threads(n_threads):
    def train(n_threads):
        rng = np.random.default_rng(0)
        first = Dense(300, "relu", categories=Categories([50] * 40, 17), scale=True)
        net = Network.from_layers(100, [first, Dense(200, "tanh"), Dense(3)], seed=1)
        X, y = rng.normal(size=(90, 100)), rng.normal(size=(90, 3))
        X[:, 60:] = rng.integers(-1, 50, size=(90, 40))
        net.fit(X, y, epochs=2, batch_size=40, optimizer=Adam(), n_threads=n_threads)
        return net.theta.tobytes()

    assert train(n_threads) == train(1)


def test_codes_of_other_types_and_orders_give_the_same_bits():
    X, y = data("alone")
    nets = [network("alone") for _ in range(4)]
    forms = (X, X.astype(np.int32), X.astype(np.float32), np.asfortranarray(X))
    for net, rows in zip(nets, forms, strict=True):
        net.fit(rows, y, epochs=2, batch_size=8)
    assert len({net.theta.tobytes() for net in nets}) == 1


@pytest.mark.parametrize("precision", ["high", "medium"])
def test_lower_precision_trains(precision):
    X, y = data(n=200)
    net = network(dtype="float32", matmul_precision=precision)
    history = net.fit(X, y, epochs=20, batch_size=50, optimizer=Adam(0.01))
    assert history.loss[-1] < 0.5 * history.loss[0]


def test_members_of_a_population_have_their_own_bits():
    alone, together = alone_and_together([network(seed=i) for i in range(3)], *data())
    assert alone == together


def test_members_with_other_levels_check_the_codes_on_their_own():
    X, y = data()
    fewer = {"categories": Categories([4, 1000, 2], WIDTHS)}
    members = Population([network(), network(first=fewer)])
    with pytest.raises(ValueError, match=r"column 6, which is a category: expected .* 0 to 3"):
        members.fit(X, y, epochs=1)
    with pytest.raises(ValueError, match=r"column 6, which is a category: expected .* 0 to 3"):
        good = np.where(np.arange(N_IN) == 6, 0, X)
        members.fit(good, y, epochs=1, validation_data=(X, y))


def test_accumulated_batches_frozen_layers_and_line_searches():
    X, y = data(n=48)
    nets = [network(kind=kind) for kind in KINDS]
    for net in nets:
        net.fit(X, y, epochs=2, batch_size=8, accumulate=3, optimizer=Adam(0.01))
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


def test_streams_give_the_same_bits_and_check_codes():
    X, y = data()
    nets = [network() for _ in range(2)]
    options = {"epochs": 2, "batch_size": 8, "shuffle": False}
    nets[0].fit(X, y, optimizer=Adam(0.01), **options)
    nets[1].fit(fastbp.stream(X, y, block_rows=16), optimizer=Adam(0.01), **options)
    assert nets[0].theta.tobytes() == nets[1].theta.tobytes()
    X[50, 6] = 7
    with pytest.raises(ValueError, match=r"column 6, which is a category"):
        nets[1].fit(fastbp.stream(X, y, block_rows=16), **options)


def test_the_first_values_and_their_views():
    net = network("with embedded numbers")
    first = net.layers[0]
    assert [table.shape for table in first.tables] == list(zip(LEVELS, WIDTHS, strict=True))
    with pytest.raises(TypeError):  # else nothing would be set
        first.tables[0] = first.tables[0]
    assert first.W.shape == (9 - 3 + 4 * 3 + sum(WIDTHS), 33) and net.widths[0] == 9
    assert first.tables[1].std() == pytest.approx(0.5, rel=0.05)
    assert list(first.embedding) == ["frequencies", "phases", "projections", "offsets"]
    first.tables[0][...] = 0.25
    assert (first.parameters()["vectors"][:35] == 0.25).all()
    assert net.layers[1].tables == net.layers[1].dtables == ()
    assert "3 categories" in net.summary()
    X, y = data()
    net.value_and_grad(X, y)
    read = np.isin(np.arange(1000), X[:, -2])
    assert (first.dtables[1][~read] == 0).all() and (first.dtables[1][read] != 0).any(axis=1).all()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Categories([]), ValueError, "levels is empty"),
        (lambda: Categories(7), TypeError, r"such as \[200\] for one with 200 levels; got 7"),
        (lambda: Categories({3, 4}), TypeError, "levels must be a list"),
        (lambda: Categories([7], embedding_dim=8), TypeError, "width"),
        (lambda: Dense(2, embedding=Categories([3])), TypeError, "write categories="),
        (lambda: Dense(2, categories=Periodic(3)), TypeError, "write embedding="),
        (lambda: Categories([3, 0]), ValueError, r"levels\[1\] must be at least 1"),
        (lambda: Categories([2**31]), ValueError, r"levels\[0\] must be at most 2147483647"),
        (lambda: Categories([3], 0), ValueError, "width must be at least 1"),
        (lambda: Categories([3], 5000), ValueError, "width must be at most 4096; got 5000"),
        (lambda: Categories([3, 3], [1]), ValueError, "width has 1 numbers, and levels has 2"),
        (lambda: Categories([3], std=0), ValueError, "std must be greater than 0"),
        (lambda: Dense(2, categories=[3]), TypeError, r"such as Categories\(\[12, 300\]\)"),
        (
            lambda: Network.from_layers(1, [Dense(2, categories=Categories([3, 3])), Dense(1)]),
            ValueError,
            "the categories of layers.0. are 2 inputs, and the network has 1 inputs",
        ),
        (
            lambda: Network.from_layers(
                2, [Dense(2, categories=Categories([3]), embedding=Periodic(2)), Dense(1)]
            ),
            ValueError,
            "are 1 inputs, after 2 embedded numbers",
        ),
        (
            lambda: Network.from_layers(1, [Dense(2, categories=Categories([2**24 + 1], 1))]),
            ValueError,
            "at most 16777216 for a network of float32",
        ),
        (
            lambda: Network.from_layers(3, [Dense(2), Dense(1, categories=Categories([2]))]),
            ValueError,
            r"layers\[1\] has an embedding, which is for the inputs",
        ),
        (
            lambda: Network.from_layers(2, [Dense(2, categories=Categories([2]), residual=True)]),
            ValueError,
            "cannot be residual",
        ),
        (lambda: network(input_dropout=0.1), ValueError, "input_dropout does not go together"),
        (
            lambda: network(first={"scale": False}).fit(*data(), parts=2),
            ValueError,
            "not trained in parts",
        ),
        (lambda: network().jacobian(data()[0]), ValueError, "does not go through an embedding"),
        (lambda: export.to_state_dict(network()), ValueError, "cannot hold an embedding"),
    ],
)
def test_what_does_not_go_together_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("code", [7, -2, 0.5, np.nan, np.inf, -np.inf, 1e30])
def test_wrong_codes_are_refused_before_anything_changes(kind, code):
    net, (X, y) = network(kind=kind), data()
    X[31, 6] = code
    before = net.theta.copy()
    message = r"in row 31, column 6, which is a category: expected a code from 0 to 6, or −1"
    for call in (net.predict, net.forward, lambda X: net.fit(X, y), lambda X: net.loss(X, y)):
        with pytest.raises(ValueError, match=message):
            call(X)
    with pytest.raises(ValueError, match="in row 0, column 6"):
        net.predict(X[31:32])
    with pytest.raises(ValueError, match=message):
        net.train_batch(X, y, optimizer=SGD(0.1))
    np.testing.assert_array_equal(net.theta, before)


def test_the_work_of_a_step_does_not_grow_with_the_levels():
    """… so that small steps do not wake threads, and explain does not count what nobody reads."""
    found = []
    for n in (1000, 100_000):
        layers = [Dense(16, "relu", categories=Categories([n])), Dense(1)]
        net = Network.from_layers(3, layers, seed=0)
        X, y = np.zeros((64, 3), np.float32), np.zeros((64, 1), np.float32)
        text = str(net.explain(X, y, batch_size=64, seconds=0.01))
        found.append(text.partition("MFLOP")[0].split()[-1])
    assert found[0] == found[1]


def test_the_engine_itself_reads_nothing_for_codes_out_of_range():
    """Another thread may change X after it was checked."""
    net, (X, _) = network(), data(n=8)
    expected = net.predict(np.where(np.arange(N_IN) == 6, -1, X))
    out = np.empty((8, N_OUT))
    for code in (7, -5, np.nan, np.inf, -np.inf, 1e300, -1e300):
        X[:, 6] = code
        net._backend.net.predict(net.theta, X, out)
        np.testing.assert_array_equal(out, expected)


def test_sparse_rows_are_refused():
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    with pytest.raises(TypeError, match="embedding or residual: write X.toarray"):
        network().predict(sparse.csr_matrix(data()[0]))


@pytest.mark.parametrize("name", FIRST)
def test_files_and_copies_keep_them(name, tmp_path):
    net, (X, _) = network(name), data(name)
    path = tmp_path / "net.safetensors"
    net.save(path)
    tensors, metadata = fastbp.io.read_safetensors(path)
    assert metadata["version"] == "9" and tensors["layers.0.vectors"].ndim == 1
    for again in (fastbp.load(path), copy.deepcopy(net)):
        assert again.predict(X).tobytes() == net.predict(X).tobytes() and again.dense == net.dense
    architecture = json.loads(metadata["architecture"])
    forgeries = {
        "more": (1, "the categories of layer 0 has the unknown field"),
        "levels": ([10**12], r"levels\[0\] must be at most 2147483647"),
        "width": ("8", "width in the categories of layer 0 must be a list of integers"),
    }
    for field, (value, message) in forgeries.items():
        forged = copy.deepcopy(architecture)
        forged["layers"][0]["categories"][field] = value
        text = metadata | {"architecture": json.dumps(forged)}
        fastbp.io.write_safetensors(path, tensors, text)
        with pytest.raises(fastbp.ModelFileError, match=message):
            fastbp.load(path)


TOLERANCE = {"float32": {"rtol": 1e-4, "atol": 1e-5}, "float64": {"rtol": 1e-10, "atol": 1e-11}}


@pytest.mark.once
@pytest.mark.parametrize("dtype", DTYPES)
def test_c_gives_the_predictions_of_the_network(dtype, tmp_path):
    nets = {f"net{i}": (name, network(name, dtype=dtype)) for i, name in enumerate(FIRST)}
    source = "".join(export.c(net, name=key) for key, (_, net) in nets.items())
    library = compiled(source, tmp_path)
    for key, (name, net) in nets.items():
        X, _ = data(name, 20, dtype)
        np.testing.assert_allclose(
            predicted_in_c(library, net, X, key), net.predict(X), **TOLERANCE[dtype]
        )


@pytest.mark.once
def test_exports_take_codes_that_are_none_as_no_category(tmp_path):
    pytest.importorskip("onnx", reason="onnx is not installed")
    net, (X, _) = network(dtype="float32"), data(n=5, dtype="float32")
    X[:, 6] = -1
    expected = net.predict(X)
    model, library = export.onnx(net), compiled(export.c(net, name="net"), tmp_path)
    for code in (7, -2, -8, 100, np.nan):
        X[:, 6] = code
        for found in (predicted_in_onnx(model, X), predicted_in_c(library, net, X, "net")):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.once
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FIRST)
def test_onnx_gives_the_predictions_of_the_network(name, dtype):
    pytest.importorskip("onnx", reason="onnx is not installed")
    net, (X, _) = network(name, dtype=dtype), data(name, 20, dtype)
    np.testing.assert_allclose(
        predicted_in_onnx(export.onnx(net), X), net.predict(X), **TOLERANCE[dtype]
    )
