"""Early stopping, callbacks, validation splits and time budgets of a fit, in both networks."""

import csv
import math
import re

import numpy as np
import pytest
from fit_cases import N, case

import fastbp
from fastbp import reference
from fastbp._training.splits import hold_out
from fastbp.callbacks import (
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    ModelCheckpoint,
    TerminateOnNaN,
)
from fastbp.optim import SGD, Adam

NETWORKS = pytest.mark.parametrize("network", [fastbp.Network, reference.Network])


# ---- early stopping -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "options", "stops", "best"),
    [
        ([3, 2, 2, 2, 2], {"patience": 3}, 4, 1),
        ([3, 2, 1.95, 1.9, 0], {"patience": 2, "min_delta": 0.2}, 3, 1),
        ([1, 2, 3, 2, 2.5], {"patience": 2, "mode": "max"}, 4, 2),
        ([3, math.nan, math.nan, 1], {"patience": 2}, 2, 0),
        ([math.nan, 3, 2, 1], {"patience": 2}, None, 3),
        ([4, 5, 3, 5, 2], {"patience": 2}, None, 4),
    ],
)
def test_patience(values, options, stops, best):
    stop = EarlyStopping("val_loss", **options)
    answers = []
    for epoch, value in enumerate(values):
        answers.append(stop.on_epoch_end(epoch, {"val_loss": value}))
        if answers[-1]:
            break
    assert (answers.index(True) if any(answers) else None) == stops == stop.stopped_epoch
    assert stop.best_epoch == best and stop.best == values[best]


@NETWORKS
@pytest.mark.parametrize("restore", [True, False])
def test_the_best_weights_are_restored(network, restore):
    """A larger rate after four epochs makes the later epochs worse."""
    net, X, y = case(network)
    sgd, thetas, losses = SGD(0.1), [], []

    def spoil(epoch, logs):
        thetas.append(net.theta.copy())
        losses.append(logs["val_loss"])
        sgd.lr = 3.0 if epoch >= 3 else 0.1

    stop = EarlyStopping(patience=3, restore_best=restore)
    options = {"epochs": 50, "batch_size": 5, "optimizer": sgd, "callbacks": [spoil, stop]}
    history = net.fit(X, y, validation_data=(X, y), **options)
    assert history.stopped_by == "callback"
    assert history.epochs == stop.stopped_epoch + 1 == stop.best_epoch + 4 < 50
    assert stop.best_epoch == int(np.argmin(losses))
    np.testing.assert_array_equal(net.theta, thetas[stop.best_epoch if restore else -1])


def test_the_best_weights_are_restored_after_an_interrupt():
    net, X, y = case()
    start = net.theta.copy()

    def interrupt(epoch, logs):
        if epoch == 2:
            raise KeyboardInterrupt
        logs["mine"] = epoch

    stop = EarlyStopping("mine", mode="min")
    with pytest.raises(KeyboardInterrupt):
        net.fit(X, y, callbacks=[interrupt, stop])
    twin = case()[0]
    twin.fit(X, y, epochs=1)
    assert stop.best_epoch == 0
    np.testing.assert_array_equal(net.theta, twin.theta)
    assert not np.array_equal(net.theta, start)


@pytest.mark.parametrize(
    ("name", "higher"),
    [("val_loss", False), ("loss", False), ("val_score", True), ("val_accuracy", True)],
)
def test_auto_knows_the_direction_of_standard_entries(name, higher):
    stop = EarlyStopping(name)
    for epoch, value in enumerate([1.0, 2.0]):
        stop.on_epoch_end(epoch, {name: value})
    assert stop.best == (2.0 if higher else 1.0)


def test_bad_monitors_are_refused():
    net, X, y = case()
    missing = "monitors 'val_loss', which the logs lack.*loss, lr"
    with pytest.raises(ValueError, match=missing):
        net.fit(X, y, epochs=1, callbacks=[EarlyStopping()])
    with pytest.raises(ValueError, match=missing):
        net.fit(X, y, epochs=1, callbacks=[ModelCheckpoint("x.safetensors", save_best_only=True)])
    with pytest.raises(ValueError, match="unknown mode 'up'; known: auto, min, max"):
        EarlyStopping(mode="up")
    with pytest.raises(ValueError, match="patience must not be negative"):
        EarlyStopping(patience=-1)
    with pytest.raises(TypeError, match="monitor must be the name"):
        EarlyStopping(3)
    with pytest.raises(TypeError, match=r"EarlyStopping is a class: write EarlyStopping\(\)"):
        net.fit(X, y, callbacks=[EarlyStopping])


