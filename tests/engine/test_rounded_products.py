"""The engine's products at "high" and "medium", against a reference that rounds the same factors.

Each product is compared with that of the engine's own factors in float64. Where sums are exact,
there is no tolerance, and a factor that is not rounded is found.
"""

import itertools

import numpy as np
import pytest
from product_cases import OWN, ROUNDED, product_in, way_of

import fastbp
from fastbp import _core
from fastbp._types import SessionOptions
from fastbp.optim import SGD
from fastbp.reference._products import product

pytestmark = pytest.mark.products
EPS, TINY = (float(getattr(np.finfo(np.float32), name)) for name in ("eps", "tiny"))
EPS64 = float(np.finfo(np.float64).eps)
FEW, MANY = 12, 13  # rows: rounded in float32, and in bfloat16 where that is faster
BATCHES = (1, 7, FEW, MANY, 33, 130)
BLOCKS = 2000  # rows: several blocks of rows, because their z, a and δ need 3 MB
WIDTHS = ((5, 9, 17, 3), (64, 31, 32, 33, 10), (1, 1))
PLAIN = pytest.mark.parametrize(
    ("precision", "n", "widths"),
    [
        *itertools.product(ROUNDED, BATCHES, WIDTHS),
        *((precision, BLOCKS, WIDTHS[1]) for precision in ROUNDED),
    ],
)


def problem(widths, n, precision, **options):
    options = {"activation": "tanh", "seed": 5, "matmul_precision": precision} | options
    net = fastbp.Network(widths, **options)
    rng = np.random.default_rng(n)
    for layer in net.layers:
        layer.b = rng.normal(size=layer.b.shape)
    X = rng.normal(size=(n, widths[0])).astype(np.float32)
    return net, X, rng.normal(size=(n, widths[-1])).astype(np.float32)


def check(computed, A, B, precision, way, addend=0.0, slope=1.0):
    """`computed` is slope (A B + addend) with rounded factors and with sums in float32.

    In bfloat16, "high" is three sums of k products. A slope is a difference of numbers up to 1.
    """
    A, B = A.astype(np.float64), B.astype(np.float64)
    expected = product_in(way)(A, B, precision) + addend
    sums = 3 if precision == "high" and way != OWN else 1
    terms = abs(A) @ abs(B) * (1 + 2.0**-7) + abs(addend)
    error = (sums * A.shape[1] + 4) * EPS * terms + TINY
    error = error * abs(slope) + 4 * EPS * abs(expected)
    assert (abs(computed - slope * expected) <= error).all()


# ---- each product ------------------------------------------------------------------------------


@PLAIN
def test_z(precision, n, widths):
    net, X, _ = problem(widths, n, precision)
    way = way_of(precision, n)
    net.forward(X)
    below = X
    for layer in net.layers:
        check(layer.z, below, layer.W, precision, way, layer.b.astype(np.float64))
        below = layer.a


@PLAIN
@pytest.mark.parametrize("weighted", [False, True])
def test_delta_and_gradients(precision, n, widths, weighted):
    """σ' is that of an unrounded a, and db the sum of an unrounded δ."""
    net, X, y = problem(widths, n, precision)
    way = way_of(precision, n)
    s = np.random.default_rng(7).uniform(0.5, 2, n).astype(np.float32) if weighted else None
    net.forward(X)
    net.backward(y, s)
    scale = np.ones((n, 1)) if s is None else s[:, None].astype(np.float64)
    for below, layer in itertools.pairwise(net.layers):
        slope = 1 - below.a.astype(np.float64) ** 2
        check(below.delta, layer.delta, layer.W.T, precision, way, slope=slope)
    u = X
    for layer in net.layers:
        scaled = (scale * layer.delta).astype(np.float32)
        check(layer.dW * scale.sum(), u.T, scaled, precision, way)
        db, terms = scaled.sum(axis=0, dtype=np.float64), abs(scaled).sum(axis=0)
        assert (abs(layer.db * scale.sum() - db) <= (n + 4) * EPS * terms).all()
        u = layer.a
    check(net.input_gradient(), net.layers[0].delta, net.layers[0].W.T, precision, way)


