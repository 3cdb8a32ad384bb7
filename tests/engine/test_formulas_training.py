"""Training of networks with activations as programs: trained constants, options, bits."""

import numpy as np
import pytest
from engine_cases import DTYPES, OPTIMIZERS
from program_cases import (
    ARITHMETIC,
    BUILTIN,
    MIXED,
    MIXED_BY_UNIT,
    NORM_LAYER,
    NORM_RMS,
    STACKS,
    SWISH,
    SWISH_BY_UNIT,
    WIDTHS,
    core_net,
    logistic,
    logistic_programs,
    near,
    numpy_pass,
    samples,
    squared_error,
    theta_for,
    views_of,
)
from thread_cases import SHAPES, THREAD_COUNTS

from fastbp import _core
from fastbp._types import SparseRows
from fastbp.optim import SGD, Adam

EPS = np.finfo(np.float64).eps
N = 50


def fit(net, theta, X, y, s, optimizer, *, batch, epochs=2, shuffle=False, threads=1, parts=0):
    """Train theta in place; returns the loss of every epoch."""
    optimizer.bind(theta.size, theta.dtype, len(net.widths) - 1)
    session = _core.Fit(net, theta, X, y, s, optimizer, batch, shuffle, 5, threads, parts)
    losses = []
    for _ in range(epochs):
        done = False
        while not done:
            diverged, done, _, _, loss, _ = session.run(1.0)
            assert not diverged
        losses.append(loss)
    return losses


def assert_near_by_drift(found, run, theta, terms):
    """Compare theta after a training with run(theta), as `assert_agree` of the passes does."""
    exact, size = run(theta), terms * EPS
    rng, drift = np.random.default_rng(11), 0.0
    for _ in range(4):
        moved = run(theta * (1 + size * rng.uniform(-1, 1, theta.shape)))
        drift = max(drift, abs(moved - exact).max())
    allowed = 2 * drift + size * abs(exact).max()
    assert allowed <= 1e-6 * abs(exact - theta).max(), "the tolerance is too large"
    near(found, exact, allowed, "theta")


# ---- against NumPy ------------------------------------------------------------------------


def sgd(theta, grad, state):
    theta -= 0.1 * grad


def adam(theta, grad, state):
    """Adam with lr 0.01 and eps 0.01, so that the rounding of small gradients does not matter."""
    m, v, t = state.setdefault("m", 0.0), state.setdefault("v", 0.0), state.get("t", 0) + 1
    m, v = 0.8 * m + 0.2 * grad, 0.99 * v + 0.01 * grad**2
    state.update(m=m, v=v, t=t)
    theta -= 0.01 * m / (1 - 0.8**t) / (np.sqrt(v / (1 - 0.99**t)) + 0.01)


RULES = {
    "sgd": (sgd, lambda: SGD(0.1)),
    "adam": (adam, lambda: Adam(0.01, betas=(0.8, 0.99), eps=0.01)),
}


@pytest.mark.parametrize("batch", [3, 8, 23, 50])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("stack", ["hidden", "output", "by unit"])
def test_a_session_is_the_training_of_a_textbook(rng, stack, rule, weighted, batch):
    activations, (step, optimizer) = STACKS[stack], RULES[rule]
    logistics = stack == "by unit"
    net = core_net(WIDTHS, activations, loss=logistic_programs() if logistics else "squared_error")
    theta, _ = theta_for(rng, WIDTHS, activations)
    X, y, s = samples(rng, N)
    s = s if weighted else np.ones(N)

    def run(start):
        theta, state, grad = start.copy(), {}, np.empty_like(start)
        views = views_of(theta, WIDTHS, activations)
        slopes = views_of(grad, WIDTHS, activations)
        for first in [*range(0, N, batch)] * 2:
            rows = slice(first, first + batch)
            loss = logistic if logistics else squared_error
            found = numpy_pass(activations, loss, views, X[rows], y[rows], s[rows])
            for (name, i), slope in slopes.items():
                slope[...] = found[f"{name} {i}"]
            step(theta, grad, state)
        return theta

    found = theta.copy()
    fit(net, found, X, y, s if weighted else None, optimizer(), batch=batch)
    constants = [name for name in views_of(theta, WIDTHS, activations) if name[0][0] == "c"]
    start, end = (views_of(each, WIDTHS, activations) for each in (theta, found))
    for name in constants:
        assert (start[name] != end[name]).all(), f"{name} was not trained"
    assert_near_by_drift(found, run, theta, max(WIDTHS) + batch)


