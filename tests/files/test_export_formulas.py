"""Exports of networks whose activations are formulas predict what the network predicts.

The tolerances are bounds of the rounding errors of the engine, once for the engine and once for the
software that runs the export; see error_bounds.py and formula_bounds.py.
"""

import copy
import re
import subprocess
import sys

import numpy as np
import pytest
from error_bounds import ErrorBounds
from export_cases import DTYPES, compiled, predicted_in_c, predicted_in_onnx, rows
from formula_bounds import bounds
from formula_cases import random_activations
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastbp
from fastbp import Dense, activations, export, gates, reference
from fastbp.export import _c_formulas, _formulas, _onnx_functions, _torch_formulas
from fastbp.gates._operations import OPERATIONS

pytestmark = pytest.mark.once

# Every operation that an activation may have is in one of them; for |z| < 10, values and slopes are
# moderate and not close to a pole.
FORMULAS = {
    "prelu": "prelu(0.1)",
    "products": "formula(beta * z ** 2 / 10 - z ** 3 / 100 - (gamma - z), beta=0.7, gamma=-0.2)",
    "quotients": "formula(-(z + beta) / (9 + square(z)) + reciprocal(2 + abs(z)), beta=0.7)",
    "powers": "formula(abs(z) ** beta * 0.9 ** (z - 1), beta=1.3)",
    "exponentials": "formula(exp(-abs(z)) * expm1(beta * tanh(z)), beta=-0.5)",
    "logarithms": "formula(log(1.5 + abs(beta * z)) - log1p(sqrt(z ** 2 + 0.25)), beta=0.6)",
    "waves": "formula(sin(beta * z) * cos(z) + tan(tanh(z)), beta=0.8)",
    "poles": "formula(sec(tanh(z)) - csc(2 + tanh(z)) + cot(2 + beta * tanh(z)), beta=0.5)",
    "angles": "formula(arcsin(beta * tanh(z)) + arccos(beta * tanh(z)) * arctan(z), beta=0.9)",
    "more angles": "formula(arccot(beta * z) - z * arctan(100 * z), beta=0.3)",
    "hyperbolic": "formula(sinh(beta * tanh(z)) / cosh(z), beta=2)",
    "swish": "formula(z * sigmoid(beta * z), beta=1)",
    "rectifiers": "formula(silu(z) - mish(z) + gelu_tanh(b2 * z) + softplus(z) - relu(z), b2=1)",
    "slopes": "formula(silu_slope(z) * mish_slope(beta * z) - gelu_tanh_slope(z), beta=0.8)",
    "extrema": "formula(maximum(z, beta * z) - minimum(beta, z) + maximum(-2, z), beta=0.3)",
    "choices": "formula(where(z >= 1, z, where(z > 0, beta * z - beta + 1, 1 - beta)), beta=0.5)",
    "conditions": "formula(z * where(equal(z, 3), 2, less_equal(-9, z)) + beta * less(z, beta) - "
    "where(relu(z), z, beta), beta=0.5)",
    "long": "formula("
    + "".join(f"s{i} = tanh(z + s{i - 1}); " for i in range(2, 18)).replace("s1)", "beta)")
    + "s17, beta=0.1)",
}


def formula(name, per="layer"):
    """The formula of an activation, with its trained constants per layer or per unit."""
    found = activations.resolve(FORMULAS[name]).formula
    return gates.ActivationFormula(found.gate, per=per, **found.constants)


def network(name, dtype, own=None):
    """5-7-4: a formula per unit, then the same per layer; all parameters have been trained."""
    layers = [Dense(7, own or formula(name, "unit")), Dense(4, own or formula(name))]
    net = fastbp.Network.from_layers(5, layers, dtype=dtype, seed=1)
    move = np.random.default_rng(0).uniform(-0.1, 0.1, net.theta.size)
    net.theta = net.theta + move.astype(dtype)
    return net


