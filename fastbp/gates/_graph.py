"""The vertices of a computational graph, each an operation on others, and the table of all.

Equal subgraphs are one gate. A table finds the gate that has the same operation, operands and data,
and refers to gates weakly, so that it keeps none of them alive.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Collection, Iterable, Sequence
from numbers import Real
from typing import Any, ClassVar, NoReturn, Self, TypeAlias, cast
from weakref import WeakValueDictionary

import numpy as np

from .._checks.numbers import as_numbers
from .._types import Array
from ._operations import OPERATIONS

Data: TypeAlias = "str | float | Array | None"
Operand: TypeAlias = "Node | float | Array | Sequence[Any]"

LEAVES = ("input", "number", "array")
NO_OPERANDS = (str, bytes, complex, set, dict, type(None))


class Node:
    """What a gate is: an operation, its operands, and the operators that make further gates.

    All gates are of `Gate`, the class that derives from this one and adds what users do with them.
    The modules between the two classes build graphs with `gate_of`.
    """

    __slots__ = ("__weakref__", "data", "number", "operands", "operation")
    __array_ufunc__ = None  # NumPy leaves array + gate to the gate
    __pandas_priority__ = 10_000  # and so does pandas, whose own objects have at most 4000
    _class: ClassVar[type[Node]]  # of all gates

    def __init_subclass__(cls) -> None:
        Node._class = cls

    operation: str
    operands: tuple[Self, ...]
    data: Data
    number: int

    def __init__(self) -> None:
        raise TypeError("a Gate is made with gates.inputs, operators and functions of gates")

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a Gate never changes; {name} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a Gate never changes; {name} cannot be deleted")

    # ---- operators ------------------------------------------------------------------------

    def _combined(self, operation: str, *operands: Operand) -> Self:
        """The gate of an operator; NotImplemented if another object can be no operand."""
        for operand in operands:
            if isinstance(operand, NO_OPERANDS):
                return cast(Self, NotImplemented)
        return cast(Self, gate_of(operation, operands))

    def __add__(self, other: Operand) -> Self:
        return self._combined("add", self, other)

    def __radd__(self, other: Operand) -> Self:
        return self._combined("add", other, self)

    def __sub__(self, other: Operand) -> Self:
        return self._combined("sub", self, other)

    def __rsub__(self, other: Operand) -> Self:
        return self._combined("sub", other, self)

    def __mul__(self, other: Operand) -> Self:
        return self._combined("mul", self, other)

    def __rmul__(self, other: Operand) -> Self:
        return self._combined("mul", other, self)

    def __truediv__(self, other: Operand) -> Self:
        return self._combined("div", self, other)

    def __rtruediv__(self, other: Operand) -> Self:
        return self._combined("div", other, self)

    def __pow__(self, other: Operand) -> Self:
        return self._combined("pow", self, other)

    def __rpow__(self, other: Operand) -> Self:
        return self._combined("pow", other, self)

    def __neg__(self) -> Self:
        return self._combined("neg", self)

    def __pos__(self) -> Self:
        return self

    def __abs__(self) -> Self:
        return self._combined("abs", self)

    def __lt__(self, other: Operand) -> Self:
        return self._combined("less", self, other)

    def __le__(self, other: Operand) -> Self:
        return self._combined("less_equal", self, other)

    def __gt__(self, other: Operand) -> Self:
        return self._combined("less", other, self)

    def __ge__(self, other: Operand) -> Self:
        return self._combined("less_equal", other, self)

    def __bool__(self) -> NoReturn:
        raise TypeError(
            "a gate is neither true nor false before it has values: write "
            "gates.where(condition, x, y) instead of if, and gates.minimum or gates.maximum "
            "instead of min or max"
        )

    def __array__(self, *args: object, **kwargs: object) -> NoReturn:
        raise TypeError(
            "a gate is a formula, not an array: use the functions of fastbp.gates on it, or "
            "gate.trace(...).value"
        )

    # ---- the graph ------------------------------------------------------------------------

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names of the inputs, in the order of their first use.

        >>> from fastbp import gates
        >>> x, y = gates.inputs("x", "y")
        >>> (y * x + y).inputs
        ('y', 'x')
        """
        return names_of(self.gates())

    def gates(self) -> tuple[Self, ...]:
        """All gates that this one is computed from and itself, operands before their users.

        >>> from fastbp import gates
        >>> (x,) = gates.inputs("x")
        >>> [gate.operation for gate in (x * gates.exp(x)).gates()]
        ['input', 'exp', 'mul']
        """
        return cast(tuple[Self, ...], gates_of((self,)))

    def count(self) -> int:
        """The number of gates that compute; inputs, numbers and arrays do not count.

        >>> from fastbp import gates
        >>> (x,) = gates.inputs("x")
        >>> (gates.exp(x) + gates.exp(x)).count()
        2
        """
        return sum(bool(gate.operands) for gate in self.gates())

    # ---- copies ---------------------------------------------------------------------------

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        order = self.gates()
        place = {gate: i for i, gate in enumerate(order)}
        nodes = [(g.operation, tuple(place[x] for x in g.operands), g.data) for g in order]
        return Node._class._rebuilt, (nodes,)

    @classmethod
    def _rebuilt(cls, nodes: Iterable[tuple[str, tuple[int, ...], Data]]) -> Node:
        """The last gate of a list in which operands are given by their places."""
        order: list[Node] = []
        for operation, places, data in nodes:
            if operation in LEAVES:
                order.append(leaf(operation, data))
            else:
                order.append(gate_of(operation, [order[place] for place in places]))
        return order[-1]


