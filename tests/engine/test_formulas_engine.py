"""Activations and losses as programs in passes of the engine: values, gradients, derivatives."""

import itertools

import numpy as np
import pytest
from engine_cases import DTYPES
from program_cases import (
    ARITHMETIC,
    BUILTIN,
    MIXED,
    MIXED_BY_UNIT,
    NORM_LAYER,
    NORM_RMS,
    OPTIONS,
    SINE,
    SQUARE,
    STACKS,
    SWISH,
    WIDTHS,
    Draft,
    Formula,
    core_net,
    logistic,
    logistic_programs,
    near,
    numpy_pass,
    samples,
    squared_error,
    squared_error_programs,
    theta_for,
    views_of,
)
from thread_cases import assert_same_bits_on_any_number_of_threads

from fastbp import _core
from fastbp._types import SparseRows

EPS = np.finfo(np.float64).eps


# ---- against NumPy ------------------------------------------------------------------------


def engine_pass(net, theta, X, y, s, activations, widths=WIDTHS):
    n, dtype = len(X), theta.dtype
    p = _core.Pass(net, n)
    grad, out, slope = np.empty_like(theta), np.empty((n, widths[-1]), dtype), np.empty_like(X)
    p.forward(theta, X)
    found = {"J": np.array([p.backward(theta, y, s, grad)])}
    p.input_gradient(theta, slope)
    net.predict(theta, X, out)
    found |= {"cost": np.array([net.cost(theta, X, y, s)]), "predict": out, "input": slope}
    for (name, i), view in views_of(grad, widths, activations).items():
        found[f"{name} {i}"] = view
    for which, i in itertools.product(("z", "a", "delta"), range(len(activations))):
        found[f"{which} {i}"] = np.array(p.buffer(which, i + 1))
    return found


def assert_agree(found, run, theta, X, dtype, terms):
    """Compare with run(theta, X), exact for slightly changed data (backward error).

    A result in dtype is the exact result for data that are changed by the rounding of sums of
    `terms` numbers. Four random changes of that size show how far the result may be off; twice that
    is allowed.
    """
    exact, size = run(theta, X), terms * float(np.finfo(dtype).eps)
    rng, drift = np.random.default_rng(11), dict.fromkeys(exact, 0.0)
    for _ in range(4):
        moved = run(
            theta * (1 + size * rng.uniform(-1, 1, theta.shape)),
            X * (1 + size * rng.uniform(-1, 1, X.shape)),
        )
        for name, value in exact.items():
            drift[name] = max(drift[name], abs(moved[name] - value).max())
    assert found.keys() == exact.keys()
    for name, value in exact.items():
        most = abs(value).max()
        allowed = 2 * drift[name] + size * most
        assert allowed <= 0.05 * most, f"{name}: the tolerance is too large"
        assert found[name].shape == value.shape
        near(found[name], value, allowed, name)


LOSSES = {
    "built in": ("squared_error", squared_error),
    "squared": (tuple(squared_error_programs()), squared_error),
    "logistic": (tuple(logistic_programs()), logistic),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 8, 9, 65])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("stack", STACKS)
def test_passes_agree_with_numpy(rng, stack, loss, n, dtype):
    activations, (engine_loss, exact_loss) = STACKS[stack], LOSSES[loss]
    net = core_net(WIDTHS, activations, loss=engine_loss, dtype=dtype)
    theta, _ = theta_for(rng, WIDTHS, activations, dtype)
    assert net.n_params == theta.size
    X, y, s = samples(rng, n, dtype=dtype)
    weighted = n % 2 == 1
    found = engine_pass(net, theta, X, y, s if weighted else None, activations)

    def run(theta, X):
        weights = s.astype(np.float64) if weighted else np.ones(n)
        views = views_of(theta, WIDTHS, activations)
        return numpy_pass(activations, exact_loss, views, X, y.astype(np.float64), weights)

    exact = theta.astype(np.float64), X.astype(np.float64)
    assert_agree(found, run, *exact, dtype, max(WIDTHS) + n)


