"""Numbers that are read otherwise if asked to: those with a unit, and those that mean a hole."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .._core import CELL_KINDS, CsvPass
from .._types import Array
from ._scan import Format, Scan
from ._words import is_missing

_DIGITS_KIND, _NUMBER, _CODE, _TEXT = map(CELL_KINDS.get, ("digits", "number", "code", "text"))
_BETWEEN = "\x1f"  # the delimiter of cells that are read as numbers; no number has it
_LONGEST = 64  # characters of a number with its unit
_DIGITS = r"[+-]?[\d.,' _\u00a0\u2009\u202f\u2019]*\d[\d.,]*(?:[eE][+-]?\d+)?"


def without_sentinels(scan: Scan) -> Scan:
    """Take the numbers that `na` names, such as -999, for text, which then is a missing value."""
    sentinels = scan.format.sentinels
    changed = replace(scan, kinds=scan.kinds.copy(), counts=scan.counts.copy())
    changed = replace(changed, first=scan.first.copy())
    for column in range(len(scan.head)):
        found = np.isin(scan.values[:, column], sentinels)
        if not found.any():
            continue
        scan.forget([column])
        rows = np.flatnonzero(found[1:]) + 1
        values = scan.values[:, column].copy()
        scan.values[found, column] = np.nan
        if found[0]:
            changed.kinds[column] = _TEXT
        if len(rows):
            counts, first = changed.counts[column], changed.first[column]
            first[_TEXT] = min(rows[0], first[_TEXT]) if counts[_TEXT] else rows[0]
            counts[_TEXT] += len(rows)
            whole, left = int((values[rows] >= 0).sum()), len(rows)
            for kind, most in ((_DIGITS_KIND, whole), (_NUMBER, left), (_CODE, left)):
                n = min(most, left, int(counts[kind]))
                counts[kind] -= n
                left -= n
    return changed


def with_units(scan: Scan) -> Scan:
    """Read numbers with units in the columns where most cells that are no numbers are such."""
    columns = np.flatnonzero(scan.counts[:, _TEXT]).tolist()
    changed = replace(scan, kinds=scan.kinds.copy(), counts=scan.counts.copy())
    changed = replace(changed, first=scan.first.copy())
    for column, (texts, codes) in scan.others(columns).items():
        numbers = numbers_with_units(texts.tolist(), scan.format)
        words = np.array([not is_missing(text) for text in texts.tolist()], bool)
        words[codes[0]] &= codes[0] < 0 or (codes[1:] == codes[0]).any()  # line 1 may be names
        if 2 * np.isfinite(numbers).sum() >= words.sum():
            _convert(changed, column, np.append(numbers, np.nan)[codes])
    return changed


def _convert(scan: Scan, column: int, numbers: Array) -> None:
    """Put finite numbers (n,) into a column, and count their cells as numbers."""
    found = np.isfinite(numbers)
    scan.forget([column])
    scan.values[found, column] = numbers[found]
    if found[0]:
        scan.kinds[column] = _NUMBER
    rows = np.flatnonzero(found[1:]) + 1
    if len(rows) == 0:
        return
    counts, first = scan.counts[column], scan.first[column]
    first[_NUMBER] = min(rows[0], first[_NUMBER]) if counts[_NUMBER] else rows[0]
    counts[_NUMBER] += len(rows)
    counts[_TEXT] -= len(rows)
    if counts[_TEXT]:
        texts, codes = scan.others([column])[column]
        words = np.flatnonzero(texts != "")
        first[_TEXT] = np.flatnonzero(np.isin(codes[1:], words))[0] + 1


def numbers_with_units(texts: Sequence[str], format: Format) -> Array:
    """Return the numbers that are left of texts without a unit of `format`; NaN for other texts.

    >>> numbers_with_units(["12 %", "-$5", "kg", "1e3%"], Format(units=("%", "$"))).tolist()
    [12.0, -5.0, nan, 1000.0]
    """
    unit = "|".join(sorted(map(re.escape, format.units), key=len, reverse=True))
    around = re.compile(
        rf"(?P<sign>[+\-\u2212]?)\s*(?:(?:{unit})\s*(?P<after>{_DIGITS})"
        rf"|(?P<before>{_DIGITS})\s*(?:{unit}))"
    )
    places, cells = [], []
    for i, text in enumerate(texts):
        match = around.fullmatch(text)
        if match is not None and len(text) < _LONGEST:
            number = (match["after"] or match["before"]).strip()
            if not (match["sign"] and number[0] in "+-"):
                places.append(i)
                cells.append(match["sign"] + number)
    numbers = np.full(len(texts), np.nan)
    numbers[places] = _read(cells, format)
    return numbers


def _read(cells: Sequence[str], format: Format) -> Array:
    block = bytearray("\n".join([*cells, ""]).encode())
    n, shape = len(cells), (1, len(CELL_KINDS))
    values, lines, kinds = np.empty((n, 1)), np.empty(n, np.int64), np.empty(1, np.uint8)
    counts, first = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    if n:
        reader = CsvPass(_BETWEEN, format.decimal, format.thousands, 1)
        reader.numbers(block, 0, len(block), True, values, lines, counts, first, kinds)
    return values[:, 0]
