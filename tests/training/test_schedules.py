"""Learning rates during a fit: closed forms, state, and steps of both networks with them."""

import copy
import math
import pickle

import numpy as np
import pytest
from engine_cases import DTYPES, OPTIMIZERS
from fit_cases import N, case

import fastbp
from fastbp import _core, reference, schedules
from fastbp.optim import SGD, Adam
from fastbp.schedules import (
    Adaptive,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CosLog4,
    ExponentialLR,
    InverseScaling,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    Span,
    StepLR,
    Warmup,
)

NETWORKS = pytest.mark.parametrize("network", [fastbp.Network, reference.Network])
EVERY = {
    "constant": lambda per: ConstantLR(0.5, 2, per=per),
    "linear": lambda per: LinearLR(0.1, 1.0, 7, per=per),
    "step": lambda per: StepLR(3, 0.5, per=per),
    "milestones": lambda per: MultiStepLR([2, 2, 5], 0.5, per=per),
    "exponential": lambda per: ExponentialLR(0.9, per=per),
    "polynomial": lambda per: PolynomialLR(None, 2.0, per=per),
    "cosine": lambda per: CosineAnnealingLR(eta_min=1e-4, per=per),
    "restarts": lambda per: CosineAnnealingWarmRestarts(2, 2, per=per),
    "coslog4": lambda per: CosLog4(per=per),
    "one cycle": lambda per: OneCycleLR(0.03, per=per),
    "invscaling": lambda per: InverseScaling(0.3, per=per),
    "lambda": lambda per: LambdaLR(lambda t: 1 / (t + 1), per=per),
    "warm-up": lambda per: Warmup(CosineAnnealingLR(per=per), 3),
}


def rates(schedule, n, lr=1.0):
    return schedule.rates(lr, np.arange(n)).tolist()


# ---- closed forms -------------------------------------------------------------------------


def test_schedules_that_depend_only_on_t():
    assert rates(ConstantLR(0.25, 2), 4, 2.0) == [0.5, 0.5, 2.0, 2.0]
    assert rates(LinearLR(0.5, 0.25, 2), 4) == [0.5, 0.375, 0.25, 0.25]
    assert rates(StepLR(2, 0.5), 5) == [1, 1, 0.5, 0.5, 0.25]
    assert rates(MultiStepLR([3, 1, 3], 0.5), 5) == [1, 0.5, 0.5, 0.125, 0.125]
    assert rates(ExponentialLR(0.5), 4, 4.0) == [4, 2, 1, 0.5]
    assert rates(PolynomialLR(4, 2.0), 6) == [1, 0.5625, 0.25, 0.0625, 0, 0]
    assert rates(CosineAnnealingLR(2, eta_min=0.5), 5) == pytest.approx([1, 0.75, 0.5, 0.75, 1])


def test_coslog4_has_four_cycles_that_double():
    t = np.arange(15 * 128 + 5)
    found = CosLog4(15 * 128).rates(0.3, t)
    expected = [
        0.3 * (0.5 - 0.5 * math.cos(2 * math.pi * math.log2(1 + 15 * min(i / (15 * 128), 1))))
        for i in t
    ]
    # rounding of an argument up to 8π, of a cosine and of a few operations on numbers up to 1
    np.testing.assert_allclose(found, expected, rtol=0, atol=16 * math.pi * np.finfo(float).eps)
    assert found[[0, 128, 3 * 128, 7 * 128]] == pytest.approx([0] * 4)
    assert found[15 * 128 :] == pytest.approx([0] * 5)
    peaks = np.flatnonzero((found[1:-1] > found[:-2]) & (found[1:-1] >= found[2:])) + 1
    assert peaks.tolist() == [round(128 * (2 ** (k + 0.5) - 1)) for k in range(4)]
    assert found[peaks] == pytest.approx([0.3] * 4, rel=1e-3)
    assert CosLog4().per == "step"


