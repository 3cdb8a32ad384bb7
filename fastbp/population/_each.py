"""Arguments that are one value for all members of a population, or a list with one each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from .._network.network import Network

# A list is one value of these arguments; one each is then a list of what such a test accepts.
_Test = Callable[[object], bool]


def _is_array(value: object) -> bool:
    return value is None or hasattr(value, "shape")


def _is_class_weight(value: object) -> bool:
    return value is None or isinstance(value, (str, Mapping)) or _is_array(value)


def _is_sequence(value: object) -> bool:
    return isinstance(value, (list, tuple, Mapping))


def _is_set(value: object) -> bool:
    return value is None or isinstance(value, tuple)


ONE_EACH: dict[str, _Test] = {
    "sample_weight": _is_array,
    "class_weight": _is_class_weight,
    "metrics": _is_sequence,
    "callbacks": _is_sequence,
    "validation_data": _is_set,
    "X_val": _is_array,
    "y_val": _is_array,
    "sample_weight_val": _is_array,
}


def spread(name: str, value: object, n: int) -> list[Any]:
    """The value of an argument for each of n members.

    Raises ValueError for a list of another length.

    >>> spread("epochs", [2, 3], 2), spread("epochs", 5, 2)
    ([2, 3], [5, 5])
    >>> spread("metrics", ["f1", "accuracy"], 2)
    [['f1', 'accuracy'], ['f1', 'accuracy']]
    >>> spread("metrics", [["f1"], []], 2)
    [['f1'], []]
    """
    if not isinstance(value, list):
        return [value] * n
    test = ONE_EACH.get(name)
    if test is not None and not (value and all(map(test, value))):
        return [value] * n
    if len(value) != n:
        raise ValueError(
            f"{name} is a list of {len(value)}; the population has {n} members: give one value for "
            "all, or a list with one each"
        )
    return list(value)


def made_alike(
    widths: Sequence[int], seeds: Sequence[int], options: Sequence[Mapping[str, Any]]
) -> Iterator[Network]:
    """Networks with a seed and options each; those with the same options share an architecture.

    >>> first, second, third = made_alike((2, 1), [3, 4, 5], [{"l2": 0.1}, {"l2": 0.1}, {}])
    >>> first.dense is second.dense, first.dense is third.dense
    (True, False)
    """
    for _, members in groupby(range(len(seeds)), lambda k: _identities(options[k])):
        k, *others = members
        net = Network(widths, seed=seeds[k], **options[k])
        yield net
        yield from net._siblings([seeds[j] for j in others], options[k].get("init", "auto"))


def _identities(options: Mapping[str, Any]) -> list[int]:
    return [id(value) for value in options.values()]


class naming_member:
    """A context that adds a note to an exception: to which member it belongs."""

    def __init__(self, k: int, n: int) -> None:
        self._k, self._n = k, n

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception):
            error.add_note(f"in member {self._k} of a population of {self._n}")
