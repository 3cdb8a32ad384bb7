"""One layer of a network: its views and the arrays of the last passes."""

from __future__ import annotations

import numpy as np

from . import _validation as check
from .activations import Activation

Array = np.ndarray


class Layer:
    """One dense layer of a network: its views and the arrays of the last passes.

    W (n_in, n_out) and b (n_out,) are views of theta, dW and db of grad: writing into them
    changes the network, and assigning an array to W or b copies it in (ValueError for another
    shape). z, a and delta, all (batch, n_out), belong to the last forward and backward, and are
    None before. Writing into delta changes only what `input_gradient` makes of that of the first
    layer, until the next backward; `backward_from` is the way to inject an error signal.

    >>> from fastbp import Network
    >>> layer = Network((2, 3), seed=0).layers[0]; layer.b = [1, 2, 3]; layer.b
    array([1., 2., 3.], dtype=float32)
    """

    def __init__(self, activation: Activation, W: Array, b: Array, dW: Array, db: Array) -> None:
        self.activation = activation
        self._W, self._b, self.dW, self.db = W, b, dW, db
        self.forget()

    def forget(self) -> None:
        """Drop z, a and delta."""
        self.z: Array | None = None
        self.a: Array | None = None
        self.delta: Array | None = None

    @property
    def W(self) -> Array:
        """Weights (n_in, n_out): W[j, k] leads from unit j below to unit k."""
        return self._W

    @W.setter
    def W(self, value: object) -> None:
        self._W[...] = check.as_parameters(value, self._W.shape, self._W.dtype, "W")

    @property
    def b(self) -> Array:
        """Biases (n_out,)."""
        return self._b

    @b.setter
    def b(self, value: object) -> None:
        self._b[...] = check.as_parameters(value, self._b.shape, self._b.dtype, "b")

    def __repr__(self) -> str:
        n_in, n_out = self._W.shape
        return f"Layer({n_in} -> {n_out}, {self.activation})"
