"""Layers with options against PyTorch: outputs, gradients, and trajectories of 20 steps."""

import numpy as np
import pytest

import fastbp
from fastbp import Dense
from fastbp.optim import SGD, Adam

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

LAYERS = [
    Dense(9, "tanh", norm="layer", bias=False),
    Dense(9, "softplus", residual=True, norm="rms"),
    Dense(9, "tanh", residual=True, max_norm=0.9),
    Dense(6, "sigmoid", non_negative=True),
    Dense(3, "softmax"),
]
SIGMA = {
    "tanh": torch.tanh,
    "softplus": torch.nn.functional.softplus,
    "sigmoid": torch.sigmoid,
    "softmax": lambda z: z,  # cross_entropy takes logits
}
RULES = {
    "sgd": (lambda: SGD(0.1, momentum=0.9), lambda p: torch.optim.SGD(p, 0.1, momentum=0.9)),
    "adam": (lambda: Adam(0.01), lambda p: torch.optim.Adam(p, 0.01)),
}


class Block(torch.nn.Module):
    """One fastbp layer made of PyTorch's modules, with the same parameters."""

    def __init__(self, layer):
        super().__init__()
        self.dense = layer.dense
        n_in, n_out = layer.W.shape
        self.linear = torch.nn.Linear(n_in, n_out, bias=self.dense.bias, dtype=torch.float64)
        self.norm = torch.nn.Identity()
        if self.dense.norm is not None:
            kind = {"layer": torch.nn.LayerNorm, "rms": torch.nn.RMSNorm}[self.dense.norm.name]
            self.norm = kind(n_out, dtype=torch.float64)
        with torch.no_grad():
            for name, view in layer.parameters().items():
                self.twin(name).copy_(torch.tensor(view.T if name == "W" else view))

    def twin(self, name):
        return {
            "W": self.linear.weight,
            "b": self.linear.bias,
            "gain": getattr(self.norm, "weight", None),
            "shift": getattr(self.norm, "bias", None),
        }[name]

    def forward(self, u):
        a = SIGMA[self.dense.activation.name](self.norm(self.linear(u)))
        return a + u if self.dense.residual else a

    @torch.no_grad()
    def constrain(self):
        W = self.linear.weight
        if self.dense.non_negative:
            W.clamp_(min=0)
        if self.dense.max_norm is not None:
            W.copy_(torch.renorm(W, 2, 0, self.dense.max_norm))  # a row of W is a unit


@pytest.fixture
def pair():
    rng = np.random.default_rng(3)
    net = fastbp.Network.from_layers(5, LAYERS, loss="cross_entropy", dtype="float64", seed=4)
    net.theta += 0.2 * rng.normal(size=net.theta.size)
    blocks = torch.nn.Sequential(*(Block(layer) for layer in net.layers))
    X, y = rng.normal(size=(60, 5)), rng.integers(3, size=60)
    return net, blocks, X, y


def close(computed, exact):
    # sums over 60 rows and five layers, some of which are divided by a deviation below 1
    np.testing.assert_allclose(computed, exact, rtol=1e-10, atol=1e-12)


def test_outputs_and_gradients(pair):
    net, blocks, X, y = pair
    inputs = torch.tensor(X, requires_grad=True)
    logits = blocks(inputs)
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor(y))
    loss.backward()
    close(net.forward(X), torch.softmax(logits, 1).detach())
    close(net.backward(y), loss.item())
    close(net.input_gradient() / len(X), inputs.grad)
    for layer, block in zip(net.layers, blocks, strict=True):
        for name, gradient in layer.gradients().items():
            expected = block.twin(name).grad
            close(gradient, expected.T if name == "W" else expected)


