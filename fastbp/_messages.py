"""Text from files and arguments, for messages that people read on a terminal."""

from __future__ import annotations

MESSAGE = 4_000  # characters of a message: ten lines of problems, each with names and cells
QUOTE = 1_000  # characters of what a message repeats of a file
RESET_STATISTICS = (
    "set layer.running_mean[:] = 0 and layer.running_var[:] = 1 for the layers with batch norm, "
    "or make a new network"
)


def printable(text: str) -> str:
    r"""Return a text in which characters that are not printable are escaped, as `repr` does it.

    They could move the cursor, change colours or the direction of the text, and so forge what is on
    a screen. Line breaks stay.

    >>> printable("a\x1b[2J\nb\u202e")
    'a\\x1b[2J\nb\\u202e'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def readable(text: str, most: int = MESSAGE) -> str:
    r"""Return a text as `printable` does, without its middle if it has more than `most` characters.

    >>> readable("x" * 50, 20), readable("\x1b" * 50, 20)
    ('xxxxxxxxxxxxxxx…xxxx', '\\x1b\\x1b\\x1b\\x1…\\x1b')
    """
    return _shortened(printable(_shortened(text, most)), most)


def _shortened(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    head = most * 3 // 4
    return f"{text[:head]}…{text[len(text) - (most - head - 1) :]}"
