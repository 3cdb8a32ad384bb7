"""Where a date lies in the cycles of the calendar, in whole numbers, as exports compute it too.

The day of the year and of the month follow from the days since 1970 by whole-number arithmetic on
years that begin in March, so that the leap day is the last of its year (H. Hinnant,
"chrono-compatible low-level date algorithms", 2014).
"""

from __future__ import annotations

import numpy as np

from .._types import Array

DAY = 86_400_000_000  # microseconds
# The cycles and their lengths, in days; those of the day are in microseconds.
CYCLES = {"day of year": 366, "day of month": 31, "weekday": 7, "time of day": DAY}
# For each cycle of whole days, sine and cosine of each day, (length, 2).
WAVES = {
    name: np.stack([f(2 * np.pi / n * np.arange(n)) for f in (np.sin, np.cos)], axis=1)
    for name, n in CYCLES.items()
    if n < DAY
}
_SHIFT = 719_468  # days from March 1 of the year 0 to 1970
_ERA = 146_097  # days in 400 years


def microseconds(dates: Array) -> Array:
    """Microseconds since 1970 as int64 (n,); those of NaT mean nothing."""
    return dates.astype("datetime64[us]").view(np.int64)


def days(dates: Array) -> Array:
    """Days since 1970 with their fraction, float64 (n,); NaN where there is no date.

    >>> days(np.array(["1970-01-02T12", "NaT"], "datetime64[us]")).tolist()
    [1.5, nan]
    """
    return np.where(np.isnat(dates), np.nan, microseconds(dates) / DAY)


def positions(dates: Array) -> dict[str, Array]:
    """For each cycle, where the dates lie in it, int64 (n,), from 0 to less than its length.

    The year begins in March, the week on Monday.

    >>> found = positions(np.array(["2024-02-29", "2024-03-01T00:00:01"], "datetime64[us]"))
    >>> [at.tolist() for at in found.values()]
    [[365, 0], [28, 0], [3, 4], [0, 1000000]]
    """
    since = microseconds(dates)
    day = since // DAY
    of_era = (day + _SHIFT) % _ERA
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    return {
        "day of year": of_year,
        "day of month": of_year - (153 * month + 2) // 5,
        "weekday": (day + 3) % 7,
        "time of day": since - day * DAY,
    }


def varying(dates: Array) -> tuple[str, ...]:
    """The cycles in which dates differ, without NaT.

    The weekday counts only where the day of the month varies: the first days of months and years
    fall on all weekdays.
    """
    known = dates[~np.isnat(dates)]
    if not len(known):
        return ()
    found = [name for name, at in positions(known).items() if at.min() < at.max()]
    if "day of month" not in found and "weekday" in found:
        found.remove("weekday")
    return tuple(found)


def cycles(dates: Array, names: tuple[str, ...]) -> Array:
    """Sine and cosine of the angle in each cycle, float64 (n, 2·len(names)); 0 for NaT."""
    found = np.empty((len(dates), 2 * len(names)))
    if names:
        at = positions(dates)
        for i, name in enumerate(names):
            places = slice(2 * i, 2 * i + 2)
            if name in WAVES:
                found[:, places] = WAVES[name][at[name]]
            else:
                angle = at[name] * (2 * np.pi / CYCLES[name])
                found[:, places] = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    found[np.isnat(dates)] = 0
    return found
