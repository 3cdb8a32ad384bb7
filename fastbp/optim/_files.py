"""An optimiser in a file, in the safetensors layout, and back bit for bit. No pickle.

The tensors are "moments.0", "moments.1", … and, where there is one, "average", all (n_params,) and
of the network's dtype. The metadata hold `format` "fastbp-optimizer", `version` "1" and `optimizer`
(JSON): name, hyper, t, average_start. An unknown field anywhere is an error.
"""

from __future__ import annotations

import json
import os

from .._files.safetensors import Reader, open_reader, parse_json, shown, write_safetensors
from ..errors import ModelFileError
from ._base import Optimizer

FORMAT, VERSION = "fastbp-optimizer", "1"
_FIELDS = {"name": str, "hyper": dict, "t": int, "average_start": int}
_METADATA = ("format", "version", "optimizer")


def save(optimizer: Optimizer, path: str | os.PathLike[str]) -> None:
    """Write an optimiser of this package to `path`, whole or not at all.

    Raises TypeError for one of the user's own classes, OSError as `open` does.
    """
    state = optimizer.state_dict()
    if _classes().get(state["name"]) is not type(optimizer):
        raise TypeError(
            f"only optimisers of fastbp.optim go into files; got {type(optimizer).__name__}: "
            "use its state_dict()"
        )
    tensors = {f"moments.{i}": moment for i, moment in enumerate(state["moments"])}
    if state["average"] is not None:
        tensors["average"] = state["average"]
    fields = {name: state[name] for name in _FIELDS}
    metadata = {"format": FORMAT, "version": VERSION, "optimizer": json.dumps(fields)}
    write_safetensors(path, tensors, metadata)


def load(path: str | os.PathLike[str]) -> Optimizer:
    """Read the optimiser that `Optimizer.save` wrote; a training goes on with it bit for bit.

    The file may be untrusted: it is checked before memory is taken for it, and nothing in it is
    executed. Raises ModelFileError for a file that is not such an optimiser, OSError as `open`
    does.

    >>> from fastbp.optim import Adam
    >>> Adam(0.5).save("adam.safetensors"); load("adam.safetensors")
    Adam(lr=0.5, betas=(0.9, 0.999), eps=1e-08)
    """
    with open_reader(path) as reader:
        fields = _fields_of(reader)
        optimizer = _build(fields)
        names = _check_tensors(reader, optimizer)
        tensors = {name: reader.read(name) for name in names}
    average = tensors.pop("average", None)
    moments = [tensors[f"moments.{i}"] for i in range(len(tensors))]
    optimizer.load_state_dict(fields | {"moments": moments, "average": average})
    return optimizer


def _classes() -> dict[str, type[Optimizer]]:
    from . import _BY_NAME

    return {kind.__name__: kind for kind in _BY_NAME.values()}


def _fields_of(reader: Reader) -> dict[str, object]:
    metadata = reader.metadata
    if metadata.get("format") != FORMAT or metadata.get("version") != VERSION:
        raise ModelFileError(
            f"expected the metadata of an optimiser, format {FORMAT!r}, version {VERSION!r}; got "
            f"format {shown(metadata.get('format'))}, version {shown(metadata.get('version'))}"
        )
    if metadata.keys() != set(_METADATA):
        raise ModelFileError(f"expected the metadata {', '.join(_METADATA)}")
    fields = parse_json(metadata["optimizer"], "the optimizer")
    if fields.keys() != _FIELDS.keys():
        raise ModelFileError(f"the optimizer must have exactly the fields {', '.join(_FIELDS)}")
    for name, kind in _FIELDS.items():
        if type(fields[name]) is not kind or (kind is int and not 0 <= fields[name] < 2**63):
            raise ModelFileError(f"{name} of the optimizer cannot be {shown(fields[name])}")
    return fields


def _build(fields: dict[str, object]) -> Optimizer:
    known = _classes()
    if fields["name"] not in known:
        raise ModelFileError(
            f"unknown optimiser {shown(fields['name'])}; known: {', '.join(known)}"
        )
    try:
        return known[fields["name"]](**fields["hyper"])
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"the hyper-parameters do not hold: {error}") from error


def _check_tensors(reader: Reader, optimizer: Optimizer) -> list[str]:
    """The names of the tensors, which are twins of one theta."""
    entries = reader.entries
    moments = [name for name in entries if name != "average"]
    expected = [f"moments.{i}" for i in range(len(moments))]
    if sorted(moments) != expected or len(moments) > 3:
        raise ModelFileError(
            f"expected tensors moments.0 to moments.2 at most, and average; got "
            f"{', '.join(map(shown, entries))}"
        )
    if moments and len(moments) < optimizer.n_moments:
        raise ModelFileError(f"{optimizer!r} has {optimizer.n_moments} moments; got {len(moments)}")
    kinds = {(entry.dtype.name, entry.shape) for entry in entries.values()}
    if len(kinds) > 1 or any(
        dtype not in ("float32", "float64") or len(shape) != 1 for dtype, shape in kinds
    ):
        raise ModelFileError("the tensors must be vectors of one size, float32 or float64")
    return [*expected, *(["average"] if "average" in entries else [])]