@pytest.mark.parametrize("T_mult", [1, 2, 3])
def test_warm_restarts_agree_with_a_loop(T_mult):
    expected, since, length = [], 0, 3
    for _ in range(200):
        expected.append(0.1 + 0.9 * (1 + math.cos(math.pi * since / length)) / 2)
        since += 1
        if since == length:
            since, length = 0, length * T_mult
    found = rates(CosineAnnealingWarmRestarts(3, T_mult, 0.1), 200)
    # rounding of an argument up to π, of a cosine and of three operations on numbers up to 2
    np.testing.assert_allclose(found, expected, rtol=0, atol=8 * np.finfo(float).eps)


@pytest.mark.parametrize("three_phase", [False, True])
def test_the_phases_of_one_cycle(three_phase):
    cycle = OneCycleLR(
        1.0, 40, pct_start=0.25, anneal_strategy="linear", three_phase=three_phase, per="epoch"
    )
    t = np.arange(45)
    lr, momentum = cycle.rates(0.3, t), cycle.momenta(t)
    assert lr[0] == 0.04 and lr[9] == 1.0 and lr.argmax() == 9
    assert momentum[0] == 0.95 and momentum[9] == 0.85
    assert lr[39:] == pytest.approx([0.04 / 1e4] * 6) and momentum[39:] == pytest.approx([0.95] * 6)
    assert (np.diff(lr[:10]) > 0).all() and (np.diff(lr[9:40]) < 0).all()
    if three_phase:
        assert lr[18] == pytest.approx(0.04) and momentum[18:].tolist() == [0.95] * 27
    assert OneCycleLR(None, 40).rates(0.3, t).max() == pytest.approx(0.3)
    assert OneCycleLR(1.0, 40, cycle_momentum=False).momenta(t) is None


@pytest.mark.parametrize(
    ("per", "seen"), [("epoch", [0, 10, 20]), ("step", [0, 4, 8, 10, 14, 18, 20])]
)
def test_inverse_scaling_counts_samples(per, seen):
    schedule = InverseScaling(0.5, per=per)
    schedule.bind(Span(epochs=3, n_rows=10, batch_size=4))
    found = rates(schedule, len(seen), 2.0)
    assert found == [2.0 / (s + 1) ** 0.5 for s in seen]


def test_inverse_scaling_needs_the_number_of_samples():
    with pytest.raises(RuntimeError, match="needs the number of samples"):
        rates(InverseScaling(), 1)


def run_on(schedule, values, lr=1.0, name="loss"):
    """The rates of epochs whose logs have these values."""
    found = []
    for value in values:
        found += schedule.rates(lr, schedule.counts(1)).tolist()
        schedule.advance(1)
        schedule.observe({name: value})
    return found


def test_plateau():
    flat = [1.0] * 6
    assert run_on(ReduceLROnPlateau(patience=0), flat[:3]) == [1.0, 1.0, 0.1]
    cool = ReduceLROnPlateau(patience=1, factor=0.5, cooldown=2, min_lr=0.4)
    # reduced after epoch 2; epochs 3 and 4 do not count; reduced to min_lr after two more
    assert run_on(cool, [1.0] * 9) == [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.4, 0.4]
    higher = ReduceLROnPlateau("max", patience=0, threshold=0.5, threshold_mode="abs", factor=0.5)
    assert run_on(higher, [1.0, 1.5, 2.1, 2.2]) == [1.0, 1.0, 0.5, 0.5]
    relative = ReduceLROnPlateau(patience=0, threshold=0.5, factor=0.5)
    assert run_on(relative, [1.0, 0.6, 0.4, 0.1]) == [1.0, 1.0, 0.5, 0.5]
    named = ReduceLROnPlateau(patience=0, monitor="val_f1", mode="max")
    assert run_on(named, [1.0, 0.9, 0.9], name="val_f1") == [1.0, 1.0, 0.1]
    with pytest.raises(ValueError, match="ReduceLROnPlateau monitors 'val_f1', which the logs la"):
        named.observe({"loss": 1.0})
    small = ReduceLROnPlateau(patience=0, eps=0.95)
    assert run_on(small, [1.0, 1.0, 1.0]) == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_plateau_does_not_take_nan_as_the_best_value(mode):
    steady = ReduceLROnPlateau(mode, patience=1)
    assert run_on(steady, [math.nan, 1.0, 1.0, math.nan, 1.0]) == [1.0, 1.0, 1.0, 1.0, 0.1]


