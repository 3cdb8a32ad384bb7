"""Hold-out splits that are the same on every machine and with every version of NumPy.

Each row gets a 64-bit key from the raw Philox stream, which NumPy guarantees never to change; it
does not guarantee that for `permutation`. The rows with the smallest keys are held out.
"""

from __future__ import annotations

import numpy as np

from .._checks.numbers import as_array
from .._checks.words import counted
from .._types import Array


def hold_out(
    n_rows: int,
    fraction: float,
    name: str = "the fraction",
    *,
    seed: int = 0,
    labels: Array | None = None,
) -> tuple[Array, Array]:
    """Split `range(n_rows)` into row numbers for training and held-out ones, both ascending.

    Parameters
    ----------
    n_rows : int
        Number of rows, at least 2.
    fraction : float
        Share of the rows to hold out, in [0, 1): round(fraction * n_rows) rows.
    name : str
        The argument or option that gives the fraction, for messages.
    seed : int
        Which split. The same seed gives the same split.
    labels : array, shape (n_rows,), optional
        One class per row. Every class then gives its share of the held-out rows (stratified) but
        keeps at least one row, so fewer rows may be held out.

    Returns
    -------
    train, held_out : array of int
        Row numbers.

    Raises
    ------
    ValueError
        The fraction is outside [0, 1), or leaves a part empty.

    Examples
    --------
    >>> train, test = hold_out(8, 0.25, seed=1)
    >>> len(train), len(test)
    (6, 2)
    """
    if not 0.0 <= fraction < 1.0:
        raise ValueError(f"{name} is {fraction}; it must lie in [0, 1)")
    n_held = round(fraction * n_rows)
    keys = np.random.Philox(key=seed).random_raw(n_rows)
    held = np.zeros(n_rows, dtype=bool)
    if labels is None:
        held[np.argsort(keys, kind="stable")[:n_held]] = True
    else:
        _hold_out_by_class(held, keys, as_array(labels, "labels"), n_held)
    n_held = int(held.sum())
    if fraction > 0.0 and not 0 < n_held < n_rows:
        raise ValueError(
            f"{name} {fraction} splits {counted(n_rows, 'row')} into {n_rows - n_held} to train on "
            f"and {n_held} to score; give another fraction, or 0 to score none"
        )
    return np.flatnonzero(~held), np.flatnonzero(held)


def _hold_out_by_class(held: Array, keys: Array, labels: Array, n_held: int) -> None:
    """Mark n_held rows, shared among the classes by largest remainder."""
    classes, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    share = counts * (n_held / len(labels))
    quota = np.minimum(np.floor(share).astype(np.int64), counts - 1)
    for c in np.argsort(quota - share, kind="stable"):
        if quota.sum() == n_held:
            break
        quota[c] = min(quota[c] + 1, counts[c] - 1)
    for c in range(len(classes)):
        rows = np.flatnonzero(index == c)
        held[rows[np.argsort(keys[rows], kind="stable")[: quota[c]]]] = True
