"""Examples in docstrings become code blocks wherever they stand, not under "Examples" alone."""

import re

import griffe


class ConsoleExamples(griffe.Extension):
    """Fences each run of lines that begins with `>>>` and ends before an empty line."""

    def on_object(self, *, obj, **_):
        if obj.docstring and "\nExamples\n---" not in obj.docstring.value:
            obj.docstring.value = re.sub(
                r"^>>> .*(?:\n.+)*(?:\n\n>>> .*(?:\n.+)*)*",
                r"```pycon\n\g<0>\n```",
                obj.docstring.value,
                flags=re.MULTILINE,
            )