def test_plateau_monitors_the_validation_loss_if_there_is_one():
    plateau = ReduceLROnPlateau(patience=0)
    plateau.rates(1.0, np.arange(1))
    for val in (1.0, 2.0):
        plateau.observe({"loss": -val, "val_loss": val})
    assert plateau.scale == 0.1


def test_adaptive_ends_a_fit_as_scikit_learn_does():
    """More than `patience` epochs without progress divide the rate by 5; at 1e-6, the fit ends."""
    adaptive = Adaptive(patience=1, tol=0.1)
    stops, found = [], []
    for loss in [1.0, 0.95, 0.92, 0.5, 0.5, 0.5]:
        found += adaptive.rates(4e-6, np.arange(1)).tolist()
        stops.append(adaptive.observe({"loss": loss}))
    assert found == pytest.approx([4e-6] * 3 + [8e-7] * 3)
    assert stops == [False] * 5 + [True]


def test_adaptive_with_a_score():
    adaptive = Adaptive(patience=0, monitor="val_score")
    assert run_on(adaptive, [0.5, 0.6, 0.6], name="val_score") == [1.0, 1.0, 1.0]
    assert adaptive.scale == 0.2


def test_warm_up_before_any_schedule():
    steps = Warmup(StepLR(2, 0.5), 4, start_factor=0.2)
    assert rates(steps, 8) == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 0.5, 0.5])
    flat = Warmup(None, 2, 0.5, per="step")
    assert flat.per == "step" and rates(flat, 4) == [0.5, 0.75, 1, 1]
    cosine = Warmup("cosine", 2, 0.5)
    cosine.bind(Span(epochs=6, n_rows=10, batch_size=5))
    assert rates(cosine, 6) == pytest.approx([0.5, 0.75, *rates(CosineAnnealingLR(4), 4)])
    plateau = Warmup(ReduceLROnPlateau(patience=0), 2, 0.5)
    assert run_on(plateau, [1.0] * 5) == [0.5, 0.75, 1.0, 1.0, pytest.approx(0.1)]


# ---- in a fit -----------------------------------------------------------------------------


