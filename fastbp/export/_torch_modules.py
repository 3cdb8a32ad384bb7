"""PyTorch: the modules of a torch.nn.Sequential, read as a network."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import signature
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._checks.keywords import unknown_argument
from .._types import Array
from ..activations import NAMES, Activation, resolve
from ..activations import Spec as ActivationSpec
from ._folded import fold, scale_and_shift
from ._keras import finite
from ._pairing import LOGARITHMS, LOGITS, paired
from ._torch import MODULES, import_torch

if TYPE_CHECKING:
    from .._network.network import Network
    from ..gates import ActivationFormula

# The positions in a layer, in their order, and that before the first layer.
_INPUTS, _LINEAR, _NORM, _ACTIVATION, _DROPOUT = range(-1, 4)


def from_torch(
    sequential: Any,
    *,
    loss: Any = "squared_error",
    output: ActivationSpec | None = None,
    **network: Any,
) -> Network:
    """Make a network with copies of the layers of a torch.nn.Sequential.

    Each layer is a Linear, which may be followed by LayerNorm or RMSNorm over all its units or by
    BatchNorm1d, one activation, and Dropout, in this order. Dropout may also come first. A
    Sequential may contain others, Identity and Flatten(). The dtype is that of the parameters;
    float32 for half precision.

    A BatchNorm1d directly after the Linear of a hidden layer becomes norm="batch", with its
    statistics, and can be trained on. Elsewhere, and if it has no weight, no momentum or no
    statistics, it must be in eval mode and is folded: into the Linear or norm directly before it,
    otherwise into the Linear after it. The network then computes the same.

    An activation may also be a PReLU with one parameter or one for each unit, or a
    torch.fx.GraphModule of one input, as `to_torch` and torch.fx.symbolic_trace make them, if it
    consists of operations of `fastbp.gates`. Its parameters become trained constants, with their
    present values as the initial ones; of different units, it is the mean.

    Parameters
    ----------
    sequential : torch.nn.Sequential
        The modules. The last one may be LogSoftmax, which becomes softmax, if the loss fits.
    loss : str, Loss, LossFormula, callable or torch.nn.Module, default "squared_error"
        The loss of the network, or a criterion of torch.nn, such as CrossEntropyLoss(), which gives
        the loss that has the same values; docs/losses.md lists them.
    output : str, Activation, ActivationFormula or None, default None
        The output activation of a network whose modules end in logits. None is the one that the
        loss pairs with, such as softmax for "cross_entropy", or "identity". `predict` returns its
        values.
    **network
        Further arguments of `Network.from_layers`.

    Returns
    -------
    Network
        The network.

    Raises
    ------
    TypeError
        `sequential` is no Sequential, or `loss` is a function of torch.nn.functional.
    ValueError
        A module does not fit, which the message names, as it does what to do; the loss or `output`
        does not fit what the modules end in; or a parameter is not finite.
    ImportError
        PyTorch is not installed.
    """
    from .._network.dense import Dense
    from .._network.network import Network

    own = ("sequential", "loss", "output")
    known = dict.fromkeys((*own, *signature(Network.from_layers).parameters))
    del known["n_in"], known["layers"]
    for name in network:
        if name not in known:
            raise unknown_argument("from_torch", name, known, "from_torch")
    torch = import_torch()
    reader = _Reader(torch)
    for place, module in _modules_of(torch, sequential):
        reader.read(place, module)
    layers, states = reader.finished()
    loss, layers[-1]["activation"] = paired(loss, output, reader.ending(), layers[-1]["n_out"])
    options: dict[str, Any] = {
        "loss": loss,
        "dtype": np.result_type(*reader.dtypes).name,
        "input_dropout": reader.input_dropout,
    }
    built = [Dense(**layer) for layer in layers]
    net = Network.from_layers(states[0]["W"].shape[0], built, **options | network)
    for layer, state in zip(net.layers, states, strict=True):
        for name, view in layer.parameters().items():
            view[...] = state[name]
    return finite(net)


def _modules_of(torch: Any, sequential: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (place, module) of a Sequential and those within it; "1.0" is the first of module 1."""
    if not isinstance(sequential, torch.nn.Sequential):
        raise TypeError(
            f"expected a torch.nn.Sequential; got {type(sequential).__name__}: put its modules in "
            "one, in the order in which forward calls them, or use "
            "from_state_dict(module.state_dict(), activation=…, output=…, loss=…)"
        )
    for i, module in enumerate(sequential):
        if isinstance(module, torch.nn.Sequential):
            yield from _modules_of(torch, module, f"{path}{i}.")
        else:
            yield f"{path}{i}", module