@pytest.mark.parametrize("dtype", DTYPES)
def test_predictions_are_those_of_a_pass(rng, dtype):
    """Few rows, on the buffers of the network, and many, by blocks, have the same bits."""
    activations = STACKS["output"]
    net = core_net(WIDTHS, activations, dtype=dtype)
    theta, _ = theta_for(rng, WIDTHS, activations, dtype)
    X, _, _ = samples(rng, 600, dtype=dtype)
    p, out = _core.Pass(net, 600), np.empty((600, 3), dtype)
    p.forward(theta, X)
    net.predict(theta, X, out)
    a = np.array(p.buffer("a", 3))
    assert (a == out).all()
    few = np.empty((5, 3), dtype)
    net.predict(theta, X[40:45], few)
    assert (few == out[40:45]).all()


# ---- finite differences -------------------------------------------------------------------


def assert_central(f, x, gradient, n_ops):
    """Assert gradient = f'(x) up to truncation (estimated with 2h) and rounding (n_ops eps/h)."""
    h = EPS ** (1 / 3)
    rounding = n_ops * EPS * (1 + abs(f(x))) / h
    for k in range(x.size):
        step = np.zeros_like(x)
        step[k] = h
        near, far = ((f(x + t * step) - f(x - t * step)) / (2 * t * h) for t in (1, 2))
        assert abs(gradient[k] - near) <= abs(far - near) + rounding, (k, gradient[k], near)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", ["built in", "logistic"])
@pytest.mark.parametrize("stack", ["hidden", "output", "by unit"])
@pytest.mark.parametrize("options", OPTIONS)
def test_gradients_with_options_are_derivatives_of_the_cost(rng, options, stack, loss, weighted):
    """Also with penalties, which constants do not have."""
    activations, layers = STACKS[stack], OPTIONS[options]
    net = core_net(SQUARE, activations, loss=LOSSES[loss][0], layers=layers, l1=0.01, l2=0.1)
    theta, _ = theta_for(rng, SQUARE, activations, layers=layers)
    X, y, s = samples(rng, 11, SQUARE)
    s = s if weighted else None
    p, grad, slope = _core.Pass(net, 11), np.empty_like(theta), np.empty_like(X)
    p.forward(theta, X)
    J = p.backward(theta, y, s, grad)
    p.input_gradient(theta, slope)
    n_ops = 11 + 2 * sum(SQUARE) + 10 * len(activations)
    assert abs(J - net.cost(theta, X, y, s)) <= n_ops * EPS * abs(J)
    assert_central(lambda t: net.cost(t, X, y, s), theta, grad, n_ops)
    for i in range(0, 11, 5):
        y_i = y[i : i + 1]
        penalties = net.cost(theta, X[:1], y[:1], None)
        assert np.isfinite(penalties)
        assert_central(
            lambda x, y_i=y_i: net.cost(theta, x[None], y_i, None), X[i], slope[i], n_ops
        )


def central(f, step):
    """df/dt at 0, by two central differences and Richardson extrapolation."""
    coarse, fine = ((f(h) - f(-h)) / (2 * h) for h in (step, step / 2))
    return (4 * fine - coarse) / 3


@pytest.mark.parametrize("options", [None, *OPTIONS])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("stack", STACKS)
def test_jvp_and_hvp_are_derivatives_along_a_direction(rng, stack, loss, options):
    activations, layers = STACKS[stack], OPTIONS[options] if options else ()
    net = core_net(SQUARE, activations, loss=LOSSES[loss][0], layers=layers, l2=0.1)
    theta, _ = theta_for(rng, SQUARE, activations, layers=layers)
    X, y, s = samples(rng, 9, SQUARE)
    v, dX = rng.normal(size=theta.shape), rng.normal(size=X.shape)
    v /= np.linalg.norm(v)
    p, out, Hv = _core.Pass(net, 9), np.empty((9, 3)), np.empty_like(theta)

    def outputs(t, along_x, along_theta):
        found = np.empty((9, 3))
        net.predict(theta + along_theta * t * v, X + along_x * t * dX, found)
        return found

    def gradient(t):
        grad, moved = np.empty_like(theta), theta + t * v
        p.forward(moved, X)
        p.backward(moved, y, s, grad)
        return grad

    grad = gradient(0.0)
    for along_x, along_theta in ((1, 0), (0, 1), (1, 1)):
        _core.jvp(p, theta, dX if along_x else None, v if along_theta else None, out)
        exact = central(lambda t, a=along_x, b=along_theta: outputs(t, a, b), 1e-3)
        np.testing.assert_allclose(out, exact, rtol=1e-8, atol=1e-8 * abs(exact).max())
    _core.hvp(p, theta, v, Hv)
    exact = central(gradient, 1e-3)
    scale = max(abs(exact).max(), abs(grad).max())
    np.testing.assert_allclose(Hv, exact, rtol=1e-8, atol=1e-8 * scale)


