"""Random formulas against PyTorch's autograd: values, gradients and second derivatives."""

import numpy as np
import pytest
from gate_cases import TABLE, drift, formulas
from hypothesis import given, settings

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
F = torch.nn.functional

GELU = 2 * np.sqrt(2 / np.pi)  # gelu of PyTorch itself loses digits of its slope beyond x = 5

FUNCTIONS = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "pow": torch.pow,
    "neg": torch.neg,
    "exp": torch.exp,
    "expm1": torch.expm1,
    "log": torch.log,
    "log1p": torch.log1p,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "reciprocal": torch.reciprocal,
    "abs": torch.abs,
    "sin": torch.sin,
    "cos": torch.cos,
    "tan": torch.tan,
    "cot": lambda x: 1 / torch.tan(x),
    "sec": lambda x: 1 / torch.cos(x),
    "csc": lambda x: 1 / torch.sin(x),
    "arcsin": torch.arcsin,
    "arccos": torch.arccos,
    "arctan": torch.arctan,
    "arccot": lambda x: torch.pi / 2 - torch.arctan(x),
    "sinh": torch.sinh,
    "cosh": torch.cosh,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softplus": lambda x: F.softplus(x, threshold=40),  # above it, PyTorch uses the identity
    "silu": F.silu,
    "mish": F.mish,
    "gelu_tanh": lambda x: x * torch.sigmoid(GELU * (x + 0.044715 * x**3)),
    "relu": torch.relu,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "where": lambda c, x, y: torch.where(c != 0, x, y),
    "less": lambda x, y: (x < y).double(),
    "sum": lambda x: x.sum(-1, keepdim=True) if x.ndim else x,
    "mean": lambda x: x.mean(-1, keepdim=True) if x.ndim else x,
    "max": lambda x: x.amax(-1, keepdim=True) if x.ndim else x,
    "logsumexp": lambda x: x.logsumexp(-1, keepdim=True) if x.ndim else x,
    "softmax": lambda x: x.softmax(-1),
}


def run(formula):
    """The value of a formula in PyTorch, and its inputs."""
    inputs = {
        name: torch.tensor(value, dtype=torch.float64, requires_grad=True)
        for name, value in formula.given.items()
    }
    found = {}
    for gate in formula.gate.gates():
        if gate.operands:
            found[gate] = FUNCTIONS[gate.operation](*(found[x] for x in gate.operands))
        elif gate.operation == "input":
            found[gate] = inputs[gate.data]
        else:
            found[gate] = torch.tensor(np.array(gate.data))
    return found[formula.gate], inputs


def test_every_operation_is_compared():
    assert set(FUNCTIONS) == set(TABLE) | {"less"}


def slopes_of(value, inputs):
    """The derivatives of the sum of a tensor, by name, as tensors that have derivatives too."""
    if not value.requires_grad:
        return {name: torch.zeros_like(x) for name, x in inputs.items()}
    found = torch.autograd.grad(
        value.sum(), list(inputs.values()), create_graph=True, materialize_grads=True
    )
    return dict(zip(inputs, found, strict=True))


@settings(max_examples=200)
@given(formulas())
def test_values_and_gradients(formula):
    value, inputs = run(formula)

    def ours():
        trace = formula.gate.trace(**formula.given)
        return {"value": trace.values[formula.gate]} | trace.gradient()

    found, error = ours(), drift(ours)
    for name, expected in ({"value": value} | slopes_of(value, inputs)).items():
        assert np.shape(found[name]) == tuple(expected.shape)
        assert (abs(found[name] - expected.detach().numpy()) <= error[name]).all(), name


@settings(max_examples=100)
@given(formulas())
def test_second_derivatives(formula):
    """The gradient of the sum of the derivative with respect to the first input."""
    value, inputs = run(formula)
    name = next(iter(inputs))
    derivative = formula.gate.derivative(name)

    def ours():
        nothing = {each: np.zeros(np.shape(value)) for each, value in formula.given.items()}
        values = {each: formula.given[each] for each in derivative.inputs}
        return nothing | derivative.trace(**values).gradient()

    found, error = ours(), drift(ours)
    for each, expected in slopes_of(slopes_of(value, inputs)[name], inputs).items():
        assert (abs(found[each] - expected.detach().numpy()) <= error[each]).all(), each
