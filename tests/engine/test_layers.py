"""Dense and from_layers: options of layers in passes, training and files."""

import copy
import pickle

import numpy as np
import pytest
from engine_cases import DTYPES
from layer_cases import CONSTRAINED, DROPPING, STACKS, case, check, passes, training

import fastbp
from fastbp import Dense, Network, reference
from fastbp._network.dense import STATISTICS, Norm
from fastbp.optim import LBFGS, SGD, Adam, AdamW
from fastbp.reference._layers import dropout_mask
from fastbp.testing import gradcheck

KINDS = (Network, reference.Network)
EVERY = {**STACKS, **{f"dropping {name}": stack for name, stack in DROPPING.items()}}


# ---- construction -------------------------------------------------------------------------


def test_from_layers_without_options_equals_the_constructor():
    one = Network((4, 9, 3), activation="tanh", output="softmax", loss="cross_entropy", seed=1)
    two = Network.from_layers(
        4, [Dense(9, "tanh"), Dense(3, "softmax")], loss="cross_entropy", seed=1
    )
    assert one.theta.tobytes() == two.theta.tobytes()
    assert repr(one) == repr(two)
    X, y = np.eye(4), [0, 1, 2, 0]
    assert one.fit(X, y, epochs=3).loss == two.fit(X, y, epochs=3).loss
    assert one.theta.tobytes() == two.theta.tobytes()


def test_each_layer_has_its_own_init():
    net = Network.from_layers(3, [Dense(4, init="zeros"), Dense(2, init="normal(5)")], seed=0)
    assert not net.layers[0].W.any()
    assert abs(net.layers[1].W).max() > 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_parameters_in_theta(kind):
    layers = [Dense(3, norm="layer"), Dense(3, norm="rms", bias=False), Dense(1, bias=False)]
    net = kind.from_layers(2, layers, seed=0)
    net.theta = np.arange(30)
    first, second, last = net.layers
    assert (first.W.ravel() == np.arange(6)).all()
    assert [first.b[0], first.gain[0], first.shift[0]] == [6, 9, 12]
    assert [second.W[0, 0], second.gain[0], last.W[0, 0]] == [15, 24, 27]
    assert (second.b, second.db, second.shift, second.dshift, last.gain) == (None,) * 5
    first.gain = [7, 8, 9]
    assert net.theta[9:12].tolist() == [7, 8, 9]
    with pytest.raises(AttributeError, match="this layer has no b"):
        second.b = [1, 2, 3]


BAD_LAYERS = [
    ([], ValueError, "layers is empty"),
    (Dense(1), TypeError, "must be a list of fastbp.Dense"),
    ([3], TypeError, r"layers\[0\] must be a fastbp.Dense; got 3"),
    ([Dense(3, residual=True), Dense(1)], ValueError, "has 3 units and 2 inputs"),
    ([Dense(3, "softmax"), Dense(1)], ValueError, "softmax is for the output layer only"),
    ([Dense(2, dropout=0.5)], ValueError, "the output layer takes no norm, dropout or residual"),
    ([Dense(2, norm="rms")], ValueError, "the output layer takes no norm, dropout or residual"),
    ([Dense(2, residual=True)], ValueError, "the output layer takes no norm, dropout or residual"),
]


@pytest.mark.parametrize(("layers", "error", "message"), BAD_LAYERS)
def test_bad_layers_are_refused(layers, error, message):
    with pytest.raises(error, match=message):
        Network.from_layers(2, layers)


BAD_OPTIONS = [
    ({"n_out": 0}, ValueError, "n_out must be at least 1"),
    ({"dropout": 1.0}, ValueError, "dropout must be at least 0 and below 1"),
    ({"norm": "group"}, ValueError, "unknown norm 'group'; known: layer, rms, batch"),
    (
        {"norm": "batch(momentum=0.3)"},
        ValueError,
        r"or no brackets; a momentum follows eps, as in batch\(1e-05, momentum=0.1\), or write",
    ),
    (
        {"norm": "batch(eps=0.3)"},
        ValueError,
        r"as in batch\(0.1\), or no brackets$",
    ),
    ({"norm": "batch(1e-3, momentum=2)"}, ValueError, "momentum of batch norm must be at most 1"),
    ({"norm": "layer(1e-3, momentum=0.5)"}, ValueError, "momentum is of norm 'batch'"),
    ({"norm": "layer(0)"}, ValueError, "eps of layer must be greater than 0"),
    ({"bias": 1}, TypeError, "bias must be True or False; got 1"),
    ({"max_norm": 0}, ValueError, "max_norm must be greater than 0"),
    ({"activation": "magic"}, ValueError, "unknown activation 'magic'"),
    ({"init": "magic"}, ValueError, "unknown init 'magic'"),
]


