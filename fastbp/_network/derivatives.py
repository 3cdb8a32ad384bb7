"""What can be computed with a network: passes, outputs, J, and derivatives of all kinds.

Each method checks its arguments, takes the lock if it needs the stored pass, and keeps the account
of what is stored; the backend does the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import numpy as np

from .._checks import arguments as check
from .._checks.batch_norm import check_rows
from .._checks.columns import check_column_names
from .._checks.keywords import refuse_unknown, speaking_as
from .._types import Array, Rows
from ..hooks import Hook
from .base import NetworkBase

if TYPE_CHECKING:
    from .walk import Walk

_Net = TypeVar("_Net", bound=NetworkBase)
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


def alone(
    method: Callable[Concatenate[_Net, _Arguments], _Result],
) -> Callable[Concatenate[_Net, _Arguments], _Result]:
    """Let calls of such methods on one network wait for each other: they share its buffers."""

    @wraps(method)
    def call(self: _Net, /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        try:
            with self._lock:
                return method(self, *args, **kwargs)
        except TypeError:
            refuse_unknown(method, kwargs)
            raise

    return call


@speaking_as("Network")
class DifferentiableNetwork(NetworkBase):
    """The passes of a network and its derivatives; see `fastbp.Network`."""

    # ---- forward and backward -------------------------------------------------------------

    @alone
    def forward(self, X: object, *, training: bool = False) -> Array:
        """The outputs a^L (batch, n_L) of X; fills z and a of every layer.

        With training=True, inputs and units are dropped as in a training step, by the masks that
        `dropout_step` numbers, and the a of a layer is its output after dropout. Batch norm takes
        the statistics of X, and moves its running ones towards them. What continues the
        pass goes through the same masks and statistics: `backward`, `backward_from`, hooks,
        `pull_back` and `input_gradient`. `predict`, `loss` and all other derivatives drop nothing
        and use the running statistics.

        Parameters
        ----------
        X : array_like (batch, n_0)
            The samples. The engine does not copy an X of the network's dtype whose rows are
            contiguous: leave it unchanged until `backward`.
        training : bool, default False
            Whether dropout is on and batch norm takes the statistics of the batch, as after
            `net.train()` in PyTorch. In a network without either, it changes nothing.

        Returns
        -------
        ndarray (batch, n_L)
            The outputs, a fresh array.

        Raises
        ------
        TypeError, ValueError
            For an X of another kind, rank or width, and for one row if batch norm needs its
            variance.

        Examples
        --------
        >>> import fastbp
        >>> layers = [fastbp.Dense(8, "relu", dropout=0.5), fastbp.Dense(1)]
        >>> net, adam = fastbp.Network.from_layers(2, layers, seed=0), fastbp.optim.Adam()
        >>> for step in range(3):
        ...     a = net.forward([[1, 2], [3, 4]], training=True)
        ...     J = net.backward([[1], [0]])
        ...     net.step(adam)
        >>> a.shape, net.dropout_step
        ((2, 1), 3)
        """
        if training is False:  # the fast way for calls with one row
            return self._forward(self._inputs(X), self._theta).copy()
        training = check.check_flag(training, "training")
        return self._pass(self._inputs(X), self._theta, training).copy()

    def _pass(self, X: Rows, theta: Array, training: bool) -> Array:
        """`_forward`, with the next masks if it is for training; counts them.

        It moves the running statistics of the network, if theta is that of the network.
        """
        if not (training and self._trains_apart):
            return self._forward(X, theta)
        check_rows(self._layers, len(X), "X")
        a = self._forward(X, theta, (self._seed, self._dropout_step))
        if self._drops:
            self._dropout_step += 1
        if self._has_batch_norm and theta is self._theta:
            self._backend.move_statistics(theta)
        return a

    @property
    def _trains_apart(self) -> bool:
        """Whether a forward for training computes something else than one for evaluation."""
        return self._drops or self._has_batch_norm

    def _forward(self, X: Rows, theta: Array, masks: tuple[int, int] | None = None) -> Array:
        """Store z and a of every layer; returns the stored a^L.

        masks: seed and t of dropout, for a pass as in training.
        """
        if self._in_hook:
            self._not_in_hook()
        n = len(X)
        if n > self._n_rows:  # then the backend may need larger buffers: let go of the old ones
            for layer in self._layers:
                layer.forget()
        try:
            passed = self._backend.forward(theta, X, masks)
        except MemoryError:  # its buffers may hold a part of this pass
            self._forget()
            raise
        self._n_rows, self._trained = n, masks is not None
        for layer, (z, a) in zip(self._layers, passed, strict=True):
            layer.show_forward(z, a)
        return passed[-1][1]

    @alone
    def backward(
        self, y: object, sample_weight: object = None, *, hook: Hook | None = None
    ) -> float:
        """J of the last forward for the targets y; fills delta and grad of every layer.

        Parameters
        ----------
        y : array_like (batch, n_L), or (batch,) where n_L is 1
            The targets; class numbers (batch,) for losses of classes.
        sample_weight : array_like (batch,) or None, default None
            Weights of the samples, not negative; J and the gradients are divided by their sum. None
            weights all alike.
        hook : callable or None, default None
            A hook for this call, in place of the one that `on_delta` has set.

        Returns
        -------
        float
            J, penalties included.

        Raises
        ------
        RuntimeError
            If no forward came before.
        TypeError, ValueError
            For targets or weights that do not fit.

        Examples
        --------
        >>> import fastbp
        >>> net = fastbp.Network((1, 1), init="zeros")
        >>> _ = net.forward([[3.0]]); net.backward([[2.0]])
        2.0
        >>> net.layers[0].delta, net.layers[0].dW
        (array([[-2.]], dtype=float32), array([[-6.]], dtype=float32))
        """
        n, rows_of = self._rows_forwarded(), "the last forward"
        targets = self._targets(y, n, rows_of)
        s = check.as_weights(sample_weight, n, self._theta.dtype, rows_of=rows_of)
        check.check_known(targets, self.criterion, weights=s)
        J = self._backward(targets, s, self._grad, self._hook_for(hook))
        self._show_delta()
        return J

    @alone
    def backward_from(
        self, delta_L: object, *, sample_weight: object = None, hook: Hook | None = None
    ) -> None:
        """Run the recursion from an injected δ^L; fills delta and grad of every layer.

        With δ^L = a^L − y the result is that of `backward` for a paired loss. The penalties of l1
        and l2 are part of grad here too.

        Gradients are weighted means over the samples: db^L = Σ s_i δ^L_i / Σ s_i. Weights that all
        have the same factor therefore give the same gradients. For Σ w_i δ^L_i / batch, as
        importance weights need it, pass w_i δ^L_i as delta_L, and no sample_weight.

        Parameters
        ----------
        delta_L : array_like (batch, n_L)
            δ^L, per sample; it is copied.
        sample_weight : array_like (batch,) or None, default None
            s_i, weights of the samples, not negative; the gradients are divided by their sum. None
            weights all alike.
        hook : callable or None, default None
            As for `backward`.

        Raises
        ------
        RuntimeError, TypeError, ValueError
            As `backward` does; ValueError also if the output layer has trained constants.

        Examples
        --------
        >>> import fastbp
        >>> net = fastbp.Network((1, 1), init="zeros"); _ = net.forward([[3.0]])
        >>> net.backward_from([[-2.0]]); net.grad
        array([-6., -2.], dtype=float32)
        """
        n, rows_of = self._rows_forwarded(), "the last forward"
        constants = self.activations[-1].constants
        if constants:
            raise ValueError(
                f"δ^L does not tell the gradient of {', '.join(constants)}, a trained constant of "
                "the output layer, which needs ∂J_i/∂a^L: use backward, or an output without "
                "trained constants"
            )
        context = {"name": "delta_L", "where": "widths[-1]", "verb": "has", "rows_of": rows_of}
        delta = check.as_rows(delta_L, n, self.widths[-1], self.dtype, **context)
        s = check.as_weights(sample_weight, n, self.dtype, rows_of=rows_of)
        self._not_in_hook()
        hook = self._hook_for(hook)
        if hook is None:
            self._backend.backward_from(delta, s, self._grad)
        else:
            self._backend.inject_delta(delta, s)
            self._recur(self._grad, hook)
        self._show_delta()

    def _backward(self, y: Array | None, s: Array | None, grad: Array, hook: Hook | None) -> float:
        """Compute every δ, and grad; returns J."""
        self._not_in_hook()
        if hook is None:
            return self._backend.backward(y, s, grad)
        J = self._backend.output_delta(y, s)
        self._recur(grad, hook)
        return J

    def _recur(self, grad: Array, hook: Hook) -> None:
        """Compute δ^{L−1} … δ^1 and grad from the δ^L in place, with a call of the hook on each."""
        top = len(self._layers)
        try:
            for l in range(top, 0, -1):
                if l < top:
                    self._backend.hidden_delta(l)
                self._call_hook(hook, l, self._backend.delta(l))
        except BaseException:
            self._has_gradient = False
            for layer in self._layers:  # back to the state after forward
                layer.hide_delta()
            raise
        self._backend.gradient(grad)

    def _show_delta(self) -> None:
        delta = self._backend.delta
        for l, layer in enumerate(self._layers, 1):
            layer.show_delta(delta(l))
        self._has_gradient, self._gradient_at = True, self._at

    def _rows_forwarded(self) -> int:
        """Rows of the last forward; RuntimeError if there was none."""
        if self._n_rows == 0:
            raise RuntimeError(check.NO_FORWARD)
        return self._n_rows

    @alone
    def input_gradient(self) -> Array:
        """∂J_i/∂x = δ^1 W^1ᵀ of the last backward, one row per sample: (batch, n_0), fresh.

        It reads W as it is now, so call it before `step`. After a forward that dropped inputs, it
        goes through their mask too. Raises RuntimeError if no backward came after the last forward.

        >>> import fastbp
        >>> net = fastbp.Network((1, 1)); net.layers[0].W = [[5.0]]; _ = net.forward([[3.0]])
        >>> net.backward_from([[2.0]]); net.input_gradient()
        array([[10.]], dtype=float32)
        """
        self._refuse_embedding("input_gradient")
        if self._layers[0].delta is None:
            raise RuntimeError(check.NO_BACKWARD)
        return self._backend.input_gradient()

    # ---- hooks ----------------------------------------------------------------------------

    def on_delta(self, hook: Hook | None) -> Hook | None:
        """Let every backward pass from now on call hook(l, delta); None removes the hook.

        The hook is called for l = L, …, 1 with δ^l (batch, n_l), before δ^{l−1} is computed from
        it. It may write into delta, or return an array that replaces it. It acts in `backward`,
        `backward_from`, `value_and_grad`, `train_batch` and `fit`, which then goes through Python
        for every batch. A network has one hook at a time; copies and files do not have it. Returns
        the hook, so that it can be used as a decorator. Raises TypeError for something that cannot
        be called.

        >>> import fastbp
        >>> net = fastbp.Network((1, 1, 1), activation="identity", seed=0)
        >>> @net.on_delta
        ... def report(l, delta):
        ...     print("layer", l, delta.shape)
        >>> _ = net.forward([[3.0]]); _ = net.backward([[2.0]])
        layer 2 (1, 1)
        layer 1 (1, 1)
        >>> net.on_delta(None)
        """
        self._hook = None if hook is None else _callable(hook)
        return hook

    @alone
    def pull_back(self, l: int, g: object) -> Array:
        """g ⊙ σ_l'(z^l) by the last forward pass: ∂J/∂z^l (batch, n_l) from g = ∂J/∂a^l.

        For hooks that compute a δ^l of their own. l = 1 … L; for softmax it is the product with the
        whole Jacobian. If the pass dropped units of the layer, g goes through their mask first.
        Raises RuntimeError before a forward, TypeError or ValueError for an l or g that does not
        fit.

        >>> import fastbp
        >>> net = fastbp.Network((1, 2, 1), seed=0); net.layers[0].b = [1.0, -1.0]
        >>> _ = net.forward([[0.0]]); net.pull_back(1, [[5.0, 5.0]])
        array([[5., 0.]], dtype=float32)
        """
        n = self._rows_forwarded()
        l = check.check_layer(l, len(self._layers), "l")
        context = {"name": "g", "where": f"widths[{l}]", "rows_of": "the last forward"}
        rows = check.as_rows(g, n, self.widths[l], self.dtype, **context)
        return self._backend.pull_back(l, rows)

    def _hook_for(self, hook: Hook | None) -> Hook | None:
        """The hook of one call: its own, or that of the network."""
        return self._hook if hook is None else _callable(hook)

    def _call_hook(self, hook: Hook, l: int, delta: Array) -> None:
        """Show δ^l to the hook, and put what it returns in its place."""
        self._layers[l - 1].show_delta(delta)
        self._in_hook = True
        try:
            returned = hook(l, delta)
        finally:
            self._in_hook = False
        if returned is None or returned is delta:
            return
        name, where = "the delta that the hook returned", f"widths[{l}]"
        context = {"name": name, "where": where, "rows_of": "the batch"}
        delta[...] = check.as_rows(returned, len(delta), self.widths[l], self.dtype, **context)

    def _not_in_hook(self) -> None:
        if self._in_hook:
            raise RuntimeError(
                "a hook runs within a backward pass of its network, which cannot start another: "
                "use predict or loss there, or another network"
            )

    # ---- outputs and the objective --------------------------------------------------------

    def predict(self, X: object) -> Array:
        """The outputs a^L (batch, n_L); the stored z, a and delta stay as they are.

        Raises TypeError or ValueError for an X of another kind, rank or width.

        >>> import fastbp
        >>> net = fastbp.Network((2, 2), init="zeros", output="softmax", loss="cross_entropy")
        >>> net.predict([[1, 2]])
        array([[0.5, 0.5]], dtype=float32)
        """
        return self._backend.predict(self._theta, self._inputs(X))

    def loss(self, X: object, y: object, sample_weight: object = None) -> float:
        """J of X and y, penalties included; the stored z, a and delta stay as they are.

        X as for `forward`, y and sample_weight as for `backward`. Raises TypeError or ValueError
        for arrays that do not fit.

        >>> import fastbp
        >>> fastbp.Network((1, 1), init="zeros").loss([[3.0]], [[2.0]])
        2.0
        """
        backend, theta = self._backend, self._theta
        rows = self._inputs(X)
        targets = self._targets(y, len(rows))
        s = check.as_weights(sample_weight, len(rows), theta.dtype)
        check.check_known(targets, self.criterion, weights=s)
        return backend.cost(theta, rows, targets, s)

    def _evaluate(self, X: Rows, y: Array | None, s: Array | None) -> tuple[float, Array]:
        """J and a^L of checked data."""
        return self._backend.evaluate(self._theta, X, y, s)

    @alone
    def value_and_grad(
        self, X: object, y: object, theta: object = None, *, training: bool = False
    ) -> tuple[float, Array]:
        """(J, a fresh copy of its gradient), at the network's own theta or at the one given.

        Without theta it is `forward` and `backward`. With theta (n_params,), the parameters of the
        network stay as they are, and the next backward, step or input_gradient needs a new forward
        or backward. training as for `forward`: with True, J and its gradient are those of the
        masks and of the statistics of X; only without theta do running statistics move. Raises
        TypeError or ValueError for arrays that do not fit.

        >>> import fastbp
        >>> net = fastbp.Network((1, 1), init="zeros")
        >>> net.value_and_grad([[3.0]], [[2.0]], theta=[1.0, 0.0])
        (0.5, array([3., 1.], dtype=float32))
        """
        training = check.check_flag(training, "training")
        rows = self._inputs(X)
        targets = self._targets(y, len(rows))
        if theta is None:
            self._pass(rows, self._theta, training)
            J = self._backward(targets, None, self._grad, self._hook)
            self._show_delta()
            return J, self._grad.copy()
        at = self._as_theta(theta)
        grad = np.empty_like(self._grad)
        try:
            self._pass(rows, at, training)
            return self._backward(targets, None, grad, self._hook), grad
        finally:
            self._forget()

    # ---- derivatives beyond the gradient of J ---------------------------------------------
    # None of these touches the stored z, a and delta, the gradient or the parameters, runs a hook,
    # or drops anything: each makes a forward pass of its own.

    @alone
    def vjp(self, X: object, v: object) -> Array:
        """v_iᵀ ∂a^L(x_i)/∂x for every row: (batch, n_0), by one pass forward and one back.

        X (batch, n_0); v (batch, n_L), one vector at the outputs for each sample. It is what
        `torch.func.vjp(f, X)[1](v)` gives for the outputs f(X) = a^L. Raises TypeError or
        ValueError for arrays that do not fit.

        >>> import fastbp
        >>> net = fastbp.Network((2, 1)); net.layers[0].W = [[3.0], [4.0]]
        >>> net.vjp([[1.0, 1.0]], [[2.0]])
        array([[6., 8.]], dtype=float32)
        """
        self._refuse_embedding("vjp")
        rows = self._inputs(X)
        context = {"name": "v", "where": "widths[-1]", "verb": "has"}
        vectors = check.as_rows(v, len(rows), self.widths[-1], self.dtype, **context)
        return self._backend.vjp(self._theta, rows, vectors)

    @alone
    def jacobian(self, X: object) -> Array:
        """∂a_k^L/∂x_j of every sample: (batch, n_L, n_0), by n_L recursions from one forward.

        X (batch, n_0). It is `torch.func.vmap(torch.func.jacrev(f))(X)` for the outputs
        f(x) = a^L of one sample. Raises TypeError or ValueError for an X that does not fit.

        >>> import fastbp
        >>> net = fastbp.Network((2, 2)); net.layers[0].W = [[1.0, 2.0], [3.0, 4.0]]
        >>> net.jacobian([[0.5, 0.5]])
        array([[[1., 3.],
                [2., 4.]]], dtype=float32)
        """
        self._refuse_embedding("jacobian")
        return self._backend.jacobian(self._theta, self._inputs(X))

    @alone
    def per_sample_gradients(self, X: object, y: object) -> Array:
        """∂J_i/∂theta of every sample: (batch, n_params), each row laid out as theta.

        X and y as for `loss`. The penalties of l1 and l2 belong to no sample: without them, and
        with the matmul_precision "highest", the mean of the rows is the gradient of J. The rows
        have that precision whatever the network has; the gradient of J has that of the network. It
        is `torch.func.vmap(torch.func.grad(J_i))`.
        Raises TypeError or ValueError for arrays that do not fit.

        >>> import fastbp
        >>> net = fastbp.Network((1, 1), init="zeros")
        >>> net.per_sample_gradients([[3.0], [1.0]], [[2.0], [-1.0]])
        array([[-6., -2.],
               [ 1.,  1.]], dtype=float32)
        """
        self._refuse_embedding("per_sample_gradients")
        rows = self._inputs(X)
        return self._backend.sample_gradients(self._theta, rows, self._targets(y, len(rows)))

    @alone
    def gradient_norms(self, X: object, y: object, *, per_layer: bool = False) -> Array:
        """‖∂J_i/∂theta‖ of every sample: (batch,), without forming any gradient.

        The gradient of one sample is the outer product of a^{l−1} and δ^l, so its norm over W^l and
        b^l is ‖δ^l‖ √(‖a^{l−1}‖² + 1). per_layer=True returns these norms, (batch, L), gain and
        shift of a norm included. X and y as for `loss`; penalties are left out. Goodfellow,
        arXiv 1510.01799, 2015. Raises TypeError or ValueError for arrays that do not fit.

        >>> import fastbp
        >>> net = fastbp.Network((1, 1), init="zeros")
        >>> net.gradient_norms([[0.75]], [[4.0]])
        array([5.], dtype=float32)
        """
        self._refuse_embedding("gradient_norms")
        rows = self._inputs(X)
        norms = self._backend.layer_norms(self._theta, rows, self._targets(y, len(rows)))
        if not per_layer:
            norms = np.sqrt((norms * norms).sum(axis=1))
        return norms.astype(self.dtype)

    @alone
    def relevance(self, X: object, y: object) -> list[Array]:
        """a^l ⊙ ∂J_i/∂a^l of every layer l = 0 … L: a list of (batch, n_l), the inputs' first.

        How J_i changes, to first order, when an activity is scaled: gradient times input (Shrikumar
        et al., arXiv 1605.01713, 2016). X and y as for `loss`. Across a layer of ReLU or identity
        units with biases of 0 the sum over the units stays the same. Raises TypeError or
        ValueError for arrays that do not fit.

        >>> import fastbp
        >>> net = fastbp.Network((2, 1)); net.layers[0].W = [[1.0], [2.0]]
        >>> net.relevance([[3.0, 0.5]], [[2.0]])[0]
        array([[6., 2.]], dtype=float32)
        """
        self._refuse_embedding("relevance")
        rows = self._inputs(X)
        return self._backend.relevance(self._theta, rows, self._targets(y, len(rows)))

    @alone
    def jvp(self, X: object, dX: object = None, *, dtheta: object = None) -> Array:
        """The change of the outputs as inputs and parameters move: (batch, n_L), in one forward.

        Σ_j ∂a^L/∂x_j dX_j + Σ_k ∂a^L/∂theta_k dtheta_k of each sample, for dX like X, dtheta like
        theta, or both. It is `torch.func.jvp(f, (theta, X), (dtheta, dX))[1]`. Running statistics
        of batch norm are constants here and in all other derivatives. Raises TypeError or
        ValueError for arrays that do not fit, or without either.

        >>> import fastbp
        >>> net = fastbp.Network((2, 1)); net.layers[0].W = [[3.0], [4.0]]
        >>> net.jvp([[1.0, 1.0]], [[0.5, 0.0]])
        array([[1.5]], dtype=float32)
        >>> net.jvp([[1.0, 2.0]], dtheta=[1.0, 0.0, 0.5])
        array([[1.5]], dtype=float32)
        """
        self._refuse_embedding("jvp")
        if dX is None and dtheta is None:
            raise ValueError("jvp needs a direction: dX like X, dtheta= like theta, or both")
        rows, moved, turned = self._inputs(X), None, None
        if dX is not None:
            context = {"name": "dX", "where": "widths[0]"}
            moved = check.as_rows(dX, len(rows), self.widths[0], self.dtype, **context)
        if dtheta is not None:
            turned = check.as_parameters(dtheta, self._theta.shape, self.dtype, "dtheta")
        return self._backend.jvp(self._theta, rows, moved, turned)

    @alone
    def hvp(self, X: object, y: object, v: object, sample_weight: object = None) -> Array:
        """∇²J v, the exact product of the Hessian of J with a vector v.

        By the R-operator (Pearlmutter, Neural Computation 6, 1994), which forms no Hessian and
        takes no difference; it costs about three gradients. It is
        `torch.func.jvp(torch.func.grad(J), …)`: where an activation or a loss has a kink, the
        second derivative counts as 0.

        Parameters
        ----------
        X : array_like (batch, n_0)
            The samples.
        y : array_like
            The targets, as for `backward`.
        v : array_like (n_params,)
            The vector, laid out as theta.
        sample_weight : array_like (batch,) or None, default None
            As for `backward`.

        Returns
        -------
        ndarray (n_params,)
            The product, for J with its penalties. l1 has no second derivative.

        Raises
        ------
        TypeError, ValueError
            For arrays that do not fit, and for a loss that is a function of yours.

        Examples
        --------
        >>> import fastbp
        >>> net = fastbp.Network((1, 1), l2=0.5)
        >>> net.hvp([[3.0], [1.0]], [[0.0], [0.0]], [1.0, 0.0])
        array([5.5, 2. ], dtype=float32)
        """
        if not self.criterion.entry.has_curve:
            raise ValueError(
                f"hvp needs the second derivative of the loss, which {self.criterion} does not "
                "give: use differences of value_and_grad"
            )
        self._refuse_embedding("hvp")
        rows = self._inputs(X)
        targets = self._targets(y, len(rows))
        s = check.as_weights(sample_weight, len(rows), self.dtype)
        check.check_known(targets, self.criterion, weights=s)
        direction = check.as_parameters(v, self._theta.shape, self.dtype, "v")
        return self._backend.hvp(self._theta, rows, targets, s, direction)

    def _refuse_embedding(self, name: str) -> None:
        if self._architecture.dense[0].embeds:
            raise ValueError(
                f"{name} does not go through an embedding of inputs, which the first layer has: "
                "only the gradient of J is computed for such a network"
            )

    # ---- one sample, step by step ---------------------------------------------------------

    @alone
    def walk(self, x: object, y: object) -> Walk:
        """Run one sample forward and back, and return every z, a, δ and gradient.

        `print(net.walk(x, y))` shows each step as a formula filled in with numbers;
        `fastbp.plot.walk` shows the same in a browser. The stored z, a and delta, the gradient and
        the parameters stay as they are. No hook runs, and nothing is dropped.

        Parameters
        ----------
        x : array_like (n_0,)
            The sample.
        y : number, class number, or array_like
            Its target: one row of the targets that `backward` takes.

        Returns
        -------
        Walk
            The numbers of all layers, the loss and J. Its `str` is the text; of large networks it
            shows the first and the last units.

        Raises
        ------
        TypeError, ValueError
            If x is not one sample, if y does not fit, or if the loss compares pairs of samples.

        Examples
        --------
        >>> import fastbp
        >>> net = fastbp.Network((1, 1), dtype="float64"); net.theta = [2.0, 1.0]
        >>> walk = net.walk([3.0], 5.0)
        >>> walk.layers[0].z, walk.layers[0].delta, walk.J
        (array([7.]), array([2.]), 2.0)
        """
        self._refuse_embedding("walk")
        from .walk_passes import as_target, walk

        X = self._inputs(self._sample(x), "x")
        targets = self._targets(as_target(y, self.criterion), 1, "x")
        assert targets is not None  # only losses of pairs have none
        return walk(type(self._backend), self._architecture, self._theta, X, targets, self._kind)

    def _sample(self, x: object) -> Array:
        """One sample as a row (1, n_0), whose names are checked."""
        from .walk_passes import as_sample

        check_column_names(x, self.feature_names, "x", one_sample=True)
        return as_sample(x, self.widths[0])


def _callable(hook: Hook) -> Hook:
    if not callable(hook):
        raise TypeError(f"a hook must be a function of (l, delta); got {hook!r}")
    return hook
