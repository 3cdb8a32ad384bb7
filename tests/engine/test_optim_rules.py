"""Every update rule with every option: engine against reference, NaN, options, state."""

import copy
import inspect
import pickle
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from engine_cases import DTYPES

import fastbp
from fastbp import _core, optim, reference
from fastbp.optim import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Lion,
    Muon,
    NAdam,
    Optimizer,
    RAdam,
    RMSprop,
    Rprop,
    ScheduleFree,
)
from fastbp.reference._updates import update

RULES = {
    "sgd": lambda **o: SGD(0.1, **o),
    "dampened": lambda **o: SGD(0.1, momentum=0.9, dampening=0.25, **o),
    "nesterov": lambda **o: SGD(0.1, momentum=0.9, nesterov=True, **o),
    "adam": lambda **o: Adam(0.01, **o),
    "adamw": lambda **o: AdamW(0.01, **o),
    "amsgrad": lambda **o: Adam(0.01, betas=(0.8, 0.9), amsgrad=True, **o),
    "decoupled amsgrad": lambda **o: AdamW(0.01, amsgrad=True, **o),
    "radam": lambda **o: RAdam(0.01, betas=(0.8, 0.9), **o),
    "nadam": lambda **o: NAdam(0.01, **o),
    "nadam of a fast decay": lambda **o: NAdam(0.01, betas=(0.99, 0.9), momentum_decay=100, **o),
    "adamax": lambda **o: Adamax(0.01, betas=(0.9, 0.9), **o),
    "adagrad": lambda **o: Adagrad(0.1, **{"lr_decay": 0.1, "initial_accumulator_value": 0.5} | o),
    "adadelta": lambda **o: Adadelta(0.5, **o),
    "rmsprop": lambda **o: RMSprop(0.01, **o),
    "rmsprop with momentum": lambda **o: RMSprop(0.01, momentum=0.9, **o),
    "rmsprop centred": lambda **o: RMSprop(0.01, centered=True, **o),
    "rmsprop centred with momentum": lambda **o: RMSprop(0.01, centered=True, momentum=0.9, **o),
    "lion": lambda **o: Lion(0.01, **o),
    "rprop": lambda **o: Rprop(0.01, **o),
    "schedule-free": lambda **o: ScheduleFree(0.01, warmup_steps=3, **o),
    "schedule-free sgd": lambda **o: ScheduleFree(0.1, "sgd", **o),
    "muon": lambda **o: Muon(0.01, **o),
    "muon without nesterov": lambda **o: Muon(
        0.01, nesterov=False, adjust_lr_fn="match_rms_adamw", **o
    ),
}
# a new class is tested with its defaults until it has its own cases
_HAVE_CASES = {type(make()) for make in RULES.values()}
RULES |= {
    name: type(optim.resolve(name))
    for name in optim.NAMES
    if type(optim.resolve(name)) not in _HAVE_CASES
}
WIDTHS, STEPS = (5, 9, 300, 3), 8  # a row of 300 weights is updated in more than one run


def gradients(n):
    """STEPS gradients that are exact in float32, with no element near 0."""
    rng = np.random.default_rng(5)
    g = rng.uniform(0.25, 2.0, (STEPS, n)) * rng.choice([-1, 1], (STEPS, n))
    return g.astype(np.float32)


def walk(net, optimizer, noise=None):
    """theta after STEPS steps with fixed gradients, which do not depend on the loss."""
    theta = np.sin(np.arange(net.theta.size)).astype(np.float32)
    net.theta = theta
    for g in gradients(net.theta.size):
        at = optim.extrapolated(net, optimizer) if optimizer.extrapolates else nullcontext()
        with at:
            net.forward(np.zeros((1, WIDTHS[0])))
            net.backward(np.zeros((1, WIDTHS[-1])))
        net.grad[...] = g
        if noise is not None:
            for array in (net.grad, net.theta, *optimizer.moments):
                array += noise(array)
        net.step(optimizer)
    return net.theta.astype(np.float64)


