"""The interpreter of programs against NumPy in float64."""

from types import SimpleNamespace

import numpy as np
import pytest

from fastbp import _core

DTYPES = ("float32", "float64")


def program(inputs, code, outputs, *, constants=(), temporaries=("full",)):
    return SimpleNamespace(
        inputs=inputs, constants=constants, temporaries=temporaries, code=code, outputs=outputs
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("by_rows", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (7, 50), (5, 128), (3, 513), (2, 2000)])
def test_a_gate_with_a_constant_and_its_slope(shape, by_rows, dtype, rng):
    """a = z sigmoid(beta z) + 2 and a g: every operation gets vectors and single numbers."""
    z, g = rng.standard_normal((2, *shape)).astype(dtype)
    code = (
        ("mul", 4, 0, 1, -1),
        ("sigmoid", 4, 4, -1, -1),
        ("fma", 5, 0, 4, 3),
        ("mul", 4, 5, 2, -1),
    )
    gate = program(
        ("full", "one", "full"), code, (5, 4), constants=(2.0,), temporaries=("full", "full")
    )
    beta = np.array([0.5], dtype)
    a, delta = _core.run_program(gate, [z, beta, g], shape, dtype == "float64", by_rows=by_rows)
    want = z.astype("d") / (1 + np.exp(-0.5 * z.astype("d"))) + 2
    # mul 1, sigmoid 3 (its argument weighted by at most |x| s' < 1), fma 1, mul 1 ulp
    bound = 6 * np.finfo(dtype).eps * (np.abs(z) + 2)
    assert (np.abs(a - want) <= bound).all()
    assert (np.abs(delta - want * g) <= bound * np.abs(g)).all()


@pytest.mark.parametrize(
    "code",
    [
        (("add", 2, 0, 1, 1),),  # an operand too many
        (("add", 2, 0, -1, -1),),  # one too few
        (("neg", 0, 1, -1, -1),),  # writes an input
        (("neg", 3, 1, -1, -1),),  # no such slot
        (("neg", 2, 2, -1, -1),),  # not written yet
        (("row_sum", 2, 0, -1, -1),),  # its result is one number per row
    ],
)
def test_bad_code_is_refused(code):
    bad = program(("full", "full"), code, (2,))
    with pytest.raises(ValueError, match="refused"):
        _core.run_program(bad, [np.zeros((1, 1))] * 2, (1, 1), True)


def scaled(constant):
    """z times a constant, which the engine rounds to the dtype."""
    return program(("full",), (("mul", 2, 0, 1, -1),), (2,), constants=(constant,))


@pytest.mark.parametrize("dtype", DTYPES)
def test_constants_that_are_not_finite_in_the_dtype_are_refused(dtype):
    z = np.ones((1, 1), dtype)
    largest = float(np.finfo(dtype).max)
    (a,) = _core.run_program(scaled(largest), [z], (1, 1), dtype == "float64")
    assert a == largest
    for constant in (np.nan, np.inf, -np.inf, *([1e300] if dtype == "float32" else [])):
        with pytest.raises(ValueError, match="refused"):
            _core.run_program(scaled(constant), [z], (1, 1), dtype == "float64")


@pytest.mark.parametrize("dtype", DTYPES)
def test_subnormal_constants_are_zeros(dtype):
    """Of their sign, as in arithmetic; `copy` would keep the bits of a subnormal number."""
    smallest = float(np.finfo(dtype).smallest_normal)
    for constant in (smallest / 2, -smallest / 2, smallest):
        copied = program((), (("copy", 1, 0, -1, -1),), (1,), constants=(constant,))
        (a,) = _core.run_program(copied, [], (1, 1), dtype == "float64")
        exact = constant if constant == smallest else np.copysign(0.0, constant)
        assert a == exact
        assert np.signbit(a) == np.signbit(exact)


def test_programs_beyond_the_limits_are_refused():
    z = np.ones((1, 1))
    for n, refused in ((1 << 14, False), ((1 << 14) + 1, True)):
        long = program(("full",), (("neg", 1, 0, -1, -1),) * n, (1,))
        if refused:
            with pytest.raises(ValueError, match="refused"):
                _core.run_program(long, [z], (1, 1), True)
        else:
            assert _core.run_program(long, [z], (1, 1), True)[0] == -1
    for n, refused in ((9, False), (10, True)):
        code = tuple(("neg", 1 + k, 0, -1, -1) for k in range(n))
        many = program(("full",), code, tuple(range(1, 1 + n)), temporaries=("full",) * n)
        if refused:
            with pytest.raises(ValueError, match="refused"):
                _core.run_program(many, [z], (1, 1), True)
        else:
            assert all(out == -1 for out in _core.run_program(many, [z], (1, 1), True))
    wide = program(("full",), (("neg", 1, 0, -1, -1),), (1,), temporaries=("full",) * (1 << 12))
    with pytest.raises(ValueError, match="refused"):
        _core.run_program(wide, [z], (1, 1), True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 64), (3, 50), (5, 7)])
def test_an_output_may_replace_an_input_that_is_read_later(shape, dtype, rng):
    """Its slot is written before the last read of the input, or twice."""
    z = rng.standard_normal(shape).astype(dtype)
    early = program(
        ("full",),
        (("neg", 1, 0, -1, -1), ("abs", 2, 0, -1, -1)),
        (1, 2),
        temporaries=("full", "full"),
    )
    twice = program(("full",), (("neg", 1, 0, -1, -1), ("add", 1, 1, 0, -1)), (1,))
    for code, exact in ((early, (-z, abs(z))), (twice, (0 * z,))):
        own = z.copy()
        rest = [np.empty_like(z) for _ in exact[1:]]
        found = _core.run_program(code, [own], shape, dtype == "float64", out=[own, *rest])
        for a, value in zip(found, exact, strict=True):
            assert (a == value).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 64), (3, 50), (5, 7), (3, 1000)])
def test_outputs_may_share_a_slot(shape, dtype, rng):
    """The rows of each output have a distance of their own."""
    z = rng.standard_normal(shape).astype(dtype)
    both = program(("full",), (("neg", 1, 0, -1, -1),), (1, 1))
    rows, cols = shape
    wide = [np.full((rows, cols + pad), 7, dtype) for pad in (3, 0, 16)]
    for first, second in ((0, 1), (1, 2), (2, 0)):
        out = [wide[first][:, :cols], wide[second][:, :cols]]
        for each in _core.run_program(both, [z], shape, dtype == "float64", out=out):
            assert (each == -z).all()
    assert (wide[0][:, cols:] == 7).all() and (wide[2][:, cols:] == 7).all()
