"""fastbp: dense networks trained on a CPU by backpropagation in C, with every δ in hand.

>>> import fastbp
>>> net = fastbp.Network((2, 8, 1), activation="tanh", seed=0)
>>> history = net.fit([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0], epochs=100, batch_size=4)
>>> net.predict([[0, 1]]).shape
(1, 1)
"""

from . import (
    activations,
    callbacks,
    datasets,
    errors,
    export,
    initializers,
    losses,
    optim,
    plot,
    reference,
    schedules,
    testing,
    tracking,
)
from ._config import get_num_threads, isa, set_num_threads, show_config
from ._version import __version__
from .dense import Dense
from .errors import DivergenceError, ModelFileError
from .history import History
from .io import load
from .lr_range import lr_finder
from .network import Network
from .streaming import stream

__all__ = [
    "Dense",
    "DivergenceError",
    "History",
    "ModelFileError",
    "Network",
    "__version__",
    "activations",
    "callbacks",
    "datasets",
    "errors",
    "export",
    "get_num_threads",
    "initializers",
    "isa",
    "load",
    "losses",
    "lr_finder",
    "optim",
    "plot",
    "reference",
    "schedules",
    "set_num_threads",
    "show_config",
    "stream",
    "testing",
    "tracking",
]
