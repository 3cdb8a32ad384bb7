"""Optimisers: their hyper-parameters and their state. The engine or the reference does the steps.

    _base.py      what all optimisers share: options, state, what fit and the engine read
    _factors.py   factors of rate and decay by layer and group of parameters
    _hyper.py     how a class declares its hyper-parameters
    _sgd.py       SGD, Lion, Rprop
    _adam.py      Adam, AdamW, NAdam, RAdam, Adamax
    _adaptive.py  Adagrad, Adadelta, RMSprop
    _schedule_free.py  ScheduleFree
    _muon.py      Muon
    _averaging.py averages of theta: SWA, and the context manager `averaged`
    _names.py     the optimisers by name
    _format.py    the file format of optimisers: writing, and reading its metadata
    _files.py     `load`, which reads an optimiser from a file
    _lbfgs.py     L-BFGS through SciPy
    _objective.py J in float64 and in units of the targets, for L-BFGS

Rules and defaults are the same as in `torch.optim`, so whole trajectories can be compared.
`docs/optimizers.md` lists all formulas. g is the gradient of J, including penalties.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._checks.keywords import missing_name
from .._public import present
from ._adam import Adam, Adamax, AdamW, NAdam, RAdam
from ._adaptive import Adadelta, Adagrad, RMSprop
from ._averaging import SWA, averaged
from ._base import Optimizer
from ._files import load
from ._lbfgs import LBFGS
from ._muon import Muon
from ._names import NAMES, resolve
from ._schedule_free import ScheduleFree, extrapolated
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
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "ScheduleFree",
    "averaged",
    "extrapolated",
    "load",
    "resolve",
]

present(__name__, __all__)

if not TYPE_CHECKING:  # which would take every name for known

    def __getattr__(name):
        raise missing_name(__name__, name)