def agrees(make, dtype):
    """Assert that the engine is as close to the reference as random rounding errors keep it."""
    optimizer = make()
    theta = walk(fastbp.Network(WIDTHS, dtype=dtype, seed=0), optimizer)
    twin = make()
    exact = walk(reference.Network(WIDTHS, seed=0), twin)
    drift, average_drift = 0.0, 0.0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        eps = 6 * np.finfo(dtype).eps
        other = make()
        jittered = walk(
            reference.Network(WIDTHS, seed=0),
            other,
            lambda x, rng=rng, eps=eps: eps * abs(x) * rng.uniform(-1, 1, x.shape),
        )
        drift = max(drift, abs(jittered - exact).max())
        if other.average is not None:
            average_drift = max(average_drift, abs(other.average - twin.average).max())
    moved = abs(exact - np.sin(np.arange(exact.size))).max()
    assert drift < 0.01 * moved, "the tolerance is too large"
    assert abs(theta - exact).max() <= drift
    assert optimizer.t == twin.t == STEPS
    if twin.average is not None:
        assert abs(optimizer.average - twin.average).max() <= average_drift
        assert abs(twin.average - exact).max() > 100 * average_drift


def test_every_rule_of_the_engine_has_a_case():
    assert {make().rule for make in RULES.values()} == set(_core.RULES)


