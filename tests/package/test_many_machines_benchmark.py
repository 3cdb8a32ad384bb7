"""benchmarks/many_machines.py runs, says what it leaves out, and its model and page agree."""

import importlib
import json
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = ("many_machines", "many_machines_report", "two_hosts", "publish")
pytestmark = pytest.mark.once


@pytest.fixture
def module(monkeypatch):
    """A function that imports a module of the benchmarks."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    yield importlib.import_module
    for name in MODULES:
        sys.modules.pop(name, None)


def figures():
    return json.loads((ROOT / "docs/many_machines.json").read_text(encoding="utf-8"))


def test_the_page_and_the_chart_are_of_the_figures(module):
    report = module("many_machines_report")
    page = report.PAGE.read_text(encoding="utf-8")
    written = report.replaced_between(page, report.BEGIN, report.END, report.text(figures()))
    assert page == written, "run benchmarks/many_machines.py --from … --publish"
    assert report.CHART.read_bytes().startswith(b"\x89PNG")
    assert report.CHART.stat().st_size < 200_000


def test_the_ranks_of_the_figures_sent_an_even_share():
    for each in figures()["counts"]:
        assert each["bytes"] <= 1.01 * each["formula"]
        assert each["state"] <= 1 / each["ranks"] + 0.01


def test_the_chart_is_drawn(module, tmp_path):
    pytest.importorskip("matplotlib")
    module("many_machines_report").draw(figures(), tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_the_model(module):
    report = module("many_machines_report")
    ways = {f"1/{n} of a batch": {"us": [10 + 2 * 512 / n, 9999.0]} for n in (2, 4, 8)}
    ways["parts=16, 1 threads"] = {"us": [10 + 2 * 512.0]}
    job = {"lanes": ways, "params": 1_000_000}
    found = {"parts": 16, "batch": 512}
    assert report.computation(found, job) == pytest.approx((10, 2))
    network = {"allgather": 1e-5, "message": 1e-6, "bandwidth": 1e9}
    assert report.modelled(found, job, 1, 512, network) == pytest.approx(1034)
    # 256 rows each; 3 small collectives; 4 MB sent at 1 GB/s
    assert report.modelled(found, job, 2, 512, network) == pytest.approx(522 + 30 + 4000)
    # a ring of 7; 3 doublings; 8 messages at once
    expected = 10 + 128 + 10 * (3 + 1 + 7) + 6 + 2 * 7 / 8 * 4000
    assert report.modelled(found, job, 8, 512, network) == pytest.approx(expected)
    assert report.exchange(8, 4000, network) == pytest.approx(10 * (3 + 1 + 3) + 6 + 7)


def test_a_short_run(module, tmp_path, capsys, monkeypatch):
    bench, hosts = module("many_machines"), module("two_hosts")
    monkeypatch.setattr(os, "geteuid", lambda: 1000, raising=False)
    monkeypatch.setitem(bench.JOBS, "tab", bench.Job((3, 4, 1), "mse", 2 * bench.BATCH, 1))
    monkeypatch.setattr(bench, "COUNTED", (2,))
    path = tmp_path / "figures.json"
    bench.main(["--jobs", "tab", "--rounds", "1", "--json", str(path)])
    out = capsys.readouterr().out
    sentences = " ".join(out.split())
    assert "Left out: links between namespaces: network namespaces need root" in sentences
    assert "PyTorch: no --torch PYTHON" in sentences
    assert "| fastbp, 1 thread | " in out and "**tab**: 3-4-1, 21 parameters" in out
    if "2 ranks, shared memory" in out:  # there is MPI
        assert "| tab, 2 ranks | " in out
    bench.main(["--from", str(path)])
    assert capsys.readouterr().out == out
    with pytest.raises(hosts.UnavailableError, match="need root"), hosts.TwoHosts():
        pass


@pytest.mark.parametrize(
    "options, expected",
    [
        (["--jobs", "narrow"], "--jobs: unknown 'narrow'; known: tab, mnist-m, wide"),
        (["--rounds", "0"], "--rounds must be at least 1; got 0"),
    ],
)
def test_wrong_options(module, options, expected, capsys):
    with pytest.raises(SystemExit):
        module("many_machines").main(options)
    assert expected in capsys.readouterr().err
