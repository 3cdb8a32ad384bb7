"""Schedules of label smoothing and dropout: steps, bits, state, and what refuses them."""

import copy

import numpy as np
import pytest
from engine_cases import DTYPES
from fit_cases import N, StopAt, case, classes
from population_cases import LABELS, assert_same_as_alone

import fastbp
from fastbp import Dense, _core, optim, reference, schedules
from fastbp.optim import SGD
from fastbp.schedules import CosLog4, LambdaLR, LinearLR, OneCycleLR, Together

NETWORKS = pytest.mark.parametrize("network", [fastbp.Network, reference.Network])
P, EPSILON = (0.1, 0.3, 0.2, 0.0), 0.4  # of the inputs, two hidden layers and the output


def network_of(
    network=fastbp.Network, dtype="float64", shares=P, epsilon=EPSILON, weights=None, **options
):
    """A classifier 3-7-6-3 with label smoothing and dropout."""
    layers = [Dense(7, "tanh", dropout=shares[1]), Dense(6, "relu", dropout=shares[2])]
    loss = fastbp.losses.Loss("cross_entropy", label_smoothing=epsilon, class_weight=weights)
    return network.from_layers(
        3,
        [*layers, Dense(3, "softmax")],
        loss=loss,
        input_dropout=shares[0],
        dtype=dtype,
        seed=5,
        **options,
    )


class Broken(schedules.Schedule):
    """Gives numbers that are none."""

    def rates(self, lr, t):
        return np.full(len(t), np.nan)


def data():
    _, X, y = classes()
    return X, y


def both(per="step"):
    """Schedules of all three, with which no two steps have the same numbers."""
    return Together(
        LambdaLR(lambda t: 1 / (t + 1), per=per),
        label_smoothing=LinearLR(1.0, 0.1, 9, per=per),
        dropout=CosLog4(11, per=per),
    )


