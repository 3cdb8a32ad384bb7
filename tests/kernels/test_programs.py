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
