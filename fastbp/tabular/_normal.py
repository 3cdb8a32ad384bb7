"""Quantiles of the normal distribution, and numbers mapped to them by their rank."""

from __future__ import annotations

import numpy as np

from .._types import Array

# Coefficients of the rational functions of M. J. Wichura, algorithm AS 241 (PPND16), Applied
# Statistics 37 (1988), from the constant on: numerator and denominator in the middle, between the
# middle and the tails, and in the far tails.
MIDDLE = (
    (3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3)
    + (1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4)
    + (3.3430575583588128105e4, 2.5090809287301226727e3),
    (1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3)
    + (2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4)
    + (5.2264952788528545610e3,),
)
TAIL = (
    (1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0)
    + (3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1)
    + (2.27238449892691845833e-2, 7.74545014278341407640e-4),
    (1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1)
    + (1.48103976427480074590e-1, 1.51986665636164571966e-2, 5.47593808499534494600e-4)
    + (1.05075007164441684324e-9,),
)
FAR = (
    (6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0)
    + (2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3)
    + (2.71155556874348757815e-5, 2.01033439929228813265e-7),
    (1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2)
    + (7.86869131145613259100e-4, 1.84631831751005468180e-5, 1.42151175831644588870e-7)
    + (2.04426310338993978564e-15,),
)
LEAST = 1e-7  # of a rank, as in scikit-learn: the smallest and the largest number lie at ±5.2
MAX_QUANTILES = 1000


def normal_quantile(p: Array) -> Array:
    """The x with Φ(x) = p for p between 0 and 1, to 16 digits (Wichura 1988).

    >>> normal_quantile(np.array([0.5, 0.975])).round(6).tolist()
    [0.0, 1.959964]
    """
    q = p - 0.5
    with np.errstate(divide="ignore", invalid="ignore"):
        r = 0.180625 - q * q
        middle = q * _ratio(MIDDLE, r)
        r = np.sqrt(-np.log(np.minimum(p, 1 - p)))
        tail = np.where(r <= 5, _ratio(TAIL, r - 1.6), _ratio(FAR, r - 5))
    return np.where(abs(q) <= 0.425, middle, np.copysign(tail, q))


def _ratio(pair: tuple[tuple[float, ...], tuple[float, ...]], r: Array) -> Array:
    above, below = (np.polynomial.polynomial.polyval(r, each) for each in pair)
    return np.asarray(above / below)


def quantiles_of(numbers: Array) -> Array:
    """At most 1,000 quantiles of numbers, evenly spaced in rank, ascending."""
    n = min(MAX_QUANTILES, len(numbers))
    found = np.quantile(numbers, np.linspace(0, 1, n))
    return np.asarray(np.maximum.accumulate(found))  # rounding may make one smaller


def ranked(numbers: Array, quantiles: Array) -> Array:
    """Normal quantiles of the ranks of numbers, by linear interpolation between `quantiles`.

    Equal quantiles give the middle of their ranks.
    """
    n = len(quantiles)
    below, upto = (np.searchsorted(quantiles, numbers, side) for side in ("left", "right"))
    # Halves, since a difference of huge numbers may overflow.
    left, right = (quantiles[np.clip(at, 0, n - 1)] / 2 for at in (upto - 1, upto))
    between = (below == upto) & (0 < below) & (below < n)
    fraction = (numbers / 2 - left) / np.where(between, right - left, np.inf)
    rank = np.where(between, upto - 1 + fraction, (below + upto - 1) / 2)
    rank = np.clip(np.where(below == n, n - 1, rank), 0, n - 1)
    return normal_quantile(np.clip(rank / (n - 1), LEAST, 1 - LEAST))
