"""Options of losses: their ranges, and how they are written as text.

`str` of a loss returns this text, and model files contain it: a name and, in parentheses, values or
option=value, separated by commas. A value is a number, true, false, none, or a list of numbers in
square brackets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from .._checks import arguments as check
from .._checks.names import unknown_name

_LOSS = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:\((.*)\)\s*)?", re.DOTALL)
# A value neither begins nor ends with a blank, so that blanks match in one way only: a model file
# has this text, and must not take long to read.
_VALUE = r"\[[^\[\]]*\]|[^\s,\[\]=](?:[^,\[\]=]*[^\s,\[\]=])?"
_ARGUMENT = re.compile(rf"\s*(?:([A-Za-z_]\w*)\s*=\s*)?({_VALUE})\s*(?:,|$)")
_WORDS = {"true": True, "false": False, "none": None}


def options_from_text(
    spec: object, names: Sequence[str]
) -> tuple[str, list[tuple[str | None, object]]]:
    """Return (name, [(option or None, value), …]) for a text such as "huber(0.5)".

    >>> options_from_text("focal(2, alpha=[1, 3])", ["focal"])
    ('focal', [(None, 2.0), ('alpha', (1.0, 3.0))])
    """
    if not isinstance(spec, str):
        raise TypeError(f"loss must be a name such as {names[0]!r}; got {type(spec).__name__}")
    match = _LOSS.fullmatch(spec)
    if match is None or match[1].lower() not in names:
        raise unknown_name("loss", spec, names)
    return match[1].lower(), [] if match[2] is None else _arguments(match[2], spec)


def _arguments(text: str, spec: str) -> list[tuple[str | None, object]]:
    found: list[tuple[str | None, object]] = []
    at = 0
    while at < len(text):
        match = _ARGUMENT.match(text, at)
        if match is None:
            raise _unreadable(spec)
        found.append((match[1], _value(match[2], spec)))
        at = match.end()
    if not found:
        raise _unreadable(spec)
    return found


def _value(text: str, spec: str) -> object:
    try:
        if text.startswith("["):
            return tuple(float(number) for number in text[1:-1].split(","))
        return _WORDS[text.lower()] if text.lower() in _WORDS else float(text)
    except ValueError:
        raise _unreadable(spec) from None


def _unreadable(spec: str) -> ValueError:
    return ValueError(
        f"the options of {spec!r} must be numbers or lists of them, as in huber(0.5) or "
        "cross_entropy(label_smoothing=0.1, class_weight=[1, 2])"
    )


def text_of_option(value: object) -> str:
    """The text of a value.

    >>> text_of_option((1.0, 0.5)), text_of_option(True), text_of_option(None)
    ('[1.0, 0.5]', 'true', 'none')
    """
    if isinstance(value, tuple):
        return f"[{', '.join(map(repr, value))}]"
    return str(value).lower() if value is None or isinstance(value, bool) else repr(value)


# ---- ranges -------------------------------------------------------------------------------


def check_flag(value: object, name: str) -> bool:
    """Check a bool. 1.0 and 0.0 are accepted, because the 1 of poisson(1) is read as a number."""
    if value not in (True, False):
        raise TypeError(f"{name} must be true or false; got {value!r}")
    return bool(value)


def check_smoothing(value: object, name: str) -> float:
    """Check a number in [0, 1]."""
    number = check.check_real(value, name)
    if not 0 <= number <= 1:
        raise ValueError(f"{name} must be from 0 to 1; got {value}")
    return number


def check_alpha(value: object, name: str) -> float:
    """Check a number in (0, 1)."""
    number = check.check_real(value, name)
    if not 0 < number < 1:
        raise ValueError(f"{name} must lie strictly between 0 and 1, or be none; got {value}")
    return number


def check_weights(value: object, name: str) -> tuple[float, ...]:
    """Check one weight for all outputs or one per output: at least 0, and not all of them 0."""
    weights = tuple(
        check.check_nonnegative(weight, f"{name}[{i}]")
        for i, weight in enumerate(_listed(value, name))
    )
    if not weights or max(weights) == 0:
        raise ValueError(f"{name} must hold a weight greater than 0; got {value!r}")
    return weights


def check_taus(value: object, name: str) -> tuple[float, ...]:
    """Check numbers in (0, 1) in strictly ascending order."""
    taus = tuple(
        check.check_real(tau, f"{name}[{i}]") for i, tau in enumerate(_listed(value, name))
    )
    if not taus or not all(0 < tau < 1 for tau in taus):
        raise ValueError(f"{name} must lie strictly between 0 and 1; got {value!r}")
    if any(later <= tau for tau, later in pairwise(taus)):
        raise ValueError(f"{name} must ascend; got {value!r}")
    return taus


def _listed(value: object, name: str) -> Iterable[object]:
    if isinstance(value, Mapping):
        raise TypeError(f"{name} must be a list of numbers, one per output; got {value!r}")
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        return value
    return (value,)
