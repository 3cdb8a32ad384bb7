"""What an encoder learns of the training rows: scales of numbers, groups of texts, target means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .._types import Array
from ._calendar import days, varying
from ._encoded import DateColumn, NumberColumn, Scale, TextColumn
from ._normal import quantiles_of

_MAX_EXPONENT = 1000  # of a power of two that scales numbers before their statistics
_QUARTILES = (0.25, 0.5, 0.75)


# ---- numbers ------------------------------------------------------------------------------


def number_columns(
    names: Sequence[str], values: Array, method: str, *, indicators: bool, pieces: int
) -> list[NumberColumn]:
    """What the training rows say of columns of numbers.

    Parameters
    ----------
    names : sequence of str
        The names of the columns.
    values : ndarray of shape (n, columns)
        The training rows; NaN is a hole.
    method : {"robust", "quantile", "standard", "none"}
        How numbers are scaled.
    indicators : bool
        Whether holes get an input.
    pieces : int
        The largest number of pieces of a number.
    """
    missing = np.isnan(values)
    n_missing = missing.sum(axis=0).tolist()
    whole = [i for i, n in enumerate(n_missing) if n == 0]
    scales = dict(zip(whole, scales_of(values[:, whole], method), strict=True))
    for i, n in enumerate(n_missing):
        if n:
            scales[i] = scales_of(values[~missing[:, i], i : i + 1], method)[0]
    if pieces:
        for i, scale in scales.items():
            scales[i] = _with_edges(scale, values[~missing[:, i], i], pieces)
    return [
        NumberColumn(name, scales[i], indicators and 0 < n_missing[i] < len(values))
        for i, name in enumerate(names)
    ]


def _with_edges(scale: Scale, numbers: Array, pieces: int) -> Scale:
    """The same scale with the edges of pieces, each of which has as many of the numbers."""
    if not scale.scale:
        return scale
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, pieces + 1), method="lower"))
    with np.errstate(over="ignore"):
        finite = np.isfinite(1 / np.diff(edges)).all() and np.isfinite(edges[-1] - edges[0])
    return replace(scale, edges=tuple(edges.tolist())) if len(edges) > 2 and finite else scale


def date_column(
    name: str, dates: Array, method: str, *, indicators: bool, pieces: int
) -> DateColumn:
    """What the training rows say of a column of dates (n,); see `number_columns`."""
    since = days(dates)
    missing = np.isnan(since)
    scale = scales_of(since[~missing, None], method)[0]
    if pieces:
        scale = _with_edges(scale, since[~missing], pieces)
    n_missing = int(missing.sum())
    return DateColumn(name, scale, indicators and 0 < n_missing < len(dates), varying(dates))


def scales_of(values: Array, method: str) -> list[Scale]:
    """The scale of each column of values (n, columns), without holes; n may be 0."""
    if not len(values):
        return [Scale(0.0, 0.0, 0.0, method == "robust")] * values.shape[1]
    low, high = values.min(axis=0), values.max(axis=0)
    # Powers of two keep sums and squares of huge and tiny numbers in range, and are exact.
    exponents = np.frexp(np.maximum(abs(low), abs(high)))[1]
    powers = np.ldexp(1.0, np.clip(-exponents, -_MAX_EXPONENT, _MAX_EXPONENT))
    with np.errstate(all="ignore"):
        near = values * powers
        lower, median, upper = np.quantile(near, _QUARTILES, axis=0)
        centre, scale = median, np.ones(len(low))
        if method == "robust":
            scale = 1 / (upper - lower)
            scale = np.where(np.isfinite(scale), scale, 2 / (high * powers - low * powers))
        elif method == "standard":
            centre, scale = near.mean(axis=0), 1 / near.std(axis=0)
        if method in ("quantile", "none"):
            centre = np.zeros(len(low))
        else:
            scale *= powers
        median, centre = median / powers, centre / powers
    scale[(low == high) | ~np.isfinite(scale)] = 0
    ranks: list[tuple[float, ...]] = [()] * len(low)
    if method == "quantile":
        ranks = [tuple(quantiles_of(column).tolist()) for column in values.T]
    return [
        Scale(*numbers, method == "robust", each if numbers[2] else ())
        for numbers, each in zip(
            zip(median.tolist(), centre.tolist(), scale.tolist(), strict=True), ranks, strict=True
        )
    ]


# ---- text ---------------------------------------------------------------------------------


def text_column(
    name: str, counts: Counter[str | None], *, min_count: int, max_one_hot: int, beyond: str
) -> TextColumn:
    """What the training rows say of a column of text.

    Parameters
    ----------
    name : str
        The name of the column.
    counts : Counter of str or None
        How many training rows have each text; None and "" are holes. It is changed.
    min_count : int
        The number of rows that a level needs. Two or more of three or more levels with fewer rows
        are one group.
    max_one_hot : int
        The largest number of groups that have an input each. Two groups are one input anyway.
    beyond : {"target", "frequent", "codes", "one-hot", "drop"}
        What becomes of a column with more groups.

    Returns
    -------
    TextColumn
        The column. The means of the target are still to come if its encoding is "means".
    """
    n_missing = counts.pop(None, 0) + counts.pop("", 0)
    if n_missing:
        counts[None] = n_missing
    rare = {level for level, n in counts.items() if n < min_count}
    if len(rare) < 2 or len(counts) < 3:
        rare = set()
    n_groups = len(counts) - len(rare) + bool(rare)
    column = TextColumn(name, "one-hot", len(counts) - (None in counts))
    if n_groups > max(max_one_hot, 2):
        if beyond == "drop":
            return replace(column, encoding="none")
        if beyond == "target":
            column = replace(column, encoding="means")
        elif beyond == "codes":
            column = replace(column, encoding="codes")
        elif beyond == "frequent":
            ordered = sorted(counts, key=lambda level: (level in rare, -counts[level], level or ""))
            n_groups = max(max_one_hot, 2)
            rare = set(ordered[n_groups - 1 :])
    if n_groups < 2:
        return replace(column, encoding="none")
    if n_groups == 2 and column.encoding == "one-hot":
        column = replace(column, encoding="two")
    hole = "" if None not in counts else "rare" if None in rare else "level"
    return replace(
        column,
        levels=tuple(sorted(level for level in counts if level is not None and level not in rare)),
        rare=tuple(sorted(level for level in rare if level is not None)),
        hole=hole,
    )


# ---- means of the target ------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """The target of the training rows, for means.

    Parameters
    ----------
    values : ndarray of shape (n, k)
        Numbers within ±1, or NaN where the target is not known; for classes, 1 for the class and 0
        for the others, without the first of two.
    names : tuple of str
        What the columns are; one that needs no name is "".
    strata : ndarray of shape (n,)
        The class of each row, or 0.
    """

    values: Array
    names: tuple[str, ...]
    strata: Array

    def folds(self, n: int, seed: int) -> Array:
        """The fold of each row, 0 to n − 1, by chance; each has its share of every class."""
        order = np.random.default_rng(seed).permutation(len(self.values))
        order = order[np.argsort(self.strata[order], kind="stable")]
        folds = np.empty(len(order), np.intp)
        folds[order] = np.arange(len(order)) % n
        return folds


def target_of(y: Array, classification: bool) -> Target:
    """The target for means: y (n,) or (n, k), numbers unless it is a classification."""
    if not classification:
        values = y.reshape(len(y), -1).astype(np.float64)
        values = values / max(np.nanmax(abs(values), initial=0), np.finfo(float).tiny)
        n = values.shape[1]
        names = tuple(str(i + 1) for i in range(n)) if n > 1 else ("",)
        return Target(values, names, np.zeros(len(y), np.intp))
    classes, strata = np.unique(y, return_inverse=True)
    names = tuple(map(str, classes.tolist()))
    values = (strata[:, None] == np.arange(len(classes))).astype(np.float64)
    if len(classes) == 2:
        values, names = values[:, 1:], ("",)
    return Target(values, names, strata)


def mean_column(column: TextColumn, codes: Array, target: Target, smooth: float) -> TextColumn:
    """A column with the means of the target, from the groups (n,) of the training rows.

    The mean of a group of m rows is (sum + smooth·mean of all)/(m + smooth). Inputs are these
    means less the mean of all, over their standard deviation in the training rows.
    """
    means = _smoothed(codes, target.values, len(column.groups), smooth)
    spread = means[codes].std(axis=0)
    means = means / np.where(spread > 0, spread, 1)
    return replace(column, means=tuple(map(tuple, means.tolist())), targets=target.names)


def cross_fitted(
    column: TextColumn, codes: Array, target: Target, smooth: float, folds: Array
) -> Array:
    """The inputs (n, k) of the training rows, each by the means of the other folds."""
    n_groups, n_folds = len(column.groups), int(folds.max()) + 1
    whole = _smoothed(codes, target.values, n_groups, smooth)[codes]
    spread = whole.std(axis=0)
    found = np.empty_like(whole)
    places = codes * n_folds + folds
    for i, y in enumerate(target.values.T):
        known = ~np.isnan(y)
        inside, n_inside = (
            np.bincount(places, each, n_groups * n_folds).reshape(n_groups, n_folds)
            for each in (np.where(known, y, 0), known)
        )
        total, n_outside = (each.sum(axis=1, keepdims=True) - each for each in (inside, n_inside))
        mean = total.sum(axis=0) / np.maximum(n_outside.sum(axis=0), 1)
        sums = np.where(n_outside > 0, total - mean * n_outside, 0)
        means = sums / np.maximum(n_outside + smooth, np.finfo(float).tiny)
        found[:, i] = means[codes, folds]
    return found / np.where(spread > 0, spread, 1)


def _smoothed(codes: Array, values: Array, n_groups: int, smooth: float) -> Array:
    """Smoothed means (n_groups, k) less the mean of all; 0 for a group without rows."""
    known = ~np.isnan(values)
    filled = np.where(known, values, 0)
    mean = filled.sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    centred = np.where(known, filled - mean, 0)
    sums, counts = (
        np.stack([np.bincount(codes, each, n_groups) for each in columns.T], axis=1)
        for columns in (centred, known)
    )
    return np.asarray(sums / np.maximum(counts + smooth, np.finfo(float).tiny))
