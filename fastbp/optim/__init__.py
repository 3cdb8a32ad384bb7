"""Optimisers: hyper-parameters and state. The arithmetic is the engine's (or the reference's).

    _base.py      what all share: options, state, what fit and the engine read
    _hyper.py     how a class declares its hyper-parameters
    _sgd.py       SGD, Lion, Rprop
    _adam.py      Adam, AdamW, NAdam, RAdam, Adamax
    _adaptive.py  Adagrad, Adadelta, RMSprop
    _averaging.py averages of theta: SWA, and what `ema` gathers
    _names.py     the optimisers by name
    _format.py    the file of an optimiser; _files.py reads one
    _lbfgs.py     L-BFGS through SciPy
    _objective.py J in double and in the targets' units, for L-BFGS

Rules and defaults are PyTorch's (torch.optim), so that whole trajectories can be compared;
`docs/optimizers.md` has the formulas side by side. The gradient g is that of J, penalties included.
"""

from __future__ import annotations

from .._public import present
from ._adam import Adam, Adamax, AdamW, NAdam, RAdam
from ._adaptive import Adadelta, Adagrad, RMSprop
from ._averaging import SWA, averaged
from ._base import Optimizer
from ._files import load
from ._lbfgs import LBFGS
from ._names import NAMES, resolve
from ._sgd import SGD, Lion, Rprop

__all__ = [
    "LBFGS",
    "NAMES",
    "SGD",
    "SWA",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "averaged",
    "load",
    "resolve",
]

present(__name__, __all__)
