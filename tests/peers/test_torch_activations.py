"""Activations against PyTorch: values, slopes at and between the kinks, and trajectories."""

import numpy as np
import pytest
from engine_cases import BUILT_IN

import fastbp
from fastbp._core import gemm
from fastbp.activations import Activation
from fastbp.optim import SGD

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
nn = torch.nn

FUNCTIONS = {
    "identity": nn.Identity(),
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "relu": nn.ReLU(),
    "leaky_relu": nn.LeakyReLU(),
    "elu": nn.ELU(),
    "softplus": nn.Softplus(threshold=40),  # above it, PyTorch uses the identity
    "selu": nn.SELU(),
    "relu6": nn.ReLU6(),
    "hard_tanh": nn.Hardtanh(),
    "hard_sigmoid": nn.Hardsigmoid(),
    "softsign": nn.Softsign(),
    "exp": torch.exp,
    "silu": nn.SiLU(),
    "gelu": nn.GELU(),
    "gelu_tanh": nn.GELU("tanh"),
    "mish": nn.Mish(),
    "sin": torch.sin,
}
EPS = float(np.finfo(np.float64).eps)
# relative: in its slope of hard_sigmoid PyTorch has 1/6 to the precision of float32, whatever z's
CONSTANTS = {"hard_sigmoid": float(np.finfo(np.float32).eps)}


def test_every_activation_is_compared():
    assert set(FUNCTIONS) == set(BUILT_IN)


@pytest.mark.parametrize("name", BUILT_IN)
def test_values_and_slopes(rng, name):
    """Also at kinks, where the slopes are those that PyTorch has chosen."""
    act = Activation(name)
    z = np.concatenate([rng.uniform(-12, 12, 2000), np.arange(-8, 9), [0.0, -0.0]])
    x = torch.from_numpy(z.copy()).requires_grad_()
    expected = FUNCTIONS[name](x)
    expected.sum().backward()
    one, a, slopes = np.ones((1, 1)), np.empty((1, len(z))), np.empty((1, len(z)))
    options = {"activation": act.name, "alpha": act.alpha}
    gemm("nn", one, z[None, :], a, **options)
    aux = a if act.derivative_from == "a" else z[None, :]
    gemm("nn", one, np.ones((1, len(z))), slopes, aux=aux, **options)
    # each side has an error of a few eps of the largest term, which for exp is a itself
    size = 1 + abs(z) + abs(a[0])
    assert (abs(a[0] - expected.detach().numpy()) <= 8 * EPS * size).all()
    tolerance = 16 * EPS * size + CONSTANTS.get(name, 0.0) * abs(slopes[0])
    assert (abs(slopes[0] - x.grad.numpy()) <= tolerance).all()


@pytest.mark.parametrize("name", BUILT_IN)
def test_twenty_steps(rng, name):
    """With the same start, data and rate, the parameters stay equal."""
    widths = (4, 9, 7, 2)
    net = fastbp.Network(
        widths, activation=name, output=name, loss="mse", dtype="float64", seed=1, init="glorot"
    )
    net.theta *= 0.5 if name == "exp" else 1
    twin = []
    for layer in net.layers:
        linear = nn.Linear(*layer.W.shape, dtype=torch.float64)
        linear.weight.data = torch.from_numpy(layer.W.T.copy())
        linear.bias.data = torch.from_numpy(layer.b.copy())
        twin.append(linear)
    X, y = rng.normal(size=(30, 4)), rng.uniform(0.2, 0.8, size=(30, 2))
    optimizer = torch.optim.SGD([p for linear in twin for p in linear.parameters()], lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        a = torch.from_numpy(X)
        for linear in twin:
            a = FUNCTIONS[name](linear(a))
        nn.functional.mse_loss(a, torch.from_numpy(y)).backward()
        optimizer.step()
    start = net.theta.copy()
    net.fit(X, y, epochs=20, batch_size=30, shuffle=False, optimizer=SGD(0.05))
    # in 20 steps of 3 layers, the change of theta has the rounding errors of slopes and sums
    moved = abs(net.theta - start).max()
    tolerance = 20 * 3 * (sum(widths) * EPS + CONSTANTS.get(name, 0.0)) * max(1.0, moved)
    for layer, linear in zip(net.layers, twin, strict=True):
        assert abs(layer.W - linear.weight.detach().numpy().T).max() <= tolerance
        assert abs(layer.b - linear.bias.detach().numpy()).max() <= tolerance
    assert moved > 1e-4, "theta has hardly changed"


@pytest.mark.parametrize("per", ["layer", "unit"])
def test_prelu_with_its_trained_alpha(rng, per):
    """Default, values, gradients, and twenty steps that train alpha with the weights."""
    assert Activation("prelu").alpha == nn.PReLU().weight.item()
    widths, spec = (4, 9, 7, 2), f"prelu(per={per})"
    net = fastbp.Network(widths, activation=spec, output=spec, loss="mse", dtype="float64", seed=1)
    modules = []
    for layer in net.layers:
        linear = nn.Linear(*layer.W.shape, dtype=torch.float64)
        linear.weight.data = torch.from_numpy(layer.W.T.copy())
        linear.bias.data = torch.from_numpy(layer.b.copy())
        n = layer.W.shape[1] if per == "unit" else 1
        modules += [linear, nn.PReLU(n, dtype=torch.float64)]
    twin = nn.Sequential(*modules)
    X, y = rng.normal(size=(30, 4)), rng.normal(size=(30, 2))
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.05)

    def theirs():
        values = {"W": [], "b": [], "alpha": []}
        for linear, prelu in zip(twin[::2], twin[1::2], strict=True):
            for name, each in (("W", linear.weight.T), ("b", linear.bias), ("alpha", prelu.weight)):
                values[name].append(each)
        return values

    for step in range(20):
        optimizer.zero_grad()
        nn.functional.mse_loss(twin(torch.from_numpy(X)), torch.from_numpy(y)).backward()
        if step == 0:
            net.forward(X)
            net.backward(y)
            gradients = [prelu.weight.grad.numpy() for prelu in twin[1::2]]
            for layer, exact in zip(net.layers, gradients, strict=True):
                error = abs(layer.dconstants["alpha"] - exact).max()
                assert error <= 30 * sum(widths) * EPS * max(1.0, abs(exact).max())
        optimizer.step()
    start = [layer.constants["alpha"].copy() for layer in net.layers]
    net.fit(X, y, epochs=20, batch_size=30, shuffle=False, optimizer=SGD(0.05))
    tolerance = 20 * 3 * 30 * sum(widths) * EPS
    for i, layer in enumerate(net.layers):
        for name, exact in theirs().items():
            found = layer.parameters()[name]
            assert abs(found - exact[i].detach().numpy()).max() <= tolerance, (name, i)
        assert (abs(layer.constants["alpha"] - start[i]) > 1e-5).all(), "alpha has hardly changed"