@pytest.mark.parametrize("precision", ROUNDED)
@pytest.mark.parametrize("n", BATCHES)
def test_sparse_rows(precision, n):
    sparse = pytest.importorskip("scipy.sparse", reason="SciPy is not installed")
    net, X, y = problem((40, 17, 3), n, precision)
    X *= np.random.default_rng(1).random(X.shape) < 0.2
    net.forward(sparse.csr_matrix(X))
    first = net.layers[0]
    check(first.z, X, first.W, precision, OWN, first.b.astype(np.float64))
    net.backward(y)
    check(first.dW * n, X.T, first.delta, precision, OWN)
    check(net.predict(sparse.csr_matrix(X)), net.layers[0].a, net.layers[1].W, precision,
          way_of(precision, n), net.layers[1].b.astype(np.float64))  # fmt: skip


@pytest.mark.parametrize("precision", ROUNDED)
def test_predict_and_loss_round_too(precision):
    net, X, y = problem((40, 30, 7), 300, precision)
    out = net.forward(X)
    J = net.backward(y)
    np.testing.assert_array_equal(net.predict(X), out)
    assert net.loss(X, y) == pytest.approx(J, rel=len(X) * EPS64)  # sums in double
    net.matmul_precision = "highest"
    assert not np.array_equal(net.predict(X), out)


# factors, and as what they count: the lo of the last is 2^-135
SUBNORMAL = [(1e-40, 0), (-1e-40, 0), (2.0**-126 * (1 + 2.0**-9), 2.0**-126)]


@pytest.mark.parametrize("precision", ROUNDED)
@pytest.mark.parametrize(("value", "counts_as"), SUBNORMAL)
@pytest.mark.parametrize("n", [FEW, MANY])
def test_subnormal_factors_and_parts_count_as_zero(precision, value, counts_as, n):
    net = problem((12, 5), n, precision)[0]
    net.theta[:] = 0
    net.layers[0].W = np.full((12, 5), value, np.float32)
    out = net.forward(np.full((n, 12), 2.0**126, np.float32))
    np.testing.assert_array_equal(out, np.full((n, 5), 12 * 2.0**126 * counts_as))


@pytest.mark.parametrize("precision", ROUNDED)
@pytest.mark.parametrize("n", BATCHES)
def test_nan_and_infinity_reach_the_outputs(precision, n):
    net, X, _ = problem((12, 5), n, precision)
    X[0, 3], X[-1, 4] = (np.inf, np.inf) if n == 1 else (np.nan, np.inf)
    out = net.forward(X)
    assert not np.isfinite(out[[0, -1]]).any() and np.isfinite(out[1:-1]).all()
    X[...] = 3.4e38  # finite in float32, and beyond the range of bfloat16
    assert not np.isfinite(net.predict(X)).any()


# ---- rounding, without any other error ----------------------------------------------------------

# n and widths of one layer: sums of at most 64 products are exact in float32
EXACT = [
    (1, (5, 3)),
    (7, (31, 33)),
    (FEW, (64, 17)),
    (MANY, (1, 1)),
    (33, (64, 33)),
    (64, (17, 65)),
]
LOW = 2.0**-9 + 3 * 2.0**-18  # "high" rounds it up by 2^-18 where it is added to 1


def rough(rng, shape):
    """Numbers from 1 to 2 that both precisions round: 8 bits, and LOW."""
    return 1 + rng.integers(127, size=shape) / 128 + LOW


def powers(rng, shape):
    return rng.choice([1.0, 2.0], shape)


