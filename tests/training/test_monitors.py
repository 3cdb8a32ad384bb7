"""Monitors of callbacks and schedules: directions of metrics, and checks before training."""

import errno
import inspect

import numpy as np
import pytest
from fit_cases import N, case

import fastbp
from fastbp import metrics, optim, plot, reference, tracking
from fastbp._training.streams import stream
from fastbp.callbacks import (
    CallbackRunner,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    ModelCheckpoint,
    ProgressBar,
    TerminateOnNaN,
)
from fastbp.losses import Loss
from fastbp.metrics import _metrics
from fastbp.schedules import Adaptive, ReduceLROnPlateau, Warmup

NETWORKS = pytest.mark.parametrize("network", [fastbp.Network, reference.Network])
HIGHER = {"accuracy", "top_k_accuracy", "balanced_accuracy", "precision", "recall", "f1", "r2"}
LOWER = {"mae", "mse", "rmse"}


def undeclared(a, y, sample_weight):
    """A metric of the user without a declared direction."""
    return 0.5


@metrics.higher_is_better
def auroc(a, y, sample_weight):
    return 0.5


@metrics.lower_is_better
def brier_score(a, y, sample_weight):
    return 0.5


def watchers(name, **options):
    """One of each class with a monitor, for this entry of the logs."""
    return [
        EarlyStopping(name, **options),
        ModelCheckpoint("unused.safetensors", name, save_best_only=True, **options),
        ReduceLROnPlateau(monitor=name, **options),
        Adaptive(monitor=name, **options),
        Warmup(ReduceLROnPlateau(monitor=name, **options)),
    ]


def fit(watcher, net, X, y, **options):
    """A fit with the watcher as a callback or as the schedule."""
    place = {"callbacks": [watcher]} if hasattr(watcher, "on_epoch_end") else {"schedule": watcher}
    return net.fit(X, y, **options, **place)


def higher(watcher):
    """Whether the watcher takes higher values as better."""
    return getattr(watcher, "then", getattr(watcher, "_monitor", watcher))._higher


# ---- directions of metrics ----------------------------------------------------------------


def test_every_metric_declares_its_direction():
    assert set(metrics.NAMES) == HIGHER | LOWER
    for loss in ("mse", "cross_entropy", "binary_cross_entropy", "hinge", "margin_ranking"):
        names = ["accuracy"] if loss == "margin_ranking" else metrics.NAMES
        for name, metric in _metrics.resolve(names, Loss(loss)).items():
            assert _metrics.direction(metric) is (name in HIGHER), (loss, name)
    for name in metrics.NAMES:
        higher_is_better = name in HIGHER
        assert getattr(metrics, name).greater_is_better is higher_is_better, name
        assert _metrics.direction_of(name) is higher_is_better, name
        assert _metrics.direction_of(f"val_{name}") is higher_is_better, name
    functions = dict(inspect.getmembers(_metrics, inspect.isfunction)).values()
    helpers = (_metrics._counts, _metrics._decisions)
    scores = [f for f in functions if "a" in inspect.signature(f).parameters and f not in helpers]
    assert len(scores) >= 14 and all(hasattr(f, "greater_is_better") for f in scores)


@pytest.mark.parametrize(
    ("name", "up"),
    [
        *((f"{prefix}{name}", True) for name in sorted(HIGHER) for prefix in ("", "val_")),
        *((f"{prefix}{name}", False) for name in sorted(LOWER) for prefix in ("", "val_")),
        ("loss", False),
        ("val_loss", False),
        ("val_score", True),
        ("val_top_k_accuracy(2)", True),
    ],
)
def test_auto_uses_the_declared_direction_of_a_name(name, up):
    stop = EarlyStopping(name)
    for epoch, value in enumerate([2.0, 3.0, 1.0]):
        stop.on_epoch_end(epoch, {name: value})
    assert stop.best == (3.0 if up else 1.0)
    plateau = ReduceLROnPlateau(patience=0, monitor=name)
    plateau.rates(1.0, np.arange(1))
    for value in (2.0, 3.0 if up else 1.0):
        plateau.observe({name: value})
    assert plateau.scale == 1.0
    plateau.observe({name: 2.0})
    assert plateau.scale == 0.1


