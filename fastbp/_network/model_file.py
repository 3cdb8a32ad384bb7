"""The layout of model files, in safetensors: written from a network, and read into one.

The tensors are "layers.0.W" (n_in, n_out), "layers.0.b" (n_out,), "layers.1.W"… The metadata hold
`format` "fastbp", `version`, `architecture` (JSON) and, if there is one, `preprocessing` (JSON).
An unknown field anywhere is an error: a later version that adds one changes `version`. Networks
that `Network(widths, …)` makes are written as version 1. Those whose layers have options are
written as version 2, with `layers` and `input_dropout` in the architecture, and with the tensors
"layers.0.gain" and "layers.0.shift". Version 3 has `matmul_precision` too, and is written if that
is not "highest". Version 4 has the same fields, and is written if an activation or the loss is a
formula: the architecture has its text, and a trained constant beta is the tensor "layers.0.beta".
Version 5 has `feature_names` too, and is written if the network has them. Version 6 is written if
a layer has batch norm, whose statistics are the tensors "layers.0.running_mean" and
"layers.0.running_var"; `feature_names` may be null there. Version 7 also says of each layer whether
it has the tensor "layers.0.scale", and is written if one has. Version 8 also says how the
first layer embeds numbers, and is written if it does; the parameters are "layers.0.frequencies" and
so on.
Nothing is pickled, and no text is executed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from .._files.safetensors import (
    MAX_TENSORS,
    Reader,
    parse_json,
    shown,
    write_safetensors,
)
from .._precision import HIGHEST
from .._types import Array
from ..activations import FORMULA, resolve_layers
from ..errors import ModelFileError
from ..initializers import Initializer
from ..losses import CustomLoss, FormulaLoss, Loss
from ..losses import resolve as resolve_loss
from ..metrics._metrics import check_score
from .architecture import Architecture
from .dense import Dense
from .embedding import Categories, Periodic
from .finite import check_finite_parameters, first_non_finite
from .layers import Layer

FORMAT = "fastbp"

# field of the architecture: (the types it may have in JSON, how to name them)
Fields = dict[str, tuple[tuple[type, ...], str]]
_TEXT = ((str,), "a string")
_LIST = ((list,), "a list")
_NUMBER = ((int, float), "a number")
_FIELDS_1: Fields = {
    "widths": _LIST,
    "activations": _LIST,
    "output": _TEXT,
    "loss": _TEXT,
    "dtype": _TEXT,
    "l1": _NUMBER,
    "l2": _NUMBER,
    "seed": ((int,), "an integer"),
}
_FIELDS_2: Fields = {**_FIELDS_1, "layers": _LIST, "input_dropout": _NUMBER}
_FIELDS_3: Fields = {**_FIELDS_2, "matmul_precision": _TEXT}
_FIELDS_5: Fields = {**_FIELDS_3, "feature_names": _LIST}
_FIELDS_6: Fields = {**_FIELDS_3, "feature_names": ((list, type(None)), "a list or null")}
# version: fields of its architecture
VERSIONS = {
    "1": _FIELDS_1,
    "2": _FIELDS_2,
    "3": _FIELDS_3,
    "4": _FIELDS_3,
    "5": _FIELDS_5,
    "6": _FIELDS_6,
    "7": _FIELDS_6,
    "8": _FIELDS_6,
    "9": _FIELDS_6,
}
_WITH_FORMULAS = ("4", "5", "6", "7", "8", "9")
_WITH_NAMES = "5"
_WITH_BATCH_NORM = ("6", "7", "8", "9")
_WITH_SCALES, _WITH_EMBEDDING, _WITH_CATEGORIES = "7", "8", "9"
MAX_FORMULAS = 1_000_000  # characters, so that a forged file cannot keep the reader busy
_FLAG, _OPTIONAL = ((bool,), "true or false"), type(None)
_LAYER: Fields = {
    "bias": _FLAG,
    "dropout": _NUMBER,
    "norm": ((str, _OPTIONAL), "a string or null"),
    "residual": _FLAG,
    "trainable": _FLAG,
    "max_norm": ((int, float, _OPTIONAL), "a number or null"),
    "non_negative": _FLAG,
}
_LAYER_7: Fields = {**_LAYER, "scale": _FLAG}
_LAYER_8: Fields = {**_LAYER_7, "embedding": ((dict, _OPTIONAL), "an object or null")}
_LAYER_9: Fields = {**_LAYER_8, "categories": ((dict, _OPTIONAL), "an object or null")}
_LAYERS = {"7": _LAYER_7, "8": _LAYER_8, "9": _LAYER_9}
_PERIODIC: Fields = {
    "n_numbers": ((int,), "an integer"),
    "frequencies": ((int,), "an integer"),
    "width": ((int,), "an integer"),
    "std": _NUMBER,
    "relu": _FLAG,
    "keep": _FLAG,
}
_CATEGORIES: Fields = {
    "levels": ((list,), "a list of integers"),
    "width": ((list,), "a list of integers"),
    "std": _NUMBER,
}


class Described(NamedTuple):
    """A network as a file has it: texts, and the parameters as they are at the moment.

    Attributes
    ----------
    version : str
        The version of the format that has all fields.
    architecture : dict
        The fields of the architecture.
    preprocessing : dict or None
        What prepares inputs.
    tensors : dict of str to array
        The parameters.
    """

    version: str
    architecture: dict[str, object]
    preprocessing: dict[str, object] | None
    tensors: dict[str, Array]


def write_model(
    path: str | os.PathLike[str],
    net: Architecture,
    layers: Sequence[Layer],
    seed: int,
    preprocessing: object,
    feature_names: Sequence[str] | None = None,
) -> None:
    """Write a model file, whole or not at all; see `fastbp.io.save`.

    Parameters
    ----------
    path : path
        The file.
    net, layers, seed
        The architecture, the layers with the parameters, and the seed of the network.
    preprocessing : dict or None
        What a command needs to prepare inputs; stored as JSON.
    feature_names : sequence of str or None
        The names of the inputs, if they have some.
    """
    found = describe_network(path, net, layers, seed, preprocessing, feature_names)
    metadata = {
        "format": FORMAT,
        "version": found.version,
        "architecture": json.dumps(found.architecture, allow_nan=False),
    }
    if found.preprocessing is not None:
        metadata["preprocessing"] = json.dumps(found.preprocessing, allow_nan=False)
    write_safetensors(path, found.tensors, metadata)


def describe_network(
    path: str | os.PathLike[str],
    net: Architecture,
    layers: Sequence[Layer],
    seed: int,
    preprocessing: object,
    feature_names: Sequence[str] | None,
) -> Described:
    """What a file has of a network that can be written to it; arguments as of `write_model`.

    Raises TypeError or ValueError for a network that cannot; `path` is for messages.
    """
    if isinstance(net.criterion, CustomLoss):
        raise TypeError(
            f"a model file cannot hold the loss {net.criterion}, which is a function; pickle the "
            "network, or save its theta"
        )
    if net.dtype == np.float64 and net.matmul_precision != HIGHEST:
        raise ValueError(
            f"a model file cannot hold a float64 network with matmul_precision="
            f"{net.matmul_precision!r}, which fastbp.Network does not take: set its "
            f"matmul_precision to {HIGHEST!r} first, or pickle it"
        )
    check_formulas_fit([net])
    check_finite_parameters(
        layers,
        f"a model file takes finite weights only: nothing was written to {os.fsdecode(path)}",
    )
    if preprocessing is not None and not isinstance(preprocessing, dict):
        raise TypeError(f"preprocessing must be a dict; got {type(preprocessing).__name__}")
    tensors: dict[str, Array] = {}
    for i, layer in enumerate(layers):
        tensors |= {f"layers.{i}.{name}": view for name, view in layer.parameters().items()}
    names = None if feature_names is None else list(feature_names)
    version = _version(net, layers, named=names is not None)
    fields = _described(net, layers, seed) | {"feature_names": names}
    if version in _LAYERS:
        fields["layers"] = [_options(layer, _LAYERS[version]) for layer in layers]
    architecture = {name: fields[name] for name in VERSIONS[version]}
    return Described(version, architecture, preprocessing, tensors)


def check_formulas_fit(nets: Sequence[Architecture]) -> None:
    """Raise ValueError if a file cannot hold all formulas of the networks together."""
    length = sum(_length_of_formulas(map(str, (*net.activations, net.criterion))) for net in nets)
    if length > MAX_FORMULAS:
        it, network = ("it", "network") if len(nets) == 1 else ("them", "networks")
        raise ValueError(
            f"a model file can hold formulas of {MAX_FORMULAS} characters; those of the {network} "
            f"have {length}: pickle {it}"
        )


class _Made(Protocol):
    """A network, as a model file fills it in."""

    preprocessing: dict[str, object] | None

    @property
    def feature_names(self) -> Sequence[str] | None: ...
    @feature_names.setter
    def feature_names(self, names: Any) -> None: ...

    @property
    def layers(self) -> Sequence[Layer]: ...


_Net_co = TypeVar("_Net_co", bound=_Made, covariant=True)


class _Class(Protocol[_Net_co]):
    """A class of networks, such as `fastbp.Network`."""

    def from_layers(
        self,
        n_in: int,
        layers: Sequence[Dense],
        *,
        loss: Loss,
        dtype: object,
        seed: int | None,
        l1: float,
        l2: float,
        input_dropout: float = 0.0,
        matmul_precision: str | None,
    ) -> _Net_co: ...


# The class of a network, by its preprocessing and widths.
ClassFor = Callable[[dict[str, Any] | None, Sequence[int]], _Class[_Net_co]]


class Planned(NamedTuple):
    """A network that a file describes, before memory is taken for it."""

    architecture: dict[str, Any]
    preprocessing: dict[str, Any] | None
    dense: list[Dense]
    loss: Loss

    def entries(self, prefix: str = "") -> dict[str, tuple[str, tuple[int, ...]]]:
        """(dtype, shape) of each of its tensors, by name."""
        dtype, n_in = self.architecture["dtype"], self.architecture["widths"][0]
        found = {}
        for i, layer in enumerate(self.dense):
            for name, shape in layer.shapes(n_in).items():
                found[f"{prefix}layers.{i}.{name}"] = (dtype, shape)
            n_in = layer.n_out
        return found


def read_network(reader: Reader, class_for: ClassFor[_Net_co]) -> _Net_co:
    """Read a model file into a network of the class for its preprocessing and widths.

    See `fastbp.io.load`.
    """
    metadata = _check_format(reader.metadata)
    architecture = parse_json(metadata["architecture"], "the architecture")
    check_architecture(architecture, metadata["version"])
    check_total_formulas([architecture])
    text = metadata.get("preprocessing")
    preprocessing = None if text is None else parse_json(text, "the preprocessing")
    planned = plan_network(architecture, metadata["version"], preprocessing)
    check_tensors(reader, planned.entries(), f"a network of {len(planned.dense)} layers")
    return make_network(reader, planned, class_for)


def plan_network(
    architecture: dict[str, Any], version: str, preprocessing: dict[str, Any] | None
) -> Planned:
    """A network by its checked architecture; ModelFileError if there can be none such."""
    dense, loss = _layers(architecture, version)
    _check_formulas(version, dense, loss)
    _check_batch_norm(version, dense)
    return Planned(architecture, preprocessing, dense, loss)


def make_network(
    reader: Reader, planned: Planned, class_for: ClassFor[_Net_co], prefix: str = ""
) -> _Net_co:
    """The network of a plan, with the parameters of the checked tensors `prefix`layers.0.W…"""
    architecture = planned.architecture
    more = ("dtype", "seed", "l1", "l2", "input_dropout")
    keywords = {name: architecture[name] for name in more if name in architecture}
    keywords["matmul_precision"] = architecture.get("matmul_precision", HIGHEST)
    kind = class_for(planned.preprocessing, architecture["widths"])
    n_in = architecture["widths"][0]
    try:
        net = kind.from_layers(n_in, planned.dense, loss=planned.loss, **keywords)
        net.feature_names = architecture.get("feature_names")
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"the architecture does not hold: {error}") from error
    net.preprocessing = planned.preprocessing
    for i, layer in enumerate(net.layers):
        for name, view in layer.parameters().items():
            view[...] = _read_finite(reader, f"{prefix}layers.{i}.{name}")
            if name == "running_var" and view.min() < 0:
                raise ModelFileError(
                    f"{prefix}layers.{i}.running_var is a variance, and has {view.min():g}"
                )
    return net


# ---- its parts ----------------------------------------------------------------------------


def _version(net: Architecture, layers: Sequence[Layer], *, named: bool) -> str:
    """The lowest version that can hold the network, so that older readers take it."""
    if net.dense[0].categories is not None:
        return _WITH_CATEGORIES
    if net.dense[0].embedding is not None:
        return _WITH_EMBEDDING
    if any(layer.scale for layer in net.dense):
        return _WITH_SCALES
    if net.has_batch_norm:
        return _WITH_BATCH_NORM[0]
    if named:
        return _WITH_NAMES
    if _has_formulas(net.dense, net.criterion):
        return _WITH_FORMULAS[0]
    if net.matmul_precision != HIGHEST:
        return "3"
    return "1" if net.is_plain and all(layer.trainable for layer in layers) else "2"


def _has_formulas(layers: Sequence[Dense], loss: Loss) -> bool:
    return isinstance(loss, FormulaLoss) or any(
        layer.activation.formula is not None for layer in layers
    )


def _described(net: Architecture, layers: Sequence[Layer], seed: int) -> dict[str, object]:
    """The architecture and the seed as JSON has them."""
    *hidden, output = (str(activation) for activation in net.activations)
    return {
        "widths": list(net.widths),
        "activations": hidden,
        "output": output,
        "loss": str(net.criterion),
        "dtype": net.dtype.name,
        "l1": net.l1,
        "l2": net.l2,
        "seed": seed,
        "layers": [_options(layer, _LAYER) for layer in layers],
        "input_dropout": net.input_dropout,
        "matmul_precision": net.matmul_precision,
    }


def _options(layer: Layer, fields: Fields) -> dict[str, object]:
    dense = layer.dense
    options = {name: getattr(dense, name) for name in fields}
    norm = None if dense.norm is None else str(dense.norm)
    options |= {"norm": norm, "trainable": layer.trainable}
    if "embedding" in fields and dense.embedding is not None:
        options["embedding"] = asdict(dense.embedding)
    if "categories" in fields and (of := dense.categories) is not None:
        options["categories"] = {"levels": of.levels, "width": of.width, "std": of.std}
    return options


def _check_format(metadata: dict[str, str]) -> dict[str, str]:
    if metadata.get("format") != FORMAT:
        raise ModelFileError(
            f"expected the metadata of a fastbp model, format {FORMAT!r}; "
            f"got format {shown(metadata.get('format'))}"
        )
    if metadata.get("version") not in VERSIONS:
        *others, last = map(repr, VERSIONS)
        raise ModelFileError(
            f"expected version {', '.join(others)} or {last} of the fastbp format; got "
            f"{shown(metadata.get('version'))}: a newer fastbp may read it"
        )
    known = ("format", "version", "architecture", "preprocessing")
    for key in metadata:
        if key not in known:
            raise ModelFileError(f"unknown metadata {shown(key)}; known: {', '.join(known)}")
    if "architecture" not in metadata:
        raise ModelFileError("the metadata lack 'architecture'")
    return metadata


def check_fields(got: object, fields: Fields, where: str) -> None:
    """`got` is an object of exactly these fields, each of its type."""
    if not isinstance(got, dict):
        raise ModelFileError(f"{where} must be an object; got {shown(got)}")
    for key in got:
        if key not in fields:
            raise ModelFileError(
                f"{where} has the unknown field {shown(key)}; known: {', '.join(fields)}"
            )
    for key, (types, kind) in fields.items():
        if key not in got:
            raise ModelFileError(f"{where} lacks {key!r}")
        if type(got[key]) not in types:
            raise ModelFileError(f"{key} in {where} must be {kind}; got {shown(got[key])}")


def check_architecture(architecture: dict[str, Any], version: str) -> None:
    """Raise ModelFileError unless the fields of an architecture are those of the version."""
    check_fields(architecture, VERSIONS[version], "the architecture")
    widths = architecture["widths"]
    if len(widths) > MAX_TENSORS:  # every layer has a tensor
        raise ModelFileError(
            f"the architecture has {len(widths)} widths; at most {MAX_TENSORS} are allowed"
        )
    if len(widths) < 2 or not all(type(n) is int and n > 0 for n in widths):
        raise ModelFileError("widths in the architecture must be two or more positive integers")
    if architecture["dtype"] not in ("float32", "float64"):
        raise ModelFileError(
            f"dtype in the architecture must be 'float32' or 'float64'; "
            f"got {shown(architecture['dtype'])}"
        )


def _layers(architecture: dict[str, Any], version: str) -> tuple[list[Dense], Loss]:
    """The layers and the loss of a checked architecture; no parameters are drawn for them."""
    fields = _LAYERS.get(version, _LAYER)
    units = architecture["widths"][1:]
    options = architecture.get("layers", [{}] * len(units))
    if len(options) != len(units):
        raise ModelFileError(
            f"layers in the architecture must list {len(units)}; got {len(options)}"
        )
    for i, each in enumerate(options):
        if "layers" in architecture:
            check_fields(each, fields, f"layer {i} of the architecture")
    hidden, output = architecture["activations"], architecture["output"]
    for i, each in enumerate(options):
        if each.get("embedding") is not None:
            check_fields(each["embedding"], _PERIODIC, f"the embedding of layer {i}")
        if each.get("categories") is not None:
            check_fields(each["categories"], _CATEGORIES, f"the categories of layer {i}")
    try:
        options = [each | _embeddings(each) for each in options]
        activations = resolve_layers(len(units), hidden, output)
        dense = [
            Dense(n, activation, init=Initializer("zeros"), **each)
            for n, activation, each in zip(units, activations, options, strict=True)
        ]
        loss = resolve_loss(architecture["loss"])
        check_score(loss, units[-1])
        return dense, loss
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"the architecture does not hold: {error}") from error


def _embeddings(options: dict[str, Any]) -> dict[str, Periodic | Categories]:
    found: dict[str, Periodic | Categories] = {}
    if options.get("embedding") is not None:
        found["embedding"] = Periodic(**options["embedding"])
    if options.get("categories") is not None:
        found["categories"] = Categories(**options["categories"])
    return found


def check_total_formulas(architectures: Iterable[dict[str, Any]]) -> None:
    """Raise ModelFileError for formulas that are too long together, before they are parsed."""
    length = 0
    for fields in architectures:
        texts = (*fields["activations"], fields["output"], fields["loss"])
        length += _length_of_formulas(text for text in texts if isinstance(text, str))
    if length > MAX_FORMULAS:
        raise ModelFileError(
            f"the formulas in the architecture have {length} characters; at most {MAX_FORMULAS} "
            "are allowed"
        )


def _length_of_formulas(texts: Iterable[str]) -> int:
    return sum(len(text) for text in texts if text.lstrip().startswith(FORMULA))


def _check_formulas(version: str, layers: list[Dense], loss: Loss) -> None:
    """Formulas stand in files of their versions only, which older releases refuse at once."""
    if version not in _WITH_FORMULAS and _has_formulas(layers, loss):
        raise ModelFileError(
            f"the architecture has an activation or a loss that is a formula, which version "
            f"{version} does not have: expected version {' or '.join(_WITH_FORMULAS)}"
        )


def _check_batch_norm(version: str, layers: list[Dense]) -> None:
    """Batch norm stands in files of its version only, which older releases refuse at once."""
    for i, layer in enumerate(layers):
        if layer.norm is not None and layer.norm.by_batch and version not in _WITH_BATCH_NORM:
            raise ModelFileError(
                f"layer {i} of the architecture has batch norm, which version {version} does not "
                f"have: expected version {' or '.join(_WITH_BATCH_NORM)}"
            )


def check_tensors(
    reader: Reader, expected: Mapping[str, tuple[str, tuple[int, ...]]], what: str
) -> None:
    """The file's tensors are those of the architecture, before any memory is taken for it.

    Parameters
    ----------
    reader : Reader
        The file.
    expected : mapping of str to (str, tuple of int)
        dtype and shape of every tensor.
    what : str
        What has these tensors, for messages.
    """
    for name in reader.entries:
        if name not in expected:
            raise ModelFileError(
                f"unexpected tensor {shown(name)}; {what} has "
                f"{next(iter(expected))} to {list(expected)[-1]}"
            )
    for name, (dtype, shape) in expected.items():
        entry = reader.entries.get(name)
        if entry is None:
            raise ModelFileError(f"tensor {name!r} is missing")
        if entry.shape != shape or entry.dtype != dtype:
            raise ModelFileError(
                f"tensor {name!r} must be {dtype} of shape {shape} by the architecture; "
                f"got {entry.dtype} of shape {entry.shape}"
            )


def _read_finite(reader: Reader, name: str) -> Array:
    tensor = reader.read(name)
    index = first_non_finite(tensor)
    if index is not None:
        raise ModelFileError(
            f"tensor {name!r} holds {tensor[index]} at {list(index)}; expected finite weights"
        )
    return tensor