def test_every_hyper_parameter_of_the_engine_is_set_in_a_case():
    assert set().union(*(make().hyper() for make in RULES.values())) == set(_core.HYPERS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", RULES)
def test_steps_agree_with_the_reference(rule, dtype):
    agrees(RULES[rule], dtype)


OPTIONS = {
    "weight decay": {"weight_decay": 0.1},
    "maximize": {"maximize": True, "weight_decay": 0.1},
    "clip by value": {"clip_value": 0.5},
    "clip by norm": {"clip_norm": 2.0},
    "clip by global norm": {"clip_global_norm": 2.0, "maximize": True},
    "layers": {"lr_factors": (0.5, 1.0, 2.0), "weight_decay": 0.1},
    "layers and norms": {"lr_factors": (0.5, 1.0, 2.0), "clip_norm": 20.0, "ema": 0.5},
    "mean": {"ema": 0.75},
    "groups": {
        "lr_factors": {"bias": 0.1, "weights": 2.0, "layers": (0.5, 1.0, 2.0)},
        "decay_factors": {"bias": 0.0, "layers": (1.0, 0.5, 2.0)},
        "weight_decay": 0.1,
    },
    "groups and norms": {
        "lr_factors": {"bias": 0.1},
        "decay_factors": (0.5, 0.0, 2.0),
        "weight_decay": 0.1,
        "clip_norm": 20.0,
    },
    "fan-in": {"fan_in_scaling": True, "lr_factors": {"bias": 0.1}, "weight_decay": 0.1},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("rule", ["sgd", "dampened", "adam", "adamw", "nadam", "adagrad"])
def test_steps_with_options_agree_with_the_reference(rule, options):
    agrees(lambda: RULES[rule](**options), "float32")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", RULES)
def test_nan_stays_in_its_element(rule, dtype):
    net = fastbp.Network((3, 7), dtype=dtype, seed=0)
    net.forward(np.zeros((1, 3)))
    net.backward(np.zeros((1, 7)))
    net.grad[...] = 1.0
    net.grad[[2, 17, 26]] = np.nan
    net.step(RULES[rule]())
    w = range(21) if rule.startswith("muon") else [2, 17]  # which turns the whole W
    assert np.flatnonzero(np.isnan(net.theta)).tolist() == [*w, 26]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("batch_size", [3, 20])
def test_fits_agree_with_the_reference(rule, batch_size):
    """Steps that are fused into the weight sweep, with few rows and with many, with penalties."""
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(20, 5)), rng.normal(size=(20, 3))
    results = []
    for network in (fastbp.Network, reference.Network):
        net = network(WIDTHS, activation="tanh", dtype="float64", l1=0.001, l2=0.01, seed=1)
        optimizer = RULES[rule](clip_value=0.3) if rule != "rprop" else RULES[rule]()
        history = net.fit(X, y, epochs=3, batch_size=batch_size, optimizer=optimizer)
        results.append((net.theta.copy(), np.array(history.loss), optimizer.t))
    (theta, losses, t), (exact, exact_losses, steps) = results
    assert t == steps == (3 if rule == "rprop" else 3 * -(-20 // batch_size))
    # far above the rounding of float64, far below the effect of a wrong formula
    np.testing.assert_allclose(theta, exact, rtol=0, atol=1e-9)
    np.testing.assert_allclose(losses, exact_losses, rtol=1e-9)


@pytest.mark.parametrize("options", [o for o in OPTIONS.values() if len(o) > 1], ids=str)
@pytest.mark.parametrize("rule", ["sgd", "adamw", "rmsprop centred with momentum"])
def test_bits_do_not_depend_on_threads(rule, options):
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(64, 100)), rng.normal(size=(64, 7))
    results = set()
    for n_threads in (1, 2, 3, 5):
        net = fastbp.Network((100, 150, 150, 7), activation="tanh", seed=1)
        optimizer = RULES[rule](**options)
        net.fit(X, y, epochs=3, batch_size=32, optimizer=optimizer, n_threads=n_threads)
        state = [net.theta, *optimizer.moments]
        state += [] if optimizer.average is None else [optimizer.average]
        results.add(b"".join(array.tobytes() for array in state))
    assert len(results) == 1


# ---- state --------------------------------------------------------------------------------


def trained(optimizer, epochs, net=None):
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(20, 4)), rng.normal(size=(20, 2))
    net = fastbp.Network((4, 6, 2), seed=1) if net is None else net
    net.fit(X, y, epochs=epochs, batch_size=5, shuffle=False, optimizer=optimizer)
    return net


@pytest.mark.parametrize("rule", RULES)
def test_a_loaded_optimizer_continues_with_the_same_bits(rule, tmp_path):
    options = {"clip_norm": 1.0, "lr_factors": {"bias": 0.5}, "decay_factors": (0.5, 2)}
    options["weight_decay"] = 0.1
    options = {} if rule == "rprop" else options
    options |= {} if rule.startswith("schedule-free") else {"ema": 0.9}
    whole, first = RULES[rule](**options), RULES[rule](**options)
    expected = trained(whole, 4)
    net = trained(first, 2)
    first.save(tmp_path / "state.safetensors")
    second = optim.load(tmp_path / "state.safetensors")
    assert repr(second) == repr(first) and second.t == first.t
    third = type(first)()
    third.load_state_dict(first.state_dict())
    other = copy.deepcopy(net)
    for source, again, state in (("file", net, second), ("state_dict", other, third)):
        trained(state, 2, again)
        np.testing.assert_array_equal(again.theta, expected.theta, source)
        np.testing.assert_array_equal(state.average, whole.average, source)
        for moment, exact in zip(state.moments, whole.moments, strict=True):
            np.testing.assert_array_equal(moment, exact, source)
    fresh = trained(RULES[rule](**options), 2, copy.deepcopy(expected))
    trained(whole, 2, expected)
    assert rule == "sgd" or not np.array_equal(fresh.theta, expected.theta)


def test_state_of_another_class_is_refused():
    state = Adam(0.5).state_dict()
    sgd = SGD(0.25)
    with pytest.raises(ValueError, match="the state of Adam; the optimiser is SGD"):
        sgd.load_state_dict(state)
    with pytest.raises(ValueError, match=r"the state of SGD.state_dict\(\) has name, hyper, t"):
        sgd.load_state_dict({"t": 1})
    broken = sgd.state_dict() | {"hyper": {"lr": -1.0}}
    with pytest.raises(ValueError, match="lr must be greater than 0"):
        sgd.load_state_dict(broken)
    assert sgd.lr == 0.25


@pytest.fixture
def saved(tmp_path):
    """The path, tensors and metadata of a file with an Adam of 3 parameters."""
    path, adam = tmp_path / "x.safetensors", Adam()
    adam.bind(3, np.dtype("float32"))
    adam.save(path)
    return path, *fastbp.io.read_safetensors(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"Adam"', '"Eve"', "unknown optimiser 'Eve'"),
        ("0.001", "-1", "lr must be greater than 0; got -1"),
        ('"t": 0', '"t": -1', "t of the optimizer must not be -1"),
    ],
)
def test_a_forged_optimizer_is_refused(saved, old, new, message):
    path, tensors, metadata = saved
    text = metadata["optimizer"].replace(old, new)
    fastbp.io.write_safetensors(path, tensors, metadata | {"optimizer": text})
    with pytest.raises(fastbp.ModelFileError, match=message):
        optim.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": "{}"}, "must have exactly the fields name, hyper, t"),
        ({"more": "x"}, "expected the metadata format, version, optimizer"),
        ({"version": "2"}, "version '1'; got"),
    ],
)
def test_forged_metadata_are_refused(saved, change, message):
    path, tensors, metadata = saved
    fastbp.io.write_safetensors(path, tensors, metadata | change)
    with pytest.raises(fastbp.ModelFileError, match=message):
        optim.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"other": np.zeros(3, np.float32)}, "expected at most the tensors moments.0"),
        ({"moments.1": np.zeros(4, np.float32)}, "vectors of the same size"),
        ({"moments.1": np.zeros((3, 1), np.float32)}, "vectors of the same size"),
    ],
    ids=["another tensor", "size", "shape"],
)
def test_forged_moments_are_refused(saved, change, message):
    path, tensors, metadata = saved
    fastbp.io.write_safetensors(path, tensors | change, metadata)
    with pytest.raises(fastbp.ModelFileError, match=message):
        optim.load(path)