@pytest.mark.parametrize(("options", "error", "message"), BAD_OPTIONS)
def test_bad_options_of_dense_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        Dense(**({"n_out": 2} | options))


def test_other_arguments_are_checked():
    with pytest.raises(ValueError, match="input_dropout must be at least 0 and below 1; got 1"):
        Network.from_layers(2, [Dense(1)], input_dropout=1)
    with pytest.raises(TypeError, match="n_in must be a whole number"):
        Network.from_layers(2.5, [Dense(1)])
    with pytest.raises(TypeError, match="trainable must be True or False; got 0"):
        Network((2, 1)).layers[0].trainable = 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_default_eps_is_that_of_pytorch(dtype):
    layers = [Dense(2, norm="layer"), Dense(2, norm="rms"), Dense(1)]
    layer, rms, _ = Network.from_layers(2, layers, dtype=dtype).dense
    assert layer.norm == Norm("layer", 1e-5)
    assert rms.norm == Norm("rms", float(np.finfo(dtype).eps))


# ---- passes -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 8, 9, 23])
@pytest.mark.parametrize("name", EVERY)
def test_passes(name, n, dtype):
    check(passes, EVERY[name], dtype, n=n, l2=0.01)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EVERY)
def test_weighted_passes(name, dtype):
    s = np.arange(23) % 3 + 0.5
    check(lambda *case: passes(*case, s), EVERY[name], dtype, loss="squared_error")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", STACKS)
def test_gradcheck(name, kind):
    net, X, y = case(STACKS[name], kind=kind, n=9, l1=0.01, input_dropout=0.5)
    report = gradcheck(net, X, y, max_per_block=20 if kind is Network else 4)
    assert [block.size for block in report.blocks] == [
        view.size
        for layer in net.layers
        for name, view in layer.parameters().items()
        if name not in STATISTICS
    ]


def test_input_gradient_matches_differences():
    net, X, y = case(STACKS["all"], n=2)
    net.value_and_grad(X, y)
    found = net.input_gradient()[0]
    h = 1e-5
    for j in range(17):
        step = h * np.eye(17)[j]
        up, down = net.loss(X[:1] + step, y[:1]), net.loss(X[:1] - step, y[:1])
        assert found[j] == pytest.approx((up - down) / (2 * h), abs=1e-8), f"input {j}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_has_the_same_bits_alone_and_in_a_batch(dtype):
    net, X, _ = case(STACKS["all"], dtype=dtype, n=301)
    whole = net.predict(X)
    assert net.forward(X).tobytes() == whole.tobytes()
    assert b"".join(net.predict(row[None]).tobytes() for row in X) == whole.tobytes()


def test_layer_norm_has_mean_0_and_variance_1():
    net, X, _ = case([Dense(50, norm="layer(1e-12)")], n=5)
    net.layers[0].gain, net.layers[0].shift = np.ones(50), np.zeros(50)
    net.forward(X)
    n = net.layers[0].a
    np.testing.assert_allclose(n.mean(axis=1), 0, atol=1e-14)
    np.testing.assert_allclose(n.var(axis=1), 1, rtol=1e-11)


def test_nan_stays_in_its_row_and_stops_training():
    net, X, y = case(DROPPING["all"])
    X[3, 2] = np.nan
    assert np.isnan(net.forward(X)[3]).all()
    assert np.isfinite(np.delete(net.forward(X), 3, axis=0)).all()
    before = net.theta.copy()
    with pytest.raises(fastbp.DivergenceError):
        net.train_batch(X, y, Adam())
    np.testing.assert_array_equal(net.theta, before)


# ---- training -----------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EVERY)
def test_trajectory(name, dtype):
    """Batches of 9 and a last one of 5, which takes update_outer; then single rows.

    Batch norm needs two of them, and leaves out the last one of 7.
    """
    options = {"epochs": 3, "batch_size": 9}
    drop = 0.2 if name in DROPPING else 0.0
    check(training(lambda: SGD(0.05, momentum=0.9), **options), EVERY[name], dtype)
    check(training(lambda: SGD(0.05), **options), EVERY[name], dtype, input_dropout=drop)
    if dtype == "float64":
        options = {"epochs": 2, "batch_size": 2 if name == "batch" else 1}
        check(training(lambda: Adam(0.01, eps=1e-3), **options), EVERY[name], dtype, n=7)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CONSTRAINED)
