"""Write the chart and the tables of the README from docs/bench.json.

    python benchmarks/publish.py              # docs/bench.png and the part of README.md
    python benchmarks/publish.py --measure    # first measure this machine, with all peers

docs/bench.json has one report per machine. --measure replaces the report of this machine only; it
needs torch, jax, scikit-learn and matplotlib. The README's part lies between two comments.
"""

import argparse
import re
import sys
import textwrap
from pathlib import Path

from fastbp._cli.main import main as fastbp
from fastbp.bench import _file as files
from fastbp.bench._plot import draw
from fastbp.bench._report import engine_runs, least_cpu, machine_name, neighbours
from fastbp.bench._suites import join_widths

ROOT = Path(__file__).parents[1]
FIGURES, CHART, README = ROOT / "docs/bench.json", ROOT / "docs/bench.png", ROOT / "README.md"
PEERS = "torch,torch-compile,jax,jax-scan,sklearn"
MEASURE = [
    *("bench", "--suite", "steps", "--precision", "highest,high,medium", "--peers", PEERS),
    *("--rounds", "7", "--merge", str(FIGURES)),
]
BEGIN, END = "<!-- written by benchmarks/publish.py -->", "<!-- end of this part -->"
LEVEL = 0.05  # ratios this close to 1 are called level


def markdown(reports):
    """Return the part of the README: the machines, each with one table per precision."""
    return "\n\n".join(part(report) for report in reports)


def part(report):
    """Return the part of one machine."""
    about = filter(None, [report["date"][:10], versions(report), neighbours(report)])
    return "\n\n".join(
        [
            f"### {machine_name(report)}",
            wrapped(f"Measured on {'; '.join(about)}."),
            *(table(report, precision) for precision in report["options"]["precisions"]),
        ]
    )


def table(report, precision):
    """Return a sentence that says where fastbp leads at a precision, and the table."""
    finest = report["options"]["precisions"][0]
    columns = ["network", "batch", "µs", *(["gain"] if precision != finest else [])]
    columns += ["best usual peer", "best peer", "by processor time"]
    rows = [columns, ["---"] + ["---:"] * (len(columns) - 1)]
    for result in report["results"]:
        config, comparison = result["config"], result["comparisons"][precision]
        threads = comparison["chosen"]["fastbp"]["threads"]
        us = engine_runs(result, precision)[threads]["us"]["median"]
        row = [
            f"{config['name']}: {join_widths(config['widths'])} {config['activation']}",
            str(config["batch"]),
            f"{us:,.0f}",
        ]
        if precision != finest:
            row.append(f"{comparison['over_highest']['median']:.2f}")
        row += [peer(comparison, best) for best in ("best_usual", "best")]
        rows.append([*row, least_cpu(comparison)])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([wrapped(f'At "{precision}", {leads(report, precision)}'), "", *lines])


def wrapped(text):
    """Return a paragraph in lines of at most 100 columns."""
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def versions(report):
    """Return the packages and their versions."""
    return ", ".join(f"{name} {version}" for name, version in report["machine"]["versions"].items())


def peer(comparison, best):
    """Return the ratio to the best peer, and how that peer multiplies if it is not in float32."""
    name = comparison[best]
    if name is None:
        return "–"
    way = comparison["chosen"][name]["precision"]
    shown = name if way == "highest" else f"{name} {way}"
    return f"{comparison['ratios'][name]['median']:.2f} {shown}"


def leads(report, precision):
    """Return a sentence that says where fastbp is faster than all peers, and where it is not."""
    faster, level, slower = [], [], []
    for result in report["results"]:
        comparison, name = result["comparisons"][precision], result["config"]["name"]
        if comparison["best"] is None:
            continue
        ratio = comparison["ratios"][comparison["best"]]["median"]
        if ratio > 1 + LEVEL:
            faster.append(name)
        elif ratio >= 1 - LEVEL:
            level.append(f"{name} ({comparison['best']})")
        else:
            slower.append(f"{name} ({comparison['best']})")
    parts = [
        f"faster than every peer on {', '.join(faster)}" if faster else "",
        f"level with the best peer on {', '.join(level)}" if level else "",
        f"slower than the best peer on {', '.join(slower)}" if slower else "",
    ]
    if not any(parts):
        return "no peer was measured."
    return f"fastbp is {'; '.join(filter(None, parts))}."


def replaced(text, reports):
    """Return the text of a page with the part between the comments written again."""
    return replaced_between(text, BEGIN, END, markdown(reports))


def replaced_between(text, begin, end, part):
    """Return a text with another part between two lines, which it must have once."""
    pattern = f"(?<={re.escape(begin)}\n).*(?={re.escape(end)})"
    found, count = re.subn(pattern, lambda _: f"\n{part}\n\n", text, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"expected one part between {begin} and {end}, got {count}")
    return found


def main(argv=None):
    """Measure if asked, and write chart and page; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--measure", action="store_true", help="measure this machine first")
    if parser.parse_args(argv).measure and (code := fastbp(MEASURE)) != 0:
        return code
    reports = files.read(FIGURES)["machines"]
    draw(reports, CHART)
    README.write_text(replaced(README.read_text(encoding="utf-8"), reports), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
