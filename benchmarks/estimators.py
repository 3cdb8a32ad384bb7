"""Scores and times of `fastbp.sklearn`, compared with the estimators of scikit-learn.

    python benchmarks/estimators.py [--rounds 5] [--only digits,wine]

Both libraries use the same parameters, data and random state, and fit in turn. scikit-learn runs
with each number of BLAS threads, and fastbp with its default. The output is a Markdown table with
the scores on held-out rows, the median times of a fit (for scikit-learn at its best number of
threads), and the median of the ratios within a round. Two of the data sets are synthetic and say
so. The program needs scikit-learn and threadpoolctl.
"""

import argparse
import os
import statistics
import time
import warnings

import numpy as np
from sklearn import datasets, neural_network
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import scale
from threadpoolctl import threadpool_limits

import fastbp.sklearn
from fastbp.datasets import load_fashion_mnist


def housing(n=20640):
    """Data shaped like California housing: 8 skewed features, and a price computed from them."""
    rng = np.random.default_rng(0)
    X = np.exp(rng.normal(0, 0.6, (n, 8)))
    price = X[:, 0] + np.log1p(X[:, 1]) - 0.4 * X[:, 2] * (X[:, 3] > 1) + np.sin(X[:, 4])
    return X, price + rng.normal(0, 0.3, n)


def tabular():
    return make_classification(100_000, 30, n_informative=12, random_state=0)


def fashion():
    try:
        X, y, *_ = load_fashion_mnist()
    except OSError:
        rng = np.random.default_rng(0)
        X, y = rng.random((60_000, 784)), rng.integers(10, size=60_000)
    return X.reshape(len(X), -1).astype(np.float32), y


# name: (load, regression, parameters)
CASES = {
    "digits": (lambda: datasets.load_digits(return_X_y=True), False, {}),
    "breast cancer": (lambda: datasets.load_breast_cancer(return_X_y=True), False, {}),
    "wine": (lambda: datasets.load_wine(return_X_y=True), False, {}),
    "diabetes": (lambda: datasets.load_diabetes(return_X_y=True), True, {"solver": "sgd"}),
    "housing, synthetic": (housing, True, {"max_iter": 30}),
    "100 000 × 30, synthetic": (tabular, False, {"max_iter": 10}),
    "Fashion-MNIST": (fashion, False, {"max_iter": 5}),
}


def measure(name, rounds):
    """Return (their score, our score, their best median seconds, ours, median ratio)."""
    load, regression, parameters = CASES[name]
    X, y = load()
    X = X if X.shape[1] == 784 else scale(X)
    y = scale(y) if regression else y
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    kind = "MLPRegressor" if regression else "MLPClassifier"
    programs = [(fastbp.sklearn, None)]
    programs += [(neural_network, n) for n in range(1, (os.cpu_count() or 1) + 1)]
    times = [[] for _ in programs]
    scores = [0.0] * len(programs)
    for turn in range(rounds):
        for i in range(len(programs))[:: 1 if turn % 2 == 0 else -1]:
            module, threads = programs[i]
            model = getattr(module, kind)(random_state=1, **parameters)
            with threadpool_limits(threads, user_api="blas"):
                start = time.perf_counter()
                model.fit(X_train, y_train)
                times[i].append(time.perf_counter() - start)
            scores[i] = model.score(X_test, y_test)
    best = min(times[1:], key=statistics.median)
    ratio = statistics.median(b / a for a, b in zip(times[0], best, strict=True))
    return scores[1], scores[0], statistics.median(best), statistics.median(times[0]), ratio


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(CASES), help="names, separated by commas")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(
        "| data | score, scikit-learn | score, fastbp "
        "| seconds, scikit-learn | seconds, fastbp | ratio of times |"
    )
    print("|---|---|---|---|---|---|")
    names = [name for name in CASES if name in options.only]
    for name in names:
        theirs, ours, seconds, own, ratio = measure(name, options.rounds)
        row = f"{theirs:.3f} | {ours:.3f} | {seconds:.3f} | {own:.3f} | {ratio:.1f}"
        print(f"| {name} | {row} |", flush=True)


if __name__ == "__main__":
    main()