def check_exact(computed, A, B, precision, relative=0.0):
    """`computed` is the product of rounded factors, and not that of the factors themselves."""
    A, B = A.astype(np.float64), B.astype(np.float64)
    expected = product(A, B, precision)
    allowed = relative * expected
    assert (abs(computed - expected) <= allowed).all()
    assert (abs(A @ B - expected) > 2 * allowed).all()


def of_one_layer(widths, W, precision):
    net = fastbp.Network(widths, matmul_precision=precision, seed=0)
    net.theta[:] = 0
    net.layers[0].W = W
    return net


def rows_of(kind, X):
    X = X.astype(np.float32)
    if kind == "dense":
        return X
    return pytest.importorskip("scipy.sparse", reason="SciPy is not installed").csr_matrix(X)


@pytest.mark.parametrize("precision", ROUNDED)
@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize(("left", "right"), [(rough, powers), (powers, rough)])
@pytest.mark.parametrize(("n", "widths"), EXACT)
def test_both_factors_of_each_product_are_rounded(rng, n, widths, left, right, kind, precision):
    """z, the recursion and the gradient; the latter is divided by n, with two roundings."""
    X, W = left(rng, (n, widths[0])), right(rng, widths)
    net = of_one_layer(widths, W, precision)
    layer, rows = net.layers[0], rows_of(kind, X)
    net.forward(rows)
    check_exact(layer.z, X, W, precision)
    check_exact(net.predict(rows), X, W, precision)
    delta = left(rng, (n, widths[1]))
    net.backward_from(delta)
    check_exact(net.input_gradient(), delta, W.T, precision)
    delta = right(rng, (n, widths[1]))
    net.backward_from(delta)
    check_exact(n * layer.dW.astype(np.float64), X.T, delta, precision, EPS)


@pytest.mark.parametrize("precision", ROUNDED)
@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize(("left", "right"), [(rough, powers), (powers, rough)])
@pytest.mark.parametrize(("n", "widths"), EXACT)
def test_both_factors_are_rounded_in_a_step_of_fit(rng, n, widths, left, right, kind, precision):
    """From theta = 0 and with y = −δ, the step is that of the given δ."""
    X, delta = left(rng, (n, widths[0])), right(rng, (n, widths[1]))
    net = of_one_layer(widths, np.zeros(widths), precision)
    net.fit(rows_of(kind, X), -delta, epochs=1, batch_size=n, optimizer=SGD(1.0))
    check_exact(-n * net.layers[0].W.astype(np.float64), X.T, delta, precision, EPS)


@pytest.mark.parametrize("precision", ROUNDED)
@pytest.mark.parametrize(("n", "widths"), EXACT)
def test_hidden_a_and_delta_are_rounded(rng, n, widths, precision):
    """a^1 is the bias, since W^1 = 0; δ^1 is a sum of two products, and has the bits of both."""
    hidden = (*widths, 2)
    net = fastbp.Network(hidden, activation="identity", matmul_precision=precision, seed=0)
    below, top = net.layers
    net.theta[:] = 0
    below.b, top.W = rough(rng, below.b.shape), powers(rng, top.W.shape)
    X, ones = powers(rng, (n, widths[0])), np.ones((n, 2))
    net.forward(X)
    check_exact(top.z, below.a, top.W, precision)
    net.backward_from(ones)
    check_exact(n * top.dW.astype(np.float64), below.a.T, ones, precision, EPS)
    below.W = powers(rng, below.W.shape)
    top.W = np.stack([rough(rng, widths[1]) - LOW, np.full(widths[1], LOW)], axis=1)
    net.forward(X)
    net.backward_from(ones)
    check_exact(net.input_gradient(), below.delta, below.W.T, precision)
    check_exact(n * below.dW.astype(np.float64), X.T, below.delta, precision, EPS)


# ---- how they are made --------------------------------------------------------------------------


