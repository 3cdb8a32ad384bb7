"""What a fitted encoder knows of a column, and the inputs that the column becomes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from .._checks.words import counted, listed
from .._types import Array
from ._calendar import cycles, days
from ._normal import ranked

MISSING, RARE = "(missing)", "(rare)"  # what groups of texts are called
_CLIP = 3.0  # the bound of a number after smooth clipping
HUGE = 1e100  # a scaled number beyond it is clipped like this one; its square is finite


@dataclass(frozen=True)
class Scale:
    """How numbers become an input: ((x or median) − centre)·scale, clipped; or ranks.

    Parameters
    ----------
    median : float
        What stands for a hole.
    centre, scale : float
        The scale is 0 if the numbers do not vary; they have no input then.
    clipped : bool
        Whether z becomes z/√(1 + (z/3)²), which lies within ±3.
    quantiles : tuple of float
        If not empty, x becomes the normal quantile of its rank among them instead.
    edges : tuple of float
        The ascending edges of the pieces, each of which is a further input.
    """

    median: float
    centre: float
    scale: float
    clipped: bool
    quantiles: tuple[float, ...] = ()
    edges: tuple[float, ...] = ()

    def inputs(self, numbers: Array) -> Array:
        """The input float64 (n,) for numbers (n,); NaN is a hole."""
        filled = np.where(np.isnan(numbers), self.median, numbers)
        if self.quantiles:
            return ranked(filled, np.array(self.quantiles))
        with np.errstate(over="ignore"):
            scaled = (filled - self.centre) * self.scale
        return clip(scaled) if self.clipped else scaled

    def pieces(self, numbers: Array) -> Array:
        """The inputs (n, len(edges) − 1) of the pieces, −½ below a piece and ½ above it."""
        filled = np.where(np.isnan(numbers), self.median, numbers)[:, None]
        low, high = np.array(self.edges[:-1]), np.array(self.edges[1:])
        with np.errstate(over="ignore"):
            return np.asarray(np.clip((filled - low) / (high - low), 0, 1) - 0.5)

    def suits(self, method: str) -> bool:
        """Whether it scales by a method, as far as that can be seen."""
        ranks = method == "quantile" and self.scale != 0
        return self.clipped == (method == "robust") and bool(self.quantiles) == ranks

    def __str__(self) -> str:
        if not self.scale:
            return "constant"
        text = f"(x - {self.centre:.6g})*{self.scale:.6g}"
        if self.quantiles:
            text = f"normal quantiles, {counted(len(self.quantiles), 'step')}"
        elif self.clipped:
            text += f", clipped to ±{_CLIP:g}"
        return f"{text}; {len(self.edges) - 1} pieces" if self.edges else text


def names_of_pieces(name: str, edges: tuple[float, ...]) -> tuple[str, ...]:
    """The names of the inputs of pieces: "age>18", where the piece begins at 18."""
    return tuple(f"{name}>{edge:.6g}" for edge in edges[:-1])


def clip(scaled: Array) -> Array:
    """z/√(1 + (z/3)²), of D. Holzmüller et al., "Better by Default" (2024)."""
    z = np.clip(scaled, -HUGE, HUGE)
    return np.asarray(z / np.sqrt(1 + (z / _CLIP) ** 2))


@dataclass(frozen=True)
class NumberColumn:
    """A column of numbers.

    Parameters
    ----------
    name : str
        The name of the column.
    scale : Scale
        How the numbers are scaled.
    indicator : bool
        Whether holes have an input, which is 1 there.
    """

    name: str
    scale: Scale
    indicator: bool
    kind: ClassVar[str] = "number"
    code_names: ClassVar[tuple[str, ...]] = ()

    @property
    def number_names(self) -> tuple[str, ...]:
        """The names of the inputs that are numbers."""
        return (self.name,) if self.scale.scale else ()

    @property
    def other_names(self) -> tuple[str, ...]:
        """The names of the other inputs."""
        missing = (f"{self.name}={MISSING}",) if self.indicator else ()
        return (*names_of_pieces(self.name, self.scale.edges), *missing)

    def numbers(self, cells: Array) -> Array:
        """The inputs (n, k) that are numbers."""
        return self.scale.inputs(cells)[:, None]

    def others(self, cells: Array) -> Array:
        """The other inputs (n, k)."""
        missing = np.isnan(cells)[:, None]
        if not self.scale.edges:
            return missing
        pieces = self.scale.pieces(cells)
        return np.column_stack([pieces, missing]) if self.indicator else pieces

    def __str__(self) -> str:
        return str(self.scale) + ("; 1 where missing" if self.indicator else "")


@dataclass(frozen=True)
class DateColumn:
    """A column of dates.

    Parameters
    ----------
    name : str
        The name of the column.
    scale : Scale
        How the days since 1970 are scaled.
    indicator : bool
        Whether holes have an input, which is 1 there.
    cycles : tuple of str
        The cycles of the calendar that have a sine and a cosine.
    """

    name: str
    scale: Scale
    indicator: bool
    cycles: tuple[str, ...]
    kind: ClassVar[str] = "date"
    code_names: ClassVar[tuple[str, ...]] = ()

    @property
    def number_names(self) -> tuple[str, ...]:
        """The names of the inputs that are numbers."""
        return (f"{self.name} days",) if self.scale.scale else ()

    @property
    def other_names(self) -> tuple[str, ...]:
        """The names of the other inputs."""
        pieces = names_of_pieces(f"{self.name} days", self.scale.edges)
        waves = [f"{self.name} {each} {of}" for each in self.cycles for of in ("sin", "cos")]
        return (*pieces, *waves, *((f"{self.name}={MISSING}",) if self.indicator else ()))

    def numbers(self, cells: Array) -> Array:
        """The inputs (n, k) that are numbers."""
        return self.scale.inputs(days(cells))[:, None]

    def others(self, cells: Array) -> Array:
        """The other inputs (n, k)."""
        found = [cycles(cells, self.cycles)]
        if self.scale.edges:
            found.insert(0, self.scale.pieces(days(cells)))
        if self.indicator:
            found.append(np.isnat(cells)[:, None])
        return np.concatenate(found, axis=1)

    def __str__(self) -> str:
        text = f"days {self.scale}"
        if self.cycles:
            text += f"; sin and cos of {', '.join(self.cycles)}"
        return text + ("; 1 where missing" if self.indicator else "")


class Index(dict[object, int]):
    """Numbers of groups; −1 for what has none."""

    def __missing__(self, key: object) -> int:
        return -1


@dataclass(frozen=True)
class TextColumn:
    """A column of text, whose cells belong to groups: one for each level, holes, and rare texts.

    Parameters
    ----------
    name : str
        The name of the column.
    encoding : {"none", "two", "one-hot", "means", "codes"}
        No input; −1 for the first group and 1 for the second; an input for each group; the means of
        the target; or the number of the group, −1 for none.
    n_levels : int
        The number of levels in the training rows.
    levels : tuple of str
        The levels that are groups of their own.
    rare : tuple of str
        The levels that are one group together, which is the last.
    hole : {"", "level", "rare"}
        Whether holes are no group, a group of their own, or rare.
    means : tuple of tuple of float
        For each group, its inputs, if they are means of the target.
    targets : tuple of str
        What the means are means of, such as the classes.
    """

    name: str
    encoding: str
    n_levels: int
    levels: tuple[str, ...] = ()
    rare: tuple[str, ...] = ()
    hole: str = ""
    means: tuple[tuple[float, ...], ...] = ()
    targets: tuple[str, ...] = ()
    kind: ClassVar[str] = "text"

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The names of the groups."""
        missing = (MISSING,) if self.hole == "level" else ()
        pooled = (RARE,) if self.rare or self.hole == "rare" else ()
        return (*self.levels, *missing, *pooled)

    @cached_property
    def index(self) -> Index:
        """The number of the group of each cell; "" and None are holes."""
        found = Index({level: i for i, level in enumerate(self.levels)})
        found |= dict.fromkeys(self.rare, len(self.groups) - 1)
        if self.hole:
            place = len(self.levels) if self.hole == "level" else len(self.groups) - 1
            found |= {None: place, "": place}
        return found

    @property
    def number_names(self) -> tuple[str, ...]:
        """The names of the inputs that are numbers."""
        if self.encoding != "means":
            return ()
        if len(self.targets) == 1:
            return (f"{self.name} mean",)
        return tuple(f"{self.name} mean of {target}" for target in self.targets)

    @property
    def other_names(self) -> tuple[str, ...]:
        """The names of the other inputs."""
        if self.encoding not in ("two", "one-hot"):
            return ()
        named = self.groups[1:] if self.encoding == "two" else self.groups
        return tuple(f"{self.name}={group}" for group in named)

    @property
    def code_names(self) -> tuple[str, ...]:
        """The name of the input that is a code."""
        return (self.name,) if self.encoding == "codes" else ()

    def codes(self, cells: Array) -> Array:
        """The number of the group of each cell, intp (n,); −1 if it has none."""
        texts = cells.tolist()
        return np.fromiter(map(self.index.__getitem__, texts), np.intp, len(texts))

    def numbers(self, cells: Array) -> Array:
        """The inputs (n, k) that are numbers; 0 for a cell without a group."""
        return self.values[self.codes(cells)]

    def others(self, cells: Array) -> Array:
        """The other inputs (n, k), if they are not one-hot."""
        return self.values[self.codes(cells)]

    @cached_property
    def values(self) -> Array:
        """The inputs of each group, if they are not one-hot; the last row is for no group."""
        rows = self.means if self.encoding == "means" else ((-1.0,), (1.0,))
        return np.array([*rows, (0.0,) * len(rows[0])])

    def __str__(self) -> str:
        levels = counted(self.n_levels, "level")
        if self.encoding == "none":
            return "constant" if self.n_levels < 2 else f"no input: {levels}, too rare or left out"
        if self.encoding == "two":
            return f"-1 for {self.groups[0]!r}, 1 for {self.groups[1]!r}"
        parts = [listed(self.levels, 4)]
        if self.hole == "level":
            parts.append("missing")
        if self.rare or self.hole == "rare":
            parts.append(f"{counted(len(self.rare) + (self.hole == 'rare'), 'rare level')} as one")
        return f"{_WORDS[self.encoding]} {levels}: {'; '.join(part for part in parts if part)}"


_WORDS = {"one-hot": "one-hot", "means": "mean of the target for each of", "codes": "code of"}


Column = NumberColumn | DateColumn | TextColumn


def names_of(columns: Iterable[Column]) -> tuple[list[str], list[str], list[str]]:
    """The names of the inputs of columns: those of numbers, others, and codes."""
    columns = list(columns)
    return (
        [name for column in columns for name in column.number_names],
        [name for column in columns for name in column.other_names],
        [name for column in columns for name in column.code_names],
    )


def n_inputs_of(column: Column) -> int:
    """The number of inputs of a column."""
    return sum(map(len, names_of([column])))


def distinct(names: Iterable[str]) -> list[str]:
    """The same names; one that has occurred gets a number.

    >>> distinct(["a", "b", "a", "a_2"])
    ['a', 'b', 'a_2', 'a_2_2']
    """
    found: dict[str, None] = {}
    for name in names:
        unique, number = name, 2
        while unique in found:
            unique, number = f"{name}_{number}", number + 1
        found[unique] = None
    return list(found)
