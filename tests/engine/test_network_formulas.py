"""Activations and losses that are formulas: trained constants, and random formulas."""

import copy
import pickle

import numpy as np
import pytest
from engine_cases import DTYPES, OPTIMIZERS, Twins
from fit_cases import N
from formula_cases import (
    ACTIVATIONS,
    LOSSES,
    WITH_CONSTANTS,
    random_activations,
    random_losses,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import fastbp
from fastbp import Dense, activations, gates, losses, reference
from fastbp.activations import Activation
from fastbp.losses import FormulaLoss
from fastbp.optim import LBFGS, SGD, AdamW
from fastbp.testing import gradcheck

KINDS = pytest.mark.parametrize("kind", [fastbp.Network, reference.Network], ids=["engine", "ref"])
EPS = float(np.finfo(np.float64).eps)


def data(n=N, dtype="float64"):
    rng = np.random.default_rng(7)
    return rng.normal(size=(n, 3)).astype(dtype), rng.normal(size=(n, 2)).astype(dtype)


def small(spec, kind=fastbp.Network, dtype="float64", **options):
    return kind((3, 5, 2), activation=spec, output=spec, dtype=dtype, seed=5, **options)


# ---- what stands for a formula ------------------------------------------------------------


@pytest.mark.parametrize("spec", ["prelu", "prelu(-0.5)", "prelu(0.1, per=unit)", *ACTIVATIONS])
def test_the_text_of_an_activation_gives_the_same_activation(spec):
    activation = activations.resolve(spec)
    assert activations.resolve(str(activation)) == activation
    assert activations.resolve(activation.formula) == activation
    copies = [pickle.loads(pickle.dumps(activation)), copy.deepcopy(activation)]
    assert all(each == activation and hash(each) == hash(activation) for each in copies)
    assert Dense(2, spec).activation == Dense(2, activation.formula).activation == activation


@pytest.mark.parametrize(
    ("spec", "alpha", "per", "text"),
    [
        ("prelu", 0.25, "layer", "prelu(0.25)"),
        (" prelu ( 0.1 ) ", 0.1, "layer", "prelu(0.1)"),
        ("prelu(-1e-2, per=layer)", -0.01, "layer", "prelu(-0.01)"),
        ("prelu(per=unit)", 0.25, "unit", "prelu(0.25, per=unit)"),
        ("prelu(2,per = unit)", 2.0, "unit", "prelu(2.0, per=unit)"),
        (gates.prelu(0.5, per="unit"), 0.5, "unit", "prelu(0.5, per=unit)"),
    ],
)
def test_texts_of_prelu(spec, alpha, per, text):
    activation = activations.resolve(spec)
    assert (activation.name, activation.alpha, activation.per) == ("prelu", alpha, per)
    assert str(activation) == text
    assert activation == Activation("prelu", alpha, per) == eval(repr(activation))
    assert activation.constants == {"alpha": alpha}
    assert activation.formula == gates.prelu(alpha, per=per)


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("prelu(x)", ValueError, r"a number in its brackets, per=unit, or both, as in prelu\(0.25"),
        ("prelu()", ValueError, "a number in its brackets"),
        ("prelu(1, 2)", ValueError, "a number in its brackets"),
        ("prelu(per=unit, 1)", ValueError, "a number in its brackets"),
        ("prelu(nan)", ValueError, "alpha of prelu must be finite; got nan"),
        ("prelu(per=row)", ValueError, "unknown per 'row'; known: layer, unit"),
        ("prelu(", ValueError, r"unknown activation 'prelu\('"),
        ("formula", ValueError, r"formula\(\.\.\.\)"),
        ("formula(sum(z))", ValueError, "sum"),
        ("formula(z * q)", ValueError, "q"),
        ("formula(z * beta, beta=nan)", ValueError, "beta must be a number"),
        (gates.loss(lambda a, y: gates.sum(a - y)), TypeError, "got LossFormula"),
        (gates.inputs("z")[0], TypeError, "got Gate"),
        (np.tanh, TypeError, "make one of your function with fastbp.gates.activation"),
    ],
)
def test_other_activations_are_refused(spec, error, message):
    with pytest.raises(error, match=message):
        activations.resolve(spec)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("relu", None, "unit"), ValueError, "relu has no trained constant; got per='unit'"),
        (("relu", None, "layer", gates.prelu()), ValueError, "relu takes no formula"),
        (("prelu", 0.25, "layer", gates.prelu(0.5)), ValueError, "prelu takes no formula"),
        (("formula",), TypeError, "needs formula=, as from fastbp.gates.activation; got None"),
        (("formula", 1.0, "layer", gates.prelu()), ValueError, "are part of it; got alpha=1.0"),
        (("formula", None, "unit", gates.prelu()), ValueError, "are part of it; .* per='unit'"),
    ],
)
def test_arguments_that_do_not_fit_an_activation_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        Activation(*arguments)