# ---- interning ----------------------------------------------------------------------------

_table: WeakValueDictionary[tuple[object, ...], Node] = WeakValueDictionary()
_numbers = itertools.count()
_lock = threading.RLock()
if hasattr(os, "register_at_fork"):  # a child must not inherit a lock that another thread holds
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )

_set_operation, _set_operands, _set_data, _set_number = (
    vars(Node)[name].__set__ for name in ("operation", "operands", "data", "number")
)


def _interned(operation: str, operands: tuple[Node, ...], data: Data, key: object) -> Node:
    """The one gate with this operation, these operands and data with this exact key."""
    entry = (operation, operands, key)
    with _lock:
        gate = _table.get(entry)
        if gate is None:
            gate = object.__new__(Node._class)
            _set_operation(gate, operation)
            _set_operands(gate, operands)
            _set_data(gate, data)
            _set_number(gate, next(_numbers))
            _table[entry] = gate
        return gate


def number_of(gate: Node) -> float:
    """The value of a gate that is a number."""
    return cast(float, gate.data)


def leaf(operation: str, data: object) -> Node:
    """The gate of an input's name, a number, or an array with at least one axis."""
    if operation == "input":
        return _interned("input", (), str(data), data)
    if operation == "number":
        number = float(data)  # type: ignore[arg-type]
        return _interned("number", (), number, number.hex())  # tells -0.0 from 0.0
    array = np.array(data, np.float64, order="C")
    array.setflags(write=False)
    return _interned("array", (), array, (array.shape, array.tobytes()))


def gate_of(operation: str, operands: Sequence[Operand]) -> Node:
    """The gate of an operation on gates, numbers and arrays.

    Raises ValueError for a name that is not in the table or a wrong number of operands, and
    TypeError for an operand that is not made of real numbers.
    """
    entry = OPERATIONS.get(operation)
    if entry is None:
        raise ValueError(f"unknown operation {operation!r}; known: {', '.join(OPERATIONS)}")
    if len(operands) != entry.arity:
        plural = "s" * (entry.arity != 1)
        raise ValueError(f"{operation} takes {entry.arity} operand{plural}; got {len(operands)}")
    checked = tuple([x if isinstance(x, Node) else as_gate(x, operation) for x in operands])
    return _interned(operation, checked, None, None)


def as_gate(value: object, user: str = "a gate") -> Node:
    """A gate as it is; a real number, or an array of such, as a constant gate.

    `user` says in messages who takes it.
    """
    if isinstance(value, Node):
        return value
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(
            f"{user} takes gates, numbers and arrays; got {value}. x == y only tells whether two "
            "gates are the same formula: compare their values with <, <=, > or >=. If a condition "
            "is known already, write x if condition else y"
        )
    if isinstance(value, Real):
        try:
            return leaf("number", value)
        except OverflowError:
            raise ValueError(f"{user} got a number beyond float64") from None
    if isinstance(value, NO_OPERANDS):
        raise TypeError(f"{user} takes gates, numbers and arrays; got {value!r}")
    array = as_numbers(value, f"an operand of {user}")
    if array.ndim == 0:
        return leaf("number", array)
    if not array.shape[-1]:
        raise ValueError(f"{user} got an array of shape {array.shape}, whose rows are empty")
    return leaf("array", array)


def gates_of(roots: Collection[Node]) -> tuple[Node, ...]:
    """All gates that some gates are computed from and themselves, operands before their users.

    The order follows from the formulas alone, not from when their gates were made. So sums over
    the users of a gate have the same order, and the same roundings, in every process.
    """
    found: dict[Node, None] = {}
    waiting = list(roots)[::-1]
    while waiting:
        gate, n = waiting[-1], len(waiting)
        for operand in reversed(gate.operands):
            if operand not in found:
                waiting.append(operand)
        if len(waiting) == n:
            found[waiting.pop()] = None
    return tuple(found)


def names_of(order: Sequence[Node]) -> tuple[str, ...]:
    """The names of the inputs among gates."""
    return tuple(str(gate.data) for gate in order if gate.operation == "input")
