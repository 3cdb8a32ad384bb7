"""`fastbp bench`: its reports, without any assertion about speed."""

import json
import os
import re
import sys
from copy import deepcopy
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fastbp import _core, reference
from fastbp._cli.main import main
from fastbp.bench import _conditions as conditions
from fastbp.bench import _file as files
from fastbp.bench import _layout as layout
from fastbp.bench import _report as report
from fastbp.bench import _timing as timing
from fastbp.bench._assemble import compared
from fastbp.bench._client import WorkerError, start
from fastbp.bench._data import make
from fastbp.bench._lane import Lane, Options
from fastbp.bench._memory import forget_peak, peak_bytes
from fastbp.bench._peers import ENGINE, PEERS, PRECISIONS, PROGRAMS
from fastbp.bench._runner import _Bench, measure
from fastbp.bench._suites import CONFIGS, KINDS, SUITES, Config, select
from fastbp.bench._worker import Bench

pytestmark = pytest.mark.once

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


@pytest.mark.parametrize(
    ("program", "way", "kind"),
    [
        (name, way, kind)
        for name in PEERS
        for way in PROGRAMS[name].ways
        for kind in PROGRAMS[name].kinds
        if way == "highest" or kind == "steps"
    ],
)
def test_peers_run_all_kinds_and_precisions(program, way, kind):
    if not PROGRAMS[program].installed():
        pytest.skip(f"{program} is not installed")
    with start(program, 1, precision=way) as worker:
        worker.setup(Config("tiny", (3, 4, 2), "relu", "cross_entropy", 2, kind, 6), "float32")
        assert worker.ask("time", repeats=1, warm=False, peak_seconds=0.0)["seconds"] > 0


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_way_has_a_precision(name):
    ways = PROGRAMS[name].ways
    assert set(ways.values()) <= set(PRECISIONS)
    assert next(iter(ways.items())) == ("highest", "highest")
    assert PROGRAMS[name].ways_for("highest") == ["highest"]
    assert PROGRAMS[name].ways_for("medium") == list(ways)


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
        assert reply["cpu_seconds"] >= 0  # the clock of a process may be coarse
        assert reply["products_peak"] == reply["peak"] > 0
    assert worker.process.returncode == 0


@pytest.mark.parametrize(
    ("ways", "peaks"),
    [
        ({"products": "amx", "precision": "medium"}, (50.0, 300.0)),
        ({"products": "amx", "precision": "high"}, (50.0, 100.0)),
        ({"products": "f32 of rounded factors", "precision": "high"}, (50.0, 50.0)),
        ({"products": "f32", "precision": "highest"}, (50.0, 50.0)),
    ],
)
def test_a_worker_measures_the_peak_of_what_makes_the_products(monkeypatch, ways, peaks):
    monkeypatch.setattr(_core, "isa", lambda: "amx")
    monkeypatch.setattr(_core, "fma_peak", lambda f64, seconds: 50.0)
    monkeypatch.setattr(_core, "bf16_peak", lambda planes, seconds: {1: 300.0, 2: 100.0}[planes])
    bench = Bench()
    bench.f64, bench.program = False, SimpleNamespace(run=lambda repeats: None, n_steps=1, **ways)
    reply = bench.time(repeats=1, warm=False, peak_seconds=1.0)
    assert (reply["peak"], reply["products_peak"]) == peaks
    reply = bench.time(repeats=1, warm=False, peak_seconds=0.0)
    assert reply["peak"] is reply["products_peak"] is None


def test_the_engine_says_how_it_makes_its_products():
    for dtype, products in (("float32", "f32"), ("float64", "f64")):
        program = PROGRAMS[ENGINE]()
        program.setup(TINY, 1, dtype)
        assert program.products == products
    program = PROGRAMS["reference"]()
    program.setup(TINY, 1, "float32")
    assert program.products == ""


