"""Callbacks that send the logs of a fit to TensorBoard, MLflow or Weights & Biases.

Each callback needs the package of its tracker, and imports it when the callback is created. The
keys of `logs` are the names of the curves. Steps are epochs, counted from 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from os import PathLike, fspath
from typing import Any, ClassVar

__all__ = ["MLflow", "TensorBoard", "WandB", "describe"]


def _package(name: str, install: str) -> Any:
    """Import a package; the ImportError says how to install it."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f"this callback needs {install}: run pip install {install}") from error


class TensorBoard:
    """Write the logs of each epoch to a folder, for `tensorboard --logdir FOLDER`.

    Each fit writes a new event file. Needs the package tensorboard, but not TensorFlow.

    Parameters
    ----------
    folder : str or path-like
        The folder.

    Examples
    --------
    >>> import fastbp
    >>> net = fastbp.Network((1, 1), seed=0)
    >>> net.fit([[0.0]], [[1.0]], callbacks=[TensorBoard("runs/one")])  # doctest: +SKIP
    """

    adds_logs: ClassVar[dict[str, bool | None]] = {}

    def __init__(self, folder: str | PathLike[str]) -> None:
        self._summary = _package("tensorboard.summary", "tensorboard")
        self.folder = fspath(folder)
        self._writer: Any = None

    def on_fit_begin(self, net: object) -> None:
        """Open the event file."""
        self._writer = self._summary.Writer(self.folder)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Write one scalar for each entry of the logs."""
        for name, value in logs.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()

    def on_fit_end(self, net: object) -> None:
        """Close the event file."""
        self._writer.close()
        self._writer = None


class MLflow:
    """Log the logs of each epoch as metrics of the active MLflow run, or of a new run.

    A new run ends with the fit. The description of the network is logged as parameters. Needs the
    package mlflow or mlflow-skinny.

    >>> import fastbp
    >>> net = fastbp.Network((1, 1), seed=0)
    >>> net.fit([[0.0]], [[1.0]], callbacks=[MLflow()])  # doctest: +SKIP
    """

    adds_logs: ClassVar[dict[str, bool | None]] = {}

    def __init__(self) -> None:
        self._mlflow = _package("mlflow", "mlflow")
        self._own_run = False

    def on_fit_begin(self, net: Any) -> None:
        """Start a run if none is active, and log the description of the network."""
        self._own_run = self._mlflow.active_run() is None
        if self._own_run:
            self._mlflow.start_run()
        self._mlflow.log_params(describe(net))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Log the logs as metrics."""
        self._mlflow.log_metrics({name: float(v) for name, v in logs.items()}, step=epoch)

    def on_fit_end(self, net: object) -> None:
        """End a run that this fit started."""
        if self._own_run:
            self._mlflow.end_run()
            self._own_run = False


class WandB:
    """Log the logs of each epoch to the active run of Weights & Biases, or to a new run.

    A new run ends with the fit. The description of the network is added to the config of the run.
    Needs the package wandb.

    Parameters
    ----------
    **options
        Arguments of `wandb.init` for a new run, such as project="…" or mode="offline".

    Examples
    --------
    >>> import fastbp
    >>> net = fastbp.Network((1, 1), seed=0)
    >>> net.fit([[0.0]], [[1.0]], callbacks=[WandB(project="digits")])  # doctest: +SKIP
    """

    adds_logs: ClassVar[dict[str, bool | None]] = {}

    def __init__(self, **options: Any) -> None:
        self._wandb = _package("wandb", "wandb")
        self._options = options
        self._run: Any = None
        self._own_run = False

    def on_fit_begin(self, net: Any) -> None:
        """Start a run if none is active, and add the description of the network to its config."""
        self._own_run = self._wandb.run is None
        self._run = self._wandb.init(**self._options) if self._own_run else self._wandb.run
        self._run.config.update(describe(net), allow_val_change=True)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Log the epoch and the logs."""
        self._run.log({"epoch": epoch, **logs})

    def on_fit_end(self, net: object) -> None:
        """End a run that this fit started."""
        if self._own_run:
            self._run.finish()
        self._run = None


def describe(net: Any) -> dict[str, Any]:
    """Describe a network by plain values.

    >>> import fastbp
    >>> describe(fastbp.Network((2, 3, 1), seed=7))["widths"]
    '2-3-1'
    """
    return {
        "widths": "-".join(map(str, net.widths)),
        "activations": ", ".join(map(str, net.activations)),
        "loss": str(net.criterion),
        "dtype": str(net.dtype),
        "l1": net.l1,
        "l2": net.l2,
        "matmul_precision": net.matmul_precision,
        "seed": net.seed,
        "parameters": int(net.theta.size),
    }
