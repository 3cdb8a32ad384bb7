"""Products in bfloat16: the layouts of factors, sums and epilogues, on every ISA that has them.

Layouts are compared with NumPy bit by bit. The exact product is that of the rounded factors in
float64; tolerances are componentwise, as in test_kernels.
"""

import itertools

import numpy as np
import pytest
from engine_cases import BUILT_IN, within
from error_bounds import forward_error, pull_back_error, sum_rounding

from fastbp import _core
from fastbp._core import bf16_pack, bf16_product
from fastbp.activations import Activation, resolve
from fastbp.reference._formulas import activate, pull_back

EPS = float(np.finfo(np.float32).eps)
SIZES = (1, 15, 16, 17, 31, 32, 33, 97)
PLANES = (1, 2)
FORMS = ("left", "left_t", "right", "right_t")
SPECIAL = np.array(
    [0.0, -0.0, np.inf, -np.inf, np.nan, -np.nan, 1e-40, -1e-40, 3.4028235e38, -3.4028235e38]
    + [1.17549435e-38, 1.00390625, 1.01171875, -1.00390625, 1.003906369, 2.0**-130, 2.0**-125],
    np.float32,
)


def isas_with_bf16():
    return [name for name in _core.available_isas() if _core.isa_base(name) != name]


@pytest.fixture(autouse=True, params=["amx_emulated", "avx512_bf16", "amx"])
def isa(request):
    """Each ISA that has products in bfloat16; the build adds amx_emulated if it is told to."""
    if request.param not in isas_with_bf16():
        pytest.skip(f"{request.param} is not built, or this machine does not support it")
    chosen = _core.isa()
    _core.select_isa(request.param)
    yield request.param
    _core.select_isa(chosen)


# ---- the formulas in NumPy ----------------------------------------------------------------------


