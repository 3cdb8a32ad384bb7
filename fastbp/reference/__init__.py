"""Backpropagation in NumPy, in the most readable form there is: the engine's oracle.

    _formulas.py    every activation beside its derivative
    _losses.py      every loss beside its gradient
    _layers.py      norm, dropout and residual of a layer, each beside its derivative
    _network.py     Network, with the engine's interface: forward, backward, step, fit
    _cost.py        J as a pure function of theta
    _training.py    an epoch of fit
    _derivatives.py Jacobian, products with it, gradients sample by sample, relevance
    _curves.py      second derivatives of activations and losses along a direction
    _updates.py     the optimisers' update rules
    _slow.py        the same again as loops over samples, units and weights; _slow_losses.py

Constructor, checks and the outer loop of fit are shared with the engine's Network (`_base`);
no arithmetic is, and nothing here uses the C engine.
"""

from .._public import present
from ._cost import objective
from ._network import Network
from ._slow import SlowBackprop, slow_backprop

__all__ = ["Network", "SlowBackprop", "objective", "slow_backprop"]

present(__name__, __all__)