@pytest.mark.parametrize("per", ["epoch", "step"])
@pytest.mark.parametrize("name", EVERY)
@NETWORKS
def test_a_fit_makes_its_steps_with_the_rates_of_the_schedule(network, name, per):
    """With the same bits as an optimiser whose rate and momentum are set before every step."""
    net, X, y = case(network)
    twin = case(network)[0]
    schedule = EVERY[name](per)
    momentum = 0.9 if name == "one cycle" else 0.0
    history = net.fit(
        X,
        y,
        epochs=3,
        batch_size=8,
        optimizer=SGD(0.05, momentum=momentum),
        schedule=schedule,
        shuffle=False,
    )
    other = EVERY[name](per)
    other.bind(Span(3, N, 8))
    t = np.arange(9) if per == "step" else np.repeat(np.arange(3), 3)
    lrs, momenta, sgd = other.rates(0.05, t), other.momenta(t), SGD(0.05, momentum=momentum)
    for i in range(9):
        rows = slice(8 * (i % 3), 8 * (i % 3) + 8)
        sgd.lr = max(lrs[i], 1e-30)
        if momenta is not None:
            sgd.momentum = momenta[i]
        twin.value_and_grad(X[rows], y[rows])
        twin.step(sgd)
    np.testing.assert_array_equal(net.theta, twin.theta)
    assert history.lr == lrs[2::3].tolist()
    assert schedule.t == (9 if per == "step" else 3)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_engine_and_reference_agree(rule, dtype):
    nets = [case(network, dtype)[0] for network in (fastbp.Network, reference.Network)]
    _, X, y = case(dtype=dtype)
    for net in nets:
        net.fit(X, y, epochs=4, batch_size=5, optimizer=OPTIMIZERS[rule](), schedule="one_cycle")
    # each of 20 steps rounds theta and a gradient of at most 5 + 5 terms; Adam divides by √v,
    # which magnifies by at most 1/√(1 − β2)
    tolerance = 20 * 10 * np.finfo(dtype).eps * 10
    np.testing.assert_allclose(nets[0].theta, nets[1].theta, rtol=0, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", OPTIMIZERS)
@NETWORKS
def test_a_rate_of_zero_does_not_change_the_parameters(network, rule, dtype):
    net, X, y = case(network, dtype)
    for layer in net.layers:
        layer.b = np.ones(layer.b.shape)
    net.fit(X[:, :], y, epochs=1, optimizer=(own := OPTIMIZERS[rule]()))
    before = net.theta.copy()
    history = net.fit(X, y, epochs=2, optimizer=own, schedule=LambdaLR(lambda t: 0.0))
    np.testing.assert_array_equal(net.theta, before)
    assert own.t == 3 and history.lr == [0.0, 0.0]
    assert all(np.isfinite(moment).all() for moment in own.moments)


@pytest.mark.parametrize("kind", [ReduceLROnPlateau, Adaptive])
def test_a_pickle_shows_itself_as_the_original(kind):
    plateau = kind(patience=3, mode="max", monitor="val_score")
    twin = pickle.loads(pickle.dumps(plateau))
    assert repr(twin) == repr(plateau) == repr(copy.deepcopy(twin))
    state = plateau.__getstate__()
    del state["mode"]  # as in version 0.1
    older = kind()
    older.__setstate__(state)
    assert older.mode == "min"


@pytest.mark.parametrize("per", ["epoch", "step"])
@NETWORKS
def test_two_fits_equal_one_longer_fit(network, per):
    whole, X, y = case(network)
    parts = case(network)[0]
    options = {"batch_size": 6, "optimizer": Adam(0.01), "schedule": Warmup("cosine", 2)}
    if per == "step":
        options["schedule"] = Warmup(CosineAnnealingLR(per="step"), 5)
    kept = pickle.loads(pickle.dumps(options))
    one = whole.fit(X, y, epochs=6, **options)
    first = parts.fit(X, y, epochs=6, callbacks=[lambda epoch, logs: epoch == 2], **kept)
    state = kept["schedule"].state_dict()
    kept["schedule"] = pickle.loads(pickle.dumps(options["schedule"]))
    kept["schedule"].reset()
    kept["schedule"].load_state_dict(state)
    second = parts.fit(X, y, epochs=6, initial_epoch=3, **kept)
    assert one.loss == first.loss + second.loss and one.lr == first.lr + second.lr
    np.testing.assert_array_equal(whole.theta, parts.theta)
    assert second.epochs == 3


def test_a_fit_that_ends_early_counts_its_steps():
    net, X, y = case()
    schedule, adam = ExponentialLR(0.99, per="step"), Adam()
    history = net.fit(
        X, y, epochs=10**9, batch_size=1, optimizer=adam, schedule=schedule, time_budget=0.02
    )
    assert schedule.t == adam.t and history.lr[-1] == pytest.approx(1e-3 * 0.99 ** (adam.t - 1))
    hot, schedule = SGD(0.1), LambdaLR(lambda t: 1.0 if t < 7 else 1e200, per="step")
    with pytest.raises(fastbp.DivergenceError):
        net.fit(X, y, epochs=9, batch_size=4, optimizer=hot, schedule=schedule)
    assert schedule.t == hot.t


def test_a_callback_may_change_the_rate_of_a_schedule():
    net, X, y = case()
    adam = Adam(0.01)

    def halve(epoch, logs):
        adam.lr /= 2

    history = net.fit(
        X, y, epochs=3, optimizer=adam, schedule=ExponentialLR(0.5), callbacks=[halve]
    )
    assert history.lr == pytest.approx([0.01, 0.0025, 0.000625])


def test_adaptive_may_end_a_fit():
    net, X, y = case()
    schedule = Adaptive(patience=0, tol=1e9)
    history = net.fit(X, y, epochs=99, optimizer=SGD(1e-4), schedule=schedule)
    assert history.stopped_by == "schedule"
    assert history.lr == pytest.approx([1e-4, 1e-4, 2e-5, 4e-6, 8e-7])


@pytest.mark.parametrize("name", schedules.NAMES)
@NETWORKS
def test_names(network, name):
    net, X, y = case(network)
    history = net.fit(X, y, epochs=4, batch_size=8, schedule=name)
    assert len(history.lr) == 4 and np.isfinite(history.loss).all()
    if name in ("cosine", "polynomial", "linear", "invscaling"):
        assert history.lr[0] == 0.001 and (np.diff(history.lr) < 0).all()


# ---- bad arguments ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: StepLR(0), ValueError, "step_size must be at least 1"),
        (lambda: StepLR(1, per="batch"), ValueError, "unknown per 'batch'; known: epoch, step"),
        (lambda: MultiStepLR([1, 0]), ValueError, r"milestones\[1\] must be at least 1"),
        (lambda: MultiStepLR(3), TypeError, "milestones must be a list of whole numbers; got 3"),
        (lambda: ExponentialLR(0), ValueError, "gamma must be greater than 0"),
        (lambda: ReduceLROnPlateau("up"), ValueError, "unknown mode 'up'"),
        (lambda: ReduceLROnPlateau(factor=1.0), ValueError, "factor must be at least 0 and below"),
        (lambda: ReduceLROnPlateau(patience=-1), ValueError, "patience must not be negative"),
        (lambda: OneCycleLR(pct_start=2), ValueError, "pct_start must be at most 1"),
        (lambda: OneCycleLR(anneal_strategy="x"), ValueError, "known: cos, linear"),
        (lambda: LambdaLR(3), TypeError, "lr_lambda must be a function"),
        (lambda: Warmup("cosine", per="step"), ValueError, "per is 'step', but Cosine.* by epoch"),
        (lambda: schedules.resolve("sine"), ValueError, "unknown schedule 'sine'; known: constant"),
        (lambda: schedules.resolve(StepLR), TypeError, r"the class StepLR: write StepLR\("),
        (lambda: StepLR(1).load_state_dict({"x": 1}), ValueError, "StepLR has t; got x"),
        (
            lambda: rates(CosineAnnealingLR(), 2),
            RuntimeError,
            "length from a fit; .* pass T_max",
        ),
        (lambda: rates(LambdaLR(lambda t: -1.0), 1), ValueError, r"lr_lambda\(t\) must not be neg"),
    ],
)
def test_bad_arguments_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_initial_epoch_must_be_below_epochs():
    net, X, y = case()
    with pytest.raises(ValueError, match="initial_epoch is 3; epochs, 3, must be more"):
        net.fit(X, y, epochs=3, initial_epoch=3)