def test_a_missing_moment_is_refused(saved):
    path, tensors, metadata = saved
    del tensors["moments.1"]
    fastbp.io.write_safetensors(path, tensors, metadata)
    with pytest.raises(fastbp.ModelFileError, match="has 2 moments; got 1"):
        optim.load(path)


def test_files_and_classes_without_a_known_optimizer_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    fastbp.Network((2, 1), seed=0).save(path)
    with pytest.raises(fastbp.ModelFileError, match="expected the metadata of an optimiser"):
        optim.load(path)

    class Own(SGD):
        """An optimiser from outside the package."""

    with pytest.raises(TypeError, match=r"only optimisers of fastbp.optim can be saved; got Own"):
        Own().save(path)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: SGD(clip=1), TypeError, r"SGD\(\) has no argument 'clip'; known: lr, momentum"),
        (lambda: Rprop(weight_decay=1), TypeError, "has no argument 'weight_decay'"),
        (lambda: Rprop(lr_factors=(1,)), TypeError, "has no argument 'lr_factors'"),
        (lambda: Rprop(fan_in_scaling=True), TypeError, "has no argument 'fan_in_scaling'"),
        (lambda: SGD(lr_factors={"bias": 0}), ValueError, r"lr_factors\['bias'\] must be greater"),
        (lambda: SGD(lr_factors={"biases": 1}), ValueError, "unknown group in lr_factors 'biases'"),
        (lambda: SGD(lr_factors={"layers": 2}), TypeError, r"lr_factors\['layers'\] must be one n"),
        (lambda: SGD(decay_factors=(-1,)), ValueError, r"decay_factors\[0\] must not be negative"),
        (
            lambda: trained(SGD(weight_decay=0.1, decay_factors={"layers": (1,)}), 1),
            ValueError,
            "factors has 1",
        ),
        (lambda: Rprop(etas=(1.5, 2)), ValueError, "etas must be one number below 1 and one above"),
        (lambda: Rprop(step_sizes=(2, 1)), ValueError, r"step_sizes must be \(least, most\)"),
        (lambda: AdamW(weight_decay=-1), ValueError, "weight_decay must not be negative; got -1"),
        (lambda: Adam(amsgrad=1), TypeError, "amsgrad must be True or False; got 1"),
        (lambda: SGD(momentum=0.9, nesterov=True, dampening=0.5), ValueError, "dampening 0"),
        (lambda: SGD(clip_value=0), ValueError, "clip_value must be greater than 0; got 0"),
        (
            lambda: SGD(clip_value=1, clip_norm=1),
            ValueError,
            "choose one of clip_value and clip_norm",
        ),
        (lambda: SGD(lr_factors=0.5), TypeError, "lr_factors must be one number per layer"),
        (lambda: SGD(lr_factors=(1, 0)), ValueError, r"lr_factors\[1\] must be greater than 0"),
        (lambda: trained(SGD(lr_factors=(1,)), 1), ValueError, "the network has 2 layers"),
        (lambda: SGD(ema=1.0), ValueError, "ema must be at least 0 and below 1"),
    ],
)
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_options_may_change_between_calls():
    adam = Adam()
    net = trained(adam, 1)
    adam.clip_norm, adam.ema, adam.amsgrad = 0.1, 0.5, True
    trained(adam, 1, net)
    assert adam.average_start == 4 and len(adam.moments) == 3 and adam.scratch is not None
    adam.clip_value = 1.0
    with pytest.raises(ValueError, match="choose one of clip_value and clip_norm"):
        trained(adam, 1, net)