class _Folded(NamedTuple):
    """A BatchNorm1d before a Linear that is still to come: it computes scale · a + shift."""

    place: str
    scale: Array
    shift: Array


class _Reader:
    """Reads modules, in order, as arguments of Dense and the parameters of each layer."""

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        self.layers: list[dict[str, Any]] = []
        self.states: list[dict[str, Array]] = []
        self.dtypes: list[np.dtype] = []  # of the weights, before anything is folded into them
        self.input_dropout = 0.0
        self._position = _INPUTS
        self._folded: _Folded | None = None
        self._ends_in = ""  # the place of LogSoftmax
        self._kept_in_training = ""  # the last BatchNorm1d that is a norm, if it is in that mode

    def read(self, place: str, module: Any) -> None:
        """Read the next module; ValueError if it does not fit."""
        nn = self._torch.nn
        what = f"module {place}, {type(module).__name__},"
        if isinstance(module, nn.Identity) or _keeps_rows(nn, module):
            return
        if self._ends_in:
            raise ValueError(f"module {self._ends_in}, LogSoftmax, must be the last one")
        if isinstance(module, nn.BatchNorm1d):
            self._batch_norm(place, what, module)
            return
        position = self._position_of(module)
        if position == _DROPOUT and module.p == 0:
            return
        if self._folded is not None and position != _LINEAR:
            self._check_passes(self._folded, what, position)
        if position == _NORM and self._position == _NORM and self._batch_normed():
            self._fold_norm()  # for a norm that cannot follow it in one layer
            self._position = _LINEAR
        if position == _LINEAR:
            self._linear(what, module)
        elif position == _DROPOUT and self._position == _INPUTS and not self.input_dropout:
            self.input_dropout = module.p
            return
        elif not self.layers or position is None or position <= self._position:
            raise ValueError(f"{what} does not fit: {self._expected(module, position)}")
        else:
            self._add(place, what, module, position)
        self._position = position

    def finished(self) -> tuple[list[dict[str, Any]], list[dict[str, Array]]]:
        """Return the layers and their parameters; ValueError if a module is missing."""
        if not self.layers:
            raise ValueError("the Sequential is empty; expected at least one Linear")
        if self._folded is not None:
            raise _cannot_fold(self._folded, "is followed by no module")
        if self._batch_normed():  # which the output layer cannot have
            self._fold_norm()
        return self.layers, self.states

    def ending(self) -> Activation | str:
        """What the modules end in, for `paired`."""
        if self._ends_in:
            return LOGARITHMS
        activation: Activation | None = self.layers[-1].get("activation")
        return LOGITS if activation is None else activation

    def _position_of(self, module: Any) -> int | None:
        """Return the position in a layer that a module has, or None."""
        nn = self._torch.nn
        if isinstance(module, nn.Linear):
            return _LINEAR
        if isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
            return _NORM
        if isinstance(module, nn.Dropout):
            return _DROPOUT
        if isinstance(module, (nn.PReLU, nn.LogSoftmax, self._torch.fx.GraphModule)):
            return _ACTIVATION
        known = {name for name, _ in MODULES.values()}
        return _ACTIVATION if type(module).__name__ in known else None

    def _expected(self, module: Any, position: int | None) -> str:
        """What is expected in place of a module that does not fit, for the error about it."""
        layer = "Linear, which may be followed by a norm, an activation and Dropout, in this order"
        kind = type(module).__name__
        if self.layers and position == _NORM:
            n = self.layers[-1]["n_out"]
            return (
                f"expected {layer}; put torch.nn.Linear({n}, {n}) with the identity as weight and "
                f"the bias 0 before {kind}, or put {kind} directly after the Linear before it"
            )
        if self.layers and self._position == _DROPOUT and position is not None:
            if position == _DROPOUT:
                return f"expected {layer}; leave one Dropout out"
            return (
                f"expected {layer}; put {kind} before Dropout, which does not change the outputs "
                "in eval mode"
            )
        return (
            f"expected {layer}; torch.fx.symbolic_trace makes a module of your own one that can be "
            "read as an activation"
        )

    def _units(self) -> int | None:
        """The number of units that the next module gets; None before the first Linear."""
        if self._folded is not None:
            return len(self._folded.scale)
        return self.layers[-1]["n_out"] if self.layers else None

    def _linear(self, what: str, module: Any) -> None:
        if self._units() not in (None, module.in_features):
            raise ValueError(
                f"{what} takes {module.in_features} inputs; {self._units()} units come before it"
            )
        state = {"W": _array(module.weight).T}
        self.dtypes.append(state["W"].dtype)
        if module.bias is not None:
            state["b"] = _array(module.bias)
        if self._folded is not None:
            b = state.get("b", np.zeros(module.out_features))
            W = state["W"].astype(np.float64)
            state = {"W": self._folded.scale[:, None] * W, "b": self._folded.shift @ W + b}
            self._folded = None
        self.states.append(state)
        self.layers.append({"n_out": module.out_features, "bias": "b" in state})

    def _add(self, place: str, what: str, module: Any, position: int) -> None:
        """Add a norm, an activation or Dropout to the last layer."""
        layer, state = self.layers[-1], self.states[-1]
        if position == _NORM:
            layer["norm"] = _norm_of(what, module, layer["n_out"], state)
        elif position == _DROPOUT:
            layer["dropout"] = module.p
        elif isinstance(module, self._torch.nn.LogSoftmax):
            if module.dim not in _ALONG_A_ROW:
                raise _settings(place, module)
            self._ends_in = place
        else:
            n_out = layer["n_out"]
            layer["activation"], constants = _activation(self._torch, module, place, n_out)
            state |= constants

    # ---- BatchNorm1d ----------------------------------------------------------------------

    def _batch_norm(self, place: str, what: str, module: Any) -> None:
        """Fold scale · z + shift into what is before it, or keep it for the Linear after it."""
        if self._units() not in (None, module.num_features):
            raise ValueError(
                f"{what} has {module.num_features} features; {self._units()} units come before it"
            )
        state = self.states[-1] if self.states else {}
        if self._position == _LINEAR and _can_be_trained(module):
            self._keep(what, module)
            return
        scale, shift = _scale_and_shift(what, module)
        if self._folded is not None:
            shift = scale * self._folded.shift + shift
            self._folded = _Folded(place, scale * self._folded.scale, shift)
        elif self._position == _LINEAR:
            b = state.get("b", np.zeros(len(scale)))
            self.states[-1] = {"W": state["W"] * scale, "b": scale * b + shift}
            self.layers[-1]["bias"] = True
        elif self._position == _NORM and "shift" in state:
            state |= {"gain": scale * state["gain"], "shift": scale * state["shift"] + shift}
        else:
            self._folded = _Folded(place, scale, shift)

    def _keep(self, what: str, module: Any) -> None:
        """Make it the norm of the last layer."""
        from .._network.dense import Norm

        names = {
            "gain": "weight",
            "shift": "bias",
            "running_mean": "running_mean",
            "running_var": "running_var",
        }
        self.states[-1] |= {own: _array(getattr(module, theirs)) for own, theirs in names.items()}
        self.layers[-1]["norm"] = Norm("batch", module.eps, module.momentum)
        self._kept_in_training = what if module.training else ""
        self._position = _NORM

    def _batch_normed(self) -> bool:
        """Whether the last layer has batch norm."""
        norm = self.layers[-1].get("norm")
        return norm is not None and norm.by_batch

    def _fold_norm(self) -> None:
        """Fold the batch norm of the last layer into its W and b."""
        layer = self.layers[-1]
        if self._kept_in_training:
            raise _in_training(self._kept_in_training)
        self.states[-1] = fold(self.states[-1], layer.pop("norm").eps, np.float64)
        layer["bias"] = True

    def _check_passes(self, folded: _Folded, what: str, position: int | None) -> None:
        """ValueError if a BatchNorm1d that waits for a Linear cannot pass the module before it."""
        if position != _DROPOUT:
            raise _cannot_fold(folded, f"is followed by {what[:-1]}")
        if folded.shift.any():
            raise ValueError(
                f"module {folded.place}, BatchNorm1d, cannot be folded through {what[:-1]}, which "
                "drops what it has shifted: put Dropout before BatchNorm1d, or take it out, which "
                "does not change predictions"
            )