@pytest.mark.parametrize("kind", [fastbp.Network, fastbp.reference.Network])
def test_a_rate_that_overflows_is_an_error(kind):
    net = kind((1, 1), seed=0)
    before = net.theta.copy()
    schedule = schedules.ExponentialLR(1e300, per="step")
    with pytest.raises(ValueError, match=r"ExponentialLR gives a learning rate of inf at t = 2"):
        net.fit(np.ones((9, 1)), np.ones(9), epochs=1, batch_size=3, schedule=schedule)
    np.testing.assert_array_equal(net.theta, before)


@pytest.mark.parametrize(
    ("rates", "momenta"),
    [
        (np.zeros(0), None),
        (np.full(3, -0.1), None),
        (np.full(3, np.nan), None),
        (np.full(3, 0.1), np.full(3, 1.0)),
    ],
    ids=["empty", "negative", "nan", "momentum of 1"],
)
def test_the_engine_refuses_rates_out_of_range(rates, momenta):
    net, X, y = case()
    sgd = SGD(0.1)
    sgd.bind(net.theta.size, net.dtype)
    fit = _core.Fit(net._backend.net, net.theta, X, y, None, sgd, 8, True, 0)
    good = np.full(3, 0.1)
    fit.set_rates(good, good)
    fit.set_rates(None)
    with pytest.raises(ValueError, match="refused"):
        fit.set_rates(rates, momenta)


