"""Format a report for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields

from ._layout import Comparison, Report, Result, Run
from ._peers import ENGINE, PEERS, PROGRAMS
from ._suites import Config

_ALONE = 0.97  # if one thread used less of a core, another process had the rest


def text(report: Report) -> str:
    """Format a whole report: the machine, and one table per precision."""
    precisions = report["options"]["precisions"]
    tables = [
        (f"precision {precision}\n" if precisions != ["highest"] else "") + table(report, precision)
        for precision in precisions
    ]
    return "\n\n".join([header(report), *tables, "\n".join(notes(report))])


def header(report: Report) -> str:
    """Describe the machine, the versions and what else ran, in two or three lines."""
    versions = report["machine"]["versions"].items()
    lines = [
        f"{machine_name(report)}, {report['options']['dtype']}, {report['date']}",
        ", ".join(f"{name} {version}" for name, version in versions),
    ]
    if busy := neighbours(report):
        lines.append(f"during the rounds: {busy}")
    return "\n".join(lines)


def machine_name(report: Report) -> str:
    """Name the processor, the number of cores, the instruction set and the tuning, if known."""
    machine = report["machine"]
    tune = f", tuned for {machine['tune']}" if "tune" in machine else ""
    return f"{machine['cpu']}, {machine['cores']} cores, {machine['isa']}{tune}"


def neighbours(report: Report) -> str:
    """Tell how much of the processors others had; empty if that is not known.

    >>> neighbours({"results": [{"conditions": {"steal": 0.02, "others": 0.0}}]})
    'steal 2 %, other processes 0 % of the cores'
    """
    known = [result["conditions"] for result in report["results"] if result["conditions"]]
    if not known:
        return ""
    steal = _percents(found["steal"] for found in known)
    others = _percents(found["others"] for found in known)
    return f"steal {steal}, other processes {others} of the cores"


def block(result: Result) -> str:
    """Format all programs on one configuration, one line per program."""
    config = result["config"]
    known = {field.name: config[field.name] for field in fields(Config)}
    about = Config(**known | {"widths": tuple(config["widths"])}).describe()
    data = "" if config["data"] == "synthetic" else f", data: {result['data']}"
    unit = "µs/step" if config["kind"] != "predict" else "µs/call"
    peak = f"one core peaks at {result['peak_gflops']['median']:.1f} GFLOP/s"
    titles = (
        f"  {'program':14}{'precision':10}{'threads':>7}{unit:>12}{'quartiles':>22}{'CPU µs':>12}"
        f"{'samples/s':>14}{'GFLOP/s':>9}{'of peak':>9}{'memory':>10}{'ratio':>8}"
    )
    lines = [_line(run, result["comparisons"]) for run in result["runs"]]
    return "\n".join([f"{config['name']}: {about}{data}; {peak}", titles, *lines])


def _line(run: Run, comparisons: dict[str, Comparison]) -> str:
    us, program = run["us"], run["program"]
    spread = f"{_us(us['q1'])} – {_us(us['q3'])}"
    cpu = _us(run["cpu_us"]["median"]) if "cpu_us" in run else ""
    share = f"{100 * run['peak_share']['median']:.0f} %" if "peak_share" in run else ""
    memory = f"{run['memory_bytes'] / 2**20:.1f} MB" if "memory_bytes" in run else ""
    # Without its own precision among those of fastbp, a run is compared only in the tables.
    comparison = comparisons.get(PROGRAMS[program].ways.get(run["precision"], ""))
    ratio = ""
    if comparison is not None and program != ENGINE:
        choice = {"precision": run["precision"], "threads": run["threads"]}
        if choice == comparison["chosen"][program]:
            ratio = f"{comparison['ratios'][program]['median']:.2f}"
    line = (
        f"  {program:14}{run['precision']:10}{run['threads']:7}{_us(us['median']):>12}{spread:>22}"
        f"{cpu:>12}{run['samples_per_second']:14,.0f}{run['gflops']:9.1f}{share:>9}{memory:>10}"
        f"{ratio:>8}"
    )
    return line.rstrip()


def table(report: Report, precision: str) -> str:
    """Format one line per configuration: fastbp, and the time of each peer relative to it."""
    results = report["results"]
    found = [(result, result["comparisons"][precision]) for result in results]
    peers = [p for p in PROGRAMS if any(p in comparison["ratios"] for _, comparison in found)]
    first, *others = report["options"]["threads"]
    over = precision != "highest" and "highest" in report["options"]["precisions"]
    columns = ["config", "µs", "CPU µs", "threads", f"of peak ×{first}"]
    columns += [f"×{n}" for n in others] + ["gain", "CPU gain"] * over + peers
    with_cpu = any(comparison["cpu_ratios"] for _, comparison in found)  # not in version 1
    columns += ["best usual", "best"] * bool(peers) + ["CPU best"] * with_cpu
    rows = [columns]
    for result, comparison in found:
        ratios, chosen = comparison["ratios"], comparison["chosen"][ENGINE]
        runs = engine_runs(result, precision)
        run = runs[chosen["threads"]]
        row = [
            result["config"]["name"],
            _us(run["us"]["median"]),
            _us(run["cpu_us"]["median"]) if "cpu_us" in run else "–",
            str(chosen["threads"]),
            f"{100 * runs[first]['peak_share']['median']:.0f} %",
            *(f"{comparison['speedup'][str(n)]['median']:.2f}" for n in others),
            *(_gains(comparison) if over else []),
            *(f"{ratios[p]['median']:.2f}" if p in ratios else "–" for p in peers),
        ]
        for best in (comparison["best_usual"], comparison["best"]) if peers else ():
            row.append("–" if best is None else f"{ratios[best]['median']:.2f} {best}")
        if with_cpu:
            row.append(least_cpu(comparison))
        rows.append(row)
    return _aligned(rows)


def _gains(comparison: Comparison) -> list[str]:
    gain, cpu_gain = comparison["over_highest"]["median"], comparison["cpu_over_highest"]
    return [f"{gain:.2f}", f"{cpu_gain:.2f}"]


def least_cpu(comparison: Comparison) -> str:
    """Format the lowest of the ratios of processor times, with its peer."""
    ratios = comparison["cpu_ratios"]
    peer = min(ratios, key=ratios.__getitem__, default=None)
    return "–" if peer is None else f"{ratios[peer]:.2f} {peer}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def notes(report: Report) -> list[str]:
    """Explain the columns of the tables, and what to know about this report."""
    return [*_columns(report), *_choices(report), *_warnings(report)]


def _columns(report: Report) -> list[str]:
    first, *others = report["options"]["threads"]
    peak = f"{report['options']['dtype']} FMA peak"
    if report["options"]["precisions"] != ["highest"]:
        peak += ", or of the bfloat16 peak for products in bfloat16,"
    lines = [
        "µs: time of a step or call of fastbp at its best number of threads",
        "CPU µs: processor time of all its threads",
        f"of peak ×{first}: share of the {peak} on {_threads(first)}"
        + "".join(f"; ×{n}: speed-up on {_threads(n)}" for n in others),
    ]
    ratios = []
    if len(report["options"]["precisions"]) > 1:
        ratios.append("CPU gain")
        lines.append("gain: time of fastbp at highest divided by its time at this precision")
        lines.append(f"CPU gain: the ratio of its least processor times on {_threads(first)}")
    if any(_with_peers(result) for result in report["results"]):
        ratios.append("CPU best")
        lines.append(
            "peers: their time divided by that of fastbp, each at its best number of threads; a "
            "peer with several precisions at the fastest one that is not less exact than fastbp's"
        )
        lines.append(
            f"CPU best: the ratio of the least processor times on {_threads(first)}, which other "
            "programs disturb less; the peer with the lowest one"
        )
    beside = f", except for {' and '.join(ratios)}" if ratios else ""
    lines.append(f"all numbers are medians over the rounds{beside}")
    return lines


def _choices(report: Report) -> list[str]:
    """Tell at which precision each peer was fastest, if several were measured."""
    lines = []
    for precision in report["options"]["precisions"]:
        if precision == "highest":
            continue
        for program in PEERS:
            chosen: dict[str, list[str]] = {}
            for result in report["results"]:
                choice = result["comparisons"][precision]["chosen"].get(program)
                if choice is not None:
                    chosen.setdefault(choice["precision"], []).append(result["config"]["name"])
            if len(_measured_ways(report, program) & {*PROGRAMS[program].ways_for(precision)}) > 1:
                best = "; ".join(f"{way} on {', '.join(names)}" for way, names in chosen.items())
                lines.append(f"{precision}: {program} is fastest at {best}")
    for program, ways in report["same"].items():
        lines.append(
            f"{program}: at {' and '.join(ways)}, products have the same bits as at highest, so "
            "they were not measured again"
        )
    return lines


def _measured_ways(report: Report, program: str) -> set[str]:
    runs = [run for result in report["results"] for run in result["runs"]]
    return {run["precision"] for run in runs if run["program"] == program}


def _warnings(report: Report) -> list[str]:
    lines = []
    precision, first = report["options"]["precisions"][0], report["options"]["threads"][0]
    for result in report["results"]:
        config, runs = result["config"], engine_runs(result, precision)
        if config["kind"] == "epoch":
            threads = result["comparisons"][precision]["chosen"][ENGINE]["threads"]
            seconds = 1e-6 * runs[threads]["us"]["median"] * config["n_steps"]
            at = "" if precision == "highest" else f" at {precision}"
            lines.append(f"{config['name']}: fastbp takes {seconds:.3f} s per epoch{at}")
        if first == 1 and runs[1]["cores_used"]["median"] < _ALONE:
            lines.append(f"{config['name']}: another program was running; measure again")
    synthetic = [
        result["config"]["name"]
        for result in report["results"]
        if result["data"] != result["config"]["data"]
    ]
    if synthetic:
        lines.append(
            f"{', '.join(synthetic)}: synthetic data of the same size, because the data set is not "
            "installed (apt-get install dataset-fashion-mnist)"
        )
    for failure in report["failures"]:
        at = f"{failure['precision']} on {_threads(failure['threads'])}"
        lines.append(
            f"{failure['config']}: {failure['program']} failed at {at}: {failure['error']}"
        )
    return lines


def engine_runs(result: Result, precision: str) -> dict[int, Run]:
    """Return the runs of fastbp at a precision by number of threads."""
    return {
        run["threads"]: run
        for run in result["runs"]
        if run["program"] == ENGINE and run["precision"] == precision
    }


def _with_peers(result: Result) -> bool:
    return any(comparison["ratios"] for comparison in result["comparisons"].values())


def _threads(n: int) -> str:
    return f"{n} thread{'s' * (n > 1)}"


def _percents(shares: Iterable[float]) -> str:
    """Format the range of some shares.

    >>> _percents([0.01, 0.124]), _percents([0.101, 0.1])
    ('1–12 %', '10 %')
    """
    each = sorted(round(100 * share) for share in shares)
    return f"{each[0]} %" if each[0] == each[-1] else f"{each[0]}–{each[-1]} %"


def _us(value: float) -> str:
    """Format microseconds with at least three digits.

    >>> _us(1.2345), _us(123.45), _us(12345.6)
    ('1.23', '123.5', '12,346')
    """
    digits = 2 if value < 10 else 1 if value < 1000 else 0
    return f"{value:,.{digits}f}"
