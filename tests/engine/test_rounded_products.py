"""The engine's products at "high" and "medium", against a reference that rounds the same factors.

Each product is compared with that of the engine's own factors in float64. A whole pass or training
is not, element by element: a factor near the middle of two bfloat16 numbers may be rounded up by
one of them and down by the other.
"""

import itertools

import numpy as np
import pytest

import fastbp
from fastbp import Dense, Norm, _core, reference
from fastbp.optim import SGD
from fastbp.reference._products import product, split

pytestmark = pytest.mark.products
EPS, TINY = (float(getattr(np.finfo(np.float32), name)) for name in ("eps", "tiny"))
ROUNDED = ("high", "medium")
BATCHES = (1, 7, 8, 9, 33, 130)
WIDTHS = ((5, 9, 17, 3), (64, 31, 32, 33, 10), (1, 1))
PLAIN = pytest.mark.parametrize(
    ("precision", "n", "widths"), list(itertools.product(ROUNDED, BATCHES, WIDTHS))
)


def problem(widths, n, precision, **options):
    options = {"activation": "tanh", "seed": 5, "matmul_precision": precision} | options
    net = fastbp.Network(widths, **options)
    rng = np.random.default_rng(n)
    for layer in net.layers:
        layer.b = rng.normal(size=layer.b.shape)
    X = rng.normal(size=(n, widths[0])).astype(np.float32)
    return net, X, rng.normal(size=(n, widths[-1])).astype(np.float32)


def check(computed, A, B, precision, addend=0.0, slope=1.0):
    """`computed` is slope (A B + addend) with rounded factors and with sums in float32.

    "high" is three sums of k products. Where they are made in float32, they include lo times lo.
    A slope is a difference of numbers up to 1.
    """
    A, B = A.astype(np.float64), B.astype(np.float64)
    expected = product(A, B, precision) + addend
    terms = abs(A) @ abs(B) * (1 + 2.0**-7) + abs(addend)
    error = (3 * A.shape[1] + 4) * EPS * terms + TINY
    if precision == "high":
        error += abs(split(A)[1]) @ abs(split(B)[1])
    error = error * abs(slope) + 4 * EPS * abs(expected)
    assert (abs(computed - slope * expected) <= error).all()


@PLAIN
def test_z(precision, n, widths):
    net, X, _ = problem(widths, n, precision)
    net.forward(X)
    below = X
    for layer in net.layers:
        check(layer.z, below, layer.W, precision, layer.b.astype(np.float64))
        below = layer.a


@PLAIN
@pytest.mark.parametrize("weighted", [False, True])
def test_delta_and_gradients(precision, n, widths, weighted):
    """σ' is that of an unrounded a, and db the sum of an unrounded δ."""
    net, X, y = problem(widths, n, precision)
    s = np.random.default_rng(7).uniform(0.5, 2, n).astype(np.float32) if weighted else None
    net.forward(X)
    net.backward(y, s)
    scale = np.ones((n, 1)) if s is None else s[:, None].astype(np.float64)
    for below, layer in itertools.pairwise(net.layers):
        slope = 1 - below.a.astype(np.float64) ** 2
        check(below.delta, layer.delta, layer.W.T, precision, slope=slope)
    u = X
    for layer in net.layers:
        scaled = (scale * layer.delta).astype(np.float32)
        check(layer.dW * scale.sum(), u.T, scaled, precision)
        db, terms = scaled.sum(axis=0, dtype=np.float64), abs(scaled).sum(axis=0)
        assert (abs(layer.db * scale.sum() - db) <= (n + 4) * EPS * terms).all()
        u = layer.a
    check(net.input_gradient(), net.layers[0].delta, net.layers[0].W.T, precision)


