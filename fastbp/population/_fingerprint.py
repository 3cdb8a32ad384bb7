"""What ranks were given, as texts that can be compared."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

import numpy as np

from .._ranks.team import Team
from .._types import SparseRows
from ..optim import Optimizer

_SAMPLED = 1 << 20  # bytes of an array
_SLICES = 64  # of one row, of an object that is no array
_LONGEST = 100  # characters of a text that is shown as it is
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def check_same(team: Team, make: Callable[[], dict[str, str]]) -> None:
    """Call a function on every rank; ValueError on all if its texts are not the same on all.

    An error of the function on one rank is raised on all.
    """
    mine: dict[str, str] = {}

    def whole() -> bytes:
        mine.update(make())
        return blake2b(repr(mine).encode(), digest_size=16).digest()

    if len(set(team.meet(whole))) == 1:
        return
    first, *others = team.meet(lambda: mine)
    for rank, found in enumerate(others, 1):
        for name in [*first, *found]:
            here, there = first.get(name, "missing"), found.get(name, "missing")
            if here != there:
                team.failed = True  # all ranks raise this
                raise ValueError(
                    f"all ranks must call fit with the same members, data and arguments; {name} "
                    f"differs: {here} on rank 0, {there} on rank {rank}"
                )


def described(value: Any) -> str:
    """A text that is the same for what a fit takes for the same, in any process.

    >>> described([1, "a", None]), described({"f1": max})
    ("[1, 'a', None]", "{'f1': <built-in function max>}")
    """
    text = _text(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}… {_hex(text.encode())}"


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_text(k)}: {_text(x)}' for k, x in value.items())}}}"
    if isinstance(value, os.PathLike):
        return repr(os.fspath(value))
    if isinstance(value, (np.ndarray, SparseRows)):
        return digest_of(value)
    if hasattr(value, "shape"):  # a frame, or a sparse matrix
        return f"{type(value).__name__} {tuple(value.shape)}"
    if isinstance(value, Optimizer):
        return type(value).__name__  # its state is that of rank 0
    return _ADDRESS.sub("", repr(value))


def digest_of(array: Any) -> str:
    """Shape and dtype of an array, and a checksum of evenly spaced rows, 1 MiB at most.

    >>> digest_of(np.zeros((2, 3), "f4"))
    'float32 (2, 3) with checksum 2bb6ae06ad472028'
    >>> digest_of(None)
    'None'
    """
    if array is None:
        return "None"
    if not hasattr(array, "shape"):
        array = np.asarray(array)
    shape = tuple(array.shape)
    n = shape[0] if shape else 0
    if isinstance(array, (np.ndarray, SparseRows)):
        row_bytes = max(1, int(np.prod(shape[1:])) * array.dtype.itemsize)
        parts = [array[_spaced(n, _SAMPLED // row_bytes)]] if n else [array]
    else:  # only slices are certain to work
        parts = [array[i : i + 1] for i in _spaced(n, _SLICES)]
    content = b"".join(map(_bytes_of, parts))
    return f"{getattr(array, 'dtype', '')} {shape} with checksum {_hex(content)}".strip()


def _spaced(n: int, most: int) -> Any:
    """Numbers of rows among n, at most so many, but at least one."""
    return np.unique(np.linspace(0, n - 1, min(n, max(1, most))).astype(np.intp))


def _bytes_of(part: Any) -> bytes:
    array = part.toarray() if hasattr(part, "toarray") else np.asarray(part)
    return repr(array.tolist()).encode() if array.dtype == object else array.tobytes()


def _hex(data: bytes) -> str:
    return blake2b(data, digest_size=8).hexdigest()
