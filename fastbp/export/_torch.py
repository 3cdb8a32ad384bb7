"""PyTorch: state dicts, which do not need PyTorch, and modules, which do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .._checks.numbers import as_numbers
from .._network.finite import check_finite_parameters
from .._types import Array
from ..activations import NAMES, Activation, resolve
from ._keras import finite, from_pairs

if TYPE_CHECKING:
    from .._network.layers import Layer
    from .._network.network import Network
    from ..gates import ActivationFormula


# {name in fastbp: (name in torch.nn, arguments)}
_MODULES: dict[str, tuple[str, dict[str, Any]]] = {
    "identity": ("Identity", {}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "relu": ("ReLU", {}),
    "leaky_relu": ("LeakyReLU", {"negative_slope": "alpha"}),
    "elu": ("ELU", {"alpha": "alpha"}),
    "softplus": ("Softplus", {"beta": 1.0, "threshold": 40.0}),  # above it, PyTorch has z
    "softmax": ("Softmax", {"dim": -1}),
    "selu": ("SELU", {}),
    "gelu": ("GELU", {"approximate": "none"}),
    "gelu_tanh": ("GELU", {"approximate": "tanh"}),
    "silu": ("SiLU", {}),
    "mish": ("Mish", {}),
    "hard_tanh": ("Hardtanh", {"min_val": -1.0, "max_val": 1.0}),
    "hard_sigmoid": ("Hardsigmoid", {}),
    "relu6": ("ReLU6", {}),
    "softsign": ("Softsign", {}),
}


def _places(net: Network) -> Iterator[tuple[int, str, Layer]]:
    """Yield (index in the Sequential, kind, layer) of each module.

    The kinds are "linear", "norm", "act" and "dropout".
    """
    place = 0
    for layer in net.layers:
        kinds = {
            "linear": True,
            "norm": layer.dense.norm is not None,
            "act": layer.activation.name != "identity",
            "dropout": layer.dense.dropout > 0,
        }
        for kind, there in kinds.items():
            if there:
                yield place, kind, layer
                place += 1


def to_state_dict(net: Network) -> dict[str, Array]:
    """Return copies of the parameters, named as in the Sequential of `to_torch`.

    Weights have the shape (out, in). PyTorch is not needed. `module.load_state_dict` takes the
    arrays after torch.from_numpy. Raises ValueError if a parameter is not finite.

    >>> import fastbp
    >>> state = fastbp.export.to_state_dict(fastbp.Network((2, 3, 1)))
    >>> {name: array.shape for name, array in state.items()}
    {'0.weight': (3, 2), '0.bias': (3,), '2.weight': (1, 3), '2.bias': (1,)}
    """
    check_finite_parameters(net.layers, "a state dict takes finite weights only")
    state = {}
    for place, kind, layer in _places(net):
        names: dict[str, Mapping[str, Array | None]] = {
            "linear": {"weight": layer.W.T, "bias": layer.b},
            "norm": {"weight": layer.gain, "bias": layer.shift},
            "act": _parameters_of(layer),
        }
        for name, view in names.get(kind, {}).items():
            if view is not None:
                state[f"{place}.{name}"] = np.array(view, order="C")
    return state


def _parameters_of(layer: Layer) -> Mapping[str, Array]:
    """The trained constants of a layer by their names in PyTorch: alpha of prelu is "weight"."""
    constants = layer.constants
    return {"weight": constants["alpha"]} if layer.activation.name == "prelu" else constants


def from_state_dict(state: Mapping[str, object], **network: Any) -> Network:
    """Make a network with the linear layers of a state dict, in its order.

    The trained constants of an activation, such as the weight of a PReLU, follow the layer's own.

    Parameters
    ----------
    state : mapping of str to array
        {"….weight": (out, in), "….bias": (out,), …}. The arrays may be anything that np.asarray
        takes, such as PyTorch tensors on the CPU.
    **network
        Arguments of `fastbp.Network` other than `widths`, such as `activation`, `output` and
        `loss`.

    Returns
    -------
    Network
        The network.

    Raises
    ------
    TypeError
        `state` is not a mapping of strings to arrays of numbers.
    ValueError
        `state` has other entries than those and the trained constants of the activations, a shape
        does not match, or a weight is not finite.

    Examples
    --------
    >>> import fastbp
    >>> net = fastbp.Network((2, 3, 1), seed=0)
    >>> again = fastbp.export.from_state_dict(fastbp.export.to_state_dict(net), activation="relu")
    >>> bool((again.theta == net.theta).all())
    True
    """
    layers = _layers_of(_arrays_of(state))
    net = from_pairs([array for W, b, _ in layers for array in (W, b)], network)
    for layer, (_, _, others) in zip(net.layers, layers, strict=True):
        kinds = dict(zip(_parameters_of(layer), layer.constants, strict=True))
        found = {name.rpartition(".")[2]: name for name in others}
        for kind, name in found.items():
            if kind not in kinds:
                raise ValueError(
                    f"{name} is neither a weight, nor the bias of a weight, nor a trained constant "
                    f"of the activation {layer.activation}"
                )
        if len(others) != len(kinds):
            raise ValueError(
                f"expected each of {', '.join(kinds)} once for the activation {layer.activation}; "
                f"got {', '.join(others) or 'none of them'}"
            )
        layer.constants = {kinds[kind]: others[name] for kind, name in found.items()}
    return finite(net)


def _layers_of(arrays: Mapping[str, Array]) -> list[tuple[Array, Array, dict[str, Array]]]:
    """Return W, b and the entries that follow, by name, of each linear layer of a state dict."""
    layers: list[tuple[Array, Array, dict[str, Array]]] = []
    for name, array in arrays.items():
        stem, _, kind = name.rpartition(".")
        bias = arrays.get(f"{stem}.bias")
        if kind == "weight" and (array.ndim == 2 or bias is not None):
            if array.ndim != 2 or bias is None:
                raise ValueError(
                    f"{name} must be a matrix (out, in) and have a bias; got shape {array.shape}: "
                    "for norms and layers without bias, use from_torch"
                )
            layers.append((array.T, bias, {}))
        elif kind != "bias" or f"{stem}.weight" not in arrays:
            if not layers:
                raise ValueError(f"{name} is neither a weight nor the bias of a weight")
            layers[-1][2][name] = array
    return layers


def _arrays_of(state: object) -> dict[str, Array]:
    if not isinstance(state, Mapping):
        raise TypeError(f"state must be a dict of names and arrays; got {type(state).__name__}")
    arrays = {}
    for name, value in state.items():
        if not isinstance(name, str):
            raise TypeError(f"the names in a state dict must be strings; got {name!r}")
        arrays[name] = as_numbers(value, name)
    return arrays


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError('this needs PyTorch: run pip install "fastbp[torch]"') from error
    return torch


def to_torch(net: Network) -> Any:
    """Return the network as a torch.nn.Sequential of Linear, norm, activation and Dropout modules.

    The modules have copies of the parameters. A formula of `fastbp.gates` becomes a
    torch.fx.GraphModule with a parameter for each of its trained constants, which PyTorch can
    train, compile and export like other modules; so do exp and sin, which torch.nn does not have.

    Raises ValueError for residual layers, for a constant with the name of an attribute of modules,
    and for parameters that are not finite. Raises ImportError if PyTorch is not installed.
    """
    torch = _torch()
    modules = []
    for _, kind, layer in _places(net):
        n_in, n_out = layer.W.shape
        if layer.dense.residual:
            raise ValueError("a Sequential cannot have residual layers: write your own module")
        if kind == "linear":
            modules.append(torch.nn.Linear(n_in, n_out, bias=layer.b is not None))
        elif kind == "norm" and (norm := layer.dense.norm) is not None:
            cls = torch.nn.LayerNorm if norm.name == "layer" else torch.nn.RMSNorm
            modules.append(cls(n_out, eps=norm.eps))
        elif kind == "dropout":
            modules.append(torch.nn.Dropout(layer.dense.dropout))
        else:
            modules.append(_module(torch, layer))
    sequential = torch.nn.Sequential(*modules).to(getattr(torch, net.dtype.name))
    state = {name: torch.from_numpy(array) for name, array in to_state_dict(net).items()}
    sequential.load_state_dict(state)
    return sequential


def _module(torch: Any, layer: Layer) -> Any:
    from ._torch_formulas import module_of

    activation, constants = layer.activation, layer.constants
    if activation.name == "prelu":
        return torch.nn.PReLU(len(constants["alpha"]), init=activation.alpha)
    if activation.formula is not None:
        return module_of(torch, activation.formula, constants)
    if activation.name not in _MODULES:
        return module_of(torch, _formula_of_name(activation.name), constants)
    name, arguments = _MODULES[activation.name]
    given = {key: activation.alpha if v == "alpha" else v for key, v in arguments.items()}
    return getattr(torch.nn, name)(**given)


def _formula_of_name(name: str) -> ActivationFormula:
    """The formula of an activation that has no module in torch.nn: exp or sin."""
    from ..gates import ActivationFormula

    return ActivationFormula(f"{name}(z)")


def from_torch(sequential: Any, *, loss: str | Any = "squared_error", **network: Any) -> Network:
    """Make a network with copies of the layers of a torch.nn.Sequential.

    Each layer is a Linear, which may be followed by LayerNorm or RMSNorm over all its units, one
    activation, and Dropout, in this order. The dtype is that of the parameters.

    An activation may also be a PReLU with one parameter or one for each unit, or a
    torch.fx.GraphModule of one input, as `to_torch` and torch.fx.symbolic_trace make them, if it
    consists of operations of `fastbp.gates`. Its parameters become trained constants, with their
    present values as the initial ones; of different units, it is the mean.

    Parameters
    ----------
    sequential : torch.nn.Sequential
        The modules.
    loss : str or Loss, default "squared_error"
        The loss of the network.
    **network
        Further arguments of `Network.from_layers`.

    Returns
    -------
    Network
        The network.

    Raises
    ------
    ValueError
        A module does not fit, which the message names, or a parameter is not finite.
    ImportError
        PyTorch is not installed.
    """
    from .._network.dense import Dense, Norm
    from .._network.network import Network

    torch = _torch()
    layers: list[dict[str, Any]] = []
    states: list[dict[str, Array]] = []
    order = 0
    for place, module in enumerate(sequential):
        kind = type(module).__name__
        rank = _rank(torch, module)
        if rank == 0:
            layers.append({"n_out": module.out_features, "bias": module.bias is not None})
            states.append({"W": _array(module.weight).T})
            if module.bias is not None:
                states[-1]["b"] = _array(module.bias)
        elif not layers or rank is None or rank <= order:
            raise ValueError(
                f"module {place}, {kind}, does not fit: expected Linear, which may be followed by "
                "a norm, an activation and Dropout, in this order; torch.fx.symbolic_trace makes a "
                "module of your own one that can be read as an activation"
            )
        elif rank == 1:
            if list(module.normalized_shape) != [layers[-1]["n_out"]]:
                raise ValueError(f"module {place}, {kind}, must normalise all units of its layer")
            name = "layer" if kind == "LayerNorm" else "rms"
            layers[-1]["norm"] = Norm(name, module.eps)
            states[-1] |= _norm_state(module, name, layers[-1]["n_out"])
        elif rank == 2:
            activation, constants = _activation(torch, module, place, layers[-1]["n_out"])
            layers[-1]["activation"] = activation
            states[-1] |= constants
        else:
            layers[-1]["dropout"] = module.p
        order = rank
    if not layers:
        raise ValueError("the Sequential is empty; expected at least one Linear")
    n_in = states[0]["W"].shape[0]
    dtype = str(states[0]["W"].dtype)
    built = [Dense(**layer) for layer in layers]
    options: dict[str, Any] = {"loss": loss, "dtype": dtype} | network
    net = Network.from_layers(n_in, built, **options)
    for layer, state in zip(net.layers, states, strict=True):
        for name, view in layer.parameters().items():
            view[...] = state[name]
    return finite(net)


def _rank(torch: Any, module: Any) -> int | None:
    """Return the position in a layer: 0 Linear, 1 norm, 2 activation, 3 Dropout, else None."""
    nn = torch.nn
    if isinstance(module, nn.Linear):
        return 0
    if isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
        return 1
    if isinstance(module, nn.Dropout):
        return 3
    if isinstance(module, (nn.PReLU, torch.fx.GraphModule)):
        return 2
    return 2 if type(module).__name__ in {name for name, _ in _MODULES.values()} else None


def _array(tensor: Any) -> Array:
    return np.array(tensor.detach().cpu().numpy())


def _norm_state(module: Any, name: str, n: int) -> dict[str, Array]:
    gain = np.ones(n) if module.weight is None else _array(module.weight)
    if name == "rms":
        return {"gain": gain}
    bias = getattr(module, "bias", None)
    return {"gain": gain, "shift": np.zeros(n) if bias is None else _array(bias)}


def _activation(
    torch: Any, module: Any, place: int, n_out: int
) -> tuple[Activation, dict[str, Array]]:
    """Return an activation, and the values of its trained constants."""
    from ._torch_formulas import formula_of

    if isinstance(module, torch.nn.PReLU):
        constants = {"alpha": _array(module.weight)}
        per = "layer" if module.num_parameters == 1 else "unit"
        activation = Activation("prelu", float(module.init), per)
    elif isinstance(module, torch.fx.GraphModule):
        try:
            formula, constants = formula_of(torch, module, _name_of)
        except ValueError as error:
            raise ValueError(f"module {place} is no activation of fastbp: {error}") from error
        activation = _named(formula)
    else:
        if (found := _built_in(module)) is None:
            raise ValueError(
                f"module {place}, {module}, has settings that no activation of fastbp has"
            )
        return found, {}
    for name, values in constants.items():
        if len(values) not in (1, n_out):
            raise ValueError(
                f"module {place}, {module}, must have 1 or {n_out} numbers as {name}, for the "
                f"{n_out} units of its layer; got {len(values)}"
            )
    return activation, constants


def _named(formula: ActivationFormula) -> Activation:
    """The activation of a formula: of a function of z alone, the built-in one, if there is one."""
    gate = formula.merged_gate
    if gate.operation in NAMES and [x.operation for x in gate.operands] == ["input"]:
        return Activation(gate.operation)
    return resolve(formula)


def _name_of(module: Any) -> str:
    """What fastbp calls a module of torch.nn, or what PyTorch calls it."""
    activation = _built_in(module)
    return str(module) if activation is None else activation.name


def _built_in(module: Any) -> Activation | None:
    """The activation that is a module of torch.nn, if fastbp has it."""
    kind = type(module).__name__
    for name, (torch_name, arguments) in _MODULES.items():
        if torch_name != kind:
            continue
        fixed = {key: v for key, v in arguments.items() if v != "alpha" and key != "threshold"}
        if kind == "Softmax" and module.dim == 1:
            fixed = {}
        if all(getattr(module, key) == value for key, value in fixed.items()):
            keys = [key for key, v in arguments.items() if v == "alpha"]
            return Activation(name, float(getattr(module, keys[0])) if keys else None)
    return None
