"""The vector functions of csrc/kernels/vmath.inc against a wider type, in ulp of the exact result.

float32 is compared with NumPy in float64, float64 with long double. The bounds are those stated
at the head of vmath.inc: the largest errors of an exhaustive (float32) and a long random (float64)
search over all instruction sets, rounded up. Subnormal arguments count as zeros of the same sign,
and what would be a subnormal result is one.
"""

from typing import NamedTuple

import numpy as np
import pytest

from fastbp import _core

nan, inf = np.nan, np.inf


class Function(NamedTuple):
    """What a function must satisfy.

    ulp: its bounds in float32 and float64; those of gelu_tanh are of max(|f(x)|, |x|/8). varies:
    where the float32 function is neither constant, nor x itself, nor NaN, as float32 rounds it.
    varies_f64: about the same of float64. special: f(x) at POINTS, None where it is nothing
    special. flushed: how far a subnormal that is flushed may take a result, in times the smallest
    normal number: 2 where it is twice a sum that may be subnormal. every: the step of the
    exhaustive search where all of it takes minutes, as for a long series.
    """

    ulp: tuple[float, float]
    varies: tuple[float, float]
    varies_f64: tuple[float, float]
    special: tuple[float | None, ...]
    flushed: float = 1
    every: int = 1


POINTS = (0.0, -0.0, 1.0, -1.0, -2.0, inf, -inf)
FUNCTIONS = {
    "exp": Function((1.2, 1.3), (-104.5, 89.5), (-746, 710.5), (1, 1, None, None, None, inf, 0.0)),
    "expm1": Function(
        (1.8, 2.3), (-18.5, 89.5), (-40, 710.5), (0.0, -0.0, None, None, None, inf, -1), flushed=2
    ),
    "log": Function((0.9, 0.9), (0.0, inf), (-1, 20), (-inf, -inf, 0.0, nan, nan, inf, nan)),
    "log1p": Function((1.4, 1.4), (-1.0, inf), (-1, 20), (0.0, -0.0, None, -inf, nan, inf, nan)),
    "tanh": Function((1.8, 2.0), (-9.5, 9.5), (-20, 20), (0.0, -0.0, None, None, None, 1, -1)),
    "sigmoid": Function(
        (1.9, 1.9), (-104.5, 18.5), (-746, 760), (0.5, 0.5, None, None, None, 1, 0.0)
    ),
    "softplus": Function(
        (1.9, 1.9), (-104.5, 20.5), (-746, 760), (None, None, None, None, None, inf, 0.0)
    ),
    "silu": Function(
        (2.4, 2.3), (-110.0, 20.5), (-746, 760), (0.0, -0.0, None, None, None, inf, -0.0)
    ),
    "mish": Function(
        (2.5, 2.4), (-110.0, 20.5), (-746, 760), (0.0, -0.0, None, None, None, inf, -0.0)
    ),
    "gelu": Function(
        (4.4, 4.4), (-15.0, 6.0), (-40, 10), (0.0, -0.0, None, None, None, inf, 0.0), every=7
    ),
    "gelu_tanh": Function(
        (3.2, 3.2), (-12.0, 6.0), (-23, 10), (0.0, -0.0, None, None, None, inf, -0.0)
    ),
    "sin": Function(
        (0.9, 0.9), (-1700.0, 1700.0), (-1.7e6, 1.7e6), (0.0, -0.0, None, None, None, nan, nan)
    ),
    "cos": Function(
        (0.9, 0.9), (-1700.0, 1700.0), (-1.7e6, 1.7e6), (1, 1, None, None, None, nan, nan)
    ),
}
TINY = 2.0**-27  # below it, 1 + x = 1 in float32, to half an ulp
NAMES = tuple(_core.VMATH)
CHUNK = 1 << 16
needs_long_double = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant <= np.finfo(np.float64).nmant,
    reason="long double is no wider than double on this platform",
)


def normal_distribution(x):
    """Φ(x): φ(t) times a series of positive terms for t = |x| < 1.5, else a continued fraction.

    Abramowitz & Stegun 26.2.11 and 26.2.14. t² is taken in two parts: its rounding, times t², would
    be seen.
    """
    t = np.minimum(np.abs(x), 60)
    head = t.astype(np.float32).astype(x.dtype)
    density = np.exp(-(head**2) / 2) * np.exp(-(t - head) * (t + head) / 2) / np.sqrt(2 * pi(x))
    series = term = np.minimum(t, 1.5)
    for k in range(1, 60):
        term = term * np.minimum(t, 1.5) ** 2 / (2 * k + 1)
        series = series + term
    fraction = far = np.maximum(t, 1.5)
    for k in range(400, 0, -1):
        fraction = far + k / fraction
    tail = np.where(t < 1.5, 0.5 - density * series, density / fraction)
    return np.where(x < 0, tail, 1 - tail)


