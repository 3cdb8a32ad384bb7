"""Model files: a Network saved as safetensors, and loaded again bit for bit. No pickle.

The tensors are "layers.0.W" (n_in, n_out), "layers.0.b" (n_out,), "layers.1.W"… The metadata hold
`format` "fastbp", `version` "1", `architecture` (JSON) and, where there is one, `preprocessing`
(JSON). An unknown field anywhere is an error: a later version that adds one changes `version`.
"""

from __future__ import annotations

import json
import os
from itertools import pairwise

import numpy as np

from ._safetensors import (
    Reader,
    open_reader,
    parse_json,
    read_safetensors,
    shown,
    write_safetensors,
)
from .errors import ModelFileError
from .network import Network

__all__ = ["load", "read_safetensors", "save", "write_safetensors"]

FORMAT, VERSION = "fastbp", "1"

# field of the architecture: (the types it may have in JSON, how to name them)
_TEXT = ((str,), "a string")
_LIST = ((list,), "a list")
_NUMBER = ((int, float), "a number")
_FIELDS = {
    "widths": _LIST,
    "activations": _LIST,
    "output": _TEXT,
    "loss": _TEXT,
    "dtype": _TEXT,
    "l1": _NUMBER,
    "l2": _NUMBER,
    "seed": ((int,), "an integer"),
}


def save(net: Network, path: str | os.PathLike[str], *, preprocessing: dict | None = None) -> None:
    """Write `net` to `path`, whole or not at all: a file already there is replaced at the end.

    Args:
        net: the network; its weights must be finite.
        path: file to write, by custom ending in .safetensors.
        preprocessing: what to do to inputs and outputs, as a dict that JSON can hold; by default
            `net.preprocessing`.

    Raises:
        ValueError: a NaN or an infinity in a weight, or in `preprocessing`.
        TypeError: `preprocessing` that JSON cannot hold.
        OSError: as `open` does.
    """
    tensors = {}
    for i, layer in enumerate(net.layers):
        tensors |= {f"layers.{i}.W": layer.W, f"layers.{i}.b": layer.b}
    for name, tensor in tensors.items():
        index = _first_non_finite(tensor)
        if index is not None:
            raise ValueError(
                f"{name} holds {tensor[index]} at {list(index)}; a model file takes finite "
                f"weights only, and nothing was written to {os.fsdecode(path)}"
            )
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "architecture": json.dumps(_architecture(net), allow_nan=False),
    }
    preprocessing = net.preprocessing if preprocessing is None else preprocessing
    if preprocessing is not None:
        if not isinstance(preprocessing, dict):
            raise TypeError(f"preprocessing must be a dict; got {type(preprocessing).__name__}")
        metadata["preprocessing"] = json.dumps(preprocessing, allow_nan=False)
    write_safetensors(path, tensors, metadata)


def load(path: str | os.PathLike[str]) -> Network:
    """Read the network that `save` wrote, or the safetensors package with the same metadata.

    The file may be untrusted: it is checked before memory is taken for it, and nothing in it is
    executed.

    Raises:
        ModelFileError: the file is truncated or forged, holds NaN, or is not a fastbp model.
        OSError: as `open` does.
    """
    with open_reader(path) as reader:
        metadata = _check_format(reader.metadata)
        architecture = parse_json(metadata["architecture"], "the architecture")
        _check_architecture(architecture)
        preprocessing = metadata.get("preprocessing")
        if preprocessing is not None:
            preprocessing = parse_json(preprocessing, "the preprocessing")
        _check_tensors(reader, architecture["widths"], architecture["dtype"])
        net = _build(architecture)
        net.preprocessing = preprocessing
        for i, layer in enumerate(net.layers):
            layer.W[...] = _read_finite(reader, f"layers.{i}.W")
            layer.b[...] = _read_finite(reader, f"layers.{i}.b")
    return net


# ---- helpers ------------------------------------------------------------------------------