@pytest.mark.parametrize("spec", LOSSES)
def test_the_text_of_a_loss_gives_the_same_loss(spec):
    loss = losses.resolve(spec)
    assert isinstance(loss, FormulaLoss)
    assert losses.resolve(str(loss)) == losses.resolve(loss.formula) == loss
    assert losses.resolve(loss) is loss
    assert eval(repr(loss)) == loss
    assert pickle.loads(pickle.dumps(loss)) == copy.deepcopy(loss) == loss
    assert loss.labels == ("classes" in spec)


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("formula(a - y)", ValueError, "one number per row"),
        ("formula(sum(a * q))", ValueError, "q"),
        ("formula(sum(a), targets=words)", ValueError, "unknown targets 'words'"),
        (gates.prelu(), TypeError, "got ActivationFormula"),
    ],
)
def test_other_losses_are_refused(spec, error, message):
    with pytest.raises(error, match=message):
        losses.resolve(spec)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"activation": lambda z: gates.minimum(z, 1e300)}, "layers.0."),
        ({"output": lambda z: 1e38 * z**4}, "layers.1."),
        ({"loss": lambda a, y: gates.sum(1e300 * (a - y))}, "the loss"),
    ],
)
def test_numbers_that_are_infinite_in_float32_are_refused(options, what):
    ((key, function),) = options.items()
    formula = (gates.loss if key == "loss" else gates.activation)(function)
    X, _ = data(dtype="float32")
    with pytest.raises(ValueError, match=f"{what}.* largest of float32; got .*float64") as error:
        fastbp.Network((3, 5, 2), dtype="float32", **{key: formula}).predict(X)
    shown = float(str(error.value).partition("got ")[2].partition(". Make")[0])
    assert float(np.finfo("float32").max) < shown
    net = fastbp.Network((3, 5, 2), dtype="float64", **{key: formula})
    assert np.isfinite(net.predict(data()[0])).all()


@KINDS
def test_constants_begin_within_the_dtype(kind):
    large = gates.activation(lambda z, c: gates.minimum(z, c), c=1e39)
    with pytest.raises(ValueError, match="c must be at most 3.4e.38, .* float32; got 1e.39"):
        small(large, kind, dtype="float32")
    assert small(large, kind).layers[0].constants["c"] == 1e39


def test_a_loss_takes_a_formula_only():
    with pytest.raises(TypeError, match="must be a formula, as from fastbp.gates.loss; got 3"):
        FormulaLoss(3)


@pytest.mark.parametrize(
    ("output", "inside"),
    [
        (lambda z: gates.sigmoid(z), True),
        (lambda z: 1 / (1 + gates.exp(-z)), True),
        (lambda z: (gates.tanh(z) + 1) / 2, True),
        (lambda z: gates.exp(-(z**2)), True),
        (lambda z: gates.where(z > 0, 1 - 0.5 * gates.exp(-abs(z)), 0.5 * gates.exp(z)), True),
        (lambda z: gates.tanh(z), False),
        (lambda z: 1.001 * gates.sigmoid(z), False),
        (lambda z: gates.sqrt(z), False),  # NaN for z < 0
        (lambda z: z, False),
    ],
)
def test_a_warning_comes_if_outputs_are_outside_of_the_unit_interval(output, inside, recwarn):
    spec = gates.activation(output)
    assert activations.resolve(spec).in_unit_interval == inside
    fastbp.Network((2, 1), output=spec, loss="binary_cross_entropy")
    messages = [str(warning.message) for warning in recwarn.list]
    assert ["use output='sigmoid'" in message for message in messages] == [True] * (not inside)


