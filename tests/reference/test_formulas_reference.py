"""Random activations and losses in the reference: against textbook loops and differences."""

import numpy as np
import pytest
from engine_cases import DTYPES, within
from error_bounds import ErrorBounds
from formula_cases import ACTIVATIONS, LOSSES, random_activations, random_losses
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from fastbp import gates, losses
from fastbp.reference import Network, slow_backprop
from fastbp.testing import gradcheck

pytestmark = pytest.mark.once


def case(hidden, output, loss, dtype="float64", seed=4, n=7):
    """A network 3-5-4 whose parameters are all random, n samples and their weights."""
    rng = np.random.default_rng(seed)
    net = Network(
        (3, 5, 4), activation=hidden, output=output, loss=loss, dtype=dtype, seed=2, l2=0.1
    )
    net.theta = net.theta + rng.normal(scale=0.2, size=net.theta.size)
    X, y = rng.normal(size=(n, 3)), rng.normal(size=(n, 4))
    if net.criterion.labels:
        y = rng.dirichlet(np.ones(4), n)
    return net, X.astype(dtype), y.astype(dtype), rng.uniform(0.5, 2.0, n)


def check_against_loops(net, X, y, s, needed=None):
    """Every number of both passes, within the rounding of two computations.

    The reference computes merged formulas, and the loops walk through them as they were written.
    """
    net.forward(X)
    J = net.backward(y, s)
    merged, written = (ErrorBounds(net, y, s, "float64", written=each) for each in (False, True))
    if needed is not None:
        needed(merged.is_finite() and written.is_finite())
    slow = slow_backprop(net, X, y, s)
    within(slow.J, J, merged.J + written.J, "J")
    for i, layer in enumerate(net.layers):
        for name in ("z", "a", "delta", "dW", "db"):
            found, exact = getattr(slow, name)[i], getattr(layer, name)
            bound = getattr(merged, name)[i] + getattr(written, name)[i]
            within(found, exact, bound, f"{name} of {i}")
        assert slow.dconstants[i].keys() == layer.dconstants.keys() == merged.dconstants[i].keys()
        for name, found in slow.dconstants[i].items():
            bound = merged.dconstants[i][name] + written.dconstants[i][name]
            within(found, layer.dconstants[name], bound, f"d{name} of {i}")


# merged, the first is log1p(z**2), which does not round 1 + z**2
@settings(max_examples=25)
@given(random_activations(), random_activations(), random_losses(), st.integers(0, 2**16))
@example(
    gates.ActivationFormula("log(1 + z ** 2)"),
    gates.ActivationFormula("z"),
    gates.LossFormula("sum(a - y)"),
    0,
)
def test_slow_backprop_agrees_with_the_reference(hidden, output, loss, seed):
    check_against_loops(*case(hidden, output, loss, seed=seed), needed=assume)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("output", ["tanh", *ACTIVATIONS])
def test_slow_backprop_agrees_on_every_formula(loss, output):
    net, X, y, s = case("tanh", output, loss)
    check_against_loops(net, X, y, s)
    if losses.resolve(loss).labels:
        check_against_loops(net, X, np.eye(4)[y.argmax(axis=1)], s)


@settings(max_examples=60)
@given(random_activations(), random_activations(), random_losses(), st.sampled_from(DTYPES))
def test_gradients_pass_gradcheck(hidden, output, loss, dtype):
    net, X, y, s = case(hidden, output, loss, dtype)
    assert gradcheck(net, X, y, s, max_per_block=5)


@settings(max_examples=60)
@given(random_activations(), random_activations(), random_losses())
def test_products_along_a_direction_are_derivatives(hidden, output, loss):
    """Where a kink lies within the steps, two of them disagree, and the tolerance is large."""
    net, X, y, s = case(hidden, output, loss)
    rng = np.random.default_rng(3)
    v, dX, theta = rng.normal(size=net.theta.size), rng.normal(size=X.shape), net.theta.copy()

    def outputs(t):
        net.theta = theta + t * v
        found = net.predict(X + t * dX)
        net.theta = theta
        return found

    def gradient(t):
        net.theta = theta + t * v
        net.forward(X)
        net.backward(y, s)
        net.theta = theta
        return net.grad.copy()

    for function, found in ((outputs, net.jvp(X, dX, dtheta=v)), (gradient, net.hvp(X, y, v, s))):
        coarse, fine = ((function(h) - function(-h)) / (2 * h) for h in (1e-4, 5e-5))
        size = 1 + abs(function(0.0)).max() + abs(fine).max()
        # the rounding of some hundred operations over the step, and the truncation
        tolerance = 200 * np.finfo(float).eps * size / 5e-5 + 2 * abs(coarse - fine)
        assert (abs(found - (4 * fine - coarse) / 3) <= tolerance).all()
