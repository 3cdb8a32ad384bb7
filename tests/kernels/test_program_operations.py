"""Every operation of programs against NumPy, in both ways of running and with all operands.

Values are compared with float64, those of float64 with long double where NumPy has the function.
A bound is in ulp of the result: 0.5 for one rounding, the bound of vmath.inc for its functions, and
up to 2 for functions of libm. Functions of vmath.inc have tests of their own in test_vmath.py.
"""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from fastbp import _core

LANES = 16  # the most that a vector of any instruction set has
SHAPES = [(1, 1), (2, LANES - 1), (3, LANES), (2, LANES + 1), (5, 31), (3, 97), (40, 3), (2, 601)]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.logaddexp(0, x)


def silu_slope(x):
    return sigmoid(x) * (1 + x * (1 - sigmoid(x)))


def mish_slope(x):
    t = np.tanh(softplus(x))
    return t + x * (1 - t * t) * sigmoid(x)


def gelu_gate(x):
    return 2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)


def gelu_tanh_slope(x):
    s, dv = sigmoid(gelu_gate(x)), 2 * np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * x * x)
    return s * (1 + x * dv * (1 - s))


# operation: (function, ulp, lowest and highest operand). Slopes are bounded in ulp of 1, and
# gelu_tanh in ulp of max(|a|, |x|/8).
ONE = {
    "copy": (lambda x: x, 0, -3, 3),
    "neg": (lambda x: -x, 0, -3, 3),
    "abs": (abs, 0, -3, 3),
    "sign": (np.sign, 0, -3, 3),
    "sqrt": (np.sqrt, 0.5, 0, 9),
    "square": (np.square, 0.5, -3, 3),
    "reciprocal": (lambda x: 1 / x, 0.5, 0.1, 9),
    "exp": (np.exp, 1.3, -9, 9),
    "expm1": (np.expm1, 2.3, -9, 9),
    "log": (np.log, 0.9, 0.01, 99),
    "log1p": (np.log1p, 1.4, -0.9, 99),
    "sin": (np.sin, 0.9, -9, 9),
    "cos": (np.cos, 0.9, -9, 9),
    "arcsin": (np.arcsin, 1, -1, 1),
    "arccos": (np.arccos, 1, -1, 1),
    "arctan": (np.arctan, 1, -99, 99),
    "sinh": (np.sinh, 2, -9, 9),
    "cosh": (np.cosh, 2, -9, 9),
    "tanh": (np.tanh, 2.0, -9, 9),
    "sigmoid": (sigmoid, 1.9, -9, 9),
    "softplus": (softplus, 1.9, -9, 9),
    "silu": (lambda x: x * sigmoid(x), 2.4, -9, 9),
    "mish": (lambda x: x * np.tanh(softplus(x)), 2.5, -9, 9),
    "gelu_tanh": (lambda x: x * sigmoid(gelu_gate(x)), 3.2, -3, 3),
    "silu_slope": (silu_slope, 8, -9, 9),
    "mish_slope": (mish_slope, 8, -9, 9),
    "gelu_tanh_slope": (gelu_tanh_slope, 12, -3, 3),
}
TWO = {
    "add": (np.add, 0.5),
    "sub": (np.subtract, 0.5),
    "mul": (np.multiply, 0.5),
    "div": (np.divide, 0.5),
    "pow": (np.power, 1),
    "min": (np.minimum, 0),
    "max": (np.maximum, 0),
    "less": (np.less, 0),
    "less_equal": (np.less_equal, 0),
    "equal": (np.equal, 0),
}
THREE = {
    "fma": lambda x, y, z: x * y + z,
    "fms": lambda x, y, z: x * y - z,
    "fnma": lambda x, y, z: z - x * y,
    "select": lambda c, x, y: np.where(c != 0, x, y),
    "select_positive": lambda c, x, y: np.where(c > 0, x, y),
}
REDUCTIONS = {"row_sum", "row_max", "row_length"}
DTYPES = ("float32", "float64")


def run(operation, operands, shape, dtype, *, by_rows=False, kind="full"):
    """The result of one instruction on operands that are full or single numbers."""
    n = len(operands)
    program = SimpleNamespace(
        inputs=tuple("one" if x.size == 1 and x.ndim == 1 else "full" for x in operands),
        constants=(),
        temporaries=(kind,),
        code=((operation, n, *range(n), *[-1] * (3 - n)),),
        outputs=(n,),
    )
    (out,) = _core.run_program(program, operands, shape, dtype == "float64", by_rows=by_rows)
    return out


def padded(x):
    """The same numbers in rows that are farther apart, with NaN between them."""
    wide = np.full((len(x), x.shape[1] + 5), np.nan, x.dtype)
    wide[:, 1 : 1 + x.shape[1]] = x
    return wide[:, 1 : 1 + x.shape[1]]


def precise(x):
    return x.astype(np.longdouble if x.dtype == np.float64 else np.float64)


def check_close(got, want, ulp, dtype, scale=None):
    """`got` is within so many ulp of `want`, or of `scale` if that is larger."""
    info = np.finfo(dtype)
    size = np.maximum(abs(want), 0 if scale is None else scale)
    unit = np.spacing(np.maximum(size, info.tiny).astype(dtype)).astype(np.float64)
    wider = 0.5 if dtype == "float64" and np.finfo(np.longdouble).eps == info.eps else 0
    assert (abs(precise(got) - want) <= (ulp + wider) * unit * (1 + 8 * info.eps)).all()