# ---- trained constants --------------------------------------------------------------------


@KINDS
def test_constants_are_views_of_theta_behind_the_other_parameters(kind):
    first = Dense(4, "prelu(0.1, per=unit)", norm="layer")
    second = Dense(3, "formula(alpha * z + beta * tanh(z), alpha=0.5, beta=2)", bias=False)
    net = kind.from_layers(2, [first, second, Dense(1)], dtype="float64", seed=0)
    one, two, three = net.layers
    assert [[*blocks] for blocks in net.blocks(net.theta)] == [
        ["W", "b", "gain", "shift", "alpha"],
        ["W", "alpha", "beta"],
        ["W", "b"],
    ]
    assert one.constants["alpha"].shape == (4,) and two.constants["beta"].shape == (1,)
    np.testing.assert_array_equal(net.theta[20:24], 0.1)  # 8 W, 4 b, 4 gain, 4 shift
    np.testing.assert_array_equal(net.theta[36:38], [0.5, 2.0])
    assert not three.constants and three.dconstants == {}
    for layer in (one, two):
        for name, view in layer.constants.items():
            assert np.shares_memory(view, net.theta)
            assert np.shares_memory(layer.dconstants[name], net.grad)
            assert layer.gradients()[name] is layer.dconstants[name]
    parts = net._architecture.slices()
    assert [[(p.start, p.stop) for p in layer.values()] for layer in parts[:2]] == [
        [(0, 8), (8, 12), (12, 16), (16, 20), (20, 24)],
        [(24, 36), (36, 38)],
    ]


def test_constants_can_be_set():
    net = small("formula(alpha * z + beta * tanh(z), alpha=0.5, beta=1, per=unit)")
    layer, theta = net.layers[0], net.theta
    layer.constants["alpha"] = [1, 2, 3, 4, 5]
    layer.constants["beta"][2] = 9
    assert layer.constants["beta"].tolist() == [1, 1, 9, 1, 1]
    layer.constants = {"beta": -1.5}
    assert net.theta is theta
    np.testing.assert_array_equal(theta[20:30], [1, 2, 3, 4, 5, *[-1.5] * 5])
    assert repr(layer.constants).startswith("{'alpha': array([1., 2.")
    assert layer.constants == dict(layer.constants)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"alpha": 1.0, "beta": 2.0}, KeyError, "no constant 'beta'; it has alpha"),
        ({"alpha": [1, 2]}, ValueError, r"alpha has shape \(2,\); the network has \(5,\)"),
        ({"alpha": "much"}, TypeError, "alpha"),
        ({"alpha": np.nan}, ValueError, "alpha must be finite"),
        ([1.0], TypeError, "constants must be a mapping of names to values"),
    ],
)
def test_values_that_do_not_fit_leave_the_constants_as_they_are(values, error, message):
    net = small("prelu(per=unit)")
    theta = net.theta.copy()
    with pytest.raises(error, match=message):
        net.layers[0].constants = values
    np.testing.assert_array_equal(net.theta, theta)
    with pytest.raises(KeyError, match="it has none"):
        fastbp.Network((2, 1)).layers[0].constants["alpha"] = 1
    with pytest.raises(AttributeError, match="W, b, gain, shift, .*constants and trainable"):
        net.layers[0].alpha = 1.0


@KINDS
def test_penalties_do_not_apply_to_constants(kind):
    X, y = data()
    nets = [small("prelu", kind, **options) for options in ({}, {"l1": 0.5, "l2": 0.25})]
    grads = [net.value_and_grad(X, y)[1] for net in nets]
    for layer, blocks in zip(nets[0].layers, nets[0].blocks(grads[1] - grads[0]), strict=True):
        np.testing.assert_allclose(blocks["W"], 0.5 * np.sign(layer.W) + 0.25 * layer.W)
        assert blocks["alpha"] == blocks["b"].sum() == 0


