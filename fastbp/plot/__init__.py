"""Pictures of training and of networks. They need matplotlib: `pip install "fastbp[plot]"`.

The Displays follow the convention of scikit-learn: `from_…` computes and draws, `plot(ax=…)` draws
the same data again, and `ax_` and `figure_` are the axes and the figure of the picture. matplotlib
is imported when something is drawn. `walk` needs no package.

    HistoryDisplay      learning curves of a History
    SignalsDisplay      histograms of a and δ in each layer during training
    WeightsDisplay      W of a layer, as a matrix or as one picture per unit
    BoundaryDisplay     outputs of a network with two inputs, over the plane
    NetworkDisplay      units and weights, with names, z, a, δ, y and J of one sample
    GateDisplay         a trace of gates, with values in green and gradients in red
    walk                a page with buttons: one sample through a small network, forward and back
"""

from typing import TYPE_CHECKING

from .._public import present
from ._boundary import BoundaryDisplay
from ._history import HistoryDisplay
from ._network import NetworkDisplay
from ._signals import SignalsDisplay, SignalsRecorder
from ._weights import WeightsDisplay

__all__ = [
    "BoundaryDisplay",
    "GateDisplay",
    "HistoryDisplay",
    "NetworkDisplay",
    "SignalsDisplay",
    "SignalsRecorder",
    "WalkPage",
    "WeightsDisplay",
    "walk",
]

_LATER = {"GateDisplay": "_gates", "WalkPage": "_walk", "walk": "_walk"}

if TYPE_CHECKING:
    from ._gates import GateDisplay
    from ._walk import WalkPage, walk
else:

    def __getattr__(name):
        """Import pictures of gates and walks when first used, so that `import fastbp` is quick."""
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        module = import_module(f".{_LATER[name]}", __name__)
        later = [each for each in _LATER if _LATER[each] == _LATER[name]]
        globals().update({each: getattr(module, each) for each in later})
        present(__name__, later)
        return globals()[name]

    def __dir__():
        return sorted({*globals(), *__all__})


present(__name__, (name for name in __all__ if name not in _LATER))
