"""Every example in docstrings, the README and docs/ runs and prints what it shows; links work.

On pages, this includes commands of fastbp: the lines that begin with `    $ fastbp`.

The API reference of the documentation site is checked here without the tools of the site.
"""

import contextlib
import doctest
import importlib
import inspect
import io
import math
import pkgutil
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

import fastbp
from fastbp.__main__ import main
from fastbp._config import isa

ROOT = Path(__file__).parents[2]
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
# Modules that need an extra, and a package of that extra.
NEEDS = {"fastbp.sklearn": "sklearn"}


def modules():
    found = pkgutil.walk_packages(fastbp.__path__, "fastbp.")
    return ["fastbp", *sorted(m.name for m in found if not m.name.endswith("__main__"))]


def run(test):
    report = []
    doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(test, out=report.append)
    assert not report, "".join(report)


def calls_of_commands(text):
    """Replace each `$ fastbp …` of an indented block, and its output, by a call of `shell`."""
    block = re.compile(r"^    \$ fastbp (.+)\n((?:    (?!\$ ).*\n)*)", re.MULTILINE)
    return block.sub(lambda found: f"    >>> shell({found[1]!r}, {found[2]!r})\n", text)


def shell(command, expected):
    """Run a command of fastbp, and compare what it prints with a page.

    Numbers may differ as they do between instruction sets: by 10 % or by 0.1. A forecast of the
    time may be any.
    """
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            main(shlex.split(command))
        except SystemExit as error:  # of argparse, for wrong arguments
            print(error, file=printed)
    bars = re.compile(r"[^\n]*\r[^\n]*\n?")
    got, want = bars.sub("", printed.getvalue()), expected.replace("on avx2", f"on {isa()}")
    got, want = (re.sub(r"about [\d.]+ s", "about # s", text) for text in (got, want))
    assert same_but_for_numbers(got, want), f"fastbp {command} prints:\n{got}"


def same_but_for_numbers(got, want):
    number = r"\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]\d+)?"
    values = [[float(n.replace(",", "")) for n in re.findall(number, text)] for text in (got, want)]
    words = [re.sub(number, "#", text).split() for text in (got, want)]
    near = (math.isclose(a, b, rel_tol=0.1, abs_tol=0.1) for a, b in zip(*values, strict=False))
    return words[0] == words[1] and all(near)


def names_for_examples(module):
    """The names of a module and of its private modules, which define its classes."""
    private = [
        each for name, each in sys.modules.items() if name.startswith(f"{module.__name__}._")
    ]
    return {name: thing for each in (*private, module) for name, thing in vars(each).items()}


@pytest.mark.parametrize("name", modules())
def test_docstring_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    for test in finder.find(module, globs=names_for_examples(module)):
        run(test)


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda p: p.name
)
def test_page_examples(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = re.sub(r"^```.*", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    text, names = calls_of_commands(text), {"shell": shell}
    run(doctest.DocTestParser().get_doctest(text, names, path.name, str(path), 0))


def links(path):
    """Targets of the links in a page that are files of this repository."""
    found = re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))
    return [target.partition("#")[0] for target in found if not re.match(r"[a-z]+:|#", target)]


@pytest.mark.parametrize(
    "folder", [".", "docs", "examples", "tests", "csrc", "benchmarks", "docs/site"]
)
def test_links_to_files(folder):
    for path in (ROOT / folder).glob("*.md"):
        broken = [target for target in links(path) if not (path.parent / target).exists()]
        assert not broken, f"{folder}/{path.name} links to {broken}"


def test_the_index_lists_every_page():
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    listed = {target for target in links(ROOT / "docs/README.md") if "/" not in target}
    assert pages == listed, "docs/README.md does not list every page of docs/"


@pytest.fixture(scope="module")
def reference():
    """{full name: page} of the API reference, modules included."""
    pytest.importorskip("sklearn", reason="fastbp.sklearn cannot be imported")
    pages = runpy.run_path(str(ROOT / "docs/site/api.py"))["pages"]()
    found = {page.path: page for page in pages}
    return found | {f"{page.module.__name__}.{name}": page for page in pages for name in page.names}


def test_api_reference_has_every_public_name(reference):
    for module in filter(inspect.ismodule, map(pkgutil.resolve_name, reference)):
        names = {name for name in module.__all__ if not name.startswith("__")}
        missing = {name for name in names if f"{module.__name__}.{name}" not in reference}
        assert not missing, f"no page of the API reference documents {missing} of {module.__name__}"


def test_api_reference_has_every_public_module(reference):
    for module in pkgutil.iter_modules(fastbp.__path__, "fastbp."):
        assert "._" in module.name or module.name in reference


def test_public_names_have_docstrings(reference):
    things = {name: pkgutil.resolve_name(name) for name in reference}
    kinds = (inspect.isclass, inspect.isroutine, inspect.ismodule)
    things = {name: thing for name, thing in things.items() if any(kind(thing) for kind in kinds)}
    bare = [name for name, thing in things.items() if not inspect.getdoc(thing)]
    assert not bare, f"public names without a docstring: {bare}"


def arguments(thing):
    """The names of the arguments of a function or a constructor."""
    return [name for name in inspect.signature(thing).parameters if name not in ("self", "cls")]


def described_arguments(thing):
    """The names in the section Parameters of a docstring; None without that section."""
    parts = re.split(r"^(\w[\w ]*)\n-{3,}$", inspect.getdoc(thing), flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    if "Parameters" not in sections:
        return None
    entries = re.findall(r"^(\S[^:\n]*?)(?: :.*)?$", sections["Parameters"], re.MULTILINE)
    return [name.strip().lstrip("*") for entry in entries for name in entry.split(",")]


def test_docstrings_list_the_arguments(reference):
    """With more than three arguments there is a section Parameters, which names exactly these."""
    for name, thing in ((name, pkgutil.resolve_name(name)) for name in reference):
        methods = vars(thing) if inspect.isclass(thing) else []
        public = [f"{name}.{each}" for each in methods if not each.startswith("_")]
        for full_name in [name, *public]:
            each = pkgutil.resolve_name(full_name)
            if not (inspect.isfunction(each) or inspect.isclass(each)) or not inspect.getdoc(each):
                continue
            described = described_arguments(each)
            if described is not None:
                assert sorted(described) == sorted(arguments(each)), full_name
            elif not needs_no_list(each):
                assert len(arguments(each)) <= 3, f"{full_name} has no section Parameters"


def needs_no_list(thing):
    """Exceptions, and results, which users do not construct and whose attributes are listed."""
    error = inspect.isclass(thing) and issubclass(thing, Exception)
    return error or "Attributes\n---" in inspect.getdoc(thing)


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda p: p.name
)
def test_names_on_pages_are_in_the_api_reference(path, reference):
    for name in re.findall(r"`(fastbp(?:\.\w+)+)(?:\([^`]*\))?`", path.read_text(encoding="utf-8")):
        documented = name
        while documented not in reference:
            documented = documented.rpartition(".")[0]
        member = hasattr(pkgutil.resolve_name(documented), name[len(documented) + 1 :])
        module = inspect.ismodule(pkgutil.resolve_name(documented))
        assert documented == name or (member and not module), (
            f"{path.name} says {name}, which is not a public name: is it in `__all__`?"
        )


def test_gallery_has_every_display():
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    drawn = runpy.run_path(str(ROOT / "docs/site/gallery.py"))["DRAWN"]
    displays = {name for name in fastbp.plot.__all__ if name.endswith("Display")}
    assert {function.__name__ for function in drawn} == displays
