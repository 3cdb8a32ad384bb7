"""Factors of products in a lower precision: rounding to 8 bits, and to the sum of two such numbers.

The oracle rounds integers of the significand, with Python's own arithmetic.
"""

import math

import numpy as np
import pytest

from fastbp._core import round_factor

HIGH, MEDIUM = 1, 2  # fastbp_precision_t
DTYPES = ("float32", "float64")
LANES = {"float32": (1, 4, 8, 16), "float64": (1, 2, 4, 8)}


def to_8_bits(x, dtype):
    """x rounded to 8 significant bits, ties to even; the range is that of dtype."""
    if x == 0 or not math.isfinite(x):
        return x
    significand, exponent = math.frexp(x)
    integer = round(significand * 256)  # ties to even
    if abs(integer) == 256 and exponent == np.finfo(dtype).maxexp:
        return math.copysign(math.inf, x)
    return math.ldexp(integer, exponent - 8)


def exact(x, precision):
    if precision == MEDIUM:
        return np.array([to_8_bits(float(v), x.dtype) for v in x.flat]).reshape(x.shape)
    high = exact(x, MEDIUM)
    rest = np.where(np.isfinite(high), x, 0) - np.where(np.isfinite(high), high, 0)
    rest = np.where(abs(rest) < np.finfo(x.dtype).tiny, 0, rest)  # a subnormal lo is a zero
    return high + exact(rest.astype(x.dtype), MEDIUM)


@pytest.mark.parametrize("precision", [HIGH, MEDIUM])
@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_of_every_kind(dtype, precision):
    rng = np.random.default_rng(1)
    info = np.finfo(dtype)
    ties = [1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + info.eps, 1 + 2**-17, 1 + 2**-7 + 2**-16]
    x = np.array([0.0, -0.0, np.inf, -np.inf, info.max, -info.max, info.tiny, 1, *ties], dtype)
    subnormal_lo = info.tiny * np.array([1 + 2**-9, -1 - 3 * 2**-10, 1.75 + 2**-10], dtype)
    x = np.concatenate([x, subnormal_lo])
    some = rng.normal(size=4000) * 2.0 ** rng.integers(-60, 60, 4000)
    x = np.concatenate([x, some.astype(dtype)])
    computed = round_factor(x, precision)
    assert computed.dtype == dtype
    expected = exact(x, precision)
    assert np.array_equal(computed, expected)
    assert np.array_equal(np.signbit(computed), np.signbit(expected))  # at "high", −0 + 0 = 0
    again = round_factor(computed, precision)
    assert np.array_equal(again, computed)
    assert np.isnan(round_factor(np.full(33, np.nan, dtype), precision)).all()


@pytest.mark.parametrize("precision", [HIGH, MEDIUM])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_error_is_half_a_unit_of_the_last_bit(dtype, precision):
    x = np.random.default_rng(2).normal(size=5000).astype(dtype)
    error = abs(round_factor(x, precision).astype(float) - x)
    assert (error <= abs(x) * (2.0**-8 if precision == MEDIUM else 2.0**-17)).all()


@pytest.mark.parametrize("precision", [HIGH, MEDIUM])
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_of_any_length_and_stride(dtype, precision):
    rng = np.random.default_rng(3)
    lengths = {1, 7, 15, 31, 33, 97} | {n + d for n in LANES[dtype] for d in (-1, 0, 1)} - {0}
    for cols in sorted(lengths):
        x = np.full((5, cols + 3), np.nan, dtype)
        out = np.full((5, cols + 9), 7, dtype)
        x[:, 1 : 1 + cols] = rng.normal(size=(5, cols))
        round_factor(x[:, 1 : 1 + cols], precision, out[:, 2 : 2 + cols])
        assert np.array_equal(out[:, 2 : 2 + cols], exact(x[:, 1 : 1 + cols], precision))
        assert (out[:, :2] == 7).all() and (out[:, 2 + cols :] == 7).all()


def test_the_precision_of_the_dtype_is_refused():
    with pytest.raises(ValueError, match="argument"):
        round_factor(np.ones(3, "float32"), 0)