def test_single_steps_by_hand():
    def after(optimizer, *grads):
        theta = np.array([1.0])
        for g in grads:
            update(optimizer, theta, np.array([g]))
        return theta[0]

    assert after(Lion(0.25, weight_decay=0.5), 3.0) == 1 * (1 - 0.125) - 0.25
    assert after(Adagrad(0.5, eps=1e-30), -2.0) == 1.5
    assert after(Adamax(0.5, eps=1e-30), 4.0) == pytest.approx(0.5)
    assert after(Rprop(0.5), 3.0, 1.0) == pytest.approx(1 - 0.5 - 0.6)
    assert after(Rprop(0.5), 3.0, -1.0) == 0.5  # the sign changes: no step
    assert after(Rprop(0.5), 3.0, -1.0, -1.0) == 0.75  # then a step of half the size
    assert after(SGD(0.5, maximize=True), 3.0) == 2.5
    assert after(SGD(1.0, clip_value=0.25), 3.0) == 0.75
    assert after(SGD(1.0, clip_norm=0.25), 3.0) == pytest.approx(0.75)
    assert after(AdamW(0.5, weight_decay=1.0, eps=1e-30), 3.0) == pytest.approx(0.0)


SCALE_FREE = {"adam", "adamw", "amsgrad", "nadam", "adamax", "adagrad", "rmsprop", "lion"}