# ---- a session against its steps ----------------------------------------------------------


def steps(net, start, X, y, s, optimizer, batch):
    """The same training by a backward pass and a step for every batch."""
    theta, grad = start.copy(), np.empty_like(start)
    optimizer.bind(theta.size, theta.dtype, len(net.widths) - 1)
    p = _core.Pass(net, batch)
    for first in [*range(0, len(X), batch)] * 2:
        rows = slice(first, first + batch)
        p.forward(theta, X[rows])
        p.backward(theta, y[rows], s[rows] if s is not None else None, grad)
        net.step(theta, grad, optimizer)
    return theta


UPDATES = {
    "momentum": OPTIMIZERS["momentum"],
    "clip by value": lambda: SGD(0.1, clip_value=0.01),
    "clip by norm": lambda: SGD(0.1, clip_norm=0.05),
    "clip by global norm": lambda: SGD(0.1, momentum=0.9, clip_global_norm=0.3),
    "rates of layers": lambda: SGD(0.1, lr_factors=(0.5, 1.0, 2.0), weight_decay=0.1, ema=0.9),
}
LAYERS = {
    "plain": (),
    "norms": ({**NORM_LAYER}, {**NORM_RMS, "no_bias": True}, {}),
    "constraints": ({"max_norm": 1.0}, {"non_negative": True}, {}),
}


@pytest.mark.parametrize("parts", [0, 7])
@pytest.mark.parametrize("layers", LAYERS)
@pytest.mark.parametrize("frozen", [(), (1,), (2, 3)])
@pytest.mark.parametrize("update", UPDATES)
def test_a_session_makes_the_same_steps_as_separate_calls(rng, update, frozen, layers, parts):
    activations, options = STACKS["output"], LAYERS[layers]
    net = core_net(WIDTHS, activations, layers=options, l1=0.01, l2=0.1)
    for l in frozen:
        net.set_trainable(l, False)
    theta, _ = theta_for(rng, WIDTHS, activations, layers=options)
    if layers == "constraints":
        for (name, i), view in views_of(theta, WIDTHS, activations, options).items():
            if (name, i) == ("W", 1):
                view[...] = abs(view)
    X, y, s = samples(rng, N)
    found = theta.copy()
    fit(net, found, X, y, s, UPDATES[update](), batch=23, parts=parts)
    for (name, i), view in views_of(found, WIDTHS, activations, options).items():
        changed = view != views_of(theta, WIDTHS, activations, options)[name, i]
        assert changed.any() == (i + 1 not in frozen), (name, i)
    assert_near_by_drift(
        found,
        lambda start: steps(net, start, X, y, s, UPDATES[update](), 23),
        theta,
        max(WIDTHS) + N,
    )


@pytest.mark.parametrize("width", [1, 2, 33])
@pytest.mark.parametrize("formula", [MIXED, MIXED_BY_UNIT, SWISH, SWISH_BY_UNIT])
def test_the_constants_of_a_layer_have_one_norm(rng, formula, width):
    """clip_norm limits ‖(∂J/∂c_1, ∂J/∂c_2, …)‖ of a layer, however few its units are."""
    widths, activations = (3, width, 2), (formula, formula)
    net = core_net(widths, activations)
    theta, _ = theta_for(rng, widths, activations)
    X, y, _ = samples(rng, 9, widths)
    p, grad = _core.Pass(net, 9), np.empty_like(theta)
    p.forward(theta, X)
    p.backward(theta, y, None, grad)
    limit, expected = 1e-3, theta.copy()
    slopes = views_of(grad, widths, activations)
    for i in range(2):
        constants = [name for name in slopes if name[0][0] == "c" and name[1] == i]
        for part in ([("W", i)], [("b", i)], constants):
            norm = np.sqrt(sum((slopes[name] ** 2).sum() for name in part))
            for name in part:
                move = views_of(expected, widths, activations)[name]
                move -= 0.1 * slopes[name] * min(1.0, limit / (norm + 1e-6))
    for train in (
        lambda theta, sgd: fit(net, theta, X, y, None, sgd, batch=9, epochs=1),
        lambda theta, sgd: net.step(theta, grad, sgd),
    ):
        found, optimizer = theta.copy(), SGD(0.1, clip_norm=limit)
        optimizer.bind(theta.size, theta.dtype)
        train(found, optimizer)
        near(found, expected, 100 * EPS * abs(theta).max(), "theta")


