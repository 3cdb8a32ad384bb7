"""Optimisers against steps in closed form, and against PyTorch's definitions as loops."""

import copy
import math
import pickle

import numpy as np
import pytest

from fastbp.optim import LBFGS, SGD, Adam, Optimizer, resolve
from fastbp.reference._updates import update

EPS = float(np.finfo(np.float64).eps)


def torch_sgd(theta, gradients, lr, momentum=0.0, nesterov=False):
    """torch.optim.SGD as documented, with dampening 0, on lists of floats."""
    theta, buffer = list(theta), None
    for g in gradients:
        if momentum != 0:
            if buffer is None:
                buffer = list(g)
            else:
                buffer = [momentum * b + x for b, x in zip(buffer, g, strict=True)]
            ahead = [x + momentum * b for x, b in zip(g, buffer, strict=True)]
            g = ahead if nesterov else buffer
        theta = [p - lr * x for p, x in zip(theta, g, strict=True)]
    return theta


def torch_adam(theta, gradients, lr, betas, eps):
    """torch.optim.Adam as documented, with bias-corrected moments."""
    theta = list(theta)
    m, v = [0.0] * len(theta), [0.0] * len(theta)
    for t, g in enumerate(gradients, 1):
        for k, x in enumerate(g):
            m[k] = betas[0] * m[k] + (1 - betas[0]) * x
            v[k] = betas[1] * v[k] + (1 - betas[1]) * x * x
            m_hat, v_hat = m[k] / (1 - betas[0] ** t), v[k] / (1 - betas[1] ** t)
            theta[k] -= lr * m_hat / (math.sqrt(v_hat) + eps)
    return theta


STEPS, SIZE = 20, 7


@pytest.fixture
def start_and_gradients():
    rng = np.random.default_rng(4)
    return rng.normal(size=SIZE), rng.normal(size=(STEPS, SIZE))


def trajectory(optimizer, theta, gradients):
    theta = theta.copy()
    for g in gradients:
        update(optimizer, theta, g)
    return theta


@pytest.mark.parametrize(
    ("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True), (0.5, True)]
)
def test_sgd_agrees_with_the_definition_of_pytorch(momentum, nesterov, start_and_gradients):
    theta, gradients = start_and_gradients
    got = trajectory(SGD(0.1, momentum=momentum, nesterov=nesterov), theta, gradients)
    expected = torch_sgd(theta.tolist(), gradients.tolist(), 0.1, momentum, nesterov)
    # four roundings per step, of numbers up to lr Σ|g|/(1 − μ) + |theta|
    scale = abs(theta) + 0.1 * abs(gradients).sum(axis=0) / (1 - momentum)
    assert (abs(got - expected) <= 4 * STEPS * EPS * scale).all()


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.5, 0.9), (0.0, 0.99)])
@pytest.mark.parametrize("eps", [1e-8, 1e-2])
def test_adam_agrees_with_the_definition_of_pytorch(betas, eps, start_and_gradients):
    theta, gradients = start_and_gradients
    got = trajectory(Adam(0.01, betas=betas, eps=eps), theta, gradients)
    expected = torch_adam(theta.tolist(), gradients.tolist(), 0.01, betas, eps)
    # after correction, a step is at most lr (1 − b1)/sqrt(1 − b2) <= 10 lr. Each of up to t terms
    # of m and v is rounded three times, and m cancels within Σ|g|: t + 10 roundings per step
    scale = abs(theta) + STEPS * 0.01 * 10
    assert (abs(got - expected) <= (STEPS + 10) * EPS * scale).all()


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({}, 6),
        ({"momentum": 0.5}, 8.5),  # m_t = g (1 − μ^t)/(1 − μ): 2, 3, 3.5
        ({"momentum": 0.5, "nesterov": True}, 10.25),  # g + μ m_t: 3, 3.5, 3.75
    ],
)
def test_constant_gradient_in_closed_form(options, steps):
    g, lr, t = 2.0, 0.25, 3  # powers of two are exact
    optimizer = SGD(lr, **options)
    assert trajectory(optimizer, np.array([1.0]), np.full((t, 1), g)) == 1.0 - lr * steps
    assert optimizer.t == t


def test_adam_moves_by_lr_under_a_constant_gradient():
    """m̂ = g and v̂ = g², so each step is lr g/(|g| + eps)."""
    theta = trajectory(Adam(0.125, eps=1e-30), np.zeros(2), np.tile([3.0, -0.25], (5, 1)))
    # t roundings of m and v, and two of the corrections
    np.testing.assert_allclose(theta, [-0.625, 0.625], rtol=5 * 10 * EPS)


@pytest.mark.parametrize("optimizer", [SGD(), SGD(momentum=0.9), Adam()], ids=repr)
def test_float32_stays_float32(optimizer):
    theta = np.ones(3, np.float32)
    update(optimizer, theta, np.ones(3, np.float32))
    assert theta.dtype == np.float32
    assert all(moment.dtype == np.float32 for moment in optimizer.moments)