# ---- other derivatives --------------------------------------------------------------------


def passed(rng, stack="output", dtype="float64", n=9, **more):
    """(net, theta, pass, grad) after a backward pass; X and y are in the pass."""
    activations = STACKS[stack]
    net = core_net(WIDTHS, activations, dtype=dtype, **more)
    theta, _ = theta_for(rng, WIDTHS, activations, dtype, more.get("layers", ()))
    X, y, _ = samples(rng, n, dtype=dtype)
    p, grad = _core.Pass(net, n), np.empty_like(theta)
    p.forward(theta, X)
    p.backward(theta, y, None, grad)
    return net, theta, p, grad, X, y


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layers", [(), ({**NORM_LAYER}, {**NORM_RMS}, {})])
@pytest.mark.parametrize("stack", STACKS)
def test_gradients_of_samples(rng, stack, layers, dtype):
    """Each is the gradient of a batch of one, and their norms are by layer."""
    net, theta, p, grad, X, y = passed(rng, stack, dtype, layers=layers)
    each, norms = np.empty((9, theta.size), dtype), np.empty((9, 3))
    _core.sample_gradients(p, each)
    _core.gradient_norms(p, norms)
    size = (max(WIDTHS) + 9) * float(np.finfo(dtype).eps)
    near(each.mean(axis=0, dtype=np.float64), grad, size * abs(each).max(), "mean")
    one, alone = _core.Pass(net, 1), np.empty_like(theta)
    for i in range(9):
        one.forward(theta, X[i : i + 1])
        one.backward(theta, y[i : i + 1], None, alone)
        near(each[i], alone, size * abs(each).max(), f"sample {i}")
        views = views_of(each[i].astype(np.float64), WIDTHS, STACKS[stack], layers)
        for l in range(3):
            exact = np.sqrt(sum((view**2).sum() for (_, k), view in views.items() if k == l))
            near(norms[i, l], exact, size * exact, f"norm of sample {i}, layer {l}")


@pytest.mark.parametrize("stack", STACKS)
def test_vjp_jacobian_and_jvp_agree(rng, stack):
    _, theta, p, _, X, _ = passed(rng, stack)
    v, dX = rng.normal(size=(9, 3)), rng.normal(size=X.shape)
    pulled, moved, J = np.empty_like(X), np.empty((9, 3)), np.empty((9, 3, 7))
    _core.jvp(p, theta, dX, None, moved)
    _core.vjp(p, theta, v, pulled)
    _core.jacobian(p, theta, J.reshape(9, -1))
    bound = sum(WIDTHS) * EPS * np.einsum("ik,ikj,ij->i", abs(v), abs(J), abs(dX))
    near((v * moved).sum(axis=1), (pulled * dX).sum(axis=1), 8 * bound, "jvp and vjp")
    near(np.einsum("ik,ikj,ij->i", v, J, dX), (pulled * dX).sum(axis=1), 8 * bound, "jacobian")


@pytest.mark.parametrize("loss", ["built in", "squared"])
@pytest.mark.parametrize("stack", STACKS)
def test_relevance_is_a_times_its_slope(rng, stack, loss):
    _, theta, p, _, X, y = passed(rng, stack, loss=LOSSES[loss][0])
    outs = [np.empty((9, n)) for n in WIDTHS]
    _core.relevance(p, theta, outs)
    a, slope = np.array(p.buffer("a", 3)), np.empty_like(X)
    p.input_gradient(theta, slope)
    assert (outs[3] == a * (a - y)).all()
    assert (outs[0] == X * slope).all()


