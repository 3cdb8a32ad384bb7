"""The score of a model on held-out rows, beside that of the best constant prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .._training.splits import hold_out
from .._types import Array
from ..metrics import r2
from ..tabular import Table
from ..tabular._preprocessing import Preprocessing


class Score(NamedTuple):
    """A score in words, and the constant prediction if that has a better one, otherwise ""."""

    text: str
    better: str


def describe(prep: Preprocessing, outputs: Array, test: Table, train: Table) -> Score:
    """Return the score of outputs (n, n_outputs) for the rows of `test`, in words.

    The constant prediction comes from `train`: its most frequent class, or its mean.
    """
    answers = prep.answers(outputs)
    if prep.task == "classification":
        classes, of_train = (prep.targets(each, outputs.dtype) for each in (test, train))
        return of_classes(outputs, answers, classes, of_train)
    return of_numbers(answers, test, train, prep.target)


def of_numbers(answers: Array, test: Table, train: Table, names: tuple[str, ...]) -> Score:
    """Return the score of a regression whose answers (n, k) for `test` are in its units."""
    target = test.require_target().reshape(answers.shape).astype(np.float64)
    of_train = train.require_target().reshape(train.n_rows, -1).astype(np.float64)
    mean = np.broadcast_to(of_train.mean(axis=0), target.shape)
    reached, constant = r2(answers, target), r2(mean, target)
    text = (
        f"test R2: {reached:.4f}; root mean square error: "
        f"{_errors(answers, target, names)}; the mean of the training rows has R2 "
        f"{constant:.4f} and {_errors(mean, target, names)}"
    )
    return Score(text, "the mean of the training rows" if reached < constant else "")


def split(table: Table, fraction: float, task: str, seed: int) -> tuple[Array | None, Table | None]:
    """Return the indices of the training rows (None for all of them), and the held-out rows."""
    if fraction == 0:
        return None, None
    target = table.require_target()
    labels = target if task == "classification" and target.ndim == 1 else None
    train_rows, rows = hold_out(table.n_rows, fraction, "--hold-out", seed=seed, labels=labels)
    return train_rows, table.take(rows)


def describe_members(prep: Preprocessing, outputs: Array, test: Table, seeds: Sequence[int]) -> str:
    """Return the range and the mean of the scores of members, from their outputs (K, n, n_L)."""
    answers = [prep.answers(each) for each in outputs]
    if prep.task == "classification":
        classes = prep.targets(test, outputs.dtype)
        name, unit = "accuracy", " %"
        found = [100 * float((each == classes).mean()) for each in answers]
    else:
        target = test.require_target().reshape(answers[0].shape).astype(np.float64)
        name, unit = "R2", ""
        found = [r2(each, target) for each in answers]
    digits = 2 if unit else 4
    low, high = int(np.argmin(found)), int(np.argmax(found))
    return (
        f"members: test {name} from {found[low]:.{digits}f}{unit} (seed {seeds[low]}) to "
        f"{found[high]:.{digits}f}{unit} (seed {seeds[high]}), mean "
        f"{np.mean(found):.{digits}f}{unit}"
    )


def area_under_roc(scores: Array, positive: Array) -> float:
    """Return the probability that a positive row has a higher score than another one.

    This is the area under the ROC curve; equal scores count half. NaN if all rows are of one kind.

    >>> area_under_roc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True]))
    0.875
    """
    n_positive = int(positive.sum())
    n_pairs = n_positive * (len(positive) - n_positive)
    if n_pairs == 0:
        return float("nan")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    below = np.cumsum(counts) - counts
    ranks = (below + (counts + 1) / 2)[place]  # from 1; equal scores share their mean rank
    return float((ranks[positive].sum() - n_positive * (n_positive + 1) / 2) / n_pairs)


def of_classes(outputs: Array, answers: Array, classes: Array, of_train: Array) -> Score:
    """Return the score of a classification: all are numbers of classes, outputs probabilities."""
    most_frequent = int(np.bincount(of_train, minlength=outputs.shape[1]).argmax())
    n, right = len(classes), int((answers == classes).sum())
    of_constant = int((classes == most_frequent).sum())
    text = (
        f"test accuracy: {100 * right / n:.2f} % ({right} of {n}); the most frequent class has "
        f"{100 * of_constant / n:.2f} %"
    )
    if outputs.shape[1] == 2:
        area = area_under_roc(outputs[:, 1], classes == 1)
        if not np.isnan(area):
            text += f"; AUC {area:.4f}"
    return Score(text, "the most frequent class" if right < of_constant else "")


def _errors(answers: Array, target: Array, names: tuple[str, ...]) -> str:
    """Return the root mean square error of each target."""
    errors = np.sqrt(((answers - target) ** 2).mean(axis=0))
    return ", ".join(f"{error:.6g} ({name})" for error, name in zip(errors, names, strict=True))