def test_state_copies_and_reset():
    adam = Adam()
    assert adam.moments == [] and adam.t == 0
    theta = np.ones(3)
    update(adam, theta, np.ones(3))
    assert len(adam.moments) == adam.n_moments == 2 and adam.t == 1
    twin = pickle.loads(pickle.dumps(adam))
    other = copy.deepcopy(adam)
    first, second = theta.copy(), theta.copy()
    update(adam, theta, np.full(3, 2.0))
    update(twin, first, np.full(3, 2.0))
    update(other, second, np.full(3, 2.0))
    np.testing.assert_array_equal(theta, first)
    np.testing.assert_array_equal(theta, second)
    with pytest.raises(ValueError, match=r"state of 3 parameters of float64; the network has 4 "):
        adam.bind(4, np.dtype("float64"))
    with pytest.raises(ValueError, match=r"has 3 of float32: use another optimiser, or reset"):
        adam.bind(3, np.dtype("float32"))
    adam.reset()
    adam.bind(4, np.dtype("float32"))
    assert adam.t == 0 and not adam.moments[0].any() and adam.moments[0].dtype == np.float32


def test_a_deep_copy_has_its_own_attributes_of_a_subclass():
    class Counting(SGD):
        def __post_init__(self):
            super().__post_init__()
            self.seen = [1]

    rule = Counting(0.5)
    twin = copy.deepcopy(rule)
    twin.seen.append(2)
    assert rule.seen == [1] and twin.lr == 0.5 and twin._lock is not rule._lock


def test_momentum_may_be_switched_on_later():
    sgd = SGD(0.5)
    theta = np.zeros(2)
    update(sgd, theta, np.ones(2))
    sgd.momentum = 0.5
    assert (sgd.rule, sgd.n_moments) == ("momentum", 1)
    update(sgd, theta, np.ones(2))
    np.testing.assert_array_equal(theta, [-1.0, -1.0])


def test_hyper_parameters():
    assert SGD(0.5, momentum=0.25).hyper() == {"lr": 0.5, "momentum": 0.25, "dampening": 0.0}
    numbers = {"lr": 0.5, "beta1": 0.25, "beta2": 0.75, "eps": 0.125}
    assert Adam(0.5, betas=(0.25, 0.75), eps=0.125).hyper() == numbers
    adam = Adam()
    adam.lr = 0.25
    adam.betas = [0.5, 0.5]
    assert tuple(adam.hyper().values()) == (0.25, 0.5, 0.5, 1e-8)
    assert eval(repr(adam)).hyper() == adam.hyper()
    sgd = SGD(1, momentum=0.5, nesterov=True)
    assert repr(eval(repr(sgd))) == repr(sgd)


def test_resolve():
    assert isinstance(resolve("sgd"), SGD) and isinstance(resolve("adam"), Adam)
    adam = Adam()
    assert resolve(adam) is adam
    with pytest.raises(ValueError, match="unknown optimizer 'ftrl'; known: sgd, adam, .*, muon$"):
        resolve("ftrl")
    with pytest.raises(ValueError, match="unknown optimizer 'ftrl'; known: .*, lbfgs$"):
        resolve("ftrl", fit=True)
    with pytest.raises(TypeError, match="LBFGS makes no single steps: pass it to fit"):
        resolve("lbfgs")
    with pytest.raises(TypeError, match="LBFGS makes no single steps: pass it to fit"):
        resolve(LBFGS())
    assert isinstance(resolve("lbfgs", fit=True), LBFGS)
    with pytest.raises(
        TypeError, match=r"a name or an Optimizer object; got the class Adam: write Adam\(\)"
    ):
        resolve(Adam)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SGD(0), ValueError, "lr must be greater than 0; got 0"),
        (lambda: SGD(-0.1), ValueError, "lr must be greater than 0; got -0.1"),
        (lambda: SGD(math.inf), ValueError, "lr must be finite; got inf"),
        (lambda: SGD("0.1"), TypeError, r"lr must be a number; got '0.1' \(str\)"),
        (lambda: SGD(True), TypeError, "lr must be a number"),
        (lambda: SGD(momentum=1.0), ValueError, "momentum must be at least 0 and below 1; got 1"),
        (lambda: SGD(nesterov=True), ValueError, "nesterov needs a momentum greater than 0"),
        (lambda: Adam(betas=(0.9, 1.0)), ValueError, r"betas\[1\] must be at least 0 and below 1"),
        (lambda: Adam(betas=0.9), TypeError, r"betas must be two numbers such as \(0.9, 0.999\)"),
        (lambda: Adam(betas=(0.9,)), TypeError, "betas must be two numbers"),
        (lambda: Adam(eps=0), ValueError, "eps must be greater than 0; got 0"),
        (lambda: setattr(Adam(), "lr", math.nan), ValueError, "lr must be finite; got nan"),
    ],
)
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_an_optimizer_without_a_rule_is_abstract():
    class Sign(Optimizer):
        """An optimiser without an update rule in the engine."""

    with pytest.raises(TypeError, match="abstract"):
        _ = Sign().rule