def test_a_worker_that_fails_says_why():
    with start(ENGINE, 1) as worker, pytest.raises(WorkerError, match="^ValueError: .*softplux"):
        worker.setup(Config("bad", (3, 4, 2), "softplux", "mse", 2), "float32")
    with pytest.raises(WorkerError, match="FASTBP_ISA='mmx'"), start(ENGINE, 1, "mmx"):
        pass


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="needs Linux's /proc")
def test_peak_memory_is_counted():
    before = peak_bytes()
    held = np.ones(2**23)
    assert peak_bytes() - before > held.nbytes / 2
    del held
    forget_peak()
    assert peak_bytes() - before < 2**25


@pytest.mark.skipif(not os.path.exists("/proc/stat"), reason="needs Linux's /proc")
def test_the_time_of_this_process_is_not_that_of_others():
    with conditions.watch([]) as found:
        np.linalg.svd(np.ones((200, 200)))
    assert found.keys() <= {"steal", "others"}
    assert all(0 <= share <= 1 for share in found.values())


def test_conditions_are_unknown_for_a_process_that_has_ended(monkeypatch):
    with start(ENGINE, 1) as worker:
        pass
    assert conditions.count([worker.process.pid]) is None
    monkeypatch.setattr(conditions, "count", lambda own: None)
    with conditions.watch([]) as found:
        pass
    assert found == {}


# ---- precisions -----------------------------------------------------------------------------


def lane(program, precision, n_threads, us, cpu_us=None):
    """A lane with these times of two rounds."""
    worker = SimpleNamespace(program=program, precision=precision, n_threads=n_threads)
    made = Lane(worker, 1, "synthetic")
    made.seconds = [1e-6 * us, 2e-6 * us]
    made.cpu_seconds = [1e-6 * (cpu_us or us)] * 2
    if made.is_engine:
        made.peaks = [100.0, 100.0]
        made.products_peaks = [150.0, 150.0] if precision == "medium" else made.peaks
    return made


LANES = [
    lane(ENGINE, "highest", 1, 40),
    lane(ENGINE, "highest", 2, 30, cpu_us=60),
    lane(ENGINE, "medium", 1, 10),
    lane(ENGINE, "medium", 2, 12, cpu_us=20),
    lane("torch", "highest", 1, 80, cpu_us=70),
    lane("torch", "highest", 2, 60, cpu_us=100),
    lane("torch", "medium", 1, 90),
    lane("torch", "autocast", 1, 50, cpu_us=45),
    lane("sklearn", "highest", 1, 40),
]


def test_peers_are_compared_at_the_same_precision_or_a_finer_one():
    found = compared(TINY, LANES, ("highest", "medium"), {}, {})["comparisons"]
    highest, medium = found["highest"], found["medium"]
    assert highest["chosen"]["torch"] == {"precision": "highest", "threads": 2}
    assert highest["ratios"]["torch"]["median"] == pytest.approx(60 / 30)
    assert highest["cpu_ratios"] == pytest.approx({"torch": 70 / 40, "sklearn": 1})
    assert "over_highest" not in highest
    assert medium["chosen"] == {
        ENGINE: {"precision": "medium", "threads": 1},
        "torch": {"precision": "autocast", "threads": 1},
        "sklearn": {"precision": "highest", "threads": 1},
    }
    assert medium["ratios"]["torch"]["median"] == pytest.approx(50 / 10)
    assert medium["ratios"]["sklearn"]["median"] == pytest.approx(40 / 10)
    assert medium["cpu_ratios"] == pytest.approx({"torch": 45 / 10, "sklearn": 4})
    assert medium["over_highest"]["median"] == pytest.approx(30 / 10)
    assert medium["cpu_over_highest"] == pytest.approx(40 / 10)
    assert medium["best"] == "sklearn"


def test_the_share_of_the_peak_is_that_of_what_makes_the_products():
    result = compared(TINY, LANES, ("highest", "medium"), {}, {})
    assert result["peak_gflops"]["median"] == 100
    for run, peak in zip(result["runs"], (100, 100, 150, 150), strict=False):
        times = [1e-6 * us * run["threads"] for us in run["rounds_us"]]
        flops = TINY.flops_per_sample * TINY.batch
        share = np.median([1e-9 * flops / time / peak for time in times])
        assert run["peak_share"]["median"] == pytest.approx(share), run["precision"]


