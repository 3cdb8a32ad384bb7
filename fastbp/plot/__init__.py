"""Pictures of training and of networks, by matplotlib: `pip install "fastbp[plot]"`.

Each class follows scikit-learn's Display convention: `from_…` computes and draws, `plot(ax=…)`
draws again from what was computed, `ax_` and `figure_` hold what was drawn on. matplotlib is
imported when something is drawn.

    HistoryDisplay      learning curves of a History
    SignalsDisplay      histograms of a and δ of every layer over training
    WeightsDisplay      W of a layer, as a matrix or a picture for each unit
    BoundaryDisplay     what a network of two inputs decides, over the plane
    NetworkDisplay      units and weights, with a in green and δ in red, of one sample
"""

from .._public import present
from ._boundary import BoundaryDisplay
from ._history import HistoryDisplay
from ._network import NetworkDisplay
from ._signals import SignalsDisplay, SignalsRecorder
from ._weights import WeightsDisplay

__all__ = [
    "BoundaryDisplay",
    "HistoryDisplay",
    "NetworkDisplay",
    "SignalsDisplay",
    "SignalsRecorder",
    "WeightsDisplay",
]

present(__name__, __all__)
