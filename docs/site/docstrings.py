"""Turn examples in docstrings into code blocks, also outside of the section "Examples"."""

import re

import griffe


class ConsoleExamples(griffe.Extension):
    """Put each group of lines that begins with `>>>` and ends before an empty line into a fence."""

    def on_object(self, *, obj, **_):
        if obj.docstring and "\nExamples\n---" not in obj.docstring.value:
            obj.docstring.value = re.sub(
                r"^>>> .*(?:\n.+)*(?:\n\n>>> .*(?:\n.+)*)*",
                r"```pycon\n\g<0>\n```",
                obj.docstring.value,
                flags=re.MULTILINE,
            )