def test_constraints(name, dtype):
    def run(net, X, y):
        found = training(lambda: SGD(0.1), epochs=3, batch_size=9)(net, X, y)
        constrained(net)
        net.value_and_grad(X, y)
        net.step(SGD(0.5))
        constrained(net)
        return found | {"theta": net.theta.copy()}

    def constrained(net):
        for l, (layer, dense) in enumerate(zip(net.layers, net.dense, strict=True)):
            if dense.non_negative:
                assert layer.W.min() == 0, f"layer {l}"
            if dense.max_norm is not None:
                norms = np.linalg.norm(layer.W.astype(np.float64), axis=0)
                # rounding of a sum of squares and a quotient
                slack = 1 + (len(layer.W) + 4) * np.finfo(net.dtype).eps
                assert 0.99 * dense.max_norm < norms.max() <= dense.max_norm * slack, f"layer {l}"

    check(run, CONSTRAINED[name], dtype, max_norm=0.15)


@pytest.mark.parametrize("n_threads", [2, 3, 7])
@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_do_not_depend_on_threads(dtype, n_threads):
    def train(n_threads):
        rng = np.random.default_rng(0)
        options = {"dropout": 0.3, "norm": "layer", "max_norm": 1.5}
        layers = [
            Dense(257, "relu", **options),
            Dense(257, "tanh", residual=True, **options),
            Dense(9, "softmax"),
        ]
        more = {"loss": "cross_entropy", "input_dropout": 0.1, "dtype": dtype, "seed": 2}
        net = Network.from_layers(40, layers, **more)
        X, y = rng.normal(size=(127, 40)), rng.integers(9, size=127)
        losses = net.fit(X, y, epochs=2, batch_size=61, n_threads=n_threads).loss
        return losses, net.theta.tobytes()

    assert train(n_threads) == train(1)


# ---- dropout ------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "units"), [(3, 5), (9, 300)])
def test_dropout_masks_equal_those_of_the_reference(n, units):
    """With zero weights and a bias of 1, dW of the output is the sum of the masks."""
    hidden = Dense(units, dropout=0.3, init="zeros")
    net = Network.from_layers(2, [hidden, Dense(1, init="zeros")], seed=9, dtype="float64")
    net.layers[0].b = np.ones(units)
    optimizer = SGD(1.0)
    for step in range(2):
        net.layers[1].W, net.layers[1].b = np.zeros((units, 1)), [0]
        net.train_batch(np.zeros((n, 2)), -np.ones((n, 1)), optimizer)
        exact = -dropout_mask(9, 1, step, (n, units), 0.3).mean(axis=0) / 0.7
        np.testing.assert_allclose(net.layers[1].W[:, 0], exact, 1e-14, err_msg=f"step {step}")


def test_dropout_masks_have_the_right_mean_and_are_independent():
    masks = [dropout_mask(1, 1, 0, (1000, 37), p) for p in (0.1, 0.5)]
    for p, mask in zip((0.1, 0.5), masks, strict=True):
        spread = np.sqrt(p * (1 - p))
        assert abs(mask.mean() - (1 - p)) < 5 * spread / np.sqrt(mask.size), p
        assert abs(mask.mean(axis=0) - (1 - p)).max() < 5 * spread / np.sqrt(1000), p
    others = [(2, 1, 0), (1, 2, 0), (1, 1, 1), (1, 0, 0)]
    for seed, layer, step in others:
        same = (dropout_mask(seed, layer, step, (1000, 37), 0.5) == masks[1]).mean()
        assert abs(same - 0.5) < 5 * 0.5 / np.sqrt(37000), (seed, layer, step)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_is_off_outside_training(kind):
    dropping, X, y = case(DROPPING["dropout"], kind=kind, input_dropout=0.3)
    plain, _, _ = case([Dense(33, "tanh"), Dense(300, "softplus")], kind=kind)
    expected = passes(plain, X, y)
    for name, found in passes(dropping, X, y).items():
        np.testing.assert_array_equal(found, expected[name], name)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_continues_with_the_step_count_of_the_optimizer(kind):
    """Masks depend on t of the optimiser: two fits equal one longer fit with the same optimiser."""
    options = {"batch_size": 23, "shuffle": False}

    def train(*epochs):
        net, X, y = case(DROPPING["all"], kind=kind)
        optimizer = Adam()
        losses = [
            loss
            for n in epochs
            for loss in net.fit(X, y, epochs=n, optimizer=optimizer, **options).loss
        ]
        return losses, net.theta.tobytes()

    assert train(4) == train(1, 3) == train(4)
    losses, _ = train(1, 1)
    assert losses[0] != losses[1]


