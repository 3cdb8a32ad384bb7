"""L-BFGS through SciPy: whole data sets, line searches, curvature from the last gradients."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from .. import _validation as check
from .._sparse import is_sparse

if TYPE_CHECKING:
    from .._base import NetworkBase
    from .._fitting import Data


class LBFGS:
    """L-BFGS-B of SciPy (Byrd, Lu, Nocedal & Zhu 1995), for `fit` alone; extra `scipy`.

    An epoch is one run of at most max_iter iterations on all rows, whatever batch_size and shuffle
    say, from where the last one ended, with a curvature of its own: one epoch of
    LBFGS(max_iter=500) rather than many. It ends early where
    (J_k − J_{k+1})/max(|J_k|, |J_{k+1}|, 1) <= ftol or the largest |g| <= gtol; both, and
    history_size, the pairs of steps and gradients that it keeps, are SciPy's defaults. The epoch's
    loss is J at its end. Evaluations are `forward` and `backward`, with sample weights and
    penalties, on as many threads as `get_num_threads` says; SciPy works in double, and float64
    networks come closer to the minimum. Frozen layers stay, and a non_negative W is a bound;
    networks with dropout and layers with a max_norm are refused.

    n_iterations, n_evaluations and message tell of the last run. Raises TypeError or ValueError for
    arguments out of range; in `fit` ImportError where SciPy is not installed, ValueError for
    dropout or a max_norm.

    >>> LBFGS(max_iter=200)
    LBFGS(max_iter=200, history_size=10, ftol=2.220446049250313e-09, gtol=1e-05)
    """

    full_batch = True

    def __init__(
        self,
        max_iter: int = 100,
        history_size: int = 10,
        *,
        ftol: float = 2.220446049250313e-09,
        gtol: float = 1e-5,
    ) -> None:
        self.max_iter = check.check_positive_int(max_iter, "max_iter")
        self.history_size = check.check_positive_int(history_size, "history_size")
        self.ftol = check.check_nonnegative(ftol, "ftol")
        self.gtol = check.check_nonnegative(gtol, "gtol")
        self.n_iterations = self.n_evaluations = 0
        self.message = ""

    def session(self, net: NetworkBase, data: Data) -> Session:
        """A fit of `net` on checked data.

        Raises ImportError where SciPy is not installed, ValueError for a network with dropout, for
        J would be another at every call, or with a max_norm, which SciPy cannot keep.
        """
        if net.input_dropout > 0 or any(layer.dropout > 0 for layer in net.dense):
            raise ValueError("LBFGS takes no dropout: it minimises one J; use another optimiser")
        try:
            from scipy.optimize import minimize
        except ImportError as error:
            raise ImportError('LBFGS needs SciPy: pip install "fastbp[scipy]"') from error
        for number, layer in enumerate(net.layers, 1):
            if layer.dense.max_norm is not None and layer.trainable:
                raise ValueError(
                    f"LBFGS cannot keep the max_norm of layer {number}: leave it out, or take "
                    "another optimizer"
                )
        return Session(self, net, data, minimize)

    def __repr__(self) -> str:
        return (
            f"LBFGS(max_iter={self.max_iter}, history_size={self.history_size}, "
            f"ftol={self.ftol}, gtol={self.gtol})"
        )


class Session:
    """One `fit`: data, and an epoch that is a run of SciPy's minimize."""

    def __init__(self, optimizer: LBFGS, net: NetworkBase, data: Data, minimize) -> None:
        X, self._y, self._s = data
        self._X = X if is_sparse(X) else np.ascontiguousarray(X, net.dtype)
        self._optimizer, self._net, self._minimize = optimizer, net, minimize
        self._epoch = -1
        self.rows_done = 0

    def close(self) -> None:
        """Nothing to do."""

    def _limits(self) -> tuple[np.ndarray, np.ndarray]:
        """(whether a parameter is trained, the least that it may be), twins of theta."""
        net = self._net
        free, least = np.ones(net.theta.size, bool), np.full(net.theta.size, -np.inf)
        parts = zip(net.layers, net.blocks(free), net.blocks(least), strict=True)
        for layer, trained, lower in parts:
            for block in trained.values():
                block[...] = layer.trainable
            if layer.dense.non_negative and layer.trainable:
                lower["W"][...] = 0.0
        return free, least

    def _value_and_grad(self, theta: np.ndarray) -> tuple[float, np.ndarray]:
        net = self._net
        net.theta[...] = theta
        net.forward(self._X)
        J = net.backward(self._y, self._s)
        return J, np.where(self._free, net.grad.astype(np.float64), 0.0)

    def run(self, seconds: float) -> tuple[bool, bool, int, int, float, float]:
        """An epoch, however long it takes; see `fastbp._session.Ran`.

        theta is the last iterate, also where a run breaks off, and as it was where J is not finite
        to begin with.
        """
        self._epoch += 1
        optimizer, net = self._optimizer, self._net
        self._free, least = self._limits()
        accepted = net.theta.astype(np.float64)
        start = np.maximum(accepted, least)
        options = {
            "maxiter": optimizer.max_iter,
            "maxcor": optimizer.history_size,
            "ftol": optimizer.ftol,
            "gtol": optimizer.gtol,
        }

        def accept(theta: np.ndarray) -> None:
            nonlocal accepted
            accepted = theta.copy()

        try:
            J = self._value_and_grad(start)[0]
            if not isfinite(J):
                return True, False, self._epoch, 0, J, J
            result = self._minimize(
                self._value_and_grad,
                start,
                jac=True,
                method="L-BFGS-B",
                callback=accept,
                bounds=[(low, None) for low in least] if (least == 0.0).any() else None,
                options=options,
            )
            if isfinite(result.fun) and result.fun <= J:
                accept(result.x)
        finally:
            net.theta[...] = accepted
            net._forget()
        optimizer.n_iterations, optimizer.n_evaluations = int(result.nit), int(result.nfev) + 1
        optimizer.message = str(result.message)
        J = net.loss(self._X, self._y, self._s)
        self.rows_done += len(self._X)
        return False, True, self._epoch, 1, J, J