@pytest.mark.parametrize(
    ("spec", "up"),
    [("accuracy", True), (auroc, True), (brier_score, False), (metrics.mae, False)],
)
@pytest.mark.parametrize("name", ["m", "accuracy_gap", "score"])
@NETWORKS
def test_auto_uses_the_declared_direction_of_a_metric_in_a_fit(network, name, spec, up):
    """Its name in the logs does not matter, even if it is misleading."""
    net, X, y = case(network)
    for prefix in ("", "val_"):
        for watcher in watchers(prefix + name):
            fit(watcher, net, X, y, epochs=1, metrics={name: spec}, validation_data=(X, y))
            assert higher(watcher) is up, (prefix, watcher)


NAMES = ["val_acc", "val_auroc", "mcc", "kappa", "iou", "ndcg", "neg_log_loss", "accuracy_gap"]


@pytest.mark.parametrize("name", [*NAMES, "brier_score", "r2_score", "f1_macro", "lr"])
def test_auto_refuses_names_without_a_direction(name):
    with pytest.raises(ValueError, match=f"cannot tell .*{name}.*pass mode='min' or 'max'"):
        EarlyStopping(name).on_epoch_end(0, {name: 0.5})
    for kind in (ReduceLROnPlateau, Adaptive):
        with pytest.raises(ValueError, match=f"{kind.__name__} cannot tell .*pass mode='min' or"):
            kind(monitor=name).observe({name: 0.5})


@pytest.mark.parametrize("name", ["accuracy", "val_acc", "lr", "samples_per_second"])
@NETWORKS
def test_auto_refuses_undeclared_metrics_before_training(network, name):
    net, X, y = case(network)
    theta, adam = net.theta.copy(), optim.Adam()
    options = {"metrics": {"accuracy": undeclared, "acc": undeclared}, "optimizer": adam}
    for watcher in watchers(name):
        with pytest.raises(ValueError, match=f"cannot tell .*{name}.*pass mode='min' or 'max'"):
            fit(watcher, net, X, y, validation_data=(X, y), **options)
    np.testing.assert_array_equal(net.theta, theta)
    assert adam.t == 0 and adam.moments == []
    for mode in ("min", "max"):
        for watcher in watchers(name, mode=mode):
            fit(watcher, net, X, y, epochs=1, validation_data=(X, y), **options)
            assert higher(watcher) is (mode == "max"), (mode, watcher)


def test_declarations_must_be_true_or_false():
    def odd(a, y, sample_weight):
        return 0.0

    odd.greater_is_better = "yes"
    net, X, y = case()
    with pytest.raises(TypeError, match="greater_is_better must be True or False; got 'yes'"):
        net.fit(X, y, metrics=[odd])


def test_a_direction_is_valid_only_for_its_fit():
    """The same callback may be used in a fit where the name means another metric."""
    net, X, y = case()
    stop = EarlyStopping("m")
    net.fit(X, y, epochs=1, metrics={"m": "mae"}, callbacks=[stop])
    assert higher(stop) is False
    net.fit(X, y, epochs=1, metrics={"m": "r2"}, callbacks=[stop])
    assert higher(stop) is True


# ---- entries of the logs ------------------------------------------------------------------


@NETWORKS
@pytest.mark.parametrize("validation", [False, True])
@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_the_entries_of_the_logs_are_known_before_the_first_epoch(network, validation, optimizer):
    net, X, y = case(network)
    names = []

    class Look:
        def check_logs(self, expected):
            names.append(list(expected))

        def on_epoch_end(self, epoch, logs):
            names.append(list(logs))

    options = {"validation_data": (X, y)} if validation else {}
    optimizer = optim.LBFGS() if optimizer == "lbfgs" else optimizer
    net.fit(
        X, y, epochs=1, optimizer=optimizer, metrics=["mae", auroc], callbacks=[Look()], **options
    )
    assert names[0] == names[1]


