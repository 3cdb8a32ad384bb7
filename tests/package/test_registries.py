"""Names, codes and parameters of activations, losses and initialisers."""

import copy
import itertools
import math
import operator
import pickle
import re
from pathlib import Path

import error_bounds
import loss_cases
import numpy as np
import pytest

import fastbp
from fastbp import (
    _core,
    _precision,
    activations,
    initializers,
    losses,
    metrics,
    optim,
    schedules,
)
from fastbp._checks.arguments import READ
from fastbp._checks.names import _ELSEWHERE
from fastbp._explain.explanation import PHASES
from fastbp._network.dense import NORMS, Dense, Norm, draw_parameters
from fastbp.activations import Activation, resolve_layers
from fastbp.export import _c, _c_formulas, _onnx_functions
from fastbp.initializers import Initializer, draw, draw_bias
from fastbp.losses import CustomLoss, Loss
from fastbp.metrics._metrics import SCORES, score_of
from fastbp.metrics._metrics import resolve as resolve_metrics
from fastbp.optim import SGD
from fastbp.reference import _curves, _formulas, _losses, _updates

LOSS_PAGE = Path(__file__).parents[2] / "docs" / "losses.md"
HEADER = Path(__file__).parents[2] / "csrc" / "fastbp.h"
RELU, TANH = Activation("relu"), Activation("tanh")


def c_enum(prefix):
    """{name: value} of the enumerators FASTBP_<prefix>_NAME = value of the public header."""
    found = re.findall(rf"FASTBP_{prefix}_([A-Z0-9_]+)\s*=\s*(\d+)", HEADER.read_text("utf-8"))
    return {name.lower(): int(value) for name, value in found}


# The activations that are not formulas.
BUILT_IN = [name for name in activations.NAMES if Activation(name).formula is None]


def test_activations_agree_with_the_engine():
    assert list(_core.ACTIVATIONS) == BUILT_IN


@pytest.mark.parametrize("name", BUILT_IN)
def test_derivatives_use_a_or_z_as_in_the_engine(name):
    assert Activation(name).derivative_from == _core.SLOPES[name]


def test_codes_of_norms_agree_with_the_engine():
    assert c_enum("NORM") == {"none": 0} | {name: Norm(name).code for name in NORMS}


def test_precisions_agree_with_the_engine():
    enum = HEADER.read_text("utf-8").partition("} fastbp_precision_t;")[0].rpartition("{")[2]
    found = re.findall(r"FASTBP_(\w+) = (\d+)", enum)
    assert [(name.lower(), int(value)) for name, value in found] == [
        (name, code) for code, name in enumerate(_precision.NAMES)
    ]


def test_losses_agree_with_the_engine():
    assert [*losses.NAMES, CustomLoss(max).name] == list(_core.LOSSES)


def test_element_types_of_X_agree_with_the_engine():
    assert {f"{dtype.kind}{dtype.itemsize}".replace("b", "u") for dtype in READ} == {
        *_core.ELEMENTS
    }


def test_the_engine_and_the_reference_have_the_same_rules():
    assert set(_core.RULES) == set(_updates.RULES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rule": "ftrl"}, "no rule, hyper-parameter or clip 'ftrl'"),
        ({"hyper": {"lr": 0.1, "beta3": 0.5}}, "no rule, hyper-parameter or clip 'beta3'"),
        ({"clip": "sum"}, "no rule, hyper-parameter or clip 'sum'"),
    ],
)
def test_a_name_that_the_engine_does_not_know_is_an_error(change, message, monkeypatch):
    net, sgd = fastbp.Network((2, 1), seed=0), SGD()
    packed = sgd.packed() | change
    monkeypatch.setattr(sgd, "packed", lambda: packed)
    with pytest.raises(TypeError, match=message):
        net.train_batch([[1.0, 2.0]], [[3.0]], sgd)
    assert sgd.t == 0


def test_kinds_of_clipping_agree_with_the_engine():
    limited = {name: SGD(**{name: 1.0}).packed()["clip"] for name in SGD._fields if "clip" in name}
    assert c_enum("CLIP").keys() == {"none", *limited.values()}
    assert limited.keys() == {f"clip_{clip}" for clip in limited.values()}


def test_phases_agree_with_the_engine():
    assert c_enum("PHASE") == {name: code for code, name in enumerate(PHASES)}


