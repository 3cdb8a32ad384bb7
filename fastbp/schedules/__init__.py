"""Learning rates that change over a fit: `net.fit(..., schedule=...)`.

A schedule makes the rate of epoch or step t = 0, 1, … out of the optimiser's `lr`, which stays as
it is. `per` says what t counts. The engine gets the rates of an epoch's steps as one array, so
that no Python runs between them. Names, formulas and defaults are those of
torch.optim.lr_scheduler, but that a length of None stands for the whole fit; `InverseScaling` and
`Adaptive` are scikit-learn's. A schedule has a state, its t, as an optimiser has: a fit with the
same object goes on where the last one ended, `reset` goes back to t = 0, and `state_dict` keeps it.

>>> import numpy as np
>>> StepLR(2).rates(1.0, np.arange(5)).round(6).tolist()
[1.0, 1.0, 0.1, 0.1, 0.01]
"""

from .._public import present
from ._base import Schedule, Span
from ._given import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    InverseScaling,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    StepLR,
)
from ._names import NAMES, Warmup, resolve
from ._seen import Adaptive, ReduceLROnPlateau

__all__ = [
    "NAMES",
    "Adaptive",
    "ConstantLR",
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
    "Warmup",
    "resolve",
]

present(__name__, __all__)
