"""Make a report of the measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from .. import _core
from .._config import config as machine_config
from ._lane import Lane, Options
from ._layout import Comparison, Conditions, Failure, Report, Result, Run
from ._peers import ENGINE, PROGRAMS
from ._suites import Config
from ._timing import paired_ratio, summary

_PACKAGES = ("numpy", "torch", "jax", "jaxlib", "scikit-learn")


def assemble(
    options: Options,
    same: dict[str, list[str]],
    results: list[Result],
    failures: list[Failure],
) -> Report:
    """Return the whole report."""
    from importlib import metadata  # large, and the measured processes import this package

    machine: dict[str, Any] = machine_config()
    machine["isa_fastest"] = _core.fastest_isa()
    del machine["matmul_precision"]  # the options have the precisions that were measured
    if options.isa is not None:
        machine["isa"] = options.isa
    versions = {"fastbp": machine.pop("fastbp"), "numpy": machine.pop("numpy")}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine | {"versions": versions},
        "options": asdict(options),
        "same": same,
        "failures": failures,
        "results": results,
    }


def compared(
    config: Config,
    lanes: Sequence[Lane],
    precisions: Sequence[str],
    conditions: Conditions,
    memory: dict[str, int | None],
) -> Result:
    """Return the entry of one configuration, from its lanes after the last round."""
    engine = [lane for lane in lanes if lane.is_engine]
    extra = {key: getattr(config, key) for key in ("rows", "n_steps", "flops_per_sample")}
    return {
        "config": asdict(config) | extra,
        "data": engine[0].source,
        "peak_gflops": summary(peak for lane in engine for peak in lane.peaks),
        "conditions": conditions,
        "runs": [_run(config, lane, memory) for lane in lanes],
        "comparisons": {precision: _comparison(lanes, precision) for precision in precisions},
    }


def _comparison(lanes: Sequence[Lane], precision: str) -> Comparison:
    """Compare fastbp at one precision with the peers at this precision or a finer one."""
    eligible: dict[str, list[Lane]] = {}
    for lane in lanes:
        program, way = lane.worker.program, lane.worker.precision
        if way == precision if lane.is_engine else way in PROGRAMS[program].ways_for(precision):
            eligible.setdefault(program, []).append(lane)
    best = {program: min(some, key=_median) for program, some in eligible.items()}
    peers = sorted((p for p in best if p != ENGINE), key=lambda program: _median(best[program]))
    engine = eligible[ENGINE]
    comparison: Comparison = {
        "chosen": {program: lane.choice for program, lane in best.items()},
        "speedup": {
            str(lane.worker.n_threads): paired_ratio(engine[0].seconds, lane.seconds)
            for lane in engine
        },
        "ratios": {
            program: paired_ratio(best[program].seconds, best[ENGINE].seconds)
            for program in PROGRAMS
            if program in peers
        },
        "cpu_ratios": {
            program: _least_cpu(eligible[program]) / _least_cpu(engine)
            for program in PROGRAMS
            if program in peers
        },
        "best": next(iter(peers), None),
        "best_usual": next((p for p in peers if PROGRAMS[p].usual), None),
    }
    highest = [lane for lane in lanes if lane.is_engine and lane.worker.precision == "highest"]
    if highest and precision != "highest":
        fastest = min(highest, key=_median)
        comparison["over_highest"] = paired_ratio(fastest.seconds, best[ENGINE].seconds)
        comparison["cpu_over_highest"] = _least_cpu(highest) / _least_cpu(engine)
    return comparison


def _median(lane: Lane) -> float:
    return summary(lane.seconds)["median"]


def _least_cpu(lanes: Sequence[Lane]) -> float:
    """Return the least processor seconds per step on the lowest number of threads."""
    fewest = min(lane.worker.n_threads for lane in lanes)
    return min(min(lane.cpu_seconds) for lane in lanes if lane.worker.n_threads == fewest)


def _run(config: Config, lane: Lane, memory: dict[str, int | None]) -> Run:
    flops = config.flops_per_sample * config.rows / config.n_steps  # per step
    us = summary(1e6 * seconds for seconds in lane.seconds)
    run: Run = {
        "program": lane.worker.program,
        "precision": lane.worker.precision,
        "threads": lane.worker.n_threads,
        "us": us,
        "cpu_us": summary(1e6 * seconds for seconds in lane.cpu_seconds),
        "rounds_us": [1e6 * seconds for seconds in lane.seconds],
        "samples_per_second": 1e6 * config.rows / config.n_steps / us["median"],
        "gflops": 1e-3 * flops / us["median"],
        "cores_used": paired_ratio(lane.cpu_seconds, lane.seconds),
    }
    if lane.is_engine:
        run["peak_share"] = summary(
            1e-9 * flops / (seconds * peak * lane.worker.n_threads)
            for seconds, peak in zip(lane.seconds, lane.products_peaks, strict=True)
        )
    memory_bytes = memory.get(lane.worker.program)
    if memory_bytes is not None:
        run["memory_bytes"] = memory_bytes
    return run
