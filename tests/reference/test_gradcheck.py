"""`fastbp.testing.gradcheck` accepts correct gradients and finds wrong ones."""

import numpy as np
import pytest
from engine_cases import DTYPES, LOGARITHMIC, LOSSES, combinations, targets_for

import fastbp
from fastbp import reference
from fastbp.testing import gradcheck

pytestmark = pytest.mark.filterwarnings("ignore:.*takes the logarithm:UserWarning")


def case(rng, network=fastbp.Network, loss="mse", n=5, **options):
    """A network 3-4-2-3 with random biases, and n samples for it.

    In single precision, outputs are kept away from the poles of a logarithm: near them, the
    gradient is less accurate than the tolerance that gradcheck derives from its largest entry.
    """
    net = network((3, 4, 2, 3), loss=loss, seed=1, **options)
    net.theta += rng.normal(scale=0.3, size=net.theta.size).astype(net.dtype)
    net.theta *= 0.3 if options.get("activation") == "exp" else 1  # else values grow by layer
    if net.dtype == np.float32 and loss in LOGARITHMIC:
        net.layers[-1].W *= 0.01
        net.layers[-1].b = np.full(3, -0.5 if options["output"] in ("softplus", "exp") else 0.5)
    return net, rng.normal(size=(n, 3)), targets_for(rng, loss, n, 3)


class Wrong(fastbp.Network):
    """A network whose backward adds `amount` to element `where` of its gradient."""

    def backward(self, y, sample_weight=None):
        J = super().backward(y, sample_weight)
        self.grad[self.where] += self.amount
        return J


def wrong(rng, where, amount, dtype="float64"):
    net, X, y = case(rng, Wrong, activation="tanh", dtype=dtype)
    net.where, net.amount = where, amount
    return net, X, y


# ---- correct gradients --------------------------------------------------------------------


@pytest.mark.parametrize(("hidden", "output", "loss", "dtype"), combinations(LOSSES, DTYPES))
def test_every_combination_passes(rng, hidden, output, loss, dtype):
    net, X, y = case(rng, loss=loss, activation=hidden, output=output, dtype=dtype, l2=0.1)
    report = gradcheck(net, X, y, max_per_block=6)
    assert report and report.ok


@pytest.mark.parametrize("network", [fastbp.Network, reference.Network])
@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_labels_and_penalties(rng, network, dtype):
    options = {"output": "softmax", "dtype": dtype, "l1": 0.05, "l2": 0.1}
    net, X, y = case(rng, network, "cross_entropy", activation="elu", n=11, **options)
    assert gradcheck(net, X, y.argmax(axis=1), rng.uniform(0.5, 2, 11))
    assert gradcheck(net, X, y, np.arange(11))


def test_gradcheck_does_not_change_the_network(rng):
    net, X, y = case(rng, activation="tanh")
    theta, kept = net.theta.copy(), X.copy()
    gradcheck(net, X, y)
    np.testing.assert_array_equal(net.theta, theta)
    np.testing.assert_array_equal(X, kept)
    net.forward(X)
    net.backward(y)
    grad = net.grad.copy()
    gradcheck(net, X, y)
    np.testing.assert_array_equal(net.grad, grad)


# ---- wrong gradients ----------------------------------------------------------------------


@pytest.mark.parametrize("where", [0, 14, 17, 25, 27, -1])
@pytest.mark.parametrize("amount", [1.0, -1e-3, 1e-6, np.nan])
def test_one_wrong_element_is_found(rng, where, amount):
    net, X, y = wrong(rng, where, amount)
    with pytest.raises(AssertionError, match="differs from central differences:\n") as info:
        gradcheck(net, X, y)
    report = gradcheck(net, X, y, raise_on_failure=False)
    assert not report and str(report) in str(info.value)
    ends = np.cumsum([block.size for block in report.blocks])
    guilty = int(np.searchsorted(ends, where % net.theta.size, side="right"))
    assert [block.failures for block in report.blocks] == [int(i == guilty) for i in range(6)]
    error = report.blocks[guilty].max_error
    assert np.isnan(amount) or abs(error - abs(amount)) <= report.blocks[guilty].tolerance
    assert str(report).splitlines()[1 + guilty].endswith("1 WRONG")


def test_a_wrong_element_in_single_precision_is_found(rng):
    assert not gradcheck(*wrong(rng, 3, 1e-3, "float32"), raise_on_failure=False)


