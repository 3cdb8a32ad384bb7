"""benchmarks/convergence.py runs, and its table has a line per precision."""

import re
import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "convergence.py"


def test_the_program_prints_a_table(capsys, monkeypatch, tmp_path):
    options = ["--tasks", "digits,fashion-mnist", "--seeds", "2", "--epochs", "1"]
    monkeypatch.setattr(sys, "argv", ["convergence.py", *options, "--folder", str(tmp_path)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    out = capsys.readouterr().out
    lines = [line.split(" | ") for line in out.splitlines() if line.startswith("|")]
    assert {len(cells) for cells in lines[2:]} == {6}
    assert [cells[1] for cells in lines[2:]] == ['`"highest"`', '`"high"`', '`"medium"`']
    number = r"[+-]?\d+(\.\d+)?"
    for cells in lines[2:]:
        assert all(re.fullmatch(f"{number} ± {number}", cell) for cell in cells[2:4])
    assert [cell.strip(" |") for cell in lines[2][4:]] == ["", ""]
    for cells in lines[3:]:
        assert all(re.fullmatch(f"{number} ± {number}", cell.strip(" |")) for cell in cells[4:])
    assert "digits: 64-128-64-10, relu, batch 32, 1 epoch, Adam" in out
    assert "fashion-mnist is left out" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tasks", "digits,nonsense"], "--tasks: unknown 'nonsense'; known: digits, fashion"),
        (["--seeds", "0"], "--seeds must be at least 2, for a deviation; got 0"),
        (["--seeds", "1"], "--seeds must be at least 2, for a deviation; got 1"),
        (["--epochs", "0"], "--epochs must be at least 1; got 0"),
    ],
)
def test_the_program_refuses_bad_arguments(capsys, monkeypatch, options, message):
    monkeypatch.setattr(sys, "argv", ["convergence.py", *options])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert caught.value.code == 2 and message in capsys.readouterr().err
