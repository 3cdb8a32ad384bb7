"""What batch normalisation asks of a training: batches of two rows or more, on one machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._messages import RESET_STATISTICS
from .._types import Array


def normed_by_batch(layers: Sequence[Any]) -> bool:
    """Whether training takes statistics of the batch in some of the layers.

    Parameters
    ----------
    layers : sequence of Layer
        The layers of a network, each with `dense` and `trainable`. A frozen layer uses its running
        statistics.
    """
    return any(
        layer.trainable and layer.dense.norm is not None and layer.dense.norm.by_batch
        for layer in layers
    )


def check_rows(layers: Sequence[Any], n: int, what: str) -> None:
    """Raise ValueError if `what` has one row, and some layer needs the variance of the batch.

    PyTorch's BatchNorm1d refuses such a batch in training mode, too.
    """
    if n == 1 and normed_by_batch(layers):
        raise ValueError(
            f"batch norm needs at least 2 rows in training, since a single row has no variance; "
            f"{what} has 1: give more rows, set trainable = False on the layers with batch norm, "
            "which then use their running statistics, or use norm='layer'"
        )


def has_batch_norm(layers: Sequence[Any]) -> bool:
    """Whether some of the layers have batch norm, frozen or not."""
    return any(layer.dense.norm is not None and layer.dense.norm.by_batch for layer in layers)


def check_one_machine(layers: Sequence[Any]) -> None:
    """Raise ValueError for a fit in parts: no rank would see all rows of a batch."""
    if has_batch_norm(layers):
        raise ValueError(
            "parts and comm need a loss of each sample by itself; with batch norm it depends on "
            "the whole batch: leave them out, or use norm='layer'"
        )


def variances(blocks: Sequence[Mapping[str, Array]]) -> tuple[tuple[int, Array], ...]:
    """The running variances in the parameters of a network, each with the index of its layer.

    Parameters
    ----------
    blocks : sequence of mappings of ndarray
        The parameters of every layer, by name.
    """
    found = ((i, views.get("running_var")) for i, views in enumerate(blocks))
    return tuple((i, var) for i, var in found if var is not None)


def check_variances(found: Sequence[tuple[int, Array]], where: str = "") -> None:
    """Raise ValueError for a negative one; `where` is what the message begins with."""
    for i, var in found:
        check_variance(var, f"{where}layers[{i}].running_var")


def check_statistics(blocks: Sequence[Mapping[str, Array]]) -> None:
    """Raise ValueError for running statistics with which no training can begin.

    Those are negative variances, and NaN and infinities, which further batches do not change.

    Parameters
    ----------
    blocks : sequence of mappings of ndarray
        The parameters of every layer, by name.
    """
    check_variances(variances(blocks))
    for i, views in enumerate(blocks):
        for name in ("running_mean", "running_var"):
            values = views.get(name)
            if values is None or np.isfinite(values).all():
                continue
            value = values[np.argmin(np.isfinite(values))]
            raise ValueError(
                f"layers[{i}].{name} has {value:g}, which no training makes finite again: "
                f"{RESET_STATISTICS}"
            )


def check_variance(var: Array, name: str) -> None:
    """Raise ValueError for a running variance with a negative number."""
    least = var.min()
    if least < 0:
        raise ValueError(
            f"{name} has {least:g}, and a variance is not negative: give it values of at least 0"
        )
