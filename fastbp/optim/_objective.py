"""J and its gradient in float64, as the line searches of L-BFGS need them."""

from __future__ import annotations

import numpy as np

from .._checks import arguments as check
from .._types import Array, SparseRows, Trainee

# Targets keep their units if their spread lies in _USUAL and their mean is at most _FAR spreads
# from that of the outputs. SciPy then makes the same steps as for scikit-learn.
_USUAL = (2.0**-5, 2.0**7)
_FAR = 64.0


class Objective:
    """J of a data set as a function of phi in float64, where theta = phi · scale + shift.

    The passes run in float64 whatever the dtype of `net`, unless the network has a hook, which must
    see them in its own dtype. `start` is the phi from which the search starts, and `J` is J there.

    scale is 1 and shift is 0, unless the spread k of the targets is far from 1 or their mean is far
    from that of the outputs. In that case W^L and b^L have the scale k, and b^L is shifted by the
    mean of the targets, which is also subtracted from the targets. The function is then f = J /
    spread, where `spread` is the J of a network that predicts the mean of the targets. The minimum
    is the same, but curvatures are near 1 and residuals keep their digits. The search then starts
    from the linear regression of the targets on the outputs of `net`, if J is lower there.
    """

    def __init__(self, net: Trainee, X: object, y: Array | None, s: Array | None) -> None:
        self._net = _in_double(net)
        if isinstance(X, SparseRows):
            X = SparseRows(X.values.astype(self._net.dtype), X.indices, X.indptr, X.shape[1])
        self._X = self._net._inputs(X)
        n = self._X.shape[0]
        self._y = self._net._targets(y, n)
        self._s = check.as_weights(s, n, self._net.dtype)
        self._free, self._least = _limits(self._net)
        self.start = np.maximum(net.theta.astype(np.float64), self._least)
        self._scale, self._shift = np.ones(self.start.size), np.zeros(self.start.size)
        self._unit = 1.0
        self.spread: float | None = None
        self.accept(self.start)
        self.J = self._cost(self.start)
        complete = self._y is not None and not np.isnan(self._y).any()
        if self._y is not None and complete and self._follows_targets() and np.isfinite(self.J):
            self._take_units(self._y)

    @property
    def bounds(self) -> list[tuple[float, None]] | None:
        """Bounds of each element of phi; None if there are none."""
        if not (self._least == 0.0).any():
            return None
        return [(low, None) for low in self._least]

    @property
    def theta(self) -> Array:
        """theta at the last accepted phi."""
        return self._phi * self._scale + self._shift

    def accept(self, phi: Array) -> None:
        """Make phi the point at which the run ends, unless another one is accepted later."""
        self._phi = phi.copy()

    def tolerance(self, gtol: float) -> float:
        """The gradient of f at which to stop: gtol holds for f and, in the units of J, for J."""
        return gtol * min(1.0, float(self._scale.max()) / self._unit)

    def cost_of(self, f: float) -> float:
        """Convert a value of f into J."""
        return float(f) * self._unit

    def __call__(self, phi: Array) -> tuple[float, Array]:
        """Return f and its gradient, which is 0 for frozen parameters."""
        net = self._net
        net.theta[...] = phi * self._scale
        net.forward(self._X)
        J = net.backward(self._y, self._s)
        slope = net.grad.astype(np.float64) * (self._scale / self._unit)
        return J / self._unit, np.where(self._free, slope, 0.0)

    def share_left(self) -> float:
        """The share by which one step down the gradient from `theta` would lower J.

        Its length is that of a Newton step along the gradient, or 1 if the curvature is not
        positive.
        """
        ahead = 1e-5
        f, g = self(self._phi)
        g[(self._phi <= self._least) & (g > 0)] = 0.0
        length = float(np.sqrt(g @ g))
        if length == 0 or f <= 0:
            return 0.0
        direction = g / length
        curvature = float(length - self(self._phi - ahead * direction)[1] @ direction) / ahead
        step = length / curvature if curvature > 0 else 1.0
        there = np.maximum(self._phi - step * direction, self._least)
        return 1 - self(there)[0] / f

    # ---- units ----------------------------------------------------------------------------

    def _cost(self, theta: Array) -> float:
        self._net.theta[...] = theta
        return self._net.loss(self._X, self._y, self._s)

    def _follows_targets(self) -> bool:
        """Whether W^L and b^L can give the outputs the mean and spread of the targets."""
        net = self._net
        top = net.blocks(self._free)[-1]
        trained_bias = "b" in top and bool(top["b"].all())
        identity = net.activations[-1].name == "identity"
        return identity and trained_bias and bool(net.criterion.entry.location)

    def _take_units(self, y: Array) -> None:
        """Choose scale, shift and `start` for the targets y, unless their units are usual."""
        net, theta = self._net, self.start.copy()
        s = np.ones(len(y)) if self._s is None else self._s.astype(np.float64)
        s = s / s.sum()
        top = net.blocks(theta)[-1]
        net.theta[...] = theta
        a = net.predict(self._X).astype(np.float64)
        centre, middle = s @ y, s @ a  # the means of targets and outputs
        k = float(np.sqrt((s @ (y - centre) ** 2).mean()))
        self.spread = self._cost(self._constant(centre))
        usual = k == 0 or _USUAL[0] <= k <= _USUAL[1]
        if usual and abs(centre - middle).max() <= _FAR * (k or 1.0):
            return
        self._y = y - centre
        net.blocks(self._shift)[-1]["b"][...] = centre
        top["b"][...] -= centre
        self.J = self._cost(theta)
        regressed = self._regressed(theta, a - middle, self._y, s, middle - centre)
        J = self._cost(regressed)
        if J < self.J:
            theta, self.J = regressed, J
        if k > 0 and self.spread > 0:
            scale = net.blocks(self._scale)[-1]
            scale["W"][...] = scale["b"][...] = k
            self._unit = self.spread
        self.start = theta / self._scale
        self.accept(self.start)

    def _constant(self, values: Array) -> Array:
        """theta of a network whose outputs are these values for any input."""
        theta = np.zeros_like(self.start)
        self._net.blocks(theta)[-1]["b"][...] = values
        return theta

    def _regressed(self, theta: Array, a: Array, y: Array, s: Array, middle: Array) -> Array:
        """theta after a linear regression of each target on its output, in W^L and b^L.

        a holds the outputs minus their mean `middle`, y targets of mean 0, s weights of sum 1.
        """
        variance = s @ a**2
        slope = (s @ (a * y)) / np.where(variance > 0, variance, 1.0)
        if self._net.layers[-1].dense.non_negative:
            slope = np.where(slope > 0, slope, 1.0)
        theta = theta.copy()
        top = self._net.blocks(theta)[-1]
        top["W"][...] *= slope
        top["b"][...] = slope * (top["b"] - middle)
        return theta


def _in_double(net: Trainee) -> Trainee:
    """`net` itself if it has a hook or is float64, else a copy of it in float64."""
    if net.dtype == np.float64 or net._hook is not None:
        return net
    twin = type(net).__new__(type(net))
    state = net.__getstate__()
    twin.__setstate__(state | {"dtype": np.dtype(np.float64)})
    return twin


def _limits(net: Trainee) -> tuple[Array, Array]:
    """(whether each parameter is trained, its lower bound), both laid out as theta."""
    free, least = np.ones(net.theta.size, bool), np.full(net.theta.size, -np.inf)
    parts = zip(net.layers, net.blocks(free), net.blocks(least), strict=True)
    for layer, trained, lower in parts:
        for block in trained.values():
            block[...] = layer.trainable
        if layer.dense.non_negative and layer.trainable:
            lower["W"][...] = 0.0
    return free, least
