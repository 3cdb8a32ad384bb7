"""`coefs_` and `intercepts_`: one array per layer, each a view of the network's parameters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import SupportsIndex

import numpy as np

from .._checks.arguments import as_parameters
from .._types import Array


class Weights(list[Array]):
    """The arrays of a network, one per layer; assigning to an item copies into its array.

    >>> W = np.zeros((1, 2)); weights = Weights("coefs_", [W]); weights[0] = [[1, 2]]; W
    array([[1., 2.]])
    """

    def __init__(self, name: str, arrays: Iterable[Array]) -> None:
        super().__init__(arrays)
        self._name = name

    def __setitem__(self, index: SupportsIndex | slice, value: object) -> None:
        if isinstance(index, slice) or not isinstance(index, Integral):
            raise TypeError(f"{self._name} takes one array at a time; got the index {index!r}")
        self[index][...] = self._checked(int(index), value)

    def assign(self, values: Sequence[object]) -> None:
        """Copy each value into its array; raise ValueError, and copy nothing, if one is wrong."""
        if len(values) != len(self):
            raise ValueError(
                f"{self._name} lists {len(values)} arrays; the network has {len(self)} layers"
            )
        checked = [np.array(self._checked(i, value)) for i, value in enumerate(values)]
        for array, value in zip(self, checked, strict=True):
            array[...] = value

    def _checked(self, i: int, value: object) -> Array:
        array = self[i]
        return as_parameters(value, array.shape, array.dtype, f"{self._name}[{i}]")