def test_every_operation_is_in_a_table():
    assert set(_core.OPERATIONS) == {*ONE, *TWO, *THREE, *REDUCTIONS}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("operation", ONE)
def test_operations_of_one_number(operation, dtype, rng):
    function, ulp, low, high = ONE[operation]
    scales = {"gelu_tanh": lambda x: abs(precise(x)) / 8}
    if operation.endswith("_slope"):
        scales[operation] = lambda x: 1
    for shape, by_rows in product(SHAPES, (False, True)):
        x = rng.uniform(low, high, shape).astype(dtype)
        got = run(operation, [padded(x)], shape, dtype, by_rows=by_rows)
        scale = scales[operation](x) if operation in scales else None
        check_close(got, function(precise(x)), ulp, dtype, scale)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("operation", [*TWO, *THREE])
def test_operations_of_several_numbers(operation, dtype, rng):
    function, ulp = TWO.get(operation, (THREE.get(operation), 0))
    n = 2 if operation in TWO else 3
    forms = [form for form in product((False, True), repeat=n) if not all(form)]
    for shape, by_rows in product(SHAPES, (False, True)):
        x = rng.uniform(-3, 3, (n, *shape)).round(1).astype(dtype)
        if operation in ("pow", "div"):
            x = abs(x) + x.dtype.type(0.5)
        for form in forms:
            operands = [
                x[k].ravel()[:1].copy() if one else padded(x[k]) for k, one in enumerate(form)
            ]
            got = run(operation, operands, shape, dtype, by_rows=by_rows)
            exact = [precise(each) for each in operands]
            want = np.broadcast_to(function(*exact), shape) * 1.0
            if operation in ("fma", "fms", "fnma"):  # scalar rounds the product too
                check_close(got, want, 1, dtype, abs(exact[0] * exact[1]))
            else:
                check_close(got, want, ulp, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_reductions(dtype, rng):
    for shape in SHAPES:
        x = rng.standard_normal(shape).astype(dtype)
        total = run("row_sum", [padded(x)], shape, dtype, by_rows=True, kind="row")
        bound = shape[1] * np.finfo(dtype).eps * abs(precise(x)).sum(axis=1)
        assert (abs(total - precise(x).sum(axis=1)) <= bound).all()
        largest = run("row_max", [padded(x)], shape, dtype, by_rows=True, kind="row")
        np.testing.assert_array_equal(largest, x.max(axis=1))
        length = run("row_length", [], shape, dtype, by_rows=True, kind="row")
        np.testing.assert_array_equal(length, np.full(shape[0], shape[1]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("operation", ONE)
def test_blocks_have_the_bits_of_the_whole(operation, dtype, rng):
    _, _, low, high = ONE[operation]
    x = rng.uniform(low, high, (70, 37)).astype(dtype)
    whole = run(operation, [x], x.shape, dtype)
    np.testing.assert_array_equal(run(operation, [x], x.shape, dtype, by_rows=True), whole)
    for first, last in ((0, 1), (1, 18), (18, 70)):
        part = run(operation, [x[first:last]], (last - first, 37), dtype)
        np.testing.assert_array_equal(part, whole[first:last])


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_is_propagated(dtype):
    x = np.array([[1.0, np.nan, -1.0]], dtype)
    other = np.full_like(x, 0.5)
    for operation in ONE:
        assert np.isnan(run(operation, [x], x.shape, dtype)[0, 1]), operation
    for operation in set(TWO) - {"less", "less_equal", "equal"}:
        for operands in ([x, other], [other, x]):
            assert np.isnan(run(operation, operands, x.shape, dtype)[0, 1]), operation
    for operation in ("less", "less_equal", "equal"):
        assert run(operation, [x, x], x.shape, dtype)[0, 1] == 0, operation
    for operation in ("row_sum", "row_max"):
        assert np.isnan(run(operation, [x], x.shape, dtype, by_rows=True, kind="row")).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_powers_are_those_of_c(dtype):
    bases = np.array([[-2, -2, -2, 0, 0, 0, np.inf, 1, 2, -0.0]], dtype)
    exponents = np.array([[3, 2, 0.5, 2, 0, -1, -1, np.nan, 0, -1]], dtype)
    want = [[-8, 4, np.nan, 0, 1, np.inf, 0, 1, 1, -np.inf]]
    np.testing.assert_array_equal(run("pow", [bases, exponents], bases.shape, dtype), want)


@pytest.mark.parametrize("dtype", DTYPES)
def test_functions_read_subnormal_numbers_as_zero(dtype):
    x = np.array([[1e-5, -1e-5]], dtype) * np.finfo(dtype).tiny
    for operation in ("sqrt", "square", "sin", "arcsin", "arctan", "sinh", "tanh", "sign", "expm1"):
        np.testing.assert_array_equal(run(operation, [abs(x)], x.shape, dtype), 0, operation)
    half = np.array([0.5], dtype)
    np.testing.assert_array_equal(run("pow", [x, half], x.shape, dtype), 0)