PLACES = {
    "ACTIVATIONS of fastbp/reference/_formulas.py": _formulas.ACTIVATIONS,
    "_EXPRESSIONS of fastbp/export/_c.py": {*_c._EXPRESSIONS, *_c_formulas.TEMPLATES, "softmax"},
    "ACTIVATIONS of fastbp/export/_onnx_functions.py": {*_onnx_functions.ACTIVATIONS},
    "OPERATIONS of tests/error_bounds.py": {*error_bounds.OPERATIONS, "softmax"},
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", BUILT_IN)
def test_every_activation_has_a_row(name, place):
    assert name in PLACES[place], f"activation {name} has no row in {place}"


# ---- activations --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "name", "alpha", "text"),
    [
        ("relu", "relu", 0.0, "relu"),
        ("leaky_relu", "leaky_relu", 0.01, "leaky_relu(0.01)"),
        (" leaky_relu( 0.1 ) ", "leaky_relu", 0.1, "leaky_relu(0.1)"),
        ("leaky_relu(0)", "leaky_relu", 0.0, "leaky_relu(0.0)"),
        ("elu", "elu", 1.0, "elu(1.0)"),
        ("elu(2e-1)", "elu", 0.2, "elu(0.2)"),
        (Activation("elu", 3), "elu", 3.0, "elu(3.0)"),
    ],
)
def test_activation_specs(spec, name, alpha, text):
    activation = activations.resolve(spec)
    assert (activation.name, activation.alpha, str(activation)) == (name, alpha, text)
    assert isinstance(activation.alpha, float)


@pytest.mark.parametrize("name", activations.NAMES)
def test_the_text_of_an_activation_gives_the_same_activation(name):
    activation = Activation(name)
    assert activations.resolve(str(activation)) == activation
    assert pickle.loads(pickle.dumps(activation)) == copy.copy(activation) == activation


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("swosh", ValueError, "unknown activation 'swosh'; known: identity, sigmoid, tanh, relu"),
        ("relu)", ValueError, r"unknown activation 'relu\)'"),
        ("", ValueError, "unknown activation ''"),
        ("relu(0.1)", ValueError, "relu takes no parameter; got 0.1"),
        ("leaky_relu(x)", ValueError, r"one number in its brackets, as in leaky_relu\(0.1\)"),
        ("leaky_relu(-1)", ValueError, "alpha of leaky_relu must not be negative; got -1"),
        ("elu(0)", ValueError, "alpha of elu must be greater than 0; got 0"),
        ("elu(nan)", ValueError, "alpha of elu must be finite; got nan"),
        (None, TypeError, "activation must be a name such as 'identity'; got NoneType"),
        (math.tanh, TypeError, "activation must be a name such as 'identity'; got builtin"),
    ],
)
def test_bad_activations_are_refused(spec, error, message):
    with pytest.raises(error, match=message):
        activations.resolve(spec)


def test_layers_of_activations():
    assert resolve_layers(3, "tanh", "softmax") == (TANH, TANH, Activation("softmax"))
    assert resolve_layers(3, [RELU, "tanh"], "identity")[:2] == (RELU, TANH)
    assert resolve_layers(1, [], "tanh") == resolve_layers(1, "relu", "tanh") == (TANH,)
    with pytest.raises(ValueError, match="lists 3 names; the network has 2 hidden layers"):
        resolve_layers(3, ["relu"] * 3, "identity")
    with pytest.raises(ValueError, match="give it as output='softmax'"):
        resolve_layers(3, ["relu", "softmax"], "identity")


# ---- losses -------------------------------------------------------------------------------


def test_losses():
    assert losses.resolve("mse") == losses.resolve(Loss("mse")) == Loss("mse")
    labelled = [name for name in losses.NAMES if Loss(name).labels]
    assert labelled == ["cross_entropy", "focal", "multi_margin"]
    paired = [
        (loss, output)
        for loss, output in itertools.product(losses.NAMES, activations.NAMES)
        if Loss(loss).pairs_with(Activation(output))
    ]
    assert paired == [
        ("binary_cross_entropy", "sigmoid"),
        ("cross_entropy", "softmax"),
        ("kl_divergence", "softmax"),
        ("focal", "softmax"),
        ("binary_focal", "sigmoid"),
    ]
    with pytest.raises(ValueError, match="unknown loss 'l2'; known: squared_error, mse, binary_"):
        losses.resolve("l2")
    with pytest.raises(ValueError, match="mse takes no parameter; got 2"):
        losses.resolve("mse(2)")
    with pytest.raises(TypeError, match="loss must be a name such as 'squared_error'; got int"):
        losses.resolve(3)


