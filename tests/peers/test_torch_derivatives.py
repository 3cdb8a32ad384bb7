"""Derivatives beyond the gradient against torch.func, in float64 and float32."""

import numpy as np
import pytest

import fastbp

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
func = pytest.importorskip("torch.func", reason="PyTorch is older than 2.0")
# PyTorch itself causes this warning.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")

RTOL = {"float64": 1e-10, "float32": 2e-4}


class Case:
    """A tanh network with an output and a loss, samples, and both as functions of tensors."""

    def __init__(self, rng, dtype, output, loss):
        self.net = fastbp.Network(
            (4, 7, 5, 3), activation="tanh", output=output, loss=loss, dtype=dtype, seed=0
        )
        self.net.theta = rng.normal(scale=0.5, size=self.net.theta.size)
        self.X = rng.normal(size=(6, 4)).astype(dtype)
        self.output, self.loss, self.dtype = output, loss, dtype
        labels = loss == "cross_entropy"
        self.y = rng.integers(3, size=6) if labels else rng.normal(size=(6, 3)).astype(dtype)
        self.theta = torch.tensor(self.net.theta)
        self.tensors = torch.tensor(self.X), torch.tensor(self.y)

    def logits(self, theta, x):
        start = 0
        for i, (n_in, n_out) in enumerate(((4, 7), (7, 5), (5, 3))):
            middle, end = start + n_in * n_out, start + (n_in + 1) * n_out
            x = x @ theta[start:middle].reshape(n_in, n_out) + theta[middle:end]
            x = torch.tanh(x) if i < 2 else x
            start = end
        return x

    def f(self, x):
        z = self.logits(self.theta, x)
        return torch.softmax(z, dim=-1) if self.output == "softmax" else z

    def cost(self, theta, x, y):
        z = self.logits(theta, x)
        if self.loss == "cross_entropy":
            return torch.nn.functional.cross_entropy(z, y)
        return ((z - y) ** 2).mean()

    def close(self, computed, exact):
        exact = exact.detach().numpy()
        rtol = RTOL[self.dtype]
        np.testing.assert_allclose(computed, exact, rtol=rtol, atol=rtol * abs(exact).max())


@pytest.fixture(params=["float64", "float32"])
def dtype(request):
    return request.param


@pytest.fixture(params=[("identity", "mse"), ("softmax", "cross_entropy")], ids="-".join)
def case(request, rng, dtype):
    return Case(rng, dtype, *request.param)


def test_vjp(case, rng):
    v = rng.normal(size=(6, 3)).astype(case.dtype)
    case.close(case.net.vjp(case.X, v), func.vjp(case.f, case.tensors[0])[1](torch.tensor(v))[0])


def test_jacobian(case):
    case.close(case.net.jacobian(case.X), func.vmap(func.jacrev(case.f))(case.tensors[0]))


def test_per_sample_gradients(case):
    rows = func.vmap(func.grad(case.cost), in_dims=(None, 0, 0))(case.theta, *case.tensors)
    case.close(case.net.per_sample_gradients(case.X, case.y), rows)
    case.close(case.net.gradient_norms(case.X, case.y), rows.norm(dim=1))


def test_relevance_of_the_inputs(case):
    slopes = func.vmap(func.grad(case.cost, argnums=1), in_dims=(None, 0, 0))(
        case.theta, *case.tensors
    )
    case.close(case.net.relevance(case.X, case.y)[0], case.tensors[0] * slopes)


def test_jvp(case, rng):
    dX, v = rng.normal(size=case.X.shape), rng.normal(size=case.net.theta.size)
    dX, v = (each.astype(case.dtype) for each in (dX, v))
    moved = torch.tensor(dX)
    case.close(case.net.jvp(case.X, dX), func.jvp(case.f, case.tensors[:1], (moved,))[1])
    if case.output == "softmax":
        return

    exact = func.jvp(case.logits, (case.theta, case.tensors[0]), (torch.tensor(v), moved))[1]
    case.close(case.net.jvp(case.X, dX, dtheta=v), exact)


def test_hvp(case, rng):
    v = rng.normal(size=case.net.theta.size).astype(case.dtype)
    gradient = func.grad(lambda theta: case.cost(theta, *case.tensors))
    exact = func.jvp(gradient, (case.theta,), (torch.tensor(v),))[1]
    case.close(case.net.hvp(case.X, case.y, v), exact)


SMOOTH = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "elu": torch.nn.functional.elu,
    "softplus": torch.nn.functional.softplus,
    "relu": torch.relu,
    "selu": torch.selu,
    "softsign": torch.nn.functional.softsign,
    "silu": torch.nn.functional.silu,
}


@pytest.mark.parametrize("name", SMOOTH)
def test_second_derivatives_of_activations(name, rng):
    net = fastbp.Network((3, 4, 2), activation=name, output=name, dtype="float64", seed=0)
    X, y, v = (rng.normal(size=size) for size in ((5, 3), (5, 2), net.theta.size))
    theta, inputs, targets = (torch.tensor(each) for each in (net.theta, X, y))

    def cost(at):
        a = SMOOTH[name](inputs @ at[:12].reshape(3, 4) + at[12:16])
        a = SMOOTH[name](a @ at[16:24].reshape(4, 2) + at[24:])
        return ((a - targets) ** 2).sum() / 2 / len(X)

    exact = func.jvp(func.grad(cost), (theta,), (torch.tensor(v),))[1].numpy()
    np.testing.assert_allclose(net.hvp(X, y, v), exact, rtol=1e-9, atol=1e-11)
