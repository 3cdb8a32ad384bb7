"""Extensions of griffe, which reads the sources for the API reference without running them.

One turns examples in docstrings into code blocks, also outside of the section "Examples". The other
takes the constructors of optimisers from the classes themselves: `Declared` makes their signatures
and lists of parameters at run time.
"""

import importlib
import inspect
import re

import griffe

from fastbp.optim._hyper import Declared


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


class DeclaredConstructors(griffe.Extension):
    """Give subclasses of `Declared` the signature and the docstring that they have at run time."""

    def on_class_members(self, *, cls, **_):
        if not cls.module.path.startswith("fastbp.optim."):
            return
        found = getattr(importlib.import_module(cls.module.path), cls.name)
        if not issubclass(found, Declared) or found is Declared:
            return
        cls.docstring.value = inspect.getdoc(found)
        parameters = [
            griffe.Parameter(
                each.name,
                annotation=each.annotation,
                kind=griffe.ParameterKind[each.kind.name.lower()],
                default=repr(each.default),
            )
            for each in inspect.signature(found).parameters.values()
        ]
        own = griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)
        cls.set_member(
            "__init__", griffe.Function("__init__", parameters=griffe.Parameters(own, *parameters))
        )