def named(net, blocks, flat):
    """A vector like theta as {name: tensor}, with PyTorch's names of the parameters."""
    found = {}
    for i, (own, block) in enumerate(zip(net.blocks(flat), blocks, strict=True)):
        places = {id(p): f"{i}.{name}" for name, p in block.named_parameters()}
        for name, part in own.items():
            place = places[id(block.twin(name))]
            found[place] = torch.tensor(part.T if name == "W" else part)
    return found


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # of PyTorch itself
def test_products_along_a_direction(pair):
    func = pytest.importorskip("torch.func", reason="PyTorch is older than 2.0")
    net, blocks, X, y = pair
    v, dX = np.sin(np.arange(net.theta.size)), np.cos(X)
    theta, along = named(net, blocks, net.theta), named(net, blocks, v)
    inputs, labels = torch.tensor(X), torch.tensor(y)

    def outputs(theta, inputs):
        return torch.softmax(func.functional_call(blocks, theta, (inputs,)), 1)

    def cost(theta):
        logits = func.functional_call(blocks, theta, (inputs,))
        return torch.nn.functional.cross_entropy(logits, labels)

    moved = func.jvp(outputs, (theta, inputs), (along, torch.tensor(dX)))[1]
    close(net.jvp(X, dX, dtheta=v), moved.detach())
    exact = func.jvp(func.grad(cost), (theta,), (along,))[1]
    for name, found in named(net, blocks, net.hvp(X, y, v)).items():
        scale = float(abs(exact[name]).max())
        np.testing.assert_allclose(found, exact[name].detach(), rtol=1e-9, atol=1e-11 * scale)


@pytest.mark.parametrize("frozen", [(), (0, 2)])
@pytest.mark.parametrize("rule", RULES)
def test_twenty_steps(pair, rule, frozen):
    net, blocks, X, y = pair
    ours, theirs = RULES[rule]
    for i in frozen:
        net.layers[i].trainable = False
        blocks[i].requires_grad_(False)
    optimizer, twin = ours(), theirs([p for p in blocks.parameters() if p.requires_grad])
    for step in range(20):
        rows = slice(step % 3 * 20, step % 3 * 20 + 20)
        twin.zero_grad()
        loss = torch.nn.functional.cross_entropy(
            blocks(torch.tensor(X[rows])), torch.tensor(y[rows])
        )
        loss.backward()
        twin.step()
        for i, block in enumerate(blocks):
            if i not in frozen:
                block.constrain()
        close(net.train_batch(X[rows], y[rows], optimizer), loss.item())
    for layer, block in zip(net.layers, blocks, strict=True):
        for name, view in layer.parameters().items():
            expected = block.twin(name).detach()
            np.testing.assert_allclose(
                view, expected.T if name == "W" else expected, rtol=1e-7, atol=1e-9
            )


def test_init_torch_has_the_distribution_of_nn_linear():
    """By the Kolmogorov-Smirnov distance of two samples of equal size, at a level of 1e-6."""
    torch.manual_seed(0)
    linear = torch.nn.Linear(50, 4000)
    layer = fastbp.Network((50, 4000), init="torch", seed=0).layers[0]
    for name, ours, theirs in (("W", layer.W, linear.weight), ("b", layer.b, linear.bias)):
        one, two = np.sort(ours.ravel()), np.sort(theirs.detach().numpy().ravel())
        n = one.size
        below = np.searchsorted(two, one) / n - np.arange(n) / n
        assert abs(below).max() < np.sqrt(-np.log(1e-6 / 2) / n), name


@pytest.mark.parametrize("p", [0.25, 0.5])
def test_a_training_pass_is_that_of_torch_under_the_same_masks(p):
    """PyTorch draws other masks, so its graph gets those that a shows."""
    layers = [Dense(9, "tanh", dropout=p), Dense(9, "tanh", dropout=p), Dense(2)]
    net = fastbp.Network.from_layers(4, layers, seed=1, dtype="float64")
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(7, 4)), rng.normal(size=(7, 2))
    net.forward(X, training=True)
    J = net.backward(y)
    kept = [torch.tensor((layer.a != 0) / (1 - p)) for layer in net.layers[:-1]]
    theta = [
        [torch.tensor(each, requires_grad=True) for each in pair] for pair in net.unpack(net.theta)
    ]
    a = torch.tensor(X, requires_grad=True)
    x = a
    for (W, b), mask in zip(theta, [*kept, None], strict=True):
        z = a @ W + b
        a = z if mask is None else torch.tanh(z) * mask
    cost = ((a - torch.tensor(y)) ** 2).sum() / 2 / 7
    cost.backward()
    assert pytest.approx(cost.item(), rel=1e-13) == J
    close = {"rtol": 1e-11, "atol": 1e-13}
    for (W, b), (dW, db) in zip(theta, net.unpack(net.grad), strict=True):
        np.testing.assert_allclose(dW, W.grad.numpy(), **close)
        np.testing.assert_allclose(db, b.grad.numpy(), **close)
    np.testing.assert_allclose(net.input_gradient() / 7, x.grad.numpy(), **close)