# ---- steps --------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5]], ids=["plain", "class weights"])
@pytest.mark.parametrize("per", ["epoch", "step"])
@NETWORKS
def test_each_step_is_that_of_a_network_with_the_numbers_of_the_schedule(network, per, weights):
    X, y = data()
    net = network_of(network, weights=weights)
    theta = net.theta.copy()
    net.fit(X, y, epochs=3, batch_size=8, optimizer=SGD(0.5), schedule=both(per), shuffle=False)
    for i in range(9):
        t = np.array([i if per == "step" else i // 3])
        one = both(per)
        share = one.dropout.rates(1.0, t)[0]
        twin = network_of(
            network,
            # the network needs a loss with parameters, as the scheduled one has
            epsilon=one.label_smoothing.rates(EPSILON, t)[0],
            shares=[one.dropout.rates(p, t)[0] if share > 0 else 0.0 for p in P],
            weights=weights,
        )
        twin.theta = theta
        sgd = SGD(max(one.lr.rates(0.5, t)[0], 1e-30))
        sgd.t = i
        rows = slice(8 * (i % 3), 8 * (i % 3) + 8)
        twin.train_batch(X[rows], y[rows], sgd)
        theta = twin.theta.copy()
    np.testing.assert_array_equal(net.theta, theta)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
def test_engine_and_reference_agree(output, dtype):
    X, y = data()
    nets = []
    for network in (fastbp.Network, reference.Network):
        net = network_of(network, dtype)
        if output == "sigmoid":  # the loss apart from the output
            layers = [Dense(7, "tanh", dropout=0.3), Dense(3, "sigmoid")]
            loss = "cross_entropy(0.4)"
            net = network.from_layers(3, layers, loss=loss, dtype=dtype, seed=5)
        net.fit(X, y, epochs=4, batch_size=5, optimizer=SGD(0.2), schedule=both())
        nets.append(net)
    # each of 20 steps rounds theta and a gradient of at most 7 + 5 terms, and the loss divides
    # by an output of about 1/3
    tolerance = 20 * 12 * np.finfo(dtype).eps * 3
    np.testing.assert_allclose(nets[0].theta, nets[1].theta, rtol=0, atol=tolerance)


def test_smoothing_and_dropout_of_0_change_nothing_else():
    """A schedule at its value 1 has the bits of a fit without it."""
    X, y = data()
    plain, scheduled = network_of(), network_of()
    plain.fit(X, y, epochs=3, batch_size=8)
    flat = {"label_smoothing": "constant", "dropout": "constant"}
    scheduled.fit(X, y, epochs=3, batch_size=8, schedule=flat)
    np.testing.assert_array_equal(plain.theta, scheduled.theta)


@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_threads_do_not_change_the_bits(n_threads):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(600, 3)).astype("float32"), rng.integers(0, 3, 600)
    nets = [network_of(dtype="float32") for _ in range(2)]
    for net, threads in zip(nets, (1, n_threads), strict=True):
        net.fit(X, y, epochs=2, batch_size=300, schedule=both(), n_threads=threads)
    np.testing.assert_array_equal(nets[0].theta, nets[1].theta)


@pytest.mark.parametrize("how", ["accumulate", "stream", "parts"])
def test_the_same_numbers_reach_every_kind_of_session(how):
    X, y = data()
    nets = [network_of(dtype="float64") for _ in range(2)]
    kept = {"epochs": 3, "batch_size": 8, "shuffle": False, "optimizer": SGD(0.2)}
    nets[0].fit(X, y, schedule=both(), **kept)
    kept["optimizer"] = SGD(0.2)
    if how == "stream":
        nets[1].fit(fastbp.stream(X, y, block_rows=N), schedule=both(), **kept)
    elif how == "accumulate":
        nets[1].fit(X, y, schedule=both(), **kept | {"batch_size": 4, "accumulate": 2})
    else:
        nets[1].fit(X, y, schedule=both(), parts=2, **kept | {"batch_size": N})
        nets[0] = network_of(dtype="float64")
        nets[0].fit(X, y, schedule=both(), **kept | {"batch_size": N, "optimizer": SGD(0.2)})
    # sums in another order: 9 steps of at most 23 terms
    np.testing.assert_allclose(nets[1].theta, nets[0].theta, atol=9 * 23 * 2.3e-16, rtol=0)


@pytest.mark.parametrize("n_threads", [1, 2, 5])
@pytest.mark.parametrize("plain", [True, False], ids=["side by side", "with dropout"])
def test_members_have_the_bits_that_they_have_alone(plain, n_threads):
    def make():
        hidden = Dense(8, "tanh") if plain else Dense(8, "tanh", dropout=0.3)
        return [
            fastbp.Network.from_layers(
                6, [hidden, Dense(3, "softmax")], loss=f"cross_entropy(0.{k + 1})", seed=k
            )
            for k in range(5)
        ]

    made = {"label_smoothing": "linear"} | ({} if plain else {"dropout": CosLog4()})
    schedule = Together("cosine", **made)
    assert_same_as_alone(make, LABELS, n_threads, epochs=4, batch_size=20, schedule=schedule)


# ---- state --------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 4, 6])
def test_a_resumed_fit_is_bit_identical(steps, tmp_path):
    X, y = data()
    options = {"epochs": 4, "batch_size": 8}
    nets = [network_of() for _ in range(3)]
    one = nets[0].fit(X, y, schedule=both(), **options)
    with pytest.raises(KeyboardInterrupt):
        nets[1].fit(
            X, y, schedule=both(), checkpoint=tmp_path, callbacks=[StopAt(steps)], **options
        )
    resumed = both()
    two = nets[2].fit(X, y, schedule=resumed, checkpoint=tmp_path, **options)
    np.testing.assert_array_equal(nets[2].theta, nets[0].theta)
    assert two.loss == one.loss and two.lr == one.lr and resumed.dropout.t == 12
    other = Together(dropout=LinearLR(1.0, 0.0, None))
    with pytest.raises(ValueError, match=r"schedule.*Together\(lr=LambdaLR, label_smoothing"):
        network_of().fit(X, y, schedule=other, checkpoint=tmp_path, **options)


def test_the_state_is_that_of_all():
    schedule = both("epoch")
    assert schedule.per == "epoch" and both("step").per == "step"
    schedule.advance(3)
    state = schedule.state_dict()
    assert state == {
        "t": 1,
        "lr.t": 1,
        "label_smoothing.t": 1,
        "label_smoothing.total": 9,
        "dropout.t": 1,
        "dropout.total": 11,
    }
    fresh = both("epoch")
    fresh.load_state_dict(state)
    assert fresh.state_dict() == state
    schedule.reset()
    assert schedule.dropout.t == schedule.t == 0
    with pytest.raises(ValueError, match="the state of a LinearLR has t, total"):
        fresh.load_state_dict({k: v for k, v in state.items() if k != "label_smoothing.total"})
    with pytest.raises(ValueError, match="the state of a Together has t; got t, other"):
        fresh.load_state_dict(state | {"other": 1})
    assert fresh.state_dict() == state


def test_momenta_and_logs_are_those_of_the_schedules():
    schedule = Together(OneCycleLR(0.1, 10), dropout="plateau")
    np.testing.assert_array_equal(
        schedule.momenta(np.arange(3)), OneCycleLR(0.1, 10).momenta(np.arange(3))
    )
    net, (X, y) = network_of(), data()
    schedule = Together(dropout=schedules.ReduceLROnPlateau(patience=0, threshold=10.0))
    net.fit(X, y, epochs=4, schedule=schedule)
    assert schedule.dropout.scale == pytest.approx(1e-3)
    assert repr(Together(dropout=CosLog4(3))) == (
        "Together(lr=ConstantLR(factor=1.0, total_iters=1, per='epoch'), "
        "dropout=CosLog4(total_iters=3, per='step'))"
    )


def test_estimators_take_it():
    pytest.importorskip("sklearn")
    from fastbp.sklearn import MLPClassifier

    X, y = data()
    made = {"hidden_layer_sizes": (6,), "max_iter": 5, "random_state": 0, "dropout": 0.3}
    found = {}
    for name in ("constant", "linear"):
        one = MLPClassifier(learning_rate=Together("linear", dropout=name), **made)
        with pytest.warns(match="Maximum iterations"):
            found[name] = one.fit(X, y).network_.theta
    plain = MLPClassifier(learning_rate=LinearLR(1.0, 0.0, None), **made)
    with pytest.warns(match="Maximum iterations"):
        plain.fit(X, y)
    np.testing.assert_array_equal(plain.network_.theta, found["constant"])
    assert (plain.network_.theta != found["linear"]).any()
    with pytest.raises(ValueError, match="no layer of the network has dropout"):
        MLPClassifier(learning_rate=Together(dropout="linear")).fit(X, y)


# ---- refusals -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Together(dropout="sine"), ValueError, "unknown schedule 'sine'"),
        (lambda: Together(3), TypeError, "schedule must be a name, a Schedule object or a dict"),
        (lambda: Together(both()), TypeError, "lr must be a schedule of one number"),
        (lambda: schedules.Warmup(both()), TypeError, "put Warmup into Together"),
        (
            lambda: schedules.resolve({"smoothing": "cosine"}),
            ValueError,
            "unknown schedule of 'smoothing'; known: lr, label_smoothing, dropout",
        ),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_two_numbers_need_two_schedules():
    one = CosLog4()
    with pytest.raises(ValueError, match="lr and dropout have the same schedule"):
        Together(one, dropout=one)


@pytest.mark.parametrize(
    ("net", "schedule", "message"),
    [
        (lambda: case()[0], {"label_smoothing": "linear"}, "label_smoothing has nothing to change"),
        (lambda: classes()[0], {"label_smoothing": "linear"}, "nothing to change: the loss is 'cr"),
        (lambda: classes()[0], {"dropout": "linear"}, "dropout has nothing to change: no layer"),
        (network_of, {"dropout": LambdaLR(lambda t: 10.0)}, "dropout must stay at least 0 and bel"),
        (
            network_of,
            {"label_smoothing": LambdaLR(lambda t: 3.0)},
            "label_smoothing must stay from 0 to 1; LambdaLR.* gives 1.2",
        ),
        (
            network_of,
            {"dropout": Broken()},
            r"Broken gives a dropout of nan at t = 0, from 0\.1; it must stay finite",
        ),
    ],
    ids=["no smoothing", "smoothing of 0", "no dropout", "p of 1", "ε over 1", "infinite"],
)
@NETWORKS
def test_fits_that_are_refused(network, net, schedule, message):
    net, (X, y) = net(), data()
    if network is reference.Network and net._arithmetic != "NumPy":
        net = network.from_layers(
            3, net.dense, loss=net.criterion, input_dropout=net.input_dropout, dtype="float64"
        )
    targets = y if net.widths[-1] == 3 else case()[2]
    before = net.theta.copy()
    with pytest.raises(ValueError, match=message):
        net.fit(X, targets, epochs=2, schedule=copy.copy(schedule))
    np.testing.assert_array_equal(net.theta, before)


def test_hooks_are_refused():
    net, (X, y) = network_of(), data()
    net.on_delta(lambda l, delta: None)
    with pytest.raises(ValueError, match="does not reach the steps of a hook"):
        net.fit(X, y, schedule=both())


@pytest.mark.parametrize(
    ("n", "smoothing", "dropout"),
    [
        (0, np.zeros(0), None),
        (2, np.full(2, 1.1), None),
        (2, np.full(2, np.nan), None),
        (2, None, np.full(8, 1.0)),
        (2, None, np.full(8, -0.1)),
        (2, None, np.full(8, 0.1)),  # the output layer has no dropout
    ],
)
def test_the_engine_refuses_numbers_out_of_range(n, smoothing, dropout):
    net, (X, y) = network_of(), data()
    sgd = SGD(0.1)
    sgd.bind(net.theta.size, net.dtype)
    fit = _core.Fit(net._backend.net, net.theta, X, y, None, sgd, 8, True, 0)
    fit.set_smoothing(2, np.full(2, 0.5), np.tile([0.1, 0.2, 0.3, 0.0], 2))
    fit.set_smoothing(0, None, None)
    with pytest.raises(ValueError, match="refused"):
        fit.set_smoothing(n, smoothing, dropout)


def test_the_engine_refuses_smoothing_of_other_losses():
    net, X, y = case()
    sgd = optim.SGD(0.1)
    sgd.bind(net.theta.size, net.dtype)
    fit = _core.Fit(net._backend.net, net.theta, X, y, None, sgd, 8, True, 0)
    with pytest.raises(ValueError, match="refused"):
        fit.set_smoothing(1, np.full(1, 0.5), None)
