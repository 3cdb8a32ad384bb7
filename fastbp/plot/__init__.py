"""Pictures of training and of networks. They need matplotlib: `pip install "fastbp[plot]"`.

The Displays follow the convention of scikit-learn: `from_…` computes and draws, `plot(ax=…)` draws
the same data again, and `ax_` and `figure_` are the axes and the figure of the picture. matplotlib
is imported when something is drawn. `walk` needs no package.

    HistoryDisplay      learning curves of a History
    SignalsDisplay      histograms of a and δ in each layer during training
    WeightsDisplay      W of a layer, as a matrix or as one picture per unit
    BoundaryDisplay     outputs of a network with two inputs, over the plane
    NetworkDisplay      units and weights, with a in green and δ in red for one sample
    GateDisplay         a trace of gates, with values in green and gradients in red
    walk                a page with buttons: one sample through a small network, forward and back
"""

from .._public import present
from ._boundary import BoundaryDisplay
from ._gates import GateDisplay
from ._history import HistoryDisplay
from ._network import NetworkDisplay
from ._signals import SignalsDisplay, SignalsRecorder
from ._walk import WalkPage, walk
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

present(__name__, __all__)
