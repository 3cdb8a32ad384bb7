"""The programs in examples/ run, and their results are as good as they say."""

import ast
import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples"
PROGRAMS = sorted(FOLDER.glob("*.py"))
ON_RANKS = {"many_machines"}  # tests/ranks/test_many_machines_page.py runs it with a launcher


def digits(accuracy):
    assert accuracy > 0.95


def own_activation(found):
    accuracy, beta = found
    assert accuracy > 0.95 and 0.9 < beta[0] < beta[-1] < 1.9


def search(found):
    (best, median), cost = found
    assert best > 0.95 and median < best and 0.10 < cost < 0.12


def spiral(accuracy):
    assert min(accuracy) > 0.95


def surrogate_ode(errors):
    state, slopes = errors
    assert state < 0.02 and slopes < 0.3


def uncertainty(found):
    share, sigma_error = found
    assert min(share["constant"]) < 0.8
    assert min(share["gaussian"] + share["quantile"]) > 0.82
    assert max(share["gaussian"] + share["quantile"]) < 0.97 and sigma_error < 0.2


def ensemble(found):
    accuracy, log_loss, mistakes, pairs = found
    assert accuracy["ensemble"] > 0.97 and accuracy["ensemble"] > accuracy["members"]
    assert log_loss["ensemble"] < log_loss["members"] and mistakes > 0.5
    assert pairs["upside down"] > 0.7 and pairs["on their side"] < 0.5


def word_ranking(share):
    assert share > 0.78


def cartpole(length):
    assert length > 195


def actor_critic(length):
    assert length > 180


def dqn(length):
    assert length > 170


def direct_feedback_alignment(accuracy):
    assert min(accuracy) > 0.94


def run(name):
    return runpy.run_path(str(FOLDER / f"{name}.py"))["main"]()


@pytest.mark.parametrize(
    "path", [path for path in PROGRAMS if path.stem not in ON_RANKS], ids=lambda p: p.stem
)
def test_the_result_of_an_example(path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)  # as for `python examples/name.py`
    if path.stem == "word_ranking":
        pytest.importorskip("pydoc_data.topics", reason="this Python has no manual")
    assert path.stem in globals(), (
        f"write {path.stem}(outcome) above, which checks the result of the program"
    )
    globals()[path.stem](run(path.stem))
    assert capsys.readouterr().out


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda p: p.stem)
def test_an_example_has_a_docstring(path):
    text = path.read_text(encoding="utf-8")
    said = ast.get_docstring(ast.parse(text))
    assert f"    python examples/{path.name}" in said and "Expected:" in said
    assert f"[{path.name}]({path.name})" in (FOLDER / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
