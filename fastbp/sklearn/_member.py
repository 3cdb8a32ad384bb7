"""What fits that run at the same time share, in a search or as the members of an ensemble."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from .._types import Array, Rows
from ._arrays import SparseMatrix


class Known(NamedTuple):
    """Data that have passed the checks of a first fit, and what its estimator has from them.

    Attributes
    ----------
    kind : type
        The class of the estimator.
    rows : array or sparse matrix, shape (n, n_features)
        Inputs.
    targets : array, shape (n,) or (n, n_units)
        Encoded targets.
    attributes : dict
        The attributes that the estimator has from them, by name.
    """

    kind: type
    rows: Array | SparseMatrix
    targets: Array
    attributes: dict[str, object]


class Shared:
    """What fits on the same X and y share.

    Attributes
    ----------
    data : Known or None
        X and y as one of them has found them; None at first.
    rows : dict
        The rows of X as the engine reads them, for each dtype of a network.
    """

    def __init__(self) -> None:
        self.data: Known | None = None
        self.rows: dict[np.dtype[Any], Rows] = {}


class Note(NamedTuple):
    """A ConvergenceWarning of a member of an ensemble."""

    number: int
    message: str


@dataclass(frozen=True)
class Member:
    """What a fit that is one of many shares with them.

    Attributes
    ----------
    engine : object
        The memory of the engine that their sessions share.
    shared : Shared
        What the fits on the same X and y share.
    rungs : collection of int
        After how many epochs the fit asks whether it goes on.
    number : int or None
        Which one of an ensemble it is; None if it is no member of one.
    notes : list
        Where a member of an ensemble leaves its warnings.
    quiet : bool
        Whether another member of the ensemble has given the warnings about data and parameters.
    """

    engine: Any
    shared: Shared
    rungs: Collection[int] = ()
    number: int | None = None
    notes: list[Note] = field(default_factory=list)
    quiet: bool = False

    def with_other_rows(self) -> Member:
        """The same for an X that no other fit has."""
        return replace(self, shared=Shared())

    def observed(self, number: int, notes: list[Note], *, quiet: bool) -> Member:
        """The same for a member of an ensemble, which leaves its warnings in `notes`."""
        return replace(self, number=number, notes=notes, quiet=quiet)
