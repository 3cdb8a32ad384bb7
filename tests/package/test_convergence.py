"""benchmarks/convergence.py runs, and its table has a line per precision."""

import runpy
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "convergence.py"


def test_the_program_prints_a_table(capsys, monkeypatch, tmp_path):
    options = ["--tasks", "digits,fashion-mnist", "--seeds", "2", "--epochs", "1"]
    monkeypatch.setattr(sys, "argv", ["convergence.py", *options, "--folder", str(tmp_path)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    out = capsys.readouterr().out
    lines = [line.split(" | ") for line in out.splitlines() if line.startswith("|")]
    assert {len(cells) for cells in lines[2:]} == {6}
    assert [cells[1] for cells in lines[2:]] == ['`"highest"`', '`"high"`', '`"medium"`']
    assert lines[3][2] == lines[2][2]  # as far as digits are shown
    assert "digits: 64-128-64-10, relu, batch 32, 1 epochs" in out
    assert "fashion-mnist is left out" in out
