"""The network in NumPy: the whole of backpropagation is `forward` and `_propagate` below.

    forward    z^l = a^{l-1} W^l + b^l                    a^l = σ_l(z^l)
    output     δ^L = ∂J_i/∂a^L ⊙ σ_L'(z^L)
    recursion  δ^l = (δ^{l+1} W^{l+1}ᵀ) ⊙ σ_l'(z^l)
    gradients  dW^l = (1/S) Σ_i s_i a_i^{l-1}ᵀ δ_i^l + l1·sign(W^l) + l2·W^l
               db^l = (1/S) Σ_i s_i δ_i^l

with S = Σ s_i; `weight_sum` has class weights. Rumelhart, Hinton & Williams, "Learning
representations by back-propagating errors", Nature 323, 1986. δ is per sample: neither multiplied
by s_i nor divided by S.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import isfinite

import numpy as np

from .._checks import arguments as check
from .._network.base import ActivationSpec, NetworkBase
from .._training.fit import Data, SessionOptions
from .._types import Array
from ..errors import DivergenceError
from ..hooks import Hook, Hooks
from ..initializers import InitFunction, Initializer
from ..losses import Loss
from ..optim import Optimizer
from ..optim import resolve as resolve_optimizer
from ._cost import cost, dense, objective, outputs, penalty
from ._derivatives import NumpyDerivatives
from ._formulas import output_delta, quiet, sample_losses
from ._layers import Trace, backward, constrain, dropout_mask, dropped, forward, gradients, through
from ._losses import mean_loss, sample_weights, weight_sum
from ._training import Training
from ._updates import update


class Network(NumpyDerivatives, Hooks, NetworkBase):
    """A dense network with the interface of `fastbp.Network`, in NumPy alone.

    widths: units of every layer, inputs first. activation: that of the hidden layers, or a list
    of one each; output: that of the last. dtype: "float64" or "float32". init, seed: see
    `fastbp.initializers`; `seed` becomes an int drawn afresh when None. l1, l2 >= 0 penalise
    weights, never biases. Raises ValueError or TypeError for anything outside that, and warns
    (UserWarning) of a logarithmic loss on outputs beyond (0, 1).

    >>> net = Network((2, 3, 1), activation="tanh", seed=0); net
    fastbp.reference.Network((2, 3, 1), ['tanh', 'identity'], loss='squared_error', dtype='float64')
    >>> net.forward([[0.0, 0.0]])
    array([[0.]])
    """

    _DTYPE = "float64"

    def __init__(
        self,
        widths: Iterable[int],
        *,
        activation: ActivationSpec | Sequence[ActivationSpec] = "relu",
        output: ActivationSpec = "identity",
        loss: str | Loss = "squared_error",
        dtype: object = "float64",
        init: str | Initializer | InitFunction = "auto",
        seed: int | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
    ) -> None:
        super().__init__(
            widths,
            activation=activation,
            output=output,
            loss=loss,
            dtype=dtype,
            init=init,
            seed=seed,
            l1=l1,
            l2=l2,
        )

    # ---- forward and backward -------------------------------------------------------------

    @quiet
    def forward(self, X: object) -> Array:
        """The outputs a^L (batch, n_L) of X (batch, n_0), a fresh array; fills z and a.

        Raises TypeError or ValueError for an X of another kind, rank or width.

        >>> Network((2, 1), init="zeros").forward([[1, 2], [3, 4]]).shape
        (2, 1)
        """
        return self._forward(self._inputs(X)).copy()

    def _forward(self, X: Array, step: int | None = None) -> Array:
        """step: updates made before, for the masks of dropout; None: nothing is dropped."""
        self._not_in_hook()
        self._n_rows = len(X)
        self._X = u = dropped(
            X, self.input_dropout, self._mask(0, X.shape, self.input_dropout, step)
        )
        self._traces = []
        for l, layer in enumerate(self.layers, 1):
            dense, shape = layer.dense, (len(X), layer.dense.n_out)
            kept = self._mask(l, shape, dense.dropout, step)
            trace = forward(dense, layer.parameters(), u, kept)
            layer.show_forward(trace.z, trace.out)
            self._traces.append(trace)
            u = trace.out
        return u

    _offset = 0  # of the first row within the batch that the rows are a part of

    def _mask(self, l: int, shape: tuple[int, int], p: float, step: int | None) -> Array | None:
        if step is None or p == 0:
            return None
        n, cols = shape
        return dropout_mask(self.seed, l, step, (self._offset + n, cols), p)[self._offset :]

    @quiet
    def backward(
        self, y: object, sample_weight: object = None, *, hook: Hook | None = None
    ) -> float:
        """J of the last forward for the targets y; fills delta and grad of every layer.

        y (batch, n_L), or class indices (batch,) for cross_entropy; sample_weight (batch,),
        not negative; hook: see `on_delta`, for this call. Raises RuntimeError before a forward,
        TypeError or ValueError for targets or weights that do not fit.

        >>> net = Network((1, 1), init="zeros"); _ = net.forward([[3.0]]); net.backward([[2.0]])
        2.0
        >>> net.layers[0].delta, net.layers[0].dW
        (array([[-2.]]), array([[-6.]]))
        """
        n, rows_of = self._rows_forwarded(), "the last forward"
        y = self._targets(y, n, rows_of)
        s = check.as_weights(sample_weight, n, self.dtype, rows_of=rows_of)
        s = np.ones(n, self.dtype) if s is None else s
        return self._backward(y, s, self._hook_for(hook))

    @quiet
    def backward_from(
        self, delta_L: object, *, sample_weight: object = None, hook: Hook | None = None
    ) -> None:
        """The recursion from an injected δ^L (batch, n_L); fills delta and grad.

        With δ^L = a^L − y it gives what `backward` gives for a paired loss. The penalties of l1
        and l2 are part of grad here too. Raises as `backward` does.

        >>> net = Network((1, 1), init="zeros"); _ = net.forward([[3.0]])
        >>> net.backward_from([[-2.0]]); net.grad
        array([-6., -2.])
        """
        n = self._rows_forwarded()
        told = {"name": "delta_L", "where": "widths[-1]", "rows_of": "the last forward"}
        delta = check.as_rows(delta_L, n, self.widths[-1], self.dtype, **told)
        s = check.as_weights(sample_weight, n, self.dtype, rows_of="the last forward")
        self.layers[-1].show_delta(delta.copy())
        s = np.ones(n, self.dtype) if s is None else s
        self._propagate(s, s.sum(dtype=np.float64), self._hook_for(hook))

    def _backward(self, y: Array, s: Array, hook: Hook | None = None) -> float:
        top, S = self.layers[-1], weight_sum(self.criterion, y, s)
        labels, y = y, dense(self, y)
        J_i = sample_losses(self.criterion, top.activation, top.z, top.a, y)
        J = mean_loss(self.criterion, labels, s, J_i)
        top.show_delta(output_delta(self.criterion, top.activation, top.z, top.a, y))
        self._propagate(sample_weights(self.criterion, s), S, hook)
        return float(J + penalty(self, self.theta))

    def _propagate(self, s: Array, S: np.number, hook: Hook | None = None) -> None:
        """δ and the gradients of every layer, from the δ of the last one down."""
        self._not_in_hook()
        for i in reversed(range(len(self.layers))):
            layer, trace = self.layers[i], self._traces[i]
            if hook is not None:
                self._show_to(hook, i + 1)
            for name, total in gradients(layer.dense, trace, layer.delta, s).items():
                layer.gradients()[name][...] = total / S
            layer.dW[...] += self.l1 * np.sign(layer.W) + self.l2 * layer.W
            if i > 0:
                below = self.layers[i - 1]
                g = through(layer.dense, layer.parameters(), trace, layer.delta)
                delta = backward(below.dense, below.parameters(), self._traces[i - 1], g)
                below.show_delta(delta)
        self._has_gradient = True

    def _show_to(self, hook: Hook, l: int) -> None:
        try:
            self._call_hook(hook, l, self.layers[l - 1].delta)
        except BaseException:
            self._has_gradient = False  # some layers have theirs, some have not
            self._hide_delta()
            raise

    def _pull_back(self, l: int, g: Array) -> Array:
        layer, trace = self.layers[l - 1], replace(self._traces[l - 1])  # which keeps its own g
        return backward(layer.dense, layer.parameters(), trace, g)

    @quiet
    def input_gradient(self) -> Array:
        """∂J_i/∂x = δ^1 W^1ᵀ of the last backward, one row a sample: (batch, n_0), fresh.

        It takes W as it is now: call it before `step`. Raises RuntimeError when no
        backward came after the last forward.

        >>> net = Network((1, 1)); net.layers[0].W = [[5.0]]; _ = net.forward([[3.0]])
        >>> net.backward_from([[2.0]]); net.input_gradient()
        array([[10.]])
        """
        first = self.layers[0]
        if first.delta is None:
            raise RuntimeError(check.NO_BACKWARD)
        return through(first.dense, first.parameters(), self._traces[0], first.delta)

    # ---- the objective --------------------------------------------------------------------

    def loss(self, X: object, y: object, sample_weight: object = None) -> float:
        """J of X and y, penalties included; the stored z, a and delta stay as they are.

        Raises TypeError or ValueError for arrays that do not fit.

        >>> Network((1, 1), init="zeros").loss([[3.0]], [[2.0]])
        2.0
        """
        return float(objective(self, X, y, sample_weight=sample_weight))

    def value_and_grad(self, X: object, y: object, theta: object = None) -> tuple[float, Array]:
        """(J, a fresh copy of its gradient), at the network's own theta or at the one given.

        Without theta it is `forward` and `backward`. With it, theta of the network is as before
        afterwards, and the next backward, step or input_gradient needs a new forward or
        backward. Raises TypeError or ValueError for arrays that do not fit.

        >>> Network((1, 1), init="zeros").value_and_grad([[3.0]], [[2.0]], theta=[1.0, 0.0])
        (0.5, array([3., 1.]))
        """
        if theta is None:
            X = self._inputs(X)
            y = self._targets(y, len(X))
            self.forward(X)
            return self.backward(y), self.grad.copy()
        theta = check.as_parameters(theta, self.theta.shape, self.dtype, "theta")
        own = self.theta.copy()
        try:
            self.theta[...] = theta
            return self.value_and_grad(X, y)
        finally:
            self.theta[...] = own
            self._forget()

    # ---- training -------------------------------------------------------------------------

    @quiet
    def step(self, optimizer: str | Optimizer) -> None:
        """Apply an optimiser to theta with the gradient of the last backward.

        An optimiser keeps its state between calls, so pass the same object each time. Raises
        RuntimeError before a backward, ValueError for an optimiser of another network's size.

        >>> from fastbp.optim import SGD
        >>> net = Network((1, 1), init="zeros"); _ = net.value_and_grad([[3.0]], [[2.0]])
        >>> net.step(SGD(0.5)); net.theta
        array([3., 1.])
        """
        optimizer = resolve_optimizer(optimizer)
        if not self._has_gradient:
            raise RuntimeError(check.NO_BACKWARD)
        self._update(optimizer)

    def _update(self, optimizer: Optimizer) -> None:
        """The rule, frozen layers left out, and then the constraints."""
        self._bind(optimizer)
        frozen = [i for i, layer in enumerate(self.layers) if not layer.trainable]
        blocks = self._blocks()
        parts = [part for i in frozen for part in blocks[i]]
        state = (self.theta, *optimizer.moments)
        before = [[twin[part].copy() for part in parts] for twin in state]
        g = self.grad.copy()
        for part in parts:
            g[part] = 0
        update(optimizer, self.theta, g, blocks)
        for twin, kept in zip(state, before, strict=True):
            for part, values in zip(parts, kept, strict=True):
                twin[part] = values
        if optimizer.average is not None:
            for part in parts:
                optimizer.average[part] = self.theta[part]
        for layer in self.layers:
            if layer.trainable:
                constrain(layer.dense, layer.W)

    def predict(self, X: object) -> Array:
        """The outputs a^L (batch, n_L); the stored z, a and delta stay as they are.

        Raises TypeError or ValueError for an X of another kind, rank or width.

        >>> Network((2, 3), init="zeros", output="softmax", loss="cross_entropy").predict([[1, 2]])
        array([[0.33333333, 0.33333333, 0.33333333]])
        """
        return outputs(self, self._inputs(X), self.theta)[1]

    @quiet
    def train_step(
        self, X: Array, y: Array, s: Array, optimizer: Optimizer, hook: Hook | None = None
    ) -> float:
        """J of one checked batch, and the update, left out where J is not finite.

        X (n, n_0), y as `_targets` returns it, s (n,).
        """
        self._forward(X, optimizer.t)
        J = self._backward(y, s, hook)
        if isfinite(J):
            self._update(optimizer)
        return J

    def train_batch(
        self,
        X: object,
        y: object,
        optimizer: Optimizer,
        *,
        sample_weight: object = None,
        hook: Hook | None = None,
    ) -> float:
        """One training step on the batch X (batch, n_0), y; returns its J before the update.

        Raises as `fastbp.Network.train_batch` does.

        >>> from fastbp.optim import SGD
        >>> net = Network((1, 1), init="zeros"); net.train_batch([[3.0]], [[2.0]], SGD(0.5))
        2.0
        """
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer must be an object of fastbp.optim; got {optimizer!r}")
        X = self._inputs(X)
        y = self._targets(y, len(X))
        s = check.as_weights(sample_weight, len(X), self.dtype)
        hook = self._hook_for(hook)
        self._bind(optimizer)
        if hook is not None:
            self._no_dropout()
            J = last = self.train_step(
                X, y, np.ones(len(X), self.dtype) if s is None else s, optimizer, hook
            )
            diverged = not isfinite(J)
        else:
            options = SessionOptions(batch_size=len(X), shuffle=False, n_threads=0)
            diverged, _, _, _, J, last = Training(self, (X, y, s), optimizer, options).run(0.0)
        if diverged:
            raise DivergenceError(last, epoch=0, step=optimizer.t)
        return J

    def _session(self, data: Data, optimizer: Optimizer, options: SessionOptions) -> Training:
        return Training(self, data, optimizer, options)

    def _evaluate(self, X: Array, y: Array, sample_weight: Array | None) -> tuple[float, Array]:
        J, a = cost(self, X, y, sample_weight, self.theta)
        return float(J), a

    def _rows_forwarded(self) -> int:
        if self._n_rows == 0:
            raise RuntimeError(check.NO_FORWARD)
        return self._n_rows

    def _forget(self) -> None:
        super()._forget()
        self._X: Array | None = None
        self._traces: list[Trace] = []