def targets(n=20):
    """y (n, 4), exact in float32."""
    return np.random.default_rng(2).standard_normal((n, 4)).astype(np.float32).astype(float)


def error(net, X):
    """Bounds of the errors of the predictions and gradients of a network."""
    exact = reference.Network.from_layers(5, [layer.dense for layer in net.layers])
    exact.theta = net.theta
    exact.forward(X.astype(float))
    exact.backward(targets())
    return ErrorBounds(exact, targets(), np.ones(len(X)), net.dtype)


# ---- the tables ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "table"),
    [
        ("TEMPLATES of fastbp/export/_c_formulas.py", _c_formulas.TEMPLATES),
        ("OPERATIONS of fastbp/export/_onnx_functions.py", _onnx_functions.OPERATIONS),
        ("OPERATIONS of fastbp/export/_torch_formulas.py", _torch_formulas.OPERATIONS),
    ],
)
def test_every_operation_can_be_exported(place, table):
    for name, operation in OPERATIONS.items():
        if operation.kind == "elementwise" and name not in _formulas.SPELLED_OUT:
            assert name in table, f"operation {name} has no row in {place}"


def test_every_operation_is_tested():
    found = {gate.operation for name in FORMULAS for gate in formula(name).gate.gates()}
    for name, operation in OPERATIONS.items():
        if operation.kind == "elementwise":
            assert name in found, f"operation {name} occurs in none of the FORMULAS"


def test_formulas_are_simplified():
    z, beta = gates.inputs("z", "beta")
    condition = gates.where(z, beta, 0) + (z < beta) * gates.where(2 - 2, z, gates.cot(1.0))
    gate = _formulas.simplified(condition.derivative("beta"))
    for each in _formulas.simplified(condition).gates() + gate.gates():
        assert each.operation not in {*_formulas.SPELLED_OUT, *_formulas.SHAPES}
        numbers = [x.operation == "number" for x in each.operands]
        assert not numbers or not all(numbers)
        for place, operand in enumerate(each.operands):
            first = each.operation == "where" and place == 0
            assert (operand.operation in _formulas.CONDITIONS) == first


# ---- predictions --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_c(dtype, tmp_path):
    nets = {f"net{i}": network(name, dtype) for i, name in enumerate(FORMULAS)}
    check_in_c(nets, FORMULAS, tmp_path)


def check_in_c(nets, cases, folder):
    library = compiled("".join(export.c(net, name=name) for name, net in nets.items()), folder)
    for (name, net), case in zip(nets.items(), cases, strict=True):
        X = rows(net.dtype)
        found = predicted_in_c(library, net, X, name)
        assert (abs(found - net.predict(X)) <= 2 * error(net, X).a[-1]).all(), case


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FORMULAS)
def test_onnx(name, dtype):
    check_in_onnx(network(name, dtype))


def check_in_onnx(net):
    pytest.importorskip("onnx", reason="onnx is not installed")
    X = rows(net.dtype)
    found = predicted_in_onnx(export.onnx(net), X)
    assert found.dtype == net.dtype
    assert (abs(found - net.predict(X)) <= 2 * error(net, X).a[-1]).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FORMULAS)
def test_torch(name, dtype):
    check_in_torch(network(name, dtype))


