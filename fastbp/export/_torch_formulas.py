"""Formulas as modules of PyTorch, and back.

`module_of` builds a torch.fx.GraphModule, whose parameters are the trained constants. Like modules
of torch.nn it can be compiled, scripted, exported, copied and pickled, and it does not need fastbp.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._types import Array
from ._formulas import emit, simplified

if TYPE_CHECKING:
    from ..gates import ActivationFormula
    from ..gates._graph import Node

# ---- to PyTorch ---------------------------------------------------------------------------


class _Builder:
    """A torch.fx.Graph in the making; the operands of its functions are nodes and numbers."""

    def __init__(self, torch: Any) -> None:
        self.torch, self.graph = torch, torch.fx.Graph()
        self.z = self.graph.placeholder("z")

    def __call__(self, function: Callable[..., Any], *operands: Any, **options: Any) -> Any:
        return self.graph.call_function(function, operands, options)

    def detach(self, node: Any) -> Any:
        """The value of a node, through which no gradient flows."""
        return self.graph.call_method("detach", (node,))


def _maximum(b: _Builder, x: Any, y: Any) -> Any:
    """The larger, with the slopes of fastbp at a tie: both 0, where PyTorch has 1/2 or 1."""
    return _chosen(b, operator.gt, "maximum", "min", x, y)


def _minimum(b: _Builder, x: Any, y: Any) -> Any:
    return _chosen(b, operator.lt, "minimum", "max", x, y)


def _chosen(b: _Builder, beats: Any, function: str, bound: str, x: Any, y: Any) -> Any:
    """x where it beats y, y where it beats x, and NaN or their common value without a slope."""
    if isinstance(x, float):
        x, y = y, x
    if isinstance(y, float):
        rest = b.detach(b(b.torch.clamp, x, **{bound: y}))
        return b(b.torch.where, b(beats, x, y), x, rest)
    rest = b.detach(b(getattr(b.torch, function), x, y))
    rest = b(b.torch.where, b(beats, y, x), y, rest)
    return b(b.torch.where, b(beats, x, y), x, rest)


def _where(b: _Builder, condition: Any, x: Any, y: Any) -> Any:
    if isinstance(x, float) and isinstance(y, float):  # two numbers would become float32
        x = b(b.torch.full_like, b.z, x)
    return b(b.torch.where, condition, x, y)


def _of_operator(name: str) -> Callable[..., Any]:
    return lambda b, *operands: b(getattr(operator, name), *operands)


def _of_torch(name: str) -> Callable[..., Any]:
    return lambda b, x: b(getattr(b.torch, name), x)


_UNARY = (
    *("exp", "expm1", "log", "log1p", "sqrt", "square", "reciprocal", "abs", "sin", "cos", "tan"),
    *("arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "sigmoid", "relu"),
)
# operation of fastbp.gates: (builder, operands) -> the node of the result
OPERATIONS: dict[str, Callable[..., Any]] = {
    **{name: _of_operator(name) for name in ("add", "sub", "mul", "pow", "neg")},
    "div": _of_operator("truediv"),
    "less": _of_operator("lt"),
    "less_equal": _of_operator("le"),
    "equal": _of_operator("eq"),
    **{name: _of_torch(name) for name in _UNARY},
    # above its threshold, PyTorch has x, which is exact in float64 from 37 on
    "softplus": lambda b, x: b(b.torch.nn.functional.softplus, x, 1.0, 40.0),
    "silu": lambda b, x: b(b.torch.nn.functional.silu, x),
    "mish": lambda b, x: b(b.torch.nn.functional.mish, x),
    "gelu_tanh": lambda b, x: b(b.torch.nn.functional.gelu, x, approximate="tanh"),
    "maximum": _maximum,
    "minimum": _minimum,
    "where": _where,
}


def module_of(torch: Any, formula: ActivationFormula, constants: Mapping[str, Array]) -> Any:
    """Return a torch.fx.GraphModule that computes a formula.

    Parameters
    ----------
    torch : module
        PyTorch.
    formula : ActivationFormula
        The formula.
    constants : mapping of str to array
        The values of its trained constants, (1,) or (n,).

    Raises
    ------
    ValueError
        A module cannot have a parameter with the name of a constant.
    """
    root, b = torch.nn.Module(), _Builder(torch)
    taken = dir(torch.fx.GraphModule(root, torch.fx.Graph()))
    leaves = {"z": b.z}
    for name, values in constants.items():
        if name in taken:
            raise ValueError(
                f"a module of PyTorch cannot have the parameter {name!r}, since it has another "
                "attribute of that name: give the constant of the formula another name"
            )
        root.register_parameter(name, torch.nn.Parameter(torch.from_numpy(values.copy())))
        leaves[name] = b.graph.get_attr(name)
    gate = simplified(formula.merged_gate)

    def apply(each: Node, operands: Sequence[Any]) -> Any:
        return OPERATIONS[each.operation](b, *operands)

    out = emit(gate, leaves, float, apply)
    if isinstance(out, float):
        out = b(torch.full_like, b.z, out)
    elif "z" not in gate.inputs:
        out = b.graph.call_method("expand_as", (out, b.z))
    b.graph.output(out)
    return torch.fx.GraphModule(root, b.graph, class_name="Formula")


# ---- from PyTorch -------------------------------------------------------------------------


def _softplus(x: Node, beta: float = 1.0, threshold: float = 20.0) -> Node:
    from .. import gates

    return gates.softplus(beta * x) / beta if beta != 1 else gates.softplus(x)


def _gelu(x: Node, approximate: str = "none") -> Node:
    from .. import gates

    if approximate != "tanh":
        raise ValueError('gelu is a formula with approximate="tanh" only')
    return gates.gelu_tanh(x)


def _clamp(x: Node, min: float | None = None, max: float | None = None) -> Node:
    from .. import gates

    x = x if min is None else gates.maximum(x, min)
    return x if max is None else gates.minimum(x, max)


class _Rest(NamedTuple):
    """A value through which no gradient flows; only a part of what `_chosen` makes may be one."""

    gate: Node


def _read_where(condition: Node, x: Node, y: Node | _Rest) -> Node | _Rest:
    """A choice, or the maximum or minimum of which `_chosen` made one or two choices."""
    from .. import gates

    if not isinstance(y, _Rest):
        return gates.where(condition, x, y)
    if condition.operation == "less":
        low, high = condition.operands
        for function, first, second in ((gates.maximum, high, low), (gates.minimum, low, high)):
            whole = function(first, second)
            other = second < first if first is low else first < second
            number = second.operation == "number"
            if x is first and y.gate is (whole if number else gates.where(other, second, whole)):
                return whole
            if x is first and y.gate is function(second, first):
                return _Rest(gates.where(condition, x, y.gate))
    raise ValueError("a formula cannot have detach: it has the gradient of its values")


def _equal(x: Node, y: Node) -> Node:
    from ..gates._graph import gate_of

    return gate_of("equal", (x, y))


def _named(name: str) -> Callable[..., Node]:
    """The function of fastbp.gates with a name."""

    def read(*operands: Node, inplace: bool = False) -> Node:
        from .. import gates

        if inplace:
            raise ValueError("a formula cannot have inplace=True: it does not change its operands")
        made: Node = getattr(gates, name)(*operands)
        return made

    return read


def _larger_or_smaller(name: str) -> Callable[..., Node]:
    """torch.max and torch.min of two tensors; with one or a number they go along an axis."""

    def read(x: Node, y: Node) -> Node:
        from ..gates import Gate

        if not isinstance(y, Gate):
            raise TypeError(f"{name} of {y!r}")
        return _named(f"{name}imum")(x, y)

    return read


# function of operator, torch or torch.nn.functional, or method of tensors -> the same on gates
_READ: dict[str, Callable[..., Any]] = {
    **{name: _named(name) for name in (*_UNARY, "silu", "mish", "maximum", "minimum")},
    **{name: getattr(operator, name) for name in ("add", "sub", "mul", "truediv", "pow", "neg")},
    **{name: getattr(operator, name) for name in ("lt", "le", "gt", "ge")},
    **{name: _named(f"arc{name[1:]}") for name in ("asin", "acos", "atan")},
    **{name: _larger_or_smaller(name) for name in ("max", "min")},
    "div": operator.truediv,
    "eq": _equal,
    "softplus": _softplus,
    "gelu": _gelu,
    "clamp": _clamp,
    "where": _read_where,
    "detach": _Rest,
    "expand_as": lambda x, like: x,
    "full_like": lambda x, value: value,
}


def formula_of(
    torch: Any, module: Any, name_of: Callable[[Any], str]
) -> tuple[ActivationFormula, dict[str, Array]]:
    """Return the formula of a torch.fx.GraphModule and the values of its trained constants.

    The initial values of the formula are those that the constants have now; of different units, it
    is their mean. Raises ValueError for a module that is no formula of its one input. `name_of`
    returns what fastbp calls a module of torch.nn, which may be a part.
    """
    from ..gates import ActivationFormula, Gate, inputs

    reader = _Reader(torch, module, name_of)
    found: dict[Any, Any] = {}
    for node in module.graph.nodes:
        if node.op == "output":
            gate = torch.fx.node.map_arg(node.args[0], found.__getitem__)
        elif node.op == "placeholder":
            if found:
                raise ValueError("it has more than one input")
            (found[node],) = inputs("z")
        else:
            found[node] = reader.read(node, found)
    constants = reader.constants
    depends = isinstance(gate, Gate)
    if not depends:
        raise ValueError("its output must be one tensor that depends on its input")
    several = any(len(values) > 1 for values in constants.values())
    initial = {name: _initial(values) for name, values in constants.items()}
    return ActivationFormula(gate, per="unit" if several else "layer", **initial), constants


class _Reader:
    """Reads the nodes of one module as gates, and its parameters as constants."""

    def __init__(self, torch: Any, module: Any, name_of: Callable[[Any], str]) -> None:
        self._module, self._name_of = module, name_of
        self._parameter = torch.nn.Parameter
        self.constants: dict[str, Array] = {}
        self._names: dict[str, str] = {}  # place in the module: name of the constant
        self._functions = {
            getattr(space, name): read
            for space in (torch.nn.functional, torch, operator)
            for name, read in _READ.items()
            if hasattr(space, name)
        }

    def read(self, node: Any, found: Mapping[Any, Any]) -> Any:
        """The gate, or the number, of a node that is neither input nor output."""
        if node.op == "get_attr":
            return self._constant(node.target)
        name, read = self._function(node)
        if read is None:
            raise ValueError(f"a formula has no {name}")
        try:
            operands = [found.get(x, x) for x in node.args]
            options = {name: found.get(x, x) for name, x in node.kwargs.items()}
            if read is not _read_where and any(isinstance(x, _Rest) for x in operands):
                raise ValueError("a formula cannot have detach: it has the gradient of its values")
            return read(*operands, **options)
        except TypeError as error:
            raise ValueError(f"a formula cannot have these arguments of {name}: {error}") from error

    def _function(self, node: Any) -> tuple[str, Callable[..., Any] | None]:
        """What a node calls, and the same on gates, if there is such a thing."""
        if node.op == "call_method":
            return node.target, _READ.get(node.target)
        if node.op == "call_function":
            known = self._functions.get(node.target)
            return getattr(node.target, "__name__", str(node.target)), known
        part = self._module.get_submodule(node.target)
        if getattr(part, "inplace", False):
            return f"{type(part).__name__} with inplace=True", None
        name = self._name_of(part)
        return name, _named(name) if name in OPERATIONS else None

    def _constant(self, target: str) -> Node | float:
        from ..gates import inputs

        tensor = operator.attrgetter(target)(self._module)
        values = np.array(tensor.detach().cpu().numpy()).reshape(-1)
        if len(values) == 1 and not isinstance(tensor, self._parameter):
            return float(values[0])
        if target not in self._names:
            name = target.replace(".", "_")
            while name in self.constants:
                name += "_"
            self._names[target], self.constants[name] = name, values
        (gate,) = inputs(self._names[target])
        return gate


def _initial(values: Array) -> float:
    """One number for all units, with the digits of its dtype."""
    value = values[0] if (values == values[0]).all() else values.mean()
    return float(str(value))
