"""Time of a search for hyper-parameters, by estimator, number of jobs and threads.

    python benchmarks/searching.py [--rounds 3] [--candidates 12]

Every row is the same RandomizedSearchCV on the digits of scikit-learn (1,797 rows of 64 columns):
the same candidates, 3 folds, `early_stopping`, at most 60 epochs. Each search runs in a process of
its own, in turn. The output is a Markdown table with the medians of the rounds: seconds that joblib
takes to start its workers, seconds of the search by the clock and of all processors, and the best
score. The program needs scikit-learn, and reports the load of the machine.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

# name: (module, data type, options of the estimator, jobs, OMP_NUM_THREADS)
CASES = {
    "scikit-learn, n_jobs=1, one thread": ("sklearn.neural_network", "float64", {}, 1, "1"),
    "scikit-learn, n_jobs=cores": ("sklearn.neural_network", "float64", {}, 0, None),
    "fastbp, n_jobs=1, all threads": ("fastbp.sklearn", "float64", {}, 1, None),
    "fastbp, n_jobs=1, n_threads=1": ("fastbp.sklearn", "float64", {"n_threads": 1}, 1, None),
    "fastbp, n_jobs=cores": ("fastbp.sklearn", "float64", {}, 0, None),
    "fastbp, n_jobs=cores, n_threads=1, threading": (
        "fastbp.sklearn",
        "float64",
        {"n_threads": 1},
        0,
        None,
    ),
    "fastbp, n_jobs=cores, float32": ("fastbp.sklearn", "float32", {}, 0, None),
    "fastbp, n_jobs=cores, float32, halving": ("fastbp.sklearn", "float32", {}, 0, None),
}
PROGRAM = """
import importlib, json, os, sys, time, warnings
warnings.simplefilter("ignore")
name, module, dtype, options, jobs, candidates = json.loads(sys.argv[1])
import joblib, sklearn.experimental.enable_halving_search_cv
from scipy.stats import loguniform
from sklearn.datasets import load_digits
from sklearn.model_selection import HalvingRandomSearchCV, RandomizedSearchCV

def load(module):
    importlib.import_module("sklearn.model_selection"), importlib.import_module(module)

def used(seconds=0.1):
    time.sleep(seconds)
    return os.getpid(), time.process_time()

def all_used():
    tasks = (joblib.delayed(used)() for _ in range(8 * jobs))
    return dict(sorted(joblib.Parallel(jobs)(tasks))) | dict([used(0)])

network = importlib.import_module(module).MLPClassifier(
    max_iter=60, early_stopping=True, n_iter_no_change=5, random_state=0, **options)
space = {
    "learning_rate_init": loguniform(3e-4, 3e-2),
    "alpha": loguniform(1e-6, 1e-1),
    "hidden_layer_sizes": [(32,), (64,), (128,), (64, 64), (128, 64)],
    "batch_size": [32, 64, 128],
}
X, y = load_digits(return_X_y=True)
X = (X / 16).astype(dtype)
common = {"cv": 3, "n_jobs": jobs, "random_state": 0}
if name.endswith("halving"):
    search = HalvingRandomSearchCV(network, space, n_candidates=candidates, factor=3,
                                   min_resources=200, **common)
else:
    search = RandomizedSearchCV(network, space, n_iter=candidates, **common)
begin = time.perf_counter()
jobs = 1 if name.endswith("threading") else jobs  # processes to measure
joblib.Parallel(jobs)(joblib.delayed(load)(module) for _ in range(8 * jobs))
start = time.perf_counter() - begin
before = all_used()
begin = time.perf_counter()
with joblib.parallel_config("threading" if name.endswith("threading") else "loky"):
    search.fit(X, y)
seconds = time.perf_counter() - begin
after = all_used()
processor = sum(after[pid] - before.get(pid, 0) for pid in after)
print(json.dumps([start, seconds, processor, search.best_score_]))
"""


def measure(name, candidates):
    """Return seconds of the start, of the search and of processors, and the best score."""
    module, dtype, options, jobs, threads = CASES[name]
    jobs = jobs or os.cpu_count() or 1
    given = json.dumps([name, module, dtype, options, jobs, candidates])
    environment = dict(os.environ)
    if threads:
        environment["OMP_NUM_THREADS"] = environment["OPENBLAS_NUM_THREADS"] = threads
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, given], env=environment, check=True, capture_output=True
    )
    return json.loads(done.stdout)


def main():
    """Measure every case in turn, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--candidates", type=int, default=12)
    chosen = parser.parse_args()
    results = {name: [] for name in CASES}
    print("load at the start:", *(f"{load:.1f}" for load in os.getloadavg()), flush=True)
    for turn in range(chosen.rounds):
        for name in list(CASES)[:: 1 if turn % 2 == 0 else -1]:
            results[name].append(measure(name, chosen.candidates))
            print(f"round {turn + 1}: {name}: {results[name][-1]}", file=sys.stderr, flush=True)
    print("load at the end:", *(f"{load:.1f}" for load in os.getloadavg()))
    print("\n| search | start | seconds | processor seconds | best score |\n|---|---|---|---|---|")
    for name, rows in results.items():
        medians = [statistics.median(column) for column in zip(*rows, strict=True)]
        print(f"| {name} |", *(f"{number:.1f} |" for number in medians[:3]), f"{medians[3]:.3f} |")


if __name__ == "__main__":
    main()
