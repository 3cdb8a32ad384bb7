"""cross_val_population: predictions of each fold by a network that has not seen it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import clone, is_classifier
from sklearn.model_selection import check_cv
from sklearn.utils import indexable
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.validation import _check_method_params, _num_samples

from .._checks.arguments import check_n_threads
from .._types import Array
from ._together import Job, check_has_network, fit_jobs
from ._workers import Workers

_METHODS = ("predict", "predict_proba", "predict_log_proba")


def cross_val_population(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    groups: Any = None,
    cv: Any = None,
    method: str = "predict",
    params: Mapping[str, Any] | None = None,
    n_jobs: int | None = None,
    n_threads: int | None = None,
) -> Array:
    """Predict every sample by a network that was trained without it, all networks in one call.

    It is scikit-learn's `cross_val_predict`, with the same predictions where `random_state` of the
    estimator is a number. The networks of all folds are trained at the same time. With `n_jobs`, or
    inside `joblib.parallel_config`, each of joblib's workers trains a part of them.

    Parameters
    ----------
    estimator : MLPClassifier, MLPRegressor or Pipeline
        An estimator of `fastbp.sklearn`, or a Pipeline that ends with one. It does not change.
    X : array-like or sparse matrix, shape (n, n_features)
        Inputs.
    y : array-like, shape (n,) or (n, n_outputs)
        Targets.
    groups : array-like or None, shape (n,), default None
        Groups of samples, for a `cv` that keeps them together.
    cv : int, splitter, iterable or None, default None
        The folds, each sample held out exactly once; None for 5.
    method : {"predict", "predict_proba", "predict_log_proba"}, default "predict"
        What to call on the held-out samples.
    params : dict or None, default None
        Arguments of the estimator's `fit`, such as `sample_weight`. Those that have one element per
        sample are split as X is.
    n_jobs : int or None, default None
        Among how many workers of joblib the folds are divided, for example those of a cluster; -1
        for all. None is the number of `joblib.parallel_config`, and outside of it 1: all fits in
        this process. No result depends on it.
    n_threads : int or None, default None
        The most threads to use in a process, None for `fastbp.get_num_threads()` there. No result
        depends on it.

    Returns
    -------
    array, shape (n,), (n, n_outputs) or (n, n_classes)
        The predictions, in the order of the samples. The columns of probabilities are those of the
        sorted labels; a class that a fold was not trained on has the probability 0.

    Raises
    ------
    TypeError, ValueError
        If an argument or a parameter is invalid, before any training in the same process.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from fastbp.sklearn import MLPClassifier, cross_val_population
    >>> X, y = load_iris(return_X_y=True)
    >>> network = MLPClassifier(16, solver="lbfgs", random_state=0)
    >>> bool((cross_val_population(network, X, y, cv=3) == y).mean() > 0.9)
    True
    """
    check_has_network(estimator, "cross_val_population")
    if method not in _METHODS or not hasattr(estimator, method):
        able = [name for name in _METHODS if hasattr(estimator, name)]
        raise ValueError(f"method must be one of {', '.join(able)}; got {method!r}")
    threads = 0 if n_threads is None else check_n_threads(n_threads, "n_threads")
    X, y = indexable(X, y)
    splitter = check_cv(cv, y, classifier=is_classifier(estimator))
    splits = list(splitter.split(X, y, groups))
    held_out = np.concatenate([test for _, test in splits]) if splits else np.empty(0, int)
    if not np.array_equal(np.sort(held_out), np.arange(_num_samples(X))):
        raise ValueError(f"cv must hold out every sample exactly once; {splitter!r} does not")
    workers = Workers(n_jobs)
    given = dict(params or {})
    if workers.several:
        found = workers.run(
            _predictions, splits, lambda part: (estimator, X, y, part, method, given, threads)
        )
    else:
        found = _predictions(estimator, X, y, splits, method, given, threads)
    classes = np.unique(y) if method != "predict" and np.ndim(y) == 1 else None
    joined: Array = np.concatenate(
        [
            values if classes is None else _by_class(values, known, classes, method)
            for values, known in found
        ]
    )
    return joined[np.argsort(held_out)]


def _predictions(
    estimator: Any,
    X: Any,
    y: Any,
    splits: Sequence[tuple[Array, Array]],
    method: str,
    params: Mapping[str, Any],
    n_threads: int,
) -> list[tuple[Array, Any]]:
    """For each split, what was predicted for its held-out rows, and the known classes if any."""
    jobs = [
        Job(
            clone(estimator),
            _safe_split(estimator, X, y, train),
            _check_method_params(X, params=params, indices=train),
        )
        for train, _ in splits
    ]
    fit_jobs(jobs, n_threads, catch=False)
    found = []
    for (fitted, *_), (train, test) in zip(jobs, splits, strict=True):
        rows, _ = _safe_split(estimator, X, y, test, train)
        found.append((getattr(fitted, method)(rows), getattr(fitted, "classes_", None)))
    return found


def _by_class(found: Array, known: Array, classes: Array, method: str) -> Array:
    """Probabilities with a column for each class, of which a fold knew only some."""
    if len(known) == len(classes):
        return found
    warnings.warn(
        f"a fold was trained on {len(known)} of {len(classes)} classes, so that the others have "
        "the probability 0 there: use fewer folds, or a cv that keeps the shares of the classes",
        RuntimeWarning,
        stacklevel=3,
    )
    fill = 0.0 if method == "predict_proba" else float(np.finfo(found.dtype).min)
    columns = np.full((len(found), len(classes)), fill, found.dtype)
    columns[:, np.searchsorted(classes, known)] = found
    return columns
