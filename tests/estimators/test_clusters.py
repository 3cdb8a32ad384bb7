"""Searches on clusters of dask and ray: the results of one process, and one thread per worker."""

import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import cluster_cases
from cluster_cases import FEW, LABELS, NETWORK, NUMBERS, SEARCHES_ON, X

import fastbp
from fastbp.sklearn import MLPClassifier, MLPRegressor, PopulationSearchCV

pytestmark = [
    pytest.mark.once,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning"),
]
LIMIT = 240  # seconds; a quiet machine of two cores needs 10
PACKAGES = {"dask": ("distributed", "test"), "ray": ("ray", "cluster")}


def need(kind):
    package, extra = PACKAGES[kind]
    if find_spec(package) is None:  # not imported, because both change settings of the process
        pytest.skip(f'{package} is not installed: pip install "fastbp[{extra}]"')


def run(*arguments):
    """What a Python program prints that starts workers, as in an environment without settings."""
    environment = {name: v for name, v in os.environ.items() if "NUM_THREADS" not in name}
    environment |= {"PYTHONWARNINGS": "ignore", "RAY_USAGE_STATS_ENABLED": "0"}
    short = "/tmp" if os.name == "posix" else None  # sockets of ray need a short path
    with tempfile.TemporaryDirectory(dir=short, ignore_cleanup_errors=True) as folder:
        program = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            env=environment | {"RAY_TMPDIR": folder},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            printed, _ = program.communicate(timeout=LIMIT)
        finally:
            if program.poll() is None:
                getattr(os, "killpg", os.kill)(program.pid, signal.SIGTERM)
    assert program.returncode == 0, printed
    return printed


@pytest.fixture(scope="module", params=PACKAGES)
def found(request, tmp_path_factory):
    """The kind of a cluster, and the results of its searches."""
    need(request.param)
    path = tmp_path_factory.mktemp(request.param) / "results"
    run(cluster_cases.__file__, request.param, path)
    return request.param, pickle.loads(path.read_bytes())


def assert_same(found, expected):
    """Both have the same numbers, bit for bit."""
    assert expected
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, name)


def test_results_are_those_of_one_process(found):
    kind, results = found
    for search in SEARCHES_ON[kind]:
        assert_same(results[search.__name__], search())


def test_workers_train_on_one_thread_each(found):
    here, places = found[1]["places"]
    assert len(places) == 6
    assert all(pid != here and threads == 1 for pid, threads in places)


def test_without_a_cluster_all_fits_are_in_this_process():
    assert set(cluster_cases.places()) == {(os.getpid(), fastbp.get_num_threads())}


@pytest.mark.parametrize("kind", PACKAGES)
def test_the_program_of_the_guide_runs(kind, tmp_path):
    need(kind)
    page = Path(__file__).parents[2] / "docs" / "searching.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    imports = re.compile(rf"^(from|import) {PACKAGES[kind][0]}\b", re.MULTILINE)
    (text,) = filter(imports.search, blocks)
    program = tmp_path / "program.py"
    program.write_text(text, encoding="utf-8")
    assert "{'alpha': " in run(program)


# ---- what travels -----------------------------------------------------------------------------


def travelled(thing):
    cloudpickle = pytest.importorskip("cloudpickle", reason="cloudpickle is not installed")
    return cloudpickle.loads(cloudpickle.dumps(thing))


TRAVELLERS = {
    "classifier": lambda: MLPClassifier(**FEW).fit(X, LABELS),
    "regressor": lambda: MLPRegressor(**FEW, callbacks=[lambda *_: True]).fit(X, NUMBERS),
    "ensemble": lambda: MLPClassifier(**FEW, n_members=2).fit(X, LABELS),
    "search": lambda: PopulationSearchCV(NETWORK, {"alpha": [0.1, 1.0]}, cv=2).fit(X, LABELS),
    "network": lambda: fastbp.Network((4, 3, 1), seed=0),
}


@pytest.mark.parametrize("make", TRAVELLERS.values(), ids=TRAVELLERS)
def test_predictions_survive_cloudpickle(make):
    model = make()
    np.testing.assert_array_equal(travelled(model).predict(X), model.predict(X))


def test_a_population_survives_cloudpickle():
    population = fastbp.Population.of(3, (4, 3, 1), seeds=range(3))
    np.testing.assert_array_equal(travelled(population).predict(X), population.predict(X))


def test_a_history_survives_cloudpickle():
    record = fastbp.Network((4, 3, 1), seed=0).fit(X, NUMBERS, epochs=2, batch_size=16)
    assert travelled(record).loss == record.loss
