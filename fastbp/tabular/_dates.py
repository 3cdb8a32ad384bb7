"""Dates and times as text: ISO 8601 by itself, any other format only if the user names it."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from .._types import Array

_ISO = re.compile(
    r"(\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01]))"
    r"(?:[T ](\d\d:\d\d(?::\d\d)?)(?:[.,](\d+))?\s?(?:(Z)|([+-])(\d\d)(?::?(\d\d))?)?)?",
    re.ASCII,
)
_PLAIN = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d)?)?", re.ASCII)  # as NumPy reads it
_SAMPLE = 1000  # distinct strings of a column that decide whether it has dates
_UNIT = "datetime64[us]"

# How else dates are written: the format of datetime.strptime, and what its order is called.
_DAYS = (
    *((f"%d{mark}%m{mark}%Y", "day first") for mark in "/.-"),
    *((f"%m{mark}%d{mark}%Y", "month first") for mark in "/.-"),
    *((f"%Y{mark}%m{mark}%d", "year first") for mark in "/."),
    *((f"%d{mark}%m{mark}%y", "day first") for mark in "/.-"),
    *((f"%m{mark}%d{mark}%y", "month first") for mark in "/.-"),
    *((f"%y{mark}%m{mark}%d", "year first") for mark in "/.-"),
    ("%Y-%m", "months"),
    ("%d %b %Y", "names of months"),
    ("%d-%b-%Y", "names of months"),
    ("%d-%b-%y", "names of months"),
    ("%b %d, %Y", "names of months"),
    ("%d %B %Y", "names of months"),
    ("%B %d, %Y", "names of months"),
)
_TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p", "T%H:%M:%S")
_MAYBE = re.compile(  # what is worth a try
    r"(\d{1,4}[/.-]\d{1,2}([/.-]\d{1,4})?|\d{1,2}[ -][^\W\d]{3,9}[ -]\d{2,4}"
    r"|[^\W\d]{3,9} \d{1,2}, \d{4})([ T]\d{1,2}:[\d:.]+( [AaPp][Mm])?)?"
)


@dataclass(frozen=True)
class Dates:
    """The dates that distinct strings stand for.

    Attributes
    ----------
    values : ndarray of shape (n,), datetime64[us]
        The date of each string; NaT if it is none.
    format : str
        "" for ISO 8601, else the format of `datetime.strptime`.
    in_utc : bool
        Whether some strings have an offset from UTC; these dates are in UTC.
    mixed : bool
        Whether some strings have an offset and others have a time without one.
    """

    values: Array
    format: str = ""
    in_utc: bool = False
    mixed: bool = False


def are_dates(texts: Collection[str]) -> bool:
    """Whether all texts look like dates as ISO 8601 writes them, with or without a time.

    >>> are_dates(["2026-05-20", "2026-05-20 09:30", "2026-05-20T09:30:00Z"]), are_dates(["2026"])
    (True, False)
    """
    return bool(texts) and (_are_alike([*texts]) or all(map(_ISO.fullmatch, texts)))


def _are_alike(texts: Sequence[str]) -> bool:
    """Whether all texts are dates in the very form of the first one, which is soon seen."""
    first, joined = texts[0], "".join(texts)
    if _ISO.fullmatch(first) is None or not joined.isascii() or {*map(len, texts)} != {len(first)}:
        return False
    cells = np.frombuffer(joined.encode(), np.uint8).reshape(len(texts), len(first))
    marks = np.array([not character.isdigit() for character in first])
    digits = cells - np.uint8(ord("0"))  # other characters are above 9
    if (cells[:, marks] != cells[0, marks]).any() or (digits[:, ~marks] > 9).any():
        return False
    months, days = (10 * digits[:, i] + digits[:, i + 1] for i in (5, 8))
    return bool(((months > 0) & (months <= 12) & (days > 0) & (days <= 31)).all())


def read_dates(texts: Sequence[str], formats: Sequence[str] = ()) -> Dates | None:
    """Read distinct strings as dates; None if fewer than half of them are dates.

    Parameters
    ----------
    texts : sequence of str
        The strings, without those that stand for a missing value.
    formats : sequence of str
        Formats of `datetime.strptime`. The first of them that reads all strings counts, before
        ISO 8601.

    >>> read_dates(["2026-05-20T09:30+02:00", "soon"]).values.astype(str).tolist()
    ['2026-05-20T07:30:00.000000', 'NaT']
    >>> read_dates(["20.5.2026"], ["%d.%m.%Y"]).values.astype("M8[D]").astype(str).tolist()
    ['2026-05-20']
    """
    sample = texts[:_SAMPLE]
    for format in formats:
        if texts and all(_strptime(text, format) is not None for text in sample):
            found = [_strptime(text, format) for text in texts]
            if None not in found:
                return Dates(np.array(found, _UNIT), format, "%z" in format)
    if 2 * sum(_ISO.fullmatch(text) is not None for text in sample) < max(len(sample), 1):
        return None
    return _iso_dates(texts)


def other_formats(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Return the formats, other than ISO 8601, that read all texts, and what their orders are.

    >>> other_formats(["3/4/2026", "4/12/2026"])
    [('%d/%m/%Y', 'day first'), ('%m/%d/%Y', 'month first')]
    >>> other_formats(["3/4/2026", "4/13/2026"]), other_formats(["red"])
    ([('%m/%d/%Y', 'month first')], [])
    """
    sample = texts[:_SAMPLE]
    if not sample or not all(_may_be_date(text) for text in sample):
        return []
    found = [
        (day + time, order)
        for day, order in _DAYS
        for time in _TIMES
        if _strptime(sample[0], day + time) is not None
    ]
    return [each for each in found if all(_strptime(text, each[0]) is not None for text in sample)]


