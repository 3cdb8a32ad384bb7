"""L-BFGS through SciPy: whole data sets, line searches, curvature from the last gradients."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

import numpy as np

from .._checks import arguments as check
from .._checks.sparse import is_sparse
from .._types import Array, Data, Place, SessionOptions, Trainee
from ..errors import ConvergenceWarning
from ._hyper import Declared, hyper
from ._objective import Objective


class LBFGS(Declared):
    """L-BFGS-B of SciPy (Byrd, Lu, Nocedal & Zhu 1995), for `fit` alone; extra `scipy`.

    An epoch is one run of at most max_iter iterations on all rows, whatever batch_size and shuffle
    say, from where the last one ended, with a curvature of its own: one epoch of
    LBFGS(max_iter=500) rather than many. It ends early where
    (J_k − J_{k+1})/max(|J_k|, |J_{k+1}|, 1) <= ftol or the largest |g| <= gtol; both, and
    history_size, the pairs of steps and gradients that it keeps, are SciPy's defaults. The epoch's
    loss is J at its end. Evaluations are forward and backward passes, with sample weights and
    penalties, on as many threads as `get_num_threads` says. They run in float64 whatever the
    network's dtype, since SciPy compares values of J that differ in few digits; theta is rounded
    to the dtype at the end. Targets far from 0 or of a spread far from 1 are fitted in units of
    their own, see docs/optimizers.md. Frozen layers stay, and a non_negative W is a bound;
    networks with dropout and layers with a max_norm are refused.

    Warns (`fastbp.errors.ConvergenceWarning`) where the line search failed, where a float32 network
    cannot hold the result, and where a run stopped with J above 1 % of that at the start although
    one step down the gradient would still lower it by more than 1 %, and by more than a thousandth
    of J of a network that answers with the mean of y (of 1, for losses that are not of numbers).

    n_iterations, n_evaluations and message tell of the last run. Raises TypeError or ValueError for
    arguments out of range; in `fit` ImportError where SciPy is not installed, ValueError for
    dropout or a max_norm.

    >>> LBFGS(max_iter=200)
    LBFGS(max_iter=200, history_size=10, ftol=2.220446049250313e-09, gtol=1e-05)
    """

    full_batch = True

    max_iter: int = hyper(
        default=100,
        test=check.check_positive_int,
        doc="Of a run, at least 1.",
        shown=True,
    )
    history_size: int = hyper(
        default=10,
        test=check.check_positive_int,
        doc="How many pairs of steps and gradients are kept, at least 1.",
        shown=True,
    )
    ftol: float = hyper(
        default=2.220446049250313e-09,
        test=check.check_nonnegative,
        doc="A run ends where J falls by less than this share, at least 0.",
        kw_only=True,
        shown=True,
    )
    gtol: float = hyper(
        default=1e-5,
        test=check.check_nonnegative,
        doc="A run ends where no element of the gradient is larger, at least 0.",
        kw_only=True,
        shown=True,
    )

    def __post_init__(self) -> None:
        self.n_iterations = self.n_evaluations = 0
        self.message = ""

    def check_fit(self, *, checkpoint: bool, schedule: bool) -> None:
        """Raise TypeError for a fit with checkpoints, ValueError for one with a schedule."""
        if checkpoint:
            raise TypeError("LBFGS makes an epoch in one go: leave checkpoint out, save the net")
        if schedule:
            raise ValueError("LBFGS searches for the length of its steps: leave schedule out")

    def session(
        self, net: Trainee, source: Data, options: SessionOptions, epochs: int, place: Place
    ) -> LineSearches:
        """A fit of `net` on checked data, of which neither options nor place change anything.

        Raises ImportError where SciPy is not installed, ValueError for a network with dropout, for
        J would be another at every call, or with a max_norm, which SciPy cannot keep.
        """
        if net.input_dropout > 0 or any(layer.dropout > 0 for layer in net.dense):
            raise ValueError("LBFGS takes no dropout: it minimises one J; use another optimiser")
        _scipy_minimize()
        for number, layer in enumerate(net.layers, 1):
            if layer.dense.max_norm is not None and layer.trainable:
                raise ValueError(
                    f"LBFGS cannot keep the max_norm of layer {number}: leave it out, or take "
                    "another optimizer"
                )
        return LineSearches(self, net, source)


@dataclass(frozen=True)
class Outcome:
    """What a run of SciPy's came to.

    J at its end, as the network itself computes it; SciPy's counts, status (0: converged, 1: a
    limit of the caller's, 2: the line search failed) and message; and what is wrong with the
    result, with the way out, or None.
    """

    J: float
    n_iterations: int
    n_evaluations: int
    status: int
    message: str
    trouble: str | None


def descend(
    net: Trainee, X: Array, y: Array | None, s: Array | None, options: dict[str, float]
) -> Outcome | None:
    """One run of L-BFGS-B from theta of `net`, with SciPy's options; theta ends at its best.

    None, with theta as it was, where J is not finite to begin with. However the run breaks off,
    theta is that of the last iterate. z, a and delta are forgotten.
    """
    minimize, end = _scipy_minimize(), net.theta.copy()
    try:
        objective = Objective(net, X, y, s)
        if not isfinite(objective.J):
            return None
        try:
            result = minimize(
                objective,
                objective.start,
                jac=True,
                method="L-BFGS-B",
                callback=objective.accept,
                bounds=objective.bounds,
                options=options | {"gtol": objective.tolerance(options["gtol"])},
            )
            lowest = objective.cost_of(result.fun)
            if lowest <= objective.J:
                objective.accept(result.x)
            else:  # NaN too
                lowest = objective.J
            trouble = _trouble(objective, result, lowest)
        finally:
            end = objective.theta
    finally:
        net.theta[...] = end
        net._forget()
    J = net.loss(X, y, s)
    if trouble is None:
        trouble = _rounding(objective, lowest, J, net.dtype)
    counts = int(result.nit), int(result.nfev) + 1
    return Outcome(J, *counts, int(result.status), str(result.message), trouble)


def _trouble(objective: Objective, result: object, lowest: float) -> str | None:
    """Why the point that SciPy stopped at, with J at its lowest, is no minimum."""
    if result.status == 1:
        return None
    why = f"its line search failed ({result.message})" if result.status else ""
    if not why and lowest > 0.01 * objective.J:
        share = objective.share_left()
        # of what there was to gain: nobody misses a thousandth of it
        whole = 1.0 if objective.spread is None else objective.spread
        if share > 0.01 and share * lowest > 1e-3 * whole:
            why = f"one step down the gradient would still take {share:.0%} off J"
    if not why:
        return None
    return (
        f"it stopped after {result.nit} iterations where {why}: scale the columns of X and y to "
        "mean 0 and standard deviation 1, or lower the tolerances"
    )


def _rounding(objective: Objective, lowest: float, J: float, dtype: np.dtype) -> str | None:
    """What is lost where a network of `dtype` has J in place of the lowest, in double."""
    if objective.spread is None or J - lowest <= 1e-3 * objective.spread:
        return None
    return (
        f"{dtype} has too few digits for it: J is {lowest:.6g} in float64, and {J:.6g} with "
        f"parameters and outputs in {dtype}. Subtract the mean of y and divide by its standard "
        "deviation before, or take float64"
    )


def _scipy_minimize() -> Callable:
    try:
        from scipy.optimize import minimize
    except ImportError as error:
        raise ImportError('LBFGS needs SciPy: pip install "fastbp[scipy]"') from error
    return minimize


class LineSearches:
    """One `fit`: data, and an epoch that is a run of SciPy's minimize."""

    def __init__(self, optimizer: LBFGS, net: Trainee, data: Data) -> None:
        X, self._y, self._s = data
        self._X = X if is_sparse(X) else np.ascontiguousarray(X, net.dtype)
        self._optimizer, self._net = optimizer, net
        self._epoch = -1
        self.rows_done = 0

    def close(self) -> None:
        """Nothing to do."""

    def run(self, seconds: float) -> tuple[bool, bool, int, int, float, float]:
        """An epoch, however long it takes; see `fastbp._types.Ran`.

        theta is the last iterate, also where a run breaks off, and as it was where J is not finite
        to begin with.
        """
        self._epoch += 1
        optimizer, net = self._optimizer, self._net
        options = {
            "maxiter": optimizer.max_iter,
            "maxcor": optimizer.history_size,
            "ftol": optimizer.ftol,
            "gtol": optimizer.gtol,
        }
        outcome = descend(net, self._X, self._y, self._s, options)
        if outcome is None:
            J = net.loss(self._X, self._y, self._s)
            return True, False, self._epoch, 0, J, J
        optimizer.n_iterations = outcome.n_iterations
        optimizer.n_evaluations = outcome.n_evaluations
        optimizer.message = outcome.message
        if outcome.trouble is not None:
            message = f"LBFGS has not found a minimum: {outcome.trouble}"
            warnings.warn(message, ConvergenceWarning, stacklevel=5)
        self.rows_done += len(self._X)
        return False, True, self._epoch, 1, outcome.J, outcome.J
