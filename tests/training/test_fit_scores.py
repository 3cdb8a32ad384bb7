"""Metrics in the logs, class weights and partial_fit, in both networks."""

import numpy as np
import pytest
from fit_cases import N, case, classes

import fastbp
from fastbp import metrics, reference
from fastbp.losses import Loss
from fastbp.metrics import _metrics
from fastbp.optim import SGD, Adam

NETWORKS = pytest.mark.parametrize("network", [fastbp.Network, reference.Network])


# ---- metrics by hand ----------------------------------------------------------------------

A = np.array([[0.7, 0.2, 0.1], [0.1, 0.5, 0.4], [0.3, 0.3, 0.4], [0.2, 0.1, 0.7], [0.1, 0.8, 0.1]])
Y = np.array([0, 1, 0, 2, 2])  # predicted: 0 1 2 2 1
S = np.array([1.0, 2.0, 3.0, 4.0, 5.0])


def test_scores_of_classes():
    # class 0: 1 of 1 predictions is right, of 2 samples; 1: 1 of 2, of 1; 2: 1 of 2, of 2
    assert metrics.precision(A, Y) == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert metrics.recall(A, Y) == pytest.approx((1 / 2 + 1 + 1 / 2) / 3)
    assert metrics.f1(A, Y) == pytest.approx((2 / 3 + 2 / 3 + 1 / 2) / 3)
    assert metrics.balanced_accuracy(A, Y) == metrics.recall(A, Y)
    for score in (metrics.precision, metrics.recall, metrics.f1, metrics.balanced_accuracy):
        assert score(A, np.eye(3)[Y]) == score(A, Y), score
    assert metrics.precision(A, Y, S) == pytest.approx((1 + 2 / 7 + 4 / 7) / 3)
    assert metrics.recall(A, Y, S) == pytest.approx((1 / 4 + 1 + 4 / 9) / 3)
    assert metrics.f1(A, Y, S) == pytest.approx((2 / 5 + 4 / 9 + 8 / 16) / 3)


@pytest.mark.parametrize("name", metrics.NAMES)
@pytest.mark.parametrize("rows", [slice(None), slice(1, 2)], ids=["all rows", "one row"])
def test_scores_of_nan_are_nan(name, rows):
    a = A.copy()
    a[rows] = np.nan
    score = getattr(metrics, name)
    assert np.isnan(score(a, np.eye(3)[Y])) and not np.isnan(score(A, np.eye(3)[Y]))
    assert np.isnan(score(np.eye(3)[Y], a, S))
    assert np.isnan(score(a=a, y=np.eye(3)[Y], sample_weight=S))


LOSSES = ["mse", "cross_entropy", "binary_cross_entropy", "hinge", "kl_divergence"]


@pytest.mark.parametrize("loss", LOSSES)
def test_the_default_score_of_nan_is_nan(loss):
    y = Y if loss == "cross_entropy" else np.eye(3)[Y]
    assert np.isnan(_metrics.default_score(Loss(loss), np.full((5, 3), np.nan), y))


def test_scores_of_two_classes_and_of_pairs_are_nan_for_nan():
    assert np.isnan(metrics.binary_accuracy(np.array([[np.nan], [1.0]]), np.ones((2, 1))))
    assert np.isnan(metrics.sign_accuracy(np.array([[np.nan], [1.0]]), np.ones((2, 1))))
    assert np.isnan(metrics.pair_accuracy(np.array([[np.nan], [1.0]])))
    assert np.isnan(_metrics.default_score(Loss("margin_ranking"), np.full((2, 1), np.nan), None))


@NETWORKS
@pytest.mark.parametrize("name", metrics.NAMES)
def test_scores_of_a_network_of_nan_are_nan(network, name):
    net, X, y = classes(network)
    if name in ("r2", "mae", "mse", "rmse"):
        net, X, y = case(network)
    net.theta = np.full(net.theta.size, np.nan)
    score = _metrics.resolve([name], net.criterion)[name]
    assert np.isnan(score(net.predict(X), net._targets(y, len(X)), None))


def test_classes_without_samples_and_predictions_do_not_count():
    wide = np.hstack([A, np.zeros((5, 2))])
    for score in (metrics.precision, metrics.recall, metrics.f1, metrics.balanced_accuracy):
        assert score(wide, Y) == score(A, Y), score
    # a class that is predicted but has no samples has a precision of 0, which counts
    assert metrics.precision(A[:2], np.array([0, 0])) == 1 / 2
    assert metrics.balanced_accuracy(A[:2], np.array([0, 0])) == 1 / 2


