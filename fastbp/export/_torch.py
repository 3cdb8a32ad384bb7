"""PyTorch: state dicts, which do not need PyTorch, and networks as modules, which do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .._checks.numbers import as_numbers
from .._network.finite import check_finite_parameters
from .._types import Array
from ._estimators import Exportable, network_of
from ._folded import refuse_embedding, weights
from ._keras import finite, from_pairs

if TYPE_CHECKING:
    from .._network.dense import Norm
    from .._network.layers import Layer
    from .._network.network import Network
    from ..gates import ActivationFormula


# {name in fastbp: (name in torch.nn, arguments)}
MODULES: dict[str, tuple[str, dict[str, Any]]] = {
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


def to_state_dict(net: Exportable) -> dict[str, Array]:
    """Return copies of the parameters, named as in the Sequential of `to_torch`.

    Weights have the shape (out, in). PyTorch is not needed. `module.load_state_dict` takes the
    arrays after torch.from_numpy. Of a fitted estimator of `fastbp.sklearn`, they are those of
    `network_`. Raises ValueError if it is not fitted or a parameter is not finite.

    >>> import fastbp
    >>> state = fastbp.export.to_state_dict(fastbp.Network((2, 3, 1)))
    >>> {name: array.shape for name, array in state.items()}
    {'0.weight': (3, 2), '0.bias': (3,), '2.weight': (1, 3), '2.bias': (1,)}
    """
    network = network_of(net, "to_state_dict")
    check_finite_parameters(network.layers, "a state dict takes finite weights only")
    refuse_embedding(network.layers, "a Sequential of PyTorch")
    state = {}
    for place, kind, layer in _places(network):
        names: dict[str, Mapping[str, Array | None]] = {
            "linear": {"weight": weights(layer).T, "bias": layer.b},
            "norm": {
                "weight": layer.gain,
                "bias": layer.shift,
                "running_mean": layer.running_mean,
                "running_var": layer.running_var,
            },
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
        `loss`. The loss may be a criterion, as for `from_torch`. By default, `output` is the
        activation that the loss pairs with, such as softmax for "cross_entropy", or "identity".

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
                    "for norms and layers without bias, use from_torch with a Sequential"
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


def import_torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise ImportError('this needs PyTorch: run pip install "fastbp[torch]"') from error
    return torch


def to_torch(net: Exportable) -> Any:
    """Return the network as a torch.nn.Sequential of Linear, norm, activation and Dropout modules.

    Of a fitted estimator of `fastbp.sklearn`, it is `network_`, whose outputs are probabilities for
    a classifier.

    The modules have copies of the parameters, and are in training mode, as all new modules of
    PyTorch: call eval() to predict with Dropout or BatchNorm1d. A formula of `fastbp.gates` becomes
    a torch.fx.GraphModule with a parameter for each of its trained constants, which PyTorch can
    train, compile and export like other modules; so do exp and sin, which torch.nn does not have.

    Raises ValueError for residual layers, for a constant with the name of an attribute of modules,
    for parameters that are not finite, and for an estimator that is not fitted. Raises ImportError
    if PyTorch is not installed.
    """
    torch = import_torch()
    network = network_of(net, "to_torch")
    modules = []
    refuse_embedding(network.layers, "a Sequential of PyTorch")
    for _, kind, layer in _places(network):
        n_in, n_out = layer.W.shape
        if layer.dense.residual:
            raise ValueError("a Sequential cannot have residual layers: write your own module")
        if kind == "linear":
            modules.append(torch.nn.Linear(n_in, n_out, bias=layer.b is not None))
        elif kind == "norm" and (norm := layer.dense.norm) is not None:
            modules.append(_norm_module(torch, norm, n_out))
        elif kind == "dropout":
            modules.append(torch.nn.Dropout(layer.dense.dropout))
        else:
            modules.append(_module(torch, layer))
    sequential = torch.nn.Sequential(*modules).to(getattr(torch, network.dtype.name))
    state = {name: torch.from_numpy(array) for name, array in to_state_dict(network).items()}
    sequential.load_state_dict(state)
    return sequential


def _norm_module(torch: Any, norm: Norm, n: int) -> Any:
    if norm.by_batch:
        return torch.nn.BatchNorm1d(n, eps=norm.eps, momentum=norm.momentum)
    kind = torch.nn.LayerNorm if norm.name == "layer" else torch.nn.RMSNorm
    return kind(n, eps=norm.eps)


def _module(torch: Any, layer: Layer) -> Any:
    from ._torch_formulas import module_of

    activation, constants = layer.activation, layer.constants
    if activation.name == "prelu":
        return torch.nn.PReLU(len(constants["alpha"]), init=activation.alpha)
    if activation.formula is not None:
        return module_of(torch, activation.formula, constants)
    if activation.name not in MODULES:
        return module_of(torch, _formula_of_name(activation.name), constants)
    name, arguments = MODULES[activation.name]
    given = {key: activation.alpha if v == "alpha" else v for key, v in arguments.items()}
    return getattr(torch.nn, name)(**given)


def _formula_of_name(name: str) -> ActivationFormula:
    """The formula of an activation that has no module in torch.nn: exp or sin."""
    from ..gates import ActivationFormula

    return ActivationFormula(f"{name}(z)")
