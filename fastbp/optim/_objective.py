"""J and its gradient in double, as the line searches of L-BFGS need them."""

from __future__ import annotations

import numpy as np

from .._checks import arguments as check
from .._types import Array, SparseRows, Trainee

# Losses that are least where the outputs follow the targets, in whatever units these are.
# Targets of a spread within _USUAL, and no more than _FAR spreads from the outputs, stay as they
# are: SciPy then takes the steps that it takes for scikit-learn.
_USUAL = (2.0**-5, 2.0**7)
_FAR = 64.0


class Objective:
    """J of a data set as a function of phi in double, where theta = phi · scale + shift.

    The passes run in float64 whatever the dtype of `net`, unless a hook of `on_delta` has to see
    them. `theta` is the point last accepted, where the search starts, and `J` is J there.

    scale is 1 and shift 0 unless the targets' spread k is far from 1, or their mean far from the
    outputs'. Then W^L and b^L have the scale k and b^L the shift of the mean, which is taken from
    the targets too, and f(phi) is J over `spread`, J of a network that answers with the mean of
    the targets. This is the same J, with curvatures near 1 and residuals that keep their digits.
    The search then starts from the linear regression of the targets on the outputs of `net`, if J
    is lower there.
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
        self._unit, self.spread = 1.0, None
        self.accept(self.start)
        self.J = self._cost(self.start)
        if self._follows_targets() and np.isfinite(self.J):
            self._take_units()

    @property
    def bounds(self) -> list[tuple[float, None]] | None:
        """The least value of every element of phi; None where all are free."""
        if not (self._least == 0.0).any():
            return None
        return [(low, None) for low in self._least]

    @property
    def theta(self) -> Array:
        """theta at the point last accepted."""
        return self._phi * self._scale + self._shift

    def accept(self, phi: Array) -> None:
        """Take phi for the point to end with."""
        self._phi = phi.copy()

    def tolerance(self, gtol: float) -> float:
        """What the gradient of f has to fall to: gtol here and in the units of J, too."""
        return gtol * min(1.0, float(self._scale.max()) / self._unit)

    def cost_of(self, f: float) -> float:
        """J where the function is f."""
        return float(f) * self._unit

    def __call__(self, phi: Array) -> tuple[float, Array]:
        """f and its gradient; that of frozen parameters is 0."""
        net = self._net
        net.theta[...] = phi * self._scale
        net.forward(self._X)
        J = net.backward(self._y, self._s)
        slope = net.grad.astype(np.float64) * (self._scale / self._unit)
        return J / self._unit, np.where(self._free, slope, 0.0)

    def share_left(self) -> float:
        """The share of J that one step down the gradient takes away from `theta`.

        The step is as long as the curvature on its way says, or 1 where that is not positive.
        """
        ahead = 1e-5
        f, g = self(self._phi)
        g[(self._phi <= self._least) & (g > 0)] = 0.0
        length = float(np.sqrt(g @ g))
        if length == 0 or f <= 0:
            return 0.0
        way = g / length
        curvature = float(length - self(self._phi - ahead * way)[1] @ way) / ahead
        step = length / curvature if curvature > 0 else 1.0
        there = np.maximum(self._phi - step * way, self._least)
        return 1 - self(there)[0] / f

    # ---- units ----------------------------------------------------------------------------

    def _cost(self, theta: Array) -> float:
        self._net.theta[...] = theta
        return self._net.loss(self._X, self._y, self._s)

    def _follows_targets(self) -> bool:
        """Whether W^L and b^L can give the outputs the targets' mean and spread."""
        net = self._net
        top = net.blocks(self._free)[-1]
        identity = net.activations[-1].name == "identity" and "b" in top and top["b"].all()
        return identity and net.criterion.entry.location

    def _take_units(self) -> None:
        net, y, theta = self._net, self._y, self.start.copy()
        s = np.ones(len(y)) if self._s is None else self._s.astype(np.float64)
        s = s / s.sum()
        top = net.blocks(theta)[-1]
        net.theta[...] = theta
        a = net.predict(self._X).astype(np.float64)
        centre, middle = s @ y, s @ a
        k = float(np.sqrt((s @ (y - centre) ** 2).mean()))
        self.spread = self._cost(self._answering(centre))
        usual = k == 0 or _USUAL[0] <= k <= _USUAL[1]
        if usual and abs(centre - middle).max() <= _FAR * (k or 1.0):
            return
        self._y = y - centre
        net.blocks(self._shift)[-1]["b"][...] = centre
        top["b"][...] -= centre
        self.J = self._cost(theta)
        regressed = self._regressed(theta, a - middle, s, middle - centre)
        J = self._cost(regressed)
        if J < self.J:
            theta, self.J = regressed, J
        if k > 0 and self.spread > 0:
            scale = net.blocks(self._scale)[-1]
            scale["W"][...] = scale["b"][...] = k
            self._unit = self.spread
        self.start = theta / self._scale
        self.accept(self.start)

    def _answering(self, values: Array) -> Array:
        """theta of a network whose outputs are these, whatever goes in."""
        theta = np.zeros_like(self.start)
        self._net.blocks(theta)[-1]["b"][...] = values
        return theta

    def _regressed(self, theta: Array, a: Array, s: Array, middle: Array) -> Array:
        """theta with W^L and b^L by least squares of each target on its output.

        a: the outputs less their mean, which is `middle`; the targets' mean is 0.
        """
        alone = s @ a**2
        slope = (s @ (a * self._y)) / np.where(alone > 0, alone, 1.0)
        if self._net.layers[-1].dense.non_negative:
            slope = np.where(slope > 0, slope, 1.0)
        theta = theta.copy()
        top = self._net.blocks(theta)[-1]
        top["W"][...] *= slope
        top["b"][...] = slope * (top["b"] - middle)
        return theta


def _in_double(net: Trainee) -> Trainee:
    """`net`, or its twin in float64."""
    if net.dtype == np.float64 or net._hook is not None:
        return net
    twin = type(net).__new__(type(net))
    state = net.__getstate__()
    twin.__setstate__(state | {"dtype": np.dtype(np.float64)})
    return twin


def _limits(net: Trainee) -> tuple[Array, Array]:
    """(whether a parameter is trained, the least that it may be), twins of theta."""
    free, least = np.ones(net.theta.size, bool), np.full(net.theta.size, -np.inf)
    parts = zip(net.layers, net.blocks(free), net.blocks(least), strict=True)
    for layer, trained, lower in parts:
        for block in trained.values():
            block[...] = layer.trainable
        if layer.dense.non_negative and layer.trainable:
            lower["W"][...] = 0.0
    return free, least
