"""`fastbp bench`: its reports, without any assertion about speed."""

import json
import os
import re
import sys
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from fastbp import _core, reference
from fastbp._cli.main import main
from fastbp.bench import _layout as layout
from fastbp.bench import _report as report
from fastbp.bench import _timing as timing
from fastbp.bench._client import WorkerError, start
from fastbp.bench._data import make
from fastbp.bench._lane import Options
from fastbp.bench._memory import forget_peak, peak_bytes
from fastbp.bench._peers import ENGINE, PEERS, PROGRAMS
from fastbp.bench._runner import measure
from fastbp.bench._suites import CONFIGS, KINDS, SUITES, Config, select

TINY = Config("tiny", (3, 4, 2), "tanh", "mse", 2, n_rows=6)
ALONE = ["bench", "--quick", "--rounds", "1", "--threads", "1", "--peers", "none"]
FAST = Options(threads=(1, 2), rounds=2, seconds=1e-4, peak_seconds=1e-4)


# ---- configurations -----------------------------------------------------------------------


def products(config):
    """The sum of 2·m·n·k over all products of a training step, or of a prediction, of one row."""
    net = reference.Network(config.widths, init="zeros")
    total = 0
    for i, layer in enumerate(net.layers):
        total += 2 * layer.W.size  # z = a W
        if config.kind != "predict":
            total += 2 * layer.W.size  # dW = aᵀ δ
            total += 2 * layer.W.size if i else 0  # δ Wᵀ
    return total


@pytest.mark.parametrize("config", CONFIGS.values(), ids=lambda config: config.name)
def test_flops_count_every_product(config):
    assert config.flops_per_sample == products(config)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=lambda config: config.name)
def test_configurations_are_complete(config):
    assert config.kind in KINDS
    assert 0 <= config.n_steps * config.batch - config.rows < config.batch
    if config.kind == "steps":
        assert config.rows % config.batch == 0
        assert config.n_steps >= 8


def test_names_are_unique():
    configs = {config for suite in SUITES.values() for config in suite.configs}
    assert len({config.name for config in configs}) == len(configs)


