"""The program that installs wheels in other systems: what it refuses, and what it reports."""

import os
import sys

import pytest
from attacks.platforms import installed, run_in

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(sys.platform != "linux", reason="the program needs Linux"),
]


@pytest.fixture
def place():
    place = run_in.Place(sys.executable)
    yield place
    place.remove()


def test_a_command_runs_in_the_folder_of_the_place(place):
    assert place.run("python3", "-c", "import os; print(os.getcwd())").strip() == str(place.inside)
    place.remove()
    assert not place.here.exists()


def test_a_command_that_fails_is_a_fault_with_its_output(place):
    with pytest.raises(run_in.Fault, match=r"ended with 3:\nwords"):
        place.run("sh", "-c", "echo words; exit 3")
    assert place.run("sh", "-c", "exit 3", statuses=(0, 3)) == ""


def test_a_command_that_hangs_is_a_fault(place):
    with pytest.raises(run_in.Fault, match=r"takes longer than 0 s"):
        place.run("sleep", "60", limit=0.1)


def test_a_root_that_is_missing_or_has_no_python(tmp_path):
    with pytest.raises(run_in.Fault, match=r"no folder and no program .*--help"):
        run_in.Place(tmp_path / "none")
    with pytest.raises(run_in.Fault, match=r"no Python from 3\.11 in opt/python/bin.*--help"):
        run_in.Place(tmp_path)


def test_the_newest_python_of_a_root_is_used(tmp_path):
    for name in ("usr/bin/python3.9", "usr/bin/python3.11", "opt/python/bin/python3.13"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    place = run_in.Place.__new__(run_in.Place)
    place.root = tmp_path
    assert place._find_python() == "/opt/python/bin/python3.13"


def test_only_the_superuser_enters_roots(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    run_in.demand([sys.executable])
    with pytest.raises(SystemExit, match="sudo"):
        run_in.demand([str(tmp_path)])


def test_without_wheels_it_says_how_to_build_them(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["run_in.py", sys.executable, "--wheels", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"0 wheels and 0 sdists.*nox -s wheels"):
        run_in.main()


def test_an_example_that_prints_something_else_is_a_fault(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\n>>> 1 + 1\n2\n>>> 1 + 2\n4\n```\n", encoding="utf-8")
    report = installed.Report()
    installed.check_page(page, report)
    assert report.checks == 3
    assert len(report.faults) == 1 and "Expected:\n    4\nGot:\n    3" in report.faults[0]


def test_a_page_without_examples_is_a_fault(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("Words.\n", encoding="utf-8")
    report = installed.Report()
    installed.check_page(page, report)
    assert report.faults == ["page.md has no examples"]


def test_an_environment_with_more_packages_is_a_fault():
    report = installed.Report()
    installed.check_package(report)
    assert "pytest" in report.faults[0], "this environment has more than fastbp and NumPy"