def test_logs_of_a_stream_have_no_training_metrics():
    net, X, y = case()
    with pytest.raises(ValueError, match="monitors 'mae', which the logs lack: they hold loss, lr"):
        net.fit(stream(X, y), metrics=["mae"], callbacks=[EarlyStopping("mae")])
    net.fit(
        stream(X, y),
        epochs=1,
        metrics=["mae"],
        validation_data=(X, y),
        callbacks=[EarlyStopping("val_mae")],
    )


@pytest.mark.parametrize("mode", ["auto", "min"])
@NETWORKS
def test_missing_entries_are_refused_before_training(network, mode):
    net, X, y = case(network)
    theta, adam = net.theta.copy(), optim.Adam()
    for watcher in watchers("val_mae", mode=mode):
        with pytest.raises(ValueError, match="monitors 'val_mae', which the logs lack: they ho"):
            fit(watcher, net, X, y, metrics=["mae"], optimizer=adam)
    np.testing.assert_array_equal(net.theta, theta)
    assert adam.moments == []


def test_entries_that_callbacks_add():
    net, X, y = case()

    def add(epoch, logs):
        logs["mine"] = -float(epoch)

    stop = EarlyStopping("mine", mode="max", patience=2)
    assert net.fit(X, y, callbacks=[add, stop]).epochs == 3  # `add` may add any entry
    with pytest.raises(ValueError, match="cannot tell whether higher values of 'mine'"):
        net.fit(X, y, callbacks=[add, EarlyStopping("mine")])
    with pytest.raises(ValueError, match="monitors 'mine', which the logs lack"):
        net.fit(X, y, callbacks=[EarlyStopping("mine", mode="max"), add])  # `add` comes too late
    add.adds_logs = {"mine": True}
    stop = EarlyStopping("mine", patience=2)
    assert net.fit(X, y, callbacks=[add, stop]).epochs == 3 and stop.best == 0
    with pytest.raises(ValueError, match="monitors 'other', which the logs lack: .*mine"):
        net.fit(X, y, callbacks=[add, EarlyStopping("other", mode="max")])
    batches = LambdaCallback(on_batch_end=lambda step, logs: None)  # gets no logs of epochs
    with pytest.raises(ValueError, match="monitors 'other', which the logs lack"):
        net.fit(X, y, callbacks=[batches, EarlyStopping("other", mode="max")])
    add.adds_logs = ["mine"]
    with pytest.raises(TypeError, match=r"adds_logs of .* must be a dict .*; got \['mine'\]"):
        net.fit(X, y, callbacks=[add])


def test_callbacks_of_the_package_add_no_entries():
    kinds = [EarlyStopping, ModelCheckpoint, CSVLogger, TerminateOnNaN, ProgressBar, optim.SWA]
    kinds += [tracking.TensorBoard, tracking.MLflow, tracking.WandB, plot.SignalsRecorder]
    for kind in kinds:
        assert kind.adds_logs == {}, kind


def test_callbacks_run_without_a_fit():
    with CallbackRunner([EarlyStopping("val_loss", patience=1)], net=None) as run:
        assert [run.epoch_end(i, {"val_loss": J}) for i, J in enumerate([1.0, 2.0])] == [
            False,
            True,
        ]


def epochs_as_in_keras(values, patience, min_delta, baseline, start_from_epoch):
    """(epochs, best epoch) of a fit on these losses, by the rule of keras.callbacks.EarlyStopping:

    an epoch from start_from_epoch on counts; an improvement is never the end, and resets the count
    if it also improves on the baseline; otherwise the fit ends once the count reaches patience.
    """
    best, best_epoch, waited = np.inf, None, 0
    for epoch, value in enumerate(values):
        if epoch < start_from_epoch:
            continue
        waited += 1
        if value < best - min_delta:
            best, best_epoch = value, epoch
            if baseline is None or value < baseline - min_delta:
                waited = 0
        elif waited >= patience:
            return epoch + 1, best_epoch
    return len(values), best_epoch


