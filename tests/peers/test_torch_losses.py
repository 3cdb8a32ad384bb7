"""Losses against PyTorch: values, gradients with respect to parameters, trajectories."""

import math

import numpy as np
import pytest

import fastbp
from fastbp.optim import SGD

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn = torch.nn
F = nn.functional

N, K = 12, 4
WEIGHT = [1.0, 2.0, 0.5, 3.0]
W = torch.tensor(WEIGHT, dtype=torch.float64)


def indices(rng):
    return rng.integers(K, size=N)


def rows(rng):
    return rng.dirichlet(np.ones(K), N)


def numbers(rng):
    return 2 * rng.normal(size=(N, K))


def pinball(taus):
    tau = torch.tensor(taus, dtype=torch.float64)

    def loss(a, y):
        r = y.repeat_interleave(len(taus), dim=1) - a
        return torch.maximum(tau.repeat(y.shape[1]) * r, (tau.repeat(y.shape[1]) - 1) * r).mean()

    return loss


def gaussian(a, y):
    mean, log_var = a.chunk(2, dim=1)
    return nn.GaussianNLLLoss()(mean, y, log_var.exp())


def focal(gamma, alpha):
    def loss(z, y):
        log_p = F.log_softmax(z, dim=1).gather(1, y[:, None])[:, 0]
        return (-alpha[y] * (1 - log_p.exp()) ** gamma * log_p).mean()

    return loss


def binary_focal(gamma, alpha):
    """The same as torchvision.ops.sigmoid_focal_loss; torchvision is not a dependency."""

    def loss(z, y):
        p = torch.sigmoid(z)
        p_t = p * y + (1 - p) * (1 - y)
        alpha_t = alpha * y + (1 - alpha) * (1 - y)
        ce = F.binary_cross_entropy_with_logits(z, y, reduction="none")
        return (alpha_t * ce * (1 - p_t) ** gamma).mean()

    return loss


def kl(z, y):
    return nn.KLDivLoss(reduction="batchmean")(F.log_softmax(z, dim=1), y)


def ranking(a, y):
    return nn.MarginRankingLoss(margin=0.5)(a[::2], a[1::2], torch.ones_like(a[::2]))


# (our loss, our output, PyTorch's loss as a function of z^L, targets)
CASES = [
    ("mae", "identity", nn.L1Loss(), numbers),
    ("huber(0.7)", "identity", nn.HuberLoss(delta=0.7), numbers),
    ("poisson", "identity", nn.PoissonNLLLoss(), lambda rng: rng.poisson(2, (N, K))),
    (
        "poisson(log_input=false)",
        "softplus",
        lambda z, y: nn.PoissonNLLLoss(log_input=False)(F.softplus(z), y),
        lambda rng: rng.poisson(2, (N, K)),
    ),
    ("kl_divergence", "softmax", kl, rows),
    ("cross_entropy", "softmax", nn.CrossEntropyLoss(), indices),
    ("cross_entropy(0.2)", "softmax", nn.CrossEntropyLoss(label_smoothing=0.2), indices),
    (f"cross_entropy(class_weight={WEIGHT})", "softmax", nn.CrossEntropyLoss(W), indices),
    (
        f"cross_entropy(0.2, {WEIGHT})",
        "softmax",
        nn.CrossEntropyLoss(W, label_smoothing=0.2),
        indices,
    ),
    (f"cross_entropy(0.2, {WEIGHT})", "softmax", nn.CrossEntropyLoss(W, label_smoothing=0.2), rows),
    (
        f"binary_cross_entropy({WEIGHT})",
        "sigmoid",
        lambda z, y: K * nn.BCEWithLogitsLoss(pos_weight=W)(z, y),
        lambda rng: rng.uniform(size=(N, K)),
    ),
    ("multi_margin(0.8)", "identity", nn.MultiMarginLoss(margin=0.8), indices),
    ("quantile(0.1, 0.7)", "identity", pinball([0.1, 0.7]), lambda rng: rng.normal(size=(N, 2))),
    ("gaussian_nll", "identity", gaussian, lambda rng: rng.normal(size=(N, 2))),
    (f"focal(1.5, {WEIGHT})", "softmax", focal(1.5, W), indices),
    ("margin_ranking(0.5)", "identity", ranking, lambda rng: None),
    ("binary_focal", "sigmoid", binary_focal(2, 0.25), lambda rng: rng.integers(2, size=(N, K))),
]


@pytest.mark.parametrize(("spec", "output", "theirs", "draw"), CASES, ids=lambda value: str(value))
def test_gradient_and_twenty_steps(rng, spec, output, theirs, draw):
    net = fastbp.Network(
        (3, 6, K), activation="tanh", output=output, loss=spec, dtype="float64", seed=1
    )
    X, y = rng.normal(size=(N, 3)), draw(rng)
    twin = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, K)).double()
    linear = [twin[0], twin[2]]
    with torch.no_grad():
        for layer, module in zip(net.layers, linear, strict=True):
            module.weight.copy_(torch.from_numpy(layer.W.T.copy()))
            module.bias.copy_(torch.from_numpy(layer.b.copy()))
    target = None
    if y is not None:
        target = torch.from_numpy(y if y.ndim == 1 else y.astype(float))
    descent = torch.optim.SGD(twin.parameters(), lr=0.05)
    ours = SGD(0.05)
    for step in range(20):
        descent.zero_grad()
        J = theirs(twin(torch.from_numpy(X)), target)
        J.backward()
        assert math.isclose(net.value_and_grad(X, y)[0], J.item(), rel_tol=1e-12, abs_tol=1e-14)
        for layer, module in zip(net.layers, linear, strict=True):
            dW, db, case = module.weight.grad.numpy().T, module.bias.grad.numpy(), f"step {step}"
            np.testing.assert_allclose(layer.dW, dW, atol=1e-13, err_msg=case)
            np.testing.assert_allclose(layer.db, db, atol=1e-13, err_msg=case)
        descent.step()
        net.train_batch(X, y, ours)
    for layer, module in zip(net.layers, linear, strict=True):
        np.testing.assert_allclose(layer.W, module.weight.detach().numpy().T, atol=1e-12)