def _cannot_fold(folded: _Folded, why: str) -> ValueError:
    n = len(folded.scale)
    return ValueError(
        f"module {folded.place}, BatchNorm1d, cannot be folded: it {why}, and needs a Linear or "
        f"LayerNorm directly before it, or a Linear after it, such as torch.nn.Linear({n}, {n}) "
        "with the identity as weight and the bias 0"
    )


_ALONG_A_ROW = (1, -1, None)  # dim of Softmax; of matrices, PyTorch takes None as 1


def _keeps_rows(nn: Any, module: Any) -> bool:
    """Whether it is a Flatten that leaves a matrix as it is."""
    return isinstance(module, nn.Flatten) and module.start_dim == 1


def _array(tensor: Any) -> Array:
    tensor = tensor.detach().cpu()
    return np.array((tensor.float() if tensor.element_size() < 4 else tensor).numpy())


def _scale_and_shift(what: str, module: Any) -> tuple[Array, Array]:
    """γ/√(σ² + ε) and β − μ γ/√(σ² + ε) of a BatchNorm1d, in float64."""
    if module.running_mean is None:
        raise ValueError(
            f"{what} has no running statistics (track_running_stats=False), so its outputs depend "
            "on the batch: use LayerNorm, or train it with running statistics"
        )
    if module.training:
        raise _in_training(what)
    mean, var = _array(module.running_mean), _array(module.running_var)
    scale, shift = scale_and_shift(mean, var, module.eps)
    if module.weight is not None:
        weight = _array(module.weight)
        scale, shift = scale * weight, shift * weight
    return scale, shift if module.bias is None else shift + _array(module.bias)