def _architecture(net: Network) -> dict[str, object]:
    *hidden, output = (str(activation) for activation in net.activations)
    return {
        "widths": list(net.widths),
        "activations": hidden,
        "output": output,
        "loss": str(net.criterion),
        "dtype": net.dtype.name,
        "l1": net.l1,
        "l2": net.l2,
        "seed": net.seed,
    }


def _check_format(metadata: dict[str, str]) -> dict[str, str]:
    known = ("format", "version", "architecture", "preprocessing")
    if metadata.get("format") != FORMAT:
        raise ModelFileError(
            f"expected the metadata of a fastbp model, format {FORMAT!r}; "
            f"got format {shown(metadata.get('format'))}"
        )
    if metadata.get("version") != VERSION:
        raise ModelFileError(
            f"expected version {VERSION!r} of the fastbp format; got "
            f"{shown(metadata.get('version'))}: a newer fastbp may read it"
        )
    for key in metadata:
        if key not in known:
            raise ModelFileError(f"unknown metadata {shown(key)}; known: {', '.join(known)}")
    if "architecture" not in metadata:
        raise ModelFileError("the metadata lack 'architecture'")
    return metadata


def _check_architecture(architecture: dict[str, object]) -> None:
    for key in architecture:
        if key not in _FIELDS:
            raise ModelFileError(
                f"the architecture has the unknown field {shown(key)}; known: {', '.join(_FIELDS)}"
            )
    for key, (types, kind) in _FIELDS.items():
        if key not in architecture:
            raise ModelFileError(f"the architecture lacks {key!r}")
        if type(architecture[key]) not in types:
            raise ModelFileError(
                f"{key} in the architecture must be {kind}; got {shown(architecture[key])}"
            )
    widths = architecture["widths"]
    if len(widths) < 2 or not all(type(n) is int and n > 0 for n in widths):
        raise ModelFileError("widths in the architecture must be two or more positive integers")
    if architecture["dtype"] not in ("float32", "float64"):
        raise ModelFileError(
            f"dtype in the architecture must be 'float32' or 'float64'; "
            f"got {shown(architecture['dtype'])}"
        )


def _check_tensors(reader: Reader, widths: list[int], dtype: str) -> None:
    """The file's tensors are those of the architecture, before any memory is taken for it."""
    expected: dict[str, tuple[int, ...]] = {}
    for i, (n_in, n_out) in enumerate(pairwise(widths)):
        expected |= {f"layers.{i}.W": (n_in, n_out), f"layers.{i}.b": (n_out,)}
    for name in reader.entries:
        if name not in expected:
            raise ModelFileError(
                f"unexpected tensor {shown(name)}; a network of {len(widths) - 1} layers has "
                f"layers.0.W to layers.{len(widths) - 2}.b"
            )
    for name, shape in expected.items():
        entry = reader.entries.get(name)
        if entry is None:
            raise ModelFileError(f"tensor {name!r} is missing")
        if entry.shape != shape or entry.dtype != dtype:
            raise ModelFileError(
                f"tensor {name!r} must be {dtype} of shape {shape} by the architecture; "
                f"got {entry.dtype} of shape {entry.shape}"
            )


def _build(architecture: dict[str, object]) -> Network:
    keywords = dict(architecture)
    widths, activation = keywords.pop("widths"), keywords.pop("activations")
    try:
        return Network(widths, activation=activation, init="zeros", **keywords)
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"the architecture does not hold: {error}") from error


def _read_finite(reader: Reader, name: str) -> np.ndarray:
    tensor = reader.read(name)
    index = _first_non_finite(tensor)
    if index is not None:
        raise ModelFileError(
            f"tensor {name!r} holds {tensor[index]} at {list(index)}; expected finite weights"
        )
    return tensor


def _first_non_finite(tensor: np.ndarray) -> tuple[int, ...] | None:
    finite = np.isfinite(tensor)
    return None if finite.all() else tuple(np.argwhere(~finite)[0].tolist())
