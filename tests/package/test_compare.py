"""benchmarks/compare.py with invented files: its arithmetic, reruns and exit codes."""

import importlib.util
import json
import re
import sys
from copy import deepcopy
from functools import cache
from pathlib import Path

import pytest

from fastbp.bench import Options, measure
from fastbp.bench._layout import SCHEMA
from fastbp.bench._suites import CONFIGS

pytestmark = pytest.mark.once

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "compare.py"


@pytest.fixture(scope="module")
def compare():
    spec = importlib.util.spec_from_file_location("compare", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["compare"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["compare"]


def pytest_file(path, times, *, peak=100.0, isa="avx2"):
    """Write a file of pytest-benchmark with these times in µs."""
    benchmarks = [
        {
            "fullname": f"benchmarks/test_gemm.py::{name}",
            "stats": {"median": 1e-6 * us},
            "extra_info": {"us": us, "mflop_time": 1e-3 * us * peak, "isa": isa},
        }
        for name, us in times.items()
    ]
    path.write_text(json.dumps({"benchmarks": benchmarks}))
    return str(path)


@cache
def measured():
    """A real report of fastbp bench, of one short run."""
    options = Options(threads=(1,), precisions=("high",), rounds=1, seconds=1e-4, peak_seconds=1e-4)
    return measure([(CONFIGS["predict-rl"], False)], [], options, lambda result: None)


def bench_file(path, times, *, peak=100.0, machines=1):
    """Write a report of fastbp bench with these times of a step in µs."""
    report = deepcopy(measured())
    report["machine"]["isa"] = "avx2"
    (result,) = report["results"]
    report["results"] = []
    for name, us in times.items():
        result["config"]["name"] = name
        result["peak_gflops"]["median"] = peak
        (run,) = result["runs"]
        run["us"]["median"] = us
        report["results"].append(deepcopy(result))
    path.write_text(json.dumps({"schema": SCHEMA, "machines": [report] * machines}))
    return str(path)


@pytest.mark.parametrize("write", [pytest_file, bench_file])
def test_compare_finds_what_is_slower(compare, write, tmp_path, capsys):
    old = write(tmp_path / "old.json", {"a": 10.0, "b": 20.0})
    same = write(tmp_path / "same.json", {"a": 10.4, "b": 15.0})
    slow = write(tmp_path / "slow.json", {"a": 10.0, "b": 22.0})
    assert compare.main([old, same]) == 0
    assert compare.main([old, same, "--threshold", "0.03"]) == 1
    capsys.readouterr()
    assert compare.main([old, slow]) == 1
    assert re.search(r"slower: \S*b.* by 10\.0 %", capsys.readouterr().out)


@pytest.mark.parametrize("write", [pytest_file, bench_file])
def test_compare_accounts_for_a_slower_core(compare, write, tmp_path):
    old = write(tmp_path / "old.json", {"a": 10.0}, peak=100.0)
    new = write(tmp_path / "new.json", {"a": 12.5}, peak=80.0)
    assert compare.main([old, new]) == 0
    assert compare.main([old, new, "--raw"]) == 1


def rerun_command(path, names):
    """A command whose result is a copy of `path`, and which writes its arguments to `names`."""
    code = (
        "import shutil, sys; shutil.copy(sys.argv[1], sys.argv[2]);"
        "print(*sys.argv[4:], file=open(sys.argv[3], 'a'))"
    )
    return f'{sys.executable} -c "{code}" {path} {{json}} {names} {{names}}'


@pytest.mark.parametrize("write", [pytest_file, bench_file])
def test_compare_measures_slower_benchmarks_again(compare, write, tmp_path, capsys):
    old = write(tmp_path / "old.json", {"a": 10.0, "b": 20.0, "c": 30.0})
    new = write(tmp_path / "new.json", {"a": 11.0, "b": 22.0, "c": 30.0})
    once = write(tmp_path / "once.json", {"a": 10.0, "b": 23.0})
    names = tmp_path / "names.txt"
    assert compare.main([old, new, "--rerun", rerun_command(once, names)]) == 1
    out = capsys.readouterr().out
    assert len(re.findall("^slower: ", out, re.MULTILINE)) == 1
    assert re.search(r"slower: \S*b.* by 10\.0 %", out)
    first, second = names.read_text().splitlines()
    separator = "," if write is bench_file else " "
    assert [name.rpartition(":")[2] for name in first.split(separator)] == ["a", "b"]
    assert [name.rpartition(":")[2] for name in second.split(separator)] == ["b"]

    well = write(tmp_path / "well.json", {"a": 10.0, "b": 20.0})
    assert compare.main([old, new, "--rerun", rerun_command(well, names)]) == 0


def test_files_that_cannot_be_compared_are_refused(compare, tmp_path, capsys):
    old = pytest_file(tmp_path / "old.json", {"a": 10.0})
    slow = pytest_file(tmp_path / "slow.json", {"a": 20.0})
    (tmp_path / "text.json").write_text("so fast")
    (tmp_path / "list.json").write_text("[]")
    for new, message in [
        (pytest_file(tmp_path / "isa.json", {"a": 10.0}, isa="avx512"), "avx2 against"),
        (bench_file(tmp_path / "bench.json", {"a": 10.0}), "against fastbp bench"),
        (bench_file(tmp_path / "two.json", {"a": 10.0}, machines=2), "has reports of 2 machines"),
        (pytest_file(tmp_path / "none.json", {"b": 10.0}), "no benchmark in common"),
        (str(tmp_path / "text.json"), "is not JSON"),
        (str(tmp_path / "list.json"), "is neither a fastbp bench file"),
        (str(tmp_path / "missing.json"), "No such file"),
    ]:
        assert compare.main([old, new]) == 2, new
        assert message in capsys.readouterr().err, new
    assert compare.main([old, slow, "--rerun", "exit 3"]) == 2
    assert "the rerun ended with code 3" in capsys.readouterr().err
    command = rerun_command(pytest_file(tmp_path / "b.json", {"b": 1.0}), tmp_path / "names.txt")
    assert compare.main([old, slow, "--rerun", command]) == 2
    for wrong in (["--threshold", "0"], ["--reruns", "0"]):
        with pytest.raises(SystemExit, match="2"):
            compare.main([old, slow, *wrong])