@pytest.mark.parametrize("rule", ["sgd", "dampened", "nesterov", *sorted(SCALE_FREE)])
def test_fan_in_scaling_trains_w_as_v_over_root_n(rule):
    """A network of V with u/√n instead of u, by hand, beside W = V/√n with fan_in_scaling."""
    options = {"weight_decay": 0.01, "lr_factors": {"bias": 0.5}}
    if rule in {"adam", "adamw", "amsgrad", "nadam", "adamax", "adagrad", "rmsprop"}:
        options["eps"] = 1e-30  # V and W would need different ones
    if rule == "adagrad":
        options["initial_accumulator_value"] = 0.0  # likewise
    rng = np.random.default_rng(2)
    X, y, n = rng.normal(size=(12, 7)), rng.normal(size=(12, 3)), 7
    made, by_hand = (fastbp.Network((n, 3), dtype="float64", seed=0) for _ in range(2))
    by_hand.layers[0].W = made.layers[0].W * np.sqrt(n)
    first, second = RULES[rule](fan_in_scaling=True, **options), RULES[rule](**options)
    for _ in range(5):
        made.train_batch(X, y, first)
        by_hand.train_batch(X / np.sqrt(n), y, second)
    moved = made.layers[0].W
    np.testing.assert_allclose(moved, by_hand.layers[0].W / np.sqrt(n), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(made.layers[0].b, by_hand.layers[0].b, rtol=1e-9, atol=1e-12)


def test_factors_of_groups_by_hand():
    net = fastbp.Network.from_layers(
        3, [fastbp.Dense(4, "prelu", norm="layer"), fastbp.Dense(2)], dtype="float64", seed=0
    )
    before = [{k: v.copy() for k, v in layer.parameters().items()} for layer in net.layers]
    net.forward(np.ones((1, 3)))
    net.backward(np.ones((1, 2)))
    net.grad[...] = 1.0
    rates = {"weights": 2.0, "bias": 3.0, "norm": 5.0, "constants": 7.0, "layers": (1.0, 11.0)}
    decays = {"bias": 0.0, "norm": 2.0}
    net.step(SGD(0.5, weight_decay=0.25, lr_factors=rates, decay_factors=decays))
    factor = {"W": 2, "b": 3, "gain": 5, "shift": 5, "alpha": 7}
    decay = {"W": 1, "b": 0, "gain": 2, "shift": 2, "alpha": 1}
    for l, layer in enumerate(net.layers):
        for name, value in layer.parameters().items():
            x, rate = before[l][name], 0.5 * factor[name] * (1, 11)[l]
            np.testing.assert_allclose(value, x - rate * (1 + 0.25 * decay[name] * x), rtol=1e-14)


def test_factors_do_not_change_and_survive_copies():
    adam = Adam(lr_factors={"Bias": 0.5, "layers": [1, 2]})
    assert repr(adam).endswith("lr_factors={'bias': 0.5, 'layers': (1.0, 2.0)})")
    with pytest.raises(TypeError):
        adam.lr_factors["bias"] = 2.0
    for twin in (copy.deepcopy(adam), pickle.loads(pickle.dumps(adam))):
        assert twin.lr_factors == adam.lr_factors == {"bias": 0.5, "layers": (1.0, 2.0)}
    adam.load_state_dict(Adam(0.5, weight_decay=0, decay_factors={"bias": 0}).state_dict())
    assert adam.lr_factors is None and adam.decay_factors == {"bias": 0.0}


def test_factors_of_no_weight_decay_are_refused():
    for make in (SGD, Adam, RMSprop, ScheduleFree):
        message = f"multiply weight_decay, which is 0 by default in {make.__name__}: give weight_de"
        with pytest.raises(ValueError, match=message):
            make(decay_factors={"bias": 0})
        chosen = make(decay_factors={"bias": 0}, weight_decay=0)  # as one of several in a search
        chosen.weight_decay = 0.1
        twin = make()
        twin.load_state_dict(chosen.state_dict())
        assert twin.decay_factors == {"bias": 0} and twin.weight_decay == 0.1
    assert AdamW(decay_factors={"bias": 0}).weight_decay > 0


# ---- averages -----------------------------------------------------------------------------


@pytest.mark.parametrize("network", [fastbp.Network, reference.Network])
def test_swa_is_the_mean_of_epochs(network):
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(20, 4)), rng.normal(size=(20, 2))
    net, swa, seen = network((4, 6, 2), dtype="float64", seed=1), optim.SWA(1, every=2), []
    for _ in range(2):  # epochs 0 to 5 of this object
        net.fit(X, y, epochs=3, callbacks=[swa, lambda e, logs: seen.append(net.theta.copy())])
    assert swa.n_averaged == 3
    eps = np.finfo(float).eps
    np.testing.assert_allclose(swa.average, np.mean(seen[1::2], axis=0), rtol=10 * eps, atol=eps)
    own = net.theta.copy()
    with pytest.raises(KeyError), optim.averaged(net, swa) as inside:
        assert inside is net and np.array_equal(net.theta, swa.average)
        raise KeyError
    np.testing.assert_array_equal(net.theta, own)
    with pytest.raises(ValueError, match="average of 44 parameters; the network has 3"):
        network((2, 1), seed=0).fit([[0.0, 1.0]], [[0.0]], callbacks=[swa])