DOC_ROWS = {
    re.match(r"\w+", name)[0]
    for name in re.findall(r"^\| `([^`]+)` \|", LOSS_PAGE.read_text("utf-8"), re.MULTILINE)
}
LOSS_PLACES = {
    "LOSSES of fastbp/reference/_losses.py": (_losses.LOSSES, lambda loss: loss.entry.alone),
    "FROM_LOGITS of fastbp/reference/_losses.py": (_losses.FROM_LOGITS, lambda loss: loss.pair),
    "CURVES of fastbp/reference/_curves.py": (_curves.CURVES, lambda loss: loss.entry.alone),
    "PAIR_CURVES of fastbp/reference/_curves.py": (_curves.PAIR_CURVES, lambda loss: loss.pair),
    "docs/losses.md": (DOC_ROWS, lambda loss: True),
    "SPECS of tests/loss_cases.py": (
        {losses.resolve(spec).name for spec in loss_cases.SPECS},
        lambda loss: loss.targets != "pairs",
    ),
}


@pytest.mark.parametrize("place", LOSS_PLACES)
@pytest.mark.parametrize("name", losses.NAMES)
def test_every_loss_has_a_row(name, place):
    rows, needed = LOSS_PLACES[place]
    assert name in rows or not needed(Loss(name)), f"loss {name} has no row in {place}"


# ---- initialisers -------------------------------------------------------------------------


def philox(seed=1):
    return np.random.Generator(np.random.Philox(seed))


VARIANCES = {
    "he": lambda n_in, n_out: 2 / n_in,
    "glorot": lambda n_in, n_out: 2 / (n_in + n_out),
    "lecun": lambda n_in, n_out: 1 / n_in,
}


@pytest.mark.parametrize("law", ["normal", "uniform"])
@pytest.mark.parametrize("scheme", VARIANCES)
def test_scaled_initialisers(scheme, law):
    n_in, n_out = 200, 300
    W = draw(f"{scheme}_{law}", n_in, n_out, philox(), RELU)
    variance = VARIANCES[scheme](n_in, n_out)
    # the mean of n squares has a standard error of sqrt((kurtosis − 1)/n) times the variance
    error = math.sqrt({"normal": 2.0, "uniform": 0.8}[law] / W.size)
    assert abs((W**2).mean() / variance - 1) < 5 * error
    assert abs(W.mean()) < 5 * math.sqrt(variance / W.size)
    if law == "uniform":
        limit = math.sqrt(3 * variance)
        assert 0.99 * limit < abs(W).max() <= limit


def test_normal_zeros_and_aliases():
    W = draw("normal(0.5)", 200, 300, philox(), RELU)
    np.testing.assert_array_equal(W, 0.5 * draw("normal(1)", 200, 300, philox(), RELU))
    assert initializers.resolve("normal").std == 0.01
    assert not draw("zeros", 3, 2, philox(), RELU).any()
    for alias, name in [
        ("he", "he_normal"),
        ("glorot", "glorot_uniform"),
        ("lecun", "lecun_normal"),
    ]:
        assert initializers.resolve(alias) == Initializer(name), alias


def test_torch_is_uniform_and_draws_biases_too():
    """U(±1/√n_in) for W and b: the default of torch.nn.Linear."""
    n_in, n_out = 50, 3000
    rng = philox()
    W, b = draw("torch", n_in, n_out, rng, RELU), draw_bias("torch", n_in, n_out, rng)
    limit = 1 / math.sqrt(n_in)
    for name, drawn in (("W", W), ("b", b)):
        assert 0.99 * limit < abs(drawn).max() <= limit, name
        # the kurtosis of a uniform distribution is 1.8
        error = math.sqrt(0.8 / drawn.size)
        assert abs((drawn**2).mean() / (limit**2 / 3) - 1) < 5 * error, name
        assert abs(drawn.mean()) < 5 * limit / math.sqrt(3 * drawn.size), name
    assert (b != W[0]).all()
    with pytest.raises(ValueError, match="init 'torch' takes no parameter"):
        Initializer("torch", 0.5)


