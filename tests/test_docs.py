"""Every example in docstrings, the README and docs/ runs and prints what it says; links lead on."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import fastbp

ROOT = Path(__file__).parents[1]
FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
# Modules that need an extra, and what it brings.
NEEDS = {"fastbp.sklearn": "sklearn"}


def modules():
    found = pkgutil.walk_packages(fastbp.__path__, "fastbp.")
    return ["fastbp", *sorted(m.name for m in found if not m.name.endswith("__main__"))]


def run(test):
    report = []
    doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(test, out=report.append)
    assert not report, "".join(report)


@pytest.mark.parametrize("name", modules())
def test_docstring_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    for test in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name)):
        run(test)


@pytest.mark.parametrize(
    "path", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda p: p.name
)
def test_page_examples(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = re.sub(r"^```.*", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    run(doctest.DocTestParser().get_doctest(text, {}, path.name, str(path), 0))


def links(path):
    """Targets of the links in a page that are files of this repository."""
    found = re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))
    return [target.partition("#")[0] for target in found if not re.match(r"[a-z]+:|#", target)]


@pytest.mark.parametrize("folder", [".", "docs", "examples", "tests", "csrc", "benchmarks"])
def test_links_to_files(folder):
    for path in (ROOT / folder).glob("*.md"):
        broken = [target for target in links(path) if not (path.parent / target).exists()]
        assert not broken, f"{folder}/{path.name} links to {broken}"


def test_every_page_is_in_the_index():
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    listed = {target for target in links(ROOT / "docs/README.md") if "/" not in target}
    assert pages == listed, "every page in docs/ has its line in the table of docs/README.md"