def run_early_stopping(stop, values):
    with CallbackRunner([stop], net=None) as run:
        for epoch, value in enumerate(values):
            if run.epoch_end(epoch, {"val_loss": value}):
                return epoch + 1
    return len(values)


@pytest.mark.parametrize("start_from_epoch", [0, 4])
@pytest.mark.parametrize("baseline", [None, 2.0, -1.0])
@pytest.mark.parametrize("patience", [0, 1, 3])
def test_early_stopping_counts_as_keras_does(patience, baseline, start_from_epoch, rng):
    ended = set()
    for _ in range(50):  # quarters, so that differences from min_delta are exact
        values = (rng.integers(0, 16, 20) / 4 - np.arange(20) // 4 / 4).tolist()
        rule = {"patience": patience, "min_delta": 0.25, "baseline": baseline}
        rule["start_from_epoch"] = start_from_epoch
        stop = EarlyStopping("val_loss", **rule)
        assert (run_early_stopping(stop, values), stop.best_epoch) == epochs_as_in_keras(
            values, **rule
        ), values
        assert stop.best == values[stop.best_epoch]
        ended.add(stop.stopped_epoch)
    assert len(ended) > 1


def test_patience_of_0_stops_at_the_first_epoch_without_improvement():
    stop = EarlyStopping("val_loss", patience=0)
    assert run_early_stopping(stop, [3.0, 2.0, 1.0, 1.0, 0.5]) == 4
    assert (stop.best, stop.best_epoch, stop.stopped_epoch) == (1.0, 2, 3)


def test_a_fit_that_never_beats_the_baseline_stops():
    stop = EarlyStopping("val_loss", mode="max", patience=2, baseline=0.9)
    assert run_early_stopping(stop, [0.1, 0.2, 0.3, 0.4, 0.4, 0.5]) == 5
    stop = EarlyStopping("val_loss", mode="max", patience=2, baseline=0.35)
    assert run_early_stopping(stop, [0.1, 0.2, 0.3, 0.4, 0.4, 0.5]) == 6


@NETWORKS
def test_weights_of_epochs_before_the_first_one_that_counts_are_not_restored(network):
    net, X, y = case(network=network)
    seen = []
    watch = LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(net.theta.copy()) or None)
    losses = LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(mine=float(epoch)))
    losses.adds_logs = {"mine": False}
    stop = EarlyStopping("mine", patience=2, start_from_epoch=3)
    assert net.fit(X, y, epochs=20, callbacks=[watch, losses, stop]).epochs == 6
    assert (stop.best, stop.best_epoch, stop.stopped_epoch) == (3.0, 3, 5)
    np.testing.assert_array_equal(net.theta, seen[3])


def test_arguments_of_early_stopping_are_checked():
    with pytest.raises(ValueError, match="start_from_epoch must not be negative; got -1"):
        EarlyStopping(start_from_epoch=-1)
    with pytest.raises(TypeError, match="start_from_epoch must be a whole number"):
        EarlyStopping(start_from_epoch=1.5)
    with pytest.raises(ValueError, match="patience must not be negative; got -1"):
        EarlyStopping(patience=-1)
    for baseline in ("0.5", True):
        with pytest.raises(TypeError, match="baseline must be a number"):
            EarlyStopping(baseline=baseline)
    with pytest.raises(ValueError, match="baseline must be finite"):
        EarlyStopping(baseline=float("nan"))


def test_csv_columns_are_compared_before_training(tmp_path):
    net, X, y = case()
    path = tmp_path / "log.csv"
    net.fit(X, y, epochs=1, callbacks=[CSVLogger(path)])
    before, theta = path.read_bytes(), net.theta.copy()
    with pytest.raises(ValueError, match="has the columns .*; the logs have .*mae"):
        net.fit(X, y, metrics=["mae"], callbacks=[CSVLogger(path, append=True)])
    with pytest.raises(ValueError, match="monitors 'val_loss'"):
        net.fit(X, y, callbacks=[CSVLogger(path), EarlyStopping()])
    assert path.read_bytes() == before
    np.testing.assert_array_equal(net.theta, theta)