def test_selection():
    assert [c.name for c, _ in select()] == [c.name for c in SUITES["steps"].configs]
    assert {c.name for c, _ in select(["all"])} == set(CONFIGS)
    assert select(["threads"])[0][1] is False
    assert select(["threads", "steps"])[0][1] is True
    with pytest.raises(ValueError, match="unknown suite 'step'; known: steps, "):
        select(["step"])
    with pytest.raises(ValueError, match="unknown configuration 'r2'; known: rl, "):
        select(configs=["r2"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("config", [TINY, CONFIGS["mnist-s"]], ids=lambda config: config.name)
def test_data_fit_the_network(config, dtype):
    data = make(config, dtype)
    assert data.X.shape == (config.rows, config.widths[0])
    assert data.X.dtype == dtype
    assert data.X.flags.c_contiguous
    assert len(data.y) == config.rows
    assert np.array_equal(make(config, dtype).X, data.X)


# ---- programs and their processes ------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("program", ["fastbp", "reference"])
def test_programs_without_peers_run_all_kinds(program, kind):
    runner = PROGRAMS[program]()
    runner.setup(Config("tiny", (3, 4, 2), "relu", "cross_entropy", 2, kind, 6), 1, "float64")
    runner.run(2)
    assert runner.n_steps == 3


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize("kind", KINDS)
def test_sklearn_runs_all_kinds(kind, loss):
    pytest.importorskip("sklearn")
    runner = PROGRAMS["sklearn"]()
    runner.setup(Config("tiny", (3, 4, 3), "relu", loss, 2, kind, 6), 1, "float32")
    runner.run(1)


@pytest.mark.parametrize("name", PEERS)
def test_peers_are_available_only_if_installed(name):
    package = PROGRAMS[name].package
    assert PROGRAMS[name].installed() == (not package or find_spec(package) is not None)


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_environment_of_a_process_sets_its_threads(name):
    environment = PROGRAMS[name].environment(3)
    assert environment["OMP_NUM_THREADS"] == environment["FASTBP_NUM_THREADS"] == "3"


def test_a_worker_answers_and_ends():
    with start(ENGINE, 1, _core.available_isas()[0]) as worker:
        assert worker.setup(TINY, "float32")["source"] == "synthetic"
        assert worker.ask("calibrate", seconds=1e-4)["repeats"] >= 1
        reply = worker.ask("time", repeats=2, warm=True, peak_seconds=1e-4)
        assert reply["seconds"] > 0
        assert reply["peak"] > 0
    assert worker.process.returncode == 0


def test_a_worker_that_fails_says_why():
    with start(ENGINE, 1) as worker, pytest.raises(WorkerError, match="^ValueError: .*softplux"):
        worker.setup(Config("bad", (3, 4, 2), "softplux", "mse", 2), "float32")
    with start(ENGINE, 1, "mmx") as worker, pytest.raises(WorkerError, match="FASTBP_ISA='mmx'"):
        worker.setup(TINY, "float32")


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="needs Linux's /proc")
def test_peak_memory_is_counted():
    before = peak_bytes()
    held = np.ones(2**23)
    assert peak_bytes() - before > held.nbytes / 2
    del held
    forget_peak()
    assert peak_bytes() - before < 2**25


# ---- the report ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found():
    """A report with a peer that is always available."""
    shown = []
    selection = [(TINY, True), (CONFIGS["predict-rl"], False)]
    made = measure(selection, ["reference"], FAST, shown.append)
    assert len(shown) == 2
    return json.loads(json.dumps(made))


def test_the_report_has_the_documented_layout(found):
    assert list(found) == list(layout.Report.__annotations__)
    assert list(found["results"][0]) == list(layout.Result.__annotations__)
    assert found["schema"] == "fastbp-bench/1"
    assert found["machine"]["isa"] in _core.available_isas()
    assert found["machine"]["versions"]["numpy"] == np.__version__
    assert found["options"].keys() == {field.name for field in fields(Options)}


def test_the_report_has_every_run(found):
    tiny, predict = found["results"]
    runs = {(run["program"], run["threads"]): run for run in tiny["runs"]}
    assert set(runs) == {(p, n) for p in ("fastbp", "reference") for n in (1, 2)}
    assert {run["program"] for run in predict["runs"]} == {"fastbp"}
    for case, run in runs.items():
        required, possible = layout.Run.__required_keys__, layout.Run.__annotations__.keys()
        assert required <= run.keys() <= possible, case
        us = run["us"]
        assert 0 < us["min"] <= us["q1"] <= us["median"] <= us["q3"], case
        assert len(run["rounds_us"]) == FAST.rounds, case
        assert run["samples_per_second"] == pytest.approx(1e6 * TINY.batch / us["median"]), case
        flops = TINY.flops_per_sample * TINY.batch
        assert run["gflops"] == pytest.approx(1e-3 * flops / us["median"]), case
        assert ("peak_share" in run) == (case[0] == ENGINE), case
    assert "memory_bytes" in runs["fastbp", 1]
    assert "memory_bytes" not in runs["reference", 1]


def test_ratios_compare_the_best_threads_round_by_round(found):
    tiny, predict = found["results"]
    runs = {(run["program"], run["threads"]): run for run in tiny["runs"]}
    best = {p: runs[p, n]["rounds_us"] for p, n in tiny["threads"].items()}
    for program, n in tiny["threads"].items():
        medians = [runs[program, m]["us"]["median"] for m in (1, 2)]
        assert runs[program, n]["us"]["median"] == min(medians), program
    pairs = zip(best["reference"], best["fastbp"], strict=True)
    ratio = timing.summary(a / b for a, b in pairs)
    assert tiny["ratios"] == {"reference": pytest.approx(ratio)}
    assert (tiny["best"], tiny["best_usual"]) == ("reference", None)
    assert tiny["speedup"]["1"]["median"] == 1
    assert predict["ratios"] == {}
    assert predict["best"] is None


def test_the_report_notes_that_another_program_was_running(found):
    cores = found["results"][0]["runs"][0]["cores_used"]
    note = "tiny: another program was running"
    cores["median"] = 1.0
    assert note not in report.table(found)
    cores["median"] = 0.5
    assert note in report.table(found)


def test_the_report_as_text(found):
    text = report.table(found)
    assert re.search(r"^tiny ", text, re.MULTILINE)
    assert "reference" in text.splitlines()[0]
    lines = report.block(found["results"][0]).splitlines()
    assert lines[0].startswith("tiny: 3-4-2 tanh, mse, batch 2; one core peaks at ")
    assert len(lines) == 6


def test_the_report_notes_a_peer_that_fails(monkeypatch):
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    monkeypatch.setattr(PROGRAMS["reference"], "environment", lambda n: {"FASTBP_ISA": "mmx"})
    made = measure([(TINY, True)], ["reference"], FAST)
    assert [failure["threads"] for failure in made["failures"]] == [1, 2]
    assert "mmx" in made["failures"][0]["error"]
    assert made["results"][0]["ratios"] == {}
    assert "tiny: reference failed on 2 threads: ImportError" in report.table(made)


@pytest.mark.parametrize("with_peers", [True, False])
def test_the_chart(found, tmp_path, with_peers):
    pytest.importorskip("matplotlib")
    from fastbp.bench._plot import draw

    for result in found["results"]:
        result["ratios"] = result["ratios"] if with_peers else {}
    draw(found, tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


# ---- the command ----------------------------------------------------------------------------


def test_the_command_without_peers(capsys):
    assert main([*ALONE, "--config", "rl", "--json"]) == 0
    out, err = capsys.readouterr()
    made = json.loads(out)
    assert [result["config"]["name"] for result in made["results"]] == ["rl"]
    assert made["options"]["rounds"] == 1
    assert err.startswith("rl: 8-64-64-2 tanh")


def test_the_command_writes_and_shows_a_report(found, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("old.json").write_text(json.dumps(found))
    assert main(["bench", "--from", "old.json", "--json", "new.json"]) == 0
    assert json.loads(Path("new.json").read_text()) == found
    assert "tiny" in capsys.readouterr().out


def test_the_command_chooses_the_isa(capsys):
    isa = _core.available_isas()[0]
    assert main([*ALONE, "--config", "predict-rl", "--isa", isa, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["machine"]["isa"] == isa


def test_the_command_lists_configurations(capsys):
    assert main(["bench", "--list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in [*SUITES, *CONFIGS, *PEERS])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--config", "r2"], 2, "unknown configuration 'r2'; known: rl, tab"),
        (["--suite", "step"], 2, "unknown suite 'step'"),
        (["--peers", "keras"], 2, "unknown 'keras'; known: torch, "),
        (["--isa", "mmx"], 2, "this machine cannot run --isa mmx; it can run: scalar"),
        (["--threads", "0"], 2, "expected a whole number >= 1"),
        (["--from", "no.json"], 1, "no.json: No such file"),
        (["--from", "other.json"], 1, "other.json is not a report of fastbp bench"),
        (["--from", "text.json"], 1, "text.json is not JSON"),
        (["--json", "no/where.json"], 1, "no: no such folder"),
    ],
)
def test_the_command_refuses_bad_arguments(arguments, code, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("other.json").write_text("{}")
    Path("text.json").write_text("so fast")
    try:
        assert main(["bench", *arguments]) == code
    except SystemExit as ended:
        assert ended.code == code
    assert message in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("arguments", "package", "command"),
    [
        (["--peers", "torch"], "torch", "pip install torch"),
        (["--peers", "sklearn"], "sklearn", "pip install scikit-learn"),
        (["--plot", "chart.png"], "matplotlib", "pip install 'fastbp[plot]'"),
    ],
)
def test_the_command_names_packages_to_install(arguments, package, command, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)

    def missing(name):
        return None if name == package else find_spec(name)

    monkeypatch.setattr("fastbp.bench._peers._base.find_spec", missing)
    monkeypatch.setattr("fastbp._cli.bench.find_spec", missing)
    assert main(["bench", *arguments]) == 1
    assert command in capsys.readouterr().err