def test_a_single_precision_has_nothing_to_gain_over():
    lanes = [each for each in LANES if each.worker.precision != "highest"]
    (found,) = compared(TINY, lanes, ("medium",), {}, {})["comparisons"].values()
    assert "over_highest" not in found


def test_the_report_compares_precisions():
    result = compared(TINY, LANES, ("highest", "medium"), {"steal": 0.03, "others": 0.5}, {})
    options = {"threads": [1, 2], "dtype": "float32", "precisions": ["highest", "medium"]}
    machine = {
        "cpu": "A CPU",
        "cores": 2,
        "isa": "avx2",
        "tune": "fast",
        "versions": {"numpy": "2"},
    }
    made = {
        "date": "2026-01-01",
        "machine": machine | {"versions": {"numpy": "2"}},
        "options": options,
        "same": {"torch": ["high"]},
        "failures": [],
        "results": [result],
    }
    text = report.text(made)
    assert text.startswith("A CPU, 2 cores, avx2, tuned for fast, float32, 2026-01-01\nnumpy 2\n")
    assert "during the rounds: steal 3 %, other processes 50 % of the cores" in text
    assert "medium: torch is fastest at autocast on tiny" in text
    assert "sklearn is fastest" not in text
    assert "fastbp is fastest" not in text
    assert "torch: at high, products have the same bits as at highest" in text
    at_highest, at_medium = text.split("precision medium\n")
    assert re.search(r"^tiny +45\.0 +60\.0 +2 ", at_highest, re.MULTILINE)
    assert re.search(
        r"^tiny +15\.0 +10\.0 +1 .* 3\.00 +4\.00 +5\.00 +4\.00 ", at_medium, re.MULTILINE
    )
    lines = report.block(result).splitlines()
    ratios = {tuple(line.split()[:3]): line.split()[-1] for line in lines[2:]}
    assert ratios["torch", "highest", "2"] == "2.00"
    assert ratios["torch", "autocast", "1"] == "5.00"


@pytest.mark.parametrize(
    ("precisions", "same", "ways"),
    [
        (("highest",), set(), ["highest"]),
        (("high",), set(), ["highest", "high"]),
        (("highest", "medium"), set(), ["highest", "high", "medium", "autocast"]),
        (("medium",), {"high"}, ["highest", "medium", "autocast"]),
        (("medium",), {"high", "medium", "autocast"}, ["highest"]),
    ],
)
def test_peers_are_not_measured_twice_with_the_same_bits(precisions, same, ways, monkeypatch):
    bench = _Bench(Options(precisions=precisions), None)

    def worker(program, way, n_threads):
        digest = "highest" if way in same else way
        key = program, way, n_threads
        bench._workers[key] = SimpleNamespace(
            ask=lambda do: {"digest": digest}, end=lambda: ended.append(way)
        )
        return bench._workers[key]

    ended = []
    monkeypatch.setattr(bench, "_worker", worker)
    assert bench._ways_of("torch") == ways
    assert bench._ways_of(ENGINE) == list(precisions)
    assert set(bench.same.get("torch", ())) == set(ended) == same
    assert not same & {way for _, way, _ in bench._workers}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(precisions=("highest", "low")), "unknown precision 'low'; known: highest, high,"),
        (Options(precisions=("medium",), dtype="float64"), "'medium' needs float32; float64 has"),
    ],
)
def test_precisions_that_do_not_exist_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        measure([(TINY, False)], (), options)


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
    (compared,) = tiny["comparisons"].values()
    threads = {program: choice["threads"] for program, choice in compared["chosen"].items()}
    best = {p: runs[p, n]["rounds_us"] for p, n in threads.items()}
    for program, n in threads.items():
        medians = [runs[program, m]["us"]["median"] for m in (1, 2)]
        assert runs[program, n]["us"]["median"] == min(medians), program
    pairs = zip(best["reference"], best["fastbp"], strict=True)
    ratio = timing.summary(a / b for a, b in pairs)
    assert compared["ratios"] == {"reference": pytest.approx(ratio)}
    assert (compared["best"], compared["best_usual"]) == ("reference", None)
    assert compared["speedup"]["1"]["median"] == 1
    assert predict["comparisons"]["highest"]["ratios"] == {}
    assert predict["comparisons"]["highest"]["best"] is None