@pytest.mark.parametrize("name", [name for name in initializers.NAMES if name != "torch"])
def test_other_initialisers_draw_no_biases(name):
    rng = philox()
    assert not draw_bias(name, 4, 3, rng).any()
    np.testing.assert_array_equal(rng.random(3), philox().random(3))
    assert not draw_bias(lambda n_in, n_out, rng: np.ones((n_in, n_out)), 4, 3, rng).any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_biases_are_drawn_after_the_weights_of_their_layer(dtype):
    layers = [Dense(4, RELU, init="torch"), Dense(3, init="torch", bias=False), Dense(2)]
    theta = draw_parameters(3, layers, 7, np.dtype(dtype))
    rng = philox(7)
    first = draw("torch", 3, 4, rng, RELU).ravel(), draw_bias("torch", 3, 4, rng)
    second = draw("torch", 4, 3, rng, RELU).ravel()
    last = draw("auto", 3, 2, rng, layers[2].activation).ravel(), np.zeros(2)
    np.testing.assert_array_equal(theta, np.concatenate([*first, second, *last]).astype(dtype))
    limit = np.repeat([3**-0.5, 0.5], [16, 12])
    assert (abs(theta[:28]) <= limit.astype(dtype)).all()


def test_both_networks_take_torch_by_name():
    kinds = fastbp.Network, fastbp.reference.Network
    nets = [kind((3, 8, 2), init="torch", seed=1, dtype="float64") for kind in kinds]
    np.testing.assert_array_equal(nets[0].theta, nets[1].theta)
    assert all(layer.b.all() for layer in nets[0].layers)


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (3, 7), (33, 33), (1, 5)])
def test_orthogonal(shape):
    W = draw("orthogonal", *shape, philox(), RELU)
    assert W.shape == shape
    rows, columns = max(shape), min(shape)
    gram = W.T @ W if shape[0] >= shape[1] else W @ W.T
    # Householder QR: ‖QᵀQ − I‖ <= c m n^{3/2} eps (Higham, Accuracy and Stability, theorem 19.4)
    bound = rows * columns**1.5 * np.finfo(float).eps
    assert abs(gram - np.eye(columns)).max() <= bound


def test_orthogonal_is_not_biased_by_qr():
    """The signs of the diagonal of R are removed, so the first column has any direction."""
    signs = [draw("orthogonal", 3, 3, philox(seed), RELU)[0, 0] > 0 for seed in range(400)]
    assert abs(sum(signs) - 200) < 5 * math.sqrt(400 / 4)


@pytest.mark.parametrize("name", activations.NAMES)
def test_auto(name):
    activation = Activation(name)
    expected = draw(activation.entry.init, 4, 3, philox(), activation)
    np.testing.assert_array_equal(draw("auto", 4, 3, philox(), activation), expected)


@pytest.mark.parametrize(
    ("name", "init"),
    [
        ("relu", "he_normal"),
        ("silu", "he_normal"),
        ("selu", "lecun_normal"),
        ("sin", "he_uniform"),
        ("tanh", "glorot_uniform"),
    ],
)
def test_auto_depends_on_the_activation(name, init):
    assert Activation(name).entry.init == init


def test_all_parameters_come_from_one_random_stream():
    layers = [Dense(4, RELU), Dense(2, TANH)]
    theta = draw_parameters(3, layers, 7, np.dtype("float64"))
    rng = philox(7)
    np.testing.assert_array_equal(theta[:12], draw("he_normal", 3, 4, rng, RELU).ravel())
    np.testing.assert_array_equal(theta[12:16], 0)
    np.testing.assert_array_equal(theta[16:24], draw("glorot_uniform", 4, 2, rng, TANH).ravel())
    np.testing.assert_array_equal(theta[24:], 0)
    single = draw_parameters(3, layers, 7, np.dtype("float32"))
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single, theta.astype(np.float32))


def test_a_function_as_initialiser():
    def rising(n_in, n_out, rng):
        assert isinstance(rng, np.random.Generator)
        return np.arange(n_in * n_out).reshape(n_in, n_out)

    theta = draw_parameters(2, [Dense(3, RELU, init=rising)], 0, np.dtype("float32"))
    np.testing.assert_array_equal(theta, [0, 1, 2, 3, 4, 5, 0, 0, 0])


