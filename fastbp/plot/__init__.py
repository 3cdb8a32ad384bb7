"""Pictures of training and of networks. They need matplotlib: `pip install "fastbp[plot]"`.

Each class follows the Display convention of scikit-learn: `from_…` computes and draws, `plot(ax=…)`
draws the same data again, and `ax_` and `figure_` are the axes and the figure of the picture.
matplotlib is imported when something is drawn.

    HistoryDisplay      learning curves of a History
    SignalsDisplay      histograms of a and δ in each layer during training
    WeightsDisplay      W of a layer, as a matrix or as one picture per unit
    BoundaryDisplay     outputs of a network with two inputs, over the plane
    NetworkDisplay      units and weights, with a in green and δ in red for one sample
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