def test_the_engine_names_how_products_are_made():
    own = "f32 of rounded factors"
    in_bfloat16 = {
        "avx512_bf16": {"high": own, "medium": "avx512_bf16"},
        **{isa: dict.fromkeys(ROUNDED, isa) for isa in ("amx", "amx_emulated")},
    }
    for precision in ROUNDED:
        net = problem((3, 2), 1, precision)[0]._backend.net
        assert net.products(FEW) == own
        ways = in_bfloat16.get(_core.isa(), dict.fromkeys(ROUNDED, own))
        assert net.products(MANY) == ways[precision]
    assert problem((3, 2), 1, "highest")[0]._backend.net.products(MANY) == "f32"
    assert fastbp.Network((3, 2), dtype="float64")._backend.net.products(MANY) == "f64"


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
    for kinds in itertools.product((np.asarray, sparse.csr_matrix), repeat=2):
        net, X, y = problem((40, 17, 3), n, precision)
        X *= np.random.default_rng(1).random(X.shape) < 0.2
        for kind in (*kinds, kinds[0]):
            alone = problem((40, 17, 3), n, precision)[0]
            alone.theta = net.theta
            for each in (net, alone):
                each.train_batch(kind(X), y, SGD(0.01))
            assert net.theta.tobytes() == alone.theta.tobytes()


# ---- what their bits depend on ------------------------------------------------------------------

DEEP = (300, 64, 33, 3)


@pytest.mark.parametrize("precision", ROUNDED)
def test_a_call_has_the_bits_of_a_fresh_network(precision):
    """Buffers that an earlier call left do not decide how products are made."""
    found = []
    for before in ((), (65,), (65, 1)):
        net, X, y = problem(DEEP, 65, precision)
        sgd = SGD(1e-3)
        for n in before:
            net.forward(X[:n])
            net.train_batch(X[:n], y[:n], sgd)
        net.theta[...] = problem(DEEP, 65, precision)[0].theta
        J, grad = net.value_and_grad(X[:3], y[:3])
        out = net.layers[-1].a.tobytes()
        assert net.predict(X[:3]).tobytes() == out
        net.train_batch(X[:3], y[:3], sgd)
        found.append((J, grad.tobytes(), out, net.theta.tobytes()))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("precision", ROUNDED)
@pytest.mark.parametrize("part_rows", [0, 40])
def test_a_session_makes_products_by_its_options(precision, part_rows):
    """A session that a resumed fit opens on a short block steps as the one before it."""
    found = set()
    for first in (5, 128):
        net, X, y = problem(DEEP, 128, precision)
        options = SessionOptions(batch_size=64, shuffle=False, part_rows=part_rows)
        sgd = SGD(0.1)
        sgd.bind(net.theta.size, net.dtype)
        data = (X[:first], y[:first], None)
        session = net._backend.session(net.theta, data, sgd, options, 0)
        assert session.bind((X[:5], y[:5], None))
        session.run(1.0)
        found.add(net.theta.tobytes())
    assert len(found) == 1


@pytest.mark.parametrize("precision", ROUNDED)
def test_few_rows_may_differ_from_the_same_rows_among_many(precision):
    """By the order of sums in float32 and, at "high", by the product of the two lo."""
    net, X, _ = problem((64, 10), 65, precision)
    terms = abs(X[:3]).astype(np.float64) @ abs(net.layers[0].W) + abs(net.layers[0].b)
    error = (2.0**-15 * (precision == "high") + 2 * (3 * 64 + 4) * EPS) * terms
    few, many = net.predict(X[:3]), net.predict(X)[:3]
    assert (abs(few - many) <= error).all()
    assert few.tobytes() == net.forward(X[:3]).tobytes()
    assert many.tobytes() == net.forward(X)[:3].tobytes()


@pytest.mark.parametrize("precision", ROUNDED)
@pytest.mark.parametrize("n", [FEW, MANY])
def test_factors_are_those_of_the_forward_pass(precision, n):
    """What is written to X and a between the passes reaches no product."""
    found = []
    for writes in (False, True):
        net, X, y = problem((20, 17, 3), n, precision, activation="identity")
        net.forward(X)
        if writes:
            X *= 0
            net.layers[0].a[...] *= 0.5
        net.backward(y)
        found.append(net.grad.tobytes())
    assert found[0] == found[1]