# ---- paths of ModelCheckpoint -------------------------------------------------------------

PATHS = [
    (
        "net-{val_acc}.safetensors",
        ValueError,
        r"field \{val_acc\}; the logs hold epoch, loss, lr, m",
    ),
    ("net-{}.safetensors", ValueError, r"field \{\}; .*write \{\{ and \}\} for braces"),
    ("{}/net.safetensors", ValueError, "fields belong in its last part.*write {{ and }}"),
    ("run-{epoch}/net.safetensors", ValueError, "fields belong in its last part"),
    ("net-{epoch.safetensors", ValueError, "cannot be used: .*write {{ and }}"),
    ("net-}.safetensors", ValueError, "cannot be used: .*write {{ and }}"),
    ("net-{epoch:.3q}.safetensors", ValueError, "cannot be filled in: .*'q'"),
    ("net-{mae:d}.safetensors", ValueError, "cannot be filled in: .*'d'"),
    ("missing/net.safetensors", FileNotFoundError, "missing"),
    ("folder", IsADirectoryError, "folder"),
]


@NETWORKS
@pytest.mark.parametrize(("path", "error", "message"), PATHS, ids=[path for path, *_ in PATHS])
def test_bad_paths_are_refused_before_training(network, path, error, message, tmp_path):
    (tmp_path / "folder").mkdir()
    net, X, y = case(network)
    theta = net.theta.copy()
    with pytest.raises(error, match=message):
        net.fit(X, y, metrics=["mae"], callbacks=[ModelCheckpoint(tmp_path / path)])
    np.testing.assert_array_equal(net.theta, theta)
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_an_unwritable_folder_is_refused_before_training(tmp_path, monkeypatch):
    def refuse(folder, mode):  # root may write to every folder
        raise PermissionError(errno.EACCES, "Permission denied")

    net, X, y = case()
    monkeypatch.setattr("fastbp._files.atomic._create", refuse)
    with pytest.raises(PermissionError, match="Permission denied"):
        net.fit(X, y, callbacks=[ModelCheckpoint(tmp_path / "net.safetensors")])


def test_a_path_may_contain_every_metric(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(N, 3)), np.arange(N) % 3
    net = fastbp.Network((3, 4, 3), output="softmax", loss="cross_entropy", seed=0)

    def dotted(a, y, sample_weight):
        return 0.25

    dotted.__name__ = "module.dotted[0]"
    for scores, name in [
        (["top_k_accuracy(2)", dotted], "{val_top_k_accuracy(2):.0f}-{module.dotted[0]:.2f}"),
        ({"top2": "top_k_accuracy(2)"}, "{val_top2:.0f}-{epoch}"),
        (["accuracy"], "{{epoch}}-{samples_per_second:.0f}-{lr!r}"),
    ]:
        keep = ModelCheckpoint(tmp_path / f"{name}.safetensors")
        net.fit(X, y, epochs=1, metrics=scores, validation_data=(X, y), callbacks=[keep])
        assert fastbp.load(keep.last_path).widths == (3, 4, 3)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 3 and sum(n.endswith("-0.25.safetensors") for n in names) == 1
    assert sum(n.startswith("{epoch}-") for n in names) == 1


def test_braces_in_a_folder_can_be_doubled(tmp_path):
    (tmp_path / "{run}").mkdir()
    net, X, y = case()
    keep = ModelCheckpoint(f"{tmp_path}/{{{{run}}}}/net-{{epoch}}.safetensors")
    net.fit(X, y, epochs=1, callbacks=[keep])
    assert [p.name for p in (tmp_path / "{run}").iterdir()] == ["net-0.safetensors"]
