"""Derivatives of a network beyond the gradient of J: what both kinds of Network offer.

Checks and descriptions stand here; the arithmetic is in `engine` beside this file, and in NumPy in
`fastbp.reference`. None of these calls touches the stored z, a and delta, the
gradient or the parameters, and none runs a hook.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np

from .._checks import arguments as check
from .._types import Array
from ..losses import Loss


class Derivatives(ABC):
    """Jacobian and products with it, gradients sample by sample, relevance; a mixin of Network."""

    widths: tuple[int, ...]
    dtype: np.dtype
    theta: Array
    criterion: Loss
    _inputs: Callable[..., Array]  # X as the passes take it, and y as the loss does: NetworkBase's
    _targets: Callable[..., Array]

    def vjp(self, X: object, v: object) -> Array:
        """v_iᵀ ∂a^L(x_i)/∂x for every row: (batch, n_0), by one pass forward and one back.

        X (batch, n_0); v (batch, n_L), a vector at the outputs for each sample. It is what
        `torch.func.vjp(f, X)[1](v)` gives for the outputs f(X) = a^L. Raises TypeError or
        ValueError for arrays that do not fit.

        >>> import fastbp
        >>> net = fastbp.Network((2, 1)); net.layers[0].W = [[3.0], [4.0]]
        >>> net.vjp([[1.0, 1.0]], [[2.0]])
        array([[6., 8.]], dtype=float32)
        """
        X = self._inputs(X)
        told = {"name": "v", "where": "widths[-1]"}
        return self._vjp(X, check.as_rows(v, len(X), self.widths[-1], self.dtype, **told))

    def jacobian(self, X: object) -> Array:
        """∂a_k^L/∂x_j of every sample: (batch, n_L, n_0), by n_L recursions from one forward.

        X (batch, n_0). It is `torch.func.vmap(torch.func.jacrev(f))(X)` for the outputs
        f(x) = a^L of a sample. Raises TypeError or ValueError for an X that does not fit.

        >>> import fastbp
        >>> net = fastbp.Network((2, 2)); net.layers[0].W = [[1.0, 2.0], [3.0, 4.0]]
        >>> net.jacobian([[0.5, 0.5]])
        array([[[1., 3.],
                [2., 4.]]], dtype=float32)
        """
        return self._jacobian(self._inputs(X))

    def per_sample_gradients(self, X: object, y: object) -> Array:
        """∂J_i/∂theta of every sample: (batch, n_params), each row laid out as theta.

        X and y as for `loss`. The penalties of l1 and l2 belong to no sample: without them the
        mean of the rows is the gradient of J. It is
        `torch.func.vmap(torch.func.grad(J_i))`. Raises TypeError or ValueError for arrays that do
        not fit.

        >>> import fastbp
        >>> net = fastbp.Network((1, 1), init="zeros")
        >>> net.per_sample_gradients([[3.0], [1.0]], [[2.0], [-1.0]])
        array([[-6., -2.],
               [ 1.,  1.]], dtype=float32)
        """
        X = self._inputs(X)
        return self._sample_gradients(X, self._targets(y, len(X)))

    def gradient_norms(self, X: object, y: object, *, per_layer: bool = False) -> Array:
        """‖∂J_i/∂theta‖ of every sample: (batch,), without forming any gradient.

        A sample's gradient is the outer product of a^{l−1} and δ^l, so its norm over W^l and b^l
        is ‖δ^l‖ √(‖a^{l−1}‖² + 1); per_layer=True gives these, (batch, L), gain and shift of a
        norm included. X and y as for `loss`;
        penalties are left out. Goodfellow, arXiv 1510.01799, 2015. Raises TypeError or ValueError
        for arrays that do not fit.

        >>> import fastbp
        >>> net = fastbp.Network((1, 1), init="zeros")
        >>> net.gradient_norms([[0.75]], [[4.0]])
        array([5.], dtype=float32)
        """
        X = self._inputs(X)
        norms = self._layer_norms(X, self._targets(y, len(X)))
        if not per_layer:
            norms = np.sqrt((norms * norms).sum(axis=1))
        return norms.astype(self.dtype)

    def relevance(self, X: object, y: object) -> list[Array]:
        """a^l ⊙ ∂J_i/∂a^l of every layer l = 0 … L: a list of (batch, n_l), the inputs' first.

        How J_i changes, to first order, as an activity is scaled: gradient times input (Shrikumar
        et al., arXiv 1605.01713, 2016). X and y as for `loss`. Across a layer of ReLU or identity
        units with biases of 0 the sum over the units stays the same. Raises TypeError or
        ValueError for arrays that do not fit.

        >>> import fastbp
        >>> net = fastbp.Network((2, 1)); net.layers[0].W = [[1.0], [2.0]]
        >>> net.relevance([[3.0, 0.5]], [[2.0]])[0]
        array([[6., 2.]], dtype=float32)
        """
        X = self._inputs(X)
        return self._relevance(X, self._targets(y, len(X)))

    # ---- along a direction ----------------------------------------------------------------

    def jvp(self, X: object, dX: object = None, *, dtheta: object = None) -> Array:
        """How the outputs change as inputs and parameters move: (batch, n_L), in one forward pass.

        Σ_j ∂a^L/∂x_j dX_j + Σ_k ∂a^L/∂theta_k dtheta_k of each sample, for dX like X, dtheta like
        theta, or both. It is `torch.func.jvp(f, (theta, X), (dtheta, dX))[1]`. Raises TypeError
        or ValueError for arrays that do not fit, or without either.

        >>> import fastbp
        >>> net = fastbp.Network((2, 1)); net.layers[0].W = [[3.0], [4.0]]
        >>> net.jvp([[1.0, 1.0]], [[0.5, 0.0]])
        array([[1.5]], dtype=float32)
        >>> net.jvp([[1.0, 2.0]], dtheta=[1.0, 0.0, 0.5])
        array([[1.5]], dtype=float32)
        """
        if dX is None and dtheta is None:
            raise ValueError("jvp needs a direction: dX like X, dtheta= like theta, or both")
        X = self._inputs(X)
        if dX is not None:
            told = {"name": "dX", "where": "widths[0]"}
            dX = check.as_rows(dX, len(X), self.widths[0], self.dtype, **told)
        if dtheta is not None:
            dtheta = check.as_parameters(dtheta, self.theta.shape, self.dtype, "dtheta")
        return self._jvp(X, dX, dtheta)

    def hvp(self, X: object, y: object, v: object, sample_weight: object = None) -> Array:
        """∇²J v, the product of the Hessian of J with a vector v like theta: like theta, exact.

        By the R-operator (Pearlmutter, Neural Computation 6, 1994): no Hessian is formed, no
        difference taken; it costs some three gradients. X, y and sample_weight as for `loss`;
        J with its penalties, of which l1 has no second derivative. Where an activation or loss
        has a kink, that does not have one either: as `torch.func.jvp(torch.func.grad(J), …)`.
        Raises TypeError or ValueError for arrays that do not fit, or for a loss of your own.

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
        X = self._inputs(X)
        y = self._targets(y, len(X))
        s = check.as_weights(sample_weight, len(X), self.dtype)
        return self._hvp(X, y, check.as_parameters(v, self.theta.shape, self.dtype, "v"), s)

    # ---- arithmetic, on checked arrays ------------------------------------------------------

    @abstractmethod
    def _vjp(self, X: Array, v: Array) -> Array:
        """(batch, n_0)."""

    @abstractmethod
    def _jacobian(self, X: Array) -> Array:
        """(batch, n_L, n_0)."""

    @abstractmethod
    def _sample_gradients(self, X: Array, y: Array) -> Array:
        """(batch, n_params)."""

    @abstractmethod
    def _layer_norms(self, X: Array, y: Array) -> Array:
        """(batch, L), float64."""

    @abstractmethod
    def _jvp(self, X: Array, dX: Array | None, dtheta: Array | None) -> Array:
        """(batch, n_L)."""

    @abstractmethod
    def _hvp(self, X: Array, y: Array, v: Array, s: Array | None) -> Array:
        """(n_params,)."""

    @abstractmethod
    def _relevance(self, X: Array, y: Array) -> list[Array]:
        """(batch, n_l) for l = 0 … L."""
