"""Trackers: what they log, with the real packages if installed, and with stand-ins."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

import fastbp
from fastbp import tracking

pytestmark = pytest.mark.once


def fitted(*callbacks, epochs=3):
    X = np.linspace(-1, 1, 20)[:, None]
    net = fastbp.Network((1, 4, 1), seed=0)
    return net.fit(X, X, epochs=epochs, validation_data=(X, X), callbacks=callbacks)


class Notes:
    """Replaces mlflow, wandb and the run of wandb.init, and records calls."""

    def __init__(self):
        self.run = None
        self.active = None
        self.calls = []
        self.config = SimpleNamespace(update=self._config)

    def _config(self, values, allow_val_change):
        self.calls.append(("params", values))

    def log_params(self, values):
        self.calls.append(("params", values))

    def active_run(self):
        return self.active

    def start_run(self):
        self.active = self
        self.calls.append(("start", None))

    def end_run(self):
        self.active = None
        self.calls.append(("end", None))

    def log_metrics(self, values, step):
        self.calls.append((step, values))

    def init(self, **options):
        self.calls.append(("start", options))
        return self

    def log(self, values):
        self.calls.append((values["epoch"], {k: v for k, v in values.items() if k != "epoch"}))

    def finish(self):
        self.calls.append(("end", None))


@pytest.mark.parametrize(("name", "make"), [("mlflow", tracking.MLflow), ("wandb", tracking.WandB)])
def test_a_tracker_starts_and_ends_its_own_run(name, make, monkeypatch):
    notes = Notes()
    monkeypatch.setitem(sys.modules, name, notes)
    history = fitted(make())
    events = [what for what, _ in notes.calls]
    assert events == ["start", "params", 0, 1, 2, "end"]
    values = dict(notes.calls)
    assert values["params"]["widths"] == "1-4-1"
    assert [values[epoch]["loss"] for epoch in range(3)] == history.loss
    assert [values[epoch]["val_loss"] for epoch in range(3)] == history.val_loss


@pytest.mark.parametrize(("name", "make"), [("mlflow", tracking.MLflow), ("wandb", tracking.WandB)])
def test_an_open_run_stays_open(name, make, monkeypatch):
    notes = Notes()
    notes.active = notes.run = notes
    monkeypatch.setitem(sys.modules, name, notes)
    fitted(make(), epochs=1)
    assert [what for what, _ in notes.calls] == ["params", 0]


def test_a_run_ends_when_the_fit_fails(monkeypatch):
    notes = Notes()
    monkeypatch.setitem(sys.modules, "mlflow", notes)

    def fail(epoch, logs):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fitted(tracking.MLflow(), fail)
    assert notes.calls[-1][0] == "end"


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    history = fitted(tracking.TensorBoard(tmp_path))
    found = EventAccumulator(str(tmp_path))
    found.Reload()
    losses = [make_ndarray(event.tensor_proto).item() for event in found.Tensors("loss")]
    np.testing.assert_allclose(losses, history.loss, rtol=1e-6)
    assert [event.step for event in found.Tensors("val_loss")] == [0, 1, 2]


def test_the_real_mlflow(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    try:
        history = fitted(tracking.MLflow())
        assert mlflow.active_run() is None
        run = mlflow.last_active_run()
        found = mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")
        np.testing.assert_allclose([metric.value for metric in found], history.loss)
        assert run.data.params["parameters"] == "13"
    finally:
        mlflow.set_tracking_uri("")


def test_the_real_wandb(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.chdir(tmp_path)
    fitted(tracking.WandB(mode="offline", dir=str(tmp_path)))
    assert list(tmp_path.rglob("*.wandb"))


@pytest.mark.parametrize(
    ("module", "make", "package"),
    [
        ("mlflow", tracking.MLflow, "mlflow"),
        ("wandb", tracking.WandB, "wandb"),
        ("tensorboard.summary", lambda: tracking.TensorBoard("x"), "tensorboard"),
    ],
)
def test_a_missing_package_is_named(module, make, package, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=f"pip install {package}"):
        make()
