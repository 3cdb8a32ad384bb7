"""The network on the C engine: checks, then one call each; the hot paths are in csrc/."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial, wraps
from math import isfinite
from os import PathLike
from threading import RLock
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from .. import _core
from .._checks import arguments as check
from .._types import Array, Data, Place, SessionOptions, SparseRows
from ..errors import DivergenceError
from ..hooks import Hook
from ..initializers import InitFunction, Initializer
from ..losses import Loss
from ..losses._losses import engine_function
from ..optim import Optimizer
from ..optim import resolve as resolve_optimizer
from .base import ActivationSpec, NetworkBase
from .dense import Dense
from .engine import EngineDerivatives
from .hooked import EngineHooks, HookedTraining

if TYPE_CHECKING:
    from .._explain.explanation import Explanation

_Method = TypeVar("_Method", bound=Callable)


def _alone(method: _Method) -> _Method:
    """Calls of such methods on one network wait for each other: they share its buffers."""

    @wraps(method)
    def call(self: Network, *args: object, **kwargs: object) -> object:
        with self._lock:
            return method(self, *args, **kwargs)

    return call


def _options(layer: Dense) -> tuple[float, ...]:
    """The fields of the engine's fastbp_layer_options_t."""
    norm = (0, 0.0) if layer.norm is None else (layer.norm.code, layer.norm.eps)
    limit = layer.max_norm or 0.0
    return (not layer.bias, *norm, layer.dropout, layer.residual, limit, layer.non_negative)


