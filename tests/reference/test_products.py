"""The factors of the reference's products: bfloat16, exactly, and what is made of them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastbp.reference import Network, slow_backprop
from fastbp.reference._products import bf16, product, split

pytestmark = pytest.mark.once

ROUNDED = ("high", "medium")
TINY, LARGEST = 2.0**-126, float.fromhex("0x1.fep127")
FLOATS = st.floats(-(2.0**200), 2.0**200)


def every_upper_half(*lower_halves):
    """All float32 whose lower 16 bits are one of these."""
    upper = np.arange(2**16, dtype=np.uint32)[:, None] << np.uint32(16)
    return (upper | np.array(lower_halves, np.uint32)).ravel().view(np.float32)


def nearest(bits):
    """The bits of the nearest bfloat16 by integers: up from the middle on, if that gives even."""
    upper, lower = bits >> 16, bits & 0xFFFF
    up = (lower > 0x8000) | ((lower == 0x8000) & (upper % 2 == 1))
    return (upper + up) << 16


def test_float32_rounds_to_the_nearest_bfloat16():
    x = every_upper_half(0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF)
    x = x[np.isfinite(x) & (abs(x) >= TINY)]
    expected = nearest(x.view(np.uint32).astype(np.int64)).astype(np.uint32)
    assert np.array_equal(bf16(x).view(np.uint32), expected)
    assert np.array_equal(bf16(x.astype(np.float64)), bf16(x))


@given(FLOATS)
def test_float64_rounds_once(x):
    """Not by way of float32, which would round some numbers twice."""
    rounded = bf16(np.array([x]))[0]
    if abs(x) < TINY:
        assert rounded == 0 and math.copysign(1, rounded) == math.copysign(1, x)
        return
    mantissa, exponent = math.frexp(x)
    expected = math.ldexp(round(mantissa * 256), exponent - 8)
    assert rounded == (expected if abs(expected) <= LARGEST else math.copysign(math.inf, x))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_special_numbers(dtype):
    x = np.array([0.0, -0.0, np.inf, -np.inf, 1e-40, -1e-40, 3.4e38, -3.4e38], dtype)
    assert bf16(x).tolist() == [0.0, -0.0, np.inf, -np.inf, 0.0, -0.0, np.inf, -np.inf]
    assert np.signbit(bf16(x)).tolist() == np.signbit(x).tolist()
    quiet, negative = np.array([np.nan], dtype), np.array([-np.nan], dtype)
    assert np.isnan(bf16(quiet)) and np.isnan(bf16(negative)) and np.isnan(split(quiet)[0])
    hi, lo = split(x)
    assert hi.tolist() == bf16(x).tolist() and not lo.any()
    assert hi.dtype == lo.dtype == bf16(x).dtype == x.dtype


def test_a_nan_whose_bits_would_carry_over_stays_nan():
    x = np.array([0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001], np.uint32).view(np.float32)
    assert np.isnan(bf16(x)).all()


@given(st.floats(TINY, LARGEST, width=32))
def test_hi_and_lo_have_sixteen_bits(x):
    for dtype in ("float32", "float64"):
        hi, lo = (part.astype(np.float64) for part in split(np.array([x], dtype)))
        assert bf16(hi) == hi and bf16(lo) == lo
        assert abs(x - hi - lo) <= max(2.0**-17 * x, TINY)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_are_those_of_the_rounded_factors(rng, dtype):
    """Factors of 4 bits times powers of 2 make every product and sum exact."""
    A, B = (rng.integers(-8, 8, shape).astype(dtype) for shape in ((5, 7), (7, 3)))
    assert np.array_equal(product(A, B, "medium"), A @ B)
    fine = A + np.float32(2**-10)  # more than 8 bits: hi is A where that is not 0
    assert np.array_equal(product(fine, B, "medium"), bf16(fine) @ B)
    assert np.array_equal(product(fine, B, "high"), fine @ B)
    assert np.array_equal(product(fine, B, "highest"), fine @ B)


@pytest.mark.parametrize(("precision", "factor"), [("medium", 2.0**-7), ("high", 2.0**-15)])
def test_errors_of_products_are_those_of_the_factors(rng, precision, factor):
    """2·2⁻⁸ + 2⁻¹⁶ at 8 bits; at 16 bits 2·2⁻¹⁷, and 2⁻¹⁶ for lo·lo, which is left out."""
    A, B = rng.normal(size=(40, 50)), rng.normal(size=(50, 30))
    error = abs(product(A, B, precision) - A @ B)
    assert (error <= 1.01 * factor * (abs(A) @ abs(B))).all()
    assert error.max() > 0


@pytest.mark.parametrize("precision", ROUNDED)
@pytest.mark.parametrize("output", ["identity", "softmax"])
def test_loops_over_units_give_the_same_pass(rng, precision, output):
    """db is a sum of unrounded δ, and σ' is that of unrounded z: the loops round only factors."""
    net = Network(
        (5, 7, 6, 3),
        activation="tanh",
        output=output,
        loss="cross_entropy" if output == "softmax" else "squared_error",
        matmul_precision=precision,
        seed=3,
        l2=0.01,
    )
    X, s = rng.normal(size=(4, 5)), rng.uniform(0.5, 2, 4)
    y = rng.integers(3, size=4) if output == "softmax" else rng.normal(size=(4, 3))
    slow = slow_backprop(net, X, y, s)
    net.forward(X)
    assert net.backward(y, s) == pytest.approx(slow.J, rel=1e-13)
    for i, layer in enumerate(net.layers):
        for name in ("z", "a", "delta", "dW", "db"):
            computed, expected = getattr(layer, name), getattr(slow, name)[i]
            np.testing.assert_allclose(computed, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("precision", ROUNDED)
def test_derivatives_round_no_factors(rng, precision):
    nets = [
        Network((4, 6, 2), activation="tanh", seed=1, matmul_precision=each)
        for each in ("highest", precision)
    ]
    X, y, v = rng.normal(size=(3, 4)), rng.normal(size=(3, 2)), rng.normal(size=nets[0].theta.size)
    for one, two in zip(*(_derivatives(net, X, y, v) for net in nets), strict=True):
        assert np.array_equal(one, two)
    assert not np.array_equal(nets[0].predict(X), nets[1].predict(X))


def _derivatives(net, X, y, v):
    yield from (net.vjp(X, y), net.jacobian(X), net.per_sample_gradients(X, y))
    yield from (net.gradient_norms(X, y), net.jvp(X, X, dtheta=v), net.hvp(X, y, v))
    yield from net.relevance(X, y)


@pytest.mark.parametrize("precision", ROUNDED)
def test_dtypes_of_the_reference_differ_by_rounding_of_sums(rng, precision):
    """In one layer, where both dtypes have the same factors."""
    nets = [
        Network((50, 20), dtype=dtype, seed=2, matmul_precision=precision)
        for dtype in ("float32", "float64")
    ]
    nets[1].theta = nets[0].theta
    X = rng.normal(size=(8, 50)).astype(np.float32)
    one, two = (net.predict(X) for net in nets)
    eps = float(np.finfo(np.float32).eps)
    bound = (3 * 50 + 2) * eps * (abs(X) @ abs(nets[1].layers[0].W))
    assert (abs(one - two) <= bound).all()


def test_a_complex_theta_needs_highest():
    from fastbp.reference import objective

    net = Network((2, 1), seed=0, matmul_precision="medium")
    with pytest.raises(ValueError, match="a complex theta needs matmul_precision='highest'"):
        objective(net, [[1.0, 2.0]], [[0.0]], net.theta + 1e-20j)
