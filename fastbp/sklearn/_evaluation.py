"""The fits of a search, and their scores on the folds."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from numbers import Integral
from time import perf_counter
from traceback import format_exception
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.metrics._scorer import _PassthroughScorer
from sklearn.model_selection._validation import _score
from sklearn.pipeline import Pipeline
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.validation import _check_method_params, _num_samples

from .._types import Array
from ..population._halving import Bracket, Plan
from ._classifier import MLPClassifier
from ._estimator import BaseMLP
from ._together import Job, fit_jobs

Parameters = Mapping[str, Any]
Split = tuple[Array, Array]


class Iterations(NamedTuple):
    """The results of a halving, one iteration after the other.

    Attributes
    ----------
    out : list of dict
        What scikit-learn's `_format_results` takes: a dict per fit, the folds in a row.
    candidates : list of int
        The number of each candidate that was scored, once for each of its iterations.
    numbers : list of int
        The number of the iteration of each of these.
    """

    out: list[dict[str, Any]]
    candidates: list[int]
    numbers: list[int]


class Evaluation:
    """The scores of candidates on the folds of one data set.

    Parameters
    ----------
    search : PopulationSearchCV
        The search, for its parameters.
    scorers : callable
        A scorer of scikit-learn.
    routed : Bunch
        The arguments of `fit`, by where they go.
    X, y : array-like
        All data.
    splits : list
        (training rows, held-out rows) of each fold.
    """

    def __init__(
        self,
        search: Any,
        scorers: Any,
        routed: Any,
        X: Any,
        y: Any,
        splits: Sequence[Split],
    ) -> None:
        self._search, self._scorers, self._routed = search, scorers, routed
        self._X, self._y, self._splits = X, y, splits
        self._held_out = [
            _safe_split(search.estimator, X, y, test, train) for train, test in splits
        ]
        self._n_threads, self._catch = search.n_threads or 0, search.error_score != "raise"

    def of(
        self, candidates: Sequence[Parameters], estimators: Sequence[Any]
    ) -> list[dict[str, Any]]:
        """What scikit-learn's `_format_results` takes: a dict per fit, the folds in a row."""
        jobs = self._jobs(candidates, estimators)
        begun = perf_counter()
        errors = fit_jobs(jobs, self._n_threads, catch=self._catch)
        seconds = (perf_counter() - begun) / len(jobs)
        return [
            self._scored(job, error, k % len(self._splits)) | {"fit_time": seconds}
            for k, (job, error) in enumerate(zip(jobs, errors, strict=True))
        ]

    def halved(
        self,
        candidates: Sequence[Parameters],
        estimators: Sequence[Any],
        plan: Plan,
        metric: str | None,
    ) -> Iterations:
        """The same for a halving that compares the means of one score over the folds.

        `metric` is the name of that score if there are several.
        """
        jobs, n = self._jobs(candidates, estimators), len(self._splits)
        found = Iterations([], [], [])
        seconds, begun = 0.0, perf_counter()

        def score(
            rung: int, remaining: Sequence[int], ended: Mapping[int, Exception | None]
        ) -> list[float]:
            nonlocal seconds, begun
            fits = [k * n + fold for k in remaining for fold in range(n)]
            seconds += (perf_counter() - begun) / len(fits)
            out = [self._scored(jobs[k], ended.get(k), k % n) | {"fit_time": seconds} for k in fits]
            found.out.extend(out)
            found.candidates.extend(remaining)
            found.numbers.extend([rung] * len(remaining))
            begun = perf_counter()
            numbers = np.array([self._number(result, metric) for result in out])
            return [float(mean) for mean in numbers.reshape(-1, n).mean(axis=1)]

        bracket: Bracket[Exception | None] = Bracket(plan, score, n)
        errors = fit_jobs(jobs, self._n_threads, catch=self._catch, judge=bracket)
        bracket.finish(dict(enumerate(errors)))
        return found

    def _number(self, result: Mapping[str, Any], metric: str | None) -> float:
        """The score of a fit by which its candidate is compared."""
        found = result["test_scores"]
        if result["fit_error"] is not None:
            return float(self._search.error_score)
        if not isinstance(found, dict):
            return float(found)
        if metric not in found:
            raise ValueError(
                "factor compares candidates by one score, and scoring gives "
                f"{', '.join(found)}: name one of them in refit"
            )
        return float(found[metric])

    def _jobs(self, candidates: Sequence[Parameters], estimators: Sequence[Any]) -> list[Job]:
        """A fit for each candidate and fold, the folds in a row."""
        search, splits = self._search, self._splits
        data = [_safe_split(search.estimator, self._X, self._y, train) for train, _ in splits]
        arguments = [
            _check_method_params(self._X, params=self._routed.estimator.fit, indices=train)
            for train, _ in splits
        ]
        return [
            Job(clone(est), data[fold], arguments[fold], _steps_key(search.estimator, candidate))
            for candidate, est in zip(candidates, estimators, strict=True)
            for fold in range(len(splits))
        ]

    def _scored(self, job: Job, error: Exception | None, fold: int) -> dict[str, Any]:
        """The scores of an estimator that was trained on a fold, or failed to be."""
        search, (train, test) = self._search, self._splits[fold]
        result: dict[str, Any] = {"fit_error": None, "score_time": 0.0}
        X, y = self._held_out[fold]
        result["n_test_samples"] = _num_samples(X)
        if error is not None:
            result["fit_error"] = "".join(format_exception(error))
            names = getattr(self._scorers, "_scorers", None)
            failed: Any = search.error_score
            if names is not None:
                failed = dict.fromkeys(names, search.error_score)
            return result | dict.fromkeys(self._kinds(), failed)
        begun = perf_counter()
        result["test_scores"] = self._score(job.estimator, X, y, test)
        result["score_time"] = perf_counter() - begun
        if search.return_train_score:
            result["train_scores"] = self._score(job.estimator, *job.data, train)
        return result

    def _kinds(self) -> list[str]:
        return ["test_scores"] + ["train_scores"] * bool(self._search.return_train_score)

    def _score(self, est: Any, X: Any, y: Any, rows: Array) -> Any:
        given = _check_method_params(self._X, params=self._routed.scorer.score, indices=rows)
        scorers = self._scorers
        if isinstance(scorers, _PassthroughScorer) and not given and _has_accuracy(est, y):
            scorers = _accuracy
        return _score(est, X, y, scorers, given, self._search.error_score)


def _has_accuracy(est: Any, y: Any) -> bool:
    """Whether `score` of an estimator is the accuracy, for labels that need no further check."""
    several = type(est) is Pipeline
    last = est.steps[-1][1] if several else est
    plain = type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "biuU"
    return type(last) is MLPClassifier and plain and y.dtype.kind == last.classes_.dtype.kind


def _accuracy(est: Any, X: Any, y: Array) -> float:
    """What `score` returns, number for number, without scikit-learn's checks of the labels."""
    return float(np.average(est.predict(X) == y))


def _steps_key(estimator: object, candidate: Parameters) -> Hashable:
    """Equal for candidates that leave the steps before the last one of a Pipeline the same."""
    if not isinstance(estimator, Pipeline):
        return None
    last = estimator.steps[-1][0]
    return tuple(
        (name, id(value))
        for name, value in sorted(candidate.items(), key=lambda each: each[0])
        if name.partition("__")[0] != last
    )


def epochs_of(estimator: Any) -> int | None:
    """The most epochs of a fit; None if it has none. A value that fits refuse counts as 1."""
    last = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    if not isinstance(last, BaseMLP) or last.solver == "lbfgs":
        return None
    given = last.max_iter
    return int(given) if isinstance(given, Integral) and given > 0 else 1