@pytest.mark.parametrize("per", ["layer", "unit"])
def test_prelu_with_a_fixed_alpha_is_leaky_relu(per):
    """And its gradient is Σ_i s_i g_i min(z_i, 0)/S, over the units of a layer or one by one."""
    X, y = data()
    net, leaky = small(f"prelu(0.1, per={per})"), small("leaky_relu(0.1)")
    for mine, theirs in zip(net.layers, leaky.layers, strict=True):
        mine.W, mine.b = theirs.W, theirs.b
    s = np.random.default_rng(3).uniform(0.5, 2.0, N)
    assert net.forward(X).tobytes() == leaky.forward(X).tobytes()
    assert net.backward(y, s) == leaky.backward(y, s)
    for l, layer in enumerate(net.layers):
        np.testing.assert_allclose(layer.dW, leaky.layers[l].dW, rtol=0, atol=16 * EPS)
    top, below = net.layers[1], net.layers[0]
    for layer, g in ((top, top.a - y), (below, top.delta @ top.W.T)):
        terms = s[:, None] * g * np.minimum(layer.z, 0) / s.sum()
        exact = terms.sum(axis=0) if per == "unit" else terms.sum(keepdims=True)[0]
        bound = (terms.size + 8) * EPS * abs(terms).sum()
        assert abs(layer.dconstants["alpha"] - exact).max() <= bound


@KINDS
def test_a_delta_cannot_be_injected_into_an_output_with_constants(kind):
    """δ^L does not tell ∂J_i/∂a^L. Hidden layers may have constants."""
    X, y = data()
    net = small("prelu", kind)
    net.forward(X)
    with pytest.raises(ValueError, match="does not tell the gradient of alpha, .* use backward"):
        net.backward_from(y)
    net = kind((3, 5, 2), activation="prelu(per=unit)", dtype="float64", seed=5)
    net.forward(X)
    net.backward(y)
    grad, delta = net.grad.copy(), net.layers[-1].delta.copy()
    net.forward(X)
    net.backward_from(delta)
    np.testing.assert_array_equal(net.grad, grad)


@KINDS
def test_a_hook_changes_the_layers_below_it_only(kind):
    """The constants of layer l take ∂J_i/∂a^l, which comes before δ^l."""
    X, y = data()
    net = small("prelu(per=unit)", kind)
    J, grad = net.value_and_grad(X, y)
    seen = []
    net.on_delta(lambda l, delta: seen.append(l))
    assert net.value_and_grad(X, y)[0] == J
    np.testing.assert_array_equal(net.grad, grad)
    assert seen == [2, 1]
    net.on_delta(lambda l, delta: 0 * delta if l == 1 else None)
    net.value_and_grad(X, y)
    blocks = net.blocks(grad)
    for l, layer in enumerate(net.layers):
        for name, view in layer.gradients().items():
            zero = l == 0 and name in ("W", "b")
            np.testing.assert_array_equal(view, 0 * view if zero else blocks[l][name])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", OPTIMIZERS)
@pytest.mark.parametrize("spec", WITH_CONSTANTS)
def test_training_moves_the_constants_as_the_reference_does(spec, rule, dtype):
    X, y = data(dtype=dtype)
    before, after = [], []
    for kind, own in ((fastbp.Network, dtype), (reference.Network, "float64")):
        net = small(spec, kind, own)
        net.theta = net.theta.astype(dtype)
        before.append(np.concatenate([*net.layers[0].constants.values()]))
        net.fit(X, y, epochs=3, batch_size=8, optimizer=OPTIMIZERS[rule]())
        after.append(np.concatenate([*net.layers[0].constants.values()]))
    np.testing.assert_array_equal(*before)
    moved = abs(after[1] - before[1]).max()
    assert moved > 1e-4
    # of 9 steps, each with sums of some 50 terms; a gradient near 0 may turn into a whole step
    assert abs(after[0] - after[1]).max() <= 9 * 50 * np.finfo(dtype).eps * (1 + moved)


