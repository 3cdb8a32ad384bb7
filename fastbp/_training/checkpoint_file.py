"""The file of a checkpoint: the state of a fit as safetensors, with a checksum, read strictly.

The metadata are `format` "fastbp-checkpoint", `version` "1", `generation` (a number that grows),
`state` (JSON, in which {"$tensor": name} stands for an array) and `sha256`, over all of these and
the tensors. A checksum proves that a file is complete, not who wrote it, so every field of the
state is checked.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .._checks import arguments as check
from .._checks.state import any_number, check_mapping, checked_state, optional, text, vector
from .._files.safetensors import open_reader, parse_json, read_safetensors, shown, write_safetensors
from .._types import Array, Place
from ..errors import ModelFileError
from ..history import History

FORMAT, VERSION = "fastbp-checkpoint", "1"
_METADATA = {"format", "version", "generation", "state", "sha256"}
_MAX_DEPTH = 32  # of objects and lists in a state


def write(path: Path, generation: int, state: Mapping[str, object]) -> None:
    """Write a file of that generation, whole or not at all. Raises OSError if it cannot."""
    tensors: dict[str, Array] = {}
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "generation": str(generation),
        "state": json.dumps(_flat(state, tensors, "state")),
    }
    metadata["sha256"] = _digest(metadata, tensors)
    write_safetensors(path, tensors, metadata)


def read(path: Path, *, tensors: bool) -> tuple[int, dict[str, Any] | None]:
    """(generation, state) of a file. Without tensors only the header is read; the state is None.

    Raises ModelFileError for a file that is damaged or not a checkpoint.
    """
    if not tensors:
        with open_reader(path) as reader:
            return _generation_of(path, reader.metadata), None
    arrays, metadata = read_safetensors(path)
    generation = _generation_of(path, metadata)
    if _digest(metadata, arrays) != metadata["sha256"]:
        raise ModelFileError(f"{path}: the checksum does not hold, so the file is damaged")
    try:
        return generation, _check_state(metadata["state"], arrays)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error.__cause__


def _generation_of(path: Path, metadata: Mapping[str, str]) -> int:
    if metadata.get("format") != FORMAT or metadata.get("version") != VERSION:
        raise ModelFileError(f"{path}: not a checkpoint of format {FORMAT!r}, version {VERSION!r}")
    if metadata.keys() != _METADATA:
        raise ModelFileError(f"{path}: expected the metadata {', '.join(sorted(_METADATA))}")
    generation = metadata["generation"]
    if not re.fullmatch(r"[0-9]{1,18}", generation):
        raise ModelFileError(f"{path}: the generation cannot be {shown(generation)}")
    return int(generation)


def _digest(metadata: Mapping[str, str], tensors: Mapping[str, Array]) -> str:
    digest = hashlib.sha256()
    for name in sorted(metadata.keys() - {"sha256"}):
        digest.update(json.dumps([name, metadata[name]]).encode())
    for name in sorted(tensors):
        tensor = np.ascontiguousarray(tensors[name])
        digest.update(json.dumps([name, str(tensor.dtype), tensor.shape]).encode())
        digest.update(tensor.view(np.uint8).reshape(-1).data)
    return digest.hexdigest()


def _flat(value: object, tensors: dict[str, Array], name: str, depth: int = 0) -> object:
    """The value as JSON can hold it; its arrays are moved to `tensors`."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"a checkpoint cannot hold {name}, nested more than {_MAX_DEPTH} deep")
    if isinstance(value, np.ndarray):
        tensors[name] = value
        return {"$tensor": name}
    if isinstance(value, Mapping):
        pairs = ((str(key), f"{name}.{key}", each) for key, each in value.items())
        return {key: _flat(each, tensors, inner, depth + 1) for key, inner, each in pairs}
    if isinstance(value, (list, tuple)):
        return [_flat(each, tensors, f"{name}.{i}", depth + 1) for i, each in enumerate(value)]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"a checkpoint cannot hold {name}, of {type(value).__name__}")


def _check_state(text: str, tensors: dict[str, Array]) -> dict[str, Any]:
    """The state in a text, with its arrays and with every field checked."""
    state = _nested(parse_json(text, "the state", finite=False), tensors)
    if tensors:
        raise ModelFileError(f"the tensor {shown(next(iter(tensors)))} is no part of the state")
    try:
        return checked_state(state, _STATE, "a checkpoint")
    except (TypeError, ValueError) as error:
        raise ModelFileError(str(error)) from error


def _nested(value: object, tensors: dict[str, Array], depth: int = 0) -> object:
    """The value with its arrays, each of which is removed from `tensors`."""
    if depth > _MAX_DEPTH:
        raise ModelFileError(f"the state is nested more than {_MAX_DEPTH} deep")
    if isinstance(value, dict):
        if value.keys() == {"$tensor"}:
            name = value["$tensor"]
            tensor = tensors.pop(name, None) if isinstance(name, str) else None
            if tensor is None:
                raise ModelFileError(
                    f"the state asks for a tensor {shown(name)}, which is not there"
                )
            return tensor.view(tensor.dtype.newbyteorder("="))  # a buffer of format "f", not "<f"
        return {key: _nested(each, tensors, depth + 1) for key, each in value.items()}
    if isinstance(value, list):
        return [_nested(each, tensors, depth + 1) for each in value]
    return value


def plain(value: object) -> Any:
    """A value without arrays, as it would be read from a file."""
    return json.loads(json.dumps(_flat(value, {}, "identity")))


# ---- what a state may hold ----------------------------------------------------------------


def _object(value: object, name: str) -> dict[str, Any]:
    return dict(check_mapping(value, name))


def _seed(value: object, name: str) -> int:
    if value is None:
        raise TypeError(f"{name} must be a whole number; got None")
    return check.check_seed(value)


def _place(value: object, name: str) -> Place:
    if not isinstance(value, list) or len(value) != len(Place._fields):
        raise TypeError(f"{name} must be a list of {len(Place._fields)} numbers")
    *counts, loss_sum, weight_sum = value
    sums = (any_number(each, name) for each in (loss_sum, weight_sum))
    return Place(*(check.check_count(each, name) for each in counts), *sums)


def _history(value: object, name: str) -> dict[str, list[float]]:
    """Lists of numbers by name. No name is that of a method of History, or `stopped_by`."""
    found = _object(value, name)
    for key, series in found.items():
        hides = callable(getattr(History, key, None)) or key == "stopped_by"
        if not isinstance(series, list) or hides:
            raise TypeError(f"{name} must hold lists of numbers by name; got {shown(key)}")
        for number in series:
            any_number(number, f"{key} in {name}")
    return found


def _callbacks(value: object, name: str) -> list[list[Any]]:
    if not isinstance(value, list):
        raise TypeError(f"{name} must be a list")
    for each in value:
        if not isinstance(each, list) or len(each) != 2:
            raise TypeError(f"{name} must be a list of names and states")
        text(each[0], name)
    return value


_STATE = {
    "identity": _object,
    "seed": _seed,
    "theta": vector,
    "optimizer": _object,
    "schedule": optional(_object),
    "place": _place,
    "history": _history,
    "callbacks": _callbacks,
    "stopped_by": optional(text),
}
