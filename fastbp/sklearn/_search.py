"""PopulationSearchCV: grid search, random search and successive halving in one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import ceil
from numbers import Integral, Real
from time import perf_counter
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.model_selection import ParameterGrid, ParameterSampler, check_cv
from sklearn.model_selection._search import BaseSearchCV
from sklearn.model_selection._validation import (
    _insert_error_scores,
    _warn_or_raise_about_fit_failures,
)
from sklearn.utils import indexable
from sklearn.utils._param_validation import Interval
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import _check_method_params

from .._checks.arguments import MAX_THREADS
from .._ranks.team import Team
from ..population._fingerprint import check_same, described
from ..population._halving import Plan, plan_rungs
from ._evaluation import Evaluation, Parameters, Settings, Split, epochs_of
from ._together import check_has_network
from ._workers import RankWorkers, Workers

_OF_BASE = ("estimator", "scoring", "refit", "cv", "verbose", "error_score", "return_train_score")


class _Begun(NamedTuple):
    """Checked arguments of a fit, what they draw, and where `fit` routes the rest."""

    candidates: list[Parameters]
    estimators: list[Any]
    splits: list[Split]
    X: Any
    y: Any
    routed: Any


class PopulationSearchCV(BaseSearchCV):
    """Search for hyper-parameters with cross-validation, all candidates and folds in one call.

    It is scikit-learn's `GridSearchCV` if it gets a `param_grid`, and `RandomizedSearchCV` if it
    gets `param_distributions`, with their methods, attributes and `cv_results_`. Where
    `random_state` of the estimator is a number, the scores are theirs, number for number. But all
    networks are trained at the same time, as a `fastbp.Population`: without processes, on one copy
    of the data of each fold. With `n_jobs`, or inside `joblib.parallel_config`, each of joblib's
    workers trains a part of them in this way. In a Pipeline, the steps before the network are
    fitted once per fold, or once for each of their own candidates, by each worker.

    With `factor`, it is a successive halving like scikit-learn's `HalvingGridSearchCV` and
    `HalvingRandomSearchCV` over epochs (Li et al., JMLR 18, 2018): all candidates are trained for
    a few epochs, the best 1/factor of them, by the mean score over the folds, go on, and so on. A
    candidate that goes on continues its fits, so at the last iteration its scores are those of the
    whole fits. A network with early_stopping is scored with its best weights so far. A fit that has
    ended by itself, or that has no epochs, is compared as it is.

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
    factor : float or None, default None
        None, or the factor of a successive halving, greater than 1: the best 1/factor of the
        candidates go on, rounded up. It needs one score to compare them by: if there are several,
        name one in `refit`.
    min_epochs : int or None, default None
        The epochs of the first iteration of a halving; each further one has `factor` times as many,
        and the last one has the `max_iter` of the estimator. None computes them down from
        `max_iter`, so many that at most `factor` candidates are left for the last one.
    cv : int, splitter, iterable or None, default None
        The folds; None for 5.
    n_jobs : int or None, default None
        Among how many workers of joblib the fits are divided, for example those of a cluster; -1
        for all. None is the number of `joblib.parallel_config`, and outside of it 1: all fits in
        this process. No result depends on it.
    n_threads : int or None, default None
        The most threads to use in a process, None for `fastbp.get_num_threads()` there. No result
        depends on it.
    verbose : int, default 0
        Whether to print the number of fits.
    random_state : int, RandomState or None, default None
        Source of the candidates that are drawn. The seed of the networks is `random_state` of the
        estimator.
    error_score : "raise" or float, default nan
        The score of a fit that fails. "raise" raises its exception; if arguments or parameters are
        refused, that is before any training in the same process.
    return_train_score : bool, default False
        Whether to compute scores of the training rows too.

    Attributes
    ----------
    cv_results_ : dict of array
        The scores and times of each candidate, as in `GridSearchCV`. The time of a fit is the time
        of all fits divided by their number. With `factor`, as in `HalvingGridSearchCV`: a row for
        each candidate of each iteration, whose number is in `iter`, and its epochs in
        `n_resources`.
    best_estimator_ : estimator
        The best candidate, of the last iteration of a halving, fitted to all data; not if
        `refit=False`.
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
    n_resources_, n_candidates_ : list of int
        Epochs and number of candidates of each iteration of a halving.
    n_iterations_, n_possible_iterations_, n_required_iterations_ : int
        The number of iterations of a halving; how many there could be with these epochs, and with
        this number of candidates.
    n_remaining_candidates_ : int
        How many candidates would go on after the last iteration.
    min_resources_, max_resources_ : int
        Epochs of the first and the last iteration.
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
        "factor": [Interval(Real, 1, None, closed="neither"), None],
        "min_epochs": [Interval(Integral, 1, None, closed="left"), None],
        "n_jobs": [Integral, None],
        "n_threads": [Interval(Integral, 1, MAX_THREADS, closed="both"), None],
        "random_state": ["random_state"],
    }
    # No argument that is routed to another estimator.
    __metadata_request__fit: ClassVar[dict[str, str]] = {"comm": UNUSED}
    # A parameter of scikit-learn's own loop, which runs for its callbacks.
    pre_dispatch = "2*n_jobs"

    def __init__(
        self,
        estimator: Any,
        param_grid: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        *,
        param_distributions: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
        n_iter: int = 10,
        factor: float | None = None,
        min_epochs: int | None = None,
        scoring: Any = None,
        refit: bool | str | Callable[[dict[str, Any]], int] = True,
        cv: Any = None,
        n_jobs: int | None = None,
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
        self.factor = factor
        self.min_epochs = min_epochs
        self.scoring = scoring
        self.refit = refit
        self.cv = cv
        self.n_jobs = n_jobs
        self.n_threads = n_threads
        self.verbose = verbose
        self.random_state = random_state
        self.error_score = error_score
        self.return_train_score = return_train_score

    def fit(self, X: object, y: object = None, *, comm: Any = None, **params: Any) -> Self:
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
        comm : mpi4py.MPI.Comm or None, default None
            Divide the fits among the ranks of a communicator. Every rank calls `fit` with the same
            search and data, and has the whole result afterwards; candidates that are drawn, folds
            and the best estimator are those of rank 0. See docs/populations.md.

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
        if comm is None:
            return self._fit(X, y, params, None)
        with Team(comm) as team:
            try:
                return self._fit(X, y, params, team)
            except (TypeError, ValueError):
                team.failed = True  # what follows from results of all ranks is raised on all
                raise

    def _fit(self, X: Any, y: Any, params: dict[str, Any], team: Team | None) -> Self:
        """The fit, perhaps by the ranks of a team."""
        if any(hasattr(each, "_skl_callbacks") for each in (self, self.estimator)):
            return self._fit_observed(X, y, params, team)
        begin = partial(self._begin, X, y, params)
        begun = begin() if team is None else self._begin_alike(begin, team)
        candidates, estimators, splits, X, y, routed = begun
        scorers, refit_metric = self._get_scorers()
        plan = self._plan(estimators, scorers)
        self.n_splits_ = len(splits)
        if self.verbose > 0 and (team is None or team.ranks.leads):
            print(
                f"Fitting {len(splits)} folds for each of {len(candidates)} candidates, totalling "
                f"{len(splits) * len(candidates)} fits"
            )
            for rung in () if plan is None else plan.rungs:
                print(f"{rung.n_candidates} candidates to {rung.epochs} epochs")
        settings = Settings(
            estimator=self.estimator,
            scorers=scorers,
            fit_arguments=routed.estimator.fit,
            score_arguments=routed.scorer.score,
            error_score=self.error_score,
            return_train_score=self.return_train_score,
            n_threads=self.n_threads or 0,
        )
        workers = Workers(self.n_jobs) if team is None else RankWorkers(team)
        evaluation = Evaluation(settings, X, y, splits, workers)
        more: dict[str, list[int]] = {}
        if plan is None:
            out = evaluation.of(candidates, estimators)
        else:
            metric = self.refit if isinstance(self.refit, str) else None
            out, numbers, iterations = evaluation.halved(candidates, estimators, plan, metric)
            candidates = [candidates[k] for k in numbers]
            epochs = [plan.rungs[i].epochs for i in iterations]
            more = {"iter": iterations, "n_resources": epochs}
        _warn_or_raise_about_fit_failures(out, self.error_score)
        if callable(self.scoring):
            _insert_error_scores(out, self.error_score)
        results = self._format_results(candidates, len(splits), out, more)
        self._take_results(results, out, refit_metric)
        if self.refit:
            self._refit_once(partial(self._refit, X, y, routed.estimator.fit), team)
        self.scorer_ = getattr(scorers, "_scorers", scorers)
        self.cv_results_ = results
        return self

    def _begin(self, X: Any, y: Any, params: dict[str, Any]) -> _Begun:
        """The checks of all arguments."""
        self._validate_params()
        check_has_network(self.estimator, type(self).__name__)
        candidates = self._candidates()
        estimators = [self._with(each) for each in candidates]
        scorers, _ = self._get_scorers()
        self._plan(estimators, scorers)
        X, y = indexable(X, y)
        params = _check_method_params(X, params=params)
        routed = self._get_routed_params_for_fit(params)
        cv = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        splits = list(cv.split(X, y, **routed.splitter.split))
        if not splits:
            raise ValueError(f"cv gives no folds; got {self.cv!r}")
        return _Begun(candidates, estimators, splits, X, y, routed)

    def _begin_alike(self, begin: Callable[[], _Begun], team: Team) -> _Begun:
        """The same on all ranks, with what is drawn on rank 0; ValueError if they differ."""
        begun = team.alike(begin)
        drawn = begun.candidates if self.param_grid is None else None
        told = team.meet(lambda: (drawn, begun.splits) if team.ranks.leads else None)
        assert told[0] is not None
        drawn, splits = told[0]
        begun = begun._replace(splits=splits)
        if drawn is not None:
            estimators = [self._with(each) for each in drawn]
            begun = begun._replace(candidates=drawn, estimators=estimators)

        def given() -> dict[str, str]:
            own = ("estimator", "n_threads", "n_jobs", "verbose", "random_state", "cv")
            found = {
                name: described(value)
                for name, value in self.get_params(deep=False).items()
                if name not in own
            }
            found["estimator"] = described(self.estimator)
            return found | {"X": described(begun.X), "y": described(begun.y)}

        check_same(team, given)
        return begun

    def _fit_observed(self, X: Any, y: Any, params: dict[str, Any], team: Team | None) -> Self:
        """The fit that scikit-learn's callbacks observe."""
        self._validate_params()
        check_has_network(self.estimator, type(self).__name__)
        self._candidates()
        for name, given in (("factor", self.factor), ("comm", team)):
            if given is not None:
                raise ValueError(
                    f"{name} needs the fits of all candidates at the same time, and scikit-learn's "
                    "callbacks observe one after the other: leave one of the two out"
                )
        super().fit(X, y, **params)
        return self

    def _refit_once(self, refit: Callable[[], None], team: Team | None) -> None:
        """Fit the best candidate here, or on rank 0 for all ranks."""
        names = ("best_estimator_", "refit_time_", "feature_names_in_")

        def make(_: int) -> dict[str, Any]:
            refit()
            return {name: vars(self)[name] for name in names if name in vars(self)}

        if team is None or team.ranks.size == 1:
            refit()
        else:
            team.spread([0], make, lambda _, found: self.__dict__.update(found))

    def _plan(self, estimators: Sequence[Any], scorers: Any) -> Plan | None:
        """The iterations of a halving; None without one. Sets the attributes that describe them."""
        if self.factor is None:
            if self.min_epochs is not None:
                raise ValueError("min_epochs is for a halving: give factor too, such as factor=3")
            return None
        names = getattr(scorers, "_scorers", None)
        if names is not None and self.refit not in names:
            raise ValueError(
                f"factor compares candidates by one score, and scoring gives {', '.join(names)}: "
                f"name one of them in refit; got {self.refit!r}"
            )
        epochs = [n for n in map(epochs_of, estimators) if n is not None]
        if not epochs:
            raise ValueError(
                "factor needs candidates that are trained by epochs, and none is: lbfgs has none; "
                "use adam, or leave factor out"
            )
        plan = plan_rungs(len(estimators), max(epochs), self.factor, self.min_epochs)
        self.n_resources_ = [rung.epochs for rung in plan.rungs]
        self.n_candidates_ = [rung.n_candidates for rung in plan.rungs]
        self.n_iterations_ = len(plan.rungs)
        self.n_possible_iterations_ = plan.n_possible
        self.n_required_iterations_ = plan.n_required
        self.n_remaining_candidates_ = ceil(self.n_candidates_[-1] / self.factor)
        self.min_resources_, self.max_resources_ = self.n_resources_[0], self.n_resources_[-1]
        return plan

    def _best_index(self, refit_metric: str, results: Mapping[str, Any]) -> int:
        """Where the best candidate is in `cv_results_`: in a halving, at its last iteration."""
        if self.factor is None or callable(self.refit):
            return int(self._select_best_index(self.refit, refit_metric, results))
        (last,) = np.nonzero(results["iter"] == max(results["iter"]))
        found = results[f"mean_test_{refit_metric}"][last]
        return int(last[0 if np.isnan(found).all() else np.nanargmax(found)])

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
            self.best_index_ = self._best_index(refit_metric, results)
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