def test_scores_of_two_classes_and_of_several_labels():
    a = np.array([[0.9, 0.6], [0.7, 0.4], [0.2, 0.6], [0.8, 0.1]])
    y = np.array([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    assert metrics.precision(a[:, :1], y[:, :1]) == 2 / 3
    assert metrics.recall(a[:, :1], y[:, :1]) == 2 / 3
    assert metrics.balanced_accuracy(a[:, :1], y[:, :1]) == pytest.approx((2 / 3 + 0) / 2)
    # the second output: 1 of 2 predictions is right, of 2 samples
    assert metrics.precision(a, y, multilabel=True) == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert metrics.recall(a, y, multilabel=True) == pytest.approx((2 / 3 + 1 / 2) / 2)
    none = np.zeros((4, 1))
    assert metrics.precision(none, y[:, :1]) == metrics.f1(none, y[:, :1]) == 0.0


def test_top_k_accuracy():
    y = np.array([0, 2, 0, 1, 0])  # numbers of outputs above that of the class: 0 1 1 2 1
    assert [metrics.top_k_accuracy(A, y, k=k) for k in (1, 2, 3)] == [0.2, 0.8, 1.0]
    assert metrics.top_k_accuracy(A, np.eye(3)[y], S, k=2) == pytest.approx(11 / 15)
    assert metrics.top_k_accuracy(A, y, k=1) == metrics.accuracy(A, y)


def test_scores_of_numbers():
    a, y = np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([[2.0, 2.0], [0.0, 1.0]])
    assert metrics.mae(a, y) == 2.0 and metrics.mse(a, y) == 6.5
    assert metrics.rmse(a, y) == pytest.approx(6.5**0.5)
    s = np.array([3.0, 1.0])
    assert metrics.mae(a, y, s) == (3 * 0.5 + 3.5) / 4 and metrics.mse(a, y, s) == (1.5 + 12.5) / 4


def test_scores_against_scikit_learn(rng):
    scores = pytest.importorskip("sklearn.metrics", reason="scikit-learn is optional")
    a, y, s = rng.random((200, 4)), rng.integers(4, size=200), rng.random(200)
    found = a.argmax(axis=1)
    for name in ("precision", "recall", "f1"):
        expected = getattr(scores, f"{name}_score")(y, found, average="macro", sample_weight=s)
        assert getattr(metrics, name)(a, y, s) == pytest.approx(expected, rel=1e-12), name
    expected = scores.balanced_accuracy_score(y, found, sample_weight=s)
    assert metrics.balanced_accuracy(a, y, s) == pytest.approx(expected, rel=1e-12)
    for k in (1, 2, 3):
        expected = scores.top_k_accuracy_score(y, a, k=k, sample_weight=s)
        assert metrics.top_k_accuracy(a, y, s, k=k) == pytest.approx(expected, rel=1e-12), k
    bits = rng.integers(2, size=(200, 4)).astype(float)
    for name in ("precision", "recall", "f1"):
        expected = getattr(scores, f"{name}_score")(bits, a >= 0.5, average="macro")
        score = getattr(metrics, name)(a, bits, multilabel=True)
        assert score == pytest.approx(expected, rel=1e-12), name
    expected = scores.mean_absolute_error(bits, a, sample_weight=s)
    assert metrics.mae(a, bits, s) == pytest.approx(expected, rel=1e-12)


def test_the_meaning_of_a_name_depends_on_the_loss():
    bits, one = np.array([[1.0, 0.0], [1.0, 1.0]]), np.array([[1.0], [0.0]])
    a = np.array([[0.9, 0.1], [0.4, 0.9]])
    by = _metrics.resolve(["accuracy", "f1"], Loss("binary_cross_entropy"))
    assert by["accuracy"](a, bits, None) == 0.75
    assert by["f1"](a, bits, None) == metrics.f1(a, bits, multilabel=True)
    by = _metrics.resolve(["accuracy"], Loss("mse"))
    assert by["accuracy"](a[:, :1], one, None) == 1.0  # one output: two classes
    assert by["accuracy"](a, np.eye(2), None) == 1.0  # several outputs: the largest
    signs = _metrics.resolve(["accuracy", "precision"], Loss("hinge"))
    assert signs["accuracy"](a - 0.5, 2 * bits - 1, None) == 0.75
    assert signs["precision"](a - 0.5, 2 * bits - 1, None) == 1.0
    with pytest.raises(ValueError, match="'mae' needs numbers; cross_entropy has class indices"):
        _metrics.resolve(["mae"], Loss("cross_entropy"))["mae"](a, np.array([0, 1]), None)


@pytest.mark.parametrize(
    ("specs", "error", "message"),
    [
        ("f1", TypeError, r'write metrics=\["accuracy"\]'),
        (3, TypeError, "metrics must be a sequence"),
        (["f2"], ValueError, "unknown metric 'f2'; known: accuracy, top_k"),
        ([3], TypeError, "metric must be a name such as 'accuracy'"),
        (["f1(2)"], ValueError, "takes no number"),
        (["top_k_accuracy(0)"], ValueError, "k of top_k_accuracy must be at least 1"),
        (
            ["top_k_accuracy(2.7)"],
            ValueError,
            "k of top_k_accuracy must be a whole number; got 2.7",
        ),
        (
            ["top_k_accuracy(inf)"],
            ValueError,
            "k of top_k_accuracy must be a whole number; got inf",
        ),
        (
            [lambda a, y, s: 1.0, lambda a, y, s: 2.0],
            ValueError,
            "two metrics are called '<lambda>'",
        ),
        ({"loss": "f1"}, ValueError, "a metric cannot be called 'loss'"),
        ({"val_f1": "f1"}, ValueError, "a metric cannot be called 'val_f1'"),
    ],
)
def test_bad_metrics_are_refused(specs, error, message):
    net, X, y = case()
    with pytest.raises(error, match=message):
        net.fit(X, y, metrics=specs)


# ---- in a fit -----------------------------------------------------------------------------


@NETWORKS
def test_metrics_in_the_logs(network):
    net, X, y = classes(network)

    def share_of_zero(a, y, s):
        return (a.argmax(axis=1) == 0).mean()

    held = (X[:9], y[:9], np.arange(1.0, 10.0))
    names = ["accuracy", "top_k_accuracy(2)", "f1", share_of_zero]
    seen = []
    history = net.fit(
        X,
        y,
        epochs=2,
        validation_data=held,
        metrics=names,
        callbacks=[lambda epoch, logs: seen.append(dict(logs))],
    )
    outputs = net.predict(X)
    assert history["accuracy"][-1] == metrics.accuracy(outputs, y)
    assert history["top_k_accuracy(2)"][-1] == metrics.top_k_accuracy(outputs, y, k=2)
    assert history.val_f1[-1] == metrics.f1(net.predict(held[0]), *held[1:])
    assert history.share_of_zero[-1] == share_of_zero(outputs, y, None)
    assert history.val_accuracy == history.val_score
    assert list(seen[1]) == [
        *("loss", "lr", "accuracy", "top_k_accuracy(2)", "f1", "share_of_zero"),
        *("val_loss", "val_score", "val_accuracy", "val_top_k_accuracy(2)", "val_f1"),
        *("val_share_of_zero", "samples_per_second"),
    ]


@NETWORKS
def test_metrics_as_a_dict_and_with_sample_weights(network):
    net, X, y = case(network)
    s = np.arange(1.0, N + 1)
    history = net.fit(X, y, epochs=1, sample_weight=s, metrics={"error": "rmse"})
    assert history["error"] == [metrics.rmse(net.predict(X), y, s)]


@NETWORKS
def test_margin_ranking_has_only_an_accuracy(network):
    X, s = (
        np.random.default_rng(2).normal(size=(N - 1, 3)),
        np.repeat(np.arange(1.0, N // 2 + 1), 2),
    )
    net = network((3, 4, 1), loss="margin_ranking", dtype="float64", seed=5)
    history = net.fit(X, epochs=1, sample_weight=s, metrics=["accuracy"], validation_data=(X, None))
    outputs = net.predict(X)
    assert history["accuracy"] == [metrics.pair_accuracy(outputs, s)]
    assert history.val_accuracy == history.val_score == [metrics.pair_accuracy(outputs)]
    before = net.theta.copy()
    for name in {*metrics.NAMES} - {"accuracy"}:
        with pytest.raises(ValueError, match=f"'{name}' needs targets; margin_ranking has none"):
            net.fit(X, epochs=1, metrics=[name])
    np.testing.assert_array_equal(net.theta, before)


# ---- class weights ------------------------------------------------------------------------


@NETWORKS
@pytest.mark.parametrize("form", ["labels", "rows"])
@pytest.mark.parametrize("given", ["balanced", {0: 0.5, 2: 4.0}, [0.5, 1.0, 4.0]])
def test_class_weight_multiplies_sample_weight(network, form, given):
    net, X, labels = classes(network)
    twin = classes(network)[0]
    y = labels if form == "labels" else np.eye(3)[labels]
    s = 1.0 + np.arange(N) % 2
    counts = np.bincount(labels)
    factors = N / (3 * counts) if given == "balanced" else np.array([0.5, 1.0, 4.0])
    history = net.fit(X, y, epochs=2, sample_weight=s, class_weight=given, validation_split=0.0)
    other = twin.fit(X, y, epochs=2, sample_weight=s * factors[labels])
    assert history.loss == other.loss
    np.testing.assert_array_equal(net.theta, twin.theta)


def test_balanced_counts_only_the_training_samples():
    net, X, y = classes()
    seen = []
    original = net._session
    net._session = lambda data, *rest: seen.append(data) or original(data, *rest)
    history = net.fit(X, y, epochs=1, class_weight="balanced", validation_split=0.25)
    _, labels, weights = seen[0]
    assert len(labels) == 17 and weights.sum() == pytest.approx(17)
    np.testing.assert_allclose(np.bincount(labels, weights), 17 / 3)
    assert history.val_loss[0] > 0


def test_class_weight_of_two_classes_in_one_column():
    net = fastbp.Network((3, 1), output="sigmoid", loss="binary_cross_entropy", seed=0)
    twin = fastbp.Network((3, 1), output="sigmoid", loss="binary_cross_entropy", seed=0)
    _, X, y = classes(n_classes=2)
    net.fit(X, y, epochs=1, class_weight={1: 3.0})
    twin.fit(X, y, epochs=1, sample_weight=np.where(y == 1, 3.0, 1.0))
    np.testing.assert_array_equal(net.theta, twin.theta)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("even", ValueError, "unknown class_weight 'even'; known: balanced"),
        ({3: 1.0}, ValueError, "names class 3; they run from 0 to 2"),
        ({0: -1.0}, ValueError, r"class_weight\[0\] must not be negative"),
        ({"a": 1.0}, TypeError, "a class of class_weight must be a whole number"),
        ([1.0, 2.0], ValueError, r"has shape \(2,\); there are 3 classes"),
        ([0.0, 0.0, 0.0], ValueError, "positive, finite sum"),
    ],
)
def test_bad_class_weights_are_refused(given, error, message):
    net, X, y = classes()
    with pytest.raises(error, match=message):
        net.fit(X, y, class_weight=given)


def test_class_weight_needs_classes():
    net, X, y = case()
    with pytest.raises(ValueError, match="the targets of squared_error are numbers"):
        net.fit(X, y, class_weight="balanced")


# ---- partial_fit --------------------------------------------------------------------------


@NETWORKS
def test_partial_fits_equal_one_fit(network):
    whole, X, y = case(network)
    parts = case(network)[0]
    history = whole.fit(X, y, epochs=3, batch_size=7)
    losses = [parts.partial_fit(X, y, batch_size=7) for _ in range(3)]
    assert losses == history.loss
    np.testing.assert_array_equal(whole.theta, parts.theta)


def test_partial_fit_keeps_its_optimizer():
    net, X, y = classes()
    adam = Adam()
    for _ in range(2):
        net.partial_fit(X, y, optimizer=adam, batch_size=6)
    assert adam.t == 8
    net.partial_fit(X, y, optimizer="sgd")  # another optimiser starts without a state
    assert net._partial.epochs == 1 and isinstance(net._partial.optimizer, SGD)
    net.partial_fit(X[:5], y[:5], optimizer="sgd", class_weight="balanced")
    assert (net._partial.epochs, net._partial.optimizer.t) == (2, 2)
    with pytest.raises(ValueError, match="X has 2 columns"):
        net.partial_fit(X[:, :2], y, optimizer="sgd")
    assert net._partial.epochs == 2