class Network(EngineDerivatives, EngineHooks, NetworkBase):
    """A dense network trained by backpropagation, with every z, a and δ in hand.

    widths: units of every layer, inputs first. activation: that of the hidden layers, or a list
    of one each; output: that of the last; see `fastbp.activations.NAMES`. loss: see
    `fastbp.losses.NAMES`. dtype: "float32" or "float64", of parameters and arithmetic. init:
    see `fastbp.initializers`; seed: a whole number, drawn afresh when None; it fixes the initial
    weights and the order of the samples. l1, l2 >= 0 penalise weights, never biases:

        J = (1/S) Σ_i s_i J_i + l1 ‖W‖₁ + (l2/2) ‖W‖²        S = Σ s_i

    Threads may share a network: `predict` and `loss` run at the same time, calls that use the
    stored passes wait for each other, and two that change theta at once mix their updates.

    `theta` and `grad` are flat; `layers[i].W`, `.b`, `.dW`, `.db` are views of them, and
    `layers[i].z`, `.a`, `.delta` views of the engine's own buffers. δ is per sample: neither
    multiplied by s_i nor divided by S. Rumelhart, Hinton & Williams, Nature 323, 1986.

    Raises ValueError or TypeError for anything outside that, and warns (UserWarning) of a
    logarithmic loss on outputs beyond (0, 1).

    >>> net = Network((2, 3, 1), activation="tanh", seed=0); net
    fastbp.Network((2, 3, 1), ['tanh', 'identity'], loss='squared_error', dtype='float32')
    >>> net.forward([[0.0, 0.0]])
    array([[0.]], dtype=float32)
    """

    def __init__(
        self,
        widths: Iterable[int],
        *,
        activation: ActivationSpec | Sequence[ActivationSpec] = "relu",
        output: ActivationSpec = "identity",
        loss: str | Loss = "squared_error",
        dtype: object = "float32",
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

    def _build(self, theta: Array) -> None:
        self._lock = RLock()
        self._make_engine()
        super()._build(theta)

    def _make_engine(self) -> None:
        """The engine's own network, which has no parameters; no passes or sessions of it yet."""
        self._net = _core.Net(
            self.widths,
            tuple(activation.name for activation in self.activations),
            tuple(activation.alpha for activation in self.activations),
            self.criterion.name,
            self.dtype == np.float64,
            self.l1,
            self.l2,
            self.criterion.params(self.widths[-1]),
            self.criterion.n_targets(self.widths[-1]),
            tuple(_options(layer) for layer in self.dense),
            self.input_dropout,
            engine_function(self.criterion, self.dtype, self.widths[-1]),
        )
        self._pass: _core.Pass | None = None
        self._probe: _core.Pass | None = None
        self._stepper: _Session | None = None
        self._buffers: dict[str, list[Array]] = {}

    def _set_l2(self, l2: float) -> None:
        """Another l2 >= 0; parameters and their views stay, z, a and delta are forgotten."""
        if l2 == self.l2:
            return
        self._l2 = float(l2)
        self._make_engine()
        for i, layer in enumerate(self.layers):
            layer.report_to(self._on_trainable(i))
        self._forget()

    def _on_trainable(self, i: int) -> Callable[[bool], object]:
        return partial(self._net.set_trainable, i + 1)

    # ---- forward and backward -------------------------------------------------------------

    @_alone
    def forward(self, X: object) -> Array:
        """The outputs a^L (batch, n_L) of X (batch, n_0), a fresh array; fills z and a.

        An X of the network's dtype whose rows are contiguous is not copied: leave it as it is
        until `backward`. Raises TypeError or ValueError for an X of another kind,
        rank or width.

        >>> Network((2, 1), init="zeros").forward([[1, 2], [3, 4]]).shape
        (2, 1)
        """
        self._forward(self._inputs(X), self._theta)
        return self.layers[-1].a.copy()

    def _forward(self, X: Array, theta: Array) -> None:
        self._not_in_hook()
        n = X.shape[0]
        if self._pass is None or n > self._pass.capacity:
            self._pass = None
            self._forget()
            self._pass = _core.Pass(self._net, n)
            self._buffers = {
                which: [
                    np.asarray(self._pass.buffer(which, i + 1)) for i in range(len(self.layers))
                ]
                for which in ("z", "a", "delta")
            }
        if type(X) is not SparseRows and self._pass.overlaps(
            X
        ):  # a view of a, which is about to be overwritten
            X = X.copy()
        self._pass.forward(theta, X)
        self._n_rows = n
        for layer, z, a in zip(self.layers, self._buffers["z"], self._buffers["a"], strict=True):
            layer.show_forward(z[:n], a[:n])

    @_alone
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
        (array([[-2.]], dtype=float32), array([[-6.]], dtype=float32))
        """
        n, rows_of = self._rows_forwarded(), "the last forward"
        y = self._targets(y, n, rows_of)
        s = check.as_weights(sample_weight, n, self.dtype, rows_of=rows_of)
        J = self._backward(self._theta, y, s, self._grad, self._hook_for(hook))
        self._show_delta()
        return J

    @_alone
    def backward_from(
        self, delta_L: object, *, sample_weight: object = None, hook: Hook | None = None
    ) -> None:
        """The recursion from an injected δ^L (batch, n_L); fills delta and grad.

        With δ^L = a^L − y it gives what `backward` gives for a paired loss. The penalties of l1
        and l2 are part of grad here too. Raises as `backward` does.

        >>> net = Network((1, 1), init="zeros"); _ = net.forward([[3.0]])
        >>> net.backward_from([[-2.0]]); net.grad
        array([-6., -2.], dtype=float32)
        """
        n = self._rows_forwarded()
        told = {"name": "delta_L", "where": "widths[-1]", "rows_of": "the last forward"}
        delta = check.as_rows(delta_L, n, self.widths[-1], self.dtype, **told)
        if self._pass.overlaps(delta):
            delta = delta.copy()
        s = check.as_weights(sample_weight, n, self.dtype, rows_of="the last forward")
        self._backward_from(self._theta, delta, s, self._grad, self._hook_for(hook))
        self._show_delta()

    def _show_delta(self) -> None:
        for layer, delta in zip(self.layers, self._buffers["delta"], strict=True):
            layer.show_delta(delta[: self._n_rows])
        self._has_gradient = True

    def _rows_forwarded(self) -> int:
        if self._n_rows == 0:
            raise RuntimeError(check.NO_FORWARD)
        return self._n_rows

    @_alone
    def input_gradient(self) -> Array:
        """∂J_i/∂x = δ^1 W^1ᵀ of the last backward, one row a sample: (batch, n_0), fresh.

        It takes W as it is now: call it before `step`. Raises RuntimeError when no
        backward came after the last forward.

        >>> net = Network((1, 1)); net.layers[0].W = [[5.0]]; _ = net.forward([[3.0]])
        >>> net.backward_from([[2.0]]); net.input_gradient()
        array([[10.]], dtype=float32)
        """
        if self.layers[0].delta is None:
            raise RuntimeError(check.NO_BACKWARD)
        out = np.empty((self._n_rows, self.widths[0]), self.dtype)
        self._pass.input_gradient(self._theta, out)
        return out

    # ---- the objective --------------------------------------------------------------------

    def loss(self, X: object, y: object, sample_weight: object = None) -> float:
        """J of X and y, penalties included; the stored z, a and delta stay as they are.

        Raises TypeError or ValueError for arrays that do not fit.

        >>> Network((1, 1), init="zeros").loss([[3.0]], [[2.0]])
        2.0
        """
        X = self._inputs(X)
        y = self._targets(y, len(X))
        s = check.as_weights(sample_weight, len(X), self.dtype)
        return self._net.cost(self._theta, X, y, s)

    @_alone
    def value_and_grad(self, X: object, y: object, theta: object = None) -> tuple[float, Array]:
        """(J, a fresh copy of its gradient), at the network's own theta or at the one given.

        Without theta it is `forward` and `backward`. With it, theta of the network is as before
        afterwards, and the next backward, step or input_gradient needs a new forward or
        backward. Raises TypeError or ValueError for arrays that do not fit.

        >>> Network((1, 1), init="zeros").value_and_grad([[3.0]], [[2.0]], theta=[1.0, 0.0])
        (0.5, array([3., 1.], dtype=float32))
        """
        X = self._inputs(X)
        y = self._targets(y, len(X))
        if theta is None:
            self._forward(X, self._theta)
            J = self._backward(self._theta, y, None, self._grad, self._hook)
            self._show_delta()
            return J, self._grad.copy()
        theta = check.as_parameters(theta, self._theta.shape, self.dtype, "theta")
        grad = np.empty_like(self._grad)
        try:
            self._forward(X, theta)
            return self._backward(theta, y, None, grad, self._hook), grad
        finally:
            self._forget()

    # ---- training and use -----------------------------------------------------------------

    @_alone
    def step(self, optimizer: str | Optimizer) -> None:
        """Apply an optimiser to theta with the gradient of the last backward.

        An optimiser keeps its state between calls, so pass the same object each time. Raises
        RuntimeError before a backward, ValueError for an optimiser of another network's size.

        >>> from fastbp.optim import SGD
        >>> net = Network((1, 1), init="zeros"); _ = net.value_and_grad([[3.0]], [[2.0]])
        >>> net.step(SGD(0.5)); net.theta
        array([3., 1.], dtype=float32)
        """
        optimizer = resolve_optimizer(optimizer)
        if not self._has_gradient:
            raise RuntimeError(check.NO_BACKWARD)
        self._bind(optimizer)
        self._net.step(self._theta, self._grad, optimizer)

    @_alone
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

        The lightest way to train on samples that come one by one: forward, backward and update
        in one call of the engine. optimizer: an object of `fastbp.optim`, the same each time. The
        stored z, a and delta stay as they are; with a hook, see `on_delta`, they are those of this
        batch. Raises TypeError or ValueError for arrays that do not fit, and DivergenceError, with
        no parameter changed, where J is not finite.

        >>> from fastbp.optim import SGD
        >>> net = Network((1, 1), init="zeros"); net.train_batch([[3.0]], [[2.0]], SGD(0.5))
        2.0
        >>> net.theta
        array([3., 1.], dtype=float32)
        """
        X = self._inputs(X)
        y = self._targets(y, len(X))
        s = check.as_weights(sample_weight, len(X), self.dtype)
        stepper = self._stepper
        hook = self._hook_for(hook)
        if hook is not None or stepper is None or not stepper.takes(optimizer, len(X)):
            if not isinstance(optimizer, Optimizer):
                raise TypeError(
                    f"optimizer must be an object of fastbp.optim, such as Adam(), which keeps its "
                    f"state from call to call; got {optimizer!r}"
                )
            if hook is not None:
                self._no_dropout()
                J = self._train_hooked(X, y, s, optimizer, hook)
                if not isfinite(J):
                    raise DivergenceError(J, epoch=0, step=optimizer.t)
                return J
            self._stepper = None
            self._bind(optimizer)
            options = (len(X), False, self.seed)
            fit = _core.Fit(self._net, self._theta, X, y, s, optimizer, *options)
            self._stepper = stepper = _Session(fit, optimizer, self._theta, len(X), len(X))
        else:
            stepper.rebind(X, y, s)
        diverged, _, _, _, J, last = stepper.run(0.0)
        if diverged:
            raise DivergenceError(last, epoch=0, step=optimizer.t)
        return J

    def predict(self, X: object) -> Array:
        """The outputs a^L (batch, n_L); the stored z, a and delta stay as they are.

        Raises TypeError or ValueError for an X of another kind, rank or width.

        >>> Network((2, 2), init="zeros", output="softmax", loss="cross_entropy").predict([[1, 2]])
        array([[0.5, 0.5]], dtype=float32)
        """
        X = self._inputs(X)
        out = np.empty((X.shape[0], self.widths[-1]), self.dtype)
        self._net.predict(self._theta, X, out)
        return out

    def explain(
        self,
        X: object,
        y: object,
        *,
        batch_size: int = 64,
        optimizer: str | Optimizer = "adam",
        sample_weight: object = None,
        n_threads: int | None = None,
        seconds: float = 0.5,
    ) -> Explanation:
        """Where the time of a training step goes, by layer and phase, beside the machine's limits.

        The arguments are those of `fit`; `seconds` > 0 is how long steps are run, on copies, with
        clocks and without in turn: parameters, stored passes and the optimiser stay as they are.
        The copy of the optimiser has its moments as they now are; a name stands for the one that
        `partial_fit` keeps under it, or else for a new one.
        Limits take some 0.2 s more. The rows after the last whole batch are left out. `print` the
        result for a table, or take its fields and `to_dict()`; `docs/explain.md` tells what they
        mean.

        Raises TypeError or ValueError as `fit` does, and DivergenceError where J is not finite.

        >>> net = Network((8, 64, 64, 2), activation="tanh", seed=0)
        >>> found = net.explain([[0.5] * 8] * 64, [[0.0, 1.0]] * 64, seconds=0.01)
        >>> [f"{p.layer} {p.phase}" for p in found.phases if p.layer == 3]
        ['3 forward', '3 loss', '3 delta', '3 gradient', '3 update']
        >>> abs(sum(p.share for p in found.phases) - 1) < 1e-9
        True
        """
        from .._explain.measure import explain

        return explain(
            self,
            X,
            y,
            batch_size=batch_size,
            optimizer=optimizer,
            sample_weight=sample_weight,
            n_threads=n_threads,
            seconds=seconds,
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Write the network to a file in the safetensors layout; see `fastbp.io`.

        Raises ValueError for parameters that are not finite, OSError where it cannot write.
        """
        from ..io import save

        save(self, path)

    def _inputs(self, X: object, name: str = "X") -> Array | SparseRows:
        X = check.as_inputs(X, self.widths[0], self.dtype, name=name)
        if type(X) is SparseRows and (self.input_dropout or self.dense[0].residual):
            raise TypeError(
                f"{name} is sparse, and the first layer needs whole rows for its input dropout or "
                f"residual: write {name}.toarray()"
            )
        return X

    def _evaluate(self, X: Array, y: Array, sample_weight: Array | None) -> tuple[float, Array]:
        out = np.empty((X.shape[0], self.widths[-1]), self.dtype)
        return self._net.cost(self._theta, X, y, sample_weight, out), out

    def _session(
        self, data: Data, optimizer: Optimizer, options: SessionOptions
    ) -> _Session | HookedTraining:
        if self._hook is not None:
            return HookedTraining(self, data, optimizer, options)
        batches = (options.batch_size, options.shuffle, self.seed, options.n_threads)
        batches += (options.part_rows,)
        fit = _core.Fit(self._net, self._theta, *data, optimizer, *batches)
        return _Session(fit, optimizer, self._theta, options.batch_size, len(data[0]))


class _Session:
    """A session of the engine, and for whom it was made."""

    def __init__(
        self, fit: _core.Fit, optimizer: Optimizer, theta: Array, batch_size: int, n_rows: int
    ) -> None:
        self._fit = fit
        self._optimizer = optimizer
        self._theta = theta
        self._batch_size = batch_size
        self._n_rows = n_rows
        self.rebind, self.set_rates = fit.rebind, fit.set_rates

    def takes(self, optimizer: Optimizer, n_rows: int) -> bool:
        """Whether a batch of so many rows can go through this session with this optimiser."""
        return optimizer is self._optimizer and n_rows <= self._batch_size

    def run(self, seconds: float) -> tuple[bool, bool, int, int, float, float]:
        self._optimizer.bind(self._theta.size, self._theta.dtype)
        return self._fit.run(seconds)

    @property
    def place(self) -> Place:
        return Place(*self._fit.place)

    @property
    def rows_done(self) -> int:
        epoch, _, _, first, _, _ = self._fit.place
        return epoch * self._n_rows + first

    def bind(self, data: Data) -> bool:
        try:
            self.rebind(*data)
        except ValueError:  # more rows than it has room for
            return False
        self._n_rows = len(data[0])
        return True

    def seek(self, place: Place) -> None:
        self._fit.seek(*place)

    def close(self) -> None:
        """Nothing to do: buffers and threads go with the session."""
