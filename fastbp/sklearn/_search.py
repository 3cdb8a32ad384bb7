"""PopulationSearchCV: grid search and random search, all fits in one call."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from numbers import Integral
from time import perf_counter
from traceback import format_exception
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.model_selection import ParameterGrid, ParameterSampler, check_cv
from sklearn.model_selection._search import BaseSearchCV
from sklearn.model_selection._validation import (
    _insert_error_scores,
    _score,
    _warn_or_raise_about_fit_failures,
)
from sklearn.pipeline import Pipeline
from sklearn.utils import indexable
from sklearn.utils._param_validation import Interval
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.validation import _check_method_params, _num_samples

from .._checks.arguments import MAX_THREADS
from .._types import Array
from ._together import Job, check_has_network, fit_jobs

Parameters = Mapping[str, Any]
_Split = tuple[Array, Array]
_OF_BASE = ("estimator", "scoring", "refit", "cv", "verbose", "error_score", "return_train_score")


class PopulationSearchCV(BaseSearchCV):
    """Search for hyper-parameters with cross-validation, all candidates and folds in one call.

    It is scikit-learn's `GridSearchCV` if it gets a `param_grid`, and `RandomizedSearchCV` if it
    gets `param_distributions`, with their methods, attributes and `cv_results_`. Where
    `random_state` of the estimator is a number, the scores are theirs, number for number. But all
    networks are trained at the same time, as a `fastbp.Population`: without processes, on one copy
    of the data of each fold. In a Pipeline, the steps before the network are fitted once per fold,
    or once for each of their own candidates.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor or Pipeline
        An estimator of `fastbp.sklearn`, or a Pipeline that ends with one.
    param_grid : dict of lists, list of such dicts, or None, default None
        The values to try, all combinations of them, as for `GridSearchCV`.
    param_distributions : dict, list of dicts, or None, default None
        Lists or distributions to draw candidates from, as for `RandomizedSearchCV`. Exactly one of
        these two is given.
    n_iter : int, default 10
        Number of candidates that are drawn from `param_distributions`.
    scoring : str, callable, list, tuple, dict or None, default None
        One score or several, as for `GridSearchCV`; None for `score` of the estimator.
    refit : bool, str or callable, default True
        Whether, or by which score, to fit the best candidate to all data at the end.
    cv : int, splitter, iterable or None, default None
        The folds; None for 5.
    n_threads : int or None, default None
        The most threads to use, None for `fastbp.get_num_threads()`. No result depends on it.
    verbose : int, default 0
        Whether to print the number of fits.
    random_state : int, RandomState or None, default None
        Source of the candidates that are drawn. The seed of the networks is `random_state` of the
        estimator.
    error_score : "raise" or float, default nan
        The score of a fit that fails. "raise" raises its exception; if arguments or parameters are
        refused, that is before any training.
    return_train_score : bool, default False
        Whether to compute scores of the training rows too.

    Attributes
    ----------
    cv_results_ : dict of array
        The scores and times of each candidate, as in `GridSearchCV`. The time of a fit is the time
        of all fits divided by their number.
    best_estimator_ : estimator
        The best candidate, fitted to all data; not if `refit=False`.
    best_score_ : float
        Mean score of the best candidate over the folds.
    best_params_ : dict
        Its parameters.
    best_index_ : int
        Its place in `cv_results_`.
    scorer_ : callable or dict of callable
        What computed the scores.
    n_splits_ : int
        Number of folds.
    refit_time_ : float
        Seconds of the last fit.
    multimetric_ : bool
        Whether there are several scores.
    classes_ : array, shape (n_classes,)
        The class labels, for a classifier.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : array of str
        Names of the columns of X, if it has names.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastbp.sklearn import MLPClassifier, PopulationSearchCV
    >>> X, y = load_iris(return_X_y=True)
    >>> network = MLPClassifier(16, early_stopping=True, max_iter=500, random_state=0)
    >>> search = PopulationSearchCV(network, {"alpha": [0.01, 1.0]}, cv=3).fit(X, y)
    >>> search.cv_results_["mean_test_score"].shape, search.best_params_["alpha"] in (0.01, 1.0)
    ((2,), True)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **{name: BaseSearchCV._parameter_constraints[name] for name in _OF_BASE},
        "param_grid": [dict, list, None],
        "param_distributions": [dict, list, None],
        "n_iter": [Interval(Integral, 1, None, closed="left")],
        "n_threads": [Interval(Integral, 1, MAX_THREADS, closed="both"), None],
        "random_state": ["random_state"],
    }
    # Parameters of scikit-learn's own loop, which runs for its callbacks.
    n_jobs = None
    pre_dispatch = "2*n_jobs"

    def __init__(
        self,
        estimator: Any,
        param_grid: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        *,
        param_distributions: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        n_iter: int = 10,
        scoring: Any = None,
        refit: bool | str | Callable[[dict[str, Any]], int] = True,
        cv: Any = None,
        n_threads: int | None = None,
        verbose: int = 0,
        random_state: int | np.random.RandomState | None = None,
        error_score: str | float = np.nan,
        return_train_score: bool = False,
    ) -> None:
        self.estimator = estimator
        self.param_grid = param_grid
        self.param_distributions = param_distributions
        self.n_iter = n_iter
        self.scoring = scoring
        self.refit = refit
        self.cv = cv
        self.n_threads = n_threads
        self.verbose = verbose
        self.random_state = random_state
        self.error_score = error_score
        self.return_train_score = return_train_score

    def fit(self, X: object, y: object = None, **params: Any) -> Self:
        """Train every candidate on every fold, score them, and fit the best one to all data.

        Parameters
        ----------
        X : array-like or sparse matrix, shape (n, n_features)
            Inputs, as for the estimator.
        y : array-like, shape (n,) or (n, n_outputs)
            Targets.
        **params
            Arguments of the estimator's `fit`, such as `sample_weight`; and `groups` for `cv`.
            Those that have one element per sample are split as X is.

        Returns
        -------
        self
            The search.

        Raises
        ------
        TypeError, ValueError
            If an argument or a parameter is invalid, before any training; or if all fits fail.
        KeyboardInterrupt
            When interrupted.
        """
        self._validate_params()
        check_has_network(self.estimator, type(self).__name__)
        candidates = self._candidates()
        if any(hasattr(each, "_skl_callbacks") for each in (self, self.estimator)):
            super().fit(X, y, **params)
            return self
        estimators = [self._with(each) for each in candidates]
        scorers, refit_metric = self._get_scorers()
        X, y = indexable(X, y)
        params = _check_method_params(X, params=params)
        routed = self._get_routed_params_for_fit(params)
        cv = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        splits = list(cv.split(X, y, **routed.splitter.split))
        if not splits:
            raise ValueError(f"cv gives no folds; got {self.cv!r}")
        self.n_splits_ = len(splits)
        if self.verbose > 0:
            print(
                f"Fitting {len(splits)} folds for each of {len(candidates)} candidates, totalling "
                f"{len(splits) * len(candidates)} fits"
            )
        evaluation = _Evaluation(self, scorers, routed, X, y, splits)
        out = evaluation.of(candidates, estimators)
        _warn_or_raise_about_fit_failures(out, self.error_score)
        if callable(self.scoring):
            _insert_error_scores(out, self.error_score)
        results = self._format_results(candidates, len(splits), out)
        self._take_results(results, out, refit_metric)
        if self.refit:
            self._refit(X, y, routed.estimator.fit)
        self.scorer_ = getattr(scorers, "_scorers", scorers)
        self.cv_results_ = results
        return self

    def _candidates(self) -> list[Parameters]:
        """The parameters of all candidates; ValueError if there is no way to get any."""
        given = [self.param_grid is not None, self.param_distributions is not None]
        if sum(given) != 1:
            raise ValueError(
                f"give param_grid for a grid search or param_distributions for a random search; "
                f"got {'both' if any(given) else 'none'} of them"
            )
        if self.param_grid is not None:
            found = list(ParameterGrid(self.param_grid))
        else:
            drawn = ParameterSampler(
                self.param_distributions, self.n_iter, random_state=self.random_state
            )
            found = list(drawn)
        if not found:
            raise ValueError("param_grid has no candidate: it is an empty list")
        return found

    def _run_search(self, evaluate_candidates: Callable[[list[Parameters]], object]) -> None:
        """Evaluate all candidates, in scikit-learn's own loop."""
        evaluate_candidates(self._candidates())

    def _with(self, candidate: Parameters) -> Any:
        """A copy of the estimator with the parameters of a candidate."""
        return clone(self.estimator).set_params(**clone(candidate, safe=False))

    def _take_results(
        self, results: dict[str, Any], out: list[dict[str, Any]], refit_metric: Any
    ) -> None:
        """Set the attributes that tell the best candidate."""
        first = out[0]["test_scores"]
        self.multimetric_ = isinstance(first, dict)
        if callable(self.scoring) and self.multimetric_:
            self._check_refit_for_multimetric(first)
            refit_metric = self.refit
        if self.refit or not self.multimetric_:
            self.best_index_ = self._select_best_index(self.refit, refit_metric, results)
            if not callable(self.refit):
                self.best_score_ = results[f"mean_test_{refit_metric}"][self.best_index_]
            self.best_params_ = results["params"][self.best_index_]

    def _refit(self, X: Any, y: Any, arguments: Mapping[str, Any]) -> None:
        """Fit the best candidate to all data."""
        best = self._with(self.best_params_)
        begun = perf_counter()
        best.fit(X, y, **arguments)
        self.refit_time_ = perf_counter() - begun
        self.best_estimator_ = best
        if hasattr(best, "feature_names_in_"):
            self.feature_names_in_ = best.feature_names_in_


