"""Make a report of the measurements, and format it for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from typing import Any

from .._config import config as machine_config
from ._lane import Lane, Options
from ._layout import SCHEMA, Failure, Report, Result, Run
from ._peers import ENGINE, PROGRAMS
from ._suites import Config
from ._timing import paired_ratio, summary

_ALONE = 0.97  # if one thread used less of a core, another process had the rest
_PACKAGES = ("numpy", "torch", "jax", "jaxlib", "scikit-learn")


def assemble(options: Options, results: list[Result], failures: list[Failure]) -> Report:
    """Return the whole report."""
    from importlib import metadata  # large, and the measured processes import this module

    machine: dict[str, Any] = machine_config()
    if options.isa is not None:
        machine["isa"] = options.isa
    versions = {"fastbp": machine.pop("fastbp"), "numpy": machine.pop("numpy")}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "schema": SCHEMA,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine | {"versions": versions},
        "options": asdict(options),
        "failures": failures,
        "results": results,
    }


def result(config: Config, lanes: Sequence[Lane], memory: dict[str, int | None]) -> Result:
    """Return the entry of one configuration, from its lanes after the last round."""
    best: dict[str, Lane] = {}
    for lane in sorted(lanes, key=lambda lane: summary(lane.seconds)["median"]):
        best.setdefault(lane.worker.program, lane)
    engine = [lane for lane in lanes if lane.is_engine]
    peers = [program for program in best if program != ENGINE]
    extra = {key: getattr(config, key) for key in ("rows", "n_steps", "flops_per_sample")}
    return {
        "config": asdict(config) | extra,
        "data": engine[0].source,
        "peak_gflops": summary(peak for lane in engine for peak in lane.peaks),
        "runs": [_run(config, lane, memory) for lane in lanes],
        "threads": {program: lane.worker.n_threads for program, lane in best.items()},
        "speedup": {
            str(lane.worker.n_threads): paired_ratio(engine[0].seconds, lane.seconds)
            for lane in engine
        },
        "ratios": {
            program: paired_ratio(best[program].seconds, best[ENGINE].seconds)
            for program in PROGRAMS
            if program in peers
        },
        "best": next(iter(peers), None),
        "best_usual": next((p for p in peers if PROGRAMS[p].usual), None),
    }


def _run(config: Config, lane: Lane, memory: dict[str, int | None]) -> Run:
    flops = config.flops_per_sample * config.rows / config.n_steps  # per step
    us = summary(1e6 * seconds for seconds in lane.seconds)
    run: Run = {
        "program": lane.worker.program,
        "threads": lane.worker.n_threads,
        "us": us,
        "rounds_us": [1e6 * seconds for seconds in lane.seconds],
        "samples_per_second": 1e6 * config.rows / config.n_steps / us["median"],
        "gflops": 1e-3 * flops / us["median"],
        "cores_used": summary(lane.cores),
    }
    if lane.is_engine:
        run["peak_share"] = summary(
            1e-9 * flops / (seconds * peak * lane.worker.n_threads)
            for seconds, peak in zip(lane.seconds, lane.peaks, strict=True)
        )
    memory_bytes = memory.get(lane.worker.program)
    if memory_bytes is not None:
        run["memory_bytes"] = memory_bytes
    return run


# ---- for people ---------------------------------------------------------------------------


def header(report: Report) -> str:
    """Describe the machine and the versions in two lines."""
    machine, options = report["machine"], report["options"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['isa']}, {options['dtype']}, "
        f"{report['date']}\n{versions}"
    )


def block(result: Result) -> str:
    """Format all programs on one configuration, one line per program."""
    config = result["config"]
    known = {field.name: config[field.name] for field in fields(Config)}
    about = Config(**known | {"widths": tuple(config["widths"])}).describe()
    data = "" if config["data"] == "synthetic" else f", data: {result['data']}"
    unit = "µs/step" if config["kind"] != "predict" else "µs/call"
    peak = f"one core peaks at {result['peak_gflops']['median']:.1f} GFLOP/s"
    titles = (
        f"  {'program':14}{'threads':>7}{unit:>12}{'quartiles':>22}{'samples/s':>14}"
        f"{'GFLOP/s':>9}{'of peak':>9}{'memory':>10}{'ratio':>8}"
    )
    lines = [f"{config['name']}: {about}{data}; {peak}", titles]
    for run in result["runs"]:
        us = run["us"]
        spread = f"{_us(us['q1'])} – {_us(us['q3'])}"
        share = f"{100 * run['peak_share']['median']:.0f} %" if "peak_share" in run else ""
        memory = f"{run['memory_bytes'] / 2**20:.1f} MB" if "memory_bytes" in run else ""
        program = run["program"]
        at_best = run["threads"] == result["threads"][program]
        ratio = (
            f"{result['ratios'][program]['median']:.2f}" if at_best and program != ENGINE else ""
        )
        line = (
            f"  {program:14}{run['threads']:7}{_us(us['median']):>12}{spread:>22}"
            f"{run['samples_per_second']:14,.0f}{run['gflops']:9.1f}{share:>9}{memory:>10}{ratio:>8}"
        )
        lines.append(line.rstrip())
    return "\n".join(lines)


def table(report: Report) -> str:
    """Format one line per configuration: fastbp, and the time of each peer relative to it."""
    results = report["results"]
    peers = [p for p in PROGRAMS if any(p in result["ratios"] for result in results)]
    first, *others = report["options"]["threads"]
    columns = ["config", "µs", "threads", f"of peak ×{first}", *(f"×{n}" for n in others), *peers]
    rows = [columns + (["best usual", "best"] if peers else [])]
    for result in results:
        ratios = result["ratios"]
        runs, threads = _engine_runs(result), result["threads"][ENGINE]
        row = [
            result["config"]["name"],
            _us(runs[threads]["us"]["median"]),
            str(threads),
            f"{100 * runs[first]['peak_share']['median']:.0f} %",
            *(f"{result['speedup'][str(n)]['median']:.2f}" for n in others),
            *(f"{ratios[p]['median']:.2f}" if p in ratios else "–" for p in peers),
        ]
        for best in (result["best_usual"], result["best"]) if peers else ():
            row.append("–" if best is None else f"{ratios[best]['median']:.2f} {best}")
        rows.append(row)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([*lines, "", *_notes(report, first, others, peers)])


def _notes(report: Report, first: int, others: Sequence[int], peers: Sequence[str]) -> list[str]:
    notes = [
        f"µs: time of a step or call of fastbp at its best number of threads; of peak ×{first}: "
        f"share of the FMA peak on {_threads(first)}"
        + "".join(f"; ×{n}: speed-up on {_threads(n)}" for n in others)
    ]
    if peers:
        notes.append(
            "peers: their time divided by that of fastbp, each at its best number of threads; "
            "medians"
        )
    for result in report["results"]:
        config, runs = result["config"], _engine_runs(result)
        if config["kind"] == "epoch":
            us = runs[result["threads"][ENGINE]]["us"]["median"]
            seconds = 1e-6 * us * config["n_steps"]
            notes.append(f"{config['name']}: fastbp takes {seconds:.3f} s per epoch")
        if first == 1 and runs[1]["cores_used"]["median"] < _ALONE:
            notes.append(f"{config['name']}: another program was running; measure again")
    synthetic = [
        result["config"]["name"]
        for result in report["results"]
        if result["data"] != result["config"]["data"]
    ]
    if synthetic:
        notes.append(
            f"{', '.join(synthetic)}: synthetic data of the same size, because the data set is not "
            "installed (apt-get install dataset-fashion-mnist)"
        )
    for failure in report["failures"]:
        threads = _threads(failure["threads"])
        notes.append(
            f"{failure['config']}: {failure['program']} failed on {threads}: {failure['error']}"
        )
    return notes


def _engine_runs(result: Result) -> dict[int, Run]:
    """Return the runs of fastbp by number of threads."""
    return {run["threads"]: run for run in result["runs"] if run["program"] == ENGINE}


def _threads(n: int) -> str:
    return f"{n} thread{'s' * (n > 1)}"


def _us(value: float) -> str:
    """Format microseconds with at least three digits.

    >>> _us(1.2345), _us(123.45), _us(12345.6)
    ('1.23', '123.5', '12,346')
    """
    digits = 2 if value < 10 else 1 if value < 1000 else 0
    return f"{value:,.{digits}f}"
