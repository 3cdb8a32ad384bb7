"""L-BFGS through SciPy: runs over the whole data set, with line searches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite
from typing import Protocol

import numpy as np

from .._checks import arguments as check
from .._checks.caller import warn_caller
from .._types import Array, Data, Place, Rows, SessionOptions, SparseRows, Trainee
from ..errors import ConvergenceWarning
from ._hyper import Declared, hyper
from ._objective import Objective


class LBFGS(Declared):
    """L-BFGS-B of SciPy for whole data sets. Only `fit` accepts it; it needs the extra `scipy`.

    One epoch is one run of at most max_iter iterations over all rows, whatever batch_size and
    shuffle are. It starts where the last run ended, without its curvature information. It ends
    early if (J_k − J_{k+1})/max(|J_k|, |J_{k+1}|, 1) <= ftol or if the largest |g| <= gtol. One
    epoch of LBFGS(max_iter=500) is therefore better than many short ones. The loss of the epoch is
    J at the end.

    Every evaluation is a forward and a backward pass, including sample weights and penalties. The
    passes run in float64 whatever the dtype of the network, because SciPy compares values of J that
    differ in few digits; theta is rounded to the dtype at the end.
    Targets far from 0, or with a spread far from 1, are fitted in their own units, see
    docs/optimizers.md. Frozen layers do not change, and a non_negative W becomes a bound.

    `fit` issues `fastbp.errors.ConvergenceWarning` if the line search failed, if a float32 network
    cannot represent the result, or if a run stopped although J could clearly be lowered;
    docs/optimizers.md has the exact conditions. It raises ImportError if SciPy is not installed,
    and ValueError for networks with dropout or batch norm, for trained layers with a max_norm, and
    for a matmul_precision other than "highest". After a run, `n_iterations` and `n_evaluations` are
    SciPy's counts, and `message` says why it ended.

    Source: Byrd, Lu, Nocedal & Zhu, SIAM J. Sci. Comput. 16, 1995.

    >>> LBFGS(max_iter=200)
    LBFGS(max_iter=200, history_size=10, ftol=2.220446049250313e-09, gtol=1e-05)
    """

    full_batch = True

    max_iter: int = hyper(
        default=100,
        test=check.check_positive_int,
        doc="The largest number of iterations of a run, at least 1.",
        shown=True,
    )
    history_size: int = hyper(
        default=10,
        test=check.check_positive_int,
        doc="The number of past steps and gradients that approximate the curvature, at least 1.",
        shown=True,
    )
    ftol: float = hyper(
        default=2.220446049250313e-09,
        test=check.check_nonnegative,
        doc="A run ends if the relative decrease of J is at most ftol; at least 0.",
        kw_only=True,
        shown=True,
    )
    gtol: float = hyper(
        default=1e-5,
        test=check.check_nonnegative,
        doc="A run ends if no element of the gradient is larger than gtol; at least 0.",
        kw_only=True,
        shown=True,
    )

    def __post_init__(self) -> None:
        self.n_iterations = self.n_evaluations = 0
        self.message = ""

    def check_fit(self, *, checkpoint: bool, schedule: bool) -> None:
        """Raise TypeError for a fit with checkpoints, ValueError for one with a schedule."""
        if checkpoint:
            raise TypeError(
                "LBFGS makes no checkpoints: omit checkpoint, and save the network afterwards"
            )
        if schedule:
            raise ValueError("LBFGS has no learning rate: omit schedule")

    def session(
        self, net: Trainee, source: Data, options: SessionOptions, epochs: int, place: Place
    ) -> LineSearches:
        """Return the training session that `fit` runs.

        Raises ImportError if SciPy is not installed, and ValueError for a network with dropout,
        whose J changes from call to call, with batch norm, with a max_norm, which SciPy cannot
        enforce, or with a matmul_precision other than "highest", which is the only one in float64.

        Parameters
        ----------
        net : Network
            The network to train.
        source : tuple
            Checked X, y and sample weights.
        options, epochs, place
            Not used: a run always takes all rows, and every fit begins anew.
        """
        if net.input_dropout > 0 or any(layer.dropout > 0 for layer in net.dense):
            raise ValueError(
                "LBFGS cannot use dropout, because it minimises one fixed J: use another optimiser"
            )
        check_precision(net)
        if any(layer.norm is not None and layer.norm.by_batch for layer in net.dense):
            raise ValueError(
                "LBFGS cannot use batch norm, whose running statistics move from step to step: use "
                "norm='layer', or another optimizer"
            )
        _scipy_minimize()
        for number, layer in enumerate(net.layers, 1):
            if layer.dense.max_norm is not None and layer.trainable:
                raise ValueError(
                    f"LBFGS cannot keep the max_norm of layer {number}: omit it, or use "
                    "another optimizer"
                )
        return LineSearches(self, net, source)


def check_precision(net: Trainee) -> None:
    """Raise ValueError if the matmul_precision of a network is not "highest"."""
    if net.matmul_precision != "highest":
        raise ValueError(
            "LBFGS takes matmul_precision='highest' only, because it computes in float64; the "
            f"network has {net.matmul_precision!r}: set its matmul_precision to 'highest', or use "
            "another optimizer"
        )


@dataclass(frozen=True)
class Outcome:
    """The result of a run.

    Attributes
    ----------
    J : float
        J at the end, computed by the network itself in its own dtype.
    n_iterations, n_evaluations : int
        SciPy's counts.
    status : int
        SciPy's status: 0 converged, 1 a limit was reached, 2 the line search failed.
    message : str
        SciPy's message.
    trouble : str or None
        What is wrong with the result and what to do about it, or None.
    """

    J: float
    n_iterations: int
    n_evaluations: int
    status: int
    message: str
    trouble: str | None


class _Result(Protocol):
    """What SciPy's minimize returns, as far as it is used here."""

    x: Array
    fun: float
    nit: int
    nfev: int
    status: int
    message: str