def check_in_torch(net):
    """Predictions, and gradients of all parameters."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    X, y = rows(net.dtype), targets().astype(net.dtype)
    module = export.to_torch(net)
    out = module(torch.from_numpy(X))
    (0.5 * (out - torch.from_numpy(y)) ** 2).sum(1).mean().backward()
    E = error(net, X)
    assert (abs(out.detach().numpy() - net.forward(X)) <= 2 * E.a[-1]).all()
    net.backward(y)
    for i, (linear, act) in enumerate(zip(module[::2], module[1::2], strict=True)):
        layer = net.layers[i]
        assert (abs(linear.weight.grad.numpy().T - layer.dW) <= 2 * E.dW[i]).all()
        assert (abs(linear.bias.grad.numpy() - layer.db) <= 2 * E.db[i]).all()
        pairs = zip(act.parameters(), layer.dconstants.items(), strict=True)
        for parameter, (name, gradient) in pairs:
            found = 0.0 if parameter.grad is None else parameter.grad.numpy()
            assert parameter.dtype == out.dtype
            assert (abs(found - gradient) <= 2 * E.dconstants[i][name]).all()


RANDOM = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])


@RANDOM
@given(own=random_activations())
def test_random_formulas_in_onnx(own):
    check_in_onnx(network("", "float64", own))


@RANDOM
@given(own=random_activations())
def test_random_formulas_in_torch(own):
    check_in_torch(network("", "float64", own))


@settings(RANDOM, max_examples=2)
@given(every=st.lists(random_activations(), min_size=20, max_size=20))
def test_random_formulas_in_c(every, tmp_path_factory):
    nets = {f"net{i}": network("", "float64", own) for i, own in enumerate(every)}
    check_in_c(nets, every, tmp_path_factory.mktemp("random"))


# Where each formula is tried: far out, where exp overflows, close to 0, at kinks, at no number.
ENDS = [-1e5, -1000, -100, -30, -1, -1e-5, -1e-30, 0, 1e-30, 1e-5, 1, 25, 100, 1000, 1e5, np.nan]
AT_ENDS = (
    *("sigmoid(z)", "softplus(z)", "silu(z)", "mish(z)", "gelu_tanh(z)", "tanh(z)", "relu(z)"),
    *("expm1(z)", "log1p(abs(z))", "arctan(z)", "sinh(z)", "cosh(z)", "square(z)", "abs(z)"),
    *("maximum(z, -1)", "minimum(1, z)", "maximum(z, 2 * z)", "where(z < 0, 1, z)", "exp(z)"),
    *("arcsin(z)", "arccos(z)", "arccot(z)", "log(z)", "sqrt(z)", "reciprocal(z)"),
)


def at_ends(text, dtype):
    net = fastbp.Network((1, 1), output=f"formula({text})", dtype=dtype, init="zeros")
    net.layers[0].W = [[1.0]]
    return net, np.array(ENDS, dtype)[:, None]


def check_ends(found, net, X, rough=()):
    """Infinite and NaN where the network is, elsewhere as close as functions are.

    rough: functions that err by 2 eps of 1, which z multiplies, not of their value.
    """
    expected, z = net.predict(X), X.astype(float)
    formula = net.layers[0].activation.formula
    [(_, E)] = bounds(formula.programs()[0], [z], [0.0], net.dtype)
    size = np.maximum(1, abs(z)) * any(gate.operation in rough for gate in formula.gate.gates())
    E = 2 * E + 2 * np.finfo(net.dtype).eps * size
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(found[~finite], expected[~finite])
    assert (abs(found[finite] - expected[finite]) <= E[finite]).all(), net.activations


@pytest.mark.parametrize("dtype", DTYPES)
def test_c_at_the_ends(dtype, tmp_path):
    nets = {f"net{i}": at_ends(text, dtype) for i, text in enumerate(AT_ENDS)}
    sources = [export.c(net, name=name) for name, (net, _) in nets.items()]
    library = compiled("".join(sources), tmp_path)
    for name, (net, X) in nets.items():
        check_ends(predicted_in_c(library, net, X, name), net, X)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("text", AT_ENDS)
def test_onnx_at_the_ends(text, dtype):
    pytest.importorskip("onnx", reason="onnx is not installed")
    net, X = at_ends(text, dtype)
    found = predicted_in_onnx(export.onnx(net), X)
    check_ends(found, net, X, rough={"sigmoid", "silu", "gelu_tanh"})  # with the same sigmoid


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("text", AT_ENDS)
def test_torch_at_the_ends(text, dtype):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    net, X = at_ends(text, dtype)
    with torch.no_grad():
        found = export.to_torch(net)(torch.from_numpy(X)).numpy()
    check_ends(found, net, X, rough={"gelu_tanh"})  # there it is z/2 (1 + tanh …), which cancels


def test_a_saved_network_is_exported_alike_in_another_process(tmp_path):
    names = ("swish", "rectifiers", "choices", "prelu")
    layers = [Dense(5, formula(name, "unit")) for name in names]
    layers.append(Dense(4, formula("extrema")))
    net = fastbp.Network.from_layers(5, layers, dtype="float32", seed=1)
    net.save(tmp_path / "net.safetensors")
    program = (
        "import fastbp, sys\n"
        "net = fastbp.load(sys.argv[1] + '/net.safetensors')\n"
        "fastbp.export.c(net, sys.argv[1] + '/net.c')\n"
        "fastbp.export.onnx(net, sys.argv[1] + '/net.onnx')\n"
    )
    pytest.importorskip("onnx", reason="onnx is not installed")
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    assert (tmp_path / "net.c").read_text() == export.c(net)
    assert (tmp_path / "net.onnx").read_bytes() == export.onnx(net).SerializeToString()
    X = rows("float32")
    np.testing.assert_array_equal(
        fastbp.load(tmp_path / "net.safetensors").predict(X), net.predict(X)
    )
    found = predicted_in_c(compiled(export.c(net), tmp_path), net, X)
    assert (abs(found - net.predict(X)) <= 2 * error(net, X).a[-1]).all()


@pytest.mark.parametrize(
    "loss", [gates.loss(lambda a, y: gates.sum(abs(a - y))), lambda a, y: ((a - y) ** 2, a - y)]
)
def test_a_loss_of_ones_own_does_not_matter(loss):
    net = fastbp.Network((5, 3, 4), activation="prelu", loss=loss, seed=0)
    assert "model_predict" in export.c(net)
    assert list(export.to_state_dict(net))[2] == "1.weight"
    pytest.importorskip("onnx", reason="onnx is not installed")
    assert "PRelu" in {node.op_type for node in export.onnx(net).graph.node}
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    assert isinstance(export.to_torch(net)[1], torch.nn.PReLU)


# ---- C source -----------------------------------------------------------------------------


def test_c_computes_shared_parts_once():
    z, beta = gates.inputs("z", "beta")
    e = gates.exp(beta * z)
    own = gates.ActivationFormula(e / (1 + e) ** 3 + where_positive(z), per="unit", beta=0.5)
    net = fastbp.Network((2, 3), output=own, dtype="float64", seed=0)
    _, _, source = export.c(net, name="net").partition("#include")
    assert source.count("exp(") == 1
    assert "static const double net_beta_1[3]" in source
    assert "const double t1 = exp(net_beta_1[j] * z);" in source
    assert re.search(r"t2 \* t2 \* t2", source)
    assert "(0.0 < z ? z : -z)" in source


def where_positive(z):
    return gates.where(z > 0, z, -z)


def test_c_adds_the_input_of_residual_layers():
    layers = [Dense(3, "formula(where(z < 0, 0, z * z))", residual=True), Dense(1)]
    source = export.c(fastbp.Network.from_layers(3, layers, dtype="float32", seed=0))
    assert "h0[j] = (z < 0.0f ? 0.0f : z * z) + x[j];" in source


def test_c_takes_the_numbers_that_float32_takes(tmp_path):
    text = "formula(minimum(z, 3e38) + 1e-300 + maximum(-3e38, -z))"
    net = fastbp.Network((5, 4), output=text, dtype="float32", seed=0)
    X = rows("float32")
    found = predicted_in_c(compiled(export.c(net), tmp_path), net, X)
    np.testing.assert_array_equal(found, net.predict(X))


# ---- modules of PyTorch -------------------------------------------------------------------


def test_modules_are_read_back():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    for name in FORMULAS:
        net = network(name, "float64")
        module = export.to_torch(net)
        again = export.from_torch(module)
        np.testing.assert_array_equal(again.theta, net.theta)
        for own, found in zip(net.layers, again.layers, strict=True):
            assert own.activation.per == found.activation.per
            assert list(own.constants) == list(found.constants)
        X = rows("float64")
        E = error(net, X).a[-1]
        assert (abs(again.predict(X) - net.predict(X)) <= 2 * E).all()
        state = {key: tensor.numpy() for key, tensor in module.state_dict().items()}
        ours = export.to_state_dict(net)
        assert list(state) == list(ours)
        for key, array in ours.items():
            np.testing.assert_array_equal(state[key], array)
    assert isinstance(module[1], torch.fx.GraphModule)


@pytest.mark.parametrize("name", ["swish", "rectifiers", "choices", "long", "two extrema"])
def test_formulas_survive_a_trip_through_torch(name):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    if name == "two extrema":
        text = "maximum(beta * z, z) - minimum(minimum(z, 2) + 1, gamma)"
        own = gates.ActivationFormula(text, beta=0.5, gamma=0.25)
    else:
        own = formula(name)
    net = fastbp.Network((2, 3), output=own, dtype="float64", seed=0)
    again = export.from_torch(export.to_torch(net)).layers[0].activation.formula
    assert again.merged_gate is own.merged_gate
    assert again.constants == own.constants


def test_prelu_is_read_back():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    nn = torch.nn
    net = fastbp.Network.from_layers(2, [Dense(3, "prelu(-0.5, per=unit)"), Dense(2, "prelu")])
    net.layers[0].constants["alpha"] = [1, 2, 3]
    module = export.to_torch(net)
    assert [(m.num_parameters, m.init) for m in module[1::2]] == [(3, -0.5), (1, 0.25)]
    again = export.from_torch(module)
    assert again.activations == net.activations
    np.testing.assert_array_equal(again.theta, net.theta)
    with pytest.raises(ValueError, match=r"module 1.*1 or 3 numbers as alpha.*got 2"):
        export.from_torch(nn.Sequential(nn.Linear(2, 3), nn.PReLU(2)))


def test_modules_behave_like_those_of_torch(tmp_path):
    """They are copied, pickled, compiled, scripted and exported, and keep their dtype."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    X = torch.from_numpy(rows("float32"))
    for name in ("prelu", "powers", "extrema", "choices"):
        module = export.to_torch(network(name, "float32"))
        expected = module(X)
        torch.save(module, tmp_path / "net.pt")
        others = {
            "deepcopy": copy.deepcopy(module),
            "pickle": torch.load(tmp_path / "net.pt", weights_only=False),
            "export": torch.export.export(module, (X,)).module(),
        }
        for way, other in others.items():
            assert torch.equal(other(X), expected), (name, way)
        assert module.double()(X.double()).dtype == torch.float64
        assert export.from_torch(others["pickle"]).widths == (5, 7, 4)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # of PyTorch itself
