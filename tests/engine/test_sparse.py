"""Sparse rows of X give the same results as the same rows in a dense array."""

import numpy as np
import pytest

import fastbp
from fastbp import _core
from fastbp._checks import arguments as check

sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")


def matrix(n, n_in, density, dtype, seed=0):
    rng = np.random.default_rng(seed)
    full = rng.standard_normal((n, n_in)) * (rng.random((n, n_in)) < density)
    full[n // 2] = 0  # an empty row
    return sparse.csr_matrix(full.astype(dtype))


def network(dtype, widths=(300, 37, 5), **options):
    options = {"output": "softmax", "loss": "cross_entropy", "seed": 1} | options
    return fastbp.Network(widths, dtype=dtype, **options)


def tolerance(dtype, n):
    """Two ways of summing n products differ by at most 2 n eps Σ|a||b|."""
    return {"rtol": 4 * n * float(np.finfo(dtype).eps), "atol": 4 * n * float(np.finfo(dtype).eps)}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [1, 3, 700])
@pytest.mark.parametrize("activation", ["relu", "silu", "tanh"])
def test_predict_and_loss(dtype, rows, activation):
    X = matrix(rows, 300, 0.1, dtype)
    y = np.random.default_rng(0).integers(0, 5, rows)
    net = network(dtype, activation=activation)
    full = X.toarray()
    near = tolerance(dtype, 300)
    np.testing.assert_allclose(net.predict(X), net.predict(full), **near)
    assert net.loss(X, y) == pytest.approx(net.loss(full, y), rel=near["rtol"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("widths", "batch", "options"),
    [
        ((300, 37, 5), 64, {}),
        ((300, 37, 5), 4, {}),
        ((17, 5), 8, {"l2": 0.01}),
        ((1000, 300, 5), 100, {"activation": "silu"}),
    ],
)
def test_fits_make_the_same_steps(dtype, widths, batch, options):
    X = matrix(260, widths[0], 0.05, dtype)
    y = np.random.default_rng(0).integers(0, 5, 260)
    weights = np.linspace(0.1, 2, 260)
    nets = [network(dtype, widths, **options) for _ in range(2)]
    losses = [
        net.fit(
            each,
            y,
            epochs=3,
            batch_size=batch,
            sample_weight=weights,
            optimizer=fastbp.optim.SGD(0.1, momentum=0.9),
        ).loss
        for net, each in zip(nets, (X, X.toarray()), strict=True)
    ]
    steps = 3 * 260 // batch
    near = tolerance(dtype, 300 * steps)
    np.testing.assert_allclose(losses[0], losses[1], **near)
    np.testing.assert_allclose(nets[0].theta, nets[1].theta, **near)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_passes(dtype):
    X = matrix(90, 300, 0.1, dtype)
    y = np.random.default_rng(0).integers(0, 5, 90)
    weights = np.linspace(0.1, 2, 90)
    net = network(dtype)
    near = tolerance(dtype, 300)
    a = net.forward(X)
    J = net.backward(y, weights)
    found = net.grad.copy(), net.input_gradient()
    np.testing.assert_allclose(a, net.forward(X.toarray()), **near)
    assert net.backward(y, weights) == pytest.approx(J, rel=near["rtol"])
    np.testing.assert_allclose(found[0], net.grad, **near)
    np.testing.assert_allclose(found[1], net.input_gradient(), **near)
    assert net.value_and_grad(X, y)[0] == pytest.approx(net.loss(X, y), rel=near["rtol"])


def test_any_number_of_threads_gives_the_same_bits():
    X = matrix(600, 2000, 0.02, "float32")
    y = np.random.default_rng(0).integers(0, 5, 600)
    found = []
    for threads in (1, 2, 3):
        net = network("float32", (2000, 256, 5))
        net.fit(X, y, epochs=2, batch_size=256, n_threads=threads)
        found.append(net.theta.copy())
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_train_batch_with_options_of_layers():
    X = matrix(120, 80, 0.1, "float32")
    y = X.toarray()[:, :3]
    layers = [fastbp.Dense(16, "relu", norm="layer"), fastbp.Dense(16, "tanh", residual=True)]
    nets = [
        fastbp.Network.from_layers(80, [*layers, fastbp.Dense(3)], loss="mse", seed=0)
        for _ in range(2)
    ]
    adam = [fastbp.optim.SGD(0.05) for _ in nets]
    for start in range(0, 120, 30):
        part = slice(start, start + 30)
        J = [
            net.train_batch(each[part], y[part], optimizer)
            for net, optimizer, each in zip(nets, adam, (X, X.toarray()), strict=True)
        ]
        assert J[0] == pytest.approx(J[1], rel=1e-4), f"rows from {start}"
    np.testing.assert_allclose(nets[0].theta, nets[1].theta, rtol=1e-3, atol=1e-5)


def test_other_forms_of_sparse_matrices():
    X = matrix(50, 30, 0.2, "float64")
    net = network("float32", (30, 8, 5))
    expected = net.predict(X.toarray())
    shuffled = X.copy()
    for i in range(50):  # columns of a row in descending order
        part = slice(X.indptr[i], X.indptr[i + 1])
        shuffled.indices[part] = X.indices[part][::-1]
        shuffled.data[part] = X.data[part][::-1]
    shuffled.has_sorted_indices = shuffled.has_canonical_format = False
    twice = sparse.coo_matrix(
        (np.r_[X.data, X.data] / 2, (np.tile(X.tocoo().row, 2), np.tile(X.tocoo().col, 2))),
        shape=X.shape,
    )
    before = shuffled.data.copy()
    forms = {"csc": X.tocsc(), "unsorted": shuffled, "duplicates": twice}
    forms |= {"csr_array": sparse.csr_array(X), "float32": X.astype(np.float32)}
    for name, form in forms.items():
        np.testing.assert_allclose(net.predict(form), expected, 1e-4, 1e-6, err_msg=name)
    np.testing.assert_array_equal(shuffled.data, before)


def test_the_reference_takes_sparse_rows():
    X = matrix(40, 30, 0.2, "float64")
    y = np.random.default_rng(0).integers(0, 5, 40)
    net = network("float64", (30, 8, 5))
    twin = fastbp.reference.Network((30, 8, 5), output="softmax", loss="cross_entropy", seed=1)
    full = X.toarray()
    np.testing.assert_array_equal(twin.forward(X), twin.forward(full))
    np.testing.assert_array_equal(twin.predict(X), twin.predict(full))
    assert twin.loss(X, y) == twin.loss(full, y) == twin.value_and_grad(X, y)[0]
    sgd = fastbp.optim.SGD(0.1)
    assert twin.train_batch(X, y, sgd) == pytest.approx(net.train_batch(X, y, sgd), rel=1e-10)
    histories = [each.fit(X, y, epochs=2, batch_size=16) for each in (net, twin)]
    np.testing.assert_allclose(histories[0].loss, histories[1].loss, rtol=1e-10)


KINDS = pytest.mark.parametrize("kind", [fastbp.Network, fastbp.reference.Network])


def trained(kind, *source, **options):
    """theta after two epochs of a network 30-8-5."""
    net = kind((30, 8, 5), output="softmax", loss="cross_entropy", dtype="float64", seed=1)
    net.fit(*source, **{"epochs": 2, "batch_size": 8, "shuffle": False} | options)
    return net.theta


@KINDS
def test_streams(kind):
    X = matrix(40, 30, 0.2, "float64")
    y = np.random.default_rng(0).integers(0, 5, 40)

    def blocks():  # of growing sizes; each is overwritten before the next one
        for first, end in ((0, 8), (8, 24), (24, 40)):
            block = X[first:end].copy()
            yield block, y[first:end]
            block.data[:] = np.nan

    whole = trained(kind, X, y)
    np.testing.assert_array_equal(trained(kind, fastbp.stream(X, y, block_rows=16)), whole)
    np.testing.assert_array_equal(trained(kind, fastbp.stream(blocks)), whole)
    X.data[-1] = np.inf
    with pytest.raises(ValueError, match=r"X\[32:40\] holds NaN or infinity"):
        trained(kind, fastbp.stream(X, y, block_rows=16))


@KINDS
@pytest.mark.parametrize("streamed", [False, True])
def test_checkpoints(kind, streamed, tmp_path):
    X = matrix(40, 30, 0.2, "float64")
    y = np.random.default_rng(0).integers(0, 5, 40)
    source = (fastbp.stream(X, y, block_rows=16),) if streamed else (X, y)
    trained(kind, *source, epochs=1, checkpoint=tmp_path)
    resumed = trained(kind, *source, checkpoint=tmp_path, resume=True)
    np.testing.assert_array_equal(resumed, trained(kind, *source))
    with pytest.raises(ValueError, match="its data is"):
        trained(kind, 2 * X, y, checkpoint=tmp_path)


def test_lbfgs():
    X = matrix(40, 30, 0.2, "float64")
    y = np.random.default_rng(0).integers(0, 5, 40)
    found = [
        trained(fastbp.Network, rows, y, optimizer=fastbp.optim.LBFGS(5), epochs=1)
        for rows in (X, X.toarray())
    ]
    np.testing.assert_allclose(*found, rtol=1e-9, atol=1e-12)


def test_bad_sparse_input_is_refused():
    X = matrix(40, 30, 0.2, "float32")
    y = np.zeros(40, int)
    net = network("float32", (30, 8, 5))
    with pytest.raises(ValueError, match=r"X has 29 columns; the network takes 30 \(widths\[0\]\)"):
        net.predict(X[:, 1:])
    with pytest.raises(ValueError, match="X has no rows; give at least one sample"):
        net.predict(X[:0])
    with pytest.raises(TypeError, match="real numbers"):
        net.predict(X.astype(complex))
    damaged = X.copy()
    damaged.indices[3] = 30
    with pytest.raises(ValueError, match=r"column 30 outside 0 … 29"):
        net.predict(damaged)
    spoiled = X.copy()
    spoiled.data[3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        net.fit(spoiled, y, epochs=1)
    assert np.isnan(net.predict(spoiled)).any()
    whole = fastbp.Network.from_layers(30, [fastbp.Dense(5)], input_dropout=0.5)
    with pytest.raises(TypeError, match="whole rows"):
        whole.predict(X)


@pytest.mark.parametrize(("input_dropout", "residual"), [(0.5, False), (0.0, True)])
def test_the_engine_alone_refuses_sparse_rows_where_it_needs_whole_ones(input_dropout, residual):
    """A caller in C has no check of Python before it."""
    layers = [fastbp.Dense(30, residual=residual), fastbp.Dense(5)]
    net = fastbp.Network.from_layers(30, layers, input_dropout=input_dropout)
    X = check.as_inputs(matrix(8, 30, 0.2, net.dtype), 30, net.dtype)
    with pytest.raises(ValueError, match="the engine refused an argument"):
        _core.Pass(net._backend.net, 8).forward(net.theta, X)


def damaged(part, array):
    """A matrix with one array replaced, after SciPy has checked it and cached the result."""
    X = matrix(40, 30, 0.2, "float32")
    assert X.has_canonical_format
    setattr(X, part, array(getattr(X, part)))
    return X


def changed(at, value, dtype=None):
    """A function that returns a copy with another value at one index."""

    def change(array):
        array = array.astype(dtype or array.dtype)
        array[at] = value
        return array

    return change


@pytest.mark.parametrize(
    ("part", "array", "says"),
    [
        ("indices", lambda a: a[:10], r"indptr ends with \d+; indices holds 10"),
        ("data", lambda a: a[:10], r"indptr ends with \d+; data holds 10"),
        ("indptr", lambda a: a[:10], "indptr has 10 entries; it needs 41"),
        ("indptr", changed(0, 1), "must begin with 0; it begins with 1"),
        ("indptr", changed(3, 2**31, np.uint32), r"must not fall; indptr\[3\] is 2147483648"),
        ("indptr", changed(3, 2**63, np.uint64), "must not fall"),
        ("indptr", changed(-1, 2**31, np.uint32), "indptr ends with 2147483648"),
        ("indptr", changed(3, -1), "must not fall"),
        ("indptr", lambda a: a.astype(float), "whole numbers"),
        ("indices", changed(4, 30), "column 30 outside 0 … 29"),
        ("indices", changed(4, -1), "column -1 outside 0 … 29"),
        ("indices", changed(4, 2**32 + 1, np.int64), "column 4294967297 outside 0 … 29"),
        ("indices", changed(4, 2**64 - 1, np.uint64), "column -1 outside 0 … 29"),
        ("indices", lambda a: a[:, None], "1-D"),
    ],
)
@pytest.mark.parametrize("kind", [fastbp.Network, fastbp.reference.Network])
def test_a_damaged_structure_is_refused(kind, part, array, says):
    """Even with a cached has_canonical_format, and for unsigned numbers, whose differences wrap."""
    X, y = damaged(part, array), np.zeros(40, int)
    net = kind((30, 8, 5), output="softmax", loss="cross_entropy", seed=1)
    before = net.theta.copy()
    refused = pytest.raises(ValueError, match=f"X is damaged: .*{says}")
    with refused:
        net.predict(X)
    with refused:
        net.forward(X)
    with refused:
        net.loss(X, y)
    with refused:
        net.fit(X, y)
    with refused:
        net.train_batch(X, y, fastbp.optim.SGD())
    np.testing.assert_array_equal(net.theta, before)


@pytest.mark.parametrize("form", ["csc", "bsr", "coo"])
def test_a_damaged_structure_of_another_form_is_refused(form):
    """Before SciPy converts it, because the conversion does not check."""
    X = matrix(40, 30, 0.2, "float32").asformat(form)
    (X.row if form == "coo" else X.indices)[4] = 2**30
    with pytest.raises(ValueError, match="X is damaged: it has a .* 1073741824 outside"):
        network("float32", (30, 8, 5)).predict(X)


@pytest.mark.parametrize("flag", [True, False])
def test_order_and_duplicates_do_not_depend_on_flags(flag):
    """Descending and repeated columns are right even if SciPy's cached flags are wrong."""
    X = matrix(40, 30, 0.2, "float32")
    X.indices[:] = X.indices[::-1] // 2
    X.has_sorted_indices = X.has_canonical_format = flag
    rows = np.zeros((40, 30), "float32")
    np.add.at(rows, (np.repeat(np.arange(40), np.diff(X.indptr)), X.indices), X.data)
    net = network("float32", (30, 8, 5))
    np.testing.assert_allclose(net.predict(X), net.predict(rows), **tolerance("float32", 30))
    assert not X.has_sorted_indices or flag  # X itself has not changed