@pytest.mark.parametrize(
    ("init", "error", "message"),
    [
        ("xavier", ValueError, "unknown init 'xavier'; known: auto, he_normal, .*, he, glorot"),
        ("he(2)", ValueError, "init 'he_normal' takes no parameter; got 2"),
        ("normal(-1)", ValueError, "std of normal must be greater than 0; got -1"),
        (0.1, TypeError, "init must be a name such as 'auto'; got float"),
        (lambda n_in, n_out, rng: np.ones((n_out, n_in)), ValueError, r"shape \(3, 2\); the net"),
        (lambda n_in, n_out, rng: np.full((n_in, n_out), np.nan), ValueError, "holds NaN or inf"),
        (lambda n_in, n_out, rng: "abc", TypeError, "array of init must hold real numbers"),
    ],
)
def test_bad_initialisers_are_refused(init, error, message):
    with pytest.raises(error, match=message):
        draw_parameters(2, [Dense(3, RELU, init=init)], 0, np.dtype("float32"))


@pytest.mark.parametrize(
    ("page", "names"),
    [("training.md", metrics.NAMES), ("schedules.md", schedules.NAMES)],
    ids=["metrics", "schedules"],
)
def test_every_name_is_on_its_page(page, names):
    text = (LOSS_PAGE.parent / page).read_text("utf-8")
    missing = [name for name in names if not re.search(rf"[`\"]{name}\b", text)]
    assert not missing, f"docs/{page} does not mention {missing}"


def test_every_metric_with_a_name_is_public():
    assert set(metrics.NAMES) <= set(metrics.__all__)


# ---- names in any case, and hints for those of other libraries ------------------------------


def checked_score(name):
    loss = CustomLoss(np.square, score=name)
    assert callable(score_of(loss))
    return loss.score


REGISTRIES = {
    "activation": (activations.NAMES, lambda name: activations.resolve(name)),
    "loss": (losses.NAMES, lambda name: losses.resolve(name)),
    "init": (initializers.NAMES, lambda name: initializers.resolve(name)),
    "schedule": (schedules.NAMES, lambda name: schedules.resolve(name)),
    "optimizer": ((*optim.NAMES, "lbfgs"), lambda name: optim.resolve(name, fit=True)),
    "metric": (metrics.NAMES, lambda name: list(resolve_metrics([name], Loss("cross_entropy")))),
    "score": ((*metrics.NAMES, *SCORES), lambda name: checked_score(name)),
    "norm": (NORMS, lambda name: Dense(2, norm=name).norm),
}


@pytest.mark.parametrize("kind", REGISTRIES)
def test_names_are_taken_in_any_case_and_kept_in_lower_case(kind):
    names, resolve = REGISTRIES[kind]
    for name in names:
        assert name == name.lower()
        for written in (name.upper(), name.title(), f" {name.capitalize()} "[1:-1]):
            assert repr(resolve(written)) == repr(resolve(name)), written


def test_names_with_options_are_taken_in_any_case():
    assert activations.resolve("Leaky_ReLU(0.1)") == Activation("leaky_relu", 0.1)
    assert activations.resolve("PReLU(0.1, per=unit)") == Activation("prelu", 0.1, "unit")
    assert Activation("TANH").name == "tanh"
    assert losses.resolve("Huber(0.5)") == Loss("huber", 0.5)
    assert initializers.resolve("Normal(0.5)") == Initializer("normal", 0.5)
    assert Initializer("He").name == "he_normal"
    assert Dense(2, norm="RMS(0.5)").norm == Norm("rms", 0.5)
    assert list(resolve_metrics(["Top_K_Accuracy(3)"], Loss("cross_entropy"))) == [
        "top_k_accuracy(3)"
    ]
    assert list(resolve_metrics({"Mine": "MAE"}, Loss("mse"))) == ["Mine"]


