"""Text from files and arguments, for messages that people read on a terminal."""

from __future__ import annotations

MOST = 4_000  # characters of a message: ten lines of problems, each with names and cells


def readable(text: str, most: int = MOST) -> str:
    r"""Return a text without characters that control a terminal, and without most of a long one.

    Characters that are not printable are escaped, as `repr` does it, except line breaks. They could
    move the cursor, change colours or the direction of the text, and so forge what is on a screen.

    >>> readable("a\x1b[2Jb\u202e"), readable("x" * 50, 20)
    ('a\\x1b[2Jb\\u202e', 'xxxxxxxxxxxxxxx…xxxxx')
    """
    if len(text) > most:
        text = f"{text[: most * 3 // 4]}…{text[len(text) - most // 4 :]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
