"""Models of tables that are an encoder of columns and one network or several."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .._network.finite import check_finite_parameters
from ._estimators import is_of_table

if TYPE_CHECKING:
    from .._network.network import Network
    from ..tabular import TableEncoder
    from ..tabular._preprocessing import Class


@dataclass(frozen=True)
class TableParts:
    """An encoder, networks, and what the mean of their outputs says of the target.

    Parameters
    ----------
    encoder : TableEncoder
        The encoder, fitted.
    networks : sequence of Network
        The networks, which take its inputs. They have one dtype. Predictions are computed from the
        mean of their outputs.
    target : tuple of str
        The names of the columns that they predict; a classification has one.
    classes : tuple of str, int or bool
        The classes in the order of the outputs. The output for two classes may be one: the
        probability of the second. () for a regression.
    target_mean, target_scale : tuple of float
        For a regression: output a predicts a·scale + mean.
    temperature : float, default 1
        The probabilities are those of the networks to the power 1/temperature, normalised to the
        sum 1.

    Raises
    ------
    ValueError
        The parts do not fit together, or a weight is not finite.
    """

    encoder: TableEncoder
    networks: Sequence[Network]
    target: tuple[str, ...]
    classes: tuple[Class, ...] = ()
    target_mean: tuple[float, ...] = ()
    target_scale: tuple[float, ...] = ()
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not self.networks:
            raise ValueError("the model has no networks")
        n_outputs = len(self.classes) or len(self.target)
        single = len(self.classes) == 2  # one output may do
        for net in self.networks:
            widths = (net.widths[0], net.widths[-1])
            if widths[0] != self.encoder.n_inputs or widths[1] not in {n_outputs, 2 - single}:
                raise ValueError(
                    f"the encoder has {self.encoder.n_inputs} inputs, and the target "
                    f"{n_outputs} outputs; a network has {widths[0]} and {widths[1]}"
                )
            if (net.widths[-1], net.dtype) != (self.n_outputs, self.networks[0].dtype):
                raise ValueError("the networks differ in their dtype, or in the number of outputs")
            check_finite_parameters(net.layers, "an export takes finite weights only")
        if not self.classes and not len(self.target_mean) == len(self.target_scale) == n_outputs:
            raise ValueError(f"target_mean and target_scale must have {n_outputs} numbers each")
        if any(type(label) is float for label in self.classes):
            raise ValueError(
                "an export takes classes that are texts, whole numbers or truth values; the model "
                f"has {next(label for label in self.classes if type(label) is float)}"
            )
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature must be positive; got {self.temperature}")

    @property
    def n_outputs(self) -> int:
        """The number of outputs of each network."""
        return self.networks[0].widths[-1]

    @property
    def n_answers(self) -> int:
        """The number of probabilities, or of predicted numbers."""
        return len(self.classes) or len(self.target)


def table_parts(model: Any, raw: object, unknown: object) -> TableParts | None:
    """The parts of a model of a table with an encoder; None for anything else.

    Raises ValueError if it is not fitted, and for options that do not suit it: its exports take the
    raw columns, and treat texts that the training rows did not have as the encoder does.
    """
    if is_of_table(model):
        fitted = getattr(model, "model_", model)
        if not getattr(fitted, "networks", None):
            raise ValueError(f"this {type(model).__name__} is not fitted: fit it before the export")
        model = fitted
    module = sys.modules.get("fastbp.tabular")  # which has been imported if there is an encoder
    if module is None or not isinstance(getattr(model, "encoder", None), module.TableEncoder):
        return None
    if raw not in (None, True):
        raise ValueError(
            "raw=False takes a network alone: pass one of model.networks, whose inputs are those "
            "of model.encoder.transform"
        )
    if unknown not in ("error", "ignore"):
        raise ValueError(f"unknown must be one of error, ignore; got {unknown!r}")
    return TableParts(
        model.encoder,
        tuple(model.networks),
        _as_tuple(model.target),
        _as_tuple(model.classes),
        tuple(map(float, _as_tuple(model.target_mean))),
        tuple(map(float, _as_tuple(model.target_scale))),
        float(model.temperature),
    )


def _as_tuple(value: Any) -> tuple[Any, ...]:
    """The elements of a list or an array, or a single value; none of None."""
    if value is None:
        return ()
    found = value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
    return tuple(found) if isinstance(found, (list, tuple)) else (found,)
