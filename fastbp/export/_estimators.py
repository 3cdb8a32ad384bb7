"""Estimators of fastbp.sklearn and pipelines, where an export takes a network."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeAlias

from .._network.base import NetworkBase

if TYPE_CHECKING:
    from .._network.network import Network
    from ..sklearn import MLPClassifier, MLPRegressor, TabularClassifier, TabularRegressor
    from ..tabular import TableModel

# What an export takes, and a Pipeline of scikit-learn, which has no type hints.
Exportable: TypeAlias = "Network | MLPClassifier | MLPRegressor"
OfTable: TypeAlias = "TableModel | TabularClassifier | TabularRegressor"
Pipeline: TypeAlias = Any


def network_of(model: Any, export: str) -> Network:
    """Return the network to export: `model` itself, or that of a fitted estimator.

    Raises TypeError, which names the function `export`, if it is something else, and ValueError for
    an estimator that is not fitted.
    """
    if isinstance(model, NetworkBase):
        return model  # type: ignore[return-value]  # of either backend
    if is_estimator(model):
        return fitted_network(model, export)
    kind = type(model).__name__
    way = ""
    if is_pipeline(model):
        way = (
            ": pass its last step, pipeline[-1], which takes what the other steps return; "
            "export.onnx takes all steps"
        )
    elif hasattr(model, "best_estimator_"):
        way = ": pass its best_estimator_"
    elif is_of_table(model):
        way = ", which has several networks and an encoder: export.c and export.onnx take all of it"
    raise TypeError(
        f"export.{export} takes a network or a fitted estimator of fastbp.sklearn; got {kind}{way}"
    )


def is_estimator(model: Any) -> bool:
    """Whether it is an estimator of fastbp.sklearn, which is not imported for this."""
    module = sys.modules.get("fastbp.sklearn")
    return module is not None and isinstance(model, (module.MLPClassifier, module.MLPRegressor))


def is_of_table(model: Any) -> bool:
    """Whether it is a TableModel, or an estimator with one; nothing is imported for this."""
    tabular, estimators = map(sys.modules.get, ("fastbp.tabular", "fastbp.sklearn"))
    return (tabular is not None and isinstance(model, tabular.TableModel)) or (
        estimators is not None
        and isinstance(model, (estimators.TabularClassifier, estimators.TabularRegressor))
    )


def is_pipeline(model: Any) -> bool:
    """Whether it is a Pipeline of scikit-learn, which is not imported for this."""
    module = sys.modules.get("sklearn.pipeline")
    return module is not None and isinstance(model, module.Pipeline)


def fitted_network(model: Any, export: str) -> Network:
    """Return the network of an estimator; ValueError if it is not fitted, or an ensemble."""
    nets = fitted_networks(model, export)
    if len(nets) > 1:
        raise ValueError(
            f"export.{export} takes one network; this {type(model).__name__} is an ensemble of "
            f"{len(nets)}: export its members, estimators_[0] and so on, and take the mean of what "
            "they predict; export.onnx takes all of them"
        )
    return nets[0]


def fitted_networks(model: Any, export: str) -> list[Network]:
    """Return the network of an estimator, or those of an ensemble; ValueError if not fitted."""
    known = vars(model)
    if "estimators_" in known:
        return [member.network_ for member in known["estimators_"]]
    if "network_" not in known:
        raise ValueError(
            f"this {type(model).__name__} is not fitted: fit it before export.{export}"
        )
    return [known["network_"]]