# ---- frozen layers ------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [5, 23])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frozen", [(0,), (1,), (0, 1), (2,), (0, 1, 2, 3)])
def test_frozen_layers_do_not_change(frozen, kind, batch_size):
    net, X, y = case(DROPPING["all"], kind=kind, l2=0.1)
    for i in frozen:
        net.layers[i].trainable = False
    before = net.blocks(net.theta.copy())
    optimizer = Adam()
    net.fit(X, y, epochs=2, batch_size=batch_size, optimizer=optimizer)
    net.value_and_grad(X, y, training=True)
    assert all(view.any() for layer in net.layers for view in layer.gradients().values())
    net.step(optimizer)
    net.train_batch(X, y, optimizer)
    moments = net.blocks(optimizer.moments[1])
    for i, layer in enumerate(net.layers):
        for name, view in layer.parameters().items():
            assert (i in frozen) == np.array_equal(view, before[i][name]), (i, name)
            assert (i in frozen) != moments[i][name].any(), (i, name)


def test_frozen_layers_match_the_reference():
    stack = [
        Dense(17, "tanh", residual=True, trainable=False),
        Dense(9, "tanh", norm="layer"),
        Dense(9, "tanh", residual=True, trainable=False, norm="rms", max_norm=0.1),
    ]
    check(training(Adam, epochs=2, batch_size=9), stack, "float64", l1=0.01)