def descend(
    net: Trainee, X: Rows, y: Array | None, s: Array | None, options: dict[str, float]
) -> Outcome | None:
    """Run L-BFGS-B once, starting from theta of `net`.

    If the run is interrupted, theta is that of the last iterate. z, a and delta of the network are
    dropped.

    Parameters
    ----------
    net : Network
        The network to train.
    X, y, s : array or None
        Checked inputs, targets and sample weights.
    options : dict
        The options of SciPy's method.

    Returns
    -------
    Outcome or None
        The result, with theta at the lowest J; None, with theta unchanged, if J is not finite at
        the start.
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
            else:  # also if it is NaN
                lowest = objective.J
            trouble = _trouble(objective, result, lowest)
        finally:
            end = objective.theta
    finally:
        net.theta[...] = end
        net._forget()
    J = net.loss(X, y, s)
    if trouble is None:
        trouble = _rounding(objective, lowest, J, net)
    counts = int(result.nit), int(result.nfev) + 1
    return Outcome(J, *counts, int(result.status), str(result.message), trouble)


def _trouble(objective: Objective, result: _Result, lowest: float) -> str | None:
    """Why the result, with its J `lowest`, is not a minimum; None if it may be one."""
    if result.status == 1:
        return None
    why = f"its line search failed ({result.message})" if result.status else ""
    if not why and lowest > 0.01 * objective.J:
        share = objective.share_left()
        # a gain below a thousandth of the J of a constant prediction does not matter
        whole = 1.0 if objective.spread is None else objective.spread
        if share > 0.01 and share * lowest > 1e-3 * whole:
            why = f"one more step down the gradient would lower J by {share:.0%}"
    if not why:
        return None
    return (
        f"it stopped after {result.nit} iterations, but {why}: scale the columns of X and y to "
        "mean 0 and standard deviation 1, or lower the tolerances"
    )


def _rounding(objective: Objective, lowest: float, J: float, net: Trainee) -> str | None:
    """What the rounding of `net` has cost: it turned the `lowest` J, in float64, into `J`."""
    if objective.spread is None or J - lowest <= 1e-3 * objective.spread:
        return None
    dtype = net.dtype
    return (
        f"{dtype} has too few digits for it: J is {lowest:.6g} in float64, and {J:.6g} with "
        f"parameters and outputs in {dtype}. Subtract the mean of y and divide by its standard "
        "deviation first, or use float64"
    )


def _scipy_minimize() -> Callable[..., _Result]:
    try:
        from scipy.optimize import minimize
    except ImportError as error:
        raise ImportError('LBFGS needs SciPy: pip install "fastbp[scipy]"') from error
    typed: Callable[..., _Result] = minimize
    return typed


class LineSearches:
    """A training session in which each epoch is one run of SciPy's minimize."""

    def __init__(self, optimizer: LBFGS, net: Trainee, data: Data) -> None:
        X, self._y, self._s = data
        self._X = X if isinstance(X, SparseRows) else np.ascontiguousarray(X, net.dtype)
        self._optimizer, self._net = optimizer, net
        self._epoch = -1
        self.rows_done = 0

    def close(self) -> None:
        """Nothing to do."""

    def run(self, seconds: float) -> tuple[bool, bool, int, int, float, float]:
        """Run one epoch, however long it takes; returns a `fastbp._types.Ran`.

        If J is not finite at the start, theta is unchanged and the result says `diverged`. If the
        run is interrupted, theta is that of the last iterate.
        """
        self._epoch += 1
        optimizer, net = self._optimizer, self._net
        options = {
            "maxiter": optimizer.max_iter,
            "maxcor": optimizer.history_size,
            "ftol": optimizer.ftol,
            "gtol": optimizer.gtol,
        }
        with net._lock:  # nobody sees theta before the end of the run, or uses the stored pass
            outcome = descend(net, self._X, self._y, self._s, options)
        if outcome is None:
            J = net.loss(self._X, self._y, self._s)
            return True, False, self._epoch, 0, J, J
        optimizer.n_iterations = outcome.n_iterations
        optimizer.n_evaluations = outcome.n_evaluations
        optimizer.message = outcome.message
        if outcome.trouble is not None:
            message = f"LBFGS has not found a minimum: {outcome.trouble}"
            warn_caller(message, ConvergenceWarning)
        self.rows_done += len(self._X)
        return False, True, self._epoch, 1, outcome.J, outcome.J
