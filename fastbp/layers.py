"""One layer of a network: its views and the arrays of the last passes."""

from __future__ import annotations

from operator import attrgetter

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
        self._W, self._b, self._dW, self._db = W, b, dW, db
        self.forget()

    dW = property(attrgetter("_dW"), doc="Gradient of J with respect to W (n_in, n_out).")
    db = property(attrgetter("_db"), doc="Gradient of J with respect to b (n_out,).")
    z = property(
        attrgetter("_z"), doc="Pre-activations (batch, n_out) of the last forward, or None."
    )
    a = property(attrgetter("_a"), doc="Activations (batch, n_out) of the last forward, or None.")

    @property
    def delta(self) -> Array | None:
        """Errors (batch, n_out) of the last backward, or None; per sample."""
        return self._delta

    @delta.setter
    def delta(self, value: object) -> None:
        raise AttributeError(
            "delta is made by backward: inject an error signal with net.backward_from(delta_L), "
            "or write into the array, layer.delta[...] = …"
        )

    def forget(self) -> None:
        """Drop z, a and delta."""
        self.show_forward(None, None)

    def show_forward(self, z: Array | None, a: Array | None) -> None:
        """What a forward pass has made, for the network to call; delta is gone with it."""
        self._z, self._a, self._delta = z, a, None

    def show_delta(self, delta: Array) -> None:
        """What a backward pass has made, for the network to call."""
        self._delta = delta

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