def _in_training(what: str) -> ValueError:
    return ValueError(
        f"{what} is in training mode, in which its outputs depend on the batch: call "
        "net.eval() first, and it is folded with its running statistics; for a network to be "
        "trained from the start, put it directly after the Linear of a hidden layer"
    )


def _can_be_trained(module: Any) -> bool:
    """Whether a BatchNorm1d has all that norm="batch" has."""
    return module.affine and module.running_mean is not None and bool(module.momentum)


# ---- norms and activations ----------------------------------------------------------------


def _norm_of(what: str, module: Any, n: int, state: dict[str, Array]) -> Any:
    """The Norm of a module, whose parameters are added to those of its layer."""
    from .._network.dense import Norm

    if list(module.normalized_shape) != [n]:
        raise ValueError(f"{what} must normalise all units of its layer")
    name = "layer" if type(module).__name__ == "LayerNorm" else "rms"
    state["gain"] = np.ones(n) if module.weight is None else _array(module.weight)
    if name == "layer":
        bias = getattr(module, "bias", None)
        state["shift"] = np.zeros(n) if bias is None else _array(bias)
    return Norm(name, module.eps)


def _activation(
    torch: Any, module: Any, place: str, n_out: int
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
            raise _settings(place, module)
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
    for name, (torch_name, arguments) in MODULES.items():
        if torch_name != kind:
            continue
        fixed = {key: v for key, v in arguments.items() if v != "alpha" and key != "threshold"}
        if kind == "Softmax" and module.dim in _ALONG_A_ROW:
            fixed = {}
        if all(getattr(module, key) == value for key, value in fixed.items()):
            keys = [key for key, v in arguments.items() if v == "alpha"]
            return Activation(name, float(getattr(module, keys[0])) if keys else None)
    return None


# Modules with settings as functions that `formula_of` reads.
_WRITTEN: dict[str, str] = {
    "Softplus": "torch.nn.functional.softplus(z, {0.beta:g})",
    "Hardtanh": "z.clamp({0.min_val:g}, {0.max_val:g})",
}


def _settings(place: str, module: Any) -> ValueError:
    kind = type(module).__name__
    way = f"write {kind}(1), which is that of the units of a row"
    if kind not in ("Softmax", "LogSoftmax"):
        written = _WRITTEN.get(kind, "…").format(module)
        way = (
            f"put torch.fx.symbolic_trace(module) in its place, of a module of your own whose "
            f"forward(self, z) returns {written}"
        )
    return ValueError(
        f"module {place}, {module}, has settings that no activation of fastbp has: {way}"
    )
