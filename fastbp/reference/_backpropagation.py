"""The whole of backpropagation: four formulas, each a method of `Pass`.

    forward    z^l = a^{l-1} W^l + b^l                    a^l = σ_l(z^l)
    output     δ^L = ∂J_i/∂a^L ⊙ σ_L'(z^L)
    recursion  δ^l = (δ^{l+1} W^{l+1}ᵀ) ⊙ σ_l'(z^l)
    gradients  dW^l = (1/S) Σ_i s_i a_i^{l-1}ᵀ δ_i^l + l1·sign(W^l) + l2·W^l
               db^l = (1/S) Σ_i s_i δ_i^l

with S = Σ s_i; `weight_sum` has class weights. Rumelhart, Hinton & Williams, "Learning
representations by back-propagating errors", Nature 323, 1986. δ is per sample: neither multiplied
by s_i nor divided by S; with batch norm by the batch, where J_i depends on every row, it is
∂(Σ_k s_k J_k)/∂z^l instead. `_layers` has what norm, dropout and residual add to a layer,
`_products` how the factors of the three products are rounded.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._network.architecture import Architecture
from .._training.class_weight import weight_sum
from .._types import Array
from ._cost import dense_targets, penalty
from ._formulas import constants_of, output_slopes, sample_losses
from ._layers import Trace, backward, dropped, forward, gradients, move_statistics, through
from ._losses import mean_loss, sample_weights

Masks = Sequence[Array | None]


class Pass:
    """z, a and δ of every layer l = 1 … L, for one batch of rows.

    `forward` comes first, then `output` or `inject`, then `recursion` for l = L − 1, …, 1, and then
    `gradients`; `backward` is all from the recursion on. trace[l] holds z^l and a^l, delta[l] is
    δ^l, and parameters[l] are views of the theta of the forward pass.
    """

    def __init__(self, net: Architecture) -> None:
        self._net, self._top, self._precision = net, len(net.dense), net.matmul_precision
        self._layer = dict(enumerate(net.dense, 1))
        self.parameters: dict[int, dict[str, Array]] = {}
        self.trace: dict[int, Trace] = {}
        self.delta: dict[int, Array] = {}
        self._s, self._S = np.ones(0), np.float64(0)  # s_i and their sum
        self._kept: Array | None = None  # the mask of the inputs

    def forward(
        self,
        theta: Array,
        X: Array,
        masks: Masks | None = None,
        by_batch: Sequence[bool] | None = None,
    ) -> Array:
        """z^l and a^l of the rows X (n, n_0), for l = 1 … L; returns a^L.

        masks: the units that dropout keeps, of the inputs and of every layer; None drops nothing.
        by_batch: the layers whose batch norm takes the statistics of X; None for none.
        """
        masks = [None] * (self._top + 1) if masks is None else masks
        self._theta, self.parameters = theta, dict(enumerate(self._net.blocks(theta), 1))
        self._kept = masks[0]
        self.delta = {}
        u = dropped(X, self._net.input_dropout, masks[0])
        for l, layer in self._layer.items():
            taken = by_batch is not None and by_batch[l - 1]
            self.trace[l] = forward(
                layer, self.parameters[l], u, masks[l], self._precision, by_batch=taken
            )
            u = self.trace[l].out
        return u

    @property
    def _by_batch(self) -> bool:
        """Whether δ of a row depends on the other rows."""
        return any(trace.of is not None and trace.of.of_batch for trace in self.trace.values())

    def move_statistics(self, theta: Array) -> None:
        """Move the running statistics in theta towards those that the forward pass took."""
        for l, blocks in enumerate(self._net.blocks(theta), 1):
            norm, trace = self._layer[l].norm, self.trace[l]
            if norm is not None and trace.of is not None and trace.of.of_batch:
                move_statistics(norm, blocks, trace.of, len(trace.z))

    def output(self, y: Array | None, s: Array | None) -> float:
        """δ^L for the targets y and the sample weights s; returns J."""
        net, top, activation = self._net, self.trace[self._top], self._layer[self._top].activation
        loss, weights, targets = net.criterion, self._weights(s), dense_targets(net, y)
        J_i = sample_losses(loss, activation, top.z, top.a, targets)
        constants = constants_of(activation, self.parameters[self._top])
        delta, *top.dc = output_slopes(loss, activation, top.z, top.a, targets, constants)
        self.delta[self._top] = delta
        self._s, self._S = sample_weights(loss, weights), weight_sum(loss, y, weights)
        self._fold()
        return float(mean_loss(loss, y, weights, J_i) + penalty(net, self._theta))

    def inject(self, delta: Array, s: Array | None) -> None:
        """δ^L from outside, with the sample weights s; layer L has no trained constants."""
        self.delta[self._top] = delta.copy()
        self._s = self._weights(s)
        self._S = self._s.sum(dtype=np.float64)
        self._fold()

    def _fold(self) -> None:
        """Multiply δ^L by s_i, where the rows depend on each other."""
        if self._by_batch:
            top = self.trace[self._top]
            self.delta[self._top] = self._s[:, None] * self.delta[self._top]
            top.dc = [self._s[:, None] * each for each in top.dc]
            self._s = np.ones_like(self._s)

    def recursion(self, l: int) -> None:
        """δ^l from δ^{l+1}."""
        g = self._through(l + 1)
        self.delta[l] = backward(self._layer[l], self.parameters[l], self.trace[l], g)

    def gradients(self, grad: Array) -> None:
        """dW^l, db^l and those of gain, shift and constants, for l = 1 … L, into grad."""
        net = self._net
        for l, into in enumerate(net.blocks(grad), 1):
            W = self.parameters[l]["W"]
            layer, parameters, trace = self._layer[l], self.parameters[l], self.trace[l]
            sums = gradients(layer, parameters, trace, self.delta[l], self._s, self._precision)
            for name, total in sums.items():
                into[name][...] = total / self._S
            into["W"][...] += net.l1 * np.sign(W) + net.l2 * W

    def backward(self, grad: Array) -> None:
        """δ^{L−1} … δ^1 from the δ^L that is there, and grad."""
        for l in range(self._top - 1, 0, -1):
            self.recursion(l)
        self.gradients(grad)

    def input_gradient(self) -> Array:
        """∂J_i/∂x = δ^1 W^1ᵀ (n, n_0), through the mask of the inputs."""
        return dropped(self._through(1), self._net.input_dropout, self._kept)

    def _through(self, l: int) -> Array:
        """∂J_i/∂a^{l−1} from δ^l."""
        return through(
            self._layer[l], self.parameters[l], self.trace[l], self.delta[l], self._precision
        )

    def _weights(self, s: Array | None) -> Array:
        return np.ones(len(self.trace[1].z), self._net.dtype) if s is None else s