# ---- the bits of built-in activations -----------------------------------------------------

DROPPING = (
    {"residual": True, "dropout": 0.3, **NORM_LAYER},
    {"dropout": 0.5, **NORM_RMS, "max_norm": 1.0},
    {"residual": True, "dropout": 0.25, "no_bias": True},
    {},
)


def trained(activations, optimizer, *, dtype="float32", precision=0, layers=(), n=N, **options):
    widths = (36, 36, 36, 36, 3)
    rng = np.random.default_rng(7)
    more = {"input_dropout": 0.2} if layers else {}
    net = core_net(widths, activations, dtype=dtype, layers=layers, precision=precision, **more)
    theta, _ = theta_for(rng, widths, activations, dtype, layers)
    X, y, s = samples(rng, n, widths, dtype)
    losses = fit(net, theta, X, y, s, optimizer, shuffle=True, **options)
    return [theta, np.array(losses), *optimizer.moments]


def assert_same_bits(activations, run):
    """run(activations) has the bits of the built-in activations if formulas take their place."""
    formulas = [BUILTIN.get(f, f) for f in activations]
    for mine, builtin in zip(run(formulas), run(activations), strict=True):
        assert np.isfinite(mine).all()
        assert (mine == builtin).all()


@pytest.mark.products
@pytest.mark.parametrize(("dtype", "precision"), ARITHMETIC)
@pytest.mark.parametrize("batch", [1, 8, 23])
@pytest.mark.parametrize("layers", [(), DROPPING])
@pytest.mark.parametrize("name", BUILTIN)
def test_a_formula_has_the_bits_of_the_built_in_activation(name, layers, batch, dtype, precision):
    def run(activations):
        options = {"dtype": dtype, "precision": precision, "layers": layers, "batch": batch}
        return trained(activations, OPTIMIZERS["adam"](), **options)

    assert_same_bits([name, name, name, "identity"], run)


@pytest.mark.parametrize("parts", [0, 7])
@pytest.mark.parametrize("update", [*OPTIMIZERS, "clip by norm"])
def test_so_it_has_with_every_update(update, parts):
    def run(activations):
        optimizer = UPDATES[update]() if update in UPDATES else OPTIMIZERS[update]()
        return trained(activations, optimizer, layers=DROPPING, batch=23, parts=parts)

    assert_same_bits(["silu", "mish", "gelu_tanh", "identity"], run)


@pytest.mark.parametrize("batch", [3, 23])
def test_so_it_has_on_sparse_rows(batch):
    def run(activations):
        rng = np.random.default_rng(7)
        net = core_net(WIDTHS, activations)
        theta, _ = theta_for(rng, WIDTHS, activations)
        X, y, s = samples(rng, N)
        X *= rng.random(X.shape) < 0.4
        indptr = np.concatenate([[0], np.cumsum((X != 0).sum(axis=1))]).astype(np.int64)
        rows = SparseRows(X[X != 0], np.nonzero(X)[1].astype(np.int32), indptr, 7)
        return [np.array(fit(net, theta, rows, y, s, Adam(), batch=batch, shuffle=True)), theta]

    assert_same_bits(["silu", "mish", "identity"], run)


# ---- threads ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", ["plain", "norms", "clip", "parts"])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_bits_do_not_depend_on_the_number_of_threads(shape, options, dtype):
    widths, n, batch = SHAPES[shape]
    activations = (SWISH, MIXED_BY_UNIT, MIXED)
    layers = ({**NORM_LAYER}, {**NORM_RMS, "dropout": 0.2}, {}) if options == "norms" else ()
    net = core_net(widths, activations, loss=logistic_programs(), dtype=dtype, layers=layers)
    X, y, s = samples(np.random.default_rng(3), n, widths, dtype)
    found = {}
    for threads in THREAD_COUNTS[:4]:
        theta, _ = theta_for(np.random.default_rng(4), widths, activations, dtype, layers)
        optimizer = Adam(0.01, clip_norm=0.1 if options == "clip" else None)
        losses = fit(
            net,
            theta,
            X,
            y,
            s,
            optimizer,
            batch=batch,
            threads=threads,
            shuffle=True,
            parts=batch // 2 if options == "parts" else 0,
        )
        found[threads] = (theta.tobytes(), losses)
    assert len(set(found[1][1])) == 2, "the loss did not change"
    for threads, bits in found.items():
        assert bits == found[1], f"{threads} threads"
