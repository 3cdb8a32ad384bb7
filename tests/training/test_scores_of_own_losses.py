"""`val_score` of formulas and functions: the score that they name, or none."""

import pickle

import numpy as np
import pytest
from fit_cases import N, case

import fastbp
from fastbp import gates, metrics, plot, reference
from fastbp.callbacks import CSVLogger, EarlyStopping, ModelCheckpoint, ProgressBar, TerminateOnNaN
from fastbp.losses import CustomLoss, FormulaLoss
from fastbp.metrics._metrics import default_score
from fastbp.schedules import ReduceLROnPlateau

NETWORKS = pytest.mark.parametrize("network", [fastbp.Network, reference.Network])


def squared(a, y):
    return gates.sum((a - y) ** 2)


def function(a, y):
    return ((a - y) ** 2).sum(axis=1), 2 * (a - y)


def share_near(a, y, sample_weight):
    return float((abs(a - y) < 0.5).mean())


LOSSES = {
    "formula": lambda score=None: gates.loss(squared, score=score),
    "function": lambda score=None: CustomLoss(function, score=score),
}
KINDS = pytest.mark.parametrize("kind", LOSSES)


@NETWORKS
@KINDS
def test_a_loss_without_a_score_has_no_val_score(network, kind, tmp_path, capsys):
    net, X, y = case(network, loss=LOSSES[kind]())
    assert np.isnan(default_score(net.criterion, y, y))
    log = tmp_path / "log.csv"
    callbacks = [CSVLogger(log), ProgressBar(2), TerminateOnNaN()]
    history = net.fit(X, y, epochs=2, validation_data=(X, y), metrics=["r2"], callbacks=callbacks)
    names = ["loss", "r2", "val_loss", "val_r2", "lr", "samples_per_second"]
    assert history.val_score == [] and sorted(history.series()) == sorted(names)
    assert "val_score" not in repr(history) + history._repr_html_()
    assert "val_score" not in log.read_text()
    assert "val_score" not in capsys.readouterr().err
    assert history.stopped_by is None


@KINDS
def test_plots_have_no_val_score(kind):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    net, X, y = case(loss=LOSSES[kind]())
    history = net.fit(X, y, epochs=2, validation_data=(X, y))
    drawn = plot.HistoryDisplay.from_history(history)
    assert "val_score" not in [line.get_label() for line in drawn.ax_.get_lines()]


@NETWORKS
@KINDS
@pytest.mark.parametrize("score", ["r2", "mae", "R2", "sign_accuracy", "accuracy"])
def test_a_loss_with_a_score_is_scored_by_it(network, kind, score):
    net, X, y = case(network, loss=LOSSES[kind](score))
    s = np.arange(1.0, N + 1)
    history = net.fit(X, y, epochs=2, validation_data=(X, y, s))
    expected = getattr(metrics, score.lower())(net.predict(X), y, s)
    assert history.val_score[-1] == expected
    assert default_score(net.criterion, net.predict(X), y, s) == expected


@NETWORKS
def test_a_score_may_be_a_function(network):
    net, X, y = case(network, loss=CustomLoss(function, score=share_near))
    history = net.fit(X, y, epochs=2, validation_data=(X, y))
    assert history.val_score[-1] == share_near(net.predict(X), y, None)
    with pytest.raises(ValueError, match="cannot tell whether higher values of 'val_score'"):
        net.fit(X, y, validation_data=(X, y), callbacks=[EarlyStopping("val_score")])
    stop = EarlyStopping("val_score", mode="max")
    net.fit(X, y, epochs=2, validation_data=(X, y), callbacks=[stop])
    assert stop.best >= 0


def test_a_score_of_scikit_learn():
    sklearn_metrics = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn")
    score = sklearn_metrics.median_absolute_error
    net, X, y = case(loss=CustomLoss(function, score=score))
    history = net.fit(X, y, epochs=1, validation_data=(X, y))
    assert history.val_score[-1] == score(y, net.predict(X))


@KINDS
def test_the_direction_of_a_score_is_that_of_its_metric(kind):
    net, X, y = case(loss=LOSSES[kind]("mae"))
    stop = EarlyStopping("val_score", patience=50)
    history = net.fit(X, y, epochs=5, validation_data=(X, y), callbacks=[stop])
    assert stop.best == min(history.val_score)


