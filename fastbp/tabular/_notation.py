"""Recognise numbers in a notation that the reader does not accept, and missing values.

The reader accepts only plain numbers. In a column of numbers, each cell that this module recognises
is an error. Otherwise such cells could become wrong numbers or hundreds of classes.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Iterable

from ._scan import Format
from ._words import is_missing, is_plain

MINUS = "\u2212"  # read as a hyphen is
_LIKE = re.compile(r"[+-]?[\d.,' _\u00a0\u2009\u202f\u2019]*\d[\d.,]*([eE][+-]?\d+)?", re.ASCII)
_LONGEST = 64  # characters of a number in another notation; patterns can be very slow on long text
FORM = str.maketrans("23456789", "11111111")  # the notation of a number depends on 0 and non-0
_SAMPLE = 1000  # distinct strings of a column that are examined

_DECIMAL = "a decimal comma (--decimal ,)"
_AMBIGUOUS = "a decimal comma (--decimal ,) or a thousands separator (--thousands ,)"
_GROUP = r"[+-]?\d{{1,3}}({mark}\d{{3}})+"
_EXPONENT = r"([eE][+-]?\d+)?"

# Patterns of the whole cell, and their meaning; the first that matches counts.
_NOTATIONS = [
    (re.compile(pattern, re.ASCII), what)
    for pattern, what in [
        (_GROUP.format(mark="_") + r"(\.\d*)?", "underscores between digits (--thousands _)"),
        (r"[+-]?0[xX][0-9a-fA-F]+", "hexadecimal digits; write decimal ones"),
        (r"[+-]?[\d.]*\d[\d.]*[dD][+-]?\d+", "a Fortran exponent; write e for d"),
        (r"\([\d.,]*\d[\d.,]*\)", "parentheses for a negative number; write -"),
        (_GROUP.format(mark=r"\.") + r",\d*", "--decimal , --thousands ."),
        (_GROUP.format(mark=",") + r"\.\d*", "a thousands separator (--thousands ,)"),
        (r"[+-]?\d{1,3},\d{3}", _AMBIGUOUS),
        (_GROUP.format(mark=","), "a thousands separator (--thousands ,)"),
        (r"[+-]?\d*,\d+" + _EXPONENT, _DECIMAL),
        (r"[+-]?\d+,", _DECIMAL),
        (r"[+-]?\d{1,3}(\.\d{3}){2,}", "a thousands separator (--thousands .)"),
        (_GROUP.format(mark="['\u2019]") + r"(\.\d*)?", 'a thousands separator (--thousands "\'")'),
        (
            _GROUP.format(mark="[ \u00a0\u2009\u202f]") + r"([.,]\d*)?",
            "blanks between groups of digits (--thousands ' ')",
        ),
    ]
]
_CURRENCIES = ("USD", "EUR", "GBP", "CHF", "JPY", "CNY", "INR", "CAD", "AUD")


def other_notation(text: str, format: Format) -> str | None:
    """Describe the notation of a number that is not plain, and the remedy; None if it is no number.

    >>> other_notation("12%", Format()), other_notation("twelve", Format())
    ('a percent sign (--units % reads it without)', None)
    """
    text = f"-{text[1:]}" if text[:1] == MINUS else text
    if is_plain(text):
        marks = f"--decimal {format.decimal}" + (
            f" --thousands {format.thousands!r}" if format.thousands else ""
        )
        plain = Format(format.delimiter)
        return f"a notation other than {marks}" if format != plain and "." in text else None
    if len(text) > _LONGEST:
        return _several(text)
    for pattern, what in _NOTATIONS:
        if pattern.fullmatch(text):
            return what
    return _signs(text) or _several(text)


def looks_numeric(texts: Iterable[str], format: Format) -> str | None:
    """Return the first of a column's distinct strings that is a number in another notation.

    A single word may look like a number. So the result is None unless at least half of the strings,
    not counting missing values, are numbers in some notation.
    """
    found, like, n = None, 0, 0
    forms: dict[str, bool] = {}
    for text, _ in zip(texts, range(_SAMPLE), strict=False):
        if is_missing(text):
            continue
        n += 1
        form = text.translate(FORM)
        if form not in forms:
            forms[form] = other_notation(text, format) is not None
        other = forms[form]
        like += other or is_plain(text)
        found = text if other and found is None else found
    return found if 2 * like >= n else None


def _signs(text: str) -> str | None:
    """Recognise signs around a number (minus, percent, currency), and digits of other scripts."""
    if text[:1] in ("\u2013", "\ufe63", "\uff0d") and _LIKE.fullmatch(text[1:]):
        return f"the minus sign U+{ord(text[0]):04X}; write -"
    if text[-1:] in ("%", "\u2030") and _LIKE.fullmatch(text[:-1].strip()):
        return f"a percent sign (--units {text[-1]} reads it without)"
    bare = text
    for code in _CURRENCIES:
        bare = bare.removeprefix(code).removesuffix(code)
    bare = "".join(c for c in bare if unicodedata.category(c) != "Sc").strip()
    if bare != text and _LIKE.fullmatch(bare):
        sign = next(c for c in (*_CURRENCIES, *text) if c in text and c not in bare)
        return f"a currency sign (--units {shlex.quote(sign)} reads it without)"
    if re.fullmatch(r"[+-]?\d+[.,]?\d*", text) and not text.isascii():
        return "digits other than 0 … 9"
    return None


def _is_like(part: str) -> bool:
    return len(part) <= _LONGEST and _LIKE.fullmatch(part.strip()) is not None


def _several(text: str) -> str | None:
    """Recognise several numbers with a possible delimiter of the file between them."""
    for mark, name in ((";", "';'"), ("\t", "tab"), ("|", "'|'"), (None, "' '")):
        parts = text.split(mark)
        if len(parts) > 1 and all(map(_is_like, parts)):
            return f"several numbers, separated by a possible delimiter (--delimiter {name})"
    return None