# ---- other callbacks of the package -------------------------------------------------------


def test_model_checkpoints(tmp_path):
    net, X, y = case()
    every = ModelCheckpoint(tmp_path / "e{epoch:02d}.safetensors")
    best = ModelCheckpoint(tmp_path / "best.safetensors", "val", save_best_only=True, mode="min")
    values, thetas = [3.0, 1.0, 2.0], []

    def invent(epoch, logs):
        logs["val"] = values[epoch]
        thetas.append(net.theta.copy())

    net.fit(X, y, epochs=3, callbacks=[invent, every, best])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best.safetensors",
        *(f"e0{epoch}.safetensors" for epoch in range(3)),
    ]
    for epoch in range(3):
        saved = fastbp.load(tmp_path / f"e0{epoch}.safetensors")
        np.testing.assert_array_equal(saved.theta, thetas[epoch], f"epoch {epoch}")
    np.testing.assert_array_equal(fastbp.load(best.last_path).theta, thetas[1])
    assert best.best == 1.0 and every.last_path.endswith("e02.safetensors")


@NETWORKS
def test_csv_log(network, tmp_path):
    net, X, y = case(network)
    path = tmp_path / "log.csv"
    histories = [
        net.fit(X, y, epochs=2, validation_data=(X, y), callbacks=[CSVLogger(path, append=append)])
        for append in (False, True)
    ]
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == [0, 1, 0, 1]
    for name in ("loss", "val_loss", "val_score", "lr", "samples_per_second"):
        whole = histories[0][name] + histories[1][name]
        assert [float(row[name]) for row in rows] == whole, name
    with pytest.raises(ValueError, match="has the columns epoch, loss, lr, val_loss"):
        net.fit(X, y, epochs=1, callbacks=[CSVLogger(path, append=True)])
    net.fit(X, y, epochs=1, callbacks=[CSVLogger(path)])
    assert len(path.read_text().splitlines()) == 2


def test_a_line_is_written_to_disk_when_its_epoch_ends(tmp_path):
    net, X, y = case()
    lines = []

    def read(epoch, logs):
        lines.append(len((tmp_path / "log.csv").read_text().splitlines()))

    net.fit(X, y, epochs=3, callbacks=[CSVLogger(tmp_path / "log.csv"), read])
    assert lines == [2, 3, 4]


@NETWORKS
def test_terminate_on_nan_ends_a_fit_without_an_error(network):
    net, X, y = case(network)
    twin = case(network)[0]
    with pytest.raises(fastbp.DivergenceError) as info:
        twin.fit(X, y, epochs=99, batch_size=5, optimizer=SGD(1e40))
    end = TerminateOnNaN()
    history = net.fit(X, y, epochs=99, batch_size=5, optimizer=SGD(1e40), callbacks=[end])
    assert history.stopped_by == "divergence" and history.epochs == info.value.epoch
    assert (end.error.epoch, end.error.step) == (info.value.epoch, info.value.step)
    np.testing.assert_array_equal(net.theta, twin.theta)


def test_terminate_on_nan_includes_the_validation_loss():
    end = TerminateOnNaN()
    assert end.on_epoch_end(0, {"loss": 1.0, "val_loss": math.nan})
    assert not end.on_epoch_end(0, {"loss": 1.0, "val_loss": 2.0})


def test_lambda_callback_needs_functions():
    with pytest.raises(TypeError, match="LambdaCallback needs one of on_fit_begin"):
        LambdaCallback()
    with pytest.raises(TypeError, match="on_epoch_end must be a function; got 3"):
        LambdaCallback(on_epoch_end=3)


# ---- batches ------------------------------------------------------------------------------


@NETWORKS
def test_on_batch_end_gets_the_loss_of_every_batch(network):
    """It does not change the training."""
    net, X, y = case(network)
    twin = case(network)[0]
    seen = []
    record = LambdaCallback(
        on_batch_end=lambda step, logs: seen.append((logs["epoch"], step, logs))
    )
    history = net.fit(X, y, epochs=2, batch_size=7, callbacks=[record], optimizer=Adam(0.01))
    assert [(epoch, step) for epoch, step, _ in seen] == [(e, s) for e in (0, 1) for s in range(4)]
    for epoch in (0, 1):
        losses = [logs["loss"] for at, _, logs in seen if at == epoch]
        mean = np.average(losses, weights=[7, 7, 7, 2])
        assert history.loss[epoch] == pytest.approx(mean, rel=1e-14), f"epoch {epoch}"
    assert {logs["lr"] for *_, logs in seen} == {0.01} == set(history.lr)
    twin.fit(X, y, epochs=2, batch_size=7, optimizer=Adam(0.01))
    np.testing.assert_array_equal(net.theta, twin.theta)


