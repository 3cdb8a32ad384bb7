"""Searches that run on a cluster, and a program that runs them on one of two local workers.

    python cluster_cases.py {dask,ray} FILE

It writes the results to a file, by pickle. `tests/estimators/test_clusters.py` runs it, and
compares them with those of one process. A program of its own keeps the threads and settings of dask
and ray out of the other tests.
"""

import contextlib
import os
import pickle
import sys
import warnings
from pathlib import Path

import joblib
import numpy as np
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastbp
from fastbp.sklearn import MLPClassifier, MLPRegressor, PopulationSearchCV, cross_val_population

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 4)).astype(np.float32)
LABELS = np.digitize(X[:, 0] + X[:, 1] * X[:, 2], [-0.5, 0.5])
NUMBERS = X[:, 0] * X[:, 1]
WEIGHTS = RNG.integers(1, 3, 120).astype(float)
FEW = {"hidden_layer_sizes": 5, "max_iter": 8, "batch_size": 16, "random_state": 0}
NETWORK = MLPClassifier(**FEW)
PIPELINE = make_pipeline(StandardScaler(), NETWORK)


def results(search, X):
    """What a fitted search has found, without times."""
    found = {name: np.array(v) for name, v in search.cv_results_.items() if "time" not in name}
    found["best"] = search.best_params_
    found["predictions"] = search.predict(X)
    return found


def grid_search():
    """scikit-learn's grid search, of a Pipeline."""
    grid = {"mlpclassifier__alpha": [1e-4, 1.0]}
    return results(GridSearchCV(PIPELINE, grid, cv=3).fit(X, LABELS), X)


def random_search():
    """scikit-learn's random search; a callback, which only cloudpickle can send, ends the fits."""
    network = MLPRegressor(**FEW, callbacks=[lambda epoch, logs: epoch == 3])
    space = {"learning_rate_init": [1e-3, 1e-2, 1e-1], "early_stopping": [True, False]}
    search = RandomizedSearchCV(network, space, n_iter=3, cv=2, random_state=0)
    search.fit(X, NUMBERS)
    return results(search, X) | {"epochs": search.best_estimator_.n_iter_}


def population_search():
    """All candidates of a grid, one of which is refused."""
    grid = {"learning_rate_init": [1e-3, 1e-1, -1.0], "hidden_layer_sizes": [4, (6, 3)]}
    options = {"cv": 3, "error_score": -1.0, "return_train_score": True}
    search = PopulationSearchCV(NETWORK, grid, **options).fit(X, LABELS, sample_weight=WEIGHTS)
    return results(search, X) | {"weights": search.best_estimator_.network_.theta}


def halving():
    """A halving of networks that stop early."""
    network = MLPClassifier(**FEW | {"max_iter": 12}, early_stopping=True, n_iter_no_change=2)
    grid = {"learning_rate_init": [1e-4, 1e-3, 1e-2, 1e-1]}
    search = PopulationSearchCV(network, grid, factor=4, cv=2).fit(X, LABELS)
    return results(search, X) | {"numbers": search.n_candidates_}


def cross_validation():
    """Probabilities of each fold."""
    found = cross_val_population(PIPELINE, X, LABELS, cv=3, method="predict_proba")
    return {"probabilities": found}


def refused():
    """The message of an error that ends a search."""
    search = PopulationSearchCV(NETWORK, {"alpha": [1e-4, -1.0]}, cv=2, error_score="raise")
    try:
        search.fit(X, LABELS)
    except ValueError as error:
        return {"message": str(error)}
    return {}


SEARCHES = (grid_search, random_search, population_search, halving, cross_validation, refused)
# ray starts new workers for each search, so it gets fewer.
SEARCHES_ON = {"dask": SEARCHES, "ray": (random_search, population_search, cross_validation)}


def places():
    """(process, threads) of each fit."""
    scoring = {"process": lambda *_: os.getpid(), "threads": lambda *_: fastbp.get_num_threads()}
    grid = {"alpha": [1e-4, 1e-3, 1e-2]}
    search = PopulationSearchCV(NETWORK, grid, cv=2, scoring=scoring, refit=False)
    found = search.fit(X, LABELS).cv_results_
    names = [[f"split{k}_test_{name}" for name in scoring] for k in range(2)]
    return [pair for pid, n in names for pair in zip(found[pid], found[n], strict=True)]


@contextlib.contextmanager
def on_dask():
    """Two workers of dask, a process each."""
    from distributed import Client, LocalCluster

    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster), joblib.parallel_config("dask"):
        yield


@contextlib.contextmanager
def on_ray():
    """Two processors of ray."""
    import ray
    from ray.util.joblib import register_ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        register_ray()
        with joblib.parallel_config("ray", n_jobs=-1):
            yield
    finally:
        ray.shutdown()


def main():
    """Run all cases on a cluster, and write their results."""
    kind, path = sys.argv[1:]
    with {"dask": on_dask, "ray": on_ray}[kind]():
        found = {search.__name__: search() for search in SEARCHES_ON[kind]}
        found["places"] = os.getpid(), places()
    Path(path).write_bytes(pickle.dumps(found))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
