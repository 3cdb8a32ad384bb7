"""benchmarks/uncertainty.py runs, and its table and its picture have a line per model."""

import re
import runpy
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

pytestmark = pytest.mark.once
ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "uncertainty.py"


def test_the_program_prints_a_table(capsys):
    runpy.run_path(str(SCRIPT))["main"](["--splits", "2", "--members", "3", "--epochs", "10"])
    rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0] for row in rows] == [
        "one network",
        "spread of members",
        "ensemble with variance",
    ]
    for row in rows:
        assert all(re.fullmatch(r"\d+\.\d%", cell) for cell in row[1:4])
        assert all(re.fullmatch(r"-?\d+\.\d+", cell) for cell in row[4:])
    shares = {row[0]: float(row[2].rstrip("%")) for row in rows}
    assert shares["spread of members"] < shares["one network"]


def test_the_picture(tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    path = tmp_path / "shares.png"
    options = ["--splits", "1", "--members", "2", "--epochs", "2", "--plot", str(path)]
    runpy.run_path(str(SCRIPT))["main"](options)
    assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size < 100_000
    assert f"{path}: " in capsys.readouterr().out
    assert (ROOT / "docs" / "uncertainty.png").stat().st_size < 60_000