def test_the_report_notes_that_another_program_was_running(found):
    cores = found["results"][0]["runs"][0]["cores_used"]
    note = "tiny: another program was running"
    cores["median"] = 1.0
    assert note not in report.notes(found)
    cores["median"] = 0.5
    assert note in report.text(found)


def test_the_report_as_text(found):
    text = report.table(found, "highest")
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
    assert made["results"][0]["comparisons"]["highest"]["ratios"] == {}
    assert "tiny: reference failed at highest on 2 threads: ImportError" in report.text(made)


@pytest.mark.parametrize("with_peers", [True, False])
def test_the_chart(found, tmp_path, with_peers):
    pytest.importorskip("matplotlib")
    from fastbp.bench._plot import draw

    found = deepcopy(found)
    if not with_peers:
        for result in found["results"]:
            result["comparisons"]["highest"]["ratios"] = {}
    draw([found], tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_the_chart_of_several_machines_and_precisions(found, tmp_path):
    pytest.importorskip("matplotlib")
    from fastbp.bench._plot import draw

    other = deepcopy(found)
    other["options"]["precisions"] = ["highest", "medium"]
    other["results"] = [compared(TINY, LANES, ("highest", "medium"), {}, {})]
    draw([found, other], tmp_path / "chart.svg")
    assert b"</svg>" in (tmp_path / "chart.svg").read_bytes()


# ---- files ----------------------------------------------------------------------------------


def test_a_file_has_one_report_per_machine(found, tmp_path):
    found = deepcopy(found)
    newer, elsewhere, f64, slower = (deepcopy(found) for _ in range(4))
    newer["date"] = "later"
    elsewhere["machine"]["cpu"] = "another CPU"
    f64["options"]["dtype"] = "float64"
    slower["machine"]["isa"] = "slower"
    for each in (found, elsewhere, f64):
        each["machine"]["isa"] = each["machine"]["isa_fastest"]
    newer["machine"]["isa"] = newer["machine"]["isa_fastest"] = "known to a later version"
    file = files.pack(found)
    for each in (elsewhere, f64, slower, newer):
        file = files.merge(file, each)
    assert file["machines"] == [newer, elsewhere, f64, slower]
    files.write(file, tmp_path / "all.json")
    assert files.read(tmp_path / "all.json") == file


def test_a_file_of_version_1_is_upgraded(found, tmp_path):
    """Version 1: one report per file, without precisions, conditions and processor times."""
    old = deepcopy(found) | {"schema": "fastbp-bench/1"}
    del old["same"], old["options"]["precisions"], old["machine"]["isa_fastest"]
    for result in old["results"]:
        del result["conditions"]
        comparison = result.pop("comparisons")["highest"]
        del comparison["cpu_ratios"]
        chosen = comparison.pop("chosen")
        result |= comparison
        result["threads"] = {program: choice["threads"] for program, choice in chosen.items()}
        for run in result["runs"]:
            del run["precision"], run["cpu_us"]
    (tmp_path / "old.json").write_text(json.dumps(old))
    file = files.read(tmp_path / "old.json")
    assert file["schema"] == layout.SCHEMA
    (upgraded,) = file["machines"]
    expected = deepcopy(found) | {"same": {}}
    expected["machine"]["isa_fastest"] = found["machine"]["isa_available"][-1]
    for result in expected["results"]:
        result["conditions"] = {}
        result["comparisons"]["highest"]["cpu_ratios"] = {}
        for run in result["runs"]:
            del run["cpu_us"]
    assert upgraded == expected
    assert "–" in report.table(upgraded, "highest")


# ---- the command ----------------------------------------------------------------------------


def test_the_command_without_peers(capsys):
    assert main([*ALONE, "--config", "rl", "--json"]) == 0
    out, err = capsys.readouterr()
    file = json.loads(out)
    assert list(file) == list(layout.File.__annotations__)
    assert file["schema"] == "fastbp-bench/2"
    (made,) = file["machines"]
    assert [result["config"]["name"] for result in made["results"]] == ["rl"]
    assert made["options"]["rounds"] == 1
    assert err.startswith("rl: 8-64-64-2 tanh")


def test_the_command_writes_and_shows_a_report(found, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files.write(files.pack(found), "old.json")
    assert main(["bench", "--from", "old.json", "--json", "new.json"]) == 0
    assert files.read("new.json") == files.pack(found)
    assert "tiny" in capsys.readouterr().out


def incomplete(found):
    """Files with the right schema that lack something."""
    whole = files.pack(found)
    no_date, no_runs = deepcopy(whole), deepcopy(whole)
    del no_date["machines"][0]["date"]
    no_runs["machines"][0]["results"][0]["runs"] = []
    return {
        "no machines": {"schema": whole["schema"]},
        "other machines": {"schema": whole["schema"], "machines": [3]},
        "no date": no_date,
        "no runs": no_runs,
        "version 1": {"schema": "fastbp-bench/1"},
    }


def test_a_single_precision_is_named_and_notes_name_columns_of_the_table(found):
    assert "precision highest" not in report.text(found)
    lower = deepcopy(found)
    lower["options"]["precisions"] = ["medium"]
    for result in lower["results"]:
        result["comparisons"] = {"medium": result["comparisons"]["highest"] | {"ratios": {}}}
        for run in result["runs"]:
            run["precision"] = "medium"
    text = report.text(lower)
    assert "\nprecision medium\n" in text
    assert "except for" not in text


def test_the_command_merges_reports(found, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = deepcopy(found)
    other["machine"]["cpu"] = "another CPU"
    files.write(files.pack(other), "all.json")
    files.write(files.pack(found), "new.json")
    for _ in range(2):
        assert main(["bench", "--from", "new.json", "--merge", "all.json"]) == 0
        assert files.read("all.json")["machines"] == [other, found]
    assert main(["bench", "--from", "all.json"]) == 0
    assert "another CPU" in capsys.readouterr().out
    assert main(["bench", "--from", "new.json", "--merge", "fresh.json"]) == 0
    assert files.read("fresh.json") == files.pack(found)
    with monkeypatch.context() as patch:
        patch.setattr("fastbp._cli.bench.measure", lambda *arguments: pytest.fail("measured"))
        for name, content in incomplete(found).items():
            Path("part.json").write_text(json.dumps(content))
            for option in ("--from", "--merge"):
                assert main([*ALONE, "--config", "rl", option, "part.json"]) == 1, name
                err = capsys.readouterr().err
                assert "part.json is not a whole report of fastbp bench" in err, name
    Path("text.json").write_text("so fast")
    assert main(["bench", "--from", "new.json", "--merge", "text.json"]) == 1
    assert Path("text.json").read_text() == "so fast"


@pytest.mark.products
def test_the_command_measures_at_several_precisions(capsys):
    arguments = ["--config", "predict-rl", "--precision", "medium,highest", "--json"]
    assert main([*ALONE, *arguments]) == 0
    (made,) = json.loads(capsys.readouterr().out)["machines"]
    assert made["options"]["precisions"] == ["highest", "medium"]
    assert [run["precision"] for run in made["results"][0]["runs"]] == ["highest", "medium"]
    assert "over_highest" in made["results"][0]["comparisons"]["medium"]


def test_the_command_chooses_the_isa(capsys):
    isa = _core.available_isas()[0]
    assert main([*ALONE, "--config", "predict-rl", "--isa", isa, "--json"]) == 0
    (made,) = json.loads(capsys.readouterr().out)["machines"]
    assert made["machine"]["isa"] == isa


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
        (["--precision", "low"], 2, "unknown precision 'low'; known: highest, high, medium"),
        (["--precision", "high", "--dtype", "float64"], 2, "'high' needs float32"),
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
