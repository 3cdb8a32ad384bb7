"""benchmarks/publish.py: the README holds the figures of docs/bench.json."""

import importlib.util
from copy import deepcopy
from pathlib import Path

import pytest

from fastbp._cli.main import build_parser
from fastbp.bench import _file as files

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def publish():
    spec = importlib.util.spec_from_file_location("publish", ROOT / "benchmarks/publish.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def comparison(ratios, precision="highest", gain=None):
    """A comparison with these medians."""
    best = min(ratios, key=lambda program: ratios[program][1], default=None)
    found = {
        "chosen": {"fastbp": {"precision": precision, "threads": 2}}
        | {program: {"precision": way, "threads": 1} for program, (way, _) in ratios.items()},
        "ratios": {program: {"median": ratio} for program, (_, ratio) in ratios.items()},
        "cpu_ratios": {program: 2 * ratio for program, (_, ratio) in ratios.items()},
        "best": best,
        "best_usual": best,
    }
    return found | ({} if gain is None else {"over_highest": {"median": gain}})


def run(precision, us):
    return {"program": "fastbp", "precision": precision, "threads": 2, "us": {"median": us}}


def result(name, torch, jax, gain):
    """A configuration with ratios of two peers at highest; torch is twice as fast at medium."""
    ratios = {"torch": ("highest", torch), "jax": ("highest", jax)}
    at_medium = {"torch": ("autocast", torch / 2), "jax": ("highest", jax)}
    return {
        "config": {"name": name, "widths": [4, 8, 2], "activation": "tanh", "batch": 64},
        "conditions": {"steal": 0.0, "others": 0.25},
        "runs": [run("highest", 1234.0), run("medium", 617.0)],
        "comparisons": {
            "highest": comparison(ratios),
            "medium": comparison(at_medium, "medium", gain),
        },
    }


REPORT = {
    "date": "2026-01-02T03:04:05+00:00",
    "machine": {"cpu": "A CPU", "cores": 2, "isa": "avx2", "versions": {"torch": "2", "jax": "1"}},
    "options": {"threads": [1, 2], "dtype": "float32", "precisions": ["highest", "medium"]},
    "results": [result("a", 3, 2, 1.5), result("b", 1.9, 1.02, 2), result("c", 1.6, 0.5, 2)],
}


def test_the_readme_holds_the_figures(publish):
    page = publish.README.read_text(encoding="utf-8")
    again = publish.replaced(page, files.read(publish.FIGURES)["machines"])
    assert page == again, "run python benchmarks/publish.py"


def test_every_machine_has_a_part(publish):
    other = deepcopy(REPORT)
    other["machine"]["cpu"] = "another CPU"
    text = publish.markdown([REPORT, other])
    assert text.startswith(
        "### A CPU, 2 cores, avx2\n\nMeasured on 2026-01-02; torch 2, jax 1; steal 0 %, other "
        'processes 25 % of the cores.\n\nAt "highest", fastbp is faster than every peer on a; '
    )
    assert (
        "| network | batch | µs | best usual peer | best peer | by processor time |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: |\n"
        "| a: 4-8-2 tanh | 64 | 1,234 | 2.00 jax | 2.00 jax | 4.00 jax |\n"
    ) in text
    row = "| a: 4-8-2 tanh | 64 | 617 | 1.50 | 1.50 torch autocast | 1.50 torch autocast "
    assert f"{row}| 3.00 torch |\n" in text
    assert text.count("\n| a: ") == 4
    assert "### another CPU, 2 cores, avx2\n" in text


def test_the_page_says_where_fastbp_leads_and_where_not(publish):
    assert publish.leads(REPORT, "highest") == (
        "fastbp is faster than every peer on a; level with the best peer on b (jax); slower than "
        "the best peer on c (jax)."
    )
    assert publish.leads(REPORT, "medium").startswith("fastbp is faster than every peer on a; ")
    alone = {"config": {"name": "a"}, "comparisons": {"highest": comparison({})}}
    assert publish.leads({"results": [alone]}, "highest") == "no peer was measured."


def test_only_the_part_between_the_comments_is_written(publish):
    page = f"before\n{publish.BEGIN}\nold\n{publish.END}\nafter\n"
    written = publish.replaced(page, [REPORT])
    assert written.startswith(f"before\n{publish.BEGIN}\n\n### A CPU")
    assert written.endswith(f"\n\n{publish.END}\nafter\n")
    assert publish.replaced(written, [REPORT]) == written
    with pytest.raises(ValueError, match="expected one part"):
        publish.replaced("no comments", [REPORT])


def test_the_options_of_the_measurement_are_valid(publish):
    args = build_parser().parse_args(publish.MEASURE)
    assert args.precision == ("highest", "high", "medium")
    assert args.merge == str(ROOT / "docs/bench.json")


def test_the_program_writes_chart_and_page(publish, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    page, chart = tmp_path / "README.md", tmp_path / "bench.png"
    page.write_text(f"{publish.BEGIN}\n{publish.END}\n", encoding="utf-8")
    monkeypatch.setattr(publish, "README", page)
    monkeypatch.setattr(publish, "CHART", chart)
    commands = []
    monkeypatch.setattr(publish, "fastbp", lambda arguments: commands.append(arguments) or 0)
    assert publish.main([]) == 0
    assert not commands
    assert publish.main(["--measure"]) == 0
    assert commands == [publish.MEASURE]
    assert page.read_text(encoding="utf-8").startswith(f"{publish.BEGIN}\n\n### ")
    assert chart.read_bytes().startswith(b"\x89PNG")
    monkeypatch.setattr(publish, "fastbp", lambda arguments: 3)
    assert publish.main(["--measure"]) == 3