def pi(x):
    return 4 * np.arctan(x.dtype.type(1))


def cubic(x):
    """v of the tanh form of gelu, where 1 + tanh(v/2) = 2/(1 + e^-v)."""
    return np.sqrt(8 / pi(x)) * (x + x.dtype.type(44715) / 1000000 * x**3)


GATES = {  # f(x)/x
    "silu": lambda x: 1 / (1 + np.exp(-x)),
    "mish": lambda x: np.tanh(np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))),
    "gelu": normal_distribution,
    "gelu_tanh": lambda x: 1 / (1 + np.exp(-cubic(x))),
}


def exact(name, x):
    """f(x) in the dtype of x, which is wider than the dtype under test."""
    with np.errstate(all="ignore"):
        if name == "sigmoid":
            e = np.exp(-np.abs(x))
            return np.where(x < 0, e, 1) / (1 + e)
        if name == "softplus":
            return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
        if name in GATES:
            return np.where(np.isneginf(x), -0.0, x * GATES[name](x))
        return getattr(np, name)(x)


def error_ulp(got, want, floor=0, flushed=1):
    """|got − want| in ulp of max(|want|, floor); 0 where both are NaN or round to the same number.

    Also 0 where the difference is less than `flushed` times the smallest normal number, because
    subnormals are flushed.
    """
    info = np.finfo(got.dtype)
    with np.errstate(all="ignore"):
        rounded = want.astype(got.dtype)
        size = np.maximum(np.abs(np.where(np.isfinite(want), want, 1)), floor)
        exponent = np.maximum(np.frexp(size)[1] - 1, info.minexp)
        wide = got.astype(want.dtype)
        beyond = np.copysign(np.ldexp(want.dtype.type(1), info.maxexp), wide)  # inf, as a number
        distance = np.abs(np.where(np.isinf(wide), beyond, wide) - want)
        error = np.ldexp(distance, info.nmant - exponent)
        lost = distance < flushed * (1 + 8 * info.eps) * want.dtype.type(info.tiny)
    same = (got == rounded) | lost | (np.isnan(got) & np.isnan(want))
    return np.where(same, 0, np.where(np.isnan(error), np.inf, error)).astype(np.float64)


def floor(name, x):
    """The size that the error of f(x) is compared with where |f(x)| is smaller."""
    with np.errstate(all="ignore"):
        return np.where(np.isfinite(x), np.abs(x) / 8, 0) if name == "gelu_tanh" else 0


