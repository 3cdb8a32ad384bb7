"""Every update rule of PyTorch, with its options: 20 steps of training in both."""

import numpy as np
import pytest

import fastbp
from fastbp import optim

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

WIDTHS, STEPS = (4, 7, 2), 20
# the name of the class, which is the same in PyTorch, and its keywords; the lr of SGD differs
CLASSES = [type(optim.resolve(name)).__name__ for name in optim.NAMES]
CASES = [
    *((name, {}) for name in CLASSES if hasattr(torch.optim, name) and name not in ("SGD", "Muon")),
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.001, "momentum": 0.9, "nesterov": True, "maximize": True}),
    ("Adam", {"lr": 0.01, "amsgrad": True, "weight_decay": 0.1, "betas": (0.5, 0.7)}),
    ("Adam", {"lr": 0.01, "decoupled_weight_decay": True, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.01, "maximize": True, "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.01, "amsgrad": True, "weight_decay": 0.5}),
    ("NAdam", {"lr": 0.01, "weight_decay": 0.1, "momentum_decay": 0.5}),
    ("NAdam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.01, "betas": (0.8, 0.9), "weight_decay": 0.1}),
    ("RAdam", {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("Adamax", {"lr": 0.01, "weight_decay": 0.1, "maximize": True}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "initial_accumulator_value": 0.5}),
    ("Adagrad", {"lr": 0.1, "weight_decay": 0.1, "eps": 0.01}),
    ("Adadelta", {"lr": 0.5, "rho": 0.5, "weight_decay": 0.1}),
    ("RMSprop", {"momentum": 0.9, "weight_decay": 0.1}),
    ("RMSprop", {"centered": True, "alpha": 0.9}),
    ("RMSprop", {"centered": True, "momentum": 0.5}),
    ("Rprop", {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (0.01, 0.2)}),
]
CLIPS = [
    {"clip_value": 0.05},
    {"clip_norm": 0.1},
    {"clip_global_norm": 0.1},
]


def side_by_side(make_torch, optimizer, clip=lambda parameters: None, after=lambda p: None):
    """theta of both after STEPS steps with the same data in float64."""
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(16, WIDTHS[0])), rng.normal(size=(16, WIDTHS[-1]))
    net = fastbp.Network(WIDTHS, activation="tanh", loss="mse", dtype="float64", seed=2)
    parameters = [torch.tensor(a, requires_grad=True) for lay in net.layers for a in (lay.W, lay.b)]
    theirs = make_torch(parameters)
    inputs, targets = torch.tensor(X), torch.tensor(y)
    for _ in range(STEPS):
        W1, b1, W2, b2 = parameters
        outputs = torch.tanh(inputs @ W1 + b1) @ W2 + b2
        theirs.zero_grad()
        torch.nn.functional.mse_loss(outputs, targets).backward()
        clip(parameters)
        theirs.step()
        after(parameters)
    net.fit(X, y, epochs=STEPS, batch_size=len(X), shuffle=False, optimizer=optimizer)
    return net.theta, flat(parameters)


def flat(parameters):
    return np.concatenate([p.detach().numpy().ravel() for p in parameters])


def close(ours, theirs):
    # the same formulas in another order: rounding errors of float64 over 20 steps
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("name", "keywords"), CASES)
def test_trajectory(name, keywords):
    make = getattr(torch.optim, name)
    if name == "SGD":
        keywords = {"lr": 0.01} | keywords
    ours = getattr(optim, name)(**keywords)
    close(*side_by_side(lambda parameters: make(parameters, **keywords), ours))


@pytest.mark.parametrize("keywords", CLIPS, ids=str)
def test_clipping(keywords):
    ((name, limit),) = keywords.items()

    def clip(parameters):
        if name == "clip_value":
            torch.nn.utils.clip_grad_value_(parameters, limit)
        elif name == "clip_global_norm":
            torch.nn.utils.clip_grad_norm_(parameters, limit)
        else:
            for parameter in parameters:
                torch.nn.utils.clip_grad_norm_(parameter, limit)

    ours = optim.Adagrad(0.1, **keywords)
    close(*side_by_side(lambda p: torch.optim.Adagrad(p, 0.1), ours, clip))


def test_a_learning_rate_for_each_layer():
    def groups(p):
        first, second = {"params": p[:2], "lr": 0.005}, {"params": p[2:], "lr": 0.02}
        return torch.optim.AdamW([first, second], weight_decay=0.5)

    close(*side_by_side(groups, optim.AdamW(0.01, weight_decay=0.5, lr_factors=(0.5, 2.0))))


def test_ema_of_the_parameters():
    means = []

    def after(parameters):
        now = torch.tensor(flat(parameters))
        mean = torch.optim.swa_utils.get_ema_multi_avg_fn(0.75)
        if not means:
            means.append(now)
        else:
            mean(means, [now], None)

    ours = optim.SGD(0.1, ema=0.75)
    close(*side_by_side(lambda p: torch.optim.SGD(p, 0.1), ours, after=after))
    close(ours.average, means[0].numpy())


@pytest.mark.parametrize("name", sorted({name for name, _ in CASES}))
def test_defaults_are_those_of_pytorch(name):
    theirs = getattr(torch.optim, name)([torch.zeros(1)]).defaults
    ours = getattr(optim, name)()
    for key in ours._fields.keys() & theirs.keys():
        if (name, key) != ("SGD", "lr"):  # 0.01 in fastbp, 0.001 in PyTorch
            assert getattr(ours, key) == theirs[key], key


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this PyTorch has no Muon")
@pytest.mark.parametrize(
    "keywords",
    [
        {},
        {"lr": 0.02, "nesterov": False, "weight_decay": 0.0},
        {"lr": 0.02, "adjust_lr_fn": "match_rms_adamw", "ns_steps": 3, "momentum": 0.5},
        {"lr": 0.02, "ns_coefficients": (2.0, -1.5, 0.5), "weight_decay": 0.5},
    ],
)
def test_muon(keywords, monkeypatch):
    """Muon of PyTorch for the matrices, which are (out, in) there, and its AdamW for the rest."""
    # the iteration in float64, on a copy
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda tensor: tensor.double().clone())
    given = {"lr": 0.001, "weight_decay": 0.1} | keywords

    class Both:
        def __init__(self, parameters):
            self.W, self.b = parameters[::2], parameters[1::2]
            self.turned = [torch.nn.Parameter(W.detach().T.clone()) for W in self.W]
            self.muon = torch.optim.Muon(self.turned, **keywords)
            own = {"lr": given["lr"], "weight_decay": given["weight_decay"]}
            self.adamw = torch.optim.AdamW(self.b, **own)

        def zero_grad(self):
            for parameter in (*self.W, *self.b):
                parameter.grad = None

        def step(self):
            for W, turned in zip(self.W, self.turned, strict=True):
                turned.grad = W.grad.T.clone()
            self.muon.step()
            self.adamw.step()
            for W, turned in zip(self.W, self.turned, strict=True):
                W.data.copy_(turned.detach().T)

    ours, theirs = side_by_side(Both, optim.Muon(**keywords))
    # 20 steps, each of which multiplies rounding errors of small singular values by up to 3.4445^5
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)