@pytest.mark.parametrize("precision", ROUNDED)
@pytest.mark.parametrize("n", BATCHES)
def test_sparse_rows(precision, n):
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    net, X, y = problem((40, 17, 3), n, precision)
    X *= np.random.default_rng(1).random(X.shape) < 0.2
    net.forward(sparse.csr_matrix(X))
    first = net.layers[0]
    check(first.z, X, first.W, precision, first.b.astype(np.float64))
    net.backward(y)
    check(first.dW * n, X.T, first.delta, precision)
    check(net.predict(sparse.csr_matrix(X)), net.layers[0].a, net.layers[1].W, precision,
          net.layers[1].b.astype(np.float64))  # fmt: skip


@pytest.mark.parametrize("precision", ROUNDED)
def test_predict_and_loss_round_too(precision):
    net, X, y = problem((40, 30, 7), 300, precision)
    out = net.forward(X)
    J = net.backward(y)
    scale = abs(out).max()
    np.testing.assert_allclose(net.predict(X), out, rtol=0, atol=90 * EPS * scale)
    assert net.loss(X, y) == pytest.approx(J, rel=90 * EPS)
    net.matmul_precision = "highest"
    assert not np.array_equal(net.predict(X), out)


@pytest.mark.parametrize("precision", ROUNDED)
@pytest.mark.parametrize("value", [1e-40, -1e-40])
def test_subnormal_factors_count_as_zero(precision, value):
    net = problem((12, 5), 9, precision)[0]
    net.layers[0].W = np.full((12, 5), value, np.float32)
    out = net.forward(np.full((9, 12), 1e38, np.float32))
    np.testing.assert_array_equal(out, np.tile(net.layers[0].b, (9, 1)))


@pytest.mark.parametrize("precision", ROUNDED)
@pytest.mark.parametrize("n", BATCHES)
def test_nan_and_infinity_reach_the_outputs(precision, n):
    net, X, _ = problem((12, 5), n, precision)
    X[0, 3], X[-1, 4] = (np.inf, np.inf) if n == 1 else (np.nan, np.inf)
    out = net.forward(X)
    assert not np.isfinite(out[[0, -1]]).any() and np.isfinite(out[1:-1]).all()
    X[...] = 3.4e38  # finite in float32, and beyond the range of bfloat16
    assert not np.isfinite(net.predict(X)).any()


# ---- how they are made --------------------------------------------------------------------------


def test_the_engine_names_how_products_are_made():
    few, many = 8, 9
    own = "f32 of rounded factors"
    in_bfloat16 = {
        "avx512_bf16": {"high": own, "medium": "avx512_bf16"},
        **{isa: dict.fromkeys(ROUNDED, isa) for isa in ("amx", "amx_emulated")},
    }
    for precision in ROUNDED:
        net = problem((3, 2), 1, precision)[0]._backend.net
        assert net.products(few) == own
        ways = in_bfloat16.get(_core.isa(), dict.fromkeys(ROUNDED, own))
        assert net.products(many) == ways[precision]
    assert problem((3, 2), 1, "highest")[0]._backend.net.products(many) == "f32"
    assert fastbp.Network((3, 2), dtype="float64")._backend.net.products(many) == "f64"


@pytest.mark.parametrize("precision", ROUNDED)
@pytest.mark.parametrize("dtype", ["float64", "float16", "int8", "uint16"])
def test_x_of_another_type_gives_the_bits_of_x_in_float32(dtype, precision):
    found = []
    for convert in (False, True):
        net, X, y = problem((19, 33, 3), 70, precision)
        X = np.rint(3 * X).clip(0).astype(dtype)
        net.fit(X.astype(np.float32) if convert else X, y, epochs=1, batch_size=32)
        net.forward(X.astype(np.float32) if convert else X)
        net.backward(y)
        found.append(net.theta.tobytes() + net.grad.tobytes() + net.predict(X).tobytes())
    assert found[0] == found[1]


@pytest.mark.parametrize("precision", ROUNDED)
@pytest.mark.parametrize("n", [7, 40])
def test_a_session_takes_sparse_and_dense_rows_in_turn(precision, n):
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    trained = []
    for kinds in itertools.product((np.asarray, sparse.csr_matrix), repeat=2):
        net, X, y = problem((40, 17, 3), n, precision)
        X *= np.random.default_rng(1).random(X.shape) < 0.2
        sgd = SGD(0.01)
        for kind in (*kinds, kinds[0]):
            net.train_batch(kind(X), y, sgd)
        trained.append(net.theta.copy())
    for theta in trained[1:]:
        np.testing.assert_allclose(theta, trained[0], rtol=0, atol=2.0**-12)