@pytest.mark.parametrize("precision", ROUNDED)
@pytest.mark.parametrize("n", [FEW, MANY])
def test_a_hook_may_write_the_delta_of_its_own_layer(precision, n):
    """Products read what the hook has left; later, nothing but gradients of b does."""

    def halve(l, delta):
        if l == 2:
            delta *= 0.5

    def halve_above(l, delta):
        if l == 1:
            net.layers[1].delta[...] *= 0.5

    grads = []
    for hook in (halve, halve_above, None):
        net, X, y = problem((20, 17, 9, 3), n, precision)
        net.forward(X)
        net.backward(y, hook=hook)
        grads.append([(layer.dW.copy(), layer.db.copy()) for layer in net.layers])
    own, above, none = grads
    for half, whole in zip(own[:2], none[:2], strict=True):
        np.testing.assert_array_equal(2 * half[0], whole[0])
        np.testing.assert_array_equal(2 * half[1], whole[1])
    for (written, _), (whole, _) in zip(above, none, strict=True):
        np.testing.assert_array_equal(written, whole)
    np.testing.assert_array_equal(2 * above[1][1], none[1][1])


@pytest.mark.parametrize("n", [4, 40])
def test_fit_flushes_a_subnormal_lo_as_passes_do(n):
    w = np.float32(1.5e-36 * (1 + 2.0**-9 + 2.0**-13))  # its lo is subnormal
    net, _, y = problem((1, 1), n, "high", activation="identity")
    X = np.full((n, 1), 2.0**119, np.float32)
    net.theta[...] = w, 0
    J = net.loss(X, 0 * y)
    fit = net.fit(X, 0 * y, epochs=1, batch_size=n, shuffle=False, optimizer=SGD(1e-37))
    assert fit.loss == [J]


@pytest.fixture
def threads_as_before():
    n = fastbp.get_num_threads()
    yield
    fastbp.set_num_threads(n)


@pytest.mark.usefixtures("threads_as_before")
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("precision", ROUNDED)
def test_a_loss_may_call_another_network(precision, n_threads):
    """Products of the loss configure and release tiles of AMX between those of the fit."""
    inner = problem((3, 16, 3), 1, precision)[0]
    found = []

    def half_square(a, y):
        return ((a - y) ** 2).sum(axis=1) / 2, a - y

    def nested(a, y):
        inner.predict(np.tile(a, (20, 1)).astype(np.float32))
        inner.value_and_grad(a.astype(np.float32), y.astype(np.float32))
        return half_square(a, y)

    fastbp.set_num_threads(n_threads)
    for loss in (half_square, nested):
        net, X, y = problem((40, 64, 3), 600, precision, loss=loss)
        history = net.fit(X, y, epochs=2, batch_size=32, optimizer=SGD(0.01))
        J = net.loss(X, y)
        net.forward(X)
        found.append((history.loss, J, net.backward(y), net.theta.tobytes(), net.grad.tobytes()))
    assert np.isfinite(found[0][1]) and found[0] == found[1]


@pytest.mark.parametrize("precision", ROUNDED)
def test_a_pass_that_rounds_has_no_other_derivatives(precision):
    net, X, _ = problem((5, 4, 2), 9, precision)
    rounding = _core.Pass(net._backend.net, 9)
    rounding.forward(net.theta, X)
    with pytest.raises(ValueError, match="argument"):
        _core.vjp(rounding, net.theta, np.ones((9, 2), np.float32), np.empty((9, 5), np.float32))
    with pytest.raises(ValueError, match="argument"):
        _core.jvp(rounding, net.theta, X, None, np.empty((9, 2), np.float32))