# ---- the range test -----------------------------------------------------------------------


@NETWORKS
def test_lr_finder(network):
    net, X, y = case(network)
    before, adam = net.theta.copy(), Adam(0.5)
    found = fastbp.lr_finder(net, X, y, batch_size=5, optimizer=adam, steps=60)
    np.testing.assert_array_equal(net.theta, before)
    assert adam.t == 0 and adam.lr == 0.5
    assert len(found.lrs) == len(found.losses) == len(found.smoothed) <= 60
    np.testing.assert_allclose(np.diff(np.log(found.lrs)), np.log(1e8) / 59, rtol=1e-12)
    # the same steps by hand
    twin, own = case(network)[0], Adam()
    for step in range(12):
        order = fastbp._training.shuffle.permutation(5, step // 5, N)
        rows = order[5 * (step % 5) : 5 * (step % 5) + 5]
        own.lr = float(found.lrs[step])
        J = twin.train_batch(X[rows], y[rows], own)
        assert found.losses[step] == pytest.approx(J, rel=1e-12), f"step {step}"


@NETWORKS
def test_the_suggestion_trains_better_than_other_rates(network):
    net, X, y = case(network)
    found = fastbp.lr_finder(net, X, y, batch_size=N)
    lowest = found.lrs[np.argmin(found.smoothed)]
    assert 1e-4 < found.suggestion < lowest < found.lrs[-1]
    for lr in (found.suggestion / 100, found.suggestion * 1000):
        losses = []
        for rate in (found.suggestion, lr):
            twin = case(network)[0]
            twin.fit(X, y, epochs=30, batch_size=N, optimizer=Adam(rate))
            losses.append(twin.loss(X, y))
        assert losses[0] < losses[1], lr


def test_lr_finder_ends_where_the_loss_diverges():
    net, X, y = case()
    before = net.theta.copy()
    found = fastbp.lr_finder(net, X, y, optimizer=SGD(), end_lr=1e30, stop_factor=1e300)
    assert len(found.lrs) < 100 and np.isfinite(found.losses).all()
    with pytest.raises(ValueError, match="give a smaller start_lr"):
        fastbp.lr_finder(net, X, y, optimizer=SGD(), start_lr=1e300, end_lr=1e301)
    with pytest.raises(ValueError, match="the rate must grow"):
        fastbp.lr_finder(net, X, y, start_lr=1.0, end_lr=0.1)
    np.testing.assert_array_equal(net.theta, before)


@NETWORKS
def test_lr_finder_makes_the_batches_of_fit(network):
    net, X, y = case(network)
    few = {"batch_size": 5, "steps": 3, "optimizer": "rprop"}
    J = fastbp.lr_finder(net, X, y, **few).losses[0]
    assert J == pytest.approx(net.loss(X, y), rel=1e-12)
    pairs = network((3, 1), loss="margin_ranking", seed=0)
    with pytest.raises(ValueError, match="batch_size must be even for margin_ranking"):
        fastbp.lr_finder(pairs, X[:20], None, batch_size=5)


def test_lr_finder_plots():
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is optional")
    matplotlib.use("Agg")
    net, X, y = case()
    found = fastbp.lr_finder(net, X, y, batch_size=5)
    ax = found.plot()
    assert ax.get_xscale() == "log"
    assert f"{found.suggestion:.2g}" in [text.get_text() for text in ax.get_legend().get_texts()]
    assert found.plot(ax) is ax
    matplotlib.pyplot.close(ax.figure)