@pytest.mark.parametrize("network", [fastbp.Network, fastbp.reference.Network])
def test_a_network_keeps_one_optimizer_for_its_name_in_any_case(network):
    X, y = [[0.0], [1.0]], [[1.0], [3.0]]
    nets = [network((1, 3, 1), activation="Tanh", loss="MSE", seed=0) for _ in range(2)]
    for net, names in zip(nets, (("Adam", "ADAM"), ("adam", "adam")), strict=True):
        for name in names:
            net.partial_fit(X, y, optimizer=name)
    assert repr(nets[0]) == repr(nets[1])
    np.testing.assert_array_equal(nets[0].theta, nets[1].theta)


HINTS = {
    "activation": {
        "swish": "swish is called 'silu' here",
        "Swish": "Swish is called 'silu' here",
        "logistic": "'sigmoid'",
        "linear": "'identity'",
        "None": "'identity'",
        "LeakyReLU(0.1)": "LeakyReLU is called 'leaky_relu' here",
        "leaky-relu": "'leaky_relu'",
        "Hardtanh": "'hard_tanh'",
        "gelu_new": "'gelu_tanh'",
        "sigmiod": "did you mean 'sigmoid'?",
        "log_softmax": "use output='softmax' with loss='cross_entropy'",
    },
    "loss": {
        "MSELoss": "'mse'",
        "mean_squared_error": "'mse'",
        "bce": "'binary_cross_entropy'",
        "BCEWithLogitsLoss": "'binary_cross_entropy'",
        "binary_crossentropy": "'binary_cross_entropy'",
        "crossentropy": "crossentropy is called 'cross_entropy' here",
        "CrossEntropyLoss": "'cross_entropy'",
        "sparse_categorical_crossentropy": "'cross_entropy'",
        "log_loss": "'cross_entropy'",
        "NLLLoss": "'cross_entropy'",
        "SmoothL1Loss": "'huber'",
        "l1": "'mae'",
        "kl_div": "'kl_divergence'",
        "hubber": "did you mean 'huber'?",
    },
    "optimizer": {
        "L-BFGS": "'lbfgs'",
        "adamm": "did you mean 'adam'?",
        "momentum": "write fastbp.optim.SGD(lr, momentum=0.9)",
        "AdamWScheduleFree": "'schedulefree'",
        "SGDScheduleFree": "write fastbp.optim.ScheduleFree(lr, 'sgd')",
    },
    "schedule": {
        "OneCycleLR": "'one_cycle'",
        "CosineAnnealingLR": "'cosine'",
        "ReduceLROnPlateau": "'plateau'",
        "StepLR": "write fastbp.schedules.StepLR(step_size, gamma)",
    },
    "norm": {"LayerNorm": "'layer'", "RMSNorm": "'rms'", "BatchNorm1d": "'batch'"},
    "init": {"xavier_uniform": "'glorot_uniform'", "kaiming": "'he'", "he_nromal": "'he_normal'"},
    "metric": {
        "acc": "'accuracy'",
        "f1_score": "'f1'",
        "top_5_accuracy": "'top_k_accuracy(5)'",
        "roc_auc": "pass the function sklearn.metrics.roc_auc_score",
    },
    "score": {"acc": "'accuracy'", "sgin_accuracy": "'sign_accuracy'"},
}


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in HINTS.items() for name in names]
)
def test_a_name_of_another_library_or_a_slip_gets_a_hint(kind, name):
    known = ", ".join(REGISTRIES[kind][0])
    with pytest.raises(ValueError) as error:
        REGISTRIES[kind][1](name)
    message, _, hint = str(error.value).rpartition("; ")
    assert message == f"unknown {kind} {name!r}; known: {known}"
    assert HINTS[kind][name] in hint


def test_what_hints_name_exists():
    for kind, hints in _ELSEWHERE.items():
        names, resolve = REGISTRIES[kind]
        for there, here in hints.items():
            assert there not in {re.sub("_", "", name) for name in names}, f"{kind} {there} exists"
            if " " not in here:
                assert here.partition("(")[0] in names, f"{kind} {there}"
            for formula in re.findall(r"'(formula\(.*\))'", here):
                resolve(formula)
            for dotted in re.findall(r"fastbp\.(\w+\.\w+)", here):
                operator.attrgetter(dotted)(fastbp)


def test_hints_do_not_exist_for_names_far_from_all():
    for kind in ("activation", "loss", "optimizer", "init", "metric"):
        with pytest.raises(ValueError, match=rf"known: .*{REGISTRIES[kind][0][-1]}$"):
            REGISTRIES[kind][1]("magic")