def test_averages_that_do_not_exist_are_refused():
    net = fastbp.Network((2, 1), seed=0)
    for source in (SGD(), SGD(ema=0.5), optim.SWA()):
        with pytest.raises(RuntimeError, match="has no average yet"), optim.averaged(net, source):
            pass
    with pytest.raises(RuntimeError, match="no fit has begun: pass this SWA to fit"):
        optim.SWA().on_epoch_end(0, {})
    with pytest.raises(ValueError, match="start must not be negative; got -1"):
        optim.SWA(-1)
    with pytest.raises(ValueError, match="every must be at least 1"):
        optim.SWA(every=0)
    with pytest.raises(TypeError, match="start must be a whole number"):
        optim.SWA(False)
    with pytest.raises(TypeError, match="start must be a whole number"):
        optim.SWA(0.0)
    sgd = SGD(ema=0.5)
    trained(sgd, 1)
    sgd.ema = None
    trained(sgd, 1)
    assert sgd.average is None


def test_every_optimizer_is_in_the_docs():
    page = (Path(__file__).parents[2] / "docs" / "optimizers.md").read_text("utf-8")
    for name in optim.NAMES:
        kind = type(optim.resolve(name))
        assert f"| `{name}` | `{kind.__name__}(" in page, name
        assert kind.__name__ in optim.__all__, name
    for option in inspect.signature(optim.Optimizer).parameters:
        assert f"| `{option}=" in page, option
    classes = [thing for thing in vars(optim).values() if inspect.isclass(thing)]
    named = {type(optim.resolve(name)) for name in optim.NAMES}
    assert {kind for kind in classes if issubclass(kind, Optimizer)} == named | {Optimizer}


@pytest.mark.parametrize("spec", [*optim.NAMES, "lbfgs"])
def test_a_hyper_parameter_is_an_argument_an_attribute_and_documented(spec):
    kind = type(optim.resolve(spec, fit=True))
    parameters = inspect.signature(kind).parameters
    assert next(iter(parameters.values())).kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    made = kind(**{name: parameter.default for name, parameter in parameters.items()})
    for name, parameter in parameters.items():
        assert getattr(made, name) == getattr(kind(), name) == parameter.default, name
        line = f"\n{name} : {parameter.annotation}, default {parameter.default!r}\n    "
        assert line in inspect.getdoc(kind), name
        assert inspect.getdoc(getattr(kind, name)) in inspect.getdoc(kind), name
    assert repr(made) == repr(kind())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: SGD(0.1, 0.9, True, 0.0),
            r"SGD\(\) takes at most 3 arguments without a name; got 4",
        ),
        (lambda: SGD(0.1, lr=0.2), r"SGD\(\) got two values for argument 'lr'"),
        (lambda: optim.LBFGS(lr=1), r"LBFGS\(\) has no argument 'lr'; known: max_iter, history_"),
    ],
)
def test_unknown_and_repeated_arguments_are_refused(make, message):
    with pytest.raises(TypeError, match=message):
        make()


def test_a_subclass_may_define_its_own_constructor():
    class Halved(SGD):
        """SGD with half the rate."""

        def __init__(self, rate):
            super().__init__(rate / 2, momentum=0.5)

    assert (
        str(inspect.signature(Halved)) == "(rate)" and Halved.__doc__ == "SGD with half the rate."
    )
    assert repr(copy.copy(Halved(1.0))) == "Halved(lr=0.5, momentum=0.5, nesterov=False)"
