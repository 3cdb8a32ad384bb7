"""Learning rates that change during a fit: `net.fit(..., schedule=...)`.

A schedule computes the learning rate at t = 0, 1, … from the optimiser's `lr`, which it does not
change. `per` says whether t counts epochs or steps. The engine receives the rates of an epoch's
steps as one array, so no Python code runs between steps. Names, formulas and defaults are those of
`torch.optim.lr_scheduler`, with one exception: a length of None means the whole fit.
`InverseScaling` and `Adaptive` follow scikit-learn, `CosLog4` follows Holzmüller et al. 2024.

A schedule has a state, like an optimiser. A fit with the same object continues at the t where the
last fit ended. `reset` sets t to 0, and `state_dict` returns the state.

>>> import numpy as np
>>> StepLR(2).rates(1.0, np.arange(5)).round(6).tolist()
[1.0, 1.0, 0.1, 0.1, 0.01]
"""

from typing import TYPE_CHECKING

from .._checks.keywords import missing_name
from .._public import present
from ._base import Schedule, Span
from ._formulas import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CosLog4,
    ExponentialLR,
    InverseScaling,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    StepLR,
)
from ._plateau import Adaptive, ReduceLROnPlateau
from ._registry import NAMES, Together, Warmup, resolve

__all__ = [
    "NAMES",
    "Adaptive",
    "ConstantLR",
    "CosLog4",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "ExponentialLR",
    "InverseScaling",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "Schedule",
    "Span",
    "StepLR",
    "Together",
    "Warmup",
    "resolve",
]

present(__name__, __all__)

if not TYPE_CHECKING:  # which would take every name for known

    def __getattr__(name):
        raise missing_name(__name__, name)