def rounded(x):
    """The bits of x in bfloat16, to nearest, ties to even; subnormals become zeros."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    near = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    near = np.where(np.isnan(x), bits >> 16 | 0x40, near)
    return np.where(bits & 0x7F800000 == 0, bits >> 16 & 0x8000, near).astype(np.uint16)


def value(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def planes_of(x, planes):
    """[hi] or [hi, lo], as bits."""
    hi = rounded(x)
    if planes == 1:
        return [hi]
    finite = np.isfinite(value(hi))
    with np.errstate(invalid="ignore"):
        normal = np.where(abs(x) < 2.0**-126, np.copysign(np.float32(0), x), x)
        rest = np.where(finite, normal - np.where(finite, value(hi), 0), 0)
    return [hi, rounded(rest)]


def up32(n):
    return -(-n // 32) * 32


def left_tiles(x, planes):
    """The tiles of x as a left factor: [row tile][k tile][plane][row][k]."""
    rows, cols = up32(x.shape[0]), up32(x.shape[1])
    room = np.zeros((planes, rows, cols), np.uint16)
    room[:, : x.shape[0], : x.shape[1]] = planes_of(x, planes)
    tiles = room.reshape(planes, rows // 16, 16, cols // 32, 32)
    return tiles.transpose(1, 3, 0, 2, 4)


def right_tiles(x, planes):
    """The tiles of x as a right factor: [column tile][k tile][plane][pair][column][2]."""
    turned = left_tiles(x.T, planes)
    pairs = turned.reshape(*turned.shape[:-1], 16, 2)
    return pairs.swapaxes(3, 4)


def tiles(x, form, planes):
    y = x.T if form.endswith("_t") else x
    made = left_tiles(y, planes) if form.startswith("left") else right_tiles(y, planes)
    return made.reshape(-1)


def same_numbers(computed, expected, planes):
    """Equal bits; in lo planes, zeros of either sign, and NaN with any payload."""
    assert computed.shape == expected.shape
    computed, expected = (a.reshape(-1, planes, 512) for a in (computed, expected))
    np.testing.assert_array_equal(computed[:, 0], expected[:, 0])
    np.testing.assert_array_equal(value(computed), value(expected))


def room_for(shape, planes, wanted=FORMS):
    """{form: room for the tiles of a matrix, on a cache line}, filled with NaN."""
    elems = up32(shape[0]) * up32(shape[1]) * planes
    rooms = {form: np.full(elems + 32, 0xFFFF, np.uint16) for form in wanted}
    return {form: a[-a.ctypes.data % 64 // 2 :][:elems] for form, a in rooms.items()}


def packed(x, planes, wanted=FORMS, **options):
    forms = room_for(x.shape, planes, wanted)
    bf16_pack(x, tuple(map(forms.get, FORMS)), planes=planes, **options)
    return forms


def strided(x, spare, offset=0):
    """A copy of x with `spare` NaN after each row."""
    room = np.full((x.shape[0], x.shape[1] + spare + offset), np.nan, np.float32)
    room[:, offset : offset + x.shape[1]] = x
    return room[:, offset : offset + x.shape[1]]


# ---- layouts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("cols", SIZES)
@pytest.mark.parametrize("rows", SIZES)
@pytest.mark.parametrize("planes", PLANES)
def test_every_layout(rng, planes, rows, cols):
    x = rng.normal(size=(rows, cols)).astype(np.float32)
    chosen = rng.random(x.shape) < 0.2
    x[chosen] = rng.choice(SPECIAL, chosen.sum())
    for listed, spare in ((False, 0), (True, 3)):
        for form, found in packed(strided(x, spare, spare), planes, listed=listed).items():
            same_numbers(found, tiles(x, form, planes), planes)


@pytest.mark.parametrize("form", FORMS)
def test_one_form_alone(rng, form):
    x = rng.normal(size=(33, 70)).astype(np.float32)
    same_numbers(packed(x, 2, (form,))[form], tiles(x, form, 2), 2)


def test_rounding_of_many_numbers(rng):
    bits = rng.integers(0, 2**32, 40000, dtype=np.uint32)
    bits[:20000] = bits[:20000] & 0xFFFF0000 | rng.choice([0x7FFF, 0x8000, 0x8001], 20000)
    x = bits.view(np.float32).reshape(200, 200)
    same_numbers(packed(x, 2)["left"], tiles(x, "left", 2), 2)


# ---- products -----------------------------------------------------------------------------------


class Case:
    """Factors, their exact product after rounding, and the bound for a computed one."""

    def __init__(self, rng, m, n, k, planes, biased=False):
        self.rng, self.planes = rng, planes
        self.A, self.B = self.exact(m, k), self.exact(k, n)
        self.bias = self.exact(1, n)[0] if biased else None
        a, b = (
            [value(plane).astype(float) for plane in planes_of(x, planes)] for x in (self.A, self.B)
        )
        start = 0.0 if self.bias is None else self.bias.astype(float)
        pairs = [(0, 0)] if planes == 1 else [(0, 0), (0, 1), (1, 0)]
        self.z = sum(a[i] @ b[j] for i, j in pairs) + start
        size = sum(abs(a[i]) @ abs(b[j]) for i, j in pairs) + abs(start)
        self.E_z = sum_rounding(len(pairs) * k, EPS) * size

    def exact(self, *shape):
        return self.rng.normal(size=shape).astype(np.float32)

    def run(self, *, act=None, aux=None, keep_z=False, spare=0):
        """(c, z, c as factors); of the memory of c and z, only the elements are written."""
        c, z = (strided(np.full(self.z.shape, np.nan), spare) for _ in range(2))
        options = {} if act is None else {"activation": act.name, "alpha": act.alpha}
        forms = room_for(c.shape, self.planes)
        bf16_product(
            strided(self.A, spare),
            strided(self.B, spare),
            c,
            planes=self.planes,
            bias=self.bias,
            aux=None if aux is None else strided(aux, spare),
            z=z if keep_z else None,
            forms=tuple(map(forms.get, FORMS)),
            **options,
        )
        found = c.copy(), z.copy(), forms
        for view in (c, z):
            view[...] = np.nan
            assert np.isnan(view.base).all()
        return found

    def check_forward(self, act, keep_z, **options):
        c, z, forms = self.run(act=act, keep_z=keep_z, **options)
        if keep_z:
            within(z, self.z, self.E_z, "z")
        a = activate(act, self.z)
        E_a = forward_error(act.name, act.alpha, self.z, a, self.E_z, EPS)
        within(c, a, E_a, (act, self.z.shape))
        self.check_forms(c, forms)

    def check_backward(self, act, **options):
        z = self.exact(*self.z.shape).astype(float)
        a = activate(act, z)
        aux = {"a": a, "z": z}[act.derivative_from].astype(np.float32)
        c, _, forms = self.run(act=act, aux=aux, **options)
        rounding, none = EPS * abs(a), np.zeros_like(z)
        E = pull_back_error(act.name, act.alpha, self.z, z, a, self.E_z, none, rounding, EPS)
        within(c, pull_back(act, self.z, z, a), E, (act, self.z.shape))
        self.check_forms(c, forms)

    def check_forms(self, c, forms):
        for form, found in forms.items():
            same_numbers(found, tiles(c, form, self.planes), self.planes)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("m", SIZES)
@pytest.mark.parametrize("planes", PLANES)
def test_products_of_sizes_around_the_tiles(rng, planes, m, n):
    for k in SIZES:
        case = Case(rng, m, n, k, planes)
        c, _, forms = case.run(spare=k % 3)
        within(c, case.z, case.E_z, (m, n, k))
        case.check_forms(c, forms)


@pytest.mark.parametrize(("m", "n", "k"), [(40, 33, 1100), (300, 17, 530), (257, 70, 64)])
@pytest.mark.parametrize("planes", PLANES)
def test_products_of_several_parts(rng, planes, m, n, k):
    """Longer sums and more rows than one part of a product has."""
    case = Case(rng, m, n, k, planes, biased=True)
    case.check_forward(Activation("relu"), keep_z=True)
    case.check_forward(Activation("tanh"), keep_z=False, spare=1)


@pytest.mark.parametrize("name", [*BUILT_IN, "leaky_relu(0)", "leaky_relu(1.5)", "elu(2)"])
@pytest.mark.parametrize("planes", PLANES)
def test_products_with_every_activation(rng, planes, name):
    for m, n in itertools.product((1, 32, 45), (7, 33, 64)):
        for keep_z in (False, True):
            case = Case(rng, m, n, 20, planes, biased=n != 64)
            case.check_forward(resolve(name), keep_z, spare=n % 3)
        Case(rng, m, n, 20, planes).check_backward(resolve(name), spare=n % 3)


def test_two_planes_are_close_to_float32(rng):
    """Rounding of a factor, and lo lo, which is left out: 2 · 2^-17 + 2^-16 of |A||B|."""
    case = Case(rng, 64, 64, 200, 2)
    A, B = case.A.astype(float), case.B.astype(float)
    c, _, _ = case.run()
    within(c, A @ B, case.E_z + 2.0**-15 * (abs(A) @ abs(B)), "float32")


def test_integers_are_exact(rng):
    A, B = (rng.integers(-9, 10, shape).astype(np.float32) for shape in ((33, 400), (400, 35)))
    for planes in PLANES:
        c = np.empty((33, 35), np.float32)
        bf16_product(A, B, c, planes=planes)
        np.testing.assert_array_equal(c, A @ B)


# ---- special values -----------------------------------------------------------------------------


@pytest.mark.parametrize(("m", "n", "k"), [(1, 1, 1), (5, 33, 7), (17, 31, 20), (60, 18, 33)])
@pytest.mark.parametrize("planes", PLANES)
def test_infinity_and_nan_propagate(rng, planes, m, n, k):
    case = Case(rng, m, n, k, planes)
    for factor in (case.A, case.B):
        flat = factor.reshape(-1)
        chosen = rng.choice(flat.size, min(4, flat.size), replace=False)
        flat[chosen] = [np.inf, np.nan, 0.0, -np.inf][: len(chosen)]
    case.A[-1, :] = 0.0
    a, b = ([value(plane) for plane in planes_of(x, planes)] for x in (case.A, case.B))
    pairs = [(0, 0)] if planes == 1 else [(0, 0), (0, 1), (1, 0)]
    with np.errstate(invalid="ignore"):
        exact = (case.A[:, :, None] * case.B[None, :, :]).sum(axis=1)
        # with two planes, inf · lo may be NaN, or meet inf · hi of the other sign
        expected = sum((a[i][:, :, None] * b[j][None, :, :]).sum(axis=1) for i, j in pairs)
        c, _, forms = case.run()
        np.testing.assert_array_equal(np.isnan(c), np.isnan(expected))
        infinite = np.isinf(expected)
        np.testing.assert_array_equal(c[infinite], expected[infinite])
        np.testing.assert_array_equal(np.isfinite(c), np.isfinite(exact))
        case.check_forms(c, forms)


@pytest.mark.parametrize("shift", [-70, -60, 60, 70])
def test_the_ends_of_the_range(rng, shift):
    """Products that overflow or are subnormal: c is what exact arithmetic gives, or is flushed."""
    case = Case(rng, 20, 20, 40, 1)
    A, B = (np.ldexp(x, shift).astype(np.float32) for x in (case.A, case.B))
    c = np.empty((20, 20), np.float32)
    bf16_product(A, B, c)
    exact = value(rounded(A)).astype(float) @ value(rounded(B)).astype(float)
    if shift == 70:
        overflows = abs(exact) > 40 * float(np.finfo(np.float32).max)
        assert overflows.any() and not np.isfinite(c[overflows]).any()
    else:
        slack = 41 * 2.0**-126 + case.E_z * 4.0**shift
        within(c, exact, np.broadcast_to(slack, c.shape), shift)


# ---- bits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 33, 400])
@pytest.mark.parametrize("planes", PLANES)
def test_a_block_has_the_bits_of_the_whole(rng, planes, k):
    case = Case(rng, 300, 75, k, planes)
    whole = case.run()[0]
    parts = [(0, 1), (0, 32), (5, 60), (31, 33), (100, 300), (64, 75), (0, 75)]
    for (i, i_end), (j, j_end) in itertools.product(parts, [p for p in parts if p[1] <= 75]):
        c = np.empty((i_end - i, j_end - j), np.float32)
        bf16_product(case.A[i:i_end], np.ascontiguousarray(case.B[:, j:j_end]), c, planes=planes)
        np.testing.assert_array_equal(c, whole[i:i_end, j:j_end])


def dot_product(a, b, c):
    """c + ab by VDPBF16PS: of each pair of k, the odd one is added first."""
    for k in range(32):
        c = c + a[:, k ^ 1, None] * b[None, k ^ 1]
    return c


def tile_product(a, b, c):
    """c + ab by TDPBF16PS: even and odd k are summed apart from 0, added, and added to c."""
    halves = [np.zeros_like(c), np.zeros_like(c)]
    for k in range(32):
        halves[k % 2] += a[:, k, None] * b[None, k]
    return c + (halves[0] + halves[1])


@pytest.mark.parametrize("planes", PLANES)
def test_the_order_of_sums(rng, isa, planes):
    """The bits of the same operations in NumPy, where products of bfloat16 numbers are exact."""
    multiply = dot_product if isa == "avx512_bf16" else tile_product
    A, B = (rng.normal(size=shape).astype(np.float32) for shape in ((32, 96), (96, 48)))
    a, b = ([value(plane) for plane in planes_of(x, planes)] for x in (A, B))
    expected = np.zeros((32, 48), np.float32)
    for k in range(0, 96, 32):
        for i, j in [(0, 0)] if planes == 1 else [(1, 0), (0, 0), (0, 1)]:
            expected = multiply(a[i][:, k : k + 32], b[j][k : k + 32], expected)
    c = np.empty_like(expected)
    bf16_product(A, B, c, planes=planes)
    np.testing.assert_array_equal(c, expected)


# ---- the peak ---------------------------------------------------------------------------------


@pytest.mark.parametrize("planes", [1, 2])
def test_the_peak_is_a_rate(planes):
    assert 0 < _core.bf16_peak(planes, 0.0) < np.inf
    assert _core.bf16_peak(0, 0.0) == _core.bf16_peak(3, 0.0) == 0


def test_an_isa_without_products_in_bfloat16_has_no_peak():
    _core.select_isa("scalar")
    assert _core.bf16_peak(1, 0.0) == 0