@KINDS
def test_monitors_of_a_missing_score_say_how_to_name_one(kind, tmp_path):
    net, X, y = case(loss=LOSSES[kind]())
    theta = net.theta.copy()
    wanted = r"'val_score', which the logs lack: .*names no score: use gates.loss\(.*, score='r2'\)"
    keep = ModelCheckpoint(tmp_path / "net", monitor="val_score", save_best_only=True)
    for options in (
        {"callbacks": [EarlyStopping("val_score")]},
        {"callbacks": [keep]},
        {"schedule": ReduceLROnPlateau(monitor="val_score")},
    ):
        with pytest.raises(ValueError, match=wanted):
            net.fit(X, y, validation_data=(X, y), **options)
    with pytest.raises(ValueError, match="val_loss needs X_val and y_val, validation_data or"):
        net.fit(X, y, callbacks=[EarlyStopping("val_score")])
    np.testing.assert_array_equal(net.theta, theta)


@NETWORKS
def test_scores_of_classes(network):
    loss = gates.loss(
        lambda a, y: gates.logsumexp(a) - gates.sum(a * y),
        targets="classes",
        score="top_k_accuracy(2)",
    )
    net = network((3, 4, 5), loss=loss, dtype="float64", seed=0)
    X, labels = case()[1], np.arange(N) % 5
    history = net.fit(X, labels, epochs=1, validation_data=(X, labels), metrics=["accuracy"])
    assert history.val_score[-1] == metrics.top_k_accuracy(net.predict(X), labels, k=2)
    assert history.val_accuracy[-1] == metrics.accuracy(net.predict(X), labels)


def test_decisions_of_several_labels():
    """With score="binary_accuracy", metrics see one decision per output, as for the built-in."""
    loss = gates.loss(lambda a, y: -gates.sum(y * gates.log(a)), score="binary_accuracy")
    net = fastbp.Network((3, 4, 2), output="sigmoid", loss=loss, dtype="float64", seed=0)
    X = case()[1]
    y = (X[:, :2] > 0) * 1.0
    history = net.fit(X, y, epochs=1, validation_data=(X, y), metrics=["accuracy", "f1"])
    a = net.predict(X)
    assert history.val_score == history.val_accuracy == [metrics.binary_accuracy(a, y)]
    assert history.val_f1 == [metrics.f1(a, y, multilabel=True)]


def test_scores_survive_files_copies_and_pickles(tmp_path):
    net, X, y = case(loss=gates.loss(squared, score="mae"))
    net.save(tmp_path / "net.safetensors")
    loaded = fastbp.load(tmp_path / "net.safetensors")
    for copy in (loaded, pickle.loads(pickle.dumps(net))):
        assert copy.criterion == net.criterion and copy.criterion.score == "mae"
        assert copy.fit(X, y, epochs=1, validation_data=(X, y)).val_score
    assert FormulaLoss(str(net.criterion)).score == "mae"
    made = CustomLoss(function, score="mae")
    assert pickle.loads(pickle.dumps(made)) == made != CustomLoss(function)
    assert made.score == "mae"


def test_scores_that_are_not_possible_are_refused():
    with pytest.raises(TypeError, match=r"model files can hold; .*fit\(metrics=...\)"):
        gates.loss(squared, score=share_near)
    with pytest.raises(TypeError, match="name of a metric, such as 'r2', or a function; got 3"):
        CustomLoss(function, score=3)
    with pytest.raises(ValueError, match="name of a metric, such as 'r2'; got 'r2, per=unit'"):
        gates.loss(squared, score="r2, per=unit")
    for make in LOSSES.values():
        for score, message in (
            ("r3", "unknown score 'r3'; known: accuracy, .*binary_accuracy, sign_accuracy"),
            ("mae(2)", "'mae' takes no number"),
            ("sign_accuracy(2)", "score 'sign_accuracy' takes no number"),
        ):
            with pytest.raises(ValueError, match=message):
                case(loss=make(score))
    with pytest.raises(TypeError, match="metric 'score' takes"):
        case(loss=CustomLoss(function, score=lambda a: 1.0))
    with pytest.raises(ValueError, match="compares the 2 outputs .* are 3 numbers per row: name"):
        case(loss=CustomLoss(function, n_targets=3, score="r2"))
    classes = gates.loss(squared, targets="classes", score="r2")
    with pytest.raises(ValueError, match="the targets of formula.* are classes: name another"):
        case(loss=classes)


def test_a_function_pickled_by_version_0_1_has_no_score():
    made = CustomLoss(function)
    vars(made).pop("score")  # as version 0.1 pickled it
    assert made.score is None