def test_modules_can_be_scripted_and_compiled():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    X = torch.from_numpy(rows("float32"))
    module = export.to_torch(network("extrema", "float32"))
    assert torch.equal(torch.jit.script(module)(X), module(X))
    whole = torch.compile(module, backend="eager", fullgraph=True)
    assert torch.equal(whole(X), module(X))


@pytest.mark.parametrize(
    "text",
    [
        *("maximum(z, alpha)", "maximum(alpha, z)", "minimum(z, alpha)", "minimum(alpha, z)"),
        *("maximum(z, 0.5)", "maximum(0.5, z)", "minimum(z, 0.5)", "minimum(0.5, z)"),
        *("relu(z - 0.5)", "abs(alpha - z)", "where(z > alpha, z, alpha)", "z ** alpha"),
    ],
)
def test_slopes_at_kinks(text):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    gate = gates.ActivationFormula(f"alpha * 0 + {text}", alpha=0.5)
    net = fastbp.Network((3, 3), output=gate, dtype="float64", seed=0)
    module = export.to_torch(net)[1]
    z = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64, requires_grad=True)
    module(z).sum().backward()
    exact = gate.gate.trace(z=z.detach().numpy(), alpha=0.5).gradient()
    np.testing.assert_allclose(z.grad, exact["z"], rtol=4e-16)
    np.testing.assert_allclose(module.alpha.grad, exact["alpha"], rtol=1e-15)


