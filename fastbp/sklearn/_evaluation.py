"""The fits of a search, and their scores on the folds."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
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
from ._workers import RankWorkers, Workers

Parameters = Mapping[str, Any]
Split = tuple[Array, Array]
Result = dict[str, Any]  # of a fit, as scikit-learn's `_format_results` takes it


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

    out: list[Result]
    candidates: list[int]
    numbers: list[int]


class Fit(NamedTuple):
    """A candidate to be trained on a fold.

    Attributes
    ----------
    estimator : estimator
        The candidate; a copy of it is trained.
    fold : int
        The number of the fold.
    steps_key : hashable
        Equal for candidates that leave the steps before the last one of a Pipeline the same.
    """

    estimator: Any
    fold: int
    steps_key: Hashable


@dataclass(frozen=True)
class Settings:
    """What the fits and scores of a search need besides the data, in whichever process they are.

    Attributes
    ----------
    estimator : estimator
        The estimator of the search.
    scorers : callable
        A scorer of scikit-learn.
    fit_arguments, score_arguments : mapping
        The arguments of `fit` of the estimators, and of the scorers.
    error_score : "raise" or float
        The score of a fit that fails.
    return_train_score : bool
        Whether to score the training rows too.
    n_threads : int
        The most threads of one process; 0 for `fastbp.get_num_threads()`.
    """

    estimator: Any
    scorers: Any
    fit_arguments: Mapping[str, Any]
    score_arguments: Mapping[str, Any]
    error_score: Any
    return_train_score: bool
    n_threads: int

    @property
    def catch(self) -> bool:
        """Whether a fit that fails gets a score."""
        return bool(self.error_score != "raise")


class Folds:
    """Fits on the folds of one data set, and their scores.

    Parameters
    ----------
    settings : Settings
        What is fitted and scored, and how.
    X, y : array-like
        All data.
    splits : mapping
        (training rows, held-out rows) by the number of the fold.
    """

    def __init__(self, settings: Settings, X: Any, y: Any, splits: Mapping[int, Split]) -> None:
        self._settings, self._X, self._y, self._splits = settings, X, y, splits
        estimator = settings.estimator
        self._held_out = {
            fold: _safe_split(estimator, X, y, test, train)
            for fold, (train, test) in splits.items()
        }

    def jobs(self, fits: Sequence[Fit]) -> list[Job]:
        """The fits, for `fit_jobs`."""
        data = {}
        for fold, (train, _) in self._splits.items():
            rows = _safe_split(self._settings.estimator, self._X, self._y, train)
            given = self._settings.fit_arguments
            data[fold] = rows, _check_method_params(self._X, params=given, indices=train)
        return [Job(clone(est), *data[fold], steps_key) for est, fold, steps_key in fits]

    def fitted(self, jobs: Sequence[Job], judge: Any = None) -> list[Exception | None]:
        """Fit jobs; returns for each the exception that its fit raised."""
        settings = self._settings
        return fit_jobs(jobs, settings.n_threads, catch=settings.catch, judge=judge)

    def evaluated(self, fits: Sequence[Fit], epochs: int | None) -> list[Result]:
        """Train fits and score them: as they are after some epochs, or at their ends if None."""
        jobs = self.jobs(fits)
        begun = perf_counter()

        def scored(ended: Mapping[int, Exception | None]) -> list[Result]:
            seconds = (perf_counter() - begun) / len(jobs)
            return [
                self.scored(job, fit.fold, ended.get(k), seconds)
                for k, (job, fit) in enumerate(zip(jobs, fits, strict=True))
            ]

        judge = None if epochs is None else _EndOfAll(epochs, scored)
        ended = dict(enumerate(self.fitted(jobs, judge)))
        return scored(ended) if judge is None or judge.out is None else judge.out

    def scored(self, job: Job, fold: int, error: Exception | None, seconds: float) -> Result:
        """The scores of an estimator that was trained on a fold, or failed to be."""
        settings, (train, test) = self._settings, self._splits[fold]
        result: Result = {"fit_error": None, "fit_time": seconds, "score_time": 0.0}
        X, y = self._held_out[fold]
        result["n_test_samples"] = _num_samples(X)
        if error is not None:
            result["fit_error"] = "".join(format_exception(error))
            names = getattr(settings.scorers, "_scorers", None)
            failed = settings.error_score
            if names is not None:
                failed = dict.fromkeys(names, failed)
            kinds = ["test_scores"] + ["train_scores"] * bool(settings.return_train_score)
            return result | dict.fromkeys(kinds, failed)
        begun = perf_counter()
        result["test_scores"] = self._score(job.estimator, X, y, test)
        result["score_time"] = perf_counter() - begun
        if settings.return_train_score:
            result["train_scores"] = self._score(job.estimator, *job.data, train)
        return result

    def _score(self, est: Any, X: Any, y: Any, rows: Array) -> Any:
        settings, scorers = self._settings, self._settings.scorers
        given = _check_method_params(self._X, params=settings.score_arguments, indices=rows)
        if isinstance(scorers, _PassthroughScorer) and not given and _has_accuracy(est, y):
            scorers = _accuracy
        return _score(est, X, y, scorers, given, settings.error_score)


class _EndOfAll:
    """A judge that scores all fits after some epochs, and lets none go on.

    Attributes
    ----------
    out : list of dict or None
        The results; None as long as no fit has come so far.
    """

    def __init__(
        self, epochs: int, score: Callable[[Mapping[int, Exception | None]], list[Result]]
    ) -> None:
        self.rungs, self._score = (epochs,), score
        self.out: list[Result] | None = None

    def judge(self, ended: Mapping[int, Exception | None]) -> tuple[int, ...]:
        """The fits that go on: none."""
        self.out = self._score(ended)
        return ()


def _evaluate(
    settings: Settings,
    X: Any,
    y: Any,
    splits: Mapping[int, Split],
    fits: Sequence[Fit],
    epochs: int | None,
) -> list[Result]:
    """The results of some fits, in a worker."""
    return Folds(settings, X, y, splits).evaluated(fits, epochs)


class Evaluation:
    """The scores of candidates on the folds of one data set.

    Parameters
    ----------
    settings : Settings
        What is fitted and scored, and how.
    X, y : array-like
        All data.
    splits : list
        (training rows, held-out rows) of each fold.
    workers : Workers or RankWorkers
        Who trains the fits. If they are not several, all fits are in this process.
    """

    def __init__(
        self,
        settings: Settings,
        X: Any,
        y: Any,
        splits: Sequence[Split],
        workers: Workers | RankWorkers,
    ) -> None:
        self._settings, self._X, self._y, self._splits = settings, X, y, splits
        self._workers = workers

    def of(self, candidates: Sequence[Parameters], estimators: Sequence[Any]) -> list[Result]:
        """What scikit-learn's `_format_results` takes: a dict per fit, the folds in a row."""
        fits = self._fits(candidates, estimators)
        if self._workers.several:
            return self._by_workers(fits, None)
        return self._folds().evaluated(fits, None)

    def halved(
        self,
        candidates: Sequence[Parameters],
        estimators: Sequence[Any],
        plan: Plan,
        metric: str | None,
    ) -> Iterations:
        """The same for a halving that compares the means of one score over the folds.

        `metric` is the name of that score if there are several. Workers cannot wait for each other,
        so at each iteration they train their fits from the beginning; the scores are the same.
        """
        fits, n = self._fits(candidates, estimators), len(self._splits)
        found = Iterations([], [], [])

        def compared(rung: int, remaining: Sequence[int], out: list[Result]) -> list[float]:
            found.out.extend(out)
            found.candidates.extend(remaining)
            found.numbers.extend([rung] * len(remaining))
            numbers = np.array([self._number(result, metric) for result in out])
            return [float(mean) for mean in numbers.reshape(-1, n).mean(axis=1)]

        def by_workers(rung: int, remaining: Sequence[int], _: object) -> list[float]:
            last = rung + 1 == len(plan.rungs)
            chosen = [fits[k] for k in _fits_of(remaining, n)]
            out = self._by_workers(chosen, None if last else plan.rungs[rung].epochs)
            return compared(rung, remaining, out)

        if self._workers.several:
            Bracket(plan, by_workers, n).finish({})
            return found
        folds = self._folds()
        jobs = folds.jobs(fits)
        seconds, begun = 0.0, perf_counter()

        def here(
            rung: int, remaining: Sequence[int], ended: Mapping[int, Exception | None]
        ) -> list[float]:
            nonlocal seconds, begun
            chosen = _fits_of(remaining, n)
            seconds += (perf_counter() - begun) / len(chosen)
            out = [folds.scored(jobs[k], fits[k].fold, ended.get(k), seconds) for k in chosen]
            begun = perf_counter()
            return compared(rung, remaining, out)

        bracket: Bracket[Exception | None] = Bracket(plan, here, n)
        bracket.finish(dict(enumerate(folds.fitted(jobs, bracket))))
        return found

    def _number(self, result: Result, metric: str | None) -> float:
        """The score of a fit by which its candidate is compared."""
        found = result["test_scores"]
        if result["fit_error"] is not None:
            return float(self._settings.error_score)
        if not isinstance(found, dict):
            return float(found)
        if metric not in found:
            raise ValueError(
                "factor compares candidates by one score, and scoring gives "
                f"{', '.join(found)}: name one of them in refit"
            )
        return float(found[metric])

    def _fits(self, candidates: Sequence[Parameters], estimators: Sequence[Any]) -> list[Fit]:
        """A fit for each candidate and fold, the folds in a row."""
        return [
            Fit(est, fold, _steps_key(self._settings.estimator, candidate))
            for candidate, est in zip(candidates, estimators, strict=True)
            for fold in range(len(self._splits))
        ]

    def _folds(self) -> Folds:
        return Folds(self._settings, self._X, self._y, dict(enumerate(self._splits)))

    def _by_workers(self, fits: Sequence[Fit], epochs: int | None) -> list[Result]:
        """The results of fits that workers train."""

        def arguments(group: Sequence[Fit]) -> tuple[object, ...]:
            splits = {fold: self._splits[fold] for fold in sorted({fit.fold for fit in group})}
            return self._settings, self._X, self._y, splits, group, epochs

        return self._workers.run(_evaluate, fits, arguments)


def _fits_of(candidates: Sequence[int], n: int) -> list[int]:
    """The numbers of the n fits of each candidate."""
    return [k * n + fold for k in candidates for fold in range(n)]


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