def ways_to_train():
    """Name → a function (net, X, y) that trains for some steps."""

    def batches(net, X, y):
        optimizer = SGD(0.05, momentum=0.9)
        for i in range(0, N, 8):
            net.train_batch(X[i : i + 8], y[i : i + 8], optimizer)

    def steps(net, X, y):
        optimizer = AdamW(0.01)
        for _ in range(3):
            net.value_and_grad(X, y)
            net.step(optimizer)

    def hooked(net, X, y):
        net.on_delta(lambda l, delta: None)
        net.fit(X, y, epochs=2, batch_size=8)

    return {
        "train_batch": batches,
        "step": steps,
        "a hook": hooked,
        "partial_fit": lambda net, X, y: [net.partial_fit(X, y) for _ in range(3)],
        "accumulate": lambda net, X, y: net.fit(X, y, epochs=2, batch_size=4, accumulate=3),
        "a stream": lambda net, X, y: net.fit(fastbp.stream(X, y, block_rows=10), epochs=2),
        "weights": lambda net, X, y: net.fit(X, y, epochs=2, sample_weight=np.arange(N) % 3),
        "validation": lambda net, X, y: net.fit(X, y, epochs=2, validation_split=0.2),
        "averages": lambda net, X, y: net.fit(X, y, epochs=2, optimizer=AdamW(0.01, ema=0.5)),
        "lbfgs": lambda net, X, y: net.fit(X, y, epochs=3, optimizer=LBFGS()),
    }


@pytest.mark.parametrize("way", ways_to_train())
def test_every_way_to_train_is_that_of_the_reference(way):
    X, y = data()
    loss = "formula(mean((a - y) ** 2) + 0.1 * max(abs(a - y)))"
    nets = [small("prelu(per=unit)", k, loss=loss) for k in (fastbp.Network, reference.Network)]
    for net in nets:
        if way == "lbfgs":
            pytest.importorskip("scipy", reason="LBFGS needs SciPy")
        ways_to_train()[way](net, X, y)
    assert (abs(nets[1].layers[0].constants["alpha"] - 0.25) > 1e-5).all()
    # at most 12 steps of Adam, whose quotient multiplies the rounding of g by 1/|g|
    np.testing.assert_allclose(nets[0].theta, nets[1].theta, rtol=0, atol=1e-9)


def test_lr_finder_leaves_the_constants_as_they_are():
    X, y = data()
    net = small("prelu", loss="formula(sum((a - y) ** 2))")
    theta = net.theta.copy()
    assert len(fastbp.lr_finder(net, X, y, steps=20, batch_size=8).lrs) > 2
    np.testing.assert_array_equal(net.theta, theta)


def test_callbacks_restore_the_constants_too(tmp_path):
    X, y = data()
    net = small("prelu")
    keeper = fastbp.callbacks.ModelCheckpoint(tmp_path / "best", "loss", save_best_only=True)
    stop = fastbp.callbacks.EarlyStopping("loss", patience=1, restore_best=True)
    net.fit(X, y, epochs=8, optimizer=SGD(2.0, clip_norm=1.0), callbacks=[keeper, stop])
    assert fastbp.load(tmp_path / "best").theta.tobytes() == net.theta.tobytes()


@KINDS
def test_frozen_layers_keep_their_constants(kind):
    X, y = data()
    net = small("prelu(per=unit)", kind)
    net.layers[0].trainable = False
    net.fit(X, y, epochs=1, optimizer=AdamW(0.1, weight_decay=0.1))
    np.testing.assert_array_equal(net.layers[0].constants["alpha"], 0.25)
    assert (net.layers[1].constants["alpha"] != 0.25).all()


def test_all_constants_of_a_layer_are_one_part_when_norms_are_clipped():
    X, y = data()
    spec = "formula(alpha * z + beta * tanh(z), alpha=0.5, beta=0.5, per=unit)"
    for kind in (fastbp.Network, reference.Network):
        net = small(spec, kind)
        grad, start = net.value_and_grad(X, y)[1], net.theta.copy()
        net.step(SGD(1.0, clip_norm=1e-3))
        moved, exact = net.blocks(start - net.theta), net.blocks(grad)
        for l, layer in enumerate(net.layers):
            whole = np.concatenate([exact[l][name] for name in layer.constants])
            factor = 1e-3 / (np.linalg.norm(whole) + 1e-6)
            for name in layer.constants:
                wanted = factor * exact[l][name]
                # theta is of the size of 1, and the steps are differences of it
                np.testing.assert_allclose(moved[l][name], wanted, rtol=1e-12, atol=4 * EPS)


