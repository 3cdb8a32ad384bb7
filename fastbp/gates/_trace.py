"""The values of a graph, and the partial derivatives that one walk back finds."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from os import PathLike
from typing import Any, NamedTuple

import numpy as np

from .._checks.numbers import as_array, as_numbers
from .._types import Array
from ._graph import Node, names_of
from ._operations import OPERATIONS, fitted, values


class _Walk(NamedTuple):
    """What one walk back finds.

    gradients: gate → the derivative of the sum of the result with respect to it.
    slopes: the local partials, operand by operand, in the order of the walk.
    """

    gradients: dict[Node, Any]
    slopes: list[Any]


class Trace:
    """The values of all gates of a graph, and after `gradient` all partial derivatives.

    `Gate.trace` makes it.

    Attributes
    ----------
    gate : Gate
        The gate whose value was asked for.

    Examples
    --------
    >>> from fastbp import gates
    >>> a, b = gates.inputs("a", "b")
    >>> e = (a + b) * (b + 1)
    >>> trace = e.trace(a=2, b=1)
    >>> trace.value, trace.values[a + b], trace.gradient()
    (6.0, 3.0, {'a': 2.0, 'b': 5.0})
    >>> trace.gradients[a + b]
    2.0
    """

    def __init__(self, gate: Node, given: Mapping[str, Any]) -> None:
        self.gate = gate
        self._order = gate.gates()
        self._names = names_of(self._order)
        checked = _checked(self._names, given)
        self._values: dict[Node, Any] = {}
        with np.errstate(all="ignore"):
            self._forward(checked)
        self._walk: _Walk | None = None

    def _forward(self, given: Mapping[str, Any]) -> None:
        found = self._values
        for gate in self._order:
            if gate.operands:
                operands = [found[x] for x in gate.operands]
                try:
                    found[gate] = OPERATIONS[gate.operation].value(*operands)
                except ValueError:
                    raise _mismatch(gate, operands, given) from None
            elif gate.operation == "input":
                found[gate] = given[str(gate.data)]
            else:
                found[gate] = np.asarray(gate.data)[()]

    # ---- values ---------------------------------------------------------------------------

    @property
    def value(self) -> Any:
        """The value of the gate, a float or an array.

        If the gate depends on its inputs only through `sum`, `mean`, `max` and `logsumexp`, the
        axis that these leave with length 1 is dropped: the sum of an array (n, K) is an array (n,).

        >>> from fastbp import gates
        >>> (x,) = gates.inputs("x")
        >>> gates.sum(x).trace(x=[[1, 2], [3, 4]]).value
        array([3., 7.])
        """
        found = self._values[self.gate]
        return shown(found[..., 0] if found.ndim and _is_reduced(self._order) else found)

    @property
    def values(self) -> dict[Node, Any]:
        """Gate → its value: a float, or a read-only array, in the shape that it has in the graph.

        Reductions keep their axis there, with length 1.
        """
        return {gate: shown(found) for gate, found in self._values.items()}

    # ---- gradients ------------------------------------------------------------------------

    def gradient(self) -> dict[str, Any]:
        """Return the partial derivatives of the value with respect to all inputs.

        One walk from the result back to the inputs computes them all: each gate multiplies its own
        derivative by its local partials and passes the products on to its operands. Every local
        partial is computed once, whatever the number of inputs.

        Returns
        -------
        dict
            The name of each input → the derivative of the sum of all elements of the value, in the
            shape of the input.

        Notes
        -----
        At a kink the slope is that of neither side: maximum, minimum and max give 0 to all operands
        of a tie, and abs and relu have slope 0 at 0. Conditions have slope 0, and `where` gives its
        gradient to the chosen side.

        Examples
        --------
        >>> from fastbp import gates
        >>> w, x = gates.inputs("w", "x")
        >>> gates.sum(w * x).trace(w=[1, 2], x=[[3, 4], [5, 6]]).gradient()["w"]
        array([ 8., 10.])
        """
        found = self._walked().gradients
        by_name = {str(gate.data): gate for gate in self._order if gate.operation == "input"}
        return {name: shown(found[by_name[name]], copy=True) for name in self._names}

    @property
    def gradients(self) -> dict[Node, Any]:
        """Gate → the derivative of the sum of the value with respect to it, in its shape.

        It has every gate that depends on an input.
        """
        return {gate: shown(found) for gate, found in self._walked().gradients.items()}

    @property
    def partials(self) -> dict[Node, tuple[Any, ...]]:
        """Gate → its local partials, one per operand.

        A partial is None where the operand does not depend on an input, where the partial is 0 by
        definition (conditions), and for softmax, which has a matrix.
        """
        gradients, slopes = self._walked().gradients, iter(self._walked().slopes)
        walked = (gate for gate in reversed(self._order) if gate.operands and gate in gradients)
        return {
            gate: tuple(
                None if slope is None else shown(slope)
                for slope in islice(slopes, len(gate.operands))
            )
            for gate in walked
        }

    # ---- for people -----------------------------------------------------------------------

    def table(self) -> str:
        """All gates as a table: formula, value, gradient and local partials, arrays shortened.

        Gates have short names: the result is f, the others are g1, g2, … in the order of the
        computation, and c1, … are constant arrays.

        >>> from fastbp import gates
        >>> a, b = gates.inputs("a", "b")
        >>> print(((a + b) * (b + 1)).trace(a=2, b=1).table())
        gate  formula  value  gradient  local partials
        a     input        2         2
        b     input        1         5
        g1    a + b        3         2  ∂/∂a = 1, ∂/∂b = 1
        g2    b + 1        2         3  ∂/∂b = 1
        f     g1 * g2      6         1  ∂/∂g1 = 2, ∂/∂g2 = 3
        """
        from ._picture import table_text, traced

        return table_text(traced(self))

    def to_html(self, path: str | PathLike[str] | None = None) -> str:
        """Return a page with a picture of the graph, and write it to a file if there is a path.

        Values are green and above the wires, gradients are red and below them. Buttons take one
        step forward or backward, or play all steps. A gate at which one points shows its local rule
        with its numbers. The page loads nothing from elsewhere.

        Parameters
        ----------
        path : str or path-like, optional
            Where to write the page. A file that exists is replaced when the page is complete.

        Returns
        -------
        str
            The page, a whole HTML document.

        Raises
        ------
        ValueError
            If the graph has more than 250 gates and inputs.
        OSError
            If the file cannot be written.

        Examples
        --------
        >>> from fastbp import gates
        >>> x, y, z = gates.inputs("x", "y", "z")
        >>> page = ((x + y) * z).trace(x=-2, y=5, z=-4).to_html("gates.html")
        >>> page.startswith("<!doctype html>")
        True
        """
        from .._files.atomic import write_text
        from .._page.page import document
        from ._picture import picture, traced

        page = document(picture(traced(self)))
        if path is not None:
            write_text(path, page)
        return page

    def _repr_html_(self) -> str:
        """The picture for notebooks; of a graph that is too large for one, the end of the table."""
        from ._picture import shown_html, traced

        return shown_html(traced(self))

    def __reduce__(self) -> tuple[Any, ...]:
        inputs = (gate for gate in self._order if gate.operation == "input")
        return Trace, (self.gate, {str(gate.data): self._values[gate] for gate in inputs})

    def _walked(self) -> _Walk:
        if self._walk is None:
            with np.errstate(all="ignore"):
                self._walk = self._backward()
        return self._walk

    def _backward(self) -> _Walk:
        """Walk from the result to the inputs."""
        found, depends = self._values, _dependent(self._order)
        gradients: dict[Node, Any] = {}
        slopes: list[Any] = []
        if self.gate in depends:
            gradients[self.gate] = np.ones_like(found[self.gate])[()]
        for gate in reversed(self._order):
            if not gate.operands or gate not in depends:
                continue
            entry, out = OPERATIONS[gate.operation], found[gate]
            given = [found[x] for x in gate.operands]
            g = gradients.get(gate)
            for operand, x, partial in zip(gate.operands, given, entry.partials, strict=True):
                if g is None or partial is None or operand not in depends:
                    slopes.append(None)
                    continue
                if entry.kind == "row":
                    slopes.append(None)
                    part = partial(values, g, out, *given)
                else:
                    slope = partial(values, out, *given)
                    slopes.append(slope)
                    part = g * slope
                    if part.shape != x.shape:
                        part = fitted(part, x.shape)
                before = gradients.get(operand)
                gradients[operand] = part if before is None else before + part
        for gate in depends.difference(gradients):  # only conditions use these
            gradients[gate] = np.zeros_like(found[gate])[()]
        return _Walk(gradients, slopes)


def shown(value: Any, *, copy: bool = False) -> Any:
    """A value for users: a Python number, or a read-only array, or a copy of one."""
    if not np.ndim(value):
        return value.item() if isinstance(value, np.generic | np.ndarray) else value
    if copy:
        return np.array(value)
    view = np.asarray(value).view()
    view.setflags(write=False)
    return view


def _dependent(order: tuple[Node, ...]) -> set[Node]:
    """The gates that depend on an input."""
    found: set[Node] = set()
    for gate in order:
        if gate.operation == "input" or not found.isdisjoint(gate.operands):
            found.add(gate)
    return found


def _is_reduced(order: tuple[Node, ...]) -> bool:
    """Whether the last gate depends on inputs and arrays, and on them only through reductions."""
    whole: set[Node] = set()  # these have all outputs of a row
    for gate in order:
        if gate.operation in ("input", "array"):
            whole.add(gate)
        elif gate.operands:
            entry = OPERATIONS[gate.operation]
            deciding = gate.operands[1:] if entry.kind == "shape" else gate.operands
            if entry.kind != "reduction" and any(x in whole for x in deciding):
                whole.add(gate)
    return order[-1] not in whole


def _checked(names: tuple[str, ...], given: Mapping[str, Any]) -> dict[str, Any]:
    """The value of every input, as float64 or complex128."""
    missing = [name for name in names if name not in given]
    if missing:
        raise TypeError(f"trace() needs a value for {', '.join(missing)}: {missing[0]}=...")
    unknown = [name for name in given if name not in names]
    if unknown:
        known = f"its inputs are {', '.join(names)}" if names else "it has no inputs"
        raise TypeError(f"the formula has no input {', '.join(unknown)}; {known}")
    return {name: _numbers(value, name) for name, value in given.items()}


def _numbers(value: object, name: str) -> Any:
    if isinstance(value, Node):
        raise TypeError(f"{name} must be a number or an array; got a gate")
    array = as_array(value, name)
    if array.dtype.kind != "c":
        array = as_numbers(value, name)
    if array.ndim and not array.shape[-1]:
        raise ValueError(f"{name} has shape {array.shape}: its rows are empty")
    return np.array(array, np.complex128 if array.dtype.kind == "c" else np.float64)[()]


def _mismatch(gate: Node, operands: list[Array], given: Mapping[str, Array]) -> ValueError:
    shapes = " and ".join(str(x.shape) for x in operands)
    every = ", ".join(f"{name} {x.shape}" for name, x in given.items())
    return ValueError(
        f"the operands of {gate.operation} have shapes {shapes}, which do not broadcast; the "
        f"inputs have {every}"
    )