def test_a_gradient_of_another_objective_is_found(rng):
    """Without penalties, without weights, or with a δ that is divided by a wrong number."""
    net, X, y = case(rng, activation="tanh", dtype="float64", l2=0.1)

    class Forgetful(fastbp.Network):
        def backward(self, y, sample_weight=None):
            J = super().backward(y)
            self.grad[...] -= self.l2 * self.theta if self.forgets == "penalty" else 0
            self.grad[...] *= 2 if self.forgets == "half" else 1
            return J

    for forgets in ("penalty", "half", "weights"):
        net.__class__, net.forgets = Forgetful, forgets
        s = np.arange(1.0, 6.0) if forgets == "weights" else None
        assert not gradcheck(net, X, y, s, raise_on_failure=False), forgets


# ---- kinks --------------------------------------------------------------------------------


KINKED = ["relu", "leaky_relu(0.1)", "leaky_relu(0)", "elu(3)", "prelu(0.3, per=unit)"]
KINKED += ["formula(maximum(z, -0.5 * z))", "formula(abs(z) + beta * z, beta=0.5)"]


@pytest.mark.parametrize("activation", KINKED)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_unit_at_exactly_zero(activation, dtype):
    """Its gradient is one of the two one-sided slopes, and both are accepted."""
    net = fastbp.Network((2, 3, 1), activation=activation, dtype=dtype, seed=0)
    net.layers[0].b = [0.0, 0.1, 0.0]
    assert gradcheck(net, [[0.0, 0.0], [0.5, -0.5]], [1.0, 2.0])


@pytest.mark.parametrize("amount", [0.5, -0.5])
def test_at_a_kink_other_slopes_are_refused(amount):
    net = Wrong((1, 1, 1), activation="relu", dtype="float64", init="zeros")
    net.layers[1].W = [[1.0]]
    net.where, net.amount = 1, amount  # b of the hidden unit: slopes 0 and -1 at 0
    report = gradcheck(net, [[1.0]], [1.0], raise_on_failure=False)
    assert bool(report) == (amount < 0)


def test_weights_at_the_kink_of_the_l1_penalty(rng):
    net, X, y = case(rng, activation="tanh", dtype="float64", l1=0.5)
    net.layers[0].W[...] = 0.0
    assert gradcheck(net, X, y)


@pytest.mark.parametrize("distance", [1e-3, 1e-5, 1e-6])
def test_a_kink_close_to_a_unit(distance):
    """It is within the first step of the differences, so a smaller step is needed."""
    net = fastbp.Network((1, 1, 1), activation="relu", dtype="float64", init="zeros")
    net.layers[0].b = [distance]
    net.layers[1].W = [[1.0]]
    assert gradcheck(net, [[1.0]], [1.0])
    net.layers[0].b = [-distance]
    assert gradcheck(net, [[1.0]], [1.0])


# ---- the report, and sampling -------------------------------------------------------------


def test_report(rng):
    net, X, y = case(rng, activation="tanh", dtype="float64")
    report = gradcheck(net, X, y, max_per_block=5)
    names = [f"layers[{i}].{name}" for i in range(3) for name in ("W", "b")]
    assert [block.name for block in report.blocks] == names
    assert [block.size for block in report.blocks] == [12, 4, 8, 2, 6, 3]
    assert [block.checked for block in report.blocks] == [5, 4, 5, 2, 5, 3]
    assert all(0 <= block.max_error <= block.tolerance for block in report.blocks)
    lines = str(report).splitlines()
    assert lines[0].split() == ["block", "checked", "worst", "error", "tolerance"]
    assert lines[1].split()[:4] == ["layers[0].W", "5", "of", "12"]
    assert len(lines) == 7 and all(line.endswith("   ok") for line in lines[1:])


def test_sampling_depends_only_on_the_seed(rng):
    """One of twelve elements is wrong and one is checked, so only some seeds find it."""
    net, X, y = wrong(rng, 7, 1.0)

    def found(seed):
        report = gradcheck(net, X, y, max_per_block=1, seed=seed, raise_on_failure=False)
        return report.blocks[0].failures

    first = [found(seed) for seed in range(40)]
    assert first == [found(seed) for seed in range(40)]
    assert 0 < sum(first) < 40


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_per_block": 0}, ValueError, "max_per_block must be at least 1; got 0"),
        ({"max_per_block": 2.5}, TypeError, "max_per_block must be a whole number"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"sample_weight": [1.0]}, ValueError, "sample_weight has 1 row; .* has 5"),
    ],
)
def test_bad_arguments_are_refused(rng, options, error, message):
    net, X, y = case(rng)
    with pytest.raises(error, match=message):
        gradcheck(net, X, y, **options)
    with pytest.raises(ValueError, match="X has 2 columns; the network takes 3"):
        gradcheck(net, X[:, :2], y)