def test_a_callback_may_change_the_weights_between_batches():
    """Batches of more than 8 rows read copies of W, which are updated."""
    nets = []
    for network in (fastbp.Network, reference.Network):
        net, X, y = case(network)

        def shrink(step, logs, net=net):
            net.theta *= 0.5

        keep_small = LambdaCallback(on_batch_end=shrink)
        net.fit(X, y, epochs=3, batch_size=10, optimizer=SGD(0.1), callbacks=[keep_small])
        nets.append(net)
    np.testing.assert_allclose(nets[0].theta, nets[1].theta, rtol=1e-9, atol=1e-12)


@NETWORKS
def test_on_batch_end_may_stop_the_fit(network):
    net, X, y = case(network)
    adam, ends = Adam(), []
    stop = LambdaCallback(
        on_batch_end=lambda step, logs: logs["epoch"] == 1 and step == 2,
        on_epoch_end=lambda epoch, logs: ends.append(epoch),
    )
    history = net.fit(X, y, epochs=9, batch_size=5, optimizer=adam, callbacks=[stop])
    assert (adam.t, history.epochs, history.stopped_by, ends) == (5 + 3, 2, "callback", [0, 1])


# ---- time and data ------------------------------------------------------------------------


@NETWORKS
def test_time_budget(network):
    net, X, y = case(network)
    adam = Adam()
    history = net.fit(X, y, epochs=10**9, batch_size=1, optimizer=adam, time_budget=0.05)
    assert history.stopped_by == "time_budget"
    assert (history.epochs - 1) * N < adam.t <= history.epochs * N
    assert net.fit(X, y, epochs=1, time_budget=1000.0).stopped_by is None
    short = net.fit(X, y, epochs=3, batch_size=5, optimizer=adam, time_budget=1e-9)
    assert short.epochs == 1 and math.isfinite(short.loss[0])
    with pytest.raises(ValueError, match="time_budget must be greater than 0"):
        net.fit(X, y, time_budget=0)


@NETWORKS
def test_validation_split(network):
    net, X, y = case(network)
    twin = case(network)[0]
    s = np.arange(1.0, N + 1)
    history = net.fit(X, y, epochs=2, sample_weight=s, validation_split=0.25)
    train, held = hold_out(N, 0.25, seed=5)
    assert len(held) == 6
    other = twin.fit(
        X[train],
        y[train],
        epochs=2,
        sample_weight=s[train],
        validation_data=(X[held], y[held], s[held]),
    )
    assert history.val_loss == other.val_loss and history.loss == other.loss
    np.testing.assert_array_equal(net.theta, twin.theta)


@NETWORKS
@pytest.mark.parametrize("weighted", [False, True])
def test_validation_data_in_separate_arguments(network, weighted):
    weights = np.arange(1.0, N + 1) if weighted else None
    net, X, y = case(network)
    twin = case(network)[0]
    history = net.fit(X, y, epochs=2, X_val=X, y_val=2 * y, sample_weight_val=weights)
    data = (X, 2 * y, weights) if weighted else (X, 2 * y)
    expected = twin.fit(X, y, epochs=2, validation_data=data)
    assert history.val_loss == expected.val_loss
    assert history.val_score == expected.val_score


def test_validation_data_of_a_loss_without_targets_are_an_X_val_alone():
    X = np.linspace(0, 1, 24).reshape(8, 3)
    nets = [fastbp.Network((3, 1), loss="margin_ranking", seed=0) for _ in range(2)]
    history = nets[0].fit(X, epochs=1, X_val=X)
    assert history.val_loss == nets[1].fit(X, epochs=1, validation_data=(X, None)).val_loss


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("X_val",), "X_val without y_val: validation data are X_val and y_val, or validation_d"),
        (("y_val",), "y_val without X_val"),
        (("sample_weight_val",), "sample_weight_val without X_val"),
        (("y_val", "sample_weight_val"), "y_val and sample_weight_val without X_val"),
        (("validation_data", "X_val", "y_val"), "validation_data or X_val and y_val, not both"),
        (("validation_data", "sample_weight_val"), "or sample_weight_val, not both"),
        (("X_val", "y_val", "validation_split"), "give X_val or validation_split, not both"),
    ],
)
def test_validation_data_that_are_given_twice_or_in_part_are_refused(given, message):
    net, X, y = case()
    theta = net.theta.copy()
    data = {"X_val": X, "y_val": y, "sample_weight_val": np.ones(N)}
    data |= {"validation_data": (X, y), "validation_split": 0.5}
    with pytest.raises(ValueError, match=message):
        net.fit(X, y, epochs=1, **{name: data[name] for name in given})
    np.testing.assert_array_equal(net.theta, theta)