def check(name, x, wide):
    """Assert the bound of f for every element of x, an array of the dtype under test."""
    tested, info = FUNCTIONS[name], np.finfo(x.dtype)
    bound = tested.ulp[x.dtype.itemsize // 8]
    for start in range(0, x.size, CHUNK):
        part = x[start : start + CHUNK]
        with np.errstate(invalid="ignore"):  # signalling NaNs among the bit patterns
            read = np.where(np.abs(part) < info.tiny, np.copysign(0, part), part)
            x_wide = read.astype(wide)
            got, want = _core.vmath(name, part), exact(name, x_wide)
            error = error_ulp(got, want, floor(name, x_wide), tested.flushed)
            assert not ((got != 0) & (np.abs(got) < info.tiny)).any(), f"{name} is subnormal"
        worst = error.argmax()
        assert error[worst] <= bound, f"{name}({part[worst]!r}) is {error[worst]:.3f} ulp off"


def float32_patterns(first, last, step):
    """The float32 whose bit patterns are first, first + step, … < last, CHUNK at a time."""
    for start in range(first, last, step * CHUNK):
        stop = min(start + step * CHUNK, last)
        yield np.arange(start, stop, step).astype(np.uint32).view(np.float32)


def pattern(x):
    return int(np.float32(x).view(np.uint32))


def test_every_function_is_tested():
    missing = set(NAMES) - set(FUNCTIONS)
    assert not missing, f"FUNCTIONS has no row for {missing}, of csrc/kernels/vmath.h"
    assert set(FUNCTIONS) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_float32_error_is_within_the_bound_where_f_varies(name, exhaustive):
    low, high = FUNCTIONS[name].varies
    tiny = 0.0 if name == "log" else TINY
    step = FUNCTIONS[name].every if exhaustive else 1021
    for part in float32_patterns(pattern(tiny), pattern(high) + 1, step):
        check(name, part, np.float64)
    if low < 0:
        for part in float32_patterns(pattern(-tiny), pattern(low) + 1, step):
            check(name, part, np.float64)


@pytest.mark.parametrize("name", NAMES)
def test_float32_error_is_within_the_bound_everywhere(name, exhaustive):
    for part in float32_patterns(0, 1 << 32, 251 if exhaustive else 65521):
        check(name, part, np.float64)


@needs_long_double
@pytest.mark.parametrize("name", NAMES)
def test_float64_error_is_within_the_bound(name, exhaustive, rng):
    low, high = FUNCTIONS[name].varies_f64
    for _ in range(400 // FUNCTIONS[name].every ** 2 + 1 if exhaustive else 1):
        n = CHUNK // 8
        sign = rng.choice([-1.0, 1.0], n)
        half_steps = (rng.integers(-1000, 1000, n) + 0.5) * np.log(2) / 2  # ends of the reduction
        near_one = 1 + sign * np.ldexp(rng.random(n), rng.integers(-50, 0, n))
        x = np.concatenate(
            [
                rng.uniform(low, high, 2 * n),
                rng.uniform(-4, 4, n),
                sign * np.ldexp(1 + rng.random(n), rng.integers(-60, 8, n)),
                half_steps * (1 + 1e-9 * rng.standard_normal(n)),
                near_one,
                near_one - 1,
                rng.integers(0, 1 << 64, n, dtype=np.uint64).view(np.float64),
            ]
        )
        check(name, x, np.longdouble)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_special_values(name, dtype):
    for x, want in [*zip(POINTS, FUNCTIONS[name].special, strict=True), (nan, nan)]:
        if want is not None:
            got = _core.vmath(name, np.array([x], dtype))
            np.testing.assert_array_equal(got, np.array([want], dtype), err_msg=f"{name}({x})")
            assert np.isnan(want) or np.signbit(got[0]) == np.signbit(want), f"{name}({x})"


@pytest.mark.parametrize(
    ("dtype", "wide"),
    [(np.float32, np.float64), pytest.param(np.float64, np.longdouble, marks=needs_long_double)],
)
@pytest.mark.parametrize("name", NAMES)
def test_arguments_at_the_ends_of_the_ranges(name, dtype, wide):
    """Subnormal and largest arguments, and 64 neighbours of each edge of the result's range."""
    info = np.finfo(dtype)
    log_max, log_tiny = np.log(info.max), -np.log(info.tiny)
    log_least = log_tiny + info.nmant * np.log(dtype(2))
    edges = [info.tiny, info.smallest_subnormal, 1, info.eps, log_max, log_tiny, log_least]
    edges += np.sqrt([2, 0.5]).tolist() + [np.sqrt(2) - 1, 1 - np.sqrt(0.5)]
    bits = f"i{info.bits // 8}"
    around = np.array(edges, dtype).view(bits)[:, None] + np.arange(-64, 65, dtype=bits)
    x = around[around >= 0].view(dtype)
    check(name, np.concatenate([x, -np.abs(x), np.array([info.max, info.min], dtype)]), wide)


@pytest.mark.parametrize(
    ("dtype", "wide"),
    [(np.float32, np.float64), pytest.param(np.float64, np.longdouble, marks=needs_long_double)],
)
@pytest.mark.parametrize("name", ["sin", "cos"])
def test_sin_and_cos_near_zeros_and_extrema(name, dtype, wide, rng):
    """The reduction cancels most here; arguments inside and outside its range."""
    last = 1100 if dtype == np.float32 else 1_100_000
    turns = np.arange(1, 1100) if dtype == np.float32 else rng.integers(1, last, 5000)
    at = (turns * (np.pi / 2)).astype(dtype)
    x = np.concatenate([at, np.nextafter(at, dtype(0)), np.nextafter(at, dtype(np.inf))])
    check(name, np.concatenate([x, -x, 10 * x, dtype(1e30) * x]), wide)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", NAMES)
def test_every_length_and_offset_gives_the_same_bits(name, dtype, rng):
    """Whole vectors and tails give the same bits, and nothing after the end is written."""
    x = rng.uniform(0.1, 3, 48).astype(dtype)
    alone = np.concatenate([_core.vmath(name, x[i : i + 1]) for i in range(x.size)])
    for n in (0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 47):
        for offset in (0, 1):
            out = np.full(x.size + 2, -77, dtype)
            inside = slice(1 + offset, 1 + offset + n)
            _core.vmath(name, x[offset : offset + n], out[inside])
            case = f"{n} elements, {offset} off"
            np.testing.assert_array_equal(out[inside], alone[offset : offset + n], case)
            assert (np.delete(out, inside) == -77).all(), case
    in_place = x.copy()
    _core.vmath(name, in_place, in_place)
    np.testing.assert_array_equal(in_place, alone)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tanh_is_odd_and_tanh_and_sigmoid_stay_in_range(dtype, rng):
    x = np.concatenate([rng.uniform(-40, 40, 20000), rng.standard_normal(20000)]).astype(dtype)
    tanh, sigmoid = _core.vmath("tanh", x), _core.vmath("sigmoid", x)
    np.testing.assert_array_equal(_core.vmath("tanh", -x), -tanh)
    assert np.abs(tanh).max() <= 1
    assert sigmoid.min() >= 0 and sigmoid.max() <= 1
