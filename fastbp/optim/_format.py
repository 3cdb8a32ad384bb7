"""The file format of optimisers: safetensors, without pickle. All values are kept exactly.

The tensors are "moments.0", "moments.1", … and, if the optimiser has one, "average". They have
shape (n_params,) and the dtype of the network. The metadata are `format` "fastbp-optimizer",
`version` "1" and `optimizer`, a JSON object with name, hyper, t and average_start. Any unknown
field is an error.
"""

from __future__ import annotations

import json
import os
from typing import Any, TypedDict

from .._files.safetensors import Reader, parse_json, shown, write_safetensors
from .._types import Array
from ..errors import ModelFileError

FORMAT, VERSION = "fastbp-optimizer", "1"
_FIELDS = {"name": str, "hyper": dict, "t": int, "average_start": int}
_METADATA = ("format", "version", "optimizer")


class State(TypedDict):
    """What `state_dict` of an optimiser returns; `hyper` holds its hyper-parameters by name."""

    name: str
    hyper: dict[str, Any]
    t: int
    moments: list[Array]
    average: Array | None
    average_start: int


def write_state(path: str | os.PathLike[str], state: State) -> None:
    """Write the result of `state_dict` of an optimiser to a file, completely or not at all.

    Raises OSError as `open` does.
    """
    tensors = {f"moments.{i}": moment for i, moment in enumerate(state["moments"])}
    if state["average"] is not None:
        tensors["average"] = state["average"]
    fields = {name: value for name, value in state.items() if name in _FIELDS}
    metadata = {"format": FORMAT, "version": VERSION, "optimizer": json.dumps(fields)}
    write_safetensors(path, tensors, metadata)


def read_fields(reader: Reader) -> dict[str, Any]:
    """Read the fields of a state, except the arrays, and check their types."""
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
            raise ModelFileError(f"{name} of the optimizer must not be {shown(fields[name])}")
    return fields