VALIDATION = [
    (("y_val", lambda X, y, s: y[:3]), "{y} has 3 rows; {X} has 8"),
    (("y_val", lambda X, y, s: y[:1]), "{y} has 1 row; {X} has 8"),
    (("y_val", lambda X, y, s: y + 9), "{y} holds class index 11; they run from 0 to 2"),
    (("y_val", lambda X, y, s: y + 0.5), "{y} must hold class indices .*: write {y}.astype"),
    (("y_val", lambda X, y, s: y[:, None]), "{y} has 1 column; .*: write {y}\\[:, 0\\]"),
    (("y_val", lambda X, y, s: np.eye(3)[y] / 2), "each row of {y} must sum to 1"),
    (("y_val", lambda X, y, s: ["a"] * 8), r"{y} must hold .* np.unique\({y}, return_inv"),
    (("X_val", lambda X, y, s: X[:, :1]), "{X} has 1 column; the network takes 2"),
    (("X_val", lambda X, y, s: X * np.nan), "{X} holds NaN"),
    (("sample_weight_val", lambda X, y, s: s[:3]), "{s} has 3 rows; {X} has 8"),
    (("sample_weight_val", lambda X, y, s: -s), "{s} must not be negative"),
    (("sample_weight_val", lambda X, y, s: 0 * s), "{s} must have a positive, finite sum"),
    (("sample_weight_val", lambda X, y, s: s[:, None]), "{s} must be 1-D"),
]


@NETWORKS
@pytest.mark.parametrize("as_tuple", [False, True])
@pytest.mark.parametrize(("change", "message"), VALIDATION)
def test_errors_name_the_validation_array_that_is_wrong(network, as_tuple, change, message):
    net = network((2, 3), output="softmax", loss="cross_entropy", seed=0)
    X, y, s = np.linspace(0, 1, 16).reshape(8, 2), np.arange(8) % 3, np.ones(8)
    data = {"X_val": X, "y_val": y, "sample_weight_val": s}
    name, changed = change
    data[name] = changed(X, y, s)
    names = [re.escape(f"validation_data[{i}]") for i in range(3)] if as_tuple else [*data]
    given = {"validation_data": tuple(data.values())} if as_tuple else data
    expected = message.format(**dict(zip("Xys", names, strict=True)))
    with pytest.raises((TypeError, ValueError), match=expected):
        net.fit(X, y, epochs=1, **given)


def test_targets_of_numbers_that_are_wrong_are_named():
    net = fastbp.Network((2, 1), loss="poisson", seed=0)
    X, y = np.ones((4, 2)), np.ones(4)
    with pytest.raises(ValueError, match="^y_val must hold counts, none negative, for poisson"):
        net.fit(X, y, X_val=X, y_val=-y)
    with pytest.raises(ValueError, match=r"^y_val has 3 columns; the network has 1 \(widths"):
        net.fit(X, y, X_val=X, y_val=np.ones((4, 3)))


@NETWORKS
def test_a_split_of_classes_is_stratified(network):
    net = network((1, 3), output="softmax", loss="cross_entropy", seed=0)
    labels = np.repeat([0, 1, 2], [20, 12, 8])
    held = []
    original = net._evaluate
    net._evaluate = lambda X, y, s: held.append(np.bincount(y)) or original(X, y, s)
    net.fit(np.zeros((40, 1)), labels, epochs=1, validation_split=0.25)
    assert held[0].tolist() == [5, 3, 2]


def test_splits_that_are_not_possible_are_refused():
    net, X, y = case()
    with pytest.raises(ValueError, match="validation_split must be at least 0 and below 1; got 1"):
        net.fit(X, y, validation_split=1.0)
    with pytest.raises(ValueError, match="validation_data or validation_split, not both"):
        net.fit(X, y, validation_split=0.5, validation_data=(X, y))
    with pytest.raises(ValueError, match="^validation_split 0.01 splits 23 rows into 23 to train"):
        net.fit(X, y, validation_split=0.01)


def test_history_by_name():
    history = fastbp.History()
    history.add({"loss": 1.0, "f1": 0.5})
    assert history["f1"] == history.f1 == [0.5] and history.val_loss == []
    with pytest.raises(KeyError, match="no 'val_loss' in this History; it has loss, f1"):
        history["val_loss"]
