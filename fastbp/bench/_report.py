"""What a run found: as a dict for machines, laid out as below, and as a table for people.

    schema     "fastbp-bench/1"
    date       when it was made, ISO 8601, UTC
    machine    what fastbp.show_config shows, isa being that of the engine's runs, and
               versions {package: version}
    options    the fields of `_lane.Options`
    failures   [{config, program, threads, error}], peers that could not be measured
    results    one entry a configuration:
      config         the fields of `suites.Config`, and rows, n_steps, flops_per_sample
      data           "synthetic" or the name of the data set
      peak_gflops    summary of the FMA peak of one core, measured between the steps
      runs           one entry a program and number of threads:
        program, threads
        us                  summary of microseconds a step (or call)
        rounds_us           the same, round by round
        samples_per_second  at the median
        gflops              at the median
        cores_used          summary of seconds of processors a second
        peak_share          summary of gflops / (threads · peak); the engine's runs only
        memory_bytes        peak over NumPy and the data, where measured
      threads        {program: the number at which its median is least}
      speedup        {number: summary of the engine's time on the first number over its time on it}
      ratios         {peer: summary of its time over the engine's, each at its best threads}
      best           the peer with the least median, or null
      best_usual     the same among the programs written the usual way

A summary is {median, min, q1, q3}. A ratio is taken round by round, and summed up afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime

from .._config import config as machine_config
from ._lane import Lane, Options
from ._peers import ENGINE, PROGRAMS
from ._suites import Config
from ._timing import paired_ratio, summary

SCHEMA = "fastbp-bench/1"
_ALONE = 0.97  # of a core: with less, another process had the rest
_PACKAGES = ("numpy", "torch", "jax", "jaxlib", "scikit-learn")


def assemble(options: Options, results: list[dict], failures: list[dict]) -> dict:
    """The whole report."""
    from importlib import metadata  # large, and the processes that are measured import this module

    machine = machine_config()
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


def result(config: Config, lanes: Sequence[Lane], memory: dict[str, int | None]) -> dict:
    """The entry of one configuration, from its lanes after the last round."""
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


def _run(config: Config, lane: Lane, memory: dict[str, int | None]) -> dict:
    flops = config.flops_per_sample * config.rows / config.n_steps  # a step
    us = summary(1e6 * seconds for seconds in lane.seconds)
    run = {
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
    if memory.get(lane.worker.program) is not None:
        run["memory_bytes"] = memory[lane.worker.program]
    return run


# ---- for people ---------------------------------------------------------------------------


def header(report: dict) -> str:
    """What was measured on what, in a few lines."""
    machine, options = report["machine"], report["options"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['isa']}, {options['dtype']}, "
        f"{report['date']}\n{versions}"
    )


def block(result: dict) -> str:
    """All programs on one configuration, a line each."""
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


def table(report: dict) -> str:
    """A line a configuration: the engine, and how many times longer every peer takes."""
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


def _notes(report: dict, first: int, others: Sequence[int], peers: Sequence[str]) -> list[str]:
    notes = [
        f"µs: a step, or call, of fastbp at its best threads; of peak ×{first}: share of the FMA "
        f"peak on {_threads(first)}" + "".join(f"; ×{n}: speed-up on {_threads(n)}" for n in others)
    ]
    if peers:
        notes.append("peers: their time over fastbp's, both at their best threads; medians")
    for result in report["results"]:
        config, runs = result["config"], _engine_runs(result)
        if config["kind"] == "epoch":
            us = runs[result["threads"][ENGINE]]["us"]["median"]
            seconds = 1e-6 * us * config["n_steps"]
            notes.append(f"{config['name']}: fastbp takes {seconds:.3f} s an epoch")
        if first == 1 and runs[1]["cores_used"]["median"] < _ALONE:
            notes.append(f"{config['name']}: something else was running; measure again")
    synthetic = [
        result["config"]["name"]
        for result in report["results"]
        if result["data"] != result["config"]["data"]
    ]
    if synthetic:
        notes.append(
            f"{', '.join(synthetic)}: synthetic data of the same size; the data set is not "
            "installed (apt-get install dataset-fashion-mnist)"
        )
    for failure in report["failures"]:
        notes.append("{config}: no {program} on {threads} threads: {error}".format(**failure))
    return notes


def _engine_runs(result: dict) -> dict[int, dict]:
    """The engine's runs by number of threads."""
    return {run["threads"]: run for run in result["runs"] if run["program"] == ENGINE}


def _threads(n: int) -> str:
    return f"{n} thread{'s' * (n > 1)}"


def _us(value: float) -> str:
    """Microseconds to three or more digits.

    >>> _us(1.2345), _us(123.45), _us(12345.6)
    ('1.23', '123.5', '12,346')
    """
    digits = 2 if value < 10 else 1 if value < 1000 else 0
    return f"{value:,.{digits}f}"