def check_format(format: object) -> str:
    """Return a format of `datetime.strptime`. Raises ValueError for another.

    >>> check_format("%d.%m.%Y")
    '%d.%m.%Y'
    """
    moment = datetime(2001, 12, 31, 13, 59, tzinfo=UTC)
    if isinstance(format, str) and re.search("%[Yy]", format):
        back = _strptime(moment.strftime(format), format)
        if back is not None and back.year == moment.year:
            return format
    raise ValueError(
        "a format of dates is one of datetime.strptime with the year in it, such as '%d.%m.%Y'; "
        f"got {format!r}"
    )


def _may_be_date(text: str) -> bool:
    return _MAYBE.fullmatch(text) is not None


def _strptime(text: str, format: str) -> datetime | None:
    try:
        moment = datetime.strptime(text, format)
    except ValueError:
        return None
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _iso_dates(texts: Sequence[str]) -> Dates:
    if _PLAIN.fullmatch(texts[0]) and _are_alike(texts):
        return Dates(_parsed([*texts]))
    plain: list[str] = []
    minutes = np.zeros(len(texts), np.int64)
    zoned = bare = 0
    for i, text in enumerate(texts):
        match = _ISO.fullmatch(text)
        if match is None:
            plain.append("NaT")
            continue
        day, time, fraction, utc, sign, hours, rest = match.groups()
        zoned += bool(utc or sign)
        bare += not (utc or sign)
        if sign:
            minutes[i] = (60 * int(hours) + int(rest or 0)) * (-1 if sign == "-" else 1)
        seconds = f".{fraction[:6]}" if fraction and time.count(":") == 2 else ""
        plain.append(f"{day}T{time}{seconds}" if time else day)
    values = _parsed(plain) - minutes.astype("m8[m]")
    return Dates(values, in_utc=zoned > 0, mixed=zoned > 0 and bare > 0)


def _parsed(plain: list[str]) -> Array:
    try:
        return np.array(plain, _UNIT)
    except ValueError:  # such as 30 February: one at a time
        return np.array([_one(text) for text in plain], _UNIT)


def _one(text: str) -> np.datetime64:
    try:
        return np.datetime64(text, "us")
    except ValueError:
        return np.datetime64("NaT", "us")