def test_a_constant_cannot_have_the_name_of_an_attribute():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    net = fastbp.Network((2, 3), output="formula(z * training, training=2)", seed=0)
    assert "model_training_1" in export.c(net)
    with pytest.raises(ValueError, match="'training'.*another name"):
        export.to_torch(net)


def test_modules_of_users_become_formulas():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    F = torch.nn.functional

    class Inner(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.slope = torch.nn.Parameter(torch.tensor(0.125))
            self.register_buffer("shift", torch.tensor([0.25]))

        def forward(self, z):
            z = torch.clamp(z, min=-2, max=3.0) + self.shift
            return torch.where(z.ge(1), z.mul(self.slope), F.silu(z, inplace=False).abs())

    class Own(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gamma = torch.nn.Parameter(torch.tensor([0.5, 1.0, 1.5]))
            self.inner = Inner()

        def forward(self, z):
            a = F.softplus(self.gamma * z, beta=2) - torch.asin(torch.tanh(z) / 2) ** 2
            return F.gelu(a, approximate="tanh") / 2 + torch.max(self.inner(z), -z)

    own = torch.fx.symbolic_trace(Own())
    module = torch.nn.Sequential(torch.nn.Linear(5, 3), own)
    net = export.from_torch(module)
    assert net.layers[0].activation.constants == {"gamma": 1.0, "inner_slope": 0.125}
    np.testing.assert_array_equal(net.layers[0].constants["gamma"], [0.5, 1.0, 1.5])
    X = rows("float32")
    exact = module.double()(torch.from_numpy(X).double()).detach().numpy()
    E = one_layer_error(net, X)
    assert (abs(net.predict(X) - exact) <= E).all()


def test_traced_functions_become_activations_of_fastbp():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    functions = {
        "sin": lambda z: torch.sin(z),
        "sigmoid": lambda z: 1 / (1 + torch.exp(-z)),
        "mish": lambda z: torch.nn.functional.mish(z),
        "relu": lambda z: torch.where(z > 0, z, 0.0),
        "formula(sin(2 * z))": lambda z: (2 * z).sin(),
        "gelu_tanh": torch.nn.Sequential(torch.nn.GELU("tanh")),
        "formula(tanh(softplus(z)))": torch.nn.Sequential(torch.nn.Softplus(), torch.nn.Tanh()),
    }
    for name, function in functions.items():
        own = torch.fx.symbolic_trace(function)
        net = export.from_torch(torch.nn.Sequential(torch.nn.Linear(5, 3), own))
        assert str(net.activations[0]) == name


def one_layer_error(net, X):
    exact = reference.Network.from_layers(5, [net.layers[0].dense])
    exact.theta = net.theta
    exact.forward(X.astype(float))
    exact.backward(targets()[:, :3])
    return ErrorBounds(exact, targets()[:, :3], np.ones(len(X)), net.dtype).a[-1]


def test_modules_that_are_no_formula_are_refused():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    nn = torch.nn
    cases = {
        "no erf": lambda z: torch.erf(z),
        "no cumsum": lambda z: z.cumsum(0),
        "approximate": lambda z: nn.functional.gelu(z),
        "more than one input": lambda z, y: z + y,
        "these arguments of add": lambda z: torch.add(z, z, alpha=2),
        "these arguments of max: max of 1": lambda z: torch.max(z, 1),
        "these arguments of min": lambda z: torch.min(z),
        "depends on its input": lambda z: torch.full_like(z, 2.0),
        "cannot have detach": lambda z: torch.exp(z.detach()) + z,
        "cannot have detach: it": lambda z: torch.where(z > 0, z, torch.tanh(z).detach()),
        "cannot have detach: it has": lambda z: torch.where(
            z > 0, z, torch.clamp(z, min=1).detach()
        ),
        "its output": lambda z: z.detach(),
        "inplace": lambda z: nn.functional.relu(z, inplace=True) + z,
        "ReLU with inplace=True": nn.Sequential(nn.ReLU(inplace=True)),
        r"no LeakyReLU\(|no leaky_relu": nn.Sequential(nn.LeakyReLU()),
        r"no Linear\(": nn.Sequential(nn.Linear(3, 3)),
        r"no Softplus\(": nn.Sequential(nn.Softplus(beta=2)),
    }
    for message, function in cases.items():
        own = torch.fx.symbolic_trace(function)
        with pytest.raises(ValueError, match=f"module 1 is no activation.*({message})"):
            export.from_torch(nn.Sequential(nn.Linear(5, 3), own))


# ---- lists and dicts of arrays ------------------------------------------------------------


@pytest.mark.parametrize("name", ["prelu", "products", "waves"])
def test_constants_in_state_dicts_and_keras_weights(name):
    net = network(name, "float64")
    activation = {"activation": net.activations[0], "output": net.activations[1]}
    state = export.to_state_dict(net)
    constants = ["weight"] if name == "prelu" else list(net.activations[0].constants)
    for place in (1, 3):
        found = [key.removeprefix(f"{place}.") for key in state if key.startswith(f"{place}.")]
        assert found == constants
    again = export.from_state_dict(state, **activation)
    np.testing.assert_array_equal(again.theta, net.theta)
    again = export.from_keras_weights(export.to_keras_weights(net), **activation)
    np.testing.assert_array_equal(again.theta, net.theta)


def test_constants_that_do_not_fit_are_refused():
    net = network("products", "float64")
    activation = {"activation": net.activations[0], "output": net.activations[1]}
    state, weights = export.to_state_dict(net), export.to_keras_weights(net)
    cases = {
        "expected each of beta, gamma once.*got 1.gamma": {"1.beta": None},
        "1.delta is neither": {"1.delta": np.ones(7)},
        "expected each of beta, gamma once": {"1b.beta": np.ones(7)},
        "beta.*shape": {"1.beta": np.ones(6)},
        "not finite": {"1.beta": np.full(7, np.nan)},
    }
    for message, change in cases.items():
        with pytest.raises(ValueError, match=message):
            export.from_state_dict(changed(state, change), **activation)
    with pytest.raises(ValueError, match="layer 1 must have W, b, beta, gamma.*got 3 arrays"):
        export.from_keras_weights([*weights[:3], *weights[4:]], **activation)
    with pytest.raises(ValueError, match="layer 1 must have W, b, in this order.*got 4 arrays"):
        export.from_keras_weights(weights, activation="tanh")


def changed(state, change):
    """A state dict with other entries after the first layer."""
    first = {name: array for name, array in state.items() if name[0] < "2"} | change
    rest = {name: array for name, array in state.items() if name[0] >= "2"}
    return {name: array for name, array in (first | rest).items() if array is not None}


# ---- pipelines ----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("own", ["prelu(0.1, per=unit)", formula("swish", "unit")], ids=str)
def test_pipelines_can_be_converted_to_onnx(own):
    skl2onnx = pytest.importorskip("skl2onnx", reason="skl2onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    from fastbp.sklearn import MLPRegressor, to_sklearn

    export.register_skl2onnx()
    X = rows("float32", 60)
    y = targets(60)
    model = MLPRegressor(hidden_layer_sizes=(7,), activation=own, max_iter=20, random_state=0)
    model.fit(X, y)
    graph = skl2onnx.to_onnx(model, X[:1], target_opset=18)
    session = runtime.InferenceSession(
        graph.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    E = error(model.network_, X[:20]).a[-1]
    assert (abs(session.run(None, {"X": X[:20]})[0] - model.predict(X[:20])) <= 2 * E).all()
    with pytest.raises(ValueError, match="scikit-learn has the activations"):
        to_sklearn(model)
