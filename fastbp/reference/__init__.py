"""Backpropagation in NumPy, in the most readable form there is: the engine's oracle.

    _backpropagation.py  the four formulas: forward, output, recursion, gradients
    _formulas.py    every activation beside its derivative
    _losses.py      every loss beside its gradient
    _products.py    products of factors that are rounded to bfloat16
    _layers.py      norm, dropout and residual of a layer, each beside its derivative
    _cost.py        J as a pure function of theta
    _updates.py     the update rules of the optimisers
    _derivatives.py Jacobian, products with it, gradients sample by sample, relevance
    _curves.py      second derivatives of activations and losses along a direction
    _backend.py     all of these behind `Network`, in place of the C engine
    _network.py     Network, with the methods of `fastbp.Network`
    _slow.py        the same again as loops over samples, units and weights; _slow_losses.py

Both networks share their methods, the checks of arguments and the loop of `fit`
(`fastbp._network`, `fastbp._training`). They share no arithmetic, and nothing here uses the C
engine.
"""

from .._public import present
from ._cost import objective
from ._network import Network
from ._slow import SlowBackprop, slow_backprop

__all__ = ["Network", "SlowBackprop", "objective", "slow_backprop"]

present(__name__, __all__)
