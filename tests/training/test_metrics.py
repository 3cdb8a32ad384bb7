"""Scores against results computed by hand."""

import numpy as np
import pytest

from fastbp.losses import Loss
from fastbp.metrics import accuracy, binary_accuracy, r2
from fastbp.metrics._metrics import default_score

A = np.array([[0.7, 0.2, 0.1], [0.1, 0.5, 0.4], [0.3, 0.3, 0.4], [0.2, 0.1, 0.7]])


def test_accuracy():
    labels = np.array([0, 1, 0, 2])
    assert accuracy(A, labels) == 0.75
    assert accuracy(A, np.eye(3)[labels]) == 0.75
    assert accuracy(A, labels, np.array([1.0, 1.0, 6.0, 0.0])) == 0.25


def test_binary_accuracy_counts_all_outputs():
    a = np.array([[0.5, 0.25], [0.75, 0.75]])
    y = np.array([[1.0, 1.0], [1.0, 1.0]])
    assert binary_accuracy(a, y) == 0.75
    assert binary_accuracy(a, y, np.array([3.0, 1.0])) == 0.625


def test_r2():
    y = np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 4.0]])
    assert r2(y, y) == 1
    mean = np.broadcast_to(y.mean(axis=0), y.shape)
    assert r2(mean, y) == 0
    # outputs: 1 - 4/8 and 1 - 3/6
    assert r2(y + [[2.0, 1.0], [0.0, 1.0], [0.0, 1.0]], y) == 0.5


def test_weights_in_r2_count_as_repetitions():
    rng = np.random.default_rng(0)
    a, y = rng.integers(-8, 8, (2, 5, 2)).astype(float)
    times = np.array([1, 2, 4, 1, 8])  # the sum is 16, so that both means are exact
    repeated = r2(np.repeat(a, times, axis=0), np.repeat(y, times, axis=0))
    assert r2(a, y, times.astype(float)) == repeated


def test_r2_of_a_constant_target():
    y = np.ones((3, 1))
    assert r2(y, y) == 1
    assert r2(y + 0.5, y) == 0


@pytest.mark.parametrize(
    ("loss", "score"),
    [
        ("cross_entropy", accuracy),
        ("binary_cross_entropy", binary_accuracy),
        ("mse", r2),
        ("squared_error", r2),
    ],
)
def test_default_score(loss, score):
    y, s = np.eye(3)[[0, 1, 0, 2]], np.array([1.0, 2.0, 3.0, 4.0])
    assert default_score(Loss(loss), A, y) == score(A, y)
    assert default_score(Loss(loss), A, y, s) == score(A, y, s)
    assert isinstance(default_score(Loss(loss), A.astype(np.float32), y.astype(np.float32)), float)


def test_scores_of_losses_whose_outputs_are_not_the_targets():
    y = np.array([[1.0], [2.0], [4.0]])
    a = np.hstack([y - 1, y, y + 1])
    assert default_score(Loss("quantile(0.1, 0.5, 0.9)"), a, y) == 1
    assert default_score(Loss("quantile(0.1, 0.4, 0.9)"), a, y) == 1  # 0.4 is next to the median
    assert default_score(Loss("gaussian_nll"), np.hstack([y, 0 * y]), y) == 1
    assert default_score(Loss("poisson"), np.log(y), y) == pytest.approx(1)
    assert default_score(Loss("poisson(log_input=false)"), y, y) == 1
    assert default_score(Loss("hinge"), np.array([[3.0], [-2.0]]), np.array([[1.0], [1.0]])) == 0.5
    scores, s = np.array([[2.0], [1.0], [0.0], [3.0]]), np.array([3.0, 9.0, 1.0, 9.0])
    assert default_score(Loss("margin_ranking"), scores, None) == 0.5
    assert default_score(Loss("margin_ranking"), scores, None, s) == 0.75