def test_more_threads_than_one_give_the_same_bits_of_constants():
    """Sums over the units of a wide layer, and over many rows."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(700, 20)), rng.normal(size=(700, 3))
    found = []
    for n_threads in (1, 2, 5):
        net = fastbp.Network((20, 257, 130, 3), activation="prelu", output="prelu", seed=1)
        net.fit(X, y, epochs=2, batch_size=350, n_threads=n_threads)
        found.append(net.theta.tobytes())
    assert found[0] == found[1] == found[2]


# ---- description --------------------------------------------------------------------------


def test_descriptions_name_the_formula():
    swish = gates.activation(lambda z, beta: z * gates.sigmoid(beta * z), beta=1.0)
    loss = gates.loss(lambda a, y: gates.mean(abs(a - y)))
    net = fastbp.Network((2, 4, 1), activation=swish, output="prelu", loss=loss, seed=0)
    text = "formula(z * sigmoid(beta * z), beta=1.0)"
    assert repr(net) == (
        f"fastbp.Network((2, 4, 1), ['{text}', 'prelu(0.25)'], "
        "loss='formula(mean(abs(a - y)))', dtype='float32')"
    )
    assert repr(net.dense[0]) == f"Dense(4, {text!r})"
    assert repr(net.layers[0]) == f"Layer(2 -> 4, {text})"
    lines = net.summary().splitlines()
    assert text in lines[1] and lines[1].split()[-3:] == ["13", "52", "B"] or "13" in lines[1]
    assert "prelu(0.25)" in lines[2] and "loss formula(mean(abs(a - y)))" in lines[3]
    assert "formula(z * sigmoid(beta * z), beta=1.0)" in net._repr_html_()


def test_long_formulas_are_cut_in_tables():
    waves = gates.activation(lambda z: sum(gates.sin(i * z) / i for i in range(1, 20)))
    net = fastbp.Network((2, 4, 1), activation=waves, seed=0)
    assert max(map(len, net.summary().splitlines())) < 140
    assert "…" in net.summary() and str(net.activations[0]) in repr(net)


def test_explain_names_the_formulas():
    X, y = data(64)
    net = fastbp.Network(
        (3, 16, 2), activation="prelu(per=unit)", loss="formula(sum((a - y) ** 2))", seed=0
    )
    found = net.explain(X, y, seconds=0.01)
    assert found.activations == ("prelu(0.25, per=unit)", "identity")
    assert found.loss == "formula(sum((a - y) ** 2))"
    assert "prelu(0.25, per=unit), identity; formula(sum((a - y) ** 2))" in str(found)
    assert abs(sum(phase.share for phase in found.phases) - 1) < 1e-9


# ---- losses -------------------------------------------------------------------------------


@KINDS
@pytest.mark.parametrize(
    ("formula", "name"),
    [
        ("formula(0.5 * sum((a - y) ** 2))", "squared_error"),
        ("formula(mean((a - y) ** 2))", "mse"),
        ("formula(mean(abs(a - y)))", "mae"),
        ("formula(mean(log(cosh(a - y))))", "log_cosh"),
        ("formula(mean(exp(a) - y * a))", "poisson"),
    ],
)
def test_a_formula_is_the_loss_that_it_describes(kind, formula, name):
    rng = np.random.default_rng(1)
    X, y, v = rng.normal(size=(9, 3)), rng.poisson(1.0, (9, 2)) + 0.5, rng.normal(size=(32))
    nets = [
        kind((3, 5, 2), activation="tanh", loss=loss, seed=3, dtype="float64")
        for loss in (formula, name)
    ]
    (J, grad), (J_exact, exact) = (net.value_and_grad(X, y) for net in nets)
    assert abs(J - J_exact) <= 64 * EPS * (1 + abs(J_exact))
    np.testing.assert_allclose(grad, exact, rtol=1e-12, atol=64 * EPS)
    Hv, exact = (net.hvp(X, y, v) for net in nets)
    np.testing.assert_allclose(Hv, exact, rtol=1e-11, atol=1e3 * EPS)


@KINDS
def test_classes_are_indices_or_rows(kind):
    X, _ = data()
    labels = np.arange(N) % 2
    options = {"activation": "tanh", "dtype": "float64", "seed": 0}
    crossed = gates.loss(lambda a, y: gates.logsumexp(a) - gates.sum(y * a), targets="classes")
    net = kind((3, 5, 2), loss=crossed, **options)
    exact = kind((3, 5, 2), output="softmax", loss="cross_entropy", **options)
    (J, grad), (J_rows, of_rows) = (net.value_and_grad(X, y) for y in (labels, np.eye(2)[labels]))
    assert J == J_rows
    np.testing.assert_array_equal(grad, of_rows)
    J_exact, wanted = exact.value_and_grad(X, labels)
    assert abs(J - J_exact) <= 64 * EPS
    np.testing.assert_allclose(grad, wanted, rtol=1e-12, atol=64 * EPS)
    with pytest.raises(ValueError, match="each row of y must sum to 1"):
        net.loss(X, np.ones((N, 2)))
    with pytest.raises(TypeError, match="class indices of an integer dtype"):
        net.loss(X, labels + 0.5)
    history = net.fit(X, labels, epochs=3, validation_data=(X, labels))
    assert history.val_score == []  # the loss names no score


def test_wrong_numbers_of_targets_are_refused():
    net = fastbp.Network((3, 4), loss="formula(sum((a - y) ** 2))", seed=0)
    with pytest.raises(ValueError, match="y has 2 columns"):
        net.loss(np.zeros((5, 3)), np.zeros((5, 2)))


# ---- random formulas ----------------------------------------------------------------------


@settings(max_examples=60)
@given(
    hidden=random_activations(),
    output=random_activations(),
    loss=random_losses(),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**16),
)
def test_random_formulas_agree_with_the_reference(hidden, output, loss, dtype, seed):
    rng = np.random.default_rng(seed)
    options = {"hidden": hidden, "output": output, "loss": loss, "dtype": dtype, "n": 9}
    twins = Twins(rng, (3, 7, 4), **options, l2=0.1)
    s = twins.weights()
    twins.reference.forward(twins.X)
    twins.reference.backward(twins.y, s)
    assume(twins.bounds(s).is_finite())
    twins.check_pass(s)


@settings(max_examples=40)
@given(
    hidden=random_activations(),
    output=random_activations(),
    loss=random_losses(),
    dtype=st.sampled_from(DTYPES),
)
def test_gradients_of_random_formulas_pass_gradcheck(hidden, output, loss, dtype):
    rng = np.random.default_rng(4)
    net = fastbp.Network(
        (3, 4, 2), activation=hidden, output=output, loss=loss, dtype=dtype, seed=2
    )
    net.layers[0].b = rng.normal(size=4)
    X, y = rng.normal(size=(5, 3)), rng.normal(size=(5, 2))
    assert gradcheck(net, X, y, max_per_block=6)


@settings(max_examples=40)
@given(hidden=random_activations(), output=random_activations(), loss=random_losses())
def test_derivatives_of_random_formulas_agree_with_the_reference(hidden, output, loss):
    """Products along a direction, per sample, and their norms."""
    rng = np.random.default_rng(6)
    options = {"activation": hidden, "output": output, "loss": loss, "dtype": "float64", "seed": 2}
    nets = [kind((3, 5, 2), **options) for kind in (fastbp.Network, reference.Network)]
    X, y, dX = rng.normal(size=(7, 3)), rng.normal(size=(7, 2)), rng.normal(size=(7, 3))
    v, s = rng.normal(size=nets[0].theta.size), rng.uniform(0.5, 2.0, 7)
    found, exact = (
        [
            net.jvp(X, dX, dtheta=v),
            net.hvp(X, y, v, s),
            net.vjp(X, y),
            net.per_sample_gradients(X, y),
            net.gradient_norms(X, y, per_layer=True),
        ]
        for net in nets
    )
    for computed, wanted in zip(found, exact, strict=True):
        size = max(abs(wanted).max(), abs(nets[1].value_and_grad(X, y)[1]).max(), 1.0)
        assert abs(computed - wanted).max() <= 2e4 * EPS * size
