"""benchmarks/populations.py runs, its tables have a row per program, and it names what it lacks."""

import importlib.util
import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "populations.py"
pytestmark = pytest.mark.once
SHORT = ["--members", "2", "--epochs", "1", "--rounds", "1"]


@pytest.fixture
def run(monkeypatch):
    """Run the program with options."""
    monkeypatch.syspath_prepend(SCRIPT.parent)

    def run(*options):
        monkeypatch.setattr(sys, "argv", ["populations.py", *options])
        runpy.run_path(str(SCRIPT), run_name="__main__")

    yield run
    sys.modules.pop("population_peers", None)


def tables(out):
    """The cells of the rows of all tables, without their heads."""
    rows = [line.strip("| ").split(" | ") for line in out.splitlines() if line.startswith("|")]
    heads = ("program", "search", "---")
    return [cells for cells in rows if not cells[0].startswith(heads)]


def test_the_steps_have_a_row_per_program_and_number_of_threads(run, capsys):
    run("--jobs", "small", "--peers", "none", *SHORT)
    out = capsys.readouterr().out
    rows = tables(out)
    assert [cells[:2] for cells in rows] == [
        ["fastbp.Population", "1"],
        ["fastbp.Population", "2"],
        ["loop of Network.fit", "1"],
        ["loop of Network.fit", "2"],
    ]
    assert all(float(cells[2]) >= float(cells[3]) > 0 for cells in rows)
    assert all(float(cells[4]) > 0 for cells in rows)
    assert [cells[5].endswith("%") for cells in rows] == [True, False, True, False]
    assert 1.0 in [float(cells[7]) for cells in rows[:2]]
    assert "small: 2 × 8-16-16-1 tanh, batch 32, 1 epochs of 2048 rows" in out
    assert "- two threads against one: " in out


def test_searches_and_memory_have_tables(run, capsys):
    pytest.importorskip("sklearn")
    run("--jobs", "search,memory", "--peers", "none", *SHORT)
    rows = tables(capsys.readouterr().out)
    assert [cells[0] for cells in rows[:2]] == ["PopulationSearchCV"] * 2
    assert rows[0][4] == rows[1][4]  # the same scores on any number of threads
    if len(rows) > 2:  # on Linux
        assert rows[2][0] == "fastbp.Population" and float(rows[2][1]) > 0


def test_packages_that_are_not_installed_are_named(run, capsys, monkeypatch):
    found = importlib.util.find_spec

    def without(name, *rest):
        return None if name in ("torch", "jax", "sklearn") else found(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    run("--jobs", "search,memory", "--peers", "torch,jax,sklearn", *SHORT)
    out = capsys.readouterr().out
    for name, package in (
        ("torch, vmap", "torch"),
        ("jax, vmap", "jax"),
        ("PopulationSearchCV", "scikit-learn"),
        ("GridSearchCV, scikit-learn", "scikit-learn"),
    ):
        assert f"{name} is left out: pip install {package}" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--jobs", "small,nonsense"], "--jobs: unknown 'nonsense'; known: tab, small, wide"),
        (["--peers", "nonsense"], "--peers: unknown 'nonsense'; known: jax, joblib, sklearn"),
        (["--rounds", "0"], "--rounds must be at least 1; got 0"),
        (["--members", "0"], "--members must be at least 1; got 0"),
        (["--epochs", "0"], "--epochs must be at least 1; got 0"),
    ],
)
def test_the_program_refuses_bad_arguments(run, capsys, options, message):
    with pytest.raises(SystemExit) as caught:
        run(*options)
    assert caught.value.code == 2 and message in capsys.readouterr().err