@pytest.mark.parametrize("stack", STACKS)
def test_pull_back_changes_no_gradient(rng, stack):
    """It is the way from ∂J/∂a to δ, and leaves what the pass has kept of the constants."""
    _, theta, p, grad, _, y = passed(rng, stack)
    delta, g = np.array(p.buffer("delta", 3)), np.array(p.buffer("a", 3)) - y
    _core.pull_back(p, 3, g)
    assert (g == delta).all()
    for l in (1, 2, 3):
        _core.pull_back(p, l, rng.normal(size=(9, WIDTHS[l])))
    again = np.empty_like(grad)
    _core.backward_gradient(p, theta, again)
    assert (again == grad).all()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("stack", STACKS)
def test_the_backward_pass_in_pieces_is_the_whole(rng, stack, weighted):
    _, theta, p, grad, _, y = passed(rng, stack)
    s = rng.uniform(0.5, 2.0, 9) if weighted else None
    J = p.backward(theta, y, s, grad)
    pieces = np.empty_like(grad)
    assert _core.backward_output(p, theta, y, s) == J
    for l in (2, 1):
        _core.backward_layer(p, theta, l)
    _core.backward_gradient(p, theta, pieces)
    assert (pieces == grad).all()


@pytest.mark.parametrize("stack", STACKS)
def test_no_gradient_comes_from_deltas_that_are_gone(rng, stack):
    """A forward pass or a product with the Jacobian ends what backward has made."""
    _, theta, p, grad, X, y = passed(rng, stack)
    again, out = np.empty_like(grad), np.empty_like(X)

    def refused():
        for call in (
            lambda: _core.backward_gradient(p, theta, again),
            lambda: _core.backward_layer(p, theta, 1),
            lambda: p.input_gradient(theta, out),
        ):
            with pytest.raises(RuntimeError, match="order"):
                call()

    _core.backward_gradient(p, theta, again)
    assert (again == grad).all()
    p.forward(theta, X)
    refused()
    _core.backward_output(p, theta, y, None)
    refused()  # δ^2 is missing
    _core.backward_layer(p, theta, 2)
    _core.backward_layer(p, theta, 1)
    _core.backward_gradient(p, theta, again)
    assert (again == grad).all()
    _core.vjp(p, theta, np.ones((9, 3)), out)
    refused()
    p.backward(theta, y, None, again)
    assert (again == grad).all()
    _core.jacobian(p, theta, np.empty((9, 21)))
    refused()


def test_an_injected_delta_needs_an_output_without_constants(rng):
    for stack, activations in STACKS.items():
        _, theta, p, grad, _, _ = passed(rng, stack)
        delta, injected = np.array(p.buffer("delta", 3)), np.empty_like(grad)
        if isinstance(activations[-1], Formula) and activations[-1].constants:
            with pytest.raises(ValueError, match="refused"):
                p.backward_from(theta, delta, None, injected)
            with pytest.raises(ValueError, match="refused"):
                _core.backward_inject(p, delta, None)
        else:
            p.backward_from(theta, delta, None, injected)
            assert (injected == grad).all()