@pytest.mark.parametrize("precision", ROUNDED)
def test_a_pass_that_rounds_has_no_other_derivatives(precision):
    net, X, _ = problem((5, 4, 2), 9, precision)
    rounding = _core.Pass(net._backend.net, 9)
    rounding.forward(net.theta, X)
    with pytest.raises(ValueError, match="argument"):
        _core.vjp(rounding, net.theta, np.ones((9, 2), np.float32), np.empty((9, 5), np.float32))
    with pytest.raises(ValueError, match="argument"):
        _core.jvp(rounding, net.theta, X, None, np.empty((9, 2), np.float32))


# ---- whole networks -----------------------------------------------------------------------------

OPTIONS = {
    "plain": [Dense(40, "tanh"), Dense(33, "gelu"), Dense(4)],
    "norms": [Dense(40, "tanh", norm="layer"), Dense(33, "silu", norm=Norm("rms")), Dense(4)],
    "residual": [Dense(24, "tanh"), Dense(24, "tanh", residual=True), Dense(4)],
    "dropout": [Dense(40, "tanh", dropout=0.3), Dense(33, "tanh", dropout=0.1), Dense(4)],
    "no bias": [Dense(40, "tanh", bias=False), Dense(4, max_norm=1.0)],
    "frozen": [Dense(40, "tanh", trainable=False), Dense(33, "tanh"), Dense(4, non_negative=True)],
}


def trained(module, case, precision, **fit):
    options = {"dtype": "float32" if module is fastbp else "float64", "seed": 2}
    layers, drop = OPTIONS[case], {"input_dropout": 0.1 * (case == "dropout")}
    net = module.Network.from_layers(24, layers, matmul_precision=precision, l2=1e-3, **options,
                                     **drop)  # fmt: skip
    rng = np.random.default_rng(3)
    X, y = (rng.normal(size=(90, n)).astype(np.float32) for n in (24, 4))
    s = rng.choice([0.5, 1, 2], 90)  # powers of 2: `fit` rounds s δ, as the reference rounds δ
    net.fit(X, y, epochs=2, batch_size=30, optimizer=SGD(0.05, 0.9), sample_weight=s, **fit)
    return np.concatenate([net.theta.astype(np.float64), net.predict(X).ravel()])


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("precision", ROUNDED)
@pytest.mark.parametrize("case", OPTIONS)
def test_trainings_agree_with_the_reference(case, precision, accumulate):
    """One factor in a thousand may be rounded another way; float32 and lo·lo are for "high"."""
    fit = {"accumulate": accumulate}
    engine = trained(fastbp, case, precision, **fit)
    exact, same = (trained(reference, case, each, **fit) for each in ("highest", precision))
    rounding = np.linalg.norm(same - exact)
    assert rounding > 0
    allowed = 0.25 * rounding if precision == "medium" else rounding + 1e-5 * np.linalg.norm(exact)
    assert np.linalg.norm(engine - same) < allowed


@pytest.mark.parametrize("precision", ROUNDED)
@pytest.mark.parametrize("batch_size", [7, 200])
def test_bits_do_not_depend_on_the_number_of_threads(precision, batch_size):
    found = set()
    for n_threads in (1, 2, 3, 7):
        net, X, y = problem((200, 300, 100), 400, precision)
        net.fit(X, y, epochs=1, batch_size=batch_size, n_threads=n_threads)
        fastbp.set_num_threads(n_threads)
        found.add(net.theta.tobytes() + net.predict(X).tobytes())
    assert len(found) == 1


@pytest.fixture(autouse=True)
def threads_as_before():
    n = fastbp.get_num_threads()
    yield
    fastbp.set_num_threads(n)
