"""The matrix products of the engine, in every form and with every epilogue, against NumPy.

The exact result comes from float64. Tolerances are componentwise: (k + 2) eps Σ|a||b|, which the
epilogue propagates; see error_bounds.
"""

import itertools

import numpy as np
import pytest
from engine_cases import BUILT_IN, DTYPES, within
from error_bounds import forward_error, pull_back_error, sum_rounding
from hypothesis import given, settings
from hypothesis import strategies as st

from fastbp import _core
from fastbp._core import gemm
from fastbp.activations import Activation, resolve
from fastbp.reference._formulas import activate, pull_back

FORMS = ("nn", "panels", "tn", "nt")
# below, at and above the register tiles and vectors of all ISAs, and primes
SIZES = (1, 2, 7, 13, 14, 15, 17, 31, 32, 33, 97)
AROUND_CHUNKS = (383, 384, 385, 767, 769, 1025)  # a strip has at most 384 rows of B
PARAMETERS = ("leaky_relu", "leaky_relu(0)", "leaky_relu(1.5)", "elu(0.3)", "elu(2)")
LINE = 64


def poisoned(array, dtype, *, spare=0, offset=0):
    """A copy of the array with `spare` NaN after each row, `offset` elements after a cache line."""
    rows, cols = array.shape
    ld, itemsize = cols + spare, np.dtype(dtype).itemsize
    room = np.full(rows * ld + offset + 2 * LINE // itemsize, np.nan, dtype)
    start = -room.ctypes.data % LINE // itemsize + offset
    view = room[start : start + rows * ld].reshape(rows, ld)[:, :cols]
    view[...] = array
    return view


def surroundings_are_nan(view):
    """Whether the memory around the view is still NaN; overwrites the view."""
    view[...] = np.nan
    return np.isnan(view.base).all()


def product(form, A, B, dtype, *, bias=None, act=None, aux=None, keep_z=False, spare=0, offset=0):
    """C, or (C, z), computed by the kernel. All operands are padded with NaN, which must stay.

    A is (m, k) and B is (k, n) for every form; the function stores them as the form needs them.
    """
    layout = {"spare": spare, "offset": offset}
    m, n = A.shape[0], B.shape[1]
    a = poisoned(A.T if form == "tn" else A, dtype, **layout)
    b = poisoned(B.T if form == "nt" else B, dtype, **layout)
    c, z = (poisoned(np.full((m, n), np.nan), dtype, **layout) for _ in range(2))
    options = {}
    if bias is not None:
        options["bias"] = poisoned(bias[None, :], dtype, offset=offset)[0]
    if act is not None:
        options |= {"activation": act.name, "alpha": act.alpha}
    if aux is not None:
        options["aux"] = poisoned(aux, dtype, **layout)
    if keep_z:
        options["z"] = z
    gemm("nn" if form == "panels" else form, a, b, c, panels=form == "panels", **options)
    result, kept = c.copy(), z.copy()
    assert surroundings_are_nan(c) and surroundings_are_nan(z)
    return (result, kept) if keep_z else result


class Case:
    """Operands that are exact in dtype, their exact product, and the bound for a computed one."""

    def __init__(self, rng, m, n, k, dtype, biased=False):
        self.rng, self.dtype = rng, dtype
        self.eps = float(np.finfo(dtype).eps)
        self.A, self.B = self.exact(m, k), self.exact(k, n)
        self.bias = self.exact(1, n)[0] if biased else None
        start = 0 if self.bias is None else self.bias
        self.z = self.A @ self.B + start
        self.E_z = sum_rounding(k, self.eps) * (abs(self.A) @ abs(self.B) + abs(start))

    def exact(self, *shape):
        return self.rng.normal(size=shape).astype(self.dtype).astype(np.float64)

    def check(self, form, **layout):
        computed = product(form, self.A, self.B, self.dtype, bias=self.bias, **layout)
        within(computed, self.z, self.E_z, (form, self.A.shape, self.B.shape))

    def check_forward(self, form, act, keep_z, **layout):
        """C = σ(AB + bias), and z if it is kept."""
        options = {"bias": self.bias, "act": act, "keep_z": keep_z} | layout
        computed = product(form, self.A, self.B, self.dtype, **options)
        if keep_z:
            computed, z = computed
            within(z, self.z, self.E_z, (form, "z"))
        a = activate(act, self.z)
        E_a = forward_error(act.name, act.alpha, self.z, a, self.E_z, self.eps)
        within(computed, a, E_a, (form, act, self.A.shape, self.B.shape))

    def check_backward(self, form, act, **layout):
        """C = (AB) ⊙ σ', computed from aux, which is a rounded to dtype or an exact z."""
        z = self.exact(*self.z.shape)
        a = activate(act, z)
        aux = {"a": a, "z": z}[act.derivative_from]
        computed = product(form, self.A, self.B, self.dtype, act=act, aux=aux, **layout)
        rounded, none = self.eps * abs(a), np.zeros_like(z)
        E = pull_back_error(act.name, act.alpha, self.z, z, a, self.E_z, none, rounded, self.eps)
        within(computed, pull_back(act, self.z, z, a), E, (form, act, self.A.shape))


# ---- sizes, strides, alignment ------------------------------------------------------------


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("m", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", FORMS)
def test_products_of_sizes_around_the_tiles(rng, form, dtype, m, n):
    for k in SIZES:
        Case(rng, m, n, k, dtype).check(form, spare=k % 3, offset=n % 4)


@pytest.mark.parametrize(("m", "n"), [(1, 33), (15, 17), (57, 65), (97, 1)])
@pytest.mark.parametrize("k", AROUND_CHUNKS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", FORMS)
def test_sums_longer_than_a_strip(rng, form, dtype, m, n, k):
    case = Case(rng, m, n, k, dtype)
    case.check(form, spare=3, offset=1)
    if form != "tn":
        case.check_backward(form, Activation("sigmoid"))
        case.check_backward(form, Activation("softplus"))
    if form in ("nn", "panels"):
        biased = Case(rng, m, n, k, dtype, biased=True)
        biased.check_forward(form, Activation("relu"), keep_z=False)
        biased.check_forward(form, Activation("tanh"), keep_z=True)


@pytest.fixture
def tuned():
    """A function that chooses a tuning until the test ends."""
    before = _core.tune()
    yield _core.select_tune
    _core.select_tune(before)


@pytest.mark.parametrize("m", [1, 5, 6, 7, 13, 14, 15, 29, 111, 112, 113, 127, 131])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["nn", "panels", "tn"])
def test_every_tuning_gives_the_same_bits(rng, tuned, form, dtype, m):
    for n, k in ((31, 2), (199, 385), (200, 257), (211, 513), (1031, 37)):
        case = Case(rng, m, n, k, dtype)
        found = set()
        for tune in _core.available_tunes():
            tuned(tune)
            c = product(form, case.A, case.B, dtype, spare=k % 3, offset=n % 4)
            found.add(c.tobytes())
        assert len(found) == 1, (n, k)
        within(c, case.z, case.E_z, (form, m, n, k))


@pytest.mark.parametrize(("m", "n", "k"), [(1, 5000, 3), (5000, 1, 3), (1, 1, 5000), (3, 1001, 1)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", FORMS)
def test_products_with_one_long_side(rng, form, dtype, m, n, k):
    Case(rng, m, n, k, dtype).check(form)


@pytest.mark.parametrize("spare", [0, 1, 7, 16])
@pytest.mark.parametrize("offset", range(16))
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", FORMS)
def test_products_at_every_alignment(rng, form, dtype, spare, offset):
    Case(rng, 15, 33, 18, dtype).check(form, spare=spare, offset=offset)


# ---- epilogues ----------------------------------------------------------------------------


@pytest.mark.parametrize("m", [1, 5, 15, 60])
@pytest.mark.parametrize("name", [*BUILT_IN, *PARAMETERS])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["nn", "panels"])
def test_products_with_every_activation(rng, form, dtype, name, m):
    for n, k in itertools.product((1, 7, 16, 33, 65), (1, 20)):
        case = Case(rng, m, n, k, dtype, biased=n % 2 == 1)
        for keep_z in (False, True):
            case.check_forward(form, resolve(name), keep_z, spare=n % 3, offset=m % 2)


@pytest.mark.parametrize("m", [1, 5, 15, 60])
@pytest.mark.parametrize("name", [*BUILT_IN, *PARAMETERS])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["nn", "panels", "nt"])
def test_products_with_the_slope_of_every_activation(rng, form, dtype, name, m):
    for n, k in itertools.product((1, 7, 16, 33, 65), (1, 20)):
        case = Case(rng, m, n, k, dtype)
        case.check_backward(form, resolve(name), spare=n % 3, offset=m % 2)


sizes = st.integers(1, 100)


@given(
    form=st.sampled_from(FORMS),
    dtype=st.sampled_from(DTYPES),
    m=sizes,
    n=sizes,
    k=sizes,
    name=st.sampled_from([*BUILT_IN, *PARAMETERS]),
    epilogue=st.sampled_from(["none", "forward", "z", "backward"]),
    biased=st.booleans(),
    spare=st.integers(0, 20),
    offset=st.integers(0, 15),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=300)
def test_any_product(form, dtype, m, n, k, name, epilogue, biased, spare, offset, seed):
    layout = {"spare": spare, "offset": offset}
    biased &= form in ("nn", "panels") and epilogue != "backward"
    case = Case(np.random.default_rng(seed), m, n, k, dtype, biased)
    if epilogue in ("forward", "z") and form in ("nn", "panels"):
        case.check_forward(form, resolve(name), epilogue == "z", **layout)
    elif epilogue == "backward" and form != "tn":
        case.check_backward(form, resolve(name), **layout)
    else:
        case.check(form, **layout)


# ---- special values -----------------------------------------------------------------------


@pytest.mark.parametrize(("m", "n", "k"), [(1, 1, 1), (5, 33, 7), (17, 31, 20), (60, 18, 33)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", FORMS)
def test_infinity_and_nan_propagate(rng, form, dtype, m, n, k):
    """0·inf and inf − inf are NaN: no product is skipped because a factor is 0."""
    case = Case(rng, m, n, k, dtype)
    A, B = case.A.copy(), case.B.copy()
    for factor, count in ((A, 4), (B, 4)):
        flat = factor.ravel()
        chosen = rng.choice(flat.size, min(count, flat.size), replace=False)
        flat[chosen] = [np.inf, np.nan, 0.0, -np.inf][: len(chosen)]
    A[-1, :] = 0.0
    with np.errstate(invalid="ignore"):
        expected = (A[:, :, None] * B[None, :, :]).sum(axis=1)
    computed = product(form, A, B, dtype)
    np.testing.assert_array_equal(np.isnan(computed), np.isnan(expected))
    infinite = np.isinf(expected)
    np.testing.assert_array_equal(computed[infinite], expected[infinite])
    assert np.isfinite(computed[np.isfinite(expected)]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", FORMS)
def test_products_of_integers_are_exact(rng, form, dtype):
    A, B = rng.integers(-9, 10, (33, 400)), rng.integers(-9, 10, (400, 35))
    np.testing.assert_array_equal(product(form, A, B, dtype), A @ B)


# ---- the same bits however the work is divided --------------------------------------------


def epilogues(form, rng, shape):
    yield {}
    if form != "tn":
        a = np.tanh(rng.normal(size=shape))
        for name in ("tanh", "relu", "softplus"):
            yield {"act": Activation(name), "aux": abs(a)}
    if form in ("nn", "panels"):
        for name in ("relu", "sigmoid", "elu"):
            yield {"act": Activation(name), "bias": rng.normal(size=shape[1])}


def part(options, rows, columns):
    cut = {"aux": lambda aux: aux[rows, columns], "bias": lambda bias: bias[columns]}
    return {name: cut[name](value) if name in cut else value for name, value in options.items()}


@pytest.mark.parametrize("k", [1, 33, 385])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", FORMS)
def test_a_block_has_the_bits_of_the_whole(rng, form, dtype, k):
    m, n = 97, 70
    case = Case(rng, m, n, k, dtype)
    everything = slice(None)
    for options in epilogues(form, rng, (m, n)):
        whole = product(form, case.A, case.B, dtype, **options)
        for count in (1, 2, 3, 4, 5, 6, 7, 12, 13, 14, 15, 28, 55, 56, 57, 96):
            first = int(rng.integers(m - count + 1))
            rows = slice(first, first + count)
            block = product(form, case.A[rows], case.B, dtype, **part(options, rows, everything))
            np.testing.assert_array_equal(block, whole[rows], f"{count} rows from {first}")
        # nn may compute its last columns as dot products; which ones depends on n
        for count in () if form in ("nn", "panels") else (1, 4, 15, 16, 17, 32, 33, 69):
            first = int(rng.integers(n - count + 1))
            columns = slice(first, first + count)
            cut = part(options, everything, columns)
            block = product(form, case.A, case.B[:, columns], dtype, **cut)
            np.testing.assert_array_equal(block, whole[:, columns], f"{count} columns")


@pytest.mark.parametrize(("n", "k"), [(1, 1), (16, 7), (17, 33), (64, 400), (70, 400)])
@pytest.mark.parametrize("m", [1, 8, 15, 60])
@pytest.mark.parametrize("dtype", DTYPES)
def test_forms_that_sum_in_order_agree_in_every_bit(rng, dtype, m, n, k):
    case = Case(rng, m, n, k, dtype)
    dense = product("nn", case.A, case.B, dtype)
    np.testing.assert_array_equal(product("panels", case.A, case.B, dtype), dense)
    if n % 16 == 0:  # otherwise the last columns of nn may be dot products
        np.testing.assert_array_equal(product("tn", case.A, case.B, dtype), dense)


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["nn", "panels"])
def test_keeping_z_changes_nothing(rng, form, dtype, name):
    case = Case(rng, 60, 45, 20, dtype, biased=True)
    options = {"bias": case.bias, "act": Activation(name)}
    a, z = product(form, case.A, case.B, dtype, keep_z=True, **options)
    np.testing.assert_array_equal(a, product(form, case.A, case.B, dtype, **options))
    np.testing.assert_array_equal(z, product(form, case.A, case.B, dtype, bias=case.bias))
