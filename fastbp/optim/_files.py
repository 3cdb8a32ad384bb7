"""`load`: reading an optimiser from a file, whose format `_format` describes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from .._files.safetensors import Reader, open_reader, shown
from ..errors import ModelFileError
from ._base import Optimizer
from ._format import read_fields
from ._names import BY_NAME


def load(path: str | os.PathLike[str]) -> Optimizer:
    """Read an optimiser that `Optimizer.save` wrote.

    A training that continues with it is bit-identical to one without interruption. The file may be
    untrusted: it is checked before memory is allocated for it, and nothing in it is executed.
    Raises ModelFileError if the file does not contain such an optimiser, and OSError if it cannot
    be read.

    >>> from fastbp.optim import Adam
    >>> Adam(0.5).save("adam.safetensors"); load("adam.safetensors")
    Adam(lr=0.5, betas=(0.9, 0.999), eps=1e-08)
    """
    with open_reader(path) as reader:
        fields = read_fields(reader)
        optimizer = _build(fields)
        names = _check_tensors(reader, optimizer)
        tensors = {name: reader.read(name) for name in names}
    average = tensors.pop("average", None)
    moments = [tensors[f"moments.{i}"] for i in range(len(tensors))]
    try:
        optimizer.load_state_dict(fields | {"moments": moments, "average": average})
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"{os.fsdecode(path)}: the state is not valid: {error}") from error
    return optimizer


def _build(fields: Mapping[str, Any]) -> Optimizer:
    known = {kind.__name__: kind for kind in BY_NAME.values()}
    if fields["name"] not in known:
        raise ModelFileError(
            f"unknown optimiser {shown(fields['name'])}; known: {', '.join(known)}"
        )
    try:
        return known[fields["name"]](**fields["hyper"])
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"the hyper-parameters are not valid: {error}") from error


def _check_tensors(reader: Reader, optimizer: Optimizer) -> list[str]:
    """The names of the tensors, all of which must have the size of one theta."""
    entries = reader.entries
    moments = [name for name in entries if name != "average"]
    expected = [f"moments.{i}" for i in range(len(moments))]
    if sorted(moments) != expected or len(moments) > 3:
        raise ModelFileError(
            "expected at most the tensors moments.0 to moments.2 and average; got "
            f"{', '.join(map(shown, entries))}"
        )
    if moments and len(moments) < optimizer.n_moments:
        raise ModelFileError(f"{optimizer!r} has {optimizer.n_moments} moments; got {len(moments)}")
    kinds = {(entry.dtype.name, entry.shape) for entry in entries.values()}
    if len(kinds) > 1 or any(
        dtype not in ("float32", "float64") or len(shape) != 1 for dtype, shape in kinds
    ):
        raise ModelFileError("the tensors must be vectors of the same size, float32 or float64")
    return [*expected, *(["average"] if "average" in entries else [])]
