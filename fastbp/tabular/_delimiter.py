"""Find the character between the cells of a .csv file, from its first lines."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..errors import DataError
from ._bytes import TextFile, without_compression

TAB = "\t"
CANDIDATES = (",", ";", TAB, "|")
_BYTES = 1 << 16  # at the start of a file that are looked at
_RECORDS = 50


def is_tsv(path: str) -> bool:
    """Whether the name of a file says that tabs separate its cells.

    >>> is_tsv("houses.tsv.gz"), is_tsv("houses.csv")
    (True, False)
    """
    return without_compression(path).lower().endswith((".tsv", ".tab"))


def find_delimiter(file: TextFile, comment: str) -> str:
    """Return the candidate that each of the first records has the same number of times.

    The candidates are `, ; |` and tab; those within quotes do not count. A comma is returned if
    none of them is such.

    Raises
    ------
    DataError
        There is more than one.
    """
    start = file.first(_BYTES)
    counts = list(_records(start.decode(errors="replace"), comment, whole=len(start) < _BYTES))
    found = [
        mark
        for i, mark in enumerate(CANDIDATES)
        if counts and counts[0][i] > 0 and all(each[i] == counts[0][i] for each in counts)
    ]
    if len(found) > 1:
        names = [{TAB: "tab"}.get(mark, f"'{mark}'") for mark in found]
        raise DataError(
            f"{file.source}: cells may be separated by {' or '.join(names)}: say which by "
            f"--delimiter {' or --delimiter '.join(names)}"
        )
    return found[0] if found else ","


def _records(text: str, comment: str, *, whole: bool) -> Iterator[list[int]]:
    """Yield how often each candidate is outside of quotes, by record.

    The last record does not count unless `whole`, since it may go on.
    """
    counts, quoted, n = dict.fromkeys(CANDIDATES, 0), False, 0
    lines = re.split(r"\r\n|\r|\n", text)
    for i, line in enumerate(lines):
        if not quoted and (not line.strip() or (comment and line.lstrip()[:1] == comment)):
            continue
        for character in line:
            quoted ^= character == '"'
            if character in counts and not quoted:
                counts[character] += 1
        if not quoted and (whole or i + 1 < len(lines)):
            yield list(counts.values())
            counts, n = dict.fromkeys(CANDIDATES, 0), n + 1
            if n == _RECORDS:
                return
