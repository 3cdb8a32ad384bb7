"""The layout of the files of populations: that of model files, for many networks at once.

The tensors of member 3 are "members.3.layers.0.W"…, as those of a model file behind its number.
The metadata hold `format` "fastbp-population", `version` "1" and `members`, a JSON list with an
object for each: `version` and `architecture` of its model file, and `preprocessing` if it has one.
Everything else is as `_network/model_file.py` describes it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .._files.safetensors import MAX_TENSORS, Reader, parse_json_list, shown, write_safetensors
from .._network.model_file import (
    VERSIONS,
    ClassFor,
    Fields,
    check_architecture,
    check_fields,
    check_formulas_fit,
    check_tensors,
    check_total_formulas,
    describe_network,
    make_network,
    plan_network,
)
from .._network.network import Network
from .._types import Array
from ..errors import ModelFileError
from ._each import naming_member

_FORMAT = "fastbp-population"
_VERSION = "1"
MAX_MEMBERS = 10_000  # so that a forged file cannot keep the reader busy
_KNOWN = ("format", "version", "members")
_FIELDS: Fields = {"version": ((str,), "a string"), "architecture": ((dict,), "an object")}
_WITH_PREPROCESSING: Fields = {**_FIELDS, "preprocessing": ((dict,), "an object")}


def check_fit_in_file(nets: Sequence[Network]) -> None:
    """Raise ValueError for more members, arrays or formulas than one file takes."""
    if len(nets) > MAX_MEMBERS:
        raise ValueError(
            f"a file takes at most {MAX_MEMBERS} members; the population has {len(nets)}: save "
            "slices of it"
        )
    n_arrays = sum(len(layer.parameters()) for net in nets for layer in net.layers)
    if n_arrays > MAX_TENSORS:
        raise ValueError(
            f"a file takes at most {MAX_TENSORS} arrays of parameters; the population has "
            f"{n_arrays}: save slices of it"
        )
    check_formulas_fit([net._architecture for net in nets])


def write_members(
    path: str | os.PathLike[str],
    nets: Sequence[Network],
    preprocessing: dict[str, Any] | None = None,
) -> None:
    """Write networks to one file, whole or not at all; see `fastbp.Population.save`.

    Where preprocessing is None, each has its own.
    """
    check_fit_in_file(nets)
    texts: list[str] = []
    tensors: dict[str, Array] = {}
    for k, net in enumerate(nets):
        with naming_member(k, len(nets)):
            net._check_at_x("save")
            found = describe_network(
                path,
                net._architecture,
                net._copy_of_layers(),
                net.seed,
                net.preprocessing if preprocessing is None else preprocessing,
                net.feature_names,
            )
            fields: dict[str, object] = {
                "version": found.version,
                "architecture": found.architecture,
            }
            if found.preprocessing is not None:
                fields["preprocessing"] = found.preprocessing
            texts.append(json.dumps(fields, allow_nan=False))
        tensors |= {f"members.{k}.{name}": view for name, view in found.tensors.items()}
    members = f"[{', '.join(texts)}]"
    write_safetensors(path, tensors, {"format": _FORMAT, "version": _VERSION, "members": members})


def is_of_population(reader: Reader) -> bool:
    """Whether a file says that it holds a population."""
    return reader.metadata.get("format") == _FORMAT


def read_members(reader: Reader, class_for: ClassFor[Network]) -> list[Network]:
    """The networks of a file that says so, each of the class for its preprocessing and widths.

    Raises ModelFileError if the file does not hold them.
    """
    _check_metadata(reader.metadata)
    members = parse_json_list(reader.metadata["members"], "the list of members")
    _check_members(members)
    plans = []
    for k, fields in enumerate(members):
        with _in_member(k):
            preprocessing = fields.get("preprocessing")
            plans.append(plan_network(fields["architecture"], fields["version"], preprocessing))
    expected: dict[str, tuple[str, tuple[int, ...]]] = {}
    for k, plan in enumerate(plans):
        expected |= plan.entries(f"members.{k}.")
    check_tensors(reader, expected, f"a population of {len(plans)}")
    nets = []
    for k, plan in enumerate(plans):
        with _in_member(k):
            nets.append(make_network(reader, plan, class_for, f"members.{k}."))
    return nets


def _check_metadata(metadata: dict[str, str]) -> None:
    if metadata.get("version") != _VERSION:
        raise ModelFileError(
            f"expected version {_VERSION!r} of the format of populations; got "
            f"{shown(metadata.get('version'))}: a newer fastbp may read it"
        )
    for key in metadata:
        if key not in _KNOWN:
            raise ModelFileError(f"unknown metadata {shown(key)}; known: {', '.join(_KNOWN)}")
    if "members" not in metadata:
        raise ModelFileError("the metadata lack 'members'")


def _check_members(members: list[Any]) -> None:
    """Check the fields of all members, and what they have together, before any of it is made."""
    if not 1 <= len(members) <= MAX_MEMBERS:
        raise ModelFileError(
            f"a file has 1 to {MAX_MEMBERS} members; this one lists {len(members)}"
        )
    n_layers = 0
    for k, fields in enumerate(members):
        with _in_member(k):
            prepared = isinstance(fields, dict) and "preprocessing" in fields
            check_fields(fields, _WITH_PREPROCESSING if prepared else _FIELDS, "the member")
            if fields["version"] not in VERSIONS:
                raise ModelFileError(
                    f"expected version {', '.join(VERSIONS)} of a network; got "
                    f"{shown(fields['version'])}: a newer fastbp may read it"
                )
            check_architecture(fields["architecture"], fields["version"])
        n_layers += len(fields["architecture"]["widths"]) - 1
    if n_layers > MAX_TENSORS:  # every layer has a tensor
        raise ModelFileError(
            f"the members have {n_layers} layers; at most {MAX_TENSORS} are allowed"
        )
    widths = [fields["architecture"]["widths"] for fields in members]
    if len({(each[0], each[-1]) for each in widths}) > 1:
        raise ModelFileError("the members must have the same numbers of inputs and outputs")
    check_total_formulas(fields["architecture"] for fields in members)


@contextmanager
def _in_member(k: int) -> Iterator[None]:
    """The message of each ModelFileError in the block begins with the number of the member."""
    try:
        yield
    except ModelFileError as error:
        raise ModelFileError(f"member {k}: {error}") from error.__cause__