OPTIONS = {
    "clip_norm": lambda: SGD(0.1, momentum=0.9, clip_norm=0.02),
    "clip_global_norm": lambda: SGD(0.1, clip_global_norm=0.05),
    "everything": lambda: AdamW(
        0.01, eps=1e-3, weight_decay=0.1, lr_factors=(1, 0.5, 2, 1), ema=0.9, clip_value=0.01
    ),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("batch_size", [5, 23])
@pytest.mark.parametrize("name", OPTIONS)
def test_options_of_optimizers(name, batch_size, dtype):
    """Clipping includes gain and shift, and excludes frozen layers."""
    stack = [
        Dense(17, "tanh", residual=True, norm="layer", max_norm=0.9),
        Dense(130, "tanh", norm="layer", trainable=False),
        Dense(9, "tanh", norm="rms", non_negative=True, bias=False),
    ]

    def run(net, X, y):
        frozen = net.layers[1].W.copy()
        optimizer = OPTIONS[name]()
        found = training(lambda: optimizer, epochs=3, batch_size=batch_size)(net, X, y)
        net.value_and_grad(X, y)
        net.step(optimizer)
        found["theta"] = net.theta.copy()
        assert np.array_equal(net.layers[1].W, frozen)
        if optimizer.average is not None:
            found["average"] = optimizer.average.copy()
            assert np.array_equal(net.blocks(optimizer.average)[1]["W"], frozen)
        return found

    check(run, stack, dtype)


def test_lbfgs_does_not_change_frozen_layers():
    pytest.importorskip("scipy")
    net, X, y = case(STACKS["layer"])
    net.layers[0].trainable = False
    before = net.theta.copy()
    losses = net.fit(X, y, epochs=2, optimizer=LBFGS(max_iter=5)).loss
    assert losses[1] < net.loss(X, y) or losses[1] < losses[0]
    parts = zip(net.blocks(net.theta), net.blocks(before), strict=True)
    same = [all(np.array_equal(now[k], was[k]) for k in was) for now, was in parts]
    assert same == [True, False, False]


@pytest.mark.parametrize(
    ("stack", "message"),
    [(DROPPING["all"], "cannot use dropout"), (CONSTRAINED["both"], "cannot keep")],
)
def test_lbfgs_refuses_dropout_and_constraints(stack, message):
    net, X, y = case(stack)
    with pytest.raises(ValueError, match=f"LBFGS {message}"):
        net.fit(X, y, optimizer=LBFGS())


def test_layers_can_be_unfrozen_between_epochs():
    net, X, y = case(STACKS["layer"])
    net.layers[0].trainable = False
    before, seen = net.layers[0].W.copy(), []

    def unfreeze(epoch, logs):
        seen.append(np.array_equal(net.layers[0].W, before))
        net.layers[0].trainable = epoch >= 1

    net.fit(X, y, epochs=4, callbacks=[unfreeze])
    assert seen == [True, True, False, False]


def test_explain_omits_the_updates_of_frozen_layers():
    net, X, y = case(STACKS["layer"])
    net.layers[0].trainable = False
    found = net.explain(X, y, batch_size=23, seconds=0.01)
    places = {(phase.layer, phase.phase) for phase in found.phases}
    assert not places & {(1, "update"), (1, "gradient"), (2, "delta")}
    assert {(2, "update"), (3, "delta"), (1, "forward")} <= places
    assert sum(phase.share for phase in found.phases) == pytest.approx(1)


# ---- description and files ----------------------------------------------------------------


@pytest.mark.parametrize("name", [*EVERY, *CONSTRAINED])
@pytest.mark.parametrize("dtype", DTYPES)
def test_files_pickles_and_copies_keep_every_option(tmp_path, name, dtype):
    stack = (EVERY | CONSTRAINED)[name]
    net, X, y = case(stack, dtype=dtype, input_dropout=0.25)
    net.layers[0].trainable = False
    net.save(tmp_path / "net")
    twins = {"file": fastbp.load(tmp_path / "net"), "copy": copy.copy(net)}
    twins["pickle"] = pickle.loads(pickle.dumps(net))
    for source, twin in twins.items():
        assert repr(twin) == repr(net), source
        assert twin.summary() == net.summary(), source
        trainable = [layer.trainable for layer in twin.layers]
        assert trainable == [False] + [True] * len(stack), source
        assert twin.theta.tobytes() == net.theta.tobytes(), source
        assert twin.predict(X).tobytes() == net.predict(X).tobytes(), source
    again = fastbp.load(tmp_path / "net")
    assert again.fit(X, y, epochs=1).loss == net.fit(X, y, epochs=1).loss
    assert again.theta.tobytes() == net.theta.tobytes()


FORGED = {
    "too few layers": (
        lambda a: a["layers"].pop(),
        "layers in the architecture must list 3; got 2",
    ),
    "unknown option": (lambda a: a["layers"][1].update(skip=1), "layer 1 .* unknown field 'skip'"),
    "missing option": (
        lambda a: a["layers"][1].pop("norm"),
        "layer 1 of the architecture lacks 'norm'",
    ),
    "not an object": (
        lambda a: a["layers"].__setitem__(0, 3),
        "layer 0 .* must be an object; got 3",
    ),
    "type": (lambda a: a["layers"][0].update(bias=1), "bias in layer 0 .* must be true or false"),
    "norm": (lambda a: a["layers"][0].update(norm="group"), "unknown norm 'group'"),
    "later norm": (lambda a: a["layers"][0].update(norm="batch"), "expected version 6"),
    "missing norm": (
        lambda a: a["layers"][0].update(norm=None),
        "unexpected tensor 'layers.0.gain'",
    ),
    "bias": (lambda a: a["layers"][2].update(bias=False), "unexpected tensor 'layers.2.b'"),
    "residual": (lambda a: a["layers"][1].update(residual=True), "33 inputs"),
    "dropout": (lambda a: a.update(input_dropout=1.5), "input_dropout must be at least 0"),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_architecture_is_refused(tmp_path, name):
    import json

    forge, message = FORGED[name]
    net, _, _ = case(STACKS["layer"])
    net.save(tmp_path / "net")
    tensors, metadata = fastbp.io.read_safetensors(tmp_path / "net")
    architecture = json.loads(metadata["architecture"])
    forge(architecture)
    metadata["architecture"] = json.dumps(architecture)
    fastbp.io.write_safetensors(tmp_path / "net", tensors, metadata)
    with pytest.raises(fastbp.ModelFileError, match=message):
        fastbp.load(tmp_path / "net")


def test_networks_without_options_are_saved_as_version_1(tmp_path):
    Network((2, 3, 1)).save(tmp_path / "net")
    assert fastbp.io.read_safetensors(tmp_path / "net")[1]["version"] == "1"


def test_repr_makes_the_same_layers():
    net, _, _ = case(DROPPING["all"], input_dropout=0.25)
    again = eval(repr(net), {"fastbp": fastbp, "Dense": Dense})
    assert again.dense == net.dense
    assert repr(net.layers[0]) == "Layer(17 -> 17, tanh, layer norm, dropout 0.3, residual)"
