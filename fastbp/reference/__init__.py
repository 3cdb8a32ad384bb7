"""Backpropagation in NumPy, in the most readable form there is: the engine's oracle.

    formulas.py     every activation beside its derivative
    losses.py       every loss beside its gradient
    layers.py       norm, dropout and residual of a layer, each beside its derivative
    network.py      Network, with the engine's interface: forward, backward, step, fit
    cost.py         J as a pure function of theta
    training.py     an epoch of fit
    derivatives.py  Jacobian, products with it, gradients sample by sample, relevance
    curves.py       second derivatives of activations and losses along a direction
    updates.py      the optimisers' update rules
    slow.py         the same again as loops over samples, units and weights; slow_losses.py

Constructor, checks and the outer loop of fit are shared with the engine's Network (`_base`);
no arithmetic is, and nothing here uses the C engine.
"""

from .cost import objective
from .network import Network
from .slow import SlowBackprop, slow_backprop

__all__ = ["Network", "SlowBackprop", "objective", "slow_backprop"]