# ---- losses -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 9, 300])
def test_labels_are_one_hot_rows(rng, n, dtype):
    activations = (SWISH, SINE, "identity")
    net = core_net(WIDTHS, activations, loss=logistic_programs(), dtype=dtype)
    theta, _ = theta_for(rng, WIDTHS, activations, dtype)
    X, _, s = samples(rng, n, dtype=dtype)
    labels = rng.integers(3, size=n).astype(np.int32)
    dense = np.eye(3, dtype=dtype)[labels]
    by_label, by_row = (engine_pass(net, theta, X, y, s, activations) for y in (labels, dense))
    for name, value in by_row.items():
        assert (by_label[name] == value).all(), name
    direction, found = rng.normal(size=theta.shape).astype(dtype), []
    for y in (labels, dense):
        p, out = _core.Pass(net, n), np.empty_like(theta)
        p.forward(theta, X)
        p.backward(theta, y, s, None)
        _core.hvp(p, theta, direction, out)
        found.append(out)
    assert (found[0] == found[1]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("widths", [(7, 5, 1), (7, 5, 2), (7, 5, 17), (7, 5, 130)])
def test_a_loss_agrees_with_the_built_in_pair(rng, widths, dtype):
    """Cross-entropy of softmax from programs, on an output without an activation."""
    X, _, s = samples(rng, 70, widths, dtype)
    y, found = np.eye(widths[-1], dtype=dtype)[rng.integers(widths[-1], size=70)], []
    for last, loss in (("softmax", "cross_entropy"), ("identity", tuple(logistic_programs()))):
        net = core_net(widths, ("tanh", last), loss=loss, dtype=dtype)
        theta, _ = theta_for(np.random.default_rng(1), widths, ("tanh", last), dtype)
        p, grad = _core.Pass(net, 70), np.empty_like(theta)
        p.forward(theta, X)
        J = p.backward(theta, y, s, grad)
        found.append((J, grad, np.array(p.buffer("delta", 2))))
    (J, grad, delta), (J_formula, grad_formula, delta_formula) = found
    size = (sum(widths) + 70) * float(np.finfo(dtype).eps)
    near(J_formula, J, size * (1 + abs(J)), "J")
    near(delta_formula, delta, size, "delta")
    near(grad_formula, grad, size * (1 + abs(X).max()), "grad")


# ---- the bits of built-in activations -----------------------------------------------------


def run_both(run, activations, **options):
    """run(net, activations) of the built-in activations, and of the formulas in their place."""
    formulas = [BUILTIN.get(f, f) for f in activations]
    return run(activations, **options), run(formulas, **options)


@pytest.mark.products
@pytest.mark.parametrize(("dtype", "precision"), ARITHMETIC)
@pytest.mark.parametrize("n", [3, 70])
@pytest.mark.parametrize("options", [None, *OPTIONS])
@pytest.mark.parametrize("name", BUILTIN)
def test_a_formula_has_the_bits_of_the_built_in_activation(name, options, n, dtype, precision):
    widths, layers = (36, 36, 36, 36), OPTIONS[options] if options else ()

    def run(activations):
        rng = np.random.default_rng(7)
        net = core_net(widths, activations, dtype=dtype, layers=layers, precision=precision)
        theta, _ = theta_for(rng, widths, activations, dtype, layers)
        X, y, s = samples(rng, n, widths, dtype)
        p, out = _core.Pass(net, n), np.empty((n, 36), dtype)
        grad, slope = np.empty_like(theta), np.empty_like(X)
        p.forward(theta, X)
        J = p.backward(theta, y, s, grad)
        p.input_gradient(theta, slope)
        net.predict(theta, X, out)
        deltas = [np.array(p.buffer("delta", l)) for l in (1, 2, 3)]
        return [np.array([J, net.cost(theta, X, y, s)]), grad, slope, out, *deltas]

    for mine, builtin in zip(*run_both(run, [name, name, name]), strict=True):
        assert (mine == builtin).all()


@pytest.mark.parametrize("n", [3, 40])
def test_sparse_rows(n):
    def run(activations):
        rng = np.random.default_rng(7)
        net = core_net(WIDTHS, activations)
        theta, _ = theta_for(rng, WIDTHS, activations)
        X, y, _ = samples(rng, n)
        X *= rng.random(X.shape) < 0.4
        indptr = np.concatenate([[0], np.cumsum((X != 0).sum(axis=1))]).astype(np.int64)
        rows = SparseRows(X[X != 0], np.nonzero(X)[1].astype(np.int32), indptr, 7)
        p, grad, out = _core.Pass(net, n), np.empty_like(theta), np.empty((n, 3))
        p.forward(theta, rows)
        J = p.backward(theta, y, None, grad)
        net.predict(theta, rows, out)
        return [np.array([J]), grad, out]

    for mine, builtin in zip(*run_both(run, ["silu", "mish", "identity"]), strict=True):
        assert (mine == builtin).all()


def test_passes_have_the_same_bits_on_any_number_of_threads(rng):
    widths, activations = (40, 257, 255, 9), (SWISH, MIXED_BY_UNIT, MIXED)
    net = core_net(widths, activations, loss=logistic_programs())
    theta, _ = theta_for(rng, widths, activations)
    X, y, s = samples(rng, 263, widths)
    direction = rng.normal(size=theta.shape)

    def compute():
        p, grad, Hv = _core.Pass(net, 263), np.empty_like(theta), np.empty_like(theta)
        out, moved = np.empty((263, 9)), np.empty((263, 9))
        p.forward(theta, X)
        p.backward(theta, y, s, grad)
        _core.hvp(p, theta, direction, Hv)
        _core.jvp(p, theta, X, direction, moved)
        net.predict(theta, X, out)
        return grad, Hv, moved, out

    assert_same_bits_on_any_number_of_threads(compute)


# ---- refusals -----------------------------------------------------------------------------


def changed(formula, which, program):
    """A formula with another program in one of its four places."""

    def programs(kind):
        for i, own in enumerate(formula.programs(kind)):
            yield program if i == which else own

    return Formula(programs, None, None, formula.constants, formula.per_unit)


def unary(operation, *kinds):
    d = Draft(*kinds)
    return d.program(getattr(d, operation)(d.inputs[0]))


def by_rows():
    d = Draft("full")
    return d.program(d.mul(d.inputs[0], d.row_sum(d.inputs[0])))


def unwritten():
    program = unary("neg", "full")
    program.code = (("neg", 1, 1, -1, -1),)
    return program


def nan_constant():
    d = Draft("full")
    return d.program(d.mul(d.inputs[0], np.nan))


BAD = {
    "an input too many": changed(SINE, 0, unary("sin", "full", "full")),
    "a constant that is not there": changed(SINE, 0, unary("sin", "full", "one")),
    "constants of the wrong kind": changed(SWISH, 0, unary("sin", "full", "full")),
    "too few outputs": changed(SWISH, 1, unary("sin", "full", "one", "full")),
    "a number per row": changed(SINE, 0, by_rows()),
    "a slot that is not written": changed(SINE, 0, unwritten()),
    "NaN": changed(SINE, 0, nan_constant()),
    "a push without R{z}": changed(SINE, 2, unary("sin", "full")),
    "a curve without R{g}": changed(SINE, 3, unary("sin", "full", "full", "full")),
    "too many constants": Formula(SWISH.programs, None, None, (1.0,) * 9),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("place", [0, 1])
def test_a_bad_activation_is_refused(name, place):
    activations = ["tanh", "identity"]
    activations[place] = BAD[name]
    with pytest.raises(ValueError, match="refused"):
        core_net((2, 3, 1), activations)


def test_an_unknown_operation_is_refused():
    program = unary("sin", "full")
    program.code = (("gamma", 1, 0, -1, -1),)
    with pytest.raises(KeyError, match="gamma"):
        core_net((2, 3, 1), (changed(SINE, 0, program), "identity"))


def loss_with(which, program):
    return [program if i == which else own for i, own in enumerate(squared_error_programs())]


def row_of(*kinds):
    d = Draft(*kinds)
    return d.program(d.row_sum(d.inputs[0]))


@pytest.mark.parametrize(
    "programs",
    [
        loss_with(0, unary("square", "full", "full")),  # more than one number per row
        loss_with(0, row_of("full")),  # no targets
        loss_with(1, row_of("full", "full")),  # no slope
        loss_with(2, unary("neg", "full", "full")),  # no direction
    ],
)
def test_a_bad_loss_is_refused(programs):
    with pytest.raises(ValueError, match="refused"):
        core_net((2, 1), ("identity",), loss=programs)


def test_a_loss_takes_as_many_targets_as_outputs():
    with pytest.raises(ValueError, match="refused"):
        _core.Net(
            (2, 3),
            ("identity",),
            (0.0,),
            "squared_error",
            True,
            0.0,
            0.0,
            (),
            2,
            loss_formula=tuple(squared_error_programs()),
        )


def test_there_is_one_formula_per_layer():
    with pytest.raises(ValueError, match="zip"):
        _core.Net(
            (2, 3, 1),
            ("tanh", "identity"),
            (0.0, 0.0),
            "squared_error",
            True,
            0.0,
            0.0,
            (),
            1,
            formulas=(SINE.entry(),),
        )
