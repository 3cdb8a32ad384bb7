"""Find columns of a table by name or number: those of a model, and those that options name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .._checks.names import did_you_mean
from ..errors import DataError
from ._problems import shortened
from ._table import Names


def find_column(spec: str, names: Names, source: str) -> int:
    """Return the index of a column, given by its name or by its number.

    Numbers count from 1, and from -1 backwards. Raises DataError if there is no such column; the
    message lists the names.

    >>> find_column("price", ("size", "price"), "houses.csv"), find_column("-2", ("a", "b"), "")
    (1, 0)
    """
    if spec in names:
        return names.index(spec)
    try:
        number = int(spec)
    except ValueError:
        number = 0
    if 1 <= abs(number) <= len(names):
        return number - 1 if number > 0 else number + len(names)
    raise DataError(
        f"{source}: no column {shortened(spec)}; there are {len(names)}: {listed_names(names)}"
        f"{did_you_mean(spec, names)}"
    )


def find_columns(specs: str | Iterable[str], names: Names, source: str) -> list[int]:
    """Return the indices of columns; each spec is one for `find_column`, or several with commas.

    A name that contains commas is one column. No index is returned twice.

    >>> find_columns(["-1,size", "a, b", "1"], ("size", "rooms", "a, b", "price"), "houses.csv")
    [3, 0, 2]
    """
    specs = (specs,) if isinstance(specs, str) else specs
    found: dict[int, None] = {}
    for spec in specs:
        parts = [spec] if spec in names else [part.strip() for part in spec.split(",")]
        found |= dict.fromkeys(find_column(part, names, source) for part in parts)
    return list(found)


def split_columns(
    source: str, names: Names, target: str | None, drop: Sequence[str], *, index: bool = False
) -> tuple[int, list[int]]:
    """Return the index of the target and those of the features, without an index column."""
    dropped = find_columns(drop, names, source)
    if target is None:
        target_index = max((i for i in range(len(names)) if i not in dropped), default=0)
    else:
        _check_one_target(target, names, source)
        target_index = find_column(target, names, source)
    kept = [i for i in range(int(index), len(names)) if i != target_index and i not in dropped]
    if target_index in dropped:
        raise DataError(
            f"{source}: the target {names[target_index]!r} is among the columns to leave out "
            f"(--drop); choose another --target, or do not drop it"
        )
    if not kept:
        raise DataError(
            f"{source}: expected a target and at least one feature; of the columns "
            f"{listed_names(names)} the target is {names[target_index]!r}, which leaves {len(kept)}"
            + (", because column 1 is an index (give it a name to train on it)" if index else "")
        )
    return target_index, kept


def _check_one_target(target: str, names: Names, source: str) -> None:
    """DataError for a target such as "a,b", which lists columns."""
    parts = [part.strip() for part in target.split(",")]
    if target not in names and len(parts) > 1 and any(part in names for part in parts):
        raise DataError(
            f"{source}: the target (--target) is one column; got {len(parts)}, {target!r}: for "
            "several targets, all of them numbers, write the arrays X (n, columns) and y "
            f"(n, {len(parts)}) to a .npz file, with numpy.savez"
        )


def choose_columns(
    source: str, found: Names, named: bool, names: Names | None, n_columns: int
) -> list[int]:
    """Return the indices of the features `names` among the columns `found` of a file."""
    if names is None:
        return list(range(len(found)))
    if not named and len(found) == len(names):
        return list(range(len(found)))
    places = {name: column for column, name in enumerate(found)}
    missing = [name for name in names if name not in places]
    if missing or not (named or len(found) == n_columns):
        raise DataError(
            f"{source}: the model takes {len(names)} columns, {listed_names(names)}; "
            f"the file has {len(found)}, {listed_names(found)}"
            + (f": {_missing(missing, found)}" if missing and named else "")
        )
    return [places[name] for name in names]


def _missing(missing: Sequence[str], found: Names) -> str:
    """Say which features are missing, with a hint if the file has a similar name for the first."""
    hint = did_you_mean(missing[0], found)
    if len(missing) == 1:
        return f"{missing[0]!r} is missing{hint}"
    return f"missing are {listed_names(missing)}{hint}"


def listed_names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:8])
    return shown if len(names) <= 8 else f"{shown}, … {names[-1]}"
