"""docs/coming_from.md: right-hand cells run, and left-hand cells if their package is installed."""

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

import fastbp

PAGE = Path(__file__).parents[2] / "docs/coming_from.md"


def tables():
    """{heading: [(left, right), …]} of the page."""
    found = {}
    for section in PAGE.read_text(encoding="utf-8").split("\n## ")[1:]:
        heading, _, body = section.partition("\n")
        found[heading] = re.findall(r"^\| `(.+)` \| `(.+)` \|$", body, re.MULTILINE)
        assert len(found[heading]) == len(re.findall(r"^\|", body, re.MULTILINE)) - 2
    return found


def run(cells, folder, monkeypatch):
    """The names that are defined after running the cells in order in a new folder."""
    monkeypatch.chdir(folder)
    rng = np.random.default_rng(0)
    names = {"X": rng.standard_normal((64, 8)).astype(np.float32), "y": rng.integers(0, 3, 64)}
    with contextlib.redirect_stdout(io.StringIO()):
        for cell in cells:
            try:
                exec(cell, names)  # noqa: S102 - cells of a page of this repository, no input
            except Exception as error:
                raise AssertionError(f"the cell `{cell}` does not run") from error
    return names


@pytest.fixture(autouse=True)
def threads_as_before():
    n = fastbp.get_num_threads()
    yield
    fastbp.set_num_threads(n)


def test_every_right_hand_cell_runs(tmp_path, monkeypatch):
    rows = tables()
    assert list(rows) == ["scikit-learn", "PyTorch", "Training loops of PyTorch", "JAX", "Keras"]
    cells = [right for table in rows.values() for _, right in table]
    names = run(cells, tmp_path, monkeypatch)
    assert len(names["model"].loss_curve_) == 6
    assert names["out"].shape == (64, 3)
    assert np.isfinite(names["J"])
    assert {path.name for path in tmp_path.iterdir()} == {"net.safetensors"}


@pytest.mark.parametrize(
    ("sections", "package"),
    [(["scikit-learn"], "sklearn"), (["PyTorch", "Training loops of PyTorch"], "torch")],
)
def test_left_hand_cells_run(sections, package, tmp_path, monkeypatch):
    pytest.importorskip(package, reason=f"{package} is not installed")
    rows = tables()
    cells = [left for section in sections for left, _ in rows[section]]
    run(cells, tmp_path, monkeypatch)
