"""Compare two runs of the benchmarks; measure again what got slower before reporting it.

    python benchmarks/compare.py OLD.json NEW.json [--threshold 0.05]
        [--rerun 'COMMAND'] [--reruns 2]

Both files come from `pytest benchmarks --benchmark-json=FILE`, or both from
`fastbp bench --json FILE`. If both contain the FMA peak that was measured with each time, the
program compares time × peak, so a core with a lower clock rate does not look like a regression.
With --raw it compares times.

COMMAND runs in a shell and measures the suspects again. In COMMAND, {json} stands for the file to
write, and {names} for the suspects, as arguments of pytest or as one argument of --config:

    --rerun 'pytest {names} --benchmark-json={json}'
    --rerun 'fastbp bench --config {names} --peers none --json {json}'

A suspect that is as fast as before in one of the reruns is not reported. Exit code: 0 if nothing is
slower, 1 if something is, 2 for wrong usage or files that cannot be compared.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fastbp.bench import _file as files


class CompareError(Exception):
    """Files that cannot be compared, or a rerun that failed."""


@dataclass(frozen=True)
class Entry:
    """The time of one benchmark in µs, and time × peak if the peak was measured."""

    us: float
    scaled: float | None
    rerun: str  # what the rerun command calls it


@dataclass(frozen=True)
class Run:
    """All entries of a file by name, and the properties that must be the same in both files."""

    kind: str
    isa: str
    entries: dict[str, Entry]


def read(path):
    """Return the Run of a file. Raises CompareError."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise CompareError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise CompareError(f"{path} is not JSON: {error}") from None
    if isinstance(content, dict) and "schema" in content:
        return read_bench(path)
    if isinstance(content, dict) and "benchmarks" in content:
        return read_pytest(content)
    raise CompareError(f"{path} is neither a fastbp bench file nor a pytest-benchmark file")


def read_bench(path):
    """Return the Run of a report of fastbp bench, with the entries of the engine."""
    try:
        reports = files.read(path)["machines"]
    except ValueError as error:
        raise CompareError(str(error)) from None
    if len(reports) != 1:
        raise CompareError(f"{path} has reports of {len(reports)} machines; expected one")
    (report,) = reports
    entries = {}
    for result in report["results"]:
        peak = result["peak_gflops"]["median"]
        for run in result["runs"]:
            if run["program"] == "fastbp":
                config, us = result["config"]["name"], run["us"]["median"]
                kind = f"{report['options']['dtype']} {run['precision']}"
                name = f"{config} {kind} on {run['threads']}"
                entries[name] = Entry(us, us * peak, config)
    return Run("fastbp bench", report["machine"]["isa"], entries)


def read_pytest(content):
    """Return the Run of a file of pytest-benchmark."""
    entries, isas = {}, set()
    for benchmark in content["benchmarks"]:
        info = benchmark["extra_info"]
        us = info.get("us", 1e6 * benchmark["stats"]["median"])
        entries[benchmark["fullname"]] = Entry(us, info.get("mflop_time"), benchmark["fullname"])
        isas.add(info.get("isa", ""))
    return Run("pytest-benchmark", ", ".join(sorted(isas)), entries)


def change(old, new, raw):
    """Return how much longer the new entry takes, as a fraction of the old one."""
    if raw or old.scaled is None or new.scaled is None:
        return new.us / old.us - 1
    return new.scaled / old.scaled - 1


def changes(old, new, raw):
    """Return {name: change} for the entries of both runs. Raises CompareError."""
    if (old.kind, old.isa) != (new.kind, new.isa):
        raise CompareError(f"{old.kind}, {old.isa} against {new.kind}, {new.isa}")
    common = [name for name in old.entries if name in new.entries]
    if not common:
        raise CompareError("the files have no benchmark in common")
    return {name: change(old.entries[name], new.entries[name], raw) for name in common}


def rerun(command, run, names):
    """Measure the suspects again and return their Run. Raises CompareError."""
    arguments = list(dict.fromkeys(run.entries[name].rerun for name in names))
    if run.kind == "fastbp bench":
        arguments = [",".join(arguments)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rerun.json"
        command = command.replace("{json}", shlex.quote(str(path)))
        command = command.replace("{names}", shlex.join(arguments))
        done = subprocess.run(command, shell=True, stdout=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            raise CompareError(f"the rerun ended with code {done.returncode}: {command}")
        return read(path)


def confirm(old, new, suspects, args):
    """Return the suspects that every rerun finds slower, each with its smallest change."""
    for _ in range(args.reruns):
        if not suspects:
            break
        again = changes(old, rerun(args.rerun, new, suspects), args.raw)
        lost = [name for name in suspects if name not in again]
        if lost:
            raise CompareError(f"the rerun left out {', '.join(lost)}")
        least = {name: min(worse, again[name]) for name, worse in suspects.items()}
        suspects = {name: worse for name, worse in least.items() if worse > args.threshold}
    return suspects


def parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", metavar="OLD.json")
    parser.add_argument("new", metavar="NEW.json")
    parser.add_argument(
        "--threshold", type=float, default=0.05, help="a larger slowdown is suspect (default: 0.05)"
    )
    parser.add_argument("--raw", action="store_true", help="compare times and ignore the peak")
    parser.add_argument("--rerun", metavar="COMMAND", help="how to measure suspects again")
    parser.add_argument(
        "--reruns", metavar="N", type=int, default=2, help="number of reruns (default: 2)"
    )
    args = parser.parse_args(argv)
    if args.threshold <= 0:
        parser.error("--threshold must be above 0")
    if args.reruns < 1:
        parser.error("--reruns must be at least 1")
    return args


def main(argv=None):
    """Print every change, the suspects and the result; return the exit code."""
    args = parse(argv)
    try:
        old, new = read(args.old), read(args.new)
        found = changes(old, new, args.raw)
        width = max(map(len, found))
        for name, worse in found.items():
            before, after = old.entries[name].us, new.entries[name].us
            print(f"{name:{width}}  {before:12,.2f} µs  {after:12,.2f} µs  {100 * worse:+7.1f} %")
        for name in old.entries.keys() ^ new.entries.keys():
            print(f"{name:{width}}  only in one file")
        slower = {name: worse for name, worse in found.items() if worse > args.threshold}
        if slower and args.rerun:
            print(f"measuring again: {', '.join(slower)}", flush=True)
            slower = confirm(old, new, slower, args)
    except CompareError as error:
        print(f"compare: error: {error}", file=sys.stderr)
        return 2
    for name, worse in slower.items():
        print(f"slower: {name} by {100 * worse:.1f} %")
    if not slower:
        print("nothing is slower")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
