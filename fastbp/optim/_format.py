"""The file of an optimiser: safetensors, no pickle. Reading it gives every bit back.

The tensors are "moments.0", "moments.1", … and, if the optimiser has one, "average", all of shape
(n_params,) and of the network's dtype. The metadata are `format` "fastbp-optimizer", `version` "1"
and `optimizer`, a JSON object of name, hyper, t and average_start. An unknown field anywhere is an
error.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from .._files.safetensors import Reader, parse_json, shown, write_safetensors
from ..errors import ModelFileError

FORMAT, VERSION = "fastbp-optimizer", "1"
_FIELDS = {"name": str, "hyper": dict, "t": int, "average_start": int}
_METADATA = ("format", "version", "optimizer")


def write_state(path: str | os.PathLike[str], state: Mapping[str, Any]) -> None:
    """Write what `state_dict` of an optimiser gave to `path`, whole or not at all.

    Raises OSError as `open` does.
    """
    tensors = {f"moments.{i}": moment for i, moment in enumerate(state["moments"])}
    if state["average"] is not None:
        tensors["average"] = state["average"]
    fields = {name: state[name] for name in _FIELDS}
    metadata = {"format": FORMAT, "version": VERSION, "optimizer": json.dumps(fields)}
    write_safetensors(path, tensors, metadata)


def read_fields(reader: Reader) -> dict[str, Any]:
    """The fields of a state except its arrays, each of its kind."""
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
