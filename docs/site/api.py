"""The API reference: which page documents which public name.

A name is public if it is in the `__all__` of fastbp or of one of its public modules. So a new name
appears in the reference without a change here. This module needs fastbp and its extras, but not the
tools of the site.
"""

import importlib
import inspect
import pkgutil
from dataclasses import dataclass, field
from types import ModuleType

import fastbp


@dataclass
class Page:
    """One page of the reference, `api/<path>.md`: either a module with `names`, or one class."""

    path: str  # the dotted name of the module or class
    module: ModuleType
    names: list[str] = field(default_factory=list)


def modules():
    """fastbp and its public modules, which are those without an underscore."""
    names = sorted(m.name for m in pkgutil.iter_modules(fastbp.__path__) if m.name[0] != "_")
    return [fastbp, *(importlib.import_module(f"fastbp.{name}") for name in names)]


def pages():
    """Return the pages: one for each module, and one for each class of `fastbp` itself."""
    found = []
    for module in modules():
        page = Page(module.__name__, module)
        found.append(page)
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.ismodule(thing) or name == "__version__":
                continue
            if module is fastbp and inspect.isclass(thing):
                found.append(Page(f"fastbp.{name}", module, [name]))
            else:
                page.names.append(name)
    return found


def markdown(page):
    """Return a page as directives of mkdocstrings."""
    if page.path != page.module.__name__:
        return directive(page.path, 1)
    head = directive(page.path, 1, members="[]")
    return head + "".join(directive(f"{page.path}.{name}", 2) for name in page.names)


def directive(name, level, **options):
    """Return the directive of mkdocstrings for one name."""
    given = {"heading_level": level, **options}
    lines = "".join(f"      {key}: {value}\n" for key, value in given.items())
    return f"::: {name}\n    options:\n{lines}\n"


def index():
    """Return the first page: for each module, a table of names with their summaries."""
    text = ["# API reference\n"]
    everything = pages()
    for module in modules():
        name = module.__name__
        text.append(f"## [{name}]({name}.md)\n\n{summary(module)}\n\n| name | |\n|---|---|")
        for page in everything:
            if page.module is module:
                text += [row(page, public) for public in page.names]
        text.append("")
    return "\n".join(text)


def row(page, name):
    """Return the row of one name in the table of its module."""
    full = f"{page.module.__name__}.{name}"
    return f"| [`{name}`]({page.path}.md#{full}) | {summary(getattr(page.module, name))} |"


def summary(thing):
    """Return the first paragraph of a docstring as one line; nothing for a constant."""
    if not (callable(thing) or inspect.ismodule(thing)):
        return ""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split()).replace("|", "\\|")
