"""fastbp: dense networks trained on a CPU by backpropagation in C, with every δ in hand.

>>> import fastbp
>>> net = fastbp.Network((2, 8, 1), activation="tanh", seed=0)
>>> history = net.fit([[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0], epochs=100, batch_size=4)
>>> net.predict([[0, 1]]).shape
(1, 1)
"""

from typing import TYPE_CHECKING

from . import (
    _older_names,
    activations,
    callbacks,
    datasets,
    errors,
    initializers,
    io,
    losses,
    metrics,
    optim,
    schedules,
)
from ._checks.keywords import missing_name
from ._config import get_num_threads, isa, set_num_threads, show_config, stop_threads
from ._network.dense import Dense, Norm
from ._network.embedding import Categories, Periodic
from ._network.network import Network
from ._precision import get_float32_matmul_precision, set_float32_matmul_precision
from ._public import present
from ._training.lr_finder import lr_finder
from ._training.streams import stream
from ._version import __version__
from .errors import DivergenceError, ModelFileError
from .history import History
from .io import load
from .population import Population

__all__ = [
    "Categories",
    "Dense",
    "DivergenceError",
    "History",
    "ModelFileError",
    "Network",
    "Norm",
    "Periodic",
    "Population",
    "Walk",
    "__version__",
    "activations",
    "callbacks",
    "datasets",
    "errors",
    "export",
    "gates",
    "get_float32_matmul_precision",
    "get_num_threads",
    "initializers",
    "io",
    "isa",
    "load",
    "losses",
    "lr_finder",
    "metrics",
    "optim",
    "plot",
    "reference",
    "schedules",
    "set_float32_matmul_precision",
    "set_num_threads",
    "show_config",
    "stop_threads",
    "stream",
    "testing",
    "tracking",
]

# Imported when they are first used, so that `import fastbp` is quick and takes little memory.
_LATER = frozenset({"export", "gates", "plot", "reference", "testing", "tracking"})

if TYPE_CHECKING:
    from . import export, gates, plot, reference, testing, tracking
    from ._network.walk import Walk
else:

    def __getattr__(name):
        if name in _LATER:
            from importlib import import_module

            return import_module(f".{name}", __name__)
        if name == "Walk":
            from ._network.walk import Walk

            return Walk
        raise missing_name(__name__, name)

    def __dir__():
        return sorted({*globals(), *__all__})


present(__name__, (name for name in __all__ if name not in _LATER | {"Walk"}))
_older_names.install()
