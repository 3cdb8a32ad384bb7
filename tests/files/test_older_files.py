"""Files of version 0.1.0 load, and training continues from them."""

import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

import fastbp
from fastbp import optim, reference

FOLDER = Path(__file__).parent / "of_0_1_0"
EXPECTED = dict(np.load(FOLDER / "expected.npz"))
CLOSE = {"rtol": 1e-4, "atol": 1e-5}  # float32; another instruction set wrote the files


@pytest.fixture(scope="module")
def older():
    """The program that wrote the files, with its data and its network."""
    sys.path.insert(0, str(FOLDER))
    try:
        import make

        yield make
    finally:
        sys.path.remove(str(FOLDER))
        sys.modules.pop("make", None)


def unpickled(name):
    return pickle.loads((FOLDER / name).read_bytes())


def test_model_files_load(older):
    net = fastbp.load(FOLDER / "network.safetensors")
    np.testing.assert_array_equal(net.theta, EXPECTED["theta"])
    np.testing.assert_allclose(net.predict(older.data()[0]), EXPECTED["outputs"], **CLOSE)


def test_optimisers_continue_alike_from_a_file_and_a_pickle(older):
    found = []
    pickled = unpickled("objects.pickle")["optimizer"]
    for adam in (optim.load(FOLDER / "adam.safetensors"), pickled):
        assert adam.t == 18
        net = fastbp.load(FOLDER / "network.safetensors")
        older.fit(net, optimizer=adam)
        assert adam.t == 36
        found.append(net.theta.tobytes())
    assert found[0] == found[1]


def test_a_fit_resumes_from_a_checkpoint(older, tmp_path):
    shutil.copytree(FOLDER / "checkpoint", tmp_path / "run")
    net = older.network()
    assert older.fit(net, checkpoint=tmp_path / "run", resume=True).epochs == 6
    np.testing.assert_allclose(net.theta, EXPECTED["theta"], **CLOSE)


def test_pickles_of_networks_load(older):
    objects = unpickled("objects.pickle")
    net = objects["network"]
    np.testing.assert_array_equal(net.theta, EXPECTED["theta"])
    assert np.isfinite(older.fit(net).loss).all()
    assert type(objects["reference"]) is reference.Network
    assert objects["loss"] == fastbp.losses.Loss("huber", 0.5)
    assert objects["history"].epochs == len(objects["history"].accuracy) == 6


PUBLIC = [name for name in unpickled("objects.pickle") if name.startswith("fastbp.")]


@pytest.mark.filterwarnings("ignore::fastbp.errors.ConvergenceWarning")
@pytest.mark.parametrize("name", PUBLIC)
def test_pickles_of_public_objects_can_be_used(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = unpickled("objects.pickle")[name]
    assert pickle.loads(pickle.dumps(found)) is not found
    X = np.linspace(0, 1, 8)[:, None]
    options = {"epochs": 3, "validation_data": (X, X)}
    if hasattr(found, "session") or isinstance(found, optim.Optimizer):
        pytest.importorskip("scipy", reason="LBFGS needs SciPy")
        options["optimizer"] = found
    elif isinstance(found, fastbp.schedules.Schedule):
        options |= {"schedule": found, "optimizer": "sgd"}
    elif hasattr(found, "on_fit_begin"):
        options["callbacks"] = [found]
    else:
        assert repr(found)
    net = fastbp.Network((1, 1), seed=0, dtype="float64")
    assert np.isfinite(net.fit(X, X, **options).loss).all()


def test_pickles_of_estimators_load(older):
    pytest.importorskip("sklearn")
    X, y = older.data()
    models = unpickled("estimators.pickle")
    classifier, regressor = models["classifier"], models["regressor"]
    proba, values = EXPECTED["probabilities"], EXPECTED["values"]
    np.testing.assert_allclose(classifier.predict_proba(X), proba, **CLOSE)
    np.testing.assert_allclose(regressor.predict(X), values, **CLOSE)
    assert classifier.get_params()["matmul_precision"] is None
    assert classifier.network_.matmul_precision == "highest"
    steps = classifier._optimizer.t
    assert classifier.partial_fit(X, y)._optimizer.t > steps
    regressor.partial_fit(X, X[:, 0])
