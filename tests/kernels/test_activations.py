"""Every activation: its error in ulp, its limits, and whether docs/activations.md is right."""

import re
from pathlib import Path

import numpy as np
import pytest
import test_vmath as vmath
from engine_cases import DTYPES
from test_vmath import error_ulp, needs_long_double

import fastbp
from fastbp import activations
from fastbp._core import gemm
from fastbp.activations import Activation
from fastbp.optim import SGD
from fastbp.reference._formulas import activate, quiet

PAGE = Path(__file__).parents[2] / "docs" / "activations.md"
WIDER = [("float32", np.float64), pytest.param("float64", np.longdouble, marks=needs_long_double)]
HIDDEN = [name for name in activations.NAMES if not Activation(name).entry.output_only]
BY_Z = [name for name in HIDDEN if Activation(name).derivative_from == "z"]


def table():
    """{name: cells} of the table on the page; the cells without the first, which is the name."""
    rows = re.findall(r"^\| `(\w+)(?:\(α\))?` \|(.*)\|$", PAGE.read_text("utf-8"), re.MULTILINE)
    return {name: [cell.strip() for cell in cells.split(" | ")] for name, cells in rows}


def value(name, z):
    """σ(z) of a 1-D z, computed by the engine as the epilogue of a product with k = 1.

    A formula is not in an epilogue, but in the output layer of a network with W = 0 and b = z.
    """
    act = Activation(name)
    if act.formula is not None:
        net = fastbp.Network((1, len(z)), output=name, dtype=z.dtype, init="zeros")
        net.layers[0].b = z
        return net.predict([[0.0]])[0]
    a = np.empty((1, len(z)), z.dtype)
    gemm("nn", np.ones((1, 1), z.dtype), z[None, :], a, activation=act.name, alpha=act.alpha)
    return a[0]


def exact(name, z):
    """σ(z) in the dtype of z; by vmath.exact where the reference is not accurate enough."""
    if name in vmath.NAMES:
        return vmath.exact(name, z)
    act = Activation(name)
    return np.asarray(quiet(activate)(act, z, list(act.constants.values())))


def test_the_page_lists_every_activation():
    rows = table()
    assert list(rows) == list(activations.NAMES)
    for name, (_, _, source, *_) in rows.items():
        assert source == Activation(name).derivative_from, name


@pytest.mark.parametrize(("dtype", "wide"), WIDER)
@pytest.mark.parametrize("name", HIDDEN)
def test_error_is_within_the_bound_of_the_page(rng, name, dtype, wide):
    bound = float(re.findall(r"[\d.]+", table()[name][3])[DTYPES.index(dtype)])
    n = 20000
    z = np.concatenate(
        [
            rng.uniform(-8, 8, n),
            rng.uniform(-800, 800, n),
            rng.choice([-1.0, 1.0], n) * 10.0 ** rng.uniform(-37, 3, n),
        ]
    ).astype(dtype)
    z_wide = z.astype(wide)
    error = error_ulp(value(name, z), exact(name, z_wide), vmath.floor(name, z_wide))
    worst = error.argmax()
    assert error[worst] <= bound, f"{name}({z[worst]!r}) is {error[worst]:.2f} ulp off"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", HIDDEN)
def test_values_at_the_limits_and_nan(name, dtype):
    z = np.array([-np.inf, np.finfo(dtype).min, np.finfo(dtype).max, np.inf, np.nan], dtype)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(value(name, z), exact(name, z), rtol=2 * eps, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", HIDDEN)
def test_slopes_at_the_limits(name, dtype):
    z = np.array([-np.inf, np.finfo(dtype).min, np.finfo(dtype).max, np.inf], dtype)
    slopes = []
    for kind in (fastbp.Network, fastbp.reference.Network):
        net = kind((1, 4, 4), activation=name, dtype=dtype, init="zeros")
        net.layers[0].b = z
        net.layers[1].W = np.eye(4)
        net.forward([[0.0]])
        net.backward_from(np.ones((1, 4)))
        slopes.append(net.layers[0].delta)
    assert np.isfinite(slopes[0]).all() or name in ("exp", "sin")
    np.testing.assert_allclose(*slopes, rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [3, 40])
@pytest.mark.parametrize("name", BY_Z)
def test_training_keeps_z_where_the_slope_needs_it(rng, name, n, dtype):
    """A step of `fit` has the same bits as `value_and_grad` and `step`, which keep every z."""
    X, y = rng.normal(size=(n, 5)).astype(dtype), rng.normal(size=(n, 2)).astype(dtype)
    options = {"activation": [name, "tanh", name], "output": name, "dtype": dtype, "seed": 3}
    fitted, stepped = (fastbp.Network((5, 33, 17, 9, 2), **options) for _ in range(2))
    fitted.fit(X, y, epochs=2, batch_size=n, shuffle=False, optimizer=SGD(0.1))
    optimizer = SGD(0.1)
    for _ in range(2):
        stepped.value_and_grad(X, y)
        stepped.step(optimizer)
    np.testing.assert_array_equal(fitted.theta, stepped.theta)