class _Evaluation:
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
        search: PopulationSearchCV,
        scorers: Any,
        routed: Any,
        X: Any,
        y: Any,
        splits: Sequence[_Split],
    ) -> None:
        self._search, self._scorers, self._routed = search, scorers, routed
        self._X, self._y, self._splits = X, y, splits

    def of(
        self, candidates: Sequence[Parameters], estimators: Sequence[Any]
    ) -> list[dict[str, Any]]:
        """What scikit-learn's `_format_results` takes: a dict per fit, the folds in a row."""
        search, splits = self._search, self._splits
        data = [_safe_split(search.estimator, self._X, self._y, train) for train, _ in splits]
        arguments = [
            _check_method_params(self._X, params=self._routed.estimator.fit, indices=train)
            for train, _ in splits
        ]
        jobs = [
            Job(clone(est), data[fold], arguments[fold], _steps_key(search.estimator, candidate))
            for candidate, est in zip(candidates, estimators, strict=True)
            for fold in range(len(splits))
        ]
        begun = perf_counter()
        errors = fit_jobs(jobs, search.n_threads or 0, catch=search.error_score != "raise")
        seconds = (perf_counter() - begun) / len(jobs)
        return [
            self._scored(job, error, k % len(splits)) | {"fit_time": seconds}
            for k, (job, error) in enumerate(zip(jobs, errors, strict=True))
        ]

    def _scored(self, job: Job, error: Exception | None, fold: int) -> dict[str, Any]:
        """The scores of an estimator that was trained on a fold, or failed to be."""
        search, (train, test) = self._search, self._splits[fold]
        result: dict[str, Any] = {"fit_error": None, "score_time": 0.0}
        X, y = _safe_split(search.estimator, self._X, self._y, test, train)
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
        return _score(est, X, y, self._scorers, given, self._search.error_score)


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
